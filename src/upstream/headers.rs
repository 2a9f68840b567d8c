//! Which header fields cross the gateway, in both directions.

use std::{borrow::Cow, net::IpAddr};

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{config::HonouredSpec, exchange::Exchange};

/// Fields that concern one connection only (RFC 9110 §7.6.1), besides those that `Connection` names.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Fields by which back ends recognise users; from outside they are forgeries.
fn is_identity(name: &str) -> bool {
    matches!(
        name,
        "x-channel"
            | "x-forwarded-user"
            | "x-forwarded-email"
            | "x-forwarded-groups"
            | "x-forwarded-preferred-username"
            | "x-remote-user"
            | "remote-user"
            | "x-authenticated-user"
            | "x-authenticated-userid"
            | "x-user-id"
            | "x-client-cert"
            | "x-forwarded-client-cert"
    )
}

/// How many fields an upstream gets from us.
const OURS: usize = 9;
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The field that carries the correlation id, in and out.
pub(crate) const X_CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_CHANNEL: HeaderName = HeaderName::from_static("x-channel");
/// The field that carries a client's idempotency key.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Turns the header a channel sent into the one an upstream gets.
pub(crate) fn for_upstream(headers: &mut HeaderMap, exchange: &Exchange) {
    // In one step: a map that grows by one field at a time is built anew three times.
    headers.reserve(OURS);
    strip(headers, |name| {
        is_hop_by_hop(name) || is_identity(name) || name == "expect"
    });
    let host = headers.remove(header::HOST);
    forwarded(headers, exchange, host.as_ref());
    insert(headers, X_REQUEST_ID, &exchange.id);
    insert(headers, X_CORRELATION_ID, &exchange.correlation);
    if let Some(caller) = exchange.caller.get() {
        insert(headers, X_CHANNEL, &caller.channel);
    }
}

/// `Forwarded` (RFC 7239) and the `X-Forwarded-*` fields it replaces. What a client claims of itself is not passed on:
/// the first address an upstream reads is the one that connected to us.
fn forwarded(headers: &mut HeaderMap, exchange: &Exchange, host: Option<&HeaderValue>) {
    let proto = if exchange.is_tls { "https" } else { "http" };
    let address = exchange.peer.ip().to_canonical();
    let text = text_of(address);
    let client = match address {
        IpAddr::V4(_) => Cow::Borrowed(&*text),
        IpAddr::V6(_) => Cow::Owned(format!("\"[{text}]\"")),
    };
    let named = host
        .and_then(|host| host.to_str().ok())
        .filter(|host| !host.contains(['"', '\\']));
    let value = match named {
        Some(host) => ["for=", &client, ";host=\"", host, "\";proto=", proto].concat(),
        None => ["for=", &client, ";proto=", proto].concat(),
    };
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(header::FORWARDED, value);
    }
    insert(headers, X_FORWARDED_FOR, &text);
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(proto));
    match host {
        Some(host) => headers.insert(X_FORWARDED_HOST, host.clone()),
        None => headers.remove(X_FORWARDED_HOST),
    };
}

/// An address as text. IPv4, the usual one, without the formatting machinery: this is done for every request.
pub(crate) fn text_of(address: IpAddr) -> String {
    let IpAddr::V4(address) = address else {
        return address.to_string();
    };
    let mut text = String::with_capacity(15);
    for (place, part) in address.octets().into_iter().enumerate() {
        if place > 0 {
            text.push('.');
        }
        if part >= 100 {
            text.push(char::from(b'0' + part / 100));
        }
        if part >= 10 {
            text.push(char::from(b'0' + part / 10 % 10));
        }
        text.push(char::from(b'0' + part % 10));
    }
    text
}

