//! What only this store has to do.

#[path = "../../../tests/stories/database.rs"]
#[expect(clippy::print_stderr, reason = "a test that tests nothing says so")]
#[allow(dead_code, reason = "the stories use the rest")]
mod database;

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tempfile::TempDir;

use self::database::Server;
use super::PostgresLog;
use crate::config::PostgresSettings;

/// One server for all tests of this process.
fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(Server::start).as_ref()
}

/// A log in a schema of its own.
pub(in crate::queue) struct World {
    pub(in crate::queue) log: PostgresLog,
    settings: PostgresSettings,
    _folder: TempDir,
}

/// A schema that nobody else has.
fn settings(server: &Server) -> PostgresSettings {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut settings = PostgresSettings::parse(&server.url(), None).unwrap();
    settings.schema = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    settings.connections = 4;
    settings.lease = Duration::from_secs(60);
    settings
}

impl World {
    /// `None` where there is no server, which was said.
    pub(in crate::queue) async fn new() -> Option<Self> {
        let settings = settings(server()?);
        let folder = tempfile::tempdir().unwrap();
        let log = PostgresLog::open(&settings, folder.path()).await.unwrap();
        Some(Self {
            log,
            settings,
            _folder: folder,
        })
    }
}
