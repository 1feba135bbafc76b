//! AdmissionReview: what a webhook is asked, and what is read of its answer.
//!
//! Invariant: an answer that is not one to this question is an error. In v1 it bears the uid of the question and says its own kind; v1beta1 never asked
//! for that. Follows `staging/src/k8s.io/apiserver/pkg/admission/plugin/webhook/request/admissionreview.go`.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::{
    read::Read,
    status::{Cause, Details, Status},
};

use crate::{
    admission::{matching, plugin::Attributes, view::View},
    auth::User,
    webhook::{self, AnswerError, Version},
};

const GROUP: &str = "admission.k8s.io";
const KIND: &str = "AdmissionReview";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a> {
    kind: &'static str,
    api_version: String,
    request: Request<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    uid: &'a str,
    kind: GroupVersionKind<'a>,
    resource: GroupVersionResource<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    sub_resource: &'a str,
    request_kind: GroupVersionKind<'a>,
    request_resource: GroupVersionResource<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    request_sub_resource: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    namespace: &'a str,
    operation: &'static str,
    user_info: &'a User,
    object: Option<&'a Value>,
    old_object: Option<&'a Value>,
    dry_run: bool,
    options: Value,
}

#[derive(Serialize)]
struct GroupVersionKind<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
}

#[derive(Serialize)]
struct GroupVersionResource<'a> {
    group: &'a str,
    version: &'a str,
    resource: &'a str,
}

/// The question about a write, as a webhook of this version reads it.
pub fn question(
    version: Version,
    uid: &str,
    attributes: &Attributes<'_>,
    view: &View,
) -> serde_json::Result<Bytes> {
    let of_kind = |(group, version, kind)| GroupVersionKind {
        group,
        version,
        kind,
    };
    let (kind, asked) = (&view.kind, attributes.asked);
    let review = Review {
        kind: KIND,
        api_version: version.of_group(GROUP),
        request: Request {
            uid,
            kind: of_kind(attributes.kind_of_object(kind)),
            resource: GroupVersionResource {
                group: kind.group,
                version: kind.version,
                resource: kind.plural,
            },
            sub_resource: attributes.subresource,
            request_kind: of_kind(attributes.kind_of_object(asked)),
            request_resource: GroupVersionResource {
                group: asked.group,
                version: asked.version,
                resource: asked.plural,
            },
            request_sub_resource: attributes.subresource,
            name: attributes.name,
            namespace: matching::namespace_of(attributes),
            operation: attributes.operation.name(),
            user_info: attributes.user,
            object: view.object.as_ref(),
            old_object: view.old.as_ref(),
            dry_run: attributes.dry_run,
            options: attributes.options(),
        },
    };
    serde_json::to_vec(&review).map(Bytes::from)
}

/// What is wrong with an answer.
#[derive(thiserror::Error, Debug, PartialEq)]
pub enum InvalidAnswer {
    #[error("webhook response was absent")]
    Absent,
    #[error("expected response.uid={expected}, got {got}", expected = GoQuoted(.expected), got = GoQuoted(.got))]
    Uid { expected: String, got: String },
    #[error(
        "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got {group_version}, Kind={kind}"
    )]
    Kind { group_version: String, kind: String },
    #[error("webhook returned response.patch but not response.patchType")]
    NoPatchType,
    #[error("webhook returned response.patchType but not response.patch")]
    NoPatch,
    #[error("webhook returned invalid response.patchType of \"\"")]
    EmptyPatchType,
    #[error("validating webhook may not return response.patch")]
    Patch,
    #[error("validating webhook may not return response.patchType")]
    PatchType,
    #[error("response.patch: {0}")]
    Encoding(#[from] base64::DecodeError),
}

/// An answer that holds.
#[derive(Debug, Default, PartialEq)]
pub struct Verdict {
    pub allowed: bool,
    /// Empty: nothing is to be changed.
    pub patch: Vec<u8>,
    pub patch_type: String,
    /// `Null` where there is none.
    pub status: Value,
    pub warnings: Vec<String>,
    pub audit_annotations: BTreeMap<String, String>,
}

