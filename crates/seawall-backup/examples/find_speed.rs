//! How long finding takes: 10 million paths in 100 snapshots, of which 1 % of the directories
//! change from one to the next; all generated, the same each time.
//!
//! `cargo run --release -p seawall-backup --example find_speed -- [--paths N] [--snapshots N]
//! [--dir DIR] [--runs N]`
//!
//! Every question is asked by a process of its own, started for it: what is measured is from
//! before it opens the cache until it has the answer, and beside it from its start to its end.
//! Nothing is held between questions but what the kernel holds of the file. The time of all
//! processors stands beside it: on a machine that is busy otherwise, it says more. `--dir` keeps
//! the cache, and takes one that is there.

#![allow(clippy::print_stdout)] // The figures are its result.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::convert::Infallible;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::RwLock;
use std::time::{Duration, Instant};

use seawall_backup::find::{Cache, Filter, LineId, Match, Owner, Pattern, SnapshotFacts, Source};
use seawall_backup::path_index::{Indexed, PathEntry, PathIndexRoot, PathIndexWriter, PathKind};
use seawall_backup::restore::{FetchError, Objects};
use seawall_base::{FleetId, NodeId, ObjectId, Sha256, Timestamp};
use seawall_host::FsDisk;
use seawall_record::Totals;
use seawall_seal::{Domain, DomainScope, Kind, ObjectRef, Placement, seal};
use seawall_sim::SeededRng;

const CLASS: u8 = 1;
const KEY: [u8; 32] = [9; 32];
const OWNER: Owner = Owner { fleet: FleetId([1; 32]), operator: [2; 32] };
const START: i64 = 1_760_000_000;

/// What is asked. The goals: 100 ms for the first seven, 2 s for the expressions.
const QUESTIONS: [(&str, &str, Match, bool); 14] = [
    ("exact path", "", Match::Exact, false),
    ("exact name", "tsconfig-4711.json", Match::Exact, false),
    ("path prefix", "/srv/projects/app-0042/", Match::Prefix, false),
    ("name prefix", "IMG_20240229_", Match::Prefix, false),
    ("substring, rare", "4711_0815", Match::Substring, false),
    ("substring, common (1000 shown)", "index", Match::Substring, false),
    ("substring, nowhere", "no-such-name", Match::Substring, false),
    ("substring in the path", "node_modules/lodash-merge/pack", Match::Substring, false),
    ("substring, ignoring case", "img_20240229_11", Match::Substring, true),
    ("glob", "*-4711.t[sx]*", Match::Glob, false),
    ("glob of a path", "/home/*/mail/**/*1234:2,S", Match::Glob, false),
    ("expression", r"^IMG_2024\d{4}_1[0-9]00.*\.jpe?g$", Match::Regex, false),
    ("expression without a literal", r"[0-9]{5}[a-f]{3}[0-9]{4}\.[hc]$", Match::Regex, false),
    ("expression of a path", r"/app-00[0-9]2/.*/(chart|query)[^/]*\.d\.ts$", Match::Regex, false),
];

fn main() -> Result<(), Box<dyn Error>> {
    let mut options = Options::default();
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--paths" => options.paths = value.parse()?,
            "--snapshots" => options.snapshots = value.parse()?,
            "--runs" => options.runs = value.parse()?,
            "--dir" => options.dir = Some(value.into()),
            "--ask" => options.ask = Some(value.parse()?),
            other => return Err(format!("{other} is no option").into()),
        }
    }
    let temporary;
    let dir = if let Some(dir) = &options.dir {
        std::fs::create_dir_all(dir)?;
        dir.clone()
    } else {
        temporary = tempfile::tempdir_in(".")?;
        temporary.path().to_owned()
    };
    if let Some(number) = options.ask {
        return ask(&dir, number);
    }
    if !dir.join("find/root").exists() {
        build(&dir, &options)?;
    }
    measure(&dir, &options)
}

