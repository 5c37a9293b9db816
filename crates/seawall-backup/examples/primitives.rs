//! The arithmetic limit of a first backup of a directory: what reading, chunking, hashing,
//! compressing and encrypting its files cost on one core, each alone, and what their sum would
//! take if all cores did nothing else. All of it is processor time: a busy machine disturbs it
//! little, and waiting for a cold disk does not count.
//!
//! `cargo run --release -p seawall-backup --example primitives -- [--json] DIRECTORY`
//!
//! Pieces are those of a snapshot: chunks of long files, bundles of up to 1 MiB of small ones.
//! What a piece saves by being met again, directories, pages and syncing are not counted, so a
//! tree full of duplicates can be stored faster than this limit.

#![allow(clippy::print_stdout)] // The figures are its result.

mod clock;

use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use clock::seconds;
use seawall_backup::chunker::{Chunker, MIN};
use seawall_seal::padme;

const GIB: f64 = (1u64 << 30) as f64;
const BUNDLE: usize = 1 << 20;

/// One primitive's share.
#[derive(Default)]
struct Cost {
    time: Duration,
    bytes: u64,
}

impl Cost {
    fn add<T>(&mut self, bytes: usize, work: impl FnOnce() -> T) -> T {
        let (spent, result) = seconds(|| black_box(work()));
        self.time += Duration::from_secs_f64(spent);
        self.bytes += bytes as u64;
        result
    }
}

#[derive(Default)]
struct Costs {
    read: Cost,
    chunk: Cost,
    keyed_hash: Cost,
    compress: Cost,
    encrypt: Cost,
    hash: Cost,
}

impl Costs {
    const fn all(&self) -> [(&'static str, &Cost); 6] {
        [
            ("read", &self.read),
            ("chunk", &self.chunk),
            ("blake3_keyed", &self.keyed_hash),
            ("zstd_3", &self.compress),
            ("aes_256_gcm_siv", &self.encrypt),
            ("blake3", &self.hash),
        ]
    }

    /// What sealing does with a piece.
    fn piece(&mut self, plain: &[u8]) -> io::Result<()> {
        self.keyed_hash.add(plain.len(), || blake3::keyed_hash(&[1; 32], plain));
        let packed = self.compress.add(plain.len(), || zstd::bulk::compress(plain, 3))?;
        let useful = packed.len() <= plain.len() - plain.len() / 16;
        let mut body = if useful { packed } else { plain.to_vec() };
        body.resize(padme(body.len()), 0);
        let len = body.len();
        let _tag = self.encrypt.add(len, || {
            let key = UnboundKey::new(&AES_256_GCM_SIV, &[2; 32]).expect("32 bytes");
            let nonce = Nonce::assume_unique_for_key([0; 12]);
            LessSafeKey::new(key)
                .seal_in_place_separate_tag(nonce, Aad::from([0; 4]), &mut body)
                .expect("far below the cipher's limit")
        });
        self.hash.add(len, || blake3::hash(&body));
        Ok(())
    }

    fn long_file(&mut self, chunker: &Chunker, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        let mut chunks = Vec::new();
        self.chunk.add(bytes.len(), || {
            while !rest.is_empty() {
                let (chunk, after) = rest.split_at(chunker.cut(rest));
                chunks.push(chunk);
                rest = after;
            }
        });
        chunks.into_iter().try_for_each(|chunk| self.piece(chunk))
    }
}

/// Regular files below `dir`, in the order of a walk.
fn files(dir: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries = fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_unstable_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type()?;
        if kind.is_dir() {
            files(&entry.path(), found)?;
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    Ok(())
}

fn measure(dir: &Path) -> io::Result<Costs> {
    let mut paths = Vec::new();
    files(dir, &mut paths)?;
    let chunker = Chunker::new(&[7; 32]);
    let mut costs = Costs::default();
    let mut bundle = Vec::new();
    for path in paths {
        let len = fs::metadata(&path)?.len() as usize;
        let bytes = costs.read.add(len, || fs::read(&path))?;
        if bytes.len() > MIN {
            costs.long_file(&chunker, &bytes)?;
            continue;
        }
        if bundle.len() + bytes.len() > BUNDLE {
            costs.piece(&bundle)?;
            bundle.clear();
        }
        bundle.extend_from_slice(&bytes);
    }
    if !bundle.is_empty() {
        costs.piece(&bundle)?;
    }
    Ok(costs)
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut json, mut dir) = (false, None);
    for argument in std::env::args_os().skip(1) {
        if argument == "--json" {
            json = true;
        } else {
            dir = Some(PathBuf::from(argument));
        }
    }
    let dir = dir.ok_or("usage: primitives [--json] DIRECTORY")?;
    let costs = measure(&dir)?;
    let cores = std::thread::available_parallelism()?.get();
    let sum: f64 = costs.all().iter().map(|(_, cost)| cost.time.as_secs_f64()).sum();
    let limit = sum / cores as f64;
    let gib = costs.read.bytes as f64 / GIB;
    if json {
        let each = costs.all().map(|(name, cost)| {
            let seconds = cost.time.as_secs_f64();
            (name.to_owned(), serde_json::json!({ "bytes": cost.bytes, "seconds": seconds }))
        });
        let each: serde_json::Map<_, _> = each.into_iter().collect();
        let report = serde_json::json!({
            "bytes": costs.read.bytes, "cores": cores, "primitives": each,
            "sum_seconds": sum, "limit_seconds": limit, "limit_seconds_per_gib": limit / gib,
        });
        println!("{report}");
        return Ok(());
    }
    println!("{gib:.3} GiB in {}", dir.display());
    for (name, cost) in costs.all() {
        let seconds = cost.time.as_secs_f64();
        let speed = cost.bytes as f64 / 1e9 / seconds.max(f64::MIN_POSITIVE);
        println!("{name:>16}: {speed:6.2} GB/s of its input, {:.3} s per GiB read", seconds / gib);
    }
    println!("{:>16}: {:.3} s per GiB on one core", "sum", sum / gib);
    println!("{:>16}: {:.3} s per GiB on {cores} cores, {limit:.3} s in all", "limit", limit / gib);
    Ok(())
}
