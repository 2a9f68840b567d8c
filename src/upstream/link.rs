//! One connection to an endpoint, driven by the request it carries.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, Method, Response};
use http_body::{Body as _, Frame};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};
use tokio_util::io::{poll_read_buf, poll_write_buf};

use super::{
    pool,
    wire::{self, Malformed, Part, Received, RequestHead, Sent},
};
use crate::{
    alarm::Alarm,
    body::{Body, BodyError, Carrier},
};

/// Room for what arrives: a response's head, and a body where it is short.
const ROOM: usize = 8 << 10;
/// Room for more of a long body.
const MORE_ROOM: usize = 64 << 10;

/// A connection that has no task of its own. Whoever waits for a response or its body reads and writes it meanwhile: a
/// task would have to be woken, and wake in its turn, several times for every request.
pub(super) struct Link {
    /// Of the endpoint, in each thread's pool.
    endpoint: u64,
    /// How long it may idle.
    pub(super) keep: Duration,
    stream: Box<dyn Stream>,
    arrived: BytesMut,
    /// What delimits the body that is sent, and then a piece of it, both still to be written.
    framing: BytesMut,
    piece: Bytes,
    /// The rest of the request's body.
    upload: Option<(Body, Sent)>,
    /// The rest of the response's body.
    download: Received,
    /// Whether another request can follow.
    is_kept: bool,
    alarm: Alarm,
}

/// TCP, or TLS over it.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Why an exchange failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The request's own body.
    Body(BodyError),
    Io(io::Error),
    Malformed(Malformed),
    /// The other side closed before it answered.
    Closed,
    TimedOut,
}

impl Link {
    /// Over a stream that is connected.
    pub(super) fn new(endpoint: u64, keep: Duration, stream: Box<dyn Stream>) -> Box<Self> {
        Box::new(Self {
            endpoint,
            keep,
            stream,
            arrived: BytesMut::new(),
            framing: BytesMut::new(),
            piece: Bytes::new(),
            upload: None,
            download: Received::NOTHING,
            is_kept: true,
            alarm: Alarm::new(Instant::now() + keep),
        })
    }

    /// Sends a request and waits for the head of its response.
    pub(super) async fn send(
        &mut self,
        head: RequestHead<'_>,
        body: Body,
        deadline: Instant,
    ) -> Result<Response<()>, Failure> {
        let method = head.method;
        let sent = head
            .write(&mut self.framing, &body.size_hint())
            .map_err(Failure::Malformed)?;
        if sent != Sent::Length(0) {
            self.upload = Some((body, sent));
        }
        // Kept again once the response says so: an exchange that is dropped half-way leaves it as it is now.
        self.is_kept = false;
        poll_fn(|context| match self.poll_exchange(method, context) {
            Poll::Ready(answer) => Poll::Ready(answer),
            Poll::Pending => self.alarm.poll(deadline, context).map(|()| Err(Failure::TimedOut)),
        })
        .await
    }

    /// Whether the other side has closed it, as far as this one has heard, or sent what nobody asked for.
    pub(super) fn is_closed(&mut self) -> bool {
        let mut probe = [0];
        let mut context = Context::from_waker(Waker::noop());
        Pin::new(&mut *self.stream)
            .poll_read(&mut context, &mut ReadBuf::new(&mut probe))
            .is_ready()
    }

    fn poll_exchange(&mut self, method: &Method, context: &mut Context<'_>) -> Poll<Result<Response<()>, Failure>> {
        let uploaded = match self.poll_upload(context) {
            Poll::Ready(Err(Failure::Body(error))) => return Poll::Ready(Err(Failure::Body(error))),
            Poll::Ready(uploaded) => uploaded,
            Poll::Pending => Ok(()),
        };
        let answer = self.poll_head(method, context);
        match uploaded {
            Ok(()) => answer,
            // An upstream may answer and close before it has read everything.
            Err(failure) => match answer {
                Poll::Ready(Ok(response)) => {
                    self.stop_sending();
                    Poll::Ready(Ok(response))
                }
                Poll::Ready(Err(_)) | Poll::Pending => Poll::Ready(Err(failure)),
            },
        }
    }

    fn poll_head(&mut self, method: &Method, context: &mut Context<'_>) -> Poll<Result<Response<()>, Failure>> {
        loop {
            if !self.arrived.is_empty()
                && let Some(head) = wire::response(&mut self.arrived, method).map_err(Failure::Malformed)?
            {
                self.download = head.body;
                self.is_kept = head.is_kept;
                return Poll::Ready(Ok(head.response));
            }
            if ready!(self.poll_read(ROOM, context)).map_err(Failure::Io)? == 0 {
                return Poll::Ready(Err(Failure::Closed));
            }
        }
    }

