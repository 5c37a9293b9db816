//! A disk in memory that forgets what was not synced, as badly as the contract of
//! [`seawall_base::Disk`] allows.
//!
//! Every file holds what readers see, what is durable, and the writes in between; the names of
//! all directories are kept the same way. [`SimDisk::power_cut`] makes a new disk from what
//! survived. Directories themselves are durable once created: journaling file systems persist
//! the parents of a synced directory, and no format of ours depends on less.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use seawall_base::{Disk, DiskFile, LockMode, OpenMode};

use crate::SeededRng;

/// What survives a power cut of what was never synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerCut {
    /// Nothing.
    LoseUnsynced,
    /// Everything.
    KeepUnsynced,
    /// A random part, the same for the same seed: each pending write is lost, kept, cut at a random
    /// byte, kept with a stretch of zeros where the file grew, or kept but for a stretch that stays as it was; each pending name change is lost or kept (a rename
    /// never by half).
    Torn {
        /// Names the outcome.
        seed: u64,
    },
}

/// What an operation that reports an error has done all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing. For a sync: the pending writes stay readable but no later sync makes them durable,
    /// which is how Linux treats dirty pages after a failed write-back.
    Lost,
    /// Nothing, and for a sync the pending writes stay pending, to be torn by the next power cut.
    Nothing,
    /// All it was asked to do.
    Persisted,
    /// A write leaves its first half; a sync makes the first half of the pending writes durable and
    /// loses the rest; anything else is [`Outcome::Lost`].
    Half,
}

#[derive(Debug, Clone)]
enum Write {
    Bytes(u64, Vec<u8>),
    SetLen(u64),
}

impl Write {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Self::Bytes(offset, bytes) => {
                let start = *offset as usize;
                let end = start + bytes.len();
                if file.len() < end {
                    file.resize(end, 0);
                }
                file[start..end].copy_from_slice(bytes);
            }
            Self::SetLen(len) => file.resize(*len as usize, 0),
        }
    }

    /// What a power cut leaves of this write. Zeros appear only behind `durable` bytes, in newly
    /// allocated space: an overwritten byte is the old one or the new one.
    fn tear(&self, durable: usize, rng: &mut SeededRng) -> Vec<Self> {
        let Self::Bytes(offset, bytes) = self else {
            return if rng.one_in(2) { Vec::new() } else { vec![self.clone()] };
        };
        let from = rng.below(bytes.len() as u64 + 1) as usize;
        let to = from + rng.below((bytes.len() - from) as u64 + 1) as usize;
        let head = Self::Bytes(*offset, bytes[..from].to_vec());
        match rng.below(5) {
            0 => Vec::new(),
            1 => vec![head],
            2 => {
                let mut bytes = bytes.clone();
                let from = from.max(durable.saturating_sub(*offset as usize)).min(to);
                bytes[from..to].fill(0);
                vec![Self::Bytes(*offset, bytes)]
            }
            3 => vec![head, Self::Bytes(*offset + to as u64, bytes[to..].to_vec())],
            _ => vec![self.clone()],
        }
    }
}

#[derive(Debug, Clone, Default)]
struct Inode {
    /// Bytes whose reading fails.
    bad: Option<Range<u64>>,
    seen: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Write>,
}

