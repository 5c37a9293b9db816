//! Answers to the kernel's requests.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyXattr, Request,
};
use seawall_backup::browse::{Listing, Names, OpenFile, View, ViewError};
use seawall_backup::entry::{Entry, EntryKind, Meta};

use super::inodes::{Inodes, child, number};

/// How long the kernel may remember an answer: a snapshot never changes.
const FOREVER: Duration = Duration::from_hours(24 * 365);
const BLOCK: u32 = 4_096;

/// A snapshot, and what the kernel has open of it.
pub(super) struct Shown {
    view: View,
    /// Names of what has several, by number.
    counts: HashMap<u64, u32>,
    inodes: Mutex<Inodes>,
    files: Mutex<HashMap<u64, Arc<OpenFile>>>,
    directories: Mutex<HashMap<u64, Arc<Mutex<Cursor>>>>,
    last_handle: AtomicU64,
}

/// Where a reader of a directory stands.
struct Cursor {
    listing: Listing,
    /// Entries before it, `.` and `..` included.
    position: u64,
    /// Read and not yet taken by the kernel.
    next: Option<Arc<Entry>>,
    /// A part could not be read: said at the end, when all else has been.
    is_partial: bool,
}

type Answer<T> = Result<T, Errno>;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shown {
    pub(super) fn new(view: View, names: &Names) -> Self {
        let counts = names.iter().map(|(path, count)| (number(path), *count)).collect();
        let inodes = Mutex::new(Inodes::new(view.top().clone()));
        Self {
            view,
            counts,
            inodes,
            files: Mutex::default(),
            directories: Mutex::default(),
            last_handle: AtomicU64::new(0),
        }
    }

    fn handle(&self) -> u64 {
        self.last_handle.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn entry(&self, number: INodeNo) -> Answer<Arc<Entry>> {
        locked(&self.inodes).get(number.0).ok_or(Errno::ESTALE)
    }

    /// Names what could not be read, and says so to the kernel in the one word it has for it.
    fn unreadable(&self, number: u64, name: &[u8], e: &ViewError) -> Errno {
        let path = locked(&self.inodes).path(number);
        let name = String::from_utf8_lossy(name);
        tracing::warn!(path, %name, "cannot be read: {e}");
        Errno::EIO
    }

    fn look_up(&self, parent: INodeNo, name: &OsStr) -> Answer<FileAttr> {
        let name = name.as_bytes();
        let here = self.entry(parent)?;
        let EntryKind::Directory { listing } = &here.kind else { return Err(Errno::ENOTDIR) };
        let failed = |e| self.unreadable(parent.0, name, &e);
        let entry = self.view.find(listing, name).map_err(failed)?.ok_or(Errno::ENOENT)?;
        let (ino, above, entry) = match &entry.kind {
            EntryKind::HardLink { target } => {
                let above = number(&target[..target.len() - 1]);
                (number(target), above, self.view.resolve(target).map_err(failed)?)
            }
            _ => (child(parent.0, name), parent.0, entry),
        };
        if locked(&self.inodes).hand_out(ino, above, &entry).is_err() {
            tracing::warn!(ino, "two paths have the same number; one of them is not shown");
            return Err(Errno::EIO);
        }
        Ok(self.attributes(ino, &entry))
    }

    fn attributes(&self, ino: u64, entry: &Entry) -> FileAttr {
        let (kind, size, rdev) = match &entry.kind {
            EntryKind::File { size, .. } => (FileType::RegularFile, *size, 0),
            EntryKind::Directory { .. } => (FileType::Directory, 0, 0),
            EntryKind::Symlink { target } => (FileType::Symlink, target.len() as u64, 0),
            EntryKind::Fifo => (FileType::NamedPipe, 0, 0),
            EntryKind::CharDevice { major, minor } => {
                (FileType::CharDevice, 0, device(*major, *minor))
            }
            EntryKind::BlockDevice { major, minor } => {
                (FileType::BlockDevice, 0, device(*major, *minor))
            }
            EntryKind::HardLink { .. } => unreachable!("further names are resolved"),
        };
        let mtime = time(&entry.meta);
        // Programs look for holes where there are fewer blocks than the size needs. How many
        // there are exactly would cost a page of every file that is listed.
        let may_have_holes = matches!(&entry.kind, EntryKind::File { content, .. }
            if matches!(content, seawall_backup::entry::Content::Chunks { .. }));
        let blocks = size.div_ceil(512).saturating_sub(may_have_holes.into());
        FileAttr {
            ino: INodeNo(ino),
            size,
            blocks,
            atime: mtime,
            mtime,
            ctime: mtime,
            crtime: mtime,
            kind,
            perm: entry.meta.mode as u16,
            nlink: self.counts.get(&ino).copied().unwrap_or(1),
            uid: entry.meta.uid,
            gid: entry.meta.gid,
            rdev,
            blksize: BLOCK,
            flags: 0,
        }
    }

    fn list(
        &self,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        reply: &mut ReplyDirectory,
    ) -> Answer<()> {
        let here = self.entry(ino)?;
        let EntryKind::Directory { listing } = &here.kind else { return Err(Errno::ENOTDIR) };
        let cursor = locked(&self.directories).get(&handle.0).cloned().ok_or(Errno::EBADF)?;
        let mut cursor = locked(&cursor);
        if offset < cursor.position {
            *cursor = Cursor::new(Listing::new(listing));
        }
        loop {
            let at = cursor.position;
            let (number, kind, name) = match at {
                0 => (ino.0, FileType::Directory, b".".to_vec()),
                1 => (locked(&self.inodes).parent(ino.0), FileType::Directory, b"..".to_vec()),
                _ => match self.next_entry(ino, &mut cursor)? {
                    Some(entry) => {
                        let (number, kind) = self.number_and_kind(ino.0, &entry);
                        (number, kind, entry.name.clone())
                    }
                    None => return Ok(()),
                },
            };
            if at >= offset && reply.add(INodeNo(number), at + 1, kind, OsStr::from_bytes(&name)) {
                return Ok(());
            }
            cursor.next = None;
            cursor.position += 1;
        }
    }

    fn next_entry(&self, ino: INodeNo, cursor: &mut Cursor) -> Answer<Option<Arc<Entry>>> {
        while cursor.next.is_none() {
            match cursor.listing.next(&self.view) {
                Some(Ok(entry)) => cursor.next = Some(entry),
                Some(Err(e)) => {
                    self.unreadable(ino.0, b"", &e);
                    cursor.is_partial = true;
                }
                None if cursor.is_partial => return Err(Errno::EIO),
                None => break,
            }
        }
        Ok(cursor.next.clone())
    }

    fn number_and_kind(&self, parent: u64, entry: &Entry) -> (u64, FileType) {
        match &entry.kind {
            EntryKind::HardLink { target } => {
                let first = self.view.resolve(target);
                let kind = first.map_or(FileType::RegularFile, |e| self.attributes(0, &e).kind);
                (number(target), kind)
            }
            _ => (child(parent, &entry.name), self.attributes(0, entry).kind),
        }
    }

    fn open_file(&self, ino: INodeNo) -> Answer<u64> {
        let file = OpenFile::new(&self.entry(ino)?).ok_or(Errno::EINVAL)?;
        let handle = self.handle();
        locked(&self.files).insert(handle, Arc::new(file));
        Ok(handle)
    }

    fn open_directory(&self, ino: INodeNo) -> Answer<u64> {
        let entry = self.entry(ino)?;
        let EntryKind::Directory { listing } = &entry.kind else { return Err(Errno::ENOTDIR) };
        let cursor = Arc::new(Mutex::new(Cursor::new(Listing::new(listing))));
        let handle = self.handle();
        locked(&self.directories).insert(handle, cursor);
        Ok(handle)
    }

    fn file(&self, handle: FileHandle) -> Answer<Arc<OpenFile>> {
        locked(&self.files).get(&handle.0).cloned().ok_or(Errno::EBADF)
    }

    fn seek(&self, ino: INodeNo, fh: FileHandle, offset: i64, whence: i32) -> Answer<i64> {
        const DATA: i32 = 3;
        const HOLE: i32 = 4;
        let file = self.file(fh)?;
        let from = u64::try_from(offset).map_err(|_| Errno::EINVAL)?;
        if from >= file.size() {
            return Err(Errno::ENXIO);
        }
        let found = match whence {
            DATA => self.view.next_data(&file, from),
            HOLE => self.view.next_hole(&file, from).map(Some),
            _ => return Err(Errno::EINVAL),
        };
        let found = found.map_err(|e| self.unreadable(ino.0, b"", &e))?.ok_or(Errno::ENXIO)?;
        i64::try_from(found).map_err(|_| Errno::EOVERFLOW)
    }
}

impl Cursor {
    const fn new(listing: Listing) -> Self {
        Self { listing, position: 0, next: None, is_partial: false }
    }
}

/// As the kernel takes device numbers from file systems: 12 bits of major, 20 of minor.
const fn device(major: u32, minor: u32) -> u32 {
    minor & 0xff | (major & 0xfff) << 8 | (minor & 0xf_ff00) << 12
}

fn time(meta: &Meta) -> SystemTime {
    let (epoch, nanos) = (SystemTime::UNIX_EPOCH, Duration::from_nanos(meta.mtime_nsec.into()));
    let seconds = Duration::from_secs(meta.mtime_sec.unsigned_abs());
    let whole =
        if meta.mtime_sec < 0 { epoch.checked_sub(seconds) } else { epoch.checked_add(seconds) };
    // What no clock can show is shown as the beginning of time.
    whole.and_then(|t| t.checked_add(nanos)).unwrap_or(epoch)
}

/// Hands over an attribute, or how long it is.
fn give(reply: ReplyXattr, size: u32, value: &[u8]) {
    if size == 0 {
        reply.size(value.len() as u32);
    } else if value.len() > size as usize {
        reply.error(Errno::ERANGE);
    } else {
        reply.data(value);
    }
}

impl Filesystem for Shown {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Without it the kernel would read a group's rights out of the mask of an ACL. Kernels
        // that lack it are older than 4.9.
        config.add_capabilities(InitFlags::FUSE_POSIX_ACL).map_err(|_| {
            io::Error::new(io::ErrorKind::Unsupported, "this kernel's FUSE checks no ACLs")
        })
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.look_up(parent, name) {
            Ok(attributes) => reply.entry(&FOREVER, &attributes, Generation(0)),
            Err(e) => reply.error(e),
        }
    }

    fn forget(&self, _: &Request, ino: INodeNo, count: u64) {
        locked(&self.inodes).forget(ino.0, count);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.entry(ino) {
            Ok(entry) => reply.attr(&FOREVER, &self.attributes(ino.0, &entry)),
            Err(e) => reply.error(e),
        }
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match self.entry(ino).as_deref() {
            Ok(Entry { kind: EntryKind::Symlink { target }, .. }) => reply.data(target),
            Ok(_) => reply.error(Errno::EINVAL),
            Err(e) => reply.error(*e),
        }
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.open_file(ino) {
            Ok(handle) => {
                let flags = FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH;
                reply.opened(FileHandle(handle), flags);
            }
            Err(e) => reply.error(e),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = self.file(handle).and_then(|file| {
            let bytes = self.view.read(&file, offset, size as usize);
            bytes.map_err(|e| self.unreadable(ino.0, b"", &e))
        });
        match read {
            Ok(bytes) => reply.data(&bytes),
            Err(e) => reply.error(e),
        }
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        locked(&self.files).remove(&handle.0);
        reply.ok();
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.open_directory(ino) {
            Ok(handle) => reply.opened(FileHandle(handle), FopenFlags::FOPEN_CACHE_DIR),
            Err(e) => reply.error(e),
        }
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        match self.list(ino, handle, offset, &mut reply) {
            Ok(()) => reply.ok(),
            Err(e) => reply.error(e),
        }
    }

    fn releasedir(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        reply: ReplyEmpty,
    ) {
        locked(&self.directories).remove(&handle.0);
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let totals = self.view.signed().totals;
        let files = totals.files + totals.directories + totals.others;
        let blocks = totals.bytes.div_ceil(BLOCK.into());
        reply.statfs(blocks, 0, 0, files, 0, BLOCK, 255, BLOCK);
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        match self.entry(ino) {
            Ok(entry) => match entry.meta.xattrs.iter().find(|x| x.name == name.as_bytes()) {
                Some(xattr) => give(reply, size, &xattr.value),
                None => reply.error(Errno::ENODATA),
            },
            Err(e) => reply.error(e),
        }
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        match self.entry(ino) {
            Ok(entry) => {
                let names = entry.meta.xattrs.iter().flat_map(|x| [&x.name[..], b"\0"].concat());
                give(reply, size, &names.collect::<Vec<_>>());
            }
            Err(e) => reply.error(e),
        }
    }

    fn lseek(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        match self.seek(ino, handle, offset, whence) {
            Ok(found) => reply.offset(found),
            Err(e) => reply.error(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_the_epoch_keep_their_fraction() {
        let meta = Meta { mtime_sec: -1, mtime_nsec: 999_999_999, ..Meta::default() };
        let before = SystemTime::UNIX_EPOCH - Duration::from_nanos(1);
        assert_eq!(time(&meta), before);
        let meta = Meta { mtime_sec: i64::MAX, mtime_nsec: 999_999_999, ..Meta::default() };
        assert!(time(&meta) >= SystemTime::UNIX_EPOCH);
    }

    #[test]
    fn device_numbers_are_encoded_as_the_kernel_decodes_them() {
        // new_decode_dev of Linux's include/linux/kdev_t.h.
        let decode = |dev: u32| ((dev & 0xf_ff00) >> 8, dev & 0xff | (dev >> 12) & 0xf_ff00);
        for (major, minor) in [(1, 3), (259, 70_000), (4_095, (1 << 20) - 1), (0, 256)] {
            assert_eq!(decode(device(major, minor)), (major, minor));
        }
    }
}
