//! Ceremonies: the form of what custodians say, and each rule of an opening broken by itself.

use seawall_base::{FleetId, Sha256};
use seawall_record::{
    Base64, Ceremony, CeremonyKind, CeremonyMessage, CeremonyOpening, CeremonyResult, CeremonyStep,
    CustodianCard, EscrowGroupRecord, GroupFile, Hex32, KnowledgeProof, MessageFile, Participant,
    RecordError, SealedPart, open_accept, open_message,
};
use seawall_sign::{Envelope, Predicate, Signer, Statement};

use crate::fixture::{GROUP, NOW, group, key};

/// The signing key of participant `index`: the custodian of the fixture's group.
fn signer(index: u16) -> seawall_sign::SigningKey {
    key(110 + index as u8)
}

fn card(index: u16) -> CustodianCard {
    CustodianCard {
        format: CustodianCard::FORMAT.to_owned(),
        name: format!("custodian-{index}"),
        operator: "an operator".to_owned(),
        signing_key: signer(index).public(),
        recipient: Base64(vec![index as u8; 1_216]),
        kem: Base64(vec![index as u8; 1_184]),
        witness: key(150 + index as u8).public(),
        transport: key(160 + index as u8).public(),
        address: None,
    }
}

fn cards(indices: &[u16]) -> Vec<CustodianCard> {
    indices.iter().map(|i| card(*i)).collect()
}

fn opening(kind: CeremonyKind, indices: &[u16]) -> CeremonyOpening {
    let participant = |card: &CustodianCard, index| Participant {
        index,
        name: card.name.clone(),
        signing_key: card.signing_key,
        card: card.digest(),
    };
    let previous = (kind != CeremonyKind::New).then(|| group(GROUP, "customers", 1));
    CeremonyOpening {
        kind,
        fleet: None,
        class: "customers".to_owned(),
        class_number: 1,
        threshold: 2,
        participants: indices.iter().map(|i| participant(&card(*i), *i)).collect(),
        previous,
        dealers: match kind {
            CeremonyKind::New => Vec::new(),
            CeremonyKind::Refresh => vec![1, 2, 3],
            CeremonyKind::Repair | CeremonyKind::Reshare => vec![1, 3],
        },
        repaired: (kind == CeremonyKind::Repair).then_some(2),
        suite: None,
        reason: "a test".to_owned(),
        created: NOW,
        nonce: Hex32([9; 32]),
    }
}

fn of(kind: CeremonyKind) -> CeremonyOpening {
    opening(kind, &[1, 2, 3])
}

fn ceremony() -> Ceremony {
    let it = of(CeremonyKind::New).statement().expect("sound").sign(&[&signer(1)]).expect("signed");
    Ceremony::new(it, cards(&[1, 2, 3])).expect("sound")
}

fn commit(from: u16) -> CeremonyMessage {
    CeremonyMessage {
        ceremony: ceremony().id(),
        step: CeremonyStep::Commit,
        from,
        commitments: vec![Hex32([1; 32]), Hex32([2; 32])],
        proof: Some(KnowledgeProof { r: Hex32([3; 32]), z: Hex32([4; 32]) }),
        sealed: Vec::new(),
        seen: Vec::new(),
    }
}

fn deal(from: u16) -> CeremonyMessage {
    let part = |to| SealedPart { to, sha256: Sha256([to as u8; 32]) };
    CeremonyMessage {
        step: CeremonyStep::Deal,
        commitments: Vec::new(),
        proof: None,
        sealed: (1..=3).filter(|to| *to != from).map(part).collect(),
        seen: (1..=3).map(|i| Sha256([i; 32])).collect(),
        ..commit(from)
    }
}

fn signed(it: CeremonyMessage, by: u16) -> Envelope {
    it.statement().sign(&[&signer(by)]).expect("signed")
}

fn refusal<T>(result: Result<T, RecordError>) -> String {
    result.err().expect("refused").to_string()
}

