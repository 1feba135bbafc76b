//! The whole status of a pod, and the patch that brings the API's copy to it.
//!
//! Invariant: pure; a terminal phase is never left again, and what others own in the status is not touched.
//! Follows `generateAPIPodStatus` in `pkg/kubelet/kubelet_pods.go` and `pkg/kubelet/status/status_manager.go`.

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::api::core::v1::{Container, ContainerStatus, HostIP, Pod, PodIP, PodStatus};
use serde_json::{Map, Value, json};
use skiff_podspec::qos;

use super::{
    conditions, containers,
    containers::Inputs,
    enacted, ended,
    facts::Facts,
    handle::Verdict,
    names::{self, Kind, is_terminal, spec},
    phase, resources, restart_all,
    told::Told,
    view::Sandbox,
};
use crate::{runtime::ContainerPhase, time};

/// Computes the status.
pub fn generate(facts: &Facts) -> PodStatus {
    if let Some(verdict) = facts.failed.filter(|verdict| verdict.rejected) {
        return rejected(facts, verdict);
    }
    let shown = facts.view.shown(facts.in_post_start);
    let facts = &Facts {
        view: &shown,
        ..*facts
    };
    let Facts { pod, old, view, .. } = *facts;
    let spec = spec(pod);
    let inputs = Inputs {
        pod,
        view,
        restarting: restart_all::is_wanted(pod, view, old),
        reasons: facts.reasons,
        messages: facts.messages,
    };
    let ephemeral: Vec<Container> = spec
        .ephemeral_containers
        .iter()
        .flatten()
        .map(names::ephemeral_as_container)
        .collect();
    let list = |previous: &Option<Vec<ContainerStatus>>, wanted: &[Container], kind| {
        containers::statuses(
            &inputs,
            previous.as_deref().unwrap_or_default(),
            wanted,
            kind,
        )
    };
    let mut regular = list(&old.container_statuses, &spec.containers, Kind::Regular);
    let mut init = list(
        &old.init_container_statuses,
        spec.init_containers.as_deref().unwrap_or_default(),
        Kind::Init,
    );
    let ephemeral = list(
        &old.ephemeral_container_statuses,
        &ephemeral,
        Kind::Ephemeral,
    );

    if facts.finished {
        ended::end_the_lost(pod, &mut regular, &mut init);
    }
    set_started_and_ready(facts, &mut regular, &spec.containers);
    set_started_and_ready(
        facts,
        &mut init,
        spec.init_containers.as_deref().unwrap_or_default(),
    );

    let all: Vec<ContainerStatus> = regular.iter().chain(&init).cloned().collect();
    let (phase, reason, message) = decide_phase(facts, &all);
    let sandbox_ready = matches!(view.sandbox(), Sandbox::Ready(_))
        && (!facts.ips.is_empty() || names::is_host_network(pod));
    let mut status = PodStatus {
        conditions: Some(conditions::all(facts, &all, &phase, sandbox_ready)),
        phase: Some(phase),
        reason,
        message,
        container_statuses: some(regular),
        init_container_statuses: some(init),
        ephemeral_container_statuses: some(ephemeral),
        observed_generation: pod.metadata.generation.max(old.observed_generation),
        qos_class: qos_class(pod),
        start_time: old.start_time.clone().or_else(|| Some(time::api_now())),
        resources: Some(enacted::pod_status(pod, view, old)),
        allocated_resources: resources::to_api(resources::pod_requests(pod)),
        ..Default::default()
    };
    set_addresses(facts, &mut status);
    status
}

/// Of a pod that was turned away nothing is told but that: it has no containers, and no conditions of this node's.
fn rejected(facts: &Facts, verdict: &Verdict) -> PodStatus {
    let conditions = facts
        .pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    PodStatus {
        conditions: some(
            conditions
                .filter(|condition| !conditions::is_own(&condition.type_))
                .cloned()
                .collect(),
        ),
        phase: Some("Failed".to_owned()),
        reason: Some(verdict.reason.clone()),
        message: Some(verdict.message.clone()),
        observed_generation: facts
            .pod
            .metadata
            .generation
            .max(facts.old.observed_generation),
        qos_class: qos_class(facts.pod),
        start_time: facts
            .old
            .start_time
            .clone()
            .or_else(|| Some(time::api_now())),
        ..Default::default()
    }
}

