//! `seawall region init | add-fleet | card | gc | run`.

use std::path::Path;

use anyhow::Context as _;
use seawall_base::Seconds;
use seawall_host::{OsRng, SystemClock};
use seawall_record::FleetCard;
use seawall_region::{Collect, CollectReport, Region};
use serde_json::{Value, json};

use crate::cli::{GcArgs, RegionCommand};
use crate::output::{Outcome, Printer, human, read_input};

pub(crate) fn run(
    command: &RegionCommand,
    home: &Path,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    match command {
        RegionCommand::Init { fleets, name, listen, out } => {
            let fleets = fleets
                .iter()
                .map(|path| Ok(FleetCard::open(&read_input(path)?)?))
                .collect::<anyhow::Result<Vec<_>>>()?;
            super::check_role(home, "region.json")?;
            let card = seawall_region::init(home, listen, name, &fleets, &mut OsRng, &SystemClock)?;
            printer.document(out, &card.to_json())?;
            printer.say(&format!(
                "region {name} is set up in {}; give its card to the operator of each fleet",
                home.display()
            ));
        }
        RegionCommand::AddFleet { card } => {
            let fleet = FleetCard::open(&read_input(card)?)
                .with_context(|| format!("{} is not a fleet's card", card.display()))?;
            let (id, name) = (fleet.id(), fleet.genesis().fleet_name.clone());
            let region = Region::open(home)?;
            let is_new = region.add_fleet(fleet)?;
            region.close()?;
            let words = if is_new { "is hosted from now on" } else { "is hosted already" };
            let value = json!({ "fleet": id.to_hex(), "name": name, "new": is_new });
            printer.result(&value, &format!("{name} ({id}) {words}"))?;
        }
        RegionCommand::Card { out } => {
            let region = seawall_region::Region::open(home)?;
            printer.document(out, &region.card().to_json())?;
        }
        RegionCommand::Gc(args) => return gc(args, home, printer),
        RegionCommand::Run => seawall_region::run_until_signal(home, |address| {
            printer.say(&format!("listening on {address}"));
        })?,
    }
    Ok(Outcome::Done)
}

fn gc(args: &GcArgs, home: &Path, printer: &Printer) -> anyhow::Result<Outcome> {
    let region = Region::open(home)?;
    let how = Collect {
        grace: Seconds::hours(args.grace_hours.into()),
        percent: args.rewrite_below,
        dry_run: args.dry_run,
    };
    let bar = printer.bytes_bar("collecting", None);
    let report = region.collect(&how, &mut OsRng, &mut |objects| {
        bar.set_message(format!("{objects} objects marked"));
    });
    bar.finish_and_clear();
    let report = report?;
    for (tenant, it) in &report.tenants {
        if let Some(why) = &it.stopped {
            printer.warn(&format!("nothing of {tenant} was removed: {why}"));
        }
        let Some(swept) = &it.swept else { continue };
        if swept.in_use > 0 {
            let n = swept.in_use;
            printer.say(&format!("{n} zones of {tenant} are in use; they are left to a later run"));
        }
        if !swept.damaged.is_empty() {
            let n = swept.damaged.len();
            printer.warn(&format!(
                "{n} zones of {tenant} are damaged and were left alone: run seawall verify in this home"
            ));
        }
        if let Some(why) = &swept.stopped {
            printer.warn(&format!(
                "{tenant}: it stopped early: {why}; what was done counts, run it again"
            ));
        }
    }
    printer.result(&as_json(&report), &in_words(&report, args.dry_run))?;
    region.close()?;
    Ok(if report.is_stopped() { Outcome::Partly } else { Outcome::Done })
}

fn as_json(report: &CollectReport) -> Value {
    let logs: Vec<_> = report
        .expired
        .iter()
        .map(|it| {
            let expired: Vec<_> = it.snapshots.iter().map(|s| s.manifest.to_hex()).collect();
            json!({
                "origin": it.origin,
                "expired": expired,
                "denied": it.denied,
                "held_by_node": it.held,
                "wanted": it.wanted,
                "why_nothing": it.why,
            })
        })
        .collect();
    let tenants: Vec<_> = report
        .tenants
        .iter()
        .map(|(id, it)| {
            let swept = it.swept.as_ref();
            json!({
                "tenant": id.to_string(),
                "live_objects": it.live_objects,
                "dead_records": it.dead_records,
                "reclaimable": it.reclaimable,
                "sweeps_at": it.sweeps_at.map(|at| at.to_string()),
                "spared": it.spared,
                "freed": swept.map(|s| s.freed),
                "copied": swept.map(|s| s.copied),
                "zones_in_use": swept.map(|s| s.in_use),
                "damaged_zones": swept.map(|s| s.damaged.len()),
                "stopped_early": swept.and_then(|s| s.stopped.as_ref()),
                "stopped": it.stopped,
            })
        })
        .collect();
    json!({ "logs": logs, "tenants": tenants, "freed": report.freed() })
}

fn in_words(report: &CollectReport, dry_run: bool) -> String {
    let expired: usize = report.expired.iter().map(|it| it.snapshots.len()).sum();
    let mut lines = vec![if dry_run {
        format!("{expired} snapshots would expire")
    } else {
        format!("{expired} snapshots expired, {} given back", human(report.freed()))
    }];
    for it in &report.expired {
        if let Some(why) = &it.why {
            lines.push(format!("log {}: {why}", it.origin));
        }
    }
    for (tenant, it) in &report.tenants {
        if it.dead_records > 0 {
            let (dead, room) = (it.dead_records, human(it.reclaimable));
            lines
                .push(format!("{tenant}: {dead} objects are not needed, {room} can be given back"));
        }
        if let Some(at) = it.sweeps_at {
            lines.push(format!("{tenant}: what was condemned stays until {at}"));
        }
    }
    lines.join("\n")
}
