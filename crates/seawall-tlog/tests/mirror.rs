//! A mirror and its client: interrupted, cut off from power, lied to.

use std::io::ErrorKind;
use std::sync::Arc;

use proptest::prelude::*;
use seawall_base::{Disk, Timestamp};
use seawall_sign::SigningKey;
use seawall_sim::{Outcome, PowerCut, SimDisk};
use seawall_tlog::merkle::{leaf_hash, root_of_leaves, verify_consistency, verify_inclusion};
use seawall_tlog::upload::entries_request;
use seawall_tlog::{
    AddCheckpoint, Cosigner, EntriesHeader, Finding, Kind, Log, LogError, Mirror, MirrorAnswer,
    MirrorInfo, Origin, Upload, UploadError, UploadStep, Verifier, WitnessAnswer,
};

const NOW: Timestamp = Timestamp(1_700_000_000);
const NAME: &str = "mirror.example/1";

fn origin() -> Origin {
    "example.com/log".parse().expect("a C2SP origin")
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn log_keys() -> Vec<Verifier> {
    vec![Verifier::new("example.com/log", Kind::Signer, &key(1).public()).expect("a good name")]
}

fn mirror_keys() -> Vec<Verifier> {
    vec![Verifier::new(NAME, Kind::Cosigner, &key(9).public()).expect("a good name")]
}

fn entry(branch: &str, i: u64) -> Vec<u8> {
    format!("{branch} {i}").into_bytes()
}

fn grow(log: &mut Log, branch: &str, size: u64) {
    let entries: Vec<Vec<u8>> = (log.size()..size).map(|i| entry(branch, i)).collect();
    log.append(&entries).expect("appends");
    log.sign_checkpoint(&key(1)).expect("signs");
}

fn new_log(branch: &str, size: u64) -> Log {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let (mut log, _) = Log::open(disk, "log", &origin()).expect("a new log");
    grow(&mut log, branch, size);
    log
}

fn open(disk: &SimDisk) -> Result<Mirror, LogError> {
    Mirror::open(Arc::new(disk.clone()), "mirror", &origin()).map(|(mirror, _)| mirror)
}

fn opened(disk: &SimDisk) -> Mirror {
    open(disk).expect("the mirror opens")
}

fn add_entries(mirror: &mut Mirror, mut body: &[u8]) -> Result<MirrorAnswer, LogError> {
    let header = match EntriesHeader::read(&mut body) {
        Ok(header) => header,
        Err(answer) => return Ok(answer),
    };
    let key = key(9);
    let cosigner = Cosigner { name: NAME, key: &key };
    mirror.add_entries(&header, &mut body, cosigner, NOW, &mut |_, _| Ok(()))
}

fn announce(mirror: &mut Mirror, log: &Log) -> Result<WitnessAnswer, LogError> {
    let old = mirror.pending().map_or(0, |p| p.checkpoint().size);
    let checkpoint = log.checkpoint().expect("signed").clone();
    let proof = log.consistency(old, checkpoint.checkpoint().size)?;
    let body = AddCheckpoint { old, proof, checkpoint }.to_bytes();
    Ok(mirror.add_checkpoint(&body, &log_keys())?.answer)
}

/// Runs an upload to its end; returns how many `add-entries` requests it took.
fn run(upload: &mut Upload, log: &Log, mirror: &mut Mirror) -> Result<u32, UploadError> {
    let mut requests = 0;
    loop {
        match upload.step(log)? {
            UploadStep::AddCheckpoint(body) => {
                let answer = mirror.add_checkpoint(&body, &log_keys())?.answer;
                upload.answer(answer.status(), answer.body().as_bytes())?;
            }
            UploadStep::AddEntries(body) => {
                requests += 1;
                let answer = add_entries(mirror, &body)?;
                upload.answer(answer.status(), answer.body().as_bytes())?;
            }
            UploadStep::Done { size, lines } => {
                assert_eq!(size, log.checkpoint().expect("signed").checkpoint().size);
                let mut signed = log.checkpoint().expect("signed").clone();
                for line in lines {
                    signed.add(line).expect("room");
                }
                assert_eq!(signed.verify(&mirror_keys()).expect("cosigned")[0].time, Some(NOW));
                return Ok(requests);
            }
        }
    }
}

fn upload(log: &Log, mirror: &mut Mirror) -> Result<u32, UploadError> {
    run(&mut Upload::new(log, 0, 0)?, log, mirror)
}

/// Everything the mirror holds is a beginning of the branch.
fn assert_holds(mirror: &Mirror, branch: &str) {
    let size = mirror.next_entry();
    let entries = mirror.entries(0..size).expect("readable");
    assert_eq!(entries, (0..size).map(|i| entry(branch, i)).collect::<Vec<_>>());
    if let Some(checkpoint) = mirror.checkpoint() {
        let checkpoint = checkpoint.checkpoint();
        assert!(checkpoint.size <= size);
        let leaves = (0..checkpoint.size).map(|i| leaf_hash(&entry(branch, i)));
        assert_eq!(checkpoint.root, root_of_leaves(leaves));
    }
}

#[test]
fn a_growing_log_is_mirrored_in_few_requests() {
    let disk = SimDisk::new();
    let mut log = new_log("a", 0);
    for (size, requests) in
        [(0, 1), (1, 2), (1, 2), (255, 2), (256, 2), (257, 2), (700, 2), (9500, 3)]
    {
        grow(&mut log, "a", size);
        let mut mirror = opened(&disk);
        // The client knows nothing of the mirror: one more request to learn where it stands.
        let took = upload(&log, &mut mirror).expect("uploads");
        assert!(took <= requests, "{took} requests to {size}");
        assert_eq!(mirror.next_entry(), size);
        assert_holds(&mirror, "a");
        assert_eq!(mirror.checkpoint().expect("published").checkpoint().size, size);
    }
    let mirror = opened(&disk.power_cut(PowerCut::LoseUnsynced));
    assert_holds(&mirror, "a");
    let checkpoint = mirror.checkpoint().expect("published");
    assert!(checkpoint.verify(&log_keys()).is_ok() && checkpoint.verify(&mirror_keys()).is_ok());
    let root = checkpoint.checkpoint().root;
    let proof = mirror.inclusion(300, 9500).expect("in range");
    verify_inclusion(&leaf_hash(&entry("a", 300)), 300, 9500, &root, &proof).expect("included");
    let proof = mirror.consistency(700, 9500).expect("in range");
    let old = log.root_at(700).expect("in range");
    verify_consistency(700, &old, 9500, &root, &proof).expect("consistent");
    assert_eq!(mirror.entry(9499).expect("held"), entry("a", 9499));
    let tile = mirror.tile("tile/entries/037.p/28").expect("readable");
    assert_eq!(tile, log.tile("tile/entries/037.p/28").expect("readable"));
    assert!(tile.is_some());
    assert_eq!(mirror.tile("tile/entries/037.p/29").expect("readable"), None);
    assert_eq!(mirror.tile("nonsense").expect("readable"), None);
    assert_eq!(opened(&SimDisk::new()).tile("checkpoint").expect("readable"), None);
}

#[test]
fn a_client_that_knows_the_mirror_needs_one_request() {
    let mut mirror = opened(&SimDisk::new());
    let mut log = new_log("a", 300);
    let mut first = Upload::new(&log, 0, 0).expect("signed");
    assert_eq!(run(&mut first, &log, &mut mirror).expect("uploads"), 1);
    grow(&mut log, "a", 700);
    let mut second = Upload::new(&log, 300, 300).expect("signed");
    assert_eq!(run(&mut second, &log, &mut mirror).expect("uploads"), 1);
}

#[test]
fn large_entries_end_a_request_early() {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let (mut log, _) = Log::open(disk, "log", &origin()).expect("a new log");
    log.append(&vec![vec![7; 65_535]; 250]).expect("appends");
    log.append(&vec![vec![8; 65_535]; 30]).expect("appends");
    log.sign_checkpoint(&key(1)).expect("signs");
    let mut mirror = opened(&SimDisk::new());
    assert_eq!(upload(&log, &mut mirror).expect("uploads"), 2);
    assert_eq!(mirror.next_entry(), 280);
}

#[test]
fn an_upload_cut_at_any_byte_keeps_whole_packages_and_resumes() {
    let log = new_log("a", 600);
    let info = MirrorInfo { size: 600, next: 0, ticket: Vec::new() };
    let body = entries_request(&log, &info).expect("in range");
    for cut in (0..body.len()).step_by(37).chain(body.len() - 3..body.len()) {
        let mut mirror = opened(&SimDisk::new());
        announce(&mut mirror, &log).expect("announced");
        let answer = add_entries(&mut mirror, &body[..cut]).expect("the disk works");
        let next = mirror.next_entry();
        assert!([0, 256, 512].contains(&next), "half a package was kept");
        match &answer {
            MirrorAnswer::Malformed(_) => assert_eq!(next, 0),
            MirrorAnswer::Accepted(info) => assert_eq!((info.size, info.next), (600, next)),
            other => panic!("cut at {cut}: {other:?}"),
        }
        assert!(mirror.checkpoint().is_none(), "cosigned what it does not hold");
        upload(&log, &mut mirror).expect("resumes");
        assert_holds(&mirror, "a");
    }
    let mut mirror = opened(&SimDisk::new());
    announce(&mut mirror, &log).expect("announced");
    let longer = [&body[..], b"x"].concat();
    assert_eq!(add_entries(&mut mirror, &longer).expect("works").status(), 400);
    assert!(mirror.checkpoint().is_none());
}

/// Announces and uploads two steps of growth; returns the size last cosigned.
fn workload(disk: &SimDisk, logs: &[Log]) -> u64 {
    let mut cosigned = 0;
    let Ok(mut mirror) = open(disk) else { return 0 };
    for log in logs {
        match upload(log, &mut mirror) {
            Ok(_) => cosigned = log.size(),
            Err(_) => break,
        }
    }
    cosigned
}

#[test]
fn a_power_cut_at_every_operation_loses_nothing_cosigned() {
    let logs = [new_log("a", 300), new_log("a", 520)];
    let total = {
        let disk = SimDisk::new();
        assert_eq!(workload(&disk, &logs), 520);
        disk.op_count()
    };
    for ops in 0..=total {
        for outcome in [Outcome::Lost, Outcome::Persisted, Outcome::Half] {
            let disk = SimDisk::new();
            disk.fail_after(ops, ErrorKind::Other, outcome);
            let cosigned = workload(&disk, &logs);
            disk.clear_fault();
            let cuts = [PowerCut::LoseUnsynced, PowerCut::KeepUnsynced]
                .into_iter()
                .chain((0..2).map(|seed| PowerCut::Torn { seed: seed + ops * 100 }))
                .map(|cut| (format!("{outcome:?} at {ops}, {cut:?}"), disk.power_cut(cut)));
            let restart = (format!("{outcome:?} at {ops}, restart"), disk.clone());
            for (context, disk) in cuts.chain([restart]) {
                let mut mirror = open(&disk).unwrap_or_else(|e| panic!("{context}: {e}"));
                let held = mirror.checkpoint().map_or(0, |c| c.checkpoint().size);
                assert!(held >= cosigned, "{context}: a cosigned checkpoint is lost");
                assert_holds(&mirror, "a");
                upload(&logs[1], &mut mirror).unwrap_or_else(|e| panic!("{context}: {e}"));
                let after = opened(&disk.power_cut(PowerCut::LoseUnsynced));
                assert_eq!(after.next_entry(), 520, "{context}");
                assert_holds(&after, "a");
            }
        }
    }
}

#[test]
fn every_refusal_has_its_status() {
    let mut mirror = opened(&SimDisk::new());
    let log = new_log("a", 600);
    let body = |start, end| {
        let info = MirrorInfo { size: end, next: start, ticket: vec![1] };
        entries_request(&log, &info).expect("in range")
    };
    assert_eq!(add_entries(&mut mirror, b"").expect("works").status(), 400);
    assert_eq!(add_entries(&mut mirror, &body(0, 600)).expect("works").status(), 422);
    assert_eq!(announce(&mut mirror, &log).expect("works").status(), 200);
    let conflict = MirrorAnswer::Conflict(MirrorInfo { size: 600, next: 0, ticket: vec![] });
    for (start, end) in [(0, 599), (256, 600), (600, 600)] {
        let answer = add_entries(&mut mirror, &body(start, end)).expect("works");
        assert_eq!(answer, conflict, "{start}..{end}");
    }
    let header = |name: &str, start| EntriesHeader {
        origin: name.parse().expect("an origin"),
        start,
        end: 600,
        ticket: vec![],
    };
    let other = header("example.com/other", 0).to_bytes();
    assert_eq!(add_entries(&mut mirror, &other).expect("works"), MirrorAnswer::UnknownLog);
    let empty = header("example.com/log", 0).to_bytes();
    assert_eq!(add_entries(&mut mirror, &empty).expect("works").status(), 400);
    assert_eq!(mirror.next_entry(), 0);

    let stranger = mirror.add_checkpoint(b"nonsense", &log_keys()).expect("works");
    assert_eq!(stranger.answer.status(), 400);
    let checkpoint = log.checkpoint().expect("signed").clone();
    let request = AddCheckpoint { old: 600, proof: vec![], checkpoint };
    let judged = mirror.add_checkpoint(&request.to_bytes(), &mirror_keys()).expect("works");
    assert_eq!(judged.answer.status(), 403, "the keys decide");
    let elsewhere: Origin = "example.com/elsewhere".parse().expect("an origin");
    let (mut elsewhere, _) =
        Mirror::open(Arc::new(SimDisk::new()), "m", &elsewhere).expect("opens");
    let judged = elsewhere.add_checkpoint(&request.to_bytes(), &log_keys()).expect("works");
    assert_eq!(judged.answer, WitnessAnswer::UnknownLog);
}

#[test]
fn entries_sent_again_are_skipped_up_to_a_bound() {
    let mut mirror = opened(&SimDisk::new());
    let log = new_log("a", 9000);
    upload(&log, &mut mirror).expect("uploads");
    let again = |next| {
        let info = MirrorInfo { size: 9000, next, ticket: vec![] };
        entries_request(&log, &info).expect("in range")
    };
    let answer = add_entries(&mut mirror, &again(808)).expect("works");
    assert_eq!(answer.status(), 202, "33 packages, of which the request carries 32");
    assert_eq!(add_entries(&mut mirror, &again(1024)).expect("works").status(), 200);
    assert_eq!(add_entries(&mut mirror, &again(807)).expect("works").status(), 409);
    assert_eq!(mirror.next_entry(), 9000);
    assert_holds(&mirror, "a");
}

#[test]
fn a_refused_entry_is_not_committed() {
    let mut mirror = opened(&SimDisk::new());
    let log = new_log("a", 600);
    announce(&mut mirror, &log).expect("announced");
    let info = MirrorInfo { size: 600, next: 0, ticket: vec![] };
    let body = entries_request(&log, &info).expect("in range");
    let mut rest = &body[..];
    let header = EntriesHeader::read(&mut rest).expect("a header");
    let key = key(9);
    let cosigner = Cosigner { name: NAME, key: &key };
    let mut seen = Vec::new();
    let mut accept = |index: u64, bytes: &[u8]| {
        seen.push(index);
        assert_eq!(bytes, entry("a", index));
        if index == 400 { Err("not a statement".to_owned()) } else { Ok(()) }
    };
    let answer = mirror.add_entries(&header, &mut rest, cosigner, NOW, &mut accept).expect("works");
    assert_eq!(answer, MirrorAnswer::Refused("entry 400: not a statement".to_owned()));
    assert_eq!(mirror.next_entry(), 256, "the package before stays, no part of this one");
    assert_eq!(seen, (0..=400).collect::<Vec<u64>>());
}

#[test]
fn any_recent_pending_checkpoint_can_be_uploaded_to_but_the_mirror_never_goes_back() {
    let mut mirror = opened(&SimDisk::new());
    let mut log = new_log("a", 10);
    for size in 11..=20 {
        announce(&mut mirror, &log).expect("announced");
        grow(&mut log, "a", size);
    }
    // Announced were 10 to 19, of which the last 8 are known.
    let body = |next, size| {
        entries_request(&log, &MirrorInfo { size, next, ticket: vec![] }).expect("in range")
    };
    assert_eq!(add_entries(&mut mirror, &body(0, 11)).expect("works").status(), 409);
    assert_eq!(add_entries(&mut mirror, &body(0, 12)).expect("works").status(), 200);
    assert_eq!(add_entries(&mut mirror, &body(12, 15)).expect("works").status(), 200);
    let back = add_entries(&mut mirror, &body(12, 14)).expect("works");
    let info = MirrorInfo { size: 19, next: 15, ticket: vec![] };
    assert_eq!(back, MirrorAnswer::Conflict(info));
    assert_eq!(mirror.checkpoint().expect("published").checkpoint().size, 15);
    assert_eq!(add_entries(&mut mirror, &body(15, 15)).expect("works").status(), 200);
    upload(&log, &mut mirror).expect("uploads");
    assert_holds(&mirror, "a");
}

#[test]
fn a_client_moves_on_from_an_older_checkpoint_the_mirror_prefers() {
    let mut log = new_log("a", 10);
    let mut upload = Upload::new(&log, 0, 0).expect("signed");
    grow(&mut log, "a", 20);
    assert!(matches!(upload.step(&log).expect("steps"), UploadStep::AddCheckpoint(_)));
    upload.answer(200, b"").expect("announced");
    upload.answer(409, b"5\n3\n\n").expect("an older one of ours");
    let line = "\u{2014} m AAAAAAA=\n";
    upload.answer(200, line.as_bytes()).expect("cosigned");
    let UploadStep::AddCheckpoint(body) = upload.step(&log).expect("steps") else {
        panic!("not done before the target")
    };
    assert_eq!(AddCheckpoint::parse(&body).expect("a request").old, 5);
}

#[test]
fn misbehaviour_is_named() {
    let mut mirror = opened(&SimDisk::new());
    let log = new_log("a", 300);
    upload(&log, &mut mirror).expect("uploads");
    announce(&mut mirror, &new_log("a", 400)).expect("announced");
    let mut finding = |log: &Log| {
        let checkpoint = log.checkpoint().expect("signed").clone();
        let request = AddCheckpoint { old: 0, proof: vec![], checkpoint };
        mirror.add_checkpoint(&request.to_bytes(), &log_keys()).expect("works").finding
    };
    assert!(matches!(finding(&new_log("a", 200)), Some(Finding::Replay(_))));
    assert!(matches!(finding(&new_log("b", 200)), Some(Finding::Fork(_))));
    assert!(matches!(finding(&new_log("a", 350)), Some(Finding::Rollback(_))));
    assert!(matches!(finding(&new_log("b", 400)), Some(Finding::Fork(_))));
    assert_eq!(finding(&new_log("a", 400)), None);
}

#[test]
fn a_client_learns_that_its_log_was_rolled_back_or_forked() {
    let mut mirror = opened(&SimDisk::new());
    upload(&new_log("a", 300), &mut mirror).expect("uploads");
    let behind = upload(&new_log("a", 200), &mut mirror);
    assert!(matches!(behind, Err(UploadError::Behind { mirror: 300, log: 200 })));
    let forked = upload(&new_log("b", 400), &mut mirror);
    assert!(matches!(forked, Err(UploadError::Forked(_))));
    assert_holds(&mirror, "a");
}

#[test]
fn a_mirror_that_talks_nonsense_does_not_trap_the_client() {
    let log = new_log("a", 10);
    let fresh = || Upload::new(&log, 0, 0).expect("signed");
    let announced = || {
        let mut upload = fresh();
        upload.answer(200, b"").expect("announced");
        upload
    };
    assert!(matches!(fresh().answer(500, b""), Err(UploadError::Nonsense(500))));
    assert!(matches!(fresh().answer(404, b""), Err(UploadError::Refused { status: 404, .. })));
    assert!(matches!(fresh().answer(403, b""), Err(UploadError::Refused { status: 403, .. })));
    assert!(matches!(announced().answer(302, b""), Err(UploadError::Nonsense(302))));
    assert!(matches!(announced().answer(422, b"no"), Err(UploadError::Refused { .. })));
    assert!(matches!(announced().answer(409, b"5\n6\n\n"), Err(UploadError::Nonsense(409))));
    assert!(matches!(announced().answer(202, b"10\n11\n\n"), Err(UploadError::Behind { .. })));
    for (mut upload, status, body) in [(fresh(), 409, "3\n"), (announced(), 202, "10\n0\n\n")] {
        let answers: Vec<_> = (0..10).map(|_| upload.answer(status, body.as_bytes())).collect();
        assert!(answers[..8].iter().all(Result::is_ok));
        assert!(matches!(answers[8], Err(UploadError::Stalled)));
    }
    let (unsigned, _) = Log::open(Arc::new(SimDisk::new()), "log", &origin()).expect("a new log");
    assert!(matches!(Upload::new(&unsigned, 0, 0), Err(UploadError::Unsigned)));
    let mut done = announced();
    done.answer(200, "\u{2014} m AAAAAAA=\n".as_bytes()).expect("cosigned");
    done.answer(500, b"").expect("nothing more is asked");
    assert!(matches!(done.step(&log), Ok(UploadStep::Done { size: 10, .. })));
}

#[test]
fn a_damaged_mirror_is_not_opened() {
    let disk = SimDisk::new();
    upload(&new_log("a", 300), &mut opened(&disk)).expect("uploads");
    announce(&mut opened(&disk), &new_log("a", 400)).expect("announced");
    let pending = disk.read("mirror/pending").expect("there");
    let entries = disk.read("mirror/entries").expect("there");

    disk.remove("mirror/pending").expect("removed");
    assert!(matches!(open(&disk), Err(LogError::Damaged { .. })));
    for len in 0..pending.len() {
        disk.plant("mirror/pending", &pending[..len]).expect("planted");
        assert!(open(&disk).is_err(), "{len} bytes of pending");
    }
    disk.plant("mirror/pending", &[&pending[..], b"x"].concat()).expect("planted");
    assert!(matches!(open(&disk), Err(LogError::Damaged { .. })));
    disk.plant("mirror/pending", &pending).expect("planted");

    disk.truncate("mirror/entries", entries.len() as u64 - 1).expect("there");
    assert!(matches!(open(&disk), Err(LogError::RolledBack { held: 256, signed: 300, .. })));
    disk.plant("mirror/entries", &entries).expect("planted");
    opened(&disk);

    // Pending checkpoints of another branch than the entries.
    let other = SimDisk::new();
    let mut mirror = opened(&other);
    announce(&mut mirror, &new_log("b", 300)).expect("announced");
    disk.remove("mirror/checkpoint").expect("removed");
    disk.plant("mirror/pending", &other.read("mirror/pending").expect("there")).expect("planted");
    assert!(matches!(open(&disk), Err(LogError::Diverged { size: 300, .. })));
    let result = Mirror::open(Arc::new(disk), "mirror", &"x".parse().expect("an origin"));
    assert!(matches!(result.map(|_| ()), Err(LogError::OtherLog { .. })));
}

#[test]
fn the_pending_file_is_pinned() {
    let disk = SimDisk::new();
    let log = new_log("a", 1);
    announce(&mut opened(&disk), &log).expect("announced");
    let note = log.checkpoint().expect("signed").to_bytes();
    let head = b"SWPENDv1\x01\0\0\0".as_slice();
    let len = (note.len() as u32).to_le_bytes();
    assert_eq!(disk.read("mirror/pending").expect("there"), [head, &len, &note].concat());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn changed_uploads_never_change_what_is_held(
        at in 0..4000_usize, bit in 0..8_u8, random in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let log = new_log("a", 300);
        let mut mirror = opened(&SimDisk::new());
        announce(&mut mirror, &log).expect("announced");
        let info = MirrorInfo { size: 300, next: 0, ticket: vec![] };
        let mut body = entries_request(&log, &info).expect("in range");
        let at = at % body.len();
        body[at] ^= 1 << bit;
        let answer = add_entries(&mut mirror, &body).expect("the disk works");
        prop_assert!(answer.status() != 200, "a changed byte {} was cosigned", at);
        assert_holds(&mirror, "a");
        let header = EntriesHeader { origin: origin(), start: mirror.next_entry(), end: 300, ticket: vec![] };
        let noise = [&header.to_bytes()[..], &random].concat();
        prop_assert!(add_entries(&mut mirror, &noise).expect("the disk works").status() != 200);
        prop_assert!(add_entries(&mut mirror, &random).expect("the disk works").status() != 200);
        assert_holds(&mirror, "a");
    }
}