/// Reads an answer as a document.
///
/// # Errors
/// It is no review of this version.
pub fn read(version: Version, document: &[u8]) -> Result<Value, AnswerError> {
    webhook::review(
        version,
        (GROUP, KIND, "admission.v1.AdmissionReview"),
        document,
    )
}

/// What an answer says.
///
/// # Errors
/// It is not one to the question `uid`, or says what webhooks of its sort may not.
pub fn verdict(
    version: Version,
    uid: &str,
    mutating: bool,
    review: &Value,
) -> Result<Verdict, InvalidAnswer> {
    let response = review.some("response").ok_or(InvalidAnswer::Absent)?;
    let patch_type = response.text_ptr("patchType");
    let patch = STANDARD.decode(response.text("patch"))?;
    let (patch, patch_type) = match version {
        Version::V1 => {
            check_origin(uid, review, response)?;
            check_patch(mutating, &patch, patch_type)?;
            (patch, patch_type.unwrap_or(""))
        }
        Version::V1Beta1 if mutating && !patch.is_empty() => (patch, "JSONPatch"),
        Version::V1Beta1 => (Vec::new(), ""),
    };
    let annotations = response.map("auditAnnotations").into_iter().flatten();
    Ok(Verdict {
        allowed: response.flag("allowed"),
        patch,
        patch_type: patch_type.into(),
        status: response.some("status").cloned().unwrap_or_default(),
        warnings: response.texts("warnings").map(str::to_string).collect(),
        audit_annotations: annotations
            .map(|(key, value)| (key.clone(), value.as_str().unwrap_or("").to_string()))
            .collect(),
    })
}

fn check_origin(uid: &str, review: &Value, response: &Value) -> Result<(), InvalidAnswer> {
    let got = response.text("uid");
    if got != uid {
        return Err(InvalidAnswer::Uid {
            expected: uid.into(),
            got: got.into(),
        });
    }
    let (api_version, kind) = (review.text("apiVersion"), review.text("kind"));
    if (api_version, kind) != (Version::V1.of_group(GROUP).as_str(), KIND) {
        return Err(InvalidAnswer::Kind {
            group_version: match api_version.contains('/') {
                true => api_version.into(),
                false => format!("/{api_version}"),
            },
            kind: kind.into(),
        });
    }
    Ok(())
}

fn check_patch(
    mutating: bool,
    patch: &[u8],
    patch_type: Option<&str>,
) -> Result<(), InvalidAnswer> {
    match (mutating, patch.is_empty(), patch_type) {
        (true, false, None) => Err(InvalidAnswer::NoPatchType),
        (true, true, Some(_)) => Err(InvalidAnswer::NoPatch),
        (true, false, Some("")) => Err(InvalidAnswer::EmptyPatchType),
        (false, false, _) => Err(InvalidAnswer::Patch),
        (false, true, Some(_)) => Err(InvalidAnswer::PatchType),
        _ => Ok(()),
    }
}

/// The refusal of a webhook as its client is told.
pub fn refusal(webhook: &str, status: &Value) -> Status {
    let denied = format!(
        "admission webhook {webhook} denied the request",
        webhook = GoQuoted(&webhook)
    );
    let (message, reason) = (status.text("message"), status.text("reason"));
    let message = match (message, reason) {
        ("", "") => format!("{denied} without explanation"),
        ("", reason) => format!("{denied}: {reason}"),
        (message, _) => format!("{denied}: {message}"),
    };
    let code = match status.int("code") {
        ..400 => 400,
        code => u16::try_from(code).unwrap_or(500),
    };
    let mut refused = Status::new(code, "", message);
    refused.reason_given = Some(reason.into()).filter(|_| !reason.is_empty());
    refused.details = status.some("details").map(details);
    refused
}

