//! The text files of the workspace, read once.

use std::fs;
use std::io;
use std::path::Path;

/// Every text file people write here, by path relative to the workspace, in order.
#[derive(Default)]
pub(super) struct Tree {
    files: Vec<(String, String)>,
}

/// What people write; the rest (seeds of fuzzers, golden vectors) is data.
const WRITTEN: &[&str] = &["rs", "toml", "md", "py", "yml", "yaml", "sh"];

/// Directories of things nobody wrote.
const GENERATED: &[&str] = &[".git", "target", "fuzz/corpus", "fuzz/artifacts"];

/// Whether a path names a Rust file.
pub(super) fn is_rust(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|kind| kind == "rs")
}

impl Tree {
    pub(super) fn read(root: &Path) -> io::Result<Self> {
        let mut tree = Self::default();
        tree.walk(root, "")?;
        tree.files.sort();
        Ok(tree)
    }

    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|&(path, text)| (path.to_owned(), text.to_owned()));
        Self { files: files.collect() }
    }

    /// Walks on disk rather than asking version control, so that a tarball is tidy too.
    fn walk(&mut self, dir: &Path, prefix: &str) -> io::Result<()> {
        // Build directories, whatever they are called, carry this tag.
        if dir.join("CACHEDIR.TAG").exists() {
            return Ok(());
        }
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = format!("{prefix}{name}");
            let kind = entry.file_type()?;
            if kind.is_dir() && !GENERATED.contains(&path.as_str()) {
                self.walk(&entry.path(), &format!("{path}/"))?;
            } else if kind.is_file()
                && name.rsplit_once('.').is_some_and(|(_, kind)| WRITTEN.contains(&kind))
            {
                self.files.push((path, fs::read_to_string(entry.path())?));
            }
        }
        Ok(())
    }

    pub(super) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    pub(super) fn get(&self, path: &str) -> Option<&str> {
        self.files().find(|(at, _)| *at == path).map(|(_, text)| text)
    }
}
