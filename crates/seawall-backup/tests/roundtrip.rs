//! A tree goes through a snapshot in a store and comes out equal; what it cost is what was told.

mod support;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use seawall_backup::chunker::{MAX, MIN, NORMAL};
use seawall_backup::restore::{Restored, restore};
use seawall_backup::snapshot::{Checkpoints, Plan, Progress, Snapshot, SnapshotError, write};
use seawall_backup::source::FileTree;
use seawall_backup::target::{Options, Target, compare};
use seawall_base::{Disk, ObjectId, Rng};
use seawall_host::{FsDisk, SystemClock};
use seawall_record::reference_set::{self, Visit};
use seawall_seal::{Domain, DomainScope};
use seawall_sim::{PowerCut, SeededRng, SimDisk};
use seawall_store::{Store, StoreError};
use support::{CLASS, signed, temporary};

const SECRET: [u8; 32] = [5; 32];

fn domain() -> Domain {
    Domain::derive(&SECRET, DomainScope::Tenant)
}

fn index_domain() -> Domain {
    Domain::derive(&[9; 32], DomainScope::PathIndex)
}

fn open(disk: Arc<dyn Disk>) -> Store {
    Store::open(disk, "", seawall_store::Options::default()).expect("the store opens").0
}

/// Two directories: `from`, and where it is restored.
struct Trees {
    dir: tempfile::TempDir,
    from: PathBuf,
    rng: SeededRng,
    restores: u32,
}

impl Trees {
    fn new() -> Self {
        let dir = temporary();
        let from = dir.path().join("from");
        fs::create_dir(&from).expect("created");
        Self { dir, from, rng: SeededRng::new(7), restores: 0 }
    }

    /// A store on the file system, beside the trees.
    fn store(&self) -> Store {
        open(Arc::new(FsDisk::create(self.dir.path().join("store")).expect("a directory")))
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.rng.fill(&mut bytes);
        bytes
    }

    fn file(&mut self, name: &str, len: usize) {
        let bytes = self.bytes(len);
        fs::write(self.from.join(name), bytes).expect("written");
    }

    /// A file of `len` bytes that is a hole but for these spans (offset, length).
    fn sparse(&mut self, name: &str, len: u64, data: &[(u64, usize)]) {
        let file = File::create(self.from.join(name)).expect("created");
        file.set_len(len).expect("set");
        for &(offset, len) in data {
            let bytes = self.bytes(len);
            file.write_all_at(&bytes, offset).expect("written");
        }
    }

    fn try_snapshot(
        &mut self,
        store: &Store,
        domain: &Domain,
        workers: usize,
    ) -> Result<Snapshot, SnapshotError> {
        let (index, is_ours) =
            (index_domain(), domain.chunker_secret() == self::domain().chunker_secret());
        let plan = Plan {
            sources: vec![self.from.as_os_str().as_bytes().to_vec()],
            host: b"host".to_vec(),
            class: CLASS,
            domain,
            index_domain: is_ours.then_some(&index),
            store,
            workers,
            checkpoints: Checkpoints::new(&SystemClock),
        };
        let source = FileTree::new(&[&self.from]).expect("an absolute path");
        write(&plan, Box::new(source), None, &mut self.rng, &mut |_| ())
    }

    fn snapshot(&mut self, store: &Store) -> Snapshot {
        let snapshot = self.try_snapshot(store, &domain(), 3).expect("nothing fails");
        assert!(snapshot.problems.is_empty(), "{:?}", snapshot.problems);
        snapshot
    }

    /// Restores a snapshot and compares with what is in `from` now, holes included.
    fn restores(&mut self, store: &Store, snapshot: &Snapshot) -> Restored {
        self.restores += 1;
        let to = self.dir.path().join(format!("to-{}", self.restores));
        let target = Target::create(&to, Options::default()).expect("empty");
        let pages = |id: ObjectId| store.get(id).map_err(|e| e.to_string());
        let core = signed(snapshot.reference_set, snapshot.totals);
        let mut last = 0;
        let restored = restore(store, &pages, &snapshot.root, &core, target, 3, &mut |p| {
            assert!(p.bytes >= last, "progress never goes back");
            last = p.bytes;
        })
        .expect("the snapshot is what was signed");
        assert!(restored.lost.is_empty(), "{:?}", restored.lost);
        assert_eq!(restored.totals, snapshot.totals);
        assert_eq!(restored.sources, [self.from.as_os_str().as_bytes()]);
        let back = to.join(self.from.strip_prefix("/").expect("absolute"));
        let found = compare(&self.from, &back, true, &mut |_| ()).expect("both are directories");
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, [""; 0]);
        restored
    }

    /// One snapshot, restored and compared.
    fn round_trip(&mut self) -> Snapshot {
        let store = self.store();
        let snapshot = self.snapshot(&store);
        self.restores(&store, &snapshot);
        snapshot
    }
}

