//! The program `seawall-region`, from its help to its end by SIGTERM.

mod world;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use seawall_base::Timestamp;
use seawall_record::FleetCard;
use seawall_record::RegionCard;
use world::World;

const PROGRAM: &str = env!("CARGO_BIN_EXE_seawall-region");

fn run(home: &Path, arguments: &[&str]) -> Output {
    Command::new(PROGRAM).arg("--home").arg(home).args(arguments).output().expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn help_shows_an_example() {
    let help = Command::new(PROGRAM).arg("--help").output().expect("it starts");
    assert!(text(&help.stdout).contains("Example:\n  seawall-region --home /srv/seawall init"));
}

#[test]
fn a_home_is_made_once_served_ended_and_verified() {
    let dir = tempfile::tempdir().expect("a directory");
    let home = dir.path().join("home");
    let world = World::new(1, Timestamp(1_800_000_000));
    let fleet = dir.path().join("fleet.json");
    let card = serde_json::to_vec(&FleetCard::new(&world.fleet)).expect("JSON");
    std::fs::write(&fleet, card).expect("written");
    let fleet = fleet.to_str().expect("UTF-8");

    let refused = run(&home, &["init", "--listen", "nowhere", "--name", "shore"]);
    assert!(!refused.status.success() && text(&refused.stderr).contains("not HOST:PORT"));
    let listen = ["--listen", "127.0.0.1:0"];
    let refused = run(&home, &[&["init", "--name", "two words"], &listen[..]].concat());
    assert!(!refused.status.success() && text(&refused.stderr).contains("no spaces"));
    let made = run(&home, &[&["init", "--name", "shore"], &listen[..]].concat());
    assert!(made.status.success(), "{}", text(&made.stderr));
    let card: RegionCard = serde_json::from_slice(&made.stdout).expect("a card");
    assert_eq!((card.format.as_str(), card.name.as_str()), ("seawall-region/1", "shore"));
    let again = run(&home, &[&["init", "--name", "shore"], &listen[..]].concat());
    assert!(!again.status.success() && text(&again.stderr).contains("already holds a region"));
    let added = run(&home, &["add-fleet", fleet]);
    assert_eq!(text(&added.stdout), format!("hosting {}\n", world.fleet.id()));
    let absent = run(&home, &["add-fleet", "/no/such/card"]);
    assert!(!absent.status.success() && text(&absent.stderr).contains("no such"));

    let mut serving = Command::new(PROGRAM)
        .arg("--home")
        .arg(&home)
        .arg("run")
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(serving.stderr.take().expect("piped")).lines();
    let ready = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("serving")));
    assert!(ready.is_some(), "it says that it serves");
    let busy = run(&home, &["verify"]);
    assert!(!busy.status.success() && text(&busy.stderr).contains("in use by another process"));
    let killed = Command::new("kill").args(["-TERM", &serving.id().to_string()]).status();
    assert!(killed.expect("kill starts").success());
    assert!(serving.wait().expect("it ends").success());

    let verified = run(&home, &["verify"]);
    assert!(verified.status.success() && text(&verified.stdout).contains("nothing is wrong"));
    let nothing = run(&dir.path().join("nothing"), &["verify"]);
    assert!(!nothing.status.success() && text(&nothing.stderr).contains("make one with `init`"));
}
