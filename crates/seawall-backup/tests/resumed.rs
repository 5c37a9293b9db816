//! Snapshots cut short: whatever write was the last, the next run goes on, seals nothing again that
//! was durable, and makes the same tree.
//!
//! Store and file cache share one disk that fails, or loses its power, at a chosen operation or
//! when the run has come so far.

mod support;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use seawall_backup::restore::restore;
use seawall_backup::snapshot::{
    Checkpoints, FileCache, Plan, Progress, Snapshot, SnapshotError, write,
};
use seawall_backup::source::FileTree;
use seawall_backup::target::{Options, Target, compare};
use seawall_base::{Clock, ObjectId, Rng, Seconds, Timestamp};
use seawall_seal::{Domain, DomainScope};
use seawall_sim::{Outcome, PowerCut, SeededRng, SimDisk};
use seawall_store::Store;
use support::{CLASS, signed, temporary};

/// New bytes between checkpoints.
const OFTEN: u64 = 64 << 10;

/// A clock that moves on by a second each time it is looked at.
struct Ticking(AtomicU64);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000 + self.0.fetch_add(1, Ordering::Relaxed))
    }
}

struct World {
    dir: tempfile::TempDir,
    from: PathBuf,
    disk: SimDisk,
    /// A zone that is full is made durable as well: large ones leave that to checkpoints.
    zone_bytes: u64,
    rng: SeededRng,
}

impl World {
    fn new() -> Self {
        let dir = temporary();
        let from = dir.path().join("from");
        fs::create_dir(&from).expect("created");
        Self { dir, from, disk: SimDisk::new(), zone_bytes: 256 << 20, rng: SeededRng::new(11) }
    }

    fn file(&mut self, name: &str, len: usize) {
        let mut bytes = vec![0; len];
        self.rng.fill(&mut bytes);
        let path = self.from.join(name);
        fs::create_dir_all(path.parent().expect("below the root")).expect("created");
        fs::write(path, bytes).expect("written");
    }

    fn store(&self) -> Result<Store, seawall_store::StoreError> {
        let options = seawall_store::Options { zone_bytes: self.zone_bytes, ..Default::default() };
        Ok(Store::open(Arc::new(self.disk.clone()), "", options)?.0)
    }

    /// One run; `progress` may end it by turning the disk off.
    fn run(
        &mut self,
        checkpoints: Checkpoints<'_>,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Snapshot, SnapshotError> {
        let store = self.store()?;
        let later = Timestamp(u64::MAX >> 1);
        let cache = FileCache::open(Arc::new(self.disk.clone()), "cache/f", later, &mut self.rng);
        let plan = Plan {
            sources: vec![self.from.as_os_str().as_bytes().to_vec()],
            host: b"host".to_vec(),
            class: CLASS,
            domain: &Domain::derive(&[9; 32], DomainScope::Tenant),
            index_domain: Some(&Domain::derive(&[9; 32], DomainScope::PathIndex)),
            store: &store,
            workers: 2,
            checkpoints,
        };
        let source = FileTree::new(&[&self.from]).expect("an absolute path");
        write(&plan, Box::new(source), cache.ok(), &mut self.rng, progress)
    }

    fn undisturbed(&mut self, checkpoints: Checkpoints<'_>) -> Snapshot {
        let snapshot = self.run(checkpoints, &mut |_| ()).expect("nothing fails");
        assert!(snapshot.problems.is_empty(), "{:?}", snapshot.problems);
        snapshot
    }

    /// A run that loses its power once `far` says so; how far it had come.
    fn cut_short(
        &mut self,
        checkpoints: Checkpoints<'_>,
        cut: PowerCut,
        far: impl Fn(&Progress) -> bool,
    ) -> Progress {
        let (disk, mut at) = (self.disk.clone(), None);
        let outcome = self.run(checkpoints, &mut |progress| {
            if at.is_none() && far(progress) {
                disk.power_off_after(0);
                at = Some(*progress);
            }
        });
        assert!(matches!(outcome, Err(SnapshotError::Store(_))), "{outcome:?}");
        self.disk = self.disk.power_cut(cut);
        at.expect("it came that far")
    }

