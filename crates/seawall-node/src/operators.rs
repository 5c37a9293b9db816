//! Operators: who reads path indexes, and how their beginnings are sealed to them.
//!
//! An operator's key is an X-Wing key of its own, in a file of its own, and not the node's
//! recipient key: whoever steals a node that is not an operator's machine finds nothing that
//! opens an index. The beginning of an index is sealed with the digest of its manifest's core as
//! associated data; moved to another manifest it does not open.

use seawall_backup::path_index::PathIndexRoot;
use seawall_base::{Clock, Rng};
use seawall_escrow::{OneTimePublic, OneTimeSecret};
use seawall_record::{
    Base64, Fleet, Hex32, IndexPolicy, Manifest, ManifestCore, Operator, OperatorCard, SealedRoot,
};
use seawall_sign::{Envelope, StatementKey};

use crate::home::{Home, HomeError, Lock};
use crate::keys::{self, Purpose};
use crate::root_files::sign_as_root;

/// Where the newest policy is kept.
pub(crate) const POLICY: &str = "fleet/index-policy.json";
/// Where an operator's key is kept.
pub(crate) const KEY: &str = "keys/operator.key";
/// HPKE `info` of the beginning of an index.
const ROOT_INFO: &[u8] = b"seawall 2026-11 path index root v1";

/// Makes this home's operator key, or finds it, and returns its card.
pub fn operator_card(home: &Home, rng: &mut dyn Rng) -> Result<OperatorCard, HomeError> {
    let disk = home.disk();
    let secret = keys::recipient_or_new(disk.as_ref(), KEY, Purpose::Operator, rng)?;
    Ok(OperatorCard {
        format: OperatorCard::FORMAT.to_owned(),
        name: home.name().to_owned(),
        key: Base64(secret.public().as_bytes().to_vec()),
    })
}

/// This home's operator key.
pub(crate) fn secret(home: &Home) -> Result<OneTimeSecret, HomeError> {
    let secret = keys::read(home.disk().as_ref(), KEY, Purpose::Operator)?.ok_or_else(|| {
        HomeError::refused(
            "this home has no operator key, and only operators read path indexes; make one with `seawall node operator`, and have its card added with `seawall fleet operator add`",
        )
    })?;
    Ok(OneTimeSecret::from_bytes(&secret))
}

/// The id of a key, as manifests name it.
pub(crate) fn key_id(secret: &OneTimeSecret) -> Hex32 {
    Hex32(seawall_base::Sha256::of(secret.public().as_bytes()).0)
}

/// The newest policy this home has seen, and its statement, if it holds under today's root keys.
pub(crate) fn policy(
    home: &Home,
    fleet: &Fleet,
) -> Result<Option<(IndexPolicy, Envelope)>, HomeError> {
    if home.read(POLICY)?.is_none() {
        return Ok(None);
    }
    let envelope = home.read_envelope(POLICY)?;
    match IndexPolicy::open(fleet, &envelope) {
        Ok(policy) => Ok(Some((policy, envelope))),
        // Nobody's word since the root keys were replaced: then nobody reads what is made from now on.
        Err(_) if !fleet.policy().upholds(&envelope) && fleet.was_root_signed(&envelope) => {
            tracing::warn!(
                path = POLICY,
                "who may read path indexes was decided by earlier root keys and was not carried over: new snapshots have no index until a new bundle says who may"
            );
            Ok(None)
        }
        Err(e) => Err(HomeError::damaged(POLICY, e.to_string())),
    }
}

/// Who may read path indexes, and of which classes; `None` if nothing was ever decided.
pub fn index_policy(home: &Home) -> Result<Option<IndexPolicy>, HomeError> {
    Ok(policy(home, &home.fleet()?)?.map(|(policy, _)| policy))
}

/// Refuses a policy older than the one this home has.
pub(crate) fn check_newer(
    home: &Home,
    fleet: &Fleet,
    newer: &IndexPolicy,
) -> Result<(), HomeError> {
    let held = policy(home, fleet)?.map_or(0, |(held, _)| held.version);
    if newer.version < held {
        return Err(HomeError::refused(format!(
            "it is version {} of who may read path indexes, this node has {held}; ask for a newer one",
            newer.version
        )));
    }
    Ok(())
}

/// Who may read the index of a snapshot of this class that is made here.
pub(crate) fn readers(home: &Home, fleet: &Fleet, class: &str) -> Result<Vec<Operator>, HomeError> {
    let (enrolment, _) = home.enrolment(fleet)?;
    Ok(match policy(home, fleet)? {
        Some((policy, _)) if enrolment.tenant.as_ref() == Some(&policy.tenant) => {
            policy.readers(class).to_vec()
        }
        _ => Vec::new(),
    })
}

/// A change to who reads path indexes.
#[derive(Debug, Clone)]
pub enum PolicyChange {
    /// Snapshots of this class get an index from now on.
    On(String),
    /// They get none any more.
    Off(String),
    /// This operator may read indexes made from now on.
    Add(OperatorCard),
    /// The operator of this name may read none that is made from now on.
    Remove(String),
}

