//! Tokens as an operator meets them: not at all.

use std::collections::BTreeSet;
use std::path::Path;

use crate::harness::{Fleet, Region, arg, run};

/// Tokens of a kind in a region's ledger (docs/formats/token.md).
fn tokens(region: &Region, kind: u8) -> usize {
    let ledger = std::fs::read(region.home.join("tokens/ledger")).expect("a ledger");
    let records = ledger[8..].chunks(89).filter(|record| record[0] == kind);
    records.map(|record| &record[1..33]).collect::<BTreeSet<_>>().len()
}

fn sync(home: &Path) {
    run(home, &["sync"]).ok();
}

#[test]
fn a_node_issues_its_own_tokens_at_a_second_region_while_the_first_is_away() {
    let fleet = Fleet::found();
    let mut first = fleet.region("region-a");
    fleet.snapshot(&fleet.tree("one"));
    sync(&fleet.home());
    assert!(tokens(&first, 1) > 0, "asked for at first");
    let delegation = fleet.home().join("delegations/region-a.json");
    assert!(delegation.exists(), "the first region delegated");
    first.stop();
    let mut second = fleet.region("region-b");
    fleet.snapshot(&fleet.tree("two"));
    // The first does not answer: that is what the exit code says.
    let said = fleet.run(&["sync", "--json"]).code(1).json();
    assert_eq!(said[1]["ok"], true, "{said}");
    assert!(tokens(&second, 2) > 0, "tokens of the node's own issue");
    let admin_only = tokens(&second, 1);
    assert_eq!(admin_only, 1, "asked for what cannot be delegated only");
    // A delegation nobody can read costs a round trip, no more.
    for name in ["region-a", "region-b"] {
        let path = fleet.home().join(format!("delegations/{name}.json"));
        std::fs::write(&path, "{}").expect("written");
    }
    second.stop();
    second.resume();
    let args = ["snapshot", "list", "--all", "--json"];
    let said = fleet.run(&args).ok().says(&["delegation", "passed over"]);
    assert_eq!(said.json().as_array().expect("a list").len(), 2);
    assert!(tokens(&second, 1) > admin_only, "asked again");
    second.stop();
    let home = second.home.clone();
    run(&home, &["verify"]).ok();
    assert!(arg(&home).contains("region-b"));
}

#[test]
fn a_lost_ledger_stops_nobody() {
    let fleet = Fleet::found();
    let mut region = fleet.region("region-a");
    fleet.snapshot(&fleet.tree("one"));
    sync(&fleet.home());
    region.kill();
    std::fs::remove_dir_all(region.home.join("tokens")).expect("removed");
    region.resume();
    fleet.snapshot(&fleet.tree("two"));
    sync(&fleet.home());
    assert_eq!(tokens(&region, 2), 0, "delegated tokens wait");
    assert!(tokens(&region, 1) > 0);
}
