//! Deletion and retention statements in a log: every rule, each broken once.

use seawall_base::{GroupId, Seconds, Sha256};
use seawall_policy::retention::{Count, Period, Rules};
use seawall_record::{
    Accepted, Deleted, Deletion, DeletionFile, DeletionRule, Drill, DrillKind, Fleet, Forget,
    Forgotten, Hex32, LogState, RecordError, Retention, SnapshotPlace, Verdict,
};
use seawall_sign::{Envelope, SignError, SigningKey};

use crate::fixture::{
    GROUP, NOW, ORIGIN, OTHER_GROUP, by_identity, by_root, by_subkey, fleet, identity, key,
    manifest, node_enrolment, node_of, other_fleet, region_identity, root, rule, signature, subkey,
    subkey_key, tampered,
};

/// The fleet after a policy that lets two custodians delete.
pub(crate) fn ruled() -> Fleet {
    next(fleet(), 2)
}

fn next(fleet: Fleet, custodians: u16) -> Fleet {
    let mut policy = fleet.policy().clone();
    policy.version += 1;
    policy.previous = fleet.policy_digest();
    policy.deletion = Some(DeletionRule { min_age: Seconds::days(30), custodians });
    let envelope = policy.statement().sign(&[&root()]).expect("signed");
    fleet.advance(envelope).expect("a good policy")
}

/// The custodian of this index of a class's group.
pub(crate) fn custodian(class: u8, index: u8) -> SigningKey {
    key(100 + 10 * class + index)
}

/// A log of snapshots of these sets, and their digests.
fn log_of(fleet: Fleet, sets: &[Option<&str>]) -> (LogState, Vec<Sha256>) {
    let mut log = LogState::new(fleet, ORIGIN);
    log.accept(&by_root(node_enrolment()).to_json()).expect("the enrolment");
    log.accept(&by_identity(subkey()).to_json()).expect("the subkey");
    let mut digests: Vec<Sha256> = Vec::new();
    for (i, set) in sets.iter().enumerate() {
        let mut it = manifest(i as u64 + 1, digests.last().copied());
        it.core.set = set.map(str::to_owned);
        let envelope = by_subkey(it);
        log.accept(&envelope.to_json()).expect("a snapshot");
        digests.push(envelope.digest());
    }
    (log, digests)
}

pub(crate) fn deletion(digests: &[Sha256], sequences: &[u64]) -> Deletion {
    let one = |&sequence: &u64| Forgotten { sequence, manifest: digests[sequence as usize - 1] };
    Deletion {
        fleet: fleet().id(),
        node: identity().public().node_id(),
        origin: ORIGIN.to_owned(),
        snapshots: sequences.iter().map(one).collect(),
        even_last: false,
        policy: 2,
        reason: "a customer asked for erasure".to_owned(),
        nonce: Hex32([4; 32]),
        created: NOW,
        expires: NOW.after(Seconds::days(7)),
    }
}

fn by(it: Deletion, signers: &[&SigningKey]) -> Envelope {
    let statement = it.statement();
    let mut envelope = statement.sign(&[signers[0]]).expect("signed");
    for signer in &signers[1..] {
        envelope = envelope.and_sign(*signer).expect("another signer");
    }
    envelope
}

fn quorum(it: Deletion) -> Envelope {
    by(it, &[&custodian(1, 1), &custodian(1, 3)])
}

fn refused(log: &mut LogState, entry: &Envelope, named: &[Sha256]) -> RecordError {
    let state = |log: &LogState| {
        let of = |d: &Sha256| (log.deleted(d).cloned(), log.forgotten(d));
        (log.entries(), named.iter().map(of).collect::<Vec<_>>())
    };
    let before = state(log);
    let e = log.accept(&entry.to_json()).expect_err("must be refused");
    assert_eq!(before, state(log), "a refused entry left a trace: {e}");
    e
}

