//! Connections, transactions with their retries, and whether the database can be reached.

use std::{
    collections::HashSet,
    error::Error as _,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, Timeouts,
};
use jiff::Timestamp;
use tokio::{sync::Notify, time::timeout};
use tokio_postgres::{Row, Statement, error::SqlState, types::ToSql};
use tracing::{info, warn};

use super::{
    acts,
    schema::{self, Unfit},
};
use crate::{
    config::PostgresSettings,
    queue::{Health, LogError, LogFuture, PauseScope, Subscriptions},
};

/// How long a connection may take to be made, and a caller may wait for a free one.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a commit may take before its outcome counts as unknown. The server itself is never told to give up: it would
/// acknowledge what the standby does not have.
const COMMIT: Duration = Duration::from_secs(10);
/// How long one call goes on trying.
const TRIES: Duration = Duration::from_secs(8);

/// What a statement is given.
pub(super) type Param<'a> = &'a (dyn ToSql + Sync);
pub(super) type Params<'a> = &'a [Param<'a>];

/// Why a transaction has no result.
#[derive(Debug)]
pub(super) enum Failure {
    /// The rules of the log say no.
    Refused(LogError),
    /// Somebody else was faster: the same again.
    Again,
    /// The database said no, or nothing.
    Store(tokio_postgres::Error),
    /// The store holds something this release does not know.
    Unreadable(&'static str),
    /// The server cannot be used.
    Unfit(Unfit),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Store(error)
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        Self::Refused(error)
    }
}

impl From<Unfit> for Failure {
    fn from(unfit: Unfit) -> Self {
        Self::Unfit(unfit)
    }
}

/// What the database said, with its code, or what broke.
pub(super) fn said(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        let detail = said.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
        return format!("{}{detail} [{}]", said.message(), said.code().code());
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// Whether the same transaction may succeed when it is done again.
fn is_transient(error: &tokio_postgres::Error) -> bool {
    let Some(code) = error.code() else {
        return error.is_closed() || error.as_db_error().is_none();
    };
    is_away(error)
        || *code == SqlState::T_R_SERIALIZATION_FAILURE
        || *code == SqlState::T_R_DEADLOCK_DETECTED
        || *code == SqlState::LOCK_NOT_AVAILABLE
        // The partition was dropped meanwhile.
        || *code == SqlState::CHECK_VIOLATION
        || *code == SqlState::UNDEFINED_TABLE
        || *code == SqlState::UNIQUE_VIOLATION
}

/// Whether the server is gone, going, not up yet, or not the primary any more.
fn is_away(error: &tokio_postgres::Error) -> bool {
    let Some(code) = error.code() else { return true };
    code.code().starts_with("08")
        || code.code().starts_with("57P")
        || *code == SqlState::TOO_MANY_CONNECTIONS
        || *code == SqlState::READ_ONLY_SQL_TRANSACTION
}

/// How the database stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reach {
    Ready,
    Away(String),
}

/// The pool and what is known of the database without asking it.
pub(super) struct Database {
    pool: Pool,
    pub(super) schema: String,
    /// Who holds this gateway's leases.
    pub(super) node: String,
    lease: Duration,
    max_bytes: u64,
    reach: RwLock<Reach>,
    /// What was held back when it was last looked at, for [`Health`] only.
    is_draining: RwLock<bool>,
    /// Upstreams with something undelivered, when that was last looked at; `None` before.
    held: RwLock<Option<Vec<String>>>,
    used: AtomicU64,
    is_full: RwLock<bool>,
    /// By how much this machine's clock is ahead of the database's, in milliseconds.
    ahead: Mutex<i64>,
    pub(super) admitted: AtomicU64,
    /// Gateways that said so when the database was last asked, and whether this one is among them.
    counted: AtomicU32,
    pub(super) is_member: AtomicBool,
    pub(super) changed: Arc<Notify>,
    pub(super) moved: Arc<Notify>,
    /// Something was committed that other gateways should know.
    pub(super) told: Notify,
    /// Days with partitions.
    days: Mutex<HashSet<i32>>,
    /// Whether what this gateway held before it was started was taken back.
    is_reclaimed: AtomicBool,
    #[cfg(test)]
    pub(super) trusts_every_epoch: AtomicBool,
    /// Which ends are told.
    subscriptions: RwLock<Arc<Subscriptions>>,
    handle: tokio::runtime::Handle,
}

impl Database {
    pub(super) fn new(settings: &PostgresSettings, node: String) -> Arc<Self> {
        let manager = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let mut config = settings.config.clone();
        config.connect_timeout(PATIENCE);
        let manager = match &settings.tls {
            Some(tls) => {
                let tls = tokio_postgres_rustls::MakeRustlsConnect::new(tls.as_ref().clone());
                Manager::from_config(config, tls, manager)
            }
            None => Manager::from_config(config, tokio_postgres::NoTls, manager),
        };
        let start = schema::settings(&settings.schema);
        let start = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
            let start = start.clone();
            Box::pin(async move { client.batch_execute(&start).await.map_err(HookError::Backend) })
        });
        #[expect(clippy::expect_used, reason = "the runtime is named two lines below")]
        let pool = Pool::builder(manager)
            .max_size(settings.connections.max(2))
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(PATIENCE),
                create: Some(PATIENCE),
                recycle: Some(PATIENCE),
            })
            .post_create(start)
            .build()
            .expect("a pool with timeouts has a runtime");
        Arc::new(Self {
            pool,
            schema: settings.schema.clone(),
            node,
            lease: settings.lease,
            max_bytes: settings.max_bytes,
            reach: RwLock::new(Reach::Away("it was not asked yet".to_owned())),
            is_draining: RwLock::default(),
            held: RwLock::default(),
            used: AtomicU64::new(0),
            is_full: RwLock::default(),
            ahead: Mutex::default(),
            admitted: AtomicU64::new(0),
            counted: AtomicU32::new(0),
            is_member: AtomicBool::new(false),
            changed: Arc::default(),
            moved: Arc::default(),
            told: Notify::new(),
            days: Mutex::default(),
            is_reclaimed: AtomicBool::new(false),
            #[cfg(test)]
            trusts_every_epoch: AtomicBool::new(false),
            subscriptions: RwLock::default(),
            handle: tokio::runtime::Handle::current(),
        })
    }

    pub(super) fn subscribe(&self, subscriptions: Subscriptions) {
        *self.subscriptions.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(subscriptions);
    }

    fn session(&self, client: Object, is_open: bool) -> Session {
        Session {
            client: Some(client),
            is_open,
            subscriptions: Arc::clone(&self.subscriptions.read().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// Does work on the log's own runtime: it goes on when its caller stops waiting, and never on a thread of requests.
    pub(super) fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Future<Output = Result<T, LogError>> + Send + 'static,
    ) -> LogFuture<'static, T> {
        let task = self.handle.spawn(work);
        Box::pin(async move { task.await.unwrap_or(Err(LogError::Closed)) })
    }

    /// Why it cannot be reached, where it cannot.
    pub(super) fn away(&self) -> Option<String> {
        match &*self.reach.read().unwrap_or_else(PoisonError::into_inner) {
            Reach::Ready => None,
            Reach::Away(cause) => Some(cause.clone()),
        }
    }

    fn reached(&self, reach: Reach) {
        let mut known = self.reach.write().unwrap_or_else(PoisonError::into_inner);
        if *known == reach {
            return;
        }
        match (&*known, &reach) {
            (_, Reach::Ready) => info!("the queue's database can be used"),
            (Reach::Ready, Reach::Away(cause)) => {
                warn!(
                    cause,
                    "the queue's database cannot be reached; nothing is queued or delivered until it can"
                );
            }
            _ => {}
        }
        *known = reach;
        drop(known);
        self.changed.notify_one();
        self.moved.notify_waiters();
    }

    /// Asks the database how it is, after making it ready where that was not done.
    pub(super) async fn look(&self) -> Result<(), Unfit> {
        let looked = timeout(PATIENCE * 2, self.look_at()).await;
        match looked {
            Ok(Ok(())) => self.reached(Reach::Ready),
            Ok(Err(Failure::Unfit(unfit))) => {
                self.reached(Reach::Away(unfit.to_string()));
                return Err(unfit);
            }
            Ok(Err(failure)) => self.reached(Reach::Away(cause(&failure))),
            Err(_) => self.reached(Reach::Away("it does not answer".to_owned())),
        }
        Ok(())
    }

    async fn look_at(&self) -> Result<(), Failure> {
        let mut client = self.client().await?;
        if self.away().is_some() {
            schema::prepare(&mut client, &self.schema).await?;
        }
        if !self.is_reclaimed.load(Ordering::Relaxed) {
            client.batch_execute("BEGIN").await?;
            let session = self.session(client, true);
            let count = acts::reclaim(&session, &self.node, Timestamp::now()).await?;
            session.commit().await.map_err(|failed| match failed {
                Committed::No(failure) => failure,
                Committed::Perhaps(cause) => LogError::Unavailable(cause).into(),
            })?;
            self.is_reclaimed.store(true, Ordering::Relaxed);
            if count > 0 {
                info!(
                    messages = count,
                    "what was under way when the gateway ended is in doubt"
                );
            }
            client = self.client().await?;
        }
        let asked = Timestamp::now();
        let statement = client
            .prepare_cached(
                "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint, pg_is_in_recovery(),
                    EXISTS (SELECT FROM pause WHERE scope = 'intake'),
                    (SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class
                        WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'),
                    ARRAY(SELECT DISTINCT upstream FROM tally GROUP BY upstream, holds HAVING holds AND sum(n) > 0),
                    (SELECT count(DISTINCT pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2
                        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                        AND classid::bigint = hashtext('crossdock member')::bigint & 4294967295
                        AND objid::bigint = hashtext(current_schema())::bigint & 4294967295)",
            )
            .await?;
        let row = client.query_one(&statement, &[]).await?;
        let (theirs, is_standby): (i64, bool) = (row.try_get(0)?, row.try_get(1)?);
        if is_standby {
            return Err(LogError::Unavailable("the server is a standby".to_owned()).into());
        }
        let ours = i64::midpoint(asked.as_millisecond(), Timestamp::now().as_millisecond());
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) = ours - theirs;
        if let Err(cause) = self.keeps_time() {
            warn!(%cause, "this gateway leaves deliveries to others");
        }
        *self.is_draining.write().unwrap_or_else(PoisonError::into_inner) = row.try_get(2)?;
        let used = u64::try_from(row.try_get::<_, i64>(3)?).unwrap_or(0);
        self.used.store(used, Ordering::Relaxed);
        let mut is_full = self.is_full.write().unwrap_or_else(PoisonError::into_inner);
        // A store that was full is so until a twentieth of its quota is free again.
        let room = self.quota().saturating_sub(used);
        *is_full = room <= if *is_full { self.max_bytes / 20 } else { 0 };
        drop(is_full);
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Some(row.try_get(4)?);
        // One that has only begun is not in the count yet, and must not take more than its share meanwhile.
        let others = u32::try_from(row.try_get::<_, i64>(5)?).unwrap_or(u32::MAX);
        let own = u32::from(!self.is_member.load(Ordering::Relaxed));
        self.counted.store(others.saturating_add(own), Ordering::Relaxed);
        Ok(())
    }

    /// Gateways that share the database, as it was last told: this one at least.
    pub(super) fn members(&self) -> u32 {
        self.counted.load(Ordering::Relaxed).max(1)
    }

    /// Whether nothing was waiting for an upstream when the database was last asked.
    pub(super) fn held_nothing(&self, upstream: &str) -> bool {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.as_ref()
            .is_some_and(|held| !held.iter().any(|name| name == upstream))
    }

    pub(super) fn knows_day(&self, day: i32) -> bool {
        self.days.lock().unwrap_or_else(PoisonError::into_inner).contains(&day)
    }

    pub(super) fn has_day(&self, day: i32) {
        self.days.lock().unwrap_or_else(PoisonError::into_inner).insert(day);
    }

    /// Bytes that new messages may use: the last tenth is for finishing what is there.
    pub(super) fn quota(&self) -> u64 {
        self.max_bytes / 10 * 9
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn is_full(&self) -> bool {
        *self.is_full.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leases are held by the gateways' own clocks, so these have to agree: each with the database's within a twentieth
    /// of a lease. Attempts are cut a tenth of a lease before their lease ends, which is as much as two can differ.
    pub(super) fn keeps_time(&self) -> Result<(), LogError> {
        let ahead = *self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        let bound = self.lease.as_millis() / 20;
        if u128::from(ahead.unsigned_abs()) <= bound {
            return Ok(());
        }
        let side = if ahead > 0 { "ahead of" } else { "behind" };
        let off = ahead.unsigned_abs();
        Err(LogError::Unavailable(format!(
            "this machine's clock is {off} ms {side} the database's, and {bound} ms are allowed; set it right"
        )))
    }

    pub(super) fn pauses_are(&self, scopes: impl Iterator<Item = PauseScope>) {
        let mut scopes = scopes;
        let is_draining = scopes.any(|scope| scope == PauseScope::Intake);
        *self.is_draining.write().unwrap_or_else(PoisonError::into_inner) = is_draining;
    }

    pub(super) fn health(&self) -> Health {
        if let Some(cause) = self.away() {
            Health::Unavailable(cause)
        } else if let Err(LogError::Unavailable(cause)) = self.keeps_time() {
            Health::Unavailable(cause)
        } else if self.is_full() {
            Health::Full
        } else if *self.is_draining.read().unwrap_or_else(PoisonError::into_inner) {
            Health::Draining
        } else {
            Health::Ok
        }
    }

    /// Something was committed: here it is known at once, elsewhere soon.
    pub(super) fn committed(&self, wakes: bool) {
        self.moved.notify_waiters();
        if wakes {
            self.changed.notify_one();
        }
        self.told.notify_one();
    }

    async fn client(&self) -> Result<Object, Failure> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => error.into(),
            PoolError::Timeout(_) => LogError::Unavailable("no connection within 5 s".to_owned()).into(),
            error => LogError::Unavailable(error.to_string()).into(),
        })
    }

    /// A connection to read with. Each statement sees one state of the store.
    pub(super) async fn reader(&self) -> Result<Session, LogError> {
        if let Some(cause) = self.away() {
            return Err(LogError::Unavailable(cause));
        }
        let client = self.client().await.map_err(|failure| self.refusal(&failure))?;
        Ok(self.session(client, false))
    }

    /// What a caller is told of a failure in which nothing was committed.
    pub(super) fn refusal(&self, failure: &Failure) -> LogError {
        match failure {
            Failure::Refused(error) => error.clone(),
            Failure::Store(error) if error.code() == Some(&SqlState::DISK_FULL) => LogError::Full,
            Failure::Store(error) if is_away(error) => {
                self.reached(Reach::Away(said(error)));
                LogError::Unavailable(said(error))
            }
            other => LogError::Unavailable(cause(other)),
        }
    }

    pub(super) fn tries(self: &Arc<Self>) -> Tries {
        Tries {
            database: Arc::clone(self),
            until: Instant::now() + TRIES,
            round: 0,
            is_in_doubt: false,
        }
    }
}

