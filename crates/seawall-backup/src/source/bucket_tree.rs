//! The flat keys of a bucket as a tree of directories.
//!
//! Keys come in pages and in order, so all that lies under one prefix comes together and a
//! directory is left before the next begins: nothing is held but a page, the directories above
//! it and the names in them that a directory could clash with. What an object is, its stamp says:
//! tag, size and time of the listing. An object with the stamp of last time is not asked for.
//!
//! Pure: whoever has the network implements [`Bucket`]. The rejected alternative, listing each
//! directory with a delimiter, asks once for every directory instead of once for a thousand keys.

mod names;

use std::cmp::Ordering;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex};
use std::vec;

use super::filter::{Excluded, Exclusions, Filter};
use super::{Content, Directory, Leaf, Node, Opened, Problem, Reason, Source, Stamp, Step};
use crate::entry::{MAX_XATTR_COUNT, MAX_XATTR_NAME, MAX_XATTRS, Meta, Xattr};

/// An object as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its key without the prefix of the listing.
    pub key: Vec<u8>,
    /// Its length in bytes.
    pub size: u64,
    /// The server's name for this version of it.
    pub etag: Vec<u8>,
    /// When it was written: seconds since the Unix epoch and nanoseconds.
    pub modified: (i64, u32),
}

/// A part of a listing.
#[derive(Debug, Default)]
pub struct Page {
    /// Objects in order of key.
    pub objects: Vec<Object>,
    /// What to ask for the next page with; `None` on the last.
    pub next: Option<Vec<u8>>,
}

/// An object about to be read.
pub struct Found {
    /// Tag of what is about to be read, which may be a later version than was listed.
    pub etag: Vec<u8>,
    /// When that was written.
    pub modified: (i64, u32),
    /// What the server keeps beside the content: attributes by name.
    pub attributes: Vec<Xattr>,
    /// Its bytes. Reading fails if another version comes in its place.
    pub content: Box<dyn Content>,
}

/// A bucket, or what in it begins with a prefix.
pub trait Bucket: std::fmt::Debug + Send + Sync {
    /// The first page, or the one that `token` leads to.
    fn page(&self, token: Option<&[u8]>) -> io::Result<Page>;

    /// Begins to read the object with this key.
    fn open(&self, key: &[u8]) -> Result<Found, Reason>;
}

/// Most leaves told in one step.
const LEAVES: usize = 1_024;

/// A walk of a bucket.
#[derive(Debug)]
pub struct BucketTree {
    bucket: Arc<dyn Bucket>,
    /// Owner and permissions of every file; directories may also be entered.
    meta: Meta,
    page: vec::IntoIter<Object>,
    next: Option<Vec<u8>>,
    is_over: bool,
    order: Order,
    filter: Filter,
    larger_than: Option<u64>,
    excluded: Excluded,
    /// How many directories lead to the prefix.
    base: usize,
    dirs: Vec<Level>,
    leaves: Vec<Leaf>,
    ready: VecDeque<Step>,
    problems: Vec<Problem>,
}

#[derive(Debug)]
struct Level {
    /// As in keys.
    component: Vec<u8>,
    /// As in paths.
    name: Vec<u8>,
    /// Objects here that what follows may begin with, shortest first.
    objects: Vec<Vec<u8>>,
    dir: Arc<Prefix>,
    /// Passed over, with all it holds.
    is_excluded: bool,
}

impl BucketTree {
    /// A walk of `bucket`, below directories called `above`. All files get the owner and mode in
    /// `meta`; of `exclusions`, patterns and lengths count.
    ///
    /// Asks for the first page, so that a bucket that cannot be read is known before anything
    /// else is done.
    pub fn new(
        bucket: Arc<dyn Bucket>,
        above: &[Vec<u8>],
        meta: Meta,
        exclusions: &Exclusions,
    ) -> io::Result<Self> {
        let first = bucket.page(None)?;
        let mut tree = Self {
            bucket,
            meta,
            page: first.objects.into_iter(),
            next: first.next,
            is_over: false,
            order: Order::default(),
            filter: Filter::new(exclusions.patterns.clone()),
            larger_than: exclusions.larger_than,
            excluded: Excluded::default(),
            base: above.len(),
            dirs: Vec::new(),
            leaves: Vec::new(),
            ready: VecDeque::new(),
            problems: Vec::new(),
        };
        tree.enter(Vec::new(), Vec::new(), Vec::new());
        for component in above {
            let name = names::name(component, true, false).into_owned();
            tree.enter(component.clone(), name, Vec::new());
        }
        tree.filter.enter(b"", Vec::new());
        Ok(tree)
    }

    /// Whether there is nothing in it at all, asked before the walk begins.
    pub fn is_empty(&self) -> bool {
        self.page.len() == 0 && self.next.is_none()
    }

