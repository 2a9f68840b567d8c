//! One base URL of an upstream: connecting, sending, and giving the connection back.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use http::{HeaderValue, Response, Uri, uri::PathAndQuery};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{
    Outbound,
    breaker::Breaker,
    link::{Failure, Link, Stream},
    pool,
    wire::RequestHead,
};
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
    /// No byte of the request was sent: it can be sent elsewhere.
    #[error("{0}")]
    NotSent(String),
    /// The connection broke after the request went out.
    #[error("{0}")]
    Broken(String),
    #[error("no response in time")]
    TimedOut { sent: bool },
    /// The request's own body failed.
    #[error("the request's body failed")]
    Request(BodyError),
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

    /// Sends over an idle connection, else over a new one. A body that is not in memory is taken out of the request.
    pub(super) async fn send(
        &self,
        outbound: &mut Outbound,
        traceparent: Option<HeaderValue>,
        now: Instant,
        deadline: Instant,
    ) -> Result<Response<Body>, SendError> {
        let target = self.target(&outbound.path_and_query)?;
        let (mut link, connected) = if let Some(link) = pool::take(self.id, now) {
            (link, now)
        } else {
            // Boxed: a request over an idle connection, the usual case, does not carry the room for a handshake along.
            let link = Box::pin(self.connect_in_time()).await.map_err(SendError::NotSent)?;
            (link, Instant::now())
        };
        let until = deadline.min(connected + self.response_timeout);
        let body = match outbound.body.as_bytes() {
            Some(bytes) => bytes.into(),
            None => std::mem::take(&mut outbound.body),
        };
        let head = RequestHead {
            method: &outbound.method,
            target,
            host: &self.host_header,
            traceparent,
            headers: &outbound.headers,
        };
        match link.send(head, body, until.into()).await {
            Ok(response) => Ok(response.map(|()| Body::response(link, deadline))),
            Err(Failure::Body(error)) => Err(SendError::Request(error)),
            Err(Failure::TimedOut) => Err(SendError::TimedOut { sent: true }),
            Err(failure) => Err(SendError::Broken(format!("the connection broke: {failure}"))),
        }
    }

    fn target(&self, path_and_query: &str) -> Result<PathAndQuery, SendError> {
        let target = [&self.base_path, path_and_query].concat();
        PathAndQuery::try_from(target).map_err(|error| SendError::Broken(format!("unusable path: {error}")))
    }

    async fn connect_in_time(&self) -> Result<Box<Link>, String> {
        let connected = tokio::time::timeout(self.connect_timeout, self.connect()).await;
        let mut link = connected.map_err(|_| "no connection in time".to_owned())??;
        if link.is_closed() {
            return Err("the connection closed at once".to_owned());
        }
        Ok(link)
    }

    async fn connect(&self) -> Result<Box<Link>, String> {
        let connected = match self.address {
            Some(address) => TcpStream::connect(address).await,
            None => TcpStream::connect((self.host.as_str(), self.port)).await,
        };
        let stream = connected.map_err(|error| format!("cannot connect: {error}"))?;
        stream
            .set_nodelay(true)
            .map_err(|error| format!("cannot connect: {error}"))?;
        match &self.tls {
            None => Ok(self.link(Box::new(stream))),
            Some((connector, name)) => {
                let stream = connector
                    .connect(name.clone(), stream)
                    .await
                    .map_err(|error| format!("TLS handshake failed: {error}"))?;
                Ok(self.link(Box::new(stream)))
            }
        }
    }

    fn link(&self, stream: Box<dyn Stream>) -> Box<Link> {
        Link::new(self.id, self.keep, stream)
    }
}
