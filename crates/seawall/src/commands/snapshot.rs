//! `seawall snapshot create | list | delete | show | capsules`.

mod create;
mod delete;

use std::path::Path;

use anyhow::Context as _;
use comfy_table::{Table, presets};
use seawall_node::{
    Bucket, Home, HomeError, HttpWitness, Listed, Pulled, PulledLog, capsules, forks_shown, hear,
    learn_newer, list_snapshots, pull_bucket_shown, pull_shown,
};
use seawall_policy::witness::Reached;
use seawall_record::{LoggedDeletion, ManifestCore};
use serde_json::{Value, json};

use crate::cli::SnapshotCommand;
use crate::output::{Outcome, Printer, human};

pub(crate) fn run(
    command: &SnapshotCommand,
    home: &Path,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    if let SnapshotCommand::Delete(command) = command {
        return delete::run(command, home, printer);
    }
    let home = Home::open(home)?;
    match command {
        SnapshotCommand::Delete(_) => Ok(Outcome::Done),
        SnapshotCommand::Create(args) => create::run(&home, args, printer),
        SnapshotCommand::List { all } => list(&home, *all, printer),
        SnapshotCommand::Show { id } => show(&home, id, printer),
        SnapshotCommand::Capsules { out } => write_capsules(&home, out, printer),
    }
}

fn write_capsules(home: &Home, out: &Path, printer: &Printer) -> anyhow::Result<Outcome> {
    let capsules = capsules(home)?;
    let lines = capsules.iter().flat_map(|it| [it.to_json(), b"\n".to_vec()]).flatten();
    printer.document(out, &lines.collect::<Vec<_>>())?;
    printer.say(&format!("{} snapshots, for the custodians who hand over", capsules.len()));
    Ok(Outcome::Done)
}

/// What is public about a snapshot.
fn describe(listed: &Listed) -> Value {
    let core = &listed.manifest.core;
    json!({
        "id": listed.digest.to_hex(),
        "node": listed.node,
        "sequence": core.sequence,
        "created": core.created.to_string(),
        "files": core.totals.files,
        "directories": core.totals.directories,
        "others": core.totals.others,
        "bytes": core.totals.bytes,
        "skipped": core.totals.problems,
        "objects": core.reference_set.count,
        "sealed_bytes": core.reference_set.bytes,
        "seen_in": listed.seen_in,
        "receipts": listed.receipts,
        "index": listed.index,
        "set": core.set,
        "tags": core.tags,
        "forgotten": listed.forgotten.map(|at| at.to_string()),
        "deleted": listed.deleted.as_ref().map(deleted),
        "gone_from": listed.gone_from,
        "witnessed": witnessed(&listed.witnessed),
        "log": listed.log,
    })
}

/// Who deleted a snapshot, and by what.
fn deleted(it: &LoggedDeletion) -> Value {
    json!({
        "statement": it.statement.to_hex(),
        "by": it.by,
        "reason": it.reason,
        "created": it.created.to_string(),
        "index": it.index,
    })
}

/// How far a log is witnessed, for programs.
pub(crate) fn witnessed(reached: &Reached) -> Value {
    json!({
        "level": reached.level.as_str(),
        "operators": reached.operators,
        "needed": reached.needed,
    })
}

/// The logs of other nodes, as far as they could be read.
#[derive(Default)]
pub(crate) struct Copies {
    /// The best copy of each log.
    pub(crate) logs: Vec<PulledLog>,
    /// Whether some copy was refused or lags: rolled back, forked, or damaged. Each has been named.
    pub(crate) refused: bool,
    /// Whether there is somebody to ask and nobody could be asked. Each has been named.
    pub(crate) unheard: bool,
}

