//! Replacements: the value of one object's field, put into fields of others.
//! Invariant: a field that is not there is an error unless it may be made.
//! Behaviour follows `sigs.k8s.io/kustomize/api/filters/replacement`.

use super::fields::{PLUGIN, REPLACEMENT};
use super::item::{Id, Item};
use super::patches::{Selector, trouble};
use super::plugins::DECODING;
use crate::error::{Problem, Result, bail, message};
use crate::typed::Read;
use serde_json::{Value, json};
use skiff_api::machinery::quote::GoQuoted;
use std::path::Path;

/// The entries of `replacements`, of which some stand in files.
///
/// # Errors
/// A source or a field that is not there.
pub fn run(dir: &Path, entries: &[Value], items: &mut [Item]) -> Result<()> {
    for entry in entries {
        if entry.text("path").is_empty() {
            one(entry, items)?;
            continue;
        }
        if entry.some("source").is_some() || entry.some("targets").is_some() {
            bail!("cannot specify both path and inline replacement");
        }
        let file = super::inside(dir, entry.text("path")).map_err(|why| message!("{why}"))?;
        let documents = crate::yaml::read(&super::text(&file)?).map_err(|why| message!("{why}"))?;
        for document in documents {
            for replacement in read(&document.value).map_err(|why| {
                let entries = json!({"Replacements": entries});
                trouble("ReplacementTransformer", &entries, &why)
            })? {
                one(&replacement, items)?;
            }
        }
    }
    Ok(())
}

/// What a file holds: one replacement, or a list of them.
fn read(document: &Value) -> Result<Vec<Value>, Problem> {
    let read = match document {
        Value::Array(list) => PLUGIN.list(list, REPLACEMENT),
        one => PLUGIN.read(one, REPLACEMENT).map(|one| vec![one]),
    };
    read.map_err(|why| Problem(format!("{DECODING}: {why}")))
}

fn one(entry: &Value, items: &mut [Item]) -> Result<()> {
    let (source, value) = (entry.some("source"), entry.some("sourceValue"));
    if (source.is_none() && value.is_none()) || !entry.at("targets").is_array() {
        bail!("replacements must specify a source and at least one target");
    }
    let value = match (source, value) {
        (Some(_), Some(_)) => bail!("value and resource selectors are mutually exclusive"),
        (None, value) => value.cloned().unwrap_or_default(),
        (Some(source), None) => value_of(source, items)?,
    };
    for target in entry.list("targets") {
        let Some(select) = target.some("select") else {
            bail!("target must specify resources to select");
        };
        let select = Selector::of(select)?;
        let reject = target.list("reject").iter().map(Selector::of);
        let reject: Vec<Selector> = reject.collect::<Result<_>>()?;
        for item in items.iter_mut() {
            if meant(item, &select, &reject) {
                set(&mut item.object, &value, target)?;
                item.formed()?;
            }
        }
    }
    Ok(())
}

/// As Go shows what was asked for.
fn shown(selector: &Value) -> String {
    Id::of(&json!({
        "apiVersion": match (selector.text("group"), selector.text("version")) {
            ("", version) => version.to_string(),
            (group, version) => format!("{group}/{version}"),
        },
        "kind": selector.at("kind"),
        "metadata": {"name": selector.at("name"), "namespace": selector.at("namespace")},
    }))
    .to_string()
}

fn value_of(source: &Value, items: &[Item]) -> Result<Value> {
    let fits = |id: &Id| {
        let text = |field: &str| source.text(field);
        let asked = |field: &str, is: &str| text(field).is_empty() || text(field) == is;
        id.is_selected(text("group"), text("version"), text("kind"))
            && asked("name", &id.name)
            && asked("namespace", &id.namespace)
    };
    let path = match source.text("fieldPath") {
        "" => "metadata.name",
        path => path,
    };
    let shown_source = || {
        let id = shown(source);
        let path = source.text("fieldPath");
        match path.is_empty() {
            true => id,
            false => format!("{id}:{path}"),
        }
    };
    let mut found = items.iter().filter(|item| item.any_id(fits));
    let Some(item) = found.next() else {
        bail!("nothing selected by {}", shown_source());
    };
    if found.next().is_some() {
        bail!("multiple matches for selector {}", shown_source());
    }
    let places = places(&item.object, &split(path));
    let value = places.first().and_then(|at| item.object.pointer(at));
    let empty = |value: &&Value| match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    let Some(value) = value.filter(|value| !empty(value)) else {
        bail!(
            "fieldPath `{path}` is missing for replacement source {}",
            shown(source)
        );
    };
    let options = source.at("options");
    let delimiter = options.text("delimiter");
    if delimiter.is_empty() {
        return Ok(value.clone());
    }
    let text = scalar(value)?;
    let index = options.int("index");
    let part = usize::try_from(index)
        .ok()
        .and_then(|at| text.split(delimiter).nth(at));
    match part {
        Some(part) => Ok(json!(part)),
        None => bail!("options.index {index} is out of bounds for value {text}"),
    }
}

