//! This crate beside implementations by others: every tree, proof, tile, note and cosignature of
//! one is accepted by the other.
//!
//! `tlog_tiles` and `signed_note` descend from Go's `sumdb`, which the C2SP documents were written
//! from; cosignatures are checked with AWS-LC's Ed25519. What is compared runs with every test.

use std::cell::RefCell;
use std::sync::Arc;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use seawall_base::{Sha256, Timestamp};
use seawall_sign::SigningKey;
use seawall_sim::SimDisk;
use seawall_tlog::merkle::{self, leaf_hash};
use seawall_tlog::note::Kind;
use seawall_tlog::{Hash, Log, Note, Origin, SignedCheckpoint, Verifier};
use signed_note::{StandardVerifier, VerifierList};
use tlog_tiles::{Tile, TileHashReader};

fn origin() -> Origin {
    "example.com/log".parse().expect("a C2SP origin")
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn entry(index: u64) -> Vec<u8> {
    format!("entry number {index}").into_bytes()
}

/// A log of `size` entries with a checkpoint.
fn log(size: u64) -> Log {
    let (mut log, _) = Log::open(Arc::new(SimDisk::new()), "log", &origin()).expect("a new log");
    let entries: Vec<Vec<u8>> = (0..size).map(entry).collect();
    for some in entries.chunks(4_096) {
        log.append(some).expect("appends");
    }
    log.sign_checkpoint(&key(1)).expect("signs");
    log
}

const fn theirs(hash: Hash) -> tlog_tiles::Hash {
    tlog_tiles::Hash(hash.0)
}

fn all_theirs(hashes: &[Hash]) -> Vec<tlog_tiles::Hash> {
    hashes.iter().copied().map(theirs).collect()
}

fn all_ours(hashes: &[tlog_tiles::Hash]) -> Vec<Hash> {
    hashes.iter().map(|hash| Sha256(hash.0)).collect()
}

/// Stored hashes that they computed from the entries.
struct TheirTree(RefCell<Vec<tlog_tiles::Hash>>);

impl tlog_tiles::HashReader for TheirTree {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        let stored = self.0.borrow();
        Ok(indexes.iter().map(|index| stored[*index as usize]).collect())
    }
}

fn their_tree(size: u64) -> TheirTree {
    let tree = TheirTree(RefCell::default());
    for index in 0..size {
        let new = tlog_tiles::stored_hashes(index, &entry(index), &tree).expect("hashed");
        tree.0.borrow_mut().extend(new);
    }
    tree
}

#[test]
fn trees_and_stored_hashes_are_the_same() {
    let (log, tree) = (log(600), their_tree(600));
    for size in 0..=600 {
        let root = tlog_tiles::tree_hash(size, &tree).expect("a root");
        assert_eq!(root, theirs(log.root_at(size).expect("in range")), "{size}");
        assert_eq!(merkle::stored_count(size), tlog_tiles::stored_hash_count(size));
    }
    for (position, hash) in tree.0.borrow().iter().enumerate() {
        let (level, index) = tlog_tiles::split_stored_hash_index(position as u64);
        let ours = merkle::HashReader::hash(&log, level, index).expect("stored");
        assert_eq!((*hash, position as u64), (theirs(ours), merkle::stored_position(level, index)));
    }
}

#[test]
fn inclusion_proofs_convince_both() {
    let (log, tree) = (log(150), their_tree(150));
    for size in (1..=40).chain([64, 65, 127, 128, 129, 150]) {
        let root = log.root_at(size).expect("in range");
        for index in 0..size {
            let leaf = leaf_hash(&entry(index));
            let ours = log.inclusion(index, size).expect("a proof");
            let proof = tlog_tiles::prove_record(size, index, &tree).expect("a proof");
            assert_eq!(all_ours(&proof), ours, "entry {index} of {size}");
            let check = |proof: &tlog_tiles::RecordProof| {
                tlog_tiles::check_record(proof, size, theirs(root), index, theirs(leaf)).is_ok()
            };
            assert!(check(&all_theirs(&ours)));
            merkle::verify_inclusion(&leaf, index, size, &root, &all_ours(&proof)).expect("holds");
            let mut wrong = all_theirs(&ours);
            wrong.push(theirs(leaf));
            assert!(!check(&wrong));
            assert!(
                merkle::verify_inclusion(&leaf, index, size, &root, &all_ours(&wrong)).is_err()
            );
        }
    }
}

