//! Volumes decide where a pod can run: bound ones by their node affinity; claims that wait for their first consumer get a volume that the node
//! can reach, or have one made for it.
//!
//! Invariant: a pod whose claims are not all there, or are still to be bound by the controller, fits nowhere. Follows
//! `plugins/volumebinding/{volume_binding,binder}.go`.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim, Volume},
    storage::v1::StorageClass,
};
use serde_json::{Value, json};
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::{quantity::Quantity, selector::Selector};
use skiff_podspec::parts::{HasSpec, HasStatus, Meta};
use skiff_podspec::storage::{
    BIND_COMPLETED, BOUND_BY_CONTROLLER, SELECTED_NODE, class_of_claim, class_of_volume,
};
use skiff_podspec::{
    affinity::Terms,
    resources::{Unreadable, get},
};

use crate::{
    framework::{ClusterEvent, First, Plugin, Rejection, View},
    node::NodeInfo,
    plugins::State,
    pod::PodInfo,
    volumes::Volumes,
};

const MIGRATED: &str = "storage.alpha.kubernetes.io/migrated-plugins";

const NO_VOLUME: &str = "node(s) didn't find available persistent volumes to bind";
const OTHER_NODE: &str = "node(s) didn't match PersistentVolume's node affinity";
const VOLUME_GONE: &str =
    "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";

mod making;
pub mod waiting;

pub use making::is_allowed;
use making::{can_be_made, most};

pub struct VolumeBinding;

impl Plugin<State> for VolumeBinding {
    fn name(&self) -> &'static str {
        "VolumeBinding"
    }

    fn pre_filter(&self, view: View, pod: &PodInfo, state: &mut State) -> First {
        match claims(pod, view.volumes) {
            Err(rejection) => First::No(rejection),
            Ok(found) if found.bound.is_empty() && found.delayed.is_empty() => First::Skip,
            Ok(found) => {
                state.claims = found;
                First::Any
            }
        }
    }

    fn filter(
        &self,
        view: View,
        state: &State,
        _: &PodInfo,
        node: &NodeInfo,
    ) -> Result<(), Rejection> {
        plan(&state.claims, node, view.volumes).map(drop)
    }

    fn hopes(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        match event {
            ClusterEvent::Claim(change) => change.new.as_ref().is_some_and(|claim| {
                claim.metadata.namespace() == pod.namespace
                    && claim_names(pod).any(|(name, _)| name == claim.metadata.name())
            }),
            ClusterEvent::Volume(change) => change.new.is_some(),
            ClusterEvent::Class(change) => match (&change.old, &change.new) {
                (Some(old), Some(new)) => old.allowed_topologies != new.allowed_topologies,
                (_, new) => new.is_some(),
            },
            ClusterEvent::DriversOfNode(change) => match (&change.old, &change.new) {
                (Some(old), Some(new)) => {
                    old.metadata.annotation(MIGRATED) != new.metadata.annotation(MIGRATED)
                }
                (_, new) => new.is_some(),
            },
            ClusterEvent::Capacity(change) => match (&change.old, &change.new) {
                (Some(old), Some(new)) => {
                    let (old, new) = (most(old), most(new));
                    new.is_some_and(|new| old.is_none_or(|old| new.value() > old.value()))
                }
                (_, new) => new.is_some(),
            },
            ClusterEvent::NodeAdded(_) => true,
            ClusterEvent::NodeUpdated { old, new } => old.metadata.labels != new.metadata.labels,
            _ => false,
        }
    }
}

/// A pod's claims.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    bound: Vec<Arc<PersistentVolumeClaim>>,
    /// They wait for a node.
    delayed: Vec<Arc<PersistentVolumeClaim>>,
}

