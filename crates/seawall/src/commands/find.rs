//! `seawall find`.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use comfy_table::{Table, presets};
use seawall_backup::find::{
    Answer, CacheError, CacheStats, Filter, Found, Match, Pattern, SnapshotFacts,
};
use seawall_backup::path_index::PathKind;
use seawall_base::Timestamp;
use seawall_host::OsRng;
use seawall_node::{Finder, Home, HomeError, Listed, Reach, Tiers, Updated, list_snapshots};
use serde_json::{Value, json};

use super::snapshot::{Copies, find as find_snapshot, pulled};
use crate::cli::{FindArgs, FindKind};
use crate::output::{Outcome, Printer, Usage, human, show_path};

/// Snapshots for which the command that asks for them is shown.
const REQUESTS: usize = 5;

pub(crate) fn run(args: &FindArgs, home: &Path, printer: &Printer) -> anyhow::Result<Outcome> {
    let pattern = pattern(args)?;
    let home = Home::open(home)?;
    let finder = Finder::open(&home, &mut OsRng)?;
    if args.rebuild {
        finder.forget(&mut OsRng)?;
    }
    let copies = if args.offline { Copies::default() } else { pulled(&home, printer)? };
    let snapshots = list_snapshots(&home, &copies.logs)?;
    let mut updated = update(&finder, &home, &snapshots, args, printer)?;
    let filter = filter(args, &snapshots)?;
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let find = || finder.find(&pattern, &filter, args.limit, threads);
    let (answer, stats) = match find() {
        Err(HomeError::Cache(e @ CacheError::Damaged { .. })) => {
            printer.warn(&format!("{e}: it is built again"));
            finder.forget(&mut OsRng)?;
            updated = update(&finder, &home, &snapshots, args, printer)?;
            find()?
        }
        answer => answer?,
    };
    let value = json!({
        "found": answer.found.iter().map(as_value).collect::<Vec<_>>(),
        "more": answer.more,
        "searched": stats.snapshots,
        "versions": stats.rows,
        "without_index": updated.without,
        "not_searched": updated.unsearched,
        "new": updated.taken,
    });
    printer.result(&value, &words(&answer, &filter))?;
    say(&answer, &updated, stats, args, printer);
    Ok(if updated.unsearched > 0 || copies.refused {
        Outcome::Partly
    } else if answer.found.is_empty() {
        Outcome::Found
    } else {
        Outcome::Done
    })
}

fn pattern(args: &FindArgs) -> anyhow::Result<Pattern> {
    let how = &args.how;
    let asked = [
        (how.exact, Match::Exact),
        (how.prefix, Match::Prefix),
        (how.glob, Match::Glob),
        (how.regex, Match::Regex),
    ];
    let how = asked.into_iter().find(|(is_it, _)| *is_it).map_or(Match::Substring, |(_, how)| how);
    let pattern = Pattern::new(args.pattern.as_bytes(), how, args.ignore_case);
    pattern.map_err(|e| Usage(e.to_string()).into())
}

/// Takes in what is new.
fn update(
    finder: &Finder,
    home: &Home,
    snapshots: &[Listed],
    args: &FindArgs,
    printer: &Printer,
) -> anyhow::Result<Updated> {
    let mut reach = || {
        if args.offline {
            return Ok(Tiers { objects: Box::new(Reach::local(home)?), are_all: false });
        }
        let (reach, unreached) = Reach::open(home)?;
        let are_all = unreached.is_empty();
        for (name, e) in unreached {
            printer.warn(&format!("{name}: {e}"));
        }
        Ok(Tiers { objects: Box::new(reach), are_all })
    };
    let bar = printer.count_bar("reading");
    let mut progress = |done: &Updated| bar.set_position(done.rows);
    let updated = finder.update(snapshots, &mut reach, &mut OsRng, &mut progress);
    bar.finish_and_clear();
    let updated = updated?;
    for note in &updated.notes {
        printer.warn(note);
    }
    Ok(updated)
}