#[test]
fn consistency_proofs_convince_both() {
    let (log, tree) = (log(150), their_tree(150));
    for size in (1..=40).chain([64, 65, 127, 128, 129, 150]) {
        let root = log.root_at(size).expect("in range");
        for old in 1..=size {
            let old_root = log.root_at(old).expect("in range");
            let ours = log.consistency(old, size).expect("a proof");
            let proof = tlog_tiles::prove_tree(size, old, &tree).expect("a proof");
            assert_eq!(all_ours(&proof), ours, "{old} to {size}");
            let check = |old_root| {
                let proof = all_theirs(&ours);
                tlog_tiles::check_tree(&proof, size, theirs(root), old, old_root).is_ok()
            };
            assert!(check(theirs(old_root)));
            let proof = all_ours(&proof);
            merkle::verify_consistency(old, &old_root, size, &root, &proof).expect("holds");
            let other = leaf_hash(b"another history");
            assert!(!check(theirs(other)));
            assert!(merkle::verify_consistency(old, &other, size, &root, &proof).is_err());
        }
    }
}

/// Our tiles, as a web server would give them.
struct OurTiles(Log);

impl tlog_tiles::TileReader for OurTiles {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let read = |tile: &Tile| {
            // They name the height, as Go's module mirror does; C2SP leaves it out.
            let path = tile.path().replacen("tile/8/", "tile/", 1);
            self.0.tile(&path).expect("readable").unwrap_or_else(|| panic!("no {path}"))
        };
        Ok(tiles.iter().map(read).collect())
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

#[test]
fn their_client_reads_our_tiles_and_proves_every_hash() {
    for size in [1, 255, 256, 257, 600, 66_000] {
        let tiles = OurTiles(log(size));
        let root = theirs(tiles.0.root());
        let reader = TileHashReader::new(size, root, &tiles);
        for index in [0, size / 3, size - 1] {
            let position = tlog_tiles::stored_hash_index(0, index);
            let read = tlog_tiles::HashReader::read_hashes(&reader, &[position]);
            assert_eq!(read.expect("proven"), [theirs(leaf_hash(&entry(index)))], "{index}");
            let proof = tlog_tiles::prove_record(size, index, &reader).expect("from tiles");
            let ours = tiles.0.inclusion(index, size).expect("a proof");
            assert_eq!(all_ours(&proof), ours);
        }
        let other = theirs(leaf_hash(b"another history"));
        let reader = TileHashReader::new(size, other, &tiles);
        assert!(tlog_tiles::HashReader::read_hashes(&reader, &[0]).is_err());
    }
}

fn known(verifier: &Verifier) -> VerifierList {
    let verifier = StandardVerifier::new(&verifier.to_string()).expect("their form of a vkey");
    VerifierList::new(vec![Box::new(verifier)])
}

#[test]
fn checkpoints_are_notes_to_both() {
    let log = log(300);
    let signed = log.checkpoint().expect("signed");
    let verifier = Verifier::new(origin().as_str(), Kind::Signer, &key(1).public()).expect("name");
    let theirs = signed_note::Note::from_bytes(&signed.to_bytes()).expect("a note to them");
    let (good, _) = theirs.verify(&known(&verifier)).expect("signed to them");
    assert_eq!(good.len(), 1);
    assert_eq!(theirs.to_bytes(), signed.to_bytes());
    let checkpoint = tlog_tiles::Checkpoint::from_bytes(theirs.text()).expect("one to them");
    assert_eq!((checkpoint.origin(), checkpoint.size()), (origin().as_str(), 300));
    assert_eq!(checkpoint.hash().0, log.root().0);
    assert_eq!(checkpoint.to_bytes(), signed.note().text().as_bytes());

    let mut forged = signed.to_bytes();
    let at = forged.len() - 20;
    forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
    let theirs =
        signed_note::Note::from_bytes(&forged).map(|n| n.verify(&known(&verifier)).is_ok());
    assert!(!theirs.unwrap_or(false));
    let ours = Note::parse(&forged).map(|n| n.verify(std::slice::from_ref(&verifier)).is_ok());
    assert!(!ours.unwrap_or(false));
}

#[test]
fn what_they_sign_verifies_here() {
    let key = ed25519_of_theirs();
    let root = tlog_tiles::tree_hash(7, &their_tree(7)).expect("a root");
    let text = tlog_tiles::Checkpoint::new("example.com/log", 7, root, "").expect("one");
    let mut note = signed_note::Note::new(&text.to_bytes(), &[]).expect("a note");
    note.add_sigs(&[&key.0]).expect("signed");
    let signed = SignedCheckpoint::parse(&note.to_bytes()).expect("one to us");
    assert_eq!(signed.to_bytes(), note.to_bytes());
    assert_eq!(signed.checkpoint().root, log(7).root());
    let verifier: Verifier = key.1.parse().expect("a vkey to us");
    assert_eq!(signed.verify(&[verifier]).expect("signed").len(), 1);
}

/// A signer of theirs and its public half, from a fixed seed.
fn ed25519_of_theirs() -> (signed_note::StandardSigner, String) {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    let ours = key(5);
    let public = [&[1][..], ours.public().as_bytes()].concat();
    let id = signed_note::key_id("example.com/log", &public);
    let secret = BASE64_STANDARD.encode([&[1][..], &*ours.seed()].concat());
    let skey = format!("PRIVATE+KEY+example.com/log+{id:08x}+{secret}");
    let vkey = format!("example.com/log+{id:08x}+{}", BASE64_STANDARD.encode(public));
    (signed_note::StandardSigner::new(&skey).expect("their form of a key"), vkey)
}

/// C2SP tlog-cosignature written down a second time, from the document.
struct Cosigner {
    name: String,
    public: Vec<u8>,
}

impl signed_note::Verifier for Cosigner {
    fn name(&self) -> &str {
        &self.name
    }

