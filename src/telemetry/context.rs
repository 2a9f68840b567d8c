//! W3C Trace Context: which trace a request belongs to, and whether it is kept.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The field that carries the trace context, in and out.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// W3C trace context of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// 16 bytes, never zero.
    pub trace_id: u128,
    /// Our server span, never zero.
    pub span_id: u64,
    /// The caller's span, where it sent a valid `traceparent`.
    pub parent: Option<u64>,
    /// Decided before any span exists.
    pub sampled: bool,
}

/// Which traces without a parent are kept: by trace id, so that every service that looks decides alike.
#[derive(Clone, Copy, Debug)]
pub struct Sampler {
    /// Trace ids whose low 56 bits are below it are kept.
    threshold: u64,
}

const SPACE: u64 = 1 << 56;

impl Sampler {
    /// Keeps a share from 0 to 1.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "0 to 2^56"
    )]
    pub fn new(share: f64) -> Self {
        Self {
            threshold: (share.clamp(0.0, 1.0) * SPACE as f64) as u64,
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the low bits are what counts")]
    fn keeps(self, trace_id: u128) -> bool {
        (trace_id as u64) % SPACE < self.threshold
    }
}

impl TraceContext {
    /// Continues the caller's trace, or begins one. A parent's decision is kept; a trace that begins here is sampled by
    /// its id. Several or malformed `traceparent` fields count as none (W3C Trace Context §3.2).
    pub fn from_headers(headers: &HeaderMap, sampler: Option<&Sampler>) -> Self {
        let span_id = fastrand::u64(1..);
        let mut values = headers.get_all(TRACEPARENT).iter();
        let parent = match (values.next(), values.next()) {
            (Some(only), None) => only.to_str().ok().and_then(parse),
            _ => None,
        };
        if let Some((trace_id, parent, sampled)) = parent {
            Self {
                trace_id,
                span_id,
                parent: Some(parent),
                sampled,
            }
        } else {
            let trace_id = fastrand::u128(1..);
            Self {
                trace_id,
                span_id,
                parent: None,
                sampled: sampler.is_some_and(|sampler| sampler.keeps(trace_id)),
            }
        }
    }

    /// Continues a stored trace; begins one where the text is no valid `traceparent`.
    pub(super) fn linked(traceparent: &str) -> Option<(u128, u64)> {
        parse(traceparent).map(|(trace_id, span_id, _)| (trace_id, span_id))
    }

    /// The `traceparent` that makes a span of ours the parent.
    pub fn traceparent(&self, span_id: u64) -> HeaderValue {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(self.trace_id.to_be_bytes(), &mut text[3..35]);
        write_hex(span_id.to_be_bytes(), &mut text[36..52]);
        text[54] = b'0' + u8::from(self.sampled);
        HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

/// Two lower-case digits for each byte, in a place that is twice as long.
pub(crate) fn hex<const BYTES: usize>(bytes: [u8; BYTES], place: &mut [u8]) -> &str {
    write_hex(bytes, place);
    str::from_utf8(place).unwrap_or_default()
}

#[inline]
fn write_hex<const BYTES: usize>(bytes: [u8; BYTES], place: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (digits, byte) in place.chunks_exact_mut(2).zip(bytes) {
        digits[0] = DIGITS[usize::from(byte >> 4)];
        digits[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// Trace id, parent id and the sampled flag. Later versions may append fields (§4.3); version `ff` is invalid.
fn parse(text: &str) -> Option<(u128, u64, bool)> {
    let bytes = text.as_bytes();
    if bytes.len() < 55 || bytes[2] != b'-' || bytes[35] != b'-' || bytes[52] != b'-' {
        return None;
    }
    let version = u8::try_from(number(&bytes[..2])?).ok()?;
    let is_right_length = match version {
        0 => bytes.len() == 55,
        0xff => false,
        _ => bytes.len() == 55 || bytes[55] == b'-',
    };
    let trace_id = number(&bytes[3..35])?;
    let parent = u64::try_from(number(&bytes[36..52])?).ok()?;
    let flags = number(&bytes[53..55])?;
    (is_right_length && trace_id != 0 && parent != 0).then_some((trace_id, parent, flags & 1 == 1))
}

/// Lower-case digits only, as the standard has it.
fn number(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn from(values: &[&str]) -> TraceContext {
        let headers: HeaderMap = values
            .iter()
            .map(|value| (TRACEPARENT, value.parse().unwrap()))
            .collect();
        TraceContext::from_headers(&headers, None)
    }

    #[test]
    fn a_valid_parent_is_continued_with_its_decision() {
        let context = from(&[VALID]);
        assert_eq!(context.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!((context.parent, context.sampled), (Some(0x00f0_67aa_0ba9_02b7), true));
        assert!(!from(&[&VALID.replace("-01", "-00")]).sampled);
    }

    #[test]
    fn a_later_version_may_be_longer_and_the_first_may_not() {
        assert!(from(&[&format!("cc{}-more", &VALID[2..])]).parent.is_some());
        assert!(from(&[&format!("cc{}.more", &VALID[2..])]).parent.is_none());
        assert!(from(&[&format!("{VALID}-more")]).parent.is_none());
    }

    #[test]
    fn what_is_malformed_or_doubled_begins_a_new_trace() {
        for wrong in [
            "",
            "00",
            &VALID[..54],
            &VALID.replace("4bf9", "4BF9"),
            &format!("ff{}", &VALID[2..]),
            &VALID.replace('-', "_"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ] {
            assert_eq!(from(&[wrong]).parent, None, "{wrong}");
        }
        assert_eq!(from(&[VALID, VALID]).parent, None);
    }

    #[test]
    fn what_is_written_can_be_read() {
        let context = from(&[VALID]);
        let text = context.traceparent(0xabc);
        assert_eq!(text, "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000abc-01");
        assert_eq!(parse(text.to_str().unwrap()), Some((context.trace_id, 0xabc, true)));
    }

    #[test]
    fn shares_are_kept_by_trace_id() {
        assert!(!Sampler::new(0.0).keeps(0));
        assert!(Sampler::new(1.0).keeps(u128::MAX));
        let kept = (0..10_000_u128)
            .filter(|number| Sampler::new(0.1).keeps(number << 43))
            .count();
        assert!((500..2_000).contains(&kept), "{kept}");
    }
}
