//! Providers and their keys: how bytes are encrypted, and what they begin with then.
//!
//! Invariant: each encryption takes a nonce of its own from the system's random numbers.
//! Follows `staging/src/k8s.io/apiserver/pkg/storage/value/{transformer.go,encrypt/{aes,secretbox,identity}}`.

use std::borrow::Cow;

use aes_gcm::{
    AesGcm,
    aead::{Aead, KeyInit, Payload, consts::U12},
    aes::{Aes128, Aes192, Aes256},
};
use cbc::cipher::{
    BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, block_padding::NoPadding, block_padding::Pkcs7,
};
use crypto_secretbox::{XSalsa20Poly1305, aead::Aead as _, aead::KeyInit as _};
use ring::rand::{SecureRandom, SystemRandom};
use skiff_storage::CipherError;

use super::ENCRYPTED;

const BLOCK: usize = 16;
const GCM_NONCE: usize = 12;
const BOX_NONCE: usize = 24;
const BOX_TAG: usize = 16;
const SHORT: &str = "the stored data was shorter than the required size";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    AesGcm,
    AesCbc,
    Secretbox,
}

impl Method {
    /// As a configuration names it.
    pub fn name(self) -> &'static str {
        match self {
            Method::AesGcm => "aesgcm",
            Method::AesCbc => "aescbc",
            Method::Secretbox => "secretbox",
        }
    }

    /// Lengths that keys may have, in bytes.
    pub fn lengths(self) -> &'static [usize] {
        match self {
            Method::AesGcm | Method::AesCbc => &[16, 24, 32],
            Method::Secretbox => &[32],
        }
    }

    fn unmatched(self) -> &'static str {
        match self {
            Method::AesGcm | Method::AesCbc => {
                "no matching key was found for the provided AES transformer"
            }
            Method::Secretbox => "no matching key was found for the provided Secretbox transformer",
        }
    }
}

/// Who encrypts and decrypts.
pub enum Provider {
    /// Plain text.
    Identity,
    /// With keys by name, the first of which encrypts.
    Keys {
        method: Method,
        /// `k8s:enc:aescbc:v1:`
        prefix: String,
        /// Names with a colon after them, and secrets.
        keys: Vec<(String, Vec<u8>)>,
    },
}

fn failed<T>(why: &str) -> Result<T, CipherError> {
    Err(CipherError(why.into()))
}

/// Bytes that nobody encrypts.
pub fn plain(kept: &[u8]) -> Result<Cow<'_, [u8]>, CipherError> {
    match kept.starts_with(ENCRYPTED) {
        true => failed("identity transformer tried to read encrypted data"),
        false => Ok(Cow::Borrowed(kept)),
    }
}

/// Opens bytes by the first provider and key that they name and that fits; and whether that is who would write them.
pub fn open<'b>(
    providers: &[Provider],
    kept: &'b [u8],
    place: impl Fn() -> String,
) -> Result<(Cow<'b, [u8]>, bool), CipherError> {
    let mut wrong = Vec::new();
    for (at, provider) in providers.iter().enumerate() {
        match provider {
            Provider::Identity => {
                if let Ok(plain) = plain(kept) {
                    return Ok((plain, at == 0));
                }
            }
            Provider::Keys {
                method,
                prefix,
                keys,
            } => {
                let Some(rest) = kept.strip_prefix(prefix.as_bytes()) else {
                    continue;
                };
                match by_name(*method, keys, rest, &place) {
                    Ok((opened, first)) => return Ok((Cow::Owned(opened), first && at == 0)),
                    Err(why) => wrong.push(why),
                }
            }
        }
    }
    reduced(wrong, "no matching prefix found")
}

fn by_name(
    method: Method,
    keys: &[(String, Vec<u8>)],
    rest: &[u8],
    place: &impl Fn() -> String,
) -> Result<(Vec<u8>, bool), CipherError> {
    let mut wrong = Vec::new();
    for (at, (name, secret)) in keys.iter().enumerate() {
        if let Some(data) = rest.strip_prefix(name.as_bytes()) {
            match decrypt(method, secret, data, place().as_bytes()) {
                Ok(opened) => return Ok((opened, at == 0)),
                Err(why) => wrong.push(why),
            }
        }
    }
    reduced(wrong, method.unmatched())
}

/// One reason by itself, several in brackets; where there is none, nothing fitted.
fn reduced<T>(wrong: Vec<CipherError>, none: &str) -> Result<T, CipherError> {
    let mut texts: Vec<String> = Vec::new();
    for why in wrong {
        if !texts.contains(&why.0) {
            texts.push(why.0);
        }
    }
    match texts.len() {
        0 => failed(none),
        1 => failed(&texts[0]),
        _ => failed(&format!("[{}]", texts.join(", "))),
    }
}

impl Provider {
    pub fn seal<'b>(
        &self,
        bytes: &'b [u8],
        place: impl Fn() -> String,
    ) -> Result<Cow<'b, [u8]>, CipherError> {
        let Provider::Keys {
            method,
            prefix,
            keys,
        } = self
        else {
            return Ok(Cow::Borrowed(bytes));
        };
        let Some((name, secret)) = keys.first() else {
            return failed(method.unmatched());
        };
        let head = [prefix.as_bytes(), name.as_bytes()].concat();
        let sealed = encrypt(*method, secret, bytes, &place)?;
        Ok(Cow::Owned([head, sealed].concat()))
    }
}

