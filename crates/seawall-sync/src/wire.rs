//! The bodies of the region protocol, shared by both ends and by the fuzzers.
//!
//! Everything is bounded before it is allocated and has one encoding. Layouts and limits:
//! `docs/formats/region-protocol.md`.

use std::collections::BTreeSet;

use seawall_base::wire::{Reader, WireError, Writer};
use seawall_base::{MAX_OBJECT, ObjectId, Timestamp};
use seawall_tlog::SignedCheckpoint;
use seawall_tlog::note::MAX_NOTE;

use crate::Have;

/// Most ids in one `have`, and in a list of missing objects.
pub const MAX_HAVE: usize = 65_536;

/// Most ids in one challenge.
pub const MAX_CHALLENGE: usize = 1_024;

/// Most ids in one `get`.
pub const MAX_GET: usize = 1_024;

/// Largest body of objects in bytes, frames included: one batch and one largest object.
pub const MAX_OBJECTS_BODY: usize = 32 << 20;

/// How much a sender collects before it sends, and a tier before it answers, in bytes.
pub const BATCH_BYTES: usize = 8 << 20;

/// Bytes of a frame besides the object's.
pub const FRAME_HEADER: usize = 32 + 4;

/// Largest body of `have` and of lists of ids, in bytes.
pub const MAX_IDS_BODY: usize = 4 + MAX_HAVE * 32;

/// Largest body of `challenge` in bytes.
pub const MAX_CHALLENGE_BODY: usize = 32 + 4 + MAX_CHALLENGE * 32;

/// Most cosigned checkpoints in one body.
pub const MAX_COSIGNED: usize = 64;

/// Largest body of cosigned checkpoints in bytes.
pub const MAX_COSIGNED_BODY: usize = 1 << 20;

/// Encodes cosigned checkpoints: a count, then each with its length.
pub fn encode_cosigned(all: &[SignedCheckpoint]) -> Vec<u8> {
    let mut w = Writer::new();
    w.length(all.len());
    for signed in all {
        let note = signed.to_bytes();
        w.length(note.len()).raw(&note);
    }
    w.into_vec()
}

/// Parses cosigned checkpoints. *Their signatures are the caller's to check.*
pub fn decode_cosigned(bytes: &[u8]) -> Result<Vec<SignedCheckpoint>, WireError> {
    let mut r = Reader::new(bytes);
    let mut all = Vec::new();
    for _ in 0..r.length(MAX_COSIGNED)? {
        let len = r.length(MAX_NOTE)?;
        let note = SignedCheckpoint::parse(r.take(len)?);
        all.push(note.map_err(|_| r.invalid("cosigned checkpoint"))?);
    }
    r.finish()?;
    Ok(all)
}

/// Encodes a list of ids: a count, then the ids.
pub fn encode_ids(ids: &[ObjectId]) -> Vec<u8> {
    let mut w = Writer::new();
    write_ids(&mut w, ids);
    w.into_vec()
}

/// Parses a list of at most `limit` ids.
pub fn decode_ids(bytes: &[u8], limit: usize) -> Result<Vec<ObjectId>, WireError> {
    let mut r = Reader::new(bytes);
    let ids = read_ids(&mut r, limit)?;
    r.finish()?;
    Ok(ids)
}

/// Parses a list of at most `limit` ids, none of them twice: for requests that cost a read of
/// the disk for each id.
pub fn decode_distinct_ids(bytes: &[u8], limit: usize) -> Result<Vec<ObjectId>, WireError> {
    let mut r = Reader::new(bytes);
    let ids = read_distinct_ids(&mut r, limit)?;
    r.finish()?;
    Ok(ids)
}

fn write_ids(w: &mut Writer, ids: &[ObjectId]) {
    w.length(ids.len());
    for id in ids {
        w.raw(id.as_bytes());
    }
}

fn read_ids(r: &mut Reader<'_>, limit: usize) -> Result<Vec<ObjectId>, WireError> {
    let count = r.length(limit)?;
    let raw = r.take(count * 32)?;
    Ok(raw.chunks_exact(32).map(|c| ObjectId(c.try_into().expect("chunks of 32"))).collect())
}

fn read_distinct_ids(r: &mut Reader<'_>, limit: usize) -> Result<Vec<ObjectId>, WireError> {
    let ids = read_ids(r, limit)?;
    let mut seen = BTreeSet::new();
    if ids.iter().all(|id| seen.insert(id)) { Ok(ids) } else { Err(r.invalid("an id twice")) }
}

/// Encodes the answer to a `have` of `asked`: lease, count, and a bit for each id, 1 = missing.
/// `missing` is a subsequence of `asked`.
pub fn encode_have(asked: &[ObjectId], have: &Have) -> Vec<u8> {
    let mut bits = vec![0u8; asked.len().div_ceil(8)];
    let mut missing = have.missing.iter().peekable();
    for (i, id) in asked.iter().enumerate() {
        if missing.next_if_eq(&id).is_some() {
            bits[i / 8] |= 1 << (i % 8);
        }
    }
    let mut w = Writer::new();
    w.u64(have.lease.0).length(asked.len()).raw(&bits);
    w.into_vec()
}

