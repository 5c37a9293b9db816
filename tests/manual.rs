//! The manual's examples, run as they stand on the page.
//!
//! What is fenced as `sh` is run: all such blocks of a page in their order, in one shell that stops
//! at the first command that fails, in an empty directory with a home of its own, `shares` beside
//! it. One line in [`pages!`] puts a page to the test: the fleet it presupposes, and what must be
//! true afterwards. Paths of other machines and sticks that a page names (`/media`, `/mnt`, `/srv`)
//! are directories of the test.
//!
//! `console` blocks have a machine's or a person's name as the prompt; each has a home of its own,
//! what they hand to one another lies in the one directory, `.example` machines are this one, and a
//! person who is asked says yes.
//!
//! What cannot be run is fenced otherwise: `text` has gaps that a reader fills (an id, digits from
//! the sheet) or needs what is not there (`jq`, a service); `ini` is a file; `sh postgres` is run by
//! the suite of that name. [`every_page_with_examples_is_run`] holds pages to that: a fence without
//! a word, and a page with examples that nothing runs, are failures.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use seawall_base::Sha256;

use crate::harness::{
    Fleet, PASSPHRASE, Said, arg, assert_same, free_address, restored, run, said,
};

mod prepared;

/// Pages with examples: `page(what it presupposes, what is true afterwards)`. Dashes of a page's
/// name are written as underscores.
macro_rules! pages {
    ($($page:ident($begin:expr, $then:expr);)+) => {
        const PAGES: &[&str] = &[$(stringify!($page)),+];
        $(
            #[test]
            fn $page() {
                let here = Here::new($begin);
                here.run(&blocks(&page(stringify!($page))));
                $then(&here);
            }
        )+
    };
}

pages! {
    audit(Fleet::found(), on_record);
    break_glass(prepared::everybody_gone(), opened_by_breaking_the_glass);
    browse(Fleet::found(), looked_into);
    custodian_daemon(Fleet::found(), asked_confirmed_and_on_record);
    custodians(Fleet::nowhere(), a_ceremony_and_the_years_after);
    deletion(Fleet::found(), deleted_by_two);
    drills(Fleet::found_with(&["--canary"]), drilled);
    drills_in_ci(prepared::canary_and_region(), drilled_by_a_service);
    fleet_policy(Fleet::found(), two_of_three_decide);
    getting_started(Fleet::nowhere(), a_second_machine_has_it);
    find(Fleet::found(), found);
    hsm(Fleet::found(), wrapped_by_a_token);
    post_quantum(Fleet::nowhere(), sealed_to_two_kinds_of_keys);
    region(Fleet::found_by("operator", &[]), away_and_back);
    restore(prepared::bad_night(), restored_twice);
    retention(Fleet::found(), pruned);
    solo(Fleet::nowhere(), alone);
    sources(Fleet::found(), all_sources_are_snapshots);
    verify(two_copies(), what_rots_is_mended);
    witnesses(Fleet::found(), another_epoch_without_losing_a_snapshot);
}

/// Places outside the home that pages name.
const PLACES: [&str; 4] = ["/media/", "/mnt/", "/srv/", "/var/lib/"];
/// The region that pages name.
const REGION: &str = "region-a.example:7443";
/// The same, as bash writes it.
const REGION_PATH: &str = "region-a.example/7443";
/// The custodian's machine that pages name.
const MACHINE: &str = "custodian-a.example:7444";

/// Where a page is run.
pub(crate) struct Here {
    pub(crate) fleet: Fleet,
    dir: PathBuf,
}

impl Here {
    pub(crate) fn new(fleet: Fleet) -> Self {
        let dir = fleet.path("here");
        fs::create_dir_all(&dir).expect("made");
        // It leads nowhere until a fleet is founded.
        std::os::unix::fs::symlink(fleet.path("shares"), dir.join("shares")).expect("linked");
        Self { fleet, dir }
    }

    /// A file the page made.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Runs blocks one after the other in one shell.
    #[track_caller]
    fn run(&self, blocks: &[String]) {
        self.run_with(blocks, &[]);
    }

