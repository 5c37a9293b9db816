//! Forgetting and reclaiming with the real program, alone and beside every other command.
//!
//! The matrix of what may meet is in docs/decisions/0012-retention.md; each pair is a test here.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{
    Fleet, Said, arg, assert_same, copy, end, noise_of, restored, run, signal, start, wait_until,
};

/// A rule that keeps the last only, with no other guard.
const LAST: [&str; 5] = ["prune", "--keep-last", "1", "--min-age", "0h"];

pub(crate) fn prune_args<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&LAST[..], more].concat()
}

/// Bytes of all zone files of a home.
fn zone_bytes(home: &Path) -> u64 {
    let zones = std::fs::read_dir(home.join("zones")).expect("zones");
    // A zone may go while it is looked at.
    zones.filter_map(|z| z.ok()?.metadata().ok()).map(|m| m.len()).sum()
}

/// A fleet and a tree with a large file that changes each round.
pub(crate) struct World {
    pub(crate) fleet: Fleet,
    pub(crate) tree: PathBuf,
    round: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::of(Fleet::found())
    }

    fn of(fleet: Fleet) -> Self {
        let tree = fleet.tree("tree");
        Self { fleet, tree, round: 0 }
    }

    /// Replaces the large file by another, of so many bytes.
    pub(crate) fn change(&mut self, bytes: usize) {
        self.round += 1;
        std::fs::write(self.tree.join("zz-large"), noise_of(self.round, bytes)).expect("written");
    }

    pub(crate) fn snapshot(&self) -> String {
        self.fleet.snapshot(&self.tree)
    }

    /// So many snapshots of which each has 3 MiB of its own.
    pub(crate) fn history(&mut self, n: usize) -> Vec<String> {
        (0..n)
            .map(|_| {
                self.change(3 << 20);
                self.snapshot()
            })
            .collect()
    }

    fn home(&self) -> PathBuf {
        self.fleet.home()
    }

    pub(crate) fn prune(&self, more: &[&str]) -> Value {
        self.fleet.run(&prune_args(&[&["--yes", "--json"], more].concat())).ok().json()
    }

    pub(crate) fn listed(&self, all: bool) -> Vec<Value> {
        let args = if all {
            &["snapshot", "list", "--json", "--all"][..]
        } else {
            &["snapshot", "list", "--json"]
        };
        self.fleet.run(args).ok().json().as_array().expect("an array").clone()
    }

    /// Restores a snapshot and compares it with `like`.
    pub(crate) fn restores(&self, id: &str, like: &Path) {
        let to = self.fleet.path(&format!("restored-{}", &id[..12]));
        self.fleet.restore(&self.home(), id, &to).ok();
        assert_same(like, &restored(&to, &self.tree));
        std::fs::remove_dir_all(&to).expect("removed");
    }

    /// Starts a snapshot of a tree with 24 MiB of news and stops it while it writes.
    pub(crate) fn stopped_snapshot(&mut self) -> Going {
        self.change(24 << 20);
        let before = zone_bytes(&self.home());
        let args = ["snapshot", "create", arg(&self.tree), "--json"];
        let child = going(&self.home(), &args);
        wait_until("zones grow", || zone_bytes(&self.home()) > before + (1 << 20));
        child.signal(Signal::STOP);
        child
    }

    fn start_prune(&self) -> Going {
        going(&self.home(), &prune_args(&["--yes", "--json"]))
    }
}

/// A program on its way, ended by force if the test fails before it does: one that is stopped
/// would never end.
pub(crate) struct Going(Option<Child>);

impl Going {
    pub(crate) fn signal(&self, to: Signal) {
        signal(self.0.as_ref().expect("not ended"), to);
    }

    fn has_ended(&mut self) -> bool {
        self.0.as_mut().expect("not ended").try_wait().expect("a child").is_some()
    }

    fn kill(mut self) -> Said {
        let mut child = self.0.take().expect("not ended");
        // One that has ended by itself is no error.
        let _ = child.kill();
        end(child)
    }

