//! What a client is told of a pod's spec that is valid and yet hardly meant. Follows `pkg/api/pod/warnings.go`.
//!
//! Invariant: warnings come in upstream's order. `root` is `None` for a pod, the template's path for a template.

use super::resources::quantity;
use super::{APPARMOR, SECCOMP_CONTAINER, SECCOMP_POD, all_containers, volume_paths};
use crate::kinds::prelude::*;
use crate::machinery::names::ip;
use crate::machinery::quote::go_quote;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

const NODE_LABELS: [(&str, &str); 8] = [
    (
        "beta.kubernetes.io/arch",
        "deprecated since v1.14; use \"kubernetes.io/arch\" instead",
    ),
    (
        "beta.kubernetes.io/os",
        "deprecated since v1.14; use \"kubernetes.io/os\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
    ),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    (
        "scheduler.alpha.kubernetes.io/preferAvoidPods",
        "deprecated since v1.22; use Taints and Tolerations instead",
    ),
    (
        "node-role.kubernetes.io/master",
        "use \"node-role.kubernetes.io/control-plane\" instead",
    ),
];

const ANNOTATIONS: [(&str, &str); 3] = [
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    (
        "security.alpha.kubernetes.io/sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
    (
        "security.alpha.kubernetes.io/unsafe-sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
];

/// Sources of volumes that are on their way out: field, its name in the path, what is said.
const SOURCES: [(&str, &str, &str); 10] = [
    (
        "photonPersistentDisk",
        "photonPersistentDisk",
        "deprecated in v1.11, non-functional in v1.16+",
    ),
    (
        "gitRepo",
        "gitRepo",
        "deprecated in v1.11, and disabled by default in v1.33+",
    ),
    (
        "scaleIO",
        "scaleIO",
        "deprecated in v1.16, non-functional in v1.22+",
    ),
    (
        "flocker",
        "flocker",
        "deprecated in v1.22, non-functional in v1.25+",
    ),
    (
        "storageos",
        "storageOS",
        "deprecated in v1.22, non-functional in v1.25+",
    ),
    (
        "quobyte",
        "quobyte",
        "deprecated in v1.22, non-functional in v1.25+",
    ),
    (
        "glusterfs",
        "glusterfs",
        "deprecated in v1.25, non-functional in v1.26+",
    ),
    ("ephemeral", "", ""),
    (
        "cephfs",
        "cephfs",
        "deprecated in v1.28, non-functional in v1.31+",
    ),
    (
        "rbd",
        "rbd",
        "deprecated in v1.28, non-functional in v1.31+",
    ),
];

/// What is said of a label of nodes that has another name now.
pub fn deprecated_node_label(key: &str) -> Option<&'static str> {
    NODE_LABELS
        .iter()
        .find(|(label, _)| *label == key)
        .map(|(_, said)| *said)
}

/// Of a pod or a template: whatever has `metadata` and `spec`.
pub fn warnings(object: &Value, root: Option<&Path>, out: &mut Warnings) {
    let nowhere = Path::new("");
    let (base, spec) = (root.unwrap_or(&nowhere), object.at("spec"));
    let at = base.child("spec");
    let notes = base.child("metadata.annotations");
    node_labels(spec, &at, out);
    for (key, said) in ANNOTATIONS
        .iter()
        .filter(|(key, _)| object.at("metadata").at("annotations").some(key).is_some())
    {
        out.push(format!("{}: {said}", notes.key(key)));
    }
    volumes(spec.list("volumes"), &at.child("volumes"), out);
    volume_paths::overlaps(spec.list("volumes"), out);
    doubles(spec, &at, out);
    for name in ["memory", "ephemeral-storage"] {
        fraction(spec.at("overhead"), name, &at.child("overhead"), out);
    }
    if spec.at("securityContext").some("seccompProfile").is_none()
        && object
            .at("metadata")
            .at("annotations")
            .some(SECCOMP_POD)
            .is_some()
    {
        out.push(format!(
            "{}: non-functional in v1.27+; use the \"seccompProfile\" field instead",
            notes.key(SECCOMP_POD)
        ));
    }
    for (list, index, container) in all_containers(spec) {
        self::container(
            object,
            container,
            root.is_some(),
            &notes,
            &at.child(list).index(index),
            out,
        );
    }
    ports(spec, &at, out);
    if spec.int("terminationGracePeriodSeconds") < 0 {
        out.push(format!(
            "{}: must be >= 0; negative values are invalid and will be treated as 1",
            at.child("terminationGracePeriodSeconds")
        ));
    }
    null_selectors(spec.at("affinity"), &at.child("affinity"), out);
    for (index, server) in spec.at("dnsConfig").texts("nameservers").enumerate() {
        address(server, &at.child("dnsConfig.nameservers").index(index), out);
    }
    for (index, alias) in spec.list("hostAliases").iter().enumerate() {
        address(
            alias.text("ip"),
            &at.child("hostAliases").index(index).child("ip"),
            out,
        );
    }
}

fn node_labels(spec: &Value, path: &Path, out: &mut Warnings) {
    for (key, _) in spec.entries("nodeSelector") {
        if let Some(said) = deprecated_node_label(key) {
            out.push(format!("{}: {said}", path.child("nodeSelector").key(key)));
        }
    }
    let affinity = spec.at("affinity").at("nodeAffinity");
    let at = path.child("affinity.nodeAffinity");
    let required = at.child(REQUIRED);
    let required = required.child("nodeSelectorTerms");
    for (index, term) in affinity
        .at(REQUIRED)
        .list("nodeSelectorTerms")
        .iter()
        .enumerate()
    {
        node_term(term, false, &required.index(index), out);
    }
    let preferred = at.child(PREFERRED);
    for (index, term) in affinity.list(PREFERRED).iter().enumerate() {
        node_term(
            term.at("preference"),
            true,
            &preferred.index(index).child("preference"),
            out,
        );
    }
    for (index, constraint) in spec.list("topologySpreadConstraints").iter().enumerate() {
        let at = path.child("topologySpreadConstraints");
        let at = at.index(index);
        let key = constraint.text("topologyKey");
        if let Some(said) = deprecated_node_label(key) {
            out.push(format!("{}: {key} is {said}", at.child("topologyKey")));
        }
        if constraint.some("labelSelector").is_none() {
            out.push(format!(
                "{}: a null labelSelector results in matching no pod",
                at.child("labelSelector")
            ));
        }
    }
}

fn node_term(term: &Value, check_values: bool, path: &Path, out: &mut Warnings) {
    for (index, requirement) in term.list("matchExpressions").iter().enumerate() {
        let at = path.child("matchExpressions");
        let at = at.index(index);
        let key = requirement.text("key");
        if let Some(said) = deprecated_node_label(key) {
            out.push(format!("{}: {key} is {said}", at.child("key")));
        }
        for (number, value) in requirement
            .texts("values")
            .enumerate()
            .filter(|_| check_values)
        {
            for message in names::is_label_value(value) {
                out.push(format!(
                    "{}: {value} is invalid, {message}",
                    at.child("values").index(number)
                ));
            }
        }
    }
}

fn volumes(list: &[Value], path: &Path, out: &mut Warnings) {
    for (index, volume) in list.iter().enumerate() {
        let at = path.index(index);
        for (field, name, said) in SOURCES
            .iter()
            .filter(|(field, _, _)| volume.some(field).is_some())
        {
            match *field {
                "ephemeral" => claim_spec(
                    volume.at("ephemeral").at("volumeClaimTemplate").at("spec"),
                    &at.child("ephemeral.volumeClaimTemplate.spec"),
                    out,
                ),
                _ => out.push(format!("{}: {said}", at.child(name))),
            }
        }
    }
}

/// Of the spec of a claim.
pub fn claim_spec(spec: &Value, path: &Path, out: &mut Warnings) {
    for list in ["requests", "limits"] {
        fraction(
            spec.at("resources").at(list),
            "storage",
            &path.child("resources").child(list),
            out,
        );
    }
}

fn fraction(amounts: &Value, name: &str, path: &Path, out: &mut Warnings) {
    if let Some(amount) = amounts
        .some(name)
        .map(quantity)
        .filter(|amount| !amount.counts_as_whole())
    {
        out.push(format!(
            "{}: fractional byte value \"{amount}\" is invalid, must be an integer",
            path.key(name)
        ));
    }
}

fn doubles(spec: &Value, path: &Path, out: &mut Warnings) {
    for (list, field, word) in [
        ("hostAliases", "ip", "ip"),
        ("imagePullSecrets", "name", "name"),
    ] {
        let items = spec.list(list);
        for (index, item) in items.iter().enumerate() {
            let value = item.text(field);
            if items[..index]
                .iter()
                .any(|other| other.text(field) == value)
            {
                out.push(format!(
                    "{}: duplicate {word} {}",
                    path.child(list).index(index).child(field),
                    go_quote(value)
                ));
            }
        }
    }
    for (index, _) in spec
        .list("imagePullSecrets")
        .iter()
        .enumerate()
        .filter(|(_, secret)| secret.text("name").is_empty())
    {
        out.push(format!(
            "{}: invalid empty name \"\"",
            path.child("imagePullSecrets").index(index).child("name")
        ));
    }
}

fn container(
    object: &Value,
    container: &Value,
    template: bool,
    notes: &Path,
    path: &Path,
    out: &mut Warnings,
) {
    let annotations = object.at("metadata").at("annotations");
    let context = container.at("securityContext");
    let key = format!("{SECCOMP_CONTAINER}{}", container.text("name"));
    if context.some("seccompProfile").is_none() && annotations.some(&key).is_some() {
        out.push(format!(
            "{}: non-functional in v1.27+; use the \"seccompProfile\" field instead",
            notes.key(&key)
        ));
    }
    // pods are told when the annotation is made a field of
    if template && context.some("appArmorProfile").is_none() {
        let key = format!("{APPARMOR}{}", container.text("name"));
        if let Some(annotation) = annotations.text_ptr(&key) {
            let of_pod = object
                .at("spec")
                .at("securityContext")
                .some("appArmorProfile");
            if of_pod.is_none() || of_pod != profile_of(annotation).as_ref() {
                out.push(format!(
                    "{}: deprecated since v1.30; use the \"appArmorProfile\" field instead",
                    notes.key(&key)
                ));
            }
        }
    }
    for name in ["memory", "ephemeral-storage"] {
        for list in ["limits", "requests"] {
            fraction(
                container.at("resources").at(list),
                name,
                &path.child("resources").child(list),
                out,
            );
        }
    }
    let variables = container.list("env");
    for (index, variable) in variables.iter().enumerate() {
        let name = variable.text("name");
        if !variables[..index]
            .iter()
            .any(|other| other.text("name") == name)
        {
            continue;
        }
        let (reference, value) = (format!("$({name})"), variable.text("value"));
        // a second definition that extends the first is meant
        if variable.some("valueFrom").is_some() || value == reference || !value.contains(&reference)
        {
            out.push(format!(
                "{}: hides previous definition of {}, which may be dropped when using apply",
                path.child("env").index(index),
                go_quote(name)
            ));
        }
    }
}

/// The profile that an AppArmor annotation names.
pub fn profile_of(annotation: &str) -> Option<Value> {
    match annotation {
        "unconfined" => Some(serde_json::json!({"type": "Unconfined"})),
        "runtime/default" => Some(serde_json::json!({"type": "RuntimeDefault"})),
        _ => annotation
            .strip_prefix("localhost/")
            .filter(|name| !name.is_empty())
            .map(|name| serde_json::json!({"type": "Localhost", "localhostProfile": name})),
    }
}

/// A port with the path that names it.
type Placed<'v> = (String, &'v Value);

