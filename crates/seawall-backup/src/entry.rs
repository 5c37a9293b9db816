//! One name in a directory: what a snapshot keeps of a file system object, and its bytes.
//!
//! The rules of a valid entry are written once ([`Entry::flaw`]) and asked on both sides: what a
//! snapshot writes is what a restore accepts, so a tree that was backed up cannot fail to decode
//! years later. A name is one path component and can never leave its directory; everything with
//! a length has a limit that is checked before anything is allocated.
//!
//! An entry carries no version: the page that holds it does. `docs/formats/entry.md` describes
//! the bytes.

use seawall_base::wire::{Reader, WireError, Writer};
use seawall_seal::ObjectRef;

/// Longest name of one path component, in bytes (Linux `NAME_MAX`).
pub const MAX_NAME: usize = 255;
/// Longest name of an extended attribute, in bytes (Linux `XATTR_NAME_MAX`).
pub const MAX_XATTR_NAME: usize = 255;
/// Longest value of one extended attribute, in bytes (Linux `XATTR_SIZE_MAX`).
pub const MAX_XATTR_VALUE: usize = 64 << 10;
/// Most bytes of all extended attributes of one object, names and values together.
pub const MAX_XATTRS: usize = 128 << 10;
/// Most extended attributes of one object.
pub const MAX_XATTR_COUNT: usize = 4_096;
/// Longest target of a symbolic link, in bytes (Linux `PATH_MAX`).
pub const MAX_SYMLINK: usize = 4_096;
/// Most components in the path a hard link refers to.
pub const MAX_LINK_COMPONENTS: usize = 4_096;
/// Largest content kept in the entry itself, in bytes.
pub const MAX_INLINE: usize = 512;
/// Deepest tree of pages under one list. Real trees have three levels; the cap bounds a hostile one.
pub const MAX_DEPTH: u8 = 16;
/// Largest file, in bytes: what `off_t` can address.
pub const MAX_FILE: u64 = i64::MAX as u64;

/// An entry that breaks the rules of the format and is therefore not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} cannot be kept in a snapshot entry")]
pub struct InvalidEntry {
    /// The field and what it must be.
    pub what: &'static str,
}

/// One name in a directory and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The path component: 1 to [`MAX_NAME`] bytes, any but `/` and NUL; not `.` or `..`.
    pub name: Vec<u8>,
    /// Owner, mode, time and extended attributes.
    pub meta: Meta,
    /// What it is.
    pub kind: EntryKind,
}

/// What every kind of file system object has. The default is mode 0, owner root, the epoch, no xattrs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meta {
    /// The 12 permission bits: set-uid, set-gid, sticky and `rwxrwxrwx`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time: whole seconds since the Unix epoch, negative before it.
    pub mtime_sec: i64,
    /// Modification time: nanoseconds past `mtime_sec`, below 10⁹.
    pub mtime_nsec: u32,
    /// Extended attributes, strictly ascending by name. POSIX ACLs and capabilities are among them.
    pub xattrs: Vec<Xattr>,
}

/// One extended attribute, as the kernel gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Xattr {
    /// Full name with namespace, such as `user.comment`: 1 to [`MAX_XATTR_NAME`] bytes, no NUL.
    pub name: Vec<u8>,
    /// At most [`MAX_XATTR_VALUE`] bytes.
    pub value: Vec<u8>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file, also the first name met of a file with several.
    File {
        /// Length in bytes, holes included.
        size: u64,
        /// Where the bytes are.
        content: Content,
    },
    /// A directory.
    Directory {
        /// Its pages of entries.
        listing: List,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points, verbatim: 1 to [`MAX_SYMLINK`] bytes without NUL.
        target: Vec<u8>,
    },
    /// A named pipe.
    Fifo,
    /// A character device node.
    CharDevice {
        /// Device class.
        major: u32,
        /// Device within its class.
        minor: u32,
    },
    /// A block device node.
    BlockDevice {
        /// Device class.
        major: u32,
        /// Device within its class.
        minor: u32,
    },
    /// A further name of an object (of any kind but a directory) met earlier in the snapshot.
    HardLink {
        /// Path components from the snapshot's root to the first name.
        target: Vec<Vec<u8>>,
    },
}

/// A tree of pages: a directory's entries or a long file's chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// The root page.
    pub root: ObjectRef,
    /// Levels of pages below the root; at 0 the root holds the items themselves.
    pub depth: u8,
}