#[derive(Clone)]
struct Options {
    paths: u64,
    snapshots: u64,
    runs: usize,
    dir: Option<PathBuf>,
    ask: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self { paths: 10_000_000, snapshots: 100, runs: 9, dir: None, ask: None }
    }
}

/// Sealed pages.
#[derive(Default)]
struct Shelf(RwLock<HashMap<ObjectId, Vec<u8>>>);

impl Objects for Shelf {
    fn get(&self, ids: &[ObjectId], give: &mut dyn FnMut(ObjectId, Result<Vec<u8>, FetchError>)) {
        let pages = self.0.read().expect("no holder panics");
        for &id in ids {
            give(id, pages.get(&id).cloned().ok_or(FetchError::Missing(id)));
        }
    }
}

impl Shelf {
    fn seal(&self, domain: &Domain, page: &[u8], sealed_bytes: &mut u64) -> ObjectRef {
        let placement = Placement { kind: Kind::PathIndex, class: CLASS };
        let sealed = seal(domain, placement, page, &mut SeededRng::new(1)).expect("a page");
        let id = sealed.object_ref.id;
        let mut pages = self.0.write().expect("no holder panics");
        if let Entry::Vacant(free) = pages.entry(id) {
            *sealed_bytes += sealed.bytes.len() as u64;
            free.insert(sealed.bytes.into_bytes());
        }
        sealed.object_ref
    }
}

/// A directory of the model; files by name.
struct Dir {
    name: Vec<u8>,
    parent: usize,
    mtime: i64,
    files: Vec<(Vec<u8>, u64, i64)>,
    below: Vec<usize>,
    indexed: Option<Indexed>,
}

struct Tree {
    dirs: Vec<Dir>,
    rng: SeededRng,
    paths: u64,
}

const WORDS: [&str; 24] = [
    "lodash", "merge", "parse", "query", "chart", "react", "router", "stream", "buffer", "hash",
    "webpack", "loader", "babel", "plugin", "types", "config", "async", "events", "color", "table",
    "mobile", "server", "client", "utils",
];

impl Tree {
    fn of(paths: u64) -> Self {
        let root = Dir {
            name: Vec::new(),
            parent: 0,
            mtime: START,
            files: Vec::new(),
            below: Vec::new(),
            indexed: None,
        };
        let mut tree = Self { dirs: vec![root], rng: SeededRng::new(4_711), paths: 0 };
        let [srv, home, usr] = ["srv", "home", "usr"].map(|name| tree.dir(0, name.to_owned()));
        let projects = tree.dir(srv, "projects".to_owned());
        let share = tree.dir(usr, "share".to_owned());
        for n in 0.. {
            tree.project(projects, n);
            tree.person(home, n);
            tree.package(share, n);
            if tree.paths >= paths {
                return tree;
            }
        }
        tree
    }

    fn below(&mut self, n: u64) -> u64 {
        self.rng.below(n)
    }

