//! Writes `seeds/`: for each target an input or two that it accepts, made with the real encoders.
//!
//! `cargo run --manifest-path fuzz/Cargo.toml --example seeds` after a format has changed. The
//! bytes are the same at every run.

use std::path::Path;
use std::sync::Arc;

use seawall_backup::entry::{Content, Entry, EntryKind, List, Meta, Xattr};
use seawall_backup::pages::{RootPage, Stretch, encode_entry};
use seawall_backup::path_index::{Listing, PathEntry, PathIndexRoot, PathIndexWriter, PathKind};
use seawall_base::wire::Writer;
use seawall_base::{FleetId, NodeId, ObjectId, Seconds, Sha256, Timestamp};
use seawall_custodian::message::{AliveRequest, PoliciesShown};
use seawall_escrow::ceremony::dkg;
use seawall_escrow::{
    Capsule, Demand, HandOver, KdfCost, LabelFields, OneTimeSecret, Partial, ShareFile,
    SharePublic, ShareSecret,
};
use seawall_fuzz::{
    NODE, ORIGIN, ROOT, SUBKEY, capsule, deletable_entries, fleet, genesis, group, kem_keys, key,
    quantum_capsule, recipients, ruled, shares, sign,
};
use seawall_policy::retention::{Count, Period, Rules};
use seawall_record::{
    Act, Alive, Arrival, BadShareFile, Base64, BundlePredicate, CeremonyMessage, CeremonyResult,
    CeremonyStep, CustodianAct, Deleted, Deletion, DeletionFile, Dossier, DossierParts, DrillKind,
    Enrolment, EnrolmentBundle, Epoch, EvidenceFile, Fleet, FleetCard, Forget, Forgotten, Hex32,
    Introduction, KnowledgeProof, LogPoint, LogState, Manifest, ManifestCore, MessageFile,
    PersonVerdict, RegionAddress, Request, Retention, Role, ShareBad, ShareSubject, Sighting,
    Subkey, Totals, Verdict, node_origin, reference_set,
};
use seawall_seal::{Domain, DomainScope, ObjectKey, ObjectRef};
use seawall_sign::possession::{Call, Proof};
use seawall_sign::token::{About, Claims, Operation};
use seawall_sign::{Envelope, SigningKey, Statement};
use seawall_sim::{SeededRng, SimDisk};
use seawall_store::{Options, Store};
use seawall_sync::message::envelopes_to_json;
use seawall_sync::{Details, Leases, wire};
use seawall_tlog::package::Package;
use seawall_tlog::tile::encode_bundle;
use seawall_tlog::{AddCheckpoint, Checkpoint, EntriesHeader, Log, SignedCheckpoint, merkle};

const NOW: Timestamp = Timestamp(1_700_000_000);

fn main() {
    sign_and_record();
    escrow();
    tlog();
    store_and_seal();
    backup();
    found();
    sync();
    drills();
    custodians();
    root_files();
}

/// Files for root keys to sign: whole, and as the payloads of their statements.
fn root_files() {
    let of_node = |envelope: Result<Envelope, _>| -> Envelope { envelope.expect("it is small") };
    let enrolled = of_node(enrolment().statement().sign(&[&key(NODE)]));
    let region = Enrolment { role: Role::Region, recipient: None, tenant: None, ..enrolment() };
    let region = of_node(region.statement().sign(&[&key(NODE)]));
    let heart = BundlePredicate {
        fleet: fleet().id(),
        member: enrolled.digest(),
        regions: Vec::new(),
        sealed_secrets: Base64(vec![1; 8]),
        created: NOW,
        index_policy: None,
    };
    let heart = of_node(heart.statement().sign(&[&key(NODE)]));
    let next = of_node(Enrolment { epoch: 2, ..enrolment() }.statement().sign(&[&key(NODE)]));
    let epoch = of_node(epoch_after(&next).statement().sign(&[&key(NODE)]));
    let policy = of_node(ruled().policy().clone().statement().sign(&[&key(NODE)]));
    let kept = of_node(retention().statement().sign(&[&key(NODE)]));
    let bundle = EnrolmentBundle::new(&fleet(), &enrolled, Vec::new(), &heart);
    write("node_root_files", "bundle", &json(&bundle));
    write("node_root_files", "region", &json(&RegionAddress::new("region:1", &region)));
    write("node_root_files", "policy", &policy.to_json());
    write("node_root_files", "retention", &kept.to_json());
    for (which, name, first, second) in [
        (0, "payloads-bundle", &enrolled, Some(&heart)),
        (1, "payloads-region", &region, None),
        (2, "payloads-epoch", &next, Some(&epoch)),
        (3, "payloads-policy", &policy, None),
        (3, "payloads-retention", &kept, None),
    ] {
        let (first, second) = (payload(first), second.map_or_else(Vec::new, payload));
        let length = u16::try_from(first.len()).expect("it is small").to_le_bytes();
        write("node_root_files", name, &[&[which], &length[..], &first, &second].concat());
    }
}

