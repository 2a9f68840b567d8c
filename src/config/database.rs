//! Where the database is, and how it is reached: from what an operator writes.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use super::{GatewaySpec, Secret, resolve, values::text_value};

/// Where what must survive a restart is kept: in a folder by one gateway, or in a database by a fleet of them.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreSpec {
    /// A folder, relative to the one of `gateway.yaml`.
    Folder(PathBuf),
    /// The URL of a `PostgreSQL` database.
    Database(String),
    /// Where the URL of a database is kept.
    Reference(Secret),
}

text_value!(
    StoreSpec,
    "^.+$",
    "A folder, relative to this file's folder; or a database that several gateways share, as \
     postgres://USER@HOST:PORT/DATABASE, or as env:NAME or file:PATH where such a URL is kept."
);

impl FromStr for StoreSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if is_database_url(text) {
            return Ok(Self::Database(text.to_owned()));
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(format!(
                "`{scheme}://` is not a place for state; write a folder, or postgres://USER@HOST/DATABASE"
            ));
        }
        if text.starts_with("env:") || text.starts_with("file:") {
            return text.parse().map(Self::Reference);
        }
        match text {
            "" => Err("the state needs a folder, or a database".to_owned()),
            folder => Ok(Self::Folder(folder.into())),
        }
    }
}

impl std::fmt::Debug for StoreSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            // It may hold a password.
            Self::Database(_) => f.write_str("postgres://[redacted]"),
            Self::Reference(secret) => write!(f, "{secret:?}"),
        }
    }
}

/// How the database that `state` names is used.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct DatabaseSpec {
    /// Where the password is kept, if the URL is not a reference that holds it.
    pub password: Option<Secret>,
    /// PEM file with the certificate authorities to trust, in the place of the system's.
    pub certificates: Option<PathBuf>,
    /// Schema of the tables. Gateways that share one are a fleet.
    pub schema: String,
    /// Connections of one gateway at the same time, 2 to 100, and one more that listens.
    pub connections: usize,
    /// Folder for what is this gateway's own, such as its name in the fleet; relative to this file's folder.
    pub folder: PathBuf,
}

impl Default for DatabaseSpec {
    fn default() -> Self {
        Self {
            password: None,
            certificates: None,
            schema: "crossdock".to_owned(),
            connections: 8,
            folder: "../state".into(),
        }
    }
}

impl GatewaySpec {
    /// The folder for what is this gateway's own, relative to the one of `gateway.yaml`.
    pub fn state_folder(&self) -> PathBuf {
        match &self.state {
            StoreSpec::Folder(folder) => folder.clone(),
            StoreSpec::Database(_) | StoreSpec::Reference(_) => self.database.clone().unwrap_or_default().folder,
        }
    }

    /// How the database is reached, where `state` names one. `folder` is the one of `gateway.yaml`.
    ///
    /// # Errors
    /// The place in the file, and what is wrong there.
    pub fn database(&self, folder: &Path) -> Result<Option<PostgresSettings>, (&'static [&'static str], String)> {
        let spec = self.database.clone().unwrap_or_default();
        let (url, is_written) = match &self.state {
            StoreSpec::Folder(_) if self.database.is_some() => {
                return Err((&["database"], "there is no database: `state` names a folder".to_owned()));
            }
            StoreSpec::Folder(_) => return Ok(None),
            StoreSpec::Database(url) => (url.clone(), true),
            StoreSpec::Reference(secret) => {
                let url = resolve(secret, folder).map_err(|cause| (&["state"][..], cause))?;
                (url.to_string(), false)
            }
        };
        let certificates = spec.certificates.as_ref().map(|path| folder.join(path));
        let mut settings =
            PostgresSettings::parse(&url, certificates.as_deref()).map_err(|wrong| (&["state"][..], wrong))?;
        if is_written && settings.has_password() {
            let wrong = "the database's URL holds a password; keep it elsewhere, as `database: { password: env:NAME }` or \
                 file:PATH, or keep the whole URL there: `state: env:NAME`";
            return Err((&["state"], wrong.to_owned()));
        }
        if let Some(password) = &spec.password {
            settings.password(&resolve(password, folder).map_err(|cause| (&["database", "password"][..], cause))?);
        }
        if !PostgresSettings::is_schema(&spec.schema) {
            let wrong = format!(
                "`{}` cannot be the name of a schema; write lower-case letters, digits and `_`",
                spec.schema
            );
            return Err((&["database", "schema"], wrong));
        }
        if !(2..=100).contains(&spec.connections) {
            return Err((&["database", "connections"], "write 2 to 100 connections".to_owned()));
        }
        settings.schema = spec.schema;
        settings.connections = spec.connections;
        settings.lease = self.queue.lease.0;
        settings.max_bytes = self.queue.max_bytes.0;
        Ok(Some(settings))
    }
}

