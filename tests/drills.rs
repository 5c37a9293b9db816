//! Drills: what was sealed is restored, compared, tried and reported, and what is wrong is found.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::attack::witnesses::witnesses;
use crate::harness::{
    Fleet, HttpsServer, Said, arg, assert_same, certificate, copy, end, restored, run, said,
    seawall, signal, start, wait_until,
};

/// A fleet with a canary class.
fn with_canary() -> Fleet {
    Fleet::found_with(&["--canary"])
}

/// Seals `path` as a canary.
fn seal_canary(fleet: &Fleet, path: &Path) -> String {
    let said = fleet.run(&["snapshot", "create", arg(path), "--class", "canary", "--json"]).ok();
    said.json()["id"].as_str().expect("an id").to_owned()
}

/// An empty directory in which drills make theirs.
fn scratch(fleet: &Fleet) -> PathBuf {
    let dir = fleet.path("scratch");
    fs::create_dir_all(&dir).expect("made");
    dir
}

fn drill(fleet: &Fleet, args: &[&str]) -> Said {
    let place = scratch(fleet);
    let said = fleet.run(&[&["drill"], args, &["--scratch", arg(&place), "--json"]].concat());
    if !args.contains(&"--keep") {
        assert_eq!(fs::read_dir(&place).expect("there").count(), 0, "nothing is left behind");
    }
    said
}

/// Verdict of a check in a drill's output.
fn verdict(value: &Value, check: &str) -> String {
    let checks = value["checks"].as_array().expect("checks");
    let found = checks.iter().find(|c| c["name"] == check);
    found.unwrap_or_else(|| panic!("no check {check}: {value}"))["verdict"]
        .as_str()
        .expect("a word")
        .to_owned()
}

fn fleet_id(fleet: &Fleet) -> String {
    let show = fleet.run(&["fleet", "show", "--json"]).ok().json();
    show["fleet"].as_str().expect("an id").to_owned()
}

/// Asks for a drill of `id` and has two custodians approve.
fn quorum(fleet: &Fleet, id: &str, more: &[&str]) -> Said {
    let request = fleet.path("drill.json");
    fleet.run(&["drill", "quorum", "begin", "--snapshot", id, "--out", arg(&request)]).ok();
    let a = fleet.approve(&request, 0, "drill-0.json");
    let b = fleet.approve(&request, 2, "drill-2.json");
    let args = ["quorum", "run", arg(&request), "--approval", arg(&a), "--approval", arg(&b)];
    drill(fleet, &[&args[..], more].concat())
}

#[test]
fn a_canary_is_restored_without_people() {
    let fleet = with_canary();
    let tree = fleet.tree("canary");
    seal_canary(&fleet, &tree);
    fleet.snapshot(&fleet.tree("tree"));
    let file = format!("{}/sub/small.txt", arg(&tree));
    let check = format!("test -s \"$SEAWALL_RESTORED{file}\" && test -n \"$SEAWALL_SNAPSHOT\"");
    let said = drill(&fleet, &["canary", "--against", arg(&tree), "--check", &check]).ok().json();
    for check in [
        "history",
        "quorum",
        "restore",
        "signed totals",
        "reference set",
        "real tree",
        "read back",
        "live source",
        "application",
    ] {
        assert_eq!(verdict(&said, check), "PASSED", "{check}: {said}");
    }
    assert_eq!(said["result"], "PASSED");
    assert_eq!(said["items"], 4, "each file once");
    assert!(said["rto_millis"].as_u64().is_some_and(|millis| millis > 0), "{said}");
    assert!(said["rpo_seconds"].as_u64().is_some_and(|seconds| seconds < 600), "{said}");
    // Again within the month: not due.
    let again = drill(&fleet, &["canary", "--if-due", "28d"]).ok().json();
    assert_eq!(again["due"], false);
    let listed = fleet.run(&["report", "list", "--json"]).ok().json();
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
    assert_eq!(listed[0]["kind"], "canary");
    fleet.run(&["log", "verify"]).ok();
    fleet.run(&["verify"]).ok();
}