/// Signs a new policy with `roots`; [`apply_index_policy`] puts it in force.
pub fn change_index_policy(
    home: &Home,
    change: &PolicyChange,
    roots: &[StatementKey],
    clock: &dyn Clock,
    rng: &mut dyn Rng,
) -> Result<Envelope, HomeError> {
    let lock = home.lock()?;
    change_locked(home, &lock, change, roots, clock, rng)
}

/// Takes a policy that enough root keys have signed. Other nodes have it from their next bundle.
pub fn apply_index_policy(home: &Home, envelope: &Envelope) -> Result<IndexPolicy, HomeError> {
    let _lock = home.lock()?;
    let fleet = home.fleet()?;
    let policy = IndexPolicy::open(&fleet, envelope)?;
    check_newer(home, &fleet, &policy)?;
    home.write_envelope(POLICY, envelope)?;
    Ok(policy)
}

/// As [`change_index_policy`], in a home that is locked.
pub(crate) fn change_locked(
    home: &Home,
    _lock: &Lock,
    change: &PolicyChange,
    roots: &[StatementKey],
    clock: &dyn Clock,
    rng: &mut dyn Rng,
) -> Result<Envelope, HomeError> {
    let fleet = home.fleet()?;
    let (enrolment, _) = home.enrolment(&fleet)?;
    let tenant = enrolment.tenant.ok_or_else(|| HomeError::refused("this node has no tenant"))?;
    let held = policy(home, &fleet)?.map(|(held, _)| held);
    let now = clock.now();
    let mut next = held.unwrap_or(IndexPolicy {
        fleet: fleet.id(),
        tenant,
        version: 0,
        classes: Vec::new(),
        operators: Vec::new(),
        created: now,
    });
    // By the clock, so that what a recovered first node signs is newer than what was lost.
    next.version = now.0.max(next.version + 1);
    next.created = now;
    apply(&mut next, change, home, &fleet, rng)?;
    next.classes.sort();
    next.classes.dedup();
    next.operators.sort_by(|a, b| a.name.cmp(&b.name));
    sign_as_root(roots, |roots| next.statement().sign(roots))
}

/// What a change makes of a policy.
fn apply(
    next: &mut IndexPolicy,
    change: &PolicyChange,
    home: &Home,
    fleet: &Fleet,
    rng: &mut dyn Rng,
) -> Result<(), HomeError> {
    match change {
        PolicyChange::On(class) => {
            if fleet.group_of_class(Some(class)).is_none() {
                return Err(HomeError::refused(format!("the fleet has no data class {class:?}")));
            }
            next.classes.push(class.clone());
            if next.operators.is_empty() {
                let card = operator_card(home, rng)?;
                next.operators.push(Operator { name: card.name, key: card.key });
            }
        }
        PolicyChange::Off(class) => next.classes.retain(|c| c != class),
        PolicyChange::Add(card) => {
            OneTimePublic::from_bytes(&card.key.0)?;
            next.operators.retain(|o| o.name != card.name);
            next.operators.push(Operator { name: card.name.clone(), key: card.key.clone() });
        }
        PolicyChange::Remove(name) => {
            let before = next.operators.len();
            next.operators.retain(|o| o.name != *name);
            if next.operators.len() == before {
                return Err(HomeError::refused(format!("no operator is called {name:?}")));
            }
        }
    }
    Ok(())
}

/// Seals the beginning of an index to everyone who may read it.
pub(crate) fn seal_root(
    readers: &[Operator],
    core: &ManifestCore,
    root: &PathIndexRoot,
    rng: &mut dyn Rng,
) -> Result<Vec<SealedRoot>, HomeError> {
    let plain = zeroize::Zeroizing::new(root.encode());
    let mut sealed = Vec::new();
    for reader in readers {
        let key = OneTimePublic::from_bytes(&reader.key.0)?;
        let bytes = key.seal(ROOT_INFO, &core.digest().0, &plain, rng)?;
        sealed.push(SealedRoot { key: reader.id(), sealed: Base64(bytes) });
    }
    sealed.sort_by_key(|root| root.key);
    Ok(sealed)
}

/// Opens the beginning of a snapshot's index; `None` if it was not sealed to this key.
pub(crate) fn open_root(
    secret: &OneTimeSecret,
    id: Hex32,
    manifest: &Manifest,
) -> Result<Option<PathIndexRoot>, HomeError> {
    let Some(root) = manifest.path_index.iter().find(|root| root.key == id) else {
        return Ok(None);
    };
    let plain = secret.open(ROOT_INFO, &manifest.core.digest().0, &root.sealed.0)?;
    let root = PathIndexRoot::decode(&plain)
        .map_err(|e| HomeError::refused(format!("the beginning of a path index: {e}")))?;
    Ok(Some(root))
}
