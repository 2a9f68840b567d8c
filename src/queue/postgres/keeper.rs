//! Looks after the database once a second, hears what other gateways did, and tells them what this one did.

use std::{
    future::poll_fn,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_postgres::{AsyncMessage, Connection, NoTls, Socket, tls::TlsStream};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    codec::day,
    days,
    session::{Database, said},
};
use crate::config::PostgresSettings;

/// How often the database is asked how it is.
const LOOK: Duration = Duration::from_secs(1);
/// Others are told at most so often: a notice takes a lock that all of them share.
const TELL: Duration = Duration::from_millis(50);
/// How long a connection for listening may take.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn start(database: &Arc<Database>, settings: &PostgresSettings, stop: &CancellationToken) {
    tokio::spawn(stop.clone().run_until_cancelled_owned(look(Arc::clone(database))));
    tokio::spawn(stop.clone().run_until_cancelled_owned(tell(Arc::clone(database))));
    tokio::spawn(
        stop.clone()
            .run_until_cancelled_owned(hear(Arc::clone(database), settings.clone())),
    );
}

async fn look(database: Arc<Database>) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = String::new();
    loop {
        ticks.tick().await;
        if let Err(unfit) = database.look().await {
            let unfit = unfit.to_string();
            if unfit != last {
                tracing::error!(cause = unfit, "the queue's database cannot be used");
            }
            last = unfit;
        }
        if database.away().is_none() {
            // A little early, so that nobody waits for it.
            for ahead in [0, 3600] {
                let at = Timestamp::now()
                    .saturating_add(Duration::from_secs(ahead))
                    .unwrap_or(Timestamp::MAX);
                if let Err(error) = days::make(&database, day(at)).await {
                    debug!(%error, "a day's partitions could not be made");
                }
            }
            // Notices may have been lost.
            database.moved.notify_waiters();
        }
    }
}

async fn tell(database: Arc<Database>) {
    loop {
        database.told.notified().await;
        if let Ok(session) = database.reader().await {
            let told = session
                .query("SELECT pg_notify($1, $2)", &[&channel(&database), &database.node])
                .await;
            if let Err(failure) = told {
                debug!(
                    ?failure,
                    "the other gateways could not be told; they look for themselves"
                );
            }
        }
        sleep(TELL).await;
    }
}

fn channel(database: &Database) -> String {
    format!("crossdock_{}", database.schema)
}

async fn hear(database: Arc<Database>, settings: PostgresSettings) {
    let mut config = settings.config.clone();
    config.connect_timeout(PATIENCE);
    loop {
        let heard = match &settings.tls {
            Some(tls) => {
                let tls = tokio_postgres_rustls::MakeRustlsConnect::new(tls.as_ref().clone());
                match config.connect(tls).await {
                    Ok((client, connection)) => listen(&database, client, connection).await,
                    Err(error) => Err(error),
                }
            }
            None => match config.connect(NoTls).await {
                Ok((client, connection)) => listen(&database, client, connection).await,
                Err(error) => Err(error),
            },
        };
        if let Err(error) = heard {
            debug!(cause = said(&error), "not listening to other gateways");
        }
        sleep(LOOK).await;
    }
}

async fn listen<T: TlsStream + Unpin + Send + 'static>(
    database: &Database,
    client: tokio_postgres::Client,
    mut connection: Connection<Socket, T>,
) -> Result<(), tokio_postgres::Error> {
    let hearing = async {
        while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(notice) = message?
                && notice.payload() != database.node
            {
                database.changed.notify_one();
                database.moved.notify_waiters();
            }
        }
        Ok(())
    };
    let asking = async {
        client.batch_execute(&format!("LISTEN {}", channel(database))).await?;
        // As long as this connection lasts, the others count this gateway among them.
        let lock = "SELECT pg_advisory_lock_shared(hashtext('crossdock member'), hashtext($1))";
        client.execute(lock, &[&database.schema]).await?;
        database.is_member.store(true, Ordering::Relaxed);
        // What happened before is not told.
        database.changed.notify_one();
        database.moved.notify_waiters();
        // A connection that died unnoticed must not be waited on for ever.
        loop {
            sleep(PATIENCE * 2).await;
            if timeout(PATIENCE, client.batch_execute("")).await.is_err() {
                return Ok(());
            }
        }
    };
    let ended = tokio::select! {
        ended = hearing => ended,
        ended = asking => ended,
    };
    database.is_member.store(false, Ordering::Relaxed);
    ended
}
