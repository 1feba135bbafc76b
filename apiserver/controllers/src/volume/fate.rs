//! What is to become of claims and volumes.
//!
//! Invariant: pure; a claim that was bound once is never given another volume. Follows
//! pkg/controller/volume/persistentvolume/pv_controller.go (syncUnboundClaim, syncBoundClaim, syncVolume).

use k8s_openapi::api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim},
    storage::v1::StorageClass,
};

use super::decide;
use crate::prelude::*;
use skiff_api::machinery::quote::GoQuoted;
use skiff_podspec::storage::{
    BIND_COMPLETED, BOUND_BY_CONTROLLER, PROVISIONED_BY, SELECTED_NODE, class_of_claim, named_class,
};

/// What provisioners are called that are, or once were, built in.
const BUILT_IN: &str = "kubernetes.io/";

/// The driver that has taken over from a provisioner that was once built in. Follows `k8s.io/csi-translation-lib/plugins`.
const DRIVERS: [(&str, &str); 7] = [
    ("kubernetes.io/aws-ebs", "ebs.csi.aws.com"),
    ("kubernetes.io/azure-disk", "disk.csi.azure.com"),
    ("kubernetes.io/azure-file", "file.csi.azure.com"),
    ("kubernetes.io/cinder", "cinder.csi.openstack.org"),
    ("kubernetes.io/gce-pd", "pd.csi.storage.gke.io"),
    ("kubernetes.io/portworx-volume", "pxd.portworx.com"),
    ("kubernetes.io/vsphere-volume", "csi.vsphere.vmware.com"),
];

/// Who is to make the volumes of a class with this provisioner.
pub fn driver(provisioner: &str) -> &str {
    let found = DRIVERS.iter().find(|(old, _)| *old == provisioner);
    found.map_or(provisioner, |(_, driver)| driver)
}

/// An event about a claim.
#[derive(Debug, PartialEq)]
pub struct Told {
    pub kind: EventType,
    pub reason: &'static str,
    pub message: String,
}

fn warning(reason: &'static str, message: impl Into<String>) -> Told {
    Told {
        kind: EventType::Warning,
        reason,
        message: message.into(),
    }
}

fn normal(reason: &'static str, message: impl Into<String>) -> Told {
    Told {
        kind: EventType::Normal,
        reason,
        message: message.into(),
    }
}

/// What is to become of a claim.
#[derive(Debug)]
pub enum Fate {
    /// Nothing any more: it is on its way out.
    Leave,
    /// It waits for a volume; what is told of that.
    Wait(Option<Told>),
    /// This volume is its own, or is to be.
    Bind(Arc<PersistentVolume>),
    /// Its volume is lost for good.
    Lose(Told),
    /// It said nothing of a class when there was no default one: now there is, and it is of that.
    Classify(String),
    /// The provisioner of its class is to make a volume.
    Provision(Arc<StorageClass>),
}

/// What a claim's fate hangs on.
pub struct Known<'a> {
    /// The volume that the claim names.
    pub named: Option<Arc<PersistentVolume>>,
    pub volumes: &'a dyn Fn() -> Vec<Arc<PersistentVolume>>,
    pub class: Option<Arc<StorageClass>>,
    /// The default class of those that say nothing of one.
    pub default: &'a dyn Fn() -> Option<String>,
    /// The names of pods that use the claim.
    pub users: &'a dyn Fn() -> Vec<String>,
}

/// Decides about a claim; fails when what it names cannot be its own, or cannot be read.
pub fn of_claim(claim: &PersistentVolumeClaim, known: &Known) -> Result<Fate, Error> {
    let wanted = claim.spec().volume_name.as_deref().unwrap_or("");
    if claim.metadata.annotation(BIND_COMPLETED).is_some() {
        return Ok(bound(claim, wanted, known));
    }
    match wanted {
        _ if claim.metadata.is_deleting() => Ok(Fate::Leave),
        "" => searching(claim, known),
        wanted => naming(claim, wanted, known),
    }
}

/// One that was bound: is its volume still there, and still its own?
fn bound(claim: &PersistentVolumeClaim, wanted: &str, known: &Known) -> Fate {
    const LOST: &str = "Data on the volume is lost!";
    let Some(volume) = known.named.as_ref().filter(|_| !wanted.is_empty()) else {
        let what = if wanted.is_empty() {
            "reference to PersistentVolume"
        } else {
            "its PersistentVolume"
        };
        return Fate::Lose(warning(
            "ClaimLost",
            format!("Bound claim has lost {what}. {LOST}"),
        ));
    };
    if volume.spec().claim_ref.is_none() || decide::is_bound_to(volume, claim) {
        return Fate::Bind(volume.clone());
    }
    let message = "Two claims are bound to the same volume, this one is bound incorrectly";
    Fate::Lose(warning("ClaimMisbound", message))
}

