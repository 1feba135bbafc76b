//! Objects in protobuf: what is read as a kind is written, and read again is the same.

use serde_json::Value;
use skiff_api::machinery::{read::Read, schema};
use skiff_protobuf as protobuf;

use super::kind_of;
use crate::{Target, seeds};

pub const PROTOBUF: Target = Target::new("protobuf", run, begin).bytes();

fn begin() -> Vec<Vec<u8>> {
    let objects = seeds::objects().iter().filter_map(|object| {
        let mut object = object.clone();
        let kind = kind_of(&object)?;
        kind.conform(&mut object).ok()?;
        protobuf::encode(object.to_string().as_bytes(), kind.node()).ok()
    });
    let mut all: Vec<Vec<u8>> = objects.collect();
    if let Some(folder) = seeds::upstream() {
        let files = seeds::files(&folder.join("api-golden")).into_iter();
        let files = files.filter(|path| path.extension().is_some_and(|end| end == "pb"));
        all.extend(files.map(seeds::read));
    }
    all
}

fn run(data: &[u8]) {
    let Ok(envelope) = protobuf::unwrap(data) else {
        return;
    };
    let named = serde_json::json!({"apiVersion": envelope.api_version, "kind": envelope.kind});
    let Some(kind) = kind_of(&named) else {
        return;
    };
    let Some(Ok(mut value)) = protobuf::decode(envelope.raw, kind.type_name()) else {
        return;
    };
    value["apiVersion"] = named["apiVersion"].clone();
    value["kind"] = named["kind"].clone();
    if kind.conform(&mut value).is_err() {
        return;
    }
    let text = schema::to_json(&value, Some(kind.node()));
    let Ok(written) = protobuf::encode(&text, kind.node()) else {
        return;
    };
    let envelope = protobuf::unwrap(&written).unwrap();
    assert_eq!(envelope.kind, value.text("kind"));
    let mut again: Value = protobuf::decode(envelope.raw, kind.type_name())
        .unwrap()
        .unwrap();
    again["apiVersion"] = named["apiVersion"].clone();
    again["kind"] = named["kind"].clone();
    kind.conform(&mut again).unwrap();
    let again = schema::to_json(&again, Some(kind.node()));
    assert_eq!(
        String::from_utf8_lossy(&again),
        String::from_utf8_lossy(&text)
    );
}
