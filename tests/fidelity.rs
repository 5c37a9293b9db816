//! Everything Linux keeps about a tree comes back through the program; what does not is named.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::harness::{
    Fleet, Said, arg, assert_same, noise, restored, run, said, seawall_bound_by_modes,
};

#[path = "../crates/seawall-backup/tests/museum/mod.rs"]
pub(crate) mod museum;

/// A request that enough custodians have answered: restores as often as the test needs.
struct Open {
    request: PathBuf,
    approvals: [PathBuf; 2],
}

impl Open {
    fn new(fleet: &Fleet, id: &str) -> Self {
        let request = fleet.request(&fleet.home(), id, "request.json");
        let approvals = [0, 1].map(|n| fleet.approve(&request, n, &format!("approval-{n}.json")));
        Self { request, approvals }
    }

    fn args<'a>(&'a self, to: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
        let [a, b] = &self.approvals;
        let args = ["restore", "run", arg(&self.request), "--approval", arg(a), "--approval"];
        [&args[..], &[arg(b), "--to", arg(to), "--json"], more].concat()
    }

    fn restore(&self, fleet: &Fleet, to: &Path, more: &[&str]) -> Said {
        run(&fleet.home(), &self.args(to, more))
    }
}

/// The entries of the result's list `name` below `tree`. What lies above it belongs to others.
fn below(json: &Value, name: &str, what: &str, tree: &Path) -> BTreeSet<(String, String)> {
    let list = json[name].as_array().expect("a list");
    list.iter()
        .map(|r| {
            let text = |field: &str| r[field].as_str().expect("text").to_owned();
            (text("path"), text(what))
        })
        .filter_map(|(path, what)| {
            path.strip_prefix(&format!("{}/", arg(tree))).map(|p| (p.to_owned(), what))
        })
        .collect()
}

fn snapshot(fleet: &Fleet, paths: &[&Path]) -> String {
    let paths: Vec<&str> = paths.iter().map(|p| arg(p)).collect();
    let said = fleet.run(&[&["snapshot", "create", "--json"], &paths[..]].concat()).ok();
    said.json()["id"].as_str().expect("an id").to_owned()
}

#[test]
fn the_whole_museum_comes_back() {
    let fleet = Fleet::found();
    let tree = fleet.path("museum");
    fs::create_dir(&tree).expect("created");
    museum::build(&tree);
    let large = fs::File::create(tree.join("sparse/over four GiB")).expect("created");
    let end = (4 << 30) + 12_345;
    large.set_len(end).expect("a sparse file");
    large.write_all_at(b"beyond 32 bits", (4 << 30) + 7).expect("written");
    large.write_all_at(&noise(100_000), 65_536).expect("written");
    let open = Open::new(&fleet, &snapshot(&fleet, &[&tree]));
    let to = fleet.path("restored");
    let said = open.restore(&fleet, &to, &["--privileged"]);
    if museum::is_root() {
        assert_eq!(said.code, 0, "{}", said.stderr);
    }
    assert_eq!(below(&said.json(), "refused", "what", &tree), BTreeSet::new());
    assert_eq!(said.json()["lost"], serde_json::json!([]));
    assert_same(&tree, &restored(&to, &tree));
    let copy = fs::metadata(restored(&to, &tree).join("sparse/over four GiB")).expect("there");
    assert_eq!(copy.len(), end);
    assert!(copy.blocks() * 512 < 1 << 20, "holes stay holes: {} blocks", copy.blocks());
    if museum::is_root() {
        without_privilege(&fleet, &open, &tree);
    }
}

#[test]
fn holes_of_bundled_files_stay_holes() {
    let fleet = Fleet::found();
    let tree = fleet.path("tree");
    fs::create_dir(&tree).expect("created");
    for (name, len, data) in
        [("tiny", 1, 0), ("all hole", 600, 0), ("data between", 100_000, 4_096)]
    {
        let file = fs::File::create(tree.join(name)).expect("created");
        file.set_len(len).expect("a sparse file");
        file.write_all_at(&noise(data), 65_536).expect("written");
    }
    let id = fleet.snapshot(&tree);
    let to = fleet.path("restored");
    fleet.restore(&fleet.home(), &id, &to);
    assert_same(&tree, &restored(&to, &tree));
}

/// The same without the flag: exactly the powers are missing, each named.
fn without_privilege(fleet: &Fleet, open: &Open, tree: &Path) {
    let to = fleet.path("plain");
    let said = open.restore(fleet, &to, &[]).code(3);
    let powers = museum::POWERS.map(|(path, what)| (path.to_owned(), what.to_owned()));
    assert_eq!(below(&said.json(), "refused", "what", tree), BTreeSet::from(powers));
    for (path, what) in museum::POWERS {
        assert!(said.stderr.lines().any(|l| l.contains(path) && l.contains(what)), "{path}");
    }
    said.says(&["--privileged"]);
    let at = restored(&to, tree);
    assert!(!at.join("devices/null").exists() && !at.join("devices/block").exists());
    let tool = fs::metadata(at.join("modes/4755")).expect("there");
    assert_eq!(tool.permissions().mode() & 0o7777, 0o755);
}

