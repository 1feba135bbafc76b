//! Rules of fields, as flags of `types.txt`, and the one walk that holds a value to them.
//!
//! Invariant: a walk goes only where a rule lies below, and a type without rules costs the look at one flag. Errors come in the order of the
//! type's fields, those of a field before those of what is in it; an element that stands twice is told of before what is wrong with it.
//! Follows `staging/src/k8s.io/apimachinery/pkg/api/validate/*.go`, and for what is immutable `pkg/api/validation/objectmeta.go` beside it.

use serde_json::{Value, json};

use super::{Field, Node, Schema, Shape, Type};
use crate::machinery::{
    field::{Errors, Path},
    names::{self, Messages},
};

/// What a value has to be.
#[derive(Debug, Clone)]
pub enum Rule {
    Needed,
    Immutable,
    /// Exactly one field of the group is set.
    OneOf(Box<str>),
    Enum(Box<[Box<str>]>),
    /// What is wrong with a string, in the words of `names`.
    Format(fn(&str) -> Messages),
    MaxLen(usize),
    MaxBytes(usize),
    Min(i64),
    Max(i64),
    MinItems(usize),
    MaxItems(usize),
    /// Elements, or a field of them, differ.
    Unique(Option<Box<str>>),
}

/// A flag as a rule; `None` when it is none or does not fit the field.
pub(super) fn read(flag: &str, value: &str, field: &Field) -> Option<Rule> {
    let shape = &field.shape;
    let (is_text, is_list) = (
        matches!(shape, Shape::String(_)),
        matches!(shape, Shape::List(_)),
    );
    let is_int = matches!(shape, Shape::Int32(_) | Shape::Int64(_));
    let number = || value.parse::<usize>().ok();
    let rule = match flag {
        // a struct that is no pointer is always there
        "needed" if value.is_empty() && (field.pointer || !matches!(shape, Shape::Struct(_))) => {
            Rule::Needed
        }
        "immutable" if value.is_empty() => Rule::Immutable,
        "oneof" if !value.is_empty() => Rule::OneOf(value.into()),
        "enum" if is_text && !value.is_empty() => {
            Rule::Enum(value.split('|').map(Into::into).collect())
        }
        "format" if is_text => Rule::Format(format(value)?),
        "maxlen" if is_text => Rule::MaxLen(number()?),
        "maxbytes" if is_text => Rule::MaxBytes(number()?),
        "min" if is_int => Rule::Min(value.parse().ok()?),
        "max" if is_int => Rule::Max(value.parse().ok()?),
        "minitems" if is_list => Rule::MinItems(number()?),
        "maxitems" if is_list => Rule::MaxItems(number()?),
        "unique" if is_list => Rule::Unique((!value.is_empty()).then(|| value.into())),
        _ => return None,
    };
    Some(rule)
}

fn format(name: &str) -> Option<fn(&str) -> Messages> {
    Some(match name {
        "dns1123label" => names::is_dns1123_label,
        "dns1123subdomain" => names::is_dns1123_subdomain,
        "dns1035label" => names::is_dns1035_label,
        "qualifiedname" => names::is_qualified_name,
        "labelvalue" => names::is_label_value,
        "pathsegment" => names::is_path_segment_name,
        _ => return None,
    })
}

/// Marks the types that rules lie on or below.
pub(super) fn spread(types: &mut [Type]) {
    for t in &mut *types {
        t.ruled = t.fields.iter().any(|field| !field.rules.is_empty());
    }
    let mut grew = types.iter().any(|t| t.ruled);
    while grew {
        grew = false;
        for at in 0..types.len() {
            let leads = !types[at].ruled
                && types[at].fields.iter().any(|field| {
                    field
                        .shape
                        .inner()
                        .is_some_and(|to| types[to as usize].ruled)
                });
            types[at].ruled |= leads;
            grew |= leads;
        }
    }
}

impl Shape {
    /// The struct that values of this shape are, or hold.
    pub(super) fn inner(&self) -> Option<u32> {
        match self {
            Shape::Struct(to) => Some(*to),
            Shape::List(of) | Shape::Map(of) => of.inner(),
            _ => None,
        }
    }
}

/// What rules say against an object of a type; `old` is what it replaces.
pub fn check(root: Node, object: &Value, old: Option<&Value>) -> Errors {
    let mut walk = Walk {
        schema: root.schema(),
        errors: Errors::default(),
    };
    if let Some(t) = root.as_type() {
        walk.structure(t, object, old, &Path::new(""));
    }
    walk.errors
}

