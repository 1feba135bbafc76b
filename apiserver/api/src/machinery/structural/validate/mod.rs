//! Holds objects to their schema.
//!
//! Invariant: what is right costs no allocation.
//! Follows `kube-openapi/pkg/validation/validate` and `apiextensions-apiserver/pkg/apiserver/validation/{validation,ratcheting}.go`.

mod alternatives;
mod fault;
mod number;

use serde_json::{Map, Value};

use super::{
    correlate::Correlated,
    node::{Additional, Checks, Kind, Node},
};
use crate::machinery::field::{Errors, Path};
use fault::{Fault, Place};
use number::{Num, Range};

/// As what a schema is read. Upstream has two ways from a definition's schema to its validator's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// For objects: a place for a whole number or a string has both types, and formats count that are known for the type.
    Objects,
    /// For defaults in definitions: such a place has the type that it says, and all formats count.
    Defaults,
}

/// Holds `value` to the node; what is as it was in `old` is not told.
pub(super) fn validate(
    value: &Value,
    old: Option<&Value>,
    node: &Node,
    mode: Mode,
    path: &Path,
    errors: &mut Errors,
) {
    let mut run = Run {
        faults: Vec::new(),
        failed: 0,
        silent: false,
        mode,
    };
    let past = old.map(|old| Correlated {
        node,
        new: value,
        old,
    });
    run.node(value, node, &Place::Whole, past);
    fault::tell(run.faults, path, errors);
}

struct Run<'s> {
    faults: Vec<Fault<'s>>,
    /// How many there were, told or not.
    failed: usize,
    silent: bool,
    mode: Mode,
}

/// The types that a value may be of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Types {
    Any,
    One(Kind),
    IntegerOrString,
}

impl Types {
    fn has(self, kind: Kind) -> bool {
        match self {
            Types::Any => false,
            Types::One(one) => one == kind,
            Types::IntegerOrString => matches!(kind, Kind::Integer | Kind::String),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Types::Any => "",
            Types::One(kind) => kind.name(),
            Types::IntegerOrString => "integer,string",
        }
    }
}

/// The type of a value, and the format that Go gives to it.
fn kind_of(value: &Value) -> (Kind, &'static str) {
    match value {
        Value::Null => (Kind::Any, ""),
        Value::Bool(_) => (Kind::Boolean, ""),
        Value::String(_) => (Kind::String, ""),
        Value::Array(_) => (Kind::Array, ""),
        Value::Object(_) => (Kind::Object, ""),
        Value::Number(number) => match Num::of(number) {
            Num::Int(_) => (Kind::Integer, "int64"),
            Num::Float(_) => (Kind::Number, "float64"),
        },
    }
}

impl<'s> Run<'s> {
    fn fail(&mut self, fault: impl FnOnce() -> Fault<'s>) {
        self.failed += 1;
        if !self.silent {
            self.faults.push(fault());
        }
    }

    fn types(&self, node: &Node) -> Types {
        match node.body.kind {
            _ if node.body.int_or_string && self.mode == Mode::Objects => Types::IntegerOrString,
            Kind::Any => Types::Any,
            kind => Types::One(kind),
        }
    }

