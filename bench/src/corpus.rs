//! Corpora: made once in the scratch directory, changed and changed back between phases.
//!
//! A corpus is a directory with
//!
//! ```text
//! tree/       what is backed up, in its first state
//! delta/      what the change brings: new and replacing files, at their paths
//! undo/       what the change took away, while it is applied
//! made.json   what this corpus was made from; written last
//! ```
//!
//! The change is made by renames, so that all that did not change keeps its inode, times and
//! place, as a file cache expects of a real change; two full copies would be all new to it. Each
//! path is in exactly one of two states, so an interrupted change is undone like a whole one.
//!
//! Rejected: changing files in place. Undoing it would need the same copies and leave other times.

pub(crate) mod image;
pub(crate) mod media;
pub(crate) mod os_tree;
pub(crate) mod postgres;
pub(crate) mod tiny;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::seeded::{Seeded, hash};
use crate::tree::{self, Totals};

/// Counts up when a corpus of the same name and seed is made in another way.
const RECIPE: u32 = 1;

/// The kinds of corpora, in the order of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    OsTree,
    Image,
    Media,
    Tiny,
    Postgres,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] =
        [Self::OsTree, Self::Image, Self::Media, Self::Tiny, Self::Postgres];

    /// The name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OsTree => "os-tree",
            Self::Image => "disk-image",
            Self::Media => "media",
            Self::Tiny => "tiny",
            Self::Postgres => "postgres",
        }
    }

    /// What it is, for the head of its table.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::OsTree => "OS tree",
            Self::Image => "raw disk image with ext4, before and after a package upgrade",
            Self::Media => "incompressible media",
            Self::Tiny => "tiny files",
            Self::Postgres => "PostgreSQL data directory, before and after pgbench",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// How large the corpora are, in percent of what the goals are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scale(pub(crate) u64);

impl Scale {
    pub(crate) const FULL: Self = Self(100);

    /// A count or a size at this scale, at least `least`.
    pub(crate) fn of(self, whole: u64, least: u64) -> u64 {
        (whole * self.0 / 100).max(least)
    }
}

/// What a corpus was made from, and what changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Made {
    recipe: u32,
    seed: u64,
    scale: Scale,
    totals: Totals,
    changes: Changes,
}

/// Paths that a change concerns.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Changes {
    /// In `delta/`: files that are new or replace one.
    pub(crate) brought: BTreeSet<PathBuf>,
    /// Files that go without a replacement.
    pub(crate) removed: BTreeSet<PathBuf>,
}

/// A corpus that is there.
pub(crate) struct Corpus {
    pub(crate) kind: Kind,
    dir: PathBuf,
    made: Made,
}

impl Corpus {
    /// Makes the corpus below `scratch`, or takes the one that an earlier run left there.
    pub(crate) fn made(scratch: &Path, kind: Kind, seed: u64, scale: Scale) -> Result<Self> {
        let dir = scratch.join("corpora").join(kind.name());
        let note = dir.join("made.json");
        if let Some(made) = read(&note)?
            && (made.recipe, made.seed, made.scale) == (RECIPE, seed, scale)
        {
            let corpus = Self { kind, dir, made };
            corpus.change_back()?;
            return Ok(corpus);
        }
        eprintln!("making corpus {}", kind.name());
        tree::remove(&dir)?;
        fs::create_dir_all(dir.join("delta"))?;
        let changes = match kind {
            Kind::OsTree => os_tree::make(&dir, scratch, seed, scale),
            Kind::Image => image::make(&dir, scratch, seed, scale),
            Kind::Media => media::make(&dir, seed, scale),
            Kind::Tiny => tiny::make(&dir, seed, scale),
            Kind::Postgres => postgres::make(&dir, seed, scale),
        }
        .with_context(|| format!("making corpus {}", kind.name()))?;
        let totals = tree::totals(&dir.join("tree"))?;
        let made = Made { recipe: RECIPE, seed, scale, totals, changes };
        tree::write(&note, &serde_json::to_vec_pretty(&made)?)?;
        Ok(Self { kind, dir, made })
    }

    /// What is backed up.
    pub(crate) fn tree(&self) -> PathBuf {
        self.dir.join("tree")
    }

    /// What lies in it before the change.
    pub(crate) fn totals(&self) -> Totals {
        self.made.totals
    }