struct Walk<'s> {
    schema: &'s Schema,
    errors: Errors,
}

fn some<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    value.get(name).filter(|found| !found.is_null())
}

impl<'s> Walk<'s> {
    fn structure(&mut self, t: &'s Type, value: &Value, old: Option<&Value>, path: &Path) {
        if !t.ruled {
            return;
        }
        for (at, field) in t.fields.iter().enumerate() {
            let (found, before) = (
                some(value, &field.name),
                old.map(|old| some(old, &field.name)),
            );
            let here = path.child(&field.name);
            for rule in &field.rules {
                if let Rule::OneOf(group) = rule {
                    self.union(t, at, group, value, path);
                }
            }
            if self.own(field, found, before, &here)
                && let Some(found) = found
            {
                self.within(&field.shape, Some(field), found, before.flatten(), &here);
            }
        }
    }

    /// The rules of the field itself; false when there is nothing more to say of it.
    fn own(
        &mut self,
        field: &Field,
        found: Option<&Value>,
        before: Option<Option<&Value>>,
        path: &Path,
    ) -> bool {
        for rule in &field.rules {
            match (rule, found) {
                (Rule::Needed, _) if is_zero(field, found) => {
                    self.errors.required(path, "");
                    return false;
                }
                (Rule::Immutable, _) => {
                    let (new, old) = (or_zero(field, found), before.map(|old| or_zero(field, old)));
                    if old.is_some_and(|old| old != new) {
                        self.immutable(&field.shape, &new, path);
                    }
                }
                (rule, Some(Value::String(text))) => self.text(rule, text, path),
                (rule, Some(Value::Number(number))) => {
                    self.number(rule, number.as_i64().unwrap_or(0), path)
                }
                (Rule::MinItems(min), Some(Value::Array(items))) if items.len() < *min => {
                    self.errors.too_few(path, items.len(), *min)
                }
                (Rule::MaxItems(max), Some(Value::Array(items))) if items.len() > *max => {
                    self.errors.too_many(path, items.len() as i64, *max as i64)
                }
                _ => {}
            }
        }
        true
    }

    fn text(&mut self, rule: &Rule, text: &str, path: &Path) {
        match rule {
            Rule::Enum(known) if !known.iter().any(|one| **one == *text) => {
                let known: Vec<&str> = known.iter().map(|one| &**one).collect();
                self.errors.not_supported_in_order(path, text, &known);
            }
            Rule::Format(problems) => self.errors.invalid_all(path, text, problems(text)),
            Rule::MaxLen(max) if text.len() > *max && text.chars().count() > *max => {
                self.errors.too_many_characters(path, *max)
            }
            Rule::MaxBytes(max) if text.len() > *max => self.errors.too_long(path, *max as i64),
            _ => {}
        }
    }

    fn number(&mut self, rule: &Rule, number: i64, path: &Path) {
        match rule {
            Rule::Min(min) if number < *min => self.errors.invalid(
                path,
                number,
                format!("must be greater than or equal to {min}"),
            ),
            Rule::Max(max) if number > *max => {
                self.errors
                    .invalid(path, number, format!("must be less than or equal to {max}"))
            }
            _ => {}
        }
    }

    fn immutable(&mut self, shape: &Shape, new: &Value, path: &Path) {
        const WHY: &str = "field is immutable";
        match (shape, shape.inner(), new) {
            (Shape::Struct(_), Some(to), Value::Object(_)) => {
                self.errors
                    .invalid_object(path, new, &self.schema.types[to as usize].name, WHY)
            }
            (Shape::List(_), Some(to), Value::Array(items)) => {
                self.errors
                    .invalid_list(path, items, &self.schema.types[to as usize].name, WHY)
            }
            _ => self.errors.invalid(path, new.clone(), WHY),
        }
    }

    /// Told once, at the first field of the group.
    fn union(&mut self, t: &Type, at: usize, group: &str, value: &Value, path: &Path) {
        let is_member = |field: &&Field| {
            field
                .rules
                .iter()
                .any(|rule| matches!(rule, Rule::OneOf(of) if **of == *group))
        };
        if t.fields[..at].iter().any(|field| is_member(&field)) {
            return;
        }
        let members: Vec<&Field> = t.fields.iter().filter(is_member).collect();
        let set: Vec<&str> = members
            .iter()
            .filter(|field| !is_zero(field, some(value, &field.name)))
            .map(|field| &*field.name)
            .collect();
        let all = members
            .iter()
            .map(|field| format!("`{}`", field.name))
            .collect::<Vec<_>>()
            .join(", ");
        match set.len() {
            1 => {}
            0 => self
                .errors
                .invalid(path, "", format!("must specify one of: {all}")),
            _ => self.errors.invalid(
                path,
                format!("{{{}}}", set.join(", ")),
                format!("must specify exactly one of: {all}"),
            ),
        }
    }

