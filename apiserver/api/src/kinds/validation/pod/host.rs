//! What a pod shares with its host and how it is named: host namespaces, DNS, host names, gates.
//!
//! Invariant: a pod with users of its own shares no other namespace of its host.
//! Follows `pkg/apis/core/validation/validation.go` (validatePodDNSConfig, validateHostUsers, validatePodHostName and neighbours).

use super::{Options, containers};
use crate::kinds::prelude::*;
use crate::kinds::validation::checks::{legacy_ip, qualified_name, subdomain};

const MOST_NAMESERVERS: usize = 3;
const MOST_SEARCHES: usize = 32;
const LONGEST_SEARCHES: usize = 2048;

/// `spec.dnsConfig` under `spec.dnsPolicy`.
pub fn dns(spec: &Value, path: &Path, errors: &mut Errors) {
    let path = path.child("dnsConfig");
    let config = spec.some("dnsConfig");
    if spec.text("dnsPolicy") == "None" {
        if config.is_none() {
            return errors.required(&path, "must provide `dnsConfig` when `dnsPolicy` is None");
        }
        if config.is_some_and(|config| config.list("nameservers").is_empty()) {
            return errors.required(
                &path.child("nameservers"),
                "must provide at least one DNS nameserver when `dnsPolicy` is None",
            );
        }
    }
    let Some(config) = config else { return };
    let (servers, searches) = (config.list("nameservers"), config.list("searches"));
    if servers.len() > MOST_NAMESERVERS {
        errors.invalid(
            &path.child("nameservers"),
            servers.to_vec(),
            format!("must not have more than {MOST_NAMESERVERS} nameservers"),
        );
    }
    for (index, server) in config.texts("nameservers").enumerate() {
        legacy_ip(server, &[], &path.child("nameservers").index(index), errors);
    }
    let at = path.child("searches");
    if searches.len() > MOST_SEARCHES {
        errors.invalid(
            &at,
            searches.to_vec(),
            format!("must not have more than {MOST_SEARCHES} search paths"),
        );
    }
    let length = config
        .texts("searches")
        .map(|search| search.len() + 1)
        .sum::<usize>()
        .saturating_sub(1);
    if length > LONGEST_SEARCHES {
        errors.invalid(&at, searches.to_vec(), format!("must not have more than {LONGEST_SEARCHES} characters (including spaces) in the search list"));
    }
    for (index, search) in config
        .texts("searches")
        .enumerate()
        .filter(|(_, search)| *search != ".")
    {
        let search = search.strip_suffix('.').unwrap_or(search);
        errors.invalid_all(
            &at.index(index),
            search,
            names::is_dns1123_subdomain_with_underscore(search),
        );
    }
    for (index, _) in config
        .list("options")
        .iter()
        .enumerate()
        .filter(|(_, option)| option.text("name").is_empty())
    {
        errors.required(&path.child("options").index(index), "must not be empty");
    }
}

/// `spec.hostAliases`.
pub fn aliases(spec: &Value, path: &Path, errors: &mut Errors) {
    let path = path.child("hostAliases");
    for (index, alias) in spec.list("hostAliases").iter().enumerate() {
        let at = path.index(index);
        legacy_ip(alias.text("ip"), &[], &at.child("ip"), errors);
        for (number, name) in alias.texts("hostnames").enumerate() {
            subdomain(name, &at.child("hostnames").index(number), errors);
        }
    }
}

/// On its host's network, a port of a container is that of the host. Templates may leave it to the pod's defaults.
pub fn ports(spec: &Value, options: &Options, path: &Path, errors: &mut Errors) {
    if !spec.flag("hostNetwork") {
        return;
    }
    for (index, container) in spec.list("containers").iter().enumerate() {
        for (number, port) in container.list("ports").iter().enumerate() {
            let (host, own) = (port.int("hostPort"), port.int("containerPort"));
            if (options.is_pod || host != 0) && host != own {
                let at = path.child("containers");
                let at = at.index(index);
                let at = at.child("ports");
                errors.invalid(
                    &at.index(number).child("hostPort"),
                    host,
                    "must match `containerPort` when `hostNetwork` is true",
                );
            }
        }
    }
}

