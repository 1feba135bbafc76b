//! Label selectors, read once and asked often.
//!
//! Invariant: no selector selects nothing, an empty one everything. Follows k8s.io/apimachinery/pkg/apis/meta/v1/helpers.go.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::error::Error;
use skiff_api::machinery::quote::GoQuoted;

#[derive(Clone, Debug, PartialEq)]
enum Requirement {
    In(String, BTreeSet<String>),
    NotIn(String, BTreeSet<String>),
    Exists(String),
    DoesNotExist(String),
}

impl Requirement {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::In(key, values) => labels.get(key).is_some_and(|v| values.contains(v)),
            Self::NotIn(key, values) => labels.get(key).is_none_or(|v| !values.contains(v)),
            Self::Exists(key) => labels.contains_key(key),
            Self::DoesNotExist(key) => !labels.contains_key(key),
        }
    }
}

/// A selector over labels; `None` inside means that nothing is selected.
#[derive(Clone, Debug, PartialEq)]
pub struct Selector(Option<Vec<Requirement>>);

impl Selector {
    /// Reads the API's form.
    pub fn of(selector: Option<&LabelSelector>) -> Result<Self, Error> {
        let Some(selector) = selector else {
            return Ok(Self(None));
        };
        let mut all: Vec<_> = selector
            .match_labels
            .iter()
            .flatten()
            .map(|(k, v)| Requirement::In(k.clone(), BTreeSet::from([v.clone()])))
            .collect();
        for expression in selector.match_expressions.iter().flatten() {
            let key = expression.key.clone();
            let values: BTreeSet<String> = expression.values.iter().flatten().cloned().collect();
            all.push(match expression.operator.as_str() {
                "In" => Requirement::In(key, values),
                "NotIn" => Requirement::NotIn(key, values),
                "Exists" => Requirement::Exists(key),
                "DoesNotExist" => Requirement::DoesNotExist(key),
                other => {
                    return Err(failed!(
                        "{other} is not a valid label selector operator",
                        other = GoQuoted(&other)
                    ));
                }
            });
        }
        Ok(Self(Some(all)))
    }

    /// A selector of plain equalities, as services and replication controllers have; `None` selects nothing.
    pub fn of_map(labels: Option<&BTreeMap<String, String>>) -> Self {
        Self(labels.map(|map| {
            map.iter()
                .map(|(k, v)| Requirement::In(k.clone(), BTreeSet::from([v.clone()])))
                .collect()
        }))
    }

    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.0
            .as_ref()
            .is_some_and(|all| all.iter().all(|r| r.matches(labels.unwrap_or(&NONE))))
    }

    /// Whether it selects everything.
    pub fn is_everything(&self) -> bool {
        self.0.as_ref().is_some_and(Vec::is_empty)
    }
}

/// A pointer to a selector as Go prints it, for a message that holds it.
pub fn go_text(selector: Option<&LabelSelector>) -> String {
    let Some(selector) = selector else {
        return "nil".into();
    };
    let labels = selector
        .match_labels
        .iter()
        .flatten()
        .map(|(k, v)| format!("{k}: {v},"));
    let expressions = selector.match_expressions.iter().flatten().map(|e| {
        let (key, operator, values) = (&e.key, &e.operator, e.values.as_deref().unwrap_or(&[]));
        let values = values.join(" ");
        format!("LabelSelectorRequirement{{Key:{key},Operator:{operator},Values:[{values}],}},")
    });
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{}}},MatchExpressions:[]LabelSelectorRequirement{{{}}},}}",
        labels.collect::<String>(),
        expressions.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement;

    #[test]
    fn selection() {
        let labels = |text: &str| -> BTreeMap<String, String> {
            text.split(',')
                .filter_map(|p| p.split_once('='))
                .map(|(k, v)| (k.into(), v.into()))
                .collect()
        };
        let expression = |key: &str, operator: &str, values: &[&str]| LabelSelector {
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: key.into(),
                operator: operator.into(),
                values: Some(values.iter().map(ToString::to_string).collect()),
            }]),
            match_labels: None,
        };
        #[rustfmt::skip]
        let cases = [
            (None, "a=1", false),
            (Some(LabelSelector::default()), "", true),
            (Some(LabelSelector { match_labels: Some(labels("a=1")),..Default::default() }), "a=1,b=2", true),
            (Some(LabelSelector { match_labels: Some(labels("a=1,b=3")),..Default::default() }), "a=1,b=2", false),
            (Some(expression("a", "In", &["1", "2"])), "a=2", true),
            (Some(expression("a", "NotIn", &["1"])), "", true),
            (Some(expression("a", "NotIn", &["1"])), "a=1", false),
            (Some(expression("a", "Exists", &[])), "b=1", false),
            (Some(expression("a", "DoesNotExist", &[])), "b=1", true),
        ];
        for (selector, text, expected) in cases {
            assert_eq!(
                Selector::of(selector.as_ref())
                    .unwrap()
                    .matches(Some(&labels(text))),
                expected,
                "{selector:?} on {text}"
            );
        }
        assert!(Selector::of(Some(&expression("a", "Near", &[]))).is_err());
    }
}
