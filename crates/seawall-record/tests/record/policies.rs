//! The chain of fleet policies: who may change what, and what nobody may change.

use seawall_base::{GroupId, Seconds, Sha256};
use seawall_record::{
    Accepted, Base64, CeremonyResult, DeletionRule, DossierParts, EarlierLog, Endpoint, Enrolment,
    EscrowGroupRecord, Fleet, FleetCard, FleetPolicy, Genesis, GroupChange, Hex32, LogState,
    PolicyChain, RecordError, Revocation, Role, SUITE_PQ, WitnessQuorum, WitnessRecord,
};
use seawall_sign::{Envelope, SignError, Signer, SigningKey};

use crate::fixture::{
    GROUP, NOW, ORIGIN, by_identity, by_root, by_subkey, fleet, genesis, group, identity, key,
    manifest, node_enrolment, open_genesis, other_fleet, parts, region_enrolment, region_identity,
    requester_identity, root, rule, signature, subkey,
};

/// The policy after `fleet`'s newest, of which all is as before.
fn next(fleet: &Fleet) -> FleetPolicy {
    let mut policy = fleet.policy().clone();
    policy.version += 1;
    policy.previous = fleet.policy_digest();
    policy.created = NOW;
    policy
}

fn by(policy: FleetPolicy, keys: &[&dyn Signer]) -> Envelope {
    policy.statement().sign(keys).expect("signed")
}

fn advanced(edit: impl Fn(&mut FleetPolicy)) -> Result<Fleet, RecordError> {
    let fleet = fleet();
    let mut policy = next(&fleet);
    edit(&mut policy);
    fleet.advance(by(policy, &[&root()]))
}

fn revocation(member: &SigningKey, log_size: u64) -> Revocation {
    Revocation {
        member: member.public().node_id(),
        epoch: 1,
        log_size,
        reason: "laptop stolen".to_owned(),
        since: NOW,
        earlier: Vec::new(),
    }
}

#[test]
fn a_policy_changes_what_holds_and_not_what_was_founded() {
    let fleet = advanced(|p| {
        p.groups[0].retired = true;
        p.groups.push(group(GroupId([0x63; 32]), "customers", 1));
        p.witness_quorum = Some(WitnessQuorum { quorum: 1, faulty: 0 });
        p.deletion = Some(DeletionRule { min_age: Seconds::days(30), custodians: 2 });
    })
    .expect("a good policy");
    assert_eq!(fleet.id(), crate::fixture::fleet().id(), "the id is the genesis statement's");
    assert_eq!((fleet.version(), fleet.genesis().policy_version), (2, 1));
    assert_eq!(fleet.group(GROUP).map(|g| g.retired), Some(true), "it still opens");
    let id = |class| fleet.group_of_class(class).map(|g| g.id);
    assert_eq!(id(Some("customers")), Some(GroupId([0x63; 32])));
    assert_eq!(id(None), Some(GroupId([0x63; 32])), "a new group has its class's place");
    assert_eq!(fleet.genesis().groups.len(), 2);
    insta::assert_snapshot!(
        String::from_utf8(fleet.policies()[0].unverified_payload().to_vec()).expect("JSON")
    );
}

#[test]
fn what_no_policy_may_do() {
    type Edit = fn(&mut FleetPolicy);
    let edits: [(&str, Edit); 17] = [
        ("version 1 where 2", |p| p.version -= 1),
        ("version 3 where 2", |p| p.version += 1),
        ("was forked", |p| p.previous = Sha256([1; 32])),
        ("is missing", |p| drop(p.groups.remove(1))),
        ("was swapped", |p| p.groups[0].key = Hex32([0x77; 32])),
        ("was swapped", |p| p.groups[0].class = "clients".to_owned()),
        ("was swapped", |p| p.groups[0].class_number = 9),
        ("other shares in the same", |p| p.groups[0].custodians[1].share = Hex32([9; 32])),
        ("other shares in the same", |p| p.groups[0].threshold = 1),
        ("every escrow group is retired", |p| p.groups.iter_mut().for_each(|g| g.retired = true)),
        ("or none has", |p| p.groups[0].custodians[0].kem = Some(Base64(vec![1; 1_184]))),
        ("1184 bytes", |p| {
            for (n, c) in p.groups[0].custodians.iter_mut().enumerate() {
                c.kem = Some(Base64(vec![n as u8; 1_183]));
            }
        }),
        ("1184 bytes", |p| {
            p.groups[0].custodians.iter_mut().for_each(|c| c.kem = Some(Base64(vec![1; 1_184])));
        }),
        ("could miss each other", |p| {
            p.witness_quorum = Some(WitnessQuorum { quorum: 1, faulty: 1 });
        }),
        ("at least one custodian", |p| {
            p.deletion = Some(DeletionRule { min_age: Seconds::days(1), custodians: 0 });
        }),
        ("out of order", |p| p.revoked = vec![revocation(&identity(), 1); 2]),
        ("out of order", |p| p.carried = vec![Sha256([1; 32]); 2]),
    ];
    for (n, (expected, edit)) in edits.into_iter().enumerate() {
        let e = advanced(edit).expect_err("a broken rule");
        assert!(rule(&e).contains(expected), "edit {n}: {e}");
    }
}