/// Puts the idempotency key where this upstream looks for it.
pub(crate) fn carry_idempotency_key(headers: &mut HeaderMap, honoured: &HonouredSpec, exchange: &Exchange) {
    let Some(key) = headers.remove(IDEMPOTENCY_KEY) else {
        return;
    };
    let Ok(name) = HeaderName::try_from(honoured.header.as_str()) else {
        return;
    };
    let key = match exchange.caller.get() {
        Some(caller) if honoured.per_channel => {
            let key = String::from_utf8_lossy(key.as_bytes());
            let key = key.trim_matches('"');
            HeaderValue::try_from(format!("{}:{key}", caller.channel)).unwrap_or_else(|_| HeaderValue::from_static(""))
        }
        _ => key,
    };
    headers.insert(name, key);
}

/// Turns the header an upstream sent into the one a channel gets.
pub(crate) fn from_upstream(headers: &mut HeaderMap) {
    // Which products stand behind the gateway is nobody's business.
    strip(headers, |name| {
        is_hop_by_hop(name) || name == "server" || name == "x-powered-by"
    });
}

/// Removes the fields that a predicate picks, and those that `Connection` names. Looks at the few that are there instead
/// of asking for the many that may not be.
fn strip(headers: &mut HeaderMap, is_unwanted: impl Fn(&str) -> bool) {
    if headers.contains_key(header::CONNECTION) {
        for name in named_by_connection(headers) {
            headers.remove(name);
        }
    }
    while let Some(name) = headers.keys().find(|name| is_unwanted(name.as_str())).cloned() {
        headers.remove(name);
    }
}

fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let names = values.flat_map(|value| value.split(',')).map(str::trim);
    // Goes anyway, and is all that most of them name.
    let names = names.filter(|name| !name.eq_ignore_ascii_case("keep-alive"));
    let names = names.filter_map(|name| HeaderName::try_from(name).ok());
    // A client cannot have fields removed that the gateway itself relies on.
    let is_ours = |name: &HeaderName| [header::HOST, header::CONTENT_LENGTH, header::AUTHORIZATION].contains(name);
    names.filter(|name| !is_ours(name)).collect()
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::telemetry::TraceContext;

    #[test]
    fn addresses_are_written_as_ever() {
        for address in [
            "0.0.0.0",
            "127.0.0.1",
            "10.20.30.40",
            "255.255.255.255",
            "192.168.100.9",
            "::1",
            "2001:db8::9",
        ] {
            assert_eq!(text_of(address.parse().unwrap()), address);
        }
    }

    fn exchange() -> Exchange {
        let trace = TraceContext {
            trace_id: 1,
            span_id: 2,
            parent: None,
            sampled: false,
        };
        Exchange::new(
            Arc::from("r1"),
            Arc::from("c1"),
            trace,
            "[::ffff:10.0.0.9]:4711".parse().unwrap(),
            true,
        )
    }

    #[test]
    fn hop_by_hop_fields_and_those_that_connection_names_do_not_cross() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Secret-Hop"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("x-secret-hop", "1"),
            ("accept", "*/*"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        from_upstream(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
    }

    #[test]
    fn who_connected_is_said_by_the_gateway_alone() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", HeaderValue::from_static("1.2.3.4"));
        headers.insert("forwarded", HeaderValue::from_static("for=1.2.3.4"));
        headers.insert("x-channel", HeaderValue::from_static("admin"));
        headers.insert("remote-user", HeaderValue::from_static("root"));
        headers.insert("host", HeaderValue::from_static("shop.example"));
        for_upstream(&mut headers, &exchange());
        assert_eq!(headers["forwarded"], "for=10.0.0.9;host=\"shop.example\";proto=https");
        assert_eq!(headers["x-forwarded-for"], "10.0.0.9");
        assert_eq!(headers["x-forwarded-host"], "shop.example");
        assert_eq!(headers["x-correlation-id"], "c1");
        assert!(!headers.contains_key("x-channel") && !headers.contains_key("remote-user"));
    }

    #[test]
    fn a_client_cannot_have_the_content_length_removed() {
        let mut headers = HeaderMap::new();
        headers.insert("connection", HeaderValue::from_static("content-length"));
        headers.insert("content-length", HeaderValue::from_static("3"));
        strip(&mut headers, is_hop_by_hop);
        assert!(headers.contains_key("content-length"));
    }
}
