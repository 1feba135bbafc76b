//! One device of a slice.
//!
//! Follows `validateDevice` of `pkg/apis/resource/validation/validation.go`.

use super::{attributes, capacity};
use crate::kinds::prelude::*;
use crate::kinds::rows::resource::{devices, names, sets};
use crate::kinds::validation::checks::{dns_label, subdomain};
use crate::kinds::validation::pod::affinity::node_selector;
use crate::kinds::validation::pod::resources;

const MOST_PROPERTIES: usize = 32;
const MOST_VALUES: usize = 48;
const MOST_TAINTS: usize = 16;
const MOST_CONSUMPTIONS: usize = 2;
const SELECTIONS: &str = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec";

/// Such devices are dear to allocate, and a slice has fewer of them.
pub fn is_advanced(device: &Value) -> bool {
    !device.list("taints").is_empty()
        || !device.list("consumesCounters").is_empty()
        || device
            .entries("attributes")
            .any(|(_, one)| attributes::is_list(one))
}

/// `old` is the device of that name before an update; `chooses_nodes`: each device of the slice says from which nodes it can be had.
pub fn validate(
    device: &Value,
    old: Option<&Value>,
    chooses_nodes: bool,
    path: &Path,
    errors: &mut Errors,
) {
    dns_label(device.text("name"), &path.child("name"), errors);
    let properties = device.entries("attributes").count() + device.entries("capacity").count();
    if properties > MOST_PROPERTIES {
        errors.invalid(
            path,
            properties,
            format!(
                "the total number of attributes and capacities must not exceed {MOST_PROPERTIES}"
            ),
        );
    }
    let values: usize = device
        .entries("attributes")
        .map(|(_, one)| attributes::count(one))
        .sum();
    if values > MOST_VALUES {
        errors.invalid(
            path,
            values,
            format!("the total number of attribute values must not exceed {MOST_VALUES}"),
        );
    }
    let longest = names::LONGEST_QUALIFIED;
    sets::map(
        device.entries("attributes"),
        longest,
        names::qualified,
        &attributes::validate,
        &path.child("attributes"),
        errors,
    );
    let check: sets::Check = if device.flag("allowMultipleAllocations") {
        &capacity::shared
    } else {
        &capacity::alone
    };
    sets::map(
        device.entries("capacity"),
        longest,
        names::qualified,
        check,
        &path.child("capacity"),
        errors,
    );
    if old.is_none_or(|old| old.list("taints") != device.list("taints")) {
        sets::list(
            device.list("taints"),
            MOST_TAINTS,
            &devices::taint,
            &path.child("taints"),
            errors,
        );
    }
    let at = path.child("consumesCounters");
    sets::set(
        device.list("consumesCounters"),
        MOST_CONSUMPTIONS,
        &consumption,
        |one| one.text("counterSet").into(),
        &at,
        errors,
    );
    nodes(device, chooses_nodes, path, errors);
    devices::binding(device, path, errors);
    mappings(device, path, errors);
}

fn consumption(consumption: &Value, path: &Path, errors: &mut Errors) {
    match consumption.text("counterSet") {
        "" => errors.required(&path.child("counterSet"), ""),
        name => dns_label(name, &path.child("counterSet"), errors),
    }
    capacity::counters(consumption, path, errors);
}

fn nodes(device: &Value, chooses: bool, path: &Path, errors: &mut Errors) {
    let given = ["nodeName", "nodeSelector", "allNodes"].map(|name| device.some(name));
    if !chooses {
        if given.iter().any(Option::is_some) {
            let why = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
            errors.invalid(path, Value::Null, why);
        }
        return;
    }
    let mut ways = Vec::new();
    match device.text_ptr("nodeName") {
        Some("") => errors.invalid(&path.child("nodeName"), "", "must not be empty"),
        Some(name) => {
            ways.push("`nodeName`");
            subdomain(name, &path.child("nodeName"), errors);
        }
        None => {}
    }
    if let Some(selector) = device.some("nodeSelector") {
        ways.push("`nodeSelector`");
        node_selector(selector, false, &path.child("nodeSelector"), errors);
    }
    match device.flag_ptr("allNodes") {
        Some(true) => ways.push("`allNodes`"),
        Some(false) => errors.invalid(
            &path.child("allNodes"),
            false,
            "must be either unset or set to true",
        ),
        None => {}
    }
    match ways.len() {
        0 => errors.required(path, SELECTIONS),
        1 => {}
        _ => errors.invalid(path, format!("{{{}}}", ways.join(", ")), SELECTIONS),
    }
}

