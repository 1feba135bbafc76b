//! A webhook that decides: it is asked with a SubjectAccessReview.
//!
//! Invariant: who cannot be asked does not allow anything; whether that denies is its failure policy. An answer that both allows and denies denies.
//! Follows `staging/src/k8s.io/apiserver/plugin/pkg/authorizer/webhook/webhook.go`.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use skiff_api::machinery::{
    field::{Errors, Path},
    read::Read,
    schema::{self, Node, Schema, TypeError},
    selector::{FieldSelector, Operator, Selector},
};

use super::{
    Error,
    conditions::{Conditions, Unevaluated},
    config::{WebhookConfiguration, duration},
};
use crate::{
    access::{cache::Cache, client::Client, kubeconfig, retry},
    auth::{Attributes, Decision, RemoteAuthorizer, Rules, User, Verdict},
    dial::Behind,
    webhook::{self, AnswerError, AskError},
};

const KIND: &str = "SubjectAccessReview";
const V1BETA1: &str = "authorization.k8s.io/v1beta1";
const MOST_REMEMBERED: usize = 8192;
/// What a client says of a request that is longer, in bytes, is not remembered.
const LONGEST_REMEMBERED: usize = 10_000;

pub struct Webhook {
    name: String,
    client: Client,
    api_version: &'static str,
    timeout: Duration,
    /// How long what allows and what does not is remembered.
    ttl: [Duration; 2],
    /// Who cannot be asked denies.
    denies: bool,
    conditions: Conditions,
    /// By the question.
    known: Cache<Bytes, Status>,
}

#[derive(Clone, Debug)]
struct Status {
    allowed: bool,
    denied: bool,
    reason: String,
}

