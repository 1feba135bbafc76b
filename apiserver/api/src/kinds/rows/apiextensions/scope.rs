//! A place of a schema as its rules see it: how many values there may be of it, and of what type they are.
//!
//! Invariant: a type is made where a rule asks for it, once, and those of places below are parts of it.
//! Follows `CELSchemaContext` of `pkg/apis/apiextensions/validation/cel_validation.go` of apiextensions-apiserver.

use std::{cell::OnceCell, sync::Arc};

use super::cost;
use crate::kinds::prelude::*;
use crate::machinery::cel::{self, Declared, declared::Shape, escape::escape};

/// The name of the type of `self`, which nobody is to rely on.
const SELF: &str = "selfType";

pub struct Scope<'s> {
    schema: &'s Value,
    /// A rule stands here or above.
    ruled: bool,
    /// How many values of it there may be in an object; `None` without a bound.
    most: Option<u64>,
    above: Option<(&'s Scope<'s>, Step<'s>)>,
    declared: OnceCell<Option<Arc<Declared>>>,
}

/// The way down from the place above.
#[derive(Clone, Copy)]
enum Step<'s> {
    Property(&'s str),
    Further,
    Item,
}

impl<'s> Scope<'s> {
    pub fn root(schema: &'s Value) -> Scope<'s> {
        Scope {
            schema,
            ruled: is_ruled(schema),
            most: Some(1),
            above: None,
            declared: OnceCell::new(),
        }
    }

    pub fn property<'c>(&'c self, name: &'c str, schema: &'c Value) -> Scope<'c> {
        self.below(Step::Property(name), schema)
    }

    /// That of further properties.
    pub fn further<'c>(&'c self, schema: &'c Value) -> Scope<'c> {
        self.below(Step::Further, schema)
    }

    pub fn items<'c>(&'c self, schema: &'c Value) -> Scope<'c> {
        self.below(Step::Item, schema)
    }

    fn below<'c>(&'c self, step: Step<'c>, schema: &'c Value) -> Scope<'c> {
        let times = cost::multiplies(self.schema);
        Scope {
            schema,
            ruled: self.ruled || is_ruled(schema),
            most: self
                .most
                .zip(times)
                .map(|(most, times)| most.saturating_mul(times)),
            above: Some((self, step)),
            declared: OnceCell::new(),
        }
    }

    /// The type of the values; `None` where there is none that an expression could know.
    pub fn declared(&self) -> Option<&Arc<Declared>> {
        self.declared
            .get_or_init(|| {
                let part = self
                    .above
                    .filter(|(above, _)| above.ruled)
                    .and_then(|(above, step)| part(above.declared()?, step));
                let found = part.unwrap_or_else(|| match self.above {
                    None => cel::declare_root(self.schema, SELF),
                    Some(_) => cel::declare(self.schema, SELF),
                });
                found.ty.is_some().then_some(found)
            })
            .as_ref()
    }

    /// How many values there may be, by their own size where no bound is set.
    pub fn most(&self, declared: &Declared) -> u64 {
        self.most.unwrap_or_else(|| cel::max_cardinality(declared))
    }
}

fn is_ruled(schema: &Value) -> bool {
    !schema.list("x-kubernetes-validations").is_empty()
}

/// The type of what is one step below.
fn part(of: &Declared, step: Step) -> Option<Arc<Declared>> {
    let found = match (&of.shape, step) {
        (Shape::Object(properties), Step::Property(name)) => {
            escape(name)?;
            &properties.get(name)?.declared
        }
        (Shape::List { items, .. }, Step::Item) => items,
        (Shape::Map(values), Step::Further) => values,
        _ => return None,
    };
    found.ty.is_some().then(|| found.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_many_values_rules_are_held_to() {
        let root = json!({"type": "object", "x-kubernetes-validations": [{}]});
        let list = json!({"type": "array", "maxItems": 5, "items": {"type": "string"}});
        let map = json!({"type": "object", "additionalProperties": {"type": "string"}});
        let text = json!({"type": "string"});
        let scope = Scope::root(&root);
        let lists = scope.property("a", &list);
        let maps = scope.property("b", &map);
        let most = |scope: &Scope| scope.most(scope.declared().unwrap());
        assert_eq!((most(&scope), most(&lists)), (1, 1));
        assert_eq!(most(&lists.items(&text)), 5);
        assert_eq!(most(&maps.further(&text)), 3 * 1024 * 1024 / 3);
        let nested = maps.further(&list);
        assert_eq!(most(&nested.items(&text)), 3 * 1024 * 1024 / 3);
    }

    #[test]
    fn types_are_parts_of_those_above() {
        let root = json!({"type": "object", "x-kubernetes-validations": [{}], "properties": {"metadata": {"type": "object"}, "a": {"x-kubernetes-preserve-unknown-fields": true}}});
        let scope = Scope::root(&root);
        let metadata = scope.property("metadata", &root["properties"]["metadata"]);
        // what every object has can be asked for
        assert!(
            matches!(&metadata.declared().unwrap().shape, Shape::Object(properties) if properties.contains_key("name"))
        );
        let hidden = scope.property("a", &root["properties"]["a"]);
        assert!(hidden.declared().is_none());
    }
}
