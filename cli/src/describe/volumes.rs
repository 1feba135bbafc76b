//! Volumes of pods, and sources of persistent volumes.
//! Invariant: a source that has no lines of its own here is still named.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/describe/describe.go`.

use super::Out;
use super::text::{list, n, s, scalar};
use serde_json::Value;

/// One line: label and value.
type Line = (&'static str, String);

/// All volumes of a pod.
pub fn all(out: &mut Out, volumes: &[Value], space: &str) {
    if volumes.is_empty() {
        out.put(0, format!("{space}Volumes:\t<none>\n"));
        return;
    }
    out.put(0, format!("{space}Volumes:\n"));
    let indent = if space.is_empty() { "" } else { " " };
    for v in volumes {
        out.put(1, format!("{indent}{}:\n", s(v, "name")));
        source(out, v);
    }
}

/// The source of a volume, or of a persistent volume.
pub fn source(out: &mut Out, v: &Value) {
    let Some((kind, spec)) = v
        .as_object()
        .into_iter()
        .flatten()
        .find(|(k, x)| x.is_object() && is_source(k))
    else {
        out.put(1, "<unknown>\n");
        return;
    };
    if kind == "projected" {
        return projected(out, spec);
    }
    if kind == "downwardAPI" {
        out.put(
            2,
            "Type:\tDownwardAPI (a volume populated by information about the pod)\n    Items:\n",
        );
        downward_items(out, spec);
        return;
    }
    lines(kind, spec)
        .into_iter()
        .for_each(|(label, value)| out.put(2, format!("{label}:\t{value}\n")));
    if kind == "csi" {
        attributes(out, spec);
    }
}

fn is_source(field: &str) -> bool {
    !matches!(
        field,
        "name"
            | "capacity"
            | "claimRef"
            | "nodeAffinity"
            | "accessModes"
            | "persistentVolumeReclaimPolicy"
            | "storageClassName"
            | "mountOptions"
            | "volumeMode"
            | "volumeAttributesClassName"
    )
}

fn optional(v: &Value) -> String {
    (v["optional"] == true).to_string()
}

fn lines(kind: &str, v: &Value) -> Vec<Line> {
    let t = |f: &str| s(v, f).to_string();
    let read_only = || ("ReadOnly", (v["readOnly"] == true).to_string());
    match kind {
        "emptyDir" => vec![
            ("Type", "EmptyDir (a temporary directory that shares a pod's lifetime)".into()),
            ("Medium", t("medium")),
            ("SizeLimit", if v["sizeLimit"].is_null() { "<unset>".into() } else { scalar(&v["sizeLimit"]) }),
        ],
        "hostPath" => vec![("Type", "HostPath (bare host directory volume)".into()), ("Path", t("path")), ("HostPathType", t("type"))],
        "secret" => vec![("Type", "Secret (a volume populated by a Secret)".into()), ("SecretName", t("secretName")), ("Optional", optional(v))],
        "configMap" => vec![("Type", "ConfigMap (a volume populated by a ConfigMap)".into()), ("Name", t("name")), ("Optional", optional(v))],
        "nfs" => vec![("Type", "NFS (an NFS mount that lasts the lifetime of a pod)".into()), ("Server", t("server")), ("Path", t("path")), read_only()],
        "persistentVolumeClaim" => vec![
            ("Type", "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)".into()),
            ("ClaimName", t("claimName")),
            read_only(),
        ],
        "local" => vec![("Type", "LocalVolume (a persistent volume backed by local storage on a node)".into()), ("Path", t("path"))],
        "image" => vec![("Type", "Image (a container image or OCI artifact)".into()), ("Reference", t("reference")), ("PullPolicy", t("pullPolicy"))],
        "csi" => vec![
            ("Type", "CSI (a Container Storage Interface (CSI) volume source)".into()),
            ("Driver", t("driver")),
            ("FSType", t("fsType")),
            ("VolumeHandle", t("volumeHandle")),
            read_only(),
        ],
        "ephemeral" => vec![
            ("Type", "EphemeralVolume (an inline specification for a volume that gets created and deleted with the pod)".into()),
            ("StorageClass", s(&v["volumeClaimTemplate"]["spec"], "storageClassName").into()),
            ("Capacity", scalar(&v["volumeClaimTemplate"]["spec"]["resources"]["requests"]["storage"])),
        ],
        "iscsi" => vec![
            ("Type", "ISCSI (an ISCSI Disk resource that is attached to a kubelet's host machine and then exposed to the pod)".into()),
            ("TargetPortal", t("targetPortal")),
            ("IQN", t("iqn")),
            ("Lun", n(v, "lun").to_string()),
            read_only(),
        ],
        other => vec![("Type", other.to_string())],
    }
}

fn attributes(out: &mut Out, v: &Value) {
    let empty = serde_json::Map::new();
    let map = v["volumeAttributes"].as_object().unwrap_or(&empty);
    out.put(2, "VolumeAttributes:\t");
    if map.is_empty() {
        out.put(0, "<none>\n");
    }
    for (i, (k, x)) in map.iter().enumerate() {
        out.put(
            0,
            format!(
                "{}{k}={}\n",
                if i == 0 { "  " } else { "      \t  " },
                scalar(x)
            ),
        );
    }
}

fn downward_items(out: &mut Out, v: &Value) {
    for item in list(v, "items") {
        let from = if item["fieldRef"].is_null() {
            s(&item["resourceFieldRef"], "resource")
        } else {
            s(&item["fieldRef"], "fieldPath")
        };
        out.put(3, format!("{from} -> {}\n", s(item, "path")));
    }
}

fn projected(out: &mut Out, v: &Value) {
    out.put(
        2,
        "Type:\tProjected (a volume that contains injected data from multiple sources)\n",
    );
    for source in list(v, "sources") {
        if !source["secret"].is_null() {
            out.put(
                2,
                format!(
                    "SecretName:\t{}\n    Optional:\t{}\n",
                    s(&source["secret"], "name"),
                    optional(&source["secret"])
                ),
            );
        } else if !source["downwardAPI"].is_null() {
            out.put(2, "DownwardAPI:\ttrue\n");
        } else if !source["configMap"].is_null() {
            out.put(
                2,
                format!(
                    "ConfigMapName:\t{}\n    Optional:\t{}\n",
                    s(&source["configMap"], "name"),
                    optional(&source["configMap"])
                ),
            );
        } else if !source["serviceAccountToken"].is_null() {
            out.put(
                2,
                format!(
                    "TokenExpirationSeconds:\t{}\n",
                    n(&source["serviceAccountToken"], "expirationSeconds")
                ),
            );
        } else if !source["clusterTrustBundle"].is_null() {
            out.put(
                2,
                format!(
                    "ClusterTrustBundle:\t{}\n",
                    s(&source["clusterTrustBundle"], "name")
                ),
            );
        }
    }
}
