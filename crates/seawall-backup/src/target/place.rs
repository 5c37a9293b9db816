//! One directory of a tree being written, as a place where files are made from any thread.

use std::sync::Arc;

use rustix::fs::{self, AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::attributes::{Kind, apply};
use super::{FileWriter, Options, Refused, TargetError, failed, io_error, make};
use crate::entry::{Meta, is_component};
use crate::source::{DirHandle, Handle};

/// A directory that is being restored. It stays the same directory whatever becomes of its name.
#[derive(Debug)]
pub struct Place {
    pub(super) dir: Arc<DirHandle>,
    /// From the target directory; empty for that itself.
    pub(super) path: Vec<u8>,
    pub(super) options: Options,
}

impl Place {
    /// Path of this directory, from the target directory; empty for that itself.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// Path of `name` here, from the target directory.
    pub fn path_of(&self, name: &[u8]) -> Vec<u8> {
        [&self.path[..], b"/", name].concat()
    }

    /// Creates the file `name` here, to be `size` bytes long. Not visible to others until
    /// [`Place::finish_file`].
    pub fn file(&self, name: &[u8], size: u64) -> Result<FileWriter, TargetError> {
        let path = self.path_of(name);
        if !is_component(name) {
            return Err(TargetError::BadName { path });
        }
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let create = || fs::openat(self.dir.fd(), name, flags, mode);
        match make(self.options, &self.dir, name, create) {
            Ok(fd) => Ok(FileWriter::new(fd, path, size)),
            Err(e) => Err(failed(path, "create file", e)),
        }
    }

    /// Gives a written file its length and metadata; returns what was not applied.
    pub fn finish_file(
        &self,
        writer: &FileWriter,
        meta: &Meta,
    ) -> Result<Vec<Refused>, TargetError> {
        if let Err(e) = writer.complete() {
            self.discard(writer)?;
            return Err(e);
        }
        self.apply(Handle::Open(writer.fd()), Kind::File, meta, writer.path())
    }

    /// Removes a file made here whose content could not be had whole: under its name, a part of
    /// it would pass for all of it. Only if it still is what bears the name.
    pub fn discard(&self, writer: &FileWriter) -> Result<(), TargetError> {
        let path = writer.path();
        let name = path.rsplit(|&b| b == b'/').next().expect("a split has a last part");
        let removed = fs::fstat(writer.fd()).and_then(|made| {
            let found = fs::statat(self.dir.fd(), name, AtFlags::SYMLINK_NOFOLLOW)?;
            if (found.st_dev, found.st_ino) == (made.st_dev, made.st_ino) {
                fs::unlinkat(self.dir.fd(), name, AtFlags::empty())?;
            }
            Ok(())
        });
        match removed {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(failed(path.to_vec(), "remove the incomplete file", e)),
        }
    }

    /// Applies metadata to the directory itself, all of which has been restored.
    pub fn finish(&self, meta: &Meta) -> Result<Vec<Refused>, TargetError> {
        self.apply(Handle::Open(self.dir.fd()), Kind::Directory, meta, &self.path)
    }

    fn apply(
        &self,
        handle: Handle<'_>,
        kind: Kind,
        meta: &Meta,
        path: &[u8],
    ) -> Result<Vec<Refused>, TargetError> {
        let refused = apply(handle, kind, meta, self.options.privileged)
            .map_err(|e| io_error(path, "apply metadata to", e.into()))?;
        Ok(refused.into_iter().map(|what| Refused { path: path.to_vec(), what }).collect())
    }
}
