//! Tokens as JSON Web Signatures, and the keys that verify them.
//!
//! Invariant: an algorithm is taken from the token only where the key's own kind has it, so that no token chooses how it is verified; unsigned tokens and
//! shared secrets are not known here. Follows `vendor/github.com/coreos/go-oidc/verify.go` and RFC 7515 to 7518.

use std::{fmt, str::FromStr};

use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};
use serde::Deserialize;
use serde_json::Value;
use skiff_api::machinery::quote::go_quote;
use skiff_api::machinery::read::Read;

use crate::auth::jwt::{Header, decoded, parts};

/// How a token is signed. Upstream knows ES512, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Es256,
    Es384,
    Ps256,
    Ps384,
    Ps512,
    Rs256,
    Rs384,
    Rs512,
}

impl Algorithm {
    /// In the order of their names.
    pub const ALL: [Algorithm; 8] = [
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::Ps256,
        Algorithm::Ps384,
        Algorithm::Ps512,
        Algorithm::Rs256,
        Algorithm::Rs384,
        Algorithm::Rs512,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Es256 => "ES256",
            Algorithm::Es384 => "ES384",
            Algorithm::Ps256 => "PS256",
            Algorithm::Ps384 => "PS384",
            Algorithm::Ps512 => "PS512",
            Algorithm::Rs256 => "RS256",
            Algorithm::Rs384 => "RS384",
            Algorithm::Rs512 => "RS512",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(thiserror::Error, Debug, PartialEq)]
pub enum AlgorithmError {
    #[error("oidc: unsupported signing alg: {}", go_quote(.0))]
    Unknown(String),
    #[error("oidc: the signing alg \"ES512\" is not supported here")]
    Es512,
}

impl FromStr for Algorithm {
    type Err = AlgorithmError;

    fn from_str(name: &str) -> Result<Algorithm, AlgorithmError> {
        let known = Algorithm::ALL.into_iter().find(|one| one.name() == name);
        known.ok_or_else(|| match name {
            "ES512" => AlgorithmError::Es512,
            _ => AlgorithmError::Unknown(name.into()),
        })
    }
}

/// What is wrong with a token.
#[derive(thiserror::Error, Debug, PartialEq)]
pub enum TokenError {
    #[error("oidc: malformed jwt")]
    Malformed,
    #[error(
        "oidc: id token signed with unsupported algorithm, expected {} got {}",
        quoted(.wanted), go_quote(.got)
    )]
    Algorithm { wanted: Vec<Algorithm>, got: String },
    #[error("oidc: failed to unmarshal claims: {0}")]
    Claims(String),
    #[error("failed to verify signature: {0}")]
    Signature(String),
    #[error("oidc: expected audience {wanted} got {got}")]
    Audience { wanted: String, got: String },
    #[error("oidc: token is expired (Token Expiry: {0})")]
    Expired(String),
    #[error("oidc: current time {now} before the nbf (not before) time: {nbf}")]
    NotYet { now: String, nbf: String },
}

fn quoted(algorithms: &[Algorithm]) -> String {
    let names = algorithms.iter().map(|one| go_quote(one.name()));
    format!("[{}]", names.collect::<Vec<_>>().join(" "))
}

/// A token whose signature is yet to be verified.
#[derive(Debug)]
pub struct Unverified<'t> {
    pub algorithm: Algorithm,
    /// Empty where the token names no key.
    pub key_id: String,
    message: &'t [u8],
    signature: Vec<u8>,
    payload: Vec<u8>,
}

impl Unverified<'_> {
    /// The claims of the token, once a key has verified it.
    pub fn verified_by(&self, keys: &[Key]) -> Option<&[u8]> {
        let mut keys = keys
            .iter()
            .filter(|key| self.key_id.is_empty() || key.id == self.key_id);
        keys.any(|key| key.verifies(self.algorithm, self.message, &self.signature))
            .then_some(&self.payload)
    }
}

