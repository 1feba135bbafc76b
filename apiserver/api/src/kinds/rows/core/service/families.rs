//! Of which families a service's addresses are: what the client says, what its addresses tell, what the cluster has.
//!
//! Invariant: a service with addresses names the family of each before any is given. Follows `initIPFamilyFields` of
//! `pkg/registry/core/service/storage/alloc.go`.

use crate::kinds::fill::{absent, spec};
use crate::kinds::prelude::*;
use crate::machinery::names::ip::family_of_text;

use super::validation;

/// Brings a service's families and their policy to what they must be in a cluster that gives addresses of the families `configured`, the first of which is
/// the usual one. `old` is absent on creation.
///
/// # Errors
/// The cluster cannot give what the service asks for, or its fields contradict each other.
pub fn settle(
    service: &mut Value,
    old: Option<&Value>,
    configured: &[&'static str],
) -> Result<(), Errors> {
    if service.at("spec").text("type") == "ExternalName" || is_left_alone(service, old) {
        return Ok(());
    }
    fill_policy(service, old);
    let done = |errors: Errors| match errors.is_empty() {
        true => Ok(()),
        false => Err(errors),
    };
    done(validation::addresses(service, old))?;
    let mut errors = Errors::default();
    if let Some(old) = old {
        release(service, old, &mut errors);
    }
    single_means_one(service.at("spec"), &mut errors);
    infer(service, configured, &mut errors);
    done(errors)?;
    if is_free(service.at("spec")) {
        default_and_other(service, configured, true);
        return Ok(());
    }
    done(Errors::of(|errors| {
        must_be_there(service.at("spec"), configured, errors)
    }))?;
    default_and_other(service, configured, configured.len() == 2);
    Ok(())
}

/// One that prefers two families keeps what it has while nobody touches that, whatever became of the cluster.
fn is_left_alone(service: &Value, old: Option<&Value>) -> bool {
    let (new, Some(old)) = (service.at("spec"), old.map(|old| old.at("spec"))) else {
        return false;
    };
    let prefers = |spec: &Value| spec.text("ipFamilyPolicy") == "PreferDualStack";
    let same = |field: &str| new.list(field) == old.list(field);
    old.text("type") == new.text("type")
        && prefers(new)
        && (prefers(old) || old.some("ipFamilyPolicy").is_none())
        && same("clusterIPs")
        && same("ipFamilies")
}

/// No address is given, and nobody says where the service leads.
fn is_free(spec: &Value) -> bool {
    let selector = spec.at("selector").as_object();
    spec.text("clusterIP") == "None" && selector.is_none_or(serde_json::Map::is_empty)
}

fn fill_policy(service: &mut Value, old: Option<&Value>) {
    let had = old.and_then(|old| old.at("spec").some("ipFamilyPolicy"));
    let policy = match had {
        Some(policy) => policy.clone(),
        None if is_free(service.at("spec")) => "RequireDualStack".into(),
        None => "SingleStack".into(),
    };
    absent(spec(service), "ipFamilyPolicy", policy);
}

/// The second address and family go by the policy alone.
fn release(service: &mut Value, old: &Value, errors: &mut Errors) {
    let single = service.at("spec").text("ipFamilyPolicy") == "SingleStack";
    for (field, what) in [("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")] {
        let new = service.at("spec").list(field);
        let had = old.at("spec").list(field);
        if single && new == had && new.len() > 1 {
            let first = json!([new[0]]);
            spec(service).insert(field.into(), first);
        } else if !single && !new.is_empty() && new.len() < had.len() {
            let path = Path::new("spec");
            errors.invalid(
                &path.child("ipFamilyPolicy"),
                service.at("spec").text("ipFamilyPolicy"),
                format!("must be 'SingleStack' to release the secondary {what}"),
            );
        }
    }
}

fn single_means_one(spec: &Value, errors: &mut Errors) {
    if spec.text("ipFamilyPolicy") != "SingleStack" {
        return;
    }
    for (field, what) in [("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")] {
        if spec.list(field).len() == 2 {
            errors.invalid(
                &Path::new("spec").child("ipFamilyPolicy"),
                spec.text("ipFamilyPolicy"),
                format!("must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"),
            );
        }
    }
}

/// Addresses tell their families where the client does not.
fn infer(service: &mut Value, configured: &[&str], errors: &mut Errors) {
    let of = service.at("spec");
    let mut families: Vec<Value> = of.list("ipFamilies").to_vec();
    let before = families.len();
    for (index, ip) in of.texts("clusterIPs").enumerate() {
        if ip == "None" {
            break;
        }
        let family = family_of_text(ip);
        if index < families.len() {
            continue;
        }
        if configured.contains(&family) {
            families.push(family.into());
        } else {
            let (root, shown) = (Path::new("spec"), of.at("clusterIPs").clone());
            let path = root.child("clusterIPs");
            let said = format!("{family} is not configured on this cluster");
            errors.invalid(&path.index(index), shown, said);
        }
    }
    if families.len() > before {
        spec(service).insert("ipFamilies".into(), families.into());
    }
}

fn must_be_there(spec: &Value, configured: &[&str], errors: &mut Errors) {
    let root = Path::new("spec");
    let policy = spec.text("ipFamilyPolicy");
    if policy == "RequireDualStack" && configured.len() < 2 {
        let said = "this cluster is not configured for dual-stack services";
        errors.invalid(&root.child("ipFamilyPolicy"), policy, said);
    }
    let path = root.child("ipFamilies");
    for (index, family) in spec.texts("ipFamilies").enumerate() {
        if !configured.contains(&family) {
            errors.invalid(&path.index(index), family, "not configured on this cluster");
        }
    }
}

/// The usual family where none is named, and the other one beside it where the policy wants two and there may be `two`.
fn default_and_other(service: &mut Value, configured: &[&str], two: bool) {
    let spec = spec(service);
    if let Some(usual) = configured.first() {
        absent(spec, "ipFamilies", json!([usual]));
    }
    if two
        && spec.text("ipFamilyPolicy") != "SingleStack"
        && let Some([family]) = spec.at("ipFamilies").as_array().map(Vec::as_slice)
    {
        let other = if family == "IPv4" { "IPv6" } else { "IPv4" };
        let both = json!([family, other]);
        spec.insert("ipFamilies".into(), both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: &[&str] = &["IPv4"];
    const BOTH: &[&str] = &["IPv4", "IPv6"];

    fn settled(spec: &Value, old: Option<&Value>, configured: &[&'static str]) -> Value {
        let mut service = json!({"spec": spec});
        let old = old.map(|spec| json!({"spec": spec}));
        match settle(&mut service, old.as_ref(), configured) {
            Ok(()) => {
                let spec = service.at("spec");
                json!([spec["ipFamilyPolicy"], spec["ipFamilies"]])
            }
            Err(errors) => errors.message().into(),
        }
    }

    #[test]
    fn families_of_a_new_service() {
        let given = |ip: &str| json!({"clusterIP": ip, "clusterIPs": [ip]});
        let with = |mut spec: Value, more: Value| {
            let more = more.as_object().unwrap().clone();
            spec.as_object_mut().unwrap().extend(more);
            spec
        };
        for (spec, configured, wanted) in [
            (json!({}), V4, json!(["SingleStack", ["IPv4"]])),
            (json!({}), BOTH, json!(["SingleStack", ["IPv4"]])),
            (
                json!({"ipFamilyPolicy": "PreferDualStack"}),
                V4,
                json!(["PreferDualStack", ["IPv4"]]),
            ),
            (
                json!({"ipFamilyPolicy": "PreferDualStack"}),
                BOTH,
                json!(["PreferDualStack", ["IPv4", "IPv6"]]),
            ),
            (
                given("None"),
                V4,
                json!(["RequireDualStack", ["IPv4", "IPv6"]]),
            ),
            (
                with(given("None"), json!({"ipFamilyPolicy": "SingleStack"})),
                V4,
                json!(["SingleStack", ["IPv4"]]),
            ),
            (
                with(
                    given("None"),
                    json!({"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6"]}),
                ),
                V4,
                json!(["PreferDualStack", ["IPv6", "IPv4"]]),
            ),
            (
                with(given("None"), json!({"selector": {"a": "b"}})),
                V4,
                json!(["SingleStack", ["IPv4"]]),
            ),
            (
                with(
                    given("None"),
                    json!({"selector": {"a": "b"}, "ipFamilies": ["IPv6"]}),
                ),
                V4,
                json!(
                    "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster"
                ),
            ),
            (
                given("fd00::1"),
                V4,
                json!(
                    "spec.clusterIPs[0]: Invalid value: [\"fd00::1\"]: IPv6 is not configured on this cluster"
                ),
            ),
            (given("fd00::1"), BOTH, json!(["SingleStack", ["IPv6"]])),
            (
                json!({"ipFamilyPolicy": "RequireDualStack"}),
                V4,
                json!(
                    "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services"
                ),
            ),
            (
                json!({"ipFamilies": ["IPv4", "IPv6"]}),
                V4,
                json!(
                    "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified"
                ),
            ),
        ] {
            assert_eq!(settled(&spec, None, configured), wanted, "{spec}");
        }
    }

    #[test]
    fn a_second_family_goes_by_the_policy() {
        let old = json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"], "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack"});
        let mut single = old.clone();
        single["ipFamilyPolicy"] = "SingleStack".into();
        let wanted = json!(["SingleStack", ["IPv4"]]);
        assert_eq!(settled(&single, Some(&old), BOTH), wanted);
        let mut less = old.clone();
        less["ipFamilies"] = json!(["IPv4"]);
        let said = json!(
            "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": must be 'SingleStack' to release the secondary IP family"
        );
        assert_eq!(settled(&less, Some(&old), BOTH), said);
        // whatever the cluster has now, one that prefers two is left as it is
        let mut prefers = old.clone();
        prefers["ipFamilyPolicy"] = "PreferDualStack".into();
        let wanted = json!(["PreferDualStack", ["IPv4", "IPv6"]]);
        assert_eq!(settled(&prefers, Some(&prefers), V4), wanted);
    }
}