/// The objects of a snapshot, and the pages of its reference set.
fn objects(store: &Store, snapshot: &Snapshot) -> (BTreeSet<ObjectId>, BTreeSet<ObjectId>) {
    let pages = |id: ObjectId| store.get(id).map_err(|e| e.to_string());
    let (mut members, mut set_pages) = (BTreeSet::new(), BTreeSet::new());
    let mut bytes = 0;
    reference_set::walk(&pages, &snapshot.reference_set, &mut |visit| match visit {
        Visit::Page(id, _) => drop(set_pages.insert(id)),
        Visit::Member(member) => {
            assert_eq!(store.size_of(member.id), Some(member.len), "of the length recorded");
            bytes += u64::from(member.len);
            members.insert(member.id);
        }
    })
    .expect("the set is whole");
    let set = snapshot.reference_set;
    assert_eq!((members.len() as u64, bytes), (set.count, set.bytes));
    (members, set_pages)
}

#[test]
fn files_of_every_size_around_the_thresholds() {
    let mut trees = Trees::new();
    let mib = 1 << 20;
    let sizes =
        [0, 1, 511, 512, 513, MIN - 1, MIN, MIN + 1, NORMAL, MAX - 1, MAX, MAX + 1, 5 * mib];
    for size in sizes {
        trees.file(&format!("random-{size}"), size);
        fs::write(trees.from.join(format!("zeros-{size}")), vec![0; size]).expect("written");
    }
    let snapshot = trees.round_trip();
    assert_eq!(snapshot.totals.files, 2 * sizes.len() as u64);
    assert_eq!(snapshot.totals.bytes, 2 * sizes.iter().sum::<usize>() as u64);
}

#[test]
fn small_files_share_bundles_by_owner() {
    let mut trees = Trees::new();
    let is_root = rustix::process::geteuid().is_root();
    for d in 0..5 {
        fs::create_dir(trees.from.join(format!("d{d}"))).expect("created");
        for f in 0..100 {
            let name = format!("d{d}/f{f:02}");
            trees.file(&name, 600 + 13 * f);
            if is_root {
                let owner = 1000 + (f % 2) as u32;
                chown(trees.from.join(&name), Some(owner), None).expect("root may");
            }
        }
    }
    let snapshot = trees.round_trip();
    // Some 620 KB: few bundles, and a page for each directory.
    assert!(snapshot.reference_set.count < 40, "{} objects", snapshot.reference_set.count);
}

#[test]
fn holes_stay_where_they_are() {
    const K: u64 = 1 << 10;
    let mut trees = Trees::new();
    let m = 1024 * K;
    trees.sparse("only a hole", 10 * m, &[]);
    for len in [1, 100, 512, 513] {
        trees.sparse(&format!("only a hole, {len} bytes"), len, &[]);
    }
    trees.sparse("short and only a hole", 8 * K, &[]);
    trees.sparse("leading, short", 64 * K, &[(60 * K, 4096)]);
    trees.sparse("leading, long", 3 * m, &[(2 * m, 5000)]);
    trees.sparse("trailing, short", 16 * K, &[(0, 4096)]);
    trees.sparse("trailing, long", 9 * m, &[(0, 300_000)]);
    trees.sparse("trailing, in the last page", 8 * K + 1, &[(0, 4096)]);
    trees.sparse("within a chunk", 96 * K, &[(0, 4096), (16 * K, 4096), (40 * K, 57_344)]);
    let many: Vec<_> = (0..400).map(|i| (i * 12 * K, 4096)).collect();
    trees.sparse("across every cut", 400 * 12 * K, &many);
    trees.sparse("just long", 300 * K, &[(0, 8192), (8 * K + 128 * K, 8192)]);
    trees.sparse("just short", 300 * K, &[(0, 8192), (8 * K + 124 * K, 8192)]);
    trees.sparse("huge", 1 << 40, &[(1 << 39, 4096)]);
    trees.round_trip();
}

