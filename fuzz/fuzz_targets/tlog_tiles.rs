//! Tile paths and bundles: one spelling each.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_tlog::tile::{TilePath, decode_bundle, encode_bundle};

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = str::from_utf8(data)
        && let Ok(path) = text.parse::<TilePath>()
    {
        assert_eq!(path.to_string(), text);
    }
    let Some((count, bundle)) = data.split_first() else { return };
    if let Some(entries) = decode_bundle(bundle, usize::from(*count)) {
        assert_eq!(encode_bundle(&entries), bundle);
    }
});
