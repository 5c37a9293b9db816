//! Answers to a one-time key, and the key itself.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_escrow::{OneTimePublic, OneTimeSecret};

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = str::from_utf8(data)
        && let Ok(key) = OneTimePublic::parse(text)
    {
        assert_eq!(key.to_text(), text);
    }
    if let Ok(key) = OneTimePublic::from_bytes(data) {
        assert_eq!(key.as_bytes().as_slice(), data);
    }
    let _ = OneTimeSecret::from_bytes(&[3; 32]).open(b"info", b"aad", data);
});
