//! What changed between two snapshots, at the cost of what changed.
//!
//! Equal directories of one dedup domain are equal references, so a directory whose reference is
//! the same on both sides is not opened, and of a long directory that changed only the pages that
//! are not on both sides. Equal files of one domain mostly are equal references, too; where they
//! are not (a neighbour in the bundle changed, the domain is another), their bytes are compared up
//! to the first that differs.
//!
//! A further name of something is compared by name only: what changed about the thing is said
//! once, under its first name.

mod content;

use std::collections::HashMap;
use std::sync::Arc;

use seawall_base::ObjectId;
use seawall_record::Totals;
use seawall_seal::{Kind, ObjectRef};

use crate::browse::{Listing, View, ViewError, join};
use crate::entry::{Entry, EntryKind, List, Meta};

/// One path that is not the same in both snapshots.
#[derive(Debug)]
pub struct Change {
    /// Path from the root, without a leading slash; empty for the root.
    pub path: Vec<u8>,
    /// What happened to it.
    pub what: What,
}

/// What happened to a path.
#[derive(Debug)]
pub enum What {
    /// It is in the second snapshot only.
    Added(Arc<Entry>),
    /// It is in the first snapshot only.
    Removed(Arc<Entry>),
    /// It is in both, and differs in these respects.
    Changed(Vec<Aspect>),
    /// It, or (of a directory) a part of what is in it, could not be read.
    Unknown(ViewError),
}

/// A respect in which something differs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Aspect {
    /// One is, say, a file and the other a directory.
    #[error("kind")]
    Kind,
    /// Length of a file.
    #[error("size {0} -> {1}")]
    Size(u64, u64),
    /// Bytes of a file.
    #[error("content")]
    Content,
    /// Permission bits.
    #[error("mode {0:o} -> {1:o}")]
    Mode(u32, u32),
    /// User.
    #[error("owner {0} -> {1}")]
    Owner(u32, u32),
    /// Group.
    #[error("group {0} -> {1}")]
    Group(u32, u32),
    /// Modification time.
    #[error("time")]
    Mtime,
    /// Extended attributes, among them ACLs and capabilities.
    #[error("attributes")]
    Xattrs,
    /// Where a symbolic link points.
    #[error("target")]
    Target,
    /// Which device a node stands for.
    #[error("device")]
    Device,
    /// Which names are one object.
    #[error("hard links")]
    Links,
}

/// How many paths differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// In the second snapshot only.
    pub added: u64,
    /// In the first snapshot only.
    pub removed: u64,
    /// In both, differing.
    pub changed: u64,
    /// Could not be compared.
    pub unknown: u64,
}

impl Summary {
    /// Whether nothing differs and everything was compared.
    pub fn is_equal(&self) -> bool {
        *self == Self::default()
    }
}

/// Reports every path in which two snapshots differ, in order. An error means that one of them
/// is not what was signed.
pub fn diff(old: &View, new: &View, report: &mut dyn FnMut(Change)) -> Result<Summary, ViewError> {
    let met = [Totals::default(); 2];
    let views = [old, new];
    let mut diff =
        Diff { views, met, path: vec![], frames: vec![], summary: Summary::default(), report };
    diff.directories(Some(old.top()), Some(new.top()))?;
    diff.run()?;
    Ok(diff.summary)
}

struct Diff<'a> {
    views: [&'a View; 2],
    met: [Totals; 2],
    path: Vec<Vec<u8>>,
    frames: Vec<[Option<Side>; 2]>,
    summary: Summary,
    report: &'a mut dyn FnMut(Change),
}

/// One side of a directory.
struct Side {
    listing: Listing,
    next: Option<Arc<Entry>>,
    /// Names between the last entry and `next` were lost: what only the other side has there may
    /// be here, too.
    has_gap: bool,
}

type Pages = HashMap<ObjectId, ObjectRef>;

