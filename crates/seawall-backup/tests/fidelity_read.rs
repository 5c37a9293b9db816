//! What a walk says about a tree, and that a comparison misses nothing.

mod museum;
mod walked;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};

use seawall_backup::source::{
    DirHandle, Extent, FileReader, LinkTable, Node, Reason, SourceError, Stamp, What,
};
use seawall_backup::target::compare;
use walked::{Event, Found, Walked};

fn temporary() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().to_owned();
    (dir, path)
}

/// The walk as text: `name(` enters, `)` leaves, `name>first` is a hard link.
fn outline(source: &mut Walked) -> String {
    let mut text = String::new();
    for event in source {
        match event {
            Event::Enter { name, .. } => {
                text.push_str(&String::from_utf8_lossy(&name));
                text.push('(');
            }
            Event::Leave => text.push(')'),
            Event::Leaf { name, found, .. } => {
                text.push_str(&String::from_utf8_lossy(&name));
                if let Found::HardLink(first) = found {
                    text.push('>');
                    text.push_str(&String::from_utf8_lossy(first.last().expect("a name")));
                }
                text.push(' ');
            }
        }
    }
    text
}

/// The outline of `inner` as it looks inside the walk of the directories above `dir`.
fn above(dir: &Path, inner: &str) -> String {
    let names: Vec<_> = dir.iter().skip(1).map(|n| format!("{}(", n.to_string_lossy())).collect();
    format!("({}{inner}{})", names.concat(), ")".repeat(names.len()))
}

fn problems(source: &mut Walked) -> Vec<String> {
    source.problems().iter().map(ToString::to_string).collect()
}

#[test]
fn a_walk_has_one_order() {
    let (_dir, root) = temporary();
    for name in ["b", "a", "a-", "a.d/x", "a.d/deep/y", "B"] {
        let path = root.join(name);
        fs::create_dir_all(path.parent().expect("not the root")).expect("create_dir");
        fs::write(path, name).expect("write");
    }
    fs::hard_link(root.join("b"), root.join("a.d/z")).expect("hard_link");
    let mut source = Walked::new(&[&root]).expect("absolute");
    assert_eq!(outline(&mut source), above(&root, "B a a- a.d(deep(y )x z )b>z "));
    assert_eq!(problems(&mut source), [""; 0]);
    assert!(source.next().is_none(), "the end stays the end");
}

#[test]
fn only_given_paths_and_their_ancestors_are_walked() {
    let (_dir, root) = temporary();
    for name in ["a/one", "a/two", "b/c/three", "b/four", "bb"] {
        let path = root.join(name);
        fs::create_dir_all(path.parent().expect("not the root")).expect("create_dir");
        fs::write(path, name).expect("write");
    }
    let walk = |names: &[&str]| {
        let paths: Vec<_> = names.iter().map(|name| root.join(name)).collect();
        let mut source = Walked::new(&paths).expect("absolute");
        (outline(&mut source), problems(&mut source))
    };
    let none = Vec::<String>::new();
    assert_eq!(walk(&["b/c", "a/two"]), (above(&root, "a(two )b(c(three ))"), none.clone()));
    assert_eq!(walk(&["a", "a/two", "a", "bb"]), (above(&root, "a(one two )bb "), none.clone()));
    assert_eq!(walk(&["b/./c/", "b/four"]), (above(&root, "b(c(three )four )"), none));
    let missing = |name: &str| {
        vec![format!("{:?}: does not exist; check the paths of this set", root.join(name))]
    };
    assert_eq!(walk(&["a/nine", "bb"]), (above(&root, "a()bb "), missing("a/nine")));
    assert_eq!(walk(&["b/x/y/z", "a/one"]), (above(&root, "a(one )b()"), missing("b/x")));
}

