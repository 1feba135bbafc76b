use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use std::path::Path;

use skiff_api::machinery::clock::SharedClock;

use super::*;
use crate::auth::keys::SigningKey;
use crate::auth::{
    keys::{oid, pem},
    testing::StoppedClock,
};

const NODE_CSR: &str = include_str!("../../../../../testdata/auth/node.csr");
const MULTI_CSR: &str = include_str!("../../../../../testdata/auth/multi.csr");
const DAY: i64 = 24 * 3600;

fn names() -> ServingNames {
    ServingNames {
        cluster_domain: "cluster.local".into(),
        service_ips: vec!["10.96.0.1".parse().unwrap()],
        listen_ips: vec!["0.0.0.0".parse().unwrap(), "192.0.2.7".parse().unwrap()],
        host_name: "box".into(),
        extra: vec!["api.example.com".into()],
    }
}

fn facts(issued: &Issued) -> Facts {
    files::check_pair(issued).unwrap()
}

fn open(folder: &Path, names: &ServingNames, clock: &std::sync::Arc<StoppedClock>) -> Pki {
    Pki::open(folder, names, &Given::default(), clock.clone()).unwrap()
}

#[test]
fn a_folder_is_filled_once() {
    let folder = tempfile::tempdir().unwrap();
    let pki_folder = folder.path().join("deep/pki");
    let clock = StoppedClock::at("2026-01-01T00:00:00Z");
    let first = open(&pki_folder, &names(), &clock);
    let mode = |path: &str| {
        fs::metadata(pki_folder.join(path))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(
        fs::metadata(&pki_folder).unwrap().permissions().mode() & 0o777,
        0o700
    );
    for (file, expected) in [
        ("ca.crt", 0o644),
        ("ca.key", 0o600),
        ("apiserver.crt", 0o644),
        ("apiserver.key", 0o600),
        ("front-proxy-ca.key", 0o600),
        ("front-proxy-client.key", 0o600),
        ("sa.key", 0o600),
        ("sa.pub", 0o644),
    ] {
        assert_eq!(mode(file), expected, "{file}");
    }
    let mut files: Vec<String> = fs::read_dir(&pki_folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let expected = [
        "apiserver-kubelet-client.crt",
        "apiserver-kubelet-client.key",
        "apiserver.crt",
        "apiserver.key",
        "ca.crt",
        "ca.key",
        "front-proxy-ca.crt",
        "front-proxy-ca.key",
        "front-proxy-client.crt",
        "front-proxy-client.key",
        "sa.key",
        "sa.pub",
    ];
    assert_eq!(files, expected, "nothing half-written stays");

    let serving = facts(&first.serving);
    let sans: Vec<San> = "kubernetes kubernetes.default kubernetes.default.svc kubernetes.default.svc.cluster.local localhost box 10.96.0.1 192.0.2.7 \
         127.0.0.1 ::1 api.example.com"
        .split_whitespace()
        .map(San::of)
        .collect();
    assert_eq!(serving.sans, sans);
    assert_eq!(serving.common_name, "kube-apiserver");
    let kubelet = facts(&first.kubelet_client);
    assert_eq!(
        (
            kubelet.common_name.as_str(),
            kubelet.organizations.as_slice()
        ),
        ("kube-apiserver-kubelet-client", &[][..])
    );
    let admin = facts(&first.admin().unwrap());
    assert_eq!(
        (admin.common_name.as_str(), admin.organizations.as_slice()),
        ("kubernetes-admin", &["system:masters".to_owned()][..])
    );

    let second = open(&pki_folder, &names(), &clock);
    assert_eq!(second.serving.certificate, first.serving.certificate);
    assert_eq!(
        second.authority.certificate_pem(),
        first.authority.certificate_pem()
    );
    assert_eq!(
        second.service_account_key.public(),
        first.service_account_key.public()
    );
}

#[test]
fn a_certificate_for_nodes_that_opens_everything_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let clock = StoppedClock::at("2026-01-01T00:00:00Z");
    let first = open(folder.path(), &names(), &clock);
    let strong = first
        .authority
        .client("kube-apiserver-kubelet-client", &["system:masters"])
        .unwrap();
    std::fs::write(
        folder.path().join("apiserver-kubelet-client.crt"),
        &strong.certificate,
    )
    .unwrap();
    std::fs::write(
        folder.path().join("apiserver-kubelet-client.key"),
        &strong.key,
    )
    .unwrap();
    let second = open(folder.path(), &names(), &clock);
    assert!(facts(&second.kubelet_client).organizations.is_empty());
}

#[test]
fn a_serving_certificate_that_does_not_fit_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let clock = StoppedClock::at("2026-01-01T00:00:00Z");
    let first = open(folder.path(), &names(), &clock);
    let moved = ServingNames {
        listen_ips: vec!["198.51.100.1".parse().unwrap()],
        ..names()
    };
    let second = open(folder.path(), &moved, &clock);
    assert_ne!(second.serving.certificate, first.serving.certificate);
    assert!(
        facts(&second.serving)
            .sans
            .contains(&San::of("198.51.100.1"))
    );
    clock.advance(300 * DAY);
    let third = open(folder.path(), &moved, &clock);
    assert_eq!(third.serving.certificate, second.serving.certificate);
    clock.advance(40 * DAY);
    let fourth = open(folder.path(), &moved, &clock);
    assert_ne!(
        fourth.serving.certificate, third.serving.certificate,
        "it would end soon"
    );
    assert_eq!(
        fourth.authority.certificate_pem(),
        first.authority.certificate_pem()
    );
    // another authority: what the old one signed is worth nothing
    fs::remove_file(folder.path().join("ca.crt")).unwrap();
    let fifth = open(folder.path(), &moved, &clock);
    assert_ne!(
        fifth.authority.certificate_pem(),
        first.authority.certificate_pem()
    );
    assert_ne!(fifth.serving.certificate, fourth.serving.certificate);
}

