//! One TLS implementation for everything: rustls with ring.

/// Makes ring the process' provider of cryptography; calling it again changes nothing.
pub fn install_crypto_provider() {
    // An error says that a provider is installed already, which is what we want.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