#[test]
fn what_cannot_be_read_is_left_out_and_the_rest_comes_back() {
    let fleet = Fleet::found();
    let tree = fleet.tree("tree");
    let _socket = UnixListener::bind(tree.join("sub/socket")).expect("bound");
    fs::create_dir(tree.join("closed")).expect("created");
    fs::write(tree.join("closed/inside"), "x").expect("written");
    for closed in ["closed", "inline.txt"] {
        fs::set_permissions(tree.join(closed), PermissionsExt::from_mode(0o000)).expect("chmod");
    }
    let mut command = seawall_bound_by_modes();
    command.env("SEAWALL_HOME", fleet.home()).args(["snapshot", "create", arg(&tree), "--json"]);
    let said = said(&mut command).code(3);
    fs::set_permissions(tree.join("closed"), PermissionsExt::from_mode(0o700)).expect("chmod");
    let named = below(&said.json(), "problems", "reason", &tree);
    let paths: Vec<_> = named.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["closed", "inline.txt", "sub/again", "sub/socket"], "{named:?}");
    let id = said.json()["id"].as_str().expect("an id").to_owned();
    let to = fleet.path("restored");
    fleet.restore(&fleet.home(), &id, &to);
    let at = restored(&to, &tree);
    assert!(!at.join("inline.txt").exists() && !at.join("sub/socket").exists());
    assert_eq!(fs::read(at.join("sub/small.txt")).expect("read"), vec![b's'; 40_000]);
    let shown = fleet.run(&["snapshot", "show", &id, "--json"]).ok().json();
    assert_eq!(shown["skipped"], 4, "the manifest says so, too");
}

#[test]
fn a_file_that_changes_while_it_is_read_is_reported() {
    let fleet = Fleet::found();
    let tree = fleet.path("tree");
    fs::create_dir(&tree).expect("created");
    let path = tree.join("growing.log");
    fs::write(&path, noise(24 << 20)).expect("written");
    fs::write(tree.join("still"), "still").expect("written");
    let stop = AtomicBool::new(false);
    let said = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = fs::OpenOptions::new().append(true).open(&path).expect("opened");
            while !stop.load(Ordering::Relaxed) {
                file.write_all(b"one more line\n").expect("appended");
                std::thread::sleep(std::time::Duration::from_micros(200));
            }
        });
        let said = fleet.run(&["snapshot", "create", arg(&tree), "--json"]);
        stop.store(true, Ordering::Relaxed);
        said
    });
    let said = said.code(3).says(&["growing.log", "changed while it was read"]);
    let named = below(&said.json(), "problems", "reason", &tree);
    assert_eq!(named.len(), 1, "{named:?}");
    let id = said.json()["id"].as_str().expect("an id").to_owned();
    let to = fleet.path("restored");
    fleet.restore(&fleet.home(), &id, &to);
    let held = fs::read(restored(&to, &path)).expect("held as it was read");
    assert!(fs::read(&path).expect("there").starts_with(&held), "a state it had");
    assert!(held.len() >= 24 << 20);
}

#[test]
fn a_target_that_holds_something_is_refused() {
    let fleet = Fleet::found();
    let tree = fleet.tree("tree");
    let open = Open::new(&fleet, &fleet.snapshot(&tree));
    let to = fleet.path("full");
    fs::create_dir(&to).expect("created");
    fs::write(to.join("mine"), "keep this").expect("written");
    open.restore(&fleet, &to, &[]).code(1).says(&["full", "is not empty"]);
    assert_eq!(fs::read_dir(&to).expect("listed").count(), 1);
    let file = to.join("mine");
    open.restore(&fleet, &file, &[]).code(1).says(&["mine"]);
    assert_eq!(fs::read(&file).expect("read"), b"keep this");
    // An empty directory, named through a link, is where the operator wants it.
    let (real, link) = (fleet.path("real"), fleet.path("link"));
    fs::create_dir(&real).expect("created");
    symlink(&real, &link).expect("linked");
    open.restore(&fleet, &link, &["--privileged"]);
    assert_same(&tree, &restored(&real, &tree));
}

#[test]
fn resume_completes_half_a_restore() {
    let fleet = Fleet::found();
    let tree = fleet.tree("tree");
    let open = Open::new(&fleet, &fleet.snapshot(&tree));
    let to = fleet.path("restored");
    open.restore(&fleet, &to, &["--privileged"]);
    let at = restored(&to, &tree);
    fs::remove_dir_all(at.join("sub/deeper")).expect("removed");
    fs::remove_file(at.join("link")).expect("removed");
    fs::write(at.join("empty"), "half-written").expect("written");
    fs::OpenOptions::new()
        .write(true)
        .open(at.join("sub/small.txt"))
        .and_then(|f| f.set_len(17))
        .expect("cut");
    open.restore(&fleet, &to, &[]).code(1).says(&["--resume"]);
    let said = open.restore(&fleet, &to, &["--privileged", "--resume"]);
    assert_eq!(said.json()["lost"], serde_json::json!([]));
    assert_same(&tree, &at);
}

