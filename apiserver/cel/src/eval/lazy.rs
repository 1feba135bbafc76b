//! Variables that are expressions themselves: each is evaluated when it is asked for, once, at a cost of its own.
//!
//! Invariant: one that asks for itself is an error. Follows upstream's `staging/src/k8s.io/apiserver/pkg/cel/lazy/lazy.go` and
//! `pkg/admission/plugin/cel/composition.go`.

use super::{Activation, run};
use crate::error::EvalError;
use crate::escape::unescape;
use crate::plan::Plan;
use crate::quote::GoQuoted;
use crate::value::{Outcome, Value};
use std::cell::{Cell, RefCell};

/// The fields of [`Value::Lazy`].
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    fields: Vec<Lazy<'a>>,
    /// What those that were evaluated cost since it was asked last.
    cost: Cell<u64>,
}

#[derive(Debug)]
struct Lazy<'a> {
    name: &'a str,
    /// Or why it cannot be evaluated.
    of: Result<&'a Plan, String>,
    /// The most that it may cost.
    limit: u64,
    known: RefCell<Known<'a>>,
}

#[derive(Debug)]
enum Known<'a> {
    NotYet,
    /// It is being evaluated.
    Asked,
    Value(Outcome<'a>),
}

impl<'a> Activation<'a> {
    pub(crate) fn set_lazy_plan(
        &mut self,
        name: &'a str,
        of: Result<&'a Plan, String>,
        limit: u64,
    ) {
        let known = RefCell::new(Known::NotYet);
        self.lazy.fields.retain(|known| known.name != name);
        self.lazy.fields.push(Lazy {
            name,
            of,
            limit,
            known,
        });
    }

    /// What fields of [`Value::Lazy`] that were evaluated cost since it was asked last.
    pub fn take_lazy_cost(&self) -> u64 {
        self.lazy.cost.take()
    }

    /// A field of [`Value::Lazy`]; `None` if there is none of that name.
    pub(super) fn lazy(&self, name: &str) -> Result<Option<Value<'a>>, EvalError> {
        let Some(name) = unescape(name) else {
            return Ok(None);
        };
        let Some(lazy) = self.lazy.fields.iter().find(|lazy| lazy.name == name) else {
            return Ok(None);
        };
        match &*lazy.known.borrow() {
            Known::Value(outcome) => return outcome.clone().map(Some),
            Known::Asked => {
                return Err(EvalError::new(format!(
                    "composited variable {name} fails to evaluate: it asks for itself",
                    name = GoQuoted(&name)
                )));
            }
            Known::NotYet => {}
        }
        lazy.known.replace(Known::Asked);
        let outcome = match &lazy.of {
            Ok(plan) => {
                let (outcome, cost) = run(plan, self, lazy.limit);
                let before = self.lazy.cost.get();
                self.lazy.cost.set(before.saturating_add(cost));
                let failed = |why| {
                    format!(
                        "composited variable {name} fails to evaluate: {why}",
                        name = GoQuoted(&name)
                    )
                };
                outcome.map_err(|why| EvalError::new(failed(why)))
            }
            Err(why) => Err(EvalError::new(format!(
                "composited variable {name} fails to compile: {why}",
                name = GoQuoted(&name)
            ))),
        };
        lazy.known.replace(Known::Value(outcome.clone()));
        outcome.map(Some)
    }
}