    pub(crate) fn end(mut self) -> Said {
        end(self.0.take().expect("not ended"))
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn going(home: &Path, args: &[&str]) -> Going {
    Going(Some(start(home, args)))
}

pub(crate) fn id_of(said: &Said) -> String {
    said.json()["id"].as_str().expect("an id").to_owned()
}

pub(crate) fn ids(list: &[Value]) -> Vec<&str> {
    list.iter().map(|s| s["id"].as_str().expect("an id")).collect()
}

#[test]
fn what_is_forgotten_gives_back_its_room_and_stays_in_the_history() {
    let mut it = World::new();
    let made = it.history(3);
    let before = zone_bytes(&it.home());
    let done = it.prune(&[]);
    let forgotten: Vec<_> = done["forgotten"].as_array().expect("an array").clone();
    assert_eq!(ids(&forgotten), [&made[0], &made[1]]);
    assert_eq!(done["kept"], 1);
    let after = zone_bytes(&it.home());
    assert!(after + (6 << 20) <= before, "{before} bytes before, {after} after");
    assert_eq!(ids(&it.listed(false)), [&made[2]]);
    let all = it.listed(true);
    assert_eq!(ids(&all), [&made[0], &made[1], &made[2]]);
    assert!(all[0]["forgotten"].is_string() && all[2]["forgotten"].is_null());
    it.fleet.run(&["verify"]).ok();
    it.fleet.run(&["log", "verify"]).ok();
    let log = it.fleet.run(&["log", "show", "--json"]).ok().json();
    let last = log.as_array().expect("an array").last().expect("entries").clone();
    assert_eq!(last["kind"], "forget");
    assert!(last["what"].as_str().expect("words").contains("keep last 1"), "{last}");
    it.restores(&made[2], &it.tree);
    let log = it.fleet.run(&["log", "show", "--json"]).ok().json();
    // Nothing is left to do, and nothing is logged for it.
    let again = it.prune(&[]);
    assert_eq!(again["forgotten"], serde_json::json!([]));
    assert_eq!(again["freed_bytes"], 0);
    let log_again = it.fleet.run(&["log", "show", "--json"]).ok().json();
    assert_eq!(log, log_again);
    // What is shared with what went is written anew.
    it.change(1 << 20);
    let next = it.snapshot();
    it.fleet.run(&["verify"]).ok();
    it.restores(&next, &it.tree);
}

#[test]
fn objects_shared_with_what_went_are_written_again() {
    let mut it = World::new();
    it.change(3 << 20);
    it.snapshot();
    let large = it.tree.join("zz-large");
    let aside = it.fleet.path("aside");
    std::fs::rename(&large, &aside).expect("moved");
    it.snapshot();
    it.prune(&[]);
    // The same file comes back, with the same times: whatever remembers it must not trust that.
    std::fs::rename(&aside, &large).expect("moved back");
    let back = it.snapshot();
    it.fleet.run(&["verify"]).ok();
    it.restores(&back, &it.tree);
}

#[test]
fn a_plan_changes_nothing_and_says_why() {
    let mut it = World::new();
    let made = it.history(3);
    let bytes = |home: &Path| {
        let mut files: Vec<(PathBuf, Vec<u8>)> = Vec::new();
        let mut dirs = vec![home.to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).expect("a directory") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    dirs.push(path);
                } else {
                    files.push((path.clone(), std::fs::read(path).expect("read")));
                }
            }
        }
        files.sort();
        files
    };
    let before = bytes(&it.home());
    let plan = it.fleet.run(&prune_args(&["--plan", "--json"])).ok().json();
    assert!(bytes(&it.home()) == before, "a plan changed the home");
    let snapshots = plan["snapshots"].as_array().expect("an array");
    assert_eq!(ids(snapshots), made);
    let keeps: Vec<_> = snapshots.iter().map(|s| s["keep"] == true).collect();
    assert_eq!(keeps, [false, false, true]);
    assert_eq!(snapshots[2]["reasons"], serde_json::json!(["last", "newest of its set"]));
    assert!(plan["reclaim"]["bytes"].as_u64().expect("bytes") >= 6 << 20, "{plan}");
    // A day is the least, unless somebody says otherwise.
    let young = it.fleet.run(&["prune", "--keep-last", "1", "--plan", "--json"]).ok().json();
    let snapshots = young["snapshots"].as_array().expect("an array");
    assert!(snapshots.iter().all(|s| s["keep"] == true), "{young}");
    assert_eq!(snapshots[0]["reasons"], serde_json::json!(["younger than 24h"]));
    // Without a terminal only --yes is a yes.
    it.fleet.run(&LAST).code(2).says(&["--yes", "FORGET"]);
    assert!(bytes(&it.home()) == before, "a question changed the home");
}