fn cause(failure: &Failure) -> String {
    match failure {
        Failure::Refused(LogError::Unavailable(cause)) => cause.clone(),
        Failure::Refused(error) => error.to_string(),
        Failure::Again => "others change the same messages all the time".to_owned(),
        Failure::Store(error) => said(error),
        Failure::Unreadable(what) => format!("it holds {what} that this release does not know"),
        Failure::Unfit(unfit) => unfit.to_string(),
    }
}

/// One transaction, done again until it can be said what became of it.
pub(super) struct Tries {
    database: Arc<Database>,
    until: Instant,
    round: u32,
    /// Whether a commit before may have gone through. What is done next has to look before it leaps.
    pub(super) is_in_doubt: bool,
}

impl Tries {
    /// Opens a transaction.
    pub(super) async fn begin(&mut self) -> Result<Session, LogError> {
        loop {
            let begun = match self.database.away() {
                Some(cause) => return Err(self.given_up(LogError::Unavailable(cause))),
                None => self.open().await,
            };
            match begun {
                Ok(session) => return Ok(session),
                Err(failure) => self.again(failure).await?,
            }
        }
    }

    async fn open(&self) -> Result<Session, Failure> {
        let client = self.database.client().await?;
        client.batch_execute("BEGIN").await?;
        Ok(self.database.session(client, true))
    }

