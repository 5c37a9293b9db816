//! Sets, tags and forget statements: every rule, each broken once.

use seawall_base::{FleetId, Seconds, Sha256};
use seawall_record::{Accepted, Forget, Forgotten, LogState, MAX_TAGS, Manifest, RecordError};
use seawall_sign::{Envelope, SignError};

use crate::fixture::{
    NOW, ORIGIN, by_identity, by_root, by_subkey, fleet, identity, key, manifest, node_enrolment,
    node_of, other_fleet, rule, signature, subkey, subkey_key,
};

/// A log of snapshots of these sets, and their digests.
fn log_of(sets: &[Option<&str>]) -> (LogState, Vec<Sha256>) {
    let mut log = LogState::new(fleet(), ORIGIN);
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

fn forget(digests: &[Sha256], sequences: &[u64]) -> Forget {
    let one = |&sequence: &u64| Forgotten { sequence, manifest: digests[sequence as usize - 1] };
    Forget {
        fleet: fleet().id(),
        node: identity().public().node_id(),
        origin: ORIGIN.to_owned(),
        snapshots: sequences.iter().map(one).collect(),
        copies: 2,
        reason: "keep last 1".to_owned(),
        created: NOW,
    }
}

fn signed(it: Forget) -> Envelope {
    it.statement().sign(&[&subkey_key()]).expect("signed")
}

fn refused(log: &mut LogState, it: Forget) -> RecordError {
    let named: Vec<Sha256> = it.snapshots.iter().map(|s| s.manifest).collect();
    let state = |log: &LogState| {
        (log.entries(), named.iter().map(|digest| log.forgotten(digest)).collect::<Vec<_>>())
    };
    let before = state(log);
    let e = log.accept(&signed(it).to_json()).expect_err("must be refused");
    let after = state(log);
    assert_eq!(before, after, "a refused entry left a trace: {e}");
    e
}

#[test]
fn forgotten_once_and_remembered() {
    let (mut log, digests) = log_of(&[None, None, None]);
    let it = forget(&digests, &[1, 2]);
    let accepted = log.accept(&signed(it.clone()).to_json()).expect("accepted");
    assert!(matches!(accepted, Accepted::Forget(f) if *f == it));
    let forgotten: Vec<_> = digests.iter().map(|digest| log.forgotten(digest)).collect();
    assert_eq!(forgotten, [Some(NOW), Some(NOW), None]);
    let e = refused(&mut log, forget(&digests, &[2]));
    assert_eq!(rule(&e), "number 2 was forgotten before");
    // The chain goes on behind it.
    let next = by_subkey(manifest(4, Some(digests[2])));
    log.accept(&next.to_json()).expect("the next snapshot");
}

#[test]
fn the_last_of_each_set_is_never_forgotten() {
    let (mut log, digests) = log_of(&[Some("db"), Some("db"), None, Some("www"), None]);
    for last in [2, 4, 5] {
        let e = refused(&mut log, forget(&digests, &[last]));
        assert_eq!(
            rule(&e),
            format!("number {last} is the last of its class and set, which is never forgotten")
        );
    }
    log.accept(&signed(forget(&digests, &[1, 3])).to_json()).expect("the others may go");
}

#[test]
fn only_what_stands_in_the_log_is_forgotten() {
    let (mut log, mut digests) = log_of(&[None, None, None]);
    digests.resize(9, Sha256([7; 32]));
    for wrong in [4, 9] {
        let e = refused(&mut log, forget(&digests, &[wrong]));
        assert_eq!(rule(&e), format!("number {wrong} is not a snapshot of this log"));
    }
    let mut zero = forget(&digests, &[1]);
    zero.snapshots[0].sequence = 0;
    assert_eq!(rule(&refused(&mut log, zero)), "number 0 is not a snapshot of this log");
    let mut other = forget(&digests, &[1]);
    other.snapshots[0].manifest = digests[1];
    assert_eq!(rule(&refused(&mut log, other)), "number 1 is not a snapshot of this log");
}

#[test]
fn a_forget_statement_is_well_formed() {
    type Edit = fn(&mut Forget);
    let (mut log, digests) = log_of(&[None; 4]);
    let edits: [(Edit, &str); 7] = [
        (|f| f.snapshots.clear(), "names none"),
        (|f| f.snapshots = vec![f.snapshots[0]; 257], "names none, or more than 256"),
        (|f| f.snapshots.swap(0, 1), "not in strictly ascending order"),
        (|f| f.snapshots[1] = f.snapshots[0], "not in strictly ascending order"),
        (|f| f.reason = String::new(), "text must be"),
        (|f| f.origin.push('2'), "names another node or log"),
        (|f| f.node = node_of(99), "names another node or log"),
    ];
    for (edit, expected) in edits {
        let mut it = forget(&digests, &[1, 2]);
        edit(&mut it);
        let e = refused(&mut log, it);
        assert!(rule(&e).starts_with(expected), "{e}");
    }
    let mut elsewhere = forget(&digests, &[1]);
    elsewhere.fleet = other_fleet().id();
    assert!(matches!(refused(&mut log, elsewhere), RecordError::OtherFleet { .. }));
    let mut nowhere = forget(&digests, &[1]);
    nowhere.fleet = FleetId([0; 32]);
    assert!(matches!(refused(&mut log, nowhere), RecordError::OtherFleet { .. }));
}

#[test]
fn the_largest_statement_fits_an_entry() {
    let (mut log, digests) = log_of(&[None; Forget::MAX + 1]);
    let all: Vec<u64> = (1..=Forget::MAX as u64).collect();
    let mut it = forget(&digests, &all);
    it.reason = "r".repeat(Forget::MAX_REASON);
    let entry = signed(it).to_json();
    assert!(entry.len() < 65_536, "{} bytes", entry.len());
    log.accept(&entry).expect("accepted");
}

#[test]
fn only_a_valid_subkey_of_the_log_forgets() {
    let (mut log, digests) = log_of(&[None, None]);
    for stranger in [identity(), key(13)] {
        let entry = forget(&digests, &[1]).statement().sign(&[&stranger]).expect("signed");
        let e = log.accept(&entry.to_json()).expect_err("must be refused");
        assert_eq!(rule(&e), "not signed by a subkey of this log");
    }
    let late = Forget { created: subkey().not_after.after(Seconds(1)), ..forget(&digests, &[1]) };
    assert!(rule(&refused(&mut log, late)).contains("not valid then"));
    let early = Forget { created: NOW.before(Seconds::hours(26)), ..forget(&digests, &[1]) };
    assert!(rule(&refused(&mut log, early)).contains("before its predecessor"));
    let good = signed(forget(&digests, &[1]));
    let forged = crate::fixture::tampered(&good, "keep last 1", "keep last 9");
    let e = log.accept(&forged.to_json()).expect_err("must be refused");
    assert_eq!(signature(e), SignError::BadSignature);
}

#[test]
fn a_forgotten_past_cannot_be_followed_by_an_older_snapshot() {
    let (mut log, digests) = log_of(&[None, None]);
    let wide = seawall_record::Subkey { key: key(14).public(), ..subkey() };
    log.accept(&by_identity(wide).to_json()).expect("a second subkey");
    let later = Forget { created: NOW.after(Seconds::days(2)), ..forget(&digests, &[1]) };
    log.accept(&signed(later).to_json()).expect("accepted");
    assert_eq!(log.last_created(), Some(NOW.after(Seconds::days(2))));
    let e = log.accept(&by_subkey(manifest(3, Some(digests[1]))).to_json()).expect_err("too early");
    assert!(rule(&e).contains("before its predecessor"), "{e}");
}

#[test]
fn sets_and_tags_have_one_spelling_and_a_limit() {
    let with = |edit: &dyn Fn(&mut Manifest)| {
        let (mut log, _) = log_of(&[]);
        let mut it = manifest(1, None);
        edit(&mut it);
        log.accept(&by_subkey(it).to_json())
    };
    let tags = |tags: &[&str]| {
        let tags: Vec<String> = tags.iter().map(|t| (*t).to_owned()).collect();
        with(&move |m| m.core.tags.clone_from(&tags))
    };
    tags(&["a", "b"]).expect("in order");
    for wrong in [&["b", "a"][..], &["a", "a"], &[""], &["a,b"], &[" a"], &["a\u{202e}"]] {
        tags(wrong).expect_err("refused");
    }
    with(&|m| m.core.tags = (10..10 + MAX_TAGS).map(|n| n.to_string()).collect())
        .expect("the most");
    with(&|m| m.core.tags = (10..11 + MAX_TAGS).map(|n| n.to_string()).collect())
        .expect_err("more");
    with(&|m| m.core.set = Some("s".repeat(64))).expect("the longest");
    with(&|m| m.core.set = Some("s".repeat(65))).expect_err("longer");
    with(&|m| m.core.set = Some("a\nb".to_owned())).expect_err("two lines");
}

/// What was written before there were sets and tags has the same bytes and the same label now.
#[test]
fn names_that_are_absent_leave_no_trace() {
    let plain = manifest(1, None);
    let json = serde_json::to_string(&plain.core).expect("JSON");
    assert!(!json.contains("set\":null") && !json.contains("tags") && json.ends_with("}}"));
    assert_eq!(
        serde_json::from_str::<seawall_record::ManifestCore>(&json).expect("reads"),
        plain.core
    );
    let mut tagged = plain.clone();
    tagged.core.tags = vec!["a".to_owned()];
    assert_ne!(tagged.core.digest(), plain.core.digest(), "the label covers tags");
    let mut named = plain.clone();
    named.core.set = Some("a".to_owned());
    assert_ne!(named.core.digest(), plain.core.digest(), "the label covers the set");
}
