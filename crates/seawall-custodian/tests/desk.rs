//! The desk at which a custodian cosigns: whom it knows, what it remembers, whom it turns away.

use std::sync::Arc;

use seawall_base::{GroupId, Seconds, Sha256, Timestamp};
use seawall_custodian::{DeskError, WitnessDesk};
use seawall_record::{
    Base64, CustodianRecord, Enrolment, EscrowGroupRecord, Fleet, FleetPolicy, Genesis, Hex32,
    Introduction, Revocation, Role, Subkey,
};
use seawall_sign::{Envelope, SigningKey, Statement};
use seawall_sim::{PowerCut, SimDisk};
use seawall_tlog::merkle::{HashReader, leaf_hash};
use seawall_tlog::{
    AddCheckpoint, Checkpoint, Finding, Hash, Judgement, Kind, Origin, SignedCheckpoint, Verifier,
    WitnessAnswer, merkle,
};

/// 2026-11-20T00:00:00Z.
const NOW: Timestamp = Timestamp(1_795_132_800);
const NAME: &str = "anna.example/witness";
const ROOT: u8 = 1;
const NODE: u8 = 10;
const SUBKEY: u8 = 11;
const LATER: u8 = 12;
const CUSTODIAN: u8 = 30;
const WITNESS: u8 = 40;

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

fn fleet() -> Fleet {
    let custodian = CustodianRecord {
        index: 1,
        name: "ben".to_owned(),
        signing_key: key(CUSTODIAN).public(),
        share: Hex32([3; 32]),
        kem: None,
        endpoint: None,
    };
    let group = EscrowGroupRecord {
        id: GroupId([6; 32]),
        class: "customers".to_owned(),
        class_number: 1,
        threshold: 1,
        key: Hex32([5; 32]),
        ceremony: "local".to_owned(),
        share_epoch: 0,
        suite: None,
        retired: false,
        custodians: vec![custodian],
    };
    let genesis = Genesis {
        policy_version: 1,
        fleet_name: "harbour".to_owned(),
        root_keys: vec![key(ROOT).public()],
        root_threshold: 1,
        groups: vec![group],
        witnesses: Vec::new(),
        created: NOW.before(Seconds::days(30)),
        nonce: Hex32([9; 32]),
    };
    let subject = Fleet::subject(&genesis);
    let signed = Statement::new(subject, genesis).sign(&[&key(ROOT)]).expect("signed");
    Fleet::open(signed).expect("a fleet")
}

fn enrolment(tenant: &str) -> Envelope {
    let it = Enrolment {
        fleet: fleet().id(),
        role: Role::Node,
        name: "site-a".to_owned(),
        epoch: 1,
        identity: key(NODE).public(),
        transport: key(NODE + 5).public(),
        recipient: Some(Base64(vec![7; 8])),
        tenant: Some(tenant.to_owned()),
        issued: NOW,
    };
    it.statement().sign(&[&key(ROOT)]).expect("signed")
}

fn certificate(subkey: u8, days: u64) -> Envelope {
    let it = Subkey {
        fleet: fleet().id(),
        node: key(NODE).public().node_id(),
        key: key(subkey).public(),
        not_before: NOW,
        not_after: NOW.after(Seconds::days(days)),
    };
    it.statement().sign(&[&key(NODE)]).expect("signed")
}

fn introduction(subkey: u8, days: u64) -> Vec<u8> {
    Introduction::new(&enrolment("default"), &[certificate(subkey, days)]).to_json()
}

fn origin() -> Origin {
    Origin::of_node(fleet().id(), key(NODE).public().node_id(), 1)
}

struct Tree(Vec<Hash>);

impl HashReader for Tree {
    fn hash(&self, level: u8, index: u64) -> std::io::Result<Hash> {
        Ok(self.0[merkle::stored_position(level, index) as usize])
    }
}

fn tree(branch: &str, size: u64) -> Tree {
    let (mut frontier, mut stored) = (merkle::Frontier::default(), Vec::new());
    (0..size)
        .for_each(|i| frontier.push(leaf_hash(format!("{branch} {i}").as_bytes()), &mut stored));
    Tree(stored)
}

fn request(origin: Origin, branch: &str, old: u64, size: u64, signer: u8) -> Vec<u8> {
    let tree = tree(branch, size);
    let root = merkle::root(&tree, size).expect("in range");
    let checkpoint = SignedCheckpoint::sign(Checkpoint::new(origin, size, root), &key(signer));
    let proof = merkle::consistency_proof(&tree, old, size).expect("in range");
    AddCheckpoint { old, proof, checkpoint: checkpoint.expect("signs") }.to_bytes()
}

fn open(storage: &SimDisk) -> WitnessDesk {
    let storage = Arc::new(storage.clone());
    WitnessDesk::open(storage, "witness", NAME.to_owned(), key(WITNESS)).expect("the desk opens")
}

fn judged(desk: &mut WitnessDesk, fleet: &Fleet, body: &[u8]) -> Judgement {
    desk.add_checkpoint(std::slice::from_ref(fleet), body, NOW).expect("the disk works")
}

