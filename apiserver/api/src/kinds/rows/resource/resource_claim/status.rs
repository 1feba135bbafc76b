//! What of a claim is allocated, for whom, and what the drivers say of it.
//!
//! Invariant: an allocation stays until it is taken back whole; only allocated devices have a state.
//! Follows `validateResourceClaimStatusUpdate` of `pkg/apis/resource/validation/validation.go` and
//! `pkg/registry/resource/resourceclaim/strategy.go`.

use crate::kinds::prelude::*;
use crate::kinds::rows::resource::claim::Names;
use crate::kinds::rows::resource::{devices, names, sets};
use crate::kinds::validation::checks::{IMMUTABLE, invalid_shown, required_one_of};
use crate::kinds::validation::conditions::conditions;
use crate::kinds::validation::pod::affinity::node_selector;
use crate::kinds::validation::pod::volume_remote::csi_driver_name;
use crate::machinery::names::ip;

const MOST_CONSUMERS: usize = 256;
const MOST_RESULTS: usize = 32;
const MOST_CONDITIONS: usize = 8;
const MOST_ADDRESSES: usize = 16;
const LARGEST_DATA: usize = 10 * 1024;

pub fn validate(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    let (status, before, path) = (new.at("status"), old.at("status"), Path::new("status"));
    let at = path.child("reservedFor");
    sets::set(
        status.list("reservedFor"),
        MOST_CONSUMERS,
        &consumer,
        |one| one.text("uid").into(),
        &at,
        &mut errors,
    );

    let allocated = allocated(status);
    let check =
        |device: &Value, path: &Path, errors: &mut Errors| state(device, &allocated, path, errors);
    let at = path.child("devices");
    sets::list(status.list("devices"), usize::MAX, &check, &at, &mut errors);
    states_are_unique(status.list("devices"), &at, &mut errors);

    reserved(new, before, &path.child("reservedFor"), &mut errors);
    let at = path.child("allocation");
    match (status.some("allocation"), before.some("allocation")) {
        (Some(now), Some(before)) if now != before => {
            invalid_shown(
                &internal::json(now, "resource.AllocationResult"),
                IMMUTABLE,
                &at,
                &mut errors,
            );
        }
        (Some(now), None) => allocation(
            now,
            &Names::of(new.at("spec").at("devices")),
            &at,
            &mut errors,
        ),
        _ => {}
    }
    errors
}

fn consumer(consumer: &Value, path: &Path, errors: &mut Errors) {
    for name in ["resource", "name", "uid"] {
        if consumer.text(name).is_empty() {
            errors.required(&path.child(name), "");
        }
    }
}

fn reserved(claim: &Value, before: &Value, path: &Path, errors: &mut Errors) {
    let status = claim.at("status");
    let consumers = status.list("reservedFor");
    if consumers.is_empty() {
        return;
    }
    let is_new = |one: &Value| !before.list("reservedFor").contains(one);
    if status.some("allocation").is_none() {
        errors.forbidden(path, "may not be specified when `allocated` is not set");
    } else if claim.at("metadata").some("deletionTimestamp").is_some()
        && consumers.iter().any(is_new)
    {
        errors.forbidden(path, "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set");
    }
}

/// What a device, or a share of one, is known by: driver, pool, name and share.
type Id<'v> = (&'v str, &'v str, &'v str, Option<&'v str>);

fn id(device: &Value) -> Id<'_> {
    (
        device.text("driver"),
        device.text("pool"),
        device.text("device"),
        device.text_ptr("shareID"),
    )
}

fn shown(device: &Value) -> String {
    internal::json(device, "resource.SharedDeviceID")
}

fn allocated(status: &Value) -> Vec<Id<'_>> {
    status
        .at("allocation")
        .at("devices")
        .list("results")
        .iter()
        .map(id)
        .collect()
}

fn states_are_unique(devices: &[Value], path: &Path, errors: &mut Errors) {
    for (index, device) in devices.iter().enumerate() {
        if devices[..index]
            .iter()
            .any(|before| id(before) == id(device))
        {
            checks::duplicate_shown(&shown(device), &path.index(index), errors);
        }
    }
}

/// What a driver says of a device.
fn state(device: &Value, allocated: &[Id], path: &Path, errors: &mut Errors) {
    csi_driver_name(device.text("driver"), &path.child("driver"), errors);
    names::pool(device.text("pool"), &path.child("pool"), errors);
    checks::dns_label(device.text("device"), &path.child("device"), errors);
    if let Some(share) = device.text_ptr("shareID") {
        names::uid(share, &path.child("shareID"), errors);
    }
    if !allocated.contains(&id(device)) {
        invalid_shown(
            &shown(device),
            "must be an allocated device in the claim",
            path,
            errors,
        );
    }
    let (found, at) = (device.list("conditions"), path.child("conditions"));
    if found.len() > MOST_CONDITIONS {
        errors.too_many(&at, found.len() as i64, MOST_CONDITIONS as i64);
    }
    conditions(found, &at, errors);
    if let Some(data) = device.some("data") {
        devices::raw_object(Some(data), LARGEST_DATA, &path.child("data"), errors);
    }
    network(device.at("networkData"), &path.child("networkData"), errors);
}

