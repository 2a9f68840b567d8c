//! The HTTP client of background work: key sets, trace export. Requests of channels go through `upstream`.

use http_body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

/// Speaks `http` and `https`, trusting what the system trusts. Redirects are not followed.
pub(crate) type Https<B> = Client<HttpsConnector<HttpConnector>, B>;

/// A client with a pool of its own.
pub(crate) fn https<B>() -> Https<B>
where
    B: Body + Send,
    B::Data: Send,
{
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let tls = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .build();
    Client::builder(TokioExecutor::new()).build(connector)
}
