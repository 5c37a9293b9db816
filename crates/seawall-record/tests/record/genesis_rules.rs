//! The rules of a genesis statement, each broken once.

use seawall_record::{EscrowGroupRecord, Fleet, Genesis, RecordError, WitnessRecord};
use seawall_sign::{Envelope, SignError, Statement};

use crate::fixture::{
    GROUP, OTHER_GROUP, fleet, foreign, genesis, group, key, open_genesis, other_fleet, root, rule,
    signature,
};

/// The rule that is named, and how it is broken.
type Broken<T> = (&'static str, fn(&mut T));

#[test]
fn a_good_one_is_its_own_proof() {
    let fleet = fleet();
    assert_eq!(fleet.genesis(), &genesis());
    assert_eq!(fleet.id().0, fleet.envelope().digest().0);
    assert_eq!(fleet.group(GROUP).map(|g| g.class.as_str()), Some("customers"));
    assert!(fleet.group(seawall_base::GroupId([0; 32])).is_none());
    let class = |name| fleet.group_of_class(name).map(|g| g.class_number);
    assert_eq!(class(Some("web")), Some(2));
    assert_eq!(class(None), Some(1), "an unnamed set gets the first group, the strictest");
    assert_eq!(class(Some("none")), None);
    let group = fleet.group(OTHER_GROUP).expect("the second group");
    assert_eq!(group.custodian(3).map(|c| c.name.as_str()), Some("custodian-3"));
    assert!(group.custodian(4).is_none());
}

#[test]
fn a_pin_tells_fleets_apart() {
    let (ours, theirs) = (fleet(), other_fleet());
    assert_ne!(ours.id(), theirs.id(), "the nonce makes them differ");
    Fleet::open_pinned(ours.envelope().clone(), ours.id()).expect("the pinned fleet");
    let e = Fleet::open_pinned(theirs.envelope().clone(), ours.id()).expect_err("another fleet");
    assert!(matches!(e, RecordError::OtherFleet { expected, found, .. }
        if expected == ours.id() && found == theirs.id()));
}

#[test]
fn every_rule_is_checked() {
    let edits: [Broken<Genesis>; 15] = [
        ("text must be", |g| g.fleet_name.clear()),
        ("text must be", |g| g.fleet_name = "a\u{1b}[2Jb".to_owned()),
        ("policy versions count from 1", |g| g.policy_version = 0),
        ("1 to 16 distinct root keys", |g| g.root_keys.push(root().public())),
        ("1 to 16 distinct root keys", |g| g.root_keys.clear()),
        ("1 to 16 distinct root keys", |g| {
            g.root_keys = (50..67).map(|n| key(n).public()).collect();
        }),
        ("root threshold", |g| g.root_threshold = 0),
        ("root threshold", |g| g.root_threshold = 2),
        ("1 to 16 escrow groups", |g| g.groups.clear()),
        ("1 to 16 escrow groups", |g| g.groups = vec![g.groups[0].clone(); 17]),
        ("two escrow groups share", |g| g.groups[1].id = g.groups[0].id),
        ("two escrow groups share", |g| g.groups[1].class = g.groups[0].class.clone()),
        ("two escrow groups share", |g| g.groups[1].class_number = 1),
        ("at most 64 witnesses", |g| g.witnesses = vec![g.witnesses[0].clone(); 65]),
        ("text must be", |g| {
            let nameless = WitnessRecord { name: String::new(), ..g.witnesses[0].clone() };
            g.witnesses.push(nameless);
        }),
    ];
    for (n, (expected, edit)) in edits.into_iter().enumerate() {
        let mut genesis = genesis();
        edit(&mut genesis);
        let e = open_genesis(genesis, &[&root()]).expect_err("a broken rule");
        assert!(rule(&e).contains(expected), "edit {n}: {e}");
    }
}

#[test]
fn every_rule_of_a_group_is_checked() {
    let edits: [Broken<EscrowGroupRecord>; 13] = [
        ("1 to 64 custodians", |g| g.custodians.clear()),
        ("1 to 64 custodians", |g| {
            g.custodians = (1..=65)
                .map(|i| {
                    let mut c = g.custodians[0].clone();
                    c.index = i;
                    c.signing_key = key(150 + i as u8 % 100).public();
                    c
                })
                .collect();
        }),
        ("a threshold must be", |g| g.threshold = 0),
        ("a threshold must be", |g| g.threshold = 4),
        ("ascending index from 1", |g| g.custodians[0].index = 0),
        ("ascending index from 1", |g| g.custodians.reverse()),
        ("ascending index from 1", |g| g.custodians[1].index = 1),
        ("share a signing key", |g| g.custodians[1].signing_key = g.custodians[0].signing_key),
        ("class numbers count from 1", |g| g.class_number = 0),
        ("text must be", |g| g.class.clear()),
        ("text must be", |g| g.class = "c".repeat(65)),
        ("text must be", |g| g.ceremony = "x".repeat(33)),
        ("text must be", |g| g.custodians[2].name = "tab\there".to_owned()),
    ];
    for (n, (expected, edit)) in edits.into_iter().enumerate() {
        let mut genesis = genesis();
        edit(&mut genesis.groups[1]);
        let e = open_genesis(genesis, &[&root()]).expect_err("a broken rule");
        assert!(rule(&e).contains(expected), "edit {n}: {e}");
    }
}

#[test]
fn signed_by_enough_of_its_own_root_keys() {
    let two_of_three = || Genesis {
        root_keys: vec![key(1).public(), key(2).public(), key(3).public()],
        root_threshold: 2,
        ..genesis()
    };
    open_genesis(two_of_three(), &[&key(1), &key(3)]).expect("two of three");
    let one = open_genesis(two_of_three(), &[&key(1)]).expect_err("one of three");
    assert_eq!(signature(one), SignError::BelowThreshold { have: 1, need: 2 });
    let strangers = open_genesis(two_of_three(), &[&key(1), &key(4)]).expect_err("a stranger");
    assert_eq!(signature(strangers), SignError::BelowThreshold { have: 1, need: 2 });
}

#[test]
fn a_later_added_signature_does_not_make_another_fleet() {
    let genesis = Genesis { root_keys: vec![key(1).public(), key(2).public()], ..genesis() };
    let statement = Statement::new(Fleet::subject(&genesis), genesis);
    let sign = |keys: &[&dyn seawall_sign::Signer]| {
        Fleet::open(statement.sign(keys).expect("signed")).expect("a fleet").id()
    };
    assert_eq!(sign(&[&key(1)]), sign(&[&key(1), &key(2)]));
}

#[test]
fn what_is_root_signed_needs_the_roots_and_the_type() {
    let fleet = fleet();
    let by = |n: u8| fleet.open_root_signed::<crate::fixture::Foreign>("thing", &foreign(&key(n)));
    assert_eq!(by(1).expect("root-signed").text, "hello");
    let Err(e) = by(2) else { panic!("a stranger signed") };
    assert!(matches!(e, RecordError::Statement { what: "thing", .. }));
    let e = Fleet::open(foreign(&root())).expect_err("not a genesis statement");
    assert!(matches!(signature(e), SignError::WrongType { .. }));
}

#[test]
fn unknown_fields_are_refused() {
    let fleet = fleet();
    let payload = String::from_utf8(fleet.envelope().unverified_payload().to_vec()).expect("JSON");
    let more = payload.replacen("\"policy_version\"", "\"surprise\":1,\"policy_version\"", 1);
    let envelope = Envelope::sign("application/vnd.in-toto+json", more.into_bytes(), &[&root()]);
    assert!(matches!(signature(Fleet::open(envelope).expect_err("refused")),
        SignError::Malformed(why) if why.contains("surprise")));
}

#[test]
fn two_groups_of_different_classes_may_share_people() {
    let mut genesis = genesis();
    genesis.groups[1].custodians = group(GROUP, "x", 1).custodians;
    open_genesis(genesis, &[&root()]).expect("one person may hold a share of each class");
}
