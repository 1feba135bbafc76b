//! Loops, which all macros over lists and maps are.
//!
//! Invariant: what a loop collects is moved from round to round, so that collecting is linear.
//! Follows `evalFold` in upstream's `vendor/github.com/google/cel-go/interpreter/interpretable.go`.

use super::{Machine, Slot, stored};
use crate::call;
use crate::error::EvalError;
use crate::plan::{Base, Branch, Fold, Node};
use crate::value::Outcome;
use crate::value::{List, Map, Value};

impl<'a> Machine<'a, '_> {
    pub(super) fn fold(&mut self, fold: &'a Fold) -> Outcome<'a> {
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
            Node::Call(function_call)
                if function_call.args.len() >= 2 && is_accu(&function_call.args[0]) =>
            {
                let mut rest = Vec::with_capacity(function_call.args.len());
                rest.push(Value::Null);
                self.pay(1)?;
                for arg in &function_call.args[1..] {
                    match self.node(arg) {
                        Ok(value) => rest.push(value),
                        Err(EvalError::CostLimit) => return Err(EvalError::CostLimit),
                        Err(error) => {
                            // the call of two arguments is paid for all the same
                            self.pay(u64::from(function_call.args.len() == 2))?;
                            return Err(error);
                        }
                    }
                }
                self.pay(1)?;
                rest[0] = self.take(fold.accu)?;
                call::call_owned(&function_call.function, rest)
            }
            other => self.node(other),
        }
    }

    pub(super) fn take(&mut self, slot: usize) -> Outcome<'a> {
        match std::mem::replace(&mut self.slots[slot], Slot::Empty) {
            Slot::Value(value) => Ok(value),
            Slot::Error(error) => Err(error),
            Slot::Empty | Slot::Pending(_) => Err(EvalError::new("no such attribute(s)")),
        }
    }
}