    /// Writes what there is to write. Ready when the request is out.
    fn poll_upload(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        loop {
            // The piece first: it goes out with what delimits it, the head of the request at the beginning.
            let mut waits_for_body = false;
            if self.piece.is_empty()
                && let Some((body, _)) = &mut self.upload
            {
                match Pin::new(body).poll_frame(context) {
                    Poll::Ready(frame) => self.take(frame.transpose().map_err(Failure::Body)?)?,
                    Poll::Pending => waits_for_body = true,
                }
            }
            ready!(self.poll_write(context)).map_err(Failure::Io)?;
            if waits_for_body {
                return Poll::Pending;
            }
            if self.upload.is_none() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Takes a part of the request's body, or its end, to be written.
    fn take(&mut self, frame: Option<Frame<Bytes>>) -> Result<(), Failure> {
        let Some((_, sent)) = &mut self.upload else {
            return Ok(());
        };
        let is_over = match frame.map(Frame::into_data) {
            Some(Ok(data)) if data.is_empty() => Ok(false),
            Some(Ok(data)) => {
                let delimited = sent.data(&mut self.framing, data.len());
                self.piece = data;
                delimited.map(|()| *sent == Sent::Length(0))
            }
            Some(Err(frame)) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                sent.end(&mut self.framing, &trailers).map(|()| true)
            }
            None => sent.end(&mut self.framing, &HeaderMap::new()).map(|()| true),
        };
        if is_over.map_err(Failure::Malformed)? {
            self.upload = None;
        }
        Ok(())
    }

    fn is_sent(&self) -> bool {
        self.upload.is_none() && self.framing.is_empty() && self.piece.is_empty()
    }

    /// What is not sent yet never will be.
    fn stop_sending(&mut self) {
        self.upload = None;
        self.framing.clear();
        self.piece.clear();
        self.is_kept = false;
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.framing.has_remaining() || self.piece.has_remaining() {
            let mut both = (&mut self.framing).chain(&mut self.piece);
            if ready!(poll_write_buf(Pin::new(&mut *self.stream), context, &mut both))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        Pin::new(&mut *self.stream).poll_flush(context)
    }

    fn poll_read(&mut self, room: usize, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.arrived.capacity() - self.arrived.len() < room / 4 {
            self.arrived.reserve(room);
        }
        poll_read_buf(Pin::new(&mut *self.stream), context, &mut self.arrived)
    }

    fn poll_part(&mut self, context: &mut Context<'_>) -> Poll<Result<Part, String>> {
        if !self.is_sent()
            && let Poll::Ready(Err(_)) = self.poll_upload(context)
        {
            // The response may be whole all the same.
            self.stop_sending();
        }
        loop {
            if let Some(part) = self.download.next(&mut self.arrived)? {
                return Poll::Ready(Ok(part));
            }
            let left = self.download.left().and_then(|left| usize::try_from(left).ok());
            let room = left.unwrap_or(MORE_ROOM).clamp(ROOM, MORE_ROOM);
            if ready!(self.poll_read(room, context)).map_err(|error| error.to_string())? == 0 {
                self.download.closed()?;
            }
        }
    }
}

impl Carrier for Link {
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(match ready!(self.poll_part(context)) {
            Ok(Part::Data(data)) => Some(Ok(Frame::data(data))),
            Ok(Part::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
            Ok(Part::End) => None,
            Err(why) => Some(Err(BodyError::Broken(why))),
        })
    }

    fn left(&self) -> Option<u64> {
        self.download.left()
    }

    fn ended(mut self: Box<Self>) {
        if !self.is_sent() {
            // The response is complete before the request is: the rest of it still goes out.
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(async move { poll_fn(|context| self.poll_upload(context)).await.is_ok() });
            }
            return;
        }
        // Bytes after the response belong to none.
        if self.is_kept && self.arrived.is_empty() {
            if self.arrived.capacity() > ROOM {
                self.arrived = BytesMut::new();
            }
            pool::put(self.endpoint, self);
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Body(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
            Self::Malformed(why) => f.write_str(why),
            Self::Closed => f.write_str("it was closed before the response"),
            Self::TimedOut => f.write_str("no response in time"),
        }
    }
}

#[cfg(test)]
mod tests;
