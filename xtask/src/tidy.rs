//! Rules the compiler does not know.
//!
//! Every rule is a function from text to complaints, so each is tested with a sample that must
//! fail. What may break a rule stands in [`exceptions`] with its reason, and an exception nothing
//! needs any more is itself a complaint: the list only ever shrinks by itself.

mod exceptions;
mod floors;
mod layout;
mod phrases;
mod shape;
mod source;
mod tree;

use std::fmt;
use std::io;
use std::path::Path;

use exceptions::Exception;
use source::Source;
use tree::Tree;

/// One thing out of order.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Complaint {
    /// The rule, as [`exceptions`] names it.
    rule: &'static str,
    /// Relative to the workspace.
    path: String,
    /// From 1; 0 when it is the whole file.
    line: usize,
    /// What an exception names within the file: a function, a phrase, a room.
    item: String,
    /// What is wrong and what to do.
    what: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: [{}] {}", self.path, self.line, self.rule, self.what)
    }
}

/// Everything out of order in the workspace at `root`, each as a line to print.
pub(crate) fn complaints(root: &Path) -> io::Result<Vec<String>> {
    let tree = Tree::read(root)?;
    let sources = Source::all(&tree);
    let mut found = Vec::new();
    for source in &sources {
        found.extend(shape::check(source));
        found.extend(phrases::check_source(source));
    }
    for (path, text) in tree.files() {
        found.extend(phrases::check_text(path, text));
    }
    found.extend(layout::check(&tree));
    found.extend(floors::check(root)?);
    Ok(judge(found, exceptions::EXCEPTIONS).iter().map(Complaint::to_string).collect())
}

/// Takes away what an exception allows, and adds a complaint for each exception that allowed
/// nothing.
fn judge(found: Vec<Complaint>, exceptions: &[Exception]) -> Vec<Complaint> {
    let needless = exceptions.iter().filter(|e| !found.iter().any(|c| e.allows(c)));
    let needless: Vec<_> = needless.map(Exception::needless).collect();
    let mut left: Vec<_> =
        found.into_iter().filter(|c| !exceptions.iter().any(|e| e.allows(c))).collect();
    left.extend(needless);
    left.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_house_is_tidy() {
        let complaints = complaints(crate::root()).expect("the workspace can be read");
        assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    }

    fn complaint(item: &str) -> Complaint {
        let (path, what) = ("crates/a/src/lib.rs".into(), "wrong".into());
        Complaint { rule: "phrase", path, line: 3, item: item.into(), what }
    }

    fn exception(item: &'static str) -> Exception {
        Exception { rule: "phrase", path: "crates/a/src/lib.rs", item, reason: "a sample" }
    }

    #[test]
    fn an_exception_allows_what_it_names_and_nothing_else() {
        let left = judge(vec![complaint("dbg!"), complaint("todo!")], &[exception("dbg!")]);
        assert_eq!(left, [complaint("todo!")]);
    }

    #[test]
    fn an_exception_nothing_needs_is_a_complaint() {
        let left = judge(vec![], &[exception("dbg!")]);
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].rule, "exception");
        assert!(left[0].to_string().contains("dbg!"), "{}", left[0]);
    }
}