#[test]
fn the_share_of_the_canary_opens_nothing_else() {
    let fleet = with_canary();
    let tree = fleet.tree("tree");
    let id = fleet.snapshot(&tree);
    drill(&fleet, &["canary"]).code(1).says(&["no canary is known here"]);
    drill(&fleet, &["canary", "--snapshot", &id]).code(1).says(&["use the share of that group"]);
    // Nor does somebody's real share become a canary's.
    let canary = fleet.path("node-1-canary");
    fs::copy(&fleet.shares()[0], canary.join("share.json")).expect("copied");
    seal_canary(&fleet, &tree);
    drill(&fleet, &["canary"]).code(1).says(&["real shares have no place here"]);
    fs::remove_dir_all(&canary).expect("gone");
    drill(&fleet, &["canary"]).code(1).says(&["init --canary"]);
}

#[test]
fn custodians_open_a_real_snapshot_for_a_drill_and_it_stays() {
    let fleet = with_canary();
    let tree = fleet.tree("tree");
    let first = fleet.snapshot(&tree);
    fs::write(tree.join("later"), b"later").expect("written");
    let said = quorum(&fleet, &first, &["--keep"]).ok().json();
    assert_eq!(said["result"], "PASSED", "{said}");
    assert_eq!(said["approvals"].as_array().map(Vec::len), Some(2));
    let kept = PathBuf::from(said["kept"].as_str().expect("kept"));
    fs::remove_file(tree.join("later")).expect("removed");
    let mtime = fs::metadata(restored(&kept, &tree)).expect("there").modified().expect("a time");
    fs::File::open(&tree).and_then(|f| f.set_modified(mtime)).expect("as it was");
    assert_same(&tree, &restored(&kept, &tree));
    fs::remove_dir_all(kept).expect("removed");

    for n in 0..2 {
        fs::write(tree.join("later"), [n; 10]).expect("written");
        fleet.snapshot(&tree);
    }
    let plan = ["prune", "--keep-last", "1", "--min-age", "0h", "--json"];
    let shown = fleet.run(&[&plan[..], &["--plan"]].concat()).ok().json();
    let reasons = shown["snapshots"][0]["reasons"].to_string();
    assert!(reasons.contains("last proven by a drill"), "{shown}");
    let done = fleet.run(&[&plan[..], &["--yes"]].concat()).ok().json();
    assert_eq!(done["forgotten"].as_array().map(Vec::len), Some(1), "the second one: {done}");
    quorum(&fleet, &first, &[]).ok();
    // A request for a restore is none for a drill, and the custodian sees which it is.
    let request = fleet.request(&fleet.home(), &first, "request.json");
    let approval = fleet.approve(&request, 0, "a.json");
    let args = ["quorum", "run", arg(&request), "--approval", arg(&approval)];
    drill(&fleet, &args).code(1).says(&["no drill"]);
    let marked = fleet.path("drill.json");
    let share = fleet.shares()[0].clone();
    let out = fleet.path("again.json");
    let args = ["restore", "approve", arg(&marked), "--share", arg(&share), "--out", arg(&out)];
    run(&fleet.home(), &[&args[..], &["--yes"]].concat()).ok().says(&["a drill"]);
}

#[test]
fn too_few_approvals_are_a_failed_drill_on_record() {
    let fleet = Fleet::found();
    let id = fleet.snapshot(&fleet.tree("tree"));
    let request = fleet.path("drill.json");
    fleet.run(&["drill", "quorum", "begin", "--snapshot", &id, "--out", arg(&request)]).ok();
    let one = fleet.approve(&request, 0, "a.json");
    let args = ["quorum", "run", arg(&request), "--approval", arg(&one)];
    let said = drill(&fleet, &args).code(1).json();
    assert_eq!((verdict(&said, "quorum").as_str(), &said["result"]), ("FAILED", &"FAILED".into()));
    let log = fleet.run(&["log", "show"]).ok().stdout;
    assert!(log.contains("quorum of number 1: FAILED"), "{log}");
}

