//! Patterns of `find`: none of them panics, and a limited answer is the beginning of the whole.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use seawall_backup::find::{Cache, Filter, Match, Pattern};
use seawall_sim::SimDisk;

#[path = "../shared/found.rs"]
mod found;

fuzz_target!(|data: &[u8]| {
    static DISK: OnceLock<SimDisk> = OnceLock::new();
    let disk = DISK.get_or_init(found::disk);
    let Some((how, text)) = data.split_first() else { return };
    let kinds = [Match::Substring, Match::Exact, Match::Prefix, Match::Glob, Match::Regex];
    let kind = kinds[usize::from(how >> 1) % kinds.len()];
    let Ok(pattern) = Pattern::new(text, kind, how & 1 == 1) else { return };
    let cache = Cache::open(disk, "find", &found::KEY, found::OWNER).expect("it was just made");
    let find = |limit| cache.find(&pattern, &Filter::default(), limit, 1).expect("it is whole");
    let (all, some) = (find(0).found, find(2).found);
    assert_eq!(some.len(), all.len().min(2));
    assert_eq!(some[..], all[..some.len()]);
});
