//! Promises of a tier to keep objects that no manifest names yet.
//!
//! "Have" would be worthless if the object could be collected before the manifest that needs it
//! is logged. A lease covers the ids a holder asked about or sent, until its next manifest is
//! logged ([`Leases::release`]) or it expires. Pure: the caller has the clock and the file.
//!
//! Bounded in number and in ids, so that a member cannot exhaust a region by asking: at the
//! bound a grant is refused and the asker comes back later.

use std::collections::{BTreeMap, BTreeSet};

use seawall_base::wire::{Reader, WireError, Writer};
use seawall_base::{NodeId, ObjectId, Seconds, Timestamp};

/// How long a lease lasts: an interrupted upload may be resumed within days.
pub const LEASE_VALIDITY: Seconds = Seconds::days(7);

/// Most leases at one time.
pub const MAX_LEASES: usize = 1_024;

/// Most leased ids at one time, over all leases: 32 MiB of them.
pub const MAX_LEASED_IDS: usize = 1 << 20;

const MAGIC: &[u8; 8] = b"SWLEASE1";

/// Why a lease was not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// The bound is reached. Leases end by themselves; ask again later.
    #[error("all {0} leases of this tenant are in use; push again later")]
    Full(usize),
}

/// One holder's lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Whose.
    pub holder: NodeId,
    /// Until when, inclusive.
    pub expires: Timestamp,
    /// What it covers.
    pub ids: BTreeSet<ObjectId>,
}

/// All leases of one tenant: one for each holder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leases {
    by_holder: BTreeMap<NodeId, Lease>,
}

impl Leases {
    /// Adds `ids` to the holder's lease and extends it; returns until when it lasts. Expired
    /// leases are dropped first.
    pub fn grant(
        &mut self,
        now: Timestamp,
        holder: NodeId,
        ids: &[ObjectId],
    ) -> Result<Timestamp, LeaseError> {
        self.by_holder.retain(|_, lease| lease.expires >= now);
        let held: usize = self.by_holder.values().map(|l| l.ids.len()).sum();
        let mine = self.by_holder.get(&holder);
        if mine.is_none() && self.by_holder.len() >= MAX_LEASES {
            return Err(LeaseError::Full(MAX_LEASES));
        }
        let new = ids.iter().filter(|id| mine.is_none_or(|l| !l.ids.contains(id))).count();
        if held + new > MAX_LEASED_IDS {
            return Err(LeaseError::Full(MAX_LEASED_IDS));
        }
        let expires = now.after(LEASE_VALIDITY);
        let lease = self.by_holder.entry(holder).or_insert_with(|| Lease {
            holder,
            expires,
            ids: BTreeSet::new(),
        });
        // A clock set back must not shorten a promise.
        lease.expires = lease.expires.max(expires);
        lease.ids.extend(ids);
        Ok(lease.expires)
    }

    /// Whether some lease that has not expired covers an object.
    pub fn covers(&self, id: ObjectId, now: Timestamp) -> bool {
        self.by_holder.values().any(|l| l.expires >= now && l.ids.contains(&id))
    }

