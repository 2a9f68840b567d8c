//! HTTP/1.1 in bytes, as a client writes and reads it (RFC 9112). Knows nothing of sockets.

mod chunked;
mod head;

pub(super) use head::{RequestHead, response};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode};

use chunked::{Chunks, last_chunk, next_chunk};

/// How the body of a request is delimited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// So many bytes are still to come.
    Length(u64),
    /// `is_begun` after the first chunk. Trailers go only where `Trailer` announced them.
    Chunked {
        is_begun: bool,
        trailers: Vec<http::HeaderName>,
    },
}

/// How the body of a response is delimited, and what of it is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// So many bytes.
    Length(u64),
    Chunked(Chunks),
    /// All there is until the connection closes.
    Rest,
}

/// A part of a response's body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
}

/// Why bytes are no response, as a phrase.
pub(super) type Malformed = &'static str;

impl Sent {
    /// Before a piece of the body: writes what delimits it.
    pub(super) fn data(&mut self, out: &mut BytesMut, size: usize) -> Result<(), Malformed> {
        match self {
            Self::Length(left) => {
                *left = left
                    .checked_sub(size as u64)
                    .ok_or("the request's body is longer than it said")?;
            }
            Self::Chunked { is_begun, .. } => {
                next_chunk(out, *is_begun, size);
                *is_begun = true;
            }
        }
        Ok(())
    }

    /// After the body: writes what delimits it.
    pub(super) fn end(&self, out: &mut BytesMut, trailers: &HeaderMap) -> Result<(), Malformed> {
        match self {
            Self::Length(0) => Ok(()),
            Self::Length(_) => Err("the request's body is shorter than it said"),
            Self::Chunked {
                is_begun,
                trailers: announced,
            } => {
                last_chunk(out, *is_begun, announced, trailers);
                Ok(())
            }
        }
    }
}

impl Received {
    /// Nothing of the body is to come.
    pub(super) const NOTHING: Self = Self::Length(0);

    /// How many bytes are to come, where that is known.
    pub(super) fn left(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::Chunked(_) | Self::Rest => None,
        }
    }

    /// The next part, out of the bytes that have arrived; `None` where more have to arrive first.
    pub(super) fn next(&mut self, arrived: &mut BytesMut) -> Result<Option<Part>, Malformed> {
        match self {
            Self::Length(0) => Ok(Some(Part::End)),
            Self::Length(left) => Ok(take(arrived, left)),
            Self::Chunked(chunks) => {
                let part = chunks.next(arrived)?;
                if let Some(Part::End | Part::Trailers(_)) = part {
                    *self = Self::NOTHING;
                }
                Ok(part)
            }
            Self::Rest if arrived.is_empty() => Ok(None),
            Self::Rest => Ok(Some(Part::Data(arrived.split().freeze()))),
        }
    }

    /// The other side sends nothing more. Only a body that ends so is whole.
    pub(super) fn closed(&mut self) -> Result<(), Malformed> {
        match self {
            Self::Rest | Self::Length(0) => {
                *self = Self::NOTHING;
                Ok(())
            }
            Self::Length(_) | Self::Chunked(_) => Err("the response ended early"),
        }
    }
}

/// Reads all of a response out of bytes that arrive in pieces of a size, to compare: its status, its body, and whether
/// its end was reached before they ended. Meant for tests.
pub fn whole_response(method: &Method, bytes: &[u8], piece: usize) -> Result<Option<WholeResponse>, &'static str> {
    let mut arrived = BytesMut::new();
    let (mut head, mut data) = (None, Vec::new());
    for piece in bytes.chunks(piece.max(1)) {
        arrived.extend_from_slice(piece);
        if head.is_none() {
            head = response(&mut arrived, method)?.map(|head| (head.response.status(), head.body));
        }
        let Some((status, body)) = &mut head else { continue };
        while let Some(part) = body.next(&mut arrived)? {
            match part {
                Part::Data(data_part) => data.extend_from_slice(&data_part),
                Part::Trailers(_) | Part::End => return Ok(Some((*status, data, true))),
            }
        }
    }
    Ok(head.map(|(status, _)| (status, data, false)))
}

/// Status, body, and whether the body is whole.
pub type WholeResponse = (StatusCode, Vec<u8>, bool);

/// As many of the `left` bytes as have arrived.
fn take(arrived: &mut BytesMut, left: &mut u64) -> Option<Part> {
    if arrived.is_empty() {
        return None;
    }
    let length = usize::try_from(*left).map_or(arrived.len(), |left| left.min(arrived.len()));
    *left -= length as u64;
    Some(Part::Data(arrived.split_to(length).freeze()))
}

#[cfg(test)]
mod tests;
