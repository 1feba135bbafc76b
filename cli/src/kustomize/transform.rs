//! What a kustomization changes in objects: names, namespaces, labels, annotations, images, replicas, patches.
//! Invariant: patches come first, then the rest, as kustomize does it.
//! Behaviour follows `sigs.k8s.io/kustomize/api/internal/target/kusttarget_configplugin.go`.

use super::Item;
use crate::error::{Error, Problem, Result, go_io};
use crate::podspec;
use crate::typed::Read;
use serde_json::{Map, Value, json};
use skiff_api::machinery::patch;
use std::path::Path;

/// Kinds whose names get no prefix or suffix, and that are in no namespace.
const PLAIN: &[&str] = &["Namespace", "CustomResourceDefinition", "APIService"];
const CLUSTER: &[&str] = &[
    "Namespace",
    "Node",
    "PersistentVolume",
    "ClusterRole",
    "ClusterRoleBinding",
    "StorageClass",
    "PriorityClass",
    "IngressClass",
    "RuntimeClass",
    "CustomResourceDefinition",
    "APIService",
    "CSIDriver",
    "CSINode",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "CertificateSigningRequest",
    "FlowSchema",
    "PriorityLevelConfiguration",
];

/// Whether objects of this kind are in no namespace, as far as kustomize knows.
pub fn is_cluster_wide(kind: &str) -> bool {
    CLUSTER.contains(&kind)
}

pub fn run(dir: &Path, map: &Map<String, Value>, items: &mut Vec<Item>) -> Result<()> {
    patches(dir, map, items)?;
    let text = |f: &str| map.get(f).and_then(Value::as_str).unwrap_or("").to_string();
    namespace(&text("namespace"), items);
    let (prefix, suffix) = (text("namePrefix"), text("nameSuffix"));
    for i in items.iter_mut().filter(|i| !PLAIN.contains(&i.kind())) {
        if !prefix.is_empty() || !suffix.is_empty() {
            let name = i.object.at("metadata").text("name").to_string();
            i.object["metadata"]["name"] = json!(format!("{prefix}{name}{suffix}"));
        }
    }
    for (k, v) in pairs(map.get("commonLabels")) {
        items
            .iter_mut()
            .for_each(|i| label(&mut i.object, &k, &v, true, true));
    }
    for entry in map
        .get("labels")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let (selectors, templates) = (
            entry.flag("includeSelectors"),
            entry.flag("includeTemplates") || entry.flag("includeSelectors"),
        );
        for (k, v) in pairs(entry.get("pairs")) {
            items
                .iter_mut()
                .for_each(|i| label(&mut i.object, &k, &v, selectors, templates));
        }
    }
    for (k, v) in pairs(map.get("commonAnnotations")) {
        for i in items.iter_mut() {
            i.object["metadata"]["annotations"][&k] = v.clone();
            if let Some(t) = template(&mut i.object) {
                t["metadata"]["annotations"][&k] = v.clone();
            }
        }
    }
    for image in map
        .get("images")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        items
            .iter_mut()
            .for_each(|i| set_image(&mut i.object, image));
    }
    for r in map
        .get("replicas")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let scaled = [
            "Deployment",
            "ReplicationController",
            "ReplicaSet",
            "StatefulSet",
        ];
        items
            .iter_mut()
            .filter(|i| scaled.contains(&i.kind()) && *r.at("name") == i.original.as_str())
            .for_each(|i| i.object["spec"]["replicas"] = r.at("count").clone());
    }
    Ok(())
}

