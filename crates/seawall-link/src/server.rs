//! The listening side: connections in, requests to a [`Handler`], an orderly end.
//!
//! Who may be connected: [`places`].
//!
//! Shutdown: no new connection is taken and each open one finishes the request it is at. Nothing
//! may depend on it: what a handler acknowledges is durable before it answers.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use seawall_sign::{SigningKey, VerifyingKey};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::places::{Place, Places};
use crate::raw_key;
use crate::stall::Unstalled;
use crate::tls::{self, ChannelBinding};

/// Connections at one time.
const MAX_CONNECTIONS: usize = 512;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a peer may read nothing of an answer.
const STALL_TIMEOUT: Duration = Duration::from_mins(1);

/// From the end of one request to the head of the next.
const IDLE_TIMEOUT: Duration = Duration::from_mins(2);

/// How long open requests may take after the shutdown began.
const GRACE: Duration = Duration::from_secs(30);

/// Why a server could not be started, or ended badly.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub struct ServeError {
    /// What was attempted, on what.
    pub what: String,
    /// What the system said.
    pub source: io::Error,
}

impl ServeError {
    /// What failed, for `map_err`.
    pub fn of(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self { what, source }
    }
}

/// Who is at the other end of a connection, and which connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// The key the peer proved in the handshake.
    pub peer: VerifyingKey,
    /// The name of the connection.
    pub binding: ChannelBinding,
}

/// What answers the requests that come over a server's connections.
pub trait Handler: Send + Sync + 'static {
    /// Whether `peer` is one of those this server is for. Only so many others are let in at once.
    fn is_known(&self, peer: &VerifyingKey) -> bool;

    /// Answers one request.
    fn serve(
        self: Arc<Self>,
        session: Session,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send;
}

