//! Commands beside one another that `prune` does not meet: two snapshots of the same paths; and
//! looking into a snapshot, mounted or as an archive, while prune takes away all around it.
//!
//! The matrix of what may meet is in docs/decisions/0012-retention.md.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::browse::{Mounted, Open};
use crate::harness::{arg, assert_same, copy, end, restored, start};
use crate::prune::{World, id_of, ids, prune_args};

/// A prune of all but the last snapshot that rewrites every zone in which something is unneeded,
/// while the first of three snapshots is being read.
fn prune_around(it: &World) -> Value {
    let plan = it.fleet.run(&prune_args(&["--plan", "--json"])).ok().json();
    assert_eq!(plan["snapshots"][0]["reasons"], json!(["being read"]), "{plan}");
    let done = it.prune(&["--rewrite-below", "100"]);
    assert_eq!(done["forgotten"].as_array().map(Vec::len), Some(1), "{done}");
    assert_eq!(done["rewritten_zones"], 1, "{done}");
    done
}

/// Three snapshots; the tree of the first is kept aside.
fn three() -> (World, Vec<String>, std::path::PathBuf) {
    let mut it = World::new();
    it.change(24 << 20);
    let first = it.snapshot();
    let kept = it.fleet.path("kept");
    copy(&it.tree, &kept);
    let mut made = vec![first];
    made.extend(it.history(2));
    (it, made, kept)
}

#[test]
fn what_is_mounted_stays_readable_while_all_around_it_is_pruned() {
    let (it, made, kept) = three();
    let open = Open::new(&it.fleet, &made[0]);
    let mounted = Mounted::new(&open, &it.fleet.path("mnt"), &[]);
    // Open before, read after: what it needs has moved meanwhile.
    let mut held = fs::File::open(mounted.at(&it.tree).join("zz-large")).expect("opened");
    let mut all = vec![0; 1 << 20];
    held.read_exact(&mut all).expect("read");
    prune_around(&it);
    held.read_to_end(&mut all).expect("read");
    assert!(all == fs::read(kept.join("zz-large")).expect("read"));
    drop(held);
    assert_same(&kept, &mounted.at(&it.tree));
    mounted.signalled().ok();
    it.fleet.run(&["verify"]).ok();
    // Nobody reads it any more.
    let done = it.prune(&[]);
    assert_eq!(done["forgotten"].as_array().map(Vec::len), Some(1), "{done}");
    assert_eq!(ids(&it.listed(false)), [&made[2]]);
}

#[test]
fn an_archive_under_way_is_whole_while_all_around_it_is_pruned() {
    let (it, made, kept) = three();
    let open = Open::new(&it.fleet, &made[0]);
    let args = [&["export", arg(&open.request), "--tar"], &open.approvals()[..]].concat();
    let mut export = start(&open.home, &args);
    // The pipe holds it up: it is somewhere in the large file until the rest is taken.
    let mut archive = vec![0; 4 << 20];
    let mut out = export.stdout.take().expect("it is a pipe");
    out.read_exact(&mut archive).expect("it writes");
    prune_around(&it);
    out.read_to_end(&mut archive).expect("it goes on");
    end(export).ok();
    let to = it.fleet.path("extracted");
    fs::create_dir(&to).expect("made");
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--preserve-permissions", "--numeric-owner", "-C", arg(&to)]);
    let mut tar = tar.stdin(Stdio::piped()).spawn().expect("tar runs");
    tar.stdin.take().expect("it is a pipe").write_all(&archive).expect("taken");
    assert!(tar.wait().expect("it ends").success());
    assert_same(&kept, &restored(&to, &it.tree));
}

/// The second does without the file cache, which the first has; both are whole, and the one after
/// them reads nothing that did not change.
#[test]
fn two_snapshots_of_the_same_paths_at_once_are_both_whole() {
    let mut it = World::new();
    it.history(1);
    let first = it.stopped_snapshot();
    let second = it.snapshot();
    first.signal(Signal::CONT);
    let first = id_of(&first.end().ok());
    it.fleet.run(&["verify"]).ok();
    it.fleet.run(&["log", "verify"]).ok();
    assert_eq!(ids(&it.listed(false))[1..], [&second, &first]);
    for id in [&first, &second] {
        let tree = it.tree.clone();
        it.restores(id, &tree);
    }
    std::thread::sleep(std::time::Duration::from_secs(3));
    it.snapshot();
    let last = it.fleet.run(&["snapshot", "create", arg(&it.tree), "--json"]).ok().json();
    assert_eq!(last["unchanged"], last["files"], "{last}");
}
