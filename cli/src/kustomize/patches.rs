//! Patches that a kustomization brings: strategic merge patches and JSON patches.
//! Invariant: a patch that changes nothing that is there is an error, unless a selector chose what it is for.
//! Behaviour follows `sigs.k8s.io/kustomize/api/internal/builtins/PatchTransformer.go`.

use super::item::{Id, Item, find};
use super::strategic;
use crate::error::{Problem, Result, bail, go_io, message};
use crate::typed::Read;
use serde_json::Value;
use skiff_api::machinery::patch::json::JsonPatch;
use skiff_api::machinery::quote::GoQuoted;
use std::path::Path;

/// The entries of `patches`.
///
/// # Errors
/// A patch that cannot be read, or that fits nothing.
pub fn all(dir: &Path, entries: &[Value], items: &mut Vec<Item>) -> Result<()> {
    for entry in entries {
        let (patch, path) = (entry.text("patch").trim(), entry.text("path"));
        let (text, source) = match (patch.is_empty(), path.is_empty()) {
            (true, true) => {
                let config = crate::yaml::write(entry);
                let why = format!("must specify one of patch and path in\n{config}");
                return Err(trouble(entry, why));
            }
            (false, false) => {
                let config = crate::yaml::write(entry);
                let why = format!("patch and path can't be set at the same time\n{config}");
                return Err(trouble(entry, why));
            }
            (false, true) => (
                patch.to_string(),
                format!("[patch: {patch}]", patch = GoQuoted(&patch)),
            ),
            (true, false) => {
                let text = load(dir, path).map_err(|why| trouble(entry, why.to_string()))?;
                (text, format!("[path: {path}]", path = GoQuoted(&path)))
            }
        };
        let unreadable = || {
            let why = format!("unable to parse SM or JSON patch from {source}");
            trouble(entry, why)
        };
        // What begins as JSON does is read as JSON alone.
        if text.trim_start().starts_with('[') && serde_json::from_str::<Value>(&text).is_err() {
            return Err(unreadable());
        }
        let documents = crate::yaml::read_new(&text).map_err(|_| unreadable())?;
        let documents: Vec<Value> = documents
            .into_iter()
            .map(|d| d.value)
            .filter(|v| !v.is_null())
            .collect();
        let target = entry.some("target").filter(|t| t.is_object());
        match documents.as_slice() {
            [one] if one.is_array() => {
                let Some(target) = target else {
                    bail!("must specify a target for JSON patch {source}");
                };
                let patch = JsonPatch::decode(one, false).map_err(|_| unreadable())?;
                by_json(&patch, target, items)?;
            }
            several if several.iter().all(names_object) => {
                let options = entry.at("options");
                strategic_patches(several, target, options, &source, items)?;
            }
            _ => return Err(unreadable()),
        }
    }
    Ok(())
}

/// Why an entry cannot be used.
fn trouble(entry: &Value, why: String) -> crate::error::Error {
    let config = crate::yaml::write(entry);
    message!("trouble configuring builtin PatchTransformer with config: `\n{config}`: {why}")
}

/// Whether a document says which object it is of.
fn names_object(document: &Value) -> bool {
    !document.text("kind").is_empty() && !document.at("metadata").text("name").is_empty()
}

fn strategic_patches(
    patches: &[Value],
    target: Option<&Value>,
    options: &Value,
    source: &str,
    items: &mut Vec<Item>,
) -> Result<()> {
    let Some(target) = target else {
        for patch in patches {
            let id = Id::of(patch);
            let at = find(items, &id).map_err(|why| {
                message!(
                    "no resource matches strategic merge patch {}: {why}",
                    GoQuoted(&id.to_string())
                )
            })?;
            merge(&mut items[at], patch, options)?;
        }
        drop_empty(items);
        return Ok(());
    };
    let [patch] = patches else {
        bail!(
            "Multiple Strategic-Merge Patches in one `patches` entry is not allowed to set `patches.target` field: {source}"
        );
    };
    for item in items.iter_mut() {
        if chosen(item, target)? {
            merge(item, patch, options)?;
        }
    }
    drop_empty(items);
    Ok(())
}

fn drop_empty(items: &mut Vec<Item>) {
    items.retain(|item| item.object.as_object().is_some_and(|map| !map.is_empty()));
}

/// Merges a patch into an object, which keeps its name and kind unless the options let them change.
fn merge(item: &mut Item, patch: &Value, options: &Value) -> Result<()> {
    let allowed = |what: &str| options.flag(what) || options.text(what) == "true";
    let (name, kind) = (allowed("allowNameChange"), allowed("allowKindChange"));
    let before = item.object.clone();
    if name || kind {
        item.remember();
    }
    if !strategic::merge(&mut item.object, patch, crate::typed::schema(&before)) {
        item.object = Value::Object(Default::default());
        return Ok(());
    }
    if !kind {
        item.object["kind"] = before.at("kind").clone();
    }
    item.object["apiVersion"] = match kind {
        true => patch.at("apiVersion").clone(),
        false => before.at("apiVersion").clone(),
    };
    if !name {
        item.object["metadata"]["name"] = before.at("metadata").at("name").clone();
    }
    match before.at("metadata").some("namespace") {
        Some(namespace) => item.object["metadata"]["namespace"] = namespace.clone(),
        None => {
            if let Some(meta) = item
                .object
                .get_mut("metadata")
                .and_then(Value::as_object_mut)
            {
                meta.remove("namespace");
            }
        }
    }
    Ok(())
}

