//! Walking the given paths, each directory once, parents before children.
//!
//! The order is total: the names of a directory in byte order, a directory's whole subtree
//! between its [`Event::Enter`] and its [`Event::Leave`]. A reader can therefore build
//! directories bottom up with a stack, and two walks of an unchanged tree are equal.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::vec;

use super::trail::Trail;
use super::{DirHandle, Inode, Inspected, Leaf, LinkTable, Problem, Reason, What};
use crate::entry::{MAX_LINK_COMPONENTS, Meta};

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

/// One step of a walk.
#[derive(Debug)]
pub enum Event {
    /// A directory; what follows is in it until its [`Event::Leave`].
    Enter {
        /// Its name; empty for the root, which is entered first.
        name: Vec<u8>,
        /// Its metadata.
        meta: Meta,
    },
    /// Anything else than a directory.
    Leaf {
        /// Its name.
        name: Vec<u8>,
        /// Its metadata.
        meta: Meta,
        /// Which object it is.
        inode: Inode,
        /// What it is, or where its first name was.
        leaf: Leaf,
    },
    /// The end of the directory entered last and not left yet.
    Leave,
}

/// A depth-first walk of the given paths and their ancestors, as an iterator of [`Event`]s.
///
/// The root of a walk is `/`. Directories above a given path are entered with their metadata and
/// hold only what leads to given paths. Symbolic links are never followed: one that is given is
/// held as a link, one on the way to a given path is held and reported.
#[derive(Debug)]
pub struct Source {
    /// Sorted.
    paths: Vec<Vec<Vec<u8>>>,
    trail: Trail,
    frames: Vec<Frame>,
    /// Found but not handed out yet.
    ready: VecDeque<Event>,
    links: LinkTable,
    problems: Vec<Problem>,
}

#[derive(Debug)]
struct Frame {
    names: vec::IntoIter<Vec<u8>>,
    /// Which of the given paths lead through here; `None` if all that is here was given.
    through: Option<Range<usize>>,
}

impl Source {
    /// A walk of `paths`: absolute, without `..`. A path within another adds nothing.
    pub fn new<P: AsRef<Path>>(paths: &[P]) -> Result<Self, SourceError> {
        let mut wanted =
            paths.iter().map(|p| components(p.as_ref())).collect::<Result<Vec<_>, _>>()?;
        if wanted.is_empty() {
            return Err(SourceError::NoPaths);
        }
        wanted.sort_unstable();
        let root = DirHandle::open(Path::new("/")).map_err(|e| SourceError::Root(e.into()))?;
        let (meta, flaws) = root.meta().map_err(|e| SourceError::Root(e.into()))?;
        let trail = Trail::new(root).map_err(|e| SourceError::Root(e.into()))?;
        let mut source = Self {
            paths: wanted,
            trail,
            frames: Vec::new(),
            ready: VecDeque::new(),
            links: LinkTable::default(),
            problems: Vec::new(),
        };
        source.report_all(b"/", flaws);
        let through = source.narrow(0..source.paths.len(), 0);
        let names = match &through {
            None => source.trail.root().read_dir().map_err(|e| SourceError::Root(e.into()))?,
            Some(range) => source.next_components(range.clone(), 0),
        };
        source.frames.push(Frame { names: names.into_iter(), through });
        source.ready.push_back(Event::Enter { name: Vec::new(), meta });
        Ok(source)
    }

    /// Absolute path of `name` in the directory the walk stands in: after an [`Event::Leaf`], of
    /// that leaf.
    pub fn path_of(&self, name: &[u8]) -> Vec<u8> {
        self.trail.path_of(name)
    }

    /// Adds what the reader of a leaf found wrong with it.
    pub fn report(&mut self, path: Vec<u8>, reason: Reason) {
        self.problems.push(Problem { path, reason });
    }

    /// Tells that the leaf `inode` could not be kept: its next name is then not a
    /// [`Leaf::HardLink`] to something that is not there.
    pub fn not_kept(&mut self, inode: Inode) {
        self.links.forget(inode);
    }

    /// All problems so far, in the order they were met.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// All problems, after the walk.
    pub fn into_problems(self) -> Vec<Problem> {
        self.problems
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

    /// The distinct components at `depth` of the paths in `range`, in order.
    fn next_components(&self, range: Range<usize>, depth: usize) -> Vec<Vec<u8>> {
        let mut names: Vec<_> = self.paths[range].iter().map(|path| path[depth].clone()).collect();
        names.dedup();
        names
    }

    /// Looks at the next name of the deepest directory, or leaves it.
    fn advance(&mut self) {
        let Some(frame) = self.frames.last_mut() else { return };
        let Some(name) = frame.names.next() else {
            self.frames.pop();
            if !self.frames.is_empty() {
                self.trail.leave();
            }
            self.ready.push_back(Event::Leave);
            return;
        };
        let through = frame.through.clone();
        let found = match self.trail.here() {
            Some(dir) => dir.inspect(&name),
            None => Err(Reason::Vanished),
        };
        match found {
            Ok(found) => self.found(name, found, through),
            Err(reason) => {
                // Only a name somebody typed can be missing; one that was listed has vanished.
                let reason = match (reason, through) {
                    (Reason::Vanished, Some(_)) => Reason::Missing,
                    (reason, _) => reason,
                };
                self.report(self.path_of(&name), reason);
            }
        }
    }

    fn found(&mut self, name: Vec<u8>, found: Inspected, through: Option<Range<usize>>) {
        let Inspected { meta, inode, what, flaws } = found;
        if !flaws.is_empty() {
            self.report_all(&self.path_of(&name), flaws);
        }
        let depth = self.frames.len();
        let below = through.and_then(|range| {
            let inside = self.paths[range.clone()].partition_point(|p| p[depth - 1] < name);
            let after = self.paths[range.clone()].partition_point(|p| p[depth - 1] <= name);
            self.narrow(range.start + inside..range.start + after, depth)
        });
        match what {
            What::Directory(dir) => self.descend(name, meta, dir, below),
            What::Socket => self.report(self.path_of(&name), Reason::Socket),
            What::Leaf(leaf) => {
                if below.is_some() {
                    self.report(self.path_of(&name), Reason::NotADirectory);
                }
                let leaf = self.linked(inode, &name).map_or(leaf, Leaf::HardLink);
                self.ready.push_back(Event::Leaf { name, meta, inode, leaf });
            }
        }
    }

    /// Where the object was met before.
    fn linked(&mut self, inode: Inode, name: &[u8]) -> Option<Vec<Vec<u8>>> {
        if inode.nlink > 1 && self.frames.len() > MAX_LINK_COMPONENTS {
            self.report(self.path_of(name), Reason::LinkTooDeep);
            return None;
        }
        let trail = &self.trail;
        self.links.first(inode, || trail.components(name))
    }

    fn descend(
        &mut self,
        name: Vec<u8>,
        meta: Meta,
        dir: DirHandle,
        through: Option<Range<usize>>,
    ) {
        let names = match &through {
            None => dir.read_dir(),
            Some(range) => Ok(self.next_components(range.clone(), self.frames.len())),
        };
        let entered = names.and_then(|names| {
            self.trail.enter(name.clone(), dir)?;
            Ok(names)
        });
        match entered {
            Ok(names) => {
                self.frames.push(Frame { names: names.into_iter(), through });
                self.ready.push_back(Event::Enter { name, meta });
            }
            Err(error) => self.report(self.path_of(&name), Reason::of(error)),
        }
    }
}

impl Iterator for Source {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        while self.ready.is_empty() && !self.frames.is_empty() {
            self.advance();
        }
        self.ready.pop_front()
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
