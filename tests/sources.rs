//! What a snapshot can be made of: trees with parts passed over, streams, commands, devices,
//! sparse images; and the commands around it.

use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::harness::{
    Fleet, Said, arg, assert_same, end, noise, restored, said, seawall, signal, start, wait_until,
};

fn make(root: &Path, files: &[(&str, &[u8])]) {
    for (path, content) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("directories");
        fs::write(path, content).expect("written");
    }
}

fn id(said: &Said) -> String {
    said.json()["id"].as_str().expect("an id").to_owned()
}

/// How many snapshots there are.
fn snapshots(fleet: &Fleet) -> usize {
    fleet.run(&["snapshot", "list", "--json"]).ok().json().as_array().expect("a list").len()
}

/// Everything below `root`, sorted.
fn list(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("listed") {
            let path = entry.expect("listed").path();
            found.push(path.strip_prefix(root).expect("below").display().to_string());
            if path.is_dir() && !path.is_symlink() {
                dirs.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn what_is_passed_over_is_counted_and_not_restored() {
    let fleet = Fleet::found();
    let tree = fleet.path("tree");
    let tag = "Signature: 8a477f597d28d172789f06886806bc55";
    make(
        &tree,
        &[
            ("keep.txt", b"kept"),
            ("a.o", b"x"),
            ("sub/B.TMP", b"x"),
            ("sub/c.txt", b"kept"),
            ("target/debug/x", b"x"),
            ("src/target", b"kept"),
            ("cache/CACHEDIR.TAG", tag.as_bytes()),
            ("cache/x", b"x"),
            ("vm/.nobackup", b""),
            ("vm/disk", b"x"),
            ("large", &noise(2_000)),
            ("git/.gitignore", b"*.log\n"),
            ("git/a.log", b"x"),
        ],
    );
    let from = fleet.path("patterns");
    fs::write(&from, "# built\n*.o\n\n/target/\n").expect("written");
    let args = [
        "snapshot",
        "create",
        arg(&tree),
        "--exclude-from",
        arg(&from),
        "--iexclude",
        "*.tmp",
        "--exclude",
        "/no/such",
        "--exclude-caches",
        "--exclude-if-present",
        ".nobackup",
        "--exclude-larger-than",
        "1k",
        "--gitignore",
        "--one-file-system",
        "--json",
    ];
    let dry = fleet.run(&[&args[..], &["--dry-run"]].concat()).ok().json();
    assert_eq!(snapshots(&fleet), 0, "a dry run makes none");
    let made = fleet.run(&args).ok().says(&["the pattern /no/such matched nothing"]);
    let value = made.json();
    for (name, count) in
        [("files", 3), ("directories", 1), ("too_large", 1), ("caches", 1), ("marked", 1)]
    {
        assert_eq!(value["excluded"][name], count, "{name}: {value}");
    }
    assert_eq!(value["excluded"]["unused_patterns"], serde_json::json!(["/no/such"]));
    for name in ["files", "directories", "bytes", "excluded", "problems"] {
        assert_eq!(dry[name], value[name], "a dry run foretells {name}");
    }
    let to = fleet.path("restored");
    fleet.restore(&fleet.home(), &id(&made), &to).ok();
    let expected = [
        "cache",
        "cache/CACHEDIR.TAG",
        "git",
        "git/.gitignore",
        "keep.txt",
        "src",
        "src/target",
        "sub",
        "sub/c.txt",
        "vm",
        "vm/.nobackup",
    ];
    assert_eq!(list(&restored(&to, &tree)), expected);
    let words = fleet.run(&args[..args.len() - 1]).ok().stdout;
    assert!(words.contains("passed over 3 files by pattern, 1 directories by pattern"), "{words}");
}

#[test]
fn options_that_mean_nothing_are_refused() {
    let fleet = Fleet::found();
    let tree = fleet.tree("tree");
    let tree = arg(&tree);
    for (args, why) in [
        (&["--exclude", "[a", tree][..], "not closed"),
        (&["--exclude", "", tree], "blank"),
        (&["--exclude-if-present", "a/b", tree], "no name of a file"),
        (&["--exclude-larger-than", "1X", tree], "unknown unit"),
        (&["--stdin", "--exclude", "*.o"], "nothing can be passed over"),
        (&["--stdin", tree], "cannot be used with"),
        (&["--dry-run", "--stdin"], "by reading it"),
        (&["s3://vault", tree], "alone"),
        (&["s3://vault", "--gitignore"], "of a bucket"),
    ] {
        fleet.run(&[&["snapshot", "create"], args].concat()).code(2).says(&[why]);
    }
    fleet
        .run(&["snapshot", "create", "--stdin", "--stdin-filename", "a/../b"])
        .code(1)
        .says(&["no path"]);
    assert_eq!(snapshots(&fleet), 0);
}

#[test]
fn standard_input_is_one_file() {
    let fleet = Fleet::found();
    let bytes = noise(9 << 20);
    let input = fleet.path("input");
    fs::write(&input, &bytes).expect("written");
    let create = |args: &[&str]| {
        let file = fs::File::open(&input).expect("opened");
        let mut command = seawall();
        command
            .env("SEAWALL_HOME", fleet.home())
            .stdin(file)
            .args(["snapshot", "create", "--json"]);
        said(command.args(args)).ok()
    };
    let made = create(&["--stdin", "--stdin-filename", "db/main.sql"]);
    let value = made.json();
    assert_eq!((&value["files"], &value["bytes"]), (&1.into(), &(9 << 20).into()));
    let again = create(&["--stdin", "--stdin-filename", "db/main.sql"]).json();
    assert!(again["new_bytes"].as_u64() < Some(100_000), "an equal stream is held once: {again}");
    // Never taken over from the time before: it is read, whatever it is called.
    fs::write(&input, b"short").expect("written");
    let short = create(&["--stdin", "--stdin-filename", "db/main.sql"]);
    assert_eq!(short.json()["bytes"], 5);
    let to = fleet.path("restored");
    fleet.restore(&fleet.home(), &id(&made), &to).ok();
    assert!(fs::read(to.join("db/main.sql")).expect("restored") == bytes);
    assert_eq!(
        fs::metadata(to.join("db/main.sql")).expect("there").permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn a_command_that_fails_makes_no_snapshot() {
    let fleet = Fleet::found();
    let create = |args: &[&str]| {
        fleet.run(&[&["snapshot", "create", "--json", "--stdin-filename", "dump"], args].concat())
    };
    let made = create(&["--from-command", "echo to the log >&2; printf %s a b"]).ok();
    assert_eq!(made.json()["bytes"], 2);
    let long = "head -c 20000000 /dev/zero; echo connection lost >&2; exit 7";
    create(&["--from-command", long]).code(1).says(&[
        "no snapshot was made",
        "exit status: 7",
        "connection lost",
    ]);
    create(&["--from-command", "printf x; kill -KILL $$"]).code(1).says(&["SIGKILL"]);
    create(&["--from-exec", "--", "/no/such/program"]).code(1).says(&["cannot be started"]);
    let exec = create(&["--from-exec", "--", "printf", "%s", "$HOME; a"]).ok();
    assert_eq!(exec.json()["bytes"], 8, "no shell looks at it");
    assert_eq!(snapshots(&fleet), 2);
    fleet.run(&["verify"]).ok();
}

/// The pipe holds a fast command up; what it prints is never held whole.
#[test]
fn a_command_is_read_no_faster_than_it_is_sealed() {
    let fleet = Fleet::found();
    let peak = fleet.path("peak");
    let hook = format!("grep VmHWM /proc/$PPID/status > {}", peak.display());
    let command = "head -c 300000000 /dev/zero";
    let args = ["snapshot", "create", "--json", "--from-command", command, "--post-hook", &hook];
    assert_eq!(fleet.run(&args).ok().json()["bytes"], 300_000_000);
    let peak = fs::read_to_string(&peak).expect("the hook wrote it");
    let peak: u64 = peak.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number");
    assert!(peak < 160 << 10, "{peak} KiB for 293 MiB");
}

#[test]
fn hooks_run_before_and_after_whatever_happens() {
    let fleet = Fleet::found();
    let tree = fleet.tree("tree");
    let told = fleet.path("told");
    let tell = format!(
        "echo $SEAWALL_RESULT,$SEAWALL_SNAPSHOT,$SEAWALL_FILES,${{SEAWALL_SHARE_PASSPHRASE-none}},$SEAWALL_ERROR >> {}",
        told.display()
    );
    let create = |args: &[&str]| {
        let args =
            [&["snapshot", "create", arg(&tree), "--json", "--post-hook", &tell], args].concat();
        fleet.run(&args)
    };
    let last = || {
        let all = fs::read_to_string(&told).expect("told");
        all.lines().last().expect("a line").to_owned()
    };
    let fresh = tree.join("frozen");
    let freeze = format!("echo x > {}", fresh.display());
    let made = create(&["--pre-hook", &freeze]).ok();
    assert_eq!(last(), format!("done,{},5,none,", id(&made)));
    let before = made.json()["files"].as_u64();
    assert_eq!(before, Some(5), "what the pre-hook made is in it");

    create(&["--pre-hook", "echo no freeze >&2; exit 4"]).code(1).says(&[
        "pre-hook",
        "exit status: 4",
        "no freeze",
    ]);
    assert!(last().starts_with("failed,,0,none,") && last().contains("pre-hook"), "{}", last());
    create(&["--class", "none"]).code(1);
    assert!(last().starts_with("failed,") && last().contains("no data class"), "{}", last());
    let slow = Instant::now();
    create(&["--pre-hook", "sleep 60", "--hook-timeout", "1"]).code(1).says(&["more than 1 s"]);
    assert!(slow.elapsed().as_secs() < 30);
    assert_eq!(snapshots(&fleet), 1);
    let partly = create(&["--post-hook", "exit 1"]).code(3).says(&["post-hook"]);
    assert!(!id(&partly).is_empty(), "the snapshot is there");
}

#[test]
fn progress_can_be_told_to_a_program() {
    let fleet = Fleet::found();
    let slow = "for n in 1 2 3 4 5; do head -c 1000000 /dev/zero; sleep 0.5; done";
    let args = ["snapshot", "create", "--json", "--progress", "json", "--from-command", slow];
    let said = fleet.run(&args).ok();
    assert_eq!(said.json()["bytes"], 5_000_000);
    let lines: Vec<Value> = (said.stderr.lines().filter(|line| line.starts_with('{')))
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect();
    let bytes = |line: &Value| line["progress"]["bytes"].as_u64().expect("a number");
    assert!((1..=4).contains(&lines.len()), "one a second: {lines:?}");
    assert!(lines.is_sorted_by_key(bytes), "{lines:?}");
}

#[test]
fn fail_hooks_run_when_there_is_no_snapshot_and_then_only() {
    let fleet = Fleet::found();
    let tree = fleet.tree("tree");
    let told = fleet.path("told");
    let tell = |word: &str| format!("echo {word} \"$SEAWALL_ERROR\" >> {}", told.display());
    let (fail, post) = (tell("fail"), tell("post"));
    let create = |args: &[&str]| {
        let hooks = ["--fail-hook", &fail, "--post-hook", &post];
        fleet.run(&[&["snapshot", "create", arg(&tree)], &hooks[..], args].concat())
    };
    create(&[]).ok();
    assert_eq!(fs::read_to_string(&told).expect("told"), "post \n");
    create(&["--pre-hook", "exit 4"]).code(1);
    let lines = fs::read_to_string(&told).expect("told");
    let lines: Vec<_> = lines.lines().collect();
    assert!(lines[1].starts_with("fail ") && lines[1].contains("exit status: 4"), "{lines:?}");
    assert!(lines[2].starts_with("post ") && lines.len() == 3, "{lines:?}");
    create(&["--class", "none", "--fail-hook", "exit 9"])
        .code(1)
        .says(&["fail-hook", "no data class"]);
}

#[test]
fn an_interruption_still_runs_the_post_hook() {
    let fleet = Fleet::found();
    let (told, began) = (fleet.path("told"), fleet.path("began"));
    let tell = format!("echo $SEAWALL_RESULT > {0}.part; mv {0}.part {0}", told.display());
    let command = format!("echo $$ > {0}.part; mv {0}.part {0}; exec sleep 300", began.display());
    let args = ["snapshot", "create", "--from-command", &command, "--post-hook", &tell];
    let child = start(&fleet.home(), &args);
    wait_until("the command runs", || began.exists());
    signal(&child, rustix::process::Signal::INT);
    end(child).code(130);
    assert_eq!(fs::read_to_string(&told).expect("told"), "interrupted\n");
    let pid = fs::read_to_string(&began).expect("written");
    let stat = PathBuf::from(format!("/proc/{}/stat", pid.trim()));
    wait_until("the command is gone", || {
        fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "))
    });
    assert_eq!(snapshots(&fleet), 0);
    fleet.run(&["snapshot", "create", arg(&fleet.tree("tree"))]).ok();
}

#[test]
fn a_large_sparse_image_costs_what_is_in_it() {
    let fleet = Fleet::found();
    let tree = fleet.path("images");
    fs::create_dir(&tree).expect("made");
    let image = fs::File::create(tree.join("disk.img")).expect("made");
    image.set_len(10 << 30).expect("sparse");
    for (n, at) in [0, 3 << 30, (10 << 30) - (1 << 20)].into_iter().enumerate() {
        image.write_all_at(&noise(1 << 20)[n..], at).expect("written");
    }
    let blocks = |path: &Path| fs::metadata(path).expect("there").blocks() * 512;
    let start = Instant::now();
    let made = fleet.run(&["snapshot", "create", arg(&tree), "--json"]).ok();
    assert!(start.elapsed().as_secs() < 10, "{:?} for 3 MiB", start.elapsed());
    assert_eq!(made.json()["bytes"], 10_u64 << 30);
    let to = fleet.path("restored");
    let start = Instant::now();
    fleet.restore(&fleet.home(), &id(&made), &to).ok();
    assert!(start.elapsed().as_secs() < 10, "{:?} for 3 MiB", start.elapsed());
    let copy = restored(&to, &tree).join("disk.img");
    assert_eq!(fs::metadata(&copy).expect("there").len(), 10 << 30);
    assert!(blocks(&copy) <= blocks(&tree.join("disk.img")) + (64 << 10), "{}", blocks(&copy));
    let (a, b) = (fs::File::open(tree.join("disk.img")), fs::File::open(copy));
    let (a, b) = (a.expect("opened"), b.expect("opened"));
    for at in [0, 3 << 30, (10_u64 << 30) - (1 << 20)] {
        let mut both = [vec![0; 1 << 20], vec![0; 1 << 20]];
        let n = a.read_at(&mut both[0], at).expect("read");
        assert_eq!(b.read_at(&mut both[1], at).expect("read"), n);
        assert!(both[0] == both[1], "at {at}");
    }
}

/// A block device of a file; detached when dropped.
struct Loop(String);

impl Loop {
    fn attach(file: &Path) -> Result<Self, String> {
        let output = Command::new("losetup").args(["--find", "--show"]).arg(file).output();
        let output = output.map_err(|e| e.to_string())?;
        let name = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if output.status.success() && Path::new(&name).exists() {
            return Ok(Self(name));
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // Should it stay, nothing else is harmed.
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

#[test]
fn a_block_device_is_read_as_a_file_when_asked_for() {
    let fleet = Fleet::found();
    let file = fleet.path("disk");
    fs::write(&file, noise(5 << 20)).expect("written");
    let device = match Loop::attach(&file) {
        Ok(device) => device,
        Err(why) => {
            eprintln!("SKIPPED: no loop device can be made here: {why}");
            return;
        }
    };
    let link = fleet.path("link-to-disk");
    std::os::unix::fs::symlink(&device.0, &link).expect("linked");
    let create = |args: &[&str]| {
        let said = fleet.run(&[&["snapshot", "create", "--json"], args].concat()).ok();
        (id(&said), said.json())
    };
    let (_, node) = create(&[&device.0]);
    assert_eq!(
        (&node["files"], &node["others"]),
        (&0.into(), &1.into()),
        "a node without the option"
    );
    let (_, first) = create(&["--block-devices", &device.0]);
    assert_eq!((&first["files"], &first["bytes"]), (&1.into(), &(5 << 20).into()));
    // Its node does not change when its content does.
    let mut changed = noise(5 << 20);
    changed[1 << 20] ^= 1;
    fs::write(&file, &changed).expect("written");
    let flushed = Command::new("blockdev").args(["--flushbufs", &device.0]).status();
    assert!(flushed.expect("blockdev runs").success());
    let (id, second) = create(&["--block-devices", arg(&link)]);
    let new = second["new_bytes"].as_u64().expect("a number");
    assert!((1 << 17..3 << 20).contains(&new), "only the chunk that changed: {new}");
    let to = fleet.path("restored");
    fleet.restore(&fleet.home(), &id, &to).ok();
    assert!(fs::read(restored(&to, Path::new(&device.0))).expect("a file") == changed);
}

#[test]
fn several_paths_are_one_snapshot() {
    let fleet = Fleet::found();
    let (a, b) = (fleet.tree("a"), fleet.tree("b"));
    let said = fleet.run(&["snapshot", "create", arg(&a), arg(&b), "--json"]).ok();
    let to = fleet.path("restored");
    fleet.restore(&fleet.home(), &id(&said), &to).ok();
    assert_same(&a, &restored(&to, &a));
    assert_same(&b, &restored(&to, &b));
    let nothing = Value::from(0);
    assert_eq!(said.json()["excluded"]["files"], nothing);
}
