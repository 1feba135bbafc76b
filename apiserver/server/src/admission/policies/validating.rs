//! ValidatingAdmissionPolicy: writes are refused, or warned of, by what expressions say of them.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/admission/plugin/policy/validating/{dispatcher,validator}.go`. Annotations are
//! evaluated whether anybody is told of the write or not, since one that fails refuses it.

use async_trait::async_trait;
use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use skiff_api::machinery::{
    cel::{
        MAX_MESSAGE_BYTES, RUNTIME_BUDGET, Value,
        admission::{Compiler, Gives},
    },
    read::Read,
    schema::to_ordered_json,
    status::{Cause, Details, Status},
};

use super::{
    invocation::{Misconfigured, invocations, namespace},
    known::Known,
    policy::{Binding, Policy},
};
use crate::{
    admission::{
        expressions::{Asker, Expression, Input, OutOfBudget, Unevaluated},
        matching,
        plugin::{Attributes, Plugin},
        view::Views,
    },
    audit::Level,
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
    /// Keys of annotations, and their `valueExpression`s.
    annotations: Vec<(String, Expression)>,
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
            let value = Expression::new(text, compiler.compile(text, Gives::TextOrNull));
            (one.text("key").to_string(), value)
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
        let mut noted = Noted::default();
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
                        _ => note_failure(attributes, invocation.binding, policy, denial),
                    }
                }
            }
            verdict.annotations.iter().for_each(&mut refuse);
            for (key, value) in verdict.noted {
                noted.add(format!("{policy}/{key}"), value);
            }
        }
        noted.publish(attributes);
        refused.map_or(Ok(()), Err)
    }
}

/// What all bindings of a policy note under one key.
#[derive(Default)]
struct Noted(BTreeMap<String, Vec<String>>);

impl Noted {
    fn add(&mut self, key: String, mut value: String) {
        const LONGEST: usize = 10 * 1024;
        let mut ends = (0..=LONGEST.min(value.len())).rev();
        value.truncate(ends.find(|at| value.is_char_boundary(*at)).unwrap_or(0));
        let values = self.0.entry(key).or_default();
        if !values.contains(&value) {
            values.push(value);
        }
    }

    fn publish(self, attributes: &Attributes<'_>) {
        for (key, values) in self.0 {
            attributes.trail.note(&key, values.join(", "));
        }
    }
}

/// What the action `Audit` does: the denial stands in the audit log.
fn note_failure(attributes: &Attributes<'_>, binding: &Binding, policy: &str, denial: &Denial) {
    const ORDER: [&str; 5] = [
        "message",
        "policy",
        "binding",
        "expressionIndex",
        "validationActions",
    ];
    let said = || {
        let said = json!([{
            "message": denial.message, "policy": policy, "binding": binding.name,
            "expressionIndex": denial.expression, "validationActions": binding.actions,
        }]);
        String::from_utf8_lossy(&to_ordered_json(&said, &ORDER, false)).into_owned()
    };
    let key = "validation.policy.admission.k8s.io/validation_failure";
    attributes.trail.note_at(Level::Metadata, key, said);
}

/// Why a write is refused.
#[derive(Debug, PartialEq)]
struct Denial {
    message: String,
    reason: Reason,
    /// Which of the policy's validations does not hold.
    expression: usize,
}

impl Denial {
    /// What went wrong is told as what is invalid.
    fn of(message: impl Into<String>) -> Denial {
        Denial {
            message: message.into(),
            reason: Reason::Invalid,
            expression: 0,
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
    /// Annotations for the audit log.
    noted: Vec<(String, String)>,
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
        Ok((noted, wrong)) => (verdict.noted, verdict.annotations) = (noted, wrong),
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
    let failed = |at: usize, message: String| {
        policy.fails.then(|| Denial {
            expression: at,
            ..Denial::of(message)
        })
    };
    let mut denials = Vec::new();
    for (at, (validation, value)) in validations.iter().zip(values).enumerate() {
        denials.extend(match (value, &messages) {
            (Err(Unevaluated(why)), _) => failed(at, why),
            (Ok(_), Err(out)) => failed(at, format!("failed messageExpression: {out}")),
            (Ok(value), _) if value.as_bool() == Some(true) => None,
            (Ok(_), Ok(messages)) => Some(Denial {
                message: match messages.get(at) {
                    Some(Some(message)) => message.clone(),
                    _ => validation.otherwise.clone(),
                },
                reason: validation.reason,
                expression: at,
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

/// The annotations, and what is wrong with others.
fn annotations(
    policy: &Policy<Validations>,
    input: &Input<'_>,
) -> Result<(Vec<(String, String)>, Vec<Denial>), OutOfBudget> {
    let unasked = Input {
        asker: None,
        ..*input
    };
    let activation = policy.activation(&unasked);
    let mut budget = RUNTIME_BUDGET;
    let (mut noted, mut wrong) = (Vec::new(), Vec::new());
    for (key, annotation) in &policy.does.annotations {
        match annotation.evaluate(&activation, &mut budget)? {
            Ok(Value::Null) => {}
            Ok(value) if value.as_str().is_some() => {
                let value = value.as_str().unwrap_or("").trim();
                if !value.is_empty() {
                    noted.push((key.clone(), value.to_string()));
                }
            }
            Ok(value) => wrong.push(Denial::of(format!(
                "valueExpression '{}' resulted in unsupported return type: {}. Return type must be either string or null.",
                annotation.text,
                value.type_name()
            ))),
            Err(Unevaluated(why)) => wrong.extend(policy.fails.then(|| Denial::of(why))),
        }
    }
    Ok((noted, wrong))
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