/// The statement that begins the epoch which an enrolment is of.
fn epoch_after(next: &Envelope) -> Epoch {
    let origin = node_origin(fleet().id(), enrolment().node(), 1);
    Epoch {
        fleet: fleet().id(),
        node: enrolment().node(),
        epoch: 2,
        continues: LogPoint { origin, size: 2, root: Sha256([1; 32]) },
        enrolment: next.digest(),
        asked: Vec::new(),
        reason: "an image".into(),
        created: NOW,
    }
}

/// A custodian's policy, and what its machine is sent and writes.
fn custodians() {
    let rule = format!(
        "format = \"seawall-custodian-policy/1\"\n[[approvers]]\nname = \"ben\"\nkey = \"{}\"\n\
         [[rules]]\nfleet = \"{}\"\nclass = \"any\"\nrequesters = [\"any\"]\nreason = \"^INC-[0-9]+: \"\n\
         cooling_off = \"1d4h\"\ntime_zone = \"Europe/Vienna\"\n\
         hours = [\"mon-fri 08:00-18:00\", \"sat 10:00-14:00\"]\nper_day = 2\npersons = 0\n\
         large = {{ files = 100000, bytes = \"50GiB\", persons = 1 }}\n\
         break_glass = \"persons\"\n",
        key(9).public(),
        fleet().id()
    );
    write("policy_custodian", "one-rule", rule.as_bytes());
    let statement = |envelope: Envelope| -> Vec<u8> { payload(&envelope) };
    let request = Sha256([3; 32]);
    let said = PersonVerdict { request, confirmed: true, why: String::new(), created: NOW };
    let said = said.statement().sign(&[&key(NODE)]).expect("signed");
    write("custodian_messages", "verdict", &statement(said));
    let act = Act::Decided { decision: "wait".into(), why: "cooling off".into(), policy: None };
    let act = CustodianAct { fleet: fleet().id(), request, at: NOW, act };
    let act = act.statement().sign(&[&key(NODE)]).expect("signed");
    let asked = AliveRequest::new(fleet().id(), Hex32([7; 32]), &act);
    write("custodian_messages", "act", &statement(act));
    write("custodian_messages", "alive-request", &json(&asked));
    let (nonce, outlook, unable) = (Hex32([7; 32]), Vec::new(), Vec::new());
    let alive = Alive { fleet: fleet().id(), nonce, at: NOW, outlook, unable };
    let alive = alive.statement().sign(&[&key(NODE)]).expect("signed");
    write("custodian_messages", "alive", &statement(alive));
    let enrolled = enrolment().statement().sign(&[&key(ROOT)]).expect("it is small");
    let shown = PoliciesShown::new(&ruled(), &enrolled);
    write("custodian_messages", "policies", &json(&shown));
    let status = "{\"request\":\"sha256:".to_owned() + &"03".repeat(32);
    let status = status + "\",\"state\":\"refused\",\"why\":\"because\"}";
    write("custodian_messages", "status", status.as_bytes());
}

/// What a drill's report tells, and what is kept of a dump for developers.
fn drills() {
    let mut details = Details::new(DrillKind::Scrub, fleet().id(), NodeId([2; 32]), NOW);
    details.note("own store", Verdict::Passed, "everything holds");
    details.tiers.push("this node".to_owned());
    write("sync_report", "details", details.to_json().expect("short").as_bytes());
    let head = "format = \"seawall-sanitise/1\"\n[[rule]]\npath = \"f\"\n";
    for (name, rule, file) in [
        (
            "dump",
            "[rule.dump.\"public.t\"]\na = \"keep\"\nb = \"hash\"\n",
            "SET x = 'a;';\nCREATE TABLE t (a text);\nCOPY public.t (a, b, c) FROM stdin;\n1\t2\t3\n\\.\nINSERT INTO t VALUES (E'\\';');\n",
        ),
        ("csv", "csv = { a = \"keep\", b = { fixed = \"x\" } }\n", "a,b,c\n1,\"2\n\"\"\",3\n"),
        ("jsonl", "jsonl = { a = \"hash\" }\n", "{\"a\":1,\"b\":2}\n"),
    ] {
        write("backup_sanitise", name, format!("{head}{rule}\0{file}").as_bytes());
    }
}

fn write(target: &str, name: &str, bytes: &[u8]) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    std::fs::create_dir_all(&dir).expect("the seeds can be written");
    std::fs::write(dir.join(name), bytes).expect("the seeds can be written");
}

fn json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("it serialises")
}

fn rng() -> SeededRng {
    SeededRng::new(7)
}

