//! What a kustomization changes in objects: namespaces, names, labels, annotations, images, replicas.
//! Invariant: each changes the fields that the configuration of fields names, and no others.
//! Behaviour follows `sigs.k8s.io/kustomize/api/internal/builtins` and `api/filters`.

use super::item::{Id, Item, no_map, word};
use super::specs::{Spec, a_map, a_scalar, merge, visit_all};
use super::target::{Gathered, Target};
use crate::error::{Result, bail, message};
use crate::typed::Read;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// What comes before patches of the old kind.
///
/// # Errors
/// Objects that would be called alike, fields of another form.
pub fn run(target: &Target, all: &mut Gathered) -> Result<()> {
    let config = &all.config;
    let items = &mut all.items;
    namespace(
        target.text("namespace"),
        &config.namespace,
        "",
        false,
        items,
    )?;
    affix(target.text("namePrefix"), true, &config.name_prefix, items)?;
    affix(target.text("nameSuffix"), false, &config.name_suffix, items)?;
    for entry in target.list("labels") {
        let mut fields: Vec<Spec> = entry.list("fields").iter().map(Spec::read).collect();
        merge(&mut fields, &config.labels);
        if entry.flag("includeSelectors") {
            merge(&mut fields, &config.common_labels);
        } else {
            if entry.flag("includeTemplates") {
                merge(&mut fields, &config.template_labels);
            }
            merge(&mut fields, &[metadata_labels()]);
        }
        marks(entry.map("pairs"), &fields, items)?;
    }
    let map = |field: &str| target.map.get(field).and_then(Value::as_object);
    marks(map("commonLabels"), &config.common_labels, items)?;
    marks(map("commonAnnotations"), &config.common_annotations, items)
}

/// What comes behind them.
///
/// # Errors
/// A count for an object that is not there.
pub fn run_late(target: &Target, all: &mut Gathered) -> Result<()> {
    let config = &all.config;
    for entry in target.list("replicas") {
        replicas(entry, &config.replicas, &mut all.items)?;
    }
    for entry in target.list("images") {
        images(entry, &config.images, &mut all.items)?;
    }
    Ok(())
}

/// The field in which all objects have their labels.
pub fn metadata_labels() -> Spec {
    Spec {
        path: "metadata/labels".into(),
        create: true,
        ..Spec::default()
    }
}

/// Puts objects into a namespace.
///
/// # Errors
/// Two that would be called alike.
pub fn namespace(
    name: &str,
    fields: &[Spec],
    subjects: &str,
    unset_only: bool,
    items: &mut [Item],
) -> Result<()> {
    if name.is_empty() {
        return Ok(());
    }
    let set = |value: &mut Value| {
        if !unset_only || value.as_str().is_none_or(str::is_empty) {
            *value = json!(name);
        }
        Ok(())
    };
    let here = Spec {
        path: "metadata/namespace".into(),
        create: true,
        ..Spec::default()
    };
    let mut called: HashMap<Id, usize> = HashMap::new();
    for item in items.iter() {
        *called.entry(item.id().key()).or_default() += 1;
    }
    for item in items.iter_mut() {
        item.remember();
        let id = item.id();
        called
            .entry(id.clone().key())
            .and_modify(|count| *count -= 1);
        if !id.is_cluster_wide() {
            visit_all(
                std::slice::from_ref(&here),
                &mut item.object,
                Some(a_scalar),
                set,
            )?;
        }
        let binding = matches!(id.kind.as_str(), "RoleBinding" | "ClusterRoleBinding");
        if binding {
            bound(&mut item.object, subjects, set)?;
        }
        let core = item.object.text("apiVersion") == "v1";
        let fields: Vec<Spec> = fields
            .iter()
            .filter(|f| f.path != "metadata/namespace" && (core || f.path != "metadata/name"))
            .filter(|f| !binding || f.path != "subjects/namespace")
            .cloned()
            .collect();
        visit_all(&fields, &mut item.object, Some(a_scalar), set)?;
        let id = item.id();
        let count = called.entry(id.clone().key()).or_default();
        *count += 1;
        if *count != 1 {
            bail!("namespace transformation produces ID conflict: {id}");
        }
    }
    Ok(())
}

/// The namespaces of accounts in a binding.
fn bound(object: &mut Value, subjects: &str, set: impl Fn(&mut Value) -> Result<()>) -> Result<()> {
    let meant = |subject: &Value| match subjects {
        "none" => false,
        "allServiceAccounts" => subject.text("kind") == "ServiceAccount",
        _ => subject.text("name") == "default",
    };
    let list = object.get_mut("subjects").and_then(Value::as_array_mut);
    let list = list.into_iter().flatten();
    list.filter(|subject| meant(subject))
        .try_for_each(|subject| set(&mut subject["namespace"]))
}

