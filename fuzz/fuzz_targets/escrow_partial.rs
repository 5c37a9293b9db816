//! A partial has one encoding, and is judged against a real capsule.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_escrow::Partial;
use seawall_fuzz::{capsule, group};

fuzz_target!(|data: &[u8]| {
    let Ok(partial) = Partial::decode(data) else { return };
    assert_eq!(partial.encode(), data);
    let _ = partial.verify(capsule(), group());
});