#[test]
fn damage_and_a_broken_application_are_found() {
    let fleet = with_canary();
    let tree = fleet.tree("canary");
    seal_canary(&fleet, &tree);
    let said = drill(&fleet, &["canary", "--check", "echo no >&2; exit 3"]).code(1);
    let said = said.says(&["application check", "no"]).json();
    assert_eq!(verdict(&said, "application"), "FAILED");
    assert_eq!(verdict(&said, "restore"), "PASSED");
    let report = fs::read_to_string(said["report"].as_str().expect("a path")).expect("kept");
    assert!(!report.contains("exit 3"), "what a command said is not in the report");

    fleet.run(&["drill", "scrub"]).ok();
    let zone = fleet.home().join("zones/0000000000000000.zone");
    let mut bytes = fs::read(&zone).expect("a zone");
    bytes[3 << 20] ^= 0xff;
    fs::write(&zone, bytes).expect("written");
    let said = drill(&fleet, &["canary"]).code(1);
    let said = said.says(&["on the disk are 3 files", "signed are 4 files"]);
    assert!(!said.stderr.contains("Totals"), "words, and no dump: {}", said.stderr);
    let said = said.json();
    assert_eq!(verdict(&said, "restore"), "FAILED");
    assert_eq!((&said["items"], &said["bytes"]), (&3.into(), &40_011.into()), "what is there");
    let checks = said["checks"].as_array().expect("checks").iter();
    let back = checks.clone().find(|c| c["name"] == "read back").expect("one")["said"].to_string();
    assert!(back.contains("3 files of 40011 bytes") && back.contains(" 0 differ, 1 "), "{back}");
    let said = drill(&fleet, &["canary", "--sample", "100"]).code(1).json();
    assert_eq!(said["result"], "FAILED");
    let said = fleet.run(&["drill", "scrub", "--json"]).code(1).json();
    assert_eq!(verdict(&said, "own store"), "FAILED");
    // One that passed before it does not excuse the newest.
    fleet.run(&["drill", "scrub", "--if-due", "6d"]).code(1);
    // Every one of them is on record.
    let results = fleet.run(&["report", "list", "--json"]).ok().json();
    let failed = results.as_array().expect("a list").iter().filter(|r| r["result"] == "FAILED");
    assert_eq!(failed.count(), 5);
}

#[test]
fn a_sample_proves_less() {
    let fleet = with_canary();
    let tree = fleet.tree("canary");
    seal_canary(&fleet, &tree);
    let said = drill(&fleet, &["canary", "--sample", "2"]).ok().json();
    assert_eq!((&said["whole"], &said["items"]), (&false.into(), &2.into()));
    assert_eq!(verdict(&said, "read back"), "PASSED");
    assert_eq!(verdict(&said, "signed totals"), "PASSED");
    // What was not drawn is not missing.
    let said = drill(&fleet, &["canary", "--sample", "2", "--against", arg(&tree)]).ok().json();
    assert_eq!(verdict(&said, "live source"), "PASSED");
    // The one share beside this machine proves nothing about custodians.
    let list = fleet.run(&["snapshot", "list", "--json"]).ok().json();
    let canary = list[0]["id"].as_str().expect("an id");
    let out = fleet.path("drill.json");
    let begin = ["drill", "quorum", "begin", "--snapshot", canary, "--out", arg(&out)];
    fleet.run(&begin).code(1).says(&["is a canary"]);
    let plan = ["prune", "--plan", "--keep-last", "1", "--min-age", "0h", "--json"];
    let shown = fleet.run(&plan).ok().json();
    assert!(!shown.to_string().contains("proven"), "{shown}");
}

/// Replaces what is live for the moment in which it is sealed.
fn seal_instead(fleet: &Fleet, tree: &Path, change: impl Fn(&Path)) {
    let good = fleet.path("good");
    crate::harness::copy(tree, &fleet.path("bad"));
    fs::rename(tree, &good).expect("moved away");
    fs::rename(fleet.path("bad"), tree).expect("moved in");
    change(tree);
    seal_canary(fleet, tree);
    fs::remove_dir_all(tree).expect("removed");
    fs::rename(&good, tree).expect("moved back");
}