/// What is to be done for a pod's claims on a node before the pod is bound to it.
#[derive(Debug, Default)]
pub struct Plan {
    pub bind: Vec<(Arc<PersistentVolume>, Arc<PersistentVolumeClaim>)>,
    pub provision: Vec<Arc<PersistentVolumeClaim>>,
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.bind.is_empty() && self.provision.is_empty()
    }

    /// The merge patches by their paths.
    pub fn patches(&self, node: &str) -> Vec<(String, Value)> {
        let binds = self.bind.iter().filter_map(|(volume, claim)| {
            let had = volume.spec().claim_ref.as_ref();
            if had.is_some_and(|had| had.uid.is_some() && had.uid == claim.metadata.uid) {
                return None;
            }
            let meta = &claim.metadata;
            let reference = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": meta.namespace, "name": meta.name, "uid": meta.uid,
                "resourceVersion": meta.resource_version});
            let mut changed = json!({"resourceVersion": volume.metadata.resource_version});
            if had.is_none() {
                changed["annotations"] = json!({BOUND_BY_CONTROLLER: "yes"});
            }
            let path = format!("/api/v1/persistentvolumes/{}", volume.metadata.name());
            Some((path, json!({"metadata": changed, "spec": {"claimRef": reference}})))
        });
        let provisions = self.provision.iter().map(|claim| {
            let (meta, path) = (&claim.metadata, "persistentvolumeclaims");
            let path = format!("/api/v1/namespaces/{}/{path}/{}", meta.namespace(), meta.name());
            (path, json!({"metadata": {"resourceVersion": meta.resource_version, "annotations": {SELECTED_NODE: node}}}))
        });
        binds.chain(provisions).collect()
    }
}

/// The volume that the claim is, or is to be, bound to.
pub fn volume_name(claim: &PersistentVolumeClaim) -> &str {
    claim.spec().volume_name.as_deref().unwrap_or("")
}

/// Whether the controller has done its part.
pub fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    !volume_name(claim).is_empty() && claim.metadata.annotation(BIND_COMPLETED).is_some()
}

/// The claim's name that a pod's volume uses, and whether it is made for the pod alone.
fn claim_name(pod: &PodInfo, volume: &Volume) -> Option<(String, bool)> {
    match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(claim), _) => Some((claim.claim_name.clone(), false)),
        (None, Some(_)) => Some((format!("{}-{}", pod.name, volume.name), true)),
        (None, None) => None,
    }
}

/// All of a pod's claims, and whether they are made for the pod alone.
pub fn claim_names(pod: &PodInfo) -> impl Iterator<Item = (String, bool)> {
    pod.volumes().filter_map(|volume| claim_name(pod, volume))
}

/// The claim's storage class.
pub fn class<'a>(
    claim: &PersistentVolumeClaim,
    known: &'a Volumes,
) -> Option<&'a Arc<StorageClass>> {
    known.classes.get("", class_of_claim(claim))
}

/// The pod's claims, or why it can run nowhere.
fn claims(pod: &PodInfo, known: &Volumes) -> Result<Claims, Rejection> {
    let mut found = Vec::new();
    for (claim_name, is_own) in claim_names(pod) {
        let Some(claim) = known.claims.get(&pod.namespace, &claim_name) else {
            return Err(Rejection::unresolvable(match is_own {
                true => format!(
                    "waiting for ephemeral volume controller to create the persistentvolumeclaim {claim_name}",
                    claim_name = GoQuoted(&claim_name)
                ),
                false => format!(
                    "persistentvolumeclaim {claim_name} not found",
                    claim_name = GoQuoted(&claim_name)
                ),
            }));
        };
        if claim.status().phase.as_deref() == Some("Lost") {
            return Err(Rejection::unresolvable(format!(
                "persistentvolumeclaim {claim_name} bound to non-existent persistentvolume {}",
                GoQuoted(&volume_name(claim)),
                claim_name = GoQuoted(&claim_name)
            )));
        }
        if claim.metadata.deletion_timestamp.is_some() {
            return Err(Rejection::unresolvable(format!(
                "persistentvolumeclaim {claim_name} is being deleted",
                claim_name = GoQuoted(&claim_name)
            )));
        }
        let owned = claim
            .metadata
            .owner_references
            .iter()
            .flatten()
            .any(|owner| owner.controller == Some(true) && *owner.uid == *pod.uid);
        if is_own && !owned {
            return Err(Rejection::unresolvable(format!(
                "PVC {0}/{claim_name} was not created for pod {0}/{1} (pod is not owner)",
                pod.namespace, pod.name
            )));
        }
        found.push(claim.clone());
    }
    let mut claims = Claims::default();
    for claim in found {
        let waits = || {
            class(&claim, known).is_some_and(|class| {
                class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer")
            })
        };
        if is_bound(&claim) {
            claims.bound.push(claim);
        } else if volume_name(&claim).is_empty() && waits() {
            // one that cannot be read is not to be had by any volume
            request(&claim).map_err(|error| Rejection::unresolvable(error.to_string()))?;
            claims.delayed.push(claim);
        } else {
            return Err(Rejection::unresolvable(
                "pod has unbound immediate PersistentVolumeClaims",
            ));
        }
    }
    Ok(claims)
}

