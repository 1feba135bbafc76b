//! `matchConditions` of an authorization webhook: all must hold of a request for the webhook to be asked.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/authorization/cel`.

use std::{collections::HashSet, sync::LazyLock};

use serde_json::{Value as Json, json};
use skiff_api::machinery::{
    aggregate::aggregate,
    cel::{self, Activation, Compiled, Declared, Env, PER_CALL_LIMIT, Type, value::from_json_as},
    field::{Errors, Path},
    read::Read,
};

use super::config::MatchCondition;

const REQUEST: &str = "request";
/// How many conditions there may be.
const MOST: usize = 64;

static REQUESTS: LazyLock<(Env, Declared)> = LazyLock::new(|| {
    let ty = request();
    let env = cel::env().extend().variable(REQUEST, ty.clone()).build();
    (env, Declared::untyped(ty))
});

/// The type of `request`: the spec of a SubjectAccessReview.
fn request() -> Type {
    let list = || Type::list(Type::String);
    let texts = |name, fields: &[&'static str]| {
        Type::object_of(name, fields.iter().map(|field| (*field, Type::String)))
    };
    let selector = |name| {
        let requirement = Type::object_of(
            "kubernetes.SelectorRequirement",
            [
                ("key", Type::String),
                ("operator", Type::String),
                ("values", list()),
            ],
        );
        Type::object_of(
            name,
            [
                ("rawSelector", Type::String),
                ("requirements", Type::list(requirement)),
            ],
        )
    };
    let resource = Type::object_of(
        "kubernetes.ResourceAttributes",
        [
            ("namespace", Type::String),
            ("verb", Type::String),
            ("group", Type::String),
            ("version", Type::String),
            ("resource", Type::String),
            ("subresource", Type::String),
            ("name", Type::String),
            (
                "fieldSelector",
                selector("kubernetes.FieldSelectorAttributes"),
            ),
            (
                "labelSelector",
                selector("kubernetes.LabelSelectorAttributes"),
            ),
        ],
    );
    Type::object_of(
        "kubernetes.SubjectAccessReviewSpec",
        [
            ("resourceAttributes", resource),
            (
                "nonResourceAttributes",
                texts("kubernetes.NonResourceAttributes", &["path", "verb"]),
            ),
            ("user", Type::String),
            ("groups", list()),
            ("extra", Type::map(Type::String, list())),
            ("uid", Type::String),
        ],
    )
}

/// Why it is not known whether conditions hold.
#[derive(thiserror::Error, Debug, PartialEq)]
#[error("{0}")]
pub struct Unevaluated(String);

#[derive(Debug, Default)]
pub struct Conditions(Vec<(String, Compiled)>);

