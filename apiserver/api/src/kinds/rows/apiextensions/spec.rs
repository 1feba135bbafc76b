//! A definition as a whole: its spec, its status, and what an update may not change.
//!
//! Follows `pkg/apis/apiextensions/validation/validation.go` of apiextensions-apiserver.

use super::{
    approval, columns, conversion,
    hub::{Described, Spec, Version},
    names as kind_names,
    options::{self, Options},
    schema, selectable,
};
use crate::kinds::prelude::*;
use crate::machinery::quote::is_printable;

/// A new one.
pub fn validate(definition: &Value) -> Errors {
    let mut errors = Errors::default();
    validate_spec(&Spec::of(definition), Options::of_new(), &mut errors);
    validate_status(definition, &mut errors);
    stored_versions(definition, &mut errors);
    approval::validate(definition, None, &mut errors);
    preserved(definition, &mut errors);
    errors
}

/// One that replaces another.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    let (spec, before) = (Spec::of(new), Spec::of(old));
    let options = Options::of_update(&spec, &before, old);
    let fixed = options.fixed_names;
    validate_spec(&spec, options, &mut errors);
    immutable(spec.value, before.value, fixed, &mut errors);
    validate_status(new, &mut errors);
    stored_versions(new, &mut errors);
    approval::validate(new, Some(old), &mut errors);
    if !before.preserves() {
        preserved(new, &mut errors);
    }
    errors
}

/// What the status may say, whoever writes it.
pub fn validate_status(definition: &Value, errors: &mut Errors) {
    let path = Path::new("status");
    let accepted = definition.at("status").at("acceptedNames");
    kind_names::validate(accepted, &path.child("acceptedNames"), errors);
}

fn immutable(spec: &Value, old: &Value, fixed: bool, errors: &mut Errors) {
    let path = Path::new("spec");
    let at = path.child("names");
    let (given, before) = (spec.at("names"), old.at("names"));
    for (new, old, path) in [
        (spec.text("scope"), old.text("scope"), path.child("scope")),
        (given.text("kind"), before.text("kind"), at.child("kind")),
    ] {
        if fixed && new != old {
            errors.invalid(&path, new, checks::IMMUTABLE);
        }
    }
    for (new, old, path) in [
        (spec.text("group"), old.text("group"), path.child("group")),
        (
            given.text("plural"),
            before.text("plural"),
            at.child("plural"),
        ),
    ] {
        if new != old {
            errors.invalid(&path, new, checks::IMMUTABLE);
        }
    }
}

/// A definition of this version says field by field what it preserves.
fn preserved(definition: &Value, errors: &mut Errors) {
    if definition.at("spec").flag("preserveUnknownFields") {
        errors.invalid(&Path::new("spec").child("preserveUnknownFields"), true, "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead");
    }
}

/// All versions in which objects are stored must remain.
fn stored_versions(definition: &Value, errors: &mut Errors) {
    let (path, status) = (Path::new("status"), definition.at("status"));
    let path = path.child("storedVersions");
    let stored: Vec<&str> = status.texts("storedVersions").collect();
    if stored.is_empty() {
        let shown = status.some("storedVersions");
        return checks::invalid_or_null(
            shown,
            "must have at least one stored version",
            &path,
            errors,
        );
    }
    let versions = definition.at("spec").list("versions");
    for (at, version) in versions.iter().enumerate() {
        let name = version.text("name");
        // each stored version stands for one version of its name, the first
        let is_taken = versions[..at].iter().any(|one| one.text("name") == name);
        if version.flag("storage") && (is_taken || !stored.contains(&name)) {
            let said = format!("must have the storage version {name}");
            errors.invalid(&path, stored.clone(), said);
        }
    }
    for (index, name) in stored.iter().enumerate() {
        let is_there = versions.iter().any(|version| version.text("name") == *name);
        // of what is there twice the last is told of
        if !is_there && !stored[index + 1..].contains(name) {
            errors.invalid(&path.index(index), *name, format!("missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"));
        }
    }
}

