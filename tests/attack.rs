//! The attacks of the threat table (docs/security-model.md), each tried with the real program.
//!
//! One module per attacker or per place that is attacked; a test's name is the attack. A test
//! carries its attack as far as it goes and prints what stopped it, in the words of the program.
//! `just attack` shows the lines.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::harness::{Fleet, arg, noise_of, run};

pub(crate) mod bombs;
mod capsules;
mod custodians;
mod custody;
mod dealing;
mod deletion;
mod desks;
mod drills;
mod epochs;
mod groups;
mod hsm;
pub(crate) mod log;
mod lying_region;
mod machine;
mod memory;
mod network;
mod node;
mod office;
mod operator;
mod region;
mod rollback;
mod sealing;
mod statements;
mod theft;
pub(crate) mod witnesses;

/// Lines a test prints; one that tries every length or bit would print hundreds.
const LINES: usize = 5;

thread_local! {
    /// How many this test, which has a thread of its own, has printed.
    static PRINTED: Cell<usize> = const { Cell::new(0) };
}

/// Prints what stopped the attack that the test is named after.
#[track_caller]
#[expect(clippy::print_stdout, reason = "the lines are what `just attack` shows")]
fn stopped(by: &str) {
    let lines = || by.lines().map(str::trim).filter(|line| !line.is_empty());
    let by = lines().find(|line| line.starts_with("error")).or_else(|| lines().next_back());
    let by = by.expect("whatever stops an attack says so");
    let by = by.trim_start_matches("error: ").split(' ').map(without_directory);
    let by = by.collect::<Vec<_>>().join(" ");
    let here = std::thread::current();
    // One test at a time runs on the main thread.
    let test = here.name().filter(|name| *name != "main").map(str::to_owned);
    let test = test.unwrap_or_else(|| std::panic::Location::caller().to_string());
    let (_, attack) = test.split_once("attack::").unwrap_or(("", &test));
    let printed = PRINTED.get();
    PRINTED.set(printed + 1);
    if printed < LINES {
        println!("attack: {} — stopped by: {by}", attack.replace("::", ": ").replace('_', " "));
    }
}

/// A snapshot of its own noise on the node of `home`; its id.
fn snapshot(fleet: &Fleet, home: &Path, seed: u64) -> String {
    let tree = fleet.path(&format!("tree-{seed}"));
    std::fs::create_dir(&tree).expect("a directory");
    std::fs::write(tree.join("ledger"), noise_of(seed, 100_000)).expect("written");
    let said = run(home, &["snapshot", "create", arg(&tree), "--json"]).ok();
    said.json()["id"].as_str().expect("an id").to_owned()
}

/// How far a snapshot of `home` is witnessed.
fn level(home: &Path, id: &str) -> String {
    let list = run(home, &["snapshot", "list", "--json"]).ok().json();
    let list = list.as_array().expect("an array");
    let it = list.iter().find(|it| it["id"] == id).expect("listed");
    it["witnessed"]["level"].as_str().expect("a level").to_owned()
}

/// The security model says by which tests each of its claims is tried: those that are here, and all of
/// them.
#[test]
fn the_security_model_names_every_attack() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |path: PathBuf| std::fs::read_to_string(&path).expect("readable");
    let page = read(root.join("docs/security-model.md"));
    let (_, rest) = page.split_once("## The attacks that try it").expect("it has this chapter");
    let (chapter, _) = rest.split_once("\n## ").expect("another follows");
    let mut named = BTreeSet::new();
    for row in chapter.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| cell"))
    {
        let tests: Vec<_> = row.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "nothing tries this: {row}");
        for test in tests {
            let (module, name) = test.split_once("::").expect("a module and a test");
            let source = read(root.join(format!("tests/attack/{module}.rs")));
            let there = source.contains(&format!("#[test]\nfn {name}() {{"));
            assert!(there, "docs/security-model.md names {test}, which is no test");
            named.insert(test.to_owned());
        }
    }
    let mut tried = BTreeSet::new();
    for file in root.join("tests/attack").read_dir().expect("a directory") {
        let file = file.expect("readable").path();
        let module = file.file_stem().and_then(|it| it.to_str()).expect("a module").to_owned();
        let source = read(file);
        let tests = source.split("#[test]\nfn ").skip(1).filter_map(|it| it.split_once('('));
        tried.extend(tests.map(|(name, _)| format!("{module}::{name}")));
    }
    let unnamed: Vec<_> = tried.difference(&named).collect();
    assert!(unnamed.is_empty(), "docs/security-model.md does not name {unnamed:#?}");
}

/// A path in a test's own directory, without that.
fn without_directory(word: &str) -> &str {
    word.split_once("/.tmp").and_then(|(_, rest)| rest.split_once('/')).map_or(word, |(_, it)| it)
}
