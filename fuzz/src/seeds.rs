//! What targets begin with: objects and texts of `testdata`, and, where `UPSTREAM_DATA` is set, of what real servers were recorded to be sent.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

use crate::Target;

/// How many of the objects that were recorded are taken, and how long they are at the most.
const RECORDED: usize = 300;
const SHORT: usize = 16 << 10;

pub fn of(target: &Target) -> Vec<Vec<u8>> {
    (target.seeds)()
}

pub fn testdata() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata"))
}

pub fn upstream() -> Option<PathBuf> {
    std::env::var_os("UPSTREAM_DATA").map(PathBuf::from)
}

pub fn read(path: impl AsRef<Path>) -> Vec<u8> {
    let path = testdata().join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files in a folder and those below it, in order.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let below = paths.into_iter().flat_map(|path| match path.is_dir() {
        true => files(&path),
        false => vec![path],
    });
    below.collect()
}

/// An object of each kind, as JSON.
pub fn objects() -> &'static [Value] {
    static OBJECTS: LazyLock<Vec<Value>> = LazyLock::new(|| {
        let text = read("answers/objects.yaml");
        let mut objects: Vec<Value> = serde_yaml_ng::Deserializer::from_slice(&text)
            .map(|document| Value::deserialize(document).unwrap())
            .collect();
        objects.extend(recorded());
        objects
    });
    &OBJECTS
}

/// Bodies of requests that were recorded.
fn recorded() -> Vec<Value> {
    let Some(folder) = upstream() else {
        return Vec::new();
    };
    let mut objects: Vec<Value> = Vec::new();
    for path in files(&folder.join("recorded")) {
        if path.extension().is_none_or(|end| end != "jsonl") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for line in text.lines().filter(|line| line.len() < SHORT) {
            let mut step: Value = serde_json::from_str(line).unwrap();
            for part in ["object", "body"] {
                let object = step[part].take();
                if object["kind"].is_string() && object["apiVersion"].is_string() {
                    objects.push(object);
                }
            }
        }
    }
    let many = objects.len().div_ceil(RECORDED).max(1);
    objects.into_iter().step_by(many).collect()
}

/// Texts, as they are.
pub fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Texts with zero bytes between them.
pub fn joined<T: ToString>(parts: &[T]) -> Vec<u8> {
    parts
        .iter()
        .map(T::to_string)
        .collect::<Vec<_>>()
        .join("\0")
        .into_bytes()
}