fn validate_spec(spec: &Spec, mut options: Options, errors: &mut Errors) {
    let path = Path::new("spec");
    let value = spec.value;
    group(value.text("group"), &path.child("group"), errors);
    checks::required_one_of(
        value.text("scope"),
        &["Cluster", "Namespaced"],
        &path.child("scope"),
        errors,
    );
    options.structural |= !spec.preserves();
    missing_schemas(spec, &options, &path, errors);
    if spec.schemas().any(options::has_defaults) {
        options.structural = true;
        if spec.preserves() {
            errors.invalid(
                &path.child("preserveUnknownFields"),
                true,
                "must be false in order to use defaults in the schema",
            );
        }
    }
    options.structural |= spec.schemas().any(options::has_extensions);
    versions(spec, &options, &path, errors);
    let names = path.child("names");
    kind_names::required(value.at("names"), &names, errors);
    kind_names::validate(value.at("names"), &names, errors);
    shared(spec, &options, &path, errors);
    if let Some(given) = value.some("conversion") {
        let at = path.child("conversion");
        let strategy = given.text("strategy");
        if strategy != "None" && spec.preserves() {
            errors.invalid(
                &at.child("strategy"),
                strategy,
                "must be None if spec.preserveUnknownFields is true",
            );
        }
        let options = conversion::Options {
            known_review: options.known_review,
            any_bundle: options.any_bundle,
        };
        conversion::validate(given, &options, &at, errors);
    }
}

fn group(group: &str, path: &Path, errors: &mut Errors) {
    if group.is_empty() {
        return errors.required(path, "");
    }
    let wrong = names::is_dns1123_subdomain(group);
    if !wrong.is_empty() {
        errors.invalid(path, group, wrong.join(","));
    } else if !group.contains('.') {
        errors.invalid(path, group, "should be a domain with at least one dot");
    }
}

/// Versions that say nothing of their objects.
fn missing_schemas(spec: &Spec, options: &Options, path: &Path, errors: &mut Errors) {
    if spec.shared.open_api().is_some() || (!options.schemas && spec.preserves()) {
        return;
    }
    for (index, version) in spec.versions.iter().enumerate() {
        let because = match options.schemas {
            true => "",
            false if version.value.flag("served") => "because otherwise all fields are pruned",
            false => continue,
        };
        if version.own.open_api().is_none() {
            let at = path.child("versions");
            let at = at.index(index);
            errors.required(&at.child("schema").child("openAPIV3Schema"), because);
        }
    }
}

fn versions(spec: &Spec, options: &Options, path: &Path, errors: &mut Errors) {
    let at = path.child("versions");
    let name_of = |version: &Version| version.value.text("name").to_string();
    for (index, version) in spec.versions.iter().enumerate() {
        let name = version.value.text("name");
        let at = at.index(index);
        kind_names::label(name, "", name, &at.child("name"), errors);
        deprecation(version.value, &at.child("deprecationWarning"), errors);
        let of_version = Whose {
            version: name,
            has_status: has_status(spec.subresources_of(version)),
            schema: "schema",
            without_schema: "may only be set when `version.schema.openAPIV3Schema` is not included",
            many_selectable: options.many_selectable.contains(name),
        };
        described(&version.own, &of_version, options, &at, errors);
    }
    let stored = spec
        .versions
        .iter()
        .filter(|version| version.value.flag("storage"));
    let stored = stored.count();
    let names: Vec<String> = spec.versions.iter().map(name_of).collect();
    let twice = (1..names.len()).any(|at| names[..at].contains(&names[at]));
    for (wrong, said) in [
        (twice, "must contain unique version names"),
        (
            stored != 1,
            "must have exactly one version marked as storage version",
        ),
    ] {
        if wrong {
            checks::invalid_shown(&spec.shown_versions(), said, &at, errors);
        }
    }
    let first = spec.version();
    if !first.is_empty() {
        kind_names::label(first, "", first, &path.child("version"), errors);
    }
}

fn has_status(subresources: Option<&Value>) -> bool {
    subresources.is_some_and(|given| given.some("status").is_some())
}

/// Whose description is judged: that of a version, or what stands above the versions.
struct Whose<'w> {
    version: &'w str,
    /// The status is written apart.
    has_status: bool,
    /// The field that the schema stands in.
    schema: &'static str,
    /// What is said of selectable fields where there is no schema.
    without_schema: &'static str,
    many_selectable: bool,
}

