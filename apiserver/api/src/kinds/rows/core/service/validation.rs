//! What a service must be: ports, addresses, policies, and which of them go together.
//!
//! Follows `ValidateServiceCreate` and `ValidateServiceUpdate` in `pkg/apis/core/validation/validation.go`.

use std::collections::BTreeSet;

use crate::kinds::prelude::*;

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];
const FAMILY_POLICIES: [&str; 3] = ["PreferDualStack", "RequireDualStack", "SingleStack"];
const TRAFFIC: [&str; 2] = ["Cluster", "Local"];
const DISTRIBUTIONS: [&str; 3] = ["PreferClose", "PreferSameZone", "PreferSameNode"];
const DAY: i64 = 86_400;

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value.text(field)
}

fn list<'v>(value: &'v Value, field: &str) -> &'v [Value] {
    value.at(field).as_array().map_or(&[], Vec::as_slice)
}

fn texts<'v>(value: &'v Value, field: &str) -> Vec<&'v str> {
    list(value, field)
        .iter()
        .filter_map(Value::as_str)
        .collect()
}

fn is_headless(spec: &Value) -> bool {
    texts(spec, "clusterIPs") == ["None"]
}

pub fn create(service: &Value) -> Errors {
    let errors = addresses(service, None);
    if errors.is_empty() {
        validate(service, None)
    } else {
        errors
    }
}

/// Upstream looks at addresses and families when it allocates, which comes before all else.
pub(super) fn addresses(service: &Value, old: Option<&Value>) -> Errors {
    let mut errors = Errors::default();
    if text(service.at("spec"), "type") != "ExternalName" {
        cluster_ips(
            service.at("spec"),
            old.map(|old| old.at("spec")),
            &Path::new("spec"),
            &mut errors,
        );
    }
    errors
}

pub fn update(new: &Value, old: &Value) -> Errors {
    let mut errors = addresses(new, Some(old));
    if !errors.is_empty() {
        return errors;
    }
    stays(new.at("spec"), old.at("spec"), &mut errors);
    let spec = Path::new("spec");
    // told of again with all else
    balancer_class(
        new.at("spec"),
        Some(old.at("spec")),
        text(new.at("spec"), "type"),
        &spec,
        &mut errors,
    );
    if needs_health_check(new.at("spec"))
        && needs_health_check(old.at("spec"))
        && new.at("spec").at("healthCheckNodePort") != old.at("spec").at("healthCheckNodePort")
    {
        errors.forbidden(&spec.child("healthCheckNodePort"), "field is immutable");
    }
    errors.extend(validate(new, Some(old)));
    errors
}

fn validate(service: &Value, old: Option<&Value>) -> Errors {
    let mut errors = Errors::default();
    let (root, spec) = (Path::new("spec"), service.at("spec"));
    let kind = text(spec, "type");
    if list(spec, "ports").is_empty() && !is_headless(spec) && kind != "ExternalName" {
        errors.required(&root.child("ports"), "");
    }
    of_type(spec, kind, &root, &mut errors);
    let mut seen = BTreeSet::new();
    let several = list(spec, "ports").len() > 1;
    for (index, port) in list(spec, "ports").iter().enumerate() {
        one_port(
            port,
            several,
            &mut seen,
            &root.child("ports").index(index),
            &mut errors,
        );
    }
    if spec["selector"].is_object() {
        checks::labels(spec, "selector", &root.child("selector"), &mut errors);
    }
    affinity(spec, &root, &mut errors);
    external_ips(spec, old.map(|old| old.at("spec")), &root, &mut errors);
    if kind.is_empty() {
        errors.required(&root.child("type"), "");
    } else if !TYPES.contains(&kind) {
        checks::unsupported(kind, &TYPES, &root.child("type"), &mut errors);
    }
    doubles(spec, kind, &root, &mut errors);
    source_ranges(
        spec,
        old.map(|old| old.at("spec")),
        kind,
        &root,
        &mut errors,
    );
    if spec.some("allocateLoadBalancerNodePorts").is_some() && kind != "LoadBalancer" {
        errors.forbidden(
            &root.child("allocateLoadBalancerNodePorts"),
            "may only be used when `type` is 'LoadBalancer'",
        );
    }
    balancer_class(spec, None, kind, &root, &mut errors);
    policies(spec, kind, &root, &mut errors);
    errors
}

