//! What a node or controller may say of a pod in its status. Follows `pkg/apis/core/validation/validation.go`
//! (ValidatePodStatusUpdate).
//!
//! Invariant: a container that has ended for good does not come back, and the class of service stays.

use std::net::IpAddr;

use super::{Options, annotations};
use crate::kinds::prelude::*;
use crate::kinds::validation::checks::{
    IMMUTABLE, dns_label, invalid_shown, legacy_ip, one_of, qualified_name, range, subdomain,
};
use crate::machinery::names::ip::parse_ip_sloppy;

const STATUSES: [(&str, &str); 3] = [
    ("containerStatuses", "containers"),
    ("initContainerStatuses", "initContainers"),
    ("ephemeralContainerStatuses", "ephemeralContainers"),
];

pub fn validate(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    let options = Options::of_pod(Some(old));
    annotations::validate_update(
        new,
        old,
        &options,
        &Path::new("metadata").child("annotations"),
        &mut errors,
    );
    let path = Path::new("status");
    let (now, before, spec) = (new.at("status"), old.at("status"), old.at("spec"));
    conditions(now, &path, &mut errors);
    if spec.text("nodeName") != new.at("spec").text("nodeName") {
        errors.forbidden(&path.child("nodeName"), "may not be changed directly");
    }
    nominated(
        now,
        before,
        spec,
        &path.child("nominatedNodeName"),
        &mut errors,
    );
    if now.int("observedGeneration") < 0 {
        errors.invalid(
            &path.child("observedGeneration"),
            now.int("observedGeneration"),
            "must be a non-negative integer",
        );
    }
    if now.text("qosClass") != before.text("qosClass") {
        errors.invalid(&path.child("qosClass"), now.text("qosClass"), IMMUTABLE);
    }
    for (statuses, containers) in STATUSES {
        ended(
            now.list(statuses),
            before.list(statuses),
            containers,
            spec,
            &path.child(statuses),
            &mut errors,
        );
    }
    claims(
        now,
        new.at("spec"),
        &path.child("resourceClaimStatuses"),
        &mut errors,
    );
    extended_claim(
        now,
        new.at("spec"),
        &path.child("extendedResourceClaimStatus"),
        &mut errors,
    );
    addresses(
        now,
        before,
        "podIPs",
        "core.PodIP",
        &path.child("podIPs"),
        &mut errors,
    );
    let hosts = path.child("hostIPs");
    if let Some(first) = now
        .list("hostIPs")
        .first()
        .filter(|first| first.text("ip") != now.text("hostIP"))
    {
        errors.invalid(
            &hosts.index(0).child("ip"),
            first.text("ip"),
            "must be equal to `hostIP`",
        );
    }
    addresses(now, before, "hostIPs", "core.HostIP", &hosts, &mut errors);
    for (statuses, _) in STATUSES {
        users(
            now.list(statuses),
            new.at("spec"),
            &path.child(statuses),
            &mut errors,
        );
    }
    for (statuses, containers) in STATUSES {
        allocated(
            now.list(statuses),
            new.at("spec").list(containers),
            containers,
            &path.child(statuses),
            &mut errors,
        );
    }
    errors
}

fn conditions(status: &Value, path: &Path, errors: &mut Errors) {
    for (index, condition) in status.list("conditions").iter().enumerate() {
        let at = path.child("conditions");
        let at = at.index(index);
        let generation = condition.int("observedGeneration");
        if generation < 0 {
            errors.invalid(
                &at.child("observedGeneration"),
                generation,
                "must be a non-negative integer",
            );
        }
        let kind = condition.text("type");
        if !matches!(kind, "PodScheduled" | "Ready" | "Initialized") {
            qualified_name(kind, &at.child("Type"), errors);
        }
    }
}

fn nominated(new: &Value, old: &Value, spec: &Value, path: &Path, errors: &mut Errors) {
    let name = new.text("nominatedNodeName");
    if name.is_empty() || name == old.text("nominatedNodeName") {
        return;
    }
    subdomain(name, path, errors);
    if !spec.text("nodeName").is_empty() {
        errors.forbidden(
            path,
            "may not be set on pods that are already bound to a node",
        );
    }
}

