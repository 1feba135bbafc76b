//! Evaluation: a walk over a plan.
//!
//! Invariant: each step is paid for before the next one, and who cannot pay stops at once; whatever cannot be evaluated is an error with upstream's words.
//! Follows upstream's `vendor/github.com/google/cel-go/interpreter/{interpretable,attributes,runtimecost}.go`.

mod attribute;
mod fold;
mod lazy;

use crate::call::{Target, call_native};
use crate::cost::runtime;
use crate::error::EvalError;
use crate::plan::{Call, MapEntry, Node, Plan, StructField};
use crate::regex::Pattern;
use crate::value::Outcome;
use crate::value::{Key, Map, Struct, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The values of an environment's variables.
#[derive(Debug, Default)]
pub struct Activation<'a> {
    values: Vec<(&'a str, Value<'a>)>,
    lazy: lazy::Fields<'a>,
}

impl<'a> Activation<'a> {
    pub fn new() -> Activation<'a> {
        Activation::default()
    }

    #[must_use]
    pub fn with(mut self, name: &'a str, value: Value<'a>) -> Activation<'a> {
        self.set(name, value);
        self
    }

    pub fn set(&mut self, name: &'a str, value: Value<'a>) {
        match self.values.iter_mut().find(|(known, _)| *known == name) {
            Some((_, slot)) => *slot = value,
            None => self.values.push((name, value)),
        }
    }

    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        let found = self.values.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value)
    }
}

/// Evaluates a plan; gives the outcome, and what it cost.
pub fn run<'a>(plan: &'a Plan, activation: &Activation<'a>, limit: u64) -> (Outcome<'a>, u64) {
    let mut machine = Machine {
        activation,
        slots: vec![Slot::Empty; plan.slots],
        cost: 0,
        limit,
    };
    let outcome = machine.node(&plan.root);
    (outcome, machine.cost)
}

