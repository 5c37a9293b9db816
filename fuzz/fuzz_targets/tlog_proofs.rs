//! Proofs about any sizes and hashes, down to the last bit of a `u64`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_base::Sha256;
use seawall_base::wire::Reader;
use seawall_tlog::merkle::{verify_consistency, verify_inclusion, verify_subtree};

fuzz_target!(|data: &[u8]| {
    let mut r = Reader::new(data);
    let (Ok(shift), Ok(start), Ok(end), Ok(size)) = (r.u8(), r.u64(), r.u64(), r.u64()) else {
        return;
    };
    let small = |n: u64| n >> (shift % 64);
    let (start, end, size) = (small(start), small(end), small(size));
    let (Ok(hash), Ok(root)) = (r.array().map(Sha256), r.array().map(Sha256)) else { return };
    let mut proof = Vec::new();
    while let Ok(hash) = r.array() {
        proof.push(Sha256(hash));
    }
    let _ = verify_subtree(start, end, &hash, size, &root, &proof);
    let _ = verify_inclusion(&hash, start, size, &root, &proof);
    let _ = verify_consistency(start, &hash, size, &root, &proof);
});