/// `hostUsers: false`.
pub fn users(spec: &Value, options: &Options, path: &Path, errors: &mut Errors) {
    const REFUSED: &str = "when `hostUsers` is false";
    if spec.flag_ptr("hostUsers") != Some(false) || spec.some("securityContext").is_none() {
        return;
    }
    if spec.flag("hostNetwork") && !options.host_network_with_user_namespace {
        errors.forbidden(&path.child("hostNetwork"), REFUSED);
    }
    for (field, shown) in [("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if spec.flag(field) {
            errors.forbidden(&path.child(shown), REFUSED);
        }
    }
    if !options.devices_with_user_namespace {
        for (list, index, _) in containers::all(spec)
            .filter(|(_, _, container)| !container.list("volumeDevices").is_empty())
        {
            errors.forbidden(
                &path.child(list).index(index).child("volumeDevices"),
                REFUSED,
            );
        }
    }
}

/// `spec.hostnameOverride`.
pub fn hostname(spec: &Value, path: &Path, errors: &mut Errors) {
    const LONGEST: usize = 64;
    let Some(name) = spec.text_ptr("hostnameOverride") else {
        return;
    };
    let path = path.child("hostnameOverride");
    if spec.flag("setHostnameAsFQDN") {
        errors.forbidden(&path, "may not be specified when setHostnameAsFQDN is true");
    }
    if spec.flag("hostNetwork") {
        errors.forbidden(&path, "may not be specified when hostNetwork is true");
    }
    if name.len() > LONGEST {
        errors.too_long(&path, LONGEST as i64);
    }
    subdomain(name, &path, errors);
}

/// `spec.readinessGates`, `spec.schedulingGates`.
pub fn gates(spec: &Value, path: &Path, errors: &mut Errors) {
    for (index, gate) in spec.list("readinessGates").iter().enumerate() {
        qualified_name(
            gate.text("conditionType"),
            &path
                .child("readinessGates")
                .index(index)
                .child("conditionType"),
            errors,
        );
    }
    let gates = spec.list("schedulingGates");
    for (index, gate) in gates.iter().enumerate() {
        let at = path.child("schedulingGates");
        let at = at.index(index);
        let name = gate.text("name");
        qualified_name(name, &at, errors);
        if gates[..index]
            .iter()
            .any(|other| other.text("name") == name)
        {
            errors.duplicate(&at, name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each() {
        type Check = fn(&Value, &Path, &mut Errors);
        let users_: Check = |spec, path, errors| users(spec, &Options::default(), path, errors);
        let ports_: Check = |spec, path, errors| {
            ports(
                spec,
                &Options {
                    is_pod: true,
                    ..Options::default()
                },
                path,
                errors,
            )
        };
        for (check, spec, wanted) in [
            (
                dns as Check,
                json!({"dnsConfig": {"nameservers": ["1.1.1.1"], "searches": ["a_b", "."]}}),
                vec![],
            ),
            (
                dns,
                json!({"dnsPolicy": "None"}),
                vec![
                    "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
                ],
            ),
            (
                dns,
                json!({"dnsConfig": {"options": [{}], "nameservers": ["1", "1", "1", "1"]}}),
                vec![
                    "spec.dnsConfig.nameservers: Invalid value: [\"1\",\"1\",\"1\",\"1\"]: must not have more than 3 nameservers",
                    "spec.dnsConfig.nameservers[0]: Invalid value: \"1\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                    "spec.dnsConfig.nameservers[1]: Invalid value: \"1\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                    "spec.dnsConfig.nameservers[2]: Invalid value: \"1\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                    "spec.dnsConfig.nameservers[3]: Invalid value: \"1\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                    "spec.dnsConfig.options[0]: Required value: must not be empty",
                ],
            ),
            (
                users_,
                json!({"hostUsers": false, "hostPID": true, "securityContext": {}}),
                vec!["spec.HostPID: Forbidden: when `hostUsers` is false"],
            ),
            (
                ports_,
                json!({"hostNetwork": true, "containers": [{"ports": [{"containerPort": 1, "hostPort": 2}]}]}),
                vec![
                    "spec.containers[0].ports[0].hostPort: Invalid value: 2: must match `containerPort` when `hostNetwork` is true",
                ],
            ),
            (
                hostname,
                json!({"hostnameOverride": "a.b", "setHostnameAsFQDN": true}),
                vec![
                    "spec.hostnameOverride: Forbidden: may not be specified when setHostnameAsFQDN is true",
                ],
            ),
            (
                gates,
                json!({"schedulingGates": [{"name": "a"}, {"name": "a"}]}),
                vec!["spec.schedulingGates[1]: Duplicate value: \"a\""],
            ),
        ] {
            let mut errors = Errors::default();
            check(&spec, &Path::new("spec"), &mut errors);
            assert_eq!(errors.texts(), wanted);
        }
    }
}