fn of_type(spec: &Value, kind: &str, root: &Path, errors: &mut Errors) {
    match kind {
        "LoadBalancer" | "NodePort" if is_headless(spec) => {
            errors.invalid(
                &root.child("clusterIPs").index(0),
                "None",
                format!("may not be set to 'None' for {kind} services"),
            );
        }
        "ExternalName" => {
            for field in ["clusterIPs", "ipFamilies"] {
                if !list(spec, field).is_empty() {
                    errors.forbidden(
                        &root.child(field),
                        "may not be set for ExternalName services",
                    );
                }
            }
            if spec.some("ipFamilyPolicy").is_some() {
                errors.forbidden(
                    &root.child("ipFamilyPolicy"),
                    "may not be set for ExternalName services",
                );
            }
            let name = text(spec, "externalName");
            match name.strip_suffix('.').unwrap_or(name) {
                "" => errors.required(&root.child("externalName"), ""),
                name => checks::subdomain(name, &root.child("externalName"), errors),
            }
        }
        _ => {}
    }
}

fn one_port<'v>(
    port: &'v Value,
    named: bool,
    seen: &mut BTreeSet<&'v str>,
    path: &Path,
    errors: &mut Errors,
) {
    let name = text(port, "name");
    if name.is_empty() && named {
        errors.required(&path.child("name"), "");
    } else if !name.is_empty() {
        checks::dns_label(name, &path.child("name"), errors);
        if !seen.insert(name) {
            errors.duplicate(&path.child("name"), name);
        }
    }
    let number = port.int("port");
    for said in names::is_valid_port_num(number) {
        errors.invalid(&path.child("port"), number, said);
    }
    checks::required_one_of(
        text(port, "protocol"),
        &PROTOCOLS,
        &path.child("protocol"),
        errors,
    );
    checks::port_number_or_name(port.at("targetPort"), &path.child("targetPort"), errors);
    if let Some(protocol) = port.text_ptr("appProtocol") {
        checks::qualified_name(protocol, &path.child("appProtocol"), errors);
    }
}

fn affinity(spec: &Value, root: &Path, errors: &mut Errors) {
    let affinity = text(spec, "sessionAffinity");
    checks::required_one_of(
        affinity,
        &["ClientIP", "None"],
        &root.child("sessionAffinity"),
        errors,
    );
    let path = root.child("sessionAffinityConfig");
    let config = spec.at("sessionAffinityConfig");
    match affinity {
        "ClientIP" if config.is_null() => {
            errors.required(&path, "when session affinity type is ClientIP")
        }
        "ClientIP" if config.some("clientIP").is_none() => errors.required(
            &path.child("clientIP"),
            "when session affinity type is ClientIP",
        ),
        "ClientIP" => {
            let client = path.child("clientIP");
            match config.at("clientIP").int_ptr("timeoutSeconds") {
                None => errors.required(
                    &client.child("timeoutSeconds"),
                    "when session affinity type is ClientIP",
                ),
                Some(seconds) if !(1..=DAY).contains(&seconds) => {
                    errors.invalid(
                        &client.child("timeoutSeconds"),
                        seconds,
                        format!("must be greater than 0 and less than {DAY}"),
                    );
                }
                Some(_) => {}
            }
        }
        "None" if !config.is_null() => {
            errors.forbidden(&path, "must not be set when session affinity is None")
        }
        _ => {}
    }
}

