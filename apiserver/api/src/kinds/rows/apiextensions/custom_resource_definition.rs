//! CustomResourceDefinitions: what kinds somebody brings.
//!
//! Invariant: an object that is stored has gone through `spec`; what it says of its versions can be served as it is.
//! Follows `pkg/registry/customresourcedefinition/strategy.go` and `pkg/apis/apiextensions/v1/{defaults,conversion}.go` of
//! apiextensions-apiserver.

use super::{formats, spec};
use crate::kinds::{definition, prelude::*};
use crate::machinery::schema::{Schema, as_stored};

pub const STRATEGY: Strategy = Strategy {
    defaults,
    prepare_for_create,
    prepare_for_update,
    name_problems,
    validate: spec::validate,
    validate_update: spec::validate_update,
    validate_status_update: |new, _| Errors::of(|errors| spec::validate_status(new, errors)),
    warnings,
    terminate: Some(definition::terminate),
    ..Strategy::DEFAULT
};

fn defaults(definition: &mut Value) {
    let spec = fill::spec(definition);
    if let Some(names) = fill::inner(spec, "names") {
        let kind = names.text("kind").to_string();
        if !kind.is_empty() {
            fill::text(names, "singular", &kind.to_lowercase());
            fill::text(names, "listKind", &format!("{kind}List"));
        }
    }
    fill::absent(spec, "conversion", json!({"strategy": "None"}));
    if let Some(conversion) = fill::inner(spec, "conversion") {
        webhook(conversion);
    }
    store(definition);
}

/// A webhook of which nothing is said is none.
fn webhook(conversion: &mut Map<String, Value>) {
    let Some(hook) = fill::inner(conversion, "webhook") else {
        return;
    };
    if hook.some("clientConfig").is_none() && hook.some("conversionReviewVersions").is_none() {
        conversion.remove("webhook");
    } else if let Some(service) =
        fill::inner(hook, "clientConfig").and_then(|config| fill::inner(config, "service"))
    {
        fill::absent(service, "port", 443);
    }
}

/// The storage version stands in a status that names none.
fn store(definition: &mut Value) {
    if !definition.at("status").list("storedVersions").is_empty() {
        return;
    }
    if let Some(name) = storage_version(definition) {
        definition["status"]["storedVersions"] = json!([name]);
    }
}

fn storage_version(definition: &Value) -> Option<String> {
    let mut versions = definition.at("spec").list("versions").iter();
    let stored = versions.find(|version| version.flag("storage"))?;
    Some(stored.text("name").into())
}

/// The server writes the status; the storage version is the first that objects are stored in.
fn prepare_for_create(definition: &mut Value) {
    let names = json!({"plural": "", "kind": ""});
    let stored = storage_version(definition).map_or(Value::Null, |name| json!([name]));
    definition["status"] =
        json!({"conditions": null, "acceptedNames": names, "storedVersions": stored});
}

/// A new storage version is noted; the others stay until somebody says that nothing is stored in them.
fn prepare_for_update(new: &mut Value, old: &Value) {
    // lists and maps without anything in them are no change
    let node = Schema::builtin().get("apiextensions.v1.CustomResourceDefinitionSpec");
    if let Some(node) = node
        && new.at("spec") != old.at("spec")
    {
        let mut spec = new.at("spec").clone();
        as_stored(&mut spec, node);
        if spec == *old.at("spec") {
            new["spec"] = spec;
        }
    }
    let Some(name) = storage_version(new) else {
        return;
    };
    let status = crate::machinery::meta::child_mut(new, "status");
    match status
        .get_mut("storedVersions")
        .and_then(Value::as_array_mut)
    {
        Some(stored) if stored.contains(&json!(name)) => {}
        Some(stored) => stored.push(name.into()),
        None => {
            status.insert("storedVersions".into(), json!([name]));
        }
    }
}

/// The name says what is defined.
fn name_problems(definition: &Value, name: &str) -> Vec<String> {
    let spec = definition.at("spec");
    let wanted = format!("{}.{}", spec.at("names").text("plural"), spec.text("group"));
    if name == wanted {
        Vec::new()
    } else {
        vec!["must be spec.names.plural+\".\"+spec.group".into()]
    }
}

fn warnings(new: &Value, old: Option<&Value>) -> Warnings {
    formats::warnings(new, old)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said() {
        let mut definition = json!({"spec": {"names": {"plural": "bees", "kind": "Bee"}, "versions": [{"name": "v1"}, {"name": "v2", "storage": true}],
            "conversion": {"strategy": "None", "webhook": {}}}});
        defaults(&mut definition);
        assert_eq!(
            definition["spec"]["names"],
            json!({"plural": "bees", "kind": "Bee", "singular": "bee", "listKind": "BeeList"})
        );
        assert_eq!(
            definition["spec"]["conversion"],
            json!({"strategy": "None"})
        );
        assert_eq!(definition["status"]["storedVersions"], json!(["v2"]));
        let mut hook = json!({"spec": {"conversion": {"strategy": "Webhook", "webhook": {"clientConfig": {"service": {}}}}}});
        defaults(&mut hook);
        let service = hook.pointer("/spec/conversion/webhook/clientConfig/service");
        assert_eq!(service, Some(&json!({"port": 443})));
        let mut nothing = json!({"spec": {"names": {"kind": ""}}});
        defaults(&mut nothing);
        assert_eq!(
            nothing["spec"],
            json!({"names": {"kind": ""}, "conversion": {"strategy": "None"}})
        );
    }

    #[test]
    fn versions_that_objects_are_stored_in() {
        let definition = |version: &str, status: Value| json!({"spec": {"versions": [{"name": version, "storage": true}]}, "status": status});
        let mut new = definition("v1", json!({"storedVersions": ["v0"], "conditions": [{}]}));
        prepare_for_create(&mut new);
        assert_eq!(new["status"]["storedVersions"], json!(["v1"]));
        assert_eq!(new["status"]["conditions"], Value::Null);
        let mut changed = definition("v2", json!({"storedVersions": ["v1"]}));
        prepare_for_update(&mut changed, &new);
        assert_eq!(changed["status"]["storedVersions"], json!(["v1", "v2"]));
        let schema = |schema: Value| json!({"spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]}});
        let old = schema(json!({"type": "object"}));
        let mut same = schema(json!({"type": "object", "enum": [], "definitions": {}}));
        prepare_for_update(&mut same, &old);
        assert_eq!(same, old);
    }

    #[test]
    fn the_name_says_what_is_defined() {
        let definition = json!({"spec": {"group": "a.io", "names": {"plural": "bees"}}});
        assert!(name_problems(&definition, "bees.a.io").is_empty());
        assert_eq!(
            name_problems(&definition, "bees"),
            ["must be spec.names.plural+\".\"+spec.group"]
        );
    }
}
