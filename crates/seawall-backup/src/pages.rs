//! Long lists as trees of sealed pages: directories and the chunk lists of long files.
//!
//! Records fill pages in order; pages are cut where a keyed hash of a record says so, so that
//! one changed record re-writes one page and the index pages above it. A list's depth stands in
//! its reference, and every page repeats its level: a page cannot be passed off as another.
//! Layout: `docs/formats/page.md`.

use seawall_base::wire::{Reader, WireError, Writer};
use seawall_seal::ObjectRef;

use crate::entry::{Entry, InvalidEntry, List, MAX_DEPTH, MAX_FILE};

/// Pages are cut by content from this size on.
const CUT_FROM: usize = 16 << 10;
/// Pages are cut at this size in any case.
const CUT_AT: usize = 256 << 10;
/// Largest page a reader accepts: one record beyond [`CUT_AT`].
pub const MAX_PAGE: usize = 2 << 20;
const VERSION: u8 = 1;
/// Of a root page that names a path index.
const VERSION_WITH_INDEX: u8 = 2;
/// Version, level, count.
const HEADER: usize = 1 + 1 + 4;

/// Seals one page and returns its reference.
pub type SealPage<'a, E> = dyn FnMut(&[u8]) -> Result<ObjectRef, E> + 'a;

/// Writes a list front to back, holding one unfinished page of each level.
pub struct ListWriter {
    secret: [u8; 32],
    levels: Vec<Level>,
}

struct Level {
    records: Writer,
    count: u32,
}

impl Level {
    const fn new() -> Self {
        Self { records: Writer::new(), count: 0 }
    }

    fn take_page(&mut self, level: u8) -> Vec<u8> {
        let mut page = Writer::new();
        page.u8(VERSION).u8(level).u32(self.count).raw(self.records.as_slice());
        *self = Self::new();
        page.into_vec()
    }
}

impl ListWriter {
    /// A writer that cuts pages under `secret` (the domain's chunker secret).
    pub fn new(secret: &[u8; 32]) -> Self {
        let secret = blake3::derive_key("seawall 2026-11 page boundary v1", secret);
        Self { secret, levels: vec![Level::new()] }
    }

    /// Appends an encoded record; seals pages that became full.
    pub fn push<E>(&mut self, record: &[u8], seal: &mut SealPage<'_, E>) -> Result<(), E> {
        self.push_at(0, record, seal)
    }

    fn push_at<E>(
        &mut self,
        level: usize,
        record: &[u8],
        seal: &mut SealPage<'_, E>,
    ) -> Result<(), E> {
        if self.levels.len() == level {
            self.levels.push(Level::new());
        }
        let open = &mut self.levels[level];
        open.records.raw(record);
        open.count += 1;
        let size = HEADER + open.records.len();
        let boundary = || blake3::keyed_hash(&self.secret, record).as_bytes()[0] & 31 == 0;
        if size >= CUT_AT || size >= CUT_FROM && boundary() {
            self.close(level, seal)?;
        }
        Ok(())
    }

    fn close<E>(&mut self, level: usize, seal: &mut SealPage<'_, E>) -> Result<(), E> {
        let page = self.levels[level].take_page(level as u8);
        let reference = seal(&page)?;
        let mut record = Writer::new();
        reference.encode(&mut record);
        self.push_at(level + 1, record.as_slice(), seal)
    }

    /// Seals what is left and returns the list; an empty list is one empty page.
    pub fn finish<E>(mut self, seal: &mut SealPage<'_, E>) -> Result<List, E> {
        let mut level = 0;
        loop {
            let top = level + 1 == self.levels.len();
            let open = &mut self.levels[level];
            // The top level's only reference is the list's root: no page above it is needed.
            if top && level > 0 && open.count == 1 {
                let mut r = Reader::new(open.records.as_slice());
                let root = ObjectRef::decode(&mut r).expect("a reference this writer encoded");
                return Ok(List { root, depth: (level - 1) as u8 });
            }
            if top {
                let page = open.take_page(level as u8);
                return Ok(List { root: seal(&page)?, depth: level as u8 });
            }
            if open.count > 0 {
                self.close(level, seal)?;
            }
            level += 1;
        }
    }
}

/// Takes a page apart. `level` is what the way to it demands.
fn open_page(page: &[u8], level: u8) -> Result<(u32, Reader<'_>), WireError> {
    let mut r = Reader::new(page);
    if page.len() > MAX_PAGE {
        return Err(r.invalid("length of a page"));
    }
    if r.u8()? != VERSION {
        return Err(r.invalid("version of a page (a newer seawall may read it)"));
    }
    if r.u8()? != level || level > MAX_DEPTH {
        return Err(r.invalid("level of a page"));
    }
    Ok((r.u32()?, r))
}

pub(crate) fn records<'a, T>(
    page: &'a [u8],
    level: u8,
    mut decode: impl FnMut(&mut Reader<'a>) -> Result<T, WireError>,
) -> Result<Vec<T>, WireError> {
    let (count, mut r) = open_page(page, level)?;
    let mut out = Vec::new();
    for _ in 0..count {
        out.push(decode(&mut r)?);
    }
    r.finish()?;
    Ok(out)
}

