//! What the API server sets and keeps of pods.
//!
//! Follows `pkg/registry/core/pod/strategy.go` and `pkg/apis/core/v1/helper/qos`.

mod app_armor;
pub mod defaults;
pub mod disabled;
mod image;
mod label_keys;
pub mod pod_level;

use crate::kinds::prelude::*;
use crate::kinds::strategy::keep_metadata;
use crate::kinds::validation::pod as validation;
use crate::kinds::validation::pod::resources;
use crate::machinery::names::ip::warnings_for_ip;

pub const STRATEGY: Strategy = Strategy {
    defaults: defaults::pod,
    prepare_for_create,
    after_system_fields,
    prepare_for_update,
    prepare_for_status_update,
    validate: validation::validate_create,
    validate_update: validation::update::validate,
    validate_status_update: validation::status::validate,
    parts: PARTS,
    early_warnings: app_armor::warnings,
    warnings,
    status_warnings,
    default_grace: Some(|pod| {
        pod["spec"]["terminationGracePeriodSeconds"]
            .as_i64()
            .unwrap_or(30)
    }),
    skips_grace: |pod| {
        pod.at("spec").text("nodeName").is_empty()
            || matches!(
                pod.at("status").text_ptr("phase"),
                Some("Succeeded" | "Failed")
            )
    },
    row_conditions: crate::kinds::cells::pod::conditions,
    ..Strategy::DEFAULT
};

