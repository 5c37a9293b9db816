//! `seawall fleet retention show | propose | sign | apply`.

use std::path::Path;

use anyhow::Context as _;
use seawall_host::{OsRng, SystemClock};
use seawall_node::{
    Home, RootFile, apply_retention, member_named, propose_retention, read_retention,
    region_retention,
};
use seawall_record::{Fleet, Retention};
use seawall_sign::Envelope;
use serde_json::{Value, json};

use super::sign::{adding, agree, describe, known_fleet, signers};
use crate::cli::RetentionCommand;
use crate::commands::prune::rules;
use crate::output::{Printer, Usage, read_input};

pub(super) fn run(
    path: &Path,
    command: &RetentionCommand,
    printer: &Printer,
) -> anyhow::Result<()> {
    match command {
        RetentionCommand::Show => match region_retention(&Home::open(path)?)? {
            Some(it) => printer.result(&as_json(&it), &in_words(&it)),
            None => {
                printer.result(&Value::Null, "regions let nothing of this node's snapshots expire")
            }
        },
        RetentionCommand::Propose { node, roots, counts, within, tags, out } => {
            let home = &Home::open(path)?;
            let rules = rules(counts, within, tags);
            rules.check().map_err(|e| Usage(e.to_string()))?;
            let node = node.as_ref().map(|name| member_named(home, name)).transpose()?;
            let roots = signers(home, roots)?;
            let file = propose_retention(home, node, rules, &roots, &SystemClock)?;
            write(&file, &home.fleet()?, out, printer)
        }
        RetentionCommand::Sign { rules, sign } => {
            let fleet = known_fleet(path, sign.fleet.fleet.as_deref())?;
            let mut file = RootFile::Statement(envelope(rules)?);
            file.check(&fleet).with_context(|| rules.display().to_string())?;
            agree(&describe(&file, &fleet)?.words, sign.yes, printer)?;
            for key in &adding(path, &fleet, &sign.root_key)? {
                file = file.sign(&fleet, key)?;
            }
            let RootFile::Statement(envelope) = file else { unreachable!("signed as it was") };
            write(&envelope, &fleet, &sign.out, printer)
        }
        RetentionCommand::Apply { rules } => {
            let home = &Home::open(path)?;
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

fn write(envelope: &Envelope, fleet: &Fleet, out: &Path, printer: &Printer) -> anyhow::Result<()> {
    let mut json = envelope.to_json();
    json.push(b'\n');
    let it = read_retention(envelope)?;
    let (have, need) = fleet.root_signatures(envelope);
    let words = format!("{}; {have} of {need} root keys signed it", in_words(&it));
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