    /// Sealed bytes that are durable.
    fn durable(&self) -> u64 {
        let mut bytes = 0;
        let store = self.store().expect("opened");
        store.each(&mut |_, len| bytes += u64::from(len)).expect("read");
        bytes
    }

    fn check(&self, snapshot: &Snapshot) {
        let store = self.store().expect("opened");
        let found = store.verify(&mut |_| ()).expect("read");
        assert!(found.damage.is_empty(), "{:?}", found.damage);
        let to = self.dir.path().join("to");
        let target = Target::create(&to, Options::default()).expect("empty");
        let pages = |id: ObjectId| store.get(id).map_err(|e| e.to_string());
        let core = signed(snapshot.reference_set, snapshot.totals);
        let done = restore(&store, &pages, &snapshot.root, &core, target, 2, &mut |_| ());
        assert!(done.expect("restored").lost.is_empty());
        let below = to.join(self.from.strip_prefix("/").expect("absolute"));
        let found = compare(&self.from, &below, true, &mut |_| ()).expect("directories");
        assert!(found.is_empty(), "{found:?}");
        fs::remove_dir_all(&to).expect("removed");
    }
}

/// Checkpoints by bytes alone.
fn by_bytes(bytes: u64) -> Checkpoints<'static> {
    Checkpoints { bytes, every: Seconds(u64::MAX), clock: &seawall_host::SystemClock }
}

fn some_of_everything(world: &mut World) {
    for n in 0..150 {
        world.file(&format!("bundled/d{}/f{n}", n % 4), 2_000 + 200 * n);
    }
    for n in 0..200 {
        world.file(&format!("tiny/{n}"), n);
    }
    world.file("long", 1 << 20);
    for n in 0..12 {
        world.file(&format!("media/{n}"), 200_000);
    }
    fs::hard_link(world.from.join("long"), world.from.join("zlink")).expect("linked");
    fs::hard_link(world.from.join("bundled/d1/f1"), world.from.join("bundled/d3/z"))
        .expect("linked");
    let sparse = fs::File::create(world.from.join("sparse")).expect("created");
    sparse.set_len(1 << 20).expect("set");
}

/// What becomes of a disk at the `n`th operation.
fn struck(disk: &SimDisk, n: u64, how: u64) -> PowerCut {
    let (outcome, cut) = match how % 7 {
        0 => (None, PowerCut::Torn { seed: n }),
        1 => (None, PowerCut::LoseUnsynced),
        // A killed process.
        2 => (None, PowerCut::KeepUnsynced),
        3 => (Some(Outcome::Lost), PowerCut::KeepUnsynced),
        4 => (Some(Outcome::Half), PowerCut::Torn { seed: n }),
        5 => (Some(Outcome::Persisted), PowerCut::KeepUnsynced),
        _ => (Some(Outcome::Nothing), PowerCut::Torn { seed: n }),
    };
    match outcome {
        Some(outcome) => disk.fail_after(n, ErrorKind::Other, outcome),
        None => disk.power_off_after(n),
    }
    cut
}

/// Every operation of a run is once the last: each is struck in one of seven ways, and each way
/// strikes all along.
#[test]
fn whatever_write_was_the_last_the_next_run_goes_on() {
    let mut world = World { zone_bytes: 4 << 20, ..World::new() };
    some_of_everything(&mut world);
    let whole = world.undisturbed(by_bytes(OFTEN));
    let operations = world.disk.op_count();
    assert!(operations > 40, "{operations}");
    let (mut went_on, mut not_made) = (0, 0);
    for n in 0..operations {
        world.disk = SimDisk::new();
        let cut = struck(&world.disk, n, n);
        not_made += u64::from(world.run(by_bytes(OFTEN), &mut |_| ()).is_err());
        world.disk = world.disk.power_cut(cut);
        let second = world.undisturbed(by_bytes(OFTEN));
        assert_eq!(second.totals, whole.totals, "after {n} of {operations}");
        world.check(&second);
        went_on += u64::from(second.progress.unchanged > 0);
        // What is left of a bundle that the second run could not use whole is put into a better one,
        // so that the third reads it; nothing else.
        let third = world.undisturbed(by_bytes(OFTEN));
        assert!(third.progress.files < 20, "{} after {n} of {operations}", third.progress.files);
        let fourth = world.undisturbed(by_bytes(OFTEN));
        assert_eq!(fourth.progress.files, 0, "after {n} of {operations}");
    }
    // Failures of the file cache alone fail nothing; the rest of the operations are the store's.
    assert!(not_made > operations / 2, "{not_made} of {operations}");
    assert!(went_on > operations / 4, "{went_on} of {operations}");
}

