//! Packs and their indexes: many objects under one key, for tiers that are only a space of keys.
//!
//! A pack is a sequence of the frames of the region protocol (id, length, bytes). Its index
//! lists where each object's bytes are, so that one is read without the rest.

use std::collections::BTreeMap;

use crate::wire::{FRAME_HEADER, push_object};
use seawall_base::wire::{Reader, WireError, Writer};
use seawall_base::{MAX_OBJECT, ObjectId};

/// A pack is closed when it has grown to this many bytes.
pub const PACK_BYTES: usize = 16 << 20;
/// Most packs in one index, and most objects in one pack.
const MAX_PACKS: usize = 1 << 20;
const MAX_MEMBERS: usize = 1 << 20;
const MAGIC: u32 = 0x5850_5753;
const VERSION: u8 = 1;

/// Where an object's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The pack.
    pub pack: ObjectId,
    /// First byte in it.
    pub offset: u32,
    /// Bytes.
    pub len: u32,
}

impl Place {
    /// The object's bytes in its pack's.
    pub fn slice<'a>(&self, pack: &'a [u8]) -> Option<&'a [u8]> {
        let start = self.offset as usize;
        pack.get(start..start.checked_add(self.len as usize)?)
    }
}

/// An object of a pack: id, offset of its bytes, their length.
pub type Member = (ObjectId, u32, u32);

/// A pack being filled.
#[derive(Debug, Default)]
pub struct Pack {
    bytes: Vec<u8>,
    members: Vec<Member>,
}

impl Pack {
    /// Appends an object, whose id the caller has checked.
    pub fn push(&mut self, id: ObjectId, object: &[u8]) {
        let offset = (self.bytes.len() + FRAME_HEADER) as u32;
        self.members.push((id, offset, object.len() as u32));
        push_object(&mut self.bytes, id, object);
    }

    /// Bytes so far.
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing has been pushed.
    pub const fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The pack's id, bytes and members; `None` if nothing is in it.
    pub fn finish(self) -> Option<(ObjectId, Vec<u8>, Vec<Member>)> {
        (!self.members.is_empty()).then(|| (ObjectId::of(&self.bytes), self.bytes, self.members))
    }
}

/// Which objects some packs hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Index {
    packs: Vec<(ObjectId, Vec<Member>)>,
}

impl Index {
    /// Adds a pack.
    pub fn add(&mut self, pack: ObjectId, members: Vec<Member>) {
        self.packs.push((pack, members));
    }

    /// Whether no pack has been added.
    pub const fn is_empty(&self) -> bool {
        self.packs.is_empty()
    }

    /// Notes the place of each object; of several, the last.
    pub fn add_to(&self, places: &mut BTreeMap<ObjectId, Place>) {
        for (pack, members) in &self.packs {
            for &(id, offset, len) in members {
                places.insert(id, Place { pack: *pack, offset, len });
            }
        }
    }

    /// The index's bytes (`docs/formats/bucket.md`).
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.u32(MAGIC).u8(VERSION).length(self.packs.len());
        for (pack, members) in &self.packs {
            w.raw(pack.as_bytes()).length(members.len());
            for (id, offset, len) in members {
                w.raw(id.as_bytes()).u32(*offset).u32(*len);
            }
        }
        w.into_vec()
    }

    /// Parses an index.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        if r.u32()? != MAGIC {
            return Err(r.invalid("magic number of an index"));
        }
        if r.u8()? != VERSION {
            return Err(r.invalid("version of an index (a newer seawall may read it)"));
        }
        let count = r.length(MAX_PACKS)?;
        let mut packs = Vec::new();
        for _ in 0..count {
            let pack = ObjectId(r.array()?);
            let count = r.length(MAX_MEMBERS)?;
            let mut members = Vec::new();
            for _ in 0..count {
                let member = (ObjectId(r.array()?), r.u32()?, r.u32()?);
                if member.2 as usize > MAX_OBJECT {
                    return Err(r.invalid("length of an object"));
                }
                members.push(member);
            }
            packs.push((pack, members));
        }
        r.finish()?;
        Ok(Self { packs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled() -> (Index, Vec<u8>) {
        let mut pack = Pack::default();
        for object in [&b"one"[..], b"two two"] {
            pack.push(ObjectId::of(object), object);
        }
        let (id, bytes, members) = pack.finish().expect("not empty");
        let mut index = Index::default();
        index.add(id, members);
        (index, bytes)
    }

    #[test]
    fn objects_are_found_in_their_pack() {
        let (index, bytes) = filled();
        let decoded = Index::decode(&index.encode()).expect("decodes");
        assert_eq!(decoded, index);
        let mut places = BTreeMap::new();
        decoded.add_to(&mut places);
        for object in [&b"one"[..], b"two two"] {
            assert_eq!(places[&ObjectId::of(object)].slice(&bytes), Some(object));
        }
        assert_eq!(Pack::default().finish(), None);
        assert!(Pack::default().is_empty());
    }

    #[test]
    fn damaged_indexes_are_refused_and_never_panic() {
        let bytes = filled().0.encode();
        for n in 0..bytes.len() {
            assert!(Index::decode(&bytes[..n]).is_err());
        }
        let mut hostile = bytes.clone();
        hostile[5..9].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(Index::decode(&hostile).is_err());
        let place = Place { pack: ObjectId([0; 32]), offset: u32::MAX, len: u32::MAX };
        assert_eq!(place.slice(&bytes), None);
    }
}