/// Who a token says that it is from. It is not to be believed yet.
pub fn untrusted_issuer(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Claims {
        #[serde(default)]
        iss: String,
    }
    let [_, payload, _] = parts(token)?;
    let claims: Claims = serde_json::from_slice(&decoded(payload)?).ok()?;
    Some(match claims.iss.as_str() {
        "accounts.google.com" => "https://accounts.google.com".into(),
        _ => claims.iss,
    })
}

/// Reads a token that is signed in one of these ways.
///
/// # Errors
/// It is none.
pub fn parse<'t>(token: &'t str, algorithms: &[Algorithm]) -> Result<Unverified<'t>, TokenError> {
    let [header, payload, signature] = parts(token).ok_or(TokenError::Malformed)?;
    let message = &token.as_bytes()[..header.len() + 1 + payload.len()];
    let all = (decoded(header), decoded(payload), decoded(signature));
    let (Some(header), Some(payload), Some(signature)) = all else {
        return Err(TokenError::Malformed);
    };
    let header: Header = serde_json::from_slice(&header).map_err(|_| TokenError::Malformed)?;
    let known = algorithms.iter().find(|one| one.name() == header.alg);
    let Some(&algorithm) = known else {
        return Err(TokenError::Algorithm {
            wanted: algorithms.to_vec(),
            got: header.alg,
        });
    };
    if !header.crit.is_null() {
        // what must be understood is not
        return Err(TokenError::Signature(
            "failed to verify id token signature".into(),
        ));
    }
    Ok(Unverified {
        algorithm,
        key_id: header.kid,
        message,
        signature,
        payload,
    })
}

/// A key of a set of JSON Web Keys.
#[derive(Debug, PartialEq)]
pub struct Key {
    id: String,
    material: Material,
}

#[derive(Debug, PartialEq)]
enum Material {
    /// Modulus and exponent.
    Rsa(Vec<u8>, Vec<u8>),
    /// A point in its uncompressed form.
    P256(Vec<u8>),
    P384(Vec<u8>),
}

impl Key {
    /// `None`: it is of a kind that nothing is signed with here.
    fn read(key: &Value) -> Option<Key> {
        let number = |name: &str| decoded(key.text(name)).filter(|bytes| !bytes.is_empty());
        let point = |length: usize| {
            let (x, y) = (number("x")?, number("y")?);
            (x.len() == length && y.len() == length).then(|| [vec![4], x, y].concat())
        };
        let material = match (key.text("kty"), key.text("crv")) {
            ("RSA", _) => {
                let bare = |bytes: Vec<u8>| bytes.into_iter().skip_while(|byte| *byte == 0);
                Material::Rsa(bare(number("n")?).collect(), bare(number("e")?).collect())
            }
            ("EC", "P-256") => Material::P256(point(32)?),
            ("EC", "P-384") => Material::P384(point(48)?),
            _ => return None,
        };
        Some(Key {
            id: key.text("kid").into(),
            material,
        })
    }

    fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let ec = |kind: &'static dyn VerificationAlgorithm, point: &[u8]| {
            let key = UnparsedPublicKey::new(kind, point);
            key.verify(message, signature).is_ok()
        };
        let rsa = |kind: &RsaParameters, n: &[u8], e: &[u8]| {
            let key = RsaPublicKeyComponents { n, e };
            key.verify(kind, message, signature).is_ok()
        };
        match (&self.material, algorithm) {
            (Material::P256(point), Algorithm::Es256) => ec(&ECDSA_P256_SHA256_FIXED, point),
            (Material::P384(point), Algorithm::Es384) => ec(&ECDSA_P384_SHA384_FIXED, point),
            (Material::Rsa(n, e), algorithm) => match algorithm {
                Algorithm::Rs256 => rsa(&RSA_PKCS1_2048_8192_SHA256, n, e),
                Algorithm::Rs384 => rsa(&RSA_PKCS1_2048_8192_SHA384, n, e),
                Algorithm::Rs512 => rsa(&RSA_PKCS1_2048_8192_SHA512, n, e),
                Algorithm::Ps256 => rsa(&RSA_PSS_2048_8192_SHA256, n, e),
                Algorithm::Ps384 => rsa(&RSA_PSS_2048_8192_SHA384, n, e),
                Algorithm::Ps512 => rsa(&RSA_PSS_2048_8192_SHA512, n, e),
                Algorithm::Es256 | Algorithm::Es384 => false,
            },
            _ => false,
        }
    }
}

