//! What is read from one tree and written to another is the same tree, as far as Linux can tell.

mod museum;
mod walked;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use seawall_backup::entry::Meta;
use seawall_backup::source::{Content, Node, Problem};
use seawall_backup::target::{Options, Refused, Target, TargetError, compare};
use walked::{Event, Found, Walked, extents};

const ALL: Options = Options { overwrite: false, resume: false, privileged: true };

/// Carries trees from a source to a target without a snapshot in between, at most `limit` events.
fn carry(
    paths: &[&Path],
    to: &Path,
    options: Options,
    limit: usize,
) -> Result<(Vec<Problem>, Vec<Refused>), TargetError> {
    let mut source = Walked::new(paths).expect("the paths are absolute");
    let mut target = Target::create(to, options)?;
    let mut metas: Vec<Meta> = Vec::new();
    for _ in 0..limit {
        match source.next() {
            None => return Ok((source.into_problems(), target.finish(None)?)),
            Some(Event::Enter { name, meta }) => {
                if !name.is_empty() {
                    target.enter(&name)?;
                }
                metas.push(meta);
            }
            Some(Event::Leave) => {
                let meta = metas.pop().expect("every directory left was entered");
                if !metas.is_empty() {
                    target.leave(&meta)?;
                }
            }
            Some(Event::Leaf { name, meta, found, .. }) => put(&mut target, &name, &meta, found)?,
        }
    }
    Ok((source.into_problems(), Vec::new()))
}

fn put(target: &mut Target, name: &[u8], meta: &Meta, found: Found) -> Result<(), TargetError> {
    let node = match found {
        Found::HardLink(first) => return target.hard_link(name, &first),
        Found::Node(node) => node,
    };
    match node {
        Node::File(mut content) => {
            let writer = target.file(name, content.size().expect("a file has a size"))?;
            pump(&mut *content, |offset, bytes| writer.write_at(offset, bytes))?;
            assert!(!content.changed().expect("fstat"));
            target.finish_file(&writer, meta)
        }
        Node::Symlink(to) => target.symlink(name, &to, meta),
        Node::Fifo => target.fifo(name, meta),
        Node::CharDevice { major, minor } => target.char_device(name, (major, minor), meta),
        Node::BlockDevice { major, minor } => target.block_device(name, (major, minor), meta),
    }
}

fn pump<E>(
    content: &mut dyn Content,
    mut write: impl FnMut(u64, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut buffer = vec![0; 1 << 20];
    for extent in extents(content) {
        let end = extent.offset + extent.len;
        let mut at = extent.offset;
        while at < end {
            let want = (end - at).min(buffer.len() as u64) as usize;
            let got = content.read_at(at, &mut buffer[..want]).expect("read");
            assert_eq!(got, want, "the file did not shrink");
            write(at, &buffer[..got])?;
            at += got as u64;
        }
    }
    Ok(())
}

/// In memory where that is possible: a restore ends by writing out its whole file system, which
/// on a busy disk takes as long as all others' writes.
fn temporary() -> (tempfile::TempDir, PathBuf, PathBuf) {
    beneath(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()))
}

/// On the disk.
fn on_disk() -> (tempfile::TempDir, PathBuf, PathBuf) {
    beneath(tempfile::tempdir())
}

fn beneath(dir: std::io::Result<tempfile::TempDir>) -> (tempfile::TempDir, PathBuf, PathBuf) {
    let dir = dir.expect("a temporary directory");
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::create_dir(&from).expect("create_dir");
    (dir, from, to)
}

/// Where `path` lands in `to`.
fn within(to: &Path, path: &Path) -> PathBuf {
    to.join(path.strip_prefix("/").expect("the path is absolute"))
}

fn differences(a: &Path, b: &Path) -> Vec<String> {
    let found = compare(a, b, true, &mut |_| {}).expect("both are directories");
    found.iter().map(ToString::to_string).collect()
}

