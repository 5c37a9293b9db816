//! kill -9 anywhere: nothing acknowledged is lost, nothing half-written is seen, and the same
//! command run again does the work.
//!
//! The delays are fractions of a measured run, so they fall into every phase on any machine; a
//! kill "at the log" waits until the log has grown and hits the last steps, which are too short
//! to be met by chance.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{
    Fleet, Said, arg, assert_same, copy, end, noise_of, restored, run, signal, start, wait_until,
};

/// Where in a run it is killed: all along, and more often near the end.
const MOMENTS: [f64; 6] = [0.05, 0.35, 0.7, 0.85, 0.93, 1.0];

/// Asserts that a killed or failed program did not panic.
#[track_caller]
fn no_panic(said: &Said) {
    assert!(!said.stderr.contains("panicked"), "{}", said.stderr);
}

/// Lets a started program run for a part of `whole`, then kills it where it stands.
fn kill_after(mut child: std::process::Child, whole: Duration, part: f64) -> Said {
    let start = Instant::now();
    let at = whole.mul_f64(part);
    while start.elapsed() < at && child.try_wait().expect("a child").is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    // One that has ended by itself is no error: the last moment is behind the end.
    let _ = child.kill();
    let said = end(child);
    no_panic(&said);
    said
}

fn len(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |m| m.len())
}

/// A fleet, a tree that gets new bytes each round, and what each listed snapshot must restore to.
struct Rounds {
    fleet: Fleet,
    tree: PathBuf,
    round: u64,
    copies: BTreeMap<String, PathBuf>,
}

impl Rounds {
    fn new() -> Self {
        let fleet = Fleet::found();
        let tree = fleet.tree("tree");
        Self { fleet, tree, round: 0, copies: BTreeMap::new() }
    }

    /// Changes the tree: a long new file, a few short ones, and a longer old one.
    fn change(&mut self) {
        self.round += 1;
        let round = self.round;
        let dir = self.tree.join(format!("round-{round}"));
        std::fs::create_dir(&dir).expect("a directory");
        std::fs::write(dir.join("new"), noise_of(round, 5 << 20)).expect("written");
        for i in 0..40 {
            std::fs::write(dir.join(format!("{i}")), noise_of(round << 8 | i, 3_000))
                .expect("written");
        }
        std::fs::write(self.tree.join("inline.txt"), format!("round {round}")).expect("written");
    }

    /// Copies the tree as it is now.
    fn keep(&self) -> PathBuf {
        let to = self.fleet.path(&format!("copy-{}", self.copies.len()));
        copy(&self.tree, &to);
        to
    }

    fn ids(&self) -> Vec<String> {
        let list = self.fleet.run(&["snapshot", "list", "--json"]).ok().json();
        let list = list.as_array().expect("an array").iter();
        list.map(|s| s["id"].as_str().expect("an id").to_owned()).collect()
    }

    /// Everything listed before is still listed, `said` is listed if it was printed, and whatever
    /// is listed is whole. A snapshot that is new in the list is of the tree as it is now.
    fn check(&mut self, said: &Said) {
        let ids = self.ids();
        for id in self.copies.keys() {
            assert!(ids.contains(id), "{id} was listed before and is lost");
        }
        if !said.stdout.is_empty()
            && let Some(id) = said.json()["id"].as_str()
        {
            assert!(ids.iter().any(|listed| listed == id), "{id} was printed and is lost");
        }
        let new: Vec<_> = ids.into_iter().filter(|id| !self.copies.contains_key(id)).collect();
        assert!(new.len() <= 1, "one command made {new:?}");
        for id in new {
            let kept = self.keep();
            self.copies.insert(id, kept);
        }
        self.fleet.run(&["verify"]).ok();
        if !self.copies.is_empty() {
            self.fleet.run(&["log", "show"]).ok();
        }
    }

    /// Makes a snapshot undisturbed; returns how long it took.
    fn snapshot(&mut self) -> Duration {
        let start = Instant::now();
        let said = self.fleet.run(&["snapshot", "create", arg(&self.tree), "--json"]).ok();
        let took = start.elapsed();
        self.check(&said);
        took
    }

