//! What the disks of a node and a region hold after a run: no name, no content, no key that
//! opens what was there before.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use seawall_base::ObjectId;
use seawall_escrow::{ShareFile, ShareSecret};
use seawall_host::OsRng;
use seawall_seal::{Domain, DomainScope, Kind, Placement, padme};

use super::stopped;
use crate::harness::{Fleet, PASSPHRASE, Region, arg, noise, said, seawall};

/// Names and contents that appear nowhere but in the tree below.
const FILES: [(&str, &str); 4] = [
    ("quarterly-ledger.txt", "balance carried forward: 8,412,995.17 in the third quarter"),
    ("kündigung-entwurf.odt", "sehr geehrte damen und herren, hiermit kündige ich fristgerecht"),
    ("directory-of-secrets/patients.csv", "surname;given name;diagnosis;admitted"),
    ("directory-of-secrets/.hidden-token", "ghp_thisIsNotARealTokenButLooksLikeOne0001"),
];

/// A file that becomes one chunk: a byte above the size of bundled files, so that the first place
/// where it could be cut is its end.
const CHUNK: (&str, usize) = ("one-chunk-of-noise.bin", (128 << 10) + 1);

pub(super) struct Run {
    pub(super) fleet: Fleet,
    pub(super) region: Region,
    pub(super) tree: PathBuf,
    /// Everything on stderr, logged at the highest level.
    log: String,
}

impl Run {
    /// Snapshot, sync, request, approvals, restore, each as loud as it can be.
    pub(super) fn new() -> Self {
        let fleet = Fleet::found();
        let region = fleet.region("region");
        let tree = tree(&fleet.path("the-source-directory"));
        let mut run = Self { fleet, region, tree, log: String::new() };
        run.snapshot();
        let id = run.loud(&["snapshot", "list", "--json"]);
        let id: serde_json::Value = serde_json::from_str(&id).expect("JSON");
        let id = id[0]["id"].as_str().expect("an id").to_owned();
        run.loud(&["sync"]);
        let [request, a, b, to] =
            ["request", "a", "b", "restored"].map(|name| run.fleet.path(name));
        run.loud(&["restore", "request", &id, "--reason", "test", "--out", arg(&request)]);
        for (out, share) in [&a, &b].into_iter().zip(run.fleet.shares()) {
            let args = ["restore", "approve", arg(&request), "--share", arg(&share), "--yes"];
            run.loud(&[&args[..], &["--out", arg(out)]].concat());
        }
        let args = ["restore", "run", arg(&request), "--approval", arg(&a), "--approval", arg(&b)];
        run.loud(&[&args[..], &["--to", arg(&to), "--privileged"]].concat());
        crate::harness::assert_same(&run.tree, &crate::harness::restored(&to, &run.tree));
        run
    }

    pub(super) fn snapshot(&mut self) {
        let tree = self.tree.clone();
        self.loud(&["snapshot", "create", arg(&tree)]);
    }

    pub(super) fn loud(&mut self, args: &[&str]) -> String {
        let mut command = seawall();
        command.env("SEAWALL_HOME", self.fleet.home()).args(args).arg("-vvv");
        let said = said(&mut command).ok();
        self.log.push_str(&said.stderr);
        said.stdout
    }

    /// The homes of node and region.
    pub(super) fn homes(&self) -> [PathBuf; 2] {
        [self.fleet.home(), self.region.home.clone()]
    }

    /// What the share files guard.
    pub(super) fn share_secrets(&self) -> Vec<ShareSecret> {
        let open = |path: &PathBuf| {
            let file = ShareFile::parse(&read(path)).expect("a share");
            file.open(PASSPHRASE.as_bytes()).expect("opens")
        };
        self.fleet.shares().iter().take(2).map(open).collect()
    }
}

fn tree(root: &Path) -> PathBuf {
    std::fs::create_dir_all(root.join("directory-of-secrets")).expect("created");
    for (name, content) in FILES {
        std::fs::write(root.join(name), content).expect("written");
    }
    std::fs::write(root.join("bundled-small-file"), masked(20_000, 1)).expect("written");
    let rows = "row of a long table that compresses well; ".repeat(9_000);
    std::fs::write(root.join("compressible-table"), rows).expect("written");
    std::fs::write(root.join(CHUNK.0), chunk()).expect("written");
    std::fs::write(root.join("several-chunks"), masked(3 << 20, 2)).expect("written");
    std::os::unix::fs::symlink("where-the-link-points", root.join("symlink-name")).expect("linked");
    root.to_owned()
}

