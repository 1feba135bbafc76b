//! Questions to an authorizer: `authorizer.group('apps').resource('deployments').namespace('x').check('create').allowed()`.
//!
//! Invariant: the engine only collects what is asked; who may do what is known to whoever implements [`Authorizer`].
//! Follows upstream's `staging/src/k8s.io/apiserver/pkg/cel/library/authz.go`.

use super::{text, value};
use crate::error::EvalError;
use crate::function::{Function, Library};
use crate::types::Type;
use crate::value::Outcome;
use crate::value::{Opaque, Value};
use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

pub const AUTHORIZER: &str = "kubernetes.authorization.Authorizer";
pub const PATH_CHECK: &str = "kubernetes.authorization.PathCheck";
pub const GROUP_CHECK: &str = "kubernetes.authorization.GroupCheck";
pub const RESOURCE_CHECK: &str = "kubernetes.authorization.ResourceCheck";
pub const DECISION: &str = "kubernetes.authorization.Decision";

/// Answers questions about the user of a request.
pub trait Authorizer: Debug + Send + Sync {
    fn authorize(&self, question: &Question) -> Answer;
}

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    /// The service account that is asked about, by namespace and name, in place of the user of the request.
    pub service_account: Option<(String, String)>,
    pub what: What,
    pub verb: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A path that is no resource's.
    Path(String),
    Resource(Resource),
}

impl Default for What {
    fn default() -> What {
        What::Path(String::new())
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resource {
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub field_selector: String,
    pub label_selector: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    pub allowed: bool,
    pub reason: String,
    pub error: Option<String>,
}

#[derive(Debug, Clone)]
struct Asker {
    authorizer: Arc<dyn Authorizer>,
    service_account: Option<(String, String)>,
}

#[derive(Debug)]
struct PathCheck(Asker, String);
#[derive(Debug)]
struct GroupCheck(Asker, String);
#[derive(Debug, Clone)]
struct ResourceCheck(Asker, Resource);
#[derive(Debug)]
struct Decision(Answer);

macro_rules! opaque {
    ($ty:ty, $name:expr) => {
        impl Opaque for $ty {
            fn type_name(&self) -> &'static str {
                $name
            }

            fn equals(&self, _: &dyn Opaque) -> Option<bool> {
                None
            }

            fn as_any(&self) -> &dyn Any {
                self
            }
        }
    };
}
opaque!(Asker, AUTHORIZER);
opaque!(PathCheck, PATH_CHECK);
opaque!(GroupCheck, GROUP_CHECK);
opaque!(ResourceCheck, RESOURCE_CHECK);
opaque!(Decision, DECISION);

/// The value of the variable `authorizer`.
pub fn authorizer<'a>(authorizer: Arc<dyn Authorizer>) -> Value<'a> {
    Value::opaque(Asker {
        authorizer,
        service_account: None,
    })
}

/// The value of the variable `authorizer.requestResource`.
pub fn request_resource<'a>(authorizer: Arc<dyn Authorizer>, resource: Resource) -> Value<'a> {
    let asker = Asker {
        authorizer,
        service_account: None,
    };
    Value::opaque(ResourceCheck(asker, resource))
}

fn of<'v, T: Opaque>(args: &'v [Value<'_>]) -> Result<&'v T, EvalError> {
    value(args, 0)?
        .as_opaque()
        .ok_or_else(EvalError::no_such_overload)
}

fn fault<T>(message: &'static str) -> Result<T, EvalError> {
    Err(EvalError::new(message))
}

/// A resource check that knows one thing more.
fn with<'a>(args: &[Value<'a>], set: fn(&mut Resource, String)) -> Outcome<'a> {
    let mut check = of::<ResourceCheck>(args)?.clone();
    set(&mut check.1, text(args, 1)?.to_owned());
    Ok(Value::opaque(check))
}

fn ask<'a>(asker: &Asker, what: What, verb: &str) -> Outcome<'a> {
    let question = Question {
        service_account: asker.service_account.clone(),
        what,
        verb: verb.to_owned(),
    };
    Ok(Value::opaque(Decision(
        asker.authorizer.authorize(&question),
    )))
}

/// Whether a text is parts of small letters, digits and dashes between dots, so long at most.
fn is_name(text: &str, dots: bool, most: usize) -> bool {
    let part = |part: &str| {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        !part.is_empty()
            && part.bytes().all(|b| inner(b) || b == b'-')
            && part.bytes().next().is_some_and(inner)
            && part.bytes().last().is_some_and(inner)
    };
    text.len() <= most
        && if dots {
            text.split('.').all(part)
        } else {
            part(text)
        }
}