fn filter(args: &FindArgs, snapshots: &[Listed]) -> anyhow::Result<Filter> {
    let snapshot = args.snapshot.as_ref().map(|id| find_snapshot(snapshots, id)).transpose()?;
    if let Some(name) = &args.node {
        anyhow::ensure!(
            snapshots.iter().any(|s| s.node == *name),
            "no snapshot of a node {name:?} is known; see `seawall snapshot list --all`"
        );
    }
    let is_forgotten = |s: &&Listed| s.forgotten.is_some();
    Ok(Filter {
        snapshot: snapshot.map(|s| s.digest),
        since: args.since.map(|at| Timestamp(at.as_second().max(0).cast_unsigned())),
        forgotten: snapshots.iter().filter(is_forgotten).map(|s| s.digest).collect(),
        node: args.node.clone(),
        kinds: args.kinds.iter().flat_map(|kind| kinds(*kind)).copied().collect(),
        min_size: args.min_size,
        max_size: args.max_size,
        modified_since: args.modified_since.map(jiff::Timestamp::as_second),
        modified_before: args.modified_before.map(jiff::Timestamp::as_second),
    })
}

const fn kinds(kind: FindKind) -> &'static [PathKind] {
    match kind {
        FindKind::File => &[PathKind::File, PathKind::HardLink],
        FindKind::Directory => &[PathKind::Directory],
        FindKind::Symlink => &[PathKind::Symlink],
        FindKind::Other => &[PathKind::Fifo, PathKind::CharDevice, PathKind::BlockDevice],
    }
}

/// A time that a node or a file says; any number may stand there.
fn time(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |t| t.to_string())
}

fn request(snapshot: &SnapshotFacts) -> String {
    let id = &snapshot.digest.to_hex()[..12];
    format!("seawall restore request {id} --reason 'why' --out request.json")
}

fn as_value(found: &Found) -> Value {
    let snapshot = |s: &SnapshotFacts| {
        json!({
            "id": s.digest.to_hex(),
            "sequence": s.sequence,
            "created": s.created.to_string(),
        })
    };
    json!({
        "path": show_path(&found.path),
        "kind": found.kind.name(),
        "size": found.size,
        "modified": time(found.mtime),
        "node": found.line.node_name,
        "first": snapshot(&found.first),
        "last": snapshot(&found.last),
        "snapshots": found.snapshots,
        "stands": found.stands,
        "ask": found.ask.digest.to_hex(),
        "request": request(&found.ask),
    })
}

fn words(answer: &Answer, filter: &Filter) -> String {
    if answer.found.is_empty() {
        return "nothing was found".to_owned();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["PATH", "KIND", "SIZE", "MODIFIED", "NODE", "FIRST", "LAST", "IN", "ASK"]);
    let mut asked: BTreeMap<_, (&SnapshotFacts, usize)> = BTreeMap::new();
    for found in &answer.found {
        let is_file = found.kind == PathKind::File;
        table.add_row([
            show_path(&found.path),
            found.kind.name().to_owned(),
            if is_file { human(found.size) } else { String::new() },
            time(found.mtime),
            show_path(found.line.node_name.as_bytes()),
            found.first.created.to_string(),
            if found.stands { "newest".to_owned() } else { found.last.created.to_string() },
            found.snapshots.to_string(),
            found.ask.digest.to_hex()[..12].to_owned(),
        ]);
        asked.entry(found.ask.digest).or_insert((&found.ask, 0)).1 += 1;
    }
    let mut lines = vec![table.to_string(), String::new()];
    let mut asked: Vec<_> = asked.into_values().collect();
    asked.sort_by_key(|(snapshot, count)| (std::cmp::Reverse(*count), snapshot.created));
    for (snapshot, count) in asked.iter().take(REQUESTS) {
        let gone = filter.forgotten.contains(&snapshot.digest);
        let gone = if gone { "; forgotten by its node, other tiers may have it" } else { "" };
        lines.push(format!("{}   # holds {count} of these{gone}", request(snapshot)));
    }
    if asked.len() > REQUESTS {
        lines.push(format!("and {} snapshots more, by ASK", asked.len() - REQUESTS));
    }
    lines.join("\n")
}

fn say(answer: &Answer, updated: &Updated, stats: CacheStats, args: &FindArgs, printer: &Printer) {
    let mut said = vec![format!("searched {} snapshots", stats.snapshots)];
    if answer.more {
        said.push(format!("there is more than the {} shown (--limit)", args.limit));
    }
    if updated.without > 0 {
        said.push(format!("{} have no index for this operator", updated.without));
    }
    if updated.unsearched > 0 {
        said.push(format!("{} could not be searched", updated.unsearched));
    }
    printer.say(&said.join("; "));
}
