//! `seawall fleet show | card | bundle | adopt | root-key | recover | policy | retention | index |
//! operator | sheet`.

mod index;
mod policy;
mod retention;

use std::path::Path;

use anyhow::Context as _;
use seawall_escrow::RootKeyFile;
use seawall_host::{OsRng, SystemClock};
use seawall_node::{
    CardSource, Home, adopt_region, enrolment_bundle, export_root_key, new_root_key, sheet_html,
    sheet_text,
};
use seawall_record::{Enrolment, FleetCard, MemberCard, RegionCard};
use serde_json::json;

use crate::cli::FleetCommand;
use crate::output::{Outcome, Printer, passphrase, read_input, write_output};

pub(crate) fn run(
    command: &FleetCommand,
    home: &Path,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    if let FleetCommand::Recover { root_key, card, bucket, name } = command {
        let name = name.clone().unwrap_or_else(super::host_name);
        return recover(home, root_key, card.as_deref(), bucket.as_deref(), &name, printer);
    }
    let home = Home::open(home)?;
    match command {
        FleetCommand::Recover { .. } => {}
        FleetCommand::Retention(command) => retention::run(&home, command, printer)?,
        FleetCommand::RootKey { out, new } => root_key(&home, out, *new, printer)?,
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
        FleetCommand::Policy(command) => policy::run(&home, command, printer)?,
        FleetCommand::Index(command) => index::run(&home, command, printer)?,
        FleetCommand::Operator(command) => index::operator(&home, command, printer)?,
        FleetCommand::Epoch { request, out, yes } => {
            super::epoch::grant(&home, request, out, *yes, printer)?;
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

fn root_key(home: &Home, out: &Path, new: bool, printer: &Printer) -> anyhow::Result<()> {
    let passphrase = passphrase("Passphrase for the root key's copy", true)?;
    let make = if new { new_root_key } else { export_root_key };
    let file = make(home, &passphrase, &mut OsRng)?;
    write_output(out, file.to_json().as_bytes())?;
    let value = json!({ "file": out, "fleet": file.fleet().to_hex(), "key": file.key() });
    let words = if new {
        format!(
            "wrote {}; it is no root key yet: seawall fleet policy propose --root-key {} makes it one",
            out.display(),
            file.key()
        )
    } else {
        format!("wrote {}; keep it with the recovery sheet, apart from the shares", out.display())
    };
    printer.result(&value, &words)
}

fn recover(
    home: &Path,
    root_key: &Path,
    card: Option<&Path>,
    bucket: Option<&str>,
    name: &str,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    let file = RootKeyFile::parse(&read_input(root_key)?)
        .with_context(|| format!("cannot use {}", root_key.display()))?;
    let card = card.map(read_input).transpose()?;
    let source = match (&card, bucket) {
        (Some(json), _) => CardSource::Card(json),
        (None, Some(url)) => CardSource::Bucket(url),
        (None, None) => anyhow::bail!("neither --card nor --bucket was given"),
    };
    let passphrase = passphrase("Passphrase of the root key's copy", false)?;
    let fleet =
        seawall_node::recover(home, name, &source, &file, &passphrase, &SystemClock, &mut OsRng)?;
    let value = json!({ "fleet": fleet.id().to_hex(), "home": home });
    let words = format!(
        "{name} is the new first node of fleet {}\ncompare the fleet id with the recovery sheet: {}\nnext: seawall snapshot list --all",
        fleet.genesis().fleet_name,
        fleet.id().to_hex(),
    );
    printer.result(&value, &words)?;
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
        "policy_version": fleet.version(),
        "node": { "id": own.node().to_hex(), "name": own.name, "tenant": own.tenant, "epoch": own.epoch },
        "groups": fleet.groups().iter().map(|g| json!({
            "id": g.id.to_hex(),
            "class": g.class,
            "threshold": g.threshold,
            "ceremony": g.ceremony,
            "share_epoch": g.share_epoch,
            "retired": g.retired,
            "custodians": g.custodians.iter().map(|c| &c.name).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "regions": regions.iter().map(|(address, region)| json!({
            "name": region.name, "address": address, "identity": region.identity,
        })).collect::<Vec<_>>(),
        "home": home.path(),
    });
    printer.result(&value, &sheet_text(&fleet, &regions))
}