pub(super) fn chunk() -> Vec<u8> {
    masked(CHUNK.1, 3)
}

/// Noise that shares no run of bytes with noise under another mask.
pub(super) fn masked(len: usize, mask: u8) -> Vec<u8> {
    noise(len).into_iter().map(|b| b ^ mask).collect()
}

pub(super) fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub(super) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).expect("readable") {
            let path = entry.expect("readable").path();
            if path.symlink_metadata().expect("there").is_dir() {
                open.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files
}

/// Byte strings to look for, each with what it is.
#[derive(Default)]
pub(super) struct Needles(HashMap<[u8; 4], Vec<(Vec<u8>, String)>>);

impl Needles {
    /// Adds a needle of at least six bytes.
    fn add(&mut self, bytes: &[u8], what: &str) {
        assert!(bytes.len() >= 6, "{what} is too short to look for");
        let head = bytes[..4].try_into().expect("four bytes");
        self.0.entry(head).or_default().push((bytes.to_vec(), what.to_owned()));
    }

    /// Adds a secret as it may be written: raw, in base64, in hex.
    pub(super) fn add_secret(&mut self, secret: &[u8], what: &str) {
        self.add(secret, what);
        self.add(hex::encode(secret).as_bytes(), &format!("{what} in hex"));
        // The last digit depends on padding.
        let text = BASE64.encode(secret);
        self.add(&text.as_bytes()[..text.len() - 1], &format!("{what} in base64"));
    }

    /// What of this `haystack` holds, also inside base64.
    pub(super) fn found(&self, haystack: &[u8]) -> HashSet<String> {
        &self.found_as_is(haystack) | &self.found_as_is(&unpacked(haystack))
    }

    /// What of this `haystack` holds as it is.
    pub(super) fn found_as_is(&self, haystack: &[u8]) -> HashSet<String> {
        let mut found = HashSet::new();
        for (at, head) in haystack.windows(4).enumerate() {
            let head: &[u8; 4] = head.try_into().expect("four bytes");
            for (needle, what) in self.0.get(head).into_iter().flatten() {
                if haystack[at..].starts_with(needle) {
                    found.insert(what.clone());
                }
            }
        }
        found
    }
}

/// Every stretch of at least 24 base64 digits, decoded: statements carry their payload so.
fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let digit = |b: &u8| b.is_ascii_alphanumeric() || b"+/".contains(b);
    let mut out = Vec::new();
    for run in bytes.split(|b| !digit(b)).filter(|run| run.len() >= 24) {
        let whole = &run[..run.len() / 4 * 4];
        out.extend(BASE64.decode(whole).expect("only digits"));
        out.push(b'\n');
    }
    out
}

/// Names, path and content samples of a tree.
pub(super) fn plaintext(tree: &Path) -> Needles {
    let mut needles = Needles::default();
    needles.add(tree.as_os_str().as_encoded_bytes(), "the source path");
    needles.add(b"the-source-directory", "the source's name");
    needles.add(b"where-the-link-points", "a link's target");
    for path in files(tree) {
        let name = path.file_name().expect("a name").as_encoded_bytes();
        let shown = path.display().to_string();
        needles.add(name, &format!("name {shown}"));
        if path.is_symlink() {
            continue;
        }
        let content = read(&path);
        let step = (content.len() / 200).max(1);
        for window in content.windows(16).step_by(step) {
            needles.add(window, &format!("content of {shown}"));
        }
    }
    needles.add(b"directory-of-secrets", "a directory's name");
    needles
}

#[test]
fn no_plaintext_and_no_custodian_secret_is_on_the_disks() {
    let run = Run::new();
    let mut needles = plaintext(&run.tree);
    needles.add_secret(PASSPHRASE.as_bytes(), "the passphrase");
    for secret in run.share_secrets() {
        needles.add_secret(secret.share.to_bytes().as_slice(), "a share");
        needles.add_secret(secret.signing_seed.as_slice(), "a custodian's signing key");
    }
    // The search finds what is there: in the tree itself, and inside a statement's base64.
    for there in [chunk(), BASE64.encode(FILES[0].1).into_bytes()] {
        assert_eq!(needles.found(&there).len(), 1);
    }
    let mut of_the_log = Needles::default();
    of_the_log.add(b"urn:seawall:predicate:", "a statement");
    assert!(!of_the_log.found(&read(&run.fleet.home().join("log/entries"))).is_empty());
    for home in run.homes() {
        let mut searched = 0;
        for path in files(&home) {
            let bytes = read(&path);
            let found = needles.found(&bytes);
            assert!(found.is_empty(), "{} holds {found:?}", path.display());
            let name = path.strip_prefix(&home).expect("below").as_os_str().as_encoded_bytes();
            assert!(needles.found(name).is_empty(), "{} tells by its name", path.display());
            searched += bytes.len();
        }
        assert!(searched > 3 << 20, "{}: only {searched} bytes", home.display());
        stopped(&format!("sealing: of names, contents and secrets, none is in {searched} bytes"));
    }
}

