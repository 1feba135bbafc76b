//! PersistentVolumes: how large, of what, reached from where; the last two stay.
//!
//! Invariant: what a volume is made of never changes. Follows `ValidatePersistentVolume*` of `pkg/apis/core/validation/validation.go`,
//! `pkg/volume/validation/pv_validation.go`, `pkg/registry/core/persistentvolume/strategy.go` and `pkg/api/persistentvolume/util.go`.

mod sources;

use crate::kinds::prelude::*;
use crate::kinds::rows::core::pod::defaults;
use crate::kinds::rows::core::pod::defaults::amounts;
use crate::kinds::validation::checks::{immutable, invalid_shown, one_of, subdomain};
use crate::kinds::validation::pod::affinity;
use crate::kinds::validation::pod::resources::quantity;
use crate::kinds::validation::pod::warnings::deprecated_node_label;
use crate::kinds::validation::{diff, pod};
use crate::machinery::meta::child_mut;
use crate::machinery::storage::OLD_CLASS;

pub const STRATEGY: Strategy = Strategy {
    defaults: volume_defaults,
    prepare_for_create: |volume| volume["status"] = json!({"phase": "Pending"}),
    stamp: Some(stamp),
    validate: |volume| {
        let mut errors = validate(volume, false);
        mount_options(volume, &mut errors);
        errors
    },
    validate_update,
    validate_status_update: |new, _| Errors::of(|errors| checks::version_required(new, errors)),
    warnings,
    ..Strategy::DEFAULT
};

fn volume_defaults(volume: &mut Value) {
    let spec = fill::spec(volume);
    fill::text(spec, "persistentVolumeReclaimPolicy", "Retain");
    fill::absent(spec, "volumeMode", "Filesystem");
    source_defaults(spec);
    fill::text(child_mut(volume, "status"), "phase", "Pending");
}

/// Of a volume's spec, wherever it stands: how much it holds, and where it lies.
pub fn source_defaults(spec: &mut Map<String, Value>) {
    amounts(spec, "capacity");
    defaults::sources(spec);
}

/// When the phase last changed, unless the writer says it.
fn stamp(new: &mut Value, old: Option<&Value>, stamp: &Stamp<'_>) {
    const FIELD: &str = "lastPhaseTransitionTime";
    let had = old.map_or(&Value::Null, |old| old.at("status").at(FIELD));
    let same = old.is_some_and(|old| old.at("status").at("phase") == new.at("status").at("phase"));
    let time = new.at("status").at(FIELD);
    let set = match same {
        true if time.is_null() => had.clone(),
        false if time.is_null() || time == had => stamp.now.into(),
        _ => return,
    };
    if !set.is_null() {
        new["status"][FIELD] = set;
    }
}

fn validate(volume: &Value, odd_affinity: bool) -> Errors {
    let place = Place::Own { odd_affinity };
    let mut errors = Errors::default();
    validate_spec(
        volume.at("spec"),
        volume.name(),
        place,
        &Path::new("spec"),
        &mut errors,
    );
    errors
}

/// Where the description of a volume stands.
#[derive(Clone, Copy)]
pub enum Place {
    /// In a volume.
    Own {
        /// Values that are no labels' may be asked for, as they were before.
        odd_affinity: bool,
    },
    /// In place of one, in what attaches it: of a driver, whole, and no one else's.
    Inline,
}

/// Of a volume's spec, wherever it stands. Follows `ValidatePersistentVolumeSpec`.
pub fn validate_spec(spec: &Value, name: &str, place: Place, path: &Path, errors: &mut Errors) {
    const HERE: &str = "in the context of inline volumes";
    let policy_path = path.child("persistentVolumeReclaimPolicy");
    let inline = matches!(place, Place::Inline);
    let not_here = |field: &str, errors: &mut Errors| {
        errors.forbidden(&path.child(field), format!("may not be specified {HERE}"));
    };
    if inline {
        if spec.some("claimRef").is_some() {
            not_here("claimRef", errors);
        }
        if spec.entries("capacity").next().is_some() {
            not_here("capacity", errors);
        }
        if spec.some("csi").is_none() {
            errors.required(&path.child("csi"), format!("has to be specified {HERE}"));
        }
    }
    if spec.list("accessModes").is_empty() {
        errors.required(&path.child("accessModes"), "");
    }
    pod::access_modes(spec, &path.child("accessModes"), errors);
    if !inline {
        capacity(spec, &path.child("capacity"), errors);
    }
    let policy = spec.text("persistentVolumeReclaimPolicy");
    match (policy, inline) {
        ("", _) | ("Retain", true) => {}
        (_, true) => errors.forbidden(&policy_path, format!("may only be Retain {HERE}")),
        (policy, false) => one_of(
            policy,
            &["Delete", "Recycle", "Retain"],
            &policy_path,
            errors,
        ),
    }
    match (spec.some("nodeAffinity"), place) {
        (Some(_), Place::Inline) => not_here("nodeAffinity", errors),
        (Some(affinity), Place::Own { odd_affinity }) => {
            node_affinity(affinity, odd_affinity, path, errors)
        }
        (None, _) => {}
    }
    sources::validate(spec, name, path, errors);
    let is_root = |host: &Value| {
        let mut parts = host.text("path").split('/');
        !host.text("path").is_empty() && parts.all(|part| matches!(part, "" | "."))
    };
    if spec.some("hostPath").is_some_and(is_root) && policy == "Recycle" {
        errors.forbidden(
            &policy_path,
            "may not be 'recycle' for a hostPath mount of '/'",
        );
    }
    classes(spec, inline, path, errors);
}

