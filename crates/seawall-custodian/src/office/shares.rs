//! The shares a custodian's machine answers with.
//!
//! A share sealed under a passphrase is opened when the machine starts and stays in its memory: a
//! machine that answers by itself has to be able to. One wrapped by a token is unwrapped for each
//! answer and wiped after it; between answers the memory holds the signing key only.

use seawall_base::{Rng, Timestamp};
use seawall_escrow::{ShareFile, SharePublic, ShareSecret};
use seawall_sign::{Envelope, StatementKey, VerifyingKey};

use super::time::At;
use crate::{CustodianError, Examined};

/// Why a share did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ShareTrouble {
    /// It will not answer this request.
    #[error(transparent)]
    Refused(CustodianError),
}

/// A share and the key that signs its answers.
pub struct HeldShare {
    public: SharePublic,
    signing: StatementKey,
    secret: ShareSecret,
}

impl HeldShare {
    /// Opens a share file with its passphrase, and keeps it open.
    pub fn open(file: &ShareFile, passphrase: &[u8]) -> Result<Self, CustodianError> {
        let secret = file.open(passphrase)?;
        let named: VerifyingKey = file.public().signing_key.parse()?;
        let signing = StatementKey::of_public(&named, &secret.signing_seed)?;
        Ok(Self { public: file.public().clone(), signing, secret })
    }

    /// What its file says.
    pub const fn public(&self) -> &SharePublic {
        &self.public
    }

    /// The key that signs its answers.
    pub(super) const fn signing(&self) -> &StatementKey {
        &self.signing
    }

    /// Answers an examined request.
    pub(super) fn answer(
        &self,
        examined: &Examined,
        now: Timestamp,
        rng: &mut dyn Rng,
    ) -> Result<Envelope, ShareTrouble> {
        Ok(examined.approve(&self.public, &self.secret, &At(now), rng)?)
    }
}