    fn word(&mut self) -> &'static str {
        WORDS[self.rng.below(WORDS.len() as u64) as usize]
    }

    fn dir(&mut self, parent: usize, name: String) -> usize {
        let (at, mtime) = (self.dirs.len(), START + self.rng.below(30_000_000).cast_signed());
        let name = name.into_bytes();
        let (files, below, indexed) = (Vec::new(), Vec::new(), None);
        self.dirs.push(Dir { name, parent, mtime, files, below, indexed });
        self.dirs[parent].below.push(at);
        self.paths += 1;
        at
    }

    fn file(&mut self, dir: usize, name: String) {
        let (size, mtime) = (self.below(200_000), START + self.below(30_000_000).cast_signed());
        self.dirs[dir].files.push((name.into_bytes(), size, mtime));
        self.paths += 1;
    }

    /// A program with its dependencies.
    fn project(&mut self, parent: usize, n: u64) {
        let app = self.dir(parent, format!("app-{n:04}"));
        for name in ["package.json", "package-lock.json", "README.md", ".gitignore"] {
            self.file(app, name.to_owned());
        }
        self.file(app, format!("tsconfig-{n}.json"));
        let modules = self.dir(app, "node_modules".to_owned());
        for m in 0..180 {
            let name = format!("{}-{}", self.word(), self.word());
            let package = self.dir(modules, if m < 90 { name } else { format!("{name}-{m}") });
            for name in ["package.json", "README.md", "LICENSE", "index.js", "index.d.ts"] {
                self.file(package, name.to_owned());
            }
            for part in ["dist", "lib"] {
                let part = self.dir(package, part.to_owned());
                for f in 0..self.below(12) {
                    let (a, b) = (self.word(), self.word());
                    let end = ["js", "js.map", "d.ts", "mjs"][(f % 4) as usize];
                    self.file(part, format!("{a}-{b}{f}.{end}"));
                }
            }
        }
        let source = self.dir(app, "src".to_owned());
        for d in 0..20 {
            let name = format!("{}{d}", self.word());
            let part = self.dir(source, name);
            for f in 0..14 {
                let (a, number) = (self.word(), self.below(9_000));
                self.file(part, format!("{a}-{number}.{}", ["ts", "tsx", "css"][f % 3]));
            }
        }
    }

    /// Somebody's photographs and letters.
    fn person(&mut self, parent: usize, n: u64) {
        let home = self.dir(parent, format!("user{n:05}"));
        let photos = self.dir(home, "Pictures".to_owned());
        for month in 1..=12 {
            let album = self.dir(photos, format!("2024-{month:02}"));
            for day in 1..=28 {
                let (h, m, s) = (self.below(24), self.below(60), self.below(60));
                self.file(
                    album,
                    format!("IMG_2024{month:02}{:02}_{h:02}{m:02}{s:02}.jpg", day + 1),
                );
            }
        }
        let mail = self.dir(home, "mail".to_owned());
        for folder in ["cur", "new", "archive"] {
            let folder = self.dir(mail, folder.to_owned());
            for _ in 0..150 {
                let (t, m, p) = (self.below(99_999_999), self.below(999_999), self.below(99_999));
                let size = self.below(99_999);
                self.file(folder, format!("16{t:08}.M{m}P{p}.host,S={size}:2,S"));
            }
        }
    }

    /// An installed package.
    fn package(&mut self, parent: usize, n: u64) {
        let name = format!("{}-{}{n}", self.word(), self.word());
        let top = self.dir(parent, name);
        for d in 0..30 {
            let part = self.dir(top, format!("{}{d}", WORDS[d % WORDS.len()]));
            for _ in 0..9 {
                let (a, b) = (self.word(), self.below(u64::MAX));
                self.file(part, format!("{a}_{:04}_{:012x}.h", b % 10_000, b >> 16));
            }
        }
    }

    /// Changes 1 % of the directories and marks what has to be listed again.
    fn change(&mut self, snapshot: u64) {
        let now = START + 40_000_000 + snapshot.cast_signed() * 86_400;
        for _ in 0..self.dirs.len() / 100 {
            let at = self.below(self.dirs.len() as u64) as usize;
            let pick = self.below(10);
            let dir = &mut self.dirs[at];
            dir.mtime = now;
            match pick {
                0 => drop(dir.files.pop()),
                1 => dir.files.push((format!("new-{snapshot}-{at}.txt").into_bytes(), 5, now)),
                _ => {
                    if let Some(file) = dir.files.first_mut() {
                        (file.1, file.2) = (file.1 + 1, now);
                    }
                }
            }
            let mut stale = at;
            while self.dirs[stale].indexed.take().is_some() && stale != 0 {
                stale = self.dirs[stale].parent;
            }
        }
    }

    /// Lists what is stale, as a snapshot does: children before parents.
    fn index(&mut self, pages: &Shelf, domain: &Domain) -> (PathIndexRoot, u64) {
        let writer = PathIndexWriter::new(domain);
        let mut sealed = 0;
        let mut seal = |page: &[u8]| Ok::<_, Infallible>(pages.seal(domain, page, &mut sealed));
        // Parents stand before their children.
        for at in (0..self.dirs.len()).rev() {
            if self.dirs[at].indexed.is_some() {
                continue;
            }
            let dir = &self.dirs[at];
            let file = |(name, size, mtime): &(Vec<u8>, u64, i64)| PathEntry {
                name: name.clone(),
                kind: PathKind::File,
                size: *size,
                mtime: *mtime,
                listing: None,
            };
            let below = |&child: &usize| {
                let child = &self.dirs[child];
                let listing = child.indexed.as_ref().map(|i| i.listing.clone());
                let (name, mtime) = (child.name.clone(), child.mtime);
                PathEntry { name, kind: PathKind::Directory, size: 0, mtime, listing }
            };
            let files = dir.files.iter().map(file);
            let mut entries: Vec<_> = files.chain(dir.below.iter().map(below)).collect();
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            entries.dedup_by(|a, b| a.name == b.name);
            let Ok(listing) = writer.directory(&entries, &mut seal);
            self.dirs[at].indexed = Some(Indexed::new(listing, [0; 16]));
        }
        let top = self.dirs[0].indexed.clone().expect("just listed");
        let Ok(tree) = writer.root(top.listing, &mut seal);
        (PathIndexRoot { line: [4; 32], tree }, sealed)
    }
}

