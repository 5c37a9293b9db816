//! Logs that go on in another epoch, and the statements that stand beside the chain.

use seawall_base::{Seconds, Sha256};
use seawall_record::{
    Accepted, Branch, BreakGlass, EarlierLog, Enrolment, Epoch, Fleet, Introduction, LogPoint,
    LogState, Manifest, RecordError, Revocation, Subkey, node_origin,
};
use seawall_sign::{Envelope, SigningKey};

use crate::fixture::{
    NOW, by_identity, by_root, by_subkey, fleet, identity, key, manifest, node_enrolment, root,
    rule, subkey, subkey_key,
};

fn origin(epoch: u32) -> String {
    node_origin(fleet().id(), identity().public().node_id(), epoch)
}

fn enrolment(epoch: u32) -> Enrolment {
    Enrolment { epoch, ..node_enrolment() }
}

/// A snapshot of an epoch, signed.
fn snapshot(epoch: u32, sequence: u64, previous: Option<Sha256>) -> Envelope {
    let it = manifest(sequence, previous);
    let core = seawall_record::ManifestCore { origin: origin(epoch), ..it.core };
    by_subkey(Manifest { core, ..it })
}

fn point(epoch: u32, size: u64) -> LogPoint {
    LogPoint { origin: origin(epoch), size, root: Sha256([7; 32]) }
}

fn epoch(number: u32, continues: LogPoint) -> Epoch {
    Epoch {
        fleet: fleet().id(),
        node: identity().public().node_id(),
        epoch: number,
        continues,
        enrolment: by_root(enrolment(number)).digest(),
        asked: vec!["region-a".to_owned()],
        reason: "restored from an image".to_owned(),
        created: NOW,
    }
}

fn signed(it: Epoch, by: &SigningKey) -> Envelope {
    it.statement().sign(&[by]).expect("signed")
}

/// The log of epoch 2 up to the two snapshots of epoch 1.
fn trunk() -> (LogState, Sha256) {
    let mut log = LogState::new(fleet(), &origin(2));
    let first = snapshot(1, 1, None);
    let second = snapshot(1, 2, Some(first.digest()));
    let certificate = by_identity(subkey());
    for entry in [by_root(enrolment(1)), certificate, first, second.clone()] {
        log.accept(&entry.to_json()).expect("of epoch 1");
    }
    assert!(!log.is_current());
    (log, second.digest())
}

/// The same, gone on in epoch 2.
fn continued() -> (LogState, Sha256) {
    let (mut log, last) = trunk();
    log.accept(&by_root(enrolment(2)).to_json()).expect("the enrolment");
    log.accept(&signed(epoch(2, point(1, 4)), &root()).to_json()).expect("the epoch");
    assert!(log.is_current());
    (log, last)
}

fn refused(log: &mut LogState, entry: &Envelope) -> RecordError {
    let before = log.entries();
    let e = log.accept(&entry.to_json()).expect_err("must be refused");
    assert_eq!(log.entries(), before);
    e
}

#[test]
fn a_log_goes_on_where_the_root_keys_say() {
    let (mut log, last) = continued();
    assert_eq!(log.owner().map(|(_, epoch)| epoch), Some(2));
    assert_eq!((log.epoch_origin(), log.continued().len()), (origin(2).as_str(), 1));
    assert_eq!((log.continued()[0].held, &log.continued()[0].point), (4, &point(1, 4)));
    // The chain of snapshots goes on, too, under the new name only.
    refused(&mut log, &snapshot(1, 3, Some(last)));
    log.accept(&snapshot(2, 3, Some(last)).to_json()).expect("number 3");
}

/// The payloads, indented for reading: a change here is a change of format.
#[test]
fn the_statements_are_pinned() {
    let shown = |envelope: &Envelope| {
        let text = String::from_utf8(envelope.unverified_payload().to_vec()).expect("UTF-8");
        text.replace(",\"", ",\n\"").replace('{', "{\n")
    };
    insta::assert_snapshot!("epoch", shown(&signed(epoch(2, point(1, 4)), &root())));
    insta::assert_snapshot!("branch", shown(&branch(1, vec![Sha256([3; 32])])));
}

#[test]
fn an_epoch_is_its_enrolment_and_its_statement() {
    let (mut log, last) = trunk();
    let statement = signed(epoch(2, point(1, 4)), &root());
    let e = refused(&mut log, &statement);
    assert_eq!(rule(&e), "stands only behind the enrolment for its epoch");
    log.accept(&by_root(enrolment(2)).to_json()).expect("the enrolment");
    let e = refused(&mut log, &snapshot(1, 3, Some(last)));
    assert_eq!(rule(&e), "an enrolment for a new epoch is followed by its epoch statement");
    refused(&mut log, &signed(epoch(2, point(1, 4)), &identity()));
    refused(&mut log, &signed(epoch(3, point(1, 4)), &root()));
    refused(&mut log, &signed(epoch(2, point(2, 4)), &root()));
    refused(&mut log, &signed(epoch(2, point(9, 4)), &root()));
    let e = refused(&mut log, &signed(epoch(2, point(1, 3)), &root()));
    assert_eq!(rule(&e), "continues from 3 entries where 4 of that epoch stand");
    let other = Epoch { enrolment: Sha256([1; 32]), ..epoch(2, point(1, 4)) };
    refused(&mut log, &signed(other, &root()));
    // More was committed to than anybody could give back: it goes on all the same.
    log.accept(&signed(epoch(2, point(1, 9)), &root()).to_json()).expect("the epoch");
    assert_eq!(log.continued()[0].held, 4);
}

