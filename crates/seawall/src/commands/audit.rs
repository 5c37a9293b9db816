//! `seawall audit`.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::Context as _;
use seawall_base::{Sha256, Timestamp};
use seawall_node::{
    Happening, Home, OriginProof, Proof, Provenance, add_exported, audit, audit_exported,
    prove_origin, provenance,
};
use seawall_record::{Ending, Use};
use serde_json::{Value, json};

use super::snapshot::{pulled, witnessed};
use crate::cli::AuditArgs;
use crate::output::{Outcome, Printer, write_output};

pub(crate) fn run(args: &AuditArgs, home: &Path, printer: &Printer) -> anyhow::Result<Outcome> {
    let home = Home::open(home)?;
    if let Some(file) = &args.file {
        return origin_of(&home, file, printer);
    }
    let copies =
        if args.offline { super::snapshot::Copies::default() } else { pulled(&home, printer)? };
    let mut all = audit(&home, &copies.logs)?;
    let mut outcome = if copies.refused { Outcome::Found } else { Outcome::Done };
    for dir in &args.logs {
        let more = audit_exported(&home, dir).with_context(|| format!("log {}", dir.display()))?;
        if let Some((origin, index)) = add_exported(&mut all, more) {
            printer.warn(&format!(
                "{} contradicts another copy of log {origin} from entry {index} on: whoever has its keys signed two histories; both are listed",
                dir.display()
            ));
            outcome = Outcome::Found;
        }
    }
    all.sort_by_key(|it| it.at);
    all.retain(|it| is_wanted(it, args));
    if let Some(out) = &args.export {
        let mut lines = String::new();
        for it in &all {
            lines.push_str(&value(it).to_string());
            lines.push('\n');
        }
        write_output(out, lines.as_bytes())?;
        if out.as_os_str() != "-" {
            let words = format!("wrote {} lines to {}", all.len(), out.display());
            printer.result(&json!({ "file": out, "lines": all.len() }), &words)?;
        }
        return Ok(outcome);
    }
    let lines: Vec<_> = all.iter().map(line).collect();
    let words =
        if lines.is_empty() { "nothing of that is on record".to_owned() } else { lines.join("\n") };
    printer.result(&all.iter().map(value).collect::<Value>(), &words)?;
    Ok(outcome)
}

fn is_wanted(it: &Happening, args: &AuditArgs) -> bool {
    let since = args
        .since
        .is_none_or(|since| i64::try_from(it.at.0).is_ok_and(|at| at >= since.as_second()));
    let did = |actor: &String| it.actor == *actor || it.signers.contains(actor);
    let actor = args.actor.as_ref().is_none_or(did);
    let snapshot = args.snapshot.as_ref().is_none_or(|id| {
        let id = id.strip_prefix("sha256:").unwrap_or(id);
        it.snapshots.iter().any(|s| s.to_hex().starts_with(id))
    });
    since && actor && snapshot
}

fn line(it: &Happening) -> String {
    let place = match &it.proof {
        Proof::Log { seen_in, index, checkpoint, witnessed, .. } => {
            let proven = if checkpoint.is_some() { "" } else { ", no checkpoint yet" };
            format!("entry {index}, {seen_in}{proven}, level {}", witnessed.level)
        }
        Proof::Kept => "signed, kept with the restore".to_owned(),
        Proof::Policy { version } => format!("policy {version}, signed by the root keys"),
    };
    let mut out = format!("{}  {:<10} {:<16} {}  [{place}]", it.at, it.kind, it.actor, it.what);
    let digests = it.snapshots.iter().map(|s| format!("\n    snapshot {}", s.to_hex()));
    out.extend(digests);
    if it.kind != "request" {
        out.extend(it.request.iter().map(|r| format!("\n    request {}", r.to_hex())));
    }
    out.extend(it.approvals.iter().map(|a| format!("\n    approval {}", a.to_hex())));
    out
}

fn hex(all: &[Sha256]) -> Value {
    all.iter().map(|d| json!(d.to_hex())).collect()
}

fn value(it: &Happening) -> Value {
    let proof = match &it.proof {
        Proof::Log { origin, seen_in, index, inclusion, checkpoint, witnessed: by } => json!({
            "origin": origin,
            "seen_in": seen_in,
            "index": index,
            "inclusion": hex(inclusion),
            "checkpoint": checkpoint,
            "witnessed": witnessed(by),
        }),
        Proof::Kept | Proof::Policy { .. } => Value::Null,
    };
    json!({
        "id": it.id().to_hex(),
        "at": it.at.to_string(),
        "actor": it.actor,
        "kind": it.kind,
        "what": it.what,
        "snapshots": hex(&it.snapshots),
        "request": it.request.map(|r| r.to_hex()),
        "approvals": hex(&it.approvals),
        "signers": it.signers,
        "statement": it.statement.to_hex(),
        "log": proof,
    })
}

