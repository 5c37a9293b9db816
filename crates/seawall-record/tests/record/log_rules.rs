//! Every rule of [`LogState`], each broken once; after each refusal the log stands where it stood.

use seawall_base::{FleetId, Seconds, Sha256, Timestamp};
use seawall_record::{Accepted, LogState, Manifest, RecordError, Role, Subkey};
use seawall_sign::{Envelope, SignError};

use crate::fixture::{
    NOW, ORIGIN, OTHER_GROUP, by_identity, by_requester, by_root, by_subkey, fleet, foreign,
    identity, key, manifest, node_enrolment, node_of, other_fleet, region_enrolment, request, root,
    rule, signature, subkey, subkey_key, tampered,
};

/// A log that holds the enrolment and one subkey.
fn begun() -> LogState {
    let mut log = LogState::new(fleet(), ORIGIN);
    log.accept(&by_root(node_enrolment()).to_json()).expect("the enrolment");
    log.accept(&by_identity(subkey()).to_json()).expect("the subkey");
    log
}

/// A log with one snapshot, and its digest.
fn with_snapshot() -> (LogState, Sha256) {
    let mut log = begun();
    let envelope = by_subkey(manifest(1, None));
    log.accept(&envelope.to_json()).expect("the first snapshot");
    (log, envelope.digest())
}

/// Offers an entry that must be refused, and checks that nothing moved.
fn refused(log: &mut LogState, envelope: &Envelope) -> RecordError {
    refused_bytes(log, &envelope.to_json())
}

fn refused_bytes(log: &mut LogState, entry: &[u8]) -> RecordError {
    let before = (log.entries(), log.last_manifest(), log.all_subkeys().count());
    let e = log.accept(entry).expect_err("must be refused");
    let after = (log.entries(), log.last_manifest(), log.all_subkeys().count());
    assert_eq!(before, after, "a refused entry left a trace: {e}");
    e
}

#[test]
fn a_good_log_is_accepted_and_remembered() {
    let mut log = LogState::new(fleet(), ORIGIN);
    assert!(log.enrolment().is_none() && log.enrolment_envelope().is_none());
    let enrolment = by_root(node_enrolment());
    let accepted = log.accept(&enrolment.to_json()).expect("the enrolment");
    assert!(matches!(accepted, Accepted::Enrolment(e) if *e == node_enrolment()));
    assert_eq!(log.enrolment_envelope(), Some(&enrolment));
    let certified = by_identity(subkey());
    let accepted = log.accept(&certified.to_json()).expect("the subkey");
    assert!(matches!(accepted, Accepted::Subkey(s) if s == subkey()));
    assert_eq!(log.subkey(subkey_key().public()), Some((&subkey(), &certified)));
    assert!(log.subkey(key(99).public()).is_none());
    let mut previous = None;
    for sequence in 1..=3 {
        let envelope = by_subkey(manifest(sequence, previous));
        let accepted = log.accept(&envelope.to_json()).expect("a snapshot");
        assert!(matches!(accepted, Accepted::Manifest(d, m)
            if d == envelope.digest() && m.core.sequence == sequence));
        previous = Some(envelope.digest());
        assert_eq!(log.last_manifest(), Some((envelope.digest(), sequence)));
    }
    assert_eq!(log.entries(), 5);
    assert_eq!(log.enrolment(), Some(&node_enrolment()));
}

#[test]
fn checkpoint_keys_are_those_valid_at_the_time() {
    let mut log = begun();
    let later = Subkey {
        key: key(13).public(),
        not_before: NOW.after(Seconds::days(3)),
        not_after: NOW.after(Seconds::days(10)),
        ..subkey()
    };
    log.accept(&by_identity(later.clone()).to_json()).expect("a second subkey");
    let at = |when: Timestamp| {
        let mut keys: Vec<_> = log.checkpoint_keys(when).collect();
        keys.sort();
        keys
    };
    assert_eq!(at(NOW), [subkey().key]);
    assert_eq!(at(later.not_after), [later.key], "inclusive at the end");
    assert_eq!(at(later.not_after.after(Seconds(1))), []);
    assert_eq!(at(NOW.after(Seconds::days(3))).len(), 2, "they overlap");
    assert_eq!(log.all_subkeys().count(), 2);
}

