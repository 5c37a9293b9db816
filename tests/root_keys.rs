//! Root keys that are with several people, who have no home of the fleet.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{Fleet, Region, Said, arg, copy, run};

/// A fleet whose policy demands two of three root keys, none of which is in a home.
struct Apart {
    fleet: Fleet,
    region: Region,
    card: PathBuf,
    keys: Vec<PathBuf>,
    snapshot: String,
}

impl Apart {
    fn new() -> Self {
        let fleet = Fleet::found();
        let region = fleet.region("region-a");
        let snapshot = fleet.snapshot(&fleet.tree("tree"));
        let (card, next) = (fleet.path("card.json"), fleet.path("next.json"));
        fleet.run(&["fleet", "card", "--out", arg(&card)]).ok();
        let mut it = Self { fleet, region, card, keys: Vec::new(), snapshot };
        let mut propose = vec!["--root-threshold".to_owned(), "2".to_owned()];
        for name in ["anna", "bert", "carl"] {
            let file = it.fleet.path(&format!("{name}-root.json"));
            let said = it.holder(&["root-key", "--new", "--out", arg(&file), "--json"]).ok().json();
            propose.extend(["--root-key".to_owned(), text(&said["key"])]);
            it.keys.push(file);
        }
        let args = ["fleet", "policy", "propose", "--out", arg(&next)];
        let more: Vec<&str> = propose.iter().map(String::as_str).collect();
        it.fleet.run(&[&args[..], &more].concat()).ok();
        for n in [0, 2] {
            let shown = it.holder(&["policy", "show", arg(&next), "--json"]).ok().json();
            assert_eq!(shown["complete"], false, "{shown}");
            let sign = ["policy", "sign", arg(&next), "--root-key", it.key(n), "--yes"];
            it.holder(&[&sign[..], &["--out", arg(&next)]].concat()).ok();
        }
        it.fleet.run(&["fleet", "policy", "apply", arg(&next)]).ok();
        it.fleet.run(&["fleet", "card", "--out", arg(&it.card)]).ok();
        it.fleet.run(&["sync"]).ok();
        it
    }

    fn key(&self, n: usize) -> &str {
        arg(&self.keys[n])
    }

    /// What somebody does who has no home of the fleet, and its card.
    fn holder(&self, args: &[&str]) -> Said {
        let args = [&["fleet"][..], args, &["--fleet", arg(&self.card)]].concat();
        let said = run(&self.fleet.path("nowhere"), &args);
        assert!(!self.fleet.path("nowhere").exists());
        said
    }

    /// Another holder signs a file.
    fn sign(&self, file: &Path, n: usize) -> Value {
        let args = ["sign", arg(file), "--root-key", self.key(n), "--yes", "--json"];
        self.holder(&[&args[..], &["--out", arg(file)]].concat()).ok().json()
    }

    /// What `home` has of the snapshot that was made before everything was lost.
    fn sees_the_snapshot(&self, home: &Path) {
        let list = run(home, &["snapshot", "list", "--all", "--json"]).ok();
        assert!(list.stdout.contains(&self.snapshot), "{}", list.stdout);
    }

