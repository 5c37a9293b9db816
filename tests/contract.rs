//! What scripts and people may rely on: help, JSON, exit codes, names and modes of files.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use seawall_base::Sha256;
use serde_json::Value;

use crate::harness::{Fleet, PASSPHRASE, Said, arg, run, said, seawall, seawall_bound_by_modes};

/// Every command by its words, found in the help itself so that none can be forgotten.
fn commands() -> Vec<Vec<String>> {
    let mut leaves = Vec::new();
    let mut groups = vec![Vec::new()];
    while let Some(group) = groups.pop() {
        let below = subcommands(&help(&group).stdout);
        if below.is_empty() {
            leaves.push(group);
        } else {
            groups.extend(below.into_iter().map(|name| [group.clone(), vec![name]].concat()));
        }
    }
    leaves.sort();
    leaves
}

fn help(words: &[String]) -> Said {
    said(seawall().args(words).arg("--help")).ok()
}

fn subcommands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|l| *l != "Commands:").skip(1);
    lines
        .take_while(|l| l.starts_with("  "))
        .filter(|l| !l.starts_with("   "))
        .filter_map(|l| l.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_has_help_with_an_example_of_itself() {
    let commands = commands();
    let promised = [
        "demo",
        "init",
        "snapshot create",
        "snapshot list",
        "snapshot show",
        "restore request",
        "restore approve",
        "restore run",
        "verify",
        "fleet show",
        "fleet bundle",
        "fleet sheet",
        "node enroll",
        "region init",
        "region run",
        "sync",
        "log show",
        "log prove",
        "log verify",
    ];
    for name in promised {
        assert!(commands.iter().any(|c| c.join(" ") == name), "{name} is promised");
    }
    for words in &commands {
        let text = help(words).stdout;
        let example = text.lines().find(|l| l.starts_with("Example: seawall "));
        let example = example.unwrap_or_else(|| panic!("{words:?} has no example: {text}"));
        assert!(example.contains(&words.join(" ")), "{words:?} shows another command: {example}");
        for flag in ["--json", "--home", "--quiet", "--verbose"] {
            assert!(text.contains(flag), "{words:?} does not take {flag}");
        }
    }
}

#[test]
fn manual_pages_and_completions_cover_every_command() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let pages = dir.path().join("man/man1");
    run(dir.path(), &["man", arg(&pages)]).ok();
    for words in commands() {
        let page = pages.join(format!("seawall-{}.1", words.join("-")));
        let text = std::fs::read_to_string(&page).unwrap_or_else(|e| panic!("{page:?}: {e}"));
        assert!(text.contains("Example: seawall"), "{page:?} has no example");
    }
    assert!(pages.join("seawall.1").is_file());
    for (shell, mark) in [("bash", "_seawall()"), ("zsh", "#compdef seawall"), ("fish", "complete")]
    {
        let script = run(dir.path(), &["completions", shell]).ok().stdout;
        for word in [mark, "snapshot", "approve", "enroll"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        let json = run(dir.path(), &["completions", shell, "--json"]).ok().json();
        assert_eq!((&json["shell"], &json["script"]), (&shell.into(), &script.into()));
    }
    run(dir.path(), &["completions", "tcsh"]).code(2);
}

#[test]
fn every_result_is_json_and_nothing_else() {
    let fleet = Fleet::found();
    let tree = fleet.tree("tree");
    let json = |args: &[&str]| fleet.run(&[args, &["--json"]].concat()).ok().json();
    assert_eq!(json(&["snapshot", "list"]), Value::Array(Vec::new()));
    // The loudest log there is goes to stderr, too.
    let first = json(&["snapshot", "create", arg(&tree), "-vvv"]);
    std::fs::write(tree.join("new"), "another file").expect("written");
    let second = json(&["snapshot", "create", arg(&tree)]);
    let id = second["id"].as_str().expect("an id");
    assert_ne!(first["id"], second["id"]);
    let list = json(&["snapshot", "list"]);
    assert_eq!((&list[0]["id"], &list[1]["id"]), (&first["id"], &second["id"]), "oldest first");
    assert_eq!(list[1]["sequence"], 2);
    assert_eq!(json(&["snapshot", "show", &id[..8]])["id"], id);
    let log = json(&["log", "show"]);
    for (i, entry) in log.as_array().expect("a list").iter().enumerate() {
        assert_eq!(entry["index"], i, "oldest first");
        assert_eq!(entry["id"].as_str().expect("an id").len(), 64);
    }
    let kinds: Vec<_> = log.as_array().expect("a list").iter().map(|e| &e["kind"]).collect();
    assert_eq!(kinds, ["enrolment", "subkey", "snapshot", "snapshot"]);
    assert_eq!(log[3]["id"], id);
    assert_eq!(json(&["log", "prove", "3"])["index"], 3);
    assert_eq!(json(&["log", "verify"])["ok"], true);
    assert_eq!(json(&["log", "export", arg(&fleet.path("tiles"))])["entries"], 4);
    assert_eq!(json(&["verify"])["ok"], true);
    let shown = json(&["fleet", "show"]);
    assert_eq!(shown["groups"][0]["custodians"].as_array().map(Vec::len), Some(3));
    assert_eq!(json(&["fleet", "card"])["format"], "seawall-fleet/1");
    assert_eq!(json(&["fleet", "sheet"])["fleet"], shown["fleet"]);
    let man = fleet.path("man");
    assert_eq!(json(&["man", arg(&man)])["dir"], arg(&man));
    // Documents that go to a file: the result says where.
    for command in ["card", "sheet"] {
        let out = fleet.path(command);
        assert_eq!(json(&["fleet", command, "--out", arg(&out)])["file"], arg(&out));
        assert!(out.is_file());
    }
    let (policy, rules) = (fleet.path("policy.json"), fleet.path("rules.json"));
    let propose = ["fleet", "policy", "propose", "--deletion-min-days", "30"];
    let policy =
        json(&[&propose[..], &["--deletion-custodians", "2", "--out", arg(&policy)]].concat());
    assert_eq!(policy["complete"], true);
    assert!(policy["file"].is_string());
    let propose = ["fleet", "retention", "propose", "--keep-last", "3", "--out", arg(&rules)];
    assert_eq!(json(&propose)["file"], arg(&rules));
    fleet.run(&["fleet", "policy", "apply", arg(&fleet.path("policy.json"))]).ok();
    let delete = fleet.path("delete.json");
    let propose = ["snapshot", "delete", "propose", id, "--even-last", "--reason", "x", "--out"];
    assert_eq!(json(&[&propose[..], &[arg(&delete)]].concat())["file"], arg(&delete));
    quorum_results(&fleet, id);
}

/// The results of asking, approving and restoring.
fn quorum_results(fleet: &Fleet, id: &str) {
    let (request, out) = (fleet.path("req.json"), fleet.path("approval.json"));
    let args = ["restore", "request", id, "--reason", "r", "--out", arg(&request), "--json"];
    let asked = fleet.run(&args).ok().json();
    assert_eq!((&asked["snapshot"], &asked["threshold"]), (&id.into(), &2.into()));
    let share = fleet.shares().remove(2);
    let args = ["restore", "approve", arg(&request), "--share", arg(&share)];
    let said = fleet.run(&[&args[..], &["--out", arg(&out), "--yes", "--json"]].concat()).ok();
    assert_eq!((&said.json()["request"], &said.json()["index"]), (&asked["request"], &3.into()));
    // What a custodian must see is on stderr, so that stdout stays JSON.
    let said = said.says(&["a test", "node-1", "2 approvals needed", "in the log at index"][1..]);
    said.says(&["reason     \"r\""]);
    let restored = fleet.restore(&fleet.home(), id, &fleet.path("to")).ok().json();
    assert_eq!((&restored["snapshot"], &restored["files"]), (&id.into(), &5.into()));
    assert_eq!(restored["custodians"], serde_json::json!([1, 2]));
}

#[test]
fn members_and_regions_speak_json() {
    let fleet = Fleet::found();
    let region = fleet.region("region");
    let second = fleet.second_node("node-2");
    let bundle = fleet.path("again.json");
    let card = fleet.path("node-2-card.json");
    let args = ["fleet", "bundle", arg(&card), "--out", arg(&bundle), "--json"];
    assert_eq!(fleet.run(&args).ok().json()["file"], arg(&bundle));
    let joined = run(&second, &["node", "enroll", arg(&bundle), "--json"]).ok().json();
    let shown = fleet.run(&["fleet", "show", "--json"]).ok().json();
    assert_eq!((&joined["fleet"], &joined["name"]), (&shown["fleet"], &"node-2".into()));
    assert_eq!(shown["regions"][0]["name"], "region");
    let keys = run(&fleet.path("node-3"), &["node", "keys", "--name", "three", "--json"]);
    assert_eq!(keys.ok().json()["name"], "three");
    fleet.snapshot(&fleet.tree("tree"));
    let sync = fleet.run(&["sync", "--json"]).ok().json();
    assert_eq!((&sync[0]["id"], &sync[0]["ok"]), (&"region".into(), &true.into()));
    let list = run(&second, &["snapshot", "list", "--all", "--json"]).ok().json();
    assert_eq!(list.as_array().map(Vec::len), Some(1));
    drop(region);
    assert_eq!(run(&fleet.path("region"), &["verify", "--json"]).ok().json()["ok"], true);
}

#[test]
fn words_go_to_stderr_and_quiet_silences_them() {
    let fleet = Fleet::found();
    let tree = fleet.tree("tree");
    let said = fleet.run(&["snapshot", "create", arg(&tree), "--quiet"]).ok();
    assert_eq!(said.stderr, "");
    let id = said.stdout.lines().next().expect("the id comes first").to_owned();
    assert_eq!(id.len(), 64);
    let request = fleet.request(&fleet.home(), &id, "req.json");
    let share = fleet.shares().remove(0);
    let out = fleet.path("a.json");
    let args = ["restore", "approve", arg(&request), "--share", arg(&share), "--out", arg(&out)];
    let said = fleet.run(&[&args[..], &["--yes"]].concat()).ok();
    assert!(!said.stdout.contains("reason"), "words on the side: {}", said.stdout);
    let failed = fleet.run(&["snapshot", "show", "ffffffff"]).code(1);
    assert_eq!(failed.stdout, "", "a failure has no result");
    failed.says(&["error: ", "no snapshot ffffffff", "snapshot list"]);
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let fleet = Fleet::found();
    let id = fleet.snapshot(&fleet.tree("tree"));
    let request = fleet.request(&fleet.home(), &id, "req.json");
    let share = fleet.shares().remove(0);
    let (shares, home) = (fleet.path("more shares"), fleet.path("elsewhere"));
    let init =
        |more: &[&str]| run(&home, &[&["init", "--shares-dir", arg(&shares)], more].concat());
    for args in [&["--nonsense"][..], &["nonsense"], &["snapshot"], &["snapshot", "create"], &[]] {
        assert_eq!(fleet.run(args).code(2).stdout, "", "{args:?}");
    }
    init(&["--custodians", "2", "--threshold", "3"]).code(2).says(&["threshold of 3"]);
    init(&["--threshold", "0"]).code(2).says(&["--threshold"]);
    init(&["--custodians", "65"]).code(2).says(&["--custodians"]);
    init(&["--custodian", "anna"]).code(2).says(&["3 custodians but 1 names"]);
    init(&["--bucket", arg(&home)]).code(2).says(&["--profile solo"]);
    let mute = said(seawall().env_remove("SEAWALL_SHARE_PASSPHRASE").args([
        "--home",
        arg(&home),
        "init",
        "--shares-dir",
        arg(&shares),
    ]));
    mute.code(2).says(&["no terminal", "SEAWALL_SHARE_PASSPHRASE"]);
    assert!(!home.exists() && !shares.exists(), "nothing was made");
    let out = fleet.path("a.json");
    let args = ["restore", "approve", arg(&request), "--share", arg(&share), "--out", arg(&out)];
    fleet.run(&args).code(2).says(&["no terminal", "--yes", "asked by"]);
    assert!(!out.exists(), "nothing was approved");
    let args = ["restore", "run", arg(&request), "--to", arg(&home)];
    fleet.run(&args).code(2).says(&["--approval"]);
    let long = ["restore", "request", &id, "--reason", "r", "--out", arg(&out), "--valid", "721"];
    fleet.run(&long).code(2).says(&["721"]);
    said(seawall().env_remove("HOME").arg("verify")).code(2).says(&["HOME"]);
}

#[test]
fn skipped_files_are_exit_code_3_and_each_is_named() {
    let fleet = Fleet::found();
    let tree = fleet.tree("tree");
    let _socket = UnixListener::bind(tree.join("the socket")).expect("bound");
    let secret = tree.join("sub/no reading");
    std::fs::write(&secret, "x").expect("written");
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o000)).expect("chmod");
    let mut command = seawall_bound_by_modes();
    command.env("SEAWALL_HOME", fleet.home()).args(["snapshot", "create", arg(&tree), "--json"]);
    let said = said(&mut command).code(3);
    let json = said.json();
    let named = problems(&json);
    assert_eq!(named.len(), 2, "{json:#}");
    for (path, why) in [("the socket", "a socket"), ("sub/no reading", "Permission denied")] {
        let path = format!("{}/{path}", arg(&tree));
        assert!(named.iter().any(|(p, w)| *p == path && w.contains(why)), "{path}: {named:?}");
    }
    assert_eq!(json["skipped"], 2);
    said.says(&["the socket", "a socket, left out", "no reading", "cannot be read"]);
    // Warnings are not words on the side: quiet does not hide what was skipped.
    fleet.run(&["snapshot", "create", arg(&tree), "--quiet"]).code(3).says(&["the socket"]);
}

