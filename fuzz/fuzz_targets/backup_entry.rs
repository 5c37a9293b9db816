//! A directory entry has one encoding.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_backup::entry::{Entry, Meta};
use seawall_base::wire::{Reader, Writer};

fuzz_target!(|data: &[u8]| {
    let mut r = Reader::new(data);
    if let Ok(entry) = Entry::decode(&mut r) {
        let mut w = Writer::new();
        entry.encode(&mut w).expect("what it reads, it writes");
        assert_eq!(w.as_slice(), &data[..r.offset()]);
    }
    let mut r = Reader::new(data);
    if let Ok(meta) = Meta::decode(&mut r) {
        let mut w = Writer::new();
        meta.encode(&mut w).expect("what it reads, it writes");
        assert_eq!(w.as_slice(), &data[..r.offset()]);
    }
});
