//! Every file of a node and of a region, damaged in every usual way: what follows either works or
//! fails with exit code 1 and names the file, and no restored byte is ever wrong.

use std::path::{Path, PathBuf};

use crate::harness::{Fleet, Region, Said, arg, copy, noise_of, restored, run};

/// A fleet with two snapshots, both synced, and an approved request for the newer on each node.
struct Scene {
    fleet: Fleet,
    region: Region,
    tree: PathBuf,
    ids: Vec<String>,
    /// The first node's request and the second's, each with two approvals.
    orders: [[PathBuf; 3]; 2],
    /// The log's checkpoint as it was after the first snapshot.
    old_checkpoint: Vec<u8>,
}

/// A way to damage a file.
#[derive(Debug, Clone, Copy)]
enum Damage {
    Gone,
    Empty,
    Halved,
    /// One bit, at this many hundredths of the file.
    Flipped(usize),
}

const DAMAGES: [Damage; 7] = [
    Damage::Gone,
    Damage::Empty,
    Damage::Halved,
    Damage::Flipped(0),
    Damage::Flipped(37),
    Damage::Flipped(70),
    Damage::Flipped(99),
];

impl Damage {
    fn apply(self, path: &Path) {
        let mut bytes = std::fs::read(path).expect("there is something to damage");
        match self {
            Self::Gone => return std::fs::remove_file(path).expect("removed"),
            Self::Empty => bytes.clear(),
            Self::Halved => bytes.truncate(bytes.len() / 2),
            Self::Flipped(percent) => {
                let at = bytes.len() * percent / 100;
                bytes[at] ^= 4;
            }
        }
        std::fs::write(path, bytes).expect("written");
    }
}

impl Scene {
    fn set() -> Self {
        let fleet = Fleet::found();
        let region = fleet.region("region");
        let second = fleet.second_node("node-2");
        let tree = fleet.path("tree");
        std::fs::create_dir_all(tree.join("sub")).expect("directories");
        for i in 0..6 {
            std::fs::write(tree.join(format!("sub/{i}")), noise_of(i, 90_000)).expect("written");
        }
        std::fs::write(tree.join("long"), noise_of(99, 1 << 20)).expect("written");
        let first = fleet.snapshot(&tree);
        fleet.run(&["sync"]).ok();
        let old_checkpoint = std::fs::read(fleet.home().join("log/checkpoint")).expect("read");
        std::fs::write(tree.join("new"), noise_of(100, 300_000)).expect("written");
        let newer = fleet.snapshot(&tree);
        fleet.run(&["sync"]).ok();
        let orders = [fleet.home(), second].map(|home| {
            let name = home.file_name().and_then(|n| n.to_str()).expect("a name").to_owned();
            let request = fleet.request(&home, &newer, &format!("{name}-request"));
            let a = fleet.approve(&request, 0, &format!("{name}-a"));
            let b = fleet.approve(&request, 1, &format!("{name}-b"));
            [request, a, b]
        });
        let ids = vec![first, newer];
        Self { fleet, region, tree, ids, orders, old_checkpoint }
    }

    /// Restores and adds to `wrong` whatever is not as it must be. Returns the exit code.
    fn judge_restore(
        &self,
        home: &Path,
        order: &[PathBuf; 3],
        names: &[&str],
        wrong: &mut Vec<String>,
    ) -> i32 {
        let to = self.fleet.path("restored");
        let said = restore(home, order, &to);
        judge("restore run", &said, names, wrong);
        let found = restored(&to, &self.tree);
        let whole = found.is_dir()
            && seawall_backup::target::compare(&self.tree, &found, true, &mut |_| ())
                .is_ok_and(|differences| differences.is_empty());
        match said.code {
            0 if !whole => wrong.push("restore run: exit code 0 and not identical".to_owned()),
            3 => self.judge_partial(&said, &found, wrong),
            _ => {}
        }
        if to.exists() {
            std::fs::remove_dir_all(&to).expect("removed");
        }
        said.code
    }

