//! Whom the host trusts when it connects.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

/// The certificates of the system, if they are wanted, and those of a connection.
pub(super) fn roots(system: bool, own: &[CertificateDer<'static>]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    if system {
        // What can't be read is left out: what is missing shows when a server is not trusted.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    for certificate in own {
        roots
            .add(certificate.clone())
            .map_err(|error| format!("a certificate of `ca` can't be used: {error}"))?;
    }
    Ok(roots)
}

/// A client that trusts the system and the certificates of a connection.
pub(super) fn client(own: &[CertificateDer<'static>]) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS does not start: {error}"))?;
    Ok(config.with_root_certificates(roots(true, own)?).with_no_client_auth())
}
