//! Evaluation: a walk over a plan.
//!
//! Invariant: each step is paid for before the next one, and who cannot pay stops at once; whatever cannot be evaluated is an error with upstream's words.
//! Follows upstream's `vendor/github.com/google/cel-go/interpreter/{interpretable,attributes,runtimecost}.go`.

use crate::compiled::{Compiled, PER_CALL_LIMIT};
use crate::cost::runtime;
use crate::escape::unescape;
use crate::plan::{
    Attribute, Base, Branch, By, Call, Fold, MapEntry, Node, Plan, Step, StructField, Target,
};
use crate::regex::Pattern;
use crate::value::{Key, List, Map, Struct, Value, number};
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why there is no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// The expression cannot be evaluated for these values.
    #[error("{0}")]
    Failed(Cow<'static, str>),
    /// It cost more than it may.
    #[error("operation cancelled: actual cost limit exceeded")]
    CostLimit,
}

/// A value, or why there is none.
pub type Outcome<'a> = Result<Value<'a>, EvalError>;

impl EvalError {
    pub fn new(message: impl Into<Cow<'static, str>>) -> EvalError {
        EvalError::Failed(message.into())
    }

    pub fn no_such_overload() -> EvalError {
        EvalError::new("no such overload")
    }

    fn no_such_key(key: impl std::fmt::Display) -> EvalError {
        EvalError::new(format!("no such key: {key}"))
    }
}

/// The values of an environment's variables.
#[derive(Debug, Default)]
pub struct Activation<'a> {
    values: Vec<(&'a str, Value<'a>)>,
    lazy: Vec<Lazy<'a>>,
    /// What lazy fields cost since it was asked last.
    lazy_cost: Cell<u64>,
}

/// A field of [`Value::Lazy`].
#[derive(Debug)]
struct Lazy<'a> {
    name: &'a str,
    /// Or why it cannot be evaluated.
    of: Result<&'a Compiled, &'a str>,
    /// Nothing while it is being evaluated.
    known: RefCell<Known<'a>>,
}

#[derive(Debug)]
enum Known<'a> {
    NotYet,
    Asked,
    Value(Outcome<'a>),
}

