//! Disks that only one pod may have, and claims that only one pod may use. Follows `plugins/volumerestrictions/volume_restrictions.go`.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Volume};
use skiff_api::machinery::quote::GoQuoted;
use skiff_podspec::parts::{HasSpec, Meta};

use crate::{
    framework::{ClusterEvent, First, Plugin, Rejection, View},
    node::NodeInfo,
    plugins::State as Attempt,
    pod::PodInfo,
};

pub struct VolumeRestrictions;

/// Claims of the pod that one pod alone may use, and how many others use them.
#[derive(Clone, Default)]
pub struct State {
    claims: BTreeSet<String>,
    conflicts: i64,
}

/// Whether the pod names the claim (those made for it alone are not meant).
pub fn is_used(pod: &PodInfo, claim: &PersistentVolumeClaim) -> bool {
    claim.metadata.namespace() == pod.namespace
        && pod.claims().any(|name| name == claim.metadata.name())
}

fn is_restricted(volume: &Volume) -> bool {
    volume.gce_persistent_disk.is_some()
        || volume.aws_elastic_block_store.is_some()
        || volume.rbd.is_some()
        || volume.iscsi.is_some()
}

fn same<T>(a: &Option<T>, b: &Option<T>, conflicts: impl Fn(&T, &T) -> bool) -> bool {
    a.as_ref()
        .zip(b.as_ref())
        .is_some_and(|(a, b)| conflicts(a, b))
}

fn conflict(a: &Volume, b: &Volume) -> bool {
    let only_read = |a: Option<bool>, b: Option<bool>| a == Some(true) && b == Some(true);
    same(&a.gce_persistent_disk, &b.gce_persistent_disk, |a, b| {
        a.pd_name == b.pd_name && !only_read(a.read_only, b.read_only)
    }) || same(
        &a.aws_elastic_block_store,
        &b.aws_elastic_block_store,
        |a, b| a.volume_id == b.volume_id,
    ) || same(&a.iscsi, &b.iscsi, |a, b| {
        a.iqn == b.iqn && !only_read(a.read_only, b.read_only)
    }) || same(&a.rbd, &b.rbd, |a, b| {
        let overlap = a
            .monitors
            .iter()
            .any(|monitor| b.monitors.contains(monitor));
        overlap && a.pool == b.pool && a.image == b.image && !only_read(a.read_only, b.read_only)
    })
}

fn conflicts(pod: &PodInfo, other: &PodInfo) -> bool {
    pod.volumes()
        .filter(|volume| is_restricted(volume))
        .any(|a| other.volumes().any(|b| conflict(a, b)))
}

impl Plugin<Attempt> for VolumeRestrictions {
    fn name(&self) -> &'static str {
        "VolumeRestrictions"
    }

    fn pre_filter(&self, view: View, pod: &PodInfo, state: &mut Attempt) -> First {
        let mut found = State::default();
        for name in pod.claims() {
            let Some(claim) = view.volumes.claims.get(&pod.namespace, name) else {
                return First::No(Rejection::unresolvable(format!(
                    "persistentvolumeclaim {name} not found",
                    name = GoQuoted(&name)
                )));
            };
            let modes = claim.spec().access_modes.as_ref().into_iter().flatten();
            if modes.into_iter().any(|mode| mode == "ReadWriteOncePod") {
                found.claims.insert(name.to_string());
            }
        }
        found.conflicts = found
            .claims
            .iter()
            .filter(|claim| view.cache.users_of(&pod.namespace, claim) > 0)
            .count() as i64;
        if found.conflicts == 0 && !pod.volumes().any(is_restricted) {
            return First::Skip;
        }
        state.restrictions = found;
        First::Any
    }

    fn filter(
        &self,
        _: View,
        state: &Attempt,
        pod: &PodInfo,
        node: &NodeInfo,
    ) -> Result<(), Rejection> {
        if node.pods.values().any(|other| conflicts(pod, other)) {
            return Err(Rejection::new("node(s) had no available disk"));
        }
        Rejection::unless(
            state.restrictions.conflicts <= 0,
            "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod",
        )
    }

    fn change(
        &self,
        _: View,
        state: &mut Attempt,
        pod: &PodInfo,
        other: &PodInfo,
        _: &NodeInfo,
        by: i64,
    ) {
        if pod.namespace == other.namespace {
            let used = other
                .claims()
                .filter(|claim| state.restrictions.claims.contains(*claim))
                .count();
            state.restrictions.conflicts += by * used as i64;
        }
    }

    fn hopes(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        match event {
            ClusterEvent::PodDeleted(other) if other.namespace == pod.namespace => {
                conflicts(pod, other) || other.claims().any(|a| pod.claims().any(|b| a == b))
            }
            ClusterEvent::NodeAdded(_) => true,
            ClusterEvent::Claim(change) => change.added().is_some_and(|claim| is_used(pod, claim)),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{plugins::tests::World, pod::tests::pod};

    #[test]
    fn disks_and_claims_of_one_pod() {
        let with = |name: &str, volume: Value| pod(name, json!({"spec": {"volumes": [volume]}}));
        let claim = json!({"name": "v", "persistentVolumeClaim": {"claimName": "c"}});
        let disk = |only_read: bool| json!({"name": "v", "gcePersistentDisk": {"pdName": "d", "readOnly": only_read}});
        let no_disk = "node(s) had no available disk";
        let in_use = "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod";
        for (volume, other, modes, wanted) in [
            (disk(false), disk(false), "", [no_disk, ""]),
            (disk(true), disk(true), "", ["", ""]),
            (claim.clone(), claim.clone(), "ReadWriteOnce", ["", ""]),
            (
                claim.clone(),
                claim.clone(),
                "ReadWriteOncePod",
                [in_use, in_use],
            ),
            (claim.clone(), disk(false), "ReadWriteOncePod", ["", ""]),
        ] {
            let mut world = World::default();
            world.node("a", json!({}));
            world.node("b", json!({}));
            world.claim("c", json!({"spec": {"accessModes": [modes]}}));
            world.cache.put_pod("a", with("other", other.clone()));
            assert_eq!(
                world.tried(&VolumeRestrictions, &with("p", volume.clone())),
                wanted,
                "{volume} beside {other} {modes}"
            );
        }
        let mut world = World::default();
        assert_eq!(
            world.first(&VolumeRestrictions, &with("p", claim.clone())),
            "persistentvolumeclaim \"c\" not found"
        );
        world.node("a", json!({}));
    }
}