fn network(data: &Value, path: &Path, errors: &mut Errors) {
    for (name, longest) in [("interfaceName", 256), ("hardwareAddress", 128)] {
        if data.text(name).len() > longest {
            errors.too_long(&path.child(name), longest as i64);
        }
    }
    let check = |address: &Value, path: &Path, errors: &mut Errors| {
        let address = address.as_str().unwrap_or("");
        errors.invalid_all(path, address, ip::is_valid_interface_address(address));
    };
    sets::set(
        data.list("ips"),
        MOST_ADDRESSES,
        &check,
        Value::clone,
        &path.child("ips"),
        errors,
    );
}

fn allocation(allocation: &Value, requests: &Names, path: &Path, errors: &mut Errors) {
    let (given, at) = (allocation.at("devices"), path.child("devices"));
    let check = |one: &Value, path: &Path, errors: &mut Errors| result(one, requests, path, errors);
    sets::list(
        given.list("results"),
        MOST_RESULTS,
        &check,
        &at.child("results"),
        errors,
    );
    let check = |config: &Value, path: &Path, errors: &mut Errors| {
        required_one_of(
            config.text("source"),
            &["FromClaim", "FromClass"],
            &path.child("source"),
            errors,
        );
        requests.check_all(config, path, errors);
        devices::configuration(config, false, path, errors);
    };
    // those of the class and those of the claim
    sets::list(
        given.list("config"),
        2 * devices::MOST_CONFIGURATIONS,
        &check,
        &at.child("config"),
        errors,
    );
    if let Some(selector) = allocation.some("nodeSelector") {
        node_selector(selector, false, &path.child("nodeSelector"), errors);
    }
}

fn result(result: &Value, requests: &Names, path: &Path, errors: &mut Errors) {
    requests.check(result.text("request"), &path.child("request"), errors);
    csi_driver_name(result.text("driver"), &path.child("driver"), errors);
    names::pool(result.text("pool"), &path.child("pool"), errors);
    checks::dns_label(result.text("device"), &path.child("device"), errors);
    devices::binding(result, path, errors);
    if let Some(share) = result.text_ptr("shareID") {
        names::uid(share, &path.child("shareID"), errors);
    }
}