fn scalar(value: &Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Array(_) | Value::Object(_) => {
            bail!("delimiter option can only be used with scalar nodes")
        }
        other => Ok(other.to_string()),
    }
}

fn meant(item: &Item, select: &Selector, reject: &[Selector]) -> bool {
    if !select.marks(item) {
        return false;
    }
    let by_id = |selector: &Selector| item.any_id(|id| selector.names(id));
    let rejected = |rejected: &Selector| {
        (rejected.asks_marks() && rejected.marks(item))
            || (rejected.asks_names() && by_id(rejected))
    };
    !reject.iter().any(rejected) && by_id(select)
}

fn set(object: &mut Value, value: &Value, target: &Value) -> Result<()> {
    let options = target.at("options");
    let create = options.flag("create");
    let mut paths: Vec<&str> = target.texts("fieldPaths").collect();
    if paths.is_empty() {
        paths.push("metadata.name");
    }
    for path in paths {
        let parts = split(path);
        if inside_text(object, &parts, value, create) {
            continue;
        }
        let mut places = places(object, &parts);
        let mut made = false;
        if places.is_empty() && create {
            places = make(object, &parts);
            made = true;
        }
        if places.is_empty() {
            let how = if create { "find or create" } else { "find" };
            bail!(
                "unable to {how} field {path} in replacement target",
                path = GoQuoted(&path)
            );
        }
        for place in places {
            if let Some(field) = object.pointer_mut(&place) {
                put(field, value, options, made)?;
            }
        }
    }
    Ok(())
}

fn put(field: &mut Value, value: &Value, options: &Value, made: bool) -> Result<()> {
    let delimiter = options.text("delimiter");
    let mut value = value.clone();
    if !delimiter.is_empty() {
        let old = if made { String::new() } else { scalar(field)? };
        let new = scalar(&value)?;
        let mut parts: Vec<&str> = old.split(delimiter).collect();
        let index = options.int("index");
        match usize::try_from(index) {
            Err(_) => parts.insert(0, &new),
            Ok(at) if at >= parts.len() => parts.push(&new),
            Ok(at) => parts[at] = &new,
        }
        value = json!(parts.join(delimiter));
    }
    let is_scalar = |value: &Value| !value.is_object() && !value.is_array();
    *field = match (&*field, &value) {
        // A text takes the value's words, whatever they are; anything else what these words mean.
        (Value::String(_), new) if is_scalar(new) && !made => json!(scalar(new)?),
        (old, Value::String(text)) if is_scalar(old) => meaning(text),
        _ => value,
    };
    Ok(())
}

/// What a word means in YAML where nothing says that it is a text.
fn meaning(text: &str) -> Value {
    let plain = crate::yaml::read(text)
        .ok()
        .and_then(|d| d.into_iter().next());
    match plain.map(|d| d.value) {
        Some(value @ (Value::Bool(_) | Value::Number(_))) => value,
        _ => json!(text),
    }
}

/// A value inside of a text that is JSON or YAML itself; whether there was such a place.
fn inside_text(object: &mut Value, parts: &[String], value: &Value, create: bool) -> bool {
    for at in 1..parts.len() {
        let places = places(object, &parts[..at]);
        let Some(place) = places.first() else {
            continue;
        };
        let Some(Value::String(text)) = object.pointer(place) else {
            continue;
        };
        let Some(mut inner) = crate::yaml::read(text)
            .ok()
            .and_then(|d| d.into_iter().next())
        else {
            return false;
        };
        let text = text.clone();
        let mut found = self::places(&inner.value, &parts[at..]);
        if found.is_empty() && create {
            found = make(&mut inner.value, &parts[at..]);
        }
        if found.is_empty() {
            return false;
        }
        for place in found {
            if let Some(field) = inner.value.pointer_mut(&place) {
                *field = value.clone();
            }
        }
        let written = if text.trim_start().starts_with(['{', '[']) {
            let pretty = text.contains('\n') && text.contains("  ");
            let style = crate::print::json::Style {
                indent: if pretty { 2 } else { 0 },
                order: crate::print::order::Order::Sorted,
            };
            crate::print::json::write(&inner.value, style)
        } else {
            crate::yaml::write(&inner.value).trim().to_string()
        };
        if let Some(field) = object.pointer_mut(place) {
            *field = json!(written);
        }
        return true;
    }
    false
}

