//! From a request and its approvals to the snapshot's root: the checks before any object is read.

use seawall_base::wire::Reader;
use seawall_base::{Disk as _, Sha256, read_file, write_atomic};
use seawall_custodian::{
    Classical, CustodianError, Examined, check_hand_overs, examine_with, hand_overs_to,
};
use seawall_escrow::{Dealer, Misdealt, OneTimeSecret, OpenError, VerifiedPartial};
use seawall_record::{HandOverFile, MAX_HAND_OVERS};
use seawall_seal::ObjectRef;
use seawall_sign::Envelope;

use crate::home::{Home, HomeError, Lock};
use crate::restore::one_time_secret;

/// Where hand-overs of post-quantum shares lie.
const HAND_OVERS: &str = "hand-overs";

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
    examine_request_with(home, request, Classical::Refused)
}

/// As [`examine_request`], where a person may have said what else to accept.
pub fn examine_request_with(
    home: &Home,
    request: &[u8],
    classical: Classical,
) -> Result<Examined, HomeError> {
    examine_with(request, &home.fleet()?, classical).map_err(|e| HomeError::refused(e.to_string()))
}

/// Checks a request that was used here once as it was judged then: by the policies it came with,
/// which nobody could have made up. Says, too, why it would be refused by what is known today, if it
/// would: a member is revoked later, a quorum of witnesses demanded, and what happened stays so.
pub(crate) fn examine_kept(
    home: &Home,
    request: &[u8],
) -> Result<(Examined, Option<String>), HomeError> {
    let fleet = home.fleet()?;
    // Opened once although its capsule was of the first suite: somebody answered for that then.
    let today = match examine_with(request, &fleet, Classical::Accepted) {
        Ok(examined) => return Ok((examined, None)),
        Err(e) => e.to_string(),
    };
    let then = examine_with(request, fleet.id(), Classical::Accepted)
        .map_err(|e| HomeError::refused(e.to_string()))?;
    // Policies of a fork are no past of this fleet.
    fleet.newest(then.dossier.fleet.clone())?;
    Ok((then, Some(today)))
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
    let given = hand_overs(home)?;
    let given = hand_overs_to(&examined.capsule, &examined.dossier.fleet, &given);
    let opened = seawall_escrow::open(&examined.capsule, &examined.group, &given, &partials)
        .map_err(|e| {
            let mut why = explain(&e.to_string(), &refused);
            if matches!(e, OpenError::NotEnoughShares { .. }) {
                why.push_str(&without_quantum(&examined, &partials));
            }
            HomeError::refused(why)
        })?;
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

/// Whether a request was made in this home and can still be opened here.
pub fn is_asked_here(home: &Home, request: Sha256) -> Result<bool, HomeError> {
    Ok(one_time_secret(home, request)?.is_some())
}

/// What custodians have handed over to others, as it lies in the home.
fn hand_overs(home: &Home) -> Result<Vec<HandOverFile>, HomeError> {
    let disk = home.disk();
    let names = disk.list(HAND_OVERS).map_err(HomeError::io(HAND_OVERS))?;
    let mut out = Vec::new();
    for name in names.into_iter().filter(|name| name.ends_with(".json")) {
        let path = format!("{HAND_OVERS}/{name}");
        let bytes =
            read_file(disk.as_ref(), &path, MAX_HAND_OVERS).map_err(HomeError::io(&path))?;
        let file = bytes.map(|bytes| HandOverFile::parse(&bytes)).transpose()?;
        out.extend(file);
    }
    Ok(out)
}

/// Keeps a file of hand-overs, so that what it leads to opens from now on.
pub fn keep_hand_over(home: &Home, json: &[u8]) -> Result<(), HomeError> {
    let count = check_hand_overs(&HandOverFile::parse(json)?, &home.fleet()?)
        .map_err(|e| HomeError::refused(e.to_string()))?;
    if count == 0 {
        return Err(HomeError::refused("the file hands nothing of this fleet over"));
    }
    let disk = home.disk();
    disk.create_dir_all(HAND_OVERS).map_err(HomeError::io(HAND_OVERS))?;
    let path = format!("{HAND_OVERS}/{}.json", Sha256::of(json).to_hex());
    write_atomic(disk.as_ref(), &path, json).map_err(HomeError::io(&path))
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

/// Which custodians' answers brought no post-quantum share, and what helps.
fn without_quantum(examined: &Examined, partials: &[VerifiedPartial]) -> String {
    let record = examined.dossier.fleet.group(examined.group.id());
    let name = |index| record.and_then(|it| it.custodian(index)).map(|it| it.name.as_str());
    let without = partials.iter().filter(|it| it.shares().next().is_none());
    let names: Vec<_> = without
        .map(|it| {
            name(it.index()).map_or_else(|| format!("custodian {}", it.index()), str::to_owned)
        })
        .collect();
    if names.is_empty() {
        return String::new();
    }
    format!(
        "; the answers of {} have none for this snapshot: ask others, or have those who have theirs hand them over to these (seawall custodian hand-over, then take-over there) and let these answer again",
        names.join(", ")
    )
}

fn explain(why: &str, refused: &Refusals) -> String {
    let mut text = why.to_owned();
    for (name, e) in refused {
        text.push_str(&format!("; {name}: {e}"));
    }
    text
}
