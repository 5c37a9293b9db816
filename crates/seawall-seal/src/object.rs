//! Sealing and opening one object.
//!
//! `suite ‖ key commitment ‖ AES-256-GCM-SIV(key, nonce 0, AAD, codec ‖ length ‖ body ‖ zeros)`
//!
//! AES-GCM-SIV does not commit to its key: without the commitment in front, one could craft a
//! ciphertext that opens differently under two keys, and a directory that shows one content to
//! whoever approves a restore and another to whoever runs it. The commitment is a hash of the
//! key, so an object opens under one key only. A nonce of zero is sound because a key seals one
//! plaintext: it is derived from it (or random in the domain that shares nothing).

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use seawall_base::wire::Reader;
use seawall_base::{Object, ObjectId, Rng};
use zeroize::Zeroizing;

use crate::domain::{index_of, key_of};
use crate::{Domain, FORMAT, IndexKey, MAX_PLAIN, ObjectKey, ObjectRef, SUITE, padme};

/// What a sealed object is a piece of. It separates keys: a page never opens as a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A piece of one file.
    Chunk = 1,
    /// Several small files of one owner.
    Bundle = 2,
    /// A page of a directory.
    Directory = 3,
    /// A page of a file's chunk list.
    ChunkList = 4,
    /// The root of a snapshot.
    Root = 5,
    /// A page of a path index.
    PathIndex = 6,
}

/// Kind and data class: the part of an object's identity that its reader knows beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Placement {
    /// What the object is a piece of.
    pub kind: Kind,
    /// Number of the data class in the fleet's genesis statement.
    pub class: u8,
}

/// How the body of an object is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Codec {
    /// As it is.
    Stored = 0,
    /// One zstd frame, level 3, with its content size, no checksum.
    Zstd = 1,
}

/// A sealed object and what its writer keeps of it.
#[derive(Debug)]
pub struct Sealed<'a> {
    /// What goes into the parent page.
    pub object_ref: ObjectRef,
    /// Its key in the private index; `None` in the domain that shares nothing.
    pub index: Option<IndexKey>,
    /// What every tier stores.
    pub bytes: Object<'a>,
}

/// Why a piece was not sealed or opened.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum SealError {
    /// The caller's piece is above the cap.
    #[error("a piece of {0} bytes is above the limit of {MAX_PLAIN}")]
    PlainTooLong(usize),
    /// The bytes do not have the id the reference names: a damaged or substituted object.
    #[error("object {0}: its bytes do not have this digest; it is damaged or was replaced")]
    WrongId(ObjectId),
    /// A newer suite.
    #[error("object {id}: suite {suite} is not known; a newer seawall may open it")]
    UnknownSuite {
        /// The object.
        id: ObjectId,
        /// Its suite byte.
        suite: u8,
    },
    /// The reference's key, kind or class is not this object's.
    #[error("object {0}: does not open under the key, kind and class of its reference")]
    WrongKey(ObjectId),
    /// It opened, but what is inside contradicts its reference or the format.
    #[error("object {id}: {what}")]
    Malformed {
        /// The object.
        id: ObjectId,
        /// What is wrong.
        what: &'static str,
    },
}

/// Bytes in front of the ciphertext: suite (1) and key commitment (32).
const HEADER: usize = 33;
/// AES-GCM-SIV tag.
const TAG: usize = 16;
/// Inside: codec (1) and body length (4).
const INNER: usize = 5;

impl Placement {
    /// `kind ‖ class ‖ format`: the associated data, and the head of the hashed header.
    fn associated_data(self) -> [u8; 4] {
        let [lo, hi] = FORMAT.to_le_bytes();
        [self.kind as u8, self.class, lo, hi]
    }

    /// What the domain hash covers in front of the plaintext. The codec field is that of the
    /// *writer's rule* (1: zstd where it helps), not of the outcome, which the plaintext decides.
    fn hash_header(self, plain_len: usize) -> [u8; 13] {
        let mut out = [0; 13];
        out[..4].copy_from_slice(&self.associated_data());
        out[4] = Codec::Zstd as u8;
        out[5..].copy_from_slice(&(plain_len as u64).to_le_bytes());
        out
    }
}

fn commitment(key: &ObjectKey) -> [u8; 32] {
    blake3::derive_key("seawall 2026-11 object key commitment v1", key.expose())
}

