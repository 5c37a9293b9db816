//! Shares wrapped by a token, with `SoftHSM` as the token: moved into it, made in ceremonies, used
//! by hand and by a machine, and everything that can be wrong with a token.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::{Fleet, Said, arg, assert_same, restored, run, said, seawall, wait_until};

pub(crate) const PIN: &str = "271828";

/// `SoftHSM` with its tokens in a directory of its own.
pub(crate) struct Hsm {
    dir: PathBuf,
}

/// Where distributions put `SoftHSM`'s module.
pub(crate) fn module() -> &'static str {
    let places = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib64/softhsm/libsofthsm2.so",
        "/usr/lib/pkcs11/libsofthsm2.so",
        "/usr/local/lib/softhsm/libsofthsm2.so",
    ];
    let found = places.into_iter().find(|path| Path::new(path).exists());
    found.expect("SoftHSM is installed (Debian: apt-get install softhsm2)")
}

impl Hsm {
    pub(crate) fn new(dir: PathBuf) -> Self {
        std::fs::create_dir_all(dir.join("tokens")).expect("made");
        let tokens = format!("directories.tokendir = {}\n", dir.join("tokens").display());
        std::fs::write(dir.join("softhsm2.conf"), tokens).expect("written");
        Self { dir }
    }

    pub(crate) fn tokens(&self) -> PathBuf {
        self.dir.join("tokens")
    }

    fn tool(&self, args: &[&str]) -> Said {
        let mut tool = Command::new("softhsm2-util");
        said(tool.env("SOFTHSM2_CONF", self.dir.join("softhsm2.conf")).args(args))
    }

    pub(crate) fn token(&self, label: &str) {
        let args = ["--init-token", "--free", "--label", label, "--so-pin", "31415926"];
        self.tool(&[&args[..], &["--pin", PIN]].concat()).ok();
    }

    /// The program with this token within reach, its PIN in the environment and no passphrase.
    pub(crate) fn seawall(&self, home: &Path) -> Command {
        let mut command = seawall();
        command
            .env("SOFTHSM2_CONF", self.dir.join("softhsm2.conf"))
            .env("SEAWALL_PKCS11_MODULE", module())
            .env("SEAWALL_TOKEN_PIN", PIN)
            .env("SEAWALL_HOME", home)
            .env_remove("SEAWALL_SHARE_PASSPHRASE");
        command
    }

    pub(crate) fn run(&self, home: &Path, args: &[&str]) -> Said {
        said(self.seawall(home).args(args))
    }

    /// The files of keys in the tokens; a token's own file is not one.
    fn keys(&self) -> Vec<PathBuf> {
        let mut out = Vec::new();
        for token in std::fs::read_dir(self.tokens()).expect("tokens") {
            for file in std::fs::read_dir(token.expect("readable").path()).expect("a token") {
                let path = file.expect("readable").path();
                let name = path.file_name().and_then(|n| n.to_str()).expect("UTF-8");
                if name.ends_with(".object") && name != "token.object" {
                    out.push(path);
                }
            }
        }
        out
    }
}

/// A fleet with a snapshot, whose first custodian's home is wrapped by a token.
pub(crate) struct Guarded {
    pub(crate) fleet: Fleet,
    pub(crate) hsm: Hsm,
    pub(crate) id: String,
}

impl Guarded {
    pub(crate) fn new() -> Self {
        let fleet = Fleet::found();
        let hsm = Hsm::new(fleet.path("hsm"));
        hsm.token("anna");
        let card = fleet.path("card.json");
        fleet.run(&["fleet", "card", "--out", arg(&card)]).ok();
        let it = Self { id: fleet.snapshot(&fleet.tree("tree")), fleet, hsm };
        let share = it.fleet.shares()[0].clone();
        let init = ["custodian", "init", "--share", arg(&share)];
        run(&it.home(), &init).ok();
        run(&it.home(), &["custodian", "join", arg(&card), "--yes"]).ok();
        let mut wrap = it.hsm.seawall(&it.home());
        wrap.env("SEAWALL_SHARE_PASSPHRASE", crate::harness::PASSPHRASE);
        let moved = said(wrap.args(["custodian", "wrap", "--token-label", "anna", "--json"]));
        let moved = moved.ok().json();
        assert_eq!(moved["shares"].as_array().map(Vec::len), Some(1), "{moved}");
        assert_eq!(moved["keys"], true);
        it
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.fleet.path("c0")
    }

