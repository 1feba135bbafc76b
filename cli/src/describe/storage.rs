//! Persistent volumes, claims and storage classes.
//! Invariant: what uses a claim is looked up, not guessed.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/describe/describe.go`.

use super::text::{
    annotations, format_labels, head, labels, list, multiline, s, scalar, texts, yes_or_unset,
};
use super::{Kube, Out, quantity, volumes};
use crate::client::segment;
use crate::error::Result;
use crate::print::age::since;
use serde_json::Value;

fn modes(v: &Value) -> String {
    let short = |m: &String| match m.as_str() {
        "ReadWriteOnce" => "RWO".to_string(),
        "ReadOnlyMany" => "ROX".into(),
        "ReadWriteMany" => "RWX".into(),
        "ReadWriteOncePod" => "RWOP".into(),
        other => other.into(),
    };
    texts(v, "accessModes")
        .iter()
        .map(short)
        .collect::<Vec<_>>()
        .join(",")
}

fn status(o: &Value) -> String {
    let d = &o["metadata"]["deletionTimestamp"];
    if d.is_null() {
        s(&o["status"], "phase").into()
    } else {
        format!("Terminating (lasts {})", since(d))
    }
}

fn class_of(o: &Value) -> String {
    o["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"]
        .as_str()
        .unwrap_or_else(|| s(&o["spec"], "storageClassName"))
        .to_string()
}

pub async fn volume(kube: Kube, o: Value) -> Result<Out> {
    let mut out = Out::default();
    let spec = &o["spec"];
    head(&mut out, &o);
    out.field(
        "Finalizers",
        format!("[{}]", texts(&o["metadata"], "finalizers").join(" ")),
    );
    out.field("StorageClass", class_of(&o));
    out.field("Status", status(&o));
    let claim = &spec["claimRef"];
    out.field(
        "Claim",
        if claim.is_null() {
            String::new()
        } else {
            format!("{}/{}", s(claim, "namespace"), s(claim, "name"))
        },
    );
    out.field("Reclaim Policy", s(spec, "persistentVolumeReclaimPolicy"));
    out.field("Access Modes", modes(spec));
    if !spec["volumeMode"].is_null() {
        out.field("VolumeMode", s(spec, "volumeMode"));
    }
    out.field(
        "Capacity",
        quantity::canonical(&scalar(&spec["capacity"]["storage"])),
    );
    affinity(&mut out, &spec["nodeAffinity"]);
    out.field("Message", s(&o["status"], "message"));
    out.put(0, "Source:\n");
    volumes::source(&mut out, spec);
    kube.events(&mut out, &o).await;
    Ok(out)
}

fn affinity(out: &mut Out, v: &Value) {
    out.put(0, "Node Affinity:\t");
    if v["required"].is_null() {
        out.put(0, "<none>\n");
        return;
    }
    out.put(0, "\n");
    let terms = list(&v["required"], "nodeSelectorTerms");
    out.put(
        1,
        format!(
            "Required Terms:\t{}\n",
            if terms.is_empty() { "<none>" } else { "" }
        ),
    );
    for (i, term) in terms.iter().enumerate() {
        let lines: Vec<String> = list(term, "matchExpressions")
            .iter()
            .map(|e| {
                let values = texts(e, "values");
                let of = if values.is_empty() {
                    String::new()
                } else {
                    format!(" [{}]", values.join(", "))
                };
                format!("{} {}{of}", s(e, "key"), s(e, "operator").to_lowercase())
            })
            .collect();
        multiline(out, &format!("    Term {i}"), &lines);
    }
}

pub async fn claim(kube: Kube, o: Value) -> Result<Out> {
    let mut out = Out::default();
    let (m, spec) = (&o["metadata"], &o["spec"]);
    out.field("Name", s(m, "name"));
    out.field("Namespace", s(m, "namespace"));
    out.field("StorageClass", class_of(&o));
    out.field("Status", status(&o));
    out.field("Volume", s(spec, "volumeName"));
    labels(&mut out, "Labels", &m["labels"]);
    annotations(&mut out, "Annotations", &m["annotations"]);
    out.field(
        "Finalizers",
        format!("[{}]", texts(m, "finalizers").join(" ")),
    );
    let bound = !s(spec, "volumeName").is_empty();
    out.field(
        "Capacity",
        if bound {
            quantity::canonical(&scalar(&o["status"]["capacity"]["storage"]))
        } else {
            String::new()
        },
    );
    out.field(
        "Access Modes",
        if bound {
            modes(&o["status"])
        } else {
            String::new()
        },
    );
    if !spec["volumeMode"].is_null() {
        out.field("VolumeMode", s(spec, "volumeMode"));
    }
    if !spec["dataSource"].is_null() {
        out.put(0, "DataSource:\n");
        for (label, field) in [("APIGroup", "apiGroup"), ("Kind", "kind"), ("Name", "name")] {
            if !spec["dataSource"][field].is_null() {
                out.put(1, format!("{label}:\t{}\n", s(&spec["dataSource"], field)));
            }
        }
    }
    let pods = kube
        .items(
            &format!("/api/v1/namespaces/{}/pods", segment(s(m, "namespace"))),
            &[],
        )
        .await;
    let uses = |p: &&Value| {
        list(&p["spec"], "volumes")
            .iter()
            .any(|v| v["persistentVolumeClaim"]["claimName"] == m["name"])
    };
    let users: Vec<String> = pods
        .iter()
        .filter(uses)
        .map(|p| s(&p["metadata"], "name").to_string())
        .collect();
    multiline(&mut out, "Used By", &users);
    kube.events(&mut out, &o).await;
    Ok(out)
}

pub async fn class(kube: Kube, o: Value) -> Result<Out> {
    let mut out = Out::default();
    let m = &o["metadata"];
    let default = [
        "storageclass.kubernetes.io/is-default-class",
        "storageclass.beta.kubernetes.io/is-default-class",
    ]
    .iter()
    .any(|k| m["annotations"][*k] == "true");
    out.field("Name", s(m, "name"));
    out.field("IsDefaultClass", if default { "Yes" } else { "No" });
    out.field("Annotations", format_labels(&m["annotations"]));
    out.field("Provisioner", s(&o, "provisioner"));
    out.field("Parameters", format_labels(&o["parameters"]));
    out.field(
        "AllowVolumeExpansion",
        yes_or_unset(&o["allowVolumeExpansion"]),
    );
    if list(&o, "mountOptions").is_empty() {
        out.put(0, "MountOptions:\t<none>\n");
    } else {
        out.put(0, "MountOptions:\n");
        texts(&o, "mountOptions")
            .iter()
            .for_each(|t| out.put(1, format!("{t}\n")));
    }
    for (label, field) in [
        ("ReclaimPolicy", "reclaimPolicy"),
        ("VolumeBindingMode", "volumeBindingMode"),
    ] {
        if !o[field].is_null() {
            out.field(label, s(&o, field));
        }
    }
    kube.events(&mut out, &o).await;
    Ok(out)
}
