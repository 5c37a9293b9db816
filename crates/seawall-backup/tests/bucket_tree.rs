//! A bucket becomes a tree that holds every object once, whatever its key.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use seawall_backup::entry::{Meta, is_component};
use seawall_backup::source::filter::{Excluded, Exclusions, Patterns};
use seawall_backup::source::{
    Bucket, BucketObject, BucketPage, BucketTree, Content, Extent, FoundObject, Leaf, Node, Opened,
    Problem, Reason, Source, Stamp, Step,
};

/// Pages of a listing, in memory.
#[derive(Debug)]
struct Pages {
    objects: Vec<BucketObject>,
    page: usize,
    /// Fails to list from here on.
    breaks_at: usize,
    asked: AtomicUsize,
}

impl Pages {
    fn new(objects: Vec<BucketObject>, page: usize) -> Self {
        Self { objects, page, breaks_at: usize::MAX, asked: AtomicUsize::new(0) }
    }
}

struct Text(Vec<u8>);

impl Content for Text {
    fn size(&self) -> Option<u64> {
        Some(self.0.len() as u64)
    }
    fn data_after(&mut self, offset: u64) -> io::Result<Option<Extent>> {
        let len = self.0.len() as u64;
        Ok((offset < len).then(|| Extent { offset, len: len - offset }))
    }
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let rest = &self.0[offset as usize..];
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }
    fn changed(&mut self) -> io::Result<bool> {
        Ok(false)
    }
}

impl Bucket for Pages {
    fn page(&self, token: Option<&[u8]>) -> io::Result<BucketPage> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let from = token.map_or(0, |t| String::from_utf8_lossy(t).parse().expect("our token"));
        if from >= self.breaks_at {
            return Err(io::Error::other("no more"));
        }
        let end = (from + self.page).min(self.objects.len());
        let next = (end < self.objects.len()).then(|| end.to_string().into_bytes());
        Ok(BucketPage { objects: self.objects[from..end].to_vec(), next })
    }

    /// The content of an object is its key.
    fn open(&self, key: &[u8]) -> Result<FoundObject, Reason> {
        let object = self.objects.iter().find(|o| o.key == key).ok_or(Reason::Vanished)?;
        Ok(FoundObject {
            etag: object.etag.clone(),
            modified: (1, 0),
            attributes: Vec::new(),
            content: Box::new(Text(key.to_vec())),
        })
    }
}

/// Objects with these keys, as long as their keys, but folders' markers, which are empty.
fn objects(keys: &BTreeSet<Vec<u8>>) -> Vec<BucketObject> {
    let object = |key: &Vec<u8>| BucketObject {
        key: key.clone(),
        size: if key.ends_with(b"/") { 0 } else { key.len() as u64 },
        etag: [b"tag of ", &key[..]].concat(),
        modified: (7, 5),
    };
    keys.iter().map(object).collect()
}

/// What a walk found: the content of each file by path, and what was met.
struct Walked {
    files: BTreeMap<Vec<u8>, (Stamp, Opened, Vec<u8>)>,
    directories: BTreeSet<Vec<u8>>,
    problems: Vec<Problem>,
    excluded: Excluded,
}

fn walk(bucket: Pages, exclusions: &Exclusions) -> Walked {
    let above = [b"vault".to_vec()];
    let mut tree = BucketTree::new(
        Arc::new(bucket),
        &above,
        Meta { mode: 0o600, ..Meta::default() },
        exclusions,
    )
    .expect("a first page");
    let mut path: Vec<Vec<u8>> = Vec::new();
    let mut met: Vec<BTreeSet<Vec<u8>>> = Vec::new();
    let (mut files, mut directories) = (BTreeMap::new(), BTreeSet::new());
    while let Some(step) = tree.next() {
        match step {
            Step::Enter { name, .. } => {
                if let Some(names) = met.last_mut() {
                    assert!(is_component(&name), "{name:?}");
                    assert!(names.insert(name.clone()), "{name:?} twice in {path:?}");
                }
                path.push(name);
                met.push(BTreeSet::new());
                directories.insert(path[1..].join(&b'/'));
            }
            Step::Leaves { dir, leaves } => {
                assert!(leaves.is_sorted_by(|a, b| a.name < b.name));
                for leaf in leaves {
                    let Leaf { name, stamp } = &leaf;
                    assert!(is_component(name), "{name:?}");
                    let names = met.last_mut().expect("inside the root");
                    assert!(names.insert(name.clone()), "{name:?} twice in {path:?}");
                    let mut opened = dir.open(&leaf).expect("it opens");
                    let Node::File(content) = &mut opened.node else { panic!("a file") };
                    let mut bytes = vec![0; content.size().expect("known") as usize];
                    assert_eq!(content.read_at(0, &mut bytes).expect("read"), bytes.len());
                    let full = [&path[1..], std::slice::from_ref(name)].concat().join(&b'/');
                    files.insert(full, (*stamp, opened, bytes));
                }
            }
            Step::Leave => {
                path.pop().expect("entered before");
                met.pop();
            }
        }
    }
    assert!(path.is_empty(), "all is left in the end");
    Walked { files, directories, problems: tree.take_problems(), excluded: tree.excluded() }
}

