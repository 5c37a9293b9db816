//! One kept-alive HTTP/1.1 connection to a pinned key, and the small runtime that drives it.
//!
//! One request at a time. A connection found broken is made anew once, so whatever is asked here
//! must be safe to ask twice. Longer outages are the caller's. Blocking, with a runtime inside:
//! not to be called from asynchronous code.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use seawall_sign::{SigningKey, VerifyingKey};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::tls::{self, ChannelBinding};

/// Largest refusal in bytes, whatever the limit of the answer asked for.
const MAX_REFUSAL: usize = 4_096;

/// How long a peer may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For the TCP connection and the TLS handshake.
    pub connect: Duration,
    /// For a whole request.
    pub request: Duration,
}

impl Default for Patience {
    /// Ten minutes a request: 32 MiB over a slow uplink, or a server counting a large set.
    fn default() -> Self {
        Self { connect: Duration::from_secs(20), request: Duration::from_mins(10) }
    }
}

/// A request, kept so that it can be sent again.
#[derive(Debug, Clone)]
pub struct Message {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// The body's `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
    /// Most bytes of the answer.
    pub limit: usize,
}

/// An answer, of whatever status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// Whether the body says to be JSON.
    pub is_json: bool,
    /// The body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// It may be different later.
    #[error("{0}")]
    Retry(String),
    /// The peer is not who it should be. Nothing was sent.
    #[error("not trusted: {0}")]
    NotTrusted(String),
    /// The peer breaks the protocol.
    #[error("{0}")]
    Protocol(String),
    /// The greeting of a new connection was answered with something else than 200.
    #[error("the greeting was answered with status {}", .0.status)]
    Unwelcome(Answer),
}

/// How an attempt failed.
enum Failure {
    /// The connection was closed before the answer began: a new one may serve.
    Broken(String),
    /// Anything else.
    Final(LinkError),
}

impl From<Failure> for LinkError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Broken(why) => Self::Retry(why),
            Failure::Final(e) => e,
        }
    }
}

/// Headers that a request bears on the connection it names, made anew for every attempt.
pub type Proof<'p> = &'p mut dyn FnMut(&ChannelBinding) -> Vec<(HeaderName, HeaderValue)>;

/// A connection with its name.
struct Link {
    sender: SendRequest<Full<Bytes>>,
    binding: ChannelBinding,
}

/// A connection to one peer, made again where it breaks.
pub struct Connection {
    address: String,
    tls: Arc<ClientConfig>,
    runtime: Runtime,
    patience: Patience,
    link: Option<Link>,
    /// Sent first on every connection.
    greeting: Option<Message>,
}