    /// What is in a value.
    fn within(
        &mut self,
        shape: &'s Shape,
        field: Option<&'s Field>,
        value: &Value,
        old: Option<&Value>,
        path: &Path,
    ) {
        let unique = field.and_then(|field| {
            field.rules.iter().find_map(|rule| {
                if let Rule::Unique(key) = rule {
                    Some(key.as_deref())
                } else {
                    None
                }
            })
        });
        let ruled = shape
            .inner()
            .is_some_and(|to| self.schema.types[to as usize].ruled);
        if !ruled && unique.is_none() {
            return;
        }
        match (shape, value) {
            (Shape::Struct(to), _) => {
                self.structure(&self.schema.types[*to as usize], value, old, path)
            }
            (Shape::Map(of), Value::Object(entries)) => {
                for (name, entry) in entries {
                    self.within(
                        of,
                        None,
                        entry,
                        old.and_then(|old| some(old, name)),
                        &path.key(name),
                    );
                }
            }
            (Shape::List(of), Value::Array(items)) => {
                let keys = field.map_or(&[][..], |field| &*field.keys);
                for (index, item) in items.iter().enumerate() {
                    let here = path.index(index);
                    if let Some(key) = unique {
                        self.unique(key, &items[..index], item, &here);
                    }
                    self.within(
                        of,
                        None,
                        item,
                        old.and_then(|old| counterpart(keys, item, old)),
                        &here,
                    );
                }
            }
            _ => {}
        }
    }

    fn unique(&mut self, key: Option<&str>, before: &[Value], item: &Value, path: &Path) {
        match key {
            Some(key) if before.iter().any(|other| other.get(key) == item.get(key)) => {
                self.errors.duplicate(
                    &path.child(key),
                    item.get(key).cloned().unwrap_or_else(|| "".into()),
                );
            }
            None if before.contains(item) => self.errors.duplicate(path, item.clone()),
            _ => {}
        }
    }
}

/// The element of the old list that has the same keys; without keys nothing says which it was.
fn counterpart<'v>(keys: &[Box<str>], item: &Value, old: &'v Value) -> Option<&'v Value> {
    let same = |other: &&Value| keys.iter().all(|key| other.get(&**key) == item.get(&**key));
    old.as_array()
        .filter(|_| !keys.is_empty())?
        .iter()
        .find(same)
}

/// Absent, or Go's zero where that is the same.
fn is_zero(field: &Field, found: Option<&Value>) -> bool {
    match found {
        None => true,
        Some(Value::Array(items)) => items.is_empty(),
        Some(_) if field.pointer => false,
        Some(Value::Object(entries)) => matches!(field.shape, Shape::Map(_)) && entries.is_empty(),
        Some(value) => *value == zero(field),
    }
}

fn or_zero(field: &Field, found: Option<&Value>) -> Value {
    found.cloned().unwrap_or_else(|| zero(field))
}

