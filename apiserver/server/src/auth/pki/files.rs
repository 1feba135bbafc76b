//! The files of a folder of certificates: read, or made and written.
//!
//! Invariant: a file appears whole, with its final mode, under its final name. Follows `cmd/kubeadm/app/constants` for names.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown},
    path::Path,
};

use rustls::pki_types::{CertificateDer, pem::PemObject};
use skiff_api::machinery::clock::SharedClock;

use super::{
    authority::{Authority, Issued},
    certificate::{Facts, San},
    error::PkiError,
};
use crate::auth::{
    SYSTEM_MASTERS,
    keys::{PublicKey, SigningKey},
};

/// A certificate that ends within this time (seconds) is made anew at start: a month.
const RENEW_BEFORE: i64 = 30 * 24 * 3600;

fn io_error<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> PkiError + 'a {
    move |source| PkiError::Io {
        what,
        path: path.to_owned(),
        source,
    }
}

pub fn read(path: &Path) -> Result<String, PkiError> {
    fs::read_to_string(path).map_err(io_error("read", path))
}

fn read_if_there(path: &Path) -> Result<Option<String>, PkiError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("read", path)(error)),
    }
}

pub fn make_folder(folder: &Path) -> Result<(), PkiError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(io_error("make the folder", folder))
}

/// Writes beside the name, flushes, renames. The file has its mode before it has its content, whatever lay there before; it belongs to whom the
/// one belonged that it replaces.
pub fn write(path: &Path, text: &str, mode: u32) -> Result<(), PkiError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".new-{}", std::process::id()));
    let attempt = || {
        // as a rule there is none; one that stays is an error of the next call
        let _ = fs::remove_file(&beside);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&beside)?;
        if let Ok(old) = fs::metadata(path)
            && (old.uid(), old.gid()) != (file.metadata()?.uid(), file.metadata()?.gid())
        {
            fchown(&file, Some(old.uid()), Some(old.gid()))?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    attempt()
        .inspect_err(|_| drop(fs::remove_file(&beside)))
        .map_err(io_error("write", path))
}

fn in_file<T>(path: &Path, result: Result<T, PkiError>) -> Result<T, PkiError> {
    result.map_err(|source| PkiError::File {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

/// `NAME.crt` and `NAME.key` of an authority, made under `common_name` when there is none.
pub fn ensure_authority(
    folder: &Path,
    (name, common_name): (&str, &str),
    clock: &SharedClock,
) -> Result<Authority, PkiError> {
    let (certificate_path, key_path) = (
        folder.join(format!("{name}.crt")),
        folder.join(format!("{name}.key")),
    );
    match (read_if_there(&certificate_path)?, read_if_there(&key_path)?) {
        (Some(certificate), Some(key)) => in_file(
            &certificate_path,
            Authority::from_pem(&certificate, &key, clock.clone()),
        ),
        // Without its key an authority that others trust cannot be made again.
        (Some(_), None) => Err(PkiError::NoKey(key_path)),
        // A key alone is what a crash between the two writes leaves behind: nothing was signed with it.
        (None, _) => {
            let (authority, key) = Authority::named(common_name, clock.clone())?;
            write(&key_path, &key, 0o600)?;
            write(&certificate_path, authority.certificate_pem(), 0o644)?;
            Ok(authority)
        }
    }
}

/// `NAME.crt` and `NAME.key`: as they are when they fit, else made and written.
pub fn ensure_certificate(
    folder: &Path,
    name: &str,
    authority: &Authority,
    sans: &[San],
    make: impl FnOnce(&Authority) -> Result<Issued, PkiError>,
) -> Result<Issued, PkiError> {
    let (certificate_path, key_path) = (
        folder.join(format!("{name}.crt")),
        folder.join(format!("{name}.key")),
    );
    if let (Some(certificate), Some(key)) =
        (read_if_there(&certificate_path)?, read_if_there(&key_path)?)
    {
        let present = Issued { certificate, key };
        match misfit(&present, authority, sans) {
            None => return Ok(present),
            Some(why) => tracing::info!("making {} anew: {why}", certificate_path.display()),
        }
    }
    let made = make(authority)?;
    write(&key_path, &made.key, 0o600)?;
    write(&certificate_path, &made.certificate, 0o644)?;
    Ok(made)
}

/// Why a certificate cannot stay.
fn misfit(present: &Issued, authority: &Authority, sans: &[San]) -> Option<String> {
    let Ok(facts) = check_pair(present) else {
        return Some("certificate and key do not belong together".to_owned());
    };
    let Ok(der) = CertificateDer::from_pem_slice(present.certificate.as_bytes()) else {
        return Some("it cannot be read".to_owned());
    };
    if !signed_by(&der, authority) {
        return Some("it is of another authority".to_owned());
    }
    if let Some(absent) = sans.iter().find(|san| !facts.sans.contains(san)) {
        return Some(format!("it does not name {absent:?}"));
    }
    // it goes to whatever address a node names: it must open nothing but nodes' own API
    if facts
        .organizations
        .iter()
        .any(|group| group == SYSTEM_MASTERS)
    {
        return Some(format!("it is of {SYSTEM_MASTERS}"));
    }
    // An authority about to end cannot give more time.
    let end = facts.not_after.min(authority.facts().not_after);
    let renewable = facts.not_after < authority.facts().not_after;
    (renewable && end - authority.now() < RENEW_BEFORE || facts.not_before > authority.now())
        .then(|| "its time is over".to_owned())
}

fn signed_by(der: &[u8], authority: &Authority) -> bool {
    use x509_parser::prelude::FromDer;
    let Ok((_, certificate)) = x509_parser::certificate::X509Certificate::from_der(der) else {
        return false;
    };
    let Ok((_, key)) = x509_parser::x509::SubjectPublicKeyInfo::from_der(&authority.facts().key)
    else {
        return false;
    };
    certificate.verify_signature(Some(&key)).is_ok()
}

/// The facts of a certificate whose key this is.
pub fn check_pair(pair: &Issued) -> Result<Facts, PkiError> {
    let der = CertificateDer::from_pem_slice(pair.certificate.as_bytes())
        .map_err(|_| PkiError::NoCertificate)?;
    let facts = Facts::read(&der)?;
    let key = SigningKey::from_pem(pair.key.as_bytes())?;
    if PublicKey::from_spki(&facts.key)? == *key.public() {
        Ok(facts)
    } else {
        Err(PkiError::Mismatch)
    }
}

/// `sa.key` and `sa.pub`.
pub fn ensure_service_account_key(folder: &Path) -> Result<SigningKey, PkiError> {
    let (key_path, public_path) = (folder.join("sa.key"), folder.join("sa.pub"));
    let key = match read_if_there(&key_path)? {
        Some(text) => in_file(
            &key_path,
            SigningKey::from_pem(text.as_bytes()).map_err(PkiError::from),
        )?,
        None => {
            let (key, text) = SigningKey::generate()?;
            write(&key_path, &text, 0o600)?;
            key
        }
    };
    if read_if_there(&public_path)?.is_none() {
        write(&public_path, &key.public().to_pem(), 0o644)?;
    }
    Ok(key)
}