impl Connection {
    /// Connects to `address` (`HOST:PORT`), where `pinned` must be held, as the holder of `own`.
    /// A `greeting` is sent first on every new connection and must be answered with 200.
    pub fn open(
        address: &str,
        pinned: VerifyingKey,
        own: &SigningKey,
        patience: Patience,
        greeting: Option<Message>,
    ) -> Result<Self, LinkError> {
        let tls =
            tls::client(pinned, own).map_err(|e| LinkError::Retry(format!("own key: {e}")))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| LinkError::Retry(format!("starting a runtime: {e}")))?;
        let (address, tls) = (address.to_owned(), Arc::new(tls));
        let mut it = Self { address, tls, runtime, patience, link: None, greeting };
        it.ensure_link()?;
        Ok(it)
    }

    /// Sends a request; on a connection that turns out to be broken, once more on a new one.
    pub fn request(&mut self, message: &Message) -> Result<Answer, LinkError> {
        self.request_with(message, &mut |_| Vec::new())
    }

    /// [`Connection::request`] with headers for the very connection the request goes out on.
    pub fn request_with(
        &mut self,
        message: &Message,
        proof: Proof<'_>,
    ) -> Result<Answer, LinkError> {
        let fresh = self.ensure_link()?;
        match self.attempt(message, proof) {
            Err(Failure::Broken(_)) if !fresh => {
                self.ensure_link()?;
                Ok(self.attempt(message, proof)?)
            }
            answer => Ok(answer?),
        }
    }

    /// Connects where there is no connection; true if it did.
    fn ensure_link(&mut self) -> Result<bool, LinkError> {
        if self.link.as_ref().is_some_and(|link| !link.sender.is_closed()) {
            return Ok(false);
        }
        self.link = None;
        let dialled = self.runtime.block_on(async {
            // A timer starts in its runtime, so it is made inside.
            timeout(self.patience.connect, dial(&self.address, self.tls.clone())).await
        });
        let seconds = self.patience.connect.as_secs();
        let link = dialled
            .map_err(|_| {
                LinkError::Retry(format!("no connection within {seconds} seconds; is it running?"))
            })?
            .map_err(|e| dial_error(&e))?;
        self.link = Some(link);
        if let Some(greeting) = self.greeting.clone() {
            let answer = self.attempt(&greeting, &mut |_| Vec::new())?;
            if answer.status != StatusCode::OK {
                self.link = None;
                return Err(LinkError::Unwelcome(answer));
            }
        }
        Ok(true)
    }

    fn attempt(&mut self, message: &Message, proof: Proof<'_>) -> Result<Answer, Failure> {
        let Some(link) = self.link.as_mut() else {
            return Err(Failure::Broken("not connected".to_owned()));
        };
        let headers = proof(&link.binding);
        let allowed = self.patience.request;
        let sent = self.runtime.block_on(async {
            timeout(allowed, exchange(&mut link.sender, &self.address, message, headers)).await
        });
        let path = &message.path;
        let failure = match sent {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(Exchange::Broken(e))) => Failure::Broken(format!("connection lost: {e}")),
            Ok(Err(Exchange::TooLong)) => Failure::Final(LinkError::Protocol(format!(
                "its answer to {path} is longer than allowed"
            ))),
            Err(_) => Failure::Final(LinkError::Retry(format!(
                "no answer to {path} within {} seconds",
                allowed.as_secs()
            ))),
        };
        self.link = None;
        Err(failure)
    }
}

/// A key that is not the pinned one is refused for good; everything else may pass.
fn dial_error(e: &std::io::Error) -> LinkError {
    match e.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::General(why)) => LinkError::NotTrusted(why.clone()),
        _ => LinkError::Retry(format!("connecting: {e}; is it running, and is the address right?")),
    }
}

enum Exchange {
    Broken(String),
    TooLong,
}

async fn dial(address: &str, tls: Arc<ClientConfig>) -> std::io::Result<Link> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    // Never sent and never checked: the key is what is pinned.
    let name = ServerName::try_from("peer.invalid").expect("a valid name");
    let stream = TlsConnector::from(tls).connect(name, tcp).await?;
    let binding = ChannelBinding::of(stream.get_ref().1).map_err(std::io::Error::other)?;
    let (sender, connection) =
        handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
    // Ends when the link is dropped; its errors reach the request that waits.
    tokio::spawn(connection);
    Ok(Link { sender, binding })
}

async fn exchange(
    link: &mut SendRequest<Full<Bytes>>,
    host: &str,
    message: &Message,
    headers: Vec<(HeaderName, HeaderValue)>,
) -> Result<Answer, Exchange> {
    let broken = |e: hyper::Error| Exchange::Broken(e.to_string());
    link.ready().await.map_err(broken)?;
    let mut request = http::Request::builder()
        .method(message.method.clone())
        .uri(&message.path)
        .header(HOST, host)
        .header(CONTENT_TYPE, message.content_type)
        .body(Full::new(message.body.clone()))
        .map_err(|e| Exchange::Broken(e.to_string()))?;
    request.headers_mut().extend(headers);
    let answer = link.send_request(request).await.map_err(broken)?;
    let status = answer.status();
    let is_json = answer
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|t| t.as_bytes().starts_with(b"application/json"));
    let body = Limited::new(answer.into_body(), message.limit.max(MAX_REFUSAL));
    match body.collect().await {
        Ok(body) => Ok(Answer { status, is_json, body: body.to_bytes() }),
        Err(e) if e.is::<http_body_util::LengthLimitError>() => Err(Exchange::TooLong),
        Err(e) => Err(Exchange::Broken(e.to_string())),
    }
}