#[test]
fn rules_that_keep_nothing_and_nonsense_are_wrong_usage() {
    let fleet = Fleet::found();
    for wrong in [
        &["prune"][..],
        &["prune", "--keep-last", "0", "--yes"],
        &["prune", "--keep-daily", "-1"],
        &["prune", "--keep-within", "7"],
        &["prune", "--save"],
        &["prune", "--keep-last", "1", "--save", "--yes"],
        &["prune", "--plan", "--yes", "--keep-last", "1"],
    ] {
        fleet.run(wrong).code(2);
    }
    let tree = fleet.tree("tree");
    for wrong in ["a,b", " a", "a\u{202e}b", &"x".repeat(65)] {
        fleet
            .run(&["snapshot", "create", arg(&tree), "--set", wrong])
            .code(1)
            .says(&["set or tag"]);
    }
}

#[test]
fn sets_and_tags_are_counted_apart_and_a_saved_policy_applies() {
    let it = World::new();
    let make = |more: &[&str]| {
        let args = [&["snapshot", "create", arg(&it.tree), "--json"], more].concat();
        id_of(&it.fleet.run(&args).ok())
    };
    let db_1 = make(&["--set", "db"]);
    let plain_1 = make(&["--tag", "before-upgrade,weekly"]);
    let db_2 = make(&["--set", "db", "--tag", "x"]);
    let plain_2 = make(&[]);
    let plain_3 = make(&["--tag", "weekly"]);
    let save = ["prune", "--keep-last", "1", "--keep-tag", "weekly,before-upgrade"];
    it.fleet.run(&[&save[..], &["--min-age", "0h", "--save"]].concat()).ok();
    let done = it.fleet.run(&["prune", "--yes", "--json"]).ok().json();
    let forgotten = done["forgotten"].as_array().expect("an array").clone();
    assert_eq!(ids(&forgotten), [&db_1, &plain_2]);
    let left = it.listed(false);
    assert_eq!(ids(&left), [&plain_1, &db_2, &plain_3]);
    assert_eq!(left[0]["tags"], serde_json::json!(["before-upgrade", "weekly"]));
    assert_eq!(left[1]["set"], "db");
}

