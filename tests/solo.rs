//! The solo profile: a plain directory or an S3 bucket in place of a region, one person.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::harness::{Fleet, arg, assert_same, free_address, restored, run, seawall, wait_until};

/// Founds a solo fleet whose copies go to `bucket`.
fn found(bucket: &str) -> Fleet {
    Fleet::found_with(&["--profile", "solo", "--bucket", bucket])
}

#[test]
fn everything_lost_but_shares_paper_and_bucket_comes_back() {
    let elsewhere = tempfile::tempdir().expect("a directory");
    let bucket = elsewhere.path().join("nas");
    let fleet = found(arg(&bucket));
    let key = fleet.path("root-key.json");
    fleet.run(&["fleet", "root-key", "--out", arg(&key)]).ok();
    let tree = fleet.tree("tree");
    let first = fleet.snapshot(&tree);
    let sync = fleet.run(&["sync", "--json"]).ok().json();
    assert_eq!(sync[0]["id"], "bucket");
    assert_eq!(sync[0]["snapshots"], 1);
    std::fs::write(tree.join("later"), "came later").expect("written");
    let second = fleet.snapshot(&tree);
    let sync = fleet.run(&["sync", "--json"]).ok().json();
    let sent = sync[0]["sent_bytes"].as_u64().expect("a number");
    assert!(sent < 100_000, "{sent} bytes for one small file");
    fleet.run(&["verify", "--bucket"]).ok();

    std::fs::remove_dir_all(fleet.home()).expect("the only machine is gone");
    let new = fleet.path("new");
    let args = ["fleet", "recover", "--root-key", arg(&key), "--bucket", arg(&bucket)];
    run(&new, &args).ok();
    let list = run(&new, &["snapshot", "list", "--all", "--json"]).ok().json();
    let ids: Vec<_> = list.as_array().expect("an array").iter().map(|s| &s["id"]).collect();
    assert_eq!(ids, [first.as_str(), second.as_str()]);
    let to = fleet.path("restored");
    fleet.restore(&new, &second, &to).ok();
    assert_same(&tree, &restored(&to, &tree));
}

#[test]
fn a_damaged_pack_is_named() {
    let elsewhere = tempfile::tempdir().expect("a directory");
    let fleet = found(arg(elsewhere.path()));
    fleet.snapshot(&fleet.tree("tree"));
    fleet.run(&["sync"]).ok();
    let packs: Vec<PathBuf> = std::fs::read_dir(elsewhere.path().join("packs"))
        .expect("packs were written")
        .map(|e| e.expect("readable").path())
        .collect();
    let mut bytes = std::fs::read(&packs[0]).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&packs[0], bytes).expect("written");
    fleet.run(&["verify", "--bucket"]).code(1).says(&["is damaged", "packs/"]);
}

#[test]
fn a_rolled_back_home_and_a_foreign_bucket_are_refused() {
    let elsewhere = tempfile::tempdir().expect("a directory");
    let fleet = found(arg(elsewhere.path()));
    let tree = fleet.tree("tree");
    fleet.snapshot(&tree);
    let old = fleet.path("old");
    copy(&fleet.home(), &old);
    fleet.snapshot(&tree);
    fleet.run(&["sync"]).ok();
    run(&old, &["sync"]).code(1).says(&["rolled back"]);

    let other = found(arg(elsewhere.path()));
    other.snapshot(&tree);
    other.run(&["sync"]).code(1).says(&["belongs to"]);
}

#[test]
fn the_root_key_copy_needs_its_passphrase_and_its_fleet() {
    let elsewhere = tempfile::tempdir().expect("a directory");
    let fleet = found(arg(elsewhere.path()));
    fleet.run(&["sync"]).ok();
    let key = fleet.path("root-key.json");
    fleet.run(&["fleet", "root-key", "--out", arg(&key)]).ok();
    let bucket = arg(elsewhere.path()).to_owned();
    let args = ["fleet", "recover", "--root-key", arg(&key), "--bucket", &bucket];
    let wrong = seawall()
        .env("SEAWALL_HOME", fleet.path("wrong"))
        .env("SEAWALL_SHARE_PASSPHRASE", "guess")
        .args(args)
        .output()
        .expect("runs");
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("wrong passphrase"));
    assert!(!fleet.path("wrong").exists(), "nothing is left behind");

    let stranger = Fleet::found();
    let card = stranger.path("card.json");
    stranger.run(&["fleet", "card", "--out", arg(&card)]).ok();
    let args = ["fleet", "recover", "--root-key", arg(&key), "--card", arg(&card)];
    run(&fleet.path("other"), &args).code(1).says(&["the card is of"]);
}

#[test]
fn an_s3_bucket_serves_as_region() {
    let server = S3Server::start();
    let fleet = found("s3://vault/site-a");
    let run = |home: &Path, args: &[&str]| {
        let mut command = seawall();
        command.env("SEAWALL_HOME", home).args(args);
        command.envs(server.environment());
        let output = command.output().expect("the program runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let home = fleet.home();
    let tree = fleet.tree("tree");
    let id = fleet.snapshot(&tree);
    run(&home, &["sync"]);
    run(&home, &["verify", "--bucket"]);
    let key = fleet.path("root-key.json");
    run(&home, &["fleet", "root-key", "--out", arg(&key)]);
    std::fs::remove_dir_all(&home).expect("the only machine is gone");

    let new = fleet.path("new");
    let args = ["fleet", "recover", "--root-key", arg(&key), "--bucket", "s3://vault/site-a"];
    run(&new, &args);
    let request = fleet.path("request.json");
    run(&new, &["restore", "request", &id, "--reason", "fire", "--out", arg(&request)]);
    let a = fleet.approve(&request, 0, "a.json");
    let b = fleet.approve(&request, 2, "b.json");
    let to = fleet.path("restored");
    let args = ["restore", "run", arg(&request), "--approval", arg(&a), "--approval", arg(&b)];
    run(&new, &[&args[..], &["--to", arg(&to)]].concat());
    assert_same(&tree, &restored(&to, &tree));
}

/// A real S3 server (rclone's) over an empty directory.
pub(crate) struct S3Server {
    child: Child,
    address: String,
    dir: tempfile::TempDir,
}

impl S3Server {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// As [`S3Server::start`], with more options of rclone's.
    pub(crate) fn start_with(options: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("vault")).expect("the bucket");
        let address = free_address();
        let child = Command::new(rclone())
            .args(["serve", "s3", "--addr", &address, "--auth-key", "test-key,test-secret"])
            .args(options)
            .arg(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("rclone starts; ./test installs it");
        let server = Self { child, address, dir };
        wait_until("rclone listens", || std::net::TcpStream::connect(&server.address).is_ok());
        server
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Its one bucket, `vault`: objects are files.
    pub(crate) fn bucket(&self) -> PathBuf {
        self.dir.path().join("vault")
    }

    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT", format!("http://{}", self.address)),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "test-key".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test-secret".to_owned()),
        ]
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where `./test` puts rclone, or the system's.
fn rclone() -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/bin/rclone");
    if installed.is_file() { installed } else { PathBuf::from("rclone") }
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").args([from, to]).status().expect("cp runs");
    assert!(status.success());
}
