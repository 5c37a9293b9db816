//! The house: which room may use which.
//!
//! Two questions are asked, of the manifests and of the resolved graph. Direct edges are checked
//! against the table below, so a new edge is a decision somebody writes down. Edges that would
//! break a promise (a region that can open what it keeps) are looked for at any distance. Edges
//! of tests are free.

use std::io;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::Complaint;

/// One room, its floor and the rooms it may use.
struct Room {
    name: &'static str,
    floor: u8,
    may_use: &'static [&'static str],
}

const fn room(name: &'static str, floor: u8, may_use: &'static [&'static str]) -> Room {
    Room { name, floor, may_use }
}

/// Beside the house: used by nobody inside it.
const BESIDE: u8 = u8::MAX;

/// The floors from which on there is a network.
const NETWORKED: u8 = 5;

/// Every crate of the workspace, without its `seawall-`.
const HOUSE: &[Room] = &[
    room("base", 0, &[]),
    room("host", 1, &["base"]),
    room("sign", 1, &["base"]),
    room("seal", 1, &["base"]),
    room("policy", 1, &["base"]),
    room("tlog", 2, &["base", "sign"]),
    room("record", 2, &["base", "sign", "policy"]),
    room("escrow", 2, &["base", "sign", "record"]),
    room("store", 2, &["base"]),
    room("sync", 3, &["base", "sign", "tlog", "record", "store"]),
    room("backup", 4, &["base", "sign", "seal", "tlog", "record", "escrow", "store"]),
    room("link", 5, &["sign"]),
    room(
        "region",
        6,
        &["base", "host", "sign", "policy", "tlog", "record", "store", "sync", "link"],
    ),
    room("custodian", 6, &["base", "host", "sign", "policy", "tlog", "record", "escrow", "link"]),
    room(
        "node",
        6,
        &[
            "base",
            "host",
            "sign",
            "seal",
            "policy",
            "tlog",
            "record",
            "escrow",
            "store",
            "sync",
            "backup",
            "link",
            "custodian",
        ],
    ),
    room(
        "seawall",
        7,
        &[
            "base",
            "host",
            "sign",
            "seal",
            "policy",
            "tlog",
            "record",
            "escrow",
            "store",
            "sync",
            "backup",
            "link",
            "node",
            "region",
            "custodian",
        ],
    ),
    room("sim", BESIDE, &["base"]),
    room("xtask", BESIDE, &[]),
];

/// What a root must not link, at any distance.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("seawall-region", &["seawall-seal", "seawall-escrow", "seawall-backup"]),
    ("seawall-custodian", &["seawall-seal", "seawall-store", "seawall-backup"]),
];

/// The network and its runtime.
const NETWORK: &[&str] =
    &["tokio", "tokio-rustls", "hyper", "hyper-util", "http-body-util", "rustls", "reqwest"];

pub(super) fn check(root: &Path) -> io::Result<Vec<Complaint>> {
    let metadata = cargo(root, &["metadata", "--no-deps", "--format-version", "1"])?;
    let edges = direct_edges(&serde_json::from_str(&metadata)?);
    let mut found = check_edges(&edges);
    for (package, forbidden) in FORBIDDEN {
        let linked = cargo(root, &["tree", "-p", package, "-e", "normal", "--prefix", "none"])?;
        found.extend(check_linked(package, &linked, forbidden));
    }
    for room in HOUSE.iter().filter(|room| room.floor < NETWORKED) {
        let package = format!("seawall-{}", room.name);
        let linked = cargo(root, &["tree", "-p", &package, "-e", "normal", "--prefix", "none"])?;
        found.extend(check_linked(&package, &linked, NETWORK));
    }
    Ok(found)
}

fn cargo(root: &Path, arguments: &[&str]) -> io::Result<String> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program)
        .args(arguments)
        .args(["--offline", "--quiet"])
        .current_dir(root)
        .output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("cargo {}: {said}", arguments.join(" "))));
    }
    String::from_utf8(output.stdout).map_err(io::Error::other)
}

fn short(package: &str) -> &str {
    package.strip_prefix("seawall-").unwrap_or(package)
}

/// (package, the package of this workspace it uses or nothing); tests' edges left out.
fn direct_edges(metadata: &Value) -> Vec<(String, Option<String>)> {
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_else(Vec::new);
    let name = |value: &Value| value["name"].as_str().map(ToOwned::to_owned);
    let mut edges = Vec::new();
    for package in list(metadata, "packages") {
        let Some(from) = name(&package) else { continue };
        edges.push((from.clone(), None));
        for dependency in list(&package, "dependencies") {
            if dependency["kind"].as_str() != Some("dev") && dependency["path"].is_string() {
                edges.push((from.clone(), name(&dependency)));
            }
        }
    }
    edges
}

