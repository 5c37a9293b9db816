//! A listing of a bucket is refused or leads to objects; whatever their keys, a tree comes of them.

#![no_main]

use std::io;
use std::sync::{Arc, Mutex};

use libfuzzer_sys::fuzz_target;
use seawall_backup::entry::{Meta, is_component};
use seawall_backup::source::filter::Exclusions;
use seawall_backup::source::{
    Bucket, BucketPage, BucketTree, FoundObject, Reason, Source, Step, listing,
};

/// One page, listed once.
#[derive(Debug)]
struct Once(Mutex<Option<BucketPage>>);

impl Bucket for Once {
    fn page(&self, _token: Option<&[u8]>) -> io::Result<BucketPage> {
        let page = self.0.lock().expect("no panic").take();
        page.ok_or_else(|| io::Error::other("once"))
    }

    fn open(&self, _key: &[u8]) -> Result<FoundObject, Reason> {
        Err(Reason::Vanished)
    }
}

fuzz_target!(|data: &[u8]| {
    let _ = listing::refusal(data);
    let Ok(page) = listing::page(data, b"in/") else { return };
    let bucket = Arc::new(Once(Mutex::new(Some(page))));
    let mut tree = BucketTree::new(bucket, &[], Meta::default(), &Exclusions::default())
        .expect("the first page is there");
    let mut depth = 0;
    while let Some(step) = tree.next() {
        match step {
            Step::Enter { name, .. } => {
                assert!(depth == 0 || is_component(&name));
                depth += 1;
            }
            Step::Leaves { leaves, .. } => {
                assert!(depth > 0 && leaves.iter().all(|leaf| is_component(&leaf.name)));
            }
            Step::Leave => depth -= 1,
        }
    }
    assert_eq!(depth, 0);
});