#[test]
fn the_first_entry_must_enrol_the_node() {
    for first in [by_identity(subkey()), by_subkey(manifest(1, None)), foreign(&root())] {
        let mut log = LogState::new(fleet(), ORIGIN);
        assert_eq!(rule(&refused(&mut log, &first)), "the first entry must enrol the node");
    }
}

#[test]
fn a_log_has_one_enrolment() {
    let mut log = begun();
    let again = refused(&mut log, &by_root(node_enrolment()));
    assert_eq!(rule(&again), "a log has one, and further ones only for the epochs up to its own");
}

#[test]
fn the_enrolment_must_be_root_signed_for_this_fleet_and_a_node() {
    let mut log = LogState::new(fleet(), ORIGIN);
    let self_made = node_enrolment().statement().sign(&[&identity()]).expect("signed");
    assert_eq!(
        signature(refused(&mut log, &self_made)),
        SignError::BelowThreshold { have: 0, need: 1 }
    );
    let mut elsewhere = node_enrolment();
    elsewhere.fleet = other_fleet().id();
    assert!(matches!(
        refused(&mut log, &by_root(elsewhere)),
        RecordError::OtherFleet { found, expected, .. }
            if found == other_fleet().id() && expected == fleet().id()
    ));
    let region = refused(&mut log, &by_root(region_enrolment()));
    assert_eq!(rule(&region), "enrolled as region, not as node");
}

#[test]
fn an_enrolment_is_well_formed() {
    type Edit = fn(&mut seawall_record::Enrolment);
    let edits: [(Edit, &str); 5] = [
        (|e| e.name = String::new(), "text must be"),
        (|e| e.name = "two\nlines".to_owned(), "text must be"),
        (|e| e.tenant = None, "a node, and only a node"),
        (|e| e.recipient = None, "a node, and only a node"),
        (|e| e.tenant = Some("t".repeat(65)), "text must be"),
    ];
    for (edit, expected) in edits {
        let mut enrolment = node_enrolment();
        edit(&mut enrolment);
        let mut log = LogState::new(fleet(), ORIGIN);
        let e = refused(&mut log, &by_root(enrolment));
        assert!(rule(&e).starts_with(expected), "{e}");
    }
    let mut region = region_enrolment();
    region.tenant = Some("t".to_owned());
    let e = seawall_record::Enrolment::open(&fleet(), &by_root(region), Role::Region)
        .expect_err("a region with a tenant");
    assert!(rule(&e).starts_with("a node, and only a node"));
}

#[test]
fn a_subkey_must_be_certified_by_this_node() {
    let mut log = begun();
    let self_made = Subkey { key: key(13).public(), ..subkey() };
    for stranger in [key(13), root(), subkey_key()] {
        let envelope = self_made.clone().statement().sign(&[&stranger]).expect("signed");
        let expected = SignError::BelowThreshold { have: 0, need: 1 };
        assert_eq!(signature(refused(&mut log, &envelope)), expected);
    }
    for wrong in [
        Subkey { node: node_of(99), ..self_made.clone() },
        Subkey { fleet: FleetId([0; 32]), ..self_made },
    ] {
        let e = refused(&mut log, &by_identity(wrong));
        assert_eq!(rule(&e), "certified for another fleet or node");
    }
}

#[test]
fn a_subkey_lasts_days() {
    let not_after = subkey().not_before.after(Subkey::MAX_VALIDITY);
    let longest = Subkey { key: key(13).public(), not_after, ..subkey() };
    begun().accept(&by_identity(longest.clone()).to_json()).expect("exactly the longest");
    for (not_before, not_after) in
        [(longest.not_before, longest.not_after.after(Seconds(1))), (NOW, NOW.before(Seconds(1)))]
    {
        let wrong = Subkey { not_before, not_after, ..subkey() };
        let e = refused(&mut begun(), &by_identity(wrong));
        assert_eq!(rule(&e), "valid for more than 14 days, or for none");
    }
}