fn cipher(key: &ObjectKey) -> LessSafeKey {
    let key = UnboundKey::new(&AES_256_GCM_SIV, key.expose()).expect("the key has 32 bytes");
    LessSafeKey::new(key)
}

/// Prepared identity of a piece: enough to ask the private index before doing any work.
pub struct Prepared {
    key: ObjectKey,
    /// The piece's key in the private index.
    pub index: Option<IndexKey>,
}

impl Prepared {
    /// Hashes a piece in its domain.
    pub fn new(domain: &Domain, placement: Placement, plain: &[u8], rng: &mut dyn Rng) -> Self {
        if let Some(hash) = domain.hash(&placement.hash_header(plain.len()), plain) {
            return Self { key: key_of(&hash), index: Some(index_of(&hash)) };
        }
        let mut key = [0; 32];
        rng.fill(&mut key);
        Self { key: ObjectKey::new(key), index: None }
    }

    /// The reference, for a piece the private index says is stored as `id` already.
    pub fn reference(&self, id: ObjectId, plain_len: usize) -> ObjectRef {
        ObjectRef { id, key: self.key.clone(), plain_len: plain_len as u32 }
    }

    /// Compresses, pads and encrypts the piece. The sealed bytes stay in `workspace` until the next.
    pub fn seal<'w>(
        self,
        placement: Placement,
        plain: &[u8],
        workspace: &'w mut Workspace,
    ) -> Result<Sealed<'w>, SealError> {
        if plain.len() > MAX_PLAIN {
            return Err(SealError::PlainTooLong(plain.len()));
        }
        let Workspace { packer, inner, sealed: bytes, .. } = workspace;
        let (codec, body) = encode_body(packer, inner, plain);
        let padded = padme(INNER + body.len());
        bytes.clear();
        bytes.reserve(HEADER + padded + TAG);
        bytes.push(SUITE);
        bytes.extend_from_slice(&commitment(&self.key));
        bytes.push(codec as u8);
        bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
        bytes.extend_from_slice(body);
        bytes.resize(HEADER + padded, 0);
        let tag = cipher(&self.key)
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key([0; 12]),
                Aad::from(placement.associated_data()),
                &mut bytes[HEADER..],
            )
            .expect("the plaintext is far below the cipher's limit");
        bytes.extend_from_slice(tag.as_ref());
        let bytes = Object::new(&bytes[..]);
        let object_ref = self.reference(bytes.id(), plain.len());
        Ok(Sealed { object_ref, index: self.index, bytes })
    }
}

/// What a thread that seals or opens needs again and again: zstd's state, and room for plaintext
/// that is overwritten by the next piece and wiped in the end. Bytes are encrypted in place: an
/// object that could not be sealed leaves plaintext in `sealed`, so that is wiped as well.
pub struct Workspace {
    packer: zstd::bulk::Compressor<'static>,
    unpacker: zstd::bulk::Decompressor<'static>,
    /// The plaintext of the cipher.
    inner: Zeroizing<Vec<u8>>,
    plain: Zeroizing<Vec<u8>>,
    /// The last sealed object.
    sealed: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Workspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Workspace(..)")
    }
}

impl Default for Workspace {
    fn default() -> Self {
        Self::new()
    }
}

impl Workspace {
    /// A workspace for one thread.
    pub fn new() -> Self {
        const SMALL: &str = "a state of a few MiB can be allocated";
        Self {
            packer: zstd::bulk::Compressor::new(3).expect(SMALL),
            unpacker: zstd::bulk::Decompressor::new().expect(SMALL),
            inner: Zeroizing::new(Vec::new()),
            plain: Zeroizing::new(Vec::new()),
            sealed: Zeroizing::new(Vec::new()),
        }
    }