fn described(
    given: &Described,
    whose: &Whose,
    options: &Options,
    path: &Path,
    errors: &mut Errors,
) {
    schema::validate(
        given.schema,
        whose.has_status,
        &options.for_version(whose.version),
        &path.child(whose.schema),
        errors,
    );
    columns::subresources(given.subresources, &path.child("subresources"), errors);
    columns::validate(
        given.columns,
        &path.child("additionalPrinterColumns"),
        errors,
    );
    selectable::with_schema(
        given.selectable,
        given.open_api(),
        whose.without_schema,
        whose.many_selectable,
        path,
        errors,
    );
}

/// What stands above the versions.
fn shared(spec: &Spec, options: &Options, path: &Path, errors: &mut Errors) {
    let of_versions = spec.versions.iter().map(|version| &version.own);
    let mut all = std::iter::once(&spec.shared).chain(of_versions);
    let of_all = Whose {
        version: spec.version(),
        has_status: all.any(|given| has_status(given.subresources)),
        schema: "validation",
        without_schema: "may only be set when validations.schema is included",
        many_selectable: options.many_selectable.contains(""),
    };
    described(&spec.shared, &of_all, options, path, errors);
}

/// What is told to who uses a deprecated version.
fn deprecation(version: &Value, path: &Path, errors: &mut Errors) {
    let Some(warning) = version.text_ptr("deprecationWarning") else {
        return;
    };
    if !version.flag("deprecated") {
        return errors.invalid(path, warning, "can only be set for deprecated versions");
    }
    if warning.len() > 256 {
        errors.invalid(path, warning, "must be <= 256 characters long");
    }
    if warning.is_empty() {
        errors.invalid(path, warning, "must not be an empty string");
    }
    if let Some((at, _)) = warning.char_indices().find(|(_, c)| !is_printable(*c)) {
        errors.invalid(path, warning, format!("must only contain printable UTF-8 characters; non-printable character found at index {at}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition() -> Value {
        json!({
            "metadata": {"name": "bees.a.io"},
            "spec": {
                "group": "a.io", "scope": "Cluster", "conversion": {"strategy": "None"},
                "names": {"plural": "bees", "singular": "bee", "kind": "Bee", "listKind": "BeeList"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}],
            },
            "status": {"storedVersions": ["v1"]},
        })
    }

    fn changed(changes: &[(&str, Value)]) -> Value {
        let mut definition = definition();
        for (at, value) in changes {
            if let Some(place) = definition.pointer_mut(at) {
                *place = value.clone();
            } else if let Some((parent, name)) = at.rsplit_once('/') {
                definition.pointer_mut(parent).unwrap()[name] = value.clone();
            }
        }
        definition
    }

    const SHOWN: &str = r#"{"Name":"v1","Served":true,"Storage":false,"Deprecated":false,"DeprecationWarning":null,"Schema":null,"Subresources":null,"AdditionalPrinterColumns":null,"SelectableFields":null}"#;
    const MUST_STAY: &str = "missing from spec.versions; v0 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v0 and removes v0 from status.storedVersions";

    #[test]
    fn a_stored_version_stands_for_one_version_of_its_name() {
        let version = json!({"name": "v1", "storage": true});
        let said = |versions: Value| {
            let definition =
                json!({"spec": {"versions": versions}, "status": {"storedVersions": ["v1"]}});
            Errors::of(|errors| stored_versions(&definition, errors)).message()
        };
        assert_eq!(said(json!([version])), "[]");
        assert_eq!(
            said(json!([version, version])),
            "status.storedVersions: Invalid value: [\"v1\"]: must have the storage version v1"
        );
    }

    #[test]
    fn what_a_definition_may_say() {
        for (at, value, said) in [
            ("/spec/group", json!("a.io"), "[]".to_string()),
            ("/spec/group", json!(""), "spec.group: Required value".into()),
            ("/spec/group", json!("a"), "spec.group: Invalid value: \"a\": should be a domain with at least one dot".into()),
            ("/spec/scope", json!("x"), "spec.scope: Unsupported value: \"x\": supported values: \"Cluster\", \"Namespaced\"".into()),
            ("/spec/versions/0/schema", json!(null), "spec.versions[0].schema.openAPIV3Schema: Required value".into()),
            (
                "/spec/versions/0/storage",
                json!(false),
                format!("spec.versions: Invalid value: [{SHOWN}]: must have exactly one version marked as storage version"),
            ),
            ("/status/storedVersions", json!([]), "status.storedVersions: Invalid value: []: must have at least one stored version".into()),
            (
                "/status/storedVersions",
                json!(["v0"]),
                format!("[status.storedVersions: Invalid value: [\"v0\"]: must have the storage version v1, status.storedVersions[0]: Invalid value: \"v0\": {MUST_STAY}]"),
            ),
            ("/spec/versions/0/deprecationWarning", json!("x"), "spec.versions[0].deprecationWarning: Invalid value: \"x\": can only be set for deprecated versions".into()),
            (
                "/spec/versions/0/schema/openAPIV3Schema/nullable",
                json!(true),
                "spec.validation.openAPIV3Schema.nullable: Forbidden: nullable cannot be true at the root".into(),
            ),
            (
                "/spec/versions/0/subresources",
                json!({"scale": {"statusReplicasPath": ".status.a"}}),
                "spec.subresources.scale.specReplicasPath: Required value".into(),
            ),
            (
                "/spec/versions/0/selectableFields",
                json!([{}]),
                "spec.selectableFields[0].jsonPath: Required value".into(),
            ),
            (
                "/spec/preserveUnknownFields",
                json!(true),
                "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead".into(),
            ),
        ] {
            assert_eq!(validate(&changed(&[(at, value.clone())])).message(), said, "{at} {value}");
        }
    }

    #[test]
    fn versions_of_one_name() {
        let version = definition()["spec"]["versions"][0].clone();
        let twice = changed(&[("/spec/versions", json!([version, version]))]);
        let said = validate(&twice).message();
        assert!(
            said.contains("must contain unique version names")
                && said.contains("must have exactly one version marked"),
            "{said}"
        );
    }

    #[test]
    fn what_is_told_of_deprecated_versions() {
        for (warning, said) in [
            ("use v2, \"é\"\\", "[]"),
            ("", "w: Invalid value: \"\": must not be an empty string"),
            (
                "a\u{a0}b",
                "w: Invalid value: \"a\\u00a0b\": must only contain printable UTF-8 characters; non-printable character found at index 1",
            ),
        ] {
            let version = json!({"deprecated": true, "deprecationWarning": warning});
            let errors = Errors::of(|errors| deprecation(&version, &Path::new("w"), errors));
            assert_eq!(errors.message(), said, "{warning}");
        }
    }

    #[test]
    fn what_may_not_change() {
        let established = (
            "/status/conditions",
            json!([{"type": "Established", "status": "True"}]),
        );
        let old = changed(std::slice::from_ref(&established));
        for (at, value, said) in [
            ("/spec/names/singular", "b", "[]"),
            (
                "/spec/names/kind",
                "B",
                "spec.names.kind: Invalid value: \"B\": field is immutable",
            ),
            (
                "/spec/scope",
                "Namespaced",
                "spec.scope: Invalid value: \"Namespaced\": field is immutable",
            ),
            (
                "/spec/group",
                "b.io",
                "spec.group: Invalid value: \"b.io\": field is immutable",
            ),
            (
                "/spec/names/plural",
                "b",
                "spec.names.plural: Invalid value: \"b\": field is immutable",
            ),
        ] {
            let new = changed(&[established.clone(), (at, value.into())]);
            assert_eq!(validate_update(&new, &old).message(), said, "{at}");
        }
        let renamed = changed(&[("/spec/names/kind", "B".into())]);
        assert!(validate_update(&renamed, &definition()).is_empty());
    }

    #[test]
    fn what_was_stored_once_may_stay() {
        let schemaless = changed(&[
            ("/spec/versions/0/schema", json!(null)),
            ("/spec/preserveUnknownFields", json!(true)),
        ]);
        assert!(validate_update(&schemaless, &schemaless).is_empty());
        let pruning = changed(&[("/spec/versions/0/schema", json!(null))]);
        assert_eq!(
            validate_update(&pruning, &schemaless).message(),
            "spec.versions[0].schema.openAPIV3Schema: Required value: because otherwise all fields are pruned"
        );
    }
}
