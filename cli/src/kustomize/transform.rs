//! What a kustomization changes in objects: namespaces, names, labels, annotations, images, replicas.
//! Invariant: each changes the fields that the configuration of fields names, and no others.
//! Behaviour follows `sigs.k8s.io/kustomize/api/internal/builtins` and `api/filters`.

use super::item::{Id, Item};
use super::specs::{Spec, a_map, a_scalar, merge, visit_all};
use super::target::{Gathered, Target};
use super::{patches, replace};
use crate::error::{Result, bail, message};
use crate::typed::Read;
use serde_json::{Map, Value, json};
use skiff_api::machinery::quote::GoQuoted;
use std::path::Path;

/// What comes before patches of the old kind.
///
/// # Errors
/// Objects that would be called alike, fields of another form.
pub fn run(target: &Target, all: &mut Gathered) -> Result<()> {
    let config = all.config.clone();
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
        merge(&mut fields, config.labels.clone());
        if entry.flag("includeSelectors") {
            merge(&mut fields, config.common_labels.clone());
        } else {
            if entry.flag("includeTemplates") {
                merge(&mut fields, config.template_labels.clone());
            }
            merge(&mut fields, vec![metadata_labels()]);
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
    let config = all.config.clone();
    for entry in target.list("replicas") {
        replicas(entry, &config.replicas, &mut all.items)?;
    }
    for entry in target.list("images") {
        images(entry, &config.images, &mut all.items)?;
    }
    Ok(())
}

/// A transformer that stands in a file of its own.
///
/// # Errors
/// As it does, and kinds that are not supported.
pub fn plugin(dir: &Path, plugin: &Value, all: &mut Gathered) -> Result<()> {
    let fields: Vec<Spec> = plugin.list("fieldSpecs").iter().map(Spec::read).collect();
    let items = &mut all.items;
    match plugin.text("kind") {
        "NamespaceTransformer" => namespace(
            plugin.at("metadata").text("namespace"),
            &fields,
            plugin.text("setRoleBindingSubjects"),
            plugin.flag("unsetOnly"),
            items,
        ),
        "PrefixTransformer" => affix(plugin.text("prefix"), true, &fields, items),
        "SuffixTransformer" => affix(plugin.text("suffix"), false, &fields, items),
        "LabelTransformer" => marks(plugin.map("labels"), &fields, items),
        "AnnotationsTransformer" => marks(plugin.map("annotations"), &fields, items),
        "ReplicaCountTransformer" => replicas(plugin.at("replica"), &fields, items),
        "ImageTagTransformer" => images(plugin.at("imageTag"), &fields, items),
        "PatchTransformer" => patches::all(dir, std::slice::from_ref(plugin), items),
        "PatchJson6902Transformer" => {
            let mut args = plugin.clone();
            args["patch"] = plugin.at("jsonOp").clone();
            patches::json(dir, &[args], items)
        }
        "PatchStrategicMergeTransformer" => {
            let mut texts = plugin.list("paths").to_vec();
            texts.extend(plugin.some("patches").cloned());
            patches::strategic(dir, &texts, items)
        }
        "ReplacementTransformer" => replace::run(dir, plugin.list("replacements"), items),
        other => bail!(
            "transformers of the kind {other} are not supported",
            other = GoQuoted(&other)
        ),
    }
}

/// The field in which all objects have their labels.
pub fn metadata_labels() -> Spec {
    Spec {
        path: "metadata/labels".into(),
        create: true,
        ..Spec::default()
    }
}

fn namespace(
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
    for at in 0..items.len() {
        let item = &mut items[at];
        item.remember();
        let id = item.id();
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
        let id = items[at].id();
        if items.iter().filter(|other| other.id().same(&id)).count() != 1 {
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
fn affix(text: &str, before: bool, fields: &[Spec], items: &mut [Item]) -> Result<()> {
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
                let name = value.as_str().unwrap_or_default();
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
                None => bail!("wrong node kind: expected MappingNode but got ScalarNode"),
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn replicas(entry: &Value, fields: &[Spec], items: &mut [Item]) -> Result<()> {
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

fn images(rule: &Value, fields: &[Spec], items: &mut [Item]) -> Result<()> {
    let name = rule.text("name");
    let pattern = format!("^{name}(:[a-zA-Z0-9_.{{}}-]*)?(@sha256:[a-zA-Z0-9_.{{}}-]*)?$");
    let pattern = regex::Regex::new(&pattern).map_err(|why| {
        message!(
            "the image name {name} is no pattern: {why}",
            name = GoQuoted(&name)
        )
    })?;
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
