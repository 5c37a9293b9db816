//! Which names are one object.

use std::collections::HashMap;

use super::Stamp;

/// First names of objects that have several. An object is forgotten with its last name, so the
/// table is as large as the links still open, not as the tree.
#[derive(Debug, Default)]
pub struct LinkTable {
    first: HashMap<(u64, u64), First>,
}

#[derive(Debug)]
struct First {
    path: Vec<Vec<u8>>,
    names_left: u64,
}

impl LinkTable {
    /// The path (components from the root of the walk) under which `inode` was met first, or
    /// `None` after noting that it is `path()`.
    pub fn first(
        &mut self,
        inode: &Stamp,
        path: impl FnOnce() -> Vec<Vec<u8>>,
    ) -> Option<Vec<Vec<u8>>> {
        if inode.nlink < 2 {
            return None;
        }
        let key = (inode.dev, inode.ino);
        let Some(first) = self.first.get_mut(&key) else {
            self.first.insert(key, First { path: path(), names_left: inode.nlink - 1 });
            return None;
        };
        first.names_left -= 1;
        if first.names_left == 0 {
            return self.first.remove(&key).map(|first| first.path);
        }
        Some(first.path.clone())
    }

    /// The path under which `inode` was met, if it was; nothing is noted.
    pub(crate) fn met(&self, inode: &Stamp) -> Option<&Vec<Vec<u8>>> {
        self.first.get(&(inode.dev, inode.ino)).map(|first| &first.path)
    }

    /// Forgets `inode`: its next name is a first one. For an object whose first name was noted
    /// and then could not be kept.
    pub fn forget(&mut self, inode: &Stamp) {
        self.first.remove(&(inode.dev, inode.ino));
    }
}
