//! Comparing two trees, byte by byte and attribute by attribute.
//!
//! It reads both through the same descriptor-relative calls as the walk, so it works at any depth
//! and follows nothing. Hard links are compared as a partition: two names are one object on one
//! side if and only if they are on the other.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::vec;

use crate::entry::Meta;
use crate::source::trail::Trail;
use crate::source::{DirHandle, FileReader, Inspected, Node, Quoted, Reason, Stamp, What};

/// One respect in which two trees differ.
#[derive(Debug)]
pub struct Difference {
    /// Path from the roots compared.
    pub path: Vec<u8>,
    /// In what respect.
    pub aspect: Aspect,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Quoted(&self.path), self.aspect)
    }
}

/// What can differ.
#[derive(Debug, thiserror::Error)]
pub enum Aspect {
    /// There is nothing of this name in the second tree.
    #[error("only in the first tree")]
    OnlyInFirst,
    /// There is nothing of this name in the first tree.
    #[error("only in the second tree")]
    OnlyInSecond,
    /// One is, say, a file and the other a directory.
    #[error("kind differs")]
    Kind,
    /// Permission bits.
    #[error("mode differs: {0:o} and {1:o}")]
    Mode(u32, u32),
    /// User.
    #[error("owner differs: {0} and {1}")]
    Owner(u32, u32),
    /// Group.
    #[error("group differs: {0} and {1}")]
    Group(u32, u32),
    /// Modification time, to the nanosecond.
    #[error("modification time differs")]
    Mtime,
    /// One extended attribute: its value, or that it is there.
    #[error("extended attribute {} differs", Quoted(.0))]
    Xattr(Vec<u8>),
    /// Where a symbolic link points.
    #[error("link target differs")]
    LinkTarget,
    /// Which device a node stands for.
    #[error("device number differs")]
    Device,
    /// Length of a file.
    #[error("size differs: {0} and {1} bytes")]
    Size(u64, u64),
    /// Bytes of a file.
    #[error("content differs at byte {0}")]
    Content(u64),
    /// Where the holes of a file are.
    #[error("holes differ")]
    Holes,
    /// Which names are one object.
    #[error("hard links differ")]
    HardLinks,
    /// One of the two could not be read, so equality is not known.
    #[error("cannot be compared: {0}")]
    Unreadable(Reason),
}

/// Compares the trees below `first` and `second`, which are directories, and these themselves.
///
/// With `holes`, the layout of sparse files must agree too. `progress` is told the bytes of each
/// span compared. An error means that one of the roots is not a readable directory; all else is
/// a [`Difference`].
pub fn compare(
    first: &Path,
    second: &Path,
    holes: bool,
    progress: &mut dyn FnMut(u64),
) -> io::Result<Vec<Difference>> {
    let (first, second) = (DirHandle::open(first)?, DirHandle::open(second)?);
    let ((meta_1, flaws_1), (meta_2, flaws_2)) = (first.meta()?, second.meta()?);
    let names = merge(first.read_dir()?, second.read_dir()?);
    let mut comparison = Comparison {
        trails: (Trail::new(first)?, Trail::new(second)?),
        frames: vec![names.into_iter()],
        links: (HashMap::new(), HashMap::new()),
        holes,
        progress,
        found: Vec::new(),
    };
    comparison.metadata(b"/", (&meta_1, &meta_2), flaws_1.into_iter().chain(flaws_2));
    comparison.run();
    Ok(comparison.found)
}

struct Comparison<'a> {
    trails: (Trail, Trail),
    frames: Vec<vec::IntoIter<(Vec<u8>, Side)>>,
    /// For each linked object of either tree, its first name as a number common to both.
    links: (FirstNames, FirstNames),
    holes: bool,
    progress: &'a mut dyn FnMut(u64),
    found: Vec<Difference>,
}

/// Device and inode to a number given to the first name met.
type FirstNames = HashMap<(u64, u64), usize>;

/// Where a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    First,
    Second,
    Both,
}