    /// Every object that a lease covers which has not expired.
    pub fn ids(&self, now: Timestamp) -> impl Iterator<Item = ObjectId> + '_ {
        let live = self.by_holder.values().filter(move |l| l.expires >= now);
        live.flat_map(|l| l.ids.iter().copied())
    }

    /// Ends the holder's lease: its manifest is logged and counted. True if there was one.
    pub fn release(&mut self, holder: NodeId) -> bool {
        self.by_holder.remove(&holder).is_some()
    }

    /// The persisted form: leases by ascending holder, ids ascending.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.raw(MAGIC).length(self.by_holder.len());
        for lease in self.by_holder.values() {
            w.raw(lease.holder.as_bytes()).u64(lease.expires.0).length(lease.ids.len());
            for id in &lease.ids {
                w.raw(id.as_bytes());
            }
        }
        w.into_vec()
    }

    /// Parses the persisted form.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        if r.array::<8>()? != *MAGIC {
            return Err(r.invalid("magic number"));
        }
        let mut by_holder = BTreeMap::new();
        let mut budget = MAX_LEASED_IDS;
        for _ in 0..r.length(MAX_LEASES)? {
            let holder = NodeId(r.array()?);
            let expires = Timestamp(r.u64()?);
            let count = r.length(budget)?;
            budget -= count;
            let mut ids = BTreeSet::new();
            for raw in r.take(count * 32)?.chunks_exact(32) {
                let id = ObjectId(raw.try_into().expect("chunks of 32"));
                if ids.last().is_some_and(|last| *last >= id) {
                    return Err(r.invalid("order of ids"));
                }
                ids.insert(id);
            }
            if by_holder.last_key_value().is_some_and(|(last, _)| *last >= holder) {
                return Err(r.invalid("order of holders"));
            }
            by_holder.insert(holder, Lease { holder, expires, ids });
        }
        r.finish()?;
        Ok(Self { by_holder })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn id(n: u32) -> ObjectId {
        ObjectId::of(&n.to_le_bytes())
    }

    #[test]
    fn covers_until_released_or_expired() {
        let (a, b) = (NodeId([1; 32]), NodeId([2; 32]));
        let mut leases = Leases::default();
        let expires = leases.grant(NOW, a, &[id(1)]).expect("granted");
        assert_eq!(expires, NOW.after(LEASE_VALIDITY));
        leases.grant(NOW, b, &[id(1), id(2)]).expect("granted");
        assert!(leases.release(a) && !leases.release(a));
        assert!(leases.covers(id(1), NOW), "b's lease still covers it");
        assert!(leases.covers(id(2), expires));
        assert!(!leases.covers(id(2), expires.after(Seconds(1))));
        assert!(!leases.covers(id(3), NOW));
        let back = leases.grant(NOW.before(Seconds::days(2)), b, &[]).expect("granted");
        assert_eq!(back, expires, "a clock set back does not shorten a promise");
    }

    #[test]
    fn number_and_size_are_bounded() {
        let mut leases = Leases::default();
        for n in 0..MAX_LEASES {
            let mut holder = [0; 32];
            holder[..8].copy_from_slice(&(n as u64).to_be_bytes());
            leases.grant(NOW, NodeId(holder), &[]).expect("granted");
        }
        let late = NodeId([9; 32]);
        assert_eq!(leases.grant(NOW, late, &[]), Err(LeaseError::Full(MAX_LEASES)));
        let later = NOW.after(LEASE_VALIDITY).after(Seconds(1));
        assert!(leases.grant(later, late, &[]).is_ok(), "expired leases make room");
        let mut counted = ObjectId([0; 32]);
        let many: Vec<_> = (0..=MAX_LEASED_IDS as u64)
            .map(|n| {
                counted.0[..8].copy_from_slice(&n.to_be_bytes());
                counted
            })
            .collect();
        assert_eq!(leases.grant(later, late, &many), Err(LeaseError::Full(MAX_LEASED_IDS)));
        assert!(leases.grant(later, late, &many[..10]).is_ok());
        assert!(leases.grant(later, late, &many[..10]).is_ok(), "the same ids count once");
    }

    #[test]
    fn persisted_form_is_pinned_and_has_one_spelling() {
        let mut leases = Leases::default();
        leases.grant(Timestamp(1), NodeId([7; 32]), &[ObjectId([8; 32])]).expect("granted");
        let bytes = leases.encode();
        let expected = format!(
            "53574c454153453101000000{}813a09000000000001000000{}",
            "07".repeat(32),
            "08".repeat(32)
        );
        assert_eq!(hex::encode(&bytes), expected);
        assert_eq!(Leases::decode(&bytes), Ok(leases.clone()));
        leases.grant(Timestamp(1), NodeId([7; 32]), &[ObjectId([9; 32])]).expect("granted");
        let mut swapped = leases.encode();
        let n = swapped.len();
        swapped[n - 64..].rotate_left(32);
        assert!(Leases::decode(&swapped).is_err());
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes: Vec<u8>) {
            let mut input = MAGIC.to_vec();
            input.extend_from_slice(&bytes);
            if let Ok(leases) = Leases::decode(&input) {
                prop_assert_eq!(leases.encode(), input);
            }
        }
    }
}