#[test]
fn what_a_user_brings_is_used_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let clock = StoppedClock::at("2026-01-01T00:00:00Z");
    let other = Authority::generate(clock.clone()).unwrap().0;
    let mine = other
        .serving("mine", &[], &[San::of("mine.example")])
        .unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        Some(path)
    };
    let given = Given {
        client_ca_file: write("clients.crt", other.certificate_pem()),
        tls_cert_file: write("mine.crt", &mine.certificate),
        tls_private_key_file: write("mine.key", &mine.key),
    };
    let pki = Pki::open(&folder.path().join("pki"), &names(), &given, clock.clone()).unwrap();
    assert_eq!(pki.serving.certificate, mine.certificate);
    assert_eq!(pki.client_ca, other.certificate_pem().as_bytes());
    assert!(!folder.path().join("pki/apiserver.crt").exists());
    let error = |given: Given| {
        Pki::open(&folder.path().join("pki"), &names(), &given, clock.clone())
            .err()
            .unwrap()
            .to_string()
    };
    assert_eq!(
        error(Given {
            tls_cert_file: given.tls_cert_file.clone(),
            ..Given::default()
        }),
        "cannot set up TLS: --tls-cert-file and --tls-private-key-file are to be given together"
    );
    write("mine.key", &other.client("x", &[]).unwrap().key);
    assert!(error(given.clone()).ends_with("the certificate and the key do not belong together"));
    assert!(
        error(Given {
            client_ca_file: Some("/nonexistent".into()),
            ..Given::default()
        })
        .starts_with("cannot read /nonexistent: ")
    );
    fs::remove_file(folder.path().join("pki/ca.key")).unwrap();
    assert!(error(Given::default()).starts_with("the key of the authority is absent: "));
}

