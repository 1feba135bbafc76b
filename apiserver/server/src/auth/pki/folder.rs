//! The folder of certificates that a server needs: read, and what it lacks is made.
//!
//! Follows `cmd/kubeadm/app/phases/certs`.

use std::{
    net::IpAddr,
    panic::resume_unwind,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, ScopedJoinHandle},
};

use skiff_api::machinery::clock::SharedClock;

use super::{
    authority::{Authority, Issued},
    certificate::San,
    error::PkiError,
    files,
};
use crate::auth::{
    KUBELET_CLIENT, SYSTEM_MASTERS,
    keys::{PublicKey, SigningKey},
};

const FRONT_PROXY_CA: &str = "front-proxy-ca";
/// The name of the server towards API servers behind it.
pub const FRONT_PROXY_CLIENT: &str = "front-proxy-client";

/// Which names the server is reached by.
#[derive(Clone, Debug)]
pub struct ServingNames {
    /// `cluster.local`.
    pub cluster_domain: String,
    /// The first address of the service network.
    pub service_ips: Vec<IpAddr>,
    pub listen_ips: Vec<IpAddr>,
    pub host_name: String,
    /// Given by the user besides.
    pub extra: Vec<String>,
}

impl ServingNames {
    fn sans(&self) -> Vec<San> {
        let dns = |name: &str| San::Dns(name.to_owned());
        let mut sans = vec![
            dns("kubernetes"),
            dns("kubernetes.default"),
            dns("kubernetes.default.svc"),
        ];
        sans.push(San::Dns(format!(
            "kubernetes.default.svc.{}",
            self.cluster_domain
        )));
        sans.push(dns("localhost"));
        if !self.host_name.is_empty() {
            sans.push(dns(&self.host_name));
        }
        let ips = self
            .service_ips
            .iter()
            .chain(&self.listen_ips)
            .filter(|ip| !ip.is_unspecified());
        sans.extend(ips.map(|ip| San::Ip(*ip)));
        sans.extend([San::of("127.0.0.1"), San::of("::1")]);
        sans.extend(self.extra.iter().map(|text| San::of(text)));
        let mut seen = std::collections::HashSet::new();
        sans.retain(|san| seen.insert(san.clone()));
        sans
    }
}

/// The files that a user brings along (`--client-ca-file`, `--tls-cert-file` with `--tls-private-key-file`).
#[derive(Clone, Debug, Default)]
pub struct Given {
    pub client_ca_file: Option<PathBuf>,
    pub tls_cert_file: Option<PathBuf>,
    pub tls_private_key_file: Option<PathBuf>,
}

/// What a server needs of its folder of certificates.
pub struct Pki {
    /// Signs node and user certificates; its certificate is what clients trust, unless `--tls-cert-file` is of another authority.
    pub authority: Arc<Authority>,
    /// Certificate chain and key, in PEM.
    pub serving: Issued,
    /// Whose client certificates are believed: PEM, one or several.
    pub client_ca: Vec<u8>,
    /// What clients verify the server by: PEM.
    pub serving_ca: String,
    /// Signs service-account tokens.
    pub service_account_key: SigningKey,
    /// How the server shows itself to kubelets.
    pub kubelet_client: Issued,
    /// Whose certificates speak for others: PEM. It signs nothing else.
    pub front_proxy_ca: String,
    /// How the server shows itself to API servers behind it.
    pub front_proxy_client: Issued,
}

