//! What a request in PEM holds: a structure that can be read, a key that there is, and the signature of whoever has it.
//!
//! Invariant: nothing that upstream takes is refused: keys and algorithms that nothing here can verify are left to whoever signs.
//! Follows `ParseCertificateRequest` and `CheckSignature` of Go's `crypto/x509`.

use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};

use crate::machinery::goasn1::{Asn1Error, Field, Reader, bits, check_identifier, check_integer};

const INTEGER: Field = Field::primitive(2, "int");
const BITS: Field = Field::primitive(3, "BitString");
const IDENTIFIER: Field = Field::primitive(6, "ObjectIdentifier");
const ALGORITHM: Field = Field::sequence("AlgorithmIdentifier");

/// An algorithm and what it goes with.
struct Algorithm<'b> {
    identifier: &'b [u8],
    parameters: Option<&'b [u8]>,
}

/// What is looked at of a request.
struct Outline<'b> {
    signed: &'b [u8],
    subject: &'b [u8],
    key: (Algorithm<'b>, &'b [u8]),
    signature: (Algorithm<'b>, &'b [u8]),
}

/// What is wrong with a request.
pub fn fault(der: &[u8]) -> Option<String> {
    let outline = match outline(der) {
        Ok(outline) => outline,
        Err(error) => return Some(error.to_string()),
    };
    key_fault(&outline.key.0, outline.key.1)
        .or_else(|| subject_fault(outline.subject))
        .or_else(|| signature_fault(&outline))
}

fn algorithm<'b>(reader: &mut Reader<'b>) -> Result<Algorithm<'b>, Asn1Error> {
    let mut within = Reader::new(reader.field(&ALGORITHM)?.content);
    let identifier = within.field(&IDENTIFIER)?.content;
    check_identifier(identifier)?;
    let parameters = match within.is_done() {
        true => None,
        false => Some(within.any()?.whole),
    };
    Ok(Algorithm {
        identifier,
        parameters,
    })
}

fn outline(der: &[u8]) -> Result<Outline<'_>, Asn1Error> {
    let mut all = Reader::new(der);
    let request = all.field(&Field::sequence("certificateRequest"))?;
    let mut request = Reader::new(request.content);
    let signed = request.field(&Field::sequence("tbsCertificateRequest"))?;
    let mut asked = Reader::new(signed.content);
    check_integer(asked.field(&INTEGER)?.content)?;
    let subject = asked.any()?.whole;
    let mut key = Reader::new(asked.field(&Field::sequence("publicKeyInfo"))?.content);
    let key = (algorithm(&mut key)?, bits(key.field(&BITS)?.content)?);
    // each of the attributes can be read
    let mut attributes = Reader::new(asked.any()?.content);
    while !attributes.is_done() {
        attributes.any()?;
    }
    let by = algorithm(&mut request)?;
    let signature = bits(request.field(&BITS)?.content)?;
    match all.is_done() {
        true => Ok(Outline {
            signed: signed.whole,
            subject,
            key,
            signature: (by, signature),
        }),
        false => Err(Asn1Error::Syntax("trailing data")),
    }
}

const RSA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
const EC: &[u8] = b"\x2a\x86\x48\xce\x3d\x02\x01";
const ED25519: &[u8] = b"\x2b\x65\x70";
const NULL: &[u8] = b"\x05\0";
const P256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const P384: &[u8] = b"\x06\x05\x2b\x81\x04\x00\x22";
const CURVES: [&[u8]; 4] = [
    b"\x06\x05\x2b\x81\x04\x00\x21",
    P256,
    P384,
    b"\x06\x05\x2b\x81\x04\x00\x23",
];

/// What is wrong with a key of a kind that Go reads.
fn key_fault(of: &Algorithm<'_>, key: &[u8]) -> Option<String> {
    match of.identifier {
        RSA if of.parameters != Some(NULL) => Some("x509: RSA key missing NULL parameters".into()),
        EC if of.parameters.is_none_or(|curve| curve.first() != Some(&6)) => {
            Some("x509: invalid ECDSA parameters".into())
        }
        EC if of.parameters.is_none_or(|curve| !CURVES.contains(&curve)) => {
            Some("x509: unsupported elliptic curve".into())
        }
        ED25519 if of.parameters.is_some() => {
            Some("x509: Ed25519 key encoded with illegal parameters".into())
        }
        ED25519 if key.len() != 32 => Some("x509: wrong Ed25519 public key size".into()),
        _ => None,
    }
}

fn subject_fault(subject: &[u8]) -> Option<String> {
    let read = || -> Result<bool, Asn1Error> {
        let mut all = Reader::new(subject);
        let mut names = Reader::new(all.field(&Field::sequence("RDNSequence"))?.content);
        while !names.is_done() {
            names.any()?;
        }
        Ok(all.is_done())
    };
    match read() {
        Ok(true) => None,
        Ok(false) => Some("x509: trailing data after X.509 Subject".into()),
        Err(error) => Some(error.to_string()),
    }
}

