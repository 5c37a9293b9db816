//! Custodians' machines over the real network: whom they tell, what of their log is shown and to
//! whom, who witnesses it and what they witness, several fleets at once, and orders to read their
//! files again.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use seawall_base::Sha256;
use seawall_tlog::{Kind, SignedCheckpoint, Verifier};
use serde_json::{Value, json};

use crate::attack::log::demand_witnesses;
use crate::harness::{
    Fleet, HttpsServer, arg, certificate, free_address, run, seawall, signal, wait_until,
};
use crate::machines::{Machines, Running, ask, connect, message, policy, transport_key};

/// Takes one POST after the other and hands on what was posted.
fn receiver() -> (String, mpsc::Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/hook?from=seawall", listener.local_addr().expect("bound"));
    let (send, received) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("connected");
            let mut bytes = Vec::new();
            let body = loop {
                let mut part = [0; 4_096];
                let n = stream.read(&mut part).expect("readable");
                assert!(n > 0, "it ended in the middle");
                bytes.extend_from_slice(&part[..n]);
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head.to_lowercase();
                let length = length.split_once("content-length: ").expect("a length").1;
                let length: usize =
                    length.split("\r\n").next().expect("a line").parse().expect("a number");
                if body.len() >= length {
                    break (head.to_owned(), serde_json::from_str(body).expect("JSON"));
                }
            };
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").expect("answered");
            if send.send(body).is_err() {
                return;
            }
        }
    });
    (url, received)
}

/// What a command has written down so far; nothing where nobody has been told yet.
fn told_in(mail: &Path) -> String {
    match std::fs::read_to_string(mail) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => panic!("{}: {e}", mail.display()),
    }
}

#[test]
fn people_are_told_by_webhook_and_by_mail_and_again_after_a_restart() {
    let mut it = Machines::new();
    it.set_policy(0, "approvers = []", &[("\"0s\"", "\"1h\"")]);
    let (url, received) = receiver();
    let mail = it.fleet.path("mail.txt");
    // The second command of the pipe ends badly: that is said, and changes nothing.
    let command = format!("cat >> {}; env >> {0}; false", arg(&mail));
    let told = ["--webhook", &url, "--notify-command", &command];
    it.start_with(0, &told);
    let (_, sent) = it.send("a test: tell them");
    assert_eq!(sent[0]["state"], "pending", "{sent}");
    let limit = std::time::Duration::from_secs(10);
    let (head, body) = received.recv_timeout(limit).expect("the webhook was told");
    assert!(head.starts_with("POST /hook?from=seawall HTTP/1.1"), "{head}");
    assert_eq!(body["event"], "restore-request");
    assert_eq!(body["reason"], "a test: tell them");
    assert_eq!(body["fleet"], format!("fleet:{}", it.fleet_id));
    assert_eq!((body["files"].as_u64(), body["class"].as_str()), (Some(4), Some("default")));
    assert!(body["decision"].as_str().is_some_and(|d| d.contains("cooling off")), "{body}");
    // Nothing that opens anything is told.
    let keys: Vec<_> = body.as_object().expect("an object").keys().cloned().collect();
    let expected = "break_glass bytes class decision event expires files fleet fleet_name node \
                    node_name reason request requester requester_name snapshot state witnessed";
    assert_eq!(keys.join(" "), expected);
    assert_eq!(body["break_glass"], false);
    assert_eq!((&body["node_name"], &body["requester_name"]), (&json!("node-1"), &json!("node-1")));
    assert_eq!((&body["snapshot"], &body["state"]), (&json!(it.id), &json!("pending")));
    let text = || told_in(&mail);
    wait_until("mail was sent", || text().contains("SEAWALL_REQUEST="));
    assert!(text().contains("a test: tell them") && text().contains("custodian approve"));
    assert!(!text().contains("SEAWALL_SHARE_PASSPHRASE"), "{}", text());
    it.kill(0);
    it.start_with(0, &told);
    let (_, again) = received.recv_timeout(limit).expect("told again");
    assert_eq!(again["request"], body["request"], "nobody knows whether they were told before");
    it.kill(0);
    let refused = ["custodian", "run", "--listen", "127.0.0.1:0", "--webhook", "ftp://x/"];
    run(&it.home(0), &refused).code(2).says(&["is no https: or http: URL"]);
}

