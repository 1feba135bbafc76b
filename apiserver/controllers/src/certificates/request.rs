//! What a PEM certificate request asks for.
//!
//! Invariant: a name that cannot be read makes the request unreadable, and is never left out: what is checked is all that would be signed.
//! Follows pkg/apis/certificates/helpers.go (ParseCSR).

use std::net::IpAddr;

use x509_parser::{
    certification_request::X509CertificationRequest,
    extensions::{GeneralName, ParsedExtension},
    pem::parse_x509_pem,
    prelude::FromDer,
    x509::AttributeTypeAndValue,
};

/// Subject and names of a certificate request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    pub common_name: String,
    pub organizations: Vec<String>,
    pub dns: Vec<String>,
    pub ips: Vec<IpAddr>,
    pub emails: Vec<String>,
    pub uris: Vec<String>,
}

/// Why a request cannot be read.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum Unreadable {
    #[error("PEM block type must be CERTIFICATE REQUEST")]
    WrongType,
    #[error("asn1: {0}")]
    Asn1(String),
    #[error("x509: the subject holds what is no text")]
    Subject,
    #[error("x509: invalid extension: {0}")]
    Extension(String),
    #[error("x509: cannot parse IP address of length {0}")]
    Address(usize),
    #[error("x509: invalid subject alternative name")]
    Name,
}

fn text(value: &AttributeTypeAndValue<'_>) -> Result<String, Unreadable> {
    value
        .as_str()
        .map(str::to_owned)
        .map_err(|_| Unreadable::Subject)
}

impl Request {
    /// Reads the first PEM block.
    pub fn parse(pem: &[u8]) -> Result<Self, Unreadable> {
        let (_, block) = parse_x509_pem(pem).map_err(|_| Unreadable::WrongType)?;
        if block.label != "CERTIFICATE REQUEST" {
            return Err(Unreadable::WrongType);
        }
        let (rest, csr) = X509CertificationRequest::from_der(&block.contents)
            .map_err(|error| Unreadable::Asn1(error.to_string()))?;
        if !rest.is_empty() {
            return Err(Unreadable::Asn1("syntax error: trailing data".into()));
        }
        let subject = &csr.certification_request_info.subject;
        let mut request = Request {
            common_name: subject
                .iter_common_name()
                .last()
                .map(text)
                .transpose()?
                .unwrap_or_default(),
            organizations: subject
                .iter_organization()
                .map(text)
                .collect::<Result<_, _>>()?,
            ..Request::default()
        };
        for extension in csr.requested_extensions().into_iter().flatten() {
            match extension {
                ParsedExtension::SubjectAlternativeName(names) => names
                    .general_names
                    .iter()
                    .try_for_each(|name| request.add(name))?,
                ParsedExtension::ParseError { error } => {
                    return Err(Unreadable::Extension(error.to_string()));
                }
                _ => {}
            }
        }
        Ok(request)
    }

    fn add(&mut self, name: &GeneralName<'_>) -> Result<(), Unreadable> {
        match name {
            GeneralName::DNSName(name) => self.dns.push((*name).into()),
            GeneralName::RFC822Name(name) => self.emails.push((*name).into()),
            GeneralName::URI(name) => self.uris.push((*name).into()),
            GeneralName::IPAddress(bytes) => {
                let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                let ip = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
                self.ips
                    .push(ip.map_err(|_| Unreadable::Address(bytes.len()))?);
            }
            GeneralName::Invalid(..) => return Err(Unreadable::Name),
            // Neither upstream nor our authority puts any other kind of name into a certificate.
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
pub mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    /// A request in PEM; `sans` are `dns:`, `ip:`, `email:` or `uri:` and a name.
    pub fn pem(common_name: &str, organizations: &[&str], sans: &[&str]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        for organization in organizations {
            params
                .distinguished_name
                .push(DnType::OrganizationName, *organization);
        }
        let san = |text: &&str| match text.split_once(':').unwrap() {
            ("dns", name) => SanType::DnsName(name.try_into().unwrap()),
            ("ip", ip) => SanType::IpAddress(ip.parse().unwrap()),
            ("email", name) => SanType::Rfc822Name(name.try_into().unwrap()),
            ("uri", name) => SanType::URI(name.try_into().unwrap()),
            _ => unreachable!("{text}"),
        };
        params.subject_alt_names = sans.iter().map(san).collect();
        params
            .serialize_request(&KeyPair::generate().unwrap())
            .unwrap()
            .pem()
            .unwrap()
            .into_bytes()
    }

    #[test]
    fn requests_are_read() {
        let read = Request::parse(&pem(
            "system:node:n1",
            &["system:nodes"],
            &[
                "dns:n1",
                "ip:10.0.0.1",
                "ip:fd00::1",
                "email:a@b",
                "uri:spiffe://x",
            ],
        ))
        .unwrap();
        let expected = Request {
            common_name: "system:node:n1".into(),
            organizations: vec!["system:nodes".into()],
            dns: vec!["n1".into()],
            ips: vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
            emails: vec!["a@b".into()],
            uris: vec!["spiffe://x".into()],
        };
        assert_eq!(read, expected);
        for bad in [
            b"".as_slice(),
            b"nonsense",
            b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
        ] {
            assert_eq!(Request::parse(bad).unwrap_err(), Unreadable::WrongType);
        }
        let empty =
            b"-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n";
        assert!(matches!(Request::parse(empty), Err(Unreadable::Asn1(_))));
    }
}
