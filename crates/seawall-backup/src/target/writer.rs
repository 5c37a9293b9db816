//! Writing the content of one file, in any order and from any thread.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;

use super::{TargetError, io_error};

/// A file being restored. Spans never written stay holes; zeros written are stored as zeros.
#[derive(Debug)]
pub struct FileWriter {
    fd: OwnedFd,
    path: Vec<u8>,
    size: u64,
    /// Behind the last byte written so far.
    end: AtomicU64,
}

impl FileWriter {
    pub(super) const fn new(fd: OwnedFd, path: Vec<u8>, size: u64) -> Self {
        Self { fd, path, size, end: AtomicU64::new(0) }
    }

    /// Path from the target directory.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// Writes all of `bytes` at `offset`. Refused beyond the size the file is to have.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), TargetError> {
        if offset.checked_add(bytes.len() as u64).is_none_or(|end| end > self.size) {
            return Err(TargetError::BeyondEnd { path: self.path.clone() });
        }
        let mut done = 0;
        while done < bytes.len() {
            match rustix::io::pwrite(&self.fd, &bytes[done..], offset + done as u64) {
                Ok(0) => return Err(self.failed(Errno::IO)),
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(e) => return Err(self.failed(e)),
            }
        }
        self.end.fetch_max(offset + done as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Turns an unwritten end into a hole. A file whose last byte was written has its length: setting
    /// it again would take a sixth of the time that restoring small files takes.
    pub(super) fn complete(&self) -> Result<(), TargetError> {
        if self.end.load(Ordering::Relaxed) == self.size {
            return Ok(());
        }
        rustix::fs::ftruncate(&self.fd, self.size).map_err(|e| self.failed(e))
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn failed(&self, error: Errno) -> TargetError {
        io_error(&self.path, "write", error.into())
    }
}