fn ports(spec: &Value, path: &Path, out: &mut Warnings) {
    let mut seen: Vec<Placed> = Vec::new();
    for (list, index, container) in all_containers(spec) {
        for (number, port) in container.list("ports").iter().enumerate() {
            let at = path.child(list);
            let at = at.index(index);
            let place = at.child("ports").index(number).to_string();
            if !port.text("hostIP").is_empty() && port.int("hostPort") == 0 {
                out.push(format!(
                    "{place}: hostIP set without hostPort: {}",
                    go_port(port)
                ));
            }
            let same = |other: &Value| {
                other.int("containerPort") == port.int("containerPort")
                    && other.text("protocol") == port.text("protocol")
            };
            for (other_place, other) in seen.iter().filter(|(_, other)| same(other)) {
                if let Some(how) = overlap(port, other) {
                    out.push(format!("{place}: {how} port definition with {other_place}"));
                }
            }
            seen.push((place, port));
        }
    }
    let mut named: Vec<(&str, &str)> = Vec::new();
    for (place, port) in &seen {
        let name = port.text("name");
        if name.is_empty() {
            continue;
        }
        match named.iter().find(|(other, _)| *other == name) {
            Some((_, first)) => {
                out.push(format!(
                    "{place}: duplicate port name {} with {first}, services and probes that select ports by name will use {first}",
                    go_quote(name)
                ));
            }
            None => named.push((name, place)),
        }
    }
}

