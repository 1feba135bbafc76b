//! `set env --list`: shows variables, and what their references come to.
//! Invariant: nothing is sent but reads; a reference that leads nowhere is told, and the rest shown.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/set/set_env.go` and `env/env_resolve.go`.

use super::{Flags, update};
use crate::client::{Call, segment};
use crate::context::{Ctx, With};
use crate::error::{Error, Result, bail, message, quote};
use crate::resource::Info;
use crate::typed::Read;
use crate::{podspec, print};
use base64::Engine;
use serde_json::Value;
use skiff_api::machinery::{
    names,
    quantity::{Quantity, QuantityError},
};
use std::collections::BTreeMap;

/// How a reference is told: `configmap settings, key color`.
fn reference(from: &Value) -> String {
    let text = |v: &Value, f: &str| v[f].as_str().unwrap_or("").to_string();
    if let Some(r) = from.get("configMapKeyRef") {
        return format!("configmap {}, key {}", text(r, "name"), text(r, "key"));
    }
    if let Some(r) = from.get("secretKeyRef") {
        return format!("secret {}, key {}", text(r, "name"), text(r, "key"));
    }
    if let Some(r) = from.get("fieldRef") {
        return format!("field path {}", text(r, "fieldPath"));
    }
    let r = from.at("resourceFieldRef");
    let container = text(r, "containerName");
    if container.is_empty() {
        format!("resource field {}", text(r, "resource"))
    } else {
        format!("resource field {}/{}", container, text(r, "resource"))
    }
}

/// Shows the variables of the objects, as if they had been changed.
///
/// # Errors
/// An object without containers.
pub async fn run(
    ctx: &With<Flags>,
    infos: Vec<Info>,
    set: &[Value],
    remove: &[String],
) -> Result<()> {
    let f = ctx.flags();
    for info in infos {
        let (kind, mut copy) = (info.resource.kind.clone(), info.object.clone());
        let spec = podspec::spec_mut(&mut copy)?;
        let containers = podspec::containers_mut(spec, &f.containers, true);
        if containers.is_empty() {
            super::warn_of_none(&kind, &info.name, &f.containers);
        }
        for c in containers {
            update(c, set, remove);
            one(ctx, &info, c).await?;
        }
    }
    Ok(())
}

async fn one(ctx: &With<Flags>, info: &Info, container: &Value) -> Result<()> {
    let resolves = ctx.flags().resolve;
    let text = |v: &Value| v.as_str().unwrap_or("").to_string();
    let mut lines = format!(
        "# {} {}, container {}\n",
        info.resource.kind,
        info.name,
        text(container.at("name"))
    );
    let mut failed: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for e in container.list("env") {
        let name = text(e.at("name"));
        let Some(from) = e.get("valueFrom") else {
            lines += &format!("{name}={}\n", text(e.at("value")));
            continue;
        };
        match if resolves {
            resolve(ctx, info, container, from).await.map(Some)
        } else {
            Ok(None)
        } {
            Ok(Some(value)) => lines += &format!("{name}={value}\n"),
            other => {
                lines += &format!("# {name} from {}\n", reference(from));
                if let Err(why) = other {
                    failed.entry(why.to_string()).or_default().push(name);
                }
            }
        }
    }
    print::put(&lines)?;
    let mut told: Vec<String> = failed
        .into_iter()
        .map(|(why, mut names)| {
            names.sort();
            format!("error retrieving reference for {}: {why}", names.join(", "))
        })
        .collect();
    told.sort();
    told.iter().for_each(|line| eprintln!("{line}"));
    Ok(())
}

async fn key_of(ctx: &Ctx, plural: &str, what: &str, reference: &Value) -> Result<String> {
    let text = |f: &str| reference[f].as_str().unwrap_or("");
    let path = format!(
        "/api/v1/namespaces/{}/{plural}/{}",
        segment(&ctx.namespace()?.0),
        segment(text("name"))
    );
    let object = ctx.client()?.json(&Call::get(path)).await?;
    let value = object["data"][text("key")].as_str().map(String::from);
    value.ok_or_else(|| message!("key {} not found in {what} {}", text("key"), text("name")))
}

