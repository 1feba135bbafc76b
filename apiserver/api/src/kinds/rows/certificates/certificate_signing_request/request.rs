//! What a certificate request asks for: a request in PEM, usages that there are, a signer by its full name.
//!
//! Invariant: what was wrong before may stay so, and what is right may not become wrong. Follows `validateCertificateSigningRequest` of
//! `pkg/apis/certificates/validation/validation.go` and `ValidateSignerName` of `pkg/apis/core/validation/names.go`.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::pkcs10;
use crate::kinds::prelude::*;
use crate::kinds::validation::{checks::one_of, pem};
use crate::machinery::quote::{GoQuoted, go_quote};

const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];
const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";
const SHORTEST: i64 = 600;

/// `old` is absent for a new request.
pub fn validate(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = Errors::default();
    let (spec, path) = (new.at("spec"), Path::new("spec"));
    let before = old.map(|old| old.at("spec"));
    if let Some(why) = request_fault(spec.text("request")) {
        errors.invalid(
            &path.child("request"),
            spec.some("request").cloned().unwrap_or_default(),
            why,
        );
    }
    let (usages, at): (Vec<&str>, _) = (spec.texts("usages").collect(), path.child("usages"));
    if usages.is_empty() {
        errors.required(&at, "");
    }
    if !before.is_some_and(|spec| spec.texts("usages").any(|usage| !USAGES.contains(&usage))) {
        usages
            .iter()
            .enumerate()
            .for_each(|(index, usage)| one_of(usage, &USAGES, &at.index(index), &mut errors));
    }
    let doubles = |usages: &[&str]| {
        (0..usages.len())
            .filter(|index| usages[..*index].contains(&usages[*index]))
            .collect::<Vec<usize>>()
    };
    if before.is_none_or(|spec| doubles(&spec.texts("usages").collect::<Vec<_>>()).is_empty()) {
        doubles(&usages)
            .into_iter()
            .for_each(|index| errors.duplicate(&at.index(index), usages[index]));
    }
    let name = spec.text("signerName");
    if name == LEGACY_SIGNER && before.is_none_or(|spec| spec.text("signerName") != LEGACY_SIGNER) {
        errors.invalid(
            &path.child("signerName"),
            name,
            "the legacy signerName is not allowed via this API version",
        );
    } else {
        signer_name(name, &path.child("signerName"), &mut errors);
    }
    if let Some(seconds) = spec
        .int_ptr("expirationSeconds")
        .filter(|seconds| *seconds < SHORTEST)
    {
        errors.invalid(
            &path.child("expirationSeconds"),
            seconds,
            "may not specify a duration less than 600 seconds (10 minutes)",
        );
    }
    conditions(new, old, &mut errors);
    let issued = |request: &Value| certificate(request.at("status").text("certificate"));
    if old.is_none_or(|old| issued(old).is_none())
        && let Some(why) = issued(new)
    {
        let status = Path::new("status");
        errors.invalid(&status.child("certificate"), "<certificate data>", why);
    }
    errors
}

