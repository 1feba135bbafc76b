//! Persistent volumes, claims and storage classes.
//! Invariant: what uses a claim is looked up, not guessed.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/describe/describe.go`.

use super::form::Line::{self, Do, Each, Form, If, In, Many, Text, Unless};
use super::form::{ANNOTATIONS, CREATED, HEAD, LABELS, NAME, NAMESPACE, shown};
use super::text::{multiline, pairs};
use super::{Describer, Kube, Out, beside, volumes};
use crate::error::Result;
use crate::print::age::since;
use crate::typed::Read;
use serde_json::{Value, json};
use skiff_api::machinery::storage;

pub const KINDS: &[Describer] = &[
    Describer::new("", "PersistentVolume", VOLUME),
    Describer::new("", "PersistentVolumeClaim", CLAIM)
        .with(|kube, object| Box::pin(users(kube, object))),
    Describer::new("storage.k8s.io", "StorageClass", CLASS),
    Describer::new("storage.k8s.io", "CSINode", CSI_NODE),
    Describer::new("storage.k8s.io", "VolumeAttributesClass", ATTRIBUTES_CLASS),
];

const FINALIZERS: Line = Text("Finalizers:\t[{metadata.finalizers|spaced}]");
const CLASS_OF: Line = Do(|out, object| out.field("StorageClass", class_of(object)));
const STATUS: Line = Do(|out, object| {
    let deleted = object.at("metadata").at("deletionTimestamp");
    let status = if deleted.is_null() {
        shown(object, "status.phase")
    } else {
        format!("Terminating (lasts {})", since(deleted))
    };
    out.field("Status", status);
});

const VOLUME: &[Line] = &[
    HEAD,
    FINALIZERS,
    CLASS_OF,
    STATUS,
    Form(0, "?Claim: {spec.claimRef.namespace}/{spec.claimRef.name}"),
    Unless("spec.claimRef", &[Text("Claim:\t")]),
    Form(0, "Reclaim Policy: {spec.persistentVolumeReclaimPolicy}"),
    Do(|out, volume| out.field("Access Modes", modes(volume.at("spec")))),
    Form(
        0,
        "
        ?VolumeMode: {spec.volumeMode}
        Capacity: {spec.capacity.storage|quantity?0}",
    ),
    Do(|out, volume| affinity(out, volume.at("spec").at("nodeAffinity").at("required"))),
    Form(
        0,
        "
        Message: {status.message}
        Source:",
    ),
    In("spec", &[Do(volumes::of_persistent_volume)]),
];

const CLAIM: &[Line] = &[
    NAME,
    NAMESPACE,
    CLASS_OF,
    STATUS,
    Form(0, "Volume: {spec.volumeName}"),
    LABELS,
    ANNOTATIONS,
    FINALIZERS,
    Do(|out, claim| {
        // before it is bound, it has neither
        let (status, none) = match claim.at("spec").text("volumeName") {
            "" => (&Value::Null, ""),
            _ => (claim.at("status"), "?0"),
        };
        let place = format!("capacity.storage|quantity{none}");
        out.field("Capacity", shown(status, &place));
        out.field("Access Modes", modes(status));
    }),
    Form(0, "?VolumeMode: {spec.volumeMode}"),
    In("spec.dataSource", &[Form(0, SOURCE)]),
    Many("Used By", "related", ""),
    If(
        "status.conditions",
        &[Form(
            0,
            "
        Conditions:
          Type  Status  LastProbeTime  LastTransitionTime  Reason  Message
          ----  ------  -----------------  ------------------  ------  -------",
        )],
    ),
    Each(
        "status.conditions",
        &[Text(
            "  {type} \t{status} \t{lastProbeTime|date} \t{lastTransitionTime|date} \t{reason} \t{message}",
        )],
    ),
];
const SOURCE: &str = "
    DataSource:
      ?APIGroup: {apiGroup}
      Kind: {kind}
      Name: {name}";

/// A claim that a pod brings with it, below its volume.
pub const TEMPLATE: &[Line] = &[
    Form(
        2,
        "
        StorageClass: {spec.storageClassName}
        Volume: {spec.volumeName}",
    ),
    Do(|out, claim| {
        let labels = pairs(claim.at("metadata").at("labels"));
        volumes::below(out, "Labels", &labels, "    <none>");
        let annotations = claim.at("metadata").entries("annotations");
        let annotations: Vec<String> = annotations
            .map(|(name, value)| format!("{name}: {}", shown(value, "")))
            .collect();
        volumes::below(out, "Annotations", &annotations, "    <none>");
    }),
    Text("    Capacity:\t\n    Access Modes:\t"),
    Form(2, "?VolumeMode: {spec.volumeMode}"),
    In("spec.dataSource", &[Form(2, SOURCE)]),
];

const CLASS: &[Line] = &[
    NAME,
    Do(|out, class| {
        let default = storage::is_default(class);
        out.field("IsDefaultClass", if default { "Yes" } else { "No" });
    }),
    Form(
        0,
        "
        Annotations: {metadata.annotations|labels?<none>}
        Provisioner: {provisioner}
        Parameters: {parameters|labels?<none>}
        AllowVolumeExpansion: {allowVolumeExpansion|Flag?<unset>}",
    ),
    Unless("mountOptions", &[Form(0, "MountOptions: <none>")]),
    If(
        "mountOptions",
        &[
            Form(0, "MountOptions:"),
            Each("mountOptions", &[Text("  {}")]),
        ],
    ),
    Form(
        0,
        "
        ?ReclaimPolicy: {reclaimPolicy}
        ?VolumeBindingMode: {volumeBindingMode}",
    ),
    Do(topologies),
];

