//! Seawall in the solo profile: one machine is operator, node and custodians.
//!
//! The repository is the whole home: objects, index, file cache, log and keys. A restore is a
//! request and two approvals, which stand for two people and their telephones, and then the run
//! that compares with a peer's restore.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{PASSPHRASE, Place, Restore};
use crate::calls::Call;

const BACKUP: &str = "backup";

pub(super) fn start(place: &Place) -> Call {
    let shares = place.dir.join("shares");
    ours(place, "init")
        .with(["init", "--profile", "solo", "--name", "bench", "--shares-dir"])
        .with([shares])
}

pub(super) fn backup(place: &Place, source: &Path) -> Call {
    ours(place, BACKUP).with(["--json", "snapshot", "create"]).with([source])
}

pub(super) fn restore(place: &Place, to: &Path) -> Result<Restore> {
    let said: Value = serde_json::from_str(&ours(place, BACKUP).said()?)
        .context("`seawall snapshot create --json` printed no JSON")?;
    let id = said["id"].as_str().context("`seawall snapshot create --json` printed no id")?;
    let request = place.dir.join("request.json");
    let _ = std::fs::remove_file(&request);
    let mut asking = vec![
        ours(place, "request")
            .with(["restore", "request", id, "--reason", "a benchmark", "--out"])
            .with([&request]),
    ];
    let mut run = ours(place, "restore").with(["restore", "run"]).with([&request]);
    for (number, holder) in [(1, "laptop"), (2, "paper")] {
        let share = place.dir.join(format!("shares/share-{number}-{holder}.json"));
        let approval = place.dir.join(format!("approval-{number}.json"));
        let _ = std::fs::remove_file(&approval);
        asking.push(
            ours(place, &format!("approve-{number}"))
                .with(["restore", "approve", "--yes", "--share"])
                .with([&share])
                .with(["--out"])
                .with([&approval, &request]),
        );
        run = run.with(["--approval"]).with([&approval]);
    }
    if std::fs::metadata("/proc/self")?.uid() == 0 {
        // Without it, set-uid bits would be left out, which the peers restore.
        run = run.with(["--privileged"]);
    }
    run = run.with(["--to"]).with([to]);
    Ok(Restore { asking, run })
}

fn ours(place: &Place, name: &str) -> Call {
    place
        .call(name)
        .set("SEAWALL_HOME", place.repository())
        .set("SEAWALL_SHARE_PASSPHRASE", PASSPHRASE)
        .with(["--quiet"])
}
