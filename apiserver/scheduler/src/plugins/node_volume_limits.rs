//! A driver attaches no more volumes to a node than the node's CSINode says. Follows `plugins/nodevolumelimits/csi.go`.
//!
//! Invariant: a volume counts once, however many pods use it. Volumes of sources that were once built in count for no driver.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::storage::v1::CSINode;
use skiff_podspec::parts::HasSpec;

use super::volume_binding::{claim_names, class, volume_name};
use crate::{
    framework::{ClusterEvent, First, Plugin, Rejection, View},
    node::NodeInfo,
    plugins::State,
    pod::PodInfo,
    volumes::Volumes,
};

pub struct NodeVolumeLimits;

/// A volume as its driver knows it, or as the claim that it will be made for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Handle {
    Volume(String),
    Claim(String, String),
}

/// Volumes by driver and handle.
pub type Attached = BTreeSet<(String, Handle)>;

/// How many volumes each driver of the node may have there, where it says so.
fn limits(node: &CSINode) -> BTreeMap<&str, i64> {
    let limit = |driver: &k8s_openapi::api::storage::v1::CSINodeDriver| {
        Some(i64::from(driver.allocatable.as_ref()?.count?))
    };
    let drivers = node.spec.drivers.iter();
    drivers
        .filter_map(|driver| Some((driver.name.as_str(), limit(driver)?)))
        .collect()
}

/// Adds the volumes that a pod's claims are, or will be.
fn add_volumes(pod: &PodInfo, known: &Volumes, attached: &mut Attached) {
    for (name, _) in claim_names(pod) {
        let Some(claim) = known.claims.get(&pod.namespace, &name) else {
            continue;
        };
        let volume = known.volumes.get("", volume_name(claim));
        let found = match volume.filter(|_| !volume_name(claim).is_empty()) {
            Some(volume) => volume.spec().csi.as_ref().map(|csi| {
                let handle = Handle::Volume(csi.volume_handle.clone());
                (csi.driver.clone(), handle)
            }),
            None => class(claim, known).map(|class| {
                let handle = Handle::Claim(pod.namespace.to_string(), name);
                (class.provisioner.clone(), handle)
            }),
        };
        attached.extend(found);
    }
}

/// Adds the volumes that are attached to a node, also those that no pod there uses any more.
fn add_attachments(node: &str, known: &Volumes, attached: &mut Attached) {
    for attachment in known.attachments.of_node(node) {
        let spec = &attachment.spec;
        let name = spec.source.persistent_volume_name.as_deref();
        let Some(name) = name.filter(|_| !spec.attacher.is_empty()) else {
            continue;
        };
        let volume = known.volumes.get("", name);
        if let Some(csi) = volume.and_then(|volume| volume.spec().csi.as_ref()) {
            let handle = Handle::Volume(csi.volume_handle.clone());
            attached.insert((spec.attacher.clone(), handle));
        }
    }
}

fn has_claims(pod: &PodInfo) -> bool {
    claim_names(pod).next().is_some()
}

