//! The cache against a model that keeps every snapshot whole and scans it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;

use proptest::prelude::*;
use seawall_base::{Disk, FleetId, NodeId, ObjectId, OpenMode, Rng, Sha256, Timestamp};
use seawall_record::Totals;
use seawall_seal::{Domain, DomainScope, Kind, ObjectRef, Placement, SealError, seal};
use seawall_sim::{SeededRng, SimDisk};

use super::*;
use crate::path_index::{Listing, PathEntry, PathIndexRoot, PathIndexWriter, PathKind};
use crate::restore::{FetchError, Objects};

const CLASS: u8 = 1;
const OWNER: Owner = Owner { fleet: FleetId([1; 32]), operator: [2; 32] };
const KEY: [u8; 32] = [9; 32];

/// Sealed pages, and how many were asked for.
#[derive(Default)]
pub(super) struct Shelf {
    objects: HashMap<ObjectId, Vec<u8>>,
    asked: Mutex<u64>,
}

impl Objects for Shelf {
    fn get(&self, ids: &[ObjectId], give: &mut dyn FnMut(ObjectId, Result<Vec<u8>, FetchError>)) {
        for &id in ids {
            *self.asked.lock().expect("no holder panics") += 1;
            give(id, self.objects.get(&id).cloned().ok_or(FetchError::Missing(id)));
        }
    }
}

/// A file tree: paths (components) with kind, size, time.
type Tree = BTreeMap<Vec<Vec<u8>>, (PathKind, u64, i64)>;

fn domain() -> Domain {
    Domain::derive(&[7; 32], DomainScope::PathIndex)
}

impl Shelf {
    fn seal(&mut self, page: &[u8]) -> Result<ObjectRef, SealError> {
        let placement = Placement { kind: Kind::PathIndex, class: CLASS };
        let sealed = seal(&domain(), placement, page, &mut SeededRng::new(1))?;
        self.objects.insert(sealed.object_ref.id, sealed.bytes.into_bytes());
        Ok(sealed.object_ref)
    }

    /// The index of a tree. Directories are those that something is in, and those listed.
    fn index(&mut self, tree: &Tree) -> PathIndexRoot {
        let writer = PathIndexWriter::new(&domain());
        let listing = self.listing(&writer, tree, &[]);
        let tree = writer.root(listing, &mut |p| self.seal(p)).expect("sealed");
        PathIndexRoot { line: [4; 32], tree }
    }

    fn listing(&mut self, writer: &PathIndexWriter, tree: &Tree, top: &[Vec<u8>]) -> Listing {
        let mut entries = Vec::new();
        for (path, &(kind, size, mtime)) in tree {
            if path.len() == top.len() + 1 && path.starts_with(top) {
                let is_dir = kind == PathKind::Directory;
                let listing = is_dir.then(|| self.listing(writer, tree, path));
                let name = path[top.len()].clone();
                entries.push(PathEntry { name, kind, size, mtime, listing });
            }
        }
        writer.directory(&entries, &mut |p| self.seal(p)).expect("sealed")
    }
}

fn line(node: u8) -> LineId {
    let node_name = format!("node-{node}");
    LineId { origin: format!("o/{node}"), node: NodeId([node; 32]), node_name, line: [0; 32] }
}

fn facts(node: u8, n: u64) -> SnapshotFacts {
    let digest = Sha256::of(&[&[node][..], &n.to_le_bytes()].concat());
    SnapshotFacts { digest, sequence: n + 1, created: Timestamp(1_000 * (n + 1)) }
}

fn source<'a>(shelf: &'a Shelf, node: u8, n: u64, tree: &Tree, root: PathIndexRoot) -> Source<'a> {
    let totals = Totals { files: tree.len() as u64, ..Totals::default() };
    Source { line: line(node), facts: facts(node, n), class: CLASS, totals, root, objects: shelf }
}

fn path(text: &str) -> Vec<Vec<u8>> {
    text.split('/').map(|c| c.as_bytes().to_vec()).collect()
}

/// A tree of these files, with their directories.
fn tree(files: &[(&str, u64)]) -> Tree {
    let mut tree = Tree::new();
    for (name, size) in files {
        let full = path(name);
        for n in 1..full.len() {
            tree.insert(full[..n].to_vec(), (PathKind::Directory, 0, 50));
        }
        tree.insert(full, (PathKind::File, *size, 100));
    }
    tree
}