#[test]
fn only_a_later_epoch_of_the_same_node_follows() {
    for (next, why) in [
        (enrolment(1), "for another node or tenant, or for no later epoch"),
        (enrolment(3), "a log has one, and further ones only for the epochs up to its own"),
        (
            Enrolment { tenant: Some("other".to_owned()), ..enrolment(2) },
            "for another node or tenant, or for no later epoch",
        ),
        (
            Enrolment { identity: key(99).public(), ..enrolment(2) },
            "for another node or tenant, or for no later epoch",
        ),
    ] {
        let (mut log, _) = trunk();
        assert_eq!(rule(&refused(&mut log, &by_root(next))), why);
    }
    let (mut log, _) = continued();
    refused(&mut log, &by_root(enrolment(3)));
}

fn branch(of: u32, manifests: Vec<Sha256>) -> Envelope {
    let it = Branch {
        fleet: fleet().id(),
        node: identity().public().node_id(),
        origin: origin(2),
        of: origin(of),
        manifests,
        created: NOW,
    };
    it.statement().sign(&[&subkey_key()]).expect("signed")
}

#[test]
fn what_was_made_on_a_branch_stands_outside_the_chain() {
    let (mut log, last) = continued();
    let (one, two) = (snapshot(1, 2, Some(Sha256([4; 32]))), snapshot(1, 3, Some(last)));
    let e = refused(&mut log, &one);
    assert_eq!(rule(&e), "made in an earlier epoch, and no branch statement announces it");
    refused(&mut log, &branch(2, vec![one.digest()]));
    refused(&mut log, &branch(1, vec![]));
    refused(&mut log, &branch(1, vec![one.digest(), one.digest()]));
    let e = refused(&mut log, &branch(1, vec![last]));
    assert_eq!(rule(&e), "names a snapshot this log has already");
    log.accept(&branch(1, vec![one.digest(), two.digest()]).to_json()).expect("announced");
    let e = refused(&mut log, &branch(1, vec![Sha256([1; 32])]));
    assert_eq!(rule(&e), "the snapshots of an announced branch follow first");
    for it in [&one, &two] {
        let accepted = log.accept(&it.to_json()).expect("announced");
        assert!(matches!(accepted, Accepted::BranchManifest(digest, _) if digest == it.digest()));
        refused(&mut log, it);
    }
    log.accept(&snapshot(2, 3, Some(last)).to_json()).expect("the chain goes on");
    assert!(log.has_snapshot(&one.digest()) && log.has_snapshot(&last));
}

#[test]
fn a_broken_glass_stands_in_the_log_of_who_broke_it() {
    let mut log = LogState::new(fleet(), &origin(1));
    log.accept(&by_root(enrolment(1)).to_json()).expect("the enrolment");
    log.accept(&by_identity(subkey()).to_json()).expect("the subkey");
    let it = BreakGlass {
        fleet: fleet().id(),
        requester: identity().public().node_id(),
        manifest: Sha256([3; 32]),
        origin: origin(1),
        operators: vec!["anna".to_owned()],
        needed: 2,
        reason: "the storm".to_owned(),
        created: NOW,
    };
    let sign = |it: &BreakGlass| it.clone().statement().sign(&[&subkey_key()]).expect("signed");
    let twice = vec!["anna".to_owned(), "anna".to_owned()];
    refused(&mut log, &sign(&BreakGlass { operators: twice, ..it.clone() }));
    refused(&mut log, &sign(&BreakGlass { requester: key(99).public().node_id(), ..it.clone() }));
    refused(&mut log, &sign(&BreakGlass { reason: String::new(), ..it.clone() }));
    log.accept(&sign(&it).to_json()).expect("logged");
}

#[test]
fn an_introduction_is_checked_whole() {
    let certificate = by_identity(subkey());
    let it = Introduction::new(&by_root(enrolment(4)), std::slice::from_ref(&certificate));
    let opened = Introduction::parse(&it.to_json()).expect("parses").open(&fleet()).expect("opens");
    assert_eq!(
        (opened.origin(), opened.keys().collect::<Vec<_>>()),
        (origin(4), vec![subkey_key().public()],)
    );
    assert!(
        Introduction::parse(&Introduction::new(&by_root(enrolment(4)), &[]).to_json()).is_err()
    );
    let foreign = Subkey { node: key(99).public().node_id(), ..subkey() };
    let wrong = Introduction::new(&by_root(enrolment(4)), &[by_identity(foreign)]);
    assert!(wrong.open(&fleet()).is_err());
    let many = vec![certificate; 40];
    let most = Introduction::new(&by_root(enrolment(4)), &many);
    assert!(Introduction::parse(&most.to_json()).is_ok(), "the newest are taken");
}

