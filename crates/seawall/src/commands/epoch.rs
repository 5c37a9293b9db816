//! `seawall node epoch status | begin | adopt`, `seawall fleet epoch`.

use std::path::Path;

use seawall_base::Clock as _;
use seawall_host::{OsRng, SystemClock};
use seawall_node::{
    Adopted, EpochGrant, EpochRequest, Home, RootFile, Standing, adopt_epoch, begin_epoch,
    log_standing, sign_epoch,
};
use serde_json::json;

use super::fleet::revoked;
use super::fleet::sign::{self, signers};
use crate::cli::{EpochCommand, RootKeyArgs};
use crate::output::{Outcome, Printer, confirm, read_input};

pub(crate) fn run(
    command: &EpochCommand,
    home: &Home,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    match command {
        EpochCommand::Status => return status(home, printer),
        EpochCommand::Begin { reason, out } => {
            let (request, unreached) = begin_epoch(home, reason, &SystemClock)?;
            printer.document(out, &request.to_json())?;
            for (name, why) in &unreached {
                printer.warn(&format!(
                    "{name} was not asked ({why}): entries that only it has become a branch; begin again when it is there, if you can wait"
                ));
            }
            printer.say(
                "entries are provisional from now on: kept here, shown to nobody; whoever has the root keys runs: seawall fleet epoch",
            );
        }
        EpochCommand::Adopt { file, without_copies } => {
            let grant = EpochGrant::parse(&read_input(file)?)?;
            let adopted = adopt_epoch(home, &grant, *without_copies, &SystemClock, &mut OsRng)?;
            let Some(adopted) = adopted else {
                let words = "this node is in that epoch already: nothing was to be done";
                printer.result(&json!({ "already": true }), words)?;
                return Ok(Outcome::Done);
            };
            let Adopted { origin, epoch, continued, lost, branched, left } = &adopted;
            let value = json!({
                "origin": origin,
                "epoch": epoch,
                "continued": continued,
                "lost": lost,
                "branched": branched,
                "left": left,
            });
            let mut words = format!(
                "epoch {epoch}: the log goes on from {continued} entries; {branched} snapshots made since the disk went back are in it, marked as a branch\nnext: seawall sync"
            );
            if *lost > 0 {
                words.push_str(&format!(
                    "\n{lost} entries that were witnessed are with nobody who could be reached"
                ));
            }
            printer.result(&value, &words)?;
            return Ok(if *lost > 0 { Outcome::Partly } else { Outcome::Done });
        }
    }
    Ok(Outcome::Done)
}

fn status(home: &Home, printer: &Printer) -> anyhow::Result<Outcome> {
    let it: Standing = log_standing(home)?;
    let behind = it.elsewhere.iter().any(|other| !other.agrees);
    let value = json!({
        "origin": it.origin,
        "epoch": it.epoch,
        "entries": it.held,
        "signed": it.signed,
        "provisional": it.provisional.as_ref().map(|p| json!({
            "why": p.why, "since": p.since.to_string(),
        })),
        "elsewhere": it.elsewhere.iter().map(|other| json!({
            "name": other.name, "entries": other.entries, "agrees": other.agrees,
        })).collect::<Vec<_>>(),
        "unreached": it.unreached.iter().map(|(name, why)| json!({
            "name": name, "why": why,
        })).collect::<Vec<_>>(),
        "behind": behind,
    });
    let mut words =
        format!("epoch {}, {} entries, {} under a checkpoint\n", it.epoch, it.held, it.signed);
    for other in &it.elsewhere {
        let which = if other.agrees { "" } else { ", NOT all of them these" };
        words.push_str(&format!("{} has {} entries{which}\n", other.name, other.entries));
    }
    if let Some(p) = &it.provisional {
        words.push_str(&format!("PROVISIONAL since {}: {}\n", p.since, p.why));
    } else if behind {
        words.push_str("others have entries that are not here: this disk went back in time; run `seawall node epoch begin`\n");
    }
    for (name, why) in &it.unreached {
        printer.warn(&format!("{name}: {why}"));
    }
    printer.result(&value, &words)?;
    Ok(if behind || it.provisional.is_some() { Outcome::Found } else { Outcome::Done })
}

/// `seawall fleet epoch`: shows what is asked, and signs it.
pub(crate) fn grant(
    home: &Home,
    (request, out): (&Path, &Path),
    roots: &RootKeyArgs,
    yes: bool,
    printer: &Printer,
) -> anyhow::Result<()> {
    let fleet = home.fleet()?;
    let roots = signers(home, roots)?;
    let request = EpochRequest::parse(&read_input(request)?)?;
    let opened = request.open(&fleet)?;
    let asked =
        if request.asked.is_empty() { "nobody".to_owned() } else { request.asked.join(", ") };
    printer.show(&format!(
        "node      {} ({})\nepoch     {} ends with {} entries\nasked     {asked}\nreason    {}",
        opened.enrolment.name,
        opened.enrolment.node().short(),
        opened.enrolment.epoch,
        opened.continues.size,
        request.reason,
    ));
    let (node, epoch) = (opened.enrolment.node(), opened.enrolment.epoch);
    let regions = home.regions(&fleet)?.into_iter().map(|(_, region)| region.name);
    let not_asked: Vec<String> = regions.filter(|name| !request.asked.contains(name)).collect();
    if !not_asked.is_empty() {
        let nobody = if request.asked.is_empty() { "NOBODY WAS ASKED; " } else { "" };
        printer.show(&format!(
            "NOT ASKED {nobody}entries that only {} has become a branch: have the node begin again when it is there, unless it is lost",
            not_asked.join(", ")
        ));
    }
    if let Some(words) = revoked(&fleet, node, epoch, opened.continues.size) {
        printer.show(&words);
    }
    anyhow::ensure!(
        yes || confirm("Grant the next epoch? Entries nobody was asked for become a branch.")?,
        "nothing was granted"
    );
    let grant = sign_epoch(home, &request, &roots, SystemClock.now())?;
    let words = "granted; on the node: seawall node epoch adopt";
    sign::write(&RootFile::Epoch(Box::new(grant)), &fleet, out, words, printer)
}
