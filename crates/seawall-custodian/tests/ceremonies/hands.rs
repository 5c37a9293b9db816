//! In whose hands a group is: what a fleet's policy, a card or a carrier may change about that.

use seawall_base::FleetId;
use seawall_custodian::Ask;
use seawall_custodian::ceremony::{open_refresh, open_repair, open_reshare};
use seawall_escrow::ShareFile;
use seawall_record::{
    Ceremony, CeremonyStep, EscrowGroupRecord, Fleet, Genesis, GroupChange, GroupFile, Hex32,
};
use seawall_sign::{Envelope, SigningKey, Statement};
use seawall_sim::{SeededRng, SimClock};
use zeroize::Zeroizing;

use super::{CHEAP, Folder, NOW, PASSPHRASE, People, THREE, group, named};

/// A fleet founded on a group.
fn founded(record: &EscrowGroupRecord) -> Fleet {
    let genesis = Genesis {
        policy_version: 1,
        fleet_name: "harbour".to_owned(),
        root_keys: vec![root().public()],
        root_threshold: 1,
        groups: vec![record.clone()],
        witnesses: Vec::new(),
        created: NOW,
        nonce: Hex32([9; 32]),
    };
    let statement = Statement::new(Fleet::subject(&genesis), genesis);
    Fleet::open(statement.sign(&[&root()]).expect("signed")).expect("a fleet")
}

fn root() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

/// The fleet's next policy with this record of its group, and this word for it.
fn policy(fleet: &Fleet, record: &EscrowGroupRecord, word: Option<GroupChange>) -> Envelope {
    let mut next = fleet.policy().clone();
    next.version += 1;
    next.previous = fleet.policy_digest();
    next.groups = vec![record.clone()];
    next.changes = word.into_iter().collect();
    next.statement().sign(&[&root()]).expect("signed")
}

#[test]
fn what_custodians_decide_about_a_group_is_believed_and_what_root_keys_invent_is_not() {
    let mut people = People::of(&["anna", "bob", "carla", "dora", "eve"]);
    let (_, _, file) = people.new_group(&THREE, 2);
    let fleet = founded(file.record());
    assert!(file.change().is_none(), "a new group was nobody's before");
    let advance = |fleet: &Fleet, file: &GroupFile| {
        assert!(fleet.clone().advance(policy(fleet, file.record(), None)).is_err(), "no word");
        let next = fleet.clone().advance(policy(fleet, file.record(), file.change()));
        next.expect("the custodians' word")
    };
    let id = Some(fleet.id());
    // A refresh, a repair in a new home, and a re-sharing by two who leave.
    let with = (&SimClock::new(NOW) as _, &mut SeededRng::new(7) as _);
    let cards = people.cards(&THREE);
    let it = open_refresh(people.home("anna"), file.record(), cards, id, "x", with);
    let (_, refreshed) = people.run(&THREE, &it.expect("opens"));
    let fleet = advance(&fleet, &refreshed);
    let stale = policy(&fleet, refreshed.record(), refreshed.change());
    assert!(fleet.clone().advance(stale).is_err(), "once, from the record of before");

    people.add("bob-again");
    let card = people.cards(&["bob-again"]).remove(0);
    let with = (&SimClock::new(NOW) as _, &mut SeededRng::new(8) as _);
    let (anna, helpers) = (people.home("anna"), people.cards(&["anna", "carla"]));
    let it = open_repair(anna, refreshed.record(), (2, card), helpers, id, "fire", with);
    let (_, repaired) = people.run(&["anna", "carla", "bob-again"], &it.expect("opens"));
    let fleet = advance(&fleet, &repaired);

    let names = ["dora", "anna", "eve"];
    let with = (&SimClock::new(NOW) as _, &mut SeededRng::new(9) as _);
    let (anna, cards) = (people.home("anna"), people.cards(&names));
    let it = open_reshare(anna, repaired.record(), (2, cards), vec![2, 3], id, "x", with);
    let it = it.expect("opens");
    let all = ["dora", "anna", "eve", "carla", "bob-again"];
    let (folder, reshared) = people.run(&all, &it);
    named(&folder, "5-release-3-carla");
    let fleet = advance(&fleet, &reshared);
    assert_eq!((fleet.version(), fleet.groups()[0].share_epoch), (4, 2));
    // Without those who leave, the group file is not made.
    let mut without = folder;
    without.retain(|name, _| !name.contains("5-release-3-carla"));
    let e = People::finish(&it, &without).expect_err("not complete").to_string();
    assert!(e.contains("waiting for carla (release)"), "{e}");
}

