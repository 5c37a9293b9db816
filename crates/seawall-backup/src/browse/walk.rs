//! Going through the selected part of a snapshot, once and in order.
//!
//! Every entry met, selected or not, counts towards the signed totals, and the one that goes
//! beyond them ends the walk: a directory that contains itself many times over is not followed
//! to its end. Directories on the way to something selected are entered only when that is met.
//!
//! A further name of something becomes a link only where its first name was yielded before. Where
//! it was not (it is outside the selection, or comes later), the thing itself is yielded here, and
//! every other name, the first among them, becomes a link to this one. So whoever writes what is
//! yielded, in order, never needs a link to what is not there yet.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use seawall_record::Totals;

use super::selection::{Selection, Verdict};
use super::{Listing, View, ViewError};
use crate::entry::{Entry, EntryKind, is_component};

/// Path components as one path without a leading slash.
pub fn join<C: AsRef<[u8]>>(components: &[C]) -> Vec<u8> {
    let parts: Vec<&[u8]> = components.iter().map(AsRef::as_ref).collect();
    parts.join(&b'/')
}

/// The components of a path from a snapshot's root; none if one could not be a name there.
pub fn split(path: &[u8]) -> Option<Vec<Vec<u8>>> {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let components = components(path);
    components.iter().all(|c| is_component(c)).then_some(components)
}

fn components(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|&b| b == b'/').map(<[u8]>::to_vec).collect()
}

/// What a walk comes upon.
#[derive(Debug)]
pub enum Step {
    /// A directory, entered. [`Step::Leave`] follows when all in it has been yielded.
    Enter(Visited),
    /// The end of the directory entered last.
    Leave(Visited),
    /// Anything else.
    Leaf(Visited),
    /// Something, or (of a directory) all below it, that could not be read.
    Lost {
        /// Path from the root, without a leading slash; empty for the root.
        path: Vec<u8>,
        /// Why.
        why: ViewError,
    },
}

/// One selected name.
#[derive(Debug, Clone)]
pub struct Visited {
    /// Path from the root, without a leading slash.
    pub path: Vec<u8>,
    /// What it is. Of a further name, the entry of the first: never a hard link.
    pub entry: Arc<Entry>,
    /// The name under which the same thing was yielded before.
    pub link: Option<Vec<Vec<u8>>>,
}

impl Visited {
    /// The last component of the path.
    pub fn name(&self) -> &[u8] {
        self.path.rsplit(|&b| b == b'/').next().expect("a split has a last part")
    }
}

/// What of the entries met was yielded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Walked {
    /// Files, each once.
    pub files: u64,
    /// Directories, those on the way to something selected included.
    pub directories: u64,
    /// Links and special files.
    pub others: u64,
    /// Bytes of the files, holes included.
    pub bytes: u64,
}

impl Walked {
    fn add(&mut self, step: &Step) {
        match step {
            Step::Enter(_) => self.directories += 1,
            Step::Leaf(it) => match &it.entry.kind {
                EntryKind::File { size, .. } if it.link.is_none() => {
                    self.files += 1;
                    self.bytes += size;
                }
                _ => self.others += 1,
            },
            Step::Leave(_) | Step::Lost { .. } => {}
        }
    }
}

struct Frame {
    listing: Listing,
    /// The directory; none for the root.
    here: Option<Visited>,
    is_taken: bool,
    is_entered: bool,
}

/// A walk over the selected part of a view.
pub struct Walk<'a> {
    view: &'a View,
    selection: &'a Selection,
    frames: Vec<Frame>,
    path: Vec<Vec<u8>>,
    met: Totals,
    /// Of files yielded, further names included.
    bytes: u64,
    yielded: Walked,
    /// Where a thing was yielded whose first name was not met before, by that name.
    moved: HashMap<Vec<Vec<u8>>, Vec<Vec<u8>>>,
    /// Names that could not be yielded: no link leads there.
    lost: HashSet<Vec<Vec<u8>>>,
    /// Steps to yield before going on, the last one first.
    pending: Vec<Step>,
    is_whole: bool,
}

