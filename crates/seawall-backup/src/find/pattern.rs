//! What is looked for, and how it is found in a block's run of names.
//!
//! A pattern without a slash is about names, one with a slash about whole paths. What is asked
//! of a path ends in its last component, so that a directory that fits is one answer and not as
//! many as there are paths below it. Only a prefix and a regular expression reach below.

use regex_automata::Input;
use regex_automata::meta::{self, Regex};
use regex_automata::util::syntax;

use super::row::{SEPARATOR, is_within, push_path};

/// Longest pattern, in bytes.
const MAX_PATTERN: usize = 4_096;
/// Largest compiled regular expression, in bytes.
const MAX_REGEX: usize = 10 << 20;

/// How a pattern is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// It occurs in the name, or (with a slash) in the path up to some place in the name.
    Substring,
    /// It is the name, or (beginning with a slash) the path.
    Exact,
    /// The name begins with it, or (beginning with a slash) the path does: everything below too.
    Prefix,
    /// `*` and `?` within a component, `**` across them, `[a-z]` and `[!a-z]`.
    Glob,
    /// A regular expression, found anywhere in the name or (with a slash) in the path.
    Regex,
}

/// A pattern that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing to look for.
    #[error("the pattern is empty; name something to look for")]
    Empty,
    /// Too long.
    #[error("the pattern has {0} bytes, at most {MAX_PATTERN} are allowed")]
    TooLong(usize),
    /// No name has a NUL in it.
    #[error("the pattern has a NUL in it, which no path has")]
    Nul,
    /// Not a regular expression, or one that grows too large.
    #[error("not a usable regular expression: {0}")]
    Regex(String),
}

/// What a row's path must be, besides what its name must be.
#[derive(Debug)]
enum Place {
    /// Anywhere.
    Anywhere,
    /// In this directory.
    In(Vec<u8>),
    /// In a directory whose path, with a separator in front, ends so.
    EndsWith(Vec<u8>),
    /// The path begins with these bytes: in the directory and with the beginning of a name, or
    /// in a directory that begins with them.
    Prefix { dir: Vec<u8>, name: Vec<u8>, whole: Vec<u8> },
    /// The whole path, with slashes, matches.
    Path(Box<Regex>),
}

/// Which names a block's run of names is searched for.
enum Names {
    All,
    /// Bytes to find; what they may stand for is told by NULs at either end.
    Bytes(Box<memchr::memmem::Finder<'static>>),
    Regex {
        regex: Box<Regex>,
        one_by_one: bool,
    },
    /// As `Regex`, in paths instead of names.
    Paths {
        regex: Box<Regex>,
        one_by_one: bool,
    },
}

/// A pattern, ready to be searched for.
pub struct Pattern {
    names: Names,
    place: Place,
    /// The pattern ended in a slash.
    pub(super) directories_only: bool,
}

impl std::fmt::Debug for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pattern").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Pattern {
    /// Everything.
    pub const fn all() -> Self {
        Self { names: Names::All, place: Place::Anywhere, directories_only: false }
    }

