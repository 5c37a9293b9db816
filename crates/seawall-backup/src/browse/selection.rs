//! Which part of a snapshot is meant: paths with all that is below them, and patterns.
//!
//! A path selects what it names and everything below. A pattern selects every entry whose whole
//! path from the snapshot's root it matches, and everything below that; `*` and `?` stay within
//! one component, `**` does not. Paths and patterns add up. Nothing given selects everything.

use globset::{Glob, GlobBuilder, GlobMatcher};

use super::split;

/// A part of a snapshot.
#[derive(Debug, Default)]
pub struct Selection {
    paths: Vec<Vec<Vec<u8>>>,
    patterns: Vec<Pattern>,
}

#[derive(Debug)]
struct Pattern {
    matcher: GlobMatcher,
    /// Leading components without wildcards: nothing outside them can match.
    fixed: Vec<Vec<u8>>,
}

/// A selection that means nothing.
#[derive(Debug, thiserror::Error)]
pub enum SelectionError {
    /// A path with `.`, `..` or a component no file system can hold.
    #[error("{0:?} is not a path in a snapshot; write it from the root, without `.` and `..`")]
    BadPath(String),
    /// A pattern that does not parse.
    #[error("pattern {pattern:?}: {why}")]
    BadPattern {
        /// The pattern.
        pattern: String,
        /// What is wrong.
        why: String,
    },
}

/// What a selection says about one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is meant, with everything below.
    Take,
    /// Something below it may be meant.
    Pass,
    /// Neither it nor anything below.
    Skip,
}

impl Selection {
    /// Everything.
    pub fn all() -> Self {
        Self::default()
    }

    /// The part named by `paths` and `patterns`, both from the snapshot's root, with or without
    /// a leading slash.
    pub fn new(paths: &[Vec<u8>], patterns: &[String]) -> Result<Self, SelectionError> {
        let mut selection = Self::default();
        for path in paths {
            let bad = || SelectionError::BadPath(String::from_utf8_lossy(path).into_owned());
            selection.paths.push(split(path).ok_or_else(bad)?);
        }
        for pattern in patterns {
            selection.patterns.push(Pattern::new(pattern)?);
        }
        Ok(selection)
    }

    /// Whether it means everything.
    pub const fn is_all(&self) -> bool {
        self.paths.is_empty() && self.patterns.is_empty()
    }

    /// The paths, by components.
    pub fn paths(&self) -> &[Vec<Vec<u8>>] {
        &self.paths
    }

    /// Judges an entry none of whose parents is taken.
    pub(super) fn judge(&self, path: &[Vec<u8>], is_directory: bool) -> Verdict {
        if self.is_all() || self.paths.iter().any(|p| path.starts_with(p)) {
            return Verdict::Take;
        }
        let joined = super::join(path);
        if self.patterns.iter().any(|p| p.matches(&joined)) {
            return Verdict::Take;
        }
        let below = |known: &[Vec<u8>]| known.starts_with(path) || path.starts_with(known);
        let leads = self.paths.iter().any(|p| p.starts_with(path))
            || self.patterns.iter().any(|p| below(&p.fixed));
        if is_directory && leads { Verdict::Pass } else { Verdict::Skip }
    }
}

impl Pattern {
    fn new(pattern: &str) -> Result<Self, SelectionError> {
        let bad = |e: globset::Error| SelectionError::BadPattern {
            pattern: pattern.to_owned(),
            why: e.kind().to_string(),
        };
        let text = pattern.trim_start_matches('/');
        let mut builder = GlobBuilder::new(text);
        let glob: Glob = builder
            .literal_separator(true)
            .backslash_escape(true)
            .empty_alternates(true)
            .build()
            .map_err(bad)?;
        let components: Vec<_> = text.split('/').collect();
        let is_fixed = |c: &&&str| !c.contains(['*', '?', '[', ']', '{', '}', '\\', ',']);
        let fixed = components.iter().take_while(is_fixed).map(|c| c.as_bytes().to_vec());
        // The last component is the entry itself; only those before it bound the search.
        let fixed = fixed.take(components.len() - 1).collect();
        Ok(Self { matcher: glob.compile_matcher(), fixed })
    }

    fn matches(&self, path: &[u8]) -> bool {
        use std::os::unix::ffi::OsStrExt as _;
        self.matcher.is_match(std::ffi::OsStr::from_bytes(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(selection: &Selection, path: &str) -> Verdict {
        let components = split(path.as_bytes()).expect("a path");
        selection.judge(&components, true)
    }

    fn select(paths: &[&str], patterns: &[&str]) -> Selection {
        let paths: Vec<_> = paths.iter().map(|p| p.as_bytes().to_vec()).collect();
        let patterns: Vec<_> = patterns.iter().map(ToString::to_string).collect();
        Selection::new(&paths, &patterns).expect("a selection")
    }

    #[test]
    fn paths_select_what_they_name_and_below() {
        let selection = select(&["/etc/nginx", "srv/"], &[]);
        for (path, expected) in [
            ("etc", Verdict::Pass),
            ("etc/nginx", Verdict::Take),
            ("etc/nginx/sites", Verdict::Take),
            ("etc/nginx2", Verdict::Skip),
            ("srv", Verdict::Take),
            ("var", Verdict::Skip),
        ] {
            assert_eq!(verdict(&selection, path), expected, "{path}");
        }
        assert_eq!(verdict(&Selection::all(), "anything"), Verdict::Take);
    }

    #[test]
    fn patterns_match_whole_paths() {
        let selection = select(&[], &["**/*.conf", "/srv/w?w/*", "home/{anna,bo}/notes"]);
        for (path, expected) in [
            ("a.conf", Verdict::Take),
            ("etc/deep/er/a.conf", Verdict::Take),
            ("etc/a.config", Verdict::Pass),
            ("srv/www/x", Verdict::Take),
            ("home/anna/notes", Verdict::Take),
            ("home/carl/notes", Verdict::Pass),
        ] {
            assert_eq!(verdict(&selection, path), expected, "{path}");
        }
        let narrow = select(&[], &["/srv/w?w/*"]);
        for (path, expected) in [
            ("srv", Verdict::Pass),
            ("srv/www", Verdict::Pass),
            ("srv/www/x", Verdict::Take),
            ("etc", Verdict::Skip),
            ("srv2", Verdict::Skip),
        ] {
            assert_eq!(verdict(&narrow, path), expected, "{path}");
        }
    }

    #[test]
    fn names_that_are_not_text_are_matched_as_bytes() {
        let selection = select(&[], &["*.jpg"]);
        assert_eq!(selection.judge(&[b"\xff\xfe.jpg".to_vec()], false), Verdict::Take);
        assert_eq!(selection.judge(&[b"\xff\xfe.png".to_vec()], false), Verdict::Skip);
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for path in ["", "/", "a/../b", "./a", "a\0b"] {
            let refused = Selection::new(&[path.as_bytes().to_vec()], &[]);
            assert!(matches!(refused, Err(SelectionError::BadPath(_))), "{path:?}");
        }
        let refused = Selection::new(&[], &["a[".to_owned()]);
        assert!(matches!(refused, Err(SelectionError::BadPattern { .. })), "{refused:?}");
    }
}