    /// Ends a transaction. `None` asks for another round.
    pub(super) async fn end<T>(&mut self, session: Session, done: Result<T, Failure>) -> Option<Result<T, LogError>> {
        let failure = match done {
            Ok(value) => match session.commit().await {
                Ok(()) => return Some(Ok(value)),
                Err(Committed::No(failure)) => failure,
                Err(Committed::Perhaps(cause)) => {
                    self.is_in_doubt = true;
                    LogError::InDoubt(cause).into()
                }
            },
            Err(failure) => {
                session.roll_back().await;
                failure
            }
        };
        match failure {
            Failure::Refused(error @ (LogError::InDoubt(_) | LogError::Unavailable(_))) => {
                self.again(error.into()).await.err().map(Err)
            }
            Failure::Refused(error) => Some(Err(error)),
            failure => self.again(failure).await.err().map(Err),
        }
    }

    /// Waits before another round, where there may be one.
    async fn again(&mut self, failure: Failure) -> Result<(), LogError> {
        let is_worth_it = match &failure {
            Failure::Again | Failure::Refused(_) => true,
            Failure::Store(error) => is_transient(error),
            Failure::Unreadable(_) | Failure::Unfit(_) => false,
        };
        if let Failure::Store(error) = &failure
            && error.code() == Some(&SqlState::CHECK_VIOLATION)
        {
            // A day's partitions were dropped meanwhile.
            self.database
                .days
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clear();
        }
        self.round += 1;
        // Who met once would meet again.
        let wait = Duration::from_millis(5) * 2_u32.pow(self.round.min(6));
        let wait = wait.mul_f64(fastrand::f64());
        if !is_worth_it || Instant::now() + wait > self.until {
            let refusal = self.database.refusal(&failure);
            return Err(self.given_up(refusal));
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }

    fn given_up(&self, error: LogError) -> LogError {
        match error {
            LogError::Unavailable(cause) if self.is_in_doubt => LogError::InDoubt(cause),
            error => error,
        }
    }
}

enum Committed {
    No(Failure),
    Perhaps(String),
}

/// A connection, in a transaction if it is for writing. Dropped within one, it is closed.
pub(super) struct Session {
    client: Option<Object>,
    is_open: bool,
    /// Which ends are told.
    pub(super) subscriptions: Arc<Subscriptions>,
}

impl Session {
    #[expect(clippy::expect_used, reason = "only what ends a session takes its connection")]
    fn client(&self) -> &Object {
        self.client
            .as_ref()
            .expect("a session has its connection until it ends")
    }

