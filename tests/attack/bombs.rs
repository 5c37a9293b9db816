//! Snapshots made to explode, written by whoever holds a node's keys: signed, logged, approved by
//! a quorum that could not see inside, and still harmless to whoever restores them.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use seawall_backup::chunker::CHUNKER_ID;
use seawall_backup::entry::{Content, Entry, EntryKind, List, Meta};
use seawall_backup::pages::{ListWriter, RootPage, Stretch, encode_entry};
use seawall_base::wire::Writer;
use seawall_base::{Clock as _, Disk, Rng as _};
use seawall_escrow::{Capsule, Group, LabelFields, Recipients};
use seawall_host::{FsDisk, OsRng, SystemClock};
use seawall_record::reference_set::{self, Member};
use seawall_record::{
    Accepted, Base64, Enrolment, LogState, Manifest, ManifestCore, Role, SealedRoot, Totals,
};
use seawall_seal::{Domain, Kind, MAX_PLAIN, ObjectRef, Placement, seal};
use seawall_sign::{Envelope, SigningKey};
use seawall_store::{Options, Store};
use seawall_tlog::{Log, Origin};

use super::stopped;
use crate::harness::{Fleet, assert_same, restored};

/// Seals pieces into a node's store, with no regard for what they say.
pub(crate) struct Forger {
    store: Store,
    members: Vec<Member>,
    /// What the manifest says of a path index.
    pub(crate) path_index: Vec<SealedRoot>,
    /// How the root is sealed.
    pub(crate) seal_root: SealRoot,
}

/// Makes a capsule's bytes for a group, from what it is for, whom its post-quantum half is for,
/// and the payload.
pub(crate) type SealRoot = fn(&Group, &LabelFields, Option<&Recipients>, &[u8]) -> Vec<u8>;

/// As an honest node does.
pub(crate) fn honest(
    group: &Group,
    fields: &LabelFields,
    to: Option<&Recipients>,
    payload: &[u8],
) -> Vec<u8> {
    Capsule::seal(group, fields, to, payload, &mut OsRng).expect("sealed").encode()
}

impl Forger {
    pub(crate) fn open(home: &Path) -> Self {
        let disk: Arc<dyn Disk> = Arc::new(FsDisk::create(home).expect("the home"));
        let (store, _) = Store::open(disk, "", Options::default()).expect("the store opens");
        Self { store, members: Vec::new(), path_index: Vec::new(), seal_root: honest }
    }

    fn seal(&mut self, kind: Kind, plain: &[u8]) -> ObjectRef {
        let placement = Placement { kind, class: 1 };
        let sealed = seal(&Domain::none(), placement, plain, &mut OsRng).expect("sealed");
        let id = sealed.object_ref.id;
        self.store.put(id, None, &sealed.bytes).expect("stored");
        self.members.push(Member { id, len: sealed.bytes.len() as u32 });
        sealed.object_ref
    }

    fn list(&mut self, kind: Kind, records: impl Iterator<Item = Vec<u8>>) -> List {
        let mut list = ListWriter::new(&OsRng.array());
        let mut seal = |page: &[u8]| Ok::<_, std::convert::Infallible>(self.seal(kind, page));
        for record in records {
            list.push(&record, &mut seal).expect("infallible");
        }
        list.finish(&mut seal).expect("infallible")
    }

    pub(crate) fn directory(&mut self, entries: impl Iterator<Item = (String, EntryKind)>) -> List {
        let record = |(name, kind): (String, EntryKind)| {
            let meta = Meta {
                mode: 0o755,
                uid: 0,
                gid: 0,
                mtime_sec: 0,
                mtime_nsec: 0,
                xattrs: Vec::new(),
            };
            encode_entry(&Entry { name: name.into_bytes(), meta, kind }).expect("a valid entry")
        };
        self.list(Kind::Directory, entries.map(record))
    }

    /// Signs and logs a snapshot of `tree`, as the node itself would, and returns its id.
    pub(crate) fn publish(mut self, home: &Path, tree: List, totals: Totals) -> String {
        let page = RootPage {
            chunker: CHUNKER_ID,
            tree,
            host: Vec::new(),
            sources: Vec::new(),
            path_index: None,
        };
        let root = self.seal(Kind::Root, &page.encode());
        self.members.sort_unstable();
        self.members.dedup();
        let store = &self.store;
        let reference_set = reference_set::build(&self.members, &mut |id, page| {
            store.put(id, None, &page).expect("stored");
        });
        store.flush().expect("flushed");

        let StolenLog { fleet, own, mut log, state, .. } = StolenLog::read(home);
        let last = state.last_manifest();
        let record = fleet.group_of_class(None).expect("a group");
        let core = ManifestCore {
            fleet: fleet.id(),
            node: own.node(),
            origin: log.origin().as_str().to_owned(),
            sequence: last.map_or(1, |(_, n)| n + 1),
            previous: last.map(|(digest, _)| digest),
            created: SystemClock.now(),
            class: 1,
            group: record.id,
            reference_set,
            totals,
            set: None,
            tags: Vec::new(),
        };
        let group = Group::of_record(record).expect("a group");
        let label = LabelFields::of_manifest(&core);
        let mut w = Writer::new();
        root.encode(&mut w);
        let to = Recipients::of_record(record).expect("keys");
        let capsule = Base64((self.seal_root)(&group, &label, to.as_ref(), w.as_slice()));
        let manifest = Manifest { core, capsule, path_index: self.path_index };
        let key = std::fs::read(home.join("keys/subkey.key")).expect("the subkey");
        let subkey = stolen_subkey(&key);
        let envelope = manifest.statement().sign(&[&subkey]).expect("signed");
        log.append(&[envelope.to_json()]).expect("logged");
        log.sign_checkpoint(&subkey).expect("signed");
        envelope.digest().to_hex()
    }
}

