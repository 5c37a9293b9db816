//! Files with statements of the root keys, from one holder of a key to the next.
//!
//! An envelope holds several signatures, so a file that lacks some is the finished file with fewer
//! of them: the bundle that `node enroll` takes, a region's address, a grant of an epoch, a policy.
//! Whoever is given it adds a signature to each statement in it; whoever takes it in the end checks
//! all of them as always. A holder of a key needs no home, only the fleet as its card shows it, and
//! signs nothing but what root keys sign, of that fleet.
//!
//! Rejected: a format of its own for what is unfinished. Two formats for one thing drift apart.

use seawall_base::FleetId;
use seawall_escrow::RootKeyFile;
use seawall_record::{
    BundlePredicate, Enrolment, EnrolmentBundle, Epoch, Fleet, FleetPolicy, IndexPolicy,
    MAX_BUNDLE, RegionAddress, Retention, Role,
};
use seawall_sign::{
    Envelope, Predicate, SignError, Signer, Statement, StatementKey, VerifyingKey, predicate_type,
};
use serde::Deserialize;

use crate::enrol;
use crate::epoch::EpochGrant;
use crate::fleet_policy::sign_proposal;
use crate::home::{Home, HomeError};

/// Opens a root key's sealed copy; of which fleet it is a key the copy says.
pub fn open_root_key(
    file: &RootKeyFile,
    passphrase: &[u8],
) -> Result<(FleetId, StatementKey), HomeError> {
    let seed = file.open(passphrase)?;
    Ok((file.fleet(), StatementKey::of_public(&file.key().parse()?, &seed)?))
}

/// The keys to sign with for this home's fleet: those of its root keys that are in the home, and
/// `copies` of others.
pub fn root_signers(
    home: &Home,
    copies: Vec<StatementKey>,
) -> Result<Vec<StatementKey>, HomeError> {
    let fleet = home.fleet()?;
    let mut keys = home.root_keys()?;
    keys.retain(|key| fleet.root_keys().contains(&key.public()));
    for key in copies {
        check_is_root(&fleet, &key.public())?;
        if !keys.iter().any(|held| held.public() == key.public()) {
            keys.push(key);
        }
    }
    if keys.is_empty() {
        return Err(HomeError::refused(
            "no root key of the fleet is in this home; run this where one is, or name sealed copies of them (--root-key FILE)",
        ));
    }
    Ok(keys)
}

pub(crate) fn check_is_root(fleet: &Fleet, key: &VerifyingKey) -> Result<(), HomeError> {
    if fleet.root_keys().contains(key) {
        return Ok(());
    }
    Err(HomeError::refused(format!("{key}: the root key is not one of this fleet's")))
}

/// Signs with all of `roots`.
pub(crate) fn sign_as_root(
    roots: &[StatementKey],
    sign: impl FnOnce(&[&dyn Signer]) -> Result<Envelope, SignError>,
) -> Result<Envelope, HomeError> {
    let signers: Vec<_> = roots.iter().map(|root| root as &dyn Signer).collect();
    Ok(sign(&signers)?)
}

/// A file with statements for root keys to sign.
#[derive(Debug, Clone)]
pub enum RootFile {
    /// The enrolment of a node, and what it is given.
    Bundle(Box<EnrolmentBundle>),
    /// The enrolment of a region, and where it is.
    Region(Box<RegionAddress>),
    /// A node's next epoch.
    Epoch(Box<EpochGrant>),
    /// The fleet's next policy.
    Policy(Envelope),
    /// Any other statement by itself: what regions keep, who reads path indexes.
    Statement(Envelope),
}

#[derive(Deserialize)]
struct Head {
    format: Option<String>,
    address: Option<String>,
}

impl RootFile {
    /// Parses a file. Nothing in it has been verified.
    pub fn parse(json: &[u8]) -> Result<Self, HomeError> {
        let none = |e: serde_json::Error| {
            HomeError::refused(format!("not a file with statements of root keys: {e}"))
        };
        if json.len() > MAX_BUNDLE {
            return Err(HomeError::refused("larger than 4 MiB"));
        }
        let head: Head = serde_json::from_slice(json).map_err(none)?;
        match (head.format.as_deref(), head.address) {
            (Some("seawall-epoch/1"), _) => Ok(Self::Epoch(Box::new(EpochGrant::parse(json)?))),
            (Some(_), _) => Ok(Self::Bundle(Box::new(EnrolmentBundle::parse(json)?))),
            (None, Some(_)) => {
                Ok(Self::Region(Box::new(serde_json::from_slice(json).map_err(none)?)))
            }
            (None, None) => {
                let envelope = Envelope::parse(json.trim_ascii())?;
                match predicate_type(&envelope)?.as_str() {
                    FleetPolicy::TYPE => Ok(Self::Policy(envelope)),
                    _ => Ok(Self::Statement(envelope)),
                }
            }
        }
    }

    /// The file.
    pub fn to_json(&self) -> Vec<u8> {
        fn pretty(it: &impl serde::Serialize) -> Vec<u8> {
            serde_json::to_vec_pretty(it).expect("envelopes serialise")
        }
        let mut json = match self {
            Self::Bundle(it) => pretty(it),
            Self::Region(it) => pretty(it),
            Self::Epoch(it) => return it.to_json(),
            Self::Policy(it) | Self::Statement(it) => it.to_json(),
        };
        json.push(b'\n');
        json
    }