#[test]
fn a_quorum_deletes_and_the_log_says_who_and_why() {
    let (mut log, digests) = log_of(ruled(), &[None, None, None]);
    let envelope = quorum(deletion(&digests, &[1, 2]));
    let accepted = log.accept(&envelope.to_json()).expect("accepted");
    assert!(matches!(accepted, Accepted::Deletion(d, _) if d == envelope.digest()));
    let gone = log.deleted(&digests[0]).expect("deleted").clone();
    assert_eq!(gone.by, ["custodian-1", "custodian-3"]);
    assert_eq!((gone.statement, gone.index), (envelope.digest(), 5));
    assert_eq!(gone.reason, "a customer asked for erasure");
    assert!(log.forgotten(&digests[1]).is_some() && log.deleted(&digests[2]).is_none());
    // The same paper does nothing twice; another one about the same snapshots may be needed.
    let e = refused(&mut log, &envelope, &digests);
    assert_eq!(rule(&e), "stands in this log already");
    let again = Deletion { nonce: Hex32([5; 32]), ..deletion(&digests, &[2]) };
    log.accept(&quorum(again).to_json()).expect("accepted");
    assert_eq!(log.deleted(&digests[1]), Some(&gone), "the first one stands");
    log.accept(&by_subkey(manifest(4, Some(digests[2]))).to_json()).expect("the chain goes on");
}

#[test]
fn fewer_or_other_signers_delete_nothing() {
    let (mut log, digests) = log_of(ruled(), &[None, None]);
    let it = || deletion(&digests, &[1]);
    let (one, strangers) = (custodian(1, 1), [custodian(2, 1), key(99)]);
    let e = refused(&mut log, &by(it(), &[&one]), &digests);
    assert_eq!(rule(&e), "1 of 2 signatures that count: custodians of class \"customers\"");
    // Those of another class, strangers, root and the node itself are no custodians of it.
    let all = by(it(), &[&one, &strangers[0], &strangers[1], &root(), &identity(), &subkey_key()]);
    assert!(rule(&refused(&mut log, &all, &digests)).starts_with("1 of 2 signatures"));
    let none = by(it(), &[&strangers[0]]);
    assert!(rule(&refused(&mut log, &none, &digests)).starts_with("0 of 2 signatures"));
    let forged = tampered(&quorum(it()), "erasure", "ERASURE");
    assert_eq!(signature(refused(&mut log, &forged, &digests)), SignError::BadSignature);
}

/// What is no envelope, or names an algorithm nobody knows, never gets as far as being counted.
#[test]
fn broken_envelopes_fail_closed() {
    let (mut log, digests) = log_of(ruled(), &[None, None]);
    let good = String::from_utf8(quorum(deletion(&digests, &[1])).to_json()).expect("JSON");
    let (start, _) = good.split_once("\"signatures\":").expect("signatures");
    let one = good.split_once("\"signatures\":[").expect("signatures").1;
    let (one, _) = one.split_once(",{").expect("two signatures");
    let cases = [
        (format!("{start}\"signatures\":[]}}"), "1 to 64 signatures"),
        (format!("{start}\"signatures\":[{one},{one}]}}"), "signed twice"),
        (good.replacen("ed25519:", "ed448:", 1), "ed448"),
        (format!("{}}}", start.trim_end_matches(',')), "signatures"),
    ];
    for (text, expected) in cases {
        let e = log.accept(text.as_bytes()).expect_err("must be refused");
        assert!(e.to_string().contains(expected), "{e}");
        assert!(log.deleted(&digests[0]).is_none());
    }
}

#[test]
fn each_group_has_its_own_quorum() {
    let (mut log, mut digests) = log_of(ruled(), &[None]);
    let mut web = manifest(2, Some(digests[0]));
    (web.core.group, web.core.class) = (OTHER_GROUP, 2);
    let web = by_subkey(web);
    log.accept(&web.to_json()).expect("a snapshot of another class");
    digests.push(web.digest());
    let last = by_subkey(manifest(3, Some(digests[1])));
    log.accept(&last.to_json()).expect("a snapshot");
    let both = || Deletion { even_last: true, ..deletion(&digests, &[1, 2]) };
    let e = refused(&mut log, &quorum(both()), &digests);
    assert_eq!(rule(&e), "0 of 2 signatures that count: custodians of class \"web\"");
    let keys = [custodian(1, 1), custodian(1, 2), custodian(2, 2), custodian(2, 3)];
    log.accept(&by(both(), &keys.each_ref()).to_json()).expect("two of each");
}

#[test]
fn without_a_rule_nothing_is_deleted() {
    let (mut log, digests) = log_of(fleet(), &[None, None]);
    let it = Deletion { policy: 1, ..deletion(&digests, &[1]) };
    let e = refused(&mut log, &quorum(it), &digests);
    assert_eq!(rule(&e), "the fleet's policy lets nothing be deleted");
}

