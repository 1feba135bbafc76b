//! `status.loadBalancer` of what is reached from outside: Services and Ingresses.
//!
//! Follows `ValidateLoadBalancerStatus` of `pkg/apis/core/validation/validation.go`, `ValidateIngressLoadBalancerStatus` of
//! `pkg/apis/networking/validation/validation.go`, and what the strategies of both warn of.

use super::checks;
use crate::kinds::prelude::*;
use crate::machinery::names::ip::{parse_ip_sloppy, warnings_for_ip};

const MODES: &[&str] = &["Proxy", "VIP"];

fn points(object: &Value) -> &[Value] {
    object.at("status").at("loadBalancer").list("ingress")
}

/// Tells of the points by their place.
fn at_place<T>(tell: impl FnOnce(&Path) -> T) -> T {
    let (status, balancer) = (Path::new("status"), "loadBalancer");
    tell(&status.child(balancer).child("ingress"))
}

/// Addresses and names under which it is reached; `with_modes`: each says what is done with its traffic.
pub fn validate(new: &Value, old: &Value, with_modes: bool) -> Errors {
    let mut errors = Errors::default();
    at_place(|path| points_at(path, new, old, with_modes, &mut errors));
    errors
}

fn points_at(path: &Path, new: &Value, old: &Value, with_modes: bool, errors: &mut Errors) {
    let known = points(old).iter().map(|point| point.text("ip"));
    let known: Vec<&str> = known.filter(|ip| !ip.is_empty()).collect();
    for (index, point) in points(new).iter().enumerate() {
        let at = path.index(index);
        let (address, hostname) = (point.text("ip"), point.text("hostname"));
        if !address.is_empty() {
            checks::legacy_ip(address, &known, &at.child("ip"), errors);
        }
        if with_modes {
            mode(point, &at.child("ipMode"), errors);
        }
        if !hostname.is_empty() {
            checks::subdomain(hostname, &at.child("hostname"), errors);
            if parse_ip_sloppy(hostname).is_some() {
                let said = "must be a DNS name, not an IP address";
                errors.invalid(&at.child("hostname"), hostname, said);
            }
        }
    }
}

fn mode(point: &Value, at: &Path, errors: &mut Errors) {
    let has_address = !point.text("ip").is_empty();
    match point.text_ptr("ipMode") {
        None if has_address => errors.required(at, "must be specified when `ip` is set"),
        None => {}
        Some(_) if !has_address => {
            errors.forbidden(at, "may not be specified when `ip` is not set")
        }
        Some(mode) => checks::one_of(mode, MODES, at, errors),
    }
}

/// The same where nothing may be said, as nothing balances.
pub fn none(new: &Value) -> Errors {
    Errors::of(|errors| {
        if !points(new).is_empty() {
            let said = "may only be used when `spec.type` is 'LoadBalancer'";
            at_place(|path| errors.forbidden(path, said));
        }
    })
}

/// Addresses in an odd form.
pub fn warnings(new: &Value) -> Warnings {
    let points = points(new).iter().enumerate();
    let of = |(index, point): (usize, &Value)| {
        let place = at_place(|path| path.index(index).to_string());
        warnings_for_ip(&place, point.text("ip"))
    };
    points.flat_map(of).collect()
}
