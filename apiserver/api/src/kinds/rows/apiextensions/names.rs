//! Names that a definition gives to its kind, and those that were accepted.
//!
//! Follows `pkg/apis/apiextensions/validation/validation.go` of apiextensions-apiserver.

use crate::kinds::prelude::*;

const MIXED: &str = "may have mixed case, but should otherwise match: ";

/// What a spec must say: names that a status may leave out.
pub fn required(given: &Value, path: &Path, errors: &mut Errors) {
    for name in ["plural", "singular", "kind", "listKind"] {
        if given.text(name).is_empty() {
            errors.required(&path.child(name), "");
        }
    }
}

/// Names that are there.
pub fn validate(given: &Value, path: &Path, errors: &mut Errors) {
    for name in ["plural", "singular"] {
        let text = given.text(name);
        if !text.is_empty() {
            label(text, "", text, &path.child(name), errors);
        }
    }
    for name in ["kind", "listKind"] {
        let text = given.text(name);
        if !text.is_empty() {
            label(&text.to_lowercase(), MIXED, text, &path.child(name), errors);
        }
    }
    labels(given, "shortNames", path, errors);
    let (kind, list) = (given.text("kind"), given.text("listKind"));
    if !kind.is_empty() && kind == list {
        errors.invalid(
            &path.child("listKind"),
            list,
            "kind and listKind may not be the same",
        );
    }
    labels(given, "categories", path, errors);
}

fn labels(given: &Value, name: &str, path: &Path, errors: &mut Errors) {
    for (index, text) in given.texts(name).enumerate() {
        label(text, "", text, &path.child(name).index(index), errors);
    }
}

/// One error that tells all that is wrong with a label.
pub fn label(text: &str, lead: &str, shown: &str, path: &Path, errors: &mut Errors) {
    let wrong = names::is_dns1035_label(text);
    if !wrong.is_empty() {
        errors.invalid(path, shown, format!("{lead}{}", wrong.join(",")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_may_be() {
        const FORM: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
        for (given, said) in [
            (json!({}), "[]".to_string()),
            (
                json!({"plural": "as", "kind": "A", "listKind": "AList"}),
                "[]".into(),
            ),
            (
                json!({"plural": "As"}),
                format!("names.plural: Invalid value: \"As\": {FORM}"),
            ),
            (
                json!({"kind": "A b"}),
                format!("names.kind: Invalid value: \"A b\": {MIXED}{FORM}"),
            ),
            (
                json!({"shortNames": ["a", ""]}),
                format!("names.shortNames[1]: Invalid value: \"\": {FORM}"),
            ),
            (
                json!({"categories": ["1"]}),
                format!("names.categories[0]: Invalid value: \"1\": {FORM}"),
            ),
            (
                json!({"kind": "A", "listKind": "A"}),
                "names.listKind: Invalid value: \"A\": kind and listKind may not be the same"
                    .into(),
            ),
        ] {
            let errors = Errors::of(|errors| validate(&given, &Path::new("names"), errors));
            assert_eq!(errors.message(), said, "{given}");
        }
        let errors = Errors::of(|errors| required(&json!({"kind": "A"}), &Path::new("n"), errors));
        assert_eq!(
            errors.message(),
            "[n.plural: Required value, n.singular: Required value, n.listKind: Required value]"
        );
    }
}
