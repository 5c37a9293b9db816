//! Tokens at a region: issued to members, checked with every call, deny by default.
//!
//! A call is let through in two steps. When its head has arrived, [`Region::admit`] finds its row
//! in the table of rights and checks the token against it: nobody sends a body who may not. When
//! the body is there, [`Pending::confirm`] checks the proof of possession over it and uses up the
//! proof's number, durably, before anything is done. Only that gives the [`Admitted`] by which the
//! routes reach the region.
//!
//! The key that signs is derived from the identity key, so a home from before there were tokens
//! has it, and whoever has the home has no more than before. A token never decides: what a
//! statement has to authorise is checked where it is done.

use std::sync::Arc;

use seawall_base::{FleetId, NodeId, Seconds, Sha256, Timestamp};
use seawall_link::Session;
use seawall_record::{Delegation, Enrolment, Role};
use seawall_sign::possession::{self, Proof};
use seawall_sign::token::{About, Claims, Expected, Operation, Token, TokenId};
use seawall_sign::{Envelope, SigningKey, VerifyingKey};
use seawall_sync::message::{DelegationRequest, ShownDelegation, TokenAnswer, TokenRequest};
use seawall_sync::rights::{Call, Right, Scope, right, right_to};

use crate::region::UNPOISONED;
use crate::{Member, Refusal, Region};

pub(crate) mod ledger;

use ledger::{Known, Source};

/// How long a token lives: long enough for the largest body over a slow uplink.
const LIFE: Seconds = Seconds(10 * 60);

/// How long a delegation lasts: a region may be away over a weekend.
const DELEGATION: Seconds = Seconds::days(3);

/// The key that signs a region's tokens.
pub(crate) fn token_key(identity: &SigningKey) -> SigningKey {
    let mut seed = zeroize::Zeroizing::new([0; 32]);
    let mut hasher = blake3::Hasher::new_derive_key("seawall 2026-11 region token key v1");
    hasher.update(&*identity.seed()).finalize_xof().fill(&mut *seed);
    SigningKey::from_seed(&seed)
}

/// The head of a call, as far as tokens are concerned.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// The token, if it bears one.
    pub token: Option<&'a str>,
    /// The proof of possession, if it bears one.
    pub proof: Option<&'a str>,
    /// The delegation that stands behind the token, if it bears one.
    pub delegation: Option<&'a str>,
}

/// A call whose token was checked and whose body has yet to come.
#[derive(Debug)]
pub struct Pending {
    right: &'static Right,
    call: &'static Call,
    member: Arc<Member>,
    session: Session,
    path: String,
    token: String,
    claims: Claims,
    source: Source,
    proof: Proof,
}

/// A call that may be done: its token, its proof and its body belong together.
#[derive(Debug)]
pub struct Admitted {
    member: Arc<Member>,
    operation: Operation,
}

impl Admitted {
    /// Who calls.
    pub const fn member(&self) -> &Arc<Member> {
        &self.member
    }

    /// What for.
    pub const fn operation(&self) -> Operation {
        self.operation
    }
}

/// A token or proof that does not let a call through. 401: another one may, so a client gets a new
/// token and tries once more.
fn unproven(why: impl std::fmt::Display) -> Refusal {
    let remedy = "ask this region for another token; if it goes on, compare both clocks, and \
                  update seawall on this machine";
    Refusal::new(401, why.to_string(), remedy)
}

fn not_here() -> Refusal {
    Refusal::not_found("no such path")
}

impl Region {
    /// Issues a token to the peer of a connection.
    pub fn issue(&self, session: &Session, body: &[u8]) -> Result<TokenAnswer, Refusal> {
        let member = self.standing_member(&session.peer)?;
        let asked: TokenRequest = parse(body)?;
        let mut id = TokenId::default();
        if asked.nonce.len() != 32 || hex::decode_to_slice(&asked.nonce, &mut id).is_err() {
            let why = "the nonce of a token request is not 32 hexadecimal digits";
            return Err(Refusal::new(400, why, "use a matching version of seawall"));
        }
        let right = right(asked.operation);
        let about = match (right.scope, asked.statement) {
            _ if right.calls.is_empty() => None,
            (Scope::Session, None) => Some(About::session(&session.binding.0)),
            (Scope::Statement, Some(digest)) => Some(About::Statement(digest)),
            _ => None,
        };
        let about = about.ok_or_else(|| {
            let why = format!("no {} token for that", asked.operation);
            Refusal::forbidden(why, "see the table of who may do what in the manual")
        })?;
        let now = self.clock.now();
        let claims = Claims {
            fleet: member.fleet.id(),
            issuer: self.keys.identity.public().node_id(),
            operation: asked.operation,
            node: member.enrolment.node(),
            about,
            caller: session.peer,
            issued: now,
            not_before: now,
            expires: now.after(LIFE),
            id,
        };
        let token = claims.mint(&self.keys.token);
        let known = known(member.fleet.id(), &token, &claims, Source::Here);
        self.tokens.lock().expect(UNPOISONED).issue(known, now)?;
        Ok(TokenAnswer { token, now, expires: claims.expires })
    }

    /// Signs that a member may issue tokens itself, for its tenant and for some days.
    pub fn delegate(&self, member: &Member, body: &[u8]) -> Result<Envelope, Refusal> {
        let asked: DelegationRequest = parse(body)?;
        let now = self.clock.now();
        let tenant = member.enrolment.tenant.clone().ok_or_else(|| {
            Refusal::forbidden("only a node of a tenant issues tokens", "enrol the node again")
        })?;
        let delegation = Delegation {
            fleet: member.fleet.id(),
            region: self.keys.identity.public().node_id(),
            node: member.enrolment.node(),
            epoch: member.enrolment.epoch,
            tenant,
            key: asked.key,
            operations: seawall_record::Delegable::ALL.to_vec(),
            not_before: now,
            not_after: now.after(DELEGATION),
        };
        tracing::info!(node = %delegation.node, until = %delegation.not_after, "delegated");
        delegation.statement().sign(&[&self.keys.identity]).map_err(|e| Refusal::internal(&e))
    }

