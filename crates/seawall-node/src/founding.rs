//! Founding a fleet: escrow group, shares, genesis statement, and the first node.

use std::path::{Path, PathBuf};

use seawall_base::{Clock, Rng};
use seawall_escrow::{
    Group, KdfCost, KemSecret, MAX_RECIPIENTS, SecretShare, ShareFile, SharePublic, ShareSecret,
    ceremony,
};
use seawall_record::{Base64, CustodianRecord, EscrowGroupRecord, Fleet, Genesis, Hex32, SUITE_PQ};
use seawall_sign::{Algorithm, Statement, StatementKey};
use zeroize::Zeroizing;

use crate::canary::Canary;
use crate::enrol;
use crate::home::{Home, HomeError, file_name};
use crate::keys::{self, Purpose};
use crate::operators::{self, PolicyChange};

/// What a fleet is founded with.
pub struct Founding<'a> {
    /// Where the first node lives.
    pub home: &'a Path,
    /// What the first escrow group is.
    pub group: FoundingGroup<'a>,
    /// Name of the fleet.
    pub fleet_name: &'a str,
    /// Name of the first node.
    pub node_name: &'a str,
    /// The tenant of the first node.
    pub tenant: &'a str,
    /// Whether snapshots get path indexes, which this home's operator key reads.
    pub index: bool,
    /// Algorithm of the root key, the node's identity, and the signing keys of custodians whose
    /// group is made here.
    pub algorithm: Algorithm,
    /// A plain directory that stands in for a region.
    pub bucket: Option<&'a str>,
    /// A new directory for the share of the canary's group, if there is to be one.
    pub canary: Option<&'a Path>,
}

/// The first escrow group of a fleet.
#[derive(Debug)]
pub enum FoundingGroup<'a> {
    /// Made here and now, in this process, which sees all shares.
    Local(LocalGroup<'a>),
    /// Made between its custodians' machines before; no share is seen here.
    Distributed(&'a EscrowGroupRecord),
}

/// An escrow group that is made in one process.
#[derive(Debug)]
pub struct LocalGroup<'a> {
    /// A directory outside the home for the share files.
    pub shares_dir: &'a Path,
    /// Name of its data class.
    pub class: &'a str,
    /// Custodians by name, in order of share index.
    pub custodians: Vec<String>,
    /// How many of them it takes.
    pub threshold: u16,
    /// Whether custodians get post-quantum keys, derived from their share files.
    pub post_quantum: bool,
}

impl FoundingGroup<'_> {
    /// Name of its data class.
    fn class(&self) -> &str {
        match self {
            Self::Local(group) => group.class,
            Self::Distributed(record) => &record.class,
        }
    }
}

/// A founded fleet.
#[derive(Debug)]
pub struct Founded {
    /// The fleet.
    pub fleet: Fleet,
    /// The share files, in order of index.
    pub shares: Vec<PathBuf>,
}

/// Asks for the passphrase of the named custodian's share.
pub type AskPassphrase<'a> = dyn FnMut(&str) -> Result<Zeroizing<Vec<u8>>, HomeError> + 'a;

/// Founds a fleet. `passphrase` is asked for each custodian's share in turn.
///
/// All checks come first; the home's marker is written before the shares, and the shares before
/// the genesis statement, so that a fleet never exists whose shares do not. What was written is
/// taken back if a later step fails.
pub fn found(
    founding: &Founding<'_>,
    passphrase: &mut AskPassphrase<'_>,
    clock: &dyn Clock,
    rng: &mut dyn Rng,
) -> Result<Founded, HomeError> {
    check(founding)?;
    let root = StatementKey::generate(founding.algorithm, rng);
    let canary = founding.canary.map(|_| Canary::new(rng)).transpose()?;
    let more: Vec<_> = canary.iter().map(Canary::record).collect();
    let (fleet, shares) = match &founding.group {
        FoundingGroup::Local(group) => {
            found_local(founding, (group, more), &root, passphrase, clock, rng)?
        }
        FoundingGroup::Distributed(record) => {
            seawall_escrow::Group::of_record(record)?;
            let groups = [vec![(*record).clone()], more].concat();
            (statement(founding, groups, &root, clock, rng)?, Vec::new())
        }
    };
    let undo = Undo::prepare(founding, &shares);
    let settled = settle(founding, &fleet, &root, &shares, clock, rng).and_then(|()| {
        let both = canary.zip(founding.canary);
        both.map_or(Ok(()), |(canary, dir)| canary.settle(&fleet, dir, rng))
    });
    match settled {
        Ok(()) => Ok(Founded { fleet, shares: shares.into_iter().map(|s| s.path).collect() }),
        Err(e) => {
            undo.run();
            Err(e)
        }
    }
}