#[test]
fn what_changed_since_is_told_from_what_was_never_so() {
    let fleet = with_canary();
    let tree = fleet.tree("canary");
    std::thread::sleep(Duration::from_millis(2_100));
    seal_canary(&fleet, &tree);
    fs::write(tree.join("inline.txt"), b"changed since").expect("written");
    fs::remove_file(tree.join("empty")).expect("removed");
    let against = ["canary", "--against", arg(&tree)];
    let said = drill(&fleet, &against).ok().json();
    assert_eq!(verdict(&said, "live source"), "PASSED");

    std::thread::sleep(Duration::from_millis(2_100));
    seal_instead(&fleet, &tree, |bad| {
        let file = bad.join("sub/small.txt");
        let mtime = fs::metadata(&file).and_then(|m| m.modified()).expect("a time");
        fs::write(&file, vec![b'g'; 40_000]).expect("garbage of the same length");
        fs::File::options()
            .write(true)
            .open(&file)
            .and_then(|f| f.set_modified(mtime))
            .expect("set");
    });
    let said = drill(&fleet, &against).code(1).says(&["small.txt", "content differs"]).json();
    assert_eq!(verdict(&said, "live source"), "FAILED");
    assert_eq!(verdict(&said, "reference set"), "PASSED", "it is what was sealed");

    std::thread::sleep(Duration::from_millis(2_100));
    seal_instead(&fleet, &tree, |bad| fs::remove_file(bad.join("link")).expect("removed"));
    drill(&fleet, &against).code(1).says(&["link", "only in the first tree"]);
    let lax = [&against[..], &["--may-lack"]].concat();
    let said = drill(&fleet, &lax);
    assert!(said.code == 0 || said.stderr.contains("modification time"), "{}", said.stderr);
}

#[test]
fn regions_are_read_back_and_are_enough() {
    let fleet = with_canary();
    let mut region = fleet.region("region-a");
    let tree = fleet.tree("canary");
    seal_canary(&fleet, &tree);
    fleet.run(&["drill", "scrub", "--region", "region-b"]).code(1).says(&["no region"]);
    let said = fleet.run(&["drill", "scrub", "--region", "region-a", "--json"]).code(1).json();
    assert_eq!(verdict(&said, "region region-a"), "FAILED", "nothing was synced");
    fleet.run(&["sync"]).ok();
    let said = fleet.run(&["drill", "scrub", "--region", "region-a", "--json"]).ok().json();
    assert_eq!(verdict(&said, "region region-a"), "PASSED");
    let args = ["drill", "scrub", "--region", "region-a", "--sample", "2", "--json"];
    let said = fleet.run(&args).ok().json();
    assert_eq!(said["whole"], false);
    let said = drill(&fleet, &["canary", "--elsewhere"]).ok().json();
    assert_eq!(said["tiers"], serde_json::json!(["region-a"]));
    // The log that has the drills is one that a region takes.
    fleet.run(&["sync"]).ok();

    region.kill();
    let said = drill(&fleet, &["canary", "--elsewhere"]).code(1).json();
    assert_eq!(verdict(&said, "restore"), "FAILED");
    let said = fleet.run(&["drill", "scrub", "--region", "region-a", "--json"]).code(1).json();
    assert_eq!(verdict(&said, "region region-a"), "FAILED");
}

/// Serves one directory over http until the test ends; returns its address.
fn serve(dir: PathBuf) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut head = [0; 4_096];
            let n = stream.read(&mut head).expect("a request");
            let head = String::from_utf8_lossy(&head[..n]).into_owned();
            let path = head.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
            let (status, body) = match fs::read(dir.join(path)) {
                Ok(body) => ("200 OK", body),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let date = "Last-Modified: Sat, 21 Nov 2026 08:00:00 GMT";
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status}\r\n{date}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    address
}

