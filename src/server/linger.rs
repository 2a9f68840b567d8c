//! A connection that is closed while its client still sends: what arrives is read and thrown away for a while.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// How long a client may pause.
const PAUSE: Duration = Duration::from_secs(5);
/// How long it may send in all.
const LIMIT: Duration = Duration::from_secs(30);
/// How much is thrown away at once.
const ROOM: usize = 16 << 10;

/// Ends a stream in two steps (RFC 9112 §9.6) where a request was answered before it was read to its end: no more is
/// written, then what the client still sends is read until it has seen the answer and closes, too. Closed at once, the
/// connection would be reset, and the client would lose the answer that says what was wrong.
pub(super) struct Linger<S> {
    stream: S,
    unread: Arc<AtomicU64>,
    lingering: Option<Lingering>,
}

struct Lingering {
    end: Instant,
    timer: Pin<Box<Sleep>>,
}

impl<S> Linger<S> {
    /// `unread` counts the bytes that the last request was answered without.
    pub(super) fn new(stream: S, unread: Arc<AtomicU64>) -> Self {
        Self {
            stream,
            unread,
            lingering: None,
        }
    }
}

impl<S: AsyncRead + Unpin> Linger<S> {
    fn poll_discard(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let lingering = self.lingering.get_or_insert_with(|| {
            let now = Instant::now();
            Lingering {
                end: now + LIMIT,
                timer: Box::pin(sleep_until(now + PAUSE)),
            }
        });
        let mut room = [0; ROOM];
        loop {
            if lingering.timer.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            let mut buffer = ReadBuf::new(&mut room);
            let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(());
            }
            let next = (Instant::now() + PAUSE).min(lingering.end);
            lingering.timer.as_mut().reset(next);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Linger<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        }
        if self.unread.load(Ordering::Relaxed) > 0 {
            ready!(self.poll_discard(context));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Linger<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_a_client_still_sends_is_read_until_it_closes() {
        let (mut client, server) = duplex(16);
        let closing = tokio::spawn(async move { Linger::new(server, Arc::new(1.into())).shutdown().await });
        // More than the pipe holds: it would break off if nobody read.
        client.write_all(&[b'x'; 1000]).await.unwrap();
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "nothing more is written");
        assert!(!closing.is_finished());
        drop(client);
        closing.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_closes_is_left_in_the_end() {
        let began = Instant::now();
        let (silent, server) = duplex(16);
        Linger::new(server, Arc::new(1.into())).shutdown().await.unwrap();
        assert_eq!(began.elapsed(), PAUSE);
        drop(silent);

        let began = Instant::now();
        let (mut endless, server) = duplex(16);
        let sending = tokio::spawn(async move {
            while endless.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        Linger::new(server, Arc::new(1.into())).shutdown().await.unwrap();
        assert_eq!(began.elapsed(), LIMIT);
        sending.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_was_read_to_the_end_is_not_waited_for() {
        let (_client, server) = duplex(16);
        let began = Instant::now();
        Linger::new(server, Arc::default()).shutdown().await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