    /// The member behind a key, if it is one still.
    pub(crate) fn standing_member(&self, peer: &VerifyingKey) -> Result<Arc<Member>, Refusal> {
        self.member(peer).ok_or_else(|| {
            Refusal::forbidden(
                "not an enrolled member",
                "enrol first: the node's enrolment bundle comes from the fleet's operator",
            )
        })
    }

    /// Checks the head of a call: a row in the table of rights, and a token for it.
    pub fn admit(&self, session: &Session, head: &Head<'_>) -> Result<Pending, Refusal> {
        let member = self.standing_member(&session.peer)?;
        let (right, call) = right_to(head.method, head.path).ok_or_else(not_here)?;
        let text =
            head.token.ok_or_else(|| unproven("this region takes no call without a token"))?;
        let token = Token::parse(text).map_err(unproven)?;
        let proof = head.proof.ok_or_else(|| unproven("no proof of possession for the token"))?;
        let proof = Proof::parse(proof).map_err(unproven)?;
        let now = self.clock.now();
        let (key, issuer, source) = self.issuer(&member, &token, head.delegation, now)?;
        let about = match right.scope {
            Scope::Session => About::session(&session.binding.0),
            // Which statement is known once the body is here.
            Scope::Statement => token.unverified().about,
        };
        let expected = Expected {
            fleet: member.fleet.id(),
            issuer,
            operation: right.operation,
            node: member.enrolment.node(),
            about,
            caller: session.peer,
            now,
        };
        let claims = token.verify(&key, &expected).map_err(unproven)?.clone();
        if source == Source::Here {
            let digest = Sha256::of(text.as_bytes());
            if !self.tokens.lock().expect(UNPOISONED).is_live(&digest) {
                return Err(unproven(ledger::Unusable::Unknown));
            }
        }
        if !proof.is_of(now) {
            let why = format!("the proof is of {}, and it is {now} here", proof.time);
            return Err(unproven(why));
        }
        let (path, token) = (head.path.to_owned(), text.to_owned());
        Ok(Pending { right, call, member, session: *session, path, token, claims, source, proof })
    }

    /// The key and the issuer a token must have: this region, or whoever it or another region of
    /// the fleet delegated to.
    fn issuer(
        &self,
        member: &Member,
        token: &Token,
        shown: Option<&str>,
        now: Timestamp,
    ) -> Result<(VerifyingKey, NodeId, Source), Refusal> {
        let Some(shown) = shown else {
            let own = &self.keys;
            return Ok((own.token.public(), own.identity.public().node_id(), Source::Here));
        };
        let (region, envelope) = ShownDelegation::parse(shown).map_err(unproven)?;
        let region = Enrolment::open(&member.fleet, &region, Role::Region).map_err(unproven)?;
        let delegation = Delegation::open(&region, &envelope).map_err(unproven)?;
        let claims = token.unverified();
        if delegation.fleet != member.fleet.id()
            || Some(&delegation.tenant) != member.enrolment.tenant.as_ref()
        {
            return Err(unproven("the delegation is for another tenant or fleet"));
        }
        if member.fleet.is_revoked(delegation.node, delegation.epoch) {
            return Err(unproven("the node that issued the token was revoked"));
        }
        if !right(claims.operation).delegable
            || !delegation.covers(claims.operation, now, claims.expires)
        {
            let why = format!("the delegation does not cover {} tokens now", claims.operation);
            return Err(unproven(why));
        }
        Ok((delegation.key, delegation.node, Source::Delegated))
    }
}

impl Pending {
    /// Checks the proof over the body and uses up its number. What it gives is durable.
    pub fn confirm(self, region: &Region, body: &[u8]) -> Result<Admitted, Refusal> {
        let covered = self.call.covered.digest(body)?;
        if self.right.scope == Scope::Statement {
            let shown = Envelope::parse(body).map(|it| About::Statement(it.digest()));
            if shown != Ok(self.claims.about) {
                return Err(unproven("the token is for another statement than the body holds"));
            }
        }
        let call = possession::Call {
            method: self.call.method,
            path: &self.path,
            body: &covered,
            binding: &self.session.binding.0,
            token: &self.token,
        };
        self.proof.verify(&self.claims.caller, &call).map_err(|_| {
            unproven("the proof of possession is not of this request on this connection")
        })?;
        let fleet = self.member.fleet.id();
        let known = known(fleet, &self.token, &self.claims, self.source);
        let now = region.clock.now();
        let taken = region.tokens.lock().expect(UNPOISONED).take(known, self.proof.number, now)?;
        taken.map_err(unproven)?;
        Ok(Admitted { member: self.member, operation: self.right.operation })
    }
}

/// Whose a token counts as. By node alone another fleet could enrol the same public identity key
/// with a transport key of its own, and push the node's tokens out.
fn holder(fleet: FleetId, node: NodeId) -> NodeId {
    NodeId(Sha256::of(&[fleet.0, node.0].concat()).0)
}

fn known(fleet: FleetId, token: &str, claims: &Claims, source: Source) -> Known {
    let (holder, expires) = (holder(fleet, claims.node), claims.expires);
    Known { digest: Sha256::of(token.as_bytes()), holder, expires, source }
}

fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|e| {
        Refusal::new(400, format!("malformed request: {e}"), "use a matching version of seawall")
    })
}