/// Parses the answer to a `have` of `asked`.
pub fn decode_have(asked: &[ObjectId], bytes: &[u8]) -> Result<Have, WireError> {
    let mut r = Reader::new(bytes);
    let lease = Timestamp(r.u64()?);
    if r.length(MAX_HAVE)? != asked.len() {
        return Err(r.invalid("number of ids"));
    }
    let bits = r.take(asked.len().div_ceil(8))?;
    let bit = |i: usize| bits[i / 8] >> (i % 8) & 1 == 1;
    if (asked.len()..bits.len() * 8).any(bit) {
        return Err(r.invalid("padding of the bitmap"));
    }
    r.finish()?;
    let missing = asked.iter().enumerate().filter(|(i, _)| bit(*i)).map(|(_, id)| *id).collect();
    Ok(Have { lease, missing })
}

/// Appends one object to a body of objects.
pub fn push_object(body: &mut Vec<u8>, id: ObjectId, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).expect("an object is at most 16 MiB");
    body.extend_from_slice(id.as_bytes());
    body.extend_from_slice(&len.to_le_bytes());
    body.extend_from_slice(bytes);
}

/// Parses a body of objects. Their ids are *claims*: the store checks them.
pub fn decode_objects(body: &[u8]) -> Result<Vec<(ObjectId, &[u8])>, WireError> {
    if body.len() > MAX_OBJECTS_BODY {
        let (found, limit) = (body.len(), MAX_OBJECTS_BODY);
        return Err(WireError::TooLong { offset: 0, found, limit });
    }
    let mut r = Reader::new(body);
    let mut out = Vec::new();
    while r.remaining() > 0 {
        if out.len() == MAX_HAVE {
            return Err(r.invalid("number of objects"));
        }
        out.push((ObjectId(r.array()?), r.bytes(MAX_OBJECT)?));
    }
    Ok(out)
}

/// Encodes the answer to a `get`: how many of the ids asked for it covers, then the objects
/// among them that the tier has.
pub fn encode_get_answer(covered: usize, objects: &[u8]) -> Vec<u8> {
    let mut w = Writer::new();
    w.length(covered).raw(objects);
    w.into_vec()
}