async fn resolve(ctx: &Ctx, info: &Info, container: &Value, from: &Value) -> Result<String> {
    if let Some(r) = from.get("secretKeyRef") {
        let text = key_of(ctx, "secrets", "secret", r).await?;
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(text)
            .map_err(|e| Error::msg(e.to_string()))?;
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    if let Some(r) = from.get("configMapKeyRef") {
        return key_of(ctx, "configmaps", "config map", r).await;
    }
    if let Some(r) = from.get("fieldRef") {
        return field(&info.object, r.text("fieldPath"));
    }
    match from.get("resourceFieldRef") {
        Some(r) => amount(container, r),
        None => Err(Error::msg("invalid valueFrom")),
    }
}

/// The metadata's field that a path names.
fn field(object: &Value, path: &str) -> Result<String> {
    let meta = object.at("metadata");
    let text = |v: &Value| v.as_str().unwrap_or("").to_string();
    if let Some((before, key)) = path
        .strip_suffix("']")
        .and_then(|p| p.split_once("['"))
        .filter(|(before, _)| !before.is_empty())
    {
        let (map, checked) = match before {
            "metadata.annotations" => ("annotations", key.to_lowercase()),
            "metadata.labels" => ("labels", key.to_string()),
            _ => {
                bail!("fieldPath {} does not support subscript", quote(path));
            }
        };
        let wrong = names::is_qualified_name(&checked);
        return if wrong.is_empty() {
            Ok(text(&meta[map][key]))
        } else {
            Err(message!(
                "invalid key subscript in {path}: {}",
                wrong.join(";")
            ))
        };
    }
    let listed = |map: &Value| -> String {
        let lines: Vec<String> = map
            .as_object()
            .into_iter()
            .flatten()
            .map(|(k, v)| format!("{k}={}", quote(&text(v))))
            .collect();
        lines.join("\n")
    };
    match path {
        "metadata.annotations" => Ok(listed(meta.at("annotations"))),
        "metadata.labels" => Ok(listed(meta.at("labels"))),
        "metadata.name" => Ok(text(meta.at("name"))),
        "metadata.namespace" => Ok(text(meta.at("namespace"))),
        "metadata.uid" => Ok(text(meta.at("uid"))),
        other => Err(message!("unsupported fieldPath: {other}")),
    }
}

/// How much of a resource the container asks for or may use, in units of the divisor, rounded up.
fn amount(container: &Value, reference: &Value) -> Result<String> {
    let path = reference.text("resource");
    let known = |name: &str| {
        matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-")
    };
    let Some((which, name)) = path
        .split_once('.')
        .filter(|(which, name)| matches!(*which, "limits" | "requests") && known(name))
    else {
        bail!("Unsupported container resource : {path}");
    };
    let read = |v: &Value| Quantity::from_json(v).map_err(|e| Error::msg(e.to_string()));
    let (value, mut divisor) = (
        read(container.at("resources").at(which).at(name))?,
        read(
            reference
                .get("divisor")
                .filter(|d| **d != "")
                .unwrap_or(&Value::Null),
        )?,
    );
    if divisor == Quantity::default() {
        divisor = "1"
            .parse()
            .map_err(|e: QuantityError| Error::msg(e.to_string()))?;
    }
    let part = |q: &Quantity| {
        if name == "cpu" {
            q.milli_value()
        } else {
            q.value()
        }
    };
    Ok(((part(&value) as f64 / part(&divisor) as f64).ceil() as i64).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn references_are_told_and_resolved() {
        assert_eq!(
            reference(&json!({"configMapKeyRef": {"name": "settings", "key": "color"}})),
            "configmap settings, key color"
        );
        let o = json!({"metadata": {"name": "n", "labels": {"a": "1", "b": "2"}, "annotations": {"x/y": "z"}}});
        for (path, want) in [
            ("metadata.name", Ok("n")),
            ("metadata.labels", Ok("a=\"1\"\nb=\"2\"")),
            ("metadata.labels['b']", Ok("2")),
            ("metadata.annotations['x/y']", Ok("z")),
            (
                "spec['b']",
                Err("fieldPath \"spec['b']\" does not support subscript"),
            ),
            ("spec.nodeName", Err("unsupported fieldPath: spec.nodeName")),
        ] {
            assert_eq!(
                field(&o, path)
                    .map_err(|e| e.to_string())
                    .as_deref()
                    .map_err(String::as_str),
                want,
                "{path}"
            );
        }
        let c = json!({"resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}}});
        for (path, divisor, want) in [
            ("limits.cpu", "", "2"),
            ("limits.cpu", "1m", "1500"),
            ("limits.memory", "1Mi", "64"),
            ("requests.memory", "", "0"),
        ] {
            assert_eq!(
                amount(&c, &json!({"resource": path, "divisor": divisor})).unwrap(),
                want,
                "{path}"
            );
        }
        assert!(amount(&c, &json!({"resource": "limits.gpu"})).is_err());
    }
}