/// Reads the logs of other nodes from every region and bucket that answers. One that does not,
/// or that shows something else than before, is named and passed over.
pub(crate) fn pulled(home: &Home, printer: &Printer) -> anyhow::Result<Copies> {
    let (fleet, links, failed) = learn_newer(home)?;
    let any_failed = !failed.is_empty();
    for (region, e) in failed {
        printer.warn(&format!("region {region}: {e}"));
    }
    let mut sources: Vec<(String, Result<Vec<Pulled>, HomeError>)> = links
        .iter()
        .map(|link| (link.region.name.clone(), pull_shown(home, &fleet, link)))
        .collect();
    if let Some(bucket) = Bucket::of(home).transpose() {
        let logs = bucket.and_then(|bucket| pull_bucket_shown(home, &fleet, &bucket));
        sources.push(("bucket".to_owned(), logs));
    }
    let answered = sources.iter().any(|(_, logs)| logs.is_ok());
    let unheard = !answered && (any_failed || !sources.is_empty());
    let mut copies = Copies { unheard, ..Copies::default() };
    for (source, logs) in sources {
        match logs {
            Ok(logs) => logs.into_iter().for_each(|log| copies.take(log, printer)),
            Err(e) => printer.warn(&format!("{source}: {e}")),
        }
    }
    for link in &links {
        match forks_shown(home, &fleet, link) {
            Ok(found) => {
                copies.refused |= !found.is_empty();
                for finding in &found {
                    printer.warn(finding);
                }
            }
            Err(e) => printer.warn(&format!("{}: {e}", link.region.name)),
        }
    }
    let (witnesses, unreached) = HttpWitness::all(home, &fleet);
    for (witness, e) in unreached {
        printer.warn(&format!("witness {witness}: {e}"));
    }
    for log in &mut copies.logs {
        for contradiction in hear(home, &fleet, log, &witnesses)? {
            printer.warn(&contradiction);
            copies.refused = true;
        }
    }
    Ok(copies)
}

impl Copies {
    fn take(&mut self, log: Pulled, printer: &Printer) {
        let log = match log {
            Ok(log) => log,
            Err(e) => {
                printer.warn(&e.to_string());
                self.refused = true;
                return;
            }
        };
        if let Some(lag) = log.lag() {
            printer.warn(&lag);
            self.refused = true;
        }
        // Of one log seen in two places, the longer copy.
        match self.logs.iter_mut().find(|o| o.origin == log.origin) {
            Some(known) if known.state.entries() >= log.state.entries() => {}
            Some(known) => *known = log,
            None => self.logs.push(log),
        }
    }
}

/// What became of a snapshot, in a few words.
fn fate(s: &Listed) -> String {
    let mut words = match (&s.deleted, s.forgotten) {
        (Some(it), _) => {
            format!("deleted by {} ({})", it.by.join(", "), &it.statement.to_hex()[..12])
        }
        (None, Some(at)) => format!("forgotten {at}"),
        (None, None) => String::new(),
    };
    if !s.gone_from.is_empty() {
        words += &format!(", gone from {}", s.gone_from.join(" "));
    }
    words
}

fn list(home: &Home, all: bool, printer: &Printer) -> anyhow::Result<Outcome> {
    let copies = if all { pulled(home, printer)? } else { Copies::default() };
    let mut snapshots = list_snapshots(home, &copies.logs)?;
    let before = snapshots.len();
    snapshots.retain(|s| all || s.forgotten.is_none());
    let hidden = before - snapshots.len();
    let value: Value = snapshots.iter().map(describe).collect();
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "ID",
        "CREATED",
        "NODE",
        "SEQ",
        "SET",
        "FILES",
        "SIZE",
        "SKIPPED",
        "WITNESSED",
        "RECEIPTS",
        "",
    ]);
    for s in &snapshots {
        let core = &s.manifest.core;
        table.add_row([
            s.digest.to_hex()[..12].to_owned(),
            core.created.to_string(),
            s.node.clone(),
            core.sequence.to_string(),
            in_set(core),
            core.totals.files.to_string(),
            human(core.totals.bytes),
            core.totals.problems.to_string(),
            s.witnessed.level.to_string(),
            if s.receipts.is_empty() { "none".to_owned() } else { s.receipts.join(" ") },
            fate(s),
        ]);
    }
    let words = match snapshots.is_empty() {
        true if copies.unheard => {
            "no snapshots of this node; nobody else could be asked".to_owned()
        }
        true => "no snapshots".to_owned(),
        false => table.to_string(),
    };
    if hidden > 0 {
        printer.say(&format!("{hidden} forgotten snapshots are not shown; --all shows them"));
    }
    printer.result(&value, &words)?;
    Ok(match copies {
        Copies { refused: true, .. } => Outcome::Found,
        Copies { unheard: true, .. } => Outcome::Partly,
        _ => Outcome::Done,
    })
}

