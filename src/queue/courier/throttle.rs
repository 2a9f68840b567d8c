//! What an upstream says of its own limits: when to come back, and whether there is anything left.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, header};

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// What remains and when it is reset, as older drafts and many vendors write it.
static SINGLE: [(HeaderName, HeaderName); 2] = [
    (
        HeaderName::from_static("ratelimit-remaining"),
        HeaderName::from_static("ratelimit-reset"),
    ),
    (
        HeaderName::from_static("x-ratelimit-remaining"),
        HeaderName::from_static("x-ratelimit-reset"),
    ),
];
/// A number from here on is no length of time but a time, in seconds since 1970: that of a September day of 2001.
const EPOCH: u64 = 1_000_000_000;

/// `Retry-After` in seconds or as a date (RFC 9110 §10.2.3).
pub(in crate::queue) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    Some(at.duration_since(now).unwrap_or_default())
}

/// How long nothing is left of a limit: by `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10 §4), or by the single
/// fields of earlier drafts, with `X-` in front too, whose reset may be a length or a time in seconds. `None` where
/// something is left, or nothing is said.
pub(super) fn spent(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let lists = headers
        .get_all(RATELIMIT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let listed = lists.flat_map(|list| list.split(',')).filter_map(spent_item).max();
    let single = SINGLE.iter().filter_map(|(remaining, reset)| {
        let number = |name| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
        if number(remaining)? > 0 {
            return None;
        }
        let reset = number(reset)?;
        if reset < EPOCH {
            return Some(Duration::from_secs(reset));
        }
        let at = UNIX_EPOCH.checked_add(Duration::from_secs(reset))?;
        Some(at.duration_since(now).unwrap_or_default())
    });
    single
        .max()
        .into_iter()
        .chain(listed)
        .max()
        .filter(|wait| !wait.is_zero())
}

/// `"name";r=0;t=30`: nothing remains, for thirty seconds.
fn spent_item(item: &str) -> Option<Duration> {
    let parameter = |name: &str| {
        let mut parameters = item.split(';').skip(1).map(str::trim);
        parameters.find_map(|parameter| parameter.strip_prefix(name)?.strip_prefix('=')?.parse::<u64>().ok())
    };
    (parameter("r")? == 0).then(|| parameter("t").map(Duration::from_secs))?
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let fields = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
        fields.collect()
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn retry_after_may_be_seconds_or_a_date() {
        let found = |value, now| retry_after(&headers(&[("retry-after", value)]), at(now));
        assert_eq!(found("7", 0), Some(Duration::from_secs(7)));
        assert_eq!(
            found("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_747),
            Some(Duration::from_secs(30))
        );
        assert_eq!(
            found("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_999),
            Some(Duration::ZERO)
        );
        assert_eq!(found("soon", 0), None);
    }

    #[test]
    fn a_limit_is_spent_when_nothing_remains() {
        let found = |fields: &[_]| spent(&headers(fields), at(2_000_000_000)).map(|wait| wait.as_secs());
        for (fields, expected) in [
            (&[("ratelimit", r#""default";r=0;t=30"#)][..], Some(30)),
            (&[("ratelimit", r#""default";r=5;t=30"#)], None),
            (&[("ratelimit", r#""burst";r=3;t=1, "day";r=0; t=600"#)], Some(600)),
            (&[("ratelimit", r#""default";r=0"#)], None),
            (&[("ratelimit", "limit=100, remaining=0, reset=9")], None),
            (&[("ratelimit-remaining", "0"), ("ratelimit-reset", "12")], Some(12)),
            (&[("ratelimit-remaining", "1"), ("ratelimit-reset", "12")], None),
            (
                &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "2000000045")],
                Some(45),
            ),
            (
                &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1999999999")],
                None,
            ),
            (&[("x-ratelimit-remaining", "none"), ("x-ratelimit-reset", "9")], None),
            (&[], None),
        ] {
            assert_eq!(found(fields), expected, "{fields:?}");
        }
    }
}