/// Everything the model knows, as the cache should say it: path, kind, size, time, node, first
/// and last sequence.
type Fact = (Vec<u8>, PathKind, u64, i64, String, u64, u64);

fn facts_of(answer: &Answer) -> BTreeSet<Fact> {
    let fact = |f: &Found| {
        assert_eq!(u64::from(f.snapshots), f.last.sequence - f.first.sequence + 1);
        let node = f.line.node_name.clone();
        (f.path.clone(), f.kind, f.size, f.mtime, node, f.first.sequence, f.last.sequence)
    };
    let set: BTreeSet<_> = answer.found.iter().map(fact).collect();
    assert_eq!(set.len(), answer.found.len(), "nothing is found twice");
    set
}

fn full(path: &[Vec<u8>]) -> Vec<u8> {
    path.iter().flat_map(|c| [b"/", &c[..]].concat()).collect()
}

/// Every version of every path of one node's snapshots.
fn model(node: u8, snapshots: &[Tree]) -> Vec<Fact> {
    let mut out: Vec<Fact> = Vec::new();
    let mut open: BTreeMap<Vec<Vec<u8>>, usize> = BTreeMap::new();
    for (n, tree) in snapshots.iter().enumerate() {
        let sequence = n as u64 + 1;
        open.retain(|path, at| {
            let (_, kind, size, mtime, ..) = out[*at];
            let stands = tree.get(path) == Some(&(kind, size, mtime));
            if stands {
                out[*at].6 = sequence;
            }
            stands
        });
        for (path, &(kind, size, mtime)) in tree {
            if !open.contains_key(path) {
                open.insert(path.clone(), out.len());
                let node = format!("node-{node}");
                out.push((full(path), kind, size, mtime, node, sequence, sequence));
            }
        }
    }
    out
}

/// A cache with these snapshots, on a fresh disk.
fn filled(disk: &SimDisk, shelf: &mut Shelf, nodes: &[(u8, &[Tree])]) {
    let mut rng = SeededRng::new(5);
    for &(node, trees) in nodes {
        for (n, tree) in trees.iter().enumerate() {
            let root = shelf.index(tree);
            // Opened anew each time, as every run of the program does.
            let mut cache = Cache::open(disk, "find", &KEY, OWNER).expect("opens");
            let source = source(shelf, node, n as u64, tree, root);
            cache.ingest(&source, &mut rng).expect("taken in");
        }
    }
}

fn opened(disk: &SimDisk) -> Cache<'_> {
    Cache::open(disk, "find", &KEY, OWNER).expect("opens")
}

fn find(cache: &Cache<'_>, text: &str, how: Match, filter: &Filter) -> Answer {
    let pattern = Pattern::new(text.as_bytes(), how, false).expect("a pattern");
    cache.find(&pattern, filter, 0, 2).expect("searched")
}

fn paths(answer: &Answer) -> Vec<String> {
    answer.found.iter().map(|f| String::from_utf8_lossy(&f.path).into_owned()).collect()
}

#[test]
fn a_deleted_file_is_found_with_the_snapshots_that_have_it() {
    let (disk, mut shelf) = (SimDisk::new(), Shelf::default());
    let first = tree(&[("etc/hosts", 10), ("etc/passwd", 20), ("srv/www/index.html", 30)]);
    let mut second = first.clone();
    second.remove(&path("etc/passwd"));
    filled(&disk, &mut shelf, &[(1, &[first.clone(), first, second])]);
    let answer = find(&opened(&disk), "passwd", Match::Substring, &Filter::default());
    assert_eq!(answer.found.len(), 1);
    let found = &answer.found[0];
    assert_eq!((found.path.as_slice(), found.size, found.mtime), (&b"/etc/passwd"[..], 20, 100));
    assert_eq!((found.first, found.last), (facts(1, 0), facts(1, 1)));
    assert_eq!((found.snapshots, found.stands), (2, false));
}

