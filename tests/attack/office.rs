//! A custodian's machine, whose clock, disk and people are worked on by those who want its answer.

use std::os::unix::fs::{PermissionsExt as _, chown};

use seawall_base::{Clock as _, Disk as _, Seconds, Sha256, read_file};
use seawall_custodian::message::{RequestStatus, Standing};
use seawall_custodian::{ACCEPTED_CLOCK, AcceptedClock, CASES, MAX_CASES, Office, VERDICTS};
use seawall_record::{
    Act, BreakGlass, Dossier, DossierParts, Enrolment, FleetCard, Hex32, PersonVerdict, Request,
    Revocation, SeenGlass, Subkey,
};
use seawall_sign::{Envelope, SigningKey, Statement, VerifyingKey};

use super::stopped;
use crate::harness::{Fleet, arg, run, wait_until};
use crate::machines::{Bench, Machines, key_in};

const HOUR: Seconds = Seconds::hours(1);
const FOUR_HOURS: (&str, &str) = ("\"0s\"", "\"4h\"");

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

/// The approvers of a policy.
fn approvers(people: &[(&str, u8)]) -> String {
    let one = |(name, seed): &(&str, u8)| {
        let key = key(*seed).public();
        format!("[[approvers]]\nname = \"{name}\"\nkey = \"{key}\"\n")
    };
    people.iter().map(one).collect()
}

/// Puts a verdict where the machine finds it, and returns its path.
fn say(bench: &Bench, request: Sha256, seed: u8, confirmed: bool) -> String {
    let why = if confirmed { "" } else { "nobody called me" }.to_owned();
    let verdict = PersonVerdict { request, confirmed, why, created: bench.clock.now() };
    let envelope = verdict.statement().sign(&[&key(seed)]).expect("signed");
    let path = format!("{VERDICTS}/{}-{seed:016x}.json", request.to_hex());
    bench.disk.plant(&path, &envelope.to_json()).expect("planted");
    path
}

/// As in the machine: every so often.
fn pass(bench: &Bench, office: &mut Office, span: Seconds) {
    for _ in 0..4 {
        bench.clock.advance(Seconds(span.0 / 4));
        office.tick().expect("ticked");
    }
}

fn status(bench: &Bench, office: &mut Office) -> RequestStatus {
    let digest = parts(&bench.request).request.digest();
    office.status(bench.peer, digest).expect("it is there")
}

fn parts(dossier: &[u8]) -> DossierParts {
    Dossier::parse(dossier).expect("a request file")
}

/// The same request once more, with what a thief of the node's keys changes in it.
fn asked_again(fleet: &Fleet, dossier: &[u8], change: impl Fn(&mut Request)) -> Vec<u8> {
    let subkey = key_in(&fleet.home().join("keys/subkey.key"));
    let mut parts = parts(dossier);
    let request = Statement::<Request>::read_unverified(&parts.request).expect("a request");
    let mut request = request.predicate;
    change(&mut request);
    parts.request = request.statement().sign(&[&subkey]).expect("signed");
    serde_json::to_vec(&Dossier::new(&parts)).expect("JSON")
}

#[test]
fn a_refusal_is_put_where_the_machine_cannot_read_it() {
    let (_fleet, bench) = Bench::with(&approvers(&[("anna", 41)]), &[FOUR_HOURS]);
    let mut office = bench.open();
    let digest = bench.submit(&mut office).request;
    let path = say(&bench, digest, 41, false);
    bench.disk.spoil(&path, 0..8).expect("spoilt");
    pass(&bench, &mut office, Seconds::hours(5));
    let said = status(&bench, &mut office);
    assert_eq!(said.state, Standing::Pending, "{}", said.why);
    stopped(&said.why);
    assert!(said.why.contains("cannot be read"), "{}", said.why);
    assert!(bench.disk.paths().contains(&path), "what was not read is not thrown away");
    drop(office);
    let mut office = bench.open();
    office.tick().expect("ticked");
    assert_eq!(status(&bench, &mut office).state, Standing::Pending, "started again");
    // One whose name says nothing may be about any request.
    bench.disk.remove(&path).expect("removed");
    let nameless = format!("{VERDICTS}/no.json");
    bench.disk.plant(&nameless, b"{}").expect("planted");
    bench.disk.spoil(&nameless, 0..1).expect("spoilt");
    office.tick().expect("ticked");
    assert_eq!(status(&bench, &mut office).state, Standing::Pending);
    bench.disk.remove(&nameless).expect("removed");
    say(&bench, digest, 41, false);
    office.tick().expect("ticked");
    let said = status(&bench, &mut office);
    assert_eq!(
        (said.state, said.why.as_str()),
        (Standing::Refused, "refused by anna: nobody called me")
    );
}

