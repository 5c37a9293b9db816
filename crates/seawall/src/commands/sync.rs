//! `seawall sync`: make every region hold what this node holds.

use std::path::Path;

use seawall_base::Clock as _;
use seawall_host::{OsRng, SystemClock};
use seawall_node::{Away, Home, PolicyTold, SyncDone, SyncOptions, SyncOutcome, log_reached, sync};
use serde_json::{Value, json};

use crate::cli::SyncArgs;
use crate::output::{Outcome, Printer, human};

pub(crate) fn run(args: &SyncArgs, home: &Path, printer: &Printer) -> anyhow::Result<Outcome> {
    let home = Home::open(home)?;
    let options = SyncOptions { new_bucket: args.new_bucket };
    let bar = printer.bytes_bar("syncing", Some(0));
    let outcomes = sync(&home, options, &SystemClock, &mut OsRng, &mut |region, p| {
        bar.set_length(p.total_bytes);
        bar.set_position(p.bytes);
        bar.set_message(region.to_owned());
    });
    bar.finish_and_clear();
    let outcomes = outcomes?;
    anyhow::ensure!(
        !outcomes.is_empty(),
        "this node knows no region and no bucket; run `seawall fleet adopt`, or enrol with a newer bundle"
    );
    let failed = outcomes.iter().any(|o| match &o.result {
        Ok(SyncDone::Custodian(brought)) => !brought.complaints.is_empty(),
        result => result.is_err(),
    });
    let mut missed = false;
    for outcome in &outcomes {
        match &outcome.result {
            Err(e) => printer.warn(&format!("{}: {e}", outcome.region)),
            Ok(SyncDone::Custodian(brought)) => {
                for (manifest, why) in &brought.complaints {
                    let snapshot = &manifest.to_hex()[..16];
                    printer.warn(&format!("{}, snapshot {snapshot}: {why}", outcome.region));
                }
                if let Some(away) = &brought.away {
                    let (who, why, since) = (&outcome.region, &away.why, away.since);
                    missed |= away.is_long(SystemClock.now());
                    printer.warn(&format!(
                        "{who}: {why}; the snapshots since {since} wait for a look at its shares"
                    ));
                }
            }
            Ok(SyncDone::Told(PolicyTold { version, away: Some(away) })) => {
                missed |= away.is_long(SystemClock.now());
                let (who, why) = (&outcome.region, &away.why);
                printer.warn(&format!(
                    "{who}: {why}; it does not know version {version} of the fleet's policy, and answers whom that revokes"
                ));
            }
            Ok(_) => {}
        }
    }
    for outcome in &outcomes {
        if let Ok(SyncDone::Region(done)) = &outcome.result {
            for why in &done.refused_deletions {
                missed = true;
                printer.warn(&format!("region {}: deletion {why}", outcome.region));
            }
        }
    }
    let reached = log_reached(&home)?;
    let mut value: Value = outcomes.iter().map(describe).collect();
    for outcome in value.as_array_mut().into_iter().flatten() {
        outcome["witnessed"] = super::snapshot::witnessed(&reached);
    }
    let mut words: Vec<String> = outcomes.iter().map(in_words).collect();
    words.push(format!("the log is witnessed at {reached}"));
    printer.result(&value, &words.join("\n"))?;
    Ok(match (failed, missed) {
        (true, _) => Outcome::Found,
        (false, true) => Outcome::Partly,
        (false, false) => Outcome::Done,
    })
}

/// Whether a machine has been away for so long that somebody should ask after it.
fn is_long(away: Option<&Away>) -> bool {
    away.is_some_and(|away| away.is_long(SystemClock.now()))
}

/// What is wrong, if so much is that `ok` is not so.
fn long_away(away: Option<&Away>) -> Option<&str> {
    away.filter(|away| is_long(Some(away))).map(|away| away.why.as_str())
}

fn describe(outcome: &SyncOutcome) -> Value {
    match &outcome.result {
        Ok(SyncDone::Region(done)) => json!({
            "id": outcome.region,
            "ok": done.refused_deletions.is_empty(),
            "sent_objects": done.sent_objects,
            "sent_bytes": done.sent_bytes,
            "proven_objects": done.proven_objects,
            "mended_objects": done.mended_objects,
            "receipts": done.receipts,
            "mirrored": done.mirrored,
            "deleted": done.deleted,
            "gone": done.gone,
            "refused_deletions": done.refused_deletions,
        }),
        Ok(SyncDone::Bucket(done)) => json!({
            "id": outcome.region,
            "ok": true,
            "sent_objects": done.sent_objects,
            "sent_bytes": done.sent_bytes,
            "snapshots": done.snapshots,
        }),
        Ok(SyncDone::Witness(time)) => json!({
            "id": outcome.region,
            "ok": true,
            "cosigned": time.to_string(),
        }),
        Ok(SyncDone::Custodian(brought)) => json!({
            "id": outcome.region,
            "ok": brought.complaints.is_empty() && !is_long(brought.away.as_ref()),
            "error": long_away(brought.away.as_ref()),
            "away": brought.away.as_ref().map(|away| &away.why),
            "waiting_since": brought.away.as_ref().map(|away| away.since),
            "good_shares": brought.good,
            "without_share": brought.without,
            "complaints": brought.complaints.iter().map(|(manifest, why)| json!({
                "snapshot": manifest.to_hex(), "why": why,
            })).collect::<Vec<_>>(),
        }),
        Ok(SyncDone::Told(told)) => json!({
            "id": outcome.region,
            "ok": !is_long(told.away.as_ref()),
            "error": long_away(told.away.as_ref()),
            "away": told.away.as_ref().map(|away| &away.why),
            "waiting_since": told.away.as_ref().map(|away| away.since),
            "policy_version": told.version,
        }),
        Err(e) => json!({ "id": outcome.region, "ok": false, "error": e.to_string() }),
    }
}

fn in_words(outcome: &SyncOutcome) -> String {
    let region = &outcome.region;
    match &outcome.result {
        Ok(SyncDone::Region(done)) => format!(
            "{region}: sent {} in {} objects, {} were there already and proved it, {} new receipts",
            human(done.sent_bytes),
            done.sent_objects,
            done.proven_objects,
            done.receipts,
        ),
        Ok(SyncDone::Bucket(done)) => format!(
            "{region}: sent {} in {} objects; it holds {} snapshots, and cannot sign for them",
            human(done.sent_bytes),
            done.sent_objects,
            done.snapshots,
        ),
        Ok(SyncDone::Witness(time)) => format!("{region}: cosigned the log {time}"),
        Ok(SyncDone::Custodian(brought)) => format!(
            "{region}: {}{} post-quantum shares are good, {} complaints",
            if brought.away.is_some() { "away; " } else { "" },
            brought.good,
            brought.complaints.len()
        ),
        Ok(SyncDone::Told(told)) if told.away.is_some() => {
            format!("{region}: away; knows an older policy")
        }
        Ok(SyncDone::Told(told)) => {
            format!("{region}: knows version {} of the fleet's policy", told.version)
        }
        Err(_) => format!("{region}: failed"),
    }
}