    /// Of an incomplete restore: each file is as it was, or is named as lost.
    fn judge_partial(&self, said: &Said, found: &Path, wrong: &mut Vec<String>) {
        let json = said.json();
        let lost: Vec<&str> = json["lost"]
            .as_array()
            .expect("an array")
            .iter()
            .filter_map(|l| l["path"].as_str())
            .collect();
        for name in ["long", "new", "sub/0", "sub/1", "sub/2", "sub/3", "sub/4", "sub/5"] {
            let path = self.tree.join(name);
            let is_lost = lost.iter().any(|lost| arg(&path).starts_with(lost));
            let same = std::fs::read(found.join(name)).ok() == std::fs::read(&path).ok();
            if !same && !is_lost {
                wrong.push(format!("restore run: {name} is not as it was and not named"));
            }
        }
    }

    /// Runs the commands of a damaged node and adds to `wrong` what they should not do.
    /// Returns their exit codes: verify, list, sync, restore.
    fn judge_node(&self, home: &Path, names: &[&str], wrong: &mut Vec<String>) -> [i32; 4] {
        let commands: [(&str, &[&str]); 3] = [
            ("verify", &["verify"]),
            ("list", &["snapshot", "list", "--json"]),
            ("sync", &["sync"]),
        ];
        let mut codes = [0; 4];
        for (code, (name, args)) in codes.iter_mut().zip(commands) {
            let said = run(home, args);
            judge(name, &said, names, wrong);
            *code = said.code;
            if name == "list" && said.code == 0 {
                let listed = said.json();
                let listed = listed.as_array().expect("an array").iter();
                let listed: Vec<_> = listed.map(|s| s["id"].as_str().unwrap_or("")).collect();
                if self.ids != listed {
                    wrong.push(format!("list: exit code 0 and shows {listed:?}"));
                }
            }
        }
        codes[3] = self.judge_restore(home, &self.orders[0], names, wrong);
        codes
    }

    /// A fresh copy of the first node's home.
    fn node(&self) -> PathBuf {
        let home = self.fleet.path("damaged");
        if home.exists() {
            std::fs::remove_dir_all(&home).expect("removed");
        }
        copy(&self.fleet.home(), &home);
        home
    }
}

fn restore(home: &Path, order: &[PathBuf; 3], to: &Path) -> Said {
    let [request, a, b] = order;
    let args = ["restore", "run", arg(request), "--approval", arg(a), "--approval", arg(b)];
    run(home, &[&args[..], &["--to", arg(to), "--json"]].concat())
}

/// Adds to `wrong` if a program panicked, ended with a code it must not end with, or failed
/// without naming any of `names`.
fn judge(what: &str, said: &Said, names: &[&str], wrong: &mut Vec<String>) {
    let partly = ["restore run", "list --all"].contains(&what);
    let possible: &[i32] = if partly { &[0, 1, 3] } else { &[0, 1] };
    if !possible.contains(&said.code) || said.stderr.contains("panicked") {
        wrong.push(format!("{what}: exit code {}, {}", said.code, said.stderr));
    } else if said.code == 1 && !names.iter().any(|name| said.stderr.contains(name)) {
        wrong.push(format!("{what}: names none of {names:?}: {}", said.stderr));
    }
}

#[track_caller]
fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} things are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Damages each of `files` of the first node in each way. A file may be named in other words.
fn each_file(files: &[(&str, &[&str])]) {
    let scene = Scene::set();
    let mut wrong = Vec::new();
    for (file, also) in files {
        for damage in DAMAGES {
            let home = scene.node();
            damage.apply(&home.join(file));
            let mut here = Vec::new();
            scene.judge_node(&home, &[&[*file][..], also].concat(), &mut here);
            wrong.extend(here.into_iter().map(|w| format!("{file} {damage:?}: {w}")));
        }
    }
    assert_none(&wrong);
}

