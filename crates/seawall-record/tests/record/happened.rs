//! Drills, restores and events: every rule, each broken once, and what a drill protects.

use seawall_base::{NodeId, Seconds, Sha256};
use seawall_record::{
    Accepted, Drill, DrillKind, Ending, Event, Forget, Forgotten, LogState, RecordError, Restored,
    SnapshotPlace, TestResult, Use, Verdict,
};
use seawall_sign::{Envelope, Predicate, Statement};

use crate::fixture::{
    NOW, ORIGIN, by_identity, by_root, by_subkey, fleet, identity, key, manifest, node_enrolment,
    other_fleet, rule, subkey, subkey_key,
};

fn place(sequence: u64, manifest: Sha256) -> SnapshotPlace {
    SnapshotPlace { origin: ORIGIN.to_owned(), sequence, manifest }
}

fn first() -> Sha256 {
    by_subkey(manifest(1, None)).digest()
}

pub(crate) fn drill() -> Drill {
    Drill {
        fleet: fleet().id(),
        node: identity().public().node_id(),
        origin: ORIGIN.to_owned(),
        kind: DrillKind::Quorum,
        snapshot: Some(place(1, first())),
        result: Verdict::Passed,
        whole: true,
        request: Some(Sha256([1; 32])),
        approvals: vec![Sha256([2; 32]), Sha256([3; 32])],
        report: Sha256([4; 32]),
        began: NOW.before(Seconds(60)),
        created: NOW,
    }
}

pub(crate) fn scrub() -> Drill {
    Drill {
        kind: DrillKind::Scrub,
        snapshot: None,
        request: None,
        approvals: Vec::new(),
        ..drill()
    }
}

pub(crate) fn result() -> TestResult {
    let check = |name: &str, verdict| (name.to_owned(), verdict);
    let checks = [
        check("restore", Verdict::Passed),
        check("real tree", Verdict::Passed),
        check("tiers", Verdict::Warned),
    ];
    TestResult::of(&checks, Sha256([5; 32]))
}

pub(crate) fn restored() -> Restored {
    Restored {
        fleet: fleet().id(),
        node: identity().public().node_id(),
        origin: ORIGIN.to_owned(),
        request: Sha256([1; 32]),
        snapshot: place(1, first()),
        approvals: vec![Sha256([2; 32])],
        what: Use::Restore,
        ending: Ending::Done,
        created: NOW,
    }
}

pub(crate) fn event() -> Event {
    Event {
        fleet: fleet().id(),
        node: identity().public().node_id(),
        origin: ORIGIN.to_owned(),
        kind: "chassis-tamper".to_owned(),
        text: "lid switch of rack 3".to_owned(),
        created: NOW,
    }
}

fn signed<P: Predicate>(it: &Statement<P>) -> Envelope {
    it.sign(&[&subkey_key()]).expect("signed")
}

/// A log with so many snapshots of one set, and their digests.
fn log_of(snapshots: u64) -> (LogState, Vec<Sha256>) {
    let mut log = LogState::new(fleet(), ORIGIN);
    log.accept(&by_root(node_enrolment()).to_json()).expect("the enrolment");
    log.accept(&by_identity(subkey()).to_json()).expect("the subkey");
    let mut digests: Vec<Sha256> = Vec::new();
    for sequence in 1..=snapshots {
        let envelope = by_subkey(manifest(sequence, digests.last().copied()));
        log.accept(&envelope.to_json()).expect("a snapshot");
        digests.push(envelope.digest());
    }
    (log, digests)
}

fn refused<P: Predicate>(it: &Statement<P>) -> String {
    let (mut log, _) = log_of(1);
    let before = (log.entries(), log.last_created(), log.is_proven(1));
    let e = log.accept(&signed(it).to_json()).expect_err("must be refused");
    assert_eq!(before, (log.entries(), log.last_created(), log.is_proven(1)), "{e}");
    match e {
        RecordError::Refused { .. } => rule(&e).to_owned(),
        other => other.to_string(),
    }
}

#[test]
fn each_has_a_place_in_a_log() {
    let (mut log, _) = log_of(1);
    for entry in [
        signed(&drill().statement()),
        signed(&scrub().statement()),
        signed(&restored().statement()),
        signed(&event().statement()),
    ] {
        let accepted = log.accept(&entry.to_json()).expect("accepted");
        let known =
            matches!(accepted, Accepted::Drill(_) | Accepted::Restored(_) | Accepted::Event(_));
        assert!(known, "{accepted:?}");
    }
    assert_eq!(log.entries(), 7);
}