/// One that names its volume.
fn naming(claim: &PersistentVolumeClaim, wanted: &str, known: &Known) -> Result<Fate, Error> {
    let Some(volume) = &known.named else {
        return Ok(Fate::Wait(None));
    };
    let Some(reference) = &volume.spec().claim_ref else {
        return Ok(match decide::mismatch(volume, claim)? {
            None => Fate::Bind(volume.clone()),
            Some(why) => {
                let message = format!(
                    "Cannot bind to requested volume {wanted}: {why}",
                    wanted = GoQuoted(&wanted)
                );
                Fate::Wait(Some(warning("VolumeMismatch", message)))
            }
        });
    };
    if decide::names(reference, claim) {
        return Ok(Fate::Bind(volume.clone()));
    }
    if claim.metadata.annotation(BOUND_BY_CONTROLLER).is_some() {
        let (name, other) = (claim.metadata.name(), decide::key_of(reference));
        return Err(failed!(
            "invalid binding of claim {name} to volume {wanted}: volume already claimed by {other}",
            name = GoQuoted(&name),
            wanted = GoQuoted(&wanted)
        ));
    }
    let message = format!(
        "volume {wanted} already bound to a different claim.",
        wanted = GoQuoted(&wanted)
    );
    Ok(Fate::Wait(Some(warning("FailedBinding", message))))
}