fn enrolment() -> Enrolment {
    Enrolment { issued: NOW, ..seawall_fuzz::enrolment() }
}

fn subkey() -> Subkey {
    let (not_before, not_after) = (NOW, NOW.after(Subkey::MAX_VALIDITY));
    let (fleet, node) = (fleet().id(), enrolment().node());
    Subkey { fleet, node, key: key(SUBKEY).public(), not_before, not_after }
}

fn manifest() -> Manifest {
    let reference_set = reference_set::build(&members(3), &mut |_, _| {});
    let core = ManifestCore {
        fleet: fleet().id(),
        node: enrolment().node(),
        origin: ORIGIN.into(),
        sequence: 1,
        previous: None,
        created: NOW,
        class: 1,
        group: group().id(),
        reference_set,
        totals: Totals::default(),
        set: None,
        tags: Vec::new(),
    };
    let label = LabelFields::of_manifest(&core);
    let capsule =
        Capsule::seal(group(), &label, Some(&recipients()), b"a root reference", &mut rng());
    Manifest {
        core,
        capsule: Base64(capsule.expect("a short payload").encode()),
        path_index: Vec::new(),
    }
}

fn members(count: u8) -> Vec<reference_set::Member> {
    let mut members: Vec<_> = (0..count)
        .map(|n| reference_set::Member { id: ObjectId::of(&[n]), len: u32::from(n) + 100 })
        .collect();
    members.sort_by_key(|m| m.id);
    members
}

fn payload(envelope: &Envelope) -> Vec<u8> {
    envelope.unverified_payload().to_vec()
}

fn sign_and_record() {
    let root = key(ROOT);
    let signed = |e: Result<Envelope, _>| -> Envelope { e.expect("it is small") };
    let enrolled = signed(enrolment().statement().sign(&[&root]));
    let certified = signed(subkey().statement().sign(&[&key(NODE)]));
    let manifest = signed(manifest().statement().sign(&[&key(SUBKEY)]));
    write("sign_envelope", "genesis", &fleet().envelope().to_json());
    write("sign_envelope", "manifest", &manifest.to_json());
    tokens();
    let statement = Statement::new(Fleet::subject(&genesis()), genesis());
    write("record_genesis", "genesis", &json(&statement));

    let mut entries = Vec::new();
    for (signer, entry) in [(0, &enrolled), (1, &certified), (2, &manifest)] {
        let payload = payload(entry);
        entries.push(signer);
        entries.extend_from_slice(&(payload.len() as u16).to_le_bytes());
        entries.extend_from_slice(&payload);
    }
    write("record_log_state", "first-snapshot", &entries);
    write("record_log_state", "forget", &forgetting());
    write("record_evidence", "introduction", &introduction(&enrolled, &certified).to_json());
    write("record_evidence", "evidence", &evidence(introduction(&enrolled, &certified)));
    write("record_evidence", "epoch", &second_epoch(&enrolled, &certified));
    let arrival = Arrival::new(introduction(&enrolled, &certified), &manifest);
    write("record_evidence", "arrival", &arrival.to_json());
    let report = bad_share(&manifest);
    let report = BadShareFile::new(&fleet(), arrival, &report).to_json();
    write("record_evidence", "bad-share", &report);
    write("custodian_examine", "bad-share", &report);
    deletions();
    write("record_files", "card", &json(&FleetCard::new(&fleet())));

    let entries = [enrolled.to_json(), certified.to_json(), manifest.to_json()];
    let dossier = dossier([&enrolled, &certified, &manifest], &entries);
    write("record_files", "request", &dossier);
    write("custodian_examine", "request", &dossier);

    let mut pages = Vec::new();
    let set = reference_set::build(&members(200), &mut |_, page| pages.push(page));
    write("record_reference_set", "root-page", pages.last().expect("a root"));
    write("record_reference_set", "leaf-page", &pages[0]);
    let mut w = Writer::new();
    w.u64(set.count).u64(set.bytes);
    for page in &pages {
        w.u16(page.len() as u16).raw(page);
    }
    write("record_reference_set", "walk", w.as_slice());
}

fn introduction(enrolled: &Envelope, certified: &Envelope) -> Introduction {
    Introduction::new(enrolled, std::slice::from_ref(certified))
}

/// A custodian complains, without a reason.
fn bad_share(manifest: &Envelope) -> Envelope {
    let it = Arrival::new(introduction_of_all(), manifest).open(&fleet()).expect("signed");
    let core = &it.manifest.core;
    let to = Demand::post_quantum(vec![recipients()], false);
    let checked = Capsule::decode(&it.manifest.capsule.0)
        .and_then(|capsule| capsule.check(group(), &LabelFields::of_manifest(core), &to))
        .expect("a good capsule");
    let share = ShareSubject {
        fleet: fleet().id(),
        manifest: manifest.digest(),
        group: group().id(),
        custodian: 2,
        dealing: Hex32(checked.dealing().expect("a post-quantum half")),
        commitment: Hex32(*checked.share_commitment(2).expect("one of three")),
    };
    let evidence = Some(Hex32([4; 32]));
    let report = ShareBad { share, reason: "none".into(), evidence, created: NOW };
    report.statement().sign(&[&key(12)]).expect("it is small")
}

