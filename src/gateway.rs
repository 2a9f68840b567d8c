//! The whole gateway: start, reload, drain.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use jiff::Timestamp;
use tokio::{sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    admin,
    config::{self, Diagnostic, GatewaySpec, Severity, Sources},
    contract::CursorKey,
    queue::{
        MessageLog, PostgresLog, SqliteLog, courier,
        delivery::{self, DeliverySettings},
        notifier,
    },
    server::Server,
    shared::Shared,
    snapshot::{self, source::Watch},
    telemetry::{AccessLog, Metrics, Traces},
};

/// How often forgotten limits are dropped and the queue is counted.
const TIDY: Duration = Duration::from_secs(2);

/// What a caller may set in the place of `gateway.yaml`.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Replaces the address of the first listener.
    pub gateway: Option<SocketAddr>,
    /// Replaces the admin address.
    pub admin: Option<SocketAddr>,
    /// Replaces the state folder.
    pub state: Option<PathBuf>,
    /// Text to replace in all policy files, for back ends on other ports.
    pub replace: Vec<(String, String)>,
    /// Writes no access log.
    pub access_log_off: bool,
}

/// A running gateway.
pub struct Gateway {
    /// Where channels connect.
    pub addresses: Vec<SocketAddr>,
    /// Where operators connect.
    pub admin: SocketAddr,
    /// What its parts share.
    pub shared: Arc<Shared>,
    server: Server,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    asked: Arc<Notify>,
}

/// Why there is no gateway.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The files are wrong.
    #[error("the policies cannot be used")]
    Files(Vec<Diagnostic>),
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// Starts on the current multi-threaded runtime, which then carries all background work.
pub async fn start(gateway_file: &Path, overrides: Overrides) -> Result<Gateway, StartError> {
    let reader = Reader {
        file: gateway_file.to_owned(),
        replace: overrides.replace.clone(),
    };
    // Read again once they are watched, so that no change falls in between.
    let folders = reader.read().map_err(StartError::Files)?.folders();
    let watch = Watch::start(gateway_file, &folders);
    let sources = reader.read().map_err(StartError::Files)?;
    let (policies, mistakes) = config::parse(&sources);
    let Some(policies) = policies else {
        return Err(StartError::Files(mistakes));
    };
    let folder = policies.folder.clone();
    let mut spec = policies.gateway.spec;
    apply(&mut spec, &overrides);

    let database = match &overrides.state {
        Some(_) => None,
        None => spec.database(&folder).map_err(|(_, wrong)| anyhow::anyhow!(wrong))?,
    };
    let state = overrides.state.unwrap_or_else(|| folder.join(spec.state_folder()));
    let log: Arc<dyn MessageLog> = match &database {
        Some(database) => Arc::new(
            PostgresLog::open(database, &state)
                .await
                .context("cannot open the queue")?,
        ),
        None => Arc::new(SqliteLog::open(&state, spec.queue.max_bytes.0).context("cannot open the queue")?),
    };
    let metrics = Metrics::default();
    let traces = spec
        .telemetry
        .traces
        .as_ref()
        .map(|traces| Traces::start(traces, &metrics))
        .transpose();
    let traces = traces.map_err(|cause| anyhow::anyhow!("cannot export traces: {cause}"))?;
    let access_log =
        AccessLog::new(&spec.telemetry.access_log, &folder, &metrics).context("cannot open the access log")?;
    let shared = Shared::new(
        log.clone(),
        metrics,
        traces,
        access_log,
        tokio::runtime::Handle::current(),
    );

    if let Some(key) = &spec.cursors.key {
        let secret = config::resolve(key, &folder).map_err(|wrong| anyhow::anyhow!(wrong))?;
        let key = CursorKey::new(secret.as_bytes()).map_err(|wrong| anyhow::anyhow!(wrong))?;
        shared.cursors.give(key);
    }
    shared
        .cursors
        .keep_in(&state)
        .context("cannot read the key that seals cursors")?;
    shared
        .trials
        .keep_in(&state)
        .context("cannot read which candidates were rolled back")?;

    let (first, diagnostics) = snapshot::compile(&sources, &shared);
    let Some(first) = first else {
        return Err(StartError::Files(diagnostics));
    };
    report(&diagnostics);
    swap(&shared, first);

    let admin_socket = tokio::net::TcpListener::bind(spec.admin.address)
        .await
        .with_context(|| format!("cannot listen on the admin address {}", spec.admin.address))?;
    let admin = admin_socket.local_addr().context("the admin listener has no address")?;
    let server = Server::start(&spec, &folder, &shared)?;
    let stop = CancellationToken::new();
    let asked = Arc::new(Notify::new());
    let settings = DeliverySettings {
        lease: spec.queue.lease.0,
        retention: spec.queue.retention.0,
        metrics: shared.metrics.deliveries(),
    };
    let courier = Arc::new(courier::Gateway::new(shared.clone()));
    let tasks = vec![
        tokio::spawn(admin::serve(admin_socket, shared.clone(), stop.clone())),
        tokio::spawn(delivery::run(log, courier, settings, stop.clone())),
        tokio::spawn(notifier::run(shared.clone(), stop.clone())),
        tokio::spawn(reload(reader, watch, asked.clone(), shared.clone(), stop.clone())),
        tokio::spawn(tidy(shared.clone(), stop.clone())),
        tokio::spawn(compare(shared.clone(), stop.clone())),
    ];
    info!(addresses = ?server.addresses, admin = %admin, "listening");
    Ok(Gateway {
        addresses: server.addresses.clone(),
        admin,
        shared,
        server,
        stop,
        tasks,
        asked,
    })
}

