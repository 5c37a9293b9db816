//! Turning a snapshot's root reference back into a tree, believing nothing on the way.
//!
//! By the time this runs, signatures, log and quorum have been checked (`seawall-custodian`,
//! and the program's `restore run`). Here follow the last checks of the order in DESIGN: every
//! object hashes to its id and opens under its reference; every page is canonical and in its
//! place; the number of entries and bytes never exceeds the signed totals, checked *before*
//! writing, so a page that contains itself many times over ends the restore instead of filling
//! the disk; and in the end the visited set equals the signed reference set.
//!
//! One thread reads the directories; others fetch, open and write content. A hard link waits for
//! its first name, a directory's metadata for everything in it.
//!
//! An object that is missing or damaged costs the files that need it, each named, and nothing
//! else: at three in the morning most of the data is better than none.

mod fetch;
mod walk;
mod writing;

use crossbeam_channel::{bounded, unbounded};
use seawall_base::ObjectId;
use seawall_record::reference_set::{self, Pages, ReferenceSetError, Visit};
use seawall_record::{ManifestCore, Totals};
use seawall_seal::{ObjectRef, SealError};

pub(crate) use self::fetch::Opener;
pub use self::fetch::{FetchError, Objects};
use self::walk::{Channels, Walk, Walked};
use self::writing::work;
use crate::pages::RootPage;
use crate::target::{Refused, Target, TargetError};

/// How far a restore is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// Files written.
    pub files: u64,
    /// Bytes of files written, holes included.
    pub bytes: u64,
}

/// A path that could not be restored, and why.
#[derive(Debug)]
pub struct Lost {
    /// Path from the snapshot's root.
    pub path: Vec<u8>,
    /// Why; a directory's reason holds for everything below it.
    pub why: EntryError,
}

/// Why one entry could not be restored.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// An object is missing or damaged everywhere it was looked for.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// An object does not open under its reference.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// What an object holds contradicts the format or its parent.
    #[error("object {id}: {why}")]
    Malformed {
        /// The object.
        id: ObjectId,
        /// What is wrong.
        why: String,
    },
    /// The entry could not be written.
    #[error(transparent)]
    Target(#[from] TargetError),
}

impl EntryError {
    /// The same reason for another file that needs the same object.
    fn again(&self) -> Self {
        match self {
            Self::Fetch(e) => Self::Fetch(e.clone()),
            Self::Seal(e) => Self::Seal(e.clone()),
            Self::Malformed { id, why } => Self::Malformed { id: *id, why: why.clone() },
            Self::Target(e) => unreachable!("no file was touched when an object failed: {e}"),
        }
    }
}

fn malformed(object: &ObjectRef, e: impl std::fmt::Display) -> EntryError {
    EntryError::Malformed { id: object.id, why: e.to_string() }
}

/// What a restore achieved.
#[derive(Debug)]
pub struct Restored {
    /// What was written.
    pub totals: Totals,
    /// What was deliberately not applied (set-uid, capabilities, devices, foreign owners).
    pub refused: Vec<Refused>,
    /// What could not be restored.
    pub lost: Vec<Lost>,
    /// The paths the snapshot was made of.
    pub sources: Vec<Vec<u8>>,
}

/// Why a restore ended early, or proved not to be what was signed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The root page could not be read: nothing was restored.
    #[error("the snapshot's root: {0}")]
    Root(EntryError),
    /// The disk is full, the target went away, or the like: going on is pointless.
    #[error(transparent)]
    Target(TargetError),
    /// The tree holds more than its signed totals: a forged or exploding snapshot.
    #[error(
        "the snapshot holds more {what} than its signed total of {signed}; it is forged, nothing more was written"
    )]
    AboveTotals {
        /// What there is too much of.
        what: &'static str,
        /// The signed figure.
        signed: u64,
    },
    /// The restored tree is not the signed one.
    #[error("restored {found:?}, but the manifest says {signed:?}; do not trust this tree")]
    OtherTotals {
        /// What was restored.
        found: Totals,
        /// What was signed.
        signed: Totals,
    },
    /// The objects visited are not those of the reference set.
    #[error("{what} object {id} and the signed reference set disagree; do not trust this tree")]
    OtherSet {
        /// `visited` or `unvisited`.
        what: &'static str,
        /// One of them.
        id: ObjectId,
    },
    /// A writing thread ended early: a bug, for they only end when told to.
    #[error("a writing thread ended unexpectedly")]
    WorkerLost,
    /// The reference set could not be read.
    #[error(transparent)]
    ReferenceSet(#[from] ReferenceSetError),
}

