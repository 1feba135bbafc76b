//! Patches that a kustomization brings: strategic merge patches and JSON patches.
//! Invariant: a patch that changes nothing that is there is an error, unless a selector chose what it is for.
//! Behaviour follows `sigs.k8s.io/kustomize/api/internal/builtins/PatchTransformer.go`.

use super::item::{Id, Item, find};
use super::operations::Operations;
use super::strategic;
use crate::error::{Problem, Result, bail, go_io, message};
use crate::typed::Read;
use serde_json::{Value, json};
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::selector::{Selector as Labels, SelectorError};
use std::path::Path;

/// The entries of `patches`.
///
/// # Errors
/// A patch that cannot be read, or that fits nothing.
pub fn all(dir: &Path, entries: &[Value], items: &mut Vec<Item>) -> Result<()> {
    for entry in entries {
        Patch::read(dir, entry)
            .map_err(|why| trouble("PatchTransformer", entry, &why))?
            .apply(items)?;
    }
    Ok(())
}

/// Why a part of a kustomization cannot be used.
pub fn trouble(plugin: &str, entry: &Value, why: &Problem) -> crate::error::Error {
    let config = crate::yaml::write(entry);
    message!("trouble configuring builtin {plugin} with config: `\n{config}`: {why}")
}

/// A patch with what it is for.
pub struct Patch<'a> {
    entry: &'a Value,
    source: String,
    changes: Changes,
}

enum Changes {
    Json(Operations),
    Strategic(Vec<Value>),
}

impl Patch<'_> {
    /// Reads an entry and its patch.
    ///
    /// # Errors
    /// A patch that cannot be read.
    pub fn read<'a>(dir: &Path, entry: &'a Value) -> Result<Patch<'a>, Problem> {
        let (patch, path) = (entry.text("patch").trim(), entry.text("path"));
        let (text, source) = match (patch.is_empty(), path.is_empty()) {
            (true, true) => {
                let config = crate::yaml::write(entry);
                return Err(format!("must specify one of patch and path in\n{config}").into());
            }
            (false, false) => {
                let config = crate::yaml::write(entry);
                let why = format!("patch and path can't be set at the same time\n{config}");
                return Err(why.into());
            }
            (false, true) => (patch.to_string(), format!("[patch: {}]", GoQuoted(patch))),
            (true, false) => (load(dir, path)?, format!("[path: {}]", GoQuoted(path))),
        };
        let unreadable = || Problem(format!("unable to parse SM or JSON patch from {source}"));
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
        let changes = match documents.as_slice() {
            [one] if one.is_array() => {
                Changes::Json(Operations::decode(one).map_err(|_| unreadable())?)
            }
            several if several.iter().all(names_object) => Changes::Strategic(documents),
            _ => return Err(unreadable()),
        };
        Ok(Patch {
            entry,
            source,
            changes,
        })
    }

    /// Changes the objects that it is for.
    ///
    /// # Errors
    /// A patch that does not fit, or that fits nothing.
    pub fn apply(&self, items: &mut Vec<Item>) -> Result<()> {
        let target = self.entry.some("target").filter(|t| t.is_object());
        match (&self.changes, target) {
            (Changes::Json(patch), Some(target)) => by_json(patch, target, items),
            (Changes::Json(_), None) => {
                bail!("must specify a target for JSON patch {}", self.source)
            }
            (Changes::Strategic(several), target) => {
                let options = self.entry.at("options");
                strategic_patches(several, target, options, &self.source, items)
            }
        }
    }
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
    let selector = Selector::of(target)?;
    for item in items.iter_mut() {
        if selector.chooses(item) {
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
    let (name, kind) = (
        options.flag("allowNameChange"),
        options.flag("allowKindChange"),
    );
    let before = item.object.clone();
    if name || kind {
        item.remember();
    }
    let schema = crate::typed::schema(&before);
    if !strategic::merge(&mut item.object, patch, schema).map_err(|why| message!("{why}"))? {
        item.object = Value::Object(Default::default());
        return Ok(());
    }
    item.formed()?;
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
        let patch = operations(&one, &text, path).map_err(|why| {
            let config = match patch.is_empty() {
                true => json!({"path": path, "target": target}),
                false => json!({"jsonOp": patch, "target": target}),
            };
            trouble("PatchJson6902Transformer", &config, &why)
        })?;
        by_json(&patch, target, items)?;
    }
    Ok(())
}

