//! A path index: the names, kinds, sizes and times of one snapshot, for finding without asking.
//!
//! One listing per directory, bottom up. A short listing stands inside its parent's record, so
//! that a tree of many small directories does not become as many objects; a long one is a list
//! of sealed pages as in [`crate::pages`], of a kind and in a dedup domain of its own. Equal
//! directories have equal listings, so an unchanged subtree costs nothing. There is no reference
//! to content in it: whoever reads an index learns what is in a snapshot and can open none of it.
//! Layout: `docs/formats/path-index.md`.
//!
//! Rejected: one page per directory (as many objects again as the snapshot has directories), and
//! one flat list of paths (a rename at the top rewrites all of it).

use seawall_base::wire::{Reader, WireError, Writer};
use seawall_seal::{Domain, ObjectRef};

use crate::entry::{Entry, EntryKind, List, MAX_DEPTH, MAX_FILE, MAX_NAME, is_component};
use crate::pages::{self, ListWriter, SealPage};

/// A listing of up to this many bytes stands in its parent's record.
pub const MAX_INLINE_LISTING: usize = 2 << 10;
const ROOT_VERSION: u8 = 1;

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PathKind {
    /// A regular file under its first name.
    File = 1,
    /// A directory.
    Directory = 2,
    /// A symbolic link.
    Symlink = 3,
    /// A named pipe.
    Fifo = 4,
    /// A character device.
    CharDevice = 5,
    /// A block device.
    BlockDevice = 6,
    /// A further name of something.
    HardLink = 7,
}

impl PathKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::File,
        Self::Directory,
        Self::Symlink,
        Self::Fifo,
        Self::CharDevice,
        Self::BlockDevice,
        Self::HardLink,
    ];

    /// The kind with this number.
    pub fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|k| *k as u8 == number)
    }

    /// Its name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink => "symlink",
            Self::Fifo => "fifo",
            Self::CharDevice => "character device",
            Self::BlockDevice => "block device",
            Self::HardLink => "hard link",
        }
    }
}

/// What is in a directory, as the parent's record holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listing {
    /// The records themselves: at most [`MAX_INLINE_LISTING`] bytes.
    Inline(Vec<u8>),
    /// A list of sealed pages.
    Pages(List),
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathEntry {
    /// The path component.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: PathKind,
    /// Bytes of a file, holes included; 0 for everything else.
    pub size: u64,
    /// Modification time in whole seconds since the Unix epoch.
    pub mtime: i64,
    /// What is in it, for a directory and for nothing else.
    pub listing: Option<Listing>,
}

impl PathEntry {
    /// What an index keeps of a snapshot's entry; a directory comes with its listing.
    pub fn of(entry: &Entry, listing: Option<Listing>) -> Self {
        let (kind, size) = match &entry.kind {
            EntryKind::File { size, .. } => (PathKind::File, *size),
            EntryKind::Directory { .. } => (PathKind::Directory, 0),
            EntryKind::Symlink { .. } => (PathKind::Symlink, 0),
            EntryKind::Fifo => (PathKind::Fifo, 0),
            EntryKind::CharDevice { .. } => (PathKind::CharDevice, 0),
            EntryKind::BlockDevice { .. } => (PathKind::BlockDevice, 0),
            EntryKind::HardLink { .. } => (PathKind::HardLink, 0),
        };
        Self { name: entry.name.clone(), kind, size, mtime: entry.meta.mtime_sec, listing }
    }

    /// As [`Self::of`], of an entry as a directory's page has it.
    pub fn of_record(record: &[u8], listing: Option<Listing>) -> Result<Self, WireError> {
        let mut r = Reader::new(record);
        let entry = Entry::decode(&mut r)?;
        r.finish()?;
        Ok(Self::of(&entry, listing))
    }