#[test]
fn sound_openings_of_each_kind_are_accepted_and_read_back() {
    for kind in
        [CeremonyKind::New, CeremonyKind::Refresh, CeremonyKind::Repair, CeremonyKind::Reshare]
    {
        let it = of(kind).statement().expect("sound").sign(&[&signer(2)]).expect("signed");
        let ceremony = Ceremony::new(it, cards(&[1, 2, 3])).expect("sound");
        let again = Ceremony::open(&ceremony.to_json()).expect("what it writes, it reads");
        assert_eq!((again.id(), again.opening), (ceremony.id(), of(kind)));
        let stranger = of(kind).statement().expect("sound").sign(&[&key(1)]).expect("signed");
        assert!(refusal(Ceremony::new(stranger, cards(&[1, 2, 3]))).contains("0 of the trusted"));
    }
}

#[test]
fn every_rule_of_an_opening_is_kept() {
    type Break = fn(&mut CeremonyOpening);
    let rules: &[(CeremonyKind, &str, Break)] = &[
        (CeremonyKind::New, "every share is the group's secret", |o| o.threshold = 1),
        (CeremonyKind::New, "every share is the group's secret", |o| o.threshold = 0),
        (CeremonyKind::New, "indices are 1 to n", |o| o.threshold = 4),
        (CeremonyKind::New, "2 to 16 participants", |o| o.participants.truncate(1)),
        (CeremonyKind::New, "ascending index", |o| o.participants.swap(0, 1)),
        (CeremonyKind::New, "ascending index", |o| o.participants[0].index = 0),
        (CeremonyKind::New, "indices are 1 to n", |o| o.participants[2].index = 4),
        (CeremonyKind::New, "share a key or a card", |o| {
            o.participants[1].signing_key = o.participants[0].signing_key;
        }),
        (CeremonyKind::New, "share a key or a card", |o| {
            o.participants[1].card = o.participants[0].card;
        }),
        (CeremonyKind::New, "class numbers count from 1", |o| o.class_number = 0),
        (CeremonyKind::New, "without control", |o| o.reason = "a\u{202e}b".to_owned()),
        (CeremonyKind::New, "has no previous one", |o| {
            o.previous = Some(group(GROUP, "customers", 1));
        }),
        (CeremonyKind::New, "nobody deals", |o| o.dealers = vec![1]),
        (CeremonyKind::Refresh, "has no previous one", |o| o.previous = None),
        (CeremonyKind::Refresh, "keeps its class", |o| o.class = "web".to_owned()),
        (CeremonyKind::Refresh, "keeps custodians and threshold", |o| o.threshold = 3),
        (CeremonyKind::Refresh, "keeps custodians and threshold", |o| {
            o.participants.truncate(2);
        }),
        (CeremonyKind::Refresh, "everyone deals", |o| o.dealers = vec![1, 2]),
        (CeremonyKind::Refresh, "repairs nobody", |o| o.repaired = Some(1)),
        (CeremonyKind::Repair, "names the custodian", |o| o.repaired = None),
        (CeremonyKind::Repair, "names the custodian", |o| o.repaired = Some(9)),
        (CeremonyKind::Repair, "between its helpers", |o| o.dealers = vec![1, 2]),
        (CeremonyKind::Repair, "exactly as many", |o| o.dealers = vec![1, 2, 3]),
        (CeremonyKind::Repair, "exactly as many", |o| o.dealers = vec![3, 1]),
        (CeremonyKind::Repair, "a helper is not", |o| {
            o.participants[0].signing_key = key(77).public();
        }),
        (CeremonyKind::New, "upgrade", |o| o.suite = Some(3)),
        (CeremonyKind::Repair, "keeps the group's suite", |o| o.suite = Some(2)),
        (CeremonyKind::Refresh, "takes the group's post-quantum half away", |o| {
            if let Some(previous) = &mut o.previous {
                previous.suite = Some(2);
            }
        }),
        (CeremonyKind::Reshare, "exactly as many", |o| o.dealers = vec![1]),
        (CeremonyKind::Reshare, "exactly as many", |o| o.dealers = vec![1, 9]),
        (CeremonyKind::Reshare, "repairs nobody", |o| o.repaired = Some(2)),
        (CeremonyKind::Reshare, "used up", |o| {
            if let Some(previous) = &mut o.previous {
                previous.share_epoch = u32::MAX;
            }
        }),
    ];
    for (kind, words, change) in rules {
        let mut it = of(*kind);
        change(&mut it);
        let e = refusal(it.check());
        assert!(e.contains(words), "{kind:?}: {words:?} is not in {e:?}");
        assert!(it.statement().is_err(), "{words}");
    }
}

