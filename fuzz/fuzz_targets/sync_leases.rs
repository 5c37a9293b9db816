//! The leases a region keeps: one encoding.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_sync::Leases;

fuzz_target!(|data: &[u8]| {
    if let Ok(leases) = Leases::decode(data) {
        assert_eq!(leases.encode(), data);
    }
});
