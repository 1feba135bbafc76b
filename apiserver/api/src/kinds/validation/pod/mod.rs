//! Validation of pods and of everything that has a pod's spec. Follows `pkg/apis/core/validation/validation.go` (ValidatePodSpec,
//! ValidatePodTemplateSpec, ValidatePodCreate).
//!
//! Invariant: the checks run in upstream's order. Metadata of the object itself is checked by the server for all kinds alike.

pub mod affinity;
mod annotations;
mod claim_template;
pub mod containers;
mod env;
mod handlers;
mod host;
pub mod options;
mod projected;
pub mod resize;
pub mod resources;
mod security;
pub mod status;
pub mod tolerations;
mod topology;
pub mod update;
mod volume_paths;
pub mod volume_remote;
pub mod volume_sources;
pub mod warnings;
mod windows;

use super::checks::{dns_label, invalid_shown, labels, one_of, range, required_one_of, subdomain};
use crate::kinds::prelude::*;
use crate::machinery::object_meta;
use crate::machinery::read::Read;

pub use annotations::{
    APPARMOR, MIRROR, SECCOMP_CONTAINER, SECCOMP_POD, validate as validate_annotations,
};
pub use claim_template::{
    ClaimOptions, access_modes, claim_spec, claim_template, template_metadata,
};
pub use containers::{LISTS, all as all_containers, is_sidecar};
pub use options::Options;
pub use security::app_armor;
pub use volume_remote::csi_driver_name;

/// A new pod.
pub fn validate_create(pod: &Value) -> Errors {
    let mut errors = Errors::default();
    let options = Options::of_pod(None);
    pod_and_spec(pod, &options, &mut errors);
    let (spec, path) = (pod.at("spec"), Path::new("spec"));
    if !spec.list("ephemeralContainers").is_empty() {
        errors.forbidden(
            &path.child("ephemeralContainers"),
            "cannot be set on create",
        );
    }
    if !spec.text("nodeName").is_empty() && !spec.list("schedulingGates").is_empty() {
        errors.forbidden(
            &path.child("nodeName"),
            "cannot be set until all schedulingGates have been cleared",
        );
    }
    annotations::fields_match(pod.at("metadata"), spec, &path, &mut errors);
    errors
}

/// What create and update of pods check alike.
fn pod_and_spec(pod: &Value, options: &Options, errors: &mut Errors) {
    let (metadata, spec) = (pod.at("metadata"), pod.at("spec"));
    let path = Path::new("spec");
    annotations::validate(
        metadata,
        spec,
        options,
        &Path::new("metadata").child("annotations"),
        errors,
    );
    validate_spec(spec, Some(metadata), options, &path, errors);
    if spec.text("serviceAccountName").is_empty() {
        for (index, volume) in spec.list("volumes").iter().enumerate() {
            for (number, source) in volume.at("projected").list("sources").iter().enumerate() {
                if source.some("serviceAccountToken").is_some() {
                    let at = path.child("volumes");
                    let at = at.index(index);
                    let at = at.child("projected.sources");
                    errors.forbidden(
                        &at.index(number).child("serviceAccountToken"),
                        "must not be specified when serviceAccountName is not set",
                    );
                }
            }
        }
    }
    for list in ["containers", "initContainers"] {
        for (index, container) in spec.list(list).iter().enumerate() {
            containers::image_has_no_blanks(container, &path.child(list).index(index), errors);
        }
    }
}

/// A template of pods.
pub fn validate_template(template: &Value, options: &Options, path: &Path, errors: &mut Errors) {
    let (metadata, spec) = (template.at("metadata"), template.at("spec"));
    let (notes, at) = (path.child("annotations"), path.child("spec"));
    labels(metadata, "labels", &path.child("labels"), errors);
    object_meta::annotations(metadata.some("annotations"), &notes, errors);
    annotations::validate(metadata, spec, options, &notes, errors);
    validate_spec(spec, None, options, &at, errors);
    annotations::fields_match(metadata, spec, &at, errors);
    if !spec.list("ephemeralContainers").is_empty() {
        errors.forbidden(
            &at.child("ephemeralContainers"),
            "ephemeral containers not allowed in pod template",
        );
    }
}

/// A pod's spec; `metadata` is a real pod's.
pub fn validate_spec(
    spec: &Value,
    metadata: Option<&Value>,
    options: &Options,
    path: &Path,
    errors: &mut Errors,
) {
    if spec.some("terminationGracePeriodSeconds").is_none() {
        errors.required(&path.child("terminationGracePeriodSeconds"), "");
    }
    let name = metadata.map_or("", |metadata| metadata.text("name"));
    let volumes = volume_sources::volumes(
        spec.list("volumes"),
        name,
        options,
        &path.child("volumes"),
        errors,
    );
    resource_claims(spec, metadata, path, errors);
    let pod = containers::Pod {
        spec,
        options,
        volumes,
        claims: spec
            .list("resourceClaims")
            .iter()
            .map(|claim| claim.text("name"))
            .filter(|name| !name.is_empty())
            .collect(),
        grace: spec.int_ptr("terminationGracePeriodSeconds"),
        host_users: spec.flag_ptr("hostUsers") != Some(false),
    };
    pod.regular(path, errors);
    pod.init(path, errors);
    pod.ephemeral(path, errors);
    resources::of_pod(spec, &pod.claims, options, path, errors);
    host::ports(spec, options, path, errors);
    required_one_of(
        spec.text("restartPolicy"),
        &["Always", "OnFailure", "Never"],
        &path.child("restartPolicy"),
        errors,
    );
    required_one_of(
        spec.text("dnsPolicy"),
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
        &path.child("dnsPolicy"),
        errors,
    );
    labels(spec, "nodeSelector", &path.child("nodeSelector"), errors);
    security::of_pod(spec, options, path, errors);
    affinity::validate(
        spec.some("affinity"),
        options,
        &path.child("affinity"),
        errors,
    );
    host::dns(spec, path, errors);
    host::gates(spec, path, errors);
    topology::validate(
        spec.list("topologySpreadConstraints"),
        options,
        &path.child("topologySpreadConstraints"),
        errors,
    );
    windows::host_process(spec, path, errors);
    host::users(spec, options, path, errors);
    host::hostname(spec, path, errors);
    plain_fields(spec, options, path, errors);
    windows::system(spec, path, errors);
    env::file_volumes(spec, path, errors);
}

