//! One kept-alive HTTP/1.1 connection and the small runtime that drives it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use seawall_sign::{SigningKey, VerifyingKey};
use seawall_sync::TierError;
use seawall_sync::message::MAX_JSON_BODY;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// For the TCP connection and the TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// For a whole request: a batch of 32 MiB over a slow uplink, or a region counting a large set.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(10);

/// A request, kept so that it can be sent again.
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) content_type: &'static str,
    pub(super) body: Bytes,
    /// Most bytes of the answer.
    pub(super) limit: usize,
}

/// An answer.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) is_json: bool,
    pub(super) body: Bytes,
}

/// How an attempt failed.
enum Failure {
    /// The connection was closed before the answer began: a new one may serve.
    Broken(String),
    /// Anything else.
    Final(TierError),
}

pub(super) struct Connection {
    label: String,
    address: String,
    tls: Arc<ClientConfig>,
    runtime: Runtime,
    link: Option<SendRequest<Full<Bytes>>>,
    /// Sent first on every connection.
    hello: Bytes,
}

impl Connection {
    /// Connects and says `hello` (an `enrol` body).
    pub(super) fn open(
        label: String,
        address: &str,
        region: VerifyingKey,
        own: &SigningKey,
        hello: Vec<u8>,
    ) -> Result<Self, TierError> {
        let local = |why: String| TierError::Retry { tier: label.clone(), why };
        let tls = super::tls::config(region, own).map_err(|e| local(format!("own key: {e}")))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| local(format!("starting a runtime: {e}")))?;
        let mut it = Self {
            address: address.to_owned(),
            tls: Arc::new(tls),
            runtime,
            link: None,
            hello: hello.into(),
            label,
        };
        it.ensure_link()?;
        Ok(it)
    }

    /// Sends a request; on a connection that turns out to be broken, once more on a new one.
    pub(super) fn request(&mut self, request: &Request) -> Result<Reply, TierError> {
        let fresh = self.ensure_link()?;
        match self.attempt(request) {
            Ok(reply) => Ok(reply),
            Err(Failure::Broken(_)) if !fresh => {
                self.ensure_link()?;
                self.attempt(request).map_err(|e| self.give_up(e))
            }
            Err(e) => Err(self.give_up(e)),
        }
    }

    fn give_up(&self, failure: Failure) -> TierError {
        match failure {
            Failure::Broken(why) => self.retry(why),
            Failure::Final(e) => e,
        }
    }

    fn retry(&self, why: impl Into<String>) -> TierError {
        TierError::Retry { tier: self.label.clone(), why: why.into() }
    }

    /// Connects where there is no connection; true if it did.
    fn ensure_link(&mut self) -> Result<bool, TierError> {
        if self.link.as_ref().is_some_and(|link| !link.is_closed()) {
            return Ok(false);
        }
        self.link = None;
        let dialled = self.runtime.block_on(async {
            // A timer starts in its runtime, so it is made inside.
            timeout(CONNECT_TIMEOUT, dial(&self.address, self.tls.clone())).await
        });
        let link = dialled
            .map_err(|_| self.retry("no connection within 20 seconds; is it running?"))?
            .map_err(|e| self.dial_error(&e))?;
        self.link = Some(link);
        let hello = Request {
            method: Method::POST,
            path: "/v1/enrol".to_owned(),
            content_type: "application/json",
            body: self.hello.clone(),
            limit: MAX_JSON_BODY,
        };
        let reply = self.attempt(&hello).map_err(|e| self.give_up(e))?;
        if reply.status != StatusCode::OK {
            self.link = None;
            return Err(super::refusal(&self.label, &reply));
        }
        Ok(true)
    }

    /// A key that is not the pinned one is refused for good; everything else may pass.
    fn dial_error(&self, e: &std::io::Error) -> TierError {
        let tls = e.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
        match tls {
            Some(rustls::Error::General(why)) => TierError::Refused {
                tier: self.label.clone(),
                why: format!("not trusted: {why}"),
                remedy: "nothing was sent".to_owned(),
            },
            _ => self.retry(format!("connecting: {e}; is it running, and is the address right?")),
        }
    }

    fn attempt(&mut self, request: &Request) -> Result<Reply, Failure> {
        let Some(link) = self.link.as_mut() else {
            return Err(Failure::Broken("not connected".to_owned()));
        };
        let sent = self.runtime.block_on(async {
            timeout(REQUEST_TIMEOUT, exchange(link, &self.address, request)).await
        });
        match sent {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(e)) => {
                self.link = None;
                Err(match e {
                    Exchange::Broken(e) => Failure::Broken(format!("connection lost: {e}")),
                    Exchange::TooLong => Failure::Final(TierError::Protocol {
                        tier: self.label.clone(),
                        why: format!("its answer to {} is longer than allowed", request.path),
                    }),
                })
            }
            Err(_) => {
                self.link = None;
                let why = format!("no answer to {} within 10 minutes", request.path);
                Err(Failure::Final(self.retry(why)))
            }
        }
    }
}

enum Exchange {
    Broken(String),
    TooLong,
}

async fn dial(address: &str, tls: Arc<ClientConfig>) -> std::io::Result<SendRequest<Full<Bytes>>> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    // Never sent and never checked: the key is what is pinned.
    let name = ServerName::try_from("region.invalid").expect("a valid name");
    let stream = TlsConnector::from(tls).connect(name, tcp).await?;
    let (link, connection) =
        handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
    // Ends when the link is dropped; its errors reach the request that waits.
    tokio::spawn(connection);
    Ok(link)
}

async fn exchange(
    link: &mut SendRequest<Full<Bytes>>,
    host: &str,
    request: &Request,
) -> Result<Reply, Exchange> {
    let broken = |e: hyper::Error| Exchange::Broken(e.to_string());
    link.ready().await.map_err(broken)?;
    let message = http::Request::builder()
        .method(request.method.clone())
        .uri(&request.path)
        .header(HOST, host)
        .header(CONTENT_TYPE, request.content_type)
        .body(Full::new(request.body.clone()))
        .map_err(|e| Exchange::Broken(e.to_string()))?;
    let answer = link.send_request(message).await.map_err(broken)?;
    let status = answer.status();
    let is_json = answer
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|t| t.as_bytes().starts_with(b"application/json"));
    let body = Limited::new(answer.into_body(), request.limit.max(MAX_JSON_BODY));
    match body.collect().await {
        Ok(body) => Ok(Reply { status, is_json, body: body.to_bytes() }),
        Err(e) if e.is::<http_body_util::LengthLimitError>() => Err(Exchange::TooLong),
        Err(e) => Err(Exchange::Broken(e.to_string())),
    }
}
