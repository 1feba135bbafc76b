//! The schema of a version: whether it is structural, whether its defaults are good, what its keywords say, and what its rules cost.
//!
//! Invariant: rules are compiled only where the schema is structural and nothing is wrong with it at their place or below.
//! Follows `validateCustomResourceDefinitionValidation` of `pkg/apis/apiextensions/validation/validation.go` of apiextensions-apiserver.

use super::{hub, keywords, options::Options, structure};
use crate::kinds::prelude::*;

/// What may stand at the root beside a status of its own: upstream names the fields as Go does.
const AT_ROOT: [(&str, &str); 22] = [
    ("description", "Description"),
    ("type", "Type"),
    ("format", "Format"),
    ("title", "Title"),
    ("maximum", "Maximum"),
    ("exclusiveMaximum", "ExclusiveMaximum"),
    ("minimum", "Minimum"),
    ("exclusiveMinimum", "ExclusiveMinimum"),
    ("maxLength", "MaxLength"),
    ("minLength", "MinLength"),
    ("pattern", "Pattern"),
    ("maxItems", "MaxItems"),
    ("minItems", "MinItems"),
    ("uniqueItems", "UniqueItems"),
    ("multipleOf", "MultipleOf"),
    ("required", "Required"),
    ("items", "Items"),
    ("properties", "Properties"),
    ("externalDocs", "ExternalDocs"),
    ("example", "Example"),
    (
        "x-kubernetes-preserve-unknown-fields",
        "XPreserveUnknownFields",
    ),
    ("x-kubernetes-validations", "XValidations"),
];

/// A `schema`, at `path`; `has_status` tells whether the status is written apart.
pub fn validate(
    validation: Option<&Value>,
    has_status: bool,
    options: &Options,
    path: &Path,
    errors: &mut Errors,
) {
    let Some(schema) = validation.and_then(hub::open_api) else {
        return;
    };
    let at = path.child("openAPIV3Schema");
    let mut found = Errors::default();
    if has_status {
        root(schema, &at, &mut found);
    }
    if schema.flag("nullable") {
        found.forbidden(&at.child("nullable"), "nullable cannot be true at the root");
    }
    let mut unreadable = Errors::default();
    let mut sound = false;
    if options.structural {
        if let Err(problem) = structure::readable(schema) {
            unreadable.invalid(&at, "", problem.to_string());
        } else {
            let mut wrong = structure::check(schema, &at);
            if wrong.is_empty() {
                wrong = super::defaults::check(schema, options.pruned_defaults, &at);
            }
            sound = wrong.is_empty();
            found.extend(wrong);
        }
    }
    keywords::check(schema, sound, options, &at, &mut found);
    // the keywords say it better, if they say it
    if found.is_empty() {
        found.extend(unreadable);
    }
    errors.extend(found);
}

/// What is said at the root would be lost where the status is validated by its own part of the schema.
fn root(schema: &Value, path: &Path, errors: &mut Errors) {
    let is_allowed = |name: &str| AT_ROOT.iter().any(|(known, _)| *known == name);
    let given = |name: &str| schema.some(name).is_some();
    let before_type = ["id", "$schema", "$ref"].into_iter().any(given);
    let kind = schema.text("type");
    if !before_type && !kind.is_empty() && kind != "object" {
        return errors.invalid(&path.child("type"), kind, "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled");
    }
    let names = schema.as_object().into_iter().flatten();
    if names
        .filter(|(_, value)| !value.is_null())
        .any(|(name, _)| !is_allowed(name))
    {
        let known: Vec<&str> = AT_ROOT.iter().map(|(_, go)| *go).collect();
        let said = format!(
            "only [{}] fields are allowed at the root of the schema if the status subresource is enabled",
            known.join(" ")
        );
        let shown = internal::json(schema, "apiextensions.JSONSchemaProps");
        checks::invalid_shown(&shown, &said, path, errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(schema: Value, has_status: bool) -> String {
        let given = json!({"openAPIV3Schema": schema});
        Errors::of(|errors| {
            validate(
                Some(&given),
                has_status,
                &Options::of_new(),
                &Path::new("s"),
                errors,
            )
        })
        .message()
    }

    #[test]
    fn roots() {
        assert_eq!(said(json!({"type": "object"}), true), "[]");
        assert_eq!(
            said(json!({"type": "object", "nullable": true}), false),
            "s.openAPIV3Schema.nullable: Forbidden: nullable cannot be true at the root"
        );
        assert!(
            said(json!({"type": "string"}), true).starts_with("[s.openAPIV3Schema.type: Invalid value: \"string\": only \"object\" is allowed as the type at the root")
        );
        let odd = said(json!({"type": "object", "maxProperties": 1}), true);
        assert!(
            odd.contains(r#""MaxProperties":1,"#) && odd.ends_with("Example XPreserveUnknownFields XValidations] fields are allowed at the root of the schema if the status subresource is enabled"),
            "{odd}"
        );
        assert_eq!(
            said(json!({"type": "object", "maxProperties": 1}), false),
            "[]"
        );
    }

    #[test]
    fn what_keywords_say_better() {
        assert_eq!(
            said(json!({"type": "object", "$ref": "x"}), false),
            "s.openAPIV3Schema.$ref: Forbidden: $ref is not supported"
        );
        assert_eq!(
            said(json!({"type": "object", "$schema": "x"}), false),
            "s.openAPIV3Schema: Invalid value: \"\": OpenAPIV3Schema 'schema' is not supported"
        );
    }
}
