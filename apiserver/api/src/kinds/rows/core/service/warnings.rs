//! What is told with a write of a service: fields that are deprecated, ignored, or in an odd form.
//!
//! Follows `pkg/api/service/warnings.go`.

use crate::kinds::prelude::*;
use crate::machinery::names::ip::{warnings_for_cidr, warnings_for_ip};

const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const MODE: &str = "service.kubernetes.io/topology-mode";

pub fn warnings(service: &Value) -> Warnings {
    let mut said = Warnings::new();
    let spec = service.at("spec");
    let (ip, named) = (spec.text("clusterIP"), spec.text("type") == "ExternalName");
    let (headless, external) = (
        spec.text("type") == "ClusterIP" && ip == "None",
        !spec.list("externalIPs").is_empty(),
    );
    let mut tell = |when: bool, what: &str| said.extend(when.then(|| what.to_string()));
    tell(
        service
            .at("metadata")
            .at("annotations")
            .some(HINTS)
            .is_some(),
        &format!("annotation {HINTS} is deprecated, please use {MODE} instead"),
    );
    if !ip.is_empty() && ip != "None" {
        each_ip(spec, "clusterIPs", &mut tell);
    }
    tell(
        headless && !spec.text("loadBalancerIP").is_empty(),
        "spec.loadBalancerIP is ignored for headless services",
    );
    tell(
        headless && external,
        "spec.externalIPs is ignored for headless services",
    );
    tell(
        headless && spec.text("sessionAffinity") != "None",
        "spec.SessionAffinity is ignored for headless services",
    );
    each_ip(spec, "externalIPs", &mut tell);
    tell(
        external && !headless && !named,
        "spec.externalIPs is deprecated and may no longer be implemented in some clusters",
    );
    for warning in warnings_for_ip("spec.loadBalancerIP", spec.text("loadBalancerIP")) {
        tell(true, &warning);
    }
    for (index, cidr) in spec.texts("loadBalancerSourceRanges").enumerate() {
        for warning in warnings_for_cidr(&format!("spec.loadBalancerSourceRanges[{index}]"), cidr) {
            tell(true, &warning);
        }
    }
    tell(
        named && external,
        "spec.externalIPs is ignored when spec.type is \"ExternalName\"",
    );
    tell(
        !named && !spec.text("externalName").is_empty(),
        "spec.externalName is ignored when spec.type is not \"ExternalName\"",
    );
    let close = spec.text("trafficDistribution") == "PreferClose";
    tell(
        close,
        "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"",
    );
    said
}

fn each_ip(spec: &Value, field: &str, tell: &mut impl FnMut(bool, &str)) {
    for (index, ip) in spec.texts(field).enumerate() {
        for warning in warnings_for_ip(&format!("spec.{field}[{index}]"), ip) {
            tell(true, &warning);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told() {
        for (spec, told) in [
            (
                json!({"type": "ClusterIP", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]}),
                vec![],
            ),
            (
                json!({"type": "ClusterIP", "clusterIP": "010.0.0.1", "clusterIPs": ["010.0.0.1"]}),
                vec![
                    "spec.clusterIPs[0]: non-standard IP address \"010.0.0.1\" is invalid: use \"10.0.0.1\"",
                ],
            ),
            (
                json!({"type": "ClusterIP", "clusterIP": "None", "sessionAffinity": "ClientIP", "loadBalancerIP": "probe", "externalIPs": ["1.2.3.4"]}),
                vec![
                    "spec.loadBalancerIP is ignored for headless services",
                    "spec.externalIPs is ignored for headless services",
                    "spec.SessionAffinity is ignored for headless services",
                ],
            ),
            (
                json!({"type": "ExternalName", "externalIPs": ["1.2.3.4"]}),
                vec!["spec.externalIPs is ignored when spec.type is \"ExternalName\""],
            ),
            (
                json!({"type": "NodePort", "externalName": "a"}),
                vec!["spec.externalName is ignored when spec.type is not \"ExternalName\""],
            ),
            (
                json!({"type": "NodePort", "externalIPs": ["1.2.3.4"], "trafficDistribution": "PreferClose"}),
                vec![
                    "spec.externalIPs is deprecated and may no longer be implemented in some clusters",
                    "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"",
                ],
            ),
        ] {
            assert_eq!(warnings(&json!({"spec": spec})), told, "{spec}");
        }
    }
}