/// A sealed object, or a page of a reference set, as a zone holds it.
pub(super) struct Stored {
    pub(super) id: ObjectId,
    pub(super) body: Vec<u8>,
}

/// Reads every zone below `home` by `docs/formats/zone.md` and nothing else.
pub(super) fn stored(home: &Path) -> Vec<Stored> {
    let mut out = Vec::new();
    for path in files(home).iter().filter(|p| p.extension().is_some_and(|e| e == "zone")) {
        let bytes = read(path);
        let mut at = 64;
        while bytes[at..].starts_with(b"\xe5SWr") {
            let field = |from: usize| {
                let field = bytes[at + from..at + from + 4].try_into().expect("four bytes");
                u32::from_le_bytes(field) as usize
            };
            let (kind, flags, len) = (bytes[at + 4], bytes[at + 5], field(16));
            let is_object = kind == 1;
            let header = if is_object && flags & 1 == 1 { 112 } else { 80 };
            let body = bytes[at + header..at + header + len].to_vec();
            if is_object {
                let id = ObjectId(bytes[at + 32..at + 64].try_into().expect("32 bytes"));
                assert_eq!(ObjectId::of(&body), id, "an object is named by its bytes");
                out.push(Stored { id, body });
            }
            at = (at + header + len).next_multiple_of(8);
            if at >= bytes.len() {
                break;
            }
        }
    }
    out
}

pub(super) fn sealed(home: &Path) -> Vec<Stored> {
    let mut all = stored(home);
    all.retain(|o| o.body[0] == seawall_seal::SUITE);
    all
}

#[test]
fn sizes_in_the_region_are_padded() {
    const OVERHEAD: usize = 1 + 32 + 16;
    let run = Run::new();
    let [node, region] = run.homes();
    let objects = sealed(&region);
    assert!(objects.len() >= 8, "{} objects", objects.len());
    for object in &objects {
        let len = object.body.len() - OVERHEAD;
        assert_eq!(padme(len), len, "object {} tells its length", object.id);
    }
    let ids = |objects: &[Stored]| objects.iter().map(|o| o.id.to_hex()).collect::<HashSet<_>>();
    assert_eq!(ids(&stored(&node)), ids(&stored(&region)), "the region has what the node has");
}

/// Tries keys against objects by the commitment each object begins with.
pub(super) struct Locks {
    by_commitment: HashMap<[u8; 32], ObjectId>,
    commitment: blake3::Hasher,
    key: blake3::Hasher,
}

impl Locks {
    pub(super) fn new(objects: &[Stored]) -> Self {
        let commitment = |o: &Stored| o.body[1..33].try_into().expect("32 bytes");
        Self {
            by_commitment: objects.iter().map(|o| (commitment(o), o.id)).collect(),
            commitment: blake3::Hasher::new_derive_key("seawall 2026-11 object key commitment v1"),
            key: blake3::Hasher::new_derive_key("seawall 2026-11 object key v1"),
        }
    }

    /// The object that `key` opens.
    fn opened_by(&self, key: &[u8]) -> Option<ObjectId> {
        let commitment = self.commitment.clone().update(key).finalize();
        self.by_commitment.get(commitment.as_bytes()).copied()
    }

    /// The object that any 32 bytes of `bytes` open, as a key or as the hash behind a key.
    pub(super) fn opened_by_any(&self, bytes: &[u8]) -> Option<ObjectId> {
        bytes.windows(32).find_map(|window| {
            let derived = self.key.clone().update(window).finalize();
            self.opened_by(window).or_else(|| self.opened_by(derived.as_bytes()))
        })
    }
}

