//! The client of a region: [`Tier`] over HTTP/1.1 over TLS 1.3 with raw public keys.
//!
//! One connection, kept alive, one request at a time: the protocol's batches are large, so a
//! second connection would only compete for the same uplink. A connection found broken is made
//! anew once; every call is idempotent, so repeating one is safe. Longer outages are the caller's:
//! they come back as [`TierError::Retry`] for its back-off.
//!
//! Every call but the first few bears a token and a proof of possession (`wallet`): the client asks
//! for tokens when it first needs them, renews them, and asks anew where one is refused.
//!
//! Blocking, with a small runtime inside: not to be called from asynchronous code.

mod wallet;

use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use http::{Method, StatusCode};
use seawall_base::ObjectId;
use seawall_link::{
    Answer as Reply, Connection, ErrorBody, JSON, LinkError, Message, OCTETS, Patience, TEXT,
};
use seawall_record::{Enrolment, Fleet, MAX_BUNDLE, PolicyChain};
use seawall_sign::token::Operation;
use seawall_sign::{Envelope, SigningKey, VerifyingKey};
use seawall_sync::message::{
    CosignedAnswer, DelegationRequest, EnrolRequest, MAX_DELEGATION, MAX_JSON_BODY, MAX_NOTICES,
    ReceiptRequest, envelopes_of_json,
};
use seawall_sync::rights::{Scope, right_to};
use seawall_sync::wire::{self, MAX_GET, MAX_IDS_BODY, MAX_OBJECTS_BODY};
use seawall_sync::{Answer, Have, LogSummary, ReceiptAnswer, Tier, TierError, TierIdentity};
use seawall_tlog::tile::TilePath;
use seawall_tlog::{Origin, SignedCheckpoint};

pub use wallet::Issuer;
use wallet::{Asked, Wallet};

/// Largest answer besides objects: a bundle of 256 largest entries is below 17 MiB.
const MAX_TILE: usize = 17 << 20;

/// Largest answer with evidence about one log: sixteen files.
const MAX_EVIDENCE_BODY: usize = 33 << 20;

/// Largest list of logs: 100 000 of them.
const MAX_LOGS_BODY: usize = 24 << 20;

/// The connection, and what is shown on it.
struct Line {
    connection: Connection,
    wallet: Wallet,
}

/// A region, reached over the network.
pub struct RegionClient {
    label: String,
    region: String,
    line: Mutex<Line>,
    fleet: seawall_base::FleetId,
    enrolment: Envelope,
}

impl RegionClient {
    /// Connects to the region at `address` (`HOST:PORT`), whose key must be the one its root-signed
    /// enrolment pins, and shows it this node's enrolment.
    pub fn connect(
        address: &str,
        region: &Enrolment,
        transport: &SigningKey,
        fleet: &Fleet,
        enrolment: &Envelope,
    ) -> Result<Self, TierError> {
        Self::connect_as_issuer(address, region, transport, fleet, enrolment, None)
    }

    /// As [`RegionClient::connect`], with the right to issue tokens oneself.
    pub(crate) fn connect_as_issuer(
        address: &str,
        region: &Enrolment,
        transport: &SigningKey,
        fleet: &Fleet,
        enrolment: &Envelope,
        issuer: Option<Issuer>,
    ) -> Result<Self, TierError> {
        let label = format!("region {:?} at {address}", region.name);
        let hello = EnrolRequest::new(fleet.id(), enrolment, &[]).with_policies(fleet.policies());
        let hello = serde_json::to_vec(&hello).expect("envelopes always serialise");
        let hello = Message {
            method: Method::POST,
            path: "/v1/enrol".to_owned(),
            content_type: JSON,
            body: hello.into(),
            limit: MAX_JSON_BODY,
        };
        let patience = Patience::default();
        let connection =
            Connection::open(address, region.transport, transport, patience, Some(hello))
                .map_err(|e| no_answer(&label, e))?;
        Ok(Self {
            label,
            region: region.name.clone(),
            line: Mutex::new(Line { connection, wallet: Wallet::new(transport, issuer) }),
            fleet: fleet.id(),
            enrolment: enrolment.clone(),
        })
    }

