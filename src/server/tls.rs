//! The server's certificate and key.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio_rustls::TlsAcceptor;

use crate::config::{TlsSpec, resolve};

/// TLS 1.2 and 1.3, HTTP/2 preferred by ALPN. Paths are relative to `folder`.
pub(super) fn acceptor(spec: &TlsSpec, folder: &Path) -> anyhow::Result<TlsAcceptor> {
    let path = folder.join(&spec.certificate);
    let chain = CertificateDer::pem_file_iter(&path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("cannot read the certificate chain from {}", path.display()))?;
    let key = resolve(&spec.key, folder).map_err(anyhow::Error::msg)?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .with_context(|| format!("{:?} holds no PEM private key", spec.key))?;
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .with_context(|| format!("certificate {} and key {:?} cannot be used", path.display(), spec.key))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
