//! TLS 1.3 with raw public keys (RFC 7250) on both sides.
//!
//! There are no certificates, names or authorities. The client pins the one key its peer must
//! hold. The server learns *which* key a client holds, whoever it is: somebody not enrolled yet
//! must be able to ask, and what a key may do is decided for every request by its enrolment.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{
    CryptoProvider, SupportedKxGroup, WebPkiSupportedAlgorithms, aws_lc_rs,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer,
    UnixTime,
};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, ConnectionCommon, DigitallySignedStruct, DistinguishedName, Error,
    PeerMisbehaved, ServerConfig, SignatureScheme,
};
use seawall_sign::{SigningKey, VerifyingKey};

use crate::raw_key;

/// X25519 and ML-KEM-768 together (draft-ietf-tls-ecdhe-mlkem), and nothing else: what passes today
/// stays closed to whoever records it and later breaks either of the two. Every peer is a Seawall,
/// so there is nobody to whom less would have to be offered.
const KEY_EXCHANGE: &dyn SupportedKxGroup = aws_lc_rs::kx_group::X25519MLKEM768;

/// The label of the `tls-exporter` channel binding (RFC 9266 §2).
const BINDING_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// Names one TLS connection: the `tls-exporter` channel binding (RFC 9266), 32 bytes of keying
/// material (RFC 8446 §7.5) that both ends compute and nobody between them can make equal for two
/// connections. Not secret by itself (RFC 5056 §2.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChannelBinding(pub [u8; 32]);

impl fmt::Debug for ChannelBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChannelBinding(..)")
    }
}

impl ChannelBinding {
    /// Of a connection whose handshake has ended.
    pub(crate) fn of<D>(connection: &ConnectionCommon<D>) -> Result<Self, Error> {
        connection.export_keying_material([0; 32], BINDING_LABEL, None).map(Self)
    }
}

/// Checks handshake signatures by Ed25519 raw keys; refuses every other kind.
#[derive(Debug)]
struct Ed25519Only(WebPkiSupportedAlgorithms);

impl Ed25519Only {
    fn tls12() -> Result<HandshakeSignatureValid, Error> {
        Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into())
    }

    fn tls13(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(cert.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, dss, &self.0)
    }
}

/// Accepts one key.
#[derive(Debug)]
struct Pinned {
    key: VerifyingKey,
    signatures: Ed25519Only,
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
                "its key is {key}, but its enrolment pins {}: this is another machine, or its \
                 keys were replaced",
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
        Ed25519Only::tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.tls13(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Accepts any Ed25519 key whose holder signs the handshake.
#[derive(Debug)]
struct AnyEd25519(Ed25519Only);

impl ClientCertVerifier for AnyEd25519 {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match raw_key::from_spki(end_entity) {
            Some(_) => Ok(ClientCertVerified::assertion()),
            None => Err(Error::General("the peer showed no Ed25519 raw public key".to_owned())),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ed25519Only::tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.tls13(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// The provider, its signature checks, and `own` as the key to show.
fn own_key(
    own: &SigningKey,
) -> Result<(Arc<CryptoProvider>, Ed25519Only, Arc<CertifiedKey>), Error> {
    let provider =
        CryptoProvider { kx_groups: vec![KEY_EXCHANGE], ..aws_lc_rs::default_provider() };
    let provider = Arc::new(provider);
    let signatures = Ed25519Only(provider.signature_verification_algorithms);
    let secret = raw_key::pkcs8(own);
    let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(secret.as_slice()));
    let signer = aws_lc_rs::sign::any_supported_type(&secret)?;
    let public = CertificateDer::from(raw_key::spki(&own.public()).to_vec());
    Ok((provider, signatures, Arc::new(CertifiedKey::new(vec![public], signer))))
}

/// The configuration of a server that holds `own`. No session is ever resumed: each connection
/// proves its key anew.
pub(crate) fn server(own: &SigningKey) -> Result<ServerConfig, Error> {
    let (provider, signatures, own) = own_key(own)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(AnyEd25519(signatures)))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(own)));
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The configuration for a server with the transport key `pinned`, as the holder of `own`.
pub(crate) fn client(pinned: VerifyingKey, own: &SigningKey) -> Result<ClientConfig, Error> {
    let (provider, signatures, own) = own_key(own)?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned { key: pinned, signatures }))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(own)));
    config.enable_sni = false;
    // A resumed session would skip the check of a key that may have been replaced meanwhile.
    config.resumption = Resumption::disabled();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;
    use rustls::{ClientConnection, NamedGroup, ServerConnection};

    use super::*;

    fn handshake(client: ClientConfig, server: ServerConfig) -> Result<[NamedGroup; 2], Error> {
        let name = ServerName::try_from("seawall").expect("a name");
        let mut client = ClientConnection::new(Arc::new(client), name)?;
        let mut server = ServerConnection::new(Arc::new(server))?;
        while client.is_handshaking() || server.is_handshaking() {
            let mut sent = Vec::new();
            client.write_tls(&mut sent).expect("to memory");
            server.read_tls(&mut sent.as_slice()).expect("from memory");
            server.process_new_packets()?;
            let mut sent = Vec::new();
            server.write_tls(&mut sent).expect("to memory");
            client.read_tls(&mut sent.as_slice()).expect("from memory");
            client.process_new_packets()?;
        }
        let group = |it: Option<&dyn SupportedKxGroup>| it.expect("negotiated").name();
        Ok([
            group(client.negotiated_key_exchange_group()),
            group(server.negotiated_key_exchange_group()),
        ])
    }

    #[test]
    fn keys_are_exchanged_by_both_kinds_and_never_by_one() {
        let [ours, theirs] = [1, 2].map(|n| SigningKey::from_seed(&[n; 32]));
        let server = || super::server(&theirs).expect("a server");
        let client = || super::client(theirs.public(), &ours).expect("a client");
        let found = handshake(client(), server()).expect("they agree");
        assert_eq!(found, [NamedGroup::X25519MLKEM768; 2]);

        let older = CryptoProvider {
            kx_groups: vec![aws_lc_rs::kx_group::X25519],
            ..aws_lc_rs::default_provider()
        };
        let (_, signatures, own) = own_key(&ours).expect("a key");
        let older = ClientConfig::builder_with_provider(Arc::new(older))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned { key: theirs.public(), signatures }))
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(own)));
        let refused = handshake(older, server()).expect_err("X25519 alone is not enough");
        assert!(matches!(refused, Error::PeerIncompatible(_)), "{refused:?}");
    }
}
