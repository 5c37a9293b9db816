//! The stateless middle of the pipeline: a piece in, a reference out, new bytes to the store.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender};
use seawall_base::{ObjectId, Rng};
use seawall_record::reference_set::Member;
use seawall_seal::{Domain, Kind, ObjectRef, Placement, Prepared, Workspace};
use seawall_store::Store;
use zeroize::Zeroizing;

use super::{Plan, Progress, SnapshotError};

/// A sealed piece: its reference and the length of its sealed bytes.
#[derive(Debug, Clone)]
pub(super) struct SealedPiece {
    pub(super) object: ObjectRef,
    pub(super) sealed_len: u32,
}

/// Which piece a sealed object is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ticket {
    Bundle(u64),
    Chunk(u64, u64),
}

/// A piece to be sealed.
pub(super) struct Job {
    pub(super) ticket: Ticket,
    pub(super) kind: Kind,
    pub(super) plain: Zeroizing<Vec<u8>>,
}

/// A piece that was sealed, and its buffer to be used again.
pub(super) struct Done {
    pub(super) ticket: Ticket,
    pub(super) piece: Result<SealedPiece, SnapshotError>,
    pub(super) plain: Zeroizing<Vec<u8>>,
}

pub(super) struct Sealer<'a> {
    domain: &'a Domain,
    index_domain: Option<&'a Domain>,
    store: &'a Store,
    class: u8,
    rng: Mutex<&'a mut (dyn Rng + Send)>,
    /// For pages, which the reading thread seals itself.
    pages: Mutex<Workspace>,
    /// Lengths of the objects this run has put: the store tells those of durable ones only.
    put: Mutex<HashMap<ObjectId, u32>>,
    new_bytes: AtomicU64,
    new_objects: AtomicU64,
}

/// Lends the one generator to whichever thread needs a key.
struct Shared<'s, 'a>(&'s Mutex<&'a mut (dyn Rng + Send)>);

impl Rng for Shared<'_, '_> {
    fn fill(&mut self, out: &mut [u8]) {
        self.0.lock().expect("no holder of this lock panics").fill(out);
    }
}

impl<'a> Sealer<'a> {
    pub(super) fn new(plan: &Plan<'a>, rng: &'a mut (dyn Rng + Send)) -> Self {
        Self {
            domain: plan.domain,
            index_domain: plan.index_domain,
            store: plan.store,
            class: plan.class,
            rng: Mutex::new(rng),
            pages: Mutex::new(Workspace::new()),
            put: Mutex::new(HashMap::new()),
            new_bytes: AtomicU64::new(0),
            new_objects: AtomicU64::new(0),
        }
    }

    /// Seals what comes until nothing comes any more. One such loop runs on every core.
    pub(super) fn work(&self, jobs: &Receiver<Job>, report: &Sender<Done>) {
        let mut workspace = Workspace::new();
        for Job { ticket, kind, plain } in jobs {
            let piece = self.seal(kind, &plain, &mut workspace);
            if report.send(Done { ticket, piece, plain }).is_err() {
                break;
            }
        }
    }

    /// Seals a page.
    pub(super) fn seal_page(&self, kind: Kind, plain: &[u8]) -> Result<SealedPiece, SnapshotError> {
        let mut workspace = self.pages.lock().expect("no holder of this lock panics");
        self.seal(kind, plain, &mut workspace)
    }

    /// Seals a piece, or finds that an equal one is stored.
    fn seal(
        &self,
        kind: Kind,
        plain: &[u8],
        workspace: &mut Workspace,
    ) -> Result<SealedPiece, SnapshotError> {
        let placement = Placement { kind, class: self.class };
        let domain = match (kind, self.index_domain) {
            (Kind::PathIndex, Some(domain)) => domain,
            _ => self.domain,
        };
        let prepared = Prepared::new(domain, placement, plain, &mut Shared(&self.rng));
        if let Some(id) = prepared.index.as_ref().and_then(|ix| self.store.known(ix))
            && let Some(sealed_len) = self.length_of(id)
        {
            return Ok(SealedPiece { object: prepared.reference(id, plain.len()), sealed_len });
        }
        let sealed = prepared.seal(placement, plain, workspace)?;
        let (id, sealed_len) = (sealed.object_ref.id, sealed.bytes.len() as u32);
        // Before the put: whoever finds the object in the index also finds its length here.
        self.lengths().insert(id, sealed_len);
        if self.store.put_object(&sealed.bytes, sealed.index)? {
            self.new_objects.fetch_add(1, Ordering::Relaxed);
            self.new_bytes.fetch_add(u64::from(sealed_len), Ordering::Relaxed);
        }
        Ok(SealedPiece { object: sealed.object_ref, sealed_len })
    }

    /// Whether the store has this object, and it is as long as it was.
    pub(super) fn holds(&self, member: Member) -> bool {
        self.store.size_of(member.id) == Some(member.len)
    }

    fn length_of(&self, id: ObjectId) -> Option<u32> {
        self.store.size_of(id).or_else(|| self.lengths().get(&id).copied())
    }

    fn lengths(&self) -> std::sync::MutexGuard<'_, HashMap<ObjectId, u32>> {
        self.put.lock().expect("no holder of this lock panics")
    }

    /// Sealed bytes new to the store so far.
    pub(super) fn new_bytes(&self) -> u64 {
        self.new_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn progress(&self, files: u64, unchanged: u64, bytes: u64) -> Progress {
        Progress {
            files,
            unchanged,
            bytes,
            new_bytes: self.new_bytes(),
            new_objects: self.new_objects.load(Ordering::Relaxed),
        }
    }
}
