//! Writing a snapshot: a walk goes in, sealed objects go to the store, one reference comes out.
//!
//! One thread walks and lists; one reads what its file cache does not know, and cuts; as many as
//! there are cores hash, compress and encrypt. The reading thread owns all state and hears of
//! sealed pieces through one channel, so nothing is shared but the store. A directory is sealed
//! when everything in it is known, which may be after the walk has left it: small files of many
//! directories share bundles.
//!
//! Order on disk: every object is put, then the reference-set pages, then one last flush, then
//! the file cache. Nothing refers to an object before that flush, so a killed snapshot leaves
//! unreferenced bytes only; those that earlier flushes made durable are found again by the run
//! after it.

mod directory;
mod file_cache;
mod long_file;
mod sealer;
mod writer;

use crossbeam_channel::{Sender, bounded, unbounded};
use seawall_base::{Clock, ObjectId, Rng, Seconds};
use seawall_record::reference_set::{self, Member};
use seawall_record::{ReferenceSet, Totals};
use seawall_seal::{Domain, Kind, ObjectRef, SealError};
use seawall_store::{Store, StoreError};

pub use self::file_cache::FileCache;
use self::sealer::Sealer;
use self::writer::{Channels, TreeWriter, Written};
use crate::chunker::CHUNKER_ID;
use crate::entry::{InvalidEntry, List};
use crate::pages::{MAX_SOURCES, RootPage};
use crate::path_index::{PathIndexRoot, PathIndexWriter};
use crate::source::filter::Excluded;
use crate::source::{Problem, Source, SourceError, Step};

/// What a snapshot is made of and where it goes.
pub struct Plan<'a> {
    /// Absolute paths, as the walk was given them.
    pub sources: Vec<Vec<u8>>,
    /// Name of the machine.
    pub host: Vec<u8>,
    /// Number of the data class.
    pub class: u8,
    /// Within which equal pieces are stored once.
    pub domain: &'a Domain,
    /// The domain of path indexes, if the snapshot gets one.
    pub index_domain: Option<&'a Domain>,
    /// Where the objects go.
    pub store: &'a Store,
    /// Threads that seal.
    pub workers: usize,
    /// How much of a run that is cut short is lost.
    pub checkpoints: Checkpoints<'a>,
}

/// When a run makes durable what it has, and notes which files that is: as soon as either is
/// reached. The next run goes on from the last one.
#[derive(Clone, Copy)]
pub struct Checkpoints<'a> {
    /// Sealed bytes new to the store since the last one.
    pub bytes: u64,
    /// Time since the last one. Bytes alone would leave slow sources and trees of tiny files
    /// without any for minutes.
    pub every: Seconds,
    /// What time it is.
    pub clock: &'a dyn Clock,
}

impl<'a> Checkpoints<'a> {
    /// 256 MiB or 5 seconds: rare enough to cost nothing that could be measured.
    pub fn new(clock: &'a dyn Clock) -> Self {
        Self { bytes: 256 << 20, every: Seconds(5), clock }
    }
}

/// How far a snapshot is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// Files read.
    pub files: u64,
    /// Files that are as they were and were not read.
    pub unchanged: u64,
    /// Bytes of all of these files.
    pub bytes: u64,
    /// Sealed bytes that were new to the store.
    pub new_bytes: u64,
    /// Objects that were new to the store.
    pub new_objects: u64,
}

/// A tree that is durable in the store.
#[derive(Debug)]
pub struct Snapshot {
    /// Opens everything.
    pub root: ObjectRef,
    /// Where its path index begins, if it has one.
    pub path_index: Option<PathIndexRoot>,
    /// Everything, by id.
    pub reference_set: ReferenceSet,
    /// What is in the tree.
    pub totals: Totals,
    /// What is not, or not whole.
    pub problems: Vec<Problem>,
    /// What was passed over because somebody asked for that.
    pub excluded: Excluded,
    /// What it cost.
    pub progress: Progress,
    /// Why the next run has to read everything again, if it has to.
    pub cache_lost: Option<std::io::Error>,
}

/// Why no snapshot came about. Problems with single files are not errors: they are reported.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The walk could not begin.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The store failed; its message says whether to free space or look at the disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A piece could not be sealed: a bug, for all pieces are within bounds.
    #[error("sealing: {0}")]
    Seal(#[from] SealError),
    /// An entry taken over from the last run could not be read: a bug, for it was read then.
    #[error("entry {} of the last snapshot: {source}; delete `cache` in the home", String::from_utf8_lossy(.name))]
    Record {
        /// Its name.
        name: Vec<u8>,
        /// What is wrong.
        source: seawall_base::wire::WireError,
    },
    /// An entry could not be encoded: a bug, for the walk yields valid ones.
    #[error("entry {}: {source}", String::from_utf8_lossy(.name))]
    Entry {
        /// Its name.
        name: Vec<u8>,
        /// What is wrong.
        source: InvalidEntry,
    },
    /// More sources than a root page holds.
    #[error("{0} paths given, at most {MAX_SOURCES} fit in one snapshot; give their parent")]
    TooManySources(usize),
    /// A sealing thread ended early: a bug, for they only end when told to.
    #[error("a sealing thread ended unexpectedly")]
    WorkerLost,
}

