//! The tokens a client holds, and the proofs it makes with them.
//!
//! One token for each operation, good for one connection. The time in a proof counts on from the
//! moment of issue by the region's clock, so a node's clock need not be right. A number is never
//! used twice: it rises before the request goes out, whatever becomes of the request. Where a region
//! delegated the issuing to this node, it signs its tokens itself, until one of them is refused.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, Method};
use seawall_base::{Clock as _, FleetId, Rng as _, Seconds, Sha256, Timestamp};
use seawall_host::{OsRng, SystemClock};
use seawall_link::{Answer as Reply, ChannelBinding, Connection, JSON, LinkError, Message};
use seawall_record::Delegation;
use seawall_sign::possession::{Call, Proof};
use seawall_sign::token::{About, Claims, Operation};
use seawall_sign::{SigningKey, VerifyingKey};
use seawall_sync::message::{
    DELEGATION_HEADER, MAX_JSON_BODY, PROOF_HEADER, ShownDelegation, TOKEN_HEADER, TOKEN_SCHEME,
    TokenAnswer, TokenRequest,
};

/// The right to sign tokens oneself.
pub struct Issuer {
    key: SigningKey,
    fleet: FleetId,
    /// Each with the header that shows it.
    delegations: Vec<(Delegation, String)>,
}

/// How long tokens of this node's own issue live.
const OWN_LIFE: Seconds = Seconds(10 * 60);

impl Issuer {
    /// One that may issue nothing yet.
    pub(crate) const fn new(key: SigningKey, fleet: FleetId) -> Self {
        Self { key, fleet, delegations: Vec::new() }
    }

    /// Adds a delegation that was checked. It is of use only if it names this key.
    pub(crate) fn add(&mut self, delegation: Delegation, shown: &ShownDelegation) {
        if delegation.key == self.key.public() {
            self.delegations.push((delegation, shown.to_header()));
        }
    }

    /// A delegation under which a token for `operation` may be issued at `now`.
    fn covering(&self, operation: Operation, now: Timestamp) -> Option<&(Delegation, String)> {
        self.delegations.iter().find(|(it, _)| it.covers(operation, now, now.after(OWN_LIFE)))
    }

    fn issue(
        &self,
        operation: Operation,
        caller: VerifyingKey,
        binding: ChannelBinding,
    ) -> Option<Held> {
        let now = SystemClock.now();
        let (delegation, shown) = self.covering(operation, now)?;
        let claims = Claims {
            fleet: self.fleet,
            issuer: delegation.node,
            operation,
            node: delegation.node,
            about: About::session(&binding.0),
            caller,
            issued: now,
            not_before: now,
            expires: now.after(OWN_LIFE),
            id: OsRng.array(),
        };
        let token = claims.mint(&self.key);
        Some(Held::new(token, Some(shown.clone()), binding, now, OWN_LIFE))
    }
}

/// A token and its use so far.
struct Held {
    token: String,
    /// What makes a token of this node's own issue believed.
    delegation: Option<String>,
    /// The connection it is for.
    binding: ChannelBinding,
    /// When it was issued, by its issuer's clock and by this process's.
    issued: (Timestamp, Instant),
    /// How long it is used: three quarters of its life.
    fresh: Duration,
    next: u64,
}

/// What a client shows with its requests.
pub(super) struct Wallet {
    key: SigningKey,
    held: BTreeMap<Operation, Held>,
    issuer: Option<Issuer>,
}

/// The answer to a request for a token, and the connection it was asked on.
pub(super) struct Asked {
    pub(super) reply: Reply,
    pub(super) binding: Option<ChannelBinding>,
}

impl Wallet {
    /// An empty one of the holder of `key`.
    pub(super) fn new(key: &SigningKey, issuer: Option<Issuer>) -> Self {
        Self { key: SigningKey::from_seed(&key.seed()), held: BTreeMap::new(), issuer }
    }

    /// Whether a token for `operation` is there and will hold for a while, or can be made.
    pub(super) fn holds(&self, operation: Operation) -> bool {
        let now = SystemClock.now();
        let can_issue = |issuer: &Issuer| issuer.covering(operation, now).is_some();
        self.held.get(&operation).is_some_and(Held::is_fresh)
            || self.issuer.as_ref().is_some_and(can_issue)
    }

