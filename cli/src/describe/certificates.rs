//! Requests for certificates: whom they are to name is read from the request itself.
//! Invariant: a request that cannot be read is an error, never one that names nobody.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/describe/describe.go`.

use super::form::Line::{self, Do, Form};
use super::form::at;
use super::{Describer, Out};
use crate::error::{Result, bail, message};
use crate::print::age;
use crate::typed::Read;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::net::IpAddr;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{
    OID_X509_COMMON_NAME, OID_X509_COUNTRY_NAME, OID_X509_LOCALITY_NAME,
    OID_X509_ORGANIZATION_NAME, OID_X509_ORGANIZATIONAL_UNIT, OID_X509_POSTAL_CODE,
    OID_X509_SERIALNUMBER, OID_X509_STATE_OR_PROVINCE_NAME, OID_X509_STREET_ADDRESS, Oid,
};
use x509_parser::prelude::FromDer;

pub const KINDS: &[Describer] =
    &[
        Describer::new("certificates.k8s.io", "CertificateSigningRequest", LINES)
            .with(|_, csr| Box::pin(async move { named(&csr) })),
    ];

const LINES: &[Line] = &[
    Form(
        0,
        "
        Name: {metadata.name}
        Labels: {metadata.labels|labels?<none>}
        Annotations: {metadata.annotations|labels?<none>}
        CreationTimestamp: {metadata.creationTimestamp|date}
        Requesting User: {spec.username}
        ?Signer: {spec.signerName}",
    ),
    Do(|out, csr| {
        if let Some(seconds) = csr.at("spec").int_ptr("expirationSeconds") {
            out.field("Requested Duration", age::human(seconds));
        }
        out.field("Status", status(csr));
        out.put(0, "Subject:\n");
        listed(out, csr, SUBJECT);
        let mut names = NAMES.iter().filter(|(_, field)| given(csr, field));
        if names.next().is_some() {
            out.put(0, "Subject Alternative Names:\n");
            listed(out, csr, NAMES);
        }
    }),
];

/// What of a subject is shown, and under which name it is kept; the first two are always there.
const SUBJECT: &[(&str, &str)] = &[
    ("Common Name", "commonName"),
    ("Serial Number", "serialNumber"),
    ("Organization", "organization"),
    ("Organizational Unit", "unit"),
    ("Country", "country"),
    ("Locality", "locality"),
    ("Province", "province"),
    ("StreetAddress", "street"),
    ("PostalCode", "postalCode"),
];
const NAMES: &[(&str, &str)] = &[
    ("DNS Names", "dns"),
    ("Email Addresses", "email"),
    ("URIs", "uri"),
    ("IP Addresses", "ip"),
];

fn given(csr: &Value, field: &str) -> bool {
    !csr.at("related").list(field).is_empty()
}

fn listed(out: &mut Out, csr: &Value, fields: &[(&str, &str)]) {
    for (label, field) in fields {
        let values: Vec<&str> = csr.at("related").texts(field).collect();
        if !values.is_empty() {
            out.put(0, format!("\t{label}:\t{}\n", values.join("\n\t\t")));
        }
    }
}

/// What became of a request so far.
fn status(csr: &Value) -> String {
    let status = csr.at("status");
    let conditions = status.list("conditions");
    let has = |kind: &str| conditions.iter().any(|c| c.text("type") == kind);
    let decided = ["Denied", "Approved"].into_iter().find(|kind| has(kind));
    let mut parts = vec![decided.unwrap_or("Pending")];
    parts.extend(has("Failed").then_some("Failed"));
    parts.extend((!status.text("certificate").is_empty()).then_some("Issued"));
    parts.join(",")
}