fn cluster_ips(spec: &Value, old: Option<&Value>, root: &Path, errors: &mut Errors) {
    let path = root.child("clusterIPs");
    let (single, ips) = (text(spec, "clusterIP"), texts(spec, "clusterIPs"));
    let all = || spec.get("clusterIPs").cloned().unwrap_or_default();
    match ips.first() {
        None if !single.is_empty() => errors.required(&path, ""),
        Some(first) if !single.is_empty() && *first != single => {
            errors.invalid(&path, all(), "first value must match `clusterIP`")
        }
        Some(_) if single.is_empty() => errors.invalid(
            &path,
            all(),
            "must be empty when `clusterIP` is not specified",
        ),
        _ => {}
    }
    let families = texts(spec, "ipFamilies");
    for (index, family) in families.iter().enumerate() {
        let at = root.child("ipFamilies");
        checks::one_of(family, &FAMILIES, &at.index(index), errors);
        if families[..index].contains(family) {
            errors.duplicate(&at.index(index), *family);
        }
    }
    if let Some(policy) = spec.text_ptr("ipFamilyPolicy") {
        checks::one_of(
            policy,
            &FAMILY_POLICIES,
            &root.child("ipFamilyPolicy"),
            errors,
        );
    }
    let existing = old.map(|old| texts(old, "clusterIPs")).unwrap_or_default();
    let before = errors.len();
    for (index, ip) in ips.iter().enumerate() {
        if index == 0 && *ip == "None" {
            if ips.len() > 1 {
                errors.invalid(&path, all(), "'None' must be the first and only value");
            }
            continue;
        }
        checks::legacy_ip(ip, &existing, &path.index(index), errors);
    }
    let skewed = errors.len() > before;
    if ips.len() > 2 {
        errors.invalid(&path, all(), "may only hold up to 2 values");
    }
    // what follows would speak of addresses that are none
    if skewed {
        return;
    }
    let is_v6 = |ip: &str| ip.contains(':');
    let six = ips.iter().filter(|ip| is_v6(ip)).count();
    if ips.len() > 1 && (six == 0 || six == ips.len()) {
        errors.invalid(
            &path,
            all(),
            "may specify no more than one IP for each IP family",
        );
    }
    if is_headless(spec) {
        return;
    }
    for (index, (ip, family)) in ips.iter().zip(&families).enumerate() {
        if FAMILIES.contains(family) && (*family == "IPv6") != is_v6(ip) {
            errors.invalid(
                &path.index(index),
                *ip,
                format!("expected an {family} value as indicated by `ipFamilies[{index}]`"),
            );
        }
    }
}

/// What was given stays: a second address and family may come, and go where the policy says so; a name may take the place of all.
fn stays(new: &Value, old: &Value, errors: &mut Errors) {
    let named = |spec: &Value| text(spec, "type") == "ExternalName";
    if named(new) || named(old) {
        return;
    }
    let headless = (is_headless(new), is_headless(old));
    if headless != (true, true) {
        field_stays(new, old, ("clusterIPs", "clusterIP"), errors);
    }
    // headless services change families as they like
    if headless == (false, false) {
        field_stays(new, old, ("ipFamilies", "ipFamily"), errors);
    }
}

fn field_stays(new: &Value, old: &Value, (field, one): (&str, &str), errors: &mut Errors) {
    const CHANGED: &str = "may not change once set";
    let root = Path::new("spec");
    let path = root.child(field);
    let (is, was) = (texts(new, field), texts(old, field));
    let shown = |field: &str| new.at(field).clone();
    let of_families = field == "ipFamilies";
    if is.len() == was.len() {
        let changed = is.iter().zip(&was).enumerate();
        for (index, _) in changed.filter(|(_, (is, was))| is != was) {
            // told of as the first, whichever of the families it is
            let index = if of_families { 0 } else { index };
            errors.invalid(&path.index(index), shown(field), CHANGED);
        }
        return;
    }
    // upstream looks at the addresses here for both
    if is.len() < was.len() && texts(new, "clusterIPs").is_empty() {
        let said = format!("primary {one} can not be unset");
        errors.invalid(&path.index(0), shown(field), said);
    }
    if let (Some(is), Some(was)) = (is.first(), was.first())
        && is != was
    {
        errors.invalid(&path.index(0), shown("clusterIPs"), CHANGED);
    }
    let policy = text(new, "ipFamilyPolicy");
    if is.len() < was.len() && is.len() == 1 && policy != "SingleStack" {
        let said = format!("must be set to 'SingleStack' when releasing the secondary {one}");
        errors.invalid(&root.child("ipFamilyPolicy"), policy, said);
    }
}