fn introduction_of_all() -> Introduction {
    let enrolled = enrolment().statement().sign(&[&key(ROOT)]).expect("it is small");
    let certified = subkey().statement().sign(&[&key(NODE)]).expect("it is small");
    introduction(&enrolled, &certified)
}

/// Two roots of one size, both signed.
fn deletions() {
    let entries = deletable_entries();
    let first = Forgotten { sequence: 1, manifest: entries[2].digest() };
    let it = Deletion {
        fleet: ruled().id(),
        node: enrolment().node(),
        origin: ORIGIN.into(),
        snapshots: vec![first],
        even_last: false,
        policy: 2,
        reason: "erasure".into(),
        nonce: Hex32([1; 32]),
        created: NOW,
        expires: NOW.after(Seconds::days(7)),
    };
    let envelope = it.statement().sign(&[&key(11), &key(12)]).expect("it is small");
    write("record_deletion", "deletion", &payload(&envelope));
    let file = DeletionFile::new(ruled(), envelope, vec![entries[2].clone()]);
    write("record_deletion", "file", &file.expect("it belongs together").to_json());
    let envelope = retention().statement().sign(&[&key(ROOT)]).expect("it is small");
    write("record_deletion", "retention", &payload(&envelope));
    let notice = Deleted {
        fleet: ruled().id(),
        region: key(30).public().node_id(),
        incarnation: Hex32([2; 32]),
        origin: ORIGIN.into(),
        under: envelope.digest(),
        snapshots: vec![first],
        created: NOW,
    };
    let notice = notice.statement().sign(&[&key(30)]).expect("it is small");
    write("record_deletion", "notices", &envelopes_to_json(&[notice]));
}

/// What regions keep of the node.
fn retention() -> Retention {
    let counts = [(Period::Daily, Count::Newest(7))].into_iter().collect();
    Retention {
        fleet: ruled().id(),
        node: enrolment().node(),
        version: 1,
        rules: Rules { counts, ..Rules::default() },
        policy: 2,
        created: NOW,
    }
}

fn evidence(author: Introduction) -> Vec<u8> {
    let origin = node_origin(fleet().id(), enrolment().node(), 1);
    let sighting = |leaf: &[u8]| {
        let origin = origin.parse().expect("an origin");
        let checkpoint = Checkpoint::new(origin, 1, merkle::leaf_hash(leaf));
        let signed = SignedCheckpoint::sign(checkpoint, &key(SUBKEY)).expect("a good name");
        let checkpoint = String::from_utf8(signed.to_bytes()).expect("a note is UTF-8");
        Sighting { seen_at: "region-a".into(), checkpoint }
    };
    let both = [sighting(b"one"), sighting(b"two")];
    EvidenceFile::new(&fleet(), author, "a fork", both, None).to_json()
}

/// A log that goes on in its second epoch.
fn second_epoch(enrolled: &Envelope, certified: &Envelope) -> Vec<u8> {
    let next = Enrolment { epoch: 2, ..enrolment() };
    let next = next.statement().sign(&[&key(ROOT)]).expect("it is small");
    let epoch = epoch_after(&next).statement().sign(&[&key(ROOT)]).expect("it is small");
    let mut entries = Vec::new();
    for (signer, entry) in [(0, enrolled), (1, certified), (0, &next), (0, &epoch)] {
        let payload = payload(entry);
        entries.push(signer);
        entries.extend_from_slice(&(payload.len() as u16).to_le_bytes());
        entries.extend_from_slice(&payload);
    }
    entries
}

/// A log with two snapshots, of which the first is forgotten.
fn forgetting() -> Vec<u8> {
    let first = manifest();
    let digest = |manifest: &Manifest| {
        let signed = manifest.clone().statement().sign(&[&key(SUBKEY)]);
        signed.expect("it is small").digest()
    };
    let core = ManifestCore { sequence: 2, previous: Some(digest(&first)), ..first.core.clone() };
    let label = LabelFields::of_manifest(&core);
    let capsule =
        Capsule::seal(group(), &label, Some(&recipients()), b"a root reference", &mut rng());
    let capsule = Base64(capsule.expect("a short payload").encode());
    let second = Manifest { core, capsule, path_index: Vec::new() };
    let forget = Forget {
        fleet: fleet().id(),
        node: enrolment().node(),
        origin: ORIGIN.into(),
        snapshots: vec![Forgotten { sequence: 1, manifest: digest(&first) }],
        copies: 2,
        reason: "keep the last".into(),
        created: NOW,
    };
    let mut state = LogState::new(fleet(), ORIGIN);
    let mut out = Vec::new();
    for (signer, seed, payload) in [
        (0, ROOT, json(&enrolment().statement())),
        (1, NODE, json(&subkey().statement())),
        (2, SUBKEY, json(&first.statement())),
        (2, SUBKEY, json(&second.statement())),
        (2, SUBKEY, json(&forget.statement())),
    ] {
        let entry = sign(&payload, &key(seed)).to_json();
        state.accept(&entry).expect("a log that every reader believes");
        out.push(signer);
        out.extend_from_slice(&(payload.len() as u16).to_le_bytes());
        out.extend_from_slice(&payload);
    }
    out
}

