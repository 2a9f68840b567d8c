use http::HeaderValue;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;

const GET: Method = Method::GET;
const POST: Method = Method::POST;

fn link(room: usize) -> (Box<Link>, DuplexStream) {
    let (ours, theirs) = duplex(room);
    (Link::new(u64::MAX, Duration::from_secs(9), Box::new(ours)), theirs)
}

async fn send(link: &mut Link, method: &Method, body: Body, seconds: u64) -> Result<Response<()>, Failure> {
    let head = RequestHead {
        method,
        target: "/a".parse().unwrap(),
        host: &HeaderValue::from_static("erp"),
        traceparent: None,
        headers: &HeaderMap::new(),
    };
    link.send(head, body, Instant::now() + Duration::from_secs(seconds))
        .await
}

/// What the other side reads until it has seen `end`.
async fn hears(theirs: &mut DuplexStream, end: &str) -> String {
    let mut heard = Vec::new();
    while !heard.ends_with(end.as_bytes()) {
        assert_ne!(
            theirs.read_buf(&mut heard).await.unwrap(),
            0,
            "{}",
            heard.escape_ascii()
        );
    }
    String::from_utf8(heard).unwrap()
}

async fn whole(link: Box<Link>) -> Result<Bytes, BodyError> {
    let deadline = std::time::Instant::now() + Duration::from_secs(9);
    Body::response(link, deadline)
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
}

/// A body that comes in these pieces, of unknown length.
fn streamed(pieces: Vec<&'static str>) -> Body {
    let frames = pieces
        .into_iter()
        .map(|piece| Ok::<_, BodyError>(Frame::data(Bytes::from(piece))));
    Body::boxed(Pieces(frames.collect()))
}

struct Pieces(std::collections::VecDeque<Result<Frame<Bytes>, BodyError>>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(self.0.pop_front())
    }
}

/// A body that never comes.
struct Never;

impl http_body::Body for Never {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Pending
    }
}

#[tokio::test]
async fn a_connection_carries_one_request_after_the_other() {
    let (mut ours, mut theirs) = link(64);
    let answering = async {
        assert_eq!(
            hears(&mut theirs, "\r\n\r\n").await,
            "GET /a HTTP/1.1\r\nhost: erp\r\n\r\n"
        );
        theirs
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
            .await
            .unwrap();
        let heard = hears(&mut theirs, "xyz").await;
        assert_eq!(heard, "POST /a HTTP/1.1\r\nhost: erp\r\ncontent-length: 3\r\n\r\nxyz");
        theirs.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    };
    let asking = async {
        assert_eq!(send(&mut ours, &GET, Body::empty(), 9).await.unwrap().status(), 200);
        assert_eq!(whole(ours).await.unwrap(), "hello");
        let mut ours = pool::take(u64::MAX, std::time::Instant::now()).unwrap();
        assert_eq!(
            send(&mut ours, &POST, Bytes::from("xyz").into(), 9)
                .await
                .unwrap()
                .status(),
            204
        );
    };
    tokio::join!(asking, answering);
}

#[tokio::test]
async fn the_rest_of_a_request_goes_out_though_the_answer_is_complete() {
    let (mut ours, mut theirs) = link(64);
    theirs.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    let body = format!("{}end", "x".repeat(1_000));
    send(&mut ours, &POST, body.into(), 9).await.unwrap();
    assert_eq!(whole(ours).await.unwrap(), "");
    hears(&mut theirs, "end").await;
}

#[tokio::test]
async fn a_streamed_body_goes_out_in_chunks() {
    let (mut ours, mut theirs) = link(16);
    let answering = async {
        let heard = hears(&mut theirs, "0\r\n\r\n").await;
        assert!(heard.ends_with("\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), "{heard}");
        theirs
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
            .await
            .unwrap();
    };
    let (response, ()) = tokio::join!(send(&mut ours, &POST, streamed(vec!["abc", "", "de"]), 9), answering);
    response.unwrap();
    assert_eq!(whole(ours).await.unwrap(), "ok");
    assert!(pool::take(u64::MAX, std::time::Instant::now()).is_some());
}

#[tokio::test]
async fn an_answer_that_comes_early_is_passed_on() {
    let (mut ours, mut theirs) = link(1_000);
    theirs
        .write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
        .await
        .unwrap();
    assert_eq!(
        send(&mut ours, &POST, Body::boxed(Never), 9).await.unwrap().status(),
        413
    );
    assert_eq!(whole(ours).await.unwrap(), "no");
    // The request is not complete, so no other one may follow it.
    assert!(pool::take(u64::MAX, std::time::Instant::now()).is_none());
}

#[tokio::test]
async fn an_answer_counts_even_if_the_rest_of_the_request_cannot_be_sent() {
    let (mut ours, mut theirs) = link(64);
    theirs
        .write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
        .await
        .unwrap();
    drop(theirs);
    assert_eq!(
        send(&mut ours, &POST, "x".repeat(1_000).into(), 9)
            .await
            .unwrap()
            .status(),
        413
    );
    assert_eq!(whole(ours).await.unwrap(), "no");
    assert!(pool::take(u64::MAX, std::time::Instant::now()).is_none());
}

#[tokio::test]
async fn a_connection_is_not_kept_when_the_other_side_says_so_or_says_more() {
    for answer in [
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n",
    ] {
        let (mut ours, mut theirs) = link(1_000);
        theirs.write_all(answer.as_bytes()).await.unwrap();
        send(&mut ours, &GET, Body::empty(), 9).await.unwrap();
        assert_eq!(whole(ours).await.unwrap(), "ok");
        assert!(pool::take(u64::MAX, std::time::Instant::now()).is_none(), "{answer}");
    }
}

#[tokio::test]
async fn an_idle_connection_that_was_closed_or_spoke_is_seen() {
    let (mut quiet, theirs) = link(64);
    assert!(!quiet.is_closed());
    drop(theirs);
    assert!(quiet.is_closed());
    let (mut spoken_to, mut theirs) = link(64);
    theirs.write_all(b"HTTP/1.1 408 Request Timeout\r\n").await.unwrap();
    assert!(spoken_to.is_closed());
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error() {
    for (answer, is_whole) in [
        ("HTTP/1.1 200 OK\r\n\r\nall of it", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nnot all", false),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
            false,
        ),
    ] {
        let (mut ours, mut theirs) = link(1_000);
        theirs.write_all(answer.as_bytes()).await.unwrap();
        let closing = async {
            hears(&mut theirs, "\r\n\r\n").await;
            drop(theirs);
        };
        let (response, ()) = tokio::join!(send(&mut ours, &GET, Body::empty(), 9), closing);
        response.unwrap();
        assert_eq!(whole(ours).await.is_ok(), is_whole, "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn silence_ends_at_the_deadline() {
    let (mut ours, _theirs) = link(64);
    let began = Instant::now();
    let answer = send(&mut ours, &GET, Body::empty(), 3).await;
    assert!(matches!(answer, Err(Failure::TimedOut)), "{answer:?}");
    assert_eq!(began.elapsed().as_secs(), 3);
}

#[tokio::test]
async fn no_answer_at_all_is_an_error() {
    let (mut ours, theirs) = link(64);
    drop(theirs);
    assert!(send(&mut ours, &GET, Body::empty(), 9).await.is_err());
}
