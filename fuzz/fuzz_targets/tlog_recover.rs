//! A log directory of any bytes: opening it recovers or refuses, and recovering is done once.
//!
//! The first byte says where the rest is cut into the files `entries`, `hashes`, `entries.redo`
//! and `checkpoint`: one after another, each with a 16-bit length.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use seawall_base::Disk;
use seawall_base::wire::Reader;
use seawall_fuzz::ORIGIN;
use seawall_sim::SimDisk;
use seawall_tlog::Log;

fuzz_target!(|data: &[u8]| {
    let disk = SimDisk::new();
    let mut r = Reader::new(data);
    let Ok(present) = r.u8() else { return };
    for (i, name) in ["entries", "hashes", "entries.redo", "checkpoint"].iter().enumerate() {
        if present & 1 << i != 0 {
            let Ok(len) = r.u16() else { return };
            let bytes = r.take(usize::from(len).min(r.remaining())).expect("bounded");
            disk.plant(&format!("log/{name}"), bytes).expect("a fine path");
        }
    }
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let origin = ORIGIN.parse().expect("an origin");
    let Ok((mut log, _)) = Log::open(disk.clone(), "log", &origin) else { return };
    let (size, root) = (log.size(), log.root());
    let entries = log.entries(0..size).expect("what it counts, it has");
    assert_eq!(entries.len() as u64, size);
    if log.append(&[b"one more"]).is_ok() {
        assert_eq!(log.root_at(size).expect("an earlier root"), root);
    }
    let (again, report) = Log::open(disk, "log", &origin).expect("recovered once, opens again");
    assert_eq!((again.size(), again.root()), (log.size(), log.root()), "{report:?}");
});
