//! Ingresses: hosts, paths and what stands behind them.
//!
//! Follows `ValidateIngress*` of `pkg/apis/networking/validation/validation.go`.

use crate::kinds::prelude::*;
use crate::kinds::validation::{
    balancer,
    checks::{is_good, one_of, required_segment},
};
use crate::machinery::names::ip;

const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
const NOT_AN_ADDRESS: &str = "must be a DNS name, not an IP address";

pub const STRATEGY: Strategy = Strategy {
    validate: create,
    validate_update: |new, old| validate(new, &Options::of(old)),
    validate_status_update: |new, old| balancer::validate(new, old, false),
    status_warnings: balancer::warnings,
    warnings,
    ..Strategy::DEFAULT
};

/// What an update may leave as it was, though it would be refused anew.
#[derive(Default)]
struct Options {
    any_secret_name: bool,
    any_wildcard_rule: bool,
}

impl Options {
    fn of(old: &Value) -> Options {
        let spec = old.at("spec");
        let bad = |rule: &Value| !is_good(|errors| rule_value(rule, &Path::new(""), errors));
        Options {
            any_secret_name: spec
                .list("tls")
                .iter()
                .any(|tls| !secret_name(tls.text("secretName")).is_empty()),
            any_wildcard_rule: spec
                .list("rules")
                .iter()
                .any(|rule| rule.text("host").contains('*') && bad(rule)),
        }
    }
}

fn create(ingress: &Value) -> Errors {
    let mut errors = validate(ingress, &Options::default());
    if let (Some(annotation), Some(class)) = (
        ingress.annotation(CLASS_ANNOTATION),
        ingress.at("spec").text_ptr("ingressClassName"),
    ) && annotation != class
    {
        errors.invalid(
            &Path::new("annotations").child(CLASS_ANNOTATION),
            annotation,
            "must match `ingressClassName` when both are specified",
        );
    }
    errors
}

fn validate(ingress: &Value, options: &Options) -> Errors {
    let mut errors = Errors::default();
    let (spec, path) = (ingress.at("spec"), Path::new("spec"));
    let (list, default) = (spec.list("rules"), spec.some("defaultBackend"));
    if list.is_empty() && default.is_none() {
        errors.invalid(
            &path,
            Value::Null,
            "either `defaultBackend` or `rules` must be specified",
        );
    }
    if let Some(default) = default {
        backend(default, &path.child("defaultBackend"), &mut errors);
    }
    rules(list, options, &path.child("rules"), &mut errors);
    tls(spec.list("tls"), options, &path.child("tls"), &mut errors);
    if let Some(class) = spec.text_ptr("ingressClassName") {
        checks::subdomain(class, &path.child("ingressClassName"), &mut errors);
    }
    errors
}

fn host(host: &str, path: &Path, errors: &mut Errors) {
    let said = if host.contains('*') {
        names::is_wildcard_dns1123_subdomain(host)
    } else {
        names::is_dns1123_subdomain(host)
    };
    errors.invalid_all(path, host, said);
}

fn rules(rules: &[Value], options: &Options, path: &Path, errors: &mut Errors) {
    for (index, rule) in rules.iter().enumerate() {
        let at = path.index(index);
        let name = rule.text("host");
        if !name.is_empty() {
            if ip::parse_ip_sloppy(name).is_some() {
                errors.invalid(&at.child("host"), name, NOT_AN_ADDRESS);
            }
            host(name, &at.child("host"), errors);
        }
        if !name.contains('*') || !options.any_wildcard_rule {
            rule_value(rule, &at, errors);
        }
    }
}

fn rule_value(rule: &Value, path: &Path, errors: &mut Errors) {
    let Some(http) = rule.some("http") else {
        return;
    };
    let http_path = path.child("http");
    let paths = http_path.child("paths");
    if http.list("paths").is_empty() {
        errors.required(&paths, "");
    }
    for (index, one) in http.list("paths").iter().enumerate() {
        http_path_of(one, &paths.index(index), errors);
    }
}

fn http_path_of(one: &Value, path: &Path, errors: &mut Errors) {
    let (text, text_path) = (one.text("path"), path.child("path"));
    let mut absolute = || {
        if !text.starts_with('/') {
            errors.invalid(&text_path, text, "must be an absolute path");
        }
    };
    match one.text_ptr("pathType") {
        None => return errors.required(&path.child("pathType"), "pathType must be specified"),
        Some("Exact" | "Prefix") => {
            absolute();
            for sequence in ["//", "/./", "/../", "%2f", "%2F"]
                .into_iter()
                .filter(|sequence| text.contains(sequence))
            {
                errors.invalid(&text_path, text, format!("must not contain '{sequence}'"));
            }
            for end in ["/..", "/."].into_iter().filter(|end| text.ends_with(end)) {
                errors.invalid(&text_path, text, format!("cannot end with '{end}'"));
            }
        }
        Some("ImplementationSpecific") => {
            if !text.is_empty() {
                absolute();
            }
        }
        Some(other) => one_of(
            other,
            &["Exact", "ImplementationSpecific", "Prefix"],
            &path.child("pathType"),
            errors,
        ),
    }
    backend(one.at("backend"), &path.child("backend"), errors);
}

