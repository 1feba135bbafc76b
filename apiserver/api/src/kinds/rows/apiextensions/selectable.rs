//! Fields of a kind that field selectors may name.
//!
//! Follows `pkg/apis/apiextensions/validation/validation.go` of apiextensions-apiserver.

use super::{field_path, structure};
use crate::kinds::prelude::*;

/// The most fields that a version may have.
pub const MOST: usize = 8;

/// `selectableFields` with the schema that they are in, if it can be read; `too_many` allows more than [`MOST`], as there were before.
pub fn validate(
    fields: &[Value],
    schema: Option<&Value>,
    too_many: bool,
    path: &Path,
    errors: &mut Errors,
) {
    let mut known: Vec<String> = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        let at = path.index(index);
        let at = at.child("jsonPath");
        let given = field.text("jsonPath");
        if given.is_empty() {
            errors.required(&at, "");
            continue;
        }
        if schema.is_none() && given.starts_with(['.', '[']) {
            // nobody knows what it leads to
            continue;
        }
        let found = match field_path::follow(given, schema.unwrap_or(&Value::Null), false) {
            Ok(found) => found,
            Err(problem) => {
                errors.invalid(&at, given, format!("is an invalid path: {problem}"));
                continue;
            }
        };
        if found.root == "metadata" {
            errors.invalid(&at, given, "must not point to fields in metadata");
        }
        let kind = found.schema.map_or("", |schema| schema.text("type"));
        if !matches!(kind, "string" | "boolean" | "integer") {
            errors.invalid(&at, given, "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.");
        }
        if known.contains(&found.path) {
            errors.duplicate(&at, given);
        } else {
            known.push(found.path);
        }
    }
    if known.len() > MOST && !too_many {
        errors.too_many(path, known.len() as i64, MOST as i64);
    }
}

/// The same of fields whose schema may not be there, or not be one that can be read.
pub fn with_schema(
    fields: &[Value],
    schema: Option<&Value>,
    missing: &str,
    too_many: bool,
    path: &Path,
    errors: &mut Errors,
) {
    let at = path.child("selectableFields");
    if fields.is_empty() {
        return;
    }
    let Some(schema) = schema else {
        return errors.invalid(&at, "", missing);
    };
    match structure::readable(schema) {
        Ok(()) => validate(fields, Some(schema), too_many, &at, errors),
        Err(problem) => {
            let path = path.child("schema");
            errors.invalid(&path.child("openAPIV3Schema"), "", problem.to_string());
            validate(fields, None, true, &at, errors);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_looked_at_without_a_schema() {
        let schema = json!({"type": "object", "$ref": "#/x"});
        let fields = [json!({"jsonPath": ""}), json!({"jsonPath": "spec.p"})];
        let path = Path::new("v");
        let errors =
            Errors::of(|errors| with_schema(&fields, Some(&schema), "none", false, &path, errors));
        assert_eq!(
            errors.texts()[1..],
            [
                "v.selectableFields[0].jsonPath: Required value",
                "v.selectableFields[1].jsonPath: Invalid value: \"spec.p\": is an invalid path: expected [ or . but got: spec",
            ]
        );
    }

    #[test]
    fn what_may_be_selected_by() {
        let schema = json!({"type": "object", "properties": {
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": {"type": "object", "properties": {"color": {"type": "string"}, "size": {"type": "number"}}}}});
        let typed = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
        for (paths, said) in [
            (vec![".spec.color"], "[]".to_string()),
            (vec![""], "s[0].jsonPath: Required value".into()),
            (vec![".x"], "s[0].jsonPath: Invalid value: \".x\": is an invalid path: does not refer to a valid field".into()),
            (vec![".metadata.name"], "s[0].jsonPath: Invalid value: \".metadata.name\": must not point to fields in metadata".into()),
            (vec![".spec.size"], format!("s[0].jsonPath: Invalid value: \".spec.size\": {typed}")),
            (vec![".spec.color", ".spec.color"], "s[1].jsonPath: Duplicate value: \".spec.color\"".into()),
        ] {
            let fields: Vec<Value> = paths.iter().map(|path| json!({"jsonPath": path})).collect();
            let errors = Errors::of(|errors| validate(&fields, Some(&schema), false, &Path::new("s"), errors));
            assert_eq!(errors.message(), said, "{paths:?}");
        }
        let names: Vec<String> = (0..9).map(|at| format!("f{at}")).collect();
        let schema = json!({"properties": names.iter().map(|name| (name.clone(), json!({"type": "string"}))).collect::<Map<_, _>>()});
        let fields: Vec<Value> = names
            .iter()
            .map(|name| json!({"jsonPath": format!(".{name}")}))
            .collect();
        let errors = |more| {
            Errors::of(|errors| validate(&fields, Some(&schema), more, &Path::new("s"), errors))
        };
        assert_eq!(
            errors(false).message(),
            "s: Too many: 9: must have at most 8 items"
        );
        assert!(errors(true).is_empty());
    }

    #[test]
    fn a_schema_that_is_not_there() {
        for (schema, said) in [
            (None, "v.selectableFields: Invalid value: \"\": none"),
            (
                Some(json!({"id": "x"})),
                "v.schema.openAPIV3Schema: Invalid value: \"\": OpenAPIV3Schema 'id' is not supported",
            ),
        ] {
            let fields = [json!({"jsonPath": ".a"})];
            let errors = Errors::of(|errors| {
                with_schema(
                    &fields,
                    schema.as_ref(),
                    "none",
                    false,
                    &Path::new("v"),
                    errors,
                )
            });
            assert_eq!(errors.message(), said);
        }
    }
}
