//! What a claim asks for, in claims and in templates of them.
//!
//! Invariant: constraints and configurations refer to requests that are there.
//! Follows `validateDeviceClaim` of `pkg/apis/resource/validation/validation.go` and `pkg/apis/resource/v1/defaults.go`.

use super::{devices, names, sets};
use crate::kinds::prelude::*;
use crate::kinds::validation::checks::dns_label;

pub const MOST_REQUESTS: usize = 32;
const MOST_CONSTRAINTS: usize = 32;
const MOST_ALTERNATIVES: usize = 8;
const ONE_KIND: &str = "exactly one of `exactly` or `firstAvailable` is required";

/// Each request is for one device, unless it says otherwise, and tolerates what is equal.
pub fn defaults(spec: &mut Map<String, Value>) {
    let Some(devices) = fill::inner(spec, "devices") else {
        return;
    };
    for request in fill::each(devices, "requests") {
        if let Some(exactly) = fill::inner(request, "exactly") {
            count_defaults(exactly);
        }
        fill::each(request, "firstAvailable").for_each(count_defaults);
    }
}

fn count_defaults(request: &mut Map<String, Value>) {
    fill::text(request, "allocationMode", "ExactCount");
    if request
        .get("allocationMode")
        .is_some_and(|mode| mode == "ExactCount")
    {
        fill::number(request, "count", 1);
    }
    toleration_defaults(request);
}

/// Of `tolerations`.
pub fn toleration_defaults(owner: &mut Map<String, Value>) {
    for toleration in fill::each(owner, "tolerations") {
        fill::text(toleration, "operator", "Equal");
    }
}

/// A `ResourceClaimSpec`.
pub fn validate(spec: &Value, path: &Path, errors: &mut Errors) {
    let (claim, path) = (spec.at("devices"), path.child("devices"));
    let names = Names::of(claim);
    sets::set(
        claim.list("requests"),
        MOST_REQUESTS,
        &request,
        |request| request.text("name").into(),
        &path.child("requests"),
        errors,
    );
    let check =
        |one: &Value, path: &Path, errors: &mut Errors| constraint(one, &names, path, errors);
    sets::list(
        claim.list("constraints"),
        MOST_CONSTRAINTS,
        &check,
        &path.child("constraints"),
        errors,
    );
    let check = |one: &Value, path: &Path, errors: &mut Errors| {
        names.check_all(one, path, errors);
        devices::configuration(one, false, path, errors);
    };
    sets::list(
        claim.list("config"),
        devices::MOST_CONFIGURATIONS,
        &check,
        &path.child("config"),
        errors,
    );
}

fn request(request: &Value, path: &Path, errors: &mut Errors) {
    dns_label(request.text("name"), &path.child("name"), errors);
    let alternatives = request.list("firstAvailable");
    match (request.some("exactly"), alternatives.is_empty()) {
        (None, true) => errors.required(path, ONE_KIND),
        (Some(_), false) => errors.invalid(
            path,
            Value::Null,
            format!("{ONE_KIND}, but multiple fields are set"),
        ),
        (None, false) => {
            let check = |one: &Value, path: &Path, errors: &mut Errors| {
                dns_label(one.text("name"), &path.child("name"), errors);
                asked(one, path, errors);
            };
            sets::set(
                alternatives,
                MOST_ALTERNATIVES,
                &check,
                |one| one.text("name").into(),
                &path.child("firstAvailable"),
                errors,
            );
        }
        (Some(exactly), true) => asked(exactly, &path.child("exactly"), errors),
    }
}

