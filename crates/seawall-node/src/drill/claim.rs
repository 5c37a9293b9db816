//! What a request file says of itself, for whoever may replace it.
//!
//! It is not judged: a request that today's policies refuse, or whose time is over, is a drill's
//! request still, and one that may go. Nothing else is decided by what is read here.

use seawall_base::{Sha256, Timestamp};
use seawall_record::{Dossier, Request};
use seawall_sign::Statement;

use crate::home::HomeError;

/// A request as its file has it; nobody's signature was checked.
#[derive(Debug, Clone, Copy)]
pub struct RequestClaim {
    /// Digest of the request.
    pub request: Sha256,
    /// Whether it says that it is made for a drill.
    pub drill: bool,
    /// After this nobody answers it.
    pub expires: Timestamp,
}

/// Reads what a request file says.
pub fn read_claim(file: &[u8]) -> Result<RequestClaim, HomeError> {
    let envelope = Dossier::parse(file)?.request;
    let it = Statement::<Request>::read_unverified(&envelope)?.predicate;
    Ok(RequestClaim { request: envelope.digest(), drill: it.drill, expires: it.expires })
}