    /// Drops a token. After a refusal of one of its own, the node asks for what it needs.
    pub(super) fn forget(&mut self, operation: Operation, refused: bool) {
        let held = self.held.remove(&operation);
        if refused && held.is_some_and(|held| held.delegation.is_some()) {
            self.issuer = None;
        }
    }

    /// Asks for a token, for the statement it is to carry or else for this connection.
    pub(super) fn ask(
        connection: &mut Connection,
        operation: Operation,
        statement: Option<Sha256>,
    ) -> Result<Asked, LinkError> {
        let nonce = hex::encode(OsRng.array::<16>());
        let request = TokenRequest { operation, statement, nonce };
        let message = Message {
            method: Method::POST,
            path: "/v1/token".to_owned(),
            content_type: JSON,
            body: serde_json::to_vec(&request).expect("text serialises").into(),
            limit: MAX_JSON_BODY,
        };
        let mut binding = None;
        let reply = connection.request_with(&message, &mut |on| {
            binding = Some(*on);
            Vec::new()
        })?;
        Ok(Asked { reply, binding })
    }

    /// Keeps a token for the connection it was asked on.
    pub(super) fn keep(
        &mut self,
        operation: Operation,
        answer: TokenAnswer,
        binding: ChannelBinding,
    ) {
        let life = Seconds(answer.expires.0.saturating_sub(answer.now.0));
        let held = Held::new(answer.token, None, binding, answer.now, life);
        self.held.insert(operation, held);
    }

    /// Sends a request with its token and proof. True if the connection turned out to be another
    /// than the token is for: it went out bare, and the region refuses it.
    pub(super) fn send(
        &mut self,
        connection: &mut Connection,
        operation: Operation,
        message: &Message,
        covered: &[u8; 32],
    ) -> (Result<Reply, LinkError>, bool) {
        let (key, issuer, held) = (&self.key, self.issuer.as_ref(), &mut self.held);
        let mut moved = false;
        let sent = connection.request_with(message, &mut |on| {
            let usable = held.get(&operation).is_some_and(|h| h.binding == *on && h.is_fresh());
            if !usable && let Some(own) = issuer.and_then(|i| i.issue(operation, key.public(), *on))
            {
                held.insert(operation, own);
            }
            if let Some(held) = held.get_mut(&operation).filter(|held| held.binding == *on) {
                return held.show(key, message, covered);
            }
            moved = true;
            Vec::new()
        });
        (sent, moved)
    }
}

impl Held {
    fn new(
        token: String,
        delegation: Option<String>,
        binding: ChannelBinding,
        issued: Timestamp,
        life: Seconds,
    ) -> Self {
        let fresh = Duration::from_secs(life.0 / 4 * 3);
        Self { token, delegation, binding, issued: (issued, Instant::now()), fresh, next: 0 }
    }

    fn is_fresh(&self) -> bool {
        self.issued.1.elapsed() < self.fresh
    }

    fn show(
        &mut self,
        key: &SigningKey,
        message: &Message,
        covered: &[u8; 32],
    ) -> Vec<(HeaderName, HeaderValue)> {
        let call = Call {
            method: message.method.as_str(),
            path: &message.path,
            body: covered,
            binding: &self.binding.0,
            token: &self.token,
        };
        let (by_issuer, here) = self.issued;
        let time = by_issuer.after(Seconds(here.elapsed().as_secs()));
        let proof = Proof::make(key, &call, self.next, time).to_text();
        self.next += 1;
        let mut shown =
            vec![(TOKEN_HEADER, format!("{TOKEN_SCHEME}{}", self.token)), (PROOF_HEADER, proof)];
        shown.extend(self.delegation.clone().map(|header| (DELEGATION_HEADER, header)));
        // A token that is no header's text is left out, and refused for its absence.
        let header = |(name, value): (&'static str, String)| {
            Some((HeaderName::from_static(name), HeaderValue::from_str(&value).ok()?))
        };
        shown.into_iter().filter_map(header).collect()
    }
}
