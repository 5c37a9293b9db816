//! The writer on a disk that loses power, fails and rots.

use std::io::ErrorKind;
use std::sync::Arc;

use seawall_base::{Disk, Sha256};
use seawall_sign::SigningKey;
use seawall_sim::{Outcome, PowerCut, SimDisk};
use seawall_tlog::merkle::{leaf_hash, root_of_leaves, verify_consistency, verify_inclusion};
use seawall_tlog::{Kind, Log, LogError, OpenReport, Origin, Verifier};

const DIR: &str = "log";

fn origin() -> Origin {
    "example.com/log".parse().expect("a C2SP origin")
}

fn key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn open(disk: &SimDisk) -> Result<(Log, OpenReport), LogError> {
    Log::open(Arc::new(disk.clone()), DIR, &origin())
}

fn opened(disk: &SimDisk) -> Log {
    open(disk).expect("the log opens").0
}

/// Entry `i` of every test's log; lengths differ, some contain the magic of a group.
fn entry(i: u64) -> Vec<u8> {
    let mut bytes = format!("entry {i} SWg1").into_bytes();
    bytes.resize(bytes.len() + (i as usize * 7) % 40, b'S');
    bytes
}

fn entries(range: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    range.map(entry).collect()
}

fn root_of(size: u64) -> Sha256 {
    root_of_leaves((0..size).map(|i| leaf_hash(&entry(i))))
}

/// What the log shows is a prefix of what was ever appended, with the right hashes.
fn assert_is_prefix(log: &Log) {
    assert_eq!(log.root(), root_of(log.size()));
    assert_eq!(log.entries(0..log.size()).expect("readable"), entries(0..log.size()));
    if log.size() > 0 {
        let proof = log.inclusion(0, log.size()).expect("in range");
        verify_inclusion(&leaf_hash(&entry(0)), 0, log.size(), &log.root(), &proof)
            .expect("the hashes file is right");
    }
}

#[test]
fn entries_come_back_in_order_with_their_proofs() {
    let disk = SimDisk::new();
    let (mut log, report) = open(&disk).expect("a new log");
    assert_eq!(report, OpenReport { size: 0, cut_bytes: 0, rebuilt_hashes: 0, signed: None });
    assert_eq!(log.append(&entries(0..3)).expect("appends"), 0..3);
    assert_eq!(log.append::<Vec<u8>>(&[]).expect("nothing to do"), 3..3);
    assert_eq!(log.append(&entries(3..10)).expect("appends"), 3..10);
    let signed = log.sign_checkpoint(&key()).expect("signs").clone();
    assert_eq!((signed.checkpoint().size, signed.checkpoint().root), (10, root_of(10)));
    assert_eq!(log.append(&entries(10..11)).expect("appends"), 10..11);
    let proof = log.consistency(10, 11).expect("in range");
    verify_consistency(10, &root_of(10), 11, &root_of(11), &proof).expect("consistent");
    assert!(matches!(log.entry(11), Err(LogError::NoEntry { index: 11, size: 11, .. })));
    assert!(log.inclusion(0, 12).is_err() && log.root_at(12).is_err());
    assert!(log.subtree_consistency(8, 10, 11).is_ok());

    let (log, report) = open(&disk).expect("reopens");
    assert_eq!(report, OpenReport { size: 11, cut_bytes: 0, rebuilt_hashes: 0, signed: Some(10) });
    assert_eq!(log.checkpoint(), Some(&signed));
    assert_is_prefix(&log);
}

#[test]
fn the_files_are_pinned() {
    let disk = SimDisk::new();
    opened(&disk).append(&["", "ab"]).expect("appends");
    let file = disk.read("log/entries").expect("there");
    let header = b"SWLOGv1\n\x0fexample.com/log".as_slice();
    let group = b"SWg1\x06\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02ab".as_slice();
    let tag = Sha256::of(&[&Sha256::of(header).0[..], group].concat());
    assert_eq!(file, [header, group, &tag.0].concat());
    let hashes = disk.read("log/hashes").expect("there");
    let leaves = [leaf_hash(b""), leaf_hash(b"ab")];
    assert_eq!(hashes, [leaves[0].0, leaves[1].0, root_of_leaves(leaves).0].concat());
}

