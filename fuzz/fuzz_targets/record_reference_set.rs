//! Pages of a reference set: one encoding each, and a walk over hostile pages ends.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use seawall_base::ObjectId;
use seawall_base::wire::Reader;
use seawall_record::ReferenceSet;
use seawall_record::reference_set::{Page, walk};

fuzz_target!(|data: &[u8]| {
    if let Ok(page) = Page::decode(data) {
        assert_eq!(page.encode(), data);
    }
    // Pages with a 16-bit length each; the last is the root, which claims what the input says.
    let mut input = Reader::new(data);
    let (Ok(count), Ok(bytes)) = (input.u64(), input.u64()) else { return };
    let mut pages = BTreeMap::new();
    let mut root = None;
    while let Ok(len) = input.u16() {
        let Ok(page) = input.take(usize::from(len).min(input.remaining())) else { return };
        let id = ObjectId::of(page);
        pages.insert(id, page.to_vec());
        root = Some(id);
    }
    let Some(root) = root else { return };
    let read = |id: ObjectId| Ok(pages.get(&id).cloned());
    let mut visits = 0u64;
    if walk(&read, &ReferenceSet { root, count, bytes }, &mut |_| visits += 1).is_ok() {
        assert!(visits > count, "every member and the root page were visited");
    }
});