#[test]
fn links_are_held_and_not_followed() {
    let (_dir, root) = temporary();
    fs::create_dir(root.join("real")).expect("create_dir");
    fs::write(root.join("real/file"), "x").expect("write");
    symlink("real", root.join("link")).expect("symlink");
    let mut source = Walked::new(&[root.join("link")]).expect("absolute");
    assert_eq!(outline(&mut source), above(&root, "link "));
    assert_eq!(problems(&mut source), [""; 0]);
    let mut source = Walked::new(&[root.join("link/file")]).expect("absolute");
    assert_eq!(outline(&mut source), above(&root, "link "));
    let expected = format!(
        "{:?}: is not a directory, so nothing below it is held; name the real path in this set",
        root.join("link")
    );
    assert_eq!(problems(&mut source), [expected]);
}

#[test]
fn paths_with_two_meanings_are_refused() {
    for path in ["relative", "", ".", "/a/../b"] {
        let refused = Walked::new(&[path]);
        assert!(matches!(refused, Err(SourceError::NotAbsolute(_))), "{path:?}");
    }
    assert!(matches!(Walked::new::<&Path>(&[]), Err(SourceError::NoPaths)));
}

#[test]
fn what_vanishes_during_the_walk_is_reported() {
    let (_dir, root) = temporary();
    fs::create_dir(root.join("d")).expect("create_dir");
    for name in ["d/1", "d/2", "d/3"] {
        fs::write(root.join(name), name).expect("write");
    }
    let mut source = Walked::new(&[&root]).expect("absolute");
    let first = source.by_ref().find(|e| matches!(e, Event::Leaf { .. })).expect("a leaf");
    let Event::Leaf { name, .. } = first else { unreachable!("only leaves were asked for") };
    assert_eq!(source.path_of(&name), root.join("d/1").as_os_str().as_bytes());
    fs::remove_file(root.join("d/2")).expect("remove");
    assert!(outline(&mut source).starts_with("3 )"));
    let expected = "vanished while the tree was read, left out";
    assert_eq!(problems(&mut source), [format!("{:?}: {expected}", root.join("d/2"))]);
}

fn open(path: &Path) -> FileReader {
    let dir = DirHandle::open(path.parent().expect("not the root")).expect("open");
    let name = path.file_name().expect("a name").as_bytes();
    match dir.inspect(name).expect("inspected").what {
        What::Node(Node::File(reader)) => reader,
        other => panic!("not a file: {other:?}"),
    }
}

#[test]
fn a_file_that_changes_is_noticed() {
    type Change = fn(&Path);
    let (_dir, root) = temporary();
    let path = root.join("f");
    let changes: [(&str, Change); 4] = [
        ("append", |p| {
            let mut file = OpenOptions::new().append(true).open(p).expect("open");
            file.write_all(b"more").expect("write");
        }),
        ("rewrite, same length and time", |p| {
            fs::write(p, "other bytes").expect("write");
            museum::set_mtime(p, 7, 7);
        }),
        ("cut short", |p| {
            File::options().write(true).open(p).expect("open").set_len(2).expect("cut");
        }),
        ("touch", |p| museum::set_mtime(p, 7, 8)),
    ];
    for (what, change) in changes {
        fs::write(&path, "some bytes!").expect("write");
        museum::set_mtime(&path, 7, 7);
        let reader = open(&path);
        assert!(!reader.changed_since_open().expect("fstat"));
        // The kernel's clock for change times ticks every few milliseconds.
        std::thread::sleep(std::time::Duration::from_millis(12));
        change(&path);
        assert!(reader.changed_since_open().expect("fstat"), "{what}");
        assert_eq!(reader.size(), 11, "the size is that at opening");
    }
}

#[test]
fn extents_are_the_data_and_nothing_else() {
    const MIB: u64 = 1 << 20;
    let (_dir, root) = temporary();
    let path = root.join("f");
    let file = File::create(&path).expect("create");
    file.set_len(9 * MIB + 5).expect("set_len");
    file.write_all_at(&vec![0; MIB as usize], MIB).expect("zeros are data");
    file.write_all_at(b"last", 9 * MIB + 1).expect("write");
    let reader = open(&path);
    let extents: Vec<_> = reader.extents().map(|e| e.expect("seek")).collect();
    assert_eq!(extents, [Extent { offset: MIB, len: MIB }, Extent { offset: 9 * MIB, len: 5 }]);
    assert_eq!(
        reader.data_after(MIB + 9).expect("seek"),
        Some(Extent { offset: MIB + 9, len: MIB - 9 })
    );
    assert_eq!(reader.data_after(10 * MIB).expect("seek"), None);
    let mut bytes = [7; 10];
    assert_eq!(reader.read_at(9 * MIB, &mut bytes).expect("read"), 5);
    assert_eq!(bytes, *b"\0last\x07\x07\x07\x07\x07");
    file.set_len(MIB / 2).expect("cut short");
    assert_eq!(reader.extents().count(), 0);
    let reader = open(&path);
    file.set_len(2 * MIB).expect("grown");
    file.write_all_at(b"late", MIB).expect("write");
    assert_eq!(reader.extents().count(), 0, "what came after opening is not read");
}

