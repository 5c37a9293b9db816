//! A Rust file split into what the compiler reads and what people read, and its functions.
//!
//! A scan by characters, not a parser: it knows comments, literals and matching braces, which is
//! all the rules need, and it brings no dependency. Positions are the same in every view, because
//! what a view leaves out is blanked, never removed.

use std::ops::Range;

use super::tree::{self, Tree};

/// One Rust file.
pub(super) struct Source {
    /// Relative to the workspace.
    pub(super) path: String,
    /// As written.
    pub(super) text: String,
    /// Comments and the contents of literals blanked.
    pub(super) code: String,
    /// Everything but comments blanked.
    pub(super) comments: String,
    tests: Tests,
}

/// Which part of a file is compiled for tests only.
enum Tests {
    Whole,
    /// Byte ranges under `#[cfg(test)]`.
    Parts(Vec<Range<usize>>),
}

/// One function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: String,
    /// Of the word `fn`, from 1.
    pub(super) line: usize,
    /// From the word `fn` to the closing brace.
    pub(super) lines: usize,
    /// Compiled for tests only.
    pub(super) test: bool,
}

impl Source {
    /// The Rust files of a tree, each knowing whether it is compiled for tests only.
    pub(super) fn all(tree: &Tree) -> Vec<Self> {
        let rust = tree.files().filter(|(path, _)| tree::is_rust(path));
        let mut sources: Vec<_> = rust.map(|(path, text)| Self::new(path, text)).collect();
        let declared: Vec<String> = sources.iter().flat_map(Self::test_modules).collect();
        for source in &mut sources {
            if declared.contains(&source.path) {
                source.tests = Tests::Whole;
            }
        }
        sources
    }

    pub(super) fn new(path: &str, text: &str) -> Self {
        let (code, comments) = views(text);
        let whole = path.starts_with("tests/") || path.contains("/tests/");
        let tests = if whole { Tests::Whole } else { Tests::Parts(test_ranges(&code)) };
        Self { path: path.into(), text: text.into(), code, comments, tests }
    }

    pub(super) fn in_tests(&self, at: usize) -> bool {
        match &self.tests {
            Tests::Whole => true,
            Tests::Parts(ranges) => ranges.iter().any(|range| range.contains(&at)),
        }
    }

    /// Of a byte position, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        1 + self.text[..at].matches('\n').count()
    }

    pub(super) fn functions(&self) -> Vec<Function> {
        let mut functions = Vec::new();
        for at in words(&self.code, "fn") {
            let rest = self.code[at + 2..].trim_start();
            let name: String = rest.chars().take_while(|c| is_word(*c)).collect();
            // `fn(u8) -> u8` is a type, and `fn f();` has no body.
            let Some(end) = (!name.is_empty()).then(|| item_end(&self.code, at)).flatten() else {
                continue;
            };
            let line = self.line(at);
            let lines = self.line(end) - line + 1;
            functions.push(Function { name, line, lines, test: self.in_tests(at) });
        }
        functions
    }

    /// The files that `#[cfg(test)] mod name;` in this one names.
    fn test_modules(&self) -> Vec<String> {
        let stem = self.path.trim_end_matches(".rs");
        let dir = match stem.rsplit_once('/') {
            Some((dir, "lib" | "main" | "mod")) => dir,
            _ => stem,
        };
        let mut files = Vec::new();
        let Tests::Parts(ranges) = &self.tests else { return files };
        for range in ranges {
            let item = &self.code[range.clone()];
            let Some(at) = words(item, "mod").next() else { continue };
            let rest = item[at + 3..].trim_start();
            let name: String = rest.chars().take_while(|c| is_word(*c)).collect();
            if rest[name.len()..].trim_start().starts_with(';') {
                files.push(format!("{dir}/{name}.rs"));
                files.push(format!("{dir}/{name}/mod.rs"));
            }
        }
        files
    }
}

pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where `word` stands by itself, not as a part of a longer word.
pub(super) fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let (opens, closes) = (word.starts_with(is_word), word.ends_with(is_word));
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = text[..at].chars().next_back().is_some_and(is_word);
        let after = text[at + word.len()..].chars().next().is_some_and(is_word);
        !(opens && before || closes && after)
    })
}

fn test_ranges(code: &str) -> Vec<Range<usize>> {
    const MARK: &str = "#[cfg(test)]";
    let starts = code.match_indices(MARK).map(|(at, _)| at);
    starts
        .map(|at| {
            let body = item_end(code, at + MARK.len());
            let end = body.or_else(|| code[at..].find(';').map(|n| at + n));
            at..end.map_or(code.len(), |end| end + 1)
        })
        .collect()
}

