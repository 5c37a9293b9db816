//! Where things lie: names that say what is inside, lints everywhere, no page without a link.

use super::Complaint;
use super::tree::{self, Tree};

/// Names that say nothing; what lies under them belongs to its subject.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc", "manager"];

/// Packages that are no members of the workspace and carry lints of their own.
const OUTSIDE: &[&str] = &["bench/", "fuzz/"];

/// The pages a reader starts from.
const ENTRANCES: &[&str] = &["ARCHITECTURE.md", "docs/README.md"];

pub(super) fn check(tree: &Tree) -> Vec<Complaint> {
    let mut found: Vec<_> = tree.files().filter_map(|(path, _)| name(path)).collect();
    found.extend(tree.files().filter_map(|(path, text)| lints(path, text)));
    found.extend(unlinked(tree));
    found
}

fn complaint(rule: &'static str, path: &str, item: &str, what: String) -> Complaint {
    Complaint { rule, path: path.into(), line: 0, item: item.into(), what }
}

fn name(path: &str) -> Option<Complaint> {
    if !tree::is_rust(path) {
        return None;
    }
    let parts = path.trim_end_matches(".rs").split('/');
    let empty = parts
        .map(|part| part.trim_start_matches("seawall-"))
        .find(|part| EMPTY_NAMES.contains(part))?;
    let what = format!("`{empty}` says nothing: name the subject, or move it to where it is used");
    Some(complaint("name", path, empty, what))
}

fn lints(path: &str, text: &str) -> Option<Complaint> {
    let outside = OUTSIDE.iter().any(|dir| path.starts_with(dir));
    if outside || !path.ends_with("/Cargo.toml") || text.contains("[lints]\nworkspace = true") {
        return None;
    }
    let what = "lacks `[lints]` with `workspace = true`".to_owned();
    Some(complaint("lints", path, "", what))
}

/// Nobody finds a format page nothing links to.
fn unlinked(tree: &Tree) -> Vec<Complaint> {
    let entrances: Vec<_> = ENTRANCES.iter().filter_map(|path| tree.get(path)).collect();
    if entrances.is_empty() {
        return Vec::new();
    }
    let pages = tree.files().filter_map(|(path, _)| Some((path, path.strip_prefix("docs/")?)));
    pages
        .filter(|(_, link)| link.starts_with("formats/"))
        .filter(|(_, link)| !entrances.iter().any(|text| text.contains(*link)))
        .map(|(path, link)| {
            let what = format!("neither of {ENTRANCES:?} links to {link}");
            complaint("unlinked", path, link, what)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(files: &[(&str, &str)]) -> Vec<&'static str> {
        check(&Tree::of(files)).iter().map(|c| c.rule).collect()
    }

    #[test]
    fn names_that_say_nothing_are_refused() {
        assert_eq!(rules(&[("crates/seawall-util/src/lib.rs", "")]), ["name"]);
        assert_eq!(rules(&[("crates/seawall-sync/src/helpers.rs", "")]), ["name"]);
        assert_eq!(rules(&[("crates/seawall-sync/src/push.rs", "")]), [""; 0]);
    }

    #[test]
    fn a_crate_without_the_lints_is_refused() {
        assert_eq!(rules(&[("crates/a/Cargo.toml", "[package]\n")]), ["lints"]);
        assert_eq!(rules(&[("crates/a/Cargo.toml", "[lints]\nworkspace = true\n")]), [""; 0]);
        assert_eq!(rules(&[("bench/Cargo.toml", "[package]\n")]), [""; 0]);
    }

    #[test]
    fn a_format_page_nothing_links_to_is_refused() {
        let page = ("docs/formats/zone.md", "");
        assert_eq!(rules(&[page, ("docs/README.md", "")]), ["unlinked"]);
        assert_eq!(rules(&[page, ("docs/README.md", "[zone](formats/zone.md)")]), [""; 0]);
        assert_eq!(rules(&[page, ("ARCHITECTURE.md", "docs/formats/zone.md")]), [""; 0]);
    }
}
