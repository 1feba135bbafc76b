//! Certificates as DER: the template, the signature, and what is read back from one.
//!
//! Invariant: a signed subject holds what was read of the request's, once: a common name, organizations and so on, and nothing that another reader
//! could take for the name instead; an end-entity certificate never has the right to sign others.
//! Follows `pkg/controller/certificates/authority` and Go's `crypto/x509/pkix` (Name).

use std::net::IpAddr;

use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer,
    time::ASN1Time,
    x509::AttributeTypeAndValue,
};
use yasna::{DERWriter, Tag};

use super::error::PkiError;
use crate::auth::keys::{PublicKey, SigningKey, oid};

/// A name besides the subject's that a certificate holds for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum San {
    Dns(String),
    Ip(IpAddr),
    Email(String),
    Uri(String),
}

impl San {
    /// An IP address where the text is one, else a DNS name.
    pub fn of(text: &str) -> San {
        text.parse()
            .map_or_else(|_| San::Dns(text.to_owned()), San::Ip)
    }

    fn read(name: &GeneralName) -> Option<San> {
        match name {
            GeneralName::DNSName(name) => Some(San::Dns((*name).to_owned())),
            GeneralName::RFC822Name(name) => Some(San::Email((*name).to_owned())),
            GeneralName::URI(name) => Some(San::Uri((*name).to_owned())),
            GeneralName::IPAddress(bytes) => match bytes.len() {
                4 => <[u8; 4]>::try_from(*bytes)
                    .ok()
                    .map(|bytes| San::Ip(bytes.into())),
                16 => <[u8; 16]>::try_from(*bytes)
                    .ok()
                    .map(|bytes| San::Ip(bytes.into())),
                _ => None,
            },
            _ => None,
        }
    }

    fn write(&self, writer: DERWriter) {
        let (tag, bytes) = match self {
            San::Email(name) => (1, name.as_bytes().to_vec()),
            San::Dns(name) => (2, name.as_bytes().to_vec()),
            San::Uri(name) => (6, name.as_bytes().to_vec()),
            San::Ip(IpAddr::V4(ip)) => (7, ip.octets().to_vec()),
            San::Ip(IpAddr::V6(ip)) => (7, ip.octets().to_vec()),
        };
        writer.write_tagged_implicit(Tag::context(tag), |writer| writer.write_bytes(&bytes));
    }
}

/// `digital signature` and so on, as `spec.usages` of a CertificateSigningRequest has them: the bit of KeyUsage.
const KEY_USAGES: &[(&str, usize)] = &[
    ("signing", 0),
    ("digital signature", 0),
    ("content commitment", 1),
    ("key encipherment", 2),
    ("data encipherment", 3),
    ("key agreement", 4),
    ("cert sign", 5),
    ("crl sign", 6),
    ("encipher only", 7),
    ("decipher only", 8),
];

/// The same for extended key usages: their object identifier.
const EXTENDED_USAGES: &[(&str, &[u64])] = &[
    ("any", &[2, 5, 29, 37, 0]),
    ("server auth", &[1, 3, 6, 1, 5, 5, 7, 3, 1]),
    ("client auth", &[1, 3, 6, 1, 5, 5, 7, 3, 2]),
    ("code signing", &[1, 3, 6, 1, 5, 5, 7, 3, 3]),
    ("email protection", &[1, 3, 6, 1, 5, 5, 7, 3, 4]),
    ("s/mime", &[1, 3, 6, 1, 5, 5, 7, 3, 4]),
    ("ipsec end system", &[1, 3, 6, 1, 5, 5, 7, 3, 5]),
    ("ipsec tunnel", &[1, 3, 6, 1, 5, 5, 7, 3, 6]),
    ("ipsec user", &[1, 3, 6, 1, 5, 5, 7, 3, 7]),
    ("timestamping", &[1, 3, 6, 1, 5, 5, 7, 3, 8]),
    ("ocsp signing", &[1, 3, 6, 1, 5, 5, 7, 3, 9]),
    ("microsoft sgc", &[1, 3, 6, 1, 4, 1, 311, 10, 3, 3]),
    ("netscape sgc", &[2, 16, 840, 1, 113_730, 4, 1]),
];

/// What a key may be used for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usages {
    key: Vec<usize>,
    extended: Vec<&'static [u64]>,
}