impl<'a> Walk<'a> {
    /// Stands before the first entry.
    pub fn new(view: &'a View, selection: &'a Selection) -> Self {
        let EntryKind::Directory { listing } = &view.top().kind else {
            unreachable!("the top is a directory")
        };
        let root = Frame {
            listing: Listing::new(listing),
            here: None,
            is_taken: selection.is_all(),
            is_entered: true,
        };
        Self {
            view,
            selection,
            frames: vec![root],
            path: Vec::new(),
            met: Totals::default(),
            bytes: 0,
            yielded: Walked::default(),
            moved: HashMap::new(),
            lost: HashSet::new(),
            pending: Vec::new(),
            is_whole: true,
        }
    }

    /// What was yielded so far.
    pub const fn yielded(&self) -> Walked {
        self.yielded
    }

    /// Says that what was yielded last, no directory, could not be written: no link will lead
    /// there.
    pub fn not_written(&mut self, visited: &Visited) {
        match (&visited.entry.kind, &visited.link) {
            (EntryKind::File { size, .. }, None) => {
                self.yielded.files -= 1;
                self.yielded.bytes -= size;
            }
            _ => self.yielded.others -= 1,
        }
        self.retract(visited);
    }

    /// Forgets that something is at this path.
    fn retract(&mut self, visited: &Visited) {
        if let (EntryKind::File { size, .. }, None) = (&visited.entry.kind, &visited.link) {
            self.bytes -= size;
        }
        let path = components(&visited.path);
        self.moved.retain(|_, to| *to != path);
        self.lost.insert(path);
    }

    /// Leaves out all of a directory just entered, its [`Step::Leave`] included.
    pub fn skip(&mut self, entered: &Visited) {
        for step in std::mem::take(&mut self.pending) {
            if let Step::Leaf(it) = step {
                self.retract(&it);
            }
        }
        let is_it = |f: &Frame| f.here.as_ref().is_some_and(|here| here.path == entered.path);
        let at = self.frames.iter().position(is_it).expect("it was entered and not left");
        self.frames.truncate(at);
        self.path.truncate(at.saturating_sub(1));
        self.is_whole = false;
        self.lost.insert(components(&entered.path));
    }

