//! The demo: it ends identical, names what it damaged, and leaves nothing behind.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{arg, assert_same, copy, end, noise, run, signal, start, wait_until};

/// A directory with a tree in it and an empty place for the demo.
struct Place(tempfile::TempDir);

impl Place {
    fn new(bytes: usize) -> Self {
        let place = Self(tempfile::tempdir().expect("a temporary directory"));
        let tree = place.path("tree");
        std::fs::create_dir_all(tree.join("sub")).expect("directories");
        std::fs::create_dir(place.path("stage")).expect("a directory");
        for i in 0..30 {
            std::fs::write(tree.join(format!("sub/{i}")), format!("file {i}")).expect("written");
        }
        std::fs::write(tree.join("long"), noise(bytes)).expect("written");
        std::os::unix::fs::symlink("long", tree.join("link")).expect("linked");
        place
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn args(&self) -> Vec<String> {
        ["demo", arg(&self.path("tree")), "--dir", arg(&self.path("stage")), "--json"]
            .map(str::to_owned)
            .to_vec()
    }
}

fn is_empty(dir: &Path) -> bool {
    dir.read_dir().expect("a directory").next().is_none()
}

#[test]
fn it_ends_identical_and_leaves_nothing() {
    let place = Place::new(2 << 20);
    copy(&place.path("tree"), &place.path("before"));
    let said = run(&place.path("no-home"), &place.args()).ok();
    let found = said.json();
    assert_eq!(found["identical"], true);
    assert_eq!(found["kept"], serde_json::Value::Null);
    let damaged = found["damaged_object"].as_str().expect("words");
    assert!(damaged.contains("blake3:") || damaged.contains(".zone"), "{damaged}");
    assert!(is_empty(&place.path("stage")), "nothing stays");
    assert!(!place.path("no-home").exists(), "no home is made");
    assert_same(&place.path("before"), &place.path("tree"));
}

#[test]
fn kept_it_says_where() {
    let place = Place::new(100_000);
    let said = run(&place.path("no-home"), &[&place.args()[..], &["--keep".into()]].concat()).ok();
    let found = said.json();
    let kept = Path::new(found["kept"].as_str().expect("a path"));
    assert!(kept.join("restored").is_dir(), "{}", kept.display());
    said.says(&["kept in", arg(kept)]);
}

#[test]
fn what_is_not_a_tree_is_named() {
    let place = Place::new(1);
    let missing = place.path("missing");
    let stage = place.path("stage");
    let said = run(&stage, &["demo", arg(&missing), "--dir", arg(&stage)]).code(1);
    said.says(&["cannot use", arg(&missing), "No such file"]);
    let file = place.path("tree/long");
    let said = run(&stage, &["demo", arg(&file), "--dir", arg(&stage)]).code(1);
    said.says(&[arg(&file), "not a directory"]);
    assert!(is_empty(&stage), "nothing was begun");
}

#[test]
fn interrupted_it_leaves_nothing() {
    let place = Place::new(40 << 20);
    let (home, stage) = (place.path("no-home"), place.path("stage"));
    for (wait, with) in [
        (0, Signal::INT),
        (60, Signal::INT),
        (250, Signal::TERM),
        (600, Signal::INT),
        (1_200, Signal::INT),
    ] {
        let child = start(&home, &place.args());
        wait_until("the demo begins", || !is_empty(&stage));
        std::thread::sleep(Duration::from_millis(wait));
        signal(&child, with);
        let said = end(child).code(1).says(&["interrupted; nothing was left behind"]);
        assert!(!said.stderr.contains("panicked"), "{}", said.stderr);
        assert_eq!(said.stdout, "", "no result");
        assert!(is_empty(&stage), "after {wait} ms: {:?}", stage.read_dir());
    }
    let child = start(&home, &[&place.args()[..], &["--keep".into()]].concat());
    wait_until("the demo begins", || !is_empty(&stage));
    signal(&child, Signal::INT);
    end(child).code(1).says(&["interrupted", "kept in", arg(&stage)]);
    assert!(!is_empty(&stage), "kept as asked");
}
