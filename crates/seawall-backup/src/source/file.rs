//! Reading one regular file: where its data is, its bytes, and whether it held still.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{SeekFrom, Stat};
use rustix::io::Errno;

use super::{Content, Stamp};

/// A span of a file that holds data; what lies between spans is holes, which read as zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First byte.
    pub offset: u64,
    /// Bytes, at least one.
    pub len: u64,
}

/// An open regular file, read as the size it had when opened.
#[derive(Debug)]
pub struct FileReader {
    fd: OwnedFd,
    opened: Stamp,
    is_dense: bool,
}

/// Files up to this length are taken to have no holes if they have as many blocks as that takes. They
/// may have one all the same, as blocks of metadata are counted too; its zeros are then stored.
const SHORT: u64 = 128 << 10;

impl FileReader {
    /// `stat` is that of `fd`.
    pub(super) fn new(fd: OwnedFd, stat: &Stat) -> Self {
        let opened = Stamp::of(stat);
        // Blocks are of 512 bytes, whatever the file system's own are.
        let allocated = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
        Self { fd, opened, is_dense: opened.size <= SHORT && allocated >= opened.size }
    }

    pub(super) const fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Length in bytes when the file was opened.
    pub const fn size(&self) -> u64 {
        self.opened.size
    }

    /// The first span of data at or after `offset`; `None` if only a hole is left.
    ///
    /// On file systems that do not tell holes, all the rest is one span.
    pub fn data_after(&self, offset: u64) -> io::Result<Option<Extent>> {
        let size = self.size();
        if offset >= size {
            return Ok(None);
        }
        if self.is_dense {
            return Ok(Some(Extent { offset, len: size - offset }));
        }
        let start = match rustix::fs::seek(&self.fd, SeekFrom::Data(offset)) {
            Ok(start) if start >= size => return Ok(None),
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(None),
            Err(Errno::INVAL | Errno::NOTSUP | Errno::SPIPE) => {
                return Ok(Some(Extent { offset, len: size - offset }));
            }
            Err(e) => return Err(e.into()),
        };
        // A file cut short between the two questions has no hole after `start`: its bytes are
        // asked for all the same, come up short, and the change is noticed.
        let end = match rustix::fs::seek(&self.fd, SeekFrom::Hole(start)) {
            Ok(end) if end > start => end.min(size),
            Ok(_) | Err(Errno::NXIO) => size,
            Err(e) => return Err(e.into()),
        };
        Ok(Some(Extent { offset: start, len: end - start }))
    }

    /// All spans of data in order. One question to the kernel each, so a file of many holes costs
    /// no memory.
    pub fn extents(&self) -> impl Iterator<Item = io::Result<Extent>> + '_ {
        let mut at = 0;
        let mut failed = false;
        std::iter::from_fn(move || {
            if failed {
                return None;
            }
            let next = self.data_after(at);
            match &next {
                Ok(Some(extent)) => at = extent.offset + extent.len,
                Ok(None) => {}
                Err(_) => failed = true,
            }
            next.transpose()
        })
    }

    /// Fills `buf` from `offset`, less only at the end of the file; returns how many bytes.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match rustix::io::pread(&self.fd, &mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(done)
    }

    /// Up to `max` bytes from its start.
    pub(super) fn start(&self, max: usize) -> rustix::io::Result<Vec<u8>> {
        let mut out = vec![0; max.min(usize::try_from(self.size()).unwrap_or(max))];
        let mut done = 0;
        while done < out.len() {
            match rustix::io::pread(&self.fd, &mut out[done..], done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(e) => return Err(e),
            }
        }
        out.truncate(done);
        Ok(out)
    }

    /// Whether size, modification time or change time differ from when the file was opened. Asked
    /// after the last read, it says whether the bytes read may be a mixture.
    pub fn changed_since_open(&self) -> io::Result<bool> {
        let now = Stamp::of(&rustix::fs::fstat(&self.fd)?);
        let content = |stamp: &Stamp| (stamp.size, stamp.mtime, stamp.ctime);
        Ok(content(&now) != content(&self.opened))
    }
}

impl Content for FileReader {
    fn size(&self) -> Option<u64> {
        Some(self.opened.size)
    }

    fn data_after(&mut self, offset: u64) -> io::Result<Option<Extent>> {
        Self::data_after(self, offset)
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        Self::read_at(self, offset, buf)
    }

    fn changed(&mut self) -> io::Result<bool> {
        self.changed_since_open()
    }
}