    /// Enters a directory whose keys begin with `prefix`.
    fn enter(&mut self, component: Vec<u8>, name: Vec<u8>, prefix: Vec<u8>) {
        self.tell_leaves();
        let is_renamed = name != component
            || self.dirs.len() > self.base + 1
                && self.dirs.last().is_some_and(|l| l.dir.is_renamed);
        let meta =
            Meta { mode: self.meta.mode | (self.meta.mode & 0o444) >> 2, ..self.meta.clone() };
        let dir = Arc::new(Prefix {
            bucket: Arc::clone(&self.bucket),
            keys: prefix,
            is_renamed,
            renamed: Mutex::default(),
            meta: self.meta.clone(),
        });
        self.ready.push_back(Step::Enter { name: name.clone(), meta });
        let objects = Vec::new();
        self.dirs.push(Level { component, name, objects, dir, is_excluded: false });
    }

    fn leave(&mut self) {
        self.tell_leaves();
        let left = self.dirs.pop().expect("only what was entered is left");
        if !left.is_excluded {
            self.ready.push_back(Step::Leave);
        }
        if self.dirs.len() > self.base && !left.is_excluded {
            self.filter.leave();
        }
    }

    fn tell_leaves(&mut self) {
        if !self.leaves.is_empty() {
            self.leaves.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            let dir: Arc<dyn Directory> = Arc::clone(&self.here().dir) as _;
            self.ready.push_back(Step::Leaves { dir, leaves: std::mem::take(&mut self.leaves) });
        }
    }

    /// The deepest directory that is not passed over.
    fn here(&self) -> &Level {
        let kept = self.dirs.iter().rev().find(|level| !level.is_excluded);
        kept.expect("the root is never passed over")
    }

    fn report(&mut self, name: &[u8], reason: Reason) {
        let names = self.dirs[1..].iter().map(|level| &level.name[..]).chain([name]);
        let path = names.flat_map(|name| [b"/", name].concat()).collect();
        self.problems.push(Problem { path, reason });
    }

    /// Takes the next object, or ends the walk.
    fn advance(&mut self) {
        if let Some(object) = self.page.next() {
            if let Err(e) = self.order.check(&object.key) {
                return self.stop(e);
            }
            return self.object(&object);
        }
        let Some(token) = self.next.take() else {
            while !self.dirs.is_empty() {
                self.leave();
            }
            self.is_over = true;
            return;
        };
        match self.bucket.page(Some(&token)) {
            Ok(page) if page.next.as_ref() == Some(&token) => {
                self.stop(io::Error::other("the server lists the same page again and again"));
            }
            Ok(page) => {
                self.page = page.objects.into_iter();
                self.next = page.next;
            }
            Err(e) => self.stop(e),
        }
    }

    /// Ends the walk early.
    fn stop(&mut self, error: io::Error) {
        self.problems.push(Problem { path: b"/".to_vec(), reason: Reason::ListingStopped(error) });
        self.page = Vec::new().into_iter();
        self.next = None;
    }

    fn object(&mut self, object: &Object) {
        let Some((components, last)) = names::split(&object.key) else {
            return self.report_key(&object.key, Reason::DotsInKey);
        };
        if !self.go_to(&components) {
            return;
        }
        // A folder's marker: the directory is all there is to it.
        if last.is_empty() && object.size == 0 && !components.is_empty() {
            return;
        }
        if self.filter.excludes(last, false) {
            self.excluded.files += 1;
            return;
        }
        if self.larger_than.is_some_and(|limit| object.size > limit) {
            self.excluded.too_large += 1;
            self.excluded.too_large_bytes += object.size;
            return;
        }
        let name = names::name(last, false, false).into_owned();
        let level = self.dirs.last_mut().expect("the root is left last");
        while level.objects.last().is_some_and(|before| !last.starts_with(before)) {
            level.objects.pop();
        }
        level.objects.push(last.to_vec());
        if name != last {
            level.dir.renamed().insert(name.clone(), last.to_vec());
            self.report(&name, Reason::Renamed(last.to_vec()));
        }
        let stamp = stamp(&self.meta, &object.etag, object.size, object.modified);
        self.leaves.push(Leaf { name, stamp });
        if self.leaves.len() == LEAVES {
            self.tell_leaves();
        }
    }

    /// Names a key that has no path.
    fn report_key(&mut self, key: &[u8], reason: Reason) {
        let above: Vec<u8> = self.dirs[1..=self.base]
            .iter()
            .flat_map(|level| [b"/", &level.name[..]].concat())
            .collect();
        self.problems.push(Problem { path: [&above[..], b"/", key].concat(), reason });
    }

    /// Leaves and enters directories until the walk stands in `components`, from the prefix on;
    /// false if that is passed over.
    fn go_to(&mut self, components: &[&[u8]]) -> bool {
        let below = &self.dirs[self.base + 1..];
        let same = below.iter().zip(components).take_while(|(l, c)| l.component == **c).count();
        while self.dirs.len() > self.base + 1 + same {
            self.leave();
        }
        if self.dirs.last().is_some_and(|level| level.is_excluded) {
            return false;
        }
        for component in &components[same..] {
            let level = self.dirs.last().expect("the root is left last");
            let is_taken = level.objects.iter().any(|object| object == component);
            let prefix = [&level.dir.keys, *component, b"/"].concat();
            let name = names::name(component, true, is_taken).into_owned();
            if self.filter.excludes(component, true) {
                self.excluded.directories += 1;
                let dir = Arc::clone(&level.dir);
                let (component, objects) = (component.to_vec(), Vec::new());
                self.dirs.push(Level { component, name, objects, dir, is_excluded: true });
                return false;
            }
            if name != *component {
                self.report(&name, Reason::Renamed(component.to_vec()));
            }
            self.enter(component.to_vec(), name, prefix);
            self.filter.enter(component, Vec::new());
        }
        true
    }
}