#[test]
fn a_nodes_statements() {
    each_file(&[
        ("home.json", &["not a seawall home"]),
        ("fleet/genesis.json", &[]),
        ("enrolment.json", &[]),
        // Without its address the region is not known.
        ("regions/region.json", &["knows no region", "is missing"]),
    ]);
}

#[test]
fn a_nodes_keys() {
    each_file(&[
        ("keys/identity.key", &[]),
        ("keys/transport.key", &[]),
        ("keys/tenant.key", &[]),
        ("keys/recipient.key", &[]),
        // Last: a lost subkey is replaced, and the region then knows a longer log than the copies.
        ("keys/subkey.key", &["restored from an old copy"]),
    ]);
}

#[test]
fn a_nodes_log() {
    each_file(&[
        // Entries that do not have the root signed for are a fault of the log as a whole.
        ("log/entries", &["entries of log", "log holds", "log: log"]),
        ("log/hashes", &[]),
        // A broken signature is noticed by whoever checks it.
        (
            "log/checkpoint",
            &["its checkpoint", "no checkpoint", "`seawall verify` checks this node's log"],
        ),
    ]);
}

#[test]
fn a_nodes_receipts() {
    let scene = Scene::set();
    let dir = scene.fleet.home().join("receipts/region");
    let mut wrong = Vec::new();
    let mut seen = 0;
    for entry in dir.read_dir().expect("receipts") {
        let name = entry.expect("readable").file_name().into_string().expect("UTF-8");
        seen += 1;
        for damage in DAMAGES {
            let home = scene.node();
            damage.apply(&home.join("receipts/region").join(&name));
            let mut here = Vec::new();
            scene.judge_node(&home, &["receipt"], &mut here);
            wrong.extend(here.into_iter().map(|w| format!("{name} {damage:?}: {w}")));
        }
    }
    assert!(seen > 0, "there are receipts");
    assert_none(&wrong);
}

/// Where the object records of a zone are: offset and length, from the headers alone
/// (`docs/formats/zone.md`).
pub(crate) fn records(zone: &[u8]) -> Vec<(usize, usize)> {
    let (mut at, mut out) = (64, Vec::new());
    while at + 80 <= zone.len() {
        assert_eq!(zone[at..at + 4], [0xe5, 0x53, 0x57, 0x72], "a record at {at}");
        let body = u32::from_le_bytes(zone[at + 16..at + 20].try_into().expect("4 bytes")) as usize;
        let header = if zone[at + 5] & 1 == 1 { 112 } else { 80 };
        let len = (header + body).next_multiple_of(8);
        if zone[at + 4] == 1 {
            out.push((at, len));
        }
        at += len;
    }
    assert_eq!(at, zone.len(), "the records fill the zone");
    out
}

/// Ways to damage a zone, each with a name.
fn zone_damages(zone: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let records = records(zone);
    // The longest is a piece of a file, never a page: one file is lost with it, not the tree.
    let (at, len) = *records.iter().max_by_key(|(_, len)| len).expect("records");
    let edit = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = zone.to_vec();
        change(&mut bytes);
        bytes
    };
    // Two neighbours change places.
    let (first, next) = (records[1], records[2]);
    let swapped = edit(&|b| b[first.0..next.0 + next.1].rotate_left(first.1));
    let duplicated = edit(&|b| {
        let again = b[at..at + len].to_vec();
        b.splice(at..at, again);
    });
    vec![
        ("a bit of a body", edit(&|b| b[at + len / 2] ^= 1)),
        ("a bit of a record's header", edit(&|b| b[at + 40] ^= 1)),
        ("a bit of the zone's header", edit(&|b| b[20] ^= 1)),
        ("two records swapped", swapped),
        ("a record twice", duplicated),
        ("a record cut out", edit(&|b| drop(b.drain(at..at + len)))),
        ("a page of zeros", edit(&|b| b[at..at + 4_096].fill(0))),
        ("the end cut off inside a record", edit(&|b| b.truncate(at + 100))),
        ("the end cut off behind a record", edit(&|b| b.truncate(at))),
        ("emptied", Vec::new()),
    ]
}