#[test]
fn without_two_receipts_nothing_goes_and_regions_keep_what_goes() {
    let mut it = World::new();
    let mut first = it.fleet.region("region-a");
    let made = it.history(2);
    let copy_of_first = it.fleet.path("copy");
    let held = |it: &World, more: &[&str]| {
        let plan = it.fleet.run(&prune_args(&[&["--plan", "--json"], more].concat())).ok();
        plan.json()["snapshots"][0]["reasons"].to_string()
    };
    assert!(held(&it, &[]).contains("0 of 2 copies"), "{}", held(&it, &[]));
    assert!(held(&it, &[]).contains("no witnessed time"));
    it.fleet.run(&["sync"]).ok();
    assert_eq!(held(&it, &[]), "[\"1 of 2 copies elsewhere\"]");
    assert_eq!(it.prune(&[])["forgotten"], serde_json::json!([]));
    // Below two is somebody's own decision, and loud.
    let plan = it.fleet.run(&prune_args(&["--plan", "--copies", "1", "--quiet"])).ok();
    plan.says(&["warning", "--copies 1", "one other place"]);
    let mut second = it.fleet.region("region-b");
    it.fleet.run(&["sync"]).ok();
    // Both have to have signed for something later than what they signed for it.
    it.fleet.run(&["sync"]).ok();
    let done = it.prune(&["--rewrite-below", "100"]);
    assert_eq!(ids(done["forgotten"].as_array().expect("an array")), [&made[0]]);
    assert!(done["freed_bytes"].as_u64().expect("bytes") >= 3 << 20, "{done}");
    it.fleet.run(&["verify"]).ok();
    // A region cannot be told to drop anything: both still have all of both.
    it.fleet.run(&["sync"]).ok();
    for region in [&mut first, &mut second] {
        region.stop();
        assert_eq!(run(&region.home, &["verify", "--json"]).ok().json()["snapshots"], 2);
        region.resume();
    }
    // So what this node forgot can still be restored, here and elsewhere.
    copy(&it.tree, &copy_of_first);
    std::fs::write(copy_of_first.join("zz-large"), noise_of(1, 3 << 20)).expect("written");
    let other = it.fleet.second_node("node-2");
    for (home, name) in [(it.home(), "here"), (other, "there")] {
        let to = it.fleet.path(name);
        let said = it.fleet.restore(&home, &made[0], &to).ok();
        if name == "here" {
            said.says(&["this node forgot the snapshot", "region-a, region-b"]);
        }
        let large = restored(&to, &it.tree).join("zz-large");
        assert!(std::fs::read(large).expect("restored") == noise_of(1, 3 << 20));
    }
}

#[test]
fn a_region_that_comes_later_is_not_asked_for_what_is_gone() {
    let mut it = World::new();
    it.history(3);
    it.prune(&[]);
    let mut late = it.fleet.region("late");
    it.change(1 << 20);
    it.snapshot();
    let synced = it.fleet.run(&["sync", "--json"]).ok().json();
    assert_eq!(synced[0]["receipts"], 2, "{synced}");
    it.fleet.run(&["sync"]).ok();
    late.stop();
    let report = run(&late.home, &["verify", "--json"]).ok().json();
    assert_eq!(report["snapshots"], 2);
    late.resume();
    let list = run(&it.fleet.second_node("node-2"), &["snapshot", "list", "--all", "--json"]).ok();
    let list = list.json();
    let forgotten: Vec<_> =
        list.as_array().expect("an array").iter().map(|s| s["forgotten"].is_string()).collect();
    assert_eq!(forgotten, [true, true, false, false], "the log says so everywhere");
}

#[test]
fn a_bucket_counts_as_one_copy_and_keeps_everything() {
    let elsewhere = tempfile::tempdir().expect("a directory");
    let bucket = elsewhere.path().join("nas");
    let mut it = World::of(Fleet::found_with(&["--profile", "solo", "--bucket", arg(&bucket)]));
    let made = it.history(2);
    assert_eq!(it.prune(&["--copies", "1"])["forgotten"], serde_json::json!([]));
    it.fleet.run(&["sync"]).ok();
    assert_eq!(it.prune(&[])["forgotten"], serde_json::json!([]), "two are the rule");
    let done = it.prune(&["--copies", "1"]);
    assert_eq!(ids(done["forgotten"].as_array().expect("an array")), [&made[0]]);
    it.change(1 << 20);
    it.snapshot();
    it.fleet.run(&["sync"]).ok();
    it.fleet.run(&["verify", "--bucket"]).ok();
    let to = it.fleet.path("restored");
    it.fleet.restore(&it.home(), &made[0], &to).ok().says(&["the bucket"]);
    let large = restored(&to, &it.tree).join("zz-large");
    assert!(std::fs::read(large).expect("restored") == noise_of(1, 3 << 20));
}

