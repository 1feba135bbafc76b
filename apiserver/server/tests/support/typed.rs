//! Objects as controllers, scheduler and node agents read them: typed, by whoever reads that kind.

use serde_json::Value;
use skiff_api::machinery::schema::{Schema, conform};
use skiff_watching::typed::READERS;

/// What was read, and what could not be.
#[derive(Default)]
pub struct Readers {
    read: usize,
    failed: Vec<String>,
}

impl Readers {
    /// Reads an object, if its kind is read by somebody; `id` is told where that fails.
    pub fn read(&mut self, id: &str, text: &str) {
        let Ok(object) = serde_json::from_str::<Value>(text) else {
            // other encodings are those of clients
            return;
        };
        for reader in READERS {
            if object["apiVersion"] != reader.api_version || object["kind"] != reader.kind {
                continue;
            }
            self.read += 1;
            if let Err(why) = read_again(&object, text, reader.again) {
                let name = format!("{} {}", reader.api_version, reader.kind);
                self.failed.push(format!("{id}: {name}: {why}"));
            }
        }
    }

    /// Something was read, and all that was to be read.
    #[track_caller]
    pub fn all_were_read(&self) {
        println!("{} objects were read typed", self.read);
        assert!(self.failed.is_empty(), "{}", self.failed.join("\n"));
    }
}

type Again = fn(&str) -> Result<Vec<u8>, Box<dyn std::error::Error>>;

/// What a client reads and writes back is what it was given.
fn read_again(object: &Value, text: &str, again: Again) -> Result<(), String> {
    let written = again(text).map_err(|error| error.to_string())?;
    let mut written: Value = serde_json::from_slice(&written).map_err(|error| error.to_string())?;
    let kind = |name: &str| object[name].as_str().unwrap_or_default();
    let node = Schema::builtin().of_kind(kind("apiVersion"), kind("kind"));
    let mut wanted = object.clone();
    for value in [&mut written, &mut wanted] {
        conform(value, node.unwrap()).map_err(|error| error.to_string())?;
        without_nothing(value);
    }
    let lost = super::differences::differences(&wanted, &written);
    match lost.is_empty() {
        true => Ok(()),
        false => Err(format!("written back it is other: {}", lost.join("; "))),
    }
}

/// Takes out nulls and empty lists, which Go tells from each other and nobody else does.
fn without_nothing(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(without_nothing);
            map.retain(|_, value| !value.is_null() && !value.as_array().is_some_and(Vec::is_empty));
        }
        Value::Array(items) => items.iter_mut().for_each(without_nothing),
        _ => {}
    }
}
