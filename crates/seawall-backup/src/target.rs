//! Writing a restored tree so that it is the tree that was read, and nothing outside it changes.
//!
//! What is restored comes from a snapshot that may be hostile, into a directory others may have
//! prepared. So every name is checked to be one path component, every step goes from a directory
//! descriptor through one such name without following links, and everything new is made with
//! `O_EXCL` or a call that never replaces. The rejected alternative, `openat2` with
//! `RESOLVE_BENEATH` on longer paths, gives no more (a single component cannot lead anywhere
//! else) and needs a second way for old kernels and for paths above `PATH_MAX`.
//!
//! Until its metadata is applied, a file is 0600 and a directory 0700. Metadata goes on in the
//! one order in which nothing undoes what came before: owner (which clears set-uid and
//! capabilities), attributes and ACLs, mode, time; a directory's after all that is in it.
//!
//! What the caller did not allow, or the machine does not, is a [`Refused`]: named, collected,
//! and the restore goes on.

mod attributes;
mod compare;
mod place;
mod writer;

use std::collections::HashSet;
use std::fmt;
use std::fs::DirBuilder;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use self::attributes::{Kind, apply};
pub use self::compare::{Aspect, Difference, compare};
pub use self::place::Place;
pub use self::writer::FileWriter;
use crate::entry::{Meta, is_component};
use crate::source::trail::Trail;
use crate::source::{DirHandle, Handle, Quoted};

/// What a restore may do beyond writing into an empty directory as anybody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// The target directory may hold other things. Directories are restored into; anything else
    /// in the way is an error naming it.
    pub overwrite: bool,
    /// The target directory holds an interrupted restore. Directories are restored into; anything
    /// else in the way is removed and made anew, except that a directory never gives way.
    pub resume: bool,
    /// Set-uid and set-gid bits of files, file capabilities and device nodes are restored.
    pub privileged: bool,
}

/// Why a restore, or one entry of it, failed.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The target directory holds something and neither option allows that.
    #[error("{0:?} is not empty; name an empty directory, or resume an interrupted restore")]
    NotEmpty(PathBuf),
    /// Something is in the way of an entry.
    #[error("something else is already at {}; move it away or restore elsewhere", Quoted(.path))]
    Exists {
        /// Path from the target directory.
        path: Vec<u8>,
    },
    /// A name that would lead out of its directory, or that no file system can hold.
    #[error("{} is not a name a file can have, the snapshot is damaged or forged", Quoted(.path))]
    BadName {
        /// Path from the target directory.
        path: Vec<u8>,
    },
    /// Content past the size the file was to have.
    #[error("content of {} goes beyond its size, the snapshot is damaged or forged", Quoted(.path))]
    BeyondEnd {
        /// Path from the target directory.
        path: Vec<u8>,
    },
    /// The directory written into was moved away by somebody else.
    #[error("directory {} was moved away during the restore; keep others out and resume", Quoted(.path))]
    Lost {
        /// Path from the target directory.
        path: Vec<u8>,
    },
    /// The system refused.
    #[error("cannot {action} {}: {source}", Quoted(.path))]
    Io {
        /// Path from the target directory; the directory itself when it could not be used.
        path: Vec<u8>,
        /// What was attempted.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

/// Something the snapshot holds and the restored tree does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Path from the target directory.
    pub path: Vec<u8>,
    /// What is missing there.
    pub what: Refusal,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Quoted(&self.path), self.what)
    }
}

/// What was not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The set-uid bit of a file.
    #[error("set-uid bit not set")]
    SetUid,
    /// The set-gid bit of a file.
    #[error("set-gid bit not set")]
    SetGid,
    /// The capabilities of a file.
    #[error("capabilities not set")]
    Capability,
    /// A device node, or a further name of one.
    #[error("device node not created")]
    Device,
    /// The owner; the file belongs to whoever restored it.
    #[error("owner {0} not set")]
    Owner(u32),
    /// The group.
    #[error("group {0} not set")]
    Group(u32),
    /// The mode, in whole or in part.
    #[error("mode {0:o} not set")]
    Mode(u32),
    /// The modification time, or its exact value where the file system's range or grain is too small.
    #[error("modification time not set exactly")]
    Time,
    /// One extended attribute, set or (if it was inherited) removed.
    #[error("extended attribute {} not restored: {kind}", Quoted(.name))]
    Xattr {
        /// The attribute.
        name: Vec<u8>,
        /// The system's answer.
        kind: io::ErrorKind,
    },
}