/// The closing brace of the item starting at `at`; none if a `;` ends it first.
fn item_end(code: &str, at: usize) -> Option<usize> {
    let (mut braces, mut nested) = (0usize, 0usize);
    for (offset, c) in code[at..].char_indices() {
        match c {
            '(' | '[' => nested += 1,
            ')' | ']' => nested = nested.saturating_sub(1),
            '{' => braces += 1,
            '}' if braces <= 1 => return Some(at + offset),
            '}' => braces -= 1,
            ';' if braces == 0 && nested == 0 => return None,
            _ => {}
        }
    }
    None
}

/// What a stretch of a file is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Comment,
    Literal,
}

/// (code, comments) of a file, each as long as the file.
fn views(text: &str) -> (String, String) {
    let (mut code, mut comments) = (String::new(), String::new());
    let mut rest = text;
    while !rest.is_empty() {
        let previous = text[..text.len() - rest.len()].chars().next_back();
        let (kind, length) = stretch(rest, previous);
        let (this, after) = rest.split_at(length);
        let blank: String = this.chars().flat_map(blanked).collect();
        code.push_str(if kind == Kind::Code { this } else { &blank });
        comments.push_str(if kind == Kind::Comment { this } else { &blank });
        rest = after;
    }
    (code, comments)
}

/// As many blanks as the character has bytes; a line's end stays.
fn blanked(c: char) -> impl Iterator<Item = char> {
    std::iter::repeat_n(if c == '\n' { '\n' } else { ' ' }, c.len_utf8())
}

/// The kind and length of the comment, literal or single character that `rest` begins with.
fn stretch(rest: &str, previous: Option<char>) -> (Kind, usize) {
    if rest.starts_with("//") {
        return (Kind::Comment, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (Kind::Comment, block_comment(rest));
    }
    if rest.starts_with('"') {
        return (Kind::Literal, quoted(rest, '"'));
    }
    if !previous.is_some_and(is_word)
        && let Some(length) = raw_string(rest)
    {
        return (Kind::Literal, length);
    }
    if let Some(after) = rest.strip_prefix('\'') {
        let mut next = after.chars();
        let first = next.next();
        // Otherwise it is a lifetime.
        if first == Some('\\') || next.next() == Some('\'') {
            return (Kind::Literal, quoted(rest, '\''));
        }
    }
    (Kind::Code, rest.chars().next().map_or(0, char::len_utf8))
}

/// Comments nest.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// Up to and with the closing `quote`; a backslash takes the next character with it.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

/// `r"…"`, `br#"…"#` and their kin.
fn raw_string(rest: &str) -> Option<usize> {
    let after = ["r", "br", "cr"].iter().find_map(|prefix| {
        rest.strip_prefix(prefix).filter(|after| after.starts_with(['#', '"']))
    })?;
    let hashes = after.bytes().take_while(|b| *b == b'#').count();
    let body = after[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = body.find(&close).map_or(body.len(), |at| at + close.len());
    Some(rest.len() - body.len() + end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_no_code() {
        let text = "let a = \"}\\\"{\"; // {\nlet b = '{'; /* { /* } */ { */ let c = r#\"{\"\"#;\n";
        let source = Source::new("a.rs", text);
        assert!(!source.code.contains(['{', '}']), "{}", source.code);
        assert!(source.code.contains("let c ="));
        assert_eq!(source.code.len(), text.len());
        assert_eq!(source.comments.matches('{').count(), 3);
        assert!(!source.comments.contains("let"));
    }

    #[test]
    fn lifetimes_and_raw_names_are_code() {
        let text = "fn f<'a>(r#type: &'a str) -> &'static str { 'x: loop { break 'x } }";
        assert_eq!(Source::new("a.rs", text).code, text);
    }

    #[test]
    fn functions_are_measured_to_their_closing_brace() {
        let text = "trait T { fn a(x: [u8; 2]) -> u8; }\nfn b() {\n  if x {\n  }\n}\ntype F = fn(u8);\n#[cfg(test)]\nmod tests {\n fn c() {}\n}\n";
        let found = Source::new("a.rs", text).functions();
        let function =
            |name: &str, line, lines, test| Function { name: name.into(), line, lines, test };
        assert_eq!(found, [function("b", 2, 4, false), function("c", 9, 1, true)]);
    }

    #[test]
    fn files_of_test_modules_are_tests() {
        let tree = Tree::of(&[
            ("crates/a/src/lib.rs", "//! A.\n#[cfg(test)]\nmod testkit;\nmod b;\n"),
            ("crates/a/src/testkit.rs", "fn a() {}"),
            ("crates/a/src/b.rs", "fn a() {}\n#[cfg(test)]\nmod deep;\n"),
            ("crates/a/src/b/deep.rs", "fn a() {}"),
            ("crates/a/tests/all.rs", "fn a() {}"),
        ]);
        let test = |source: &Source| source.in_tests(0);
        assert_eq!(
            Source::all(&tree).iter().map(test).collect::<Vec<_>>(),
            [false, true, false, true, true]
        );
    }
}