/// With the identity key one could otherwise move the window of an old subkey, and so disown
/// every snapshot it signed.
#[test]
fn a_subkey_is_certified_once() {
    let mut log = begun();
    let again = Subkey { not_after: subkey().not_after.before(Seconds(60)), ..subkey() };
    let e = refused(&mut log, &by_identity(again));
    assert_eq!(rule(&e), "certified before in this log");
}

/// An expired subkey in a thief's hands can sign, backdated, only before what was signed since.
#[test]
fn snapshots_do_not_go_back_in_time() {
    let (mut log, first) = with_snapshot();
    let mut early = manifest(2, Some(first));
    early.core.created = NOW.before(Seconds::hours(26));
    let wide =
        Subkey { key: key(14).public(), not_before: NOW.before(Seconds::days(3)), ..subkey() };
    log.accept(&by_identity(wide).to_json()).expect("a second subkey");
    let envelope = early.statement().sign(&[&key(14)]).expect("signed");
    let e = refused(&mut log, &envelope);
    assert!(rule(&e).contains("before its predecessor"), "{e}");
}

/// Proofs hash the entry, dossiers carry the envelope: two spellings would part them.
#[test]
fn an_entry_has_one_spelling() {
    let mut log = begun();
    let mut spaced = by_subkey(manifest(1, None)).to_json();
    spaced.push(b' ');
    let e = log.accept(&spaced).expect_err("another spelling");
    assert_eq!(rule(&e), "not in its canonical spelling");
}

#[test]
fn snapshots_follow_one_another_without_gap_or_repeat() {
    let (mut log, first) = with_snapshot();
    for wrong in [0, 1, 3, u64::MAX] {
        let e = refused(&mut log, &by_subkey(manifest(wrong, Some(first))));
        assert!(rule(&e).starts_with(&format!("sequence {wrong} where 2 must follow")), "{e}");
    }
    let mut empty = begun();
    for wrong in [0, 2] {
        let e = refused(&mut empty, &by_subkey(manifest(wrong, None)));
        assert!(rule(&e).starts_with(&format!("sequence {wrong} where 1 must follow")), "{e}");
    }
    log.accept(&by_subkey(manifest(2, Some(first))).to_json()).expect("what follows still fits");
}

#[test]
fn snapshots_name_the_one_before() {
    let (mut log, first) = with_snapshot();
    for wrong in [None, Some(Sha256([0; 32])), Some(Sha256::of(&first.0))] {
        let e = refused(&mut log, &by_subkey(manifest(2, wrong)));
        assert!(rule(&e).starts_with("does not continue from the manifest before it"), "{e}");
    }
    let e = refused(&mut begun(), &by_subkey(manifest(1, Some(first))));
    assert!(rule(&e).starts_with("does not continue"), "the first names none: {e}");
}

#[test]
fn a_snapshot_belongs_to_this_log_fleet_and_node() {
    let edited = |edit: fn(&mut Manifest)| {
        let mut it = manifest(1, None);
        edit(&mut it);
        refused(&mut begun(), &by_subkey(it))
    };
    let e = edited(|m| m.core.origin = "seawall/fleet/node/2".to_owned());
    assert!(rule(&e).starts_with("written for log \"seawall/fleet/node/2\""), "{e}");
    let e = edited(|m| m.core.fleet = other_fleet().id());
    assert!(matches!(e, RecordError::OtherFleet { found, .. } if found == other_fleet().id()));
    let e = edited(|m| m.core.node = node_of(99));
    assert_eq!(rule(&e), "names another node than its signer's");
}

#[test]
fn a_snapshot_names_a_group_of_the_fleet_and_its_class() {
    let edited = |edit: fn(&mut Manifest)| {
        let mut it = manifest(1, None);
        edit(&mut it);
        refused(&mut begun(), &by_subkey(it))
    };
    let e = edited(|m| m.core.group.0[0] ^= 1);
    assert_eq!(rule(&e), "its escrow group is not one of the fleet's");
    let e = edited(|m| m.core.class = 2);
    assert_eq!(rule(&e), "its data class is not its escrow group's");
    let e = edited(|m| m.core.group = OTHER_GROUP);
    assert_eq!(rule(&e), "its data class is not its escrow group's");
    let e = edited(|m| m.capsule.0 = vec![0; Manifest::MAX_CAPSULE + 1]);
    assert_eq!(rule(&e), "its capsule is above 24 KiB");
    let mut largest = manifest(1, None);
    largest.capsule.0 = vec![0; Manifest::MAX_CAPSULE];
    begun().accept(&by_subkey(largest).to_json()).expect("exactly at the limit");
}

