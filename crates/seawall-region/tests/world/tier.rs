//! Tiers without a network: a region in this process, and one between it and the node that lies
//! or breaks off.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use seawall_base::ObjectId;
use seawall_region::{Member, Refusal, Region};
use seawall_sign::{Envelope, VerifyingKey};
use seawall_sync::message::EnrolRequest;
use seawall_sync::wire;
use seawall_sync::{Answer, Have, LogSummary, ReceiptAnswer, Tier, TierError, TierIdentity};
use seawall_tlog::tile::TilePath;
use seawall_tlog::{Origin, SignedCheckpoint};

use super::world::Node;

/// Calls a region directly, as the member with the transport key `peer`.
pub struct InProcess {
    pub region: Arc<Region>,
    peer: VerifyingKey,
    fleet: seawall_base::FleetId,
    enrolment: Envelope,
}

fn refused(e: Refusal) -> TierError {
    let tier = "region".to_owned();
    match e.status {
        429 | 500.. => TierError::Retry { tier, why: e.error },
        _ => TierError::Refused { tier, why: e.error, remedy: e.remedy },
    }
}

impl InProcess {
    pub fn connect(region: &Arc<Region>, node: &Node) -> Result<Self, TierError> {
        let it = Self {
            region: region.clone(),
            peer: node.transport.public(),
            fleet: node.fleet.id(),
            enrolment: node.envelope.clone(),
        };
        it.introduce(&[]).map(|()| it)
    }

    pub fn member(&self) -> Arc<Member> {
        self.region.member(&self.peer).expect("enrolled")
    }
}

impl Tier for InProcess {
    fn identity(&self) -> Result<TierIdentity, TierError> {
        Ok(self.region.identity())
    }

    fn introduce(&self, subkeys: &[Envelope]) -> Result<(), TierError> {
        let request = EnrolRequest::new(self.fleet, &self.enrolment, subkeys);
        let body = serde_json::to_vec(&request).expect("JSON");
        self.region.enrol(&self.peer, &body).map_err(refused)
    }

    fn have(&self, ids: &[ObjectId]) -> Result<Have, TierError> {
        self.region.have(&self.member(), ids).map_err(refused)
    }

    fn put(&self, objects: &[(ObjectId, Vec<u8>)]) -> Result<(), TierError> {
        let mut body = Vec::new();
        for (id, bytes) in objects {
            wire::push_object(&mut body, *id, bytes);
        }
        self.region.put(&self.member(), &body).map_err(refused)
    }

    fn get(
        &self,
        ids: &[ObjectId],
        sink: &mut dyn FnMut(ObjectId, Vec<u8>),
    ) -> Result<(), TierError> {
        let body = self.region.get(&self.member(), ids).map_err(refused)?;
        let (_, objects) = wire::decode_get_answer(ids, &body).expect("the region's own encoding");
        for (id, bytes) in objects {
            sink(id, bytes.to_vec());
        }
        Ok(())
    }

    fn challenge(
        &self,
        nonce: &[u8; 32],
        ids: &[ObjectId],
    ) -> Result<Vec<Option<[u8; 32]>>, TierError> {
        self.region.challenge(&self.member(), nonce, ids).map_err(refused)
    }

    fn add_checkpoint(&self, body: &[u8]) -> Result<Answer, TierError> {
        self.region.add_checkpoint(&self.member(), body).map_err(refused)
    }

    fn add_entries(&self, body: &[u8]) -> Result<Answer, TierError> {
        self.region.add_entries(&self.member(), body).map_err(refused)
    }

    fn logs(&self) -> Result<Vec<LogSummary>, TierError> {
        Ok(self.region.list_logs(&self.member()))
    }

    fn tile(&self, origin: &Origin, path: &TilePath) -> Result<Option<Vec<u8>>, TierError> {
        match self.region.tile(&self.member(), origin.hash(), &path.to_string()) {
            Err(e) if e.status == 404 => Ok(None),
            other => other.map(Some).map_err(refused),
        }
    }

    fn receipt(&self, origin: &Origin, index: u64) -> Result<ReceiptAnswer, TierError> {
        self.region.receipt(&self.member(), origin.as_str(), index).map_err(refused)
    }

    fn show_cosigned(&self, all: &[SignedCheckpoint]) -> Result<u64, TierError> {
        self.region.show_cosigned(&self.member(), &wire::encode_cosigned(all)).map_err(refused)
    }

    fn delete(&self, statement: &Envelope) -> Result<(), TierError> {
        self.region.delete(&self.member(), &statement.to_json()).map_err(refused)
    }

    fn deleted(&self, origin: &Origin) -> Result<Vec<Envelope>, TierError> {
        match self.region.notices(&self.member(), origin.hash()) {
            Err(e) if e.status == 404 => Ok(Vec::new()),
            other => other.map_err(refused),
        }
    }
}

