//! The find cache behind its encryption: whatever was sealed under the right key, reading it ends
//! with an answer or an error. The first byte chooses which part of the files is from the fuzzer.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_backup::find::{Cache, Filter, Match, Pattern};
use seawall_base::wire::Writer;
use seawall_base::{Disk as _, OpenMode};
use seawall_seal::FrameKey;
use seawall_sim::SimDisk;

#[path = "../shared/found.rs"]
#[allow(dead_code)]
mod found;

const ID: [u8; 16] = [3; 16];

fn seal(part: u64, plain: &[u8]) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new_derive_key("seawall 2026-11 find cache file v1");
    let key = *hasher.update(&found::KEY).update(&ID).finalize().as_bytes();
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&part.to_le_bytes());
    let mut out = plain.to_vec();
    FrameKey::new(&key).seal(&nonce, &[], &mut out, 0);
    out
}

fn put(disk: &SimDisk, path: &str, bytes: &[u8]) {
    disk.create_dir_all("find").expect("made");
    disk.open(path, OpenMode::Create).expect("opened").write_at(0, bytes).expect("written");
}

/// A root with one line of two snapshots and this one segment.
fn root(index_offset: u64, index_len: u32, rows: u64) -> Vec<u8> {
    let mut w = Writer::new();
    w.u8(1).raw(&found::OWNER.fleet.0).raw(&found::OWNER.operator);
    w.length(1).bytes(b"a log").raw(&[1; 32]).bytes(b"node").raw(&[4; 32]).raw(&[0; 16]);
    w.length(2);
    for n in 0..2u8 {
        w.raw(&[n; 32]).u64(u64::from(n)).u64(5);
    }
    w.length(0).length(1);
    w.raw(&ID).u64(index_offset).u32(index_len).u64(rows);
    w.into_vec()
}

/// A segment of one block of these parts.
fn segment(rows: u32, parts: [&[u8]; 3]) -> (Vec<u8>, u64, u32) {
    let mut file = [&b"seawall find 1\n\0"[..], &ID].concat();
    let mut index = Writer::new();
    index.length(1).u64(32);
    for (n, part) in parts.into_iter().enumerate() {
        let sealed = seal(n as u64, part);
        index.u32(sealed.len() as u32);
        file.extend(sealed);
    }
    index.u32(rows).u32(0).bytes(b"").bytes(b"").bytes(b"zzz");
    let (at, index) = (file.len() as u64, seal(u64::MAX, index.as_slice()));
    file.extend(&index);
    (file, at, index.len() as u32)
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, data)) = data.split_first() else { return };
    let disk = SimDisk::new();
    let body = match choice % 3 {
        0 => data.to_vec(),
        1 => {
            let index = seal(u64::MAX, data);
            let head = [&b"seawall find 1\n\0"[..], &ID].concat();
            put(&disk, &format!("find/{}.seg", "03".repeat(16)), &[head, index.clone()].concat());
            root(32, index.len() as u32, 1)
        }
        _ => {
            let Some((lens, rest)) = data.split_first_chunk::<3>() else { return };
            let names = usize::from(lens[1]).min(rest.len());
            let (names, rest) = rest.split_at(names);
            let (dirs, columns) = rest.split_at(usize::from(lens[2]).min(rest.len()));
            let rows = u32::from(lens[0]) + 1;
            let (file, at, len) = segment(rows, [names, dirs, columns]);
            put(&disk, &format!("find/{}.seg", "03".repeat(16)), &file);
            root(at, len, u64::from(rows))
        }
    };
    put(&disk, "find/root", &[&b"seawall found 1\n"[..], &ID, &seal(0, &body)].concat());
    let Ok(cache) = Cache::open(&disk, "find", &found::KEY, found::OWNER) else { return };
    for (text, how) in [
        ("a", Match::Substring),
        ("a/b", Match::Substring),
        ("/a/", Match::Prefix),
        ("/a", Match::Exact),
        ("[a-c]+$", Match::Regex),
        ("/[a-c]+$", Match::Regex),
    ] {
        let pattern = Pattern::new(text.as_bytes(), how, false).expect("a pattern");
        let _ = cache.find(&pattern, &Filter::default(), 100, 1);
    }
    let _ = cache.find(&Pattern::all(), &Filter::default(), 0, 1);
});
