//! A region's home directory: configuration, keys, and the lock that keeps two processes apart.
//!
//! Keys are raw seeds in files of mode 0600 below `keys/`. `region.json` is written last when a
//! home is made: a home without it was never finished and may be made again.

use std::fs::File;
use std::path::Path;

use seawall_base::{Clock, Disk, FleetId, OpenMode, Rng, Timestamp, read_file, write_atomic};
use seawall_host::FsDisk;
use seawall_record::{Fleet, Hex32, MAX_BUNDLE, PolicyChain, RegionCard};
use seawall_sign::{Envelope, SigningKey};
use seawall_tlog::{Kind, Verifier};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::RegionError;
use crate::tokens::ledger::Ledger;
use crate::tokens::token_key;

const CONFIG: &str = "region.json";
const IDENTITY: &str = "keys/identity";
const TRANSPORT: &str = "keys/transport";
const SALT: &str = "keys/store-salt";

/// Largest genesis or configuration file in bytes.
pub(crate) const MAX_FILE: usize = 1 << 20;

/// What a region is, apart from its keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Names the format: `seawall-region-home/1`.
    pub format: String,
    /// Its name.
    pub name: String,
    /// `HOST:PORT` it listens on.
    pub listen: String,
    /// Drawn once: a new store is a new incarnation.
    pub incarnation: Hex32,
    /// When it was made.
    pub created: Timestamp,
}

impl Config {
    const FORMAT: &str = "seawall-region-home/1";
}

/// The secrets of a home.
pub(crate) struct Keys {
    pub(crate) identity: SigningKey,
    pub(crate) transport: SigningKey,
    /// Signs tokens; derived from the identity key.
    pub(crate) token: SigningKey,
    pub(crate) salt: [u8; 32],
}

/// Makes a region in `home`: keys, incarnation, configuration, and the fleets it shall host.
/// `listen` is `HOST:PORT`; an operator turns the card into a root-signed enrolment.
pub fn init(
    home: &Path,
    listen: &str,
    name: &str,
    fleets: &[Fleet],
    rng: &mut dyn Rng,
    clock: &dyn Clock,
) -> Result<RegionCard, RegionError> {
    let shown = home.display().to_string();
    let disk = FsDisk::create(home).map_err(RegionError::io(format!("creating {shown}")))?;
    if read_file(&disk, CONFIG, MAX_FILE).map_err(RegionError::io(CONFIG))?.is_some() {
        return Err(RegionError::Exists(shown));
    }
    let _lock = lock(home)?;
    init_on(&disk, listen, name, fleets, rng, clock)
}

/// As [`init`], on any disk.
pub(crate) fn init_on(
    disk: &dyn Disk,
    listen: &str,
    name: &str,
    fleets: &[Fleet],
    rng: &mut dyn Rng,
    clock: &dyn Clock,
) -> Result<RegionCard, RegionError> {
    let well_formed = listen
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !well_formed || listen.chars().any(|c| c.is_control() || c.is_whitespace()) {
        let why = format!("{listen:?} is not HOST:PORT");
        return Err(RegionError::Unusable { what: "listening address", why });
    }
    let identity = SigningKey::generate(rng);
    let transport = SigningKey::generate(rng);
    if name.len() > 64 || Verifier::new(name, Kind::Cosigner, &identity.public()).is_err() {
        let why = format!("{name:?} must have 1 to 64 bytes and no spaces or plus signs");
        return Err(RegionError::Unusable { what: "region name", why });
    }
    let write = |path: &str, bytes: &[u8]| {
        write_atomic(disk, path, bytes).map_err(RegionError::io(format!("writing {path}")))
    };
    disk.create_dir_all("keys").map_err(RegionError::io("creating keys"))?;
    write(IDENTITY, &*identity.seed())?;
    write(TRANSPORT, &*transport.seed())?;
    let mut salt = Zeroizing::new([0; 32]);
    rng.fill(&mut *salt);
    write(SALT, &*salt)?;
    Ledger::init(disk)?;
    for fleet in fleets {
        write_fleet(disk, fleet)?;
    }
    let mut incarnation = [0; 32];
    rng.fill(&mut incarnation);
    let config = Config {
        format: Config::FORMAT.to_owned(),
        name: name.to_owned(),
        listen: listen.to_owned(),
        incarnation: Hex32(incarnation),
        created: clock.now(),
    };
    let json = serde_json::to_vec_pretty(&config).expect("text always serialises");
    write(CONFIG, &json)?;
    disk.sync_dir("").map_err(RegionError::io("syncing the home"))?;
    Ok(RegionCard {
        format: RegionCard::FORMAT.to_owned(),
        name: name.to_owned(),
        address: listen.to_owned(),
        identity: identity.public(),
        transport: transport.public(),
    })
}

