//! What did not change is not read again, and what did is never missed.

mod support;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use seawall_backup::path_index::{Listing, PathEntry, decode_inline, decode_page};
use seawall_backup::restore::restore;
use seawall_backup::snapshot::{Checkpoints, FileCache, Plan, Snapshot, write};
use seawall_backup::source::FileTree;
use seawall_backup::target::{Options, Target, compare};
use seawall_base::{Disk, ObjectId, OpenMode, Rng, Timestamp};
use seawall_host::{FsDisk, SystemClock};
use seawall_seal::{Domain, DomainScope, Kind, ObjectRef, Placement};
use seawall_sim::{SeededRng, SimDisk};
use seawall_store::Store;
use support::{CLASS, signed, temporary};

/// Long after every file of a test was written.
const LATER: Timestamp = Timestamp(u64::MAX >> 1);

struct Site {
    dir: tempfile::TempDir,
    from: PathBuf,
    store: Store,
    /// Holds the file cache.
    disk: SimDisk,
    rng: SeededRng,
    restores: u32,
    /// Whether snapshots get a path index.
    indexed: bool,
}

impl Site {
    fn new() -> Self {
        let dir = temporary();
        let from = dir.path().join("from");
        fs::create_dir(&from).expect("created");
        let objects = FsDisk::create(dir.path().join("store")).expect("created");
        let options = seawall_store::Options::default();
        let (store, _) = Store::open(Arc::new(objects), "", options).expect("opened");
        let (disk, rng) = (SimDisk::new(), SeededRng::new(7));
        Self { dir, from, store, disk, rng, restores: 0, indexed: true }
    }

    fn file(&mut self, name: &str, len: usize) {
        let mut bytes = vec![0; len];
        self.rng.fill(&mut bytes);
        let path = self.from.join(name);
        fs::create_dir_all(path.parent().expect("below the root")).expect("created");
        fs::write(path, bytes).expect("written");
    }

    fn cache(&mut self, started: Timestamp) -> FileCache {
        let disk = Arc::new(self.disk.clone());
        FileCache::open(disk, "cache/files", started, &mut self.rng).expect("opened")
    }

    fn plan(&self) -> (Domain, Vec<Vec<u8>>) {
        let sources = vec![self.from.as_os_str().as_bytes().to_vec()];
        (Domain::derive(&[9; 32], DomainScope::Tenant), sources)
    }

    fn snapshot_with(&mut self, cache: Option<FileCache>) -> Snapshot {
        let (domain, sources) = self.plan();
        let host = b"host".to_vec();
        let index = Domain::derive(&[9; 32], DomainScope::PathIndex);
        let plan = Plan {
            sources,
            host,
            class: CLASS,
            domain: &domain,
            index_domain: self.indexed.then_some(&index),
            store: &self.store,
            workers: 2,
            checkpoints: Checkpoints::new(&SystemClock),
        };
        let source = FileTree::new(&[&self.from]).expect("an absolute path");
        let written = write(&plan, Box::new(source), cache, &mut self.rng, &mut |_| ());
        let snapshot = written.expect("nothing fails");
        assert!(snapshot.problems.is_empty(), "{:?}", snapshot.problems);
        snapshot
    }

    fn snapshot(&mut self) -> Snapshot {
        let cache = self.cache(LATER);
        let snapshot = self.snapshot_with(Some(cache));
        assert!(snapshot.cache_lost.is_none());
        snapshot
    }

    /// Restores a snapshot and compares it with what is in `from` now.
    fn check(&mut self, snapshot: &Snapshot) {
        self.restores += 1;
        let to = self.dir.path().join(format!("to-{}", self.restores));
        let target = Target::create(&to, Options::default()).expect("empty");
        let store = &self.store;
        let pages = |id: ObjectId| store.get(id).map_err(|e| e.to_string());
        let core = signed(snapshot.reference_set, snapshot.totals);
        let done = restore(store, &pages, &snapshot.root, &core, target, 2, &mut |_| ());
        let restored = done.expect("restored");
        assert!(restored.lost.is_empty(), "{:?}", restored.lost);
        let below = to.join(self.from.strip_prefix("/").expect("absolute"));
        let found = compare(&self.from, &below, true, &mut |_| ()).expect("directories");
        assert!(found.is_empty(), "{found:?}");
        fs::remove_dir_all(&to).expect("removed");
    }

    /// The tree as a snapshot without a cache sees it: the same, to the reference.
    fn equals_a_fresh_one(&mut self, snapshot: &Snapshot) {
        let fresh = self.snapshot_with(None);
        assert_eq!(fresh.totals, snapshot.totals);
        // What it says of content may differ, since bundles do; an index has no content.
        assert_eq!(self.indexed(&fresh), self.indexed(snapshot));
    }
}

