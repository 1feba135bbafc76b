//! Brings a JSON value into the form that Go's typed decode and encode would give it: types checked, scalars in canonical form, unknown
//! fields taken out and named, absent values written where Go writes its zero, empty ones left out where Go leaves them out.
//!
//! Invariant: `conform` of a conformed value changes nothing.
//! Follows `encoding/json` with the struct tags of upstream's types, as `sigs.k8s.io/json` reads them (case-sensitive).

mod scalar;

use serde_json::{Map, Value};

use super::{
    Field, Node, Omit, Or, Schema, Shape, Type, converter,
    emptied::{self, Emptied},
};
use crate::machinery::quote::GoQuoted;
use crate::machinery::{read::go_kind, room::Room};
use scalar::as_go_holds;

/// What `conform` noticed besides.
#[derive(Debug, Default)]
pub struct Decoded {
    /// Paths of fields that the type does not have, in upstream's form (`spec.ports[0].nosuch`).
    pub unknown: Vec<String>,
    /// Lists and maps that hold nothing, which are left out.
    pub emptied: Vec<Emptied>,
}

impl Decoded {
    /// What strict reading has against it.
    pub fn remarks(&self) -> impl Iterator<Item = String> {
        self.unknown
            .iter()
            .map(|path| format!("unknown field {path}", path = GoQuoted(&path)))
    }
}

/// A value of the wrong type, in Go's words (`json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool`).
#[derive(thiserror::Error, Debug, PartialEq)]
#[error("{0}")]
pub struct TypeError(pub String);

/// Checks and canonicalises `value` as the type at `root`.
pub fn conform(value: &mut Value, root: Node) -> Result<Decoded, TypeError> {
    conform_as_written(value, root, |_| 0)
}

/// The same, of a value whose places stand in an order of their own: `first` tells which of some paths stands first in the document. It is asked only
/// when there is more than one thing to tell, as Go tells of mistakes in the order of the document.
pub fn conform_as_written(
    value: &mut Value,
    root: Node,
    first: impl FnOnce(&[&str]) -> usize,
) -> Result<Decoded, TypeError> {
    let Walk {
        mut faults,
        decoded,
        ..
    } = walked(value, root, false);
    // what a type's own decoder says ends the reading at once; Go goes on after a value of the wrong type, and reports the first
    if faults.iter().any(|fault| fault.ends) {
        faults.retain(|fault| fault.ends);
    }
    let whole = faults.iter().position(|fault| fault.path.is_empty());
    let at = match faults.len() {
        0 => return Ok(decoded),
        1 => 0,
        _ => whole.unwrap_or_else(|| {
            let paths: Vec<&str> = faults.iter().map(|fault| &*fault.path).collect();
            first(&paths)
        }),
    };
    Err(TypeError(faults.swap_remove(at).said))
}

/// The same of a value that upstream converts without making a text of it (strategic merge patches): other words, and the first mistake in the
/// order of the types' fields. Follows `staging/src/k8s.io/apimachinery/pkg/runtime/converter.go`.
pub fn conform_converted(value: &mut Value, root: Node) -> Result<Decoded, TypeError> {
    let walk = walked(value, root, true);
    match walk.faults.into_iter().min_by(|a, b| a.order.cmp(&b.order)) {
        Some(fault) => Err(TypeError(fault.said)),
        None => Ok(walk.decoded),
    }
}

fn walked<'s>(value: &mut Value, root: Node<'s>, converts: bool) -> Walk<'s> {
    let mut walk = Walk {
        schema: root.schema(),
        decoded: Decoded::default(),
        faults: Vec::new(),
        ended: false,
        room: Room::default(),
        converts,
        schemas_apart: converts,
    };
    match root.as_type() {
        Some(t) => walk.structure(value, t, None),
        None => {
            if let Some(shape) = root.shape() {
                walk.value(value, shape, None);
            }
        }
    }
    walk
}