impl Conditions {
    /// Those of a webhook at `path`; what is wrong with them goes to `errors`.
    pub fn compile(conditions: &[MatchCondition], path: &Path, errors: &mut Errors) -> Conditions {
        let path = path.child("matchConditions");
        if conditions.len() > MOST {
            errors.too_many(&path, conditions.len() as i64, MOST as i64);
            return Conditions::default();
        }
        let mut seen = HashSet::new();
        let mut compiled = Vec::with_capacity(conditions.len());
        for (at, condition) in conditions.iter().enumerate() {
            let path = path.index(at);
            let path = path.child("expression");
            let text = condition.expression.as_str();
            if text.trim().is_empty() {
                errors.required(&path, "");
            } else if !seen.insert(text) {
                errors.duplicate(&path, text);
            } else {
                let made = compile(text, &path, errors);
                compiled.extend(made.map(|made| (text.to_string(), made)));
            }
        }
        Conditions(compiled)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all hold of a request, the spec of a SubjectAccessReview. One that does not is reason enough, whatever is wrong with those before it.
    ///
    /// # Errors
    /// None is false, and some have no value.
    pub fn hold(&self, spec: &Json) -> Result<bool, Unevaluated> {
        let data = filled(spec);
        let mut wrong = Vec::new();
        for (text, compiled) in &self.0 {
            let outcome = from_json_as(&data, &REQUESTS.1).and_then(|data| {
                let activation = Activation::new().with(REQUEST, data);
                compiled.evaluate(&activation, PER_CALL_LIMIT).0
            });
            match outcome.map(|value| value.as_bool()) {
                Ok(Some(true)) => {}
                Ok(Some(false)) => return Ok(false),
                Ok(None) => wrong.push(format!(
                    "cel evaluation error: expression '{text}' eval result type should be bool"
                )),
                Err(why) => wrong.push(format!(
                    "cel evaluation error: expression '{text}' resulted in error: {why}"
                )),
            }
        }
        match aggregate(wrong) {
            Some(why) => Err(Unevaluated(why)),
            None => Ok(true),
        }
    }
}

fn compile(text: &str, path: &Path, errors: &mut Errors) -> Option<Compiled> {
    let compiled = match REQUESTS.0.compile(text) {
        Ok(compiled) => compiled,
        Err(issues) => {
            errors.invalid(path, text, format!("compilation failed: {issues}"));
            return None;
        }
    };
    let given = compiled.output_type();
    if *given != Type::Bool {
        let given = given.full_name();
        errors.invalid(path, text, format!("must evaluate to bool but got {given}"));
        return None;
    }
    if let Err(why) = compiled.instantiated() {
        errors.internal(path, format!("program instantiation failed: {why}"));
        return None;
    }
    Some(compiled)
}

/// A spec as expressions see it: texts and lists are there though they are empty.
fn filled(spec: &Json) -> Json {
    let or = |name: &str, empty: Json| spec.some(name).cloned().unwrap_or(empty);
    let mut data = json!({
        "user": spec.text("user"),
        "uid": spec.text("uid"),
        "groups": or("groups", json!([])),
        "extra": or("extra", json!({})),
    });
    let texts = |of: &Json, names: &[&str]| {
        let each = names
            .iter()
            .map(|name| (name.to_string(), of.text(name).into()));
        Json::Object(each.collect())
    };
    if let Some(of) = spec.some("resourceAttributes") {
        let names = [
            "namespace",
            "verb",
            "group",
            "version",
            "resource",
            "subresource",
            "name",
        ];
        let mut shown = texts(of, &names);
        for name in ["fieldSelector", "labelSelector"] {
            if let Some(selector) = of.some(name) {
                shown[name] = selector.clone();
            }
        }
        data["resourceAttributes"] = shown;
    }
    if let Some(of) = spec.some("nonResourceAttributes") {
        data["nonResourceAttributes"] = texts(of, &["path", "verb"]);
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(texts: &[&str]) -> (Conditions, Vec<String>) {
        let conditions: Vec<MatchCondition> = texts
            .iter()
            .map(|text| MatchCondition {
                expression: (*text).into(),
            })
            .collect();
        let mut errors = Errors::default();
        let made = Conditions::compile(&conditions, &Path::WHOLE, &mut errors);
        (made, errors.texts())
    }

    #[test]
    fn what_conditions_must_be() {
        let (_, said) = compiled(&["true", " ", "true", "request.user", "request.nosuch == ''"]);
        let path = |at: usize| format!("matchConditions[{at}].expression");
        assert_eq!(
            said[..3],
            [
                format!("{}: Required value", path(1)),
                format!("{}: Duplicate value: \"true\"", path(2)),
                format!(
                    "{}: Invalid value: \"request.user\": must evaluate to bool but got string",
                    path(3)
                ),
            ]
        );
        assert!(said[3].contains("undefined field 'nosuch'"), "{said:?}");
        let many = vec!["true"; 65];
        assert_eq!(
            compiled(&many).1,
            ["matchConditions: Too many: 65: must have at most 64 items"]
        );
    }

    #[test]
    fn when_conditions_hold() {
        let resource = json!({"user": "a", "groups": ["g"], "resourceAttributes": {"verb": "list", "resource": "pods",
            "labelSelector": {"requirements": [{"key": "x", "operator": "In", "values": ["y"]}]}}});
        let path = json!({"user": "a", "nonResourceAttributes": {"path": "/x", "verb": "get"}});
        let wrong = "cel evaluation error: expression 'request.extra.x[0] == 'y'' resulted in error: no such key: x";
        for (texts, spec, wanted) in [
            (vec![], &path, Ok(true)),
            (vec!["has(request.resourceAttributes)"], &path, Ok(false)),
            (
                vec![
                    "has(request.resourceAttributes)",
                    "request.resourceAttributes.namespace == ''",
                ],
                &resource,
                Ok(true),
            ),
            (vec!["!('g' in request.groups)"], &resource, Ok(false)),
            (
                vec![
                    "request.groups.size() == 0 && request.uid == '' && request.nonResourceAttributes.path == '/x'",
                ],
                &path,
                Ok(true),
            ),
            (
                vec![
                    "request.resourceAttributes.labelSelector.requirements.exists(r, r.key == 'x' && 'y' in r.values)",
                ],
                &resource,
                Ok(true),
            ),
            (
                vec!["has(request.resourceAttributes.fieldSelector)"],
                &resource,
                Ok(false),
            ),
            (vec!["request.extra.x[0] == 'y'"], &path, Err(wrong)),
            (
                vec!["request.extra.x[0] == 'y'", "request.user == 'b'"],
                &path,
                Ok(false),
            ),
        ] {
            let (conditions, said) = compiled(&texts);
            assert!(said.is_empty(), "{said:?}");
            let held = conditions.hold(spec).map_err(|why| why.0);
            assert_eq!(held, wanted.map_err(String::from), "{texts:?}");
        }
    }
}
