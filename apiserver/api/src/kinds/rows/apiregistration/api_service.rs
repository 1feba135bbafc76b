//! APIServices: named for what they serve, and either this server's own or those of a service.
//!
//! Follows `staging/src/k8s.io/kube-aggregator/pkg/apis/apiregistration/{validation/validation.go,helpers.go,v1/defaults.go}` and
//! `staging/src/k8s.io/kube-aggregator/pkg/registry/apiservice/strategy.go`.

use crate::kinds::prelude::*;
use crate::machinery::quote::GoQuoted;

pub const STRATEGY: Strategy = Strategy {
    defaults,
    stamp: Some(stamp),
    name_problems,
    validate,
    validate_update: |new, _| validate(new),
    ..Strategy::DEFAULT
};

fn defaults(service: &mut Value) {
    if let Some(backend) = fill::inner(fill::spec(service), "service") {
        fill::absent(backend, "port", 443);
    }
}

/// A new one that this server serves by itself is there at once.
fn stamp(new: &mut Value, old: Option<&Value>, stamp: &Stamp<'_>) {
    if old.is_none() && new.at("spec").some("service").is_none() {
        new["status"] = json!({"conditions": [{"type": "Available", "status": "True", "lastTransitionTime": stamp.now, "reason": "Local",
            "message": "Local APIServices are always available"}]});
    }
}

fn validate(service: &Value) -> Errors {
    let mut errors = Errors::default();
    let (spec, path) = (service.at("spec"), Path::new("spec"));
    let (group, version) = (spec.text("group"), spec.text("version"));
    if group.is_empty() && version != "v1" {
        errors.required(
            &path.child("group"),
            "only v1 may have an empty group and it better be legacy kube",
        );
    }
    if !group.is_empty() {
        checks::subdomain(group, &path.child("group"), &mut errors);
    }
    errors.invalid_all(
        &path.child("version"),
        version,
        names::is_dns1035_label(version),
    );
    for (field, most) in [("groupPriorityMinimum", 20000), ("versionPriority", 1000)] {
        let given = spec.int(field);
        if given <= 0 || given > most {
            errors.invalid(
                &path.child(field),
                given,
                format!("must be positive and less than {most}"),
            );
        }
    }
    match spec.some("service") {
        None => local(spec, &path, &mut errors),
        Some(backend) => remote(spec, backend, &path, &mut errors),
    }
    errors
}

/// The name says what is served. What is no name at all is told of by itself.
fn name_problems(service: &Value, name: &str) -> Vec<String> {
    let spec = service.at("spec");
    let wanted = format!("{}.{}", spec.text("version"), spec.text("group"));
    if name == wanted || !names::is_path_segment_name(name).is_empty() {
        return Vec::new();
    }
    vec![format!(
        "must be `spec.version+\".\"+spec.group`: {wanted}",
        wanted = GoQuoted(&wanted)
    )]
}

fn local(spec: &Value, path: &Path, errors: &mut Errors) {
    let bundle = checks::base64_len(spec.text("caBundle"));
    if bundle != 0 {
        errors.invalid(
            &path.child("caBundle"),
            format!("{bundle} bytes"),
            "local APIServices may not have a caBundle",
        );
    }
    if spec.flag("insecureSkipTLSVerify") {
        errors.invalid(
            &path.child("insecureSkipTLSVerify"),
            true,
            "local APIServices may not have insecureSkipTLSVerify",
        );
    }
}

fn remote(spec: &Value, backend: &Value, path: &Path, errors: &mut Errors) {
    let at = path.child("service");
    for field in ["namespace", "name"] {
        if backend.text(field).is_empty() {
            errors.required(&at.child(field), "");
        }
    }
    let port = backend.int("port");
    let wrong = names::is_valid_port_num(port);
    if !wrong.is_empty() {
        errors.invalid(
            &at.child("port"),
            port,
            format!("port is not valid: {}", wrong.join(", ")),
        );
    }
    if spec.flag("insecureSkipTLSVerify") && !spec.text("caBundle").is_empty() {
        errors.invalid(
            &path.child("insecureSkipTLSVerify"),
            true,
            "may not be true if caBundle is present",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_api_service_may_say() {
        for (change, said) in [
            (vec![], "[]"),
            (
                vec![("groupPriorityMinimum", json!(20001))],
                "spec.groupPriorityMinimum: Invalid value: 20001: must be positive and less than 20000",
            ),
            (
                vec![("versionPriority", json!(0))],
                "spec.versionPriority: Invalid value: 0: must be positive and less than 1000",
            ),
            (
                vec![
                    ("service", json!(null)),
                    ("caBundle", json!("YWJj")),
                    ("insecureSkipTLSVerify", json!(true)),
                ],
                "[spec.caBundle: Invalid value: \"3 bytes\": local APIServices may not have a caBundle, spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have insecureSkipTLSVerify]",
            ),
            (
                vec![("service", json!({"port": 443}))],
                "[spec.service.namespace: Required value, spec.service.name: Required value]",
            ),
            (
                vec![("service", json!({"name": "s", "namespace": "n", "port": 0}))],
                "spec.service.port: Invalid value: 0: port is not valid: must be between 1 and 65535, inclusive",
            ),
            (
                vec![
                    ("caBundle", json!("YWJj")),
                    ("insecureSkipTLSVerify", json!(true)),
                ],
                "spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present",
            ),
        ] {
            let mut service = json!({"metadata": {"name": "v1.a.b"}, "spec": {"group": "a.b", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1,
                "service": {"name": "s", "namespace": "n"}}});
            for (field, value) in &change {
                service["spec"][*field] = value.clone();
            }
            defaults(&mut service);
            assert_eq!(validate(&service).message(), said, "{change:?}");
        }
    }

    #[test]
    fn it_is_named_for_what_it_serves() {
        let service = json!({"spec": {"group": "a.b", "version": "v1"}});
        assert!(name_problems(&service, "v1.a.b").is_empty());
        assert_eq!(
            name_problems(&service, "v1.b.c"),
            ["must be `spec.version+\".\"+spec.group`: \"v1.a.b\""]
        );
        assert!(name_problems(&service, "a/b").is_empty());
    }

    #[test]
    fn those_of_this_server_are_there_at_once() {
        let at = Stamp {
            now: "2026-01-02T03:04:05Z",
            user: &Value::Null,
        };
        let mut own = json!({"spec": {"group": "a.b", "version": "v1"}});
        stamp(&mut own, None, &at);
        assert_eq!(own["status"]["conditions"][0]["reason"], "Local");
        let mut remote = json!({"spec": {"service": {"name": "s"}}});
        stamp(&mut remote, None, &at);
        assert!(remote.get("status").is_none());
    }
}
