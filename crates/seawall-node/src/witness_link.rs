//! Witnesses over the network: bringing them checkpoints, and asking what they have.
//!
//! Bringing is C2SP tlog-witness. Asking is gossip: of all that vouch for one log, each smaller
//! state must be a beginning of every larger one. Who shows another history is named, and both
//! checkpoints go into `evidence/`.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{Method, StatusCode};
use seawall_base::Timestamp;
use seawall_link::{Answer, Connection, Message, Patience};
use seawall_record::{Fleet, Introduction, LogState, Sighting, WitnessRecord};
use seawall_sign::Envelope;
use seawall_sync::SyncError;
use seawall_tlog::{
    AddCheckpoint, Hash, Kind, Log, Origin, SignedCheckpoint, Verifier, WitnessAnswer,
};

use crate::custodians::refusal;
use crate::home::{Home, HomeError};
use crate::tiers::{PulledLog, Unreached};
use crate::witnesses::{believed_lines, certificates, write_evidence};

/// Most bytes of what a witness answers.
const MAX_ANSWER: usize = 256 << 10;

/// A witness that can be spoken to.
pub struct HttpWitness {
    record: WitnessRecord,
    connection: Mutex<Connection>,
}

impl HttpWitness {
    /// Connects to a witness that the policy says how to reach.
    pub fn connect(home: &Home, record: &WitnessRecord) -> Result<Self, HomeError> {
        let endpoint = record.endpoint.as_ref().ok_or_else(|| {
            HomeError::refused(format!("the policy does not say where {} is", record.name))
        })?;
        let patience =
            Patience { connect: Duration::from_secs(5), request: Duration::from_secs(30) };
        let (address, pinned) = (&endpoint.address, endpoint.transport);
        let connection = Connection::open(address, pinned, &home.transport()?, patience, None)
            .map_err(|e| HomeError::refused(format!("{} at {address}: {e}", record.name)))?;
        Ok(Self { record: record.clone(), connection: Mutex::new(connection) })
    }

    /// Every witness of the policy that can be spoken to and, with the reasons, the others.
    /// Witnesses of which the policy says no address are passed over.
    pub fn all(home: &Home, fleet: &Fleet) -> (Vec<Self>, Unreached) {
        let (mut links, mut failed) = (Vec::new(), Vec::new());
        for record in fleet.witnesses().iter().filter(|w| w.endpoint.is_some()) {
            match Self::connect(home, record) {
                Ok(link) => links.push(link),
                Err(e) => failed.push((record.name.clone(), e)),
            }
        }
        (links, failed)
    }

    /// Its record in the policy.
    pub const fn record(&self) -> &WitnessRecord {
        &self.record
    }

    fn ask(&self, method: Method, path: String, body: Vec<u8>) -> Result<Answer, HomeError> {
        let (content_type, body) = ("text/plain; charset=utf-8", body.into());
        let message = Message { method, path, content_type, body, limit: MAX_ANSWER };
        // A panic of another thread leaves at worst a broken connection, which is made anew.
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = connection.request(&message);
        answer.map_err(|e| HomeError::refused(format!("{}: {e}", self.record.name)))
    }

    /// Tells it who signs a log.
    pub fn introduce(&self, introduction: &[u8]) -> Result<(), HomeError> {
        let path = "/v1/witness/introduce".to_owned();
        let answer = self.ask(Method::POST, path, introduction.to_vec())?;
        if answer.status == StatusCode::OK {
            return Ok(());
        }
        let (why, remedy) = refusal(&answer);
        Err(HomeError::refused(format!("{} refuses: {why}; {remedy}", self.record.name)))
    }

    /// C2SP tlog-witness `add-checkpoint`.
    pub fn add_checkpoint(&self, body: Vec<u8>) -> Result<(u16, Vec<u8>), HomeError> {
        let answer = self.ask(Method::POST, "/v1/witness/add-checkpoint".to_owned(), body)?;
        Ok((answer.status.as_u16(), answer.body.to_vec()))
    }

