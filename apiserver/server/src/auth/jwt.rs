//! The parts of signed tokens (JSON Web Tokens), whoever signed them. RFC 7515.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::Value;

/// How a token says that it is signed.
#[derive(Deserialize)]
pub struct Header {
    #[serde(default)]
    pub alg: String,
    #[serde(default)]
    pub kid: String,
    /// What must be understood; nobody here does.
    #[serde(default)]
    pub crit: Value,
}

/// Header, payload and signature as they are written.
pub fn parts(token: &str) -> Option<[&str; 3]> {
    let mut parts = token.split('.');
    let found = [parts.next()?, parts.next()?, parts.next()?];
    parts.next().is_none().then_some(found)
}

/// The bytes of a part.
pub fn decoded(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}
