//! Phrases that are not written here, each with what is written instead.

use super::Complaint;
use super::source::{Source, words};
use super::tree;

/// One banned phrase of code.
struct Phrase {
    text: &'static str,
    instead: &'static str,
    /// Where it is written all the same.
    home: fn(&Place<'_>) -> bool,
}

/// Where a phrase stands.
struct Place<'a> {
    path: &'a str,
    test: bool,
}

impl Place<'_> {
    fn within(&self, dirs: &[&str]) -> bool {
        dirs.iter().any(|dir| self.path.starts_with(dir))
    }

    /// Examples measure and print; no room uses them.
    fn beside_the_house(&self) -> bool {
        self.test || !self.within(&["crates/"]) || self.path.contains("/examples/")
    }
}

fn nowhere(_: &Place<'_>) -> bool {
    false
}

fn tests(place: &Place<'_>) -> bool {
    place.test
}

/// Time is asked of the machine in one crate and by the program, and passed in everywhere else.
fn clocks(place: &Place<'_>) -> bool {
    place.beside_the_house() || place.within(&["crates/seawall-host/", "crates/seawall/"])
}

/// Files are opened by the host, by the ends of a backup and by the roots.
fn files(place: &Place<'_>) -> bool {
    place.beside_the_house()
        || place.within(&[
            "crates/seawall-host/",
            "crates/seawall-backup/src/sanitise",
            "crates/seawall-backup/src/source",
            "crates/seawall-backup/src/target",
            "crates/seawall-node/",
            "crates/seawall-region/",
            "crates/seawall/",
        ])
}

/// Only the program talks on standard output.
fn program(place: &Place<'_>) -> bool {
    place.beside_the_house() || place.within(&["crates/seawall/"])
}

const CLOCK: &str = "the `Clock` capability, passed in, so that a simulation can tell the time";

const PHRASES: &[Phrase] = &[
    Phrase { text: "todo!", instead: "the code, or nothing that calls it", home: nowhere },
    Phrase { text: "unimplemented!", instead: "a typed refusal that says so", home: nowhere },
    Phrase { text: "dbg!", instead: "a `tracing` event with fields", home: nowhere },
    Phrase {
        text: "unwrap_or_default()",
        instead: "an error: what is missing or corrupt is never taken for empty",
        home: tests,
    },
    Phrase { text: "SystemTime::now", instead: CLOCK, home: clocks },
    Phrase { text: "Instant::now", instead: CLOCK, home: clocks },
    Phrase {
        text: "std::fs",
        instead: "the `Disk` capability, so that a simulation can cut the power",
        home: files,
    },
    Phrase { text: "println!", instead: "a `tracing` event or a returned value", home: program },
    Phrase { text: "#[ignore", instead: "a test that runs, or none", home: nowhere },
];

/// Promises in place of work: banned in code and prose alike.
const PROMISES: &[&str] = &["TODO", "FIXME", "XXX"];

pub(super) fn check_source(source: &Source) -> Vec<Complaint> {
    let mut found = Vec::new();
    for phrase in PHRASES {
        for at in words(&source.code, phrase.text).chain(imported(&source.code, phrase.text)) {
            let place = Place { path: &source.path, test: source.in_tests(at) };
            if !(phrase.home)(&place) {
                found.push(banned(&source.path, source.line(at), phrase.text, phrase.instead));
            }
        }
    }
    for view in [&source.code, &source.comments] {
        found.extend(promises(&source.path, view));
    }
    found
}

/// The same in files that are not Rust.
pub(super) fn check_text(path: &str, text: &str) -> Vec<Complaint> {
    if tree::is_rust(path) { Vec::new() } else { promises(path, text) }
}

/// `use std::{fs, …}` says `std::fs` in another way.
fn imported(code: &str, phrase: &str) -> impl Iterator<Item = usize> {
    const GROUP: &str = "use std::{";
    let module = phrase.strip_prefix("std::");
    code.match_indices(GROUP).filter_map(move |(at, _)| {
        let group = code[at + GROUP.len()..].split(';').next()?;
        module.is_some_and(|name| words(group, name).next().is_some()).then_some(at)
    })
}

fn promises(path: &str, text: &str) -> Vec<Complaint> {
    let mut found = Vec::new();
    for promise in PROMISES {
        for at in words(text, promise) {
            let line = 1 + text[..at].matches('\n').count();
            found.push(banned(path, line, promise, "the work itself, or an issue"));
        }
    }
    found
}

fn banned(path: &str, line: usize, phrase: &str, instead: &str) -> Complaint {
    let what = format!("`{phrase}`; instead: {instead}");
    Complaint { rule: "phrase", path: path.into(), line, item: phrase.into(), what }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(path: &str, text: &str) -> Vec<String> {
        check_source(&Source::new(path, text)).into_iter().map(|c| c.item).collect()
    }

    #[test]
    fn every_phrase_is_found_in_a_room() {
        for phrase in PHRASES {
            let text = format!("//! Docs.\nfn f() {{ x.{}(); }}\n", phrase.text);
            assert_eq!(items("crates/seawall-sync/src/lib.rs", &text), [phrase.text]);
        }
        for promise in PROMISES {
            let text = format!("//! Docs.\n// {promise}: more\n");
            assert_eq!(items("crates/seawall/src/main.rs", &text), [*promise]);
            assert_eq!(check_text("docs/a.md", &text).len(), 1);
        }
    }

    #[test]
    fn words_that_only_contain_a_phrase_pass() {
        let text = "//! Docs: todo!\nfn f() { eprintln!(\"dbg!\"); NotSystemTime::now(); }\n";
        assert_eq!(items("crates/seawall-sync/src/lib.rs", text), [""; 0]);
    }

    #[test]
    fn grouped_imports_are_seen_through() {
        let text = "//! Docs.\nuse std::{fs::{self, File}, io};\n";
        assert_eq!(items("crates/seawall-sync/src/lib.rs", text), ["std::fs"]);
        assert_eq!(items("crates/seawall-backup/src/chunker.rs", text), ["std::fs"]);
    }

    #[test]
    fn each_phrase_has_its_home() {
        let allowed = |path: &str, code: &str| {
            let text = format!("//! Docs.\nfn f() {{ {code}; }}\n");
            items(path, &text).is_empty()
        };
        assert!(allowed("crates/seawall-host/src/lib.rs", "SystemTime::now()"));
        assert!(!allowed("crates/seawall-node/src/lib.rs", "SystemTime::now()"));
        assert!(allowed("crates/seawall-backup/src/source/walk.rs", "std::fs::read(p)"));
        assert!(!allowed("crates/seawall-backup/src/snapshot.rs", "std::fs::read(p)"));
        assert!(allowed("crates/seawall/src/output.rs", "println!()"));
        assert!(allowed("crates/seawall-store/tests/crash.rs", "println!()"));
        assert!(!allowed("tests/src/lib.rs", "dbg!(x)"));
    }
}
