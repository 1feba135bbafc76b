//! NetworkPolicies: who may be named, and by which ports.
//!
//! Follows `ValidateNetworkPolicy*` of `pkg/apis/networking/validation/validation.go` and `pkg/apis/networking/v1/defaults.go`.

use crate::kinds::prelude::*;
use crate::kinds::validation::checks::{is_good, label_selector, one_of};
use crate::machinery::names::ip;

pub const STRATEGY: Strategy = Strategy {
    defaults,
    validate: |policy| spec(policy.at("spec"), &Options::default()),
    validate_update: |new, old| spec(new.at("spec"), &Options::of(old.at("spec"))),
    ..Strategy::DEFAULT
};

const SIDES: [(&str, &str); 2] = [("ingress", "from"), ("egress", "to")];

fn defaults(policy: &mut Value) {
    let spec = fill::spec(policy);
    for (side, _) in SIDES {
        for rule in fill::each(spec, side) {
            for port in fill::each(rule, "ports") {
                fill::absent(port, "protocol", "TCP");
            }
        }
    }
    let has = |spec: &serde_json::Map<String, Value>, name: &str| {
        spec.get(name)
            .and_then(Value::as_array)
            .is_some_and(|list| !list.is_empty())
    };
    if !has(spec, "policyTypes") {
        let types = if has(spec, "egress") {
            json!(["Ingress", "Egress"])
        } else {
            json!(["Ingress"])
        };
        spec.insert("policyTypes".into(), types);
    }
}

/// What an update may leave as it was, though it would be refused anew.
#[derive(Default)]
struct Options<'a> {
    any_label_values: bool,
    old_cidrs: Vec<&'a str>,
}