#[test]
fn reading_leaves_no_access_time() {
    use std::os::unix::fs::MetadataExt;
    let (_dir, root) = temporary();
    fs::create_dir(root.join("d")).expect("create_dir");
    fs::write(root.join("d/f"), "x").expect("write");
    let times = rustix::fs::Timestamps {
        last_access: rustix::fs::Timespec { tv_sec: 1, tv_nsec: 0 },
        last_modification: rustix::fs::Timespec { tv_sec: 2, tv_nsec: 0 },
    };
    for name in ["d/f", "d"] {
        let flags = rustix::fs::AtFlags::empty();
        rustix::fs::utimensat(rustix::fs::CWD, root.join(name), &times, flags).expect("utimensat");
    }
    for event in Walked::new(&[&root]).expect("absolute") {
        if let Event::Leaf { found: Found::Node(Node::File(mut content)), .. } = event {
            assert_eq!(content.read_at(0, &mut [0; 9]).expect("read"), 1);
        }
    }
    for name in ["d/f", "d"] {
        assert_eq!(fs::metadata(root.join(name)).expect("stat").atime(), 1, "{name}");
    }
}

#[test]
fn more_xattrs_than_an_entry_holds_are_cut_and_reported() {
    let Ok(dir) = tempfile::tempdir_in("/dev/shm") else {
        eprintln!("skipped: no file system here takes so many attributes");
        return;
    };
    if !museum::is_root() {
        eprintln!("skipped: only root sets trusted attributes");
        return;
    }
    fs::write(dir.path().join("f"), "x").expect("write");
    for name in ["trusted.a", "trusted.b", "trusted.c"] {
        museum::set_xattr(&dir.path().join("f"), name, &vec![1; 60_000]);
    }
    let handle = DirHandle::open(dir.path()).expect("open");
    let found = handle.inspect(b"f").expect("inspected");
    let kept: Vec<_> = found.meta.xattrs.iter().map(|x| &x.name[..]).collect();
    assert_eq!(kept, [b"trusted.a", b"trusted.b"]);
    assert!(matches!(found.flaws[..], [Reason::TooManyXattrs]));
}

#[test]
fn odd_names_are_not_looked_at() {
    let (_dir, root) = temporary();
    let handle = DirHandle::open(&root).expect("open");
    for name in [&b"."[..], b"..", b"a/b", b""] {
        assert!(matches!(handle.inspect(name), Err(Reason::BadName)), "{name:?}");
    }
    assert!(matches!(handle.inspect(b"absent"), Err(Reason::Vanished)));
}

fn stamp(dev: u64, ino: u64, nlink: u64) -> Stamp {
    let (mtime, ctime) = ((0, 0), (0, 0));
    Stamp { dev, ino, nlink, size: 0, mtime, ctime, mode: 0, uid: 0, gid: 0 }
}

#[test]
fn a_link_table_names_the_first_and_forgets_the_rest() {
    let mut table = LinkTable::default();
    let inode = |ino, nlink| stamp(1, ino, nlink);
    let path = |name: &str| vec![name.as_bytes().to_vec()];
    assert_eq!(table.first(&inode(1, 1), || unreachable!("one name needs no path")), None);
    assert_eq!(table.first(&inode(2, 3), || path("a")), None);
    assert_eq!(table.first(&inode(2, 3), || path("b")), Some(path("a")));
    assert_eq!(table.first(&stamp(2, 2, 3), || path("c")), None, "other device");
    assert_eq!(table.first(&inode(2, 3), || path("d")), Some(path("a")));
    assert_eq!(table.first(&inode(2, 3), || path("e")), None, "all three names have been met");
    table.forget(&inode(2, 3));
    assert_eq!(table.first(&inode(2, 3), || path("f")), None);
    assert_eq!(table.first(&inode(2, 3), || path("g")), Some(path("f")));
}