/// The fixture's first group as a refresh leaves it.
fn refreshed() -> EscrowGroupRecord {
    let mut it = fleet().policy().groups[0].clone();
    it.share_epoch += 1;
    it.custodians.iter_mut().for_each(|c| c.share.0[31] ^= 1);
    it
}

/// The signatures of custodians, by their keys' seeds, under a step from one record to another.
fn word(before: &EscrowGroupRecord, after: &EscrowGroupRecord, by: &[u8]) -> GroupChange {
    let result = CeremonyResult {
        ceremony: Sha256([7; 32]),
        record: after.clone(),
        transcript: vec![Sha256([8; 32]); 3],
        previous: Some(before.digest()),
    };
    let keys: Vec<_> = by.iter().map(|n| key(*n)).collect();
    let keys: Vec<_> = keys.iter().map(|k| k as &dyn Signer).collect();
    GroupChange {
        group: before.id,
        ceremony: result.ceremony,
        transcript: result.transcript.clone(),
        signatures: result.statement().sign(&keys).expect("signed").signatures(),
    }
}

/// The custodians of the fixture's first group.
const CUSTODIANS: [u8; 3] = [111, 112, 113];

#[test]
fn a_group_changes_with_the_word_of_its_custodians_only() {
    type Edit = fn(&mut EscrowGroupRecord);
    let old = fleet().policy().groups[0].clone();
    let with = |after: &EscrowGroupRecord, change: Option<GroupChange>| {
        let refusal = advanced(|p| {
            p.groups[0] = after.clone();
            p.changes = change.clone().into_iter().collect();
        });
        refusal.map(|f| f.version()).map_err(|e| rule(&e).to_owned())
    };
    let new = refreshed();
    let refused = |after: &EscrowGroupRecord, change: Option<GroupChange>, words: &str| {
        let why = with(after, change).expect_err(words);
        assert!(why.contains(words), "{words:?} is not in {why:?}");
    };
    assert_eq!(with(&new, Some(word(&old, &new, &CUSTODIANS))), Ok(2));
    refused(&new, None, "without the word of its custodians");
    refused(&new, Some(word(&old, &new, &[111, 112])), "everyone whose entry is new");
    refused(&new, Some(word(&old, &new, &[1])), "as many of its custodians as it takes");
    // The thief's own custodian, in the place of all and beside one that was won over.
    let mut stolen = new.clone();
    stolen.custodians.truncate(1);
    (stolen.threshold, stolen.custodians[0].signing_key) = (1, key(66).public());
    refused(&stolen, None, "without the word of its custodians");
    refused(&stolen, Some(word(&old, &stolen, &[66])), "as many of its custodians as it takes");
    refused(&stolen, Some(word(&old, &stolen, &[66, 111])), "as many of its custodians");
    assert_eq!(with(&stolen, Some(word(&old, &stolen, &[66, 111, 113]))), Ok(2), "a re-sharing");
    // A word for another step: from another record, or to another.
    let mut other = old.clone();
    other.custodians[2].signing_key = key(77).public();
    refused(&new, Some(word(&other, &new, &CUSTODIANS)), "a signature does not match");
    refused(&new, Some(word(&old, &other, &CUSTODIANS)), "a signature does not match");
    // Sharings follow one another, so that another can follow.
    for share_epoch in [2, u32::MAX] {
        let late = EscrowGroupRecord { share_epoch, ..new.clone() };
        refused(&late, Some(word(&old, &late, &CUSTODIANS)), "sharings follow one another");
    }
    let edits: [Edit; 4] = [
        |g| g.custodians[0].signing_key = key(66).public(),
        |g| g.custodians[0].name = "mallory".to_owned(),
        |g| g.ceremony = "distributed".to_owned(),
        |g| {
            for (n, c) in g.custodians.iter_mut().enumerate() {
                c.kem = Some(Base64(vec![n as u8; 1_184]));
            }
        },
    ];
    for edit in edits {
        let mut after = old.clone();
        edit(&mut after);
        refused(&after, None, "without the word of its custodians");
    }
    let mut moved = old.clone();
    let transport = key(90).public();
    moved.custodians[0].endpoint = Some(Endpoint { address: "[::1]:1".to_owned(), transport });
    assert_eq!(with(&moved, None), Ok(2), "an address is a hint");
    let retired = EscrowGroupRecord { retired: true, ..new.clone() };
    assert_eq!(with(&retired, Some(word(&old, &new, &CUSTODIANS))), Ok(2), "root keys retire");
    let twice = advanced(|p| {
        p.groups[0] = new.clone();
        p.changes = vec![word(&old, &new, &CUSTODIANS); 2];
    });
    assert!(rule(&twice.expect_err("twice")).contains("two changes of one"));
    let first = group(GroupId([0x63; 32]), "third", 3);
    let unknown = advanced(|p| {
        p.groups.push(first.clone());
        p.changes = vec![word(&first, &first, &CUSTODIANS)];
    });
    assert!(rule(&unknown.expect_err("nothing was changed")).contains("a group that is new"));
}