/// One that takes any volume that fits.
fn searching(claim: &PersistentVolumeClaim, known: &Known) -> Result<Fate, Error> {
    let waits = known
        .class
        .as_ref()
        .is_some_and(|c| c.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"));
    let delayed = waits && claim.metadata.annotation(SELECTED_NODE).is_none();
    if let Some(volume) = decide::best(&(known.volumes)(), claim, delayed)? {
        return Ok(Fate::Bind(volume));
    }
    if named_class(claim).is_none()
        && let Some(class) = (known.default)()
    {
        return Ok(Fate::Classify(class));
    }
    if delayed {
        return Ok(Fate::Wait(Some(what_is_waited_for((known.users)()))));
    }
    Ok(match (&known.class, class_of_claim(claim)) {
        (_, "") => {
            let message =
                "no persistent volumes available for this claim and no storage class is set";
            Fate::Wait(Some(normal("FailedBinding", message)))
        }
        (None, name) => {
            let message = format!(
                "storageclass.storage.k8s.io {name} not found",
                name = GoQuoted(&name)
            );
            Fate::Wait(Some(warning("ProvisioningFailed", message)))
        }
        (Some(class), _) if driver(&class.provisioner).starts_with(BUILT_IN) => {
            let message = format!("no volume plugin matched name: {}", class.provisioner);
            Fate::Wait(Some(warning("ProvisioningFailed", message)))
        }
        (Some(class), _) => Fate::Provision(class.clone()),
    })
}

fn what_is_waited_for(mut users: Vec<String>) -> Told {
    users.sort_unstable();
    match users.as_slice() {
        [] => normal(
            "WaitForFirstConsumer",
            "waiting for first consumer to be created before binding",
        ),
        [one] => normal(
            "WaitForPodScheduled",
            format!("waiting for pod {one} to be scheduled"),
        ),
        _ => normal(
            "WaitForPodScheduled",
            format!("waiting for pods {} to be scheduled", users.join(",")),
        ),
    }
}

/// What is to become of a volume that names a claim by its uid.
#[derive(Debug, PartialEq)]
pub enum VolumeFate {
    Bound,
    /// The claim has not been bound to it yet.
    Leave,
    /// The claim has another volume.
    Unbind,
    /// The claim is gone.
    Release,
}

/// Decides about a volume and the claim that it names.
pub fn of_volume(volume: &PersistentVolume, claim: Option<&PersistentVolumeClaim>) -> VolumeFate {
    let provisioned = volume.metadata.annotation(PROVISIONED_BY).is_some();
    match claim.map(|claim| claim.spec().volume_name.as_deref().unwrap_or("")) {
        None => VolumeFate::Release,
        Some("") => VolumeFate::Leave,
        Some(name) if name == volume.metadata.name() => VolumeFate::Bound,
        Some(_) if provisioned => VolumeFate::Release,
        Some(_) => VolumeFate::Unbind,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_str, from_value, json};

    use super::*;

    fn patched<K: serde::de::DeserializeOwned>(mut base: Value, changes: &str) -> Arc<K> {
        let changes = if changes.is_empty() {
            json!({})
        } else {
            from_str(changes).unwrap()
        };
        skiff_api::machinery::patch::merge::apply(&mut base, changes, false).unwrap();
        Arc::new(from_value(base).unwrap())
    }

    fn claim(changes: &str) -> Arc<PersistentVolumeClaim> {
        let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
        patched(
            json!({"metadata": {"name": "c", "namespace": "ns", "uid": "u"}, "spec": spec}),
            changes,
        )
    }

    fn volume(changes: &str) -> Arc<PersistentVolume> {
        let spec = json!({"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "2Gi"}});
        patched(
            json!({"metadata": {"name": "v"}, "spec": spec, "status": {"phase": "Available"}}),
            changes,
        )
    }

    #[test]
    fn claims() {
        let done = r#""annotations": {"pv.kubernetes.io/bind-completed": "yes"}"#;
        let ours = r#"{"spec": {"claimRef": {"name": "c", "namespace": "ns", "uid": "u"}}}"#;
        let other = r#"{"spec": {"claimRef": {"name": "d", "namespace": "ns", "uid": "w"}}}"#;
        let late = r#"{"provisioner": "p", "volumeBindingMode": "WaitForFirstConsumer"}"#;
        let table = r#"
            takes what fits       | {}                                                | {}     |        | bind v
            finds nothing         | {}                                                |        |        | Normal FailedBinding
            too large             | {"spec": {"resources": {"requests": {"storage": "3Gi"}}}} | {} |     | Normal FailedBinding
            on its way out        | {"metadata": {"deletionTimestamp": "2026-01-02T03:04:05Z"}} | {} |   | leave
            names one             | {"spec": {"volumeName": "v"}}                     | {}     |        | bind v
            names none            | {"spec": {"volumeName": "v"}}                     |        |        | wait
            names another class's | {"spec": {"volumeName": "v", "storageClassName": "x"}} | {} |       | Warning VolumeMismatch
            names another's       | {"spec": {"volumeName": "v"}}                     | OTHER  |        | Warning FailedBinding
            bound to another's    | {"metadata": {"annotations": {"pv.kubernetes.io/bound-by-controller": "yes"}}, "spec": {"volumeName": "v"}} | OTHER | | failed
            was bound             | {"metadata": {DONE}, "spec": {"volumeName": "v"}} | OURS   |        | bind v
            was bound half        | {"metadata": {DONE}, "spec": {"volumeName": "v"}} | {}     |        | bind v
            lost its volume       | {"metadata": {DONE}, "spec": {"volumeName": "v"}} |        |        | lose ClaimLost
            lost its name         | {"metadata": {DONE}}                              | {}     |        | lose ClaimLost
            misbound              | {"metadata": {DONE}, "spec": {"volumeName": "v"}} | OTHER  |        | lose ClaimMisbound
            no such class         | {"spec": {"storageClassName": "x"}}               |        |        | Warning ProvisioningFailed
            to be made            | {"spec": {"storageClassName": "x"}}               |        | {"provisioner": "p"} | provision
            not to be made        | {"spec": {"storageClassName": "x"}}               |        | {"provisioner": "kubernetes.io/no-provisioner"} | Warning ProvisioningFailed
            once built in         | {"spec": {"storageClassName": "x"}}               |        | {"provisioner": "kubernetes.io/gce-pd"} | provision
            waits for a pod       | {"spec": {"storageClassName": "x"}}               |        | LATE   | Normal WaitForPodScheduled
            none, and no default  | {"spec": {"storageClassName": ""}}                |        | {"metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}} | Normal FailedBinding
            none when it was made | {}                                                |        | {"metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}} | of x
            has its node          | {"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "n"}}, "spec": {"storageClassName": "x"}} | | LATE | provision
        "#;
        let table = table
            .replace("DONE", done)
            .replace("OURS", ours)
            .replace("OTHER", other)
            .replace("LATE", late);
        for [what, changes, of_volume, class, expected] in skiff_testing::table::rows(&table) {
            let volumes: Vec<_> = (!of_volume.is_empty())
                .then(|| volume(of_volume))
                .into_iter()
                .collect();
            let claim = claim(changes);
            let class: Option<Arc<StorageClass>> = (!class.is_empty())
                .then(|| patched(json!({"metadata": {"name": "x"}, "provisioner": ""}), class));
            let named_class = class.clone().filter(|_| !class_of_claim(&claim).is_empty());
            let known = Known {
                named: volumes
                    .first()
                    .filter(|_| claim.spec().volume_name.is_some())
                    .cloned(),
                volumes: &|| volumes.clone(),
                class: named_class,
                default: &|| decide::default_class(&Vec::from_iter(class.clone())),
                users: &|| vec!["p".to_string()],
            };
            let found = match of_claim(&claim, &known) {
                Ok(Fate::Leave) => "leave".into(),
                Ok(Fate::Wait(None)) => "wait".into(),
                Ok(Fate::Wait(Some(told))) => format!("{:?} {}", told.kind, told.reason),
                Ok(Fate::Bind(volume)) => format!("bind {}", volume.metadata.name()),
                Ok(Fate::Lose(told)) => format!("lose {}", told.reason),
                Ok(Fate::Classify(class)) => format!("of {class}"),
                Ok(Fate::Provision(_)) => "provision".into(),
                Err(_) => "failed".into(),
            };
            assert_eq!(found, expected, "{what}");
        }
    }

    #[test]
    fn volumes() {
        let made = r#"{"metadata": {"annotations": {"pv.kubernetes.io/provisioned-by": "p"}}}"#;
        for (of_volume_, named, expected) in [
            ("", None, VolumeFate::Release),
            ("", Some(""), VolumeFate::Leave),
            ("", Some("v"), VolumeFate::Bound),
            ("", Some("w"), VolumeFate::Unbind),
            (made, Some("w"), VolumeFate::Release),
        ] {
            let claim = named.map(|name| claim(&json!({"spec": {"volumeName": name}}).to_string()));
            assert_eq!(
                of_volume(&volume(of_volume_), claim.as_deref()),
                expected,
                "{named:?}"
            );
        }
    }
}
