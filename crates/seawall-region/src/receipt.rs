//! Counting a snapshot and signing for it.

use seawall_base::ObjectId;
use seawall_record::Receipt;
use seawall_record::reference_set::{ReferenceSetError, Visit, walk};
use seawall_sync::ReceiptAnswer;
use seawall_sync::wire::MAX_HAVE;

use crate::objects::readable;
use crate::{Member, Refusal, Region};

impl Region {
    /// Walks the reference set of the manifest at `index` and signs a receipt if every page and
    /// every object is in this tenant's store; otherwise names what is missing. A missing page
    /// hides what is below it.
    pub fn receipt(
        &self,
        member: &Member,
        origin: &str,
        index: u64,
    ) -> Result<ReceiptAnswer, Refusal> {
        let slot = self.visible_origin(member, origin)?;
        let found = self.with_log(&slot, |log| {
            let found = log.manifests.get(&index).filter(|_| index < log.published());
            Ok(found.map(|it| (*it, log.tombs.of(&it.0).is_some())))
        })?;
        if let Some((_, true)) = found {
            let why = format!("the snapshot at entry {index} is deleted");
            return Err(Refusal::new(410, why, "ask this region for its notices of deletion"));
        }
        let found = found.map(|(it, _)| it);
        let (manifest, reference_set) = found.ok_or_else(|| {
            Refusal::not_found(format!("entry {index} of this log is no mirrored snapshot"))
        })?;
        let tenant = self.tenant(member.tenant)?;
        let mut missing = Vec::new();
        let mut wrong = None;
        let pages = |id: ObjectId| readable(&tenant, id).map_err(|e| e.to_string());
        let walked = walk(&pages, &reference_set, &mut |visit| {
            let (id, len) = match visit {
                Visit::Page(id, len) => (id, len),
                Visit::Member(member) => (member.id, member.len),
            };
            match tenant.store.size_of(id) {
                Some(found) if found != len => wrong = Some((id, len, found)),
                None if missing.len() < MAX_HAVE => missing.push(id),
                Some(_) | None => {}
            }
        });
        match walked {
            Ok(()) => {}
            Err(ReferenceSetError::Missing(page)) => missing.push(page),
            Err(e @ ReferenceSetError::Malformed { .. }) => {
                return Err(Refusal::new(422, e.to_string(), "make the snapshot again"));
            }
            Err(e @ ReferenceSetError::Store { .. }) => return Err(Refusal::internal(&e)),
        }
        if let Some((id, counted, found)) = wrong {
            let why = format!("the snapshot counts {counted} bytes for {id}, which has {found}");
            return Err(Refusal::new(422, why, "make the snapshot again"));
        }
        if !missing.is_empty() {
            missing.truncate(MAX_HAVE);
            return Ok(ReceiptAnswer::Missing(missing));
        }
        let receipt = Receipt {
            fleet: slot.fleet,
            region: self.keys.identity.public().node_id(),
            incarnation: self.config.incarnation,
            manifest,
            origin: origin.to_owned(),
            index,
            reference_set,
            created: self.clock.now(),
        };
        let envelope =
            receipt.statement().sign(&[&self.keys.identity]).map_err(|e| Refusal::internal(&e))?;
        self.release(&tenant, member)?;
        Ok(ReceiptAnswer::Given(envelope))
    }
}
