//! Ways down from a value: fields, keys and indexes, in which optional ones may lead nowhere.
//!
//! Invariant: each step costs one, whether it leads somewhere or not; one that is optional and leads nowhere costs nothing.
//! Follows upstream's `vendor/github.com/google/cel-go/interpreter/attributes.go`.

use super::{Machine, Slot, stored};
use crate::error::EvalError;
use crate::plan::{Attribute, Base, Branch, By, Step};
use crate::value::Outcome;
use crate::value::{Value, number};

impl<'a> Machine<'a, '_> {
    pub(super) fn attribute(&mut self, attribute: &'a Attribute) -> Outcome<'a> {
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
    pub(super) fn resolve(&mut self, attribute: &'a Attribute) -> Outcome<'a> {
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
        match &step.by {
            By::Name(name) if matches!(value, Value::Lazy) => self.activation.lazy(name),
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
