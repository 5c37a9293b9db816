//! `seawall fleet show | card | bundle | adopt | sheet`.

use std::path::Path;

use anyhow::Context as _;
use seawall_host::{OsRng, SystemClock};
use seawall_node::{
    Home, MemberCard, RegionCard, adopt_region, enrolment_bundle, sheet_html, sheet_text,
};
use seawall_record::{Enrolment, FleetCard};
use serde_json::json;

use crate::cli::FleetCommand;
use crate::output::{Outcome, Printer, read_input};

pub(crate) fn run(
    command: &FleetCommand,
    home: &Path,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    let home = Home::open(home)?;
    match command {
        FleetCommand::Show => show(&home, printer)?,
        FleetCommand::Card { out } => {
            let card = FleetCard::new(&home.fleet()?);
            let text = serde_json::to_string_pretty(&card).context("a card is JSON")? + "\n";
            printer.document(out, text.as_bytes())?;
        }
        FleetCommand::Bundle { card, out } => {
            let card = MemberCard::parse(&read_input(card)?)?;
            let bundle = enrolment_bundle(&home, &card, &SystemClock, &mut OsRng)?;
            printer.document(out, bundle.as_bytes())?;
            printer.say(&format!("enrolled {}; the bundle is for its keys only", card.name));
        }
        FleetCommand::Adopt { card } => {
            let card = RegionCard::parse(&read_input(card)?)?;
            let enrolment = adopt_region(&home, &card, &SystemClock)?;
            let value = json!({
                "region": enrolment.name,
                "address": card.address,
                "identity": enrolment.identity,
            });
            let words = format!(
                "region {} at {} is trusted to keep, never to read",
                card.name, card.address
            );
            printer.result(&value, &words)?;
        }
        FleetCommand::Sheet { html, out } => {
            let fleet = home.fleet()?;
            let regions = regions(&home)?;
            let page = if *html { sheet_html } else { sheet_text };
            let page = page(&fleet, &regions);
            if printer.is_json() && out.as_os_str() == "-" {
                let value = json!({ "fleet": fleet.id().to_hex(), "sheet": page });
                printer.result(&value, "")?;
            } else {
                printer.document(out, page.as_bytes())?;
            }
        }
    }
    Ok(Outcome::Done)
}

fn regions(home: &Home) -> anyhow::Result<Vec<(String, Enrolment)>> {
    let regions = home.regions(&home.fleet()?)?;
    Ok(regions.into_iter().map(|(address, region)| (address.address, region)).collect())
}

fn show(home: &Home, printer: &Printer) -> anyhow::Result<()> {
    let fleet = home.fleet()?;
    let genesis = fleet.genesis();
    let (own, _) = home.enrolment(&fleet)?;
    let regions = regions(home)?;
    let value = json!({
        "fleet": fleet.id().to_hex(),
        "fingerprint": fleet.id().fingerprint(),
        "name": genesis.fleet_name,
        "created": genesis.created.to_string(),
        "policy_version": genesis.policy_version,
        "node": { "id": own.node().to_hex(), "name": own.name, "tenant": own.tenant, "epoch": own.epoch },
        "groups": genesis.groups.iter().map(|g| json!({
            "id": g.id.to_hex(),
            "class": g.class,
            "threshold": g.threshold,
            "ceremony": g.ceremony,
            "custodians": g.custodians.iter().map(|c| &c.name).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "regions": regions.iter().map(|(address, region)| json!({
            "name": region.name, "address": address, "identity": region.identity,
        })).collect::<Vec<_>>(),
        "home": home.path(),
    });
    printer.result(&value, &sheet_text(&fleet, &regions))
}
