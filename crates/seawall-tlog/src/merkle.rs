//! RFC 6962 Merkle trees over SHA-256: hashes, proofs, and where hashes are stored.
//!
//! One definition serves three proofs. A *subtree consistency proof* (Merkle Tree Certificates,
//! draft-ietf-plants-merkle-tree-certs §4.4) for `[start, end)` in a tree of `size` leaves is an
//! RFC 6962 consistency proof when `start = 0` and an inclusion proof when `end = start + 1`.
//! Generation and verification walk the same recursion, so the rejected alternative, three
//! bit-twiddling loops of RFC 9162 §2.1, lives only in the tests as an independent check.
//!
//! Invariants: verification does no I/O, accepts exactly one proof length for given sizes, and
//! never recurses deeper than 64 levels. The stored hash `(level, index)` is the root of the
//! complete subtree over leaves `[index << level, (index + 1) << level)`.

use std::io;

use seawall_base::Sha256;
use sha2::Digest as _;

/// A node of the tree.
pub type Hash = Sha256;

/// Most hashes a proof may carry (C2SP tlog-witness and tlog-mirror).
pub const MAX_PROOF: usize = 63;

/// Largest tree this crate handles; keeps every proof within [`MAX_PROOF`] and every sum in `u64`.
pub const MAX_SIZE: u64 = 1 << 61;

/// Why a proof was refused or could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MerkleError {
    /// The range asked for does not exist in a tree of this size, or is not a valid subtree.
    #[error("no subtree [{start}, {end}) in a tree of {size} leaves")]
    Range {
        /// First leaf.
        start: u64,
        /// One past the last leaf.
        end: u64,
        /// Leaves in the tree.
        size: u64,
    },
    /// The proof does not lead from the subtree to the root. Treat its sender as wrong.
    #[error("the proof for [{start}, {end}) does not lead to the root of {size} leaves")]
    Mismatch {
        /// First leaf.
        start: u64,
        /// One past the last leaf.
        end: u64,
        /// Leaves in the tree.
        size: u64,
    },
    /// A stored hash could not be read.
    #[error("reading stored hash (level {level}, index {index})")]
    Read {
        /// Height above the leaves.
        level: u8,
        /// Position in the level.
        index: u64,
        /// What the reader said.
        source: io::Error,
    },
}

/// Gives the roots of complete subtrees.
pub trait HashReader {
    /// The root over leaves `[index << level, (index + 1) << level)`.
    fn hash(&self, level: u8, index: u64) -> io::Result<Hash>;
}

/// The root of the tree without leaves: SHA-256 of nothing (RFC 6962 §2.1).
pub fn empty_root() -> Hash {
    Hash::of(b"")
}

/// The hash of a leaf: SHA-256 of 0x00 and the entry.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Sha256(sha2::Sha256::new().chain_update([0]).chain_update(entry).finalize().into())
}

/// The hash of an inner node: SHA-256 of 0x01 and both children.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let hasher = sha2::Sha256::new().chain_update([1]);
    Sha256(hasher.chain_update(left.0).chain_update(right.0).finalize().into())
}

/// How many hashes are stored for `size` leaves: every complete subtree, once.
pub const fn stored_count(size: u64) -> u64 {
    2 * size - size.count_ones() as u64
}

/// The position of stored hash `(level, index)` in append order: each leaf, followed by the
/// subtrees it completes from the bottom up.
pub const fn stored_position(level: u8, index: u64) -> u64 {
    let last_leaf = ((index + 1) << level) - 1;
    stored_count(last_leaf) + level as u64
}

/// Whether `[start, end)` is a subtree: not empty and starting at a multiple of its size rounded
/// up to a power of two (merkle-tree-certs §4.1).
pub const fn is_subtree(start: u64, end: u64) -> bool {
    start < end && end <= MAX_SIZE && start.is_multiple_of((end - start).next_power_of_two())
}

/// The largest power of two below `n`, for `n > 1`.
const fn split(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}

