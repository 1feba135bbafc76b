//! MutatingAdmissionPolicy: writes are changed as expressions say, one policy after another.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/admission/plugin/policy/mutating/dispatcher.go`.

use async_trait::async_trait;
use serde_json::Value as Json;
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::{
    cel::{
        RUNTIME_BUDGET,
        admission::{Compiler, Gives},
    },
    meta::Meta,
    read::Read,
    status::{Cause, Details, Status},
};

use super::{
    change::{self, ChangeError},
    invocation::{Invocation, invocations, namespace},
    known::Known,
};
use crate::admission::{
    expressions::{Asker, Expression, OutOfBudget, Unevaluated},
    matching,
    plugin::{Attributes, Operation, Plugin},
    view::{self, View, Views},
};

const NAME: &str = "MutatingAdmissionPolicy";

pub struct MutatingAdmissionPolicy(Known<Mutations>);

impl Default for MutatingAdmissionPolicy {
    fn default() -> MutatingAdmissionPolicy {
        MutatingAdmissionPolicy(Known::new(
            "mutatingadmissionpolicies.admissionregistration.k8s.io",
            "mutatingadmissionpolicybindings.admissionregistration.k8s.io",
            Mutations::read,
        ))
    }
}

/// What a policy changes, in its order.
#[derive(Debug)]
struct Mutations {
    mutations: Vec<Mutation>,
    /// It wants to see what comes after it.
    wants_another_round: bool,
}

#[derive(Debug)]
enum Mutation {
    Apply(Expression),
    Patch(Expression),
}

impl Mutations {
    fn read(spec: &Json, compiler: &Compiler) -> Mutations {
        let compiled = |of: &Json, gives: Gives| {
            let text = of.text("expression");
            Expression::new(text, compiler.compile(text, gives))
        };
        let mutations = spec
            .list("mutations")
            .iter()
            .map(|one| match one.text("patchType") {
                "JSONPatch" => Mutation::Patch(compiled(one.at("jsonPatch"), Gives::Patch)),
                _ => Mutation::Apply(compiled(one.at("applyConfiguration"), Gives::Applied)),
            });
        Mutations {
            mutations: mutations.collect(),
            wants_another_round: spec.text("reinvocationPolicy") == "IfNeeded",
        }
    }
}

