//! Config maps and secrets that a kustomization makes.
//! Invariant: what is made has a hash of its data in its name, unless that is switched off.
//! Behaviour follows `sigs.k8s.io/kustomize/api/internal/generators`.

use super::item::{Behavior, Item};
use crate::error::{Problem, Result, bail, go_io, message};
use crate::typed::Read;
use base64::Engine;
use serde_json::{Value, json};
use skiff_api::machinery::quote::GoQuoted;
use std::path::Path;

/// The object of one generator; `general` are the options of all.
///
/// # Errors
/// Data that cannot be read.
pub fn one(dir: &Path, g: &Value, kind: &str, general: &Value) -> Result<Item> {
    let name = g.text("name");
    let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}});
    if !g.text("namespace").is_empty() {
        object["metadata"]["namespace"] = g.at("namespace").clone();
    }
    let encode = |b: &[u8]| json!(base64::engine::general_purpose::STANDARD.encode(b));
    let pairs = data(dir, g).map_err(|why| message!("loading KV pairs: {why}"))?;
    let mut seen = std::collections::BTreeSet::new();
    for (key, value) in pairs {
        if !seen.insert(key.clone()) {
            bail!(
                "{} {name} illegally repeats the key `{key}`",
                kind.to_lowercase()
            );
        }
        match (kind, String::from_utf8(value)) {
            ("Secret", Ok(t)) => object["data"][key] = encode(t.as_bytes()),
            ("Secret", Err(e)) => object["data"][key] = encode(e.as_bytes()),
            (_, Ok(t)) => object["data"][key] = json!(t),
            (_, Err(e)) => object["binaryData"][key] = encode(e.as_bytes()),
        }
    }
    if kind == "Secret" {
        let of = Some(g.text("type")).filter(|of| !of.is_empty());
        object["type"] = json!(of.unwrap_or("Opaque"));
    }
    for options in [general, g.at("options")] {
        for field in ["labels", "annotations"] {
            for (k, v) in options.entries(field) {
                object["metadata"][field][k] = v.clone();
            }
        }
        if options.flag("immutable") {
            object["immutable"] = json!(true);
        }
    }
    let mut item = Item::new(object)?;
    item.behavior = Behavior::of(g.text("behavior"));
    item.hashed =
        !general.flag("disableNameSuffixHash") && !g.at("options").flag("disableNameSuffixHash");
    Ok(item)
}

/// The hash of the data, in which the name does not count.
pub fn hash(object: &Value) -> String {
    let mut canonical = json!({"kind": object.at("kind"), "name": "", "data": object.get("data").cloned().unwrap_or_else(|| json!(""))});
    for field in ["binaryData", "type", "immutable"] {
        if let Some(v) = object.get(field) {
            canonical[field] = v.clone();
        }
    }
    crate::cmd::create::name_hash(&canonical)
}

fn data(dir: &Path, g: &Value) -> Result<Vec<(String, Vec<u8>)>> {
    let texts = |field: &str| g.texts(field).map(String::from).collect::<Vec<_>>();
    let files = texts("files");
    let mut sources = texts("envs");
    sources.extend(
        g.text_ptr("env")
            .filter(|e| !e.is_empty())
            .map(String::from),
    );
    let failed = |what: &str, all: &[String]| {
        let all = all.join(" ");
        let what = what.to_string();
        move |why: Problem| message!("{what} [{all}]: {why}")
    };
    let mut out = Vec::new();
    for path in &sources {
        let text = load(dir, path).map_err(failed("env source files:", &sources))?;
        let pairs = env(&text).map_err(failed("env source files:", &sources))?;
        out.extend(pairs);
    }
    let literals = texts("literals");
    for literal in &literals {
        let pair = literal.split_once('=').filter(|(key, _)| !key.is_empty());
        let (k, v) = pair.ok_or_else(|| {
            let why = format!("invalid literal source {literal}, expected key=value");
            failed("literal sources", &literals)(why.into())
        })?;
        let v = v
            .strip_prefix(['"', '\''])
            .filter(|_| v.len() > 1 && v.chars().next() == v.chars().last())
            .map_or(v, |r| &r[..r.len() - 1]);
        out.push((k.into(), v.into()));
    }
    for source in &files {
        let (key, path) = named(source).map_err(failed("file sources:", &files))?;
        let text = load(dir, &path).map_err(failed("file sources:", &files))?;
        out.push((key, text));
    }
    Ok(out)
}