fn plain_fields(spec: &Value, options: &Options, path: &Path, errors: &mut Errors) {
    let name = |field: &str, check: fn(&str, &Path, &mut Errors), errors: &mut Errors| {
        let given = spec.text(field);
        if !given.is_empty() {
            check(given, &path.child(field), errors);
        }
    };
    name("serviceAccountName", subdomain, errors);
    name("nodeName", subdomain, errors);
    if let Some(seconds) = spec.int_ptr("activeDeadlineSeconds") {
        range(
            seconds,
            1,
            i32::MAX.into(),
            &path.child("activeDeadlineSeconds"),
            errors,
        );
    }
    name("hostname", dns_label, errors);
    name("subdomain", dns_label, errors);
    tolerations::validate(
        spec.list("tolerations"),
        options,
        &path.child("tolerations"),
        errors,
    );
    host::aliases(spec, path, errors);
    name("priorityClassName", subdomain, errors);
    if let Some(class) = spec.text_ptr("runtimeClassName") {
        subdomain(class, &path.child("runtimeClassName"), errors);
    }
    if let Some(policy) = spec.text_ptr("preemptionPolicy") {
        required_one_of(
            policy,
            &["PreemptLowerPriority", "Never"],
            &path.child("preemptionPolicy"),
            errors,
        );
    }
    if spec.some("overhead").is_some() {
        resources::overhead(spec, "overhead", options, &path.child("overhead"), errors);
    }
}

fn resource_claims(spec: &Value, metadata: Option<&Value>, path: &Path, errors: &mut Errors) {
    let (list, path) = (spec.list("resourceClaims"), path.child("resourceClaims"));
    let mirror = metadata.is_some_and(|metadata| metadata.at("annotations").some(MIRROR).is_some());
    for (index, claim) in list.iter().enumerate() {
        if mirror {
            errors.forbidden(
                &Path::NAMELESS,
                "static pods do not support resource claims",
            );
            continue;
        }
        let at = path.index(index);
        let name = claim.text("name");
        if name.is_empty() {
            errors.required(&at.child("name"), "");
        } else if list[..index].iter().any(|other| other.text("name") == name) {
            errors.duplicate(&at.child("name"), name);
        } else {
            dns_label(name, &at.child("name"), errors);
        }
        let sources = ["resourceClaimName", "resourceClaimTemplateName"];
        let fault = match sources
            .iter()
            .filter(|source| claim.some(source).is_some())
            .count()
        {
            0 => Some("must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"),
            1 => None,
            _ => Some(
                "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
            ),
        };
        if let Some(fault) = fault {
            invalid_shown(
                &super::internal::json(claim, "core.PodResourceClaim"),
                fault,
                &at,
                errors,
            );
        }
        for source in sources {
            if let Some(given) = claim.text_ptr(source) {
                subdomain(given, &at.child(source), errors);
            }
        }
    }
}

/// A policy that only `Always` fits: templates of controllers that keep pods running.
pub fn always_restarts(template: &Value, path: &Path, errors: &mut Errors) {
    one_of(
        template.at("spec").text("restartPolicy"),
        &["Always"],
        &path.child("spec").child("restartPolicy"),
        errors,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn pod() -> Value {
        json!({"metadata": {"name": "a"}, "spec": {"terminationGracePeriodSeconds": 30, "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "securityContext": {},
            "containers": [{"name": "c", "image": "i", "terminationMessagePolicy": "File", "imagePullPolicy": "Always"}]}})
    }

    #[test]
    fn pods() {
        let with = |name: &str, value: Value| {
            let mut pod = pod();
            pod["spec"][name] = value;
            pod
        };
        for (pod, wanted) in [
            (pod(), vec![]),
            (
                with("restartPolicy", json!("x")),
                vec![
                    "spec.restartPolicy: Unsupported value: \"x\": supported values: \"Always\", \"OnFailure\", \"Never\"",
                ],
            ),
            (
                with("nodeName", json!("A")),
                vec![
                    "spec.nodeName: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                ],
            ),
            (
                with("activeDeadlineSeconds", json!(0)),
                vec![
                    "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
                ],
            ),
            (with("ephemeralContainers", json!([])), vec![]),
            (
                with("resourceClaims", json!([{"name": "c"}])),
                vec![
                    "spec.resourceClaims[0]: Invalid value: {\"Name\":\"c\",\"ResourceClaimName\":null,\"ResourceClaimTemplateName\":null}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
                ],
            ),
            (with("overhead", json!({"odd.io/x": "1"})), vec![]),
            (
                with(
                    "volumes",
                    json!([{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}]}}]),
                ),
                vec![
                    "spec.volumes[0].projected.sources[0].serviceAccountToken: Forbidden: must not be specified when serviceAccountName is not set",
                ],
            ),
        ] {
            assert_eq!(validate_create(&pod).texts(), wanted);
        }
    }
}