fn node_affinity(affinity: &Value, odd_affinity: bool, path: &Path, errors: &mut Errors) {
    let path = path.child("nodeAffinity").child("required").to_string();
    let path = Path::new(&path);
    match affinity.some("required") {
        Some(selector) => affinity::node_selector(selector, odd_affinity, &path, errors),
        None => errors.required(&path, "must specify required node constraints"),
    }
}

fn capacity(spec: &Value, path: &Path, errors: &mut Errors) {
    let count = spec.entries("capacity").count();
    if count == 0 {
        errors.required(path, "");
    }
    if spec.at("capacity").some("storage").is_none() || count > 1 {
        errors.not_supported(
            path,
            spec.some("capacity").cloned().unwrap_or_default(),
            &["storage"],
        );
    }
    for (name, value) in spec.entries("capacity") {
        let (path, value) = (path.key(name), quantity(value));
        if value.value() < 0 {
            errors.invalid(&path, value.value(), "must be a valid resource quantity");
        }
        if value.sign() <= 0 {
            errors.invalid(&path, value.to_string(), "must be greater than zero");
        }
    }
}

fn classes(spec: &Value, inline: bool, path: &Path, errors: &mut Errors) {
    let class_path = path.child("storageClassName");
    match (spec.text("storageClassName"), inline) {
        ("", _) => {}
        (_, true) => errors.forbidden(
            &class_path,
            "may not be specified in the context of inline volumes",
        ),
        (class, false) => subdomain(class, &class_path, errors),
    }
    let mode_path = path.child("volumeMode");
    match (spec.text_ptr("volumeMode"), inline) {
        (None, _) | (Some("Filesystem"), true) => {}
        (Some(_), true) => errors.forbidden(
            &mode_path,
            "may not specify volumeMode other than Filesystem in the context of inline volumes",
        ),
        (Some(mode), false) => one_of(mode, &["Block", "Filesystem"], &mode_path, errors),
    }
    if inline {
        return;
    }
    if let Some(class) = spec.text_ptr("volumeAttributesClassName") {
        match class {
            "" => errors.required(
                &path.child("volumeAttributesClassName"),
                "an empty string is disallowed",
            ),
            class => subdomain(class, &path.child("volumeAttributesClassName"), errors),
        }
        if spec.some("csi").is_none() {
            errors.required(
                &path.child("csi"),
                "has to be specified when using volumeAttributesClassName",
            );
        }
    }
}

/// The annotation of mount options is for the sources that are mounted by them.
fn mount_options(volume: &Value, errors: &mut Errors) {
    const MOUNTED: [&str; 13] = [
        "gcePersistentDisk",
        "awsElasticBlockStore",
        "glusterfs",
        "nfs",
        "rbd",
        "quobyte",
        "iscsi",
        "cinder",
        "cephfs",
        "azureFile",
        "vsphereVolume",
        "azureDisk",
        "photonPersistentDisk",
    ];
    let mounted = MOUNTED
        .iter()
        .any(|name| volume.at("spec").some(name).is_some());
    if !mounted && volume.annotation(MOUNT_OPTIONS).is_some() {
        let path = Path::new("metadata");
        errors.forbidden(
            &path.child("annotations").child(MOUNT_OPTIONS),
            "may not specify mount options for this volume type",
        );
    }
}

const MOUNT_OPTIONS: &str = "volume.beta.kubernetes.io/mount-options";

