//! What the filter passes over is what git ignores: `git check-ignore` says so, on made-up trees
//! with made-up ignore files.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use proptest::prelude::*;
use seawall_backup::source::filter::{Filter, Patterns};

fn git(dir: &Path, fold: bool) -> Command {
    let mut command = Command::new("git");
    command.current_dir(dir).args(["-c", if fold { "core.ignorecase=true" } else { "a.b=c" }]);
    // The configuration of whoever runs this has no say.
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    command
}

/// What git ignores of `paths`.
fn ignored_by_git(root: &Path, paths: &BTreeSet<Vec<u8>>, fold: bool) -> BTreeSet<Vec<u8>> {
    let init = git(root, fold).args(["init", "--quiet", "."]).status().expect("git is installed");
    assert!(init.success());
    let mut child = git(root, fold)
        .args(["check-ignore", "--no-index", "-z", "--stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git starts");
    let input: Vec<u8> = paths.iter().flat_map(|path| [&path[..], b"\0"].concat()).collect();
    let mut stdin = child.stdin.take().expect("piped");
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("git ends");
    writer.join().expect("no panic").expect("written");
    // 1 says that nothing is ignored.
    assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
    let names = output.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names.map(<[u8]>::to_vec).collect()
}

/// Every path below `dir`, and those of them the filter passes over.
fn walk(
    filter: &mut Filter,
    dir: &Path,
    at: &[u8],
    is_out: bool,
    all: &mut BTreeSet<Vec<u8>>,
    out: &mut BTreeSet<Vec<u8>>,
) {
    let text = fs::read(dir.join(".gitignore")).unwrap_or_default();
    let name = at.strip_suffix(b"/").and_then(|at| at.rsplit(|b| *b == b'/').next());
    if !is_out {
        filter.enter(name.unwrap_or(b""), vec![Patterns::of_file(&text)]);
    }
    for entry in fs::read_dir(dir).expect("listed") {
        let entry = entry.expect("listed");
        let name = entry.file_name().as_bytes().to_vec();
        if name == b".git" {
            continue;
        }
        let is_directory = entry.file_type().expect("a kind").is_dir();
        let path = [at, &name].concat();
        let is_out = is_out || filter.excludes(&name, is_directory);
        all.insert(path.clone());
        if is_out {
            out.insert(path.clone());
        }
        if is_directory {
            walk(filter, &entry.path(), &[&path[..], b"/"].concat(), is_out, all, out);
        }
    }
    if !is_out {
        filter.leave();
    }
}

/// Compares git and the filter on the tree at `root`.
fn compare(root: &Path, given: Patterns, fold: bool) {
    let (mut all, mut out) = (BTreeSet::new(), BTreeSet::new());
    walk(&mut Filter::new(given), root, b"", false, &mut all, &mut out);
    let git = ignored_by_git(root, &all, fold);
    if git != out {
        let show = |paths: &BTreeSet<Vec<u8>>, others: &BTreeSet<Vec<u8>>| {
            let only = paths.difference(others);
            only.map(|path| String::from_utf8_lossy(path).into_owned()).collect::<Vec<_>>()
        };
        let files = all.iter().filter(|path| path.ends_with(b".gitignore"));
        let files: Vec<_> = files
            .map(|path| fs::read(root.join(std::ffi::OsStr::from_bytes(path))))
            .map(|text| String::from_utf8_lossy(&text.expect("read")).into_owned())
            .collect();
        panic!("only git: {:?}\nonly here: {:?}\n{files:#?}", show(&git, &out), show(&out, &git));
    }
}

fn make(root: &Path, path: &[u8], content: Option<&[u8]>) {
    let path: PathBuf = root.join(std::ffi::OsStr::from_bytes(path));
    // What another path made a file cannot be a directory too; such paths are left out.
    let _ = match content {
        Some(content) => path
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(&path, content)),
        None => fs::create_dir_all(&path),
    };
}

const NAMES: &[&[u8]] = &[
    b"a",
    b"b",
    b"ab",
    b"A",
    b"a.o",
    b"b.o",
    b"foo",
    b"fob",
    b"a b",
    b"a ",
    b"#a",
    b"!a",
    b"\\a",
    b"[a]",
    b"*",
    b"-",
    b"]",
    b"\xff",
    b"build",
    b"x\xc3\xa4",
];

