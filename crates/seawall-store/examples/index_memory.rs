//! How much memory the index takes, and how fast it answers: makes a store of many small objects, opens
//! it, looks up a million random keys that are there and a million that are not, and builds the index
//! anew from the zones. Each step is a process of its own, so that each has its own peak.
//!
//! ```text
//! cargo run --release -p seawall-store --example index_memory -- 50000000 /var/tmp/index-memory
//! ```

#![expect(clippy::print_stdout, reason = "its figures are its result")]

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use seawall_base::ObjectId;
use seawall_host::FsDisk;
use seawall_store::{Options, Store};

const LOOKUPS: u64 = 1_000_000;
/// Records of so small objects are many: a smaller zone keeps the headers of one in little memory.
const ZONE_BYTES: u64 = 32 << 20;

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let args: Vec<String> = std::env::args().collect();
    match &args[1..] {
        [count, dir] => {
            for step in ["make", "look", "rebuild"] {
                let done = Command::new(&args[0]).args([step, count, dir]).status()?;
                if !done.success() {
                    return Err(format!("{step} failed").into());
                }
            }
            Ok(())
        }
        [step, count, dir] => run(step, count.parse()?, Path::new(dir)),
        _ => Err("usage: index_memory COUNT DIRECTORY".into()),
    }
}

fn run(step: &str, count: u64, dir: &Path) -> Outcome {
    if step == "rebuild" {
        std::fs::remove_dir_all(dir.join("index"))?;
    }
    let started = Instant::now();
    let disk = Arc::new(FsDisk::create(dir)?);
    let options = Options { zone_bytes: ZONE_BYTES, salt: [7; 32], ..Options::default() };
    let (store, report) = Store::open(disk, "", options)?;
    let opened = started.elapsed();
    println!("{step}: opened {} objects in {:.3} s", report.objects, opened.as_secs_f64());
    match step {
        "make" => make(&store, count)?,
        _ => look(&store, count),
    }
    drop(store);
    println!("{step}: {:.1} s in all, peak {} MiB", started.elapsed().as_secs_f64(), peak()?);
    Ok(())
}

fn body(i: u64) -> [u8; 8] {
    i.to_le_bytes()
}

fn key(i: u64) -> [u8; 32] {
    blake3::derive_key("seawall example index key", &i.to_le_bytes())
}

fn make(store: &Store, count: u64) -> Outcome {
    let started = Instant::now();
    for i in 0..count {
        store.put(ObjectId::of(&body(i)), Some(key(i)), &body(i))?;
        if i % 10_000_000 == 9_999_999 {
            let rate = (i + 1) as f64 / started.elapsed().as_secs_f64();
            println!("make: {} objects, {rate:.0}/s", i + 1);
        }
    }
    store.flush()?;
    Ok(())
}

/// Random numbers, the same each time.
fn numbers() -> impl Iterator<Item = u64> {
    (1..).map(|i: u64| {
        let mixed = (i ^ (i >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 27)
    })
}

fn look(store: &Store, count: u64) {
    for (what, base) in [("present", 0), ("absent", count)] {
        let chosen: Vec<u64> = numbers().map(|n| base + n % count).take(LOOKUPS as usize).collect();
        let keys: Vec<_> = chosen.iter().map(|i| (key(*i), ObjectId::of(&body(*i)))).collect();
        let found = rate(what, "known(ix)", &keys, |(ix, _)| store.known(ix).is_some());
        assert_eq!(found, if base == 0 { LOOKUPS } else { 0 }, "every answer is right");
        let found = rate(what, "contains(id)", &keys, |(_, id)| store.contains(*id));
        assert_eq!(found, if base == 0 { LOOKUPS } else { 0 }, "every answer is right");
    }
}

fn rate<K>(what: &str, name: &str, keys: &[K], ask: impl Fn(&K) -> bool) -> u64 {
    let (started, busy) = (Instant::now(), processor_seconds());
    let found = keys.iter().filter(|key| ask(key)).count() as u64;
    let (wall, busy) = (started.elapsed().as_secs_f64(), processor_seconds() - busy);
    let per = |seconds: f64| keys.len() as f64 / seconds;
    println!(
        "  {name:13} {what:8} {:>10.0}/s, {:>10.0} per processor second",
        per(wall),
        per(busy)
    );
    found
}

/// Processor time of this process so far, to a hundredth of a second.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("this is Linux");
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|f| f.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}

/// The peak of this process's memory in MiB.
fn peak() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kib / 1024)
}
