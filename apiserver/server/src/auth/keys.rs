//! Private and public keys: of the certificate authority, of certificates, of service-account tokens.
//!
//! Invariant: a private key leaves this module as PEM only, at its making; a public key verifies with the one algorithm that fits it, so that
//! no token can choose its own. ECDSA on P-256 and P-384, and RSA; new keys are P-256, which takes a millisecond where RSA takes a second.
//! Follows `staging/src/k8s.io/client-go/util/keyutil` for what a PEM file may hold and `pkg/serviceaccount/jwt.go` for key ids.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    rsa::PublicKeyComponents,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED,
        ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_2048_8192_SHA256,
        RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey, VerificationAlgorithm,
    },
};
use rustls::pki_types::pem::{PemObject, SectionKind};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use x509_parser::prelude::FromDer;
use yasna::models::ObjectIdentifier;

#[derive(thiserror::Error, Debug)]
pub enum KeyError {
    #[error("no {0} key found in the PEM data")]
    None(&'static str),
    #[error("cannot read PEM: {0}")]
    Pem(String),
    #[error(
        "key of an unsupported kind: {0} (ECDSA on P-256 or P-384 and RSA of at least 2048 bits are supported)"
    )]
    Unsupported(String),
    #[error("the key is malformed: {0}")]
    Malformed(String),
    #[error("cannot make a signature")]
    Sign,
}

/// How a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Es256,
    Es384,
    Rs256,
}

/// ecPublicKey, prime256v1, secp384r1, rsaEncryption.
const EC: &[u64] = &[1, 2, 840, 10045, 2, 1];
const P256: &[u64] = &[1, 2, 840, 10045, 3, 1, 7];
const P384: &[u64] = &[1, 3, 132, 0, 34];
const RSA: &[u64] = &[1, 2, 840, 113_549, 1, 1, 1];

impl Algorithm {
    /// As JOSE names it.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Es256 => "ES256",
            Algorithm::Es384 => "ES384",
            Algorithm::Rs256 => "RS256",
        }
    }

    /// The identifier in a certificate that is signed so: ecdsa-with-SHA256, ecdsa-with-SHA384, sha256WithRSAEncryption.
    pub(crate) fn signature_oid(self) -> &'static [u64] {
        match self {
            Algorithm::Es256 => &[1, 2, 840, 10045, 4, 3, 2],
            Algorithm::Es384 => &[1, 2, 840, 10045, 4, 3, 3],
            Algorithm::Rs256 => &[1, 2, 840, 113_549, 1, 1, 11],
        }
    }

    fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Algorithm::Es256 => &ECDSA_P256_SHA256_FIXED,
            Algorithm::Es384 => &ECDSA_P384_SHA384_FIXED,
            Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
        }
    }
}

pub(crate) fn oid(parts: &[u64]) -> ObjectIdentifier {
    ObjectIdentifier::from_slice(parts)
}

/// A key that verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    algorithm: Algorithm,
    /// The point of a curve, or the PKCS #1 form of an RSA key.
    raw: Vec<u8>,
    /// SubjectPublicKeyInfo.
    spki: Vec<u8>,
    id: String,
}