/// The marks come from public pages: no key that could open, or dedup, anything is read.
#[test]
fn prune_needs_no_key_but_the_one_that_signs() {
    let mut it = World::new();
    let made = it.history(3);
    let (keys, aside) = (it.home().join("keys"), it.fleet.path("keys-aside"));
    copy(&keys, &aside);
    for key in std::fs::read_dir(&keys).expect("keys") {
        let path = key.expect("a key").path();
        if path.file_name().is_some_and(|n| n != "subkey.key") {
            std::fs::remove_file(path).expect("removed");
        }
    }
    std::fs::remove_dir_all(it.home().join("root")).expect("removed");
    let done = it.prune(&[]);
    assert_eq!(done["forgotten"].as_array().expect("an array").len(), 2);
    assert!(done["freed_bytes"].as_u64().expect("bytes") >= 6 << 20, "{done}");
    it.fleet.run(&["verify"]).ok();
    std::fs::remove_dir_all(&keys).expect("removed");
    copy(&aside, &keys);
    it.fleet.run(&["verify"]).ok();
    it.restores(&made[2], &it.tree);
    it.change(1 << 20);
    let next = it.snapshot();
    it.restores(&next, &it.tree);
}

#[test]
fn two_snapshots_at_once_are_both_whole() {
    let mut it = World::new();
    it.history(1);
    let first = it.stopped_snapshot();
    let kept = it.fleet.path("kept");
    copy(&it.tree, &kept);
    let other = it.fleet.tree("other");
    std::fs::write(other.join("more"), noise_of(77, 4 << 20)).expect("written");
    let second = it.fleet.snapshot(&other);
    first.signal(Signal::CONT);
    let first = id_of(&first.end().ok());
    it.fleet.run(&["verify"]).ok();
    it.fleet.run(&["log", "verify"]).ok();
    assert_eq!(ids(&it.listed(false))[1..], [&second, &first]);
    it.restores(&first, &kept);
    let to = it.fleet.path("restored");
    it.fleet.restore(&it.home(), &second, &to).ok();
    assert_same(&other, &restored(&to, &other));
}

#[test]
fn prune_waits_for_a_snapshot_that_began_before_and_spares_what_it_needs() {
    let mut it = World::new();
    // Shared with the first snapshot only, which goes; read early by the snapshot under way.
    std::fs::write(it.tree.join("aa-shared"), noise_of(5, 4 << 20)).expect("written");
    it.snapshot();
    let aside = it.fleet.path("aside");
    std::fs::rename(it.tree.join("aa-shared"), &aside).expect("moved");
    it.snapshot();
    std::fs::rename(&aside, it.tree.join("aa-shared")).expect("moved back");
    let snapshot = it.stopped_snapshot();
    let mut prune = it.start_prune();
    wait_until("the first is forgotten", || it.listed(false).len() == 1);
    std::thread::sleep(Duration::from_millis(300));
    assert!(!prune.has_ended(), "prune did not wait");
    it.fleet.run(&["verify"]).ok();
    snapshot.signal(Signal::CONT);
    let id = id_of(&snapshot.end().ok());
    let done = prune.end().ok().json();
    assert_eq!(done["forgotten"].as_array().expect("an array").len(), 1);
    it.fleet.run(&["verify"]).ok();
    it.restores(&id, &it.tree);
    it.prune(&[]);
    it.fleet.run(&["verify"]).ok();
    it.restores(&id, &it.tree);
}

#[test]
fn a_snapshot_that_begins_while_prune_waits_is_whole() {
    let mut it = World::new();
    std::fs::write(it.tree.join("aa-shared"), noise_of(5, 4 << 20)).expect("written");
    it.snapshot();
    let aside = it.fleet.path("aside");
    std::fs::rename(it.tree.join("aa-shared"), &aside).expect("moved");
    it.snapshot();
    let slow = it.stopped_snapshot();
    let prune = it.start_prune();
    wait_until("the first is forgotten", || it.listed(false).len() == 1);
    std::thread::sleep(Duration::from_millis(300));
    // Condemned by now: it must be written again, not shared.
    let second = it.fleet.tree("second");
    std::fs::rename(&aside, second.join("aa-shared")).expect("moved");
    let id = it.fleet.snapshot(&second);
    slow.signal(Signal::CONT);
    slow.end().ok();
    prune.end().ok();
    it.fleet.run(&["verify"]).ok();
    let to = it.fleet.path("restored");
    it.fleet.restore(&it.home(), &id, &to).ok();
    assert_same(&second, &restored(&to, &second));
}

