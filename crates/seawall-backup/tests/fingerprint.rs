//! Which of fifty known files does somebody keep? Asked of an unkeyed chunker, and of what a
//! region sees of a snapshot.
//!
//! The attacker knows every candidate byte for byte, the whole program, all that the victim keeps
//! besides, and when the candidate was stored; not the secrets of the domain. Candidates have
//! equal sizes, before compression and after (but for a thousandth): **total size does leak**,
//! and nothing here hides it.
//!
//! - The *baseline* is a gear chunker with a public table, its chunks' lengths unpadded and in
//!   the order of the file, as most backup programs have it. The attacker looks each candidate's
//!   lengths up.
//! - Against the region's view (`reference_set::walk`: ids and padded lengths, by id) no lengths
//!   can be computed. The attacker chunks each candidate under secrets of its own, and takes the
//!   candidate under whose distribution of lengths, count and total the view is likeliest.

#![allow(clippy::print_stdout)] // The rates are the test's result.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use seawall_backup::chunker::Chunker;
use seawall_backup::snapshot::{Checkpoints, Plan, write};
use seawall_backup::source::FileTree;
use seawall_base::ObjectId;
use seawall_host::{FsDisk, SystemClock};
use seawall_record::reference_set::{self, Visit};
use seawall_seal::{Domain, DomainScope, Kind, Placement, padme, seal};
use seawall_sim::SeededRng;
use seawall_store::Store;

/// The data class of all objects here.
const CLASS: u8 = 3;
const CANDIDATES: usize = 50;
const SIZE: usize = 8 << 20;
/// How often a victim is attacked: each time another candidate, under other secrets.
const VICTIMS: usize = 20;
/// How often the attacker chunks each candidate.
const REHEARSALS: usize = 2;

/// In memory where that is possible: only lengths matter.
fn temporary() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory")
}

fn noise(seed: &str, n: usize) -> Vec<u8> {
    let mut out = vec![0; n];
    blake3::Hasher::new().update(seed.as_bytes()).finalize_xof().fill(&mut out);
    out
}

/// A file of its own content: stretches of four compressibilities, as many of each as any other
/// candidate has, in an order of its own.
fn candidate(index: usize) -> Vec<u8> {
    const STRETCH: usize = 64 << 10;
    let mut bytes = noise(&format!("candidate {index}"), SIZE);
    let order = noise(&format!("order {index}"), SIZE / STRETCH * 8);
    let key = |i: usize| &order[8 * i..8 * i + 8];
    let mut places: Vec<usize> = (0..SIZE / STRETCH).collect();
    places.sort_unstable_by_key(|&i| key(i));
    for (rank, place) in places.into_iter().enumerate() {
        let stretch = &mut bytes[place * STRETCH..][..STRETCH];
        match rank % 8 {
            0..5 => {}
            5 => stretch.iter_mut().for_each(|b| *b &= 0x0f),
            6 => stretch.iter_mut().for_each(|b| *b = b"etaoinsh"[usize::from(*b % 8)]),
            _ => stretch.chunks_exact_mut(16).for_each(|line| line[..12].fill(b' ')),
        }
    }
    bytes
}

/// Lengths of the chunks of a plain `FastCDC`-like chunker whose table everybody has.
fn gear_lengths(table: &[u64; 256], data: &[u8]) -> Vec<usize> {
    const MIN: usize = 128 << 10;
    const MAX: usize = 2 << 20;
    let (mut lengths, mut start) = (Vec::new(), 0);
    while start < data.len() {
        let rest = &data[start..data.len().min(start + MAX)];
        let mut hash = 0u64;
        let boundary = rest.iter().skip(MIN).position(|&byte| {
            hash = (hash << 1).wrapping_add(table[usize::from(byte)]);
            hash >> (64 - 19) == 0
        });
        let n = boundary.map_or(rest.len(), |at| MIN + at + 1);
        lengths.push(n);
        start += n;
    }
    lengths
}

/// What the attacker expects of a candidate in the region's view.
#[derive(Default)]
struct Expectation {
    /// Padded lengths met in all rehearsals.
    lengths: Vec<u32>,
    counts: Vec<f64>,
    totals: Vec<f64>,
}