    /// Shows the region the fleet's policies as they are known here, and is shown its own. They
    /// are not verified: whoever takes them does that.
    pub fn exchange_policies(&self, fleet: &Fleet) -> Result<Vec<Envelope>, TierError> {
        let body = PolicyChain::of(fleet).to_json();
        let reply = self.post("/v1/policies", JSON, body, MAX_BUNDLE)?;
        let (of, policies) = PolicyChain::parse(&self.ok(reply)?).map_err(|e| self.protocol(&e))?;
        if of == fleet.id() {
            Ok(policies)
        } else {
            Err(self.protocol(&"it showed another fleet's policies"))
        }
    }

    /// Asks the region to let this node issue tokens itself, signed by `key`.
    pub fn delegate(&self, key: VerifyingKey) -> Result<Envelope, TierError> {
        let body = serde_json::to_vec(&DelegationRequest { key }).expect("text serialises");
        let reply = self.post("/v1/delegation", JSON, body, MAX_DELEGATION)?;
        Envelope::parse(&self.ok(reply)?).map_err(|e| self.protocol(&e))
    }

    /// What the region keeps as evidence about a log: a JSON array, which is empty where a region
    /// from before there was any says that it has no such thing.
    pub(crate) fn evidence(&self, origin: &Origin) -> Result<Bytes, TierError> {
        let path = format!("/v1/log/{}/evidence", origin.hash().to_hex());
        let reply = self.get_path(path, MAX_EVIDENCE_BODY)?;
        match reply.status {
            StatusCode::NOT_FOUND => Ok(Bytes::from_static(b"[]")),
            _ => self.ok(reply),
        }
    }