#[test]
fn requests_are_signed_with_all_they_ask() {
    let clock = StoppedClock::at("2026-01-01T00:00:00Z");
    let authority = Authority::generate(clock.clone()).unwrap().0;
    let sign = |csr: &str, seconds: i64| {
        let pem = authority.sign_request(
            csr.as_bytes(),
            &["digital signature", "client auth"],
            seconds,
        )?;
        Facts::read(&tls::certificates(pem.as_bytes())?[0])
    };
    let jane = sign(MULTI_CSR, 3600).unwrap();
    assert_eq!(
        jane.organizations,
        ["all", "dev", "ops"],
        "every group, in the order of a set"
    );
    assert_eq!(jane.sans.len(), 5);
    assert_eq!(jane.sans[0], San::of("a.example"));
    assert!(!jane.authority);
    let now = authority.now();
    assert_eq!(
        (jane.not_before, jane.not_after),
        (now - 300, now + 3600),
        "a short life is not shortened"
    );
    let node = sign(NODE_CSR, 30 * DAY).unwrap();
    assert_eq!(
        (node.common_name.as_str(), node.not_after),
        ("system:node:n1", now + 30 * DAY - 300)
    );
    assert_eq!(
        sign(NODE_CSR, 9999 * DAY).unwrap().not_after,
        authority.facts().not_after
    );
    let tampered = MULTI_CSR.replacen("MII", "MIJ", 1);
    assert!(
        sign(&tampered, 3600)
            .unwrap_err()
            .to_string()
            .starts_with("unable to ")
    );
    assert!(
        sign("nothing", 3600)
            .unwrap_err()
            .to_string()
            .starts_with("unable to parse certificate request: ")
    );
    let error = authority
        .sign_request(NODE_CSR.as_bytes(), &["client auth", "flying"], 3600)
        .unwrap_err();
    assert_eq!(error.to_string(), "unrecognized usage values: [\"flying\"]");
    clock.advance(3651 * DAY);
    assert!(
        sign(NODE_CSR, 3600)
            .unwrap_err()
            .to_string()
            .starts_with("the signer has expired: NotAfter=2035-12-30T00:00:00Z")
    );
}

#[test]
fn a_file_has_its_mode_before_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.key");
    let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    // what a crash left behind, and what somebody put there
    let beside = folder
        .path()
        .join(format!("a.key.new-{}", std::process::id()));
    let elsewhere = folder.path().join("elsewhere");
    fs::write(&elsewhere, "untouched").unwrap();
    std::os::unix::fs::symlink(&elsewhere, &beside).unwrap();
    write_file(&path, "key", 0o600).unwrap();
    assert_eq!(
        (fs::read_to_string(&path).unwrap().as_str(), mode()),
        ("key", 0o600)
    );
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "untouched");
    assert!(!beside.exists());
}

/// A request in PEM whose subject has these attributes, each a part of its own; an attribute is the last number of its `2.5.4.` identifier.
fn request_for(subject: &[(u64, &str)]) -> String {
    let (key, _) = SigningKey::generate().unwrap();
    let info = yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_u8(0);
            writer.next().write_sequence(|writer| {
                for (kind, text) in subject {
                    writer.next().write_set(|writer| {
                        writer.next().write_sequence(|writer| {
                            writer.next().write_oid(&oid(&[2, 5, 4, *kind]));
                            writer.next().write_utf8_string(text);
                        });
                    });
                }
            });
            writer.next().write_der(key.public().spki());
            writer
                .next()
                .write_tagged_implicit(yasna::Tag::context(0), |writer| writer.write_set(|_| ()));
        });
    });
    let signature = key.sign_asn1(&info).unwrap();
    let der = yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_der(&info);
            writer.next().write_sequence(|writer| {
                writer
                    .next()
                    .write_oid(&oid(key.public().algorithm().signature_oid()))
            });
            writer
                .next()
                .write_bitvec_bytes(&signature, signature.len() * 8);
        });
    });
    pem("CERTIFICATE REQUEST", &der)
}

