//! Walking the given paths of a file system, each directory once, parents before children.
//!
//! The order is total: the names of a directory in byte order, a directory's whole subtree
//! between its [`Step::Enter`] and its [`Step::Leave`]. A reader can therefore build directories
//! bottom up with a stack, and two walks of an unchanged tree are equal.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::vec;

use rustix::fs::FileType;

use super::block;
use super::filter::{Excluded, Exclusions};
use super::passing::{Names, Passing};
use super::trail::Trail;
use super::{DirHandle, Directory, Leaf, Problem, Reason, Source, Stamp, Step};
use crate::entry::{Meta, is_component};

/// Most leaves told in one step: what is told and not yet read is held in memory.
const LEAVES: usize = 1_024;

/// Why a walk cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A path that is not absolute, or has `..` in it, means different things to different readers.
    #[error("path to back up {0:?} must be absolute and without `..`")]
    NotAbsolute(PathBuf),
    /// Nothing was given.
    #[error("no path to back up was given")]
    NoPaths,
    /// The root directory cannot be opened.
    #[error("cannot open the root directory: {0}")]
    Root(#[source] io::Error),
}

/// A depth-first walk of the given paths and their ancestors.
///
/// The root of a walk is `/`. Directories above a given path are entered with their metadata and
/// hold only what leads to given paths. Symbolic links are never followed: one that is given is
/// held as a link, one on the way to a given path is held and reported.
#[derive(Debug)]
pub struct FileTree {
    /// Sorted.
    paths: Vec<Vec<Vec<u8>>>,
    trail: Trail,
    frames: Vec<Frame>,
    /// Found but not handed out yet.
    ready: VecDeque<Step>,
    problems: Vec<Problem>,
    passing: Passing,
    /// Given block devices are read as files.
    devices: bool,
}

#[derive(Debug)]
struct Frame {
    /// Names not looked at yet, with their kinds as far as those are known.
    names: vec::IntoIter<(Vec<u8>, FileType)>,
    /// Which of the given paths lead through here; `None` if all that is here was given.
    through: Option<Range<usize>>,
}

impl FileTree {
    /// A walk of `paths`: absolute, without `..`. A path within another adds nothing.
    pub fn new<P: AsRef<Path>>(paths: &[P]) -> Result<Self, SourceError> {
        Self::without(paths, Exclusions::default(), false)
    }

    /// As [`FileTree::new`], passing over what `rules` say; with `devices`, given block devices
    /// are files of what is on them.
    pub fn without<P: AsRef<Path>>(
        paths: &[P],
        rules: Exclusions,
        devices: bool,
    ) -> Result<Self, SourceError> {
        let mut wanted =
            paths.iter().map(|p| components(p.as_ref())).collect::<Result<Vec<_>, _>>()?;
        if wanted.is_empty() {
            return Err(SourceError::NoPaths);
        }
        wanted.sort_unstable();
        let failed = |e: rustix::io::Errno| SourceError::Root(e.into());
        let root = DirHandle::open(Path::new("/")).map_err(failed)?;
        let (meta, flaws) = root.meta().map_err(failed)?;
        let mut tree = Self {
            paths: wanted,
            trail: Trail::new(root).map_err(failed)?,
            frames: Vec::new(),
            ready: VecDeque::new(),
            problems: Vec::new(),
            passing: Passing::new(rules),
            devices,
        };
        tree.report_all(b"/", flaws);
        let through = tree.narrow(0..tree.paths.len(), 0);
        let mut names = tree.names(through.as_ref()).map_err(failed)?;
        if through.is_none() {
            names = tree.pass(b"", true, names).map_err(failed)?;
        }
        tree.ready.push_back(Step::Enter { name: Vec::new(), meta });
        tree.frames.push(Frame { names: names.into_iter(), through });
        Ok(tree)
    }

    fn report(&mut self, name: &[u8], reason: Reason) {
        self.problems.push(Problem { path: self.trail.path_of(name), reason });
    }