    /// The region's name.
    pub fn name(&self) -> &str {
        &self.region
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        // A panic of another thread leaves at worst a broken connection, which is made anew.
        self.line.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn post(
        &self,
        path: &str,
        content_type: &'static str,
        body: impl Into<Bytes>,
        limit: usize,
    ) -> Result<Reply, TierError> {
        let (path, body) = (path.to_owned(), body.into());
        self.send(&Message { method: Method::POST, path, content_type, body, limit })
    }

    fn get_path(&self, path: String, limit: usize) -> Result<Reply, TierError> {
        let (content_type, body) = (OCTETS, Bytes::new());
        self.send(&Message { method: Method::GET, path, content_type, body, limit })
    }

    fn send(&self, message: &Message) -> Result<Reply, TierError> {
        let mut line = self.line();
        let Line { connection, wallet } = &mut *line;
        let Some((right, call)) = right_to(message.method.as_str(), &message.path) else {
            return connection.request(message).map_err(|e| no_answer(&self.label, e));
        };
        let covered = call.covered.digest(&message.body).map_err(|e| self.protocol(&e))?;
        let statement = match right.scope {
            Scope::Session => None,
            // A token held is for another statement.
            Scope::Statement => {
                wallet.forget(right.operation, false);
                let envelope = Envelope::parse(&message.body).map_err(|e| self.protocol(&e))?;
                Some(envelope.digest())
            }
        };
        // A token that is refused, or was for a connection that is gone, is replaced once.
        for last in [false, true] {
            if !wallet.holds(right.operation) {
                let asked = Wallet::ask(connection, right.operation, statement)
                    .map_err(|e| no_answer(&self.label, e))?;
                self.keep(wallet, right.operation, asked)?;
            }
            let (sent, moved) = wallet.send(connection, right.operation, message, &covered);
            let refused = sent.as_ref().is_ok_and(|r| r.status == StatusCode::UNAUTHORIZED);
            if moved || refused {
                wallet.forget(right.operation, refused);
                if !last {
                    continue;
                }
            }
            return sent.map_err(|e| no_answer(&self.label, e));
        }
        Err(self.protocol(&"it refuses every token it issues"))
    }

    /// Keeps a token the region answered with.
    fn keep(
        &self,
        wallet: &mut Wallet,
        operation: Operation,
        asked: Asked,
    ) -> Result<(), TierError> {
        if asked.reply.status == StatusCode::NOT_FOUND {
            return Err(TierError::Refused {
                tier: self.label.clone(),
                why: "it issues no tokens: it is older than this node".to_owned(),
                remedy: "update the region, then try again".to_owned(),
            });
        }
        let body = self.ok(asked.reply)?;
        let answer = serde_json::from_slice(&body).map_err(|e| self.protocol(&e))?;
        if let Some(binding) = asked.binding {
            wallet.keep(operation, answer, binding);
        }
        Ok(())
    }

    /// The body of a 200; anything else is a refusal.
    fn ok(&self, reply: Reply) -> Result<Bytes, TierError> {
        match reply.status {
            StatusCode::OK => Ok(reply.body),
            _ => Err(refusal(&self.label, &reply)),
        }
    }

    fn protocol(&self, why: &impl ToString) -> TierError {
        TierError::Protocol { tier: self.label.clone(), why: why.to_string() }
    }

    /// The C2SP endpoints' statuses that mean something; the rest are refusals.
    fn answer(&self, reply: &Reply) -> Result<Answer, TierError> {
        match reply.status.as_u16() {
            status @ (200 | 202 | 400 | 403 | 404 | 409 | 422) if !reply.is_json => {
                Ok(Answer { status, body: reply.body.to_vec() })
            }
            _ => Err(refusal(&self.label, reply)),
        }
    }

    fn fetch(
        &self,
        ids: &[ObjectId],
        sink: &mut dyn FnMut(ObjectId, Vec<u8>),
    ) -> Result<usize, TierError> {
        let reply = self.post("/v1/get", OCTETS, wire::encode_ids(ids), 4 + MAX_OBJECTS_BODY)?;
        let body = self.ok(reply)?;
        let (covered, objects) =
            wire::decode_get_answer(ids, &body).map_err(|e| self.protocol(&e))?;
        for (id, bytes) in objects {
            if ObjectId::of(bytes) != id {
                return Err(
                    self.protocol(&format!("the bytes it sent as {id} are not that object"))
                );
            }
            sink(id, bytes.to_vec());
        }
        Ok(covered)
    }
}

fn enrol_body(fleet: seawall_base::FleetId, enrolment: &Envelope, subkeys: &[Envelope]) -> Vec<u8> {
    let request = EnrolRequest::new(fleet, enrolment, subkeys);
    serde_json::to_vec(&request).expect("envelopes always serialise")
}

/// What it means to the caller that there is no answer.
fn no_answer(label: &str, e: LinkError) -> TierError {
    let tier = label.to_owned();
    match e {
        LinkError::Retry(why) => TierError::Retry { tier, why },
        LinkError::Protocol(why) => TierError::Protocol { tier, why },
        LinkError::Unwelcome(reply) => refusal(label, &reply),
        LinkError::NotTrusted(_) => TierError::Refused {
            tier,
            why: e.to_string(),
            remedy: "nothing was sent; if its keys were replaced, get a new enrolment bundle from \
                     an operator"
                .to_owned(),
        },
    }
}

/// What a status other than success means to the caller.
fn refusal(label: &str, reply: &Reply) -> TierError {
    let tier = label.to_owned();
    let said = serde_json::from_slice::<ErrorBody>(&reply.body).ok();
    let printable = |text: String| text.chars().filter(|c| !c.is_control()).take(500).collect();
    let (why, remedy): (String, String) = match said {
        Some(body) => (printable(body.error), printable(body.remedy)),
        None => (format!("status {}", reply.status), "see the region's log".to_owned()),
    };
    match reply.status.as_u16() {
        408 | 425 | 429 | 500..=599 => TierError::Retry { tier, why: format!("{why}; {remedy}") },
        _ => TierError::Refused { tier, why, remedy },
    }
}

impl Tier for RegionClient {
    fn identity(&self) -> Result<TierIdentity, TierError> {
        let reply = self.get_path("/v1/region".to_owned(), MAX_JSON_BODY)?;
        serde_json::from_slice(&self.ok(reply)?).map_err(|e| self.protocol(&e))
    }

    fn introduce(&self, subkeys: &[Envelope]) -> Result<(), TierError> {
        let body = enrol_body(self.fleet, &self.enrolment, subkeys);
        let reply = self.post("/v1/enrol", JSON, body, MAX_JSON_BODY)?;
        self.ok(reply).map(drop)
    }

    fn have(&self, ids: &[ObjectId]) -> Result<Have, TierError> {
        let reply = self.post("/v1/have", OCTETS, wire::encode_ids(ids), MAX_IDS_BODY)?;
        wire::decode_have(ids, &self.ok(reply)?).map_err(|e| self.protocol(&e))
    }

