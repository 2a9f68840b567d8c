//! `policies/gateway.yaml`: listeners, admin, state, telemetry. Read at start; everything else is hot.

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{DatabaseSpec, Percent, Secret, Size, StoreSpec, Time};

/// How the gateway process listens, keeps its state and reports. Read at start; a change needs a restart.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GatewaySpec {
    /// Always `Gateway`.
    pub kind: GatewayKind,
    /// Where channels connect.
    #[serde(default = "GatewaySpec::default_listeners")]
    pub listeners: Vec<ListenerSpec>,
    /// Where operators connect: health, metrics.
    #[serde(default)]
    pub admin: AdminSpec,
    /// Folder of the contracts, relative to this file's folder.
    #[serde(default = "GatewaySpec::default_contracts")]
    pub contracts: PathBuf,
    /// Which mappings of contracts go live: those that `crossdock contract check` found good, or any.
    #[serde(default)]
    pub mappings: MappingsSpec,
    /// Where what must survive a restart is kept: the fallback queue and the audit log.
    #[serde(default = "GatewaySpec::default_state")]
    pub state: StoreSpec,
    /// How the database is used, where `state` names one.
    #[serde(default)]
    pub database: Option<DatabaseSpec>,
    /// Threads that carry requests, each with its own listener. By default one per core.
    #[serde(default)]
    pub workers: Option<NonZeroUsize>,
    /// Bounds on what a connection may send.
    #[serde(default)]
    pub limits: ConnectionLimitsSpec,
    /// How long requests in flight may take to finish after SIGTERM.
    #[serde(default = "GatewaySpec::default_drain")]
    pub drain: Time,
    /// Bounds of the fallback queue.
    #[serde(default)]
    pub queue: QueueSpec,
    /// What is given to callers and comes back much later.
    #[serde(default)]
    pub cursors: CursorKeySpec,
    /// Traces and the access log.
    #[serde(default)]
    pub telemetry: TelemetrySpec,
}

/// The `kind` of `gateway.yaml`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub enum GatewayKind {
    /// The only value.
    Gateway,
}

/// Which mappings of contracts go live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MappingsSpec {
    /// Those whose contract has a `checked.json` that is of its versions and mappings as they are.
    #[default]
    Checked,
    /// Any that can be read. For trying things out.
    Any,
}

impl GatewaySpec {
    fn default_listeners() -> Vec<ListenerSpec> {
        vec![ListenerSpec {
            address: SocketAddr::from(([127, 0, 0, 1], 8080)),
            tls: None,
        }]
    }

    fn default_contracts() -> PathBuf {
        "../contracts".into()
    }

    fn default_state() -> StoreSpec {
        StoreSpec::Folder("../state".into())
    }

    fn default_drain() -> Time {
        Time(std::time::Duration::from_secs(30))
    }
}

/// One address channels connect to. HTTP/1.1 and HTTP/2, by ALPN over TLS or by prior knowledge in clear text.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ListenerSpec {
    /// IP address and port, such as `127.0.0.1:8080` or `[::]:443`.
    pub address: SocketAddr,
    /// Certificate and key; without it the listener speaks clear text.
    #[serde(default)]
    pub tls: Option<TlsSpec>,
}

/// Server certificate and private key, both PEM.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TlsSpec {
    /// PEM file with the certificate chain, leaf first.
    pub certificate: PathBuf,
    /// Where the PEM private key is kept.
    pub key: Secret,
}

/// The admin listener.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct AdminSpec {
    /// A loopback address: the admin listener has no authentication of its own.
    pub address: SocketAddr,
}

impl Default for AdminSpec {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 9901)),
        }
    }
}

/// Bounds on what one connection may send.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct ConnectionLimitsSpec {
    /// All header fields of a request together, 8 KiB to 1 MiB.
    pub header_bytes: Size,
    /// Number of header fields.
    pub headers: usize,
    /// How long a client may take to send its header, and how long a connection may idle between requests.
    pub header_timeout: Time,
    /// How long a client may pause while it sends a body.
    pub body_timeout: Time,
    /// Largest request body that is passed on.
    pub body: Size,
    /// Connections per worker; further ones wait in the listen backlog.
    pub connections: usize,
    /// Concurrent streams of one HTTP/2 connection.
    pub streams: u32,
}

impl Default for ConnectionLimitsSpec {
    fn default() -> Self {
        Self {
            header_bytes: Size(64 << 10),
            headers: 100,
            header_timeout: Time(std::time::Duration::from_mins(1)),
            body_timeout: Time(std::time::Duration::from_secs(30)),
            body: Size(10 << 20),
            connections: 20_000,
            streams: 200,
        }
    }
}

/// Bounds of the fallback queue's store.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct QueueSpec {
    /// Largest store on disk. Over it, new messages are refused with 503.
    pub max_bytes: Size,
    /// How long a finished message and its idempotency key are remembered.
    pub retention: Time,
    /// How long a delivery may take before another gateway may take it for lost. Longer than any upstream's `total`
    /// timeout; clocks of gateways that share a database have to agree within a tenth of it.
    pub lease: Time,
}

impl Default for QueueSpec {
    fn default() -> Self {
        Self {
            max_bytes: Size(4 << 30),
            retention: Time(std::time::Duration::from_hours(168)),
            lease: Time(std::time::Duration::from_secs(150)),
        }
    }
}

/// How cursors that callers get are sealed.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct CursorKeySpec {
    /// A secret of at least 32 bytes, the same for all gateways that serve the same callers. Without it, one is made and
    /// kept as `cursor.key` in the state folder.
    pub key: Option<Secret>,
}

/// What the gateway reports of itself.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct TelemetrySpec {
    /// OpenTelemetry traces; without it none are exported.
    pub traces: Option<TracesSpec>,
    /// One JSON line per request.
    pub access_log: AccessLogSpec,
}

/// Where traces go and how many.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TracesSpec {
    /// OTLP over HTTP with protobuf, such as `http://127.0.0.1:4318/v1/traces`.
    pub endpoint: String,
    /// Share of requests without a sampled parent that are traced. Errors and queued requests always are.
    #[serde(default = "TracesSpec::default_sample")]
    pub sample: Percent,
}

impl TracesSpec {
    fn default_sample() -> Percent {
        Percent(0.01)
    }
}

/// Where the access log goes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AccessLogSpec {
    /// Standard output.
    #[default]
    Stdout,
    /// Nowhere.
    Off,
    /// A file, appended to, relative to the folder of `gateway.yaml`.
    File(PathBuf),
}
