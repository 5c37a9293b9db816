//! Asking for a restore: one file with everything a custodian needs, one secret that stays.

use seawall_base::{Clock, Disk as _, Rng, Seconds, Sha256, Timestamp};
use seawall_escrow::OneTimeSecret;
use seawall_policy::witness::Reached;
use seawall_record::{
    Base64, BreakGlass, Dossier, DossierParts, Fleet, Hex32, LogState, Manifest, Request,
};
use seawall_sign::{Envelope, SigningKey, VerifyingKey};
use seawall_tlog::{Checkpoint, Hash, Kind, Log, SignedCheckpoint, Verifier};

use crate::home::{Home, HomeError, append};
use crate::keys::{self, Purpose};
use crate::tiers::PulledLog;
use crate::witnesses::{Witnessed, believed_lines, home_roster};

/// Which snapshot, and why.
pub struct RequestOptions<'a> {
    /// The snapshot's id, or the unambiguous beginning of it.
    pub id: &'a str,
    /// Why, for the custodians.
    pub reason: &'a str,
    /// How long they may answer.
    pub valid: Seconds,
    /// Ask although fewer witnesses vouch for the log than the policy demands.
    pub break_glass: bool,
    /// Whether it is for a drill.
    pub drill: bool,
}

/// A request ready to be handed to custodians.
#[derive(Debug)]
pub struct RequestWritten {
    /// The request file's content.
    pub dossier: String,
    /// Digest of the request statement.
    pub digest: Sha256,
    /// The snapshot asked for.
    pub manifest: Manifest,
    /// Its id.
    pub manifest_digest: Sha256,
    /// Who vouches for its log, regions included that this home knows and the policy does not name.
    pub witnessed: Reached,
    /// Whether it is asked for although that is less than the policy demands, or something newer
    /// was seen.
    pub break_glass: bool,
}

/// Where a snapshot's evidence comes from.
pub enum Requestable<'a> {
    /// This node's own log.
    Own(&'a Log),
    /// A log read from a region.
    Pulled(&'a PulledLog),
}

impl Requestable<'_> {
    fn entry(&self, index: u64) -> Result<Vec<u8>, HomeError> {
        match self {
            Self::Own(log) => Ok(log.entry(index)?),
            Self::Pulled(log) => log
                .entry(index)
                .map(<[u8]>::to_vec)
                .ok_or_else(|| HomeError::refused("the log does not have this entry")),
        }
    }

    fn checkpoint(&self) -> Result<&SignedCheckpoint, HomeError> {
        match self {
            Self::Own(log) => log.checkpoint().ok_or_else(|| {
                HomeError::refused("this node's log has no checkpoint; run `seawall sync` first")
            }),
            Self::Pulled(log) => Ok(&log.checkpoint),
        }
    }

    /// What is known to be newer than what is shown, in words.
    fn lag(&self) -> Option<String> {
        match self {
            Self::Own(_) => None,
            Self::Pulled(log) => log.lag(),
        }
    }

    fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Hash>, HomeError> {
        match self {
            Self::Own(log) => Ok(log.inclusion(index, size)?),
            Self::Pulled(log) => log.inclusion_at(index, size),
        }
    }

    fn root_at(&self, size: u64) -> Result<Hash, HomeError> {
        match self {
            Self::Own(log) => Ok(log.root_at(size)?),
            Self::Pulled(log) => log.root_at(size),
        }
    }

    /// The checkpoint that most operators vouch for, of those that cover entry `index` and are of
    /// this very history: its own, what the home keeps of it, and what witnesses showed.
    fn best(
        &self,
        home: &Home,
        (fleet, author): (&Fleet, &LogState),
        index: u64,
    ) -> Result<(SignedCheckpoint, Reached), HomeError> {
        let own = self.checkpoint()?;
        if index >= own.checkpoint().size {
            return Err(HomeError::refused(
                "the snapshot is under no checkpoint yet: its log went back in time and its entries are provisional; begin the next epoch first (seawall node epoch begin)",
            ));
        }
        let kept = Witnessed::open(home, &own.checkpoint().origin)?;
        let roster = seawall_custodian::roster(fleet.policy());
        let mut candidates: Vec<SignedCheckpoint> = vec![believed_lines(home, fleet, author, own)?];
        let shown = match self {
            Self::Own(_) => &[][..],
            Self::Pulled(log) => &log.shown,
        };
        for other in kept.covering(index).chain(shown) {
            let Checkpoint { origin, size, root, .. } = other.checkpoint();
            let here = (index + 1..=own.checkpoint().size).contains(size)
                && *origin == own.checkpoint().origin
                && self.root_at(*size)? == *root;
            if !here {
                continue;
            }
            let other = believed_lines(home, fleet, author, other)?;
            match candidates.iter_mut().find(|it| it.note().text() == other.note().text()) {
                Some(same) => same.merge(&other),
                // What the log's own key has not signed nobody can ask with.
                None if lasting_signer(author, &other)?.is_none() => {}
                None => candidates.push(other),
            }
        }
        let counted = candidates.into_iter().map(|it| {
            let reached = seawall_custodian::reached(fleet, &roster, [&it]);
            (it, reached)
        });
        // Of equal ones the first: this log's own newest.
        let best =
            counted.reduce(|a, b| if b.1.operators.len() > a.1.operators.len() { b } else { a });
        Ok(best.expect("its own is one"))
    }

    /// Who stands behind entry `index` as far as this home knows: more than a request can prove, which
    /// counts only whom the policy names.
    fn reached(&self, home: &Home, fleet: &Fleet, index: u64) -> Result<Reached, HomeError> {
        let roster = home_roster(home, fleet)?;
        match self {
            Self::Own(log) => {
                let voices = Witnessed::open(home, log.origin())?.voices(&roster, log.checkpoint());
                Ok(voices.reached(fleet.policy().quorum().as_ref(), index))
            }
            Self::Pulled(log) => {
                let covering = log.vouchers().filter(|it| it.checkpoint().size > index);
                Ok(seawall_custodian::reached(fleet, &roster, covering))
            }
        }
    }
}