impl Usages {
    /// From the words of `spec.usages`.
    pub fn parse(words: &[impl AsRef<str>]) -> Result<Usages, PkiError> {
        let mut usages = Usages::default();
        let mut unknown = Vec::new();
        for word in words.iter().map(AsRef::as_ref) {
            if let Some((_, bit)) = KEY_USAGES.iter().find(|(name, _)| *name == word) {
                usages.key.push(*bit);
            } else if let Some((_, oid)) = EXTENDED_USAGES.iter().find(|(name, _)| *name == word) {
                if !usages.extended.contains(oid) {
                    usages.extended.push(oid);
                }
            } else {
                unknown.push(word.to_owned());
            }
        }
        if unknown.is_empty() {
            Ok(usages)
        } else {
            Err(PkiError::Usages(unknown))
        }
    }
}

/// What is to be signed. Times in seconds since 1970.
pub struct Template {
    /// The subject, a Name in DER.
    pub subject: Vec<u8>,
    /// SubjectPublicKeyInfo.
    pub key: Vec<u8>,
    pub not_before: i64,
    pub not_after: i64,
    pub usages: Usages,
    pub sans: Vec<San>,
    pub authority: bool,
}

/// A Name with organizations and a common name, each part of its own.
pub fn name(common_name: &str, organizations: &[&str]) -> Vec<u8> {
    yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            let organizations = organizations.iter().map(|text| ([2, 5, 4, 10], *text));
            for (kind, text) in organizations.chain([([2, 5, 4, 3], common_name)]) {
                writer.next().write_set(|writer| {
                    writer.next().write_sequence(|writer| {
                        writer.next().write_oid(&oid(&kind));
                        writer.next().write_utf8_string(text);
                    });
                });
            }
        });
    })
}

/// The attributes of a subject that a certificate keeps, in Go's order, and whether there may be several of one; of the others the last counts.
const KEPT: [(&[u64], bool); 9] = [
    (&[2, 5, 4, 6], true),
    (&[2, 5, 4, 10], true),
    (&[2, 5, 4, 11], true),
    (&[2, 5, 4, 7], true),
    (&[2, 5, 4, 8], true),
    (&[2, 5, 4, 9], true),
    (&[2, 5, 4, 17], true),
    (&[2, 5, 4, 3], false),
    (&[2, 5, 4, 5], false),
];

/// A subject as Go writes the one that it has read: a part an attribute, the common name once.
fn canonical(subject: &x509_parser::x509::X509Name) -> Result<Vec<u8>, PkiError> {
    let mut parts: Vec<(&[u64], Vec<String>)> = Vec::new();
    for (kind, several) in KEPT {
        let id = x509_parser::der_parser::asn1_rs::Oid::from(kind)
            .map_err(|_| PkiError::Request("x509: an attribute's name".to_owned()))?;
        let texts = subject
            .iter_attributes()
            .filter(|value| *value.attr_type() == id)
            .map(|value| value.as_str().map(str::to_owned));
        let mut texts = texts
            .collect::<Result<Vec<String>, _>>()
            .map_err(|_| PkiError::Request("x509: the subject holds what is no text".to_owned()))?;
        if !several {
            texts.drain(..texts.len().saturating_sub(1));
        }
        if !texts.is_empty() {
            parts.push((kind, texts));
        }
    }
    Ok(yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            for (kind, texts) in &parts {
                writer.next().write_set_of(|writer| {
                    for text in texts {
                        writer.next().write_sequence(|writer| {
                            writer.next().write_oid(&oid(kind));
                            writer.next().write_utf8_string(text);
                        });
                    }
                });
            }
        });
    }))
}

/// Who signs: the subject (a Name in DER) and the key identifier of its certificate, and its key.
pub struct Issuer<'a> {
    pub subject: &'a [u8],
    pub key_id: Option<&'a [u8]>,
    pub key: &'a SigningKey,
}

