//! `seawall log show | prove | append-event | clock | verify | export`.

use std::path::Path;

use anyhow::Context as _;
use seawall_host::{FsDisk, OsRng, SystemClock};
use seawall_node::{Home, clock_standing, in_words, trust_clock};
use seawall_record::Accepted;
use seawall_sign::Envelope;
use seawall_tlog::{Kind, Log, NoteError, Verifier, merkle};
use serde_json::{Value, json};

use crate::cli::LogCommand;
use crate::output::{Outcome, Printer};

pub(crate) fn run(command: &LogCommand, home: &Path, printer: &Printer) -> anyhow::Result<Outcome> {
    if let LogCommand::Evidence(command) = command {
        return super::evidence::run(command, printer);
    }
    let home = Home::open(home)?;
    let fleet = home.fleet()?;
    let log = home.log(&fleet)?;
    match command {
        LogCommand::Evidence(_) => Ok(Outcome::Done),
        LogCommand::Show => show(&home, &log, printer),
        LogCommand::Prove { index } => prove(&log, *index, printer),
        LogCommand::AppendEvent { kind, text } => append(&home, kind, text, printer),
        LogCommand::Clock { is_right } => clock(&home, *is_right, printer),
        LogCommand::Verify => verify(&home, &log, printer),
        LogCommand::Export { dir } => {
            log.export_tiles(&FsDisk::create(dir)?, ".")?;
            let value = json!({ "dir": dir, "entries": log.size() });
            printer.result(&value, &format!("wrote the tiles of {} entries", log.size()))?;
            Ok(Outcome::Done)
        }
    }
}

fn entries(home: &Home, log: &Log) -> anyhow::Result<Vec<(u64, Envelope, Accepted)>> {
    let mut state = seawall_record::LogState::new(home.fleet()?, log.origin().as_str());
    (0..log.size())
        .map(|index| {
            let entry = log.entry(index)?;
            let accepted = state.accept(&entry).with_context(|| format!("entry {index}"))?;
            Ok((index, Envelope::parse(&entry)?, accepted))
        })
        .collect()
}

fn show(home: &Home, log: &Log, printer: &Printer) -> anyhow::Result<Outcome> {
    let entries = entries(home, log)?;
    let value: Value = entries
        .iter()
        .map(|(index, envelope, accepted)| {
            let (kind, what) = in_words(accepted);
            json!({ "id": envelope.digest().to_hex(), "index": index, "kind": kind, "what": what })
        })
        .collect();
    let mut words = format!("log {}, {} entries\n", log.origin(), log.size());
    for (index, envelope, accepted) in &entries {
        let (kind, what) = in_words(accepted);
        words.push_str(&format!(
            "{index:>6}  {kind:<10} {}  {what}\n",
            &envelope.digest().to_hex()[..12]
        ));
    }
    printer.result(&value, &words)?;
    Ok(Outcome::Done)
}

fn prove(log: &Log, index: u64, printer: &Printer) -> anyhow::Result<Outcome> {
    let signed = log.checkpoint().context("the log has no checkpoint yet; make a snapshot")?;
    let checkpoint = signed.checkpoint();
    anyhow::ensure!(
        index < checkpoint.size,
        "the newest checkpoint covers entries 0 to {}",
        checkpoint.size.saturating_sub(1)
    );
    let proof = log.inclusion(index, checkpoint.size)?;
    let entry = log.entry(index)?;
    merkle::verify_inclusion(
        &merkle::leaf_hash(&entry),
        index,
        checkpoint.size,
        &checkpoint.root,
        &proof,
    )?;
    let note = String::from_utf8_lossy(&signed.to_bytes()).into_owned();
    let value = json!({
        "index": index,
        "size": checkpoint.size,
        "leaf": merkle::leaf_hash(&entry).to_hex(),
        "root": checkpoint.root.to_hex(),
        "proof": proof.iter().map(seawall_tlog::Hash::to_hex).collect::<Vec<_>>(),
        "checkpoint": note,
        "entry": String::from_utf8_lossy(&entry),
    });
    // C2SP tlog-proof: index, proof hashes, an empty line, the checkpoint.
    let words = tlog_proof(index, &proof, &note);
    printer.result(&value, &words)?;
    Ok(Outcome::Done)
}

