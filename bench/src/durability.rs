//! Whether what a program reports as backed up is on the disk: which of the files that a first
//! backup wrote into the repository were synced before it returned, as `strace` sees it.
//!
//! A file counts when it was handed to `fsync` or `fdatasync`, or opened for synchronous writes,
//! under its name or the one it was renamed from; a sync of the whole file system counts for all.
//! `sync_file_range` does not count: it flushes neither metadata nor the disk's cache. What is not seen: syncs through `io_uring`, which is said, and whether
//! a file grew after its sync. Files nobody needs for a restore (caches in the repository) may be
//! left out of syncs with reason, so bytes say more than files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::seeded::Seeded;
use crate::tools::Tool;
use crate::tree::{self, entries};

/// What one first backup synced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Durability {
    /// Files of the repository that the backup made or changed.
    pub(crate) files: u64,
    /// Those of them that it synced.
    pub(crate) synced_files: u64,
    pub(crate) bytes: u64,
    pub(crate) synced_bytes: u64,
    /// Directories of the repository that it synced.
    pub(crate) synced_directories: u64,
    /// It used `io_uring`, whose syncs are not seen.
    pub(crate) uring: bool,
}

impl Durability {
    /// One cell of a table.
    pub(crate) fn text(&self) -> String {
        let verdict = match (self.synced_bytes, self.bytes) {
            (_, 0) => "unknown",
            (0, _) => "no",
            (synced, bytes) if synced * 100 >= bytes * 99 => "yes",
            _ => "partly",
        };
        let percent = 100.0 * self.synced_bytes as f64 / self.bytes.max(1) as f64;
        let uring = if self.uring { "; io_uring not seen" } else { "" };
        format!(
            "{verdict}: {} of {} files, {percent:.0} % of the bytes, {} directories{uring}",
            self.synced_files, self.files, self.synced_directories
        )
    }
}

/// Backs up a small tree under `strace`.
pub(crate) fn probe(tool: &Tool, scratch: &Path) -> Result<Durability> {
    let source = scratch.join("probe/source");
    if !source.is_dir() {
        let mut seeded = Seeded::new(1, "probe");
        for index in 0..200 {
            tree::write(&source.join(format!("text/{index}")), &seeded.text(3000))?;
            tree::write(&source.join(format!("noise/{index}")), &seeded.noise(100_000))?;
        }
    }
    let place = tool.start(scratch)?;
    let before = stamps(&place.repository())?;
    let log = scratch.join("probe").join(format!("{}.strace", tool.name.text()));
    place.backup(&source, "probe").traced(&log)?;
    let after = stamps(&place.repository())?;
    let synced = Synced::read(&String::from_utf8_lossy(&fs::read(&log)?));
    let mut found = Durability { uring: synced.uring, ..Durability::default() };
    for (path, stamp) in &after {
        if before.get(path) == Some(stamp) {
            continue;
        }
        let was = synced.all || synced.paths.contains(path);
        found.files += 1;
        found.bytes += stamp.0;
        found.synced_files += u64::from(was);
        found.synced_bytes += if was { stamp.0 } else { 0 };
    }
    let inside = synced.paths.iter().filter(|path| path.starts_with(place.repository()));
    found.synced_directories = inside.filter(|path| path.is_dir()).count() as u64;
    tree::remove(place.dir())?;
    Ok(found)
}

/// Length and time of change of every file.
type Stamps = BTreeMap<PathBuf, (u64, i64, i64)>;

fn stamps(root: &Path) -> Result<Stamps> {
    let files = entries(root)?.into_iter().filter(|entry| entry.metadata.is_file());
    let stamp = |m: &fs::Metadata| (m.len(), m.mtime(), m.mtime_nsec());
    Ok(files.map(|entry| (root.join(&entry.path), stamp(&entry.metadata))).collect())
}

/// What a trace shows.
#[derive(Debug, Default)]
struct Synced {
    paths: BTreeSet<PathBuf>,
    all: bool,
    uring: bool,
}

impl Synced {
    fn read(trace: &str) -> Self {
        let mut synced = Self::default();
        for line in trace.lines() {
            // `PID call(arguments…`; what was resumed has been seen when it began.
            let Some((_, call)) = line.split_once(' ') else { continue };
            let Some((name, arguments)) = call.trim_start().split_once('(') else { continue };
            synced.call(name, arguments);
        }
        synced
    }

    fn call(&mut self, name: &str, arguments: &str) {
        match name {
            "sync" | "syncfs" => self.all = true,
            "io_uring_enter" => self.uring = true,
            "fsync" | "fdatasync" => {
                self.paths.extend(descriptor(arguments));
            }
            "openat" if arguments.contains("SYNC") => {
                self.paths.extend(named(arguments).into_iter().next());
            }
            "rename" | "renameat" | "renameat2" | "link" | "linkat" => {
                if let [from, to] = &named(arguments)[..]
                    && self.paths.contains(from)
                {
                    self.paths.insert(to.clone());
                }
            }
            _ => {}
        }
    }
}

/// The path of the first descriptor, as in `3</a/b>`.
fn descriptor(arguments: &str) -> Option<PathBuf> {
    let (_, rest) = arguments.split_once('<')?;
    let (path, _) = rest.split_once('>')?;
    Some(PathBuf::from(path.trim_end_matches(" (deleted)")))
}

/// The quoted paths, each below the directory before it if it is relative to one.
fn named(arguments: &str) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    let mut dir: Option<PathBuf> = None;
    for (index, part) in arguments.split('"').enumerate() {
        if index % 2 == 0 {
            dir = descriptor(part).or(dir);
        } else {
            paths.push(dir.as_ref().map_or_else(|| PathBuf::from(part), |dir| dir.join(part)));
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = r#"101 openat(AT_FDCWD</home>, "/r/a.tmp", O_WRONLY|O_CREAT, 0600) = 3</r/a.tmp>
101 fsync(3</r/a.tmp>)                  = 0
102 rename("/r/a.tmp", "/r/a") = 0
102 rename("/r/b.tmp", "/r/b") = 0
103 fdatasync(7</r/c> <unfinished ...>
103 <... fdatasync resumed>)            = 0
103 openat(AT_FDCWD</home>, "/r/d", O_WRONLY|O_CREAT|O_DSYNC, 0600) = 3</r/d>
104 fsync(9</r/e>)                      = 0
104 renameat(5</r>, "e", 6</r/sub>, "f") = 0
"#;

    #[test]
    fn syncs_are_followed_through_renames() {
        let synced = Synced::read(TRACE);
        let is = |path: &str| synced.paths.contains(Path::new(path));
        assert!(is("/r/a") && is("/r/c") && is("/r/d") && is("/r/sub/f"), "{synced:?}");
        assert!(!is("/r/b") && !synced.all && !synced.uring, "{synced:?}");
        assert!(Synced::read("1 syncfs(3</r>) = 0").all);
    }

    #[test]
    fn a_verdict_goes_by_bytes() {
        let of = |synced_bytes| Durability { bytes: 1000, synced_bytes, ..Durability::default() };
        let verdict = |d: Durability| d.text().split(':').next().map(str::to_owned);
        assert_eq!(verdict(of(0)).as_deref(), Some("no"));
        assert_eq!(verdict(of(500)).as_deref(), Some("partly"));
        assert_eq!(verdict(of(995)).as_deref(), Some("yes"));
    }
}