    /// How many files the change brings and removes.
    pub(crate) fn changed(&self) -> (usize, usize) {
        (self.made.changes.brought.len(), self.made.changes.removed.len())
    }

    /// Applies the change.
    pub(crate) fn change(&self) -> Result<()> {
        let [tree, delta, undo] = ["tree", "delta", "undo"].map(|name| self.dir.join(name));
        for path in self.paths() {
            if tree::is_there(&tree.join(path)) {
                tree::rename(&tree.join(path), &undo.join(path))?;
            }
            if self.made.changes.brought.contains(path) {
                tree::rename(&delta.join(path), &tree.join(path))?;
            }
        }
        Ok(())
    }

    /// Undoes the change, or what was done of it.
    pub(crate) fn change_back(&self) -> Result<()> {
        let [tree, delta, undo] = ["tree", "delta", "undo"].map(|name| self.dir.join(name));
        for path in self.paths() {
            let brought = self.made.changes.brought.contains(path);
            if brought && !tree::is_there(&delta.join(path)) {
                tree::rename(&tree.join(path), &delta.join(path))?;
            }
            if tree::is_there(&undo.join(path)) {
                tree::rename(&undo.join(path), &tree.join(path))?;
            }
        }
        tree::remove(&undo)
    }

    fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.made.changes.removed.union(&self.made.changes.brought)
    }
}

fn read(note: &Path) -> Result<Option<Made>> {
    match fs::read(note) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", note.display())),
    }
}

/// What new files are made of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Matter {
    Text,
    Noise,
}

impl Matter {
    pub(crate) fn bytes(self, seeded: &mut Seeded, length: usize) -> Vec<u8> {
        match self {
            Self::Text => seeded.text(length),
            Self::Noise => seeded.noise(length),
        }
    }
}

/// Prepares a change of 1 % of the files below `dir/tree`: of a hundred changed files, 70 are
/// edited, 10 are new, 10 go, 10 move to another directory. Few files: one is edited, one is new.
pub(crate) fn one_percent(dir: &Path, seed: u64, matter: Matter) -> Result<Changes> {
    let (tree, delta) = (dir.join("tree"), dir.join("delta"));
    let mut paths = tree::files(&tree)?;
    if paths.is_empty() {
        bail!("no file to change");
    }
    paths.sort_by_key(|path| hash(path.as_os_str().as_encoded_bytes()) ^ hash(&seed.to_le_bytes()));
    let mut seeded = Seeded::new(seed, "one percent");
    let count = (paths.len() / 100).max(1);
    let mut changes = Changes::default();
    for (index, path) in paths.iter().take(count).enumerate() {
        let from = tree.join(path);
        match index % 10 {
            1 => {
                let length = fs::metadata(&from)?.len().min(10 << 20) as usize;
                let new = path.with_added_extension("new");
                tree::write(&delta.join(&new), &matter.bytes(&mut seeded, length))?;
                changes.brought.insert(new);
            }
            2 => {
                changes.removed.insert(path.clone());
            }
            3 => {
                let to = moved(&paths[(index * 7919) % paths.len()], path);
                tree::copy(&from, &delta.join(&to))?;
                changes.brought.insert(to);
                changes.removed.insert(path.clone());
            }
            _ => {
                tree::write(&delta.join(path), &edited(&from, &mut seeded, matter)?)?;
                changes.brought.insert(path.clone());
            }
        }
    }
    if count < 10 {
        let new = paths[0].with_added_extension("new");
        tree::write(&delta.join(&new), &matter.bytes(&mut seeded, 10 << 20))?;
        changes.brought.insert(new);
    }
    Ok(changes)
}

/// The name of `path` in the directory of `neighbour`.
fn moved(neighbour: &Path, path: &Path) -> PathBuf {
    let name = path.with_added_extension("moved");
    neighbour.with_file_name(name.file_name().unwrap_or(name.as_os_str()))
}

/// A tenth of the file, at most 64 KiB, is overwritten somewhere, and a line is added.
fn edited(file: &Path, seeded: &mut Seeded, matter: Matter) -> Result<Vec<u8>> {
    let mut bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let length = (bytes.len() / 10).min(64 << 10);
    let at = seeded.below((bytes.len() - length) as u64 + 1) as usize;
    bytes[at..at + length].copy_from_slice(&matter.bytes(seeded, length));
    bytes.extend(matter.bytes(seeded, 40));
    Ok(bytes)
}

