//! `seawall log evidence verify`: what two signed checkpoints prove, or a custodian's report of a
//! bad share, offline.

use std::path::Path;

use anyhow::Context as _;
use seawall_base::FleetId;
use seawall_custodian::judge_bad_share;
use seawall_record::{BadShareFile, EvidenceFile, Sighting};
use seawall_tlog::{Kind, Misconduct, Pair, SignedCheckpoint, Verifier};
use serde_json::{Value, json};

use crate::cli::EvidenceCommand;
use crate::output::{Outcome, Printer, read_input};

pub(crate) fn run(command: &EvidenceCommand, printer: &Printer) -> anyhow::Result<Outcome> {
    match command {
        EvidenceCommand::Verify { file, fleet_id } => verify(file, fleet_id.as_deref(), printer),
    }
}

fn verify(file: &Path, fleet_id: Option<&str>, printer: &Printer) -> anyhow::Result<Outcome> {
    let pinned = fleet_id.map(super::node::parse_fleet_id).transpose()?;
    let json = read_input(file)?;
    if serde_json::from_slice::<Value>(&json).is_ok_and(|it| it["format"] == BadShareFile::FORMAT) {
        return bad_share(&json, pinned, printer);
    }
    let evidence = EvidenceFile::parse(&json)?;
    let opened = evidence.open()?;
    let fleet = opened.fleet.id();
    anyhow::ensure!(
        pinned.is_none_or(|pinned| pinned == fleet),
        "the evidence is of {fleet}, another fleet"
    );
    let first = checkpoint(&evidence.first)?;
    let second = checkpoint(&evidence.second)?;
    let origin = opened.author.origin();
    anyhow::ensure!(
        first.checkpoint().origin.as_str() == origin,
        "the checkpoints are of another log than {origin}, whose keys the file has"
    );
    let pair = Pair::new(first, second, evidence.beginning())?;
    let log: Vec<Verifier> = opened
        .author
        .keys()
        .map(|key| Verifier::new(&origin, Kind::Signer, &key))
        .collect::<Result<_, _>>()?;
    let witnesses: Vec<Verifier> = seawall_node::roster(opened.fleet.policy(), &[]).verifiers();
    let found = pair.judge(&log, &witnesses);
    let words: Vec<String> = found.iter().map(in_words).collect();
    let value = json!({
        "fleet": fleet.to_hex(),
        "origin": origin,
        "claimed": evidence.finding,
        "seen": [seen(&evidence.first), seen(&evidence.second)],
        "proven": words,
    });
    let mut text = format!(
        "fleet {}\nlog {origin}, of {}\n{} showed {} entries, {} showed {}\n",
        fleet.to_hex(),
        opened.author.enrolment.name,
        evidence.first.seen_at,
        pair.smaller().checkpoint().size,
        evidence.second.seen_at,
        pair.larger().checkpoint().size,
    );
    for line in &words {
        text.push_str(&format!("PROVEN: {line}\n"));
    }
    if words.is_empty() {
        text.push_str("these two checkpoints prove nothing against anybody\n");
    }
    printer.result(&value, &text)?;
    Ok(if words.is_empty() { Outcome::Found } else { Outcome::Done })
}

/// What a custodian's report of a bad share proves.
fn bad_share(json: &[u8], pinned: Option<FleetId>, printer: &Printer) -> anyhow::Result<Outcome> {
    let judged = judge_bad_share(json)?;
    let it = &judged.opened;
    let fleet = it.fleet.id();
    anyhow::ensure!(
        pinned.is_none_or(|pinned| pinned == fleet),
        "the report is of {fleet}, another fleet"
    );
    let node = &it.arrived.author.enrolment;
    let manifest = it.arrived.envelope.digest().to_hex();
    let verdict = if judged.is_proven {
        format!(
            "PROVEN: node {} dealt custodian {} another post-quantum share than it committed to",
            node.name, it.custodian.name
        )
    } else {
        format!(
            "not proven: the word of custodian {} against node {}'s; opening the snapshot shows who is right",
            it.custodian.name, node.name
        )
    };
    let value = json!({
        "fleet": fleet.to_hex(),
        "snapshot": manifest,
        "node": node.node().to_hex(),
        "node_name": node.name,
        "custodian": it.custodian.name,
        "reason": it.report.reason,
        "proven": judged.is_proven,
    });
    let text = format!(
        "fleet {}\nsnapshot {manifest}, of node {}\ncustodian {} says: {}\n{verdict}\n",
        fleet.to_hex(),
        node.name,
        it.custodian.name,
        it.report.reason,
    );
    printer.result(&value, &text)?;
    Ok(if judged.is_proven { Outcome::Done } else { Outcome::Found })
}

fn checkpoint(sighting: &Sighting) -> anyhow::Result<SignedCheckpoint> {
    SignedCheckpoint::parse(sighting.checkpoint.as_bytes())
        .with_context(|| format!("the checkpoint that {} showed", sighting.seen_at))
}

fn seen(sighting: &Sighting) -> Value {
    json!({ "at": sighting.seen_at, "checkpoint": sighting.checkpoint })
}

fn in_words(found: &Misconduct) -> String {
    match found {
        Misconduct::LogForked => {
            "the log forked: its node signed two histories that cannot both be true".to_owned()
        }
        Misconduct::WitnessForked { name } => {
            format!("{name} cosigned two histories that cannot both be true")
        }
        Misconduct::WitnessWentBack { name, had, then } => {
            format!("{name} cosigned fewer entries {then} than it had {had}")
        }
    }
}
