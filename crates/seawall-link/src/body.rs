//! Room for requests, and bodies that arrive within their bounds or not at all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body;
use seawall_sign::VerifyingKey;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

/// How fast a body comes: in every window it brings so many bytes, or its end.
#[derive(Debug, Clone, Copy)]
struct Pace {
    bytes: usize,
    window: Duration,
}

const PACE: Pace = Pace { bytes: 1 << 20, window: Duration::from_mins(1) };

/// Of senders who have shown nothing yet: 43 kbit/s, and a few seconds of patience.
const STRANGERS_PACE: Pace = Pace { bytes: 16 << 10, window: Duration::from_secs(3) };

/// Why a body was not read, or not worked on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Longer than its route allows.
    #[error("the body is above the limit of {0} bytes")]
    TooLong(usize),
    /// It came too slowly.
    #[error("the body did not arrive in time")]
    Late,
    /// The connection ended in its middle.
    #[error("the body broke off: {0}")]
    Broken(String),
    /// The work on it panicked.
    #[error("the work on the request broke off: {0}")]
    Panicked(String),
}

impl BodyError {
    /// The HTTP status that says so.
    pub const fn status(&self) -> u16 {
        match self {
            Self::TooLong(_) => 413,
            Self::Late => 408,
            Self::Broken(_) => 400,
            Self::Panicked(_) => 500,
        }
    }

    /// What the sender can do.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::TooLong(_) => "send smaller batches; use a matching version of seawall",
            Self::Late => "try again later",
            Self::Broken(_) => "try again",
            Self::Panicked(_) => "try again later; see the server's log",
        }
    }
}

/// Room for one kind of requests, so that no kind can starve another; and for each peer's share of
/// them, so that no peer can starve another. Whoever has its share waits for itself, and is in
/// nobody's way.
#[derive(Debug)]
pub struct Room {
    at_once: Semaphore,
    share: usize,
    shares: Mutex<BTreeMap<VerifyingKey, Arc<Semaphore>>>,
    body_timeout: Duration,
    pace: Pace,
}

/// A peer's part of a room.
struct Share<'r> {
    room: &'r Room,
    who: VerifyingKey,
    /// Goes before the room is asked who is left.
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.permit = None;
        let mut shares = self.room.lock();
        // Whoever waits for it has a part of it too.
        if shares.get(&self.who).is_some_and(|share| Arc::strong_count(share) == 1) {
            shares.remove(&self.who);
        }
    }
}

impl Room {
    /// Room for so many requests at one time, so many of them of one peer, each of whose bodies
    /// may take so long.
    pub const fn new(at_once: usize, share: usize, body_timeout: Duration) -> Self {
        Self {
            at_once: Semaphore::const_new(at_once),
            share,
            shares: Mutex::new(BTreeMap::new()),
            body_timeout,
            pace: PACE,
        }
    }

    /// The same for peers who have shown nothing yet: a body that stands still is given up soon.
    #[must_use]
    pub const fn for_strangers(mut self) -> Self {
        self.pace = STRANGERS_PACE;
        self
    }

    /// Places that are free.
    pub fn free(&self) -> usize {
        self.at_once.available_permits()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<VerifyingKey, Arc<Semaphore>>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn share_of(&self, who: VerifyingKey) -> Share<'_> {
        let mut share = Share { room: self, who, permit: None };
        let own =
            self.lock().entry(who).or_insert_with(|| Semaphore::new(self.share).into()).clone();
        share.permit = Some(own.acquire_owned().await.expect("the semaphore is never closed"));
        share
    }