#[test]
fn a_request_that_breaks_the_glass_is_refused_or_shown_to_people_and_never_passed_over() {
    let mut it = Machines::new();
    demand_witnesses(&it.fleet, &["dora", "emil", "fritz"]);
    let (key, approver) = it.approver("anna");
    // One policy says that people decide, one says nothing, which is a no.
    it.set_policy(0, &approver, &[("persons = 0 }", "persons = 0 }\nbreak_glass = \"persons\"")]);
    let (url, received) = receiver();
    let mail = it.fleet.path("mail.txt");
    let told = ["--webhook", &url, "--notify-command", &format!("cat >> {}", arg(&mail))];
    it.start_with(0, &told);
    it.start_with(1, &["--notify-command", &format!("cat >> {}.1", arg(&mail))]);
    let request = it.fleet.path("request.json");
    let args = ["restore", "request", &it.id, "--reason", "a test: flood", "--break-glass"];
    let more = ["--out", arg(&request), "--send", "--json"];
    let said = it.fleet.run(&[&args[..], &more].concat()).ok().json();
    let sent = &said["sent"];
    assert_eq!((&sent[0]["state"], &sent[1]["state"]), (&json!("pending"), &json!("refused")));
    assert!(sent[0]["why"].as_str().is_some_and(|w| w.contains("0 of the 1 people")), "{sent}");
    let why = sent[1]["why"].as_str().expect("words");
    for word in ["breaks the glass", "seawall restore approve", "break_glass in its policy"] {
        assert!(why.contains(word), "{why}");
    }
    let limit = std::time::Duration::from_secs(10);
    let (_, body) = received.recv_timeout(limit).expect("the webhook was told");
    assert_eq!(body["break_glass"], true, "{body}");
    assert_eq!(body["witnessed"], "level 0 (2 needed)", "{body}");
    let words = "BREAK-GLASS: 0 of 2 witnesses vouch";
    let refused = it.fleet.path("mail.txt.1");
    wait_until("mail was sent", || told_in(&mail).contains("To refuse it"));
    wait_until("mail was sent", || told_in(&refused).contains("there is nothing to confirm"));
    for text in [told_in(&mail), told_in(&refused)] {
        for word in [words, "BREAKS THE GLASS", &it.id, "of        node-1 (node:"] {
            assert!(text.contains(word), "{word}: {text}");
        }
    }
    assert!(!told_in(&refused).contains("custodian approve"), "{}", told_in(&refused));
    // The list says it too, and still after a restart: it is in the log.
    it.kill(0);
    it.start(0);
    let listed = it.listed(0)[0].clone();
    assert_eq!((&listed["break_glass"], &listed["node_name"]), (&json!(true), &json!("node-1")));
    assert_eq!(
        (&listed["snapshot"], &listed["state"]),
        (&json!(format!("sha256:{}", it.id)), &json!("pending"))
    );
    let text = run(&it.home(0), &["custodian", "requests"]).ok().stdout;
    assert!(text.contains(words) && text.contains(&it.id[..16]), "{text}");
    assert_eq!(it.collect(&request).code(3).json()["custodians"][0]["state"], "pending");
    let digest = listed["request"].as_str().expect("a digest").to_owned();
    let approve = ["custodian", "approve", &digest, "--key", arg(&key), "--yes"];
    let said = run(&it.home(0), &approve).ok();
    said.says(&[words, &it.id, "witnessed level 0 (2 needed)", "whose snapshot it is"]);
    assert_eq!(it.collect(&request).json()["custodians"][0]["state"], "answered");
    it.kill(0);
    let log = run(&it.home(0), &["custodian", "log", "list"]).ok().stdout;
    assert!(log.contains(words) && log.contains("confirmed by anna"), "{log}");
}