#[test]
fn a_chunk_list_of_several_pages() {
    let mut trees = Trees::new();
    let spans: Vec<_> = (0..1500u64).map(|i| (i * (140 << 10), 4096)).collect();
    trees.sparse("image", 1500 * (140 << 10), &spans);
    let snapshot = trees.round_trip();
    assert!(snapshot.reference_set.count > 1500);
}

#[test]
fn a_directory_of_several_levels_of_pages() {
    let mut trees = Trees::new();
    for i in 0..20_000 {
        let name = trees.from.join(format!("{i:05}{}", "-padding".repeat(i % 20)));
        match i % 4 {
            0 => drop(File::create(name).expect("created")),
            1 => fs::create_dir(name).expect("created"),
            2 => symlink("elsewhere", name).expect("linked"),
            _ => fs::write(name, i.to_le_bytes()).expect("written"),
        }
    }
    let snapshot = trees.round_trip();
    assert_eq!(snapshot.totals.files, 10_000);
    assert!(snapshot.reference_set.count > 20, "pages: {}", snapshot.reference_set.count);
}

#[test]
fn deep_directories_and_hard_links() {
    let mut trees = Trees::new();
    let mut at = trees.from.clone();
    for level in 0..150 {
        at.push(format!("level-{level}"));
        fs::create_dir(&at).expect("created");
    }
    trees.file("b", 700);
    trees.sparse("c", 1 << 20, &[(0, 4096)]);
    trees.file("d", 10);
    symlink("b", trees.from.join("e")).expect("linked");
    for (first, more) in [("b", "b too"), ("c", "c too"), ("d", "level-0/d"), ("e", "e too")] {
        fs::hard_link(trees.from.join(first), trees.from.join(more)).expect("linked");
    }
    fs::hard_link(trees.from.join("b"), at.join("b")).expect("linked");
    let snapshot = trees.round_trip();
    // Each file once, under the name met first; the link and the further names are others.
    assert_eq!((snapshot.totals.files, snapshot.totals.others), (3, 6));
}

/// The figures told are those of the store: all that is new, but for pages of the reference set.
#[test]
fn told_costs_are_true_and_an_unchanged_tree_costs_nothing() {
    let mut trees = Trees::new();
    fs::create_dir(trees.from.join("d")).expect("created");
    for f in 0..50 {
        trees.file(&format!("d/{f}"), 2000);
    }
    trees.file("long", 3 << 20);
    trees.file("long copy", 0);
    fs::copy(trees.from.join("long"), trees.from.join("long copy")).expect("copied");
    let store = trees.store();
    let mut before = (BTreeSet::new(), store.stats().expect("read"));
    for round in 0..2 {
        let snapshot = trees.snapshot(&store);
        trees.restores(&store, &snapshot);
        let (members, set_pages) = objects(&store, &snapshot);
        let stats = store.stats().expect("read");
        let new_pages: Vec<_> = set_pages.difference(&before.0).collect();
        let page_bytes: u64 =
            new_pages.iter().map(|id| u64::from(store.size_of(**id).expect("stored"))).sum();
        let Progress { files, unchanged, bytes, new_bytes, new_objects } = snapshot.progress;
        assert_eq!(unchanged, 0);
        assert_eq!((files, bytes), (52, 100_000 + (6 << 20)));
        assert_eq!(new_objects + new_pages.len() as u64, stats.objects - before.1.objects);
        assert_eq!(new_bytes + page_bytes, stats.bytes - before.1.bytes);
        if round == 0 {
            assert_eq!(new_objects, members.len() as u64);
            assert!(new_bytes < 4 << 20, "equal files are stored once: {new_bytes}");
        } else {
            // The directories above are others' too and may have changed: their pages and the root.
            let above = trees.from.components().count() as u64;
            assert!(new_objects <= above, "{new_objects} new objects for nothing");
            assert!(new_bytes < 64 << 10);
        }
        before = (set_pages, stats);
    }
}