    /// The one share file of the home.
    pub(crate) fn share(&self) -> PathBuf {
        let mut shares = std::fs::read_dir(self.home().join("shares")).expect("shares");
        shares.next().expect("one").expect("readable").path()
    }

    pub(crate) fn request(&self) -> PathBuf {
        self.fleet.request(&self.fleet.home(), &self.id, "request.json")
    }

    /// The arguments with which `share` approves `request`.
    pub(crate) fn approve(&self, request: &Path, share: &Path) -> Vec<String> {
        let out = self.fleet.path("by-token.json");
        let args = ["restore", "approve", arg(request), "--share", arg(share), "--yes", "--out"];
        args.into_iter().chain([arg(&out)]).map(str::to_owned).collect()
    }
}

fn text(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

#[test]
fn a_share_moved_into_a_token_answers_with_it_and_not_without() {
    let it = Guarded::new();
    let (request, share) = (it.request(), it.share());
    let approve = it.approve(&request, &share);
    // The passphrase is worth nothing any more.
    run(&it.home(), &approve).code(1).says(&["this needs key", "\"anna\"", "--module"]);
    let said = it.hsm.run(&it.home(), &text(&approve)).ok();
    let noise = ["cryptoki", "ERROR", "\u{1b}"].iter().any(|word| said.stderr.contains(word));
    assert!(!noise, "what works is not called an error: {}", said.stderr);
    let second = it.fleet.approve(&request, 1, "second.json");
    let to = it.fleet.path("restored");
    let args = ["restore", "run", arg(&request), "--approval", arg(&second), "--to", arg(&to)];
    let more = ["--approval", arg(&it.fleet.path("by-token.json"))].map(str::to_owned);
    it.fleet.run(&[&args[..], &text(&more)].concat()).ok();
    let tree = it.fleet.path("tree");
    assert_same(&tree, &restored(&to, &tree));

    // What needs no secret needs no token, and says what there is.
    let shown = run(&it.home(), &["custodian", "show", "--json"]).ok().json();
    assert_eq!(shown["shares"][0]["token"]["label"], "anna", "{shown}");
    let card = it.hsm.run(&it.home(), &["custodian", "card"]).ok().json();
    assert_eq!(card["signing_key"], shown["signing_key"]);
    let tried = it.hsm.run(&it.home(), &["custodian", "token", "--json"]).ok().json();
    assert_eq!(tried["shares"][0]["opens"], true, "{tried}");
    // Again: nothing is left to do, and no second key is made.
    let again = ["custodian", "wrap", "--token-label", "anna", "--json"];
    let again = it.hsm.run(&it.home(), &again).ok().json();
    assert_eq!(
        (again["shares"].as_array().map(Vec::len), &again["keys"]),
        (Some(0), &false.into())
    );
    assert_eq!(it.hsm.keys().len(), 1);
}

#[test]
fn a_share_set_aside_and_a_token_nobody_names_any_more() {
    let it = Guarded::new();
    let aside = it.share().with_extension("json.left");
    std::fs::copy(&it.fleet.shares()[0], &aside).expect("set aside before it was wrapped");
    let token = ["custodian", "token", "--json"];
    let tried = it.hsm.run(&it.home(), &token).code(1).json();
    assert_eq!(tried["aside"][0]["opens"], false, "{tried}");
    let why = tried["aside"][0]["why"].as_str().expect("words");
    assert!(why.contains("signing key of this home") && why.contains("custodian wrap"), "{why}");
    let wrap = |passphrase: &str| {
        let mut wrap = it.hsm.seawall(&it.home());
        wrap.env("SEAWALL_SHARE_PASSPHRASE", passphrase);
        said(wrap.args(["custodian", "wrap", "--token-label", "anna"]))
    };
    let left = wrap("forgotten").code(3).stdout;
    assert!(left.contains("json.left is NOT wrapped (wrong passphrase"), "{left}");
    wrap(crate::harness::PASSPHRASE).ok();
    let tried = it.hsm.run(&it.home(), &token).ok().json();
    assert_eq!(tried["aside"][0]["opens"], true, "{tried}");
    let text = std::fs::read_to_string(&aside).expect("it is there");
    assert!(text.contains("seawall-share/2") && !text.contains("argon2id"), "{text}");

    // Without the file that names the token, a home is damaged, not one of passphrases.
    std::fs::remove_file(it.home().join("token.json")).expect("deleted");
    let words = ["token.json is damaged: it is missing", "restore it from a copy"];
    it.hsm.run(&it.home(), &token).code(1).says(&words);
    wrap(crate::harness::PASSPHRASE).code(1).says(&words);
}

#[test]
fn ceremonies_make_shares_that_the_token_wraps() {
    let fleet = Fleet::nowhere();
    let hsm = Hsm::new(fleet.path("hsm"));
    hsm.token("anna");
    hsm.token("bob");
    let names = ["anna", "bob"];
    let cards = names.map(|name| fleet.path(&format!("{name}.json")));
    for (name, card) in names.iter().zip(&cards) {
        let init = ["custodian", "init", "--name", name, "--token-label", name, "--out", arg(card)];
        hsm.run(&fleet.path(name), &init).ok();
        for key in ["signing", "recipient", "kem"] {
            let path = fleet.path(name).join(format!("keys/{key}.key"));
            assert!(!path.exists(), "{}", path.display());
        }
    }
    let step = |folder: &Path| {
        for name in ["anna", "bob", "anna", "bob", "anna"] {
            hsm.run(&fleet.path(name), &["group", "step", arg(folder), "--yes"]).ok();
        }
    };
    let cards = || cards.iter().flat_map(|card| ["--card", arg(card)]);
    let (folder, group) = (fleet.path("new"), fleet.path("group.json"));
    let mut begin = vec!["group", "begin", arg(&folder), "--threshold", "2", "--reason", "x"];
    begin.extend(cards());
    hsm.run(&fleet.path("anna"), &begin).ok();
    step(&folder);
    let finish = ["group", "finish", arg(&folder), "--out", arg(&group)];
    hsm.run(&fleet.path("anna"), &finish).ok();
    let init = ["init", "--group", arg(&group), "--fleet-name", "shop", "--name", "node-1"];
    fleet.run(&init).ok();
    let card = fleet.path("card.json");
    let join = || {
        fleet.run(&["fleet", "card", "--out", arg(&card)]).ok();
        for name in names {
            hsm.run(&fleet.path(name), &["custodian", "join", arg(&card), "--yes"]).ok();
        }
    };
    join();
    let id = fleet.snapshot(&fleet.tree("tree"));
    let restore = |request: &str, to: &str| {
        let request = fleet.request(&fleet.home(), &id, request);
        let to = fleet.path(to);
        let mut run = vec!["restore".to_owned(), "run".to_owned(), arg(&request).to_owned()];
        for name in names {
            let shown = run_json(&fleet.path(name));
            assert_eq!(shown["shares"][0]["token"]["label"], name, "{shown}");
            let share = shown["shares"][0]["file"].as_str().expect("a path").to_owned();
            let out = fleet.path(&format!("{name}-says.json"));
            let approve = ["restore", "approve", arg(&request), "--share", &share, "--yes"];
            hsm.run(&fleet.path(name), &[&approve[..], &["--out", arg(&out)]].concat()).ok();
            run.extend(["--approval".to_owned(), arg(&out).to_owned()]);
        }
        run.extend(["--to".to_owned(), arg(&to).to_owned()]);
        fleet.run(&text(&run)).ok();
        assert_same(&fleet.path("tree"), &restored(&to, &fleet.path("tree")));
    };
    restore("request.json", "restored");
    // Refreshed: the new shares are wrapped as well, and open what was sealed before.
    let folder = fleet.path("refresh");
    let mut open = vec!["group", "refresh", arg(&folder), "--from", arg(&card), "--reason", "x"];
    open.extend(cards());
    hsm.run(&fleet.path("anna"), &open).ok();
    step(&folder);
    let (group, next) = (fleet.path("refreshed.json"), fleet.path("next.json"));
    let finish = ["group", "finish", arg(&folder), "--out", arg(&group)];
    hsm.run(&fleet.path("anna"), &finish).ok();
    let propose = ["fleet", "policy", "propose", "--group", arg(&group), "--out", arg(&next)];
    fleet.run(&propose).ok();
    fleet.run(&["fleet", "policy", "apply", arg(&next)]).ok();
    join();
    restore("again.json", "again");
    assert_eq!(hsm.keys().len(), 2, "one key a custodian");
}

fn run_json(home: &Path) -> Value {
    run(home, &["custodian", "show", "--json"]).ok().json()
}

/// Custodians whose homes are wrapped by tokens, each in a directory of its name.
struct Wrapped<'f> {
    fleet: &'f Fleet,
    hsm: &'f Hsm,
}