#[test]
fn what_is_too_large_is_refused_and_changes_nothing() {
    let disk = SimDisk::new();
    let mut log = opened(&disk);
    assert!(matches!(log.append(&[vec![0; 65_536]]), Err(LogError::TooLarge(_))));
    assert!(matches!(log.append(&vec![b""; 65_537]), Err(LogError::TooLarge(_))));
    assert!(matches!(log.append(&vec![vec![0; 65_535]; 280]), Err(LogError::TooLarge(_))));
    assert_eq!(log.append(&[vec![0; 65_535]]).expect("the largest entry"), 0..1);
}

/// Appends groups and signs, remembering what was acknowledged; stops at the first error.
fn workload(disk: &SimDisk) -> (u64, u64) {
    let (mut acknowledged, mut signed) = (0, 0);
    let Ok((mut log, _)) = open(disk) else { return (0, 0) };
    for end in [2, 3, 7, 8] {
        match log.append(&entries(acknowledged..end)) {
            Ok(range) => acknowledged = range.end,
            Err(_) => break,
        }
        match log.sign_checkpoint(&key()) {
            Ok(checkpoint) => signed = checkpoint.checkpoint().size,
            Err(_) => break,
        }
    }
    (acknowledged, signed)
}

/// After any failure, and then any power cut, the log holds what was acknowledged, whole groups
/// only, and goes on from there.
fn assert_recovers(disk: &SimDisk, acknowledged: u64, signed: u64, context: &str) {
    let (mut log, report) = open(disk).unwrap_or_else(|e| panic!("{context}: {e}"));
    assert!(log.size() >= acknowledged, "{context}: an acknowledged entry is lost");
    assert!([0, 2, 3, 7, 8].contains(&log.size()), "{context}: half a group survived");
    assert!(report.signed.unwrap_or(0) >= signed, "{context}: a checkpoint is lost");
    assert_is_prefix(&log);
    let size = log.size();
    assert_eq!(log.append(&entries(size..size + 2)).expect("goes on"), size..size + 2);
    // What was shown after recovery survives the next cut.
    let after = opened(&disk.power_cut(PowerCut::LoseUnsynced));
    assert_eq!(after.size(), size + 2, "{context}: shown after recovery, then lost");
    assert_is_prefix(&after);
}

#[test]
fn a_power_cut_after_every_operation_loses_nothing_acknowledged() {
    let total = {
        let disk = SimDisk::new();
        assert_eq!(workload(&disk), (8, 8));
        disk.op_count()
    };
    for ops in 0..=total {
        for outcome in [Outcome::Lost, Outcome::Persisted, Outcome::Half] {
            let disk = SimDisk::new();
            disk.fail_after(ops, ErrorKind::Other, outcome);
            let (acknowledged, signed) = workload(&disk);
            let mut cuts = vec![PowerCut::LoseUnsynced, PowerCut::KeepUnsynced];
            cuts.extend((0..6).map(|seed| PowerCut::Torn { seed: seed + 100 * ops }));
            for cut in cuts {
                let context = format!("{outcome:?} at {ops}, {cut:?}");
                assert_recovers(&disk.power_cut(cut), acknowledged, signed, &context);
            }
            // The same without a cut: the process was restarted, the page cache may lie.
            disk.clear_fault();
            let context = format!("{outcome:?} at {ops}, restart");
            assert_recovers(&disk, acknowledged, signed, &context);
        }
    }
}

#[test]
fn a_power_cut_during_recovery_loses_nothing() {
    for ops in 0..14 {
        for seed in 0..30 {
            let disk = SimDisk::new();
            let mut log = opened(&disk);
            log.append(&entries(0..3)).expect("appends");
            log.append(&entries(3..7)).expect("appends");
            let torn = disk.power_cut(PowerCut::LoseUnsynced);
            torn.fail_after(ops, ErrorKind::Other, Outcome::Half);
            let _ = open(&torn);
            let again = torn.power_cut(PowerCut::Torn { seed });
            let log = opened(&again);
            assert_eq!(log.size(), 7, "cut at {ops}, seed {seed}");
            assert_is_prefix(&log);
        }
    }
}

