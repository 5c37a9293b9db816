//! Whole ceremonies between real homes, and everything a participant or a carrier can do wrong.

mod hands;

use std::collections::BTreeMap;

use seawall_base::{FleetId, NodeId, Sha256, Timestamp};
use seawall_custodian::ceremony::{
    self, Board, NewGroup, Progress, check_group_file, open_new, open_refresh, open_repair,
    open_reshare,
};
use seawall_custodian::{Ask, CustodianHome, CustodyError, kem_keys};
use seawall_escrow::{
    Capsule, CheckedCapsule, Demand, Group, KdfCost, LabelFields, OpenError, Partial, Recipients,
    SecretShare, VerifiedPartial, open,
};
use seawall_record::{
    Ceremony, CeremonyMessage, CeremonyStep, CustodianCard, EscrowGroupRecord, GroupFile,
    MessageFile,
};
use seawall_sign::{Envelope, Signer, Statement};
use seawall_sim::{SeededRng, SimClock};
use zeroize::Zeroizing;

const PASSPHRASE: &[u8] = b"correct horse";
/// The least Argon2 allows: these tests are not about its cost.
const CHEAP: KdfCost = KdfCost { m_kib: 8, t: 1, p: 1 };
const NOW: Timestamp = Timestamp(1_795_132_800);

/// Custodians, each with a home.
struct People {
    dir: tempfile::TempDir,
    homes: BTreeMap<&'static str, CustodianHome>,
    rng: SeededRng,
}

/// What lies in a ceremony's folder.
type Folder = BTreeMap<String, Vec<u8>>;