    /// As [`Here::run`], with more variables.
    #[track_caller]
    pub(crate) fn run_with(&self, blocks: &[String], variables: &[(&str, String)]) {
        // Whatever was left running ends with the shell.
        let mut script = format!("trap 'kill $(jobs -p) || true' EXIT\n{}", blocks.join("\n"));
        for named in [REGION, MACHINE] {
            let address = free_address();
            let path = |address: &str| address.replace(':', "/");
            script = script.replace(named, &address).replace(&path(named), &path(&address));
        }
        for place in PLACES.into_iter().filter(|place| blocks.concat().contains(place)) {
            let here = self.path(place.trim_matches('/'));
            fs::create_dir_all(&here).expect("made");
            script = script.replace(place, &format!("{}/", here.display()));
        }
        let mut shell = Command::new("bash");
        shell.args(["-euxo", "pipefail", "-c", &script]).current_dir(&self.dir).env_clear();
        shell.env("SEAWALL_HOME", self.fleet.home()).env("HOME", &self.dir).stdin(Stdio::null());
        if script.contains("$FLEET_ID") {
            let shown = self.fleet.run(&["fleet", "show", "--json"]).ok().json();
            let id = shown["fleet"].as_str().expect("an id");
            shell.env("FLEET_ID", id.trim_start_matches("fleet:"));
        }
        shell
            .env("MACHINES", self.fleet.path(""))
            .env("DRILLS", self.path("drills.git"))
            .env("SOURCES", Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
            .env("PATH", search_path())
            .env("SEAWALL_SHARE_PASSPHRASE", PASSPHRASE);
        said(shell.envs(variables.iter().map(|(name, value)| (name, value)))).ok();
    }

    pub(crate) fn snapshots(&self) -> usize {
        let list = self.fleet.run(&["snapshot", "list", "--json"]).ok().json();
        list.as_array().expect("an array").len()
    }
}

/// Where programs are looked for, this one first.
pub(crate) fn search_path() -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_seawall"));
    let bin = program.parent().expect("it is in a directory").display();
    format!("{bin}:{}", std::env::var("PATH").expect("a PATH"))
}

fn manual() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/manual")
}

fn page(name: &str) -> String {
    let path = manual().join(name.replace('_', "-")).with_extension("md");
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What is fenced in a page: the word behind the opening fence, and the lines. Fences may be
/// indented in lists.
fn fenced(page: &str) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in page.lines() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(word), None) => open = Some((word.trim().to_owned(), String::new())),
            (Some(_), Some(_)) => out.extend(open.take()),
            (None, Some((_, lines))) => lines.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    assert_eq!(open, None, "a fence is not closed");
    out
}

/// The blocks of a page that are run, as one shell runs them.
fn blocks(page: &str) -> Vec<String> {
    let fenced = fenced(page).into_iter();
    let runs = |(word, lines): (String, String)| match word.as_str() {
        "sh" => Some(lines),
        "console" => Some(at_prompts(&lines)),
        _ => None,
    };
    fenced.filter_map(runs).collect()
}

/// What is typed at several prompts, one after the other.
fn at_prompts(lines: &str) -> String {
    let mut out = String::new();
    for line in lines.lines() {
        let prompt = line.trim_start().split_once("$ ");
        let named = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        let Some((name, command)) = prompt.filter(|(name, _)| named(name)) else {
            out.extend([line, "\n"]);
            continue;
        };
        out.push_str(&format!("export SEAWALL_HOME=\"$MACHINES/{name}\"\n{}\n", command.trim()));
        let asks = [" restore approve ", " group step ", " custodian join "];
        if asks.iter().any(|words| command.contains(words)) {
            out.insert_str(out.len() - 1, " --yes");
        }
        if command.ends_with("region run &") {
            out.push_str(&format!("until (: < /dev/tcp/{REGION_PATH}); do sleep 0.1; done\n"));
        }
    }
    out
}

fn blocks_as(page: &str, words: &str) -> Vec<String> {
    let fenced = fenced(page).into_iter();
    fenced.filter_map(|(word, lines)| (word == words).then_some(lines)).collect()
}

