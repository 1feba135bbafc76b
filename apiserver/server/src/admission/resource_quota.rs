//! ResourceQuota: what a namespace may use is charged before it is used, and refused when it is too much.
//!
//! Invariant: a quota is charged by compare-and-set on its status, so that two writes at once never both get the last of it.
//! Follows `staging/src/k8s.io/apiserver/pkg/admission/plugin/resourcequota` and `pkg/quota/v1/evaluator/core`.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, ResourceQuotaSpec, Service};
use serde_json::{Value, json};
use skiff_api::machinery::{meta::Meta, read::Read, status::Status};
use skiff_controllers::quota::usage::{self, Usage};
use skiff_podspec::pod::Pod;
use skiff_watching::typed::Wire;

use super::{
    amounts::{self, Unreadable},
    charged::difference,
    plugin::{Attributes, Operation, Plugin},
};

const QUOTAS: &str = "resourcequotas";
/// Resources that each container must name when a quota limits them.
const PER_CONTAINER: [&str; 6] = [
    "cpu",
    "memory",
    "requests.cpu",
    "requests.memory",
    "limits.cpu",
    "limits.memory",
];
/// Names that count objects without saying `count/`.
const PLAIN: [&str; 5] = [
    "configmaps",
    "secrets",
    "replicationcontrollers",
    "resourcequotas",
    "endpoints",
];

pub struct ResourceQuota;

#[async_trait]
impl Plugin for ResourceQuota {
    fn name(&self) -> &'static str {
        "ResourceQuota"
    }

    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        let kind = attributes.kind;
        let changes =
            kind.group.is_empty() && matches!(kind.plural, "services" | "persistentvolumeclaims");
        let is_pod = kind.group.is_empty() && kind.plural == "pods";
        let resized = is_pod && attributes.subresource == "resize";
        let charged = match attributes.operation {
            Operation::Create => attributes.subresource.is_empty(),
            Operation::Update if attributes.subresource.is_empty() => {
                changes || is_pod && changes_scope(attributes)
            }
            Operation::Update => resized,
            _ => false,
        };
        charged
            && kind.namespaced
            && attributes
                .core
                .store
                .snapshot(QUOTAS)
                .range(Some(attributes.namespace), None)
                .next()
                .is_some()
    }

    async fn validate(&self, attributes: &Attributes<'_>) -> Result<(), Status> {
        let Some(object) = &attributes.object else {
            return Ok(());
        };
        let used = usage_of(attributes, object)?;
        let old = attributes.old;
        let old = old.filter(|_| attributes.operation == Operation::Update);
        let whole = difference(&used, &Usage::new());
        let more = match old {
            Some(old) => Some((old, difference(&used, &usage_of(attributes, old)?))),
            None => None,
        };
        let mut charges = Vec::new();
        for quota in attributes.list(QUOTAS, Some(attributes.namespace))? {
            if !matches_scopes(attributes, &quota, object)? {
                continue;
            }
            // a quota whose scopes the object comes into has counted nothing of it
            let delta = match &more {
                Some((old, more)) if matches_scopes(attributes, &quota, old)? => more,
                _ => &whole,
            };
            let rest = attributes.charged.rest(quota.name(), delta);
            let asked = asked(attributes, &quota, object, &used, &rest)?;
            charges.extend(asked.map(|asked| (quota, asked)));
        }
        // what one of them refuses is charged to none
        for (quota, asked) in &charges {
            within(quota.name(), asked, quota).map_err(|why| why.status(attributes))?;
        }
        if !attributes.dry_run {
            for (quota, asked) in &charges {
                charge(attributes, quota, asked).await?;
                attributes.charged.add(quota.name(), asked);
            }
        }
        Ok(())
    }
}

/// Whether a pod that had no end gets one, or the other way round: other quotas count it then.
fn changes_scope(attributes: &Attributes<'_>) -> bool {
    let ends = |pod: &Value| {
        let deadline = pod.at("spec").int_ptr("activeDeadlineSeconds");
        deadline.is_some_and(|seconds| seconds >= 0)
    };
    let (new, old) = (attributes.object.as_ref(), attributes.old);
    new.zip(old)
        .is_some_and(|(new, old)| ends(new) != ends(old))
}

fn typed<T: Wire>(value: &Value) -> Result<T, Status> {
    T::from_value(value).map_err(Status::internal)
}