struct Fault {
    said: String,
    path: String,
    /// Places in the order of fields and elements, outermost first.
    order: Vec<usize>,
    ends: bool,
}

/// Where the walk is, as a list that lives on the stack: paths cost nothing until one is needed.
struct Trail<'a> {
    parent: Option<&'a Trail<'a>>,
    at: Step<'a>,
}

enum Step<'a> {
    Field { owner: &'a Type, field: &'a Field },
    Index(usize),
    Key(&'a str),
}

impl Trail<'_> {
    /// Who `converts` does not note the keys of maps.
    fn path(&self, out: &mut String, converts: bool) {
        if let Some(parent) = self.parent {
            parent.path(out, converts);
        }
        match &self.at {
            Step::Field { field, .. } => push_name(out, &field.name),
            Step::Index(index) => out.push_str(&format!("[{index}]")),
            Step::Key(_) if converts => {}
            Step::Key(key) => push_name(out, key),
        }
    }

    fn order(&self, out: &mut Vec<usize>) {
        if let Some(parent) = self.parent {
            parent.order(out);
        }
        out.push(match &self.at {
            Step::Field { owner, field } => {
                owner.position(&field.name).map_or(usize::MAX, usize::from)
            }
            Step::Index(index) => *index,
            Step::Key(_) => 0,
        });
    }

    fn steps(&self, out: &mut Vec<emptied::Step>) {
        if let Some(parent) = self.parent {
            parent.steps(out);
        }
        out.push(match &self.at {
            Step::Field { field, .. } => emptied::Step::Name(field.name.clone()),
            Step::Index(index) => emptied::Step::Index(*index),
            Step::Key(key) => emptied::Step::Name((*key).into()),
        });
    }

    /// Go's name of the type here, where a field says more of it than its shape does.
    fn go_type(&self) -> Option<&str> {
        match (&self.at, self.parent.map(|parent| &parent.at)) {
            (Step::Field { field, .. }, _) => field.go.as_deref(),
            (Step::Key(_), Some(Step::Field { field, .. })) => {
                let (_, element) = field.go.as_deref()?.strip_prefix("map[")?.split_once(']')?;
                Some(element)
            }
            _ => None,
        }
    }

    /// Go's account of the place: names of the fields only, embedded structs among them, after the innermost struct's name. Where schemas are
    /// read by themselves, what is within one is told from there.
    fn go_path(&self, schemas_apart: bool) -> String {
        let mut names = Vec::new();
        let mut owner = None;
        let mut within = None;
        let mut at = Some(self);
        while let Some(trail) = at {
            if let Step::Field { owner: of, field } = &trail.at {
                if schemas_apart && matches!(field.shape, Shape::SchemaOr(..)) {
                    within = Some(names.len()).filter(|_| owner.is_some());
                }
                owner = owner.or(Some(of.short_name()));
                names.push(&*field.name);
                if !field.via.is_empty() {
                    names.push(&*field.via);
                }
            }
            at = trail.parent;
        }
        names.truncate(within.unwrap_or(names.len()));
        names.reverse();
        format!("{}.{}", owner.unwrap_or_default(), names.join("."))
    }
}

fn push_name(out: &mut String, name: &str) {
    if !out.is_empty() {
        out.push('.');
    }
    out.push_str(name);
}

struct Walk<'s> {
    schema: &'s Schema,
    decoded: Decoded,
    faults: Vec<Fault>,
    /// One of them ends the reading.
    ended: bool,
    /// For faults, unknown fields, and what was emptied.
    room: Room,
    converts: bool,
    /// Who converts reads a schema that may be something simpler by itself.
    schemas_apart: bool,
}

impl<'s> Walk<'s> {
    fn wrong(&mut self, found: &str, go_type: &str, trail: Option<&Trail>) {
        let go_type = trail.and_then(Trail::go_type).unwrap_or(go_type);
        let place = trail.map_or_else(
            || "Go value".to_string(),
            |trail| format!("Go struct field {}", trail.go_path(self.schemas_apart)),
        );
        self.fault(
            format!("json: cannot unmarshal {found} into {place} of type {go_type}"),
            trail,
            false,
        );
    }