/// How an algorithm is verified, and what is said when it fails.
enum Verified {
    By(&'static dyn VerificationAlgorithm, &'static str),
    /// Nothing here can tell.
    Left,
    Never(&'static str),
}

const UNKNOWN: Verified = Verified::Never("x509: cannot verify signature: algorithm unimplemented");
const OF_RSA: &str = "crypto/rsa: verification error";
const OF_EC: &str = "x509: ECDSA verification failure";

fn verified(outline: &Outline<'_>) -> Verified {
    let (by, key) = (&outline.signature.0, &outline.key.0);
    let curve = key.parameters.unwrap_or_default();
    let rsa = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01";
    let ec = b"\x2a\x86\x48\xce\x3d\x04\x03";
    match by.identifier.split_last() {
        Some((last, start)) if start == rsa => match (last, key.identifier == RSA) {
            (4, _) => Verified::Never("x509: cannot verify signature: insecure algorithm MD5-RSA"),
            (10, _) => Verified::Left,
            (5 | 11..=13, false) => Verified::Left,
            (5, _) => Verified::By(
                &signature::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
                OF_RSA,
            ),
            (11, _) => Verified::By(
                &signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
                OF_RSA,
            ),
            (12, _) => Verified::Left,
            (13, _) => Verified::By(
                &signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
                OF_RSA,
            ),
            _ => UNKNOWN,
        },
        Some((last, start)) if start == ec => match (last, key.identifier == EC, curve) {
            (2, true, P256) => Verified::By(&signature::ECDSA_P256_SHA256_ASN1, OF_EC),
            (3, true, P256) => Verified::By(&signature::ECDSA_P256_SHA384_ASN1, OF_EC),
            (2, true, P384) => Verified::By(&signature::ECDSA_P384_SHA256_ASN1, OF_EC),
            (3, true, P384) => Verified::By(&signature::ECDSA_P384_SHA384_ASN1, OF_EC),
            (2..=4, ..) => Verified::Left,
            _ => UNKNOWN,
        },
        _ if by.identifier == ED25519 && key.identifier == ED25519 => {
            Verified::By(&signature::ED25519, "x509: Ed25519 verification failure")
        }
        _ if by.identifier == ED25519 => Verified::Left,
        // with SHA-1
        _ if by.identifier == b"\x2a\x86\x48\xce\x3d\x04\x01" => Verified::Left,
        _ => UNKNOWN,
    }
}

fn signature_fault(outline: &Outline<'_>) -> Option<String> {
    match verified(outline) {
        Verified::Left => None,
        Verified::Never(why) => Some(why.into()),
        Verified::By(how, why) => UnparsedPublicKey::new(how, outline.key.1)
            .verify(outline.signed, outline.signature.1)
            .is_err()
            .then(|| why.into()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::kinds::validation::pem;

    /// A request of `CN=e` with a key on edwards25519.
    pub const SIGNED: &str = "\
-----BEGIN CERTIFICATE REQUEST-----\n\
MIGLMD8CAQAwDDEKMAgGA1UEAwwBZTAqMAUGAytlcAMhACU2C/DAaoD4cBXaLRUx\n\
MUpuDvWP0B4JcauLZTMzou5LoAAwBQYDK2VwA0EAyRfslmIWHSZf/GLPS/GpqvlT\n\
P7Y/xV5LMs+HHsXHTFmawhUCPQliW3dp6w9ODVhpu8UcFfY/ZuxZfZc6Bin3BA==\n\
-----END CERTIFICATE REQUEST-----\n\
";

    #[test]
    fn what_go_says_of_requests() {
        let der = pem::next(SIGNED).unwrap().bytes;
        let with = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut der = der.clone();
            change(&mut der);
            fault(&der).unwrap_or_default()
        };
        let last = der.len() - 1;
        assert_eq!(with(&|_| {}), "");
        for (change, said) in [
            (
                &(|der: &mut Vec<u8>| der[last] ^= 1) as &dyn Fn(&mut Vec<u8>),
                "x509: Ed25519 verification failure",
            ),
            (
                &|der: &mut Vec<u8>| der.truncate(last),
                "asn1: syntax error: data truncated",
            ),
            (
                &|der: &mut Vec<u8>| der.push(0),
                "asn1: syntax error: trailing data",
            ),
            (
                &|der: &mut Vec<u8>| der.clear(),
                "asn1: syntax error: sequence truncated",
            ),
            // what signs is something that nobody knows
            (
                &|der: &mut Vec<u8>| der[last - 67] ^= 0x55,
                "x509: cannot verify signature: algorithm unimplemented",
            ),
        ] {
            assert_eq!(with(change), said);
        }
    }

    #[test]
    fn keys_that_go_cannot_read() {
        let of = |identifier: &'static [u8], parameters: Option<&'static [u8]>| Algorithm {
            identifier,
            parameters,
        };
        for (algorithm, key, said) in [
            (
                of(RSA, None),
                &[][..],
                Some("x509: RSA key missing NULL parameters"),
            ),
            (of(RSA, Some(NULL)), &[], None),
            (
                of(EC, Some(b"\x06\x01\x01")),
                &[],
                Some("x509: unsupported elliptic curve"),
            ),
            (of(EC, Some(P256)), &[], None),
            (
                of(ED25519, Some(NULL)),
                &[0; 32],
                Some("x509: Ed25519 key encoded with illegal parameters"),
            ),
            (
                of(ED25519, None),
                &[0; 31],
                Some("x509: wrong Ed25519 public key size"),
            ),
        ] {
            assert_eq!(key_fault(&algorithm, key).as_deref(), said);
        }
    }
}
