//! Large snapshots, killed in the middle and run again: what had a checkpoint is neither read nor
//! sealed a second time.
//!
//! Checkpoints come every 256 MiB of new bytes or 5 seconds. Where a test cannot wait for the one
//! or the other, it stops the program for those seconds: the clock goes on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Fleet, arg, assert_same, end, noise_of, restored, signal, start, wait_until};

/// Bytes in the files of a directory of the home.
fn bytes_in(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    files.filter_map(|file| file.metadata().ok()).map(|m| m.len()).sum()
}

/// What the file cache of a run that has not ended knows.
fn noted(fleet: &Fleet) -> u64 {
    let files = std::fs::read_dir(fleet.home().join("cache")).into_iter().flatten();
    let next = files.filter_map(Result::ok).find(|f| f.path().extension() == Some("next".as_ref()));
    next.map_or(0, |file| file.metadata().map_or(0, |m| m.len()))
}

/// Starts a snapshot of `tree`, kills it when `when` says so, and makes it: the second run's figures.
/// What it made is compared with the tree.
fn killed_and_made(fleet: &Fleet, tree: &Path, when: impl FnOnce(&std::process::Child)) -> Value {
    // So that files are old enough to be believed unchanged.
    std::thread::sleep(Duration::from_secs(3));
    let args = ["snapshot", "create", arg(tree), "--json"];
    let mut child = start(&fleet.home(), &args);
    when(&child);
    assert!(child.try_wait().expect("a child").is_none(), "it ended before it was killed");
    child.kill().expect("killed");
    end(child);
    let list = fleet.run(&["snapshot", "list", "--json"]).ok().json();
    assert_eq!(list.as_array().map(Vec::len), Some(0), "half a snapshot is none");
    let made = fleet.run(&args).ok().json();
    fleet.run(&["verify"]).ok();
    let to = fleet.path("restored");
    fleet.restore(&fleet.home(), made["id"].as_str().expect("an id"), &to).ok();
    assert_same(tree, &restored(&to, tree));
    made
}

fn number(made: &Value, name: &str) -> u64 {
    made[name].as_u64().unwrap_or_else(|| panic!("{name}: {made}"))
}

/// Of `all` bytes, 256 MiB had their checkpoint. Lengths are padded by a few per cent.
#[track_caller]
fn assert_spared(made: &Value, all: u64) {
    let new = number(made, "new_bytes");
    assert!(new < all - (256 << 20) + all / 16, "{new} of {all} were sealed again");
}

/// How often a process has called read.
fn reads(child: &std::process::Child) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{}/io", child.id())).expect("it runs");
    let count = io.lines().find_map(|line| line.strip_prefix("syscr: ")).expect("a count");
    count.parse().expect("a number")
}

fn new_tree(fleet: &Fleet) -> PathBuf {
    let tree = fleet.path("tree");
    std::fs::create_dir(&tree).expect("made");
    tree
}

#[test]
fn hundreds_of_mebibytes_killed_in_the_middle_are_not_sealed_again() {
    const FILES: u64 = 96;
    let fleet = Fleet::found();
    let tree = new_tree(&fleet);
    for n in 0..FILES {
        let dir = tree.join(format!("d{}", n % 8));
        std::fs::create_dir_all(&dir).expect("made");
        std::fs::write(dir.join(n.to_string()), noise_of(n, 4 << 20)).expect("written");
    }
    let zones = fleet.home().join("zones");
    let made = killed_and_made(&fleet, &tree, |_| {
        wait_until("it is past a checkpoint", || bytes_in(&zones) > 300 << 20);
        wait_until("which is noted", || noted(&fleet) > 4_000);
    });
    assert_eq!((number(&made, "files"), number(&made, "bytes")), (FILES, FILES << 22));
    assert_spared(&made, FILES << 22);
    // 256 MiB had their checkpoint: 64 files of 4 MiB, but for what was in flight.
    let unchanged = number(&made, "unchanged");
    assert!(unchanged >= 48, "only {unchanged} files were not read again");
}

#[test]
fn one_very_long_file_killed_inside_it_is_not_sealed_again() {
    const LEN: usize = 320 << 20;
    let fleet = Fleet::found();
    let tree = new_tree(&fleet);
    std::fs::write(tree.join("image"), noise_of(1, LEN)).expect("written");
    let zones = fleet.home().join("zones");
    let made = killed_and_made(&fleet, &tree, |_| {
        wait_until("it is near the end", || bytes_in(&zones) > 280 << 20);
    });
    assert_spared(&made, LEN as u64);
}

#[test]
fn one_directory_of_very_many_files_killed_inside_it_is_not_read_again() {
    const FILES: u64 = 6_000;
    let fleet = Fleet::found_in_memory();
    let tree = new_tree(&fleet);
    for n in 0..FILES {
        std::fs::write(tree.join(format!("{n:05}")), n.to_le_bytes()).expect("written");
    }
    let made = killed_and_made(&fleet, &tree, |child| {
        // Without a pause: it reads many in a few milliseconds.
        while reads(child) < 1_000 {
            std::hint::spin_loop();
        }
        signal(child, Signal::STOP);
        std::thread::sleep(Duration::from_secs(5));
        signal(child, Signal::CONT);
        wait_until("a checkpoint", || noted(&fleet) > 16);
    });
    assert_eq!(number(&made, "files"), FILES);
    let unchanged = number(&made, "unchanged");
    assert!(unchanged > 100, "only {unchanged} files were not read again");
}