#[test]
fn whose_where_and_when() {
    let stranger = NodeId([9; 32]);
    let elsewhere = "another/log".to_owned();
    let late = NOW.after(Seconds::days(5));
    let words = "names another node or log than it is in";
    assert_eq!(refused(&Drill { node: stranger, ..drill() }.statement()), words);
    assert_eq!(refused(&Restored { origin: elsewhere.clone(), ..restored() }.statement()), words);
    assert_eq!(refused(&Event { origin: elsewhere, ..event() }.statement()), words);
    let foreign = other_fleet().id();
    assert!(refused(&Event { fleet: foreign, ..event() }.statement()).contains("belongs to"));
    for words in [
        refused(&Event { created: late, ..event() }.statement()),
        refused(&Drill { created: late, ..drill() }.statement()),
        refused(&Restored { created: late, ..restored() }.statement()),
    ] {
        assert!(words.contains("was not valid then"), "{words}");
    }
    let back = NOW.before(Seconds::hours(26));
    let words = refused(&Event { created: back, ..event() }.statement());
    assert!(words.contains("before its predecessor"), "{words}");
    let (mut log, _) = log_of(1);
    let by_other = event().statement().sign(&[&key(99)]).expect("signed");
    log.accept(&by_other.to_json()).expect_err("not by a subkey of this log");
}

#[test]
fn the_form_of_a_drill() {
    let scrub_words = "a scrub names no snapshot and no request, every other drill both";
    let of = |it: Drill| refused(&it.statement());
    assert_eq!(of(Drill { snapshot: None, ..drill() }), scrub_words);
    assert_eq!(of(Drill { request: None, ..drill() }), scrub_words);
    assert_eq!(of(Drill { kind: DrillKind::Scrub, ..drill() }), scrub_words);
    let approvals = vec![Sha256([2; 32])];
    assert_eq!(of(Drill { approvals, ..scrub() }), "nobody approves a scrub");
    for approvals in [vec![Sha256([3; 32]), Sha256([2; 32])], vec![Sha256([2; 32]); 2]] {
        assert!(of(Drill { approvals, ..drill() }).contains("ascending"));
    }
    let many = (0..65).map(|n| Sha256([n; 32])).collect();
    assert!(of(Drill { approvals: many, ..drill() }).contains("more than 64"));
    let none = Drill { approvals: Vec::new(), ..drill() };
    assert_eq!(of(none.clone()), "a snapshot that nobody approved cannot have been restored");
    let began = NOW.after(Seconds(1));
    assert_eq!(of(Drill { began, ..drill() }), "ended before it began");
    let other = Some(place(1, Sha256([7; 32])));
    assert_eq!(of(Drill { snapshot: other, ..drill() }), "number 1 is not the snapshot it names");
    for sequence in [0, 2, u64::MAX] {
        let other = Some(place(sequence, first()));
        assert!(of(Drill { snapshot: other, ..drill() }).contains("is not the snapshot"));
    }
    // One that failed before anybody approved is on record, and so is one of another log.
    let (mut log, _) = log_of(1);
    let failed = Drill { result: Verdict::Failed, ..none };
    log.accept(&signed(&failed.statement()).to_json()).expect("accepted");
    let mut foreign = drill();
    foreign.snapshot = Some(SnapshotPlace { origin: "x/y".to_owned(), ..place(9, first()) });
    log.accept(&signed(&foreign.statement()).to_json()).expect("accepted");
    assert!(!log.is_proven(9) && !log.is_proven(1));
}

#[test]
fn the_form_of_a_restore_and_an_event() {
    let many = (0..65).map(|n| Sha256([n; 32])).collect();
    for approvals in [Vec::new(), vec![Sha256([2; 32]); 2], many] {
        let words = refused(&Restored { approvals, ..restored() }.statement());
        assert!(words.contains("names no approval, more than 64"), "{words}");
    }
    let words = refused(&Restored { snapshot: place(2, first()), ..restored() }.statement());
    assert_eq!(words, "number 2 is not the snapshot it names");
    for kind in ["", "Door", "a_b", "9-lives", "-x", &"a".repeat(33), "a\u{202e}"] {
        let words = refused(&Event { kind: kind.to_owned(), ..event() }.statement());
        assert!(words.contains("a letter first"), "{kind:?}: {words}");
    }
    for text in ["", "two\nlines", "\u{202e}", &"a".repeat(Event::MAX_TEXT + 1)] {
        let words = refused(&Event { text: text.to_owned(), ..event() }.statement());
        assert!(words.contains("text must be"), "{words}");
    }
}