impl Source for BucketTree {
    fn next(&mut self) -> Option<Step> {
        while self.ready.is_empty() && !self.is_over {
            self.advance();
        }
        self.ready.pop_front()
    }

    fn take_problems(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.problems)
    }

    fn excluded(&self) -> Excluded {
        let unused = self.filter.unused().map(<[u8]>::to_vec).collect();
        Excluded { unused, ..self.excluded.clone() }
    }
}

/// Whether keys come so that all under one prefix come together: in order of their bytes, as S3
/// lists them, or of their components, as servers over directories do.
#[derive(Debug, Default)]
struct Order {
    last: Option<Vec<u8>>,
    not_by_bytes: bool,
    not_by_components: bool,
}

impl Order {
    fn check(&mut self, key: &[u8]) -> io::Result<()> {
        if let Some(last) = &self.last {
            let is_slash = |byte: &u8| *byte == b'/';
            let by_components = last.split(is_slash).cmp(key.split(is_slash));
            self.not_by_bytes |= last[..].cmp(key) != Ordering::Less;
            self.not_by_components |= by_components != Ordering::Less;
            if self.not_by_bytes && self.not_by_components {
                let (last, key) = (super::Quoted(last), super::Quoted(key));
                return Err(io::Error::other(format!(
                    "the server lists its keys out of order: {key} after {last}"
                )));
            }
        }
        self.last = Some(key.to_vec());
        Ok(())
    }
}

/// What begins with a prefix.
#[derive(Debug)]
struct Prefix {
    bucket: Arc<dyn Bucket>,
    /// Ends in a slash unless it is empty.
    keys: Vec<u8>,
    /// Whether its path differs from it.
    is_renamed: bool,
    /// Components of those objects here that have other names, by name.
    renamed: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
    meta: Meta,
}

impl Prefix {
    fn renamed(&self) -> std::sync::MutexGuard<'_, HashMap<Vec<u8>, Vec<u8>>> {
        self.renamed.lock().expect("no holder of this lock panics")
    }
}

impl Directory for Prefix {
    fn open(&self, leaf: &Leaf) -> Result<Opened, Reason> {
        let component = self.renamed().remove(&leaf.name);
        let is_renamed = self.is_renamed || component.is_some();
        let key = [&self.keys[..], component.as_deref().unwrap_or(&leaf.name)].concat();
        let Found { etag, modified, mut attributes, content } = self.bucket.open(&key)?;
        let size = content.size().unwrap_or(leaf.stamp.size);
        let mut found = stamp(&self.meta, &etag, size, leaf.stamp.mtime);
        if found != leaf.stamp {
            // Another version by now; it is held whole, as what it is.
            found = stamp(&self.meta, &etag, size, modified);
        }
        let (seconds, nanoseconds) = found.mtime;
        if is_renamed {
            attributes.push(Xattr { name: b"user.s3.key".to_vec(), value: key });
        }
        attributes.push(Xattr { name: b"user.s3.etag".to_vec(), value: etag });
        let mut flaws = Vec::new();
        let xattrs = fitting(attributes, &mut flaws);
        Ok(Opened {
            meta: Meta { mtime_sec: seconds, mtime_nsec: nanoseconds, xattrs, ..self.meta.clone() },
            flaws,
            stamp: found,
            node: Node::File(content),
        })
    }
}

/// The attributes that an entry can hold, in its order.
fn fitting(mut attributes: Vec<Xattr>, flaws: &mut Vec<Reason>) -> Vec<Xattr> {
    attributes.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    attributes.dedup_by(|a, b| a.name == b.name);
    let before = attributes.len();
    let mut room = MAX_XATTRS;
    attributes.retain(|attribute| {
        let len = attribute.name.len() + attribute.value.len();
        let fits = attribute.name.len() <= MAX_XATTR_NAME
            && attribute.value.len() <= crate::entry::MAX_XATTR_VALUE
            && !attribute.name.contains(&0)
            && len <= room;
        room -= if fits { len } else { 0 };
        fits
    });
    attributes.truncate(MAX_XATTR_COUNT);
    if attributes.len() < before {
        flaws.push(Reason::TooManyXattrs);
    }
    attributes
}

/// The tag stands for identity: equal stamps are equal versions.
fn stamp(meta: &Meta, etag: &[u8], size: u64, modified: (i64, u32)) -> Stamp {
    let hash = blake3::hash(etag);
    let (dev, ino) = hash.as_bytes()[..16].split_at(8);
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    Stamp {
        dev: number(dev),
        ino: number(ino),
        nlink: 1,
        size,
        mtime: modified,
        ctime: modified,
        mode: 0o100_000 | meta.mode,
        uid: meta.uid,
        gid: meta.gid,
    }
}