const NO_ENROLMENT: &str = "the log does not begin with an enrolment";

/// Writes a request for the manifest at `index` of a log whose state is `author`.
///
/// The one-time secret goes to a 0600 file of its own in the home, and nowhere else.
pub fn request(
    home: &Home,
    log: &Requestable<'_>,
    author: &LogState,
    index: u64,
    options: &RequestOptions<'_>,
    clock: &dyn Clock,
    rng: &mut dyn Rng,
) -> Result<RequestWritten, HomeError> {
    let lock = home.lock()?;
    let fleet = home.fleet()?;
    let manifest_envelope = Envelope::parse(&log.entry(index)?)?;
    let manifest = author.open_manifest(&manifest_envelope)?;
    let mut own_log = home.log_for_writing(&fleet, &lock)?;
    let mut requester = home.log_state(&fleet, &own_log)?;
    let requester_log = home.subkey(&fleet, &mut own_log, &mut requester, clock, rng)?;
    let (checkpoint, witnessed) = log.best(home, (&fleet, author), index)?;
    let known = log.reached(home, &fleet, index)?;
    check_vouched((&witnessed, log.lag()), options)?;
    let secret = OneTimeSecret::generate(rng);
    let mut nonce = [0; 32];
    rng.fill(&mut nonce);
    let (own, own_envelope) = home.enrolment(&fleet)?;
    let created = clock.now();
    let wanted = Request {
        fleet: fleet.id(),
        manifest: manifest_envelope.digest(),
        origin: checkpoint.checkpoint().origin.to_string(),
        index,
        requester: own.node(),
        one_time_key: Base64(secret.public().as_bytes().to_vec()),
        nonce: Hex32(nonce),
        created,
        expires: created.after(options.valid),
        reason: options.reason.to_owned(),
        drill: options.drill,
    };
    let glass = broken_glass(&wanted, (&witnessed, log.lag()), &requester_log)?;
    let break_glass = glass.is_some();
    let request = wanted.statement().sign(&[&requester_log])?;
    Request::open(&request, requester_log.public())?;
    if let Some(statement) = &glass {
        append(&mut own_log, &mut requester, statement)?;
        home.sign(&mut own_log, &requester_log)?;
    }
    let enrolled = author.enrolment_envelope().cloned();
    let parts = DossierParts {
        request: request.clone(),
        genesis: fleet.envelope().clone(),
        policies: fleet.policies().to_vec(),
        requester: [own_envelope, certificate(&requester, requester_log.public())?],
        author: [
            enrolled.ok_or_else(|| HomeError::refused(NO_ENROLMENT))?,
            certificate(author, signer_of(author, &manifest_envelope)?)?,
            certificate(author, checkpoint_signer(author, &checkpoint)?)?,
        ],
        manifest: manifest_envelope.clone(),
        checkpoint: String::from_utf8_lossy(&checkpoint.to_bytes()).into_owned(),
        inclusion: log.inclusion(index, checkpoint.checkpoint().size)?,
        break_glass: glass,
    };
    let digest = request.digest();
    forget_expired(home, created)?;
    let path = format!("requests/{}-{}.key", digest.to_hex(), created.after(options.valid).0);
    keys::write(home.disk().as_ref(), &path, Purpose::OneTime, &secret.to_bytes())?;
    let dossier =
        serde_json::to_string_pretty(&Dossier::new(&parts)).expect("a dossier serialises") + "\n";
    let manifest_digest = manifest_envelope.digest();
    Ok(RequestWritten { dossier, digest, manifest, manifest_digest, witnessed: known, break_glass })
}