fn random<const N: usize>() -> Result<[u8; N], CipherError> {
    let mut bytes = [0; N];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(_) => failed("unable to read sufficient random bytes"),
    }
}

/// What each length of a key stands for; keys of other lengths do not come here.
macro_rules! by_length {
    ($secret:expr, $work:ident!($($args:tt)*)) => {
        match $secret.len() {
            16 => $work!(Aes128, $($args)*),
            24 => $work!(Aes192, $($args)*),
            _ => $work!(Aes256, $($args)*),
        }
    };
}

fn encrypt(
    method: Method,
    secret: &[u8],
    bytes: &[u8],
    place: &impl Fn() -> String,
) -> Result<Vec<u8>, CipherError> {
    let unusable = |_| CipherError("a key has a wrong length".into());
    let unsealed = || CipherError("the data is too long to be encrypted".into());
    match method {
        Method::AesGcm => {
            let nonce = random::<GCM_NONCE>()?;
            let place = place();
            let payload = Payload {
                msg: bytes,
                aad: place.as_bytes(),
            };
            macro_rules! seal {
                ($aes:ty,) => {
                    AesGcm::<$aes, U12>::new_from_slice(secret)
                        .map_err(unusable)?
                        .encrypt(&nonce.into(), payload)
                };
            }
            let sealed = by_length!(secret, seal!()).map_err(|_| unsealed())?;
            Ok([&nonce[..], &sealed].concat())
        }
        Method::AesCbc => {
            let start = random::<BLOCK>()?;
            macro_rules! seal {
                ($aes:ty,) => {
                    cbc::Encryptor::<$aes>::new_from_slices(secret, &start)
                        .map_err(|_| CipherError("a key has a wrong length".into()))?
                        .encrypt_padded_vec::<Pkcs7>(bytes)
                };
            }
            let sealed = by_length!(secret, seal!());
            Ok([&start[..], &sealed].concat())
        }
        Method::Secretbox => {
            let nonce = random::<BOX_NONCE>()?;
            let sealed = XSalsa20Poly1305::new_from_slice(secret)
                .map_err(|_| CipherError("a key has a wrong length".into()))?
                .encrypt(&nonce.into(), bytes)
                .map_err(|_| unsealed())?;
            Ok([&nonce[..], &sealed].concat())
        }
    }
}

fn decrypt(
    method: Method,
    secret: &[u8],
    data: &[u8],
    place: &[u8],
) -> Result<Vec<u8>, CipherError> {
    let unusable = || CipherError("a key has a wrong length".into());
    match method {
        Method::AesGcm => {
            let Some((nonce, data)) = data.split_first_chunk::<GCM_NONCE>() else {
                return failed(SHORT);
            };
            let payload = Payload {
                msg: data,
                aad: place,
            };
            macro_rules! open {
                ($aes:ty,) => {
                    AesGcm::<$aes, U12>::new_from_slice(secret)
                        .map_err(|_| unusable())?
                        .decrypt(&(*nonce).into(), payload)
                };
            }
            by_length!(secret, open!())
                .map_err(|_| CipherError("cipher: message authentication failed".into()))
        }
        Method::AesCbc => {
            let Some((start, data)) = data.split_first_chunk::<BLOCK>() else {
                return failed(SHORT);
            };
            if data.len() % BLOCK != 0 {
                return failed("the stored data is not a multiple of the block size");
            }
            macro_rules! open {
                ($aes:ty,) => {
                    cbc::Decryptor::<$aes>::new_from_slices(secret, start)
                        .map_err(|_| unusable())?
                        .decrypt_padded_vec::<NoPadding>(data)
                };
            }
            let opened = by_length!(secret, open!()).map_err(|_| {
                CipherError("the stored data is not a multiple of the block size".into())
            })?;
            unpadded(opened)
        }
        Method::Secretbox => {
            let Some((nonce, data)) = data.split_first_chunk::<BOX_NONCE>() else {
                return failed(SHORT);
            };
            if data.len() < BOX_TAG {
                return failed(SHORT);
            }
            XSalsa20Poly1305::new_from_slice(secret)
                .map_err(|_| unusable())?
                .decrypt(&(*nonce).into(), data)
                .map_err(|_| CipherError("output array was not large enough for encryption".into()))
        }
    }
}

/// Without the padding of PKCS #7.
fn unpadded(mut bytes: Vec<u8>) -> Result<Vec<u8>, CipherError> {
    let padding = bytes.last().map_or(0, |last| usize::from(*last));
    if padding == 0 || padding > bytes.len() {
        return failed("invalid PKCS7 data (empty or not padded)");
    }
    let size = bytes.len() - padding;
    if bytes[size..]
        .iter()
        .any(|byte| usize::from(*byte) != padding)
    {
        return failed("invalid padding on input");
    }
    bytes.truncate(size);
    Ok(bytes)
}
