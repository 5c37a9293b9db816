//! A share file or root key's copy that parses writes a text that parses to the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_escrow::{RootKeyFile, ShareFile};

fuzz_target!(|data: &[u8]| {
    if let Ok(file) = RootKeyFile::parse(data) {
        let text = file.to_json();
        assert_eq!(RootKeyFile::parse(text.as_bytes()).expect("what it writes, it reads"), file);
    }
    let Ok(file) = ShareFile::parse(data) else { return };
    let text = file.to_json();
    let again = ShareFile::parse(text.as_bytes()).expect("what it writes, it reads");
    assert_eq!(again.to_json(), text);
});