/// Snapshot number `n`, which says that it has so many files.
fn source(n: u64, root: PathIndexRoot, files: u64, shelf: &Shelf) -> Source<'_> {
    Source {
        line: LineId {
            origin: "a log".to_owned(),
            node: NodeId([1; 32]),
            node_name: "node-1".to_owned(),
            line: [4; 32],
        },
        facts: SnapshotFacts {
            digest: Sha256::of(&n.to_le_bytes()),
            sequence: n + 1,
            created: Timestamp(START.unsigned_abs() + n * 86_400),
        },
        class: CLASS,
        totals: Totals { files, ..Totals::default() },
        root,
        objects: shelf,
    }
}

fn build(dir: &Path, options: &Options) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let mut tree = Tree::of(options.paths);
    println!(
        "{} paths, {} directories, made in {:.1?}",
        tree.paths,
        tree.dirs.len(),
        start.elapsed()
    );
    let (shelf, mut rng) = (Shelf::default(), SeededRng::new(5));
    let domain = Domain::derive(&[7; 32], DomainScope::PathIndex);
    let disk = FsDisk::create(dir)?;
    let mut cache = Cache::open(&disk, "find", &KEY, OWNER)?;
    let mut rest = (Duration::ZERO, Duration::ZERO, 0, 0, 0);
    for n in 0..options.snapshots {
        if n > 0 {
            tree.change(n);
        }
        let start = Instant::now();
        let (root, sealed) = tree.index(&shelf, &domain);
        let indexed = start.elapsed();
        let source = source(n, root, 2 * tree.paths, &shelf);
        let start = Instant::now();
        let done = cache.ingest(&source, &mut rng)?;
        let taken = start.elapsed();
        if n == 0 {
            println!(
                "first: index written in {indexed:.1?} ({} MiB sealed), taken in {taken:.1?} ({} pages, {} rows)",
                sealed >> 20,
                done.pages,
                done.rows
            );
        } else {
            rest.0 += indexed;
            rest.1 += taken;
            rest.2 += done.pages;
            rest.3 += done.rows;
            rest.4 += sealed;
        }
    }
    let others = u32::try_from(options.snapshots.saturating_sub(1).max(1))?;
    println!(
        "each later one: index written in {:.1?} ({} MiB sealed), taken in {:.1?} ({} pages, {} rows)",
        rest.0 / others,
        (rest.4 / u64::from(others)) >> 20,
        rest.1 / others,
        rest.2 / u64::from(others),
        rest.3 / u64::from(others)
    );
    let bytes: u64 = std::fs::read_dir(dir.join("find"))?
        .map(|entry| Ok::<_, std::io::Error>(entry?.metadata()?.len()))
        .sum::<Result<u64, _>>()?;
    println!("cache: {} MiB, {:?}", bytes >> 20, cache.stats());
    Ok(())
}