/// What an object uses, of all that a quota may name.
fn usage_of(attributes: &Attributes<'_>, object: &Value) -> Result<Usage, Status> {
    let kind = attributes.kind;
    let now = attributes.core.clock.now();
    let counted = match (kind.group, kind.plural) {
        ("", "pods") => usage::of_pod(&typed::<Pod>(object)?, now).map_err(Status::internal)?,
        ("", "persistentvolumeclaims") => {
            usage::of_claim(&typed::<PersistentVolumeClaim>(object)?).map_err(Status::internal)?
        }
        ("", "services") => usage::of_service(&typed::<Service>(object)?),
        _ => {
            let mut usage = Usage::from([(format!("count/{}", kind.resource()), usage::number(1))]);
            if kind.group.is_empty() && PLAIN.contains(&kind.plural) {
                usage.insert(kind.plural.into(), usage::number(1));
            }
            usage
        }
    };
    Ok(counted)
}

/// Scopes are about pods and claims; a quota with scopes is for nothing else.
fn matches_scopes(
    attributes: &Attributes<'_>,
    quota: &Value,
    object: &Value,
) -> Result<bool, Status> {
    let spec: ResourceQuotaSpec = typed(quota.at("spec"))?;
    let scopes = usage::scopes(&spec);
    if scopes.is_empty() {
        return Ok(true);
    }
    match (attributes.kind.group, attributes.kind.plural) {
        ("", "pods") => {
            let pod = typed::<Pod>(object)?;
            usage::pod_in_scopes(&pod, &scopes).map_err(Status::internal)
        }
        ("", "persistentvolumeclaims") => {
            let claim = typed::<PersistentVolumeClaim>(object)?;
            Ok(scopes
                .iter()
                .all(|scope| usage::claim_in_scope(&claim, scope)))
        }
        _ => Ok(false),
    }
}

