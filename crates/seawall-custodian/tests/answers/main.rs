//! Requests that must not be answered and approvals that must not count, made by whoever has the
//! keys to make them: what no bit flipped in a file can show.

mod homes;
mod office;
mod soft_key;
mod world;

use seawall_base::Seconds;
use seawall_custodian::{
    ArrivedManifest, CustodianError, check_hand_overs, hand_over_shares, hand_overs_to, shares_of,
};
use seawall_escrow::{
    Capsule, CapsuleError, HandOver, KemSecret, LabelFields, OneTimeSecret, Partial, PartialError,
    Recipients,
};
use seawall_record::{
    Approval, Base64, DossierParts, HandOverFile, Manifest, RecordError, ShareBad, ShareGood,
    ShareHandOver,
};
use seawall_sign::{Envelope, SignError, SigningKey};
use seawall_sim::SimClock;
use seawall_tlog::{NoteError, Origin, merkle};

use crate::world::{
    ASKER, NODE, NODE_SUBKEY, NOW, PAYLOAD, ROOT, World, checkpoint, custodian_key, key, own_kem,
    signed,
};

/// Alters an approval before its signer signs it.
type Change = fn(&mut Approval);

#[test]
fn two_honest_answers_open_the_capsule() {
    let mut world = World::new();
    let it = world.asked(1);
    let partials = [1, 3].map(|index| {
        let answer = world.answer(&it, index);
        world.accept(&it, &answer).expect("it counts")
    });
    let opened = seawall_escrow::open(&it.capsule, &it.group, &[], &partials).expect("a quorum");
    assert_eq!(opened.payload(), PAYLOAD);
    assert!(seawall_escrow::open(&it.capsule, &it.group, &[], &partials[..1]).is_err());
}

#[test]
fn two_honest_answers_open_a_post_quantum_capsule() {
    let mut world = World::new();
    let manifest = world.manifest(1, 1);
    let parts = world.parts(manifest);
    let it = world.examine(&parts).expect("nothing is wrong with it");
    let partials = [2, 3].map(|index| {
        let answer = world.answer(&it, index);
        world.accept(&it, &answer).expect("it counts")
    });
    let opened = seawall_escrow::open(&it.capsule, &it.group, &[], &partials).expect("a quorum");
    assert_eq!((opened.payload(), opened.misdealt()), (PAYLOAD, &[][..]));
    // Two partials, and the post-quantum share of one of the two.
    let (public, secret) = world.share(1, 1);
    let bare = it.approve_with(&public, &secret, Vec::new(), &SimClock::new(NOW), &mut world.rng);
    let bare = world.accept(&it, &bare.expect("answered")).expect("it counts");
    let half = [partials[0].clone(), bare];
    let why = seawall_escrow::open(&it.capsule, &it.group, &[], &half).expect_err("one short");
    assert!(why.to_string().contains("post-quantum shares of 2 custodians"), "{why}");
}

#[test]
fn a_group_with_post_quantum_keys_takes_no_lesser_capsule() {
    let mut world = World::new();
    let core = world.core(1, 1);
    let fields = LabelFields::of_manifest(&core);
    let group = world.groups[1].0.clone();
    let capsule = Capsule::seal(&group, &fields, None, PAYLOAD, &mut world.rng).expect("sealed");
    let capsule = Base64(capsule.encode());
    let parts = world.parts(Manifest { core, capsule, path_index: Vec::new() });
    let why = world.examine(&parts).expect_err("a downgrade");
    assert!(matches!(why, CustodianError::Capsule(CapsuleError::Downgraded)), "{why}");
    let arrived = ArrivedManifest::check(&world.fleet, &parts.manifest).expect_err("as well");
    assert!(matches!(arrived, CustodianError::Capsule(CapsuleError::Downgraded)), "{arrived}");
}