/// Keeps a fleet's genesis statement and policies.
pub(crate) fn write_fleet(disk: &dyn Disk, fleet: &Fleet) -> Result<(), RegionError> {
    let dir = format!("fleets/{}", fleet.id().to_hex());
    let path = format!("{dir}/genesis.json");
    disk.create_dir_all(&dir).map_err(RegionError::io(format!("creating {dir}")))?;
    write_atomic(disk, &path, &fleet.envelope().to_json())
        .map_err(RegionError::io(format!("writing {path}")))?;
    if !fleet.policies().is_empty() {
        let path = policies_path(fleet.id());
        write_atomic(disk, &path, &PolicyChain::of(fleet).to_json())
            .map_err(RegionError::io(format!("writing {path}")))?;
    }
    for dir in ["fleets", ""] {
        disk.sync_dir(dir).map_err(RegionError::io("syncing the fleets"))?;
    }
    Ok(())
}

fn policies_path(fleet: FleetId) -> String {
    format!("fleets/{}/policies.json", fleet.to_hex())
}

/// The policies kept beside a fleet's genesis statement.
pub(crate) fn read_policies(disk: &dyn Disk, fleet: FleetId) -> Result<Vec<Envelope>, RegionError> {
    let path = policies_path(fleet);
    let damaged = |why: String| RegionError::Damaged { path: path.clone(), why };
    let Some(bytes) =
        read_file(disk, &path, MAX_BUNDLE).map_err(RegionError::io(format!("reading {path}")))?
    else {
        return Ok(Vec::new());
    };
    let (of, policies) = PolicyChain::parse(&bytes).map_err(|e| damaged(e.to_string()))?;
    if of != fleet {
        return Err(damaged("another fleet's policies".to_owned()));
    }
    Ok(policies)
}

/// Reads configuration and keys.
pub(crate) fn read(disk: &dyn Disk) -> Result<(Config, Keys), RegionError> {
    let bytes = must_read(disk, CONFIG)?;
    let damaged = |why: String| RegionError::Damaged { path: CONFIG.to_owned(), why };
    let config: Config = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
    if config.format != Config::FORMAT {
        return Err(damaged(format!("format {:?} is not {}", config.format, Config::FORMAT)));
    }
    let identity = SigningKey::from_seed(&*read_seed(disk, IDENTITY)?);
    let keys = Keys {
        token: token_key(&identity),
        identity,
        transport: SigningKey::from_seed(&*read_seed(disk, TRANSPORT)?),
        salt: *read_seed(disk, SALT)?,
    };
    Ok((config, keys))
}

pub(crate) fn must_read(disk: &dyn Disk, path: &str) -> Result<Vec<u8>, RegionError> {
    read_file(disk, path, MAX_FILE).map_err(RegionError::io(format!("reading {path}")))?.ok_or_else(
        || RegionError::Damaged {
            path: path.to_owned(),
            why: "there is no such file; is this the home of a region?".to_owned(),
        },
    )
}

fn read_seed(disk: &dyn Disk, path: &str) -> Result<Zeroizing<[u8; 32]>, RegionError> {
    let bytes = Zeroizing::new(must_read(disk, path)?);
    let seed = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| RegionError::Damaged {
        path: path.to_owned(),
        why: "not 32 bytes".to_owned(),
    })?;
    Ok(Zeroizing::new(seed))
}

/// Takes the home's lock; it is released when the file is closed, however the process ends.
pub(crate) fn lock(home: &Path) -> Result<File, RegionError> {
    let path = home.join("lock");
    let what = format!("locking {}", path.display());
    let disk = FsDisk::create(home).map_err(RegionError::io(&what))?;
    disk.open("lock", OpenMode::Create).map_err(RegionError::io(&what))?;
    let file = File::open(&path).map_err(RegionError::io(&what))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(RegionError::InUse(home.display().to_string()))
        }
        Err(std::fs::TryLockError::Error(source)) => Err(RegionError::Io { what, source }),
    }
}
