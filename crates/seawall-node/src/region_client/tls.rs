//! TLS 1.3 with raw public keys (RFC 7250): the region's key is pinned, ours is shown.
//!
//! There are no certificates, names or authorities: whether a key is the region's is decided by
//! its root-signed enrolment alone.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer,
    UnixTime,
};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, PeerMisbehaved, SignatureScheme};
use seawall_sign::{SigningKey, VerifyingKey};
use seawall_sync::raw_key;

/// Accepts one key.
#[derive(Debug)]
struct Pinned {
    key: VerifyingKey,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match raw_key::from_spki(end_entity) {
            Some(key) if key == self.key => Ok(ServerCertVerified::assertion()),
            Some(key) => Err(Error::General(format!(
                "its key is {key}, but its enrolment pins {}: this is another machine, or the \
                 region's keys were replaced; get a new enrolment bundle from an operator",
                self.key
            ))),
            None => Err(Error::General("it showed no Ed25519 raw public key".to_owned())),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(cert.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// The configuration for a region with the transport key `region`, as the holder of `own`.
pub(super) fn config(region: VerifyingKey, own: &SigningKey) -> Result<ClientConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let secret = raw_key::pkcs8(own);
    let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(secret.as_slice()));
    let signer = aws_lc_rs::sign::any_supported_type(&secret)?;
    let public = CertificateDer::from(raw_key::spki(&own.public()).to_vec());
    let own = Arc::new(CertifiedKey::new(vec![public], signer));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned { key: region, algorithms }))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(own)));
    config.enable_sni = false;
    // A resumed session would skip the check of a key that may have been replaced meanwhile.
    config.resumption = Resumption::disabled();
    Ok(config)
}
