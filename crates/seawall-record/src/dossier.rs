//! A request with all its evidence in one file, so that a custodian needs no network.

use seawall_base::Sha256;
use seawall_sign::{Envelope, Statement};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::bundle::{envelope, policies, raw};
use crate::epoch::{epoch_of, node_origin};
use crate::log_state::check_manifest;
use crate::{
    BreakGlass, Enrolment, Fleet, Hex32, Manifest, Pin, RecordError, Request, Role, Subkey,
};

/// Largest dossier in bytes of JSON.
pub const MAX_DOSSIER: usize = 4 << 20;

const WHAT: &str = "request file";

/// A restore request and everything a custodian needs to judge it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dossier {
    format: String,
    request: Box<RawValue>,
    genesis: Box<RawValue>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    policies: Vec<Box<RawValue>>,
    /// Enrolment and subkey of the requester.
    requester: [Box<RawValue>; 2],
    /// Enrolment of the node that wrote the snapshot, and the subkeys that signed the manifest
    /// and the checkpoint.
    author: [Box<RawValue>; 3],
    manifest: Box<RawValue>,
    checkpoint: String,
    inclusion: Vec<Hex32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    break_glass: Option<Box<RawValue>>,
}

/// The parts of a dossier as envelopes; nothing in it has been verified.
#[derive(Debug, Clone)]
pub struct DossierParts {
    /// The request statement.
    pub request: Envelope,
    /// The genesis statement.
    pub genesis: Envelope,
    /// The fleet's policies since, in order.
    pub policies: Vec<Envelope>,
    /// Enrolment and subkey of the requester.
    pub requester: [Envelope; 2],
    /// Enrolment of the snapshot's author, and the subkeys that signed the manifest and the
    /// checkpoint (often the same).
    pub author: [Envelope; 3],
    /// The manifest statement, exactly as it stands in the log.
    pub manifest: Envelope,
    /// A signed checkpoint of the author's log that covers the manifest (C2SP signed note).
    pub checkpoint: String,
    /// The manifest's inclusion proof under that checkpoint.
    pub inclusion: Vec<Sha256>,
    /// Why it is asked for although the policy's witnesses could not be had.
    pub break_glass: Option<Envelope>,
}

impl Dossier {
    const FORMAT: &str = "seawall-request/1";

    /// A dossier of its parts.
    pub fn new(parts: &DossierParts) -> Self {
        Self {
            format: Self::FORMAT.to_owned(),
            request: raw(&parts.request),
            genesis: raw(&parts.genesis),
            policies: parts.policies.iter().map(raw).collect(),
            requester: parts.requester.each_ref().map(raw),
            author: parts.author.each_ref().map(raw),
            manifest: raw(&parts.manifest),
            checkpoint: parts.checkpoint.clone(),
            inclusion: parts.inclusion.iter().map(|h| Hex32(h.0)).collect(),
            break_glass: parts.break_glass.as_ref().map(raw),
        }
    }

    /// Parses a dossier. Verifying it is the custodian's (and the restorer's) work.
    pub fn parse(json: &[u8]) -> Result<DossierParts, RecordError> {
        if json.len() > MAX_DOSSIER {
            return Err(RecordError::refused(WHAT, "larger than 4 MiB"));
        }
        let it: Self = serde_json::from_slice(json)
            .map_err(|e| RecordError::refused(WHAT, format!("not a {} file: {e}", Self::FORMAT)))?;
        if it.format != Self::FORMAT {
            let why = format!("format {:?} is not {}", it.format, Self::FORMAT);
            return Err(RecordError::refused(WHAT, why));
        }
        if it.inclusion.len() > 63 {
            return Err(RecordError::refused(WHAT, "an inclusion proof has at most 63 hashes"));
        }
        Ok(DossierParts {
            request: envelope("restore request", &it.request)?,
            genesis: envelope("genesis statement", &it.genesis)?,
            policies: policies(&it.policies)?,
            requester: [
                envelope("requester's enrolment", &it.requester[0])?,
                envelope("requester's subkey", &it.requester[1])?,
            ],
            author: [
                envelope("node's enrolment", &it.author[0])?,
                envelope("node's subkey", &it.author[1])?,
                envelope("node's subkey", &it.author[2])?,
            ],
            manifest: envelope("manifest", &it.manifest)?,
            checkpoint: it.checkpoint,
            inclusion: it.inclusion.iter().map(|h| Sha256(h.0)).collect(),
            break_glass: it
                .break_glass
                .as_ref()
                .map(|it| envelope("break-glass statement", it))
                .transpose()?,
        })
    }
}