#[test]
fn root_keys_alone_do_not_take_a_groups_post_quantum_half_away() {
    let mut founding = genesis();
    for (n, custodian) in founding.groups[0].custodians.iter_mut().enumerate() {
        custodian.kem = Some(Base64(vec![n as u8; 1_184]));
    }
    founding.groups[0].suite = Some(SUITE_PQ);
    let fleet = open_genesis(founding, &[&root()]).expect("a good genesis statement");
    let mut policy = next(&fleet);
    policy.groups[0].suite = None;
    let e = fleet.clone().advance(by(policy, &[&root()])).expect_err("a downgrade");
    assert!(rule(&e).contains("without the word of its custodians"), "{e}");
    fleet.clone().advance(by(next(&fleet), &[&root()])).expect("as it was");
}

#[test]
fn what_earlier_programs_changed_without_that_word_still_opens_and_nobody_else_takes_it() {
    let known = fleet();
    let mut policy = next(&known);
    policy.groups[0] = refreshed();
    let silent = by(policy, &[&root()]);
    let e = known.clone().advance(silent.clone()).expect_err("one step");
    assert!(rule(&e).contains("root keys are in other hands"), "{e}");
    let genesis = known.envelope().clone();
    let open = |policies: Vec<Envelope>, pin: seawall_record::Pin<'_>| {
        Fleet::open_chain(genesis.clone(), policies, pin)
    };
    // Who knows the id only, or has believed it before, goes on from it.
    let read = open(vec![silent.clone()], known.id().into()).expect("by the id from paper");
    assert_eq!(read.version(), 2);
    let card = serde_json::to_vec(&FleetCard::new(&read)).expect("JSON");
    let believed = FleetCard::open(&card).expect("a home's own file");
    let third = by(next(&believed), &[&root()]);
    assert_eq!(believed.clone().advance(third.clone()).expect("goes on").version(), 3);
    let chain = vec![silent.clone(), third];
    assert_eq!(open(chain.clone(), (&believed).into()).expect("goes on").version(), 3);
    // Who knows the group as it was before takes neither, however many follow.
    for policies in [vec![silent], chain] {
        let e = open(policies, (&known).into()).expect_err("no word");
        assert!(rule(&e).contains("version 2 changes") && rule(&e).contains("without"), "{e}");
    }
}

