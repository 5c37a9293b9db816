//! What a custodian's machine is sent, what its people leave for it, and what it wrote itself.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_custodian::CaseList;
use seawall_custodian::message::{AliveRequest, PoliciesKnown, PoliciesShown, RequestStatus};
use seawall_fuzz::{NODE, fleet, key, sign};
use seawall_record::{Alive, CustodianAct, Fleet, Hex32, Introduction, PersonVerdict};

fuzz_target!(|data: &[u8]| {
    if let Ok(it) = serde_json::from_slice::<AliveRequest>(data) {
        let text = serde_json::to_vec(&it).expect("it serialises");
        let again =
            serde_json::from_slice::<AliveRequest>(&text).expect("what it writes, it reads");
        assert_eq!((it.fleet, it.nonce), (again.fleet, again.nonce));
        assert_eq!(it.enrolment().is_ok(), again.enrolment().is_ok());
    }
    if let Ok(it) = serde_json::from_slice::<RequestStatus>(data) {
        let _ = it.approval();
    }
    if let Ok(it) = serde_json::from_slice::<PoliciesShown>(data) {
        let _ = it.enrolment();
        // Which fleet's they are meant to be is what they are judged by.
        let known = fleet();
        if let Ok((id, policies)) = it.policies()
            && id == known.id()
            && let Ok(newest) = Fleet::open_chain(known.envelope().clone(), policies, &known)
        {
            assert!(newest.version() >= known.version(), "nothing goes back");
        }
    }
    if let Ok(it) = serde_json::from_slice::<PoliciesKnown>(data) {
        let _ = it.policies();
    }
    if let Ok(it) = Introduction::parse(data) {
        let _ = it.open(&fleet());
    }
    let _ = serde_json::from_slice::<CaseList>(data);
    // Behind a signature: by the key that may say such things.
    let envelope = sign(data, &key(NODE));
    let public = key(NODE).public();
    if let Ok((it, by)) = PersonVerdict::open(&envelope, &[public]) {
        assert_eq!(by, public);
        assert!(it.confirmed == it.why.is_empty(), "a no has its reason, a yes has none");
    }
    let _ = PersonVerdict::open(&envelope, &[]).expect_err("nobody's signature counts");
    if let Ok(it) = CustodianAct::open(fleet().id(), &envelope, public) {
        assert_eq!(it.fleet, fleet().id());
    }
    let _ = Alive::open(&envelope, public, fleet().id(), Hex32([7; 32]));
});