    fn start_snapshot(&self) -> std::process::Child {
        start(&self.fleet.home(), &["snapshot", "create", arg(&self.tree), "--json"])
    }

    /// Restores a listed snapshot and compares it with the copy of its time.
    fn restores(&self, id: &str) {
        let to = self.fleet.path(&format!("restored-{}", &id[..12]));
        self.fleet.restore(&self.fleet.home(), id, &to).ok();
        assert_same(&self.copies[id], &restored(&to, &self.tree));
        std::fs::remove_dir_all(&to).expect("removed");
    }
}

#[test]
fn a_killed_snapshot_costs_no_other() {
    let mut it = Rounds::new();
    it.snapshot();
    it.change();
    let whole = it.snapshot();
    let mut killed = 0;
    for part in MOMENTS {
        it.change();
        let said = kill_after(it.start_snapshot(), whole, part);
        killed += usize::from(said.code == -1);
        it.check(&said);
    }
    assert!(killed >= 3, "only {killed} of {} were killed on their way", MOMENTS.len());
    it.snapshot();
    it.fleet.run(&["log", "verify"]).ok();
    let ids = it.ids();
    for id in [&ids[0], &ids[1], &ids[ids.len() - 1]] {
        it.restores(id);
    }
}

#[test]
fn a_snapshot_killed_at_the_log_is_there_or_not() {
    let mut it = Rounds::new();
    // The very first has most to lose: log, enrolment, subkey and checkpoint all begin with it.
    let log = it.fleet.home().join("log/entries");
    for pause in [0, 2, 4, 8] {
        it.change();
        let before = len(&log);
        let mut child = it.start_snapshot();
        wait_until("the log grows", || len(&log) > before);
        std::thread::sleep(Duration::from_millis(pause));
        let _ = child.kill();
        let said = end(child);
        no_panic(&said);
        let ids = it.ids();
        if ids.is_empty() {
            // Without any checkpoint there is nothing yet that `verify` could hold the log to.
            no_panic(&it.fleet.run(&["verify"]));
        } else {
            it.check(&said);
        }
    }
    it.snapshot();
    it.fleet.run(&["log", "verify"]).ok();
    let ids = it.ids();
    it.restores(&ids[0]);
    it.restores(&ids[ids.len() - 1]);
}

#[test]
fn a_killed_sync_goes_on() {
    let mut it = Rounds::new();
    let mut region = it.fleet.region("region");
    let second = it.fleet.second_node("node-2");
    it.snapshot();
    it.fleet.run(&["sync"]).ok();
    it.change();
    it.snapshot();
    let start_of = Instant::now();
    it.fleet.run(&["sync"]).ok();
    let whole = start_of.elapsed();
    for part in [0.2, 0.6, 0.85, 0.97] {
        it.change();
        it.snapshot();
        kill_after(start(&it.fleet.home(), &["sync", "--json"]), whole, part);
        it.fleet.run(&["verify"]).ok();
        // What the region shows to others is whole, always.
        let list = run(&second, &["snapshot", "list", "--all", "--json"]).ok().json();
        let listed = list.as_array().expect("an array").len();
        assert!((2..=it.copies.len()).contains(&listed), "{listed} are listed");
    }
    region.stop();
    run(&region.home, &["verify"]).ok();
    region.resume();
    let synced = it.fleet.run(&["sync", "--json"]).ok().json();
    assert_eq!(synced[0]["ok"], true);
    let ids = it.ids();
    let list = it.fleet.run(&["snapshot", "list", "--json"]).ok().json();
    for snapshot in list.as_array().expect("an array") {
        assert_eq!(snapshot["receipts"][0], "region", "{snapshot}");
    }
    let (id, to) = (&ids[ids.len() - 1], it.fleet.path("restored"));
    it.fleet.restore(&second, id, &to).ok();
    assert_same(&it.copies[id], &restored(&to, &it.tree));
}