fn problems(json: &Value) -> Vec<(&str, &str)> {
    let list = json["problems"].as_array().expect("a list");
    assert!(list.iter().all(|p| p["path"].is_string() && p["reason"].is_string()), "{json:#}");
    list.iter().filter_map(|p| Some((p["path"].as_str()?, p["reason"].as_str()?))).collect()
}

#[test]
fn powers_need_a_flag_and_their_lack_is_exit_code_3() {
    let fleet = Fleet::found();
    let tree = fleet.tree("tree");
    let tool = tree.join("sub/tool");
    std::fs::write(&tool, "#!/bin/sh\n").expect("written");
    std::fs::set_permissions(&tool, PermissionsExt::from_mode(0o4755)).expect("chmod");
    let id = fleet.snapshot(&tree);
    let to = fleet.path("to");
    let said = fleet.restore(&fleet.home(), &id, &to).code(3);
    let at = crate::harness::restored(&to, &tool);
    let refused = said.json()["refused"].clone();
    let mine = refused
        .as_array()
        .expect("a list")
        .iter()
        .filter(|r| r["path"].as_str().is_some_and(|p| p.ends_with("/sub/tool")));
    let whats: Vec<_> = mine.map(|r| r["what"].clone()).collect();
    assert_eq!(whats, ["set-uid bit not set"]);
    assert_eq!(std::fs::metadata(&at).expect("restored").permissions().mode() & 0o7777, 0o755);
    said.says(&["sub/tool", "set-uid bit not set", "--privileged"]);
}

