//! Custodians' machines: requests answered by policy over the network, killed, lied to, asked by
//! others. The office itself also runs here without a network, so that a test can set its clock
//! and cut its power.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use seawall_base::{Clock as _, Seconds};
use seawall_custodian::message::{RequestStatus, Standing};
use seawall_custodian::{
    CustodianHome, HeldShare, Office, OfficeParts, Rules, WitnessDesk, examine, read_log,
};
use seawall_host::{OsRng, SystemClock};
use seawall_link::{Connection, LinkError, Message, Patience};
use seawall_record::{Act, FleetCard};
use seawall_sign::{SigningKey, VerifyingKey};
use seawall_sim::{PowerCut, SimClock, SimDisk};
use serde_json::Value;

use crate::harness::{
    Fleet, PASSPHRASE, Said, arg, assert_same, free_address, restored, run, seawall, wait_until,
};

/// A fleet whose three custodians have homes and addresses, and a snapshot.
pub(crate) struct Machines {
    pub(crate) fleet: Fleet,
    pub(crate) id: String,
    pub(crate) fleet_id: String,
    addresses: Vec<String>,
    running: Vec<Option<Child>>,
}

/// A machine that is killed when this goes.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().expect("killed");
        self.0.wait().expect("reaped");
    }
}

/// A policy of one rule for everything of a fleet.
pub(crate) fn policy(fleet: &str, approvers: &str, change: &[(&str, &str)]) -> String {
    let mut text = format!(
        "format = \"seawall-custodian-policy/1\"\n{approvers}\n[[rules]]\nfleet = \"{fleet}\"\n\
         class = \"any\"\nrequesters = [\"any\"]\nreason = \"test\"\ncooling_off = \"0s\"\n\
         time_zone = \"Europe/Vienna\"\nhours = [\"always\"]\nper_day = 5\npersons = 0\n\
         large = {{ files = 1000, bytes = \"1GiB\", persons = 0 }}\n"
    );
    for (from, to) in change {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    text
}

impl Machines {
    pub(crate) fn new() -> Self {
        Self::of(Fleet::found())
    }

    /// The custodians of a fleet that was just founded get machines.
    pub(crate) fn of(fleet: Fleet) -> Self {
        let tree = fleet.tree("tree");
        let id = fleet.snapshot(&tree);
        let addresses: Vec<_> = (0..3).map(|_| free_address()).collect();
        let next = fleet.path("next.json");
        let mut args = vec!["fleet", "policy", "propose", "--out", arg(&next)];
        let cards: Vec<_> = (0..3).map(|n| fleet.path(&format!("card-{n}.json"))).collect();
        for (n, address) in addresses.iter().enumerate() {
            let home = fleet.path(&format!("c{n}"));
            let share = fleet.shares()[n].clone();
            run(&home, &["custodian", "init", "--share", arg(&share)]).ok();
            let card = ["custodian", "card", "--address", address, "--out", arg(&cards[n])];
            run(&home, &card).ok();
            args.extend(["--endpoint", arg(&cards[n])]);
        }
        fleet.run(&args).ok();
        fleet.run(&["fleet", "policy", "apply", arg(&next)]).ok();
        let card = fleet.path("card.json");
        fleet.run(&["fleet", "card", "--out", arg(&card)]).ok();
        let shown = fleet.run(&["fleet", "show", "--json"]).ok().json();
        let fleet_id = shown["fleet"].as_str().expect("an id");
        let fleet_id = fleet_id.strip_prefix("fleet:").unwrap_or(fleet_id).to_owned();
        let it = Self { fleet, id, fleet_id, addresses, running: vec![None, None, None] };
        for n in 0..3 {
            run(&it.home(n), &["custodian", "join", arg(&card), "--yes"]).ok();
            it.set_policy(n, "approvers = []", &[]);
        }
        it
    }

    /// The fleet, with the machines that run.
    pub(crate) fn into_fleet(mut self) -> Fleet {
        let mut fleet = std::mem::replace(&mut self.fleet, Fleet::nowhere());
        fleet.keep(self);
        fleet
    }

    pub(crate) fn address(&self, n: usize) -> String {
        self.addresses[n].clone()
    }

    pub(crate) fn home(&self, n: usize) -> PathBuf {
        self.fleet.path(&format!("c{n}"))
    }

    pub(crate) fn set_policy(&self, n: usize, approvers: &str, change: &[(&str, &str)]) {
        let text = policy(&format!("fleet:{}", self.fleet_id), approvers, change);
        std::fs::write(self.home(n).join("policy.toml"), text).expect("written");
    }

    pub(crate) fn start(&mut self, n: usize) {
        self.start_with(n, &[]);
    }

    pub(crate) fn start_with(&mut self, n: usize, more: &[&str]) {
        self.start_in(n, more, &[]);
    }

    /// As [`Machines::start_with`], with more variables.
    pub(crate) fn start_in(&mut self, n: usize, more: &[&str], variables: &[(&str, &Path)]) {
        let log = std::fs::File::create(self.home(n).join("stderr.log")).expect("a log file");
        let mut command = seawall();
        command.env("SEAWALL_HOME", self.home(n)).args(["custodian", "run"]);
        command.args(["--listen", &self.addresses[n]]).args(more).stderr(log);
        command.envs(variables.iter().copied());
        self.running[n] = Some(command.spawn().expect("the machine starts"));
        wait_until("it listens", || std::net::TcpStream::connect(&self.addresses[n]).is_ok());
    }

    /// The running machine `n`.
    pub(crate) fn child(&self, n: usize) -> &Child {
        self.running[n].as_ref().expect("it runs")
    }

    pub(crate) fn kill(&mut self, n: usize) {
        if let Some(mut child) = self.running[n].take() {
            child.kill().expect("killed");
            child.wait().expect("reaped");
        }
    }

    /// Asks for the snapshot; returns the request's file and what each machine said.
    pub(crate) fn send(&self, reason: &str) -> (PathBuf, Value) {
        let out = self.fleet.path("request.json");
        let args = ["restore", "request", &self.id, "--reason", reason, "--out", arg(&out)];
        let said = self.fleet.run(&[&args[..], &["--send", "--json"]].concat()).ok().json();
        (out, said["sent"].clone())
    }

    /// The requests that machine `n` lists.
    pub(crate) fn listed(&self, n: usize) -> Value {
        run(&self.home(n), &["custodian", "requests", "--json"]).ok().json()
    }

    /// Makes the key of an approver of machine 0; the file, and its lines for the policy.
    pub(crate) fn approver(&self, name: &str) -> (PathBuf, String) {
        let key = self.fleet.path(&format!("{name}.key"));
        let made = ["custodian", "approver", "--name", name, "--out", arg(&key)];
        (key.clone(), run(&self.home(0), &made).ok().stdout)
    }

    pub(crate) fn collect(&self, request: &Path) -> Said {
        let dir = self.fleet.path("approvals");
        let args = ["restore", "collect", arg(request), "--out-dir", arg(&dir), "--json"];
        self.fleet.run(&args)
    }

    /// The transport key of the first node.
    pub(crate) fn node_key(&self) -> SigningKey {
        transport_key(&self.fleet.home())
    }

    /// Connects to a machine as the holder of `own`.
    pub(crate) fn connect(&self, n: usize, own: &SigningKey) -> Result<Connection, LinkError> {
        let home = CustodianHome::open(&self.home(n)).expect("a home");
        let pinned = home.transport().expect("a key").public();
        connect(&self.addresses[n], pinned, own)
    }

    pub(crate) fn acts(&self, n: usize) -> Vec<Value> {
        let said = run(&self.home(n), &["custodian", "log", "list", "--json"]).ok().json();
        said.as_array().expect("a list").clone()
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for n in 0..3 {
            self.kill(n);
        }
    }
}

pub(crate) fn connect(
    address: &str,
    pinned: VerifyingKey,
    own: &SigningKey,
) -> Result<Connection, LinkError> {
    Connection::open(address, pinned, own, Patience::default(), None)
}

pub(crate) fn transport_key(home: &Path) -> SigningKey {
    key_in(&home.join("keys/transport.key"))
}

/// The key in a file of a home.
pub(crate) fn key_in(path: &Path) -> SigningKey {
    let bytes = std::fs::read(path).expect("a key");
    let file: Value = serde_json::from_slice(&bytes).expect("JSON");
    let seed = BASE64.decode(file["secret"].as_str().expect("text")).expect("base64");
    SigningKey::from_seed(&seed.try_into().expect("32 bytes"))
}

pub(crate) fn message(method: &str, path: &str, body: Vec<u8>) -> Message {
    let method = method.parse().expect("a method");
    let (path, content_type) = (path.to_owned(), "application/json");
    Message { method, path, content_type, body: body.into(), limit: 1 << 20 }
}

/// Status, and the body as text.
pub(crate) fn ask(connection: &mut Connection, message: &Message) -> (u16, String) {
    let answer = connection.request(message).expect("an answer");
    (answer.status.as_u16(), String::from_utf8_lossy(&answer.body).into_owned())
}

#[test]
fn a_machine_looks_at_its_share_of_each_snapshot_once() {
    let mut it = Machines::of(Fleet::found());
    it.start(1);
    // The other two are down: that is said, and does not hold it up.
    let said = it.fleet.run(&["sync", "--json"]).ok().says(&["wait for a look"]).json();
    let of = |said: &Value, name: &str| {
        let mut all = said.as_array().expect("a list").iter();
        all.find(|o| o["id"] == format!("custodian {name}")).cloned().unwrap_or(Value::Null)
    };
    assert_eq!(of(&said, "custodian-2")["good_shares"], 1, "{said}");
    // Away for less than a week is no failure: so says the exit code, and each `ok`.
    let away = of(&said, "custodian-1");
    assert!(away["away"].is_string() && away["error"].is_null(), "{away}");
    assert!(!away["waiting_since"].is_null(), "{away}");
    let all = said.as_array().expect("a list");
    assert!(all.iter().all(|outcome| outcome["ok"] == true), "{said}");
    it.fleet.snapshot(&it.fleet.path("tree"));
    it.start(0);
    it.start(2);
    let said = it.fleet.run(&["sync", "--json"]).ok().json();
    for (name, good) in [("custodian-1", 2), ("custodian-2", 1), ("custodian-3", 2)] {
        assert_eq!(of(&said, name)["good_shares"], good, "{said}");
    }
    // Nothing new; and a node that forgot how far it was writes nothing twice.
    std::fs::remove_dir_all(it.fleet.home().join("custodians")).expect("forgotten");
    it.fleet.run(&["sync"]).ok();
    // Killed, it knows what it has seen.
    it.kill(1);
    it.start(1);
    std::fs::remove_dir_all(it.fleet.home().join("custodians")).expect("forgotten");
    it.fleet.run(&["sync"]).ok();
    it.kill(1);
    let acts = it.acts(1);
    let kinds: Vec<_> = acts.iter().map(|act| act["act"]["kind"].clone()).collect();
    assert_eq!(kinds, ["share-good", "share-good"]);
    assert_eq!(acts[0]["request"], format!("sha256:{}", it.id), "the snapshot's manifest");
    // Who is no node of the fleet is not looked at, and learns nothing.
    let mut stranger = it.connect(0, &SigningKey::generate(&mut OsRng)).expect("connects");
    let (status, _) = ask(&mut stranger, &message("POST", "/v1/manifest", b"{}".to_vec()));
    assert_eq!(status, 422);
}

#[test]
fn a_machine_with_a_post_quantum_signing_key_answers_and_keeps_a_log() {
    let both = ["--algorithm", "ml-dsa-44"];
    let mut it = Machines::of(Fleet::found_with(&both));
    it.start(0);
    it.start(1);
    it.fleet.run(&["sync"]).ok();
    let plan = it.fleet.run(&["restore", "plan", "--json"]).code(0).json();
    assert_eq!(plan["groups"][0]["custodians"][0]["alive"], true, "{plan}");
    let (request, _) = it.send("a test");
    wait_until("both answered", || it.collect(&request).json()["enough"] == true);
    let dir = it.fleet.path("approvals");
    let (a, b) = (dir.join("approval-1.json"), dir.join("approval-2.json"));
    let to = it.fleet.path("restored");
    let args = ["restore", "run", arg(&request), "--to", arg(&to), "--approval", arg(&a)];
    it.fleet.run(&[&args[..], &["--approval", arg(&b)]].concat()).ok();
    it.kill(0);
    let kinds: Vec<_> = it.acts(0).iter().map(|act| act["act"]["kind"].clone()).collect();
    assert_eq!(kinds, ["share-good", "seen", "decided", "answered"]);
    run(&it.home(0), &["custodian", "log", "verify"]).ok();
}

#[test]
fn two_machines_answer_while_the_third_is_down() {
    let mut it = Machines::new();
    it.start(0);
    it.start(2);
    let plan = it.fleet.run(&["restore", "plan", "--json"]).ok().json();
    let group = &plan["groups"][0];
    let alive: Vec<_> = (0..3).map(|n| group["custodians"][n]["alive"] == true).collect();
    assert_eq!(alive, [true, false, true], "{plan}");
    assert!(group["quorum"]["at"].as_u64() <= plan["now"].as_u64().map(|now| now + 2), "{plan}");
    let (request, sent) = it.send("a test of two");
    assert_eq!(sent[0]["state"], "answered", "{sent}");
    assert!(sent[1]["error"].as_str().is_some_and(|e| e.contains("not reached")), "{sent}");
    let said = it.collect(&request).ok().json();
    assert_eq!(said["enough"], true, "{said}");
    let to = it.fleet.path("restored");
    let (a, b) =
        (it.fleet.path("approvals/approval-1.json"), it.fleet.path("approvals/approval-3.json"));
    let args = ["restore", "run", arg(&request), "--approval", arg(&a), "--approval", arg(&b)];
    it.fleet.run(&[&args[..], &["--to", arg(&to)]].concat()).ok();
    let tree = it.fleet.path("tree");
    assert_same(&tree, &restored(&to, &tree));

    // Stopped, its log tells what happened, in order and whole.
    it.kill(0);
    run(&it.home(0), &["custodian", "log", "verify"]).ok();
    let kinds: Vec<_> = it.acts(0).iter().map(|a| a["act"]["kind"].clone()).collect();
    assert_eq!(kinds, ["seen", "decided", "answered"]);
}

#[test]
fn what_the_policy_denies_is_refused_with_its_reason() {
    let mut it = Machines::new();
    it.set_policy(0, "approvers = []", &[("reason = \"test\"", "reason = \"^INC-[0-9]+\"")]);
    it.set_policy(1, "approvers = []", &[("[\"any\"]", "[]")]);
    it.set_policy(2, "approvers = []", &[("per_day = 5", "per_day = 0")]);
    (0..2).for_each(|n| it.start(n));
    let request = it.fleet.path("request.json");
    let id = it.id.clone();
    let args = ["restore", "request", &id, "--reason", "a test", "--out", arg(&request)];
    // One may still answer when it is back, and it takes two.
    let said = it.fleet.run(&[&args[..], &["--send"]].concat()).code(3);
    assert!(said.stdout.contains("1 may still answer, and it takes 2"), "{}", said.stdout);
    it.start(2);
    // Nobody is left who might answer.
    let said = it.fleet.run(&[&args[..], &["--send", "--json"]].concat()).code(1).json();
    let sent = &said["sent"];
    for (n, word) in
        ["does not match", "not one of those allowed", "no answer at any time"].iter().enumerate()
    {
        assert_eq!(sent[n]["state"], "refused", "{sent}");
        assert!(sent[n]["why"].as_str().is_some_and(|w| w.contains(word)), "{sent}");
    }
    let said = it.collect(&request).code(3).json();
    assert_eq!(said["enough"], false);
    let refused = it.fleet.run(&["restore", "plan", "--request", arg(&request)]).code(3);
    assert!(refused.stdout.contains("no quorum in sight"), "{}", refused.stdout);
}

#[test]
fn a_machine_without_a_policy_records_and_answers_nothing() {
    let mut it = Machines::new();
    std::fs::remove_file(it.home(0).join("policy.toml")).expect("removed");
    it.start(0);
    let (_, sent) = it.send("a test");
    assert_eq!(sent[0]["state"], "pending", "{sent}");
    assert!(sent[0]["why"].as_str().is_some_and(|w| w.contains("by hand")), "{sent}");
    it.kill(0);
    // A policy with an error is no policy either: the machine does not run.
    std::fs::write(it.home(0).join("policy.toml"), "format = \"x\"").expect("written");
    let said = run(&it.home(0), &["custodian", "run", "--listen", "127.0.0.1:0"]);
    said.code(1).says(&["policy"]);
}

#[test]
fn people_confirm_and_refuse() {
    let mut it = Machines::new();
    let keys = ["anna", "ben"].map(|name| it.approver(name));
    let approvers = format!("{}{}", keys[0].1, keys[1].1);
    it.set_policy(
        0,
        &approvers,
        &[("files = 1000", "files = 1"), ("persons = 0 }", "persons = 2 }")],
    );
    let told = it.fleet.path("told.txt");
    it.start_with(0, &["--notify-command", &format!("cat >> {}", arg(&told))]);
    let (request, sent) = it.send("a test for people");
    assert!(sent[0]["why"].as_str().is_some_and(|w| w.contains("0 of the 2 people")), "{sent}");
    let home = it.home(0);
    wait_until("the list is written", || home.join("custody/cases.json").exists());
    let digest = run(&home, &["custodian", "requests", "--json"]).ok().json();
    let digest = digest[0]["request"].as_str().expect("a digest");
    let digest = digest.strip_prefix("sha256:").expect("with its algorithm").to_owned();
    let approve = |key: &Path| {
        let args = ["custodian", "approve", &digest[..12], "--key", arg(key), "--yes"];
        run(&home, &args)
    };
    // A script's empty variable, and too few digits, are nobody's request.
    for beginning in ["", &digest[..3]] {
        let args = ["custodian", "approve", beginning, "--key", arg(&keys[0].0), "--yes"];
        run(&home, &args).code(1).says(&["is too short", "4 digits"]);
    }
    // One person is one person, however often; a key the policy does not know is nobody.
    let said = approve(&keys[0].0).ok().says(&["whose snapshot it is", "witnessed level 0"]);
    assert!(said.stdout.contains("has it in its log; confirmed by 1 of the 2"), "{said:?}");
    let confirmed = |n: usize| it.listed(0)[0]["confirmed"].as_array().map(Vec::len) == Some(n);
    assert!(confirmed(1), "it says so once it counts");
    approve(&keys[0].0).ok();
    approve(&it.approver("eve").0).code(1).says(&["no approver's of the policy"]);
    let verdicts = || std::fs::read_dir(home.join("verdicts")).expect("there").count();
    assert_eq!((verdicts(), confirmed(1)), (0, true));
    assert_eq!(it.collect(&request).code(3).json()["custodians"][0]["state"], "pending");
    approve(&keys[1].0).ok();
    assert_eq!(it.collect(&request).json()["custodians"][0]["state"], "answered");
    // What is answered cannot be taken back, and nobody is told that it was.
    let no = ["custodian", "refuse", &digest, "--key", arg(&keys[1].0), "--reason", "no call"];
    run(&home, &no).code(1).says(&["too late: it was answered", "nothing was written"]);
    approve(&keys[1].0).code(1).says(&["too late: it was answered"]);
    assert_eq!(verdicts(), 0);
    let text = std::fs::read_to_string(&told).expect("somebody was told");
    assert!(text.contains("a test for people") && text.contains(&digest[..16]), "{text}");

    let (second, _) = it.send("another test");
    wait_until("two are listed", || {
        run(&home, &["custodian", "requests", "--json"]).ok().json()[1].is_object()
    });
    let listed = run(&home, &["custodian", "requests", "--json"]).ok().json();
    let open = listed.as_array().expect("a list").iter().find(|c| c["state"] == "pending");
    let open = open.expect("one is open")["request"].as_str().expect("a digest").to_owned();
    let refuse = ["custodian", "refuse", &open, "--key", arg(&keys[1].0), "--reason", "no call"];
    // While the machine is down a word waits for it.
    it.kill(0);
    let said = run(&home, &refuse).code(3);
    assert!(said.stdout.contains("it counts when the machine runs"), "{said:?}");
    it.start(0);
    wait_until("it is refused", || {
        it.collect(&second).json()["custodians"][0]["why"] == "refused by ben: no call"
    });
    run(&home, &refuse).code(1).says(&["too late: it was refused", "refused by ben"]);
    let open = open.trim_start_matches("sha256:");
    let approve = ["custodian", "approve", open, "--key", arg(&keys[0].0), "--yes"];
    run(&home, &approve).code(1).says(&["too late: it was refused"]);
    // A no that counts says so.
    let (third, _) = it.send("a third test");
    let digest = |n: &Value| n["request"].as_str().expect("a digest").to_owned();
    wait_until("it is listed", || it.listed(0)[0]["reason"] == "a third test");
    let refuse = ["custodian", "refuse", &digest(&it.listed(0)[0]), "--key", arg(&keys[1].0)];
    let said = run(&home, &[&refuse[..], &["--reason", "no call"]].concat()).ok();
    assert!(said.stdout.contains("in its log; refused by ben"), "{said:?}");
    assert_eq!(it.collect(&third).json()["custodians"][0]["state"], "refused");
}

#[test]
fn a_machine_with_the_share_of_before_a_refresh_says_that_it_answers_nothing() {
    let mut it = Machines::new();
    (0..2).for_each(|n| it.start(n));
    let custodian = |it: &Machines, n: usize| {
        let plan = it.fleet.run(&["restore", "plan", "--json"]).json();
        plan["groups"][0]["custodians"][n].clone()
    };
    assert!(custodian(&it, 0)["earliest"].is_u64());
    let (folder, group) = (it.fleet.path("refresh"), it.fleet.path("group.json"));
    let (next, card) = (it.fleet.path("next.json"), it.fleet.path("card.json"));
    let cards: Vec<_> = (0..3).map(|n| it.fleet.path(&format!("card-{n}.json"))).collect();
    let mut open = vec!["group", "refresh", arg(&folder), "--from", arg(&card), "--reason", "x"];
    open.extend(cards.iter().flat_map(|card| ["--card", arg(card)]));
    run(&it.home(0), &open).ok();
    for n in (0..3).cycle().take(5) {
        run(&it.home(n), &["group", "step", arg(&folder), "--yes"]).ok();
    }
    run(&it.home(0), &["group", "finish", arg(&folder), "--out", arg(&group)]).ok();
    let propose = ["fleet", "policy", "propose", "--group", arg(&group), "--out", arg(&next)];
    it.fleet.run(&propose).ok();
    it.fleet.run(&["fleet", "policy", "apply", arg(&next)]).ok();
    it.fleet.run(&["fleet", "card", "--out", arg(&card)]).ok();
    // Its owner joins, and leaves the machine running.
    run(&it.home(0), &["custodian", "join", arg(&card), "--yes"]).ok();
    wait_until("it says so", || custodian(&it, 0)["unable"].is_string());
    let said = it.fleet.run(&["restore", "plan"]).code(3).stdout;
    assert!(said.contains("there, but answers nothing") && said.contains("start the machine"));
    let log = std::fs::read_to_string(it.home(0).join("stderr.log")).expect("a log");
    assert!(log.contains("start the machine again") && !log.contains('\u{1b}'), "{log}");
    let (request, sent) = it.send("a test");
    for machine in [&sent[0], &sent[1]] {
        assert_eq!(machine["state"], "pending", "{sent}");
        assert!(machine["why"].as_str().is_some_and(|w| w.contains("start the machine")), "{sent}");
    }
    it.kill(0);
    it.start(0);
    assert!(custodian(&it, 0)["unable"].is_null() && custodian(&it, 1)["unable"].is_string());
    wait_until("it answers", || {
        it.collect(&request).json()["custodians"][0]["state"] == "answered"
    });
}

#[test]
fn a_machine_killed_between_request_and_answer_goes_on_where_it_was() {
    let mut it = Machines::new();
    it.set_policy(0, "approvers = []", &[("\"0s\"", "\"4s\"")]);
    it.start(0);
    let (request, sent) = it.send("a test");
    let until = sent[0]["until"].as_u64().expect("it waits");
    it.kill(0);
    it.start(0);
    let said = it.collect(&request).code(3).json();
    // Later by the time in which nobody watched.
    if let Some(waits) = said["custodians"][0]["until"].as_u64() {
        assert!(waits >= until, "{said}");
    }
    wait_until("it is answered", || {
        it.collect(&request).json()["custodians"][0]["state"] == "answered"
    });
    assert!(SystemClock.now().0 >= until, "not before its time");
    let first = std::fs::read(it.fleet.path("approvals/approval-1.json")).expect("kept");
    it.kill(0);
    it.start(0);
    it.collect(&request).code(3);
    let again = std::fs::read(it.fleet.path("approvals/approval-1.json")).expect("kept");
    assert_eq!(first, again, "one answer, however often it is asked for");
    it.kill(0);
    let kinds: Vec<_> = it.acts(0).iter().map(|a| a["act"]["kind"].clone()).collect();
    assert_eq!(kinds, ["seen", "decided", "decided", "answered"]);
}

/// An office on a disk in memory, with a clock of the test's.
pub(crate) struct Bench {
    pub(crate) disk: SimDisk,
    pub(crate) clock: SimClock,
    pub(crate) rules: String,
    pub(crate) id: String,
    pub(crate) request: Vec<u8>,
    pub(crate) peer: VerifyingKey,
    pub(crate) home: PathBuf,
    pub(crate) card: Vec<u8>,
}

impl Bench {
    fn new(change: &[(&str, &str)]) -> (Fleet, Self) {
        Self::with("approvers = []", change)
    }

    pub(crate) fn with(approvers: &str, change: &[(&str, &str)]) -> (Fleet, Self) {
        let fleet = Fleet::found();
        let tree = fleet.path("tree");
        std::fs::create_dir(&tree).expect("created");
        std::fs::write(tree.join("file"), "content").expect("written");
        let id = fleet.snapshot(&tree);
        let request = fleet.request(&fleet.home(), &id, "request.json");
        let card = fleet.path("card.json");
        fleet.run(&["fleet", "card", "--out", arg(&card)]).ok();
        let card = std::fs::read(card).expect("a card");
        let home = fleet.path("c0");
        run(&home, &["custodian", "init", "--share", arg(&fleet.shares()[0])]).ok();
        let fleet_id = FleetCard::open(&card).expect("a card").id();
        let it = Self {
            id,
            disk: SimDisk::new(),
            clock: SimClock::new(SystemClock.now()),
            rules: policy(&fleet_id.to_string(), approvers, change),
            request: std::fs::read(request).expect("a request"),
            peer: transport_key(&fleet.home()).public(),
            home,
            card,
        };
        (fleet, it)
    }

    pub(crate) fn open(&self) -> Office {
        self.open_as(false)
    }

    fn open_as(&self, forget_time: bool) -> Office {
        let home = CustodianHome::open(&self.home).expect("a home");
        let shares = home.shares().expect("shares");
        let share = HeldShare::open(&shares[0].1, PASSPHRASE.as_bytes()).expect("opens");
        Office::open(OfficeParts {
            disk: Arc::new(self.disk.clone()),
            clock: Arc::new(self.clock.clone()),
            steady: Arc::new(self.clock.clone()),
            rng: Box::new(OsRng),
            signing: home.log_keys().expect("keys"),
            fleets: vec![FleetCard::open(&self.card).expect("a card")],
            rules: Rules::parse(self.rules.as_bytes()).expect("a policy"),
            shares: vec![share],
            witness: WitnessDesk::open(
                Arc::new(self.disk.clone()),
                "witness",
                "c0".to_owned(),
                home.witness().expect("a key"),
            )
            .expect("opened"),
            forget_time,
        })
        .expect("opened")
    }

    pub(crate) fn submit(&self, office: &mut Office) -> RequestStatus {
        office.submit(self.peer, &self.request).expect("taken")
    }

    pub(crate) fn acts(&self) -> Vec<Act> {
        let (home, fleet) = (
            CustodianHome::open(&self.home).expect("a home"),
            FleetCard::open(&self.card).expect("a card").id(),
        );
        let keys = home.log_keys().expect("keys");
        let log = read_log(Arc::new(self.disk.clone()), fleet, &keys).expect("good");
        log.expect("there is one").acts.into_iter().map(|it| it.act).collect()
    }
}

#[test]
fn a_clock_set_back_shortens_nothing_and_revives_nothing() {
    let (_fleet, bench) = Bench::new(&[("\"0s\"", "\"4h\"")]);
    let (start, mut office) = (bench.clock.now(), bench.open());
    let until = bench.submit(&mut office).until.expect("it waits");
    assert_eq!(until, start.after(Seconds::hours(4)));
    bench.clock.advance(Seconds::hours(3));
    office.tick().expect("ticked");
    bench.clock.rewind(Seconds::hours(30));
    drop(office);
    let mut office = bench.open();
    assert_eq!(bench.submit(&mut office).until, Some(until), "the wait is what it was");
    // The clock runs on from where it was set to: nothing happens before the first reckoning ends.
    bench.clock.advance(Seconds::hours(29));
    office.tick().expect("ticked");
    assert_eq!(bench.submit(&mut office).state, Standing::Pending);
    bench.clock.set(until);
    office.tick().expect("ticked");
    assert_eq!(bench.submit(&mut office).state, Standing::Answered);

    // Past its end and back again: it stays gone.
    bench.clock.advance(Seconds::hours(80));
    office.tick().expect("ticked");
    bench.clock.set(start);
    drop(office);
    let mut office = bench.open();
    let refusal = office.submit(bench.peer, &bench.request).expect_err("expired");
    assert_eq!(refusal.status, 410, "{refusal}");
    // Only a person at the machine makes it believe the clock again.
    drop(office);
    let mut office = bench.open_as(true);
    let refusal = office.submit(bench.peer, &bench.request).expect_err("its answer went");
    assert!(refusal.error.contains("it was answered"), "{refusal}");
}

#[test]
fn whatever_the_power_cut_leaves_there_is_one_answer() {
    let (_fleet, bench) = Bench::new(&[]);
    let mut answered_after_cut = 0;
    for ops in 1..60 {
        let bench = Bench {
            disk: SimDisk::new(),
            rules: bench.rules.clone(),
            clock: bench.clock.clone(),
            id: bench.id.clone(),
            request: bench.request.clone(),
            peer: bench.peer,
            home: bench.home.clone(),
            card: bench.card.clone(),
        };
        let mut office = bench.open();
        bench.disk.power_off_after(ops);
        let before = office.submit(bench.peer, &bench.request).ok();
        drop(office);
        let bench = Bench { disk: bench.disk.power_cut(PowerCut::LoseUnsynced), ..bench };
        let mut office = bench.open();
        office.tick().expect("ticked");
        let after = bench.submit(&mut office);
        assert_eq!(after.state, Standing::Answered);
        let answers = bench.acts().iter().filter(|a| matches!(a, Act::Answered { .. })).count();
        assert_eq!(answers, 1, "cut after {ops} operations");
        if let Some(before) = before.filter(|b| b.state == Standing::Answered) {
            answered_after_cut += 1;
            let same = |s: &RequestStatus| s.approval().expect("one").expect("parses").digest();
            assert_eq!(same(&before), same(&after), "what left was durable");
        }
    }
    assert!(answered_after_cut > 0, "some answers left before the cut");
}

#[test]
fn an_answer_is_for_its_requester_and_opens_for_nobody_else() {
    let (fleet, bench) = Bench::new(&[]);
    let mut office = bench.open();
    let stranger = SigningKey::from_seed(&[7; 32]).public();
    let refusal = office.submit(stranger, &bench.request).expect_err("not its request");
    assert_eq!(refusal.status, 403);
    assert_eq!(bench.submit(&mut office).state, Standing::Answered);
    let digest = bench.submit(&mut office).request;
    assert_eq!(office.status(stranger, digest).expect_err("not its").status, 404);
    // The answer is accepted with the requester's one-time secret only.
    let pin = FleetCard::open(&bench.card).expect("a card");
    let examined = examine(&bench.request, &pin).expect("good");
    let approval = bench.submit(&mut office).approval().expect("one").expect("parses");
    let other = seawall_escrow::OneTimeSecret::generate(&mut OsRng);
    assert!(examined.accept(&approval, &other).is_err());
    drop(fleet);
}

#[test]
fn hours_and_daily_count_hold_at_the_machine() {
    let hour = (SystemClock.now().0 / 3_600 + 2) % 24;
    let hours = format!("hours = [\"mon-sun {hour:02}:00-{hour:02}:59\"]");
    let (fleet, bench) = Bench::new(&[
        ("Europe/Vienna", "UTC"),
        ("hours = [\"always\"]", &hours),
        ("per_day = 5", "per_day = 1"),
    ]);
    let second = fleet.request(&fleet.home(), &bench.id, "second.json");
    let second = std::fs::read(second).expect("a request");
    let mut office = bench.open();
    let said = bench.submit(&mut office);
    assert!(said.state == Standing::Pending && said.why.contains("outside the hours"), "{said:?}");
    let until = said.until.expect("it waits");
    assert!(until > bench.clock.now() && until.0 % 86_400 == hour * 3_600, "{until}");
    bench.clock.advance(Seconds(until.0 - bench.clock.now().0));
    office.tick().expect("ticked");
    assert_eq!(bench.submit(&mut office).state, Standing::Answered);
    let said = office.submit(bench.peer, &second).expect("taken");
    assert!(said.state == Standing::Pending && said.why.contains("daily count"), "{said:?}");
    let next = until.after(Seconds::days(1));
    assert_eq!(said.until, Some(next), "24 hours, whatever the calendar says");
    // A restart forgets no answer that counts.
    drop(office);
    let mut office = bench.open();
    office.tick().expect("ticked");
    assert_eq!(office.submit(bench.peer, &second).expect("known").until, Some(next));
    bench.clock.advance(Seconds(next.0 - bench.clock.now().0));
    office.tick().expect("ticked");
    assert_eq!(office.submit(bench.peer, &second).expect("known").state, Standing::Answered);
}

#[test]
fn no_altered_request_is_answered_or_written_down() {
    let (_fleet, bench) = Bench::new(&[]);
    let mut office = bench.open();
    let step = bench.request.len() / 250;
    for at in (0..bench.request.len()).step_by(step) {
        let mut altered = bench.request.clone();
        altered[at] ^= 1;
        let refusal = office.submit(bench.peer, &altered).expect_err("refused");
        assert!([403, 422].contains(&refusal.status), "byte {at}: {refusal}");
    }
    let cut = &bench.request.trim_ascii_end()[..bench.request.len() / 2];
    assert_eq!(office.submit(bench.peer, cut).expect_err("refused").status, 422);
    assert_eq!(bench.acts(), [], "anybody could fill the disk with such things");
    assert_eq!(bench.submit(&mut office).state, Standing::Answered);
}
