//! Config maps and secrets that a kustomization makes.
//! Invariant: what is made has a hash of its data in its name, unless that is switched off.
//! Behaviour follows `sigs.k8s.io/kustomize/api/internal/generators`.

use super::Item;
use crate::error::{Error, Problem, Result, go_io};
use crate::typed::Read;
use base64::Engine;
use serde_json::{Map, Value, json};
use std::path::Path;

pub fn run(dir: &Path, map: &Map<String, Value>) -> Result<Vec<Item>> {
    let mut out = Vec::new();
    let general = map.get("generatorOptions").cloned().unwrap_or(Value::Null);
    for (field, kind) in [
        ("configMapGenerator", "ConfigMap"),
        ("secretGenerator", "Secret"),
    ] {
        for g in map
            .get(field)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            out.push(one(dir, g, kind, &general)?);
        }
    }
    Ok(out)
}

fn one(dir: &Path, g: &Value, kind: &str, general: &Value) -> Result<Item> {
    if !matches!(g.text_ptr("behavior"), None | Some("create" | "")) {
        return Err(Error::msg(format!(
            "the behavior {} of a generator is not supported",
            g.at("behavior")
        )));
    }
    let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": g.at("name")}});
    if g.at("namespace").is_string() {
        object["metadata"]["namespace"] = g.at("namespace").clone();
    }
    let encode = |b: &[u8]| json!(base64::engine::general_purpose::STANDARD.encode(b));
    for (key, value) in data(dir, g)? {
        match (kind, String::from_utf8(value)) {
            ("Secret", Ok(t)) => object["data"][key] = encode(t.as_bytes()),
            ("Secret", Err(e)) => object["data"][key] = encode(e.as_bytes()),
            (_, Ok(t)) => object["data"][key] = json!(t),
            (_, Err(e)) => object["binaryData"][key] = encode(e.as_bytes()),
        }
    }
    if kind == "Secret" {
        object["type"] = json!(g.text_ptr("type").unwrap_or("Opaque"));
    }
    for options in [general, g.at("options")] {
        for field in ["labels", "annotations"] {
            for (k, v) in options[field].as_object().into_iter().flatten() {
                object["metadata"][field][k] = v.clone();
            }
        }
        if options.flag("immutable") {
            object["immutable"] = json!(true);
        }
    }
    let mut item = Item::new(object);
    item.hashed =
        !general.flag("disableNameSuffixHash") && !g.at("options").flag("disableNameSuffixHash");
    if item.hashed {
        item.hash = hash(&item.object);
    }
    Ok(item)
}

/// The hash of the data, in which the name does not count.
fn hash(object: &Value) -> String {
    let mut canonical = json!({"kind": object.at("kind"), "name": "", "data": object.get("data").cloned().unwrap_or_else(|| json!(""))});
    for field in ["binaryData", "type", "immutable"] {
        if let Some(v) = object.get(field) {
            canonical[field] = v.clone();
        }
    }
    crate::cmd::create::name_hash(&canonical)
}

fn texts(g: &Value, field: &str) -> Vec<String> {
    g[field]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|v| v.as_str().map(String::from))
        .collect()
}

fn data(dir: &Path, g: &Value) -> Result<Vec<(String, Vec<u8>)>> {
    let mut out = Vec::new();
    let outside = |what: &'static str, all: Vec<String>| {
        move |why: Problem| {
            Error::msg(format!(
                "loading KV pairs: {what}: [{}]: {why}",
                all.join(" ")
            ))
        }
    };
    let files = texts(g, "files");
    let file = |p: &str| {
        let path = super::inside(dir, p).map_err(outside("file sources", files.clone()))?;
        std::fs::read(&path).map_err(|e| {
            Error::msg(format!(
                "loading KV pairs: file sources: open {}: {}",
                path.display(),
                go_io(&e)
            ))
        })
    };
    let sources: Vec<String> = texts(g, "envs")
        .into_iter()
        .chain(g.text_ptr("env").map(String::from))
        .collect();
    for path in &sources {
        let path = super::inside(dir, path)
            .map_err(outside("env source files", sources.clone()))?
            .display()
            .to_string();
        out.extend(
            crate::cmd::create::env_file(&path)?
                .into_iter()
                .map(|(k, v)| (k, v.into_bytes())),
        );
    }
    for literal in texts(g, "literals") {
        let (k, v) = literal.split_once('=').ok_or_else(|| {
            Error::msg(format!(
                "invalid literal source {literal}, expected key=value"
            ))
        })?;
        let v = v
            .strip_prefix(['"', '\''])
            .filter(|_| v.len() > 1 && v.chars().next() == v.chars().last())
            .map_or(v, |r| &r[..r.len() - 1]);
        out.push((k.into(), v.into()));
    }
    for source in &files {
        let (key, path) = source
            .split_once('=')
            .map_or((None, source.as_str()), |(k, p)| (Some(k.to_string()), p));
        let base = Path::new(path)
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or(path)
            .to_string();
        out.push((key.unwrap_or(base), file(path)?));
    }
    Ok(out)
}