impl Plugin<State> for NodeVolumeLimits {
    fn name(&self) -> &'static str {
        "NodeVolumeLimits"
    }

    fn pre_filter(&self, view: View, pod: &PodInfo, state: &mut State) -> First {
        if !has_claims(pod) {
            return First::Skip;
        }
        add_volumes(pod, view.volumes, &mut state.attached);
        First::Any
    }

    fn filter(
        &self,
        view: View,
        state: &State,
        _: &PodInfo,
        node: &NodeInfo,
    ) -> Result<(), Rejection> {
        let limits = match view.volumes.nodes.get("", &node.name) {
            Some(node) => limits(node),
            None => return Ok(()),
        };
        if limits.is_empty() {
            return Ok(());
        }
        let mut attached = Attached::new();
        for other in node.pods.values() {
            add_volumes(other, view.volumes, &mut attached);
        }
        let new: Vec<_> = state.attached.difference(&attached).cloned().collect();
        add_attachments(&node.name, view.volumes, &mut attached);
        let fits = limits.iter().all(|(driver, limit)| {
            let of_driver = |(of, _): &&(String, Handle)| of == driver;
            let new = new.iter().filter(of_driver).count();
            let all = attached.iter().filter(of_driver).count() + new;
            new == 0 || i64::try_from(all).is_ok_and(|all| all <= *limit)
        });
        Rejection::unless(fits, "node(s) exceed max volume count")
    }

    fn hopes_for_taints(&self) -> bool {
        false
    }

    fn hopes(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        match event {
            ClusterEvent::DriversOfNode(change) => match (&change.old, &change.new) {
                (None, Some(_)) => true,
                (Some(old), Some(new)) => {
                    let old = limits(old);
                    let before = |driver: &&str| old.get(driver).copied().unwrap_or(0);
                    limits(new)
                        .iter()
                        .any(|(driver, limit)| *limit > before(driver))
                }
                (_, None) => false,
            },
            ClusterEvent::PodDeleted(other) => has_claims(other),
            ClusterEvent::Claim(change) => change.added().is_some_and(|claim| {
                claim.metadata.namespace.as_deref() == Some(&pod.namespace)
                    && claim_names(pod).any(|(name, _)| Some(name) == claim.metadata.name)
            }),
            ClusterEvent::Attachment(change) => {
                change.new.is_none() && pod.claims().next().is_some()
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        heard::Event,
        plugins::tests::{World, object},
        pod::tests::pod,
        volumes::Change,
    };

    fn drivers(limits: &[(&str, Option<i32>)]) -> Value {
        let driver = |(name, limit): &(&str, Option<i32>)| json!({"name": name, "nodeID": "n", "allocatable": {"count": limit}});
        json!({"spec": {"drivers": limits.iter().map(driver).collect::<Vec<_>>()}})
    }

    fn using(name: &str, claims: &[&str]) -> std::sync::Arc<PodInfo> {
        let volume =
            |claim: &&str| json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}});
        let volumes: Vec<_> = claims.iter().map(volume).collect();
        pod(name, json!({"spec": {"volumes": volumes}}))
    }

    fn world() -> World {
        let mut world = World::default();
        world.node("n", json!({}));
        for name in ["a", "b", "c"] {
            let csi = json!({"driver": "disk", "volumeHandle": name});
            world.volume(name, json!({"spec": {"csi": csi}}));
            world.claim(name, json!({"spec": {"volumeName": name}}));
        }
        world.claim("new", json!({"spec": {"storageClassName": "made"}}));
        let class = json!({"provisioner": "disk"});
        let class = Event::Apply(object("made", "", class));
        world.volumes.classes.hear(class);
        world.volume("folder", json!({"spec": {"hostPath": {"path": "/x"}}}));
        world.claim("folder", json!({"spec": {"volumeName": "folder"}}));
        world
    }

    #[test]
    fn a_node_takes_as_many_volumes_as_its_drivers_attach() {
        let full = "node(s) exceed max volume count";
        let one: &[(&str, Option<i32>)] = &[("disk", Some(1))];
        let attached = json!({"spec": {"attacher": "disk", "nodeName": "n", "source": {"persistentVolumeName": "c"}}});
        // limits | what a pod there uses | whether another volume is attached | what the pod uses | what is said
        let cases: &[(&[(&str, Option<i32>)], &[&str], bool, &[&str], &str)] = &[
            (one, &["a"], false, &["b"], full),
            (one, &["a"], false, &["a"], ""),
            (one, &["a"], false, &["new"], full),
            (one, &["a"], false, &["folder"], ""),
            (one, &[], false, &["a", "b"], full),
            (one, &[], false, &["a"], ""),
            (one, &[], true, &["a"], full),
            (&[("disk", Some(2))], &["a"], false, &["b"], ""),
            (&[("disk", None)], &["a"], false, &["b"], ""),
            (&[("other", Some(0))], &["a"], false, &["b"], ""),
        ];
        for (limits, there, other, wanted, expected) in cases {
            let mut world = world();
            let node = Event::Apply(object("n", "", drivers(limits)));
            world.volumes.nodes.hear(node);
            if *other {
                let attachment = Event::Apply(object("va", "", attached.clone()));
                world.volumes.attachments.hear(attachment);
            }
            world.cache.put_pod("n", using("there", there));
            let found = world.tried(&NodeVolumeLimits, &using("p", wanted));
            assert_eq!(
                found,
                [*expected],
                "{limits:?} {there:?} {other} {wanted:?}"
            );
        }
        // a node that says nothing
        let mut world = world();
        world.cache.put_pod("n", using("there", &["a"]));
        assert_eq!(world.tried(&NodeVolumeLimits, &using("p", &["b"])), [""]);
    }

    #[test]
    fn higher_limits_let_pods_hope() {
        let of_node = |old: Option<i32>, new: Option<i32>| {
            let drivers = |limit| Some(object("n", "", drivers(&[("disk", Some(limit))])));
            ClusterEvent::DriversOfNode(Change {
                old: old.and_then(drivers),
                new: new.and_then(drivers),
            })
        };
        let pod = using("p", &["a"]);
        for (event, hopes) in [
            (of_node(None, Some(1)), true),
            (of_node(Some(1), Some(2)), true),
            (of_node(Some(2), Some(1)), false),
            (of_node(Some(1), None), false),
            (ClusterEvent::PodDeleted(using("q", &["b"])), true),
            (ClusterEvent::PodDeleted(using("q", &[])), false),
        ] {
            assert_eq!(
                NodeVolumeLimits.hopes(&pod, &event),
                hopes,
                "{}",
                event.label()
            );
        }
    }
}
