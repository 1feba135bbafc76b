//! Whether a volume can be made for a claim where a node reaches it: the class says on which nodes, and some drivers how much room they have.
//!
//! Invariant: pure. Follows `checkVolumeProvisions` and `hasEnoughCapacity` of `plugins/volumebinding/binder.go`.

use k8s_openapi::api::{
    core::v1::{PersistentVolumeClaim, TopologySelectorTerm},
    storage::v1::{CSIStorageCapacity, StorageClass},
};
use skiff_api::machinery::quantity::Quantity;

use super::{NO_VOLUME, class, request};
use crate::{node::NodeInfo, volumes::Volumes};

pub const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";
const NO_SPACE: &str = "node(s) did not have enough free storage";

/// Why no provisioner may make a volume that the node reaches.
pub fn can_be_made(
    claim: &PersistentVolumeClaim,
    node: &NodeInfo,
    known: &Volumes,
) -> Result<(), &'static str> {
    let class = class(claim, known).ok_or(NO_VOLUME)?;
    let provisioner = class.provisioner.as_str();
    let allowed = !provisioner.is_empty()
        && provisioner != NO_PROVISIONER
        && is_allowed(class.allowed_topologies.as_deref().unwrap_or(&[]), |key| {
            node.label(key)
        });
    if !allowed {
        return Err(NO_VOLUME);
    }
    if has_room(claim, class, node, known) {
        Ok(())
    } else {
        Err(NO_SPACE)
    }
}

/// Whether the class's driver, if it tells how much room it has, has enough that the node reaches.
fn has_room(
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    node: &NodeInfo,
    known: &Volumes,
) -> bool {
    let driver = known.drivers.get("", &class.provisioner);
    if driver.is_none_or(|driver| driver.spec.storage_capacity != Some(true)) {
        return true;
    }
    let wanted = match request(claim) {
        Ok(Some(wanted)) => wanted,
        Ok(None) => return true,
        Err(_) => return false,
    };
    let reaches = |capacity: &CSIStorageCapacity| {
        let selector = capacity.node_topology.as_ref();
        let selector = selector.and_then(|s| skiff_podspec::selector::of(Some(s)).ok());
        selector.is_some_and(|selector| selector.matches(&node.node.metadata.labels.as_ref()))
    };
    known.capacities.all().any(|capacity| {
        Some(&capacity.storage_class_name) == class.metadata.name.as_ref()
            && most(capacity).is_some_and(|most| most.value() >= wanted.value())
            && reaches(capacity)
    })
}

/// The largest volume for which there is room.
pub fn most(capacity: &CSIStorageCapacity) -> Option<Quantity> {
    let limit = capacity.maximum_volume_size.as_ref();
    limit.or(capacity.capacity.as_ref())?.0.parse().ok()
}

/// Whether a class lets its volumes be made on a node with these labels.
pub fn is_allowed<'n>(
    terms: &[TopologySelectorTerm],
    label: impl Fn(&str) -> Option<&'n str>,
) -> bool {
    let holds = |term: &TopologySelectorTerm| {
        let wanted = term.match_label_expressions.as_deref().unwrap_or(&[]);
        wanted.iter().all(|wanted| {
            label(&wanted.key).is_some_and(|found| wanted.values.iter().any(|value| value == found))
        })
    };
    terms.is_empty() || terms.iter().any(holds)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::{
        super::tests::{claim, known, pod},
        *,
    };
    use crate::{cache::Cache, heard::Event};

    #[test]
    fn a_driver_that_tells_its_room_makes_volumes_where_it_has_some() {
        let mut cache = Cache::default();
        let node = json!({"metadata": {"name": "n", "labels": {"zone": "a"}}});
        cache.put_node(Arc::new(serde_json::from_value(node).unwrap()));
        let node = cache.nodes().next().unwrap();
        let driver = |tells: bool| json!({"metadata": {"name": "example.com/disk"}, "spec": {"storageCapacity": tells}});
        let room = |class: &str, zone: &str, capacity: &str, largest: Option<&str>| {
            json!({"metadata": {"name": "r", "namespace": "ns"}, "storageClassName": class, "capacity": capacity, "maximumVolumeSize": largest,
                "nodeTopology": {"matchLabels": {"zone": zone}}})
        };
        for (driver, room, expected) in [
            (Some(driver(true)), Some(room("made", "a", "1Gi", None)), ""),
            (
                Some(driver(true)),
                Some(room("made", "a", "1023Mi", None)),
                NO_SPACE,
            ),
            (
                Some(driver(true)),
                Some(room("made", "a", "9Gi", Some("1Mi"))),
                NO_SPACE,
            ),
            (
                Some(driver(true)),
                Some(room("made", "b", "9Gi", None)),
                NO_SPACE,
            ),
            (
                Some(driver(true)),
                Some(room("other", "a", "9Gi", None)),
                NO_SPACE,
            ),
            (Some(driver(true)), None, NO_SPACE),
            (Some(driver(false)), None, ""),
            (None, None, ""),
        ] {
            let mut known = known(&[claim("made", json!({}))], &[]);
            let shown = format!("{driver:?} {room:?}");
            if let Some(driver) = driver {
                let driver = serde_json::from_value(driver).unwrap();
                known.drivers.hear(Event::Apply(Arc::new(driver)));
            }
            if let Some(room) = room {
                let room = serde_json::from_value(room).unwrap();
                known.capacities.hear(Event::Apply(Arc::new(room)));
            }
            let claims = super::super::claims(&pod(), &known).unwrap();
            let found = super::super::plan(&claims, node, &known).err();
            let found = found.map_or_else(String::new, |found| found.reasons.join(", "));
            assert_eq!(found, expected, "{shown}");
        }
    }
}
