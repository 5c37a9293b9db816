//! Getting pages in batches, ahead of their use, within bounded memory.

use std::collections::{HashMap, VecDeque};

use seawall_base::ObjectId;
use seawall_seal::{Kind, ObjectRef, Placement, Workspace};
use seawall_store::{Store, StoreError};
use zeroize::Zeroizing;

use super::EntryError;

/// Objects asked for at once.
const BATCH: usize = 16;

/// Why an object could not be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FetchError {
    /// No tier that was asked has it.
    #[error("object {0} is missing; run `seawall verify` and look for another tier that has it")]
    Missing(ObjectId),
    /// A tier has it, but not as it was written, and no other has a good copy.
    #[error("object {id} is damaged ({why}); another tier may have a good copy")]
    Damaged {
        /// The object.
        id: ObjectId,
        /// Where, as the tier says.
        why: String,
    },
    /// A tier could not be asked.
    #[error("object {id}: {why}")]
    Unavailable {
        /// The object.
        id: ObjectId,
        /// What failed.
        why: String,
    },
}

/// Where a restore takes sealed objects from: a store, a region, or one behind the other.
pub trait Objects: Sync {
    /// Gets each of `ids`, in any order, through `give`; an answer for every id. The bytes need
    /// not be right: opening checks them.
    fn get(&self, ids: &[ObjectId], give: &mut dyn FnMut(ObjectId, Result<Vec<u8>, FetchError>));
}

impl Objects for Store {
    fn get(&self, ids: &[ObjectId], give: &mut dyn FnMut(ObjectId, Result<Vec<u8>, FetchError>)) {
        for &id in ids {
            let got = match Self::get(self, id) {
                Ok(Some(bytes)) => Ok(bytes),
                Ok(None) => Err(FetchError::Missing(id)),
                Err(e @ StoreError::Damaged { .. }) => {
                    Err(FetchError::Damaged { id, why: e.to_string() })
                }
                Err(e) => Err(FetchError::Unavailable { id, why: e.to_string() }),
            };
            give(id, got);
        }
    }
}

/// Opens objects, fetching those that will be needed soon in the same request.
pub(crate) struct Opener<'a> {
    objects: &'a dyn Objects,
    class: u8,
    /// What will be asked for, in order, as far as it is known.
    upcoming: VecDeque<ObjectId>,
    fetched: HashMap<ObjectId, Result<Vec<u8>, FetchError>>,
    workspace: Workspace,
    visited: Vec<ObjectId>,
}

impl<'a> Opener<'a> {
    pub(crate) fn new(objects: &'a dyn Objects, class: u8) -> Self {
        Self {
            objects,
            class,
            upcoming: VecDeque::new(),
            fetched: HashMap::new(),
            workspace: Workspace::new(),
            visited: Vec::new(),
        }
    }

    /// Adds objects that others have opened.
    pub(super) fn note(&mut self, visited: &[ObjectId]) {
        self.visited.extend_from_slice(visited);
    }

    pub(crate) fn take_visited(&mut self) -> Vec<ObjectId> {
        std::mem::take(&mut self.visited)
    }

    /// Announces what will be opened next, before anything announced earlier.
    pub(crate) fn announce(&mut self, ids: impl DoubleEndedIterator<Item = ObjectId>) {
        for id in ids.rev() {
            if self.upcoming.front() != Some(&id) {
                self.upcoming.push_front(id);
            }
        }
        // What lies further ahead will be announced again by nobody, and is fetched when due.
        self.upcoming.truncate(4_096);
    }

    /// Opens an object.
    pub(crate) fn open(
        &mut self,
        object: &ObjectRef,
        kind: Kind,
    ) -> Result<Zeroizing<Vec<u8>>, EntryError> {
        let bytes = self.fetch(object.id)?;
        let placement = Placement { kind, class: self.class };
        let plain = self.workspace.open(object, placement, &bytes)?;
        let plain = Zeroizing::new(plain.to_vec());
        self.visited.push(object.id);
        Ok(plain)
    }

    fn fetch(&mut self, id: ObjectId) -> Result<Vec<u8>, FetchError> {
        if let Some(fetched) = self.fetched.remove(&id) {
            return fetched;
        }
        let mut batch = vec![id];
        while batch.len() < BATCH
            && self.fetched.len() < 2 * BATCH
            && let Some(next) = self.upcoming.pop_front()
        {
            if !batch.contains(&next) && !self.fetched.contains_key(&next) {
                batch.push(next);
            }
        }
        let fetched = &mut self.fetched;
        self.objects.get(&batch, &mut |id, got| {
            fetched.insert(id, got);
        });
        self.fetched.remove(&id).unwrap_or(Err(FetchError::Missing(id)))
    }
}