/// What the volume is made of.
fn source(spec: &Value) -> Value {
    sources::names()
        .filter_map(|name| Some((name.to_string(), spec.some(name)?.clone())))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn validate_update(new: &Value, old: &Value) -> Errors {
    let (now, before, path) = (new.at("spec"), old.at("spec"), Path::new("spec"));
    let required = before.at("nodeAffinity").some("required");
    let odd = required.is_some_and(|selector| {
        let told = |odd: bool| {
            checks::is_good(|errors| affinity::node_selector(selector, odd, &Path::new(""), errors))
        };
        told(true) && !told(false)
    });
    let mut errors = validate(new, odd);
    mount_options(new, &mut errors);
    // upstream tells of the same mistakes anew
    errors.extend(validate(new, odd));
    let (mut made_of, was_made_of) = (source(now), source(before));
    const EXPAND: &str = "controllerExpandSecretRef";
    if before
        .some("csi")
        .is_some_and(|csi| csi.some(EXPAND).is_none())
    {
        // a secret may be given once
        if let Some(csi) = made_of.get_mut("csi").and_then(Value::as_object_mut) {
            csi.remove(EXPAND);
        }
    }
    if made_of != was_made_of {
        let shown = |source: &Value| internal::pretty(source, "core.PersistentVolumeSource");
        let difference = diff::unified(&shown(&was_made_of), &shown(&made_of));
        errors.forbidden(
            &path.child("persistentvolumesource"),
            format!("spec.persistentvolumesource is immutable after creation\n{difference}"),
        );
    }
    immutable(
        now.some("volumeMode"),
        before.some("volumeMode"),
        &Path::new("volumeMode"),
        &mut errors,
    );
    if let Some(was) = before.some("nodeAffinity")
        && !same_nodes(now.at("nodeAffinity"), was)
    {
        let shown = now.some("nodeAffinity").map_or("null".into(), |affinity| {
            internal::json(affinity, "core.VolumeNodeAffinity")
        });
        invalid_shown(
            &shown,
            "field is immutable, except for updating from beta label to GA",
            &Path::new("nodeAffinity"),
            &mut errors,
        );
    }
    if before.some("volumeAttributesClassName").is_some()
        && now.some("volumeAttributesClassName").is_none()
    {
        errors.forbidden(
            &path.child("volumeAttributesClassName"),
            "update from non-nil value to nil is forbidden",
        );
    }
    errors
}

/// The same nodes, be they named by labels that have become stable meanwhile.
fn same_nodes(new: &Value, old: &Value) -> bool {
    const STABLE: [(&str, &str); 5] = [
        ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
        ("beta.kubernetes.io/os", "kubernetes.io/os"),
        (
            "failure-domain.beta.kubernetes.io/region",
            "topology.kubernetes.io/region",
        ),
        (
            "failure-domain.beta.kubernetes.io/zone",
            "topology.kubernetes.io/zone",
        ),
        (
            "beta.kubernetes.io/instance-type",
            "node.kubernetes.io/instance-type",
        ),
    ];
    match (new, old) {
        (Value::Object(a), Value::Object(b)) => {
            let key = |(name, now): (&String, &Value)| {
                let was = b.get(name).unwrap_or(&Value::Null);
                // what has no stable name may become empty, which is refused for what it is
                let stable = || {
                    let known = STABLE.iter().find(|(beta, _)| was == beta);
                    known.map_or("", |(_, stable)| stable)
                };
                let became = || now == stable();
                same_nodes(now, was) || name == "key" && became()
            };
            a.len() == b.len() && a.iter().all(key)
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_nodes(a, b))
        }
        _ => new == old,
    }
}