#[test]
fn who_was_introduced_is_cosigned_also_after_a_power_cut() {
    let (storage, fleet) = (SimDisk::new(), fleet());
    let fleets = std::slice::from_ref(&fleet);
    let mut desk = open(&storage);
    let first = request(origin(), "a", 0, 5, SUBKEY);
    assert_eq!(judged(&mut desk, &fleet, &first).answer, WitnessAnswer::UnknownLog);
    assert_eq!(desk.checkpoint(origin().hash()), None);
    desk.introduce(fleets, &introduction(SUBKEY, 4)).expect("introduced");
    let WitnessAnswer::Cosigned(lines) = judged(&mut desk, &fleet, &first).answer else {
        panic!("refused")
    };
    assert_eq!((lines.len(), lines[0].name.as_str()), (1, NAME));
    let shown = SignedCheckpoint::parse(&desk.checkpoint(origin().hash()).expect("held"));
    let shown = shown.expect("a checkpoint");
    let signer = Verifier::new(origin().as_str(), Kind::Signer, &key(SUBKEY).public());
    let both = [desk.verifier().expect("a good name"), signer.expect("a good name")];
    assert_eq!(shown.verify(&both).expect("signed by both").len(), 2);

    let mut desk = open(&storage.power_cut(PowerCut::LoseUnsynced));
    let next = request(origin(), "a", 5, 9, SUBKEY);
    assert_eq!(judged(&mut desk, &fleet, &next).answer.status(), 200);
    let fork = judged(&mut desk, &fleet, &request(origin(), "b", 9, 9, SUBKEY));
    assert!(matches!(fork.finding, Some(Finding::Fork(_))));
    assert_eq!(fork.answer.status(), 422);
}

#[test]
fn a_log_outlives_its_subkeys() {
    let (storage, fleet) = (SimDisk::new(), fleet());
    let fleets = std::slice::from_ref(&fleet);
    let mut desk = open(&storage);
    desk.introduce(fleets, &introduction(SUBKEY, 4)).expect("introduced");
    judged(&mut desk, &fleet, &request(origin(), "a", 0, 5, SUBKEY));
    let renewed = request(origin(), "a", 5, 9, LATER);
    assert_eq!(judged(&mut desk, &fleet, &renewed).answer.status(), 403);
    desk.introduce(fleets, &introduction(LATER, 9)).expect("introduced again");
    assert_eq!(judged(&mut desk, &fleet, &renewed).answer.status(), 200);
    let kept = desk.introduction(origin().hash()).expect("kept");
    let kept = Introduction::parse(&kept).expect("parses").open(&fleet).expect("opens");
    assert_eq!(kept.subkeys.len(), 2);
}

#[test]
fn strangers_and_doubles_are_turned_away() {
    let (storage, fleet) = (SimDisk::new(), fleet());
    let fleets = std::slice::from_ref(&fleet);
    let mut desk = open(&storage);
    assert!(desk.introduce(&[], &introduction(SUBKEY, 4)).is_err(), "no fleet is served");
    assert!(desk.introduce(fleets, b"{}").is_err());
    let foreign = certificate(SUBKEY, 4);
    let by_node = Introduction::new(&foreign, std::slice::from_ref(&foreign));
    assert!(desk.introduce(fleets, &by_node.to_json()).is_err(), "no enrolment");
    desk.introduce(fleets, &introduction(SUBKEY, 4)).expect("introduced");
    let double = Introduction::new(&enrolment("other"), &[certificate(LATER, 4)]).to_json();
    let e = desk.introduce(fleets, &double).expect_err("a second enrolment of one epoch");
    assert!(matches!(e, DeskError::Refused(_)), "{e}");
}

#[test]
fn other_custodians_are_known_from_the_fleet() {
    let (storage, fleet) = (SimDisk::new(), fleet());
    let mut desk = open(&storage);
    let (id, by) = (key(CUSTODIAN).public().node_id(), fleet.id());
    let origin = |id: &str| -> Origin {
        format!("seawall/{}/custodian/{id}", by.to_hex()).parse().expect("an origin")
    };
    let own = request(origin(&id.to_hex()), "a", 0, 3, CUSTODIAN);
    assert_eq!(judged(&mut desk, &fleet, &own).answer.status(), 200);
    let stranger = key(99).public().node_id().to_hex();
    let other = request(origin(&stranger), "a", 0, 3, 99);
    assert_eq!(judged(&mut desk, &fleet, &other).answer, WitnessAnswer::UnknownLog);
}

#[test]
fn a_revoked_node_is_not_known_any_more() {
    let (storage, fleet) = (SimDisk::new(), fleet());
    let mut desk = open(&storage);
    desk.introduce(std::slice::from_ref(&fleet), &introduction(SUBKEY, 4)).expect("introduced");
    judged(&mut desk, &fleet, &request(origin(), "a", 0, 5, SUBKEY));
    let policy = FleetPolicy {
        version: 2,
        previous: fleet.policy_digest(),
        revoked: vec![Revocation {
            member: key(NODE).public().node_id(),
            epoch: 1,
            log_size: 5,
            reason: "stolen".to_owned(),
            since: NOW,
        }],
        ..fleet.policy().clone()
    };
    let signed = policy.statement().sign(&[&key(ROOT)]).expect("signed");
    let newer = fleet.advance(signed).expect("the next policy");
    let next = request(origin(), "a", 5, 9, SUBKEY);
    assert_eq!(judged(&mut desk, &newer, &next).answer, WitnessAnswer::UnknownLog);
    let held = desk.checkpoint(Sha256::of(origin().as_str().as_bytes())).expect("held still");
    assert_eq!(SignedCheckpoint::parse(&held).expect("one").checkpoint().size, 5);
}
