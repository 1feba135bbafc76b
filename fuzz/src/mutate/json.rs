//! Changes of JSON as a tree: what comes out is JSON again, most of it of the shape that it had.

use serde_json::{Map, Value, json};

use crate::Random;

/// JSON with one change; nothing for what is none.
pub fn changed(text: &[u8], other: &[u8], words: &[&str], random: &mut Random) -> Option<Vec<u8>> {
    let mut value: Value = serde_json::from_slice(text).ok()?;
    let other: Value = serde_json::from_slice(other).unwrap_or_default();
    let many = count(&value);
    let mut at = random.below(many);
    if let Some(place) = nth(&mut value, &mut at) {
        change(place, &other, words, random);
    }
    let mut out = value.to_string().into_bytes();
    if random.one_in(16) {
        twice(&mut out, random);
    }
    Some(out)
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

/// The value at a place in the order of the text.
fn nth<'v>(value: &'v mut Value, at: &mut usize) -> Option<&'v mut Value> {
    if *at == 0 {
        return Some(value);
    }
    *at -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|item| nth(item, at)),
        Value::Object(fields) => fields.values_mut().find_map(|field| nth(field, at)),
        _ => None,
    }
}

fn some(value: &Value, random: &mut Random) -> Value {
    let mut value = value.clone();
    let mut at = random.below(count(&value));
    nth(&mut value, &mut at).map_or(Value::Null, |value| value.take())
}

fn change(place: &mut Value, other: &Value, words: &[&str], random: &mut Random) {
    match (random.below(8), &mut *place) {
        (0, _) => *place = scalar(words, random),
        (1, _) => *place = some(other, random),
        (2, _) if random.one_in(4) => {
            let deep = random.length(140);
            let inner = place.take();
            let key = random.of(words).copied().unwrap_or("a");
            let list = random.one_in(2);
            *place = (0..deep).fold(inner, |inner, _| match list {
                true => json!([inner]),
                false => json!({key: inner}),
            });
        }
        (_, Value::Array(items)) => list(items, other, random),
        (_, Value::Object(fields)) => object(fields, other, words, random),
        (_, Value::String(text)) => {
            let changed = super::text::changed(text.as_bytes(), b"", words, random);
            *text = String::from_utf8_lossy(&changed).replace('\0', "");
        }
        _ => *place = scalar(words, random),
    }
}

fn list(items: &mut Vec<Value>, other: &Value, random: &mut Random) {
    let at = random.below(items.len());
    match random.below(6) {
        0 if !items.is_empty() => drop(items.remove(at)),
        1 if !items.is_empty() => {
            let again = random.below(items.len());
            items.swap(at, again);
        }
        2 => items.push(some(other, random)),
        3 => items.push(Value::Null),
        _ => {
            let Some(item) = items.get(at).cloned() else {
                return;
            };
            let size = count(&item) * 8;
            let many = if random.one_in(4) {
                random.length(20_000 / size)
            } else {
                1
            };
            // alike, or each with a name of its own
            let named = random.one_in(2);
            items.extend((0..many).map(|number| {
                let mut item = item.clone();
                match &mut item {
                    Value::Object(fields) if named => {
                        if let Some(text) = fields.values_mut().find(|field| field.is_string()) {
                            *text = format!("a{number}").into();
                        }
                    }
                    Value::String(text) if named => *text = format!("{text}{number}"),
                    _ => {}
                }
                item
            }));
        }
    }
}

fn object(fields: &mut Map<String, Value>, other: &Value, words: &[&str], random: &mut Random) {
    let keys: Vec<String> = fields.keys().cloned().collect();
    let key = random.of(&keys).cloned().unwrap_or_default();
    match random.below(8) {
        0 => drop(fields.remove(&key)),
        1 => drop(fields.insert(key, Value::Null)),
        2 => {
            let value = fields.remove(&key).unwrap_or_default();
            let name = super::text::changed(key.as_bytes(), b"", words, random);
            fields.insert(String::from_utf8_lossy(&name).replace('\0', ""), value);
        }
        3 => {
            let name = random.of(words).copied().unwrap_or("a");
            fields.insert(name.into(), some(other, random));
        }
        4 => {
            let from = random.of(&keys).cloned().unwrap_or_default();
            let value = fields.get(&from).cloned().unwrap_or_default();
            fields.insert(key, value);
        }
        5 => {
            if let Value::Object(other) = other {
                fields.extend(other.clone());
            }
        }
        6 => {
            let value = fields.get(&key).cloned().unwrap_or_default();
            let many = random.length(10_000 / (count(&value) * 8));
            fields.extend((0..many).map(|number| (format!("{key}{number}"), value.clone())));
        }
        _ => drop(fields.insert(key, scalar(words, random))),
    }
}

fn scalar(words: &[&str], random: &mut Random) -> Value {
    match random.below(14) {
        0 => Value::Null,
        1 => true.into(),
        2 => false.into(),
        3 => 0.into(),
        4 => (-1).into(),
        5 => i64::MAX.into(),
        6 => i64::MIN.into(),
        7 => u64::MAX.into(),
        8 => json!(1e300),
        9 => json!(0.5),
        10 => json!({}),
        11 => json!([]),
        12 => (random.number() as i32).into(),
        _ => Value::from(random.of(words).copied().unwrap_or("")),
    }
}

/// A key stands twice.
fn twice(out: &mut Vec<u8>, random: &mut Random) {
    let opens: Vec<usize> = (0..out.len()).filter(|at| out[*at] == b'{').collect();
    let Some(at) = random.of(&opens).copied() else {
        return;
    };
    let rest = &out[at + 1..];
    let Some(end) = rest
        .iter()
        .position(|byte| *byte == b':')
        .map(|end| at + 1 + end)
    else {
        return;
    };
    let key = out[at + 1..end].to_vec();
    out.splice(at + 1..at + 1, [&key[..], b":null,"].concat());
}