impl People {
    fn of(names: &[&'static str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut people = Self { dir, homes: BTreeMap::new(), rng: SeededRng::new(0) };
        for name in names {
            people.add(name);
        }
        people
    }

    fn add(&mut self, name: &'static str) {
        let path = self.dir.path().join(name);
        let home = CustodianHome::create(&path, name, name, &mut self.rng).expect("a home");
        self.homes.insert(name, home.with_cost(CHEAP));
    }

    fn home(&self, name: &str) -> &CustodianHome {
        &self.homes[name]
    }

    fn cards(&self, names: &[&str]) -> Vec<CustodianCard> {
        names.iter().map(|n| self.home(n).card(None).expect("a card")).collect()
    }

    fn open_new(&mut self, names: &[&str], threshold: u16) -> Ceremony {
        self.open_new_of(names, threshold, ("default", 1))
    }

    fn open_new_of(
        &mut self,
        names: &[&str],
        threshold: u16,
        (class, class_number): (&str, u8),
    ) -> Ceremony {
        let cards = self.cards(names);
        let group = NewGroup { class, class_number, threshold };
        let with = (&SimClock::new(NOW) as _, &mut SeededRng::new(99) as _);
        open_new(&self.homes[names[0]], group, cards, None, "a test", with).expect("opens")
    }

    /// One step of one person, with everything that lies in the folder.
    fn step(
        &mut self,
        name: &str,
        ceremony: &Ceremony,
        folder: &mut Folder,
    ) -> Result<Progress, CustodyError> {
        let files: Vec<_> = folder.iter().map(|(n, b)| (n.clone(), b.clone())).collect();
        let mut board = Board::read(ceremony, &files)?;
        let mut ask = |_: Ask, _: &str| Ok(Zeroizing::new(PASSPHRASE.to_vec()));
        let home = &self.homes[name];
        let progress = ceremony::take_step(home, ceremony, &mut board, &mut ask, &mut self.rng)?;
        for file in &progress.files {
            folder.insert(file.name.clone(), file.bytes.clone());
        }
        Ok(progress)
    }

    /// Everybody commits before anybody sees the others.
    fn committed(&mut self, names: &[&str], ceremony: &Ceremony) -> Folder {
        let mut all = Folder::new();
        for name in names {
            let mut own = Folder::new();
            self.step(name, ceremony, &mut own).expect("commits");
            all.append(&mut own);
        }
        all
    }

    /// Everybody steps until the ceremony is complete; returns its folder and group file.
    fn run(&mut self, names: &[&str], ceremony: &Ceremony) -> (Folder, GroupFile) {
        let mut folder = Folder::new();
        for _ in 0..4 {
            for name in names {
                self.step(name, ceremony, &mut folder).expect("a step");
            }
        }
        let file = Self::finish(ceremony, &folder).expect("finishes");
        (folder, file)
    }

    fn finish(ceremony: &Ceremony, folder: &Folder) -> Result<GroupFile, CustodyError> {
        let files: Vec<_> = folder.iter().map(|(n, b)| (n.clone(), b.clone())).collect();
        let file = ceremony::finish(ceremony, &Board::read(ceremony, &files)?)?;
        let (again, _) = check_group_file(&file.to_json())?;
        assert_eq!(again.record(), file.record());
        Ok(file)
    }

    fn share(&self, name: &str, record: &EscrowGroupRecord) -> SecretShare {
        let file = self.home(name).share(record.id, record.share_epoch).expect("readable");
        file.expect("a share").open(PASSPHRASE).expect("opens").share.clone()
    }

    fn new_group(&mut self, names: &[&str], threshold: u16) -> (Ceremony, Folder, GroupFile) {
        let ceremony = self.open_new(names, threshold);
        let (folder, file) = self.run(names, &ceremony);
        (ceremony, folder, file)
    }
}

fn group(record: &EscrowGroupRecord) -> Group {
    Group::of_record(record).expect("a sound group")
}

fn fields(group: &Group) -> LabelFields {
    LabelFields {
        fleet: FleetId([1; 32]),
        group: group.id(),
        node: NodeId([2; 32]),
        origin: "fleet/node/1".to_owned(),
        sequence: 1,
        manifest_core: Sha256([5; 32]),
    }
}

fn capsule(group: &Group) -> CheckedCapsule {
    let fields = fields(group);
    Capsule::seal(group, &fields, None, b"a root reference", &mut SeededRng::new(7))
        .and_then(|c| c.check(group, &fields, &Demand::classical()))
        .expect("sealed to this group")
}

/// Opens a capsule with these shares, each taken for what `record` says it is.
fn opens(capsule: &CheckedCapsule, record: &EscrowGroupRecord, shares: &[SecretShare]) -> bool {
    let group = group(record);
    let partials: Result<Vec<_>, _> = shares
        .iter()
        .map(|share| {
            Partial::make(capsule, share, &group, record.share_epoch, &mut SeededRng::new(8))
                .and_then(|p| p.verify(capsule, &group))
        })
        .collect();
    let Ok(partials) = partials else { return false };
    match open(capsule, &group, &[], &partials) {
        Ok(opened) => {
            assert_eq!(opened.payload(), b"a root reference");
            true
        }
        Err(OpenError::NotEnough { .. }) => false,
        Err(e) => panic!("{e}"),
    }
}

fn culprit<T>(result: Result<T, CustodyError>) -> (String, String) {
    match result.err().expect("refused") {
        CustodyError::Culprit { name, why, .. } => (name, why),
        e => panic!("{e}"),
    }
}

/// A statement with its payload changed, signed anew by whoever's home is given.
fn resigned(
    home: &CustodianHome,
    bytes: &[u8],
    change: impl FnOnce(&mut CeremonyMessage),
) -> Vec<u8> {
    let mut file = MessageFile::parse(bytes).expect("a statement");
    let mut message = Statement::<CeremonyMessage>::read_unverified(&file.message)
        .expect("a statement")
        .predicate;
    change(&mut message);
    let key = home.signing().expect("a key");
    file.message = message.statement().sign(&[&key]).expect("signed");
    file.to_json()
}

fn named<'a>(folder: &'a Folder, part: &str) -> (&'a String, &'a Vec<u8>) {
    folder.iter().find(|(name, _)| name.contains(part)).expect("such a file")
}

const THREE: [&str; 3] = ["anna", "bob", "carla"];

#[test]
fn three_machines_make_a_group_of_which_any_two_open() {
    let mut people = People::of(&THREE);
    let (ceremony, folder, file) = people.new_group(&THREE, 2);
    assert_eq!(folder.len(), 9, "three statements of three people");
    let record = file.record();
    assert_eq!(
        (record.ceremony.as_str(), record.share_epoch, record.threshold),
        ("distributed", 0, 2)
    );
    let capsule = capsule(&group(record));
    let shares: Vec<_> = THREE.iter().map(|n| people.share(n, record)).collect();
    for pair in [[0, 1], [0, 2], [1, 2]] {
        assert!(opens(&capsule, record, &pair.map(|i| shares[i].clone())));
    }
    assert!(shares.iter().all(|s| !opens(&capsule, record, std::slice::from_ref(s))));
    // Nothing is left of what only the ceremony needed, and running on changes nothing.
    for name in THREE {
        let dir = people.home(name).path().join("ceremonies").join(ceremony.id().to_hex());
        let left: Vec<_> = std::fs::read_dir(dir)
            .expect("kept")
            .map(|e| e.expect("readable").file_name().into_string().expect("ASCII"))
            .collect();
        assert!(left.iter().all(|n| !n.contains("secret")), "{left:?}");
        let mut again = folder.clone();
        let progress = people.step(name, &ceremony, &mut again).expect("nothing to do");
        assert!(progress.taken.is_empty() && progress.waiting.is_none());
        assert_eq!(again, folder);
        // Lost on the way, a statement is written again as it was.
        again.retain(|n, _| !n.contains(name));
        people.step(name, &ceremony, &mut again).expect("writes them again");
        assert_eq!(again, folder);
    }
}

