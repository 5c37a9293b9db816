//! The stateless middle of the pipeline: a piece in, a reference out, new bytes to the store.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use seawall_base::{ObjectId, Rng};
use seawall_seal::{Domain, Kind, ObjectRef, Placement, Prepared};
use seawall_store::Store;

use super::{Plan, Progress, SnapshotError};

/// A sealed piece: its reference and the length of its sealed bytes.
#[derive(Debug, Clone)]
pub(super) struct SealedPiece {
    pub(super) object: ObjectRef,
    pub(super) sealed_len: u32,
}

pub(super) struct Sealer<'a> {
    domain: &'a Domain,
    store: &'a Store,
    class: u8,
    rng: Mutex<&'a mut (dyn Rng + Send)>,
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
            store: plan.store,
            class: plan.class,
            rng: Mutex::new(rng),
            put: Mutex::new(HashMap::new()),
            new_bytes: AtomicU64::new(0),
            new_objects: AtomicU64::new(0),
        }
    }

    /// Seals a piece, or finds that an equal one is stored.
    pub(super) fn seal(&self, kind: Kind, plain: &[u8]) -> Result<SealedPiece, SnapshotError> {
        let placement = Placement { kind, class: self.class };
        let prepared = Prepared::new(self.domain, placement, plain, &mut Shared(&self.rng));
        if let Some(id) = prepared.index.as_ref().and_then(|ix| self.store.known(ix))
            && let Some(sealed_len) = self.length_of(id)
        {
            return Ok(SealedPiece { object: prepared.reference(id, plain.len()), sealed_len });
        }
        let sealed = prepared.seal(placement, plain)?;
        let (id, sealed_len) = (sealed.object_ref.id, sealed.bytes.len() as u32);
        // Before the put: whoever finds the object in the index also finds its length here.
        self.lengths().insert(id, sealed_len);
        if self.store.put(id, sealed.index, &sealed.bytes)? {
            self.new_objects.fetch_add(1, Ordering::Relaxed);
            self.new_bytes.fetch_add(u64::from(sealed_len), Ordering::Relaxed);
        }
        Ok(SealedPiece { object: sealed.object_ref, sealed_len })
    }

    fn length_of(&self, id: ObjectId) -> Option<u32> {
        self.store.size_of(id).or_else(|| self.lengths().get(&id).copied())
    }

    fn lengths(&self) -> std::sync::MutexGuard<'_, HashMap<ObjectId, u32>> {
        self.put.lock().expect("no holder of this lock panics")
    }

    pub(super) fn progress(&self, files: u64, bytes: u64) -> Progress {
        Progress {
            files,
            bytes,
            new_bytes: self.new_bytes.load(Ordering::Relaxed),
            new_objects: self.new_objects.load(Ordering::Relaxed),
        }
    }
}