/// What it takes to run the pod on the node.
pub fn plan(claims: &Claims, node: &NodeInfo, known: &Volumes) -> Result<Plan, Rejection> {
    let mut reasons = BTreeSet::new();
    for claim in &claims.bound {
        match known.volumes.get("", volume_name(claim)) {
            None => drop(reasons.insert(VOLUME_GONE)),
            Some(volume) if !reaches(volume, node) => drop(reasons.insert(OTHER_NODE)),
            Some(_) => {}
        }
    }
    let plan = for_delayed(&claims.delayed, node, known);
    reasons.extend(plan.as_ref().err());
    match plan {
        Ok(plan) if reasons.is_empty() => Ok(plan),
        _ => Err(Rejection {
            reasons: reasons.into_iter().map(Into::into).collect(),
            unresolvable: true,
            ..Rejection::default()
        }),
    }
}

fn reaches(volume: &PersistentVolume, node: &NodeInfo) -> bool {
    let affinity = volume
        .spec()
        .node_affinity
        .as_ref()
        .and_then(|affinity| affinity.required.as_ref());
    affinity.is_none_or(|required| Terms::read(required).mean_labels_of(&node.node))
}

/// What it takes to give claims their volumes, or why they cannot have any.
fn for_delayed(
    delayed: &[Arc<PersistentVolumeClaim>],
    node: &NodeInfo,
    known: &Volumes,
) -> Result<Plan, &'static str> {
    let mut plan = Plan::default();
    let mut claims: Vec<_> = delayed.iter().collect();
    claims.sort_by_key(|claim| request(claim).ok());
    for claim in claims {
        let selected = claim.metadata.annotation(SELECTED_NODE);
        if selected.is_some_and(|selected| selected != node.name) {
            return Err(NO_VOLUME);
        }
        let taken: Vec<&str> = plan
            .bind
            .iter()
            .filter_map(|(volume, _)| volume.metadata.name.as_deref())
            .collect();
        match selected
            .is_none()
            .then(|| best(claim, node, known, &taken))
            .flatten()
        {
            Some(volume) => plan.bind.push((volume, claim.clone())),
            None => {
                can_be_made(claim, node, known)?;
                plan.provision.push(claim.clone());
            }
        }
    }
    Ok(plan)
}

fn request(claim: &PersistentVolumeClaim) -> Result<Option<Quantity>, Unreadable> {
    get(
        claim
            .spec()
            .resources
            .as_ref()
            .and_then(|resources| resources.requests.as_ref()),
        "storage",
    )
}

fn mode(mode: Option<&String>) -> &str {
    mode.map_or("Filesystem", String::as_str)
}