pub(crate) const ZONE: &str = "zones/0000000000000000.zone";

#[test]
fn a_nodes_zones_are_mended_from_the_region() {
    let scene = Scene::set();
    let zone = std::fs::read(scene.fleet.home().join(ZONE)).expect("read");
    let mut wrong = Vec::new();
    for (name, bytes) in zone_damages(&zone) {
        let home = scene.node();
        std::fs::write(home.join(ZONE), bytes).expect("written");
        let mut here = Vec::new();
        let codes = scene.judge_node(&home, &["zones/", "object", "blake3:"], &mut here);
        if codes[0] != 1 || codes[3] != 0 {
            here.push(format!("verify and restore ended with {codes:?}, not with 1 and 0"));
        }
        // Sealing the same tree again mends what is found damaged.
        wrong.extend(here.into_iter().map(|w| format!("{name}: {w}")));
    }
    let home = scene.node();
    std::fs::remove_dir_all(home.join("zones")).expect("removed");
    let codes = scene.judge_node(&home, &["zones/", "object", "blake3:"], &mut wrong);
    assert_eq!((codes[0], codes[3]), (1, 0), "without any zone: {codes:?}");
    assert_none(&wrong);
}

#[test]
fn a_nodes_zones_without_a_region_cost_what_was_in_them() {
    let mut scene = Scene::set();
    scene.region.kill();
    let zone = std::fs::read(scene.fleet.home().join(ZONE)).expect("read");
    let mut wrong = Vec::new();
    let mut partly = 0;
    for (name, bytes) in zone_damages(&zone) {
        let home = scene.node();
        std::fs::write(home.join(ZONE), bytes).expect("written");
        let mut here = Vec::new();
        let code = scene.judge_restore(&home, &scene.orders[0], &["object", "blake3:"], &mut here);
        partly += usize::from(code == 3);
        wrong.extend(here.into_iter().map(|w| format!("{name}: {w}")));
    }
    assert!(partly >= 3, "{partly} restores saved what could be saved");
    assert_none(&wrong);
}

#[test]
fn a_log_from_an_older_time_is_noticed() {
    let scene = Scene::set();
    let mut wrong = Vec::new();
    // The older checkpoint beside the newer entries is a crash between the two: harmless.
    let home = scene.node();
    std::fs::write(home.join("log/checkpoint"), &scene.old_checkpoint).expect("written");
    let codes = scene.judge_node(&home, &[], &mut wrong);
    assert_eq!(codes, [0; 4], "an older checkpoint");
    // The other way round, entries are missing that were signed for.
    let home = scene.node();
    let entries = std::fs::read(home.join("log/entries")).expect("read");
    let group = entries.windows(4).rposition(|w| w == b"SWg1").expect("groups");
    std::fs::write(home.join("log/entries"), &entries[..group]).expect("written");
    let codes = scene.judge_node(&home, &["rolled back"], &mut wrong);
    assert_eq!(codes[..3], [1; 3], "older entries: {codes:?}");
    // Both older: only the region can know.
    std::fs::write(home.join("log/checkpoint"), &scene.old_checkpoint).expect("written");
    let said = run(&home, &["sync"]).code(1);
    said.says(&["region", "restored from an old copy"]);
    assert_none(&wrong);
}

/// All files below `dir`, as paths from `home`.
fn files_below(home: &Path, dir: &str, out: &mut Vec<String>) {
    for entry in home.join(dir).read_dir().expect("a directory") {
        let entry = entry.expect("readable");
        let path = format!("{dir}/{}", entry.file_name().to_str().expect("UTF-8"));
        if entry.path().is_dir() { files_below(home, &path, out) } else { out.push(path) }
    }
}

