//! The shape of a file: it says what it is about first, and nothing in it is too long to read.

use super::Complaint;
use super::source::Source;

/// A file longer than this holds two subjects.
const FILE_LINES: usize = 800;
/// A function longer than this does not fit a screen.
const FUNCTION_LINES: usize = 70;
/// A test may tell a longer story, from top to bottom.
const TEST_LINES: usize = 100;

pub(super) fn check(source: &Source) -> Vec<Complaint> {
    let complaint = |rule, line, item: &str, what| Complaint {
        rule,
        path: source.path.clone(),
        line,
        item: item.into(),
        what,
    };
    let mut found = Vec::new();
    if !source.text.starts_with("//!") {
        let what = "the first line says what the module decides and keeps true (`//!`)".into();
        found.push(complaint("module-docs", 1, "", what));
    }
    let lines = source.text.lines().count();
    if lines > FILE_LINES {
        let what = format!("{lines} lines, {FILE_LINES} at most: split it by subject");
        found.push(complaint("file-length", 0, "", what));
    }
    for function in source.functions() {
        let most = if function.test { TEST_LINES } else { FUNCTION_LINES };
        if function.lines > most {
            let (name, lines) = (&function.name, function.lines);
            let what = format!("`{name}` has {lines} lines, {most} at most: name its parts");
            found.push(complaint("function-length", function.line, name, what));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Vec<(&'static str, usize)> {
        let source = Source::new("crates/a/src/lib.rs", text);
        check(&source).iter().map(|c| (c.rule, c.line)).collect()
    }

    #[test]
    fn a_module_without_docs_is_refused() {
        assert_eq!(rules("use std::io;\n//! Late.\n"), [("module-docs", 1)]);
        assert_eq!(rules("//! Docs.\n"), []);
    }

    #[test]
    fn long_files_are_refused() {
        assert_eq!(rules(&"//! Docs.\n".repeat(FILE_LINES)), []);
        assert_eq!(rules(&"//! Docs.\n".repeat(FILE_LINES + 1)), [("file-length", 0)]);
    }

    #[test]
    fn long_functions_are_refused() {
        let function = |lines: usize| format!("fn f() {{\n{}}}\n", "x();\n".repeat(lines - 2));
        let file = |body: String| format!("//! Docs.\n{body}");
        assert_eq!(rules(&file(function(FUNCTION_LINES))), []);
        assert_eq!(rules(&file(function(FUNCTION_LINES + 1))), [("function-length", 2)]);
        let tests =
            |lines| format!("//! Docs.\n#[cfg(test)]\nmod tests {{\n{}}}\n", function(lines));
        assert_eq!(rules(&tests(TEST_LINES)), []);
        assert_eq!(rules(&tests(TEST_LINES + 1)), [("function-length", 4)]);
    }
}