    fn encode(&self, w: &mut Writer) {
        w.u8(self.kind as u8).u8(self.name.len() as u8).raw(&self.name).i64(self.mtime);
        if self.kind == PathKind::File {
            w.u64(self.size);
        }
        if let Some(listing) = &self.listing {
            listing.encode(w);
        }
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        let kind = PathKind::of(r.u8()?).ok_or_else(|| r.invalid("kind of a path"))?;
        let len = usize::from(r.u8()?);
        let name = r.take(len)?.to_vec();
        if !is_component(&name) {
            return Err(r.invalid("name of a path"));
        }
        let mtime = r.i64()?;
        let size = if kind == PathKind::File { r.u64()? } else { 0 };
        if size > MAX_FILE {
            return Err(r.invalid("size of a file"));
        }
        let listing = if kind == PathKind::Directory { Some(Listing::decode(r)?) } else { None };
        Ok(Self { name, kind, size, mtime, listing })
    }
}

impl Listing {
    /// Appends its bytes, as the record of its directory holds them.
    pub fn encode(&self, w: &mut Writer) {
        match self {
            Self::Inline(records) => {
                w.u8(0).u16(records.len() as u16).raw(records);
            }
            Self::Pages(list) => {
                w.u8(1).u8(list.depth);
                list.root.encode(w);
            }
        }
    }

    /// Parses them.
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        match r.u8()? {
            0 => {
                let len = usize::from(r.u16()?);
                if len > MAX_INLINE_LISTING {
                    return Err(r.invalid("length of an inline listing"));
                }
                Ok(Self::Inline(r.take(len)?.to_vec()))
            }
            1 => {
                let depth = r.u8()?;
                if depth > MAX_DEPTH {
                    return Err(r.invalid("depth of a listing"));
                }
                Ok(Self::Pages(List { root: ObjectRef::decode(r)?, depth }))
            }
            _ => Err(r.invalid("form of a listing")),
        }
    }

    /// Sixteen bytes that two listings share only if everything below them is equal.
    pub fn fingerprint(&self) -> [u8; 16] {
        let digest = match self {
            Self::Inline(records) => {
                blake3::derive_key("seawall 2026-11 path index inline listing v1", records)
            }
            Self::Pages(list) => list.root.id.0,
        };
        digest[..16].try_into().expect("a digest has 32 bytes")
    }
}

/// A directory's listing with what tells whether it is still right: kept between snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indexed {
    /// The listing.
    pub listing: Listing,
    /// Its fingerprint.
    pub fingerprint: [u8; 16],
    /// Of the listings of the directories in it ([`Indexed::below`]).
    pub below: [u8; 16],
}

impl Indexed {
    /// The listing of a directory whose subdirectories have the fingerprints `below` stands for.
    pub fn new(listing: Listing, below: [u8; 16]) -> Self {
        Self { fingerprint: listing.fingerprint(), listing, below }
    }

    /// One value for the fingerprints of all directories in a directory, in order of name.
    pub fn below<'a>(fingerprints: impl Iterator<Item = &'a [u8; 16]>) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new();
        let mut any = false;
        for fingerprint in fingerprints {
            hasher.update(fingerprint);
            any = true;
        }
        let mut out = [0; 16];
        if any {
            out.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        }
        out
    }

    /// Appends its bytes.
    pub fn encode(&self, w: &mut Writer) {
        w.raw(&self.fingerprint).raw(&self.below);
        self.listing.encode(w);
    }

    /// Parses them.
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        let (fingerprint, below) = (r.array()?, r.array()?);
        Ok(Self { listing: Listing::decode(r)?, fingerprint, below })
    }
}

/// Makes listings, one directory at a time, children before parents.
pub struct PathIndexWriter {
    secret: [u8; 32],
}

impl PathIndexWriter {
    /// A writer for the domain of path indexes; its pages are cut under the domain's secret.
    pub fn new(domain: &Domain) -> Self {
        // Without a domain nothing is shared, and where pages end tells nobody anything.
        Self { secret: domain.chunker_secret().unwrap_or([0; 32]) }
    }

