//! How fast a scrub is: makes a store of two gibibytes of objects as a snapshot leaves them, and hashes
//! all of it, warm, on one core and on all.
//!
//! ```text
//! cargo run --release -p seawall-store --example scrub_speed -- /var/tmp/scrub-speed
//! ```

#![expect(clippy::print_stdout, reason = "its figures are its result")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use seawall_base::ObjectId;
use seawall_host::FsDisk;
use seawall_store::{Options, Scrub, Store};

const BYTES: u64 = 2 << 30;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args().nth(1).ok_or("usage: scrub_speed DIRECTORY")?;
    let disk = Arc::new(FsDisk::create(Path::new(&dir))?);
    let (store, report) = Store::open(disk, "", Options::default())?;
    if report.objects == 0 {
        fill(&store)?;
    }
    let cores = std::thread::available_parallelism()?.get();
    for workers in [1, 1, cores] {
        let (started, busy) = (Instant::now(), processor_seconds());
        let how = Scrub { workers, ..Scrub::default() };
        let found = store.scrub(&how, &mut |_| {})?;
        assert!(found.damage.is_empty());
        let (wall, busy) = (started.elapsed().as_secs_f64(), processor_seconds() - busy);
        let gigabytes = found.bytes as f64 / 1e9;
        println!(
            "{workers} threads: {:.2} GB/s, {:.2} GB per processor second",
            gigabytes / wall,
            gigabytes / busy
        );
    }
    Ok(())
}

/// Objects of 4 to 100 KiB, like bundles, chunks and pages.
fn fill(store: &Store) -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    let (mut state, mut done) = (1u64, 0);
    while done < BYTES {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let len = 4_096 + (state >> 33) as usize % 98_304;
        let mut body = state.to_le_bytes().repeat(len / 8);
        body[0] ^= 1;
        store.put(ObjectId::of(&body), Some(ObjectId::of(&body[..8]).0), &body)?;
        done += body.len() as u64;
    }
    let put = started.elapsed().as_secs_f64();
    store.flush()?;
    let all = started.elapsed().as_secs_f64();
    println!("put {:.2} GB/s; the last flush took {:.2} s", done as f64 / put / 1e9, all - put);
    Ok(())
}

/// Processor time of this process so far, to a hundredth of a second.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("this is Linux");
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|f| f.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}
