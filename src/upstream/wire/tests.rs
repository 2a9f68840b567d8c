use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use http_body::SizeHint;
use proptest::prelude::*;

use super::{
    head::{Head, RequestHead, response},
    *,
};

fn written(
    method: &Method,
    headers: &[(&'static str, &'static str)],
    size: &SizeHint,
) -> Result<(String, Sent), Malformed> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let head = RequestHead {
        method,
        target: "/orders?limit=2".parse().unwrap(),
        host: &HeaderValue::from_static("erp:9101"),
        traceparent: Some(HeaderValue::from_static("00-1-2-01")),
        headers: &map,
    };
    let mut out = BytesMut::new();
    let sent = head.write(&mut out, size)?;
    Ok((String::from_utf8(out.to_vec()).unwrap(), sent))
}

fn read(text: &str) -> Result<Option<Head>, Malformed> {
    response(&mut BytesMut::from(text), &Method::GET)
}

fn body_of(fields: &str) -> Result<Received, Malformed> {
    Ok(read(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"))?.unwrap().body)
}

/// All data, trailers included, of a chunked body that arrives in pieces cut at the given places.
fn chunks(text: &[u8], cuts: &[usize]) -> Result<Option<(Vec<u8>, HeaderMap)>, Malformed> {
    let (mut arrived, mut data, mut received) = (BytesMut::new(), Vec::new(), Received::Chunked(Chunks::default()));
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
    cuts.sort_unstable();
    cuts.push(text.len());
    let mut from = 0;
    for cut in cuts {
        arrived.put_slice(&text[from..cut]);
        from = cut;
        while let Some(part) = received.next(&mut arrived)? {
            match part {
                Part::Data(piece) => data.extend_from_slice(&piece),
                Part::Trailers(trailers) => return Ok(Some((data, trailers))),
                Part::End => return Ok(Some((data, HeaderMap::new()))),
            }
        }
    }
    Ok(None)
}

#[test]
fn a_request_names_our_host_and_our_span_whatever_its_fields_say() {
    let headers = [("host", "evil"), ("traceparent", "theirs"), ("accept", "*/*")];
    let (text, sent) = written(&Method::GET, &headers, &SizeHint::with_exact(0)).unwrap();
    let lines = "GET /orders?limit=2 HTTP/1.1\r\nhost: erp:9101\r\naccept: */*\r\ntraceparent: 00-1-2-01\r\n\r\n";
    assert_eq!((text.as_str(), sent), (lines, Sent::Length(0)));
}

#[test]
fn a_body_of_known_size_is_sent_with_it() {
    let wrong = [("content-length", "9"), ("transfer-encoding", "chunked")];
    let (text, sent) = written(&Method::POST, &wrong, &SizeHint::with_exact(3)).unwrap();
    assert!(
        text.ends_with("traceparent: 00-1-2-01\r\ncontent-length: 3\r\n\r\n"),
        "{text}"
    );
    assert_eq!(sent, Sent::Length(3));
}

#[test]
fn a_body_of_unknown_size_is_sent_with_the_length_it_said_else_in_chunks() {
    let unknown = SizeHint::default();
    let (text, sent) = written(&Method::POST, &[("content-length", "7")], &unknown).unwrap();
    assert!(text.contains("content-length: 7") && sent == Sent::Length(7), "{text}");
    let (text, sent) = written(&Method::POST, &[("trailer", "x-sum, x-more")], &unknown).unwrap();
    let trailers = ["x-sum", "x-more"].map(HeaderName::from_static).to_vec();
    assert!(text.ends_with("transfer-encoding: chunked\r\n\r\n"), "{text}");
    assert_eq!(
        sent,
        Sent::Chunked {
            is_begun: false,
            trailers
        }
    );
    assert!(written(&Method::POST, &[("content-length", "7, 8")], &unknown).is_err());
}

#[test]
fn an_empty_body_gets_no_length_that_nobody_gave_it() {
    let empty = SizeHint::with_exact(0);
    assert!(
        !written(&Method::POST, &[], &empty)
            .unwrap()
            .0
            .contains("content-length")
    );
    assert!(
        written(&Method::POST, &[("content-length", "0")], &empty)
            .unwrap()
            .0
            .contains("content-length: 0\r\n")
    );
    // An HTTP/2 client may leave open whether a body follows.
    let (text, sent) = written(&Method::GET, &[], &SizeHint::default()).unwrap();
    assert!(!text.contains("transfer-encoding") && sent == Sent::Length(0), "{text}");
}

#[test]
fn a_body_is_neither_longer_nor_shorter_than_it_said() {
    let mut out = BytesMut::new();
    let mut sent = Sent::Length(3);
    assert!(sent.end(&mut out, &HeaderMap::new()).is_err());
    assert!(sent.data(&mut out, 4).is_err());
    sent.data(&mut out, 3).unwrap();
    sent.end(&mut out, &HeaderMap::new()).unwrap();
    assert!(out.is_empty());
}

#[test]
fn trailers_go_only_where_they_were_announced() {
    let (mut out, mut trailers) = (BytesMut::new(), HeaderMap::new());
    trailers.insert("x-sum", HeaderValue::from_static("1"));
    trailers.insert("content-length", HeaderValue::from_static("99"));
    let announced = vec![HeaderName::from_static("x-sum")];
    let mut sent = Sent::Chunked {
        is_begun: false,
        trailers: announced,
    };
    sent.data(&mut out, 10).unwrap();
    out.put_slice(b"0123456789");
    sent.end(&mut out, &trailers).unwrap();
    assert_eq!(out, "a\r\n0123456789\r\n0\r\nx-sum: 1\r\n\r\n");
}

#[test]
fn a_response_is_read_once_its_header_is_there() {
    let text = "HTTP/1.1 404 Gone Fishing\r\nContent-Length: 2\r\nX-A: 1\r\nX-A: 2\r\n\r\nok";
    for end in 1..text.len() - 2 {
        assert!(read(&text[..end]).unwrap().is_none(), "{end}");
    }
    let mut arrived = BytesMut::from(text);
    let head = response(&mut arrived, &Method::GET).unwrap().unwrap();
    assert_eq!(
        (head.response.status().as_u16(), head.body, head.is_kept),
        (404, Received::Length(2), true)
    );
    let values: Vec<_> = head.response.headers().get_all("x-a").iter().collect();
    assert_eq!(values, ["1", "2"]);
    let reason = head.response.extensions().get::<hyper::ext::ReasonPhrase>().unwrap();
    assert_eq!(reason.as_bytes(), b"Gone Fishing");
    assert_eq!(arrived, "ok");
}

#[test]
fn interim_responses_are_passed_over() {
    let text =
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
    let head = read(text).unwrap().unwrap();
    assert_eq!((head.response.status().as_u16(), head.body), (204, Received::NOTHING));
    assert!(!head.response.headers().contains_key("link"));
    assert!(read("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n").is_err());
}

#[test]
fn a_body_ends_where_the_standard_says() {
    assert_eq!(body_of("content-length: 5\r\n"), Ok(Received::Length(5)));
    assert_eq!(
        body_of("content-length: 5, 5\r\ncontent-length: 5\r\n"),
        Ok(Received::Length(5))
    );
    assert_eq!(
        body_of("transfer-encoding: gzip, Chunked\r\n"),
        Ok(Received::Chunked(Chunks::Size))
    );
    assert_eq!(body_of("transfer-encoding: chunked, gzip\r\n"), Ok(Received::Rest));
    assert_eq!(body_of(""), Ok(Received::Rest));
    for wrong in ["5, 6", "+5", "-1", "0x5", "5 5", "99999999999999999999", ""] {
        assert!(body_of(&format!("content-length: {wrong}\r\n")).is_err(), "{wrong}");
    }
    for bodiless in ["204 No Content", "304 Not Modified"] {
        let head = read(&format!("HTTP/1.1 {bodiless}\r\ncontent-length: 5\r\n\r\n"))
            .unwrap()
            .unwrap();
        assert_eq!(head.body, Received::NOTHING);
    }
    let mut arrived = BytesMut::from("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n");
    assert_eq!(
        response(&mut arrived, &Method::HEAD).unwrap().unwrap().body,
        Received::NOTHING
    );
}

#[test]
fn chunks_override_a_length_which_then_is_not_passed_on() {
    let head = read("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n")
        .unwrap()
        .unwrap();
    assert_eq!(head.body, Received::Chunked(Chunks::Size));
    assert!(!head.response.headers().contains_key("content-length"));
    assert!(read("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
}

#[test]
fn a_connection_is_kept_only_where_both_sides_know_that() {
    let is_kept = |version: &str, fields: &str| {
        let text = format!("HTTP/{version} 200 OK\r\n{fields}\r\n");
        read(&text).unwrap().unwrap().is_kept
    };
    assert!(is_kept("1.1", "content-length: 0\r\n"));
    assert!(!is_kept(
        "1.1",
        "content-length: 0\r\nconnection: keep-alive\r\nconnection: x, Close\r\n"
    ));
    assert!(!is_kept("1.1", ""));
    assert!(!is_kept("1.0", "content-length: 0\r\n"));
    assert!(is_kept("1.0", "content-length: 0\r\nconnection: Keep-Alive\r\n"));
    assert_eq!(
        read("HTTP/1.0 200 OK\r\n\r\n").unwrap().unwrap().response.version(),
        Version::HTTP_10
    );
}

#[test]
fn what_is_no_response_is_refused() {
    for wrong in [
        "\0",
        "HTTP/2 200\r\n\r\n",
        "HTTP/1.1 99 Low\r\n\r\n",
        "HTTP/1.1 200 OK\r\nbad name: 1\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "HTTP/1.1 200 OK\r\na: 1\r\n folded\r\n\r\n",
    ] {
        assert!(read(wrong).is_err(), "{wrong:?}");
    }
    let many = "x: 1\r\n".repeat(101);
    assert!(body_of(&many).is_err());
    let long = format!("HTTP/1.1 200 OK\r\nx: {}", "a".repeat(300 << 10));
    assert!(read(&long).is_err());
}

#[test]
fn chunks_end_with_the_empty_one() {
    let text = b"5;name=value\r\nhello\r\n00A \t;x\r\n, world!!!\r\n0\r\n\r\n";
    assert_eq!(chunks(text, &[]).unwrap().unwrap().0, b"hello, world!!!");
    let text = b"0\r\nX-Sum: 1\r\n\r\n";
    assert_eq!(chunks(text, &[]).unwrap().unwrap().1["x-sum"], "1");
    assert_eq!(chunks(&text[..text.len() - 1], &[]), Ok(None));
}

#[test]
fn chunks_that_can_be_read_in_two_ways_are_refused() {
    for wrong in [
        &b"\r\n\r\n"[..],
        b"5\nhello\r\n0\r\n\r\n",
        b"5;a\nhello\r\n0\r\n\r\n",
        b"5;a\rb\r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"5 5\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello!\r\n0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"ffffffffffffffff\r\n",
        b"0\r\nbad name: 1\r\n\r\n",
    ] {
        assert!(chunks(wrong, &[]).is_err(), "{}", wrong.escape_ascii());
    }
    let endless = [&b"5;"[..], &vec![b'x'; 20 << 10]].concat();
    assert!(chunks(&endless, &[]).is_err());
    let endless = [&b"0\r\nx: "[..], &vec![b'x'; 20 << 10]].concat();
    assert!(chunks(&endless, &[]).is_err());
}

#[test]
fn a_body_that_breaks_off_is_not_whole() {
    assert!(Received::Length(1).closed().is_err());
    assert!(Received::Chunked(Chunks::Trailers).closed().is_err());
    let mut rest = Received::Rest;
    assert_eq!(
        rest.next(&mut BytesMut::from("abc")),
        Ok(Some(Part::Data(Bytes::from("abc"))))
    );
    rest.closed().unwrap();
    assert_eq!(rest.next(&mut BytesMut::new()), Ok(Some(Part::End)));
}

proptest! {
    #[test]
    fn what_is_sent_in_chunks_is_read_again(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 0..5), cuts in proptest::collection::vec(any::<usize>(), 0..6)) {
        let (mut out, mut sent) = (BytesMut::new(), Sent::Chunked { is_begun: false, trailers: Vec::new() });
        for piece in &pieces {
            sent.data(&mut out, piece.len()).unwrap();
            out.put_slice(piece);
        }
        sent.end(&mut out, &HeaderMap::new()).unwrap();
        let (data, _) = chunks(&out, &cuts).unwrap().unwrap();
        prop_assert_eq!(data, pieces.concat());
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), cuts in proptest::collection::vec(any::<usize>(), 0..4)) {
        let _ = chunks(&bytes, &cuts);
        let text = [&b"HTTP/1.1 200 OK\r\n"[..], &bytes].concat();
        let _ = response(&mut BytesMut::from(&text[..]), &Method::GET);
    }
}