#[test]
fn a_step_that_was_interrupted_anywhere_ends_the_same() {
    let mut people = People::of(&THREE);
    let ceremony = people.open_new(&THREE, 2);
    let mut folder = people.committed(&THREE, &ceremony);
    // The deal was made but the folder never got it; then the home loses what it said about it.
    let dir = people.home("anna").path().join("ceremonies").join(ceremony.id().to_hex());
    let before = folder.clone();
    people.step("anna", &ceremony, &mut folder).expect("deals");
    let dealt = named(&folder, "2-deal-1").1.clone();
    let mut again = before.clone();
    people.step("anna", &ceremony, &mut again).expect("says the same");
    assert_eq!(named(&again, "2-deal-1").1, &dealt);
    std::fs::remove_file(dir.join("deal.json")).expect("lost");
    let mut again = before;
    people.step("anna", &ceremony, &mut again).expect("deals from the same secret");
    for _ in 0..3 {
        for name in THREE {
            people.step(name, &ceremony, &mut again).expect("a step");
        }
    }
    let file = People::finish(&ceremony, &again).expect("finishes");
    // Killed between share and statement: the share that is there is the one.
    let accepted = named(&again, "accept-2").1.clone();
    let dir = people.home("bob").path().join("ceremonies").join(ceremony.id().to_hex());
    assert!(dir.join("accept.json").is_file());
    assert_eq!(people.share("bob", file.record()).index(), 2);
    let mut lost = again.clone();
    lost.retain(|n, _| !n.contains("accept-2"));
    people.step("bob", &ceremony, &mut lost).expect("says it again");
    assert_eq!(named(&lost, "accept-2").1, &accepted);
}

#[test]
fn whoever_tells_two_people_two_things_is_named() {
    let mut people = People::of(&THREE);
    let ceremony = people.open_new(&THREE, 2);
    let mut folder = people.committed(&THREE, &ceremony);
    // Bob, with a second copy of his keys, commits to another polynomial, for Carla's eyes only.
    let (name, bytes) = named(&folder, "1-commit-2");
    let (name, other) = (name.clone(), {
        let mut shadow = People::of(&THREE);
        shadow.rng = SeededRng::new(500);
        let theirs = shadow.open_new(&THREE, 2);
        let mut folder = Folder::new();
        shadow.step("bob", &theirs, &mut folder).expect("commits");
        let file = MessageFile::parse(named(&folder, "1-commit-2").1).expect("a statement");
        let message = Statement::<CeremonyMessage>::read_unverified(&file.message)
            .expect("a statement")
            .predicate;
        resigned(people.home("bob"), bytes, |m| {
            m.commitments = message.commitments;
            m.proof = message.proof;
        })
    });
    let mut for_carla = folder.clone();
    for_carla.insert(name, other);
    people.step("anna", &ceremony, &mut folder).expect("deals by what she saw");
    people.step("carla", &ceremony, &mut for_carla).expect("deals by what she saw");
    // The folders meet: each of the two carries what its author saw.
    for (n, bytes) in for_carla.iter().filter(|(n, _)| n.contains("carla")) {
        folder.insert(n.clone(), bytes.clone());
    }
    for name in ["anna", "carla"] {
        let (liar, why) = culprit(people.step(name, &ceremony, &mut folder.clone()));
        assert_eq!(liar, "bob");
        assert!(why.contains("two different things") && why.contains("2-deal-3-carla"), "{why}");
    }
    for name in THREE {
        assert!(people.home(name).shares().expect("readable").is_empty(), "nobody got a share");
    }
}