/// How a database is reached. Made from a URL; what is wrong with one is said without it, as it may hold a password.
#[derive(Clone)]
pub struct PostgresSettings {
    pub(crate) config: tokio_postgres::Config,
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
    /// Schema of the queue's tables.
    pub schema: String,
    /// Connections at the same time, at least 2, beside one that listens.
    pub connections: usize,
    /// How long leases are: clocks have to agree within a twentieth of it.
    pub lease: Duration,
    /// Bytes that the tables may use; new messages are refused at nine tenths of it.
    pub max_bytes: u64,
}

impl std::fmt::Debug for PostgresSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresSettings")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

/// Whether the text of `state` names a database and not a folder.
pub(super) fn is_database_url(text: &str) -> bool {
    text.starts_with("postgres://") || text.starts_with("postgresql://")
}

impl PostgresSettings {
    /// From `postgres://USER@HOST:PORT/DATABASE?sslmode=verify-full`.
    ///
    /// Hosts may be several, separated by commas: the first that can be written to is used. `sslmode` is `verify-full`,
    /// or `disable`, which is the default for this machine (a loopback address, or a folder with a Unix socket as
    /// `?host=/run/postgresql`). `certificates` is a PEM file with the authorities to trust in place of the system's.
    ///
    /// # Errors
    /// Says in one phrase what is wrong, and what to write instead.
    pub fn parse(url: &str, certificates: Option<&Path>) -> Result<Self, String> {
        if !is_database_url(url) {
            return Err("the database's URL does not begin with `postgres://`".to_owned());
        }
        let (url, mode) = without_mode(url)?;
        // The library's own words may repeat parts of the URL.
        let wrong = "the database's URL cannot be read: write postgres://USER@HOST:PORT/DATABASE";
        let mut config = tokio_postgres::Config::from_str(&url).map_err(|_| wrong.to_owned())?;
        if config.get_hosts().is_empty() {
            return Err("the database's URL names no host: write postgres://USER@HOST:PORT/DATABASE".to_owned());
        }
        if config.get_user().is_none() {
            return Err("the database's URL names no user: write postgres://USER@HOST:PORT/DATABASE".to_owned());
        }
        if config.get_dbname().is_none() {
            return Err("the database's URL names no database: write postgres://USER@HOST:PORT/DATABASE".to_owned());
        }
        let is_near = config.get_hosts().iter().all(is_here);
        let is_encrypted = match mode.as_deref() {
            None => !is_near,
            Some("disable") => false,
            Some("verify-full") => true,
            Some(other) => {
                return Err(format!(
                    "`sslmode={other}` would encrypt without knowing for whom; write `verify-full`, with \
                     `database.certificates` for an authority of your own, or `disable` on a network you trust"
                ));
            }
        };
        let tls = is_encrypted.then(|| trust(certificates)).transpose()?;
        config.ssl_mode(if tls.is_some() {
            SslMode::Require
        } else {
            SslMode::Disable
        });
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        config.application_name("crossdock");
        config.keepalives_idle(Duration::from_secs(30));
        config.tcp_user_timeout(Duration::from_secs(15));
        Ok(Self {
            config,
            tls: tls.map(Arc::new),
            schema: "crossdock".to_owned(),
            connections: 8,
            lease: Duration::from_secs(150),
            max_bytes: 4 << 30,
        })
    }

