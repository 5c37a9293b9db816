//! A walk with every leaf opened in turn, as the writer of a snapshot does that keeps no cache.

#![allow(dead_code, reason = "each test program needs a part of it")]

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use seawall_backup::entry::Meta;
use seawall_backup::source::{
    Content, Directory, Extent, FileTree, Leaf, LinkTable, Node, Opened, Problem, Reason, Source,
    SourceError, Stamp, Step,
};

pub(crate) enum Event {
    Enter { name: Vec<u8>, meta: Meta },
    Leaf { name: Vec<u8>, meta: Meta, stamp: Stamp, found: Found },
    Leave,
}

pub(crate) enum Found {
    Node(Node<Box<dyn Content>>),
    /// Components of the first name.
    HardLink(Vec<Vec<u8>>),
}

pub(crate) struct Walked {
    tree: FileTree,
    links: LinkTable,
    path: Vec<Vec<u8>>,
    leaves: VecDeque<Leaf>,
    dir: Option<Arc<dyn Directory>>,
    problems: Vec<Problem>,
}

impl Walked {
    pub(crate) fn new<P: AsRef<Path>>(paths: &[P]) -> Result<Self, SourceError> {
        Ok(Self {
            tree: FileTree::new(paths)?,
            links: LinkTable::default(),
            path: Vec::new(),
            leaves: VecDeque::new(),
            dir: None,
            problems: Vec::new(),
        })
    }

    /// What was found wrong so far, by the walk and by opening.
    pub(crate) fn problems(&mut self) -> &[Problem] {
        self.problems.extend(self.tree.take_problems());
        &self.problems
    }

    pub(crate) fn into_problems(mut self) -> Vec<Problem> {
        self.problems.extend(self.tree.take_problems());
        self.problems.sort_by(|a, b| a.path.cmp(&b.path));
        self.problems
    }

    pub(crate) fn path_of(&self, name: &[u8]) -> Vec<u8> {
        self.components(name).iter().flat_map(|c| [&b"/"[..], c].concat()).collect()
    }

    fn components(&self, name: &[u8]) -> Vec<Vec<u8>> {
        self.path.iter().skip(1).cloned().chain([name.to_vec()]).collect()
    }

    pub(crate) fn not_kept(&mut self, stamp: &Stamp) {
        self.links.forget(stamp);
    }

    fn leaf(&mut self, leaf: &Leaf) -> Option<Event> {
        let dir = self.dir.clone().expect("leaves come with what opens them");
        let path = self.path_of(&leaf.name);
        let mut report = |reason: Reason| {
            self.problems.push(Problem { path: path.clone(), reason });
        };
        match dir.open(leaf) {
            Ok(Opened { meta, flaws, stamp, node }) => {
                flaws.into_iter().for_each(report);
                let components = self.components(&leaf.name);
                let first = self.links.first(&stamp, || components);
                let found = first.map_or(Found::Node(node), Found::HardLink);
                Some(Event::Leaf { name: leaf.name.clone(), meta, stamp, found })
            }
            Err(reason) => {
                report(reason);
                None
            }
        }
    }
}

impl Iterator for Walked {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(leaf) = self.leaves.pop_front() {
                match self.leaf(&leaf) {
                    Some(event) => return Some(event),
                    None => continue,
                }
            }
            match self.tree.next()? {
                Step::Enter { name, meta } => {
                    self.path.push(name.clone());
                    return Some(Event::Enter { name, meta });
                }
                Step::Leaves { dir, leaves } => {
                    self.dir = Some(dir);
                    self.leaves = leaves.into();
                }
                Step::Leave => {
                    self.path.pop();
                    return Some(Event::Leave);
                }
            }
        }
    }
}

/// All spans of data of a file, in order.
pub(crate) fn extents(content: &mut dyn Content) -> Vec<Extent> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(extent) = content.data_after(at).expect("seek") {
        at = extent.offset + extent.len;
        found.push(extent);
    }
    found
}