/// Both sorted lists as one.
fn merge(first: Vec<Vec<u8>>, second: Vec<Vec<u8>>) -> Vec<(Vec<u8>, Side)> {
    let mut names: Vec<_> = first.into_iter().map(|name| (name, Side::First)).collect();
    // What is added behind them is not in their order.
    let of_first = names.len();
    for name in second {
        match names[..of_first].binary_search_by(|(known, _)| known.cmp(&name)) {
            Ok(at) => names[at].1 = Side::Both,
            Err(_) => names.push((name, Side::Second)),
        }
    }
    names.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    names
}

impl Comparison<'_> {
    fn run(&mut self) {
        while let Some(frame) = self.frames.last_mut() {
            match frame.next() {
                Some((name, Side::Both)) => self.both(&name),
                Some((name, Side::First)) => self.differ(&name, Aspect::OnlyInFirst),
                Some((name, Side::Second)) => self.differ(&name, Aspect::OnlyInSecond),
                None => {
                    self.frames.pop();
                    if !self.frames.is_empty() {
                        self.trails.0.leave();
                        self.trails.1.leave();
                    }
                }
            }
        }
    }

    fn differ(&mut self, name: &[u8], aspect: Aspect) {
        let path = self.trails.0.path_of(name);
        self.found.push(Difference { path, aspect });
    }

    fn both(&mut self, name: &[u8]) {
        let look = |trail: &Trail| match trail.here() {
            Some(dir) => dir.inspect(name),
            None => Err(Reason::Vanished),
        };
        let (first, second) = match (look(&self.trails.0), look(&self.trails.1)) {
            (Ok(first), Ok(second)) => (first, second),
            (first, second) => {
                for reason in [first.err(), second.err()].into_iter().flatten() {
                    self.differ(name, Aspect::Unreadable(reason));
                }
                return;
            }
        };
        self.pair(name, first, second);
    }

    fn pair(&mut self, name: &[u8], first: Inspected, second: Inspected) {
        let path = self.trails.0.path_of(name);
        let flaws = first.flaws.into_iter().chain(second.flaws);
        self.metadata(&path, (&first.meta, &second.meta), flaws);
        match (first.what, second.what) {
            (What::Directory(a), What::Directory(b)) => self.descend(name, a, b),
            (What::Socket, What::Socket) => {}
            (What::Node(a), What::Node(b)) => {
                let is_known = self.hard_links(name, first.stamp, second.stamp);
                if let Some(aspect) = self.leaves(&a, &b, is_known) {
                    self.differ(name, aspect);
                }
            }
            _ => self.differ(name, Aspect::Kind),
        }
    }

    fn descend(&mut self, name: &[u8], a: DirHandle, b: DirHandle) {
        let entered = a.read_dir().and_then(|in_a| {
            let names = merge(in_a, b.read_dir()?);
            self.trails.0.enter(name.to_vec(), a)?;
            if let Err(e) = self.trails.1.enter(name.to_vec(), b) {
                self.trails.0.leave();
                return Err(e);
            }
            Ok(names)
        });
        match entered {
            Ok(names) => self.frames.push(names.into_iter()),
            Err(e) => self.differ(name, Aspect::Unreadable(Reason::of(e))),
        }
    }

    fn metadata(
        &mut self,
        path: &[u8],
        (a, b): (&Meta, &Meta),
        flaws: impl Iterator<Item = Reason>,
    ) {
        let mut aspects: Vec<_> = flaws.map(Aspect::Unreadable).collect();
        if a.mode != b.mode {
            aspects.push(Aspect::Mode(a.mode, b.mode));
        }
        if a.uid != b.uid {
            aspects.push(Aspect::Owner(a.uid, b.uid));
        }
        if a.gid != b.gid {
            aspects.push(Aspect::Group(a.gid, b.gid));
        }
        if (a.mtime_sec, a.mtime_nsec) != (b.mtime_sec, b.mtime_nsec) {
            aspects.push(Aspect::Mtime);
        }
        let mut names: Vec<_> = a.xattrs.iter().chain(&b.xattrs).map(|x| &x.name).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let in_a = a.xattrs.iter().find(|x| x.name == *name);
            if in_a != b.xattrs.iter().find(|x| x.name == *name) {
                aspects.push(Aspect::Xattr(name.clone()));
            }
        }
        let path = path.to_vec();
        let differences = aspects.into_iter();
        self.found.extend(differences.map(|aspect| Difference { path: path.clone(), aspect }));
    }

    /// Whether both were met before under one name, so that their content has been compared.
    fn hard_links(&mut self, name: &[u8], a: Stamp, b: Stamp) -> bool {
        let number = self.links.0.len() + self.links.1.len();
        let mut first_name = |links: fn(&mut Self) -> &mut FirstNames, i: Stamp| {
            (i.nlink > 1).then(|| *links(self).entry((i.dev, i.ino)).or_insert(number))
        };
        let met = (first_name(|s| &mut s.links.0, a), first_name(|s| &mut s.links.1, b));
        // A name met for the first time has this number, and so has an object of one name only.
        let (met_a, met_b) = (met.0.unwrap_or(number), met.1.unwrap_or(number));
        if met_a != met_b {
            self.differ(name, Aspect::HardLinks);
        }
        met_a == met_b && met_a < number
    }

    fn leaves(
        &mut self,
        a: &Node<FileReader>,
        b: &Node<FileReader>,
        is_known: bool,
    ) -> Option<Aspect> {
        match (a, b) {
            (Node::File(_), Node::File(_)) if is_known => None,
            (Node::File(a), Node::File(b)) => {
                self.files(a, b).unwrap_or_else(|e| Some(Aspect::Unreadable(Reason::Unreadable(e))))
            }
            (Node::Symlink(a), Node::Symlink(b)) => (a != b).then_some(Aspect::LinkTarget),
            (Node::Fifo, Node::Fifo) => None,
            (
                Node::CharDevice { major: major_a, minor: minor_a },
                Node::CharDevice { major: major_b, minor: minor_b },
            )
            | (
                Node::BlockDevice { major: major_a, minor: minor_a },
                Node::BlockDevice { major: major_b, minor: minor_b },
            ) => ((major_a, minor_a) != (major_b, minor_b)).then_some(Aspect::Device),
            _ => Some(Aspect::Kind),
        }
    }

    /// Compares the bytes of every span that is data on either side; holes on both are equal.
    fn files(&mut self, a: &FileReader, b: &FileReader) -> io::Result<Option<Aspect>> {
        const STEP: u64 = 256 << 10;
        if a.size() != b.size() {
            return Ok(Some(Aspect::Size(a.size(), b.size())));
        }
        let mut same_holes = true;
        let (mut bytes_a, mut bytes_b) = (Vec::new(), Vec::new());
        let mut at = 0;
        loop {
            let spans = (a.data_after(at)?, b.data_after(at)?);
            same_holes &= spans.0 == spans.1;
            let Some(span) = spans.0.into_iter().chain(spans.1).min_by_key(|s| s.offset) else {
                break;
            };
            let mut from = span.offset;
            at = span.offset + span.len;
            while from < at {
                let len = (at - from).min(STEP) as usize;
                bytes_a.resize(len, 0);
                bytes_b.resize(len, 0);
                let read = (a.read_at(from, &mut bytes_a)?, b.read_at(from, &mut bytes_b)?);
                (self.progress)(len as u64);
                if read != (len, len) {
                    return Ok(Some(Aspect::Unreadable(Reason::ChangedWhileRead)));
                }
                if let Some(i) = bytes_a.iter().zip(&bytes_b).position(|(a, b)| a != b) {
                    return Ok(Some(Aspect::Content(from + i as u64)));
                }
                from += len as u64;
            }
        }
        Ok((self.holes && !same_holes).then_some(Aspect::Holes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_side_hide_none_of_both() {
        use Side::{Both, Second};
        let list = |names: &str| names.bytes().map(|b| vec![b]).collect::<Vec<_>>();
        let merged = merge(list("bcd"), list("abcdef"));
        let sides: Vec<_> = merged.iter().map(|(_, side)| *side).collect();
        assert_eq!(sides, [Second, Both, Both, Both, Second, Second]);
        assert!(merged.is_sorted_by(|a, b| a.0 < b.0));
    }
}
