//! A witness that never cosigns two histories, whatever its disk does.

use std::io::ErrorKind;
use std::sync::Arc;

use seawall_base::Timestamp;
use seawall_sign::SigningKey;
use seawall_sim::{Outcome, PowerCut, SimDisk};
use seawall_tlog::merkle::leaf_hash;
use seawall_tlog::{
    AddCheckpoint, Checkpoint, Cosigner, Finding, Judgement, Kind, Log, LogError, Origin,
    SignedCheckpoint, Verifier, Witness, WitnessAnswer,
};

const NOW: Timestamp = Timestamp(1_700_000_000);

fn origin() -> Origin {
    "example.com/log".parse().expect("a C2SP origin")
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn trusted(origin: &Origin) -> Option<Vec<Verifier>> {
    (origin.as_str() == "example.com/log").then(|| {
        vec![Verifier::new(origin.as_str(), Kind::Signer, &key(1).public()).expect("a good name")]
    })
}

/// A log in memory with `size` entries of one branch, and its checkpoint.
fn log(branch: &str, size: u64) -> Log {
    let (mut log, _) = Log::open(Arc::new(SimDisk::new()), "log", &origin()).expect("a new log");
    let entries: Vec<String> = (0..size).map(|i| format!("{branch} {i}")).collect();
    log.append(&entries).expect("appends");
    log.sign_checkpoint(&key(1)).expect("signs");
    log
}

fn request(log: &Log, old: u64) -> AddCheckpoint {
    let checkpoint = log.checkpoint().expect("signed").clone();
    AddCheckpoint { old, proof: log.consistency(old, log.size()).expect("in range"), checkpoint }
}

fn open(disk: &SimDisk) -> Witness {
    Witness::open(Arc::new(disk.clone()), "witness").expect("the witness opens")
}

fn submit(witness: &mut Witness, body: &[u8]) -> Result<Judgement, LogError> {
    let key = key(9);
    witness.add_checkpoint(body, &trusted, Cosigner { name: "w.example/1", key: &key }, NOW)
}

fn judged(witness: &mut Witness, request: &AddCheckpoint) -> Judgement {
    submit(witness, &request.to_bytes()).expect("the disk works")
}

fn held(witness: &Witness) -> u64 {
    witness.checkpoint(&origin()).map_or(0, |c| c.checkpoint().size)
}

#[test]
fn growth_is_cosigned_and_remembered() {
    let disk = SimDisk::new();
    let mut witness = open(&disk);
    let mut old = 0;
    for size in [0, 1, 5, 5, 8, 70] {
        let log = log("a", size);
        let judgement = judged(&mut witness, &request(&log, old));
        let WitnessAnswer::Cosigned(lines) = &judgement.answer else { panic!("{judgement:?}") };
        let key = key(9);
        let cosigner = Cosigner { name: "w.example/1", key: &key };
        let known = [cosigner.verifier().expect("a good name")];
        let mut signed = log.checkpoint().expect("signed").clone();
        signed.add(lines[0].clone()).expect("room");
        assert_eq!(signed.verify(&known).expect("cosigned")[0].time, Some(NOW));
        assert_eq!(witness.checkpoint(&origin()), Some(&signed));
        old = size;
    }
    let witness = open(&disk.power_cut(PowerCut::LoseUnsynced));
    assert_eq!((held(&witness), witness.checkpoints().count()), (70, 1));
}

#[test]
fn every_refusal_has_its_status() {
    let mut witness = open(&SimDisk::new());
    let five = log("a", 5);
    judged(&mut witness, &request(&five, 0));

    let status =
        |witness: &mut Witness, request: &AddCheckpoint| judged(witness, request).answer.status();
    let good = request(&log("a", 8), 5);

    assert_eq!(submit(&mut witness, b"nonsense").expect("works").answer.status(), 400);
    let above = AddCheckpoint { old: 9, ..good.clone() };
    assert_eq!(status(&mut witness, &above), 400);

    let text = good.checkpoint.checkpoint().clone();
    let unknown = Checkpoint { origin: "example.com/x".parse().expect("origin"), ..text.clone() };
    let unknown = SignedCheckpoint::sign(unknown, &key(1)).expect("signs");
    assert_eq!(status(&mut witness, &AddCheckpoint { checkpoint: unknown, ..good.clone() }), 404);

    let stranger = SignedCheckpoint::sign(text.clone(), &key(2)).expect("signs");
    assert_eq!(status(&mut witness, &AddCheckpoint { checkpoint: stranger, ..good.clone() }), 403);
    let forged = String::from_utf8(good.to_bytes()).expect("UTF-8").replace("\n8\n", "\n9\n");
    assert_eq!(submit(&mut witness, forged.as_bytes()).expect("works").answer.status(), 403);

    let conflict = judged(&mut witness, &AddCheckpoint { old: 4, ..good.clone() });
    assert_eq!(conflict, Judgement { answer: WitnessAnswer::Conflict(5), finding: None });
    assert_eq!(status(&mut witness, &AddCheckpoint { old: 0, proof: vec![], ..good.clone() }), 409);

    let no_proof = AddCheckpoint { proof: vec![], ..good.clone() };
    assert_eq!(status(&mut witness, &no_proof), 422);
    let mut wrong = good.clone();
    wrong.proof[0].0[0] ^= 1;
    assert_eq!(status(&mut witness, &wrong), 422);
    assert_eq!(status(&mut witness, &request(&log("b", 5), 5)), 409, "another tree, as large");
    assert_eq!(held(&witness), 5, "nothing was moved");
    assert_eq!(status(&mut witness, &good), 200);

    let mut fresh = open(&SimDisk::new());
    let spurious = AddCheckpoint { old: 0, proof: vec![leaf_hash(b"")], ..good };
    assert_eq!(status(&mut fresh, &spurious), 422, "a proof from the empty tree must be empty");
    let empty = Checkpoint::new(origin(), 0, leaf_hash(b"not the empty root"));
    let checkpoint = SignedCheckpoint::sign(empty, &key(1)).expect("signs");
    let impossible = AddCheckpoint { old: 0, proof: vec![], checkpoint };
    assert_eq!(status(&mut fresh, &impossible), 422);
}

#[test]
fn misbehaviour_is_named_with_both_checkpoints() {
    let mut witness = open(&SimDisk::new());
    let five = log("a", 5);
    judged(&mut witness, &request(&five, 0));
    let held = witness.checkpoint(&origin()).expect("held").clone();
    let finding = |witness: &mut Witness, log: &Log, old| {
        let request = request(log, old);
        let judgement = judged(witness, &request);
        assert_ne!(judgement.answer.status(), 200);
        (judgement.finding.expect("is named"), request.checkpoint)
    };

    let (found, offered) = finding(&mut witness, &log("b", 5), 5);
    let Finding::Fork(evidence) = found else { panic!("{found:?}") };
    assert_eq!((&evidence.held, &evidence.offered), (&held, &offered));
    let keys = trusted(&origin()).expect("known");
    assert!(evidence.held.verify(&keys).is_ok() && evidence.offered.verify(&keys).is_ok());

    let (found, _) = finding(&mut witness, &log("b", 5), 3);
    assert!(matches!(found, Finding::Fork(_)), "named even if the old size is wrong");
    let (found, _) = finding(&mut witness, &log("b", 9), 5);
    assert!(matches!(found, Finding::Unproven(_)), "{found:?}");
    let (found, _) = finding(&mut witness, &log("a", 3), 3);
    assert!(matches!(found, Finding::Rollback(_)), "{found:?}");
}

#[test]
fn signatures_of_others_are_not_kept() {
    let mut witness = open(&SimDisk::new());
    let mut request = request(&log("a", 5), 0);
    for i in 0..40 {
        let line = request.checkpoint.cosign(&format!("x{i}"), &key(3), NOW).expect("cosigns");
        request.checkpoint.add(line).expect("room");
    }
    assert_eq!(judged(&mut witness, &request).answer.status(), 200);
    let kept = witness.checkpoint(&origin()).expect("held").note().signatures();
    let names: Vec<&str> = kept.iter().map(|line| line.name.as_str()).collect();
    assert_eq!(names, ["example.com/log", "w.example/1"]);
}

#[test]
fn no_failure_or_power_cut_makes_it_forget_what_it_cosigned() {
    let five = log("a", 5);
    let (eight, other) = (log("a", 8), log("b", 8));
    for ops in 0..20 {
        for outcome in [Outcome::Lost, Outcome::Persisted, Outcome::Half] {
            let disk = SimDisk::new();
            judged(&mut open(&disk), &request(&five, 0));
            let mut witness = open(&disk);
            disk.fail_after(ops, ErrorKind::Other, outcome);
            let answered = submit(&mut witness, &request(&eight, 5).to_bytes());
            let cosigned = answered.is_ok_and(|j| j.answer.status() == 200);
            for seed in 0..8 {
                let cut = match seed {
                    0 => PowerCut::LoseUnsynced,
                    1 => PowerCut::KeepUnsynced,
                    seed => PowerCut::Torn { seed },
                };
                let mut witness = open(&disk.power_cut(cut));
                let size = held(&witness);
                assert!([5, 8].contains(&size));
                assert!(!cosigned || size == 8, "forgot a cosignature at {ops}, {cut:?}");
                let fork = judged(&mut witness, &AddCheckpoint { old: size, ..request(&other, 0) });
                assert_ne!(fork.answer.status(), 200, "cosigned a fork at {ops}, {cut:?}");
            }
        }
    }
}

#[test]
fn a_damaged_memory_is_an_error_not_a_fresh_start() {
    let disk = SimDisk::new();
    judged(&mut open(&disk), &request(&log("a", 5), 0));
    let name = format!("witness/{}", origin().hash().to_hex());
    let whole = disk.read(&name).expect("there");
    disk.plant(&name, &whole[..40]).expect("planted");
    let open = |disk: &SimDisk| Witness::open(Arc::new(disk.clone()), "witness").map(|_| ());
    assert!(matches!(open(&disk), Err(LogError::Checkpoint(_))));
    disk.plant(&name, &whole).expect("planted");
    disk.plant(&format!("{name}.tmp"), b"half").expect("planted");
    open(&disk).expect("an unfinished write is ignored");
    disk.plant("witness/00", &whole).expect("planted");
    assert!(matches!(open(&disk), Err(LogError::OtherLog { .. })));
}

#[test]
fn a_witness_without_a_clock_cosigns_nothing() {
    let mut witness = open(&SimDisk::new());
    let (body, key) = (request(&log("a", 5), 0).to_bytes(), key(9));
    let cosigner = Cosigner { name: "w.example/1", key: &key };
    assert!(witness.add_checkpoint(&body, &trusted, cosigner, Timestamp(0)).is_err());
    assert_eq!(held(&witness), 0);
}