    /// Prepares `text`, meant as `how`.
    pub fn new(text: &[u8], how: Match, ignore_case: bool) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > MAX_PATTERN {
            return Err(PatternError::TooLong(text.len()));
        }
        if text.contains(&0) {
            return Err(PatternError::Nul);
        }
        if how == Match::Glob
            && !ignore_case
            && let Some(names) = simple(text)
        {
            return Ok(Self { names, place: Place::Anywhere, directories_only: false });
        }
        if how == Match::Regex {
            let text = std::str::from_utf8(text)
                .map_err(|_| PatternError::Regex("it is not UTF-8".to_owned()))?;
            return Self::regex(text, ignore_case);
        }
        if ignore_case || how == Match::Glob {
            return Self::translated(text, how, ignore_case);
        }
        Ok(Self::literal(text, how))
    }

    fn regex(text: &str, ignore_case: bool) -> Result<Self, PatternError> {
        let (regex, one_by_one) = compile(text, ignore_case)?;
        let regex = Box::new(regex);
        let names = if text.contains('/') {
            Names::Paths { regex, one_by_one }
        } else {
            Names::Regex { regex, one_by_one }
        };
        Ok(Self { names, place: Place::Anywhere, directories_only: false })
    }

    /// Bytes as they are: a search for bytes.
    fn literal(text: &[u8], how: Match) -> Self {
        let trimmed = text.strip_suffix(b"/").unwrap_or(text);
        let directories_only = trimmed.len() < text.len() && !trimmed.is_empty();
        // The path prefix "/srv/" is everything in /srv, not the directory itself.
        let text = if directories_only && how != Match::Prefix { trimmed } else { text };
        let directories_only = directories_only && how != Match::Prefix;
        let (head, name) = match text.iter().rposition(|&b| b == b'/') {
            Some(at) => (Some(&text[..at]), &text[at + 1..]),
            None => (None, text),
        };
        let key = |path: &[u8]| -> Vec<u8> {
            path.iter().map(|&b| if b == b'/' { SEPARATOR } else { b }).collect()
        };
        let absolute = text.starts_with(b"/");
        let place = match (head, how) {
            (None, _) => Place::Anywhere,
            (Some(head), Match::Prefix) if absolute => Place::Prefix {
                dir: key(head.strip_prefix(b"/").unwrap_or(head)),
                name: name.to_vec(),
                whole: key(&text[1..]),
            },
            (Some(head), Match::Exact) if absolute => {
                Place::In(key(head.strip_prefix(b"/").unwrap_or(head)))
            }
            (Some(head), Match::Substring) => Place::EndsWith(key(head)),
            (Some(head), _) => Place::EndsWith(key(&[b"/", head].concat())),
        };
        let names = match (&place, how) {
            (Place::Prefix { .. }, _) => Names::All,
            (_, Match::Exact) => bytes(&[b"\0", name, b"\0"]),
            (Place::EndsWith(_), Match::Substring) if directories_only => {
                bytes(&[b"\0", name, b"\0"])
            }
            (Place::EndsWith(_), _) | (_, Match::Prefix) => bytes(&[b"\0", name]),
            _ if directories_only => bytes(&[name, b"\0"]),
            _ => bytes(&[name]),
        };
        Self { names, place, directories_only }
    }

    /// Globs, and anything without regard to case: as regular expressions.
    fn translated(text: &[u8], how: Match, ignore_case: bool) -> Result<Self, PatternError> {
        let trimmed = text.strip_suffix(b"/").unwrap_or(text);
        let directories_only =
            trimmed.len() < text.len() && !trimmed.is_empty() && how != Match::Prefix;
        let text = if directories_only { trimmed } else { text };
        let (mut name, mut whole) = (String::new(), None);
        let last = text.rsplit(|&b| b == b'/').next().unwrap_or(text);
        let body = |text: &[u8]| if how == Match::Glob { glob(text) } else { escape(text) };
        let (front, back) = match how {
            Match::Substring => ("", if directories_only { "$" } else { "" }),
            Match::Prefix => ("^", ""),
            _ => ("^", "$"),
        };
        if last.len() < text.len() {
            // What comes before the name may begin with any component, unless it is absolute.
            let front = match how {
                Match::Substring => "",
                _ if text.starts_with(b"/") => "^",
                _ => "(^|/)",
            };
            let back = match how {
                Match::Substring if !directories_only => "[^/]*$",
                Match::Prefix if text.starts_with(b"/") => "",
                Match::Prefix => "[^/]*$",
                _ => "$",
            };
            let path = format!("{front}{}{back}", body(text));
            whole = Some(Box::new(compile(&path, ignore_case)?.0));
            let below = how == Match::Prefix && text.starts_with(b"/");
            if !below && !last.windows(2).any(|w| w == b"**") {
                let back = if how == Match::Substring && !directories_only { "" } else { back };
                name = format!("^{}{}", body(last), if back == "$" { "$" } else { "" });
            }
        } else {
            name = format!("{front}{}{back}", body(text));
        }
        let names = if name.is_empty() {
            Names::All
        } else {
            let (regex, one_by_one) = compile(&name, ignore_case)?;
            Names::Regex { regex: Box::new(regex), one_by_one }
        };
        let place = whole.map_or(Place::Anywhere, Place::Path);
        Ok(Self { names, place, directories_only })
    }

    /// Whether paths have to be put together before anything can be said.
    pub(super) const fn wants_paths(&self) -> bool {
        matches!(self.names, Names::Paths { .. })
    }

    /// Whether a block with these first and last directories may hold an answer.
    pub(super) fn may_be_in(&self, first: &[u8], last: &[u8]) -> bool {
        match &self.place {
            Place::In(dir) => (first..=last).contains(&&dir[..]),
            Place::Prefix { dir, whole, .. } => {
                let within = (first..=last).contains(&&dir[..]);
                let begins = first.starts_with(whole) || (first < &whole[..] && last >= &whole[..]);
                within || begins
            }
            Place::Anywhere | Place::EndsWith(_) | Place::Path(_) => true,
        }
    }

    /// Whether a look at its directories may settle that a block has no answer.
    pub(super) fn wants_dirs(&self) -> bool {
        matches!(&self.place, Place::EndsWith(end) if !end.is_empty())
    }

    /// Whether something in this directory may be an answer, where [`Self::wants_dirs`].
    pub(super) fn may_be_below(&self, dir: &[u8]) -> bool {
        match &self.place {
            Place::EndsWith(end) => ends_with(dir, end),
            _ => true,
        }
    }

    /// Whether the place of a row whose name was found is right.
    pub(super) fn is_place(&self, dir: &[u8], name: &[u8], path: &mut Vec<u8>) -> bool {
        match &self.place {
            Place::Anywhere => true,
            Place::In(wanted) => dir == wanted,
            Place::EndsWith(end) => ends_with(dir, end),
            Place::Prefix { dir: parent, name: begin, whole } => {
                (dir == parent && name.starts_with(begin))
                    || (dir.starts_with(whole) && (!whole.is_empty() || is_within(dir, whole)))
            }
            Place::Path(regex) => {
                path.clear();
                push_path(path, dir, name);
                regex.is_match(&path[..])
            }
        }
    }

    /// A search of its own for one thread.
    pub(super) fn searcher(&self) -> Searcher<'_> {
        let cache = match &self.names {
            Names::Regex { regex, .. } | Names::Paths { regex, .. } => Some(regex.create_cache()),
            Names::All | Names::Bytes(_) => None,
        };
        Searcher { names: &self.names, cache }
    }
}

