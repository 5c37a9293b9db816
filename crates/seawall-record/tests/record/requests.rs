//! Requests and receipts: form and signer.

use seawall_base::Seconds;
use seawall_record::{Receipt, Request};
use seawall_sign::SignError;

use crate::fixture::{
    NOW, by_requester, key, manifest, node_of, region_identity, request, requester_subkey, rule,
    signature, tampered,
};
use crate::fixture::{ORIGIN, by_subkey, fleet};

#[test]
fn a_request_is_signed_and_bounded_in_time() {
    let signer = requester_subkey().public();
    assert_eq!(Request::open(&by_requester(request()), signer), Ok(request()));
    let longest = Request { expires: NOW.after(Request::MAX_VALIDITY), ..request() };
    Request::open(&by_requester(longest.clone()), signer).expect("exactly the longest");
    for expires in [longest.expires.after(Seconds(1)), NOW.before(Seconds(1))] {
        let e = Request::open(&by_requester(Request { expires, ..request() }), signer)
            .expect_err("refused");
        assert_eq!(rule(&e), "open for more than 30 days, or for none");
    }
    let e = Request::open(&by_requester(request()), key(99).public()).expect_err("a stranger");
    assert_eq!(signature(e), SignError::BelowThreshold { have: 0, need: 1 });
}

#[test]
fn a_reason_is_one_printable_line() {
    let signer = requester_subkey().public();
    for reason in [String::new(), "x\ny".to_owned(), "\u{1b}[31m".to_owned(), "r".repeat(1_001)] {
        let wrong = Request { reason: reason.clone(), ..request() };
        let e = Request::open(&by_requester(wrong), signer).expect_err("refused");
        assert!(rule(&e).starts_with("text must be 1 to 1000 bytes"), "{reason:?}: {e}");
    }
    let longest = Request { reason: "ö".repeat(500), ..request() };
    Request::open(&by_requester(longest), signer).expect("1000 bytes");
}

fn receipt() -> Receipt {
    Receipt {
        fleet: fleet().id(),
        region: region_identity().public().node_id(),
        incarnation: seawall_record::Hex32([6; 32]),
        manifest: by_subkey(manifest(1, None)).digest(),
        origin: ORIGIN.to_owned(),
        index: 2,
        reference_set: manifest(1, None).core.reference_set,
        created: NOW,
    }
}

#[test]
fn a_receipt_is_signed_by_the_region_it_names() {
    let region = region_identity();
    let signed = receipt().statement().sign(&[&region]).expect("signed");
    assert_eq!(Receipt::open(&signed, region.public()), Ok(receipt()));
    let e = Receipt::open(&signed, key(99).public()).expect_err("another region's key");
    assert_eq!(signature(e), SignError::BelowThreshold { have: 0, need: 1 });
    let mut borrowed = receipt();
    borrowed.region = node_of(99);
    let borrowed = borrowed.statement().sign(&[&region]).expect("signed");
    let e = Receipt::open(&borrowed, region.public()).expect_err("another region's name");
    assert_eq!(rule(&e), "names another region than its signer");
    let altered = tampered(&signed, "\"count\":3", "\"count\":4");
    let e = Receipt::open(&altered, region.public()).expect_err("altered");
    assert_eq!(signature(e), SignError::BadSignature);
}