/// The blocks of the page `name` that are fenced with these words.
pub(crate) fn blocks_of(name: &str, words: &str) -> Vec<String> {
    let found = blocks_as(&page(name), words);
    assert!(!found.is_empty(), "{name} has examples");
    found
}

#[test]
fn every_page_with_examples_is_run() {
    let mut with_examples = BTreeSet::new();
    for entry in fs::read_dir(manual()).expect("the manual") {
        let file = entry.expect("readable").file_name().into_string().expect("UTF-8");
        let name = file.strip_suffix(".md").expect("pages only").replace('-', "_");
        for (word, lines) in fenced(&page(&name)) {
            assert!(
                ["sh", "console", "sh postgres", "sh postgres drill", "text", "ini"]
                    .contains(&word.as_str()),
                "docs/manual/{file}: no such fence is known: `{word}` in front of {lines:?}"
            );
            if word == "sh" || word == "console" {
                with_examples.insert(name.clone());
            }
        }
    }
    let run: BTreeSet<_> = PAGES.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(run, with_examples, "left: run by tests/manual.rs, right: pages with such blocks");
}

fn looked_into(here: &Here) {
    let archive = fs::metadata(here.path("site.tar")).expect("exported");
    assert!(archive.len() > 512);
    let below = |dir: &str, file: &str| {
        let site = here.dir.strip_prefix("/").expect("absolute").join("site");
        here.path(dir).join(site).join(file)
    };
    // Of an archive by a pattern, of a path, of a pattern: each its file, none the other's.
    for (dir, there, not_there) in [
        ("mnt", "conf.d/http.conf", "index.html"),
        ("part", "conf.d/http.conf", "index.html"),
        ("pages", "index.html", "conf.d/http.conf"),
    ] {
        assert!(below(dir, there).is_file(), "{dir} has {there}");
        assert!(!below(dir, not_there).exists(), "{dir} has no {not_there}");
    }
    assert_eq!(fs::read(below("part", "conf.d/http.conf")).expect("restored"), b"listen 80\n");
    assert_eq!(here.snapshots(), 2);
}

fn deleted_by_two(here: &Here) {
    assert_eq!(here.snapshots(), 1);
    let all = here.fleet.run(&["snapshot", "list", "--all", "--json"]).ok().json();
    assert_eq!(all[0]["deleted"]["reason"], "erasure, case 7", "{all}");
    here.fleet.run(&["verify"]).ok();
}

fn a_ceremony_and_the_years_after(here: &Here) {
    let restored = here.path("restored").join(here.dir.strip_prefix("/").expect("absolute"));
    assert_eq!(fs::read(restored.join("www/index.html")).expect("restored"), b"hello\n");
    let record = fs::read_to_string(here.path("record.html")).expect("written");
    assert!(record.contains("carla") && record.contains("any 2 of 3"), "{record}");
    let shows =
        |name: &str| run(&here.fleet.path(name), &["custodian", "show", "--json"]).ok().json();
    let epochs = |name: &str| {
        let shares = shows(name)["shares"].as_array().cloned().expect("an array");
        shares.iter().map(|s| s["share_epoch"].as_u64().expect("a number")).collect::<Vec<_>>()
    };
    // Bob left, and joined no newer card.
    let all = ["anna", "carla", "dora", "bob-new"].map(epochs);
    assert_eq!(all, [[2], [2], [2], [1]]);
    // What was sealed to the first custodians opens for the new ones.
    let site = here.fleet.path("site-a");
    let list = run(&site, &["snapshot", "list", "--json"]).ok().json();
    let id = list[0]["id"].as_str().expect("an id").to_owned();
    let (request, to) = (here.path("again.json"), here.path("again"));
    let reason = ["--reason", "x", "--out", arg(&request)];
    run(&site, &[&["restore", "request", &id][..], &reason].concat()).ok();
    let mut arguments = vec!["restore", "run", arg(&request), "--to", arg(&to)];
    let answers = ["carla", "dora"].map(|name| (name, here.path(&format!("{name}-again.json"))));
    for (name, answer) in &answers {
        let approve = ["restore", "approve", arg(&request), "--out", arg(answer), "--yes"];
        run(&here.fleet.path(name), &approve).ok();
        arguments.extend(["--approval", arg(answer)]);
    }
    run(&site, &arguments).ok();
    let again = to.join(here.dir.strip_prefix("/").expect("absolute"));
    assert_eq!(fs::read(again.join("www/index.html")).expect("restored"), b"hello\n");
}

