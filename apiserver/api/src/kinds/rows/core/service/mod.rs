//! Services: defaults, and what of their fields belongs together.
//!
//! Follows `pkg/apis/core/v1/defaults.go` (SetDefaults_Service) and `pkg/registry/core/service/{strategy,storage/alloc}.go`.

pub mod families;
mod validation;
mod warnings;

use crate::kinds::fill::{absent, each, spec, text};
use crate::kinds::prelude::*;
use crate::kinds::validation::balancer;

pub const STRATEGY: Strategy = Strategy {
    defaults,
    prepare_for_create: |service| {
        normalize(service);
        drop_traffic_of_names(service);
    },
    prepare_for_update,
    validate: validation::create,
    validate_update: validation::update,
    validate_status_update: |new, old| match new.at("spec").text("type") {
        "LoadBalancer" => balancer::validate(new, old, true),
        _ => balancer::none(new),
    },
    warnings: |service, _| warnings::warnings(service),
    status_warnings: balancer::warnings,
    ..Strategy::DEFAULT
};

fn defaults(object: &mut Value) {
    let spec = spec(object);
    text(spec, "sessionAffinity", "None");
    if spec.text("sessionAffinity") == "None" {
        spec.remove("sessionAffinityConfig");
    } else {
        let config = spec
            .entry("sessionAffinityConfig")
            .or_insert_with(|| json!({}));
        if config.at("clientIP").some("timeoutSeconds").is_none() {
            config["clientIP"]["timeoutSeconds"] = 10800.into();
        }
    }
    text(spec, "type", "ClusterIP");
    for port in each(spec, "ports") {
        text(port, "protocol", "TCP");
        let unset = matches!(port.get("targetPort"), None | Some(Value::Null))
            || *port.at("targetPort") == 0
            || *port.at("targetPort") == "";
        if unset {
            port.insert(
                "targetPort".into(),
                port.get("port").cloned().unwrap_or_default(),
            );
        }
        if port.get("nodePort") == Some(&json!(0)) {
            port.remove("nodePort");
        }
    }
    let kind = spec.text("type").to_string();
    let external = spec
        .get("externalIPs")
        .and_then(Value::as_array)
        .is_some_and(|ips| !ips.is_empty());
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") || kind == "ClusterIP" && external {
        text(spec, "externalTrafficPolicy", "Cluster");
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer" | "ClusterIP") {
        absent(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        absent(spec, "allocateLoadBalancerNodePorts", true);
        let balancer = object.pointer_mut("/status/loadBalancer");
        let balancer = balancer.and_then(Value::as_object_mut);
        for ingress in balancer.into_iter().flat_map(|of| each(of, "ingress")) {
            if !ingress.text("ip").is_empty() {
                absent(ingress, "ipMode", "VIP");
            }
        }
    }
}

/// `clusterIP` and `clusterIPs` say the same.
fn normalize(object: &mut Value) {
    let spec = spec(object);
    let single = spec.text("clusterIP").to_string();
    if !single.is_empty() {
        absent(spec, "clusterIPs", json!([single]));
    }
}

/// A name elsewhere has no traffic of the cluster's; what is none of its values is refused like any other.
fn drop_traffic_of_names(service: &mut Value) {
    let spec = spec(service);
    if spec.text("type") == "ExternalName"
        && matches!(spec.text("internalTrafficPolicy"), "Cluster" | "Local")
    {
        spec.remove("internalTrafficPolicy");
    }
}

fn prepare_for_update(new: &mut Value, old: &Value) {
    let kind = |service: &Value| service.at("spec").text("type").to_string();
    if kind(new) != "ExternalName" && kind(old) != "ExternalName" {
        // what a client leaves out of an update it does not want changed
        for name in ["clusterIP", "clusterIPs"] {
            if new.at("spec").some(name).is_none()
                && let Some(had) = old.at("spec").some(name)
            {
                new["spec"][name] = had.clone();
            }
        }
    }
    follow_address(new, old);
    drop_what_the_type_brought(new, old);
    let had = old.at("spec").at("healthCheckNodePort");
    if validation::needs_health_check(new.at("spec"))
        && new.at("spec").some("healthCheckNodePort").is_none()
        && !had.is_null()
    {
        new["spec"]["healthCheckNodePort"] = had.clone();
    }
    if is_given_node_ports(old.at("spec")) && is_given_node_ports(new.at("spec")) {
        keep_node_ports(new, old);
    }
    if kind(new) != "LoadBalancer" {
        new["status"]["loadBalancer"] = json!({});
    }
    drop_traffic_of_names(new);
}

/// A client that knows `clusterIP` alone keeps `clusterIPs` with it, and changes them by it.
fn follow_address(new: &mut Value, old: &Value) {
    let field = |service: &Value, name: &str| service.at("spec").at(name).clone();
    if new.at("spec").list("clusterIPs").is_empty()
        && field(new, "clusterIP") == field(old, "clusterIP")
        && old.at("spec").some("clusterIPs").is_some()
    {
        new["spec"]["clusterIPs"] = field(old, "clusterIPs");
    }
    let (is, was) = (
        new.at("spec").at("clusterIP"),
        old.at("spec").at("clusterIP"),
    );
    if is == was || new.at("spec").at("clusterIPs") != old.at("spec").at("clusterIPs") {
        return;
    }
    match is.as_str().unwrap_or("").to_string() {
        none if none.is_empty() => drop(spec(new).remove("clusterIPs")),
        ip => new["spec"]["clusterIPs"] = json!([ip]),
    }
}