    fn report_all(&mut self, path: &[u8], reasons: Vec<Reason>) {
        for reason in reasons {
            self.problems.push(Problem { path: path.to_vec(), reason });
        }
    }

    /// `None` if one of the paths in `range` ends at `depth`: then all below was given.
    fn narrow(&self, range: Range<usize>, depth: usize) -> Option<Range<usize>> {
        let is_whole = self.paths[range.clone()].iter().any(|path| path.len() == depth);
        (!is_whole).then_some(range)
    }

    /// What of the directory stood in is wanted, with its kind as far as that is known: all, or
    /// the distinct next components of the paths in `through`.
    fn names(&self, through: Option<&Range<usize>>) -> rustix::io::Result<Names> {
        let Some(range) = through else {
            return self.trail.here().ok_or(rustix::io::Errno::NOENT)?.list();
        };
        let depth = self.trail.depth();
        let paths = self.paths[range.clone()].iter();
        let mut names: Vec<_> =
            paths.map(|path| (path[depth].clone(), FileType::Unknown)).collect();
        names.dedup_by(|a, b| a.0 == b.0);
        Ok(names)
    }

    /// Which of the given paths lead through `name`, which is in a directory with `through`.
    fn below(&self, name: &[u8], through: Option<&Range<usize>>) -> Option<Range<usize>> {
        let range = through?.clone();
        let depth = self.trail.depth();
        let paths = &self.paths[range.clone()];
        let inside = paths.partition_point(|p| p[depth][..] < *name);
        let after = paths.partition_point(|p| p[depth][..] <= *name);
        self.narrow(range.start + inside..range.start + after, depth + 1)
    }

    /// Looks at a name of the directory stood in; `None` if it is not held, which is reported.
    fn stamp(&mut self, name: &[u8], through: Option<&Range<usize>>) -> Option<Stamp> {
        if !is_component(name) {
            self.report(name, Reason::BadName);
            return None;
        }
        let found = self.trail.here().map(|dir| dir.stamp(name));
        match found.unwrap_or(Err(rustix::io::Errno::NOENT)) {
            Ok(stamp) if stamp.kind() == FileType::Socket => self.report(name, Reason::Socket),
            Ok(stamp) => {
                let is_directory = stamp.kind() == FileType::Directory;
                if !is_directory && self.below(name, through).is_some() {
                    self.report(name, Reason::NotADirectory);
                }
                return Some(stamp);
            }
            // Only a name somebody typed can be missing; one that was listed has vanished.
            Err(rustix::io::Errno::NOENT) if through.is_some() => {
                self.report(name, Reason::Missing);
            }
            Err(e) => self.report(name, Reason::of(e)),
        }
        None
    }

    /// Looks at the next names of the deepest directory up to one that is a directory and enters
    /// that; or leaves the deepest directory.
    fn advance(&mut self) {
        let Some(frame) = self.frames.last_mut() else { return };
        let through = frame.through.clone();
        let mut leaves = Vec::new();
        while leaves.len() < LEAVES
            && let Some((name, kind)) = self.frames.last_mut().and_then(|f| f.names.next())
        {
            let mut is_directory = kind == FileType::Directory;
            let is_known = kind != FileType::Unknown;
            // A given path is never passed over.
            let is_given = through.is_some();
            if !is_given && is_known && self.passing.name(&name, is_directory) {
                continue;
            }
            if !is_directory && let Some(stamp) = self.stamp(&name, through.as_ref()) {
                is_directory = stamp.kind() == FileType::Directory;
                if !is_given && !is_known && self.passing.name(&name, is_directory) {
                    continue;
                }
                if !is_directory {
                    if is_given || !self.passing.length(&stamp) {
                        leaves.push(Leaf { name, stamp });
                    }
                    continue;
                }
            }
            if is_directory {
                self.tell(&mut leaves);
                self.directory(name, through.as_ref(), &mut leaves);
                break;
            }
        }
        let told = !leaves.is_empty() || !self.ready.is_empty();
        self.tell(&mut leaves);
        if !told && self.frames.last().is_some_and(|f| f.names.len() == 0) {
            let left = self.frames.pop();
            if left.is_some_and(|frame| frame.through.is_none()) {
                self.passing.leave();
            }
            if !self.frames.is_empty() {
                self.trail.leave();
            }
            self.ready.push_back(Step::Leave);
        }
    }

