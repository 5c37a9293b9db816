//! Directories on their way: what is in them so far, and what they become when all is known.

use std::rc::Rc;

use seawall_base::wire::WireError;
use seawall_record::reference_set::Member;

use super::file_cache::{CachedDir, DirKey, FrameWriter};
use crate::entry::{List, Meta};
use crate::path_index::{Indexed, PathEntry};
use crate::source::Stamp;

/// Number of a directory within one run.
pub(super) type DirId = u64;

/// A directory that is not sealed yet.
pub(super) struct Dir {
    /// Parent and position in it; none for the root.
    pub(super) parent: Option<(DirId, usize)>,
    pub(super) name: Vec<u8>,
    pub(super) meta: Meta,
    pub(super) key: DirKey,
    /// What was known of it before.
    pub(super) cached: Option<Rc<CachedDir>>,
    /// Where in `cached` the next name is likely found.
    pub(super) hint: usize,
    pub(super) entries: Vec<Made>,
    /// How many entries still wait for their content.
    pub(super) waiting: usize,
    /// The walk has left it.
    pub(super) left: bool,
    /// Entries before this are in a part frame of the file cache or were taken from it.
    kept: usize,
}

/// An entry of a directory, as far as it is known.
pub(super) enum Made {
    /// Its content is being sealed.
    Waiting,
    /// It could not be read.
    Gone,
    /// As it was before, at this position of the cached directory.
    Cached(usize),
    /// Made in this run.
    Fresh(Box<Fresh>),
}

/// An entry made in this run.
pub(super) struct Fresh {
    pub(super) name: Vec<u8>,
    /// The encoded entry.
    pub(super) record: Vec<u8>,
    /// Set if the entry may be taken over by the next run.
    pub(super) stamp: Option<Stamp>,
    pub(super) is_link: bool,
    /// Plain length of the bundle it is in; 0 if in none.
    pub(super) bundle_len: u32,
    /// Bytes of a file in a bundle.
    pub(super) size: u64,
    /// The objects it needs.
    pub(super) members: Vec<Member>,
    /// What the path index has of a directory.
    pub(super) indexed: Option<Indexed>,
}

/// One entry of a complete directory, wherever it is from.
pub(super) struct Known<'a> {
    pub(super) name: &'a [u8],
    pub(super) record: &'a [u8],
    stamp: Option<Stamp>,
    is_link: bool,
    pub(super) bundle_len: u32,
    pub(super) size: u64,
    made: &'a Made,
}

/// The list of a directory's pages, in the tree or in the path index.
pub(super) struct Listed<T> {
    pub(super) list: T,
    pub(super) pages: Vec<Member>,
    /// The last run's list, whose pages are all still there.
    pub(super) is_cached: bool,
}

impl Known<'_> {
    /// What the path index has of it, if it is a directory that is indexed.
    pub(super) fn indexed(&self) -> Option<&Indexed> {
        match self.made {
            Made::Fresh(fresh) => fresh.indexed.as_ref(),
            Made::Waiting | Made::Gone | Made::Cached(_) => None,
        }
    }

    /// Its entry in the path index.
    pub(super) fn path(&self) -> Result<PathEntry, WireError> {
        PathEntry::of_record(self.record, self.indexed().map(|i| i.listing.clone()))
    }

    /// Whether what the cache has of it is what it would get.
    pub(super) fn is_in_cache(&self) -> bool {
        matches!(self.made, Made::Cached(_)) || self.stamp.is_none()
    }
}

impl Dir {
    pub(super) fn new(
        parent: Option<(DirId, usize)>,
        name: Vec<u8>,
        meta: Meta,
        key: DirKey,
        cached: Option<CachedDir>,
    ) -> Self {
        Self {
            parent,
            name,
            meta,
            key,
            cached: cached.map(Rc::new),
            hint: 0,
            entries: Vec::new(),
            waiting: 0,
            left: false,
            kept: 0,
        }
    }

    /// What is known of an entry.
    fn known<'a>(&'a self, made: &'a Made) -> Option<Known<'a>> {
        match made {
            Made::Waiting | Made::Gone => None,
            Made::Cached(at) => {
                let cached = self.cached.as_ref().expect("an entry was taken from it");
                let entry = cached.entry(*at);
                Some(Known {
                    name: cached.name(entry),
                    record: cached.record(entry),
                    stamp: entry.stamp,
                    is_link: entry.is_link,
                    bundle_len: entry.bundle_len,
                    size: entry.stamp.map_or(0, |s| s.size),
                    made,
                })
            }
            Made::Fresh(fresh) => Some(Known {
                name: &fresh.name,
                record: &fresh.record,
                stamp: fresh.stamp,
                is_link: fresh.is_link,
                bundle_len: fresh.bundle_len,
                size: fresh.size,
                made,
            }),
        }
    }

    /// All entries, by name.
    pub(super) fn sorted(&self) -> Vec<Known<'_>> {
        let mut known: Vec<_> = self.entries.iter().filter_map(|m| self.known(m)).collect();
        // They come sorted, but a source is not trusted with the format's rule.
        known.sort_by(|a, b| a.name.cmp(b.name));
        known
    }

    /// The objects an entry needs.
    pub(super) fn members(&self, known: &Known<'_>) -> Vec<Member> {
        match (known.made, &self.cached) {
            (Made::Fresh(fresh), _) => fresh.members.clone(),
            (Made::Cached(at), Some(cached)) => cached.members(cached.entry(*at)).collect(),
            _ => Vec::new(),
        }
    }

    /// The cached directory, if this one is equal: the same listing holds.
    pub(super) fn unchanged(&self, known: &[Known<'_>]) -> Option<&Rc<CachedDir>> {
        let cached = self.cached.as_ref()?;
        let equal = |(at, now): (usize, &Known<'_>)| {
            matches!(now.made, Made::Cached(i) if *i == at)
                || cached.record(cached.entry(at)) == now.record
        };
        (cached.listing.is_some()
            && cached.len() == known.len()
            && known.iter().enumerate().all(equal))
        .then_some(cached)
    }

    /// The frame of the complete directory for the file cache.
    pub(super) fn frame(
        &self,
        known: &[Known<'_>],
        tree: &Listed<List>,
        index: Option<&Listed<Indexed>>,
    ) -> zeroize::Zeroizing<Vec<u8>> {
        let mut frame = FrameWriter::whole(&self.key, tree, index);
        for entry in known {
            self.put(&mut frame, entry);
        }
        frame.finish()
    }

    fn put(&self, frame: &mut FrameWriter, entry: &Known<'_>) {
        let members = self.members(entry).into_iter();
        frame.entry(entry.stamp.as_ref(), entry.is_link, entry.bundle_len, entry.record, members);
    }

    /// A frame of the leaves that became known since the last one; none if there are none.
    pub(super) fn part(&mut self) -> Option<zeroize::Zeroizing<Vec<u8>>> {
        let until = |made: &Made| matches!(made, Made::Waiting);
        let end = self.entries[self.kept..].iter().position(until);
        let end = end.map_or(self.entries.len(), |n| self.kept + n);
        let fresh = |made: &&Made| matches!(made, Made::Fresh(f) if f.stamp.is_some());
        let new: Vec<_> = self.entries[self.kept..end].iter().filter(fresh).collect();
        let mut frame = (!new.is_empty()).then(|| FrameWriter::part(&self.key));
        if let Some(frame) = &mut frame {
            for entry in new.into_iter().filter_map(|made| self.known(made)) {
                self.put(frame, &entry);
            }
        }
        self.kept = end;
        frame.map(FrameWriter::finish)
    }
}