fn backend(backend: &Value, path: &Path, errors: &mut Errors) {
    match (backend.some("resource"), backend.some("service")) {
        (Some(_), Some(_)) => {
            errors.invalid(path, "", "cannot set both resource and service backends")
        }
        (Some(resource), None) => {
            let at = path.child("resource");
            if let Some(group) = resource.text_ptr("apiGroup") {
                checks::subdomain(group, &at.child("apiGroup"), errors);
            }
            required_segment(resource.text("kind"), &at.child("kind"), errors);
            required_segment(resource.text("name"), &at.child("name"), errors);
        }
        (None, Some(service)) => service_backend(service, path, errors),
        (None, None) => errors.invalid(path, "", "resource or service backend is required"),
    }
}

fn service_backend(service: &Value, path: &Path, errors: &mut Errors) {
    let at = path.child("service");
    let (name, name_path) = (service.text("name"), at.child("name"));
    if name.is_empty() {
        errors.required(&name_path, "");
    } else {
        checks::dns_label(name, &name_path, errors);
    }
    let port = service.at("port");
    let port_path = at.child("port");
    match (port.text("name"), port.int("number")) {
        ("", 0) => errors.required(path, "port name or number is required"),
        ("", number) => {
            for said in names::is_valid_port_num(number) {
                errors.invalid(&port_path.child("number"), number, said);
            }
        }
        (name, 0) => errors.invalid_all(
            &port_path.child("name"),
            name,
            names::is_valid_port_name(name),
        ),
        _ => errors.invalid(path, "", "cannot set both port name & port number"),
    }
}

fn secret_name(name: &str) -> Vec<String> {
    if name.is_empty() {
        Vec::new()
    } else {
        names::is_dns1123_subdomain(name)
    }
}

fn tls(list: &[Value], options: &Options, path: &Path, errors: &mut Errors) {
    for (index, tls) in list.iter().enumerate() {
        let at = path.index(index);
        for (index, name) in tls.texts("hosts").enumerate() {
            host(name, &at.child("hosts").index(index), errors);
        }
        if !options.any_secret_name {
            errors.invalid_all(
                &at.child("secretName"),
                tls.text("secretName"),
                secret_name(tls.text("secretName")),
            );
        }
    }
}

/// Of a new one alone.
fn warnings(ingress: &Value, old: Option<&Value>) -> Warnings {
    let said = "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead";
    let names_class = ingress.at("spec").some("ingressClassName").is_some();
    if old.is_none() && !names_class && ingress.annotation(CLASS_ANNOTATION).is_some() {
        vec![said.into()]
    } else {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_one_with_the_old_annotation_is_warned_of() {
        let old = json!({"metadata": {"annotations": {CLASS_ANNOTATION: "a"}}, "spec": {}});
        let mut named = old.clone();
        named["spec"]["ingressClassName"] = "b".into();
        assert_eq!(warnings(&old, None).len(), 1);
        assert!(warnings(&old, Some(&old)).is_empty());
        assert!(warnings(&named, None).is_empty());
    }

    #[test]
    fn rules_and_backends() {
        let with = |path: Value| json!({"spec": {"rules": [{"host": "a.example.com", "http": {"paths": [path]}}]}});
        let service = json!({"service": {"name": "s", "port": {"number": 80}}});
        for (ingress, said) in [
            (
                with(json!({"path": "/", "pathType": "Prefix", "backend": service})),
                "[]",
            ),
            (
                json!({}),
                "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified",
            ),
            (
                with(json!({"path": "x", "pathType": "Exact", "backend": service})),
                "spec.rules[0].http.paths[0].path: Invalid value: \"x\": must be an absolute path",
            ),
            (
                with(json!({"backend": service})),
                "spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified",
            ),
            (
                with(
                    json!({"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "s"}}}),
                ),
                "spec.rules[0].http.paths[0].backend: Required value: port name or number is required",
            ),
            (
                json!({"spec": {"rules": [{"host": "10.0.0.1"}]}}),
                "spec.rules[0].host: Invalid value: \"10.0.0.1\": must be a DNS name, not an IP address",
            ),
        ] {
            assert_eq!(create(&ingress).message(), said);
        }
    }
}
