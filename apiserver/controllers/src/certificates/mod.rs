//! Certificate requests: approved when they are a node's own, signed when approved, and cleaned up in the end.
//!
//! Invariant: a request that has its certificate is never touched again but by the cleaner. Follows pkg/controller/certificates.

pub mod approver;
pub mod cleaner;
pub mod signer;

mod checks;
mod request;

use std::time::Duration;

use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition,
};
use skiff_podspec::parts::HasStatus;
use skiff_watching::queue::Retry;

/// How long they wait before they try again what failed.
const RETRY: Retry = Retry::from(Duration::from_millis(200));

const APPROVED: &str = "Approved";
const DENIED: &str = "Denied";
const FAILED: &str = "Failed";

/// The signers that Kubernetes itself has.
const SERVING: &str = "kubernetes.io/kubelet-serving";
const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
const LEGACY: &str = "kubernetes.io/legacy-unknown";

fn conditions(request: &CertificateSigningRequest) -> &[CertificateSigningRequestCondition] {
    request.status().conditions.as_deref().unwrap_or(&[])
}

fn condition(type_: &str, reason: &str, message: String) -> CertificateSigningRequestCondition {
    let (reason, message) = (Some(reason.to_string()), Some(message));
    CertificateSigningRequestCondition {
        type_: type_.into(),
        status: "True".into(),
        reason,
        message,
        ..Default::default()
    }
}

/// The request with one more condition.
fn with_condition(
    request: &CertificateSigningRequest,
    condition: CertificateSigningRequestCondition,
) -> CertificateSigningRequest {
    let mut request = request.clone();
    request
        .status
        .get_or_insert_default()
        .conditions
        .get_or_insert_default()
        .push(condition);
    request
}

/// Whether there is a condition of this type, whatever it says: approval and denial are always true.
fn has(request: &CertificateSigningRequest, type_: &str) -> bool {
    conditions(request).iter().any(|c| c.type_ == type_)
}

fn is_issued(request: &CertificateSigningRequest) -> bool {
    request
        .status()
        .certificate
        .as_ref()
        .is_some_and(|certificate| !certificate.0.is_empty())
}