/// Where a file's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Nowhere: the file has none.
    Empty,
    /// Here: 1 to [`MAX_INLINE`] bytes.
    Inline(Vec<u8>),
    /// A span of an object shared with other small files.
    Bundle {
        /// The shared object.
        object: ObjectRef,
        /// Where the span starts in the object's plaintext.
        offset: u32,
        /// The span's length, which is the file's.
        len: u32,
    },
    /// Chunks of its own, also the form of any file with holes.
    Chunks {
        /// Root page of the chunk list.
        list: ObjectRef,
        /// Levels of pages below the root; at 0 the root holds the chunks themselves.
        depth: u8,
    },
}

/// Whether `name` may be a path component: it stays in its directory on any Linux file system.
pub fn is_component(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..")
        && name.len() <= MAX_NAME
        && !name.iter().any(|&b| b == b'/' || b == 0)
}

impl Entry {
    /// Appends the entry's one encoding. Refused if a restore would refuse to decode it.
    pub fn encode(&self, w: &mut Writer) -> Result<(), InvalidEntry> {
        if let Some(what) = self.flaw() {
            return Err(InvalidEntry { what });
        }
        w.bytes(&self.name);
        self.meta.write(w);
        self.kind.write(w);
        Ok(())
    }

    /// Reads one entry; whatever follows it is left for the caller.
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        let name = r.bytes(MAX_NAME)?.to_vec();
        if !is_component(&name) {
            return Err(r.invalid("entry name"));
        }
        let meta = Meta::decode(r)?;
        let kind = EntryKind::read(r)?;
        match kind.flaw() {
            Some(what) => Err(r.invalid(what)),
            None => Ok(Self { name, meta, kind }),
        }
    }

    /// The first rule the entry breaks.
    fn flaw(&self) -> Option<&'static str> {
        if !is_component(&self.name) {
            return Some("entry name");
        }
        self.meta.flaw().or_else(|| self.kind.flaw())
    }
}

impl Meta {
    /// Appends the metadata alone, as a snapshot's root (which has no name) needs it.
    pub fn encode(&self, w: &mut Writer) -> Result<(), InvalidEntry> {
        if let Some(what) = self.flaw() {
            return Err(InvalidEntry { what });
        }
        self.write(w);
        Ok(())
    }

    /// Reads metadata; whatever follows it is left for the caller.
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        let mut meta = Self {
            mode: u32::from(r.u16()?),
            uid: r.u32()?,
            gid: r.u32()?,
            mtime_sec: r.i64()?,
            mtime_nsec: r.u32()?,
            xattrs: Vec::new(),
        };
        let count = r.length(MAX_XATTR_COUNT)?;
        let mut room = MAX_XATTRS;
        for _ in 0..count {
            let name = r.bytes(MAX_XATTR_NAME.min(room))?.to_vec();
            room -= name.len();
            let value = r.bytes(MAX_XATTR_VALUE.min(room))?.to_vec();
            room -= value.len();
            meta.xattrs.push(Xattr { name, value });
        }
        match meta.flaw() {
            Some(what) => Err(r.invalid(what)),
            None => Ok(meta),
        }
    }

    fn write(&self, w: &mut Writer) {
        w.u16(self.mode as u16).u32(self.uid).u32(self.gid);
        w.i64(self.mtime_sec).u32(self.mtime_nsec);
        w.length(self.xattrs.len());
        for xattr in &self.xattrs {
            w.bytes(&xattr.name).bytes(&xattr.value);
        }
    }

    fn flaw(&self) -> Option<&'static str> {
        let total: usize = self.xattrs.iter().map(|x| x.name.len() + x.value.len()).sum();
        let is_bad_name =
            |x: &Xattr| x.name.is_empty() || x.name.len() > MAX_XATTR_NAME || x.name.contains(&0);
        if self.mode > 0o7777 {
            Some("mode of more than 12 bits")
        } else if self.mtime_nsec >= 1_000_000_000 {
            Some("nanoseconds of a second or more")
        } else if self.xattrs.len() > MAX_XATTR_COUNT || total > MAX_XATTRS {
            Some("total of extended attributes above the limit")
        } else if self.xattrs.iter().any(is_bad_name) {
            Some("extended attribute name")
        } else if self.xattrs.iter().any(|x| x.value.len() > MAX_XATTR_VALUE) {
            Some("extended attribute value above the limit")
        } else if !self.xattrs.is_sorted_by(|a, b| a.name < b.name) {
            Some("order of extended attributes")
        } else {
            None
        }
    }
}

