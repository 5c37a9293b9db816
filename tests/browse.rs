//! Looking into approved snapshots: mounted, as a tar archive, in part, and compared.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::damage::{ZONE, records};
use crate::fidelity::museum;
use crate::harness::{
    Fleet, Said, arg, assert_same, copy, end, noise, noise_of, restored, run, said, seawall,
    signal, start, wait_until,
};

/// A request that enough custodians have answered.
pub(crate) struct Open {
    pub(crate) home: PathBuf,
    pub(crate) request: PathBuf,
    approvals: [PathBuf; 2],
}

impl Open {
    pub(crate) fn new(fleet: &Fleet, id: &str) -> Self {
        Self::by(fleet, &fleet.home(), id)
    }

    fn by(fleet: &Fleet, home: &Path, id: &str) -> Self {
        let name = &id[..12];
        let request = fleet.request(home, id, &format!("request-{name}.json"));
        let approve = |n| fleet.approve(&request, n, &format!("approval-{name}-{n}.json"));
        let approvals = [0, 1].map(approve);
        Self { home: home.to_owned(), request, approvals }
    }

    pub(crate) fn approvals(&self) -> [&str; 4] {
        let [a, b] = &self.approvals;
        ["--approval", arg(a), "--approval", arg(b)]
    }

    fn run(&self, command: &[&str], more: &[&str]) -> Said {
        let request = [arg(&self.request)];
        run(&self.home, &[command, &request, &self.approvals(), more].concat())
    }

    fn restore(&self, to: &Path, more: &[&str]) -> Said {
        self.run(&["restore", "run"], &[&["--to", arg(to), "--json"], more].concat())
    }

    fn export(&self, to: &Path, more: &[&str]) -> Said {
        self.run(&["export"], &[&["--tar", "-o", arg(to), "--json"], more].concat())
    }
}

/// A mounted snapshot; unmounted when dropped.
pub(crate) struct Mounted {
    point: PathBuf,
    child: Option<Child>,
}

impl Mounted {
    pub(crate) fn new(open: &Open, point: &Path, more: &[&str]) -> Self {
        assert!(
            Path::new("/dev/fuse").exists(),
            "mounting cannot be tested without /dev/fuse: run `modprobe fuse`, or start the container with --device /dev/fuse --cap-add SYS_ADMIN"
        );
        fs::create_dir(point).expect("created");
        let args = [&["mount", arg(&open.request), arg(point)], &open.approvals()[..], more];
        let mut child = start(&open.home, &args.concat());
        let mut line = String::new();
        let out = child.stdout.as_mut().expect("it is a pipe");
        BufReader::new(out).read_line(&mut line).expect("readable");
        if line.starts_with("mounted at") {
            return Self { point: point.to_owned(), child: Some(child) };
        }
        panic!("{line}{:?}", end(child));
    }

    /// What was snapshotted at `path`.
    pub(crate) fn at(&self, path: &Path) -> PathBuf {
        restored(&self.point, path)
    }

    fn is_mounted(&self) -> bool {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("readable");
        mounts.lines().any(|line| line.split(' ').nth(1) == Some(arg(&self.point)))
    }

    /// The options it is mounted with.
    fn options(&self) -> Vec<String> {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("readable");
        let line = mounts.lines().find(|line| line.split(' ').nth(1) == Some(arg(&self.point)));
        let options = line.expect("it is mounted").split(' ').nth(3).expect("a field");
        options.split(',').map(ToOwned::to_owned).collect()
    }

    fn ended(mut self) -> Said {
        end(self.child.take().expect("it runs"))
    }

    pub(crate) fn signalled(mut self) -> Said {
        let child = self.child.take().expect("it runs");
        signal(&child, Signal::TERM);
        let said = end(child);
        assert!(!self.is_mounted());
        said
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            signal(&child, Signal::TERM);
            child.wait().expect("it ends");
        }
    }
}