#[test]
fn no_version_follows_the_last() {
    let last = Genesis { policy_version: u64::MAX, ..genesis() };
    let last = open_genesis(last, &[&root()]).expect("a strange beginning");
    let mut policy = last.policy().clone();
    policy.previous = last.policy_digest();
    for version in [0, 1, u64::MAX] {
        let it = FleetPolicy { version, ..policy.clone() };
        let e = last.clone().advance(by(it, &[&root()])).expect_err("none can follow");
        assert!(rule(&e).contains("no version follows"), "{e}");
    }
}

#[test]
fn two_quorums_of_witnesses_always_share_an_honest_one() {
    for operators in 1..=9_u16 {
        for quorum in 0..=10 {
            for faulty in 0..=4 {
                let it = WitnessQuorum { quorum, faulty };
                // Two quorums overlap in at least 2q - W operators, of whom f may lie.
                let overlap = 2 * i64::from(quorum) - i64::from(operators);
                let expected = overlap > i64::from(faulty) && quorum <= operators;
                assert_eq!(it.intersects(operators.into()), expected, "{operators} {it:?}");
            }
        }
    }
}

#[test]
fn a_key_of_one_operator_counts_once_in_the_quorum() {
    let sister = |p: &mut FleetPolicy| WitnessRecord {
        name: "sister.example".to_owned(),
        key: key(41).public(),
        ..p.witnesses[0].clone()
    };
    let e = advanced(|p| {
        let more = sister(p);
        p.witnesses.push(more);
        p.witness_quorum = Some(WitnessQuorum { quorum: 2, faulty: 0 });
    });
    assert!(rule(&e.expect_err("one operator is no quorum of two")).contains("miss each other"));
    let e = advanced(|p| {
        let twice = WitnessRecord { key: p.witnesses[0].key, ..sister(p) };
        p.witnesses.push(twice);
    });
    assert!(rule(&e.expect_err("one key twice")).contains("share a key"));
}

#[test]
fn the_keys_before_decide_and_the_new_ones_agree() {
    let fleet = fleet();
    let mut policy = next(&fleet);
    policy.root_keys = vec![key(2).public(), key(3).public()];
    policy.root_threshold = 2;
    for (signers, have, need) in [
        (vec![key(1)], 0, 2),
        (vec![key(1), key(2)], 1, 2),
        (vec![key(2), key(3)], 0, 1),
        (vec![key(4)], 0, 1),
    ] {
        let envelope =
            by(policy.clone(), &signers.iter().map(|s| s as &dyn Signer).collect::<Vec<_>>());
        let e = fleet.clone().advance(envelope).expect_err("too few");
        assert_eq!(signature(e), SignError::BelowThreshold { have, need });
    }
    let envelope = by(policy, &[&key(1), &key(2), &key(3)]);
    let fleet = fleet.advance(envelope).expect("all agree");
    assert_eq!((fleet.root_keys().len(), fleet.root_threshold()), (2, 2));
    let e = fleet.clone().advance(by(next(&fleet), &[&key(1)])).expect_err("the old key");
    assert_eq!(signature(e), SignError::BelowThreshold { have: 0, need: 2 });
}

#[test]
fn what_old_root_keys_signed_holds_where_it_is_carried_over() {
    let old = by_root(node_enrolment());
    let mut backdated = region_enrolment();
    backdated.name = "a thief's region".to_owned();
    let backdated = by_root(backdated);
    let rotated = |carried: Vec<Sha256>| {
        let fleet = fleet();
        let mut policy = next(&fleet);
        policy.root_keys = vec![key(2).public()];
        policy.carried = carried;
        fleet.advance(by(policy, &[&key(1), &key(2)])).expect("rotated")
    };
    let fleet = rotated(vec![old.digest()]);
    Enrolment::open(&fleet, &old, Role::Node).expect("carried over");
    let e = Enrolment::open(&fleet, &backdated, Role::Region).expect_err("signed by an old key");
    assert_eq!(signature(e), SignError::BelowThreshold { have: 0, need: 1 });
    Enrolment::open(&rotated(Vec::new()), &old, Role::Node).expect_err("carried over by nobody");
    let e = Enrolment::open(&fleet, &old, Role::Region).expect_err("another role");
    assert!(rule(&e).contains("not as region"));
}

