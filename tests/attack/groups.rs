//! Whoever would have it believed that an escrow group is in other hands: with stolen root keys,
//! with a ceremony's files, or with the cards of those who shall receive shares.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use seawall_base::{Sha256, Timestamp};
use seawall_escrow::ceremony::resharing::Resharing;
use seawall_escrow::{Group, OneTimePublic, Partial, ShareFile};
use seawall_host::OsRng;
use seawall_node::Home;
use seawall_record::{
    Approval, Base64, Ceremony, CeremonyKind, CeremonyMessage, CeremonyOpening, CeremonyResult,
    CeremonyStep, CustodianCard, EscrowGroupRecord, Fleet, FleetCard, GroupFile, Hex32,
    Participant, PolicyChain, SealedPart,
};
use seawall_sign::{Envelope, Signer, SigningKey};

use super::custodians::{Circle, THREE, json};
use super::stopped;
use crate::harness::{PASSPHRASE, arg, copy, run};

/// The thief's custodians.
fn thief(n: u8) -> SigningKey {
    SigningKey::from_seed(&[200 + n; 32])
}

/// A record of the same group in the thief's hands alone: points that fit, and nobody's share.
fn in_other_hands(record: &EscrowGroupRecord, share_epoch: u32) -> EscrowGroupRecord {
    let mut it = EscrowGroupRecord { threshold: 1, share_epoch, ..record.clone() };
    it.custodians.truncate(1);
    it.custodians[0].share = it.key;
    it.custodians[0].signing_key = thief(1).public();
    it
}

/// The next policy with this record, signed with the root keys of a home.
fn policy(home: &Path, record: EscrowGroupRecord) -> (Fleet, Envelope) {
    let home = Home::open(home).expect("a copy of the home");
    let (fleet, keys) = (home.fleet().expect("known"), home.root_keys().expect("stolen"));
    let mut next = fleet.policy().clone();
    next.version += 1;
    next.previous = fleet.policy_digest();
    next.groups = vec![record];
    let keys: Vec<_> = keys.iter().map(|k| k as &dyn Signer).collect();
    let envelope = next.statement().sign(&keys).expect("signed");
    (fleet, envelope)
}

fn written(path: PathBuf, bytes: &[u8]) -> PathBuf {
    std::fs::write(&path, bytes).expect("written");
    path
}

#[test]
fn a_stolen_root_key_says_that_others_hold_the_shares_now() {
    let (circle, id) = Circle::founded();
    let mut region = circle.fleet.region("region-a");
    circle.fleet.run(&["sync"]).ok();
    let stolen = circle.path("stolen");
    copy(&circle.fleet.home(), &stolen);
    for share_epoch in [1, u32::MAX] {
        let record =
            Home::open(&stolen).expect("a home").fleet().expect("known").groups()[0].clone();
        let (fleet, forged) = policy(&stolen, in_other_hands(&record, share_epoch));
        let shown = fleet.advance_all(vec![forged.clone()]).expect("to who knows only the id");
        // A node, a custodian, and a region by way of the thief's own home.
        let file = written(circle.path("forged.json"), &forged.to_json());
        let said = circle.fleet.run(&["fleet", "policy", "apply", arg(&file)]);
        stopped(&said.code(1).says(&["without the word of its custodians"]).stderr);
        let card = serde_json::to_vec(&FleetCard::new(&shown)).expect("JSON");
        let card = written(circle.path("forged-card.json"), &card);
        let said = circle.run("bob", &["custodian", "join", arg(&card), "--yes"]);
        stopped(&said.code(1).says(&["without the word of its custodians"]).stderr);
        written(stolen.join("fleet/policies.json"), &PolicyChain::of(&shown).to_json());
        let said = run(&stolen, &["sync"]).code(1).says(&["without the word of its custodians"]);
        stopped(&said.stderr);
        std::fs::remove_file(stolen.join("fleet/policies.json")).expect("removed");
    }
    // The fleet goes on: the node syncs, and two custodians open what was sealed.
    circle.fleet.run(&["sync"]).ok();
    let request = circle.fleet.request(&circle.fleet.home(), &id, "request.json");
    let (to, mut args) = (circle.path("restored"), vec!["restore", "run", arg(&request)]);
    let answers = ["bob", "carla"].map(|name| circle.answers(name, &request));
    args.extend(["--to", arg(&to)]);
    args.extend(answers.iter().flat_map(|a| ["--approval", arg(a)]));
    circle.fleet.run(&args).ok();
    region.stop();
}