#[test]
fn nothing_kept_opens_what_was_deleted() {
    let mut run = Run::new();
    let home = run.fleet.home();
    let earlier = sealed(&home);
    let locks = Locks::new(&earlier);
    std::fs::remove_dir_all(&run.tree).expect("the inputs are deleted");
    std::fs::remove_dir_all(run.fleet.path("restored")).expect("the restored copy, too");
    std::fs::create_dir(&run.tree).expect("created");
    std::fs::write(run.tree.join("after"), masked(50_000, 4)).expect("written");
    run.snapshot();
    run.loud(&["sync"]);
    assert!(sealed(&home).len() > earlier.len());

    // The check can succeed: whoever has the tenant's secret *and* the plaintext has the key.
    let tenant = tenant_secret(&home);
    let domain = Domain::derive(&tenant, DomainScope::Tenant);
    let placement = Placement { kind: Kind::Chunk, class: 1 };
    let guess = seawall_seal::seal(&domain, placement, &chunk(), &mut OsRng).expect("sealed");
    let opened = locks.opened_by_any(guess.object_ref.key.expose());
    let sizes: Vec<_> = earlier.iter().map(|o| o.body.len()).collect();
    assert_eq!(opened, Some(guess.object_ref.id), "a guess is confirmed, of objects {sizes:?}");

    for path in files(&home) {
        let bytes = read(&path);
        for text in [&bytes, &unpacked(&bytes)] {
            let opened = locks.opened_by_any(text);
            assert_eq!(opened, None, "{} holds a key", path.display());
        }
    }
    // Nor does the secret alone, by any of its own derivations.
    let chunker = domain.chunker_secret().expect("a domain with a secret");
    let mut root = blake3::Hasher::new_derive_key("seawall 2026-11 dedup domain v1");
    let root = root.update(&tenant).update(&[0]).finalize();
    for secret in [&tenant, &chunker, root.as_bytes()] {
        assert_eq!(locks.opened_by_any(secret), None);
        for object in &earlier {
            let keyed = blake3::keyed_hash(secret, object.id.as_bytes());
            assert_eq!(locks.opened_by_any(keyed.as_bytes()), None, "{}", object.id);
        }
    }
    let objects = earlier.len();
    stopped(&format!("keys derived from content: no 32 bytes of the disk open any of {objects}"));
}

fn key_of(path: &Path) -> Vec<u8> {
    let json: serde_json::Value = serde_json::from_slice(&read(path)).expect("a key file");
    let text = json["secret"].as_str().expect("a secret").trim_end_matches('=').to_owned();
    BASE64.decode(text).expect("base64")
}

pub(super) fn tenant_secret(home: &Path) -> [u8; 32] {
    key_of(&home.join("keys/tenant.key")).try_into().expect("32 bytes")
}

#[test]
fn the_loudest_log_tells_no_secret() {
    let run = Run::new();
    assert!(run.log.contains("TRACE") || run.log.contains("DEBUG"), "the log is loud: {}", run.log);
    let mut needles = Needles::default();
    needles.add_secret(PASSPHRASE.as_bytes(), "the passphrase");
    let home = run.fleet.home();
    let mut keys = 0;
    for path in files(&home).iter().filter(|p| p.extension().is_some_and(|e| e == "key")) {
        needles.add_secret(&key_of(path), &path.display().to_string());
        keys += 1;
    }
    assert!(keys >= 7, "{keys} keys");
    for secret in run.share_secrets() {
        needles.add_secret(secret.share.to_bytes().as_slice(), "a share");
        needles.add_secret(secret.signing_seed.as_slice(), "a custodian's signing key");
    }
    let domain = Domain::derive(&tenant_secret(&home), DomainScope::Tenant);
    let placement = Placement { kind: Kind::Chunk, class: 1 };
    let object = seawall_seal::seal(&domain, placement, &chunk(), &mut OsRng).expect("sealed");
    needles.add_secret(object.object_ref.key.expose(), "an object's key");
    let log = read(&run.region.home.join("test-stderr.log"));
    for log in [run.log.as_bytes(), &log] {
        assert_eq!(needles.found(log), HashSet::new());
    }
    // Nor do people without the passphrase variable find it in a failure.
    let args = ["snapshot", "show", "ffffffff", "-vvv"];
    let failed = crate::harness::run(&home, &args).code(1);
    assert_eq!(needles.found(failed.stderr.as_bytes()), HashSet::new());
    let bytes = run.log.len() + log.len();
    stopped(&format!("secrets that no line carries, of {bytes} bytes of logs"));
}
