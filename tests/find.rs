//! Finding paths in all snapshots: with an operator's key and no quorum, and for nobody else.

use std::path::{Path, PathBuf};

use seawall_backup::entry::EntryKind;
use seawall_record::Totals;
use serde_json::Value;

use crate::attack::bombs::{Forger, StolenLog};
use crate::harness::{Fleet, Region, Said, arg, run};

/// A fleet with a region, and somebody who finds things on a machine of their own.
struct Office {
    fleet: Fleet,
    region: Region,
    operator: PathBuf,
}

impl Office {
    /// The operator is listed before the first snapshot is made.
    fn new() -> Self {
        let fleet = Fleet::found();
        let region = fleet.region("region");
        let operator = fleet.second_node("desk");
        let card = fleet.path("desk-operator.json");
        run(&operator, &["node", "operator", "--out", arg(&card)]).ok();
        fleet.run(&["fleet", "operator", "add", arg(&card)]).ok();
        Self { fleet, region, operator }
    }

    fn find(&self, args: &[&str]) -> Said {
        find(&self.operator, args)
    }
}

fn find(home: &Path, args: &[&str]) -> Said {
    run(home, &[&["find", "--json"], args].concat())
}

#[track_caller]
fn paths(value: &Value) -> Vec<String> {
    let found = value["found"].as_array().expect("a list");
    found.iter().map(|f| f["path"].as_str().expect("text").to_owned()).collect()
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().expect("below something")).expect("directories");
    std::fs::write(path, bytes).expect("written");
}

#[test]
fn a_deleted_file_is_found_where_it_was() {
    let fleet = Fleet::found();
    let tree = fleet.path("tree");
    write(&tree.join("plans/budget-2026.ods"), b"figures");
    write(&tree.join("plans/notes.txt"), b"words");
    let first = fleet.snapshot(&tree);
    std::fs::remove_file(tree.join("plans/budget-2026.ods")).expect("removed");
    let second = fleet.snapshot(&tree);
    let home = fleet.home();

    let said = find(&home, &["budget"]).ok().json();
    let found = &said["found"][0];
    let there = tree.join("plans/budget-2026.ods");
    assert_eq!(paths(&said), [arg(&there)]);
    assert_eq!((&found["kind"], &found["size"]), (&"file".into(), &7.into()));
    assert_eq!(
        (&found["first"]["id"], &found["last"]["id"]),
        (&first.clone().into(), &first.clone().into())
    );
    assert_eq!((&found["snapshots"], &found["stands"]), (&1.into(), &false.into()));
    assert_eq!(found["ask"], first);
    assert_eq!((&said["searched"], &said["not_searched"]), (&2.into(), &0.into()));
    let modified = found["modified"].as_str().expect("a time");
    assert!(modified.starts_with("20") && modified.ends_with('Z'), "{modified}");

    let notes = find(&home, &["--exact", arg(&tree.join("plans/notes.txt"))]).ok().json();
    assert_eq!(
        (&notes["found"][0]["snapshots"], &notes["found"][0]["stands"]),
        (&2.into(), &true.into())
    );
    assert_eq!(notes["found"][0]["ask"], second);

    // What it says to do next works as it stands.
    let words = fleet.run(&["find", "budget"]).ok();
    let line = words.stdout.lines().find(|l| l.contains("restore request")).expect("a command");
    assert!(line.contains(&first[..12]), "{line}");
    let request = fleet.path("request.json");
    let args = ["restore", "request", &first[..12], "--reason", "why", "--out", arg(&request)];
    fleet.run(&args).ok();

    assert_eq!(
        find(&home, &["budget", "--snapshot", &second[..10]]).code(1).json()["found"],
        Value::Array(vec![])
    );
    fleet.run(&["find", "no-such-name"]).code(1);
    fleet.run(&["find", "--regex", "("]).code(2).says(&["regular expression"]);
    fleet.run(&["find", ""]).code(2);
    fleet.run(&["find", "--exact", "--glob", "x"]).code(2);
    fleet.run(&["find", "x", "--node", "nobody"]).code(1).says(&["no snapshot of a node"]);
}

