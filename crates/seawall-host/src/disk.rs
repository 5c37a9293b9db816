//! A directory of the real file system as a [`Disk`].

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, IoSlice};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::io::Errno;
use seawall_base::{Disk, DiskFile, LockMode, OpenMode};

/// `O_NOFOLLOW`, in the type the standard library takes.
const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();

/// Files below one directory. New files are 0600, new directories 0700: nothing Seawall keeps
/// is anybody else's business.
#[derive(Debug, Clone)]
pub struct FsDisk {
    root: PathBuf,
}

impl FsDisk {
    /// Creates the directory (0700) if it is not there and uses it.
    pub fn create(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        if !root.is_dir() {
            if let Some(parent) = root.parent() {
                fs::create_dir_all(parent)?;
            }
            private_dir(&root)?;
        }
        Ok(Self { root })
    }

    /// Uses a directory as it is. One that is not there has no files.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, relative: &str) -> io::Result<PathBuf> {
        let path = Path::new(relative);
        if path.components().any(|c| !matches!(c, Component::Normal(_) | Component::CurDir)) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{relative:?} would leave the directory"),
            ));
        }
        Ok(self.root.join(path))
    }
}

/// Makes a directory nobody else can read, from its first moment on: a process may be killed
/// between making one and changing its mode. One that is there stays as it is.
fn private_dir(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Adds the path to an error: "permission denied" alone tells nobody what to mend.
fn at(path: &Path, e: io::Error) -> io::Error {
    if e.kind() == io::ErrorKind::NotFound {
        return e;
    }
    io::Error::new(e.kind(), format!("{}: {e}", path.display()))
}

impl Disk for FsDisk {
    fn open(&self, path: &str, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let path = self.path(path)?;
        let mut options = OpenOptions::new();
        // A link in place of a file of ours leads where somebody else wants us to write.
        options.read(true).mode(0o600).custom_flags(NO_FOLLOW);
        match mode {
            OpenMode::Read => {}
            OpenMode::Write => {
                options.write(true);
            }
            OpenMode::Create => {
                options.write(true).create(true);
            }
        }
        let file = options.open(&path).map_err(|e| at(&path, e))?;
        Ok(Box::new(FsFile { file, path, early: Mutex::default() }))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let dir = self.path(dir)?;
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(at(&dir, e)),
        };
        let mut names = Vec::new();
        for entry in entries {
            // Names that are not UTF-8 are not ours: we only ever create ASCII ones.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create_dir_all(&self, dir: &str) -> io::Result<()> {
        let mut path = self.root.clone();
        for part in self.path(dir)?.strip_prefix(&self.root).unwrap_or(Path::new("")) {
            path.push(part);
            private_dir(&path).map_err(|e| at(&path, e))?;
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.path(from)?, self.path(to)?);
        fs::rename(&from, &to).map_err(|e| at(&to, e))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let path = self.path(path)?;
        fs::remove_file(&path).map_err(|e| at(&path, e))
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let path = self.path(dir)?;
        File::open(&path).and_then(|d| d.sync_all()).map_err(|e| at(&path, e))
    }
}

#[derive(Debug)]
struct FsFile {
    file: File,
    path: PathBuf,
    early: Mutex<Early>,
}

/// Syncs that were begun early.
#[derive(Debug, Default)]
struct Early {
    running: Option<JoinHandle<io::Result<()>>>,
    /// The kernel reports a failed write-back once; whoever was told must say so at the next sync.
    failed: Option<io::Error>,
}

impl Early {
    /// Waits for the one that runs.
    fn end(&mut self) {
        let ended = self.running.take().map(JoinHandle::join);
        match ended {
            None | Some(Ok(Ok(()))) => {}
            Some(Ok(Err(e))) => self.failed = Some(e),
            Some(Err(_)) => {
                self.failed = Some(io::Error::other("a sync that was begun early died"));
            }
        }
    }
}

impl FsFile {
    fn early(&self) -> MutexGuard<'_, Early> {
        // A holder that panics leaves a state that is whole.
        self.early.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DiskFile for FsFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata().map_err(|e| at(&self.path, e))?.len())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(buf, offset).map_err(|e| at(&self.path, e))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset).map_err(|e| at(&self.path, e))
    }

    fn write_parts_at(&self, mut offset: u64, parts: &[&[u8]]) -> io::Result<()> {
        let mut slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut left = &mut slices[..];
        // Without empty ones in front, a write of nothing is a failure.
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            match rustix::io::pwritev(&self.file, left, offset) {
                Ok(0) => return Err(at(&self.path, io::ErrorKind::WriteZero.into())),
                Ok(written) => {
                    offset += written as u64;
                    IoSlice::advance_slices(&mut left, written);
                }
                Err(Errno::INTR) => {}
                Err(e) => return Err(at(&self.path, e.into())),
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len).map_err(|e| at(&self.path, e))
    }

    fn sync(&self) -> io::Result<()> {
        let mut early = self.early();
        early.end();
        let early = early.failed.take().map_or(Ok(()), Err);
        early.and_then(|()| self.file.sync_data()).map_err(|e| at(&self.path, e))
    }

    fn sync_early(&self) {
        let mut early = self.early();
        if early.running.as_ref().is_some_and(|running| !running.is_finished()) {
            return;
        }
        early.end();
        if early.failed.is_none()
            && let Ok(file) = self.file.try_clone()
        {
            // A thread that cannot be had makes the next sync longer, and that is all.
            let begun = thread::Builder::new().spawn(move || file.sync_data());
            early.running = begun.ok();
        }
    }

    fn lock(&self, mode: LockMode, wait: bool) -> io::Result<bool> {
        let tried = match (mode, wait) {
            (LockMode::Shared, true) => self.file.lock_shared().map_err(TryLockError::Error),
            (LockMode::Exclusive, true) => self.file.lock().map_err(TryLockError::Error),
            (LockMode::Shared, false) => self.file.try_lock_shared(),
            (LockMode::Exclusive, false) => self.file.try_lock(),
        };
        match tried {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(e)) => Err(at(&self.path, e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use seawall_base::{read_file, write_atomic};

    use super::*;

    fn disk() -> (tempfile::TempDir, FsDisk) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let disk = FsDisk::create(dir.path().join("d")).expect("a disk");
        (dir, disk)
    }

    #[test]
    fn replaces_whole_files_and_reads_them_back() {
        let (_dir, disk) = disk();
        disk.create_dir_all("a/b").expect("directories");
        assert_eq!(read_file(&disk, "a/b/f", 10).expect("absent"), None);
        write_atomic(&disk, "a/b/f", b"one").expect("written");
        write_atomic(&disk, "a/b/f", b"three").expect("replaced");
        assert_eq!(read_file(&disk, "a/b/f", 10).expect("read"), Some(b"three".to_vec()));
        assert_eq!(disk.list("a/b").expect("listed"), ["f"]);
        let too_long = read_file(&disk, "a/b/f", 4).expect_err("above the limit");
        assert_eq!(too_long.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn parts_are_written_one_behind_the_other() {
        let (_dir, disk) = disk();
        let file = disk.open("f", OpenMode::Create).expect("created");
        let long = vec![7; 3 << 20];
        file.write_parts_at(2, &[b"", b"one", b"", &long, b"two", b""]).expect("written");
        file.write_parts_at(0, &[]).expect("nothing");
        file.write_parts_at(0, &[b"", b""]).expect("nothing");
        let mut found = vec![1; long.len() + 8];
        file.read_exact_at(0, &mut found).expect("read");
        assert_eq!(found, [&b"\0\0one"[..], &long, b"two"].concat());
        assert_eq!(file.len().expect("measured"), found.len() as u64);
    }

    #[test]
    fn follows_no_planted_link() {
        let (dir, disk) = disk();
        let outside = dir.path().join("outside");
        fs::write(&outside, "precious").expect("written");
        for name in ["f", "g.tmp"] {
            std::os::unix::fs::symlink(&outside, disk.root().join(name)).expect("linked");
        }
        assert!(disk.open("f", OpenMode::Read).is_err());
        assert!(disk.open("f", OpenMode::Create).is_err());
        assert!(write_atomic(&disk, "g", b"x").is_err());
        assert_eq!(fs::read(&outside).expect("read"), b"precious");
    }

    #[test]
    fn an_early_sync_changes_nothing_but_when() {
        let (_dir, disk) = disk();
        let file = disk.open("f", OpenMode::Create).expect("created");
        for i in 0..20 {
            file.write_at(i, b"x").expect("written");
            file.sync_early();
        }
        file.sync().expect("synced");
        file.sync_early();
        file.sync().expect("synced");
        assert_eq!(file.len().expect("measured"), 20);
    }

    #[test]
    fn locks_hold_between_handles_and_end_with_them() {
        let (_dir, disk) = disk();
        let [a, b, c] = [0; 3].map(|_| disk.open("f", OpenMode::Create).expect("opened"));
        assert!(a.lock(LockMode::Shared, false).expect("asked"));
        assert!(b.lock(LockMode::Shared, true).expect("asked"));
        assert!(!c.lock(LockMode::Exclusive, false).expect("asked"));
        drop(a);
        assert!(!c.lock(LockMode::Exclusive, false).expect("asked"));
        drop(b);
        assert!(c.lock(LockMode::Exclusive, false).expect("asked"));
        let d = disk.open("f", OpenMode::Read).expect("opened");
        assert!(!d.lock(LockMode::Shared, false).expect("asked"));
    }

    #[test]
    fn stays_inside_its_directory_and_private() {
        let (_dir, disk) = disk();
        assert!(disk.open("../x", OpenMode::Create).is_err());
        assert!(disk.open("/etc/hostname", OpenMode::Read).is_err());
        disk.open("f", OpenMode::Create).expect("created");
        disk.create_dir_all("g").expect("created");
        let mode = |p| fs::metadata(disk.root().join(p)).expect("metadata").permissions().mode();
        assert_eq!(mode("f") & 0o777, 0o600);
        assert_eq!(mode("g") & 0o777, 0o700);
    }
}
