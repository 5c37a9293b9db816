//! The index on disk: it answers as the zones would, and whatever happens to it, the zones do.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use seawall_base::{Disk as _, ObjectId};
use seawall_sim::{PowerCut, SimDisk};
use seawall_store::{Access, OpenReport, Options, Store};

const TAIL: usize = 40;

fn options() -> Options {
    Options { zone_bytes: 4_000, salt: [7; 32], index_tail: TAIL, ..Options::default() }
}

fn try_open(disk: &SimDisk, options: Options) -> (Store, OpenReport) {
    let (store, report) = Store::open(Arc::new(disk.clone()), "", options).expect("opens");
    assert_eq!(report.damage, vec![]);
    (store, report)
}

fn open(disk: &SimDisk) -> Store {
    let (store, report) = try_open(disk, options());
    assert_eq!(report.renewed, Vec::<String>::new());
    store
}

fn body(i: u32) -> Vec<u8> {
    i.to_le_bytes().repeat(1 + i as usize % 7)
}

fn id(i: u32) -> ObjectId {
    ObjectId::of(&body(i))
}

fn ix(i: u32) -> [u8; 32] {
    *blake3::hash(&[b"ix", &i.to_le_bytes()[..]].concat()).as_bytes()
}

fn fill(store: &Store, range: std::ops::Range<u32>) {
    for i in range {
        store.put(id(i), Some(ix(i)), &body(i)).expect("put");
        if i % 10 == 9 {
            store.flush().expect("flushed");
        }
    }
    store.flush().expect("flushed");
}

/// A disk with a store of a thousand objects and an index of most of them.
fn sample() -> SimDisk {
    let disk = SimDisk::new();
    fill(&open(&disk), 0..1_000);
    assert!(disk.list("index").expect("listed").len() > 1);
    disk
}

fn copy(disk: &SimDisk) -> SimDisk {
    disk.power_cut(PowerCut::KeepUnsynced)
}

fn check(store: &Store, n: u32) {
    for i in 0..n {
        assert!(store.contains(id(i)) && store.size_of(id(i)) == Some(body(i).len() as u32), "{i}");
        assert_eq!(store.known_len(&ix(i)), Some((id(i), body(i).len() as u32)));
        assert_eq!(store.get(id(i)).expect("whole"), Some(body(i)));
    }
    for i in n..n + 1_000 {
        assert!(!store.contains(id(i)) && store.find(&ix(i)).is_none());
    }
    let mut ids: Vec<ObjectId> = (0..n).map(id).collect();
    ids.sort_unstable();
    assert_eq!(store.ids().expect("read"), ids);
    assert_eq!(store.verify(&mut |_| {}).expect("verified").damage, vec![]);
}

#[test]
fn it_answers_as_the_zones_do() {
    let disk = sample();
    check(&open(&disk), 1_000);
    let fresh = open(&disk);
    fill(&fresh, 1_000..1_200);
    check(&fresh, 1_200);
    for name in disk.list("index").expect("listed") {
        disk.remove(&format!("index/{name}")).expect("removed");
    }
    check(&open(&disk), 1_200);
    check(&try_open(&disk, Options { access: Access::Read, ..options() }).0, 1_200);
}

#[test]
fn few_segments_and_no_zone_that_is_covered_is_read_again() {
    let disk = sample();
    let segments = disk.list("index").expect("listed").len();
    assert!(segments <= 6, "{segments}");
    // Unreadable ended zones do not keep a store with a fresh index from opening.
    for path in disk.paths().into_iter().filter(|p| p.ends_with(".zone")) {
        let last = disk.list("zones").expect("listed").pop().expect("a zone");
        if !path.ends_with(&last) {
            disk.spoil(&path, 0..u64::MAX).expect("spoiled");
        }
    }
    assert!((0..1_000).all(|i| open(&disk).contains(id(i))));
}

#[test]
fn a_flipped_bit_anywhere_is_noticed_and_the_index_is_made_anew() {
    let pristine = sample();
    for name in pristine.list("index").expect("listed") {
        let path = format!("index/{name}");
        let len = pristine.read(&path).expect("read").len();
        for at in (0..len).step_by(len / 20 + 1).chain([len - 1]) {
            let disk = copy(&pristine);
            disk.flip_bit(&path, at as u64, (at % 8) as u8).expect("flipped");
            check(&try_open(&disk, options()).0, 1_000);
            check(&open(&disk), 1_000);
        }
        for cut in [0, 1, 100, len / 2, len - 1] {
            let disk = copy(&pristine);
            disk.truncate(&path, cut as u64).expect("cut");
            check(&try_open(&disk, options()).0, 1_000);
        }
    }
}

