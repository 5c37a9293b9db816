//! One line of gitignore syntax, and lists of them.

use super::glob::Glob;

/// Largest ignore file that is honoured, in bytes.
pub const MAX_IGNORE_FILE: usize = 64 << 10;

/// A pattern that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pattern {:?} is not valid: {why}", String::from_utf8_lossy(.pattern))]
pub struct PatternError {
    /// The pattern.
    pub pattern: Vec<u8>,
    /// What is wrong with it.
    pub why: &'static str,
}

#[derive(Debug, Clone)]
struct Pattern {
    /// Begins with `!`: what it names is kept.
    keeps: bool,
    /// Ends with `/`: it names directories only.
    only_directories: bool,
    /// Has another slash: it is matched with the path from its list on, not with the last name.
    with_path: bool,
    glob: Glob,
}

impl Pattern {
    /// `None` for blank lines and comments.
    fn parse(line: &[u8], fold: bool) -> Option<Result<Self, &'static str>> {
        if line.first() == Some(&b'#') {
            return None;
        }
        let line = trim(line);
        let (keeps, rest) = line.strip_prefix(b"!").map_or((false, line), |rest| (true, rest));
        let (only_directories, rest) =
            rest.strip_suffix(b"/").map_or((false, rest), |rest| (true, rest));
        if line.is_empty() {
            return None;
        }
        let with_path = rest.contains(&b'/');
        let rest = rest.strip_prefix(b"/").unwrap_or(rest);
        let pattern = |glob| Self { keeps, only_directories, with_path, glob };
        Some(Glob::compile(rest, fold).map(pattern))
    }

    /// `path` is relative to the pattern's list and ends in a name.
    fn matches(&self, path: &[u8], is_directory: bool) -> bool {
        if self.only_directories && !is_directory {
            return false;
        }
        if self.with_path {
            return self.glob.matches(path);
        }
        let name = path.iter().rposition(|byte| *byte == b'/').map_or(path, |at| &path[at + 1..]);
        self.glob.matches(name)
    }
}

/// Without the spaces at its end that no backslash keeps.
fn trim(line: &[u8]) -> &[u8] {
    let mut end = 0;
    let mut at = 0;
    while let Some(byte) = line.get(at) {
        at += if *byte == b'\\' { 2 } else { 1 };
        if *byte != b' ' {
            end = at.min(line.len());
        }
    }
    &line[..end]
}

/// Patterns in the order they were written: the last that matches decides.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    list: Vec<(Pattern, Vec<u8>)>,
}

impl Patterns {
    /// The patterns of an ignore file. A line that is no valid pattern matches nothing, as in
    /// git: it keeps more, never less.
    pub fn of_file(text: &[u8]) -> Self {
        let mut patterns = Self::default();
        for line in lines(text) {
            if let Some(Ok(pattern)) = Pattern::parse(line, false) {
                patterns.list.push((pattern, line.to_vec()));
            }
        }
        patterns
    }

    /// Adds one pattern that somebody gave; with `fold`, regardless of the case of ASCII letters.
    pub fn add(&mut self, pattern: &[u8], fold: bool) -> Result<(), PatternError> {
        let refused = |why| PatternError { pattern: pattern.to_vec(), why };
        let nothing = "it is blank or a comment; write \\# for a name that begins with #";
        let parsed = Pattern::parse(pattern, fold).ok_or_else(|| refused(nothing))?;
        self.list.push((parsed.map_err(refused)?, pattern.to_vec()));
        Ok(())
    }

    /// Adds the patterns of a file that somebody gave: a line that is not valid is refused.
    pub fn add_file(&mut self, text: &[u8]) -> Result<(), PatternError> {
        for line in lines(text) {
            if let Some(parsed) = Pattern::parse(line, false) {
                let refused = |why| PatternError { pattern: line.to_vec(), why };
                self.list.push((parsed.map_err(refused)?, line.to_vec()));
            }
        }
        Ok(())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// One of them as it was written.
    pub fn text(&self, at: usize) -> &[u8] {
        &self.list[at].1
    }

    /// The pattern that decides about `path`, relative to where this list belongs, and whether
    /// it keeps it.
    pub fn decide(&self, path: &[u8], is_directory: bool) -> Option<(usize, bool)> {
        let at = self.list.iter().rposition(|(pattern, _)| pattern.matches(path, is_directory))?;
        Some((at, self.list[at].0.keeps))
    }
}

/// Lines without their ends; a byte order mark in front is no part of the first.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_at_the_end_need_a_backslash() {
        assert_eq!(trim(b"a  "), b"a");
        assert_eq!(trim(b"a\\  "), b"a\\ ");
        assert_eq!(trim(b"a\\"), b"a\\");
        assert_eq!(trim(b"   "), b"");
        assert_eq!(trim(b" a\t "), b" a\t");
    }

    #[test]
    fn given_patterns_are_refused_where_those_of_a_tree_match_nothing() {
        let mut given = Patterns::default();
        for (bad, why) in [("", "blank"), ("# x", "comment"), ("[a", "closed"), ("a\\", "escapes")]
        {
            let e = given.add(bad.as_bytes(), false).expect_err(bad).to_string();
            assert!(e.contains(why), "{e}");
        }
        assert!(given.add_file(b"ok\n[a\n").is_err());
        let of_tree = Patterns::of_file(b"[a\nok\n# comment\n\n");
        assert_eq!((of_tree.len(), of_tree.decide(b"ok", false)), (1, Some((0, false))));
    }
}
