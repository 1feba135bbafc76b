//! Nodes: networks and provider are given once, taints stand once.
//!
//! Invariant: `podCIDR` is the first of `podCIDRs`. Follows `ValidateNode*` of `pkg/apis/core/validation/validation.go`,
//! `pkg/registry/core/node/strategy.go`, and the conversion and defaults of `pkg/apis/core/v1`.

use crate::kinds::prelude::*;
use crate::kinds::rows::core::pod::defaults::amounts;
use crate::kinds::validation::checks::{qualified_name, required_one_of};
use crate::kinds::validation::pod::resources::{amount, quantity};
use crate::kinds::validation::pod::tolerations::EFFECTS;
use crate::machinery::meta::child_mut;
use crate::machinery::names::ip;
use crate::machinery::quote::GoQuoted;

pub const STRATEGY: Strategy = Strategy {
    defaults,
    prepare_for_create: |node| {
        fill::spec(node).remove("configSource");
        child_mut(node, "status").remove("config");
    },
    prepare_for_update: |new, old| {
        if old.at("spec").some("configSource").is_none() {
            fill::spec(new).remove("configSource");
        }
    },
    prepare_for_status_update: |new, old| {
        if old.at("status").some("config").is_none() {
            child_mut(new, "status").remove("config");
        }
    },
    validate,
    validate_update: |new, old| {
        let mut errors = validate(new);
        errors.extend(update(new, old));
        errors
    },
    validate_status_update: update,
    warnings,
    ..Strategy::DEFAULT
};

fn defaults(node: &mut Value) {
    let spec = fill::spec(node);
    let one = spec
        .get("podCIDR")
        .and_then(Value::as_str)
        .unwrap_or("")
        .to_string();
    let first = spec
        .get("podCIDRs")
        .and_then(|list| list.get(0))
        .and_then(Value::as_str)
        .unwrap_or("")
        .to_string();
    match (one.is_empty(), first.is_empty()) {
        // the older field is what older clients write
        (false, _) if one != first => {
            spec.insert("podCIDRs".into(), json!([one]));
        }
        (true, false) => {
            spec.insert("podCIDR".into(), first.into());
        }
        _ => {}
    }
    let status = child_mut(node, "status");
    if status.get("allocatable").is_none()
        && let Some(capacity) = status.get("capacity").cloned()
    {
        status.insert("allocatable".into(), capacity);
    }
    ["capacity", "allocatable"]
        .iter()
        .for_each(|list| amounts(status, list));
}

fn validate(node: &Value) -> Errors {
    let mut errors = Errors::default();
    let (spec, status) = (node.at("spec"), node.at("status"));
    taints(spec, &mut errors);
    resources(status, &mut errors);
    if let Some(capacity) = status
        .at("nodeInfo")
        .at("swap")
        .int_ptr("capacity")
        .filter(|capacity| *capacity <= 0)
    {
        errors.invalid(
            &Path::new("metadata")
                .child("nodeSwapStatus")
                .child("capacity"),
            capacity,
            "must be greater than zero",
        );
    }
    features(status, &mut errors);
    networks(spec, &mut errors);
    errors
}

/// Upstream looks for them in the metadata.
fn taints(spec: &Value, errors: &mut Errors) {
    let metadata = Path::new("metadata");
    let (taints, path) = (spec.list("taints"), metadata.child("taints"));
    for (index, taint) in taints.iter().enumerate() {
        let path = path.index(index);
        qualified_name(taint.text("key"), &path.child("key"), errors);
        let messages = names::is_label_value(taint.text("value"));
        if !messages.is_empty() {
            errors.invalid(
                &path.child("value"),
                taint.text("value"),
                messages.join(";"),
            );
        }
        required_one_of(taint.text("effect"), EFFECTS, &path.child("effect"), errors);
        let same = |other: &Value| {
            ["key", "effect"]
                .iter()
                .all(|name| other.text(name) == taint.text(name))
        };
        if taints[..index].iter().any(same) {
            let said = format!(
                "{}: taints must be unique by key and effect pair",
                internal::json(taint, "core.Taint")
            );
            checks::duplicate_shown(&said, &path, errors);
        }
    }
}

fn resources(status: &Value, errors: &mut Errors) {
    let path = Path::new("status");
    for list in ["capacity", "allocatable"] {
        for (name, value) in status.entries(list) {
            amount(
                name,
                &quantity(value),
                &path.child(list).child(name),
                errors,
            );
        }
    }
}

fn features(status: &Value, errors: &mut Errors) {
    let root = Path::new("status");
    let (list, path): (Vec<&str>, _) = (
        status.texts("declaredFeatures").collect(),
        root.child("declaredFeatures"),
    );
    for (index, feature) in list.iter().enumerate() {
        const LONGEST: usize = 253;
        if feature.len() > LONGEST {
            errors.invalid(
                &path.index(index),
                *feature,
                format!(
                    "invalid feature name {feature}: must be no more than {LONGEST} characters",
                    feature = GoQuoted(&feature)
                ),
            );
        } else if !is_feature(feature) {
            let shape = "must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes";
            errors.invalid(
                &path.index(index),
                *feature,
                format!(
                    "invalid feature name {feature}: {shape}",
                    feature = GoQuoted(&feature)
                ),
            );
        }
        match list.get(index + 1) {
            Some(next) if next == feature => errors.duplicate(&path.index(index + 1), *next),
            Some(next) if next < feature => errors.invalid(
                &path.index(index + 1),
                *next,
                "list must be sorted alphabetically",
            ),
            _ => {}
        }
    }
}

