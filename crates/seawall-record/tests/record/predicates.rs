//! The JSON of every predicate, pinned: a change here is a change of format.

use seawall_base::{Seconds, Sha256};
use seawall_record::{
    Approval, Base64, BundlePredicate, Deleted, Deletion, Forget, Forgotten, Hex32, Receipt,
    Request,
};
use seawall_sign::{Envelope, Predicate, Statement};

use crate::fixture::{
    GROUP, NOW, ORIGIN, by_identity, by_requester, by_root, by_subkey, fleet, key, manifest,
    node_enrolment, region_enrolment, region_identity, request, root, subkey,
};
use crate::{deleting, happened};

/// The payload, indented for reading; the order of fields is that of the payload.
fn shown(envelope: &Envelope) -> String {
    let raw: Box<serde_json::value::RawValue> =
        serde_json::from_slice(envelope.unverified_payload()).expect("JSON");
    assert!(!raw.get().contains('\n'), "payloads have no white space between fields");
    raw.get().replace(",\"", ",\n\"").replace('{', "{\n")
}

fn signed<P: Predicate>(statement: &Statement<P>, n: u8) -> Envelope {
    statement.sign(&[&key(n)]).expect("signed")
}

#[test]
fn genesis() {
    insta::assert_snapshot!(shown(fleet().envelope()));
}

#[test]
fn enrolment_of_a_node() {
    insta::assert_snapshot!(shown(&by_root(node_enrolment())));
}

#[test]
fn enrolment_of_a_region() {
    insta::assert_snapshot!(shown(&by_root(region_enrolment())));
}

#[test]
fn signing_subkey() {
    insta::assert_snapshot!(shown(&by_identity(subkey())));
}

#[test]
fn snapshot_first() {
    insta::assert_snapshot!(shown(&by_subkey(manifest(1, None))));
}

#[test]
fn snapshot_next() {
    let previous = by_subkey(manifest(1, None)).digest();
    insta::assert_snapshot!(shown(&by_subkey(manifest(2, Some(previous)))));
}

#[test]
fn snapshot_with_set_and_tags() {
    let mut it = manifest(1, None);
    it.core.set = Some("db".to_owned());
    it.core.tags = vec!["before-upgrade".to_owned(), "weekly".to_owned()];
    insta::assert_snapshot!(shown(&by_subkey(it)));
}

#[test]
fn deletion() {
    let first = by_subkey(manifest(1, None)).digest();
    let it = deleting::deletion(&[first], &[1]);
    insta::assert_snapshot!(shown(&signed(&it.statement(), 111)));
    let all = Deletion { even_last: true, ..deleting::deletion(&[first], &[1]) };
    insta::assert_snapshot!(shown(&signed(&all.statement(), 111)));
}

#[test]
fn retention() {
    insta::assert_snapshot!(shown(&signed(&deleting::retention(1).statement(), 1)));
}

#[test]
fn deleted() {
    let it = Deleted {
        fleet: fleet().id(),
        region: region_identity().public().node_id(),
        incarnation: Hex32([0x77; 32]),
        origin: ORIGIN.to_owned(),
        under: Sha256([2; 32]),
        snapshots: vec![Forgotten { sequence: 1, manifest: Sha256([1; 32]) }],
        created: NOW,
    };
    insta::assert_snapshot!(shown(&signed(&it.statement(), 30)));
}

#[test]
fn forget() {
    let first = by_subkey(manifest(1, None)).digest();
    let it = Forget {
        fleet: fleet().id(),
        node: subkey().node,
        origin: ORIGIN.to_owned(),
        snapshots: vec![Forgotten { sequence: 1, manifest: first }],
        copies: 2,
        reason: "keep daily 7".to_owned(),
        created: NOW,
    };
    insta::assert_snapshot!(shown(&signed(&it.statement(), 11)));
}

#[test]
fn manifest_core_digest() {
    insta::assert_snapshot!(manifest(1, None).core.digest().to_string());
}

#[test]
fn restore_request() {
    insta::assert_snapshot!(shown(&by_requester(request())));
}

#[test]
fn restore_request_for_a_drill() {
    insta::assert_snapshot!(shown(&by_requester(Request { drill: true, ..request() })));
}

#[test]
fn drill() {
    insta::assert_snapshot!(shown(&signed(&happened::drill().statement(), 11)));
}

#[test]
fn drill_scrub() {
    insta::assert_snapshot!(shown(&signed(&happened::scrub().statement(), 11)));
}

#[test]
fn test_result() {
    let it = happened::result().statement(Some(request().manifest), subkey().node);
    insta::assert_snapshot!(shown(&signed(&it, 11)));
}

#[test]
fn restored() {
    insta::assert_snapshot!(shown(&signed(&happened::restored().statement(), 11)));
}

#[test]
fn event() {
    insta::assert_snapshot!(shown(&signed(&happened::event().statement(), 11)));
}

#[test]
fn restore_approval() {
    let approval = Approval {
        fleet: fleet().id(),
        request: by_requester(request()).digest(),
        manifest: request().manifest,
        group: GROUP,
        custodian: 2,
        share_epoch: 0,
        sealed_partial: Base64(vec![0x9a; 24]),
        created: NOW.after(Seconds(60)),
    };
    insta::assert_snapshot!(shown(&signed(&approval.statement(), 112)));
}

#[test]
fn receipt() {
    let receipt = Receipt {
        fleet: fleet().id(),
        region: region_identity().public().node_id(),
        incarnation: Hex32([6; 32]),
        manifest: request().manifest,
        origin: ORIGIN.to_owned(),
        index: 2,
        reference_set: manifest(1, None).core.reference_set,
        created: NOW,
    };
    insta::assert_snapshot!(shown(&signed(&receipt.statement(), 30)));
}

#[test]
fn bundle() {
    let bundle = BundlePredicate {
        fleet: fleet().id(),
        member: by_root(node_enrolment()).digest(),
        regions: vec![("10.0.0.5:7443".to_owned(), by_root(region_enrolment()).digest())],
        sealed_secrets: Base64(vec![0x5e; 12]),
        created: NOW,
        index_policy: None,
    };
    insta::assert_snapshot!(shown(&signed(&bundle.statement(), 1)));
}

#[test]
fn an_envelope_as_it_is_logged() {
    let text = String::from_utf8(by_identity(subkey()).to_json()).expect("JSON");
    insta::assert_snapshot!(text);
    assert_eq!(root().public().to_string().len(), "ed25519:".len() + 44);
}