#[derive(Clone)]
enum Slot<'a> {
    Empty,
    Value(Value<'a>),
    Error(EvalError),
    /// What is evaluated when somebody asks.
    Pending(&'a Node),
}

struct Machine<'a, 'v> {
    activation: &'v Activation<'a>,
    /// The variables of loops.
    slots: Vec<Slot<'a>>,
    cost: u64,
    limit: u64,
}

impl<'a> Machine<'a, '_> {
    fn pay(&mut self, cost: u64) -> Result<(), EvalError> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > self.limit {
            return Err(EvalError::CostLimit);
        }
        Ok(())
    }

    fn node(&mut self, node: &'a Node) -> Outcome<'a> {
        match node {
            Node::Constant(value) => Ok(value.clone()),
            Node::Attribute(attribute) => self.attribute(attribute),
            Node::And(both) => self.logical(both, false),
            Node::Or(both) => self.logical(both, true),
            Node::Equal { both, negated } => self.equal(both, *negated),
            Node::Call(call) => self.call(call),
            Node::Regex { call, pattern } => self.regex(call, pattern),
            Node::Member { element, set } => {
                let element = self.node(element)?;
                Ok(Value::Bool(set.holds(&element)))
            }
            Node::List { elements, optional } => self.list(elements, optional),
            Node::Map(entries) => self.map(entries),
            Node::Struct { name, fields } => self.structure(name, fields),
            Node::Fold(fold) => self.fold(fold),
            Node::Bind {
                slot,
                value,
                result,
            } => {
                self.slots[*slot] = Slot::Pending(value);
                let outcome = self.node(result);
                self.slots[*slot] = Slot::Empty;
                outcome
            }
            Node::Or2 { both, value } => self.optional_or(both, *value),
            Node::NotStrictlyFalse(inner) => {
                let value = match self.node(inner) {
                    Err(EvalError::CostLimit) => return Err(EvalError::CostLimit),
                    Ok(Value::Bool(value)) => value,
                    _ => true,
                };
                self.pay(1)?;
                Ok(Value::Bool(value))
            }
        }
    }

    /// `&&` and `||`: what decides wins over what fails.
    fn logical(&mut self, both: &'a [Node; 2], decides: bool) -> Outcome<'a> {
        let mut error = None;
        for node in both {
            match self.node(node) {
                Ok(Value::Bool(value)) if value == decides => return Ok(Value::Bool(decides)),
                Ok(Value::Bool(_)) => {}
                Ok(_) => {
                    error.get_or_insert_with(EvalError::no_such_overload);
                }
                Err(EvalError::CostLimit) => return Err(EvalError::CostLimit),
                Err(failed) => {
                    error.get_or_insert(failed);
                }
            }
        }
        match error {
            Some(error) => Err(error),
            None => Ok(Value::Bool(!decides)),
        }
    }

    /// Evaluates two arguments, both even if the first one fails: they are paid for.
    fn both(
        &mut self,
        left: &'a Node,
        right: &'a Node,
    ) -> Result<(Value<'a>, Value<'a>), EvalError> {
        let left = self.node(left);
        if matches!(left, Err(EvalError::CostLimit)) {
            return Err(EvalError::CostLimit);
        }
        let right = self.node(right);
        match (left, right) {
            (Ok(left), Ok(right)) => Ok((left, right)),
            (_, Err(EvalError::CostLimit)) => Err(EvalError::CostLimit),
            (Err(error), _) | (_, Err(error)) => {
                self.pay(1)?;
                Err(error)
            }
        }
    }

    fn equal(&mut self, both: &'a [Node; 2], negated: bool) -> Outcome<'a> {
        let (left, right) = self.both(&both[0], &both[1])?;
        self.pay(runtime::equality(&left, &right, negated))?;
        match left.equals(&right) {
            Ok(equal) => Ok(Value::Bool(equal != negated)),
            // what cannot be compared is unequal
            Err(_) if negated => Ok(Value::Bool(true)),
            Err(error) => Err(error),
        }
    }

    fn call(&mut self, call: &'a Call) -> Outcome<'a> {
        let (outcome, cost) = match call.args.as_slice() {
            [] => {
                let outcome = call_native(&call.function, &[]);
                let cost = runtime::call(&call.function, &[], outcome.as_ref().ok());
                (outcome, cost)
            }
            [one] => {
                let args = [match self.node(one) {
                    Ok(value) => value,
                    Err(EvalError::CostLimit) => return Err(EvalError::CostLimit),
                    Err(error) => {
                        self.pay(1)?;
                        return Err(error);
                    }
                }];
                let outcome = call_native(&call.function, &args);
                let cost = runtime::call(&call.function, &args, outcome.as_ref().ok());
                (outcome, cost)
            }
            [left, right] => return self.binary(&call.function, left, right),
            many => {
                let mut args = Vec::with_capacity(many.len());
                for arg in many {
                    args.push(self.node(arg)?);
                }
                let outcome = call_native(&call.function, &args);
                let cost = runtime::call(&call.function, &args, outcome.as_ref().ok());
                (outcome, cost)
            }
        };
        self.pay(cost)?;
        outcome
    }

    fn binary(&mut self, function: &'a Target, left: &'a Node, right: &'a Node) -> Outcome<'a> {
        let (left, right) = self.both(left, right)?;
        if let (Value::List(_), Value::List(_)) = (&left, &right)
            && function.name() == crate::ast::op::ADD
        {
            self.pay(1)?;
            let (Value::List(left), Value::List(right)) = (left, right) else {
                return Err(EvalError::no_such_overload());
            };
            return left.add(right).map(Value::List);
        }
        let args = [left, right];
        let outcome = call_native(function, &args);
        let cost = runtime::call(function, &args, outcome.as_ref().ok());
        self.pay(cost)?;
        outcome
    }

    fn regex(&mut self, call: &'a Call, pattern: &'a Pattern) -> Outcome<'a> {
        let mut args = Vec::with_capacity(call.args.len());
        for arg in &call.args {
            args.push(self.node(arg)?);
        }
        let outcome = pattern.call(call.function.name(), &args);
        let cost = runtime::call(&call.function, &args, outcome.as_ref().ok());
        self.pay(cost)?;
        outcome
    }

    fn list(&mut self, elements: &'a [Node], optional: &[bool]) -> Outcome<'a> {
        let mut values = Vec::with_capacity(elements.len());
        for (i, element) in elements.iter().enumerate() {
            let value = self.node(element);
            let value = self.built(value, 10)?;
            if !optional.get(i).copied().unwrap_or(false) {
                values.push(value);
                continue;
            }
            match value {
                Value::Optional(Some(value)) => values.push((*value).clone()),
                Value::Optional(None) => {}
                other => {
                    self.pay(10)?;
                    return Err(EvalError::new(format!(
                        "cannot initialize optional list element from non-optional value {other}"
                    )));
                }
            }
        }
        self.pay(10)?;
        Ok(Value::list(values))
    }

    /// A part of what is built: building is paid for even if a part fails.
    fn built(&mut self, value: Outcome<'a>, cost: u64) -> Outcome<'a> {
        match value {
            Err(EvalError::Failed(message)) => {
                self.pay(cost)?;
                Err(EvalError::Failed(message))
            }
            other => other,
        }
    }

    fn map(&mut self, entries: &'a [MapEntry]) -> Outcome<'a> {
        let mut map = BTreeMap::new();
        for entry in entries {
            let key = self.node(&entry.key);
            let key = self.built(key, 30)?;
            let value = self.node(&entry.value);
            let value = self.built(value, 30)?;
            let Some(name) = Key::of(&key) else {
                return Err(EvalError::new(format!(
                    "unsupported key type: {}",
                    key.type_name()
                )));
            };
            if !entry.optional {
                map.insert(name, value);
                continue;
            }
            match value {
                Value::Optional(Some(value)) => {
                    map.insert(name, (*value).clone());
                }
                Value::Optional(None) => {
                    map.remove(&name);
                }
                other => return Err(not_optional(key, &other)),
            }
        }
        self.pay(30)?;
        Ok(Value::Map(Map::of(map)))
    }

    fn structure(&mut self, name: &Arc<str>, fields: &'a [StructField]) -> Outcome<'a> {
        let mut made = Vec::with_capacity(fields.len());
        for field in fields {
            let value = self.node(&field.value);
            let value = self.built(value, 40)?;
            match value {
                value if !field.optional => made.push((Arc::clone(&field.name), value)),
                Value::Optional(Some(value)) => {
                    made.push((Arc::clone(&field.name), (*value).clone()));
                }
                Value::Optional(None) => {}
                other => return Err(not_optional(&field.name, &other)),
            }
        }
        self.pay(40)?;
        Ok(Value::Struct(Arc::new(Struct {
            name: Arc::clone(name),
            fields: made,
        })))
    }

    fn optional_or(&mut self, both: &'a [Node; 2], value: bool) -> Outcome<'a> {
        match self.node(&both[0])? {
            Value::Optional(Some(inner)) if value => Ok((*inner).clone()),
            Value::Optional(None) => self.node(&both[1]),
            other => Ok(other),
        }
    }
}

/// What a variable holds: a failure may be absorbed later, want of means may not.
fn stored(outcome: Outcome<'_>) -> Result<Slot<'_>, EvalError> {
    match outcome {
        Ok(value) => Ok(Slot::Value(value)),
        Err(EvalError::CostLimit) => Err(EvalError::CostLimit),
        Err(error) => Ok(Slot::Error(error)),
    }
}

fn not_optional(field: impl std::fmt::Display, value: &Value<'_>) -> EvalError {
    EvalError::new(format!(
        "cannot initialize optional entry '{field}' from non-optional value {value}"
    ))
}