#[test]
fn failed_and_lost_beside_failed_but_persisted() {
    for (outcome, survives) in [(Outcome::Lost, false), (Outcome::Persisted, true)] {
        let disk = SimDisk::new();
        let mut log = opened(&disk);
        log.append(&entries(0..2)).expect("appends");
        // The next operations are the write and the fsync of the group.
        disk.fail_after(1, ErrorKind::Other, outcome);
        assert!(matches!(log.append(&entries(2..4)), Err(LogError::Io { what: "syncing", .. })));
        assert_eq!(log.size(), 2, "nobody is shown the indices");
        assert!(matches!(log.append(&entries(2..3)), Err(LogError::Poisoned { .. })));
        assert!(log.entry(1).is_ok(), "what is committed stays readable");
        let log = opened(&disk.power_cut(PowerCut::LoseUnsynced));
        assert_eq!(log.size(), if survives { 4 } else { 2 });
        assert_is_prefix(&log);
    }
}

#[test]
fn a_full_disk_acknowledges_nothing_and_heals_when_there_is_room() {
    let disk = SimDisk::new();
    let mut log = opened(&disk);
    log.append(&entries(0..2)).expect("appends");
    disk.set_capacity(Some(400));
    let error = log.append(&[vec![7; 1000]]).expect_err("no room");
    assert!(
        matches!(&error, LogError::Io { source, .. } if source.kind() == ErrorKind::StorageFull)
    );
    assert!(matches!(log.append(&entries(2..3)), Err(LogError::Poisoned { .. })));
    disk.set_capacity(None);
    let mut log = opened(&disk);
    assert_eq!(log.append(&entries(2..3)).expect("room again"), 2..3);
    assert_is_prefix(&log);
}

fn signed_disk() -> SimDisk {
    let disk = SimDisk::new();
    let mut log = opened(&disk);
    for i in 0..4 {
        log.append(&entries(i * 3..i * 3 + 3)).expect("appends");
    }
    log.sign_checkpoint(&key()).expect("signs");
    disk.power_cut(PowerCut::KeepUnsynced)
}

#[test]
fn every_flipped_bit_of_the_entries_is_reported_and_nothing_is_cut() {
    let disk = signed_disk();
    let len = disk.read("log/entries").expect("there").len() as u64;
    for offset in 0..len {
        disk.flip_bit("log/entries", offset, (offset % 8) as u8).expect("there");
        let before = disk.read("log/entries").expect("there");
        let error = open(&disk).err().unwrap_or_else(|| panic!("byte {offset} went unnoticed"));
        assert!(
            matches!(
                error,
                LogError::Damaged { .. } | LogError::RolledBack { .. } | LogError::OtherLog { .. }
            ),
            "byte {offset}: {error}"
        );
        assert_eq!(disk.read("log/entries").expect("there"), before, "evidence was changed");
        disk.flip_bit("log/entries", offset, (offset % 8) as u8).expect("there");
    }
    assert_eq!(opened(&disk).size(), 12);
}

#[test]
fn damage_before_intact_groups_is_not_taken_for_a_torn_tail() {
    let disk = signed_disk();
    disk.plant("log/checkpoint", b"").expect("planted");
    assert!(matches!(open(&disk), Err(LogError::Checkpoint(_))), "an empty checkpoint is damage");
    let disk = SimDisk::new();
    let mut log = opened(&disk);
    log.append(&entries(0..3)).expect("appends");
    log.append(&entries(3..6)).expect("appends");
    for offset in 24..90 {
        disk.flip_bit("log/entries", offset, 0).expect("there");
        assert!(matches!(open(&disk), Err(LogError::Damaged { offset: 24, .. })), "{offset}");
        disk.flip_bit("log/entries", offset, 0).expect("there");
    }
}

#[test]
fn any_truncation_below_the_checkpoint_is_a_rollback() {
    let disk = signed_disk();
    let whole = disk.read("log/entries").expect("there");
    for len in 24..whole.len() {
        disk.plant("log/entries", &whole[..len]).expect("planted");
        assert!(
            matches!(open(&disk), Err(LogError::RolledBack { signed: 12, .. })),
            "{len} of {} bytes",
            whole.len()
        );
        assert_eq!(disk.read("log/entries").expect("there").len(), len);
    }
    disk.remove("log/entries").expect("removed");
    assert!(matches!(open(&disk), Err(LogError::RolledBack { held: 0, signed: 12, .. })));
}

#[test]
fn another_history_under_the_same_checkpoint_is_refused() {
    let disk = signed_disk();
    let other = SimDisk::new();
    opened(&other).append(&entries(1..13)).expect("appends");
    disk.plant("log/entries", &other.read("log/entries").expect("there")).expect("planted");
    assert!(matches!(open(&disk), Err(LogError::Diverged { size: 12, .. })));
}