    fn format(&self, checks: Option<&'s Checks>) -> &'s str {
        let format = checks.and_then(|checks| checks.format.as_ref());
        format
            .filter(|format| format.fits || self.mode == Mode::Defaults)
            .map_or("", |format| &format.text)
    }

    /// Holds a value to a node. Answers how many checks agreed or were at least made, by which alternatives are chosen.
    fn node(
        &mut self,
        value: &Value,
        node: &'s Node,
        place: &Place,
        past: Option<Correlated>,
    ) -> u32 {
        let (told, failed) = (self.faults.len(), self.failed);
        let agreed = self.checks(value, node, place, past);
        if self.failed > failed && past.is_some_and(|past| past.unchanged()) {
            self.faults.truncate(told);
            self.failed = failed;
        }
        agreed
    }

    fn checks(
        &mut self,
        value: &Value,
        node: &'s Node,
        place: &Place,
        past: Option<Correlated>,
    ) -> u32 {
        let checks = node.body.checks.as_deref();
        let format = self.format(checks);
        let types = self.types(node);
        let mut agreed = 0;
        if value.is_null() {
            agreed += self.null(node, types, place);
            self.is_one_of(value, checks, place);
            return agreed;
        }
        if types != Types::Any || !format.is_empty() {
            agreed += 1 + u32::from(self.is_of_type(value, types, format, place));
        }
        agreed += 2;
        if let Some(checks) = checks {
            agreed += self.alternatives(value, checks, place);
        }
        match value {
            Value::String(text) => {
                agreed += 1;
                if let Some(checks) = checks {
                    self.text(text, checks, place);
                    agreed += self.text_format(text, checks, format, place);
                }
            }
            Value::Number(number) => {
                agreed += 2;
                self.number(Num::of(number), checks, range(types, format), place);
            }
            Value::Array(items) => {
                agreed += 2 + self.items(items, node, checks, place, past);
            }
            _ => {}
        }
        agreed += 1;
        self.is_one_of(value, checks, place);
        if let Value::Object(map) = value {
            agreed += 1 + self.object(map, node, checks, place, past);
        }
        agreed + 1
    }

    fn null(&mut self, node: &Node, types: Types, place: &Place) -> u32 {
        if types == Types::Any || node.body.nullable {
            return 1;
        }
        self.fail(|| Fault::wrong_type(place, types.name(), "null"));
        0
    }

    fn is_of_type(&mut self, value: &Value, types: Types, format: &str, place: &Place) -> bool {
        let (kind, its_format) = kind_of(value);
        let stands_for = match value {
            Value::Number(number) => match Num::of(number) {
                Num::Float(number) => number::is_whole(number) && types.has(Kind::Integer),
                Num::Int(_) => types.has(Kind::Number),
            },
            _ => false,
        };
        let fits = types.has(kind) || stands_for;
        let by_format = !format.is_empty();
        let is_text = matches!(kind, Kind::String | Kind::Array);
        if by_format && !is_text && !fits && its_format != format {
            self.fail(|| Fault::wrong_type(place, format, its_format));
            return false;
        }
        let of_numbers = types.has(Kind::Number) || types.has(Kind::Integer);
        if fits || (by_format && is_text && !of_numbers) {
            return true;
        }
        self.fail(|| Fault::wrong_type(place, types.name(), kind.name()));
        false
    }

    fn text(&mut self, text: &str, checks: &Checks, place: &Place) {
        // a character takes one to four bytes, so that most need not be counted
        let bytes = text.len() as i64;
        let may_be_long = checks.max_length.is_some_and(|most| bytes > most);
        let may_be_short = checks
            .min_length
            .is_some_and(|least| bytes < least.saturating_mul(4));
        if may_be_long || may_be_short {
            let length = text.chars().count() as i64;
            if let Some(most) = checks.max_length.filter(|most| length > *most) {
                return self.fail(|| Fault::too_long(place, most));
            }
            if let Some(least) = checks.min_length.filter(|least| length < *least) {
                let words = format!("should be at least {least} chars long");
                return self.fail(|| Fault::in_body(place, text, &words));
            }
        }
        let Some(pattern) = &checks.pattern else {
            return;
        };
        match pattern.is_match(text) {
            Ok(true) => {}
            Ok(false) => self.fail(|| {
                let words = format!("should match '{}'", pattern.text());
                Fault::in_body(place, text, &words)
            }),
            Err(why) => self.fail(|| {
                let pattern = pattern.text();
                let words = format!("should match '{pattern}, but pattern is invalid: {why}'");
                Fault::in_body(place, text, &words)
            }),
        }
    }

    fn text_format(&mut self, text: &str, checks: &Checks, format: &str, place: &Place) -> u32 {
        let known = checks.format.as_ref().and_then(|format| format.check);
        let Some(is_of) = known.filter(|_| !format.is_empty()) else {
            return 0;
        };
        if !is_of(text) {
            self.fail(|| Fault::wrong_type(place, format, text));
        }
        1
    }

    fn is_one_of(&mut self, value: &Value, checks: Option<&'s Checks>, place: &Place) {
        let allowed = checks.map_or(&[][..], |checks| &checks.one_of_values);
        if !allowed.is_empty() && !allowed.iter().any(|one| converts_to(value, one)) {
            self.fail(|| Fault::not_one_of(place, value, allowed));
        }
    }

    fn items(
        &mut self,
        items: &[Value],
        node: &'s Node,
        checks: Option<&'s Checks>,
        place: &Place,
        past: Option<Correlated>,
    ) -> u32 {
        let mut agreed = 0;
        if let Some(of) = node.items() {
            let old_items = past.map(|past| past.items());
            for (at, item) in items.iter().enumerate() {
                let past = past
                    .zip(old_items.as_ref())
                    .and_then(|(past, items)| past.index(items, at));
                agreed += self.node(item, of, &Place::Index(place, at), past);
            }
        }
        let Some(checks) = checks else { return agreed };
        let bounds = (checks.min_items, checks.max_items);
        self.count(items.len(), bounds, "items", place);
        if checks.unique_items && has_doubles(items) {
            self.fail(|| Fault::in_body(place, "", "shouldn't contain duplicates"));
        }
        agreed
    }

    /// Holds the number of a value's parts to the least and the most that there may be.
    fn count(
        &mut self,
        parts: usize,
        (least, most): (Option<i64>, Option<i64>),
        of: &'static str,
        place: &Place,
    ) {
        let parts = parts as i64;
        if let Some(least) = least.filter(|least| parts < *least) {
            let words = format!("should have at least {least} {of}");
            self.fail(|| Fault::in_body(place, parts, &words));
        }
        if let Some(most) = most.filter(|most| parts > *most) {
            self.fail(|| Fault::too_many(place, parts, most, of));
        }
    }

    fn object(
        &mut self,
        map: &Map<String, Value>,
        node: &'s Node,
        checks: Option<&'s Checks>,
        place: &Place,
        past: Option<Correlated>,
    ) -> u32 {
        let mut agreed = 0;
        if let Some(checks) = checks {
            let bounds = (checks.min_properties, checks.max_properties);
            self.count(map.len(), bounds, "properties", place);
        }
        match &node.body.additional {
            Additional::Bool(false) => {
                for name in map.keys().filter(|name| node.property(name).is_none()) {
                    self.fail(|| {
                        Fault::invalid(place, name.as_str().into(), |at| {
                            format!("{at}.{name} in body is a forbidden property")
                        })
                    });
                }
            }
            Additional::Node(of) => {
                for (name, child) in map {
                    if node.property(name).is_none() {
                        let past = self.field(past, place, name);
                        agreed += self.node(child, of, &Place::Other(place, name), past);
                    }
                }
            }
            _ => {}
        }
        if node.body.properties.is_some() {
            for (name, child) in map {
                if let Some(property) = node.property(name) {
                    let past = self.field(past, place, name);
                    agreed += self.node(child, property, &Place::Property(place, name), past);
                }
            }
        }
        for name in checks.map_or(&[][..], |checks| &checks.required) {
            if !map.contains_key(&**name) {
                self.fail(|| Fault::required(&Place::Other(place, name)));
            }
        }
        agreed
    }

    /// What a field was. Of kinds and versions nothing is known, as both objects were brought to one.
    fn field<'v>(
        &self,
        past: Option<Correlated<'v>>,
        place: &Place,
        name: &str,
    ) -> Option<Correlated<'v>> {
        past.filter(|_| !(place.is_whole() && matches!(name, "apiVersion" | "kind")))
            .and_then(|past| past.key(name))
    }
}