/// A container that has ended stays so, unless something restarts it.
fn ended(
    new: &[Value],
    old: &[Value],
    containers: &str,
    spec: &Value,
    path: &Path,
    errors: &mut Errors,
) {
    let ephemeral = containers == "ephemeralContainers";
    if !ephemeral && restarts_all(spec) {
        return;
    }
    let over = |status: &Value| status.at("state").some("terminated").is_some();
    for (index, had) in old.iter().enumerate().filter(|(_, had)| over(had)) {
        let name = had.text("name");
        let Some(_) = new
            .iter()
            .find(|status| status.text("name") == name && !over(status))
        else {
            continue;
        };
        let code = had.at("state").at("terminated").int("exitCode");
        let allowed = !ephemeral
            && spec
                .list(containers)
                .iter()
                .find(|container| container.text("name") == name)
                .is_some_and(|container| should_restart(container, spec, code));
        if !allowed {
            errors.forbidden(
                &path.index(index).child("state"),
                "may not be transitioned to non-terminated state",
            );
        }
    }
}

fn restarts_all(spec: &Value) -> bool {
    ["containers", "initContainers"]
        .iter()
        .flat_map(|list| spec.list(list))
        .flat_map(|container| container.list("restartPolicyRules"))
        .any(|rule| rule.text("action") == "RestartAllContainers")
}

/// Whether a container that ended with `code` runs again: its own rules, its own policy, the pod's policy.
fn should_restart(container: &Value, spec: &Value, code: i64) -> bool {
    let by_policy = |policy: &str| match policy {
        "Always" => true,
        "OnFailure" => code != 0,
        _ => false,
    };
    let Some(own) = container.text_ptr("restartPolicy") else {
        return by_policy(spec.text("restartPolicy"));
    };
    for rule in container.list("restartPolicyRules") {
        let codes = rule.at("exitCodes");
        let listed = codes
            .list("values")
            .iter()
            .any(|value| value.as_i64() == Some(code));
        let applies = match codes.text("operator") {
            "In" => listed,
            "NotIn" => !listed,
            _ => false,
        };
        if applies && rule.text("action") == "Restart" {
            return true;
        }
    }
    by_policy(own)
}

fn claims(status: &Value, spec: &Value, path: &Path, errors: &mut Errors) {
    let list = status.list("resourceClaimStatuses");
    for (index, claim) in list.iter().enumerate() {
        let at = path.index(index);
        let name = claim.text("name");
        if !spec
            .list("resourceClaims")
            .iter()
            .any(|known| known.text("name") == name)
        {
            errors.invalid(
                &at.child("name"),
                name,
                "must match the name of an entry in `spec.resourceClaims`",
            );
        }
        if list[..index].iter().any(|other| other.text("name") == name) {
            errors.duplicate(&at.child("name"), name);
        }
        if let Some(name) = claim.text_ptr("resourceClaimName") {
            subdomain(name, &at.child("resourceClaimName"), errors);
        }
    }
}