#[test]
fn a_custodian_reports_its_share_on_arrival() {
    let mut world = World::new();
    let manifest = world.manifest(1, 1);
    let parts = world.parts(manifest);
    let arrived = ArrivedManifest::check(&world.fleet, &parts.manifest).expect("a good capsule");
    let signer = custodian_key(1, 2);
    let own = KemSecret::of_share_file(&signer.seed());
    let good =
        arrived.report(2, &own, &signer, &SimClock::new(NOW)).expect("signed").expect("a share");
    good.share.expect("it opens");
    let said = ShareGood::open(&good.statement, signer.public()).expect("a report");
    assert_eq!((said.share.custodian, said.share.manifest), (2, parts.manifest.digest()));
    assert_eq!(Some(said.share.dealing.0), arrived.capsule().dealing());
    assert_eq!(Some(&said.share.commitment.0), arrived.capsule().share_commitment(2));
    // With another key it does not open, and the report says so.
    let other = KemSecret::from_bytes(&[9; 32]);
    let bad =
        arrived.report(2, &other, &signer, &SimClock::new(NOW)).expect("signed").expect("a share");
    bad.share.expect_err("not its key");
    let said = ShareBad::open(&bad.statement, signer.public()).expect("a report");
    assert!(said.reason.contains("does not open with its key"), "{}", said.reason);
    ShareGood::open(&bad.statement, signer.public()).expect_err("another kind of statement");
    ShareBad::open(&bad.statement, key(99).public()).expect_err("another signer");
    assert!(arrived.report(9, &own, &signer, &SimClock::new(NOW)).expect("no error").is_none());
    let classical = world.manifest(1, 0);
    let parts = world.parts(classical);
    let arrived = ArrivedManifest::check(&world.fleet, &parts.manifest).expect("a good capsule");
    assert!(arrived.report(2, &own, &signer, &SimClock::new(NOW)).expect("no error").is_none());
}

#[test]
fn leaving_custodians_hand_their_shares_on_and_those_after_them_open() {
    let mut world = World::new();
    let manifest = world.manifest(1, 1);
    let parts = world.parts(manifest);
    let it = world.examine(&parts).expect("nothing is wrong with it");
    let newcomers: Vec<_> = (1..=2).map(|n| KemSecret::from_bytes(&[n; 32])).collect();
    let to = (1..).zip(newcomers.iter().map(KemSecret::public)).collect();
    let to = Recipients::new(2, to).expect("recipients");
    let (mut given, mut shares) = (Vec::new(), vec![Vec::new(), Vec::new()]);
    for leaver in [1, 3] {
        let signer = custodian_key(1, leaver);
        let own = it.capsule.open_own_share(&[KemSecret::of_share_file(&signer.seed())]);
        let batch: Vec<_> = own.into_iter().map(|s| (parts.manifest.digest(), s)).collect();
        let about = ShareHandOver {
            fleet: world.fleet.id(),
            group: it.group.id(),
            custodian: leaver,
            share_epoch: 1,
            shares: Vec::new(),
            created: NOW,
        };
        let (said, dealings) = hand_over_shares(&about, &batch, &to, &signer).expect("it is small");
        let said = ShareHandOver::open(&said, signer.public()).expect("signed by the leaver");
        ShareHandOver::open(&parts.manifest, signer.public()).expect_err("no hand-over");
        for (named, dealing) in said.shares.iter().zip(dealings) {
            assert_eq!(named.dealing.0, dealing.digest());
            let checked = dealing.check(&to).expect("for the newcomers");
            for (n, key) in newcomers.iter().enumerate() {
                shares[n].push(checked.open_share(n as u16 + 1, key).expect("its share"));
            }
            given.push(checked);
        }
    }
    // The group itself was not shared anew here: the partials are the old custodians'.
    let partials: Vec<_> = [1, 2]
        .into_iter()
        .zip(shares)
        .map(|(index, shares)| {
            let (public, secret) = world.share(1, index);
            let answer =
                it.approve_with(&public, &secret, shares, &SimClock::new(NOW), &mut world.rng);
            world.accept(&it, &answer.expect("answered")).expect("it counts")
        })
        .collect();
    let opened = seawall_escrow::open(&it.capsule, &it.group, &given, &partials).expect("opens");
    assert_eq!((opened.payload(), opened.misdealt()), (PAYLOAD, &[][..]));
}