fn keys(keys: &[&str]) -> BTreeSet<Vec<u8>> {
    keys.iter().map(|key| key.as_bytes().to_vec()).collect()
}

#[test]
fn ordinary_keys_are_paths() {
    let all = keys(&["a", "dir-x/1", "dir.txt", "dir/b", "dir/sub/c", "dir/z", "empty/", "z"]);
    let walked = walk(Pages::new(objects(&all), 2), &Exclusions::default());
    assert!(walked.problems.is_empty(), "{:?}", walked.problems);
    for key in all.iter().filter(|key| !key.ends_with(b"/")) {
        let (stamp, opened, bytes) = &walked.files[&[b"vault/", &key[..]].concat()];
        assert_eq!((bytes, opened.stamp, stamp.mtime), (key, *stamp, (7, 5)));
        let names: Vec<_> = opened.meta.xattrs.iter().map(|x| &x.name[..]).collect();
        assert_eq!(names, [b"user.s3.etag"]);
    }
    assert!(walked.directories.contains(&b"vault/empty"[..]));
    assert_eq!(walked.files.len(), 7);
}

#[test]
fn keys_that_are_no_paths_are_named_and_kept() {
    let all = keys(&["a", "a-b", "a/", "a/b", "a//b", "/top", "n\0l", "x/../y", ".", "%key:a"]);
    let walked = walk(Pages::new(objects(&all), 3), &Exclusions::default());
    let path_of = |key: &str| {
        let found = walked.files.iter().find(|(_, (_, _, bytes))| bytes == key.as_bytes());
        String::from_utf8_lossy(found.expect(key).0).into_owned()
    };
    assert_eq!(path_of("a"), "vault/a");
    assert_eq!(path_of("a/b"), "vault/%dir:a/b");
    assert_eq!(path_of("a//b"), "vault/%dir:a/%dir:/b");
    assert_eq!(path_of("/top"), "vault/%dir:/top");
    assert_eq!(path_of("n\0l"), "vault/%key:n%00l");
    assert_eq!(path_of("%key:a"), "vault/%key:%25key:a");
    let (_, opened, _) = &walked.files[&b"vault/%dir:a/%dir:/b"[..]];
    let key = opened.meta.xattrs.iter().find(|x| x.name == b"user.s3.key").expect("its key");
    assert_eq!(key.value, b"a//b");
    let mut named: Vec<_> = walked.problems.iter().map(ToString::to_string).collect();
    named.sort();
    assert_eq!(named.len(), 7, "{named:#?}");
    assert_eq!(named.iter().filter(|p| p.contains("left out")).count(), 2, "the two with dots");
}

#[test]
fn patterns_and_lengths_pass_over() {
    let all = keys(&["a.tmp", "keep", "logs/1", "logs/old/2", "logs-3", "long-long-long"]);
    let mut patterns = Patterns::default();
    for pattern in ["*.tmp", "/logs/", "nothing"] {
        patterns.add(pattern.as_bytes(), false).expect("valid");
    }
    let exclusions = Exclusions { patterns, larger_than: Some(10), ..Exclusions::default() };
    let walked = walk(Pages::new(objects(&all), 2), &exclusions);
    let paths: Vec<_> = walked.files.keys().map(|p| String::from_utf8_lossy(p)).collect();
    assert_eq!(paths, ["vault/keep", "vault/logs-3"]);
    let Excluded { files, directories, too_large, too_large_bytes, unused, .. } = walked.excluded;
    assert_eq!((files, directories, too_large, too_large_bytes), (1, 1, 1, 14));
    assert_eq!(unused, [b"nothing"]);
}