/// Whether the path of a directory, with a separator in front, ends with `end`.
fn ends_with(dir: &[u8], end: &[u8]) -> bool {
    dir.ends_with(end)
        || end.strip_prefix(&[SEPARATOR]).is_some_and(|rest| rest == dir)
        || end.is_empty()
}

fn bytes(parts: &[&[u8]]) -> Names {
    Names::Bytes(Box::new(memchr::memmem::Finder::new(&parts.concat()).into_owned()))
}

/// A regular expression over bytes, and whether it must be asked about one name at a time: `\A`
/// and `\z` mean the ends of a name and would otherwise mean those of the run of names.
fn compile(text: &str, ignore_case: bool) -> Result<(Regex, bool), PatternError> {
    let refused = |e: &dyn std::fmt::Display| PatternError::Regex(e.to_string());
    let syntax = syntax::Config::new()
        .utf8(false)
        .multi_line(true)
        .line_terminator(0)
        .case_insensitive(ignore_case)
        .nest_limit(100);
    let hir = syntax::parse_with(text, &syntax).map_err(|e| refused(&e))?;
    let one_by_one = hir.properties().look_set().contains_anchor_haystack();
    let config = meta::Config::new()
        .utf8_empty(false)
        .line_terminator(0)
        .nfa_size_limit(Some(MAX_REGEX))
        .onepass_size_limit(Some(1 << 20))
        .hybrid_cache_capacity(8 << 20);
    let regex = meta::Builder::new().configure(config).build_from_hir(&hir);
    Ok((regex.map_err(|e| refused(&source_of(&e)))?, one_by_one))
}

/// The innermost reason, which is the one that says something.
fn source_of(e: &dyn std::error::Error) -> String {
    let mut inner = e;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// Bytes as a regular expression that matches them.
fn escape(text: &[u8]) -> String {
    let mut out = String::new();
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_ascii_punctuation() {
                out.push('\\');
            }
            out.push(c);
        }
        chunk.invalid().iter().for_each(|b| out.push_str(&format!("(?-u:\\x{b:02x})")));
    }
    out
}

/// A glob that is bytes with nothing but a star before or behind them: a search for bytes.
fn simple(text: &[u8]) -> Option<Names> {
    let (text, front) = text.strip_prefix(b"*").map_or((text, &b"\0"[..]), |rest| (rest, b""));
    let (text, back) = text.strip_suffix(b"*").map_or((text, &b"\0"[..]), |rest| (rest, b""));
    let special = |b: &u8| b"*?[\\/".contains(b);
    (!text.is_empty() && !text.iter().any(special)).then(|| bytes(&[front, text, back]))
}

/// A glob as a regular expression.
fn glob(text: &[u8]) -> String {
    let mut out = String::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let (part, len) = match rest {
            [b'*', b'*', b'/', ..] => ("(?:.*/)?".to_owned(), 3),
            [b'*', b'*', ..] => (".*".to_owned(), 2),
            [b'*', ..] => ("[^/\\x00]*".to_owned(), 1),
            [b'?', ..] => ("(?:[^/\\x00]|(?-u:[\\x80-\\xff]))".to_owned(), 1),
            [b'\\', _, ..] => {
                let len = char_len(&rest[1..]);
                (escape(&rest[1..=len]), 1 + len)
            }
            [b'[', ..] => class(rest).unwrap_or_else(|| ("\\[".to_owned(), 1)),
            _ => {
                let len = char_len(rest);
                (escape(&rest[..len]), len)
            }
        };
        out.push_str(&part);
        at += len;
    }
    out
}