/// Makes the group and its sealed shares, and the fleet they are for.
fn found_local(
    founding: &Founding<'_>,
    (local, more): (&LocalGroup<'_>, Vec<EscrowGroupRecord>),
    root: &StatementKey,
    passphrase: &mut AskPassphrase<'_>,
    clock: &dyn Clock,
    rng: &mut dyn Rng,
) -> Result<(Fleet, Vec<SealedShare>), HomeError> {
    let passphrases =
        local.custodians.iter().map(|name| passphrase(name)).collect::<Result<Vec<_>, _>>()?;
    let members = local.custodians.len() as u16;
    let (group, shares) = ceremony::local(members, local.threshold, local.class, rng)?;
    let algorithm = founding.algorithm;
    let signers: Vec<_> = shares.iter().map(|_| StatementKey::generate(algorithm, rng)).collect();
    let groups = [vec![record(local, &group, &signers)], more].concat();
    let fleet = statement(founding, groups, root, clock, rng)?;
    let shares = seal_shares(local, &fleet, &group, shares, &signers, &passphrases, rng)?;
    Ok((fleet, shares))
}

/// A share file that is not written yet.
struct SealedShare {
    path: PathBuf,
    name: String,
    json: String,
}

/// Writes everything: marker, shares, genesis statement, keys, enrolment.
fn settle(
    founding: &Founding<'_>,
    fleet: &Fleet,
    root: &StatementKey,
    shares: &[SealedShare],
    clock: &dyn Clock,
    rng: &mut dyn Rng,
) -> Result<(), HomeError> {
    let home = Home::create(founding.home, founding.node_name, founding.bucket)?;
    let lock = home.lock()?;
    if let FoundingGroup::Local(LocalGroup { shares_dir: dir, .. }) = &founding.group {
        let shares_disk = seawall_host::FsDisk::create(*dir)
            .map_err(HomeError::io(&dir.display().to_string()))?;
        for share in shares {
            seawall_base::write_atomic(&shares_disk, &share.name, share.json.as_bytes())
                .map_err(HomeError::io(&share.name))?;
        }
    }
    let disk = home.disk();
    seawall_base::Disk::create_dir_all(disk.as_ref(), "root").map_err(HomeError::io("root"))?;
    keys::write(disk.as_ref(), "root/root-1.key", Purpose::Root, &root.seed())?;
    home.write_envelope("fleet/genesis.json", fleet.envelope())?;
    let mut tenant_secret = Zeroizing::new([0; 32]);
    rng.fill(&mut *tenant_secret);
    keys::write(disk.as_ref(), "keys/tenant.key", Purpose::Tenant, &tenant_secret)?;
    let card = enrol::member_keys(&home, founding.algorithm, rng)?;
    let roots = std::slice::from_ref(root);
    enrol::enrol_here(&home, fleet, &card, (founding.tenant, roots), clock)?;
    if founding.index {
        let on = PolicyChange::On(founding.group.class().to_owned());
        let policy = operators::change_locked(&home, &lock, &on, roots, clock, rng)?;
        home.write_envelope(operators::POLICY, &policy)?;
    }
    Ok(())
}

/// What a founding that fails half-way takes back: a marker or share left behind would make the
/// next try fail, or be kept by somebody who believes in it.
struct Undo {
    files: Vec<PathBuf>,
    shares_dir: Option<PathBuf>,
    home: Option<PathBuf>,
}

impl Undo {
    /// Notes what is not there yet.
    fn prepare(founding: &Founding<'_>, shares: &[SealedShare]) -> Self {
        let absent = |path: &Path| (!path.exists()).then(|| path.to_owned());
        let mut files: Vec<_> = shares.iter().map(|s| s.path.clone()).collect();
        files.push(founding.home.join("home.json"));
        let shares_dir = match &founding.group {
            FoundingGroup::Local(group) => absent(group.shares_dir),
            FoundingGroup::Distributed(_) => None,
        };
        Self { files, shares_dir, home: absent(founding.home) }
    }

    fn run(self) {
        let gone = |result: std::io::Result<()>, path: &Path| match result {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), error = %e, "left behind; remove it");
            }
            _ => {}
        };
        for path in &self.files {
            gone(std::fs::remove_file(path), path);
        }
        if let Some(dir) = &self.shares_dir {
            gone(std::fs::remove_dir(dir), dir);
        }
        if let Some(home) = &self.home {
            gone(std::fs::remove_dir_all(home), home);
        }
    }
}

fn check(founding: &Founding<'_>) -> Result<(), HomeError> {
    if founding.home.join("home.json").exists() {
        return Err(HomeError::AlreadyAHome(founding.home.to_owned()));
    }
    let FoundingGroup::Local(local) = &founding.group else { return Ok(()) };
    let n = local.custodians.len();
    if n == 0 || n > 64 || local.threshold == 0 || usize::from(local.threshold) > n {
        return Err(HomeError::refused(format!(
            "{} of {n} custodians is not possible; choose 1 to 64 custodians and a threshold up to their number",
            local.threshold
        )));
    }
    if local.post_quantum && n > MAX_RECIPIENTS {
        return Err(HomeError::refused(format!(
            "a post-quantum group has at most {MAX_RECIPIENTS} custodians, so that a manifest fits a log entry; name fewer, or found it without (--classical)"
        )));
    }
    if local.threshold == 1 && n > 1 {
        tracing::warn!("with a threshold of 1 any single custodian can open every snapshot");
    }
    let (home, shares) = (absolute(founding.home)?, absolute(local.shares_dir)?);
    if shares.starts_with(&home) || home.starts_with(&shares) {
        return Err(HomeError::refused(format!(
            "{} and the home {} lie within each other; whoever steals the node must not get the shares: choose a --shares-dir outside, best on a removable disk",
            shares.display(),
            home.display()
        )));
    }
    Ok(())
}

