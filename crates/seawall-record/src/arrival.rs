//! A manifest on its way to a custodian, which has no log to read it from; and what a custodian
//! shows to everybody when the share in it is bad.
//!
//! Neither says that the manifest stands in its node's log. The node's signature is what counts
//! here: whoever signed a capsule answers for it, wherever it stands.

use seawall_sign::{Envelope, Statement};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::bundle::{envelope, parse, raw};
use crate::log_state::check_manifest;
use crate::{
    CustodianRecord, Fleet, FleetCard, Introduced, Introduction, Manifest, RecordError, ShareBad,
};

const WHAT: &str = "manifest for a custodian";
const BAD_SHARE: &str = "report of a bad share";

/// Largest manifest on its way, in bytes of JSON: an introduction and an envelope.
pub const MAX_ARRIVAL: usize = 192 << 10;

/// A manifest, and who signed it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arrival {
    format: String,
    author: Introduction,
    manifest: Box<RawValue>,
}

/// A manifest whose signatures have been checked. Its capsule has not.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// Whose it is.
    pub author: Introduced,
    /// The manifest.
    pub manifest: Manifest,
    /// The statement it stands in.
    pub envelope: Envelope,
}

impl Arrival {
    const FORMAT: &str = "seawall-arrival/1";

    /// A manifest of the node that `author` introduces.
    pub fn new(author: Introduction, manifest: &Envelope) -> Self {
        Self { format: Self::FORMAT.to_owned(), author, manifest: raw(manifest) }
    }

    /// Parses one without believing it.
    pub fn parse(json: &[u8]) -> Result<Self, RecordError> {
        if json.len() > MAX_ARRIVAL {
            return Err(RecordError::refused(WHAT, "larger than 192 KiB"));
        }
        parse(WHAT, json, Self::FORMAT, |it: &Self| &it.format)
    }

    /// Checks that a node of this fleet signed the manifest, with a subkey of its.
    pub fn open(&self, fleet: &Fleet) -> Result<Arrived, RecordError> {
        open(fleet, &self.author, &self.manifest)
    }

    /// Who signed it, and the manifest, as they came.
    pub fn into_parts(self) -> (Introduction, Box<RawValue>) {
        (self.author, self.manifest)
    }

    /// The JSON.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("envelopes are JSON")
    }
}

fn open(fleet: &Fleet, author: &Introduction, manifest: &RawValue) -> Result<Arrived, RecordError> {
    // With the limits of one that comes alone.
    let author = Introduction::parse(&author.to_json())?.open(fleet)?;
    let envelope = envelope("manifest", manifest)?;
    let signer = author.subkeys.iter().find(|(it, _)| envelope.signers().any(|s| s == it.key));
    let (subkey, _) = signer
        .ok_or_else(|| RecordError::refused(WHAT, "no subkey of its introduction signed it"))?;
    let manifest = Statement::<Manifest>::open(&envelope, &[subkey.key], 1)
        .map_err(RecordError::statement("manifest"))?
        .predicate;
    check_manifest(fleet, subkey, &manifest)?;
    Ok(Arrived { author, manifest, envelope })
}

/// A custodian's report of a bad share with everything that anyone needs to judge it offline.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BadShareFile {
    format: String,
    fleet: FleetCard,
    author: Introduction,
    manifest: Box<RawValue>,
    report: Box<RawValue>,
}

/// A report whose signatures have been checked, and that it is about this manifest.
#[derive(Debug, Clone)]
pub struct OpenedBadShare {
    /// The fleet; compare its id with a pinned one.
    pub fleet: Fleet,
    /// The manifest, and the node that signed it.
    pub arrived: Arrived,
    /// The custodian, as the fleet's policy had it when it was dealt to.
    pub custodian: CustodianRecord,
    /// What it says.
    pub report: ShareBad,
}

impl BadShareFile {
    /// What the file names itself.
    pub const FORMAT: &str = "seawall-bad-share/1";

    /// A report about a manifest that arrived.
    pub fn new(fleet: &Fleet, arrival: Arrival, report: &Envelope) -> Self {
        let (author, manifest) = arrival.into_parts();
        let format = Self::FORMAT.to_owned();
        Self { format, fleet: FleetCard::new(fleet), author, manifest, report: raw(report) }
    }

    /// Parses a file without believing it.
    pub fn parse(json: &[u8]) -> Result<Self, RecordError> {
        if json.len() > crate::MAX_EVIDENCE {
            return Err(RecordError::refused(BAD_SHARE, "larger than 2 MiB"));
        }
        parse(BAD_SHARE, json, Self::FORMAT, |it: &Self| &it.format)
    }

    /// Checks every signature, and that the report is about this manifest and of a custodian whom
    /// its group ever had.
    pub fn open(&self) -> Result<OpenedBadShare, RecordError> {
        let card = serde_json::to_vec(&self.fleet).expect("a card is JSON");
        let fleet = FleetCard::open(&card)?;
        let arrived = open(&fleet, &self.author, &self.manifest)?;
        let report = envelope(BAD_SHARE, &self.report)?;
        let claimed = Statement::<ShareBad>::read_unverified(&report)
            .map_err(RecordError::statement(BAD_SHARE))?
            .predicate
            .share;
        let about = (claimed.fleet, claimed.manifest, claimed.group);
        let core = &arrived.manifest.core;
        if about != (fleet.id(), arrived.envelope.digest(), core.group) {
            return Err(RecordError::refused(BAD_SHARE, "about another manifest"));
        }
        let signed = fleet.group_history(core.group).into_iter().find_map(|(_, group)| {
            let custodian = group.custodian(claimed.custodian)?.clone();
            let report = ShareBad::open(&report, custodian.signing_key).ok()?;
            Some((custodian, report))
        });
        let (custodian, report) = signed.ok_or_else(|| {
            RecordError::refused(BAD_SHARE, "not signed by the custodian that it names")
        })?;
        Ok(OpenedBadShare { fleet, arrived, custodian, report })
    }

    /// The JSON.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("text always serialises");
        json.push(b'\n');
        json
    }
}
