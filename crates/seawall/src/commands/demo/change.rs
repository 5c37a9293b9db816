//! What a day does to a tree: a file grows, one is edited, one goes, one comes.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Changes a few files below `root` and says which.
pub(super) fn change(root: &Path) -> anyhow::Result<String> {
    let mut files = Vec::new();
    collect(root, &mut files)?;
    files.sort();
    let note = root.join("seawall-demo-note.txt");
    fs::write(&note, "this file came between two snapshots\n")
        .with_context(|| format!("cannot write {}", note.display()))?;
    let mut done = vec!["1 file new".to_owned()];
    // The longest file is edited in its middle: one chunk of it travels, not all of it.
    if let Some((len, path)) = files.last().filter(|(len, _)| *len > 0) {
        let file = OpenOptions::new().write(true).open(path);
        let file = file.with_context(|| format!("cannot edit {}", path.display()))?;
        file.write_all_at(b"seawall", len / 2)
            .with_context(|| format!("cannot edit {}", path.display()))?;
        done.push(format!("7 bytes of a {} file edited", crate::output::human(*len)));
    }
    if files.len() > 2 {
        let path = &files[files.len() / 2].1;
        fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
        done.push("1 file removed".to_owned());
    }
    Ok(done.join(", "))
}

/// Regular files that have one name, with their lengths.
fn collect(dir: &Path, files: &mut Vec<(u64, PathBuf)>) -> anyhow::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        let entries =
            fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))?;
        for entry in entries {
            let entry = entry?;
            let meta = entry.metadata()?;
            if meta.is_dir() {
                dirs.push(entry.path());
            } else if meta.is_file() && meta.nlink() == 1 {
                files.push((meta.len(), entry.path()));
            }
        }
    }
    Ok(())
}