fn check_vouched(
    (witnessed, lag): (&Reached, Option<String>),
    options: &RequestOptions<'_>,
) -> Result<(), HomeError> {
    if options.break_glass {
        return Ok(());
    }
    if let Some(lag) = lag {
        return Err(HomeError::refused(format!(
            "{lag}. Where no other copy is within reach, ask for what it still shows with --break-glass (a drill breaks none)"
        )));
    }
    if witnessed.suffices() {
        return Ok(());
    }
    Err(HomeError::refused(format!(
        "too few witnesses vouch for the snapshot's log ({witnessed}); run `seawall sync` on its node if it is there, ask again when they can be reached, or ask with --break-glass (a drill breaks none)"
    )))
}

/// What is said with a request where fewer witnesses vouch than the policy demands, or where the
/// requester has seen a newer log than the one it can show.
fn broken_glass(
    request: &Request,
    (witnessed, lag): (&Reached, Option<String>),
    requester: &SigningKey,
) -> Result<Option<Envelope>, HomeError> {
    /// Longest reason in bytes.
    const MAX_REASON: usize = 1_000;
    let is_needed = lag.is_some() || !witnessed.suffices();
    let reason = lag.map(|lag| format!("{} ({lag})", request.reason));
    let reason = reason.filter(|it| it.len() <= MAX_REASON).unwrap_or(request.reason.clone());
    let glass = is_needed.then(|| BreakGlass {
        fleet: request.fleet,
        requester: request.requester,
        manifest: request.manifest,
        origin: request.origin.clone(),
        operators: witnessed.operators.iter().cloned().collect(),
        needed: witnessed.needed.unwrap_or(0),
        reason,
        created: request.created,
    });
    Ok(glass.map(|it| it.statement().sign(&[requester])).transpose()?)
}

/// Digest and expiry in the name of a one-time secret's file.
fn parse_secret_name(name: &str) -> Option<(&str, Timestamp)> {
    let (digest, expires) = name.strip_suffix(".key")?.split_once('-')?;
    Some((digest, Timestamp(expires.parse().ok()?)))
}

/// The one-time secret of a request; `None` if it was made elsewhere or has expired.
pub(crate) fn one_time_secret(
    home: &Home,
    request: Sha256,
) -> Result<Option<OneTimeSecret>, HomeError> {
    let disk = home.disk();
    let names = disk.list("requests").map_err(HomeError::io("requests"))?;
    let wanted = request.to_hex();
    let is_it = |n: &&String| parse_secret_name(n).is_some_and(|(digest, _)| digest == wanted);
    let Some(name) = names.iter().find(is_it) else { return Ok(None) };
    let secret = keys::read(disk.as_ref(), &format!("requests/{name}"), Purpose::OneTime)?;
    Ok(secret.map(|s| OneTimeSecret::from_bytes(&s)))
}

/// Deletes the one-time secrets of requests that have expired: with their approvals, a thief of
/// this home could open again what they opened once.
pub fn forget_expired(home: &Home, now: Timestamp) -> Result<(), HomeError> {
    let disk = home.disk();
    let mut gone = false;
    for name in disk.list("requests").map_err(HomeError::io("requests"))? {
        if parse_secret_name(&name).is_some_and(|(_, expires)| expires < now) {
            let path = format!("requests/{name}");
            disk.remove(&path).map_err(HomeError::io(&path))?;
            gone = true;
        }
    }
    if gone {
        disk.sync_dir("requests").map_err(HomeError::io("requests"))?;
    }
    Ok(())
}