#[test]
fn patterns_and_filters_reach_the_program() {
    let fleet = Fleet::found();
    let tree = fleet.path("tree");
    write(&tree.join("a/Report.PDF"), &[1; 3_000]);
    write(&tree.join("a/report.txt"), &[2; 10]);
    write(&tree.join("b/c/deep.txt"), &[3; 10]);
    std::os::unix::fs::symlink("report.txt", tree.join("a/link")).expect("linked");
    fleet.snapshot(&tree);
    let home = fleet.home();
    let names = |args: &[&str]| -> Vec<String> {
        let said = find(&home, args);
        assert!(said.code < 2, "{said:?}");
        let cut = |p: String| p.strip_prefix(arg(&tree)).expect("in the tree").to_owned();
        paths(&said.json()).into_iter().map(cut).collect()
    };
    assert_eq!(names(&["report"]), ["/a/report.txt"]);
    assert_eq!(names(&["-i", "report"]), ["/a/Report.PDF", "/a/report.txt"]);
    assert_eq!(names(&["--glob", "*.txt"]), ["/a/report.txt", "/b/c/deep.txt"]);
    assert_eq!(names(&["--regex", "^[rR]ep.*t$"]), ["/a/report.txt"]);
    assert_eq!(names(&["--prefix", arg(&tree.join("b/"))]), ["/b/c", "/b/c/deep.txt"]);
    assert_eq!(names(&["-i", "report", "--min-size", "1K"]), ["/a/Report.PDF"]);
    assert_eq!(names(&["--glob", "*", "--type", "symlink"]), ["/a/link"]);
    assert_eq!(names(&["report", "--modified-before", "2001-01-01"]), [""; 0]);
    assert_eq!(names(&["report", "--since", "1d", "--modified-since", "1d"]), ["/a/report.txt"]);
    let two = find(&home, &["--glob", "*.txt", "--limit", "1"]).ok().json();
    assert_eq!((paths(&two).len(), &two["more"]), (1, &true.into()));
}

#[test]
fn an_operator_finds_through_the_region_what_a_lost_node_had() {
    let office = Office::new();
    let tree = office.fleet.path("tree");
    write(&tree.join("mail/inbox.mbox"), b"letters");
    write(&tree.join("evil\n\x1b[2Jname"), b"");
    let id = office.fleet.snapshot(&tree);
    office.fleet.run(&["sync"]).ok();
    std::fs::rename(office.fleet.home(), office.fleet.path("gone")).expect("the node is gone");

    let said = office.find(&["inbox"]).ok().json();
    assert_eq!(paths(&said), [arg(&tree.join("mail/inbox.mbox"))]);
    assert_eq!((&said["found"][0]["node"], &said["new"]), (&"node-1".into(), &1.into()));
    let hostile = run(&office.operator, &["find", "evil"]).ok();
    assert!(hostile.stdout.contains("evil\\n\\u{1b}[2Jname"), "{}", hostile.stdout);
    assert!(!hostile.stdout.contains('\x1b'));
    // What was read once is not read again, and not asked for.
    let again = office.find(&["inbox"]).ok().json();
    assert_eq!((&again["new"], &again["searched"]), (&0.into(), &1.into()));
    let mut office = office;
    office.region.stop();
    let offline = office.find(&["inbox", "--offline"]).ok().json();
    assert_eq!(paths(&offline), paths(&said));
    let request = office.fleet.path("request.json");
    let ask = ["restore", "request", &id, "--reason", "lost", "--out", arg(&request)];
    office.region.resume();
    run(&office.operator, &ask).ok();
}

#[test]
fn nobody_but_listed_operators_finds_anything() {
    let fleet = Fleet::found();
    let region = fleet.region("region");
    let node = fleet.second_node("node-2");
    let tree = fleet.path("tree");
    write(&tree.join("confidential-merger.txt"), b"x");
    fleet.snapshot(&tree);
    fleet.run(&["sync"]).ok();
    // A node of the same tenant without an operator's key, then with one that is not listed.
    find(&node, &["merger"]).code(1).says(&["no operator key", "seawall node operator"]);
    let card = fleet.path("card.json");
    run(&node, &["node", "operator", "--out", arg(&card)]).ok();
    let said = find(&node, &["merger"]).code(1).json();
    assert_eq!((&said["without_index"], &said["searched"]), (&1.into(), &0.into()));
    // The region holds neither the name nor a key file.
    let grep = std::process::Command::new("grep")
        .args(["-raq", "confidential-merger", arg(&region.home)])
        .status()
        .expect("grep runs");
    assert_eq!(grep.code(), Some(1), "the region knows a name");
    // Listed from now on: what is made from now on.
    fleet.run(&["fleet", "operator", "add", arg(&card)]).ok();
    write(&tree.join("second-merger.txt"), b"x");
    fleet.snapshot(&tree);
    fleet.run(&["sync"]).ok();
    let said = find(&node, &["merger"]).ok().json();
    assert_eq!(said["found"].as_array().map(Vec::len), Some(2));
    assert_eq!((&said["without_index"], &said["searched"]), (&1.into(), &1.into()));
    // Removed: nothing new.
    fleet.run(&["fleet", "operator", "remove", "node-2"]).ok();
    fleet.snapshot(&tree);
    fleet.run(&["sync"]).ok();
    let said = find(&node, &["merger"]).ok().json();
    assert_eq!((&said["without_index"], &said["searched"]), (&2.into(), &1.into()));
    fleet.run(&["fleet", "operator", "remove", "node-2"]).code(1).says(&["no operator"]);
}

