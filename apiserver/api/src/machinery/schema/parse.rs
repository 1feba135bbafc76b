//! JSON text to `serde_json::Value`, noticing what `serde_json` passes over: keys that stand twice.
//!
//! Invariant: the last of several equal keys wins, as in Go; nesting is bounded; errors bear the words of Go's `encoding/json`.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Number, Value};

use crate::machinery::gojson;

/// A document and the paths of the keys that it holds twice, in upstream's form (`spec.ports[0].name`).
#[derive(Debug)]
pub struct Parsed {
    pub value: Value,
    pub duplicates: Vec<String>,
    /// Something was nested too deeply to be kept, and left out.
    pub cut: bool,
}

/// Text that is no JSON, in the words of Go's `encoding/json` (`invalid character 'g' looking for beginning of value`).
#[derive(thiserror::Error, Debug, PartialEq)]
#[error("{0}")]
pub struct SyntaxError(pub String);

/// The paths of all keys and elements of a document in the order in which they stand in it, and whether a key stood there before.
pub fn paths_of_json(text: &[u8]) -> Vec<(String, bool)> {
    let mut tracing = State {
        tracing: true,
        ..State::default()
    };
    // what cannot be read has no paths beyond that place
    let _ = read(text, &mut tracing);
    tracing.found
}

/// How deeply what is kept may be nested: every walk over it is as deep, on a stack that is not endless.
const KEPT_DEPTH: usize = 126;
/// Stands for what was deeper. A document that has the name itself is refused as one that is too deep.
const CUT: &str = "\0cut";

/// Reads one JSON document, none of which is nested too deeply to be kept.
///
/// # Errors
/// It is no JSON, or some of it is too deep.
pub fn parse_json(text: &[u8]) -> Result<Parsed, SyntaxError> {
    let parsed = parse_json_in_part(text)?;
    match parsed.cut {
        true => Err(SyntaxError(TOO_DEEP.into())),
        false => Ok(parsed),
    }
}

/// What is said of a document that is nested too deeply to be kept.
pub const TOO_DEEP: &str = "exceeded max depth";

/// Some of the value was nested too deeply to be kept.
pub fn is_cut(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.contains_key(CUT) || map.values().any(is_cut),
        Value::Array(items) => items.iter().any(is_cut),
        _ => false,
    }
}

/// Reads one JSON document; what of it is nested too deeply is left out, which [`is_cut`] tells of what remains.
///
/// # Errors
/// It is no JSON, or nested more deeply than Go reads.
pub fn parse_json_in_part(text: &[u8]) -> Result<Parsed, SyntaxError> {
    let mut state = State::default();
    let value = read(text, &mut state)?;
    if state.cut
        && let Some(said) = gojson::too_deep(text)
    {
        return Err(SyntaxError(said));
    }
    let mut duplicates = Vec::new();
    if state.duplicate {
        // rare: read again, this time keeping the path
        let mut tracing = State {
            tracing: true,
            ..State::default()
        };
        read(text, &mut tracing)?;
        duplicates = tracing
            .found
            .into_iter()
            .filter_map(|(path, again)| again.then_some(path))
            .collect();
    }
    Ok(Parsed {
        value,
        duplicates,
        cut: state.cut,
    })
}

fn read(text: &[u8], state: &mut State) -> Result<Value, SyntaxError> {
    let mut from = serde_json::Deserializer::from_slice(text);
    let value = Seed { state }
        .deserialize(&mut from)
        .and_then(|value| from.end().map(|()| value));
    value.map_err(|error| {
        SyntaxError(gojson::syntax_error(text).unwrap_or_else(|| error.to_string()))
    })
}

#[derive(Default)]
struct State {
    depth: usize,
    cut: bool,
    duplicate: bool,
    tracing: bool,
    path: Vec<String>,
    found: Vec<(String, bool)>,
}

impl State {
    /// What stands for something that is too deep.
    fn cut(&mut self) -> Value {
        self.cut = true;
        Value::Object(Map::from_iter([(CUT.to_string(), Value::Null)]))
    }
}

struct Seed<'s> {
    state: &'s mut State,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.into()))
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        if self.state.depth == KEPT_DEPTH {
            while items.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(self.state.cut());
        }
        self.state.depth += 1;
        let mut list = Vec::new();
        loop {
            if self.state.tracing {
                self.state.path.push(format!("[{}]", list.len()));
                self.state.found.push((self.state.path.concat(), false));
            }
            let item = items.next_element_seed(Seed { state: self.state })?;
            if self.state.tracing {
                self.state.path.pop();
            }
            match item {
                Some(item) => list.push(item),
                None => {
                    self.state.depth -= 1;
                    return Ok(Value::Array(list));
                }
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        if self.state.depth == KEPT_DEPTH {
            while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(self.state.cut());
        }
        self.state.depth += 1;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if self.state.tracing {
                self.state.path.push(if self.state.path.is_empty() {
                    key.clone()
                } else {
                    format!(".{key}")
                });
                self.state
                    .found
                    .push((self.state.path.concat(), map.contains_key(&key)));
            }
            let value = entries.next_value_seed(Seed { state: self.state })?;
            if self.state.tracing {
                self.state.path.pop();
            }
            if map.insert(key, value).is_some() {
                self.state.duplicate = true;
            }
            if map.len() > 1_000_000 {
                return Err(A::Error::custom("too many keys"));
            }
        }
        self.state.depth -= 1;
        Ok(Value::Object(map))
    }
}
