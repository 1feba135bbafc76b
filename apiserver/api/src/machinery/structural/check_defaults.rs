//! The defaults of a schema: that they fit it, for who writes a definition, and that they are pruned, for who serves it.
//!
//! Invariant: what is said of defaults within metadata is said of an object that is made around them.
//! Follows `apiextensions-apiserver/pkg/apiserver/schema/defaulting/{validation,prune,surroundingobject}.go`.

use std::ops::ControlFlow;

use serde_json::{Map, Value};

use super::{
    Structural, Visit,
    metadata::{self, Malformed},
    node::{Additional, Node},
    prune::{self, Out, is_meta},
    read::Reader,
    validate::{self, Mode},
    walk,
};
use crate::machinery::{
    field::{Errors, Path},
    problem::Problem,
};

/// A default whose rules are to be held: it fits its schema otherwise.
pub struct Default<'d> {
    pub node: &'d Node,
    /// It is a whole object, with a kind and metadata.
    pub whole: bool,
    pub value: &'d Value,
}

impl Default<'_> {
    /// Visits the places that have rules, as [`Structural::walk`] does.
    pub fn walk(
        &self,
        old: Option<&Value>,
        path: &Path,
        visit: &mut dyn FnMut(&Visit, &Path) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        walk::walk_node(self.node, self.whole, self.value, old, path, visit)
    }
}

const UNKNOWN: Out = Out {
    unknown: true,
    nulls: false,
};

/// Holds a default to its rules, adding what is wrong; breaks off when nothing more is to be checked.
pub type Rules<'f> = dyn FnMut(&Default, &Path, &mut Errors) -> ControlFlow<()> + 'f;

/// The way from an object to a place in it.
#[derive(Clone, Copy)]
enum Way<'a> {
    Whole,
    Key(&'a Way<'a>, &'a str),
    Item(&'a Way<'a>),
}

impl Way<'_> {
    /// An object with `value` at this place.
    fn around(&self, value: Value) -> Value {
        match self {
            Way::Whole => value,
            Way::Key(parent, name) => {
                parent.around(Value::Object(Map::from_iter([((*name).into(), value)])))
            }
            Way::Item(parent) => parent.around(Value::Array(vec![value])),
        }
    }

    /// What stands at this place.
    fn within(&self, object: Value) -> Option<Value> {
        match self {
            Way::Whole => Some(object),
            Way::Key(parent, name) => match parent.within(object)? {
                Value::Object(mut map) => map.remove(*name),
                _ => None,
            },
            Way::Item(parent) => match parent.within(object)? {
                Value::Array(items) => items.into_iter().next(),
                _ => None,
            },
        }
    }
}

impl Structural {
    /// What is wrong with the defaults of a definition's schema. `path` is that of the schema (`spec.validation.openAPIV3Schema`); `pruned`: they may
    /// not have unknown fields; `rules` is called for those that have rules.
    pub fn check_defaults(&self, path: &Path, pruned: bool, rules: &mut Rules) -> Errors {
        let mut check = Check {
            errors: Errors::default(),
            pruned,
            rules,
        };
        // whoever breaks off has told why
        let _: ControlFlow<()> = check.node(
            &Scope {
                node: self.root(),
                root: self.root(),
                whole: true,
                way: Way::Whole,
                in_metadata: false,
            },
            path,
        );
        check.errors
    }

    /// The schema as objects are served by it: its defaults without what it does not name.
    ///
    /// # Errors
    /// Those of `read`, and a default of the whole that is no object.
    pub fn read_served(reader: &mut Reader, schema: &Value) -> Result<Structural, Problem> {
        let read = Structural::read_by(reader, schema)?;
        let mut changes = Vec::new();
        let root = read.root();
        pruned(root, root, &Way::Whole, &mut String::new(), &mut changes)?;
        if changes.is_empty() {
            return Ok(read);
        }
        let mut schema = schema.clone();
        for (at, default) in changes {
            if let Some(Value::Object(map)) = schema.pointer_mut(&at) {
                map.insert("default".into(), default);
            }
        }
        Structural::read_by(reader, &schema)
    }
}

/// A node, and the object that it is within.
struct Scope<'s> {
    node: &'s Node,
    root: &'s Node,
    whole: bool,
    way: Way<'s>,
    in_metadata: bool,
}

struct Check<'c, 'f> {
    errors: Errors,
    pruned: bool,
    rules: &'c mut Rules<'f>,
}