#[test]
fn what_is_being_restored_is_not_forgotten() {
    let mut it = World::new();
    it.change(24 << 20);
    let old = it.snapshot();
    let kept = it.fleet.path("kept");
    copy(&it.tree, &kept);
    it.history(1);
    let request = it.fleet.request(&it.home(), &old, "request.json");
    let a = it.fleet.approve(&request, 0, "a.json");
    let b = it.fleet.approve(&request, 1, "b.json");
    let to = it.fleet.path("restored");
    let args = ["restore", "run", arg(&request), "--approval", arg(&a), "--approval", arg(&b)];
    let restore = going(&it.home(), &[&args[..], &["--to", arg(&to)]].concat());
    wait_until("the restore writes", || to.read_dir().is_ok_and(|mut d| d.next().is_some()));
    restore.signal(Signal::STOP);
    let plan = it.fleet.run(&prune_args(&["--plan", "--json"])).ok().json();
    assert_eq!(plan["snapshots"][0]["reasons"], serde_json::json!(["being read"]));
    assert_eq!(it.prune(&[])["forgotten"], serde_json::json!([]));
    restore.signal(Signal::CONT);
    restore.end().ok();
    assert_same(&kept, &restored(&to, &it.tree));
    assert_eq!(it.prune(&[])["forgotten"].as_array().expect("an array").len(), 1);
}

#[test]
fn what_is_kept_is_restored_while_zones_are_rewritten() {
    let mut it = World::new();
    it.history(3);
    it.change(24 << 20);
    let id = it.snapshot();
    let request = it.fleet.request(&it.home(), &id, "request.json");
    let a = it.fleet.approve(&request, 0, "a.json");
    let b = it.fleet.approve(&request, 1, "b.json");
    let to = it.fleet.path("restored");
    let args = ["restore", "run", arg(&request), "--approval", arg(&a), "--approval", arg(&b)];
    let restore = going(&it.home(), &[&args[..], &["--to", arg(&to)]].concat());
    wait_until("the restore writes", || to.read_dir().is_ok_and(|mut d| d.next().is_some()));
    restore.signal(Signal::STOP);
    let done = it.prune(&["--rewrite-below", "100"]);
    assert_eq!(done["rewritten_zones"], 1, "{done}");
    restore.signal(Signal::CONT);
    restore.end().ok();
    assert_same(&it.tree, &restored(&to, &it.tree));
}

#[test]
fn prune_waits_for_a_sync_and_a_sync_does_not_hold_up_snapshots() {
    let mut it = World::new();
    let mut region = it.fleet.region("region");
    it.history(1);
    it.change(24 << 20);
    it.snapshot();
    let sync = going(&it.home(), &["sync", "--json"]);
    let packed = || zone_bytes_below(&region.home) > 1 << 20;
    wait_until("the region gets objects", packed);
    sync.signal(Signal::STOP);
    it.fleet.run(&["sync"]).code(1).says(&["in use", "syncs"]);
    // A snapshot beside it, and a request.
    it.change(1 << 20);
    let id = it.snapshot();
    it.fleet.request(&it.home(), &id, "request.json");
    let prune = going(&it.home(), &prune_args(&["--yes", "--json", "--copies", "0"]));
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(it.listed(false).len(), 3, "nothing is forgotten while it is pushed");
    sync.signal(Signal::CONT);
    assert_eq!(sync.end().ok().json()[0]["receipts"], 2);
    prune.end().ok();
    assert_eq!(ids(&it.listed(false)), [&id]);
    it.fleet.run(&["sync"]).ok();
    it.fleet.run(&["verify"]).ok();
    region.stop();
    assert_eq!(run(&region.home, &["verify", "--json"]).ok().json()["snapshots"], 3);
}