#[test]
fn a_stolen_node_invents_operators_that_vouch_for_its_history() {
    let asks = ("persons = 0 }", "persons = 0 }\nbreak_glass = \"persons\"");
    let (fleet, bench) = Bench::with(&approvers(&[("anna", 41)]), &[asks]);
    super::log::demand_witnesses(&fleet, &["dora", "emil", "fritz"]);
    let (out, card) = (fleet.path("broken.json"), fleet.path("card.json"));
    let ask = ["restore", "request", &bench.id, "--reason", "a test", "--break-glass", "--out"];
    fleet.run(&[&ask[..], &[arg(&out)]].concat()).ok();
    fleet.run(&["fleet", "card", "--out", arg(&card)]).ok();
    let mut parts = parts(&std::fs::read(&out).expect("a request"));
    let glass = parts.break_glass.as_ref().expect("it breaks the glass");
    let glass = Statement::<BreakGlass>::read_unverified(glass).expect("a statement").predicate;
    let operators = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
    let forged = BreakGlass { operators, needed: 1, ..glass };
    let subkey = key_in(&fleet.home().join("keys/subkey.key"));
    parts.break_glass = Some(forged.statement().sign(&[&subkey]).expect("signed"));
    let request = serde_json::to_vec(&Dossier::new(&parts)).expect("JSON");
    std::fs::write(&out, &request).expect("written");
    let card = std::fs::read(card).expect("a card");
    let bench = Bench { request, card, ..bench };
    let mut office = bench.open();
    let said = bench.submit(&mut office);
    assert!(said.state == Standing::Pending && said.why.contains("0 of the 1"), "{}", said.why);
    // In the notice, in the log, and to whoever answers by hand: what was counted.
    let words = "BREAK-GLASS: 0 of 2 witnesses vouch";
    let notice = office.take_notices().remove(0).facts();
    let shown = notice.lines().find(|line| line.contains("BREAK-GLASS")).expect("it is shown");
    assert!(shown.contains(words), "{shown}");
    stopped(shown);
    let seen = bench.acts().into_iter().find_map(|act| match act {
        Act::Seen { about, .. } => about.and_then(|about| about.break_glass),
        _ => None,
    });
    assert_eq!(seen, Some(SeenGlass { vouched: 0, needed: 2 }));
    let (share, approval) = (fleet.shares()[1].clone(), fleet.path("approval.json"));
    let args = ["restore", "approve", arg(&out), "--share", arg(&share), "--yes", "--out"];
    let said = run(&fleet.path("nowhere"), &[&args[..], &[arg(&approval)]].concat()).ok();
    said.says(&[words]);
}

#[expect(clippy::print_stdout, reason = "who runs it as another user reads what was not tried")]
#[test]
fn a_no_said_by_another_user_than_the_homes_owner() {
    let (fleet, bench) = Bench::with("approvers = []", &[]);
    let (file, digest) = (fleet.path("anna.key"), "07".repeat(32));
    let made = ["custodian", "approver", "--name", "anna", "--out", arg(&file)];
    run(&bench.home, &made).ok();
    let refuse = ["custodian", "refuse", &digest, "--key", arg(&file), "--reason", "no"];
    if rustix::process::geteuid().is_root() {
        chown(&bench.home, Some(4_242), None).expect("given away");
        let said = run(&bench.home, &refuse).code(1);
        stopped(&said.says(&["belongs to user 4242", "nothing was written", "sudo -u"]).stderr);
        assert!(!bench.home.join(VERDICTS).exists());
        chown(&bench.home, Some(0), None).expect("taken back");
    } else {
        println!("attack: not tried: only root can give a home to another user");
    }
    // The owner's is written, even where the machine has no list of its requests.
    let said = run(&bench.home, &refuse).code(3);
    assert!(said.stdout.contains("it counts when the machine runs"), "{said:?}");
    let verdicts = bench.home.join(VERDICTS);
    assert_eq!(std::fs::read_dir(&verdicts).expect("made").count(), 1);
    // A verdict that makes no sense holds a request: nobody else can put one there.
    for dir in [&bench.home, &verdicts] {
        let bits = std::fs::metadata(dir).expect("there").permissions().mode();
        assert_eq!(bits & 0o077, 0, "{}", dir.display());
    }
    let short = ["custodian", "refuse", "0707", "--key", arg(&file), "--reason", "no"];
    run(&bench.home, &short).code(1);
}

