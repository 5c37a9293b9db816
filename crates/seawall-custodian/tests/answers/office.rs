//! The office in memory, with several groups and fleets: what is wrong with one is told of no
//! other; what people and witnesses are said to have said is counted, not believed.

use std::sync::Arc;

use seawall_base::{
    Clock as _, Disk as _, DiskFile, LockMode, OpenMode, Seconds, Sha256, Timestamp, read_file,
};
use seawall_custodian::message::{AliveRequest, RequestStatus, Standing};
use seawall_custodian::{
    HeldShare, LogKeys, Office, OfficeError, OfficeParts, Rules, Unvouched, VERDICTS, WitnessDesk,
    read_log,
};
use seawall_escrow::{KdfCost, ShareFile};
use seawall_record::{
    Act, Alive, BreakGlass, Dossier, DossierParts, Endpoint, FleetCard, Hex32, PersonVerdict,
    SeenGlass, WitnessQuorum, WitnessRecord,
};
use seawall_sign::{Envelope, StatementKey, VerifyingKey};
use seawall_sim::{SeededRng, SimClock, SimDisk};
use seawall_tlog::{NoteSignature, SignedCheckpoint};

use crate::soft_key::SoftKey;
use crate::world::{ASKER, ASKER_SUBKEY, NOW, ROOT, World, custodian_key, key};

const HOUR: Seconds = Seconds::hours(1);

fn log_keys() -> LogKeys {
    let statements = StatementKey::Ed25519(Box::new(custodian_key(0, 1)));
    LogKeys { statements, checkpoints: custodian_key(0, 1) }
}

/// Whose connection the requests of a [`World`] come from.
fn peer() -> VerifyingKey {
    key(ASKER + 5).public()
}

struct Bench {
    disk: SimDisk,
    clock: SimClock,
    policy: String,
}

impl Bench {
    /// One rule for everything of each fleet; `change` is what it says otherwise.
    fn new(worlds: &[&World], approvers: &[u8], change: &[(&str, &str)]) -> Self {
        let mut policy = "format = \"seawall-custodian-policy/1\"\n".to_owned();
        if approvers.is_empty() {
            policy.push_str("approvers = []\n");
        }
        for seed in approvers {
            let key = key(*seed).public();
            policy.push_str(&format!("[[approvers]]\nname = \"p{seed}\"\nkey = \"{key}\"\n"));
        }
        for world in worlds {
            policy.push_str(&format!(
                "[[rules]]\nfleet = \"{}\"\nclass = \"any\"\nrequesters = [\"any\"]\n\
                 reason = \"died\"\ncooling_off = \"1h\"\ntime_zone = \"UTC\"\n\
                 hours = [\"always\"]\nper_day = 5\npersons = 0\n\
                 large = {{ files = 1000, bytes = \"1GiB\", persons = 0 }}\n",
                world.fleet.id()
            ));
        }
        for (from, to) in change {
            assert!(policy.contains(from), "{from}");
            policy = policy.replace(from, to);
        }
        Self { disk: SimDisk::new(), clock: SimClock::new(NOW), policy }
    }

    fn rules(&self) -> Rules {
        Rules::parse(self.policy.as_bytes()).expect("a policy")
    }

    fn open(&self, worlds: &[&World], shares: Vec<HeldShare>) -> Office {
        let disk = Arc::new(self.disk.clone());
        let witness = WitnessDesk::open(disk.clone(), "witness", "c0".to_owned(), key(60));
        Office::open(OfficeParts {
            disk,
            clock: Arc::new(self.clock.clone()),
            steady: Arc::new(self.clock.clone()),
            rng: Box::new(SeededRng::new(99)),
            signing: log_keys(),
            fleets: worlds.iter().map(|world| world.fleet.clone()).collect(),
            rules: self.rules(),
            shares,
            witness: witness.expect("a desk"),
            forget_time: false,
        })
        .expect("opened")
    }

    /// Time that somebody watches.
    fn pass(&self, office: &mut Office, span: Seconds) {
        for _ in 0..4 {
            self.clock.advance(Seconds(span.0 / 4));
            office.tick().expect("ticked");
        }
    }
}

/// The share of custodian 1 of a group, sealed under a passphrase.
fn sealed(world: &World, group: usize, epoch: u32) -> HeldShare {
    let (mut public, secret) = world.share(group, 1);
    public.share_epoch = epoch;
    let cost = KdfCost { m_kib: 8, t: 1, p: 1 };
    let file =
        ShareFile::seal(public, &secret, b"words", cost, &mut SeededRng::new(5)).expect("sealed");
    HeldShare::open(&file, b"words").expect("opens")
}

