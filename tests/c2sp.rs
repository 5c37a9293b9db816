//! A custodian's machine as a witness, by what C2SP tlog-witness says of requests and answers: the
//! bodies here are written by hand, as somebody else's program would send them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use seawall_custodian::CustodianHome;
use seawall_link::Connection;
use seawall_sign::SigningKey;
use seawall_tlog::{Hash, Kind, NoteSignature, SignedCheckpoint, Verifier};

use crate::attack::bombs::{StolenLog, stolen_subkey};
use crate::attack::witnesses::witnesses;
use crate::harness::Fleet;
use crate::machines::{ask, connect, message, transport_key};

/// A connection to a witness, and what is sent on it.
struct Client(Connection);

impl Client {
    fn add(&mut self, body: &str) -> (u16, String) {
        ask(&mut self.0, &message("POST", "/v1/witness/add-checkpoint", body.into()))
    }

    fn get(&mut self, path: &str) -> (u16, String) {
        ask(&mut self.0, &message("GET", &format!("/v1/witness/{path}"), Vec::new()))
    }
}

fn body(old: u64, proof: &[Hash], note: &SignedCheckpoint) -> String {
    let mut lines = String::new();
    for hash in proof {
        lines.extend([&BASE64.encode(hash.0), "\n"]);
    }
    let note = String::from_utf8(note.to_bytes()).expect("text");
    format!("old {old}\n{lines}\n{note}")
}

#[test]
fn a_witness_answers_as_tlog_witness_says() {
    let fleet = Fleet::found();
    let all = witnesses(&fleet, &["anna"], ["1", "0"]);
    let witness = CustodianHome::open(&all[0].home).expect("a home");
    let pinned = witness.transport().expect("a key").public();
    let own = transport_key(&fleet.home());
    let mut client = Client(connect(&all[0].address, pinned, &own).expect("connected"));
    let tree = fleet.tree("tree");
    fleet.snapshot(&tree);

    // 404: nobody has said who signs this log.
    let log = StolenLog::read(&fleet.home()).log;
    let first = log.checkpoint().expect("signed").clone();
    let (held, origin) = (first.checkpoint().size, first.checkpoint().origin.clone());
    assert_eq!(client.add(&body(0, &[], &first)).0, 404);
    assert_eq!(client.get(&format!("{}/checkpoint", origin.hash().to_hex())).0, 404);
    drop(log);
    fleet.run(&["sync"]).ok();
    std::fs::write(tree.join("more"), "more").expect("written");
    fleet.snapshot(&tree);
    let log = StolenLog::read(&fleet.home()).log;
    let next = log.checkpoint().expect("signed").clone();
    let size = next.checkpoint().size;
    let proof = log.consistency(held, size).expect("in range");
    assert!(size > held && !proof.is_empty());
    let good = body(held, &proof, &next);

    // 400: no request, or one that goes backwards.
    assert_eq!(client.add("nonsense").0, 400);
    assert_eq!(client.add(&good.replace("\n\n", "\n")).0, 400);
    assert_eq!(client.add(&body(size + 1, &proof, &next)).0, 400);
    // 403: signed by nobody it knows for this log.
    let stranger = SigningKey::from_seed(&[9; 32]);
    let other = SignedCheckpoint::sign(next.checkpoint().clone(), &stranger).expect("signed");
    assert_eq!(client.add(&body(held, &proof, &other)).0, 403);
    // 409, with what is held.
    assert_eq!(client.add(&body(0, &[], &next)), (409, format!("{held}\n")));
    assert_eq!(client.add(&body(held + 1, &[], &next)), (409, format!("{held}\n")));
    // 422: not proven to go on from there.
    assert_eq!(client.add(&body(held, &[], &next)).0, 422);
    let mut wrong = proof.clone();
    wrong[0].0[0] ^= 1;
    assert_eq!(client.add(&body(held, &wrong, &next)).0, 422);
    // 409 without a number: as large as what is held, and another tree.
    let subkey = std::fs::read(fleet.home().join("keys/subkey.key")).expect("the subkey");
    let mut forked = first.checkpoint().clone();
    forked.root.0[0] ^= 1;
    let forked = SignedCheckpoint::sign(forked, &stolen_subkey(&subkey)).expect("signed");
    let (status, said) = client.add(&body(held, &[], &forked));
    assert_eq!(status, 409, "{said}");
    assert!(said.contains("forked"), "{said}");

    // 200, with lines that verify; again, with a newer time.
    let key = witness.witness().expect("a key").public();
    let verifier = Verifier::new("anna", Kind::Cosigner, &key).expect("a name");
    for request in [good, body(size, &[], &next)] {
        let (status, lines) = client.add(&request);
        assert_eq!(status, 200, "{lines}");
        assert!(lines.starts_with('\u{2014}') && lines.ends_with('\n'), "{lines}");
        let lines = NoteSignature::parse_lines(&lines).expect("signature lines");
        let stamped = verifier.verify(next.note().text(), &lines[0]).expect("a good signature");
        assert!(stamped.is_some_and(|time| time.0 > 1_700_000_000));
    }
    // Monitors read what it cosigned last.
    let (status, shown) = client.get(&format!("{}/checkpoint", origin.hash().to_hex()));
    assert_eq!(status, 200);
    assert!(shown.starts_with(&format!("{}\n{size}\n", origin.as_str())), "{shown}");
    assert_eq!(client.get(&format!("{}/checkpoint", "0".repeat(64))).0, 404);
}
