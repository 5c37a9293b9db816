//! Several processes on one store: each writes a zone of its own, and whoever dies leaves nothing behind
//! that hinders the others.

use std::sync::Arc;

use seawall_base::{Disk as _, ObjectId};
use seawall_sim::{PowerCut, SimDisk};
use seawall_store::{Access, OpenReport, Options, Store, StoreError};

fn open_for(disk: &SimDisk, access: Access) -> (Store, OpenReport) {
    let options = Options { access, zone_bytes: 1_300, salt: [7; 32], ..Options::default() };
    Store::open(Arc::new(disk.clone()), "s", options).expect("opens")
}

fn open(disk: &SimDisk) -> Store {
    let (store, report) = open_for(disk, Access::Write);
    assert_eq!((report.damage, report.torn, report.cut_bytes), (vec![], vec![], 0));
    store
}

fn put(store: &Store, body: &[u8]) -> ObjectId {
    let id = ObjectId::of(body);
    store.put(id, None, body).expect("put");
    id
}

fn body(writer: u8, i: u8) -> Vec<u8> {
    [writer, i].repeat(40)
}

/// As if every process had been killed: locks end, what was written stays.
fn killed(disk: &SimDisk) -> SimDisk {
    disk.power_cut(PowerCut::KeepUnsynced)
}

#[test]
fn writers_have_zones_of_their_own_and_see_one_another_when_they_look() {
    let disk = SimDisk::new();
    let (a, b) = (open(&disk), open(&disk));
    let mut ids = Vec::new();
    for i in 0..30 {
        ids.push(put(&a, &body(1, i)));
        ids.push(put(&b, &body(2, i)));
        a.flush().expect("flushed");
        if i % 3 == 0 {
            b.flush().expect("flushed");
        }
    }
    b.flush().expect("flushed");
    assert_eq!((a.ids().expect("read").len(), b.ids().expect("read").len()), (30, 30));
    assert!(a.get(ids[1]).expect("read").is_none());
    for store in [&a, &b] {
        store.refresh().expect("looked again");
        assert_eq!(store.ids().expect("read").len(), 60);
        assert!(
            !store.put(ids[0], None, &body(1, 0)).expect("put"),
            "found where another wrote it"
        );
        assert_eq!(store.verify(&mut |_| {}).expect("verified").damage, vec![]);
    }
    drop((a, b));
    for disk in [killed(&disk), disk.power_cut(PowerCut::LoseUnsynced), disk] {
        let store = open(&disk);
        assert_eq!(store.ids().expect("read").len(), 60);
        assert_eq!(store.verify(&mut |_| {}).expect("verified").damage, vec![]);
    }
}

#[test]
fn what_a_writer_that_lives_has_not_synced_is_nobody_elses() {
    let disk = SimDisk::new();
    let a = open(&disk);
    let first = put(&a, &body(1, 0));
    a.flush().expect("flushed");
    let second = put(&a, &body(1, 1));
    // The commit is written, its sync fails to return: power fails behind the write.
    disk.power_off_after(1);
    a.flush().expect_err("no power for the sync");
    let disk = killed(&disk);
    // A reader finds it whole; a writer takes the zone over and makes it durable.
    let (reader, _) = open_for(&disk, Access::Read);
    assert!(reader.contains(first) && reader.contains(second));
    assert!(matches!(reader.put(first, None, &body(1, 0)), Err(StoreError::ReadOnly)));
    let b = open(&disk);
    assert!(b.contains(second));
    let back = disk.power_cut(PowerCut::LoseUnsynced);
    assert!(open(&back).contains(second));
}

#[test]
fn a_zone_that_a_dead_writer_left_is_taken_over_and_not_called_damaged() {
    let disk = SimDisk::new();
    let (a, b) = (open(&disk), open(&disk));
    let ids = [put(&a, &body(1, 0)), put(&b, &body(2, 0))];
    a.flush().expect("flushed");
    b.flush().expect("flushed");
    put(&a, &body(1, 9));
    let disk = killed(&disk);
    for i in 0..40 {
        let store = open(&disk);
        assert!(ids.iter().all(|id| store.contains(*id)));
        put(&store, &body(3, i));
        store.flush().expect("flushed");
    }
    let store = open(&disk);
    assert_eq!(store.stats().expect("read").objects, 42);
    assert_eq!(store.verify(&mut |_| {}).expect("verified").damage, vec![]);
    let zones = disk.list("s/zones").expect("listed").len();
    assert!(zones < 20, "left zones are filled up, of forty openings: {zones}");
}

#[test]
fn a_closed_zone_that_lost_its_end_is_damage_though_others_write_beside_it() {
    let disk = SimDisk::new();
    let (a, b) = (open(&disk), open(&disk));
    put(&b, &body(2, 0));
    b.flush().expect("flushed");
    for i in 0..20 {
        put(&a, &body(1, i));
    }
    a.flush().expect("flushed");
    drop((a, b));
    let path = "s/zones/0000000000000001.zone";
    let len = disk.read(path).expect("read").len() as u64;
    disk.truncate(path, len - 80).expect("cut");
    let (_, report) = open_for(&disk, Access::Write);
    assert_eq!(report.damage.len(), 1, "{report:?}");
    assert_eq!(disk.read(path).expect("read").len() as u64, len - 80, "nothing is changed");
}

#[test]
fn writers_on_threads_lose_nothing() {
    let disk = SimDisk::new();
    std::thread::scope(|threads| {
        for writer in 0..4u8 {
            let disk = disk.clone();
            threads.spawn(move || {
                for round in 0..6 {
                    let (store, report) = open_for(&disk, Access::Write);
                    assert_eq!((report.damage, report.torn), (vec![], vec![]));
                    for i in 0..10 {
                        put(&store, &body(writer, round * 10 + i));
                    }
                    store.flush().expect("flushed");
                }
            });
        }
    });
    let store = open(&disk);
    assert_eq!(store.ids().expect("read").len(), 240);
    assert_eq!(store.verify(&mut |_| {}).expect("verified").damage, vec![]);
}