#[test]
fn wrong_shares_forged_and_replayed_statements_are_refused() {
    let mut people = People::of(&THREE);
    let ceremony = people.open_new(&THREE, 2);
    let mut folder = people.committed(&THREE, &ceremony);
    let (committed, _) = named(&folder, "1-commit-2");
    let committed = committed.clone();
    // Without Bob, everyone waits and says so.
    let mut without = folder.clone();
    without.remove(&committed);
    let waiting = people.step("anna", &ceremony, &mut without).expect("waits").waiting;
    let waiting = waiting.expect("for bob");
    assert_eq!(
        (waiting.step, waiting.names.as_slice()),
        (CeremonyStep::Commit, &["bob".to_owned()][..])
    );

    // Bob's statement of another ceremony of the same people.
    let other = {
        let cards = people.cards(&THREE);
        let group = NewGroup { class: "default", class_number: 1, threshold: 2 };
        let with = (&SimClock::new(NOW) as _, &mut SeededRng::new(7) as _);
        open_new(people.home("bob"), group, cards, None, "another", with).expect("opens")
    };
    let mut elsewhere = Folder::new();
    people.step("bob", &other, &mut elsewhere).expect("commits there");
    let mut replayed = folder.clone();
    replayed.insert(committed.clone(), named(&elsewhere, "1-commit-2").1.clone());
    let e = people.step("anna", &ceremony, &mut replayed).expect_err("refused").to_string();
    assert!(e.contains("belongs to another ceremony") && e.contains(&committed), "{e}");

    // A stranger speaks as Bob, Carla speaks as Bob.
    for stranger in ["anna", "carla"] {
        let mut forged = folder.clone();
        let bytes = resigned(people.home(stranger), &folder[&committed], |_| ());
        forged.insert(committed.clone(), bytes);
        let e = people.step("anna", &ceremony, &mut forged).expect_err("refused").to_string();
        assert!(e.contains("said to be by bob"), "{e}");
    }
    // A fourth person, and one that takes no part.
    people.add("mallory");
    let mut more = folder.clone();
    let bytes = resigned(people.home("mallory"), &folder[&committed], |m| m.from = 4);
    more.insert("1-commit-4-mallory.json".to_owned(), bytes);
    let e = people.step("anna", &ceremony, &mut more).expect_err("refused").to_string();
    assert!(e.contains("has nothing to commit"), "{e}");
    let e = people.step("mallory", &ceremony, &mut folder.clone()).expect_err("refused");
    assert!(e.to_string().contains("takes no part"), "{e}");

    // Bob deals Anna's share to Carla and the other way round.
    for name in THREE {
        people.step(name, &ceremony, &mut folder).expect("deals, and accepts if all have");
    }
    let (dealt, bytes) = named(&folder, "2-deal-2");
    let (dealt, bytes) = (dealt.clone(), bytes.clone());
    let mut swapped = folder.clone();
    let mut file = MessageFile::parse(&bytes).expect("a statement");
    file.sealed.swap(0, 1);
    swapped.insert(dealt.clone(), file.to_json());
    swapped.retain(|n, _| !n.contains("accept"));
    let e = people.step("anna", &ceremony, &mut swapped.clone()).expect_err("refused");
    assert!(e.to_string().contains("not what its author signed"), "{e}");
    let by_bob = resigned(people.home("bob"), &file.to_json(), |m| {
        let (a, b) = (m.sealed[0].sha256, m.sealed[1].sha256);
        (m.sealed[0].sha256, m.sealed[1].sha256) = (b, a);
    });
    swapped.insert(dealt, by_bob);
    let (liar, why) = culprit(people.step("anna", &ceremony, &mut swapped));
    assert_eq!(liar, "bob");
    assert!(why.contains("does not open"), "{why}");
}

#[test]
fn a_card_that_was_changed_on_the_way_is_noticed_by_its_owner() {
    let mut people = People::of(&THREE);
    people.add("mallory");
    let mut cards = people.cards(&THREE);
    // The carrier puts its own recipient key into Bob's card.
    cards[1].recipient = people.cards(&["mallory"])[0].recipient.clone();
    let group = NewGroup { class: "default", class_number: 1, threshold: 2 };
    let open = |cards: &[CustodianCard]| {
        let with = (&SimClock::new(NOW) as _, &mut SeededRng::new(7) as _);
        open_new(people.home("anna"), group, cards.to_vec(), None, "x", with)
    };
    let e = open(&cards).expect_err("Bob did not sign it").to_string();
    assert!(e.contains("the cards are not the ones it names"), "{e}");
    cards[1].signature = None;
    let e = open(&cards).expect_err("nobody signed it").to_string();
    assert!(e.contains("the card of bob is not signed by its own key"), "{e}");
    // Nor does it help to have stolen his signing key.
    cards[1] = cards[1].clone().sign(&people.home("bob").signing().expect("a key"));
    let ceremony = open(&cards).expect("opens");
    people.step("anna", &ceremony, &mut Folder::new()).expect("her own card is hers");
    let e = people.step("bob", &ceremony, &mut Folder::new()).expect_err("refused").to_string();
    assert!(e.contains("another card in the name of bob"), "{e}");
}