#[test]
fn patterns_mean_what_the_manual_says() {
    let (disk, mut shelf) = (SimDisk::new(), Shelf::default());
    let files = [
        "etc/hosts",
        "etc/hosts.bak",
        "etc/ssh/sshd_config",
        "srv/www/Index.html",
        "srv/www/img/a.png",
        "srv/www/img/b[1].png",
        "srv/www-old/img/a.png",
        "top",
    ];
    let tree = tree(&files.map(|f| (f, 1)));
    filled(&disk, &mut shelf, &[(1, &[tree])]);
    let cache = opened(&disk);
    let cases: &[(&str, Match, bool, &[&str])] = &[
        ("hosts", Match::Substring, false, &["/etc/hosts", "/etc/hosts.bak"]),
        ("www", Match::Substring, false, &["/srv/www", "/srv/www-old"]),
        ("www/", Match::Substring, false, &["/srv/www"]),
        ("www/img", Match::Substring, false, &["/srv/www/img"]),
        ("w/im", Match::Substring, false, &["/srv/www/img"]),
        ("/to", Match::Substring, false, &["/top"]),
        ("/etc/", Match::Substring, false, &["/etc"]),
        ("img/a", Match::Substring, false, &["/srv/www/img/a.png", "/srv/www-old/img/a.png"]),
        ("index", Match::Substring, false, &[]),
        ("index", Match::Substring, true, &["/srv/www/Index.html"]),
        ("WWW/IND", Match::Substring, true, &["/srv/www/Index.html"]),
        ("hosts", Match::Exact, false, &["/etc/hosts"]),
        ("/etc/hosts", Match::Exact, false, &["/etc/hosts"]),
        ("/ETC/HOSTS", Match::Exact, true, &["/etc/hosts"]),
        ("/hosts", Match::Exact, false, &[]),
        ("etc/hosts", Match::Exact, false, &["/etc/hosts"]),
        ("tc/hosts", Match::Exact, false, &[]),
        ("/top", Match::Exact, false, &["/top"]),
        ("host", Match::Prefix, false, &["/etc/hosts", "/etc/hosts.bak"]),
        ("osts", Match::Prefix, false, &[]),
        ("/etc/ho", Match::Prefix, false, &["/etc/hosts", "/etc/hosts.bak"]),
        ("/etc/ssh", Match::Prefix, false, &["/etc/ssh", "/etc/ssh/sshd_config"]),
        ("/etc/SSH", Match::Prefix, true, &["/etc/ssh", "/etc/ssh/sshd_config"]),
        ("/etc/ssh/", Match::Prefix, false, &["/etc/ssh/sshd_config"]),
        (
            "/srv/www/im",
            Match::Prefix,
            false,
            &["/srv/www/img", "/srv/www/img/a.png", "/srv/www/img/b[1].png"],
        ),
        (
            "*.png",
            Match::Glob,
            false,
            &["/srv/www/img/a.png", "/srv/www/img/b[1].png", "/srv/www-old/img/a.png"],
        ),
        ("?.png", Match::Glob, false, &["/srv/www/img/a.png", "/srv/www-old/img/a.png"]),
        ("b\\[1\\].*", Match::Glob, false, &["/srv/www/img/b[1].png"]),
        ("[a-c][[]*", Match::Glob, false, &["/srv/www/img/b[1].png"]),
        ("[!a]*.png", Match::Glob, false, &["/srv/www/img/b[1].png"]),
        ("/srv/*/img/a.*", Match::Glob, false, &["/srv/www/img/a.png", "/srv/www-old/img/a.png"]),
        ("www/*", Match::Glob, false, &["/srv/www/Index.html", "/srv/www/img"]),
        ("/srv/**/a.png", Match::Glob, false, &["/srv/www/img/a.png", "/srv/www-old/img/a.png"]),
        (
            "/etc/**",
            Match::Glob,
            false,
            &["/etc/hosts", "/etc/hosts.bak", "/etc/ssh", "/etc/ssh/sshd_config"],
        ),
        ("s*/", Match::Glob, false, &["/srv", "/etc/ssh"]),
        ("host*", Match::Glob, false, &["/etc/hosts", "/etc/hosts.bak"]),
        ("*sts*", Match::Glob, false, &["/etc/hosts", "/etc/hosts.bak"]),
        ("hosts", Match::Glob, false, &["/etc/hosts"]),
        ("^hosts$", Match::Regex, false, &["/etc/hosts"]),
        (r"\Ahosts\z", Match::Regex, false, &["/etc/hosts"]),
        ("^host[^x]*", Match::Regex, false, &["/etc/hosts", "/etc/hosts.bak"]),
        ("^/srv/.*/a", Match::Regex, false, &["/srv/www/img/a.png", "/srv/www-old/img/a.png"]),
        ("s/ho?st?s", Match::Regex, false, &[]),
        ("(?i)INDEX", Match::Regex, false, &["/srv/www/Index.html"]),
    ];
    for &(text, how, ignore_case, expected) in cases {
        let pattern = Pattern::new(text.as_bytes(), how, ignore_case).expect("a pattern");
        let answer = cache.find(&pattern, &Filter::default(), 0, 2).expect("searched");
        let mut found = paths(&answer);
        let mut expected = expected.to_vec();
        found.sort();
        expected.sort_unstable();
        assert_eq!(found, expected, "{text} as {how:?}, ignoring case: {ignore_case}");
    }
    for bad in ["", "a\0b", "x".repeat(5_000).as_str()] {
        assert!(Pattern::new(bad.as_bytes(), Match::Substring, false).is_err(), "{bad:?}");
    }
    for bad in ["(", "a{99999999}", "(?:a{1000}){1000}"] {
        let refused = Pattern::new(bad.as_bytes(), Match::Regex, false);
        assert!(matches!(refused, Err(PatternError::Regex(_))), "{bad}");
    }
}