fn append(home: &Home, kind: &str, text: &str, printer: &Printer) -> anyhow::Result<Outcome> {
    let index = seawall_node::append_event(home, kind, text, &SystemClock, &mut OsRng)?;
    let value = json!({ "index": index, "kind": kind });
    printer.result(&value, &format!("logged as entry {index}"))?;
    Ok(Outcome::Done)
}

fn clock(home: &Home, is_right: bool, printer: &Printer) -> anyhow::Result<Outcome> {
    if is_right {
        trust_clock(home, &SystemClock)?;
    }
    let it = clock_standing(home, &SystemClock)?;
    let value = json!({
        "now": it.now.to_string(),
        "last": it.last.map(|last| last.to_string()),
        "believed": it.is_believed(),
    });
    let last = it.last.map_or_else(|| "nothing yet".to_owned(), |last| last.to_string());
    let verdict = if it.is_believed() {
        "what is logged is dated by it"
    } else {
        "too far ahead: nothing is logged by it. Set it, or say that it is right: seawall log clock --is-right"
    };
    printer
        .result(&value, &format!("the clock shows {}, last heard of {last}: {verdict}", it.now))?;
    Ok(if it.is_believed() { Outcome::Done } else { Outcome::Found })
}

fn tlog_proof(index: u64, proof: &[seawall_tlog::Hash], note: &str) -> String {
    use base64::Engine as _;
    let mut out = format!("c2sp.org/tlog-proof@v1\nindex {index}\n");
    for hash in proof {
        out.push_str(&base64::engine::general_purpose::STANDARD.encode(hash.0));
        out.push('\n');
    }
    out + "\n" + note
}

fn verify(home: &Home, log: &Log, printer: &Printer) -> anyhow::Result<Outcome> {
    let entries = entries(home, log)?;
    let root = merkle::root_of_leaves(
        (0..log.size())
            .map(|i| log.entry(i).map(|e| merkle::leaf_hash(&e)))
            .collect::<Result<Vec<_>, _>>()?,
    );
    anyhow::ensure!(root == log.root(), "the log's entries do not hash to its root");
    let signed = log.checkpoint().context("the log has no checkpoint yet; make a snapshot")?;
    let checkpoint = signed.checkpoint();
    anyhow::ensure!(
        log.root_at(checkpoint.size)? == checkpoint.root,
        "the checkpoint does not match the entries it covers"
    );
    let fleet = home.fleet()?;
    let state = home.log_state(&fleet, log)?;
    let keys = state
        .all_subkeys()
        .map(|k| Verifier::new(log.origin().as_str(), Kind::Signer, &k))
        .collect::<Result<Vec<_>, _>>()?;
    signed.verify(&keys).context("the checkpoint is not signed by this node")?;
    let regions = home.regions(&fleet)?;
    let witnesses = seawall_node::region_cosigners(regions.iter().map(|(_, r)| r));
    let cosigned = match signed.verify(&witnesses) {
        Ok(cosigners) => cosigners.len(),
        Err(NoteError::NoKnownSignature) => 0,
        Err(e) => return Err(e).context("a cosignature of the checkpoint"),
    };
    let value = json!({
        "ok": true,
        "origin": log.origin().as_str(),
        "entries": entries.len(),
        "size": checkpoint.size,
        "root": checkpoint.root.to_hex(),
        "cosignatures": cosigned,
    });
    let words = format!(
        "{} entries, every signature and the chain of snapshots hold; root {}; {cosigned} cosignatures",
        entries.len(),
        checkpoint.root.to_hex(),
    );
    printer.result(&value, &words)?;
    Ok(Outcome::Done)
}
