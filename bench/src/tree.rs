//! File trees: walking, counting, warming, copying, comparing.

use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// What lies in a tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Totals {
    /// Regular files.
    pub(crate) files: u64,
    /// Directories, the root among them.
    pub(crate) directories: u64,
    /// Bytes the files say they have.
    pub(crate) bytes: u64,
    /// Bytes the disk gives for files and directories.
    pub(crate) allocated: u64,
}

/// One entry, relative to the root of the walk.
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    pub(crate) metadata: Metadata,
}

/// Every entry below `root`, parents first, by name within a directory; no link is followed.
pub(crate) fn entries(root: &Path) -> Result<Vec<Entry>> {
    let mut found = Vec::new();
    let mut left = vec![PathBuf::new()];
    while let Some(dir) = left.pop() {
        let at = root.join(&dir);
        let mut names = fs::read_dir(&at)
            .and_then(|names| {
                names.map(|e| e.map(|e| e.file_name())).collect::<Result<Vec<_>, _>>()
            })
            .with_context(|| format!("reading {}", at.display()))?;
        names.sort();
        for name in names {
            let path = dir.join(name);
            let metadata = fs::symlink_metadata(root.join(&path))
                .with_context(|| format!("looking at {}", root.join(&path).display()))?;
            if metadata.is_dir() {
                left.push(path.clone());
            }
            found.push(Entry { path, metadata });
        }
    }
    Ok(found)
}

/// The paths of all regular files, sorted.
pub(crate) fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut paths: Vec<_> = entries(root)?
        .into_iter()
        .filter_map(|entry| entry.metadata.is_file().then_some(entry.path))
        .collect();
    paths.sort();
    Ok(paths)
}

pub(crate) fn totals(root: &Path) -> Result<Totals> {
    let mut totals = Totals { directories: 1, ..Totals::default() };
    for Entry { metadata, .. } in entries(root)? {
        totals.allocated += metadata.blocks() * 512;
        if metadata.is_dir() {
            totals.directories += 1;
        } else if metadata.is_file() {
            totals.files += 1;
            totals.bytes += metadata.len();
        }
    }
    Ok(totals)
}

/// Reads every file once, so that the page cache holds what fits.
pub(crate) fn warm(root: &Path) -> Result<()> {
    let mut buffer = vec![0; 1 << 20];
    for path in files(root)? {
        let mut file =
            File::open(root.join(&path)).with_context(|| format!("warming {}", path.display()))?;
        while file.read(&mut buffer)? > 0 {}
    }
    Ok(())
}

/// Copies one file or link with mode and modification time, making its parents.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    let doing = || format!("copying {} to {}", from.display(), to.display());
    parents(to)?;
    let metadata = fs::symlink_metadata(from).with_context(doing)?;
    if metadata.is_symlink() {
        return symlink(fs::read_link(from)?, to).with_context(doing);
    }
    fs::copy(from, to).with_context(doing)?;
    dated(to, &metadata).with_context(doing)
}

/// Copies a whole tree of files, directories and links.
pub(crate) fn copy_all(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for Entry { path, metadata } in entries(from)? {
        if metadata.is_dir() {
            fs::create_dir_all(to.join(&path))?;
            fs::set_permissions(to.join(&path), metadata.permissions())?;
        } else {
            copy(&from.join(&path), &to.join(&path))?;
        }
    }
    Ok(())
}

/// Writes a file, making its parents.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    parents(path)?;
    fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}

/// Renames, making the parents of the new name.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    parents(to)?;
    fs::rename(from, to).with_context(|| format!("renaming {} to {}", from.display(), to.display()))
}

/// Whether a name is there, even as a dangling link.
pub(crate) fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Removes a tree, if it is there.
pub(crate) fn remove(path: &Path) -> Result<()> {
    if !is_there(path) {
        return Ok(());
    }
    fs::remove_dir_all(path).with_context(|| format!("removing {}", path.display()))
}

fn parents(path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))
}

