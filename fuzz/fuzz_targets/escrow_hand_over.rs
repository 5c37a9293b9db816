//! A hand-over has one encoding, and is for whom it says or refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_escrow::HandOver;
use seawall_fuzz::{kem_keys, recipients};

fuzz_target!(|data: &[u8]| {
    let Ok(hand_over) = HandOver::decode(data) else { return };
    assert_eq!(hand_over.encode(), data);
    if let Ok(checked) = hand_over.check(&recipients()) {
        for (index, key) in (1..).zip(kem_keys()) {
            let _ = checked.open_share(index, &key);
        }
    }
});