#[test]
fn a_file_of_hand_overs_counts_as_its_signer_wrote_it() {
    let mut world = World::new();
    let manifest = world.manifest(1, 1);
    let parts = world.parts(manifest);
    let it = world.examine(&parts).expect("nothing is wrong with it");
    let keys = [1, 2, 3].map(|i| KemSecret::of_share_file(&custodian_key(1, i).seed()));
    let to = Recipients::of_record(&world.fleet.groups()[1]).expect("keys").expect("suite 2");
    let hand = |by: &SigningKey| {
        let own = it.capsule.open_own_share(&keys[2..]).expect("the third's share");
        let about = ShareHandOver {
            fleet: world.fleet.id(),
            group: it.group.id(),
            custodian: 3,
            share_epoch: 0,
            shares: Vec::new(),
            created: NOW,
        };
        let batch = [(parts.manifest.digest(), own)];
        let (said, dealings) = hand_over_shares(&about, &batch, &to, by).expect("it is small");
        (said, dealings.iter().map(HandOver::encode).collect::<Vec<_>>())
    };
    let (said, dealings) = hand(&custodian_key(1, 3));
    let with = |dealings: &[Vec<u8>]| {
        let file = HandOverFile::new(vec![(said.clone(), dealings.to_vec())]);
        [HandOverFile::parse(&file.to_json()).expect("what it writes, it reads")]
    };
    let reach = |files: &[HandOverFile]| hand_overs_to(&it.capsule, &world.fleet, files);
    assert_eq!(reach(&with(&dealings)).len(), 1);
    let good = with(&dealings);
    assert_eq!(check_hand_overs(&good[0], &world.fleet).expect("good"), 1);
    // The first answers with its own share and with what it was dealt of the third's.
    let shares = shares_of(&it.capsule, &world.fleet, &with(&dealings), &keys[..1]);
    assert_eq!(shares.len(), 2);
    let mut altered = dealings.clone();
    altered[0][100] ^= 1;
    for (dealings, words) in [
        (altered, "not the one signed for"),
        (vec![dealings[0][1..].to_vec()], "a hand-over that is none"),
        (Vec::new(), "other dealings than it has"),
    ] {
        let [bad] = with(&dealings);
        let why = check_hand_overs(&bad, &world.fleet).expect_err("refused").to_string();
        assert!(why.contains(words), "{why}");
        // One that was kept all the same spoils nothing for the others.
        assert_eq!(reach(&[bad, good[0].clone()]).len(), 1);
    }
    let (said, dealings) = hand(&custodian_key(1, 1));
    let forged = HandOverFile::new(vec![(said, dealings)]);
    let why = check_hand_overs(&forged, &world.fleet).expect_err("another signer");
    assert!(why.to_string().contains("not signed by the custodian"), "{why}");
    assert_eq!(reach(&[forged, good[0].clone()]).len(), 1);
    // Another snapshot's are passed over.
    let (said, dealings) = hand(&custodian_key(1, 3));
    let files = [HandOverFile::new(vec![(said, dealings)])];
    let other = world.manifest(2, 1);
    let other = world.parts(other);
    let other = world.examine(&other).expect("nothing is wrong with it");
    let reached = hand_overs_to(&other.capsule, &world.fleet, &files);
    assert!(reached.is_empty());
}

#[test]
fn only_the_time_between_made_and_expired_is_answered() {
    let mut world = World::new();
    let it = world.asked(1);
    let (public, secret) = world.share(0, 1);
    let mut answer = |now| {
        it.approve(&public, &secret, &[own_kem(&secret)], &SimClock::new(now), &mut world.rng)
            .map(|_| ())
    };
    let end = NOW.after(Seconds::hours(72));
    for good in [NOW, NOW.before(Seconds(300)), end] {
        answer(good).expect("in time");
    }
    let expired = answer(end.after(Seconds(1))).expect_err("too late");
    assert!(matches!(expired, CustodianError::Expired(when) if when == end), "{expired}");
    assert!(expired.to_string().contains("ask for a new one"));
    let early = answer(NOW.before(Seconds(301))).expect_err("not made yet");
    assert!(matches!(early, CustodianError::FromTheFuture(when) if when == NOW), "{early}");
    assert!(early.to_string().contains("compare the clocks"));
}

#[test]
fn a_request_must_come_from_an_enrolled_node() {
    let mut world = World::new();
    let manifest = world.manifest(1, 0);
    let good = world.parts(manifest);
    let enrolled_by_itself = world.enrolment(ASKER, ASKER);
    let other_subkey = world.subkey(ASKER, 99);
    let author_subkey = good.author[1].clone();
    let cases = [
        ("enrolled by itself", [enrolled_by_itself, good.requester[1].clone()]),
        ("another subkey", [good.requester[0].clone(), other_subkey]),
        ("another node's subkey", [good.requester[0].clone(), author_subkey]),
    ];
    for (what, requester) in cases {
        let parts = DossierParts { requester, ..good.clone() };
        let why = world.examine(&parts).expect_err(what);
        assert!(
            matches!(why, CustodianError::Record(RecordError::Statement { .. })),
            "{what}: {why}"
        );
    }
    let other = World::seeded(7);
    let why = other.examine(&good).expect_err("another fleet");
    assert!(matches!(why, CustodianError::Record(RecordError::OtherFleet { .. })), "{why}");
}