impl Site {
    /// What a snapshot's path index has of the tree; the directories above belong to all tests.
    fn indexed(&self, snapshot: &Snapshot) -> Option<Vec<PathEntry>> {
        let index = snapshot.path_index.as_ref()?;
        let open = |page: &ObjectRef| {
            let bytes = self.store.get(page.id).expect("read").expect("there");
            let placement = Placement { kind: Kind::PathIndex, class: CLASS };
            decode_page(&seawall_seal::open(page, placement, &bytes).expect("opens"))
                .expect("a leaf")
        };
        let mut entries = open(&index.tree.root);
        for component in self.from.components().skip(1) {
            let name = component.as_os_str().as_encoded_bytes();
            let on_the_way = entries.into_iter().find(|e| e.name == name).expect("on the way");
            entries = match on_the_way.listing.expect("a directory") {
                Listing::Inline(records) => decode_inline(&records).expect("records"),
                Listing::Pages(list) => open(&list.root),
            };
        }
        Some(entries)
    }
}

fn some_files(site: &mut Site) {
    for n in 0..40 {
        site.file(&format!("d{}/small-{n}", n % 7), 600 + 37 * n);
    }
    site.file("tiny", 100);
    site.file("empty", 0);
    site.file("long", 3 << 20);
    std::os::unix::fs::symlink("tiny", site.from.join("link")).expect("symlink");
    fs::hard_link(site.from.join("long"), site.from.join("d1/again")).expect("hard_link");
    fs::hard_link(site.from.join("d2/small-2"), site.from.join("zlast")).expect("hard_link");
    let sparse = fs::File::create(site.from.join("sparse")).expect("created");
    sparse.set_len(1 << 20).expect("set");
}

#[test]
fn an_unchanged_tree_is_not_read_and_costs_nothing() {
    let mut site = Site::new();
    some_files(&mut site);
    let first = site.snapshot();
    assert_eq!((first.progress.unchanged, first.progress.files), (0, first.totals.files));
    let second = site.snapshot();
    assert_eq!((second.progress.unchanged, second.progress.files), (second.totals.files, 0));
    // The directories above belong to all tests: `/`, `/dev`, `/dev/shm` may have changed, and
    // with them the root pages of snapshot and index.
    assert!(second.progress.new_objects <= 5, "{:?}", second.progress);
    assert_eq!(second.totals, first.totals);
    site.check(&second);
    site.equals_a_fresh_one(&second);
}

#[test]
fn only_what_changed_is_read() {
    let mut site = Site::new();
    some_files(&mut site);
    site.snapshot();
    site.file("d3/small-3", 700);
    site.file("d3/new", 5_000);
    fs::remove_file(site.from.join("d4/small-4")).expect("removed");
    fs::rename(site.from.join("d5"), site.from.join("d5-renamed")).expect("renamed");
    let third = site.snapshot();
    let moved = fs::read_dir(site.from.join("d5-renamed")).expect("listed").count() as u64;
    assert_eq!(third.progress.files, 2 + moved);
    site.check(&third);
    site.equals_a_fresh_one(&third);
}

#[test]
fn a_change_that_keeps_size_and_modification_time_is_seen() {
    let mut site = Site::new();
    site.file("f", 2_000);
    let path = site.from.join("f");
    let before = fs::metadata(&path).expect("stat");
    site.snapshot();
    // The kernel's clock for change times ticks every few milliseconds.
    std::thread::sleep(std::time::Duration::from_millis(12));
    site.file("f", 2_000);
    let time = before.modified().expect("a time");
    fs::File::options().write(true).open(&path).expect("opened").set_modified(time).expect("set");
    let now = fs::metadata(&path).expect("stat");
    assert_eq!((now.mtime(), now.mtime_nsec()), (before.mtime(), before.mtime_nsec()));
    let second = site.snapshot();
    assert_eq!(second.progress.files, 1);
    site.check(&second);
}

#[test]
fn what_changed_just_before_the_run_is_not_remembered() {
    let mut site = Site::new();
    site.file("f", 2_000);
    let changed = fs::metadata(site.from.join("f")).expect("stat").ctime();
    let just_after = Timestamp(u64::try_from(changed).expect("after 1970") + 2);
    let cache = site.cache(just_after);
    site.snapshot_with(Some(cache));
    let second = site.snapshot();
    assert_eq!((second.progress.files, second.progress.unchanged), (1, 0));
    let third = site.snapshot();
    assert_eq!((third.progress.files, third.progress.unchanged), (0, 1));
}

#[test]
fn the_first_name_of_a_hard_link_may_go_and_the_link_stays() {
    let mut site = Site::new();
    some_files(&mut site);
    site.snapshot();
    fs::remove_file(site.from.join("d1/again")).expect("removed");
    let second = site.snapshot();
    site.check(&second);
    fs::hard_link(site.from.join("long"), site.from.join("a-first")).expect("hard_link");
    let third = site.snapshot();
    site.check(&third);
    site.equals_a_fresh_one(&third);
}