impl Pki {
    /// Reads the folder, and makes what it lacks. Some milliseconds when everything has to be made: every file waits for the disk, so what does
    /// not need one another is made at once.
    pub fn open(
        folder: &Path,
        names: &ServingNames,
        given: &Given,
        clock: SharedClock,
    ) -> Result<Pki, PkiError> {
        files::make_folder(folder)?;
        thread::scope(|scope| {
            let front_proxy = scope.spawn(|| front_proxy(folder, &clock));
            let service_account_key = scope.spawn(|| files::ensure_service_account_key(folder));
            let names_of_files = ("ca", "kubernetes");
            let authority = Arc::new(files::ensure_authority(folder, names_of_files, &clock)?);
            let signer = authority.clone();
            let kubelet_client = scope.spawn(move || {
                let make = |authority: &Authority| authority.client(KUBELET_CLIENT, &[]);
                files::ensure_certificate(folder, "apiserver-kubelet-client", &signer, &[], make)
            });
            let (serving, serving_ca) = serving(folder, names, given, &authority)?;
            let client_ca = match &given.client_ca_file {
                Some(path) => files::read(path)?.into_bytes(),
                None => authority.certificate_pem().as_bytes().to_vec(),
            };
            let (front_proxy_ca, front_proxy_client) = made(front_proxy)?;
            Ok(Pki {
                authority,
                serving,
                client_ca,
                serving_ca,
                service_account_key: made(service_account_key)?,
                kubelet_client: made(kubelet_client)?,
                front_proxy_ca,
                front_proxy_client,
            })
        })
    }

    /// A client certificate for the person who runs the cluster: `kubernetes-admin`, of `system:masters`.
    pub fn admin(&self) -> Result<Issued, PkiError> {
        self.authority.client("kubernetes-admin", &[SYSTEM_MASTERS])
    }
}

/// What a thread made.
fn made<T>(thread: ScopedJoinHandle<'_, Result<T, PkiError>>) -> Result<T, PkiError> {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// The certificate of the authority of front proxies, and how the server shows itself as one.
fn front_proxy(folder: &Path, clock: &SharedClock) -> Result<(String, Issued), PkiError> {
    let authority = files::ensure_authority(folder, (FRONT_PROXY_CA, FRONT_PROXY_CA), clock)?;
    let make = |authority: &Authority| authority.client(FRONT_PROXY_CLIENT, &[]);
    let client = files::ensure_certificate(folder, FRONT_PROXY_CLIENT, &authority, &[], make)?;
    Ok((authority.certificate_pem().to_owned(), client))
}

/// How the server shows itself to clients, and what they verify that by.
fn serving(
    folder: &Path,
    names: &ServingNames,
    given: &Given,
    authority: &Authority,
) -> Result<(Issued, String), PkiError> {
    match (&given.tls_cert_file, &given.tls_private_key_file) {
        (Some(certificate), Some(key)) => {
            let serving = Issued {
                certificate: files::read(certificate)?,
                key: files::read(key)?,
            };
            files::check_pair(&serving).map_err(|source| PkiError::File {
                path: certificate.clone(),
                source: Box::new(source),
            })?;
            let trusted = serving.certificate.clone();
            Ok((serving, trusted))
        }
        (None, None) => {
            let sans = names.sans();
            let make = |authority: &Authority| authority.serving("kube-apiserver", &[], &sans);
            let serving = files::ensure_certificate(folder, "apiserver", authority, &sans, make)?;
            Ok((serving, authority.certificate_pem().to_owned()))
        }
        _ => Err(PkiError::Tls(
            "--tls-cert-file and --tls-private-key-file are to be given together".to_owned(),
        )),
    }
}

/// Reads public keys of `--service-account-key-file`s.
pub fn read_public_keys(paths: &[impl AsRef<Path>]) -> Result<Vec<PublicKey>, PkiError> {
    let mut keys = Vec::new();
    for path in paths.iter().map(AsRef::as_ref) {
        let text = files::read(path)?;
        let read = PublicKey::all_from_pem(text.as_bytes());
        keys.extend(read.map_err(|error| PkiError::File {
            path: path.to_owned(),
            source: Box::new(error.into()),
        })?);
    }
    Ok(keys)
}

/// Reads the private key of `--service-account-signing-key-file`.
pub fn read_signing_key(path: &Path) -> Result<SigningKey, PkiError> {
    let read = SigningKey::from_pem(files::read(path)?.as_bytes());
    read.map_err(|error| PkiError::File {
        path: path.to_owned(),
        source: Box::new(error.into()),
    })
}
