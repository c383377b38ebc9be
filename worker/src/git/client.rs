//! The child's HTTP client.

use std::fs;

use reqwest::blocking::{Client, ClientBuilder};
use reqwest::{Certificate, NoProxy, Proxy, redirect};

use super::GitError;
use super::link::other;
use super::protocol::Network;

/// Follows no redirect, obeys no environment and trusts the system's authorities and those of `http.ca_file`.
pub(super) fn client(network: &Network) -> Result<Client, GitError> {
    // Only ring is built in. An error means that a provider is set already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = ClientBuilder::new()
        .redirect(redirect::Policy::none())
        .referer(false)
        .http1_only()
        .no_proxy()
        .connect_timeout(network.connect_timeout)
        .timeout(None);
    if let Some(proxy) = &network.proxy {
        let proxy = Proxy::all(proxy.expose());
        let proxy =
            proxy.map_err(|_| other("`http.proxy` is not an address like http://proxy:3128".to_owned()))?;
        builder = builder.proxy(proxy.no_proxy(network.no_proxy.as_deref().and_then(NoProxy::from_string)));
    }
    if let Some(file) = &network.ca_file {
        let unusable =
            |error: String| other(format!("cannot use `http.ca_file` {}: {error}", file.display()));
        let pem = fs::read(file).map_err(|error| unusable(error.to_string()))?;
        let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| unusable(error.to_string()))?;
        if certificates.is_empty() {
            return Err(unusable("it holds no certificate in PEM form".to_owned()));
        }
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(|error| other(format!("cannot build the HTTP client: {error:?}")))
}