#[test]
fn the_home_is_the_flag_then_the_variable_then_the_data_directory() {
    let fleet = Fleet::found();
    let other = fleet.path("other");
    run(&other, &["node", "keys", "--name", "other"]).ok();
    let shows = |command: &mut std::process::Command| said(command.args(["fleet", "show"]));
    shows(seawall().args(["--home", arg(&fleet.home())]).env("SEAWALL_HOME", &other)).ok();
    shows(seawall().env("SEAWALL_HOME", fleet.home())).ok();
    shows(seawall().env("SEAWALL_HOME", &other)).code(1).says(&["fleet/genesis.json is missing"]);
    let nothing = fleet.path("nothing");
    shows(seawall().env("SEAWALL_HOME", &nothing)).code(1).says(&[
        "is not a seawall home",
        "seawall init",
        "--home",
    ]);
    assert!(!nothing.exists(), "looking makes nothing");
    let data = fleet.path("data");
    std::fs::create_dir(&data).expect("created");
    std::fs::rename(fleet.home(), data.join("seawall")).expect("moved");
    shows(seawall().env("XDG_DATA_HOME", &data)).ok();
    let user = fleet.path("user");
    std::fs::create_dir_all(user.join(".local")).expect("created");
    std::fs::rename(&data, user.join(".local/share")).expect("moved");
    shows(seawall().env("HOME", &user)).ok();
}

