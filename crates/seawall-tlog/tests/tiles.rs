//! Tiles served by a log, exported, and read back without trust.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;

use proptest::prelude::*;
use seawall_base::{Disk, Sha256};
use seawall_sign::SigningKey;
use seawall_sim::SimDisk;
use seawall_tlog::tile::{TileError, TilePath, TileReader, decode_bundle, encode_bundle, paths};
use seawall_tlog::{Log, Origin};

fn log_of(size: u64) -> Log {
    let origin: Origin = "example.com/log".parse().expect("a C2SP origin");
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let (mut log, _) = Log::open(disk, "log", &origin).expect("a new log");
    let entries: Vec<Vec<u8>> = (0..size).map(entry).collect();
    for part in entries.chunks(40_000) {
        log.append(part).expect("appends");
    }
    log.sign_checkpoint(&SigningKey::from_seed(&[1; 32])).expect("signs");
    log
}

fn entry(i: u64) -> Vec<u8> {
    format!("entry {i}").into_bytes()
}

fn fetch(log: &Log, path: &TilePath) -> io::Result<Vec<u8>> {
    let bytes = log.tile(&path.to_string()).map_err(io::Error::other)?;
    bytes.ok_or_else(|| io::ErrorKind::NotFound.into())
}

#[test]
fn paths_have_one_spelling() {
    for (text, path) in [
        ("checkpoint", TilePath::Checkpoint),
        ("tile/0/000", TilePath::Hashes { level: 0, index: 0, width: 256 }),
        ("tile/0/x001/x234/067", TilePath::Hashes { level: 0, index: 1_234_067, width: 256 }),
        ("tile/63/005.p/1", TilePath::Hashes { level: 63, index: 5, width: 1 }),
        ("tile/entries/x001/000.p/255", TilePath::Entries { index: 1000, width: 255 }),
    ] {
        assert_eq!(text.parse::<TilePath>().expect("a path"), path);
        assert_eq!(path.to_string(), text);
    }
    for bad in [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/0/x001/x002",
        "tile/0/+01",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "/checkpoint",
        "tile/data/000",
        "tile/0/000/",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
    ] {
        assert!(bad.parse::<TilePath>().is_err(), "{bad:?} was accepted");
    }
}

#[test]
fn the_example_of_the_specification_has_those_tiles() {
    let count = |level, full: bool| {
        paths(70_000)
            .filter(|p| {
                matches!(p, TilePath::Hashes { level: l, width, .. }
                if *l == level && (*width == 256) == full)
            })
            .count()
    };
    assert_eq!((count(0, true), count(0, false)), (273, 1));
    assert_eq!((count(1, true), count(1, false)), (1, 1));
    assert_eq!((count(2, true), count(2, false)), (0, 1));
    assert_eq!((0..8).map(|l| count(l, true) + count(l, false)).sum::<usize>(), 277);
    let all: Vec<TilePath> = paths(70_000).collect();
    assert!(all.contains(&TilePath::Hashes { level: 0, index: 273, width: 112 }));
    assert!(all.contains(&TilePath::Hashes { level: 1, index: 1, width: 17 }));
    assert!(all.contains(&TilePath::Hashes { level: 2, index: 0, width: 1 }));
    let all: Vec<TilePath> = paths(256).collect();
    assert!(all.contains(&TilePath::Hashes { level: 1, index: 0, width: 1 }) && all.len() == 3);
    assert_eq!(paths(0).count(), 0);
}

#[test]
fn a_log_serves_what_its_checkpoint_covers_and_no_more() {
    let mut log = log_of(300);
    log.append(&["not signed for yet"]).expect("appends");
    let has = |path: &str| log.tile(path).expect("readable").is_some();
    for path in [
        "checkpoint",
        "tile/0/000",
        "tile/0/001.p/44",
        "tile/0/001.p/3",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/001.p/44",
        "tile/entries/000.p/7",
    ] {
        assert!(has(path), "{path}");
    }
    for path in [
        "tile/0/001",
        "tile/0/001.p/45",
        "tile/entries/001.p/45",
        "tile/0/002.p/1",
        "tile/1/000",
        "tile/1/001.p/1",
        "tile/2/000.p/1",
        "tile/63/000.p/1",
        "nonsense",
        "tile/../entries",
    ] {
        assert!(!has(path), "{path}");
    }
    let bundle = log.tile("tile/entries/001.p/44").expect("readable").expect("there");
    let entries = decode_bundle(&bundle, 44).expect("44 entries");
    assert_eq!(entries[43], entry(299));
    assert_eq!(encode_bundle(&entries), bundle);
    assert!(decode_bundle(&bundle, 43).is_none() && decode_bundle(&bundle, 45).is_none());
}