#[test]
fn who_has_seen_more_believes_no_less() {
    let known = advanced(|p| p.revoked = vec![revocation(&requester_identity(), 0)]).expect("good");
    let genesis = fleet().envelope().clone();
    let open = |policies, pin: &Fleet| Fleet::open_chain(genesis.clone(), policies, pin);
    let shown = open(Vec::new(), &known).expect("an older view");
    assert_eq!(shown.version(), 2, "what is known holds");
    let newer = known.clone().advance(by(next(&known), &[&root()])).expect("version 3");
    assert_eq!(open(newer.policies().to_vec(), &known).expect("newer").version(), 3);
    let fork = advanced(|p| p.created = NOW.after(Seconds(1))).expect("also version 2");
    let e = open(fork.policies().to_vec(), &known).expect_err("a fork");
    assert!(rule(&e).contains("two of version 2"), "{e}");
    let e = Fleet::open_chain(other_fleet().envelope().clone(), Vec::new(), &known);
    assert!(matches!(e.expect_err("another fleet"), RecordError::OtherFleet { .. }));
    let e = known.advance_all(newer.policies().to_vec()).expect_err("version 2 again");
    assert!(rule(&e).contains("version 2 where 3"), "{e}");
}

#[test]
fn a_revocation_stays() {
    let revoked = advanced(|p| p.revoked = vec![revocation(&identity(), 5)]).expect("good");
    let again = |edit: fn(&mut Revocation)| {
        let mut policy = next(&revoked);
        edit(&mut policy.revoked[0]);
        revoked.clone().advance(by(policy, &[&root()])).map(|f| f.version())
    };
    assert_eq!(again(|r| r.log_size = 4), Ok(3), "less may be believed");
    assert_eq!(again(|r| r.epoch = 2), Ok(3), "a later epoch may be revoked too");
    assert!(again(|r| r.log_size = 6).is_err() && again(|r| r.epoch = 0).is_err());
    assert!(again(|r| r.member = key(99).public().node_id()).is_err());
}

