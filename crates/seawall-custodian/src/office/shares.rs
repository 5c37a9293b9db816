//! The shares a custodian's machine answers with.
//!
//! A share sealed under a passphrase is opened when the machine starts and stays in its memory: a
//! machine that answers by itself has to be able to. One wrapped by a token is unwrapped for each
//! answer and wiped after it; between answers the memory holds the signing key only.

use seawall_base::{Rng, Timestamp};
use seawall_escrow::{KemSecret, ShareFile, SharePublic, ShareSecret};
use seawall_record::HandOverFile;
use seawall_sign::{Envelope, StatementKey, VerifyingKey};

use super::time::At;
use crate::{
    ArrivedManifest, CustodianError, CustodianHome, CustodyError, Examined, ShareReport, kem_keys,
    shares_of,
};

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
    kem: Vec<KemSecret>,
    given: Vec<HandOverFile>,
}

impl HeldShare {
    /// Opens a share file with its passphrase, and keeps it open.
    pub fn open(file: &ShareFile, passphrase: &[u8]) -> Result<Self, CustodianError> {
        let secret = file.open(passphrase)?;
        let named: VerifyingKey = file.public().signing_key.parse()?;
        let signing = StatementKey::of_public(&named, &secret.signing_seed)?;
        let kem = vec![KemSecret::of_share_file(&secret.signing_seed)];
        Ok(Self { public: file.public().clone(), signing, secret, kem, given: Vec::new() })
    }

    /// The share lies in this home: it is used with the home's post-quantum key, and with what was
    /// handed over to it.
    pub fn in_home(mut self, home: &CustodianHome) -> Result<Self, CustodyError> {
        self.kem = kem_keys(&self.secret, Some(home))?;
        self.given = home.hand_overs()?;
        Ok(self)
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
        let fleet = &examined.dossier.fleet;
        let shares = shares_of(&examined.capsule, fleet, &self.given, &self.kem)?;
        Ok(examined.approve_with(&self.public, &self.secret, shares, &At(now), rng)?)
    }

    /// Looks at this custodian's post-quantum share of a snapshot; `None` if it has none there.
    pub(super) fn report(
        &self,
        arrived: &ArrivedManifest,
        now: Timestamp,
    ) -> Result<Option<ShareReport>, CustodianError> {
        let Some((index, key)) = arrived.capsule().addressee(&self.kem) else { return Ok(None) };
        arrived.report(index, key, &self.signing, &At(now))
    }
}
