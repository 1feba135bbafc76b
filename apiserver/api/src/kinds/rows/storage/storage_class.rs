//! StorageClasses: how volumes are made, which stays.
//!
//! Follows `ValidateStorageClass*` of `pkg/apis/storage/validation/validation.go`, `pkg/apis/storage/v1/defaults.go` and
//! `GetWarningsForStorageClass` of `pkg/api/storage/util.go`.

use crate::kinds::prelude::*;
use crate::kinds::rows::storage::parameters::{parameters, provisioner};
use crate::kinds::validation::checks::{immutable, one_of};
use crate::kinds::validation::pod::warnings::deprecated_node_label;

pub const STRATEGY: Strategy = Strategy {
    defaults,
    validate,
    validate_update,
    warnings,
    ..Strategy::DEFAULT
};

fn defaults(class: &mut Value) {
    if let Some(map) = class.as_object_mut() {
        fill::absent(map, "reclaimPolicy", "Delete");
        fill::absent(map, "volumeBindingMode", "Immediate");
    }
}

fn validate(class: &Value) -> Errors {
    let mut errors = Errors::default();
    provisioner(
        class.text("provisioner"),
        &Path::new("provisioner"),
        &mut errors,
    );
    parameters(class, true, &mut errors);
    if let Some(policy) = class
        .text_ptr("reclaimPolicy")
        .filter(|policy| !policy.is_empty())
    {
        one_of(
            policy,
            &["Delete", "Retain"],
            &Path::new("reclaimPolicy"),
            &mut errors,
        );
    }
    let path = Path::new("volumeBindingMode");
    match class.text_ptr("volumeBindingMode") {
        None => errors.required(&path, ""),
        Some(mode) => one_of(
            mode,
            &["Immediate", "WaitForFirstConsumer"],
            &path,
            &mut errors,
        ),
    }
    let path = Path::new("allowedTopologies");
    let terms = class.list("allowedTopologies");
    for (index, term) in terms.iter().enumerate() {
        let path = path.index(index);
        topology(term, &path, &mut errors);
        // upstream compares with as many empty terms as there are terms, and then with those before
        let blanks = if term.list("matchLabelExpressions").is_empty() {
            terms.len()
        } else {
            0
        };
        for _ in 0..blanks
            + terms[..index]
                .iter()
                .filter(|before| same_topology(before, term))
                .count()
        {
            errors.duplicate(&path.child("matchLabelExpressions"), "");
        }
    }
    errors
}

fn same_topology(a: &Value, b: &Value) -> bool {
    let of = |term: &Value| {
        let requirements = term.list("matchLabelExpressions").iter();
        requirements
            .map(|one| {
                (
                    one.text("key").to_string(),
                    one.texts("values").map(str::to_string).collect(),
                )
            })
            .collect()
    };
    let (a, b): (
        std::collections::BTreeMap<String, std::collections::BTreeSet<String>>,
        _,
    ) = (of(a), of(b));
    a == b
}

fn topology(term: &Value, path: &Path, errors: &mut Errors) {
    let path = path.child("matchLabelExpressions");
    let requirements = term.list("matchLabelExpressions");
    for (index, one) in requirements.iter().enumerate() {
        let path = path.index(index);
        let (values, values_path) = (one.list("values"), path.child("values"));
        if values.is_empty() {
            errors.required(&values_path, "");
        }
        for (at, value) in values.iter().enumerate() {
            if values[..at].contains(value) {
                errors.duplicate(&values_path.index(at), value.clone());
            }
        }
        checks::qualified_name(one.text("key"), &path.child("key"), errors);
        if requirements[..index]
            .iter()
            .any(|before| before.text("key") == one.text("key"))
        {
            errors.duplicate(&path.child("key"), one.text("key"));
        }
    }
}

fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = validate(new);
    for name in [
        "parameters",
        "provisioner",
        "reclaimPolicy",
        "volumeBindingMode",
    ] {
        immutable(
            new.some(name),
            old.some(name),
            &Path::new(name),
            &mut errors,
        );
    }
    errors
}

fn warnings(class: &Value, _: Option<&Value>) -> Warnings {
    let mut told = Vec::new();
    for (at, term) in class.list("allowedTopologies").iter().enumerate() {
        for (index, one) in term.list("matchLabelExpressions").iter().enumerate() {
            let text = deprecated_node_label(one.text("key"));
            told.extend(text.map(|text| {
                format!("allowedTopologies[{at}].matchLabelExpressions[{index}].key: {text}")
            }));
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(more: Value) -> Value {
        let mut class = json!({"provisioner": "example.com/disk"});
        class
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        defaults(&mut class);
        class
    }

    #[test]
    fn defaults_and_what_is_refused() {
        let plain = class(json!({}));
        assert_eq!(
            (plain.text("reclaimPolicy"), plain.text("volumeBindingMode")),
            ("Delete", "Immediate")
        );
        let topology = json!([{"matchLabelExpressions": [{"key": "a", "values": ["b"]}]}]);
        let twice = json!([topology[0], topology[0]]);
        for (more, said) in [
            (json!({}), "[]"),
            (json!({"allowedTopologies": topology}), "[]"),
            (
                json!({"allowedTopologies": [{}]}),
                "allowedTopologies[0].matchLabelExpressions: Duplicate value: \"\"",
            ),
            (
                json!({"allowedTopologies": twice}),
                "allowedTopologies[1].matchLabelExpressions: Duplicate value: \"\"",
            ),
            (json!({"provisioner": ""}), "provisioner: Required value"),
            (
                json!({"reclaimPolicy": "Recycle"}),
                "reclaimPolicy: Unsupported value: \"Recycle\": supported values: \"Delete\", \"Retain\"",
            ),
        ] {
            assert_eq!(validate(&class(more)).message(), said);
        }
    }

    #[test]
    fn a_class_stays_what_it_is() {
        let said = "[parameters: Invalid value: null: field is immutable, reclaimPolicy: Invalid value: \"Delete\": field is immutable]";
        assert_eq!(
            validate_update(
                &class(json!({})),
                &class(json!({"parameters": {"a": "b"}, "reclaimPolicy": "Retain"}))
            )
            .message(),
            said
        );
        assert!(
            validate_update(
                &class(json!({"allowVolumeExpansion": true})),
                &class(json!({}))
            )
            .is_empty()
        );
    }
}