const FILE: u8 = 1;
const DIRECTORY: u8 = 2;
const SYMLINK: u8 = 3;
const FIFO: u8 = 4;
const CHAR_DEVICE: u8 = 5;
const BLOCK_DEVICE: u8 = 6;
const HARD_LINK: u8 = 7;

impl EntryKind {
    fn write(&self, w: &mut Writer) {
        match self {
            Self::File { size, content } => {
                w.u8(FILE).u64(*size);
                content.write(w);
            }
            Self::Directory { listing } => {
                w.u8(DIRECTORY).u8(listing.depth);
                listing.root.encode(w);
            }
            Self::Symlink { target } => {
                w.u8(SYMLINK).bytes(target);
            }
            Self::Fifo => {
                w.u8(FIFO);
            }
            Self::CharDevice { major, minor } => {
                w.u8(CHAR_DEVICE).u32(*major).u32(*minor);
            }
            Self::BlockDevice { major, minor } => {
                w.u8(BLOCK_DEVICE).u32(*major).u32(*minor);
            }
            Self::HardLink { target } => {
                w.u8(HARD_LINK).length(target.len());
                for component in target {
                    w.bytes(component);
                }
            }
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(match r.u8()? {
            FILE => Self::File { size: r.u64()?, content: Content::read(r)? },
            DIRECTORY => {
                let depth = r.u8()?;
                Self::Directory { listing: List { root: ObjectRef::decode(r)?, depth } }
            }
            SYMLINK => Self::Symlink { target: r.bytes(MAX_SYMLINK)?.to_vec() },
            FIFO => Self::Fifo,
            CHAR_DEVICE => Self::CharDevice { major: r.u32()?, minor: r.u32()? },
            BLOCK_DEVICE => Self::BlockDevice { major: r.u32()?, minor: r.u32()? },
            HARD_LINK => {
                let count = r.length(MAX_LINK_COMPONENTS)?;
                let mut target = Vec::new();
                for _ in 0..count {
                    target.push(r.bytes(MAX_NAME)?.to_vec());
                }
                Self::HardLink { target }
            }
            _ => return Err(r.invalid("entry kind")),
        })
    }

    fn flaw(&self) -> Option<&'static str> {
        match self {
            Self::File { size, content } => content.flaw(*size),
            Self::Directory { listing } if listing.depth > MAX_DEPTH => Some("depth of a listing"),
            Self::Symlink { target }
                if target.is_empty() || target.len() > MAX_SYMLINK || target.contains(&0) =>
            {
                Some("symbolic link target")
            }
            Self::HardLink { target }
                if target.is_empty()
                    || target.len() > MAX_LINK_COMPONENTS
                    || !target.iter().all(|c| is_component(c)) =>
            {
                Some("hard link target")
            }
            _ => None,
        }
    }
}

const EMPTY: u8 = 0;
const INLINE: u8 = 1;
const BUNDLE: u8 = 2;
const CHUNKS: u8 = 3;

