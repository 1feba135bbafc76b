//! What a StatefulSet's pod is called, and what it is made of.
//!
//! Invariant: pure; name, host name, labels and claims follow from the set and the ordinal alone. Follows
//! pkg/controller/statefulset/stateful_set_utils.go.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, StatefulSet},
    core::v1::{PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, PodTemplateSpec, Volume},
};
use skiff_api::machinery::read::Read;
use skiff_podspec::pod::Pod;

use crate::{owners::controller_ref, pods, prelude::*};

/// The label that names a pod's revision.
pub const REVISION_LABEL: &str = "controller-revision-hash";
const NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
const INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";

fn parent_and_ordinal(pod: &Pod) -> Option<(&str, i32)> {
    let (parent, ordinal) = pod.metadata.name().rsplit_once('-')?;
    let canonical = !ordinal.is_empty() && ordinal.bytes().all(|b| b.is_ascii_digit());
    canonical
        .then(|| ordinal.parse().ok().map(|ordinal| (parent, ordinal)))
        .flatten()
}

/// The name of the set that a pod's own name points at.
pub fn parent(pod: &Pod) -> &str {
    parent_and_ordinal(pod).map_or("", |(parent, _)| parent)
}

/// The pod's place in its set.
pub fn ordinal(pod: &Pod) -> Option<i32> {
    parent_and_ordinal(pod).map(|(_, ordinal)| ordinal)
}

/// The first ordinal.
pub fn first(set: &StatefulSet) -> i32 {
    set.spec()
        .ordinals
        .as_ref()
        .and_then(|o| o.start)
        .unwrap_or(0)
}

/// How many pods are wanted.
pub fn replicas(set: &StatefulSet) -> i32 {
    set.spec().replicas.unwrap_or(1)
}

/// The ordinals that are wanted and that a name can have.
pub fn range(set: &StatefulSet) -> impl Iterator<Item = i32> {
    let first = i64::from(first(set));
    (first..first + i64::from(replicas(set))).map_while(|ordinal| i32::try_from(ordinal).ok())
}

/// Whether this ordinal is wanted.
pub fn in_range(set: &StatefulSet, ordinal: i32) -> bool {
    let first = i64::from(first(set));
    (first..first + i64::from(replicas(set))).contains(&i64::from(ordinal))
}

/// The revision that a pod is of.
pub fn revision(pod: &Pod) -> &str {
    pod.metadata.label(REVISION_LABEL).unwrap_or("")
}

/// Whether the pod runs and is ready.
pub fn is_ready(pod: &Pod) -> bool {
    pods::phase(pod) == "Running" && pods::is_ready(pod)
}

/// Whether the pod is of no use now: not available for long enough, or going.
pub fn is_unavailable(pod: &Pod, min_ready: i32, now: Timestamp) -> bool {
    !pods::is_available(pod, min_ready, now) || pods::is_deleting(pod)
}

/// The template that a revision keeps.
pub fn template_of(revision: &ControllerRevision) -> Result<PodTemplateSpec, Error> {
    let mut template = revision
        .data
        .as_ref()
        .map(|raw| raw.0.at("spec").at("template").clone())
        .unwrap_or_default();
    if let Some(fields) = template.as_object_mut() {
        fields.remove("$patch");
    }
    <PodTemplateSpec as crate::api::Wire>::from_value(&template).map_err(|source| Error::Decode {
        what: format!("revision {}", revision.metadata.name()),
        source: source.into(),
    })
}

/// The name of a claim.
fn claim_name(set: &StatefulSet, claim: &PersistentVolumeClaim, ordinal: i32) -> String {
    format!(
        "{}-{}-{ordinal}",
        claim.metadata.name(),
        set.metadata.name()
    )
}

/// The claims of one pod, by the volume's name.
pub fn claims(set: &StatefulSet, ordinal: i32) -> BTreeMap<String, PersistentVolumeClaim> {
    let made = set
        .spec()
        .volume_claim_templates
        .iter()
        .flatten()
        .map(|template| {
            let mut claim = template.clone();
            let volume = claim.metadata.name().to_string();
            claim.metadata.name = Some(claim_name(set, template, ordinal));
            claim.metadata.namespace = set.metadata.namespace.clone();
            if let Some(labels) = set.spec().selector.match_labels.clone() {
                claim.metadata.labels.get_or_insert_default().extend(labels);
            }
            claim.status = None;
            (volume, claim)
        });
    made.collect()
}