#[test]
fn a_snapshot_must_be_in_its_nodes_log() {
    let mut world = World::new();
    let manifest = world.manifest(1, 0);
    let good = world.parts(manifest.clone());
    let leaf = merkle::leaf_hash(&good.manifest.to_json());
    let with = |change: &dyn Fn(&mut DossierParts)| {
        let mut parts = good.clone();
        change(&mut parts);
        world.examine(&parts).expect_err("not in the log")
    };
    let why = with(&|p| p.inclusion[0].0[0] ^= 1);
    assert!(matches!(why, CustodianError::NotIncluded { index: 2, .. }), "{why}");
    let why = with(&|p| p.inclusion.clear());
    assert!(matches!(why, CustodianError::NotIncluded { .. }), "{why}");
    let origin = world.origin();
    let why = with(&|p| p.checkpoint = checkpoint(origin.clone(), 1, leaf, 99));
    assert!(matches!(why, CustodianError::Note(NoteError::NoKnownSignature)), "{why}");
    // A log of one entry, honestly signed, in which the snapshot stands elsewhere.
    let why = with(&|p| p.checkpoint = checkpoint(origin.clone(), 1, leaf, NODE_SUBKEY));
    assert!(matches!(why, CustodianError::NotIncluded { .. }), "{why}");
    let elsewhere = Origin::of_node(world.fleet.id(), key(ASKER).public().node_id(), 1);
    let why = with(&|p| p.checkpoint = checkpoint(elsewhere.clone(), 1, leaf, NODE_SUBKEY));
    assert!(matches!(why, CustodianError::OtherLog { .. }), "{why}");
}

#[test]
fn a_capsule_moved_into_an_innocent_manifest_is_refused() {
    let mut world = World::new();
    let victim = world.manifest(1, 0);
    let mut innocent = world.manifest(2, 0);
    let own = innocent.capsule.0.clone();
    innocent.capsule = victim.capsule.clone();
    let parts = world.parts(innocent.clone());
    let why = world.examine(&parts).expect_err("a copied capsule");
    assert!(matches!(why, CustodianError::Capsule(CapsuleError::OtherLabel)), "{why}");
    // Suite, group, label; then u, u-bar, challenge, response, masked key, commitment.
    let field = |n: usize| 1 + 32 * n..33 + 32 * n;
    let grafts: [&[usize]; 6] = [&[2, 3], &[2, 3, 4, 5], &[2], &[6], &[0, 1, 2, 3, 4, 5], &[7]];
    for graft in grafts {
        let mut capsule = own.clone();
        for n in graft {
            capsule[field(*n)].copy_from_slice(&victim.capsule.0[field(*n)]);
        }
        // Under the label of the manifest it now stands in, as an attacker would.
        capsule[field(1)].copy_from_slice(&own[field(1)]);
        innocent.capsule = Base64(capsule);
        let parts = world.parts(innocent.clone());
        let why = world.examine(&parts).expect_err("a grafted capsule");
        assert!(matches!(why, CustodianError::Capsule(CapsuleError::Proof)), "{graft:?}: {why}");
    }
    let mut core = world.core(3, 0);
    let foreign = world.manifest(3, 1).capsule;
    core.sequence = 3;
    let parts = world.parts(Manifest { core, capsule: foreign, path_index: Vec::new() });
    let why = world.examine(&parts).expect_err("sealed to the weaker group");
    assert!(matches!(why, CustodianError::Capsule(CapsuleError::OtherGroup { .. })), "{why}");
}

#[test]
fn a_share_helps_only_its_own_group_and_signer() {
    let mut world = World::new();
    let it = world.asked(1);
    let (public, secret) = world.share(1, 1);
    let why = it
        .approve(&public, &secret, &[own_kem(&secret)], &SimClock::new(NOW), &mut world.rng)
        .expect_err("other group");
    assert!(matches!(why, CustodianError::OtherGroup { .. }), "{why}");
    assert!(why.to_string().contains("use the share of that group"), "{why}");
    let (public, mut secret) = world.share(0, 1);
    secret.signing_seed = key(99).seed();
    let why = it
        .approve(&public, &secret, &[own_kem(&secret)], &SimClock::new(NOW), &mut world.rng)
        .expect_err("other signer");
    assert!(matches!(why, CustodianError::OtherSigner(1)), "{why}");
    // A share of before the fleet was founded anew, under today's signing key.
    let (public, mut secret) = world.share(0, 1);
    secret.share = World::seeded(7).share(0, 1).1.share;
    let why = it
        .approve(&public, &secret, &[own_kem(&secret)], &SimClock::new(NOW), &mut world.rng)
        .expect_err("old share");
    assert!(matches!(why, CustodianError::Partial(PartialError::WrongShare { index: 1 })), "{why}");
}