/// Why there is no answer.
#[derive(thiserror::Error, Debug)]
enum Unanswered {
    #[error("{0}")]
    Conditions(#[from] Unevaluated),
    #[error("{0}")]
    Ask(#[from] AskError),
    #[error("{0}")]
    Answer(#[from] AnswerError),
    #[error("{0}")]
    Question(#[from] TypeError),
}

fn node() -> Node<'static> {
    Schema::builtin()
        .get("authorization.v1.SubjectAccessReview")
        .unwrap_or_else(|| panic!("SubjectAccessReview is not in the schema table"))
}

impl Webhook {
    /// One of a configuration that has been found to be right.
    ///
    /// # Errors
    /// Its kubeconfig is not.
    pub fn new(
        name: &str,
        config: &WebhookConfiguration,
        behind: Option<Behind>,
    ) -> Result<Webhook, Error> {
        let Some(file) = &config.connection_info.kubeconfig_file else {
            return Err(Error::InCluster(name.into()));
        };
        let failed = |error| Error::Kubeconfig {
            name: name.into(),
            error,
        };
        let mut errors = Errors::default();
        let conditions = Conditions::compile(&config.match_conditions, &Path::WHOLE, &mut errors);
        if !errors.is_empty() {
            return Err(Error::Invalid(errors));
        }
        let api_version = match config.subject_access_review_version.as_str() {
            "v1" => "authorization.k8s.io/v1",
            "v1beta1" => V1BETA1,
            other => return Err(Error::Version(other.into())),
        };
        let ttl = |kept: Option<bool>, nanos| match kept {
            Some(false) => Duration::ZERO,
            _ => duration(nanos),
        };
        Ok(Webhook {
            name: name.into(),
            client: kubeconfig::client(file.as_ref(), behind).map_err(failed)?,
            api_version,
            timeout: duration(config.timeout),
            ttl: [
                ttl(config.cache_authorized_requests, config.authorized_ttl),
                ttl(config.cache_unauthorized_requests, config.unauthorized_ttl),
            ],
            denies: config.failure_policy == "Deny",
            conditions,
            known: Cache::new(MOST_REMEMBERED),
        })
    }

    fn question(&self, spec: Value) -> Result<Bytes, TypeError> {
        let mut review = json!({"kind": KIND, "apiVersion": self.api_version, "spec": spec, "status": {"allowed": false}});
        schema::conform(&mut review, node())?;
        if self.api_version == V1BETA1 {
            // this version has another name for them
            if let Some(spec) = review["spec"].as_object_mut()
                && let Some(groups) = spec.remove("groups")
            {
                spec.insert("group".into(), groups);
            }
        }
        Ok(schema::to_json(&review, Some(node())).into())
    }

    /// What it says; `None`: it is not to be asked.
    async fn status(&self, attributes: &Attributes) -> Result<Option<Status>, Unanswered> {
        let spec = spec(attributes);
        if !self.conditions.is_empty() && !self.conditions.hold(&spec)? {
            return Ok(None);
        }
        let question = self.question(spec)?;
        if let Some(known) = self.known.get(&question) {
            return Ok(Some(known));
        }
        let document = retry::post(&self.client, &question, self.timeout).await?;
        let answer = webhook::decoded(&document, KIND, &[self.api_version], node())?;
        let said = answer.at("status");
        let status = Status {
            allowed: said.flag("allowed"),
            denied: said.flag("denied"),
            reason: said.text("reason").into(),
        };
        if told(attributes) < LONGEST_REMEMBERED {
            let ttl = self.ttl[usize::from(!status.allowed)];
            self.known.put(question, status.clone(), ttl);
        }
        Ok(Some(status))
    }
}

/// How much of a request its sender has made up.
fn told(of: &Attributes) -> usize {
    let texts = [
        &of.namespace,
        &of.verb,
        &of.group,
        &of.version,
        &of.resource,
        &of.subresource,
        &of.name,
        &of.path,
        &of.field_selector,
        &of.label_selector,
    ];
    texts.iter().map(|text| text.len()).sum()
}

#[async_trait]
impl RemoteAuthorizer for Webhook {
    async fn authorize(&self, attributes: &Attributes) -> Verdict {
        match self.status(attributes).await {
            Ok(None) => Decision::NoOpinion(String::new()).into(),
            Ok(Some(Status {
                allowed,
                denied,
                reason,
            })) => match (denied, allowed) {
                (true, true) => Verdict {
                    decision: Decision::Deny(reason),
                    errors: vec![
                        "webhook subject access review returned both allow and deny response"
                            .into(),
                    ],
                },
                (true, false) => Decision::Deny(reason).into(),
                (false, true) => Decision::Allow(reason).into(),
                (false, false) => Decision::NoOpinion(reason).into(),
            },
            Err(why) => {
                tracing::error!(
                    "Failed to make webhook authorizer request to {:?}: {why}",
                    self.name
                );
                Verdict {
                    decision: match self.denies {
                        true => Decision::Deny(String::new()),
                        false => Decision::NoOpinion(String::new()),
                    },
                    errors: vec![why.to_string()],
                }
            }
        }
    }

    fn rules(&self, _: &User, _: &str) -> Rules {
        Rules {
            incomplete: true,
            errors: vec!["webhook authorizer does not support user rule resolution".into()],
            ..Rules::default()
        }
    }
}

/// A request as the `spec` of a SubjectAccessReview.
fn spec(of: &Attributes) -> Value {
    let user = &of.user;
    let mut spec =
        json!({"user": user.name, "groups": user.groups, "extra": user.extra, "uid": user.uid});
    if !of.resource_request {
        spec["nonResourceAttributes"] = json!({"path": of.path, "verb": of.verb});
        return spec;
    }
    let mut resource = json!({"namespace": of.namespace, "verb": of.verb, "group": of.group, "version": of.version,
        "resource": of.resource, "subresource": of.subresource, "name": of.name});
    for (name, requirements) in [
        ("fieldSelector", fields(&of.field_selector)),
        ("labelSelector", labels(&of.label_selector)),
    ] {
        if !requirements.is_empty() {
            resource[name] = json!({ "requirements": requirements });
        }
    }
    spec["resourceAttributes"] = resource;
    spec
}

/// Selectors narrow what is asked for: one that cannot be read is left out, so that more is asked about than is wanted.
fn fields(text: &str) -> Vec<Value> {
    let Ok(selector) = text.parse::<FieldSelector>() else {
        return Vec::new();
    };
    let terms = selector.terms().iter();
    let shown = terms.map(|term| {
        let operator = if term.equal { "In" } else { "NotIn" };
        json!({"key": term.field, "operator": operator, "values": [term.value]})
    });
    shown.collect()
}

fn labels(text: &str) -> Vec<Value> {
    let Ok(selector) = text.parse::<Selector>() else {
        return Vec::new();
    };
    let requirements = selector.requirements().iter();
    let shown = requirements.filter_map(|requirement| {
        let operator = match requirement.operator() {
            Operator::Equals | Operator::DoubleEquals | Operator::In => "In",
            Operator::NotEquals | Operator::NotIn => "NotIn",
            Operator::Exists => "Exists",
            Operator::DoesNotExist => "DoesNotExist",
            // a review has no word for these; without them it asks about more, too
            Operator::GreaterThan | Operator::LessThan => return None,
        };
        let values: Vec<&str> = requirement.values().collect();
        let mut shown = json!({"key": requirement.key(), "operator": operator});
        if !values.is_empty() {
            shown["values"] = json!(values);
        }
        Some(shown)
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_as_requirements() {
        for (text, wanted) in [
            ("", json!([])),
            (
                "a=b,c!=d",
                json!([{"key": "a", "operator": "In", "values": ["b"]}, {"key": "c", "operator": "NotIn", "values": ["d"]}]),
            ),
            (
                "a in (b,c),!d,e",
                json!([{"key": "a", "operator": "In", "values": ["b", "c"]}, {"key": "d", "operator": "DoesNotExist"}, {"key": "e", "operator": "Exists"}]),
            ),
            ("a in", json!([])),
        ] {
            assert_eq!(json!(labels(text)), wanted, "{text}");
        }
        assert_eq!(
            json!(fields("spec.nodeName=n,metadata.name!=x")),
            json!([{"key": "metadata.name", "operator": "NotIn", "values": ["x"]}, {"key": "spec.nodeName", "operator": "In", "values": ["n"]}])
        );
    }
}