#[test]
fn a_statement_is_judged_by_the_policy_it_names() {
    let stricter = next(ruled(), 3);
    let (mut log, digests) = log_of(stricter.clone(), &[None, None, None]);
    // History: what was logged under version 2 is read by version 2.
    log.accept(&quorum(deletion(&digests, &[1])).to_json()).expect("accepted");
    // Acting: whoever deletes asks for the newest.
    let e = log.check_deletion(&quorum(deletion(&digests, &[2])), stricter.policy());
    assert!(rule(&e.expect_err("refused")).contains("names version 2"));
    let it = Deletion { policy: 3, ..deletion(&digests, &[2]) };
    let e = refused(&mut log, &quorum(it), &digests);
    assert!(rule(&e).starts_with("2 of 3 signatures"), "{e}");
    for unknown in [0, 4, u64::MAX] {
        let it = Deletion { policy: unknown, ..deletion(&digests, &[2]) };
        let e = refused(&mut log, &quorum(it), &digests);
        assert!(rule(&e).contains("not among those known here"), "{e}");
    }
}

#[test]
fn a_deletion_is_well_formed_and_about_this_log() {
    type Edit = fn(&mut Deletion);
    let (mut log, digests) = log_of(ruled(), &[None; 4]);
    let edits: [(Edit, &str); 12] = [
        (|d| d.snapshots.clear(), "names none"),
        (|d| d.snapshots = vec![d.snapshots[0]; 129], "names none, or more than 128"),
        (|d| d.snapshots.swap(0, 1), "not in strictly ascending order"),
        (|d| d.snapshots[1] = d.snapshots[0], "not in strictly ascending order"),
        (|d| d.reason = String::new(), "text must be"),
        (|d| d.reason = "a\u{202e}b".to_owned(), "text must be"),
        (|d| d.expires = d.created, "is not valid for"),
        (|d| d.expires = d.created.after(Seconds::days(31)), "is not valid for"),
        (|d| d.origin.push('2'), "names another node or log"),
        (|d| d.node = node_of(99), "names another node or log"),
        (|d| d.snapshots[0].manifest = Sha256([7; 32]), "number 1 is not a snapshot"),
        (|d| d.snapshots[1].sequence = 3, "number 3 is not a snapshot"),
    ];
    for (edit, expected) in edits {
        let mut it = deletion(&digests, &[1, 2]);
        edit(&mut it);
        let e = refused(&mut log, &quorum(it), &digests);
        assert!(rule(&e).starts_with(expected), "{e}");
    }
    let elsewhere = Deletion { fleet: other_fleet().id(), ..deletion(&digests, &[1]) };
    let e = refused(&mut log, &quorum(elsewhere), &digests);
    assert!(matches!(e, RecordError::OtherFleet { .. }));
    let (created, expires) = (NOW.before(Seconds::days(9)), NOW.before(Seconds(1)));
    let stale = Deletion { created, expires, ..deletion(&digests, &[1]) };
    let e = refused(&mut log, &quorum(stale), &digests);
    assert_eq!(rule(&e), "had expired when it was logged");
}

fn drill(sequence: u64, manifest: Sha256, result: Verdict) -> Envelope {
    let it = Drill {
        fleet: fleet().id(),
        node: subkey().node,
        origin: ORIGIN.to_owned(),
        kind: DrillKind::Quorum,
        snapshot: Some(SnapshotPlace { origin: ORIGIN.to_owned(), sequence, manifest }),
        result,
        whole: true,
        request: Some(Sha256([1; 32])),
        approvals: vec![Sha256([2; 32])],
        report: Sha256([3; 32]),
        began: NOW,
        created: NOW,
    };
    it.statement().sign(&[&subkey_key()]).expect("signed")
}