/// A second node of the fleet, in memory, and its request for the same snapshot, which shows the
/// policy that revokes the first.
fn shown_the_revocation(fleet: &Fleet, bench: &Bench) -> (VerifyingKey, Vec<u8>) {
    let root = key_in(&fleet.home().join("root/root-1.key"));
    let known = FleetCard::open(&bench.card).expect("a card");
    let mut parts = parts(&bench.request);
    let read = |e: &Envelope| Statement::<Enrolment>::read_unverified(e).expect("one").predicate;
    let first = read(&parts.requester[0]);
    let mut policy = known.policy().clone();
    policy.version += 1;
    policy.previous = known.policy_digest();
    policy.revoked = vec![Revocation {
        member: first.node(),
        epoch: 1,
        log_size: 1_000,
        reason: "stolen".to_owned(),
        since: bench.clock.now(),
        earlier: Vec::new(),
    }];
    parts.policies.push(policy.statement().sign(&[&root]).expect("signed"));
    let (identity, transport, subkey) = (key(51), key(52), key(53));
    let second = Enrolment {
        name: "node-2".to_owned(),
        identity: identity.public(),
        transport: transport.public(),
        ..first
    };
    let certified = Subkey {
        fleet: known.id(),
        node: identity.public().node_id(),
        key: subkey.public(),
        not_before: bench.clock.now().before(HOUR),
        not_after: bench.clock.now().after(Seconds::days(6)),
    };
    let request = Statement::<Request>::read_unverified(&parts.request).expect("a request");
    let request = Request { requester: second.node(), ..request.predicate };
    parts.request = request.statement().sign(&[&subkey]).expect("signed");
    parts.requester = [
        second.statement().sign(&[&root]).expect("signed"),
        certified.statement().sign(&[&identity]).expect("signed"),
    ];
    (transport.public(), serde_json::to_vec(&Dossier::new(&parts)).expect("JSON"))
}

#[test]
fn a_revoked_node_asks_a_machine_that_was_shown_the_revocation() {
    let (fleet, bench) = Bench::with("approvers = []", &[FOUR_HOURS]);
    let mut office = bench.open();
    assert_eq!(bench.submit(&mut office).state, Standing::Pending);
    let (second, shows) = shown_the_revocation(&fleet, &bench);
    let said = office.submit(second, &shows).expect("a good request of a good node");
    assert_eq!(said.state, Standing::Pending);

    // A new request, with the old view of the fleet.
    let again = asked_again(&fleet, &bench.request, |it| it.nonce = Hex32([1; 32]));
    let refusal = office.submit(bench.peer, &again).expect_err("revoked");
    assert!(refusal.error.contains("revoked"), "{refusal}");
    stopped(&refusal.error);
    assert!(!office.is_known(&bench.peer));
    // The one that waited; and the machine started again, from what the home has.
    pass(&bench, &mut office, Seconds::hours(5));
    let said = status(&bench, &mut office);
    assert_eq!(said.state, Standing::Refused, "{}", said.why);
    stopped(&said.why);
    drop(office);
    let id = FleetCard::open(&bench.card).expect("a card").id();
    let card = format!("fleets/{}.json", id.to_hex());
    let card = read_file(&bench.disk, &card, 4 << 20).expect("read").expect("it is kept");
    assert_eq!(FleetCard::open(&card).expect("a card").policies().len(), 1);
    let mut office = Bench { card, ..bench }.open();
    let refusal = office.submit(key(52).public(), &again).expect_err("revoked");
    assert!(refusal.error.contains("revoked"), "{refusal}");
}

#[test]
fn a_revoked_node_fetches_what_was_answered_before() {
    let (fleet, bench) = Bench::with("approvers = []", &[]);
    let mut office = bench.open();
    assert_eq!(bench.submit(&mut office).state, Standing::Answered);
    let (second, shows) = shown_the_revocation(&fleet, &bench);
    assert_eq!(office.submit(second, &shows).expect("good").state, Standing::Answered);
    let digest = parts(&bench.request).request.digest();
    let refusal = office.status(bench.peer, digest).expect_err("revoked");
    assert!(refusal.error.contains("revoked"), "{refusal}");
    stopped(&refusal.error);
}

