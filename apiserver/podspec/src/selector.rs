//! The label selectors of typed objects.
//!
//! Invariant: no selector selects nothing, an empty one everything. Follows `k8s.io/apimachinery/pkg/apis/meta/v1/helpers.go`.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
pub use skiff_api::machinery::selector::{Selector, SelectorError};

fn texts<'v>((key, value): (&'v String, &'v String)) -> (&'v str, &'v str) {
    (key, value)
}

fn labels(selector: &LabelSelector) -> impl Iterator<Item = (&str, &str)> {
    selector.match_labels.iter().flatten().map(texts)
}

fn terms(
    selector: &LabelSelector,
) -> impl Iterator<Item = (&str, &str, impl Iterator<Item = &str>)> {
    selector.match_expressions.iter().flatten().map(|term| {
        let values = term.values.iter().flatten().map(String::as_str);
        (&*term.key, &*term.operator, values)
    })
}

/// Reads the API's form; the error is why it cannot be read.
pub fn of(selector: Option<&LabelSelector>) -> Result<Selector, SelectorError> {
    selector.map_or(Ok(Selector::Nothing), |selector| {
        Selector::of_parts(labels(selector), terms(selector))
    })
}

/// A pointer to a selector as Go prints it, for a message that holds it.
pub fn go_text(selector: Option<&LabelSelector>) -> String {
    selector.map_or_else(
        || "nil".into(),
        |selector| skiff_api::machinery::selector::go_text(labels(selector), terms(selector)),
    )
}

/// A selector of plain equalities, as services and replication controllers have. They are not checked.
pub fn of_map(labels: Option<&BTreeMap<String, String>>) -> Selector {
    labels.map_or(Selector::Nothing, |labels| {
        Selector::from_set(labels.iter().map(texts))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    #[test]
    fn selection() {
        let term = |operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": "a", "operator": operator, "values": values}]});
        #[rustfmt::skip]
        let cases = [
            (Value::Null, json!({"a": "1"}), false),
            (json!({}), json!({}), true),
            (json!({"matchLabels": {"a": "1"}}), json!({"a": "1", "b": "2"}), true),
            (json!({"matchLabels": {"a": "1", "b": "3"}}), json!({"a": "1", "b": "2"}), false),
            (term("In", &["1", "2"]), json!({"a": "2"}), true),
            (term("NotIn", &["1"]), json!({}), true),
            (term("NotIn", &["1"]), json!({"a": "1"}), false),
            (term("Exists", &[]), json!({"b": "1"}), false),
            (term("DoesNotExist", &[]), json!({"b": "1"}), true),
        ];
        for (selector, labels, expected) in cases {
            let typed: Option<LabelSelector> = from_value(selector.clone()).unwrap();
            let said = format!("{selector} on {labels}");
            assert_eq!(
                of(typed.as_ref()).unwrap().matches(&labels),
                expected,
                "{said}"
            );
            let untyped = Selector::from_label_selector(Some(&selector)).unwrap();
            assert_eq!(untyped.matches(&labels), expected, "{said}");
        }
        let near: LabelSelector = from_value(term("Near", &[])).unwrap();
        assert_eq!(
            of(Some(&near)).unwrap_err().to_string(),
            "\"Near\" is not a valid label selector operator"
        );
    }

    #[test]
    fn equalities() {
        let labels = BTreeMap::from([("a".to_string(), "1".to_string())]);
        assert!(of_map(Some(&labels)).matches(&labels));
        assert!(!of_map(Some(&labels)).matches(&json!({"a": "2"})));
        assert!(of_map(Some(&BTreeMap::new())).matches(&json!({})));
        assert_eq!(of_map(None), Selector::Nothing);
    }
}
