//! Numbers for what the kernel knows of a snapshot, and back.
//!
//! A number is a hash of the path of the first name, taken name by name from the root. The table
//! holds what the kernel has looked up and not forgotten, so it grows and shrinks with the
//! kernel's own cache.

use std::collections::HashMap;
use std::sync::Arc;

use seawall_backup::browse::join;
use seawall_backup::entry::Entry;

/// The root's number, by the protocol.
pub(super) const ROOT: u64 = 1;

/// The number of `name` in the directory numbered `parent`.
pub(super) fn child(parent: u64, name: &[u8]) -> u64 {
    let mut hasher = blake3::Hasher::new_derive_key("seawall 2026-11 inode number v1");
    hasher.update(&parent.to_le_bytes()).update(name);
    let (first, _) = hasher.finalize().as_bytes().split_first_chunk().map_or_else(
        || unreachable!("a hash has 32 bytes"),
        |(first, rest)| (u64::from_le_bytes(*first), rest),
    );
    // 0 and 1 have meanings of their own.
    first.max(2)
}

/// The number of what has this path.
pub(super) fn number<C: AsRef<[u8]>>(path: &[C]) -> u64 {
    path.iter().fold(ROOT, |parent, name| child(parent, name.as_ref()))
}

/// What the kernel knows.
pub(super) struct Inodes {
    known: HashMap<u64, Node>,
}

struct Node {
    parent: u64,
    entry: Arc<Entry>,
    /// How often it was handed out and not given back.
    lookups: u64,
}

/// Two paths with one number. Of honest snapshots, one in millions has such a pair.
#[derive(Debug)]
pub(super) struct Collision;

impl Inodes {
    pub(super) fn new(top: Arc<Entry>) -> Self {
        let root = Node { parent: ROOT, entry: top, lookups: 1 };
        Self { known: HashMap::from([(ROOT, root)]) }
    }

    pub(super) fn get(&self, number: u64) -> Option<Arc<Entry>> {
        Some(self.known.get(&number)?.entry.clone())
    }

    pub(super) fn parent(&self, number: u64) -> u64 {
        self.known.get(&number).map_or(ROOT, |node| node.parent)
    }

    /// Notes that the kernel is told of `entry` as `number`.
    pub(super) fn hand_out(
        &mut self,
        number: u64,
        parent: u64,
        entry: &Arc<Entry>,
    ) -> Result<(), Collision> {
        let new = || Node { parent, entry: entry.clone(), lookups: 0 };
        let node = self.known.entry(number).or_insert_with(new);
        if node.entry.name != entry.name || node.entry.kind != entry.kind {
            return Err(Collision);
        }
        node.lookups += 1;
        Ok(())
    }

    /// Notes that the kernel has forgotten `count` of the times it was told.
    pub(super) fn forget(&mut self, number: u64, count: u64) {
        if number == ROOT {
            return;
        }
        if let Some(node) = self.known.get_mut(&number) {
            node.lookups = node.lookups.saturating_sub(count);
            if node.lookups == 0 {
                self.known.remove(&number);
            }
        }
    }

    /// The path of something known, for people; its end alone where a parent was forgotten.
    pub(super) fn path(&self, number: u64) -> String {
        let mut names = Vec::new();
        let mut here = number;
        while here != ROOT
            && let Some(node) = self.known.get(&here)
            && names.len() < 4_096
        {
            names.push(node.entry.name.clone());
            here = node.parent;
        }
        names.reverse();
        String::from_utf8_lossy(&join(&names)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use seawall_backup::entry::{EntryKind, Meta};

    use super::*;

    fn entry(name: &str) -> Arc<Entry> {
        Arc::new(Entry { name: name.into(), meta: Meta::default(), kind: EntryKind::Fifo })
    }

    #[test]
    fn what_is_forgotten_takes_no_room_and_keeps_its_number() {
        let mut inodes = Inodes::new(entry("/"));
        let (dir, file) = (child(ROOT, b"a"), number(&["a", "b"]));
        assert_eq!(file, child(dir, b"b"));
        inodes.hand_out(dir, ROOT, &entry("a")).expect("new");
        for _ in 0..3 {
            inodes.hand_out(file, dir, &entry("b")).expect("the same");
        }
        assert_eq!(inodes.path(file), "a/b");
        assert!(inodes.hand_out(file, dir, &entry("other")).is_err());
        inodes.forget(file, 2);
        assert!(inodes.get(file).is_some());
        inodes.forget(file, 1);
        inodes.forget(dir, 1);
        inodes.forget(ROOT, 99);
        assert!(inodes.get(file).is_none() && inodes.get(ROOT).is_some());
        assert_eq!(inodes.known.len(), 1);
    }
}
