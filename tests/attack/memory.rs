//! The memory of running programs, and a node's index, in a thief's hands.
//!
//! A node is no daemon: what runs while nobody works is a region, or a custodian's machine. Where a
//! node does work, its memory has what is on its disk at that moment, and must have no more.

use std::collections::HashSet;
use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use seawall_base::ObjectId;
use seawall_host::OsRng;
use seawall_seal::{Domain, DomainScope, Kind, Placement};

use super::stopped;
use super::theft::{Locks, Needles, Run, files, plaintext, read, sealed, tenant_secret};
use crate::harness::{arg, end, run, start, wait_until};

/// Everything a process can write to: heap, stacks, and what it mapped for itself.
fn memory_of(pid: u32) -> Vec<u8> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("a process of ours");
    let mut mem = fs::File::open(format!("/proc/{pid}/mem")).expect("a process of ours");
    let mut out = Vec::new();
    for line in maps.lines() {
        let mut fields = line.split(' ');
        let (range, rights) = (fields.next().expect("a range"), fields.next().expect("rights"));
        if !rights.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-').expect("two addresses");
        let at = |hex: &str| u64::from_str_radix(hex, 16).expect("hexadecimal");
        mem.seek(SeekFrom::Start(at(from))).expect("sought");
        let mut page = vec![0; usize::try_from(at(to) - at(from)).expect("it fits")];
        // What is mapped and cannot be read, such as a guard, has nothing in it.
        if mem.read_exact(&mut page).is_ok() {
            out.extend(page);
        }
    }
    assert!(out.len() > 1 << 20, "only {} bytes", out.len());
    out
}

/// Windows that may be a key: more than three zeros among 32 random bytes come once in 700 000.
fn keys_in(memory: &[u8]) -> impl Iterator<Item = &[u8]> {
    let may_be = |window: &&[u8]| window.iter().filter(|b| **b == 0).nth(3).is_none();
    memory.windows(32).filter(|window| window[0] != 0).filter(may_be)
}

fn opened(locks: &Locks, memory: &[u8]) -> HashSet<ObjectId> {
    keys_in(memory).filter_map(|window| locks.opened_by_any(window)).collect()
}

#[test]
fn a_regions_memory_is_read_while_it_runs() {
    let run = Run::new();
    let memory = memory_of(run.region.pid());
    // The search finds what is there: the region's own key.
    let own = read(&run.region.home.join("keys/identity"));
    let mut its_own = Needles::default();
    its_own.add_secret(&own, "its key");
    assert!(!its_own.found_as_is(&memory).is_empty(), "the region has its own key in memory");
    let mut needles = plaintext(&run.tree);
    needles.add_secret(&tenant_secret(&run.fleet.home()), "the tenant's secret");
    for secret in run.share_secrets() {
        needles.add_secret(secret.share.to_bytes().as_slice(), "a share");
    }
    assert_eq!(needles.found_as_is(&memory), HashSet::new());
    let objects = sealed(&run.region.home);
    assert_eq!(opened(&Locks::new(&objects), &memory), HashSet::new());
    let (bytes, objects) = (memory.len(), objects.len());
    stopped(&format!("no key ever reaches a region: {bytes} bytes of memory open 0 of {objects}"));
}

#[test]
fn a_nodes_memory_is_read_while_it_works() {
    let mut run = Run::new();
    let home = run.fleet.home();
    let earlier = sealed(&home);
    fs::remove_dir_all(&run.tree).expect("the inputs are deleted");
    fs::create_dir(&run.tree).expect("created");
    fs::write(run.tree.join("after"), "a live file of one line").expect("written");
    // Until the next run ends, the file cache still leads to what was live in the last.
    run.snapshot();
    fs::write(run.tree.join("later"), "another").expect("written");
    // The process is held where everything has been read, sealed and signed.
    let (held, go) = (run.fleet.path("held"), run.fleet.path("go"));
    let wait = format!("touch {}; until test -e {}; do sleep 0.05; done", arg(&held), arg(&go));
    let hook = ["--post-hook", &wait];
    let child = start(&home, &[&["snapshot", "create", arg(&run.tree)], &hook[..]].concat());
    wait_until("the hook runs", || held.exists());
    let memory = memory_of(child.id());
    let limits = fs::read_to_string(format!("/proc/{}/limits", child.id())).expect("its limits");
    fs::write(&go, "").expect("written");
    end(child).ok();
    assert_eq!(opened(&Locks::new(&earlier), &memory), HashSet::new());
    let mut needles = Needles::default();
    for secret in run.share_secrets() {
        needles.add_secret(secret.share.to_bytes().as_slice(), "a share");
    }
    assert_eq!(needles.found_as_is(&memory), HashSet::new());
    let (bytes, count) = (memory.len(), earlier.len());
    stopped(&format!(
        "references of live files only: {bytes} bytes of memory open 0 of {count} objects"
    ));
    // And a crash leaves no image of it.
    let cores = limits.lines().find(|line| line.starts_with("Max core file size"));
    let soft = cores.and_then(|line| line.split_whitespace().nth(4));
    assert_eq!(soft, Some("0"), "{limits}");
}

/// The private index, the caches and all zones; not the keys.
#[test]
fn a_local_index_is_stolen_without_the_keys() {
    let run = Run::new();
    let home = run.fleet.home();
    let loot = run.fleet.path("loot");
    let mut stolen = 0;
    for path in files(&home) {
        let name = path.strip_prefix(&home).expect("below").to_owned();
        if name.starts_with("keys") || name.extension().is_some_and(|it| it == "secret") {
            continue;
        }
        let to = loot.join(&name);
        fs::create_dir_all(to.parent().expect("a directory")).expect("created");
        fs::copy(&path, &to).expect("copied");
        stolen += usize::from(name.starts_with("zones") || name.starts_with("cache"));
    }
    assert!(stolen >= 2, "zones and a file cache are among it");
    // Nothing of it names, holds or opens a thing.
    let (needles, locks) = (plaintext(&run.tree), Locks::new(&sealed(&loot)));
    for path in files(&loot) {
        let bytes = read(&path);
        assert_eq!(needles.found(&bytes), HashSet::new(), "{}", path.display());
        assert_eq!(locks.opened_by_any(&bytes), None, "{}", path.display());
    }
    // A guess is confirmed by nobody without the tenant's secret: the right plaintext, hashed in
    // every way the thief knows, is no index key. A small store's index is in its zones' headers.
    let index: Vec<u8> = files(&loot).iter().flat_map(|path| read(path)).collect();
    let guess = super::theft::chunk();
    let row = |key: &[u8]| index.windows(16).any(|window| window == &key[..16]);
    let domain = Domain::derive(&tenant_secret(&home), DomainScope::Tenant);
    let placement = Placement { kind: Kind::Chunk, class: 1 };
    let with = seawall_seal::seal(&domain, placement, &guess, &mut OsRng).expect("sealed");
    assert!(row(&with.index.expect("of a domain")), "with that secret it is confirmed");
    let without = Domain::derive(&[0; 32], DomainScope::Tenant);
    let without = seawall_seal::seal(&without, placement, &guess, &mut OsRng).expect("sealed");
    assert!(!row(&without.index.expect("of a domain")));
    for hash in [blake3::hash(&guess), blake3::keyed_hash(&[0; 32], &guess)] {
        assert!(!row(hash.as_bytes()), "a guess is confirmed");
    }
    // The program itself gets no further with it.
    let said = self::run(&loot, &["snapshot", "create", arg(Path::new("/etc/hostname"))]).code(1);
    stopped(&said.says(&["keys/"]).stderr);
}