fn dossier(statements: [&Envelope; 3], entries: &[Vec<u8>]) -> Vec<u8> {
    let [enrolled, certified, manifest] = statements;
    let (checkpoint, log) = log_of(entries);
    let request = Request {
        fleet: fleet().id(),
        manifest: manifest.digest(),
        origin: ORIGIN.into(),
        index: 2,
        requester: enrolment().node(),
        one_time_key: Base64(OneTimeSecret::from_bytes(&[3; 32]).public().as_bytes().to_vec()),
        nonce: Hex32([8; 32]),
        created: NOW,
        expires: NOW.after(Request::MAX_VALIDITY),
        reason: "a drill".into(),
        drill: false,
    };
    let parts = DossierParts {
        request: sign(&json(&request.statement()), &key(SUBKEY)),
        genesis: fleet().envelope().clone(),
        policies: Vec::new(),
        requester: [enrolled.clone(), certified.clone()],
        author: [enrolled.clone(), certified.clone(), certified.clone()],
        manifest: manifest.clone(),
        checkpoint: String::from_utf8(checkpoint.to_bytes()).expect("a note is text"),
        inclusion: merkle::inclusion_proof(&log, 2, 3).expect("it is in there"),
        break_glass: None,
    };
    parts.verify(fleet().id()).expect("a request a custodian would examine");
    json(&Dossier::new(&parts))
}

fn log_of(entries: &[Vec<u8>]) -> (SignedCheckpoint, Log) {
    let origin = ORIGIN.parse().expect("an origin");
    let (mut log, _) = Log::open(Arc::new(SimDisk::new()), "log", &origin).expect("a new log");
    log.append(entries).expect("a healthy disk");
    let checkpoint = Checkpoint::new(origin, log.size(), log.root());
    (SignedCheckpoint::sign(checkpoint, &key(SUBKEY)).expect("it is small"), log)
}

/// The files of a whole ceremony, and its statements by themselves.
fn ceremony_files() {
    let ceremony = seawall_fuzz::ceremony();
    let file = |kind: u8, bytes: &[u8]| [&[kind][..], bytes].concat();
    write("custodian_ceremony", "card", &file(0, &ceremony.cards[0].to_json()));
    write("custodian_ceremony", "opening", &file(0, &ceremony.to_json()));
    let opening = ceremony.envelope().unverified_payload();
    write("custodian_ceremony", "opening-payload", &file(2, opening));
    let plan = dkg::Plan { class: "standard", threshold: 2, members: 3 };
    let step = dkg::commit(&plan, 1, &mut rng()).expect("commits");
    let message = CeremonyMessage {
        ceremony: ceremony.id(),
        step: CeremonyStep::Commit,
        from: 1,
        commitments: step.out.points.into_iter().map(Hex32).collect(),
        proof: Some(KnowledgeProof { r: Hex32(step.out.proof.0), z: Hex32(step.out.proof.1) }),
        sealed: vec![],
        seen: vec![],
    };
    let key = seawall_fuzz::ceremony_key(1);
    let message = message.statement().sign(&[&key]).expect("it is small");
    write("custodian_ceremony", "commit-payload", &file(1, message.unverified_payload()));
    let message = MessageFile { message, sealed: vec![], seen: vec![] };
    write("custodian_ceremony", "commit", &file(0, &message.to_json()));
    let record = genesis().groups.remove(0);
    let transcript = vec![Sha256([1; 32]); 3];
    let result = CeremonyResult { ceremony: ceremony.id(), record, transcript, previous: None };
    let result = result.statement().sign(&[&key]).expect("it is small");
    write("custodian_ceremony", "result-payload", &file(1, result.unverified_payload()));
}