/// Bytes of every file below a directory.
fn zone_bytes_below(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    entries
        .map(|e| {
            if e.path().is_dir() {
                zone_bytes_below(&e.path())
            } else {
                e.metadata().map_or(0, |m| m.len())
            }
        })
        .sum()
}

#[test]
fn of_two_prunes_the_second_is_refused_by_name() {
    let mut it = World::new();
    it.history(2);
    let snapshot = it.stopped_snapshot();
    let prune = it.start_prune();
    wait_until("the first is forgotten", || it.listed(false).len() == 1);
    it.fleet.run(&prune_args(&["--yes"])).code(1).says(&["another"]);
    // A verify beside it finds everything in order.
    it.fleet.run(&["verify"]).ok();
    snapshot.signal(Signal::CONT);
    snapshot.end().ok();
    prune.end().ok();
    it.fleet.run(&["verify"]).ok();
}

#[test]
fn a_killed_prune_costs_nothing_and_the_next_one_finishes() {
    let mut it = World::new();
    it.history(4);
    let backup = it.fleet.path("backup");
    copy(&it.home(), &backup);
    let begun = Instant::now();
    it.prune(&["--rewrite-below", "100"]);
    let whole = begun.elapsed();
    let pruned = zone_bytes(&it.home());
    let last = it.listed(false)[0]["id"].as_str().expect("an id").to_owned();
    let mut killed = 0;
    for part in [0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95] {
        std::fs::remove_dir_all(it.home()).expect("removed");
        copy(&backup, &it.home());
        let more = ["--yes", "--json", "--rewrite-below", "100"];
        let child = going(&it.home(), &prune_args(&more));
        std::thread::sleep(whole.mul_f64(part));
        let said = child.kill();
        assert!(!said.stderr.contains("panicked"), "{}", said.stderr);
        killed += usize::from(said.code == -1);
        it.fleet.run(&["verify"]).ok();
        assert_eq!(it.listed(true).len(), 4);
        it.prune(&["--rewrite-below", "100"]);
        it.fleet.run(&["verify"]).ok();
        let left = zone_bytes(&it.home());
        assert!(left <= pruned + (64 << 10), "{left} bytes are left, {pruned} undisturbed");
        assert_eq!(ids(&it.listed(false)), [&last]);
    }
    assert!(killed >= 4, "only {killed} were killed on their way");
    it.restores(&last, &it.tree);
}

/// Killed while it waits: the snapshot it waited for is whole, and so is the next prune.
#[test]
fn a_prune_killed_between_its_phases_loses_nothing() {
    let mut it = World::new();
    std::fs::write(it.tree.join("aa-shared"), noise_of(5, 4 << 20)).expect("written");
    it.snapshot();
    let aside = it.fleet.path("aside");
    std::fs::rename(it.tree.join("aa-shared"), &aside).expect("moved");
    it.snapshot();
    std::fs::rename(&aside, it.tree.join("aa-shared")).expect("moved back");
    let snapshot = it.stopped_snapshot();
    let prune = it.start_prune();
    wait_until("the first is forgotten", || it.listed(false).len() == 1);
    std::thread::sleep(Duration::from_millis(300));
    prune.kill();
    snapshot.signal(Signal::CONT);
    let id = id_of(&snapshot.end().ok());
    it.fleet.run(&["verify"]).ok();
    it.restores(&id, &it.tree);
    it.prune(&[]);
    it.fleet.run(&["verify"]).ok();
    it.restores(&id, &it.tree);
}

/// A snapshot that died on its way left objects; they go, and nothing else.
#[test]
fn what_a_killed_snapshot_left_is_given_back() {
    let mut it = World::new();
    it.history(1);
    let before = zone_bytes(&it.home());
    let killed = it.stopped_snapshot();
    killed.kill();
    assert!(zone_bytes(&it.home()) > before);
    it.prune(&[]);
    let after = zone_bytes(&it.home());
    assert!(after <= before + (64 << 10), "{before} bytes before, {after} after");
    it.fleet.run(&["verify"]).ok();
}