fn pairs(v: Option<&Value>) -> Vec<(String, Value)> {
    v.and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

fn namespace(name: &str, items: &mut [Item]) {
    if name.is_empty() {
        return;
    }
    for i in items.iter_mut() {
        if i.kind() == "Namespace" {
            i.object["metadata"]["name"] = json!(name);
        } else if !CLUSTER.contains(&i.kind()) {
            i.object["metadata"]["namespace"] = json!(name);
        }
        if let Some(subjects) = i.object.get_mut("subjects").and_then(Value::as_array_mut) {
            subjects
                .iter_mut()
                .filter(|s| s.text("kind") == "ServiceAccount" && s.text("name") == "default")
                .for_each(|s| s["namespace"] = json!(name));
        }
    }
}

/// The pod template of an object.
fn template(object: &mut Value) -> Option<&mut Value> {
    let path = match object.text_ptr("kind")? {
        "CronJob" => "/spec/jobTemplate/spec/template",
        "Deployment"
        | "ReplicaSet"
        | "ReplicationController"
        | "DaemonSet"
        | "StatefulSet"
        | "Job" => "/spec/template",
        _ => return None,
    };
    object.pointer_mut(path)
}

fn label(object: &mut Value, key: &str, value: &Value, selectors: bool, templates: bool) {
    object["metadata"]["labels"][key] = value.clone();
    let kind = object.text("kind").to_string();
    if templates && let Some(t) = template(object) {
        t["metadata"]["labels"][key] = value.clone();
    }
    if !selectors {
        return;
    }
    match kind.as_str() {
        "Service" | "ReplicationController" if object.at("spec").at("selector").is_object() => {
            object["spec"]["selector"][key] = value.clone()
        }
        "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet" => {
            object["spec"]["selector"]["matchLabels"][key] = value.clone()
        }
        "NetworkPolicy"
            if object
                .at("spec")
                .at("podSelector")
                .at("matchLabels")
                .is_object() =>
        {
            object["spec"]["podSelector"]["matchLabels"][key] = value.clone()
        }
        "PodDisruptionBudget"
            if object
                .at("spec")
                .at("selector")
                .at("matchLabels")
                .is_object() =>
        {
            object["spec"]["selector"]["matchLabels"][key] = value.clone()
        }
        _ => {}
    }
}

fn set_image(object: &mut Value, rule: &Value) {
    let Ok(spec) = podspec::spec_mut(object) else {
        return;
    };
    for c in podspec::containers_mut(spec, "*", true) {
        let full = c.text("image").to_string();
        let (bare, digest) = full
            .split_once('@')
            .map_or((full.as_str(), None), |(b, d)| (b, Some(d)));
        let colon = bare.rfind(':').filter(|i| !bare[*i..].contains('/'));
        let (name, tag) = colon.map_or((bare, None), |i| (&bare[..i], Some(&bare[i + 1..])));
        if *rule.at("name") != name {
            continue;
        }
        let new = rule.text_ptr("newName").unwrap_or(name);
        let image = match (rule.text_ptr("digest"), rule.text_ptr("newTag")) {
            (Some(d), _) => format!("{new}@{d}"),
            (None, Some(t)) => format!("{new}:{t}"),
            (None, None) => match (digest, tag) {
                (Some(d), _) => format!("{new}@{d}"),
                (None, Some(t)) => format!("{new}:{t}"),
                (None, None) => new.to_string(),
            },
        };
        c["image"] = json!(image);
    }
}

fn load(dir: &Path, path: &str) -> Result<String> {
    let fail = |why: Problem| {
        Error::msg(format!(
            "failed to get the patch file from path({path}): {why}"
        ))
    };
    let file = super::inside(dir, path).map_err(fail)?;
    std::fs::read_to_string(&file)
        .map_err(|e| fail(format!("open {}: {}", file.display(), go_io(&e)).into()))
}

fn patches(dir: &Path, map: &Map<String, Value>, items: &mut Vec<Item>) -> Result<()> {
    let list = |f: &str| {
        map.get(f)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let mut all: Vec<(String, Value)> = Vec::new();
    for p in list("patches").into_iter().chain(list("patchesJson6902")) {
        let text = match (p.text_ptr("patch"), p.text_ptr("path")) {
            (Some(t), _) => t.to_string(),
            (None, Some(path)) => load(dir, path)?,
            (None, None) => return Err(Error::msg("must specify one of patch and path")),
        };
        all.push((text, p.at("target").clone()));
    }
    for p in list("patchesStrategicMerge") {
        let text = p.as_str().unwrap_or("");
        all.push((
            if text.contains('\n') {
                text.to_string()
            } else {
                load(dir, text)?
            },
            Value::Null,
        ));
    }
    for (text, target) in all {
        for document in crate::yaml::read(&text)
            .map_err(|e| Error::msg(format!("unable to parse the patch: {e}")))?
        {
            one_patch(&document.value, &target, items)?;
        }
    }
    Ok(())
}

fn chosen(i: &Item, target: &Value) -> bool {
    let matches = |pattern: &Value, text: &str| {
        pattern.as_str().is_none_or(|p| {
            p.is_empty() || regex::Regex::new(&format!("^(?:{p})$")).is_ok_and(|r| r.is_match(text))
        })
    };
    let (group, version) = crate::discovery::split_api_version(i.object.text("apiVersion"));
    let meta = |f: &str| i.object.at("metadata").text(f).to_string();
    let selected = |f: &str, field: &str| {
        target.text_ptr(f).is_none_or(|s| {
            crate::resource::helper::matches_selector(s, i.object.at("metadata").at(field))
                .unwrap_or(false)
        })
    };
    matches(target.at("group"), group)
        && matches(target.at("version"), version)
        && matches(target.at("kind"), i.kind())
        && (matches(target.at("name"), &i.original) || matches(target.at("name"), &meta("name")))
        && matches(target.at("namespace"), &meta("namespace"))
        && selected("labelSelector", "labels")
        && selected("annotationSelector", "annotations")
}

fn one_patch(p: &Value, target: &Value, items: &mut Vec<Item>) -> Result<()> {
    let own = json!({"kind": p.at("kind"), "name": p.at("metadata").at("name")});
    let target = if target.is_null() { &own } else { target };
    let mut hit = false;
    let mut gone = Vec::new();
    for (at, i) in items
        .iter_mut()
        .enumerate()
        .filter(|(_, i)| chosen(i, target))
    {
        hit = true;
        if p.is_array() {
            patch::json::JsonPatch::decode(p, false)
                .and_then(|j| j.apply(&mut i.object))
                .map_err(|e| Error::msg(e.to_string()))?;
        } else if p.text("$patch") == "delete" {
            gone.push(at);
        } else {
            let (kind, name, version) = (
                i.object.at("kind").clone(),
                i.object.at("metadata").at("name").clone(),
                i.object.at("apiVersion").clone(),
            );
            match crate::typed::schema(&i.object) {
                Some(node) => {
                    i.object = patch::strategic::apply(&i.object, p, node)
                        .map_err(|e| Error::msg(e.to_string()))?
                }
                None => patch::merge::apply(&mut i.object, p.clone(), false)
                    .map_err(|e| Error::msg(e.to_string()))?,
            }
            i.object["kind"] = kind;
            i.object["apiVersion"] = version;
            i.object["metadata"]["name"] = name;
        }
    }
    gone.into_iter().rev().for_each(|at| drop(items.remove(at)));
    if !hit && p.at("kind").is_string() && std::ptr::eq(target, &own) {
        return Err(Error::msg(format!(
            "no resource matches strategic merge patch \"{}.{}/{}.[noNs]\": no matches for Id",
            p.text("kind"),
            p.text("apiVersion"),
            p.at("metadata").text("name")
        )));
    }
    Ok(())
}
