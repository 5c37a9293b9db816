//! Where a drill restores to: a fresh directory that is gone afterwards.
//!
//! It is 0700, like everything restored before its metadata is applied, because what lies in it is
//! what custodians guard. It is locked while the drill runs: what a killed one left is removed by the
//! next in the same place, which finds it unlocked. A restored tree may have directories that nobody may write to, so removing
//! it gives its owner that right first; symbolic links are never followed.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use seawall_base::Rng;
use seawall_record::Totals;

use crate::home::HomeError;

/// Room for inodes and for a directory's own blocks, in bytes for each entry.
const PER_ENTRY: u64 = 4_096;
/// Left free in any case, in bytes.
const MARGIN: u64 = 64 << 20;
/// How often a tree that is still written to is removed, and how long is waited in between.
const TRIES: u32 = 500;
const PAUSE: Duration = Duration::from_millis(20);

/// A directory that is removed when this is dropped, unless it is kept.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    is_kept: bool,
    /// Its lock goes with the process.
    _lock: OwnedFd,
}

/// Names of directories that are to be removed, and of those that are not, or not yet locked.
const RUNNING: &str = "seawall-drill-run-";
const KEPT: &str = "seawall-drill-";

impl Scratch {
    /// Makes a fresh directory below `parent`, which must have room for a tree of these totals.
    pub fn new(parent: &Path, totals: &Totals, rng: &mut dyn Rng) -> Result<Self, HomeError> {
        let io = |source| HomeError::io(&parent.display().to_string())(source);
        let needed = room_for(totals);
        let free = free_in(parent).map_err(io)?;
        if free < needed {
            return Err(HomeError::refused(format!(
                "{} has {free} bytes free and the drill needs {needed}; name a larger place with --scratch, or try a part of it with --sample",
                parent.display()
            )));
        }
        remove_left_behind(parent).map_err(io)?;
        let mut name = [0; 8];
        rng.fill(&mut name);
        let name = hex::encode(name);
        let made = parent.join(format!("{KEPT}{name}"));
        DirBuilder::new().mode(0o700).create(&made).map_err(io)?;
        // Only then may it be taken for one that was left behind.
        let lock = lock(&made).map_err(io)?.ok_or_else(|| io(io::ErrorKind::WouldBlock.into()))?;
        let path = parent.canonicalize().map_err(io)?.join(format!("{RUNNING}{name}"));
        fs::rename(made, &path).map_err(io)?;
        Ok(Self { path, is_kept: false, _lock: lock })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it when the drill has ended, under another name. To be said before it is used.
    pub fn keep(&mut self) -> Result<(), HomeError> {
        let io = |source| HomeError::io(&self.path.display().to_string())(source);
        let name = self.path.file_name().and_then(|name| name.to_str()).expect("named by us");
        let kept = self.path.with_file_name(name.replace(RUNNING, KEPT));
        fs::rename(&self.path, &kept).map_err(io)?;
        (self.path, self.is_kept) = (kept, true);
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        if let Err(error) = remove_tree(&self.path) {
            let path = self.path.display();
            tracing::warn!(%path, %error, "the restored data of a drill was left behind; remove it");
        }
    }
}

/// Locks a directory; `None` if somebody else has it.
fn lock(dir: &Path) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::open(dir, flags, Mode::empty())?;
    match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(fd)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Removes what drills of this user that were killed have left in `parent`.
fn remove_left_behind(parent: &Path) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        let is_ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(RUNNING))
            && entry.metadata().is_ok_and(|meta| {
                meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw()
            });
        if !is_ours {
            continue;
        }
        let path = entry.path();
        match lock(&path) {
            Ok(Some(_held)) => {
                tracing::warn!(path = %path.display(), "a killed drill left this; it is removed");
                remove_tree(&path)?;
            }
            Ok(None) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Bytes a tree of these totals takes at most, and a margin.
fn room_for(totals: &Totals) -> u64 {
    let entries = totals.files.saturating_add(totals.directories).saturating_add(totals.others);
    totals.bytes.saturating_add(entries.saturating_mul(PER_ENTRY)).saturating_add(MARGIN)
}

fn free_in(dir: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Removes a tree that threads of this process still write to, each from the directories it holds
/// open: as often as it takes until nothing of it is there.
pub fn remove_tree_in_use(path: &Path) -> io::Result<()> {
    for _ in 0..TRIES {
        // What is made meanwhile is in the way of its directory, or moved before it was removed.
        let removed = remove_tree(path);
        match path.symlink_metadata() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            _ => std::thread::sleep(PAUSE),
        }
        if let Err(error) = removed {
            tracing::debug!(%error, "restored data is removed once more");
        }
    }
    remove_tree(path)
}

/// Removes a tree, however its directories are protected from their owner.
fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            open_directories(path)?;
            fs::remove_dir_all(path)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Lets the owner write to every directory of a tree.
fn open_directories(top: &Path) -> io::Result<()> {
    let mut open = vec![top.to_owned()];
    while let Some(dir) = open.pop() {
        fs::set_permissions(&dir, Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use seawall_sim::SeededRng;

    use super::*;

    #[test]
    fn it_is_gone_whatever_is_in_it_and_nothing_else_is() {
        let place = tempfile::tempdir().expect("a directory");
        let outside = place.path().join("outside");
        fs::create_dir(&outside).expect("made");
        fs::write(outside.join("f"), b"stays").expect("written");
        let mut rng = SeededRng::new(1);
        let scratch = Scratch::new(place.path(), &Totals::default(), &mut rng).expect("room");
        let path = scratch.path().to_owned();
        let locked = path.join("a/b");
        fs::create_dir_all(&locked).expect("made");
        fs::write(locked.join("f"), b"x").expect("written");
        std::os::unix::fs::symlink(&outside, locked.join("link")).expect("linked");
        fs::set_permissions(&locked, Permissions::from_mode(0o500)).expect("locked");
        fs::set_permissions(path.join("a"), Permissions::from_mode(0o000)).expect("locked");
        drop(scratch);
        assert!(!path.exists());
        assert_eq!(fs::read(outside.join("f")).expect("still there"), b"stays");
    }

    #[test]
    fn what_is_still_written_to_is_removed_all_the_same() {
        let place = tempfile::tempdir().expect("a directory");
        let scratch = Scratch::new(place.path(), &Totals::default(), &mut SeededRng::new(1));
        let scratch = scratch.expect("room");
        let top = scratch.path().to_owned();
        let writer = std::thread::spawn(move || {
            // As a restore does: from a directory it holds open, until that is gone.
            let dir = rustix::fs::open(&top, OFlags::DIRECTORY, Mode::empty()).expect("open");
            let (begun, mut made) = (Instant::now(), 0);
            while begun.elapsed() < Duration::from_millis(300)
                && rustix::fs::mkdirat(&dir, format!("d{made}"), Mode::RWXU).is_ok()
            {
                made += 1;
            }
        });
        while fs::read_dir(scratch.path()).expect("readable").next().is_none() {}
        remove_tree_in_use(scratch.path()).expect("removed");
        writer.join().expect("it ends");
        assert!(!scratch.path().exists());
    }

    #[test]
    fn what_a_killed_drill_left_is_removed_by_the_next_and_nothing_else() {
        let place = tempfile::tempdir().expect("a directory");
        let mut rng = SeededRng::new(1);
        let mut new = || Scratch::new(place.path(), &Totals::default(), &mut rng).expect("room");
        let running = new();
        let mut kept = new();
        kept.keep().expect("kept");
        let kept_at = kept.path().to_owned();
        drop(kept);
        // Killed: the directory is there and nobody holds its lock.
        let left = place.path().join(format!("{RUNNING}0123456789abcdef"));
        fs::create_dir(&left).expect("made");
        fs::write(left.join("secret"), b"of a customer").expect("written");
        let others = place.path().join("seawall-other");
        fs::create_dir(&others).expect("made");
        std::os::unix::fs::symlink(&others, place.path().join(format!("{RUNNING}link")))
            .expect("linked");
        let next = new();
        assert!(!left.exists() && running.path().is_dir() && next.path().is_dir());
        assert!(kept_at.is_dir() && others.is_dir(), "they are not a killed drill's");
    }

    #[test]
    fn where_there_is_no_room_nothing_is_made() {
        let place = tempfile::tempdir().expect("a directory");
        let totals = Totals { bytes: u64::MAX / 2, ..Totals::default() };
        let e = Scratch::new(place.path(), &totals, &mut SeededRng::new(1)).expect_err("refused");
        assert!(e.to_string().contains("--scratch"), "{e}");
        assert_eq!(fs::read_dir(place.path()).expect("readable").count(), 0);
    }
}