#[test]
fn one_person_confirms_twice_under_another_name() {
    let two = [("persons = 0\n", "persons = 2\n")];
    let (_fleet, bench) = Bench::with(&approvers(&[("anna", 41), ("ben", 42)]), &two);
    let mut office = bench.open();
    let digest = bench.submit(&mut office).request;
    say(&bench, digest, 41, true);
    office.tick().expect("ticked");
    assert!(status(&bench, &mut office).why.contains("by 1 of the 2"));
    drop(office);
    // Anna is Anne now, with the same key, and confirms once more.
    let (before, after) = (approvers(&[("anna", 41)]), approvers(&[("anne", 41)]));
    let renamed = Bench { rules: bench.rules.replace(&before, &after), ..bench };
    let mut office = renamed.open();
    say(&renamed, digest, 41, true);
    office.tick().expect("ticked");
    let said = status(&renamed, &mut office);
    assert!(said.state == Standing::Pending && said.why.contains("by 1 of the 2"), "{}", said.why);
    stopped(&said.why);
    drop(office);
    // Anna's key is none any more: her word of before is nobody's.
    let gone = renamed.rules.replace(&after, &approvers(&[("carla", 43)]));
    let gone = Bench { rules: gone, ..renamed };
    let mut office = gone.open();
    say(&gone, digest, 42, true);
    office.tick().expect("ticked");
    let said = status(&gone, &mut office);
    assert!(said.state == Standing::Pending && said.why.contains("by 1 of the 2"), "{}", said.why);
    stopped(&said.why);
    say(&gone, digest, 43, true);
    office.tick().expect("ticked");
    assert_eq!(status(&gone, &mut office).state, Standing::Answered, "two people of today");
}

/// How many requests of a thief's, one after the other, a machine takes before it says no.
fn taken(bench: &Bench, office: &mut Office, next: &dyn Fn(u16) -> Vec<u8>) -> u16 {
    let mut count = 0;
    loop {
        match office.submit(bench.peer, &next(count)) {
            Ok(_) => count += 1,
            Err(refusal) => {
                assert_eq!(refusal.status, 429, "{refusal}");
                stopped(&refusal.error);
                return count;
            }
        }
    }
}

#[test]
fn a_stolen_node_fills_the_list_and_the_disk_with_refused_requests() {
    let (fleet, bench) = Bench::with("approvers = []", &[FOUR_HOURS]);
    let mut office = bench.open();
    let good = bench.submit(&mut office).request;
    let nonce = |round: u8, n: u16| {
        let mut nonce = [round; 32];
        nonce[..2].copy_from_slice(&n.to_le_bytes());
        Hex32(nonce)
    };
    let bad = |round: u8| {
        let (fleet, bench) = (&fleet, &bench);
        move |n: u16| {
            let mut dossier = asked_again(fleet, &bench.request, |it| {
                it.nonce = nonce(round, n);
                it.reason = "x".repeat(1_000);
            });
            // White space says nothing, and is kept by nobody.
            dossier.extend(vec![b' '; 1 << 20]);
            dossier
        }
    };
    assert_eq!(taken(&bench, &mut office, &bad(1)), 59, "60 in an hour, with the good one");
    pass(&bench, &mut office, Seconds(3_604));
    assert_eq!(taken(&bench, &mut office, &bad(2)), 5, "64 that were refused");
    office.tick().expect("ticked");
    let kept: Vec<_> =
        bench.disk.paths().into_iter().filter(|p| p.contains("/requests/")).collect();
    assert_eq!(kept.len(), 1, "files of what was refused go: {kept:?}");
    assert!(kept[0].contains(&good.to_hex()));
    assert!(bench.disk.read(&kept[0]).expect("read").len() < 200 << 10);
    let list = bench.disk.read(CASES).expect("listed");
    assert!(list.len() < MAX_CASES);
    let list: seawall_custodian::CaseList = serde_json::from_slice(&list).expect("a list");
    assert_eq!((list.cases[0].request, list.cases.len()), (good, 65), "what is open comes first");
    pass(&bench, &mut office, Seconds::hours(4));
    assert_eq!(status(&bench, &mut office).state, Standing::Answered);
}