#[test]
fn share_files_say_so_and_belong_to_nobody_else() {
    let fleet = Fleet::found();
    let shares = fleet.shares();
    assert_eq!(shares.len(), 3);
    for share in &shares {
        let name = share.file_name().and_then(|n| n.to_str()).expect("UTF-8");
        assert!(name.contains("share"), "{name}");
        assert_eq!(mode(share), 0o600, "{name}");
    }
    assert_eq!(mode(&fleet.home()), 0o700);
    for key in ["keys/tenant.key", "keys/identity.key", "root/root-1.key"] {
        assert_eq!(mode(&fleet.home().join(key)), 0o600, "{key}");
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("there").permissions().mode() & 0o7777
}

#[test]
fn solo_shares_are_laptop_paper_and_usb() {
    let fleet = Fleet::found();
    let (home, shares) = (fleet.path("solo"), fleet.path("solo-shares"));
    let args = ["init", "--profile", "solo", "--shares-dir", arg(&shares)];
    run(&home, &args).ok();
    let mut names: Vec<_> = std::fs::read_dir(&shares)
        .expect("made")
        .map(|e| e.expect("readable").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    assert_eq!(names, ["share-1-laptop.json", "share-2-paper.json", "share-3-usb.json"]);
}

/// Everything below `dir`, for seeing whether something was left behind.
fn listing(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).expect("readable") {
            let path = entry.expect("readable").path();
            if path.symlink_metadata().expect("there").is_dir() {
                open.push(path.clone());
            }
            all.push(path);
        }
    }
    all.sort();
    all
}

