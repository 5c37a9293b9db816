//! `seawall fleet retention show | propose | sign | apply`.

use std::path::Path;

use anyhow::Context as _;
use seawall_host::{OsRng, SystemClock};
use seawall_node::{Home, apply_retention, propose_retention, read_retention, region_retention};
use seawall_record::Retention;
use seawall_sign::Envelope;
use serde_json::{Value, json};

use super::policy::root_keys;
use crate::cli::RetentionCommand;
use crate::commands::prune::rules;
use crate::output::{Printer, Usage, read_input};

pub(super) fn run(
    home: &Home,
    command: &RetentionCommand,
    printer: &Printer,
) -> anyhow::Result<()> {
    match command {
        RetentionCommand::Show => match region_retention(home)? {
            Some(it) => printer.result(&as_json(&it), &in_words(&it)),
            None => {
                printer.result(&Value::Null, "regions let nothing of this node's snapshots expire")
            }
        },
        RetentionCommand::Propose { counts, within, tags, out } => {
            let rules = rules(counts, within, tags);
            rules.check().map_err(|e| Usage(e.to_string()))?;
            write(&propose_retention(home, rules, &SystemClock)?, out, printer)
        }
        RetentionCommand::Sign { rules, root_key, out } => {
            let mut envelope = envelope(rules)?;
            for key in &root_keys(home, root_key.as_deref())? {
                envelope = envelope.and_sign(key)?;
            }
            write(&envelope, out, printer)
        }
        RetentionCommand::Apply { rules } => {
            let it = apply_retention(home, &envelope(rules)?, &SystemClock, &mut OsRng)?;
            let words = format!("{}; regions learn of it at the next seawall sync", in_words(&it));
            printer.result(&as_json(&it), &words)
        }
    }
}

fn envelope(path: &Path) -> anyhow::Result<Envelope> {
    Envelope::parse(read_input(path)?.trim_ascii())
        .with_context(|| format!("{} holds no rules", path.display()))
}

fn write(envelope: &Envelope, out: &Path, printer: &Printer) -> anyhow::Result<()> {
    let mut json = envelope.to_json();
    json.push(b'\n');
    let it = read_retention(envelope)?;
    let signers = envelope.signers().count();
    let words = format!("{}; {signers} root keys signed it", in_words(&it));
    printer.described(out, &json, (as_json(&it), &words))
}

fn as_json(it: &Retention) -> Value {
    json!({
        "node": it.node.to_string(),
        "version": it.version,
        "rules": it.rules,
        "policy": it.policy,
        "created": it.created.to_string(),
    })
}

fn in_words(it: &Retention) -> String {
    format!("version {}: regions keep {}", it.version, it.rules)
}
