//! Deletes certificate requests that nobody needs any more.
//!
//! Invariant: a pending request lives for a day, one that was decided for an hour, and a certificate's no longer than the certificate.
//! Follows pkg/controller/certificates/cleaner/cleaner.go.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::certificates::v1::CertificateSigningRequest, apimachinery::pkg::apis::meta::v1::Time,
};
use x509_parser::{certificate::X509Certificate, pem::parse_x509_pem, prelude::FromDer};

use super::{APPROVED, DENIED, FAILED, conditions, has, is_issued};
use crate::{clock::since, prelude::*, runner::every};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// `certificatesigningrequest-cleaner-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let (api, clock, requests) = (
        context.api.clone(),
        context.clock.clone(),
        context.informer(),
    );
    Ok(Some(Box::pin(every(
        clock.clone(),
        HOUR,
        context.stop.clone(),
        move || {
            let (api, now, requests) = (api.clone(), clock.now(), requests.clone());
            async move { clean(&api, now, &requests).await }
        },
    ))))
}

async fn clean(api: &Api, now: Timestamp, requests: &Informer<CertificateSigningRequest>) {
    for request in requests.list() {
        if is_over(&request, now) {
            let deleted = api
                .delete::<CertificateSigningRequest>(
                    &Key::of(&request.metadata),
                    &Delete::default(),
                )
                .await;
            if let Err(error) = unless_gone(deleted) {
                tracing::warn!(csr = request.metadata.name, %error, "cannot delete the certificate request");
            }
        }
    }
}

fn is_over(request: &CertificateSigningRequest, now: Timestamp) -> bool {
    let older =
        |time: Option<&Time>, age: Duration| time.is_some_and(|time| since(now, time.0) > age);
    let decided = |type_: &str, age: Duration| {
        conditions(request)
            .iter()
            .any(|c| c.type_ == type_ && older(c.last_update_time.as_ref(), age))
    };
    if conditions(request).is_empty() && older(request.metadata.creation_timestamp.as_ref(), DAY) {
        return true;
    }
    let approved_for = if is_issued(request) { HOUR } else { DAY };
    decided(DENIED, HOUR)
        || decided(FAILED, HOUR)
        || decided(APPROVED, approved_for)
        || has(request, APPROVED) && has_expired(request, now)
}

/// Whether there is a certificate that can be read and whose time has passed.
fn has_expired(request: &CertificateSigningRequest, now: Timestamp) -> bool {
    let Some(pem) = request.status().certificate.as_ref() else {
        return false;
    };
    let Ok((_, block)) = parse_x509_pem(&pem.0) else {
        return false;
    };
    X509Certificate::from_der(&block.contents).is_ok_and(|(_, certificate)| {
        now.as_second() > certificate.validity().not_after.timestamp()
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    /// A certificate that ends with the year 2000.
    fn old_certificate() -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(1999, 1, 1);
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        params
            .self_signed(&KeyPair::generate().unwrap())
            .unwrap()
            .pem()
            .into_bytes()
    }

    #[test]
    fn what_is_over() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let ago = |hours: i64| {
            Some(Time(
                now - jiff::SignedDuration::from_secs(hours * 3600 + 1),
            ))
        };
        let request = |created: i64, type_: &str, hours: i64, certificate: &[u8]| {
            let mut request = CertificateSigningRequest::default();
            request.metadata.creation_timestamp = ago(created);
            let status = request.status.get_or_insert_default();
            if !type_.is_empty() {
                let condition = super::super::condition(type_, "", String::new());
                status.conditions = Some(vec![
                    k8s_openapi::api::certificates::v1::CertificateSigningRequestCondition {
                        last_update_time: ago(hours),
                        ..condition
                    },
                ]);
            }
            status.certificate =
                (!certificate.is_empty()).then(|| ByteString(certificate.to_vec()));
            request
        };
        let old = old_certificate();
        #[rustfmt::skip]
        let cases = [
            ("pending", request(23, "", 0, b""), false),
            ("pending too long", request(24, "", 0, b""), true),
            ("approved, not issued", request(30, "Approved", 23, b""), false),
            ("approved and never issued", request(30, "Approved", 24, b""), true),
            ("issued just now", request(30, "Approved", 0, b"x"), false),
            ("issued", request(30, "Approved", 1, b"x"), true),
            ("denied just now", request(30, "Denied", 0, b""), false),
            ("denied", request(30, "Denied", 1, b""), true),
            ("failed", request(30, "Failed", 1, b""), true),
            ("expired", request(0, "Approved", 0, &old), true),
            ("expired but not approved", request(0, "Other", 0, &old), false),
        ];
        for (name, request, expected) in cases {
            assert_eq!(is_over(&request, now), expected, "{name}");
        }
    }
}
