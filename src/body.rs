//! The one body type: nothing, bytes in memory, or a stream that is passed on as it comes.

use std::{
    collections::VecDeque,
    future::Future as _,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt as _, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use tokio::time::Sleep;

use crate::problem::Refusal;

/// The body of every request and response in the gateway.
#[derive(Debug, Default)]
pub struct Body(Kind);

#[derive(Debug, Default)]
enum Kind {
    #[default]
    Empty,
    Full(Option<Bytes>),
    Streaming(Streaming),
    Boxed(UnsyncBoxBody<Bytes, BodyError>),
}

/// Why a body broke off.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the body is larger than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("the body did not arrive in time")]
    TimedOut,
    #[error("the body broke off: {0}")]
    Broken(String),
}

impl BodyError {
    /// What a channel is told when its own body failed.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::TooLarge { limit } => Refusal::BodyTooLarge { limit: *limit },
            Self::TimedOut => Refusal::BodyTimeout,
            Self::Broken(_) => Refusal::BadRequest {
                detail: "the request's body broke off".into(),
            },
        }
    }
}

impl Body {
    /// No content at all.
    pub fn empty() -> Self {
        Self(Kind::Empty)
    }

    /// A channel's body: at most `limit` bytes, no pause longer than `pause`. What is not read of it is left in
    /// `unread`, in bytes; `u64::MAX` where nobody knows how many.
    pub fn request(incoming: Incoming, limit: u64, pause: Duration, unread: &Arc<AtomicU64>) -> Self {
        unread.store(0, Ordering::Relaxed);
        if incoming.is_end_stream() {
            return Self::empty();
        }
        let unread = unread.clone();
        Self(Kind::Streaming(Streaming {
            source: Source::Request(Inbound { incoming, unread }),
            limit,
            left: limit,
            patience: Patience::Pause(pause),
            timer: None,
        }))
    }

    /// An upstream's body, to be complete by `deadline`.
    pub(crate) fn response(carrier: Box<dyn Carrier>, deadline: Instant) -> Self {
        if carrier.left() == Some(0) {
            carrier.ended();
            return Self::empty();
        }
        let patience = Patience::Until(deadline);
        Self(Kind::Streaming(Streaming {
            source: Source::Response(Some(carrier)),
            limit: u64::MAX,
            left: u64::MAX,
            patience,
            timer: None,
        }))
    }

    /// Boxes any other body. Only for what is not on the plain request path.
    pub fn boxed<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: std::fmt::Display,
    {
        Self(Kind::Boxed(
            body.map_err(|error| BodyError::Broken(error.to_string()))
                .boxed_unsync(),
        ))
    }

    /// The bytes, where they are all in memory already.
    pub fn as_bytes(&self) -> Option<Bytes> {
        match &self.0 {
            Kind::Empty => Some(Bytes::new()),
            Kind::Full(bytes) => Some(bytes.clone().unwrap_or_default()),
            Kind::Streaming(_) | Kind::Boxed(_) => None,
        }
    }

    /// Reads everything into memory where it is at most `limit` bytes; else, or where it breaks off or has trailers, gives back a body
    /// that yields what the whole one would have.
    pub async fn peek(mut self, limit: usize) -> Result<Bytes, Self> {
        if let Some(bytes) = self.as_bytes() {
            return if bytes.len() > limit { Err(self) } else { Ok(bytes) };
        }
        if self.size_hint().lower() > limit as u64 {
            return Err(self);
        }
        let mut read = Vec::new();
        let mut length = 0;
        while let Some(frame) = self.frame().await {
            if let Ok(frame) = &frame {
                length += frame.data_ref().map_or(0, Bytes::len);
            }
            // Trailers would be lost with the bytes alone.
            let is_over = frame.as_ref().map_or(true, Frame::is_trailers) || length > limit;
            read.push(frame);
            if is_over {
                return Err(Self::boxed(Resumed {
                    read: read.into(),
                    rest: self,
                }));
            }
        }
        let mut pieces = read.into_iter().filter_map(|frame| frame.ok()?.into_data().ok());
        let first = pieces.next().unwrap_or_default();
        if first.len() == length {
            return Ok(first);
        }
        let mut whole = Vec::with_capacity(length);
        whole.extend_from_slice(&first);
        drop(first);
        pieces.for_each(|piece| whole.extend_from_slice(&piece));
        Ok(whole.into())
    }

    /// Reads everything into memory, at most `limit` bytes. Trailers are dropped.
    pub async fn buffer(mut self, limit: u64) -> Result<Bytes, BodyError> {
        if let Some(bytes) = self.as_bytes() {
            return if bytes.len() as u64 > limit {
                Err(BodyError::TooLarge { limit })
            } else {
                Ok(bytes)
            };
        }
        if self.size_hint().lower() > limit {
            return Err(BodyError::TooLarge { limit });
        }
        let mut first = Bytes::new();
        let mut whole = Vec::new();
        while let Some(frame) = self.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            let length = first.len() + whole.len() + data.len();
            if length as u64 > limit {
                return Err(BodyError::TooLarge { limit });
            }
            // Most bodies come in one piece, which is taken as it is.
            if length == data.len() {
                first = data;
                continue;
            }
            if whole.is_empty() {
                // What is announced is reserved, and costs nothing before it has come.
                let announced = self.size_hint().lower().min(limit);
                whole.reserve_exact(length + usize::try_from(announced).unwrap_or_default());
                whole.extend_from_slice(&std::mem::take(&mut first));
            }
            whole.extend_from_slice(&data);
        }
        Ok(if whole.is_empty() { first } else { whole.into() })
    }
}

