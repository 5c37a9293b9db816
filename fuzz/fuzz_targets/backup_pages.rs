//! Pages of a snapshot. What a page holds takes no more room in memory than a multiple of it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_backup::pages::{
    RootPage, decode_chunk_list, decode_directory, decode_index, encode_entry,
};

fuzz_target!(|data: &[u8]| {
    if let Ok(page) = RootPage::decode(data) {
        assert_eq!(page.encode(), data);
    }
    for level in 0..=u8::MAX {
        let _ = decode_index(data, level);
    }
    if let Ok(entries) = decode_directory(data) {
        let bytes: usize =
            entries.iter().map(|e| encode_entry(e).expect("it was read").len()).sum();
        assert!(bytes <= data.len());
    }
    if let Ok(stretches) = decode_chunk_list(data) {
        let bytes: usize = stretches.iter().map(|s| s.encode().len()).sum();
        assert!(bytes <= data.len());
    }
});