fn is_feature(name: &str) -> bool {
    let segment =
        |segment: &str| !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_alphanumeric());
    name.starts_with(|c: char| c.is_ascii_uppercase()) && name.split('/').all(segment)
}

fn networks(spec: &Value, errors: &mut Errors) {
    let root = Path::new("spec");
    let (list, path): (Vec<&str>, _) = (spec.texts("podCIDRs").collect(), root.child("podCIDRs"));
    for (index, network) in list.iter().enumerate() {
        errors.invalid_all(
            &path.index(index),
            network,
            ip::is_valid_cidr_for_legacy_field(network, true, &[]),
        );
    }
    if list.len() > 1 {
        let families: Vec<Option<bool>> = list
            .iter()
            .map(|network| ip::parse_cidr_sloppy(network).map(|cidr| cidr.addr.is_ipv4()))
            .collect();
        if let Some(bad) = families.iter().position(Option::is_none) {
            let why = format!(
                "invalid PodCIDRs. failed to check with dual stack with error:invalid CIDR[{bad}]: <nil> (invalid CIDR address: {})",
                list[bad]
            );
            errors.internal(&path, why);
        }
        let dual = families.contains(&Some(true))
            && families.contains(&Some(false))
            && !families.contains(&None);
        if !dual || list.len() > 2 {
            errors.invalid(
                &path,
                spec.list("podCIDRs").to_vec(),
                "may specify no more than one CIDR for each IP family",
            );
        }
    }
}

fn update(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    let (spec, was, status) = (new.at("spec"), old.at("spec"), new.at("status"));
    let (path, status_path) = (Path::new("spec"), Path::new("status"));
    resources(status, &mut errors);
    features(status, &mut errors);
    let addresses = status.list("addresses");
    for (index, address) in addresses
        .iter()
        .enumerate()
        .filter(|(index, address)| addresses[..*index].contains(address))
    {
        checks::duplicate_shown(
            &internal::json(address, "core.NodeAddress"),
            &status_path.child("addresses").index(index),
            &mut errors,
        );
    }
    const ONCE: &str = "node updates may not change podCIDR except from \"\" to valid";
    let (networks, had): (Vec<&str>, Vec<&str>) = (
        spec.texts("podCIDRs").collect(),
        was.texts("podCIDRs").collect(),
    );
    let changed = if networks.len() == had.len() {
        networks
            .iter()
            .zip(&had)
            .filter(|(now, was)| now != was)
            .count()
    } else {
        1
    };
    for _ in 0..if had.is_empty() { 0 } else { changed } {
        errors.forbidden(&path.child("podCIDRs"), ONCE);
    }
    if !was.text("providerID").is_empty() && was.text("providerID") != spec.text("providerID") {
        errors.forbidden(
            &path.child("providerID"),
            "node updates may not change providerID except from \"\" to valid",
        );
    }
    taints(spec, &mut errors);
    if spec.text("externalID") != was.text("externalID") {
        errors.forbidden(&path.child("externalID"), "may not be updated");
    }
    errors
}

fn warnings(node: &Value, _: Option<&Value>) -> Warnings {
    let spec = node.at("spec");
    let mut told = Vec::new();
    if spec.some("configSource").is_some() {
        told.push("spec.configSource: the feature is removed".to_string());
    }
    if !spec.text("externalID").is_empty() {
        told.push(
            "spec.externalID: this field is deprecated, and is unused by Kubernetes".to_string(),
        );
    }
    for (index, network) in spec.texts("podCIDRs").enumerate() {
        told.extend(ip::warnings_for_cidr(
            &format!("spec.podCIDRs[{index}]"),
            network,
        ));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(spec: Value) -> Value {
        let mut node = json!({"spec": spec});
        defaults(&mut node);
        node
    }

    #[test]
    fn networks_of_both_fields_are_the_same() {
        assert_eq!(
            node(json!({"podCIDR": "10.0.0.0/24"}))["spec"]["podCIDRs"],
            json!(["10.0.0.0/24"])
        );
        assert_eq!(
            node(json!({"podCIDRs": ["10.0.0.0/24"]}))["spec"]["podCIDR"],
            "10.0.0.0/24"
        );
        assert_eq!(
            node(json!({"podCIDR": "10.0.1.0/24", "podCIDRs": ["10.0.0.0/24", "fd00::/64"]}))["spec"]
                ["podCIDRs"],
            json!(["10.0.1.0/24"])
        );
    }

    #[test]
    fn what_is_given_once() {
        let had = node(json!({"podCIDR": "10.0.0.0/24", "providerID": "a"}));
        assert!(update(&had, &node(json!({}))).is_empty() && update(&had, &had).is_empty());
        let said = update(
            &node(json!({"podCIDR": "10.0.1.0/24", "providerID": "b"})),
            &had,
        )
        .message();
        assert_eq!(
            said,
            "[spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid, spec.providerID: Forbidden: node updates may not change providerID except from \"\" to valid]"
        );
    }

    #[test]
    fn taints_stand_once() {
        let taint = json!({"key": "a", "effect": "NoSchedule"});
        let shown = r#"{"Key":"a","Value":"","Effect":"NoSchedule","TimeAdded":null}"#;
        let said = format!(
            "metadata.taints[1]: Duplicate value: {shown}: taints must be unique by key and effect pair"
        );
        assert_eq!(
            validate(&node(json!({"taints": [taint, taint]}))).message(),
            said
        );
        assert_eq!(
            validate(&node(json!({"taints": [{"key": "a"}]}))).message(),
            "metadata.taints[0].effect: Required value"
        );
    }
}