#[test]
fn a_name_after_one_that_was_not_kept_is_a_first_name() {
    let (_dir, root) = temporary();
    fs::write(root.join("1"), "x").expect("write");
    for name in ["2", "3"] {
        fs::hard_link(root.join("1"), root.join(name)).expect("hard_link");
    }
    let mut source = Walked::new(&[&root]).expect("absolute");
    let lost = source.by_ref().find_map(|e| match e {
        Event::Leaf { stamp, .. } => Some(stamp),
        _ => None,
    });
    source.not_kept(&lost.expect("a leaf"));
    assert!(outline(&mut source).starts_with("2 3>2 )"));
}

/// Two equal small trees.
fn twins() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let (dir, root) = temporary();
    for side in ["a", "b"] {
        let side = root.join(side);
        fs::create_dir_all(side.join("d")).expect("create_dir");
        fs::write(side.join("d/f"), museum::noise(5, 300_000)).expect("write");
        fs::write(side.join("d/g"), "g").expect("write");
        fs::write(side.join("linked"), "l").expect("write");
        fs::hard_link(side.join("linked"), side.join("linked too")).expect("hard_link");
        symlink("to", side.join("s")).expect("symlink");
        museum::set_xattr(&side.join("d/g"), "user.x", b"1");
        let sparse = File::create(side.join("sparse")).expect("create");
        sparse.set_len(1 << 20).expect("set_len");
        sparse.write_all_at(&vec![0; 1 << 16], 1 << 18).expect("write");
        for name in ["d/f", "d/g", "linked", "s", "sparse", "d", ""] {
            museum::set_mtime(&side.join(name), 5, 5);
        }
    }
    (dir, root.join("a"), root.join("b"))
}

fn differences(a: &Path, b: &Path, holes: bool) -> Vec<String> {
    let found = compare(a, b, holes, &mut |_| {}).expect("both are directories");
    found.iter().map(ToString::to_string).collect()
}

/// Changes `path` with all its times and its directory's kept.
fn quietly(path: &Path, change: impl FnOnce(&Path)) {
    change(path);
    museum::set_mtime(path, 5, 5);
    museum::set_mtime(path.parent().expect("not the root"), 5, 5);
}

#[test]
fn a_comparison_sees_each_single_change() {
    type Change = fn(&Path);
    let changes: &[(&str, Change, &str)] = &[
        ("d/f", |p| patch(p, 299_999), "content differs at byte 299999"),
        ("d/f", |p| patch(p, 0), "content differs at byte 0"),
        ("d/f", |p| fs::write(p, "").expect("write"), "size differs: 300000 and 0 bytes"),
        ("d/g", |p| museum::set_mode(p, 0o4644), "mode differs: 644 and 4644"),
        ("d/g", |p| museum::set_mode(p, 0o645), "mode differs: 644 and 645"),
        ("d/g", |p| museum::set_xattr(p, "user.x", b"2"), "extended attribute \"user.x\" differs"),
        ("d/g", |p| museum::set_xattr(p, "user.y", b""), "extended attribute \"user.y\" differs"),
        (
            "d/g",
            |p| rustix::fs::lremovexattr(p, "user.x").expect("lremovexattr"),
            "extended attribute \"user.x\" differs",
        ),
        ("d", |p| museum::set_xattr(p, "user.x", b"2"), "extended attribute \"user.x\" differs"),
        ("linked too", part, "hard links differ"),
        ("sparse", |p| fs::write(p, vec![0; 1 << 20]).expect("write"), "holes differ"),
        ("s", |p| replace(p, |p| symlink("ot", p).expect("symlink")), "link target differs"),
        ("d/g", remove, "only in the first tree"),
        ("d/h", |p| fs::write(p, "").expect("write"), "only in the second tree"),
        (
            "s",
            |p| {
                replace(p, |p| {
                    fs::write(p, "to").expect("write");
                    museum::set_mode(p, 0o777);
                });
            },
            "kind differs",
        ),
    ];
    for (name, change, expected) in changes {
        let (_dir, a, b) = twins();
        assert_eq!(differences(&a, &b, true), [""; 0]);
        let path = b.join(name);
        change(&path);
        if fs::symlink_metadata(&path).is_ok() {
            museum::set_mtime(&path, 5, 5);
        }
        museum::set_mtime(path.parent().expect("not the root"), 5, 5);
        assert_eq!(differences(&a, &b, true), [format!("\"/{name}\": {expected}")]);
    }
}