/// The path with its existing part resolved, so that neither a link nor `..` can hide that one
/// directory lies within the other. What cannot be resolved before it is made is refused.
fn absolute(path: &Path) -> Result<PathBuf, HomeError> {
    let absolute = std::path::absolute(path).map_err(HomeError::io(&path.display().to_string()))?;
    let unclear = |why: &str| {
        HomeError::refused(format!(
            "{}: {why}, so where it leads is not known; name the real directory",
            path.display()
        ))
    };
    let mut missing = Vec::new();
    let mut existing = absolute.as_path();
    loop {
        match existing.canonicalize() {
            Ok(real) => return Ok(missing.iter().rev().fold(real, |p, part| p.join(part))),
            Err(e) if existing.symlink_metadata().is_ok() => {
                return Err(unclear(&format!("{}: {e}", existing.display())));
            }
            Err(_) => {}
        }
        let (Some(name), Some(parent)) = (existing.file_name(), existing.parent()) else {
            return Err(unclear("it has `..` below a directory that does not exist"));
        };
        missing.push(name.to_owned());
        existing = parent;
    }
}

/// The record of a group that was made here.
fn record(local: &LocalGroup<'_>, group: &Group, signers: &[StatementKey]) -> EscrowGroupRecord {
    let custodians = group
        .members()
        .iter()
        .zip(signers)
        .zip(&local.custodians)
        .map(|((member, signer), name)| CustodianRecord {
            index: member.index(),
            name: name.clone(),
            signing_key: signer.public(),
            share: Hex32(member.verification_share()),
            kem: local.post_quantum.then(|| {
                let key = KemSecret::of_share_file(&signer.seed());
                Base64(key.public().as_bytes().to_vec())
            }),
            endpoint: None,
        })
        .collect();
    EscrowGroupRecord {
        id: group.id(),
        class: local.class.to_owned(),
        class_number: 1,
        threshold: group.threshold(),
        key: Hex32(group.key()),
        ceremony: "local".to_owned(),
        share_epoch: 0,
        suite: local.post_quantum.then_some(SUITE_PQ),
        retired: false,
        custodians,
    }
}

/// The signed genesis statement, as a fleet.
fn statement(
    founding: &Founding<'_>,
    groups: Vec<EscrowGroupRecord>,
    root: &StatementKey,
    clock: &dyn Clock,
    rng: &mut dyn Rng,
) -> Result<Fleet, HomeError> {
    let mut nonce = [0; 32];
    rng.fill(&mut nonce);
    let genesis = Genesis {
        policy_version: 1,
        fleet_name: founding.fleet_name.to_owned(),
        root_keys: vec![root.public()],
        root_threshold: 1,
        groups,
        witnesses: Vec::new(),
        created: clock.now(),
        nonce: Hex32(nonce),
    };
    let subject = Fleet::subject(&genesis);
    Ok(Fleet::open(Statement::new(subject, genesis).sign(&[root])?)?)
}

fn seal_shares(
    local: &LocalGroup<'_>,
    fleet: &Fleet,
    group: &Group,
    shares: Vec<SecretShare>,
    signers: &[StatementKey],
    passphrases: &[Zeroizing<Vec<u8>>],
    rng: &mut dyn Rng,
) -> Result<Vec<SealedShare>, HomeError> {
    let mut sealed = Vec::new();
    for (i, share) in shares.into_iter().enumerate() {
        let custodian = &local.custodians[i];
        let public = SharePublic {
            fleet: fleet.id(),
            group: group.id(),
            class: local.class.to_owned(),
            index: share.index(),
            threshold: group.threshold(),
            members: group.members().len() as u16,
            share_epoch: 0,
            custodian: custodian.clone(),
            signing_key: signers[i].public().to_string(),
        };
        let name = format!("share-{}-{}.json", share.index(), file_name(custodian));
        let path = local.shares_dir.join(&name);
        if path.symlink_metadata().is_ok() {
            let why = format!("{} exists; shares are never overwritten", path.display());
            return Err(HomeError::refused(why));
        }
        let secret = ShareSecret { share, signing_seed: signers[i].seed() };
        let file = ShareFile::seal(public, &secret, &passphrases[i], KdfCost::DEFAULT, rng)?;
        sealed.push(SealedShare { path, name, json: file.to_json() });
    }
    Ok(sealed)
}