fn dated(path: &Path, metadata: &Metadata) -> Result<()> {
    // Opened for reading: setting times needs ownership, not write permission.
    File::open(path)?.set_modified(metadata.modified()?)?;
    Ok(())
}

/// How a restored tree differs from its source.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Differences {
    /// Entries that are in one tree only, or of another kind, content or link target.
    pub(crate) content: u64,
    /// Files and directories with another mode.
    pub(crate) mode: u64,
    /// Files with another owner or group.
    pub(crate) owner: u64,
    /// Files with another modification time, to the nanosecond.
    pub(crate) mtime: u64,
    /// The first difference of content.
    pub(crate) first: Option<String>,
}

/// Compares two trees, every byte of them.
pub(crate) fn differences(source: &Path, restored: &Path) -> Result<Differences> {
    let mut found = Differences::default();
    let wanted = entries(source)?;
    for Entry { path, metadata } in &wanted {
        let (from, to) = (source.join(path), restored.join(path));
        let Ok(got) = fs::symlink_metadata(&to) else {
            found.content(path, "is missing");
            continue;
        };
        if got.file_type() != metadata.file_type() {
            found.content(path, "is of another kind");
        } else if metadata.is_symlink() {
            if fs::read_link(&from)? != fs::read_link(&to)? {
                found.content(path, "leads elsewhere");
            }
            continue;
        } else if metadata.is_file() {
            if got.len() != metadata.len() || !same_bytes(&from, &to)? {
                found.content(path, "has other bytes");
            }
            let times = |m: &Metadata| (m.mtime(), m.mtime_nsec());
            found.mtime += u64::from(times(&got) != times(metadata));
            found.owner += u64::from((got.uid(), got.gid()) != (metadata.uid(), metadata.gid()));
        }
        found.mode += u64::from(got.permissions().mode() != metadata.permissions().mode());
    }
    let restored = entries(restored)?.len();
    if restored > wanted.len() {
        found.content(Path::new("."), "has entries that the source has not");
    }
    Ok(found)
}

impl Differences {
    fn content(&mut self, path: &Path, how: &str) {
        self.content += 1;
        self.first.get_or_insert_with(|| format!("{} {how}", path.display()));
    }
}

/// Whether two files hold the same bytes.
pub(crate) fn same_bytes(a: &Path, b: &Path) -> Result<bool> {
    let (mut a, mut b) = (File::open(a)?, File::open(b)?);
    let (mut left, mut right) = (vec![0; 1 << 18], vec![0; 1 << 18]);
    loop {
        let (n, m) = (filled(&mut a, &mut left)?, filled(&mut b, &mut right)?);
        if left[..n] != right[..m] {
            return Ok(false);
        }
        if n == 0 {
            return Ok(true);
        }
    }
}

fn filled(file: &mut File, buffer: &mut [u8]) -> Result<usize> {
    let mut have = 0;
    while have < buffer.len() {
        match file.read(&mut buffer[have..])? {
            0 => break,
            n => have += n,
        }
    }
    Ok(have)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_no_differences_and_each_kind_of_change_is_found() {
        let dir = tempfile::tempdir().expect("a directory");
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        write(&a.join("sub/file"), b"one").expect("written");
        write(&a.join("other"), b"two").expect("written");
        symlink("sub/file", a.join("link")).expect("linked");
        copy_all(&a, &b).expect("copied");
        assert_eq!(differences(&a, &b).expect("compared"), Differences::default());
        assert_eq!(totals(&b).expect("counted").files, 2);

        write(&b.join("other"), b"twO").expect("written");
        fs::remove_file(b.join("link")).expect("removed");
        fs::set_permissions(b.join("sub"), fs::Permissions::from_mode(0o700)).expect("set");
        let found = differences(&a, &b).expect("compared");
        assert_eq!((found.content, found.mode, found.mtime), (2, 1, 1));
        assert_eq!(found.first.as_deref(), Some("link is missing"));

        write(&b.join("link"), b"").expect("written");
        write(&b.join("more"), b"").expect("written");
        assert_eq!(differences(&a, &b).expect("compared").content, 3);
    }
}
