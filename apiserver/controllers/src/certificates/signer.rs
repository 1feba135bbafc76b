//! Signs approved requests of Kubernetes' own signers.
//!
//! Invariant: what fails its signer's checks gets the condition `Failed` and never a certificate. Follows
//! pkg/controller/certificates/signer/signer.go.

use std::time::Duration;

use k8s_openapi::{
    ByteString,
    api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec},
};

use super::{
    APPROVED, DENIED, FAILED, checks, condition, conditions, has, is_issued, request::Request,
    with_condition,
};
use crate::{options::Signer, prelude::*};
use skiff_api::machinery::quote::GoQuoted;

/// Nothing is signed for less than this.
const SHORTEST: Duration = Duration::from_secs(10 * 60);

struct Controller {
    api: Api,
    clock: Clock,
    sign: Signer,
    longest: Duration,
    requests: Informer<CertificateSigningRequest>,
}

/// `certificatesigningrequest-signing-controller`; has nothing to do without a signer.
pub fn start(context: &Context) -> Result<Work, Error> {
    let Some(sign) = context.options.cluster_signing.clone() else {
        return Ok(None);
    };
    let c = context.wire(
        "certificate",
        Controller {
            api: context.api.clone(),
            clock: context.clock.clone(),
            sign,
            longest: context.options.cluster_signing_duration,
            requests: context.informer(),
        },
    );
    c.each_there(&c.requests);
    Ok(c.workers())
}

/// For how long to sign: as asked, within the bounds.
fn duration(asked: Option<i32>, longest: Duration) -> Duration {
    match asked {
        None => longest,
        Some(seconds) => Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
            .max(SHORTEST)
            .min(longest),
    }
}

/// What is to happen to a request.
#[derive(Debug, PartialEq)]
enum Decision {
    Nothing,
    Fail(String),
    Sign,
}

fn decide(request: &CertificateSigningRequest) -> Result<Decision, Error> {
    let failed = conditions(request)
        .iter()
        .any(|c| c.type_ == FAILED && matches!(c.status.as_str(), "" | "True"));
    if is_issued(request) || !has(request, APPROVED) || has(request, DENIED) || failed {
        return Ok(Decision::Nothing);
    }
    let CertificateSigningRequestSpec {
        request: pem,
        signer_name,
        usages,
        ..
    } = &request.spec;
    if checks::check(signer_name, &Request::default(), &[]).is_none() {
        return Ok(Decision::Nothing);
    }
    let name = request.metadata.name();
    let parsed = Request::parse(&pem.0).map_err(|error| {
        failed!(
            "unable to parse csr {name}: {error}",
            name = GoQuoted(&name)
        )
    })?;
    Ok(
        match checks::check(signer_name, &parsed, usages.as_deref().unwrap_or(&[])) {
            None => Decision::Nothing,
            Some(Err(why)) => Decision::Fail(why.0),
            Some(Ok(())) => Decision::Sign,
        },
    )
}

impl Reconcile<Key> for Controller {
    const NAME: &'static str = "certificatesigningrequest-signing-controller";
    const RETRY: Retry = super::RETRY;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(request) = self.requests.get(key) else {
            return Ok(Next::DONE);
        };
        let new = match decide(&request)? {
            Decision::Nothing => return Ok(Next::DONE),
            Decision::Fail(why) => {
                let mut failed = condition(FAILED, "SignerValidationFailure", why);
                failed.last_update_time = Some(self.clock.time());
                with_condition(&request, failed)
            }
            Decision::Sign => {
                let spec = &request.spec;
                let seconds = duration(spec.expiration_seconds, self.longest).as_secs();
                let signed = (self.sign)(
                    &spec.request.0,
                    spec.usages.as_deref().unwrap_or(&[]),
                    i64::try_from(seconds).unwrap_or(i64::MAX),
                );
                let certificate =
                    signed.map_err(|error| failed!("error auto signing csr: {error}"))?;
                let mut new = (*request).clone();
                new.status.get_or_insert_default().certificate =
                    Some(ByteString(certificate.into_bytes()));
                new
            }
        };
        self.api.update_status(&new).await?;
        Ok(Next::DONE)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::request::tests::pem, *};

    #[test]
    fn how_long() {
        let hours = |n: u64| Duration::from_secs(n * 3600);
        for (asked, longest, expected) in [
            (None, hours(24), hours(24)),
            (Some(3600), hours(24), hours(1)),
            (Some(100_000), hours(24), hours(24)),
            (Some(60), hours(24), SHORTEST),
            (Some(-5), hours(24), SHORTEST),
        ] {
            assert_eq!(
                duration(asked, longest),
                expected,
                "{asked:?} of {longest:?}"
            );
        }
    }

    #[test]
    fn what_is_signed() {
        let request = |signer: &str, conditions: &[&str], pem: Vec<u8>| {
            let spec = CertificateSigningRequestSpec {
                request: ByteString(pem),
                signer_name: signer.into(),
                usages: Some(vec!["client auth".into(), "digital signature".into()]),
                ..Default::default()
            };
            let request = CertificateSigningRequest {
                spec,
                ..Default::default()
            };
            conditions.iter().fold(request, |request, type_| {
                with_condition(&request, condition(type_, "", String::new()))
            })
        };
        let kubelet = "kubernetes.io/kube-apiserver-client-kubelet";
        let node = || pem("system:node:n", &["system:nodes"], &[]);
        #[rustfmt::skip]
        let cases = [
            (request(kubelet, &["Approved"], node()), Decision::Sign),
            (request(kubelet, &[], node()), Decision::Nothing),
            (request(kubelet, &["Approved", "Denied"], node()), Decision::Nothing),
            (request(kubelet, &["Approved", "Failed"], node()), Decision::Nothing),
            (request("example.com/mine", &["Approved"], b"nonsense".to_vec()), Decision::Nothing),
            (request("kubernetes.io/other", &["Approved"], node()), Decision::Nothing),
            (request(kubelet, &["Approved"], pem("jane", &["system:nodes"], &[])), Decision::Fail("subject common name does not begin with system:node:".into())),
            (request("kubernetes.io/kube-apiserver-client", &["Approved"], pem("jane", &[], &[])), Decision::Sign),
        ];
        for (request, expected) in cases {
            assert_eq!(decide(&request).unwrap(), expected, "{request:?}");
        }
        let mut issued = request(kubelet, &["Approved"], node());
        issued.status.get_or_insert_default().certificate = Some(ByteString(b"x".to_vec()));
        assert_eq!(decide(&issued).unwrap(), Decision::Nothing);
        assert!(decide(&request(kubelet, &["Approved"], b"nonsense".to_vec())).is_err());
    }
}
