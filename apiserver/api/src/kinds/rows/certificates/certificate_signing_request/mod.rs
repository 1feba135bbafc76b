//! The life of a certificate request: who asked is what the server says, its spec never changes, and approval and certificate have a door each.
//!
//! Invariant: only `/approval` adds conditions of approval and denial, only `/status` a certificate, and neither is ever taken back. Follows
//! pkg/registry/certificates/certificates/strategy.go and pkg/apis/certificates/validation/validation.go (updates).

mod pkcs10;
mod request;

use crate::kinds::prelude::*;
use crate::machinery::quote::GoQuoted;

const DECISIONS: [&str; 2] = ["Approved", "Denied"];

pub const STRATEGY: Strategy = Strategy {
    prepare_for_update: |new, old| new["spec"] = old.at("spec").clone(),
    prepare_for_status_update: keep_decisions,
    validate: |new| request::validate(new, None),
    validate_update: |new, old| whole(new, old, &[]),
    validate_status_update: |new, old| whole(new, old, &["certificate"]),
    parts: &[PartStrategy {
        name: "approval",
        prepare: keep_all_but_conditions,
        reset: Some(&["spec", "status.certificate"]),
        validate: |new, old| whole(new, old, &["conditions"]),
        checks: UpdateChecks::Around,
    }],
    stamp: Some(stamp),
    ..Strategy::DEFAULT
};

fn conditions(object: &Value) -> &[Value] {
    object
        .at("status")
        .at("conditions")
        .as_array()
        .map_or(&[], Vec::as_slice)
}

fn of_type<'a>(object: &'a Value, type_: &str) -> Vec<&'a Value> {
    conditions(object)
        .iter()
        .filter(|c| c.text("type") == type_)
        .collect()
}

/// Decisions are as they were, unless their number changed, which is refused afterwards.
fn keep_decisions(new: &mut Value, old: &Value) {
    for type_ in DECISIONS {
        let had: Vec<Value> = of_type(old, type_).into_iter().cloned().collect();
        if had.len() != of_type(new, type_).len() {
            continue;
        }
        let places = new["status"]
            .get_mut("conditions")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
            .filter(|c| c.text("type") == type_);
        places.zip(had).for_each(|(place, had)| *place = had);
    }
}

fn keep_all_but_conditions(new: &mut Value, old: &Value) {
    let conditions = new.at("status").some("conditions").cloned();
    new["spec"] = old.at("spec").clone();
    new["status"] = old.at("status").clone();
    if let Some(conditions) = conditions {
        if new.some("status").is_none() {
            new["status"] = serde_json::json!({});
        }
        new["status"]["conditions"] = conditions;
    }
}

/// Who asked, and when conditions came.
fn stamp(new: &mut Value, old: Option<&Value>, stamp: &Stamp<'_>) {
    let Some(old) = old else {
        if let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) {
            for name in ["username", "uid", "groups", "extra"] {
                match stamp.user.get(name) {
                    Some(value) => spec.insert(name.into(), value.clone()),
                    None => spec.remove(name),
                };
            }
        }
        return;
    };
    let is_absent = |value: Option<&Value>| value.is_none_or(Value::is_null);
    for condition in new
        .get_mut("status")
        .and_then(|status| status.get_mut("conditions"))
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if is_absent(condition.get("lastUpdateTime")) {
            condition["lastUpdateTime"] = stamp.now.into();
        }
        if is_absent(condition.get("lastTransitionTime")) {
            let same = |had: &&Value| {
                had.at("type") == condition.at("type")
                    && had.at("status") == condition.at("status")
                    && !is_absent(had.get("lastTransitionTime"))
            };
            condition["lastTransitionTime"] = conditions(old).iter().find(same).map_or_else(
                || stamp.now.into(),
                |had| had.at("lastTransitionTime").clone(),
            );
        }
    }
}

fn whole(new: &Value, old: &Value, open: &[&str]) -> Errors {
    let mut errors = request::validate(new, Some(old));
    errors.extend(validate_update(new, old, open));
    errors
}

