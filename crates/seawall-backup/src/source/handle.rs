//! Extended attributes through a descriptor of either sort.
//!
//! The kernel refuses attribute calls on `O_PATH` descriptors, the only sort there is for
//! symbolic links and for special files that must not be opened. Their `/proc/self/fd` name
//! leads to exactly the object held, without resolving anything, and is accepted.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::buffer::spare_capacity;
use rustix::fs::{self, XattrFlags};
use rustix::io::{Errno, Result};

/// An object on a file system that will not change identity while it is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Handle<'a> {
    /// Opened for reading or writing.
    Open(BorrowedFd<'a>),
    /// Opened with `O_PATH`.
    Path(BorrowedFd<'a>),
}

impl<'a> Handle<'a> {
    /// The descriptor.
    pub(crate) fn fd(self) -> BorrowedFd<'a> {
        match self {
            Self::Open(fd) | Self::Path(fd) => fd,
        }
    }

    /// The name in `/proc` that leads to the object itself.
    pub(crate) fn proc_name(self) -> String {
        format!("/proc/self/fd/{}", self.fd().as_raw_fd())
    }

    /// Names of all attributes, sorted. None on a file system without attributes.
    pub(crate) fn xattr_names(self) -> Result<Vec<Vec<u8>>> {
        let list = grow(|buffer| match self {
            Self::Open(fd) => fs::flistxattr(fd, spare_capacity(buffer)),
            Self::Path(_) => fs::listxattr(self.proc_name(), spare_capacity(buffer)),
        });
        let list = match list {
            Err(Errno::NOTSUP) => return Ok(Vec::new()),
            other => other?,
        };
        let names = list.split(|&b| b == 0).filter(|name| !name.is_empty());
        let mut names: Vec<_> = names.map(<[u8]>::to_vec).collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// The value of one attribute.
    pub(crate) fn xattr(self, name: &[u8]) -> Result<Vec<u8>> {
        grow(|buffer| match self {
            Self::Open(fd) => fs::fgetxattr(fd, name, spare_capacity(buffer)),
            Self::Path(_) => fs::getxattr(self.proc_name(), name, spare_capacity(buffer)),
        })
    }

    /// Sets one attribute, replacing its value.
    pub(crate) fn set_xattr(self, name: &[u8], value: &[u8]) -> Result<()> {
        match self {
            Self::Open(fd) => fs::fsetxattr(fd, name, value, XattrFlags::empty()),
            Self::Path(_) => fs::setxattr(self.proc_name(), name, value, XattrFlags::empty()),
        }
    }

    /// Removes one attribute.
    pub(crate) fn remove_xattr(self, name: &[u8]) -> Result<()> {
        match self {
            Self::Open(fd) => fs::fremovexattr(fd, name),
            Self::Path(_) => fs::removexattr(self.proc_name(), name),
        }
    }
}

/// Largest answer the kernel gives: `XATTR_SIZE_MAX` and `XATTR_LIST_MAX`.
const LARGEST: usize = 64 << 10;

/// Asks with a small buffer, then with the largest the kernel fills.
fn grow(mut ask: impl FnMut(&mut Vec<u8>) -> Result<usize>) -> Result<Vec<u8>> {
    let mut buffer = Vec::with_capacity(256);
    match ask(&mut buffer) {
        Err(Errno::RANGE) => {
            buffer = Vec::with_capacity(LARGEST);
            ask(&mut buffer)?;
        }
        other => {
            other?;
        }
    }
    Ok(buffer)
}