/// Puts a text before names or behind them.
///
/// # Errors
/// As `Spec::visit`.
pub fn affix(text: &str, before: bool, fields: &[Spec], items: &mut [Item]) -> Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    for item in items.iter_mut() {
        let id = item.original();
        let plain = matches!(id.kind.as_str(), "CustomResourceDefinition" | "Namespace")
            || id.is_selected("apiregistration.k8s.io", "", "APIService");
        for field in fields.iter().filter(|field| !plain && field.selects(&id)) {
            if field.path == "metadata/name" {
                let kept = if before {
                    &mut item.prefixes
                } else {
                    &mut item.suffixes
                };
                kept.push(text.into());
                item.remember();
            }
            field.visit(&mut item.object, Some(a_scalar), &mut |value| {
                let name = word(value);
                *value = json!(match before {
                    true => format!("{text}{name}"),
                    false => format!("{name}{text}"),
                });
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// Labels or annotations.
///
/// # Errors
/// A field that holds something else.
pub fn marks(
    pairs: Option<&Map<String, Value>>,
    fields: &[Spec],
    items: &mut [Item],
) -> Result<()> {
    let Some(pairs) = pairs.filter(|pairs| !pairs.is_empty()) else {
        return Ok(());
    };
    for item in items.iter_mut() {
        visit_all(fields, &mut item.object, Some(a_map), |value| {
            if value.is_null() {
                *value = a_map();
            }
            match value.as_object_mut() {
                Some(map) => map.extend(pairs.clone()),
                None => return Err(no_map(value)),
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// How many of something there are.
///
/// # Errors
/// An object that is not there.
pub fn replicas(entry: &Value, fields: &[Spec], items: &mut [Item]) -> Result<()> {
    let name = entry.text("name");
    let mut found = false;
    for field in fields {
        let meant = |id: &Id| id.name == name && field.selects(id);
        for item in items.iter_mut().filter(|item| item.any_id(meant)) {
            found = true;
            field.visit(&mut item.object, Some(a_scalar), &mut |value| {
                *value = entry.at("count").clone();
                Ok(())
            })?;
        }
    }
    if found {
        return Ok(());
    }
    let kinds: Vec<String> = fields
        .iter()
        .map(|f| format!("{}.[noVer].[noGrp]", f.kind))
        .collect();
    bail!(
        "resource with name {name} does not match a config with the following GVK [{}]",
        kinds.join(" ")
    )
}

/// Images under other names.
///
/// # Errors
/// A name that is no pattern.
pub fn images(rule: &Value, fields: &[Spec], items: &mut [Item]) -> Result<()> {
    let name = rule.text("name");
    let pattern = format!("^{name}(:[a-zA-Z0-9_.{{}}-]*)?(@sha256:[a-zA-Z0-9_.{{}}-]*)?$");
    let pattern = regex::Regex::new(&pattern)
        .map_err(|why| message!("the image name {name:?} is no pattern: {why}"))?;
    let set = |value: &mut Value| {
        if let Some(image) = value.as_str().filter(|image| pattern.is_match(image)) {
            *value = json!(renamed(image, rule));
        }
        Ok(())
    };
    for item in items.iter_mut() {
        if item.kind() != "CustomResourceDefinition" {
            containers(&mut item.object, &set)?;
        }
        visit_all(fields, &mut item.object, None, set)?;
    }
    Ok(())
}

/// The images of all containers, wherever they stand.
fn containers(value: &mut Value, set: &impl Fn(&mut Value) -> Result<()>) -> Result<()> {
    match value {
        Value::Array(list) => list.iter_mut().try_for_each(|one| containers(one, set)),
        Value::Object(map) => map.iter_mut().try_for_each(|(name, value)| {
            if matches!(name.as_str(), "containers" | "initContainers") {
                for one in value.as_array_mut().into_iter().flatten() {
                    one.get_mut("image").map_or(Ok(()), set)?;
                }
            }
            containers(value, set)
        }),
        _ => Ok(()),
    }
}

fn renamed(image: &str, rule: &Value) -> String {
    let start = image.find('/').unwrap_or(0);
    let (at, colon) = (image[start..].find('@'), image[start..].find(':'));
    let (name, tag, digest) = match (at, colon) {
        (None, None) => (image, "", ""),
        (Some(at), colon) if colon.is_none_or(|colon| at < colon) => {
            (&image[..start + at], "", &image[start + at + 1..])
        }
        (Some(at), Some(colon)) => (
            &image[..start + colon],
            &image[start + colon + 1..start + at],
            &image[start + at + 1..],
        ),
        (_, colon) => {
            let colon = start + colon.unwrap_or(0);
            (&image[..colon], &image[colon + 1..], "")
        }
    };
    let given = |field: &str| Some(rule.text(field)).filter(|text| !text.is_empty());
    let (tag, digest) = match (given("newTag"), given("digest"), given("tagSuffix")) {
        (Some(tag), digest, _) => (tag.to_string(), digest.unwrap_or("")),
        (None, Some(digest), _) => (String::new(), digest),
        (None, None, Some(suffix)) => (format!("{tag}{suffix}"), ""),
        (None, None, None) => (tag.to_string(), digest),
    };
    let mut out = given("newName").unwrap_or(name).to_string();
    if !tag.is_empty() {
        out += &format!(":{tag}");
    }
    if !digest.is_empty() {
        out += &format!("@{digest}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_renamed() {
        for (image, rule, want) in [
            ("nginx:1", json!({"newTag": "2"}), "nginx:2"),
            ("nginx", json!({"digest": "sha256:a"}), "nginx@sha256:a"),
            ("nginx:1@sha256:a", json!({"newName": "x"}), "x:1@sha256:a"),
            ("nginx@sha256:a", json!({"newTag": "2"}), "nginx:2"),
            ("r.io:5000/n:1", json!({"newName": "b/n"}), "b/n:1"),
            ("nginx:1", json!({"tagSuffix": "-x"}), "nginx:1-x"),
        ] {
            assert_eq!(renamed(image, &rule), want);
        }
    }
}
