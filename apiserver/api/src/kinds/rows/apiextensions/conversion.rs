//! How objects become those of another version: not at all, or by a webhook.
//!
//! Follows `pkg/apis/apiextensions/validation/validation.go` of apiextensions-apiserver, `apiserver/pkg/util/webhook/validation.go` and
//! `client-go/transport/transport.go` for bundles of certificates.

use base64::Engine;

use crate::kinds::prelude::*;
use crate::kinds::validation::{pem, webhook};

/// Versions of ConversionReview that this server speaks.
const REVIEWS: [&str; 2] = ["v1", "v1beta1"];
const WEBHOOK: &str = "Webhook";

/// What is asked of a conversion; what was allowed once stays allowed.
pub struct Options {
    pub known_review: bool,
    pub any_bundle: bool,
}

pub fn validate(conversion: &Value, options: &Options, path: &Path, errors: &mut Errors) {
    let strategy = conversion.text("strategy");
    checks::required_one_of(
        strategy,
        &["None", WEBHOOK],
        &path.child("strategy"),
        errors,
    );
    let hook = conversion.at("webhook");
    let at = path.child("webhookClientConfig");
    if strategy != WEBHOOK {
        for (given, path) in [
            (hook.some("clientConfig").is_some(), &at),
            (
                !hook.list("conversionReviewVersions").is_empty(),
                &path.child("conversionReviewVersions"),
            ),
        ] {
            if given {
                errors.forbidden(
                    path,
                    "should not be set when strategy is not set to Webhook",
                );
            }
        }
        return;
    }
    match hook.some("clientConfig") {
        None => errors.required(&at, "required when strategy is set to Webhook"),
        Some(config) => {
            webhook::client_config(config, &at, errors);
            let bundle = config.text("caBundle");
            if !bundle.is_empty() && !options.any_bundle {
                ca_bundle(bundle, &at.child("caBundle"), errors);
            }
        }
    }
    let at = path.child("conversionReviewVersions");
    review_versions(hook, options.known_review, &at, errors);
}

fn review_versions(hook: &Value, known: bool, path: &Path, errors: &mut Errors) {
    let given: Vec<&str> = hook.texts("conversionReviewVersions").collect();
    if given.is_empty() {
        return errors.required(path, "");
    }
    for (index, version) in given.iter().enumerate() {
        let path = path.index(index);
        if given[..index].contains(version) {
            errors.invalid(&path, *version, "duplicate version");
        } else {
            errors.invalid_all(&path, version, names::is_dns1035_label(version));
        }
    }
    if known && !speaks(&given) {
        let said = format!("must include at least one of {}", REVIEWS.join(", "));
        errors.invalid(path, given, said);
    }
}

fn speaks(versions: &[&str]) -> bool {
    versions.iter().any(|version| REVIEWS.contains(version))
}

/// Whether a conversion that is there names a review that this server speaks, or none at all.
pub fn has_known_review(conversion: &Value) -> bool {
    let given: Vec<&str> = conversion
        .at("webhook")
        .texts("conversionReviewVersions")
        .collect();
    given.is_empty() || speaks(&given)
}

/// Whether a conversion has a bundle that holds no certificate.
pub fn has_bad_bundle(conversion: &Value) -> bool {
    let bundle = conversion.at("webhook").at("clientConfig").text("caBundle");
    !bundle.is_empty()
        && !checks::is_good(|errors| ca_bundle(bundle, &Path::new("caBundle"), errors))
}

/// Certificates in PEM, of which one at least can be read.
fn ca_bundle(bundle: &str, path: &Path, errors: &mut Errors) {
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(bundle)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let said = match certificates(decoded.as_deref().unwrap_or("")) {
        Bundle::Good => return,
        Bundle::NoPem => "unable to parse bytes as PEM block",
        Bundle::Malformed => "failed to parse certificate: x509: malformed certificate",
        Bundle::NoCertificate => "no valid certificate authority data seen",
    };
    errors.invalid(
        path,
        bundle,
        format!("unable to load root certificates: {said}"),
    );
}