fn complaint(package: &str, item: &str, what: String) -> Complaint {
    let path = match package {
        "xtask" => "xtask/Cargo.toml".into(),
        _ => format!("crates/{package}/Cargo.toml"),
    };
    Complaint { rule: "floors", path, line: 0, item: item.into(), what }
}

fn check_edges(edges: &[(String, Option<String>)]) -> Vec<Complaint> {
    let mut found = Vec::new();
    for (from, to) in edges {
        let room = HOUSE.iter().find(|room| room.name == short(from));
        match (room, to) {
            (None, None) => {
                let what = format!("`{from}` has no floor: add it to xtask/src/tidy/floors.rs");
                found.push(complaint(from, from, what));
            }
            (Some(room), Some(to)) if !room.may_use.contains(&short(to)) => {
                let what = format!("`{from}` may not use `{to}`; it may use {:?}", room.may_use);
                found.push(complaint(from, to, what));
            }
            _ => {}
        }
    }
    found
}

/// `linked` is what `cargo tree --prefix none` prints: a package a line, its name first.
fn check_linked(package: &str, linked: &str, forbidden: &[&str]) -> Vec<Complaint> {
    let names = linked.lines().filter_map(|line| line.split(' ').next());
    let mut bad: Vec<_> = names.filter(|name| forbidden.contains(name)).collect();
    bad.sort_unstable();
    bad.dedup();
    let what = |name| {
        format!(
            "`{package}` links `{name}`, which it must not: `cargo tree -p {package} -i {name}`"
        )
    };
    bad.into_iter().map(|name| complaint(package, name, what(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The floors from which on there are files, clocks and randomness.
    const ROOTS: u8 = 6;

    #[test]
    fn the_table_only_leads_downstairs() {
        let floor = |name: &str| {
            HOUSE.iter().find(|room| room.name == name).map(|room| room.floor).expect("a room")
        };
        let mut sideways = Vec::new();
        for room in HOUSE {
            for used in room.may_use {
                let used_floor = floor(used);
                assert!(used_floor <= room.floor, "{} climbs to {used}", room.name);
                assert!(*used != "host" || room.floor >= ROOTS, "{} opens files", room.name);
                if used_floor == room.floor {
                    sideways.push((room.name, *used));
                }
            }
        }
        assert_eq!(sideways, [("escrow", "record"), ("node", "custodian")]);
    }

    #[test]
    fn edges_the_table_lacks_are_refused() {
        let edge =
            |from: &str, to: &str| (format!("seawall-{from}"), Some(format!("seawall-{to}")));
        assert_eq!(check_edges(&[edge("node", "custodian"), edge("escrow", "record")]), []);
        for (from, to) in [("region", "seal"), ("store", "sign"), ("sync", "sim")] {
            let found = check_edges(&[edge(from, to)]);
            assert_eq!(found.len(), 1, "{from} {to}");
            assert_eq!(found[0].path, format!("crates/seawall-{from}/Cargo.toml"));
        }
    }

    #[test]
    fn a_crate_without_a_floor_is_refused() {
        assert_eq!(check_edges(&[("seawall-attic".into(), None)]).len(), 1);
        assert_eq!(check_edges(&[("seawall-base".into(), None)]), []);
    }

    #[test]
    fn only_edges_of_tests_are_free() {
        let metadata = serde_json::json!({ "packages": [{
            "name": "seawall-store",
            "dependencies": [
                { "name": "seawall-sim", "kind": "dev", "path": "/a" },
                { "name": "seawall-sign", "kind": null, "path": "/b" },
                { "name": "blake3", "kind": null },
            ],
        }]});
        let edges = direct_edges(&metadata);
        let store = || "seawall-store".to_owned();
        assert_eq!(edges, [(store(), None), (store(), Some("seawall-sign".into()))]);
    }

    #[test]
    fn forbidden_links_are_found_at_any_distance() {
        let linked = "seawall-region v0.1.0 (/a)\nseawall-sync v0.1.0 (/b)\nseawall-seal v0.1.0 (/c)\nseawall-seal v0.1.0 (/c) (*)\n";
        let (package, forbidden) = FORBIDDEN[0];
        let found = check_linked(package, linked, forbidden);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].item, "seawall-seal");
        assert_eq!(check_linked(package, "seawall-region v0.1.0\nserde v1.0.0\n", forbidden), []);
        assert_eq!(check_linked("seawall-sync", "tokio v1.54.0\n", NETWORK).len(), 1);
    }
}
