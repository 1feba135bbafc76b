//! JSON as it is sent: its syntax, keys that stand twice, and its reading as a kind.

use serde_json::Value;
use skiff_api::machinery::{gojson, schema};

use super::{NAMES, kind_of};
use crate::{Target, seeds};

pub const JSON: Target = Target::new("json", run, objects).words(NAMES);

pub fn objects() -> Vec<Vec<u8>> {
    let objects = seeds::objects().iter();
    objects
        .map(|object| object.to_string().into_bytes())
        .collect()
}

fn run(data: &[u8]) {
    let wrong = gojson::syntax_error(data);
    gojson::object_error(data);
    let mut twice = 0;
    schema::walk_paths(data, &mut |place| {
        twice += usize::from(place.again);
        true
    });
    let parsed = match schema::parse_json(data) {
        Ok(parsed) => parsed,
        Err(_) => return,
    };
    assert_eq!(wrong, None, "what is read has no fault");
    assert!(parsed.duplicates.len() <= twice);
    assert_eq!(parsed.duplicates.is_empty(), twice == 0);
    let Some(kind) = kind_of(&parsed.value) else {
        return;
    };
    let mut value = parsed.value;
    let first = |paths: &[&str]| schema::first_of(data, paths);
    let Ok(decoded) = kind.conform_as_written(&mut value, first) else {
        return;
    };
    decoded.remarks().for_each(drop);
    let text = schema::to_json(&value, Some(kind.node()));
    schema::to_pretty_json(&value, Some(kind.node()));
    let mut again: Value = serde_json::from_slice(&text).unwrap();
    kind.conform(&mut again).unwrap();
    assert_eq!(
        schema::to_json(&again, Some(kind.node()))
            .escape_ascii()
            .to_string(),
        text.escape_ascii().to_string(),
        "what is canonical stays"
    );
}
