//! The listening side: connections in, requests to [`Routes`], an orderly end.
//!
//! Shutdown: no new connection is taken, each open one finishes the request it is at, then the
//! stores are flushed and closed. Nothing depends on it: what was acknowledged is durable anyway.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use seawall_sign::VerifyingKey;
use seawall_sync::raw_key;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::routes::Routes;
use crate::stall::Unstalled;
use crate::{Region, RegionError, tls};

/// Connections at one time.
const MAX_CONNECTIONS: usize = 512;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// Connections of peers that are not members, at one time. The rest is members' alone.
const MAX_STRANGERS: usize = 64;

/// How long a peer may read nothing of an answer.
const STALL_TIMEOUT: Duration = Duration::from_mins(1);

/// From the end of one request to the head of the next.
const IDLE_TIMEOUT: Duration = Duration::from_mins(2);

/// How long open requests may take after the shutdown began.
const GRACE: Duration = Duration::from_secs(30);

/// Serves a region on a bound listener until `shutdown` turns true (or its sender is gone), then
/// ends in order and closes the region.
pub async fn run(
    region: Arc<Region>,
    listener: TcpListener,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), RegionError> {
    let config = tls::config(&region.keys.transport)
        .map_err(|e| RegionError::Unusable { what: "transport key", why: e.to_string() })?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    listener.set_nonblocking(true).map_err(RegionError::io("listening"))?;
    let listener =
        tokio::net::TcpListener::from_std(listener).map_err(RegionError::io("listening"))?;
    let routes = Arc::new(Routes::new(region.clone()));
    let strangers = Arc::new(Semaphore::new(MAX_STRANGERS));
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
                let (routes, acceptor, shutdown) =
                    (routes.clone(), acceptor.clone(), shutdown.clone());
                let strangers = strangers.clone();
                connections.spawn(async move {
                    serve(routes, acceptor, &strangers, tcp, from, shutdown).await;
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
    let closing = tokio::task::spawn_blocking(move || region.close());
    closing.await.map_err(|e| RegionError::Io {
        what: "closing the region".to_owned(),
        source: std::io::Error::other(e),
    })?
}

/// Ends when the shutdown has begun.
async fn ended(shutdown: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a shutdown too.
    let _ = shutdown.wait_for(|begun| *begun).await;
}

async fn serve(
    routes: Arc<Routes>,
    acceptor: TlsAcceptor,
    strangers: &Arc<Semaphore>,
    tcp: TcpStream,
    from: SocketAddr,
    mut shutdown: watch::Receiver<bool>,
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
    let Some(peer) = peer_key(&stream) else {
        tracing::info!(%from, "no raw public key shown");
        return;
    };
    let Some(standing) = Standing::of(&routes.region, peer, strangers) else {
        tracing::info!(%from, "too many connections of peers that are not members");
        return;
    };
    let standing = Arc::new(standing);
    let service = service_fn(move |request| {
        let (routes, standing) = (routes.clone(), standing.clone());
        async move {
            let region = routes.region.clone();
            let answer = routes.serve(peer, request).await;
            standing.review(&region, peer);
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = ended(&mut shutdown) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(e) = served {
        tracing::debug!(%from, error = %e, "connection ended");
    }
}

/// What a connection's peer is: a member, or one of the strangers there is room for.
struct Standing(Mutex<Option<OwnedSemaphorePermit>>);

impl Standing {
    /// `None` for a stranger when there is no room for another.
    fn of(region: &Region, peer: VerifyingKey, strangers: &Arc<Semaphore>) -> Option<Self> {
        let place = match region.member(&peer) {
            Some(_) => None,
            None => Some(strangers.clone().try_acquire_owned().ok()?),
        };
        Some(Self(Mutex::new(place)))
    }

    /// Gives a stranger's place back once the peer has become a member.
    fn review(&self, region: &Region, peer: VerifyingKey) {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if place.is_some() && region.member(&peer).is_some() {
            *place = None;
        }
    }
}

/// The key the peer proved in the handshake.
fn peer_key<S>(stream: &TlsStream<S>) -> Option<VerifyingKey> {
    raw_key::from_spki(stream.get_ref().1.peer_certificates()?.first()?)
}

fn bind(region: &Region) -> Result<(TcpListener, SocketAddr), RegionError> {
    let listen = &region.config().listen;
    let io = || RegionError::io(format!("listening on {listen}"));
    let listener = TcpListener::bind(listen).map_err(io())?;
    let address = listener.local_addr().map_err(io())?;
    Ok((listener, address))
}

fn runtime() -> Result<tokio::runtime::Runtime, RegionError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(RegionError::io("starting the runtime"))
}

/// Opens the region in `home` and serves it until the process is told to end (SIGINT, SIGTERM).
/// `ready` is told the address once it listens.
pub fn run_until_signal(home: &Path, ready: impl FnOnce(SocketAddr)) -> Result<(), RegionError> {
    use tokio::signal::unix::{SignalKind, signal};
    let region = Arc::new(Region::open(home)?);
    runtime()?.block_on(async {
        // Before anybody can tell that it runs: whoever sees it listen may ask it to end.
        let mut terminate =
            signal(SignalKind::terminate()).map_err(RegionError::io("watching for SIGTERM"))?;
        let mut interrupt =
            signal(SignalKind::interrupt()).map_err(RegionError::io("watching for SIGINT"))?;
        let (listener, address) = bind(&region)?;
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
        run(region, listener, shutdown).await
    })
}

/// A region served by a thread of this process.
pub struct Background {
    address: SocketAddr,
    region: Arc<Region>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<Result<(), RegionError>>>,
}

/// Opens the region in `home` and serves it in the background.
pub fn serve_in_background(home: &Path) -> Result<Background, RegionError> {
    let region = Arc::new(Region::open(home)?);
    let (listener, address) = bind(&region)?;
    let (stop, shutdown) = watch::channel(false);
    let runtime = runtime()?;
    let serving = region.clone();
    let thread = std::thread::spawn(move || runtime.block_on(run(serving, listener, shutdown)));
    Ok(Background { address, region, stop, thread: Some(thread) })
}

impl Background {
    /// Where it listens; the port is the real one where the configuration says 0.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The region, for adding fleets and verifying while it runs.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// Ends it in order and waits for the end.
    pub fn stop(mut self) -> Result<(), RegionError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), RegionError> {
        self.stop.send_replace(true);
        match self.thread.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(ended)) => ended,
            Some(Err(_)) => Err(RegionError::Io {
                what: "serving the region".to_owned(),
                source: std::io::Error::other("its thread panicked"),
            }),
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Err(e) = self.end() {
            tracing::error!(error = %e, "the region ended badly");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::{enrol, region_of};
    use crate::world::{World, key};

    #[test]
    fn strangers_fill_their_own_places_only() {
        let world = World::new(1, seawall_base::Timestamp(1_800_000_000));
        let region = region_of(&world);
        let (member, newcomer) = (world.node(10, "acme"), world.node(20, "acme"));
        enrol(&region, &member);
        let room = Arc::new(Semaphore::new(MAX_STRANGERS));
        let come = |peer: VerifyingKey| Standing::of(&region, peer, &room);
        let first = come(newcomer.transport.public()).expect("there is room");
        let held: Vec<_> = (1..MAX_STRANGERS).map(|_| come(key(97).public())).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(come(key(97).public()).is_none(), "one too many");
        assert!(come(member.transport.public()).is_some(), "a member needs no such place");

        first.review(&region, newcomer.transport.public());
        assert!(come(key(97).public()).is_none(), "it has not enrolled yet");
        enrol(&region, &newcomer);
        first.review(&region, newcomer.transport.public());
        assert!(come(key(97).public()).is_some(), "it gave its place back");
        drop(held);
        assert_eq!(room.available_permits(), MAX_STRANGERS);
    }
}