fn service_account<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let asker: &Asker = of(args)?;
    let (namespace, name) = (text(args, 1)?, text(args, 2)?);
    if !is_name(name, true, 253) {
        return fault("Invalid service account name");
    }
    if !is_name(namespace, false, 63) {
        return fault("Invalid service account namespace");
    }
    Ok(Value::opaque(Asker {
        authorizer: Arc::clone(&asker.authorizer),
        service_account: Some((namespace.to_owned(), name.to_owned())),
    }))
}

pub fn library() -> Library {
    let asker = Type::object(AUTHORIZER);
    let path = Type::object(PATH_CHECK);
    let group = Type::object(GROUP_CHECK);
    let resource = Type::object(RESOURCE_CHECK);
    let decision = Type::object(DECISION);
    let and_text = |ty: &Type| [ty.clone(), Type::String];
    let of_decision = [decision.clone()];
    let mut functions = vec![
        Function::new("path").member("authorizer_path", &and_text(&asker), path.clone(), |args| {
            let path = text(args, 1)?;
            if path.trim().is_empty() {
                return fault("path must not be empty");
            }
            Ok(Value::opaque(PathCheck(
                of::<Asker>(args)?.clone(),
                path.to_owned(),
            )))
        }),
        Function::new("group").member(
            "authorizer_group",
            &and_text(&asker),
            group.clone(),
            |args| {
                let group = text(args, 1)?.to_owned();
                Ok(Value::opaque(GroupCheck(of::<Asker>(args)?.clone(), group)))
            },
        ),
        Function::new("serviceAccount").member(
            "authorizer_serviceaccount",
            &[asker.clone(), Type::String, Type::String],
            asker,
            service_account,
        ),
        Function::new("resource").member(
            "groupcheck_resource",
            &and_text(&group),
            resource.clone(),
            |args| {
                let GroupCheck(asker, group) = of(args)?;
                let resource = text(args, 1)?;
                if resource.trim().is_empty() {
                    return fault("resource must not be empty");
                }
                let resource = Resource {
                    group: group.clone(),
                    resource: resource.to_owned(),
                    ..Resource::default()
                };
                Ok(Value::opaque(ResourceCheck(asker.clone(), resource)))
            },
        ),
        Function::new("check")
            .member(
                "pathcheck_check",
                &and_text(&path),
                decision.clone(),
                |args| {
                    let PathCheck(asker, path) = of(args)?;
                    ask(asker, What::Path(path.clone()), text(args, 1)?)
                },
            )
            .member(
                "resourcecheck_check",
                &and_text(&resource),
                decision,
                |args| {
                    let ResourceCheck(asker, resource) = of(args)?;
                    ask(asker, What::Resource(resource.clone()), text(args, 1)?)
                },
            ),
        Function::new("errored").member("decision_errored", &of_decision, Type::Bool, |args| {
            Ok(Value::Bool(of::<Decision>(args)?.0.error.is_some()))
        }),
        Function::new("error").member("decision_error", &of_decision, Type::String, |args| {
            let error = of::<Decision>(args)?.0.error.as_deref();
            Ok(Value::string(error.unwrap_or("")))
        }),
        Function::new("allowed").member("decision_allowed", &of_decision, Type::Bool, |args| {
            Ok(Value::Bool(of::<Decision>(args)?.0.allowed))
        }),
        Function::new("reason").member("decision_reason", &of_decision, Type::String, |args| {
            Ok(Value::string(of::<Decision>(args)?.0.reason.as_str()))
        }),
    ];
    let more = |name: &'static str, id: &'static str, native: crate::function::Native| {
        Function::new(name).member(id, &and_text(&resource), resource.clone(), native)
    };
    functions.extend([
        more("subresource", "resourcecheck_subresource", |args| {
            with(args, |r, text| r.subresource = text)
        }),
        more("namespace", "resourcecheck_namespace", |args| {
            with(args, |r, text| r.namespace = text)
        }),
        more("name", "resourcecheck_name", |args| {
            with(args, |r, text| r.name = text)
        }),
        more("fieldSelector", "authorizer_fieldselector", |args| {
            with(args, |r, text| r.field_selector = text)
        }),
        more("labelSelector", "authorizer_labelselector", |args| {
            with(args, |r, text| r.label_selector = text)
        }),
    ]);
    Library {
        functions,
        types: Vec::new(),
    }
}