/// The operations of a patch, which are to be some.
fn operations(patch: &Value, text: &str, path: &str) -> Result<Operations, Problem> {
    let shown = match text.starts_with('[') {
        true => text.to_string(),
        false => patch.to_string(),
    };
    let read =
        Operations::decode(patch).map_err(|why| Problem(format!("decoding {shown}: {why}")))?;
    if read.is_empty() {
        return Err(Problem(format!(
            "patch appears to be empty; file={path}, JsonOp={shown}"
        )));
    }
    Ok(read)
}

fn by_json(patch: &Operations, target: &Value, items: &mut [Item]) -> Result<()> {
    let selector = Selector::of(target)?;
    for item in items.iter_mut() {
        if selector.chooses(item) {
            item.remember();
            patch
                .apply(&mut item.object)
                .map_err(|why| message!("{why}"))?;
            if !item.object.is_object() {
                let kind = skiff_api::machinery::read::go_kind(&item.object);
                bail!(
                    "json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
                );
            }
            item.formed()?;
        }
    }
    Ok(())
}

fn load(dir: &Path, path: &str) -> Result<String, Problem> {
    let fail = |why: Problem| {
        Problem(format!(
            "failed to get the patch file from path({path}): {why}"
        ))
    };
    let file = super::inside(dir, path).map_err(fail)?;
    std::fs::read_to_string(&file)
        .map_err(|e| fail(format!("open {}: {}", file.display(), go_io(&e)).into()))
}

/// Which objects are meant: patterns for group, version, kind, name and namespace, and selectors of labels and annotations. What is empty fits all.
pub struct Selector {
    patterns: [Option<regex::Regex>; 5],
    labels: Option<Labels>,
    annotations: Option<Labels>,
}

impl Selector {
    /// # Errors
    /// A pattern or a selector that cannot be read.
    pub fn of(selector: &Value) -> Result<Selector> {
        let read = |field: &str| match selector.text(field) {
            "" => Ok(None),
            text => regex::Regex::new(&format!("^(?:{text})$"))
                .map(Some)
                .map_err(|why| message!("error parsing regexp: {why}")),
        };
        let labels = |field: &str| match selector.text(field) {
            "" => Ok(None),
            text => text
                .parse()
                .map(Some)
                .map_err(|why: SelectorError| message!("{why}")),
        };
        Ok(Selector {
            patterns: [
                read("group")?,
                read("version")?,
                read("kind")?,
                read("name")?,
                read("namespace")?,
            ],
            labels: labels("labelSelector")?,
            annotations: labels("annotationSelector")?,
        })
    }

    /// Whether it is of an object, by what that is called or was called first.
    fn chooses(&self, item: &Item) -> bool {
        let now = item.id();
        let first = item.previous.first().unwrap_or(&now);
        let space = |id: &Id| match id.namespace.as_str() {
            "" if !id.is_cluster_wide() => self.namespace("default"),
            other => self.namespace(other),
        };
        (space(first) || space(&now))
            && (self.name(&first.name) || self.name(&now.name))
            && self.kind(&now)
            && self.marks(item)
    }

    /// Whether it is of something that is called so.
    pub fn names(&self, id: &Id) -> bool {
        self.kind(id) && self.name(&id.name) && self.namespace(&id.namespace)
    }

    /// Whether labels and annotations are those that it asks for.
    pub fn marks(&self, item: &Item) -> bool {
        let meta = item.object.at("metadata");
        let fits = |asked: &Option<Labels>, field: &str| {
            asked
                .as_ref()
                .is_none_or(|asked| asked.matches(meta.at(field)))
        };
        fits(&self.labels, "labels") && fits(&self.annotations, "annotations")
    }

    /// Whether it asks for names, and whether for labels or annotations.
    pub fn asks_names(&self) -> bool {
        self.patterns.iter().any(Option::is_some)
    }

    pub fn asks_marks(&self) -> bool {
        self.labels.is_some() || self.annotations.is_some()
    }

    fn fits(&self, at: usize, text: &str) -> bool {
        self.patterns[at].as_ref().is_none_or(|p| p.is_match(text))
    }

    fn kind(&self, id: &Id) -> bool {
        self.fits(0, &id.group) && self.fits(1, &id.version) && self.fits(2, &id.kind)
    }

    fn name(&self, name: &str) -> bool {
        self.fits(3, name)
    }

    fn namespace(&self, namespace: &str) -> bool {
        self.fits(4, namespace)
    }
}