/// The volume that names the claim, else the smallest that is large enough; only what the node reaches.
fn best(
    claim: &PersistentVolumeClaim,
    node: &NodeInfo,
    known: &Volumes,
    taken: &[&str],
) -> Option<Arc<PersistentVolume>> {
    let wants = claim.spec.as_ref()?;
    let selector = match &wants.selector {
        Some(selector) => skiff_podspec::selector::of(Some(selector)).ok()?,
        None => Selector::everything(),
    };
    let (wanted, mut found) = (
        request(claim).ok()?,
        None::<(Quantity, &Arc<PersistentVolume>)>,
    );
    for volume in known.volumes.all() {
        let (Some(spec), volume_name) = (&volume.spec, volume.metadata.name()) else {
            continue;
        };
        let Ok(Some(size)) = get(spec.capacity.as_ref(), "storage") else {
            continue;
        };
        let small = wanted.as_ref().is_some_and(|wanted| size < *wanted);
        let attributes = |class: Option<&String>| class.cloned().unwrap_or_default();
        let other_kind = mode(spec.volume_mode.as_ref()) != mode(wants.volume_mode.as_ref())
            || attributes(spec.volume_attributes_class_name.as_ref())
                != attributes(wants.volume_attributes_class_name.as_ref());
        if small
            || other_kind
            || volume.metadata.deletion_timestamp.is_some()
            || taken.contains(&volume_name)
            || known.is_promised(volume_name)
        {
            continue;
        }
        if let Some(reference) = &spec.claim_ref {
            let same = reference.name == claim.metadata.name
                && reference.namespace == claim.metadata.namespace;
            if same
                && reference
                    .uid
                    .as_ref()
                    .is_none_or(|uid| uid.is_empty() || Some(uid) == claim.metadata.uid.as_ref())
            {
                return reaches(volume, node).then(|| volume.clone());
            }
            continue;
        }
        let available = volume.status().phase.as_deref() == Some("Available");
        let modes = spec.access_modes.as_deref().unwrap_or(&[]);
        let modes_fit = wants
            .access_modes
            .iter()
            .flatten()
            .all(|mode| modes.contains(mode));
        let fits = available
            && class_of_volume(volume) == class_of_claim(claim)
            && modes_fit
            && selector.matches(&volume.metadata.labels.as_ref())
            && reaches(volume, node);
        if fits && found.as_ref().is_none_or(|(least, _)| size < *least) {
            found = Some((size, volume));
        }
    }
    found.map(|(_, volume)| volume.clone())
}

#[cfg(test)]
pub mod tests {
    use crate::heard::Event;

    use super::{making::NO_PROVISIONER, *};
    use crate::cache::Cache;

