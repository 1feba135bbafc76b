//! ResourceSlices: the devices of a pool, and from which nodes they can be had.
//!
//! Follows `ValidateResourceSlice*` of `pkg/apis/resource/validation/validation.go`, `pkg/apis/resource/v1/defaults.go` and
//! `pkg/registry/resource/resourceslice/strategy.go`.

mod attributes;
mod capacity;
mod device;

use crate::kinds::prelude::*;
use crate::kinds::rows::resource::{names, sets};
use crate::kinds::validation::checks::{dns_label, immutable, invalid_shown, subdomain};
use crate::kinds::validation::pod::affinity::node_selector;
use crate::kinds::validation::pod::volume_remote::csi_driver_name;
use crate::machinery::quote::go_quote;

pub const STRATEGY: Strategy = Strategy {
    prepare_for_create: |slice| drop_disabled(slice, None),
    prepare_for_update,
    stamp: Some(stamp),
    validate: |slice| validate(slice, None),
    validate_update: |new, old| validate(new, Some(old)),
    warnings: |slice, _| driver_warning(slice.at("spec").text("driver")),
    ..Strategy::DEFAULT
};

const MOST_DEVICES: usize = 128;
/// Of which some have taints, or take from counters.
const MOST_ADVANCED_DEVICES: usize = 64;
const MOST_COUNTER_SETS: usize = 8;
const SELECTIONS: &str =
    "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
const MAPPINGS: &str = "nodeAllocatableResourceMappings";

/// What was asked for counts as a change, even of fields that are taken away.
fn prepare_for_update(new: &mut Value, old: &Value) {
    if new.at("spec") != old.at("spec") {
        new.set_meta("generation", old.generation() + 1);
    }
    drop_disabled(new, Some(old));
}

/// Takes away the fields of features that are not on, unless the object has used them before.
fn drop_disabled(new: &mut Value, old: Option<&Value>) {
    let before = old.map_or(&[][..], |old| old.at("spec").list("devices"));
    let has_lists = before
        .iter()
        .flat_map(|device| device.entries("attributes"))
        .any(|(_, one)| attributes::is_list(one));
    let has_mappings = before
        .iter()
        .any(|device| device.entries(MAPPINGS).next().is_some());
    for device in fill::each(fill::spec(new), "devices") {
        if !has_mappings {
            device.remove(MAPPINGS);
        }
        if !has_lists {
            drop_lists(device);
        }
    }
}

fn drop_lists(device: &mut Map<String, Value>) {
    for (_, attribute) in fill::inner(device, "attributes").into_iter().flatten() {
        if let Some(attribute) = attribute.as_object_mut() {
            attribute.retain(|name, _| !attributes::LISTS.contains(&name.as_str()));
        }
    }
}

/// When a taint was added is now, unless its writer knows better.
fn stamp(new: &mut Value, _old: Option<&Value>, stamp: &Stamp<'_>) {
    for device in fill::each(fill::spec(new), "devices") {
        for taint in fill::each(device, "taints") {
            fill::absent(taint, "timeAdded", stamp.now);
        }
    }
}

fn validate(slice: &Value, old: Option<&Value>) -> Errors {
    let mut errors = Errors::default();
    let (spec, before, path) = (
        slice.at("spec"),
        old.map(|old| old.at("spec")),
        Path::new("spec"),
    );
    csi_driver_name(spec.text("driver"), &path.child("driver"), &mut errors);
    pool(spec.at("pool"), &path.child("pool"), &mut errors);
    if let Some(before) = before {
        immutable(
            spec.at("pool").some("name"),
            before.at("pool").some("name"),
            &path.child("pool").child("name"),
            &mut errors,
        );
        for name in ["driver", "nodeName"] {
            immutable(
                spec.some(name),
                before.some(name),
                &path.child(name),
                &mut errors,
            );
        }
    }
    nodes(spec, &path, &mut errors);
    let (devices, counters) = (spec.list("devices"), spec.list("sharedCounters"));
    if spec.some("sharedCounters").is_some() && spec.some("devices").is_some() {
        errors.invalid(
            &path,
            "",
            "only one of `sharedCounters` or `devices` is allowed",
        );
    }
    let most = if devices.iter().any(device::is_advanced) {
        MOST_ADVANCED_DEVICES
    } else {
        MOST_DEVICES
    };
    let chooses_nodes = spec.flag("perDeviceNodeSelection");
    let check = |one: &Value, path: &Path, errors: &mut Errors| {
        let before = before.and_then(|before| {
            before
                .list("devices")
                .iter()
                .find(|old| old.text("name") == one.text("name"))
        });
        device::validate(one, before, chooses_nodes, path, errors);
    };
    sets::set(
        devices,
        most,
        &check,
        |one| one.text("name").into(),
        &path.child("devices"),
        &mut errors,
    );
    sets::set(
        counters,
        MOST_COUNTER_SETS,
        &counter_set,
        |one| one.text("name").into(),
        &path.child("sharedCounters"),
        &mut errors,
    );
    errors
}