/// What a node's own resources give up for the device.
fn mappings(device: &Value, path: &Path, errors: &mut Errors) {
    let at = path.child("nodeAllocatableResourceMappings");
    for (name, mapping) in device.entries("nodeAllocatableResourceMappings") {
        let at = at.key(name);
        if !resources::is_native(name) {
            errors.invalid(&at, name, "must be a node allocatable resource name");
        }
        let (multiplier, key) = (
            mapping.some("allocationMultiplier"),
            mapping.text_ptr("capacityKey"),
        );
        if multiplier.is_none() && key.is_none() {
            errors.invalid(
                &at,
                "",
                "at least one of allocationMultiplier or capacityKey must be set",
            );
        }
        if let Some(multiplier) = multiplier
            .map(resources::quantity)
            .filter(|multiplier| multiplier.sign() <= 0)
        {
            errors.invalid(
                &at.child("allocationMultiplier"),
                multiplier.to_string(),
                "must be positive",
            );
        }
        match key {
            Some("") => errors.invalid(
                &at.child("capacityKey"),
                "",
                "capacityKey must not be an empty string",
            ),
            Some(key) if device.at("capacity").some(key).is_none() => {
                errors.not_found(&at.child("capacityKey"), key)
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(change: &[(&str, Value)], chooses: bool) -> String {
        let mut device = json!({"name": "x"});
        for (name, value) in change {
            device[*name] = value.clone();
        }
        Errors::of(|errors| validate(&device, None, chooses, &Path::new("d"), errors)).message()
    }

    #[test]
    fn what_a_device_may_say() {
        let many = |count: usize| {
            Value::Object(
                (0..count)
                    .map(|n| (format!("a{n}"), json!({"int": 1})))
                    .collect(),
            )
        };
        for (change, wanted) in [
            (vec![], "[]".to_string()),
            (vec![("attributes", many(33))], "d: Invalid value: 33: the total number of attributes and capacities must not exceed 32".into()),
            (
                vec![("attributes", json!({"/a": {"int": 1}}))],
                "d.attributes: Invalid value: \"\": the domain must not be empty".into(),
            ),
            (vec![("attributes", json!({"a": {}}))], "d.attributes[a]: Invalid value: \"\": exactly one value must be specified".into()),
            (
                vec![("capacity", json!({"a": {"value": "1", "requestPolicy": {}}}))],
                "d.capacity[a].requestPolicy: Forbidden: allowMultipleAllocations must be true".into(),
            ),
            (vec![("taints", json!([{"key": "a"}]))], "d.taints[0].effect: Required value".into()),
            (vec![("taints", json!(vec![json!({}); 17]))], "d.taints: Too many: 17: must have at most 16 items".into()),
            (
                vec![("consumesCounters", json!([{"counterSet": ""}]))],
                "[d.consumesCounters[0].counterSet: Required value, d.consumesCounters[0].counters: Required value]".into(),
            ),
            (vec![("consumesCounters", json!(vec![json!({}); 3]))], "d.consumesCounters: Too many: 3: must have at most 2 items".into()),
            (
                vec![("allNodes", json!(true))],
                "d: Invalid value: null: `nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec".into(),
            ),
            (
                vec![("nodeAllocatableResourceMappings", json!({"a/b": {}, "cpu": {"capacityKey": "x"}, "memory": {"allocationMultiplier": "0"}}))],
                "[d.nodeAllocatableResourceMappings[a/b]: Invalid value: \"a/b\": must be a node allocatable resource name, d.nodeAllocatableResourceMappings[a/b]: Invalid value: \"\": at least one of allocationMultiplier or capacityKey must be set, d.nodeAllocatableResourceMappings[cpu].capacityKey: Not found: \"x\", d.nodeAllocatableResourceMappings[memory].allocationMultiplier: Invalid value: \"0\": must be positive]".into(),
            ),
        ] {
            assert_eq!(said(&change, false), wanted, "{change:?}");
        }
    }

    #[test]
    fn devices_that_choose_nodes() {
        for (change, wanted) in [
            (vec![("nodeName", json!("n"))], "[]".to_string()),
            (vec![], format!("d: Required value: {SELECTIONS}")),
            (
                vec![("nodeName", json!("n")), ("allNodes", json!(true))],
                format!("d: Invalid value: \"{{`nodeName`, `allNodes`}}\": {SELECTIONS}"),
            ),
            (
                vec![("nodeName", json!("")), ("allNodes", json!(false))],
                format!(
                    "[d.nodeName: Invalid value: \"\": must not be empty, d.allNodes: Invalid value: false: must be either unset or set to true, d: Required value: {SELECTIONS}]"
                ),
            ),
        ] {
            assert_eq!(said(&change, true), wanted, "{change:?}");
        }
    }
}