#[test]
fn a_stolen_node_asks_for_seconds_only_so_that_nobody_counts() {
    let (fleet, bench) = Bench::with("approvers = []", &[FOUR_HOURS]);
    let mut office = bench.open();
    let mut count = 0_u8;
    loop {
        bench.clock.advance(Seconds(2));
        office.tick().expect("ticked");
        let now = bench.clock.now();
        let dossier = asked_again(&fleet, &bench.request, |it| {
            it.nonce = Hex32([count; 32]);
            (it.created, it.expires) = (now, now.after(Seconds(1)));
        });
        match office.submit(bench.peer, &dossier) {
            Ok(_) => count += 1,
            Err(refusal) => {
                stopped(&refusal.error);
                assert_eq!((refusal.status, count), (429, 60), "{refusal}");
                return;
            }
        }
    }
}

#[test]
fn a_clock_set_forward_ends_no_cooling_off() {
    let (_fleet, bench) = Bench::with("approvers = []", &[FOUR_HOURS]);
    let (start, mut office) = (bench.clock.now(), bench.open());
    let until = bench.submit(&mut office).until.expect("it waits");
    assert_eq!(until, start.after(Seconds::hours(4)));
    bench.clock.set(start.after(Seconds::hours(5)));
    office.tick().expect("ticked");
    let said = status(&bench, &mut office);
    assert_eq!((said.state, said.until), (Standing::Pending, Some(until)), "{}", said.why);
    stopped(&said.why);
    // In steps that are small, each.
    for minutes in 1..60 {
        bench.clock.set(start.after(Seconds(60 * 5 * minutes)));
        office.tick().expect("ticked");
    }
    assert_eq!(status(&bench, &mut office).state, Standing::Pending);
    // The four hours pass, and nobody has accepted the clock.
    bench.clock.set(start.after(Seconds::hours(5)));
    pass(&bench, &mut office, Seconds::hours(4));
    let said = status(&bench, &mut office);
    assert!(said.state == Standing::Pending && said.why.contains("set forward"), "{}", said.why);
    stopped(&said.why);
    let notices = office.take_notices();
    assert!(notices.iter().any(|n| n.decision.contains("a person has to accept")), "{notices:?}");
    // Started again, it has not forgotten.
    drop(office);
    let mut office = bench.open();
    office.tick().expect("ticked");
    assert_eq!(status(&bench, &mut office).state, Standing::Pending);
    // Somebody accepted another time; then this one.
    let accept = |clock| {
        let word = AcceptedClock::new(clock).to_json();
        bench.disk.plant(ACCEPTED_CLOCK, &word).expect("planted");
    };
    accept(start);
    office.tick().expect("ticked");
    assert_eq!(status(&bench, &mut office).state, Standing::Pending);
    accept(bench.clock.now());
    office.tick().expect("ticked");
    assert_eq!(status(&bench, &mut office).state, Standing::Answered);
    let decisions: Vec<_> = bench
        .acts()
        .into_iter()
        .filter_map(|act| match act {
            Act::Decided { decision, .. } => Some(decision),
            _ => None,
        })
        .collect();
    assert_eq!(decisions, ["wait", "held", "clock", "answer"]);
}

#[test]
fn a_clock_set_forward_while_the_machine_is_down_or_with_a_persons_word() {
    let (_fleet, bench) = Bench::with("approvers = []", &[FOUR_HOURS]);
    let (start, mut office) = (bench.clock.now(), bench.open());
    bench.submit(&mut office);
    drop(office);
    bench.clock.set(start.after(Seconds::hours(5)));
    let mut office = bench.open();
    office.tick().expect("ticked");
    let said = status(&bench, &mut office);
    assert_eq!(said.until, Some(start.after(Seconds::hours(9))), "nobody watched those five hours");
    stopped(&said.why);
    // A person's word that the clock is right says nothing of the time it skipped.
    bench.clock.set(start.after(Seconds::hours(8)));
    let word = AcceptedClock::new(bench.clock.now()).to_json();
    bench.disk.plant(ACCEPTED_CLOCK, &word).expect("planted");
    office.tick().expect("ticked");
    let said = status(&bench, &mut office);
    assert_eq!(said.until, Some(start.after(Seconds::hours(12))), "{}", said.why);
    pass(&bench, &mut office, Seconds::hours(4));
    assert_eq!(status(&bench, &mut office).state, Standing::Answered);
}