#[test]
fn an_object_the_store_lost_is_read_and_put_again() {
    let mut site = Site::new();
    some_files(&mut site);
    site.snapshot();
    let objects = FsDisk::create(site.dir.path().join("another store")).expect("created");
    let options = seawall_store::Options::default();
    site.store = Store::open(Arc::new(objects), "", options).expect("opened").0;
    let second = site.snapshot();
    assert!(second.progress.new_objects > 0);
    site.check(&second);
}

/// Every file of the cache with every one of some damages: the snapshot is right all the same.
#[test]
fn an_index_is_made_for_a_tree_that_had_none_and_did_not_change() {
    let mut site = Site::new();
    some_files(&mut site);
    site.indexed = false;
    assert!(site.snapshot().path_index.is_none());
    site.indexed = true;
    let second = site.snapshot();
    assert_eq!(second.progress.files, 0, "no file is read for it");
    assert!(second.path_index.is_some());
    site.equals_a_fresh_one(&second);
    site.check(&second);
    let third = site.snapshot();
    // As above: the directories above belong to all tests.
    assert!(third.progress.new_objects <= 5, "{:?}", third.progress);
    site.indexed = false;
    let fourth = site.snapshot();
    assert!(fourth.path_index.is_none());
    assert!(fourth.reference_set.count < third.reference_set.count);
    site.check(&fourth);
}

#[test]
fn a_page_of_the_index_that_the_store_lost_is_put_again() {
    let mut site = Site::new();
    for n in 0..300 {
        site.file(&format!("wide/file-with-quite-a-long-name-{n}"), 10);
    }
    let first = site.snapshot();
    let objects = site.dir.path().join("other");
    let other = FsDisk::create(&objects).expect("created");
    let options = seawall_store::Options::default();
    let (other, _) = Store::open(Arc::new(other), "", options).expect("opened");
    site.store = other;
    let second = site.snapshot();
    assert_eq!(second.path_index, first.path_index);
    site.check(&second);
}

#[test]
fn a_damaged_cache_costs_time_and_nothing_else() {
    let mut site = Site::new();
    some_files(&mut site);
    let good = site.snapshot();
    let read = |disk: &SimDisk, name: &str| {
        seawall_base::read_file(disk, name, 1 << 24).expect("read").expect("it is there")
    };
    let files = ["cache/files.cache", "cache/files.secret"].map(|n| (n, read(&site.disk, n)));
    let mut seen_rereads = 0;
    for (name, bytes) in &files {
        let len = bytes.len();
        let step = (len / 24).max(1);
        for at in (0..len).step_by(step).chain([len - 1]) {
            for (other, content) in &files {
                put(&site.disk, other, content);
            }
            let mut bad = bytes.clone();
            if at % 2 == 0 {
                bad[at] ^= 1 << (at % 8);
            } else {
                bad.truncate(at);
            }
            put(&site.disk, name, &bad);
            let again = site.snapshot();
            assert_eq!(again.reference_set.count > 0, good.reference_set.count > 0);
            assert_eq!(again.totals, good.totals, "{name} at {at}");
            seen_rereads += again.progress.files;
        }
    }
    assert!(seen_rereads > 0, "no damage was noticed");
    let last = site.snapshot();
    site.check(&last);
}

fn put(disk: &SimDisk, name: &str, bytes: &[u8]) {
    let file = disk.open(name, OpenMode::Create).expect("opened");
    file.set_len(0).expect("cut");
    file.write_at(0, bytes).expect("written");
}

/// Frames that were written before a run came to its end serve the next one.
#[test]
fn an_interrupted_run_is_gone_on_with() {
    let mut site = Site::new();
    some_files(&mut site);
    let first = site.snapshot();
    // What an interrupted run leaves: the same frames without their index, under "next".
    for (from, to) in [("files.cache", "files.next"), ("files.secret", "files.next.secret")] {
        site.disk.rename(&format!("cache/{from}"), &format!("cache/{to}")).expect("renamed");
    }
    let whole = site.disk.open("cache/files.next", OpenMode::Write).expect("opened");
    let len = whole.len().expect("a length");
    let mut trailer = [0; 8];
    whole.read_exact_at(len - 8, &mut trailer).expect("read");
    whole.set_len(u64::from_le_bytes(trailer) - 5).expect("the last directory is torn");
    drop(whole);
    let second = site.snapshot();
    assert!(second.progress.unchanged > 0, "{:?}", second.progress);
    assert_eq!(second.totals, first.totals);
    site.check(&second);
    let third = site.snapshot();
    assert_eq!(third.progress.files, 0);
}