/// Parses the answer to a `get` of `asked`: how many ids it covers and the objects. Objects not
/// asked for, out of order, or twice are refused.
#[expect(clippy::type_complexity, reason = "a pair of a count and what it counts")]
pub fn decode_get_answer<'a>(
    asked: &[ObjectId],
    body: &'a [u8],
) -> Result<(usize, Vec<(ObjectId, &'a [u8])>), WireError> {
    let mut r = Reader::new(body);
    let covered = r.length(asked.len())?;
    if covered == 0 && !asked.is_empty() {
        return Err(r.invalid("number of ids covered"));
    }
    let objects = decode_objects(r.take(r.remaining())?)?;
    let mut rest = asked[..covered].iter();
    if objects.iter().any(|(id, _)| !rest.any(|wanted| wanted == id)) {
        return Err(r.invalid("an object that was not asked for"));
    }
    Ok((covered, objects))
}

/// Encodes a challenge.
pub fn encode_challenge(nonce: &[u8; 32], ids: &[ObjectId]) -> Vec<u8> {
    let mut w = Writer::new();
    w.raw(nonce);
    write_ids(&mut w, ids);
    w.into_vec()
}

/// Parses a challenge: nonce and ids, none of them twice.
pub fn decode_challenge(bytes: &[u8]) -> Result<([u8; 32], Vec<ObjectId>), WireError> {
    let mut r = Reader::new(bytes);
    let nonce = r.array()?;
    let ids = read_distinct_ids(&mut r, MAX_CHALLENGE)?;
    r.finish()?;
    Ok((nonce, ids))
}

/// Encodes the answers to a challenge: for each id 0, or 1 and 32 bytes.
pub fn encode_proofs(proofs: &[Option<[u8; 32]>]) -> Vec<u8> {
    let mut w = Writer::new();
    w.length(proofs.len());
    for proof in proofs {
        match proof {
            None => w.u8(0),
            Some(proof) => w.u8(1).raw(proof),
        };
    }
    w.into_vec()
}

/// Parses the answers to a challenge of `asked` ids.
pub fn decode_proofs(asked: usize, bytes: &[u8]) -> Result<Vec<Option<[u8; 32]>>, WireError> {
    let mut r = Reader::new(bytes);
    if r.length(MAX_CHALLENGE)? != asked {
        return Err(r.invalid("number of answers"));
    }
    let mut out = Vec::with_capacity(asked);
    for _ in 0..asked {
        out.push(match r.u8()? {
            0 => None,
            1 => Some(r.array()?),
            _ => return Err(r.invalid("presence byte")),
        });
    }
    r.finish()?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids(n: u8) -> Vec<ObjectId> {
        (0..n).map(|i| ObjectId([i; 32])).collect()
    }

    #[test]
    fn golden_bodies() {
        let asked = ids(3);
        assert_eq!(hex::encode(encode_ids(&asked[1..2])), format!("01000000{}", "01".repeat(32)));
        let have = Have { lease: Timestamp(5), missing: vec![asked[0], asked[2]] };
        assert_eq!(hex::encode(encode_have(&asked, &have)), "05000000000000000300000005");
        let mut body = Vec::new();
        push_object(&mut body, asked[2], b"ab");
        assert_eq!(hex::encode(&body), format!("{}020000006162", "02".repeat(32)));
        assert_eq!(
            hex::encode(encode_get_answer(1, &body)),
            format!("01000000{}020000006162", "02".repeat(32))
        );
        assert_eq!(
            hex::encode(encode_challenge(&[9; 32], &asked[..1])),
            format!("{}01000000{}", "09".repeat(32), "00".repeat(32))
        );
        assert_eq!(
            hex::encode(encode_proofs(&[None, Some([7; 32])])),
            format!("020000000001{}", "07".repeat(32))
        );
    }

    #[test]
    fn limits_and_second_spellings_are_refused() {
        let asked = ids(3);
        let too_many = encode_ids(&vec![ObjectId([0; 32]); MAX_CHALLENGE + 1]);
        assert!(matches!(decode_ids(&too_many, MAX_CHALLENGE), Err(WireError::TooLong { .. })));
        let again = [asked[0], asked[1], asked[0]];
        assert!(decode_distinct_ids(&encode_ids(&again), MAX_GET).is_err(), "an id twice");
        assert_eq!(decode_distinct_ids(&encode_ids(&asked), MAX_GET), Ok(asked.clone()));
        assert!(decode_distinct_ids(&encode_ids(&asked), 2).is_err(), "above the limit");
        assert!(decode_challenge(&encode_challenge(&[1; 32], &again)).is_err(), "an id twice");
        let have = Have { lease: Timestamp(5), missing: vec![] };
        let mut padded = encode_have(&asked, &have);
        *padded.last_mut().expect("not empty") = 0b1000;
        assert!(decode_have(&asked, &padded).is_err(), "a padding bit is set");
        assert!(decode_have(&asked[..2], &encode_have(&asked, &have)).is_err(), "another number");
        assert!(decode_proofs(1, &[1, 0, 0, 0, 2]).is_err(), "a presence byte of 2");
        let mut stranger = Vec::new();
        push_object(&mut stranger, ObjectId([8; 32]), b"");
        assert!(decode_get_answer(&asked, &encode_get_answer(3, &stranger)).is_err());
        let mut twice = Vec::new();
        push_object(&mut twice, asked[0], b"");
        push_object(&mut twice, asked[0], b"");
        assert!(decode_get_answer(&asked, &encode_get_answer(3, &twice)).is_err());
        assert!(decode_get_answer(&asked, &encode_get_answer(0, &[])).is_err(), "no progress");
        assert!(decode_objects(&vec![0; MAX_OBJECTS_BODY + 1]).is_err());
    }

    proptest! {
        #[test]
        fn bodies_round_trip(
            raw in prop::collection::vec(any::<[u8; 32]>(), 0..40),
            bits in prop::collection::vec(any::<bool>(), 40),
            lease: u64,
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 40),
        ) {
            let asked: Vec<_> = raw.into_iter().map(ObjectId).collect();
            prop_assert_eq!(decode_ids(&encode_ids(&asked), MAX_HAVE), Ok(asked.clone()));
            let chosen = asked.iter().zip(&bits).filter(|(_, b)| **b);
            let have = Have {
                lease: Timestamp(lease),
                missing: chosen.clone().map(|(id, _)| *id).collect(),
            };
            prop_assert_eq!(decode_have(&asked, &encode_have(&asked, &have)), Ok(have));
            let (nonce, back) = decode_challenge(&encode_challenge(&[3; 32], &asked)).expect("ours");
            prop_assert_eq!((nonce, &back), ([3; 32], &asked));
            let proofs: Vec<_> = asked.iter().zip(&bits).map(|(id, b)| b.then_some(id.0)).collect();
            prop_assert_eq!(decode_proofs(proofs.len(), &encode_proofs(&proofs)), Ok(proofs));
            let mut body = Vec::new();
            for ((id, _), bytes) in chosen.zip(&bodies) {
                push_object(&mut body, *id, bytes);
            }
            if !asked.is_empty() {
                let answer = encode_get_answer(asked.len(), &body);
                let (covered, objects) = decode_get_answer(&asked, &answer).expect("ours");
                prop_assert_eq!(covered, asked.len());
                prop_assert_eq!(objects.len(), bits[..asked.len()].iter().filter(|b| **b).count());
            }
        }

        #[test]
        fn hostile_bytes_never_panic(bytes: Vec<u8>, n in 0u8..20) {
            let asked = ids(n);
            let _ = decode_ids(&bytes, MAX_HAVE);
            let _ = decode_have(&asked, &bytes);
            let _ = decode_objects(&bytes);
            let _ = decode_get_answer(&asked, &bytes);
            let _ = decode_proofs(asked.len(), &bytes);
            if let Ok((nonce, ids)) = decode_challenge(&bytes) {
                prop_assert_eq!(encode_challenge(&nonce, &ids), bytes);
            }
        }
    }
}