fn external_ips(spec: &Value, old: Option<&Value>, root: &Path, errors: &mut Errors) {
    let existing = old.map(|old| texts(old, "externalIPs")).unwrap_or_default();
    let path = root.child("externalIPs");
    for (index, ip) in texts(spec, "externalIPs").into_iter().enumerate() {
        let (at, before) = (path.index(index), errors.len());
        checks::legacy_ip(ip, &existing, &at, errors);
        if errors.len() > before {
            continue;
        }
        checks::endpoint_ip(ip, &at, errors);
    }
}

/// Ports and node ports of one protocol stand once.
fn doubles(spec: &Value, kind: &str, root: &Path, errors: &mut Errors) {
    let path = root.child("ports");
    let ports = list(spec, "ports");
    let number = |port: &Value, field: &str| port.int(field);
    for (index, _) in ports
        .iter()
        .enumerate()
        .filter(|(_, port)| kind == "ClusterIP" && number(port, "nodePort") != 0)
    {
        errors.forbidden(
            &path.index(index).child("nodePort"),
            "may not be used when `type` is 'ClusterIP'",
        );
    }
    let mut taken = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let node_port = number(port, "nodePort");
        if node_port != 0 && !taken.insert((text(port, "protocol"), node_port)) {
            errors.duplicate(&path.index(index).child("nodePort"), node_port);
        }
    }
    let mut taken = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        if !taken.insert((text(port, "protocol"), number(port, "port"))) {
            let shown = internal::json(
                &json!({"protocol": port["protocol"], "port": port["port"]}),
                "core.ServicePort",
            );
            checks::duplicate_shown(&shown, &path.index(index), errors);
        }
    }
}

fn source_ranges(spec: &Value, old: Option<&Value>, kind: &str, root: &Path, errors: &mut Errors) {
    let ranges = texts(spec, "loadBalancerSourceRanges");
    if ranges.is_empty() {
        return;
    }
    let path = root.child("LoadBalancerSourceRanges");
    if kind != "LoadBalancer" {
        errors.forbidden(&path, "may only be used when `type` is 'LoadBalancer'");
    }
    let existing: Vec<&str> = old
        .map(|old| texts(old, "loadBalancerSourceRanges"))
        .unwrap_or_default()
        .into_iter()
        .map(str::trim)
        .collect();
    for (index, range) in ranges.into_iter().map(str::trim).enumerate() {
        for said in names::ip::is_valid_cidr_for_legacy_field(range, true, &existing) {
            errors.invalid(&path.index(index), range, said);
        }
    }
}

fn balancer_class(spec: &Value, old: Option<&Value>, kind: &str, root: &Path, errors: &mut Errors) {
    let path = root.child("loadBalancerClass");
    if let Some(old) =
        old.filter(|old| text(old, "type") == "LoadBalancer" && kind == "LoadBalancer")
        && old.at("loadBalancerClass") != spec.at("loadBalancerClass")
    {
        errors.invalid(
            &path,
            spec.at("loadBalancerClass").clone(),
            "may not change once set",
        );
    }
    let Some(class) = spec.text_ptr("loadBalancerClass") else {
        return;
    };
    match kind {
        "LoadBalancer" => checks::qualified_name(class, &path, errors),
        _ => errors.forbidden(&path, "may only be used when `type` is 'LoadBalancer'"),
    }
}

/// Traffic comes to it from outside the cluster.
pub fn is_reached_from_outside(spec: &Value) -> bool {
    let kind = text(spec, "type");
    matches!(kind, "NodePort" | "LoadBalancer")
        || kind == "ClusterIP" && !list(spec, "externalIPs").is_empty()
}

/// A load balancer looks at a port of the node for whether the node has endpoints.
pub fn needs_health_check(spec: &Value) -> bool {
    text(spec, "type") == "LoadBalancer" && text(spec, "externalTrafficPolicy") == "Local"
}