impl Wrapped<'_> {
    /// Makes the home `home` of `name`; its card lies beside it.
    fn init(&self, home: &str, name: &str, algorithm: &str) {
        self.hsm.token(home);
        let card = self.card(home);
        let args = ["--algorithm", algorithm, "--token-label", home, "--out", arg(&card)];
        self.run(home, &[&["custodian", "init", "--name", name][..], &args].concat()).ok();
    }

    fn card(&self, name: &str) -> PathBuf {
        self.fleet.path(&format!("{name}-card.json"))
    }

    fn run(&self, name: &str, args: &[&str]) -> Said {
        self.hsm.run(&self.fleet.path(name), args)
    }

    /// Opens a ceremony with these cards, and goes round until it is done; returns the group file.
    fn ceremony(&self, open: &[&str], cards: &[&str], takes_part: &[&str]) -> PathBuf {
        let folder = self.fleet.path(&format!("{}-{}", open[0], takes_part.len()));
        let (opener, group) = (takes_part[0], folder.with_extension("json"));
        let cards: Vec<_> = cards.iter().map(|name| self.card(name)).collect();
        let mut args = vec!["group", open[0], arg(&folder), "--reason", "a test"];
        args.extend(&open[1..]);
        args.extend(cards.iter().flat_map(|card| ["--card", arg(card)]));
        self.run(opener, &args).ok();
        for _ in 0..3 {
            for name in takes_part {
                self.run(name, &["group", "step", arg(&folder), "--yes"]).ok();
            }
        }
        self.run(opener, &["group", "finish", arg(&folder), "--out", arg(&group)]).ok();
        group
    }

    /// The root key decides what a ceremony came to, and these learn of it.
    fn decide(&self, change: &[&str], names: &[&str]) {
        let (next, card) = (self.fleet.path("next.json"), self.fleet.path("fleet.json"));
        if !change.is_empty() {
            let propose = ["fleet", "policy", "propose", "--out", arg(&next)];
            self.fleet.run(&[&propose[..], change].concat()).ok();
            self.fleet.run(&["fleet", "policy", "apply", arg(&next)]).ok();
        }
        self.fleet.run(&["fleet", "card", "--out", arg(&card)]).ok();
        for name in names {
            self.run(name, &["custodian", "join", arg(&card), "--yes"]).ok();
        }
    }

    /// The file of the newest share.
    fn share(&self, name: &str) -> String {
        let shown = run(&self.fleet.path(name), &["custodian", "show", "--json"]).ok().json();
        let newest = shown["shares"].as_array().and_then(|all| all.last()).cloned();
        let newest = newest.unwrap_or_else(|| panic!("no share: {shown}"));
        assert_eq!(newest["token"]["label"], name, "{shown}");
        newest["file"].as_str().expect("a path").to_owned()
    }
}