#[test]
fn an_index_of_another_store_or_another_time_is_not_believed() {
    let disk = sample();
    // Of a store with another salt.
    check(&try_open(&disk, Options { salt: [8; 32], ..options() }).0, 1_000);
    // The index of yesterday: what came since is found in the zones.
    let later = copy(&disk);
    fill(&open(&later), 1_000..1_300);
    let merged = copy(&later);
    for name in merged.list("index").expect("listed") {
        merged.remove(&format!("index/{name}")).expect("removed");
    }
    for name in disk.list("index").expect("listed") {
        let path = format!("index/{name}");
        merged.plant(&path, &disk.read(&path).expect("read")).expect("planted");
    }
    check(&try_open(&merged, options()).0, 1_300);
    // The index of tomorrow: the zones were put back to an older state.
    for name in later.list("index").expect("listed") {
        let path = format!("index/{name}");
        disk.plant(&path, &later.read(&path).expect("read")).expect("planted");
    }
    let (store, _) = try_open(&disk, options());
    assert!((0..1_000).all(|i| store.get(id(i)).expect("whole") == Some(body(i))));
}

#[test]
fn two_processes_share_one_index() {
    let disk = SimDisk::new();
    let (a, b) = (open(&disk), open(&disk));
    for round in 0..30u32 {
        fill(&a, round * 20..round * 20 + 10);
        fill(&b, round * 20 + 10..round * 20 + 20);
    }
    a.refresh().expect("looked again");
    b.refresh().expect("looked again");
    check(&a, 600);
    check(&b, 600);
    drop((a, b));
    check(&open(&disk), 600);
}

#[test]
fn a_full_disk_keeps_the_index_in_memory_and_loses_nothing() {
    let disk = SimDisk::new();
    let store = open(&disk);
    fill(&store, 0..30);
    let zones: usize = disk.paths().iter().map(|p| disk.read(p).expect("read").len()).sum();
    disk.set_capacity(Some(zones as u64 + 2_000));
    for i in 30..45 {
        let _ = store.put(id(i), None, &body(i));
    }
    let _ = store.flush();
    disk.set_capacity(None);
    fill(&store, 30..400);
    check_without_ix(&store, 400);
    drop(store);
    check_without_ix(&open(&disk), 400);
}

fn check_without_ix(store: &Store, n: u32) {
    assert!((0..n).all(|i| store.get(id(i)).expect("whole") == Some(body(i))));
    assert_eq!(store.ids().expect("read").len(), n as usize);
}

/// Power fails, or a process is killed, at every step of writing and merging.
#[test]
fn no_crash_leaves_an_index_that_lies() {
    for ops in 0..150 {
        let disk = SimDisk::new();
        let store = open(&disk);
        fill(&store, 0..30);
        disk.power_off_after(ops);
        let mut acknowledged = BTreeMap::new();
        for i in 30..200u32 {
            let put = store.put(id(i), Some(ix(i)), &body(i));
            if put.is_err() || store.flush().is_err() {
                break;
            }
            acknowledged.insert(i, body(i));
        }
        for cut in [PowerCut::KeepUnsynced, PowerCut::LoseUnsynced, PowerCut::Torn { seed: ops }] {
            let disk = disk.power_cut(cut);
            let (store, _) = try_open(&disk, options());
            for i in (0..30).chain(acknowledged.keys().copied()) {
                assert_eq!(store.get(id(i)).expect("whole"), Some(body(i)), "{ops} {cut:?}");
                assert_eq!(store.find(&ix(i)), Some(id(i)));
            }
            fill(&store, 0..200);
            check(&store, 200);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    /// Any bytes in place of the index have an answer, and it is right.
    #[test]
    fn hostile_bytes_are_no_index(
        noise in proptest::collection::vec(any::<u8>(), 0..400),
        which in 0usize..8,
        at in 0usize..4_000,
    ) {
        let disk = SimDisk::new();
        fill(&open(&disk), 0..100);
        let names = disk.list("index").expect("listed");
        let path = format!("index/{}", names[which % names.len()]);
        let mut bytes = disk.read(&path).expect("read");
        let at = at % bytes.len();
        let end = bytes.len().min(at + noise.len());
        bytes.splice(at..end, noise);
        disk.plant(&path, &bytes).expect("planted");
        check(&try_open(&disk, options()).0, 100);
    }
}