fn pool(pool: &Value, path: &Path, errors: &mut Errors) {
    names::pool(pool.text("name"), &path.child("name"), errors);
    let (count, generation) = (pool.int("resourceSliceCount"), pool.int("generation"));
    if count <= 0 {
        errors.invalid(
            &path.child("resourceSliceCount"),
            count,
            "must be greater than zero",
        );
    }
    if generation < 0 {
        errors.invalid(
            &path.child("generation"),
            generation,
            "must be greater than or equal to zero",
        );
    }
}

/// From which nodes the devices can be had, in one of four ways.
fn nodes(spec: &Value, path: &Path, errors: &mut Errors) {
    let mut ways = Vec::new();
    match spec.text_ptr("nodeName") {
        Some("") => errors.invalid(
            &path.child("nodeName"),
            "",
            "must be either unset or set to a non-empty string",
        ),
        Some(name) => {
            ways.push("`nodeName`");
            subdomain(name, &path.child("nodeName"), errors);
        }
        None => {}
    }
    if let Some(selector) = spec.some("nodeSelector") {
        ways.push("`nodeSelector`");
        let at = path.child("nodeSelector");
        node_selector(selector, false, &at, errors);
        let terms = selector.list("nodeSelectorTerms");
        if terms.len() != 1 {
            let shown =
                internal::json_given(selector.some("nodeSelectorTerms"), "core.NodeSelectorTerm");
            invalid_shown(
                &shown,
                "must have exactly one node selector term",
                &at.child("nodeSelectorTerms"),
                errors,
            );
        }
    }
    for (name, quoted) in [
        ("allNodes", "`allNodes`"),
        ("perDeviceNodeSelection", "`perDeviceNodeSelection`"),
    ] {
        match spec.flag_ptr(name) {
            Some(true) => ways.push(quoted),
            Some(false) => errors.invalid(
                &path.child(name),
                false,
                "must be either unset or set to true",
            ),
            None => {}
        }
    }
    match ways.len() {
        0 => errors.required(path, SELECTIONS),
        1 => {}
        _ => errors.invalid(
            path,
            format!("{{{}}}", ways.join(", ")),
            format!("{SELECTIONS}, but multiple fields are set"),
        ),
    }
}

fn counter_set(set: &Value, path: &Path, errors: &mut Errors) {
    match set.text("name") {
        "" => errors.required(&path.child("name"), ""),
        name => dns_label(name, &path.child("name"), errors),
    }
    capacity::counters(set, path, errors);
}