#[test]
fn nobody_deals_before_those_who_receive_have_seen_their_cards() {
    let mut people = People::of(&["anna", "bob", "carla", "dora", "mallory"]);
    let (_, _, file) = people.new_group(&THREE, 2);
    let old = file.record().clone();
    let names = ["anna", "carla", "dora"];
    let open = |people: &People, cards| {
        let with = (&SimClock::new(NOW) as _, &mut SeededRng::new(7) as _);
        open_reshare(people.home("anna"), &old, (2, cards), vec![1, 2], None, "x", with)
    };
    // Carla's and Dora's cards are exchanged for Mallory's recipient, by one who can sign even so.
    let mut cards = people.cards(&names);
    for (card, name) in cards.iter_mut().zip(names).skip(1) {
        card.recipient = people.cards(&["mallory"])[0].recipient.clone();
        *card = card.clone().sign(&people.home(name).signing().expect("a key"));
    }
    let it = open(&people, cards).expect("opens");
    let mut folder = Folder::new();
    for _ in 0..2 {
        for name in ["anna", "bob"] {
            let waiting = people.step(name, &it, &mut folder).expect("a step").waiting;
            assert_eq!(waiting.map(|w| w.step), Some(CeremonyStep::Commit));
        }
    }
    let e = people.step("carla", &it, &mut folder).expect_err("not her card").to_string();
    assert!(e.contains("another card in the name of carla"), "{e}");
    assert_eq!(folder.keys().map(String::as_str).collect::<Vec<_>>(), ["1-commit-1-anna.json"]);
    // An opening that claims the rules of before is not taken part in.
    let mut opening = it.opening.clone();
    opening.confirmed = false;
    let key = people.home("anna").signing().expect("a key");
    let opening = opening.statement().expect("sound").sign(&[&key]).expect("signed");
    let before = Ceremony::new(opening, it.cards.clone()).expect("it is read");
    for name in ["anna", "bob"] {
        let e = people.step(name, &before, &mut Folder::new()).expect_err("refused").to_string();
        assert!(e.contains("opened by an earlier version"), "{e}");
    }
    // As it should be.
    let it = open(&people, people.cards(&names)).expect("opens");
    let (folder, file) = people.run(&["anna", "bob", "carla", "dora"], &it);
    assert_eq!((folder.len(), file.record().share_epoch), (3 + 2 + 3, 1));
}

#[test]
fn no_fleet_card_takes_a_share_away() {
    let mut people = People::of(&THREE);
    let (_, _, file) = people.new_group(&THREE, 2);
    let old = file.record().clone();
    let fleet = founded(&old);
    let mut ask = |_: Ask, _: &str| Ok(Zeroizing::new(PASSPHRASE.to_vec()));
    people.home("anna").join(fleet.clone(), &mut ask, &mut SeededRng::new(3)).expect("joins");
    // A thief of the root key says that one custodian of its own has the whole group now.
    let mut stolen = old.clone();
    stolen.custodians.truncate(1);
    (stolen.threshold, stolen.custodians[0].share) = (1, stolen.key);
    stolen.custodians[0].signing_key = SigningKey::from_seed(&[66; 32]).public();
    for share_epoch in [1, u32::MAX] {
        let record = EscrowGroupRecord { share_epoch, ..stolen.clone() };
        let forged = vec![policy(&fleet, &record, None)];
        let forged = fleet.clone().advance_all(forged).expect("to one who knows only the id");
        let joined = people.home("anna").join(forged.clone(), &mut ask, &mut SeededRng::new(3));
        let e = joined.expect_err("she knows the group").to_string();
        assert!(e.contains("without the word of its custodians"), "{e}");
        assert_eq!(people.home("anna").shares().expect("readable").len(), 1, "nothing is lost");
    }
    // A share of the newer sharing that is not the recorded one replaces nothing.
    let with = (&SimClock::new(NOW) as _, &mut SeededRng::new(7) as _);
    let cards = people.cards(&THREE);
    let it = open_refresh(people.home("carla"), &old, cards, Some(fleet.id()), "x", with);
    let (_, refreshed) = people.run(&["anna", "carla", "bob"], &it.expect("opens"));
    let next = fleet.clone().advance(policy(&fleet, refreshed.record(), refreshed.change()));
    let next = next.expect("the custodians' word");
    let carla = people.home("carla");
    let good = carla.share(old.id, 1).expect("readable").expect("hers");
    let secret = carla.share(old.id, 0).expect("readable").expect("hers").open(PASSPHRASE);
    let wrong = ShareFile::seal(
        good.public().clone(),
        &secret.expect("opens"),
        PASSPHRASE,
        CHEAP,
        &mut SeededRng::new(4),
    );
    carla.keep_share(&wrong.expect("sealed")).expect("kept");
    let joined = carla.join(next.clone(), &mut ask, &mut SeededRng::new(3)).expect("joins");
    assert!(joined.deleted.is_empty() && carla.shares().expect("readable").len() == 2);
    carla.keep_share(&good).expect("kept");
    let joined = carla.join(next, &mut ask, &mut SeededRng::new(3)).expect("joins");
    assert_eq!((joined.deleted.len(), carla.shares().expect("readable").len()), (1, 1));
    // Bob has never seen this fleet, and is shown nothing but a forged card.
    let record = EscrowGroupRecord { share_epoch: 5, ..stolen };
    let forged = fleet.clone().advance_all(vec![policy(&fleet, &record, None)]).expect("read");
    let bob = people.home("bob");
    let joined = bob.join(forged, &mut ask, &mut SeededRng::new(3)).expect("joins");
    assert_eq!((joined.deleted.len(), joined.aside.len()), (0, 2));
    assert_eq!(bob.shares_aside().expect("listed"), joined.aside);
    for (aside, record) in joined.aside.iter().zip([&old, refreshed.record()]) {
        let bytes = std::fs::read(bob.path().join(aside)).expect("it is there");
        let kept = ShareFile::parse(&bytes).expect("a share").open(PASSPHRASE).expect("opens");
        assert!(group(record).holds(&kept.share), "as good as before");
    }
    // Points that do not fit are not kept.
    let mut unsound = old;
    unsound.custodians[0].share = unsound.custodians[1].share;
    let unsound = founded(&unsound);
    let e = people
        .home("carla")
        .join(unsound, &mut ask, &mut SeededRng::new(3))
        .expect_err("unsound")
        .to_string();
    assert!(e.contains("is unsound"), "{e}");
}