    fn region_card(&self) -> PathBuf {
        self.fleet.path("region-a-card.json")
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

#[test]
fn two_of_three_root_keys_bring_a_fleet_back() {
    let mut it = Apart::new();
    // The first home's key is none any more: a copy of it would be a false comfort.
    let copy = it.fleet.path("old.json");
    let said = it.fleet.run(&["fleet", "root-key", "--out", arg(&copy)]).code(1);
    said.says(&["none of the fleet's any more"]);
    assert!(!copy.exists());
    let sheet = it.fleet.run(&["fleet", "sheet"]).ok().stdout;
    assert!(sheet.contains("Root keys (2 of 3 sign for the fleet)"), "{sheet}");
    std::fs::remove_dir_all(it.fleet.home()).expect("the machine is gone");

    let new = it.fleet.path("new");
    let recover = |keys: &[usize]| {
        let mut args = vec!["fleet", "recover", "--card", arg(&it.card), "--name", "new"];
        args.extend(keys.iter().flat_map(|n| ["--root-key", it.key(*n)]));
        run(&new, &args)
    };
    recover(&[0]).code(1).says(&["it takes 2 of the fleet's root keys, and 1 was given"]);
    recover(&[0, 0]).code(1).says(&["and 1 was given"]);
    assert!(!new.exists(), "nothing is left behind");
    // Into a directory that is there, with something in it.
    std::fs::create_dir(&new).expect("made");
    std::fs::write(new.join("mine"), "mine").expect("written");
    std::fs::write(new.join("keys"), "in the way").expect("written");
    recover(&[0, 2]).code(1);
    let left = std::fs::read_dir(&new).expect("there").count();
    assert_eq!(left, 2, "nothing but what was there");
    std::fs::remove_file(new.join("keys")).expect("removed");
    recover(&[0, 2]).ok();
    let keys = std::fs::read_dir(new.join("root")).expect("enrolments");
    let names: Vec<_> = keys.map(|it| it.expect("readable").file_name()).collect();
    assert_eq!(names, ["enrolments"], "keys that are apart stay apart");

    let card = it.region_card();
    let adopt = ["fleet", "adopt", arg(&card), "--root-key", it.key(0)];
    run(&new, &adopt).code(1).says(&["signed by 1 of 2 root keys", "--out"]);
    run(&new, &[&adopt[..], &["--root-key", it.key(1)]].concat()).ok();
    it.sees_the_snapshot(&new);
    it.fleet.restore(&new, &it.snapshot, &it.fleet.path("restored")).ok();
    it.region.stop();
}

#[test]
fn holders_who_are_apart_recover_enrol_adopt_and_grant() {
    let mut it = Apart::new();
    let path = |name: &str| it.fleet.path(name);
    // The first machine is gone; the others sign what the first holder began.
    std::fs::remove_dir_all(it.fleet.home()).expect("the machine is gone");
    let (new, begun) = (path("new"), path("begun.json"));
    let args = ["fleet", "recover", "--card", arg(&it.card), "--name", "new"];
    let more = ["--root-key", it.key(0), "--out", arg(&begun)];
    let said = run(&new, &[&args[..], &more].concat()).ok();
    said.says(&["signed by 1 of 2 root keys", "node enroll"]);
    let said = run(&new, &["node", "enroll", arg(&begun)]).code(1);
    said.says(&["signed by 1 of the trusted keys, 2 needed"]);
    let said = it.sign(&begun, 2);
    assert_eq!((&said["complete"], &said["signed"]["by"]), (&true.into(), &2.into()), "{said}");
    run(&new, &["node", "enroll", arg(&begun)]).ok();

    let (card, adopted) = (it.region_card(), path("adopted.json"));
    let args = ["fleet", "adopt", arg(&card), "--root-key", it.key(1), "--out", arg(&adopted)];
    run(&new, &args).ok();
    run(&new, &["fleet", "adopt", arg(&adopted)]).code(1).says(&["signed by 1 of 2 root keys"]);
    it.sign(&adopted, 2);
    run(&new, &["fleet", "adopt", arg(&adopted)]).ok();
    it.sees_the_snapshot(&new);

    let (second, card, bundle) = (path("site-b"), path("b.json"), path("b.bundle"));
    run(&second, &["node", "keys", "--name", "site-b", "--out", arg(&card)]).ok();
    let args = ["fleet", "bundle", arg(&card), "--root-key", it.key(0), "--out", arg(&bundle)];
    run(&new, &args).ok().says(&["signed by 1 of 2 root keys"]);
    it.sign(&bundle, 1);
    run(&second, &["node", "enroll", arg(&bundle)]).ok();
    it.sees_the_snapshot(&second);

    it.next_epoch(&new, &second);
    it.rules_for_the_second(&new, &second);
    it.region.stop();
}

impl Apart {
    fn next_epoch(&self, first: &Path, second: &Path) {
        let (ask, grant) = (self.fleet.path("ask.json"), self.fleet.path("grant.json"));
        run(second, &["snapshot", "create", arg(&self.fleet.path("tree"))]).ok();
        run(second, &["sync"]).ok();
        run(second, &["node", "epoch", "begin", "--reason", "a test", "--out", arg(&ask)]).ok();
        let args = ["fleet", "epoch", arg(&ask), "--yes", "--root-key", self.key(0)];
        run(first, &[&args[..], &["--out", arg(&grant)]].concat()).ok();
        run(second, &["node", "epoch", "adopt", arg(&grant)]).code(1).says(&["2 needed"]);
        self.sign(&grant, 2);
        run(second, &["node", "epoch", "adopt", arg(&grant)]).ok();
        // Again, as somebody does who is not sure.
        let said = run(second, &["node", "epoch", "adopt", arg(&grant), "--json"]).ok().json();
        assert_eq!(said["already"], true);
        run(second, &["sync"]).ok();
    }

    fn rules_for_the_second(&self, first: &Path, second: &Path) {
        let keep = self.fleet.path("keep.json");
        // Its enrolment was finished elsewhere; its log within reach says who it is.
        let propose = |days: &str| {
            let args = ["fleet", "retention", "propose", "--node", "site-b", "--keep-daily", days];
            let more = ["--root-key", self.key(0), "--out", arg(&keep)];
            run(first, &[&args[..], &more].concat()).ok();
            self.sign(&keep, 1);
        };
        propose("30");
        run(first, &["fleet", "retention", "apply", arg(&keep)]).code(1);
        run(second, &["fleet", "retention", "apply", arg(&keep)]).ok();
        run(second, &["sync"]).ok();
        propose("7");
        run(second, &["fleet", "retention", "apply", arg(&keep)]).ok();
        let shown = run(second, &["fleet", "retention", "show", "--json"]).ok().json();
        assert_eq!(shown["version"], 2, "{shown}");
        let none = run(first, &["fleet", "retention", "show", "--json"]).ok().json();
        assert_eq!(none, Value::Null);
    }
}

#[test]
fn a_holder_signs_nothing_that_root_keys_do_not_sign() {
    let mut it = Apart::new();
    let file = it.fleet.path("file.json");
    let said = it.fleet.run(&["log", "prove", "0", "--json"]).ok().json();
    std::fs::write(&file, text(&said["entry"])).expect("written");
    let args = ["sign", arg(&file), "--root-key", it.key(0), "--out", arg(&file)];
    it.holder(&args).code(1).says(&["root keys sign no file that holds"]);
    // Of another fleet; and with a key of another fleet.
    let other = Fleet::found();
    let index = other.path("index.json");
    other.run(&["fleet", "index", "off", "default", "--out", arg(&index)]).ok();
    let args = ["sign", arg(&index), "--root-key", it.key(0), "--out", arg(&index)];
    it.holder(&args).code(1).says(&["it is of fleet:"]);
    let args = ["fleet", "sign", arg(&index), "--root-key", it.key(0), "--yes"];
    run(&other.home(), &args).code(1).says(&["is a key of fleet:"]);
    other.run(&["fleet", "index", "apply", arg(&index)]).ok();
    // Without the fleet's card there is nothing to judge it by.
    let nowhere = it.fleet.path("nowhere");
    run(&nowhere, &["fleet", "sign", arg(&index), "--root-key", it.key(0)])
        .code(1)
        .says(&["--fleet"]);
    it.region.stop();
}

#[test]
fn another_node_learns_the_policy_from_the_regions_it_reads() {
    let fleet = Fleet::found();
    let mut region = fleet.region("region-b");
    let id = fleet.snapshot(&fleet.tree("tree"));
    fleet.run(&["sync"]).ok();
    let second = fleet.second_node("site-b");
    let next = fleet.path("next.json");
    let args = ["fleet", "policy", "propose", "--deletion-min-days", "30"];
    let more = ["--deletion-custodians", "2", "--out", arg(&next), "--json"];
    let said = fleet.run(&[&args[..], &more].concat()).ok().json();
    let change = &said["changes"][0];
    assert_eq!((&change["path"], &change["before"]), (&"deletion".into(), &Value::Null), "{said}");
    assert_eq!(change["after"]["custodians"], 2, "{said}");
    fleet.run(&["fleet", "policy", "apply", arg(&next)]).ok();
    fleet.run(&["sync"]).ok();
    let out = fleet.path("request.json");
    let request = ["restore", "request", &id, "--reason", "a test", "--out", arg(&out)];
    let all: [&[&str]; 3] = [&["snapshot", "list", "--all"], &["restore", "plan"], &request];
    for (n, args) in all.into_iter().enumerate() {
        let home = fleet.path(&format!("copy-{n}"));
        copy(&second, &home);
        let said = run(&home, args);
        let known = run(&home, &["fleet", "policy", "show", "--json"]).ok().json();
        assert_eq!(known["version"], 2, "{args:?}: {said:?}");
    }
    region.stop();
}

#[test]
fn an_epoch_that_nobody_was_asked_about_is_plain_to_see() {
    let fleet = Fleet::found();
    let mut region = fleet.region("region-a");
    fleet.snapshot(&fleet.tree("tree"));
    fleet.run(&["sync"]).ok();
    region.stop();
    let (ask, grant) = (fleet.path("ask.json"), fleet.path("grant.json"));
    let begin = ["node", "epoch", "begin", "--reason", "a test", "--out", arg(&ask)];
    fleet.run(&begin).ok().says(&["region-a was not asked", "become a branch"]);
    let args = ["fleet", "epoch", arg(&ask), "--out", arg(&grant)];
    fleet.run(&args).code(2).says(&["NOT ASKED NOBODY WAS ASKED", "region-a", "--yes"]);
    region.resume();
    fleet.run(&begin).ok();
    let said = fleet.run(&[&args[..], &["--yes"]].concat()).ok();
    assert!(!said.stderr.contains("NOT ASKED"), "{}", said.stderr);
    fleet.run(&["node", "epoch", "adopt", arg(&grant)]).ok();
    region.stop();
}

#[test]
fn a_home_that_is_damaged_is_none_that_is_absent() {
    let mut it = Apart::new();
    let (home, index, out) =
        (it.fleet.home(), it.fleet.path("index.json"), it.fleet.path("out.json"));
    let args = ["fleet", "index", "off", "default", "--root-key", it.key(0), "--out", arg(&index)];
    it.fleet.run(&args).ok();
    let args = ["fleet", "sign", arg(&index), "--fleet", arg(&it.card), "--root-key", it.key(2)];
    let sign = |home: &Path| run(home, &[&args[..], &["--yes", "--out", arg(&out)]].concat());
    let file = home.join("fleet/policies.json");
    let policies = std::fs::read(&file).expect("policies");
    std::fs::write(&file, &policies[..policies.len() / 2]).expect("damaged");
    sign(&home).code(1).says(&["fleet/policies.json is damaged"]);
    let show = ["fleet", "policy", "show", "--fleet", arg(&it.card)];
    it.fleet.run(&show).code(1).says(&["fleet/policies.json is damaged"]);
    std::fs::write(&file, &policies).expect("mended");
    std::fs::remove_file(home.join("fleet/genesis.json")).expect("removed");
    sign(&home).code(1).says(&["fleet/genesis.json is missing"]);
    std::fs::write(home.join("home.json"), "{").expect("damaged");
    sign(&home).code(1).says(&["home.json is damaged"]);
    assert!(!out.exists(), "nothing was signed");
    // A home that is in no fleet yet knows nothing that the card could contradict.
    let new = it.fleet.path("new");
    run(&new, &["node", "keys", "--name", "new", "--out", arg(&it.fleet.path("new.json"))]).ok();
    sign(&new).ok();
    it.region.stop();
}

#[test]
fn copies_sign_what_is_to_be_adopted() {
    let mut it = Apart::new();
    let (card, begun) = (it.region_card(), it.fleet.path("begun.json"));
    let args = ["fleet", "adopt", arg(&card), "--root-key", it.key(0), "--out", arg(&begun)];
    it.fleet.run(&args).ok();
    let adopt = |more: &[&str]| it.fleet.run(&[&["fleet", "adopt", arg(&begun)], more].concat());
    let said = adopt(&[]).code(1);
    said.says(&["signed by 1 of 2 root keys", "name a copy", "seawall fleet sign"]);
    // The same key again is one signature.
    adopt(&["--root-key", it.key(0)]).code(1).says(&["signed by 1 of 2 root keys"]);
    let said = adopt(&["--root-key", it.key(1)]).ok();
    said.says(&["enrols    region region-a", "identity  ed25519:"]);
    // And into a file for whoever adopts it elsewhere.
    let both = it.fleet.path("both.json");
    adopt(&["--root-key", it.key(2), "--out", arg(&both)]).ok();
    it.fleet.run(&["fleet", "adopt", arg(&both)]).ok();
    // What is damaged is called by what it is.
    let text = std::fs::read_to_string(&both).expect("readable");
    let adopt_text = |text: &str| {
        std::fs::write(&both, text).expect("written");
        it.fleet.run(&["fleet", "adopt", arg(&both)]).code(1)
    };
    adopt_text(&text[..text.len() / 2]).says(&["neither a region's card nor what --out wrote"]);
    adopt_text(&text.replace("\"payload\"", "\"load\"")).says(&["region enrolment"]);
    adopt_text(&text.replace("\"address\"", "\"at\"")).says(&["both.json: malformed"]);
    it.region.stop();
}

#[test]
fn what_others_have_to_sign_names_a_way_that_there_is() {
    let mut it = Apart::new();
    let (index, card) = (it.fleet.path("index.json"), arg(&it.card));
    let args = ["fleet", "index", "off", "default", "--root-key", it.key(0)];
    let said = it.fleet.run(&args).code(1);
    said.says(&["signed by 1 of 2 root keys", "(--root-key)", "--out"]);
    it.fleet.run(&[&args[..], &["--out", arg(&index)]].concat()).ok();
    let apply = ["fleet", "index", "apply", arg(&index)];
    let said = it.fleet.run(&apply).code(1).says(&["signed by 1 of 2", "seawall fleet sign"]);
    assert!(!said.stderr.contains("--root-key"), "it has no such flag: {}", said.stderr);
    it.sign(&index, 1);
    it.fleet.run(&apply).ok();
    // The card says whose key it is: without --new it would say nothing.
    let out = it.fleet.path("copy.json");
    let said = it.fleet.run(&["fleet", "root-key", "--fleet", card, "--out", arg(&out)]);
    said.code(2).says(&["--new"]);
    assert!(!out.exists());
    it.region.stop();
}

#[test]
fn a_recovery_that_cannot_be_handed_on_leaves_nothing() {
    let mut it = Apart::new();
    let (new, blocked) = (it.fleet.path("new"), it.fleet.path("blocked"));
    std::fs::create_dir(&blocked).expect("a directory");
    let args = ["fleet", "recover", "--card", arg(&it.card), "--name", "new"];
    let recover = |out: &Path| {
        run(&new, &[&args[..], &["--root-key", it.key(0), "--out", arg(out)]].concat())
    };
    recover(&it.fleet.path("no/such/begun.json")).code(1).says(&["cannot write", "begun.json"]);
    assert!(!new.exists(), "nothing is left behind");
    recover(&blocked).code(1).says(&["cannot write"]);
    assert!(!new.exists() && !it.fleet.path("blocked.tmp").exists(), "nor is a half");
    let begun = it.fleet.path("begun.json");
    recover(&begun).ok().says(&["signed by 1 of 2 root keys"]);
    it.sign(&begun, 2);
    run(&new, &["node", "enroll", arg(&begun)]).ok();
    it.region.stop();
}