/// The references in an index page of `level` (1 or more): at least one.
pub fn decode_index(page: &[u8], level: u8) -> Result<Vec<ObjectRef>, WireError> {
    let references = records(page, level, ObjectRef::decode)?;
    if references.is_empty() {
        return Err(WireError::Invalid { offset: 0, what: "count of an index page" });
    }
    Ok(references)
}

/// The entries in a directory's leaf page, in strictly ascending order of name.
pub fn decode_directory(page: &[u8]) -> Result<Vec<Entry>, WireError> {
    let entries = records(page, 0, Entry::decode)?;
    if entries.windows(2).any(|w| w[0].name >= w[1].name) {
        return Err(WireError::Invalid { offset: 0, what: "order of names in a directory" });
    }
    Ok(entries)
}

/// An entry as a record of a directory page.
pub fn encode_entry(entry: &Entry) -> Result<Vec<u8>, InvalidEntry> {
    let mut w = Writer::new();
    entry.encode(&mut w)?;
    Ok(w.into_vec())
}

/// A stretch of a long file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stretch {
    /// A sealed chunk; its plain length is the stretch's.
    Data(ObjectRef),
    /// A hole of this many bytes.
    Hole(u64),
    /// A short hole inside the next chunk, which holds zeros there: many small holes (disk
    /// images) must not make many small chunks. Ascending within the chunk, not touching.
    Gap {
        /// First byte of the hole, from the start of the next chunk.
        offset: u32,
        /// Its bytes.
        len: u32,
    },
}

impl Stretch {
    /// Bytes of the file it covers.
    pub fn len(&self) -> u64 {
        match self {
            Self::Data(reference) => u64::from(reference.plain_len),
            Self::Hole(n) => *n,
            Self::Gap { .. } => 0,
        }
    }

    /// Whether it only says something about the next stretch.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The stretch as a record of a chunk-list page.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        match self {
            Self::Data(reference) => {
                w.u8(0);
                reference.encode(&mut w);
            }
            Self::Hole(n) => {
                w.u8(1).u64(*n);
            }
            Self::Gap { offset, len } => {
                w.u8(2).u32(*offset).u32(*len);
            }
        }
        w.into_vec()
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        let stretch = match r.u8()? {
            0 => Self::Data(ObjectRef::decode(r)?),
            1 => Self::Hole(r.u64()?),
            2 => Self::Gap { offset: r.u32()?, len: r.u32()? },
            _ => return Err(r.invalid("type of a stretch")),
        };
        match &stretch {
            Self::Data(object) if object.plain_len > 0 => Ok(stretch),
            Self::Hole(n) if (1..=MAX_FILE).contains(n) => Ok(stretch),
            Self::Gap { len, .. } if *len > 0 => Ok(stretch),
            _ => Err(r.invalid("length of a stretch")),
        }
    }
}

/// The stretches in a chunk list's leaf page.
pub fn decode_chunk_list(page: &[u8]) -> Result<Vec<Stretch>, WireError> {
    records(page, 0, Stretch::decode)
}

/// A snapshot's root page: where its tree begins and how it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootPage {
    /// Chunker of its long files ([`crate::chunker::CHUNKER_ID`]).
    pub chunker: u16,
    /// The directory `/` of the snapshot.
    pub tree: List,
    /// Name of the machine, as bytes.
    pub host: Vec<u8>,
    /// The absolute paths that were asked for.
    pub sources: Vec<Vec<u8>>,
    /// The snapshot's path index, if it has one: its pages belong to the reference set.
    pub path_index: Option<List>,
}

/// Most sources of one snapshot.
pub const MAX_SOURCES: usize = 4_096;
const MAX_PATH: usize = 64 << 10;

impl RootPage {
    /// The page's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        let version = if self.path_index.is_some() { VERSION_WITH_INDEX } else { VERSION };
        w.u8(version).u16(self.chunker);
        self.tree.root.encode(&mut w);
        w.u8(self.tree.depth);
        w.bytes(&self.host).length(self.sources.len());
        for source in &self.sources {
            w.bytes(source);
        }
        if let Some(index) = &self.path_index {
            index.root.encode(&mut w);
            w.u8(index.depth);
        }
        w.into_vec()
    }

    /// Parses a root page.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        let version = r.u8()?;
        if version != VERSION && version != VERSION_WITH_INDEX {
            return Err(r.invalid("version of a root page (a newer seawall may read it)"));
        }
        let chunker = r.u16()?;
        let tree = decode_list(&mut r)?;
        let host = r.bytes(255)?.to_vec();
        let count = r.length(MAX_SOURCES)?;
        let mut sources = Vec::new();
        for _ in 0..count {
            sources.push(r.bytes(MAX_PATH)?.to_vec());
        }
        let path_index =
            if version == VERSION_WITH_INDEX { Some(decode_list(&mut r)?) } else { None };
        r.finish()?;
        Ok(Self { chunker, tree, host, sources, path_index })
    }
}

