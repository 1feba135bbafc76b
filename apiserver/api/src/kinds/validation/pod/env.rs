//! Environment variables and where their values come from. Follows `pkg/apis/core/validation/validation.go` (ValidateEnv,
//! ValidateEnvFrom) and `pkg/apis/core/pods/helpers.go` (ConvertDownwardAPIFieldLabel).
//!
//! Invariant: a variable has a value or one source of it.

use super::containers;
use super::resources::quantity;
use crate::kinds::prelude::*;
use crate::kinds::validation::checks::{
    dns_label, no_backsteps, qualified_name, subdomain, unsupported,
};

/// Fields of the pod that a variable may show, sorted.
const FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Fields of the pod that a file may show, sorted.
pub const FILE_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];
/// Fields that have a name for the downward API, whether or not the place allows them.
const KNOWN_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const DIVISORS: [&str; 13] = [
    "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei",
];

/// `env` of a container.
pub fn variables(list: &[Value], path: &Path, errors: &mut Errors) {
    for (index, variable) in list.iter().enumerate() {
        let at = path.index(index);
        let name = variable.text("name");
        if name.is_empty() {
            errors.required(&at.child("name"), "");
        } else {
            errors.invalid_all(
                &at.child("name"),
                name,
                names::is_relaxed_env_var_name(name),
            );
        }
        if let Some(from) = variable.some("valueFrom") {
            value_from(variable, from, &at.child("valueFrom"), errors);
        }
    }
}