const ATTRIBUTES_CLASS: &[Line] = &[Form(
    0,
    "
    Name: {metadata.name}
    Annotations: {metadata.annotations|labels?<none>}
    DriverName: {driverName}
    Parameters: {parameters|labels?<none>}",
)];

const CSI_NODE: &[Line] = &[
    NAME,
    LABELS,
    ANNOTATIONS,
    CREATED,
    Text("Spec:"),
    If(
        "spec.drivers",
        &[
            Text("  Drivers:"),
            Each(
                "spec.drivers",
                &[
                    Text("    {name}:\n      Node ID:\t{nodeID}"),
                    In(
                        "allocatable.count",
                        &[Text("      Allocatables:\n        Count:\t{}")],
                    ),
                    If(
                        "topologyKeys",
                        &[Text("      Topology Keys:\t[{topologyKeys|spaced}]")],
                    ),
                ],
            ),
        ],
    ),
];

/// Where volumes of a class may be made.
fn topologies(out: &mut Out, class: &Value) {
    let terms = class.list("allowedTopologies");
    if class.some("allowedTopologies").is_none() {
        return;
    }
    let none = if terms.is_empty() { "<none>" } else { "" };
    out.field("AllowedTopologies", none);
    for (i, term) in terms.iter().enumerate() {
        let expressions = term.list("matchLabelExpressions").iter();
        let texts =
            expressions.map(|e| format!("{} in [{}]", e.text("key"), shown(e, "values|list")));
        multiline(out, &format!("  Term {i}"), &texts.collect::<Vec<_>>());
    }
}

/// The pods that use a claim.
async fn users(kube: Kube, claim: Value) -> Result<Value> {
    let pods = kube.paged(&beside(&claim, "/api/v1", "pods"), &[]).await;
    let mut users = users_among(&pods, &claim);
    users.sort();
    Ok(json!(users))
}

/// A pod is told once for each of its volumes that names the claim; one that owns it without naming it, as its own claims are owned, once.
fn users_among(pods: &[Value], claim: &Value) -> Vec<String> {
    let meta = claim.at("metadata");
    let name = meta.text("name");
    let names = |pod: &Value| {
        let volumes = pod.at("spec").list("volumes").iter();
        let claims = volumes.map(|v| v.at("persistentVolumeClaim").text_ptr("claimName"));
        claims.filter(|claim| *claim == Some(name)).count()
    };
    let owns = |pod: &Value| {
        let uid = pod.at("metadata").text("uid");
        let mut owners = meta.list("ownerReferences").iter();
        owners.any(|owner| owner.text("kind") == "Pod" && owner.text("uid") == uid)
    };
    let users = pods.iter().flat_map(|pod| {
        let times = names(pod).max(usize::from(owns(pod)));
        std::iter::repeat_n(shown(pod, "metadata.name"), times)
    });
    users.collect()
}

fn modes(v: &Value) -> String {
    const SHORT: &[(&str, &str)] = &[
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let short = SHORT.iter();
    let modes = short.filter(|(mode, _)| v.texts("accessModes").any(|given| given == *mode));
    modes.map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

fn class_of(object: &Value) -> &str {
    storage::class_of(object).unwrap_or("")
}

fn affinity(out: &mut Out, required: &Value) {
    if required.is_null() {
        return out.put(0, "Node Affinity:\t<none>\n");
    }
    let terms = required.list("nodeSelectorTerms");
    let none = if terms.is_empty() { "<none>" } else { "" };
    out.put(0, "Node Affinity:\t\n");
    out.field("  Required Terms", none);
    for (i, term) in terms.iter().enumerate() {
        let expressions = term.list("matchExpressions").iter().map(|e| {
            let of = match shown(e, "values|list").as_str() {
                "" => String::new(),
                values => format!(" [{values}]"),
            };
            format!(
                "{} {}{of}",
                e.text("key"),
                e.text("operator").to_lowercase()
            )
        });
        multiline(
            out,
            &format!("    Term {i}"),
            &expressions.collect::<Vec<_>>(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_uses_a_claim_names_it_or_owns_it() {
        let volume = |claim: &str| json!({"persistentVolumeClaim": {"claimName": claim}});
        let pod = |name: &str, volumes: Vec<Value>| json!({"metadata": {"name": name, "uid": name}, "spec": {"volumes": volumes}});
        let pods = [
            pod("twice", vec![volume("c"), volume("d"), volume("c")]),
            pod("owner", vec![json!({"ephemeral": {}})]),
            pod("other", vec![volume("d")]),
        ];
        let owner = |kind: &str, uid: &str| json!({"kind": kind, "uid": uid});
        let owners = [
            owner("Pod", "owner"),
            owner("Pod", "twice"),
            owner("Job", "other"),
        ];
        let claim = json!({"metadata": {"name": "c", "ownerReferences": owners}});
        assert_eq!(users_among(&pods, &claim), ["twice", "twice", "owner"]);
    }
}