/// A dossier whose statements are all signed by whom they should be.
///
/// What remains for who holds the log's proofs and a clock: the checkpoint's signature (by
/// [`VerifiedDossier::checkpoint_subkey`]), the inclusion proof, the capsule, and the expiry.
#[derive(Debug, Clone)]
pub struct VerifiedDossier {
    /// The fleet, equal to the pinned one.
    pub fleet: Fleet,
    /// The request.
    pub request: Request,
    /// Digest of the request statement.
    pub request_digest: Sha256,
    /// Who asks.
    pub requester: Enrolment,
    /// Whose snapshot it is.
    pub author: Enrolment,
    /// The subkey that signed the request.
    pub requester_subkey: Subkey,
    /// The author's subkey that must have signed the checkpoint.
    pub checkpoint_subkey: Subkey,
    /// The manifest.
    pub manifest: Manifest,
    /// Digest of the manifest statement.
    pub manifest_digest: Sha256,
    /// What the requester says where the policy's witnesses could not be had.
    pub break_glass: Option<BreakGlass>,
}

impl DossierParts {
    /// Checks every signature and every cross-reference, beginning with the fleet. Where more of
    /// the fleet's policy is known than the file shows, what is known decides.
    pub fn verify<'p>(&self, pin: impl Into<Pin<'p>>) -> Result<VerifiedDossier, RecordError> {
        let fleet = Fleet::open_chain(self.genesis.clone(), self.policies.clone(), pin)?;
        let [enrolment, subkey] = &self.requester;
        let requester = Enrolment::open(&fleet, enrolment, Role::Node)?;
        if let Some(why) = fleet.revocation(requester.node(), requester.epoch) {
            return Err(RecordError::revoked("requester", why));
        }
        let requester_subkey = Subkey::open(&requester, subkey)?;
        let request = Request::open(&self.request, requester_subkey.key)?;
        let refuse = |why: &str| Err(RecordError::refused("restore request", why));
        if request.fleet != fleet.id() || request.requester != requester.node() {
            return refuse("made in the name of another fleet or requester");
        }
        if !requester_subkey.valid_at(request.created) {
            return refuse("signed with a subkey that was not valid when it was made");
        }
        let [enrolment, subkey, checkpoint_subkey] = &self.author;
        let author = Enrolment::open(&fleet, enrolment, Role::Node)?;
        let author_subkey = Subkey::open(&author, subkey)?;
        let checkpoint_subkey = Subkey::open(&author, checkpoint_subkey)?;
        if requester.tenant != author.tenant {
            return refuse("made by a node of another tenant than the snapshot's");
        }
        let manifest = Statement::<Manifest>::open(&self.manifest, &[author_subkey.key], 1)
            .map_err(RecordError::statement("manifest"))?
            .predicate;
        check_manifest(&fleet, &author_subkey, &manifest)?;
        // Of whatever epoch: who stole a node's keys can write on in an earlier epoch's log, too.
        if let Some(why) = fleet.revocation(author.node(), author.epoch)
            && why.believed(author.epoch).is_some_and(|n| request.index >= n)
        {
            return Err(RecordError::revoked("the snapshot's node", why));
        }
        if checkpoint_subkey.not_after < manifest.core.created {
            return refuse(
                "its checkpoint is signed by a subkey that had ended before the snapshot",
            );
        }
        let manifest_digest = self.manifest.digest();
        let written_in = epoch_of(&manifest.core.origin, author.fleet, author.node());
        // A log of a later epoch has the snapshots of those before it.
        let later = written_in.is_some_and(|epoch| epoch < author.epoch)
            && request.origin == node_origin(author.fleet, author.node(), author.epoch);
        if request.manifest != manifest_digest || (request.origin != manifest.core.origin && !later)
        {
            return refuse("asks for another snapshot than the one in the file");
        }
        let request_digest = self.request.digest();
        let break_glass = self.open_break_glass(&requester_subkey, &request)?;
        Ok(VerifiedDossier {
            fleet,
            request,
            request_digest,
            requester,
            author,
            requester_subkey,
            checkpoint_subkey,
            manifest,
            manifest_digest,
            break_glass,
        })
    }

    fn open_break_glass(
        &self,
        requester: &Subkey,
        request: &Request,
    ) -> Result<Option<BreakGlass>, RecordError> {
        let Some(statement) = &self.break_glass else { return Ok(None) };
        let it = BreakGlass::open(statement, requester.key)?;
        let about = (it.fleet, it.requester, it.manifest, &it.origin);
        if about != (request.fleet, request.requester, request.manifest, &request.origin)
            || !requester.valid_at(it.created)
        {
            let why = "made for another request, or with a subkey that was not valid then";
            return Err(RecordError::refused("break-glass statement", why));
        }
        Ok(Some(it))
    }
}