/// The text of what is base64; what is none holds no PEM.
fn text_of(encoded: &str) -> String {
    let bytes = BASE64_STANDARD.decode(encoded).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What is wrong with a request: the first block of PEM is one, signed by whoever has its key.
fn request_fault(encoded: &str) -> Option<String> {
    match pem::next(&text_of(encoded)) {
        Some(block) if block.kind == "CERTIFICATE REQUEST" => pkcs10::fault(&block.bytes),
        _ => Some("PEM block type must be CERTIFICATE REQUEST".into()),
    }
}

/// What is wrong with an issued certificate, which may be none.
fn certificate(encoded: &str) -> Option<String> {
    if encoded.is_empty() {
        return None;
    }
    let text = text_of(encoded);
    let (mut rest, mut blocks) = (&*text, 0);
    while let Some(block) = pem::next(rest) {
        if block.kind != "CERTIFICATE" {
            let kind = go_quote(block.kind);
            return Some(format!(
                "only CERTIFICATE PEM blocks are allowed, found {kind}"
            ));
        }
        if block.has_headers {
            return Some("no PEM block headers are permitted".into());
        }
        if !block.is_sequence() {
            return Some("x509: malformed certificate".into());
        }
        (rest, blocks) = (block.rest, blocks + 1);
    }
    (blocks == 0).then(|| "must contain at least one CERTIFICATE PEM block".into())
}

/// `example.com/signer-name`.
fn signer_name(name: &str, path: &Path, errors: &mut Errors) {
    const LONGEST: usize = 253;
    if name.is_empty() {
        return errors.required(path, "");
    }
    let Some((domain, signer)) = name
        .split_once('/')
        .filter(|(_, signer)| !signer.contains('/'))
    else {
        return errors.invalid(
            path,
            name,
            "must be a fully qualified domain and path of the form 'example.com/signer-name'",
        );
    };
    if domain.len() > LONGEST {
        errors.too_long(path, LONGEST as i64);
    }
    let checks: [(&str, fn(&str) -> Vec<String>); 2] = [
        (domain, names::is_dns1123_label),
        (signer, names::is_dns1123_subdomain),
    ];
    for (index, (part, check)) in checks.into_iter().enumerate() {
        if let Some((label, said)) = part
            .split('.')
            .map(|label| (label, check(label)))
            .find(|(_, said)| !said.is_empty())
        {
            said.iter().for_each(|said| {
                errors.invalid(
                    path,
                    part,
                    format!("validating label {label}: {said}", label = GoQuoted(&label)),
                )
            });
        }
        if index == 0 && !domain.contains('.') {
            errors.invalid(
                path,
                domain,
                "should be a domain with at least two segments separated by dots",
            );
        }
    }
    const LONGEST_NAME: usize = LONGEST + 1 + LONGEST + 1 + 63;
    if name.len() > LONGEST_NAME {
        errors.too_long(path, LONGEST_NAME as i64);
    }
}

fn conditions(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    let status = Path::new("status");
    let path = status.child("conditions");
    let types = |of: &Value| {
        of.at("status")
            .list("conditions")
            .iter()
            .map(|one| one.text("type").to_string())
            .collect::<Vec<_>>()
    };
    let had = old.map(types).unwrap_or_default();
    let (both, blank) = (
        ["Approved", "Denied"]
            .iter()
            .all(|kind| had.iter().any(|had| had == kind)),
        had.iter().any(String::is_empty),
    );
    let doubled = (1..had.len()).any(|index| had[..index].contains(&had[index]));
    let list = new.at("status").list("conditions");
    for (index, one) in list.iter().enumerate() {
        let (kind, at) = (one.text("type"), path.index(index));
        if kind.is_empty() && !blank {
            errors.required(&at.child("type"), "");
        }
        let allowed: &[&str] = if matches!(kind, "Approved" | "Denied" | "Failed") {
            &["True"]
        } else {
            &["False", "True", "Unknown"]
        };
        match one.text("status") {
            "" => errors.required(&at.child("status"), ""),
            status => one_of(status, allowed, &at.child("status"), errors),
        }
        let other = match kind {
            "Approved" => Some("Denied"),
            "Denied" => Some("Approved"),
            _ => None,
        };
        if !both
            && other.is_some_and(|other| {
                list[..index]
                    .iter()
                    .any(|before| before.text("type") == other)
            })
        {
            errors.invalid(
                &path,
                kind,
                "Approved and Denied conditions are mutually exclusive",
            );
        }
        if !doubled
            && list[..index]
                .iter()
                .any(|before| before.text("type") == kind)
        {
            errors.duplicate(&at.child("type"), kind);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(change: impl FnOnce(&mut Value)) -> Value {
        let pem = BASE64_STANDARD.encode(pkcs10::tests::SIGNED);
        let mut request = json!({"spec": {"request": pem, "usages": ["client auth"], "signerName": "example.com/a"}, "status": {}});
        change(&mut request);
        request
    }

    #[test]
    fn what_is_asked_for() {
        for (name, value, said) in [
            ("usages", json!(["client auth", "digital signature"]), "[]"),
            ("usages", json!([]), "spec.usages: Required value"),
            (
                "usages",
                json!(["any", "any"]),
                "spec.usages[1]: Duplicate value: \"any\"",
            ),
            (
                "request",
                json!(BASE64_STANDARD.encode("x")),
                "spec.request: Invalid value: \"eA==\": PEM block type must be CERTIFICATE REQUEST",
            ),
            (
                "expirationSeconds",
                json!(599),
                "spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 600 seconds (10 minutes)",
            ),
            (
                "signerName",
                json!("a"),
                "spec.signerName: Invalid value: \"a\": must be a fully qualified domain and path of the form 'example.com/signer-name'",
            ),
            (
                "signerName",
                json!("com/a"),
                "spec.signerName: Invalid value: \"com\": should be a domain with at least two segments separated by dots",
            ),
            (
                "signerName",
                json!(LEGACY_SIGNER),
                "spec.signerName: Invalid value: \"kubernetes.io/legacy-unknown\": the legacy signerName is not allowed via this API version",
            ),
        ] {
            assert_eq!(
                validate(&request(|request| request["spec"][name] = value), None).message(),
                said
            );
        }
        let odd = request(|request| request["spec"]["usages"] = json!(["odd"]));
        assert!(!validate(&odd, None).is_empty() && validate(&odd, Some(&odd)).is_empty());
    }

    #[test]
    fn conditions_say_true_and_do_not_contradict_each_other() {
        let with = |list: Value| request(|request| request["status"]["conditions"] = list);
        let one = |kind: &str, status: &str| json!({"type": kind, "status": status});
        for (list, said) in [
            (json!([one("Approved", "True")]), "[]"),
            (
                json!([one("Approved", "False")]),
                "status.conditions[0].status: Unsupported value: \"False\": supported values: \"True\"",
            ),
            (
                json!([one("Approved", "True"), one("Denied", "True")]),
                "status.conditions: Invalid value: \"Denied\": Approved and Denied conditions are mutually exclusive",
            ),
            (
                json!([one("A", "True"), one("A", "True")]),
                "status.conditions[1].type: Duplicate value: \"A\"",
            ),
            (
                json!([one("", "True")]),
                "status.conditions[0].type: Required value",
            ),
        ] {
            assert_eq!(validate(&with(list), None).message(), said);
        }
    }
}