#[test]
fn shares_and_home_never_lie_within_each_other() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir_all(at("real/inner")).expect("created");
    symlink(at("real"), at("link")).expect("linked");
    symlink(at("home"), at("dangling")).expect("linked");
    let before = listing(dir.path());
    for (home, shares) in [
        ("home", "home"),
        ("home", "home/shares"),
        ("shares/home", "shares"),
        ("home", "home/../home/shares"),
        ("home", "missing/../home/shares"),
        ("real/../home", "home/shares"),
        ("real", "link/shares"),
        ("link/home", "real"),
        ("home", "dangling"),
        ("home", "dangling/shares"),
        ("dangling", "home/shares"),
    ] {
        let (home_path, shares_path) = (at(home), at(shares));
        let said = run(&home_path, &["init", "--shares-dir", arg(&shares_path)]).code(1);
        assert_eq!(said.stdout, "", "home {home}, shares {shares}");
        assert_eq!(listing(dir.path()), before, "home {home}, shares {shares}: left behind");
    }
    run(&at("home"), &["init", "--shares-dir", arg(&at("home/s"))]).code(1).says(&[
        "was not founded",
        "lie within each other",
        "--shares-dir outside",
    ]);
    // A relative directory is where the command was run.
    let mut command = seawall();
    command.current_dir(dir.path()).args(["--home", "home", "init", "--shares-dir", "home/s"]);
    said(&mut command).code(1).says(&["lie within each other"]);
    assert_eq!(listing(dir.path()), before);
}

#[test]
fn a_founding_that_fails_leaves_nothing_behind() {
    let fleet = Fleet::found();
    let before = listing(fleet.path("").as_path());
    let shares = fleet.path("shares");
    let other = fleet.path("other");
    fleet.run(&["init", "--shares-dir", arg(&other)]).code(1).says(&["already is a seawall home"]);
    let home = fleet.path("new-home");
    run(&home, &["init", "--shares-dir", arg(&shares)]).code(1).says(&["never overwritten"]);
    run(&home, &["init", "--shares-dir", arg(&shares.join("share-1-custodian-1.json"))])
        .code(1)
        .says(&["share-1-custodian-1.json"]);
    let mut empty = seawall();
    empty.env("SEAWALL_SHARE_PASSPHRASE", "").args(["--home", arg(&home), "init"]);
    said(empty.args(["--shares-dir", arg(&other)])).code(1).says(&["passphrase is empty"]);
    let control = ["init", "--custodians", "1", "--threshold", "1", "--custodian", "a\u{7}b"];
    run(&home, &[&control[..], &["--shares-dir", arg(&other)]].concat()).code(1);
    assert_eq!(listing(fleet.path("").as_path()), before);
    run(&home, &["init", "--shares-dir", arg(&other)]).ok();
}