    /// The next step; none at the end. An error means that the snapshot is not what was signed.
    #[expect(
        clippy::should_implement_trait,
        reason = "an error ends the walk; an iterator goes on"
    )]
    pub fn next(&mut self) -> Result<Option<Step>, ViewError> {
        loop {
            if let Some(step) = self.pending.pop() {
                self.yielded.add(&step);
                return Ok(Some(step));
            }
            let Some(frame) = self.frames.last_mut() else { return Ok(None) };
            match frame.listing.next(self.view) {
                Some(Ok(entry)) => self.entry(entry)?,
                Some(Err(why)) => self.lose(None, why)?,
                None => self.leave()?,
            }
        }
    }

    fn leave(&mut self) -> Result<(), ViewError> {
        let frame = self.frames.pop().expect("the loop saw a frame");
        if let Some(here) = frame.here {
            self.path.pop();
            if frame.is_entered {
                self.pending.push(Step::Leave(here));
            }
        }
        if self.frames.is_empty() && self.is_whole && self.selection.is_all() {
            let signed = self.view.signed().totals;
            let found = Totals { problems: signed.problems, ..self.met };
            if found != signed {
                return Err(ViewError::OtherTotals { found, signed });
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: Arc<Entry>) -> Result<(), ViewError> {
        self.count(&entry.kind)?;
        self.path.push(entry.name.clone());
        let is_directory = matches!(entry.kind, EntryKind::Directory { .. });
        let is_taken = self.frames.last().is_some_and(|f| f.is_taken);
        let verdict =
            if is_taken { Verdict::Take } else { self.selection.judge(&self.path, is_directory) };
        if let EntryKind::Directory { listing } = &entry.kind
            && verdict != Verdict::Skip
        {
            let here = Visited { path: join(&self.path), entry: entry.clone(), link: None };
            self.frames.push(Frame {
                listing: Listing::new(listing),
                here: Some(here),
                is_taken: verdict == Verdict::Take,
                is_entered: false,
            });
            if verdict == Verdict::Take {
                self.enter_all();
            }
            return Ok(());
        }
        let taken = if verdict == Verdict::Take { self.leaf(entry) } else { Ok(()) };
        let name = self.path.pop();
        taken.or_else(|why| self.lose(name, why))
    }

    /// Yields every directory on the way that has not been yielded.
    fn enter_all(&mut self) {
        let mut entered = Vec::new();
        for frame in self.frames.iter_mut().filter(|f| !f.is_entered) {
            frame.is_entered = true;
            entered.extend(frame.here.clone().map(Step::Enter));
        }
        self.pending.extend(entered.into_iter().rev());
    }

    fn leaf(&mut self, entry: Arc<Entry>) -> Result<(), ViewError> {
        let path = join(&self.path);
        let visited = if let EntryKind::HardLink { target } = &entry.kind {
            self.further_name(path, target)?
        } else {
            let link = self.moved.get(&self.path).cloned();
            Visited { path, entry, link }
        };
        if let (EntryKind::File { size, .. }, None) = (&visited.entry.kind, &visited.link) {
            let signed = self.view.signed().totals.bytes;
            let above = ViewError::AboveTotals { what: "bytes", signed };
            self.bytes = self.bytes.checked_add(*size).filter(|n| *n <= signed).ok_or(above)?;
        }
        self.pending.push(Step::Leaf(visited));
        self.enter_all();
        Ok(())
    }

    /// A further name of what is at `first`.
    fn further_name(&mut self, path: Vec<u8>, first: &[Vec<u8>]) -> Result<Visited, ViewError> {
        let entry = self.view.resolve(first)?;
        if let Some(moved) = self.moved.get(first) {
            return Ok(Visited { path, entry, link: Some(moved.clone()) });
        }
        let was_met = first < self.path.as_slice() && self.is_selected(first);
        let is_lost = (1..=first.len()).any(|n| self.lost.contains(&first[..n]));
        if was_met && !is_lost {
            return Ok(Visited { path, entry, link: Some(first.to_vec()) });
        }
        self.moved.insert(first.to_vec(), self.path.clone());
        Ok(Visited { path, entry, link: None })
    }

    fn is_selected(&self, path: &[Vec<u8>]) -> bool {
        (1..=path.len()).any(|n| self.selection.judge(&path[..n], n < path.len()) == Verdict::Take)
    }

    /// Counts an entry and refuses the one that goes beyond the signed totals.
    fn count(&mut self, kind: &EntryKind) -> Result<(), ViewError> {
        let signed = self.view.signed().totals;
        let met = &mut self.met;
        let (what, counter, limit) = match kind {
            EntryKind::Directory { .. } => {
                ("directories", &mut met.directories, signed.directories)
            }
            EntryKind::File { size, .. } => {
                let bytes = met.bytes.checked_add(*size).filter(|n| *n <= signed.bytes);
                let above = ViewError::AboveTotals { what: "bytes", signed: signed.bytes };
                met.bytes = bytes.ok_or(above)?;
                ("files", &mut met.files, signed.files)
            }
            _ => ("links and special files", &mut met.others, signed.others),
        };
        *counter += 1;
        if *counter > limit {
            return Err(ViewError::AboveTotals { what, signed: limit });
        }
        Ok(())
    }

    /// Notes what could not be read; ends the walk where nothing can be believed any more.
    fn lose(&mut self, name: Option<Vec<u8>>, why: ViewError) -> Result<(), ViewError> {
        if why.is_forgery() {
            return Err(why);
        }
        self.is_whole = false;
        let is_entry = name.is_some();
        let path: Vec<_> = self.path.iter().cloned().chain(name).collect();
        self.pending.push(Step::Lost { path: join(&path), why });
        if is_entry {
            self.lost.insert(path);
        }
        Ok(())
    }
}