#[test]
fn an_exported_log_is_complete_and_proves_every_entry() {
    for size in [0, 1, 255, 256, 257, 700, 66_000] {
        let log = log_of(size);
        let web = SimDisk::new();
        log.export_tiles(&web, "site").expect("exports");
        let checkpoint = log.checkpoint().expect("signed");
        assert_eq!(web.read("site/checkpoint").expect("there"), checkpoint.to_bytes());
        let fetch = |path: &TilePath| web.read(&format!("site/{path}"));
        let reader = TileReader::new(checkpoint.checkpoint(), &fetch);
        reader.verify_root().expect("the tiles have the root");
        let from = size.saturating_sub(600);
        let entries = reader.entries(from..size).expect("verified");
        assert_eq!(entries, (from..size).map(entry).collect::<Vec<_>>());
        assert!(matches!(reader.entries(0..size + 1), Err(TileError::Range { .. })));
    }
}

#[test]
fn a_changed_bundle_or_tile_is_refused() {
    let log = log_of(700);
    let checkpoint = log.checkpoint().expect("signed").checkpoint().clone();
    let touched = RefCell::new(Vec::new());
    let tracing = |path: &TilePath| {
        touched.borrow_mut().push(*path);
        fetch(&log, path)
    };
    TileReader::new(&checkpoint, &tracing).entries(300..310).expect("verified");
    for victim in touched.into_inner() {
        let len = fetch(&log, &victim).expect("there").len();
        for at in [0, 1, 2, len / 2, len - 1] {
            let changed = |path: &TilePath| {
                let mut bytes = fetch(&log, path)?;
                if *path == victim {
                    bytes[at] ^= 1;
                }
                Ok(bytes)
            };
            let result = TileReader::new(&checkpoint, &changed).entries(300..310);
            let unused = matches!(victim, TilePath::Hashes { .. });
            match result {
                Ok(entries) => {
                    assert!(unused, "byte {at} of {victim} was accepted");
                    assert_eq!(entries, (300..310).map(entry).collect::<Vec<_>>());
                }
                Err(error) => assert!(
                    matches!(error, TileError::Proof(_) | TileError::Malformed { .. }),
                    "{error}"
                ),
            }
            let whole = TileReader::new(&checkpoint, &changed).verify_root();
            assert!(whole.is_ok() || unused);
        }
        let short = |path: &TilePath| {
            let mut bytes = fetch(&log, path)?;
            if *path == victim {
                bytes.pop();
            }
            Ok(bytes)
        };
        assert!(TileReader::new(&checkpoint, &short).entries(300..310).is_err(), "{victim}");
    }
}

#[test]
fn a_truncated_log_is_named() {
    let (long, short) = (log_of(700), log_of(600));
    let checkpoint = long.checkpoint().expect("signed").checkpoint();
    let fetch = |path: &TilePath| fetch(&short, path);
    let reader = TileReader::new(checkpoint, &fetch);
    assert!(matches!(reader.entries(690..700), Err(TileError::Truncated { size: 700, .. })));
    assert!(matches!(reader.verify_root(), Err(TileError::Truncated { .. })));
    let broken = |_: &TilePath| Err(io::ErrorKind::TimedOut.into());
    let reader = TileReader::new(checkpoint, &broken);
    assert!(matches!(reader.entries(0..1), Err(TileError::Fetch { .. })));
}

#[test]
fn tiles_of_another_tree_do_not_have_the_root() {
    let log = log_of(10);
    let mut checkpoint = log.checkpoint().expect("signed").checkpoint().clone();
    checkpoint.root = Sha256([1; 32]);
    let fetch = |path: &TilePath| fetch(&log, path);
    let reader = TileReader::new(&checkpoint, &fetch);
    assert!(matches!(reader.verify_root(), Err(TileError::Proof(_))));
    assert!(matches!(reader.entries(0..1), Err(TileError::Proof(_))));
}

proptest! {
    #[test]
    fn every_path_that_parses_prints_the_same(
        text in "tile/(entries|[0-9]{1,2})/(x?[0-9]{3}/){0,3}x?[0-9]{3}(\\.p/[0-9]{1,3})?",
        size: u64,
    ) {
        if let Ok(path) = text.parse::<TilePath>() {
            prop_assert_eq!(path.to_string(), text);
            let _ = path.exists_in(size);
        }
    }

    #[test]
    fn random_bundles_never_panic(bytes: Vec<u8>, count in 0..300_usize) {
        if let Some(entries) = decode_bundle(&bytes, count) {
            prop_assert_eq!(encode_bundle(&entries), bytes);
        }
    }
}