#[test]
fn the_one_time_secret_stays_in_a_file_of_its_own() {
    let fleet = Fleet::found();
    let id = fleet.snapshot(&fleet.tree("tree"));
    let request = fleet.request(&fleet.home(), &id, "req.json");
    let secrets = listing(&fleet.home().join("requests"));
    assert_eq!(secrets.len(), 1);
    assert_eq!(mode(&secrets[0]), 0o600);
    let file: Value =
        serde_json::from_slice(&std::fs::read(&secrets[0]).expect("readable")).expect("a key file");
    let text = file["secret"].as_str().expect("base64");
    let secret = BASE64.decode(text).expect("base64");
    assert_eq!((secret.len(), &file["purpose"]), (32, &"one-time".into()));
    let request = std::fs::read(&request).expect("readable");
    for needle in [secret.as_slice(), text.as_bytes(), hex::encode(&secret).as_bytes()] {
        assert!(!request.windows(needle.len()).any(|w| w == needle), "the secret travels");
    }
    // Statements travel as base64 of JSON: look inside, too.
    let json: Value = serde_json::from_slice(&request).expect("JSON");
    let payload = json["request"]["payload"].as_str().expect("a statement");
    let payload = BASE64.decode(payload).expect("base64");
    assert!(!payload.windows(text.len()).any(|w| w == text.as_bytes()));
}

#[test]
fn the_log_can_be_shown_proved_verified_and_exported() {
    let fleet = Fleet::found();
    fleet.run(&["log", "verify"]).code(1).says(&["no checkpoint yet", "make a snapshot"]);
    let tree = fleet.tree("tree");
    for i in 0..5 {
        std::fs::write(tree.join("counter"), format!("{i}")).expect("written");
        fleet.snapshot(&tree);
    }
    let verified = fleet.run(&["log", "verify", "--json"]).ok().json();
    assert_eq!(verified["entries"], 7);
    let tiles = fleet.path("tiles");
    fleet.run(&["log", "export", arg(&tiles)]).ok();
    let checkpoint = std::fs::read_to_string(tiles.join("checkpoint")).expect("exported");
    let lines: Vec<&str> = checkpoint.lines().collect();
    assert_eq!((lines[0], lines[1]), (verified["origin"].as_str().expect("origin"), "7"));
    let root: [u8; 32] = BASE64.decode(lines[2]).expect("base64").try_into().expect("32 bytes");
    let entries = bundle(&std::fs::read(tiles.join("tile/entries/000.p/7")).expect("exported"));
    assert_eq!(entries.len(), 7);
    let leaves: Vec<_> = entries.iter().map(|e| leaf(e)).collect();
    assert_eq!(merkle_root(&leaves), root, "the entries are what the checkpoint signs");
    assert_eq!(std::fs::read(tiles.join("tile/0/000.p/7")).expect("exported"), leaves.concat());
    for (index, entry) in entries.iter().enumerate() {
        let proof = fleet.run(&["log", "prove", &index.to_string(), "--json"]).ok().json();
        assert_eq!(proof["entry"].as_str().map(str::as_bytes), Some(entry.as_slice()));
        let path = proof["proof"].as_array().expect("a list").iter().map(hash);
        assert_eq!(root_by_path(index, 7, leaves[index], &path.collect::<Vec<_>>()), root);
    }
    let text = fleet.run(&["log", "prove", "6"]).ok().stdout;
    assert!(text.starts_with("c2sp.org/tlog-proof@v1\nindex 6\n"), "{text}");
    assert!(text.ends_with(&checkpoint), "{text}");
    fleet.run(&["log", "prove", "7"]).code(1).says(&["covers entries 0 to 6"]);
}

