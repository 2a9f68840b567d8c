//! The sandbox: small back ends that keep state, remember what they did, and fail on demand; and a token issuer.

pub mod backend;
mod carrier;
pub mod compare;
mod crm;
mod erp;
pub mod exercise;
pub mod issuer;
pub mod keys;
mod wms;

use std::{net::SocketAddr, path::Path, sync::Arc};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use backend::{Backend, Mode};
pub use keys::{TokenClaims, issue_token};

/// First of the five ports in a row: ERP, WMS, carrier, CRM, issuer.
pub const PORT_BASE: u16 = 9101;
/// The back ends, in the order of their ports.
pub const BACKENDS: [&str; 4] = ["erp", "wms", "carrier", "crm"];
/// Offset of the issuer's port.
pub const ISSUER: u16 = 4;

/// API keys of the demo's channels, by channel. For development only: everybody can read them.
const DEMO_KEYS: [(&str, &str); 2] = [
    ("edi-intake", "xdk_demo_edi_intake_2b7Qm9Zr4Lw8"),
    ("partner-3pl", "xdk_demo_partner_3pl_6Vt1Xk5Np0Hs"),
];

/// The demo API key of a channel, where it has one.
pub fn demo_key(channel: &str) -> Option<&'static str> {
    DEMO_KEYS.iter().find(|(name, _)| *name == channel).map(|(_, key)| *key)
}

/// Running back ends and issuer.
pub struct Sandbox {
    /// Name and address, in the order of ports; the issuer is last.
    pub addresses: Vec<(&'static str, SocketAddr)>,
    stop: CancellationToken,
}

impl Sandbox {
    /// Starts all on loopback, from `port_base` on. Keys of the issuer are kept in `keys`.
    pub async fn start(port_base: u16, keys: &Path, channels: issuer::Channels) -> anyhow::Result<Self> {
        let stop = CancellationToken::new();
        let mut addresses = Vec::new();
        let systems: [Box<dyn backend::System>; 4] = [
            Box::new(erp::Erp::default()),
            Box::new(wms::Wms::default()),
            Box::new(carrier::Carrier::default()),
            Box::new(crm::Crm::default()),
        ];
        for ((offset, name), system) in (0..).zip(BACKENDS).zip(systems) {
            let listener = bind(port_base + offset, name).await?;
            addresses.push((name, listener.local_addr()?));
            tokio::spawn(Arc::new(Backend::new(name, system)).serve(listener, stop.clone()));
        }
        let listener = bind(port_base + ISSUER, "issuer").await?;
        let address = listener.local_addr()?;
        addresses.push(("issuer", address));
        let issuer = issuer::Issuer::new(keys, format!("http://{address}"), channels)?;
        tokio::spawn(issuer::serve(Arc::new(issuer), listener, stop.clone()));
        Ok(Self { addresses, stop })
    }

    /// Ends all.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

async fn bind(port: u16, name: &str) -> anyhow::Result<TcpListener> {
    use anyhow::Context as _;
    TcpListener::bind(("127.0.0.1", port))
        .await
        .with_context(|| format!("cannot listen on port {port} for {name}; `--port-base` moves all back ends"))
}