fn extended_claim(status: &Value, spec: &Value, path: &Path, errors: &mut Errors) {
    let Some(claim) = status.some("extendedResourceClaimStatus") else {
        return;
    };
    let mappings = claim.list("requestMappings");
    let at = path.child("requestMappings");
    if mappings.is_empty() {
        errors.required(&at, "at least one request mapping is required");
    }
    let key = |mapping: &Value| {
        ["containerName", "resourceName", "requestName"].map(|name| mapping.text(name).to_string())
    };
    for (index, mapping) in mappings.iter().enumerate() {
        let at = at.index(index);
        let (name, resource) = (mapping.text("containerName"), mapping.text("resourceName"));
        match ["containers", "initContainers"].iter().flat_map(|list| spec.list(list)).find(|container| container.text("name") == name) {
            None => errors.invalid(&at.child("containerName"), name, "must match the name of an entry in spec.initContainers.name or spec.containers.name"),
            Some(container) if container.at("resources").at("requests").some(resource).is_none() => {
                let why = "must match the extended resource name of an entry in spec.initContainers.resources.requests or spec.containers.resources.requests";
                errors.invalid(&at.child("resourceName"), resource, why);
            }
            Some(_) => {}
        }
        dns_label(
            mapping.text("requestName"),
            &path.child("requestName"),
            errors,
        );
        if mappings[..index]
            .iter()
            .any(|other| key(other) == key(mapping))
        {
            for name in ["containerName", "resourceName", "requestName"] {
                errors.duplicate(&at.child(name), mapping.text(name));
            }
        }
    }
    match claim.text("resourceClaimName") {
        "" => errors.required(&path.child("resourceClaimName"), ""),
        name => subdomain(name, &path.child("resourceClaimName"), errors),
    }
}

/// At most one address of each family.
fn addresses(
    new: &Value,
    old: &Value,
    list: &str,
    kind: &'static str,
    path: &Path,
    errors: &mut Errors,
) {
    let had: Vec<&str> = old.list(list).iter().map(|one| one.text("ip")).collect();
    let given: Vec<&str> = new.list(list).iter().map(|one| one.text("ip")).collect();
    for (index, address) in given.iter().enumerate() {
        legacy_ip(address, &had, &path.index(index), errors);
    }
    if given.len() < 2 {
        return;
    }
    let parsed: Vec<Option<IpAddr>> = given
        .iter()
        .map(|address| parse_ip_sloppy(address).map(|(ip, _)| ip))
        .collect();
    if let Some(index) = parsed.iter().position(Option::is_none) {
        errors.internal(
            path,
            format!(
                "failed to check for dual stack with error:invalid IP[{index}]: {}",
                given[index]
            ),
        );
    }
    let families = |v6: bool| parsed.iter().flatten().any(|ip| ip.is_ipv6() == v6);
    if given.len() > 2 || parsed.contains(&None) || !families(true) || !families(false) {
        invalid_shown(
            &internal::json_list(new.list(list), kind),
            "may specify no more than one IP for each IP family",
            path,
            errors,
        );
    }
}

fn users(statuses: &[Value], spec: &Value, path: &Path, errors: &mut Errors) {
    for (index, status) in statuses.iter().enumerate() {
        let Some(user) = status.at("user").some("linux") else {
            continue;
        };
        let at = path.index(index);
        let at = at.child("user");
        let at = at.child("linux");
        match spec.at("os").text("name") {
            "windows" => errors.forbidden(&at, "cannot be set for a windows pod"),
            _ => {
                range(
                    user.int("uid"),
                    0,
                    i32::MAX.into(),
                    &at.child("uid"),
                    errors,
                );
                range(
                    user.int("gid"),
                    0,
                    i32::MAX.into(),
                    &at.child("gid"),
                    errors,
                );
                for (number, group) in user.list("supplementalGroups").iter().enumerate() {
                    range(
                        group.as_i64().unwrap_or(0),
                        0,
                        i32::MAX.into(),
                        &at.child("supplementalGroups").index(number),
                        errors,
                    );
                }
            }
        }
    }
}

fn allocated(
    statuses: &[Value],
    containers: &[Value],
    kind: &str,
    path: &Path,
    errors: &mut Errors,
) {
    for (index, status) in statuses.iter().enumerate() {
        let at = path.index(index);
        let at = at.child("allocatedResourcesStatus");
        let list = status.list("allocatedResourcesStatus");
        if kind == "ephemeralContainers" {
            if !list.is_empty() {
                errors.forbidden(&at, "must not be specified in container status");
            }
            continue;
        }
        let container = containers
            .iter()
            .find(|container| container.text("name") == status.text("name"));
        for (number, resource) in list.iter().enumerate() {
            let at = at.index(number);
            if let Some(container) = container {
                named_by(
                    resource.text("name"),
                    container.at("resources"),
                    &at.child("name"),
                    errors,
                );
            }
            health(resource.list("resources"), &at.child("resources"), errors);
        }
    }
}