/// Entries of a tlog-tiles bundle: each has two bytes of length in front.
fn bundle(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    while let Some((length, rest)) = bytes.split_at_checked(2) {
        let (entry, rest) = rest.split_at(usize::from(u16::from_be_bytes([length[0], length[1]])));
        out.push(entry.to_vec());
        bytes = rest;
    }
    assert!(bytes.is_empty());
    out
}

fn leaf(entry: &[u8]) -> [u8; 32] {
    Sha256::of(&[&[0], entry].concat()).0
}

fn node(left: [u8; 32], right: [u8; 32]) -> [u8; 32] {
    Sha256::of(&[&[1], &left[..], &right[..]].concat()).0
}

/// RFC 9162, section 2.1.1, by its recursive definition.
fn merkle_root(leaves: &[[u8; 32]]) -> [u8; 32] {
    if let [one] = leaves {
        return *one;
    }
    let k = leaves.len().next_power_of_two() / 2;
    node(merkle_root(&leaves[..k]), merkle_root(&leaves[k..]))
}

/// The root that an inclusion path leads to, by the same recursion.
fn root_by_path(index: usize, size: usize, leaf: [u8; 32], path: &[[u8; 32]]) -> [u8; 32] {
    let Some((sibling, below)) = path.split_last() else {
        assert_eq!(size, 1, "the path is too short");
        return leaf;
    };
    let k = size.next_power_of_two() / 2;
    if index < k {
        node(root_by_path(index, k, leaf, below), *sibling)
    } else {
        node(*sibling, root_by_path(index - k, size - k, leaf, below))
    }
}

fn hash(json: &Value) -> [u8; 32] {
    let bytes = hex::decode(json.as_str().expect("hex")).expect("hex");
    bytes.try_into().expect("32 bytes")
}

#[test]
fn the_recovery_sheet_carries_what_a_person_needs() {
    let fleet = Fleet::found();
    let shown = fleet.run(&["fleet", "show", "--json"]).ok().json();
    let id = shown["fleet"].as_str().expect("an id");
    let text = fleet.run(&["fleet", "sheet"]).ok().stdout;
    let html = fleet.run(&["fleet", "sheet", "--html"]).ok().stdout;
    for page in [&text, &html] {
        for what in [id, "custodian-1", "custodian-3", "2 of 3", "node enroll", "restore run"] {
            assert!(page.contains(what), "{what}: {page}");
        }
        assert!(!page.contains(PASSPHRASE));
    }
    assert!(html.starts_with("<!doctype html>") && html.trim_end().ends_with("</html>"));
    // The id on the sheet pins the fleet, in the form a person types it.
    let card = fleet.path("card.json");
    let second = fleet.path("second");
    run(&second, &["node", "keys", "--name", "second", "--out", arg(&card)]).ok();
    let bundle = fleet.path("bundle.json");
    fleet.run(&["fleet", "bundle", arg(&card), "--out", arg(&bundle)]).ok();
    let enroll = |id: &str| run(&second, &["node", "enroll", arg(&bundle), "--fleet-id", id]);
    enroll(&"0".repeat(64)).code(1).says(&["fleet"]);
    assert!(!second.join("fleet/genesis.json").exists(), "nothing of another fleet is kept");
    enroll("0123").code(1).says(&["--fleet-id", "64 digits"]);
    enroll(&id.to_uppercase()).ok();
}

#[test]
fn a_path_that_is_not_there_makes_no_snapshot() {
    let fleet = Fleet::found();
    let (tree, missing) = (fleet.tree("tree"), fleet.path("mistyped"));
    fleet
        .run(&["snapshot", "create", arg(&missing)])
        .code(1)
        .says(&["cannot snapshot", "mistyped"]);
    fleet.run(&["snapshot", "create", arg(&tree), arg(&missing)]).code(1).says(&["mistyped"]);
    let through = tree.join("inline.txt/below");
    fleet.run(&["snapshot", "create", arg(&through)]).code(1).says(&["inline.txt/below"]);
    assert_eq!(fleet.run(&["snapshot", "list", "--json"]).ok().json(), serde_json::json!([]));
}

