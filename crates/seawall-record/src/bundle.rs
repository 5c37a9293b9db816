//! What an operator hands to a new member: the fleet's anchor, its regions, its secrets.

use seawall_base::{FleetId, Sha256, Timestamp};
use seawall_sign::{Envelope, Predicate, Statement, Subject, VerifyingKey};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::fleet::MAX_POLICIES;
use crate::{
    Base64, Enrolment, Fleet, IndexPolicy, Pin, RecordError, Role, check_key_name, check_text,
};

/// Largest bundle or fleet card in bytes of JSON.
pub const MAX_BUNDLE: usize = 4 << 20;

/// Where a region is reached, and its enrolment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionAddress {
    /// `HOST:PORT` of its TLS endpoint.
    pub address: String,
    /// Its enrolment (a DSSE envelope), root-signed.
    pub enrolment: Box<RawValue>,
}

impl RegionAddress {
    /// Checks that the fleet enrolled this region.
    pub fn open(&self, fleet: &Fleet) -> Result<Enrolment, RecordError> {
        check_text("region address", &self.address, 256)?;
        Enrolment::open(fleet, &self.envelope()?, Role::Region)
    }

    /// The enrolment as it was signed, not verified.
    pub fn envelope(&self) -> Result<Envelope, RecordError> {
        envelope("region enrolment", &self.enrolment)
    }
}

/// Parses an envelope embedded in a larger JSON document.
pub(crate) fn envelope(what: &'static str, raw: &RawValue) -> Result<Envelope, RecordError> {
    Envelope::parse(raw.get().as_bytes()).map_err(RecordError::statement(what))
}

/// Parses the policies embedded in a larger JSON document.
pub(crate) fn policies(raw: &[Box<RawValue>]) -> Result<Vec<Envelope>, RecordError> {
    if raw.len() > MAX_POLICIES {
        return Err(RecordError::refused("fleet policy", "more of them than a fleet can have"));
    }
    raw.iter().map(|it| envelope("fleet policy", it)).collect()
}

/// An envelope as a part of a larger JSON document.
pub(crate) fn raw(envelope: &Envelope) -> Box<RawValue> {
    let json = String::from_utf8(envelope.to_json()).expect("JSON is UTF-8");
    RawValue::from_string(json).expect("an envelope is one JSON value")
}

/// The public face of a fleet: for regions, and for anyone who wants to check something.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FleetCard {
    /// Names the format: `seawall-fleet/1`.
    pub format: String,
    /// The genesis statement (a DSSE envelope).
    pub genesis: Box<RawValue>,
    /// The policies since, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Box<RawValue>>,
}

impl FleetCard {
    const FORMAT: &str = "seawall-fleet/1";

    /// The card of a fleet.
    pub fn new(fleet: &Fleet) -> Self {
        Self {
            format: Self::FORMAT.to_owned(),
            genesis: raw(fleet.envelope()),
            policies: fleet.policies().iter().map(raw).collect(),
        }
    }

    /// Parses and checks a card.
    pub fn open(json: &[u8]) -> Result<Fleet, RecordError> {
        let card: Self = parse("fleet card", json, Self::FORMAT, |c: &Self| &c.format)?;
        Fleet::open(envelope("genesis statement", &card.genesis)?)?
            .advance_all(policies(&card.policies)?)
    }
}

/// A fleet's policies by themselves: as a home keeps them, and as members and regions show them to
/// one another.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyChain {
    /// Names the format: `seawall-policies/1`.
    pub format: String,
    /// The fleet.
    pub fleet: FleetId,
    /// All policies since the founding, in order.
    pub policies: Vec<Box<RawValue>>,
}

impl PolicyChain {
    const FORMAT: &str = "seawall-policies/1";

    /// All policies of a fleet.
    pub fn of(fleet: &Fleet) -> Self {
        Self {
            format: Self::FORMAT.to_owned(),
            fleet: fleet.id(),
            policies: fleet.policies().iter().map(raw).collect(),
        }
    }

    /// Parses a chain; nothing in it has been verified ([`Fleet::open_chain`] does).
    pub fn parse(json: &[u8]) -> Result<(FleetId, Vec<Envelope>), RecordError> {
        let it: Self = parse("fleet policies", json, Self::FORMAT, |c: &Self| &c.format)?;
        Ok((it.fleet, policies(&it.policies)?))
    }

    /// The chain as JSON.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("envelopes always serialise")
    }
}

/// A node's public keys, for the operator to sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberCard {
    /// Names the format: `seawall-node/1`.
    pub format: String,
    /// The node's name.
    pub name: String,
    /// Identity key.
    pub identity: VerifyingKey,
    /// TLS key.
    pub transport: VerifyingKey,
    /// X-Wing key for the tenant's secret; what it is worth shows when something is sealed to it.
    pub recipient: Base64,
}

