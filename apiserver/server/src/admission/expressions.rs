//! Expressions about a write: what they are given, what they may cost, and conditions that say whether somebody is asked at all.
//!
//! Invariant: an expression is compiled when the object that has it is taken in; nothing of a write is copied for one that does not look at it.
//! Follows `staging/src/k8s.io/apiserver/pkg/admission/plugin/cel/{activation,condition}.go` and `.../plugin/webhook/matchconditions/matcher.go`.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use skiff_api::{
    kinds::Kind,
    machinery::{
        aggregate::aggregate,
        cel::{
            Activation, Compiled, MATCH_CONDITIONS_BUDGET, PER_CALL_LIMIT, Value,
            admission::{
                AUTHORIZER, Compiler, Fault, Gives, NAMESPACE_OBJECT, OBJECT, OLD_OBJECT, PARAMS,
                REQUEST, REQUEST_RESOURCE,
            },
            library::authorizer::{self, Answer, Question, Resource, What},
            value::from_json,
        },
        read::Read,
        selector::{FieldSelector, Selector},
    },
};

use super::{matching, plugin::Attributes};
use crate::auth::{self, User, authorize::Authorizers};

/// The expressions of one write have cost all that they may.
#[derive(thiserror::Error, Debug, PartialEq, Eq, Clone, Copy)]
#[error(
    "validation failed due to running out of cost budget, no further validation rules will be run"
)]
pub struct OutOfBudget;

/// Why an expression has no value, in upstream's words.
#[derive(thiserror::Error, Debug, PartialEq, Eq, Clone)]
#[error("{0}")]
pub struct Unevaluated(pub String);

/// An expression that was compiled, or why it cannot be.
#[derive(Debug)]
pub struct Expression {
    pub text: String,
    compiled: Result<Compiled, String>,
}

impl Expression {
    pub fn new(text: &str, compiled: Result<Compiled, Fault>) -> Expression {
        Expression {
            text: text.into(),
            compiled: compiled.map_err(|fault| fault.to_string()),
        }
    }

    /// What a variable of this expression stands for.
    pub fn as_variable(&self) -> Result<&Compiled, &str> {
        self.compiled.as_ref().map_err(String::as_str)
    }

    /// Its value, paid for from `budget`.
    ///
    /// # Errors
    /// The budget is used up; within: there is no value.
    pub fn evaluate<'a>(
        &'a self,
        activation: &Activation<'a>,
        budget: &mut u64,
    ) -> Result<Result<Value<'a>, Unevaluated>, OutOfBudget> {
        let compiled = match &self.compiled {
            Ok(compiled) => compiled,
            Err(why) => return Ok(Err(Unevaluated(format!("compilation error: {why}")))),
        };
        let (outcome, cost) = compiled.evaluate(activation, PER_CALL_LIMIT);
        for cost in [activation.take_lazy_cost(), cost] {
            *budget = budget.checked_sub(cost).ok_or(OutOfBudget)?;
        }
        Ok(outcome.map_err(|why| {
            Unevaluated(format!(
                "expression '{}' resulted in error: {why}",
                self.text
            ))
        }))
    }
}

/// What the expressions about a write are given.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    pub object: Option<&'a Json>,
    pub old: Option<&'a Json>,
    /// As [`request`] makes it.
    pub request: &'a Json,
    pub namespace: Option<&'a Json>,
    pub params: Option<&'a Json>,
    /// `None`: the expressions cannot ask.
    pub asker: Option<&'a Asker>,
}

impl<'a> Input<'a> {
    pub fn activation(&self) -> Activation<'a> {
        let read = |json: Option<&'a Json>| json.map_or(Value::Null, from_json);
        let mut activation = Activation::new()
            .with(OBJECT, read(self.object))
            .with(OLD_OBJECT, read(self.old))
            .with(REQUEST, from_json(self.request))
            .with(NAMESPACE_OBJECT, read(self.namespace))
            .with(PARAMS, read(self.params));
        if let Some(asker) = self.asker {
            let (ask, resource) = (asker.asking.clone(), asker.resource.clone());
            activation.set(AUTHORIZER, authorizer::authorizer(ask.clone()));
            activation.set(
                REQUEST_RESOURCE,
                authorizer::request_resource(ask, resource),
            );
        }
        activation
    }
}

