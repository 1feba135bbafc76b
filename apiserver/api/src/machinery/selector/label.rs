//! Label selectors: requirements on keys, all of which must hold.
//!
//! Invariant: requirements are sorted by key (stably), and each was checked when it was made.
//! Follows upstream's `labels/selector.go`.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

use super::{Labels, SelectorError, parse, quoted};
use crate::machinery::{
    aggregate::aggregate,
    names::{is_label_value, is_qualified_name},
    read::Read,
};

/// How a requirement relates its key to its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    In,
    NotIn,
    Equals,
    DoubleEquals,
    NotEquals,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

impl Operator {
    /// The operator of a `matchExpressions` term, by its word in the API (`Gt` and `Lt` are for node selectors only).
    pub fn from_api(word: &str) -> Option<Operator> {
        Some(match word {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            "Gt" => Operator::GreaterThan,
            "Lt" => Operator::LessThan,
            _ => return None,
        })
    }

    /// Its name within upstream, as error texts bear it.
    pub fn name(self) -> &'static str {
        match self {
            Operator::In => "in",
            Operator::NotIn => "notin",
            Operator::Equals => "=",
            Operator::DoubleEquals => "==",
            Operator::NotEquals => "!=",
            Operator::Exists => "exists",
            Operator::DoesNotExist => "!",
            Operator::GreaterThan => "gt",
            Operator::LessThan => "lt",
        }
    }
}

/// One requirement on one key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Requirement {
    key: Box<str>,
    operator: Operator,
    values: Vec<Box<str>>,
}

impl Requirement {
    /// Checks the key, the number of values for the operator, and the values.
    pub fn new(
        key: &str,
        operator: Operator,
        values: Vec<Box<str>>,
    ) -> Result<Requirement, SelectorError> {
        Requirement::checked(key, operator, values)
            .map_err(|faults| SelectorError::Invalid(aggregate(faults).unwrap_or_default()))
    }

    /// The same, with each fault by itself: `values[0]: Invalid value: …`.
    pub fn checked(
        key: &str,
        operator: Operator,
        values: Vec<Box<str>>,
    ) -> Result<Requirement, Vec<String>> {
        let requirement = Requirement {
            key: key.into(),
            operator,
            values,
        };
        let faults = requirement.faults();
        if faults.is_empty() {
            Ok(requirement)
        } else {
            Err(faults)
        }
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let key = is_qualified_name(&self.key);
        if !key.is_empty() {
            faults.push(format!(
                "key: Invalid value: {}: {}",
                quoted(&self.key),
                key.join("; ")
            ));
        }
        let count = |ok: bool, text: &str| {
            (!ok).then(|| format!("values: Invalid value: {}: {text}", json!(self.values)))
        };
        faults.extend(match self.operator {
            Operator::In | Operator::NotIn => count(
                !self.values.is_empty(),
                "for 'in', 'notin' operators, values set can't be empty",
            ),
            Operator::Equals | Operator::DoubleEquals | Operator::NotEquals => count(
                self.values.len() == 1,
                "exact-match compatibility requires one single value",
            ),
            Operator::Exists | Operator::DoesNotExist => count(
                self.values.is_empty(),
                "values set must be empty for exists and does not exist",
            ),
            Operator::GreaterThan | Operator::LessThan => count(
                self.values.len() == 1,
                "for 'Gt', 'Lt' operators, exactly one value is required",
            ),
        });
        if matches!(self.operator, Operator::GreaterThan | Operator::LessThan) {
            for (i, v) in self
                .values
                .iter()
                .enumerate()
                .filter(|(_, v)| v.parse::<i64>().is_err())
            {
                faults.push(format!("values[{i}]: Invalid value: {}: for 'Gt', 'Lt' operators, the value must be an integer", quoted(v)));
            }
        }
        for (i, v) in self.values.iter().enumerate() {
            let messages = is_label_value(v);
            if !messages.is_empty() {
                faults.push(format!(
                    "values[{i}][{}]: Invalid value: {}: {}",
                    self.key,
                    quoted(v),
                    messages.join("; ")
                ));
            }
        }
        faults
    }