impl MemberCard {
    /// The format's name.
    pub const FORMAT: &str = "seawall-node/1";

    /// Parses a card.
    pub fn parse(json: &[u8]) -> Result<Self, RecordError> {
        let card: Self = parse("node card", json, Self::FORMAT, |c: &Self| &c.format)?;
        check_text("node card", &card.name, 64)?;
        Ok(card)
    }
}

/// What a region tells an operator about itself: public, and worth nothing until root keys have
/// signed an enrolment for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionCard {
    /// Names the format: `seawall-region/1`.
    pub format: String,
    /// The region's name, which is also the name of its cosignature key.
    pub name: String,
    /// `HOST:PORT` of its TLS endpoint.
    pub address: String,
    /// Signs receipts and cosigns logs.
    pub identity: VerifyingKey,
    /// Key of its TLS endpoint.
    pub transport: VerifyingKey,
}

impl RegionCard {
    /// The format's name.
    pub const FORMAT: &str = "seawall-region/1";

    /// Parses a card.
    pub fn parse(json: &[u8]) -> Result<Self, RecordError> {
        let card: Self = parse("region card", json, Self::FORMAT, |c: &Self| &c.format)?;
        card.check_name()?;
        check_text("region card", &card.address, 256)?;
        Ok(card)
    }

    /// Whether the region can cosign under its name.
    pub fn check_name(&self) -> Result<(), RecordError> {
        check_key_name("region card", &self.name, 64)
    }

    /// The card as a JSON file.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("text always serialises");
        json.push(b'\n');
        json
    }
}

pub(crate) fn parse<T: for<'de> Deserialize<'de>>(
    what: &'static str,
    json: &[u8],
    format: &str,
    format_of: impl Fn(&T) -> &String,
) -> Result<T, RecordError> {
    if json.len() > MAX_BUNDLE {
        return Err(RecordError::refused(what, "larger than 4 MiB"));
    }
    let it: T = serde_json::from_slice(json)
        .map_err(|e| RecordError::refused(what, format!("not a {format} file: {e}")))?;
    if format_of(&it) != format {
        let why = format!("format {:?} is not {format}", format_of(&it));
        return Err(RecordError::refused(what, why));
    }
    Ok(it)
}

/// The root-signed heart of an enrolment bundle.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundlePredicate {
    /// The fleet.
    pub fleet: FleetId,
    /// Digest of the new member's enrolment.
    pub member: Sha256,
    /// `HOST:PORT` and enrolment digest of each region, in order of preference.
    pub regions: Vec<(String, Sha256)>,
    /// The tenant's secret, encrypted to the member's recipient key with the digest of its
    /// enrolment as associated data.
    pub sealed_secrets: Base64,
    /// When it was made.
    pub created: Timestamp,
    /// Digest of the statement about who may read path indexes, if there is one: an older one
    /// cannot be put in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index_policy: Option<Sha256>,
}

impl Predicate for BundlePredicate {
    const TYPE: &'static str = "urn:seawall:predicate:bundle:1";
}

/// An enrolment bundle as a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolmentBundle {
    /// Names the format: `seawall-bundle/1`.
    pub format: String,
    /// The genesis statement.
    pub genesis: Box<RawValue>,
    /// The policies since, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Box<RawValue>>,
    /// The member's enrolment.
    pub enrolment: Box<RawValue>,
    /// The regions it may use.
    pub regions: Vec<RegionAddress>,
    /// The signed [`BundlePredicate`].
    pub bundle: Box<RawValue>,
    /// Who may read path indexes, if anybody may: the root-signed [`crate::IndexPolicy`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index_policy: Option<Box<RawValue>>,
}

/// An enrolment bundle whose every signature has been checked.
#[derive(Debug)]
pub struct OpenedBundle {
    /// The fleet.
    pub fleet: Fleet,
    /// The member's enrolment, checked.
    pub enrolment: Enrolment,
    /// The enrolment statement.
    pub enrolment_envelope: Envelope,
    /// The tenant's secret, still encrypted.
    pub sealed_secrets: Vec<u8>,
    /// The regions, each checked.
    pub regions: Vec<RegionAddress>,
    /// Who may read path indexes, checked, and its statement.
    pub index_policy: Option<(IndexPolicy, Envelope)>,
}

impl EnrolmentBundle {
    const FORMAT: &str = "seawall-bundle/1";

