//! One base URL of an upstream: connecting, sending, and giving the connection back.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use http::{HeaderValue, Request, Response, Uri, header, uri::PathAndQuery};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Outbound, breaker::Breaker, pool};
use crate::{
    body::{Body, BodyError},
    config::UpstreamSpec,
};

/// One base URL with its breaker.
pub(super) struct Endpoint {
    /// Key of its connections in each thread's pool.
    id: u64,
    /// Host and port, for spans and logs.
    pub(super) label: Arc<str>,
    pub(super) breaker: Breaker,
    host: String,
    port: u16,
    /// Known without asking DNS, where the host is an IP address.
    address: Option<SocketAddr>,
    host_header: HeaderValue,
    base_path: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    connect_timeout: Duration,
    response_timeout: Duration,
    keep: Duration,
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// No byte of the request was sent: it comes back, to be sent elsewhere.
    #[error("{cause}")]
    NotSent { cause: String, unsent: Box<Outbound> },
    /// The connection broke after the request went out.
    #[error("{0}")]
    Broken(String),
    #[error("no response in time")]
    TimedOut { sent: bool },
    /// The request's own body failed.
    #[error("the request's body failed")]
    Request(BodyError),
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.path_and_query)
    }
}

impl Endpoint {
    pub(super) fn new(url: &str, spec: &UpstreamSpec, tls: Option<&Arc<rustls::ClientConfig>>) -> Result<Self, String> {
        static NEXT: AtomicU64 = AtomicU64::new(0);

        let wrong = |why: &str| format!("`{url}` is no endpoint: {why}");
        let uri: Uri = url
            .parse()
            .map_err(|_| wrong("write a URL such as http://10.0.0.5:9101"))?;
        let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("it must begin with http:// or https://")),
        };
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let tls = match tls {
            Some(config) if is_tls => {
                let name = ServerName::try_from(host.clone()).map_err(|_| wrong("its host is no valid server name"))?;
                Some((TlsConnector::from(config.clone()), name))
            }
            _ => None,
        };
        Ok(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            label: format!("{}:{port}", authority.host()).into(),
            breaker: Breaker::new(spec.breaker.failures, spec.breaker.open_for.0),
            address: host.parse().ok().map(|ip| SocketAddr::new(ip, port)),
            host_header: HeaderValue::try_from(authority.as_str()).map_err(|_| wrong("its host is not ASCII"))?,
            base_path: uri.path().trim_end_matches('/').to_owned(),
            connect_timeout: spec.timeouts.connect.0,
            response_timeout: spec.timeouts.response.0,
            keep: spec.timeouts.idle.0,
            host,
            port,
            tls,
        })
    }

    /// The path a `Location` means, where it leads to this endpoint.
    pub(super) fn own_path<'a>(&self, location: &'a str) -> Option<&'a str> {
        let path = match location.split_once("://") {
            None => location,
            Some((_, rest)) => rest.strip_prefix(self.host_header.to_str().ok()?)?,
        };
        // `//host/path` leads to another host.
        let path = path.strip_prefix(&self.base_path)?;
        (path.starts_with('/') && !path.starts_with("//")).then_some(path)
    }

    /// Sends over an idle connection, else over a new one.
    pub(super) async fn send(
        &self,
        outbound: Outbound,
        traceparent: Option<HeaderValue>,
        deadline: Instant,
    ) -> Result<Response<Body>, SendError> {
        let mut request = self.request(outbound, traceparent)?;
        // An idle connection may have been closed by the other side just now: then nothing was sent, and it is the
        // next one's turn.
        while let Some(sender) = pool::take(self.id) {
            match self.exchange(sender, request, deadline).await {
                Err(Unanswered::Unsent(unsent)) => request = *unsent,
                Err(Unanswered::Failed(error)) => return Err(error),
                Ok(response) => return Ok(response),
            }
        }
        // Boxed: a request over an idle connection, the usual case, does not carry the room for a handshake along.
        let connecting = Box::pin(tokio::time::timeout(self.connect_timeout, self.connect()));
        let sender = match connecting.await {
            Ok(Ok(sender)) => sender,
            Ok(Err(cause)) => return Err(self.not_sent(cause, request)),
            Err(_) => return Err(self.not_sent("no connection in time".to_owned(), request)),
        };
        match self.exchange(sender, request, deadline).await {
            Ok(response) => Ok(response),
            Err(Unanswered::Unsent(unsent)) => Err(self.not_sent("the connection closed at once".to_owned(), *unsent)),
            Err(Unanswered::Failed(error)) => Err(error),
        }
    }

    fn request(&self, outbound: Outbound, traceparent: Option<HeaderValue>) -> Result<Request<Body>, SendError> {
        let target = if self.base_path.is_empty() {
            PathAndQuery::try_from(outbound.path_and_query)
        } else {
            PathAndQuery::try_from(format!("{}{}", self.base_path, outbound.path_and_query))
        };
        let target = target.map_err(|error| SendError::Broken(format!("unusable path: {error}")))?;
        let mut request = Request::new(outbound.body);
        *request.method_mut() = outbound.method;
        *request.uri_mut() = Uri::from(target);
        *request.headers_mut() = outbound.headers;
        request.headers_mut().insert(header::HOST, self.host_header.clone());
        if let Some(traceparent) = traceparent {
            request.headers_mut().insert("traceparent", traceparent);
        }
        Ok(request)
    }

    fn not_sent(&self, cause: String, request: Request<Body>) -> SendError {
        let (parts, body) = request.into_parts();
        let target = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let path_and_query = target.strip_prefix(&self.base_path).unwrap_or(target).to_owned();
        let unsent = Outbound {
            method: parts.method,
            path_and_query,
            headers: parts.headers,
            body,
        };
        SendError::NotSent {
            cause,
            unsent: Box::new(unsent),
        }
    }

    async fn exchange(
        &self,
        mut sender: SendRequest<Body>,
        request: Request<Body>,
        deadline: Instant,
    ) -> Result<Response<Body>, Unanswered> {
        if sender.ready().await.is_err() {
            return Err(Unanswered::Unsent(Box::new(request)));
        }
        let patience = self
            .response_timeout
            .min(deadline.saturating_duration_since(Instant::now()));
        let answered = tokio::time::timeout(patience, sender.try_send_request(request)).await;
        let response = match answered {
            Err(_) => return Err(Unanswered::Failed(SendError::TimedOut { sent: true })),
            Ok(Err(mut failure)) => {
                return Err(match failure.take_message() {
                    Some(unsent) => Unanswered::Unsent(Box::new(unsent)),
                    None => Unanswered::Failed(broken(failure.error())),
                });
            }
            Ok(Ok(response)) => response,
        };
        let (id, keep) = (self.id, self.keep);
        Ok(response.map(|incoming| Body::response(incoming, deadline, move || pool::put(id, sender, keep))))
    }

    async fn connect(&self) -> Result<SendRequest<Body>, String> {
        let connected = match self.address {
            Some(address) => TcpStream::connect(address).await,
            None => TcpStream::connect((self.host.as_str(), self.port)).await,
        };
        let stream = connected.map_err(|error| format!("cannot connect: {error}"))?;
        stream
            .set_nodelay(true)
            .map_err(|error| format!("cannot connect: {error}"))?;
        match &self.tls {
            None => handshake(TokioIo::new(stream)).await,
            Some((connector, name)) => {
                let stream = connector
                    .connect(name.clone(), stream)
                    .await
                    .map_err(|error| format!("TLS handshake failed: {error}"))?;
                handshake(TokioIo::new(stream)).await
            }
        }
    }
}

/// Nothing came back on a connection.
enum Unanswered {
    /// And nothing went out: the request can take another one.
    Unsent(Box<Request<Body>>),
    Failed(SendError),
}

async fn handshake<S>(stream: S) -> Result<SendRequest<Body>, String>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .handshake(stream)
        .await
        .map_err(|error| format!("cannot connect: {error}"))?;
    tokio::spawn(async move {
        // Its failure is seen by the request on it; an idle one just goes.
        let _ = connection.await;
    });
    Ok(sender)
}

fn broken(error: &hyper::Error) -> SendError {
    if error.is_user()
        && let Some(body) = std::error::Error::source(error).and_then(|source| source.downcast_ref::<BodyError>())
    {
        return SendError::Request(body.clone());
    }
    SendError::Broken(format!("the connection broke: {error}"))
}