#[test]
fn cards_must_be_the_ones_the_opening_names() {
    let it = of(CeremonyKind::New).statement().expect("sound").sign(&[&signer(1)]).expect("signed");
    let mut changed = cards(&[1, 2, 3]);
    changed[1].recipient = Base64(vec![8; 1_216]);
    for cards in [changed, cards(&[1, 2]), cards(&[2, 1, 3])] {
        assert!(refusal(Ceremony::new(it.clone(), cards)).contains("not the ones it names"));
    }
    let wrong: [fn(&mut CustodianCard); 4] = [
        |c| c.recipient.0.truncate(9),
        |c| c.kem.0.truncate(9),
        |c| c.witness = c.signing_key,
        |c| c.name = String::new(),
    ];
    for change in wrong {
        let mut it = card(1);
        change(&mut it);
        assert!(CustodianCard::parse(&it.to_json()).is_err());
    }
    assert_eq!(CustodianCard::parse(&card(1).to_json()), Ok(card(1)));
}

#[test]
fn statements_have_the_parts_of_their_step_and_the_signature_of_their_speaker() {
    type Change = fn(&mut CeremonyMessage);
    let ceremony = ceremony();
    for it in [commit(2), deal(2)] {
        assert_eq!(open_message(&ceremony, &signed(it.clone(), 2)), Ok(it.clone()));
        assert!(
            refusal(open_message(&ceremony, &signed(it.clone(), 3))).contains("by custodian-2")
        );
        let changes: [(&str, Change); 9] = [
            ("another ceremony", |m| m.ceremony = Sha256([0; 32])),
            ("has nothing to", |m| m.from = 4),
            ("has nothing to", |m| m.step = CeremonyStep::Sum),
            ("has nothing to", |m| m.step = CeremonyStep::Accept),
            ("parts it must have", |m| m.commitments.push(Hex32([1; 32]))),
            ("parts it must have", |m| {
                m.proof = if m.proof.is_some() { None } else { commit(1).proof };
            }),
            ("parts it must have", |m| {
                m.sealed.push(SealedPart { to: 2, sha256: Sha256([1; 32]) });
            }),
            ("parts it must have", |m| m.seen.push(Sha256([1; 32]))),
            ("parts it must have", |m| {
                m.commitments.clear();
                m.sealed.clear();
            }),
        ];
        for (words, change) in changes {
            let mut wrong = it.clone();
            change(&mut wrong);
            let e = refusal(open_message(&ceremony, &signed(wrong, 2)));
            assert!(e.contains(words), "{words:?} is not in {e:?}");
        }
    }
    let file = MessageFile { message: signed(commit(1), 1), sealed: Vec::new(), seen: Vec::new() };
    let again = MessageFile::parse(&file.to_json()).expect("what it writes, it reads");
    assert_eq!(again.message, file.message);
}

fn result() -> CeremonyResult {
    let shares = (1..=3).map(|i| (i, Hex32([i as u8; 32]))).collect();
    let record = of(CeremonyKind::New)
        .record(GROUP, Hex32([5; 32]), &shares, &cards(&[1, 2, 3]))
        .expect("a record");
    let transcript = (1..=3).map(|i| signed(commit(i), i).digest()).collect();
    CeremonyResult { ceremony: ceremony().id(), record, transcript }
}