/// Signs. The certificate in DER.
pub fn sign(
    template: &Template,
    issuer: &Issuer,
    random: &SystemRandom,
) -> Result<Vec<u8>, PkiError> {
    let signer = issuer.key;
    let mut serial = [0; 16];
    random.fill(&mut serial).map_err(|_| PkiError::Random)?;
    // Positive, and never zero.
    serial[0] = serial[0] & 0x7f | 0x40;
    let algorithm = |writer: DERWriter| {
        writer.write_sequence(|writer| {
            writer
                .next()
                .write_oid(&oid(signer.public().algorithm().signature_oid()));
            if signer.public().algorithm() == crate::auth::keys::Algorithm::Rs256 {
                writer.next().write_null();
            }
        });
    };
    let not_before = time(template.not_before)?;
    let not_after = time(template.not_after)?;
    let tbs = yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer
                .next()
                .write_tagged(Tag::context(0), |writer| writer.write_u8(2));
            writer.next().write_bigint_bytes(&serial, true);
            algorithm(writer.next());
            writer.next().write_der(issuer.subject);
            writer.next().write_sequence(|writer| {
                writer.next().write_der(&not_before);
                writer.next().write_der(&not_after);
            });
            writer.next().write_der(&template.subject);
            writer.next().write_der(&template.key);
            writer.next().write_tagged(Tag::context(3), |writer| {
                writer.write_sequence(|writer| extensions(writer, template, issuer.key_id))
            });
        });
    });
    let signature = signer.sign_asn1(&tbs)?;
    Ok(yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_der(&tbs);
            algorithm(writer.next());
            writer
                .next()
                .write_bitvec_bytes(&signature, signature.len() * 8);
        });
    }))
}

/// UTCTime until 2049, GeneralizedTime after.
fn time(seconds: i64) -> Result<Vec<u8>, PkiError> {
    let instant = jiff::Timestamp::from_second(seconds).map_err(|_| PkiError::Time(seconds))?;
    let text = jiff::fmt::strtime::format("%Y%m%d%H%M%SZ", instant)
        .map_err(|_| PkiError::Time(seconds))?;
    // 0x17 is UTCTime, whose year has two digits
    let (tag, text) = if seconds < 2_524_608_000 {
        (0x17, &text[2..])
    } else {
        (0x18, text.as_str())
    };
    let mut der = vec![
        tag,
        u8::try_from(text.len()).map_err(|_| PkiError::Time(seconds))?,
    ];
    der.extend_from_slice(text.as_bytes());
    Ok(der)
}

/// The key identifier that a new authority bears.
pub fn key_id(key: &PublicKey) -> Vec<u8> {
    Sha256::digest(key.raw())[..20].to_vec()
}

fn extensions(writer: &mut yasna::DERWriterSeq, template: &Template, issuer_key_id: Option<&[u8]>) {
    let mut add = |id: &[u64], critical: bool, content: Vec<u8>| {
        writer.next().write_sequence(|writer| {
            writer.next().write_oid(&oid(id));
            if critical {
                writer.next().write_bool(true);
            }
            writer.next().write_bytes(&content);
        });
    };
    if !template.usages.key.is_empty() {
        add(&[2, 5, 29, 15], true, key_usage(&template.usages.key));
    }
    if !template.usages.extended.is_empty() {
        let content = yasna::construct_der(|writer| {
            writer.write_sequence(|writer| {
                template
                    .usages
                    .extended
                    .iter()
                    .for_each(|usage| writer.next().write_oid(&oid(usage)))
            });
        });
        add(&[2, 5, 29, 37], false, content);
    }
    let constraints = yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            if template.authority {
                writer.next().write_bool(true);
            }
        });
    });
    add(&[2, 5, 29, 19], true, constraints);
    if template.authority
        && let Ok(key) = PublicKey::from_spki(&template.key)
    {
        add(
            &[2, 5, 29, 14],
            false,
            yasna::construct_der(|writer| writer.write_bytes(&key_id(&key))),
        );
    }
    if let Some(id) = issuer_key_id {
        let identifier = |writer: DERWriter| {
            writer.write_tagged_implicit(Tag::context(0), |writer| writer.write_bytes(id))
        };
        add(
            &[2, 5, 29, 35],
            false,
            yasna::construct_der(|writer| {
                writer.write_sequence(|writer| identifier(writer.next()))
            }),
        );
    }
    if !template.sans.is_empty() {
        let content = yasna::construct_der(|writer| {
            writer.write_sequence(|writer| {
                template
                    .sans
                    .iter()
                    .for_each(|san| san.write(writer.next()))
            })
        });
        // Critical where it is all that names the certificate's owner.
        add(&[2, 5, 29, 17], template.subject.len() <= 2, content);
    }
}