/// A tree being written. It stands in a directory, at first in the target itself.
#[derive(Debug)]
pub struct Target {
    trail: Trail,
    options: Options,
    refused: Vec<Refused>,
    /// Paths of device nodes that were not created: further names of them are refused alike.
    absent: HashSet<Vec<u8>>,
}

impl Target {
    /// Opens the target directory, creating it (and its parents) with mode 0700 if it is absent.
    ///
    /// Only here is a path resolved as the system does, since the operator chose it.
    pub fn create(dir: &Path, options: Options) -> Result<Self, TargetError> {
        let failed = |action| {
            move |source: io::Error| TargetError::Io {
                path: dir.as_os_str().as_encoded_bytes().to_vec(),
                action,
                source,
            }
        };
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(dir).map_err(failed("create"))?;
        let root = DirHandle::open(dir).map_err(|e| failed("open")(e.into()))?;
        let names = root.read_dir().map_err(|e| failed("list")(e.into()))?;
        if !names.is_empty() && !options.overwrite && !options.resume {
            return Err(TargetError::NotEmpty(dir.to_owned()));
        }
        let trail = Trail::new(root).map_err(|e| failed("open")(e.into()))?;
        Ok(Self { trail, options, refused: Vec::new(), absent: HashSet::new() })
    }