impl<'a> Activation<'a> {
    pub fn new() -> Activation<'a> {
        Activation::default()
    }

    /// A field of [`Value::Lazy`]: evaluated when it is asked for, once, at a cost of its own.
    pub fn set_lazy(&mut self, name: &'a str, of: Result<&'a Compiled, &'a str>) {
        let known = RefCell::new(Known::NotYet);
        self.lazy.retain(|known| known.name != name);
        self.lazy.push(Lazy { name, of, known });
    }

    /// What fields that were evaluated cost since it was asked last.
    pub fn take_lazy_cost(&self) -> u64 {
        self.lazy_cost.take()
    }

    /// A field of [`Value::Lazy`]; `None` if there is none of that name.
    fn lazy(&self, name: &str) -> Result<Option<Value<'a>>, EvalError> {
        let Some(name) = unescape(name) else {
            return Ok(None);
        };
        let Some(lazy) = self.lazy.iter().find(|lazy| lazy.name == name) else {
            return Ok(None);
        };
        match &*lazy.known.borrow() {
            Known::Value(outcome) => return outcome.clone().map(Some),
            Known::Asked => {
                return Err(EvalError::new(format!(
                    "composited variable {name:?} fails to evaluate: it asks for itself"
                )));
            }
            Known::NotYet => {}
        }
        lazy.known.replace(Known::Asked);
        let outcome = match lazy.of {
            Ok(compiled) => {
                let (outcome, cost) = compiled.evaluate(self, PER_CALL_LIMIT);
                let before = self.lazy_cost.get();
                self.lazy_cost.set(before.saturating_add(cost));
                let failed = |why| format!("composited variable {name:?} fails to evaluate: {why}");
                outcome.map_err(|why| EvalError::new(failed(why)))
            }
            Err(why) => Err(EvalError::new(format!(
                "composited variable {name:?} fails to compile: {why}"
            ))),
        };
        lazy.known.replace(Known::Value(outcome.clone()));
        outcome.map(Some)
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
                let cost = runtime::call(&call.function, &args, None);
                let outcome = call_owned(&call.function, args);
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

    fn attribute(&mut self, attribute: &'a Attribute) -> Outcome<'a> {
        let outcome = self.resolve(attribute);
        if matches!(outcome, Err(EvalError::CostLimit)) {
            return outcome;
        }
        if !attribute.test && !matches!(attribute.base, Base::Choice(_)) {
            self.pay(1)?;
        }
        outcome
    }

    fn local(&mut self, slot: usize) -> Outcome<'a> {
        if let Slot::Pending(node) = self.slots[slot] {
            let value = self.node(node);
            self.slots[slot] = stored(value)?;
        }
        match &self.slots[slot] {
            Slot::Value(value) => Ok(value.clone()),
            Slot::Error(error) => Err(error.clone()),
            Slot::Empty | Slot::Pending(_) => Err(EvalError::new("no such attribute(s)")),
        }
    }

    /// The value of a part of the data; paid for by the step.
    fn resolve(&mut self, attribute: &'a Attribute) -> Outcome<'a> {
        let base = match &attribute.base {
            Base::Local(slot) => self.local(*slot)?,
            Base::Variable(name) => match self.activation.get(name) {
                Some(value) => value.clone(),
                None => return Err(EvalError::new(format!("no such attribute(s): {name}"))),
            },
            Base::Node(node) => self.node(node)?,
            Base::Choice(choice) => {
                let (condition, yes, no) = &**choice;
                let branch = match self.node(condition)? {
                    Value::Bool(true) => yes,
                    Value::Bool(false) => no,
                    _ => return Err(EvalError::no_such_overload()),
                };
                match branch {
                    Branch::Attribute(attribute) => self.resolve(attribute)?,
                    Branch::Node(node) => self.node(node)?,
                }
            }
        };
        if attribute.path.is_empty() {
            return Ok(base);
        }
        self.walk(base, attribute)
    }

    fn walk(&mut self, base: Value<'a>, attribute: &'a Attribute) -> Outcome<'a> {
        let (mut value, mut optional) = match base {
            Value::Optional(None) if attribute.test => return Ok(Value::Bool(false)),
            Value::Optional(None) => return Ok(Value::Optional(None)),
            Value::Optional(Some(inner)) => ((*inner).clone(), true),
            other => (other, false),
        };
        let last = attribute.path.len() - 1;
        for (i, step) in attribute.path.iter().enumerate() {
            optional |= step.optional;
            let test = attribute.test && i == last;
            let found = self.step(&value, step);
            if matches!(found, Err(EvalError::CostLimit)) {
                return Err(EvalError::CostLimit);
            }
            match found {
                Ok(Some(_)) if test => {
                    self.pay(1)?;
                    return Ok(Value::Bool(true));
                }
                Ok(Some(found)) => {
                    self.pay(1)?;
                    value = found;
                }
                Ok(None) if test => {
                    self.pay(1)?;
                    return Ok(Value::Bool(false));
                }
                Ok(None) if optional && attribute.test => return Ok(Value::Bool(false)),
                Ok(None) if optional => return Ok(Value::Optional(None)),
                Ok(None) => {
                    self.pay(1)?;
                    return Err(self.missing(&value, step));
                }
                Err(error) => {
                    self.pay(1)?;
                    return Err(error);
                }
            }
        }
        Ok(if optional { Value::some(value) } else { value })
    }

    /// One step down; `None` if there is nothing.
    fn step(&mut self, value: &Value<'a>, step: &'a Step) -> Result<Option<Value<'a>>, EvalError> {
        if let (Value::Lazy, By::Name(name)) = (value, &step.by) {
            return self.activation.lazy(name);
        }
        match &step.by {
            By::Name(name) => select(value, name),
            By::Constant(key) => index(value, key),
            By::Attribute(attribute) => {
                let key = self.resolve(attribute)?;
                index(value, &key)
            }
            By::Node(node) => {
                let key = self.node(node)?;
                index(value, &key)
            }
        }
    }

    /// Why a step led nowhere. A key that is computed is computed again, for the message.
    fn missing(&mut self, value: &Value<'a>, step: &'a Step) -> EvalError {
        let key = match &step.by {
            By::Name(name) => return EvalError::no_such_key(name),
            By::Constant(key) => Ok(key.clone()),
            By::Attribute(attribute) => self.resolve(attribute),
            By::Node(node) => self.node(node),
        };
        match (key, value) {
            (Ok(key), Value::List(_)) => EvalError::new(format!("index out of bounds: {key}")),
            (Ok(key), _) => EvalError::no_such_key(key),
            (Err(error), _) => error,
        }
    }

    fn fold(&mut self, fold: &'a Fold) -> Outcome<'a> {
        let range = self.node(&fold.range)?;
        let init = self.node(&fold.init);
        self.slots[fold.accu] = stored(init)?;
        let done = match &range {
            Value::List(list) => self.over_list(fold, list),
            Value::Map(map) => self.over_map(fold, map),
            other => Err(EvalError::new(format!(
                "got '{}', expected iterable type",
                other.type_name()
            ))),
        };
        self.slots[fold.var] = Slot::Empty;
        if let Some(var2) = fold.var2 {
            self.slots[var2] = Slot::Empty;
        }
        done?;
        let result = self.node(&fold.result);
        self.slots[fold.accu] = Slot::Empty;
        result
    }

    fn over_list(&mut self, fold: &'a Fold, list: &List<'a>) -> Result<(), EvalError> {
        for index in 0..list.len() {
            let Some(element) = list.get(index) else {
                return Ok(());
            };
            let element = stored(element)?;
            match fold.var2 {
                Some(var2) => {
                    self.slots[fold.var] = Slot::Value(Value::Int(index as i64));
                    self.slots[var2] = element;
                }
                None => self.slots[fold.var] = element,
            }
            if !self.round(fold)? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn over_map(&mut self, fold: &'a Fold, map: &Map<'a>) -> Result<(), EvalError> {
        for key in map.keys() {
            if let Some(var2) = fold.var2 {
                let value = match map.get(&key) {
                    Ok(Some(value)) => Ok(value),
                    Ok(None) => Err(EvalError::no_such_key(&key)),
                    Err(error) => Err(error),
                };
                self.slots[var2] = stored(value)?;
            }
            self.slots[fold.var] = Slot::Value(key);
            if !self.round(fold)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// One round of a loop; whether there is another.
    fn round(&mut self, fold: &'a Fold) -> Result<bool, EvalError> {
        match self.node(&fold.condition) {
            Err(EvalError::CostLimit) => return Err(EvalError::CostLimit),
            Ok(Value::Bool(false)) => return Ok(false),
            _ => {}
        }
        let next = if fold.collects {
            self.collect(fold, &fold.step)
        } else {
            self.node(&fold.step)
        };
        self.slots[fold.accu] = stored(next)?;
        Ok(true)
    }

    /// A step of a loop that collects: what was collected is moved, not copied.
    fn collect(&mut self, fold: &'a Fold, step: &'a Node) -> Outcome<'a> {
        let is_accu = |node: &Node| {
            matches!(node, Node::Attribute(a)
                if a.path.is_empty() && matches!(a.base, Base::Local(slot) if slot == fold.accu))
        };
        match step {
            // c ? more : same
            Node::Attribute(attribute) if attribute.path.is_empty() => {
                let Base::Choice(choice) = &attribute.base else {
                    return self.attribute(attribute);
                };
                let (condition, yes, _) = &**choice;
                match self.node(condition)? {
                    Value::Bool(true) => match yes {
                        Branch::Node(node) => self.collect(fold, node),
                        Branch::Attribute(attribute) => self.resolve(attribute),
                    },
                    Value::Bool(false) => self.take(fold.accu),
                    _ => Err(EvalError::no_such_overload()),
                }
            }
            Node::Call(call) if call.args.len() >= 2 && is_accu(&call.args[0]) => {
                let mut rest = Vec::with_capacity(call.args.len());
                rest.push(Value::Null);
                self.pay(1)?;
                for arg in &call.args[1..] {
                    match self.node(arg) {
                        Ok(value) => rest.push(value),
                        Err(EvalError::CostLimit) => return Err(EvalError::CostLimit),
                        Err(error) => {
                            // the call of two arguments is paid for all the same
                            self.pay(u64::from(call.args.len() == 2))?;
                            return Err(error);
                        }
                    }
                }
                self.pay(1)?;
                rest[0] = self.take(fold.accu)?;
                call_owned(&call.function, rest)
            }
            other => self.node(other),
        }
    }

    fn take(&mut self, slot: usize) -> Outcome<'a> {
        match std::mem::replace(&mut self.slots[slot], Slot::Empty) {
            Slot::Value(value) => Ok(value),
            Slot::Error(error) => Err(error),
            Slot::Empty | Slot::Pending(_) => Err(EvalError::new("no such attribute(s)")),
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

/// The field or key `name` of a value.
fn select<'a>(value: &Value<'a>, name: &str) -> Result<Option<Value<'a>>, EvalError> {
    match value {
        Value::Map(map) => map.field(name),
        Value::Struct(object) => {
            let found = object.fields.iter().find(|(known, _)| **known == *name);
            Ok(found.map(|(_, value)| value.clone()))
        }
        Value::List(_) => Err(EvalError::new("unsupported index type 'string' in list")),
        _ => Ok(None),
    }
}

fn index<'a>(value: &Value<'a>, key: &Value<'_>) -> Result<Option<Value<'a>>, EvalError> {
    match (value, key) {
        (_, Value::String(name)) => select(value, name),
        (Value::Map(map), key) => map.get(key),
        (Value::List(list), key) => {
            let unsupported = || EvalError::new(format!("unsupported index value {key} in list"));
            let at = match key {
                Value::Int(at) => *at,
                Value::Uint(at) => i64::try_from(*at).map_err(|_| unsupported())?,
                Value::Double(at) => number::whole(*at).ok_or_else(unsupported)?,
                other => {
                    return Err(EvalError::new(format!(
                        "unsupported index type '{}' in list",
                        other.type_name()
                    )));
                }
            };
            match usize::try_from(at) {
                Ok(at) => list.get(at).transpose(),
                Err(_) => Ok(None),
            }
        }
        _ => Ok(None),
    }
}

/// Calls with values that nobody else needs: a list or map among them may grow in place.
fn call_owned<'a>(target: &Target, mut args: Vec<Value<'a>>) -> Outcome<'a> {
    match (target.name(), args.len()) {
        (crate::ast::op::ADD, 2) => match (args.pop(), args.pop()) {
            (Some(Value::List(right)), Some(Value::List(left))) => left.add(right).map(Value::List),
            (Some(right), Some(left)) => call_native(target, &[left, right]),
            _ => Err(EvalError::no_such_overload()),
        },
        ("cel.@mapInsert", _) => crate::library::two_variables::insert(args),
        _ => call_native(target, &args),
    }
}

/// Finds what does a call, and calls it.
pub fn call_native<'a>(target: &Target, args: &[Value<'a>]) -> Outcome<'a> {
    let function = &target.function;
    if let Some((native, guard)) = function.whole {
        if args.first().is_some_and(guard) {
            return native(args);
        }
        let receives = matches!(
            args.first(),
            Some(Value::String(_) | Value::Timestamp(_) | Value::Duration(_))
        );
        if receives {
            return Err(EvalError::no_such_overload());
        }
        return Err(EvalError::new(format!(
            "no such overload: {}",
            function.name
        )));
    }
    let fits = |overload: &&crate::function::Overload| {
        overload.args.len() == args.len()
            && (function.unguarded
                || overload
                    .args
                    .iter()
                    .zip(args)
                    .all(|(ty, arg)| arg.is_of(ty)))
    };
    let found = match target.overload {
        Some(at) => Some(&function.overloads[at]).filter(fits),
        None => function.overloads.iter().find(fits),
    };
    match found.and_then(|overload| overload.native) {
        Some(native) => native(args),
        None => {
            let types: Vec<&str> = args.iter().map(Value::type_name).collect();
            Err(EvalError::new(format!(
                "no such overload: {}({})",
                function.name,
                types.join(", ")
            )))
        }
    }
}
