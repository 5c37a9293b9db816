//! Looking into a snapshot without restoring all of it: names, attributes and ranges of files,
//! each read when it is asked for.
//!
//! A [`View`] begins at the root reference that a quorum has opened, and believes as little as a
//! restore does: every object hashes to its id, opens under its reference, and is canonical and
//! in its place. What it cannot check is that the visited objects are *all* of the signed
//! reference set, since it visits a part. Instead every object must be a *member* of that set,
//! looked up in the public pages as it is fetched ([`reference_set::find`]): what no tier is bound
//! to keep was never part of the snapshot.
//!
//! Memory is bounded by the caches, whatever the snapshot holds. The rejected alternative, a
//! table of all entries made when the view is opened, costs a restore's worth of pages before the
//! first name is shown.

mod cache;
mod content;
mod directory;
mod names;
mod restore;
mod selection;
mod walk;

use std::sync::{Arc, Mutex, MutexGuard};

use seawall_base::ObjectId;
use seawall_record::reference_set::{self, ReferenceSetError};
use seawall_record::{ManifestCore, Totals};
use seawall_seal::{Kind, ObjectRef, Placement, SealError, open};
use zeroize::Zeroizing;

use self::cache::Cache;
pub use self::content::OpenFile;
pub use self::directory::Listing;
pub use self::names::Names;
pub use self::restore::{Picked, PickedError, Unwritten, Why, restore_selected};
pub use self::selection::{Selection, SelectionError};
pub use self::walk::{Step, Visited, Walk, Walked, join, split};
use crate::entry::{Entry, EntryKind, List, Meta};
use crate::pages::{self, RootPage, Stretch};
use crate::restore::{FetchError, Objects};

/// Plain bytes of opened bundles and chunks that are kept.
const PIECES: usize = 32 << 20;
/// Bytes of memory of decoded pages that are kept, about.
const PAGES: usize = 32 << 20;
/// Bytes of reference-set pages that are kept.
const MEMBERS: usize = 8 << 20;
/// Objects asked for at once.
const BATCH: usize = 16;
/// What a decoded page takes in memory for each byte of its encoding, about.
const EXPANSION: usize = 4;

/// Why something in a snapshot could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
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
    /// The reference set could not be read, so nobody can say whether an object belongs to it.
    #[error(transparent)]
    ReferenceSet(#[from] ReferenceSetError),
    /// A further name of something that is not in the snapshot.
    #[error("its first name, {first}, is not in the snapshot")]
    NoFirstName {
        /// The first name, for people.
        first: String,
    },
    /// An object that the signed reference set does not name.
    #[error("object {0} is not in the signed reference set; do not trust this snapshot")]
    Unsigned(ObjectId),
    /// The tree holds more than its signed totals: a forged or exploding snapshot.
    #[error("the snapshot holds more {what} than its signed total of {signed}; it is forged")]
    AboveTotals {
        /// What there is too much of.
        what: &'static str,
        /// The signed figure.
        signed: u64,
    },
    /// All of the tree was seen, and it is less than was signed.
    #[error("the snapshot holds {found:?}, but its manifest says {signed:?}; do not trust it")]
    OtherTotals {
        /// What was seen.
        found: Totals,
        /// What was signed.
        signed: Totals,
    },
}

impl ViewError {
    /// Whether the whole snapshot contradicts what was signed. Anything else costs what needs
    /// the object at fault, and nothing more.
    pub const fn is_forgery(&self) -> bool {
        matches!(self, Self::Unsigned(_) | Self::AboveTotals { .. } | Self::OtherTotals { .. })
    }
}

type Opens<T> = Result<T, ViewError>;
type Plain = Arc<Zeroizing<Vec<u8>>>;

/// A page in the form in which it is used.
#[derive(Debug)]
enum Page {
    Index(Vec<ObjectRef>),
    Directory(Vec<Arc<Entry>>),
    Chunks(Vec<Stretch>),
}

/// What a cached page was opened as, beside its id.
type PageKey = (ObjectId, u8, u8);

/// Sealed objects, and the public pages of reference sets among them, for any thread.
pub type SharedObjects = Arc<dyn Objects + Send + Sync>;