#[test]
fn forged_replayed_and_borrowed_partials_do_not_count() {
    let mut world = World::new();
    let (it, other) = (world.asked(1), world.asked(2));
    let [own, second] = [1, 2].map(|index| world.partial(&it, index));
    let honest = world.approval(&it, 1, &own);
    world.accept(&it, &signed(honest, &custodian_key(0, 1))).expect("the honest one counts");

    let replayed = world.partial(&other, 1);
    let why = world.refusal(&it, &replayed);
    assert!(matches!(why, CustodianError::Partial(PartialError::OtherLabel { index: 1 })), "{why}");
    let why = world.refusal(&it, &second);
    assert!(matches!(why, CustodianError::Misplaced(_)), "{why}");
    assert!(why.to_string().contains("the partial of another custodian"), "{why}");
    // Suite, group and label, index, share epoch, then value, challenge, response.
    for from in [71, 103, 135] {
        let mut forged = own.clone();
        forged[from..from + 32].copy_from_slice(&second[from..from + 32]);
        let why = world.refusal(&it, &forged);
        assert!(matches!(why, CustodianError::Partial(PartialError::Proof { index: 1 })), "{why}");
    }
    let mut borrowed = second.clone();
    borrowed[65..67].copy_from_slice(&own[65..67]);
    let why = world.refusal(&it, &borrowed);
    assert!(matches!(why, CustodianError::Partial(PartialError::Proof { .. })), "{why}");
    let mut relabelled = replayed;
    relabelled[33..65].copy_from_slice(&own[33..65]);
    let why = world.refusal(&it, &relabelled);
    assert!(matches!(why, CustodianError::Partial(PartialError::Proof { .. })), "{why}");
    for bytes in [&own[..own.len() - 1], &[&own[..], &[0]].concat(), &[]] {
        let why = world.refusal(&it, bytes);
        assert!(matches!(why, CustodianError::Partial(PartialError::Malformed(_))), "{why}");
    }
}

#[test]
fn an_answer_of_another_sharing_is_refused_by_name_and_spoils_no_other() {
    let mut world = World::new();
    let it = world.asked(1);
    let (_, secret) = world.share(0, 2);
    for (claimed, inside, words) in [
        (99, 99, "of custodian-2 claims share epoch 99, the fleet's policy has 0"),
        (0, 99, "claims share epoch 99"),
        (99, 0, "claims share epoch 99"),
    ] {
        let made = Partial::make(&it.capsule, &secret.share, &it.group, inside, &mut world.rng);
        let made = made.expect("its proof holds, whatever it says of its epoch").encode();
        let mut approval = world.approval(&it, 2, &made);
        approval.share_epoch = claimed;
        let why = world.accept(&it, &signed(approval, &custodian_key(0, 2)));
        let why = why.expect_err("no such sharing").to_string();
        assert!(why.contains(words), "{why}");
    }
    let partials = [1, 3].map(|index| {
        let answer = world.answer(&it, index);
        world.accept(&it, &answer).expect("it counts")
    });
    seawall_escrow::open(&it.capsule, &it.group, &[], &partials).expect("a quorum without it");
}

#[test]
fn approvals_count_only_for_what_they_name() {
    let mut world = World::new();
    let (it, other) = (world.asked(1), world.asked(2));
    let mut again = world.parts(it.dossier.manifest.clone());
    // The same snapshot asked for by another node.
    again.requester = [world.enrolment(30, ROOT), world.subkey(30, 31)];
    let mut request = world.request(&again.manifest);
    request.requester = key(30).public().node_id();
    again.request = request.statement().sign(&[&key(31)]).expect("signed");
    let again = world.examine(&again).expect("also a good request");
    for (from, why) in
        [(&other, "is for another snapshot"), (&again, "answers another request for this snapshot")]
    {
        let answer = world.answer(from, 1);
        let refused = world.accept(&it, &answer).expect_err("it names another");
        assert!(refused.to_string().contains(why), "{refused}");
    }
    let partial = world.partial(&it, 1);
    let cases: [(&str, Change); 4] = [
        ("another fleet", |a| a.fleet.0[0] ^= 1),
        ("another snapshot", |a| a.manifest.0[0] ^= 1),
        ("answers another request", |a| a.request.0[0] ^= 1),
        ("another escrow group", |a| a.group.0[0] ^= 1),
    ];
    for (why, change) in cases {
        let mut approval = world.approval(&it, 1, &partial);
        change(&mut approval);
        let approval = signed(approval, &custodian_key(0, 1));
        let refused = world.accept(&it, &approval).expect_err("altered by its own signer");
        assert!(refused.to_string().contains(why), "{refused}");
    }
    let mut approval = world.approval(&it, 1, &partial);
    approval.group = world.groups[1].0.id();
    let refused = world.accept(&it, &signed(approval, &custodian_key(1, 1)));
    let refused = refused.expect_err("a real group, but not this snapshot's");
    assert!(refused.to_string().contains("another escrow group"), "{refused}");
}

