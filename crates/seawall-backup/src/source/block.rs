//! Block devices as files: the bytes of a disk, a partition or a logical volume.
//!
//! Only a device that was given by its path, and only when asked for: a device met on a walk is a
//! node, for reading it could take its disk along. Its length is where its end is. Nothing tells
//! whether it changed meanwhile, so it is read whole each time, and its user freezes it, or
//! gives a snapshot of the volume.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{FileType, SeekFrom};
use rustix::io::Errno;

use super::{Content, DirHandle, Directory, Extent, Leaf, Node, Opened, Reason, Stamp};

/// Makes the block devices in `leaves` files, to be opened by what is returned.
pub(super) fn as_files(dir: Arc<DirHandle>, leaves: &mut [Leaf]) -> Arc<dyn Directory> {
    for leaf in leaves.iter_mut().filter(|leaf| leaf.stamp.kind() == FileType::BlockDevice) {
        let mode = FileType::RegularFile.as_raw_mode() | leaf.stamp.mode & 0o7777;
        // A change time after every run: what was read once is never taken over.
        leaf.stamp = Stamp { mode, nlink: 1, size: 0, ctime: (i64::MAX, 0), ..leaf.stamp };
    }
    Arc::new(Devices { dir })
}

#[derive(Debug)]
struct Devices {
    dir: Arc<DirHandle>,
}

impl Directory for Devices {
    fn open(&self, leaf: &Leaf) -> Result<Opened, Reason> {
        let opened = self.dir.open(leaf)?;
        if !matches!(opened.node, Node::BlockDevice { .. }) {
            return Ok(opened);
        }
        let fd = self.dir.open_device(&leaf.name, &opened.stamp).map_err(Reason::of)?;
        let size = rustix::fs::seek(&fd, SeekFrom::End(0)).map_err(Reason::of)?;
        let node = Node::File(Box::new(Device { fd, size }) as Box<dyn Content>);
        Ok(Opened { node, stamp: leaf.stamp, ..opened })
    }
}

struct Device {
    fd: OwnedFd,
    size: u64,
}

impl Content for Device {
    fn size(&self) -> Option<u64> {
        Some(self.size)
    }

    fn data_after(&mut self, offset: u64) -> io::Result<Option<Extent>> {
        Ok((offset < self.size).then(|| Extent { offset, len: self.size - offset }))
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
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

    fn changed(&mut self) -> io::Result<bool> {
        Ok(rustix::fs::seek(&self.fd, SeekFrom::End(0))? != self.size)
    }
}
