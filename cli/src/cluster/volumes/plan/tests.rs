//! Tables of what becomes of claims and volumes.

use serde_json::{Value, from_str};
use skiff_api::machinery::patch::merge;

use super::*;

fn patched<K: serde::de::DeserializeOwned>(mut base: Value, changes: &str) -> Arc<K> {
    let changes = if changes.is_empty() { "{}" } else { changes };
    merge::apply(&mut base, from_str(changes).unwrap(), false).unwrap();
    Arc::new(from_value(base).unwrap())
}

fn claim(changes: &str) -> Arc<PersistentVolumeClaim> {
    let annotations = json!({LEFT_TO[0]: PROVISIONER, SELECTED_NODE: "b"});
    let base = json!({"metadata": {"name": "c", "namespace": "ns", "uid": "u", "resourceVersion": "7", "annotations": annotations},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "standard", "resources": {"requests": {"storage": "1Gi"}}}});
    patched(base, changes)
}

fn class(changes: &str) -> Arc<StorageClass> {
    let base = json!({"metadata": {"name": "standard"}, "provisioner": PROVISIONER, "reclaimPolicy": "Delete", "volumeBindingMode": "WaitForFirstConsumer"});
    patched(base, changes)
}

fn node(name: &str, changes: &str) -> Arc<Node> {
    let base = json!({"metadata": {"name": name, "labels": {HOSTNAME: format!("host-{name}")}},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    patched(base, changes)
}

/// One that was made here, on the host of a node.
fn made(name: &str, on: &str, changes: &str) -> Arc<PersistentVolume> {
    let term = json!([{"matchExpressions": [{"key": HOSTNAME, "operator": "In", "values": [format!("host-{on}")]}]}]);
    let base = json!({"metadata": {"name": name, "annotations": {PROVISIONED_BY: PROVISIONER}},
        "spec": {"persistentVolumeReclaimPolicy": "Delete", "nodeAffinity": {"required": {"nodeSelectorTerms": term}}},
        "status": {"phase": "Bound"}});
    patched(base, changes)
}

fn plan(
    claims: &[Arc<PersistentVolumeClaim>],
    class: &Arc<StorageClass>,
    volumes: &[Arc<PersistentVolume>],
    nodes: &[Arc<Node>],
) -> Plan {
    let of = |name: &str| nodes.iter().find(|node| node.metadata.name() == name);
    let known = Known {
        volumes,
        nodes: &|| nodes.to_vec(),
        node: &|name| of(name).cloned(),
        class: &|name| (class.metadata.name() == name).then(|| class.clone()),
        root: Path::new("/data/volumes"),
    };
    Plan::of(claims, &known)
}

#[test]
fn what_becomes_of_a_claim() {
    const NOBODYS: &str =
        r#"{"metadata": {"annotations": {"volume.kubernetes.io/selected-node": null}}}"#;
    let table = r#"
        gets one            |                                           |                                          | on host-b
        is on its way out   | {"metadata": {"deletionTimestamp": "2026-01-02T03:04:05Z"}} |                        | nothing
        is not left to us   | {"metadata": {"annotations": {"volume.kubernetes.io/storage-provisioner": "other"}}} | | nothing
        has one             | {"spec": {"volumeName": "v"}}             |                                          | nothing
        has one by its uid  | {"metadata": {"uid": "there"}}            |                                          | nothing
        of no class         | {"spec": {"storageClassName": "x"}}       |                                          | nothing
        by the old way      | {"metadata": {"annotations": {"volume.beta.kubernetes.io/storage-class": "standard"}}, "spec": {"storageClassName": null}} | | on host-b
        another's class     |                                           | {"provisioner": "other"}                 | nothing
        waits for a pod     | NOBODYS                                   |                                          | nothing
        its node is gone    | {"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "z"}}} |         | again: node "z" not found
        at once             | NOBODYS                                   | {"volumeBindingMode": "Immediate"}       | on host-b
        at once, its node   | {"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "a"}}} | {"volumeBindingMode": "Immediate"} | on host-a
        at once, by label   | NOBODYS | {"volumeBindingMode": "Immediate", "allowedTopologies": [{"matchLabelExpressions": [{"key": "kubernetes.io/hostname", "values": ["host-a"]}]}]} | on host-a
        at once, nowhere    | NOBODYS | {"volumeBindingMode": "Immediate", "allowedTopologies": [{"matchLabelExpressions": [{"key": "kubernetes.io/hostname", "values": ["host-c"]}]}]} | waits
        for one pod         | {"spec": {"accessModes": ["ReadWriteOncePod"]}} |                                    | on host-b
        by many             | {"spec": {"accessModes": ["ReadWriteOnce", "ReadWriteMany"]}} |                      | failed to provision volume with StorageClass "standard": a volume is a folder of one node: access modes are ReadWriteOnce and ReadWriteOncePod, found ReadWriteMany
        a block device      | {"spec": {"volumeMode": "Block"}}         |                                          | skiff.dev/local does not support block volume provisioning
        selects             | {"spec": {"selector": {}}}                |                                          | failed to provision volume with StorageClass "standard": claim Selector is not supported
        a copy              | {"spec": {"dataSource": {"kind": "PersistentVolumeClaim", "name": "d"}}} |           | failed to provision volume with StorageClass "standard": claim DataSource is not supported
        with options        |                                           | {"mountOptions": ["ro", "soft"]}         | Mount options are not supported by the provisioner but StorageClass "standard" has mount options [ro soft]
        with parameters     |                                           | {"parameters": {"type": "fast"}}         | failed to provision volume with StorageClass "standard": the parameter "type" is not known
    "#
    .replace("NOBODYS", NOBODYS);
    for [what, changes, of_class, expected] in skiff_testing::table::rows(&table) {
        let nodes = [
            node("a", ""),
            node("b", ""),
            node("c", r#"{"status": {"conditions": []}}"#),
            node("d", r#"{"spec": {"unschedulable": true}}"#),
        ];
        let volumes = [made("pvc-there", "a", "")];
        let plan = plan(&[claim(changes)], &class(of_class), &volumes, &nodes);
        let said = match (&plan.made[..], &plan.refused[..]) {
            ([made], []) => format!("on {}", host_of(&made.volume).unwrap()),
            ([], [no]) if no.reschedule => format!("again: {}", no.why),
            ([], [no]) => no.why.clone(),
            ([], []) if plan.waits => "waits".into(),
            ([], []) => "nothing".into(),
            other => panic!("{what}: {other:?}"),
        };
        assert_eq!(said, expected, "{what}");
        assert!(plan.released.is_empty());
    }
}

#[test]
fn a_volume_is_what_its_claim_asks_for() {
    let retained = class(r#"{"reclaimPolicy": "Retain"}"#);
    let plan = plan(&[claim("")], &retained, &[], &[node("b", "")]);
    let volume = serde_json::to_value(&plan.made[0].volume).unwrap();
    let here =
        json!([{"matchExpressions": [{"key": HOSTNAME, "operator": "In", "values": ["host-b"]}]}]);
    let wanted = json!({"apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": "pvc-u", "annotations": {PROVISIONED_BY: PROVISIONER}},
        "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "volumeMode": "Filesystem", "storageClassName": "standard",
            "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": "/data/volumes/pvc-u", "type": "DirectoryOrCreate"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": here}},
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "ns", "name": "c", "uid": "u", "resourceVersion": "7"}}});
    assert_eq!(volume, wanted);
    assert!(folder::of(Path::new("/data/volumes"), &plan.made[0].volume).is_ok());
}

#[test]
fn those_made_at_once_are_spread() {
    let now = class(r#"{"volumeBindingMode": "Immediate"}"#);
    let claim = |uid: &str| {
        claim(&format!(
            r#"{{"metadata": {{"uid": "{uid}", "annotations": {{"{SELECTED_NODE}": null}}}}}}"#
        ))
    };
    let claims = ["1", "2", "3"].map(claim);
    let plan = plan(
        &claims,
        &now,
        &[made("v", "a", "")],
        &[node("a", ""), node("b", "")],
    );
    let hosts: Vec<_> = plan
        .made
        .iter()
        .filter_map(|made| host_of(&made.volume))
        .collect();
    assert_eq!(hosts, ["host-b", "host-a", "host-b"]);
}

#[test]
fn which_volumes_are_deleted() {
    for (what, changes, wanted) in [
        ("bound", r#"{}"#, false),
        ("released", r#"{"status": {"phase": "Released"}}"#, true),
        ("failed", r#"{"status": {"phase": "Failed"}}"#, false),
        (
            "retained",
            r#"{"spec": {"persistentVolumeReclaimPolicy": "Retain"}, "status": {"phase": "Released"}}"#,
            false,
        ),
        (
            "another's",
            r#"{"metadata": {"annotations": {"pv.kubernetes.io/provisioned-by": "other"}}, "status": {"phase": "Released"}}"#,
            false,
        ),
        (
            "made by hand",
            r#"{"metadata": {"annotations": null}, "status": {"phase": "Released"}}"#,
            false,
        ),
    ] {
        let plan = plan(&[], &class(""), &[made("v", "a", changes)], &[]);
        assert_eq!(plan.released.len(), usize::from(wanted), "{what}");
    }
}
