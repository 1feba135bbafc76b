//! Reading the files of kustomizations: the kustomization itself, and files with objects.
//! Invariant: what is read has passed the table of its fields.
//! Behaviour follows `sigs.k8s.io/kustomize/api/internal/target/kusttarget.go` and `api/resource/factory.go`.

use super::fields;
use crate::error::{Result, bail, go_io, message};
use serde_json::{Map, Value};
use std::path::Path;

const FILES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// The kustomization of a folder, and its file's name.
///
/// # Errors
/// None there, several, or one that cannot be read.
pub fn kustomization(dir: &Path) -> Result<(Map<String, Value>, String)> {
    let found: Vec<&str> = FILES
        .into_iter()
        .filter(|file| dir.join(file).is_file())
        .collect();
    let file = match found.as_slice() {
        [one] => *one,
        [] => bail!(
            "unable to find one of 'kustomization.yaml', 'kustomization.yml' or 'Kustomization' in directory '{}'",
            dir.display()
        ),
        _ => bail!(
            "Found multiple kustomization files under: {}\n",
            dir.display()
        ),
    };
    let text = std::fs::read_to_string(dir.join(file))
        .map_err(|e| message!("{}: {}", dir.join(file).display(), go_io(&e)))?;
    let documents = crate::yaml::read(&text).map_err(|e| message!("invalid Kustomization: {e}"))?;
    let value = documents.into_iter().next().map(|d| d.value);
    let read = fields::KUSTOMIZATION.read(&value.unwrap_or_default(), fields::KUSTOMIZATION_FIELDS);
    match read.map_err(|why| message!("invalid Kustomization: {why}"))? {
        Value::Object(map) => Ok((map, file.into())),
        _ => Ok((Map::new(), file.into())),
    }
}

/// Old fields that still work, with what to use instead.
pub fn warn_of_old(map: &Map<String, Value>) {
    for (old, new, how) in [
        ("bases", "resources", ""),
        ("commonLabels", "labels", ""),
        ("imageTags", "images", ""),
        ("patchesJson6902", "patches", ""),
        ("patchesStrategicMerge", "patches", ""),
        ("vars", "replacements", "[EXPERIMENTAL] "),
    ] {
        if map.get(old).is_some_and(|value| !value.is_null()) {
            eprintln!(
                "# Warning: '{old}' is deprecated. Please use '{new}' instead. {how}Run 'kustomize edit fix' to update your Kustomization automatically."
            );
        }
    }
}

/// The documents of a file, with booleans as kustomize reads them.
fn documents(source: &str, text: &str) -> Vec<Result<crate::resource::Manifest>> {
    if text.trim_start().starts_with('{') {
        return crate::resource::files::documents(source, text);
    }
    match crate::yaml::read_new(text) {
        Ok(list) => {
            let real = list.into_iter().filter(|d| !d.value.is_null());
            real.map(|d| {
                Ok(crate::resource::Manifest {
                    source: source.into(),
                    object: d.value,
                    lines: std::rc::Rc::new(d.lines),
                })
            })
            .collect()
        }
        Err(why) => vec![Err(message!("MalformedYAMLError: {why} in File: {source}"))],
    }
}

/// The objects of a file.
///
/// # Errors
/// Text that cannot be read.
pub fn objects(file: &Path, text: &str) -> Result<Vec<Value>> {
    let shown = file.display().to_string();
    let mut out = Vec::new();
    for m in documents(&shown, text) {
        out.extend(
            crate::resource::files::flatten(m?)
                .into_iter()
                .map(|m| m.object),
        );
    }
    Ok(out)
}