    /// The statements in it, not verified.
    pub fn statements(&self) -> Result<Vec<Envelope>, HomeError> {
        Ok(match self {
            Self::Bundle(it) => it.statements()?.to_vec(),
            Self::Region(it) => vec![it.envelope()?],
            Self::Epoch(it) => it.statements()?.to_vec(),
            Self::Policy(it) | Self::Statement(it) => vec![it.clone()],
        })
    }

    /// How many of the fleet's root keys have signed all of it, and how many have to.
    pub fn signed(&self, fleet: &Fleet) -> Result<(usize, usize), HomeError> {
        let all = self.statements()?;
        let least = all.iter().map(|it| fleet.root_signatures(it)).min();
        Ok(least.unwrap_or((0, usize::from(fleet.root_threshold()))))
    }

    /// Checks that it is of this fleet, that its parts belong together, and that no signature of a
    /// root key in it is wrong.
    pub fn check(&self, fleet: &Fleet) -> Result<(), HomeError> {
        let all = self.statements()?;
        for it in &all {
            let trusted: Vec<_> =
                it.signers().filter(|key| fleet.root_keys().contains(key)).collect();
            if !trusted.is_empty() {
                it.verify(&trusted, trusted.len())?;
            }
        }
        let apart = || HomeError::refused("the statements in it do not belong together");
        match self {
            Self::Bundle(_) => {
                let enrolment: Enrolment = read(&all[0])?;
                let bundle: BundlePredicate = read(&all[1])?;
                let together = bundle.member == all[0].digest() && enrolment.role == Role::Node;
                of_fleet(fleet, &[enrolment.fleet, bundle.fleet])?;
                together.then_some(()).ok_or_else(apart)
            }
            Self::Region(_) => {
                let enrolment: Enrolment = read(&all[0])?;
                of_fleet(fleet, &[enrolment.fleet])?;
                (enrolment.role == Role::Region).then_some(()).ok_or_else(apart)
            }
            Self::Epoch(_) => {
                let (enrolment, epoch): (Enrolment, Epoch) = (read(&all[0])?, read(&all[1])?);
                of_fleet(fleet, &[enrolment.fleet, epoch.fleet])?;
                let together = epoch.enrolment == all[0].digest()
                    && (epoch.node, epoch.epoch) == (enrolment.node(), enrolment.epoch)
                    && enrolment.role == Role::Node;
                together.then_some(()).ok_or_else(apart)
            }
            Self::Policy(it) => of_fleet(fleet, &[FleetPolicy::read_unverified(it)?.fleet]),
            Self::Statement(it) => match predicate_type(it)?.as_str() {
                Retention::TYPE => of_fleet(fleet, &[read::<Retention>(it)?.fleet]),
                IndexPolicy::TYPE => of_fleet(fleet, &[read::<IndexPolicy>(it)?.fleet]),
                other => Err(HomeError::refused(format!(
                    "root keys sign no file that holds {} and nothing else",
                    other.escape_debug()
                ))),
            },
        }
    }

    /// The same with one more signature around each statement in it.
    pub fn sign(self, fleet: &Fleet, key: &StatementKey) -> Result<Self, HomeError> {
        self.check(fleet)?;
        if let Self::Policy(envelope) = self {
            return Ok(Self::Policy(sign_proposal(fleet, envelope, key)?.envelope));
        }
        check_is_root(fleet, &key.public())?;
        let signed = |it: Envelope| {
            let has = it.signers().any(|signer| signer == key.public());
            if has { Ok(it) } else { it.and_sign(key) }
        };
        Ok(match self {
            Self::Bundle(bundle) => {
                let [enrolment, heart] = bundle.statements()?;
                let both = [&signed(enrolment)?, &signed(heart)?];
                Self::Bundle(Box::new(bundle.with_statements(both)))
            }
            Self::Region(it) => {
                let enrolment = signed(it.envelope()?)?;
                Self::Region(Box::new(RegionAddress::new(&it.address, &enrolment)))
            }
            Self::Epoch(it) => {
                let [enrolment, epoch] = it.statements()?;
                Self::Epoch(Box::new(EpochGrant::of([&signed(enrolment)?, &signed(epoch)?])))
            }
            Self::Policy(it) | Self::Statement(it) => Self::Statement(signed(it)?),
        })
    }

    /// Remembers in a home of the fleet what has enough signatures now, for new root keys to carry
    /// over.
    pub fn keep(&self, home: &Home) -> Result<(), HomeError> {
        let fleet = home.fleet()?;
        let (have, need) = self.signed(&fleet)?;
        if have < need {
            return Ok(());
        }
        let _lock = home.lock()?;
        match self {
            Self::Bundle(it) => enrol::keep_issued(home, &fleet, &it.statements()?[0]),
            Self::Epoch(it) => {
                let [enrolment, epoch] = it.statements()?;
                let of: Epoch = read(&epoch)?;
                enrol::keep_epoch(home, (of.node, of.epoch), [&enrolment, &epoch])
            }
            Self::Region(_) | Self::Policy(_) | Self::Statement(_) => Ok(()),
        }
    }
}

/// What a statement claims.
fn read<P: Predicate>(envelope: &Envelope) -> Result<P, HomeError> {
    Ok(Statement::<P>::read_unverified(envelope)?.predicate)
}

fn of_fleet(fleet: &Fleet, named: &[FleetId]) -> Result<(), HomeError> {
    match named.iter().find(|it| **it != fleet.id()) {
        None => Ok(()),
        Some(other) => Err(HomeError::refused(format!("it is of {other}, not of {}", fleet.id()))),
    }
}
