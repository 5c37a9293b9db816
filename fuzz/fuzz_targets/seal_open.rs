//! Objects that arrive with any bytes, and any plaintext sealed by somebody who has the key: the
//! parser behind the tag is reached only by sealing the input here.

#![no_main]

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use libfuzzer_sys::fuzz_target;
use seawall_base::ObjectId;
use seawall_base::wire::Reader;
use seawall_seal::{FORMAT, Kind, ObjectKey, ObjectRef, Placement, SUITE, SealError, open};

const KEY: [u8; 32] = [7; 32];
const PLACEMENT: Placement = Placement { kind: Kind::Directory, class: 0 };

fuzz_target!(|data: &[u8]| {
    if let Ok(object) = ObjectRef::decode(&mut Reader::new(data)) {
        let _ = open(&object, PLACEMENT, &data[ObjectRef::ENCODED_LEN..]);
    }
    let Some((plain_len, inner)) = data.split_first_chunk::<4>() else { return };
    let plain_len = u32::from_le_bytes(*plain_len) % (1 << 20);
    let commitment = blake3::derive_key("seawall 2026-11 object key commitment v1", &KEY);
    let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, &KEY).expect("32 bytes"));
    let [lo, hi] = FORMAT.to_le_bytes();
    let aad = Aad::from([PLACEMENT.kind as u8, PLACEMENT.class, lo, hi]);
    let mut sealed = inner.to_vec();
    cipher
        .seal_in_place_append_tag(Nonce::assume_unique_for_key([0; 12]), aad, &mut sealed)
        .expect("short enough");
    let bytes = [&[SUITE][..], &commitment, &sealed].concat();
    let id = ObjectId::of(&bytes);
    let object = ObjectRef { id, key: ObjectKey::new(KEY), plain_len };
    match open(&object, PLACEMENT, &bytes) {
        Ok(plain) => assert_eq!(plain.len(), plain_len as usize),
        Err(SealError::Malformed { .. }) => {}
        Err(other) => panic!("sealed as the format says, yet {other}"),
    }
});