/// Why a mutation is not made.
#[derive(thiserror::Error, Debug)]
enum MutationError {
    #[error(transparent)]
    OutOfBudget(#[from] OutOfBudget),
    #[error(transparent)]
    Unevaluated(#[from] Unevaluated),
    #[error(transparent)]
    Change(#[from] ChangeError),
}

#[async_trait]
impl Plugin for MutatingAdmissionPolicy {
    fn name(&self) -> &'static str {
        NAME
    }

    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        // there is nothing to change in what goes
        attributes.operation != Operation::Delete
            && self.0.any(attributes.core)
            && !matching::is_exempt(attributes.asked)
    }

    async fn admit(&self, attributes: &mut Attributes<'_>) -> Result<(), Status> {
        let hooks = self.0.hooks(attributes.core)?;
        let met = invocations(&hooks, attributes).await;
        if met.is_empty() {
            return Ok(());
        }
        // what is misconfigured is told before what goes wrong
        let (mut failures, mut told) = (Vec::new(), Vec::new());
        let mut all = Vec::new();
        for met in met {
            match met {
                Ok(invocation) => all.push(invocation),
                Err(wrong) if wrong.policy.fails => failures.push(Failure {
                    message: told_of(
                        &wrong.policy.name,
                        wrong.binding.map(|binding| binding.name.as_str()),
                        &wrong.why,
                    ),
                    reason: None,
                }),
                Err(_) => {}
            }
        }
        if !all.is_empty() {
            run(attributes, &all, &mut told).await?;
        }
        failures.extend(told);
        refusal(attributes, failures).map_or(Ok(()), Err)
    }
}

/// A policy that did not do what it should.
struct Failure {
    message: String,
    reason: Option<&'static str>,
}

/// Changes the object by all of these.
async fn run(
    attributes: &mut Attributes<'_>,
    all: &[Invocation<'_, Mutations>],
    failures: &mut Vec<Failure>,
) -> Result<(), Status> {
    let again = attributes.rounds.is_again();
    let object = attributes.object.as_ref();
    attributes.rounds.of(NAME).begin(again, object);
    let namespace = namespace(attributes)?;
    let (asker, mut views) = (Asker::of(attributes), Views::default());
    for invocation in all {
        let policy = invocation.policy;
        let mut failed = |why: String| {
            if policy.fails {
                failures.push(Failure {
                    message: told_of(&policy.name, Some(&invocation.binding.name), &why),
                    reason: Some("Invalid"),
                });
            }
        };
        let place = views.of(attributes, &invocation.kind).await?;
        let view = &mut views[place];
        let input = invocation.input(attributes, view, None, &asker);
        match policy.conditions_hold(&input) {
            Ok(true) => {}
            Ok(false) => continue,
            Err(why) => {
                failed(why.0);
                continue;
            }
        }
        let key = key(invocation);
        if again && !attributes.rounds.of(NAME).is_due(&key) {
            continue;
        }
        let before = view.object.clone();
        for mutation in &policy.does.mutations {
            let namespace = namespace.as_ref();
            match made(attributes, view, invocation, mutation, namespace, &asker) {
                Ok(Some(changed)) => {
                    let read = view::read(attributes, view, changed).await?;
                    view.object = Some(read.shown);
                    attributes.object = Some(read.own);
                }
                Ok(None) => break,
                Err(MutationError::Change(ChangeError::Unreadable(status))) => return Err(status),
                Err(why) => failed(why.to_string()),
            }
        }
        let changed = view.object != before;
        if changed {
            views.keep_only(&invocation.kind);
            attributes.rounds.of(NAME).changed();
            attributes.rounds.want_another();
        }
        if policy.does.wants_another_round {
            attributes.rounds.of(NAME).asked(&key);
        }
    }
    let object = attributes.object.as_ref();
    attributes.rounds.of(NAME).end(object);
    Ok(())
}

/// What tells an invocation from others.
fn key(invocation: &Invocation<'_, Mutations>) -> String {
    let params = invocation.params.as_ref();
    let at = params.map_or((String::new(), String::new()), |params| {
        (params.namespace().to_string(), params.name().to_string())
    });
    let (policy, binding) = (&invocation.policy.name, &invocation.binding.name);
    format!("{policy}/{binding}/{}/{}", at.0, at.1)
}

/// What one mutation makes of the object as it is shown; `None`: there is no object.
fn made(
    attributes: &Attributes<'_>,
    view: &View,
    invocation: &Invocation<'_, Mutations>,
    mutation: &Mutation,
    namespace: Option<&Json>,
    asker: &Asker,
) -> Result<Option<Json>, MutationError> {
    let Some(object) = &view.object else {
        return Ok(None);
    };
    let input = invocation.input(attributes, view, namespace, asker);
    let activation = invocation.policy.activation(&input);
    let mut budget = RUNTIME_BUDGET;
    let node = attributes.node_of_object(&invocation.kind);
    let changed = match mutation {
        Mutation::Apply(expression) => {
            let value = expression.evaluate(&activation, &mut budget)??;
            change::applied(
                object,
                &value,
                node.unwrap_or_else(|| invocation.kind.node()),
            )?
        }
        Mutation::Patch(expression) => {
            let value = expression.evaluate(&activation, &mut budget)??;
            let patched = change::patched(object, &value)?;
            if !attributes.has_own_kind(&invocation.kind) {
                change::check_known(&invocation.kind, &patched)?;
            }
            patched
        }
    };
    Ok(Some(changed))
}

fn told_of(policy: &str, binding: Option<&str>, why: &str) -> String {
    match binding {
        Some(binding) => {
            format!("policy '{policy}' with binding '{binding}' denied request: {why}")
        }
        None => format!(
            "policy {policy} denied request: {why}",
            policy = GoQuoted(&policy)
        ),
    }
}

/// The answer to a write that policies failed at: the first failure is its message, all are its causes.
fn refusal(attributes: &Attributes<'_>, failures: Vec<Failure>) -> Option<Status> {
    let first = failures.first()?;
    let mut status = attributes.forbidden("admission request denied by policy");
    status.message.clone_from(&first.message);
    status.reason = first.reason.unwrap_or(status.reason);
    let details = status.details.get_or_insert_with(Details::default);
    details
        .causes
        .extend(failures.into_iter().map(|failure| Cause {
            message: failure.message,
            ..Cause::default()
        }));
    Some(status)
}