#[test]
fn the_newest_and_the_last_proven_go_only_where_the_statement_says_so() {
    let (mut log, digests) = log_of(ruled(), &[None, None, Some("db"), None]);
    log.accept(&drill(2, digests[1], Verdict::Passed).to_json()).expect("a drill");
    for last in [2, 3, 4] {
        let e = refused(&mut log, &quorum(deletion(&digests, &[last])), &digests);
        assert_eq!(rule(&e), "it is the newest of its set, or a drill has proven it");
    }
    // A later drill that fails takes nothing back for whoever expires by rules.
    log.accept(&drill(2, digests[1], Verdict::Failed).to_json()).expect("a drill");
    assert!(log.was_proven(2) && !log.is_proven(2) && !log.was_proven(1));
    let all = Deletion { even_last: true, ..deletion(&digests, &[2, 4]) };
    log.accept(&quorum(all).to_json()).expect("it says so");
    // Of what is left the newest is the last again, for deleting and for forgetting.
    let e = refused(&mut log, &quorum(deletion(&digests, &[1])), &digests);
    assert_eq!(rule(&e), "it is the newest of its set, or a drill has proven it");
    let forget = Forget {
        fleet: fleet().id(),
        node: subkey().node,
        origin: ORIGIN.to_owned(),
        snapshots: vec![Forgotten { sequence: 1, manifest: digests[0] }],
        copies: 2,
        reason: "keep last 1".to_owned(),
        created: NOW,
    };
    let e = refused(&mut log, &forget.statement().sign(&[&subkey_key()]).expect("signed"), &[]);
    assert!(rule(&e).contains("last of its class and set"), "{e}");
}

#[test]
fn the_largest_statement_fits_an_entry() {
    let (mut log, digests) = log_of(ruled(), &[None; Deletion::MAX + 1]);
    let all: Vec<u64> = (1..=Deletion::MAX as u64).collect();
    let reason = "r".repeat(Deletion::MAX_REASON);
    let envelope = quorum(Deletion { reason, ..deletion(&digests, &all) });
    assert!(envelope.to_json().len() < 24_000, "{} bytes", envelope.to_json().len());
    log.accept(&envelope.to_json()).expect("accepted");
}

pub(crate) fn retention(version: u64) -> Retention {
    let counts = [(Period::Daily, Count::Newest(7)), (Period::Yearly, Count::Unlimited)];
    Retention {
        fleet: fleet().id(),
        node: identity().public().node_id(),
        version,
        rules: Rules { counts: counts.into_iter().collect(), ..Rules::default() },
        policy: 2,
        created: NOW,
    }
}

/// What is done to a retention statement.
type Change = fn(&mut Retention);

fn by_roots(it: Retention) -> Envelope {
    it.statement().sign(&[&root()]).expect("signed")
}

#[test]
fn the_root_keys_say_what_expires_and_only_forwards() {
    let (mut log, _) = log_of(ruled(), &[None]);
    assert!(log.retention().is_none());
    log.accept(&by_roots(retention(1)).to_json()).expect("accepted");
    log.accept(&by_roots(retention(3)).to_json()).expect("accepted");
    assert_eq!(log.retention().map(|(it, _)| it.clone()), Some(retention(3)));
    for old in [3, 2] {
        let e = refused(&mut log, &by_roots(retention(old)), &[]);
        assert_eq!(rule(&e), format!("version {old} where 3 holds"));
    }
    let edits: [(Change, &str); 4] = [
        (|r| r.node = node_of(99), "names another node"),
        (|r| r.policy = 9, "names version 9"),
        (|r| r.version = 0, "names another policy, or no version"),
        (|r| r.rules = Rules::default(), "the policy keeps nothing"),
    ];
    for (edit, expected) in edits {
        let mut it = retention(4);
        edit(&mut it);
        let e = refused(&mut log, &by_roots(it), &[]);
        assert!(rule(&e).starts_with(expected), "{e}");
    }
    // A node cannot say it of itself, nor can custodians.
    for stranger in [subkey_key(), identity(), custodian(1, 1)] {
        let entry = retention(4).statement().sign(&[&stranger]).expect("signed");
        assert!(matches!(
            signature(refused(&mut log, &entry, &[])),
            SignError::BelowThreshold { have: 0, need: 1 }
        ));
    }
}

#[test]
fn a_notice_is_its_own_regions() {
    let it = Deleted {
        fleet: fleet().id(),
        region: region_identity().public().node_id(),
        incarnation: Hex32([6; 32]),
        origin: ORIGIN.to_owned(),
        under: Sha256([2; 32]),
        snapshots: vec![Forgotten { sequence: 1, manifest: Sha256([1; 32]) }],
        created: NOW,
    };
    let by = |it: Deleted, n: &SigningKey| it.statement().sign(&[n]).expect("signed");
    let key = region_identity().public();
    assert_eq!(Deleted::open(&by(it.clone(), &region_identity()), key), Ok(it.clone()));
    assert!(Deleted::open(&by(it.clone(), &identity()), key).is_err());
    let other = Deleted { region: node_of(99), ..it.clone() };
    assert!(Deleted::open(&by(other, &region_identity()), key).is_err());
    let none = Deleted { snapshots: Vec::new(), ..it };
    assert!(Deleted::open(&by(none, &region_identity()), key).is_err());
}