    /// The latest checkpoint of a log that it cosigned (C2SP tlog-witness, monitor retrieval).
    pub fn checkpoint(&self, origin: &Origin) -> Result<Option<SignedCheckpoint>, HomeError> {
        let path = format!("/v1/witness/{}/checkpoint", origin.hash().to_hex());
        let answer = self.ask(Method::GET, path, Vec::new())?;
        let name = &self.record.name;
        match answer.status {
            StatusCode::NOT_FOUND => return Ok(None),
            StatusCode::OK => {}
            other => {
                let why = format!("{name} answered with status {other}");
                return Err(HomeError::refused(why));
            }
        }
        let signed = SignedCheckpoint::parse(&answer.body)?;
        if signed.checkpoint().origin != *origin {
            return Err(HomeError::refused(format!("{name} shows another log's checkpoint")));
        }
        let key = Verifier::new(name, Kind::Cosigner, &self.record.key)?;
        if signed.verify(&[key]).is_err() {
            let why = format!("{name} shows a checkpoint that it has not cosigned");
            return Err(HomeError::refused(why));
        }
        Ok(Some(signed))
    }

    /// As [`HttpWitness::checkpoint`], with the certificate of the subkey that signed it, as the
    /// witness was told of it.
    pub(crate) fn vouched(
        &self,
        fleet: &Fleet,
        origin: &Origin,
    ) -> Result<Option<(SignedCheckpoint, Envelope)>, HomeError> {
        let Some(signed) = self.checkpoint(origin)? else { return Ok(None) };
        let path = format!("/v1/witness/{}/introduction", origin.hash().to_hex());
        let answer = self.ask(Method::GET, path, Vec::new())?;
        let introduced = Introduction::parse(&answer.body)?.open(fleet)?;
        for (subkey, certificate) in introduced.subkeys {
            let key = [Verifier::new(origin.as_str(), Kind::Signer, &subkey.key)?];
            if !signed.note().good_lines(&key).is_empty() {
                return Ok(Some((signed, certificate)));
            }
        }
        let why = format!("{} knows nobody who signed its checkpoint", self.record.name);
        Err(HomeError::refused(why))
    }
}

/// Brings the log's last checkpoint to a witness and returns its line. `Err` names what it has
/// against this log: a larger checkpoint means that this disk is an old copy.
pub(crate) fn bring(
    link: &HttpWitness,
    log: &Log,
    state: &LogState,
) -> Result<(SignedCheckpoint, Timestamp), HomeError> {
    let signed = log.checkpoint().ok_or_else(|| HomeError::refused("nothing is signed yet"))?;
    let record = link.record();
    let key = Verifier::new(&record.name, Kind::Cosigner, &record.key)?;
    let enrolment = state
        .enrolment_envelope()
        .ok_or_else(|| HomeError::refused("the log does not begin with an enrolment"))?;
    link.introduce(&Introduction::new(enrolment, &certificates(state)).to_json())?;
    let held = link.checkpoint(log.origin())?;
    if let Some(held) = &held {
        check_held(held, log, state, &record.name)?;
    }
    let mut old = held.as_ref().map_or(0, |it| it.checkpoint().size);
    for _ in 0..3 {
        if old > signed.checkpoint().size {
            let why = format!("{} claims to have {old} entries and shows none", record.name);
            return Err(HomeError::refused(why));
        }
        let proof = log.consistency(old, signed.checkpoint().size)?;
        let request = AddCheckpoint { old, proof, checkpoint: signed.clone() };
        let (status, body) = link.add_checkpoint(request.to_bytes())?;
        match WitnessAnswer::parse(status, &body) {
            Some(WitnessAnswer::Cosigned(lines)) => {
                let mut cosigned = signed.clone();
                for line in lines.into_iter().filter(|line| key.claims(line)) {
                    if let Some(time) = key.verify(signed.note().text(), &line)? {
                        cosigned.add(line)?;
                        return Ok((cosigned, time));
                    }
                }
                return Err(HomeError::refused(format!("{} gave no cosignature", record.name)));
            }
            Some(WitnessAnswer::Conflict(now)) => old = now,
            Some(refusal) => {
                let why = refusal.body();
                return Err(HomeError::refused(format!("{}: {}", record.name, why.trim_end())));
            }
            None => {
                let why = format!("{} gave an answer with status {status}", record.name);
                return Err(HomeError::refused(why));
            }
        }
    }
    Err(HomeError::refused(format!("{} says otherwise each time", record.name)))
}