#[test]
fn a_group_file_needs_everyone_and_is_the_group_that_was_opened() {
    let commits = || (1..=3).map(|i| signed(commit(i), i)).collect::<Vec<_>>();
    let by = |it: CeremonyResult, who: &[u16]| {
        let keys: Vec<_> = who.iter().map(|i| signer(*i)).collect();
        it.statement()
            .sign(&keys.iter().map(|k| k as &dyn Signer).collect::<Vec<_>>())
            .expect("signed")
    };
    let file = GroupFile::new(ceremony(), commits(), by(result(), &[1, 2, 3])).expect("a group");
    let again = GroupFile::open(&file.to_json()).expect("what it writes, it reads");
    assert_eq!((again.record(), again.digest()), (&result().record, file.digest()));
    assert_eq!(again.record().ceremony, "distributed");

    let two = GroupFile::new(ceremony(), commits(), by(result(), &[1, 2]));
    assert!(refusal(two).contains("signed by 2 of the trusted keys, 3 needed"));
    let mut order = commits();
    order.swap(0, 1);
    let swapped = GroupFile::new(ceremony(), order, by(result(), &[1, 2, 3]));
    assert!(refusal(swapped).contains("not the ones the result was made from"));
    let changes: [fn(&mut EscrowGroupRecord); 7] = [
        |r| r.threshold = 3,
        |r| r.class = "web".to_owned(),
        |r| r.class_number = 2,
        |r| r.share_epoch = 1,
        |r| r.ceremony = "local".to_owned(),
        |r| r.retired = true,
        |r| r.custodians[0].signing_key = key(77).public(),
    ];
    for change in changes {
        let mut it = result();
        change(&mut it.record);
        let e = refusal(GroupFile::new(ceremony(), commits(), by(it, &[1, 2, 3])));
        assert!(e.contains("not the one its ceremony was opened for"), "{e}");
    }
    let ceremony = ceremony();
    assert_eq!(open_accept(&ceremony, &by(result(), &[2])), Ok((result(), 2)));
    assert!(refusal(open_accept(&ceremony, &by(result(), &[1, 2]))).contains("one participant"));
    let stranger = result().statement().sign(&[&key(1)]).expect("signed");
    assert!(refusal(open_accept(&ceremony, &stranger)).contains("takes no part"));
    let other = CeremonyResult { ceremony: Sha256([0; 32]), ..result() };
    assert!(refusal(open_accept(&ceremony, &by(other, &[1]))).contains("another ceremony"));
}

/// The payload with long keys cut, for reading.
fn shown<P: Predicate>(it: &Statement<P>) -> String {
    let envelope = it.sign(&[&signer(1)]).expect("signed");
    let text = String::from_utf8(envelope.unverified_payload().to_vec()).expect("JSON");
    let kem = cut(&text, "\"kem\":\"");
    kem.replace(",\"", ",\n\"").replace('{', "{\n")
}

/// Replaces what follows `key` up to the quote by its length.
fn cut(text: &str, key: &str) -> String {
    let mut parts = text.split(key);
    let mut out = parts.next().unwrap_or("").to_owned();
    for part in parts {
        let (value, rest) = part.split_once('"').expect("a closing quote");
        out.push_str(&format!("{key}({} characters)\"{rest}", value.len()));
    }
    out
}

#[test]
fn the_predicates_are_pinned() {
    let mut opening = of(CeremonyKind::Repair);
    opening.fleet = Some(FleetId([7; 32]));
    insta::assert_snapshot!("opening", shown(&opening.statement().expect("sound")));
    insta::assert_snapshot!("commit", shown(&commit(1).statement()));
    insta::assert_snapshot!("deal", shown(&deal(1).statement()));
    insta::assert_snapshot!("result", shown(&result().statement()));
}