fn acceptor(own: &SigningKey) -> Result<TlsAcceptor, ServeError> {
    let config = tls::server(own).map_err(io::Error::other).map_err(ServeError::of("own key"))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves on a bound listener until `shutdown` turns true (or its sender is gone), then ends in
/// order.
async fn serve<H: Handler>(
    handler: Arc<H>,
    acceptor: TlsAcceptor,
    listener: TcpListener,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    listener.set_nonblocking(true).map_err(ServeError::of("listening"))?;
    let listener =
        tokio::net::TcpListener::from_std(listener).map_err(ServeError::of("listening"))?;
    let places = Arc::new(Places::default());
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let permit = room.clone().acquire_owned().await.expect("the semaphore is never closed");
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ended(&mut shutdown) => break,
        };
        match accepted {
            Ok((tcp, from)) => {
                let (handler, acceptor, shutdown) =
                    (handler.clone(), acceptor.clone(), shutdown.clone());
                let places = places.clone();
                connections.spawn(async move {
                    converse(handler, acceptor, &places, tcp, from, shutdown).await;
                    drop(permit);
                });
            }
            // Out of file descriptors, for example: waiting is all that helps.
            Err(e) => {
                tracing::warn!(error = %e, "accepting a connection failed");
                sleep(Duration::from_millis(200)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let drain = async { while connections.join_next().await.is_some() {} };
    if timeout(GRACE, drain).await.is_err() {
        tracing::warn!("requests were still open 30 seconds after the shutdown began");
    }
    connections.shutdown().await;
    Ok(())
}

/// Ends when the shutdown has begun.
async fn ended(shutdown: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a shutdown too.
    let _ = shutdown.wait_for(|begun| *begun).await;
}

async fn converse<H: Handler>(
    handler: Arc<H>,
    acceptor: TlsAcceptor,
    places: &Arc<Places>,
    tcp: TcpStream,
    from: SocketAddr,
    shutdown: watch::Receiver<bool>,
) {
    let handshake = async {
        tcp.set_nodelay(true)?;
        acceptor.accept(Unstalled::new(tcp, STALL_TIMEOUT)).await
    };
    let stream = match timeout(HANDSHAKE_TIMEOUT, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(e)) => {
            tracing::info!(%from, error = %e, "handshake failed");
            return;
        }
        Err(_) => {
            tracing::info!(%from, "handshake did not finish in time");
            return;
        }
    };
    let Some(session) = session(&stream) else {
        tracing::info!(%from, "no raw public key shown");
        return;
    };
    let Some(place) = places.take(session.peer, handler.is_known(&session.peer)) else {
        tracing::info!(%from, peer = %session.peer, "too many connections of one key");
        return;
    };
    if let Err(e) = answer(handler, stream, session, Arc::new(place), shutdown).await {
        tracing::debug!(%from, error = %e, "connection ended");
    }
}

/// Answers what comes over a connection until it ends, or has to make room for another.
async fn answer<H: Handler>(
    handler: Arc<H>,
    stream: TlsStream<Unstalled<TcpStream>>,
    session: Session,
    place: Arc<Place>,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), hyper::Error> {
    let own = place.clone();
    let service = service_fn(move |request| {
        let (handler, place) = (handler.clone(), own.clone());
        async move {
            let busy = place.busy();
            let answer = handler.clone().serve(session, request).await;
            drop(busy);
            if handler.is_known(&session.peer) {
                place.is_known();
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        served = connection.as_mut() => served,
        () = place.is_wanted() => Ok(()),
        () = ended(&mut shutdown) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}

/// The key the peer proved in the handshake, and the connection's name.
fn session<S>(stream: &TlsStream<S>) -> Option<Session> {
    let connection = stream.get_ref().1;
    let peer = raw_key::from_spki(connection.peer_certificates()?.first()?)?;
    Some(Session { peer, binding: ChannelBinding::of(connection).ok()? })
}

fn bind(listen: &str) -> Result<(TcpListener, SocketAddr), ServeError> {
    let failed = || ServeError::of(format!("listening on {listen}"));
    let listener = TcpListener::bind(listen).map_err(failed())?;
    let address = listener.local_addr().map_err(failed())?;
    Ok((listener, address))
}

fn runtime() -> Result<tokio::runtime::Runtime, ServeError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(ServeError::of("starting the runtime"))
}

/// Serves on `listen` until the process is told to end (SIGINT, SIGTERM). `ready` is told the
/// address once it listens.
pub fn serve_until_signal<H: Handler>(
    handler: Arc<H>,
    own: &SigningKey,
    listen: &str,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), ServeError> {
    use tokio::signal::unix::{SignalKind, signal};
    let acceptor = acceptor(own)?;
    runtime()?.block_on(async {
        // Before anybody can tell that it runs: whoever sees it listen may ask it to end.
        let mut terminate =
            signal(SignalKind::terminate()).map_err(ServeError::of("watching for SIGTERM"))?;
        let mut interrupt =
            signal(SignalKind::interrupt()).map_err(ServeError::of("watching for SIGINT"))?;
        let (listener, address) = bind(listen)?;
        let (stop, shutdown) = watch::channel(false);
        ready(address);
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("shutting down");
            stop.send_replace(true);
        });
        serve(handler, acceptor, listener, shutdown).await
    })
}

/// A server in a thread of this process. Dropped, it ends in order.
pub struct Background {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

/// Serves on `listen` in the background.
pub fn serve_in_background<H: Handler>(
    handler: Arc<H>,
    own: &SigningKey,
    listen: &str,
) -> Result<Background, ServeError> {
    let (listener, address) = bind(listen)?;
    let (stop, shutdown) = watch::channel(false);
    let (runtime, acceptor) = (runtime()?, acceptor(own)?);
    let thread =
        std::thread::spawn(move || runtime.block_on(serve(handler, acceptor, listener, shutdown)));
    Ok(Background { address, stop, thread: Some(thread) })
}

impl Background {
    /// Where it listens; the port is the real one where 0 was asked for.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it in order and waits for the end. A second call does nothing.
    pub fn stop(&mut self) -> Result<(), ServeError> {
        self.stop.send_replace(true);
        match self.thread.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(ended)) => ended,
            Some(Err(_)) => Err(ServeError::of("serving")(io::Error::other("its thread panicked"))),
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Err(e) = self.stop() {
            tracing::error!(error = %e, "the server ended badly");
        }
    }
}

#[cfg(test)]
mod tests {
    use http::header::HeaderName;
    use std::sync::Mutex;

    use http::{HeaderValue, Method, StatusCode};

    use super::*;
    use crate::places::MAX_OF_ONE;
    use crate::{
        BodyError, Connection, ErrorBody, LinkError, Message, Patience, Reply, Room, TEXT,
    };

    const PROOF: HeaderName = HeaderName::from_static("x-proof");

    /// Says who asked, what, and whether the request bore the name of its connection.
    struct Echo {
        known: Mutex<Vec<VerifyingKey>>,
        room: Room,
    }

    impl Echo {
        fn new() -> Arc<Self> {
            let room = Room::new(4, 4, Duration::from_secs(5));
            Arc::new(Self { known: Mutex::new(Vec::new()), room })
        }

        fn know(&self, peer: VerifyingKey) {
            self.known.lock().expect("no holder panics").push(peer);
        }
    }

    impl Handler for Echo {
        fn is_known(&self, peer: &VerifyingKey) -> bool {
            self.known.lock().expect("no holder panics").contains(peer)
        }

        async fn serve(
            self: Arc<Self>,
            session: Session,
            request: Request<Incoming>,
        ) -> Response<Full<Bytes>> {
            let proof = request.headers().get(PROOF).map(|p| p.as_bytes().to_vec());
            let named = proof == Some(hex::encode(session.binding.0).into_bytes());
            let long = request.uri().path() == "/long";
            let said = self.room.work(session.peer, request.into_body(), 10, move |body| {
                let said = String::from_utf8_lossy(&body).into_owned();
                Ok::<_, BodyError>(format!("{} {said} {named}", session.peer))
            });
            match said.await {
                Ok(said) if long => Reply::new(TEXT, said.repeat(200)),
                Ok(said) => Reply::new(TEXT, said),
                Err(e) => Reply::refusal(e.status(), e.to_string(), e.remedy().to_owned()),
            }
            .into_response()
        }
    }

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32])
    }

    fn post(path: &str, body: &str) -> Message {
        let (method, path, body) = (Method::POST, path.to_owned(), body.to_owned().into());
        Message { method, path, content_type: TEXT, body, limit: 200 }
    }

    fn server(listen: &str) -> Background {
        serve_in_background(Echo::new(), &key(1), listen).expect("served")
    }

    fn connect(
        server: &Background,
        pinned: u8,
        greeting: Option<Message>,
    ) -> Result<Connection, LinkError> {
        let (address, patience) = (server.address().to_string(), Patience::default());
        Connection::open(&address, key(pinned).public(), &key(2), patience, greeting)
    }

    #[test]
    fn both_ends_prove_their_keys_and_agree_on_the_name_of_the_connection() {
        let server = server("127.0.0.1:0");
        let mut names = Vec::new();
        for _ in 0..2 {
            let mut connection = connect(&server, 1, None).expect("connected");
            let mut bear = |binding: &ChannelBinding| {
                names.push(*binding);
                let name = HeaderValue::from_str(&hex::encode(binding.0)).expect("hex");
                vec![(PROOF, name)]
            };
            let answer = connection.request_with(&post("/", "hi"), &mut bear).expect("answered");
            let expected = format!("{} hi true", key(2).public());
            assert_eq!(String::from_utf8_lossy(&answer.body), expected);
        }
        assert_ne!(names[0], names[1], "each connection has a name of its own");
        assert!(!format!("{names:?}").contains(&hex::encode(&names[0].0[..2])));
    }

    #[test]
    fn another_key_than_the_pinned_one_gets_nothing() {
        let server = server("127.0.0.1:0");
        let error = connect(&server, 3, None).err().expect("refused");
        assert!(matches!(error, LinkError::NotTrusted(_)), "{error}");
        for part in ["not trusted", &key(1).public().to_string(), &key(3).public().to_string()] {
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn what_is_too_long_is_refused_at_either_end_and_the_connection_goes_on() {
        let server = server("127.0.0.1:0");
        let mut connection = connect(&server, 1, None).expect("connected");
        let answer = connection.request(&post("/", "more than ten bytes")).expect("answered");
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
        let said: ErrorBody = serde_json::from_slice(&answer.body).expect("JSON");
        assert!(answer.is_json && said.error.contains("limit of 10 bytes"), "{said:?}");
        let error = connection.request(&post("/long", "")).expect_err("13 kB of answer");
        assert!(matches!(error, LinkError::Protocol(_)), "{error}");
        let answer = connection.request(&post("/", "still")).expect("answered");
        assert_eq!(answer.status, StatusCode::OK);
    }

    #[test]
    fn a_broken_connection_is_made_anew_and_greets_again() {
        let mut first = server("127.0.0.1:0");
        let refused = connect(&first, 1, Some(post("/", "a greeting too long"))).err();
        assert!(matches!(refused, Some(LinkError::Unwelcome(a)) if a.status == 413));
        let mut connection = connect(&first, 1, Some(post("/", "hello"))).expect("greeted");
        connection.request(&post("/", "one")).expect("answered");
        let listen = first.address().to_string();
        first.stop().expect("ended");
        let error = connection.request(&post("/", "two")).expect_err("nobody listens");
        assert!(matches!(error, LinkError::Retry(_)), "{error}");
        let _second = server(&listen);
        connection.request(&post("/", "three")).expect("answered by the new server");
    }

    /// A connection as the holder of `seed`, or nothing where it is not let in.
    fn come(server: &Background, seed: u8) -> Option<Connection> {
        let (address, own) = (server.address().to_string(), key(seed));
        let patience = Patience::default();
        let opened = Connection::open(&address, key(1).public(), &own, patience, None).ok()?;
        Some(opened)
    }

    fn is_served(connection: &mut Connection) -> bool {
        connection.request(&post("/", "hi")).is_ok_and(|answer| answer.status == StatusCode::OK)
    }

    #[test]
    fn one_key_has_some_connections_and_others_have_theirs() {
        let echo = Echo::new();
        echo.know(key(5).public());
        let server = serve_in_background(echo, &key(1), "127.0.0.1:0").expect("served");
        let mut greedy: Vec<_> = (0..MAX_OF_ONE).map(|_| come(&server, 5)).collect();
        for connection in &mut greedy {
            assert!(is_served(connection.as_mut().expect("let in")));
        }
        // Its next is closed behind the handshake; another key's is not.
        assert!(come(&server, 5).is_none_or(|mut more| !is_served(&mut more)));
        assert!(is_served(&mut come(&server, 6).expect("let in")));
        greedy.truncate(1);
        let again = || come(&server, 5).is_some_and(|mut more| is_served(&mut more));
        assert!((0..50).any(|_| again() || {
            std::thread::sleep(Duration::from_millis(20));
            false
        }));
    }
}