    /// The listing of a directory whose `entries` are complete, in strictly ascending order of
    /// name. `seal` seals a page that became full.
    pub fn directory<E>(
        &self,
        entries: &[PathEntry],
        seal: &mut SealPage<'_, E>,
    ) -> Result<Listing, E> {
        let mut records = Writer::new();
        for entry in entries {
            entry.encode(&mut records);
            if records.len() > MAX_INLINE_LISTING {
                return self.pages(entries, seal).map(Listing::Pages);
            }
        }
        Ok(Listing::Inline(records.into_vec()))
    }

    fn pages<E>(&self, entries: &[PathEntry], seal: &mut SealPage<'_, E>) -> Result<List, E> {
        let mut list = ListWriter::new(&self.secret);
        for entry in entries {
            let mut record = Writer::new();
            entry.encode(&mut record);
            list.push(record.as_slice(), seal)?;
        }
        list.finish(seal)
    }

    /// The index whose topmost directory has this listing: always sealed pages, never inline.
    pub fn root<E>(&self, listing: Listing, seal: &mut SealPage<'_, E>) -> Result<List, E> {
        match listing {
            Listing::Pages(list) => Ok(list),
            Listing::Inline(records) => {
                let entries = decode_inline(&records).expect("a listing this writer encoded");
                self.pages(&entries, seal)
            }
        }
    }
}

fn ascending(entries: Vec<PathEntry>) -> Result<Vec<PathEntry>, WireError> {
    if entries.windows(2).any(|w| w[0].name >= w[1].name) {
        return Err(WireError::Invalid { offset: 0, what: "order of names in a listing" });
    }
    Ok(entries)
}

/// The entries of an inline listing.
pub fn decode_inline(records: &[u8]) -> Result<Vec<PathEntry>, WireError> {
    let mut r = Reader::new(records);
    let mut entries = Vec::new();
    while r.remaining() > 0 {
        entries.push(PathEntry::decode(&mut r)?);
    }
    ascending(entries)
}

/// The entries of a listing's leaf page, in strictly ascending order of name.
pub fn decode_page(page: &[u8]) -> Result<Vec<PathEntry>, WireError> {
    ascending(pages::records(page, 0, PathEntry::decode)?)
}

/// A page of a listing: a leaf with its entries, or an index page with the pages below it.
pub enum Page {
    /// Level 0.
    Leaf(Vec<PathEntry>),
    /// Above.
    Index(Vec<ObjectRef>),
}

impl Page {
    /// Takes apart a page of `level`.
    pub fn decode(page: &[u8], level: u8) -> Result<Self, WireError> {
        if level == 0 {
            decode_page(page).map(Self::Leaf)
        } else {
            pages::decode_index(page, level).map(Self::Index)
        }
    }

    /// References to pages of an index on this page: those below it, and those of directories
    /// in it, also of directories that stand inline. Each with its level.
    pub fn references(&self, level: u8) -> Result<Vec<(ObjectRef, u8)>, WireError> {
        let mut out = Vec::new();
        match self {
            Self::Index(below) => {
                let below_level = level - 1;
                out.extend(below.iter().map(|r| (r.clone(), below_level)));
            }
            Self::Leaf(entries) => {
                let mut open: Vec<Vec<PathEntry>> = Vec::new();
                let mut take = |listing: &Listing, open: &mut Vec<Vec<PathEntry>>| {
                    match listing {
                        Listing::Inline(records) => open.push(decode_inline(records)?),
                        Listing::Pages(list) => out.push((list.root.clone(), list.depth)),
                    }
                    Ok::<_, WireError>(())
                };
                for listing in entries.iter().filter_map(|e| e.listing.as_ref()) {
                    take(listing, &mut open)?;
                }
                while let Some(inner) = open.pop() {
                    for listing in inner.iter().filter_map(|e| e.listing.as_ref()) {
                        take(listing, &mut open)?;
                    }
                }
            }
        }
        Ok(out)
    }
}

/// Where an index begins, as it is sealed to each operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathIndexRoot {
    /// Digest of what the snapshot was made of: snapshots of one node with equal lines follow
    /// one another, and their indexes are compared.
    pub line: [u8; 32],
    /// The directory `/`.
    pub tree: List,
}

