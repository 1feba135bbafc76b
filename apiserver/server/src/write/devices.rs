//! What of claims of devices takes more than the right to write them: access as an administrator, allocating, and what drivers say.
//!
//! Invariant: whoever cannot be found to be allowed is refused, with what else is wrong with the object.
//! Follows `pkg/registry/resource/utils.go`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::{
    kinds::{Beyond, Kind, Subresource},
    machinery::{
        field::{Errors, Path},
        meta::Meta,
        names,
        read::Read,
        status::Status,
    },
};
use skiff_storage::Key;

use super::call::{Call, Part};
use crate::{
    auth::{self, User, authorize::forbidden},
    stored,
};

const ADMIN_LABEL: &str = "resource.kubernetes.io/admin-access";
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";

/// `old` is absent on creation. A claim's spec stays, so it is asked once.
pub(super) async fn check(
    call: &Call<'_>,
    kind: &Kind,
    part: Part,
    new: &Value,
    old: Option<&Value>,
) -> Result<Errors, Status> {
    let mut errors = Errors::default();
    match (kind.flags.beyond, part, old) {
        (Beyond::DevicesOfClaim, Part::Whole, None) => {
            requests(call, new, new.at("spec"), &mut errors)?
        }
        (Beyond::DevicesOfTemplate, Part::Whole, None) => {
            requests(call, new, new.at("spec").at("spec"), &mut errors)?
        }
        (Beyond::DevicesOfClaim, Part::Sub(Subresource::Status), Some(old)) => {
            status(call, new, old, &mut errors).await?
        }
        _ => {}
    }
    Ok(errors)
}

fn requests(
    call: &Call<'_>,
    object: &Value,
    spec: &Value,
    errors: &mut Errors,
) -> Result<(), Status> {
    let asks = |request: &Value| request.at("exactly").flag("adminAccess");
    let Some(index) = spec.at("devices").list("requests").iter().position(asks) else {
        return Ok(());
    };
    let path = Path::new("spec.devices.requests");
    as_admin(
        call,
        object.namespace(),
        &path.index(index).child("adminAccess"),
        errors,
    )
}

async fn status(
    call: &Call<'_>,
    new: &Value,
    old: &Value,
    errors: &mut Errors,
) -> Result<(), Status> {
    let (now, before) = (new.at("status"), old.at("status"));
    let granted = |status: &Value| {
        status
            .at("allocation")
            .at("devices")
            .list("results")
            .iter()
            .position(|result| result.flag("adminAccess"))
    };
    if let (Some(index), None) = (granted(now), granted(before)) {
        let path = Path::new("status.allocation.devices.results");
        as_admin(
            call,
            new.namespace(),
            &path.index(index).child("adminAccess"),
            errors,
        )?;
    }
    if ["allocation", "reservedFor"]
        .iter()
        .any(|name| now.some(name) != before.some(name))
    {
        binding(call, errors).await;
    }
    if let Some(allocation) = now.some("allocation") {
        drivers(call, &changed_drivers(now, before), allocation, errors).await;
    }
    Ok(())
}

/// Namespaces that administrators may reach all devices from bear a label.
fn as_admin(
    call: &Call<'_>,
    namespace: &str,
    path: &Path,
    errors: &mut Errors,
) -> Result<(), Status> {
    let key = Key {
        resource: "namespaces".into(),
        namespace: "".into(),
        name: namespace.into(),
    };
    let Some(object) = call.store().get(&key) else {
        errors.internal(path, format!("could not retrieve namespace to verify admin access: namespaces {namespace} not found", namespace = GoQuoted(&namespace)));
        return Ok(());
    };
    let row = call
        .kinds
        .stored("namespaces")
        .ok_or_else(|| Status::internal("no row for namespaces"))?;
    if stored::decoded(row, &object)?
        .at("metadata")
        .at("labels")
        .text(ADMIN_LABEL)
        != "true"
    {
        errors.forbidden(path, format!("admin access to devices requires the `{ADMIN_LABEL}: true` label on the containing namespace"));
    }
    Ok(())
}

