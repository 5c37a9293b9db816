//! `seawall node keys | operator | enroll`.

use std::path::Path;

use anyhow::Context as _;
use seawall_base::FleetId;
use seawall_host::OsRng;
use seawall_node::{Home, HomeError, enroll, member_keys, operator_card};
use serde_json::json;

use crate::cli::NodeCommand;
use crate::output::{Outcome, Printer, read_input};

pub(crate) fn run(
    command: &NodeCommand,
    home: &Path,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    match command {
        NodeCommand::Epoch(command) => {
            return super::epoch::run(command, &Home::open(home)?, printer);
        }
        NodeCommand::Keys { name, algorithm, out } => {
            super::check_role(home, "home.json")?;
            let home = match Home::open(home) {
                Err(HomeError::NotAHome(_)) => {
                    Home::create(home, &name.clone().unwrap_or_else(super::host_name), None)?
                }
                opened => opened?,
            };
            if let Some(name) = name.as_ref().filter(|name| *name != home.name()) {
                anyhow::bail!(
                    "this home has keys already, under the name {:?}: {name:?} needs a home of its own",
                    home.name()
                );
            }
            let _lock = home.lock()?;
            let card = member_keys(&home, (*algorithm).into(), &mut OsRng)?;
            let text = serde_json::to_string_pretty(&card).context("a card is JSON")? + "\n";
            printer.document(out, text.as_bytes())?;
        }
        NodeCommand::Operator { out } => {
            let home = Home::open(home)?;
            let _lock = home.lock()?;
            let card = operator_card(&home, &mut OsRng)?;
            let text = serde_json::to_string_pretty(&card).context("a card is JSON")? + "\n";
            printer.document(out, text.as_bytes())?;
            printer.say(&format!("whoever has the root key adds {} by this card", card.name));
        }
        NodeCommand::Enroll { bundle, fleet_id } => {
            let pinned = fleet_id.as_deref().map(parse_fleet_id).transpose()?;
            let home = Home::open(home)?;
            let _lock = home.lock()?;
            let (fleet, enrolment) = enroll(&home, &read_input(bundle)?, pinned)?;
            let value = json!({
                "fleet": fleet.id().to_hex(),
                "fingerprint": fleet.id().fingerprint(),
                "node": enrolment.node().to_hex(),
                "name": enrolment.name,
            });
            let words = format!(
                "{} joined fleet {}\ncompare the fleet id with the recovery sheet: {}",
                enrolment.name,
                fleet.genesis().fleet_name,
                fleet.id().to_hex(),
            );
            printer.result(&value, &words)?;
        }
    }
    Ok(Outcome::Done)
}

pub(crate) fn parse_fleet_id(text: &str) -> anyhow::Result<FleetId> {
    let hex: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let hex = hex.strip_prefix("fleet:").unwrap_or(&hex).to_lowercase();
    FleetId::from_hex(&hex).context("--fleet-id takes the 64 digits on the recovery sheet")
}
