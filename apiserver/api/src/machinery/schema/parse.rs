//! JSON text to `serde_json::Value`, noticing what `serde_json` passes over: keys that stand twice.
//!
//! Invariant: the last of several equal keys wins, as in Go; nesting is bounded; errors bear the words of Go's `encoding/json`.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

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
        let mut told = HashSet::new();
        walk_paths(text, &mut |place| {
            if place.again && told.insert(place.mark) {
                duplicates.push(place.path.to_owned());
            }
            duplicates.len() < MOST_REMARKS
        });
    }
    Ok(Parsed {
        value,
        duplicates,
        cut: state.cut,
    })
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
        SyntaxError(gojson::syntax_error(text).unwrap_or_else(|| error.to_string()))
    })
}

#[derive(Default)]
struct State<'v> {
    /// How many objects and lists are open.
    depth: usize,
    cut: bool,
    duplicate: bool,
    visit: Option<&'v mut dyn FnMut(Place<'_>) -> bool>,
    path: String,
}

impl State<'_> {
    /// What stands for something that is too deep.
    fn cut(&mut self) -> Value {
        self.cut = true;
        Value::Object(Map::from_iter([(CUT.to_string(), Value::Null)]))
    }

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
        if state.depth == KEPT_DEPTH {
            while items.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(state.cut());
        }
        state.depth += 1;
        let (mut list, begin) = (Vec::new(), state.path.len());
        loop {
            let at = state.enter(at, false, |path| {
                path.push_str(&format!("[{}]", list.len()));
            })?;
            let item = items.next_element_seed(Seed { state, at })?;
            state.path.truncate(begin);
            match item {
                Some(item) => list.push(item),
                None => {
                    state.depth -= 1;
                    return Ok(Value::Array(list));
                }
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let Seed { state, at } = self;
        if state.depth == KEPT_DEPTH {
            while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(state.cut());
        }
        state.depth += 1;
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
        state.depth -= 1;
        Ok(Value::Object(map))
    }
}