impl Check<'_, '_> {
    fn node(&mut self, scope: &Scope, path: &Path) -> ControlFlow<()> {
        let node = scope.node;
        let begins = scope.whole || node.body.embedded;
        let begun = Scope {
            node,
            root: node,
            whole: true,
            way: Way::Whole,
            in_metadata: false,
        };
        let scope = if begins { &begun } else { scope };
        if let Some(default) = &node.body.default {
            self.default(default, scope, &path.child("default"))?;
        }
        // there are none below additional properties
        if let Some(items) = node.items() {
            let below = Scope {
                node: items,
                root: scope.root,
                whole: false,
                way: Way::Item(&scope.way),
                in_metadata: scope.in_metadata,
            };
            self.node(&below, &path.child("items"))?;
        }
        for (name, property) in node.properties() {
            let below = Scope {
                node: property,
                root: scope.root,
                whole: false,
                way: Way::Key(&scope.way, name),
                in_metadata: scope.in_metadata || (scope.whole && is_meta(name)),
            };
            self.node(&below, &path.child("properties").key(name))?;
        }
        ControlFlow::Continue(())
    }

    fn default(&mut self, default: &Value, scope: &Scope, path: &Path) -> ControlFlow<()> {
        let (node, whole) = (scope.node, scope.whole);
        let before = self.errors.len();
        let mut value = default.clone();
        if scope.in_metadata {
            self.in_metadata(default, scope, path);
        } else {
            if self.pruned {
                let mut pruned = default.clone();
                prune::take_out(&mut pruned, node, whole, UNKNOWN);
                if pruned != *default {
                    let said = "must not have unknown fields";
                    self.errors.invalid(path, default.clone(), said);
                }
            }
            let before = self.errors.len();
            let refused = Malformed::Refused;
            match metadata::coerce(&mut value, node, whole, refused, path, &mut Vec::new()) {
                Err(error) => self.errors.0.push(error),
                Ok(()) => metadata::validate(&value, node, whole, path, &mut self.errors),
            }
            if self.errors.len() > before {
                return ControlFlow::Continue(());
            }
        }
        if scope.in_metadata && self.errors.len() > before {
            return ControlFlow::Continue(());
        }
        let before = self.errors.len();
        validate::validate(&value, None, node, Mode::Defaults, path, &mut self.errors);
        if self.errors.len() > before || !node.body.ruled_itself {
            return ControlFlow::Continue(());
        }
        let default = Default {
            node,
            whole,
            value: &value,
        };
        (self.rules)(&default, path, &mut self.errors)
    }

    fn in_metadata(&mut self, default: &Value, scope: &Scope, path: &Path) {
        let mut object = scope.way.around(default.clone());
        if let Value::Object(map) = &mut object {
            for (name, value) in [("kind", "Validation"), ("apiVersion", "validation/v1")] {
                map.entry(name).or_insert_with(|| value.into());
            }
        }
        let refused = Malformed::Refused;
        let whole = Path::WHOLE;
        let coerced = metadata::coerce(
            &mut object,
            scope.root,
            true,
            refused,
            &whole,
            &mut Vec::new(),
        );
        let said = match coerced {
            Err(error) => error.to_string(),
            Ok(()) => {
                let wrong = Errors::of(|errors| {
                    metadata::validate(&object, scope.root, true, &whole, errors);
                });
                if wrong.is_empty() {
                    return;
                }
                wrong.message()
            }
        };
        let said = format!("must result in valid metadata: {said}");
        self.errors.invalid(path, default.clone(), said);
    }
}

/// Adds what becomes of the defaults from the node down that are not as they should be, with the place of their schema as a JSON pointer.
fn pruned(
    node: &Node,
    root: &Node,
    way: &Way,
    at: &mut String,
    changes: &mut Vec<(String, Value)>,
) -> Result<(), Problem> {
    if let Some(default) = &node.body.default {
        let mut object = way.around((**default).clone());
        if !object.is_object() {
            return Err(
                "failed to prune default value: object root default value must be of object type"
                    .into(),
            );
        }
        let dropped = Malformed::Dropped;
        metadata::coerce(
            &mut object,
            root,
            true,
            dropped,
            &Path::WHOLE,
            &mut Vec::new(),
        )
        .map_err(|error| Problem(format!("failed to prune default value: {error}")))?;
        prune::take_out(&mut object, root, true, UNKNOWN);
        let kept = way.within(object).unwrap_or(Value::Null);
        if kept != **default {
            changes.push((at.clone(), kept));
        }
    }
    let length = at.len();
    if let Additional::Node(of) = &node.body.additional {
        at.push_str("/additionalProperties");
        pruned(of, root, &Way::Key(way, "*"), at, changes)?;
        at.truncate(length);
    }
    if let Some(of) = node.items() {
        at.push_str("/items");
        pruned(of, root, &Way::Item(way), at, changes)?;
        at.truncate(length);
    }
    for (name, property) in node.properties() {
        at.push_str("/properties/");
        at.push_str(&name.replace('~', "~0").replace('/', "~1"));
        pruned(property, root, &Way::Key(way, name), at, changes)?;
        at.truncate(length);
    }
    Ok(())
}
