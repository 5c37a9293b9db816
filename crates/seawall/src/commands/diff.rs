//! `seawall diff`.

use std::path::Path;

use seawall_backup::diff::{Change, What, diff};
use seawall_node::{Home, view};
use seawall_record::{Ending, Use};
use serde_json::{Value, json};

use super::restore::{kind_of, note_use, open, reach, read_approvals};
use crate::cli::DiffArgs;
use crate::output::{Outcome, Printer, from_root};

pub(crate) fn run(args: &DiffArgs, home: &Path, printer: &Printer) -> anyhow::Result<Outcome> {
    let home = Home::open(home)?;
    let approvals = read_approvals(&args.approvals)?;
    let old = open(&home, &args.old, &approvals, printer)?;
    let new = open(&home, &args.new, &approvals, printer)?;
    // An approval is good for one of the two requests, and refused by the other.
    for (name, e) in &old.refused {
        if new.refused.iter().any(|(other, _)| other == name) {
            printer.warn(&format!("{name} was not used: {e}"));
        }
    }
    for opened in [&old, &new] {
        note_use(&home, opened, (Use::Diff, Ending::Done), None, printer);
    }
    let reach = reach(&home, printer)?;
    let (from, to) = (view(&reach, &old)?, view(&reach, &new)?);
    let mut changes = Vec::new();
    let summary = diff(&from, &to, &mut |change| changes.push(change))?;
    let mut lines: Vec<_> = changes.iter().map(line).collect();
    lines.push(if summary.is_equal() {
        "nothing differs".to_owned()
    } else {
        format!("{} added, {} removed, {} changed", summary.added, summary.removed, summary.changed)
    });
    for change in &changes {
        if let What::Unknown(why) = &change.what {
            printer.warn(&format!("{}: cannot be compared: {why}", from_root(&change.path)));
        }
    }
    let value = json!({
        "old": old.examined.dossier.manifest_digest.to_hex(),
        "new": new.examined.dossier.manifest_digest.to_hex(),
        "equal": summary.is_equal(),
        "added": summary.added,
        "removed": summary.removed,
        "changed": summary.changed,
        "unknown": summary.unknown,
        "changes": changes.iter().map(as_value).collect::<Vec<_>>(),
    });
    printer.result(&value, &lines.join("\n"))?;
    Ok(if summary.unknown > 0 {
        Outcome::Partly
    } else if summary.is_equal() {
        Outcome::Done
    } else {
        Outcome::Found
    })
}

fn line(change: &Change) -> String {
    let path = from_root(&change.path);
    match &change.what {
        What::Added(entry) => format!("+ {path} ({})", kind_of(entry)),
        What::Removed(entry) => format!("- {path} ({})", kind_of(entry)),
        What::Changed(aspects) => {
            let aspects: Vec<_> = aspects.iter().map(ToString::to_string).collect();
            format!("* {path} ({})", aspects.join(", "))
        }
        What::Unknown(_) => format!("? {path}"),
    }
}

fn as_value(change: &Change) -> Value {
    let path = from_root(&change.path);
    match &change.what {
        What::Added(entry) => json!({ "path": path, "what": "added", "kind": kind_of(entry) }),
        What::Removed(entry) => json!({ "path": path, "what": "removed", "kind": kind_of(entry) }),
        What::Changed(aspects) => {
            let aspects: Vec<_> = aspects.iter().map(ToString::to_string).collect();
            json!({ "path": path, "what": "changed", "aspects": aspects })
        }
        What::Unknown(why) => json!({ "path": path, "what": "unknown", "why": why.to_string() }),
    }
}