/// Batches of steps that wait to be taken.
const AHEAD: usize = 4;
/// Steps in a batch, at most: each may hold a directory open.
const BATCH: usize = 16;

/// Walks until the end, or until nobody listens any more.
fn tell_all(source: &mut dyn Source, tell: &Sender<Vec<Step>>) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let step = source.next();
        let is_over = step.is_none();
        batch.extend(step);
        if (is_over || batch.len() == BATCH)
            && tell.send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH))).is_err()
        {
            return;
        }
        if is_over {
            return;
        }
    }
}

/// Reads `source` and makes it durable in the plan's store.
///
/// `cache` is what the last run over the same source left; without one, everything is read.
/// `rng` gives keys in the domain that shares nothing. `progress` is told often; it should
/// return fast.
pub fn write(
    plan: &Plan<'_>,
    source: Box<dyn Source>,
    cache: Option<FileCache>,
    rng: &mut (dyn Rng + Send),
    progress: &mut dyn FnMut(&Progress),
) -> Result<Snapshot, SnapshotError> {
    if plan.sources.len() > MAX_SOURCES {
        return Err(SnapshotError::TooManySources(plan.sources.len()));
    }
    let secret = plan.domain.chunker_secret().unwrap_or_else(|| {
        let mut fresh = [0; 32];
        rng.fill(&mut fresh);
        fresh
    });
    let sealer = Sealer::new(plan, rng);
    let ((tree, index), mut written, (problems, excluded)) =
        run(plan, source, cache, &sealer, &secret, progress)?;
    let root_page = RootPage {
        chunker: CHUNKER_ID,
        tree,
        host: plan.host.clone(),
        sources: plan.sources.clone(),
        path_index: index.clone(),
    };
    let root = sealer.seal_page(Kind::Root, &root_page.encode())?;
    written.members.push(Member { id: root.object.id, len: root.sealed_len });
    written.members.sort_unstable();
    written.members.dedup();
    let reference_set = put_reference_set(plan.store, &written.members)?;
    plan.store.flush()?;
    let mut problems: Vec<_> = problems.into_iter().chain(written.problems).collect();
    problems.sort_by(|a, b| a.path.cmp(&b.path));
    written.totals.problems = problems.len() as u64;
    let unchanged = written.totals.files - written.files;
    let last = sealer.progress(written.files, unchanged, written.totals.bytes);
    progress(&last);
    // Only now, when everything it refers to is durable. Without it the next run takes longer.
    let cache_lost = written.cache.and_then(|cache| cache.finish(&written.sparse).err());
    Ok(Snapshot {
        root: root.object,
        path_index: index
            .map(|tree| PathIndexRoot { line: PathIndexRoot::line(&plan.sources), tree }),
        reference_set,
        totals: written.totals,
        problems,
        excluded,
        progress: last,
        cache_lost,
    })
}

/// The topmost directory in the tree, and in the path index if there is one.
type Roots = (List, Option<List>);
/// What a walk did not tell as part of the tree.
type Met = (Vec<Problem>, Excluded);

/// Runs the threads of a snapshot until the tree is sealed.
fn run<'a>(
    plan: &Plan<'a>,
    mut source: Box<dyn Source>,
    cache: Option<FileCache>,
    sealer: &Sealer<'a>,
    secret: &[u8; 32],
    progress: &mut dyn FnMut(&Progress),
) -> Result<(Roots, Written, Met), SnapshotError> {
    std::thread::scope(|scope| {
        let workers = plan.workers.max(1);
        let (jobs, queue) = bounded(2 * workers);
        // Unbounded, so that workers never wait for the reader while the reader waits for them.
        // It holds no more than there are jobs in flight.
        let (report, done) = unbounded();
        for _ in 0..workers {
            let (queue, report) = (queue.clone(), report.clone());
            scope.spawn(move || sealer.work(&queue, &report));
        }
        let (tell, steps) = bounded(AHEAD);
        let walk = scope.spawn(move || {
            tell_all(&mut *source, &tell);
            (source.take_problems(), source.excluded())
        });
        let (checkpoints, asked) = bounded(1);
        scope.spawn(move || {
            for () in asked {
                // A store that failed once refuses everything after: the last flush says why.
                if plan.store.flush().is_err() {
                    break;
                }
            }
        });
        let channels = Channels { jobs, done, checkpoints };
        let index = plan.index_domain.map(PathIndexWriter::new);
        let mut writer =
            TreeWriter::new(sealer, channels, secret, (cache, index), plan.checkpoints);
        let tree = writer.run(&steps, progress);
        drop(steps);
        let written = writer.finish();
        let met = walk.join().map_err(|_| SnapshotError::WorkerLost)?;
        Ok((tree?, written, met))
    })
}

/// Puts the pages of the reference set of `members` (ascending, distinct).
fn put_reference_set(store: &Store, members: &[Member]) -> Result<ReferenceSet, StoreError> {
    let mut failed = None;
    let set = reference_set::build(members, &mut |id: ObjectId, page| {
        if failed.is_none() {
            failed = store.put(id, None, &page).err();
        }
    });
    failed.map_or(Ok(set), Err)
}