#[test]
fn tokens_and_post_quantum_keys_through_repair_resharing_hand_over_and_deletion() {
    let fleet = Fleet::nowhere();
    let hsm = Hsm::new(fleet.path("hsm"));
    let it = Wrapped { fleet: &fleet, hsm: &hsm };
    for (name, algorithm) in [("anna", "ml-dsa-44"), ("bob", "ed25519"), ("carla", "ml-dsa-44")] {
        it.init(name, name, algorithm);
    }
    let first = ["anna", "bob", "carla"];
    let group = it.ceremony(&["begin", "--threshold", "2"], &first, &first);
    let init = ["init", "--group", arg(&group), "--name", "node-1", "--algorithm", "ml-dsa-44"];
    fleet.run(&init).ok();
    it.decide(&[], &first);
    let tree = fleet.tree("tree");
    let id = fleet.snapshot(&tree);
    let erased = fleet.snapshot(&tree);
    let kept = fleet.snapshot(&tree);

    // Carla's token falls into the sea; its successor is told her share by the other two.
    let card = fleet.path("fleet.json");
    it.init("carla-2", "carla", "ml-dsa-44");
    let open = ["repair", "--from", arg(&card), "--lost", "carla"];
    let second = ["anna", "bob", "carla-2"];
    let group = it.ceremony(&open, &["carla-2", "anna", "bob"], &second);
    it.decide(&["--group", arg(&group)], &second);

    // Bob leaves, Dora comes, and what was sealed before is handed over.
    it.init("dora", "dora", "ml-dsa-44");
    let dealers = ["--dealer", "anna", "--dealer", "bob", "--threshold", "2", "--few-stay"];
    let open = [&["reshare", "--from", arg(&card)][..], &dealers].concat();
    let third = ["anna", "carla-2", "dora"];
    let group = it.ceremony(&open, &third, &["anna", "carla-2", "dora", "bob"]);
    let capsules = fleet.path("capsules.jsonl");
    fleet.run(&["snapshot", "capsules", "--out", arg(&capsules)]).ok();
    let handed = ["anna", "bob"].map(|name| (name, fleet.path(&format!("from-{name}.json"))));
    for (name, out) in &handed {
        let args = ["custodian", "hand-over", "--group", arg(&group), "--capsules", arg(&capsules)];
        it.run(name, &[&args[..], &["--out", arg(out)]].concat()).ok();
    }
    it.decide(&["--group", arg(&group)], &third);
    let take_over = [arg(&handed[0].1), arg(&handed[1].1)];
    for name in third {
        it.run(name, &[&["custodian", "take-over"][..], &take_over].concat()).ok();
    }
    fleet.run(&[&["restore", "take-over"][..], &take_over].concat()).ok();

    // The two who were not there when it was sealed open it.
    let (request, to) = (fleet.request(&fleet.home(), &id, "request.json"), fleet.path("restored"));
    let mut arguments = vec!["restore".to_owned(), "run".to_owned(), arg(&request).to_owned()];
    for name in ["carla-2", "dora"] {
        let (share, out) = (it.share(name), fleet.path(&format!("{name}-says.json")));
        let approve = ["restore", "approve", arg(&request), "--share", &share, "--yes"];
        it.run(name, &[&approve[..], &["--out", arg(&out)]].concat()).ok();
        arguments.extend(["--approval".to_owned(), arg(&out).to_owned()]);
    }
    arguments.extend(["--to".to_owned(), arg(&to).to_owned()]);
    fleet.run(&text(&arguments)).ok();
    assert_same(&tree, &restored(&to, &tree));

    // And they delete.
    it.decide(&["--deletion-min-days", "30", "--deletion-custodians", "2"], &third);
    let delete = fleet.path("delete.json");
    let propose = ["snapshot", "delete", "propose", &erased, "--reason", "case 7", "--out"];
    fleet.run(&[&propose[..], &[arg(&delete)]].concat()).ok();
    fleet.run(&["snapshot", "delete", "apply", arg(&delete)]).code(1);
    for name in ["dora", "carla-2"] {
        // With the share of the home.
        let sign = ["snapshot", "delete", "sign", arg(&delete), "--yes"];
        run(&fleet.path(name), &[&sign[..], &["--out", arg(&delete)]].concat()).code(1);
        it.run(name, &[&sign[..], &["--out", arg(&delete)]].concat()).ok();
    }
    fleet.run(&["snapshot", "delete", "apply", arg(&delete)]).ok();
    let list = fleet.run(&["snapshot", "list", "--json"]).ok().json();
    let ids: Vec<_> = list.as_array().expect("a list").iter().map(|it| &it["id"]).collect();
    assert_eq!(ids, [&id, &kept]);
}