fn escrow() {
    ceremony_files();
    write("escrow_group", "text", &json(group()));
    let mut raw = vec![group().threshold() as u8];
    raw.extend_from_slice(&group().key());
    for member in group().members() {
        raw.push(member.index() as u8);
        raw.extend_from_slice(&member.verification_share());
    }
    write("escrow_group", "points", &raw);
    write("escrow_capsule", "capsule", &capsule().capsule().encode());
    write("escrow_capsule", "post-quantum", &quantum_capsule().capsule().encode());
    let share = quantum_capsule().open_share(1, &kem_keys()[0]).expect("its share");
    write("escrow_hand_over", "hand-over", &HandOver::make(&share, &recipients()).encode());
    let partial = Partial::make(quantum_capsule(), &shares()[0], group(), 0, &mut rng());
    let partial = partial.expect("a member's share").with_shares(vec![share]);
    write("escrow_partial", "post-quantum", &partial.encode());
    let partial = Partial::make(capsule(), &shares()[0], group(), 0, &mut rng());
    write("escrow_partial", "partial", &partial.expect("a member's share").encode());
    let public = SharePublic {
        fleet: fleet().id(),
        group: group().id(),
        class: group().class().to_owned(),
        index: 1,
        threshold: 2,
        members: 3,
        share_epoch: 0,
        custodian: "custodian 1".into(),
        signing_key: key(11).public().to_string(),
    };
    let secret = ShareSecret { share: shares()[0].clone(), signing_seed: key(11).seed() };
    let file = ShareFile::seal(public, &secret, b"passphrase", KdfCost::DEFAULT, &mut rng());
    // Wrapped by a token: the golden vector, since there is no token here.
    let vectors = include_str!("../../docs/vectors/escrow.json");
    let vectors: serde_json::Value = serde_json::from_str(vectors).expect("JSON");
    let wrapped = vectors["share_file_wrapped"]["text"].as_str().expect("a file");
    write("escrow_share_file", "wrapped", wrapped.as_bytes());
    write("escrow_share_file", "share", file.expect("a good share").to_json().as_bytes());
    let public = OneTimeSecret::from_bytes(&[3; 32]).public();
    let sealed = public.seal(b"info", b"aad", b"a partial", &mut rng()).expect("short");
    write("escrow_onetime", "sealed", &sealed);
    write("escrow_onetime", "public", public.to_text().as_bytes());
    write("escrow_onetime", "bytes", public.as_bytes());
}

fn tlog() {
    let entries: Vec<Vec<u8>> = (0..9u8).map(|n| vec![n; usize::from(n) * 3]).collect();
    let (checkpoint, log) = log_of(&entries);
    let size = log.size();
    write("tlog_note", "checkpoint", &checkpoint.to_bytes());

    let proof = merkle::inclusion_proof(&log, 4, size).expect("it is in there");
    let mut w = Writer::new();
    w.u8(0).u64(4).u64(5).u64(size).raw(&merkle::leaf_hash(&entries[4]).0).raw(&log.root().0);
    proof.iter().for_each(|hash| {
        w.raw(&hash.0);
    });
    write("tlog_proofs", "inclusion", w.as_slice());

    let proof = merkle::consistency_proof(&log, 3, size).expect("a prefix");
    let request = AddCheckpoint { old: 3, proof, checkpoint };
    write("tlog_requests", "add-checkpoint", &request.to_bytes());
    let origin = ORIGIN.parse().expect("an origin");
    let header = EntriesHeader { origin, start: 0, end: size, ticket: vec![1, 2] };
    let mut body = header.to_bytes();
    let proof = merkle::subtree_proof(&log, 0, size, size).expect("a whole tree");
    Package { entries: entries.clone(), proof }.write(&mut body);
    write("tlog_requests", "add-entries", &body);

    let bundle = encode_bundle(&entries);
    write("tlog_tiles", "bundle", &[&[entries.len() as u8][..], &bundle].concat());
    write("tlog_tiles", "path", b"tile/0/x001/234.p/5");
    recovery(&entries);
}

/// The files of a log, as the target reads them.
fn recovery(entries: &[Vec<u8>]) {
    let disk = SimDisk::new();
    let origin = ORIGIN.parse().expect("an origin");
    let (mut log, _) = Log::open(Arc::new(disk.clone()), "log", &origin).expect("a new log");
    for entry in entries {
        log.append(&[entry]).expect("a healthy disk");
    }
    let checkpoint = Checkpoint::new(origin, log.size(), log.root());
    let signed = SignedCheckpoint::sign(checkpoint, &key(SUBKEY)).expect("it is small");
    let files = [
        disk.read("log/entries").expect("it is there"),
        disk.read("log/hashes").expect("it is there"),
        vec![],
        signed.to_bytes(),
    ];
    for (name, present) in [("entries", 0b0001u8), ("signed", 0b1011)] {
        let mut w = Writer::new();
        w.u8(present);
        for (i, file) in files.iter().enumerate().filter(|(i, _)| present & 1 << i != 0) {
            assert!(file.len() < 1 << 16, "file {i} fits its length");
            w.u16(file.len() as u16).raw(file);
        }
        write("tlog_recover", name, w.as_slice());
    }
}

