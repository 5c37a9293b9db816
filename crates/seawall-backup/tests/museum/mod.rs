//! A directory tree holding one of everything a Linux file system can hold.
//!
//! Tests that carry a tree from one place to another use it as their exhibit: what is not in the
//! museum is not claimed to survive.

#![allow(dead_code, reason = "each test binary visits its own part of the museum")]

use std::fs::{self, File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags,
};

/// `VFS_CAP_REVISION_2` with effective bit, permitted `cap_net_raw`: what `ping` used to carry.
pub(crate) const CAPABILITY: [u8; 20] =
    [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Paths in the museum that need the option `privileged` to be restored whole.
pub(crate) const POWERS: [(&str, &str); 7] = [
    ("devices/block", "device node not created"),
    ("devices/null", "device node not created"),
    ("devices/null again", "device node not created"),
    ("modes/4755", "set-uid bit not set"),
    ("modes/7777", "set-uid bit not set"),
    ("modes/7777", "set-gid bit not set"),
    ("xattrs/capability", "capabilities not set"),
];

/// Whether the tests run as root, without which devices, foreign owners and `trusted.*` cannot be
/// put into the museum.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Fills the empty directory `root`. As another user than root, privileged exhibits are left out.
pub(crate) fn build(root: &Path) {
    contents(&root.join("contents"));
    sparse(&root.join("sparse"));
    names(&root.join("names"));
    symlinks(&root.join("symlinks"));
    modes(&root.join("modes"));
    times(&root.join("times"));
    xattrs(&root.join("xattrs"));
    links(&root.join("links"));
    pipes(&root.join("pipes"));
    deep(root, "deep", 300, 20);
    deep(root, "long", 20, 255);
    if is_root() {
        devices(&root.join("devices"));
        owners(&root.join("owners"));
    }
    set_mtime(root, 1_234_567_890, 123_456_789);
}

/// Deterministic bytes that do not compress.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    (0..len)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}

/// A file under a chain of `levels` directories with names of `width` bytes, made step by step:
/// its path may be longer than the kernel accepts in one call.
pub(crate) fn deep(root: &Path, top: &str, levels: usize, width: usize) {
    let mut here = open_dir(&make_dir(&root.join(top)));
    for level in 0..levels {
        let name = format!("{level:0>width$}");
        rustix::fs::mkdirat(&here, &name, Mode::from_raw_mode(0o755)).expect("mkdirat");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        here = rustix::fs::openat(&here, &name, flags, Mode::empty()).expect("openat");
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
    let file =
        rustix::fs::openat(&here, "bottom", flags, Mode::from_raw_mode(0o644)).expect("file");
    rustix::io::write(&file, b"here I am").expect("write");
    rustix::fs::linkat(&here, "bottom", &here, "bottom again", AtFlags::empty()).expect("link");
}

/// Sets the modification time of `path`, not following a symbolic link.
pub(crate) fn set_mtime(path: &Path, sec: i64, nsec: i64) {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: sec, tv_nsec: nsec },
    };
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
        .expect("utimensat");
}

/// Sets an extended attribute, not following a symbolic link.
pub(crate) fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).expect("lsetxattr");
}

/// Sets the permission bits.
pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