#[test]
fn reports_are_published_and_checked_by_strangers() {
    let fleet = with_canary();
    let tree = fleet.tree("canary");
    seal_canary(&fleet, &tree);
    drill(&fleet, &["canary"]).ok();
    drill(&fleet, &["canary", "--check", "false"]).code(1);
    let site = fleet.path("site");
    let publish = || fleet.run(&["report", "publish", "--to", arg(&site), "--json"]);
    let done = publish().ok().json();
    assert_eq!((&done["new"], &done["old"]), (&2.into(), &0.into()));
    let index: Value =
        serde_json::from_slice(&fs::read(site.join("index.json")).expect("written")).expect("JSON");
    let reports = index["reports"].as_array().expect("a list");
    let path = |n: usize| reports[n]["report"].as_str().expect("a path").to_owned();
    let good = path(usize::from(reports[0]["result"] != "PASSED"));
    let bad = path(usize::from(reports[0]["result"] != "FAILED"));
    assert!(!fs::read_to_string(site.join(&good)).expect("there").contains("canary/sub"));
    assert_eq!(fs::read_dir(site.join("incidents")).expect("there").count(), 1);

    // Somebody who has neither a home nor anything else but the id.
    let nobody = fleet.path("nobody");
    let id = fleet_id(&fleet);
    let verify = |place: &str| run(&nobody, &["report", "verify", place, "--fleet", &id, "--json"]);
    let said = verify(arg(&site.join(&good))).ok().json();
    assert_eq!((&said["genuine"], &said["result"]), (&true.into(), &"PASSED".into()));
    let said = verify(arg(&site.join(&bad))).code(1).json();
    assert_eq!((&said["genuine"], &said["result"]), (&true.into(), &"FAILED".into()));
    let server = serve(site.clone());
    verify(&format!("http://{server}/{good}")).ok();
    verify(&format!("http://{server}/reports/none.json")).code(1).says(&["cannot read"]);
    let other = "0".repeat(64);
    let place = site.join(&good);
    let args = ["report", "verify", arg(&place), "--fleet", &other];
    run(&nobody, &args).code(1).says(&["must not be believed"]);
    assert!(!nobody.exists(), "no home was made");

    // Published again, nothing changes; what was changed is refused.
    let before = fs::read(site.join(&good)).expect("there");
    let page = site.join(&good).with_extension("html");
    let stamp = fs::metadata(&page).and_then(|m| m.modified()).expect("a time");
    assert_eq!(publish().ok().json()["new"], 0);
    assert_eq!(fs::read(site.join(&good)).expect("there"), before);
    assert_eq!(fs::metadata(&page).and_then(|m| m.modified()).expect("a time"), stamp);
    let text =
        String::from_utf8(before).expect("UTF-8").replace("\"whole\":true", "\"whole\":false");
    fs::write(site.join(&good), text).expect("written");
    publish().code(1).says(&["was changed after it was published"]);
    verify(arg(&site.join(&good))).code(1).says(&["not those that were signed"]);

    let page = fleet.path("page.html");
    fleet.run(&["report", "page", "--out", arg(&page)]).ok();
    let page = fs::read_to_string(page).expect("written");
    assert!(page.contains("FAILED") && !page.contains("<script"), "{page}");
}

#[test]
fn several_reports_are_checked_at_once_and_changed_pages_are_noticed() {
    let fleet = Fleet::found();
    fleet.snapshot(&fleet.tree("tree"));
    for _ in 0..2 {
        fleet.run(&["drill", "scrub"]).ok();
    }
    let site = fleet.path("site");
    let publish = || fleet.run(&["report", "publish", "--to", arg(&site)]);
    publish().ok();
    let all = fs::read_dir(site.join("reports")).expect("published");
    let all = all.map(|entry| entry.expect("readable").path());
    let mut all: Vec<_> = all.filter(|it| it.extension().is_some_and(|e| e == "json")).collect();
    all.sort();

    // A page or a proof that says something else stops everything; one that is gone comes back.
    for extension in ["html", "proof"] {
        let beside = all[0].with_extension(extension);
        let before = fs::read(&beside).expect("there");
        for lie in [&b"evil"[..], &[], &[&before[..], b" "].concat()] {
            fs::write(&beside, lie).expect("written");
            publish().code(1).says(&[arg(&beside), "changed after it was published"]);
            assert_eq!(fs::read(&beside).expect("there"), lie, "nothing was written");
        }
        fs::remove_file(&beside).expect("removed");
        publish().ok();
        assert_eq!(fs::read(&beside).expect("made again"), before);
    }

    let (id, nobody) = (fleet_id(&fleet), fleet.path("nobody"));
    let verify = |more: &[&str]| {
        let places: Vec<&str> = all.iter().map(|it| arg(it)).collect();
        let args = [&["report", "verify"][..], &places, &["--fleet", &id], more].concat();
        run(&nobody, &args)
    };
    let said = verify(&[]).ok().stdout;
    assert!(all.iter().all(|it| said.contains(arg(it))) && said.matches("genuine").count() == 2);
    let text = fs::read_to_string(&all[0]).expect("there");
    fs::write(&all[0], text.replace("\"whole\":true", "\"whole\":false")).expect("written");
    let said = verify(&["--json"]).code(1).says(&[arg(&all[0]), "not those that were signed"]);
    let said = said.json();
    assert_eq!((&said[0]["genuine"], &said[1]["genuine"]), (&false.into(), &true.into()));
    assert_eq!((&said[0]["place"], &said[1]["result"]), (&arg(&all[0]).into(), &"PASSED".into()));
}