#[test]
fn impossible_groups_are_not_opened() {
    let mut people = People::of(&THREE);
    let cards = people.cards(&THREE);
    let mut open = |threshold, cards: &[CustodianCard]| {
        let group = NewGroup { class: "default", class_number: 1, threshold };
        let with = (&SimClock::new(NOW) as _, &mut people.rng as _);
        open_new(&people.homes["anna"], group, cards.to_vec(), None, "x", with)
            .err()
            .map(|e| e.to_string())
    };
    assert!(open(1, &cards).expect("refused").contains("every share is the group's secret"));
    assert!(open(4, &cards).is_some() && open(2, &cards[..1]).is_some());
    assert!(open(2, &[cards[0].clone(), cards[0].clone()]).is_some(), "one person twice");
    assert_eq!(open(3, &cards), None);
}

/// All sets of positions below `n`.
fn subsets(n: usize) -> impl Iterator<Item = Vec<usize>> {
    (0..1_u32 << n).map(move |bits| (0..n).filter(|i| bits & (1 << i) != 0).collect())
}

/// No mixture of fewer than a quorum of old shares with fewer than a quorum of new ones opens.
fn nothing_mixes(
    capsule: &CheckedCapsule,
    (old, olds): (&EscrowGroupRecord, &[SecretShare]),
    (new, news): (&EscrowGroupRecord, &[SecretShare]),
) {
    for a in subsets(olds.len()).filter(|a| a.len() < usize::from(old.threshold)) {
        for b in subsets(news.len()).filter(|b| b.len() < usize::from(new.threshold)) {
            let shares = || a.iter().map(|i| &olds[*i]).chain(b.iter().map(|i| &news[*i])).cloned();
            for record in [old, new] {
                // Each share alone is answered for under its own sharing only.
                assert!(!opens(capsule, record, &shares().collect::<Vec<_>>()), "{a:?} {b:?}");
            }
            // And without anybody asking whose they are, in the exponent: the group's own rule.
            let points: Vec<_> = shares().map(|s| (s.index(), s.verification_share())).collect();
            let distinct: BTreeMap<_, _> = points.iter().copied().collect();
            let k = distinct.len() as u16;
            if k > 0 {
                let members: Vec<_> = distinct.into_iter().collect();
                let made = Group::new(&new.class, k, new.key.0, members);
                assert!(made.is_err(), "{a:?} old and {b:?} new lead to the key");
            }
        }
    }
}

#[test]
fn a_refresh_makes_old_shares_worthless_and_keeps_capsules_readable() {
    let mut people = People::of(&THREE);
    let (_, _, file) = people.new_group(&THREE, 2);
    let old = file.record().clone();
    let capsule = capsule(&group(&old));
    let before: Vec<_> = THREE.iter().map(|n| people.share(n, &old)).collect();
    let cards = people.cards(&THREE);
    let with = (&SimClock::new(NOW) as _, &mut SeededRng::new(7) as _);
    let ceremony =
        open_refresh(people.home("carla"), &old, cards, None, "yearly", with).expect("opens");
    let (folder, file) = people.run(&THREE, &ceremony);
    assert_eq!(folder.len(), 6, "two statements of three people");
    let new = file.record();
    assert_eq!((new.id, new.key, new.share_epoch), (old.id, old.key, 1));
    let after: Vec<_> = THREE.iter().map(|n| people.share(n, new)).collect();
    for pair in [[0, 1], [0, 2], [1, 2]] {
        assert!(
            opens(&capsule, new, &pair.map(|i| after[i].clone())),
            "an old capsule, new shares"
        );
    }
    nothing_mixes(&capsule, (&old, &before), (new, &after));
    // A second ceremony from the old record is noticed by whoever took part in the first.
    let cards = people.cards(&THREE);
    let with = (&SimClock::new(NOW) as _, &mut SeededRng::new(9) as _);
    let again = open_refresh(people.home("bob"), &old, cards, None, "x", with).expect("opens");
    let e = people.step("anna", &again, &mut Folder::new()).expect_err("refused").to_string();
    assert!(e.contains("it is an old one"), "{e}");
}

