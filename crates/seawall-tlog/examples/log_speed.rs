//! How many entries a second one core makes durable in a log, by how many share one fsync.
//!
//! ```text
//! cargo run --release -p seawall-tlog --example log_speed -- target/bench/log-speed
//! ```
//!
//! Each line is a log of its own: entries of 200 bytes, made before the clock starts, appended by
//! one thread in groups of the size shown. An append returns once its group is fsynced, so every
//! entry counted is durable. A checkpoint is signed in the end and the log opened again, and its
//! root compared: what was counted is what is there.

#![expect(clippy::print_stdout, reason = "its figures are its result")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use seawall_host::FsDisk;
use seawall_sign::SigningKey;
use seawall_tlog::Log;

const ENTRY: usize = 200;
/// How long one size is measured at least, in seconds.
const MEASURED: f64 = 2.0;
const MOST_ENTRIES: u64 = 4_000_000;
const GROUPS: [usize; 8] = [1, 16, 64, 256, 1_024, 4_096, 16_384, 65_536];

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args().nth(1).ok_or("usage: log_speed DIRECTORY")?;
    let disk = Arc::new(FsDisk::create(Path::new(&dir))?);
    let key = SigningKey::from_seed(&[7; 32]);
    let origin = "example.com/log-speed".parse()?;
    println!("{ENTRY}-byte entries, one thread, fsync of every group included");
    println!(
        "{:>7} {:>10} {:>12} {:>12} {:>10}",
        "group", "entries", "per second", "per cpu s", "fsyncs/s"
    );
    for group in GROUPS {
        let name = format!("group-{group}");
        let entries: Vec<[u8; ENTRY]> = (0..group as u64).map(entry).collect();
        let (mut log, _) = Log::open(disk.clone(), &name, &origin)?;
        let (started, busy) = (Instant::now(), processor_seconds());
        let mut groups = 0_u32;
        while started.elapsed().as_secs_f64() < MEASURED && log.size() < MOST_ENTRIES {
            log.append(&entries)?;
            groups += 1;
        }
        let (wall, busy) = (started.elapsed().as_secs_f64(), processor_seconds() - busy);
        let (appended, root) = (log.size(), log.root());
        log.sign_checkpoint(&key)?;
        drop(log);
        let (log, _) = Log::open(disk.clone(), &name, &origin)?;
        assert_eq!((log.size(), log.root()), (appended, root), "what was counted is there");
        println!(
            "{group:>7} {appended:>10} {:>12.0} {:>12.0} {:>10.0}",
            appended as f64 / wall,
            appended as f64 / busy.max(0.01),
            f64::from(groups) / wall,
        );
        std::fs::remove_dir_all(Path::new(&dir).join(&name))?;
    }
    Ok(())
}

/// Bytes that no compressing disk can make less of.
fn entry(number: u64) -> [u8; ENTRY] {
    let mut state = number;
    std::array::from_fn(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
}

/// Processor time of this process so far, to a hundredth of a second.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("this is Linux");
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|f| f.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}
