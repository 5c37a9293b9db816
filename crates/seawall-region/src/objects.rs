//! Objects of one tenant: have, put, get, and proof of possession.
//!
//! Every call sees the caller's tenant only; there is no way to name another.

use std::sync::Arc;

use seawall_base::{MAX_OBJECT, ObjectId, Timestamp, write_atomic};
use seawall_store::StoreError;
use seawall_sync::wire::{self, BATCH_BYTES, FRAME_HEADER};
use seawall_sync::{Have, LeaseError, possession};

use crate::region::{Tenant, UNPOISONED};
use crate::{Member, Refusal, Region, RegionError};

impl Region {
    fn tenant_of(&self, member: &Member) -> Result<Arc<Tenant>, Refusal> {
        Ok(self.tenant(member.tenant)?)
    }

    /// Which of `ids` are missing. All of them are under lease from now on; where no more leases
    /// can be given, the promise ends now and the answer is as good as it was when it was made.
    pub fn have(&self, member: &Member, ids: &[ObjectId]) -> Result<Have, Refusal> {
        let tenant = self.tenant_of(member)?;
        let lease = self.lease(&tenant, member, ids)?;
        let missing = ids.iter().copied().filter(|id| !tenant.store.contains(*id)).collect();
        Ok(Have { lease, missing })
    }

    fn lease(
        &self,
        tenant: &Tenant,
        member: &Member,
        ids: &[ObjectId],
    ) -> Result<Timestamp, Refusal> {
        let mut leases = tenant.leases.lock().expect(UNPOISONED);
        let now = self.clock.now();
        let until = match leases.grant(now, member.enrolment.node(), ids) {
            Ok(until) => until,
            Err(LeaseError::Full(limit)) => {
                tracing::warn!(tenant = %member.tenant, limit, "no more leases");
                return Ok(now);
            }
        };
        self.write_leases(tenant, &leases.encode())?;
        Ok(until)
    }

    fn write_leases(&self, tenant: &Tenant, bytes: &[u8]) -> Result<(), RegionError> {
        write_atomic(self.disk.as_ref(), &tenant.lease_path, bytes)
            .map_err(RegionError::io(format!("writing {}", tenant.lease_path)))
    }

    /// Ends a member's lease once its snapshot has been counted.
    pub(crate) fn release(&self, tenant: &Tenant, member: &Member) -> Result<(), RegionError> {
        let mut leases = tenant.leases.lock().expect(UNPOISONED);
        if leases.release(member.enrolment.node()) {
            self.write_leases(tenant, &leases.encode())?;
        }
        Ok(())
    }

    /// Takes objects in, each checked against its id; durable on return. Whole ones before a bad
    /// one are kept.
    pub fn put(&self, member: &Member, body: &[u8]) -> Result<(), Refusal> {
        let objects = wire::decode_objects(body)?;
        let tenant = self.tenant_of(member)?;
        match put_all(&tenant, &objects) {
            // An earlier failure of the disk closed it for writing: it is opened again, once.
            Err(StoreError::Poisoned { .. }) => {
                self.forget_tenant(member.tenant, &tenant);
                let reopened = self.tenant_of(member)?;
                Ok(put_all(&reopened, &objects)?)
            }
            other => Ok(other?),
        }
    }

    /// The body that answers a `get`: objects in the order asked until there are 8 MiB of them.
    pub fn get(&self, member: &Member, ids: &[ObjectId]) -> Result<Vec<u8>, Refusal> {
        let tenant = self.tenant_of(member)?;
        let mut frames = Vec::new();
        let mut covered = 0;
        for &id in ids {
            if let Some(bytes) = readable(&tenant, id)? {
                wire::push_object(&mut frames, id, &bytes);
            }
            covered += 1;
            if frames.len() >= BATCH_BYTES {
                break;
            }
        }
        debug_assert!(frames.len() <= BATCH_BYTES + FRAME_HEADER + MAX_OBJECT);
        Ok(wire::encode_get_answer(covered, &frames))
    }

    /// Proof of possession of each object, read from the disk now; `None` for one that is not
    /// here or no longer whole.
    pub fn challenge(
        &self,
        member: &Member,
        nonce: &[u8; 32],
        ids: &[ObjectId],
    ) -> Result<Vec<Option<[u8; 32]>>, Refusal> {
        let tenant = self.tenant_of(member)?;
        ids.iter()
            .map(|id| Ok(readable(&tenant, *id)?.map(|bytes| possession(nonce, &bytes))))
            .collect()
    }
}

fn put_all(tenant: &Tenant, objects: &[(ObjectId, &[u8])]) -> Result<(), StoreError> {
    let stored =
        objects.iter().try_for_each(|(id, bytes)| tenant.store.put(*id, None, bytes).map(drop));
    stored.and(tenant.store.flush())
}

/// An object that can be read whole. A damaged one counts as absent, so that it is sent again.
pub(crate) fn readable(tenant: &Tenant, id: ObjectId) -> Result<Option<Vec<u8>>, StoreError> {
    match tenant.store.get(id) {
        Err(e @ StoreError::Damaged { .. }) => {
            tracing::warn!(error = %e, "damaged object");
            Ok(None)
        }
        other => other,
    }
}