/// Makes a change from a second tree: what differs is moved to `dir/delta`, the rest is dropped.
pub(crate) fn change_to(dir: &Path, after: &Path) -> Result<Changes> {
    let (tree, delta) = (dir.join("tree"), dir.join("delta"));
    let mut changes = Changes::default();
    for path in tree::files(after)? {
        let (old, new) = (tree.join(&path), after.join(&path));
        if !tree::is_there(&old) || !tree::same_bytes(&old, &new)? {
            tree::rename(&new, &delta.join(&path))?;
            changes.brought.insert(path);
        }
    }
    for path in tree::files(&tree)? {
        if !tree::is_there(&after.join(&path)) && !changes.brought.contains(&path) {
            changes.removed.insert(path);
        }
    }
    tree::remove(after)?;
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Differences, copy_all, differences};

    fn corpus(dir: &Path, files: usize) -> Corpus {
        for index in 0..files {
            let path = dir.join(format!("tree/{}/{index}", index % 7));
            tree::write(&path, &Seeded::new(3, "test").text(300 + index)).expect("written");
        }
        let changes = one_percent(dir, 3, Matter::Text).expect("prepared");
        let totals = tree::totals(&dir.join("tree")).expect("counted");
        let made = Made { recipe: RECIPE, seed: 3, scale: Scale::FULL, totals, changes };
        Corpus { kind: Kind::Tiny, dir: dir.to_owned(), made }
    }

    #[test]
    fn a_change_concerns_one_percent_and_can_be_undone() {
        let dir = tempfile::tempdir().expect("a directory");
        let corpus = corpus(dir.path(), 2000);
        let copy = dir.path().join("copy");
        copy_all(&corpus.tree(), &copy).expect("copied");
        let (brought, removed) = corpus.changed();
        assert_eq!((brought, removed), (18, 4), "of 20: 14 edited, 2 new, 2 gone, 2 moved");
        corpus.change().expect("changed");
        let found = differences(&copy, &corpus.tree()).expect("compared");
        assert_eq!(
            found.content,
            14 + 2 + 2,
            "edited, gone and moved; the new are as many as the gone"
        );
        corpus.change_back().expect("changed back");
        assert_eq!(differences(&copy, &corpus.tree()).expect("compared"), Differences::default());
        corpus.change_back().expect("changed back twice");
        assert_eq!(differences(&copy, &corpus.tree()).expect("compared"), Differences::default());
    }

    #[test]
    fn half_a_change_can_be_undone() {
        let dir = tempfile::tempdir().expect("a directory");
        let corpus = corpus(dir.path(), 2000);
        let copy = dir.path().join("copy");
        copy_all(&corpus.tree(), &copy).expect("copied");
        // As when the run died: every third step of the change was done.
        for (index, path) in corpus.paths().enumerate() {
            let [tree, delta, undo] =
                ["tree", "delta", "undo"].map(|name| dir.path().join(name).join(path));
            if index % 3 > 0 && tree::is_there(&tree) {
                tree::rename(&tree, &undo).expect("renamed");
            }
            if index % 3 > 1 && tree::is_there(&delta) {
                tree::rename(&delta, &tree).expect("renamed");
            }
        }
        corpus.change_back().expect("changed back");
        assert_eq!(differences(&copy, &corpus.tree()).expect("compared"), Differences::default());
    }

    #[test]
    fn a_second_tree_becomes_a_change() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |path: &str| dir.path().join(path);
        for (path, bytes) in [("same", "1"), ("edited", "2"), ("gone", "3")] {
            tree::write(&at("tree").join(path), bytes.as_bytes()).expect("written");
        }
        for (path, bytes) in [("same", "1"), ("edited", "two"), ("new", "4")] {
            tree::write(&at("after").join(path), bytes.as_bytes()).expect("written");
        }
        let changes = change_to(dir.path(), &at("after")).expect("compared");
        assert_eq!(changes.brought, ["edited", "new"].map(PathBuf::from).into());
        assert_eq!(changes.removed, ["gone"].map(PathBuf::from).into());
    }

    #[test]
    fn few_files_still_change() {
        let dir = tempfile::tempdir().expect("a directory");
        let corpus = corpus(dir.path(), 5);
        assert_eq!(corpus.changed(), (2, 0));
    }
}