impl Content {
    fn write(&self, w: &mut Writer) {
        match self {
            Self::Empty => {
                w.u8(EMPTY);
            }
            Self::Inline(bytes) => {
                w.u8(INLINE).bytes(bytes);
            }
            Self::Bundle { object, offset, len } => {
                w.u8(BUNDLE).u32(*offset).u32(*len);
                object.encode(w);
            }
            Self::Chunks { list, depth } => {
                w.u8(CHUNKS).u8(*depth);
                list.encode(w);
            }
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(match r.u8()? {
            EMPTY => Self::Empty,
            INLINE => Self::Inline(r.bytes(MAX_INLINE)?.to_vec()),
            BUNDLE => {
                let (offset, len) = (r.u32()?, r.u32()?);
                Self::Bundle { object: ObjectRef::decode(r)?, offset, len }
            }
            CHUNKS => {
                let depth = r.u8()?;
                Self::Chunks { list: ObjectRef::decode(r)?, depth }
            }
            _ => return Err(r.invalid("content form")),
        })
    }

    /// What is wrong with this as the content of a file of `size` bytes. A file without bytes
    /// has one form, [`Content::Empty`].
    fn flaw(&self, size: u64) -> Option<&'static str> {
        let fits = match self {
            Self::Empty => size == 0,
            Self::Inline(bytes) => bytes.len() <= MAX_INLINE && bytes.len() as u64 == size,
            Self::Bundle { object, offset, len } => {
                u64::from(*len) == size
                    && u64::from(*offset) + u64::from(*len) <= u64::from(object.plain_len)
            }
            Self::Chunks { depth, .. } => *depth <= MAX_DEPTH && size <= MAX_FILE,
        };
        let is_canonical = size > 0 || matches!(self, Self::Empty);
        (!fits || !is_canonical).then_some("content for the file's size")
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;

    fn object(fill: u8, plain_len: u32) -> ObjectRef {
        let mut bytes = [fill; 68];
        bytes[64..].copy_from_slice(&plain_len.to_le_bytes());
        ObjectRef::decode(&mut Reader::new(&bytes)).expect("any 68 bytes are a reference")
    }

    fn encode(entry: &Entry) -> Vec<u8> {
        let mut w = Writer::new();
        entry.encode(&mut w).expect("the entry is valid");
        w.into_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Entry, WireError> {
        let mut r = Reader::new(bytes);
        let entry = Entry::decode(&mut r)?;
        r.finish()?;
        Ok(entry)
    }

    fn named(name: &[u8], kind: EntryKind) -> Entry {
        Entry { name: name.to_vec(), meta: Meta::default(), kind }
    }

    fn with_xattrs(xattrs: &[(&[u8], usize)]) -> Meta {
        let xattrs = xattrs
            .iter()
            .map(|(name, len)| Xattr { name: name.to_vec(), value: vec![7; *len] })
            .collect();
        Meta { xattrs, ..Meta::default() }
    }

    fn component() -> impl Strategy<Value = Vec<u8>> {
        vec(any::<u8>(), 1..=MAX_NAME).prop_map(|mut name| {
            for b in &mut name {
                if matches!(b, 0 | b'/') {
                    *b = b'_';
                }
            }
            if is_component(&name) { name } else { b"dots".to_vec() }
        })
    }

    fn meta() -> impl Strategy<Value = Meta> {
        let xattrs = btree_map("[a-z.]{1,255}", vec(any::<u8>(), 0..40), 0..5);
        let scalars =
            (0..=0o7777u32, any::<u32>(), any::<u32>(), any::<i64>(), 0..1_000_000_000u32);
        (scalars, xattrs).prop_map(|((mode, uid, gid, mtime_sec, mtime_nsec), xattrs)| Meta {
            mode,
            uid,
            gid,
            mtime_sec,
            mtime_nsec,
            xattrs: xattrs
                .into_iter()
                .map(|(name, value)| Xattr { name: name.into_bytes(), value })
                .collect(),
        })
    }

    fn file() -> impl Strategy<Value = EntryKind> {
        prop_oneof![
            Just(EntryKind::File { size: 0, content: Content::Empty }),
            vec(any::<u8>(), 1..=MAX_INLINE).prop_map(|bytes| EntryKind::File {
                size: bytes.len() as u64,
                content: Content::Inline(bytes),
            }),
            (any::<u8>(), 1..=1u32 << 20, 0..=1u32 << 20).prop_map(|(fill, len, offset)| {
                let content = Content::Bundle { object: object(fill, offset + len), offset, len };
                EntryKind::File { size: u64::from(len), content }
            }),
            (any::<u8>(), 1..=MAX_FILE, 0..=MAX_DEPTH).prop_map(|(fill, size, depth)| {
                let content = Content::Chunks { list: object(fill, 1), depth };
                EntryKind::File { size, content }
            }),
        ]
    }

    fn kind() -> impl Strategy<Value = EntryKind> {
        let target = vec(1..=255u8, 1..=MAX_SYMLINK);
        prop_oneof![
            file(),
            (any::<u8>(), 0..=MAX_DEPTH).prop_map(|(fill, depth)| EntryKind::Directory {
                listing: List { root: object(fill, 9), depth }
            }),
            target.prop_map(|target| EntryKind::Symlink { target }),
            Just(EntryKind::Fifo),
            any::<(u32, u32)>().prop_map(|(major, minor)| EntryKind::CharDevice { major, minor }),
            any::<(u32, u32)>().prop_map(|(major, minor)| EntryKind::BlockDevice { major, minor }),
            vec(component(), 1..9).prop_map(|target| EntryKind::HardLink { target }),
        ]
    }

    fn entry() -> impl Strategy<Value = Entry> {
        (component(), meta(), kind()).prop_map(|(name, meta, kind)| Entry { name, meta, kind })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn every_entry_round_trips(entry in entry()) {
            prop_assert_eq!(decode(&encode(&entry)), Ok(entry));
        }

        #[test]
        fn a_mutated_entry_is_refused_or_canonical(
            entry in entry(), at: prop::sample::Index, flip in 1..=255u8, cut: prop::sample::Index,
        ) {
            let mut bytes = encode(&entry);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            if let Ok(other) = decode(&bytes) {
                prop_assert_ne!(&other, &entry);
                prop_assert_eq!(encode(&other), bytes);
            }
            let whole = encode(&entry);
            prop_assert!(decode(&whole[..cut.index(whole.len())]).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
            if let Ok(entry) = decode(&bytes) {
                prop_assert_eq!(encode(&entry), bytes);
            }
        }
    }

    #[test]
    fn golden_vector() {
        let entry = Entry {
            name: b"caf\xe9".to_vec(),
            meta: Meta {
                mode: 0o4755,
                uid: 1_000,
                gid: 100,
                mtime_sec: -2,
                mtime_nsec: 999_999_999,
                xattrs: vec![Xattr { name: b"user.a".to_vec(), value: vec![0, 1] }],
            },
            kind: EntryKind::File {
                size: 3,
                content: Content::Bundle { object: object(0xaa, 10), offset: 7, len: 3 },
            },
        };
        let expected = [
            "04000000636166e9",
            "ed09e803000064000000feffffffffffffffffc99a3b",
            "0100000006000000757365722e61020000000001",
            "01030000000000000002",
            "0700000003000000",
            &"aa".repeat(64),
            "0a000000",
        ]
        .concat();
        assert_eq!(hex::encode(encode(&entry)), expected);
    }

    #[test]
    fn golden_tags() {
        let tail = |kind: EntryKind| hex::encode(&encode(&named(b"x", kind))[31..]);
        let (major, minor) = (8, 1);
        assert_eq!(
            tail(EntryKind::File { size: 0, content: Content::Empty }),
            "01000000000000000000"
        );
        let content = Content::Inline(b"z".to_vec());
        assert_eq!(tail(EntryKind::File { size: 1, content }), "01010000000000000001010000007a");
        let listing = List { root: object(0xbb, 2), depth: 1 };
        assert_eq!(
            tail(EntryKind::Directory { listing }),
            format!("0201{}02000000", "bb".repeat(64))
        );
        assert_eq!(tail(EntryKind::Symlink { target: b"/t".to_vec() }), "03020000002f74");
        assert_eq!(tail(EntryKind::Fifo), "04");
        assert_eq!(tail(EntryKind::CharDevice { major, minor }), "050800000001000000");
        assert_eq!(tail(EntryKind::BlockDevice { major, minor }), "060800000001000000");
        let target = vec![b"a".to_vec(), b"b".to_vec()];
        assert_eq!(tail(EntryKind::HardLink { target }), "070200000001000000610100000062");
        let content = Content::Chunks { list: object(0xcc, 2), depth: 0 };
        let chunks = format!("0102000000000000000300{}02000000", "cc".repeat(64));
        assert_eq!(tail(EntryKind::File { size: 2, content }), chunks);
    }

    /// Encodes without asking whether the entry is valid, as an attacker would.
    fn forge(entry: &Entry) -> Vec<u8> {
        let mut w = Writer::new();
        w.bytes(&entry.name);
        entry.meta.write(&mut w);
        entry.kind.write(&mut w);
        w.into_vec()
    }

    fn assert_refused(entry: &Entry, why: &str) {
        assert!(entry.encode(&mut Writer::new()).is_err(), "written: {why}");
        assert!(decode(&forge(entry)).is_err(), "read: {why}");
    }

    #[test]
    fn names_that_leave_their_directory_are_refused() {
        let long = [b'n'; MAX_NAME + 1];
        assert_eq!(
            decode(&forge(&named(&long[1..], EntryKind::Fifo))).map(|e| e.name.len()),
            Ok(255)
        );
        for name in [&b""[..], b".", b"..", b"a/b", b"/", b"a\0b", &long] {
            assert_refused(&named(name, EntryKind::Fifo), "name");
            let target = vec![b"ok".to_vec(), name.to_vec()];
            assert_refused(&named(b"x", EntryKind::HardLink { target }), "hard link");
        }
        assert!(is_component(b"...") && is_component(b".a") && is_component(b"\xff\n"));
    }

    #[test]
    fn metadata_outside_its_range_is_refused() {
        let metas = [
            (Meta { mode: 0o10_000, ..Meta::default() }, "mode"),
            (Meta { mtime_nsec: 1_000_000_000, ..Meta::default() }, "nanoseconds"),
            (with_xattrs(&[(b"user.b", 1), (b"user.a", 1)]), "xattr order"),
            (with_xattrs(&[(b"user.a", 1), (b"user.a", 1)]), "xattr twice"),
            (with_xattrs(&[(b"", 1)]), "xattr without a name"),
            (with_xattrs(&[(b"a\0", 1)]), "NUL in an xattr name"),
            (with_xattrs(&[(&[b'a'; 256], 1)]), "long xattr name"),
            (with_xattrs(&[(b"a", MAX_XATTR_VALUE + 1)]), "xattr value"),
            (with_xattrs(&[(b"a", MAX_XATTR_VALUE), (b"b", MAX_XATTR_VALUE - 1)]), "xattr total"),
        ];
        for (meta, why) in metas {
            assert!(meta.encode(&mut Writer::new()).is_err(), "{why}");
            assert_refused(&Entry { meta, ..named(b"x", EntryKind::Fifo) }, why);
        }
        let full = with_xattrs(&[(b"a", MAX_XATTR_VALUE), (b"b", MAX_XATTR_VALUE - 2)]);
        let entry = Entry { meta: full, ..named(b"x", EntryKind::Fifo) };
        assert_eq!(decode(&encode(&entry)), Ok(entry), "the limit itself is allowed");
    }

    #[test]
    fn kinds_outside_their_limits_are_refused() {
        let list = || object(1, 10);
        let bundle = |offset, len| Content::Bundle { object: list(), offset, len };
        let file = |size, content| EntryKind::File { size, content };
        let far = vec![b"c".to_vec(); MAX_LINK_COMPONENTS + 1];
        let kinds = [
            (file(1, Content::Empty), "empty with a size"),
            (file(0, Content::Inline(vec![])), "inline without bytes"),
            (file(2, Content::Inline(vec![1])), "inline shorter than the file"),
            (file(513, Content::Inline(vec![1; 513])), "inline above the limit"),
            (file(0, bundle(0, 0)), "bundle without bytes"),
            (file(4, bundle(0, 3)), "bundle shorter than the file"),
            (file(3, bundle(8, 3)), "bundle past its object"),
            (file(0, Content::Chunks { list: list(), depth: 0 }), "chunks without bytes"),
            (file(1, Content::Chunks { list: list(), depth: MAX_DEPTH + 1 }), "deep chunks"),
            (file(MAX_FILE + 1, Content::Chunks { list: list(), depth: 0 }), "file above off_t"),
            (EntryKind::Directory { listing: List { root: list(), depth: MAX_DEPTH + 1 } }, "deep"),
            (EntryKind::Symlink { target: vec![] }, "empty target"),
            (EntryKind::Symlink { target: vec![b'a'; MAX_SYMLINK + 1] }, "long target"),
            (EntryKind::Symlink { target: b"a\0".to_vec() }, "NUL in a target"),
            (EntryKind::HardLink { target: vec![] }, "link to the root"),
            (EntryKind::HardLink { target: far }, "far link"),
        ];
        for (kind, why) in kinds {
            assert_refused(&named(b"x", kind), why);
        }
    }

    #[test]
    fn unknown_tags_are_refused() {
        let mut bytes = encode(&named(b"x", EntryKind::Fifo));
        for tag in [0, 8, 255] {
            *bytes.last_mut().expect("the tag is last") = tag;
            assert!(matches!(decode(&bytes), Err(WireError::Invalid { what: "entry kind", .. })));
        }
        let mut bytes = encode(&named(b"x", EntryKind::File { size: 0, content: Content::Empty }));
        *bytes.last_mut().expect("the form is last") = 4;
        assert!(matches!(decode(&bytes), Err(WireError::Invalid { what: "content form", .. })));
    }
}
