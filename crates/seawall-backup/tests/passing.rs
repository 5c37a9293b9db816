//! What a walk of real trees passes over, and that it says so.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;

use seawall_backup::source::filter::{CACHE_SIGNATURE, Excluded, Exclusions, Patterns};
use seawall_backup::source::{FileTree, Problem, Source, Step};

/// Paths met below `root`, directories with a slash at their end.
fn walk(root: &Path, given: &[&Path], rules: Exclusions) -> (Vec<String>, Excluded, Vec<Problem>) {
    let mut tree = FileTree::without(given, rules, false).expect("a walk");
    let mut at: Vec<String> = Vec::new();
    let mut met = Vec::new();
    while let Some(step) = tree.next() {
        match step {
            Step::Enter { name, .. } => {
                at.push(String::from_utf8_lossy(&name).into_owned());
                met.push(format!("{}/", at.join("/")));
            }
            Step::Leaves { leaves, .. } => {
                for leaf in leaves {
                    met.push(format!("{}/{}", at.join("/"), String::from_utf8_lossy(&leaf.name)));
                }
            }
            Step::Leave => {
                at.pop();
            }
        }
    }
    let prefix = format!("{}/", root.display());
    let below = met.iter().filter_map(|path| path.strip_prefix(&prefix));
    let below = below.filter(|path| !path.is_empty()).map(ToOwned::to_owned).collect();
    (below, tree.excluded(), tree.take_problems())
}

fn make(root: &Path, files: &[(&str, &[u8])]) {
    for (path, content) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("directories");
        fs::write(path, content).expect("written");
    }
}

fn patterns(list: &[&str]) -> Patterns {
    let mut patterns = Patterns::default();
    for pattern in list {
        patterns.add(pattern.as_bytes(), false).expect("valid");
    }
    patterns
}

#[test]
fn patterns_hold_below_every_given_path() {
    let root = tempfile::tempdir().expect("a directory");
    make(
        root.path(),
        &[("a/x.o", b""), ("a/top/1", b""), ("b/top/2", b""), ("b/in/top", b""), ("y.o", b"")],
    );
    let rules =
        Exclusions { patterns: patterns(&["*.o", "/top", "typo"]), ..Exclusions::default() };
    let given = ["a", "b", "y.o"].map(|name| root.path().join(name));
    let given: Vec<&Path> = given.iter().map(AsRef::as_ref).collect();
    let (met, excluded, problems) = walk(root.path(), &given, rules);
    assert_eq!(met, ["a/", "b/", "b/in/", "b/in/top", "y.o"], "a given path is never passed over");
    assert_eq!((excluded.files, excluded.directories), (1, 2));
    assert_eq!(excluded.unused, [b"typo"]);
    assert!(problems.is_empty());
}

#[test]
fn ignore_files_of_the_tree() {
    let root = tempfile::tempdir().expect("a directory");
    make(
        root.path(),
        &[
            (".gitignore", b"*.log\n/built/\n"),
            (".seawallignore", b"!keep.log\n"),
            ("a.log", b""),
            ("keep.log", b""),
            ("built/x", b""),
            ("sub/built/y", b""),
            ("sub/.gitignore", b"!*.log\n"),
            ("sub/b.log", b""),
            ("long/.gitignore", &b"#\n".repeat(40_000)),
            ("long/z.log", b""),
        ],
    );
    fs::create_dir(root.path().join("link")).expect("made");
    symlink("../.gitignore", root.path().join("link/.gitignore")).expect("linked");
    let ignore_files = vec![b".gitignore".to_vec(), b".seawallignore".to_vec()];
    let rules = Exclusions { ignore_files, ..Exclusions::default() };
    let (met, excluded, problems) = walk(root.path(), &[root.path()], rules);
    let expected = [
        ".gitignore",
        ".seawallignore",
        "keep.log",
        "link/",
        "link/.gitignore",
        "long/",
        "long/.gitignore",
        "sub/",
        "sub/.gitignore",
        "sub/b.log",
        "sub/built/",
        "sub/built/y",
    ];
    assert_eq!(met, expected);
    assert_eq!((excluded.files, excluded.directories), (2, 1));
    // A file too long, and one that is a link, are named.
    assert_eq!(problems.len(), 2, "{problems:?}");
}

#[test]
fn caches_markers_and_sizes() {
    let root = tempfile::tempdir().expect("a directory");
    let tag = [CACHE_SIGNATURE, b"\n# a cache\n"].concat();
    make(
        root.path(),
        &[
            ("cache/CACHEDIR.TAG", &tag),
            ("cache/x", b""),
            ("cache/sub/y", b""),
            ("not/CACHEDIR.TAG", b"Signature: none"),
            ("not/x", b""),
            ("marked/.nobackup", b""),
            ("marked/x", b""),
            ("large", &[1; 1001]),
            ("just", &[1; 1000]),
        ],
    );
    fs::create_dir(root.path().join("linked")).expect("made");
    symlink("../cache/CACHEDIR.TAG", root.path().join("linked/CACHEDIR.TAG")).expect("linked");
    let rules = || Exclusions {
        caches: true,
        markers: vec![b".nobackup".to_vec()],
        larger_than: Some(1000),
        ..Exclusions::default()
    };
    let (met, excluded, problems) = walk(root.path(), &[root.path()], rules());
    let expected = [
        "cache/",
        "cache/CACHEDIR.TAG",
        "just",
        "linked/",
        "linked/CACHEDIR.TAG",
        "marked/",
        "marked/.nobackup",
        "not/",
        "not/CACHEDIR.TAG",
        "not/x",
    ];
    assert_eq!(met, expected);
    assert_eq!((excluded.caches, excluded.marked), (1, 1));
    assert_eq!((excluded.too_large, excluded.too_large_bytes), (1, 1001));
    assert!(problems.is_empty());
    let cache = root.path().join("cache");
    let (met, ..) = walk(root.path(), &[&cache], rules());
    let all = ["cache/", "cache/CACHEDIR.TAG", "cache/sub/", "cache/sub/y", "cache/x"];
    assert_eq!(met, all, "whoever names a cache wants it");
}

#[test]
fn other_file_systems_are_empty_directories() {
    let device = |path: &str| fs::metadata(path).map(|m| m.dev()).ok();
    // Every Linux has one mounted there.
    assert_ne!(device("/dev/pts"), device("/dev"), "/dev/pts is no mount point here");
    let rules = Exclusions { one_file_system: true, ..Exclusions::default() };
    let (met, excluded, _) = walk(Path::new("/dev"), &[Path::new("/dev")], rules);
    assert!(met.contains(&"pts/".to_owned()) && met.contains(&"null".to_owned()));
    assert!(!met.iter().any(|path| path.starts_with("pts/") && path != "pts/"), "{met:?}");
    assert!(excluded.mount_points >= 1);
}
