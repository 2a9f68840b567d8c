//! Listeners: one single-threaded runtime per core, each with its own socket on every address, HTTP/1.1 and HTTP/2.

mod linger;
mod timer;
mod tls;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
};
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    config::{ConnectionLimitsSpec, GatewaySpec},
    edge::Edge,
    pipeline::Connection,
    shared::Shared,
    upstream::pool,
};
use linger::Linger;
use timer::HeaderTimer;

/// Connections waiting to be accepted, per socket.
const BACKLOG: i32 = 4_096;
/// How often a worker closes idle upstream connections and hands over its access lines.
const TICK: Duration = Duration::from_millis(200);

/// Running workers.
pub struct Server {
    /// Where channels connect, with the ports that were chosen for port 0.
    pub addresses: Vec<SocketAddr>,
    workers: Vec<std::thread::JoinHandle<()>>,
    stop: CancellationToken,
}

/// One address as each worker gets it.
struct Door {
    address: SocketAddr,
    sockets: Vec<TcpListener>,
    tls: Option<TlsAcceptor>,
}

impl Server {
    /// Binds all addresses and starts the workers. Nothing is accepted before everything is bound.
    pub fn start(spec: &GatewaySpec, folder: &std::path::Path, shared: &Arc<Shared>) -> anyhow::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let count = spec.workers.map_or(cores, NonZeroUsize::get);
        let mut doors = spec
            .listeners
            .iter()
            .map(|listener| {
                let tls = listener
                    .tls
                    .as_ref()
                    .map(|tls| tls::acceptor(tls, folder))
                    .transpose()?;
                let sockets =
                    bind(listener.address, count).with_context(|| format!("cannot listen on {}", listener.address))?;
                let address = sockets[0].local_addr().context("a bound socket has no address")?;
                Ok(Door { address, sockets, tls })
            })
            .collect::<anyhow::Result<Vec<Door>>>()?;
        let addresses = doors.iter().map(|door| door.address).collect();
        let stop = CancellationToken::new();
        let mut workers = Vec::with_capacity(count);
        for number in 0..count {
            let own: Vec<_> = doors
                .iter_mut()
                .filter_map(|door| Some((door.sockets.pop()?, door.tls.clone())))
                .collect();
            let worker = Worker {
                shared: shared.clone(),
                limits: spec.limits.clone(),
                drain: spec.drain.0,
                stop: stop.clone(),
            };
            let thread = std::thread::Builder::new().name(format!("worker-{number}"));
            workers.push(
                thread
                    .spawn(move || worker.run(own))
                    .context("cannot start a worker thread")?,
            );
        }
        Ok(Self {
            addresses,
            workers,
            stop,
        })
    }

    /// Stops accepting, lets requests in flight finish within the drain time, and returns when all have ended.
    pub async fn stop(self) {
        self.stop.cancel();
        let joining = tokio::task::spawn_blocking(move || {
            for worker in self.workers {
                if worker.join().is_err() {
                    warn!("a worker ended by a panic");
                }
            }
        });
        let _ = joining.await;
    }
}

/// One socket per worker on the same address; the kernel spreads connections among them.
fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let open = |address: SocketAddr, is_shared: bool| -> io::Result<TcpListener> {
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(is_shared)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    // A shared port would silently take half of another gateway's traffic: the first bind must find it free.
    let free = open(address, false)?;
    let address = free.local_addr()?;
    drop(free);
    (0..count).map(|_| open(address, true)).collect()
}

struct Worker {
    shared: Arc<Shared>,
    limits: ConnectionLimitsSpec,
    drain: Duration,
    stop: CancellationToken,
}

impl Worker {
    fn run(self, doors: Vec<(TcpListener, Option<TlsAcceptor>)>) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "a worker could not start its runtime");
                return;
            }
        };
        let shared = self.shared.clone();
        runtime.block_on(self.serve(doors));
        pool::clear();
        shared.access_log.flush_thread();
    }

    async fn serve(self, doors: Vec<(TcpListener, Option<TlsAcceptor>)>) {
        let worker = Arc::new(self);
        let places = Arc::new(Semaphore::new(worker.limits.connections));
        let ticking = tokio::spawn(tick(worker.shared.clone()));
        let mut accepting = tokio::task::JoinSet::new();
        for (socket, tls) in doors {
            match tokio::net::TcpListener::from_std(socket) {
                Ok(socket) => {
                    accepting.spawn(accept(worker.clone(), socket, tls, places.clone()));
                }
                Err(error) => tracing::error!(%error, "a listener could not be used"),
            }
        }
        while accepting.join_next().await.is_some() {}
        ticking.abort();
    }
}