/// The same, wrapped by a token.
fn wrapped(world: &World, group: usize, token: &Arc<SoftKey>) -> HeldShare {
    let (public, secret) = world.share(group, 1);
    let file =
        ShareFile::wrap(public, &secret, token.as_ref(), &mut SeededRng::new(6)).expect("wrapped");
    HeldShare::wrapped(&file, token.clone()).expect("unwraps")
}

/// A request for a snapshot of this group.
fn request(world: &mut World, group: usize) -> DossierParts {
    let manifest = world.manifest(1, group);
    world.parts(manifest)
}

fn submit(office: &mut Office, parts: &DossierParts) -> RequestStatus {
    let dossier = serde_json::to_vec(&Dossier::new(parts)).expect("JSON");
    office.submit(peer(), &dossier).expect("a good request")
}

fn status(office: &mut Office, parts: &DossierParts) -> RequestStatus {
    office.status(peer(), parts.request.digest()).expect("it is there")
}

/// The classes of the groups for which a machine says that it cannot answer.
fn unable(office: &mut Office, world: &World) -> Vec<String> {
    let (fleet, nonce) = (world.fleet.id(), Hex32([3; 32]));
    let asked = AliveRequest::new(fleet, nonce, &world.enrolment(ASKER, ROOT));
    let said = office.alive(peer(), &serde_json::to_vec(&asked).expect("JSON")).expect("a member");
    let said = Envelope::parse(&said).expect("an envelope");
    let alive = Alive::open(&said, custodian_key(0, 1).public(), fleet, nonce).expect("signed");
    let class = |group| world.fleet.group(group).expect("one of its groups").class.clone();
    alive.unable.iter().map(|it| class(it.group)).collect()
}

#[test]
fn an_old_share_of_one_group_is_no_trouble_of_other_groups_and_fleets() {
    let (mut one, mut two) = (World::new(), World::seeded(7));
    let bench = Bench::new(&[&one, &two], &[], &[]);
    let shares = vec![sealed(&one, 0, 7), sealed(&one, 1, 0), sealed(&two, 0, 0)];
    let mut office = bench.open(&[&one, &two], shares);
    let (old, good, other) = (request(&mut one, 0), request(&mut one, 1), request(&mut two, 0));
    for parts in [&old, &good, &other] {
        assert_eq!(submit(&mut office, parts).state, Standing::Pending);
    }
    bench.pass(&mut office, HOUR);
    assert_eq!(status(&mut office, &good).state, Standing::Answered);
    assert_eq!(status(&mut office, &other).state, Standing::Answered);
    // What waits for its share is of one group, and stays that group's affair.
    for _ in 0..3 {
        assert_eq!(unable(&mut office, &one), ["customers"]);
        assert_eq!(unable(&mut office, &two), [""; 0]);
        let said = status(&mut office, &old);
        assert_eq!(said.state, Standing::Pending);
        assert!(said.why.contains("start the machine again"), "{}", said.why);
        let later = request(&mut two, 0);
        let until = submit(&mut office, &later).until.expect("it waits for its time only");
        assert_eq!(until, bench.clock.now().after(HOUR));
        bench.clock.advance(Seconds(1));
        office.tick().expect("ticked");
    }
}

#[test]
fn a_token_that_is_away_holds_up_its_own_group_only() {
    let (mut one, mut two) = (World::new(), World::seeded(7));
    let bench = Bench::new(&[&one, &two], &[], &[]);
    let token = Arc::new(SoftKey::new("anna"));
    let shares = vec![wrapped(&one, 0, &token), sealed(&one, 1, 0), sealed(&two, 0, 0)];
    let mut office = bench.open(&[&one, &two], shares);
    let (held, good, other) = (request(&mut one, 0), request(&mut one, 1), request(&mut two, 0));
    submit(&mut office, &held);
    bench.clock.advance(Seconds(2));
    for parts in [&good, &other] {
        assert_eq!(submit(&mut office, parts).state, Standing::Pending);
    }
    token.pull_out(true);
    bench.pass(&mut office, Seconds(3_596));
    bench.clock.advance(Seconds(2));
    office.tick().expect("ticked");
    // The one was due two seconds before the others.
    let said = status(&mut office, &held);
    assert_eq!(said.state, Standing::Pending);
    assert!(said.why.contains("cannot be used just now"), "{}", said.why);
    for parts in [&good, &other] {
        assert_eq!(status(&mut office, parts).state, Standing::Pending, "its time is to come");
    }
    bench.clock.advance(Seconds(2));
    office.tick().expect("ticked");
    for parts in [&good, &other] {
        assert_eq!(status(&mut office, parts).state, Standing::Answered, "not five seconds late");
    }
    assert_eq!(unable(&mut office, &one), ["customers"]);
    assert_eq!(unable(&mut office, &two), [""; 0]);
    // Tried again a while later, not at every tick.
    token.pull_out(false);
    office.tick().expect("ticked");
    assert_eq!(status(&mut office, &held).state, Standing::Pending);
    bench.clock.advance(Seconds(5));
    office.tick().expect("ticked");
    assert_eq!(status(&mut office, &held).state, Standing::Answered);
    assert_eq!(unable(&mut office, &one), [""; 0]);
}

