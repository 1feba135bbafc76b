//! What the macros with two variables make maps by. Follows upstream's `vendor/github.com/google/cel-go/ext/comprehensions.go`.

use super::standard::{A, B};
use crate::error::EvalError;
use crate::function::{Function, Library};
use crate::types::Type;
use crate::value::Outcome;
use crate::value::{Key, Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

pub fn library() -> Library {
    let map = Type::map(A, B);
    let insert = Function::new("cel.@mapInsert")
        .global(
            "@mapInsert_map_key_value",
            &[map.clone(), A, B],
            map.clone(),
            |args| insert(args.to_vec()),
        )
        .global(
            "@mapInsert_map_map",
            &[map.clone(), map.clone()],
            map,
            |args| insert(args.to_vec()),
        );
    Library {
        functions: vec![insert],
        types: Vec::new(),
    }
}

/// A map with an entry more, or with those of another map. A map that nobody else has grows in place.
pub(crate) fn insert(args: Vec<Value<'_>>) -> Outcome<'_> {
    let mut args = args.into_iter();
    let Some(Value::Map(map)) = args.next() else {
        return Err(EvalError::no_such_overload());
    };
    let mut entries = match map {
        Map::Entries(entries) => {
            Arc::try_unwrap(entries).unwrap_or_else(|shared| (*shared).clone())
        }
        Map::Json(_) => copied(&map)?,
    };
    match (args.next(), args.next()) {
        (Some(key), Some(value)) => add(&mut entries, key, value)?,
        (Some(Value::Map(more)), None) => {
            for key in more.keys() {
                if let Some(value) = more.get(&key)? {
                    add(&mut entries, key, value)?;
                }
            }
        }
        _ => return Err(EvalError::no_such_overload()),
    }
    Ok(Value::Map(Map::of(entries)))
}

fn copied<'a>(map: &Map<'a>) -> Result<BTreeMap<Key<'a>, Value<'a>>, EvalError> {
    let mut entries = BTreeMap::new();
    for key in map.keys() {
        if let (Some(name), Some(value)) = (Key::of(&key), map.get(&key)?) {
            entries.insert(name, value);
        }
    }
    Ok(entries)
}

fn add<'a>(
    entries: &mut BTreeMap<Key<'a>, Value<'a>>,
    key: Value<'a>,
    value: Value<'a>,
) -> Result<(), EvalError> {
    let Some(name) = Key::of(&key) else {
        let message = format!("unsupported key type: {}", key.type_name());
        return Err(EvalError::new(message));
    };
    if entries.contains_key(&name) {
        let message = format!("insert failed: key {key} already exists");
        return Err(EvalError::new(message));
    }
    entries.insert(name, value);
    Ok(())
}
