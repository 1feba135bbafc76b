//! The volume claims of a StatefulSet's pods: made before the pod, and kept or given up as the set's policy says.
//!
//! Invariant: a claim that someone else controls is left alone. Follows pkg/controller/statefulset/stateful_pod_control.go and
//! stateful_set_utils.go (updateClaimOwnerRefForSetAndPod).

use k8s_openapi::{
    api::{apps::v1::StatefulSet, core::v1::PersistentVolumeClaim},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use skiff_podspec::pod::Pod;

use super::{Controller, identity};
use crate::{
    owners::{controller_of, controller_ref},
    prelude::*,
};

/// When claims go with what used them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Policy {
    delete_when_scaled: bool,
    delete_when_deleted: bool,
}

fn policy(set: &StatefulSet) -> Policy {
    let policy = set.spec().persistent_volume_claim_retention_policy.as_ref();
    let deletes = |value: Option<&String>| value.is_some_and(|v| v == "Delete");
    Policy {
        delete_when_scaled: deletes(policy.and_then(|p| p.when_scaled.as_ref())),
        delete_when_deleted: deletes(policy.and_then(|p| p.when_deleted.as_ref())),
    }
}

fn points_at(reference: &OwnerReference, owner: &OwnerReference) -> bool {
    reference.kind == owner.kind
        && reference.api_version == owner.api_version
        && reference.name == owner.name
}

/// Whether something else than the set and the pod controls the claim.
fn has_other_controller(
    claim: &PersistentVolumeClaim,
    set: &OwnerReference,
    pod: &OwnerReference,
) -> bool {
    controller_of(&claim.metadata).is_some_and(|r| !points_at(r, set) && !points_at(r, pod))
}

/// The owners that a claim should have.
fn owners(claim: &PersistentVolumeClaim, set: &StatefulSet, pod: &Pod) -> Vec<OwnerReference> {
    let (set_ref, pod_ref) = (controller_ref(set), controller_ref(pod));
    let mut owners = claim.metadata.owner_references.clone().unwrap_or_default();
    owners.retain(|r| !points_at(r, &set_ref) && !points_at(r, &pod_ref));
    if has_other_controller(claim, &set_ref, &pod_ref) {
        return owners;
    }
    let scaled_down =
        identity::ordinal(pod).is_none_or(|ordinal| !identity::in_range(set, ordinal));
    let owner = match policy(set) {
        Policy {
            delete_when_scaled: true,
            ..
        } if scaled_down => Some(pod_ref),
        Policy {
            delete_when_deleted: true,
            delete_when_scaled,
        } if !delete_when_scaled || !scaled_down => Some(set_ref),
        _ => None,
    };
    owners.extend(owner);
    owners
}

fn same_owners(a: &[OwnerReference], b: &[OwnerReference]) -> bool {
    a.len() == b.len()
        && a.iter().all(|r| {
            b.iter()
                .any(|s| r.uid == s.uid && r.controller == s.controller && r.name == s.name)
        })
}

impl Controller {
    fn known_claims(&self, set: &StatefulSet, pod: &Pod) -> Vec<Arc<PersistentVolumeClaim>> {
        let claims = identity::claims(set, identity::ordinal(pod).unwrap_or(-1));
        claims
            .values()
            .filter_map(|claim| self.claims.get(&Key::of(&claim.metadata)))
            .collect()
    }

    /// Whether a claim still belongs to an earlier pod of the same name, and will go with it.
    pub fn claim_is_stale(&self, set: &StatefulSet, pod: &Pod) -> bool {
        if !policy(set).delete_when_scaled {
            return false;
        }
        let stale = |r: &OwnerReference| {
            r.kind == "Pod"
                && r.name == pod.metadata.name()
                && Some(&r.uid) != pod.metadata.uid.as_ref()
        };
        self.known_claims(set, pod)
            .iter()
            .any(|claim| claim.metadata.owner_references.iter().flatten().any(stale))
    }