#[test]
fn another_log_is_refused() {
    let disk = signed_disk();
    let other: Origin = "example.com/other".parse().expect("an origin");
    let result = Log::open(Arc::new(disk.clone()), DIR, &other);
    assert!(matches!(result, Err(LogError::OtherLog { .. })));
    disk.remove("log/checkpoint").expect("removed");
    let result = Log::open(Arc::new(disk), DIR, &other);
    assert!(matches!(result, Err(LogError::OtherLog { found, .. }) if found == "example.com/log"));
}

#[test]
fn the_hashes_file_is_only_a_cache() {
    let disk = signed_disk();
    disk.flip_bit("log/hashes", 70, 3).expect("there");
    assert_eq!(open(&disk).expect("opens").1.rebuilt_hashes, 1);
    disk.truncate("log/hashes", 100).expect("there");
    assert_eq!(open(&disk).expect("opens").1.rebuilt_hashes, 22 - 3);
    disk.remove("log/hashes").expect("removed");
    let (log, report) = open(&disk).expect("opens");
    assert_eq!(report.rebuilt_hashes, 22);
    assert_is_prefix(&log);
    disk.plant("log/hashes", &vec![1; 10_000]).expect("planted");
    assert_eq!(opened(&disk).root(), root_of(12));
    assert_eq!(disk.read("log/hashes").expect("there").len(), 22 * 32);
}

#[test]
fn an_entry_that_rots_while_the_log_is_open_is_noticed_when_read() {
    let disk = signed_disk();
    let log = opened(&disk);
    disk.flip_bit("log/entries", 24 + 20 + 4, 0).expect("there");
    assert!(matches!(log.entry(0), Err(LogError::Damaged { .. })));
    assert!(log.entry(1).is_ok());
}

#[test]
fn cosignatures_are_kept_with_the_checkpoint() {
    let disk = SimDisk::new();
    let mut log = opened(&disk);
    assert_eq!(log.add_cosignatures(&[], &[]).expect("nothing to do"), 0);
    log.append(&entries(0..1)).expect("appends");
    let signed = log.sign_checkpoint(&key()).expect("signs").clone();
    let witness = SigningKey::from_seed(&[2; 32]);
    let at = seawall_base::Timestamp(5);
    let good = signed.cosign("w.example", &witness, at).expect("cosigns");
    let unknown = signed.cosign("x.example", &witness, at).expect("cosigns");
    let known =
        [Verifier::new("w.example", Kind::Cosigner, &witness.public()).expect("a good name")];
    let mut forged = good.clone();
    forged.signature[20] ^= 1;
    assert!(log.add_cosignatures(&[forged], &known).is_err());
    assert_eq!(log.add_cosignatures(&[unknown, good], &known).expect("adds"), 1);
    let log = opened(&disk.power_cut(PowerCut::LoseUnsynced));
    let kept = log.checkpoint().expect("kept").verify(&known).expect("verifies");
    assert_eq!(kept[0].time, Some(at));
}

#[test]
fn more_bytes_than_one_append_are_no_torn_tail() {
    let disk = SimDisk::new();
    opened(&disk).append(&entries(0..3)).expect("appends");
    let whole = disk.read("log/entries").expect("there");
    let longest = (17 << 20) + 20 + 32;
    disk.plant("log/entries", &[&whole[..], &vec![0; longest]].concat()).expect("planted");
    assert_eq!(open(&disk).expect("a torn tail").1.cut_bytes, longest as u64);
    disk.plant("log/entries", &[&whole[..], &vec![0; longest + 1]].concat()).expect("planted");
    assert!(matches!(open(&disk), Err(LogError::Damaged { .. })));
}

#[test]
fn a_tail_made_of_countless_groups_is_not_cut_and_costs_little() {
    let disk = SimDisk::new();
    opened(&disk).append(&entries(0..3)).expect("appends");
    let whole = disk.read("log/entries").expect("there");
    // Every 20 bytes claim a group of 8 MiB.
    let claim = b"SWg1\0\0\x80\0\x01\0\0\0\0\0\0\0\0\0\0\0";
    let hostile = [&whole[..], &claim.repeat(800_000)].concat();
    disk.plant("log/entries", &hostile).expect("planted");
    assert!(matches!(open(&disk), Err(LogError::Damaged { .. })));
    assert_eq!(disk.read("log/entries").expect("there").len(), hostile.len());
}