    fn key_id(&self) -> u32 {
        signed_note::key_id(&self.name, &[&[4][..], &self.public].concat())
    }

    fn verify(&self, text: &[u8], signature: &[u8]) -> bool {
        let Some((time, signature)) = signature.split_first_chunk::<8>() else { return false };
        let head = format!("cosignature/v1\ntime {}\n", u64::from_be_bytes(*time));
        let message = [head.as_bytes(), text].concat();
        UnparsedPublicKey::new(&ED25519, &self.public).verify(&message, signature).is_ok()
    }
}

#[test]
fn a_cosigned_checkpoint_convinces_both() {
    let mut signed = log(300).checkpoint().expect("signed").clone();
    let (name, witness) = ("witness.example/w1", key(9));
    let line = signed.cosign(name, &witness, Timestamp(1_800_000_000)).expect("a good time");
    signed.add(line).expect("room");
    let known = || {
        let public = witness.public().as_bytes().to_vec();
        VerifierList::new(vec![Box::new(Cosigner { name: name.to_owned(), public })])
    };
    let note = signed_note::Note::from_bytes(&signed.to_bytes()).expect("a note to them");
    let (good, unknown) = note.verify(&known()).expect("cosigned to them");
    assert_eq!((good.len(), unknown.len()), (1, 1), "the log's own line is unknown there");
    let text = signed.note().text().replace("\n300\n", "\n301\n");
    let moved = String::from_utf8(signed.to_bytes()).expect("UTF-8");
    let moved = moved.replace(signed.note().text(), &text);
    let note = signed_note::Note::from_bytes(moved.as_bytes()).expect("a note");
    assert!(note.verify(&known()).is_err());
    let ours = SignedCheckpoint::parse(moved.as_bytes()).expect("one");
    let verifier = Verifier::new(name, Kind::Cosigner, &witness.public()).expect("a good name");
    assert!(ours.verify(&[verifier]).is_err());
}