/// None is told of a pod whose amounts cannot be read.
fn qos_class(pod: &Pod) -> Option<String> {
    qos::class(pod).ok().map(|class| class.name().to_owned())
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn set_addresses(facts: &Facts, status: &mut PodStatus) {
    let text = |ips: &[IpAddr]| ips.iter().map(IpAddr::to_string).collect::<Vec<_>>();
    let host = text(facts.host_ips);
    let mut pod = if names::is_host_network(facts.pod) {
        host.clone()
    } else {
        text(facts.ips)
    };
    if pod.is_empty() {
        pod = facts
            .old
            .pod_ips
            .iter()
            .flatten()
            .map(|ip| ip.ip.clone())
            .collect();
    }
    status.host_ip = host.first().cloned();
    status.host_ips = some(host.into_iter().map(|ip| HostIP { ip }).collect());
    status.pod_ip = pod.first().cloned();
    status.pod_ips = some(pod.into_iter().map(|ip| PodIP { ip }).collect());
}

/// Phase, reason and message.
fn decide_phase(
    facts: &Facts,
    statuses: &[ContainerStatus],
) -> (String, Option<String>, Option<String>) {
    let Facts { pod, old, view, .. } = *facts;
    let in_api = names::phase(pod);
    let before = old.phase.as_deref().unwrap_or_default();
    if let Some(verdict) = facts.failed.filter(|_| !is_terminal(in_api)) {
        return (
            "Failed".into(),
            Some(verdict.reason.clone()),
            Some(verdict.message.clone()),
        );
    }
    let initialized = containers::any_active_regular_started(pod, view);
    let computed = phase::phase(spec(pod), statuses, facts.terminal, initialized);
    let phase = match () {
        () if is_terminal(in_api) => in_api,
        () if is_terminal(before) => before,
        () if facts.finished && !is_terminal(computed) => "Failed",
        () => computed,
    };
    let api = pod.status.as_ref();
    let kept = |of: fn(&PodStatus) -> &Option<String>| {
        (phase == before)
            .then(|| {
                of(old)
                    .clone()
                    .or_else(|| api.and_then(|api| of(api).clone()))
            })
            .flatten()
    };
    (
        phase.to_owned(),
        kept(|status| &status.reason),
        kept(|status| &status.message),
    )
}

fn set_started_and_ready(
    facts: &Facts,
    statuses: &mut [ContainerStatus],
    containers: &[Container],
) {
    for status in statuses {
        let Some(container) = containers
            .iter()
            .find(|container| container.name == status.name)
        else {
            continue;
        };
        let is_init = spec(facts.pod)
            .init_containers
            .iter()
            .flatten()
            .any(|init| init.name == container.name);
        let state = facts.view.container(&container.name);
        let running = state.filter(|state| {
            state.phase == ContainerPhase::Running && status.state.running().is_some()
        });
        let results = state.and_then(|state| facts.probes.get(&state.id));
        let started = running.is_some_and(|_| {
            container.startup_probe.is_none()
                || results
                    .and_then(|results| results.startup)
                    .unwrap_or(status.started == Some(true))
        });
        status.started = Some(started);
        if is_init && !names::is_sidecar(container) {
            status.ready = status
                .state
                .terminated()
                .is_some_and(|ended| ended.exit_code == 0);
            continue;
        }
        status.ready = started
            && (container.readiness_probe.is_none()
                || results.and_then(|results| results.readiness) == Some(true));
    }
}

/// Statuses of others' making that a patch must leave alone.
const FOREIGN: [&str; 5] = [
    "resourceClaimStatuses",
    "extendedResourceClaimStatus",
    "nodeAllocatableResourceClaimStatuses",
    "nominatedNodeName",
    "resize",
];

/// The strategic merge patch that turns `from` into `to`; `None` when they say the same.
pub fn patch(uid: &str, from: &PodStatus, to: &PodStatus) -> Option<Value> {
    let (from, to) = (as_map(from), as_map(to));
    let mut changes = Map::new();
    for (key, value) in &to {
        if from.get(key) == Some(value) || FOREIGN.contains(&key.as_str()) {
            continue;
        }
        match key.as_str() {
            "conditions" => merge_list(&mut changes, key, "type", from.get(key), value),
            "podIPs" | "hostIPs" => merge_list(&mut changes, key, "ip", from.get(key), value),
            _ => _ = changes.insert(key.clone(), value.clone()),
        }
    }
    for key in from
        .keys()
        .filter(|key| !to.contains_key(*key) && !FOREIGN.contains(&key.as_str()))
    {
        changes.insert(key.clone(), Value::Null);
    }
    replace_whole(&from, &mut changes);
    (!changes.is_empty()).then(|| json!({"metadata": {"uid": uid}, "status": changes}))
}

fn as_map(status: &PodStatus) -> Map<String, Value> {
    match serde_json::to_value(status) {
        Ok(Value::Object(map)) => map,
        Ok(_) | Err(_) => unreachable!("a status is an object of plain fields"),
    }
}

/// Nested objects merge in a strategic merge patch: what is gone from them has to be said.
fn replace_whole(from: &Map<String, Value>, changes: &mut Map<String, Value>) {
    for key in ["resources", "allocatedResources"] {
        if let (Some(Value::Object(before)), Some(Value::Object(after))) =
            (from.get(key), changes.get_mut(key))
        {
            for gone in before
                .keys()
                .filter(|gone| !after.contains_key(*gone))
                .cloned()
                .collect::<Vec<_>>()
            {
                after.insert(gone, Value::Null);
            }
        }
    }
}

/// The elements of a list merged by `key` that differ, those to delete, and the order of all.
fn merge_list(
    changes: &mut Map<String, Value>,
    name: &str,
    key: &str,
    from: Option<&Value>,
    to: &Value,
) {
    let keyed = |list: Option<&Value>| -> BTreeMap<String, Value> {
        list.and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|element| Some((element.get(key)?.as_str()?.to_owned(), element.clone())))
            .collect()
    };
    let (before, after) = (keyed(from), keyed(Some(to)));
    let order: Vec<Value> = to
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|element| Some(json!({key: element.get(key)?})))
        .collect();
    let mut elements: Vec<Value> = Vec::new();
    for element in to.as_array().into_iter().flatten() {
        let id = element.get(key).and_then(Value::as_str).unwrap_or_default();
        match before.get(id) {
            Some(same) if same == element => {}
            Some(old) => elements.push(with_nulls(old, element)),
            None => elements.push(element.clone()),
        }
    }
    elements.extend(
        before
            .keys()
            .filter(|id| !after.contains_key(*id))
            .map(|id| json!({"$patch": "delete", key: id})),
    );
    if name == "conditions" {
        // Others' conditions are not ours to delete.
        elements.retain(|element| {
            element.get("$patch").is_none()
                || element
                    .get(key)
                    .and_then(Value::as_str)
                    .is_some_and(conditions::is_own)
        });
    }
    if !elements.is_empty() {
        changes.insert(format!("$setElementOrder/{name}"), Value::Array(order));
        changes.insert(name.to_owned(), Value::Array(elements));
    }
}

fn with_nulls(old: &Value, new: &Value) -> Value {
    let mut merged = new.clone();
    if let (Some(old), Some(merged)) = (old.as_object(), merged.as_object_mut()) {
        for key in old.keys() {
            merged.entry(key.clone()).or_insert(Value::Null);
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use serde_json::from_value;

    use super::*;

    #[test]
    fn the_patch_says_only_what_changed() {
        let from: PodStatus = from_value(json!({"phase": "Pending", "qosClass": "BestEffort", "nominatedNodeName": "n",
            "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False", "reason": "ContainersNotReady"}]}))
        .unwrap();
        let to: PodStatus = from_value(json!({"phase": "Running", "qosClass": "BestEffort",
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"}]}))
        .unwrap();
        assert_eq!(
            patch("u", &from, &to).unwrap(),
            json!({"metadata": {"uid": "u"}, "status": {
                "phase": "Running",
                "$setElementOrder/conditions": [{"type": "Ready"}, {"type": "PodScheduled"}],
                "conditions": [{"type": "Ready", "status": "True", "reason": null}]}})
        );
        assert_eq!(patch("u", &to, &to), None);
    }
}
