//! `seawall restore run --path | --glob | --dry-run`: a part of a snapshot, or only its list.

use std::path::Path;

use anyhow::Context as _;
use seawall_backup::browse::{Selection, Step, Visited, Walk, Walked, restore_selected};
use seawall_backup::entry::{Entry, EntryKind};
use seawall_backup::target::{Options, Target};
use seawall_node::{Home, Opened, view};
use serde_json::{Value, json};

use super::{Done, check_paths, is_privileged, reach};
use crate::output::{Outcome, Printer, from_root, human, show_path};

/// What an entry is, in one word.
pub(crate) const fn kind_of(entry: &Entry) -> &'static str {
    match entry.kind {
        EntryKind::File { .. } => "file",
        EntryKind::Directory { .. } => "directory",
        EntryKind::Symlink { .. } => "symlink",
        EntryKind::Fifo => "fifo",
        EntryKind::CharDevice { .. } => "character device",
        EntryKind::BlockDevice { .. } => "block device",
        EntryKind::HardLink { .. } => "hard link",
    }
}

/// Restores the selected part of an opened snapshot.
pub(super) fn write(
    home: &Home,
    opened: &Opened,
    selection: &Selection,
    to: &Path,
    options: Options,
    printer: &Printer,
) -> anyhow::Result<Done> {
    let view = view(&reach(home, printer)?, opened)?;
    check_paths(&view, selection)?;
    // Up to the first match only, and before there is anything to be left behind.
    anyhow::ensure!(
        Walk::new(&view, selection).next()?.is_some(),
        "nothing in the snapshot matches, and nothing was written; `--dry-run --json` without \
         --path and --glob lists what there is"
    );
    let target = Target::create(to, options)
        .context("nothing was restored (--resume finishes an interrupted restore)")?;
    let bar = printer.bytes_bar("restoring", None);
    let picked = restore_selected(&view, selection, target, &mut |walked| {
        bar.set_position(walked.bytes);
    });
    bar.finish_and_clear();
    let picked = picked.context("the restore ended early; --resume continues it")?;
    for refused in &picked.refused {
        printer.warn(&refused.to_string());
    }
    for lost in &picked.lost {
        printer.warn(&format!("{}: not restored: {}", from_root(&lost.path), lost.why));
    }
    if picked.refused.iter().any(is_privileged) {
        printer.say("set-uid and set-gid bits, capabilities and devices need --privileged");
    }
    let walked = picked.walked;
    let refused = picked
        .refused
        .iter()
        .map(|r| json!({ "path": show_path(&r.path), "what": r.what.to_string() }));
    let lost =
        picked.lost.iter().map(|l| json!({ "path": from_root(&l.path), "why": l.why.to_string() }));
    let mut value = figures(opened, walked);
    value["to"] = json!(to);
    value["custodians"] = json!(opened.custodians);
    value["refused"] = refused.collect();
    value["lost"] = lost.collect();
    let proven = if picked.lost.is_empty() {
        "every object is of the signed set; whether it is all of it, only a whole restore can tell"
    } else {
        "NOT complete: see the files named above"
    };
    let words = format!(
        "restored {} files, {} directories, {} below {}\n{proven}",
        walked.files,
        walked.directories,
        human(walked.bytes),
        to.display(),
    );
    let whole = picked.lost.is_empty() && picked.refused.is_empty();
    let outcome = if whole { Outcome::Done } else { Outcome::Partly };
    Ok(Done { value, words, outcome, files: walked.files, bytes: walked.bytes })
}

fn figures(opened: &Opened, walked: Walked) -> Value {
    json!({
        "snapshot": opened.examined.dossier.manifest_digest.to_hex(),
        "files": walked.files,
        "directories": walked.directories,
        "others": walked.others,
        "bytes": walked.bytes,
    })
}

/// Says what would be restored. Reads directories, and no file.
pub(super) fn preview(
    home: &Home,
    opened: &Opened,
    selection: &Selection,
    printer: &Printer,
) -> anyhow::Result<Done> {
    let view = view(&reach(home, printer)?, opened)?;
    check_paths(&view, selection)?;
    let mut walk = Walk::new(&view, selection);
    let (mut paths, mut lost, mut powers) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(step) = walk.next()? {
        match step {
            Step::Enter(it) | Step::Leaf(it) => {
                powers.extend(powers_of(&it).map(|what| (it.path.clone(), what)));
                if printer.is_json() {
                    paths.push(listed(&it));
                }
            }
            Step::Leave(_) => {}
            Step::Lost { path, why } => {
                printer.warn(&format!("{}: cannot be read: {why}", from_root(&path)));
                lost.push(json!({ "path": from_root(&path), "why": why.to_string() }));
            }
        }
    }
    let walked = walk.yielded();
    anyhow::ensure!(
        walked != Walked::default() || !lost.is_empty(),
        "nothing in the snapshot matches; without --path and --glob all of it is listed"
    );
    let mut words = format!(
        "would restore {} files, {} directories, {} links and special files, {}",
        walked.files,
        walked.directories,
        walked.others,
        human(walked.bytes),
    );
    for (path, what) in &powers {
        words.push_str(&format!("\n{} needs --privileged: {what}", from_root(path)));
    }
    let outcome = if lost.is_empty() { Outcome::Done } else { Outcome::Partly };
    let powers = powers.iter().map(|(path, what)| json!({ "path": from_root(path), "what": what }));
    let mut value = figures(opened, walked);
    value["dry_run"] = json!(true);
    value["privileged"] = powers.collect();
    value["lost"] = json!(lost);
    value["paths"] = json!(paths);
    Ok(Done { value, words, outcome, files: walked.files, bytes: walked.bytes })
}

fn listed(it: &Visited) -> Value {
    let size = match &it.entry.kind {
        EntryKind::File { size, .. } if it.link.is_none() => *size,
        _ => 0,
    };
    let kind = if it.link.is_some() { "hard link" } else { kind_of(&it.entry) };
    json!({ "path": from_root(&it.path), "kind": kind, "size": size })
}

/// What of an entry is restored only where that is asked for.
fn powers_of(it: &Visited) -> impl Iterator<Item = &'static str> {
    const CAPABILITY: &[u8] = b"security.capability";
    let is_file = matches!(it.entry.kind, EntryKind::File { .. });
    let is_device =
        matches!(it.entry.kind, EntryKind::CharDevice { .. } | EntryKind::BlockDevice { .. });
    let meta = &it.entry.meta;
    let has = [
        (is_file && meta.mode & 0o4000 != 0, "set-uid bit"),
        (is_file && meta.mode & 0o2000 != 0, "set-gid bit"),
        (is_file && meta.xattrs.iter().any(|x| x.name == CAPABILITY), "capabilities"),
        (is_device, "device"),
    ];
    has.into_iter().filter_map(|(has, what)| has.then_some(what))
}