/// The key and the path of `PATH` or `KEY=PATH`.
fn named(source: &str) -> Result<(String, String), Problem> {
    match source.split_once('=') {
        None => {
            let base = Path::new(source).file_name().and_then(|name| name.to_str());
            Ok((base.unwrap_or(source).into(), source.into()))
        }
        Some(("", path)) => Err(format!(
            "missing key name for file path {path} in source {source}",
            path = GoQuoted(&path),
            source = GoQuoted(&source)
        )
        .into()),
        Some((key, "")) => Err(format!(
            "missing file path for key name {key} in source {source}",
            key = GoQuoted(&key),
            source = GoQuoted(&source)
        )
        .into()),
        Some((_, path)) if path.contains('=') => Err(format!(
            "key names or file paths cannot contain '=' in source {source}",
            source = GoQuoted(&source)
        )
        .into()),
        Some((key, path)) => Ok((key.into(), path.into())),
    }
}

fn load(dir: &Path, path: &str) -> Result<Vec<u8>, Problem> {
    let file = super::inside(dir, path)?;
    std::fs::read(&file).map_err(|e| format!("open {}: {}", file.display(), go_io(&e)).into())
}

/// The pairs of a file of variables; a name alone has no value.
fn env(text: &[u8]) -> Result<Vec<(String, Vec<u8>)>, Problem> {
    let mut out = Vec::new();
    for (_, line) in crate::variables::lines(text) {
        let line = line.map_err(|line| {
            let bytes: Vec<String> = line.iter().map(u8::to_string).collect();
            let (bytes, text) = (bytes.join(" "), String::from_utf8_lossy(line));
            Problem(format!("line [{bytes}] has invalid utf8 bytes : {text}"))
        })?;
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        if key.is_empty() {
            continue;
        }
        out.push((key.into(), value.into()));
    }
    Ok(out)
}

/// Adds what a generator made: as another object, or to one of that name, as its behaviour says.
pub fn absorb(items: &mut Vec<Item>, mut item: Item) -> Result<()> {
    let id = item.id();
    let shown = format!(
        "resid.ResId{{Gvk:resid.Gvk{{Group:{:?}, Version:{:?}, Kind:{:?}, isClusterScoped:false}}, Name:{:?}, Namespace:{:?}}}",
        id.group, id.version, id.kind, id.name, id.namespace
    );
    let matches: Vec<usize> = (0..items.len())
        .filter(|at| items[*at].has_id(&id))
        .collect();
    let merges = matches!(item.behavior, Behavior::Merge | Behavior::Replace);
    match matches.as_slice() {
        [] if merges => {
            bail!("merging from generator: id {shown} does not exist; cannot merge or replace")
        }
        [] => {
            items.push(item);
            Ok(())
        }
        [at] if merges => {
            let old = &items[*at];
            take_over(old, &mut item);
            items[*at] = item;
            Ok(())
        }
        [_] => bail!(
            "merging from generator: id {shown} exists; can not use behavior: '{}', behavior must be merge or replace",
            item.behavior.word()
        ),
        _ => {
            bail!("merging from generator: found multiple objects that could accept merge of {id}")
        }
    }
}

/// A generated object takes the place of another, whose name and marks it keeps; one that merges keeps its data, too.
fn take_over(old: &Item, new: &mut Item) {
    for field in ["labels", "annotations"] {
        let mut merged = old
            .object
            .at("metadata")
            .map(field)
            .cloned()
            .unwrap_or_default();
        merged.extend(
            new.object
                .at("metadata")
                .map(field)
                .cloned()
                .unwrap_or_default(),
        );
        if !merged.is_empty() {
            new.object["metadata"][field] = Value::Object(merged);
        }
    }
    let was = old.id();
    new.rename(&was.name);
    if !was.namespace.is_empty() {
        new.object["metadata"]["namespace"] = json!(was.namespace);
    }
    if new.behavior == Behavior::Merge {
        for field in ["data", "binaryData"] {
            let mut merged = old.object.map(field).cloned().unwrap_or_default();
            merged.extend(new.object.map(field).cloned().unwrap_or_default());
            if !merged.is_empty() {
                new.object[field] = Value::Object(merged);
            }
        }
        new.origin = old.origin.clone();
    }
    new.previous = old.previous.clone();
    new.prefixes = old.prefixes.clone();
    new.suffixes = old.suffixes.clone();
    new.hashed |= old.hashed;
    new.variables = old.variables.clone();
}
