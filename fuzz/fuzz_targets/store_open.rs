//! A store over a zone of any bytes: it opens or refuses, then takes and keeps an object.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use seawall_base::{Disk, ObjectId};
use seawall_sim::SimDisk;
use seawall_store::{Options, Store};

fuzz_target!(|data: &[u8]| {
    let disk = SimDisk::new();
    disk.plant("zones/0000000000000000.zone", data).expect("a fine path");
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let options = Options { zone_bytes: 1 << 16, ..Options::default() };
    let Ok((store, _)) = Store::open(disk.clone(), "", options) else { return };
    let _ = store.verify(&mut |_| {});
    let body = b"an object";
    let id = ObjectId::of(body);
    store.put(id, None, body).expect("a healthy disk");
    store.flush().expect("a healthy disk");
    drop(store);
    let (store, _) = Store::open(disk, "", options).expect("opened before");
    let kept = store.get(id).expect("what was flushed is kept");
    assert_eq!(kept.as_deref(), Some(body.as_slice()));
});