/// What a command holds that changes the home.
fn home_lock(disk: &SimDisk) -> Box<dyn DiskFile> {
    let file = disk.open("lock", OpenMode::Create).expect("opened");
    assert!(file.lock(LockMode::Exclusive, false).expect("locked"));
    file
}

#[test]
fn a_card_that_cannot_be_kept_stops_no_other_fleet() {
    let (mut one, mut two) = (World::new(), World::seeded(7));
    let bench = Bench::new(&[&one, &two], &[], &[]);
    let shares = vec![sealed(&one, 0, 0), sealed(&two, 0, 0)];
    let mut office = bench.open(&[&one, &two], shares);
    let (own, other) = (request(&mut one, 0), request(&mut two, 0));
    submit(&mut office, &own);
    submit(&mut office, &other);
    // A newer policy is learnt while a command asks for a passphrase.
    let lock = home_lock(&bench.disk);
    one.amend(|_| {});
    office.renew(vec![one.fleet.clone()], bench.rules()).expect_err("the home has not got it");
    bench.pass(&mut office, HOUR);
    assert_eq!(status(&mut office, &other).state, Standing::Answered);
    assert_eq!(status(&mut office, &own).state, Standing::Answered, "by the newer policy");
    let path = format!("fleets/{}.json", one.fleet.id().to_hex());
    assert_eq!(read_file(&bench.disk, &path, 1 << 20).expect("read"), None);
    drop(lock);
    // A card that is none is in the way as well, until somebody puts it right.
    bench.disk.create_dir_all("fleets").expect("made");
    bench.disk.plant(&path, b"{}").expect("planted");
    let later = request(&mut two, 0);
    submit(&mut office, &later);
    bench.pass(&mut office, HOUR);
    assert_eq!(status(&mut office, &later).state, Standing::Answered);
    bench.disk.remove(&path).expect("removed");
    office.tick().expect("ticked");
    let card = read_file(&bench.disk, &path, 1 << 20).expect("read").expect("kept");
    assert_eq!(FleetCard::open(&card).expect("a card").version(), 2);
}

/// Demands two of three witnesses.
fn demand_witnesses(world: &mut World) {
    world.amend(|policy| {
        policy.witnesses = (81..84).map(witness).collect();
        policy.witness_quorum = Some(WitnessQuorum { quorum: 2, faulty: 0 });
    });
}

fn witness(seed: u8) -> WitnessRecord {
    let endpoint = Endpoint { address: "w.example:1".to_owned(), transport: key(seed).public() };
    WitnessRecord {
        operator: format!("operator-{seed}"),
        name: format!("w{seed}"),
        key: key(seed).public(),
        endpoint: Some(endpoint),
    }
}

/// The request with the lines of these witnesses under its checkpoint, and a statement that breaks
/// the glass as whoever has the requester's subkey likes.
fn broken(world: &mut World, cosigned_by: &[u8]) -> DossierParts {
    let mut parts = request(world, 0);
    let mut signed = SignedCheckpoint::parse(parts.checkpoint.as_bytes()).expect("a checkpoint");
    for seed in cosigned_by {
        let text = signed.note().text().to_owned();
        let line = NoteSignature::cosign(&format!("w{seed}"), &key(*seed), &text, NOW);
        signed.add(line.expect("a line")).expect("added");
    }
    parts.checkpoint = String::from_utf8(signed.to_bytes()).expect("text");
    let glass = BreakGlass {
        fleet: world.fleet.id(),
        requester: key(ASKER).public().node_id(),
        manifest: parts.manifest.digest(),
        origin: world.origin().as_str().to_owned(),
        operators: ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec(),
        needed: 1,
        reason: "it cannot wait".to_owned(),
        created: NOW,
    };
    parts.break_glass = Some(glass.statement().sign(&[&key(ASKER_SUBKEY)]).expect("signed"));
    parts
}