/// The raw value of a POSIX ACL: `(tag, rights, id)` entries in the kernel's order.
pub(crate) fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(rights.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

fn make_dir(path: &Path) -> std::path::PathBuf {
    fs::create_dir(path).expect("create_dir");
    path.to_owned()
}

fn open_dir(path: &Path) -> OwnedFd {
    File::open(path).expect("open").into()
}

fn contents(dir: &Path) {
    make_dir(dir);
    for len in [0, 1, 511, 512, 513, 4_096, 100_000, 3_000_000] {
        fs::write(dir.join(format!("{len:07}")), noise(len as u64, len)).expect("write");
    }
    fs::write(dir.join("text"), "all work and no play\n".repeat(9_000)).expect("write");
    fs::write(dir.join("zeros"), vec![0; 1 << 20]).expect("write");
    make_dir(&dir.join("empty directory"));
    let many = make_dir(&dir.join("many"));
    for i in 0..400 {
        fs::write(many.join(format!("{i}")), format!("file {i}")).expect("write");
    }
}

fn sparse(dir: &Path) {
    const BLOCK: u64 = 1 << 16;
    make_dir(dir);
    let make = |name: &str, len: u64, data: &[u64]| {
        let file = File::create(dir.join(name)).expect("create");
        file.set_len(len).expect("set_len");
        for &at in data {
            file.write_all_at(&noise(at, BLOCK as usize), at).expect("write");
        }
    };
    make("all hole", 1 << 20, &[]);
    make("small hole", 100, &[]);
    make("hole first", 2 * BLOCK, &[BLOCK]);
    make("hole last", 3 * BLOCK, &[0]);
    make("hole between", 4 * BLOCK, &[0, 3 * BLOCK]);
    make("checkers", 64 * BLOCK, &(0..32).map(|i| 2 * i * BLOCK).collect::<Vec<_>>());
    make("five gibibytes", 5 << 30, &[0, (5 << 30) - BLOCK]);
    let file = OpenOptions::new().write(true).open(dir.join("hole between")).expect("open");
    file.write_all_at(&vec![0; BLOCK as usize], BLOCK).expect("zeros beside a hole");
}

fn names(dir: &Path) {
    make_dir(dir);
    let every_byte: Vec<u8> = (1..=255).filter(|b| *b != b'/').collect();
    let long = [b'n'; 255];
    let odd: [&[u8]; 12] = [
        b" ",
        b"-rf",
        b"...",
        b".hidden",
        b"new\nline",
        b"\x1b[31mred",
        b"caf\xe9",
        b"\xff\xfe",
        "naïve ☂".as_bytes(),
        b"\\",
        &every_byte,
        &long,
    ];
    for name in odd {
        fs::write(dir.join(std::ffi::OsStr::from_bytes(name)), name).expect("write");
    }
}

fn symlinks(dir: &Path) {
    make_dir(dir);
    for (name, to) in [("up", ".."), ("nowhere", "not there"), ("absolute", "/"), ("self", "self")]
    {
        symlink(to, dir.join(name)).expect("symlink");
    }
    symlink("x".repeat(4_095), dir.join("long")).expect("symlink");
    symlink(std::ffi::OsStr::from_bytes(b"\xff\n"), dir.join("bytes")).expect("symlink");
    set_mtime(&dir.join("up"), -77, 1);
    if is_root() {
        set_xattr(&dir.join("nowhere"), "trusted.on-a-link", b"not followed");
    }
}

fn modes(dir: &Path) {
    make_dir(dir);
    let readable = |mode: &u32| is_root() || mode & 0o400 != 0;
    for mode in [0o000, 0o400, 0o644, 0o755, 0o1644, 0o4755, 0o7777].into_iter().filter(readable) {
        let path = dir.join(format!("{mode:04o}"));
        fs::write(&path, "x").expect("write");
        set_mode(&path, mode);
    }
    for mode in [0o000, 0o555, 0o1777, 0o2775].into_iter().filter(readable) {
        let path = make_dir(&dir.join(format!("directory {mode:04o}")));
        fs::write(path.join("inside"), "x").expect("write");
        set_mode(&path, mode);
    }
}

fn times(dir: &Path) {
    make_dir(dir);
    for (i, (sec, nsec)) in
        [(0, 0), (0, 1), (-1, 999_999_999), (-2_000_000_000, 5), (4_000_000_000, 999_999_999)]
            .into_iter()
            .enumerate()
    {
        let (file, inner) =
            (dir.join(format!("file {i}")), make_dir(&dir.join(format!("dir {i}"))));
        fs::write(&file, "x").expect("write");
        fs::write(inner.join("inside"), "x").expect("write");
        set_mtime(&file, sec, nsec);
        set_mtime(&inner, sec, nsec);
    }
}

fn xattrs(dir: &Path) {
    make_dir(dir);
    let file = |name: &str| {
        let path = dir.join(name);
        fs::write(&path, "x").expect("write");
        path
    };
    let user = file("user");
    set_xattr(&user, "user.z", b"last");
    set_xattr(&user, "user.empty", b"");
    set_xattr(&user, "user.binary", &noise(1, 1_500));
    set_xattr(dir, "user.on-a-directory", b"\0\0");
    let access = acl(&[
        (1, 6, u32::MAX),
        (2, 7, 77),
        (4, 4, u32::MAX),
        (16, 7, u32::MAX),
        (32, 0, u32::MAX),
    ]);
    set_xattr(&file("acl"), "system.posix_acl_access", &access);
    let inner = make_dir(&dir.join("default acl"));
    fs::write(inner.join("made before the acl"), "x").expect("write");
    set_xattr(&inner, "system.posix_acl_default", &access);
    fs::write(inner.join("inherits the acl"), "x").expect("write");
    make_dir(&inner.join("inherits both acls"));
    if is_root() {
        set_xattr(&file("capability"), "security.capability", &CAPABILITY);
        set_xattr(&file("trusted"), "trusted.secret", b"for root");
    }
}

fn links(dir: &Path) {
    make_dir(dir);
    let (near, far) = (make_dir(&dir.join("b")), make_dir(&dir.join("a")));
    fs::write(near.join("file"), noise(3, 9_000)).expect("write");
    for to in [far.join("first in order"), near.join("sibling"), dir.join("z")] {
        fs::hard_link(near.join("file"), to).expect("hard_link");
    }
    symlink("target", dir.join("symlink")).expect("symlink");
    fs::hard_link(dir.join("symlink"), dir.join("symlink too")).expect("hard_link");
}

fn pipes(dir: &Path) {
    make_dir(dir);
    let at = open_dir(dir);
    let mode = Mode::from_raw_mode(0o640);
    rustix::fs::mknodat(&at, "pipe", FileType::Fifo, mode, 0).expect("mkfifo");
    set_mode(&dir.join("pipe"), 0o622);
    set_mtime(&dir.join("pipe"), 99, 98);
    fs::hard_link(dir.join("pipe"), dir.join("same pipe")).expect("hard_link");
    if is_root() {
        set_xattr(&dir.join("pipe"), "trusted.on-a-pipe", b"1");
    }
}

fn devices(dir: &Path) {
    make_dir(dir);
    let at = open_dir(dir);
    let null = rustix::fs::makedev(1, 3);
    let mode = Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(&at, "null", FileType::CharacterDevice, mode, null).expect("mknod");
    set_mode(&dir.join("null"), 0o666);
    set_mtime(&dir.join("null"), 1, 2);
    fs::hard_link(dir.join("null"), dir.join("null again")).expect("hard_link");
    let disk = rustix::fs::makedev(259, 70_000);
    rustix::fs::mknodat(&at, "block", FileType::BlockDevice, mode, disk).expect("mknod");
    set_xattr(&dir.join("block"), "trusted.on-a-device", b"1");
}

fn owners(dir: &Path) {
    make_dir(dir);
    fs::write(dir.join("file"), "x").expect("write");
    symlink("x", dir.join("symlink")).expect("symlink");
    make_dir(&dir.join("directory"));
    for (i, name) in ["file", "symlink", "directory"].into_iter().enumerate() {
        let (uid, gid) = (Uid::from_raw(12_345 + i as u32), Gid::from_raw(4_000_000_000));
        let path = dir.join(name);
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(rustix::fs::CWD, &path, Some(uid), Some(gid), flags).expect("chown");
    }
}
