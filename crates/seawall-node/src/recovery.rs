//! When every machine is gone: a copy of the root key, and a new first node from it.
//!
//! What is needed: copies of as many root keys as decide, with their passphrases, the fleet's card (from a region, a
//! bucket, or any node), and the fleet id on the recovery sheet. What comes back: a node that
//! may ask the custodians. It opens nothing by itself. Old dedup secrets are not needed to
//! restore; a new node draws its own.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

use seawall_base::{Clock, Disk as _, FleetId, Rng};
use seawall_escrow::RootKeyFile;
use seawall_record::{Fleet, FleetCard};
use seawall_sign::{Algorithm, Envelope, StatementKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::bucket::{self, Bucket};
use crate::enrol;
use crate::home::{Home, HomeError};
use crate::keys::{self, Purpose};
use crate::root_files::{RootFile, check_is_root};

/// Seals a copy of the root key of `home` under `passphrase`.
pub fn export_root_key(
    home: &Home,
    passphrase: &[u8],
    rng: &mut dyn Rng,
) -> Result<RootKeyFile, HomeError> {
    let fleet = home.fleet()?;
    let mut roots = home.root_keys()?;
    let held = roots.len();
    roots.retain(|key| fleet.root_keys().contains(&key.public()));
    let root = roots.first().ok_or_else(|| {
        HomeError::refused(if held == 0 {
            "there is no root key in this home; run this where the fleet was founded"
        } else {
            "the root key in this home is none of the fleet's any more: a policy has replaced it, and a copy would open nothing; seawall fleet policy show names those that count"
        })
    })?;
    let key = root.public().to_string();
    Ok(RootKeyFile::seal(fleet.id(), &key, &root.seed(), passphrase, rng)?)
}

/// A fresh key in a sealed copy, for whoever is to hold a root key. It becomes one by a policy that
/// names it. Its algorithm is that of the fleet's first root key.
pub fn new_root_key(
    fleet: &Fleet,
    passphrase: &[u8],
    rng: &mut dyn Rng,
) -> Result<RootKeyFile, HomeError> {
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

/// What became of a recovery.
#[derive(Debug)]
pub struct Recovered {
    /// The fleet.
    pub fleet: Fleet,
    /// Whether the home is a node's already; if not, other root keys have yet to sign what was
    /// handed on, and `node enroll` takes it into the new home then.
    pub finished: bool,
}

/// Hands on what other root keys have yet to sign.
pub type HandOn<'a> = dyn Fn(&RootFile, &Fleet) -> Result<(), HomeError> + 'a;

/// Makes a new first node for a fleet whose machines are gone, signed for by `roots`, each with the
/// fleet its copy is of. Where they are fewer than it takes, `hand_on` is given what others have to
/// sign, and the home is ready for the bundle that they finish. Nothing is left behind by a failure,
/// one of `hand_on` included: without that file the home would be good for nothing.
///
/// One root key that decides alone is kept in the new home, as in the first; where it takes several,
/// none is: they are apart for a reason.
pub fn recover(
    (path, name): (&Path, &str),
    source: &CardSource<'_>,
    roots: Vec<(FleetId, StatementKey)>,
    hand_on: Option<&HandOn<'_>>,
    clock: &dyn Clock,
    rng: &mut dyn Rng,
) -> Result<Recovered, HomeError> {
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
    let mut keys: Vec<StatementKey> = Vec::new();
    for (of, key) in roots {
        if of != fleet.id() {
            let why = format!("the card is of {}, the root key of {of}", fleet.id());
            return Err(HomeError::refused(why));
        }
        check_is_root(&fleet, &key.public())?;
        if !keys.iter().any(|held| held.public() == key.public()) {
            keys.push(key);
        }
    }
    let (have, need) = (keys.len(), usize::from(fleet.root_threshold()));
    if have == 0 || (have < need && hand_on.is_none()) {
        return Err(HomeError::refused(format!(
            "it takes {need} of the fleet's root keys, and {have} was given: name a copy of each (--root-key), or write what the others are to sign (--out FILE; seawall fleet sign)"
        )));
    }
    let undo = Undo::prepare(path)?;
    let settled = Home::create(path, name, bucket).and_then(|home| {
        let _lock = home.lock()?;
        bucket::note_filled(&home, 0)?;
        let unfinished = settle(&home, &fleet, &keys, clock, rng)?;
        if let Some((file, hand_on)) = unfinished.as_ref().zip(hand_on) {
            hand_on(file, &fleet)?;
        }
        Ok(unfinished.is_none())
    });
    match settled {
        Ok(finished) => Ok(Recovered { fleet, finished }),
        Err(e) => {
            undo.run(path);
            Err(e)
        }
    }
}

fn settle(
    home: &Home,
    fleet: &Fleet,
    roots: &[StatementKey],
    clock: &dyn Clock,
    rng: &mut dyn Rng,
) -> Result<Option<RootFile>, HomeError> {
    const TENANT: &str = "default";
    let disk = home.disk();
    let algorithm = roots.first().map_or(Algorithm::Ed25519, StatementKey::algorithm);
    let card = enrol::member_keys(home, algorithm, rng)?;
    let need = usize::from(fleet.root_threshold());
    if roots.len() < need {
        let bundle = enrol::first_bundle(home, fleet, &card, (TENANT, roots), (clock, rng))?;
        return Ok(Some(RootFile::Bundle(Box::new(bundle))));
    }
    if need == 1 {
        disk.create_dir_all("root").map_err(HomeError::io("root"))?;
        keys::write(disk.as_ref(), "root/root-1.key", Purpose::Root, &roots[0].seed())?;
    }
    home.keep_fleet(fleet)?;
    let mut tenant = Zeroizing::new([0; 32]);
    rng.fill(&mut *tenant);
    keys::write(disk.as_ref(), "keys/tenant.key", Purpose::Tenant, &tenant)?;
    enrol::enrol_here(home, fleet, &card, (TENANT, roots), clock)?;
    Ok(None)
}

/// What a recovery that fails half-way takes back: whatever was not there before.
struct Undo(Option<BTreeSet<OsString>>);

impl Undo {
    /// Notes what is there; nothing is, where there is not even the directory.
    fn prepare(path: &Path) -> Result<Self, HomeError> {
        if path.join("home.json").exists() {
            return Err(HomeError::AlreadyAHome(path.to_owned()));
        }
        if !path.exists() {
            return Ok(Self(None));
        }
        let io = || HomeError::io(&path.display().to_string());
        let entries = std::fs::read_dir(path).map_err(io())?;
        let names = entries.map(|entry| Ok(entry.map_err(io())?.file_name()));
        Ok(Self(Some(names.collect::<Result<_, HomeError>>()?)))
    }

    fn run(self, path: &Path) {
        let gone = |result: std::io::Result<()>, path: &Path| match result {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), error = %e, "left behind; remove it");
            }
            _ => {}
        };
        let Some(before) = self.0 else { return gone(std::fs::remove_dir_all(path), path) };
        let Ok(entries) = std::fs::read_dir(path) else { return };
        for entry in entries.flatten().filter(|entry| !before.contains(&entry.file_name())) {
            let path = entry.path();
            let removed = if entry.file_type().is_ok_and(|it| it.is_dir()) {
                std::fs::remove_dir_all(&path)
            } else {
                std::fs::remove_file(&path)
            };
            gone(removed, &path);
        }
    }
}