fn rehearse(data: &[u8], index: usize) -> Expectation {
    let mut expected = Expectation::default();
    for round in 0..REHEARSALS {
        let secret = blake3::hash(format!("rehearsal {index} {round}").as_bytes());
        let domain = Domain::derive(secret.as_bytes(), DomainScope::Tenant);
        let chunker = Chunker::new(&domain.chunker_secret().expect("a shared domain has one"));
        let mut rng = SeededRng::new(1);
        let placement = Placement { kind: Kind::Chunk, class: CLASS };
        let (mut rest, mut count, mut total) = (data, 0.0, 0.0);
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(chunker.cut(rest));
            let sealed = seal(&domain, placement, chunk, &mut rng).expect("within bounds");
            expected.lengths.push(sealed.bytes.len() as u32);
            count += 1.0;
            total += sealed.bytes.len() as f64;
            rest = after;
        }
        expected.counts.push(count);
        expected.totals.push(total);
    }
    expected
}

/// The lengths a region sees of a snapshot of `dir` under the secrets of `victim`, in the order
/// it sees them.
fn region_view(dir: &Path, victim: usize) -> Vec<u32> {
    let home = temporary();
    let disk = Arc::new(FsDisk::create(home.path()).expect("a directory"));
    let (store, _) = Store::open(disk, "", seawall_store::Options::default()).expect("opens");
    let secret = blake3::hash(format!("victim {victim}").as_bytes());
    let domain = Domain::derive(secret.as_bytes(), DomainScope::Tenant);
    let plan = Plan {
        sources: vec![dir.as_os_str().as_bytes().to_vec()],
        host: b"host".to_vec(),
        class: CLASS,
        domain: &domain,
        index_domain: None,
        store: &store,
        workers: 2,
        checkpoints: Checkpoints::new(&SystemClock),
    };
    let source = FileTree::new(&[dir]).expect("an absolute path");
    let mut rng = SeededRng::new(victim as u64);
    let snapshot =
        write(&plan, Box::new(source), None, &mut rng, &mut |_| ()).expect("nothing fails");
    let pages = |id: ObjectId| store.get(id).map_err(|e| e.to_string());
    let mut view = Vec::new();
    reference_set::walk(&pages, &snapshot.reference_set, &mut |visit| {
        if let Visit::Member(member) = visit {
            view.push((member.id, member.len));
        }
    })
    .expect("the set is whole");
    assert!(view.is_sorted(), "by id, which tells nothing of place or time");
    for &(_, len) in &view {
        // 33 bytes in front, 16 behind: docs/formats/object.md.
        let padded = len as usize - 49;
        assert_eq!(padme(padded), padded, "a length of Padmé");
    }
    view.into_iter().map(|(_, len)| len).collect()
}

/// Classes of length: eights of an octave, from 16 KiB on.
const CLASSES: usize = 64;

fn class(len: u32) -> usize {
    let len = len.max(1 << 14);
    let exponent = len.ilog2();
    ((exponent - 14) << 3 | len >> (exponent - 3) & 7) as usize
}

