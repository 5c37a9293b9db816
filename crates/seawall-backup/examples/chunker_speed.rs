//! How fast each path of the chunker cuts, on one core, and that all cut alike.
//!
//! Speed is per second of this thread's processor time, so that a busy machine disturbs it little.
//!
//! `cargo run --release -p seawall-backup --example chunker_speed`

#![allow(clippy::print_stdout)] // The figures are its result.

mod clock;

use clock::seconds;
use seawall_backup::chunker::{Chunker, Path};

const GIB: usize = 1 << 30;
const RUNS: usize = 5;

fn cuts(chunker: &Chunker, mut data: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while !data.is_empty() {
        let n = chunker.cut(data);
        lengths.push(n);
        data = &data[n..];
    }
    lengths
}

fn main() {
    let mut data = vec![0; GIB];
    blake3::Hasher::new().update(b"chunker speed").finalize_xof().fill(&mut data);
    let mut first = None;
    for path in Path::ALL {
        let Some(chunker) = Chunker::with_path(&[7; 32], path) else {
            println!("{path:?}: not on this CPU");
            continue;
        };
        let mut times = [0.0; RUNS];
        for time in &mut times {
            let (spent, lengths) = seconds(|| cuts(&chunker, &data));
            *time = spent;
            assert_eq!(*first.get_or_insert_with(|| lengths.clone()), lengths, "{path:?}");
        }
        times.sort_by(f64::total_cmp);
        let speed = |time: f64| GIB as f64 / 1e9 / time;
        println!(
            "{path:?}: {:.2} GB/s (median of {RUNS}; best {:.2}), {} chunks",
            speed(times[RUNS / 2]),
            speed(times[0]),
            first.as_ref().map_or(0, Vec::len)
        );
    }
}
