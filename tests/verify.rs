//! `verify` of a part, and mending from another tier.

use std::path::Path;

use crate::harness::{Fleet, arg, assert_same, noise, noise_of, restored};

const ZONE: &str = "zones/0000000000000000.zone";

/// Inverts bytes in the middle of the bodies of a few objects.
fn damage(home: &Path, at: &[usize]) {
    let path = home.join(ZONE);
    let mut bytes = std::fs::read(&path).expect("a zone");
    for at in at {
        bytes[*at] ^= 0xff;
    }
    std::fs::write(&path, bytes).expect("written");
}

#[test]
fn a_region_mends_a_node_and_says_so() {
    let fleet = Fleet::found();
    let _region = fleet.region("region-a");
    let tree = fleet.tree("tree");
    std::fs::write(tree.join("more.bin"), noise_of(3, 3 << 20)).expect("written");
    let id = fleet.snapshot(&tree);
    fleet.run(&["sync"]).ok();
    damage(&fleet.home(), &[1 << 20, 3 << 20, 5 << 20]);
    let found = fleet.run(&["verify", "--json"]).code(1).says(&["verify --repair"]).json();
    assert!(found["findings"].as_array().is_some_and(|f| !f.is_empty()), "{found}");
    let mended = fleet.run(&["verify", "--repair", "--json"]).ok().json();
    assert_eq!(mended["ok"], true);
    assert_eq!(mended["repaired"][0]["from"], "region-a");
    assert!(mended["repaired"][0]["objects"].as_u64() >= Some(2), "{mended}");
    let clean = fleet.run(&["verify", "--json"]).ok().json();
    assert_eq!(
        (clean["ok"].as_bool(), clean["repaired"].as_array().map(Vec::len)),
        (Some(true), Some(0))
    );
    let to = fleet.path("restored");
    fleet.restore(&fleet.home(), &id, &to).ok();
    assert_same(&tree, &restored(&to, &tree));
}

#[test]
fn a_bucket_gives_back_a_store_that_is_gone() {
    let elsewhere = tempfile::tempdir().expect("a directory");
    let fleet = Fleet::found_with(&["--profile", "solo", "--bucket", arg(elsewhere.path())]);
    let tree = fleet.tree("tree");
    fleet.snapshot(&tree);
    fleet.run(&["sync"]).ok();
    for dir in ["zones", "index"] {
        // Pages of the reference set are gone too: they come first, and tell of the rest.
        let _ = std::fs::remove_dir_all(fleet.home().join(dir));
    }
    fleet.run(&["verify"]).code(1);
    let said = fleet.run(&["verify", "--repair"]).ok();
    assert!(said.stdout.contains("repaired from bucket"), "{}", said.stdout);
    fleet.run(&["verify"]).ok();
}

#[test]
fn what_nobody_has_stays_a_finding() {
    let fleet = Fleet::found();
    let tree = fleet.path("tree");
    std::fs::create_dir_all(&tree).expect("a directory");
    std::fs::write(tree.join("file"), noise(2 << 20)).expect("written");
    fleet.snapshot(&tree);
    damage(&fleet.home(), &[1 << 20]);
    fleet.run(&["verify", "--repair"]).code(1).says(&["is damaged"]);
    fleet.run(&["verify"]).code(1);
}

#[test]
fn parts_together_are_everything() {
    let fleet = Fleet::found();
    let tree = fleet.tree("tree");
    std::fs::write(tree.join("more.bin"), noise_of(5, 6 << 20)).expect("written");
    fleet.snapshot(&tree);
    let read = |subset: &str| {
        let said = fleet.run(&["verify", "--json", "--read-data-subset", subset]).ok().json();
        let number = |field: &str| said[field].as_u64().expect("a number");
        (number("objects"), number("skipped"))
    };
    let (all, none) = read("100%");
    assert_eq!(none, 0);
    let parts: Vec<_> = (1..=3).map(|n| read(&format!("{n}/3"))).collect();
    assert_eq!(parts.iter().map(|p| p.0).sum::<u64>(), all);
    assert!(parts.iter().all(|(read, skipped)| read + skipped == all));
    let (few, left) = read("1MiB");
    assert!(few < all && few + left == all);
    damage(&fleet.home(), &[4 << 20]);
    let codes: Vec<i32> = (1..=3)
        .map(|n| fleet.run(&["verify", "--read-data-subset", &format!("{n}/3")]).code)
        .collect();
    assert_eq!(codes.iter().sum::<i32>(), 1, "one part has it: {codes:?}");
    fleet.run(&["verify", "--read-data-subset", "4/3"]).code(2).says(&["5%"]);
}
