//! A custodian's post-quantum shares: looked at on arrival, reported, and given on when it leaves.

use seawall_base::{Clock, Sha256};
use seawall_escrow::{
    CheckedCapsule, DealingError, Group, HandOver, KemSecret, PqShare, Recipients,
};
use seawall_record::{
    Fleet, HandedOver, Hex32, Manifest, ShareBad, ShareGood, ShareHandOver, ShareSubject,
};
use seawall_sign::{Envelope, Signer, Statement};

use crate::{CustodianError, check_capsule};

/// A manifest that a custodian has come to see, its capsule checked as anybody can check it.
///
/// What is checked here accuses the node to everyone: a capsule without a valid proof, of a lower
/// suite than the group demands, or for other custodians is an [`CustodianError::Capsule`], and
/// the signed manifest is the evidence.
#[derive(Debug)]
pub struct ArrivedManifest {
    fleet: Fleet,
    manifest: Sha256,
    group: Group,
    capsule: CheckedCapsule,
}

/// What a custodian finds when it opens its share.
#[derive(Debug)]
pub struct ShareReport {
    /// The signed statement, for the custodian's log.
    pub statement: Envelope,
    /// The share, or what is wrong with it. In the second case the node that made the snapshot is
    /// accused; see `seawall_escrow::Opened::misdealt` for how that is settled.
    pub share: Result<PqShare, DealingError>,
}

impl ArrivedManifest {
    /// Checks the capsule of a manifest whose signature and place in its log were checked before.
    pub fn check(fleet: &Fleet, manifest: &Envelope) -> Result<Self, CustodianError> {
        let it = Statement::<Manifest>::read_unverified(manifest)?.predicate;
        let (group, capsule) = check_capsule(fleet, &it)?;
        Ok(Self { fleet: fleet.clone(), manifest: manifest.digest(), group, capsule })
    }

    /// The checked capsule.
    pub const fn capsule(&self) -> &CheckedCapsule {
        &self.capsule
    }

    /// Opens custodian `index`'s share with its key and says how it is, signed with the
    /// custodian's signing key. `None` if there is no share for it: suite 1, or it came later.
    pub fn report(
        &self,
        index: u16,
        key: &KemSecret,
        signer: &dyn Signer,
        clock: &dyn Clock,
    ) -> Result<Option<ShareReport>, CustodianError> {
        let (Some(dealing), Some(commitment)) =
            (self.capsule.dealing(), self.capsule.share_commitment(index))
        else {
            return Ok(None);
        };
        let about = ShareSubject {
            fleet: self.fleet.id(),
            manifest: self.manifest,
            group: self.group.id(),
            custodian: index,
            dealing: Hex32(dealing),
            commitment: Hex32(*commitment),
        };
        let share = self.capsule.open_share(index, key);
        let created = clock.now();
        let statement = match &share {
            Ok(_) => ShareGood { share: about, created }.statement().sign(&[signer])?,
            Err(why) => {
                let reason = why.to_string();
                ShareBad { share: about, reason, created }.statement().sign(&[signer])?
            }
        };
        Ok(Some(ShareReport { statement, share }))
    }
}

/// Deals a leaving custodian's shares of some snapshots to those who come after it: the statement
/// it signs, and the dealings, in the same order. `shares` are pairs of a manifest's digest and
/// the share, at most [`ShareHandOver::MAX_SHARES`].
pub fn hand_over_shares(
    about: &ShareHandOver,
    shares: &[(Sha256, PqShare)],
    recipients: &Recipients,
    signer: &dyn Signer,
) -> Result<(Envelope, Vec<HandOver>), CustodianError> {
    let mut dealings = Vec::new();
    let mut handed = Vec::new();
    for (manifest, share) in shares {
        let dealing = HandOver::make(share, recipients);
        handed.push(HandedOver { manifest: *manifest, dealing: Hex32(dealing.digest()) });
        dealings.push(dealing);
    }
    let statement = ShareHandOver { shares: handed, ..about.clone() }.statement();
    Ok((statement.sign(&[signer])?, dealings))
}