/// A node's log, as whoever has its disk reads it.
pub(crate) struct StolenLog {
    fleet: seawall_record::Fleet,
    own: Enrolment,
    pub(crate) log: Log,
    state: LogState,
    /// Its snapshots, oldest first.
    pub(crate) manifests: Vec<Manifest>,
}

impl StolenLog {
    pub(crate) fn read(home: &Path) -> Self {
        let read = |name: &str| std::fs::read(home.join(name)).expect(name);
        let envelope = |name: &str| Envelope::parse(&read(name)).expect(name);
        let fleet = seawall_record::Fleet::open(envelope("fleet/genesis.json")).expect("a fleet");
        let own = Enrolment::open(&fleet, &envelope("enrolment.json"), Role::Node).expect("own");
        let origin = Origin::of_node(fleet.id(), own.node(), own.epoch);
        let disk: Arc<dyn Disk> = Arc::new(FsDisk::create(home).expect("the home"));
        let (log, _) = Log::open(disk, "log", &origin).expect("the log");
        let mut state = LogState::new(fleet.clone(), origin.as_str());
        let mut manifests = Vec::new();
        for index in 0..log.size() {
            let accepted = state.accept(&log.entry(index).expect("an entry")).expect("accepted");
            if let Accepted::Manifest(_, manifest) = accepted {
                manifests.push(*manifest);
            }
        }
        Self { fleet, own, log, state, manifests }
    }
}

pub(crate) fn stolen_subkey(file: &[u8]) -> SigningKey {
    use base64::Engine as _;
    let file: serde_json::Value = serde_json::from_slice(file).expect("a key file");
    let secret = file["secret"].as_str().expect("a secret");
    let seed = base64::engine::general_purpose::STANDARD.decode(secret).expect("base64");
    SigningKey::from_seed(&seed.try_into().expect("32 bytes"))
}

/// A fleet with one honest snapshot, so that its log has begun.
fn begun() -> Fleet {
    let fleet = Fleet::found();
    fleet.snapshot(&fleet.tree("tree"));
    fleet
}

#[test]
fn a_page_that_contains_itself_many_times_over_ends_at_its_totals() {
    let fleet = begun();
    let mut forger = Forger::open(&fleet.home());
    // 300 directories, each with the same 300, eight levels down: 6 * 10^19 of them in 9 pages.
    let mut listing = forger.directory(std::iter::empty());
    for _ in 0..8 {
        let below = listing.clone();
        let entry = |i| (format!("d{i:03}"), EntryKind::Directory { listing: below.clone() });
        listing = forger.directory((0..300).map(entry));
    }
    let totals = Totals { directories: 50, ..Totals::default() };
    let id = forger.publish(&fleet.home(), listing, totals);
    let to = fleet.path("restored");
    let start = Instant::now();
    let said = fleet.restore(&fleet.home(), &id, &to).code(1);
    stopped(&said.says(&["more directories than its signed total of 50", "forged"]).stderr);
    assert!(start.elapsed().as_secs() < 30, "it ended at once");
    let written = count(&to);
    assert!(written <= 50, "{written} directories written");
}

#[test]
fn an_object_that_expands_beyond_its_recorded_length_costs_its_file_only() {
    let fleet = begun();
    let mut forger = Forger::open(&fleet.home());
    // Eight MiB of zeros in a few hundred bytes, recorded as 1 000.
    let bomb = forger.seal(Kind::Chunk, &vec![0; MAX_PLAIN]);
    let bomb = ObjectRef { plain_len: 1_000, ..bomb };
    let list = forger.list(Kind::ChunkList, std::iter::once(Stretch::Data(bomb).encode()));
    let content = Content::Chunks { list: list.root, depth: list.depth };
    let files = [
        ("bomb".to_owned(), EntryKind::File { size: 1_000, content }),
        ("good".to_owned(), EntryKind::File { size: 2, content: Content::Inline(b"ok".to_vec()) }),
    ];
    let tree = forger.directory(files.into_iter());
    let totals = Totals { files: 2, bytes: 1_002, ..Totals::default() };
    let id = forger.publish(&fleet.home(), tree, totals);
    let to = fleet.path("restored");
    let said = fleet.restore(&fleet.home(), &id, &to).code(3);
    let words = ["/bomb: not restored", "does not decompress to the recorded length"];
    stopped(&said.says(&words).stderr);
    assert_eq!(std::fs::read(to.join("good")).expect("restored"), b"ok");
    assert!(!to.join("bomb").exists(), "nothing half-written stands under its name");
}

#[test]
fn totals_that_lie_are_found_and_the_tree_is_not_vouched_for() {
    let fleet = begun();
    let mut forger = Forger::open(&fleet.home());
    let content = Content::Inline(b"ok".to_vec());
    let file = ("f".to_owned(), EntryKind::File { size: 2, content });
    let tree = forger.directory(std::iter::once(file));
    let totals = Totals { files: 9, bytes: 99, ..Totals::default() };
    let id = forger.publish(&fleet.home(), tree, totals);
    let to = fleet.path("restored");
    let said = fleet.restore(&fleet.home(), &id, &to).code(1);
    stopped(&said.says(&["do not trust this tree"]).stderr);
    // An honest snapshot of the same node is not touched by any of this.
    let tree = fleet.tree("again");
    let id = fleet.snapshot(&tree);
    let to = fleet.path("honest");
    fleet.restore(&fleet.home(), &id, &to).ok();
    assert_same(&tree, &restored(&to, &tree));
}

/// Directories below `dir`.
fn count(dir: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries.map(|e| 1 + count(&e.expect("readable").path())).sum()
}
