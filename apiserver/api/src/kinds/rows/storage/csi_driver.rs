//! CSIDrivers: what a driver wants of the cluster.
//!
//! Follows `ValidateCSIDriver*` of `pkg/apis/storage/validation/validation.go`, `pkg/apis/storage/v1/defaults.go` and
//! `pkg/registry/storage/csidriver/strategy.go`.

use crate::kinds::prelude::*;
use crate::kinds::validation::checks::{immutable, one_of};

pub const STRATEGY: Strategy = Strategy {
    defaults,
    prepare_for_create: |driver| {
        fill::spec(driver).remove("preventPodSchedulingIfMissing");
    },
    prepare_for_update: |new, old| {
        if old
            .at("spec")
            .some("preventPodSchedulingIfMissing")
            .is_none()
        {
            fill::spec(new).remove("preventPodSchedulingIfMissing");
        }
    },
    validate,
    validate_update,
    warnings,
    ..Strategy::DEFAULT
};

const SHORTEST_TOKEN: i64 = 10 * 60;
const LONGEST_TOKEN: i64 = 1 << 32;
const SHORTEST_PERIOD: i64 = 10;

fn defaults(driver: &mut Value) {
    let spec = fill::spec(driver);
    for (name, value) in [
        ("attachRequired", true),
        ("podInfoOnMount", false),
        ("storageCapacity", false),
        ("requiresRepublish", false),
        ("seLinuxMount", false),
    ] {
        fill::absent(spec, name, value);
    }
    fill::absent(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    if spec
        .get("volumeLifecycleModes")
        .and_then(Value::as_array)
        .is_none_or(Vec::is_empty)
    {
        spec.insert("volumeLifecycleModes".into(), json!(["Persistent"]));
    }
}

fn validate(driver: &Value) -> Errors {
    let (spec, path) = (driver.at("spec"), Path::new("spec"));
    let mut errors = Errors::default();
    for (name, field) in [
        ("attachRequired", "attachedRequired"),
        ("podInfoOnMount", "podInfoOnMount"),
        ("storageCapacity", "storageCapacity"),
    ] {
        if spec.flag_ptr(name).is_none() {
            errors.required(&path.child(field), "");
        }
    }
    if let Some(policy) = spec.text_ptr("fsGroupPolicy") {
        one_of(
            policy,
            &["File", "None", "ReadWriteOnceWithFSType"],
            &path.child("fsGroupPolicy"),
            &mut errors,
        );
    }
    tokens(
        spec.list("tokenRequests"),
        &path.child("tokenRequests"),
        &mut errors,
    );
    for mode in spec.texts("volumeLifecycleModes") {
        one_of(
            mode,
            &["Persistent", "Ephemeral"],
            &path.child("volumeLifecycleModes"),
            &mut errors,
        );
    }
    if spec.flag_ptr("seLinuxMount").is_none() {
        errors.required(&path.child("seLinuxMount"), "");
    }
    if let Some(period) = spec
        .int_ptr("nodeAllocatableUpdatePeriodSeconds")
        .filter(|period| *period < SHORTEST_PERIOD)
    {
        errors.invalid(
            &path.child("nodeAllocatableUpdatePeriodSeconds"),
            period,
            "must be greater than or equal to 10 seconds",
        );
    }
    if let Some(given) = spec
        .flag_ptr("serviceAccountTokenInSecrets")
        .filter(|_| spec.list("tokenRequests").is_empty())
    {
        let why = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
        errors.invalid(&path.child("serviceAccountTokenInSecrets"), given, why);
    }
    errors
}

fn tokens(requests: &[Value], path: &Path, errors: &mut Errors) {
    for (index, one) in requests.iter().enumerate() {
        let path = path.index(index);
        let audience = one.text("audience");
        if requests[..index]
            .iter()
            .any(|before| before.text("audience") == audience)
        {
            errors.duplicate(&path.child("audience"), audience);
            continue;
        }
        let Some(seconds) = one.int_ptr("expirationSeconds") else {
            continue;
        };
        if seconds < SHORTEST_TOKEN {
            errors.invalid(
                &path.child("expirationSeconds"),
                seconds,
                "may not specify a duration less than 10 minutes",
            );
        }
        if seconds > LONGEST_TOKEN {
            errors.invalid(
                &path.child("expirationSeconds"),
                seconds,
                "may not specify a duration larger than 2^32 seconds",
            );
        }
    }
}

fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = validate(new);
    let (new, old, path) = (new.at("spec"), old.at("spec"), Path::new("spec"));
    for (name, field) in [
        ("attachRequired", "attachedRequired"),
        ("volumeLifecycleModes", "volumeLifecycleModes"),
    ] {
        immutable(
            new.some(name),
            old.some(name),
            &path.child(field),
            &mut errors,
        );
    }
    errors
}

fn warnings(new: &Value, old: Option<&Value>) -> Warnings {
    let spec = new.at("spec");
    let changed =
        old.is_none_or(|old| old.at("spec").some("tokenRequests") != spec.some("tokenRequests"));
    let told = changed
        && !spec.list("tokenRequests").is_empty()
        && spec.flag_ptr("serviceAccountTokenInSecrets").is_none();
    let text = "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes";
    told.then(|| text.to_string()).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn driver(spec: Value) -> Value {
        let mut driver = json!({"spec": spec});
        defaults(&mut driver);
        driver
    }

    #[test]
    fn defaults_and_what_is_refused() {
        assert_eq!(
            driver(json!({}))["spec"],
            json!({"attachRequired": true, "podInfoOnMount": false, "storageCapacity": false, "requiresRepublish": false, "seLinuxMount": false,
                "fsGroupPolicy": "ReadWriteOnceWithFSType", "volumeLifecycleModes": ["Persistent"]})
        );
        for (spec, said) in [
            (json!({}), "[]"),
            (
                json!({"tokenRequests": [{"audience": "a", "expirationSeconds": 1}]}),
                "spec.tokenRequests[0].expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes",
            ),
            (
                json!({"tokenRequests": [{"audience": "a"}, {"audience": "a"}]}),
                "spec.tokenRequests[1].audience: Duplicate value: \"a\"",
            ),
            (
                json!({"volumeLifecycleModes": ["x"]}),
                "spec.volumeLifecycleModes: Unsupported value: \"x\": supported values: \"Persistent\", \"Ephemeral\"",
            ),
        ] {
            assert_eq!(validate(&driver(spec)).message(), said);
        }
        let said = "spec.attachedRequired: Invalid value: false: field is immutable";
        assert_eq!(
            validate_update(
                &driver(json!({"attachRequired": false})),
                &driver(json!({}))
            )
            .message(),
            said
        );
        assert_eq!(
            warnings(&driver(json!({"tokenRequests": [{"audience": "a"}]})), None).len(),
            1
        );
    }
}