/// What only the old type had, and the client left as it was, goes with the type.
fn drop_what_the_type_brought(new: &mut Value, old: &Value) {
    use validation::{is_reached_from_outside, needs_health_check};
    let kind = |service: &Value| service.at("spec").text("type").to_string();
    let balanced = |service: &Value| kind(service) == "LoadBalancer";
    let has_node_ports =
        |service: &Value| matches!(kind(service).as_str(), "NodePort" | "LoadBalancer");
    let no_more = |test: &dyn Fn(&Value) -> bool| test(old) && !test(new);
    let mut gone = Vec::new();
    if no_more(&|service| kind(service) != "ExternalName") {
        if new.at("spec").at("clusterIP") == old.at("spec").at("clusterIP")
            && new.at("spec").at("clusterIPs") == old.at("spec").at("clusterIPs")
        {
            gone.extend(["clusterIP", "clusterIPs"]);
        }
        gone.extend(["ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"]);
    }
    if no_more(&|service| needs_health_check(service.at("spec"))) {
        gone.push("healthCheckNodePort");
    }
    if no_more(&balanced) {
        gone.extend(["allocateLoadBalancerNodePorts", "loadBalancerClass"]);
    }
    if no_more(&|service| is_reached_from_outside(service.at("spec"))) {
        gone.push("externalTrafficPolicy");
    }
    let ports_go = no_more(&has_node_ports);
    for field in gone {
        if new.at("spec").at(field) == old.at("spec").at(field) {
            spec(new).remove(field);
        }
    }
    if ports_go {
        let had: Vec<Value> = old
            .at("spec")
            .at("ports")
            .as_array()
            .into_iter()
            .flatten()
            .map(|port| port.at("nodePort").clone())
            .collect();
        let same = new
            .at("spec")
            .at("ports")
            .as_array()
            .into_iter()
            .flatten()
            .all(|port| port.some("nodePort").is_none() || had.contains(port.at("nodePort")));
        for port in each(spec(new), "ports").filter(|_| same) {
            port.remove("nodePort");
        }
    }
}

/// Whether ports that name no node port are given one.
pub fn is_given_node_ports(spec: &Value) -> bool {
    match spec.text("type") {
        "NodePort" => true,
        "LoadBalancer" => spec.flag_ptr("allocateLoadBalancerNodePorts") != Some(false),
        _ => false,
    }
}

/// A port keeps the node port that it had under its name, where no other port has that now.
fn keep_node_ports(new: &mut Value, old: &Value) {
    let had: Vec<(String, i64)> = old
        .at("spec")
        .list("ports")
        .iter()
        .map(|port| (port.text("name").to_string(), port.int("nodePort")))
        .filter(|(_, node)| *node != 0)
        .collect();
    let taken: Vec<i64> = new
        .at("spec")
        .list("ports")
        .iter()
        .map(|port| port.int("nodePort"))
        .collect();
    for port in each(spec(new), "ports") {
        if port.get("nodePort").is_some() {
            continue;
        }
        let of_name = had.iter().rfind(|(name, _)| name == port.text("name"));
        if let Some((_, node)) = of_name.filter(|(_, node)| !taken.contains(node)) {
            port.insert("nodePort".into(), (*node).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_elsewhere_has_no_traffic_in_the_cluster() {
        let create = STRATEGY.prepare_for_create;
        for (kind, policy, kept) in [
            ("ExternalName", "Local", false),
            ("ExternalName", "Cluster", false),
            ("ExternalName", "Odd", true),
            ("ClusterIP", "Local", true),
        ] {
            let mut new = json!({"spec": {"type": kind, "internalTrafficPolicy": policy}});
            let old = new.clone();
            create(&mut new);
            let found = new["spec"].get("internalTrafficPolicy").is_some();
            assert_eq!(found, kept, "{kind} {policy}");
            let mut new = old.clone();
            prepare_for_update(&mut new, &old);
            let found = new["spec"].get("internalTrafficPolicy").is_some();
            assert_eq!(found, kept, "{kind} {policy}");
        }
    }

    #[test]
    fn what_a_service_of_an_external_name_keeps() {
        let old = json!({"spec": {"type": "ClusterIP", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster"}});
        let named = |change: Value| {
            let mut new = old.clone();
            new["spec"]["type"] = "ExternalName".into();
            for (name, value) in change.as_object().unwrap() {
                new["spec"][name] = value.clone();
            }
            prepare_for_update(&mut new, &old);
            new["spec"].clone()
        };
        assert_eq!(named(json!({})), json!({"type": "ExternalName"}));
        // what the client wants besides is for validation to refuse
        let other =
            json!({"type": "ExternalName", "clusterIP": "10.0.0.2", "clusterIPs": ["10.0.0.2"]});
        assert_eq!(named(json!({"clusterIP": "10.0.0.2"})), other);
        let mut new = json!({"spec": {"type": "ExternalName", "clusterIP": "10.0.0.2", "ipFamilies": ["IPv4"]}});
        normalize(&mut new);
        assert_eq!(
            new["spec"],
            json!({"type": "ExternalName", "clusterIP": "10.0.0.2", "clusterIPs": ["10.0.0.2"], "ipFamilies": ["IPv4"]})
        );
    }
}
