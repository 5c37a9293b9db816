//! Rules, a NUL, and a file: what the rules keep of anything is bounded, and what they make of a
//! file is a file they take again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_backup::sanitise::{Rules, sanitise_bytes};

fuzz_target!(|data: &[u8]| {
    let Some(at) = data.iter().position(|b| *b == 0) else { return };
    let (rules, file) = (&data[..at], &data[at + 1..]);
    let Ok(rules) = std::str::from_utf8(rules) else { return };
    let Ok(rules) = Rules::parse(rules) else { return };
    if let Some((out, _)) = sanitise_bytes(&rules, b"f", file) {
        let again = sanitise_bytes(&rules, b"f", &out);
        assert!(again.is_some() || out.is_empty(), "what was kept is not of the form it was");
    }
});
