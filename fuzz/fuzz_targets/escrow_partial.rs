//! A partial has one encoding, and is judged against real capsules.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_escrow::{Partial, open};
use seawall_fuzz::{capsule, group, quantum_capsule};

fuzz_target!(|data: &[u8]| {
    let Ok(partial) = Partial::decode(data) else { return };
    assert_eq!(partial.encode().as_slice(), data);
    let _ = partial.verify(capsule(), group());
    if let Ok(verified) = partial.verify(quantum_capsule(), group()) {
        assert!(open(quantum_capsule(), group(), &[], &[verified]).is_err(), "it takes two");
    }
});