#[test]
fn a_machine_answers_while_its_token_is_there_and_goes_on_when_it_is_back() {
    let it = Guarded::new();
    let fleet_id = run_json(&it.home())["fleets"][0]["id"].as_str().expect("an id").to_owned();
    let policy = crate::machines::policy(&format!("fleet:{fleet_id}"), "approvers = []", &[]);
    std::fs::write(it.home().join("policy.toml"), policy).expect("written");
    let address = crate::harness::free_address();
    let mut command = it.hsm.seawall(&it.home());
    command.args(["custodian", "run", "--listen", &address]);
    let log = std::fs::File::create(it.fleet.path("machine.log")).expect("a log file");
    let child = command.stderr(log).spawn().expect("the machine starts");
    let _machine = crate::machines::Running(child);
    wait_until("it listens", || std::net::TcpStream::connect(&address).is_ok());
    let key = crate::machines::transport_key(&it.fleet.home());
    let home = seawall_custodian::CustodianHome::open(&it.home()).expect("a home");
    let pinned = home.transport().expect("a key").public();
    let mut connection = crate::machines::connect(&address, pinned, &key).expect("connected");
    let mut send = || {
        let dossier = std::fs::read(it.request()).expect("a request");
        let message = crate::machines::message("POST", "/v1/request", dossier);
        let (status, said) = crate::machines::ask(&mut connection, &message);
        assert_eq!(status, 200, "{said}");
        serde_json::from_str::<Value>(&said).expect("JSON")
    };
    assert_eq!(send()["state"], "answered");
    // Pulled out: requests wait, nothing is refused for it.
    let (key, drawer) = (it.hsm.keys()[0].clone(), it.fleet.path("drawer"));
    std::fs::rename(&key, &drawer).expect("moved");
    let pending = send();
    assert_eq!(pending["state"], "pending", "{pending}");
    assert!(pending["why"].as_str().is_some_and(|w| w.contains("cannot be used")), "{pending}");
    std::fs::rename(&drawer, &key).expect("moved back");
    let cases = it.home().join("custody/cases.json");
    wait_until("the waiting one is answered", || {
        std::fs::read_to_string(&cases).is_ok_and(|text| text.matches("\"answered\"").count() >= 2)
    });
}

