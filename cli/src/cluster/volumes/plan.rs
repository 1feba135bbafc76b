//! Which volumes are to be made and which are to be deleted.
//!
//! Invariant: pure. A claim gets its volume once the binder left it to this provisioner, and after its node is known; a volume is deleted when its claim is gone
//! and its policy says so. What a volume of a folder cannot be is refused, not ignored.
//! Follows `sigs.k8s.io/sig-storage-lib-external-provisioner/controller/controller.go` (shouldProvision, provisionClaimOperation, shouldDelete).

use std::{collections::BTreeMap, path::Path, sync::Arc};

use k8s_openapi::{
    api::{
        core::v1::{Node, PersistentVolume, PersistentVolumeClaim},
        storage::v1::StorageClass,
    },
    apimachinery::pkg::api::resource::Quantity,
};
use serde_json::{from_value, json};
use skiff_api::machinery::quote::GoQuoted;
use skiff_podspec::parts::{HasSpec, HasStatus, Meta};
use skiff_podspec::storage::{LEFT_TO, PROVISIONED_BY, SELECTED_NODE, class_of_claim};

use super::folder;

/// Whose classes these are.
pub const PROVISIONER: &str = "skiff.dev/local";
const HOSTNAME: &str = "kubernetes.io/hostname";
/// A folder is one node's.
const MODES: [&str; 2] = ["ReadWriteOnce", "ReadWriteOncePod"];

/// What is known of the cluster.
pub struct Known<'a> {
    pub volumes: &'a [Arc<PersistentVolume>],
    pub nodes: &'a dyn Fn() -> Vec<Arc<Node>>,
    pub node: &'a dyn Fn(&str) -> Option<Arc<Node>>,
    pub class: &'a dyn Fn(&str) -> Option<Arc<StorageClass>>,
    /// The folder of all volumes.
    pub root: &'a Path,
}

/// What is to be.
#[derive(Debug, Default)]
pub struct Plan {
    pub made: Vec<Made>,
    pub refused: Vec<Refused>,
    /// They are to be deleted.
    pub released: Vec<Arc<PersistentVolume>>,
    /// A claim waits for a node to be ready.
    pub waits: bool,
}

/// A volume for a claim.
#[derive(Debug)]
pub struct Made {
    pub claim: Arc<PersistentVolumeClaim>,
    pub volume: PersistentVolume,
}

/// A claim that gets none.
#[derive(Debug)]
pub struct Refused {
    pub claim: Arc<PersistentVolumeClaim>,
    pub why: String,
    /// Another node may help.
    pub reschedule: bool,
}

fn is_ours(volume: &PersistentVolume) -> bool {
    volume.metadata.annotation(PROVISIONED_BY) == Some(PROVISIONER)
}

fn name(claim: &PersistentVolumeClaim) -> String {
    format!("pvc-{}", claim.metadata.uid())
}

/// Where a claim's volume is to be.
enum Place {
    On(Arc<Node>),
    /// The node that it is to be on is gone.
    Gone(String),
    /// No node can have it yet.
    Nowhere,
    /// Nobody uses the claim yet.
    Unknown,
}

impl Plan {
    pub fn of(claims: &[Arc<PersistentVolumeClaim>], known: &Known) -> Plan {
        let mut plan = Plan::default();
        let ours = known.volumes.iter().filter(|volume| is_ours(volume));
        plan.released = ours.filter(|v| is_to_be_deleted(v)).cloned().collect();
        let left_to_us = |claim: &&Arc<PersistentVolumeClaim>| {
            claim.metadata.annotation(LEFT_TO[0]) == Some(PROVISIONER)
                && claim.spec().volume_name.as_deref().unwrap_or("").is_empty()
                && !claim.metadata.is_deleting()
        };
        for claim in claims.iter().filter(left_to_us) {
            plan.add(claim, known);
        }
        plan
    }

    fn add(&mut self, claim: &Arc<PersistentVolumeClaim>, known: &Known) {
        let named = name(claim);
        if known
            .volumes
            .iter()
            .any(|volume| volume.metadata.name() == named)
        {
            return;
        }
        let class = (known.class)(class_of_claim(claim)).filter(|of| of.provisioner == PROVISIONER);
        let Some(class) = class else { return };
        let refused = |why, reschedule| Refused {
            claim: claim.clone(),
            why,
            reschedule,
        };
        let node = match self.place(claim, &class, known) {
            Place::On(node) => node,
            Place::Unknown => return,
            Place::Nowhere => return self.waits = true,
            Place::Gone(node) => {
                let why = format!("node {} not found", GoQuoted(&node));
                return self.refused.push(refused(why, true));
            }
        };
        let made =
            why_not(claim, &class).map_or_else(|| volume(claim, &class, &node, known.root), Err);
        match made {
            Ok(volume) => self.made.push(Made {
                claim: claim.clone(),
                volume,
            }),
            Err(why) => self.refused.push(refused(why, false)),
        }
    }