#[test]
fn a_published_report_has_what_witnesses_signed_since() {
    let fleet = with_canary();
    let _witnesses = witnesses(&fleet, &["dora", "emil", "fritz"], ["2", "0"]);
    seal_canary(&fleet, &fleet.tree("canary"));
    fleet.run(&["sync"]).ok();
    drill(&fleet, &["canary"]).ok();
    fleet.run(&["sync"]).ok();
    let site = fleet.path("site");
    let publish = ["report", "publish", "--to", arg(&site), "--json"];
    assert_eq!(fleet.run(&publish).ok().json()["new"], 1);
    let mut reports = fs::read_dir(site.join("reports")).expect("published");
    let report = reports.find_map(|entry| {
        let path = entry.expect("readable").path();
        path.extension().is_some_and(|it| it == "json").then_some(path)
    });
    let (report, id) = (report.expect("one"), fleet_id(&fleet));
    let args = ["report", "verify", arg(&report), "--fleet", &id];
    let said = run(&fleet.path("nobody"), &args).ok().stdout;
    assert!(said.contains("cosigned by 3 of the fleet's witnesses"), "{said}");
    // Later, it is the same report.
    fleet.run(&["log", "append-event", "--kind", "test", "--text", "x"]).ok();
    fleet.run(&["sync"]).ok();
    let again = fleet.run(&publish).ok().json();
    assert_eq!((&again["new"], &again["old"]), (&0.into(), &1.into()));
}

#[test]
fn a_drill_under_way_is_not_begun_again() {
    let fleet = Fleet::found();
    fleet.snapshot(&fleet.tree("tree"));
    let out = fleet.path("drill.json");
    let begin = ["drill", "quorum", "begin", "--out", arg(&out)];
    let due = [&begin[..], &["--if-due", "85d", "--json"]].concat();
    fleet.run(&due).ok();
    let request = fs::read(&out).expect("a request");
    assert_eq!(fleet.run(&due).ok().json()["due"], false);
    fleet.run(&begin).code(1).says(&["is not replaced"]);
    assert_eq!(fs::read(&out).expect("a request"), request);
    // On another machine it is not run, and nothing is put on record.
    let other = fleet.path("other");
    copy(&fleet.home(), &other);
    fs::remove_dir_all(other.join("requests")).expect("removed");
    let run_it = ["drill", "quorum", "run", arg(&out), "--approval", arg(&out)];
    run(&other, &run_it).code(1).says(&["made on another machine"]);
    assert_eq!(run(&other, &["report", "list", "--json"]).ok().json(), serde_json::json!([]));
    run(&other, &due).code(1).says(&["another machine", "is not replaced"]);
    // What is no drill's is not overwritten either.
    fs::write(&out, "a letter").expect("written");
    fleet.run(&due).code(1).says(&["is not replaced"]);
}

#[test]
fn a_request_that_nobody_may_answer_any_more_is_in_no_ones_way() {
    let fleet = Fleet::found();
    fleet.snapshot(&fleet.tree("tree"));
    let out = fleet.path("drill-request.json");
    let due = ["drill", "quorum", "begin", "--out", arg(&out), "--if-due", "85d"];
    fleet.run(&due).ok();
    let before = fs::read(&out).expect("a request");
    // The policy demands witnesses by now, and none had seen that one's log.
    let _witnesses = witnesses(&fleet, &["dora", "emil", "fritz"], ["2", "0"]);
    fleet.run(&["sync"]).ok();
    fleet.run(&due).ok().says(&["cannot be run any more", "too few witnesses"]);
    assert_ne!(fs::read(&out).expect("a request"), before);
    let again = fleet.run(&due).ok().stdout;
    assert!(again.contains("not due"), "{again}");
}