/// Allocating is asked for all namespaces.
async fn binding(call: &Call<'_>, errors: &mut Errors) {
    let asked = auth::Attributes {
        subresource: "binding".into(),
        namespace: String::new(),
        name: String::new(),
        ..call.asked.clone()
    };
    if let Err(Status { message: why, .. }) = may(call, &asked).await {
        let verb = &asked.verb;
        errors.forbidden(
            &Path::new("status.allocation"),
            format!(r#"changing status.allocation or status.reservedFor requires resource="resourceclaims/binding", verb="{verb}" permission: {why}"#),
        );
    }
}

/// Each driver is asked about by its name: from the node of the devices, or from anywhere.
async fn drivers(
    call: &Call<'_>,
    drivers: &BTreeSet<&str>,
    allocation: &Value,
    errors: &mut Errors,
) {
    let base = call.asked.clone();
    let mut verbs = vec![format!("arbitrary-node:{}", base.verb)];
    if is_of_node(&call.asked.user, node_of(allocation)) {
        verbs.insert(0, format!("associated-node:{}", base.verb));
    }
    for driver in drivers {
        let asked = |verb: &String| auth::Attributes {
            subresource: "driver".into(),
            verb: verb.clone(),
            name: (*driver).into(),
            ..base.clone()
        };
        let mut answers: Vec<Result<(), Status>> = Vec::with_capacity(verbs.len());
        for verb in &verbs {
            answers.push(may(call, &asked(verb)).await);
        }
        if answers.iter().any(Result::is_ok) {
            continue;
        }
        let why = answers.into_iter().find_map(Result::err);
        let why = why.map(|status| status.message).unwrap_or_default();
        let shown = verbs.join(" ");
        errors.forbidden(
            &Path::new("status.devices"),
            format!(r#"changing status.devices requires resource="resourceclaims/driver", verb="[{shown}]" permission: {why}"#),
        );
    }
}

async fn may(call: &Call<'_>, asked: &auth::Attributes) -> Result<(), Status> {
    let verdict = call.writer.core.authorizers.decide(asked).await;
    if verdict.allowed() {
        Ok(())
    } else {
        Err(forbidden(asked, verdict.reason()))
    }
}

/// The drivers of devices whose state came, went or changed.
fn changed_drivers<'v>(now: &'v Value, before: &'v Value) -> BTreeSet<&'v str> {
    let key =
        |device: &'v Value| ["driver", "pool", "device", "shareID"].map(|name| device.text(name));
    let mut old: BTreeMap<_, _> = before
        .list("devices")
        .iter()
        .map(|device| (key(device), device))
        .collect();
    let mut found: BTreeSet<&str> = BTreeSet::new();
    for device in now.list("devices") {
        if old.remove(&key(device)) != Some(device) {
            found.insert(device.text("driver"));
        }
    }
    found.extend(old.values().map(|device| device.text("driver")));
    found
}

/// The one node that the allocated devices are at; empty when there is none such.
fn node_of(allocation: &Value) -> &str {
    let [term] = allocation.at("nodeSelector").list("nodeSelectorTerms") else {
        return "";
    };
    let ([], [field]) = (term.list("matchExpressions"), term.list("matchFields")) else {
        return "";
    };
    match (
        field.text("key"),
        field.text("operator"),
        field.list("values"),
    ) {
        ("metadata.name", "In", [name]) => name.as_str().unwrap_or(""),
        _ => "",
    }
}

/// The user is the service account of a pod of that node.
fn is_of_node(user: &User, node: &str) -> bool {
    let is_account = user
        .name
        .strip_prefix("system:serviceaccount:")
        .and_then(|rest| rest.split_once(':'))
        .is_some_and(|(namespace, name)| {
            names::is_dns1123_label(namespace).is_empty()
                && names::is_dns1123_subdomain(name).is_empty()
        });
    let [name] = user.extra.get(NODE_NAME).map_or(&[][..], Vec::as_slice) else {
        return false;
    };
    is_account && !node.is_empty() && name == node && names::is_dns1123_subdomain(name).is_empty()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whose_devices_changed() {
        let device = |driver: &str, data: i64| json!({"driver": driver, "pool": "p", "device": "d", "data": {"a": data}});
        let status = |devices: &[Value]| json!({"devices": devices});
        for (now, before, wanted) in [
            (vec![device("a", 1)], vec![device("a", 1)], vec![]),
            (vec![device("a", 2)], vec![device("a", 1)], vec!["a"]),
            (vec![device("b", 1)], vec![device("a", 1)], vec!["a", "b"]),
            (vec![], vec![device("a", 1)], vec!["a"]),
        ] {
            let found: Vec<String> = changed_drivers(&status(&now), &status(&before))
                .into_iter()
                .map(String::from)
                .collect();
            assert_eq!(found, wanted);
        }
    }

    #[test]
    fn accounts_of_a_node() {
        let allocation = json!({"nodeSelector": {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}]}});
        assert_eq!(node_of(&allocation), "n");
        assert_eq!(
            node_of(&json!({"nodeSelector": {"nodeSelectorTerms": [{}]}})),
            ""
        );
        let user = |name: &str, node: &str| {
            let mut user = User::new(name, &[]);
            user.extra.insert(NODE_NAME.into(), vec![node.into()]);
            user
        };
        assert!(is_of_node(&user("system:serviceaccount:a:b", "n"), "n"));
        assert!(!is_of_node(&user("system:serviceaccount:a:b", "m"), "n"));
        assert!(!is_of_node(&user("a", "n"), "n"));
        assert!(!is_of_node(&user("system:serviceaccount:a:b", ""), ""));
    }
}