#[test]
fn links_planted_in_the_target_lead_nowhere() {
    let fleet = Fleet::found();
    let tree = fleet.tree("tree");
    let open = Open::new(&fleet, &fleet.snapshot(&tree));
    let (to, outside) = (fleet.path("restored"), fleet.path("outside"));
    let at = restored(&to, &tree);
    fs::create_dir_all(at.join("sub")).expect("created");
    fs::create_dir(&outside).expect("created");
    fs::write(outside.join("victim"), "untouched").expect("written");
    fs::set_permissions(outside.join("victim"), PermissionsExt::from_mode(0o640)).expect("chmod");
    symlink(&outside, at.join("sub/deeper")).expect("planted");
    symlink(outside.join("victim"), at.join("inline.txt")).expect("planted");
    symlink(outside.join("new"), at.join("empty")).expect("planted");
    fs::hard_link(outside.join("victim"), at.join("sub/small.txt")).expect("planted");
    let before = fs::metadata(outside.join("victim")).expect("there");
    open.restore(&fleet, &to, &["--privileged", "--resume"]);
    assert_same(&tree, &at);
    assert_eq!(fs::read_dir(&outside).expect("listed").count(), 1, "nothing was made outside");
    let victim = outside.join("victim");
    assert_eq!(fs::read(&victim).expect("read"), b"untouched");
    let after = fs::metadata(&victim).expect("there");
    let facts = |m: &fs::Metadata| (m.mode(), m.uid(), m.mtime(), m.mtime_nsec());
    assert_eq!(facts(&before), facts(&after));
}

#[test]
fn several_paths_are_one_snapshot() {
    let fleet = Fleet::found();
    let (one, two) = (fleet.tree("one"), fleet.tree("two"));
    fs::write(two.join("only here"), "x").expect("written");
    let untouched = fleet.tree("three");
    let id = snapshot(&fleet, &[&two, &one.join("sub"), &one.join("sub/deeper")]);
    let to = fleet.path("restored");
    let json = fleet.restore(&fleet.home(), &id, &to).json();
    let mut sources: Vec<_> = json["sources"].as_array().expect("a list").clone();
    sources.sort_by_key(ToString::to_string);
    assert!(sources.contains(&arg(&two).into()) && sources.contains(&arg(&one.join("sub")).into()));
    assert_same(&two, &restored(&to, &two));
    assert_same(&one.join("sub"), &restored(&to, &one.join("sub")));
    assert!(!restored(&to, &one).join("empty").exists(), "beside what was asked for");
    assert!(!restored(&to, &untouched).exists());
}

#[test]
fn the_smallest_things_are_snapshots_too() {
    let fleet = Fleet::found();
    let dir = fleet.path("empty directory");
    fs::create_dir(&dir).expect("created");
    museum::set_mtime(&dir, 1_000_000_000, 1);
    let file = fleet.path("single file");
    fs::write(&file, "alone").expect("written");
    museum::set_mtime(&file, -5, 999_999_999);
    let link = fleet.path("link to it");
    symlink("single file", &link).expect("linked");
    let id = snapshot(&fleet, &[&dir]);
    let to = fleet.path("to-dir");
    fleet.restore(&fleet.home(), &id, &to);
    assert_same(&dir, &restored(&to, &dir));
    let id = snapshot(&fleet, &[&file]);
    let to = fleet.path("to-file");
    assert_eq!(fleet.restore(&fleet.home(), &id, &to).json()["files"], 1);
    let copy = restored(&to, &file);
    let meta = fs::metadata(&copy).expect("there");
    assert_eq!(fs::read(&copy).expect("read"), b"alone");
    assert_eq!((meta.mtime(), meta.mtime_nsec()), (-5, 999_999_999));
    let id = snapshot(&fleet, &[&link]);
    let to = fleet.path("to-link");
    assert_eq!(fleet.restore(&fleet.home(), &id, &to).json()["files"], 0, "the link, not the file");
    let copy = restored(&to, &link);
    assert_eq!(fs::read_link(&copy).expect("a link"), Path::new("single file"));
    assert!(!copy.exists(), "what it points to was not asked for");
}

#[test]
fn a_path_through_a_link_says_what_to_name_instead() {
    let fleet = Fleet::found();
    let tree = fleet.tree("tree");
    let link = fleet.path("linked");
    symlink(&tree, &link).expect("linked");
    let through = link.join("sub");
    let said = fleet.run(&["snapshot", "create", arg(&through)]);
    said.code(3).says(&["linked", "name the real path"]);
}