/// Bytes of the first character, or 1 if there is none.
fn char_len(text: &[u8]) -> usize {
    let first = text.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
    first.map_or(1, char::len_utf8)
}

/// A bracketed class as a regular expression, and its length; `None` if it is not one.
fn class(text: &[u8]) -> Option<(String, usize)> {
    let negated = matches!(text.get(1), Some(b'!' | b'^'));
    let start = if negated { 2 } else { 1 };
    let end = start + 1 + text.get(start + 1..)?.iter().position(|&b| b == b']')?;
    let inner = std::str::from_utf8(&text[start..end]).ok()?;
    let mut out = String::from(if negated { "[^/\\x00" } else { "[" });
    let chars: Vec<char> = inner.chars().collect();
    for (i, &c) in chars.iter().enumerate() {
        let range = c == '-' && i > 0 && i + 1 < chars.len();
        if c.is_ascii_punctuation() && !range {
            out.push('\\');
        }
        out.push(c);
    }
    out.push(']');
    Some((out, end + 1))
}

/// Searches runs of names for one thread.
pub(super) struct Searcher<'p> {
    names: &'p Names,
    cache: Option<meta::Cache>,
}

impl Searcher<'_> {
    /// Gives the number of every name that fits, ascending. `run` is names (or paths) between
    /// NULs, with one in front.
    pub(super) fn find(&mut self, run: &[u8], rows: usize, out: &mut Vec<u32>) {
        out.clear();
        match self.names {
            Names::All => out.extend(0..rows as u32),
            Names::Bytes(finder) => find_bytes(finder, run, out),
            Names::Regex { regex, one_by_one } | Names::Paths { regex, one_by_one } => {
                let cache = self.cache.as_mut().expect("a searcher with an expression has one");
                if *one_by_one {
                    for (row, name) in run[1..].split(|&b| b == 0).take(rows).enumerate() {
                        if regex.search_half_with(cache, &Input::new(name)).is_some() {
                            out.push(row as u32);
                        }
                    }
                } else {
                    find_regex(regex, cache, run, out);
                }
            }
        }
    }
}

/// Counts names as a search goes along.
struct Rows<'r> {
    run: &'r [u8],
    /// Start of the current name, which is number `row`.
    start: usize,
    row: u32,
}

impl<'r> Rows<'r> {
    const fn new(run: &'r [u8]) -> Self {
        Self { run, start: 1, row: 0 }
    }

    /// Moves to the name that position `at` is in, not before the current one. The NUL behind
    /// a name is its last position.
    fn seek(&mut self, at: usize) {
        let mut last = None;
        for nul in memchr::memchr_iter(0, self.run.get(self.start..at).map_or(&[], |run| run)) {
            self.row += 1;
            last = Some(nul);
        }
        self.start += last.map_or(0, |last| last + 1);
    }

    /// Where the NUL behind the current name is; none behind the last one.
    fn end(&self) -> Option<usize> {
        memchr::memchr(0, self.run.get(self.start..)?).map(|n| self.start + n)
    }
}

fn find_bytes(finder: &memchr::memmem::Finder<'_>, run: &[u8], out: &mut Vec<u32>) {
    let mut rows = Rows::new(run);
    let mut from = 0;
    // A NUL at its beginning is the one in front of the name.
    let skip = usize::from(finder.needle().first() == Some(&0));
    while let Some(found) = run.get(from..).and_then(|rest| finder.find(rest)) {
        rows.seek(from + found + skip);
        let Some(end) = rows.end() else { return };
        out.push(rows.row);
        // The NUL at its end is also the one in front of the next name.
        from = end;
    }
}

/// Whatever matches within a name also matches in the run, at the same place or an earlier one:
/// so no name before a match has one. What runs across a NUL is no match, but its name may have
/// another.
fn find_regex(regex: &Regex, cache: &mut meta::Cache, run: &[u8], out: &mut Vec<u32>) {
    let mut rows = Rows::new(run);
    let last = run.len() - 1;
    while rows.start <= last {
        let input = Input::new(run).range(rows.start..last);
        let Some(found) = regex.search_with(cache, &input) else { return };
        rows.seek(found.start());
        let Some(end) = rows.end() else { return };
        let name = Input::new(run).range(rows.start..end);
        if found.end() <= end || regex.search_half_with(cache, &name).is_some() {
            out.push(rows.row);
        }
        rows.seek(end + 1);
    }
}