    /// Whether the URL holds a password.
    pub fn has_password(&self) -> bool {
        self.config.get_password().is_some()
    }

    /// Takes the password from elsewhere.
    pub fn password(&mut self, password: &str) {
        self.config.password(password);
    }

    /// Whether a text can be the name of a schema: it is written into statements.
    pub fn is_schema(name: &str) -> bool {
        let mut characters = name.chars();
        characters
            .next()
            .is_some_and(|first| first.is_ascii_lowercase() || first == '_')
            && characters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            && name.len() <= 40
            && !name.starts_with("pg_")
    }
}

/// The URL without its `sslmode`, which the library knows in another sense.
fn without_mode(url: &str) -> Result<(String, Option<String>), String> {
    let Some((base, query)) = url.split_once('?') else {
        return Ok((url.to_owned(), None));
    };
    let mut mode = None;
    let mut rest = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", value)) => mode = Some(value.to_owned()),
            Some(("host" | "hostaddr" | "port" | "user" | "dbname" | "password" | "options", _)) => rest.push(pair),
            Some((name, _)) => {
                let known = "`sslmode`, `host`, `port`, `user`, `dbname`, `options`";
                return Err(format!(
                    "the database's URL has a parameter `{name}`, which is none of {known}"
                ));
            }
            None => return Err("the database's URL has a parameter without a value".to_owned()),
        }
    }
    Ok((format!("{base}?{}", rest.join("&")), mode))
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost"
                || name
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|address| address.is_loopback())
        }
    }
}

fn trust(certificates: Option<&Path>) -> Result<rustls::ClientConfig, String> {
    let mut roots = rustls::RootCertStore::empty();
    if let Some(path) = certificates {
        let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let read = read.map_err(|cause| format!("the certificates `{}` cannot be read: {cause}", path.display()))?;
        roots.add_parsable_certificates(read);
        if roots.is_empty() {
            return Err(format!("there is no certificate in `{}`", path.display()));
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err("this machine trusts no certificate authority; name one as `database.certificates`".to_owned());
        }
    }
    Ok(rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_of_this_machine_needs_no_encryption_and_any_other_does() {
        let is_encrypted = |url| PostgresSettings::parse(url, None).map(|settings| settings.tls.is_some());
        assert_eq!(is_encrypted("postgres://crossdock@localhost/crossdock"), Ok(false));
        assert_eq!(is_encrypted("postgres://crossdock@127.0.0.1:5433/crossdock"), Ok(false));
        assert_eq!(
            is_encrypted("postgres://crossdock@/crossdock?host=/run/postgresql"),
            Ok(false)
        );
        assert_eq!(
            is_encrypted("postgres://crossdock@db.internal/crossdock?sslmode=disable"),
            Ok(false)
        );
        assert_ne!(is_encrypted("postgres://crossdock@db.internal/crossdock"), Ok(false));
        assert_ne!(
            is_encrypted("postgres://crossdock@localhost/crossdock?sslmode=verify-full"),
            Ok(false)
        );
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for (url, said) in [
            ("mysql://a:s3cret@b/c", "does not begin with `postgres://`"),
            ("postgres://a:s3cret@/c", "no host"),
            ("postgres://b/c", "no user"),
            ("postgres://a:s3cret@b", "no database"),
            ("postgres://a:s3cret@b:x/c", "cannot be read"),
            (
                "postgres://a:s3cret@b/c?sslmode=require",
                "`sslmode=require` would encrypt",
            ),
            ("postgres://a:s3cret@b/c?colour=red", "a parameter `colour`"),
        ] {
            let wrong = PostgresSettings::parse(url, None).unwrap_err();
            assert!(wrong.contains(said) && !wrong.contains("s3cret"), "{url}: {wrong}");
        }
    }

    #[test]
    fn a_schema_is_a_plain_name() {
        assert!(PostgresSettings::is_schema("crossdock_test2"));
        for wrong in ["", "2fast", "Cross", "a;b", "pg_x", "a\"b"] {
            assert!(!PostgresSettings::is_schema(wrong), "{wrong}");
        }
    }
}