#[test]
fn a_refresh_that_came_to_nothing_is_given_up_and_another_one_works() {
    let mut people = People::of(&THREE);
    let (ceremony, _, file) = people.new_group(&THREE, 2);
    let old = file.record().clone();
    let begin = |people: &mut People, seed| {
        let cards = people.cards(&THREE);
        let with = (&SimClock::new(NOW) as _, &mut SeededRng::new(seed) as _);
        open_refresh(people.home("carla"), &old, cards, None, "yearly", with).expect("opens")
    };
    // Everyone deals, but only Carla accepts before the folder is lost.
    let first = begin(&mut people, 7);
    let mut folder = people.committed(&THREE, &first);
    people.step("carla", &first, &mut folder).expect("accepts");
    let second = begin(&mut people, 8);
    let e = people.step("carla", &second, &mut Folder::new()).expect_err("refused").to_string();
    let number = first.fingerprint().replace(' ', "");
    assert!(e.contains(&format!("seawall group abandon {number}")), "{e}");
    let given_up = ceremony::abandon(people.home("carla"), &first.fingerprint()).expect("given up");
    assert!(given_up.share.is_some_and(|s| s.ends_with(".abandoned")));
    assert!(people.step("carla", &first, &mut folder).is_err(), "it stays given up");
    let (_, file) = people.run(&THREE, &second);
    assert_eq!(file.record().share_epoch, 1);
    let capsule = capsule(&group(&old));
    let shares = ["anna", "carla"].map(|n| people.share(n, file.record()));
    assert!(opens(&capsule, file.record(), &shares));
    for number in ["", "zz", &ceremony.fingerprint()[..0]] {
        assert!(ceremony::abandon(people.home("anna"), number).is_err());
    }
}

#[test]
fn a_group_goes_to_other_people_and_another_threshold() {
    let mut people = People::of(&["anna", "bob", "carla", "dora", "eve"]);
    let (_, _, file) = people.new_group(&THREE, 2);
    let old = file.record().clone();
    let capsule = capsule(&group(&old));
    let before: Vec<_> = THREE.iter().map(|n| people.share(n, &old)).collect();
    // Carla leaves, Dora and Eve come; three of four from now on. Anna gets another index.
    let names = ["dora", "anna", "eve", "bob"];
    let cards = people.cards(&names);
    let with = (&SimClock::new(NOW) as _, &mut SeededRng::new(7) as _);
    let ceremony = open_reshare(people.home("anna"), &old, (3, cards), vec![3, 1], None, "x", with)
        .expect("opens");
    let (_, file) = people.run(&["anna", "carla", "dora", "eve", "bob"], &ceremony);
    let new = file.record();
    assert_eq!((new.id, new.key, new.share_epoch, new.threshold), (old.id, old.key, 1, 3));
    assert_eq!(new.custodians.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), names);
    let after: Vec<_> = names.iter().map(|n| people.share(n, new)).collect();
    for quorum in subsets(4).filter(|s| s.len() == 3) {
        let quorum: Vec<_> = quorum.iter().map(|i| after[*i].clone()).collect();
        assert!(opens(&capsule, new, &quorum), "an old capsule, new people");
    }
    nothing_mixes(&capsule, (&old, &before), (new, &after));
    assert!(people.home("carla").share(new.id, 1).expect("readable").is_none());
}

#[test]
fn a_lost_share_is_given_again_to_a_new_home() {
    let mut people = People::of(&THREE);
    let (_, _, file) = people.new_group(&THREE, 2);
    let old = file.record().clone();
    let lost = people.share("bob", &old);
    // Bob's machine burns; his new home has new keys.
    std::fs::remove_dir_all(people.home("bob").path()).expect("burnt");
    people.add("bob");
    let card = people.cards(&["bob"]).remove(0);
    let helpers = people.cards(&["carla", "anna"]);
    let with = (&SimClock::new(NOW) as _, &mut SeededRng::new(7) as _);
    let ceremony =
        open_repair(people.home("anna"), &old, (2, card.clone()), helpers, None, "fire", with)
            .expect("opens");
    let (_, file) = people.run(&THREE, &ceremony);
    let new = file.record();
    assert_eq!((new.id, new.key, new.share_epoch), (old.id, old.key, 0));
    assert_eq!(new.custodian(2).expect("bob").signing_key, card.signing_key);
    assert_eq!((new.custodian(1), new.custodian(3)), (old.custodian(1), old.custodian(3)));
    assert_eq!(*people.share("bob", new).to_bytes(), *lost.to_bytes(), "to the bit");
}

