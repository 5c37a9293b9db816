//! A custodian's signature under a deletion.
//!
//! The file has been checked by the time it comes here: pinned fleet, newest policy known, manifests
//! as named. What is left is whose share this is, and the clock. The share itself is not touched: a
//! deletion is a signature, and opens nothing.

use seawall_base::{Seconds, Timestamp};
use seawall_escrow::{SharePublic, ShareSecret};
use seawall_record::DeletionFile;
use seawall_sign::{StatementKey, VerifyingKey};

use crate::CustodianError;

/// How far the clock of whoever proposed may be ahead of ours.
const SKEW: Seconds = Seconds(5 * 60);

/// Adds this custodian's signature.
pub fn sign_deletion(
    file: DeletionFile,
    public: &SharePublic,
    secret: &ShareSecret,
    now: Timestamp,
) -> Result<DeletionFile, CustodianError> {
    let it = file.deletion();
    if now > it.expires {
        return Err(CustodianError::Expired(it.expires));
    }
    if it.created > now.after(SKEW) {
        return Err(CustodianError::FromTheFuture(it.created));
    }
    let signed = file.signed()?;
    let Some(of) = signed.iter().find(|it| it.group == public.group) else {
        let expected = signed.first().map_or(public.group, |it| it.group);
        let (found, class) = (public.group, public.class.clone());
        return Err(CustodianError::OtherGroup { expected, found, class });
    };
    let named: VerifyingKey = public.signing_key.parse()?;
    let key = StatementKey::from_seed(named.algorithm(), &secret.signing_seed);
    let group = file.fleet().group(of.group);
    let recorded = group.and_then(|g| g.custodian(public.index)).map(|c| c.signing_key);
    if recorded != Some(key.public()) {
        return Err(CustodianError::OtherSigner(public.index));
    }
    Ok(file.with_signature(&key)?)
}
