//! A bound volume that names its zone or region keeps pods to nodes of that zone. Follows `plugins/volumezone/volume_zone.go`.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::PersistentVolume;

use super::{
    volume_binding::{class, volume_name},
    volume_restrictions::is_used,
};
use crate::{
    framework::{ClusterEvent, First, Plugin, Rejection, View},
    node::NodeInfo,
    plugins::State as Attempt,
    pod::PodInfo,
};
use skiff_api::machinery::quote::GoQuoted;

pub struct VolumeZone;

/// Labels and the values that a pod's volumes leave of each.
pub type State = Vec<(&'static str, BTreeSet<String>)>;

/// The labels, each with its later name.
const LABELS: [(&str, &str); 4] = [
    (
        "failure-domain.beta.kubernetes.io/zone",
        "topology.kubernetes.io/zone",
    ),
    (
        "failure-domain.beta.kubernetes.io/region",
        "topology.kubernetes.io/region",
    ),
    ("topology.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    (
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/region",
    ),
];

/// Several zones are joined by two underscores; an empty one among them makes the label say nothing.
fn zones(value: &str) -> Option<BTreeSet<String>> {
    let zones: BTreeSet<String> = value
        .split("__")
        .map(|zone| zone.trim().to_string())
        .collect();
    (!zones.contains("")).then_some(zones)
}

fn labels(volume: &PersistentVolume) -> State {
    let labels = volume.metadata.labels.as_ref();
    LABELS
        .iter()
        .filter_map(|(key, _)| Some((*key, zones(labels?.get(*key)?)?)))
        .collect()
}

fn of_pod(view: View, pod: &PodInfo) -> Result<State, Rejection> {
    let mut found = State::new();
    for name in pod.claims() {
        let claim = view
            .volumes
            .claims
            .get(&pod.namespace, name)
            .ok_or_else(|| {
                Rejection::unresolvable(format!(
                    "persistentvolumeclaim {name} not found",
                    name = GoQuoted(&name)
                ))
            })?;
        let volume = volume_name(claim);
        if volume.is_empty() {
            let Some(class) = class(claim, view.volumes) else {
                return Err(Rejection::unresolvable(
                    "PersistentVolumeClaim had no pv name and storageClass name",
                ));
            };
            match class.volume_binding_mode.as_deref() {
                Some("WaitForFirstConsumer") => continue,
                _ => return Err(Rejection::unresolvable("PersistentVolume had no name")),
            }
        }
        let volume = view.volumes.volumes.get("", volume).ok_or_else(|| {
            Rejection::unresolvable(format!(
                "persistentvolume {volume} not found",
                volume = GoQuoted(&volume)
            ))
        })?;
        found.extend(labels(volume));
    }
    Ok(found)
}

impl Plugin<Attempt> for VolumeZone {
    fn name(&self) -> &'static str {
        "VolumeZone"
    }

    fn pre_filter(&self, view: View, pod: &PodInfo, state: &mut Attempt) -> First {
        match of_pod(view, pod) {
            Err(rejection) => First::No(rejection),
            Ok(found) if found.is_empty() => First::Skip,
            Ok(found) => {
                state.zones = found;
                First::Any
            }
        }
    }

    fn filter(
        &self,
        _: View,
        state: &Attempt,
        _: &PodInfo,
        node: &NodeInfo,
    ) -> Result<(), Rejection> {
        if LABELS.iter().all(|(key, _)| node.label(key).is_none()) {
            return Ok(());
        }
        let later = |key: &str| {
            LABELS
                .iter()
                .find(|(name, _)| *name == key)
                .map_or("", |(_, later)| later)
        };
        let fits = |(key, values): &(&str, BTreeSet<String>)| {
            node.label(key)
                .or_else(|| node.label(later(key)))
                .is_some_and(|value| values.contains(value))
        };
        Rejection::unresolvable_unless(
            state.zones.iter().all(fits),
            "node(s) had no available volume zone",
        )
    }

    fn hopes(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        match event {
            ClusterEvent::Claim(change) => {
                change.new.as_ref().is_some_and(|claim| is_used(pod, claim))
            }
            ClusterEvent::Volume(change) => match (&change.old, &change.new) {
                (Some(old), Some(new)) => labels(old) != labels(new),
                (_, new) => new.is_some(),
            },
            ClusterEvent::Class(change) => change.added().is_some_and(|class| {
                class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer")
            }),
            ClusterEvent::NodeAdded(_) => true,
            ClusterEvent::NodeUpdated { old, new } => old.metadata.labels != new.metadata.labels,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{plugins::tests::World, pod::tests::pod};

    #[test]
    fn zones_of_volumes() {
        let mut world = World::default();
        world.node(
            "a",
            json!({"metadata": {"labels": {"topology.kubernetes.io/zone": "a"}}}),
        );
        world.node(
            "b",
            json!({"metadata": {"labels": {"topology.kubernetes.io/zone": "b"}}}),
        );
        world.node(
            "r",
            json!({"metadata": {"labels": {"topology.kubernetes.io/region": "r"}}}),
        );
        world.node("x", json!({}));
        let pod = pod(
            "p",
            json!({"spec": {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}}),
        );
        world.claim("c", json!({"spec": {"volumeName": "v"}}));
        let no = "node(s) had no available volume zone";
        for (labels, wanted) in [
            (json!({}), ["", "", "", ""]),
            (
                json!({"topology.kubernetes.io/zone": "a"}),
                ["", no, no, ""],
            ),
            (
                json!({"failure-domain.beta.kubernetes.io/zone": "a__b"}),
                ["", "", no, ""],
            ),
            (
                json!({"topology.kubernetes.io/zone": "a__"}),
                ["", "", "", ""],
            ),
        ] {
            world.volume("v", json!({"metadata": {"labels": labels}}));
            assert_eq!(world.tried(&VolumeZone, &pod), wanted, "{labels}");
        }
    }
}