    /// What the decoder of a type of its own (quantities, times) says.
    fn fail(&mut self, said: String, trail: Option<&Trail>) {
        self.fault(said, trail, true);
    }

    /// What such a decoder says of a value of the wrong kind. Who converts asks it by itself, so that it cannot tell where the value stood.
    fn fail_typed(&mut self, found: &str, go_type: &str, trail: Option<&Trail>) {
        let field = trail
            .filter(|_| !self.converts)
            .map(|trail| format!("Go struct field {}", trail.go_path(self.schemas_apart)));
        let place = field.unwrap_or_else(|| "Go value".into());
        self.fault(
            format!("json: cannot unmarshal {found} into {place} of type {go_type}"),
            trail,
            true,
        );
    }

    fn fault(&mut self, said: String, trail: Option<&Trail>, ends: bool) {
        let (told, ended) = (!self.faults.is_empty(), self.ended);
        self.ended |= ends;
        if !self.room.is_left() && told && (ended || !ends) {
            return;
        }
        let (mut path, mut order) = (String::new(), Vec::new());
        if let Some(trail) = trail {
            trail.path(&mut path, false);
            trail.order(&mut order);
        }
        self.room.take(path.len() + said.len());
        self.faults.push(Fault {
            said,
            path,
            order,
            ends,
        });
    }

    fn structure(&mut self, value: &mut Value, t: &'s Type, trail: Option<&Trail>) {
        let Value::Object(map) = value else {
            if self.converts {
                return self.fault(
                    format!("cannot restore struct from: {}", converter::kind_of(value)),
                    trail,
                    true,
                );
            }
            let found = go_kind(value);
            return self.wrong(found, t.go_name(), trail);
        };
        if t.verbatim {
            return self.verbatim(map, t, trail);
        }
        let mut unknown: Vec<String> = Vec::new();
        // fields that are not written, by their places in the type
        let mut left_out: Vec<u16> = Vec::new();
        for (name, child) in map.iter_mut() {
            match t.position(name) {
                Some(at) => {
                    let field = &t.fields[usize::from(at)];
                    if !child.is_null() {
                        self.value(
                            child,
                            &field.shape,
                            Some(&Trail {
                                parent: trail,
                                at: Step::Field { owner: t, field },
                            }),
                        );
                    }
                    if is_left_out(child, field) {
                        left_out.push(at);
                    }
                }
                None if t.preserve_unknown => {}
                None => unknown.push(name.clone()),
            }
        }
        for name in unknown {
            map.remove(&name);
            self.unknown(&name, trail);
        }
        left_out.sort_unstable();
        for at in left_out {
            self.leave_out(map, &t.fields[usize::from(at)], t, trail);
        }
        for at in &t.always {
            let field = &t.fields[usize::from(*at)];
            if !map.contains_key(&*field.name) {
                let zero = self.zero(field);
                map.insert(field.name.as_ref().into(), zero);
            }
        }
    }

    /// Tells of a field that the type does not name.
    fn unknown(&mut self, name: &str, trail: Option<&Trail>) {
        // one is told always: whoever is strict refuses for it
        if !self.room.is_left() && !self.decoded.unknown.is_empty() {
            return;
        }
        let mut path = String::new();
        if let Some(trail) = trail {
            trail.path(&mut path, self.converts);
        }
        push_name(&mut path, name);
        self.room.take(path.len());
        self.decoded.unknown.push(path);
    }

    /// Takes a field away that Go would not write.
    fn leave_out(
        &mut self,
        map: &mut Map<String, Value>,
        field: &Field,
        of: &Type,
        trail: Option<&Trail>,
    ) {
        let gone = map.remove(&*field.name);
        if let Some(gone) = gone {
            // selectors are told as JSON has them, which leaves out what is empty
            let told = !of.name.starts_with("meta.v1.LabelSelector");
            self.emptied(&gone, field, trail, told);
        }
    }

