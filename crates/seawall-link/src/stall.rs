//! A connection that ends when its peer stops reading.
//!
//! An answer of many megabytes is held in memory until it has been sent. Whoever asks for it and
//! reads nothing would hold it for ever; here a write that moves no byte for the time allowed is
//! an error, which ends the connection. Waiting for the peer to *send* is bounded elsewhere.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A stream whose writes may stand still for a time only.
pub(crate) struct Unstalled<S> {
    stream: S,
    allowed: Duration,
    /// Runs while a write waits; gone once one has moved.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Unstalled<S> {
    pub(crate) const fn new(stream: S, allowed: Duration) -> Self {
        Self { stream, allowed, waiting: None }
    }

    fn judge<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let allowed = self.allowed;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(allowed)));
        ready!(waiting.as_mut().poll(cx));
        let why = format!("the peer read nothing for {} seconds", allowed.as_secs());
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Unstalled<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Unstalled<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.judge(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.judge(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(work)
    }

    #[test]
    fn a_peer_that_reads_nothing_ends_the_connection_and_a_slow_one_does_not() {
        block_on(async {
            let (near, _far) = duplex(100);
            let mut near = Unstalled::new(near, Duration::from_millis(50));
            let error = near.write_all(&[1; 200]).await.expect_err("nobody reads");
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");

            let (near, mut far) = duplex(100);
            let mut near = Unstalled::new(near, Duration::from_millis(700));
            let slow = async {
                let mut got = 0;
                while got < 1_000 {
                    sleep(Duration::from_millis(100)).await;
                    got += far.read(&mut [0; 100]).await.expect("read");
                }
                far.write_all(b"thanks").await.expect("written");
            };
            let sent = async {
                near.write_all(&[2; 1_000]).await.expect("1 s in all, never 700 ms at once");
                near.flush().await.expect("flushed");
                let mut answer = [0; 6];
                near.read_exact(&mut answer).await.expect("read");
                assert_eq!(&answer, b"thanks");
            };
            tokio::join!(slow, sent);
        });
    }
}
