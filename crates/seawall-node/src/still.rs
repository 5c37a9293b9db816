//! A disk as it stands: what is written to it stays in memory.
//!
//! Opening a log mends it: a torn tail is cut, an unfinished append is written again.
//! Only the command that holds the home's lock may do so. A command that reads does not wait for
//! the lock, because a snapshot can take a night; so it opens the log on this disk, where the
//! mending is seen by the reader alone. (A store has a way of its own to be opened for reading.) Rejected: mending whenever the lock happens to be free,
//! which would make a reader refuse the writer that starts a moment later.
//!
//! Writes that change nothing are not kept, so rewriting a long unfinished flush costs no memory.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use seawall_base::{Disk, DiskFile, LockMode, OpenMode};

/// Reads of `below`, with everything written since in memory.
pub(crate) struct StillDisk {
    below: Arc<dyn Disk>,
    /// Files opened for writing, by path; `None` for one that was removed.
    changed: Mutex<BTreeMap<String, Option<Arc<StillFile>>>>,
}

struct StillFile {
    below: Option<Box<dyn DiskFile>>,
    state: Mutex<State>,
}

/// The length, and what was written, in order: a later write lies over an earlier one.
struct State {
    len: u64,
    /// Bytes of `below` that still count.
    kept: u64,
    writes: Vec<(u64, Vec<u8>)>,
}

struct Handle(Arc<StillFile>);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code that holds one of these locks can panic halfway through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StillDisk {
    pub(crate) fn over(below: Arc<dyn Disk>) -> Self {
        Self { below, changed: Mutex::default() }
    }

    fn still(&self, path: &str, mode: OpenMode) -> io::Result<Arc<StillFile>> {
        let mut changed = locked(&self.changed);
        let known = changed.get(path).cloned();
        match known {
            Some(Some(file)) => return Ok(file),
            Some(None) if mode != OpenMode::Create => return Err(io::ErrorKind::NotFound.into()),
            _ => {}
        }
        let below = match self.below.open(path, OpenMode::Read) {
            _ if known.is_some() => None,
            Ok(file) => Some(file),
            Err(e) if e.kind() == io::ErrorKind::NotFound && mode == OpenMode::Create => None,
            Err(e) => return Err(e),
        };
        let len = below.as_ref().map_or(Ok(0), |file| file.len())?;
        let state = State { len, kept: len, writes: Vec::new() };
        let file = Arc::new(StillFile { below, state: Mutex::new(state) });
        changed.insert(path.to_owned(), Some(file.clone()));
        Ok(file)
    }
}

impl Disk for StillDisk {
    fn open(&self, path: &str, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(Handle(self.still(path, mode)?)))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut names = self.below.list(dir)?;
        for (path, file) in locked(&self.changed).iter() {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            if parent == dir {
                names.retain(|n| n != name);
                names.extend(file.as_ref().map(|_| name.to_owned()));
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create_dir_all(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let file = self.still(from, OpenMode::Write)?;
        let mut changed = locked(&self.changed);
        changed.insert(from.to_owned(), None);
        changed.insert(to.to_owned(), Some(file));
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.still(path, OpenMode::Write)?;
        locked(&self.changed).insert(path.to_owned(), None);
        Ok(())
    }

    fn sync_dir(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
}

impl StillFile {
    fn read(&self, state: &State, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let end = state.len.min(offset.saturating_add(buf.len() as u64));
        let Some(n) = end.checked_sub(offset).map(|n| n as usize) else { return Ok(0) };
        let buf = &mut buf[..n];
        buf.fill(0);
        let from_below = state.kept.saturating_sub(offset).min(n as u64) as usize;
        if let Some(below) = self.below.as_ref().filter(|_| from_below > 0) {
            below.read_exact_at(offset, &mut buf[..from_below])?;
        }
        for (at, bytes) in &state.writes {
            let (from, to) = ((*at).max(offset), (at + bytes.len() as u64).min(end));
            if from < to {
                let source = &bytes[(from - at) as usize..(to - at) as usize];
                buf[(from - offset) as usize..(to - offset) as usize].copy_from_slice(source);
            }
        }
        Ok(n)
    }
}

impl DiskFile for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(locked(&self.0.state).len)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(&locked(&self.0.state), offset, buf)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = locked(&self.0.state);
        let mut now = vec![0; bytes.len()];
        let n = self.0.read(&state, offset, &mut now)?;
        if n < bytes.len() || now != bytes {
            state.len = state.len.max(offset + bytes.len() as u64);
            state.writes.push((offset, bytes.to_vec()));
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = locked(&self.0.state);
        state.len = len;
        state.kept = state.kept.min(len);
        for (at, bytes) in &mut state.writes {
            bytes.truncate(len.saturating_sub(*at) as usize);
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    /// What is written here is seen by nobody else, so nobody else is in the way.
    fn lock(&self, _: LockMode, _: bool) -> io::Result<bool> {
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use seawall_base::{read_file, write_atomic};
    use seawall_host::FsDisk;

    use super::*;

    fn disks() -> (tempfile::TempDir, Arc<FsDisk>, StillDisk) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let below = Arc::new(FsDisk::create(dir.path()).expect("a disk"));
        write_atomic(below.as_ref(), "f", b"0123456789").expect("written");
        let still = StillDisk::over(below.clone());
        (dir, below, still)
    }

    #[test]
    fn writes_are_seen_here_and_nowhere_else() {
        let (_dir, below, still) = disks();
        let file = still.open("f", OpenMode::Write).expect("opened");
        file.write_at(3, b"abc").expect("written");
        file.write_at(4, b"BX").expect("written");
        file.set_len(8).expect("cut");
        file.set_len(9).expect("extended");
        file.write_at(11, b"z").expect("written behind the end");
        file.sync().expect("synced");
        assert_eq!(file.len().expect("measured"), 12);
        let seen = read_file(&still, "f", 20).expect("read");
        assert_eq!(seen.as_deref(), Some(&b"012aBX67\0\0\0z"[..]));
        let truth = read_file(below.as_ref(), "f", 20).expect("read");
        assert_eq!(truth.as_deref(), Some(&b"0123456789"[..]));
    }

    #[test]
    fn names_come_and_go_in_memory() {
        let (_dir, below, still) = disks();
        write_atomic(&still, "d/g", b"new").expect("written");
        assert_eq!(still.list("d").expect("listed"), ["g"]);
        still.remove("f").expect("removed");
        assert_eq!(read_file(&still, "f", 20).expect("read"), None);
        assert!(still.open("f", OpenMode::Write).is_err());
        assert_eq!(still.list("").expect("listed"), Vec::<String>::new());
        still.open("f", OpenMode::Create).expect("made again").write_at(0, b"x").expect("written");
        assert_eq!(read_file(&still, "f", 20).expect("read").as_deref(), Some(&b"x"[..]));
        assert_eq!(below.list("").expect("listed"), ["f"]);
    }

    #[test]
    fn a_file_that_grows_below_keeps_its_length() {
        let (_dir, below, still) = disks();
        let file = still.open("f", OpenMode::Read).expect("opened");
        let grows = below.open("f", OpenMode::Write).expect("opened");
        grows.write_at(10, b"more").expect("written");
        assert_eq!(file.len().expect("measured"), 10);
        let mut buf = [0; 8];
        assert_eq!(file.read_at(6, &mut buf).expect("read"), 4);
        assert_eq!(&buf[..4], b"6789");
    }
}
