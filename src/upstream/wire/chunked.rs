//! Chunked bodies (RFC 9112 §7.1), strictly: what two readers could take for different lengths is refused.

use bytes::{Buf as _, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Malformed, Part, take};

/// Longest line with a chunk's size and its extensions, and longest trailer section, in bytes.
const LONGEST: usize = 16 << 10;
/// Most trailer fields.
const MOST_TRAILERS: usize = 64;

/// Where the reader of a chunked body stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::upstream) enum Chunks {
    /// Before a line with a size.
    #[default]
    Size,
    /// In a chunk of which so many bytes are to come.
    Data(u64),
    /// Before the line end after a chunk.
    DataEnd,
    /// After the last chunk.
    Trailers,
}

impl Chunks {
    pub(super) fn next(&mut self, arrived: &mut BytesMut) -> Result<Option<Part>, Malformed> {
        loop {
            match self {
                Self::Size => {
                    let Some((length, size)) = size(arrived)? else {
                        return Ok(None);
                    };
                    arrived.advance(length);
                    *self = if size == 0 { Self::Trailers } else { Self::Data(size) };
                }
                Self::Data(0) => *self = Self::DataEnd,
                Self::Data(left) => return Ok(take(arrived, left)),
                Self::DataEnd => {
                    let Some(end) = arrived.get(..2) else { return Ok(None) };
                    if end != b"\r\n" {
                        return Err("a chunk is longer than its size");
                    }
                    arrived.advance(2);
                    *self = Self::Size;
                }
                Self::Trailers => return trailers(arrived),
            }
        }
    }
}

/// Length of the line, and the size it says.
fn size(arrived: &[u8]) -> Result<Option<(usize, u64)>, Malformed> {
    const WRONG: Malformed = "a chunk's size is malformed";

    let Some(end) = arrived.iter().position(|byte| *byte == b'\n') else {
        return if arrived.len() < LONGEST { Ok(None) } else { Err(WRONG) };
    };
    let line = arrived[..end].strip_suffix(b"\r").ok_or(WRONG)?;
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, extension) = line.split_at(digits);
    let extension = extension.trim_ascii_start();
    let is_extension = extension.is_empty() || extension.starts_with(b";") && !extension.contains(&b'\r');
    let digits = str::from_utf8(digits).map_err(|_| WRONG)?;
    // 15 digits: no sum of lengths can overflow.
    if !is_extension || digits.len() > 15 {
        return Err(WRONG);
    }
    let size = u64::from_str_radix(digits, 16).map_err(|_| WRONG)?;
    Ok(Some((end + 1, size)))
}

fn trailers(arrived: &mut BytesMut) -> Result<Option<Part>, Malformed> {
    const WRONG: Malformed = "the trailers are malformed";

    let mut fields = [httparse::EMPTY_HEADER; MOST_TRAILERS];
    let (length, fields) = match httparse::parse_headers(arrived, &mut fields) {
        Ok(httparse::Status::Complete(found)) => found,
        Ok(httparse::Status::Partial) if arrived.len() < LONGEST => return Ok(None),
        Ok(httparse::Status::Partial) | Err(_) => return Err(WRONG),
    };
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| WRONG)?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| WRONG)?;
        trailers.append(name, value);
    }
    arrived.advance(length);
    Ok(Some(if trailers.is_empty() {
        Part::End
    } else {
        Part::Trailers(trailers)
    }))
}

/// Writes what stands before the content of a chunk: the end of the one before, and its size.
pub(in crate::upstream) fn next_chunk(out: &mut BytesMut, is_begun: bool, size: usize) {
    if is_begun {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("{size:x}\r\n").as_bytes());
}

/// Writes the end of a chunked body, with those of the trailers that were announced.
pub(in crate::upstream) fn last_chunk(
    out: &mut BytesMut,
    is_begun: bool,
    announced: &[HeaderName],
    trailers: &HeaderMap,
) {
    out.extend_from_slice(if is_begun { b"\r\n0\r\n" } else { b"0\r\n" });
    for (name, value) in trailers.iter().filter(|(name, _)| announced.contains(name)) {
        super::head::field(out, name.as_str(), value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}