    pub fn pod() -> PodInfo {
        let volumes = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]);
        let pod = json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": {"containers": [], "volumes": volumes}});
        PodInfo::new(Arc::new(serde_json::from_value(pod).unwrap()))
    }

    pub fn claim(class: &str, rest: Value) -> Value {
        let spec = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": class, "resources": {"requests": {"storage": "1Gi"}}});
        let mut claim = json!({"metadata": {"name": "c", "namespace": "ns", "uid": "cu", "annotations": {}}, "spec": spec, "status": {"phase": "Pending"}});
        skiff_api::machinery::patch::merge::apply(&mut claim, rest, false).unwrap();
        claim
    }

    fn volume(name: &str, size: &str, node: &str) -> Value {
        let term =
            json!([{"matchExpressions": [{"key": "host", "operator": "In", "values": [node]}]}]);
        let mut spec = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "late", "capacity": {"storage": size}});
        if !node.is_empty() {
            spec["nodeAffinity"] = json!({"required": {"nodeSelectorTerms": term}});
        }
        json!({"metadata": {"name": name}, "spec": spec, "status": {"phase": "Available"}})
    }

    /// Another node by its name, which no volume goes by.
    fn by_name(name: &str) -> Value {
        let mut by_name = volume(name, "1Gi", "");
        by_name["spec"]["nodeAffinity"] = json!({"required": {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["m"]}]}]}});
        by_name
    }

    pub fn known(claims: &[Value], volumes: &[Value]) -> Volumes {
        let mut known = Volumes::default();
        for claim in claims {
            let claim = serde_json::from_value(claim.clone()).unwrap();
            known.claims.hear(Event::Apply(Arc::new(claim)));
        }
        for volume in volumes {
            let volume = serde_json::from_value(volume.clone()).unwrap();
            known.volumes.hear(Event::Apply(Arc::new(volume)));
        }
        for (name, provisioner, mode) in [
            ("late", NO_PROVISIONER, "WaitForFirstConsumer"),
            ("made", "example.com/disk", "WaitForFirstConsumer"),
            ("now", "example.com/disk", "Immediate"),
        ] {
            let class = json!({"metadata": {"name": name}, "provisioner": provisioner, "volumeBindingMode": mode});
            known.classes.hear(Event::Apply(Arc::new(
                serde_json::from_value(class).unwrap(),
            )));
        }
        known
    }

    fn bound(volume: &str) -> Value {
        json!({"metadata": {"annotations": {BIND_COMPLETED: "yes"}}, "spec": {"volumeName": volume}})
    }

    #[test]
    fn pods_that_fit_nowhere() {
        let unbound = "pod has unbound immediate PersistentVolumeClaims";
        #[rustfmt::skip]
        let cases = [
            (vec![], "persistentvolumeclaim \"c\" not found"),
            (vec![claim("now", json!({}))], unbound),
            (vec![claim("absent", json!({}))], unbound),
            (vec![claim("late", json!({"spec": {"volumeName": "v"}}))], unbound),
            (vec![claim("late", json!({}))], ""),
            (vec![claim("late", json!({"spec": {"resources": {"requests": {"storage": "much"}}}}))], "the quantity \"much\" of storage cannot be read"),
            (vec![claim("now", bound("v"))], ""),
            (
                vec![claim(
                    "now",
                    json!({"spec": {"volumeName": "v"}, "status": {"phase": "Lost"}}),
                )],
                "persistentvolumeclaim \"c\" bound to non-existent persistentvolume \"v\"",
            ),
            (vec![claim("late", json!({"metadata": {"deletionTimestamp": "2026-01-02T03:04:05Z"}}))], "persistentvolumeclaim \"c\" is being deleted"),
        ];
        for (claims, expected) in cases {
            let found = super::claims(&pod(), &known(&claims, &[])).err();
            assert_eq!(
                found.map_or_else(String::new, |rejection| rejection.reasons.join(", ")),
                expected,
                "{claims:?}"
            );
        }
    }

    #[test]
    fn nodes_by_their_volumes() {
        let mut cache = Cache::default();
        cache.put_node(Arc::new(
            serde_json::from_value(json!({"metadata": {"name": "n", "labels": {"host": "n"}}}))
                .unwrap(),
        ));
        let node = cache.nodes().next().unwrap();
        let selected = |node: &str| json!({"metadata": {"annotations": {SELECTED_NODE: node}}});
        let here = [
            volume("big", "9Gi", "n"),
            volume("fits", "2Gi", "n"),
            volume("small", "1Mi", "n"),
            volume("there", "1Gi", "m"),
        ];
        for (claim, volumes, expected) in [
            (claim("late", json!({})), &here[..], "fits"),
            (claim("late", json!({})), &here[2..], NO_VOLUME),
            (claim("made", json!({})), &[], "made for c"),
            (claim("made", selected("n")), &[], "made for c"),
            (claim("made", selected("m")), &[], NO_VOLUME),
            (claim("late", bound("fits")), &here[..], ""),
            (claim("late", bound("there")), &here[..], OTHER_NODE),
            (claim("late", bound("gone")), &here[..], VOLUME_GONE),
            (claim("late", bound("named")), &[by_name("named")], ""),
        ] {
            let known = known(std::slice::from_ref(&claim), volumes);
            let found = match plan(&claims(&pod(), &known).unwrap(), node, &known) {
                Err(rejection) => rejection.reasons.join(", "),
                Ok(plan) => {
                    let binds = plan
                        .bind
                        .iter()
                        .map(|(volume, _)| volume.metadata.name.clone().unwrap_or_default());
                    binds
                        .chain(
                            plan.provision
                                .iter()
                                .map(|claim| format!("made for {}", claim.metadata.name())),
                        )
                        .collect()
                }
            };
            assert_eq!(found, expected, "{claim}");
        }
        let mut known = known(&[claim("late", json!({}))], &here[1..2]);
        known.promise("fits", &"other".into());
        let claims = claims(&pod(), &known).unwrap();
        assert!(plan(&claims, node, &known).is_err(), "promised to another");
        known.release("other");
        let patches = plan(&claims, node, &known).unwrap().patches("n");
        assert_eq!(patches[0].0, "/api/v1/persistentvolumes/fits");
        assert_eq!(patches[0].1["spec"]["claimRef"]["uid"], "cu");
    }
}