impl<'a> Options<'a> {
    fn of(old: &'a Value) -> Options<'a> {
        let peers = SIDES
            .iter()
            .flat_map(|(side, peers)| old.list(side).iter().flat_map(|rule| rule.list(peers)));
        let blocks = peers.filter_map(|peer| peer.some("ipBlock"));
        Options {
            any_label_values: !is_good(|errors| {
                label_selector(old.some("podSelector"), false, &Path::new(""), errors)
            }),
            old_cidrs: blocks
                .flat_map(|block| std::iter::once(block.text("cidr")).chain(block.texts("except")))
                .collect(),
        }
    }
}

fn spec(spec: &Value, options: &Options) -> Errors {
    let mut errors = Errors::default();
    let path = Path::new("spec");
    label_selector(
        spec.some("podSelector"),
        options.any_label_values,
        &path.child("podSelector"),
        &mut errors,
    );
    for (side, peers) in SIDES {
        let side_path = path.child(side);
        for (index, rule) in spec.list(side).iter().enumerate() {
            let rule_path = side_path.index(index);
            for (index, one) in rule.list("ports").iter().enumerate() {
                port(one, &rule_path.child("ports").index(index), &mut errors);
            }
            for (index, one) in rule.list(peers).iter().enumerate() {
                peer(
                    one,
                    options,
                    &rule_path.child(peers).index(index),
                    &mut errors,
                );
            }
        }
    }
    let (types, types_path) = (spec.list("policyTypes"), path.child("policyTypes"));
    if types.len() > 2 {
        errors.invalid(
            &types_path,
            types.to_vec(),
            "may not specify more than two policyTypes",
        );
        return errors;
    }
    for (index, name) in spec.texts("policyTypes").enumerate() {
        one_of(
            name,
            &["Ingress", "Egress"],
            &types_path.index(index),
            &mut errors,
        );
    }
    errors
}

fn port(port: &Value, path: &Path, errors: &mut Errors) {
    if let Some(protocol) = port.text_ptr("protocol") {
        one_of(
            protocol,
            &["TCP", "UDP", "SCTP"],
            &path.child("protocol"),
            errors,
        );
    }
    let end = port.int_ptr("endPort");
    let end_path = path.child("endPort");
    match port.some("port") {
        Some(Value::String(name)) => {
            if let Some(end) = end {
                errors.invalid(
                    &end_path,
                    end,
                    "may not be specified when `port` is non-numeric",
                );
            }
            errors.invalid_all(&path.child("port"), name, names::is_valid_port_name(name));
        }
        Some(number) => {
            let number = number.as_i64().unwrap_or(0);
            for said in names::is_valid_port_num(number) {
                errors.invalid(&path.child("port"), number, said);
            }
            if let Some(end) = end {
                if end < number {
                    errors.invalid(&end_path, number, "must be greater than or equal to `port`");
                }
                for said in names::is_valid_port_num(end) {
                    errors.invalid(&end_path, end, said);
                }
            }
        }
        None => {
            if let Some(end) = end {
                errors.invalid(
                    &end_path,
                    end,
                    "may not be specified when `port` is not specified",
                );
            }
        }
    }
}

fn peer(peer: &Value, options: &Options, path: &Path, errors: &mut Errors) {
    let mut peers = 0;
    for selector in ["podSelector", "namespaceSelector"] {
        if peer.some(selector).is_some() {
            peers += 1;
            label_selector(
                peer.some(selector),
                options.any_label_values,
                &path.child(selector),
                errors,
            );
        }
    }
    if let Some(block) = peer.some("ipBlock") {
        peers += 1;
        ip_block(block, options, &path.child("ipBlock"), errors);
        if peers > 1 {
            errors.forbidden(path, "may not specify both ipBlock and another peer");
        }
    }
    if peers == 0 {
        errors.required(path, "must specify a peer");
    }
}

fn ip_block(block: &Value, options: &Options, path: &Path, errors: &mut Errors) {
    let cidr = block.text("cidr");
    let cidr_path = path.child("cidr");
    if cidr.is_empty() {
        return errors.required(&cidr_path, "");
    }
    errors.invalid_all(
        &cidr_path,
        cidr,
        ip::is_valid_cidr_for_legacy_field(cidr, true, &options.old_cidrs),
    );
    let Some(whole) = ip::parse_cidr_sloppy(cidr) else {
        return;
    };
    for (index, except) in block.texts("except").enumerate() {
        let except_path = path.child("except");
        let at = except_path.index(index);
        errors.invalid_all(
            &at,
            except,
            ip::is_valid_cidr_for_legacy_field(except, true, &options.old_cidrs),
        );
        if ip::parse_cidr_sloppy(except).is_some_and(|part| !whole.strictly_holds(&part)) {
            errors.invalid(&at, except, "must be a strict subset of `cidr`");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_fill_protocols_and_types() {
        let mut policy =
            json!({"spec": {"egress": [{"ports": [{"port": 1}, {"port": 2, "protocol": "UDP"}]}]}});
        defaults(&mut policy);
        assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
        assert_eq!(policy["spec"]["egress"][0]["ports"][0]["protocol"], "TCP");
    }

    #[test]
    fn peers_and_ports() {
        for (given, said) in [
            (
                json!({"ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": 80, "endPort": 90}]}]}),
                "[]",
            ),
            (
                json!({"ingress": [{"from": [{}]}]}),
                "spec.ingress[0].from[0]: Required value: must specify a peer",
            ),
            (
                json!({"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}}]}]}),
                "spec.egress[0].to[0].ipBlock.except[0]: Invalid value: \"10.0.0.0/8\": must be a strict subset of `cidr`",
            ),
            (
                json!({"egress": [{"to": [{"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}]}]}),
                "spec.egress[0].to[0]: Forbidden: may not specify both ipBlock and another peer",
            ),
            (
                json!({"ingress": [{"ports": [{"port": "http", "endPort": 90}]}]}),
                "spec.ingress[0].ports[0].endPort: Invalid value: 90: may not be specified when `port` is non-numeric",
            ),
        ] {
            assert_eq!(spec(&given, &Options::default()).message(), said, "{given}");
        }
    }
}