impl Gateway {
    /// Reads the files again now.
    pub fn reload(&self) {
        self.asked.notify_one();
    }

    /// Stops accepting, finishes what is in flight, hands over telemetry.
    pub async fn stop(self) {
        self.shared.metrics.draining();
        self.server.stop().await;
        self.stop.cancel();
        for task in self.tasks {
            let _ = task.await;
        }
        let shared = self.shared;
        let flushing = tokio::task::spawn_blocking(move || {
            if let Some(traces) = &shared.traces {
                traces.shutdown();
            }
            shared.access_log.shutdown();
        });
        let _ = flushing.await;
    }
}

fn apply(spec: &mut GatewaySpec, overrides: &Overrides) {
    if let (Some(address), Some(listener)) = (overrides.gateway, spec.listeners.first_mut()) {
        listener.address = address;
    }
    if overrides.access_log_off {
        spec.telemetry.access_log = config::AccessLogSpec::Off;
    }
    if let Some(address) = overrides.admin {
        spec.admin.address = address;
    }
}

/// Reads the policy files, with what a caller wants replaced in them.
#[derive(Clone)]
struct Reader {
    file: PathBuf,
    replace: Vec<(String, String)>,
}

impl Reader {
    fn read(&self) -> Result<Sources, Vec<Diagnostic>> {
        let mut sources = Sources::read(&self.file)?;
        sources.replace(&self.replace);
        Ok(sources)
    }
}

/// Compiles and swaps whenever the files change. Any error leaves the running snapshot untouched.
async fn reload(reader: Reader, mut watch: Watch, asked: Arc<Notify>, shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        let is_asked = tokio::select! {
            () = watch.changed() => false,
            // Secrets may have changed that are in no watched file.
            () = asked.notified() => true,
            () = stop.cancelled() => return,
        };
        let (reader, compiling) = (reader.clone(), shared.clone());
        let compiled = tokio::task::spawn_blocking(move || match reader.read() {
            Ok(sources) => snapshot::compile(&sources, &compiling),
            Err(diagnostics) => (None, diagnostics),
        });
        match compiled.await {
            Ok((Some(fresh), diagnostics)) => {
                report(&diagnostics);
                let running = shared.snapshot.load_full();
                if !is_asked && running.is_some_and(|running| running.digest == fresh.digest) {
                    shared.metrics.reload_unchanged();
                    continue;
                }
                info!(
                    snapshot = fresh.number,
                    digest = fresh.digest,
                    routes = fresh.routes(),
                    "snapshot live"
                );
                swap(&shared, fresh);
            }
            Ok((None, diagnostics)) => {
                report(&diagnostics);
                let first = diagnostics
                    .iter()
                    .find(|diagnostic| diagnostic.severity == Severity::Error);
                shared
                    .metrics
                    .reload_failed(first.map_or_else(String::new, ToString::to_string));
                error!(
                    errors = diagnostics.len(),
                    "the changed files have mistakes; the running snapshot stays"
                );
            }
            Err(_) => {
                shared
                    .metrics
                    .reload_failed("compiling the files ended by a panic".to_owned());
                error!("compiling the files ended by a panic; the running snapshot stays");
            }
        }
    }
}

fn swap(shared: &Shared, fresh: snapshot::Snapshot) {
    shared.metrics.snapshot(fresh.number);
    shared.log.subscribe(fresh.webhooks.subscriptions());
    let former = shared.snapshot.swap(Some(Arc::new(fresh)));
    // Freed where it does not delay a request: the last reference may be held by one under way, but is mostly this.
    drop(former);
}

fn report(diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics {
        match diagnostic.severity {
            Severity::Error => {
                error!(file = %diagnostic.file.display(), line = diagnostic.line, column = diagnostic.column, help = diagnostic.help, "{}", diagnostic.message);
            }
            Severity::Warning => {
                warn!(file = %diagnostic.file.display(), line = diagnostic.line, column = diagnostic.column, help = diagnostic.help, "{}", diagnostic.message);
            }
        }
    }
}

/// Compares the translations of shadows.
async fn compare(shared: Arc<Shared>, stop: CancellationToken) {
    tokio::select! {
        () = shared.shadows.clone().run() => {}
        () = stop.cancelled() => {}
    }
}

/// Tidies what grows, and counts what waits.
async fn tidy(shared: Arc<Shared>, stop: CancellationToken) {
    let mut interval = tokio::time::interval(TIDY);
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            () = stop.cancelled() => return,
        }
        shared.limiters.sweep();
        shared.arrivals.sample(Instant::now());
        shared.metrics.queue_health(&shared.log.health());
        if let Some(checked) = shared.log.checked() {
            shared.metrics.queue_check(&checked);
        }
        if let Ok(stats) = shared.log.stats(Timestamp::now()).await {
            shared.metrics.queue(&stats);
        }
        let now = Timestamp::now();
        if let (Ok(stats), Ok(pauses)) = (shared.log.notice_stats().await, shared.log.pauses().await) {
            shared.metrics.webhooks(&stats, &pauses, now);
        }
    }
}

/// `crossdock serve`: runs until SIGTERM or Ctrl-C; SIGHUP reads the files again.
pub async fn serve(gateway_file: &Path) -> Result<(), StartError> {
    use tokio::signal::unix::{SignalKind, signal};

    let gateway = start(gateway_file, Overrides::default()).await?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut hang_up = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = tokio::signal::ctrl_c() => break,
            _ = hang_up.recv() => {
                info!("reading the files again");
                gateway.shared.access_log.reopen();
                gateway.reload();
            }
        }
    }
    info!("draining");
    gateway.stop().await;
    info!("stopped");
    Ok(())
}