    /// Everything refused so far, in order.
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    /// Creates the directory `name` here and steps into it.
    pub fn enter(&mut self, name: &[u8]) -> Result<(), TargetError> {
        let here = self.place(name)?;
        let merges = self.options.overwrite || self.options.resume;
        let made = match fs::mkdirat(here.fd(), name, Mode::RWXU) {
            Err(Errno::EXIST) if merges => {
                match fs::statat(here.fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                        self.reclaim(here, name)
                    }
                    Ok(_) => self.make(here, name, || fs::mkdirat(here.fd(), name, Mode::RWXU)),
                    Err(e) => Err(e),
                }
            }
            other => other,
        };
        let entered = made.and_then(|()| here.open_dir(name));
        let dir = entered.map_err(|e| self.failed(name, "create directory", e))?;
        let entered = self.trail.enter(name.to_vec(), dir);
        entered.map_err(|e| self.failed(name, "open directory", e))
    }

    /// Applies `meta` to the directory this stands in, all of which has been restored, and steps
    /// back into its parent. It must not stand in the target directory itself.
    pub fn leave(&mut self, meta: &Meta) -> Result<(), TargetError> {
        let path = self.trail.path();
        match self.trail.leave() {
            (_, Some(dir)) => self.finish_at(&path, Handle::Open(dir.fd()), Kind::Directory, meta),
            (_, None) => Err(TargetError::Lost { path }),
        }
    }

    /// Adds what was refused in places of this tree.
    pub fn note(&mut self, refused: Vec<Refused>) {
        self.refused.extend(refused);
    }

    /// Steps back into the parent of a directory that is finished later or not at all: until
    /// then it is 0700.
    pub fn abandon(&mut self) {
        self.trail.leave();
    }

    /// The directory this stands in, as a place for files.
    pub fn here(&self) -> Result<Place, TargetError> {
        let dir =
            self.trail.share().ok_or_else(|| TargetError::Lost { path: self.trail.path() })?;
        let path = if self.trail.depth() == 0 { Vec::new() } else { self.trail.path() };
        Ok(Place { dir, path, options: self.options })
    }

    /// Creates the file `name` here ([`Place::file`]).
    pub fn file(&mut self, name: &[u8], size: u64) -> Result<FileWriter, TargetError> {
        self.here()?.file(name, size)
    }

    /// Gives a written file its length and metadata. Works from anywhere in the tree.
    pub fn finish_file(&mut self, writer: &FileWriter, meta: &Meta) -> Result<(), TargetError> {
        if let Err(e) = writer.complete() {
            self.here()?.discard(writer)?;
            return Err(e);
        }
        self.finish_at(writer.path(), Handle::Open(writer.fd()), Kind::File, meta)
    }

    /// Removes an incomplete file ([`Place::discard`]) from the directory this stands in.
    pub fn discard(&mut self, writer: &FileWriter) -> Result<(), TargetError> {
        self.here()?.discard(writer)
    }

    /// Creates a symbolic link.
    pub fn symlink(&mut self, name: &[u8], to: &[u8], meta: &Meta) -> Result<(), TargetError> {
        let here = self.place(name)?;
        let made = self.make(here, name, || fs::symlinkat(to, here.fd(), name));
        self.finish_node(name, made, FileType::Symlink, meta)
    }

    /// Creates a named pipe.
    pub fn fifo(&mut self, name: &[u8], meta: &Meta) -> Result<(), TargetError> {
        self.node(name, FileType::Fifo, 0, meta)
    }

    /// Creates a character device node, if that is allowed.
    pub fn char_device(
        &mut self,
        name: &[u8],
        (major, minor): (u32, u32),
        meta: &Meta,
    ) -> Result<(), TargetError> {
        self.device(name, FileType::CharacterDevice, (major, minor), meta)
    }

    /// Creates a block device node, if that is allowed.
    pub fn block_device(
        &mut self,
        name: &[u8],
        (major, minor): (u32, u32),
        meta: &Meta,
    ) -> Result<(), TargetError> {
        self.device(name, FileType::BlockDevice, (major, minor), meta)
    }

    /// Gives what was restored at `target` (components from the target directory) the further
    /// name `name` here. Its metadata is that of the first name.
    pub fn hard_link(&mut self, name: &[u8], target: &[Vec<u8>]) -> Result<(), TargetError> {
        let here = self.place(name)?;
        let path: Vec<u8> = target.iter().flat_map(|c| [&b"/"[..], c].concat()).collect();
        let Some((last, above)) =
            target.split_last().filter(|_| target.iter().all(|c| is_component(c)))
        else {
            return Err(TargetError::BadName { path });
        };
        if self.absent.contains(&path) {
            self.refuse(name, Refusal::Device);
            return Ok(());
        }
        let mut parent: Option<OwnedFd> = None;
        for component in above {
            let from = parent.as_ref().map_or(self.trail.root().fd(), AsFd::as_fd);
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let opened = fs::openat(from, component, flags, Mode::empty());
            parent = Some(opened.map_err(|e| self.failed(name, "find the first name of", e))?);
        }
        let from = parent.as_ref().map_or(self.trail.root().fd(), AsFd::as_fd);
        self.make(here, name, || fs::linkat(from, last, here.fd(), name, AtFlags::empty()))
            .map_err(|e| self.failed(name, "hard-link", e))
    }

    /// What makes the file system of the tree durable, from another thread.
    pub fn durability(&self) -> Result<Durability, TargetError> {
        let root = self.trail.root().fd().try_clone_to_owned();
        root.map(Durability).map_err(|source| io_error(b"/", "reopen", source))
    }

    /// Applies `meta`, if given, to the target directory itself and makes the whole file system
    /// it is on durable. Everything entered must have been left.
    pub fn finish(mut self, meta: Option<&Meta>) -> Result<Vec<Refused>, TargetError> {
        assert_eq!(self.trail.depth(), 0, "every directory entered is left before the end");
        let durability = self.durability()?;
        if let Some(meta) = meta {
            self.finish_at(b"/", Handle::Open(durability.0.as_fd()), Kind::Directory, meta)?;
        }
        durability.sync()?;
        Ok(self.refused)
    }

    fn device(
        &mut self,
        name: &[u8],
        kind: FileType,
        (major, minor): (u32, u32),
        meta: &Meta,
    ) -> Result<(), TargetError> {
        if !self.options.privileged {
            self.place(name)?;
            self.absent.insert(self.trail.path_of(name));
            self.refuse(name, Refusal::Device);
            return Ok(());
        }
        match self.node(name, kind, fs::makedev(major, minor), meta) {
            Err(TargetError::Io { source, .. })
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                self.absent.insert(self.trail.path_of(name));
                self.refuse(name, Refusal::Device);
                Ok(())
            }
            other => other,
        }
    }

    fn node(
        &mut self,
        name: &[u8],
        kind: FileType,
        device: fs::Dev,
        meta: &Meta,
    ) -> Result<(), TargetError> {
        let here = self.place(name)?;
        let bits = Mode::RUSR | Mode::WUSR;
        let made = self.make(here, name, || fs::mknodat(here.fd(), name, kind, bits, device));
        self.finish_node(name, made, kind, meta)
    }

    /// Applies `meta` to the node just made, if it still is what was made.
    fn finish_node(
        &mut self,
        name: &[u8],
        made: rustix::io::Result<()>,
        kind: FileType,
        meta: &Meta,
    ) -> Result<(), TargetError> {
        let here = self.place(name)?;
        let opened = made.and_then(|()| {
            let fd = here.open_path(name)?;
            let found = FileType::from_raw_mode(fs::fstat(&fd)?.st_mode);
            if found == kind { Ok(fd) } else { Err(Errno::STALE) }
        });
        let fd = opened.map_err(|e| self.failed(name, "create", e))?;
        let kind = if kind == FileType::Symlink { Kind::Symlink } else { Kind::Special };
        self.finish_at(&self.trail.path_of(name), Handle::Path(fd.as_fd()), kind, meta)
    }

    fn finish_at(
        &mut self,
        path: &[u8],
        handle: Handle<'_>,
        kind: Kind,
        meta: &Meta,
    ) -> Result<(), TargetError> {
        let refused = apply(handle, kind, meta, self.options.privileged)
            .map_err(|e| io_error(path, "apply metadata to", e.into()))?;
        self.refused.extend(refused.into_iter().map(|what| Refused { path: path.to_vec(), what }));
        Ok(())
    }

    fn make<T>(
        &self,
        here: &DirHandle,
        name: &[u8],
        create: impl Fn() -> rustix::io::Result<T>,
    ) -> rustix::io::Result<T> {
        make(self.options, here, name, create)
    }

    /// Makes a directory of an interrupted restore writable again: it may have got its mode.
    fn reclaim(&self, here: &DirHandle, name: &[u8]) -> rustix::io::Result<()> {
        if !self.options.resume {
            return Ok(());
        }
        let fd = here.open_path(name)?;
        if FileType::from_raw_mode(fs::fstat(&fd)?.st_mode) != FileType::Directory {
            return Err(Errno::STALE);
        }
        fs::chmod(Handle::Path(fd.as_fd()).proc_name(), Mode::RWXU)
    }

    /// The directory in which `name` is to be made.
    fn place(&self, name: &[u8]) -> Result<&DirHandle, TargetError> {
        if !is_component(name) {
            return Err(TargetError::BadName { path: self.trail.path_of(name) });
        }
        self.trail.here().ok_or_else(|| TargetError::Lost { path: self.trail.path() })
    }

    fn refuse(&mut self, name: &[u8], what: Refusal) {
        self.refused.push(Refused { path: self.trail.path_of(name), what });
    }

    fn failed(&self, name: &[u8], action: &'static str, error: Errno) -> TargetError {
        failed(self.trail.path_of(name), action, error)
    }
}

