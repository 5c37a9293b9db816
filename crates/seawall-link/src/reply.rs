//! What a server answers, and the one form in which every server says no.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::{Deserialize, Serialize};

/// Content type of binary bodies.
pub const OCTETS: &str = "application/octet-stream";
/// Content type of JSON bodies.
pub const JSON: &str = "application/json";
/// Content type of C2SP's text bodies.
pub const TEXT: &str = "text/plain; charset=utf-8";

/// The body of every refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorBody {
    /// What was refused and why.
    pub error: String,
    /// What to do.
    pub remedy: String,
}

/// What goes back to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// A 200.
    pub fn new(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status: StatusCode::OK, content_type, body: body.into() }
    }

    /// A 200 in JSON. `value` holds nothing that JSON cannot say.
    pub fn json(value: &impl Serialize) -> Self {
        Self::new(JSON, serde_json::to_vec(value).expect("text and numbers serialise"))
    }

    /// The same with another status; a number that is no HTTP status becomes 500.
    #[must_use]
    pub fn with_status(self, status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, ..self }
    }

    /// A refusal: an HTTP status, why, and what to do.
    pub fn refusal(status: u16, error: String, remedy: String) -> Self {
        Self::json(&ErrorBody { error, remedy }).with_status(status)
    }

    /// As hyper wants it.
    pub fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        response
    }
}