    /// A bundle of its parts; `bundle` is the signed [`BundlePredicate`].
    pub fn new(
        fleet: &Fleet,
        enrolment: &Envelope,
        regions: Vec<RegionAddress>,
        bundle: &Envelope,
    ) -> Self {
        Self {
            format: Self::FORMAT.to_owned(),
            genesis: raw(fleet.envelope()),
            policies: fleet.policies().iter().map(raw).collect(),
            enrolment: raw(enrolment),
            regions,
            bundle: raw(bundle),
            index_policy: None,
        }
    }

    /// The same with a statement about who may read path indexes.
    #[must_use]
    pub fn with_index_policy(self, policy: &Envelope) -> Self {
        Self { index_policy: Some(raw(policy)), ..self }
    }

    /// Parses a bundle; nothing in it has been verified ([`EnrolmentBundle::open`] does).
    pub fn parse(json: &[u8]) -> Result<Self, RecordError> {
        parse("enrolment bundle", json, Self::FORMAT, |b: &Self| &b.format)
    }

    /// The fleet as the bundle shows it, for whoever has no other view of it.
    pub fn fleet(&self) -> Result<Fleet, RecordError> {
        Fleet::open(envelope("genesis statement", &self.genesis)?)?
            .advance_all(policies(&self.policies)?)
    }

    /// The enrolment and the [`BundlePredicate`] as far as they are signed, not verified.
    pub fn statements(&self) -> Result<[Envelope; 2], RecordError> {
        Ok([envelope("enrolment", &self.enrolment)?, envelope("enrolment bundle", &self.bundle)?])
    }

    /// The same with other signatures around its statements.
    #[must_use]
    pub fn with_statements(self, [enrolment, bundle]: [&Envelope; 2]) -> Self {
        Self { enrolment: raw(enrolment), bundle: raw(bundle), ..self }
    }

    /// Digest of a region's enrolment, as listed in [`BundlePredicate::regions`].
    pub fn region_digest(region: &RegionAddress) -> Result<Sha256, RecordError> {
        Ok(envelope("region enrolment", &region.enrolment)?.digest())
    }

    /// Parses a bundle and checks every signature in it against `pin`, or against the bundle's
    /// own genesis when there is no pin yet.
    pub fn open(json: &[u8], pin: Option<Pin<'_>>) -> Result<OpenedBundle, RecordError> {
        const WHAT: &str = "enrolment bundle";
        let it: Self = parse(WHAT, json, Self::FORMAT, |b: &Self| &b.format)?;
        let genesis = envelope("genesis statement", &it.genesis)?;
        let policies = policies(&it.policies)?;
        let fleet = match pin {
            Some(pin) => Fleet::open_chain(genesis, policies, pin)?,
            None => Fleet::open(genesis)?.advance_all(policies)?,
        };
        let enrolment_envelope = envelope("enrolment", &it.enrolment)?;
        let enrolment = Enrolment::open(&fleet, &enrolment_envelope, Role::Node)?;
        let heart: BundlePredicate = fleet.open_root_signed(WHAT, &envelope(WHAT, &it.bundle)?)?;
        if heart.fleet != fleet.id() || heart.member != enrolment_envelope.digest() {
            return Err(RecordError::refused(WHAT, "made for another fleet or member"));
        }
        let listed: Vec<_> = it
            .regions
            .iter()
            .map(|r| {
                r.open(&fleet)?;
                Ok((r.address.clone(), Self::region_digest(r)?))
            })
            .collect::<Result<_, RecordError>>()?;
        if listed != heart.regions {
            return Err(RecordError::refused(WHAT, "its regions are not the ones signed for"));
        }
        let sealed_secrets = heart.sealed_secrets.0;
        let index_policy = it.index_policy.as_ref().map(|raw| {
            let statement = envelope("index policy", raw)?;
            Ok::<_, RecordError>((IndexPolicy::open(&fleet, &statement)?, statement))
        });
        let index_policy = index_policy.transpose()?;
        if index_policy.as_ref().map(|(_, statement)| statement.digest()) != heart.index_policy {
            return Err(RecordError::refused(WHAT, "its index policy is not the one signed for"));
        }
        if index_policy.as_ref().is_some_and(|(p, _)| enrolment.tenant.as_ref() != Some(&p.tenant))
        {
            return Err(RecordError::refused(WHAT, "its index policy is of another tenant"));
        }
        Ok(OpenedBundle {
            fleet,
            enrolment,
            enrolment_envelope,
            sealed_secrets,
            regions: it.regions,
            index_policy,
        })
    }
}

impl BundlePredicate {
    /// The statement for root keys to sign.
    pub fn statement(self) -> Statement<Self> {
        Statement::new(Subject::sha256("member", self.member), self)
    }
}

impl RegionAddress {
    /// An address with its enrolment statement.
    pub fn new(address: &str, enrolment: &Envelope) -> Self {
        Self { address: address.to_owned(), enrolment: raw(enrolment) }
    }
}