/// Tries to forget number `sequence` of a log.
fn forget(log: &mut LogState, digests: &[Sha256], sequence: u64) -> Result<(), String> {
    let it = Forget {
        fleet: fleet().id(),
        node: identity().public().node_id(),
        origin: ORIGIN.to_owned(),
        snapshots: vec![Forgotten { sequence, manifest: digests[sequence as usize - 1] }],
        copies: 0,
        reason: "keep last 1".to_owned(),
        created: NOW,
    };
    let accepted = log.accept(&signed(&it.statement()).to_json());
    accepted.map(drop).map_err(|e| rule(&e).to_owned())
}

fn drilled(log: &mut LogState, digests: &[Sha256], sequence: u64, change: impl Fn(&mut Drill)) {
    let mut it = drill();
    it.snapshot = Some(place(sequence, digests[sequence as usize - 1]));
    change(&mut it);
    log.accept(&signed(&it.statement()).to_json()).expect("accepted");
}

#[test]
fn the_last_proven_is_not_forgotten() {
    const NEVER: &str =
        "is the last of its class and set that a drill has proven, which is never forgotten";
    let (mut log, digests) = log_of(5);
    drilled(&mut log, &digests, 1, |_| ());
    drilled(&mut log, &digests, 3, |_| ());
    assert_eq!(forget(&mut log, &digests, 3), Err(format!("number 3 {NEVER}")));
    forget(&mut log, &digests, 1).expect("an older proven one may go");
    forget(&mut log, &digests, 2).expect("one nobody tried may go");
    // A newer one takes over; a sample and a failure prove nothing.
    drilled(&mut log, &digests, 4, |it| it.whole = false);
    drilled(&mut log, &digests, 4, |it| it.result = Verdict::Failed);
    assert_eq!(forget(&mut log, &digests, 3), Err(format!("number 3 {NEVER}")));
    drilled(&mut log, &digests, 4, |it| it.result = Verdict::Warned);
    forget(&mut log, &digests, 3).expect("number 4 is proven now");
    // What failed later is not proven any more.
    drilled(&mut log, &digests, 4, |it| it.result = Verdict::Failed);
    forget(&mut log, &digests, 4).expect("it could not be restored");
}

#[test]
fn a_test_result_is_the_worst_of_its_tests() {
    let signer = subkey_key().public();
    let node = identity().public().node_id();
    let open =
        |it: TestResult| TestResult::open(&signed(&it.statement(None, node)), signer, None, node);
    assert_eq!(open(result()), Ok(result()));
    assert_eq!(result().result, Verdict::Warned);
    for lie in [Verdict::Passed, Verdict::Failed] {
        let e = open(TestResult { result: lie, ..result() }).expect_err("refused");
        assert_eq!(rule(&e), "its result is not the worst of its tests");
    }
    assert_eq!(TestResult::of(&[], Sha256([0; 32])).result, Verdict::Failed, "no test, no success");
    let mut it = result();
    it.configuration.push(it.configuration[0].clone());
    assert_eq!(rule(&open(it).expect_err("refused")), "it does not pin the drill's details");
    let mut it = result();
    it.configuration[0].digest.insert("sha512".to_owned(), "00".to_owned());
    assert_eq!(rule(&open(it).expect_err("refused")), "it does not pin the drill's details");
    let names = vec!["x".to_owned(); 65];
    let e = open(TestResult { passed_tests: names, ..result() }).expect_err("refused");
    assert_eq!(rule(&e), "more than 64 tests");
    let it = signed(&result().statement(None, node));
    TestResult::open(&it, key(99).public(), None, node).expect_err("signed by somebody else");
    let about = "it is about something else than the drill";
    let e = TestResult::open(&it, signer, Some(Sha256([7; 32])), node).expect_err("of a node");
    assert_eq!(rule(&e), about);
    let e = TestResult::open(&it, signer, None, NodeId([7; 32])).expect_err("of another node");
    assert_eq!(rule(&e), about);
}