    fn place(&self, claim: &PersistentVolumeClaim, class: &StorageClass, known: &Known) -> Place {
        if let Some(name) = claim
            .metadata
            .annotation(SELECTED_NODE)
            .filter(|n| !n.is_empty())
        {
            return match (known.node)(name) {
                Some(node) => Place::On(node),
                None => Place::Gone(name.into()),
            };
        }
        if class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer") {
            return Place::Unknown;
        }
        // the ready node that has the fewest of these volumes
        let mut has: BTreeMap<String, usize> = BTreeMap::new();
        let volumes = known.volumes.iter().map(Arc::as_ref);
        let new = self.made.iter().map(|made| &made.volume);
        for host in volumes
            .filter(|v| is_ours(v))
            .chain(new)
            .filter_map(host_of)
        {
            *has.entry(host).or_default() += 1;
        }
        let terms = class.allowed_topologies.as_deref().unwrap_or(&[]);
        let fits = |node: &Arc<Node>| {
            is_ready(node) && skiff_scheduler::is_allowed(terms, |key| node.metadata.label(key))
        };
        let nodes = (known.nodes)().into_iter().filter(fits);
        let first = nodes.min_by_key(|node| {
            let count = has.get(hostname(node)).copied().unwrap_or(0);
            (count, node.metadata.name().to_owned())
        });
        first.map_or(Place::Nowhere, Place::On)
    }
}

fn is_to_be_deleted(volume: &PersistentVolume) -> bool {
    let policy = volume.spec().persistent_volume_reclaim_policy.as_deref();
    volume.status().phase.as_deref() == Some("Released") && policy == Some("Delete")
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status().conditions.iter().flatten();
    let mut ready = conditions.filter(|c| c.type_ == "Ready" && c.status == "True");
    ready.next().is_some() && node.spec().unschedulable != Some(true)
}

fn hostname(node: &Node) -> &str {
    let label = node.metadata.label(HOSTNAME);
    label.unwrap_or_else(|| node.metadata.name())
}

/// The node that a volume made here is on.
fn host_of(volume: &PersistentVolume) -> Option<String> {
    let required = volume.spec().node_affinity.as_ref()?.required.as_ref()?;
    let term = required.node_selector_terms.first()?;
    term.match_expressions
        .as_ref()?
        .first()?
        .values
        .as_ref()?
        .first()
        .cloned()
}

/// What a folder cannot be.
fn why_not(claim: &PersistentVolumeClaim, class: &StorageClass) -> Option<String> {
    let spec = claim.spec();
    let failed = |why: &str| {
        let class = class.metadata.name();
        format!(
            "failed to provision volume with StorageClass {}: {why}",
            GoQuoted(&class)
        )
    };
    if spec.volume_mode.as_deref() == Some("Block") {
        return Some(format!(
            "{PROVISIONER} does not support block volume provisioning"
        ));
    }
    let options = class.mount_options.as_deref().unwrap_or(&[]);
    if !options.is_empty() {
        return Some(format!(
            "Mount options are not supported by the provisioner but StorageClass {} has mount options [{}]",
            GoQuoted(&class.metadata.name()),
            options.join(" ")
        ));
    }
    if let Some((key, _)) = class.parameters.iter().flatten().next() {
        return Some(failed(&format!(
            "the parameter {} is not known",
            GoQuoted(key)
        )));
    }
    let modes = spec.access_modes.as_deref().unwrap_or(&[]);
    if let Some(mode) = modes.iter().find(|mode| !MODES.contains(&mode.as_str())) {
        return Some(failed(&format!(
            "a volume is a folder of one node: access modes are {}, found {mode}",
            MODES.join(" and ")
        )));
    }
    if spec.selector.is_some() {
        return Some(failed("claim Selector is not supported"));
    }
    if spec.data_source.is_some() || spec.data_source_ref.is_some() {
        return Some(failed("claim DataSource is not supported"));
    }
    None
}

fn volume(
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    node: &Node,
    root: &Path,
) -> Result<PersistentVolume, String> {
    let (name, spec, meta) = (name(claim), claim.spec(), &claim.metadata);
    let asked = spec.resources.as_ref().and_then(|of| of.requests.as_ref());
    let storage: Option<&Quantity> = asked.and_then(|of| of.get("storage"));
    let policy = class.reclaim_policy.as_deref().unwrap_or("Delete");
    let here = json!([{"matchExpressions": [{"key": HOSTNAME, "operator": "In", "values": [hostname(node)]}]}]);
    let volume = json!({
        "metadata": {"name": name, "annotations": {PROVISIONED_BY: PROVISIONER}},
        "spec": {
            "capacity": {"storage": storage},
            "accessModes": spec.access_modes,
            "volumeMode": "Filesystem",
            "persistentVolumeReclaimPolicy": policy,
            "storageClassName": class_of_claim(claim),
            "hostPath": {"path": folder::place(root, &name), "type": "DirectoryOrCreate"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": here}},
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": meta.namespace, "name": meta.name, "uid": meta.uid,
                "resourceVersion": meta.resource_version},
        },
    });
    from_value(volume).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