fn asked_confirmed_and_on_record(here: &Here) {
    let restored = here.path("restored").join(here.dir.strip_prefix("/").expect("absolute"));
    assert_eq!(fs::read(restored.join("www/index.html")).expect("restored"), b"hello\n");
    let home = here.path("var/lib/custodian");
    let acts = run(&home, &["custodian", "log", "list", "--json"]).ok().json();
    let kinds = |wanted: &str| {
        let acts = acts.as_array().expect("a list").iter();
        acts.filter(|act| act["act"]["kind"] == wanted).count()
    };
    let counted = ["seen", "confirmed", "declined", "answered"].map(kinds);
    assert_eq!(counted, [3, 1, 1, 1], "{acts:#}");
    let told = fs::read_to_string(here.path("told.txt")).expect("told");
    assert!(told.contains("INC-7: the disk died") && !told.contains(PASSPHRASE), "{told}");
}

fn on_record(here: &Here) {
    let lines = fs::read_to_string(here.path("audit.jsonl")).expect("exported");
    assert_eq!(lines.lines().filter(|l| l.contains("\"kind\":\"approval\"")).count(), 2);
    assert!(lines.contains("the page was overwritten"), "{lines}");
}

fn drilled(here: &Here) {
    let reports = here.fleet.run(&["report", "list", "--json"]).ok().json();
    let reports = reports.as_array().expect("a list");
    let kinds: Vec<_> = reports.iter().map(|r| r["kind"].as_str().expect("a word")).collect();
    assert_eq!(kinds, ["canary", "quorum", "scrub"]);
    assert!(reports.iter().all(|r| r["result"] == "PASSED"), "{reports:#?}");
    let site = fs::read_dir(here.path("site/reports")).expect("published");
    assert_eq!(site.count(), 9, "each as JSON, page and proof");
    let masked = fs::read_to_string(here.path("for-developers/customers.csv")).expect("kept");
    assert!(!masked.contains("ada") && !masked.contains("fish"), "{masked}");
    assert!(!here.path("for-developers/private.key").exists());
}

/// What the service's machine does: the repository cloned anew, the script run, no home but its own.
fn job(here: &Here, arguments: &[&str], passphrase: &str) -> Said {
    let program = Path::new(env!("CARGO_BIN_EXE_seawall"));
    let lent = tempfile::tempdir().expect("a machine");
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        said(git.args(args).current_dir(lent.path())).ok();
    };
    git(&["clone", "--quiet", arg(&here.path("drills.git")), "drills"]);
    let workflow = lent.path().join("drills/.github/workflows/restore-drill.yml");
    let workflow = fs::read_to_string(workflow).expect("in its place");
    let [run] =
        workflow.lines().filter_map(|l| l.trim().strip_prefix("- run: ")).collect::<Vec<_>>()[..]
    else {
        panic!("one step: {workflow}")
    };
    let mut shell = Command::new("bash");
    shell.args(["-e", "-c", &format!("{run} \"$@\""), run]).args(arguments);
    shell.current_dir(lent.path().join("drills")).env_clear();
    shell.env("PATH", std::env::var("PATH").expect("a PATH")).env("HOME", lent.path());
    shell.env("SEAWALL_URL", format!("file://{}", program.display()));
    shell.env("SEAWALL_SHA256", Sha256::of(&fs::read(program).expect("readable")).to_hex());
    said(shell.env("DRILL_PASSPHRASE", passphrase).stdin(Stdio::null()))
}