/// The entries of `patchesStrategicMerge`: patches, or files with them.
///
/// # Errors
/// As `all`.
pub fn strategic(dir: &Path, entries: &[Value], items: &mut Vec<Item>) -> Result<()> {
    for text in entries.iter().filter_map(Value::as_str) {
        let inline = crate::yaml::read_new(text).ok().filter(|documents| {
            let mut values = documents.iter().map(|d| &d.value);
            !documents.is_empty() && values.all(|v| v.is_null() || names_object(v))
        });
        let documents = match inline {
            Some(documents) => documents,
            None => {
                let file = super::inside(dir, text)
                    .map_err(|why| crate::error::Error::msg(why.to_string()))?;
                crate::yaml::read_new(&super::text(&file)?).map_err(|why| message!("{why}"))?
            }
        };
        for patch in documents
            .into_iter()
            .map(|d| d.value)
            .filter(|v| !v.is_null())
        {
            let at = find(items, &Id::of(&patch))?;
            merge(&mut items[at], &patch, &Value::Null)?;
        }
        drop_empty(items);
    }
    Ok(())
}

/// The entries of `patchesJson6902`.
///
/// # Errors
/// As `all`.
pub fn json(dir: &Path, entries: &[Value], items: &mut [Item]) -> Result<()> {
    for entry in entries {
        let target = entry.at("target");
        if target.text("name").is_empty() {
            bail!("must specify the target name");
        }
        let (patch, path) = (entry.text("patch"), entry.text("path"));
        let text = match (patch.is_empty(), path.is_empty()) {
            (true, true) => bail!("must specify a json patch file path or a json patch"),
            (false, false) => bail!("must specify one of file path and a patch, not both"),
            (false, true) => patch.to_string(),
            (true, false) => {
                let file = super::inside(dir, path).map_err(|why| message!("{why}"))?;
                super::text(&file)?
            }
        };
        let documents = crate::yaml::read_new(&text).map_err(|why| message!("{why}"))?;
        let one = documents
            .into_iter()
            .next()
            .map(|d| d.value)
            .unwrap_or_default();
        let patch = JsonPatch::decode(&one, false).map_err(|why| message!("{why}"))?;
        by_json(&patch, target, items)?;
    }
    Ok(())
}

fn by_json(patch: &JsonPatch, target: &Value, items: &mut [Item]) -> Result<()> {
    for item in items.iter_mut() {
        if chosen(item, target)? {
            item.remember();
            patch
                .apply(&mut item.object)
                .map_err(|why| message!("{why}"))?;
        }
    }
    Ok(())
}

fn load(dir: &Path, path: &str) -> Result<String> {
    let fail = |why: Problem| message!("failed to get the patch file from path({path}): {why}");
    let file = super::inside(dir, path).map_err(fail)?;
    std::fs::read_to_string(&file)
        .map_err(|e| fail(format!("open {}: {}", file.display(), go_io(&e)).into()))
}

/// Whether a selector chooses an object, by what it is called or was called first.
///
/// # Errors
/// A selector that cannot be read.
pub fn chosen(item: &Item, selector: &Value) -> Result<bool> {
    let (now, first) = (item.id(), item.original());
    let space = |id: &Id| match id.namespace.as_str() {
        "" if !id.is_cluster_wide() => "default".to_string(),
        other => other.into(),
    };
    let pattern = Selector::of(selector)?;
    Ok(
        (pattern.namespace(&space(&first)) || pattern.namespace(&space(&now)))
            && (pattern.name(&first.name) || pattern.name(&now.name))
            && pattern.kind(&now)
            && marked(item, selector)?,
    )
}

/// Whether labels and annotations are those that a selector asks for.
///
/// # Errors
/// As `chosen`.
pub fn marked(item: &Item, selector: &Value) -> Result<bool> {
    for (asked, field) in [
        ("labelSelector", "labels"),
        ("annotationSelector", "annotations"),
    ] {
        let asked = selector.text(asked);
        let marks = item.object.at("metadata").at(field);
        let fits = || {
            crate::resource::helper::matches_selector(asked, marks).map_err(|why| message!("{why}"))
        };
        if !asked.is_empty() && !fits()? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Patterns for group, version, kind, name and namespace; an empty one fits all.
pub struct Selector([Option<regex::Regex>; 5]);

impl Selector {
    /// # Errors
    /// A pattern that cannot be read.
    pub fn of(selector: &Value) -> Result<Selector> {
        let read = |field: &str| match selector.text(field) {
            "" => Ok(None),
            text => regex::Regex::new(&format!("^(?:{text})$"))
                .map(Some)
                .map_err(|why| message!("error parsing regexp: {why}")),
        };
        Ok(Selector([
            read("group")?,
            read("version")?,
            read("kind")?,
            read("name")?,
            read("namespace")?,
        ]))
    }

    fn fits(&self, at: usize, text: &str) -> bool {
        self.0[at].as_ref().is_none_or(|p| p.is_match(text))
    }

    pub fn kind(&self, id: &Id) -> bool {
        self.fits(0, &id.group) && self.fits(1, &id.version) && self.fits(2, &id.kind)
    }

    pub fn name(&self, name: &str) -> bool {
        self.fits(3, name)
    }

    pub fn namespace(&self, namespace: &str) -> bool {
        self.fits(4, namespace)
    }
}