#[test]
fn who_is_named_twice_is_named_once_in_the_certificate() {
    use x509_parser::prelude::FromDer;
    let authority = Authority::generate(StoppedClock::at("2026-01-01T00:00:00Z"))
        .unwrap()
        .0;
    let request = request_for(&[
        (3, "kube-apiserver-kubelet-client"),
        (10, "system:nodes"),
        (42, "unheard of"),
        (3, "system:node:n1"),
        (10, "more"),
    ]);
    let read = Request::from_pem(request.as_bytes()).unwrap();
    assert_eq!(
        (read.common_name.as_str(), read.organizations.as_slice()),
        (
            "system:node:n1",
            &["system:nodes".to_owned(), "more".to_owned()][..]
        )
    );
    let signed = authority
        .sign_request(request.as_bytes(), &["client auth"], 3600)
        .unwrap();
    let der = tls::certificates(signed.as_bytes()).unwrap().remove(0);
    let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(&der).unwrap();
    let subject: Vec<String> = certificate
        .subject()
        .iter_attributes()
        .map(|value| format!("{}={}", value.attr_type(), value.as_str().unwrap()))
        .collect();
    assert_eq!(
        subject,
        [
            "2.5.4.10=more",
            "2.5.4.10=system:nodes",
            "2.5.4.3=system:node:n1"
        ]
    );
}

#[test]
fn a_certificate_that_is_no_authoritys_signs_where_it_is_told_to() {
    let clock = StoppedClock::at("2026-01-01T00:00:00Z");
    let authority = Authority::generate(clock.clone()).unwrap().0;
    let leaf = authority.client("signer", &[]).unwrap();
    assert!(matches!(
        Authority::from_pem(&leaf.certificate, &leaf.key, clock.clone()),
        Err(PkiError::NotAuthority)
    ));
    let signer = Authority::signing(&leaf.certificate, &leaf.key, clock).unwrap();
    assert!(
        signer
            .sign_request(NODE_CSR.as_bytes(), &["client auth"], 3600)
            .is_ok()
    );
}

#[test]
fn a_request_with_a_forged_signature_is_refused() {
    use rustls::pki_types::{CertificateSigningRequestDer, pem::PemObject};
    let mut der = CertificateSigningRequestDer::from_pem_slice(MULTI_CSR.as_bytes())
        .unwrap()
        .as_ref()
        .to_vec();
    let at = der.windows(4).position(|window| window == b"jane").unwrap();
    der[at] = b'J';
    let forged = super::super::keys::pem("CERTIFICATE REQUEST", &der);
    let error = Request::from_pem(forged.as_bytes())
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("unable to verify certificate request signature: "),
        "{error}"
    );
}

#[test]
fn authorities_of_all_kinds_of_keys_sign() {
    let clock = StoppedClock::at("2026-01-01T00:00:00Z");
    let rsa = super::super::keys::tests::RSA_PEM;
    // An authority needs a certificate that says so.
    let plain = include_str!("../../../../../testdata/auth/ec.crt");
    let error = Authority::from_pem(
        plain,
        include_str!("../../../../../testdata/auth/ec384.key"),
        clock.clone(),
    )
    .err()
    .unwrap();
    assert_eq!(
        error.to_string(),
        "the certificate and the key do not belong together"
    );
    let signed = self_signed(rsa, &clock);
    let authority = Authority::from_pem(&signed, rsa, clock).unwrap();
    let issued = authority.client("jane", &["dev"]).unwrap();
    assert!(openssl_verifies(
        authority.certificate_pem(),
        &issued.certificate,
        "sslclient"
    ));
}

fn self_signed(key_pem: &str, clock: &std::sync::Arc<StoppedClock>) -> String {
    use skiff_api::machinery::clock::Clock;
    let key = SigningKey::from_pem(key_pem.as_bytes()).unwrap();
    let subject = certificate::name("rsa-ca", &[]);
    let now = clock.now().as_second();
    let template = certificate::Template {
        subject: subject.clone(),
        key: key.public().spki().to_vec(),
        not_before: now,
        not_after: now + 3650 * DAY,
        usages: Usages::parse(&["cert sign"]).unwrap(),
        sans: vec![],
        authority: true,
    };
    let issuer = certificate::Issuer {
        subject: &subject,
        key_id: None,
        key: &key,
    };
    let der = certificate::sign(&template, &issuer, &ring::rand::SystemRandom::new()).unwrap();
    super::super::keys::pem("CERTIFICATE", &der)
}

