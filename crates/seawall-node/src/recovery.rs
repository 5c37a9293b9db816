//! When every machine is gone: a copy of the root key, and a new first node from it.
//!
//! What is needed: the root key's copy with its passphrase, the fleet's card (from a region, a
//! bucket, or any node), and the fleet id on the recovery sheet. What comes back: a node that
//! may ask the custodians. It opens nothing by itself. Old dedup secrets are not needed to
//! restore; a new node draws its own.

use std::path::Path;

use seawall_base::{Clock, Disk as _, FleetId, Rng};
use seawall_escrow::RootKeyFile;
use seawall_record::{Fleet, FleetCard};
use seawall_sign::{Algorithm, Envelope, StatementKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::bucket::Bucket;
use crate::enrol;
use crate::home::{Home, HomeError};
use crate::keys::{self, Purpose};

/// Seals a copy of the root key of `home` under `passphrase`.
pub fn export_root_key(
    home: &Home,
    passphrase: &[u8],
    rng: &mut dyn Rng,
) -> Result<RootKeyFile, HomeError> {
    let fleet = home.fleet()?;
    let root = home.root_keys()?.remove(0);
    let key = root.public().to_string();
    Ok(RootKeyFile::seal(fleet.id(), &key, &root.seed(), passphrase, rng)?)
}

/// A fresh key in a sealed copy, for whoever is to hold a root key beside this home's. It becomes
/// one by a policy that names it. Its algorithm is that of the fleet's first root key.
pub fn new_root_key(
    home: &Home,
    passphrase: &[u8],
    rng: &mut dyn Rng,
) -> Result<RootKeyFile, HomeError> {
    let fleet = home.fleet()?;
    let first = fleet.root_keys().first();
    let algorithm = first.map_or(Algorithm::Ed25519, VerifyingKey::algorithm);
    let fresh = StatementKey::generate(algorithm, rng);
    let key = fresh.public().to_string();
    Ok(RootKeyFile::seal(fleet.id(), &key, &fresh.seed(), passphrase, rng)?)
}

/// Where the fleet's card comes from.
pub enum CardSource<'a> {
    /// A fleet card, or the genesis statement itself.
    Card(&'a [u8]),
    /// A bucket that stands in for a region; it is used from then on.
    Bucket(&'a str),
}

/// Makes a new first node for a fleet whose machines are gone.
pub fn recover(
    path: &Path,
    name: &str,
    source: &CardSource<'_>,
    root: &RootKeyFile,
    passphrase: &[u8],
    clock: &dyn Clock,
    rng: &mut dyn Rng,
) -> Result<Fleet, HomeError> {
    let (fleet, bucket) = match source {
        // A region keeps the bare genesis statement; either proves itself.
        CardSource::Card(json) => match Envelope::parse(json) {
            Ok(genesis) => (Fleet::open(genesis)?, None),
            Err(_) => (FleetCard::open(json)?, None),
        },
        CardSource::Bucket(url) => {
            let fleet = Bucket::open(url)?.fleet()?;
            let missing = || HomeError::refused(format!("{url} holds no fleet"));
            (fleet.ok_or_else(missing)?, Some(*url))
        }
    };
    let expected: FleetId = root.fleet();
    if fleet.id() != expected {
        let why = format!("the card is of {}, the root key of {expected}", fleet.id());
        return Err(HomeError::refused(why));
    }
    let seed = root.open(passphrase)?;
    let named: VerifyingKey = root.key().parse()?;
    let key = StatementKey::of_public(&named, &seed)?;
    if !fleet.root_keys().contains(&key.public()) {
        return Err(HomeError::refused("the root key is not one of this fleet's"));
    }
    let home = Home::create(path, name, bucket)?;
    let _lock = home.lock()?;
    let disk = home.disk();
    disk.create_dir_all("root").map_err(HomeError::io("root"))?;
    keys::write(disk.as_ref(), "root/root-1.key", Purpose::Root, &seed)?;
    home.keep_fleet(&fleet)?;
    let mut tenant = Zeroizing::new([0; 32]);
    rng.fill(&mut *tenant);
    keys::write(disk.as_ref(), "keys/tenant.key", Purpose::Tenant, &tenant)?;
    let card = enrol::member_keys(&home, named.algorithm(), rng)?;
    enrol::enrol_here(&home, &fleet, &card, "default", clock)?;
    Ok(fleet)
}
