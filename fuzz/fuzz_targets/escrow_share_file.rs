//! A share file that parses writes a text that parses to the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_escrow::ShareFile;

fuzz_target!(|data: &[u8]| {
    let Ok(file) = ShareFile::parse(data) else { return };
    let text = file.to_json();
    let again = ShareFile::parse(text.as_bytes()).expect("what it writes, it reads");
    assert_eq!(again.to_json(), text);
});