/// Runs `verify` of a damaged region, and then, if it starts at all, all that nodes do with it.
fn judge_region(
    scene: &mut Scene,
    good: &Path,
    wrong: &mut Vec<String>,
    names: &[&str],
) -> [i32; 2] {
    let said = run(&scene.region.home, &["verify"]);
    judge("region verify", &said, names, wrong);
    let mut child = crate::harness::start(&scene.region.home, &["region", "run"]);
    let address = scene.region.address();
    let listens = loop {
        if child.try_wait().expect("a child").is_some() {
            break false;
        }
        if std::net::TcpStream::connect(&address).is_ok() {
            break true;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    let mut restore = -1;
    if listens {
        let second = scene.fleet.path("node-2");
        let names = &[names, &["region"]].concat();
        judge("list --all", &run(&second, &["snapshot", "list", "--all"]), names, wrong);
        restore = scene.judge_restore(&second, &scene.orders[1], names, wrong);
        let node = scene.node();
        judge("sync", &run(&node, &["sync"]), names, wrong);
        // What the node could mend is mended now.
        let again = run(&node, &["sync"]);
        judge("sync again", &again, names, wrong);
        if again.code == 0 && scene.judge_restore(&second, &scene.orders[1], names, wrong) != 0 {
            wrong.push("sync says all is well, and the region cannot restore".to_owned());
        }
    }
    let _ = child.kill();
    let ended = crate::harness::end(child);
    if !listens {
        judge("region run", &ended, names, wrong);
    } else if ended.stderr.contains("panicked") {
        wrong.push(format!("region run: {}", ended.stderr));
    }
    std::fs::remove_dir_all(&scene.region.home).expect("removed");
    copy(good, &scene.region.home);
    [said.code, restore]
}

#[test]
fn a_regions_zones() {
    let mut scene = Scene::set();
    scene.region.stop();
    let good = scene.fleet.path("good-region");
    copy(&scene.region.home, &good);
    let mut files = Vec::new();
    files_below(&good, "tenants", &mut files);
    let file = files.iter().find(|f| f.ends_with(".zone")).expect("a zone").clone();
    let zone = std::fs::read(good.join(&file)).expect("read");
    let mut wrong = Vec::new();
    for (name, bytes) in zone_damages(&zone) {
        std::fs::write(scene.region.home.join(&file), bytes).expect("written");
        let mut here = Vec::new();
        let codes = judge_region(&mut scene, &good, &mut here, &["zones/", "object", "blake3:"]);
        if codes[0] != 1 {
            here.push("verify found nothing".to_owned());
        }
        wrong.extend(here.into_iter().map(|w| format!("{name}: {w}")));
    }
    assert_none(&wrong);
}

#[test]
fn a_regions_files() {
    let mut scene = Scene::set();
    scene.region.stop();
    let good = scene.fleet.path("good-region");
    copy(&scene.region.home, &good);
    let mut files = vec!["region.json".to_owned()];
    files_below(&good, "keys", &mut files);
    files_below(&good, "fleets", &mut files);
    let mut wrong = Vec::new();
    for file in files.iter().filter(|f| !f.ends_with(".tmp")) {
        for damage in [Damage::Gone, Damage::Halved, Damage::Flipped(50)] {
            damage.apply(&scene.region.home.join(file));
            let mut here = Vec::new();
            let (_, name) = file.rsplit_once('/').unwrap_or(("", file));
            // A directory without its region.json is no region at all.
            let none = ["is not a seawall home", "no region was made here"];
            let names = [&[name, "log", "is not hosted here"], &none[..]].concat();
            judge_region(&mut scene, &good, &mut here, &names);
            wrong.extend(here.into_iter().map(|w| format!("{file} {damage:?}: {w}")));
        }
    }
    assert_none(&wrong);
}
