//! The heads of requests and responses.

use std::mem::MaybeUninit;

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header, uri::PathAndQuery};
use http_body::SizeHint;
use hyper::ext::ReasonPhrase;

use super::{Malformed, Received, Sent, chunked::Chunks};
use crate::telemetry::TRACEPARENT;

/// Longest head of a response, in bytes.
const LONGEST: usize = 256 << 10;
/// Most header fields of a response.
const MOST_FIELDS: usize = 100;
/// Room for so many at least: hyper's server reads a connection's next request into the map of its last response, and
/// the fields that are added for an upstream then find room.
const ROOM: usize = 12;

/// What a request begins with.
pub(in crate::upstream) struct RequestHead<'a> {
    pub(in crate::upstream) method: &'a Method,
    pub(in crate::upstream) target: PathAndQuery,
    pub(in crate::upstream) host: &'a HeaderValue,
    pub(in crate::upstream) traceparent: Option<HeaderValue>,
    pub(in crate::upstream) headers: &'a HeaderMap,
}

/// What a response begins with.
#[derive(Debug)]
pub(in crate::upstream) struct Head {
    pub(in crate::upstream) response: Response<()>,
    pub(in crate::upstream) body: Received,
    /// The connection can carry another request afterwards.
    pub(in crate::upstream) is_kept: bool,
}

impl RequestHead<'_> {
    /// Writes it, and says how a body of such a size has to be sent. Whatever the fields say of its length, the body
    /// itself decides, where it knows.
    pub(in crate::upstream) fn write(&self, out: &mut BytesMut, size: &SizeHint) -> Result<Sent, Malformed> {
        let (sent, length) = self.framing(size)?;
        out.extend_from_slice(self.method.as_str().as_bytes());
        out.extend_from_slice(b" ");
        out.extend_from_slice(self.target.as_str().as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        field(out, "host", self.host.as_bytes());
        for (name, value) in self.headers {
            let is_ours = *name == header::HOST
                || *name == header::CONTENT_LENGTH
                || *name == header::TRANSFER_ENCODING
                || self.traceparent.is_some() && *name == TRACEPARENT;
            if !is_ours {
                field(out, name.as_str(), value.as_bytes());
            }
        }
        if let Some(traceparent) = &self.traceparent {
            field(out, "traceparent", traceparent.as_bytes());
        }
        match length {
            Some(length) => field(out, "content-length", HeaderValue::from(length).as_bytes()),
            None if matches!(sent, Sent::Chunked { .. }) => field(out, "transfer-encoding", b"chunked"),
            None => {}
        }
        out.extend_from_slice(b"\r\n");
        Ok(sent)
    }

    /// How the body is sent, and what `Content-Length` says.
    fn framing(&self, size: &SizeHint) -> Result<(Sent, Option<u64>), Malformed> {
        let said = content_length(self.headers);
        match size.exact() {
            // A length of nothing is not added to a request that had none.
            Some(0) => Ok((Sent::Length(0), said?.map(|_| 0))),
            Some(length) => Ok((Sent::Length(length), Some(length))),
            None => match said? {
                Some(length) => Ok((Sent::Length(length), Some(length))),
                // Some HTTP/2 clients leave open whether a body follows, and none does.
                None if matches!(*self.method, Method::GET | Method::HEAD | Method::CONNECT) => {
                    Ok((Sent::Length(0), None))
                }
                None => {
                    let names = self.headers.get_all(header::TRAILER).iter();
                    let names = names
                        .filter_map(|names| names.to_str().ok())
                        .flat_map(|names| names.split(','));
                    let trailers = names
                        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
                        .collect();
                    let is_begun = false;
                    Ok((Sent::Chunked { is_begun, trailers }, None))
                }
            },
        }
    }
}