#[test]
fn a_snapshot_is_made_while_its_subkey_is_valid() {
    let Subkey { not_before, not_after, .. } = subkey();
    for created in [not_before.before(Seconds(1)), not_after.after(Seconds(1))] {
        let mut it = manifest(1, None);
        it.core.created = created;
        let e = refused(&mut begun(), &by_subkey(it));
        assert!(rule(&e).contains("with a subkey valid from"), "{e}");
    }
    for created in [not_before, not_after] {
        let mut it = manifest(1, None);
        it.core.created = created;
        begun().accept(&by_subkey(it).to_json()).expect("inclusive at both ends");
    }
}

#[test]
fn a_snapshot_is_signed_by_a_subkey_of_the_log() {
    for stranger in [identity(), root(), key(13)] {
        let envelope = manifest(1, None).statement().sign(&[&stranger]).expect("signed");
        let e = refused(&mut begun(), &envelope);
        assert_eq!(rule(&e), "not signed by a subkey of this log");
    }
    let forged = tampered(&by_subkey(manifest(1, None)), "\"files\":2", "\"files\":3");
    assert_eq!(signature(refused(&mut begun(), &forged)), SignError::BadSignature);
    let mut uncertified = LogState::new(fleet(), ORIGIN);
    uncertified.accept(&by_root(node_enrolment()).to_json()).expect("the enrolment");
    let e = refused(&mut uncertified, &by_subkey(manifest(1, None)));
    assert_eq!(rule(&e), "not signed by a subkey of this log");
}

#[test]
fn other_statements_have_no_place_in_a_log() {
    let mut log = begun();
    let e = refused(&mut log, &foreign(&subkey_key()));
    assert!(rule(&e).contains("urn:example:predicate:foreign:1"), "{e}");
    let e = refused(&mut log, &by_requester(request()));
    assert!(rule(&e).contains("has no place in a node's log"), "{e}");
    let e = refused_bytes(&mut log, b"not an envelope");
    assert!(matches!(signature(e), SignError::Malformed(_)));
    assert!(matches!(refused_bytes(&mut log, b""), RecordError::Statement { .. }));
}

#[test]
fn a_manifest_can_be_checked_without_its_place_in_the_chain() {
    let (log, first) = with_snapshot();
    let out_of_order = by_subkey(manifest(9, Some(first)));
    assert_eq!(log.open_manifest(&out_of_order), Ok(manifest(9, Some(first))));
    let mut elsewhere = manifest(9, Some(first));
    elsewhere.core.origin = "another".to_owned();
    assert!(log.open_manifest(&by_subkey(elsewhere)).is_err());
}

#[test]
fn the_core_digest_covers_every_field() {
    let core = manifest(2, Some(Sha256([4; 32]))).core;
    let edits: [fn(&mut seawall_record::ManifestCore); 16] = [
        |c| c.fleet.0[0] ^= 1,
        |c| c.node.0[0] ^= 1,
        |c| c.origin.push('x'),
        |c| c.sequence += 1,
        |c| c.previous = None,
        |c| c.created = Timestamp(1),
        |c| c.class += 1,
        |c| c.group.0[0] ^= 1,
        |c| c.reference_set.root.0[0] ^= 1,
        |c| c.reference_set.count += 1,
        |c| c.reference_set.bytes += 1,
        |c| c.totals.files += 1,
        |c| c.totals.directories += 1,
        |c| c.totals.others += 1,
        |c| c.totals.bytes += 1,
        |c| c.totals.problems += 1,
    ];
    let mut seen = std::collections::BTreeSet::from([core.digest()]);
    for (n, edit) in edits.into_iter().enumerate() {
        let mut changed = core.clone();
        edit(&mut changed);
        assert!(seen.insert(changed.digest()), "edit {n} does not change the digest");
    }
}