/// A snapshot that can be read at any point.
pub struct View {
    objects: SharedObjects,
    signed: ManifestCore,
    root: RootPage,
    /// The directory `/`, as if it had an entry.
    top: Arc<Entry>,
    pages: Mutex<Cache<PageKey, (ObjectRef, Arc<Page>)>>,
    pieces: Mutex<Cache<ObjectId, (ObjectRef, Plain)>>,
    members: Mutex<Cache<ObjectId, Arc<Vec<u8>>>>,
}

impl View {
    /// Opens the snapshot whose root page is `root` and whose manifest says `signed`.
    pub fn open(
        objects: SharedObjects,
        root: &ObjectRef,
        signed: &ManifestCore,
    ) -> Result<Self, ViewError> {
        let mut view = Self {
            objects,
            signed: signed.clone(),
            root: RootPage {
                chunker: 0,
                tree: nothing(root),
                host: vec![],
                sources: vec![],
                path_index: None,
            },
            top: Arc::new(directory(nothing(root), signed)),
            pages: Mutex::new(Cache::new(PAGES)),
            pieces: Mutex::new(Cache::new(PIECES)),
            members: Mutex::new(Cache::new(MEMBERS)),
        };
        let page = view.open_object(root, Kind::Root)?;
        view.root = RootPage::decode(&page).map_err(|e| malformed(root, e))?;
        if view.root.chunker != crate::chunker::CHUNKER_ID {
            let why = format!("chunker {} is not known; use a newer seawall", view.root.chunker);
            return Err(malformed(root, why));
        }
        view.top = Arc::new(directory(view.root.tree.clone(), signed));
        Ok(view)
    }

    /// What the manifest says.
    pub const fn signed(&self) -> &ManifestCore {
        &self.signed
    }

    /// The absolute paths the snapshot was made of.
    pub fn sources(&self) -> &[Vec<u8>] {
        &self.root.sources
    }

    /// The directory `/`. Snapshots keep no metadata of it: it is shown as root's, mode 0755, of
    /// the time the snapshot was made.
    pub const fn top(&self) -> &Arc<Entry> {
        &self.top
    }

    /// The entry at the path of these components; none if there is nothing.
    ///
    /// A further name of something is returned as what it is: [`View::resolve`] goes on.
    pub fn lookup<C: AsRef<[u8]>>(&self, path: &[C]) -> Result<Option<Arc<Entry>>, ViewError> {
        let mut here = self.top.clone();
        for name in path {
            let EntryKind::Directory { listing } = &here.kind else { return Ok(None) };
            match self.find(listing, name.as_ref())? {
                Some(entry) => here = entry,
                None => return Ok(None),
            }
        }
        Ok(Some(here))
    }

    /// The entry under the first name of what a hard link names.
    pub fn resolve<C: AsRef<[u8]>>(&self, first: &[C]) -> Result<Arc<Entry>, ViewError> {
        let absent =
            || ViewError::NoFirstName { first: crate::source::Quoted(&join(first)).to_string() };
        let entry = self.lookup(first)?.ok_or_else(absent)?;
        match entry.kind {
            EntryKind::Directory { .. } | EntryKind::HardLink { .. } => Err(absent()),
            _ => Ok(entry),
        }
    }

    /// Opens a page of a list, or finds it open.
    fn page(&self, object: &ObjectRef, kind: Kind, level: u8) -> Opens<Arc<Page>> {
        let key = (object.id, kind as u8, level);
        // By the whole reference: what opens must not depend on what was opened before.
        if let Some((known, page)) = locked(&self.pages).get(&key)
            && known == *object
        {
            return Ok(page);
        }
        let plain = self.open_object(object, kind)?;
        let page = if level > 0 {
            pages::decode_index(&plain, level).map(Page::Index)
        } else if kind == Kind::Directory {
            let entries = pages::decode_directory(&plain);
            entries.map(|entries| Page::Directory(entries.into_iter().map(Arc::new).collect()))
        } else {
            pages::decode_chunk_list(&plain).map(Page::Chunks)
        };
        let page = Arc::new(page.map_err(|e| malformed(object, e))?);
        let cost = EXPANSION * plain.len();
        locked(&self.pages).put(key, (object.clone(), page.clone()), cost);
        Ok(page)
    }