/// Whom a request names, by [`SUBJECT`]'s and [`NAMES`]' fields.
fn named(csr: &Value) -> Result<Value> {
    let pem = STANDARD
        .decode(at(csr, "spec.request").as_str().unwrap_or(""))
        .map_err(|why| message!("Error parsing CSR: {why}"))?;
    let block = x509_parser::pem::Pem::iter_from_buffer(&pem).next();
    let der = match block {
        Some(Ok(block)) if block.label == "CERTIFICATE REQUEST" => block.contents,
        _ => bail!("Error parsing CSR: PEM block type must be CERTIFICATE REQUEST"),
    };
    let (_, request) = X509CertificationRequest::from_der(&der)
        .map_err(|why| message!("Error parsing CSR: {why}"))?;
    let subject = &request.certification_request_info.subject;
    let all = |oid: &Oid| -> Vec<String> {
        let values = subject.iter_by_oid(oid);
        values
            .filter_map(|v| v.as_str().ok().map(String::from))
            .collect()
    };
    // of these there is one: the last that is said
    let one = |oid: &Oid| vec![all(oid).pop().unwrap_or_default()];
    let mut named = json!({
        "commonName": one(&OID_X509_COMMON_NAME),
        "serialNumber": one(&OID_X509_SERIALNUMBER),
        "organization": all(&OID_X509_ORGANIZATION_NAME),
        "unit": all(&OID_X509_ORGANIZATIONAL_UNIT),
        "country": all(&OID_X509_COUNTRY_NAME),
        "locality": all(&OID_X509_LOCALITY_NAME),
        "province": all(&OID_X509_STATE_OR_PROVINCE_NAME),
        "street": all(&OID_X509_STREET_ADDRESS),
        "postalCode": all(&OID_X509_POSTAL_CODE),
    });
    let extensions = request.requested_extensions().into_iter().flatten();
    let names = extensions.filter_map(|extension| match extension {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    for name in names.flatten() {
        if let Some((field, text)) = other_name(name) {
            match named[field].as_array_mut() {
                Some(list) => list.push(json!(text)),
                None => named[field] = json!([text]),
            }
        }
    }
    Ok(named)
}

/// The field and the text of an alternative name; nothing for those that are not shown.
fn other_name(name: &GeneralName) -> Option<(&'static str, String)> {
    Some(match name {
        GeneralName::DNSName(name) => ("dns", name.to_string()),
        GeneralName::RFC822Name(name) => ("email", name.to_string()),
        GeneralName::URI(uri) => ("uri", uri.to_string()),
        GeneralName::IPAddress(bytes) => {
            let address: IpAddr = match bytes.len() {
                4 => <[u8; 4]>::try_from(*bytes).ok()?.into(),
                _ => <[u8; 16]>::try_from(*bytes).ok()?.into(),
            };
            ("ip", address.to_string())
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_names_is_read_from_it() {
        let mut params =
            rcgen::CertificateParams::new(vec!["a.example".to_string(), "10.0.0.1".to_string()])
                .unwrap();
        let mut name = rcgen::DistinguishedName::new();
        name.push(rcgen::DnType::CommonName, "system:node:a");
        name.push(rcgen::DnType::OrganizationName, "system:nodes");
        params.distinguished_name = name;
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.serialize_request(&key).unwrap().pem().unwrap();
        let csr = json!({
            "spec": {"request": STANDARD.encode(pem), "username": "u", "expirationSeconds": 3600},
            "status": {"conditions": [{"type": "Approved"}], "certificate": "eA=="},
        });
        let mut csr = csr;
        csr["related"] = named(&csr).unwrap();
        let mut out = Out::default();
        super::super::form::put(&mut out, &csr, LINES);
        let text = out.raw();
        for line in [
            "Requested Duration:\t60m\n",
            "Status:\tApproved,Issued\n",
            "\tCommon Name:\tsystem:node:a\n\tSerial Number:\t\n\tOrganization:\tsystem:nodes\n",
            "Subject Alternative Names:\n\tDNS Names:\ta.example\n\tIP Addresses:\t10.0.0.1\n",
        ] {
            assert!(text.contains(line), "{line:?}: {text}");
        }
        let wrong = json!({"spec": {"request": STANDARD.encode("x")}});
        assert_eq!(
            named(&wrong).unwrap_err().to_string(),
            "Error parsing CSR: PEM block type must be CERTIFICATE REQUEST"
        );
    }
}