fn value_from(variable: &Value, from: &Value, path: &Path, errors: &mut Errors) {
    let mut sources = 0;
    for name in [
        "fieldRef",
        "resourceFieldRef",
        "configMapKeyRef",
        "secretKeyRef",
        "fileKeyRef",
    ] {
        let Some(source) = from.some(name) else {
            continue;
        };
        sources += 1;
        let at = path.child(name);
        match name {
            "fieldRef" => field_ref(source, FIELDS, &at, errors),
            "resourceFieldRef" => resource_field_ref(source, false, &at, errors),
            "fileKeyRef" => file_key(source, &at, errors),
            _ => {
                subdomain(source.text("name"), &at.child("name"), errors);
                required_or(
                    source.text("key"),
                    &at.child("key"),
                    errors,
                    |key, at, errors| errors.invalid_all(at, key, names::is_config_map_key(key)),
                );
            }
        }
    }
    if sources == 0 {
        errors.invalid(path, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`");
    } else if !variable.text("value").is_empty() {
        errors.invalid(path, "", "may not be specified when `value` is not empty");
    } else if sources > 1 {
        errors.invalid(
            path,
            "",
            "may not have more than one field specified at a time",
        );
    }
}

/// Present, and then good.
fn required_or(value: &str, path: &Path, errors: &mut Errors, check: fn(&str, &Path, &mut Errors)) {
    if value.is_empty() {
        errors.required(path, "");
    } else {
        check(value, path, errors);
    }
}

fn file_key(source: &Value, path: &Path, errors: &mut Errors) {
    required_or(
        source.text("key"),
        &path.child("key"),
        errors,
        |key, at, errors| errors.invalid_all(at, key, names::is_relaxed_env_var_name(key)),
    );
    required_or(
        source.text("volumeName"),
        &path.child("volumeName"),
        errors,
        dns_label,
    );
    required_or(
        source.text("path"),
        &path.child("path"),
        errors,
        no_backsteps,
    );
}

/// `metadata.labels['key']` in its parts.
fn subscripted(path: &str) -> Option<(&str, &str)> {
    path.strip_suffix("']")?
        .split_once("['")
        .filter(|(field, _)| !field.is_empty())
}

/// A field of the pod, one of `allowed`.
pub fn field_ref(source: &Value, allowed: &[&str], path: &Path, errors: &mut Errors) {
    let (version, field) = (source.text("apiVersion"), source.text("fieldPath"));
    if version.is_empty() {
        return errors.required(&path.child("apiVersion"), "");
    }
    let at = path.child("fieldPath");
    if field.is_empty() {
        return errors.required(&at, "");
    }
    let subscript = subscripted(field);
    let fault = match subscript {
        _ if version != "v1" => Some(format!("unsupported pod version: {version}")),
        Some(("metadata.annotations" | "metadata.labels", _)) => None,
        Some(_) => Some(format!("field label does not support subscript: {field}")),
        None if KNOWN_FIELDS.contains(&field) || field == "spec.host" => None,
        None => Some(format!("field label not supported: {field}")),
    };
    if let Some(fault) = fault {
        return errors.invalid(&at, field, format!("error converting fieldPath: {fault}"));
    }
    match subscript {
        Some(("metadata.annotations", key)) => qualified_name(&key.to_lowercase(), path, errors),
        Some((_, key)) => qualified_name(key, path, errors),
        None => {
            let field = if field == "spec.host" {
                "spec.nodeName"
            } else {
                field
            };
            if !allowed.contains(&field) {
                unsupported(field, allowed, &at, errors);
            }
        }
    }
}

/// An amount of a container's resources; a file must say which container's.
pub fn resource_field_ref(source: &Value, in_file: bool, path: &Path, errors: &mut Errors) {
    let resource = source.text("resource");
    let huge =
        resource.starts_with("requests.hugepages-") || resource.starts_with("limits.hugepages-");
    if in_file && source.text("containerName").is_empty() {
        errors.required(&path.child("containerName"), "");
    } else if resource.is_empty() {
        errors.required(&path.child("resource"), "");
    } else if !RESOURCES.contains(&resource) && !huge {
        unsupported(resource, RESOURCES, &path.child("resource"), errors);
    }
    let divisor = quantity(source.at("divisor"));
    if divisor.is_zero() {
        return;
    }
    let words = divisor.to_string();
    let kind = match resource.split_once('.').map_or("", |(_, kind)| kind) {
        "cpu" => {
            if !matches!(words.as_str(), "1m" | "1") {
                errors.invalid(
                    &path.child("divisor"),
                    resource,
                    "only divisor's values 1m and 1 are supported with the cpu resource",
                );
            }
            return;
        }
        "memory" => "memory",
        "ephemeral-storage" => "local ephemeral storage",
        _ if huge => "hugepages",
        _ => return,
    };
    if !DIVISORS.contains(&words.as_str()) {
        errors.invalid(
            &path.child("divisor"),
            resource,
            format!(
                "only divisor's values {} are supported with the {kind} resource",
                DIVISORS.join(", ")
            ),
        );
    }
}

/// `envFrom` of a container.
pub fn sources(list: &[Value], path: &Path, errors: &mut Errors) {
    for (index, source) in list.iter().enumerate() {
        let at = path.index(index);
        let prefix = source.text("prefix");
        if !prefix.is_empty() {
            errors.invalid_all(
                &at.child("prefix"),
                prefix,
                names::is_relaxed_env_var_name(prefix),
            );
        }
        let mut found = 0;
        for name in ["configMapRef", "secretRef"] {
            if let Some(reference) = source.some(name) {
                found += 1;
                required_or(
                    reference.text("name"),
                    &at.child(name).child("name"),
                    errors,
                    |name, at, errors| {
                        errors.invalid_all(
                            at,
                            name,
                            names::is_dns1123_subdomain(&names::mask_trailing_dash(name)),
                        );
                    },
                );
            }
        }
        match found {
            0 => errors.invalid(
                path,
                "",
                "must specify one of: `configMapRef` or `secretRef`",
            ),
            1 => {}
            _ => errors.invalid(
                path,
                "",
                "may not have more than one field specified at a time",
            ),
        }
    }
}

/// Files that variables are read from are on volumes of kind `emptyDir`.
pub fn file_volumes(spec: &Value, path: &Path, errors: &mut Errors) {
    for (list, index, container) in containers::all(spec) {
        for (number, variable) in container.list("env").iter().enumerate() {
            let Some(source) = variable.at("valueFrom").some("fileKeyRef") else {
                continue;
            };
            let name = source.text("volumeName");
            let place = path.child(list);
            let place = place.index(index);
            let place = place.child("env");
            let place = place.index(number);
            let at = place.child("valueFrom.fileKeyRef.volumeName");
            match spec
                .list("volumes")
                .iter()
                .rfind(|volume| volume.text("name") == name)
            {
                None => errors.not_found(&at, name),
                Some(volume) if volume.some("emptyDir").is_none() => {
                    errors.invalid(&at, name, "referenced volume must be of type emptyDir")
                }
                Some(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(variable: Value) -> Vec<String> {
        Errors::of(|errors| variables(&[variable], &Path::new("env"), errors)).texts()
    }

    #[test]
    fn each() {
        let field = |path: &str| json!({"name": "A", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}});
        for (variable, wanted) in [
            (json!({"name": "a b", "value": "x"}), vec![]),
            (
                json!({"name": "a=b"}),
                vec![
                    "env[0].name: Invalid value: \"a=b\": a valid environment variable name must consist only of printable ASCII characters other than '='",
                ],
            ),
            (field("metadata.labels['a']"), vec![]),
            (field("metadata.name"), vec![]),
            (
                field("status.phase"),
                vec![
                    "env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"status.phase\": supported values: \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", \"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\"",
                ],
            ),
            (
                field("odd"),
                vec![
                    "env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"odd\": error converting fieldPath: field label not supported: odd",
                ],
            ),
            (
                field("spec.x['a']"),
                vec![
                    "env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.x['a']\": error converting fieldPath: field label does not support subscript: spec.x['a']",
                ],
            ),
            (
                json!({"name": "A", "valueFrom": {}}),
                vec![
                    "env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
                ],
            ),
            (
                json!({"name": "A", "value": "x", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}),
                vec![
                    "env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
                ],
            ),
            (
                json!({"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "2"}}}),
                vec![
                    "env[0].valueFrom.resourceFieldRef.divisor: Invalid value: \"limits.cpu\": only divisor's values 1m and 1 are supported with the cpu resource",
                ],
            ),
        ] {
            assert_eq!(said(variable), wanted);
        }
    }

    #[test]
    fn from() {
        let mut errors = Errors::default();
        sources(
            &[
                json!({"configMapRef": {"name": "a-"}}),
                json!({}),
                json!({"secretRef": {}}),
            ],
            &Path::new("f"),
            &mut errors,
        );
        assert_eq!(
            errors.texts(),
            [
                "f: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`",
                "f[2].secretRef.name: Required value"
            ]
        );
    }
}