/// The keys of a set. Those of other kinds are passed over: an issuer may have them for others.
///
/// # Errors
/// It is no set of keys.
pub fn keys(document: &[u8]) -> serde_json::Result<Vec<Key>> {
    #[derive(Deserialize)]
    struct Set {
        #[serde(default)]
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(document)?;
    Ok(set.keys.iter().filter_map(Key::read).collect())
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use ring::{
        rand::SystemRandom,
        signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
    };
    use serde_json::json;

    use super::*;

    fn part(value: &Value) -> String {
        URL_SAFE_NO_PAD.encode(value.to_string())
    }

    #[test]
    fn tokens_and_keys() {
        let random = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &random).unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, made.as_ref(), &random)
                .unwrap();
        let point = pair.public_key().as_ref();
        let coordinate = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
        let set = json!({"keys": [
            {"kty": "OKP", "crv": "Ed25519", "kid": "b", "x": "AA"},
            {"kty": "EC", "crv": "P-384", "kid": "a", "x": coordinate(1..49), "y": coordinate(49..97)},
            {"kty": "oct", "k": "c2VjcmV0", "kid": "a"},
        ]});
        let keys = keys(set.to_string().as_bytes()).unwrap();
        assert_eq!(keys.len(), 1);
        let signed = |header: Value| {
            let message = format!("{}.{}", part(&header), part(&json!({"iss": "https://a"})));
            let signature = pair.sign(&random, message.as_bytes()).unwrap();
            format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
        };
        let verified = |token: &str| {
            parse(token, &Algorithm::ALL).map(|token| token.verified_by(&keys).is_some())
        };
        let good = signed(json!({"alg": "ES384", "kid": "a"}));
        assert_eq!(untrusted_issuer(&good).as_deref(), Some("https://a"));
        assert_eq!(verified(&good), Ok(true));
        assert_eq!(verified(&signed(json!({"alg": "ES384"}))), Ok(true));
        assert_eq!(
            verified(&signed(json!({"alg": "ES384", "kid": "b"}))),
            Ok(false)
        );
        // a key of a curve verifies in its own way alone
        assert_eq!(
            verified(&signed(json!({"alg": "ES256", "kid": "a"}))),
            Ok(false)
        );
        assert_eq!(
            verified(&signed(json!({"alg": "RS384", "kid": "a"}))),
            Ok(false)
        );
        let critical = signed(json!({"alg": "ES384", "crit": ["x"]}));
        assert!(matches!(verified(&critical), Err(TokenError::Signature(_))));
        for alg in ["none", "HS256", "ES512", ""] {
            let said = verified(&signed(json!({ "alg": alg })))
                .unwrap_err()
                .to_string();
            let wanted = r#"["ES256" "ES384" "PS256" "PS384" "PS512" "RS256" "RS384" "RS512"]"#;
            assert_eq!(
                said,
                format!(
                    "oidc: id token signed with unsupported algorithm, expected {wanted} got {alg:?}"
                )
            );
        }
        for bad in ["", "a.b", "a.b.c", "a.b.c.d", "{}"] {
            assert_eq!(verified(bad), Err(TokenError::Malformed), "{bad}");
        }
        let mut forged = good.into_bytes();
        *forged.last_mut().unwrap() ^= 1;
        let forged = String::from_utf8(forged).unwrap();
        assert!(!matches!(verified(&forged), Ok(true)));
    }
}