    /// A custom object: its kind is looked at, its metadata read by itself, and the rest left alone.
    fn verbatim(&mut self, map: &mut Map<String, Value>, t: &'s Type, trail: Option<&Trail>) {
        if trail.is_some() {
            return;
        }
        for name in ["apiVersion", "kind"] {
            if let Some((field, value)) = t.field(name).zip(map.get_mut(name)) {
                let at = Step::Field { owner: t, field };
                self.value(value, &field.shape, Some(&Trail { parent: None, at }));
            }
        }
        let metadata = t.field("metadata").zip(map.get_mut("metadata"));
        if let Some((field, value)) = metadata
            && let Shape::Struct(index) = &field.shape
        {
            if value.is_null() {
                *value = Value::Object(Map::new());
            }
            let known = self.decoded.unknown.len();
            self.structure(value, &self.schema.types[*index as usize], None);
            for path in &mut self.decoded.unknown[known..] {
                path.insert_str(0, "metadata.");
            }
        }
    }

    fn emptied(&mut self, gone: &Value, field: &Field, trail: Option<&Trail>, told: bool) {
        if !matches!(gone, Value::Array(_) | Value::Object(_)) || !self.room.is_left() {
            return;
        }
        let mut place = Vec::new();
        if let Some(trail) = trail {
            trail.steps(&mut place);
        }
        place.push(emptied::Step::Name(field.name.clone()));
        self.room.take(place.iter().map(emptied::Step::size).sum());
        self.decoded.emptied.push(Emptied {
            place,
            is_list: gone.is_array(),
            told,
        });
    }

    /// What Go writes for a field that was not given and has a zero.
    fn zero(&mut self, field: &'s Field) -> Value {
        if field.pointer {
            return Value::Null;
        }
        match &field.shape {
            Shape::Struct(index) => {
                let mut value = Value::Object(Map::new());
                let t = &self.schema.types[*index as usize];
                self.structure(&mut value, t, None);
                value
            }
            Shape::Quantity => "0".into(),
            Shape::IntOrString => 0.into(),
            Shape::Duration => "0s".into(),
            Shape::String(_) => "".into(),
            Shape::Bool => false.into(),
            Shape::Int32(_) | Shape::Int64(_) | Shape::Float64 => 0.into(),
            Shape::Time
            | Shape::MicroTime
            | Shape::Raw
            | Shape::Json
            | Shape::SchemaOr(..)
            | Shape::Fields
            | Shape::Bytes
            | Shape::List(_)
            | Shape::Map(_)
            | Shape::Element(_) => Value::Null,
        }
    }

    fn value(&mut self, value: &mut Value, shape: &'s Shape, trail: Option<&Trail>) {
        match shape {
            Shape::Struct(index) => {
                let t = &self.schema.types[*index as usize];
                self.structure(value, t, trail);
            }
            Shape::List(of) => {
                let Value::Array(items) = value else {
                    return self.mistyped(value, shape, trail);
                };
                for (index, item) in items.iter_mut().enumerate() {
                    self.element(
                        item,
                        of,
                        &Trail {
                            parent: trail,
                            at: Step::Index(index),
                        },
                    );
                }
            }
            Shape::Map(of) => {
                let Value::Object(map) = value else {
                    return self.mistyped(value, shape, trail);
                };
                for (key, item) in map.iter_mut() {
                    self.element(
                        item,
                        of,
                        &Trail {
                            parent: trail,
                            at: Step::Key(key),
                        },
                    );
                }
            }
            Shape::Element(of) => self.value(value, &of.0.shape, trail),
            // embedded objects are kept as they came
            Shape::Raw | Shape::Fields => {}
            Shape::Json => as_go_holds(value),
            Shape::SchemaOr(or, of) => self.schema_or(value, *or, of, trail),
            _ => self.scalar(value, shape, trail),
        }
    }