    /// Makes the pod's claims that are missing.
    pub async fn create_claims(
        &self,
        key: &Key,
        set: &StatefulSet,
        pod: &Pod,
    ) -> Result<(), Error> {
        let mut errors = Vec::new();
        for claim in identity::claims(set, identity::ordinal(pod).unwrap_or(-1)).into_values() {
            let claim_name = claim.metadata.name().to_string();
            let about = |what: &str| {
                format!(
                    "Create Claim {claim_name} {what}Pod {} in StatefulSet {} ",
                    pod.metadata.name(),
                    key.name()
                )
            };
            match self.claims.get(&Key::of(&claim.metadata)) {
                Some(known) if known.metadata.deletion_timestamp.is_some() => {
                    errors.push(failed!("pvc {claim_name} is being deleted"))
                }
                Some(_) => {}
                None => match self.api.create_quietly(&claim).await {
                    Ok(made) => {
                        self.claims.note(key, &made);
                        self.recorder
                            .normal(set, "SuccessfulCreate", about("") + "success");
                    }
                    Err(e) => {
                        if !e.is_already_exists() {
                            self.recorder.warning(
                                set,
                                "FailedCreate",
                                about("for ") + &format!("failed error: {e}"),
                            );
                        }
                        errors.push(failed!("failed to create PVC {claim_name}: {e}"));
                    }
                },
            }
        }
        Error::collect(errors)
    }

    /// Whether the pod's claims have the owners that the policy wants.
    pub fn claims_fit(&self, set: &StatefulSet, pod: &Pod) -> bool {
        let fits = |claim: &Arc<PersistentVolumeClaim>| {
            same_owners(
                &owners(claim, set, pod),
                claim.metadata.owner_references.as_deref().unwrap_or(&[]),
            )
        };
        self.known_claims(set, pod).iter().all(fits)
    }

    /// Gives the pod's claims the owners that the policy wants.
    pub async fn fit_claims(&self, key: &Key, set: &StatefulSet, pod: &Pod) -> Result<(), Error> {
        for claim in self.known_claims(set, pod) {
            let claim_name = claim.metadata.name();
            if has_other_controller(&claim, &controller_ref(set), &controller_ref(pod)) {
                let message = format!(
                    "PersistentVolumeClaim {claim_name} has a conflicting OwnerReference that acts as a manging controller, the retention policy is ignored for this claim"
                );
                self.recorder.warning(set, "ConflictingController", message);
            }
            let wanted = owners(&claim, set, pod);
            if same_owners(
                &wanted,
                claim.metadata.owner_references.as_deref().unwrap_or(&[]),
            ) {
                continue;
            }
            let mut update = (*claim).clone();
            update.metadata.owner_references = (!wanted.is_empty()).then_some(wanted);
            let written = self.api.update(&update).await;
            let written = written.map_err(|e| {
                failed!("could not update claim {claim_name} for delete policy ownerRefs: {e}")
            })?;
            self.claims.note(key, &written.metadata);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::apps::v1::{
        StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
    };

    #[test]
    fn who_owns_a_claim() {
        let set = |scaled: &str, deleted: &str| {
            let policy = StatefulSetPersistentVolumeClaimRetentionPolicy {
                when_scaled: Some(scaled.into()),
                when_deleted: Some(deleted.into()),
            };
            let spec = StatefulSetSpec {
                replicas: Some(1),
                persistent_volume_claim_retention_policy: Some(policy),
                ..Default::default()
            };
            let mut set = StatefulSet {
                spec: Some(spec),
                ..Default::default()
            };
            set.metadata.name = Some("web".into());
            set
        };
        let pod = |pod_name: &str| {
            let mut pod = Pod::default();
            pod.metadata.name = Some(pod_name.into());
            pod
        };
        for (scaled, deleted, pod_name, expected) in [
            ("Retain", "Retain", "web-0", None),
            ("Retain", "Delete", "web-0", Some("StatefulSet")),
            ("Retain", "Delete", "web-1", Some("StatefulSet")),
            ("Delete", "Retain", "web-0", None),
            ("Delete", "Retain", "web-1", Some("Pod")),
            ("Delete", "Delete", "web-0", Some("StatefulSet")),
            ("Delete", "Delete", "web-1", Some("Pod")),
        ] {
            let got = owners(
                &PersistentVolumeClaim::default(),
                &set(scaled, deleted),
                &pod(pod_name),
            );
            assert_eq!(
                got.first().map(|r| r.kind.as_str()),
                expected,
                "{scaled} {deleted} {pod_name}"
            );
        }
    }
}