#[test]
fn a_comparison_sees_times_owners_devices_and_unforeseen_links() {
    let (_dir, a, b) = twins();
    for (name, sec, nsec) in [("d/g", 5, 6), ("d/f", 6, 5), ("s", -5, 5), ("d", 5, 4), ("", 5, 4)] {
        museum::set_mtime(&b.join(name), sec, nsec);
        let expected = format!("\"/{name}\": modification time differs");
        assert_eq!(differences(&a, &b, true), [expected]);
        museum::set_mtime(&b.join(name), 5, 5);
    }
    remove(&b.join("d/g"));
    fs::hard_link(b.join("d/f"), b.join("d/g")).expect("hard_link");
    museum::set_mtime(&b.join("d"), 5, 5);
    let found = differences(&a, &b, true);
    assert!(found.contains(&"\"/d/g\": hard links differ".to_owned()), "{found:?}");
    if !museum::is_root() {
        eprintln!("skipped: only root changes owners and makes devices");
        return;
    }
    let (_dir, a, b) = twins();
    std::os::unix::fs::lchown(b.join("s"), Some(9), None).expect("lchown");
    std::os::unix::fs::lchown(b.join("d/g"), None, Some(8)).expect("lchown");
    assert_eq!(
        differences(&a, &b, true),
        ["\"/d/g\": group differs: 0 and 8", "\"/s\": owner differs: 0 and 9"]
    );
    let (_dir, a, b) = twins();
    for (root, minor) in [(&a, 3), (&b, 4)] {
        let node = root.join("node");
        let device = rustix::fs::makedev(1, minor);
        let kind = rustix::fs::FileType::CharacterDevice;
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &node, kind, mode, device).expect("mknod");
        quietly(&node, |_| {});
    }
    assert_eq!(differences(&a, &b, true), ["\"/node\": device number differs"]);
}

#[test]
fn holes_are_compared_when_asked() {
    let (_dir, a, b) = twins();
    quietly(&b.join("sparse"), |p| fs::write(p, vec![0; 1 << 20]).expect("write"));
    assert_eq!(differences(&a, &b, false), [""; 0]);
    let mut seen = 0;
    let found = compare(&a, &b, false, &mut |n| seen += n).expect("both are directories");
    assert!(found.is_empty());
    assert!(seen > 1 << 20, "a hole is compared with the data in its place");
    quietly(&b.join("sparse"), |p| patch(p, 1 << 19));
    for (one, other) in [(&a, &b), (&b, &a)] {
        let found = differences(one, other, false);
        assert_eq!(found, ["\"/sparse\": content differs at byte 524288"]);
    }
    assert!(compare(&a, &a.join("sparse"), false, &mut |_| {}).is_err(), "a file is no tree");
}

fn patch(path: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("open");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("read");
    file.write_all_at(&[byte[0] ^ 1], at).expect("write");
}

fn remove(path: &Path) {
    fs::remove_file(path).expect("remove");
}

fn replace(path: &Path, with: impl FnOnce(&Path)) {
    remove(path);
    with(path);
}

/// Makes a hard link a file of its own with the same content and attributes.
fn part(path: &Path) {
    let content = fs::read(path).expect("read");
    replace(path, |p| fs::write(p, content).expect("write"));
}