#[test]
fn one_changed_small_file_stores_its_bundle_and_the_pages_above() {
    let mut trees = Trees::new();
    for d in 0..10 {
        fs::create_dir(trees.from.join(format!("d{d}"))).expect("created");
        for f in 0..200 {
            trees.file(&format!("d{d}/{f:03}"), 1024);
        }
    }
    let store = trees.store();
    let all = trees.snapshot(&store);
    trees.file("d5/100", 1024);
    let changed = trees.snapshot(&store);
    trees.restores(&store, &changed);
    let (first, second) = (objects(&store, &all).0, objects(&store, &changed).0);
    let new = second.difference(&first).count() as u64;
    assert_eq!(new, changed.progress.new_objects);
    // A changed file may move the ends of its bundle; later ones are as they were. Its
    // directory and those above have a page each, and a bundle may span three directories.
    assert!((4..20).contains(&new), "{new} of {} objects", second.len());
    let (cost, whole) = (changed.progress.new_bytes, all.progress.new_bytes);
    assert!(cost < whole / 3, "{cost} of {whole} bytes");
    assert!(cost > 128 << 10, "a bundle at least");
}

#[test]
fn domains_share_nothing_with_each_other_and_one_shares_nothing_with_itself() {
    let mut trees = Trees::new();
    for f in 0..20 {
        trees.file(&format!("{f}"), 3000);
    }
    trees.file("long", 1 << 20);
    let store = trees.store();
    let set = Domain::derive(&SECRET, DomainScope::Set("accounts"));
    let other = Domain::derive(&[6; 32], DomainScope::Tenant);
    let mut seen = BTreeSet::new();
    for domain in [domain(), set, other, Domain::none(), Domain::none()] {
        let snapshot = trees.try_snapshot(&store, &domain, 2).expect("nothing fails");
        assert_eq!(snapshot.progress.new_objects, snapshot.reference_set.count);
        trees.restores(&store, &snapshot);
        for id in objects(&store, &snapshot).0 {
            assert!(seen.insert(id), "an object of two domains");
        }
    }
}

/// What is stored depends on the tree and the domain, not on which thread was faster.
#[test]
fn any_number_of_workers_writes_the_same_snapshot() {
    let mut trees = Trees::new();
    for f in 0..300 {
        trees.file(&format!("{f}"), 1500);
    }
    trees.file("long", 4 << 20);
    let written = |trees: &mut Trees, workers| {
        let store = open(Arc::new(SimDisk::new()));
        let snapshot = trees.try_snapshot(&store, &domain(), workers).expect("nothing fails");
        objects(&store, &snapshot).0
    };
    let one = written(&mut trees, 1);
    let above = trees.from.components().count();
    for workers in [0, 2, 8] {
        let many = written(&mut trees, workers);
        // But for the pages of directories above, whose times others may have changed.
        assert!(many.difference(&one).count() <= above, "{workers} workers");
    }
}

#[test]
fn a_killed_snapshot_leaves_nothing_visible() {
    let mut trees = Trees::new();
    for f in 0..40 {
        trees.file(&format!("{f}"), 5000);
    }
    trees.file("long", 1 << 20);
    let disk = SimDisk::new();
    let store = open(Arc::new(disk.clone()));
    let ready = disk.power_cut(PowerCut::KeepUnsynced);
    let opening = disk.op_count();
    trees.snapshot(&store);
    let all = disk.op_count() - opening;
    assert!(all > 3, "a snapshot is several operations: {all}");
    let modes = [PowerCut::LoseUnsynced, PowerCut::KeepUnsynced, PowerCut::Torn { seed: 1 }];
    let mut killed = 0;
    for after in (0..all).step_by(1 + all as usize / 12).chain([all - 2, all - 1]) {
        let disk = ready.power_cut(PowerCut::KeepUnsynced);
        let store = open(Arc::new(disk.clone()));
        disk.power_off_after(after);
        let Err(SnapshotError::Store(_)) = trees.try_snapshot(&store, &domain(), 2) else {
            continue;
        };
        killed += 1;
        assert_eq!(store.ids().expect("read"), [], "nothing is visible before the flush");
        for mode in modes {
            let store = open(Arc::new(disk.power_cut(mode)));
            if mode == PowerCut::LoseUnsynced {
                assert_eq!(store.ids().expect("read"), [], "killed after {after} operations");
            }
            let snapshot = trees.snapshot(&store);
            trees.restores(&store, &snapshot);
        }
    }
    assert!(killed > 3, "killed {killed} times");
}

