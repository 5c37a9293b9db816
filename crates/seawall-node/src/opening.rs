//! From a request and its approvals to the snapshot's root: the checks before any object is read.

use seawall_base::Sha256;
use seawall_base::wire::Reader;
use seawall_custodian::{CustodianError, Examined, examine};
use seawall_escrow::{Dealer, Misdealt, OneTimeSecret, VerifiedPartial};
use seawall_seal::ObjectRef;
use seawall_sign::Envelope;

use crate::home::{Home, HomeError, Lock};
use crate::restore::one_time_secret;

/// An approval as it was handed over.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What to call it when it is refused: its file.
    pub name: String,
    /// The approval, not checked.
    pub bytes: Vec<u8>,
}

/// A snapshot that a quorum has opened.
#[derive(Debug)]
pub struct Opened {
    /// Everything the request proves.
    pub examined: Examined,
    /// The snapshot's root.
    pub root: ObjectRef,
    /// Share indices of the custodians whose partials were used.
    pub custodians: Vec<u16>,
    /// Their approvals, by share index.
    pub approvals: Vec<(u16, Envelope)>,
    /// Who dealt post-quantum shares wrongly to somebody; the snapshot opened in spite of it.
    pub misdealt: Vec<Misdealt>,
    /// Approvals that were refused: name, and why.
    pub refused: Vec<(String, CustodianError)>,
    /// While this is held the snapshot is not forgotten here. `None` where the home is read-only.
    pub reading: Option<Lock>,
}

/// Checks a request file against this home's fleet.
pub fn examine_request(home: &Home, request: &[u8]) -> Result<Examined, HomeError> {
    examine(request, &home.fleet()?).map_err(|e| HomeError::refused(e.to_string()))
}

/// Opens the snapshot of a request with its approvals.
///
/// Approvals that are not acceptable are left out and reported; only when too few are left does
/// the whole fail, naming each.
pub fn open_request(
    home: &Home,
    examined: Examined,
    approvals: &[Answer],
) -> Result<Opened, HomeError> {
    let digest: Sha256 = examined.dossier.request_digest;
    let secret = one_time_secret(home, digest)?.ok_or_else(|| {
        HomeError::refused(format!(
            "the one-time secret of this request is not in {} (requests/{}-….key): a restore runs where its request was made, until it expires",
            home.path().display(),
            digest.to_hex()
        ))
    })?;
    let (partials, approvals, refused) = accept_all(&examined, &secret, approvals);
    let opened = seawall_escrow::open(&examined.capsule, &examined.group, &[], &partials)
        .map_err(|e| HomeError::refused(explain(&e.to_string(), &refused)))?;
    let mut r = Reader::new(opened.payload());
    let root = ObjectRef::decode(&mut r)
        .and_then(|root| r.finish().map(|()| root))
        .map_err(|e| HomeError::refused(format!("the capsule's content: {e}")))?;
    let misdealt = opened.misdealt().to_vec();
    for it in &misdealt {
        let dealer = match it.dealer {
            Dealer::Node => format!("node {}", examined.dossier.author.name),
            Dealer::Custodian(index) => format!("custodian {index}, who has left,"),
        };
        tracing::warn!(
            "{dealer} dealt wrong post-quantum shares to custodians {:?}: the snapshot opened without theirs, but do not trust the dealer",
            it.custodians
        );
    }
    let reading = home.reading(examined.dossier.manifest_digest);
    let custodians = partials.iter().map(VerifiedPartial::index).collect();
    Ok(Opened { examined, root, custodians, approvals, misdealt, refused, reading })
}

type Refusals = Vec<(String, CustodianError)>;

fn accept_all(
    examined: &Examined,
    secret: &OneTimeSecret,
    approvals: &[Answer],
) -> (Vec<VerifiedPartial>, Vec<(u16, Envelope)>, Refusals) {
    let (mut partials, mut accepted, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for Answer { name, bytes } in approvals {
        let partial = Envelope::parse(bytes)
            .map_err(CustodianError::from)
            .and_then(|envelope| Ok((examined.accept(&envelope, secret)?, envelope)));
        match partial {
            Ok((partial, envelope)) => {
                accepted.push((partial.index(), envelope));
                partials.push(partial);
            }
            Err(e) => refused.push((name.clone(), e)),
        }
    }
    (partials, accepted, refused)
}

fn explain(why: &str, refused: &Refusals) -> String {
    let mut text = why.to_owned();
    for (name, e) in refused {
        text.push_str(&format!("; {name}: {e}"));
    }
    text
}
