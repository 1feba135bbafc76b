//! Certificates: how they are read, and who is shown which.

use std::sync::Arc;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use rustls::pki_types::ServerName;
use skiff_ingress::table::HostMatch;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::ingress::certificates::{ByHost, Certificate, Certificates};

/// PEM of a certificate and of its key.
pub fn pem(name: &str, ends: Option<(i32, u8, u8)>) -> (String, String) {
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    if let Some((year, month, day)) = ends {
        params.not_after = rcgen::date_time_ymd(year, month, day);
    }
    let key = rcgen::KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

pub fn secret(certificate: &str, key: &str) -> Secret {
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    Secret {
        data: Some(
            [
                ("tls.crt".to_owned(), bytes(certificate)),
                ("tls.key".to_owned(), bytes(key)),
            ]
            .into(),
        ),
        ..Secret::default()
    }
}

#[test]
fn what_is_read() {
    let (certificate, key) = pem("a.example", Some((2020, 2, 3)));
    let (_, other) = pem("b.example", None);
    let read = Certificate::of(&secret(&certificate, &key)).unwrap();
    assert_eq!(read.not_after.to_string(), "2020-02-03T00:00:00Z");
    for (certificate, key, wanted) in [
        ("", key.as_str(), "it has no tls.crt"),
        (&certificate, "", "it has no tls.key"),
        ("text", &key, "it has no certificate in tls.crt"),
        (&certificate, "text", "its tls.key cannot be read"),
        (
            &certificate,
            &other,
            "its key does not belong to its certificate",
        ),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            &key,
            "its tls.crt cannot be read",
        ),
    ] {
        let error = Certificate::of(&secret(certificate, key))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(wanted), "{error} instead of {wanted}");
    }
    assert_eq!(
        Certificate::of(&Secret::default()).unwrap_err().to_string(),
        "it has no tls.crt"
    );
}

#[test]
fn who_is_shown_which() {
    let make = |name: &str| {
        let (certificate, key) = pem(name, None);
        Certificate::read(certificate.as_bytes(), key.as_bytes()).unwrap()
    };
    let (own, a, wild) = (
        Certificate::own().unwrap(),
        make("a.w.example"),
        make("*.w.example"),
    );
    let shown = Certificates::new(&own);
    shown.set(ByHost::from([
        (HostMatch::parse("a.w.example"), a.key.clone()),
        (HostMatch::parse("*.w.example"), wild.key.clone()),
    ]));
    for (name, wanted) in [
        (Some("a.w.example"), &a),
        (Some("A.W.example"), &a),
        (Some("a.w.example."), &a),
        (Some("b.w.example"), &wild),
        (Some("c.b.w.example"), &own),
        (Some("w.example"), &own),
        (Some("other"), &own),
        (None, &own),
    ] {
        assert!(Arc::ptr_eq(&shown.find(name), &wanted.key), "{name:?}");
    }
    shown.set(ByHost::new());
    assert!(Arc::ptr_eq(&shown.find(Some("a.w.example")), &own.key));
}

/// What a client sees: the certificate of the name that it asks for, and the best protocol that both know.
#[tokio::test]
async fn tls_by_the_name_that_is_asked_for() {
    let (certificate, key) = pem("a.example", None);
    let own = Certificate::read(certificate.as_bytes(), key.as_bytes()).unwrap();
    let shown = Certificates::new(&Certificate::own().unwrap());
    let acceptor = TlsAcceptor::from(shown.server().unwrap());
    shown.set(ByHost::from([(
        HostMatch::parse("a.example"),
        own.key.clone(),
    )]));
    for (name, protocols, trusted, wanted) in [
        ("a.example", &["h2", "http/1.1"][..], true, "h2"),
        ("a.example", &["http/1.1"], true, "http/1.1"),
        ("b.example", &["h2"], false, "h2"),
    ] {
        let mut config = skiff_watching::tls::client(None)
            .unwrap()
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        let connector = TlsConnector::from(Arc::new(config));
        let (client, server) = tokio::io::duplex(1 << 16);
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let joined = tokio::try_join!(connector.connect(name, client), acceptor.accept(server));
        let (client, _server) = joined.unwrap();
        let (_, session) = client.get_ref();
        assert_eq!(session.alpn_protocol().unwrap(), wanted.as_bytes());
        let certificates = session.peer_certificates().unwrap();
        assert_eq!(certificates[0] == own.key.cert[0], trusted);
    }
}