#[test]
fn a_clock_set_forward_while_the_machine_is_down_empties_no_daily_count() {
    let (fleet, bench) = Bench::with("approvers = []", &[("per_day = 5", "per_day = 1")]);
    let (start, mut office) = (bench.clock.now(), bench.open());
    assert_eq!(bench.submit(&mut office).state, Standing::Answered);
    let mut until = start;
    for round in 1..4 {
        drop(office);
        bench.clock.set(bench.clock.now().after(Seconds(48 * 3_600 + 1)));
        office = bench.open();
        office.tick().expect("ticked");
        let now = bench.clock.now();
        let again = asked_again(&fleet, &bench.request, |it| {
            it.nonce = Hex32([round; 32]);
            (it.created, it.expires) = (now, now.after(Seconds::days(3)));
        });
        let said = office.submit(bench.peer, &again).expect("it is taken");
        assert_eq!(said.state, Standing::Pending, "{}", said.why);
        stopped(&said.why);
        until = said.until.expect("it waits");
        assert!(until >= now.after(Seconds(24 * 3_600 - 60)), "{until} {now}");
    }
    // A day that somebody watched.
    pass(&bench, &mut office, Seconds(until.0 - bench.clock.now().0));
    let answered = bench.acts().iter().filter(|act| matches!(act, Act::Answered { .. })).count();
    assert_eq!(answered, 2);
}

#[test]
fn a_clock_that_comes_back_by_itself_was_never_believed() {
    let (_fleet, bench) = Bench::with("approvers = []", &[FOUR_HOURS]);
    let (start, mut office) = (bench.clock.now(), bench.open());
    bench.submit(&mut office);
    // Past the request's end: it is neither answered nor forgotten.
    bench.clock.set(start.after(Seconds::days(40)));
    office.tick().expect("ticked");
    let said = status(&bench, &mut office);
    assert_eq!(said.state, Standing::Pending, "{}", said.why);
    stopped(&said.why);
    bench.clock.set(start);
    pass(&bench, &mut office, Seconds::hours(4));
    assert_eq!(status(&bench, &mut office).state, Standing::Answered);
}

#[test]
fn a_stolen_node_asks_machines_that_a_sync_told_of_its_revocation() {
    let mut it = Machines::new();
    let thief = it.fleet.second_node("site-b");
    it.set_policy(0, "approvers = []", &[FOUR_HOURS]);
    it.start(0);
    let tree = it.fleet.path("tree");
    let made = run(&thief, &["snapshot", "create", arg(&tree), "--json"]).ok().json();
    let (id, out) = (made["id"].as_str().expect("an id"), it.fleet.path("stolen.json"));
    let ask = || {
        let args = ["restore", "request", id, "--reason", "test", "--out", arg(&out)];
        let said = run(&thief, &[&args[..], &["--send", "--json"]].concat()).ok().json();
        said["sent"][0].clone()
    };
    let said = ask();
    assert_eq!(said["state"], "pending", "{said}");
    let first = it.fleet.path("first.json");
    std::fs::copy(&out, &first).expect("copied");

    let next = it.fleet.path("next.json");
    let args = ["fleet", "policy", "propose", "--revoke", "site-b", "--reason", "laptop stolen"];
    it.fleet.run(&[&args[..], &["--out", arg(&next)]].concat()).ok();
    it.fleet.run(&["fleet", "policy", "apply", arg(&next)]).ok();
    let said = it.fleet.run(&["sync", "--json"]).ok().says(&["does not know version 3"]);
    assert!(said.stdout.contains("machine of custodian-1"), "{}", said.stdout);
    let shown = run(&it.home(0), &["custodian", "show", "--json"]).ok().json();
    assert_eq!(shown["fleets"][0]["policy_version"], 3, "{shown}");
    let said = ask();
    assert!(said["error"].as_str().is_some_and(|why| why.contains("revoked")), "{said}");
    stopped(&said.to_string());
    // What waited falls due.
    it.kill(0);
    it.set_policy(0, "approvers = []", &[]);
    it.start(0);
    let collect = || {
        let dir = it.fleet.path("approvals");
        run(&thief, &["restore", "collect", arg(&first), "--out-dir", arg(&dir), "--json"]).json()
    };
    wait_until("it is refused", || collect()["custodians"][0]["state"] == "refused");
    let said = collect();
    assert!(said.to_string().contains("revoked"), "{said}");
    stopped(&said.to_string());
    // One that was told is not asked again; the others are still named.
    let said = it.fleet.run(&["sync", "--json"]).ok();
    assert!(!said.stdout.contains("machine of custodian-1"), "{}", said.stdout);
    assert!(said.stdout.contains("machine of custodian-2"), "{}", said.stdout);
}