/// A proposal to delete the first of two snapshots, signed by the node that proposes it.
fn proposal() -> (DeletionFile, Vec<Envelope>) {
    let first = by_subkey(manifest(1, None));
    let second = by_subkey(manifest(2, Some(first.digest())));
    let it = deletion(&[first.digest()], &[1]);
    let file = DeletionFile::new(ruled(), by(it, &[&subkey_key()]), vec![first.clone()]);
    (file.expect("it belongs together"), vec![first, second])
}

#[test]
fn a_proposal_counts_custodians_and_nobody_else() {
    let (file, _) = proposal();
    let state = |file: &DeletionFile| {
        let signed = file.signed().expect("a rule");
        (signed[0].by.clone(), signed[0].need, signed[0].is_complete())
    };
    assert_eq!(state(&file), (vec![], 2, false), "who proposes counts for nothing");
    for stranger in [root(), identity(), custodian(2, 1)] {
        let e = file.clone().with_signature(&stranger).expect_err("no custodian of this group");
        assert!(rule(&e).contains("no custodian's"), "{e}");
    }
    let one = file.with_signature(&custodian(1, 2)).expect("a custodian");
    let e = one.clone().with_signature(&custodian(1, 2)).expect_err("twice");
    assert!(matches!(signature(e), SignError::DuplicateSigner(_)));
    let two = one.with_signature(&custodian(1, 3)).expect("another");
    assert_eq!(state(&two), (vec!["custodian-2".to_owned(), "custodian-3".to_owned()], 2, true));
    let back = DeletionFile::parse(&two.to_json(), &ruled()).expect("what it writes, it reads");
    assert_eq!((back.envelope(), state(&back).2), (two.envelope(), true));
    let (mut log, digests) = log_of(ruled(), &[None, None]);
    log.accept(&two.envelope().to_json()).expect("the log takes it");
    assert!(log.deleted(&digests[0]).is_some());
}

#[test]
fn a_proposal_shows_what_it_names() {
    let (file, manifests) = proposal();
    let e = DeletionFile::parse(&file.to_json(), &other_fleet()).expect_err("another fleet");
    assert!(matches!(e, RecordError::OtherFleet { .. }), "{e}");
    let e = DeletionFile::parse(&file.to_json(), &next(ruled(), 3)).expect_err("an older policy");
    assert!(rule(&e).contains("names version 2 of the fleet's policy, and 3 is"), "{e}");
    // One is named, another is shown.
    let envelope = file.envelope().clone();
    for shown in [vec![], vec![manifests[1].clone()], manifests.clone()] {
        let e = DeletionFile::new(ruled(), envelope.clone(), shown).expect_err("not those named");
        assert!(rule(&e).contains("not those it names"), "{e}");
    }
    let mut it = deletion(&[manifests[0].digest()], &[1]);
    it.snapshots[0].sequence = 7;
    let e = DeletionFile::new(ruled(), by(it, &[&subkey_key()]), vec![manifests[0].clone()]);
    assert_eq!(rule(&e.expect_err("another number")), "number 7 is another snapshot");
    let text = String::from_utf8(file.to_json()).expect("JSON").replacen('{', r#"{"x":1,"#, 1);
    assert!(DeletionFile::parse(text.as_bytes(), &ruled()).is_err(), "unknown fields");
}

#[test]
fn policies_are_found_by_version() {
    let fleet = ruled();
    assert_eq!(fleet.policy_of(2).as_ref(), Some(fleet.policy()));
    let first = fleet.policy_of(1).expect("the founding one");
    assert_eq!((first.version, first.deletion), (1, None));
    assert_eq!(first.groups[0].id, GROUP);
    assert!(fleet.policy_of(0).is_none() && fleet.policy_of(3).is_none());
    assert!(fleet.group(GroupId([9; 32])).is_none());
}