#[test]
fn the_last_of_a_bundle_is_packed_anew() {
    let mut site = Site::new();
    for n in 0..20 {
        site.file(&format!("f{n}"), 5_000);
    }
    let first = site.snapshot();
    for n in 1..20 {
        fs::remove_file(site.from.join(format!("f{n}"))).expect("removed");
    }
    let second = site.snapshot();
    assert_eq!((second.progress.files, second.progress.unchanged), (0, 1));
    let third = site.snapshot();
    assert_eq!((third.progress.files, third.progress.unchanged), (1, 0));
    assert!(third.reference_set.bytes < first.reference_set.bytes / 5);
    let fourth = site.snapshot();
    assert_eq!((fourth.progress.files, fourth.progress.unchanged), (0, 1));
    site.check(&fourth);
}

#[test]
fn the_key_changes_with_every_run_that_saw_a_change() {
    let mut site = Site::new();
    let mut keys = std::collections::BTreeSet::new();
    for n in 0..3 {
        site.file(&format!("f{n}"), 2_000);
        site.snapshot();
        let key = seawall_base::read_file(&site.disk, "cache/files.secret", 64).expect("read");
        assert!(keys.insert(key.expect("it is there")));
    }
}

#[test]
fn a_disk_that_refuses_the_cache_does_not_fail_the_snapshot() {
    let mut site = Site::new();
    some_files(&mut site);
    let cache = site.cache(LATER);
    site.disk.fail_after(0, std::io::ErrorKind::StorageFull, seawall_sim::Outcome::Lost);
    let snapshot = site.snapshot_with(Some(cache));
    site.check(&snapshot);
}

/// Buffers are used again: nothing of one file may get into the object of another.
#[test]
fn objects_hold_their_own_files_and_nothing_else() {
    let mut site = Site::new();
    for round in 0..6 {
        site.file(&format!("{round}-long"), 5 << 20);
        for n in 0..5 {
            site.file(&format!("{round}-small-{n}"), 20_000 + n);
        }
    }
    let snapshot = site.snapshot();
    // Noise does not shrink; padding adds less than a twelfth.
    let (plain, sealed) = (snapshot.totals.bytes, snapshot.progress.new_bytes);
    assert!((plain..plain + plain / 12).contains(&sealed), "{plain} bytes became {sealed}");
    site.check(&snapshot);
}

/// One change of a tree.
#[derive(Debug, Clone)]
enum Change {
    Write(u8, usize),
    Remove(u8),
    Link(u8, u8),
    Rename(u8, u8),
    Mode(u8, u32),
}

fn change() -> impl Strategy<Value = Change> {
    let file = 0u8..12;
    prop_oneof![
        4 => (file.clone(), prop_oneof![0usize..3_000, 100_000usize..300_000])
            .prop_map(|(f, n)| Change::Write(f, n)),
        2 => file.clone().prop_map(Change::Remove),
        2 => (file.clone(), file.clone()).prop_map(|(a, b)| Change::Link(a, b)),
        2 => (file.clone(), file.clone()).prop_map(|(a, b)| Change::Rename(a, b)),
        1 => (file, 0u32..0o777).prop_map(|(f, m)| Change::Mode(f, m | 0o600)),
    ]
}

fn path_of(root: &Path, file: u8) -> PathBuf {
    root.join(format!("d{}", file % 3)).join(format!("f{file}"))
}

fn apply(site: &mut Site, change: &Change) {
    use std::os::unix::fs::PermissionsExt;
    let root = site.from.clone();
    for dir in 0..3 {
        fs::create_dir_all(root.join(format!("d{dir}"))).expect("created");
    }
    // Changes of what is not there change nothing.
    match change {
        Change::Write(f, len) => site.file(&format!("d{}/f{f}", f % 3), *len),
        Change::Remove(f) => drop(fs::remove_file(path_of(&root, *f))),
        Change::Link(a, b) => drop(fs::hard_link(path_of(&root, *a), path_of(&root, *b))),
        Change::Rename(a, b) => drop(fs::rename(path_of(&root, *a), path_of(&root, *b))),
        Change::Mode(f, m) => {
            let mode = fs::Permissions::from_mode(*m);
            drop(fs::set_permissions(path_of(&root, *f), mode));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_history_restores_as_it_is(
        rounds in prop::collection::vec(prop::collection::vec(change(), 0..6), 1..5),
    ) {
        let mut site = Site::new();
        for round in rounds {
            for change in &round {
                apply(&mut site, change);
            }
            // Change times tick every few milliseconds, and nothing here waits two seconds.
            std::thread::sleep(std::time::Duration::from_millis(12));
            let snapshot = site.snapshot();
            site.check(&snapshot);
        }
    }
}