fn decode_list(r: &mut Reader<'_>) -> Result<List, WireError> {
    let list = List { root: ObjectRef::decode(r)?, depth: r.u8()? };
    if list.depth > MAX_DEPTH {
        return Err(r.invalid("depth of a tree"));
    }
    Ok(list)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use proptest::prelude::*;
    use seawall_base::ObjectId;
    use seawall_seal::ObjectKey;

    use super::*;

    /// "Seals" a page by keeping it: the page logic does not depend on cryptography.
    #[derive(Default)]
    pub(crate) struct Shelf(pub(crate) BTreeMap<ObjectId, Vec<u8>>);

    impl Shelf {
        #[expect(clippy::unnecessary_wraps, reason = "what seals pages may fail, but for this")]
        pub(crate) fn seal(&mut self, page: &[u8]) -> Result<ObjectRef, Infallible> {
            let id = ObjectId::of(page);
            self.0.insert(id, page.to_vec());
            Ok(ObjectRef { id, key: ObjectKey::new([0; 32]), plain_len: page.len() as u32 })
        }

        fn list(&mut self, stretches: &[Stretch]) -> List {
            let mut writer = ListWriter::new(&[1; 32]);
            for s in stretches {
                let Ok(()) = writer.push(&s.encode(), &mut |p| self.seal(p));
            }
            let Ok(list) = writer.finish(&mut |p| self.seal(p));
            list
        }

        fn read(&self, reference: &ObjectRef, level: u8, out: &mut Vec<Stretch>) {
            let page = &self.0[&reference.id];
            if level == 0 {
                out.extend(decode_chunk_list(page).expect("a leaf"));
            } else {
                for child in decode_index(page, level).expect("an index page") {
                    self.read(&child, level - 1, out);
                }
            }
        }
    }

    fn stretches(n: u64) -> Vec<Stretch> {
        let data = |i: u64| {
            let id = ObjectId::of(&i.to_le_bytes());
            Stretch::Data(ObjectRef { id, key: ObjectKey::new([i as u8; 32]), plain_len: 9 })
        };
        (0..n).map(|i| if i % 5 == 4 { Stretch::Hole(i) } else { data(i) }).collect()
    }

    #[test]
    fn lists_of_every_size_read_back() {
        for n in [0, 1, 2, 200, 300, 1_000, 60_000] {
            let mut shelf = Shelf::default();
            let list = shelf.list(&stretches(n));
            let mut back = Vec::new();
            shelf.read(&list.root, list.depth, &mut back);
            assert_eq!(back, stretches(n), "{n} stretches at depth {}", list.depth);
            assert!(list.depth <= 2);
        }
    }

    #[test]
    fn one_change_rewrites_one_page_of_each_level() {
        let mut shelf = Shelf::default();
        let mut records = stretches(60_000);
        shelf.list(&records);
        let before = shelf.0.len();
        records[30_000] = Stretch::Hole(1);
        let list = shelf.list(&records);
        let new = shelf.0.len() - before;
        assert!(new <= 2 * (usize::from(list.depth) + 1), "{new} of {before} pages re-written");
    }

    #[test]
    fn pages_are_refused_out_of_place() {
        let mut shelf = Shelf::default();
        let list = shelf.list(&stretches(3));
        let page = shelf.0[&list.root.id].clone();
        assert!(decode_chunk_list(&page).is_ok());
        assert!(decode_index(&page, 1).is_err());
        assert!(decode_directory(&page).is_err());
        let mut trailing = page.clone();
        trailing.push(0);
        assert!(decode_chunk_list(&trailing).is_err());
        let zero_hole = Stretch::Hole(0).encode();
        let mut w = Writer::new();
        w.u8(VERSION).u8(0).u32(1).raw(&zero_hole);
        assert!(decode_chunk_list(w.as_slice()).is_err());
    }

    #[test]
    fn root_pages_round_trip() {
        let mut shelf = Shelf::default();
        let tree = shelf.list(&[]);
        let root = RootPage {
            chunker: 1,
            tree,
            host: b"site-a".to_vec(),
            sources: vec![b"/srv/\xff".to_vec()],
            path_index: None,
        };
        let with_index = RootPage { path_index: Some(shelf.list(&stretches(3))), ..root.clone() };
        for root in [root, with_index] {
            let bytes = root.encode();
            assert_eq!(RootPage::decode(&bytes), Ok(root));
            for n in 0..bytes.len() {
                assert!(RootPage::decode(&bytes[..n]).is_err());
            }
        }
    }

    proptest! {
        #[test]
        fn hostile_pages_never_panic(bytes: Vec<u8>, level in 0u8..20) {
            let _ = decode_index(&bytes, level);
            let _ = decode_directory(&bytes);
            let _ = decode_chunk_list(&bytes);
            let _ = RootPage::decode(&bytes);
        }
    }
}
