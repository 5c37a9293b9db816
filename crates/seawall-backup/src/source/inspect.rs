//! Looking at one name in a directory without following, blocking on or running anything.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::{Errno, Result};

use super::{Content, Directory, FileReader, Handle, Leaf, Opened, Reason, Stamp};
use crate::entry::{MAX_XATTR_COUNT, MAX_XATTRS, Meta, Xattr, is_component};

/// An open directory.
#[derive(Debug)]
pub struct DirHandle {
    fd: OwnedFd,
}

/// What a name was found to be.
#[derive(Debug)]
pub struct Inspected {
    /// Owner, mode, time and extended attributes.
    pub meta: Meta,
    /// Which object it is.
    pub stamp: Stamp,
    /// Its kind, opened where opening is harmless.
    pub what: What,
    /// What of `meta` could not be read.
    pub flaws: Vec<Reason>,
}

/// The kinds of objects.
#[derive(Debug)]
pub enum What {
    /// A directory, open.
    Directory(DirHandle),
    /// A socket.
    Socket,
    /// Anything else.
    Node(Node<FileReader>),
}

/// The kinds of objects that are not directories and are kept; `C` reads the bytes of a file.
#[derive(Debug)]
pub enum Node<C> {
    /// A regular file, open for reading.
    File(C),
    /// A symbolic link and where it points.
    Symlink(Vec<u8>),
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
}

/// How often a name is looked at again when it turns into something else between two looks, as
/// files replaced by renaming do.
const LOOKS: usize = 4;

impl DirHandle {
    /// Opens the directory at `path`. This alone resolves a path as the system does.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        fs::openat(fs::CWD, path, flags, Mode::empty()).map(|fd| Self { fd })
    }

    pub(crate) const fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Opens the directory `name` in this one with its metadata; `None` if it is none any more.
    pub(super) fn open_listed(&self, name: &[u8]) -> Result<Option<(Self, Meta, Vec<Reason>)>> {
        match self.open_dir(name) {
            Err(Errno::LOOP | Errno::NOTDIR) => Ok(None),
            Err(e) => Err(e),
            Ok(dir) => dir.meta().map(|(meta, flaws)| Some((dir, meta, flaws))),
        }
    }

    /// Device and inode.
    pub(crate) fn id(&self) -> Result<(u64, u64)> {
        fs::fstat(&self.fd).map(|stat| (stat.st_dev, stat.st_ino))
    }

    /// Opens a directory in this one.
    pub(crate) fn open_dir(&self, name: &[u8]) -> Result<Self> {
        self.open_quietly(name, OFlags::DIRECTORY).map(Self::from_fd)
    }

    /// Opens for reading, without following, blocking, or touching the access time if the kernel
    /// allows that (it does to the owner and to root).
    fn open_quietly(&self, name: &[u8], extra: OFlags) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | extra;
        match fs::openat(&self.fd, name, flags | OFlags::NOATIME, Mode::empty()) {
            Err(Errno::PERM) => fs::openat(&self.fd, name, flags, Mode::empty()),
            other => other,
        }
    }

    /// Opens a block device for reading, if it is the one with this stamp.
    pub(super) fn open_device(&self, name: &[u8], stamp: &Stamp) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = fs::openat(&self.fd, name, flags, Mode::empty())?;
        let is_it = Stamp::of(&fs::fstat(&fd)?).same_object(stamp);
        is_it.then_some(fd).ok_or(Errno::NOENT)
    }

    /// Up to `max` bytes from the start of `name`; `None` if it is no regular file.
    pub(super) fn read_start(&self, name: &[u8], max: usize) -> Result<Option<Vec<u8>>> {
        let seen = self.stamp(name)?;
        if seen.kind() == FileType::Symlink {
            return Err(Errno::LOOP);
        }
        if !seen.is_file() {
            return Ok(None);
        }
        let fd = self.open_quietly(name, OFlags::empty())?;
        let stat = fs::fstat(&fd)?;
        if !Stamp::of(&stat).is_file() {
            return Ok(None);
        }
        FileReader::new(fd, &stat).start(max).map(Some)
    }

    /// Opens the object itself, of whatever kind, without opening what it stands for.
    pub(crate) fn open_path(&self, name: &[u8]) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        fs::openat(&self.fd, name, flags, Mode::empty())
    }

    /// All names but `.` and `..`, in byte order.
    pub fn read_dir(&self) -> Result<Vec<Vec<u8>>> {
        fs::seek(&self.fd, fs::SeekFrom::Start(0))?;
        Ok(self.list()?.into_iter().map(|(name, _)| name).collect())
    }

    /// All names but `.` and `..`, in byte order, each with its kind as far as the directory
    /// itself tells. Only of a directory just opened: it is read from where it was read to.
    pub(super) fn list(&self) -> Result<Vec<(Vec<u8>, FileType)>> {
        let mut buffer = Vec::with_capacity(32 << 10);
        let mut entries = RawDir::new(&self.fd, buffer.spare_capacity_mut());
        let mut names = Vec::new();
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                names.push((name.to_vec(), entry.file_type()));
            }
        }
        names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        names.dedup_by(|a, b| a.0 == b.0);
        Ok(names)
    }

    /// Metadata of this directory itself and what of it could not be read.
    pub fn meta(&self) -> Result<(Meta, Vec<Reason>)> {
        let stat = fs::fstat(&self.fd)?;
        Ok(read_meta(&stat, Handle::Open(self.fd())))
    }

    /// Looks at `name`, of whatever kind.
    pub fn inspect(&self, name: &[u8]) -> std::result::Result<Inspected, Reason> {
        if !is_component(name) {
            return Err(Reason::BadName);
        }
        for _ in 0..LOOKS {
            let seen = self.stamp(name).map_err(Reason::of)?;
            if let Some(found) = self.look(name, &seen).map_err(Reason::of)? {
                return Ok(found);
            }
        }
        Err(Reason::ChangedWhileRead)
    }

    /// What `name` stands for, without opening it.
    pub(super) fn stamp(&self, name: &[u8]) -> Result<Stamp> {
        fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| Stamp::of(&stat))
    }

    /// One look; `None` if what was opened is not what was seen just before.
    fn look(&self, name: &[u8], seen: &Stamp) -> Result<Option<Inspected>> {
        let kind = seen.kind();
        let opened = match kind {
            FileType::RegularFile => self.open_quietly(name, OFlags::empty()),
            FileType::Directory => self.open_quietly(name, OFlags::DIRECTORY),
            _ => self.open_path(name),
        };
        let fd = match opened {
            // What refuses to be opened as the kind just seen has been replaced.
            Err(Errno::LOOP | Errno::NOTDIR | Errno::NXIO) => return Ok(None),
            other => other?,
        };
        let stat = fs::fstat(&fd)?;
        let stamp = Stamp::of(&stat);
        if !stamp.same_object(seen) {
            return Ok(None);
        }
        let (major, minor) = (fs::major(stat.st_rdev), fs::minor(stat.st_rdev));
        let (meta, flaws);
        let what = match kind {
            FileType::RegularFile => {
                let reader = FileReader::new(fd, &stat);
                (meta, flaws) = read_meta(&stat, Handle::Open(reader.fd().as_fd()));
                What::Node(Node::File(reader))
            }
            FileType::Directory => {
                (meta, flaws) = read_meta(&stat, Handle::Open(fd.as_fd()));
                What::Directory(Self { fd })
            }
            _ => {
                (meta, flaws) = read_meta(&stat, Handle::Path(fd.as_fd()));
                match kind {
                    FileType::Symlink => {
                        What::Node(Node::Symlink(fs::readlinkat(&fd, "", Vec::new())?.into_bytes()))
                    }
                    FileType::Fifo => What::Node(Node::Fifo),
                    FileType::CharacterDevice => What::Node(Node::CharDevice { major, minor }),
                    FileType::BlockDevice => What::Node(Node::BlockDevice { major, minor }),
                    FileType::Socket => What::Socket,
                    _ => return Err(Errno::NOTSUP),
                }
            }
        };
        Ok(Some(Inspected { meta, stamp, what, flaws }))
    }
}

