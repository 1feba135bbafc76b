//! A policy and its bindings, read once.

use serde_json::Value as Json;
use skiff_api::machinery::{
    cel::{
        Activation, Value,
        admission::{Compiler, VARIABLES},
    },
    meta::Meta,
    read::Read,
    selector::{Selector, SelectorError},
};

use crate::admission::{
    expressions::{Conditions, Expression, Input, Unevaluated},
    matching::Criteria,
};

/// What a policy says, and what it does.
#[derive(Debug)]
pub struct Policy<D> {
    pub name: String,
    pub criteria: Result<Criteria, SelectorError>,
    /// What goes wrong refuses the write; else it is passed over.
    pub fails: bool,
    pub params: Option<ParamKind>,
    conditions: Conditions,
    variables: Vec<(String, Expression)>,
    pub does: D,
}

/// The kind of a policy's parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamKind {
    pub group: String,
    pub version: String,
    pub kind: String,
}

impl std::fmt::Display for ParamKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}, Kind={}", self.group, self.version, self.kind)
    }
}

impl<D> Policy<D> {
    /// `compile` reads what it does, in the environment of its expressions.
    pub fn read(policy: &Json, compile: fn(&Json, &Compiler) -> D) -> Policy<D> {
        let spec = policy.at("spec");
        let mut compiler = Compiler::new(spec.some("paramKind").is_some()).with_variables();
        let mut variables = Vec::new();
        for variable in spec.list("variables") {
            let (name, text) = (variable.text("name"), variable.text("expression"));
            let compiled = compiler.variable(name, text);
            variables.push((name.to_string(), Expression::new(text, compiled)));
        }
        Policy {
            name: policy.name().into(),
            criteria: Criteria::of_resources(spec.at("matchConstraints")),
            fails: spec.text("failurePolicy") != "Ignore",
            params: spec.some("paramKind").map(|kind| {
                let api_version = kind.text("apiVersion");
                let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
                ParamKind {
                    group: group.into(),
                    version: version.into(),
                    kind: kind.text("kind").into(),
                }
            }),
            conditions: Conditions::read(spec, &compiler),
            variables,
            does: compile(spec, &compiler),
        }
    }

    /// Whether its conditions hold for a write, whose namespace they do not see.
    ///
    /// # Errors
    /// As those of [`Conditions::hold`].
    pub fn conditions_hold(&self, input: &Input<'_>) -> Result<bool, Unevaluated> {
        if self.conditions.is_empty() {
            return Ok(true);
        }
        let outside = Input {
            namespace: None,
            ..*input
        };
        self.conditions.hold(&self.activation(&outside))
    }

    /// What its expressions are given, its variables among it.
    pub fn activation<'a>(&'a self, input: &Input<'a>) -> Activation<'a> {
        let mut activation = input.activation();
        activation.set(VARIABLES, Value::Lazy);
        for (name, expression) in &self.variables {
            activation.set_lazy(name, expression.as_variable());
        }
        activation
    }
}

/// Where a policy holds.
#[derive(Debug)]
pub struct Binding {
    pub name: String,
    pub policy: String,
    pub criteria: Result<Criteria, SelectorError>,
    pub params: Option<ParamRef>,
    /// `Deny`, `Warn`, `Audit`.
    pub actions: Vec<String>,
}

/// Which parameters a binding gives its policy.
#[derive(Debug)]
pub struct ParamRef {
    pub namespace: String,
    pub which: Which,
    /// Where there are none, the write is refused; else the policy does not concern it.
    pub must_exist: bool,
}

#[derive(Debug)]
pub enum Which {
    Named(String),
    Selected(Result<Selector, SelectorError>),
}

impl Binding {
    pub fn read(binding: &Json) -> Binding {
        let spec = binding.at("spec");
        Binding {
            name: binding.name().into(),
            policy: spec.text("policyName").into(),
            criteria: Criteria::of_resources(spec.at("matchResources")),
            params: spec.some("paramRef").map(|reference| ParamRef {
                namespace: reference.text("namespace").into(),
                which: match reference.text("name") {
                    "" => {
                        Which::Selected(Selector::from_label_selector(reference.some("selector")))
                    }
                    name => Which::Named(name.into()),
                },
                must_exist: reference.text("parameterNotFoundAction") == "Deny",
            }),
            actions: spec
                .texts("validationActions")
                .map(str::to_string)
                .collect(),
        }
    }
}