impl PublicKey {
    fn new(algorithm: Algorithm, raw: Vec<u8>) -> PublicKey {
        let spki = yasna::construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_sequence(|writer| match algorithm {
                    Algorithm::Rs256 => {
                        writer.next().write_oid(&oid(RSA));
                        writer.next().write_null();
                    }
                    curve => {
                        writer.next().write_oid(&oid(EC));
                        writer.next().write_oid(&oid(if curve == Algorithm::Es256 {
                            P256
                        } else {
                            P384
                        }));
                    }
                });
                writer.next().write_bitvec_bytes(&raw, raw.len() * 8);
            });
        });
        let id = URL_SAFE_NO_PAD.encode(Sha256::digest(&spki));
        PublicKey {
            algorithm,
            raw,
            spki,
            id,
        }
    }

    /// From a SubjectPublicKeyInfo in DER.
    pub fn from_spki(der: &[u8]) -> Result<PublicKey, KeyError> {
        let malformed = |error: &dyn std::fmt::Display| KeyError::Malformed(error.to_string());
        let (_, spki) = x509_parser::x509::SubjectPublicKeyInfo::from_der(der)
            .map_err(|error| malformed(&error))?;
        let kind = spki.algorithm.algorithm.to_id_string();
        let curve = spki
            .algorithm
            .parameters
            .as_ref()
            .and_then(|any| any.as_oid().ok())
            .map(|oid| oid.to_id_string());
        let algorithm = match (kind.as_str(), curve.as_deref()) {
            ("1.2.840.113549.1.1.1", _) => Algorithm::Rs256,
            ("1.2.840.10045.2.1", Some("1.2.840.10045.3.1.7")) => Algorithm::Es256,
            ("1.2.840.10045.2.1", Some("1.3.132.0.34")) => Algorithm::Es384,
            (kind, curve) => {
                return Err(KeyError::Unsupported(format!(
                    "{kind} {}",
                    curve.unwrap_or_default()
                )));
            }
        };
        Ok(PublicKey::new(
            algorithm,
            spki.subject_public_key.data.to_vec(),
        ))
    }

    /// All keys of a PEM file: public keys, certificates, and private keys for their public half.
    pub fn all_from_pem(pem: &[u8]) -> Result<Vec<PublicKey>, KeyError> {
        let mut keys = Vec::new();
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
            let (kind, der) = section.map_err(|error| KeyError::Pem(error.to_string()))?;
            keys.push(match kind {
                SectionKind::PublicKey => PublicKey::from_spki(&der)?,
                SectionKind::Certificate => {
                    let (_, certificate) =
                        x509_parser::certificate::X509Certificate::from_der(&der)
                            .map_err(|error| KeyError::Malformed(error.to_string()))?;
                    PublicKey::from_spki(certificate.public_key().raw)?
                }
                SectionKind::PrivateKey
                | SectionKind::RsaPrivateKey
                | SectionKind::EcPrivateKey => SigningKey::from_der(kind, &der)?.public,
                _ => continue,
            });
        }
        if keys.is_empty() {
            Err(KeyError::None("public"))
        } else {
            Ok(keys)
        }
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// SubjectPublicKeyInfo in DER.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The `kid` of tokens: the SHA-256 of the SubjectPublicKeyInfo, base64 without padding.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The bits that key identifiers of certificates are made of.
    pub(crate) fn raw(&self) -> &[u8] {
        &self.raw
    }

    pub fn to_pem(&self) -> String {
        pem("PUBLIC KEY", &self.spki)
    }

    /// Whether `signature` (of the form that JOSE has) is this key's over `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(self.algorithm.verification(), &self.raw)
            .verify(message, signature)
            .is_ok()
    }

    /// The key as a JSON Web Key.
    pub fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (alg, kid) = (self.algorithm.name(), self.id.as_str());
        match self.algorithm {
            Algorithm::Rs256 => {
                let (n, e) = rsa_components(&self.raw).unwrap_or_default();
                json!({"use": "sig", "kty": "RSA", "kid": kid, "alg": alg, "n": text(&n), "e": text(&e)})
            }
            curve => {
                let crv = if curve == Algorithm::Es256 {
                    "P-256"
                } else {
                    "P-384"
                };
                let (x, y) = self
                    .raw
                    .get(1..)
                    .unwrap_or_default()
                    .split_at(self.raw.len() / 2);
                json!({"use": "sig", "kty": "EC", "kid": kid, "crv": crv, "alg": alg, "x": text(x), "y": text(y)})
            }
        }
    }
}

/// Modulus and exponent, big-endian, no leading zeros.
fn rsa_components(pkcs1: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let read = |reader: yasna::BERReader| {
        reader.read_sequence(|reader| {
            let n = reader.next().read_bigint_bytes()?.0;
            let e = reader.next().read_bigint_bytes()?.0;
            Ok((n, e))
        })
    };
    let (n, e) = yasna::parse_der(pkcs1, read).ok()?;
    let bare = |bytes: Vec<u8>| {
        bytes
            .iter()
            .copied()
            .skip_while(|byte| *byte == 0)
            .collect::<Vec<u8>>()
    };
    Some((bare(n), bare(e)))
}

enum Pair {
    Ec(Box<EcdsaKeyPair>),
    Rsa(Box<RsaKeyPair>),
}

/// A key that signs.
pub struct SigningKey {
    pair: Pair,
    public: PublicKey,
    random: SystemRandom,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.public.id)
    }
}

impl SigningKey {
    /// A new key on P-256, and its PEM.
    pub fn generate() -> Result<(SigningKey, String), KeyError> {
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .map_err(|_| KeyError::Sign)?;
        let key = SigningKey::from_der(SectionKind::PrivateKey, document.as_ref())?;
        Ok((key, pem("PRIVATE KEY", document.as_ref())))
    }