fn drilled_by_a_service(here: &Here) {
    let passphrase = fs::read_to_string(here.path("drill-passphrase")).expect("made");
    let passphrase = passphrase.trim_end();
    job(here, &[], "another").code(2).says(&["decryption failed"]);
    let page = here.path("shop/index.html");
    let check = format!("grep -q Shop \"$SEAWALL_RESTORED{}\"", page.display());
    job(here, &["--check", &check], passphrase).ok();
    // One that fails is red, and published like the others.
    job(here, &["--check", "false"], passphrase).code(1);
    let drills = here.path("drills");
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        said(git.args(args).current_dir(&drills).env("HOME", &here.dir)).ok()
    };
    git(&["pull", "--quiet"]);
    let shown = here.fleet.run(&["fleet", "show", "--json"]).ok().json();
    let fleet = shown["fleet"].as_str().expect("an id");
    let mut codes = Vec::new();
    for entry in fs::read_dir(drills.join("site/reports")).expect("published") {
        let path = entry.expect("readable").path();
        if path.extension().is_some_and(|it| it == "json") {
            let args = ["report", "verify", arg(&path), "--fleet", fleet];
            codes.push(run(&here.path("nowhere"), &args).code);
        }
    }
    codes.sort_unstable();
    assert_eq!(codes, [0, 1], "both genuine");
    // A repository that was set back: the region has seen more of the log, and says so.
    git(&["reset", "--quiet", "--hard", "HEAD~4"]);
    git(&["push", "--quiet", "--force"]);
    job(here, &[], passphrase)
        .code(1)
        .says(&["restored from an old copy", "seawall node epoch begin"]);
}

fn a_second_machine_has_it(here: &Here) {
    let www = here.path("srv/www");
    let restored = here.path("srv/restored").join(www.strip_prefix("/").expect("absolute"));
    assert_same(&www, &restored);
    assert!(here.path("srv/restored/etc/hostname").is_file());
    assert!(fs::read_to_string(here.path("sheet.html")).expect("written").contains("anna"));
}

fn found(here: &Here) {
    assert_eq!(here.snapshots(), 2);
    let said = here.fleet.run(&["find", "budget", "--json"]).ok().json();
    let (found, there) = (&said["found"][0], here.path("office/plans/budget-2026.ods"));
    assert_eq!((&found["path"], &found["stands"]), (&arg(&there).into(), &false.into()));
    let index = here.fleet.run(&["fleet", "index", "show", "--json"]).ok().json();
    assert_eq!(index["operators"].as_array().map(Vec::len), Some(1), "the desk was removed");
}

fn wrapped_by_a_token(here: &Here) {
    let restored = here.path("restored").join(here.dir.strip_prefix("/").expect("absolute"));
    assert_eq!(fs::read(restored.join("www/index.html")).expect("restored"), b"hello\n");
    assert!(!here.path("no.json").exists() && !here.path("anna/keys/signing.key").exists());
}

fn another_epoch_without_losing_a_snapshot(here: &Here) {
    let status = here.fleet.run(&["node", "epoch", "status", "--json"]).ok().json();
    assert_eq!((status["epoch"].as_u64(), status["provisional"].is_null()), (Some(2), true));
    let list = here.fleet.run(&["snapshot", "list", "--json"]).ok().json();
    assert_eq!(list[0]["witnessed"]["needed"].as_u64(), Some(2));
    here.fleet.run(&["log", "verify"]).ok();
}

fn two_of_three_decide(here: &Here) {
    let shown = here.fleet.run(&["fleet", "policy", "show", "--json"]).ok().json();
    assert_eq!((shown["version"].as_u64(), shown["root_threshold"].as_u64()), (Some(3), Some(2)));
    assert_eq!(shown["root_keys"].as_array().map(Vec::len), Some(3));
    let args = ["fleet", "policy", "propose", "--deletion-min-days", "1"];
    let alone = here.path("alone.json");
    let more = ["--deletion-custodians", "1", "--out", arg(&alone)];
    here.fleet.run(&[&args[..], &more].concat()).ok();
    let said = here.fleet.run(&["fleet", "policy", "apply", arg(&alone)]).code(1);
    said.says(&["0 of the trusted keys, 2 needed"]);
}

