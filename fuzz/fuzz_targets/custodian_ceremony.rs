//! A ceremony's files as they lie in a folder, from anybody; and statements that a participant
//! signed, whatever they say.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use seawall_custodian::ceremony::{Board, check_group_file};
use seawall_fuzz::{ceremony, ceremony_key, sign};
use seawall_record::{Ceremony, CustodianCard, MessageFile};

fuzz_target!(|data: &[u8]| {
    static CEREMONY: OnceLock<Ceremony> = OnceLock::new();
    let known = CEREMONY.get_or_init(ceremony);
    let Some((kind, rest)) = data.split_first() else { return };
    match kind % 3 {
        0 => files(known, rest),
        // Behind a participant's signature.
        1 => {
            let signer = ceremony_key(1 + u16::from(kind / 3 % 3));
            let message = sign(rest, &signer);
            let file = MessageFile { message, sealed: Vec::new(), seen: Vec::new() };
            let _ = Board::read(known, &[("f.json".to_owned(), file.to_json())]);
        }
        _ => {
            let opening = sign(rest, &ceremony_key(1));
            if let Ok(opened) = Ceremony::new(opening, known.cards.clone()) {
                Ceremony::open(&opened.to_json()).expect("what it writes, it reads");
            }
        }
    }
});

fn files(known: &Ceremony, data: &[u8]) {
    if let Ok(card) = CustodianCard::parse(data) {
        assert_eq!(CustodianCard::parse(&card.to_json()), Ok(card));
    }
    if let Ok(opened) = Ceremony::open(data) {
        Ceremony::open(&opened.to_json()).expect("what it writes, it reads");
    }
    if let Ok(file) = MessageFile::parse(data) {
        MessageFile::parse(&file.to_json()).expect("what it writes, it reads");
    }
    let _ = Board::read(known, &[("f.json".to_owned(), data.to_vec())]);
    if let Ok((file, _)) = check_group_file(data) {
        check_group_file(&file.to_json()).expect("what it writes, it reads");
    }
}