/// The parts of `a.b.[name=c.d].e`: dots in brackets and behind backslashes are none between parts.
pub fn split(path: &str) -> Vec<String> {
    let (mut out, mut part, mut depth) = (Vec::new(), String::new(), 0);
    let mut letters = path.chars().peekable();
    while let Some(c) = letters.next() {
        match c {
            '\\' if letters.peek() == Some(&'.') => part.extend(letters.next()),
            '.' if depth == 0 => out.push(std::mem::take(&mut part)),
            '[' => {
                // `a[b]` is `a.[b]`, or the key `b` where it is no condition.
                if depth == 0 && !part.is_empty() {
                    out.push(std::mem::take(&mut part));
                }
                depth += 1;
                part.push(c);
            }
            ']' => {
                depth -= 1;
                part.push(c);
                if depth == 0 && !part.contains('=') {
                    part = part[1..part.len() - 1].to_string();
                }
            }
            c => part.push(c),
        }
    }
    out.push(part);
    out.retain(|part| !part.is_empty());
    out
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// `[key=value]` as key and value.
fn condition(part: &str) -> Option<(&str, &str)> {
    part.strip_prefix('[')?.strip_suffix(']')?.split_once('=')
}

fn fits(element: &Value, key: &str, wanted: &str) -> bool {
    let field = if key.is_empty() {
        element
    } else {
        element.at(key)
    };
    match field {
        Value::String(text) => text == wanted,
        Value::Null => false,
        other => {
            let text = other.to_string();
            text == wanted
        }
    }
}

/// The JSON pointers of the fields that a path names.
pub fn places(object: &Value, parts: &[String]) -> Vec<String> {
    let Some((first, rest)) = parts.split_first() else {
        return vec![String::new()];
    };
    let below = |key: &str, value: &Value| -> Vec<String> {
        let found = places(value, rest);
        found
            .into_iter()
            .map(|more| format!("/{}{more}", escaped(key)))
            .collect()
    };
    match object {
        Value::Object(map) if first == "*" => map.iter().flat_map(|(k, v)| below(k, v)).collect(),
        Value::Object(map) => map.get(first).map_or_else(Vec::new, |v| below(first, v)),
        Value::Array(list) => {
            let meant = |at: usize, one: &Value| match condition(first) {
                _ if first == "*" => true,
                Some((key, wanted)) => fits(one, key, wanted),
                None if first == "-" => at + 1 == list.len(),
                None => first.parse() == Ok(at),
            };
            let elements = list.iter().enumerate().filter(|(at, one)| meant(*at, one));
            elements
                .flat_map(|(at, one)| below(&at.to_string(), one))
                .collect()
        }
        _ => Vec::new(),
    }
}

/// Makes what is missing on a path; the pointer to its end, or nothing where it cannot be made.
fn make(object: &mut Value, parts: &[String]) -> Vec<String> {
    let Some((first, rest)) = parts.split_first() else {
        return vec![String::new()];
    };
    if object.is_null() {
        *object = match condition(first).is_some() || first == "-" {
            true => json!([]),
            false => json!({}),
        };
    }
    let (key, child) = match object {
        Value::Object(map) if first != "*" => (
            first.clone(),
            map.entry(first.clone()).or_insert(Value::Null),
        ),
        Value::Array(list) => {
            let at = match condition(first) {
                Some((key, wanted)) => list.iter().position(|one| fits(one, key, wanted)),
                None => first.parse().ok().filter(|at| *at < list.len()),
            };
            let at = match (at, condition(first)) {
                (Some(at), _) => at,
                (None, Some((key, wanted))) => {
                    list.push(json!({ key: wanted }));
                    list.len() - 1
                }
                (None, None) if first == "-" => {
                    list.push(Value::Null);
                    list.len() - 1
                }
                (None, None) => return Vec::new(),
            };
            (at.to_string(), &mut list[at])
        }
        _ => return Vec::new(),
    };
    let below = make(child, rest);
    below
        .into_iter()
        .map(|more| format!("/{}{more}", escaped(&key)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split() {
        for (path, want) in [
            ("a.b.c", vec!["a", "b", "c"]),
            ("a.[name=x.y].b", vec!["a", "[name=x.y]", "b"]),
            ("a.b\\.c/d", vec!["a", "b.c/d"]),
            (
                "metadata.annotations.[x/y.z]",
                vec!["metadata", "annotations", "x/y.z"],
            ),
        ] {
            assert_eq!(split(path), want);
        }
    }

    #[test]
    fn values_keep_the_type_of_their_place() {
        let mut object = json!({"a": {"n": 1, "t": "x"}, "l": [{"name": "q", "v": "1-2"}]});
        let put = |object: &mut Value, value: Value, path: &str, options: Value| {
            set(
                object,
                &value,
                &json!({"fieldPaths": [path], "options": options}),
            )
        };
        put(&mut object, json!("9"), "a.n", Value::Null).unwrap();
        put(&mut object, json!(9), "a.t", Value::Null).unwrap();
        put(
            &mut object,
            json!("z"),
            "l.[name=q].v",
            json!({"delimiter": "-", "index": 1}),
        )
        .unwrap();
        put(&mut object, json!("m"), "b.c", json!({"create": true})).unwrap();
        assert_eq!(
            object,
            json!({"a": {"n": 9, "t": "9"}, "l": [{"name": "q", "v": "1-z"}], "b": {"c": "m"}})
        );
        let why = put(&mut object, json!("m"), "no.such", Value::Null).unwrap_err();
        assert_eq!(
            why.to_string(),
            "unable to find field \"no.such\" in replacement target"
        );
    }
}