/// Whether another implementation is content with our DER. True, and said, where the program lacks.
fn openssl_verifies(ca: &str, certificate: &str, purpose: &str) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let (ca, certificate) = (path("ca.crt", ca), path("leaf.crt", certificate));
    let at = "1767312000"; // 2026-01-02
    let run = Command::new("openssl")
        .args([
            "verify",
            "-x509_strict",
            "-attime",
            at,
            "-purpose",
            purpose,
            "-CAfile",
        ])
        .arg(ca)
        .arg(certificate)
        .output();
    match run {
        Ok(output) => {
            eprint!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            output.status.success()
        }
        Err(error) => {
            skiff_testing::skipped(format_args!("openssl cannot be run: {error}"));
            true
        }
    }
}

#[test]
fn others_are_content_with_the_certificates() {
    let clock = StoppedClock::at("2026-01-01T00:00:00Z");
    let authority = Authority::generate(clock).unwrap().0;
    let ca = authority.certificate_pem();
    let sans = [San::of("a.example"), San::of("::1"), San::of("10.0.0.1")];
    assert!(openssl_verifies(
        ca,
        &authority
            .serving("kube-apiserver", &[], &sans)
            .unwrap()
            .certificate,
        "sslserver"
    ));
    assert!(openssl_verifies(
        ca,
        &authority.client("jane", &["a", "b"]).unwrap().certificate,
        "sslclient"
    ));
    assert!(openssl_verifies(
        ca,
        &authority.node_client("n1").unwrap().certificate,
        "sslclient"
    ));
    assert!(openssl_verifies(
        ca,
        &authority
            .node_serving("n1", &["10.0.0.2".into()])
            .unwrap()
            .certificate,
        "sslserver"
    ));
}

/// The certificate of a client comes through a handshake, and the server's is believed for its names.
#[tokio::test]
async fn a_handshake_brings_the_client_certificate() {
    use std::sync::Arc;

    use rustls::pki_types::{PrivateKeyDer, ServerName, pem::PemObject};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let clock: SharedClock = Arc::new(skiff_api::machinery::clock::SystemClock);
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::open(folder.path(), &names(), &Given::default(), clock).unwrap();
    let server = tls::server_config(&pki.serving, Some(&pki.client_ca)).unwrap();
    let stranger = Authority::generate(Arc::new(skiff_api::machinery::clock::SystemClock))
        .unwrap()
        .0;
    for (client, expected) in [
        (Some(pki.authority.node_client("n1").unwrap()), true),
        (None, false),
        (Some(stranger.client("x", &[]).unwrap()), true),
    ] {
        let roots = tls::roots(pki.serving_ca.as_bytes()).unwrap();
        let builder = skiff_watching::tls::client(Some(roots)).unwrap();
        let mut config = match &client {
            Some(issued) => {
                let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
                builder
                    .with_client_auth_cert(
                        tls::certificates(issued.certificate.as_bytes()).unwrap(),
                        key,
                    )
                    .unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let (near, far) = tokio::io::duplex(1 << 16);
        let name = ServerName::try_from("kubernetes.default.svc").unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let acceptor = tokio_rustls::TlsAcceptor::from(server.clone());
        let (client_side, server_side) =
            tokio::join!(connector.connect(name, near), acceptor.accept(far));
        let (mut client_side, mut server_side) = (client_side.unwrap(), server_side.unwrap());
        client_side.write_all(b"x").await.unwrap();
        client_side.flush().await.unwrap();
        assert_eq!(server_side.read_u8().await.unwrap(), b'x');
        let peer = PeerCertificate::from_chain(server_side.get_ref().1.peer_certificates());
        assert_eq!(peer.is_some(), expected);
        assert_eq!(server_side.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    }
}