/// Which devices, and how many.
fn asked(request: &Value, path: &Path, errors: &mut Errors) {
    match request.text("deviceClassName") {
        "" => errors.required(&path.child("deviceClassName"), ""),
        class => checks::subdomain(class, &path.child("deviceClassName"), errors),
    }
    devices::selectors(request, path, errors);
    let (count, at) = (request.int("count"), path.child("count"));
    match request.text("allocationMode") {
        "All" if count != 0 => errors.invalid(
            &at,
            count,
            "must not be specified when allocationMode is 'All'",
        ),
        "ExactCount" if count <= 0 => errors.invalid(&at, count, "must be greater than zero"),
        "All" | "ExactCount" => {}
        other => checks::unsupported(
            other,
            &["All", "ExactCount"],
            &path.child("allocationMode"),
            errors,
        ),
    }
    devices::tolerations(request, path, errors);
}

fn constraint(constraint: &Value, names: &Names, path: &Path, errors: &mut Errors) {
    names.check_all(constraint, path, errors);
    match (
        constraint.text_ptr("matchAttribute"),
        constraint.text_ptr("distinctAttribute"),
    ) {
        (Some(name), _) => names::fully_qualified(name, &path.child("matchAttribute"), errors),
        (None, Some(name)) => {
            names::fully_qualified(name, &path.child("distinctAttribute"), errors)
        }
        (None, None) => {
            errors.required(path, r#"exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set"#);
        }
    }
}

/// The names of a claim's requests, and of the alternatives of each.
pub struct Names<'v>(Vec<(&'v str, Vec<&'v str>)>);

impl<'v> Names<'v> {
    /// `claim` is `spec.devices`.
    pub fn of(claim: &'v Value) -> Names<'v> {
        let alternatives = |request: &'v Value| {
            request
                .list("firstAvailable")
                .iter()
                .map(|one| one.text("name"))
                .collect()
        };
        Names(
            claim
                .list("requests")
                .iter()
                .map(|request| (request.text("name"), alternatives(request)))
                .collect(),
        )
    }

    /// Of requests with one name the last counts.
    fn has(&self, request: &str, alternative: Option<&str>) -> bool {
        let found = self.0.iter().rev().find(|(name, _)| *name == request);
        found.is_some_and(|(_, names)| alternative.is_none_or(|name| names.contains(&name)))
    }

    /// `requests` of what refers to some of them.
    pub fn check_all(&self, owner: &Value, path: &Path, errors: &mut Errors) {
        let check = |name: &Value, path: &Path, errors: &mut Errors| {
            self.check(name.as_str().unwrap_or(""), path, errors)
        };
        sets::set(
            owner.list("requests"),
            MOST_REQUESTS,
            &check,
            Value::clone,
            &path.child("requests"),
            errors,
        );
    }

    /// A request, or `REQUEST/ALTERNATIVE`.
    pub fn check(&self, name: &str, path: &Path, errors: &mut Errors) {
        const SAID: &str = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
        let parts: Vec<&str> = name.split('/').collect();
        let (request, alternative) = match parts[..] {
            [request] => (request, None),
            [request, alternative] => (request, Some(alternative)),
            _ => return errors.invalid(path, name, SAID),
        };
        for part in &parts {
            dns_label(part, path, errors);
        }
        if !self.has(request, alternative) {
            errors.invalid(path, name, SAID);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(devices: Value) -> String {
        let mut spec = json!({"devices": devices});
        defaults(spec.as_object_mut().unwrap());
        Errors::of(|errors| validate(&spec, &Path::new("spec"), errors)).message()
    }

    #[test]
    fn one_device_when_nothing_is_said() {
        let mut spec = json!({"devices": {"requests": [
            {"exactly": {}}, {"exactly": {"allocationMode": "All"}}, {"firstAvailable": [{}, {"count": 3, "tolerations": [{"key": "a"}]}]},
        ]}});
        defaults(spec.as_object_mut().unwrap());
        assert_eq!(
            spec["devices"]["requests"],
            json!([
                {"exactly": {"allocationMode": "ExactCount", "count": 1}}, {"exactly": {"allocationMode": "All"}},
                {"firstAvailable": [
                    {"allocationMode": "ExactCount", "count": 1},
                    {"allocationMode": "ExactCount", "count": 3, "tolerations": [{"key": "a", "operator": "Equal"}]},
                ]},
            ])
        );
    }

    #[test]
    fn requests() {
        let one = |request: Value| json!({"requests": [request]});
        let named = |name: &str| json!({"name": name, "exactly": {"deviceClassName": "c"}});
        for (devices, wanted) in [
            (one(named("r")), "[]"),
            (
                json!({"requests": [named("r"), named("r")]}),
                "spec.devices.requests[1]: Duplicate value: \"r\"",
            ),
            (
                json!({"requests": vec![named("r"); 33]}),
                "spec.devices.requests: Too many: 33: must have at most 32 items",
            ),
            (
                one(json!({"name": "r"})),
                "spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required",
            ),
            (
                one(json!({"name": "r", "exactly": {}, "firstAvailable": [{}]})),
                "spec.devices.requests[0]: Invalid value: null: exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set",
            ),
            (
                one(json!({"name": "r", "exactly": {}})),
                "spec.devices.requests[0].exactly.deviceClassName: Required value",
            ),
            (
                one(
                    json!({"name": "r", "exactly": {"deviceClassName": "c", "allocationMode": "All", "count": 1}}),
                ),
                "spec.devices.requests[0].exactly.count: Invalid value: 1: must not be specified when allocationMode is 'All'",
            ),
            (
                one(json!({"name": "r", "exactly": {"deviceClassName": "c", "count": -1}})),
                "spec.devices.requests[0].exactly.count: Invalid value: -1: must be greater than zero",
            ),
            (
                one(
                    json!({"name": "r", "exactly": {"deviceClassName": "c", "allocationMode": "x"}}),
                ),
                "spec.devices.requests[0].exactly.allocationMode: Unsupported value: \"x\": supported values: \"All\", \"ExactCount\"",
            ),
            (
                one(
                    json!({"name": "r", "firstAvailable": [{"name": "a", "deviceClassName": "c"}, {"name": "a", "deviceClassName": "c"}]}),
                ),
                "spec.devices.requests[0].firstAvailable[1]: Duplicate value: \"a\"",
            ),
        ] {
            assert_eq!(said(devices.clone()), wanted, "{devices}");
        }
    }

    #[test]
    fn references_to_requests() {
        let claim = |key: &str, value: Value| {
            let requests = json!([{"name": "r", "exactly": {"deviceClassName": "c"}}, {"name": "s", "firstAvailable": [{"name": "a", "deviceClassName": "c"}]}]);
            json!({"requests": requests, key: [value]})
        };
        let unknown = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
        for (devices, wanted) in [
            (claim("constraints", json!({"requests": ["r", "s", "s/a"], "matchAttribute": "d/a"})), "[]".to_string()),
            (
                claim("constraints", json!({"requests": ["r/a"], "distinctAttribute": "d/a"})),
                format!("spec.devices.constraints[0].requests[0]: Invalid value: \"r/a\": {unknown}"),
            ),
            (
                claim("constraints", json!({"requests": ["s/a/b"], "matchAttribute": "d/a"})),
                format!("spec.devices.constraints[0].requests[0]: Invalid value: \"s/a/b\": {unknown}"),
            ),
            (
                claim("constraints", json!({})),
                "spec.devices.constraints[0]: Required value: exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set".into(),
            ),
            (
                claim("constraints", json!({"distinctAttribute": "a"})),
                "spec.devices.constraints[0].distinctAttribute: Invalid value: \"a\": a fully qualified name must be a domain and a name separated by a slash".into(),
            ),
            (
                claim("config", json!({"requests": ["r", "r"], "opaque": {"driver": "d", "parameters": {}}})),
                "spec.devices.config[0].requests[1]: Duplicate value: \"r\"".into(),
            ),
        ] {
            assert_eq!(said(devices.clone()), wanted, "{devices}");
        }
    }
}
