//! What the outside world is to the rooms: a clock, randomness and a disk, all passed in.
//!
//! Real implementations live in `seawall-host`; `seawall-sim` has ones that lose power, fill up
//! and jump in time. A second implementation exists for each, which is why each is a trait.

use std::io;

use crate::{Seconds, Timestamp};

/// Tells what time the machine believes it is.
pub trait Clock: Send + Sync {
    /// Now, UTC.
    fn now(&self) -> Timestamp;
}

/// Time that passes, whatever the wall clock is set to.
pub trait Steady: Send + Sync {
    /// Since a moment of its own, the same for as long as the process lives. Never runs backwards
    /// and cannot be set; goes on while the machine sleeps.
    fn elapsed(&self) -> Seconds;
}

/// Cryptographically secure random bytes.
pub trait Rng: Send {
    /// Fills `out` with fresh random bytes.
    fn fill(&mut self, out: &mut [u8]);

    /// A fresh random array.
    fn array<const N: usize>(&mut self) -> [u8; N]
    where
        Self: Sized,
    {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }
}

impl<R: Rng + ?Sized> Rng for &mut R {
    fn fill(&mut self, out: &mut [u8]) {
        (**self).fill(out);
    }
}

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Read only; the file must exist.
    Read,
    /// Read and write; the file must exist.
    Write,
    /// Read and write; created empty (mode 0600) if it does not exist.
    Create,
}

/// How a file is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Together with other shared locks.
    Shared,
    /// Alone.
    Exclusive,
}

/// A directory on a disk. Paths are relative, `/`-separated, and never contain `..`.
///
/// What survives a power cut: file bytes after [`DiskFile::sync`]; names (create, rename,
/// remove) after [`Disk::sync_dir`] of their directory. Anything else may be lost, torn at any
/// byte, or kept: callers must be correct in each case.
pub trait Disk: Send + Sync {
    /// Opens a file. [`io::ErrorKind::NotFound`] where it must exist and does not.
    fn open(&self, path: &str, mode: OpenMode) -> io::Result<Box<dyn DiskFile>>;

    /// The names (not paths) in a directory, sorted. A directory that does not exist is empty.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;

    /// Creates a directory and its parents; existing ones are left alone.
    fn create_dir_all(&self, dir: &str) -> io::Result<()>;

    /// Atomically renames a file, replacing the target.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;
}

/// An open file with positional access; several threads may read at once.
pub trait DiskFile: Send + Sync {
    /// The file's length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads up to `buf.len()` bytes at `offset`; returns how many (0 at the end).
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`, extending the file as needed.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Writes `parts` one behind the other at `offset`, which saves putting them together first. Where it
    /// fails, any part of them may have been written.
    fn write_parts_at(&self, mut offset: u64, parts: &[&[u8]]) -> io::Result<()> {
        for part in parts {
            self.write_at(offset, part)?;
            offset += part.len() as u64;
        }
        Ok(())
    }

    /// Cuts or extends the file (with zeros) to `len` bytes.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes all bytes written so far durable.
    fn sync(&self) -> io::Result<()>;

    /// Begins to make durable what was written so far, without waiting: a hint that shortens the next
    /// sync, which also reports what went wrong. It promises nothing.
    fn sync_early(&self) {}

    /// Locks the file for this handle against every other handle, of this process or another. With
    /// `wait`, waits until it can; otherwise `false` says that another handle is in the way. A handle
    /// that has a lock changes its mode, not always at once.
    ///
    /// Ends with the handle: when it is dropped, when the process dies, when the power fails. It
    /// hinders nobody who does not ask for it.
    fn lock(&self, mode: LockMode, wait: bool) -> io::Result<bool>;

    /// Reads exactly `buf.len()` bytes at `offset`, or [`io::ErrorKind::UnexpectedEof`].
    fn read_exact_at(&self, mut offset: u64, mut buf: &mut [u8]) -> io::Result<()> {
        while !buf.is_empty() {
            match self.read_at(offset, buf)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => {
                    offset += n as u64;
                    buf = &mut buf[n..];
                }
            }
        }
        Ok(())
    }
}

/// Reads a whole file of at most `limit` bytes; `None` if it does not exist.
///
/// A longer file is [`io::ErrorKind::FileTooLarge`]: no file of ours is unbounded.
pub fn read_file(disk: &dyn Disk, path: &str, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(path, OpenMode::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let len = file.len()?;
    if len > limit as u64 {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("{path} has {len} bytes, above the limit of {limit}"),
        ));
    }
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(0, &mut bytes)?;
    Ok(Some(bytes))
}

/// Replaces a file so that after a power cut it holds the old bytes or the new, never a mixture.
///
/// Order: write a temporary sibling, sync it, rename over the target, sync the directory.
pub fn write_atomic(disk: &dyn Disk, path: &str, bytes: &[u8]) -> io::Result<()> {
    let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
    let temporary = format!("{path}.tmp");
    let file = disk.open(&temporary, OpenMode::Create)?;
    file.set_len(0)?;
    file.write_at(0, bytes)?;
    file.sync()?;
    drop(file);
    disk.rename(&temporary, path)?;
    disk.sync_dir(dir)
}