/// What a [`Between`] does to the answers.
#[derive(Default)]
pub struct Mischief {
    /// Claims to have every object.
    pub claim_all: AtomicBool,
    /// Answers challenges with bytes it made up.
    pub wrong_proofs: AtomicBool,
    /// Swallows objects without keeping them.
    pub swallow: AtomicBool,
    /// Breaks off for good after this many calls, if not 0.
    pub die_after: AtomicU64,
    /// Hands out this receipt instead of the region's.
    pub receipt: Mutex<Option<Envelope>>,
    /// Shows this as the mirrored checkpoint instead of the region's.
    pub checkpoint: Mutex<Option<Vec<u8>>>,
    /// Shows these notices of deletion instead of the region's.
    pub notices: Mutex<Option<Vec<Envelope>>>,
    /// Answers this to every `add-checkpoint`.
    pub add_checkpoint: Mutex<Option<Answer>>,
}

/// Stands between a node and a good region.
pub struct Between {
    pub inner: InProcess,
    pub mischief: Mischief,
    pub calls: AtomicU64,
    pub sent: AtomicU64,
}

impl Between {
    pub fn new(inner: InProcess) -> Self {
        let (calls, sent) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { inner, mischief: Mischief::default(), calls, sent }
    }

    fn call(&self) -> Result<(), TierError> {
        let calls = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let limit = self.mischief.die_after.load(Ordering::SeqCst);
        if limit != 0 && calls > limit {
            let (tier, why) = ("region".to_owned(), "broken off".to_owned());
            return Err(TierError::Retry { tier, why });
        }
        Ok(())
    }
}

impl Tier for Between {
    fn identity(&self) -> Result<TierIdentity, TierError> {
        self.call()?;
        self.inner.identity()
    }

    fn introduce(&self, subkeys: &[Envelope]) -> Result<(), TierError> {
        self.call()?;
        self.inner.introduce(subkeys)
    }

    fn have(&self, ids: &[ObjectId]) -> Result<Have, TierError> {
        self.call()?;
        let mut have = self.inner.have(ids)?;
        if self.mischief.claim_all.load(Ordering::SeqCst) {
            have.missing.clear();
        }
        Ok(have)
    }

    fn put(&self, objects: &[(ObjectId, Vec<u8>)]) -> Result<(), TierError> {
        self.call()?;
        self.sent.fetch_add(objects.len() as u64, Ordering::SeqCst);
        if self.mischief.swallow.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.inner.put(objects)
    }

    fn get(
        &self,
        ids: &[ObjectId],
        sink: &mut dyn FnMut(ObjectId, Vec<u8>),
    ) -> Result<(), TierError> {
        self.call()?;
        self.inner.get(ids, sink)
    }

    fn challenge(
        &self,
        nonce: &[u8; 32],
        ids: &[ObjectId],
    ) -> Result<Vec<Option<[u8; 32]>>, TierError> {
        self.call()?;
        if self.mischief.wrong_proofs.load(Ordering::SeqCst) {
            return Ok(ids.iter().map(|id| Some(seawall_sync::possession(nonce, &id.0))).collect());
        }
        self.inner.challenge(nonce, ids)
    }

    fn add_checkpoint(&self, body: &[u8]) -> Result<Answer, TierError> {
        self.call()?;
        match &*self.mischief.add_checkpoint.lock().expect("no panic") {
            Some(answer) => Ok(answer.clone()),
            None => self.inner.add_checkpoint(body),
        }
    }

    fn add_entries(&self, body: &[u8]) -> Result<Answer, TierError> {
        self.call()?;
        self.inner.add_entries(body)
    }

    fn logs(&self) -> Result<Vec<LogSummary>, TierError> {
        self.call()?;
        self.inner.logs()
    }

    fn tile(&self, origin: &Origin, path: &TilePath) -> Result<Option<Vec<u8>>, TierError> {
        self.call()?;
        match &*self.mischief.checkpoint.lock().expect("no panic") {
            Some(made_up) if *path == TilePath::Checkpoint => Ok(Some(made_up.clone())),
            _ => self.inner.tile(origin, path),
        }
    }

    fn receipt(&self, origin: &Origin, index: u64) -> Result<ReceiptAnswer, TierError> {
        self.call()?;
        match &*self.mischief.receipt.lock().expect("no panic") {
            Some(envelope) => Ok(ReceiptAnswer::Given(envelope.clone())),
            None => self.inner.receipt(origin, index),
        }
    }

    fn show_cosigned(&self, all: &[SignedCheckpoint]) -> Result<u64, TierError> {
        self.call()?;
        self.inner.show_cosigned(all)
    }

    fn delete(&self, statement: &Envelope) -> Result<(), TierError> {
        self.call()?;
        self.inner.delete(statement)
    }

    fn deleted(&self, origin: &Origin) -> Result<Vec<Envelope>, TierError> {
        self.call()?;
        match &*self.mischief.notices.lock().expect("no panic") {
            Some(envelopes) => Ok(envelopes.clone()),
            None => self.inner.deleted(origin),
        }
    }
}