#[derive(Debug, Clone)]
enum NameChange {
    Link { path: String, inode: usize },
    Unlink { path: String },
    Rename { from: String, to: String, inode: usize },
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Link { path, inode } => {
                names.insert(path.clone(), *inode);
            }
            Self::Unlink { path } => {
                names.remove(path);
            }
            Self::Rename { from, to, inode } => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
        }
    }

    fn touches(&self, dir: &str) -> bool {
        match self {
            Self::Link { path, .. } | Self::Unlink { path } => parent(path) == dir,
            Self::Rename { from, to, .. } => parent(from) == dir || parent(to) == dir,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Fault {
    after: u64,
    kind: ErrorKind,
    outcome: Outcome,
}

#[derive(Debug, Clone, Default)]
struct State {
    inodes: Vec<Inode>,
    /// Who has locked which inode: (inode, handle) and how.
    locks: BTreeMap<(usize, u64), LockMode>,
    handles: u64,
    dirs: BTreeSet<String>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    pending_names: Vec<NameChange>,
    ops: u64,
    fault: Option<Fault>,
    /// Operations left before the power is off.
    power_left: Option<u64>,
    capacity: Option<u64>,
}

impl State {
    /// Counts an operation that changes the disk; the fault that is due now, if any.
    fn step(&mut self) -> Option<Fault> {
        self.ops += 1;
        match self.power_left.as_mut() {
            Some(0) => {
                return Some(Fault { after: 0, kind: ErrorKind::Other, outcome: Outcome::Nothing });
            }
            Some(left) => *left -= 1,
            None => {}
        }
        match self.fault {
            Some(fault) if fault.after == 0 => self.fault.take(),
            Some(ref mut fault) => {
                fault.after -= 1;
                None
            }
            None => None,
        }
    }

    /// A change of names that happens entirely or, with an error, entirely or not at all.
    fn change_name(&mut self, change: NameChange) -> io::Result<()> {
        let fault = self.step();
        if fault.is_none_or(|f| f.outcome == Outcome::Persisted) {
            change.apply(&mut self.names);
            self.pending_names.push(change);
        }
        fault.map_or(Ok(()), |f| Err(injected(f)))
    }

    fn used(&self) -> u64 {
        self.names.values().map(|i| self.inodes[*i].seen.len() as u64).sum()
    }

    fn write(&mut self, inode: usize, write: Write) -> io::Result<()> {
        let end = match &write {
            Write::Bytes(offset, bytes) => offset + bytes.len() as u64,
            Write::SetLen(len) => *len,
        };
        let growth = end.saturating_sub(self.inodes[inode].seen.len() as u64);
        let fault = self.step();
        if growth > 0 && self.capacity.is_some_and(|c| self.used() + growth > c) {
            return Err(io::Error::new(ErrorKind::StorageFull, "the simulated disk is full"));
        }
        let done = match (fault.map(|f| f.outcome), write) {
            (None | Some(Outcome::Persisted), write) => Some(write),
            (Some(Outcome::Half), Write::Bytes(offset, mut bytes)) => {
                bytes.truncate(bytes.len() / 2);
                Some(Write::Bytes(offset, bytes))
            }
            _ => None,
        };
        if let Some(write) = done {
            let inode = &mut self.inodes[inode];
            write.apply(&mut inode.seen);
            inode.pending.push(write);
        }
        fault.map_or(Ok(()), |f| Err(injected(f)))
    }

    fn sync(&mut self, inode: usize) -> io::Result<()> {
        let fault = self.step();
        if let Some(fault) = fault.filter(|f| f.outcome == Outcome::Nothing) {
            return Err(injected(fault));
        }
        let inode = &mut self.inodes[inode];
        let pending = std::mem::take(&mut inode.pending);
        let reached = match fault.map(|f| f.outcome) {
            None | Some(Outcome::Persisted) => pending.len(),
            Some(Outcome::Half) => pending.len() / 2,
            Some(Outcome::Lost | Outcome::Nothing) => 0,
        };
        for write in &pending[..reached] {
            write.apply(&mut inode.durable);
        }
        fault.map_or(Ok(()), |f| Err(injected(f)))
    }

    fn sync_names(&mut self, dir: &str) {
        let (now, later) = std::mem::take(&mut self.pending_names)
            .into_iter()
            .partition::<Vec<_>, _>(|change| change.touches(dir));
        self.pending_names = later;
        for change in now {
            change.apply(&mut self.durable_names);
        }
    }

    fn survive(&self, mode: PowerCut) -> Self {
        let mut rng = SeededRng::new(if let PowerCut::Torn { seed } = mode { seed } else { 0 });
        let mut kept_names = self.durable_names.clone();
        for change in &self.pending_names {
            let keep = match mode {
                PowerCut::LoseUnsynced => false,
                PowerCut::KeepUnsynced => true,
                PowerCut::Torn { .. } => rng.one_in(2),
            };
            if keep {
                change.apply(&mut kept_names);
            }
        }
        let mut names = BTreeMap::new();
        let mut inodes = Vec::new();
        for (path, inode) in kept_names {
            let old = &self.inodes[inode];
            let mut bytes = old.durable.clone();
            match mode {
                PowerCut::LoseUnsynced => {}
                PowerCut::KeepUnsynced => bytes.clone_from(&old.seen),
                PowerCut::Torn { .. } => {
                    for write in
                        old.pending.iter().flat_map(|w| w.tear(old.durable.len(), &mut rng))
                    {
                        write.apply(&mut bytes);
                    }
                }
            }
            names.insert(path, inodes.len());
            inodes.push(Inode {
                bad: old.bad.clone(),
                seen: bytes.clone(),
                durable: bytes,
                pending: Vec::new(),
            });
        }
        Self {
            inodes,
            dirs: self.dirs.clone(),
            durable_names: names.clone(),
            names,
            capacity: self.capacity,
            ..Self::default()
        }
    }
}

fn injected(fault: Fault) -> io::Error {
    io::Error::new(fault.kind, format!("injected fault ({:?})", fault.outcome))
}

/// The canonical spelling of a path; paths that leave the disk are refused.
fn normal(path: &str) -> io::Result<String> {
    let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
    if path.starts_with('/') || parts.contains(&"..") {
        return Err(io::Error::new(ErrorKind::InvalidInput, format!("{path:?} leaves the disk")));
    }
    Ok(parts.join("/"))
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

/// A simulated disk. Clones are handles to the same disk.
#[derive(Debug, Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

impl SimDisk {
    /// An empty disk without limits or faults.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no operation on the state panics")
    }

    /// The disk as it is found when the power is back. Faults and the operation count are reset, the
    /// capacity stays; this disk and its open files go on unharmed.
    #[must_use]
    pub fn power_cut(&self, mode: PowerCut) -> Self {
        Self { state: Arc::new(Mutex::new(self.state().survive(mode))) }
    }

    /// Lets the next `n_ops` changing operations succeed and the one after them fail, once.
    ///
    /// Changing operations: creating opens, writes, `set_len`, syncs, renames, removals and
    /// `create_dir_all` of a directory that is not there.
    pub fn fail_after(&self, n_ops: u64, kind: ErrorKind, outcome: Outcome) {
        self.state().fault = Some(Fault { after: n_ops, kind, outcome });
    }

    /// Lets the next `n_ops` changing operations happen and then turns the power off: all later ones fail
    /// and do nothing, until [`SimDisk::power_cut`] turns it on again. What the rooms above do between
    /// a write and its sync is reached by no other means.
    pub fn power_off_after(&self, n_ops: u64) {
        self.state().power_left = Some(n_ops);
    }

    /// Forgets a fault that has not struck; true if there was one.
    pub fn clear_fault(&self) -> bool {
        self.state().fault.take().is_some()
    }

    /// Limits the bytes of all files together; growing beyond it is [`ErrorKind::StorageFull`].
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// How many changing operations were asked for, failed ones included.
    pub fn op_count(&self) -> u64 {
        self.state().ops
    }

    /// Inverts one bit (0 to 7) of a byte, durably and behind everybody's back.
    pub fn flip_bit(&self, path: &str, offset: u64, bit: u8) -> io::Result<()> {
        let mut bytes = self.read(path)?;
        let byte = bytes.get_mut(offset as usize).ok_or(ErrorKind::UnexpectedEof)?;
        *byte ^= 1 << bit;
        self.plant(path, &bytes)
    }

    /// Cuts a file to `len` bytes, durably and behind everybody's back.
    pub fn truncate(&self, path: &str, len: u64) -> io::Result<()> {
        let mut bytes = self.read(path)?;
        bytes.truncate(len as usize);
        self.plant(path, &bytes)
    }

    /// Makes every read that touches `range` of a file fail, as a bad sector does, until the file is
    /// planted anew.
    pub fn spoil(&self, path: &str, range: Range<u64>) -> io::Result<()> {
        let mut state = self.state();
        let inode = *state.names.get(&normal(path)?).ok_or(ErrorKind::NotFound)?;
        state.inodes[inode].bad = Some(range);
        Ok(())
    }

    /// What readers see of a file.
    pub fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let state = self.state();
        let inode = *state.names.get(&normal(path)?).ok_or(ErrorKind::NotFound)?;
        Ok(state.inodes[inode].seen.clone())
    }

    /// Puts a whole file in place, durable at once, its directories with it; not an operation that
    /// counts or fails.
    pub fn plant(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let path = normal(path)?;
        let mut state = self.state();
        let mut dir = parent(&path);
        while !dir.is_empty() {
            state.dirs.insert(dir.to_owned());
            dir = parent(dir);
        }
        let fresh = state.inodes.len();
        let inode = *state.names.entry(path.clone()).or_insert(fresh);
        if inode == fresh {
            state.inodes.push(Inode::default());
        }
        state.durable_names.insert(path, inode);
        state.inodes[inode] =
            Inode { seen: bytes.to_vec(), durable: bytes.to_vec(), ..Inode::default() };
        Ok(())
    }

    /// Every file's path, sorted.
    pub fn paths(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &str, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let path = normal(path)?;
        let mut state = self.state();
        let inode = match (state.names.get(&path), mode) {
            (Some(inode), _) => *inode,
            (None, OpenMode::Create) => {
                let dir = parent(&path);
                if !(dir.is_empty() || state.dirs.contains(dir)) {
                    return Err(ErrorKind::NotFound.into());
                }
                let inode = state.inodes.len();
                state.inodes.push(Inode::default());
                state.change_name(NameChange::Link { path, inode })?;
                inode
            }
            (None, _) => return Err(ErrorKind::NotFound.into()),
        };
        let handle = state.handles;
        state.handles += 1;
        drop(state);
        let writable = mode != OpenMode::Read;
        Ok(Box::new(SimFile { disk: self.clone(), inode, handle, writable }))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let dir = normal(dir)?;
        let state = self.state();
        let names: BTreeSet<String> = (state.names.keys().chain(&state.dirs))
            .filter(|path| parent(path) == dir)
            .map(|path| path.rsplit('/').next().unwrap_or(path).to_owned())
            .collect();
        Ok(names.into_iter().collect())
    }

    fn create_dir_all(&self, dir: &str) -> io::Result<()> {
        let dir = normal(dir)?;
        let mut state = self.state();
        if dir.is_empty() || state.dirs.contains(&dir) {
            return Ok(());
        }
        let fault = state.step();
        if fault.is_none_or(|f| f.outcome == Outcome::Persisted) {
            let mut dir = dir.as_str();
            while !dir.is_empty() {
                state.dirs.insert(dir.to_owned());
                dir = parent(dir);
            }
        }
        fault.map_or(Ok(()), |f| Err(injected(f)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (normal(from)?, normal(to)?);
        let mut state = self.state();
        let inode = *state.names.get(&from).ok_or(ErrorKind::NotFound)?;
        state.change_name(NameChange::Rename { from, to, inode })
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let path = normal(path)?;
        let mut state = self.state();
        if !state.names.contains_key(&path) {
            return Err(ErrorKind::NotFound.into());
        }
        state.change_name(NameChange::Unlink { path })
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let dir = normal(dir)?;
        let mut state = self.state();
        if !(dir.is_empty() || state.dirs.contains(&dir)) {
            return Err(ErrorKind::NotFound.into());
        }
        let fault = state.step();
        if fault.is_none_or(|f| f.outcome == Outcome::Persisted) {
            state.sync_names(&dir);
        }
        fault.map_or(Ok(()), |f| Err(injected(f)))
    }
}

/// An open file; it stays readable and writable after its name is gone.
#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: usize,
    handle: u64,
    writable: bool,
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.disk.state().locks.remove(&(self.inode, self.handle));
    }
}

impl SimFile {
    fn writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(ErrorKind::PermissionDenied.into()) }
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().inodes[self.inode].seen.len() as u64)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let state = self.disk.state();
        let bytes = &state.inodes[self.inode].seen;
        let start = bytes.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
        let n = buf.len().min(bytes.len() - start);
        let bad = state.inodes[self.inode].bad.as_ref();
        if bad.is_some_and(|b| b.start < offset + n as u64 && offset < b.end) {
            return Err(io::Error::other("bad sector"));
        }
        buf[..n].copy_from_slice(&bytes[start..start + n]);
        Ok(n)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.writable()?;
        self.disk.state().write(self.inode, Write::Bytes(offset, bytes.to_vec()))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.writable()?;
        self.disk.state().write(self.inode, Write::SetLen(len))
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.state().sync(self.inode)
    }

    fn lock(&self, mode: LockMode, wait: bool) -> io::Result<bool> {
        loop {
            let mut state = self.disk.state();
            let others = (self.inode, 0)..=(self.inode, u64::MAX);
            let hindered = state.locks.range(others).any(|((_, handle), held)| {
                *handle != self.handle && (mode, *held) != (LockMode::Shared, LockMode::Shared)
            });
            if !hindered {
                state.locks.insert((self.inode, self.handle), mode);
                return Ok(true);
            }
            if !wait {
                return Ok(false);
            }
            drop(state);
            std::thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use seawall_base::{read_file, write_atomic};

    use super::*;

    fn file(disk: &SimDisk, path: &str) -> Box<dyn DiskFile> {
        disk.open(path, OpenMode::Create).expect("created")
    }

    #[test]
    fn a_power_cut_takes_what_was_not_synced() {
        let disk = SimDisk::new();
        let f = file(&disk, "f");
        f.write_at(0, b"abc").expect("written");
        f.sync().expect("synced");
        disk.sync_dir("").expect("synced");
        f.write_at(1, b"XYZ").expect("written");
        file(&disk, "g");
        let lost = disk.power_cut(PowerCut::LoseUnsynced);
        assert_eq!(
            (lost.read("f").expect("there"), lost.paths()),
            (b"abc".to_vec(), vec!["f".into()])
        );
        let kept = disk.power_cut(PowerCut::KeepUnsynced);
        assert_eq!((kept.read("f").expect("there"), kept.paths().len()), (b"aXYZ".to_vec(), 2));
        assert_eq!(disk.read("f").expect("there"), b"aXYZ", "the old disk goes on");
    }

    #[test]
    fn tearing_is_seeded_and_reaches_every_outcome() {
        let disk = SimDisk::new();
        let f = file(&disk, "f");
        disk.sync_dir("").expect("synced");
        f.write_at(0, &[7; 40]).expect("written");
        let torn = |seed| disk.power_cut(PowerCut::Torn { seed }).read("f").expect("there");
        let outcomes: BTreeSet<Vec<u8>> = (0..200).map(torn).collect();
        assert_eq!(torn(3), torn(3));
        assert!(outcomes.contains(&vec![]) && outcomes.contains(&vec![7; 40]));
        assert!(outcomes.iter().any(|o| o.len() == 40 && o.contains(&0)), "zero-filled");
        assert!(outcomes.iter().any(|o| (1..40).contains(&o.len()) && !o.contains(&0)), "cut");
    }

    #[test]
    fn replacing_a_file_is_atomic_under_every_tear() {
        let disk = SimDisk::new();
        write_atomic(&disk, "f", b"old").expect("written");
        for op in 0..6 {
            let disk = disk.power_cut(PowerCut::KeepUnsynced);
            disk.fail_after(op, ErrorKind::Other, Outcome::Lost);
            let result = write_atomic(&disk, "f", b"newer");
            for seed in 0..50 {
                let back = disk.power_cut(PowerCut::Torn { seed });
                let bytes = read_file(&back, "f", 9).expect("read").expect("never without a file");
                let acknowledged = result.is_ok();
                assert!(bytes == b"newer" || (!acknowledged && bytes == b"old"), "{bytes:?}");
            }
        }
    }

    #[test]
    fn faults_strike_once_and_lose_or_persist() {
        for (outcome, seen) in
            [(Outcome::Lost, &b""[..]), (Outcome::Persisted, b"abcd"), (Outcome::Half, b"ab")]
        {
            let disk = SimDisk::new();
            let f = file(&disk, "f");
            disk.fail_after(0, ErrorKind::Other, outcome);
            assert_eq!(f.write_at(0, b"abcd").expect_err("injected").kind(), ErrorKind::Other);
            assert_eq!(disk.read("f").expect("there"), seen);
            f.write_at(0, b"z").expect("the fault is spent");
            assert_eq!(disk.op_count(), 3);
        }
    }

    #[test]
    fn what_a_failed_sync_lost_no_later_sync_brings_back() {
        for (outcome, left) in
            [(Outcome::Lost, &b""[..]), (Outcome::Persisted, b"abcd"), (Outcome::Half, b"ab")]
        {
            let disk = SimDisk::new();
            let f = file(&disk, "f");
            disk.sync_dir("").expect("synced");
            f.write_at(0, b"ab").expect("written");
            f.write_at(2, b"cd").expect("written");
            disk.fail_after(0, ErrorKind::Other, outcome);
            f.sync().expect_err("injected");
            f.sync().expect("a later one succeeds");
            assert_eq!(disk.read("f").expect("there"), b"abcd", "still readable");
            assert_eq!(disk.power_cut(PowerCut::LoseUnsynced).read("f").expect("there"), left);
        }
    }

    #[test]
    fn without_power_nothing_happens_until_it_is_back() {
        let disk = SimDisk::new();
        let f = file(&disk, "f");
        disk.sync_dir("").expect("synced");
        disk.power_off_after(1);
        f.write_at(0, b"ab").expect("the last operation");
        for result in [f.write_at(2, b"cd"), f.sync(), f.set_len(9), disk.remove("f")] {
            result.expect_err("no power");
        }
        assert_eq!(disk.read("f").expect("there"), b"ab");
        let torn = |seed| disk.power_cut(PowerCut::Torn { seed }).read("f").expect("there");
        assert!((0..50).any(|s| torn(s) == b"a"), "the failed sync left the write pending");
        let back = disk.power_cut(PowerCut::LoseUnsynced);
        assert_eq!(back.read("f").expect("there"), b"");
        back.remove("f").expect("the power is back");
    }

    #[test]
    fn locks_end_with_their_handle_and_with_the_power() {
        let disk = SimDisk::new();
        let [a, b] = [0; 2].map(|_| file(&disk, "f"));
        assert!(a.lock(LockMode::Shared, false).expect("asked"));
        assert!(b.lock(LockMode::Shared, false).expect("asked"));
        assert!(!a.lock(LockMode::Exclusive, false).expect("asked"));
        let back = disk.power_cut(PowerCut::KeepUnsynced);
        assert!(file(&back, "f").lock(LockMode::Exclusive, false).expect("asked"));
        drop(b);
        assert!(a.lock(LockMode::Exclusive, true).expect("asked"), "stronger now");
        assert!(!file(&disk, "f").lock(LockMode::Shared, false).expect("asked"));
        drop(a);
        assert!(file(&disk, "f").lock(LockMode::Exclusive, false).expect("asked"));
    }

    #[test]
    fn a_full_disk_refuses_growth_and_nothing_else() {
        let disk = SimDisk::new();
        disk.set_capacity(Some(4));
        let f = file(&disk, "f");
        f.write_at(0, b"abcd").expect("fits");
        for result in [f.write_at(3, b"XY"), f.set_len(5)] {
            assert_eq!(result.expect_err("full").kind(), ErrorKind::StorageFull);
        }
        f.write_at(0, b"ABCD").expect("overwriting needs no room");
        disk.remove("f").expect("removed");
        file(&disk, "g").write_at(0, b"1234").expect("the room is free again");
    }

    #[test]
    fn names_files_and_modes_behave() {
        let disk = SimDisk::new();
        assert_eq!(
            disk.open("d/f", OpenMode::Create).err().map(|e| e.kind()),
            Some(ErrorKind::NotFound)
        );
        disk.create_dir_all("d/e").expect("created");
        file(&disk, "d/f").set_len(3).expect("extended");
        assert_eq!(disk.list("d").expect("listed"), ["e", "f"]);
        assert_eq!(disk.list("nowhere").expect("empty"), [""; 0]);
        disk.rename("d/f", "d/e/g").expect("renamed");
        assert_eq!(disk.paths(), ["d/e/g"]);
        let reader = disk.open("d/e/g", OpenMode::Read).expect("opened");
        assert_eq!(
            reader.write_at(0, b"x").expect_err("read only").kind(),
            ErrorKind::PermissionDenied
        );
        assert!(
            disk.open("../x", OpenMode::Create).is_err()
                && disk.open("/x", OpenMode::Create).is_err()
        );
        disk.flip_bit("d/e/g", 1, 7).expect("flipped");
        disk.truncate("d/e/g", 2).expect("cut");
        assert_eq!(disk.read("d/e/g").expect("read"), [0, 0x80]);
        assert!(disk.flip_bit("d/e/g", 2, 0).is_err());
        disk.spoil("d/e/g", 1..2).expect("spoiled");
        assert!(reader.read_at(0, &mut [0; 2]).is_err());
        assert_eq!(reader.read_at(0, &mut [0; 1]).expect("beside it"), 1);
        assert!(!disk.clear_fault());
    }
}