    /// The first private key of a PEM file, in any of the three forms (PKCS #8, PKCS #1, SEC 1).
    pub fn from_pem(pem: &[u8]) -> Result<SigningKey, KeyError> {
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
            let (kind, der) = section.map_err(|error| KeyError::Pem(error.to_string()))?;
            if matches!(
                kind,
                SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey
            ) {
                return SigningKey::from_der(kind, &der);
            }
        }
        Err(KeyError::None("private"))
    }

    fn from_der(kind: SectionKind, der: &[u8]) -> Result<SigningKey, KeyError> {
        let random = SystemRandom::new();
        let ec = |algorithm| EcdsaKeyPair::from_pkcs8(algorithm, der, &random);
        let (pair, algorithm) = match kind {
            SectionKind::EcPrivateKey => sec1(der, &random)?,
            SectionKind::RsaPrivateKey => (
                Pair::Rsa(Box::new(RsaKeyPair::from_der(der).map_err(rejected)?)),
                Algorithm::Rs256,
            ),
            _ => {
                if let Ok(pair) = ec(&ECDSA_P256_SHA256_FIXED_SIGNING) {
                    (Pair::Ec(Box::new(pair)), Algorithm::Es256)
                } else if let Ok(pair) = ec(&ECDSA_P384_SHA384_FIXED_SIGNING) {
                    (Pair::Ec(Box::new(pair)), Algorithm::Es384)
                } else {
                    (
                        Pair::Rsa(Box::new(RsaKeyPair::from_pkcs8(der).map_err(rejected)?)),
                        Algorithm::Rs256,
                    )
                }
            }
        };
        let raw = match &pair {
            Pair::Ec(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let components: PublicKeyComponents<Vec<u8>> = pair.public().into();
                rsa_pkcs1(&components)
            }
        };
        Ok(SigningKey {
            pair,
            public: PublicKey::new(algorithm, raw),
            random,
        })
    }

    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// A signature of the form that JOSE has (for ECDSA both numbers at full length).
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        match &self.pair {
            Pair::Ec(pair) => Ok(pair
                .sign(&self.random, message)
                .map_err(|_| KeyError::Sign)?
                .as_ref()
                .to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &self.random, message, &mut signature)
                    .map_err(|_| KeyError::Sign)?;
                Ok(signature)
            }
        }
    }

    /// A signature of the form that certificates have (for ECDSA a sequence of two integers).
    pub(crate) fn sign_asn1(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signature = self.sign(message)?;
        if matches!(self.pair, Pair::Rsa(_)) {
            return Ok(signature);
        }
        let (r, s) = signature.split_at(signature.len() / 2);
        Ok(yasna::construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_bigint_bytes(r, true);
                writer.next().write_bigint_bytes(s, true);
            });
        }))
    }
}

fn rejected(error: ring::error::KeyRejected) -> KeyError {
    KeyError::Unsupported(error.to_string())
}

fn rsa_pkcs1(components: &PublicKeyComponents<Vec<u8>>) -> Vec<u8> {
    yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_bigint_bytes(&components.n, true);
            writer.next().write_bigint_bytes(&components.e, true);
        });
    })
}

/// ECPrivateKey of RFC 5915; its optional public key is needed.
fn sec1(der: &[u8], random: &SystemRandom) -> Result<(Pair, Algorithm), KeyError> {
    let read = |reader: yasna::BERReader| {
        reader.read_sequence(|reader| {
            reader.next().read_u8()?;
            let private = reader.next().read_bytes()?;
            reader.read_optional(|reader| {
                reader.read_tagged(yasna::Tag::context(0), |reader| reader.read_oid())
            })?;
            let public = reader
                .next()
                .read_tagged(yasna::Tag::context(1), |reader| reader.read_bitvec_bytes())?;
            Ok((private, public.0))
        })
    };
    let (private, public) = yasna::parse_der(der, read)
        .map_err(|_| KeyError::Malformed("EC key without its public half".to_owned()))?;
    let (algorithm, signing) = match private.len() {
        32 => (Algorithm::Es256, &ECDSA_P256_SHA256_FIXED_SIGNING),
        48 => (Algorithm::Es384, &ECDSA_P384_SHA384_FIXED_SIGNING),
        length => {
            return Err(KeyError::Unsupported(format!(
                "an EC key of {} bits",
                length * 8
            )));
        }
    };
    let pair = EcdsaKeyPair::from_private_key_and_public_key(signing, &private, &public, random)
        .map_err(rejected)?;
    Ok((Pair::Ec(Box::new(pair)), algorithm))
}