fn warnings(volume: &Value, _: Option<&Value>) -> Warnings {
    let spec = volume.at("spec");
    let mut told = Vec::new();
    for (key, field, version) in [
        (OLD_CLASS, "storageClassName", "v1.8"),
        (MOUNT_OPTIONS, "mountOptions", "v1.31"),
    ] {
        if volume.annotation(key).is_some() {
            told.push(format!("metadata.annotations[{key}]: deprecated since {version}; use \"{field}\" attribute instead"));
        }
    }
    if spec.text("persistentVolumeReclaimPolicy") == "Recycle" {
        told.push(
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning."
                .into(),
        );
    }
    for (at, term) in spec
        .at("nodeAffinity")
        .at("required")
        .list("nodeSelectorTerms")
        .iter()
        .enumerate()
    {
        for (index, one) in term.list("matchExpressions").iter().enumerate() {
            let key = one.text("key");
            let place = format!(
                "spec.nodeAffinity.required.nodeSelectorTerms[{at}].matchExpressions[{index}].key"
            );
            told.extend(deprecated_node_label(key).map(|text| format!("{place}: {key} is {text}")));
        }
    }
    for (name, shown, deprecated, gone) in [
        ("cephfs", "cephfs", "v1.28", "v1.31"),
        (
            "photonPersistentDisk",
            "photonPersistentDisk",
            "v1.11",
            "v1.16",
        ),
        ("scaleIO", "scaleIO", "v1.16", "v1.22"),
        ("storageos", "storageOS", "v1.22", "v1.25"),
        ("glusterfs", "glusterfs", "v1.25", "v1.26"),
        ("rbd", "rbd", "v1.28", "v1.31"),
    ] {
        if spec.some(name).is_some() {
            told.push(format!(
                "spec.{shown}: deprecated in {deprecated}, non-functional in {gone}+"
            ));
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(change: impl FnOnce(&mut Value)) -> Value {
        let mut volume = json!({"metadata": {"name": "v"}, "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/tmp"}}});
        volume_defaults(&mut volume);
        change(&mut volume["spec"]);
        volume
    }

    #[test]
    fn what_is_refused() {
        let local = |spec: &mut Value| {
            spec.as_object_mut().unwrap().remove("hostPath");
            spec["local"] = json!({"path": "/a"});
        };
        assert!(validate(&volume(|_| {}), false).is_empty());
        assert_eq!(
            validate(&volume(local), false).message(),
            "spec.nodeAffinity: Required value: Local volume requires node affinity"
        );
        for (name, value, said) in [
            (
                "nfs",
                json!({"server": "a", "path": "/"}),
                "spec.nfs: Forbidden: may not specify more than 1 volume type",
            ),
            (
                "capacity",
                json!({"storage": "0"}),
                "spec.capacity[storage]: Invalid value: \"0\": must be greater than zero",
            ),
            ("accessModes", json!([]), "spec.accessModes: Required value"),
            (
                "persistentVolumeReclaimPolicy",
                json!("x"),
                "spec.persistentVolumeReclaimPolicy: Unsupported value: \"x\": supported values: \"Delete\", \"Recycle\", \"Retain\"",
            ),
        ] {
            assert_eq!(
                validate(&volume(|spec| spec[name] = value), false).message(),
                said
            );
        }
    }

    #[test]
    fn what_a_volume_is_made_of_stays() {
        let said = validate_update(
            &volume(|spec| spec["hostPath"]["path"] = "/other".into()),
            &volume(|_| {}),
        )
        .message();
        assert!(said.starts_with("spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation\n@@ "), "{said}");
        let zone = |key: &str| {
            let term =
                json!({"matchExpressions": [{"key": key, "operator": "In", "values": ["a"]}]});
            volume(|spec| spec["nodeAffinity"] = json!({"required": {"nodeSelectorTerms": [term]}}))
        };
        let (beta, stable) = (
            "failure-domain.beta.kubernetes.io/zone",
            "topology.kubernetes.io/zone",
        );
        assert!(validate_update(&zone(stable), &zone(beta)).is_empty());
        assert_eq!(validate_update(&zone(beta), &zone(stable)).len(), 1);
        assert!(validate_update(&zone(stable), &volume(|_| {})).is_empty());
    }

    #[test]
    fn times_of_phases() {
        const NOW: &str = "2026-01-02T03:04:05Z";
        let status = |phase: &str, time: Value| json!({"status": {"phase": phase, "lastPhaseTransitionTime": time}});
        for (old, new, expected) in [
            (None, status("Pending", Value::Null), json!(NOW)),
            (
                Some(status("Pending", json!("T"))),
                status("Pending", Value::Null),
                json!("T"),
            ),
            (
                Some(status("Pending", json!("T"))),
                status("Available", json!("T")),
                json!(NOW),
            ),
            (
                Some(status("Pending", json!("T"))),
                status("Available", json!("U")),
                json!("U"),
            ),
            (
                Some(status("Pending", json!("T"))),
                status("Pending", json!("U")),
                json!("U"),
            ),
            (
                Some(status("Pending", Value::Null)),
                status("Pending", Value::Null),
                Value::Null,
            ),
        ] {
            let mut changed = new.clone();
            stamp(
                &mut changed,
                old.as_ref(),
                &Stamp {
                    now: NOW,
                    user: &Value::Null,
                },
            );
            assert_eq!(
                changed["status"]["lastPhaseTransitionTime"], expected,
                "{old:?} {new}"
            );
        }
    }
}