#[test]
fn an_answer_from_another_share_epoch_beside_honest_ones() {
    let (circle, id) = Circle::founded();
    let request = circle.fleet.request(&circle.fleet.home(), &id, "request.json");
    let fleet = Home::open(&circle.fleet.home()).expect("a home").fleet().expect("known");
    let asked = std::fs::read(&request).expect("readable");
    let it = seawall_custodian::examine(&asked, &fleet).expect("an honest request");
    let file = std::fs::read(circle.share("anna")).expect("readable");
    let file = ShareFile::parse(&file).expect("her share");
    let secret = file.open(PASSPHRASE.as_bytes()).expect("opens");
    // The share is good and its proof holds; what it says of its sharing is not proven.
    let partial = Partial::make(&it.capsule, &secret.share, &it.group, 99, &mut OsRng);
    let partial = partial.expect("made").encode();
    let to = OneTimePublic::from_bytes(&it.dossier.request.one_time_key.0).expect("a key");
    let digest = it.dossier.request_digest;
    let sealed = to.seal(b"seawall 2026-11 sealed partial v1", &digest.0, &partial, &mut OsRng);
    let approval = Approval {
        fleet: fleet.id(),
        request: digest,
        manifest: it.dossier.manifest_digest,
        group: it.group.id(),
        custodian: file.public().index,
        share_epoch: 99,
        sealed_partial: Base64(sealed.expect("sealed")),
        created: it.dossier.request.created,
    };
    let key = SigningKey::from_seed(&secret.signing_seed);
    let approval = approval.statement().sign(&[&key]).expect("signed");
    let spoilt = written(circle.path("anna-says.json"), &approval.to_json());
    let honest = ["bob", "carla"].map(|name| circle.answers(name, &request));
    let to = circle.path("restored");
    let run = |answers: &[&PathBuf]| {
        let mut args = vec!["restore", "run", arg(&request), "--to", arg(&to)];
        args.extend(answers.iter().flat_map(|a| ["--approval", arg(a)]));
        circle.fleet.run(&args)
    };
    let said = run(&[&spoilt, &honest[0]]).code(1);
    stopped(&said.says(&["of anna claims share epoch 99", "ask 1 more"]).stderr);
    let said = run(&[&spoilt, &honest[0], &honest[1]]).ok();
    said.says(&["of anna claims share epoch 99"]);
    assert!(to.exists(), "restored without hers");
}

/// A card of the thief's.
fn card(n: u8) -> CustodianCard {
    let card = CustodianCard {
        format: CustodianCard::FORMAT.to_owned(),
        name: THREE[usize::from(n) - 1].to_owned(),
        operator: "an operator".to_owned(),
        signing_key: thief(n).public(),
        recipient: Base64(vec![n; 1_216]),
        kem: Base64(vec![n; 1_184]),
        witness: thief(10 + n).public(),
        transport: thief(20 + n).public(),
        address: None,
        signature: None,
    };
    card.sign(&thief(n))
}

/// The group file of a re-sharing that nobody took part in who has a share: its opening says that
/// the thief had the group before, under its true id and key.
fn forged_resharing(before: &EscrowGroupRecord, fleet: &Fleet) -> GroupFile {
    let cards: Vec<_> = (1..=3).map(card).collect();
    let participant = |(index, card): (u16, &CustodianCard)| Participant {
        index,
        name: card.name.clone(),
        signing_key: card.signing_key,
        card: card.digest(),
    };
    let opening = CeremonyOpening {
        suite: before.suite,
        kind: CeremonyKind::Reshare,
        fleet: Some(fleet.id()),
        class: before.class.clone(),
        class_number: before.class_number,
        threshold: 2,
        participants: (1..).zip(&cards).map(participant).collect(),
        previous: Some(in_other_hands(before, before.share_epoch)),
        dealers: vec![1],
        repaired: None,
        confirmed: true,
        reason: "once a year".to_owned(),
        created: Timestamp(1_795_132_800),
        nonce: Hex32([9; 32]),
    };
    let previous = opening.previous.clone().expect("invented");
    let opening = opening.statement().expect("sound").sign(&[&thief(1)]).expect("signed");
    let ceremony = Ceremony::new(opening, cards.clone()).expect("sound");
    // The constant is the group's key, as it must be; the other point is anybody's.
    let points = vec![before.key.0, before.custodians[1].share.0];
    let sealed = |to| SealedPart { to, sha256: Sha256([to as u8; 32]) };
    let dealing = CeremonyMessage {
        ceremony: ceremony.id(),
        step: CeremonyStep::Deal,
        from: 1,
        commitments: points.iter().map(|p| Hex32(*p)).collect(),
        proof: None,
        sealed: (1..=3).map(sealed).collect(),
        seen: Vec::new(),
    };
    let dealing = dealing.statement().sign(&[&thief(1)]).expect("signed");
    let group = Group::of_record(&previous).expect("points that fit");
    let resharing = Resharing {
        before: &group,
        dealers: &[1],
        threshold: 2,
        members: &[1, 2, 3],
        refresh: false,
    };
    let made = resharing.group(&BTreeMap::from([(1, points)])).expect("as anyone computes it");
    let shares = made.members().iter().map(|m| (m.index(), Hex32(m.verification_share())));
    let shares = shares.collect();
    let record = ceremony.opening.record(made.id(), Hex32(made.key()), &shares, &cards);
    let result = CeremonyResult {
        ceremony: ceremony.id(),
        record: record.expect("well formed"),
        transcript: vec![dealing.digest()],
        previous: Some(previous.digest()),
    };
    let keys: Vec<_> = (1..=3).map(thief).collect();
    let keys: Vec<_> = keys.iter().map(|k| k as &dyn Signer).collect();
    let result = result.statement().sign(&keys).expect("signed");
    GroupFile::new(ceremony, vec![dealing], result).expect("a file like any other")
}

