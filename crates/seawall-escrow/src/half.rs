//! What custodians do with the post-quantum half of a checked capsule.
//!
//! Each sees its own share and nobody else's. What it may show to others about a bad one is said
//! here too, so that a good one cannot be shown by mistake.

use crate::capsule::CheckedCapsule;
use crate::dealing::{DealingError, PqShare};
use crate::kem::KemSecret;

impl CheckedCapsule {
    /// What names the capsule's post-quantum half; `None` in suite 1.
    pub fn dealing(&self) -> Option<[u8; 32]> {
        self.half().map(|(half, context, _)| half.digest(context))
    }

    /// Indices of the custodians the post-quantum half has shares for; none in suite 1.
    pub fn addressed(&self) -> impl Iterator<Item = u16> + '_ {
        self.half().into_iter().flat_map(|(half, ..)| half.indices())
    }

    /// The commitment to a custodian's post-quantum share.
    pub fn share_commitment(&self, index: u16) -> Option<&[u8; 32]> {
        self.half().and_then(|(half, ..)| half.commitment(index))
    }

    /// Takes custodian `index`'s post-quantum share out and checks it against its commitment.
    pub fn open_share(&self, index: u16, key: &KemSecret) -> Result<PqShare, DealingError> {
        let (half, context, _) = self.half().ok_or(DealingError::NotAddressed { index })?;
        half.open(context, index, key)
    }

    /// Takes the post-quantum share out that one of `keys` opens, whatever its index: custodians
    /// keep their keys when a group is shared anew, and not their indices.
    pub fn open_own_share(&self, keys: &[KemSecret]) -> Option<PqShare> {
        self.addressed().find_map(|i| keys.iter().find_map(|key| self.open_share(i, key).ok()))
    }

    /// Index and key of the custodian that has one of `keys`, if the post-quantum half is for it.
    pub fn addressee<'k>(&self, keys: &'k [KemSecret]) -> Option<(u16, &'k KemSecret)> {
        let recipients = self.half()?.2.keys();
        keys.iter().find_map(|key| {
            let public = key.public();
            recipients.iter().find(|(_, it)| *it == public).map(|(index, _)| (*index, key))
        })
    }

    /// What custodian `index` can show to convict the dealer, if its share is not the committed
    /// one: [`CheckedCapsule::convicts`]. Never anything that opens a good share.
    pub fn evidence(&self, index: u16, key: &KemSecret) -> Option<[u8; 32]> {
        let (half, context, _) = self.half()?;
        half.evidence(context, index, key)
    }

    /// Whether this, from custodian `index`, proves to anybody that the maker of the capsule dealt
    /// it something else than it committed to.
    pub fn convicts(&self, index: u16, evidence: &[u8; 32]) -> bool {
        self.half().is_some_and(|(half, context, _)| half.convicts(context, index, evidence))
    }
}