    pub(super) async fn prepare(&self, sql: &str) -> Result<Statement, Failure> {
        Ok(self.client().prepare_cached(sql).await?)
    }

    pub(super) async fn query(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, Failure> {
        let statement = self.prepare(sql).await?;
        Ok(self.client().query(&statement, params).await?)
    }

    pub(super) async fn query_opt(&self, sql: &str, params: Params<'_>) -> Result<Option<Row>, Failure> {
        let statement = self.prepare(sql).await?;
        Ok(self.client().query_opt(&statement, params).await?)
    }

    /// Returns how many rows were changed.
    pub(super) async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64, Failure> {
        let statement = self.prepare(sql).await?;
        Ok(self.client().execute(&statement, params).await?)
    }

    pub(super) async fn batch(&self, sql: &str) -> Result<(), Failure> {
        Ok(self.client().batch_execute(sql).await?)
    }

    async fn commit(mut self) -> Result<(), Committed> {
        // A cancelled commit may be acknowledged although the standby does not have it: it must not be cancelled.
        let sent = self.client().batch_execute("SET LOCAL statement_timeout TO 0").await;
        if let Err(error) = sent {
            return Err(Committed::No(error.into()));
        }
        match timeout(COMMIT, self.client().batch_execute("COMMIT")).await {
            Ok(Ok(())) => {
                self.is_open = false;
                Ok(())
            }
            // The server says that it was not done.
            Ok(Err(error)) if error.as_db_error().is_some() && !is_away(&error) => Err(Committed::No(error.into())),
            Ok(Err(error)) => Err(Committed::Perhaps(said(&error))),
            Err(_) => Err(Committed::Perhaps(format!("no answer to a commit within {COMMIT:?}"))),
        }
    }

    async fn roll_back(mut self) {
        if self.client().batch_execute("ROLLBACK").await.is_ok() {
            self.is_open = false;
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(client) = self.client.take()
            && self.is_open
        {
            // Out of the pool: nobody else gets a connection within a transaction.
            drop(Object::take(client));
        }
    }
}