/// Set and tags in one column.
fn in_set(core: &ManifestCore) -> String {
    let tags = core.tags.iter().map(|tag| format!("#{tag}"));
    core.set.iter().cloned().chain(tags).collect::<Vec<_>>().join(" ")
}

/// The one snapshot whose id begins with `prefix`.
pub(crate) fn find<'a>(snapshots: &'a [Listed], prefix: &str) -> anyhow::Result<&'a Listed> {
    let prefix = prefix.strip_prefix("sha256:").unwrap_or(prefix);
    anyhow::ensure!(prefix.len() >= 4, "{prefix:?} is too short: give at least 4 digits of an id");
    let mut found = snapshots.iter().filter(|s| s.digest.to_hex().starts_with(prefix));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => anyhow::bail!("no snapshot {prefix}; see `seawall snapshot list --all`"),
        (Some(_), Some(_)) => anyhow::bail!("more than one snapshot begins with {prefix}"),
    }
}

fn show(home: &Home, id: &str, printer: &Printer) -> anyhow::Result<Outcome> {
    let mut snapshots = list_snapshots(home, &[])?;
    if find(&snapshots, id).is_err() {
        snapshots = list_snapshots(home, &pulled(home, printer)?.logs)?;
    }
    let listed = find(&snapshots, id)?;
    let core = &listed.manifest.core;
    let mut value = describe(listed);
    value["manifest"] = serde_json::to_value(core).context("a manifest is JSON")?;
    let text = serde_json::to_string_pretty(&value).context("a manifest is JSON")?;
    printer.result(&value, &text)?;
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use seawall_base::{FleetId, GroupId, NodeId, ObjectId, Sha256, Timestamp};
    use seawall_record::{Base64, Manifest, ManifestCore, ReferenceSet, Totals};

    use super::*;

    fn listed(digest: [u8; 32]) -> Listed {
        let core = ManifestCore {
            fleet: FleetId([1; 32]),
            node: NodeId([2; 32]),
            origin: "seawall/fleet/node/1".to_owned(),
            sequence: 1,
            previous: None,
            created: Timestamp(0),
            class: 1,
            group: GroupId([3; 32]),
            reference_set: ReferenceSet { root: ObjectId([4; 32]), count: 1, bytes: 1 },
            totals: Totals::default(),
            set: None,
            tags: Vec::new(),
        };
        Listed {
            digest: Sha256(digest),
            index: 0,
            node: "node-1".to_owned(),
            seen_in: "local".to_owned(),
            log: "seawall/fleet/node/1".to_owned(),
            manifest: Manifest { core, capsule: Base64(Vec::new()), path_index: Vec::new() },
            receipts: Vec::new(),
            forgotten: None,
            deleted: None,
            gone_from: Vec::new(),
            witnessed: Reached::count(None, []),
        }
    }

    #[test]
    fn a_prefix_of_two_ids_names_neither() {
        // Ids that agree in their first four digits are too rare to make from outside.
        let (mut a, mut b) = ([0xab; 32], [0xab; 32]);
        (a[2], b[2]) = (0x10, 0x11);
        let both = [listed(a), listed(b)];
        let why = |prefix: &str| find(&both, prefix).expect_err("refused").to_string();
        assert_eq!(why("abab"), "more than one snapshot begins with abab");
        assert_eq!(why("abab1"), "more than one snapshot begins with abab1");
        assert_eq!(find(&both, "abab11").expect("one").digest, Sha256(b));
        assert!(why("aba").contains("too short"));
        assert!(why("sha256:aba").contains("too short"));
        assert!(why("abab12").contains("no snapshot"));
    }
}
