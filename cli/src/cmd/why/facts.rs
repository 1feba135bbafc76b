//! What stands elsewhere and an object or its pods hang on: nodes, claims, classes, services, and what was told of them.
//! Invariant: what may not be looked at is not known, which is another thing than that it is not there.
//! Behaviour follows nothing upstream: kubectl does not do this.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{pod, warning};
use crate::client::{Call, query, segment};
use crate::context::Ctx;
use crate::discovery::Resource;
use crate::error::Result;
use crate::generate::kind;
use crate::resource::helper;
use crate::typed::Read;

/// So many objects of a kind are looked at.
const MOST: usize = 5;

/// An object that was looked for.
#[derive(Debug)]
pub enum Look {
    Is(Value),
    Gone,
}

/// What is known; what is not there is not known.
#[derive(Debug, Default)]
pub struct Facts {
    pub nodes: BTreeMap<String, Look>,
    pub claims: BTreeMap<String, Look>,
    pub services: BTreeMap<String, Look>,
    /// All classes of storage.
    pub classes: Option<Vec<Value>>,
    /// Warnings of the namespace, and all that was told of these nodes and claims.
    pub events: Vec<Value>,
}

/// The names of the claims that a pod uses.
pub fn claims_of(pod: &Value) -> Vec<String> {
    let own = pod.at("metadata").text("name");
    let volumes = pod.at("spec").list("volumes").iter();
    let name = |volume: &Value| match volume.at("persistentVolumeClaim").text("claimName") {
        "" => {
            let of_pod = || format!("{own}-{}", volume.text("name"));
            volume.some("ephemeral").map(|_| of_pod())
        }
        named => Some(named.into()),
    };
    volumes.filter_map(name).collect()
}

/// The services that an Ingress leads to.
pub fn backends(ingress: &Value) -> Vec<&Value> {
    let spec = ingress.at("spec");
    let rules = spec.list("rules").iter();
    let paths = rules.flat_map(|rule| rule.at("http").list("paths"));
    let backends = paths.map(|path| path.at("backend"));
    let all = std::iter::once(spec.at("defaultBackend")).chain(backends);
    all.filter_map(|backend| backend.some("service")).collect()
}

impl Facts {
    /// The last event about an object with one of these reasons.
    pub fn last(&self, kind: &str, name: &str, wanted: impl Fn(&str) -> bool) -> Option<&Value> {
        let is_about = |event: &&Value| {
            let about = event.at("involvedObject");
            about.text("kind") == kind && about.text("name") == name
        };
        let all = self.events.iter().filter(is_about);
        let all = all.filter(|event| wanted(event.text("reason")));
        all.max_by_key(|event| warning::last(event))
    }

    /// Looks at what an object and its pods hang on, beside the warnings of their namespace.
    ///
    /// # Errors
    /// What the server refuses otherwise than because it is not there or not to be seen.
    pub async fn of(
        ctx: &Ctx,
        namespace: &str,
        object: &Value,
        pods: &[Value],
        warnings: Vec<Value>,
    ) -> Result<Facts> {
        let mut facts = Facts {
            events: warnings,
            ..Facts::default()
        };
        let of_kind = |wanted: &str| Some(object).filter(|object| object.text("kind") == wanted);
        let pods = || of_kind("Pod").into_iter().chain(pods);
        let nodes = pods().filter(|pod| pod::is_held(pod));
        let nodes = nodes.map(|pod| pod.at("spec").text("nodeName").to_owned());
        let node = kind("", "v1", "nodes", "Node", false);
        facts.nodes = look(ctx, &node, "", nodes).await?;
        for name in facts.nodes.keys() {
            let told = events(ctx, "default", "Node", name).await?;
            facts.events.extend(told);
        }
        let waiting = pods().filter(|pod| pod::unscheduled(pod).is_some());
        let claim = kind(
            "",
            "v1",
            "persistentvolumeclaims",
            "PersistentVolumeClaim",
            true,
        );
        facts.claims = look(ctx, &claim, namespace, waiting.flat_map(claims_of)).await?;
        if let Some(claim) = of_kind("PersistentVolumeClaim") {
            let name = claim.at("metadata").text("name");
            let told = events(ctx, namespace, "PersistentVolumeClaim", name).await?;
            facts.events.extend(told);
            let class = kind(
                "storage.k8s.io",
                "v1",
                "storageclasses",
                "StorageClass",
                false,
            );
            let list = ctx.client()?.json(&Call::get(class.collection(None))).await;
            facts.classes = seen(list)?.map(|list| list.list("items").to_vec());
        }
        let services = of_kind("Ingress").into_iter().flat_map(backends);
        let services = services.map(|service| service.text("name").to_owned());
        let service = kind("", "v1", "services", "Service", true);
        facts.services = look(ctx, &service, namespace, services).await?;
        Ok(facts)
    }
}

