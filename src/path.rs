//! Brings a request's path into one form before it is matched, and refuses what has none.

use std::borrow::Cow;

use http::{Uri, uri::PathAndQuery};

use crate::problem::Refusal;

/// The path with unreserved characters decoded and escapes in upper case (RFC 3986 §6.2.2). Refused are dot segments,
/// empty segments, backslashes, control characters, and escapes of `/`, `\`, `.`-segments or NUL: two servers would read
/// them differently, and one of them would be fooled.
pub fn normalise(path: &str) -> Result<Cow<'_, str>, Refusal> {
    if !path.starts_with('/') {
        return Err(refused("a path must begin with `/`"));
    }
    if is_plain(path.as_bytes()) {
        return Ok(Cow::Borrowed(path));
    }
    let path = decode_unreserved(path)?;
    if path.contains('\\') || path.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(refused("a path cannot contain a backslash or a control character"));
    }
    let mut segments = path[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        if segment == "." || segment == ".." {
            return Err(refused("a path cannot contain the segments `.` and `..`"));
        }
        // One slash at the end is a path of its own.
        if segment.is_empty() && segments.peek().is_some() {
            return Err(refused("a path cannot contain an empty segment"));
        }
    }
    Ok(path)
}

/// Nothing but unreserved characters in segments that do not begin with a dot: nearly every path, found out in one pass.
fn is_plain(path: &[u8]) -> bool {
    let mut follows_slash = false;
    path.iter().all(|byte| {
        let is_plain = match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => true,
            b'/' | b'.' => !follows_slash,
            _ => false,
        };
        follows_slash = *byte == b'/';
        is_plain
    })
}

/// The same URI with another path.
pub fn with_path(uri: &Uri, path: &str) -> Result<Uri, Refusal> {
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).map_err(|_| refused("the path is not valid"))?);
    Uri::from_parts(parts).map_err(|_| refused("the path is not valid"))
}

fn decode_unreserved(path: &str) -> Result<Cow<'_, str>, Refusal> {
    if !path.contains('%') {
        return Ok(Cow::Borrowed(path));
    }
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(position) = rest.find('%') {
        decoded.push_str(&rest[..position]);
        let digits = rest
            .get(position + 1..position + 3)
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let digits = digits.ok_or_else(|| refused("a `%` in a path must be followed by two hexadecimal digits"))?;
        let byte = u8::from_str_radix(digits, 16).map_err(|_| refused("a path has an invalid escape"))?;
        match byte {
            b'/' | b'\\' | 0..=0x1f | 0x7f => {
                return Err(refused(
                    "a path cannot contain an escaped slash, backslash or control character",
                ));
            }
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => decoded.push(char::from(byte)),
            _ => {
                decoded.push('%');
                decoded.push_str(&digits.to_ascii_uppercase());
            }
        }
        rest = &rest[position + 3..];
    }
    decoded.push_str(rest);
    Ok(if decoded == path {
        Cow::Borrowed(path)
    } else {
        Cow::Owned(decoded)
    })
}

fn refused(detail: &'static str) -> Refusal {
    Refusal::BadRequest {
        detail: Cow::Borrowed(detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_path_stays_as_it_is() {
        for path in ["/", "/system/erp/v1/orders", "/orders/", "/orders/A%20B", "/a.b/..c"] {
            assert!(
                matches!(normalise(path), Ok(Cow::Borrowed(same)) if same == path),
                "{path}"
            );
        }
    }

    #[test]
    fn needless_escapes_are_decoded() {
        assert_eq!(normalise("/%6frders/%c3%bc").unwrap(), "/orders/%C3%BC");
    }

    #[test]
    fn what_two_servers_read_differently_is_refused() {
        for path in [
            "*",
            "",
            "//",
            "/a//b",
            "/.",
            "/a/../b",
            "/a/..",
            "/%2e%2e/b",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/a%00",
            "/a%0d%0a",
            "/%",
            "/%4",
            "/%zz",
            "/a%é",
        ] {
            assert!(normalise(path).is_err(), "{path}");
        }
    }
}