/// What an update may not do, whichever door it comes by; `open` are the parts of the status that this door is for.
fn validate_update(new: &Value, old: &Value, open: &[&str]) -> Errors {
    let mut errors = Errors::default();
    let status = Path::new("status");
    let path = status.child("conditions");
    let changed = |type_: &str| (of_type(old, type_), of_type(new, type_));
    for type_ in ["Approved", "Denied", "Failed"] {
        let (had, has) = changed(type_);
        if has.len() < had.len() {
            errors.forbidden(
                &path,
                format!(
                    "updates may not remove a condition of type {type_}",
                    type_ = GoQuoted(&type_)
                ),
            );
        }
    }
    for type_ in DECISIONS.iter().filter(|_| !open.contains(&"conditions")) {
        let (had, has) = changed(type_);
        if has.len() > had.len() {
            errors.forbidden(
                &path,
                format!(
                    "updates may not add a condition of type {type_}",
                    type_ = GoQuoted(&type_)
                ),
            );
        } else if has.len() == had.len() && has != had {
            errors.forbidden(
                &path,
                format!(
                    "updates may not modify a condition of type {type_}",
                    type_ = GoQuoted(&type_)
                ),
            );
        }
    }
    let text = |object: &Value| {
        object["status"]["certificate"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    if text(new) != text(old) {
        let certificate = status.child("certificate");
        if !open.contains(&"certificate") {
            errors.forbidden(&certificate, "updates may not set certificate content");
        } else if !text(old).is_empty() {
            errors.forbidden(
                &certificate,
                "updates may not modify existing certificate content",
            );
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-02T03:04:05Z";

    #[test]
    fn the_server_says_who_asked() {
        let user = json!({"username": "jane", "groups": ["system:authenticated"]});
        let mut new = json!({"spec": {"request": "x", "username": "system:node:n", "uid": "1", "extra": {"a": ["b"]}}});
        stamp(
            &mut new,
            None,
            &Stamp {
                now: NOW,
                user: &user,
            },
        );
        assert_eq!(
            new["spec"],
            json!({"request": "x", "username": "jane", "groups": ["system:authenticated"]})
        );
        let mut other = json!({"spec": {"username": "root"}});
        (STRATEGY.prepare_for_update)(&mut other, &new);
        assert_eq!(other["spec"], new["spec"]);
    }

    #[test]
    fn times_of_conditions() {
        let old = json!({"status": {"conditions": [{"type": "Approved", "status": "True", "lastTransitionTime": "T", "lastUpdateTime": "T"}]}});
        let mut new = json!({"status": {"conditions": [{"type": "Approved", "status": "True"}, {"type": "Failed", "status": "True", "lastUpdateTime": null}]}});
        stamp(
            &mut new,
            Some(&old),
            &Stamp {
                now: NOW,
                user: &Value::Null,
            },
        );
        let expected = json!([
            {"type": "Approved", "status": "True", "lastTransitionTime": "T", "lastUpdateTime": NOW},
            {"type": "Failed", "status": "True", "lastTransitionTime": NOW, "lastUpdateTime": NOW},
        ]);
        assert_eq!(new["status"]["conditions"], expected);
    }

    #[test]
    fn doors() {
        let object = |types: &[&str], certificate: &str| {
            let conditions: Vec<Value> = types
                .iter()
                .map(|type_| json!({"type": type_, "status": "True"}))
                .collect();
            json!({"status": {"conditions": conditions, "certificate": certificate}})
        };
        for (new, old, open, expected) in [
            (
                object(&["Approved"], ""),
                object(&[], ""),
                &["conditions"][..],
                "",
            ),
            (
                object(&["Approved"], ""),
                object(&[], ""),
                &["certificate"],
                "updates may not add a condition of type \"Approved\"",
            ),
            (
                object(&["Approved"], ""),
                object(&[], ""),
                &[],
                "updates may not add a condition of type \"Approved\"",
            ),
            (
                object(&[], ""),
                object(&["Denied"], ""),
                &["conditions"],
                "updates may not remove a condition of type \"Denied\"",
            ),
            (
                object(&["Approved", "Failed"], ""),
                object(&["Approved"], ""),
                &["certificate"],
                "",
            ),
            (
                object(&["Approved"], "x"),
                object(&["Approved"], ""),
                &["certificate"],
                "",
            ),
            (
                object(&["Approved"], "y"),
                object(&["Approved"], "x"),
                &["certificate"],
                "updates may not modify existing certificate content",
            ),
            (
                object(&["Approved"], "x"),
                object(&["Approved"], ""),
                &["conditions"],
                "updates may not set certificate content",
            ),
        ] {
            let found = validate_update(&new, &old, open);
            assert_eq!(
                found.is_empty(),
                expected.is_empty(),
                "{new} {old} {open:?}"
            );
            assert!(found.message().contains(expected), "{}", found.message());
        }
        let (old, mut new) = (object(&["Approved"], ""), object(&["Approved"], "x"));
        new["spec"] = json!({"username": "root"});
        keep_all_but_conditions(&mut new, &old);
        assert_eq!(new["status"], old["status"]);
        assert!(new["spec"].is_null());
        let mut new = json!({"status": {"conditions": [{"type": "Approved", "status": "True", "message": "mine"}]}});
        keep_decisions(&mut new, &old);
        assert_eq!(conditions(&new), conditions(&old));
    }
}