fn key_usage(bits: &[usize]) -> Vec<u8> {
    let last = bits.iter().copied().max().unwrap_or_default();
    let mut bytes = vec![0u8; last / 8 + 1];
    for bit in bits {
        bytes[bit / 8] |= 0x80 >> (bit % 8);
    }
    yasna::construct_der(|writer| writer.write_bitvec_bytes(&bytes, last + 1))
}

/// What is asked of a certificate that lies there already.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// A Name in DER.
    pub subject: Vec<u8>,
    pub common_name: String,
    pub organizations: Vec<String>,
    pub not_before: i64,
    pub not_after: i64,
    pub sans: Vec<San>,
    /// SubjectPublicKeyInfo.
    pub key: Vec<u8>,
    /// The subject key identifier, when the certificate bears one.
    pub key_id: Option<Vec<u8>>,
    pub authority: bool,
}

impl Facts {
    pub fn read(der: &[u8]) -> Result<Facts, PkiError> {
        let (_, certificate) = X509Certificate::from_der(der)
            .map_err(|error| PkiError::Certificate(error.to_string()))?;
        let seconds = |time: ASN1Time| time.timestamp();
        let subject = certificate.subject();
        let alternative = certificate
            .subject_alternative_name()
            .map_err(|error| PkiError::Certificate(error.to_string()))?;
        Ok(Facts {
            subject: subject.as_raw().to_vec(),
            common_name: texts(subject.iter_common_name())?.pop().unwrap_or_default(),
            organizations: texts(subject.iter_organization())?,
            not_before: seconds(certificate.validity().not_before),
            not_after: seconds(certificate.validity().not_after),
            sans: alternative
                .map(|extension| {
                    extension
                        .value
                        .general_names
                        .iter()
                        .filter_map(San::read)
                        .collect()
                })
                .unwrap_or_default(),
            key: certificate.public_key().raw.to_vec(),
            key_id: certificate.iter_extensions().find_map(|extension| {
                match extension.parsed_extension() {
                    ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
                    _ => None,
                }
            }),
            authority: certificate.is_ca(),
        })
    }
}

/// What a subject says under one name. What is no text that can be read (a group, maybe) is an error, not an empty word.
fn texts<'a>(
    values: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>,
) -> Result<Vec<String>, PkiError> {
    let text = |value: &AttributeTypeAndValue<'_>| match value.as_str() {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(PkiError::Certificate(
            "the subject holds what is no text".into(),
        )),
    };
    values.map(text).collect()
}

/// What a certificate request asks for, once its signature is checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub subject: Vec<u8>,
    pub common_name: String,
    pub organizations: Vec<String>,
    pub sans: Vec<San>,
    pub key: Vec<u8>,
}

impl Request {
    /// From PEM (`CERTIFICATE REQUEST`).
    pub fn from_pem(pem: &[u8]) -> Result<Request, PkiError> {
        use rustls::pki_types::{CertificateSigningRequestDer, pem::PemObject};
        let der = CertificateSigningRequestDer::from_pem_slice(pem)
            .map_err(|error| PkiError::Request(error.to_string()))?;
        let (_, request) =
            x509_parser::certification_request::X509CertificationRequest::from_der(&der)
                .map_err(|error| PkiError::Request(error.to_string()))?;
        request
            .verify_signature()
            .map_err(|error| PkiError::RequestSignature(error.to_string()))?;
        let info = &request.certification_request_info;
        let mut sans = Vec::new();
        for extension in request.requested_extensions().into_iter().flatten() {
            if let ParsedExtension::SubjectAlternativeName(names) = extension {
                sans.extend(names.general_names.iter().filter_map(San::read));
            }
        }
        Ok(Request {
            subject: canonical(&info.subject)?,
            common_name: texts(info.subject.iter_common_name())?
                .pop()
                .unwrap_or_default(),
            organizations: texts(info.subject.iter_organization())?,
            sans,
            key: info.subject_pki.raw.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use x509_parser::x509::X509Name;

    use super::*;

    /// An organization in an encoding that is not read may be any group.
    #[test]
    fn what_is_no_text_is_no_empty_word() {
        let name = [
            0x30, 0x0d, 0x31, 0x0b, 0x30, 0x09, 0x06, 0x03, 0x55, 0x04, 0x0a, 0x1e, 0x02, 0, b'm',
        ];
        let (_, name) = X509Name::from_der(&name).unwrap();
        assert!(texts(name.iter_organization()).is_err());
    }
}
