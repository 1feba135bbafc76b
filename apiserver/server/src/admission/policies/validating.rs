//! ValidatingAdmissionPolicy: writes are refused, or warned of, by what expressions say of them.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/admission/plugin/policy/validating/{dispatcher,validator}.go`. Annotations of the audit log are evaluated, since
//! one that fails refuses the write, and written nowhere: there is no such log.

use async_trait::async_trait;
use serde_json::Value as Json;
use skiff_api::machinery::{
    cel::{
        MAX_MESSAGE_BYTES, RUNTIME_BUDGET, Value,
        admission::{Compiler, Gives},
    },
    read::Read,
    status::{Cause, Details, Status},
};

use super::{
    invocation::{Misconfigured, invocations, namespace},
    known::Known,
    policy::Policy,
};
use crate::admission::{
    expressions::{Asker, Expression, Input, OutOfBudget, Unevaluated},
    matching,
    plugin::{Attributes, Plugin},
    view::Views,
};

pub struct ValidatingAdmissionPolicy(Known<Validations>);

impl Default for ValidatingAdmissionPolicy {
    fn default() -> ValidatingAdmissionPolicy {
        ValidatingAdmissionPolicy(Known::new(
            "validatingadmissionpolicies.admissionregistration.k8s.io",
            "validatingadmissionpolicybindings.admissionregistration.k8s.io",
            Validations::read,
        ))
    }
}

/// What a policy holds a write to.
#[derive(Debug)]
struct Validations {
    validations: Vec<Validation>,
    /// Their `valueExpression`s.
    annotations: Vec<Expression>,
}

#[derive(Debug)]
struct Validation {
    holds: Expression,
    message: Option<Expression>,
    /// What is said where there is no message of the moment.
    otherwise: String,
    reason: Reason,
}

/// The answer's reason and code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Unauthorized,
    Forbidden,
    Invalid,
    RequestEntityTooLarge,
}

impl Reason {
    fn read(text: &str) -> Reason {
        match text {
            "Unauthorized" => Reason::Unauthorized,
            "Forbidden" => Reason::Forbidden,
            "RequestEntityTooLarge" => Reason::RequestEntityTooLarge,
            _ => Reason::Invalid,
        }
    }

    fn answer(self) -> (&'static str, u16) {
        match self {
            Reason::Unauthorized => ("Unauthorized", 401),
            Reason::Forbidden => ("Forbidden", 403),
            Reason::Invalid => ("Invalid", 422),
            Reason::RequestEntityTooLarge => ("RequestEntityTooLarge", 413),
        }
    }
}

impl Validations {
    fn read(spec: &Json, compiler: &Compiler) -> Validations {
        let validations = spec.list("validations").iter().map(|one| {
            let text = one.text("expression");
            let message = one.text("message").trim();
            Validation {
                holds: Expression::new(text, compiler.compile(text, Gives::Bool)),
                message: one
                    .text_ptr("messageExpression")
                    .filter(|text| !text.is_empty())
                    .map(|text| Expression::new(text, compiler.compile_unasked(text, Gives::Text))),
                otherwise: match message {
                    "" => format!("failed expression: {}", text.trim()),
                    message => message.into(),
                },
                reason: Reason::read(one.text("reason")),
            }
        });
        let annotations = spec.list("auditAnnotations").iter().map(|one| {
            let text = one.text("valueExpression");
            Expression::new(text, compiler.compile(text, Gives::TextOrNull))
        });
        Validations {
            validations: validations.collect(),
            annotations: annotations.collect(),
        }
    }
}

#[async_trait]
impl Plugin for ValidatingAdmissionPolicy {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionPolicy"
    }

    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        self.0.any(attributes.core) && !matching::is_exempt(attributes.asked)
    }

    async fn validate(&self, attributes: &Attributes<'_>) -> Result<(), Status> {
        let hooks = self.0.hooks(attributes.core)?;
        let met = invocations(&hooks, attributes).await;
        if met.is_empty() {
            return Ok(());
        }
        let namespace = match met.iter().any(Result::is_ok) {
            true => namespace(attributes)?,
            false => None,
        };
        let (asker, mut views) = (Asker::of(attributes), Views::default());
        // the first refusal is told
        let mut refused: Option<Status> = None;
        for met in met {
            let invocation = match met {
                Ok(invocation) => invocation,
                Err(wrong) => {
                    if wrong.policy.fails {
                        refused.get_or_insert_with(|| misconfigured(attributes, &wrong));
                    }
                    continue;
                }
            };
            let place = views.of(attributes, &invocation.kind).await?;
            let input = invocation.input(attributes, &views[place], namespace.as_ref(), &asker);
            let verdict = judge(invocation.policy, &input);
            let (policy, binding) = (&invocation.policy.name, &invocation.binding.name);
            let mut refuse = |denial: &Denial| {
                refused.get_or_insert_with(|| refusal(attributes, policy, Some(binding), denial));
            };
            for denial in &verdict.denials {
                for action in &invocation.binding.actions {
                    match action.as_str() {
                        "Deny" => refuse(denial),
                        "Warn" => attributes.warn(format!(
                            "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{binding}': {}",
                            denial.message
                        )),
                        // told in a log that is not kept
                        _ => {}
                    }
                }
            }
            verdict.annotations.iter().for_each(&mut refuse);
        }
        refused.map_or(Ok(()), Err)
    }
}

/// Why a write is refused.
#[derive(Debug, PartialEq)]
struct Denial {
    message: String,
    reason: Reason,
}

