//! A bucket of a real S3 server (rclone's) as the source of a snapshot, through a counting relay.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::harness::{Fleet, Said, noise_of, said, seawall};
use crate::solo::S3Server;

/// A relay in front of a server: it writes down what is asked for, and can cut connections.
struct Relay {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
    /// Bytes of answers after which a connection is cut, once; 0 for never.
    cut_after: Arc<AtomicU64>,
    /// Done when a connection is cut.
    when_cut: WhenCut,
}

type WhenCut = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

impl Relay {
    fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let cut_after = Arc::new(AtomicU64::new(0));
        let when_cut = WhenCut::default();
        let (server, asked, cut) =
            (server.to_owned(), Arc::clone(&requests), Arc::clone(&cut_after));
        let on_cut = Arc::clone(&when_cut);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(upstream) = TcpStream::connect(&server) else { return };
                let (asked, cut) = (Arc::clone(&asked), Arc::clone(&cut));
                let on_cut = Arc::clone(&on_cut);
                let clone = |stream: &TcpStream| stream.try_clone().expect("cloned");
                let (from, to) = (clone(&client), clone(&upstream));
                std::thread::spawn(move || requests_through(from, to, &asked));
                std::thread::spawn(move || answers_through(upstream, client, &cut, &on_cut));
            }
        });
        Self { address, requests, cut_after, when_cut }
    }

    /// What was asked for since the last time: listings, and keys of objects.
    fn taken(&self) -> (usize, Vec<String>) {
        let lines = std::mem::take(&mut *self.requests.lock().expect("no panic"));
        let (lists, gets): (Vec<_>, Vec<_>) =
            lines.into_iter().partition(|l| l.contains("list-type"));
        (lists.len(), gets)
    }
}

/// Signed requests have no bodies here: lines that begin with a method are requests.
fn requests_through(mut from: TcpStream, mut to: TcpStream, asked: &Mutex<Vec<String>>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..n]);
        let lines = text.lines().filter(|line| line.starts_with("GET "));
        asked.lock().expect("no panic").extend(lines.map(ToOwned::to_owned));
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