#[test]
fn another_version_is_another_stamp() {
    let stamp = |change: fn(&mut BucketObject)| {
        let mut all = objects(&keys(&["a"]));
        change(&mut all[0]);
        walk(Pages::new(all, 1), &Exclusions::default()).files[&b"vault/a"[..]].0
    };
    let same = stamp(|_| ());
    assert_eq!(stamp(|_| ()), same);
    assert_ne!(stamp(|object| object.etag = b"other".to_vec()), same);
    assert_ne!(stamp(|object| object.size += 1), same);
    assert_ne!(stamp(|object| object.modified = (7, 6)), same);
}

#[test]
fn a_listing_that_stops_or_runs_in_circles_is_no_bucket() {
    let all = keys(&["a", "b", "c", "d"]);
    let broken = Pages { breaks_at: 2, ..Pages::new(objects(&all), 1) };
    let walked = walk(broken, &Exclusions::default());
    assert!(matches!(&walked.problems[..], [Problem { reason: Reason::ListingStopped(_), .. }]));
    let mut circle = objects(&all);
    circle.extend(objects(&keys(&["b"])));
    let walked = walk(Pages::new(circle, 2), &Exclusions::default());
    let [Problem { reason: Reason::ListingStopped(e), .. }] = &walked.problems[..] else {
        panic!("{:?}", walked.problems)
    };
    assert!(e.to_string().contains("out of order"), "{e}");
}

/// Only what the listing is asked for is held: a page at a time.
#[test]
fn pages_are_asked_for_as_the_walk_goes() {
    let all: BTreeSet<_> = (0..5_000).map(|i| format!("{i:05}").into_bytes()).collect();
    let bucket = Arc::new(Pages::new(objects(&all), 100));
    let mut tree =
        BucketTree::new(Arc::clone(&bucket) as _, &[], Meta::default(), &Exclusions::default())
            .expect("a first page");
    assert!(matches!(tree.next(), Some(Step::Enter { .. })));
    assert!(matches!(tree.next(), Some(Step::Leaves { .. })));
    assert!(bucket.asked.load(Ordering::Relaxed) <= 11);
}

const PARTS: &[&[u8]] =
    &[b"a", b"b", b"a-", b"", b".", b"..", b"\0", b"%", b"%key:", b"%dir:a", b"a.b", b"\xff"];

fn any_key() -> impl Strategy<Value = Vec<u8>> {
    let part = prop::sample::select(PARTS);
    prop_oneof![
        8 => prop::collection::vec(part, 1..6).prop_map(|parts| parts.join(&b'/')),
        1 => (250_usize..260, 0..3_u8).prop_map(|(n, b)| [&vec![b'a' + b; n][..], b"/a"].concat()),
        1 => (250_usize..260).prop_map(|n| vec![b'a'; n]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_object_is_held_once_under_a_path_of_its_own(
        all in prop::collection::btree_set(any_key(), 0..60),
        page in 1_usize..20,
        by_components in any::<bool>(),
    ) {
        let all: BTreeSet<_> = all.into_iter().filter(|key| !key.is_empty()).collect();
        let mut listed = objects(&all);
        if by_components {
            let parts = |o: &BucketObject| {
                o.key.split(|b| *b == b'/').map(<[u8]>::to_vec).collect::<Vec<_>>()
            };
            listed.sort_by_key(parts);
        }
        let walked = walk(Pages::new(listed, page), &Exclusions::default());
        let held: BTreeSet<_> = walked.files.values().map(|(_, _, key)| key.clone()).collect();
        prop_assert_eq!(held.len(), walked.files.len());
        let has_dots = |key: &[u8]| {
            key.split(|b| *b == b'/').any(|part| part == b"." || part == b"..")
        };
        // A marker makes a directory; only one of nothing at all, `/`, is held as an object.
        let is_marker = |key: &[u8]| key.ends_with(b"/");
        let wanted: BTreeSet<_> =
            all.iter().filter(|key| !has_dots(key) && !is_marker(key)).cloned().collect();
        prop_assert!(held.is_superset(&wanted), "{:?}", wanted.difference(&held));
        for (path, (_, opened, key)) in &walked.files {
            let has_key = opened.meta.xattrs.iter().any(|x| x.name == b"user.s3.key");
            let straight = path[..] == [b"vault/", &key[..]].concat();
            prop_assert_eq!(has_key, !straight);
        }
        let left_out = walked.problems.iter().filter(|p| matches!(p.reason, Reason::DotsInKey));
        prop_assert_eq!(left_out.count(), all.iter().filter(|key| has_dots(key)).count());
    }
}