    /// What decoders of their own read: their first mistake ends the reading, and of what they do not know nobody hears.
    fn schema_or(&mut self, value: &mut Value, or: Or, of: &'s Shape, trail: Option<&Trail>) {
        let mut inner = Walk {
            schema: self.schema,
            decoded: Decoded::default(),
            faults: Vec::new(),
            ended: false,
            room: self.room,
            converts: false,
            schemas_apart: self.schemas_apart,
        };
        match (or, &mut *value) {
            (_, Value::Object(_)) => inner.value(value, of, trail),
            (Or::Array, Value::Array(items)) => {
                for (index, item) in items.iter_mut().enumerate() {
                    inner.element(
                        item,
                        of,
                        &Trail {
                            parent: trail,
                            at: Step::Index(index),
                        },
                    );
                }
            }
            (Or::Strings, Value::Array(items)) => {
                for (index, item) in items.iter_mut().enumerate() {
                    inner.element(
                        item,
                        &Shape::String(None),
                        &Trail {
                            parent: trail,
                            at: Step::Index(index),
                        },
                    );
                }
            }
            (Or::Bool, Value::Bool(_)) => {}
            (Or::Bool, _) => return self.fail("boolean or JSON schema expected".into(), trail),
            _ => *value = Value::Null,
        }
        if let Some(fault) = inner.faults.into_iter().next() {
            self.fail(fault.said, trail);
        }
    }

    /// An element that is null is Go's zero of its type.
    fn element(&mut self, item: &mut Value, of: &'s Shape, trail: &Trail) {
        if let Shape::Element(of) = of {
            return self.element(item, &of.0.shape, trail);
        }
        if item.is_null() {
            *item = match of {
                Shape::Struct(_) | Shape::Map(_) => Value::Object(Map::new()),
                Shape::String(_) => "".into(),
                Shape::Int32(_) | Shape::Int64(_) | Shape::Float64 => 0.into(),
                Shape::Bool => false.into(),
                Shape::Bytes => "".into(),
                Shape::Quantity => "0".into(),
                Shape::IntOrString => 0.into(),
                Shape::Duration => "0s".into(),
                // zero times and embedded values are null, and so are lists within lists and maps
                Shape::Time
                | Shape::MicroTime
                | Shape::Raw
                | Shape::Json
                | Shape::SchemaOr(..)
                | Shape::Fields
                | Shape::Element(_)
                | Shape::List(_) => return,
            };
        }
        self.value(item, of, Some(trail));
    }

    fn mistyped(&mut self, value: &Value, shape: &Shape, trail: Option<&Trail>) {
        if self.converts {
            return self.fault(converter::refusal(value, shape), trail, true);
        }
        let name = shape.go_name(self.schema);
        self.wrong(go_kind(value), &name, trail);
    }
}

/// A field that was given and is not written: a null, and what Go takes for empty.
fn is_left_out(value: &Value, field: &Field) -> bool {
    match field.omit {
        _ if value.is_null() => true,
        Omit::Never | Omit::Late => false,
        _ if field.pointer => false,
        Omit::Empty => is_empty(value, &field.shape),
        Omit::Zero => is_empty(value, &field.shape) || value.as_object().is_some_and(Map::is_empty),
    }
}

fn is_empty(value: &Value, shape: &Shape) -> bool {
    match (shape, value) {
        (
            Shape::Struct(_)
            | Shape::Quantity
            | Shape::IntOrString
            | Shape::Time
            | Shape::MicroTime
            | Shape::Duration
            | Shape::Raw
            | Shape::Json
            | Shape::SchemaOr(..)
            | Shape::Fields,
            _,
        ) => false,
        (_, Value::String(text)) => text.is_empty(),
        (_, Value::Bool(on)) => !on,
        (_, Value::Number(n)) => n.as_f64() == Some(0.0),
        (_, Value::Array(items)) => items.is_empty(),
        (Shape::Map(_), Value::Object(map)) => map.is_empty(),
        _ => false,
    }
}
