//! A capsule has one encoding, and only its own makes it valid.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_escrow::{Capsule, Label};
use seawall_fuzz::group;

fuzz_target!(|data: &[u8]| {
    let Ok(capsule) = Capsule::decode(data) else { return };
    assert_eq!(capsule.encode(), data);
    let label = capsule.label();
    let _ = capsule.check(group(), &label);
    assert!(capsule.check(group(), &Label([9; 32])).is_err() || label.0 == [9; 32]);
});