#[test]
fn paths_may_be_relative_and_lead_up() {
    let fleet = Fleet::found();
    let tree = fleet.tree("tree");
    let create = |path: &str| {
        let mut command = seawall();
        command.current_dir(tree.join("sub")).env("SEAWALL_HOME", fleet.home());
        said(command.args(["snapshot", "create", path, "--json"])).ok().json()
    };
    let whole = create(arg(&tree));
    for path in ["..", "../../tree", "deeper/../..", "./.././."] {
        let snapshot = create(path);
        for figure in ["files", "directories", "others", "bytes"] {
            assert_eq!(snapshot[figure], whole[figure], "{path}: {figure}");
        }
    }
    let id = create("deeper")["id"].as_str().expect("an id").to_owned();
    let to = fleet.path("to");
    let sources = fleet.restore(&fleet.home(), &id, &to).ok().json()["sources"].clone();
    assert_eq!(sources, serde_json::json!([arg(&tree.join("sub/deeper"))]));
    crate::harness::assert_same(
        &tree.join("sub/deeper"),
        &crate::harness::restored(&to, &tree.join("sub/deeper")),
    );
}

#[test]
fn snapshots_are_named_by_the_beginning_of_their_id() {
    let fleet = Fleet::found();
    let id = fleet.snapshot(&fleet.tree("tree"));
    let show = |id: &str| fleet.run(&["snapshot", "show", id, "--json"]);
    for name in [&id[..], &id[..4], &format!("sha256:{id}")] {
        assert_eq!(show(name).ok().json()["id"], id.as_str());
    }
    show(&id[..3]).code(1).says(&["too short", "4 digits"]);
    show("").code(1).says(&["too short"]);
    let mut other = id.clone().into_bytes();
    other[5] = if other[5] == b'0' { b'1' } else { b'0' };
    let other = String::from_utf8(other).expect("hex");
    show(&other).code(1).says(&["no snapshot", &other, "snapshot list --all"]);
    let out = fleet.path("req.json");
    let args = ["restore", "request", &other, "--reason", "r", "--out", arg(&out)];
    fleet.run(&args).code(1).says(&["no snapshot"]);
    assert!(!out.exists() && listing(&fleet.home().join("requests")).is_empty());
}

#[test]
fn a_home_is_one_thing() {
    let fleet = Fleet::found();
    let (card, out) = (fleet.path("card.json"), fleet.path("out.json"));
    fleet.run(&["fleet", "card", "--out", arg(&card)]).ok();
    let region = fleet.path("region");
    let set_up = ["region", "init", "--fleet", arg(&card), "--name", "r", "--listen", "[::1]:1"];
    let set_up = [&set_up[..], &["--out", arg(&out)]].concat();
    run(&region, &set_up).ok();
    let custodian = fleet.path("custodian");
    let take_part = ["custodian", "init", "--name", "anna"];
    run(&custodian, &take_part).ok();
    let keys = ["node", "keys", "--name", "node-1"];
    for (home, what) in [(&region, "a region's"), (&custodian, "a custodian's")] {
        run(home, &keys).code(1).says(&[what, "--home"]);
    }
    for (home, what) in [(fleet.home(), "a node's"), (region.clone(), "a region's")] {
        run(&home, &take_part).code(1).says(&[what, "--home"]);
    }
    for (home, what) in [(fleet.home(), "a node's"), (custodian, "a custodian's")] {
        run(&home, &set_up).code(1).says(&[what, "--home"]);
    }
    fleet.run(&["verify"]).ok();
    // Neither has it two names.
    fleet.run(&["node", "keys", "--name", "other"]).code(1).says(&["node-1", "\"other\""]);
}

#[test]
fn nothing_replaces_a_root_keys_copy() {
    let fleet = Fleet::found();
    let copy = fleet.path("anna-root.json");
    fleet.run(&["fleet", "root-key", "--new", "--out", arg(&copy)]).ok();
    let before = std::fs::read(&copy).expect("written");
    for more in [&["--new"][..], &[]] {
        let args = [&["fleet", "root-key", "--out", arg(&copy)][..], more].concat();
        fleet.run(&args).code(1).says(&["is there already", "only copy"]);
    }
    assert_eq!(std::fs::read(&copy).expect("still there"), before);
}
