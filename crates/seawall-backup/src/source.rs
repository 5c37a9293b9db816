//! Reading file trees, with everything Linux keeps about them.
//!
//! Everything goes through directory descriptors and single names: no path is ever handed to the
//! kernel as a whole, so no depth is too deep (`PATH_MAX` does not apply), no symbolic link is
//! followed, and renaming a directory under the walk cannot lead it elsewhere. The rejected
//! alternative, full paths, fails on all three counts.
//!
//! Nothing found in a tree is fatal: what cannot be kept whole is a [`Problem`], named and
//! collected, and the walk goes on. A snapshot with problems says so.
//!
//! Reading leaves no traces where the kernel allows it (`O_NOATIME`), never blocks on a pipe and
//! never opens a device. A walk holds at most 64 directories open, however deep the tree.

mod file;
mod handle;
mod inspect;
mod links;
pub(crate) mod trail;
mod walk;

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;

pub use file::{Extent, FileReader};
pub(crate) use handle::Handle;
pub use inspect::{DirHandle, Inode, Inspected, Leaf, What};
pub use links::LinkTable;
pub use walk::{Event, Source, SourceError};

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