fn zero(field: &Field) -> Value {
    match field.shape {
        _ if field.pointer => Value::Null,
        Shape::String(_) => json!(""),
        Shape::Bool => json!(false),
        Shape::Int32(_) | Shape::Int64(_) => json!(0),
        Shape::Struct(_) => json!({}),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::table, *};

    const TYPES: &str = "
type t.v1.Root
  name string ! needed format=dns1123label maxbytes=3 #1
  kind *string ? enum=B|A #2
  title string ? maxlen=2 #3
  count int32 ! min=1 max=5 #4
  fixed string ? immutable #5
  parts []t.v1.Part ? map=id minitems=1 maxitems=2 unique=id #6
  words []string ? unique #7
  bag map:t.v1.Part ? #8
  a *t.v1.Plain ? oneof=u #9
  b *t.v1.Plain ? oneof=u #10
  plain t.v1.Plain ! #11
type t.v1.Part
  id string ! #1
  size *int64 ? needed immutable #2
type t.v1.Plain
  x string ? #1
";

    fn said(new: Value, old: Option<Value>) -> String {
        let schema = table::read(TYPES).unwrap();
        check(schema.get("t.v1.Root").unwrap(), &new, old.as_ref()).message()
    }

    fn root(change: &[(&str, Value)]) -> Value {
        let mut root = json!({"name": "n", "count": 1, "fixed": "f", "parts": [{"id": "p", "size": 1}], "a": {}});
        for (name, value) in change {
            root[*name] = value.clone();
        }
        root
    }

    #[test]
    fn each_rule_in_upstreams_words() {
        for (change, wanted) in [
            (vec![], "[]"),
            (vec![("name", json!(""))], "name: Required value"),
            (
                vec![("name", json!("N"))],
                "name: Invalid value: \"N\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
            ),
            (
                vec![("name", json!("abcd"))],
                "name: Too long: may not be more than 3 bytes",
            ),
            (
                vec![("kind", json!("C"))],
                "kind: Unsupported value: \"C\": supported values: \"B\", \"A\"",
            ),
            (vec![("title", json!("äö"))], "[]"),
            (
                vec![("title", json!("äöü"))],
                "title: Too long: may not be more than 2 characters",
            ),
            (
                vec![("count", json!(0))],
                "count: Invalid value: 0: must be greater than or equal to 1",
            ),
            (
                vec![("count", json!(6))],
                "count: Invalid value: 6: must be less than or equal to 5",
            ),
            (
                vec![("parts", json!([]))],
                "parts: Too few: 0: must have at least 1 item",
            ),
            (
                vec![(
                    "parts",
                    json!([{"id": "p", "size": 1}, {"id": "q", "size": 0}, {"id": "p"}]),
                )],
                "[parts: Too many: 3: must have at most 2 items, parts[2].id: Duplicate value: \"p\", parts[2].size: Required value]",
            ),
            (
                vec![("words", json!(["w", "v", "w"]))],
                "words[2]: Duplicate value: \"w\"",
            ),
            (
                vec![("bag", json!({"k": {"id": "x"}}))],
                "bag[k].size: Required value",
            ),
            (
                vec![("a", json!(null))],
                ": Invalid value: \"\": must specify one of: `a`, `b`",
            ),
            (
                vec![("b", json!({}))],
                ": Invalid value: \"{a, b}\": must specify exactly one of: `a`, `b`",
            ),
        ] {
            assert_eq!(said(root(&change), None), wanted, "{change:?}");
        }
    }

    #[test]
    fn what_may_not_change() {
        let old = || Some(root(&[]));
        assert_eq!(said(root(&[]), old()), "[]");
        assert_eq!(
            said(root(&[("fixed", json!(null))]), old()),
            "fixed: Invalid value: \"\": field is immutable"
        );
        assert_eq!(
            said(
                root(&[(
                    "parts",
                    json!([{"id": "q", "size": 2}, {"id": "p", "size": 1}])
                )]),
                old()
            ),
            "[]"
        );
        assert_eq!(
            said(root(&[("parts", json!([{"id": "p", "size": 2}]))]), old()),
            "parts[0].size: Invalid value: 2: field is immutable"
        );
    }

    #[test]
    fn a_walk_goes_where_rules_lie() {
        let schema = table::read(TYPES).unwrap();
        assert_eq!(
            schema.types.iter().map(|t| t.ruled).collect::<Vec<_>>(),
            [true, true, false]
        );
        let builtin = Schema::builtin();
        let ruled = |name: &str| builtin.get(name).unwrap().as_type().unwrap().ruled;
        assert!(ruled("flowcontrol.v1.FlowSchema") && !ruled("core.v1.ConfigMap"));
    }

    #[test]
    fn flags_fit_their_shapes() {
        for (line, good) in [
            ("f int32 ? min=1 #1", true),
            ("f string ? min=1 #1", false),
            ("f int32 ? min=x #1", false),
            ("f int32 ? enum=A #1", false),
            ("f string ? enum=A #1", true),
            ("f []string ? enum=A #1", false),
            ("f string ? format=dns1035label #1", true),
            ("f string ? format=nosuch #1", false),
            ("f string ? unique #1", false),
            ("f []string ? unique #1", true),
            ("f t.v1.T ? needed #1", false),
            ("f *t.v1.T ? needed #1", true),
            ("f string ? oneof #1", false),
            ("f string ? nosuch #1", false),
        ] {
            let text: &'static str = Box::leak(format!("type t.v1.T\n  {line}\n").into_boxed_str());
            assert_eq!(table::read(text).is_ok(), good, "{line}");
        }
    }
}
