//! A node that is somebody else's now, with all its keys.

use seawall_base::{NodeId, ObjectId, Seconds};
use seawall_sign::token::{Claims, Operation};
use seawall_sync::wire;

use super::network::{Caller, synced};
use super::stopped;
use crate::harness::run;

#[test]
fn another_nodes_token_is_used() {
    let (fleet, region) = synced();
    let thief = fleet.second_node("node-2");
    run(&thief, &["sync"]).ok();
    let mut node = Caller::connect(&fleet, &region, &fleet.home());
    let token = node.token(Operation::Read);
    let copied = node.make(&token, "/v1/get");
    let mut thief = Caller::connect(&fleet, &region, &thief);
    thief.is_stopped("another node's request", &copied, 401, "the token is for node");
    let proved = thief.make(&token, "/v1/get");
    thief.is_stopped("another node's token", &proved, 401, "the token is for node");
    assert_eq!(node.send(&copied).status.as_u16(), 200);
}

#[test]
fn a_token_is_used_for_another_operation() {
    let (fleet, region) = synced();
    let mut node = Caller::connect(&fleet, &region, &fleet.home());
    for (operation, path) in [
        (Operation::Read, "/v1/have"),
        (Operation::Store, "/v1/get"),
        (Operation::Store, "/v1/log/add-entries"),
        (Operation::Sync, "/v1/delegation"),
    ] {
        let token = node.token(operation);
        let request = node.make(&token, path);
        let attack = format!("a {operation} token for {path}");
        node.is_stopped(&attack, &request, 401, &format!("the operation {operation}, not"));
    }
}

#[test]
fn a_node_asks_for_a_token_to_delete() {
    let (fleet, region) = synced();
    let mut node = Caller::connect(&fleet, &region, &fleet.home());
    let why = node.refused_token(Operation::Delete);
    assert!(why.contains("no delete token"), "{why}");
    stopped(&why);
}

/// A stolen node stores its own bytes where another node will look for its tenant's objects.
#[test]
fn an_object_is_stored_under_the_id_of_another() {
    let (fleet, region) = synced();
    let mut node = Caller::connect(&fleet, &region, &fleet.home());
    let token = node.token(Operation::Store);
    let (id, mut body) = (ObjectId::of(b"what others expect"), Vec::new());
    wire::push_object(&mut body, id, b"what the thief wants them to have");
    let request = node.make_of(&token, "/v1/objects", body);
    node.is_stopped("poison", &request, 422, "under a wrong id");
    // Nothing of it is there.
    let asked = node.token(Operation::Read);
    let request = node.make_of(&asked, "/v1/get", wire::encode_ids(&[id]));
    let answer = node.send(&request);
    assert_eq!(answer.status.as_u16(), 200);
    let (_, objects) = wire::decode_get_answer(&[id], &answer.body).expect("an answer");
    assert_eq!(objects, []);
}

/// What a node writes into a token of its own.
type Change = fn(&mut Claims);

#[test]
fn a_node_issues_itself_tokens_that_nobody_delegated() {
    let (fleet, region) = synced();
    let mut node = Caller::connect(&fleet, &region, &fleet.home());
    let good = node.issue(&fleet.home(), |_| ());
    assert_eq!(node.send(&good).status.as_u16(), 200, "what was delegated");
    let wrong: [(&str, Change, &str); 5] = [
        ("an admin token", |it| it.operation = Operation::Admin, "does not cover admin tokens"),
        ("a token to delete", |it| it.operation = Operation::Delete, "does not cover delete"),
        ("a token in another's name", |it| it.issuer = NodeId([7; 32]), "tokens issued by"),
        ("a token for an hour", |it| it.expires = it.issued.after(Seconds(3_600)), "15 minutes"),
        ("a token for a year", |it| it.expires = it.issued.after(Seconds::days(365)), "not cover"),
    ];
    for (attack, change, word) in wrong {
        let token = node.issue(&fleet.home(), change);
        node.is_stopped(attack, &token, 401, word);
    }
}
