//! The directories from the root of a walk down to where it stands.
//!
//! A walk of any depth holds at most [`WINDOW`] descriptors: those of the root and of the
//! deepest directories. Coming back up, a closed directory is opened again through `..` of its
//! child and must still be the same inode; if somebody moved the child meanwhile, the names are
//! followed down from the root instead, and again the inode must agree. Raising the limit of
//! descriptors instead would tie the depth that can be backed up to the machine's settings.

use std::sync::Arc;

use rustix::io::{Errno, Result};

use super::DirHandle;

/// Most directory descriptors held by one trail.
pub(crate) const WINDOW: usize = 64;

/// Root first, the directory stood in last.
#[derive(Debug)]
pub(crate) struct Trail {
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    name: Vec<u8>,
    /// Device and inode.
    id: (u64, u64),
    /// `None` while outside the window, or after the directory could not be found again.
    dir: Option<Arc<DirHandle>>,
}

impl Trail {
    /// A trail standing in its root.
    pub(crate) fn new(root: DirHandle) -> Result<Self> {
        let id = root.id()?;
        Ok(Self { steps: vec![Step { name: Vec::new(), id, dir: Some(Arc::new(root)) }] })
    }

    /// How many directories below the root it stands.
    pub(crate) fn depth(&self) -> usize {
        self.steps.len() - 1
    }

    /// The root.
    pub(crate) fn root(&self) -> &DirHandle {
        self.steps[0].dir.as_deref().expect("the root is never closed")
    }

    /// Where it stands; `None` if that directory was moved away and could not be found again.
    pub(crate) fn here(&self) -> Option<&DirHandle> {
        self.steps.last().expect("the root is never left").dir.as_deref()
    }

    /// As [`Trail::here`], to be used after the trail has moved on.
    pub(crate) fn share(&self) -> Option<Arc<DirHandle>> {
        self.steps.last().expect("the root is never left").dir.clone()
    }

    /// Names from the root down to here.
    pub(crate) fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.steps[1..].iter().map(|step| &step.name[..])
    }

    /// Path of `name` in this directory: components with a `/` before each.
    pub(crate) fn path_of(&self, name: &[u8]) -> Vec<u8> {
        self.names().chain([name]).flat_map(|name| [b"/", name].concat()).collect()
    }

    /// Path of this directory; `/` for the root.
    pub(crate) fn path(&self) -> Vec<u8> {
        if self.depth() == 0 {
            return b"/".to_vec();
        }
        self.names().flat_map(|name| [b"/", name].concat()).collect()
    }

    /// Steps into `dir`, which is called `name` here.
    pub(crate) fn enter(&mut self, name: Vec<u8>, dir: DirHandle) -> Result<()> {
        let id = dir.id()?;
        self.steps.push(Step { name, id, dir: Some(Arc::new(dir)) });
        let out = self.steps.len().saturating_sub(WINDOW);
        if out > 0 {
            self.steps[out].dir = None;
        }
        Ok(())
    }

    /// Steps back into the parent. Returns the name and the handle of the directory left; the
    /// parent is open again before, so the caller may then take its own rights to it away.
    pub(crate) fn leave(&mut self) -> (Vec<u8>, Option<Arc<DirHandle>>) {
        assert!(self.depth() > 0, "the root is never left");
        let left = self.steps.pop().expect("there is a step below the root");
        if self.here().is_none() {
            let parent = self.reopen(left.dir.as_deref()).ok().map(Arc::new);
            self.steps.last_mut().expect("the root is never left").dir = parent;
        }
        (left.name, left.dir)
    }

    /// Opens the last step again, through its child or from the root.
    fn reopen(&self, child: Option<&DirHandle>) -> Result<DirHandle> {
        let wanted = self.steps.last().expect("the root is never left").id;
        if let Some(parent) = child.and_then(|child| child.open_dir(b"..").ok())
            && parent.id()? == wanted
        {
            return Ok(parent);
        }
        let mut found: Option<DirHandle> = None;
        for name in self.names() {
            found = Some(found.as_ref().unwrap_or(self.root()).open_dir(name)?);
        }
        found.filter(|dir| dir.id() == Ok(wanted)).ok_or(Errno::NOENT)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// A trail down `levels` directories called `d`, and the inode of each.
    fn down(root: &Path, levels: usize) -> (Trail, Vec<(u64, u64)>) {
        let mut path = root.to_owned();
        let mut trail = Trail::new(DirHandle::open(root).expect("open")).expect("fstat");
        let mut ids = vec![trail.root().id().expect("fstat")];
        for _ in 0..levels {
            path.push("d");
            fs::create_dir(&path).expect("create_dir");
            let here = trail.here().expect("the deepest directory is open");
            let dir = here.open_dir(b"d").expect("open");
            ids.push(dir.id().expect("fstat"));
            trail.enter(b"d".to_vec(), dir).expect("entered");
        }
        (trail, ids)
    }

    fn open(trail: &Trail) -> usize {
        trail.steps.iter().filter(|step| step.dir.is_some()).count()
    }

    #[test]
    fn holds_few_descriptors_and_finds_its_way_back() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let (mut trail, ids) = down(root.path(), 200);
        assert_eq!(open(&trail), WINDOW);
        assert_eq!(trail.path(), "/d".repeat(200).as_bytes());
        for id in ids[..200].iter().rev() {
            assert!(trail.leave().1.is_some());
            assert!(open(&trail) <= WINDOW);
            assert_eq!(trail.here().map(DirHandle::id), Some(Ok(*id)));
        }
        assert_eq!((trail.depth(), &trail.path()[..]), (0, &b"/"[..]));
    }

    #[test]
    fn a_child_moved_elsewhere_does_not_lead_elsewhere() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let (mut trail, ids) = down(root.path(), 100);
        // Level 37 is the deepest that is closed again: its child is moved to the top.
        let at = |levels: usize| root.path().join(vec!["d"; levels].join("/"));
        fs::rename(at(38), root.path().join("moved")).expect("rename");
        for level in (0..100).rev() {
            trail.leave();
            assert_eq!(trail.here().map(DirHandle::id), Some(Ok(ids[level])), "level {level}");
        }
    }

    #[test]
    fn a_parent_that_was_replaced_is_not_taken_for_the_old_one() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let (mut trail, ids) = down(root.path(), 100);
        let at = |levels: usize| root.path().join(vec!["d"; levels].join("/"));
        fs::rename(at(38), root.path().join("kept")).expect("rename");
        fs::rename(at(37), root.path().join("gone")).expect("rename");
        fs::create_dir(at(37)).expect("create_dir");
        for level in (38..100).rev() {
            trail.leave();
            assert_eq!(trail.here().map(DirHandle::id), Some(Ok(ids[level])));
        }
        trail.leave();
        assert!(trail.here().is_none(), "the directory in its place is another");
        assert!(trail.leave().1.is_none());
        assert_eq!(trail.here().map(DirHandle::id), Some(Ok(ids[36])), "found from the root");
    }
}
