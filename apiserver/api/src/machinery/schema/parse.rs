//! JSON text to `serde_json::Value`, noticing what `serde_json` passes over: keys that stand twice.
//!
//! Invariant: the last of several equal keys wins, as in Go; nesting is bounded; errors bear the words of Go's `encoding/json`.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A document and the paths of the keys that it holds twice, in upstream's form (`spec.ports[0].name`).
#[derive(Debug)]
pub struct Parsed {
    pub value: Value,
    pub duplicates: Vec<String>,
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

/// Reads one JSON document.
pub fn parse_json(text: &[u8]) -> Result<Parsed, SyntaxError> {
    let mut state = State::default();
    let value = read(text, &mut state)?;
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
    Ok(Parsed { value, duplicates })
}

fn read(text: &[u8], state: &mut State) -> Result<Value, SyntaxError> {
    let mut from = serde_json::Deserializer::from_slice(text);
    let value = Seed { state }
        .deserialize(&mut from)
        .and_then(|value| from.end().map(|()| value));
    value.map_err(|error| {
        SyntaxError(super::super::gojson::syntax_error(text).unwrap_or_else(|| error.to_string()))
    })
}

#[derive(Default)]
struct State {
    duplicate: bool,
    tracing: bool,
    path: Vec<String>,
    found: Vec<(String, bool)>,
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
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
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
        Ok(Value::Object(map))
    }
}