/// One header field.
pub(super) fn field(out: &mut BytesMut, name: &str, value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Takes the head of a response out of what has arrived; `None` where more has to arrive first. Interim responses are
/// passed over.
pub(in crate::upstream) fn response(arrived: &mut BytesMut, method: &Method) -> Result<Option<Head>, Malformed> {
    loop {
        let Some((mut response, is_kept)) = parse(arrived)? else {
            return if arrived.len() < LONGEST {
                Ok(None)
            } else {
                Err("the response's header is too long")
            };
        };
        let body = match response.status() {
            StatusCode::SWITCHING_PROTOCOLS => return Err("the response switches to a protocol nobody asked for"),
            status if status.is_informational() => continue,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => Received::NOTHING,
            _ if *method == Method::HEAD => Received::NOTHING,
            _ => body(&mut response)?,
        };
        let is_kept = is_kept && body != Received::Rest;
        return Ok(Some(Head {
            response,
            body,
            is_kept,
        }));
    }
}

/// Status and fields of what may be an interim response, and whether the connection is kept after it.
fn parse(arrived: &mut BytesMut) -> Result<Option<(Response<()>, bool)>, Malformed> {
    const WRONG: Malformed = "the response is not HTTP";

    let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let length = match config.parse_response_with_uninit_headers(&mut parsed, arrived, &mut fields) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err("the response has too many header fields"),
        Err(_) => return Err(WRONG),
    };
    let mut response = Response::new(());
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
    *response.status_mut() = status.ok_or(WRONG)?;
    *response.version_mut() = match parsed.version {
        Some(1) => Version::HTTP_11,
        _ => Version::HTTP_10,
    };
    if let Some(reason) = parsed
        .reason
        .filter(|reason| Some(*reason) != response.status().canonical_reason())
        && let Ok(reason) = ReasonPhrase::try_from(reason.as_bytes())
    {
        response.extensions_mut().insert(reason);
    }
    // Values become parts of the bytes that have arrived, without a copy of each: first where they are, then the parts.
    let start = arrived.as_ptr().addr();
    let mut places = Vec::with_capacity(parsed.headers.len());
    for field in &*parsed.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| WRONG)?;
        let place = field.value.as_ptr().addr() - start;
        places.push((name, place..place + field.value.len()));
    }
    let head = arrived.split_to(length).freeze();
    let mut is_kept = response.version() == Version::HTTP_11;
    let headers = response.headers_mut();
    headers.reserve(places.len().max(ROOM));
    for (name, place) in places {
        let value = HeaderValue::from_maybe_shared(head.slice(place)).map_err(|_| WRONG)?;
        headers.append(name, value);
    }
    if headers.contains_key(header::CONNECTION) {
        is_kept = !lists(headers, &header::CONNECTION, "close")
            && (is_kept || lists(headers, &header::CONNECTION, "keep-alive"));
    }
    Ok(Some((response, is_kept)))
}

/// How the body of a response that can have one is delimited (RFC 9112 §6.3).
fn body(response: &mut Response<()>) -> Result<Received, Malformed> {
    let is_new = response.version() == Version::HTTP_11;
    let headers = response.headers_mut();
    if headers.contains_key(header::TRANSFER_ENCODING) {
        if !is_new {
            return Err("the response has a transfer coding that its version does not know");
        }
        let last = headers.get_all(header::TRANSFER_ENCODING).iter().next_back();
        let last = last
            .and_then(|codings| codings.to_str().ok())
            .and_then(|codings| codings.rsplit(',').next());
        let is_chunked = last.is_some_and(|coding| coding.trim().eq_ignore_ascii_case("chunked"));
        // The coding overrides a length, and a caller must not see both.
        headers.remove(header::CONTENT_LENGTH);
        return Ok(if is_chunked {
            Received::Chunked(Chunks::default())
        } else {
            Received::Rest
        });
    }
    Ok(content_length(headers)?.map_or(Received::Rest, Received::Length))
}

/// What `Content-Length` says, however often it says the same.
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Malformed> {
    const WRONG: Malformed = "a Content-Length is malformed";

    let mut length = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        for digits in value.to_str().map_err(|_| WRONG)?.split(',') {
            let digits = digits.trim();
            // `parse` would take a sign.
            if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
                return Err(WRONG);
            }
            let found = digits.parse().map_err(|_| WRONG)?;
            if length.is_some_and(|length| length != found) {
                return Err(WRONG);
            }
            length = Some(found);
        }
    }
    Ok(length)
}

fn lists(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let mut tokens = values.flat_map(|value| value.split(','));
    tokens.any(|found| found.trim().eq_ignore_ascii_case(token))
}
