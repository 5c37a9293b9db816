//! What a snapshot reads: file trees, with everything Linux keeps about them, and whatever else
//! can be told as directories of named things ([`Source`]).
//!
//! A source lists; it does not open. The writer of a snapshot asks for content only where it has
//! no fresh reference from the time before, so an unchanged tree costs one look at each name.
//! The rejected alternative, handing out open files, opens every file of an unchanged tree.
//!
//! In a file tree everything goes through directory descriptors and single names: no path is
//! ever handed to the kernel as a whole, so no depth is too deep (`PATH_MAX` does not apply), no
//! symbolic link is followed, and renaming a directory under the walk cannot lead it elsewhere.
//! The rejected alternative, full paths, fails on all three counts.
//!
//! Nothing found in a tree is fatal: what cannot be kept whole is a [`Problem`], named and
//! collected, and the walk goes on. A snapshot with problems says so.
//!
//! Reading leaves no traces where the kernel allows it (`O_NOATIME`), never blocks on a pipe and
//! never opens a device. A walk holds at most 64 directories open, however deep the tree, and
//! those whose leaves are still being read.

mod block;
mod bucket_tree;
mod file;
pub mod filter;
mod handle;
mod inspect;
mod links;
pub mod listing;
mod passing;
mod stamp;
mod stream;
pub(crate) mod trail;
mod tree;

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

pub use bucket_tree::{
    Bucket, BucketTree, Found as FoundObject, Object as BucketObject, Page as BucketPage,
};
pub use file::{Extent, FileReader};
pub(crate) use handle::Handle;
pub use inspect::{DirHandle, Inspected, Node, What};
pub use links::LinkTable;
pub use stamp::Stamp;
pub use stream::{NotAPath, Stream};
pub use tree::{FileTree, SourceError};

use self::filter::Excluded;
use crate::entry::Meta;

/// Something that can be walked as a tree of directories. It is walked on a thread of its own.
pub trait Source: Send {
    /// The next step of the walk; `None` at its end.
    fn next(&mut self) -> Option<Step>;

    /// What was met so far that a snapshot will not hold whole, in the order of the walk.
    fn take_problems(&mut self) -> Vec<Problem>;

    /// What was passed over so far because somebody asked for that.
    fn excluded(&self) -> Excluded {
        Excluded::default()
    }
}

/// One step of a walk. The root is entered first, with an empty name, and left last. The names of
/// a directory come in byte order, a directory's whole subtree in place of its name.
#[derive(Debug)]
pub enum Step {
    /// A directory; what follows is in it until its [`Step::Leave`].
    Enter {
        /// Its name; empty for the root.
        name: Vec<u8>,
        /// Its metadata.
        meta: Meta,
    },
    /// The next names of the directory stood in that are no directories.
    Leaves {
        /// Opens them.
        dir: Arc<dyn Directory>,
        /// At least one.
        leaves: Vec<Leaf>,
    },
    /// The end of the directory entered last and not left yet.
    Leave,
}

/// A name that stands for anything else than a directory, as it was listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// One path component.
    pub name: Vec<u8>,
    /// Which object it is and when it changed.
    pub stamp: Stamp,
}

/// Opens what a walk has listed.
pub trait Directory: fmt::Debug + Send + Sync {
    /// Opens a leaf of this directory, or says why it cannot be held. What is opened may be
    /// another object by now: its own stamp counts.
    fn open(&self, leaf: &Leaf) -> Result<Opened, Reason>;
}

/// A leaf about to be read.
pub struct Opened {
    /// Owner, mode, time and extended attributes.
    pub meta: Meta,
    /// What of `meta` could not be read.
    pub flaws: Vec<Reason>,
    /// Which object it is.
    pub stamp: Stamp,
    /// Its kind and content.
    pub node: Node<Box<dyn Content>>,
}

/// The bytes of a file, read front to back once.
pub trait Content: Send {
    /// Length in bytes; `None` for a stream, which ends where a read comes up short.
    fn size(&self) -> Option<u64>;

    /// The first span of data at or after `offset`; `None` if nothing or only a hole is left.
    /// Of a stream's length only the start is to be believed.
    fn data_after(&mut self, offset: u64) -> io::Result<Option<Extent>>;

    /// Fills `buf` from `offset`, less only at the end; returns how many bytes. Offsets ascend.
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;

    /// After the last read: whether what was read may be a mixture of old and new.
    fn changed(&mut self) -> io::Result<bool>;
}

/// Something in a tree that a snapshot does not hold whole.
#[derive(Debug)]
pub struct Problem {
    /// Absolute path, in the bytes the kernel gave.
    pub path: Vec<u8>,
    /// What is the matter.
    pub reason: Reason,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Quoted(&self.path), self.reason)
    }
}

/// Why something is not held whole, and what is held instead.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// A socket: meaningless without its process, so left out.
    #[error("a socket, left out")]
    Socket,
    /// It, or all below it, could not be read and is left out.
    #[error("cannot be read, left out: {0}")]
    Unreadable(io::Error),
    /// It was listed and then gone; left out.
    #[error("vanished while the tree was read, left out")]
    Vanished,
    /// A path to back up that does not exist.
    #[error("does not exist; check the paths of this set")]
    Missing,
    /// A path to back up leads through something that is not a directory, such as a symbolic
    /// link; that thing itself is held.
    #[error("is not a directory, so nothing below it is held; name the real path in this set")]
    NotADirectory,
    /// It was written to between opening and closing; what is held may never have existed.
    #[error("changed while it was read, held as it was read")]
    ChangedWhileRead,
    /// More extended attributes than an entry holds; the first by name are held.
    #[error("has more extended attributes than can be kept, the last by name are left out")]
    TooManyXattrs,
    /// An extended attribute could not be read and is left out.
    #[error("extended attribute {} cannot be read, left out: {error}", Quoted(.name))]
    XattrUnreadable {
        /// The attribute; empty if even the list could not be read.
        name: Vec<u8>,
        /// Why.
        error: io::Error,
    },
    /// A name that is no single path component of at most 255 bytes; left out.
    #[error("a name no Linux file system can hold, left out")]
    BadName,
    /// The key of an object has a component `.` or `..`, which no client can ask for; left out.
    #[error("its key has `.` or `..` in it and cannot be asked for, left out")]
    DotsInKey,
    /// A component of a key that no file system can hold, or that is an object and a directory at
    /// once; held under another name, objects with their key beside them.
    #[error("held under this name: {} in its key is no name of a file here", Quoted(.0))]
    Renamed(Vec<u8>),
    /// The rest of a bucket is unknown, so nothing of it is held.
    #[error("the listing stopped, so the rest of the bucket is unknown: {0}")]
    ListingStopped(io::Error),
    /// Patterns in an ignore file that is too long or cannot be read pass nothing over.
    #[error("an ignore file that is not honoured: {0}")]
    NotHonoured(io::Error),
    /// Too deep for other names to be recorded as hard links to it; they are held as copies.
    #[error("too deep to be recorded as a hard link, its other names are held as copies")]
    LinkTooDeep,
}

impl Reason {
    /// What an error says about a thing that was just listed.
    pub(crate) fn of(error: rustix::io::Errno) -> Self {
        if error == rustix::io::Errno::NOENT {
            Self::Vanished
        } else {
            Self::Unreadable(error.into())
        }
    }
}

/// Shows bytes of a path in quotes: readable where they are UTF-8, escaped where they are not or
/// would steer a terminal.
pub(crate) struct Quoted<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(OsStr::from_bytes(self.0), f)
    }
}