/// What may not be seen is not known.
fn seen<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(why) if why.reason() == "Forbidden" => Ok(None),
        Err(why) => Err(why),
    }
}

/// Looks for the first of some objects.
async fn look(
    ctx: &Ctx,
    of: &Resource,
    namespace: &str,
    names: impl Iterator<Item = String>,
) -> Result<BTreeMap<String, Look>> {
    let names: BTreeSet<String> = names.collect();
    let mut found = BTreeMap::new();
    for name in names.into_iter().take(MOST) {
        let look = match helper::get(ctx.client()?, of, namespace, &name).await {
            Err(why) if why.is_not_found() => Some(Look::Gone),
            result => seen(result)?.map(Look::Is),
        };
        found.extend(look.map(|look| (name, look)));
    }
    Ok(found)
}

/// All that was told of an object.
async fn events(ctx: &Ctx, namespace: &str, kind: &str, name: &str) -> Result<Vec<Value>> {
    let about = format!("involvedObject.kind={kind},involvedObject.name={name}");
    let field = query(&[("fieldSelector", about.as_str())]);
    let path = format!("/api/v1/namespaces/{}/events{field}", segment(namespace));
    let list = seen(ctx.client()?.json(&Call::get(path)).await)?;
    Ok(list
        .map(|list| list.list("items").to_vec())
        .unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_pods_and_ingresses_name() {
        let volumes = json!([{"name": "a", "persistentVolumeClaim": {"claimName": "c"}}, {"name": "b", "ephemeral": {}}, {"name": "d", "emptyDir": {}}]);
        let pod = json!({"metadata": {"name": "p"}, "spec": {"volumes": volumes}});
        assert_eq!(claims_of(&pod), ["c", "p-b"]);
        let path = |backend: Value| json!({"backend": backend});
        let paths = json!([
            path(json!({"service": {"name": "s"}})),
            path(json!({"resource": {"name": "r"}}))
        ]);
        let ingress = json!({"spec": {"defaultBackend": {"service": {"name": "t"}}, "rules": [{}, {"http": {"paths": paths}}]}});
        let names: Vec<&str> = backends(&ingress)
            .iter()
            .map(|of| of.text("name"))
            .collect();
        assert_eq!(names, ["t", "s"]);
    }

    #[test]
    fn what_was_told_last() {
        let event = |name: &str, reason: &str, at: &str| json!({"involvedObject": {"kind": "Pod", "name": name}, "reason": reason, "lastTimestamp": at});
        let facts = Facts {
            events: vec![
                event("p", "A", "2"),
                event("p", "B", "3"),
                event("p", "A", "1"),
                event("q", "A", "4"),
            ],
            ..Facts::default()
        };
        let last = |kind: &str, wanted: &str| {
            let found = facts.last(kind, "p", |reason| wanted.contains(reason));
            found.map_or("", |event| event.text("lastTimestamp"))
        };
        assert_eq!(
            (
                last("Pod", "A"),
                last("Pod", "AB"),
                last("Pod", "C"),
                last("Node", "A")
            ),
            ("2", "3", "", "")
        );
    }
}
