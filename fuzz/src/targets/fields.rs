//! Sets of fields as managed fields hold them: read, written, and with each other.

use serde_json::{Value, json};
use skiff_api::machinery::managed_fields::{PathElement, Set};

use crate::{Target, seeds, texts};

pub const FIELDS: Target = Target::new("fields", run, begin)
    .words(&[
        "f:a",
        "f:spec",
        "f:",
        "v:1",
        "v:\"a\"",
        "k:{\"name\":\"a\"}",
        "k:{\"port\":1,\"protocol\":\"TCP\"}",
        "i:0",
        "i:-1",
        "i:99999999999999999999",
        ".",
        "k:{}",
        "v:[1]",
        "v:{\"a\":null}",
        "x:1",
        "k:[]",
        "v:1.5e300",
        "k:{\"a\":{\"b\":1}}",
        "\\.",
    ])
    // its paths as lists, for each of which all that leads to it
    .worth(8192);

fn begin() -> Vec<Vec<u8>> {
    let all = json!({"f:spec": {"f:ports": {".": {}, "k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}}, "f:list": {"v:\"a\"": {}, "v:1.5": {}, "i:3": {}}}});
    let some = json!({"f:spec": {"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {}}, "f:list": {"v:1": {}}}, "f:data": {"f:a.b": {}, ".": {}}});
    vec![
        seeds::joined(&[&all, &some]),
        seeds::joined(&[&some, &all]),
        seeds::joined(&[&all, &json!({})]),
    ]
}

fn run(data: &[u8]) {
    let Some([one, other]) = texts(data) else {
        return;
    };
    if let Ok(Some(element)) = PathElement::parse(one) {
        element.serialize();
        drop(element.to_string());
    }
    let read = |text: &str| serde_json::from_str::<Value>(text);
    let (Ok(one), Ok(other)) = (read(one), read(other)) else {
        return;
    };
    let (Ok(first), Ok(second)) = (Set::from_fields(&one), Set::from_fields(&other)) else {
        return;
    };
    let written = first.to_fields();
    let again = Set::from_fields(&written).unwrap();
    assert_eq!(again.to_fields(), written);
    let (both, common) = (first.union(&second), first.intersection(&second));
    let rest = first.difference(&second);
    assert!(common.is_empty() || first.intersects(&second));
    for path in common.paths().iter().take(8) {
        assert!(first.has(path) && second.has(path) && both.has(path));
    }
    for path in rest.paths().iter().take(8) {
        assert!(first.has(path) && !second.has(path));
    }
    first.touches(&other);
    both.recursively_without(&second);
}