#[test]
fn a_revocation_says_how_much_of_earlier_epochs_is_believed() {
    let earlier = |epoch, log_size| EarlierLog { epoch, log_size };
    let of = |named: &[EarlierLog]| Revocation {
        epoch: 3,
        earlier: named.to_vec(),
        ..revocation(&identity(), 9)
    };
    let revoked = advanced(|p| p.revoked = vec![of(&[earlier(1, 5)])]).expect("good");
    let member = identity().public().node_id();
    let believed: Vec<_> = (1..=4).map(|e| revoked.believed_entries(member, e)).collect();
    assert_eq!(believed, [Some(5), Some(0), Some(9), None], "a log that nobody names, not at all");
    let again = |named: &[EarlierLog]| {
        let mut policy = next(&revoked);
        policy.revoked = vec![of(named)];
        revoked.clone().advance(by(policy, &[&root()])).map(|f| f.version())
    };
    assert_eq!(again(&[earlier(1, 4), earlier(2, 7)]), Ok(3), "one that turned up is named");
    again(&[earlier(1, 6)]).expect_err("more is believed");
    again(&[earlier(2, 7), earlier(1, 5)]).expect_err("out of order");
    again(&[earlier(1, 5), earlier(3, 7)]).expect_err("no earlier one");
    // Revoked in a later epoch, nothing of what was cut off comes back.
    let later = |size| {
        let mut policy = next(&revoked);
        let named = [earlier(1, 5), earlier(3, size)];
        policy.revoked = vec![Revocation { epoch: 4, ..of(&named) }];
        revoked.clone().advance(by(policy, &[&root()])).map(|f| f.version())
    };
    assert_eq!(later(9), Ok(3));
    later(10).expect_err("more of the third is believed");
    let payload =
        String::from_utf8(by(revoked.policy().clone(), &[&root()]).unverified_payload().to_vec());
    assert!(payload.expect("JSON").contains(r#""earlier":[{"epoch":1,"log_size":5}]"#));
    let plain = serde_json::to_string(&revocation(&identity(), 1)).expect("JSON");
    assert!(!plain.contains("earlier"), "absent where nothing is named: {plain}");
}

#[test]
fn a_revoked_node_is_believed_up_to_its_last_good_entry() {
    let entries = [
        by_root(node_enrolment()),
        by_identity(subkey()),
        by_subkey(manifest(1, None)),
        by_subkey(manifest(2, Some(by_subkey(manifest(1, None)).digest()))),
    ];
    for believed in 1..=4 {
        let revoked = advanced(|p| p.revoked = vec![revocation(&identity(), believed)]);
        let mut log = LogState::new(revoked.expect("good"), ORIGIN);
        for (index, entry) in (0..).zip(&entries) {
            let accepted = log.accept(&entry.to_json()).expect("counted in any case");
            let disbelieved = matches!(accepted, Accepted::Disbelieved);
            assert_eq!(disbelieved, index >= believed, "entry {index} of {believed}");
        }
        assert_eq!(log.entries(), 4);
        assert_eq!(log.last_manifest().map_or(0, |(_, n)| n), believed.saturating_sub(2));
        assert!(believed == 4 || matches!(log.accept(b"anything"), Ok(Accepted::Disbelieved)));
    }
}

#[test]
fn a_revoked_requester_gets_nothing_and_a_revoked_author_keeps_its_past() {
    let verify = |edit: &dyn Fn(&mut FleetPolicy), parts: DossierParts| {
        parts.verify(&advanced(edit).expect("good")).map(drop)
    };
    verify(&|_| {}, parts()).expect("nobody is revoked");
    let e = verify(&|p| p.revoked = vec![revocation(&requester_identity(), 100)], parts());
    assert!(matches!(e, Err(RecordError::Revoked { what: "requester", .. })));
    verify(&|p| p.revoked = vec![revocation(&identity(), 3)], parts()).expect("entry 2 of 3");
    let e = verify(&|p| p.revoked = vec![revocation(&identity(), 2)], parts());
    assert!(matches!(e, Err(RecordError::Revoked { what: "the snapshot's node", .. })));
    // The thief of a key that was revoked in epoch 2 writes on in the log of epoch 1.
    let later = |earlier: &[EarlierLog]| Revocation {
        epoch: 2,
        earlier: earlier.to_vec(),
        ..revocation(&identity(), 100)
    };
    let e = verify(&|p| p.revoked = vec![later(&[])], parts());
    assert!(matches!(e, Err(RecordError::Revoked { what: "the snapshot's node", .. })));
    let [one, two] = [2, 3].map(|log_size| EarlierLog { epoch: 1, log_size });
    verify(&|p| p.revoked = vec![later(&[one])], parts()).expect_err("entry 2 of 2");
    verify(&|p| p.revoked = vec![later(&[two])], parts()).expect("entry 2 of 3");
    let old_view = DossierParts { policies: Vec::new(), ..parts() };
    let e = verify(&|p| p.revoked = vec![revocation(&requester_identity(), 0)], old_view);
    assert!(e.is_err(), "leaving the policy out of the file does not help");
}

#[test]
fn a_revoked_region_is_no_region() {
    let revoked = advanced(|p| p.revoked = vec![revocation(&region_identity(), 0)]).expect("good");
    let e = Enrolment::open(&revoked, &by_root(region_enrolment()), Role::Region);
    assert!(matches!(e, Err(RecordError::Revoked { what: "the region", .. })));
    let mut later = region_enrolment();
    later.epoch = 2;
    Enrolment::open(&revoked, &by_root(later), Role::Region).expect("enrolled anew");
}

#[test]
fn cards_and_chains_carry_the_policies() {
    let fleet = advanced(|_| {}).expect("good");
    let card = serde_json::to_vec(&FleetCard::new(&fleet)).expect("JSON");
    assert_eq!(FleetCard::open(&card).expect("opens").version(), 2);
    let founded = serde_json::to_string(&FleetCard::new(&crate::fixture::fleet())).expect("JSON");
    assert!(!founded.contains("policies"), "as before there were any");
    let chain = PolicyChain::of(&fleet).to_json();
    let (id, policies) = PolicyChain::parse(&chain).expect("parses");
    assert_eq!((id, policies.len()), (fleet.id(), 1));
    let wrong = String::from_utf8(chain).expect("JSON").replace("policies/1", "policies/9");
    assert!(
        rule(&PolicyChain::parse(wrong.as_bytes()).expect_err("refused")).contains("policies/9")
    );
}