#[test]
fn a_full_disk_ends_the_snapshot_and_nothing_else() {
    let mut trees = Trees::new();
    for f in 0..40 {
        trees.file(&format!("{f}"), 5000);
    }
    let disk = SimDisk::new();
    let store = open(Arc::new(disk.clone()));
    let small = trees.snapshot(&store);
    trees.file("long", 3 << 20);
    let used: u64 = disk.paths().iter().map(|p| disk.read(p).expect("there").len() as u64).sum();
    for room in [0, 1000, 1 << 20, 2 << 20] {
        disk.set_capacity(Some(used + room));
        let outcome = trees.try_snapshot(&store, &domain(), 2);
        assert!(
            matches!(outcome, Err(SnapshotError::Store(StoreError::Full { .. }))),
            "with {room} bytes: {outcome:?}"
        );
        assert_eq!(objects(&store, &small).0.len() as u64, small.reference_set.count);
    }
    disk.set_capacity(None);
    let whole = trees.snapshot(&store);
    trees.restores(&store, &whole);
    let store = open(Arc::new(disk.power_cut(PowerCut::LoseUnsynced)));
    trees.restores(&store, &whole);
}

#[test]
fn a_disk_that_fails_ends_the_snapshot() {
    let mut trees = Trees::new();
    trees.file("long", 2 << 20);
    for after in [0, 2] {
        let disk = SimDisk::new();
        let store = open(Arc::new(disk.clone()));
        disk.fail_after(after, io::ErrorKind::Other, seawall_sim::Outcome::Lost);
        let outcome = trees.try_snapshot(&store, &domain(), 2);
        assert!(matches!(outcome, Err(SnapshotError::Store(_))), "{outcome:?}");
    }
}

#[test]
fn too_many_sources_are_refused_before_anything_is_read() {
    let trees = Trees::new();
    let store = trees.store();
    let plan = Plan {
        sources: vec![b"/x".to_vec(); 4097],
        host: vec![],
        class: CLASS,
        domain: &domain(),
        index_domain: None,
        store: &store,
        workers: 1,
        checkpoints: Checkpoints::new(&SystemClock),
    };
    let source = FileTree::new(&[&trees.from]).expect("an absolute path");
    let outcome = write(&plan, Box::new(source), None, &mut SeededRng::new(1), &mut |_| ());
    assert!(matches!(outcome, Err(SnapshotError::TooManySources(4097))), "{outcome:?}");
    assert_eq!(store.stats().expect("read").objects, 0);
}

/// What stands under a name in a random tree.
#[derive(Debug, Clone)]
enum Thing {
    Data(usize),
    /// Pages of 4 KiB, data or hole, and a rest.
    Sparse(Vec<bool>, u64),
    Link(String),
    Directory(Vec<(String, Thing)>),
}

fn thing() -> impl Strategy<Value = Thing> {
    let size = prop_oneof![0usize..600, 500usize..6000, (MIN - 2)..(MIN + 3), Just(2 * MAX + 1),];
    let leaf = prop_oneof![
        4 => size.prop_map(Thing::Data),
        3 => (prop::collection::vec(any::<bool>(), 1..90), 0u64..4096)
            .prop_map(|(pages, rest)| Thing::Sparse(pages, rest)),
        1 => "[a-z/.]{1,20}".prop_map(Thing::Link),
    ];
    leaf.prop_recursive(3, 16, 6, |inner| {
        prop::collection::vec(("[a-z .\u{e4}\u{1f30a}]{1,12}", inner), 0..6)
            .prop_map(Thing::Directory)
    })
}

fn build(trees: &mut Trees, dir: &Path, things: &[(String, Thing)]) {
    for (i, (name, thing)) in things.iter().enumerate() {
        let path = dir.join(format!("{name}{i}"));
        match thing {
            Thing::Data(len) => {
                let bytes = trees.bytes(*len);
                fs::write(path, bytes).expect("written");
            }
            Thing::Sparse(pages, rest) => {
                let file = File::create(path).expect("created");
                file.set_len(pages.len() as u64 * 4096 + rest).expect("set");
                for (at, _) in pages.iter().enumerate().filter(|(_, is_data)| **is_data) {
                    let bytes = trees.bytes(4096);
                    file.write_all_at(&bytes, at as u64 * 4096).expect("written");
                }
            }
            Thing::Link(to) => symlink(to, path).expect("linked"),
            Thing::Directory(inner) => {
                fs::create_dir(&path).expect("created");
                build(trees, &path, inner);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_trees_round_trip(things in prop::collection::vec(("[a-z]{1,3}", thing()), 0..6)) {
        let mut trees = Trees::new();
        let from = trees.from.clone();
        build(&mut trees, &from, &things);
        trees.round_trip();
    }
}