    /// Waits for room, of `who`'s share and of all, reads a body of at most `limit` bytes and works on it on a blocking thread.
    pub async fn work<B, T, E>(
        &self,
        who: VerifyingKey,
        body: B,
        limit: usize,
        work: impl FnOnce(Bytes) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        T: Send + 'static,
        E: From<BodyError> + Send + 'static,
    {
        let _share = self.share_of(who).await;
        let _place = self.at_once.acquire().await.expect("the semaphore is never closed");
        let body = read_body(body, limit, self.pace);
        let body = timeout(self.body_timeout, body).await.map_err(|_| BodyError::Late)??;
        tokio::task::spawn_blocking(move || work(body))
            .await
            .map_err(|e| BodyError::Panicked(e.to_string()))?
    }
}

/// A body of at most `limit` bytes that keeps its pace.
async fn read_body<B>(body: B, limit: usize, pace: Pace) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut body = std::pin::pin!(Limited::new(body, limit));
    let mut bytes = Vec::new();
    let (mut due, mut progress) = (Instant::now() + pace.window, 0);
    while let Some(frame) = timeout_at(due, body.frame()).await.map_err(|_| BodyError::Late)? {
        let frame = frame.map_err(|e| match e.downcast_ref::<LengthLimitError>() {
            Some(_) => BodyError::TooLong(limit),
            None => BodyError::Broken(e.to_string()),
        })?;
        // What is not data is trailers, which mean nothing here.
        let Ok(data) = frame.into_data() else { continue };
        bytes.extend_from_slice(&data);
        progress += data.len();
        if progress >= pace.bytes {
            (due, progress) = (Instant::now() + pace.window, 0);
        }
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use hyper::body::Frame;
    use tokio::time::sleep;

    use super::*;

    /// A body of `left` frames of `size` bytes, one every 20 ms, and then its end.
    struct Drip {
        left: usize,
        size: usize,
        next: Pin<Box<tokio::time::Sleep>>,
    }

    impl Drip {
        fn new(left: usize, size: usize) -> Self {
            Self { left, size, next: Box::pin(sleep(Duration::from_millis(20))) }
        }
    }

    impl Body for Drip {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            if self.left == 0 {
                return Poll::Ready(None);
            }
            std::task::ready!(self.next.as_mut().poll(cx));
            self.left -= 1;
            self.next = Box::pin(sleep(Duration::from_millis(20)));
            Poll::Ready(Some(Ok(Frame::data(vec![0; self.size].into()))))
        }
    }

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(work)
    }

    #[test]
    fn a_body_that_trickles_is_given_up_and_one_that_flows_is_not() {
        block_on(async {
            let window = Pace { bytes: 1 << 20, window: Duration::from_millis(600) };
            let half = window.bytes / 2;
            let late =
                read_body(Drip::new(1_000, 1), 1 << 20, window).await.expect_err("a trickle");
            assert_eq!(late.status(), 408);
            let whole = read_body(Drip::new(40, half), 32 << 20, window).await;
            assert_eq!(whole.expect("800 ms in all, progress in each 40").len(), 40 * half);
            let short = read_body(Drip::new(2, 1), 10, window).await;
            assert_eq!(short.expect("its end is progress too").len(), 2);
            let long = read_body(Drip::new(3, 5), 10, window).await.expect_err("above the limit");
            assert_eq!(long.status(), 413);
        });
    }

    #[test]
    fn work_that_panics_is_an_error_of_its_request_and_leaves_its_place() {
        block_on(async {
            let room = Room::new(1, 1, Duration::from_secs(5));
            let broken = room
                .work(who(1), Drip::new(0, 0), 0, |_| -> Result<(), BodyError> {
                    panic!("on purpose")
                })
                .await;
            assert_eq!(broken.expect_err("it panicked").status(), 500);
            assert_eq!(room.free(), 1);
            assert!(room.lock().is_empty(), "what has ended is forgotten");
        });
    }

    fn who(seed: u8) -> VerifyingKey {
        seawall_sign::SigningKey::from_seed(&[seed; 32]).public()
    }

    #[test]
    fn a_peer_with_its_share_of_stalled_bodies_waits_for_itself() {
        block_on(async {
            let room = Room::new(4, 3, Duration::from_mins(1)).for_strangers();
            let done = |body: Bytes| Ok::<_, BodyError>(body.len());
            let stalled = || room.work(who(1), Drip::new(1_000, 1), 1 << 20, done);
            let own = async {
                // Three are in; two more wait, and take no place of anybody's.
                tokio::join!(stalled(), stalled(), stalled(), stalled(), stalled())
            };
            let other = async {
                sleep(Duration::from_millis(100)).await;
                assert_eq!(room.free(), 1);
                let before = Instant::now();
                room.work(who(2), Drip::new(1, 1), 10, done).await.expect("there is room");
                assert!(before.elapsed() < Duration::from_secs(1));
            };
            tokio::select! {
                _ = own => panic!("a body that trickles has an end after some seconds"),
                () = other => {}
            }
            assert_eq!((room.free(), room.lock().len()), (4, 0), "who is gone left nothing");
            let before = Instant::now();
            let late = room.work(who(1), Drip::new(1_000, 1), 1 << 20, done).await;
            assert_eq!(late.expect_err("a stranger's trickle").status(), 408);
            assert!(before.elapsed() < Duration::from_secs(5), "not after a minute");
        });
    }
}
