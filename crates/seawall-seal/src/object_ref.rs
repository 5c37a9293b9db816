//! References: whoever holds one reads exactly that piece, and nothing else.

use std::fmt;

use seawall_base::ObjectId;
use seawall_base::wire::{Reader, WireError, Writer};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The key of one sealed object. Zeroized when dropped, never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ObjectKey([u8; 32]);

impl ObjectKey {
    /// Wraps 32 key bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key's bytes, for encryption and for encoding into a page that is itself sealed.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for ObjectKey {
    fn eq(&self, other: &Self) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for ObjectKey {}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ObjectKey(..)")
    }
}

/// Names, opens and bounds one sealed object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectRef {
    /// BLAKE3 of the sealed bytes: what every tier sees.
    pub id: ObjectId,
    /// The object's own key.
    pub key: ObjectKey,
    /// Length of the plaintext in bytes; decompression is capped by it.
    pub plain_len: u32,
}

impl ObjectRef {
    /// Encoded length in bytes: id (32), key (32), plain length (4).
    pub const ENCODED_LEN: usize = 68;

    /// Appends the encoding.
    pub fn encode(&self, w: &mut Writer) {
        w.raw(self.id.as_bytes()).raw(self.key.expose()).u32(self.plain_len);
    }

    /// Reads one reference; refuses plain lengths above the cap.
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        let id = ObjectId(r.array()?);
        let key = ObjectKey::new(r.array()?);
        let plain_len = r.u32()?;
        if plain_len as usize > crate::MAX_PLAIN {
            return Err(r.invalid("plain length"));
        }
        Ok(Self { id, key, plain_len })
    }
}