#[test]
fn a_class_without_index_has_none() {
    let fleet = Fleet::found_with(&["--no-index"]);
    let tree = fleet.tree("tree");
    let show = || fleet.run(&["fleet", "index", "show", "--json"]).ok().json();
    assert_eq!((&show()["classes"][0]["index"], &show()["version"]), (&false.into(), &Value::Null));
    fleet.snapshot(&tree);
    fleet.run(&["find", "small"]).code(1).says(&["no operator key"]);
    fleet.run(&["fleet", "index", "on", "default"]).ok();
    assert_eq!(show()["operators"][0]["name"], "node-1");
    let second = fleet.snapshot(&tree);
    let said = find(&fleet.home(), &["small"]).ok().json();
    assert_eq!(
        (&said["found"][0]["first"]["id"], &said["without_index"]),
        (&second.into(), &1.into())
    );
    fleet.run(&["fleet", "index", "off", "default"]).ok();
    fleet.snapshot(&tree);
    let said = find(&fleet.home(), &["small"]).ok().json();
    assert_eq!((&said["searched"], &said["without_index"]), (&1.into(), &2.into()));
    fleet.run(&["fleet", "index", "on", "no-such-class"]).code(1).says(&["no data class"]);
    let restored = fleet.path("to");
    let id = fleet.run(&["snapshot", "list", "--json"]).ok().json();
    let id = id[2]["id"].as_str().expect("an id").to_owned();
    fleet.restore(&fleet.home(), &id, &restored).ok();
}

#[test]
fn a_root_moved_to_another_manifest_is_refused_and_named() {
    let fleet = Fleet::found();
    let tree = fleet.path("tree");
    write(&tree.join("genuine.txt"), b"x");
    let id = fleet.snapshot(&tree);
    let stolen = StolenLog::read(&fleet.home()).manifests;
    let mut forger = Forger::open(&fleet.home());
    forger.path_index = stolen[0].path_index.clone();
    assert!(!forger.path_index.is_empty());
    let empty = forger.directory(std::iter::once(("other".to_owned(), EntryKind::Fifo)));
    let totals = Totals { others: 1, ..Totals::default() };
    let moved = forger.publish(&fleet.home(), empty, totals);
    let said = find(&fleet.home(), &["genuine"]).code(3).says(&[&moved[..12], "is not searched"]);
    let said = said.json();
    assert_eq!((&said["found"][0]["last"]["id"], &said["not_searched"]), (&id.into(), &1.into()));
    // It stays named by its number.
    assert_eq!(find(&fleet.home(), &["genuine"]).code(3).json()["not_searched"], 1);
}

#[test]
fn a_damaged_cache_is_built_again() {
    let fleet = Fleet::found();
    let tree = fleet.tree("tree");
    fleet.snapshot(&tree);
    let home = fleet.home();
    let good = find(&home, &["small"]).ok().json()["found"].clone();
    let cache = || -> Vec<PathBuf> {
        let dir = std::fs::read_dir(home.join("find")).expect("the cache");
        let files = dir.map(|e| e.expect("an entry").path());
        files.filter(|p| p.metadata().expect("there").len() > 0).collect()
    };
    assert!(cache().len() >= 2, "a root and a segment: {:?}", cache());
    for which in ["root", ".seg"] {
        let mut files = cache().into_iter();
        let path = files.find(|p| arg(p).ends_with(which)).expect(which);
        let bytes = std::fs::read(&path).expect("read");
        for text in ["small.txt", "inline"] {
            assert!(!bytes.windows(text.len()).any(|w| w == text.as_bytes()), "{path:?}: {text}");
        }
        let mut bad = bytes.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        std::fs::write(&path, &bad).expect("written");
        let said = find(&home, &["small"]).ok();
        assert_eq!(said.json()["found"], good, "{path:?}");
        assert!(said.stderr.contains("built again"), "{path:?}: {}", said.stderr);
        find(&home, &["small"]).ok();
    }
    // Another cache key: foreign, and built again.
    std::fs::remove_file(home.join("keys/find-cache.key")).expect("removed");
    assert_eq!(find(&home, &["small"]).ok().says(&["built again"]).json()["found"], good);
    assert_eq!(find(&home, &["small", "--rebuild"]).ok().json()["found"], good);
}