/// Why a quota does not let a write through.
#[derive(thiserror::Error, Debug)]
enum Refused {
    #[error("exceeded quota: {quota}, requested: {requested}, used: {used}, limited: {limited}")]
    Exceeded {
        quota: String,
        requested: String,
        used: String,
        limited: String,
    },
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

impl Refused {
    fn status(self, attributes: &Attributes<'_>) -> Status {
        match self {
            Refused::Unreadable(error) => error.into(),
            exceeded => attributes.forbidden(exceeded),
        }
    }
}

fn shown(usage: &Usage) -> String {
    usage
        .iter()
        .map(|(name, amount)| format!("{name}={amount}"))
        .collect::<Vec<_>>()
        .join(",")
}

/// Which of a quota's names such an object may use.
fn concerns(attributes: &Attributes<'_>, name: &str, used: &Usage) -> bool {
    if used.contains_key(name) {
        return true;
    }
    attributes.kind.group.is_empty()
        && attributes.kind.plural == "pods"
        && PER_CONTAINER.contains(&name)
}

/// What of a quota the write asks for, if anything; refused when the object does not say how much, or nobody knows yet how much is used.
fn asked(
    attributes: &Attributes<'_>,
    quota: &Value,
    object: &Value,
    used: &Usage,
    delta: &Usage,
) -> Result<Option<Usage>, Status> {
    let name = quota.name();
    let hard = amounts::read(quota.at("status").at("hard"))?;
    let restricted: BTreeSet<&str> = hard
        .keys()
        .map(String::as_str)
        .filter(|resource| concerns(attributes, resource, used))
        .collect();
    if restricted.is_empty() {
        return Ok(None);
    }
    if attributes.kind.plural == "pods"
        && let Some(why) = unnamed(object, &restricted)
    {
        return Err(attributes.forbidden(format_args!("failed quota: {name}: {why}")));
    }
    let known = amounts::read(quota.at("status").at("used"))?;
    let unknown: Vec<&str> = restricted
        .iter()
        .copied()
        .filter(|resource| !known.contains_key(*resource))
        .collect();
    if !unknown.is_empty() {
        let all = restricted.iter().copied().collect::<Vec<_>>().join(",");
        return Err(attributes.forbidden(format_args!(
            "status unknown for quota: {name}, resources: {all}"
        )));
    }
    let asked: Usage = delta
        .iter()
        .filter(|(resource, _)| hard.contains_key(*resource))
        .map(|(resource, amount)| (resource.clone(), amount.clone()))
        .collect();
    Ok((!asked.is_empty()).then_some(asked))
}

/// Charged against what stands at that moment, which another write may have changed.
async fn charge(attributes: &Attributes<'_>, quota: &Value, asked: &Usage) -> Result<(), Status> {
    let name = quota.name();
    attributes
        .statuses
        .update(QUOTAS, attributes.namespace, name, &mut |live| {
            let live = live.unwrap_or(quota);
            let charged = within(name, asked, live).map_err(|why| why.status(attributes))?;
            let mut new = live.clone();
            for (resource, amount) in charged {
                new["status"]["used"][resource.as_str()] = json!(amount.to_string());
            }
            Ok(new)
        })
        .await
}

/// The use after the charge, or by how much it is too much.
fn within(name: &str, asked: &Usage, quota: &Value) -> Result<Usage, Refused> {
    let (hard, used) = (
        amounts::read(quota.at("status").at("hard"))?,
        amounts::read(quota.at("status").at("used"))?,
    );
    let mut after = Usage::new();
    let mut exceeded = BTreeSet::new();
    for (resource, amount) in asked {
        let mut sum = used
            .get(resource)
            .cloned()
            .unwrap_or_else(|| usage::number(0));
        sum.add(amount);
        if hard.get(resource).is_some_and(|most| sum > *most) {
            exceeded.insert(resource.as_str());
        }
        after.insert(resource.clone(), sum);
    }
    if exceeded.is_empty() {
        return Ok(after);
    }
    let only = |list: &Usage| {
        shown(
            &list
                .iter()
                .filter(|(resource, _)| exceeded.contains(resource.as_str()))
                .map(|(r, a)| (r.clone(), a.clone()))
                .collect(),
        )
    };
    Err(Refused::Exceeded {
        quota: name.into(),
        requested: only(asked),
        used: only(&used),
        limited: only(&hard),
    })
}

/// Containers that leave out what a quota limits; nothing when there are none.
fn unnamed(pod: &Value, restricted: &BTreeSet<&str>) -> Option<String> {
    let spec = pod.at("spec");
    let of_pod = spec.at("resources");
    if ["requests", "limits"]
        .iter()
        .any(|list| of_pod.entries(list).next().is_some())
    {
        return None;
    }
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let containers = ["containers", "initContainers"]
        .into_iter()
        .flat_map(|list| spec.list(list));
    for container in containers {
        for resource in PER_CONTAINER {
            let (list, what) = match resource.split_once('.') {
                Some(("limits", what)) => ("limits", what),
                Some((_, what)) => ("requests", what),
                None => ("requests", resource),
            };
            let given = container.at("resources").at(list).get(what).is_some();
            if restricted.contains(resource) && !given {
                let names = missing.entry(resource).or_default();
                names.insert(container.text("name"));
            }
        }
    }
    let said = missing.iter().map(|(resource, names)| {
        let names: Vec<&str> = names.iter().copied().collect();
        format!("{resource} for: {}", names.join(","))
    });
    let said: Vec<String> = said.collect();
    (!said.is_empty()).then(|| format!("must specify {}", said.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges() {
        let quota = json!({"status": {"hard": {"pods": "2", "cpu": "1"}, "used": {"pods": "1", "cpu": "500m"}}});
        let asked =
            |pods: &str, cpu: &str| amounts::read(&json!({"pods": pods, "cpu": cpu})).unwrap();
        assert_eq!(
            shown(&within("q", &asked("1", "500m"), &quota).unwrap()),
            "cpu=1,pods=2"
        );
        assert_eq!(
            within("q", &asked("2", "100m"), &quota)
                .unwrap_err()
                .to_string(),
            "exceeded quota: q, requested: pods=2, used: pods=1, limited: pods=2"
        );
        let unreadable = json!({"status": {"hard": {"pods": "few"}}});
        assert!(
            within("q", &asked("1", "1"), &unreadable)
                .unwrap_err()
                .to_string()
                .starts_with("the quantity \"few\" of pods cannot be read")
        );
    }

    #[test]
    fn containers_name_what_is_limited() {
        let pod = json!({"spec": {"containers": [{"name": "b"}, {"name": "a", "resources": {"limits": {"cpu": "1"}}}]}});
        let restricted = BTreeSet::from(["limits.cpu", "requests.memory", "pods"]);
        assert_eq!(
            unnamed(&pod, &restricted).unwrap(),
            "must specify limits.cpu for: b; requests.memory for: a,b"
        );
        assert_eq!(unnamed(&pod, &BTreeSet::from(["pods"])), None);
    }
}