/// What was refused at `from` and below. The directories above belong to others, which only root
/// can restore.
fn refused_below(from: &Path, refused: &[Refused]) -> Vec<String> {
    let below = |r: &&Refused| r.path.starts_with(from.as_os_str().as_bytes());
    refused.iter().filter(below).map(ToString::to_string).collect()
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

#[test]
fn the_whole_museum_survives() {
    for (_dir, from, to) in [on_disk(), temporary()] {
        survives(&from, &to);
    }
}

fn survives(from: &Path, to: &Path) {
    museum::build(from);
    let (problems, refused) = carry(&[from], to, ALL, usize::MAX).expect("restored");
    assert_eq!(texts(&problems), [""; 0]);
    assert_eq!(refused_below(from, &refused), [""; 0]);
    let mut compared = 0;
    let found = compare(from, &within(to, from), true, &mut |n| compared += n);
    assert_eq!(texts(&found.expect("both are directories")), [""; 0]);
    assert!((4_000_000..40_000_000).contains(&compared), "{compared}: data only, not the holes");
}

#[test]
fn what_gives_powers_needs_permission_and_is_listed() {
    if !museum::is_root() {
        eprintln!("skipped: only root can put devices and capabilities into the museum");
        return;
    }
    let (_dir, from, to) = temporary();
    museum::build(&from);
    let (_, refused) = carry(&[&from], &to, Options::default(), usize::MAX).expect("restored");
    let listed = |(path, what): &(&str, &str)| format!("{:?}: {what}", from.join(path));
    assert_eq!(texts(&refused), museum::POWERS.iter().map(listed).collect::<Vec<_>>());
    let expected = [
        "\"/devices/block\": only in the first tree",
        "\"/devices/null\": only in the first tree",
        "\"/devices/null again\": only in the first tree",
        "\"/modes/4755\": mode differs: 4755 and 755",
        "\"/modes/7777\": mode differs: 7777 and 1777",
        "\"/xattrs/capability\": extended attribute \"security.capability\" differs",
    ];
    assert_eq!(differences(&from, &within(&to, &from)), expected);
}

#[test]
fn an_interrupted_restore_is_resumed_from_any_point() {
    let (_dir, from, _) = temporary();
    museum::build(&from);
    for limit in [1, 9, 40, 441, 500, 520, 560, 900] {
        let (_dir, _, to) = temporary();
        carry(&[&from], &to, ALL, limit).expect("restored in part");
        let (restored, resume) = (within(&to, &from), Options { resume: true, ..ALL });
        if restored.exists() {
            assert_ne!(differences(&from, &restored), [""; 0], "{limit} events are not all");
            let again = carry(&[&from], &to, ALL, usize::MAX);
            assert!(matches!(again, Err(TargetError::NotEmpty(_))), "{again:?}");
        }
        carry(&[&from], &to, resume, usize::MAX).expect("resumed");
        assert_eq!(differences(&from, &restored), [""; 0], "after {limit} events");
    }
}

#[test]
fn thousands_of_levels_survive() {
    let (_dir, from, to) = temporary();
    museum::deep(&from, "down", 3_000, 3);
    let (problems, _) = carry(&[&from], &to, ALL, usize::MAX).expect("restored");
    assert_eq!(texts(&problems), [""; 0]);
    assert_eq!(differences(&from, &within(&to, &from)), [""; 0]);
    // Every level of so deep a tree would cost the standard library's removal a stack frame.
    for dir in [from, to] {
        let status = std::process::Command::new("rm").arg("-rf").arg(dir).status();
        assert!(status.expect("rm runs").success());
    }
}

#[test]
fn sockets_are_left_out_and_reported() {
    let (_dir, from, to) = temporary();
    let _listener = UnixListener::bind(from.join("socket")).expect("bind");
    fs::write(from.join("file"), "x").expect("write");
    let (problems, _) = carry(&[&from], &to, ALL, usize::MAX).expect("restored");
    assert_eq!(texts(&problems), [format!("{:?}: a socket, left out", from.join("socket"))]);
    assert_eq!(differences(&from, &within(&to, &from)), ["\"/socket\": only in the first tree"]);
}

#[test]
fn inherited_attributes_do_not_stick() {
    let (_dir, from, to) = temporary();
    fs::write(from.join("file"), "x").expect("write");
    fs::create_dir(from.join("directory")).expect("create_dir");
    fs::create_dir(&to).expect("create_dir");
    let inherited = museum::acl(&[
        (1, 7, u32::MAX),
        (2, 7, 77),
        (4, 5, u32::MAX),
        (16, 7, u32::MAX),
        (32, 5, u32::MAX),
    ]);
    museum::set_xattr(&to, "system.posix_acl_default", &inherited);
    museum::set_mode(&to, 0o2777);
    let (_, refused) = carry(&[&from], &to, ALL, usize::MAX).expect("restored");
    assert_eq!(refused_below(&from, &refused), [""; 0]);
    assert_eq!(differences(&from, &within(&to, &from)), [""; 0]);
}

#[test]
fn a_file_of_bytes_beyond_utf8_keeps_its_name_in_messages() {
    let (_dir, from, to) = temporary();
    let odd = from.join(std::ffi::OsStr::from_bytes(b"\x1b[2Jcaf\xe9"));
    let _listener = UnixListener::bind(&odd).expect("bind");
    let (problems, _) = carry(&[&from], &to, ALL, usize::MAX).expect("restored");
    assert_eq!(problems[0].path, odd.as_os_str().as_bytes());
    assert!(problems[0].to_string().contains("\\u{1b}[2Jcaf\\xE9"), "terminals are not steered");
}

/// A target holding `victim`, planted before the restore, and a directory outside with a file.
fn trap(plant: impl Fn(&Path, &Path)) -> (tempfile::TempDir, PathBuf, PathBuf) {
    let (dir, outside, to) = temporary();
    fs::write(outside.join("precious"), "mine").expect("write");
    museum::set_mtime(&outside.join("precious"), 1, 1);
    museum::set_mode(&outside, 0o750);
    museum::set_mtime(&outside, 1, 1);
    fs::create_dir(&to).expect("create_dir");
    plant(&outside, &to.join("victim"));
    (dir, outside, to)
}

/// What a stranger could see of the directory outside.
fn state(outside: &Path) -> Vec<String> {
    let untouched = tempfile::tempdir().expect("a temporary directory");
    fs::write(untouched.path().join("precious"), "mine").expect("write");
    museum::set_mtime(&untouched.path().join("precious"), 1, 1);
    museum::set_mode(untouched.path(), 0o750);
    museum::set_mtime(untouched.path(), 1, 1);
    differences(untouched.path(), outside)
}

#[test]
fn planted_links_lead_nowhere() {
    type Act = fn(&mut Target) -> Result<(), TargetError>;
    let meta = || Meta { mode: 0o777, ..Meta::default() };
    let acts: [(&str, Act); 6] = [
        ("directory", |t| t.enter(b"victim")),
        ("file", |t| t.file(b"victim", 1).map(drop)),
        ("symlink", |t| t.symlink(b"victim", b"x", &Meta::default())),
        ("fifo", |t| t.fifo(b"victim", &Meta::default())),
        ("device", |t| t.char_device(b"victim", (1, 3), &Meta::default())),
        ("hard link", |t| t.hard_link(b"victim", &[b"other".to_vec()])),
    ];
    let plants: [fn(&Path, &Path); 3] = [
        |outside, victim| std::os::unix::fs::symlink(outside, victim).expect("symlink"),
        |outside, victim| {
            std::os::unix::fs::symlink(outside.join("precious"), victim).expect("symlink");
        },
        |outside, victim| fs::hard_link(outside.join("precious"), victim).expect("hard_link"),
    ];
    for ((what, act), plant) in acts.iter().flat_map(|act| plants.iter().map(move |p| (act, p))) {
        if *what == "device" && !museum::is_root() {
            continue;
        }
        let (_dir, outside, to) = trap(plant);
        fs::write(to.join("other"), "").expect("write");
        let beside = Options { overwrite: true, ..ALL };
        let mut target = Target::create(&to, beside).expect("opened");
        let refused = act(&mut target).expect_err("it is in the way");
        assert!(matches!(&refused, TargetError::Exists { path } if path == b"/victim"), "{what}");
        let mut target = Target::create(&to, Options { resume: true, ..ALL }).expect("opened");
        act(&mut target).unwrap_or_else(|e| panic!("{what} replaces the link: {e}"));
        if *what == "directory" {
            let writer = target.file(b"precious", 4).expect("created inside");
            writer.write_at(0, b"evil").expect("written");
            target.finish_file(&writer, &meta()).expect("finished");
            target.leave(&meta()).expect("left");
        }
        assert_eq!(state(&outside), [""; 0], "{what}");
        assert!(!to.join("victim").is_symlink() || *what == "symlink");
    }
}

#[test]
fn a_link_in_the_path_of_a_first_name_is_not_followed() {
    let (_dir, outside, to) = trap(|outside, victim| {
        std::os::unix::fs::symlink(outside, victim).expect("symlink");
    });
    let mut target = Target::create(&to, Options { resume: true, ..ALL }).expect("opened");
    let first = [b"victim".to_vec(), b"precious".to_vec()];
    let refused = target.hard_link(b"stolen", &first).expect_err("leads outside");
    assert!(
        refused.to_string().starts_with("cannot find the first name of \"/stolen\":"),
        "{refused}"
    );
    assert_eq!(state(&outside), [""; 0]);
}

#[test]
fn names_that_are_not_components_are_refused_everywhere() {
    let (_dir, _, to) = temporary();
    let mut target = Target::create(&to, ALL).expect("created");
    let meta = Meta::default();
    let long = [b'n'; 256];
    for name in [&b""[..], b".", b"..", b"../x", b"a/b", b"/etc", b"a\0", &long] {
        let results = [
            target.enter(name),
            target.file(name, 0).map(drop),
            target.symlink(name, b"x", &meta),
            target.fifo(name, &meta),
            target.char_device(name, (1, 3), &meta),
            target.block_device(name, (1, 3), &meta),
            target.hard_link(name, &[b"x".to_vec()]),
            target.hard_link(b"x", &[b"x".to_vec(), name.to_vec()]),
        ];
        for result in results {
            assert!(matches!(result, Err(TargetError::BadName { .. })), "{name:?}: {result:?}");
        }
    }
    let rootless = target.hard_link(b"x", &[]);
    assert!(matches!(rootless, Err(TargetError::BadName { .. })));
    assert_eq!(fs::read_dir(to).expect("read_dir").count(), 0);
}

#[test]
fn content_stays_within_the_size() {
    let (_dir, _, to) = temporary();
    let mut target = Target::create(&to, ALL).expect("created");
    let writer = target.file(b"f", 10).expect("created");
    assert_eq!(writer.path(), b"/f");
    for (offset, len) in [(0, 11), (10, 1), (u64::MAX, 2)] {
        let refused = writer.write_at(offset, &[1; 20][..len]);
        assert!(matches!(refused, Err(TargetError::BeyondEnd { .. })), "{offset}+{len}");
    }
    writer.write_at(7, b"end").expect("fits");
    let meta = Meta { mode: 0o600, ..Meta::default() };
    target.finish_file(&writer, &meta).expect("finished");
    let root = Meta { mode: 0o751, mtime_sec: -5, ..Meta::default() };
    target.finish(Some(&root)).expect("finished");
    assert_eq!(fs::read(to.join("f")).expect("read"), b"\0\0\0\0\0\0\0end");
    let root = fs::metadata(&to).expect("stat");
    assert_eq!((root.mode() & 0o7777, root.mtime()), (0o751, -5));
}

#[test]
fn a_time_the_file_system_cannot_hold_is_refused_not_bent() {
    let (_dir, _, to) = on_disk();
    let mut target = Target::create(&to, ALL).expect("created");
    let mut expected = Vec::new();
    for (name, mtime_sec) in [("1", i64::MAX), ("2", i64::MIN), ("3", 3)] {
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let meta = Meta { mtime_sec, uid, gid, ..Meta::default() };
        target.fifo(name.as_bytes(), &meta).expect("made");
        if fs::metadata(to.join(name)).expect("stat").mtime() != mtime_sec {
            expected.push(format!("\"/{name}\": modification time not set exactly"));
        }
    }
    assert_eq!(texts(target.refused()), expected);
}

#[test]
fn where_an_acl_is_lost_the_group_gains_nothing() {
    use seawall_backup::entry::Xattr;
    let (_dir, _, to) = temporary();
    let mut target = Target::create(&to, ALL).expect("created");
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let acl = Xattr { name: b"system.posix_acl_access".to_vec(), value: vec![9, 9] };
    let meta = Meta { mode: 0o675, uid, gid, xattrs: vec![acl], ..Meta::default() };
    let writer = target.file(b"f", 0).expect("created");
    target.finish_file(&writer, &meta).expect("finished");
    assert_eq!(fs::metadata(to.join("f")).expect("stat").mode() & 0o7777, 0o605);
    assert_eq!(
        texts(target.refused()),
        [
            "\"/f\": extended attribute \"system.posix_acl_access\" not restored: invalid input parameter"
        ]
    );
}

#[test]
fn overwriting_merges_directories_and_stops_at_anything_else() {
    let (_dir, from, to) = temporary();
    fs::create_dir(from.join("d")).expect("create_dir");
    fs::write(from.join("d/new"), "new").expect("write");
    let there = within(&to, &from);
    fs::create_dir_all(there.join("d")).expect("create_dir");
    fs::write(there.join("d/old"), "old").expect("write");
    let beside = Options { overwrite: true, ..ALL };
    carry(&[&from], &to, beside, usize::MAX).expect("restored beside");
    assert_eq!(differences(&from, &there), ["\"/d/old\": only in the second tree"]);
    let again = carry(&[&from], &to, beside, usize::MAX).expect_err("the file is there now");
    assert_eq!(
        again.to_string(),
        format!(
            "something else is already at {:?}; move it away or restore elsewhere",
            from.join("d/new")
        )
    );
    fs::remove_file(from.join("d/new")).expect("remove");
    fs::create_dir(from.join("d/new")).expect("create_dir");
    carry(&[&from], &to, beside, usize::MAX).expect_err("a file does not become a directory");
    fs::remove_dir(from.join("d/new")).expect("remove");
    fs::write(from.join("d/new"), "").expect("write");
    fs::remove_file(there.join("d/new")).expect("remove");
    fs::create_dir(there.join("d/new")).expect("create_dir");
    let resume = Options { resume: true, ..ALL };
    let kept = carry(&[&from], &to, resume, usize::MAX).expect_err("a directory never gives way");
    assert!(matches!(kept, TargetError::Exists { .. }), "{kept:?}");
}

#[test]
fn a_directory_given_up_is_left_private() {
    let (_dir, _, to) = temporary();
    let mut target = Target::create(&to, ALL).expect("created");
    target.enter(b"d").expect("entered");
    target.abandon();
    target.enter(b"e").expect("entered beside it");
    let moved = fs::rename(to.join("e"), to.join("elsewhere"));
    moved.expect("rename");
    target.leave(&Meta { mode: 0o700, ..Meta::default() }).expect("the directory is still held");
    target.finish(None).expect("finished");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(to.join("d")).expect("stat").permissions(),
    );
    assert_eq!(mode & 0o7777, 0o700);
}