#[test]
fn a_resharing_that_was_invented_by_one_who_has_no_share() {
    let (circle, _) = Circle::founded();
    let fleet = Home::open(&circle.fleet.home()).expect("a home").fleet().expect("known");
    let before = fleet.groups()[0].clone();
    let forged = forged_resharing(&before, &fleet);
    let file = written(circle.path("forged.group"), &forged.to_json());
    // By itself nothing is wrong with it: all statements fit one another.
    circle.run("anna", &["group", "record", arg(&file)]).ok();
    let next = circle.path("next.json");
    let propose = ["fleet", "policy", "propose", "--group", arg(&file), "--out", arg(&next)];
    let said = circle.fleet.run(&propose).code(1);
    stopped(&said.says(&["another record", "perhaps an invented one"]).stderr);
    assert!(!next.exists());
    // Nor does it found a fleet of people who hold nothing.
    let other = circle.path("other");
    let said = run(&other, &["init", "--group", arg(&file)]).code(1);
    stopped(&said.says(&["was made for fleet"]).stderr);
    // An operator whose program was changed signs it all the same, with the thieves' word.
    let home = Home::open(&circle.fleet.home()).expect("a home");
    let mut policy = fleet.policy().clone();
    policy.version += 1;
    policy.previous = fleet.policy_digest();
    policy.groups = vec![forged.record().clone()];
    policy.changes = forged.change().into_iter().collect();
    let keys = home.root_keys().expect("keys");
    let keys: Vec<_> = keys.iter().map(|k| k as &dyn Signer).collect();
    let signed = policy.statement().sign(&keys).expect("signed");
    let signed = written(next, &signed.to_json());
    let said = circle.fleet.run(&["fleet", "policy", "apply", arg(&signed)]).code(1);
    stopped(&said.says(&["is not changed by as many of its custodians as it takes"]).stderr);
}

#[test]
fn cards_that_were_exchanged_before_a_resharing() {
    let (circle, _) = Circle::founded();
    for name in ["dora", "mallory"] {
        circle.add(name);
    }
    let fleet = circle.fleet_card();
    // The carrier puts its own recipient's key into the cards of two who shall receive.
    let mallory = json(&circle.card("mallory"));
    let honest = ["carla", "dora"].map(|name| (circle.card(name), json(&circle.card(name))));
    let words = ["reshare", "--from", arg(&fleet), "--threshold", "2"];
    let words = [&words[..], &["--dealer", "anna", "--dealer", "bob"]].concat();
    let begin = |folder: &Path, names: &[&str]| {
        let mut args = vec!["group", words[0], arg(folder), "--reason", "an attack"];
        args.extend(&words[1..]);
        let cards: Vec<_> = names.iter().map(|name| circle.card(name)).collect();
        args.extend(cards.iter().flat_map(|card| ["--card", arg(card)]));
        circle.run("anna", &args)
    };
    let receive = ["anna", "carla", "dora"];
    for (path, card) in &honest {
        let mut swapped = card.clone();
        swapped["recipient"] = mallory["recipient"].clone();
        written(path.clone(), swapped.to_string().as_bytes());
    }
    let said = begin(&circle.path("swapped"), &receive).code(1);
    stopped(&said.says(&["its own key did not sign it"]).stderr);
    for (path, card) in &honest {
        let mut swapped = card.clone();
        swapped["recipient"] = mallory["recipient"].clone();
        swapped.as_object_mut().expect("a card").remove("signature");
        written(path.clone(), swapped.to_string().as_bytes());
    }
    let said = begin(&circle.path("unsigned"), &receive).code(1);
    stopped(&said.says(&["is not signed by its own key"]).stderr);
    // A whole card of its own in the name of one of them; the other's is as it was.
    for (path, card) in &honest {
        written(path.clone(), card.to_string().as_bytes());
    }
    circle
        .run("mallory-2", &["custodian", "init", "--name", "dora", "--out", arg(&honest[1].0)])
        .ok();
    let folder = circle.open("reshare", &words, &receive);
    for _ in 0..2 {
        for name in ["anna", "bob", "mallory-2"] {
            let said = circle.step(name, &folder).ok().json();
            assert!(name == "mallory-2" || said["waiting"]["step"] == "commit", "{said}");
            assert!(!said["taken"].as_array().expect("an array").contains(&"deal".into()));
        }
    }
    // Whoever is asked sees which cards are new, and that they are to be compared.
    let said = circle.run("carla", &["group", "step", arg(&folder)]).code(2);
    said.says(&["dora, card", "new to the group", "fingerprint of every card"]);
    stopped("the prompt: compare the fingerprint of every card with its owner, by voice");
    let dealt = std::fs::read_dir(&folder).expect("a folder").filter(|entry| {
        let name = entry.as_ref().expect("readable").file_name();
        name.to_string_lossy().contains("-deal-")
    });
    assert_eq!(dealt.count(), 0, "nobody has dealt to a card that nobody has confirmed");
}