#[test]
fn an_interrupted_drill_leaves_nothing_behind() {
    let fleet = with_canary();
    let tree = fleet.path("canary");
    for n in 0..1_500_u32 {
        let dir = tree.join(format!("{}", n % 50));
        fs::create_dir_all(&dir).expect("made");
        fs::write(dir.join(format!("{n}")), n.to_le_bytes().repeat(2_000)).expect("written");
    }
    seal_canary(&fleet, &tree);
    let place = scratch(&fleet);
    let mut interrupted = 0;
    for round in 0..4 {
        let child = start(&fleet.home(), &["drill", "canary", "--scratch", arg(&place)]);
        wait_until("it restores", || {
            let mut dirs = fs::read_dir(&place).expect("there").flatten();
            dirs.any(|it| fs::read_dir(it.path()).is_ok_and(|mut it| it.next().is_some()))
        });
        std::thread::sleep(Duration::from_millis(15 * round));
        signal(&child, Signal::TERM);
        let said = end(child);
        interrupted += usize::from(said.code == 143);
        assert!([0, 143].contains(&said.code), "{}", said.stderr);
        assert_eq!(fs::read_dir(&place).expect("there").count(), 0, "{}", said.stderr);
    }
    assert!(interrupted > 0, "they all were too fast");
    let reports = fleet.run(&["report", "list", "--json"]).ok().json();
    let reports = reports.as_array().expect("a list");
    assert!(reports.iter().all(|it| it["result"] == "PASSED"), "none has failed: {reports:#?}");
    assert_eq!(reports.len() + interrupted, 4);
}

#[test]
fn a_report_comes_over_https_from_who_has_the_certificate() {
    let fleet = with_canary();
    seal_canary(&fleet, &fleet.tree("canary"));
    drill(&fleet, &["canary"]).ok();
    let site = fleet.path("site");
    fleet.run(&["report", "publish", "--to", arg(&site)]).ok();
    certificate(&site);
    // Somebody else's, of the same names.
    let elsewhere = fleet.path("elsewhere");
    fs::create_dir(&elsewhere).expect("made");
    certificate(&elsewhere);
    let mut reports = fs::read_dir(site.join("reports")).expect("published");
    let report = reports.find_map(|entry| {
        let name = entry.expect("readable").file_name().into_string().expect("UTF-8");
        name.ends_with(".json").then_some(name)
    });
    let handler = "Handler = http.server.SimpleHTTPRequestHandler";
    let server = HttpsServer::start(&site, handler);
    let url = format!("https://localhost:{}/reports/{}", server.port, report.expect("one"));
    let id = fleet_id(&fleet);
    let verify = |ca: &Path| {
        let mut verify = seawall();
        verify.env("SEAWALL_HOME", fleet.path("nobody")).env("SSL_CERT_FILE", ca);
        said(verify.args(["report", "verify", &url, "--fleet", &id]))
    };
    let (known, unknown) = (verify(&site.join("ca.pem")), verify(&elsewhere.join("ca.pem")));
    known.ok();
    unknown.code(1).says(&["cannot read", "certificate"]);
}

#[test]
fn a_machine_that_was_off_catches_up() {
    let fleet = Fleet::found();
    let more = ["--", "--check", "test -d \"$SEAWALL_RESTORED\""];
    let units = fleet.run(&[&["drill", "schedule", "--json"], &more[..]].concat()).ok().json();
    for name in ["scrub", "canary", "quorum"] {
        let timer = units[format!("seawall-drill-{name}.timer")].as_str().expect("a timer");
        assert!(timer.contains("Persistent=true"), "{timer}");
        let service = units[format!("seawall-drill-{name}.service")].as_str().expect("a service");
        assert!(service.contains(&format!(" drill {name} ")), "{service}");
    }
    let canary = units["seawall-drill-canary.service"].as_str().expect("a service");
    assert!(canary.contains("$$SEAWALL_RESTORED"), "systemd must not expand it: {canary}");
    let lines = fleet.run(&["drill", "schedule", "--cron"]).ok().stdout;
    assert_eq!(lines.lines().count(), 3);
    for line in lines.lines() {
        assert!(line.contains(" * * * ") && line.contains("--if-due"), "{line}");
        // The command is one that a shell can run.
        let command = line.splitn(6, ' ').nth(5).expect("a command");
        let help = format!("set -- {command}; test \"$#\" -ge 5");
        let ok = std::process::Command::new("sh").args(["-c", &help]).status().expect("sh runs");
        assert!(ok.success(), "{command}");
    }
}