#[test]
fn pins_are_not_burnt_and_each_trouble_has_its_remedy() {
    let it = Guarded::new();
    let (request, share) = (it.request(), it.share());
    let approve = it.approve(&request, &share);
    let with =
        |name: &str, value: &str| said(it.hsm.seawall(&it.home()).env(name, value).args(&approve));
    with("SEAWALL_PKCS11_MODULE", "libsofthsm2.so").code(1).says(&["absolute path"]);
    with("SEAWALL_PKCS11_MODULE", "/nowhere.so").code(1).says(&["cannot use /nowhere.so"]);
    let pin = it.fleet.path("pin");
    std::fs::write(&pin, format!("{PIN}\n")).expect("written");
    let mode = |mode| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&pin, std::fs::Permissions::from_mode(mode)).expect("set");
    };
    mode(0o640);
    with("SEAWALL_TOKEN_PIN_FILE", arg(&pin)).code(1).says(&["mode 0640", "chmod 600"]);
    mode(0o600);
    with("SEAWALL_TOKEN_PIN_FILE", arg(&pin)).ok();
    let mut none = it.hsm.seawall(&it.home());
    said(none.env_remove("SEAWALL_TOKEN_PIN").args(&approve)).code(1).says(&["--pin-file"]);

    // A wrong PIN is tried once; after that nothing that nobody types, not even the right one.
    with("SEAWALL_TOKEN_PIN", "0000").code(1).says(&["PIN of the token \"anna\" is wrong"]);
    let refused = it.hsm.run(&it.home(), &text(&approve)).code(1);
    refused.says(&["is not tried", "seawall custodian token"]);
    let program = env!("CARGO_BIN_EXE_seawall");
    let typed = format!("{program} custodian token");
    let mut terminal = it.hsm.seawall(&it.home());
    let mut script = Command::new("script");
    script.args(["-qec", &typed, "/dev/null"]).env_clear();
    for (name, value) in terminal.env("TERM", "dumb").get_envs() {
        script.envs(value.map(|value| (name, value)));
    }
    let mut child = script
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("a terminal");
    let mut stdin = child.stdin.take().expect("piped");
    std::thread::sleep(std::time::Duration::from_millis(500));
    std::io::Write::write_all(&mut stdin, format!("{PIN}\n").as_bytes()).expect("typed");
    let typed = crate::harness::end(child);
    assert!(typed.stdout.contains("a wrong PIN was entered"), "{typed:?}");
    typed.ok();
    it.hsm.run(&it.home(), &text(&approve)).ok();

    // The key was deleted; then one of the same number was put there from outside.
    let id = run_json(&it.home())["token"]["key"].as_str().expect("an id").to_owned();
    std::fs::remove_file(&it.hsm.keys()[0]).expect("deleted");
    it.hsm.run(&it.home(), &text(&approve)).code(1).says(&["is not there any more", "repair"]);
    let bytes = it.fleet.path("key.bin");
    std::fs::write(&bytes, [7; 32]).expect("written");
    let import = ["--import", arg(&bytes), "--aes", "--token", "anna", "--label", "x", "--id", &id];
    it.hsm.tool(&[&import[..], &["--pin", PIN]].concat()).ok();
    let weak = it.hsm.run(&it.home(), &text(&approve)).code(1);
    weak.says(&["was not made in the token", "protects nothing"]);
    std::fs::rename(it.hsm.tokens(), it.fleet.path("drawer")).expect("moved");
    std::fs::create_dir(it.hsm.tokens()).expect("made");
    it.hsm.run(&it.home(), &text(&approve)).code(1).says(&["no token \"anna\"", "plug it in"]);
}