const FRAGMENTS: &[&str] = &[
    "a",
    "b",
    "o",
    "foo",
    "A",
    ".o",
    "*",
    "*",
    "?",
    "[ab]",
    "[!a]",
    "[a-c]",
    "[]a]",
    "[^]]",
    "[[:alpha:]]",
    "[a-",
    "[\\]-]",
    "\\*",
    "\\a",
    "\\ ",
    " ",
    "#",
    "!",
    "-",
    "\u{e4}",
];

fn names() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(NAMES).prop_map(<[u8]>::to_vec)
}

fn paths() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(names(), 1..5).prop_map(|names| names.join(&b'/'))
}

/// One component of a pattern. `**` beside anything but slashes is left to the unit tests: git
/// has changed its mind about `a**/b`.
fn components() -> impl Strategy<Value = String> {
    prop_oneof![
        1 => Just("**".to_owned()),
        1 => Just("*".to_owned()),
        3 => prop::sample::select(NAMES).prop_map(|name| String::from_utf8_lossy(name).into_owned()),
        4 => prop::collection::vec(prop::sample::select(FRAGMENTS), 1..4)
            .prop_map(|parts| parts.concat())
            .prop_filter("no double star", |text| !text.contains("**")),
    ]
}

fn lines() -> impl Strategy<Value = String> {
    let parts = prop::collection::vec(components(), 1..4);
    let ends = prop::sample::select(&["", "", "", "/", " ", "\r"][..]);
    let starts = prop::sample::select(&["", "", "", "!", "!", "/", "!/", "\\!", "\\#"][..]);
    (starts, parts, ends).prop_map(|(start, parts, end)| format!("{start}{}{end}", parts.join("/")))
}

fn ignore_files() -> impl Strategy<Value = String> {
    prop::collection::vec(lines(), 0..9).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_filter_agrees_with_git(
        files in prop::collection::btree_set(paths(), 1..40),
        directories in prop::collection::btree_set(paths(), 0..5),
        ignores in prop::collection::vec((prop::option::of(paths()), ignore_files()), 1..4),
    ) {
        let root = tempfile::tempdir().expect("a temporary directory");
        for path in &directories {
        make(root.path(), path, None);
    }
        for path in &files {
        make(root.path(), path, Some(b""));
    }
        for (dir, text) in &ignores {
            let dir = dir.as_ref().map_or(Vec::new(), |dir| [&dir[..], b"/"].concat());
            make(root.path(), &[&dir[..], b".gitignore"].concat(), Some(text.as_bytes()));
        }
        compare(root.path(), Patterns::default(), false);
    }
}

/// A tree and an ignore file such as people write.
#[test]
fn an_ordinary_project() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let files = [
        "src/main.c",
        "src/main.o",
        "src/keep.o",
        "target/debug/x",
        "docs/target/page",
        "a.log",
        "logs/a.log",
        "logs/keep/a.log",
        "node_modules/m/index.js",
        "web/node_modules/m/i.js",
        "tmp/a",
        "tmp/b/c",
        "x/y/z/secret",
        "x/secret",
        "foo bar",
        "foo ",
        "#notes",
        "cache/tmp/1",
    ];
    for path in &files {
        make(root.path(), path.as_bytes(), Some(b""));
    }
    let text = "# built\n*.o\n!keep.o\n/target\nnode_modules/\nlogs/*\n!logs/keep/\ntmp/**\n\
                x/**/secret\nfoo\\ \n\\#notes\n  \n**/tmp/1\r\n";
    make(root.path(), b".gitignore", Some(text.as_bytes()));
    make(root.path(), b"src/.gitignore", Some(b"!*.o\n/main.c"));
    compare(root.path(), Patterns::default(), false);
}

/// `--iexclude` is git with `core.ignorecase`.
#[test]
fn letters_of_either_case() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let lines = ["/Readme*", "*.JPG", "Fo[N-P]/Bar", "!KEEP.jpg"];
    for path in ["README.md", "sub/readme", "A.jpg", "b.Jpg", "keep.JPG", "fOo/bAR", "foP/bar/x"] {
        make(root.path(), path.as_bytes(), Some(b""));
    }
    let (mut given, text) = (Patterns::default(), lines.join("\n"));
    for line in lines {
        given.add(line.as_bytes(), true).expect("valid");
    }
    make(root.path(), b".git/info/exclude", Some(text.as_bytes()));
    compare(root.path(), given, true);
}