/// Runs the named test of this binary again as a user without rights. `false` in that run.
fn again_as_nobody(test: &str) -> bool {
    use std::os::unix::process::CommandExt;
    if !museum::is_root() {
        return false;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    museum::set_mode(dir.path(), 0o777);
    let copy = dir.path().join("fidelity");
    fs::copy(std::env::current_exe().expect("a test has a path"), &copy).expect("copy");
    museum::set_mode(&copy, 0o755);
    let shared = dir.path().join("of another group");
    fs::create_dir(&shared).expect("create_dir");
    std::os::unix::fs::chown(&shared, None, Some(4_242)).expect("chown");
    museum::set_mode(&shared, 0o2777);
    let mut command = std::process::Command::new(&copy);
    command.args(["--exact", test, "--nocapture"]).current_dir(dir.path());
    let output = command.env("TMPDIR", dir.path()).uid(65_534).gid(65_534).output();
    let output = output.expect("the copy runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    true
}

#[test]
fn without_rights_what_cannot_be_read_is_reported() {
    if again_as_nobody("without_rights_what_cannot_be_read_is_reported") {
        return;
    }
    let (_dir, from, to) = temporary();
    fs::write(from.join("secret"), "x").expect("write");
    fs::write(from.join("plain"), "x").expect("write");
    fs::create_dir(from.join("closed")).expect("create_dir");
    museum::set_mode(&from.join("secret"), 0);
    museum::set_mode(&from.join("closed"), 0);
    let (problems, refused) = carry(&[&from], &to, ALL, usize::MAX).expect("restored");
    let denied = "cannot be read, left out: Permission denied (os error 13)";
    let reported = |name: &str| format!("{:?}: {denied}", from.join(name));
    assert_eq!(texts(&problems), [reported("closed"), reported("secret")]);
    // The directories above the tree belong to root.
    assert!(
        refused.iter().all(|r| from.as_os_str().as_bytes().starts_with(&r.path)),
        "{refused:?}"
    );
    museum::set_mode(&from.join("closed"), 0o700);
}

#[test]
fn without_rights_what_cannot_be_set_is_refused() {
    use seawall_backup::entry::Xattr;
    use seawall_backup::target::Refusal::{Capability, Device, Group, Owner, SetGid, SetUid};
    if again_as_nobody("without_rights_what_cannot_be_set_is_refused") {
        return;
    }
    let (_dir, _, to) = temporary();
    let mut target = Target::create(&to, ALL).expect("created");
    let capability =
        Xattr { name: b"security.capability".to_vec(), value: museum::CAPABILITY.to_vec() };
    let foreign =
        Meta { mode: 0o6755, uid: 0, gid: 0, xattrs: vec![capability], ..Meta::default() };
    let writer = target.file(b"file", 0).expect("created");
    target.finish_file(&writer, &foreign).expect("finished");
    target.char_device(b"null", (1, 3), &foreign).expect("refused, not failed");
    target.hard_link(b"null again", &[b"null".to_vec()]).expect("refused, not failed");
    let trusted = Xattr { name: b"trusted.x".to_vec(), value: vec![] };
    let own = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let meta =
        Meta { mode: 0o700, uid: own.0, gid: own.1, xattrs: vec![trusted], ..Meta::default() };
    target.enter(b"directory").expect("entered");
    target.leave(&meta).expect("left");
    let lost = Meta { uid: u32::MAX, gid: own.1, ..Meta::default() };
    target.symlink(b"symlink", b"x", &lost).expect("made");
    let refused: Vec<_> =
        target.finish(None).expect("finished").into_iter().map(|r| (r.path, r.what)).collect();
    let file = b"/file".to_vec();
    assert_eq!(
        refused[..7],
        [
            (file.clone(), Owner(0)),
            (file.clone(), Group(0)),
            (file.clone(), Capability),
            (file.clone(), SetUid),
            (file, SetGid),
            (b"/null".to_vec(), Device),
            (b"/null again".to_vec(), Device),
        ]
    );
    let rest: Vec<_> = refused[7..].iter().map(|(_, what)| what.to_string()).collect();
    assert_eq!(
        rest,
        [
            "extended attribute \"trusted.x\" not restored: permission denied",
            "owner 4294967295 not set",
        ]
    );
}

#[test]
fn without_rights_a_restore_of_closed_directories_is_resumed() {
    if again_as_nobody("without_rights_a_restore_of_closed_directories_is_resumed") {
        return;
    }
    let (_dir, from, to) = temporary();
    fs::create_dir(from.join("d")).expect("create_dir");
    fs::write(from.join("d/f"), "x").expect("write");
    museum::set_mode(&from.join("d"), 0o500);
    carry(&[&from], &to, ALL, usize::MAX).expect("restored");
    let resume = Options { resume: true, ..ALL };
    carry(&[&from], &to, resume, usize::MAX).expect("resumed over a directory without write");
    assert_eq!(differences(&from, &within(&to, &from)), [""; 0]);
}

#[test]
fn without_rights_a_mode_granted_in_part_is_refused() {
    if again_as_nobody("without_rights_a_mode_granted_in_part_is_refused") {
        return;
    }
    let shared = std::env::temp_dir().join("of another group");
    if !shared.exists() {
        eprintln!("skipped: only root can share a directory of another group");
        return;
    }
    let mut target = Target::create(&shared.join("to"), ALL).expect("created");
    target.enter(b"d").expect("entered");
    let uid = rustix::process::getuid().as_raw();
    target.leave(&Meta { mode: 0o2770, uid, gid: 4_242, ..Meta::default() }).expect("left");
    assert_eq!(texts(target.refused()), ["\"/d\": mode 2770 not set"]);
}
