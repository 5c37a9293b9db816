//! A request file as a custodian gets it, from anybody.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_custodian::examine;
use seawall_fuzz::fleet;

fuzz_target!(|data: &[u8]| {
    let _ = examine(data, fleet().id());
});