#[test]
fn filters_choose_among_versions() {
    let (disk, mut shelf) = (SimDisk::new(), Shelf::default());
    let trees = [tree(&[("a/x", 10)]), tree(&[("a/x", 20)]), tree(&[("a/x", 20), ("a/y", 5)])];
    filled(&disk, &mut shelf, &[(1, &trees), (2, &trees[..1])]);
    let cache = opened(&disk);
    let sizes = |filter: &Filter| -> Vec<u64> {
        find(&cache, "x", Match::Exact, filter).found.iter().map(|f| f.size).collect()
    };
    let default = Filter::default;
    assert_eq!(sizes(&default()), [10, 20, 10]);
    assert_eq!(sizes(&Filter { snapshot: Some(facts(1, 0).digest), ..default() }), [10]);
    assert_eq!(sizes(&Filter { snapshot: Some(facts(1, 2).digest), ..default() }), [20]);
    assert_eq!(sizes(&Filter { snapshot: Some(facts(3, 0).digest), ..default() }), [0; 0]);
    assert_eq!(sizes(&Filter { since: Some(Timestamp(1_500)), ..default() }), [20]);
    assert_eq!(sizes(&Filter { node: Some("node-2".to_owned()), ..default() }), [10]);
    assert_eq!(sizes(&Filter { min_size: Some(11), ..default() }), [20]);
    assert_eq!(sizes(&Filter { max_size: Some(19), ..default() }), [10, 10]);
    assert_eq!(sizes(&Filter { kinds: vec![PathKind::Directory], ..default() }), [0; 0]);
    assert_eq!(sizes(&Filter { modified_since: Some(101), ..default() }), [0; 0]);
    assert_eq!(sizes(&Filter { modified_before: Some(101), ..default() }), [10, 20, 10]);
    let directories = find(&cache, "a", Match::Exact, &default());
    assert_eq!(directories.found.len(), 2, "what changes below a directory makes no version of it");
    assert_eq!(directories.found[0].snapshots, 3);
}

/// Trees from a small world of names, so that things come, go, and change kind.
fn any_tree() -> impl Strategy<Value = Tree> {
    let name = prop_oneof![
        Just(b"a".to_vec()),
        Just(b"b".to_vec()),
        Just(b"ab".to_vec()),
        Just(b"a-b".to_vec()),
        Just(b"\xff\x01".to_vec()),
        Just(b"long-name-of-a-file.txt".to_vec()),
    ];
    let file = (prop::collection::vec(name, 1..4), 0u64..3, 0i64..2);
    prop::collection::vec(file, 0..25).prop_map(|files| {
        let mut tree = Tree::new();
        for (path, size, mtime) in files {
            let blocked = (1..path.len())
                .any(|n| tree.get(&path[..n]).is_some_and(|(k, ..)| *k != PathKind::Directory));
            if blocked || tree.contains_key(&path) {
                continue;
            }
            for n in 1..path.len() {
                tree.entry(path[..n].to_vec()).or_insert((PathKind::Directory, 0, mtime));
            }
            tree.insert(path, (PathKind::File, size, mtime));
        }
        tree
    })
}