    fn put(&self, objects: &[(ObjectId, Vec<u8>)]) -> Result<(), TierError> {
        let size: usize = objects.iter().map(|(_, b)| wire::FRAME_HEADER + b.len()).sum();
        let mut body = Vec::with_capacity(size);
        for (id, bytes) in objects {
            wire::push_object(&mut body, *id, bytes);
        }
        let reply = self.post("/v1/objects", OCTETS, body, MAX_JSON_BODY)?;
        self.ok(reply).map(drop)
    }

    fn get(
        &self,
        ids: &[ObjectId],
        sink: &mut dyn FnMut(ObjectId, Vec<u8>),
    ) -> Result<(), TierError> {
        let mut rest = ids;
        while !rest.is_empty() {
            let covered = self.fetch(&rest[..rest.len().min(MAX_GET)], sink)?;
            rest = &rest[covered..];
        }
        Ok(())
    }

    fn challenge(
        &self,
        nonce: &[u8; 32],
        ids: &[ObjectId],
    ) -> Result<Vec<Option<[u8; 32]>>, TierError> {
        let body = wire::encode_challenge(nonce, ids);
        let reply = self.post("/v1/challenge", OCTETS, body, 4 + ids.len() * 33)?;
        wire::decode_proofs(ids.len(), &self.ok(reply)?).map_err(|e| self.protocol(&e))
    }

    fn add_checkpoint(&self, body: &[u8]) -> Result<Answer, TierError> {
        self.answer(&self.post("/v1/log/add-checkpoint", TEXT, body.to_vec(), MAX_IDS_BODY)?)
    }

    fn add_entries(&self, body: &[u8]) -> Result<Answer, TierError> {
        self.answer(&self.post("/v1/log/add-entries", OCTETS, body.to_vec(), MAX_IDS_BODY)?)
    }

    fn logs(&self) -> Result<Vec<LogSummary>, TierError> {
        let reply = self.get_path("/v1/logs".to_owned(), MAX_LOGS_BODY)?;
        serde_json::from_slice(&self.ok(reply)?).map_err(|e| self.protocol(&e))
    }

    fn tile(&self, origin: &Origin, path: &TilePath) -> Result<Option<Vec<u8>>, TierError> {
        let path = format!("/v1/log/{}/{path}", origin.hash().to_hex());
        let reply = self.get_path(path, MAX_TILE)?;
        match reply.status {
            StatusCode::NOT_FOUND => Ok(None),
            _ => self.ok(reply).map(|body| Some(body.to_vec())),
        }
    }

    fn receipt(&self, origin: &Origin, index: u64) -> Result<ReceiptAnswer, TierError> {
        let request = ReceiptRequest { origin: origin.to_string(), index };
        let body = serde_json::to_vec(&request).expect("text and numbers serialise");
        let reply = self.post("/v1/receipt", JSON, body, MAX_IDS_BODY)?;
        if reply.status == StatusCode::CONFLICT && !reply.is_json {
            let missing = wire::decode_ids(&reply.body, wire::MAX_HAVE);
            return missing.map(ReceiptAnswer::Missing).map_err(|e| self.protocol(&e));
        }
        let envelope = Envelope::parse(&self.ok(reply)?).map_err(|e| self.protocol(&e))?;
        Ok(ReceiptAnswer::Given(envelope))
    }

    fn show_cosigned(&self, all: &[SignedCheckpoint]) -> Result<u64, TierError> {
        let body = wire::encode_cosigned(all);
        let reply = self.post("/v1/log/witnessed", OCTETS, body, MAX_JSON_BODY)?;
        let answer: CosignedAnswer =
            serde_json::from_slice(&self.ok(reply)?).map_err(|e| self.protocol(&e))?;
        Ok(answer.size)
    }

    fn delete(&self, statement: &Envelope) -> Result<(), TierError> {
        let reply = self.post("/v1/delete", JSON, statement.to_json(), MAX_JSON_BODY)?;
        self.ok(reply).map(drop)
    }

    fn deleted(&self, origin: &Origin) -> Result<Vec<Envelope>, TierError> {
        let path = format!("/v1/log/{}/deleted", origin.hash().to_hex());
        let reply = self.get_path(path, MAX_NOTICES)?;
        match reply.status {
            // It mirrors no such log, or is older than deletion.
            StatusCode::NOT_FOUND => Ok(Vec::new()),
            _ => envelopes_of_json(&self.ok(reply)?).map_err(|e| self.protocol(&e)),
        }
    }
}
