//! A request file as a custodian gets it, from anybody, and what a custodian says against a node.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_custodian::{examine, judge_bad_share};
use seawall_fuzz::fleet;

fuzz_target!(|data: &[u8]| {
    let _ = examine(data, fleet().id());
    if let Ok(judged) = judge_bad_share(data) {
        assert!(!judged.is_proven, "an honest dealer is convicted");
    }
});