fn any_pattern() -> impl Strategy<Value = (String, Match)> {
    prop_oneof![
        ("(/|)(a|b|ab|a-|-b|long|txt|/|a/b|b/a)", Just(Match::Substring)),
        ("(/|)(a|b|a/b|a-b/a)", Just(Match::Exact)),
        ("(/|)(a|a/|a/b|l)", Just(Match::Prefix)),
        (r"(/|)(\*|a\*|\*b|\?|a/\*|\*\*/b|\[ab\]|a/\*\*)", Just(Match::Glob)),
        (r"(\^|)(a|b|[ab]\*|\.|\[\^a\]\+|a/b|\^/a|\\W|a\$)", Just(Match::Regex)),
    ]
}

/// What a pattern means, said the slow way, for the kinds the model judges.
fn fits(text: &str, how: Match, path: &[u8], kind: PathKind) -> Option<bool> {
    let name = path.rsplit(|&b| b == b'/').next().expect("a name");
    let trimmed = text.strip_suffix('/').filter(|t| !t.is_empty());
    if let (Some(trimmed), true) = (trimmed, how != Match::Prefix) {
        let is_dir = kind == PathKind::Directory;
        let whole = [path, b"/"].concat();
        return match how {
            Match::Substring => Some(is_dir && whole.ends_with(text.as_bytes())),
            _ => fits(trimmed, how, path, kind).map(|fits| fits && is_dir),
        };
    }
    let text = text.as_bytes();
    let at = text.iter().rposition(|&b| b == b'/');
    Some(match (how, at) {
        (Match::Substring, None) => name.windows(text.len()).any(|w| w == text),
        (Match::Substring, Some(at)) => {
            let front = path.len() - name.len();
            name.starts_with(&text[at + 1..]) && path[..front].ends_with(&text[..=at])
        }
        (Match::Exact, None) => name == text,
        (Match::Exact, Some(_)) if text[0] == b'/' => path == text,
        (Match::Exact, Some(_)) => path.ends_with(&[b"/", text].concat()),
        (Match::Prefix, None) => name.starts_with(text),
        (Match::Prefix, Some(_)) if text[0] == b'/' => path.starts_with(text),
        _ => return None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn the_cache_says_what_a_scan_of_every_snapshot_says(
        one in prop::collection::vec(any_tree(), 1..6),
        two in prop::collection::vec(any_tree(), 0..4),
        patterns in prop::collection::vec(any_pattern(), 6),
    ) {
        let (disk, mut shelf) = (SimDisk::new(), Shelf::default());
        filled(&disk, &mut shelf, &[(1, &one), (2, &two)]);
        let cache = opened(&disk);
        let known: BTreeSet<Fact> = model(1, &one).into_iter().chain(model(2, &two)).collect();
        let all = cache.find(&Pattern::all(), &Filter::default(), 0, 2).expect("searched");
        prop_assert_eq!(facts_of(&all), known.clone());
        for (text, how) in &patterns {
            let pattern = Pattern::new(text.as_bytes(), *how, false).expect("a pattern");
            let answer = cache.find(&pattern, &Filter::default(), 0, 2).expect("searched");
            let got = facts_of(&answer);
            let expected: Option<BTreeSet<Fact>> = known
                .iter()
                .filter_map(|f| match fits(text, *how, &f.0, f.1) {
                    Some(true) => Some(Some(f.clone())),
                    Some(false) => None,
                    None => Some(None),
                })
                .collect();
            if let Some(expected) = expected {
                prop_assert_eq!(&got, &expected, "{} as {:?}", text, how);
            }
            // Whatever the limit, an answer is the beginning of the whole one.
            for limit in [1, 3] {
                let some = cache.find(&pattern, &Filter::default(), limit, 2).expect("searched");
                let n = some.found.len();
                prop_assert_eq!(&some.found[..], &answer.found[..n]);
                prop_assert_eq!(n, limit.min(answer.found.len()));
                prop_assert!(some.more || n == answer.found.len());
            }
        }
    }

    /// An expression asked of a run of names finds what it finds asked of each name.
    #[test]
    fn a_run_of_names_is_searched_as_each_name_would_be(
        names in prop::collection::vec("[ab\\-. ]{1,6}", 1..12),
        text in r"(\^|\\b|)([ab]|\[\^a\]|\\W|\.|a\*|(a|b\.)|b\?)(\+|\*|)(\$|\\b|-|)",
    ) {
        let tree: Tree = names
            .iter()
            .map(|n| (vec![n.as_bytes().to_vec()], (PathKind::File, 1, 1)))
            .filter(|(p, _)| crate::entry::is_component(&p[0]))
            .collect();
        let (disk, mut shelf) = (SimDisk::new(), Shelf::default());
        filled(&disk, &mut shelf, &[(1, std::slice::from_ref(&tree))]);
        let alone = regex_automata::meta::Regex::new(&text).expect("an expression");
        let expected: BTreeSet<Vec<u8>> =
            tree.keys().filter(|p| alone.is_match(&p[0][..])).map(|p| full(p)).collect();
        let answer = find(&opened(&disk), &text, Match::Regex, &Filter::default());
        let got: BTreeSet<Vec<u8>> = answer.found.into_iter().map(|f| f.path).collect();
        prop_assert_eq!(got, expected, "{}", text);
    }
}

/// A tree of `dirs` directories with 12 files each.
fn wide(dirs: u64) -> Tree {
    let names: Vec<(String, u64)> = (0..dirs)
        .flat_map(|d| (0..12).map(move |f| (format!("d{:02}/e{d:04}/file-{f:02}.dat", d % 40), f)))
        .collect();
    tree(&names.iter().map(|(name, size)| (&name[..], *size)).collect::<Vec<_>>())
}

#[test]
fn only_pages_of_changed_directories_are_read() {
    let (disk, mut shelf) = (SimDisk::new(), Shelf::default());
    let mut rng = SeededRng::new(3);
    let mut tree = wide(2_000);
    let root = shelf.index(&tree);
    let mut cache = opened(&disk);
    let first = cache.ingest(&source(&shelf, 1, 0, &tree, root), &mut rng).expect("taken in");
    assert_eq!(first.rows, tree.len() as u64);
    tree.insert(path("d07/e0007/file-03.dat"), (PathKind::File, 99, 7));
    let root = shelf.index(&tree);
    let again = cache.ingest(&source(&shelf, 1, 1, &tree, root.clone()), &mut rng);
    let again = again.expect("taken in");
    assert!(again.pages * 20 <= first.pages, "{} of {} pages", again.pages, first.pages);
    assert_eq!(again.directories, 3);
    let same = cache.ingest(&source(&shelf, 1, 2, &tree, root), &mut rng).expect("taken in");
    assert_eq!(same, Ingested::default(), "an equal tree costs nothing");
    let answer = find(
        &cache,
        "file-03.dat",
        Match::Exact,
        &Filter { min_size: Some(90), ..Filter::default() },
    );
    assert_eq!(answer.found[0].snapshots, 2);
    assert!(cache.stats().segments <= 2, "{:?}", cache.stats());
}

#[test]
fn forged_indexes_are_refused_and_leave_the_cache_as_it_was() {
    let (disk, mut shelf) = (SimDisk::new(), Shelf::default());
    let mut rng = SeededRng::new(3);
    let tree = wide(300);
    let root = shelf.index(&tree);
    let mut cache = opened(&disk);
    let before = disk_bytes(&disk);
    let mut forged = source(&shelf, 1, 0, &tree, root.clone());
    forged.totals.files = tree.len() as u64 - 1;
    let refused = cache.ingest(&forged, &mut rng).expect_err("more than was signed");
    assert!(matches!(refused, IngestError::AboveTotals { .. }) && !refused.may_pass());
    let other_class = Source { class: 2, ..source(&shelf, 1, 0, &tree, root.clone()) };
    let refused = cache.ingest(&other_class, &mut rng).expect_err("another class");
    assert!(!refused.may_pass(), "{refused}");
    for id in shelf.objects.keys().copied().collect::<Vec<_>>() {
        let good = shelf.objects[&id].clone();
        let mut bad = good.clone();
        bad[good.len() / 2] ^= 1;
        shelf.objects.insert(id, bad);
        let source = source(&shelf, 1, 0, &tree, root.clone());
        cache.ingest(&source, &mut rng).expect_err("a page was altered");
        shelf.objects.insert(id, good);
    }
    let id = root.tree.root.id;
    let page = shelf.objects.remove(&id).expect("the root page");
    let missing = cache
        .ingest(&source(&shelf, 1, 0, &tree, root.clone()), &mut rng)
        .expect_err("a page is missing");
    assert!(missing.may_pass(), "it may come back");
    assert_eq!(cache.stats(), CacheStats::default());
    assert_eq!(disk_bytes(&disk).get("find/root"), before.get("find/root"));
    shelf.objects.insert(id, page);
    cache.ingest(&source(&shelf, 1, 0, &tree, root.clone()), &mut rng).expect("whole again");
    assert_eq!(disk_bytes(&disk).len(), 2, "nothing of the failed tries is left");
}

fn disk_bytes(disk: &SimDisk) -> BTreeMap<String, Vec<u8>> {
    let names = disk.list("find").expect("listed");
    let read = |name: String| {
        let path = format!("find/{name}");
        let file = disk.open(&path, OpenMode::Read).expect("there");
        let mut bytes = vec![0; file.len().expect("known") as usize];
        file.read_exact_at(0, &mut bytes).expect("read");
        (path, bytes)
    };
    names.into_iter().map(read).collect()
}

#[test]
fn no_byte_of_the_cache_can_be_changed_unnoticed_or_tells_a_name() {
    let (disk, mut shelf) = (SimDisk::new(), Shelf::default());
    let trees = [wide(20), tree(&[("secret-name-of-a-file", 1)])];
    filled(&disk, &mut shelf, &[(1, &trees[..1]), (2, &trees[1..])]);
    let everything = |disk: &SimDisk| {
        let cache = Cache::open(disk, "find", &KEY, OWNER)?;
        cache.find(&Pattern::all(), &Filter::default(), 0, 1).map(|answer| answer.found)
    };
    let good = everything(&disk).expect("whole");
    assert!(!good.is_empty());
    for (path, bytes) in disk_bytes(&disk) {
        assert!(!bytes.windows(11).any(|w| w == b"secret-name"), "{path} tells a name");
        let file = disk.open(&path, OpenMode::Write).expect("there");
        // The first 32 bytes of a segment are for people; its keys come from its name.
        let from = if path.ends_with(".seg") { 32 } else { 0 };
        for at in (from..bytes.len()).step_by(7) {
            file.write_at(at as u64, &[bytes[at] ^ 0x20]).expect("written");
            let refused = everything(&disk).expect_err(&format!("{path}, byte {at}"));
            assert!(matches!(refused, CacheError::Damaged { .. }), "{path}, byte {at}: {refused}");
            file.write_at(at as u64, &bytes[at..=at]).expect("written");
        }
        file.set_len(bytes.len() as u64 / 2).expect("cut");
        everything(&disk).expect_err("cut short");
        file.write_at(0, &bytes).expect("written");
    }
    assert_eq!(everything(&disk).expect("whole again"), good);
    for (key, owner) in [
        ([8; 32], OWNER),
        (KEY, Owner { operator: [3; 32], ..OWNER }),
        (KEY, Owner { fleet: FleetId([3; 32]), ..OWNER }),
    ] {
        let foreign = Cache::open(&disk, "find", &key, owner).err().expect("refused");
        assert!(matches!(foreign, CacheError::Damaged { .. }), "{foreign}");
    }
    Cache::anew(&disk, "find", &KEY, OWNER, &mut SeededRng::new(8)).expect("made anew");
    assert_eq!(everything(&disk).expect("empty"), []);
    assert_eq!(disk_bytes(&disk).len(), 1, "what was there is gone");
}

#[test]
fn many_snapshots_make_few_segments() {
    let (disk, mut shelf) = (SimDisk::new(), Shelf::default());
    let mut rng = SeededRng::new(11);
    let mut tree = wide(100);
    let mut trees = Vec::new();
    for n in 0..30 {
        let all: Vec<_> = tree.keys().cloned().collect();
        let at = rng.below(all.len() as u64) as usize;
        if tree[&all[at]].0 == PathKind::File {
            tree.insert(all[at].clone(), (PathKind::File, 1_000 + n, 5));
        }
        trees.push(tree.clone());
    }
    filled(&disk, &mut shelf, &[(1, &trees)]);
    let cache = opened(&disk);
    assert!(cache.stats().segments <= 5, "{:?}", cache.stats());
    assert_eq!(cache.stats().snapshots, 30);
    let all = cache.find(&Pattern::all(), &Filter::default(), 0, 2).expect("searched");
    assert_eq!(facts_of(&all), model(1, &trees).into_iter().collect());
    let mut bytes = [0; 4];
    rng.fill(&mut bytes);
}