fn answers_through(mut from: TcpStream, mut to: TcpStream, cut: &AtomicU64, on_cut: &WhenCut) {
    let mut buffer = vec![0; 16 << 10];
    let mut sent = 0;
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        sent += n as u64;
        let limit = cut.load(Ordering::SeqCst);
        let is_cut = limit > 0 && sent > limit && cut.swap(0, Ordering::SeqCst) > 0;
        if is_cut && let Some(act) = on_cut.lock().expect("no panic").take() {
            act();
        }
        if is_cut || to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// A fleet, a server with the bucket `vault`, and a relay between them.
struct Scene {
    fleet: Fleet,
    server: S3Server,
    relay: Relay,
}

impl Scene {
    fn new(options: &[&str]) -> Self {
        let server = S3Server::start_with(options);
        let relay = Relay::to(server.address());
        Self { fleet: Fleet::found(), server, relay }
    }

    fn put(&self, key: &str, content: &[u8]) {
        let path = self.server.bucket().join(key);
        fs::create_dir_all(path.parent().expect("in the bucket")).expect("directories");
        fs::write(path, content).expect("written");
    }

    fn create(&self, args: &[&str]) -> Said {
        let mut command = seawall();
        command.env("SEAWALL_HOME", self.fleet.home()).envs(self.server.environment());
        command.env("AWS_ENDPOINT", format!("http://{}", self.relay.address));
        said(command.args(["snapshot", "create", "--json"]).args(args))
    }

    fn restored(&self, said: &Said) -> PathBuf {
        let value = said.json();
        let id = value["id"].as_str().expect("an id");
        let to = self.fleet.path(&format!("restored-{}", &id[..8]));
        self.fleet.restore(&self.fleet.home(), id, &to).ok();
        to
    }
}

#[test]
fn only_objects_that_changed_are_asked_for_again() {
    // What is removed behind its back, it sees at once.
    let scene = Scene::new(&["--dir-cache-time", "0s"]);
    let keys: Vec<String> = (0..40).map(|i| format!("in/d{}/object {i}+\u{e4}", i % 7)).collect();
    for (i, key) in keys.iter().enumerate() {
        scene.put(key, &noise_of(i as u64, 1_000 * i));
    }
    scene.put("in/d1.txt", b"beside a directory");
    scene.put("out/not asked for", b"x");
    age(&scene.server.bucket());
    let first = scene.create(&["s3://vault/in"]).ok();
    assert_eq!(first.json()["files"], 41);
    let (lists, gets) = scene.relay.taken();
    assert_eq!((lists, gets.len()), (1, 41), "{gets:#?}");

    let again = scene.create(&["s3://vault/in/"]).ok();
    assert_eq!(again.json()["files"], 41);
    // The same URL but for its slash is another cache.
    scene.relay.taken();
    let again = scene.create(&["s3://vault/in"]).ok();
    assert_eq!((again.json()["files"].as_u64(), scene.relay.taken()), (Some(41), (1, Vec::new())));

    scene.put(&keys[7], b"another version");
    scene.put("in/new", b"new");
    fs::remove_file(scene.server.bucket().join(&keys[9])).expect("removed");
    let last = scene.create(&["s3://vault/in"]).ok();
    assert_eq!(last.json()["files"], 41);
    let (lists, gets) = scene.relay.taken();
    assert_eq!((lists, gets.len()), (1, 2), "{gets:#?}");

    let root = scene.restored(&last).join("vault");
    let mut count = 0;
    for (i, key) in keys.iter().enumerate().filter(|(i, _)| *i != 9) {
        let wanted =
            if i == 7 { b"another version".to_vec() } else { noise_of(i as u64, 1_000 * i) };
        assert!(fs::read(root.join(key)).expect(key) == wanted, "{key}");
        count += 1;
    }
    assert_eq!(count, 39);
    let etag = Command::new("getfattr")
        .args(["-n", "user.s3.etag", "--only-values"])
        .arg(root.join(&keys[8]))
        .output();
    if let Ok(etag) = etag {
        let wanted = md5(&scene.server.bucket().join(&keys[8]));
        assert_eq!(String::from_utf8_lossy(&etag.stdout), wanted);
    }
    let time = |path: PathBuf| fs::metadata(path).expect("there").mtime();
    assert_eq!(time(root.join(&keys[8])), time(scene.server.bucket().join(&keys[8])));
}

fn md5(path: &Path) -> String {
    let output = Command::new("md5sum").arg(path).output().expect("md5sum runs");
    String::from_utf8_lossy(&output.stdout).chars().take(32).collect()
}

/// Makes everything below `dir` an hour old: what is too young is not trusted.
fn age(dir: &Path) {
    let touched = Command::new("sh")
        .args(["-c", "find \"$1\" -exec touch -d '1 hour ago' {} +", "sh"])
        .arg(dir)
        .stdout(Stdio::null())
        .status();
    assert!(touched.expect("find runs").success());
}

#[test]
fn a_cut_connection_goes_on_where_it_was_and_a_replaced_object_is_named() {
    let scene = Scene::new(&["--dir-cache-time", "0s"]);
    let bytes = noise_of(1, 30 << 20);
    scene.put("big", &bytes);
    scene.relay.cut_after.store(10 << 20, Ordering::SeqCst);
    let made = scene.create(&["s3://vault"]).ok();
    assert_eq!(scene.relay.cut_after.load(Ordering::SeqCst), 0, "it was cut");
    assert_eq!(scene.relay.taken().1.len(), 2, "the rest was asked for, not all again");
    let root = scene.restored(&made).join("vault");
    assert!(fs::read(root.join("big")).expect("restored") == bytes);

    scene.put("second/other", &bytes);
    let path = scene.server.bucket().join("second/other");
    let replace = move || fs::write(path, noise_of(2, 30 << 20)).expect("written");
    *scene.relay.when_cut.lock().expect("no panic") = Some(Box::new(replace));
    scene.relay.cut_after.store(10 << 20, Ordering::SeqCst);
    let made = scene.create(&["s3://vault/second"]).code(3);
    let made = made.says(&["/vault/second/other", "was replaced while"]);
    assert_eq!(made.json()["files"], 0, "no mixture is held");
    assert_eq!(scene.create(&["s3://vault/second"]).ok().json()["files"], 1);
}

#[test]
fn more_than_a_page_and_patterns() {
    let scene = Scene::new(&[]);
    for i in 0..2_300 {
        scene.put(&format!("p/{}/{i}", i % 3), b"");
    }
    scene.put("p/skip/x", b"x");
    let args = ["s3://vault/p", "--exclude", "/skip/", "--exclude", "*7"];
    let dry = scene.create(&[&args[..], &["--dry-run"]].concat()).ok().json();
    assert_eq!(scene.relay.taken(), (3, Vec::new()));
    let made = scene.create(&args).ok().json();
    assert_eq!((made["files"].as_u64(), &made["excluded"]), (Some(2_070), &dry["excluded"]));
    assert_eq!(made["excluded"]["directories"], 1);
    assert_eq!(scene.relay.taken().0, 3);
}

#[test]
fn a_bucket_that_cannot_be_listed_makes_no_snapshot() {
    let scene = Scene::new(&[]);
    scene.create(&["s3://nowhere"]).code(1).says(&["no snapshot was made", "NoSuchBucket"]);
    scene.create(&["s3://vault/mistyped"]).code(1).says(&["nothing begins with"]);
    let mut command = seawall();
    command.env("SEAWALL_HOME", scene.fleet.home()).envs(scene.server.environment());
    command.env("AWS_SECRET_ACCESS_KEY", "wrong");
    said(command.args(["snapshot", "create", "s3://vault"]))
        .code(1)
        .says(&["cannot be listed", "403"]);
    let list = scene.fleet.run(&["snapshot", "list", "--json"]).ok().json();
    assert_eq!(list, serde_json::json!([]));
}
