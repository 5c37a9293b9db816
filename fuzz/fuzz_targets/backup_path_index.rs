//! Pages, listings and roots of path indexes: what is read is what is written again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_backup::path_index::{Indexed, Listing, Page, PathIndexRoot, decode_inline};
use seawall_base::wire::{Reader, Writer};

fuzz_target!(|data: &[u8]| {
    for level in 0..=17 {
        if let Ok(page) = Page::decode(data, level) {
            let _ = page.references(level);
        }
    }
    let _ = decode_inline(data);
    if let Ok(root) = PathIndexRoot::decode(data) {
        assert_eq!(root.encode(), data);
    }
    let mut r = Reader::new(data);
    if let Ok(listing) = Listing::decode(&mut r) {
        let mut w = Writer::new();
        listing.encode(&mut w);
        assert_eq!(w.as_slice(), &data[..r.offset()]);
    }
    let _ = Indexed::decode(&mut Reader::new(data));
});