/// A capsule of suite 2 for the custodians of `record`.
fn quantum(record: &EscrowGroupRecord) -> CheckedCapsule {
    let (group, to) = (group(record), Recipients::of_record(record).expect("keys"));
    let fields = fields(&group);
    let capsule =
        Capsule::seal(&group, &fields, to.as_ref(), b"a root reference", &mut SeededRng::new(7));
    let demand = Demand::post_quantum(vec![to.expect("a post-quantum group")], false);
    capsule.and_then(|c| c.check(&group, &fields, &demand)).expect("sealed to this group")
}

impl People {
    /// What a custodian answers, under the group as `record` has it.
    fn answer(
        &self,
        name: &str,
        record: &EscrowGroupRecord,
        capsule: &CheckedCapsule,
    ) -> VerifiedPartial {
        let home = self.home(name);
        let file = home.share(record.id, record.share_epoch).expect("readable").expect("a share");
        let secret = file.open(PASSPHRASE).expect("opens");
        let own = capsule.open_own_share(&kem_keys(&secret, Some(home)).expect("a key"));
        let alone = capsule.open_own_share(&kem_keys(&secret, None).expect("a key"));
        assert_eq!(own.is_some(), alone.is_some(), "the share file does without the home");
        let group = group(record);
        Partial::make(capsule, &secret.share, &group, record.share_epoch, &mut SeededRng::new(8))
            .expect("answers")
            .with_shares(own.into_iter().collect())
            .verify(capsule, &group)
            .expect("verifies")
    }

    fn open_with(
        &self,
        names: [&str; 2],
        record: &EscrowGroupRecord,
        capsule: &CheckedCapsule,
    ) -> Result<(), OpenError> {
        let partials = names.map(|name| self.answer(name, record, capsule));
        let opened = open(capsule, &group(record), &[], &partials)?;
        assert_eq!(opened.payload(), b"a root reference");
        assert!(opened.misdealt().is_empty());
        Ok(())
    }
}

#[test]
fn a_group_between_machines_is_post_quantum_from_the_start_and_stays_so() {
    let mut people = People::of(&["anna", "bob", "carla", "dora"]);
    let (_, _, file) = people.new_group(&THREE, 2);
    let first = file.record().clone();
    assert_eq!((first.suite, first.ceremony.as_str()), (Some(2), "distributed"));
    let capsule = quantum(&first);
    for pair in [["anna", "bob"], ["bob", "carla"], ["anna", "carla"]] {
        assert_eq!(people.open_with(pair, &first, &capsule), Ok(()));
    }
    // A refresh: the same people, the same keys.
    let with = (&SimClock::new(NOW) as _, &mut SeededRng::new(7) as _);
    let cards = people.cards(&THREE);
    let refresh = open_refresh(people.home("anna"), &first, cards, None, "x", with).expect("opens");
    let refreshed = people.run(&THREE, &refresh).1.record().clone();
    assert_eq!(Recipients::of_record(&refreshed), Recipients::of_record(&first));
    assert_eq!(people.open_with(["carla", "bob"], &refreshed, &capsule), Ok(()));
    // A repair: whoever lost its home gets its share again, under a key of its new home.
    std::fs::remove_dir_all(people.home("bob").path()).expect("burnt");
    people.add("bob");
    let card = people.cards(&["bob"]).remove(0);
    let helpers = people.cards(&["anna", "carla"]);
    let with = (&SimClock::new(NOW) as _, &mut SeededRng::new(9) as _);
    let repair =
        open_repair(people.home("anna"), &refreshed, (2, card.clone()), helpers, None, "x", with)
            .expect("opens");
    let repaired = people.run(&THREE, &repair).1.record().clone();
    assert_eq!(repaired.suite, Some(2));
    assert_eq!(repaired.custodian(2).and_then(|c| c.kem.clone()), Some(card.kem));
    assert_eq!(people.open_with(["anna", "bob"], &repaired, &quantum(&repaired)), Ok(()));
    // Its shares of what was sealed before are gone with the old home; the others have theirs.
    assert_eq!(people.open_with(["anna", "carla"], &repaired, &capsule), Ok(()));
    let lost = people.open_with(["anna", "bob"], &repaired, &capsule).expect_err("one share short");
    assert!(matches!(lost, OpenError::NotEnoughShares { have: 1, need: 2, .. }), "{lost}");
    // A re-sharing gives those who stay another index, not another key.
    let names = ["dora", "carla", "anna"];
    let cards = people.cards(&names);
    assert!(ceremony::check_stay(&repaired, &cards).is_ok());
    let e = ceremony::check_stay(&repaired, &cards[..2]).expect_err("one of them stays");
    assert!(e.to_string().contains("1 would stay, and it takes 2"), "{e}");
    let with = (&SimClock::new(NOW) as _, &mut SeededRng::new(11) as _);
    let reshare =
        open_reshare(people.home("anna"), &repaired, (2, cards), vec![1, 2], None, "x", with)
            .expect("opens");
    let reshared = people.run(&["anna", "bob", "dora", "carla"], &reshare).1.record().clone();
    assert_eq!(people.open_with(["anna", "carla"], &reshared, &capsule), Ok(()));
    assert_eq!(people.open_with(["dora", "carla"], &reshared, &quantum(&reshared)), Ok(()));
}

