//! The canary: a data class of its own whose escrow group is one share on the drill's machine.
//!
//! What is sealed in it is worth nothing, so its share may lie beside its passphrase, and a drill
//! needs nobody. It opens no other class: capsules are sealed to a group's key, and this group has
//! another. Rejected: a "drill" share of the real group, which would be a share that nobody guards.

use std::path::{Path, PathBuf};

use seawall_base::{Clock, Disk, Rng, read_file, write_atomic};
use seawall_custodian::Examined;
use seawall_escrow::{
    Group, KdfCost, MAX_SHARE_FILE, SecretShare, ShareFile, SharePublic, ShareSecret, ceremony,
};
use seawall_host::FsDisk;
use seawall_record::{CustodianRecord, EscrowGroupRecord, Fleet, Hex32};
use seawall_sign::{Envelope, SigningKey};
use zeroize::Zeroizing;

use crate::home::HomeError;

/// Name of the canary's data class.
pub const CANARY: &str = "canary";
/// Number of the canary's data class.
const CLASS_NUMBER: u8 = 200;
const SHARE: &str = "share.json";
const PASSPHRASE: &str = "passphrase";

/// Where the canary's share lies unless somebody says otherwise: beside the home, never in it.
pub fn canary_dir(home: &Path) -> PathBuf {
    let mut name = home.file_name().unwrap_or("seawall".as_ref()).to_owned();
    name.push("-canary");
    home.with_file_name(name)
}

/// A canary group that is not part of a fleet yet.
pub(crate) struct Canary {
    group: Group,
    share: SecretShare,
    signer: SigningKey,
}

impl Canary {
    pub(crate) fn new(rng: &mut dyn Rng) -> Result<Self, HomeError> {
        let (group, shares) = ceremony::local(1, 1, CANARY, rng)?;
        let share = shares.into_iter().next().expect("a ceremony of one makes one share");
        Ok(Self { group, share, signer: SigningKey::generate(rng) })
    }

    /// The group as the genesis statement has it.
    pub(crate) fn record(&self) -> EscrowGroupRecord {
        let member = &self.group.members()[0];
        EscrowGroupRecord {
            id: self.group.id(),
            class: CANARY.to_owned(),
            class_number: CLASS_NUMBER,
            threshold: 1,
            key: Hex32(self.group.key()),
            ceremony: "local".to_owned(),
            share_epoch: 0,
            suite: None,
            retired: false,
            custodians: vec![CustodianRecord {
                index: member.index(),
                name: CANARY.to_owned(),
                signing_key: self.signer.public(),
                share: Hex32(member.verification_share()),
                kem: None,
                endpoint: None,
            }],
        }
    }

    /// Writes the share, and the passphrase that opens it, into a new directory.
    pub(crate) fn settle(
        self,
        fleet: &Fleet,
        dir: &Path,
        rng: &mut dyn Rng,
    ) -> Result<(), HomeError> {
        let name = dir.display().to_string();
        if dir.join(SHARE).symlink_metadata().is_ok() {
            return Err(HomeError::refused(format!("{name} has a share; it is not overwritten")));
        }
        let mut secret = Zeroizing::new([0; 32]);
        rng.fill(&mut *secret);
        let passphrase = Zeroizing::new(hex::encode(*secret));
        let public = SharePublic {
            fleet: fleet.id(),
            group: self.group.id(),
            class: CANARY.to_owned(),
            index: self.share.index(),
            threshold: 1,
            members: 1,
            share_epoch: 0,
            custodian: CANARY.to_owned(),
            signing_key: self.signer.public().to_string(),
        };
        let secret = ShareSecret { share: self.share, signing_seed: self.signer.seed() };
        let file = ShareFile::seal(public, &secret, passphrase.as_bytes(), KdfCost::DEFAULT, rng)?;
        let disk = FsDisk::create(dir).map_err(HomeError::io(&name))?;
        write_atomic(&disk, PASSPHRASE, passphrase.as_bytes()).map_err(HomeError::io(&name))?;
        write_atomic(&disk, SHARE, file.to_json().as_bytes()).map_err(HomeError::io(&name))
    }
}

/// Approves a request for canary data with the share in `dir`. Its group must be the canary's: a
/// share of another class that was put there is not used.
pub fn approve_canary(
    examined: &Examined,
    dir: &Path,
    clock: &dyn Clock,
    rng: &mut dyn Rng,
) -> Result<Envelope, HomeError> {
    let name = dir.display().to_string();
    let missing = |file: &str| {
        HomeError::refused(format!(
            "{name} has no {file}; found the fleet with `seawall init --canary`, and copy that directory to the machine that drills"
        ))
    };
    if !dir.join(SHARE).is_file() {
        return Err(missing(SHARE));
    }
    let disk = FsDisk::create(dir).map_err(HomeError::io(&name))?;
    let read = |file: &str| {
        let found = read_file(&disk as &dyn Disk, file, MAX_SHARE_FILE);
        found.map_err(HomeError::io(&name))?.map(Zeroizing::new).ok_or_else(|| missing(file))
    };
    let (share, passphrase) = (read(SHARE)?, read(PASSPHRASE)?);
    let file = ShareFile::parse(&share)?;
    if file.public().class != CANARY {
        return Err(HomeError::refused(format!(
            "the share in {name} is of class {:?}, not {CANARY:?}: real shares have no place here",
            file.public().class
        )));
    }
    let refused = |e: seawall_custodian::CustodianError| HomeError::refused(e.to_string());
    examined.check_share(file.public()).map_err(refused)?;
    let secret = file.open(&passphrase)?;
    examined.approve(file.public(), &secret, &[], clock, rng).map_err(refused)
}
