//! Requests for an epoch that a node would not make, and somebody else might.

use seawall_base::{GroupId, Seconds, Timestamp};
use seawall_node::EpochRequest;
use seawall_record::{
    Base64, CustodianRecord, Enrolment, EscrowGroupRecord, Fleet, Genesis, Hex32, Role, Subkey,
};
use seawall_sign::{Envelope, SigningKey, Statement};
use seawall_tlog::{Checkpoint, Origin, SignedCheckpoint, merkle};
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp(1_795_132_800);

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

fn fleet() -> Fleet {
    let custodian = CustodianRecord {
        index: 1,
        name: "anna".to_owned(),
        signing_key: key(50).public(),
        share: Hex32([1; 32]),
        kem: None,
        endpoint: None,
    };
    let group = EscrowGroupRecord {
        id: GroupId([4; 32]),
        class: "default".to_owned(),
        class_number: 1,
        threshold: 1,
        key: Hex32([1; 32]),
        ceremony: "local".to_owned(),
        share_epoch: 0,
        retired: false,
        suite: None,
        custodians: vec![custodian],
    };
    let genesis = Genesis {
        policy_version: 1,
        fleet_name: "harbour".to_owned(),
        root_keys: vec![key(1).public()],
        root_threshold: 1,
        groups: vec![group],
        witnesses: Vec::new(),
        created: NOW,
        nonce: Hex32([9; 32]),
    };
    let statement = Statement::new(Fleet::subject(&genesis), genesis);
    Fleet::open(statement.sign(&[&key(1)]).expect("signed")).expect("a fleet")
}

/// A request to go on from a checkpoint of this size, all of which the node has signed.
fn request(fleet: &Fleet, size: u64) -> EpochRequest {
    let node = key(2).public();
    let enrolment = Enrolment {
        fleet: fleet.id(),
        role: Role::Node,
        name: "site-a".to_owned(),
        epoch: 1,
        identity: node,
        transport: key(3).public(),
        recipient: Some(Base64(vec![7; 8])),
        tenant: Some("default".to_owned()),
        issued: NOW,
    };
    let subkey = Subkey {
        fleet: fleet.id(),
        node: node.node_id(),
        key: key(4).public(),
        not_before: NOW,
        not_after: NOW.after(Seconds::days(7)),
    };
    let origin = Origin::of_node(fleet.id(), node.node_id(), 1);
    let root = if size == 0 { merkle::empty_root() } else { merkle::leaf_hash(b"an entry") };
    let signed = SignedCheckpoint::sign(Checkpoint::new(origin, size, root), &key(4));
    let value = |it: Envelope| -> Value { serde_json::from_slice(&it.to_json()).expect("JSON") };
    let json = json!({
        "format": "seawall-epoch-request/1",
        "enrolment": value(enrolment.statement().sign(&[&key(1)]).expect("signed")),
        "signer": value(subkey.statement().sign(&[&key(2)]).expect("signed")),
        "checkpoint": String::from_utf8(signed.expect("signed").to_bytes()).expect("text"),
        "asked": [],
        "reason": "a new disk",
    });
    EpochRequest::parse(json.to_string().as_bytes()).expect("well formed")
}

#[test]
fn nobody_goes_on_from_an_empty_log() {
    let fleet = fleet();
    let opened = request(&fleet, 1).open(&fleet).expect("its enrolment is there");
    assert_eq!(opened.continues.size, 1);
    let e = request(&fleet, 0).open(&fleet).expect_err("nothing is there").to_string();
    assert!(e.contains("an empty log"), "{e}");
}
