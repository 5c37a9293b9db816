//! Golden vectors: `tests/vectors/log.json`, for a second implementation to check as well.
//!
//! Everything in the file is computed here from fixed keys and entries. `SEAWALL_BLESS=1` rewrites
//! the file; without it the file must be byte for byte what the code makes.

use std::sync::Arc;

use seawall_base::{FleetId, NodeId, Timestamp};
use seawall_sign::SigningKey;
use seawall_sim::SimDisk;
use seawall_tlog::merkle::{Hash, leaf_hash, subtree_root};
use seawall_tlog::tile::TilePath;
use seawall_tlog::upload::entries_request;
use seawall_tlog::{AddCheckpoint, Kind, Log, MirrorInfo, Origin, Verifier};
use serde_json::{Value, json};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/log.json");

fn hexes(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(Hash::to_hex).collect()
}

fn proofs(log: &Log) -> Value {
    let cases =
        [(0, 1, 1), (0, 1, 11), (6, 7, 11), (10, 11, 11), (0, 3, 11), (0, 8, 11), (8, 11, 11)];
    let made = cases.map(|(start, end, size)| {
        json!({
            "start": start,
            "end": end,
            "size": size,
            "hash": subtree_root(log, start, end).expect("stored").to_hex(),
            "root": log.root_at(size).expect("in range").to_hex(),
            "proof": hexes(&log.subtree_consistency(start, end, size).expect("in range")),
        })
    });
    json!(made)
}

fn paths() -> Value {
    let cases = [
        (TilePath::Hashes { level: 0, index: 1_234_067, width: 256 }, "hashes"),
        (TilePath::Hashes { level: 2, index: 0, width: 17 }, "hashes"),
        (TilePath::Entries { index: 999, width: 255 }, "entries"),
        (TilePath::Entries { index: 1000, width: 256 }, "entries"),
    ];
    json!(cases.map(|(path, kind)| json!({ "kind": kind, "path": path.to_string() })))
}

fn vectors() -> Value {
    let log_key = SigningKey::from_seed(&[1; 32]);
    let witness_key = SigningKey::from_seed(&[2; 32]);
    let origin = Origin::of_node(FleetId([0xf1; 32]), NodeId([0x0d; 32]), 7);
    let disk = SimDisk::new();
    let (mut log, _) = Log::open(Arc::new(disk.clone()), "log", &origin).expect("a new log");
    let entries: Vec<Vec<u8>> = (0..11_u8).map(|i| vec![i; usize::from(i)]).collect();
    log.append(&entries[..4]).expect("appends");
    log.append(&entries[4..]).expect("appends");
    let signed = log.sign_checkpoint(&log_key).expect("signs").clone();
    let time = Timestamp(1_700_000_000);
    let cosignature = signed.cosign("witness.example/1", &witness_key, time).expect("cosigns");
    let verifier = |name: &str, kind, key: &SigningKey| {
        Verifier::new(name, kind, &key.public()).expect("a good name").to_string()
    };
    let roots: Vec<Hash> = (0..=11).map(|n| log.root_at(n).expect("in range")).collect();
    let proof = log.consistency(5, 11).expect("in range");
    let announce = AddCheckpoint { old: 5, proof, checkpoint: signed.clone() };
    let info = MirrorInfo { size: 11, next: 5, ticket: b"t".to_vec() };
    json!({
        "origin": origin.as_str(),
        "entries": entries.iter().map(hex::encode).collect::<Vec<_>>(),
        "leaf_hashes": hexes(&entries.iter().map(|e| leaf_hash(e)).collect::<Vec<_>>()),
        "roots": hexes(&roots),
        "subtree_proofs": proofs(&log),
        "log_seed": hex::encode([1; 32]),
        "log_vkey": verifier(origin.as_str(), Kind::Signer, &log_key),
        "checkpoint": String::from_utf8(signed.to_bytes()).expect("UTF-8"),
        "witness_seed": hex::encode([2; 32]),
        "witness_vkey": verifier("witness.example/1", Kind::Cosigner, &witness_key),
        "cosignature_time": time.0,
        "cosignature": cosignature.to_string(),
        "add_checkpoint": String::from_utf8(announce.to_bytes()).expect("UTF-8"),
        "add_entries": hex::encode(entries_request(&log, &info).expect("in range")),
        "entries_file": hex::encode(disk.read("log/entries").expect("there")),
        "hashes_file": hex::encode(disk.read("log/hashes").expect("there")),
        "tile_paths": paths(),
    })
}

#[test]
fn the_vectors_are_what_the_code_makes() {
    let mut text = serde_json::to_string_pretty(&vectors()).expect("JSON");
    text.push('\n');
    if std::env::var_os("SEAWALL_BLESS").is_some() {
        std::fs::write(PATH, &text).expect("the vectors can be written");
    }
    let golden = std::fs::read_to_string(PATH).expect("the vectors are there");
    let differs = golden.lines().zip(text.lines()).position(|(a, b)| a != b);
    assert!(
        golden == text,
        "log.json differs at line {:?}; if the format changed on purpose, rerun with \
         SEAWALL_BLESS=1 and look at the difference",
        differs.map(|n| n + 1)
    );
}