async fn tick(shared: Arc<Shared>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        shared.access_log.tick();
        pool::sweep();
    }
}

async fn accept(
    worker: Arc<Worker>,
    socket: tokio::net::TcpListener,
    tls: Option<TlsAcceptor>,
    places: Arc<Semaphore>,
) {
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = admitted(&socket, &places) => accepted,
            () = worker.stop.cancelled() => break,
        };
        let (stream, peer, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: it passes when connections end.
                warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (worker, tls, watcher) = (worker.clone(), tls.clone(), graceful.watcher());
        tokio::spawn(async move {
            worker.connection(stream, peer, tls, watcher).await;
            drop(place);
        });
    }
    drop(socket);
    if tokio::time::timeout(worker.drain, graceful.shutdown()).await.is_err() {
        warn!("requests were still in flight when the drain time ended");
    }
}

/// The next connection, once there is a place for it: over the limit, clients wait in the backlog instead of being
/// accepted and dropped.
async fn admitted(
    socket: &tokio::net::TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = socket.accept().await?;
    Ok((stream, peer, place))
}

impl Worker {
    async fn connection(&self, stream: TcpStream, peer: SocketAddr, tls: Option<TlsAcceptor>, watcher: Watcher) {
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let connection = Connection {
            peer,
            is_tls: tls.is_some(),
            body_limit: self.limits.body.0,
            body_pause: self.limits.body_timeout.0,
            unread: Arc::default(),
        };
        let patience = self.limits.header_timeout.0;
        match tls {
            None => match tokio::time::timeout(patience, is_http2(&stream)).await {
                // Boxed: clear-text HTTP/1.1, the usual case, does not carry the room for the others along.
                Ok(Ok(true)) => Box::pin(self.http2(stream, connection, watcher)).await,
                Ok(Ok(false)) => self.http1(stream, connection, watcher).await,
                Ok(Err(_)) | Err(_) => {}
            },
            Some(acceptor) => match Box::pin(tokio::time::timeout(patience, acceptor.accept(stream))).await {
                Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
                    Box::pin(self.http2(stream, connection, watcher)).await;
                }
                Ok(Ok(stream)) => Box::pin(self.http1(stream, connection, watcher)).await,
                Ok(Err(error)) => debug!(%error, client.address = %peer.ip(), "TLS handshake failed"),
                Err(_) => {}
            },
        }
    }

    async fn http1<S>(&self, stream: S, connection: Connection, watcher: Watcher)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let stream = Linger::new(stream, connection.unread.clone());
        let peer = connection.peer;
        let edge = Edge::new(self.shared.clone(), connection);
        let service = service_fn(move |request| edge.handle(request));
        let mut http = http1::Builder::new();
        http.timer(HeaderTimer::default())
            .header_read_timeout(self.limits.header_timeout.0)
            .max_headers(self.limits.headers)
            .max_buf_size(
                usize::try_from(self.limits.header_bytes.0)
                    .unwrap_or(usize::MAX)
                    .max(8_192),
            );
        let served: Result<(), hyper::Error> = watcher
            .watch(http.serve_connection(TokioIo::new(stream), service))
            .await;
        if let Err(error) = served {
            debug!(%error, client.address = %peer.ip(), "connection ended early");
        }
    }

    async fn http2<S>(&self, stream: S, connection: Connection, watcher: Watcher)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let peer = connection.peer;
        let edge = Edge::new(self.shared.clone(), connection);
        let service = service_fn(move |request| edge.handle(request));
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new())
            .max_concurrent_streams(self.limits.streams)
            .max_header_list_size(u32::try_from(self.limits.header_bytes.0).unwrap_or(u32::MAX))
            .initial_stream_window_size(256 << 10)
            .initial_connection_window_size(1 << 20)
            .keep_alive_interval(self.limits.header_timeout.0)
            .max_pending_accept_reset_streams(20);
        let served = watcher
            .watch(http.serve_connection(TokioIo::new(stream), service))
            .await;
        if let Err(error) = served {
            debug!(%error, client.address = %peer.ip(), "connection ended early");
        }
    }
}

/// Whether a clear-text client begins with HTTP/2 (RFC 9113 §3.3): no HTTP/1 method is called `PRI`.
async fn is_http2(stream: &TcpStream) -> io::Result<bool> {
    const PREFACE: &[u8; 4] = b"PRI ";
    let mut first = [0; 4];
    loop {
        let read = stream.peek(&mut first).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if first[..read] != PREFACE[..read] {
            return Ok(false);
        }
        if read == PREFACE.len() {
            return Ok(true);
        }
        // A part of the preface: more must come, and peeking does not wait for it.
        tokio::time::sleep_until(Instant::now() + Duration::from_millis(5)).await;
    }
}