enum Bundle {
    Good,
    NoPem,
    Malformed,
    NoCertificate,
}

/// What is in a bundle: a certificate is a sequence of DER whose length is that of its block.
fn certificates(text: &str) -> Bundle {
    let (mut rest, mut blocks, mut malformed) = (text, 0, false);
    while let Some(block) = pem::next(rest) {
        (rest, blocks) = (block.rest, blocks + 1);
        if block.kind != "CERTIFICATE" {
            continue;
        }
        if block.is_sequence() {
            return Bundle::Good;
        }
        malformed = true;
    }
    if malformed {
        Bundle::Malformed
    } else if blocks == 0 || !rest.is_empty() {
        Bundle::NoPem
    } else {
        Bundle::NoCertificate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_objects_are_converted() {
        let strict = Options {
            known_review: true,
            any_bundle: false,
        };
        let hook = |change: (&str, Value)| {
            let mut hook =
                json!({"clientConfig": {"url": "https://a"}, "conversionReviewVersions": ["v1"]});
            hook[change.0] = change.1;
            json!({"strategy": "Webhook", "webhook": hook})
        };
        let unset = "should not be set when strategy is not set to Webhook";
        for (conversion, said) in [
            (json!({"strategy": "None"}), "[]".to_string()),
            (json!({}), "c.strategy: Required value".into()),
            (json!({"strategy": "x"}), "c.strategy: Unsupported value: \"x\": supported values: \"None\", \"Webhook\"".into()),
            (
                json!({"strategy": "None", "webhook": {"clientConfig": {}, "conversionReviewVersions": ["v1"]}}),
                format!("[c.webhookClientConfig: Forbidden: {unset}, c.conversionReviewVersions: Forbidden: {unset}]"),
            ),
            (
                json!({"strategy": "Webhook"}),
                "[c.webhookClientConfig: Required value: required when strategy is set to Webhook, c.conversionReviewVersions: Required value]".into(),
            ),
            (hook(("clientConfig", json!({}))), "c.webhookClientConfig: Required value: exactly one of url or service is required".into()),
            (
                hook(("clientConfig", json!({"url": "https://a", "caBundle": "YWJj"}))),
                "c.webhookClientConfig.caBundle: Invalid value: \"YWJj\": unable to load root certificates: unable to parse bytes as PEM block".into(),
            ),
            (hook(("conversionReviewVersions", json!(["v1", "v1"]))), "c.conversionReviewVersions[1]: Invalid value: \"v1\": duplicate version".into()),
            (
                hook(("conversionReviewVersions", json!(["v2"]))),
                "c.conversionReviewVersions: Invalid value: [\"v2\"]: must include at least one of v1, v1beta1".into(),
            ),
        ] {
            let errors = Errors::of(|errors| validate(&conversion, &strict, &Path::new("c"), errors));
            assert_eq!(errors.message(), said, "{conversion}");
        }
        let lenient = Options {
            known_review: false,
            any_bundle: true,
        };
        let odd = hook(("conversionReviewVersions", json!(["v2"])));
        assert!(Errors::of(|errors| validate(&odd, &lenient, &Path::new("c"), errors)).is_empty());
        assert!(!has_known_review(&odd) && has_known_review(&json!({})));
    }

    #[test]
    fn bundles() {
        let pem = |kind: &str, der: &[u8]| {
            let body = base64::engine::general_purpose::STANDARD.encode(der);
            format!("-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n")
        };
        let good = pem("CERTIFICATE", &[0x30, 1, 0]);
        let bad = pem("CERTIFICATE", &[1]);
        for (text, wanted) in [
            (good.clone(), 'g'),
            (format!("{bad}{good}"), 'g'),
            (bad, 'm'),
            (pem("KEY", &[0x30, 1, 0]), 'c'),
            ("x".into(), 'p'),
        ] {
            let found = match certificates(&text) {
                Bundle::Good => 'g',
                Bundle::Malformed => 'm',
                Bundle::NoCertificate => 'c',
                Bundle::NoPem => 'p',
            };
            assert_eq!(found, wanted, "{text}");
        }
    }
}