/// Pieces that depend on nothing but content: exactly what is durable is not sealed again. How much
/// is lost depends on how soon the thread that makes checkpoints is given a processor, so the bound
/// on that has to hold in one of a few tries.
fn loses_what_came_after_the_last_checkpoint(mut world: World, cut: PowerCut) {
    // A checkpoint may be under way, and another asked for, while six pieces are sealed.
    const MOST: u64 = 4 * OFTEN + (6 << 20);
    let whole = world.undisturbed(by_bytes(OFTEN)).progress.new_bytes;
    for part in [5, 9] {
        let mut lost = Vec::new();
        while lost.iter().all(|lost| *lost > MOST) {
            assert!(lost.len() < 5, "cut at {part} tenths: {lost:?} bytes were lost of {whole}");
            world.disk = SimDisk::new();
            let came = world.cut_short(by_bytes(OFTEN), cut, |p| p.new_bytes >= whole * part / 10);
            let durable = world.durable();
            lost.push(came.new_bytes.saturating_sub(durable));
            let second = world.undisturbed(by_bytes(OFTEN));
            assert_eq!(second.progress.new_bytes + durable, whole, "cut at {part} tenths");
            world.check(&second);
        }
    }
}

#[test]
fn nothing_durable_of_many_long_files_is_sealed_again() {
    let mut world = World::new();
    for n in 0..24 {
        world.file(&format!("long-{n}"), 1_000_000 + 1_000 * n);
    }
    loses_what_came_after_the_last_checkpoint(world, PowerCut::LoseUnsynced);
}

#[test]
fn one_very_long_file_cut_inside_it_is_gone_on_with() {
    let mut world = World::new();
    world.file("long", 24 << 20);
    loses_what_came_after_the_last_checkpoint(world, PowerCut::LoseUnsynced);
}

/// Tiny files make next to no new bytes: their checkpoints come by time. The run is killed again
/// and again, in one directory; together, all runs read little more than one would.
#[test]
fn a_directory_of_very_many_files_is_gone_on_with_in_the_middle() {
    const FILES: u64 = 6_000;
    /// The clock is looked at for every 64 files, and at the end of each batch of the walk.
    const LOST: u64 = 6 * 64 + 64;
    let mut world = World::new();
    for n in 0..FILES as usize {
        world.file(&format!("one/{n:05}"), 20 + n % 50);
    }
    let clock = Ticking(AtomicU64::new(0));
    let by_time = Checkpoints { bytes: u64::MAX, every: Seconds(5), clock: &clock };
    let mut read = 0;
    for part in 1..4 {
        let far = |p: &Progress| p.files + p.unchanged >= FILES * part / 4;
        read += world.cut_short(by_time, PowerCut::KeepUnsynced, far).files;
    }
    let last = world.undisturbed(by_time);
    read += last.progress.files;
    assert_eq!(last.totals.files, FILES);
    assert!(read <= FILES + 3 * LOST, "{read} files were read of {FILES}");
    world.check(&last);
}

/// A clock that is set back neither stops checkpoints nor makes one at every look.
#[test]
fn a_clock_set_back_does_not_stop_checkpoints() {
    struct Back(AtomicU64);
    impl Clock for Back {
        fn now(&self) -> Timestamp {
            let looks = self.0.fetch_add(1, Ordering::Relaxed);
            Timestamp(if looks < 3 { 1 << 40 } else { 1_000 + looks })
        }
    }
    let mut world = World::new();
    for n in 0..2_000 {
        world.file(&format!("one/{n:05}"), 20 + n % 50);
    }
    let clock = Back(AtomicU64::new(0));
    let by_time = Checkpoints { bytes: u64::MAX, every: Seconds(5), clock: &clock };
    world.cut_short(by_time, PowerCut::KeepUnsynced, |p| p.files >= 1_500);
    let last = world.undisturbed(by_time);
    assert!(last.progress.unchanged >= 900, "{:?}", last.progress);
}
