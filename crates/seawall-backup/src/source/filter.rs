//! What a snapshot passes over, by the rules it was given.
//!
//! Pure: the walk says where it stands and what it found, the filter answers. Precedence is
//! git's: patterns given on the command line come before those of ignore files, those of a
//! directory before those of its parents; within a list the last that matches decides; what lies
//! in a directory that is passed over is never asked about, so it cannot be brought back.
//! `git check-ignore` is the oracle of the tests. The crate `ignore` was rejected: its globs are
//! text, differ from git's in corners, and compile to regular expressions.
//!
//! Patterns are relative to each given path, as if they stood in an ignore file there. A given
//! path itself is never passed over: whoever names a thing wants it.
//!
//! Nothing is passed over silently: [`Excluded`] counts it.

mod glob;
mod pattern;

pub use pattern::{MAX_IGNORE_FILE, PatternError, Patterns};

/// Begins every valid `CACHEDIR.TAG` (<https://bford.info/cachedir/>).
pub const CACHE_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";
/// Name of the tag.
pub const CACHE_TAG: &[u8] = b"CACHEDIR.TAG";

/// What to pass over. The default is nothing.
#[derive(Debug, Clone, Default)]
pub struct Exclusions {
    /// Given patterns.
    pub patterns: Patterns,
    /// Names of ignore files to honour in the tree; in one directory, a later one comes first.
    pub ignore_files: Vec<Vec<u8>>,
    /// Of directories with a valid [`CACHE_TAG`], keep only themselves and the tag.
    pub caches: bool,
    /// Of directories that hold something of such a name, keep only themselves and that.
    pub markers: Vec<Vec<u8>>,
    /// Regular files longer than so many bytes.
    pub larger_than: Option<u64>,
    /// Of directories on other file systems than their given path, keep only themselves.
    pub one_file_system: bool,
}

/// What was passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Excluded {
    /// By a pattern: anything but directories.
    pub files: u64,
    /// By a pattern: directories, with all they hold.
    pub directories: u64,
    /// Regular files that were too large.
    pub too_large: u64,
    /// Their bytes.
    pub too_large_bytes: u64,
    /// Tagged caches whose content was.
    pub caches: u64,
    /// Directories with a marker whose content was.
    pub marked: u64,
    /// Mount points whose content was.
    pub mount_points: u64,
    /// Given patterns that decided nothing so far: mistyped, perhaps.
    pub unused: Vec<Vec<u8>>,
}

/// The patterns that hold where a walk stands.
#[derive(Debug)]
pub struct Filter {
    given: Patterns,
    /// Which of the given patterns ever decided anything.
    used: Vec<bool>,
    /// From the given path down to where the walk stands: a `/` after each name.
    path: Vec<u8>,
    dirs: Vec<Dir>,
}

#[derive(Debug)]
struct Dir {
    /// Length of the path down to this directory.
    base: usize,
    /// Patterns of its ignore files, by precedence.
    lists: Vec<Patterns>,
}

impl Filter {
    /// A filter that stands nowhere yet.
    pub fn new(given: Patterns) -> Self {
        let used = vec![false; given.len()];
        Self { given, used, path: Vec::new(), dirs: Vec::new() }
    }

    /// Steps into directory `name`, which has ignore files with these patterns; the one that
    /// comes first is last. From outside, it is a given path, and its name does not matter.
    pub fn enter(&mut self, name: &[u8], mut lists: Vec<Patterns>) {
        if !self.dirs.is_empty() {
            self.path.extend_from_slice(name);
            self.path.push(b'/');
        }
        lists.retain(|list| !list.is_empty());
        lists.reverse();
        self.dirs.push(Dir { base: self.path.len(), lists });
    }

    /// Steps out of the directory entered last.
    pub fn leave(&mut self) {
        self.dirs.pop();
        self.path.truncate(self.dirs.last().map_or(0, |dir| dir.base));
    }

    /// Whether `name`, in the directory the walk stands in, is passed over.
    pub fn excludes(&mut self, name: &[u8], is_directory: bool) -> bool {
        let has_lists = self.dirs.iter().any(|dir| !dir.lists.is_empty());
        if self.given.is_empty() && !has_lists {
            return false;
        }
        let here = self.path.len();
        self.path.extend_from_slice(name);
        let keeps = self.decide(is_directory);
        self.path.truncate(here);
        keeps == Some(false)
    }

    fn decide(&mut self, is_directory: bool) -> Option<bool> {
        if let Some((at, keeps)) = self.given.decide(&self.path, is_directory) {
            self.used[at] = true;
            return Some(keeps);
        }
        let nearest_first = self.dirs.iter().rev();
        nearest_first
            .flat_map(|dir| dir.lists.iter().map(|list| (dir.base, list)))
            .find_map(|(base, list)| list.decide(&self.path[base..], is_directory))
            .map(|(_, keeps)| keeps)
    }

    /// The given patterns that decided nothing: mistyped, perhaps.
    pub fn unused(&self) -> impl Iterator<Item = &[u8]> {
        let unused = self.used.iter().enumerate().filter(|(_, used)| !**used);
        unused.map(|(at, _)| self.given.text(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(patterns: &[&str]) -> Filter {
        let mut list = Patterns::default();
        for pattern in patterns {
            list.add(pattern.as_bytes(), false).expect("valid");
        }
        let mut filter = Filter::new(list);
        filter.enter(b"given", Vec::new());
        filter
    }

    #[test]
    fn given_patterns_are_relative_to_given_paths_and_come_first() {
        let mut filter = given(&["/top", "*.o", "!keep.o"]);
        assert!(filter.excludes(b"top", true) && filter.excludes(b"x.o", false));
        assert!(!filter.excludes(b"keep.o", false));
        filter.enter(b"sub", vec![Patterns::of_file(b"*\n!x.o\n/top\n")]);
        assert!(filter.excludes(b"x.o", false), "the command line comes first");
        assert!(!filter.excludes(b"keep.o", false));
        assert!(filter.excludes(b"top", true), "anchored where its file is");
        filter.leave();
        assert!(!filter.excludes(b"other", false));
        filter.leave();
        filter.enter(b"second path", Vec::new());
        assert!(filter.excludes(b"top", false));
    }

    #[test]
    fn of_two_ignore_files_the_later_comes_first() {
        let mut filter = Filter::new(Patterns::default());
        let lists = vec![Patterns::of_file(b"a\nb\n"), Patterns::of_file(b"!a\n")];
        filter.enter(b"", lists);
        assert!(!filter.excludes(b"a", false) && filter.excludes(b"b", false));
    }

    #[test]
    fn patterns_that_decide_nothing_are_known() {
        let mut filter = given(&["*.o", "/srv/www/cache", "!c"]);
        assert!(filter.excludes(b"a.o", false) && !filter.excludes(b"c", true));
        assert_eq!(filter.unused().collect::<Vec<_>>(), [b"/srv/www/cache"]);
    }
}
