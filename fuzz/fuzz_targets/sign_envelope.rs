//! An envelope parses to what it writes, and its statement is read without a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_record::{Genesis, Manifest};
use seawall_sign::{Envelope, Statement, predicate_type};

fuzz_target!(|data: &[u8]| {
    let Ok(envelope) = Envelope::parse(data) else { return };
    let again = Envelope::parse(&envelope.to_json()).expect("what it writes, it reads");
    assert_eq!(envelope, again);
    let keys: Vec<_> = envelope.signers().collect();
    assert!(!keys.is_empty());
    if envelope.verify(&keys, keys.len()).is_ok() {
        assert!(envelope.verify(&keys, keys.len() + 1).is_err(), "nobody counts twice");
    }
    let _ = predicate_type(&envelope);
    let _ = Statement::<Genesis>::read_unverified(&envelope);
    let _ = Statement::<Manifest>::read_unverified(&envelope);
});
