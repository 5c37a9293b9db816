//! A custodian's post-quantum shares: looked at on arrival, and reported.

use seawall_base::{Clock, GroupId, Sha256};
use seawall_escrow::{CheckedCapsule, DealingError, Group, KemSecret, PqShare, ShareSecret};
use seawall_record::{
    BadShareFile, Fleet, Hex32, Manifest, OpenedBadShare, ShareBad, ShareGood, ShareSubject,
};
use seawall_sign::{Envelope, Signer, Statement};

use crate::{Classical, CustodianError, CustodianHome, CustodyError, check_capsule};

/// The keys that a custodian's post-quantum shares may be sealed to: that of its home, if it has
/// one, and the one that is derived from its share file. Homes made from a share file, and those
/// made since, have one and the same; older ones have two.
pub fn kem_keys(
    secret: &ShareSecret,
    home: Option<&CustodianHome>,
) -> Result<Vec<KemSecret>, CustodyError> {
    let own = home.map(CustodianHome::kem).transpose()?;
    Ok(own.into_iter().chain([KemSecret::of_share_file(&secret.signing_seed)]).collect())
}

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
    /// What it is about.
    pub about: ShareSubject,
    /// The signed statement.
    pub statement: Envelope,
    /// What convicts the dealer before anybody, if anything does. Never in suite 2: a parcel there
    /// may be a copy of a good one, which this would open.
    pub evidence: Option<[u8; 32]>,
    /// The share, or what is wrong with it. In the second case the node that made the snapshot is
    /// accused; see `seawall_escrow::Opened::misdealt` for how that is settled.
    pub share: Result<PqShare, DealingError>,
}

impl ArrivedManifest {
    /// Checks the capsule of a manifest whose signature and place in its log were checked before.
    pub fn check(fleet: &Fleet, manifest: &Envelope) -> Result<Self, CustodianError> {
        let it = Statement::<Manifest>::read_unverified(manifest)?.predicate;
        let (group, capsule) = check_capsule(fleet, &it, Classical::Refused)?;
        Ok(Self { fleet: fleet.clone(), manifest: manifest.digest(), group, capsule })
    }

    /// The checked capsule.
    pub const fn capsule(&self) -> &CheckedCapsule {
        &self.capsule
    }

    /// The escrow group it is sealed to.
    pub fn group(&self) -> GroupId {
        self.group.id()
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
        let subject = about.clone();
        let mut evidence = None;
        let statement = match &share {
            Ok(_) => ShareGood { share: subject, created }.statement().sign(&[signer])?,
            Err(why) => {
                evidence = self.capsule.evidence(index, key);
                let (reason, evidence) = (why.to_string(), evidence.map(Hex32));
                ShareBad { share: subject, reason, evidence, created }
                    .statement()
                    .sign(&[signer])?
            }
        };
        Ok(Some(ShareReport { about, statement, evidence, share }))
    }
}

/// What a custodian's report of a bad share comes to.
#[derive(Debug)]
pub struct JudgedShare {
    /// The file, its signatures checked.
    pub opened: OpenedBadShare,
    /// The node is convicted: what it sealed for the custodian is not what it committed to. If
    /// not, the custodian's word stands against the node's until somebody opens the snapshot.
    pub is_proven: bool,
}

/// Judges a report as anybody can, with nothing but the file.
///
/// Reports of earlier versions have evidence in suite 2 as well. It convicts whoever signed the
/// manifest, wherever the parcel came from: an honest node signs no commitment beside it that does
/// not fit. The node that sealed the parcel first signed another manifest, and is not accused.
pub fn judge_bad_share(json: &[u8]) -> Result<JudgedShare, CustodianError> {
    let opened = BadShareFile::parse(json)?.open()?;
    let (_, capsule) = check_capsule(&opened.fleet, &opened.arrived.manifest, Classical::Refused)?;
    let share = &opened.report.share;
    let same = capsule.dealing() == Some(share.dealing.0)
        && capsule.share_commitment(share.custodian) == Some(&share.commitment.0);
    if !same {
        let why = "is of another dealing than the manifest's".to_owned();
        return Err(CustodianError::Misplaced(why));
    }
    let evidence = opened.report.evidence.as_ref();
    let is_proven = evidence.is_some_and(|it| capsule.convicts(share.custodian, &it.0));
    Ok(JudgedShare { opened, is_proven })
}