fn store_and_seal() {
    let disk = SimDisk::new();
    let (store, _) =
        Store::open(Arc::new(disk.clone()), "", Options::default()).expect("a new store");
    for n in 0..4u8 {
        let body = vec![n; usize::from(n) * 40 + 1];
        store.put(ObjectId::of(&body), Some([n; 32]), &body).expect("a healthy disk");
        store.flush().expect("a healthy disk");
    }
    let zones = disk.paths();
    let zone = zones.iter().find(|path| path.ends_with(".zone")).expect("one zone");
    let bytes = disk.read(zone).expect("it is there");
    write("store_scan", "zone", &bytes);
    write("store_open", "zone", &bytes);
    beside();

    // Codec, body length, body, padding; in front the length its reference records.
    let mut w = Writer::new();
    w.u32(3).u8(0).bytes(b"abc");
    write("seal_open", "stored", w.as_slice());
}

/// The files beside the zones, without the checksum that the target adds.
fn beside() {
    let disk = SimDisk::new();
    let options = Options { zone_bytes: 1 << 12, index_tail: 4, ..Options::default() };
    let (store, _) = Store::open(Arc::new(disk.clone()), "", options).expect("a new store");
    for n in 0..8u8 {
        let body = vec![n; 40];
        store.put(ObjectId::of(&body), Some([n; 32]), &body).expect("a healthy disk");
        store.flush().expect("a healthy disk");
    }
    let mut session = store.reclaim().expect("nobody else is there");
    session.condemn(&mut |id| id.0[0] & 1 == 0, 50).expect("a healthy disk");
    for path in disk.paths() {
        let which = match path.rsplit(['/', '.']).next() {
            Some("root") => 0u8,
            Some("segment") => 1,
            Some("state") => 2,
            Some("condemned") => 3,
            _ => continue,
        };
        let bytes = disk.read(&path).expect("it is there");
        let covered = &bytes[..bytes.len() - 32];
        write("store_beside", &format!("{which}"), &[&[which], covered].concat());
    }
}

fn object(plain_len: u32) -> ObjectRef {
    ObjectRef { id: ObjectId::of(b"sealed"), key: ObjectKey::new([4; 32]), plain_len }
}

fn backup() {
    let meta = Meta {
        mode: 0o644,
        uid: 1000,
        gid: 1000,
        mtime_sec: -1,
        mtime_nsec: 5,
        xattrs: vec![Xattr { name: b"user.comment".to_vec(), value: b"text".to_vec() }],
    };
    let list = || List { root: object(100), depth: 1 };
    let kinds = [
        EntryKind::Directory { listing: list() },
        EntryKind::File { size: 3, content: Content::Inline(b"abc".to_vec()) },
        EntryKind::Symlink { target: b"../x".to_vec() },
        EntryKind::CharDevice { major: 1, minor: 3 },
        EntryKind::HardLink { target: vec![b"a".to_vec(), b"b".to_vec()] },
    ];
    let mut directory = Writer::new();
    directory.u8(1).u8(0).u32(kinds.len() as u32);
    for (n, kind) in kinds.into_iter().enumerate() {
        let entry = Entry { name: format!("name {n}").into_bytes(), meta: meta.clone(), kind };
        let bytes = encode_entry(&entry).expect("a good entry");
        write("backup_entry", &format!("entry-{n}"), &bytes);
        directory.raw(&bytes);
    }
    write("backup_pages", "directory", directory.as_slice());
    let mut chunks = Writer::new();
    chunks.u8(1).u8(0).u32(3);
    for stretch in
        [Stretch::Hole(4096), Stretch::Gap { offset: 1, len: 2 }, Stretch::Data(object(100))]
    {
        chunks.raw(&stretch.encode());
    }
    write("backup_pages", "chunk-list", chunks.as_slice());
    let listed = "<Contents><Key>in/a%2Fb</Key><LastModified>2026-11-20T10:00:00.000Z</LastModified><ETag>&quot;d4&quot;</ETag><Size>7</Size></Contents>";
    let page =
        format!("<ListBucketResult><EncodingType>url</EncodingType>{listed}</ListBucketResult>");
    write("backup_listing", "page", page.as_bytes());
    write(
        "backup_patterns",
        "patterns",
        b"src/a.o/keep\0*.o\n!/src/**/[!a-c]?\\ \n# built\n**/x/\n",
    );
    let (host, sources) = (b"edge".to_vec(), vec![b"/srv".to_vec()]);
    let root = RootPage { chunker: 1, tree: list(), host, sources, path_index: None };
    write("backup_pages", "root", &root.encode());
    let mut index = Writer::new();
    index.u8(1).u8(1).u32(1);
    object(10).encode(&mut index);
    write("backup_pages", "index", index.as_slice());
    // An interrupted run with a byte of a frame changed, one left out of a frame, a frame twice; a
    // finished one whose listing is of another depth.
    let edits = [[0, 1, 0, 40, 4], [3, 2, 0, 60, 1], [6, 0, 0, 0, 0]];
    write("backup_file_cache", "interrupted", &[&[1][..], &edits.concat()].concat());
    write("backup_file_cache", "finished", &[0, 0, 1, 0, 85, 3]);
    // A chunk, a chunk list of it, a directory with a file of that, twice.
    let script = [0, 7, 1, 3, 2, 1, 200, 0, 1, 4, 2, 0, 1, 63, 0, 2, 1, 3, 1, 0, 9, 0];
    write("backup_browse", "script", &script.repeat(2));
}

