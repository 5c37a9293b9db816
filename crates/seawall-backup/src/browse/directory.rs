//! Names of a directory: all in order, or one without the others.
//!
//! Index pages carry no names, so a single name is found by bisection over the first names of
//! the pages: a page of each level and its neighbours are opened, however long the directory.
//! The order of names is what bisection relies on; going through all pages, as [`Listing`] does,
//! also proves it. In a directory that is out of order (no honest writer makes one) bisection
//! misses names and a listing names the page at fault.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use seawall_base::ObjectId;
use seawall_seal::{Kind, ObjectRef};

use super::{Opens, Page, View, ViewError, malformed};
use crate::entry::{Entry, List};

/// Goes through the entries of one directory in order of name, a page in memory at a time.
#[derive(Debug)]
pub struct Listing {
    /// Pages not opened yet, the next one last: reference and level.
    pages: Vec<(ObjectRef, u8)>,
    /// Pages met so far, damaged ones included. Names ascend, so none stands in a directory
    /// twice; index pages that repeat each other would otherwise never end.
    met: HashSet<ObjectId>,
    /// Pages to pass over.
    without: Arc<HashMap<ObjectId, ObjectRef>>,
    leaf: Option<Arc<Page>>,
    at: usize,
    /// Name of the last entry of the last page.
    last: Vec<u8>,
}

impl Listing {
    /// Stands before the first entry of a directory.
    pub fn new(list: &List) -> Self {
        Self::without(list, Arc::default())
    }

    /// As [`Listing::new`], passing over some pages and everything below them.
    pub(crate) fn without(list: &List, without: Arc<HashMap<ObjectId, ObjectRef>>) -> Self {
        let pages = vec![(list.root.clone(), list.depth)];
        Self { pages, met: HashSet::new(), without, leaf: None, at: 0, last: Vec::new() }
    }

    /// The next entry. After an error the rest of the directory can still be asked for: it has
    /// other pages.
    pub fn next(&mut self, view: &View) -> Option<Result<Arc<Entry>, ViewError>> {
        loop {
            if let Some(Page::Directory(entries)) = self.leaf.as_deref()
                && let Some(entry) = entries.get(self.at)
            {
                self.at += 1;
                return Some(Ok(entry.clone()));
            }
            self.leaf = None;
            let (page, level) = self.pages.pop()?;
            if self.without.get(&page.id) == Some(&page) {
                continue;
            }
            if let Err(e) = self.enter(view, &page, level) {
                return Some(Err(e));
            }
        }
    }

    fn enter(&mut self, view: &View, object: &ObjectRef, level: u8) -> Opens<()> {
        let is_only = self.met.is_empty();
        if !self.met.insert(object.id) {
            return Err(malformed(object, "it stands in one directory twice"));
        }
        let page = view.page(object, Kind::Directory, level)?;
        match &*page {
            Page::Index(below) => {
                self.pages.extend(below.iter().rev().map(|r| (r.clone(), level - 1)));
            }
            Page::Directory(entries) => {
                match (entries.first(), entries.last()) {
                    (Some(first), Some(last)) if first.name > self.last => {
                        self.last.clone_from(&last.name);
                    }
                    (Some(_), _) => {
                        return Err(malformed(object, "its names do not follow the page before"));
                    }
                    (None, _) if is_only => {}
                    (None, _) => {
                        return Err(malformed(object, "it is empty and not the only page"));
                    }
                }
                (self.leaf, self.at) = (Some(page), 0);
            }
            Page::Chunks(_) => unreachable!("a directory's page was asked for"),
        }
        Ok(())
    }
}

impl View {
    /// The entry `name` of a directory.
    pub fn find(&self, list: &List, name: &[u8]) -> Result<Option<Arc<Entry>>, ViewError> {
        self.bisect(list, name).or_else(|e| {
            if e.is_forgery() {
                return Err(e);
            }
            // A page on the way is lost. The name may well be in one that is not.
            let mut listing = Listing::new(list);
            let mut found = readable(&mut listing, self);
            found.find(|entry| entry.name == name).map_or(Err(e), |entry| Ok(Some(entry)))
        })
    }

    /// The references in an index page of a list.
    pub(crate) fn children(
        &self,
        page: &ObjectRef,
        kind: Kind,
        level: u8,
    ) -> Opens<Vec<ObjectRef>> {
        match &*self.page(page, kind, level)? {
            Page::Index(below) => Ok(below.clone()),
            Page::Directory(_) | Page::Chunks(_) => unreachable!("an index page was asked for"),
        }
    }

    fn bisect(&self, list: &List, name: &[u8]) -> Opens<Option<Arc<Entry>>> {
        let mut object = list.root.clone();
        for level in (1..=list.depth).rev() {
            let page = self.page(&object, Kind::Directory, level)?;
            let Page::Index(below) = &*page else { unreachable!("an index page was asked for") };
            // The name, if it is there, lies in `below[low..high]`.
            let (mut low, mut high) = (0, below.len());
            while high - low > 1 {
                let middle = usize::midpoint(low, high);
                if self.begins_after(&below[middle], level - 1, name)? {
                    high = middle;
                } else {
                    low = middle;
                }
            }
            object = below[low].clone();
        }
        let page = self.page(&object, Kind::Directory, 0)?;
        let Page::Directory(entries) = &*page else { unreachable!("a leaf was asked for") };
        let found = entries.binary_search_by(|e| e.name.as_slice().cmp(name));
        Ok(found.ok().map(|i| entries[i].clone()))
    }

    /// Whether the first name below a page is greater than `name`.
    fn begins_after(&self, object: &ObjectRef, level: u8, name: &[u8]) -> Opens<bool> {
        let (mut object, mut level) = (object.clone(), level);
        loop {
            match &*self.page(&object, Kind::Directory, level)? {
                Page::Index(below) => (object, level) = (below[0].clone(), level - 1),
                Page::Directory(entries) => {
                    let first = entries.first();
                    let first = first
                        .ok_or_else(|| malformed(&object, "it is empty and not the only page"));
                    return Ok(first?.name.as_slice() > name);
                }
                Page::Chunks(_) => unreachable!("a directory's page was asked for"),
            }
        }
    }
}

/// What of a directory can be read.
fn readable(listing: &mut Listing, view: &View) -> impl Iterator<Item = Arc<Entry>> {
    std::iter::from_fn(move || {
        loop {
            if let Ok(entry) = listing.next(view)? {
                return Some(entry);
            }
        }
    })
}