/// What `find` says about every name: kind, mode, owner, size, time, links, target.
fn find(root: &Path) -> Vec<String> {
    // Sizes and link counts of directories are the file system's own business.
    let other = r"%P|%y|%m|%U|%G|%s|%T@|%n|%l\0";
    let print =
        ["(", "-type", "d", "-printf", r"%P|%y|%m|%U|%G|%T@\0", ")", "-o", "-printf", other];
    let said = said(Command::new("find").arg(root).args(print)).ok();
    let mut lines: Vec<_> = said.stdout.split('\0').map(ToOwned::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn a_mounted_snapshot_is_the_tree() {
    let fleet = Fleet::found();
    let tree = fleet.path("museum");
    fs::create_dir(&tree).expect("created");
    museum::build(&tree);
    let id = fleet.run(&["snapshot", "create", arg(&tree), "--json"]).ok().json();
    let open = Open::new(&fleet, id["id"].as_str().expect("an id"));
    let mounted = Mounted::new(&open, &fleet.path("mnt"), &[]);
    let options = mounted.options();
    for option in ["ro", "nosuid", "nodev", "default_permissions"] {
        assert!(options.iter().any(|o| o == option), "{option} is not in {options:?}");
    }
    let there = mounted.at(&tree);
    assert_same(&tree, &there);
    assert_eq!(find(&tree), find(&there));
    let (a, b) = (there.join("links/b/file"), there.join("links/a/first in order"));
    let (a, b) = (fs::metadata(a).expect("there"), fs::metadata(b).expect("there"));
    assert_eq!((a.ino(), a.nlink()), (b.ino(), 4));
    for denied in [
        fs::write(there.join("new"), "x").expect_err("it is read-only"),
        fs::remove_file(there.join("contents/text")).expect_err("it is read-only"),
    ] {
        assert_eq!(denied.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    }
    assert!(fs::metadata(there.join("not here")).is_err());
    assert_eq!(fs::read_dir(&mounted.point).expect("listed").count(), 1);
    mounted.signalled().ok().says(&["unmounted"]);
}

#[test]
fn many_read_a_mounted_snapshot_at_once_in_any_order() {
    let fleet = Fleet::found();
    let tree = fleet.tree("tree");
    let long = noise(9 << 20);
    fs::write(tree.join("long"), &long).expect("written");
    for i in 0..300 {
        fs::write(tree.join(format!("sub/{i}")), noise_of(i, 3_000)).expect("written");
    }
    let open = Open::new(&fleet, &fleet.snapshot(&tree));
    let mounted = Mounted::new(&open, &fleet.path("mnt"), &["--no-link-counts"]);
    let there = mounted.at(&tree);
    std::thread::scope(|scope| {
        for reader in 0..6u64 {
            let (there, long) = (&there, &long);
            scope.spawn(move || {
                let mut file = fs::File::open(there.join("long")).expect("opened");
                let mut place = reader;
                for _ in 0..60 {
                    place = place.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1 + reader);
                    let at = (place >> 20) as usize % long.len();
                    let len = (place >> 8) as usize % 300_000;
                    let mut bytes = vec![0; len.min(long.len() - at)];
                    file.read_exact_at(&mut bytes, at as u64).expect("read");
                    assert!(bytes == long[at..at + bytes.len()], "{at}");
                    let small = place % 300;
                    let bytes = fs::read(there.join(format!("sub/{small}"))).expect("read");
                    assert_eq!(bytes, noise_of(small, 3_000));
                }
                file.seek(SeekFrom::End(-5)).expect("sought");
                let mut rest = Vec::new();
                file.read_to_end(&mut rest).expect("read");
                assert_eq!(rest, long[long.len() - 5..]);
            });
        }
    });
    // In use: it goes out of sight all the same, and the command says so.
    let held = fs::File::open(there.join("long")).expect("opened");
    mounted.signalled().ok().says(&["files were open"]);
    drop(held);
}

#[test]
fn umount_ends_a_mount_that_another_node_serves_from_a_region() {
    let fleet = Fleet::found();
    let _region = fleet.region("region");
    let second = fleet.second_node("node-2");
    let tree = fleet.tree("tree");
    let id = fleet.snapshot(&tree);
    fleet.run(&["sync"]).ok();
    let open = Open::by(&fleet, &second, &id);
    // Others may ask this of root only, unless the machine's owner allows it to everybody.
    let is_root = rustix::process::geteuid().is_root();
    let (more, umount): (&[_], _) = if is_root {
        (&["--allow-other"], vec!["umount"])
    } else {
        (&[], vec!["fusermount3", "-u"])
    };
    let mounted = Mounted::new(&open, &fleet.path("mnt"), more);
    assert_eq!(mounted.options().iter().any(|o| o == "allow_other"), is_root);
    assert_same(&tree, &mounted.at(&tree));
    said(Command::new(umount[0]).args(&umount[1..]).arg(&mounted.point)).ok();
    assert!(!mounted.is_mounted());
    mounted.ended().ok();
}

/// What somebody without any power does: all of it, from founding to unmounting in both ways.
const BY_ANYBODY: &str = r#"
mkdir -p tree/sub
echo mine > tree/mine && chmod 600 tree/mine
head -c 3000000 /dev/urandom > tree/sub/long
ln -s sub/long tree/link
seawall init --custodians 3 --threshold 2 --shares-dir shares
ID=$(seawall snapshot create "$PWD/tree" --json | sed -n 's/^ *"id": "\(.*\)".*/\1/p')
seawall restore request "$ID" --reason 'to look' --out req.json
set -- shares/share-*.json
seawall restore approve req.json --share "$1" --out a1.json --yes
seawall restore approve req.json --share "$2" --out a2.json --yes
mkdir mnt
for how in 'kill %1' 'fusermount3 -u mnt'; do
    seawall mount req.json mnt --approval a1.json --approval a2.json &
    for n in $(seq 100); do [ -d "mnt$PWD/tree" ] && break; sleep 0.1; done
    diff -r --no-dereference tree "mnt$PWD/tree"
    grep "^seawall $PWD/mnt " /proc/self/mounts > options
    $how
    wait %1
    if grep " $PWD/mnt " /proc/self/mounts; then exit 9; fi
done
id -u > done
"#;

/// Private to the commands it starts: a FUSE device for everybody, as it is on most machines.
const WITH_DEVICE: &str = r#"
if [ "$(stat -c %a /dev/fuse)" != 666 ]; then
    mkdir dev && mount -t tmpfs -o dev,mode=755 none dev
    mknod -m 666 dev/fuse c 10 229 && mount --bind dev/fuse /dev/fuse
fi
exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all -- bash -euc "$1"
"#;

#[test]
fn anybody_can_mount_with_fusermount() {
    let found = Command::new("fusermount3").arg("--version").output();
    assert!(found.is_ok(), "mounting as a user needs fusermount3: apt-get install fuse3");
    let dir = tempfile::tempdir().expect("a directory");
    // Where this was built, others may not be allowed to look.
    copy(Path::new(env!("CARGO_BIN_EXE_seawall")), &dir.path().join("seawall"));
    let is_root = rustix::process::geteuid().is_root();
    let mut command = if is_root {
        std::os::unix::fs::chown(dir.path(), Some(65534), Some(65534)).expect("owned by nobody");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--", "bash", "-euc", WITH_DEVICE, "anybody", BY_ANYBODY]);
        command
    } else {
        let mut command = Command::new("bash");
        command.args(["-euc", BY_ANYBODY]);
        command
    };
    let path = std::env::var("PATH").expect("a PATH");
    command.current_dir(dir.path()).env_clear().stdin(Stdio::null());
    command.env("PATH", format!("{}:{path}", dir.path().display()));
    command.env("SEAWALL_HOME", dir.path().join("home")).env("SEAWALL_SHARE_PASSPHRASE", "x y z");
    said(&mut command).ok();
    let who = fs::read_to_string(dir.path().join("done")).expect("it came to its end");
    assert_ne!(who, "0\n", "somebody, not root");
    let options = fs::read_to_string(dir.path().join("options")).expect("it was mounted");
    for option in ["ro", "nosuid", "nodev"] {
        let list = options.split(' ').nth(3).expect("a field");
        assert!(list.split(',').any(|o| o == option), "{option}: {options}");
    }
}

#[test]
fn what_cannot_be_mounted_is_said_before_anything_else() {
    let fleet = Fleet::found();
    let open = Open::new(&fleet, &fleet.snapshot(&fleet.tree("tree")));
    let args = ["mount", arg(&open.request)];
    let nowhere = fleet.path("nowhere");
    let said = run(&open.home, &[&args[..], &[arg(&nowhere)], &open.approvals()].concat());
    said.code(1).says(&["nowhere", "not a directory"]);
    fs::create_dir(&nowhere).expect("created");
    let one = ["--approval", arg(&open.approvals[0])];
    run(&open.home, &[&args[..], &[arg(&nowhere)], &one].concat()).code(1).says(&["not opened"]);
}

/// The museum without the paths that are longer than `tar` can pass to the kernel.
fn short_museum(fleet: &Fleet) -> PathBuf {
    let tree = fleet.path("museum");
    fs::create_dir(&tree).expect("created");
    museum::build(&tree);
    for deep in ["deep", "long"] {
        fs::remove_dir_all(tree.join(deep)).expect("removed");
    }
    museum::set_mtime(&tree, -5, 999_999_999);
    tree
}

#[test]
fn gnu_tar_makes_the_tree_of_an_archive() {
    let fleet = Fleet::found();
    let tree = short_museum(&fleet);
    let open = Open::new(&fleet, &fleet.snapshot(&tree));
    let (archive, out) = (fleet.path("museum.tar"), fleet.path("extracted"));
    let json = open.export(&archive, &[]).ok().json();
    let bytes = fs::metadata(&archive).expect("written").len();
    assert_eq!(json["archive_bytes"], bytes);
    assert!(bytes < 32 << 20, "{bytes} bytes: holes are left out");
    assert_eq!(fs::metadata(&archive).expect("written").mode() & 0o777, 0o600);
    fs::create_dir(&out).expect("created");
    let mut command = Command::new("tar");
    command.args(["--extract", "--preserve-permissions", "--numeric-owner", "--same-owner"]);
    command.args(["--warning=no-timestamp", "--acls", "--xattrs", "--xattrs-include=*"]);
    command.arg("--file").arg(&archive);
    let said = said(command.arg("--directory").arg(&out)).ok();
    assert_eq!(said.stderr, "");
    assert_same(&tree, &restored(&out, &tree));
}

const READ_WITH_PYTHON: &str = r"
import hashlib, json, sys, tarfile
out = {}
with tarfile.open(sys.argv[1], 'r:') as archive:
    for m in archive:
        digest = ''
        if m.isreg():
            h, f = hashlib.sha256(), archive.extractfile(m)
            while piece := f.read(1 << 20):
                h.update(piece)
            digest = h.hexdigest()
        name = m.name.encode('utf-8', 'surrogateescape').hex()
        link = m.linkname.encode('utf-8', 'surrogateescape').hex()
        out[name] = [m.type.decode(), m.mode, m.uid, m.gid, m.size, m.mtime, link, digest]
json.dump(out, sys.stdout)
";

#[test]
fn python_reads_what_is_in_an_archive() {
    let fleet = Fleet::found();
    let tree = short_museum(&fleet);
    fs::remove_file(tree.join("sparse/five gibibytes")).expect("removed");
    let open = Open::new(&fleet, &fleet.snapshot(&tree));
    let archive = fleet.path("museum.tar");
    let mut command = seawall();
    command.env("SEAWALL_HOME", fleet.home()).args(["export", arg(&open.request), "--tar"]);
    let file = fs::File::create(&archive).expect("created");
    command.args(open.approvals()).stdout(file).stderr(Stdio::piped());
    said(&mut command).ok().says(&["exported"]);
    let read = said(Command::new("python3").args(["-c", READ_WITH_PYTHON, arg(&archive)])).ok();
    let members: BTreeMap<String, Value> =
        serde_json::from_str(&read.stdout).expect("what the script prints");
    let prefix = hex::encode(arg(&tree).trim_start_matches('/'));
    let mut checked = 0;
    for (name, member) in &members {
        if !name.starts_with(&prefix) {
            continue;
        }
        let name = OsString::from_vec(hex::decode(name).expect("hexadecimal"));
        let path = Path::new("/").join(name);
        let meta = fs::symlink_metadata(&path).expect("it is in the tree");
        assert_eq!(member[1], meta.mode() & 0o7777, "{}", path.display());
        assert_eq!((&member[2], &member[3]), (&meta.uid().into(), &meta.gid().into()));
        let mtime = meta.mtime() as f64 + meta.mtime_nsec() as f64 / 1e9;
        let said = member[5].as_f64().expect("a number");
        assert!((said - mtime).abs() < 1e-5, "{}: {said} and {mtime}", path.display());
        if member[0] == "0" {
            assert_eq!(member[4], meta.len(), "{}", path.display());
            let bytes = fs::read(&path).expect("read");
            let digest = seawall_base::Sha256::of(&bytes).to_hex();
            assert_eq!(member[7], digest, "{}", path.display());
        }
        checked += 1;
    }
    assert!(checked > 480, "{checked} members");
}

#[test]
fn archives_are_refused_where_they_would_do_harm() {
    let fleet = Fleet::found();
    let tree = fleet.tree("tree");
    let open = Open::new(&fleet, &fleet.snapshot(&tree));
    open.run(&["export"], &["--tar", "--json"]).code(2).says(&["-o"]);
    open.run(&["export"], &["-o", "x.tar"]).code(2).says(&["--tar"]);
    let archive = fleet.path("part.tar");
    open.export(&archive, &["--path", "/not/there"]).code(1).says(&["/not/there", arg(&tree)]);
    open.export(&archive, &["--glob", "**/nothing"]).code(1).says(&["nothing in the snapshot"]);
    open.export(&archive, &["--glob", "["]).code(2).says(&["pattern"]);
    let left: Vec<_> = fs::read_dir(fleet.path(""))
        .expect("listed")
        .map(|e| e.expect("readable").file_name().into_string().expect("UTF-8"))
        .filter(|name| name.contains("part.tar"))
        .collect();
    assert_eq!(left, [""; 0], "an archive that is not whole is not left behind");
    open.export(&archive, &["--path", &format!("{}/sub", arg(&tree))]).ok();
    let list = said(Command::new("tar").arg("-tf").arg(&archive)).ok();
    let inside =
        |name: &str| list.stdout.lines().any(|l| format!("/{l}") == restored_name(&tree, name));
    assert!(inside("sub/small.txt") && inside("sub/again") && inside("sub/deeper/long.bin"));
    assert!(!inside("inline.txt") && !inside("empty"));
}

fn restored_name(tree: &Path, name: &str) -> String {
    format!("{}/{name}", arg(tree))
}

#[test]
fn a_part_is_restored_and_nothing_beside_it() {
    let fleet = Fleet::found();
    let tree = fleet.tree("tree");
    fs::set_permissions(tree.join("sub"), fs::Permissions::from_mode(0o2750)).expect("chmod");
    let open = Open::new(&fleet, &fleet.snapshot(&tree));
    let to = fleet.path("path");
    let sub = format!("{}/sub", arg(&tree));
    let json = open.restore(&to, &["--path", &sub]).ok().json();
    assert_eq!((&json["files"], &json["lost"]), (&3.into(), &serde_json::json!([])));
    // The other name of `sub/again` is outside: here it is a file of its own.
    assert_same(&tree.join("sub/deeper"), &restored(&to, &tree.join("sub/deeper")));
    let again = fs::metadata(restored(&to, &tree).join("sub/again")).expect("there");
    assert_eq!((again.nlink(), again.len()), (1, 11));
    assert!(!restored(&to, &tree).join("inline.txt").exists());
    assert_eq!(
        fs::metadata(restored(&to, &tree.join("sub"))).expect("there").mode() & 0o7777,
        0o2750
    );

    let to = fleet.path("glob");
    let txt = format!("{}/**/*.txt", arg(&tree));
    let also = format!("{sub}/again");
    let json = open.restore(&to, &["--glob", &txt, "--path", &also]).ok().json();
    assert_eq!((&json["files"], &json["others"]), (&2.into(), &1.into()));
    let at = restored(&to, &tree);
    let (a, b) = (fs::metadata(at.join("inline.txt")), fs::metadata(at.join("sub/again")));
    assert_eq!(a.expect("there").ino(), b.expect("there").ino(), "still one file");
    assert!(at.join("sub/small.txt").exists());
    assert!(!at.join("sub/deeper").exists(), "no empty directories on the side");

    let to = fleet.path("none");
    open.restore(&to, &["--path", "no/such"]).code(1).says(&["no/such"]);
    open.restore(&to, &["--path", "../up"]).code(2).says(&["../up"]);
    let nothing = "nothing in the snapshot matches";
    open.restore(&to, &["--glob", "**/*.nothing"]).code(1).says(&[nothing]);
    assert!(!to.exists(), "nothing was made");
    let to = fleet.path("all");
    open.restore(&to, &["--path", arg(&tree)]).ok();
    assert_same(&tree, &restored(&to, &tree));
}

#[test]
fn a_dry_run_lists_and_writes_nothing() {
    let fleet = Fleet::found();
    let tree = fleet.tree("tree");
    fs::set_permissions(tree.join("empty"), fs::Permissions::from_mode(0o4755)).expect("chmod");
    let open = Open::new(&fleet, &fleet.snapshot(&tree));
    let json = open.run(&["restore", "run"], &["--dry-run", "--json"]).ok().json();
    let to = fleet.path("restored");
    let restored = open.restore(&to, &["--privileged"]).ok().json();
    for figure in ["files", "directories", "others", "bytes"] {
        assert_eq!(json[figure], restored[figure], "{figure}");
    }
    let paths = json["paths"].as_array().expect("a list");
    let total = ["files", "directories", "others"].map(|f| json[f].as_u64().expect("a number"));
    assert_eq!(paths.len() as u64, total.iter().sum::<u64>());
    let empty = format!("{}/empty", arg(&tree));
    let privileged = serde_json::json!([{ "path": empty, "what": "set-uid bit" }]);
    assert_eq!(json["privileged"], privileged);
    let said = open.run(&["restore", "run"], &["--dry-run", "--path", &empty]).ok();
    assert!(said.stdout.contains("would restore 1 files") && said.stdout.contains("set-uid"));
    open.run(&["restore", "run"], &[]).code(2).says(&["--to"]);
}

#[test]
fn differences_between_snapshots_are_told() {
    let fleet = Fleet::found();
    let tree = fleet.tree("tree");
    let before = Open::new(&fleet, &fleet.snapshot(&tree));
    fs::write(tree.join("sub/small.txt"), vec![b't'; 40_000]).expect("written");
    fs::set_permissions(tree.join("empty"), fs::Permissions::from_mode(0o600)).expect("chmod");
    fs::remove_file(tree.join("link")).expect("removed");
    fs::create_dir(tree.join("new")).expect("created");
    fs::write(tree.join("new/file"), "x").expect("written");
    let after = Open::new(&fleet, &fleet.snapshot(&tree));
    let diff = |a: &Open, b: &Open, more: &[&str]| {
        let args = ["diff", arg(&a.request), arg(&b.request)];
        run(&fleet.home(), &[&args[..], &a.approvals(), &b.approvals(), more].concat())
    };
    let said = diff(&before, &after, &["--json"]).code(1);
    assert_eq!(said.stderr.matches("warning").count(), 0, "{}", said.stderr);
    let json = said.json();
    let at = |name: &str| format!("{}/{name}", arg(&tree));
    let changes = json["changes"].as_array().expect("a list");
    let find = |name: &str| changes.iter().find(|c| c["path"] == at(name));
    let aspects = |name: &str| find(name).expect("told")["aspects"].clone();
    assert!(aspects("sub/small.txt").as_array().expect("a list").contains(&"content".into()));
    assert_eq!(aspects("empty"), serde_json::json!(["mode 644 -> 600"]));
    assert_eq!(find("link").expect("told")["what"], "removed");
    assert_eq!(find("new").expect("told")["kind"], "directory");
    assert_eq!(find("new/file").expect("told")["what"], "added");
    assert!(find("sub/deeper").is_none() && find("inline.txt").is_none());
    assert_eq!((&json["added"], &json["removed"]), (&2.into(), &1.into()));
    let words = diff(&before, &after, &[]).code(1).stdout;
    assert!(words.contains(&format!("+ {} (file)", at("new/file"))), "{words}");
    let same = diff(&before, &before, &["--json"]).ok().json();
    assert_eq!((&same["equal"], &same["changes"]), (&true.into(), &serde_json::json!([])));
}

#[test]
fn what_is_mounted_can_be_copied_with_its_links() {
    let fleet = Fleet::found();
    let tree = fleet.tree("tree");
    let open = Open::new(&fleet, &fleet.snapshot(&tree));
    let mounted = Mounted::new(&open, &fleet.path("mnt"), &[]);
    let to = fleet.path("copy");
    copy(&mounted.at(&tree), &to);
    assert_same(&tree, &to);
    let mut child = mounted;
    let running = child.child.take().expect("it runs");
    signal(&running, Signal::INT);
    end(running).ok();
    wait_until("it is unmounted", || !child.is_mounted());
}

#[test]
fn what_is_damaged_is_named_and_the_rest_is_there() {
    let fleet = Fleet::found();
    let tree = fleet.tree("tree");
    let open = Open::new(&fleet, &fleet.snapshot(&tree));
    let zone = fleet.home().join(ZONE);
    let mut bytes = fs::read(&zone).expect("read");
    // The largest chunk; none is above 2 MiB, and a few bytes of its own.
    let chunks = records(&bytes).into_iter().filter(|(_, len)| *len < 2_300_000);
    let (at, len) = chunks.max_by_key(|(_, len)| *len).expect("a long file");
    bytes[at + len / 2] ^= 1;
    fs::write(&zone, bytes).expect("written");
    let (archive, out) = (fleet.path("tree.tar"), fleet.path("out"));
    let said = open.export(&archive, &[]).code(3).says(&["sub/deeper/long.bin", "ZEROS"]);
    let lost = &said.json()["lost"];
    assert_eq!(lost.as_array().map(Vec::len), Some(1), "{lost}");
    assert_eq!(lost[0]["path"], restored_name(&tree, "sub/deeper/long.bin"));
    fs::create_dir(&out).expect("created");
    let mut tar = Command::new("tar");
    crate::harness::said(tar.arg("-xf").arg(&archive).arg("-C").arg(&out)).ok();
    let mut expected = noise(5 << 20);
    for range in lost[0]["zeros"].as_array().expect("ranges") {
        let [from, to] = [0, 1].map(|i| range[i].as_u64().expect("an offset") as usize);
        expected[from..to].fill(0);
    }
    let there = restored(&out, &tree);
    assert!(fs::read(there.join("sub/deeper/long.bin")).expect("read") == expected);
    assert_eq!(fs::read(there.join("sub/small.txt")).expect("read"), vec![b's'; 40_000]);

    let mounted = Mounted::new(&open, &fleet.path("mnt"), &[]);
    let there = mounted.at(&tree);
    let failed = fs::read(there.join("sub/deeper/long.bin")).expect_err("a part is damaged");
    assert_eq!(failed.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
    assert_eq!(fs::read(there.join("inline.txt")).expect("read"), b"a few bytes");
    mounted.signalled().ok().says(&["sub/deeper/long.bin", "cannot be read"]);
}