fn driver_warning(driver: &str) -> Warnings {
    let said = || {
        format!(
            "spec.driver: driver names should be lowercase; {} contains uppercase characters",
            go_quote(driver)
        )
    };
    (driver != driver.to_lowercase())
        .then(said)
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(change: &[(&str, Value)]) -> Value {
        let mut spec = json!({"driver": "d", "pool": {"name": "p", "resourceSliceCount": 1, "generation": 0}, "nodeName": "n"});
        for (name, value) in change {
            spec[*name] = value.clone();
        }
        json!({"metadata": {"generation": 1}, "spec": spec})
    }

    #[test]
    fn what_a_slice_may_say() {
        let term =
            json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]});
        let shown = r#"[{"MatchExpressions":null,"MatchFields":[{"Key":"metadata.name","Operator":"In","Values":["n"]}]},{"MatchExpressions":null,"MatchFields":[{"Key":"metadata.name","Operator":"In","Values":["n"]}]}]"#;
        for (change, said) in [
            (vec![], "[]".to_string()),
            (vec![("driver", json!(""))], "spec.driver: Required value".into()),
            (vec![("pool", json!({"name": "", "resourceSliceCount": 1}))], "spec.pool.name: Required value".into()),
            (
                vec![("pool", json!({"name": "p", "generation": -1}))],
                "[spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero, spec.pool.generation: Invalid value: -1: must be greater than or equal to zero]".into(),
            ),
            (vec![("nodeName", json!(null))], format!("spec: Required value: {SELECTIONS}")),
            (
                vec![("nodeName", json!(""))],
                format!("[spec.nodeName: Invalid value: \"\": must be either unset or set to a non-empty string, spec: Required value: {SELECTIONS}]"),
            ),
            (
                vec![("allNodes", json!(true)), ("perDeviceNodeSelection", json!(true))],
                format!("spec: Invalid value: \"{{`nodeName`, `allNodes`, `perDeviceNodeSelection`}}\": {SELECTIONS}, but multiple fields are set"),
            ),
            (vec![("allNodes", json!(false))], "spec.allNodes: Invalid value: false: must be either unset or set to true".into()),
            (
                vec![("nodeName", json!(null)), ("nodeSelector", json!({"nodeSelectorTerms": [term, term]}))],
                format!("spec.nodeSelector.nodeSelectorTerms: Invalid value: {shown}: must have exactly one node selector term"),
            ),
            (
                vec![("devices", json!([{"name": "a"}])), ("sharedCounters", json!([{"name": "c", "counters": {"m": {"value": "1"}}}]))],
                "spec: Invalid value: \"\": only one of `sharedCounters` or `devices` is allowed".into(),
            ),
            (vec![("devices", json!([{"name": "a"}, {"name": "a"}]))], "spec.devices[1]: Duplicate value: \"a\"".into()),
            (
                vec![("sharedCounters", json!([{"name": "", "counters": {}}]))],
                "[spec.sharedCounters[0].name: Required value, spec.sharedCounters[0].counters: Required value]".into(),
            ),
            (vec![("devices", json!(vec![json!({}); 129]))], "spec.devices: Too many: 129: must have at most 128 items".into()),
            (
                vec![("devices", json!(vec![json!({"taints": [{"key": "a"}]}); 65]))],
                "spec.devices: Too many: 65: must have at most 64 items".into(),
            ),
        ] {
            assert_eq!(validate(&slice(&change), None).message(), said, "{change:?}");
        }
    }

    #[test]
    fn whose_it_is_stays() {
        for (change, said) in [
            (
                vec![("driver", json!("e"))],
                "spec.driver: Invalid value: \"e\": field is immutable",
            ),
            (
                vec![("nodeName", json!("m"))],
                "spec.nodeName: Invalid value: \"m\": field is immutable",
            ),
            (
                vec![("nodeName", json!(null)), ("allNodes", json!(true))],
                "spec.nodeName: Invalid value: null: field is immutable",
            ),
            (
                vec![("pool", json!({"name": "q", "resourceSliceCount": 1}))],
                "spec.pool.name: Invalid value: \"q\": field is immutable",
            ),
        ] {
            assert_eq!(
                validate(&slice(&change), Some(&slice(&[]))).message(),
                said,
                "{change:?}"
            );
        }
    }

    #[test]
    fn fields_of_features_that_are_off_go() {
        let devices = json!([{"name": "a", "attributes": {"x": {"ints": [1]}, "y": {"int": 1}}, MAPPINGS: {"cpu": {}}}]);
        let mut new = slice(&[("devices", devices.clone())]);
        drop_disabled(&mut new, None);
        assert_eq!(
            new["spec"]["devices"],
            json!([{"name": "a", "attributes": {"x": {}, "y": {"int": 1}}}])
        );
        let mut new = slice(&[("devices", devices.clone())]);
        prepare_for_update(
            &mut new,
            &slice(&[(
                "devices",
                json!([{"name": "a", "attributes": {"x": {}, "y": {"int": 1}}}]),
            )]),
        );
        assert_eq!(new.generation(), 2);
        let used = slice(&[("devices", devices)]);
        let mut new = used.clone();
        drop_disabled(&mut new, Some(&used));
        assert_eq!(new, used);
    }

    #[test]
    fn taints_have_a_time() {
        let now = Stamp {
            now: "2026-01-01T00:00:00Z",
            user: &Value::Null,
        };
        let mut new = slice(&[(
            "devices",
            json!([{"name": "a", "taints": [{"key": "a", "effect": "None"}]}]),
        )]);
        stamp(&mut new, None, &now);
        assert_eq!(new["spec"]["devices"][0]["taints"][0]["timeAdded"], now.now);
        let old = new.clone();
        stamp(
            &mut new,
            None,
            &Stamp {
                now: "2026-01-01T00:00:01Z",
                user: &Value::Null,
            },
        );
        assert_eq!(new, old);
    }

    #[test]
    fn drivers_are_written_small() {
        assert_eq!(
            driver_warning("Gpu"),
            [
                "spec.driver: driver names should be lowercase; \"Gpu\" contains uppercase characters"
            ]
        );
        assert!(driver_warning("gpu").is_empty());
    }
}