/// Restores the tree under `root` into `target` and proves it against `signed`, with `workers`
/// threads that write content.
pub fn restore(
    objects: &dyn Objects,
    pages: &dyn Pages,
    root: &ObjectRef,
    signed: &ManifestCore,
    mut target: Target,
    workers: usize,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Restored, RestoreError> {
    let (root_page, walked) = std::thread::scope(|scope| {
        let workers = workers.max(1);
        let (jobs, queue) = bounded(2 * workers);
        // Unbounded, so that workers never wait for the walk while the walk waits for them.
        let (report, done) = unbounded();
        for _ in 0..workers {
            let (queue, report) = (queue.clone(), report.clone());
            scope.spawn(move || work(objects, signed.class, &queue, &report));
        }
        let durability = target.durability().map_err(RestoreError::Target)?;
        let (syncs, due) = bounded(1);
        let early = scope.spawn(move || due.iter().try_for_each(|()| durability.sync()));
        let channels = Channels { jobs, done, syncs };
        let mut walk = Walk::new(objects, signed, &mut target, channels, progress);
        let root_page = walk.root_page(root).map_err(RestoreError::Root)?;
        walk.tree(&root_page.tree)?;
        if let Some(index) = &root_page.path_index {
            walk.path_index(index);
        }
        let walked = walk.finish();
        early.join().map_err(|_| RestoreError::WorkerLost)?.map_err(RestoreError::Target)?;
        Ok::<_, RestoreError>((root_page, walked))
    })?;
    let Walked { totals, mut lost, visited } = walked;
    lost.sort_by(|a, b| a.path.cmp(&b.path));
    let mut refused = target.finish(None).map_err(RestoreError::Target)?;
    refused.sort_by(|a, b| a.path.cmp(&b.path));
    if lost.is_empty() {
        check_totals(totals, signed.totals)?;
        check_visited(pages, signed, visited)?;
    }
    let RootPage { sources, .. } = root_page;
    Ok(Restored { totals, refused, lost, sources })
}

fn check_totals(found: Totals, signed: Totals) -> Result<(), RestoreError> {
    let found = Totals { problems: signed.problems, ..found };
    if found == signed { Ok(()) } else { Err(RestoreError::OtherTotals { found, signed }) }
}

/// The visited objects must be exactly the members of the signed reference set.
fn check_visited(
    pages: &dyn Pages,
    signed: &ManifestCore,
    mut visited: Vec<ObjectId>,
) -> Result<(), RestoreError> {
    visited.sort_unstable();
    visited.dedup();
    let mut visited = visited.into_iter().peekable();
    let mut wrong = None;
    reference_set::walk(pages, &signed.reference_set, &mut |visit| {
        // Members come in ascending order: the two sequences are compared side by side.
        if let (Visit::Member(member), None) = (visit, &wrong) {
            match visited.next() {
                Some(id) if id == member.id => {}
                Some(id) if id < member.id => wrong = Some(("visited", id)),
                _ => wrong = Some(("unvisited", member.id)),
            }
        }
    })?;
    let wrong = wrong.or_else(|| visited.next().map(|id| ("visited", id)));
    wrong.map_or(Ok(()), |(what, id)| Err(RestoreError::OtherSet { what, id }))
}
