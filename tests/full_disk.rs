//! Full disks: of the node, of the region, of the target of a restore.
//!
//! Each is a small tmpfs in a mount namespace of its own, which needs root; it is reached through
//! `/proc/PID/root`, so the programs need not be in that namespace. Without the right to mount,
//! these tests say so and check nothing.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::harness::{Fleet, Region, arg, assert_same, copy, noise_of, restored, run};

/// A mounted tmpfs; it goes when the process that holds its namespace does.
struct SmallDisk {
    holder: Child,
    at: PathBuf,
}

impl SmallDisk {
    /// Mounts one at `at`; `None`, with the reason on stderr, where that is not allowed.
    fn mount(at: PathBuf, mib: u32) -> Option<Self> {
        std::fs::create_dir_all(&at).expect("a directory");
        let script = format!(
            "mount -t tmpfs -o size={mib}m,mode=700 none '{}' && echo ready && exec cat",
            at.display()
        );
        let mut holder = Command::new("unshare")
            .args(["-m", "sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare runs");
        let mut line = String::new();
        let stdout = holder.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("readable");
        let disk = Self { holder, at };
        if line != "ready\n" {
            eprintln!("SKIPPED: no right to mount a tmpfs here (see above)");
            return None;
        }
        Some(disk)
    }

    /// A path on it, for every process.
    fn path(&self, name: &str) -> PathBuf {
        let at = self.at.strip_prefix("/").expect("absolute");
        Path::new("/proc").join(self.holder.id().to_string()).join("root").join(at).join(name)
    }

    /// Makes room.
    fn grow(&self, mib: u32) {
        let resized = Command::new("nsenter")
            .args(["-t", &self.holder.id().to_string(), "-m", "mount", "-o"])
            .args([&format!("remount,size={mib}m"), arg(&self.at)])
            .status()
            .expect("nsenter runs");
        assert!(resized.success(), "resized");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A tree of `mib` MiB that does not compress, in files of 1 MiB.
fn long_tree(fleet: &Fleet, name: &str, seed: u64, mib: u64) -> PathBuf {
    let root = fleet.path(name);
    std::fs::create_dir(&root).expect("a directory");
    for i in 0..mib {
        std::fs::write(root.join(format!("{i}")), noise_of(seed << 16 | i, 1 << 20))
            .expect("written");
    }
    root
}

#[test]
fn a_full_node_loses_nothing_and_goes_on_with_room() {
    let fleet = Fleet::found();
    let Some(disk) = SmallDisk::mount(fleet.path("small"), 16) else { return };
    let home = disk.path("node-1");
    copy(&fleet.home(), &home);
    let first = fleet.tree("first");
    let id = run(&home, &["snapshot", "create", arg(&first), "--json"]).ok().json()["id"].clone();
    let id = id.as_str().expect("an id");
    let request = fleet.request(&home, id, "request.json");
    let a = fleet.approve(&request, 0, "a.json");
    let b = fleet.approve(&request, 1, "b.json");
    let second = long_tree(&fleet, "second", 1, 24);
    for _ in 0..2 {
        let said = run(&home, &["snapshot", "create", arg(&second)]).code(1);
        let said = said.says(&["no snapshot was made", "full", "zones/", "free space"]);
        assert!(!said.stderr.contains("panicked"), "{}", said.stderr);
        assert_eq!(said.stdout, "");
    }
    let list = run(&home, &["snapshot", "list", "--json"]).ok().json();
    assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");
    run(&home, &["verify"]).ok();
    run(&home, &["log", "verify"]).ok();
    let to = fleet.path("restored");
    let args = ["restore", "run", arg(&request), "--approval", arg(&a), "--approval", arg(&b)];
    run(&home, &[&args[..], &["--to", arg(&to)]].concat()).ok();
    assert_same(&first, &restored(&to, &first));
    disk.grow(80);
    let said = run(&home, &["snapshot", "create", arg(&second), "--json"]).ok();
    run(&home, &["verify"]).ok();
    let to = fleet.path("restored-second");
    fleet.restore(&home, said.json()["id"].as_str().expect("an id"), &to).ok();
    assert_same(&second, &restored(&to, &second));
}

#[test]
fn a_full_region_is_named_to_the_node_and_recovers() {
    let fleet = Fleet::found();
    let mut first = fleet.region("region");
    first.kill();
    let Some(disk) = SmallDisk::mount(fleet.path("small"), 16) else { return };
    copy(&first.home, &disk.path("region"));
    let mut region = Region::start(disk.path("region"), first.address());
    let second = fleet.second_node("node-2");
    let small = fleet.snapshot(&fleet.tree("small-tree"));
    fleet.run(&["sync"]).ok();
    let tree = long_tree(&fleet, "long", 2, 24);
    let long = fleet.snapshot(&tree);
    for _ in 0..2 {
        let said = fleet.run(&["sync", "--json"]).code(1);
        let said = said.says(&["region", &region.address(), "disk is full", "free space"]);
        assert_eq!(said.json()[0]["ok"], false);
    }
    let listed = |count| {
        let list = run(&second, &["snapshot", "list", "--all", "--json"]).ok().json();
        assert_eq!(list.as_array().map(Vec::len), Some(count), "{list}");
        assert_eq!(list[0]["id"], small.as_str());
    };
    listed(1);
    region.kill();
    run(&region.home, &["verify"]).ok();
    region.resume();
    disk.grow(80);
    let synced = fleet.run(&["sync", "--json"]).ok().json();
    assert_eq!(synced[0]["receipts"], 1, "{synced}");
    listed(2);
    let to = fleet.path("restored");
    fleet.restore(&second, &long, &to).ok();
    assert_same(&tree, &restored(&to, &tree));
    region.stop();
    run(&region.home, &["verify"]).ok();
}

#[test]
fn a_region_that_fills_while_it_runs_needs_no_restart() {
    let fleet = Fleet::found();
    let mut first = fleet.region("region");
    first.kill();
    let Some(disk) = SmallDisk::mount(fleet.path("small"), 16) else { return };
    copy(&first.home, &disk.path("region"));
    let region = Region::start(disk.path("region"), first.address());
    fleet.snapshot(&long_tree(&fleet, "long", 2, 24));
    fleet.run(&["sync"]).code(1).says(&["disk is full"]);
    disk.grow(80);
    fleet.run(&["sync"]).ok();
    drop(region);
    run(&disk.path("region"), &["verify"]).ok();
}

#[test]
fn a_full_target_is_named_and_resumed() {
    let fleet = Fleet::found();
    let tree = long_tree(&fleet, "tree", 3, 12);
    let id = fleet.snapshot(&tree);
    let request = fleet.request(&fleet.home(), &id, "request.json");
    let a = fleet.approve(&request, 0, "a.json");
    let b = fleet.approve(&request, 1, "b.json");
    let Some(disk) = SmallDisk::mount(fleet.path("small"), 6) else { return };
    let to = disk.path("restored");
    let args = ["restore", "run", arg(&request), "--approval", arg(&a), "--approval", arg(&b)];
    let args = [&args[..], &["--to", arg(&to)]].concat();
    let said = fleet.run(&args).code(1).says(&["No space left", "--resume"]);
    assert!(said.stderr.contains("tree/"), "the file is named: {}", said.stderr);
    let resume = [&args[..], &["--resume"]].concat();
    fleet.run(&resume).code(1).says(&["No space left"]);
    disk.grow(40);
    fleet.run(&resume).ok();
    assert_same(&tree, &restored(&to, &tree));
}