/// Keeps what is posted to it; one path leads elsewhere.
const HOOK: &str = "
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers[\"Content-Length\"]))
        open(\"received.json\", \"wb\").write(body)
        self.send_response(307 if self.path == \"/elsewhere\" else 204)
        self.send_header(\"Location\", \"/hook\")
        self.end_headers()
";

#[test]
fn a_webhook_over_tls_is_told_where_its_certificate_is_known() {
    let mut it = Machines::new();
    it.set_policy(0, "approvers = []", &[("\"0s\"", "\"1h\"")]);
    let [known, other] = ["known", "other"].map(|name| it.fleet.path(name));
    for dir in [&known, &other] {
        std::fs::create_dir(dir).expect("made");
        certificate(dir);
    }
    let server = HttpsServer::start(&known, HOOK);
    let url = |path: &str| format!("https://localhost:{}/{path}", server.port);
    let said =
        |it: &Machines| std::fs::read_to_string(it.home(0).join("stderr.log")).expect("a log file");
    it.start_in(0, &["--webhook", &url("hook")], &[("SSL_CERT_FILE", &other.join("ca.pem"))]);
    it.send("a test: tell them");
    wait_until("it was refused", || said(&it).contains("nobody could be told"));
    assert!(said(&it).contains("certificate"), "{}", said(&it));
    assert!(!known.join("received.json").exists(), "nothing was sent");
    let trusted = known.join("ca.pem");
    let received = known.join("received.json");
    it.kill(0);
    it.start_in(0, &["--webhook", &url("elsewhere")], &[("SSL_CERT_FILE", &trusted)]);
    wait_until("it was told", || received.exists());
    wait_until("it was said", || said(&it).contains("307"));
    std::fs::remove_file(&received).expect("received");
    it.kill(0);
    it.start_in(0, &["--webhook", &url("hook")], &[("SSL_CERT_FILE", &trusted)]);
    wait_until("it was told", || received.exists());
    it.kill(0);
    assert!(!said(&it).contains("nobody could be told"), "{}", said(&it));
}

/// The origin's hash of the log that machine `n` keeps for the fleet.
fn log_of(it: &Machines, n: usize) -> (String, String, seawall_sign::VerifyingKey) {
    let shown = run(&it.home(n), &["custodian", "show", "--json"]).ok().json();
    let key: seawall_sign::VerifyingKey =
        shown["signing_key"].as_str().expect("a key").parse().expect("a key");
    let origin = format!("seawall/{}/custodian/{}", it.fleet_id, key.node_id().to_hex());
    (origin.clone(), Sha256::of(origin.as_bytes()).to_hex(), key)
}

#[test]
fn members_read_its_log_as_tiles_and_others_do_not() {
    let mut it = Machines::new();
    it.start(0);
    let (_, sent) = it.send("a test");
    assert_eq!(sent[0]["state"], "answered", "{sent}");
    let (origin, hash, key) = log_of(&it, 0);
    let get = |path: &str| message("GET", &format!("/v1/log/{hash}/{path}"), Vec::new());
    let mut member = it.connect(0, &it.node_key()).expect("connected");
    let (status, text) = ask(&mut member, &get("checkpoint"));
    assert_eq!(status, 200, "{text}");
    let signed = SignedCheckpoint::parse(text.as_bytes()).expect("a checkpoint");
    let custodian = Verifier::new(&origin, Kind::Signer, &key).expect("a key");
    signed.verify(&[custodian]).expect("signed by the custodian");
    assert_eq!(signed.checkpoint().size, 3, "seen, decided, answered");
    // Three entries are a partial tile of three; their hashes make the root.
    let (status, entries) = ask(&mut member, &get("tile/entries/000.p/3"));
    assert_eq!(status, 200);
    assert!(entries.contains("custodian-act") || entries.contains("payload"), "{entries}");
    let answer = member.request(&get("tile/0/000.p/3")).expect("an answer");
    let leaves: Vec<[u8; 32]> =
        answer.body.chunks(32).map(|c| c.try_into().expect("32 bytes")).collect();
    let node = |left: [u8; 32], right: [u8; 32]| {
        Sha256::of(&[&[1][..], left.as_slice(), right.as_slice()].concat()).0
    };
    let root = node(node(leaves[0], leaves[1]), leaves[2]);
    assert_eq!(root, signed.checkpoint().root.0, "RFC 6962 over what was served");
    for path in ["tile/0/001", "tile/entries/000.p/4", "../home", "checkpoint/x", ""] {
        assert_eq!(ask(&mut member, &get(path)).0, 404, "{path}");
    }
    // Any key may connect; who has shown no enrolment sees nothing, not even that there is a log.
    let stranger = seawall_sign::SigningKey::from_seed(&[7; 32]);
    let mut stranger = it.connect(0, &stranger).expect("connected");
    let (status, said) = ask(&mut stranger, &get("checkpoint"));
    assert_eq!(status, 404);
    let other = message("GET", &format!("/v1/log/{}/checkpoint", "09".repeat(32)), Vec::new());
    assert_eq!(ask(&mut stranger, &other), (status, said), "as if there were none");
}

#[test]
fn its_log_is_witnessed_by_other_custodians_and_it_witnesses_logs() {
    let mut it = Machines::new();
    let (next, card) = (it.fleet.path("next.json"), it.fleet.path("card.json"));
    let cards = [1, 2].map(|n| {
        let card = it.fleet.path(&format!("c{n}.json"));
        let address = ["--address", &it.address(n)].map(str::to_owned);
        let args = ["custodian", "card", &address[0], &address[1], "--out", arg(&card)];
        run(&it.home(n), &args).ok();
        card
    });
    let propose = ["fleet", "policy", "propose", "--witness", arg(&cards[0])];
    let more = ["--witness", arg(&cards[1]), "--witness-quorum", "2", "--faulty", "0"];
    it.fleet.run(&[&propose[..], &more, &["--out", arg(&next)]].concat()).ok();
    it.fleet.run(&["fleet", "policy", "apply", arg(&next)]).ok();
    it.fleet.run(&["fleet", "card", "--out", arg(&card)]).ok();
    for n in 0..3 {
        run(&it.home(n), &["custodian", "join", arg(&card), "--yes"]).ok();
        it.start(n);
    }
    // The node's own log first: the machines are its witnesses, and a request is fresh by them.
    it.fleet.run(&["sync"]).ok();
    let list = it.fleet.run(&["snapshot", "list", "--json"]).ok().json();
    assert_eq!(list[0]["witnessed"]["level"], "q", "{list}");
    let (_, sent) = it.send("a test");
    assert_eq!(sent[0]["state"], "answered", "{sent}");
    // Then theirs: what the first one wrote is signed by the two others.
    let (_, hash, _) = log_of(&it, 0);
    let mut member = it.connect(0, &it.node_key()).expect("connected");
    let get = message("GET", &format!("/v1/log/{hash}/checkpoint"), Vec::new());
    wait_until("two witnesses signed", || {
        let (status, text) = ask(&mut member, &get);
        assert_eq!(status, 200, "{text}");
        text.matches("\u{2014} ").count() == 3
    });
    it.kill(0);
    let verified = run(&it.home(0), &["custodian", "log", "verify", "--json"]).ok().json();
    let log = &verified[0];
    assert_eq!(log["witnessed"]["level"], "q", "{verified}");
    assert_eq!(log["witnessed_entries"], log["entries"], "{verified}");
    // A home that went back in time is told so by those who have seen more.
    let held = it.home(0).join(format!("custody/{}", it.fleet_id));
    std::fs::rename(&held, it.fleet.path("lost")).expect("moved");
    it.start(0);
    let (_, sent) = it.send("a second test");
    assert_eq!(sent[0]["state"], "answered", "{sent}");
    let log = it.home(0).join("stderr.log");
    wait_until("they do not sign", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.contains("did not sign"))
    });
}

#[test]
fn a_witness_under_another_name_than_the_policys_is_named_and_left_alone() {
    let mut it = Machines::new();
    // It takes its name when it starts, and is no witness of the policy then.
    it.start(1);
    let shown = run(&it.home(1), &["custodian", "show", "--json"]).ok().json();
    let record = json!({
        "operator": "ben", "name": "ben.example/witness", "key": shown["witness"],
        "endpoint": { "address": it.address(1), "transport": shown["transport"] },
    });
    let (file, next) = (it.fleet.path("witness.json"), it.fleet.path("next.json"));
    std::fs::write(&file, record.to_string()).expect("written");
    let propose = ["fleet", "policy", "propose", "--witness", arg(&file), "--out", arg(&next)];
    it.fleet.run(&propose).ok();
    it.fleet.run(&["fleet", "policy", "apply", arg(&next)]).ok();
    it.start(0);
    let (_, sent) = it.send("a test");
    assert_eq!(sent[0]["state"], "answered", "{sent}");
    let log = || std::fs::read_to_string(it.home(0).join("stderr.log")).expect("a log");
    let words = ["ben.example/witness", "but not with the key and the name", "start the witness"];
    wait_until("it is named", || words.iter().all(|word| log().contains(word)));
    // Left alone for 2 seconds, then for 4: not asked at every look.
    std::thread::sleep(std::time::Duration::from_secs(5));
    let count = log().matches("did not sign").count();
    assert!((1..=3).contains(&count), "{count}: {}", log());
}

/// Two fleets, each with a group of the same three custodians.
struct TwoFleets {
    dir: Fleet,
    fleets: Vec<Shop>,
}

struct Shop {
    node: PathBuf,
    id: String,
    snapshot: String,
}

impl TwoFleets {
    fn new(address: &str) -> Self {
        let dir = Fleet::nowhere();
        let names = ["c0", "c1", "c2"];
        let cards = names.map(|name| dir.path(&format!("{name}.json")));
        for (name, card) in names.iter().zip(&cards) {
            run(&dir.path(name), &["custodian", "init", "--name", name]).ok();
            let args = ["custodian", "card", "--address", address, "--out", arg(card)];
            run(&dir.path(name), &args).ok();
        }
        let mut it = Self { dir, fleets: Vec::new() };
        for name in ["shop-a", "shop-b"] {
            let shop = it.found(name, &names, &cards);
            it.fleets.push(shop);
        }
        it
    }

    fn found(&self, name: &str, names: &[&str], cards: &[PathBuf]) -> Shop {
        let (dir, node) = (&self.dir, self.dir.path(name));
        let folder = dir.path(&format!("{name}-ceremony"));
        let mut begin = vec!["group", "begin", arg(&folder), "--threshold", "2", "--reason", "x"];
        begin.extend(cards.iter().flat_map(|card| ["--card", arg(card)]));
        run(&dir.path("c0"), &begin).ok();
        for _ in 0..3 {
            for name in names {
                run(&dir.path(name), &["group", "step", arg(&folder), "--yes"]).ok();
            }
        }
        let group = dir.path(&format!("{name}-group.json"));
        run(&dir.path("c0"), &["group", "finish", arg(&folder), "--out", arg(&group)]).ok();
        let init = ["init", "--group", arg(&group), "--fleet-name", name, "--name", "node-1"];
        run(&node, &init).ok();
        let card = dir.path(&format!("{name}.json"));
        run(&node, &["fleet", "card", "--out", arg(&card)]).ok();
        run(&dir.path("c0"), &["custodian", "join", arg(&card), "--yes"]).ok();
        let tree = dir.path(&format!("{name}-tree"));
        std::fs::create_dir(&tree).expect("made");
        std::fs::write(tree.join("file"), name).expect("written");
        let made = run(&node, &["snapshot", "create", arg(&tree), "--json"]).ok().json();
        let shown = run(&node, &["fleet", "show", "--json"]).ok().json();
        let id = shown["fleet"].as_str().expect("an id").trim_start_matches("fleet:").to_owned();
        Shop { node, id, snapshot: made["id"].as_str().expect("an id").to_owned() }
    }

    /// Starts the first custodian's machine.
    fn start(&self, address: &str) -> Running {
        let home = self.dir.path("c0");
        let mut command = seawall();
        command.env("SEAWALL_HOME", &home).args(["custodian", "run", "--listen", address]);
        let log = std::fs::File::create(home.join("stderr.log")).expect("a log file");
        let machine = Running(command.stderr(log).spawn().expect("the machine starts"));
        wait_until("it listens", || std::net::TcpStream::connect(address).is_ok());
        machine
    }
}

/// A request file of the node's, and its digest.
fn request(shop: &Shop, out: &Path) -> (Vec<u8>, String) {
    let args = ["restore", "request", &shop.snapshot, "--reason", "a test", "--out", arg(out)];
    let said = run(&shop.node, &[&args[..], &["--json"]].concat()).ok().json();
    let digest = said["request"].as_str().expect("a digest").to_owned();
    (std::fs::read(out).expect("a request"), digest)
}

#[test]
fn two_fleets_in_one_machine_and_nothing_crosses_not_even_over_a_restart() {
    let address = free_address();
    let it = TwoFleets::new(&address);
    let [a, b] = [&it.fleets[0], &it.fleets[1]];
    // For one fleet at once, for the other after a while.
    let rule = |shop: &Shop, change: &[(&str, &str)]| {
        let text = policy(&format!("fleet:{}", shop.id), "", change);
        text.split_once("[[rules]]").expect("a rule").1.to_owned()
    };
    let head = "format = \"seawall-custodian-policy/1\"\napprovers = []\n";
    let (at_once, later) = (rule(a, &[]), rule(b, &[("\"0s\"", "\"4s\"")]));
    let text = format!("{head}[[rules]]{at_once}[[rules]]{later}");
    std::fs::write(it.dir.path("c0/policy.toml"), text).expect("written");
    let machine = it.start(&address);
    let pinned = transport_key(&it.dir.path("c0")).public();
    let own =
        |shop: &Shop| connect(&address, pinned, &transport_key(&shop.node)).expect("connected");
    let (first, first_digest) = request(a, &it.dir.path("a-request.json"));
    let (second, second_digest) = request(b, &it.dir.path("b-request.json"));
    let post = |dossier: &[u8]| message("POST", "/v1/request", dossier.to_vec());
    let state = |said: &str| serde_json::from_str::<Value>(said).expect("JSON")["state"].clone();
    let (status, said) = ask(&mut own(a), &post(&first));
    assert_eq!((status, state(&said)), (200, json!("answered")), "{said}");
    let (status, said) = ask(&mut own(b), &post(&second));
    assert_eq!((status, state(&said)), (200, json!("pending")), "{said}");
    // What is another fleet's is as if it were not there.
    let get = |digest: &str| message("GET", &format!("/v1/request/{digest}"), Vec::new());
    let unknown = ask(&mut own(b), &get(&"09".repeat(32)));
    assert_eq!(ask(&mut own(b), &get(&first_digest)), unknown);
    assert_eq!(ask(&mut own(a), &get(&second_digest)), unknown);
    assert_eq!(ask(&mut own(b), &post(&first)).0, 403, "sent on by a member of the other fleet");
    // In the middle of the wait it is killed, and goes on as it was, for each.
    drop(machine);
    let machine = it.start(&address);
    let (_, said) = ask(&mut own(b), &get(&second_digest));
    assert_eq!(state(&said), "pending", "{said}");
    wait_until("the wait is over", || {
        state(&ask(&mut own(b), &get(&second_digest)).1) == "answered"
    });
    assert_eq!(state(&ask(&mut own(a), &get(&first_digest)).1), "answered");
    drop(machine);
    // One log for each, of which neither says a word of the other.
    let acts = run(&it.dir.path("c0"), &["custodian", "log", "list", "--json"]).ok().json();
    for (shop, digest) in [(a, &first_digest), (b, &second_digest)] {
        let fleet = format!("fleet:{}", shop.id);
        let own: Vec<_> =
            acts.as_array().expect("a list").iter().filter(|act| act["fleet"] == fleet).collect();
        assert!(own.len() >= 3, "{acts}");
        let request = format!("sha256:{digest}");
        assert!(own.iter().all(|act| act["request"] == request), "{own:#?}");
    }
}

#[test]
fn a_policy_and_a_fleet_are_taken_up_without_a_restart() {
    let mut it = Machines::new();
    it.set_policy(0, "approvers = []", &[("reason = \"test\"", "reason = \"^INC-\"")]);
    it.start(0);
    assert_eq!(it.send("a test").1[0]["state"], "refused");
    let log = it.home(0).join("stderr.log");
    let said = |words: &str| {
        wait_until(words, || std::fs::read_to_string(&log).is_ok_and(|t| t.contains(words)));
    };
    // One with an error changes nothing, and says so.
    std::fs::write(it.home(0).join("policy.toml"), "format = \"x\"").expect("written");
    signal(it.child(0), rustix::process::Signal::HUP);
    said("nothing was changed");
    assert_eq!(it.send("a test").1[0]["state"], "refused");
    it.set_policy(0, "approvers = []", &[]);
    signal(it.child(0), rustix::process::Signal::HUP);
    said("were read again");
    assert_eq!(it.send("a test").1[0]["state"], "answered");
    // A node that the fleet's newer policy revokes is heard no more.
    let second = it.fleet.second_node("node-2");
    let (next, card) = (it.fleet.path("revoked.json"), it.fleet.path("card.json"));
    let revoke = ["fleet", "policy", "propose", "--revoke", "node-2", "--reason", "stolen"];
    it.fleet.run(&[&revoke[..], &["--keep-entries", "0", "--out", arg(&next)]].concat()).ok();
    let (status, alive) = alive(&it, &second);
    assert_eq!(status, 200, "{alive}");
    it.fleet.run(&["fleet", "policy", "apply", arg(&next)]).ok();
    it.fleet.run(&["fleet", "card", "--out", arg(&card)]).ok();
    run(&it.home(0), &["custodian", "join", arg(&card), "--yes"]).ok();
    let before = std::fs::read_to_string(&log).expect("a log").matches("read again").count();
    signal(it.child(0), rustix::process::Signal::HUP);
    wait_until("read again", || {
        std::fs::read_to_string(&log).is_ok_and(|t| t.matches("read again").count() > before)
    });
    assert_eq!(self::alive(&it, &second).0, 403);
}

/// Asks machine 0 for a sign of life as the node in `home`.
fn alive(it: &Machines, home: &Path) -> (u16, String) {
    let enrolment = std::fs::read_to_string(home.join("enrolment.json")).expect("enrolled");
    let nonce = "07".repeat(32);
    let body = format!(
        "{{\"fleet\":\"fleet:{}\",\"nonce\":\"{nonce}\",\"enrolment\":{enrolment}}}",
        it.fleet_id
    );
    let mut connection = it.connect(0, &transport_key(home)).expect("connected");
    ask(&mut connection, &message("POST", "/v1/custodian", body.into_bytes()))
}