/// Frequencies of classes, none zero.
fn frequencies(lengths: &[u32]) -> Vec<f64> {
    let mut counts = vec![0.25; CLASSES];
    for &len in lengths {
        // Smoothed over neighbours: rehearsals are few.
        for (neighbour, weight) in [(0, 0.25), (1, 0.5), (2, 0.25)] {
            counts[(class(len) + neighbour).clamp(1, CLASSES) - 1] += weight;
        }
    }
    let sum: f64 = counts.iter().sum();
    counts.into_iter().map(|count| count / sum).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Mean of the variances within the candidates.
fn variance(values: impl Iterator<Item = Vec<f64>>) -> f64 {
    let variances: Vec<f64> = values
        .map(|v| v.iter().map(|x| (x - mean(&v)).powi(2)).sum::<f64>() / (v.len() - 1) as f64)
        .collect();
    mean(&variances)
}

/// The likeliest candidate for a view, in which `besides` stands for all else the victim keeps.
fn guess(view: &[u32], besides: &[u32], candidates: &[Expectation]) -> usize {
    let count_variance = variance(candidates.iter().map(|c| c.counts.clone()));
    let total_variance = variance(candidates.iter().map(|c| c.totals.clone()));
    let sum = |lengths: &[u32]| lengths.iter().copied().map(f64::from).sum::<f64>();
    // A directory's page and a chunk list's are in both.
    let count = view.len() as f64 - besides.len() as f64;
    let total = sum(view) - sum(besides);
    let likelihood = |expected: &Expectation| {
        let frequencies = frequencies(&expected.lengths);
        let long = view.iter().filter(|&&len| len > 16_384);
        let shape: f64 = long.map(|&len| frequencies[class(len)].ln()).sum();
        shape
            - (count - mean(&expected.counts)).powi(2) / (2.0 * count_variance)
            - (total - mean(&expected.totals)).powi(2) / (2.0 * total_variance)
    };
    let best = candidates
        .iter()
        .enumerate()
        .max_by(|(_, a), (_, b)| likelihood(a).total_cmp(&likelihood(b)));
    best.expect("there are candidates").0
}

/// Files that every victim has.
fn write_others(dir: &Path) {
    for i in 0..40 {
        let bytes = noise(&format!("other {i}"), 300 * (i + 1) * (i + 1));
        fs::write(dir.join(format!("other-{i:02}")), bytes).expect("written");
    }
}

/// Runs `work` for each of `n` on two threads.
fn both_cores<T: Send>(n: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let (first, second) = std::thread::scope(|scope| {
        let half = |range: std::ops::Range<usize>| range.map(&work).collect::<Vec<T>>();
        let first = scope.spawn(move || half(0..n / 2));
        (first.join(), half(n / 2..n))
    });
    first.expect("no panic").into_iter().chain(second).collect()
}

#[test]
fn a_known_file_is_not_recognised_by_the_lengths_of_its_chunks() {
    let table: [u64; 256] = std::array::from_fn(|i| {
        let hash = blake3::hash(&[i as u8]);
        u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("8 of 32 bytes"))
    });
    let known: Vec<(Vec<usize>, Expectation)> = both_cores(CANDIDATES, |i| {
        let data = candidate(i);
        (gear_lengths(&table, &data), rehearse(&data, i))
    });
    let (baseline, expectations): (Vec<_>, Vec<_>) = known.into_iter().unzip();
    let others = temporary();
    write_others(others.path());
    let before = noise("a file before", 3 << 20);
    let results: Vec<(bool, bool)> = both_cores(VICTIMS, |victim| {
        let truth = (victim * 17 + 3) % CANDIDATES;
        let data = candidate(truth);
        // Unkeyed: the sequence stands in the stream of uploads.
        let mut uploads = gear_lengths(&table, &before);
        uploads.extend(gear_lengths(&table, &data));
        uploads.extend(gear_lengths(&table, &before[1 << 20..]));
        let found = baseline.iter().position(|known| {
            uploads.windows(known.len()).any(|window| window == known.as_slice())
        });
        let dir = temporary();
        write_others(dir.path());
        fs::write(dir.path().join("secret"), &data).expect("written");
        let besides = region_view(others.path(), victim);
        let guessed = guess(&region_view(dir.path(), victim), &besides, &expectations);
        (found == Some(truth), guessed == truth)
    });
    let unkeyed = results.iter().filter(|(unkeyed, _)| *unkeyed).count();
    let ours = results.iter().filter(|(_, ours)| *ours).count();
    let percent = |n: usize| 100 * n / VICTIMS;
    println!("one of {CANDIDATES} known files of equal size, {VICTIMS} victims");
    println!("unkeyed baseline recognised: {unkeyed} ({} %)", percent(unkeyed));
    println!("from a region's view: {ours} ({} %); chance: {} %", percent(ours), 100 / CANDIDATES);
    println!("total size leaks in both, so all candidates here have the same");
    assert!(unkeyed * 10 >= VICTIMS * 9, "the attack works where there is something to find");
    assert!(ours * 10 <= VICTIMS, "one in ten would be five times chance");
}
