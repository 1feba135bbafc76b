//! `apply --prune`: deletes what was applied once and is no longer in the files.
//! Invariant: only objects that carry the annotation of apply and fit the selector are deleted.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/apply/prune.go`.

use super::Flags;
use crate::client::{Call, query};
use crate::context::{Ctx, DryRun, With};
use crate::discovery::Resource;
use crate::error::{Error, Result, bail, message};
use crate::generate::LAST_APPLIED;
use crate::print::Printer;
use crate::resource::{Info, helper};
use crate::typed::Read;
use serde_json::{Value, json};

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

const DEPRECATED: &str = "Deprecated: kubectl apply will no longer prune non-namespaced resources by default when used with the --namespace flag in a future release. To preserve the current behaviour, list the resources you want to target explicitly in the --prune-allowlist flag.";

/// The kinds that are to be pruned: those that the user names, or the usual ones.
///
/// # Errors
/// A name that is none, a kind that is not served.
pub async fn kinds(ctx: &Ctx, named: &[String]) -> Result<Vec<Resource>> {
    let discovery = ctx.discovery()?;
    let mut wanted: Vec<(&str, &str, &str)> = Vec::new();
    for text in named {
        let parts: Vec<&str> = text.split('/').collect();
        let [g, v, k] = parts.as_slice() else {
            bail!("invalid GroupVersionKind format: {text}, please follow <group/version/kind>");
        };
        wanted.push((if *g == "core" { "" } else { g }, v, k));
    }
    let mut found = Vec::new();
    for (g, v, k) in if wanted.is_empty() { DEFAULT } else { &wanted } {
        let api_version = if g.is_empty() {
            (*v).to_string()
        } else {
            format!("{g}/{v}")
        };
        found.push(discovery.of_kind(&api_version, k).await?);
    }
    Ok(found)
}

/// Prunes these kinds in the namespace that the command line names and those of what was applied.
///
/// # Errors
/// Objects that cannot be listed or deleted.
pub(super) async fn run(
    ctx: &With<Flags>,
    kinds: &[Resource],
    named: Option<&str>,
    done: &[Info],
) -> Result<()> {
    if ctx.flags().prune_allowlist.is_empty() {
        tell_of_usual_kinds();
    }
    for (namespace, kind) in places(kinds, named, done) {
        let pruned = async {
            for info in doomed(ctx, kind, namespace, done).await? {
                delete(ctx, &info).await?;
            }
            Ok(())
        };
        pruned.await.map_err(|e| failed(kind, e))?;
    }
    Ok(())
}

/// What pruning would delete.
///
/// # Errors
/// Objects that cannot be listed.
pub async fn all_doomed(ctx: &Ctx, kinds: &[Resource], done: &[Info]) -> Result<Vec<Info>> {
    let mut all = Vec::new();
    for (namespace, kind) in places(kinds, None, done) {
        let found = doomed(ctx, kind, namespace, done).await;
        all.extend(found.map_err(|e| failed(kind, e))?);
    }
    Ok(all)
}

/// Warns that no kinds are named.
pub fn tell_of_usual_kinds() {
    crate::client::klog('W', "prune.go:71", DEPRECATED);
}

/// Where objects of which kind are looked for.
fn places<'a>(
    kinds: &'a [Resource],
    named: Option<&'a str>,
    done: &'a [Info],
) -> Vec<(&'a str, &'a Resource)> {
    let inside = done.iter().filter(|i| i.resource.namespaced);
    let mut namespaces: Vec<&str> = named
        .into_iter()
        .chain(inside.map(|i| i.namespace.as_str()))
        .collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    let (inside, outside): (Vec<&Resource>, Vec<&Resource>) =
        kinds.iter().partition(|k| k.namespaced);
    namespaces
        .iter()
        .flat_map(|n| inside.iter().map(move |k| (*n, *k)))
        .chain(outside.into_iter().map(|k| ("", k)))
        .collect()
}

fn failed(kind: &Resource, why: Error) -> Error {
    let what = if kind.namespaced {
        "namespaced"
    } else {
        "nonNamespaced"
    };
    message!(
        "error pruning {what} object {}/{}, Kind={}: {why}",
        kind.group,
        kind.version,
        kind.kind
    )
}

/// The objects of a kind that were applied once and are not among those of now.
async fn doomed(ctx: &Ctx, kind: &Resource, namespace: &str, done: &[Info]) -> Result<Vec<Info>> {
    let path = format!(
        "{}{}",
        kind.collection(Some(namespace)),
        query(&[("labelSelector", ctx.selector())])
    );
    let list = ctx.client()?.json(&Call::get(path)).await?;
    let applied = |item: &&Value| {
        let annotations = item.at("metadata").at("annotations");
        annotations.some(LAST_APPLIED).is_some()
    };
    let items = list.list("items").iter().filter(applied);
    let infos = items.map(|item| info_of(kind, item));
    Ok(infos
        .filter(|info| !done.iter().any(|d| same(d, info)))
        .collect())
}

pub(super) fn same(a: &Info, b: &Info) -> bool {
    let uid = |i: &Info| i.object.at("metadata").text_ptr("uid").map(String::from);
    uid(a).is_some() && uid(a) == uid(b)
}

pub(super) fn info_of(kind: &Resource, item: &Value) -> Info {
    let mut object = item.clone();
    object["apiVersion"] = json!(kind.api_version());
    object["kind"] = json!(kind.kind);
    let meta = item.at("metadata");
    Info::of(
        kind.clone(),
        meta.text("namespace"),
        meta.text("name"),
        object,
    )
}

pub(super) async fn delete(ctx: &Ctx, info: &Info) -> Result<()> {
    let dry_run = ctx.dry_run()?;
    if dry_run != DryRun::Client {
        let mut body = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": crate::cmd::delete::policy(&ctx.deletion().cascade)?});
        if ctx.deletion().grace_period >= 0 {
            body["gracePeriodSeconds"] = json!(ctx.deletion().grace_period);
        }
        helper::delete(ctx.client()?, info, &body, dry_run == DryRun::Server).await?;
    }
    Printer::new(ctx, format!("pruned{}", dry_run.suffix()))?.print(&info.object)
}
