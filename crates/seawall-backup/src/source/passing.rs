//! Asks of each thing in a file tree whether it is passed over, and counts what is.

use rustix::fs::FileType;

use super::filter::{
    CACHE_SIGNATURE, CACHE_TAG, Excluded, Exclusions, Filter, MAX_IGNORE_FILE, Patterns,
};
use super::{DirHandle, Reason, Stamp};

/// Names in a directory with their kinds, as far as those are known.
pub(super) type Names = Vec<(Vec<u8>, FileType)>;

/// The rules of a walk and where in it they stand.
#[derive(Debug)]
pub(super) struct Passing {
    rules: Exclusions,
    filter: Filter,
    excluded: Excluded,
    /// Device of the given path below which the walk stands.
    device: u64,
}

impl Passing {
    pub(super) fn new(mut rules: Exclusions) -> Self {
        let filter = Filter::new(std::mem::take(&mut rules.patterns));
        Self { rules, filter, excluded: Excluded::default(), device: 0 }
    }

    pub(super) fn excluded(&self) -> Excluded {
        let unused = self.filter.unused().map(<[u8]>::to_vec).collect();
        Excluded { unused, ..self.excluded.clone() }
    }

    /// Whether `name` in the directory stood in is passed over for its name.
    pub(super) fn name(&mut self, name: &[u8], is_directory: bool) -> bool {
        let is_out = self.filter.excludes(name, is_directory);
        let count =
            if is_directory { &mut self.excluded.directories } else { &mut self.excluded.files };
        *count += u64::from(is_out);
        is_out
    }

    /// Whether a leaf is passed over for its length.
    pub(super) fn length(&mut self, stamp: &Stamp) -> bool {
        let limit = self.rules.larger_than.filter(|_| stamp.is_file());
        let is_out = limit.is_some_and(|limit| stamp.size > limit);
        if is_out {
            self.excluded.too_large += 1;
            self.excluded.too_large_bytes += stamp.size;
        }
        is_out
    }

    /// Steps into `dir`; what of `names` is to be looked at. Ignore files that are not honoured
    /// are told to `report`, by name.
    pub(super) fn enter(
        &mut self,
        dir: &DirHandle,
        name: &[u8],
        is_given: bool,
        names: Names,
        report: &mut dyn FnMut(&[u8], Reason),
    ) -> rustix::io::Result<Names> {
        let mut names = names;
        if is_given {
            self.device = dir.id()?.0;
        } else {
            self.empty(dir, &mut names)?;
        }
        let mut lists = Vec::new();
        for file in self.rules.ignore_files.iter().filter(|file| has(&names, file)) {
            match dir.read_start(file, MAX_IGNORE_FILE + 1) {
                Ok(Some(text)) if text.len() > MAX_IGNORE_FILE => {
                    let error = std::io::Error::other("it is longer than 64 KiB");
                    report(file, Reason::NotHonoured(error));
                }
                Ok(Some(text)) => lists.push(Patterns::of_file(&text)),
                // A directory of that name, say.
                Ok(None) => {}
                Err(e) => report(file, Reason::NotHonoured(e.into())),
            }
        }
        self.filter.enter(name, lists);
        Ok(names)
    }

    /// Steps out of the directory entered last.
    pub(super) fn leave(&mut self) {
        self.filter.leave();
    }

    /// Leaves of `names` nothing, or the marker, if the content of `dir` is passed over.
    fn empty(&mut self, dir: &DirHandle, names: &mut Names) -> rustix::io::Result<()> {
        if self.rules.one_file_system && dir.id()?.0 != self.device {
            self.excluded.mount_points += 1;
            names.clear();
            return Ok(());
        }
        if self.rules.caches && has(names, CACHE_TAG) {
            // What cannot be read is no valid tag, and all is kept.
            let start = dir.read_start(CACHE_TAG, CACHE_SIGNATURE.len());
            if matches!(start, Ok(Some(start)) if start == CACHE_SIGNATURE) {
                self.excluded.caches += 1;
                names.retain(|(name, _)| name == CACHE_TAG);
                return Ok(());
            }
        }
        let marker = self.rules.markers.iter().find(|marker| has(names, marker));
        if let Some(marker) = marker {
            self.excluded.marked += 1;
            names.retain(|(name, _)| name == marker);
        }
        Ok(())
    }
}

/// Names are sorted.
fn has(names: &Names, name: &[u8]) -> bool {
    names.binary_search_by(|(other, _)| other[..].cmp(name)).is_ok()
}