/// Takes away what is said of devices that are no longer allocated.
pub fn forget_deallocated(new: &mut Value, old: &Value) {
    let before = allocated(old.at("status"));
    let now: Vec<Value> = new
        .at("status")
        .at("allocation")
        .at("devices")
        .list("results")
        .to_vec();
    let stays = |device: &Value| {
        !before.contains(&id(device)) || now.iter().any(|result| id(result) == id(device))
    };
    let Some(status) = new.get_mut("status").and_then(Value::as_object_mut) else {
        return;
    };
    let Some(devices) = status.get_mut("devices").and_then(Value::as_array_mut) else {
        return;
    };
    devices.retain(stays);
    if devices.is_empty() {
        status.remove("devices");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(status: Value) -> Value {
        json!({"spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "c"}}]}}, "status": status})
    }

    fn result() -> Value {
        json!({"request": "r", "driver": "d", "pool": "p", "device": "x"})
    }

    fn allocation_with(change: &[(&str, Value)]) -> Value {
        let mut result = result();
        for (name, value) in change {
            result[*name] = value.clone();
        }
        json!({"allocation": {"devices": {"results": [result]}}})
    }

    fn device(change: &[(&str, Value)]) -> Value {
        let mut device = json!({"driver": "d", "pool": "p", "device": "x"});
        for (name, value) in change {
            device[*name] = value.clone();
        }
        let mut status = allocation_with(&[]);
        status["devices"] = json!([device]);
        status
    }

    #[test]
    fn allocations() {
        let (none, at) = (claim(json!({})), "status.allocation.devices.results[0]");
        for (change, said) in [
            (vec![], "[]".to_string()),
            (
                vec![("driver", json!(""))],
                format!("{at}.driver: Required value"),
            ),
            (
                vec![("pool", json!(""))],
                format!("{at}.pool: Required value"),
            ),
            (
                vec![("request", json!("s"))],
                format!(
                    "{at}.request: Invalid value: \"s\": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
                ),
            ),
            (
                vec![("shareID", json!("x"))],
                format!(
                    "{at}.shareID: Invalid value: \"x\": error validating uid: invalid UUID length: 1"
                ),
            ),
            (
                vec![("bindingConditions", json!(["a"]))],
                format!(
                    "{at}.bindingFailureConditions: Invalid value: null: bindingFailureConditions are required to use bindingConditions"
                ),
            ),
        ] {
            assert_eq!(
                validate(&claim(allocation_with(&change)), &none).message(),
                said,
                "{change:?}"
            );
        }
        let config = json!({"source": "x", "opaque": {"driver": "d", "parameters": {}}});
        let status = json!({"allocation": {"devices": {"config": [config]}}});
        assert_eq!(
            validate(&claim(status), &none).message(),
            "status.allocation.devices.config[0].source: Unsupported value: \"x\": supported values: \"FromClaim\", \"FromClass\""
        );
    }

    #[test]
    fn an_allocation_stays() {
        let old = claim(allocation_with(&[]));
        let new = claim(allocation_with(&[("device", json!("y"))]));
        assert_eq!(
            validate(&new, &old).message(),
            r#"status.allocation: Invalid value: {"Devices":{"Results":[{"Request":"r","Driver":"d","Pool":"p","Device":"y","AdminAccess":null,"Tolerations":null,"BindingConditions":null,"BindingFailureConditions":null,"ShareID":null,"ConsumedCapacity":null}],"Config":null},"NodeSelector":null,"AllocationTimestamp":null}: field is immutable"#
        );
        assert!(validate(&claim(json!({})), &old).is_empty());
    }

    #[test]
    fn reservations() {
        let none = claim(json!({}));
        let consumer = json!({"resource": "pods", "name": "a", "uid": "u"});
        let mut status = allocation_with(&[]);
        status["reservedFor"] = json!([consumer]);
        assert!(validate(&claim(status.clone()), &none).is_empty());
        let mut ending = claim(status.clone());
        ending["metadata"] = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        let said = "status.reservedFor: Forbidden: new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
        assert_eq!(
            validate(&ending, &claim(allocation_with(&[]))).message(),
            said
        );
        assert!(validate(&ending, &claim(status)).is_empty());
        for (given, said) in [
            (
                json!([consumer]),
                "status.reservedFor: Forbidden: may not be specified when `allocated` is not set",
            ),
            (
                json!([{}]),
                "[status.reservedFor[0].resource: Required value, status.reservedFor[0].name: Required value, status.reservedFor[0].uid: Required value, status.reservedFor: Forbidden: may not be specified when `allocated` is not set]",
            ),
            (
                json!([consumer, consumer]),
                "[status.reservedFor[1]: Duplicate value: \"u\", status.reservedFor: Forbidden: may not be specified when `allocated` is not set]",
            ),
        ] {
            assert_eq!(
                validate(&claim(json!({"reservedFor": given})), &none).message(),
                said,
                "{given}"
            );
        }
    }

    #[test]
    fn states_of_devices() {
        let old = claim(allocation_with(&[]));
        for (change, said) in [
            (vec![], "[]"),
            (
                vec![("device", json!("y"))],
                r#"status.devices[0]: Invalid value: {"Driver":"d","Pool":"p","Device":"y","ShareID":""}: must be an allocated device in the claim"#,
            ),
            (
                vec![("data", json!("x"))],
                "status.devices[0].data: Invalid value: \"<value omitted>\": must be a valid JSON object",
            ),
            (
                vec![("networkData", json!({"interfaceName": "x".repeat(257)}))],
                "status.devices[0].networkData.interfaceName: Too long: may not be more than 256 bytes",
            ),
            (
                vec![(
                    "networkData",
                    json!({"ips": ["10.0.0.1/24", "10.0.0.1/24"]}),
                )],
                "status.devices[0].networkData.ips[1]: Duplicate value: \"10.0.0.1/24\"",
            ),
            (
                vec![("networkData", json!({"ips": ["x"]}))],
                "status.devices[0].networkData.ips[0]: Invalid value: \"x\": must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)",
            ),
        ] {
            assert_eq!(
                validate(&claim(device(&change)), &old).message(),
                said,
                "{change:?}"
            );
        }
        let mut twice = device(&[]);
        twice["devices"] = json!([twice["devices"][0], twice["devices"][0]]);
        assert_eq!(
            validate(&claim(twice), &old).message(),
            r#"status.devices[1]: Duplicate value: {"Driver":"d","Pool":"p","Device":"x","ShareID":""}"#
        );
    }

    #[test]
    fn states_of_deallocated_devices_go() {
        let old = claim(device(&[]));
        let mut new = claim(json!({"devices": old["status"]["devices"]}));
        forget_deallocated(&mut new, &old);
        assert_eq!(new["status"], json!({}));
        let mut same = old.clone();
        forget_deallocated(&mut same, &old);
        assert_eq!(same, old);
    }
}