pub(crate) fn certificate(state: &LogState, key: VerifyingKey) -> Result<Envelope, HomeError> {
    state
        .subkey(key)
        .map(|(_, envelope)| envelope.clone())
        .ok_or_else(|| HomeError::refused("a subkey is not certified in its log"))
}

fn signer_of(state: &LogState, manifest: &Envelope) -> Result<VerifyingKey, HomeError> {
    manifest
        .signers()
        .find(|k| state.subkey(*k).is_some())
        .ok_or_else(|| HomeError::refused("the manifest is not signed by a subkey of its log"))
}

pub(crate) fn checkpoint_signer(
    state: &LogState,
    signed: &SignedCheckpoint,
) -> Result<VerifyingKey, HomeError> {
    lasting_signer(state, signed)?
        .ok_or_else(|| HomeError::refused("the checkpoint is not signed by a subkey of its log"))
}

/// Which subkey of a log signed a checkpoint; of several the one that lasted longest. A line that
/// does not verify, or one of a subkey that had ended, hides no good one: whoever mirrors a log can
/// add the first, and whoever stole an old subkey the second.
fn lasting_signer(
    state: &LogState,
    signed: &SignedCheckpoint,
) -> Result<Option<VerifyingKey>, HomeError> {
    let origin = signed.checkpoint().origin.as_str();
    let mut lasting: Option<(Timestamp, VerifyingKey)> = None;
    for key in state.all_subkeys() {
        let verifier = [Verifier::new(origin, Kind::Signer, &key)?];
        let until = state.subkey(key).map_or(Timestamp(0), |(subkey, _)| subkey.not_after);
        let lasts = lasting.is_none_or(|(last, _)| until > last);
        if lasts && !signed.note().good_lines(&verifier).is_empty() {
            lasting = Some((until, key));
        }
    }
    Ok(lasting.map(|(_, key)| key))
}

#[cfg(test)]
#[path = "../../seawall-region/tests/world/mod.rs"]
mod world;

#[cfg(test)]
mod tests {
    use seawall_record::Subkey;
    use seawall_tlog::{NoteSignature, Origin};

    use super::world::{World, key};
    use super::*;

    /// A log with a subkey that ended and one that lasts, and a checkpoint by the latter.
    fn log() -> (LogState, SignedCheckpoint) {
        let now = Timestamp(1_800_000_000);
        let world = World::new(1, now);
        let node = world.node(10, "acme");
        let origin = Origin::of_node(node.fleet.id(), node.enrolment.node(), 1);
        let mut state = LogState::new(node.fleet.clone(), origin.as_str());
        for index in 0..node.log.size() {
            state.accept(&node.log.entry(index).expect("an entry")).expect("accepted");
        }
        let ended = Subkey {
            fleet: node.fleet.id(),
            node: node.enrolment.node(),
            key: key(99).public(),
            not_before: now.before(Seconds::days(20)),
            not_after: now.before(Seconds::days(10)),
        };
        let ended = ended.statement().sign(&[&key(10)]).expect("certified");
        state.accept(&ended.to_json()).expect("accepted");
        (state, node.log.checkpoint().expect("signed").clone())
    }

    fn line(signed: &SignedCheckpoint, by: u8) -> NoteSignature {
        let origin = signed.checkpoint().origin.as_str();
        NoteSignature::sign(origin, &key(by), signed.note().text()).expect("a line")
    }

    #[test]
    fn a_line_added_on_the_way_hides_no_signer() {
        let (state, signed) = log();
        let by = checkpoint_signer(&state, &signed).expect("signed");
        assert_eq!(by, key(12).public());
        let mut bad = line(&signed, 99);
        bad.signature[0] ^= 1;
        // Bad ones under the ended subkey and under the good one's own name, and a good one of the
        // ended subkey.
        let mut twice = line(&signed, 12);
        twice.signature[0] ^= 1;
        for added in [bad, twice, line(&signed, 99)] {
            let text = format!("{}{added}", String::from_utf8(signed.to_bytes()).expect("text"));
            let shown = SignedCheckpoint::parse(text.as_bytes()).expect("parses");
            assert_eq!(checkpoint_signer(&state, &shown).expect("signed"), by, "{text}");
        }
        let mut forged = signed.clone();
        let mut only = line(&signed, 12);
        only.signature[0] ^= 1;
        forged.add(only).expect("replaced");
        checkpoint_signer(&state, &forged).expect_err("by nobody");
    }
}