    /// What of `names` in the directory stood in is looked at.
    fn pass(&mut self, name: &[u8], is_given: bool, names: Names) -> rustix::io::Result<Names> {
        let here = self.trail.here().ok_or(rustix::io::Errno::NOENT)?;
        let (trail, problems) = (&self.trail, &mut self.problems);
        let mut report = |name: &[u8], reason| {
            problems.push(Problem { path: trail.path_of(name), reason });
        };
        self.passing.enter(here, name, is_given, names, &mut report)
    }

    /// Hands out `leaves` of the directory stood in.
    fn tell(&mut self, leaves: &mut Vec<Leaf>) {
        if !leaves.is_empty() {
            let mut leaves = std::mem::take(leaves);
            let here = self.trail.share().expect("they were found in it");
            let is_given = self.frames.last().is_some_and(|frame| frame.through.is_some());
            let dir: Arc<dyn Directory> =
                if self.devices && is_given { block::as_files(here, &mut leaves) } else { here };
            self.ready.push_back(Step::Leaves { dir, leaves });
        }
    }

    /// Enters a directory; if it was replaced since it was listed, it may be a leaf.
    fn directory(&mut self, name: Vec<u8>, through: Option<&Range<usize>>, leaves: &mut Vec<Leaf>) {
        let opened = match self.trail.here() {
            Some(here) => here.open_listed(&name),
            None => Err(rustix::io::Errno::NOENT),
        };
        match opened {
            Ok(Some((dir, meta, flaws))) => {
                self.report_all(&self.trail.path_of(&name), flaws);
                let below = self.below(&name, through);
                if let Err(e) = self.descend(&name, meta, dir, below) {
                    self.report(&name, Reason::of(e));
                }
            }
            Ok(None) => {
                if let Some(stamp) = self.stamp(&name, through) {
                    leaves.push(Leaf { name, stamp });
                }
            }
            Err(e) => self.report(&name, Reason::of(e)),
        }
    }

    fn descend(
        &mut self,
        name: &[u8],
        meta: Meta,
        dir: DirHandle,
        through: Option<Range<usize>>,
    ) -> rustix::io::Result<()> {
        let is_given = self.frames.last().is_some_and(|frame| frame.through.is_some());
        self.trail.enter(name.to_vec(), dir)?;
        let names = self.names(through.as_ref()).and_then(|names| match &through {
            Some(_) => Ok(names),
            None => self.pass(name, is_given, names),
        });
        match names {
            Ok(names) => {
                self.ready.push_back(Step::Enter { name: name.to_vec(), meta });
                self.frames.push(Frame { names: names.into_iter(), through });
                Ok(())
            }
            Err(e) => {
                self.trail.leave();
                Err(e)
            }
        }
    }
}

impl Source for FileTree {
    fn next(&mut self) -> Option<Step> {
        while self.ready.is_empty() && !self.frames.is_empty() {
            self.advance();
        }
        self.ready.pop_front()
    }

    fn take_problems(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.problems)
    }

    fn excluded(&self) -> Excluded {
        self.passing.excluded()
    }
}

/// The components of an absolute path.
fn components(path: &Path) -> Result<Vec<Vec<u8>>, SourceError> {
    let refused = || SourceError::NotAbsolute(path.to_owned());
    if !path.is_absolute() {
        return Err(refused());
    }
    path.components()
        .filter(|component| *component != Component::RootDir)
        .map(|component| match component {
            Component::Normal(name) => Ok(name.as_bytes().to_vec()),
            _ => Err(refused()),
        })
        .collect()
}