    /// Opens an object as [`open`] does; the plaintext stays here until the next call.
    pub fn open(
        &mut self,
        object_ref: &ObjectRef,
        placement: Placement,
        bytes: &[u8],
    ) -> Result<&[u8], SealError> {
        let id = object_ref.id;
        let malformed = |what| SealError::Malformed { id, what };
        if bytes.len() > seawall_base::MAX_OBJECT || bytes.len() < HEADER + TAG + INNER {
            return Err(malformed("has a length no sealed object can have"));
        }
        if ObjectId::of(bytes) != id {
            return Err(SealError::WrongId(id));
        }
        if bytes[0] != SUITE {
            return Err(SealError::UnknownSuite { id, suite: bytes[0] });
        }
        if bytes[1..HEADER] != commitment(&object_ref.key) {
            return Err(SealError::WrongKey(id));
        }
        self.inner.clear();
        self.inner.extend_from_slice(&bytes[HEADER..]);
        let opened = cipher(&object_ref.key)
            .open_in_place(
                Nonce::assume_unique_for_key([0; 12]),
                Aad::from(placement.associated_data()),
                &mut self.inner,
            )
            .map_err(|_| SealError::WrongKey(id))?;
        let plain_len = object_ref.plain_len as usize;
        let plain = match body_of(opened).map_err(malformed)? {
            (Codec::Stored, body) => body,
            (Codec::Zstd, body) => {
                if self.plain.len() < plain_len {
                    self.plain.resize(plain_len, 0);
                }
                // The room is exactly the recorded length: a bomb fails instead of growing.
                let room = &mut self.plain[..plain_len];
                let found = self.unpacker.decompress_to_buffer(body, room).map_err(|_| {
                    malformed("its body does not decompress to the recorded length")
                })?;
                &self.plain[..found]
            }
        };
        if plain.len() != plain_len {
            return Err(malformed("its length differs from the recorded length"));
        }
        Ok(plain)
    }
}

/// zstd where it saves at least a sixteenth; otherwise the piece stays as it is.
fn encode_body<'a>(
    packer: &mut zstd::bulk::Compressor<'_>,
    room: &'a mut Vec<u8>,
    plain: &'a [u8],
) -> (Codec, &'a [u8]) {
    if plain.len() < 64 {
        return (Codec::Stored, plain);
    }
    room.clear();
    room.reserve(zstd::zstd_safe::compress_bound(plain.len()));
    match packer.compress_to_buffer(plain, room) {
        Ok(len) if len <= plain.len() - plain.len() / 16 => (Codec::Zstd, &room[..len]),
        _ => (Codec::Stored, plain),
    }
}

/// Seals a piece: [`Prepared::new`] and [`Prepared::seal`] in one.
pub fn seal(
    domain: &Domain,
    placement: Placement,
    plain: &[u8],
    rng: &mut dyn Rng,
) -> Result<Sealed<'static>, SealError> {
    if plain.len() > MAX_PLAIN {
        return Err(SealError::PlainTooLong(plain.len()));
    }
    let mut workspace = Workspace::new();
    let prepared = Prepared::new(domain, placement, plain, rng);
    let Sealed { object_ref, index, bytes } = prepared.seal(placement, plain, &mut workspace)?;
    Ok(Sealed { object_ref, index, bytes: bytes.into_owned() })
}

/// Opens an object: checks its digest, its key commitment, its tag, and its length.
pub fn open(
    object_ref: &ObjectRef,
    placement: Placement,
    bytes: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let mut workspace = Workspace::new();
    workspace.open(object_ref, placement, bytes).map(|plain| Zeroizing::new(plain.to_vec()))
}

/// The codec and body of a decrypted piece, whose padding must be what it has to be.
fn body_of(inner: &[u8]) -> Result<(Codec, &[u8]), &'static str> {
    const SHORT: &str = "its inner length is wrong";
    let mut r = Reader::new(inner);
    let codec = r.u8().map_err(|_| SHORT)?;
    let body = r.bytes(inner.len()).map_err(|_| SHORT)?;
    if inner.len() != padme(INNER + body.len()) {
        return Err("its padding has the wrong length");
    }
    if r.take(r.remaining()).map_err(|_| SHORT)?.iter().any(|&b| b != 0) {
        return Err("its padding is not zero");
    }
    match codec {
        0 => Ok((Codec::Stored, body)),
        1 => Ok((Codec::Zstd, body)),
        _ => Err("its codec is not known; a newer seawall may open it"),
    }
}

/// Opens an object and re-derives its key from its content, refusing one whose key is not bound
/// to what it holds. For readers that have the domain's secret.
pub fn open_in_domain(
    domain: &Domain,
    object_ref: &ObjectRef,
    placement: Placement,
    bytes: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let plain = open(object_ref, placement, bytes)?;
    if let Some(hash) = domain.hash(&placement.hash_header(plain.len()), &plain)
        && key_of(&hash) != object_ref.key
    {
        return Err(SealError::Malformed {
            id: object_ref.id,
            what: "its key is not bound to its content",
        });
    }
    Ok(plain)
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Prepared(..)")
    }
}
