//! Who speaks for all nodes, and what is said.

use k8s_openapi::api::{coordination::v1::Lease, networking::v1::Ingress};
use serde_json::{Value, json};

use crate::ingress::{knowledge::Known, members::members, status::patch};

/// A member's lease: its node, the last part of its address, and the second in which it was renewed.
fn lease(node: &str, address: &str, second: u32) -> Lease {
    serde_json::from_value(json!({"metadata": {"name": node, "annotations": {"skiff.dev/ingress-addresses": address}},
        "spec": {"holderIdentity": node, "renewTime": format!("2024-01-01T00:00:{second:02}.000000Z")}}))
    .unwrap()
}

#[test]
fn the_first_of_those_that_live_speaks() {
    let (a, b, c) = (
        lease("a", "10.0.0.1", 30),
        lease("b", "10.0.0.2", 30),
        lease("c", "10.0.0.10", 30),
    );
    let both = lease("b", "10.0.0.2,fd00::2", 30);
    let (lost, odd) = (lease("a", "10.0.0.1", 5), lease("a", "nowhere", 30));
    #[rustfmt::skip]
    let rows: &[(&[&Lease], &str, &[&str], bool)] = &[
        (&[&a, &b], "a", &["10.0.0.1", "10.0.0.2"], true),
        (&[&a, &b], "b", &["10.0.0.1", "10.0.0.2"], false),
        (&[&c, &b], "b", &["10.0.0.2", "10.0.0.10"], true),
        (&[&a, &both], "a", &["10.0.0.1", "10.0.0.2", "fd00::2"], true),
        (&[&lost, &b], "b", &["10.0.0.2"], true),
        (&[&lost, &b], "a", &["10.0.0.2"], false),
        (&[&odd, &b], "b", &["10.0.0.2"], true),
        (&[], "a", &[], false),
    ];
    for (leases, own, addresses, speaks) in rows {
        let leases: Vec<Lease> = leases.iter().copied().cloned().collect();
        let found = members(&leases, own, "2024-01-01T00:00:31Z".parse().unwrap());
        let told: Vec<String> = found.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(
            (told.as_slice(), found.speaks),
            (
                &addresses
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()[..],
                *speaks
            ),
            "{own}"
        );
    }
}

#[test]
fn a_status_is_written_when_it_says_something_else() {
    let with =
        |status: Value| -> Ingress { serde_json::from_value(json!({"status": status})).unwrap() };
    let addresses = |all: &[&str]| all.iter().map(|ip| ip.parse().unwrap()).collect();
    let of = |all: Value| json!({"loadBalancer": {"ingress": all}});
    let (one, two) = (json!({"ip": "10.0.0.1"}), json!({"ip": "10.0.0.2"}));
    for (now, wanted, written) in [
        (json!(null), &["10.0.0.1"][..], Some(json!([one]))),
        (of(json!([one])), &["10.0.0.1"], None),
        (
            of(json!([one])),
            &["10.0.0.1", "10.0.0.2"],
            Some(json!([one, two])),
        ),
        (
            of(json!([{"hostname": "x"}])),
            &["10.0.0.1"],
            Some(json!([one])),
        ),
        (of(json!([one])), &[], Some(json!([]))),
        (json!({}), &[], None),
    ] {
        let wanted = addresses(wanted);
        let expected = written.map(|all| json!({"status": of(all)}));
        assert_eq!(patch(&with(now.clone()), &wanted), expected, "{now}");
    }
}

#[test]
fn whose_word_the_address_is() {
    let entry = |manager: &str, fields: Value| json!({"manager": manager, "operation": "Update", "apiVersion": "networking.k8s.io/v1", "fieldsType": "FieldsV1", "fieldsV1": fields});
    let address = json!({"f:status": {"f:loadBalancer": {"f:ingress": {}}}});
    let spec = json!({"f:spec": {"f:rules": {}}});
    for (fields, told) in [
        (json!([]), false),
        (json!([entry("skiff-ingress", address.clone())]), true),
        (
            json!([
                entry("kubectl", spec.clone()),
                entry("skiff-ingress", address.clone())
            ]),
            true,
        ),
        (json!([entry("other-controller", address)]), false),
        (json!([entry("skiff-ingress", spec)]), false),
    ] {
        let ingress: Ingress =
            serde_json::from_value(json!({"metadata": {"managedFields": fields}})).unwrap();
        let known = Known::of(ingress);
        assert_eq!(known.told, told, "{fields}");
        assert_eq!(known.ingress.metadata.managed_fields, None);
    }
}