    /// The key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The operator.
    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// The values, in the order given.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(|v| &**v)
    }

    fn has(&self, value: &str) -> bool {
        self.values.iter().any(|v| &**v == value)
    }

    /// Whether the labels satisfy it.
    pub fn matches<L: Labels + ?Sized>(&self, labels: &L) -> bool {
        let found = labels.label(&self.key);
        match self.operator {
            Operator::In | Operator::Equals | Operator::DoubleEquals => {
                found.is_some_and(|v| self.has(v))
            }
            Operator::NotIn | Operator::NotEquals => !found.is_some_and(|v| self.has(v)),
            Operator::Exists => found.is_some(),
            Operator::DoesNotExist => found.is_none(),
            Operator::GreaterThan | Operator::LessThan => {
                let bound = self.values.first().and_then(|v| v.parse::<i64>().ok());
                match (found.and_then(|v| v.parse::<i64>().ok()), bound) {
                    (Some(value), Some(bound)) => {
                        if self.operator == Operator::GreaterThan {
                            value > bound
                        } else {
                            value < bound
                        }
                    }
                    _ => false,
                }
            }
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut values: Vec<&str> = self.values().collect();
        values.sort_unstable();
        let values = values.join(",");
        let key = &self.key;
        match self.operator {
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::Exists => write!(f, "{key}"),
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::DoubleEquals => write!(f, "{key}=={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

/// A label selector.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Selector {
    /// Matches no object (an absent `LabelSelector`).
    Nothing,
    /// Matches what satisfies all requirements; without any, everything.
    All(Vec<Requirement>),
}

impl Default for Selector {
    fn default() -> Selector {
        Selector::everything()
    }
}

impl Selector {
    /// Matches everything.
    pub fn everything() -> Selector {
        Selector::All(Vec::new())
    }

    /// All of these requirements.
    pub fn all(mut requirements: Vec<Requirement>) -> Selector {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Selector::All(requirements)
    }

    /// What bears all of these labels (`spec.selector` of a Service). They are not checked.
    pub fn from_set<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Selector {
        Selector::all(
            labels
                .into_iter()
                .map(|(k, v)| Requirement {
                    key: k.into(),
                    operator: Operator::Equals,
                    values: vec![v.into()],
                })
                .collect(),
        )
    }

    /// A `metav1.LabelSelector` as JSON. Absent selects nothing, empty everything.
    pub fn from_label_selector(selector: Option<&Value>) -> Result<Selector, SelectorError> {
        let Some(selector) = selector.filter(|s| !s.is_null()) else {
            return Ok(Selector::Nothing);
        };
        let labels = selector.entries("matchLabels");
        let terms = selector.list("matchExpressions").iter();
        Selector::of_parts(
            labels.map(|(key, value)| (key, value.as_str().unwrap_or_default())),
            terms.map(|term| {
                (
                    term.text("key"),
                    term.text("operator"),
                    term.texts("values"),
                )
            }),
        )
    }

    /// The parts of a `metav1.LabelSelector`: its `matchLabels`, and key, operator and values of each of its `matchExpressions`.
    pub fn of_parts<'v, V: IntoIterator<Item = &'v str>>(
        labels: impl IntoIterator<Item = (&'v str, &'v str)>,
        expressions: impl IntoIterator<Item = (&'v str, &'v str, V)>,
    ) -> Result<Selector, SelectorError> {
        let mut requirements = Vec::new();
        for (key, value) in labels {
            requirements.push(Requirement::new(key, Operator::Equals, vec![value.into()])?);
        }
        for (key, word, values) in expressions {
            let operator = Operator::from_api(word)
                .filter(|o| !matches!(o, Operator::GreaterThan | Operator::LessThan))
                .ok_or_else(|| {
                    SelectorError::Invalid(format!(
                        "{} is not a valid label selector operator",
                        quoted(word)
                    ))
                })?;
            let values = values.into_iter().map(Into::into).collect();
            requirements.push(Requirement::new(key, operator, values)?);
        }
        Ok(Selector::all(requirements))
    }

    /// The selector as `metav1.LabelSelector`, which is what commands make of a `--selector`.
    pub fn to_label_selector(&self) -> Result<Value, SelectorError> {
        let (mut labels, mut expressions) = (serde_json::Map::new(), Vec::new());
        for r in self.requirements() {
            let operator = match r.operator {
                Operator::Equals | Operator::DoubleEquals => {
                    labels.insert(r.key.to_string(), json!(r.values.first()));
                    continue;
                }
                Operator::In => "In",
                Operator::NotIn => "NotIn",
                Operator::Exists => "Exists",
                Operator::DoesNotExist => "DoesNotExist",
                Operator::GreaterThan | Operator::LessThan => {
                    return Err(SelectorError::Invalid(format!(
                        "{} isn't supported in label selectors",
                        quoted(r.operator.name())
                    )));
                }
                Operator::NotEquals => {
                    return Err(SelectorError::Invalid(
                        "\"!=\" is not a valid label selector operator".into(),
                    ));
                }
            };
            let mut expression = json!({"key": r.key, "operator": operator});
            if !r.values.is_empty() {
                expression["values"] = json!(r.values);
            }
            expressions.push(expression);
        }
        let mut selector = serde_json::Map::new();
        if !labels.is_empty() {
            selector.insert("matchLabels".into(), labels.into());
        }
        if !expressions.is_empty() {
            selector.insert("matchExpressions".into(), expressions.into());
        }
        Ok(selector.into())
    }

    /// Whether the labels satisfy it.
    pub fn matches<L: Labels + ?Sized>(&self, labels: &L) -> bool {
        match self {
            Selector::Nothing => false,
            Selector::All(requirements) => requirements.iter().all(|r| r.matches(labels)),
        }
    }

    /// Whether it leaves everything in.
    pub fn is_everything(&self) -> bool {
        matches!(self, Selector::All(r) if r.is_empty())
    }

    /// The requirements, sorted by key.
    pub fn requirements(&self) -> &[Requirement] {
        match self {
            Selector::Nothing => &[],
            Selector::All(requirements) => requirements,
        }
    }

    /// The one value that a label must have, when the selector demands exactly one.
    pub fn requires_exact_match(&self, label: &str) -> Option<&str> {
        let r = self.requirements().iter().find(|r| &*r.key == label)?;
        matches!(
            r.operator,
            Operator::Equals | Operator::DoubleEquals | Operator::In
        )
        .then_some(&r.values)
        .filter(|v| v.len() == 1)
        .map(|v| &*v[0])
    }
}

impl fmt::Display for Selector {
    /// The canonical form: `a=b,c in (d,e)`; empty for everything and for nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, r) in self.requirements().iter().enumerate() {
            write!(f, "{}{r}", if i > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    /// Reads the form of `?labelSelector=`.
    fn from_str(text: &str) -> Result<Selector, SelectorError> {
        parse::selector(text).map(Selector::all)
    }
}

/// The parts of a `metav1.LabelSelector`, as [`Selector::of_parts`] takes them, as Go prints a pointer to one.
pub fn go_text<'v, V: IntoIterator<Item = &'v str>>(
    labels: impl IntoIterator<Item = (&'v str, &'v str)>,
    expressions: impl IntoIterator<Item = (&'v str, &'v str, V)>,
) -> String {
    let labels = labels.into_iter();
    let labels: String = labels
        .map(|(key, value)| format!("{key}: {value},"))
        .collect();
    let expressions: String = expressions
        .into_iter()
        .map(|(key, operator, values)| {
            let values = values.into_iter().collect::<Vec<_>>().join(" ");
            format!("LabelSelectorRequirement{{Key:{key},Operator:{operator},Values:[{values}],}},")
        })
        .collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn canonical() {
        for (given, wanted) in [
            ("", ""),
            (" ", ""),
            ("a", "a"),
            ("!a", "!a"),
            ("a=b", "a=b"),
            ("a==b", "a==b"),
            ("a = b", "a=b"),
            ("a!=b", "a!=b"),
            ("a=", "a="),
            ("a,b", "a,b"),
            ("b,a", "a,b"),
            ("a in (c,b)", "a in (b,c)"),
            ("a in ()", "a in ()"),
            ("a in (b,)", "a in (,b)"),
            ("a in (,b)", "a in (,b)"),
            ("a in (,)", "a in ()"),
            ("a notin(b)", "a notin (b)"),
            ("a>1", "a>1"),
            ("a<1", "a<1"),
            ("a=in", "a=in"),
            ("in in (in,notin)", "in in (in,notin)"),
            ("x.io/y=z", "x.io/y=z"),
            ("a=,b", "a=,b"),
            ("a in (b,b)", "a in (b)"),
            ("in", "in"),
            ("!in", "!in"),
            ("a\t=\nb", "a=b"),
        ] {
            let parsed: Selector = given.parse().unwrap_or_else(|e| panic!("{given}: {e}"));
            assert_eq!(parsed.to_string(), wanted, "{given}");
            assert_eq!(wanted.parse::<Selector>().unwrap(), parsed, "{given}");
        }
    }

    #[test]
    fn errors() {
        for (given, wanted) in [
            (
                "a b",
                "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
            ),
            (
                "a gt 3",
                "unable to parse requirement: found 'gt', expected: in, notin, =, ==, !=, gt, lt",
            ),
            (
                "=a",
                "found '=', expected: !, identifier, or 'end of string'",
            ),
            (
                ",",
                "found ',', expected: !, identifier, or 'end of string'",
            ),
            ("a=b,,c", "found ',', expected: identifier after ','"),
            ("a=b,", "found '', expected: identifier after ','"),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
            ("!a=b", "found '=', expected: ',' or 'end of string'"),
            (
                "a in b",
                "unable to parse requirement: found 'b' expected: '('",
            ),
            (
                "a notin",
                "unable to parse requirement: found '' expected: '('",
            ),
            (
                "a in (b",
                "unable to parse requirement: found '', expected: ',' or ')'",
            ),
            (
                "a in (=)",
                "unable to parse requirement: found '=', expected: ',', ')' or identifier",
            ),
            (
                "a in (b c)",
                "unable to parse requirement: found 'c', expected: ',' or ')'",
            ),
            (
                "a in (b,=)",
                "unable to parse requirement: found '=', expected: ',', or identifier",
            ),
            (
                "a==!",
                "unable to parse requirement: found '!', expected: identifier",
            ),
            (
                "!",
                "unable to parse requirement: found '', expected: identifier",
            ),
            (
                "n>x",
                "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
            ),
            (
                "a=-b-",
                "unable to parse requirement: values[0][a]: Invalid value: \"-b-\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
            ),
            (
                "a;b=1",
                "unable to parse requirement: <nil>: Invalid value: \"a;b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            ),
        ] {
            assert_eq!(
                given.parse::<Selector>().unwrap_err().to_string(),
                wanted,
                "{given}"
            );
        }
    }

    #[test]
    fn matching() {
        let labels: std::collections::BTreeMap<String, String> =
            [("app", "a"), ("n", "5"), ("odd", "")]
                .map(|(k, v)| (k.into(), v.into()))
                .into();
        let value = json!({"app": "a", "n": "5", "odd": ""});
        for (selector, wanted) in [
            ("", true),
            ("app=a", true),
            ("app==b", false),
            ("app!=b", true),
            ("x!=b", true),
            ("app in (a,b)", true),
            ("app notin (a)", false),
            ("x notin (a)", true),
            ("odd", true),
            ("!odd", false),
            ("!x", true),
            ("n>4", true),
            ("n>5", false),
            ("n<6", true),
            ("app>1", false),
            ("x>1", false),
            ("odd=", true),
            ("app=a,app=b", false),
        ] {
            let parsed: Selector = selector.parse().unwrap();
            assert_eq!(parsed.matches(&labels), wanted, "{selector}");
            assert_eq!(parsed.matches(&value), wanted, "{selector}");
        }
        assert!(!Selector::Nothing.matches(&value));
        assert!("!x".parse::<Selector>().unwrap().matches(&None::<&Value>));
    }

    #[test]
    fn label_selectors() {
        let s = |v: Value| Selector::from_label_selector(Some(&v));
        assert_eq!(
            Selector::from_label_selector(None).unwrap(),
            Selector::Nothing
        );
        assert!(s(json!({})).unwrap().is_everything());
        assert_eq!(
            s(json!({"matchLabels": {"b": "c"}, "matchExpressions": [{"key": "a", "operator": "In", "values": ["y", "x"]}, {"key": "z", "operator": "DoesNotExist"}]})).unwrap().to_string(),
            "a in (x,y),b=c,!z"
        );
        assert_eq!(
            s(json!({"matchExpressions": [{"key": "a", "operator": "Gt"}]}))
                .unwrap_err()
                .to_string(),
            "\"Gt\" is not a valid label selector operator"
        );
        assert_eq!(
            s(json!({"matchExpressions": [{"key": "a", "operator": "In", "values": []}]}))
                .unwrap_err()
                .to_string(),
            "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty"
        );
        let parsed: Selector = "a=b,c in (d),!e".parse().unwrap();
        assert_eq!(
            parsed.to_label_selector().unwrap(),
            json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "In", "values": ["d"]}, {"key": "e", "operator": "DoesNotExist"}]})
        );
        assert_eq!(parsed.requires_exact_match("a"), Some("b"));
        assert_eq!(parsed.requires_exact_match("e"), None);
        assert_eq!(
            "a>1"
                .parse::<Selector>()
                .unwrap()
                .to_label_selector()
                .unwrap_err()
                .to_string(),
            "\"gt\" isn't supported in label selectors"
        );
    }
}
