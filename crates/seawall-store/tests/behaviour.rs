//! What a store does when nothing goes wrong, and what it refuses.

use std::sync::Arc;

use seawall_base::{MAX_OBJECT, ObjectId};
use seawall_sim::SimDisk;
use seawall_store::{Options, Stats, Store, StoreError};

fn open(disk: &SimDisk, zone_bytes: u64) -> Store {
    let options = Options { zone_bytes, salt: [7; 32], ..Options::default() };
    let (store, report) = Store::open(Arc::new(disk.clone()), "s", options).expect("opens");
    assert_eq!((report.damage, report.torn), (vec![], vec![]));
    store
}

fn put(store: &Store, body: &[u8], ix: Option<[u8; 32]>) -> (ObjectId, bool) {
    let id = ObjectId::of(body);
    (id, store.put(id, ix, body).expect("put"))
}

#[test]
fn objects_are_visible_after_a_flush_and_after_opening_again() {
    let disk = SimDisk::new();
    let store = open(&disk, 1 << 20);
    let ix = [3; 32];
    let (id, new) = put(&store, b"body", Some(ix));
    assert!(new);
    assert!(!put(&store, b"body", Some(ix)).1, "deduplicated while pending");
    assert!(!store.contains(id) && store.get(id).expect("read").is_none());
    assert_eq!((store.find(&ix), store.known(&ix)), (None, Some(id)));
    store.flush().expect("flushed");
    store.flush().expect("nothing to do");
    for store in [store, open(&disk, 1 << 20), open(&disk, 1 << 20)] {
        assert_eq!(store.get(id).expect("read").as_deref(), Some(&b"body"[..]));
        assert_eq!((store.find(&ix), store.known(&ix)), (Some(id), Some(id)));
        assert_eq!((store.size_of(id), store.ids().expect("read")), (Some(4), vec![id]));
        assert_eq!(store.stats().expect("read"), Stats { objects: 1, bytes: 4, zones: 1 });
        assert!(!put(&store, b"body", None).1);
    }
}

#[test]
fn wrong_ids_and_oversized_bodies_are_refused() {
    let store = open(&SimDisk::new(), 1 << 20);
    let claimed = ObjectId([0; 32]);
    assert!(matches!(store.put(claimed, None, b"x"), Err(StoreError::WrongId { .. })));
    let body = vec![0; MAX_OBJECT + 1];
    let error = store.put(ObjectId::of(&body), None, &body).expect_err("too large");
    assert!(error.to_string().contains("16777217 bytes"), "{error}");
    let largest = &body[..MAX_OBJECT];
    let (id, _) = put(&store, largest, None);
    store.flush().expect("flushed");
    assert_eq!(store.get(id).expect("read").as_deref(), Some(largest));
}

#[test]
fn zones_roll_and_everything_stays_readable() {
    let disk = SimDisk::new();
    let store = open(&disk, 1_024);
    let bodies: Vec<Vec<u8>> = (0..100u8).map(|i| vec![i; usize::from(i) * 13]).collect();
    for body in &bodies {
        put(&store, body, None);
    }
    store.flush().expect("flushed");
    let zones = store.stats().expect("read").zones;
    assert!(zones > 40, "{zones}");
    for path in disk.paths() {
        let len = disk.read(&path).expect("read").len();
        let alone = 64 + 4 * 80 + 99 * 13 + 1;
        assert!(len <= 1_024 || len <= alone, "{path} has {len} bytes");
    }
    let store = open(&disk, 1_024);
    assert_eq!(store.stats().expect("read").zones, zones);
    for body in &bodies {
        assert_eq!(store.get(ObjectId::of(body)).expect("read").as_ref(), Some(body));
    }
    let report = store.verify(&mut |_| {}).expect("verified");
    assert_eq!((report.records, report.damage), (100, vec![]));
}

#[test]
fn a_second_index_key_is_remembered_while_the_store_is_open() {
    let disk = SimDisk::new();
    let store = open(&disk, 1 << 20);
    let (id, _) = put(&store, b"body", None);
    assert!(!put(&store, b"body", Some([1; 32])).1);
    assert_eq!((store.known(&[1; 32]), store.find(&[1; 32])), (Some(id), None));
    store.flush().expect("flushed");
    assert!(!put(&store, b"body", Some([2; 32])).1);
    assert_eq!((store.find(&[1; 32]), store.find(&[2; 32])), (Some(id), Some(id)));
    assert_eq!(open(&disk, 1 << 20).find(&[1; 32]), None, "the zones do not hold it");
}

#[test]
fn readers_a_writer_and_a_scrub_run_together() {
    let disk = SimDisk::new();
    let store = open(&disk, 4_096);
    let body = |i: u32| [i.to_le_bytes().to_vec(), vec![7; 200]].concat();
    std::thread::scope(|threads| {
        for reader in 0..3u32 {
            let store = &store;
            threads.spawn(move || {
                for i in (0..2_000u32).map(|n| n * 7 % 300 + reader % 2) {
                    let found = store.get(ObjectId::of(&body(i))).expect("never damaged");
                    assert!(found.is_none_or(|b| b == body(i)));
                }
            });
        }
        threads.spawn(|| {
            for _ in 0..20 {
                assert_eq!(store.verify(&mut |_| {}).expect("verified").damage, vec![]);
            }
        });
        for i in 0..300 {
            put(&store, &body(i), None);
            if i % 5 == 0 {
                store.flush().expect("flushed");
                assert!(store.contains(ObjectId::of(&body(i))));
            }
        }
    });
    store.flush().expect("flushed");
    assert_eq!(open(&disk, 4_096).ids().expect("read"), store.ids().expect("read"));
    assert_eq!(store.stats().expect("read").objects, 300);
}

#[test]
fn options_do_not_print_the_salt() {
    let text = format!("{:?}", Options { zone_bytes: 9, salt: [0xab; 32], ..Options::default() });
    assert!(text.contains("zone_bytes: 9") && !text.contains("171"), "{text}");
}
