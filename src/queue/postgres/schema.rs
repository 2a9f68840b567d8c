//! The tables, and what a server has to be like.

use std::fmt::Write as _;

use tokio_postgres::{Client, Error};

use super::session::{Failure, said};

/// Each step leads to the next layout.
const STEPS: [&str; 2] = [include_str!("layout_1.sql"), include_str!("layout_2.sql")];

/// The layout this release writes.
#[expect(
    clippy::cast_possible_wrap,
    clippy::cast_possible_truncation,
    reason = "a small number"
)]
const LAYOUT: i32 = STEPS.len() as i32;

/// The oldest server: earlier ones lack what partitions and unique keys need.
const OLDEST_SERVER: i32 = 150_000;

/// Why a server that answers cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("the server is PostgreSQL {found}; at least 15 is needed")]
    TooOld { found: String },
    #[error("the server runs with `fsync = off`: a power cut would lose what was answered with 202; switch it on")]
    Forgetful,
    #[error(
        "schema `{schema}` was written by a newer release (layout {found}, this release knows {known}); start that release"
    )]
    Newer { schema: String, found: i32, known: i32 },
    #[error(
        "schema `{schema}` is not a queue's: it belongs to another program; choose another one as `database.schema`"
    )]
    Foreign { schema: String },
    #[error("the tables cannot be made in schema `{schema}`: {cause}")]
    Refused { schema: String, cause: String },
}

/// What every connection starts with. A stronger `synchronous_commit` of the server's is left alone.
pub(super) fn settings(schema: &str) -> String {
    format!(
        "SET search_path TO {schema};
         SET statement_timeout TO '10s';
         SET lock_timeout TO '5s';
         SET idle_in_transaction_session_timeout TO '30s';
         SET default_transaction_isolation TO 'read committed';
         SELECT set_config('synchronous_commit', 'on', false)
            WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply');"
    )
}

/// Checks the server, and brings the tables to this release's layout. Several gateways may do so at once.
pub(super) async fn prepare(client: &mut Client, schema: &str) -> Result<(), Failure> {
    let setting = async |name: &str| -> Result<String, Error> {
        let row = client.query_one("SELECT current_setting($1)", &[&name]).await?;
        row.try_get(0)
    };
    let version = setting("server_version_num").await?;
    if version.parse().unwrap_or(0) < OLDEST_SERVER {
        let found = setting("server_version").await?;
        return Err(Unfit::TooOld { found }.into());
    }
    if setting("fsync").await? != "on" {
        return Err(Unfit::Forgetful.into());
    }
    let transaction = client.transaction().await?;
    let lock = "SELECT pg_advisory_xact_lock(hashtext('crossdock'), hashtext($1))";
    transaction.execute(lock, &[&schema]).await?;
    let query = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1),
        EXISTS (SELECT FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = $1 AND relname = 'layout'),
        EXISTS (SELECT FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = $1)";
    let row = transaction.query_one(query, &[&schema]).await?;
    let (exists, is_ours, is_used): (bool, bool, bool) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    if is_used && !is_ours {
        return Err(Unfit::Foreign {
            schema: schema.to_owned(),
        }
        .into());
    }
    let mut found = 0;
    if is_ours {
        let row = transaction
            .query_opt(&format!("SELECT number FROM {schema}.layout"), &[])
            .await?;
        found = row.map_or(Ok(0), |row| row.try_get(0))?;
    }
    if found > LAYOUT {
        return Err(Unfit::Newer {
            schema: schema.to_owned(),
            found,
            known: LAYOUT,
        }
        .into());
    }
    if found < LAYOUT {
        // Writing to a string cannot fail.
        let mut script = String::new();
        if !exists {
            let _ = write!(script, "CREATE SCHEMA {schema};");
        }
        let _ = write!(
            script,
            "SET LOCAL search_path TO {schema}; CREATE TABLE IF NOT EXISTS layout (number INTEGER NOT NULL);"
        );
        for step in STEPS.iter().skip(usize::try_from(found).unwrap_or(0)) {
            script.push_str(step);
        }
        let _ = write!(script, "DELETE FROM layout; INSERT INTO layout VALUES ({LAYOUT});");
        transaction
            .batch_execute(&script)
            .await
            .map_err(|error| match error.as_db_error() {
                Some(_) => Failure::Unfit(Unfit::Refused {
                    schema: schema.to_owned(),
                    cause: said(&error),
                }),
                None => error.into(),
            })?;
    }
    transaction.commit().await?;
    Ok(())
}