fn found() {
    let records = [
        PathEntry {
            name: b"d".to_vec(),
            kind: PathKind::Directory,
            size: 0,
            mtime: -5,
            listing: Some(Listing::Pages(List { root: object(10), depth: 1 })),
        },
        PathEntry { name: b"f".to_vec(), kind: PathKind::File, size: 258, mtime: 7, listing: None },
    ];
    let writer = PathIndexWriter::new(&Domain::derive(&[7; 32], DomainScope::PathIndex));
    let listing = writer.directory(&records, &mut |_| Err::<ObjectRef, _>(()));
    let listing = listing.expect("it is short");
    let Listing::Inline(inline) = &listing else { panic!("it is short") };
    write("backup_path_index", "inline", inline);
    write("backup_path_index", "page", &[&[1, 0, 2, 0, 0, 0][..], inline].concat());
    let mut w = Writer::new();
    listing.encode(&mut w);
    write("backup_path_index", "listing", w.as_slice());
    let tree = List { root: object(10), depth: 1 };
    write("backup_path_index", "root", &PathIndexRoot { line: [4; 32], tree }.encode());
    for (n, text) in ["file", "sub/file-1", "sub/", "*.t?t", "^f.*[0-9]\\.txt$"].iter().enumerate()
    {
        let how = [&[2 * n as u8][..], text.as_bytes()].concat();
        write("backup_find_pattern", &format!("pattern-{n}"), &how);
    }
    // One block of two rows: names, directories, columns.
    let names = b"\0a\0b\0";
    let mut dirs = Writer::new();
    dirs.length(1).length(0).bytes(b"srv").u32(2);
    let mut columns = Writer::new();
    columns.u8(1).u8(2);
    for _ in 0..4 {
        columns.u64(0).u8(1).u8(0).u8(1);
    }
    columns.raw(&[9; 16]);
    let lens = [2, 1, names.len() as u8, dirs.len() as u8];
    let parts = [&lens[..], names, dirs.as_slice(), columns.as_slice()].concat();
    write("backup_find_cache", "block", &parts);
}

fn sync() {
    let ids: Vec<_> = (0..3u8).map(|n| ObjectId([n; 32])).collect();
    write("sync_wire", "ids", &wire::encode_ids(&ids));
    write("sync_wire", "challenge", &wire::encode_challenge(&[1; 32], &ids));
    let mut objects = Vec::new();
    ids.iter().for_each(|id| wire::push_object(&mut objects, *id, b"sealed"));
    write("sync_wire", "objects", &objects);
    let answer = |body: Vec<u8>| [&[ids.len() as u8][..], &body].concat();
    write("sync_wire", "get-answer", &answer(wire::encode_get_answer(3, &objects)));
    write("sync_wire", "proofs", &answer(wire::encode_proofs(&[None, Some([2; 32]), None])));
    let mut leases = Leases::default();
    for holder in [1, 2] {
        leases.grant(NOW, NodeId([holder; 32]), &ids).expect("room for two");
    }
    write("sync_leases", "two", &leases.encode());
}

/// A token, its claims and a proof.
fn tokens() {
    let key = SigningKey::from_seed(&[7; 32]);
    let now = Timestamp(1_795_000_000);
    let claims = Claims {
        fleet: FleetId([1; 32]),
        issuer: NodeId([2; 32]),
        operation: Operation::Store,
        node: NodeId([3; 32]),
        about: About::session(&[4; 32]),
        caller: SigningKey::from_seed(&[5; 32]).public(),
        issued: now,
        not_before: now,
        expires: Timestamp(now.0 + 600),
        id: [6; 16],
    };
    let token = claims.mint(&key);
    let call = Call {
        method: "POST",
        path: "/v1/objects",
        body: &[1; 32],
        binding: &[2; 32],
        token: "v4.public.AAAA",
    };
    write("sign_token", "token", token.as_bytes());
    write("sign_token", "claims", &json(&claims));
    write("sign_token", "proof", Proof::make(&key, &call, 3, now).to_text().as_bytes());
}