/// The right edge of a growing tree: roots of its complete subtrees, largest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// Leaves so far.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf hash and appends to `stored` the hashes it completes, in stored order.
    pub fn push(&mut self, leaf: Hash, stored: &mut Vec<Hash>) {
        let mut hash = leaf;
        stored.push(hash);
        for _ in 0..self.size.trailing_ones() {
            let left = self.peaks.pop().expect("a set bit of the size has a peak");
            hash = node_hash(&left, &hash);
            stored.push(hash);
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The root of the tree so far.
    pub fn root(&self) -> Hash {
        let folded =
            self.peaks.iter().rev().copied().reduce(|right, left| node_hash(&left, &right));
        folded.unwrap_or_else(empty_root)
    }
}

/// The root over a list of leaf hashes.
pub fn root_of_leaves(leaves: impl IntoIterator<Item = Hash>) -> Hash {
    let (mut frontier, mut stored) = (Frontier::default(), Vec::new());
    for leaf in leaves {
        frontier.push(leaf, &mut stored);
        stored.clear();
    }
    frontier.root()
}

fn read(reader: &dyn HashReader, level: u8, index: u64) -> Result<Hash, MerkleError> {
    reader.hash(level, index).map_err(|source| MerkleError::Read { level, index, source })
}

/// The root over `[start, start + n)`, where `n > 0` and `start` is a multiple of `n` rounded up
/// to a power of two.
fn range_root(reader: &dyn HashReader, start: u64, n: u64) -> Result<Hash, MerkleError> {
    if n.is_power_of_two() {
        let level = n.trailing_zeros();
        return read(reader, level as u8, start >> level);
    }
    let k = split(n);
    Ok(node_hash(&range_root(reader, start, k)?, &range_root(reader, start + k, n - k)?))
}

/// The root of the tree of `size` leaves.
pub fn root(reader: &dyn HashReader, size: u64) -> Result<Hash, MerkleError> {
    if size == 0 {
        return Ok(empty_root());
    }
    check_range(0, size, size)?;
    range_root(reader, 0, size)
}

/// The root of the subtree `[start, end)`.
pub fn subtree_root(reader: &dyn HashReader, start: u64, end: u64) -> Result<Hash, MerkleError> {
    check_range(start, end, end)?;
    range_root(reader, start, end - start)
}

const fn check_range(start: u64, end: u64, size: u64) -> Result<(), MerkleError> {
    if is_subtree(start, end) && end <= size && size <= MAX_SIZE {
        Ok(())
    } else {
        Err(MerkleError::Range { start, end, size })
    }
}

/// One step of the recursion of §4.4.1: where `[start, end)` lies in a tree of `size` leaves.
enum Step {
    /// It is the whole tree.
    Whole,
    /// Within the left `k` leaves.
    Left(u64),
    /// Within what is right of the first `k` leaves.
    Right(u64),
    /// Across the split at `k`; then `start = 0`.
    Across(u64),
}

const fn step(start: u64, end: u64, size: u64) -> Step {
    if start == 0 && end == size {
        return Step::Whole;
    }
    let k = split(size);
    if end <= k {
        Step::Left(k)
    } else if start >= k {
        Step::Right(k)
    } else {
        Step::Across(k)
    }
}

/// The subtree consistency proof of `[start, end)` in the tree of `size` leaves.
pub fn subtree_proof(
    reader: &dyn HashReader,
    start: u64,
    end: u64,
    size: u64,
) -> Result<Vec<Hash>, MerkleError> {
    check_range(start, end, size)?;
    let mut proof = Vec::new();
    // `base` is where the tree at hand begins; `known` whether its verifier holds its hash.
    let (mut base, mut start, mut end, mut size, mut known) = (0, start, end, size, true);
    loop {
        match step(start, end, size) {
            Step::Whole => break,
            Step::Left(k) => {
                proof.push(range_root(reader, base + k, size - k)?);
                size = k;
            }
            Step::Right(k) => {
                proof.push(range_root(reader, base, k)?);
                (base, start, end, size) = (base + k, start - k, end - k, size - k);
            }
            Step::Across(k) => {
                proof.push(range_root(reader, base, k)?);
                (base, end, size, known) = (base + k, end - k, size - k, false);
            }
        }
    }
    if !known {
        proof.push(range_root(reader, base, size)?);
    }
    proof.reverse();
    Ok(proof)
}

/// The inclusion proof of leaf `index` in the tree of `size` leaves (RFC 6962 §2.1.1).
pub fn inclusion_proof(
    reader: &dyn HashReader,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, MerkleError> {
    subtree_proof(reader, index, index.saturating_add(1), size)
}

/// The consistency proof from `old` to `size` leaves (RFC 6962 §2.1.2); empty from the empty tree.
pub fn consistency_proof(
    reader: &dyn HashReader,
    old: u64,
    size: u64,
) -> Result<Vec<Hash>, MerkleError> {
    if old == 0 {
        return Ok(Vec::new());
    }
    subtree_proof(reader, 0, old, size)
}

/// Rebuilds `(subtree hash, tree hash)` from the proof, taken from its root end; `None` when the
/// proof is too short.
fn rebuild(
    start: u64,
    end: u64,
    size: u64,
    known: Option<&Hash>,
    proof: &mut &[Hash],
) -> Option<(Hash, Hash)> {
    let mut pop = || {
        let (last, rest) = proof.split_last()?;
        *proof = rest;
        Some(*last)
    };
    match step(start, end, size) {
        Step::Whole => {
            let hash = known.copied().or_else(pop)?;
            Some((hash, hash))
        }
        Step::Left(k) => {
            let right = pop()?;
            let (sub, left) = rebuild(start, end, k, known, proof)?;
            Some((sub, node_hash(&left, &right)))
        }
        Step::Right(k) => {
            let left = pop()?;
            let (sub, right) = rebuild(start - k, end - k, size - k, known, proof)?;
            Some((sub, node_hash(&left, &right)))
        }
        Step::Across(k) => {
            let left = pop()?;
            let (sub, right) = rebuild(0, end - k, size - k, None, proof)?;
            Some((node_hash(&left, &sub), node_hash(&left, &right)))
        }
    }
}

/// Checks that the subtree `[start, end)` with hash `hash` is in the tree of `size` leaves with
/// root `root`.
pub fn verify_subtree(
    start: u64,
    end: u64,
    hash: &Hash,
    size: u64,
    root: &Hash,
    proof: &[Hash],
) -> Result<(), MerkleError> {
    check_range(start, end, size)?;
    let mut rest = proof;
    let rebuilt = rebuild(start, end, size, Some(hash), &mut rest);
    if proof.len() <= MAX_PROOF && rest.is_empty() && rebuilt == Some((*hash, *root)) {
        Ok(())
    } else {
        Err(MerkleError::Mismatch { start, end, size })
    }
}

/// Checks that leaf `index` with leaf hash `leaf` is in the tree of `size` leaves.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    root: &Hash,
    proof: &[Hash],
) -> Result<(), MerkleError> {
    verify_subtree(index, index.saturating_add(1), leaf, size, root, proof)
}

/// Checks that the tree of `size` leaves begins with the tree of `old` leaves.
///
/// Every tree begins with the empty one: the proof must then be empty.
pub fn verify_consistency(
    old: u64,
    old_root: &Hash,
    size: u64,
    root: &Hash,
    proof: &[Hash],
) -> Result<(), MerkleError> {
    if old > 0 {
        return verify_subtree(0, old, old_root, size, root, proof);
    }
    let empty = empty_root();
    if proof.is_empty() && *old_root == empty && (size > 0 || *root == empty) {
        Ok(())
    } else {
        Err(MerkleError::Mismatch { start: 0, end: 0, size })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All stored hashes of a tree in memory.
    struct Memory(Vec<Hash>);

    impl HashReader for Memory {
        fn hash(&self, level: u8, index: u64) -> io::Result<Hash> {
            let position = stored_position(level, index) as usize;
            self.0.get(position).copied().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
        }
    }

    fn tree(n: u64) -> Memory {
        let (mut frontier, mut stored) = (Frontier::default(), Vec::new());
        for i in 0..n {
            frontier.push(leaf_hash(&i.to_be_bytes()), &mut stored);
            assert_eq!(stored.len() as u64, stored_count(i + 1));
        }
        Memory(stored)
    }

    /// RFC 6962 §2.1 word for word.
    fn mth(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [one] => *one,
            many => {
                let k = split(many.len() as u64) as usize;
                node_hash(&mth(&many[..k]), &mth(&many[k..]))
            }
        }
    }

    fn hash(hex: &str) -> Hash {
        Hash::from_hex(hex).expect("the vector is hex")
    }

    /// The reference tree of the Certificate Transparency test suite.
    const CT_LEAVES: [&str; 8] = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];
    const CT_ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    fn ct_tree() -> Memory {
        let (mut frontier, mut stored) = (Frontier::default(), Vec::new());
        for (leaf, root) in CT_LEAVES.iter().zip(CT_ROOTS) {
            let leaf = hex::decode(leaf).expect("the vector is hex");
            frontier.push(leaf_hash(&leaf), &mut stored);
            assert_eq!(frontier.root(), hash(root));
        }
        Memory(stored)
    }

    #[test]
    fn roots_match_the_certificate_transparency_vectors() {
        let stored = ct_tree();
        for (i, expected) in CT_ROOTS.iter().enumerate() {
            let size = i as u64 + 1;
            assert_eq!(root(&stored, size).expect("all hashes are stored"), hash(expected));
        }
        assert_eq!(
            root(&stored, 0).expect("needs no hashes").to_hex(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    #[test]
    fn proofs_match_the_certificate_transparency_vectors() {
        let stored = ct_tree();
        let inclusion = [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ];
        let proof = inclusion_proof(&stored, 0, 8).expect("in range");
        assert_eq!(proof, inclusion.map(hash));
        let consistency = [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ];
        assert_eq!(consistency_proof(&stored, 6, 8).expect("in range"), consistency.map(hash));
    }

    #[test]
    fn positions_follow_append_order() {
        let expected =
            [(0, 0), (0, 1), (1, 0), (0, 2), (0, 3), (1, 1), (2, 0), (0, 4), (0, 5), (1, 2)];
        for (position, (level, index)) in expected.into_iter().enumerate() {
            assert_eq!(stored_position(level, index), position as u64);
        }
    }

    #[test]
    fn roots_match_the_definition() {
        let leaves: Vec<Hash> = (0..70_u64).map(|i| leaf_hash(&i.to_be_bytes())).collect();
        let stored = tree(70);
        for n in 0..=70 {
            let expected = mth(&leaves[..n]);
            assert_eq!(root(&stored, n as u64).expect("stored"), expected);
            assert_eq!(root_of_leaves(leaves[..n].iter().copied()), expected);
        }
    }

    /// RFC 9162 §2.1.3.2, written from the RFC's text.
    fn rfc9162_inclusion(leaf: Hash, index: u64, size: u64, root: &Hash, proof: &[Hash]) -> bool {
        let (mut f, mut s, mut r) = (index, size - 1, leaf);
        for p in proof {
            if s == 0 {
                return false;
            }
            if f & 1 == 1 || f == s {
                r = node_hash(p, &r);
                while f & 1 == 0 && f != 0 {
                    (f, s) = (f >> 1, s >> 1);
                }
            } else {
                r = node_hash(&r, p);
            }
            (f, s) = (f >> 1, s >> 1);
        }
        s == 0 && r == *root
    }

    /// RFC 9162 §2.1.4.2, for `0 < old < size`.
    fn rfc9162_consistency(
        old: u64,
        old_root: &Hash,
        size: u64,
        root: &Hash,
        proof: &[Hash],
    ) -> bool {
        let mut path = proof.to_vec();
        if old.is_power_of_two() {
            path.insert(0, *old_root);
        }
        let Some((first, rest)) = path.split_first() else { return false };
        let (mut f, mut s) = (old - 1, size - 1);
        while f & 1 == 1 {
            (f, s) = (f >> 1, s >> 1);
        }
        let (mut fr, mut sr) = (*first, *first);
        for c in rest {
            if s == 0 {
                return false;
            }
            if f & 1 == 1 || f == s {
                (fr, sr) = (node_hash(c, &fr), node_hash(c, &sr));
                while f & 1 == 0 && f != 0 {
                    (f, s) = (f >> 1, s >> 1);
                }
            } else {
                sr = node_hash(&sr, c);
            }
            (f, s) = (f >> 1, s >> 1);
        }
        s == 0 && fr == *old_root && sr == *root
    }

    /// Refuses the proof with one bit flipped, one hash more, fewer, or out of place.
    fn assert_mutations_refused(verify: &dyn Fn(&[Hash]) -> bool, proof: &[Hash], seed: usize) {
        let mut longer = proof.to_vec();
        longer.insert(seed % (proof.len() + 1), leaf_hash(b"extra"));
        assert!(!verify(&longer), "a longer proof was accepted");
        for i in 0..proof.len() {
            let mut flipped = proof.to_vec();
            flipped[i].0[(seed + i) % 32] ^= 1 << (seed % 8);
            assert!(!verify(&flipped), "a flipped bit was accepted");
        }
        if let Some((_, shorter)) = proof.split_last() {
            assert!(!verify(shorter), "a shorter proof was accepted");
            assert!(!verify(&proof[1..]), "a beheaded proof was accepted");
        }
        if proof.len() > 1 {
            let mut swapped = proof.to_vec();
            swapped.swap(0, 1);
            assert!(!verify(&swapped), "swapped hashes were accepted");
        }
    }

    #[test]
    fn every_subtree_of_every_tree_to_70_is_proved_and_nothing_else() {
        let stored = tree(70);
        let roots: Vec<Hash> = (0..=70).map(|n| root(&stored, n).expect("stored")).collect();
        for size in 1..=70_u64 {
            let whole = &roots[size as usize];
            for (start, end) in (0..size).flat_map(|s| (s + 1..=size).map(move |e| (s, e))) {
                if !is_subtree(start, end) {
                    assert!(subtree_proof(&stored, start, end, size).is_err());
                    continue;
                }
                let sub = subtree_root(&stored, start, end).expect("stored");
                let proof = subtree_proof(&stored, start, end, size).expect("in range");
                verify_subtree(start, end, &sub, size, whole, &proof).expect("verifies");
                let verify = |p: &[Hash]| verify_subtree(start, end, &sub, size, whole, p).is_ok();
                assert_mutations_refused(&verify, &proof, (start + end + size) as usize);
                if start == 0 && end < size {
                    assert!(rfc9162_consistency(end, &sub, size, whole, &proof));
                }
                if end == start + 1 {
                    assert!(rfc9162_inclusion(sub, start, size, whole, &proof));
                }
            }
        }
    }

    #[test]
    fn a_proof_is_for_its_range_size_and_root_only() {
        let stored = tree(70);
        let whole = root(&stored, 70).expect("stored");
        let sub = subtree_root(&stored, 32, 48).expect("stored");
        let proof = subtree_proof(&stored, 32, 48, 70).expect("in range");
        let verify = |start, end, size, root: &Hash| {
            verify_subtree(start, end, &sub, size, root, &proof).is_ok()
        };
        assert!(verify(32, 48, 70, &whole));
        assert!(!verify(16, 32, 70, &whole));
        assert!(!verify(32, 47, 70, &whole));
        assert!(!verify(32, 48, 69, &root(&stored, 69).expect("stored")));
        assert!(!verify(32, 48, 70, &leaf_hash(b"other")));
        assert!(!verify(32, 48, 40, &whole), "the subtree ends beyond the tree");
        assert!(!verify(33, 49, 70, &whole), "not aligned");
        assert!(!verify(u64::MAX, 0, u64::MAX, &whole));
    }

    #[test]
    fn the_empty_tree_is_consistent_with_every_tree_by_the_empty_proof() {
        let (empty, other) = (empty_root(), leaf_hash(b"x"));
        verify_consistency(0, &empty, 9, &other, &[]).expect("empty to any");
        verify_consistency(0, &empty, 0, &empty, &[]).expect("empty to empty");
        assert!(verify_consistency(0, &empty, 0, &other, &[]).is_err());
        assert!(verify_consistency(0, &other, 9, &other, &[]).is_err());
        assert!(verify_consistency(0, &empty, 9, &other, &[other]).is_err());
        verify_consistency(9, &other, 9, &other, &[]).expect("same to same");
        assert!(verify_consistency(9, &other, 9, &empty, &[]).is_err());
        assert!(verify_consistency(10, &other, 9, &other, &[]).is_err());
    }

    #[test]
    fn a_missing_hash_is_reported_with_its_place() {
        let mut stored = tree(8);
        stored.0.truncate(5);
        let error = subtree_proof(&stored, 0, 4, 8).expect_err("hash (2, 1) is missing");
        assert!(matches!(error, MerkleError::Read { level: 2, index: 1, .. }), "{error}");
    }

    proptest! {
        #[test]
        fn arbitrary_numbers_and_proofs_never_panic(
            start: u64, end: u64, size: u64,
            proof in prop::collection::vec(any::<[u8; 32]>().prop_map(Sha256), 0..70),
        ) {
            let h = leaf_hash(b"");
            prop_assert!(verify_subtree(start, end, &h, size, &h, &proof).is_err()
                || (start == 0 && end == size && proof.is_empty()));
            let _ = verify_inclusion(&h, start, size, &h, &proof);
            let _ = verify_consistency(end % 99, &h, size, &h, &proof);
        }
    }
}