#[test]
fn a_killed_region_keeps_what_it_signed_for() {
    let mut it = Rounds::new();
    let mut region = it.fleet.region("region");
    it.snapshot();
    it.change();
    it.snapshot();
    let start_of = Instant::now();
    it.fleet.run(&["sync"]).ok();
    let whole = start_of.elapsed();
    for part in [0.2, 0.5, 0.8, 0.95] {
        it.change();
        it.snapshot();
        let sync = start(&it.fleet.home(), &["sync", "--json"]);
        std::thread::sleep(whole.mul_f64(part));
        region.kill();
        let said = end(sync);
        no_panic(&said);
        if said.code != 0 {
            let said = said.code(1).says(&["region", &region.address()]);
            assert_eq!(said.json()[0]["ok"], false);
        }
        run(&region.home, &["verify"]).ok();
        it.fleet.run(&["verify"]).ok();
        region.resume();
    }
    it.fleet.run(&["sync"]).ok();
    region.stop();
    let report = run(&region.home, &["verify", "--json"]).ok().json();
    assert_eq!(report["snapshots"], it.copies.len(), "{report}");
}

#[test]
fn a_killed_restore_is_resumed() {
    let mut it = Rounds::new();
    it.change();
    it.change();
    it.snapshot();
    let id = it.ids().remove(0);
    let home = it.fleet.home();
    let request = it.fleet.request(&home, &id, "request.json");
    let a = it.fleet.approve(&request, 0, "a.json");
    let b = it.fleet.approve(&request, 1, "b.json");
    let args = |to: &Path| {
        let fixed = ["restore", "run", arg(&request), "--approval", arg(&a), "--approval", arg(&b)];
        fixed.iter().chain(&["--to", arg(to)]).map(|s| (*s).to_owned()).collect::<Vec<_>>()
    };
    let start_of = Instant::now();
    run(&home, &args(&it.fleet.path("whole"))).ok();
    let whole = start_of.elapsed();
    for (i, part) in [0.3, 0.6, 0.8, 0.95].into_iter().enumerate() {
        let to = it.fleet.path(&format!("restored-{i}"));
        let said = kill_after(start(&home, &args(&to)), whole, part);
        let resume = [args(&to), vec!["--resume".to_owned()]].concat();
        let begun = to.read_dir().is_ok_and(|mut entries| entries.next().is_some());
        if said.code == -1 && begun {
            run(&home, &args(&to)).code(1).says(&["--resume", arg(&to)]);
        }
        if said.code == -1 {
            // Killed a second time while it resumes.
            kill_after(start(&home, &resume), whole, part / 2.0);
            run(&home, &resume).ok();
        }
        assert_same(&it.tree, &restored(&to, &it.tree));
        std::fs::remove_dir_all(&to).expect("removed");
    }
    it.fleet.run(&["verify"]).ok();
}

/// Starts a snapshot and stops it (SIGSTOP) while it writes objects.
fn stopped_on_its_way(it: &mut Rounds) -> std::process::Child {
    it.change();
    let home = it.fleet.home();
    let zones = || -> u64 {
        let files = std::fs::read_dir(home.join("zones")).expect("zones").filter_map(Result::ok);
        files.map(|f| len(&f.path())).sum()
    };
    let before = zones();
    let child = it.start_snapshot();
    wait_until("the zones grow", || zones() > before);
    signal(&child, Signal::STOP);
    child
}

#[test]
fn readers_beside_a_writer_change_nothing() {
    let mut it = Rounds::new();
    it.snapshot();
    let home = it.fleet.home();
    let id = it.ids().remove(0);
    let request = it.fleet.request(&home, &id, "request.json");
    let a = it.fleet.approve(&request, 0, "a.json");
    let b = it.fleet.approve(&request, 1, "b.json");
    let first = stopped_on_its_way(&mut it);
    let to = it.fleet.path("restored");
    let restore = ["restore", "run", arg(&request), "--approval", arg(&a), "--approval", arg(&b)];
    let restore = [&restore[..], &["--to", arg(&to)]].concat();
    let readers: [&[&str]; 6] = [
        &["verify"],
        &["snapshot", "list"],
        &["snapshot", "show", &id],
        &["log", "verify"],
        &["log", "prove", "2"],
        &restore,
    ];
    for args in readers {
        run(&home, args).ok();
    }
    assert_same(&it.copies[&id], &restored(&to, &it.tree));
    signal(&first, Signal::CONT);
    let said = end(first).ok();
    // What the writer acknowledged is whole: no reader has cut it.
    it.check(&said);
    let ids = it.ids();
    it.restores(&ids[1]);
}