#[test]
fn only_the_custodian_itself_signs_its_approval() {
    let mut world = World::new();
    let it = world.asked(1);
    let partial = world.partial(&it, 1);
    for stranger in [&key(99), &custodian_key(0, 2), &custodian_key(1, 1), &key(ROOT), &key(NODE)] {
        let approval = signed(world.approval(&it, 1, &partial), stranger);
        let why = world.accept(&it, &approval).expect_err("somebody else's signature");
        let below = SignError::BelowThreshold { have: 0, need: 1 };
        assert!(matches!(&why, CustodianError::Sign(e) if *e == below), "{why}");
    }
    let approval = signed(world.approval(&it, 9, &partial), &custodian_key(0, 1));
    let why = world.accept(&it, &approval).expect_err("nobody has index 9");
    assert!(why.to_string().contains("a custodian the escrow group does not have"), "{why}");
    // Another kind of statement by the right key.
    let request = it.dossier.request.clone().statement();
    let request = request.sign(&[&custodian_key(0, 1)]).expect("signed");
    let why = world.accept(&it, &request).expect_err("not an approval");
    assert!(matches!(why, CustodianError::Sign(SignError::WrongType { .. })), "{why}");
}

#[test]
fn signatures_must_be_there_once_and_of_a_known_kind() {
    let mut world = World::new();
    let it = world.asked(1);
    let good = world.answer(&it, 1).to_json();
    let judge = |change: &dyn Fn(&mut Vec<serde_json::Value>)| {
        let mut json: serde_json::Value = serde_json::from_slice(&good).expect("JSON");
        change(json["signatures"].as_array_mut().expect("a list"));
        let parsed = Envelope::parse(json.to_string().as_bytes()).map_err(CustodianError::from);
        parsed.and_then(|envelope| world.accept(&it, &envelope)).map(|_| ())
    };
    judge(&|_| ()).expect("unchanged, it counts");
    let none = judge(&|all| all.clear()).expect_err("no signature");
    assert!(matches!(none, CustodianError::Sign(SignError::Malformed(_))), "{none}");
    let twice = judge(&|all| all.push(all[0].clone())).expect_err("twice");
    assert!(matches!(twice, CustodianError::Sign(SignError::DuplicateSigner(_))), "{twice}");
    let empty = judge(&|all| all[0]["sig"] = "".into()).expect_err("empty");
    assert!(matches!(empty, CustodianError::Sign(SignError::Malformed(_))), "{empty}");
    let unknown = judge(&|all| {
        let keyid = all[0]["keyid"].as_str().expect("text").replace("ed25519:", "ml-dsa-65:");
        all[0]["keyid"] = keyid.into();
    });
    let unknown = unknown.expect_err("unknown algorithm");
    assert!(
        matches!(&unknown, CustodianError::Sign(SignError::UnknownAlgorithm(a)) if a == "ml-dsa-65"),
        "{unknown}"
    );
    let zeros = judge(&|all| all[0]["sig"] = format!("{}==", "A".repeat(86)).into());
    let zeros = zeros.expect_err("a signature of zeros");
    assert!(matches!(zeros, CustodianError::Sign(SignError::BadSignature)), "{zeros}");
}

#[test]
fn an_answer_opens_for_its_requester_only() {
    let mut world = World::new();
    let it = world.asked(1);
    let answer = world.answer(&it, 1);
    let other = OneTimeSecret::generate(&mut world.rng);
    let why = it.accept(&answer, &other).expect_err("another one-time secret");
    assert!(matches!(why, CustodianError::OneTime(_)), "{why}");
}
