//! Any bytes in place of a file beside the zones, root and segments of the index or the state of
//! reclaiming, with a checksum that holds: the store opens, and gives what the zones have.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use seawall_base::{Disk, ObjectId};
use seawall_sim::SimDisk;
use seawall_store::{Options, Store};

const FILES: [&str; 4] = [
    "index/root",
    "index/0000000000000001.segment",
    "reclaim/state",
    "reclaim/0000000000000001.condemned",
];

fuzz_target!(|data: &[u8]| {
    let Some((which, bytes)) = data.split_first() else { return };
    let disk = SimDisk::new();
    let options = Options { zone_bytes: 1 << 12, index_tail: 4, ..Options::default() };
    let open = || Store::open(Arc::new(disk.clone()) as Arc<dyn Disk>, "", options);
    let bodies: Vec<Vec<u8>> = (0..8u8).map(|i| vec![i; 40]).collect();
    let (store, _) = open().expect("a new store");
    for body in &bodies {
        store.put(ObjectId::of(body), Some([body[0]; 32]), body).expect("a healthy disk");
        store.flush().expect("a healthy disk");
    }
    let mut session = store.reclaim().expect("nobody else is there");
    let unneeded = ObjectId::of(&bodies[0]);
    session.condemn(&mut |id| *id != unneeded, 50).expect("a healthy disk");
    drop(session);
    drop(store);
    // The checksums are keyed with the salt, which is zero here.
    let check = *blake3::keyed_hash(&[0; 32], bytes).as_bytes();
    let sealed = [bytes, &check].concat();
    let path = FILES[usize::from(*which) % FILES.len()];
    disk.plant(path, &sealed).expect("a fine path");
    let (store, _) = open().expect("the zones are whole");
    for body in &bodies {
        let found = store.get(ObjectId::of(body)).expect("never called damaged");
        assert!(found.is_none_or(|found| found == *body));
    }
    let _ = store.verify(&mut |_| {});
});