/// A body whose beginning was read already.
struct Resumed {
    read: VecDeque<Result<Frame<Bytes>, BodyError>>,
    rest: Body,
}

impl HttpBody for Resumed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.read.pop_front() {
            Some(frame) => Poll::Ready(Some(frame)),
            None => Pin::new(&mut self.rest).poll_frame(context),
        }
    }
}

/// A body on its way through, with its bounds.
struct Streaming {
    source: Source,
    limit: u64,
    left: u64,
    patience: Patience,
    /// Set when the other side made us wait, so that bodies which are there at once cost no timer.
    timer: Option<Pin<Box<Sleep>>>,
}

/// Where a body comes from.
enum Source {
    Request(Inbound),
    /// `None` once it has been read to its end.
    Response(Option<Box<dyn Carrier>>),
}

/// A channel's body as it comes, which notes what of it nobody read.
struct Inbound {
    incoming: Incoming,
    unread: Arc<AtomicU64>,
}

impl Drop for Inbound {
    fn drop(&mut self) {
        if !self.incoming.is_end_stream() {
            let left = self.incoming.size_hint().upper().unwrap_or(u64::MAX);
            self.unread.store(left, Ordering::Relaxed);
        }
    }
}

/// What brings the body of a response, and is free for another one afterwards.
pub(crate) trait Carrier: Send {
    /// The next piece.
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>>;

    /// How many bytes are to come, where that is known.
    fn left(&self) -> Option<u64>;

    /// The body has been read to its end.
    fn ended(self: Box<Self>);
}

impl Source {
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Request(inbound) => {
                let frame = ready!(Pin::new(&mut inbound.incoming).poll_frame(context));
                Poll::Ready(frame.map(|frame| frame.map_err(|error| BodyError::Broken(error.to_string()))))
            }
            Self::Response(Some(carrier)) => carrier.poll_frame(context),
            Self::Response(None) => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Request(inbound) => inbound.incoming.size_hint(),
            Self::Response(Some(carrier)) => carrier.left().map_or_else(SizeHint::default, SizeHint::with_exact),
            Self::Response(None) => SizeHint::with_exact(0),
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Self::Request(inbound) => inbound.incoming.is_end_stream(),
            Self::Response(Some(carrier)) => carrier.left() == Some(0),
            Self::Response(None) => true,
        }
    }

    fn ended(&mut self) {
        if let Self::Response(carrier) = self
            && let Some(carrier) = carrier.take()
        {
            carrier.ended();
        }
    }
}

/// How long a body may take.
#[derive(Clone, Copy, Debug)]
enum Patience {
    /// Between two pieces.
    Pause(Duration),
    /// In all.
    Until(Instant),
}

impl Streaming {
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Poll::Ready(frame) = self.source.poll_frame(context) else {
            let patience = self.patience;
            let timer = self.timer.get_or_insert_with(|| {
                Box::pin(match patience {
                    Patience::Pause(pause) => tokio::time::sleep(pause),
                    Patience::Until(deadline) => tokio::time::sleep_until(deadline.into()),
                })
            });
            ready!(timer.as_mut().poll(context));
            return Poll::Ready(Some(Err(BodyError::TimedOut)));
        };
        if matches!(self.patience, Patience::Pause(_)) {
            self.timer = None;
        }
        Poll::Ready(match frame {
            None => {
                self.source.ended();
                None
            }
            Some(Err(error)) => Some(Err(error)),
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                match self.left.checked_sub(length) {
                    Some(left) => {
                        self.left = left;
                        if self.source.is_over() {
                            self.source.ended();
                        }
                        Some(Ok(frame))
                    }
                    None => Some(Err(BodyError::TooLarge { limit: self.limit })),
                }
            }
        })
    }
}

impl std::fmt::Debug for Streaming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Streaming({:?})", self.patience)
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() {
            Self::empty()
        } else {
            Self(Kind::Full(Some(bytes)))
        }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Kind::Empty => Poll::Ready(None),
            Kind::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Streaming(streaming) => streaming.poll_frame(context),
            Kind::Boxed(boxed) => Pin::new(boxed).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Full(bytes) => bytes.is_none(),
            Kind::Streaming(streaming) => streaming.source.is_over(),
            Kind::Boxed(boxed) => boxed.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Kind::Streaming(streaming) => streaming.source.size_hint(),
            Kind::Boxed(boxed) => boxed.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use http_body_util::Full;

    use super::*;

    fn body(with_trailers: bool) -> Body {
        let trailers = with_trailers.then(|| {
            let mut trailers = HeaderMap::new();
            trailers.insert("digest", HeaderValue::from_static("x"));
            Ok(trailers)
        });
        Body::boxed(Full::new(Bytes::from_static(b"0123456789")).with_trailers(async { trailers }))
    }

    #[tokio::test]
    async fn a_body_that_is_looked_at_is_whole_whatever_is_found() {
        assert_eq!(body(false).peek(10).await.unwrap(), "0123456789");
        let over = body(false).peek(9).await.unwrap_err();
        assert_eq!(over.buffer(100).await.unwrap(), "0123456789");
        let collected = body(true).peek(100).await.unwrap_err().collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["digest"], "x");
        assert_eq!(collected.to_bytes(), "0123456789");
        let known = Body::from(Bytes::from_static(b"0123456789"));
        assert_eq!(
            known.peek(9).await.unwrap_err().buffer(100).await.unwrap(),
            "0123456789"
        );
    }
}
