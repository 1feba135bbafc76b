//! Visits the places of an object that have rules, in the order in which upstream's CEL validator does.
//!
//! Invariant: a place without a rule, there or below, is not visited; null has no rules. What is said within `allOf` is visited after the place itself,
//! with the node of the place beside it.
//! Follows `apiextensions-apiserver/pkg/apiserver/schema/cel/validation.go` (the walk, the old values and what is told on update).

use std::ops::ControlFlow;

use serde_json::{Map, Value};

use super::{
    Structural,
    correlate::{Correlated, OldItems},
    node::Node,
};
use crate::machinery::field::Path;

/// A place with rules.
pub struct Visit<'w> {
    /// Whose rules are to be held: `node` itself, or a part of its `allOf`.
    pub rules_of: &'w Node,
    /// What the value is.
    pub node: &'w Node,
    /// It is a whole object, with a kind and metadata.
    pub whole: bool,
    pub new: &'w Value,
    /// What it was; what was null was not there.
    pub old: Option<&'w Value>,
    past: Past<'w>,
}

impl Visit<'_> {
    /// What is wrong here was so before, and is not told on an update.
    pub fn ratchets(&self) -> bool {
        match self.past.here {
            Some(here) => here.unchanged(),
            None => self.past.above.is_some_and(|above| above.unchanged()),
        }
    }
}

/// The place as it was before, and the nearest one above it that was there.
#[derive(Clone, Copy, Default)]
struct Past<'w> {
    here: Option<Correlated<'w>>,
    above: Option<Correlated<'w>>,
}

impl<'w> Past<'w> {
    fn key(self, name: &str) -> Past<'w> {
        match self.here {
            None => self,
            // both objects were brought to one version
            Some(_) if self.above.is_none() && matches!(name, "apiVersion" | "kind") => {
                Past::default()
            }
            Some(here) => Past {
                here: here.key(name),
                above: self.here,
            },
        }
    }

    fn index(self, items: Option<&OldItems<'w>>, at: usize) -> Past<'w> {
        match self.here.zip(items) {
            None => self,
            Some((here, items)) => Past {
                here: here.index(items, at),
                above: self.here,
            },
        }
    }
}

type Visitor<'f> = dyn FnMut(&Visit, &Path) -> ControlFlow<()> + 'f;

impl Structural {
    /// Visits each place that has rules with its value, what it was, and its path below `path`, until the visitor breaks off.
    pub fn walk(
        &self,
        new: &Value,
        old: Option<&Value>,
        path: &Path,
        visit: &mut Visitor,
    ) -> ControlFlow<()> {
        walk_node(self.root(), true, new, old, path, visit)
    }
}

/// The same from a node down; `whole` tells that it is an object with a kind and metadata.
pub(super) fn walk_node(
    node: &Node,
    whole: bool,
    new: &Value,
    old: Option<&Value>,
    path: &Path,
    visit: &mut Visitor,
) -> ControlFlow<()> {
    if !node.body.ruled_itself {
        return ControlFlow::Continue(());
    }
    let past = Past {
        here: old.map(|old| Correlated { node, new, old }),
        above: None,
    };
    let visit_of = Visit {
        rules_of: node,
        node,
        whole,
        new,
        old: old.filter(|old| !old.is_null()),
        past,
    };
    at(visit_of, path, visit)
}

fn at(here: Visit, path: &Path, visit: &mut Visitor) -> ControlFlow<()> {
    if !here.rules_of.body.ruled || here.new.is_null() {
        return ControlFlow::Continue(());
    }
    if !here.rules_of.rules().is_empty() {
        visit(&here, path)?;
    }
    for part in here.rules_of.all_of() {
        let within = Visit {
            rules_of: part,
            past: Past {
                here: None,
                above: here.past.above,
            },
            ..here
        };
        at(within, path, visit)?;
    }
    match here.new {
        Value::Array(items) => elements(&here, items, path, visit),
        Value::Object(map) => fields(&here, map, path, visit),
        _ => ControlFlow::Continue(()),
    }
}

fn elements(here: &Visit, items: &[Value], path: &Path, visit: &mut Visitor) -> ControlFlow<()> {
    let Some((rules_of, node)) = here.rules_of.items().zip(here.node.items()) else {
        return ControlFlow::Continue(());
    };
    if !rules_of.body.ruled {
        return ControlFlow::Continue(());
    }
    let old_items = here.old.map(|old| OldItems::new(here.node, old));
    let past_items = here.past.here.map(|here| here.items());
    for (index, new) in items.iter().enumerate() {
        let old = old_items.as_ref().and_then(|items| items.get(new));
        let below = Visit {
            rules_of,
            node,
            whole: node.body.embedded,
            new,
            old,
            past: here.past.index(past_items.as_ref(), index),
        };
        at(below, &path.index(index), visit)?;
    }
    ControlFlow::Continue(())
}

fn fields(
    here: &Visit,
    map: &Map<String, Value>,
    path: &Path,
    visit: &mut Visitor,
) -> ControlFlow<()> {
    let old = here.old.and_then(Value::as_object);
    let mut below = |rules_of, node: &Node, name: &str, new, path: &Path| {
        if !Node::is_ruled(rules_of) {
            return ControlFlow::Continue(());
        }
        let old = old.and_then(|old| old.get(name));
        let below = Visit {
            rules_of,
            node,
            whole: node.body.embedded,
            new,
            old: old.filter(|old| !old.is_null()),
            past: here.past.key(name),
        };
        at(below, path, visit)
    };
    if let Some((rules_of, node)) = here.rules_of.additional().zip(here.node.additional()) {
        for (name, new) in map {
            below(rules_of, node, name, new, &path.key(name))?;
        }
    }
    for (name, new) in map {
        if let Some((rules_of, node)) = here.rules_of.property(name).zip(here.node.property(name)) {
            below(rules_of, node, name, new, &path.child(name))?;
        }
    }
    ControlFlow::Continue(())
}
