//! One stream as a tree with one file: standard input, or what a command prints.
//!
//! The stream is read as the writer of the snapshot asks for it and never held whole, so a slow
//! disk slows the command down. Where it fails, the file is left out and the failure reported;
//! that no snapshot is made of half a dump is decided above, where snapshots are published.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read};
use std::sync::{Arc, Mutex};

use super::{Content, Directory, Extent, Leaf, Node, Opened, Problem, Reason, Source, Stamp, Step};
use crate::entry::{Meta, is_component};

/// A name for a stream that is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is no path for a file: give names joined by /, without . and ..", super::Quoted(.0))]
pub struct NotAPath(pub Vec<u8>);

/// A stream that can be walked like a file tree.
#[derive(Debug)]
pub struct Stream {
    steps: VecDeque<Step>,
}

impl Stream {
    /// `reader` as a file at `path`, with `meta`; directories above it have the same owner and
    /// time, and may be entered by whoever may read the file.
    pub fn new(path: &[u8], meta: Meta, reader: Box<dyn Read + Send>) -> Result<Self, NotAPath> {
        let path = path.strip_prefix(b"/").unwrap_or(path);
        let components: Vec<_> = path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
        if !components.iter().all(|name| is_component(name)) {
            return Err(NotAPath(path.to_vec()));
        }
        let enter = (meta.mode & 0o444) >> 2;
        let above = Meta { mode: meta.mode & 0o777 | enter, ..meta.clone() };
        let leaf = Leaf { name: components[components.len() - 1].clone(), stamp: stamp(&meta) };
        let dir: Arc<dyn Directory> = Arc::new(OneFile { meta, reader: Mutex::new(Some(reader)) });
        let mut steps = VecDeque::new();
        for name in std::iter::once(Vec::new()).chain(components[..components.len() - 1].to_vec()) {
            steps.push_back(Step::Enter { name, meta: above.clone() });
        }
        steps.push_back(Step::Leaves { dir, leaves: vec![leaf] });
        steps.extend(components.iter().map(|_| Step::Leave));
        Ok(Self { steps })
    }
}

/// A change time after every run: what came from a stream once is never taken over.
fn stamp(meta: &Meta) -> Stamp {
    Stamp {
        dev: 0,
        ino: 0,
        nlink: 1,
        size: 0,
        mtime: (meta.mtime_sec, meta.mtime_nsec),
        ctime: (i64::MAX, 0),
        mode: 0o100_000 | meta.mode,
        uid: meta.uid,
        gid: meta.gid,
    }
}

impl Source for Stream {
    fn next(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    fn take_problems(&mut self) -> Vec<Problem> {
        Vec::new()
    }
}

struct OneFile {
    meta: Meta,
    /// Taken by whoever opens it.
    reader: Mutex<Option<Box<dyn Read + Send>>>,
}

impl fmt::Debug for OneFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneFile").finish_non_exhaustive()
    }
}

impl Directory for OneFile {
    fn open(&self, leaf: &Leaf) -> Result<Opened, Reason> {
        let reader = self.reader.lock().expect("no holder of this lock panics").take();
        let reader = reader.ok_or(Reason::Vanished)?;
        Ok(Opened {
            meta: self.meta.clone(),
            flaws: Vec::new(),
            stamp: leaf.stamp,
            node: Node::File(Box::new(Bytes { reader, at: 0 })),
        })
    }
}

struct Bytes {
    reader: Box<dyn Read + Send>,
    at: u64,
}

impl Content for Bytes {
    fn size(&self) -> Option<u64> {
        None
    }

    fn data_after(&mut self, offset: u64) -> io::Result<Option<Extent>> {
        Ok(Some(Extent { offset, len: u64::MAX - offset }))
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        assert!(offset == self.at, "a stream is read front to back");
        let mut done = 0;
        while done < buf.len() {
            match self.reader.read(&mut buf[done..]) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.at += done as u64;
        Ok(done)
    }

    fn changed(&mut self) -> io::Result<bool> {
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_streams() {
        let steps = |path: &[u8]| {
            Stream::new(path, Meta::default(), Box::new(io::empty())).map(|s| s.steps.len())
        };
        assert_eq!(steps(b"dump.sql"), Ok(3));
        assert_eq!(steps(b"/db/main/dump.sql"), Ok(7));
        for bad in [&b""[..], b"/", b"a//b", b"../a", b"a/", b"."] {
            assert!(steps(bad).is_err(), "{bad:?}");
        }
    }
}