#[test]
fn witnesses_are_counted_and_not_taken_from_who_breaks_the_glass() {
    let mut world = World::new();
    demand_witnesses(&mut world);
    for (cosigned_by, vouched) in [(&[][..], 0), (&[81], 1)] {
        let parts = broken(&mut world, cosigned_by);
        let examined = world.examine(&parts).expect("a good request");
        let seen = examined.about().break_glass.expect("it breaks the glass");
        assert_eq!(seen, SeenGlass { vouched, needed: 2 });
        assert!(seen.to_string().contains(&format!("{vouched} of 2 witnesses")), "{seen}");
        let bench = Bench::new(&[&world], &[], &[("\"1h\"", "\"0s\"")]);
        let mut office = bench.open(&[&world], vec![sealed(&world, 0, 0)]);
        let said = submit(&mut office, &parts);
        assert_eq!(said.state, Standing::Refused);
        assert!(said.why.contains("breaks the glass"), "{}", said.why);
        assert_eq!(office.take_notices()[0].break_glass(), Some(seen));
    }
    // Where enough do, it is said because the requester has seen a newer history: glass all the same.
    for (cosigned_by, vouched) in [(&[81, 83][..], 2), (&[81, 82, 83], 3)] {
        let parts = broken(&mut world, cosigned_by);
        let examined = world.examine(&parts).expect("a good request");
        let seen = examined.about().break_glass.expect("it breaks the glass");
        assert_eq!(seen, SeenGlass { vouched, needed: 2 });
        assert!(seen.to_string().contains("has seen a newer history"), "{seen}");
        let bench = Bench::new(&[&world], &[], &[("\"1h\"", "\"0s\"")]);
        let mut office = bench.open(&[&world], vec![sealed(&world, 0, 0)]);
        assert_eq!(submit(&mut office, &parts).state, Standing::Refused);
    }
}

/// A person's verdict, and where it is put.
fn verdict(request: Sha256, seed: u8, confirmed: bool) -> (String, Vec<u8>) {
    let why = if confirmed { "" } else { "nobody called me" }.to_owned();
    let it = PersonVerdict { request, confirmed, why, created: NOW };
    let signed = it.statement().sign(&[&key(seed)]).expect("signed");
    (format!("{VERDICTS}/{}-{seed}.json", request.to_hex()), signed.to_json())
}

#[test]
fn a_damaged_no_holds_its_request_until_it_is_said_again_or_taken_away() {
    let mut world = World::new();
    let bench = Bench::new(&[&world], &[41], &[]);
    let mut office = bench.open(&[&world], vec![sealed(&world, 0, 0)]);
    let (parts, second) = (request(&mut world, 0), request(&mut world, 0));
    let digest = submit(&mut office, &parts).request;
    submit(&mut office, &second);
    let (path, no) = verdict(digest, 41, false);
    let flipped = |at: usize| {
        let mut bytes = no.clone();
        bytes[at] ^= 1;
        bytes
    };
    let damaged: Vec<Vec<u8>> = (0..no.len())
        .step_by(7)
        .map(flipped)
        .chain([Vec::new(), no[..no.len() / 2].to_vec(), [&no[..], &[0]].concat()])
        .chain([vec![b' '; 1 << 20]])
        .collect();
    for bytes in &damaged {
        bench.disk.plant(&path, bytes).expect("planted");
        office.tick().expect("ticked");
        assert!(bench.disk.paths().contains(&path), "thrown away: {bytes:?}");
    }
    bench.pass(&mut office, HOUR);
    let said = status(&mut office, &parts);
    assert_eq!(said.state, Standing::Pending, "{}", said.why);
    assert!(said.why.contains("held"), "{}", said.why);
    assert_eq!(status(&mut office, &second).state, Standing::Answered, "it is not about that");
    // Whoever said it says it again.
    bench.disk.plant(&path, &no).expect("planted");
    office.tick().expect("ticked");
    assert_eq!(status(&mut office, &parts).why, "refused by p41: nobody called me");
    assert!(!bench.disk.paths().contains(&path));
    // Or a person takes it away, and answers for it.
    let third = request(&mut world, 0);
    let (path, no) = verdict(submit(&mut office, &third).request, 41, false);
    bench.disk.plant(&path, &no[1..]).expect("planted");
    bench.pass(&mut office, HOUR);
    assert_eq!(status(&mut office, &third).state, Standing::Pending);
    bench.disk.remove(&path).expect("removed");
    office.tick().expect("ticked");
    assert_eq!(status(&mut office, &third).state, Standing::Answered);
}