/// Asks one question in this process, and tells how long it took in microseconds.
fn ask(dir: &Path, number: usize) -> Result<(), Box<dyn Error>> {
    let (_, text, how, ignore_case) = QUESTIONS[number];
    let exact;
    let text = if text.is_empty() {
        exact = "/home/user00017/Pictures/2024-03".to_owned();
        &exact
    } else {
        text
    };
    let start = Instant::now();
    let disk = FsDisk::create(dir)?;
    let cache = Cache::open(&disk, "find", &KEY, OWNER)?;
    let opened = start.elapsed();
    let pattern = Pattern::new(text.as_bytes(), how, ignore_case)?;
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let answer = cache.find(&pattern, &Filter::default(), 1_000, threads)?;
    let took = start.elapsed();
    let (opened, took, spent) = (opened.as_micros(), took.as_micros(), processor().as_micros());
    println!("{opened} {took} {spent} {} {}", answer.found.len(), answer.more);
    Ok(())
}

/// Time all processors have spent for this process since it was started.
fn processor() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(spent.tv_sec.unsigned_abs(), spent.tv_nsec.unsigned_abs() as u32)
}

fn measure(dir: &Path, options: &Options) -> Result<(), Box<dyn Error>> {
    println!("milliseconds: median (and worst) of {} processes, page cache warm", options.runs);
    println!(
        "{:<34} {:>6} {:>16} {:>16} {:>10} {:>8}",
        "", "open", "open and find", "whole process", "processor", "found"
    );
    for (number, (name, ..)) in QUESTIONS.iter().enumerate() {
        let [mut opened, mut found, mut process, mut spent] = [const { Vec::new() }; 4];
        let mut said = String::new();
        for run in 0..=options.runs {
            let start = Instant::now();
            let mut command = Command::new(std::env::current_exe()?);
            let out =
                command.arg("--dir").arg(dir).args(["--ask", &number.to_string()]).output()?;
            let took = start.elapsed();
            if !out.status.success() {
                return Err(String::from_utf8_lossy(&out.stderr).into());
            }
            said = String::from_utf8(out.stdout)?;
            let figures: Vec<u64> =
                said.split(' ').take(3).map(str::parse).collect::<Result<_, _>>()?;
            // The first one warms the page cache.
            if run > 0 {
                opened.push(Duration::from_micros(figures[0]));
                found.push(Duration::from_micros(figures[1]));
                spent.push(Duration::from_micros(figures[2]));
                process.push(took);
            }
        }
        let mut words = said.split_whitespace().skip(3);
        let (count, more) = (words.next().unwrap_or("?"), words.next() == Some("true"));
        println!(
            "{name:<34} {:>6} {:>16} {:>16} {:>10} {:>8}",
            middle(&mut opened),
            figure(&mut found),
            figure(&mut process),
            middle(&mut spent),
            format!("{count}{}", if more { "+" } else { "" })
        );
    }
    Ok(())
}

fn millis(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1_000.0)
}

fn middle(times: &mut [Duration]) -> String {
    times.sort_unstable();
    times.get(times.len() / 2).map_or_else(String::new, |t| millis(*t))
}

fn figure(times: &mut [Duration]) -> String {
    let middle = middle(times);
    times.last().map_or(middle.clone(), |worst| format!("{middle} ({})", millis(*worst)))
}