/// The variable `request`, were it a request of this version.
pub fn request(attributes: &Attributes<'_>, kind: &Kind) -> Json {
    let of_kind = |kind: &Kind| {
        let (group, version, name) = attributes.kind_of_object(kind);
        json!({"group": group, "version": version, "kind": name})
    };
    let of_resource = |kind: &Kind| json!({"group": kind.group, "version": kind.version, "resource": kind.plural});
    let user = attributes.user;
    let mut info = json!({});
    for (name, value) in [("username", &user.name), ("uid", &user.uid)] {
        if !value.is_empty() {
            info[name] = value.as_str().into();
        }
    }
    if !user.groups.is_empty() {
        info["groups"] = user.groups.as_slice().into();
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    let mut request = json!({
        "uid": "",
        "kind": of_kind(kind),
        "resource": of_resource(kind),
        "requestKind": of_kind(attributes.asked),
        "requestResource": of_resource(attributes.asked),
        "operation": attributes.operation.name(),
        "userInfo": info,
        "object": null,
        "oldObject": null,
        "dryRun": attributes.dry_run,
        "options": attributes.options(),
    });
    for (name, value) in [
        ("subResource", attributes.subresource),
        ("requestSubResource", attributes.subresource),
        ("name", attributes.given_name()),
        ("namespace", matching::namespace_of(attributes)),
    ] {
        if !value.is_empty() {
            request[name] = value.into();
        }
    }
    request
}

/// What expressions see of a namespace.
pub fn namespace_object(namespace: &Json) -> Json {
    const METADATA: [&str; 12] = [
        "name",
        "generateName",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "labels",
        "annotations",
        "finalizers",
    ];
    let metadata = namespace.at("metadata");
    let kept = METADATA
        .iter()
        .filter_map(|name| Some((name.to_string(), metadata.some(name)?.clone())));
    let part = |name: &str| match namespace.some(name) {
        Some(part) => part.clone(),
        None => json!({}),
    };
    json!({
        "metadata": kept.collect::<serde_json::Map<_, _>>(),
        "spec": part("spec"),
        "status": part("status"),
    })
}

/// Answers what expressions ask about the rights of the one who writes, and of service accounts.
pub struct Asker {
    asking: Arc<Asking>,
    /// What the write is about.
    resource: Resource,
}

impl Asker {
    pub fn of(attributes: &Attributes<'_>) -> Asker {
        let asked = attributes.asked;
        Asker {
            asking: Arc::new(Asking {
                authorizers: attributes.core.authorizers.clone(),
                user: Arc::new(attributes.user.clone()),
            }),
            resource: Resource {
                group: asked.group.into(),
                resource: asked.plural.into(),
                subresource: attributes.subresource.into(),
                namespace: matching::namespace_of(attributes).into(),
                name: attributes.given_name().into(),
                ..Resource::default()
            },
        }
    }
}

struct Asking {
    authorizers: Authorizers,
    user: Arc<User>,
}

impl std::fmt::Debug for Asking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Asking").field(&self.user.name).finish()
    }
}

impl authorizer::Authorizer for Asking {
    fn authorize(&self, question: &Question) -> Answer {
        let user = match &question.service_account {
            None => self.user.clone(),
            Some((namespace, name)) => {
                let groups = [
                    auth::ALL_SERVICE_ACCOUNTS.to_string(),
                    format!("{}{namespace}", auth::SERVICE_ACCOUNT_GROUP_PREFIX),
                ];
                let name = format!("{}{namespace}:{name}", auth::SERVICE_ACCOUNT_PREFIX);
                let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
                Arc::new(User::new(name, &groups))
            }
        };
        let asked = auth::Attributes {
            user,
            verb: question.verb.clone(),
            ..match &question.what {
                What::Path(path) => auth::Attributes {
                    path: path.clone(),
                    ..Default::default()
                },
                What::Resource(resource) => of_resource(resource),
            }
        };
        let verdict = self.authorizers.decide_here(&asked);
        Answer {
            allowed: verdict.allowed(),
            reason: verdict.reason().into(),
            error: verdict.error(),
        }
    }
}

/// A selector that cannot be read narrows nothing.
fn of_resource(resource: &Resource) -> auth::Attributes {
    let readable = |text: &str, reads: bool| {
        if reads {
            text.to_string()
        } else {
            String::new()
        }
    };
    let (fields, labels) = (&resource.field_selector, &resource.label_selector);
    auth::Attributes {
        resource_request: true,
        group: resource.group.clone(),
        version: "*".into(),
        resource: resource.resource.clone(),
        subresource: resource.subresource.clone(),
        namespace: resource.namespace.clone(),
        name: resource.name.clone(),
        field_selector: readable(fields, fields.parse::<FieldSelector>().is_ok()),
        label_selector: readable(labels, labels.parse::<Selector>().is_ok()),
        ..Default::default()
    }
}