/// Makes everything written so far durable.
#[derive(Debug)]
pub struct Durability(OwnedFd);

impl Durability {
    /// Writes out the file system. An error is told once: whoever gets it must not go on as if
    /// what was written were there.
    pub fn sync(&self) -> Result<(), TargetError> {
        fs::syncfs(&self.0).map_err(|e| io_error(b"/", "write out the file system of", e.into()))
    }
}

/// Runs `create`; if something other than a directory is in the way of a resumed restore,
/// removes it and runs `create` again.
fn make<T>(
    options: Options,
    here: &DirHandle,
    name: &[u8],
    create: impl Fn() -> rustix::io::Result<T>,
) -> rustix::io::Result<T> {
    match create() {
        Err(Errno::EXIST) if options.resume => {
            match fs::unlinkat(here.fd(), name, AtFlags::empty()) {
                Err(Errno::ISDIR) => Err(Errno::EXIST),
                Err(e) => Err(e),
                Ok(()) => create(),
            }
        }
        other => other,
    }
}

fn failed(path: Vec<u8>, action: &'static str, error: Errno) -> TargetError {
    match error {
        Errno::EXIST => TargetError::Exists { path },
        error => io_error(&path, action, error.into()),
    }
}

fn io_error(path: &[u8], action: &'static str, source: io::Error) -> TargetError {
    TargetError::Io { path: path.to_vec(), action, source }
}
