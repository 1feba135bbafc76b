//! Probes, lifecycle hooks and the actions they are made of. Follows `pkg/apis/core/validation/validation.go` (validateProbe,
//! validateLifecycle, validateHandler).
//!
//! Invariant: a handler has exactly one action.

use crate::kinds::prelude::*;
use crate::kinds::validation::checks::{
    nonnegative, port_number_or_name, required_one_of, unsupported,
};

/// `livenessProbe`, `readinessProbe`, `startupProbe` of a container.
pub fn probes(container: &Value, path: &Path, errors: &mut Errors) {
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = container.some(name) else {
            continue;
        };
        let at = path.child(name);
        self::probe(probe, &at, errors);
        let successes = probe.int("successThreshold");
        if name != "readinessProbe" && successes != 1 {
            errors.invalid(&at.child("successThreshold"), successes, "must be 1");
        }
        if let Some(grace) = probe
            .int_ptr("terminationGracePeriodSeconds")
            .filter(|_| name == "readinessProbe")
        {
            errors.invalid(
                &at.child("terminationGracePeriodSeconds"),
                grace,
                "must not be set for readinessProbes",
            );
        }
    }
}

fn probe(probe: &Value, path: &Path, errors: &mut Errors) {
    handler(
        probe,
        &["exec", "httpGet", "tcpSocket", "grpc"],
        None,
        path,
        errors,
    );
    for name in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        nonnegative(probe.int(name), &path.child(name), errors);
    }
    if let Some(grace) = probe
        .int_ptr("terminationGracePeriodSeconds")
        .filter(|grace| *grace <= 0)
    {
        errors.invalid(
            &path.child("terminationGracePeriodSeconds"),
            grace,
            "must be greater than 0",
        );
    }
}

/// `lifecycle` of a container; `grace` is the pod's.
pub fn lifecycle(container: &Value, grace: Option<i64>, path: &Path, errors: &mut Errors) {
    let Some(lifecycle) = container.some("lifecycle") else {
        return;
    };
    let path = path.child("lifecycle");
    for name in ["postStart", "preStop"] {
        if let Some(hook) = lifecycle.some(name) {
            handler(
                hook,
                &["exec", "httpGet", "tcpSocket", "sleep"],
                grace,
                &path.child(name),
                errors,
            );
        }
    }
}

fn handler(
    handler: &Value,
    actions: &[&str],
    grace: Option<i64>,
    path: &Path,
    errors: &mut Errors,
) {
    let mut found = false;
    for name in actions {
        let Some(action) = handler.some(name) else {
            continue;
        };
        let at = path.child(name);
        if found {
            errors.forbidden(&at, "may not specify more than 1 handler type");
            continue;
        }
        found = true;
        match *name {
            "exec" => {
                if action.list("command").is_empty() {
                    errors.required(&at.child("command"), "");
                }
            }
            "httpGet" => http_get(action, &at, errors),
            "sleep" => sleep(action, grace, &at, errors),
            _ => port_number_or_name(action.at("port"), &at.child("port"), errors),
        }
    }
    if !found {
        errors.required(path, "must specify a handler type");
    }
}

fn http_get(action: &Value, path: &Path, errors: &mut Errors) {
    if action.text("path").is_empty() {
        errors.required(&path.child("path"), "");
    }
    port_number_or_name(action.at("port"), &path.child("port"), errors);
    let scheme = action.text("scheme");
    if !matches!(scheme, "HTTP" | "HTTPS") {
        unsupported(scheme, &["HTTP", "HTTPS"], &path.child("scheme"), errors);
    }
    for header in action.list("httpHeaders") {
        let name = header.text("name");
        errors.invalid_all(
            &path.child("httpHeaders"),
            name,
            names::is_http_header_name(name),
        );
    }
}

fn sleep(action: &Value, grace: Option<i64>, path: &Path, errors: &mut Errors) {
    let seconds = action.int("seconds");
    if let Some(grace) = grace.filter(|grace| seconds < 0 || seconds > *grace) {
        errors.invalid(
            path,
            seconds,
            format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})"),
        );
    }
}

/// `imagePullPolicy`.
pub fn pull_policy(policy: &str, path: &Path, errors: &mut Errors) {
    required_one_of(policy, &["Always", "IfNotPresent", "Never"], path, errors);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(container: Value) -> Vec<String> {
        let mut errors = Errors::default();
        probes(&container, &Path::new("c"), &mut errors);
        lifecycle(&container, Some(30), &Path::new("c"), &mut errors);
        errors.texts()
    }

    #[test]
    fn each() {
        for (container, wanted) in [
            (
                json!({"readinessProbe": {"tcpSocket": {"port": 80}, "successThreshold": 3}}),
                vec![],
            ),
            (
                json!({"livenessProbe": {"successThreshold": 2}}),
                vec![
                    "c.livenessProbe: Required value: must specify a handler type",
                    "c.livenessProbe.successThreshold: Invalid value: 2: must be 1",
                ],
            ),
            (
                json!({"readinessProbe": {"exec": {}, "httpGet": {}, "periodSeconds": -1, "terminationGracePeriodSeconds": 1}}),
                vec![
                    "c.readinessProbe.exec.command: Required value",
                    "c.readinessProbe.httpGet: Forbidden: may not specify more than 1 handler type",
                    "c.readinessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
                    "c.readinessProbe.terminationGracePeriodSeconds: Invalid value: 1: must not be set for readinessProbes",
                ],
            ),
            (
                json!({"lifecycle": {"preStop": {"sleep": {"seconds": 31}}, "postStart": {"httpGet": {"port": "-", "path": "/", "scheme": "HTTP"}}}}),
                vec![
                    "c.lifecycle.postStart.httpGet.port: Invalid value: \"-\": must contain at least one letter (a-z)",
                    "c.lifecycle.postStart.httpGet.port: Invalid value: \"-\": must not begin or end with a hyphen",
                    "c.lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)",
                ],
            ),
        ] {
            assert_eq!(said(container), wanted);
        }
    }
}
