//! Post-quantum shares given on to other custodians.
//!
//! A TDH2 group is re-shared once for all snapshots. Post-quantum shares belong to one snapshot
//! each, so each is dealt again: a custodian opens its share of a dealing and deals *that* to the
//! custodians who come after it. Shares of enough such dealings recover enough shares of the
//! first. Nobody combines anything before an opening, so no fixed quorum of leavers is needed and
//! whoever dealt wrongly is named: a dealing is recomputed from its secret, see
//! [`crate::dealing`].
//!
//! Custodians change rarely. Rejected was combining sub-shares into one (as TDH2's re-sharing
//! does): all newcomers must then agree on the same quorum of leavers, and a wrong sub-share
//! spoils the sum without a name.

use seawall_base::wire::{Reader, Writer};

use crate::dealing::{Context, Dealing, DealingError, PqShare, Recipients};
use crate::kem::KemSecret;

const CONTEXT: &str = "seawall 2026-11 pq hand-over v1";

/// One share of one dealing, dealt again: public bytes that prove nothing yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandOver {
    parent: [u8; 32],
    dealer: u16,
    dealing: Dealing,
}

impl HandOver {
    /// Deals a share to those who come after its custodian. The same share and recipients give
    /// the same hand-over.
    pub fn make(share: &PqShare, recipients: &Recipients) -> Self {
        let (parent, dealer) = (*share.dealing(), share.index());
        let dealing = Dealing::deal(share.value(), &context(&parent, dealer), recipients);
        Self { parent, dealer, dealing }
    }

    /// Decodes one hand-over and nothing after it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DealingError> {
        let mut r = Reader::new(bytes);
        let (parent, dealer) = (r.array()?, r.u16()?);
        if dealer == 0 {
            return Err(r.invalid("dealer's index").into());
        }
        let dealing = Dealing::decode(r.take(r.remaining())?)?;
        Ok(Self { parent, dealer, dealing })
    }

    /// The hand-over's bytes; [`HandOver::decode`] accepts these and no others for it.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.raw(&self.parent).u16(self.dealer).raw(&self.dealing.encode());
        w.into_vec()
    }

    /// The dealing whose share is given on.
    pub const fn parent(&self) -> &[u8; 32] {
        &self.parent
    }

    /// Whose share is given on: the custodian's index in that dealing.
    pub const fn dealer(&self) -> u16 {
        self.dealer
    }

    /// What names this hand-over: what its dealer signs, and what shares of it carry.
    pub fn digest(&self) -> [u8; 32] {
        self.dealing.digest(&self.context())
    }

    /// Checks that it is for these custodians, with their threshold.
    pub fn check(self, recipients: &Recipients) -> Result<CheckedHandOver, DealingError> {
        if !self.dealing.is_for(recipients) {
            return Err(DealingError::Recipients);
        }
        Ok(CheckedHandOver { hand_over: self, recipients: recipients.clone() })
    }

    fn context(&self) -> Context {
        context(&self.parent, self.dealer)
    }
}

/// A hand-over that is for the custodians it should be for. That it deals what its dealer has is
/// seen when it is opened.
#[derive(Debug, Clone)]
pub struct CheckedHandOver {
    hand_over: HandOver,
    recipients: Recipients,
}

impl CheckedHandOver {
    /// The hand-over.
    pub const fn hand_over(&self) -> &HandOver {
        &self.hand_over
    }

    /// Takes the newcomer `index`'s share out and checks it against its commitment.
    pub fn open_share(&self, index: u16, key: &KemSecret) -> Result<PqShare, DealingError> {
        self.hand_over.dealing.open(&self.hand_over.context(), index, key)
    }

    /// Takes the share out that one of `keys` opens, whatever its index.
    pub fn open_own_share(&self, keys: &[KemSecret]) -> Option<PqShare> {
        let mut indices = self.recipients.keys().iter().map(|(index, _)| *index);
        indices.find_map(|index| keys.iter().find_map(|key| self.open_share(index, key).ok()))
    }

    pub(crate) fn parts(&self) -> (&Dealing, Context, &Recipients) {
        (&self.hand_over.dealing, self.hand_over.context(), &self.recipients)
    }
}

fn context(parent: &[u8; 32], dealer: u16) -> Context {
    let mut input = [0; 34];
    input[..32].copy_from_slice(parent);
    input[32..].copy_from_slice(&dealer.to_le_bytes());
    Context::of_place(blake3::derive_key(CONTEXT, &input))
}
