//! Roles and bindings: what a rule must say, whom a binding may name, and that its role stays.
//!
//! Invariant: a binding never comes to grant another role. Follows `pkg/apis/rbac/validation/validation.go` and `pkg/apis/rbac/v1/defaults.go`.

use crate::kinds::prelude::*;
use crate::kinds::validation::checks::{one_of, required_segment};
use crate::machinery::meta::child_mut;

const GROUP: &str = "rbac.authorization.k8s.io";

pub const ROLE: Strategy = Strategy {
    validate: |role| rules(role, true),
    validate_update: |role, _| rules(role, true),
    ..Strategy::DEFAULT
};
pub const CLUSTER_ROLE: Strategy = Strategy {
    validate: |role| cluster_role(role, false),
    validate_update: |new, old| cluster_role(new, has_odd_values(old)),
    ..Strategy::DEFAULT
};
pub const ROLE_BINDING: Strategy = Strategy {
    defaults,
    validate: |binding| self::binding(binding, true),
    validate_update: |new, old| binding_update(new, old, true),
    ..Strategy::DEFAULT
};
pub const CLUSTER_ROLE_BINDING: Strategy = Strategy {
    defaults,
    validate: |binding| self::binding(binding, false),
    validate_update: |new, old| binding_update(new, old, false),
    ..Strategy::DEFAULT
};

fn defaults(binding: &mut Value) {
    fill::text(child_mut(binding, "roleRef"), "apiGroup", GROUP);
    for subject in binding
        .as_object_mut()
        .into_iter()
        .flat_map(|map| fill::each(map, "subjects"))
    {
        if matches!(
            subject.get("kind").and_then(Value::as_str),
            Some("User" | "Group")
        ) {
            fill::text(subject, "apiGroup", GROUP);
        }
    }
}

fn rules(role: &Value, namespaced: bool) -> Errors {
    let mut errors = Errors::default();
    for (index, one) in role.list("rules").iter().enumerate() {
        rule(
            one,
            namespaced,
            &Path::new("rules").index(index),
            &mut errors,
        );
    }
    errors
}

fn rule(rule: &Value, namespaced: bool, path: &Path, errors: &mut Errors) {
    let has = |name: &str| !rule.list(name).is_empty();
    if !has("verbs") {
        errors.required(
            &path.child("verbs"),
            "verbs must contain at least one value",
        );
    }
    if has("nonResourceURLs") {
        let (path, urls) = (path.child("nonResourceURLs"), rule.list("nonResourceURLs"));
        if namespaced {
            errors.invalid(
                &path,
                urls.to_vec(),
                "namespaced rules cannot apply to non-resource URLs",
            );
        }
        if has("apiGroups") || has("resources") || has("resourceNames") {
            errors.invalid(
                &path,
                urls.to_vec(),
                "rules cannot apply to both regular resources and non-resource URLs",
            );
        }
        return;
    }
    if !has("apiGroups") {
        errors.required(
            &path.child("apiGroups"),
            "resource rules must supply at least one api group",
        );
    }
    if !has("resources") {
        errors.required(
            &path.child("resources"),
            "resource rules must supply at least one resource",
        );
    }
}

fn selectors(role: &Value) -> &[Value] {
    role.at("aggregationRule").list("clusterRoleSelectors")
}

/// An update may leave values of selectors that would be refused anew.
fn has_odd_values(old: &Value) -> bool {
    selectors(old).iter().any(|selector| {
        !checks::is_good(|errors| {
            checks::label_selector(Some(selector), false, &Path::new(""), errors)
        })
    })
}

fn cluster_role(role: &Value, odd_values: bool) -> Errors {
    let mut errors = rules(role, false);
    if role.some("aggregationRule").is_some() {
        let aggregation = Path::new("aggregationRule");
        let path = aggregation.child("clusterRoleSelectors");
        if selectors(role).is_empty() {
            errors.required(
                &path,
                "at least one clusterRoleSelector required if aggregationRule is non-nil",
            );
        }
        for (index, selector) in selectors(role).iter().enumerate() {
            let path = path.index(index);
            checks::label_selector(Some(selector), odd_values, &path, &mut errors);
            if crate::machinery::selector::Selector::from_label_selector(Some(selector)).is_err() {
                errors.invalid(&path, Value::Null, "invalid label selector.");
            }
        }
    }
    errors
}