impl Denial {
    /// What went wrong is told as what is invalid.
    fn of(message: impl Into<String>) -> Denial {
        Denial {
            message: message.into(),
            reason: Reason::Invalid,
        }
    }
}

/// What a policy has against a write.
#[derive(Debug, Default, PartialEq)]
struct Verdict {
    /// To be treated as the binding says.
    denials: Vec<Denial>,
    /// What is wrong with annotations, which refuses the write whatever the binding says.
    annotations: Vec<Denial>,
}

/// Holds a write to a policy.
fn judge(policy: &Policy<Validations>, input: &Input<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    // what goes wrong is a denial, unless it is to be passed over
    let failed = |message: String| policy.fails.then(|| Denial::of(message));
    match policy.conditions_hold(input) {
        Ok(true) => {}
        Ok(false) => return verdict,
        Err(why) => {
            verdict.denials.extend(failed(why.0));
            return verdict;
        }
    }
    let mut budget = RUNTIME_BUDGET;
    match denials(policy, input, &mut budget) {
        Ok(found) => verdict.denials.extend(found),
        Err(out) => {
            verdict.denials.extend(failed(out.to_string()));
            return verdict;
        }
    }
    match annotations(policy, input) {
        Ok(wrong) => verdict.annotations.extend(wrong),
        Err(out) => verdict.denials = failed(out.to_string()).into_iter().collect(),
    }
    verdict
}

fn denials(
    policy: &Policy<Validations>,
    input: &Input<'_>,
    budget: &mut u64,
) -> Result<Vec<Denial>, OutOfBudget> {
    let validations = &policy.does.validations;
    let activation = policy.activation(input);
    let mut values = Vec::with_capacity(validations.len());
    for validation in validations {
        values.push(validation.holds.evaluate(&activation, budget)?);
    }
    let messages = messages(policy, input, *budget);
    let failed = |message: String| policy.fails.then(|| Denial::of(message));
    let mut denials = Vec::new();
    for (at, (validation, value)) in validations.iter().zip(values).enumerate() {
        denials.extend(match (value, &messages) {
            (Err(Unevaluated(why)), _) => failed(why),
            (Ok(_), Err(out)) => failed(format!("failed messageExpression: {out}")),
            (Ok(value), _) if value.as_bool() == Some(true) => None,
            (Ok(_), Ok(messages)) => Some(Denial {
                message: match messages.get(at) {
                    Some(Some(message)) => message.clone(),
                    _ => validation.otherwise.clone(),
                },
                reason: validation.reason,
            }),
        });
    }
    Ok(denials)
}

/// What the expressions for messages say, by their validation; nothing where they fail or say nothing of use.
fn messages(
    policy: &Policy<Validations>,
    input: &Input<'_>,
    mut budget: u64,
) -> Result<Vec<Option<String>>, OutOfBudget> {
    let unasked = Input {
        asker: None,
        ..*input
    };
    let activation = policy.activation(&unasked);
    let mut messages = Vec::new();
    for validation in &policy.does.validations {
        let Some(message) = &validation.message else {
            messages.push(None);
            continue;
        };
        let value = message.evaluate(&activation, &mut budget)?;
        let said = value
            .ok()
            .and_then(|value| value.as_str().map(|said| said.trim().to_string()));
        messages.push(said.filter(|said| {
            !said.is_empty() && !said.contains('\n') && said.len() <= MAX_MESSAGE_BYTES
        }));
    }
    Ok(messages)
}

/// What is wrong with the annotations.
fn annotations(
    policy: &Policy<Validations>,
    input: &Input<'_>,
) -> Result<Vec<Denial>, OutOfBudget> {
    let unasked = Input {
        asker: None,
        ..*input
    };
    let activation = policy.activation(&unasked);
    let mut budget = RUNTIME_BUDGET;
    let mut wrong = Vec::new();
    for annotation in &policy.does.annotations {
        match annotation.evaluate(&activation, &mut budget)? {
            Ok(Value::String(_) | Value::Null) => {}
            Ok(value) => wrong.push(Denial::of(format!(
                "valueExpression '{}' resulted in unsupported return type: {}. Return type must be either string or null.",
                annotation.text,
                value.type_name()
            ))),
            Err(Unevaluated(why)) => wrong.extend(policy.fails.then(|| Denial::of(why))),
        }
    }
    Ok(wrong)
}

/// The answer to a write that a policy means which cannot be asked.
fn misconfigured(attributes: &Attributes<'_>, wrong: &Misconfigured<'_, Validations>) -> Status {
    let binding = wrong.binding.map(|binding| binding.name.as_str());
    let denial = Denial::of(wrong.why.as_str());
    refusal(attributes, &wrong.policy.name, binding, &denial)
}

fn refusal(
    attributes: &Attributes<'_>,
    policy: &str,
    binding: Option<&str>,
    denial: &Denial,
) -> Status {
    let with = binding.map_or(String::new(), |binding| {
        format!(" with binding '{binding}'")
    });
    let message = format!(
        "ValidatingAdmissionPolicy '{policy}'{with} denied request: {}",
        denial.message
    );
    let (reason, code) = denial.reason.answer();
    let mut status = Status {
        reason,
        code,
        ..attributes.forbidden(&message)
    };
    status
        .details
        .get_or_insert_with(Details::default)
        .causes
        .push(Cause {
            message,
            ..Cause::default()
        });
    status
}

#[cfg(test)]
#[path = "validating_tests.rs"]
mod tests;
