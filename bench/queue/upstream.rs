//! An upstream that takes everything, and counts.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Answers on `port` until the runtime ends. Returns how many requests it has taken.
pub(crate) async fn start(port: u16) -> Arc<AtomicU32> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let taken = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&taken);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            let counter = Arc::clone(&counter);
            let service = service_fn(move |request| take(request, Arc::clone(&counter)));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    taken
}

async fn take(request: Request<Incoming>, taken: Arc<AtomicU32>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.into_body().collect().await.is_ok() {
        taken.fetch_add(1, Ordering::Relaxed);
    }
    let answer = Response::builder()
        .status(201)
        .header("content-type", "application/json");
    Ok(answer.body(Full::from("{\"status\":\"accepted\"}")).unwrap())
}