/// DER in PEM's dress.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = (0..text.len())
        .step_by(64)
        .map(|at| &text[at..text.len().min(at + 64)])
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub const RSA_PEM: &str = include_str!("../../../../testdata/auth/rsa.key");
    const RSA_PKCS8_PEM: &str = include_str!("../../../../testdata/auth/rsa-pkcs8.key");
    const EC_PEM: &str = include_str!("../../../../testdata/auth/ec.key");
    const EC384_PEM: &str = include_str!("../../../../testdata/auth/ec384.key");
    const CERT_PEM: &str = include_str!("../../../../testdata/auth/ec.crt");

    #[test]
    fn keys_of_all_forms_sign_and_verify() {
        let (generated, pem) = SigningKey::generate().unwrap();
        let table = [
            (generated.public().to_pem(), pem.as_str(), Algorithm::Es256),
            (
                include_str!("../../../../testdata/auth/rsa.pub").to_owned(),
                RSA_PEM,
                Algorithm::Rs256,
            ),
            (
                include_str!("../../../../testdata/auth/rsa.pub").to_owned(),
                RSA_PKCS8_PEM,
                Algorithm::Rs256,
            ),
            (
                include_str!("../../../../testdata/auth/ec.pub").to_owned(),
                EC_PEM,
                Algorithm::Es256,
            ),
            (
                include_str!("../../../../testdata/auth/ec384.pub").to_owned(),
                EC384_PEM,
                Algorithm::Es384,
            ),
        ];
        for (public_pem, private_pem, algorithm) in table {
            let key = SigningKey::from_pem(private_pem.as_bytes()).unwrap();
            let public = PublicKey::all_from_pem(public_pem.as_bytes())
                .unwrap()
                .remove(0);
            assert_eq!(&public, key.public(), "{algorithm:?}");
            assert_eq!(public.algorithm(), algorithm);
            assert_eq!(public.to_pem(), public_pem, "openssl writes it so");
            let signature = key.sign(b"message").unwrap();
            assert!(public.verifies(b"message", &signature));
            assert!(!public.verifies(b"massage", &signature));
            assert!(!public.verifies(b"message", &signature[1..]));
            assert_eq!(
                PublicKey::all_from_pem(private_pem.as_bytes()).unwrap(),
                [public]
            );
        }
    }

    #[test]
    fn a_file_may_hold_several_keys() {
        let text = format!(
            "{CERT_PEM}\n# a remark\n{}{}",
            include_str!("../../../../testdata/auth/rsa.pub"),
            EC384_PEM
        );
        let keys = PublicKey::all_from_pem(text.as_bytes()).unwrap();
        assert_eq!(
            keys.iter()
                .map(|key| key.algorithm().name())
                .collect::<Vec<_>>(),
            ["ES256", "RS256", "ES384"]
        );
        assert_eq!(
            PublicKey::all_from_pem(b"nothing").unwrap_err().to_string(),
            "no public key found in the PEM data"
        );
        assert_eq!(
            SigningKey::from_pem(CERT_PEM.as_bytes())
                .unwrap_err()
                .to_string(),
            "no private key found in the PEM data"
        );
        let p521 = include_str!("../../../../testdata/auth/ec521.pub");
        assert!(
            PublicKey::all_from_pem(p521.as_bytes())
                .unwrap_err()
                .to_string()
                .starts_with("key of an unsupported kind: 1.2.840.10045.2.1 1.3.132.0.35")
        );
    }

    #[test]
    fn jwks_bear_what_the_kind_needs() {
        let rsa = PublicKey::all_from_pem(include_bytes!("../../../../testdata/auth/rsa.pub"))
            .unwrap()[0]
            .jwk();
        assert_eq!(
            (&rsa["kty"], &rsa["alg"], &rsa["e"]),
            (&json!("RSA"), &json!("RS256"), &json!("AQAB"))
        );
        assert_eq!(rsa["n"].as_str().unwrap().len(), 342);
        let ec = PublicKey::all_from_pem(include_bytes!("../../../../testdata/auth/ec.pub"))
            .unwrap()[0]
            .jwk();
        assert_eq!(
            (&ec["kty"], &ec["crv"], &ec["use"]),
            (&json!("EC"), &json!("P-256"), &json!("sig"))
        );
        assert_eq!(
            (
                ec["x"].as_str().unwrap().len(),
                ec["y"].as_str().unwrap().len()
            ),
            (43, 43)
        );
    }
}