fn details(details: &Value) -> Details {
    let text = |of: &Value, name: &str| of.text(name).to_string();
    let causes = details.list("causes").iter().map(|cause| Cause {
        reason: text(cause, "reason"),
        message: text(cause, "message"),
        field: text(cause, "field"),
    });
    Details {
        name: text(details, "name"),
        group: text(details, "group"),
        kind: text(details, "kind"),
        uid: text(details, "uid"),
        causes: causes.collect(),
        retry_after_seconds: i32::try_from(details.int("retryAfterSeconds")).unwrap_or(i32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn review(response: Value) -> Value {
        json!({"apiVersion": "admission.k8s.io/v1", "kind": KIND, "response": response})
    }

    #[test]
    fn answers_that_do_not_hold() {
        let said = |mutating, review: Value| {
            verdict(Version::V1, "u", mutating, &review)
                .map_err(|why| why.to_string())
                .map(|verdict| verdict.allowed)
        };
        let failed = |text: &str| Err(text.to_string());
        for (mutating, answer, wanted) in [
            (true, json!({}), failed("webhook response was absent")),
            (true, review(json!({"uid": "u", "allowed": true})), Ok(true)),
            (
                true,
                review(json!({"uid": "v"})),
                failed("expected response.uid=\"u\", got \"v\""),
            ),
            (
                true,
                json!({"response": {"uid": "u"}}),
                failed(
                    "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /, Kind=",
                ),
            ),
            (
                true,
                review(json!({"uid": "u", "patch": "W10="})),
                failed("webhook returned response.patch but not response.patchType"),
            ),
            (
                true,
                review(json!({"uid": "u", "patchType": "JSONPatch"})),
                failed("webhook returned response.patchType but not response.patch"),
            ),
            (
                true,
                review(json!({"uid": "u", "patch": "W10=", "patchType": ""})),
                failed("webhook returned invalid response.patchType of \"\""),
            ),
            (
                false,
                review(json!({"uid": "u", "patch": "W10="})),
                failed("validating webhook may not return response.patch"),
            ),
            (
                false,
                review(json!({"uid": "u", "patchType": "JSONPatch"})),
                failed("validating webhook may not return response.patchType"),
            ),
        ] {
            assert_eq!(said(mutating, answer.clone()), wanted, "{answer}");
        }
        let beta = verdict(
            Version::V1Beta1,
            "u",
            true,
            &json!({"response": {"patch": "W10="}}),
        )
        .unwrap();
        assert_eq!(
            (beta.patch, beta.patch_type.as_str()),
            (b"[]".to_vec(), "JSONPatch")
        );
    }

    #[test]
    fn documents_that_are_none() {
        let kind = |api_version: &str, kind: &str| {
            json!({"apiVersion": api_version, "kind": kind}).to_string()
        };
        let scheme = "in scheme \"k8s.io/apiserver/pkg/util/webhook/client.go:71\"";
        for (document, said) in [
            (
                "hello".into(),
                "couldn't get version/kind; json parse error: json: cannot unmarshal string into Go value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }".into(),
            ),
            (
                "{".to_string(),
                "couldn't get version/kind; json parse error: unexpected end of JSON input".into(),
            ),
            (kind("v1", "Pod"), format!("no kind \"Pod\" is registered for version \"v1\" {scheme}")),
            (
                kind("admission.k8s.io/v1beta1", KIND),
                "converting (v1beta1.AdmissionReview) to (v1.AdmissionReview): unknown conversion".into(),
            ),
        ] {
            assert_eq!(read(Version::V1, document.as_bytes()).unwrap_err().to_string(), said);
        }
        assert!(read(Version::V1, b"{}").is_ok());
    }

    #[test]
    fn refusals() {
        for (status, code, message) in [
            (
                json!(null),
                400,
                "admission webhook \"a.b.c\" denied the request without explanation",
            ),
            (
                json!({"reason": "Odd"}),
                400,
                "admission webhook \"a.b.c\" denied the request: Odd",
            ),
            (
                json!({"code": 403, "message": "no", "reason": "Odd"}),
                403,
                "admission webhook \"a.b.c\" denied the request: no",
            ),
            (
                json!({"code": 200}),
                400,
                "admission webhook \"a.b.c\" denied the request without explanation",
            ),
        ] {
            let refused = refusal("a.b.c", &status);
            assert_eq!((refused.code, refused.message.as_str()), (code, message));
            assert_eq!(refused.to_value().text("reason"), status.text("reason"));
        }
    }
}