impl Directory for DirHandle {
    fn open(&self, leaf: &Leaf) -> std::result::Result<Opened, Reason> {
        // What was listed is looked at once less, unless it is another object by now.
        let found = match self.look(&leaf.name, &leaf.stamp).map_err(Reason::of)? {
            Some(found) => found,
            None => self.inspect(&leaf.name)?,
        };
        let Inspected { meta, stamp, what, flaws } = found;
        let node = match what {
            What::Node(node) => node.boxed(),
            What::Socket => return Err(Reason::Socket),
            What::Directory(_) => return Err(Reason::ChangedWhileRead),
        };
        Ok(Opened { meta, flaws, stamp, node })
    }
}

impl Node<FileReader> {
    fn boxed(self) -> Node<Box<dyn Content>> {
        match self {
            Self::File(reader) => Node::File(Box::new(reader)),
            Self::Symlink(target) => Node::Symlink(target),
            Self::Fifo => Node::Fifo,
            Self::CharDevice { major, minor } => Node::CharDevice { major, minor },
            Self::BlockDevice { major, minor } => Node::BlockDevice { major, minor },
        }
    }
}

fn read_meta(stat: &Stat, handle: Handle<'_>) -> (Meta, Vec<Reason>) {
    let mut flaws = Vec::new();
    let xattrs = read_xattrs(handle, &mut flaws);
    let meta = Meta {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime_sec: stat.st_mtime,
        mtime_nsec: stat.st_mtime_nsec as u32,
        xattrs,
    };
    (meta, flaws)
}

fn read_xattrs(handle: Handle<'_>, flaws: &mut Vec<Reason>) -> Vec<Xattr> {
    let lost = |name: &[u8], error: Errno| Reason::XattrUnreadable {
        name: name.to_vec(),
        error: error.into(),
    };
    let names = match handle.xattr_names() {
        Ok(names) => names,
        Err(error) => {
            flaws.push(lost(b"", error));
            return Vec::new();
        }
    };
    let mut xattrs = Vec::new();
    let mut room = MAX_XATTRS;
    for name in names {
        match handle.xattr(&name) {
            Ok(value) if name.len() + value.len() > room || xattrs.len() == MAX_XATTR_COUNT => {
                flaws.push(Reason::TooManyXattrs);
                break;
            }
            Ok(value) => {
                room -= name.len() + value.len();
                xattrs.push(Xattr { name, value });
            }
            // Removed since it was listed.
            Err(Errno::NODATA) => {}
            Err(error) => flaws.push(lost(&name, error)),
        }
    }
    xattrs
}