/// When the system changed an entry, if that was after `since`. Nobody else sets this time.
fn touched_since(path: &Path, since: Timestamp) -> std::io::Result<Option<Timestamp>> {
    let changed = u64::try_from(path.symlink_metadata()?.ctime()).map(Timestamp);
    Ok(changed.ok().filter(|at| *at > since))
}

/// Says what a restored file came from.
fn origin_of(home: &Home, file: &Path, printer: &Printer) -> anyhow::Result<Outcome> {
    let cannot = || format!("cannot look at {}", file.display());
    // The last name is not followed: a restored symbolic link is itself something restored.
    let whole = std::path::absolute(file).with_context(cannot)?;
    let real = match (whole.parent(), whole.file_name()) {
        (Some(parent), Some(name)) => parent.canonicalize().with_context(cannot)?.join(name),
        _ => whole,
    };
    let (record, path) = provenance(home, &real)?.with_context(|| {
        format!(
            "nothing on record says that {} was restored here; ask on the machine that restored it, by the path it was restored to",
            real.display()
        )
    })?;
    anyhow::ensure!(real.symlink_metadata().is_ok(), "there is nothing at {}", real.display());
    let touched = touched_since(&real, record.restored).with_context(cannot)?;
    let proof = prove_origin(home, &record)?;
    let value = json!({
        "file": real,
        "path": path,
        "site": record.site,
        "snapshot": record.snapshot.manifest.to_hex(),
        "sequence": record.snapshot.sequence,
        "origin": record.snapshot.origin,
        "index": record.index,
        "created": record.created.to_string(),
        "restored": record.restored.to_string(),
        "target": record.target,
        "request": record.request.to_hex(),
        "approvals": hex(&record.approvals),
        "what": record.what,
        "ending": record.ending,
        "checkpoint": proof.as_ref().map(|p| &p.checkpoint),
        "inclusion": proof.as_ref().map(|p| hex(&p.inclusion)),
        "touched_since": touched.map(|at| at.to_string()),
        "refused_today": proof.as_ref().and_then(|p| p.refused_today.as_ref()),
    });
    let is = if touched.is_some() { "lies where it would be" } else { "is" };
    let words = origin_in_words((&real, is, &path), &record, proof.as_ref());
    printer.result(&value, &words)?;
    let mut outcome = Outcome::Done;
    if record.ending == Ending::Failed {
        printer.warn("that restore failed: what lies there need not be whole, nor all of it there");
        outcome = Outcome::Partly;
    }
    if let Some(at) = touched {
        printer.warn(&format!(
            "it was changed, or put there, {at}, after the restore: only its snapshot can tell whether it is what was sealed (seawall diff)"
        ));
        outcome = Outcome::Partly;
    }
    Ok(outcome)
}

fn origin_in_words(
    (real, is, path): (&Path, &str, &Path),
    record: &Provenance,
    proof: Option<&OriginProof>,
) -> String {
    let proven = proof.map_or_else(
        || "its request is not kept here any more: nothing proves this".to_owned(),
        |p| {
            let today = p.refused_today.as_ref();
            let today = today.map_or_else(String::new, |e| format!("; no longer acceptable: {e}"));
            format!("proven under a checkpoint of {} entries{today}", p.log_size)
        },
    );
    let ended = match (record.ending, record.what) {
        (Ending::Failed, _) => ", which failed",
        (Ending::Partly, _) => ", which left out what was lost or not allowed",
        (Ending::Done, Use::Part) => ", a part of the snapshot",
        (Ending::Done, _) => "",
    };
    format!(
        "{} {is} {} of site {}\n  snapshot   {}\n  number {}, made {}\n  in log {} at index {}, {proven}\n  restored {} into {}{ended}\n  request    {}\n  approvals  {}\nwhether it was changed since, only its snapshot can tell",
        real.display(),
        path.display(),
        record.site,
        record.snapshot.manifest.to_hex(),
        record.snapshot.sequence,
        record.created,
        record.snapshot.origin,
        record.index,
        record.restored,
        record.target,
        record.request.to_hex(),
        record.approvals.iter().map(|a| a.to_hex()[..12].to_owned()).collect::<Vec<_>>().join(" "),
    )
}