fn named_by(name: &str, resources: &Value, path: &Path, errors: &mut Errors) {
    let (known, why) = if name.starts_with("claim:") {
        let claim = |claim: &Value| match claim.text("request") {
            "" => format!("claim:{}", claim.text("name")),
            request => format!("claim:{}/{request}", claim.text("name")),
        };
        let why = "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or 'claim:<claimName>' if request is empty";
        (
            resources
                .list("claims")
                .iter()
                .any(|one| claim(one) == name),
            why,
        )
    } else {
        (
            resources.at("requests").some(name).is_some(),
            "must match one of the container's resource requests",
        )
    };
    if !known {
        errors.invalid(path, name, why);
    }
}

fn health(list: &[Value], path: &Path, errors: &mut Errors) {
    const LONGEST: usize = 1024;
    for (index, one) in list.iter().enumerate() {
        let at = path.index(index);
        one_of(
            one.text("health"),
            &["Healthy", "Unhealthy", "Unknown"],
            &at.child("health"),
            errors,
        );
        match one.text_ptr("message") {
            Some("") => errors.required(&at.child("message"), "must be non-empty if specified"),
            Some(message) if message.len() > LONGEST => {
                errors.too_long(&at.child("message"), LONGEST as i64)
            }
            _ => {}
        }
        if list[..index]
            .iter()
            .any(|other| other.text("resourceID") == one.text("resourceID"))
        {
            errors.duplicate(&at.child("resourceID"), one.text("resourceID"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(spec: Value, new: Value, old: Value) -> Vec<String> {
        let pod =
            |status: Value| json!({"metadata": {"name": "a"}, "spec": spec, "status": status});
        validate(&pod(new), &pod(old)).texts()
    }

    #[test]
    fn each() {
        let over = |code: i64| json!({"containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": code}}}]});
        let runs = json!({"containerStatuses": [{"name": "c", "state": {"running": {}}}]});
        let spec = |policy: &str| json!({"restartPolicy": policy, "containers": [{"name": "c"}]});
        let refused = "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state";
        for (spec, new, old, wanted) in [
            (spec("Always"), runs.clone(), over(0), vec![]),
            (spec("OnFailure"), runs.clone(), over(1), vec![]),
            (spec("OnFailure"), runs.clone(), over(0), vec![refused]),
            (spec("Never"), runs.clone(), over(1), vec![refused]),
            (
                json!({"restartPolicy": "Never", "containers": [{"name": "c", "restartPolicy": "Never", "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]}]}),
                runs,
                over(42),
                vec![],
            ),
            (
                json!({}),
                json!({"qosClass": "Burstable"}),
                json!({"qosClass": "BestEffort"}),
                vec!["status.qosClass: Invalid value: \"Burstable\": field is immutable"],
            ),
            (
                json!({"nodeName": "n"}),
                json!({"nominatedNodeName": "m"}),
                json!({}),
                vec![
                    "status.nominatedNodeName: Forbidden: may not be set on pods that are already bound to a node",
                ],
            ),
            (
                json!({}),
                json!({"podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}]}),
                json!({}),
                vec![
                    "status.podIPs: Invalid value: [{\"IP\":\"10.0.0.1\"},{\"IP\":\"10.0.0.2\"}]: may specify no more than one IP for each IP family",
                ],
            ),
            (
                json!({}),
                json!({"hostIP": "a", "hostIPs": [{"ip": "10.0.0.1"}]}),
                json!({}),
                vec![
                    "status.hostIPs[0].ip: Invalid value: \"10.0.0.1\": must be equal to `hostIP`",
                ],
            ),
            (
                json!({}),
                json!({"conditions": [{"type": "Ready"}, {"type": "a b"}]}),
                json!({}),
                vec![
                    "status.conditions[1].Type: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
                ],
            ),
        ] {
            assert_eq!(said(spec, new, old), wanted);
        }
    }
}
