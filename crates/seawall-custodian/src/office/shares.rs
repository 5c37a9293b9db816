//! The shares a custodian's machine answers with.
//!
//! A share sealed under a passphrase is opened when the machine starts and stays in its memory: a
//! machine that answers by itself has to be able to. One wrapped by a token is unwrapped for each
//! answer and wiped after it; between answers the memory holds the signing key and the post-quantum
//! key, which alone open nothing.

use std::sync::Arc;

use seawall_base::{Rng, Timestamp};
use seawall_escrow::{
    KemSecret, ShareFile, ShareFileError, SharePublic, ShareSecret, WrapError, WrappingKey,
};
use seawall_record::HandOverFile;
use seawall_sign::{Envelope, StatementKey, VerifyingKey};

use super::time::At;
use crate::{
    ArrivedManifest, CustodianError, CustodianHome, CustodyError, Examined, NO_QUANTUM_SHARE,
    ShareReport, shares_of,
};

/// Why a share did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ShareTrouble {
    /// It will not answer this request.
    #[error(transparent)]
    Refused(CustodianError),
    /// Its token does not unwrap it just now; what it says tells what to do.
    #[error(transparent)]
    Token(ShareFileError),
}

/// A share and the key that signs its answers.
pub struct HeldShare {
    file: ShareFile,
    signing: StatementKey,
    secret: Held,
    kem: Vec<KemSecret>,
    given: Vec<HandOverFile>,
}

enum Held {
    Open(ShareSecret),
    Wrapped(Arc<dyn WrappingKey>),
}

impl HeldShare {
    /// Opens a share file with its passphrase, and keeps it open.
    pub fn open(file: &ShareFile, passphrase: &[u8]) -> Result<Self, CustodianError> {
        let secret = file.open(passphrase)?;
        let (signing, kem) = keys_of(file.public(), &secret)?;
        let secret = Held::Open(secret);
        Ok(Self { file: file.clone(), signing, secret, kem, given: Vec::new() })
    }

    /// Takes a share that a token wrapped; unwrapped once for its keys, and as a test.
    pub fn wrapped(file: &ShareFile, token: Arc<dyn WrappingKey>) -> Result<Self, CustodianError> {
        let (signing, kem) = keys_of(file.public(), &file.unwrap_with(token.as_ref())?)?;
        let secret = Held::Wrapped(token);
        Ok(Self { file: file.clone(), signing, secret, kem, given: Vec::new() })
    }

    /// The share lies in this home: it is used with the home's post-quantum key, and with what was
    /// handed over to it.
    pub fn in_home(mut self, home: &CustodianHome) -> Result<Self, CustodyError> {
        self.kem.insert(0, home.kem()?);
        self.given = home.hand_overs()?;
        Ok(self)
    }

    /// What its file says.
    pub const fn public(&self) -> &SharePublic {
        self.file.public()
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
        let shares = shares_of(&examined.capsule, fleet, &self.given, &self.kem);
        let public = self.public();
        if examined.lacks_quantum(&shares) {
            tracing::warn!("{NO_QUANTUM_SHARE}");
        }
        match &self.secret {
            Held::Open(secret) => {
                Ok(examined.approve_with(public, secret, shares, &At(now), rng)?)
            }
            Held::Wrapped(token) => {
                let secret = self.file.unwrap_with(token.as_ref()).map_err(|e| match e {
                    ShareFileError::Wrap(WrapError::Token(_)) => ShareTrouble::Token(e),
                    other => ShareTrouble::Refused(other.into()),
                })?;
                Ok(examined.approve_with(public, &secret, shares, &At(now), rng)?)
            }
        }
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

/// The key that signs a share's answers, of the kind that its file names, and the post-quantum key
/// that goes with the file.
fn keys_of(
    public: &SharePublic,
    secret: &ShareSecret,
) -> Result<(StatementKey, Vec<KemSecret>), CustodianError> {
    let named: VerifyingKey = public.signing_key.parse()?;
    let signing = StatementKey::of_public(&named, &secret.signing_seed)?;
    Ok((signing, vec![KemSecret::of_share_file(&secret.signing_seed)]))
}
