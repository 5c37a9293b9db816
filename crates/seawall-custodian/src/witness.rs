//! A custodian as a witness: it cosigns the growth of members' logs and holds no entry of them.
//!
//! Having no entries, it learns who signs a log from an [`Introduction`]: the member's root-signed
//! enrolment and the subkeys its identity key certified. What it was introduced to it keeps, so
//! that a restart does not silence it. An introduction is checked against the fleets as they are
//! *now* each time it is used: who has been revoked meanwhile is not known any more.
//!
//! The logs of other custodians it knows from the fleet itself: their signing keys stand there.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use seawall_base::{Disk, FleetId, Sha256, Timestamp, read_file, write_atomic};
use seawall_record::{Fleet, Introduced, Introduction, MAX_INTRODUCTION, RecordError};
use seawall_sign::{Algorithm, SigningKey, VerifyingKey};
use seawall_tlog::{
    Cosigner, Judgement, Kind, LogError, NoteError, Origin, SignedCheckpoint, Verifier, Witness,
};

/// Why the desk could not be opened, or did not take something.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// The disk failed. Make room or repair it, then open the desk again.
    #[error("{path}")]
    Io {
        /// Which file.
        path: String,
        /// What the disk said.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: {why}; remove it, and its node introduces itself again")]
    Damaged {
        /// Which file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// What it holds of the logs it cosigned.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Its name or key.
    #[error(transparent)]
    Name(#[from] NoteError),
    /// An introduction that is not believed. Refuse its sender.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// An introduction that is not taken. Refuse its sender.
    #[error("the introduction {0}")]
    Refused(&'static str),
}

impl DeskError {
    fn io(path: &str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// Most logs one desk is introduced to.
const MAX_LOGS: usize = 65_536;

/// The desk at which a custodian cosigns.
pub struct WitnessDesk {
    disk: Arc<dyn Disk>,
    dir: String,
    name: String,
    key: SigningKey,
    witness: Witness,
    /// By the hash of the origin that each introduces.
    introduced: BTreeMap<Sha256, Introduction>,
}

impl WitnessDesk {
    /// Opens the desk in `dir`. `name` is that of its cosignatures, `key` is used for nothing else.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &str,
        name: String,
        key: SigningKey,
    ) -> Result<Self, DeskError> {
        let (held, known) = (format!("{dir}/logs"), format!("{dir}/introduced"));
        Verifier::new(&name, Kind::Cosigner, &key.public())?;
        let witness = Witness::open(disk.clone(), &held)?;
        disk.create_dir_all(&known).map_err(DeskError::io(&known))?;
        let mut introduced = BTreeMap::new();
        for file in disk.list(&known).map_err(DeskError::io(&known))? {
            let Some(hash) = file.strip_suffix(".json") else { continue };
            let path = format!("{known}/{file}");
            let damaged =
                |why: &str| DeskError::Damaged { path: path.clone(), why: why.to_owned() };
            let hash = Sha256::from_hex(hash).map_err(|_| damaged("not named by a log's hash"))?;
            let bytes = read_file(disk.as_ref(), &path, MAX_INTRODUCTION)
                .map_err(DeskError::io(&path))?
                .ok_or_else(|| damaged("listed but not there"))?;
            let it = Introduction::parse(&bytes).map_err(|e| damaged(&e.to_string()))?;
            introduced.insert(hash, it);
        }
        let dir = dir.to_owned();
        Ok(Self { disk, dir, name, key, witness, introduced })
    }

    /// The key with which others check its cosignatures.
    pub fn verifier(&self) -> Result<Verifier, NoteError> {
        self.cosigner().verifier()
    }

    const fn cosigner(&self) -> Cosigner<'_> {
        Cosigner { name: self.name.as_str(), key: &self.key }
    }

    /// Learns who signs a member's log. Its subkeys are added to those known of the same
    /// enrolment; another enrolment of the same epoch is refused.
    pub fn introduce(&mut self, fleets: &[Fleet], body: &[u8]) -> Result<(), DeskError> {
        let offered = Introduction::parse(body)?;
        let (fleet, it) = opened_by(fleets, &offered)?;
        if fleet.is_revoked(it.enrolment.node(), it.enrolment.epoch) {
            return Err(DeskError::Refused("is of a node that was revoked"));
        }
        let hash = Sha256::of(it.origin().as_bytes());
        let mut subkeys: BTreeMap<_, _> =
            it.subkeys.iter().map(|(s, e)| ((s.not_after, s.key), e.clone())).collect();
        if let Some(known) = self.introduced.get(&hash) {
            // One that no longer opens was made under a policy that revoked it.
            if let Ok(known) = known.open(fleet) {
                if known.envelope.digest() != it.envelope.digest() {
                    return Err(DeskError::Refused(
                        "names another enrolment of the same epoch than the one before",
                    ));
                }
                subkeys
                    .extend(known.subkeys.iter().map(|(s, e)| ((s.not_after, s.key), e.clone())));
            }
        } else if self.introduced.len() == MAX_LOGS {
            return Err(DeskError::Refused("comes too late: the desk is full"));
        }
        let subkeys: Vec<_> = subkeys.into_values().collect();
        let merged = Introduction::new(&it.envelope, &subkeys);
        let path = format!("{}/introduced/{}.json", self.dir, hash.to_hex());
        write_atomic(self.disk.as_ref(), &path, &merged.to_json()).map_err(DeskError::io(&path))?;
        self.introduced.insert(hash, merged);
        Ok(())
    }

    /// C2SP tlog-witness `add-checkpoint`. `now` must not be 0.
    pub fn add_checkpoint(
        &mut self,
        fleets: &[Fleet],
        body: &[u8],
        now: Timestamp,
    ) -> Result<Judgement, DeskError> {
        let introduced = &self.introduced;
        let trusted = |origin: &Origin| {
            let keys = keys_of(fleets, introduced.get(&origin.hash()), origin)?;
            let verifier = |key| Verifier::new(origin.as_str(), Kind::Signer, &key).ok();
            keys.into_iter().map(verifier).collect()
        };
        let cosigner = Cosigner { name: &self.name, key: &self.key };
        Ok(self.witness.add_checkpoint(body, &trusted, cosigner, now)?)
    }

    /// The latest cosigned checkpoint of a log, by the hash of its origin (C2SP tlog-witness,
    /// monitor retrieval).
    pub fn checkpoint(&self, origin: Sha256) -> Option<Vec<u8>> {
        let mut held = self.witness.checkpoints();
        held.find(|it| it.checkpoint().origin.hash() == origin).map(SignedCheckpoint::to_bytes)
    }

    /// What it was told of who signs a log, by the hash of its origin.
    pub fn introduction(&self, origin: Sha256) -> Option<Vec<u8>> {
        self.introduced.get(&origin).map(Introduction::to_json)
    }
}

/// The fleet whose root keys enrolled the one introduced.
fn opened_by<'f>(
    fleets: &'f [Fleet],
    offered: &Introduction,
) -> Result<(&'f Fleet, Introduced), DeskError> {
    let mut why = None;
    for fleet in fleets {
        match offered.open(fleet) {
            Ok(it) => return Ok((fleet, it)),
            Err(e) => why = Some(e),
        }
    }
    Err(why
        .map_or(DeskError::Refused("is of a fleet this custodian does not serve"), DeskError::from))
}

/// The keys trusted for a log at this moment; `None` if it is not known.
fn keys_of(
    fleets: &[Fleet],
    introduced: Option<&Introduction>,
    origin: &Origin,
) -> Option<Vec<VerifyingKey>> {
    if let Some(it) = introduced {
        let (fleet, it) = opened_by(fleets, it).ok()?;
        // A revoked node's past stays readable; it gets no further.
        if fleet.is_revoked(it.enrolment.node(), it.enrolment.epoch) {
            return None;
        }
        return (it.origin() == origin.as_str()).then(|| it.keys().collect());
    }
    custodian_of(fleets, origin).map(|key| vec![key])
}

/// The key that signs the log of this origin, `seawall/<fleet>/custodian/<id>`: the custodian's
/// signing key, or beside one that signs no checkpoints, that of its connections.
fn custodian_of(fleets: &[Fleet], origin: &Origin) -> Option<VerifyingKey> {
    let (fleet, id) = origin.as_str().strip_prefix("seawall/")?.split_once("/custodian/")?;
    let fleet = FleetId::from_hex(fleet).ok()?;
    let fleet = fleets.iter().find(|it| it.id() == fleet)?;
    let custodians = fleet.groups().iter().flat_map(|group| &group.custodians);
    let mut named = custodians.filter(|it| it.signing_key.node_id().to_hex() == id);
    let custodian = named.next()?;
    match custodian.signing_key.algorithm() {
        Algorithm::Ed25519 => Some(custodian.signing_key),
        Algorithm::MlDsa44 => custodian.endpoint.as_ref().map(|endpoint| endpoint.transport),
    }
}