/// The fleet after this node's revocation.
fn revoked(epoch: u32, log_size: u64, earlier: Vec<EarlierLog>) -> Fleet {
    let fleet = fleet();
    let mut policy = fleet.policy().clone();
    policy.version += 1;
    policy.previous = fleet.policy_digest();
    policy.revoked = vec![Revocation {
        member: identity().public().node_id(),
        epoch,
        log_size,
        reason: "stolen".to_owned(),
        since: NOW,
        earlier,
    }];
    fleet.advance(policy.statement().sign(&[&root()]).expect("signed")).expect("good")
}

/// The log of epoch 2 with one snapshot of its own, and how many of its entries were believed.
fn read(fleet: Fleet) -> (LogState, Vec<u64>) {
    let mut log = LogState::new(fleet, &origin(2));
    let first = snapshot(1, 1, None);
    let second = snapshot(1, 2, Some(first.digest()));
    let third = snapshot(2, 3, Some(second.digest()));
    let mut believed = Vec::new();
    for entry in [
        by_root(enrolment(1)),
        by_identity(subkey()),
        first,
        second,
        by_root(enrolment(2)),
        signed(epoch(2, point(1, 4)), &root()),
        third,
    ] {
        let accepted = log.accept(&entry.to_json()).expect("counted in any case");
        if !matches!(accepted, Accepted::Disbelieved) {
            believed.push(log.entries() - 1);
        }
    }
    (log, believed)
}

#[test]
fn a_revocation_of_an_earlier_epoch_does_not_end_the_log_of_a_later_one() {
    for log_size in [0, 1, 3] {
        let (log, believed) = read(revoked(1, log_size, Vec::new()));
        assert_eq!(believed, [0, 1, 2, 3, 4, 5, 6], "the root keys have continued it");
        assert!(log.is_current() && !log.is_past_revocation());
    }
}

#[test]
fn a_revocation_within_what_an_epoch_continues_leads_to_that_epoch_all_the_same() {
    let (log, believed) = read(revoked(2, 3, Vec::new()));
    assert_eq!(believed, [0, 1, 2, 4, 5], "entries 3 and 6 are not believed");
    assert!(log.is_current(), "it reaches the epoch its name says");
    assert_eq!(log.last_manifest().map(|(_, n)| n), Some(1));
}

#[test]
fn a_log_of_an_epoch_before_the_revoked_one_is_believed_as_far_as_is_said() {
    for (named, expected) in [(None, 1), (Some(3), 3), (Some(9), 4)] {
        let earlier = named.map(|log_size| EarlierLog { epoch: 1, log_size });
        let mut log = LogState::new(revoked(2, 100, earlier.into_iter().collect()), &origin(1));
        let first = snapshot(1, 1, None);
        let second = snapshot(1, 2, Some(first.digest()));
        let mut believed = 0;
        for entry in [by_root(enrolment(1)), by_identity(subkey()), first, second] {
            let accepted = log.accept(&entry.to_json()).expect("counted");
            believed += u64::from(!matches!(accepted, Accepted::Disbelieved));
        }
        assert_eq!(believed, expected);
        let signers: Vec<_> = log.all_subkeys().collect();
        assert_eq!(signers, [subkey_key().public()], "who signs its checkpoint is known");
    }
}

#[test]
fn a_clock_that_jumped_once_ends_a_log_until_its_next_epoch_only() {
    let far = NOW.after(Seconds::days(5_000));
    let ahead = Subkey {
        key: key(50).public(),
        not_before: far.before(Seconds::days(1)),
        not_after: far.after(Seconds::days(1)),
        ..subkey()
    };
    let (mut log, last) = trunk();
    log.accept(&by_identity(ahead).to_json()).expect("certified");
    let it = manifest(3, Some(last));
    let core = seawall_record::ManifestCore { origin: origin(1), created: far, ..it.core };
    let jumped = Manifest { core, ..it }.statement().sign(&[&key(50)]).expect("signed");
    log.accept(&jumped.to_json()).expect("what its clock said");
    let e = refused(&mut log, &snapshot(1, 4, Some(jumped.digest())));
    assert!(rule(&e).contains("before its predecessor"), "{e}");
    log.accept(&by_root(enrolment(2)).to_json()).expect("the enrolment");
    log.accept(&signed(epoch(2, point(1, 6)), &root()).to_json()).expect("the epoch");
    assert_eq!(log.last_created(), Some(NOW), "the root keys' time");
    log.accept(&snapshot(2, 4, Some(jumped.digest())).to_json()).expect("the chain goes on");
    // Root keys whose clock is ahead make nothing of what follows too old.
    let (mut log, last) = trunk();
    log.accept(&by_root(enrolment(2)).to_json()).expect("the enrolment");
    let late = Epoch { created: far, ..epoch(2, point(1, 4)) };
    log.accept(&signed(late, &root()).to_json()).expect("the epoch");
    log.accept(&snapshot(2, 3, Some(last)).to_json()).expect("as before");
}
