//! Bodies that nodes and regions exchange: one encoding each.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_base::ObjectId;
use seawall_sync::message::{EnrolRequest, ReceiptRequest};
use seawall_sync::pack::Index;
use seawall_sync::wire::{
    decode_challenge, decode_cosigned, decode_get_answer, decode_have, decode_ids, decode_objects,
    decode_proofs, encode_challenge, encode_cosigned, encode_have, encode_ids, encode_proofs,
    push_object,
};

fuzz_target!(|data: &[u8]| {
    if let Ok(ids) = decode_ids(data, 1 << 12) {
        assert_eq!(encode_ids(&ids), data);
    }
    if let Ok((nonce, ids)) = decode_challenge(data) {
        assert_eq!(encode_challenge(&nonce, &ids), data);
    }
    if let Ok(objects) = decode_objects(data) {
        let mut body = Vec::new();
        for (id, bytes) in objects {
            push_object(&mut body, id, bytes);
        }
        assert_eq!(body, data);
    }
    if let Ok(cosigned) = decode_cosigned(data) {
        assert_eq!(encode_cosigned(&cosigned), data);
    }
    if let Ok(request) = serde_json::from_slice::<EnrolRequest>(data) {
        let _ = request.envelopes();
    }
    let _ = serde_json::from_slice::<ReceiptRequest>(data);
    if let Ok(index) = Index::decode(data) {
        assert_eq!(index.encode(), data);
    }
    let Some((asked, body)) = data.split_first() else { return };
    let asked: Vec<_> = (0..*asked).map(|n| ObjectId([n; 32])).collect();
    if let Ok(have) = decode_have(&asked, body) {
        assert_eq!(encode_have(&asked, &have), body);
    }
    if let Ok(proofs) = decode_proofs(asked.len(), body) {
        assert_eq!(encode_proofs(&proofs), body);
    }
    if let Ok((covered, objects)) = decode_get_answer(&asked, body) {
        assert!(covered <= asked.len() && objects.len() <= covered);
    }
});