#[test]
fn a_whole_verdict_of_nobody_who_counts_goes_and_holds_nothing() {
    let mut world = World::new();
    let bench = Bench::new(&[&world], &[41], &[]);
    let mut office = bench.open(&[&world], vec![sealed(&world, 0, 0)]);
    let parts = request(&mut world, 0);
    let digest = submit(&mut office, &parts).request;
    for (seed, confirmed) in [(42, false), (42, true)] {
        let (path, bytes) = verdict(digest, seed, confirmed);
        bench.disk.plant(&path, &bytes).expect("planted");
        office.tick().expect("ticked");
        assert!(!bench.disk.paths().contains(&path), "it is whole, and no approver's");
    }
    bench.pass(&mut office, HOUR);
    assert_eq!(status(&mut office, &parts).state, Standing::Answered);
}

#[test]
fn words_too_long_for_the_log_are_cut_and_stop_nothing() {
    let mut world = World::new();
    // As the refusal quotes it, each of these takes six bytes.
    let pattern = "\\u007f".repeat(200);
    let change = [("\"died\"", &*format!("\"{pattern}\"")), ("\"1h\"", "\"0s\"")];
    let bench = Bench::new(&[&world], &[], &change);
    let mut office = bench.open(&[&world], vec![sealed(&world, 0, 0)]);
    let parts = request(&mut world, 0);
    let said = submit(&mut office, &parts);
    assert_eq!(said.state, Standing::Refused);
    assert!(said.why.starts_with("the reason does not match"), "{}", said.why);
    assert!((900..=1_000).contains(&said.why.len()), "{}", said.why.len());
    office.tick().expect("ticked");
    let acts = read_log(Arc::new(bench.disk.clone()), world.fleet.id(), &log_keys());
    let acts = acts.expect("good").expect("there is one").acts;
    assert!(matches!(&acts[1].act, Act::Decided { why, .. } if *why == said.why), "{acts:?}");
    // A name that no entry of the log may have is no approver's.
    let approver = format!("[[approvers]]\nname = \"a\u{200b}b\"\nkey = \"{}\"", key(41).public());
    let bad = bench.policy.replace("approvers = []", &approver);
    let why = Rules::parse(bad.as_bytes()).expect_err("an invisible name").to_string();
    assert!(why.contains("invisible"), "{why}");
}

#[test]
fn a_line_of_another_name_or_key_is_no_witnesses() {
    let mut world = World::new();
    world.amend(|policy| policy.witnesses = vec![witness(81)]);
    let bench = Bench::new(&[&world], &[], &[]);
    let mut office = bench.open(&[&world], vec![sealed(&world, 0, 0)]);
    let parts = request(&mut world, 0);
    submit(&mut office, &parts);
    let unvouched = |office: &Office| -> Vec<Unvouched> { office.unvouched().expect("read") };
    let [it] = &unvouched(&office)[..] else { panic!("one witness") };
    let brought = office.growth(it.fleet, 0).expect("read").expect("there is a log").checkpoint;
    let line = |name: &str, seed: u8| {
        let text = brought.note().text();
        NoteSignature::cosign(name, &key(seed), text, Timestamp(9)).expect("a line")
    };
    for lines in [vec![], vec![line("home", 81)], vec![line("w81", 82), line("x", 81)]] {
        let why = office.vouch(it, &brought, &lines).expect_err("not as the policy says");
        assert!(matches!(&why, OfficeError::OtherWitness { name } if name == "w81"), "{why}");
        assert!(why.to_string().contains("start the witness again"), "{why}");
        assert_eq!(unvouched(&office).len(), 1);
    }
    // One that is late is asked again, without blame.
    submit(&mut office, &request(&mut world, 0));
    assert_eq!(office.vouch(it, &brought, &[line("w81", 81)]).expect("it grew"), None);
    let brought = office.growth(it.fleet, 0).expect("read").expect("there is a log").checkpoint;
    let good = NoteSignature::cosign("w81", &key(81), brought.note().text(), Timestamp(9));
    let at = office.vouch(it, &brought, &[good.expect("a line")]).expect("its signature");
    assert_eq!((at, unvouched(&office).len()), (Some(Timestamp(9)), 0));
}