fn sealed_to_two_kinds_of_keys(here: &Here) {
    let listed = here.fleet.run(&["snapshot", "list", "--json"]).ok().json();
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
}

fn opened_by_breaking_the_glass(here: &Here) {
    let tree = here.fleet.path("tree");
    assert_same(&tree, &restored(&here.path("srv/restored"), &tree));
    let log = here.fleet.run(&["log", "show"]).ok().stdout;
    assert!(log.contains("break-glass") && log.contains("cut off by the flood"), "{log}");
}

fn away_and_back(here: &Here) {
    let list = here.fleet.run(&["snapshot", "list", "--json"]).ok().json();
    for at in 0..2 {
        assert_eq!(list[at]["receipts"], serde_json::json!(["region-a"]), "{list}");
    }
}

fn restored_twice(here: &Here) {
    let tree = here.fleet.path("tree");
    assert_same(&tree, &restored(&here.path("srv/restored"), &tree));
    assert_same(&tree, &restored(&here.path("srv/from-nothing"), &tree));
    let collected = fs::read_dir(here.path("approvals")).expect("collected").count();
    assert_eq!(collected, 2, "one machine was down");
}

fn pruned(here: &Here) {
    // Both are younger than a day, so nothing went. The saved rules are what the page saved.
    assert_eq!(here.snapshots(), 2);
    let plan = here.fleet.run(&["prune", "--plan", "--json"]).ok().json();
    let reasons = |at: usize| plan["snapshots"][at]["reasons"].to_string();
    assert!(reasons(0).contains("tags before-upgrade"), "{plan}");
    assert!(reasons(1).contains("daily"), "{plan}");
}

fn alone(here: &Here) {
    assert_eq!(here.snapshots(), 1);
    let restored = here.path("srv/restored").join(here.dir.strip_prefix("/").expect("absolute"));
    let letter = fs::read(restored.join("documents/letter.txt")).expect("restored");
    assert_eq!(letter, fs::read(here.path("documents/letter.txt")).expect("it is there"));
}

fn all_sources_are_snapshots(here: &Here) {
    assert_eq!(here.snapshots(), 8);
    let log = fs::read_to_string(here.path("backups.log")).expect("the hook wrote it");
    assert!(log.starts_with("done ") && !here.path("www/frozen").exists(), "{log}");
    assert!(!here.path("alarm").exists(), "nothing failed");
}

/// A fleet with a snapshot that a bucket holds as well.
fn two_copies() -> Fleet {
    let fleet = Fleet::nowhere();
    let (shares, bucket) = (fleet.path("shares"), fleet.path("bucket"));
    let args = ["init", "--profile", "solo", "--shares-dir", arg(&shares)];
    fleet.run(&[&args[..], &["--bucket", arg(&bucket)]].concat()).ok();
    let tree = fleet.tree("tree");
    fleet.snapshot(&tree);
    fleet.run(&["sync"]).ok();
    fleet
}

fn what_rots_is_mended(here: &Here) {
    let zone = here.fleet.home().join("zones/0000000000000000.zone");
    let mut bytes = fs::read(&zone).expect("a zone");
    bytes[3 << 20] ^= 0xff;
    fs::write(&zone, bytes).expect("written");
    here.fleet.run(&["verify"]).code(1);
    let blocks = blocks(&page("verify"));
    here.run(&blocks[blocks.len() - 1..]);
    here.fleet.run(&["verify"]).ok();
}

/// The splitter itself.
#[test]
fn fences_are_taken_apart() {
    let page = "a\n```sh\nx\n```\n- b\n\n  ```text\n  y\n  ```\n\n```sh\nz\nw\n```\n";
    let words: Vec<_> = fenced(page).into_iter().map(|(word, _)| word).collect();
    assert_eq!(words, ["sh", "text", "sh"]);
    assert_eq!(blocks(page), ["x\n", "z\nw\n"]);
}