fn policies(spec: &Value, kind: &str, root: &Path, errors: &mut Errors) {
    let (external, path) = (
        text(spec, "externalTrafficPolicy"),
        root.child("externalTrafficPolicy"),
    );
    if is_reached_from_outside(spec) {
        checks::required_one_of(external, &TRAFFIC, &path, errors);
    } else if !external.is_empty() {
        errors.invalid(
            &path,
            external,
            "may only be set for externally-accessible services",
        );
    }
    let (check, path) = (
        spec.int("healthCheckNodePort"),
        root.child("healthCheckNodePort"),
    );
    match (needs_health_check(spec), check) {
        (true, 0) => errors.required(&path, ""),
        (true, port) => names::is_valid_port_num(port)
            .into_iter()
            .for_each(|said| errors.invalid(&path, port, said)),
        (false, 0) => {}
        (false, port) => errors.invalid(
            &path,
            port,
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
        ),
    }
    let path = root.child("internalTrafficPolicy");
    match spec.text_ptr("internalTrafficPolicy") {
        None if matches!(kind, "NodePort" | "LoadBalancer" | "ClusterIP") => {
            errors.required(&path, "")
        }
        Some(policy) => checks::one_of(policy, &TRAFFIC, &path, errors),
        None => {}
    }
    if let Some(distribution) = spec["trafficDistribution"]
        .as_str()
        .filter(|given| !DISTRIBUTIONS.contains(given))
    {
        checks::unsupported(
            distribution,
            &DISTRIBUTIONS,
            &root.child("trafficDistribution"),
            errors,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(changes: Value) -> Value {
        let mut spec = json!({"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster", "clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"],
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}]});
        for (field, value) in changes.as_object().unwrap() {
            spec[field] = value.clone();
        }
        json!({"spec": spec})
    }

    #[test]
    fn what_is_refused() {
        assert!(create(&service(json!({}))).is_empty());
        for (changes, said) in [
            (json!({"ports": []}), "spec.ports: Required value"),
            (
                json!({"ports": [{"port": 0, "protocol": "TCP", "targetPort": 80}]}),
                "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            ),
            (
                json!({"type": "Odd"}),
                "spec.type: Unsupported value: \"Odd\"",
            ),
            (
                json!({"sessionAffinity": "Some"}),
                "spec.sessionAffinity: Unsupported value: \"Some\"",
            ),
            (
                json!({"clusterIP": "None", "clusterIPs": ["None"], "type": "NodePort", "externalTrafficPolicy": "Cluster"}),
                "may not be set to 'None' for NodePort services",
            ),
            (
                json!({"externalIPs": ["127.0.0.1"], "externalTrafficPolicy": "Cluster"}),
                "may not be in the loopback range",
            ),
            (
                json!({"ports": [{"port": 80, "protocol": "TCP", "targetPort": 80, "nodePort": 30000}]}),
                "may not be used when `type` is 'ClusterIP'",
            ),
        ] {
            let errors = create(&service(changes.clone()));
            assert!(
                errors.message().contains(said),
                "{changes}: {}",
                errors.message()
            );
        }
        let two = json!([{"name": "a", "port": 80, "protocol": "TCP", "targetPort": 80}, {"name": "a", "port": 80, "protocol": "TCP", "targetPort": 80}]);
        assert_eq!(create(&service(json!({"ports": two}))).len(), 2);
    }

    #[test]
    fn addresses_do_not_change() {
        let other = service(json!({"clusterIP": "10.96.0.6", "clusterIPs": ["10.96.0.6"]}));
        assert!(
            update(&other, &service(json!({})))
                .message()
                .contains("may not change once set")
        );
        assert!(update(&service(json!({})), &service(json!({}))).is_empty());
    }

    #[test]
    fn updates_tell_of_classes_twice() {
        let old = service(json!({}));
        let errors = update(&service(json!({"loadBalancerClass": "a.b/c"})), &old);
        let said: Vec<String> = errors.texts();
        assert_eq!(
            said,
            ["spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'";
                2]
        );
    }

    #[test]
    fn addresses_come_before_all_else() {
        let old = service(json!({}));
        let new = service(json!({"clusterIP": "odd", "clusterIPs": ["odd"], "type": "x"}));
        assert_eq!(
            update(&new, &old).message(),
            "spec.clusterIPs[0]: Invalid value: \"odd\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
        );
    }
}