#[test]
fn a_group_from_before_stays_as_it_is_until_a_refresh_raises_it() {
    let mut people = People::of(&THREE);
    let today = people.open_new(&THREE, 2);
    let mut opening = today.opening.clone();
    opening.suite = None;
    let key = people.home("anna").signing().expect("a key");
    let signed = opening.statement().expect("sound").sign(&[&key]).expect("signed");
    let before = Ceremony::new(signed, today.cards).expect("sound");
    let old = people.run(&THREE, &before).1.record().clone();
    assert!(old.suite.is_none() && old.custodians.iter().all(|c| c.kem.is_some()));
    assert_eq!(Recipients::of_record(&old), Ok(None), "its capsules have no such half");
    assert!(!serde_json::to_string(&old).expect("JSON").contains("suite"));
    // A repair leaves the others' entries alone, and so the suite.
    let (card, helpers) = (people.cards(&["bob"]).remove(0), people.cards(&["anna", "carla"]));
    let with = (&SimClock::new(NOW) as _, &mut SeededRng::new(9) as _);
    let repair = open_repair(people.home("anna"), &old, (2, card), helpers, None, "x", with);
    assert_eq!(repair.expect("opens").opening.suite, None);
    let with = (&SimClock::new(NOW) as _, &mut SeededRng::new(7) as _);
    let cards = people.cards(&THREE);
    let refresh = open_refresh(people.home("anna"), &old, cards, None, "x", with).expect("opens");
    let new = people.run(&THREE, &refresh).1.record().clone();
    assert_eq!(people.open_with(["anna", "bob"], &new, &quantum(&new)), Ok(()));
    // What was sealed before the refresh opens as ever.
    let shares = ["anna", "carla"].map(|n| people.share(n, &new));
    assert!(opens(&capsule(&group(&old)), &new, &shares));
}

#[test]
fn a_swapped_group_is_refused_whoever_signs_it() {
    let mut people = People::of(&THREE);
    let (_, _, file) = people.new_group(&THREE, 2);
    let (_, _, other) = people.new_group(&["bob", "anna", "carla"], 2);
    let mut json: serde_json::Value = serde_json::from_slice(&file.to_json()).expect("JSON");
    let theirs: serde_json::Value = serde_json::from_slice(&other.to_json()).expect("JSON");
    json["result"] = theirs["result"].clone();
    let e = check_group_file(json.to_string().as_bytes()).expect_err("refused").to_string();
    assert!(e.contains("another ceremony"), "{e}");
    // All three are bribed to sign another key under the ceremony's number.
    let result: Envelope = Envelope::parse(
        serde_json::from_slice::<serde_json::Value>(&file.to_json()).expect("JSON")["result"]
            .to_string()
            .as_bytes(),
    )
    .expect("an envelope");
    let mut claimed =
        Statement::<seawall_record::CeremonyResult>::read_unverified(&result).expect("read");
    claimed.predicate.record = EscrowGroupRecord {
        custodians: file
            .record()
            .custodians
            .iter()
            .zip(["bob", "anna", "carla"])
            .map(|(c, _)| seawall_record::CustodianRecord {
                share: other.record().custodian(c.index).expect("three").share,
                ..c.clone()
            })
            .collect(),
        ..other.record().clone()
    };
    let keys: Vec<_> = THREE.iter().map(|n| people.home(n).signing().expect("a key")).collect();
    let signed =
        claimed.sign(&keys.iter().map(|k| k as &dyn Signer).collect::<Vec<_>>()).expect("signed");
    json["result"] = serde_json::from_slice(&signed.to_json()).expect("JSON");
    let e = check_group_file(json.to_string().as_bytes()).expect_err("refused").to_string();
    assert!(e.contains("it was swapped"), "{e}");
}