/// `matchConditions`: all must hold for a webhook or policy to be asked.
#[derive(Debug, Default)]
pub struct Conditions(Vec<Expression>);

impl Conditions {
    /// Those of `owner`, compiled in the environment of its expressions.
    pub fn read(owner: &Json, compiler: &Compiler) -> Conditions {
        let conditions = owner.list("matchConditions").iter().map(|condition| {
            let text = condition.text("expression");
            Expression::new(text, compiler.compile(text, Gives::Bool))
        });
        Conditions(conditions.collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all hold. One that does not is reason enough, whatever is wrong with others.
    ///
    /// # Errors
    /// None is false, and what is wrong with those that have no value; or they cost too much.
    pub fn hold<'a>(&'a self, activation: &Activation<'a>) -> Result<bool, Unevaluated> {
        let mut budget = MATCH_CONDITIONS_BUDGET;
        let mut values = Vec::with_capacity(self.0.len());
        for condition in &self.0 {
            let value = condition.evaluate(activation, &mut budget);
            values.push(value.map_err(|out| Unevaluated(out.to_string()))?);
        }
        let is_false = |value: &Result<Value<'_>, Unevaluated>| {
            value
                .as_ref()
                .is_ok_and(|value| value.as_bool() == Some(false))
        };
        if values.iter().any(is_false) {
            return Ok(false);
        }
        let wrong = values.into_iter().filter_map(Result::err);
        match aggregate(wrong.map(|why| why.0)) {
            Some(why) => Err(Unevaluated(why)),
            None => Ok(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(conditions: &[&str], object: &Json) -> Result<bool, String> {
        let owner = json!({"matchConditions": conditions.iter().map(|text| json!({"name": "c", "expression": text})).collect::<Vec<_>>()});
        let conditions = Conditions::read(&owner, &Compiler::new(false));
        let input = Input {
            object: Some(object),
            old: None,
            request: &json!({}),
            namespace: None,
            params: None,
            asker: None,
        };
        conditions.hold(&input.activation()).map_err(|why| why.0)
    }

    #[test]
    fn conditions_hold_together() {
        let object = json!({"a": 1, "b": "x"});
        let wrong = |text: &str| format!("expression '{text}' resulted in error: no such key: c");
        for (conditions, wanted) in [
            (vec![], Ok(true)),
            (vec!["object.a == 1"], Ok(true)),
            (vec!["object.a == 1", "object.b == 'y'"], Ok(false)),
            (vec!["object.c == 1", "object.b == 'y'"], Ok(false)),
            (
                vec!["object.a == 1", "object.c == 1"],
                Err(wrong("object.c == 1")),
            ),
            (
                vec!["object.c == 1", "object.c == 2"],
                Err(format!(
                    "[{}, {}]",
                    wrong("object.c == 1"),
                    wrong("object.c == 2")
                )),
            ),
            (
                vec!["object.a"],
                Err("compilation error: must evaluate to bool but got dyn".to_string()),
            ),
            (
                vec!["oldObject == null && namespaceObject == null"],
                Ok(true),
            ),
        ] {
            assert_eq!(hold(&conditions, &object), wanted, "{conditions:?}");
        }
    }

    #[test]
    fn conditions_cost_no_more_than_their_budget() {
        let object = json!({"list": (0..300).collect::<Vec<_>>()});
        let costly = "object.list.all(a, object.list.all(b, a + b >= 0))";
        assert_eq!(hold(&[costly], &object), Ok(true));
        assert_eq!(hold(&[costly; 8], &object), Err(OutOfBudget.to_string()));
    }

    #[test]
    fn what_is_seen_of_a_namespace() {
        let namespace = json!({"kind": "Namespace", "metadata": {"name": "a", "managedFields": [{}], "labels": {"x": "y"}}, "spec": {"finalizers": ["k"]}});
        assert_eq!(
            namespace_object(&namespace),
            json!({"metadata": {"name": "a", "labels": {"x": "y"}}, "spec": {"finalizers": ["k"]}, "status": {}})
        );
    }
}