impl Diff<'_> {
    fn run(&mut self) -> Result<(), ViewError> {
        while let Some(frame) = self.frames.last_mut() {
            let name = |side: &Option<Side>| Some(side.as_ref()?.next.as_ref()?.name.clone());
            let names = [name(&frame[0]), name(&frame[1])];
            let first = match &names {
                [None, None] => {
                    self.frames.pop();
                    self.path.pop();
                    continue;
                }
                [Some(a), Some(b)] => a.min(b),
                [Some(a), None] | [None, Some(a)] => a,
            };
            let is_here = |n: &Option<Vec<u8>>| n.as_ref() == Some(first);
            let is_in = [is_here(&names[0]), is_here(&names[1])];
            let gap = |side: &Option<Side>| side.as_ref().is_some_and(|s| s.has_gap);
            let is_unsure = !is_in[0] && gap(&frame[0]) || !is_in[1] && gap(&frame[1]);
            let mut take = |i: usize| frame[i].as_mut().filter(|_| is_in[i])?.next.take();
            let (a, b) = (take(0), take(1));
            let first = first.clone();
            for side in [0, 1].into_iter().filter(|&side| is_in[side]) {
                self.fill(side)?;
            }
            self.path.push(first);
            let depth = self.frames.len();
            match (a, b) {
                (Some(a), Some(b)) => self.pair(&a, &b)?,
                (Some(entry), None) if !is_unsure => self.single(0, &entry)?,
                (None, Some(entry)) if !is_unsure => self.single(1, &entry)?,
                _ => {}
            }
            if self.frames.len() == depth {
                self.path.pop();
            }
        }
        Ok(())
    }

    /// Gets the next entry of one side of the innermost directory.
    fn fill(&mut self, side: usize) -> Result<(), ViewError> {
        let Some(here) = self.frames.last_mut().and_then(|f| f[side].as_mut()) else {
            return Ok(());
        };
        here.has_gap = false;
        let mut lost = None;
        while here.next.is_none() {
            match here.listing.next(self.views[side]) {
                Some(Ok(entry)) => here.next = Some(entry),
                None => break,
                Some(Err(why)) => {
                    here.has_gap = true;
                    lost = Some(why);
                }
            }
        }
        if let Some(entry) = here.next.clone() {
            self.count(side, &entry.kind)?;
        }
        lost.map_or(Ok(()), |why| self.unknown(why))
    }

    /// Refuses the entry that goes beyond what its snapshot signed.
    fn count(&mut self, side: usize, kind: &EntryKind) -> Result<(), ViewError> {
        let signed = self.views[side].signed().totals;
        let met = &mut self.met[side];
        let (what, counter, signed) = match kind {
            EntryKind::Directory { .. } => {
                ("directories", &mut met.directories, signed.directories)
            }
            EntryKind::File { .. } => ("files", &mut met.files, signed.files),
            _ => ("links and special files", &mut met.others, signed.others),
        };
        *counter += 1;
        if *counter > signed { Err(ViewError::AboveTotals { what, signed }) } else { Ok(()) }
    }

    /// Goes into a directory, of one snapshot or of both.
    fn directories(
        &mut self,
        old: Option<&Arc<Entry>>,
        new: Option<&Arc<Entry>>,
    ) -> Result<(), ViewError> {
        let list = |entry: Option<&Arc<Entry>>| match &entry?.kind {
            EntryKind::Directory { listing } => Some(listing.clone()),
            _ => None,
        };
        let lists = [list(old), list(new)];
        let mut shared = Pages::new();
        if let [Some(a), Some(b)] = &lists {
            if a == b {
                return Ok(());
            }
            shared = self.shared_pages(a, b)?;
        }
        if lists == [None, None] {
            return Ok(());
        }
        let shared = Arc::new(shared);
        let side = |list: &Option<List>| {
            let listing = Listing::without(list.as_ref()?, shared.clone());
            Some(Side { listing, next: None, has_gap: false })
        };
        self.frames.push([side(&lists[0]), side(&lists[1])]);
        self.fill(0)?;
        self.fill(1)
    }

    /// The pages that stand in both of two directories, highest ones first. What cannot be read
    /// here is named when the listings come upon it.
    fn shared_pages(&self, a: &List, b: &List) -> Result<Pages, ViewError> {
        let mut levels = [vec![a.root.clone()], vec![b.root.clone()]];
        let depths = [a.depth, b.depth];
        let mut shared = Pages::new();
        for level in (0..=a.depth.max(b.depth)).rev() {
            if level <= a.depth && level <= b.depth {
                let there: Pages = levels[1].iter().map(|r| (r.id, r.clone())).collect();
                let both = levels[0].iter().filter(|r| there.get(&r.id) == Some(r));
                shared.extend(both.map(|r| (r.id, r.clone())));
            }
            if level == 0 {
                break;
            }
            for side in [0, 1].into_iter().filter(|&side| level <= depths[side]) {
                let mut below = Vec::new();
                for page in levels[side].iter().filter(|r| shared.get(&r.id) != Some(r)) {
                    match self.views[side].children(page, Kind::Directory, level) {
                        Ok(children) => below.extend(children),
                        Err(e) if e.is_forgery() => return Err(e),
                        Err(_) => {}
                    }
                }
                levels[side] = below;
            }
        }
        Ok(shared)
    }

    /// Something of one snapshot only, with all below it.
    fn single(&mut self, side: usize, entry: &Arc<Entry>) -> Result<(), ViewError> {
        if side == 0 {
            self.say(What::Removed(entry.clone()));
            self.directories(Some(entry), None)
        } else {
            self.say(What::Added(entry.clone()));
            self.directories(None, Some(entry))
        }
    }

    fn pair(&mut self, a: &Arc<Entry>, b: &Arc<Entry>) -> Result<(), ViewError> {
        if a == b {
            return Ok(());
        }
        match self.aspects(a, b) {
            Ok(aspects) if aspects.is_empty() => {}
            Ok(aspects) => self.say(What::Changed(aspects)),
            Err(why) => self.unknown(why)?,
        }
        self.directories(Some(a), Some(b))
    }

    fn aspects(&self, a: &Arc<Entry>, b: &Arc<Entry>) -> Result<Vec<Aspect>, ViewError> {
        let mut found = Vec::new();
        let first = |entry: &Arc<Entry>| match &entry.kind {
            EntryKind::HardLink { target } => Some(target.clone()),
            _ => None,
        };
        let firsts = [first(a), first(b)];
        if firsts[0].is_some() && firsts[0] == firsts[1] {
            return Ok(found);
        }
        let resolved = |side: usize, entry: &Arc<Entry>| match &firsts[side] {
            Some(first) => self.views[side].resolve(first),
            None => Ok(entry.clone()),
        };
        let (a, b) = (resolved(0, a)?, resolved(1, b)?);
        match (&a.kind, &b.kind) {
            (EntryKind::File { size: was, .. }, EntryKind::File { size: is, .. }) => {
                if was != is {
                    found.push(Aspect::Size(*was, *is));
                }
                if was != is || content::differ(self.views, &a, &b)? {
                    found.push(Aspect::Content);
                }
            }
            (EntryKind::Symlink { target: was }, EntryKind::Symlink { target: is }) => {
                found.extend((was != is).then_some(Aspect::Target));
            }
            (EntryKind::Directory { .. }, EntryKind::Directory { .. })
            | (EntryKind::Fifo, EntryKind::Fifo) => {}
            (EntryKind::CharDevice { .. }, EntryKind::CharDevice { .. })
            | (EntryKind::BlockDevice { .. }, EntryKind::BlockDevice { .. }) => {
                found.extend((a.kind != b.kind).then_some(Aspect::Device));
            }
            _ => found.push(Aspect::Kind),
        }
        metadata(&a.meta, &b.meta, &mut found);
        found.extend((firsts != [None, None]).then_some(Aspect::Links));
        Ok(found)
    }

    fn unknown(&mut self, why: ViewError) -> Result<(), ViewError> {
        if why.is_forgery() {
            return Err(why);
        }
        self.say(What::Unknown(why));
        Ok(())
    }

    fn say(&mut self, what: What) {
        let count = match &what {
            What::Added(_) => &mut self.summary.added,
            What::Removed(_) => &mut self.summary.removed,
            What::Changed(_) => &mut self.summary.changed,
            What::Unknown(_) => &mut self.summary.unknown,
        };
        *count += 1;
        (self.report)(Change { path: join(&self.path), what });
    }
}

fn metadata(a: &Meta, b: &Meta, found: &mut Vec<Aspect>) {
    found.extend((a.mode != b.mode).then_some(Aspect::Mode(a.mode, b.mode)));
    found.extend((a.uid != b.uid).then_some(Aspect::Owner(a.uid, b.uid)));
    found.extend((a.gid != b.gid).then_some(Aspect::Group(a.gid, b.gid)));
    let is_other_time = (a.mtime_sec, a.mtime_nsec) != (b.mtime_sec, b.mtime_nsec);
    found.extend(is_other_time.then_some(Aspect::Mtime));
    found.extend((a.xattrs != b.xattrs).then_some(Aspect::Xattrs));
}
