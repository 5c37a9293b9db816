//! What changes whenever an object of a file system does.

use rustix::fs::{FileType, Stat};

/// Identity, size and times of an object. If two stamps are equal and the later one was taken
/// well after the change time in them, the object was not changed in between: the kernel sets
/// the change time at every write and every change of metadata, and lets nobody set it back.
///
/// Sources that are no file systems put what identifies a version of their objects in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Device of the file system.
    pub dev: u64,
    /// Number within it.
    pub ino: u64,
    /// How many names the object has, on the whole file system.
    pub nlink: u64,
    /// Length in bytes.
    pub size: u64,
    /// Modification time: seconds since the Unix epoch and nanoseconds.
    pub mtime: (i64, u32),
    /// Change time, likewise.
    pub ctime: (i64, u32),
    /// Kind and permissions, as in `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Stamp {
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            dev: stat.st_dev,
            ino: stat.st_ino,
            nlink: stat.st_nlink,
            size: u64::try_from(stat.st_size).expect("the kernel reports no negative size"),
            mtime: (stat.st_mtime, stat.st_mtime_nsec as u32),
            ctime: (stat.st_ctime, stat.st_ctime_nsec as u32),
            mode: stat.st_mode,
            uid: stat.st_uid,
            gid: stat.st_gid,
        }
    }

    /// The kind of object.
    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.kind() == FileType::RegularFile
    }

    /// Whether both are of one object of one kind, changed or not.
    pub(crate) fn same_object(&self, other: &Self) -> bool {
        (self.dev, self.ino, self.kind()) == (other.dev, other.ino, other.kind())
    }
}