fn prepare_for_create(pod: &mut Value) {
    // a class that is given is taken for what was found before
    let class = match pod.at("status").text("qosClass") {
        "" => qos(pod).to_string(),
        given => given.to_string(),
    };
    pod["status"] = json!({"phase": "Pending", "qosClass": class});
    disabled::drop_from_spec(&mut pod["spec"], None);
    if !pod.at("spec").list("schedulingGates").is_empty() {
        pod["status"]["conditions"] = json!([{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates", "lastProbeTime": null, "lastTransitionTime": null}]);
    }
    label_keys::apply(pod);
    app_armor::annotations_to_fields(pod);
}

/// The condition of a pod that waits for its gates is as old as the pod.
fn after_system_fields(pod: &mut Value) {
    let now = pod.at("metadata").at("creationTimestamp").clone();
    for condition in pod["status"]
        .get_mut("conditions")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        condition["lastTransitionTime"] = now.clone();
    }
}

fn prepare_for_update(new: &mut Value, old: &Value) {
    new["status"] = old.at("status").clone();
    disabled::drop_from_spec(&mut new["spec"], Some(old.at("spec")));
}

fn prepare_for_status_update(new: &mut Value, old: &Value) {
    match old.at("metadata").some("ownerReferences") {
        Some(owners) => new["metadata"]["ownerReferences"] = owners.clone(),
        None => {
            new.meta_mut().remove("ownerReferences");
        }
    }
    if !old.is_deleting() {
        new.meta_mut().remove("deletionTimestamp");
    }
    if new.at("status").text("qosClass").is_empty() {
        new["status"]["qosClass"] = old.at("status").text("qosClass").into();
    }
    keep_observed_generations(new, old);
    disabled::drop_from_status(&mut new["status"], old.at("status"));
}

/// What a client leaves out of `observedGeneration` is as it was: of the status, and of each condition by its type.
fn keep_observed_generations(new: &mut Value, old: &Value) {
    const FIELD: &str = "observedGeneration";
    let keep = |new: &mut Value, generation: i64| {
        if new.int(FIELD) == 0 && generation != 0 {
            new[FIELD] = generation.into();
        }
    };
    keep(&mut new["status"], old.at("status").int(FIELD));
    let mut before: Vec<&Value> = old.at("status").list("conditions").iter().collect();
    for condition in new["status"]
        .get_mut("conditions")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if let Some(at) = before
            .iter()
            .position(|had| had.text("type") == condition.text("type"))
        {
            keep(condition, before.remove(at).int(FIELD));
        }
    }
}

const PARTS: &[PartStrategy] = &[
    PartStrategy {
        name: "ephemeralcontainers",
        reset: None,
        prepare: |new, old| {
            let containers = new.at("spec").some("ephemeralContainers").cloned();
            new["spec"] = old.at("spec").clone();
            new["status"] = old.at("status").clone();
            if let Some(spec) = new["spec"].as_object_mut() {
                match containers {
                    Some(containers) => spec.insert("ephemeralContainers".into(), containers),
                    None => spec.remove("ephemeralContainers"),
                };
            }
            keep_metadata(new, old);
        },
        validate: validation::update::ephemeral_containers,
        checks: UpdateChecks::Both,
    },
    PartStrategy {
        name: "resize",
        reset: None,
        prepare: |new, old| {
            validation::resize::keep_all_else(new, old);
            keep_metadata(new, old);
        },
        validate: |new, old| validation::resize::validate(new, old, qos),
        checks: UpdateChecks::Both,
    },
    // what a binding changes is no update, and it is checked where it is applied
    PartStrategy {
        name: "binding",
        reset: None,
        prepare: |_, _| {},
        validate: |_, _| Default::default(),
        checks: UpdateChecks::Update,
    },
];

fn warnings(new: &Value, old: Option<&Value>) -> Warnings {
    let mut out = Warnings::new();
    // pods are updated by machines mostly, which read no warnings
    if old.is_none() {
        let messages = names::is_dns1123_label(new.name());
        if !messages.is_empty() {
            out.push(format!(
                "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [{}]",
                messages.join(" ")
            ));
        }
        validation::warnings::warnings(new, None, &mut out);
    }
    out
}

/// `Guaranteed`, `Burstable` or `BestEffort`, of the pod's own resources or of its containers'. Typed pods: `qos` of skiff-podspec, tested to be the same.
pub fn qos(pod: &Value) -> &'static str {
    let spec = pod.at("spec");
    let (mut any, mut guaranteed) = (false, true);
    let (mut limits, mut requests) = (resources::Amounts::new(), resources::Amounts::new());
    let mut note = |owner: &Value, limits_matter: bool| {
        let amount = |list: &str, name: &str| {
            owner
                .at("resources")
                .at(list)
                .some(name)
                .map(resources::quantity)
                .filter(|amount| amount.sign() > 0)
        };
        for name in ["cpu", "memory"] {
            let (limit, request) = (amount("limits", name), amount("requests", name));
            any |= limit.is_some() || request.is_some();
            guaranteed &= limit.is_some() || !limits_matter;
            for (total, one) in [(&mut limits, limit), (&mut requests, request)] {
                if let Some(one) = one {
                    total
                        .entry(name)
                        .and_modify(|sum| sum.add(&one))
                        .or_insert(one);
                }
            }
        }
    };
    if spec.some("resources").is_some() {
        note(
            spec,
            spec.at("resources").entries("limits").next().is_some(),
        );
    } else {
        ["containers", "initContainers"]
            .iter()
            .flat_map(|list| spec.list(list))
            .for_each(|container| note(container, true));
    }
    let equal = requests
        .iter()
        .all(|(name, request)| limits.get(name) == Some(request))
        && requests.len() == limits.len();
    match (any, guaranteed && equal) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// Addresses in an odd form.
fn status_warnings(pod: &Value) -> Warnings {
    let of = |field: &'static str| {
        let list = pod.at("status").list(field).iter().enumerate();
        list.flat_map(move |(index, one)| {
            warnings_for_ip(&format!("status.{field}[{index}].ip"), one.text("ip"))
        })
    };
    of("podIPs").chain(of("hostIPs")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_an_odd_form_are_told_of() {
        let pod = json!({"status": {"podIPs": [{"ip": "10.0.0.1"}, {"ip": "FD00::1"}], "hostIPs": [{"ip": "fd00::1"}]}});
        let said = [
            "status.podIPs[1].ip: IPv6 address \"FD00::1\" should be in RFC 5952 canonical format (\"fd00::1\")",
        ];
        assert_eq!(status_warnings(&pod), said);
    }

    #[test]
    fn classes() {
        let pod = |resources: Value| json!({"spec": {"containers": [{"resources": resources}]}});
        for (resources, wanted) in [
            (json!({}), "BestEffort"),
            (json!({"requests": {"cpu": "1"}}), "Burstable"),
            (
                json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}}),
                "Guaranteed",
            ),
            (
                json!({"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}),
                "Burstable",
            ),
        ] {
            assert_eq!(qos(&pod(resources)), wanted);
        }
        let whole = json!({"cpu": "1", "memory": "1Gi"});
        assert_eq!(
            qos(
                &json!({"spec": {"resources": {"limits": whole, "requests": whole}, "containers": [{}]}})
            ),
            "Guaranteed"
        );
        assert_eq!(
            qos(&json!({"spec": {"resources": {"requests": whole}, "containers": [{}]}})),
            "Burstable"
        );
    }
}