/// What a witness holds of this node's own log must be in it. If this node signed it and has it
/// not, this disk went back in time.
fn check_held(
    held: &SignedCheckpoint,
    log: &Log,
    state: &LogState,
    witness: &str,
) -> Result<(), HomeError> {
    let checkpoint = held.checkpoint();
    let here = checkpoint.size <= log.size() && log.root_at(checkpoint.size)? == checkpoint.root;
    if here {
        return Ok(());
    }
    let keys: Vec<Verifier> = state
        .all_subkeys()
        .map(|key| Verifier::new(log.origin().as_str(), Kind::Signer, &key))
        .collect::<Result<_, _>>()?;
    if held.note().good_lines(&keys).is_empty() {
        let why = format!("{witness} shows a checkpoint that no known key of this log signed");
        return Err(HomeError::refused(why));
    }
    Err(SyncError::RolledBack {
        tier: witness.to_owned(),
        origin: log.origin().to_string(),
        mirrored: checkpoint.size,
        held: log.size(),
    }
    .into())
}

/// Asks witnesses what they have of a log and compares it with the copy: what agrees vouches for
/// the copy, and who shows another history is named, with evidence. Returns what contradicts.
pub fn hear(
    home: &Home,
    fleet: &Fleet,
    log: &mut PulledLog,
    witnesses: &[HttpWitness],
) -> Result<Vec<String>, HomeError> {
    let mut contradictions = Vec::new();
    for witness in witnesses {
        let name = witness.record().name.clone();
        let theirs = match witness.checkpoint(&log.origin) {
            Ok(Some(theirs)) => theirs,
            Ok(None) => continue,
            Err(e) => {
                contradictions.push(format!("{name}: {e}"));
                continue;
            }
        };
        match log.compare(&theirs)? {
            // Its own voice and what others have really said; of what it added nothing.
            Compared::Agrees => log.shown.push(believed_lines(home, fleet, &log.state, &theirs)?),
            Compared::Ahead => contradictions.push(format!(
                "{name} has {} entries of {}, {} shows {}: it lags, or was rolled back",
                theirs.checkpoint().size,
                log.origin,
                log.region,
                log.checkpoint.checkpoint().size
            )),
            Compared::Other(beginning) => {
                let finding = format!("{name} and {} show two histories: a fork", log.region);
                let sighting = |seen_at: &str, it: &SignedCheckpoint| Sighting {
                    seen_at: seen_at.to_owned(),
                    checkpoint: text(it),
                };
                let both = [sighting(&name, &theirs), sighting(&log.region, &log.checkpoint)];
                let path = write_evidence(home, fleet, &log.state, &finding, (both, beginning))?;
                contradictions.push(match path {
                    Some(path) => format!("{finding}; both checkpoints are in {path}"),
                    None => finding,
                });
            }
        }
    }
    Ok(contradictions)
}

/// What a checkpoint says beside a copy of its log.
pub(crate) enum Compared {
    /// The copy has its entries.
    Agrees,
    /// It covers more than the copy has.
    Ahead,
    /// The copy has others; with what the copy begins with, and the proof, if it is longer.
    Other(Option<(Hash, Vec<Hash>)>),
}

fn text(signed: &SignedCheckpoint) -> String {
    String::from_utf8_lossy(&signed.to_bytes()).into_owned()
}
