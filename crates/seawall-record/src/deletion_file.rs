//! A proposed deletion as it goes from one custodian to the next: the statement with the signatures
//! so far, the fleet whose policy judges them, and the manifests it names.
//!
//! A statement by itself is digests. Whoever signs sees from the manifests which snapshots those
//! are; each is held to its digest, so nobody can show one and delete another. Whether they stand in
//! a log is for the log to say: a statement about others deletes nothing.

use seawall_base::{GroupId, Sha256};
use seawall_sign::{Envelope, Statement, VerifyingKey};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::bundle::{envelope, parse, policies, raw};
use crate::{Deletion, DeletionRule, Fleet, Manifest, ManifestCore, Pin, RecordError};

const WHAT: &str = "proposed deletion";

/// Largest file in bytes: 128 manifests with the largest capsules, and a long chain of policies.
pub const MAX_DELETION_FILE: usize = 4 << 20;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    format: String,
    genesis: Box<RawValue>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    policies: Vec<Box<RawValue>>,
    statement: Box<RawValue>,
    manifests: Vec<Box<RawValue>>,
}

/// A proposal whose parts belong together; its signatures are counted, not believed.
#[derive(Debug, Clone)]
pub struct DeletionFile {
    fleet: Fleet,
    envelope: Envelope,
    deletion: Deletion,
    manifests: Vec<Envelope>,
    cores: Vec<ManifestCore>,
}

/// How far one escrow group's quorum is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The group.
    pub group: GroupId,
    /// Its data class.
    pub class: String,
    /// Names of its custodians that have signed.
    pub by: Vec<String>,
    /// How many it takes.
    pub need: u16,
}

impl DeletionFile {
    const FORMAT: &str = "seawall-deletion/1";

    /// Puts a statement together with what its signers have to see.
    pub fn new(
        fleet: Fleet,
        envelope: Envelope,
        manifests: Vec<Envelope>,
    ) -> Result<Self, RecordError> {
        let refuse = |why: String| Err(RecordError::refused(WHAT, why));
        let deletion = Deletion::read_unverified(&envelope)?;
        if deletion.fleet != fleet.id() {
            let (expected, found) = (fleet.id(), deletion.fleet);
            return Err(RecordError::OtherFleet { what: WHAT, expected, found });
        }
        if deletion.policy != fleet.version() {
            return refuse(format!(
                "names version {} of the fleet's policy, and {} is the newest known here",
                deletion.policy,
                fleet.version()
            ));
        }
        let named: Vec<Sha256> = deletion.snapshots.iter().map(|it| it.manifest).collect();
        if manifests.iter().map(Envelope::digest).collect::<Vec<_>>() != named {
            return refuse("the manifests beside it are not those it names".to_owned());
        }
        let mut cores = Vec::new();
        for (envelope, named) in manifests.iter().zip(&deletion.snapshots) {
            let core = Statement::<Manifest>::read_unverified(envelope)
                .map_err(RecordError::statement(WHAT))?
                .predicate
                .core;
            if core.node != deletion.node || core.sequence != named.sequence {
                return refuse(format!("number {} is another snapshot", named.sequence));
            }
            core.check_names()?;
            cores.push(core);
        }
        Ok(Self { fleet, envelope, deletion, manifests, cores })
    }

    /// Parses a file against what is known of the fleet.
    pub fn parse<'p>(json: &[u8], pin: impl Into<Pin<'p>>) -> Result<Self, RecordError> {
        if json.len() > MAX_DELETION_FILE {
            return Err(RecordError::refused(WHAT, "the file is too large"));
        }
        let it: FileText = parse(WHAT, json, Self::FORMAT, |f: &FileText| &f.format)?;
        if it.manifests.len() > Deletion::MAX {
            return Err(RecordError::refused(WHAT, "names more than 128 snapshots"));
        }
        let genesis = envelope("genesis statement", &it.genesis)?;
        let fleet = Fleet::open_chain(genesis, policies(&it.policies)?, pin)?;
        let manifests = it.manifests.iter().map(|raw| envelope("manifest", raw));
        Self::new(fleet, envelope(WHAT, &it.statement)?, manifests.collect::<Result<_, _>>()?)
    }

    /// The file.
    pub fn to_json(&self) -> Vec<u8> {
        let file = FileText {
            format: Self::FORMAT.to_owned(),
            genesis: raw(self.fleet.envelope()),
            policies: self.fleet.policies().iter().map(raw).collect(),
            statement: raw(&self.envelope),
            manifests: self.manifests.iter().map(raw).collect(),
        };
        serde_json::to_vec(&file).expect("envelopes always serialise")
    }

    /// The fleet, by the newest policy known here.
    pub const fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// The statement with its signatures.
    pub const fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// What it says.
    pub const fn deletion(&self) -> &Deletion {
        &self.deletion
    }

    /// What the snapshots are, in the order in which they are named.
    pub fn cores(&self) -> &[ManifestCore] {
        &self.cores
    }

    /// Who has signed, for each escrow group that has to.
    pub fn signed(&self) -> Result<Vec<Signed>, RecordError> {
        let need = self.fleet.deletion().map(DeletionRule::rule);
        let need = need.ok_or_else(|| {
            RecordError::refused(WHAT, "the fleet's policy lets nothing be deleted")
        })?;
        let mut ids: Vec<GroupId> = self.cores.iter().map(|core| core.group).collect();
        ids.sort();
        ids.dedup();
        let one = |id: GroupId| {
            let unknown = || RecordError::refused(WHAT, format!("{id} is none of the fleet's"));
            let group = self.fleet.group(id).ok_or_else(unknown)?;
            let good = |key: VerifyingKey| self.envelope.verify(&[key], 1).is_ok();
            let by = group.custodians.iter().filter(|c| good(c.signing_key));
            let by = by.map(|c| c.name.clone()).collect();
            Ok(Signed { group: id, class: group.class.clone(), by, need: need.signers })
        };
        ids.into_iter().map(one).collect()
    }

    /// The same with one more signature, of a custodian of one of the groups.
    pub fn with_signature(self, key: &dyn seawall_sign::Signer) -> Result<Self, RecordError> {
        let public = key.public();
        let counts = self.signed()?.iter().any(|it| {
            let group = self.fleet.group(it.group);
            group.is_some_and(|g| g.custodians.iter().any(|c| c.signing_key == public))
        });
        if !counts {
            let why = "this key is no custodian's of any group whose snapshots it names";
            return Err(RecordError::refused(WHAT, why));
        }
        let envelope = self.envelope.and_sign(key).map_err(RecordError::statement(WHAT))?;
        Self::new(self.fleet, envelope, self.manifests)
    }
}

impl Signed {
    /// Whether enough have.
    pub fn is_complete(&self) -> bool {
        self.need > 0 && self.by.len() >= usize::from(self.need)
    }
}
