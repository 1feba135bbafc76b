//! `apply --prune`: deletes what was applied once and is no longer in the files.
//! Invariant: only objects that carry the annotation of apply and fit the selector are deleted.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/apply/prune.go`.

use crate::client::{Call, query};
use crate::context::{Ctx, DryRun};
use crate::error::{Error, Result};
use crate::generate::LAST_APPLIED;
use crate::print::{self, Printer};
use crate::resource::{Info, helper};
use serde_json::{Value, json};
use std::rc::Rc;

/// The kinds that are pruned unless the user names others: group, version, kind.
const DEFAULT: &[(&str, &str, &str)] = &[
    ("", "v1", "ConfigMap"),
    ("", "v1", "Endpoints"),
    ("", "v1", "PersistentVolumeClaim"),
    ("", "v1", "Pod"),
    ("", "v1", "ReplicationController"),
    ("", "v1", "Secret"),
    ("", "v1", "Service"),
    ("batch", "v1", "Job"),
    ("batch", "v1", "CronJob"),
    ("networking.k8s.io", "v1", "Ingress"),
    ("apps", "v1", "DaemonSet"),
    ("apps", "v1", "Deployment"),
    ("apps", "v1", "ReplicaSet"),
    ("apps", "v1", "StatefulSet"),
    ("", "v1", "Namespace"),
    ("", "v1", "PersistentVolume"),
];

/// Prunes in the namespaces of what was applied.
///
/// # Errors
/// Kinds that are not served, objects that cannot be listed or deleted.
pub async fn run(ctx: &Ctx, done: &[Info]) -> Result<()> {
    let f = ctx.flags();
    let discovery = ctx.discovery()?;
    let mut kinds = Vec::new();
    let named = f.list("prune-allowlist");
    if named.is_empty() {
        for (g, v, k) in DEFAULT {
            let api_version = if g.is_empty() { (*v).to_string() } else { format!("{g}/{v}") };
            kinds.push(discovery.of_kind(&api_version, k).await?);
        }
    } else {
        for text in &named {
            let parts: Vec<&str> = text.split('/').collect();
            let [g, v, k] = parts.as_slice() else {
                return Err(Error::msg(format!("invalid GroupVersionKind format: {text}, please follow <group/version/kind>")));
            };
            let api_version = if matches!(*g, "core" | "") { (*v).to_string() } else { format!("{g}/{v}") };
            kinds.push(discovery.of_kind(&api_version, k).await?);
        }
    }
    let mut namespaces: Vec<String> = Vec::new();
    done.iter().filter(|i| i.resource.namespaced).for_each(|i| {
        if !namespaces.contains(&i.namespace) {
            namespaces.push(i.namespace.clone())
        }
    });
    for kind in &kinds {
        let places = if kind.namespaced { namespaces.clone() } else { vec![String::new()] };
        for namespace in places {
            let path = format!("{}{}", kind.collection(Some(&namespace)), query(&[("labelSelector", f.str("selector"))]));
            let list =
                ctx.client()?.json(&Call::get(path)).await.map_err(|e| {
                    Error::msg(format!("error pruning {} object {}: {e}", if kind.namespaced { "namespaced" } else { "nonNamespaced" }, kind.kind))
                })?;
            for item in list["items"].as_array().into_iter().flatten() {
                let info = info_of(kind, item);
                if item["metadata"]["annotations"][LAST_APPLIED].is_null() || done.iter().any(|d| same(d, &info)) {
                    continue;
                }
                delete(ctx, &info).await?;
            }
        }
    }
    Ok(())
}

fn same(a: &Info, b: &Info) -> bool {
    let uid = |i: &Info| i.object["metadata"]["uid"].as_str().map(String::from);
    uid(a).is_some() && uid(a) == uid(b)
}

fn info_of(kind: &crate::discovery::Resource, item: &Value) -> Info {
    let text = |f: &str| item["metadata"][f].as_str().unwrap_or("").to_string();
    let mut object = item.clone();
    object["apiVersion"] = json!(kind.api_version());
    object["kind"] = json!(kind.kind);
    Info { resource: kind.clone(), namespace: text("namespace"), name: text("name"), object, source: String::new(), lines: Rc::default() }
}

async fn delete(ctx: &Ctx, info: &Info) -> Result<()> {
    let f = ctx.flags();
    let dry_run = ctx.dry_run()?;
    if dry_run != DryRun::Client {
        let mut body = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": crate::cmd::delete::policy(f.str("cascade"))?});
        if f.int("grace-period") >= 0 {
            body["gracePeriodSeconds"] = json!(f.int("grace-period"));
        }
        match helper::delete(ctx.client()?, info, &body, dry_run == DryRun::Server).await {
            Ok(_) => {}
            Err(e) if e.is_not_found() => return Ok(()),
            Err(e) => return Err(e),
        }
    }
    if f.str("output") == "name" {
        return print::put(&format!("{}\n", info.name_line()));
    }
    Printer::of(print::Format::Name, format!("pruned{}", dry_run.suffix()), false).print(&info.object)
}
