//! ServiceCIDRs: one or two networks, of which only a second may be added.
//!
//! Follows `ValidateServiceCIDR*` of `pkg/apis/networking/validation/validation.go`.

use crate::kinds::prelude::*;
use crate::kinds::validation::checks::{IMMUTABLE, invalid_shown};
use crate::machinery::names::ip;

pub const STRATEGY: Strategy = Strategy {
    validate: |new| cidrs(new.at("spec")),
    validate_update,
    ..Strategy::DEFAULT
};

fn cidrs(spec: &Value) -> Errors {
    let mut errors = Errors::default();
    let root = Path::new("spec");
    let path = root.child("cidrs");
    let list: Vec<&str> = spec.texts("cidrs").collect();
    match list.len() {
        0 => errors.required(&path, "at least one CIDR required"),
        1 | 2 => {
            for (index, cidr) in list.iter().enumerate() {
                errors.invalid_all(&path.index(index), cidr, ip::is_valid_cidr(cidr));
            }
            let family = |cidr: &&str| ip::parse_cidr_sloppy(cidr).map(|cidr| cidr.addr.is_ipv4());
            if let [a, b] = list.as_slice()
                && family(a).is_some()
                && family(a) == family(b)
            {
                let said = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
                errors.invalid(&path, spec.list("cidrs").to_vec(), said);
            }
        }
        _ => invalid_shown(
            &internal::json(spec, "networking.ServiceCIDRSpec"),
            "may only hold up to 2 values",
            &path,
            &mut errors,
        ),
    }
    errors
}

fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    let root = Path::new("spec");
    let path = root.child("cidrs");
    let (now, before): (Vec<&str>, Vec<&str>) = (
        new.at("spec").texts("cidrs").collect(),
        old.at("spec").texts("cidrs").collect(),
    );
    if now.len() != before.len() && (before.len(), now.len()) != (1, 2) {
        errors.invalid(
            &path,
            new.at("spec").some("cidrs").cloned().unwrap_or_default(),
            IMMUTABLE,
        );
        return errors;
    }
    for (index, (now, _)) in now
        .iter()
        .zip(&before)
        .enumerate()
        .filter(|(_, (now, before))| now != before)
    {
        errors.invalid(&path.index(index), *now, IMMUTABLE);
    }
    if now.len() != before.len() {
        errors.extend(cidrs(new.at("spec")));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(list: &[&str]) -> Value {
        json!({"spec": {"cidrs": list}})
    }

    #[test]
    fn one_of_each_family() {
        for (list, said) in [
            (&["10.0.0.0/8", "2001:db8::/64"][..], "[]"),
            (
                &[],
                "spec.cidrs: Required value: at least one CIDR required",
            ),
            (
                &["10.0.0.1/8"],
                "spec.cidrs[0]: Invalid value: \"10.0.0.1/8\": must not have bits set beyond the prefix length",
            ),
            (
                &["a", "b", "c"],
                "spec.cidrs: Invalid value: {\"CIDRs\":[\"a\",\"b\",\"c\"]}: may only hold up to 2 values",
            ),
        ] {
            assert_eq!((STRATEGY.validate)(&of(list)).message(), said);
        }
    }

    #[test]
    fn a_second_one_may_come() {
        assert!(
            validate_update(&of(&["10.0.0.0/8", "2001:db8::/64"]), &of(&["10.0.0.0/8"])).is_empty()
        );
        let said = "spec.cidrs[0]: Invalid value: \"11.0.0.0/8\": field is immutable";
        assert_eq!(
            validate_update(&of(&["11.0.0.0/8"]), &of(&["10.0.0.0/8"])).message(),
            said
        );
    }
}