/// A fleet founded on one group whose next policy lists others as well, as their records stand or
/// as its root keys would have them: all of that is public.
fn covetous(own: &EscrowGroupRecord, others: &[EscrowGroupRecord]) -> [Fleet; 2] {
    let mut genesis = founded(own).genesis().clone();
    (genesis.fleet_name, genesis.nonce) = ("reef".to_owned(), Hex32([8; 32]));
    let statement = Statement::new(Fleet::subject(&genesis), genesis);
    let fleet = Fleet::open(statement.sign(&[&root()]).expect("signed")).expect("a fleet");
    let mut next = fleet.policy().clone();
    next.version += 1;
    next.previous = fleet.policy_digest();
    next.groups.extend(others.iter().cloned());
    let next = next.statement().sign(&[&root()]).expect("signed");
    [fleet.clone(), fleet.advance(next).expect("a new group is nobody's")]
}

#[test]
fn another_fleets_root_keys_take_no_share_and_stop_no_ceremony() {
    let mut people = People::of(&["anna", "bob", "carla", "dora", "eve", "frank"]);
    let (_, _, file) = people.new_group(&THREE, 2);
    let it = people.open_new_of(&THREE, 2, ("later", 2));
    let (_, unfounded) = people.run(&THREE, &it);
    let names = ["dora", "eve", "frank"];
    let it = people.open_new_of(&names, 2, ("reef", 3));
    let (_, theirs) = people.run(&names, &it);
    let record = file.record();
    let fleet = founded(record);
    let mut coveted = record.clone();
    (coveted.share_epoch, coveted.retired) = (1_000, true);
    for custodian in &mut coveted.custodians {
        let n = u8::try_from(custodian.index).expect("three of them");
        custodian.signing_key = SigningKey::from_seed(&[60 + n; 32]).public();
    }
    let other = covetous(theirs.record(), &[coveted, unfounded.record().clone()]);
    let mut ask = |_: Ask, _: &str| Ok(Zeroizing::new(PASSPHRASE.to_vec()));
    for card in [&fleet, &other[0], &other[1]] {
        for name in THREE {
            let joined = people.home(name).join(card.clone(), &mut ask, &mut SeededRng::new(3));
            let joined = joined.expect("joins");
            assert!(joined.aside.is_empty() && joined.deleted.is_empty(), "{joined:?}");
            assert_eq!(joined.bound.len(), usize::from(card.id() == fleet.id()), "{joined:?}");
        }
    }
    let of = |group| people.home("anna").share(group, 0).expect("readable").expect("hers");
    assert_eq!(of(record.id).public().fleet, fleet.id());
    assert_eq!(of(unfounded.record().id).public().fleet, FleetId([0; 32]), "nobody's yet");
    let again = people.home("anna").join(other[1].clone(), &mut ask, &mut SeededRng::new(3));
    assert_eq!(again.expect("joins").unbound.len(), 1, "it is said");
    // The ceremony is the fleet's that the share is of.
    let with = (&SimClock::new(NOW) as _, &mut SeededRng::new(7) as _);
    let (anna, cards) = (people.home("anna"), people.cards(&THREE));
    let it = open_refresh(anna, record, cards, Some(fleet.id()), "x", with).expect("opens");
    let (_, refreshed) = people.run(&THREE, &it);
    assert_eq!(refreshed.record().share_epoch, 1);
    // Named for the other fleet, it is none of it.
    let with = (&SimClock::new(NOW) as _, &mut SeededRng::new(7) as _);
    let (anna, cards) = (people.home("anna"), people.cards(&THREE));
    let it = open_refresh(anna, record, cards, Some(other[1].id()), "x", with);
    let e = it.and_then(|it| people.step("anna", &it, &mut Folder::new()).map(drop));
    let e = e.expect_err("another fleet's").to_string();
    assert!(e.contains("which the ceremony does not name"), "{e}");
}