fn binding(binding: &Value, namespaced: bool) -> Errors {
    let mut errors = Errors::default();
    let (role, path) = (binding.at("roleRef"), Path::new("roleRef"));
    one_of(
        role.text("apiGroup"),
        &[GROUP],
        &path.child("apiGroup"),
        &mut errors,
    );
    let kinds: &[&str] = if namespaced {
        &["Role", "ClusterRole"]
    } else {
        &["ClusterRole"]
    };
    one_of(role.text("kind"), kinds, &path.child("kind"), &mut errors);
    required_segment(role.text("name"), &path.child("name"), &mut errors);
    for (index, one) in binding.list("subjects").iter().enumerate() {
        subject(
            one,
            namespaced,
            &Path::new("subjects").index(index),
            &mut errors,
        );
    }
    errors
}

fn subject(subject: &Value, namespaced: bool, path: &Path, errors: &mut Errors) {
    let name = subject.text("name");
    if name.is_empty() {
        errors.required(&path.child("name"), "");
    }
    let (kind, group) = (subject.text("kind"), subject.text("apiGroup"));
    match kind {
        "ServiceAccount" => {
            if !name.is_empty() {
                checks::subdomain(name, &path.child("name"), errors);
            }
            one_of(group, &[""], &path.child("apiGroup"), errors);
            if !namespaced && subject.text("namespace").is_empty() {
                errors.required(&path.child("namespace"), "");
            }
        }
        "User" | "Group" => one_of(group, &[GROUP], &path.child("apiGroup"), errors),
        _ => one_of(
            kind,
            &["ServiceAccount", "User", "Group"],
            &path.child("kind"),
            errors,
        ),
    }
}

fn binding_update(new: &Value, old: &Value, namespaced: bool) -> Errors {
    let mut errors = binding(new, namespaced);
    if new.some("roleRef") != old.some("roleRef") {
        checks::invalid_shown(
            &internal::json(new.at("roleRef"), "rbac.RoleRef"),
            "cannot change roleRef",
            &Path::new("roleRef"),
            &mut errors,
        );
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(role: Value, subjects: Value) -> Value {
        let mut binding = json!({"roleRef": role, "subjects": subjects});
        defaults(&mut binding);
        binding
    }

    #[test]
    fn a_binding_keeps_its_role() {
        let of = |name: &str| bound(json!({"kind": "Role", "name": name}), json!([]));
        assert!(binding_update(&of("a"), &of("a"), true).is_empty());
        let said = r#"roleRef: Invalid value: {"APIGroup":"rbac.authorization.k8s.io","Kind":"Role","Name":"b"}: cannot change roleRef"#;
        assert_eq!(binding_update(&of("b"), &of("a"), true).message(), said);
    }

    #[test]
    fn whom_a_binding_names() {
        let role = json!({"kind": "ClusterRole", "name": "a"});
        for (subject, said) in [
            (json!({"kind": "User", "name": "a"}), "[]"),
            (
                json!({"kind": "ServiceAccount", "name": "a"}),
                "subjects[0].namespace: Required value",
            ),
            (
                json!({"kind": "Robot", "name": ""}),
                "[subjects[0].name: Required value, subjects[0].kind: Unsupported value: \"Robot\": supported values: \"ServiceAccount\", \"User\", \"Group\"]",
            ),
        ] {
            assert_eq!(
                binding(&bound(role.clone(), json!([subject])), false).message(),
                said
            );
        }
        let local = bound(json!({"kind": "Role", "name": "a"}), json!([]));
        assert_eq!(
            binding(&local, false).message(),
            "roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\""
        );
    }

    #[test]
    fn what_a_rule_says() {
        for (rule, said) in [
            (
                json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}),
                "[]",
            ),
            (
                json!({"verbs": ["get"], "nonResourceURLs": ["/a"]}),
                "rules[0].nonResourceURLs: Invalid value: [\"/a\"]: namespaced rules cannot apply to non-resource URLs",
            ),
            (
                json!({}),
                "[rules[0].verbs: Required value: verbs must contain at least one value, rules[0].apiGroups: Required value: resource rules must supply at least one api group, rules[0].resources: Required value: resource rules must supply at least one resource]",
            ),
        ] {
            assert_eq!(rules(&json!({"rules": [rule]}), true).message(), said);
        }
    }
}