    /// Opens a bundle or a chunk, or finds it open.
    fn piece(&self, object: &ObjectRef, kind: Kind) -> Opens<Plain> {
        if let Some(plain) = self.open_piece(object) {
            return Ok(plain);
        }
        let plain = Arc::new(self.open_object(object, kind)?);
        self.keep_piece(object, &plain);
        Ok(plain)
    }

    fn open_piece(&self, object: &ObjectRef) -> Option<Plain> {
        let (known, plain) = locked(&self.pieces).get(&object.id)?;
        (known == *object).then_some(plain)
    }

    fn keep_piece(&self, object: &ObjectRef, plain: &Plain) {
        let cost = plain.len() + size_of::<ObjectRef>();
        locked(&self.pieces).put(object.id, (object.clone(), plain.clone()), cost);
    }

    /// Gets chunks that will be needed next in one request. What fails is asked for again, and
    /// named, when its turn comes.
    fn fetch_ahead(&self, objects: &[&ObjectRef]) {
        let wanted: Vec<_> =
            objects.iter().filter(|o| self.open_piece(o).is_none()).take(BATCH).collect();
        if wanted.len() < 2 {
            return;
        }
        let ids: Vec<_> = wanted.iter().map(|o| o.id).collect();
        self.objects.get(&ids, &mut |id, got| {
            let Some(object) = wanted.iter().find(|o| o.id == id) else { return };
            let Ok(bytes) = got else { return };
            if let Ok(plain) = self.open_bytes(object, Kind::Chunk, &bytes) {
                self.keep_piece(object, &Arc::new(plain));
            }
        });
    }

    fn open_object(&self, object: &ObjectRef, kind: Kind) -> Opens<Zeroizing<Vec<u8>>> {
        let mut answer = Err(FetchError::Missing(object.id));
        self.objects.get(&[object.id], &mut |id, got| {
            if id == object.id {
                answer = got;
            }
        });
        self.open_bytes(object, kind, &answer?)
    }

    fn open_bytes(
        &self,
        object: &ObjectRef,
        kind: Kind,
        sealed: &[u8],
    ) -> Opens<Zeroizing<Vec<u8>>> {
        let plain = open(object, Placement { kind, class: self.signed.class }, sealed)?;
        let pages = |id: ObjectId| self.member_page(id);
        let member = reference_set::find(&pages, &self.signed.reference_set, &object.id)?;
        member.map(|_| plain).ok_or(ViewError::Unsigned(object.id))
    }

    fn member_page(&self, id: ObjectId) -> Result<Option<Vec<u8>>, String> {
        if let Some(page) = locked(&self.members).get(&id) {
            return Ok(Some(page.to_vec()));
        }
        let mut answer = Err(FetchError::Missing(id));
        self.objects.get(&[id], &mut |got_id, got| {
            if got_id == id {
                answer = got;
            }
        });
        match answer {
            Ok(page) if page.len() <= reference_set::MAX_PAGE => {
                locked(&self.members).put(id, Arc::new(page.clone()), page.len());
                Ok(Some(page))
            }
            // Its digest cannot be right; the caller says so.
            Ok(page) => Ok(Some(page)),
            Err(FetchError::Missing(_)) => Ok(None),
            Err(e) => Err(e.to_string()),
        }
    }
}

/// A poisoned cache holds whole entries all the same: each is put in one step.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn nothing(root: &ObjectRef) -> List {
    List { root: root.clone(), depth: 0 }
}

fn directory(listing: List, signed: &ManifestCore) -> Entry {
    let mtime_sec = i64::try_from(signed.created.0).unwrap_or(i64::MAX);
    let meta = Meta { mode: 0o755, mtime_sec, ..Meta::default() };
    Entry { name: b"/".to_vec(), meta, kind: EntryKind::Directory { listing } }
}

fn malformed(object: &ObjectRef, e: impl std::fmt::Display) -> ViewError {
    ViewError::Malformed { id: object.id, why: e.to_string() }
}