impl PathIndexRoot {
    /// The line of a snapshot of these sources.
    pub fn line(sources: &[Vec<u8>]) -> [u8; 32] {
        let mut w = Writer::new();
        w.length(sources.len());
        for source in sources {
            w.bytes(source);
        }
        blake3::derive_key("seawall 2026-11 path index line v1", w.as_slice())
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.u8(ROOT_VERSION).raw(&self.line).u8(self.tree.depth);
        self.tree.root.encode(&mut w);
        w.into_vec()
    }

    /// Parses them.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        if r.u8()? != ROOT_VERSION {
            return Err(r.invalid("version of a path index (a newer seawall may read it)"));
        }
        let line = r.array()?;
        let depth = r.u8()?;
        if depth > MAX_DEPTH {
            return Err(r.invalid("depth of a path index"));
        }
        let root = ObjectRef::decode(&mut r)?;
        r.finish()?;
        Ok(Self { line, tree: List { root, depth } })
    }
}

const _: () = assert!(MAX_NAME <= u8::MAX as usize && MAX_INLINE_LISTING <= u16::MAX as usize);

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;
    use seawall_base::ObjectId;
    use seawall_seal::{DomainScope, ObjectKey};

    use super::*;
    use crate::pages::tests::Shelf;

    fn writer() -> PathIndexWriter {
        PathIndexWriter::new(&Domain::derive(&[7; 32], DomainScope::PathIndex))
    }

    fn file(name: &str, size: u64) -> PathEntry {
        let (name, kind) = (name.as_bytes().to_vec(), PathKind::File);
        PathEntry { name, kind, size, mtime: 1_700_000_000, listing: None }
    }

    fn directory(name: &str, listing: Listing) -> PathEntry {
        let (name, kind) = (name.as_bytes().to_vec(), PathKind::Directory);
        PathEntry { name, kind, size: 0, mtime: -5, listing: Some(listing) }
    }

    fn many(n: usize) -> Vec<PathEntry> {
        (0..n).map(|i| file(&format!("file-{i:06}"), i as u64)).collect()
    }

    #[test]
    fn short_listings_stand_inline_and_long_ones_in_pages() {
        let mut shelf = Shelf::default();
        let writer = writer();
        let Ok(short) = writer.directory(&many(3), &mut |p| shelf.seal(p));
        let Listing::Inline(records) = &short else { panic!("three records are short") };
        assert_eq!(decode_inline(records), Ok(many(3)));
        assert!(shelf.0.is_empty(), "nothing was sealed");
        let mut above = many(2_000);
        above.push(directory("sub", short));
        let Ok(long) = writer.directory(&above, &mut |p| shelf.seal(p));
        let Listing::Pages(list) = long else { panic!("two thousand records are long") };
        let mut back = Vec::new();
        let mut open = vec![(list.root, list.depth)];
        while let Some((page, level)) = open.pop() {
            match Page::decode(&shelf.0[&page.id], level).expect("a page") {
                Page::Leaf(entries) => back.splice(0..0, entries).for_each(drop),
                Page::Index(below) => open.extend(below.into_iter().map(|r| (r, level - 1))),
            }
        }
        assert_eq!(back, above);
    }

    #[test]
    fn a_change_deep_inside_changes_every_fingerprint_above_and_no_other() {
        let mut shelf = Shelf::default();
        let writer = writer();
        let mut listing = |entries: &[PathEntry]| {
            let Ok(listing) = writer.directory(entries, &mut |p| shelf.seal(p));
            listing
        };
        let left = listing(&many(500));
        let (a, b) = (listing(&[file("x", 1)]), listing(&[file("x", 2)]));
        let before = listing(&[directory("a", left.clone()), directory("b", a.clone())]);
        let after = listing(&[directory("a", left.clone()), directory("b", b.clone())]);
        assert_ne!(a.fingerprint(), b.fingerprint());
        assert_ne!(before.fingerprint(), after.fingerprint());
        assert_eq!(left.fingerprint(), listing(&many(500)).fingerprint());
    }

    #[test]
    fn references_reach_through_inline_directories() {
        let mut shelf = Shelf::default();
        let writer = writer();
        let mut seal = |p: &[u8]| shelf.seal(p);
        let Ok(deep) = writer.directory(&many(500), &mut seal);
        let Ok(middle) = writer.directory(&[directory("deep", deep.clone())], &mut seal);
        assert!(matches!(middle, Listing::Inline(_)));
        let Ok(top) = writer.directory(&[directory("middle", middle)], &mut seal);
        let Ok(list) = writer.root(top, &mut seal);
        let page = Page::decode(&shelf.0[&list.root.id], list.depth).expect("a page");
        let Listing::Pages(deep) = deep else { panic!("500 records are long") };
        let found = page.references(list.depth).expect("well formed");
        assert_eq!(found, [(deep.root, deep.depth)]);
    }

    #[test]
    fn what_a_writer_would_not_write_is_refused() {
        let encode = |entry: &PathEntry| {
            let mut w = Writer::new();
            entry.encode(&mut w);
            w.into_vec()
        };
        let good = encode(&file("a", 1));
        assert_eq!(decode_inline(&good), Ok(vec![file("a", 1)]));
        let twice = [good.clone(), good.clone()].concat();
        assert!(decode_inline(&twice).is_err(), "a name twice");
        for name in ["..", ".", "", "a/b", "a\0"] {
            assert!(decode_inline(&encode(&file(name, 1))).is_err(), "{name:?}");
        }
        assert!(decode_inline(&encode(&file("a", u64::MAX))).is_err(), "a size no file has");
        for n in 1..good.len() {
            assert!(decode_inline(&good[..n]).is_err(), "cut at {n}");
        }
        for kind in [0, 8, 255] {
            let mut bad = good.clone();
            bad[0] = kind;
            assert!(decode_inline(&bad).is_err(), "kind {kind}");
        }
        let list = List {
            root: ObjectRef { id: ObjectId([1; 32]), key: ObjectKey::new([2; 32]), plain_len: 9 },
            depth: MAX_DEPTH + 1,
        };
        let deep = encode(&directory("d", Listing::Pages(list.clone())));
        assert!(decode_inline(&deep).is_err(), "deeper than a list can be");
        let root = PathIndexRoot { line: [3; 32], tree: List { depth: 1, ..list } };
        let bytes = root.encode();
        assert_eq!(PathIndexRoot::decode(&bytes), Ok(root));
        let pinned = [[3; 32].as_slice(), &[1], &[1; 32], &[2; 32], &[9, 0, 0, 0]].concat();
        assert_eq!(bytes, [&[1][..], &pinned].concat(), "another layout is another version");
        for n in 0..bytes.len() {
            assert!(PathIndexRoot::decode(&bytes[..n]).is_err(), "cut at {n}");
        }
    }

    /// Pinned: a change here is another format.
    #[test]
    fn the_bytes_of_records_are_pinned() {
        let Ok(listing) = writer().directory::<Infallible>(
            &[directory("d", Listing::Inline(vec![])), file("f", 258)],
            &mut |_| unreachable!("it is short"),
        );
        let Listing::Inline(records) = &listing else { panic!("it is short") };
        assert_eq!(
            hex::encode(records),
            "020164fbffffffffffffff000000010166\
             00f15365000000000201000000000000"
        );
        assert_eq!(hex::encode(listing.fingerprint()), "98843fac36176ce7ca45217fc31527a9");
    }

    proptest! {
        #[test]
        fn hostile_pages_never_panic(bytes: Vec<u8>, level in 0u8..20) {
            if let Ok(page) = Page::decode(&bytes, level) {
                let _ = page.references(level);
            }
            let _ = decode_inline(&bytes);
            let _ = PathIndexRoot::decode(&bytes);
        }
    }
}
