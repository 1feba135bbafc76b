//! JSON text to `serde_json::Value`, noticing what `serde_json` passes over: keys that stand twice.
//!
//! Invariant: the last of several equal keys wins, as in Go; nesting is bounded; errors bear the words of Go's `encoding/json`.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

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

/// How many mistakes are told of one document, as upstream's strict decoder has it.
pub const MOST_REMARKS: usize = 100;

/// A key or an element of a document.
pub struct Place<'p> {
    pub path: &'p str,
    /// The [`mark`] of the path.
    pub mark: u64,
    /// How many keys and elements lead to it.
    pub depth: usize,
    /// The same key stood there before.
    pub again: bool,
}

/// What stands for a path where many are compared: that of a longer path is made from it (FNV-1a).
pub fn mark(path: &str) -> u64 {
    marked(0xcbf2_9ce4_8422_2325, path)
}

fn marked(from: u64, path: &str) -> u64 {
    path.bytes().fold(from, |mark, byte| {
        (mark ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Goes through all keys and elements of a document in the order in which they stand in it, until `visit` answers false. What cannot be read has no
/// paths beyond that place.
pub fn walk_paths(text: &[u8], visit: &mut dyn FnMut(Place<'_>) -> bool) {
    let mut state = State {
        visit: Some(visit),
        ..State::default()
    };
    let _ = read(text, &mut state);
}

/// Which of the paths stands first in a document.
pub fn first_of(text: &[u8], paths: &[&str]) -> usize {
    let mut places = HashMap::new();
    for (at, path) in paths.iter().enumerate() {
        places.entry(mark(path)).or_insert(at);
    }
    let mut first = None;
    walk_paths(text, &mut |place| {
        first = places.get(&place.mark).copied();
        first.is_none()
    });
    first.unwrap_or(0)
}

/// Reads one JSON document.
pub fn parse_json(text: &[u8]) -> Result<Parsed, SyntaxError> {
    let mut state = State::default();
    let value = read(text, &mut state)?;
    let mut duplicates = Vec::new();
    if state.duplicate {
        // rare: read again, this time keeping the path
        let mut told = HashSet::new();
        walk_paths(text, &mut |place| {
            if place.again && told.insert(place.mark) {
                duplicates.push(place.path.to_owned());
            }
            duplicates.len() < MOST_REMARKS
        });
    }
    Ok(Parsed { value, duplicates })
}

fn read(text: &[u8], state: &mut State<'_>) -> Result<Value, SyntaxError> {
    let mut from = serde_json::Deserializer::from_slice(text);
    let value = Seed {
        state,
        at: (mark(""), 0),
    }
    .deserialize(&mut from)
    .and_then(|value| from.end().map(|()| value));
    value.map_err(|error| {
        SyntaxError(super::super::gojson::syntax_error(text).unwrap_or_else(|| error.to_string()))
    })
}

#[derive(Default)]
struct State<'v> {
    duplicate: bool,
    visit: Option<&'v mut dyn FnMut(Place<'_>) -> bool>,
    path: String,
}

impl State<'_> {
    /// Goes to a key or an element of what has this mark; answers its own, or that nobody wants to see more.
    fn enter<E: serde::de::Error>(
        &mut self,
        (from, depth): (u64, usize),
        again: bool,
        write: impl FnOnce(&mut String),
    ) -> Result<(u64, usize), E> {
        let Some(visit) = &mut self.visit else {
            return Ok((from, depth));
        };
        let begin = self.path.len();
        write(&mut self.path);
        let mark = marked(from, &self.path[begin..]);
        let place = Place {
            path: &self.path,
            mark,
            depth: depth + 1,
            again,
        };
        match visit(place) {
            true => Ok((mark, depth + 1)),
            false => Err(E::custom("seen enough")),
        }
    }
}

struct Seed<'s, 'v> {
    state: &'s mut State<'v>,
    /// The mark and the depth of what it reads.
    at: (u64, usize),
}

impl<'de> DeserializeSeed<'de> for Seed<'_, '_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_, '_> {
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
        let Seed { state, at } = self;
        let (mut list, begin) = (Vec::new(), state.path.len());
        loop {
            let at = state.enter(at, false, |path| {
                path.push_str(&format!("[{}]", list.len()));
            })?;
            let item = items.next_element_seed(Seed { state, at })?;
            state.path.truncate(begin);
            match item {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let Seed { state, at } = self;
        let (mut map, begin) = (Map::new(), state.path.len());
        while let Some(key) = entries.next_key::<String>()? {
            let again = state.visit.is_some() && map.contains_key(&key);
            let at = state.enter(at, again, |path| {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&key);
            })?;
            let value = entries.next_value_seed(Seed { state, at })?;
            state.path.truncate(begin);
            if map.insert(key, value).is_some() {
                state.duplicate = true;
            }
            if map.len() > 1_000_000 {
                return Err(A::Error::custom("too many keys"));
            }
        }
        Ok(Value::Object(map))
    }
}