/// What numbers are held to: only where there is one type, and the format is one of its own.
fn range(types: Types, format: &str) -> Range<'_> {
    match types {
        Types::One(kind @ Kind::Integer) => Range {
            kind,
            format: if matches!(format, "int32" | "int64") {
                format
            } else {
                ""
            },
        },
        Types::One(kind @ Kind::Number) => Range {
            kind,
            format: if matches!(format, "float" | "double") {
                format
            } else {
                ""
            },
        },
        _ => Range {
            kind: Kind::Any,
            format: "",
        },
    }
}

/// Whether Go's conversion of a value to the type of another makes it that one. A whole number becomes a floating one and the other way round, and a
/// string of the character that it is the number of.
fn converts_to(value: &Value, one: &Value) -> bool {
    match (value, one) {
        (Value::Null, _) | (_, Value::Null) => false,
        (Value::Number(value), Value::Number(one)) => match (Num::of(value), Num::of(one)) {
            (Num::Int(value), Num::Int(one)) => value == one,
            (Num::Int(value), Num::Float(one)) => value as f64 == one,
            (Num::Float(value), Num::Int(one)) => value.trunc() == one as f64,
            (Num::Float(value), Num::Float(one)) => value == one,
        },
        (Value::Number(value), Value::String(one)) => match Num::of(value) {
            Num::Int(value) => {
                let of_code = u32::try_from(value).ok().and_then(char::from_u32);
                one.chars()
                    .eq([of_code.unwrap_or(char::REPLACEMENT_CHARACTER)])
            }
            Num::Float(_) => false,
        },
        (value, one) => value == one,
    }
}

fn has_doubles(items: &[Value]) -> bool {
    const FEW: usize = 16;
    if items.len() <= FEW {
        return (1..items.len()).any(|at| items[..at].contains(&items[at]));
    }
    let mut seen = std::collections::HashSet::with_capacity(items.len());
    !items.iter().all(|item| seen.insert(item))
}

#[cfg(test)]
mod tests;