fn overlap(port: &Value, other: &Value) -> Option<&'static str> {
    let (host, other_host) = (port.int("hostPort"), other.int("hostPort"));
    let (ip, other_ip) = (port.text("hostIP"), other.text("hostIP"));
    if ip == other_ip && host == other_host {
        Some("duplicate")
    } else if host == 0 || other_host == 0 {
        Some("overlapping")
    } else if host == other_host && ip.is_empty() != other_ip.is_empty() {
        Some("dangerously ambiguous")
    } else {
        None
    }
}

/// As Go's `%+v` prints a port.
fn go_port(port: &Value) -> String {
    format!(
        "{{Name:{} HostPort:{} ContainerPort:{} Protocol:{} HostIP:{}}}",
        port.text("name"),
        port.int("hostPort"),
        port.int("containerPort"),
        port.text("protocol"),
        port.text("hostIP")
    )
}

fn null_selectors(affinity: &Value, path: &Path, out: &mut Warnings) {
    for name in ["podAffinity", "podAntiAffinity"] {
        let (of, at) = (affinity.at(name), path.child(name));
        let mut check = |term: &Value, place: &Path| {
            if term.some("labelSelector").is_none() {
                out.push(format!(
                    "{}: a null labelSelector results in matching no pod",
                    place.child("labelSelector")
                ));
            }
        };
        for (index, term) in of.list(REQUIRED).iter().enumerate() {
            check(term, &at.child(REQUIRED).index(index));
        }
        for (index, term) in of.list(PREFERRED).iter().enumerate() {
            check(
                term.at("podAffinityTerm"),
                &at.child(PREFERRED).index(index).child("podAffinityTerm"),
            );
        }
    }
}

