//! ConversionReview: what a webhook is asked, and what is read of its answer.
//!
//! Invariant: an answer that is not one to this question is an error. In v1 it bears the uid of the question and says its own kind; v1beta1 never asked
//! for that. Follows `createConversionReviewObjects` and `getConvertedObjectsFromResponse` of
//! `staging/src/k8s.io/apiextensions-apiserver/pkg/apiserver/conversion/webhook_converter.go`.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::read::Read;

use crate::webhook::{self, AnswerError, Version};

const GROUP: &str = "apiextensions.k8s.io";
const KIND: &str = "ConversionReview";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a> {
    kind: &'static str,
    api_version: String,
    request: Request<'a>,
    /// As Go writes one that says nothing.
    response: Value,
}

#[derive(Serialize)]
struct Request<'a> {
    uid: &'a str,
    #[serde(rename = "desiredAPIVersion")]
    desired_api_version: &'a str,
    objects: &'a [Value],
}

/// The question how `objects` are in the version `wanted`, as a webhook that knows this version of reviews reads it.
pub fn question(
    version: Version,
    uid: &str,
    wanted: &str,
    objects: &[Value],
) -> serde_json::Result<Bytes> {
    let review = Review {
        kind: KIND,
        api_version: version.of_group(GROUP),
        request: Request {
            uid,
            desired_api_version: wanted,
            objects,
        },
        response: json!({"uid": "", "convertedObjects": null, "result": {"metadata": {}}}),
    };
    serde_json::to_vec(&review).map(Bytes::from)
}

/// What is wrong with an answer.
#[derive(thiserror::Error, Debug, PartialEq)]
pub enum InvalidAnswer {
    #[error(
        "expected webhook response of {GROUP}/v1, Kind={KIND}, got {group_version}, Kind={kind}"
    )]
    Kind { group_version: String, kind: String },
    #[error("no response provided")]
    Absent,
    #[error("expected response.uid={expected}, got {got}", expected = GoQuoted(.expected), got = GoQuoted(.got))]
    Uid { expected: String, got: String },
    #[error("response.result.status was '{0}', not 'Success'")]
    Status(String),
    /// In the webhook's own words.
    #[error("{0}")]
    Refused(String),
}

/// Reads an answer as a document.
///
/// # Errors
/// It is no review of this version.
pub fn read(version: Version, document: &[u8]) -> Result<Value, AnswerError> {
    webhook::review(
        version,
        (GROUP, KIND, "apiextensions.v1.ConversionReview"),
        document,
    )
}

/// The objects of an answer.
///
/// # Errors
/// It is not one to the question `uid`, or says that they could not be converted.
pub fn objects(
    version: Version,
    uid: &str,
    mut review: Value,
) -> Result<Vec<Value>, InvalidAnswer> {
    if version == Version::V1 {
        let (api_version, kind) = (review.text("apiVersion"), review.text("kind"));
        if (api_version, kind) != (version.of_group(GROUP).as_str(), KIND) {
            return Err(InvalidAnswer::Kind {
                group_version: match api_version.contains('/') {
                    true => api_version.into(),
                    false => format!("/{api_version}"),
                },
                kind: kind.into(),
            });
        }
    }
    let response = review.some("response").ok_or(InvalidAnswer::Absent)?;
    if version == Version::V1 && response.text("uid") != uid {
        return Err(InvalidAnswer::Uid {
            expected: uid.into(),
            got: response.text("uid").into(),
        });
    }
    let result = response.at("result");
    match (result.text("status"), result.text("message")) {
        ("Success", _) => {}
        (status, "") => return Err(InvalidAnswer::Status(status.into())),
        (_, message) => return Err(InvalidAnswer::Refused(message.into())),
    }
    match review
        .pointer_mut("/response/convertedObjects")
        .map(Value::take)
    {
        Some(Value::Array(objects)) => Ok(objects),
        _ => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_do_not_hold() {
        let review = |response: Value| json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": KIND, "response": response});
        let success = json!({"status": "Success"});
        for (version, answer, said) in [
            (
                Version::V1,
                json!({"response": {"uid": "u"}}),
                Some(
                    "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got /, Kind=",
                ),
            ),
            (
                Version::V1,
                review(Value::Null),
                Some("no response provided"),
            ),
            (
                Version::V1,
                review(json!({"uid": "v", "result": success})),
                Some("expected response.uid=\"u\", got \"v\""),
            ),
            (
                Version::V1,
                review(json!({"uid": "u"})),
                Some("response.result.status was '', not 'Success'"),
            ),
            (
                Version::V1,
                review(json!({"uid": "u", "result": {"status": "Failure", "message": "no way"}})),
                Some("no way"),
            ),
            (
                Version::V1,
                review(json!({"uid": "u", "result": success})),
                None,
            ),
            (
                Version::V1Beta1,
                json!({"response": {"result": success}}),
                None,
            ),
            (Version::V1Beta1, json!({}), Some("no response provided")),
        ] {
            let told = objects(version, "u", answer.clone()).map_err(|why| why.to_string());
            assert_eq!(told.err().as_deref(), said, "{answer}");
        }
    }

    #[test]
    fn objects_are_read_as_they_were_written() {
        let answer = br#"{"kind":"ConversionReview","apiVersion":"apiextensions.k8s.io/v1","response":{"uid":"u","result":{"status":"Success"},
            "convertedObjects":[{"kind":"A","empty":{},"list":[],"null":null,"large":9007199254740993}]}}"#;
        let read = read(Version::V1, answer).unwrap();
        let objects = objects(Version::V1, "u", read).unwrap();
        assert_eq!(
            objects,
            [
                json!({"kind": "A", "empty": {}, "list": [], "null": null, "large": 9_007_199_254_740_993_i64})
            ]
        );
    }
}