#[test]
fn what_was_forgotten_is_not_the_one_to_ask_for() {
    let fleet = Fleet::found();
    let tree = fleet.path("tree");
    write(&tree.join("kept.txt"), b"x");
    let first = fleet.snapshot(&tree);
    let second = fleet.snapshot(&tree);
    write(&tree.join("later.txt"), b"x");
    std::fs::remove_file(tree.join("kept.txt")).expect("removed");
    fleet.snapshot(&tree);
    let ask = |text: &str| find(&fleet.home(), &[text]).ok().json()["found"][0]["ask"].clone();
    assert_eq!(ask("kept.txt"), second);
    let prune = ["prune", "--yes", "--keep-last", "1", "--min-age", "0h", "--copies", "0"];
    fleet.run(&prune).ok();
    // All that hold it were forgotten; the last one is named, and that it was.
    assert_eq!(ask("kept.txt"), second);
    let words = fleet.run(&["find", "kept.txt"]).ok();
    assert!(words.stdout.contains("forgotten"), "{}", words.stdout);
    assert_ne!(first, second);
}

#[test]
fn snapshots_go_on_whatever_becomes_of_who_may_read_indexes() {
    let fleet = Fleet::found_with(&["--canary"]);
    let mut region = fleet.region("region");
    fleet.run(&["fleet", "index", "on", "canary"]).ok();
    let second = fleet.second_node("node-2");
    let tree = fleet.tree("tree");
    let next = fleet.path("next.json");
    // A class that takes no snapshots any more.
    let shown = fleet.run(&["fleet", "policy", "show", "--json"]).ok().json();
    let groups = shown["groups"].as_array().expect("groups");
    let canary = groups.iter().find(|it| it["class"] == "canary").expect("a canary");
    let canary = canary["id"].as_str().expect("an id");
    fleet.run(&["fleet", "policy", "propose", "--retire", canary, "--out", arg(&next)]).ok();
    fleet.run(&["fleet", "policy", "apply", arg(&next)]).ok();
    fleet.snapshot(&tree);
    fleet.run(&["fleet", "index", "off", "default"]).ok();
    fleet.run(&["fleet", "index", "on", "default"]).ok();
    // New root keys, and a node whose index policy is older than the one that they carry over.
    let copy = fleet.path("anna-root.json");
    let made = fleet.run(&["fleet", "root-key", "--new", "--out", arg(&copy), "--json"]).ok();
    let key = made.json()["key"].as_str().expect("a key").to_owned();
    let replace = ["--root-key", &key, "--root-threshold", "1", "--carry-logs"];
    let propose = ["fleet", "policy", "propose", "--out", arg(&next)];
    run(&second, &["snapshot", "create", arg(&tree)]).ok();
    run(&second, &["sync"]).ok();
    fleet.run(&["sync"]).ok();
    fleet.run(&[&propose[..], &replace].concat()).ok();
    let sign = ["fleet", "policy", "sign", arg(&next), "--root-key", arg(&copy), "--yes"];
    fleet.run(&[&sign[..], &["--out", arg(&next)]].concat()).ok();
    fleet.run(&["fleet", "policy", "apply", arg(&next)]).ok();
    fleet.run(&["sync"]).ok();
    run(&second, &["sync"]).ok();
    let made = run(&second, &["snapshot", "create", arg(&tree)]).ok();
    made.says(&["earlier root keys", "no index until a new bundle"]);
    let (card, bundle) = (fleet.path("node-2-card.json"), fleet.path("again.json"));
    let args = ["fleet", "bundle", arg(&card), "--root-key", arg(&copy), "--out", arg(&bundle)];
    fleet.run(&args).ok();
    run(&second, &["node", "enroll", arg(&bundle)]).ok();
    let made = run(&second, &["snapshot", "create", arg(&tree)]).ok();
    assert!(!made.stderr.contains("earlier root keys"), "{}", made.stderr);
    region.stop();
}