/// Of an address that is not in the form that it should have.
pub fn address(value: &str, path: &Path, out: &mut Warnings) {
    let Some((address, mapped)) = ip::parse_ip_sloppy(value) else {
        return;
    };
    if mapped || value.parse::<std::net::IpAddr>().is_err() {
        out.push(format!(
            "{path}: non-standard IP address {} is invalid: use \"{address}\"",
            go_quote(value)
        ));
    } else if address.is_ipv6() && address.to_string() != value {
        out.push(format!(
            "{path}: IPv6 address {} should be in RFC 5952 canonical format (\"{address}\")",
            go_quote(value)
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each() {
        for (spec, wanted) in [
            (json!({}), vec![]),
            (
                json!({"nodeSelector": {"beta.kubernetes.io/os": "linux"}}),
                vec![
                    "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
                ],
            ),
            (
                json!({"topologySpreadConstraints": [{}]}),
                vec![
                    "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod",
                ],
            ),
            (
                json!({"volumes": [{"storageos": {}}]}),
                vec!["spec.volumes[0].storageOS: deprecated in v1.22, non-functional in v1.25+"],
            ),
            (
                json!({"imagePullSecrets": [{"name": "a"}, {"name": "a"}, {}]}),
                vec![
                    "spec.imagePullSecrets[1].name: duplicate name \"a\"",
                    "spec.imagePullSecrets[2].name: invalid empty name \"\"",
                ],
            ),
            (
                json!({"containers": [{"resources": {"limits": {"memory": "1500m"}}}]}),
                vec![
                    "spec.containers[0].resources.limits[memory]: fractional byte value \"1500m\" is invalid, must be an integer",
                ],
            ),
            (
                json!({"containers": [{"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}, {"name": "A"}]}]}),
                vec![
                    "spec.containers[0].env[2]: hides previous definition of \"A\", which may be dropped when using apply",
                ],
            ),
            (
                json!({"containers": [{"ports": [{"name": "p", "containerPort": 1, "protocol": "TCP"}]}, {"ports": [{"name": "p", "containerPort": 1, "protocol": "TCP", "hostIP": "1.1.1.1"}]}]}),
                vec![
                    "spec.containers[1].ports[0]: hostIP set without hostPort: {Name:p HostPort:0 ContainerPort:1 Protocol:TCP HostIP:1.1.1.1}",
                    "spec.containers[1].ports[0]: overlapping port definition with spec.containers[0].ports[0]",
                    "spec.containers[1].ports[0]: duplicate port name \"p\" with spec.containers[0].ports[0], services and probes that select ports by name will use spec.containers[0].ports[0]",
                ],
            ),
            (
                json!({"terminationGracePeriodSeconds": -1}),
                vec![
                    "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
                ],
            ),
            (
                json!({"dnsConfig": {"nameservers": ["010.0.0.1", "0:0::1"]}}),
                vec![
                    "spec.dnsConfig.nameservers[0]: non-standard IP address \"010.0.0.1\" is invalid: use \"10.0.0.1\"",
                    "spec.dnsConfig.nameservers[1]: IPv6 address \"0:0::1\" should be in RFC 5952 canonical format (\"::1\")",
                ],
            ),
        ] {
            let mut out = Warnings::new();
            warnings(&json!({"spec": spec}), None, &mut out);
            assert_eq!(out, wanted);
        }
    }
}