/// The labels by which a pod can be told from its siblings.
pub fn labels(pod_name: &str, ordinal: i32) -> [(&'static str, String); 2] {
    [
        (NAME_LABEL, pod_name.to_string()),
        (INDEX_LABEL, ordinal.to_string()),
    ]
}

/// A new pod of a revision.
pub fn new_pod(set: &StatefulSet, template: &PodTemplateSpec, revision: &str, ordinal: i32) -> Pod {
    let namespace = set.metadata.namespace();
    let mut pod = pods::from_template(
        template,
        namespace,
        set.metadata.name(),
        controller_ref(set),
    );
    let pod_name = format!("{}-{ordinal}", set.metadata.name());
    pod.metadata.name = Some(pod_name.clone());
    let all = pod.metadata.labels.get_or_insert_default();
    all.extend(labels(&pod_name, ordinal).map(|(key, value)| (key.to_string(), value)));
    all.insert(REVISION_LABEL.into(), revision.into());
    let pod_spec = pod.spec.get_or_insert_default();
    pod_spec.hostname = Some(pod_name);
    pod_spec.subdomain = set.spec().service_name.clone().filter(|s| !s.is_empty());
    let claims = claims(set, ordinal);
    let own = pod_spec
        .volumes
        .take()
        .unwrap_or_default()
        .into_iter()
        .filter(|v| !claims.contains_key(&v.name));
    let volume = |(name, claim): (&String, &PersistentVolumeClaim)| Volume {
        name: name.clone(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: claim.metadata.name.clone().unwrap_or_default(),
            read_only: None,
        }),
        ..Default::default()
    };
    let volumes: Vec<Volume> = claims.iter().map(volume).chain(own).collect();
    pod_spec.volumes = (!volumes.is_empty()).then_some(volumes);
    pod
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::apps::v1::StatefulSetOrdinals;

    #[test]
    fn names_and_places() {
        let mut pod = Pod::default();
        for (pod_name, expected) in [
            ("web-3", Some(("web", 3))),
            ("web-a-12", Some(("web-a", 12))),
            ("web", None),
            ("web-x", None),
            ("web--1", Some(("web-", 1))),
        ] {
            pod.metadata.name = Some(pod_name.into());
            assert_eq!(parent_and_ordinal(&pod), expected);
        }
        let ordinals = Some(StatefulSetOrdinals { start: Some(5) });
        let set = StatefulSet {
            spec: Some(k8s_openapi::api::apps::v1::StatefulSetSpec {
                replicas: Some(2),
                ordinals,
                ..Default::default()
            }),
            ..Default::default()
        };
        assert_eq!(
            [4, 5, 6, 7].map(|o| in_range(&set, o)),
            [false, true, true, false]
        );
    }

    #[test]
    fn a_pod_has_its_claims_as_volumes() {
        let mut template = PersistentVolumeClaim::default();
        template.metadata.name = Some("data".into());
        let mut set = StatefulSet {
            spec: Some(k8s_openapi::api::apps::v1::StatefulSetSpec {
                volume_claim_templates: Some(vec![template]),
                ..Default::default()
            }),
            ..Default::default()
        };
        set.metadata.name = Some("web".into());
        let pod = new_pod(&set, &PodTemplateSpec::default(), "web-abc", 1);
        let volume = &pod.spec.as_ref().unwrap().volumes.as_ref().unwrap()[0];
        assert_eq!(
            (
                pod.metadata.name.as_deref(),
                volume
                    .persistent_volume_claim
                    .as_ref()
                    .unwrap()
                    .claim_name
                    .as_str()
            ),
            (Some("web-1"), "data-web-1")
        );
        assert_eq!(revision(&pod), "web-abc");
        assert_eq!(pod.metadata.generate_name.as_deref(), Some("web-"));
    }
}
