//! The types of kinds, as the server's own description of them (OpenAPI v3) has it: built-in and custom ones alike.
//!
//! Invariant: a kind that nobody describes has no type, and nothing is said of expressions about it. Follows `typesToCheck` of upstream's
//! typechecking.go and staging/src/k8s.io/apiserver/pkg/cel/openapi/resolver.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicySpec;
use serde_json::{Map, Value, json};
use skiff_api::machinery::{
    cel::{self, Type},
    read::Read,
};

use crate::prelude::*;

/// The most kinds that a rule is checked about.
const MOST: usize = 10;
/// What of a schema is looked at besides what is below it.
const KEPT: [&str; 12] = [
    "type",
    "format",
    "nullable",
    "required",
    "maxLength",
    "maxItems",
    "maxProperties",
    "enum",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-preserve-unknown-fields",
];

/// A kind that is asked about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    group: String,
    version: String,
    kind: String,
}

impl Asked {
    pub fn new(api_version: &str, kind: &str) -> Asked {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Asked {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
        }
    }
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}, Kind={}", self.group, self.version, self.kind)
    }
}

/// `api/v1` or `apis/GROUP/VERSION`.
fn place(group: &str, version: &str) -> String {
    match group {
        "" => format!("api/{version}"),
        group => format!("apis/{group}/{version}"),
    }
}

/// The server's descriptions, each asked for once.
pub struct Types<'a> {
    api: &'a Api,
    documents: BTreeMap<String, Option<Value>>,
}

impl Types<'_> {
    pub fn new(api: &Api) -> Types<'_> {
        Types {
            api,
            documents: BTreeMap::new(),
        }
    }

    async fn document(&mut self, path: String) -> Result<Option<&Value>, Error> {
        if !self.documents.contains_key(&path) {
            // of a group that is not served the server knows no path, which it says in no words of the API
            let found = match self.api.get_path(&path).await {
                Ok(document) => Some(document),
                Err(error) if error.status().is_some_and(|status| status.code == 404) => None,
                Err(error) => return Err(error),
            };
            self.documents.insert(path.clone(), found);
        }
        Ok(self.documents.get(&path).and_then(Option::as_ref))
    }

    /// The kinds that the rules of a policy name without wildcards.
    pub async fn named_by(
        &mut self,
        spec: &ValidatingAdmissionPolicySpec,
    ) -> Result<BTreeSet<Asked>, Error> {
        let mut found = BTreeSet::new();
        let constraints = spec.match_constraints.iter();
        for rule in constraints.flat_map(|of| of.resource_rules.iter().flatten()) {
            let (groups, versions) = (sorted(&rule.api_groups), sorted(&rule.api_versions));
            if groups
                .iter()
                .chain(&versions)
                .any(|name| name.contains('*'))
            {
                continue;
            }
            let mut resources = sorted(&rule.resources);
            resources.retain(|name| !name.contains(['*', '/']));
            let mut count = 0;
            for group in &groups {
                for version in &versions {
                    for resource in &resources {
                        let Some(kind) = self.kind_of(group, version, resource).await? else {
                            continue;
                        };
                        found.insert(Asked {
                            group: group.clone(),
                            version: version.clone(),
                            kind,
                        });
                        count += 1;
                        if count == MOST {
                            return Ok(found);
                        }
                    }
                }
            }
        }
        Ok(found)
    }

    async fn kind_of(
        &mut self,
        group: &str,
        version: &str,
        resource: &str,
    ) -> Result<Option<String>, Error> {
        let list = self.document(format!("/{}", place(group, version))).await?;
        let resources = list.into_iter().flat_map(|list| list.list("resources"));
        let found = resources
            .into_iter()
            .find(|one| one.text("name") == resource);
        Ok(found.map(|one| one.text("kind").to_string()))
    }

    /// The type of a kind.
    pub async fn of(&mut self, asked: &Asked) -> Result<Option<Type>, Error> {
        let path = format!("/openapi/v3/{}", place(&asked.group, &asked.version));
        let Some(document) = self.document(path).await? else {
            return Ok(None);
        };
        let schemas = document.at("components").at("schemas");
        let is = |schema: &Value| {
            schema
                .list("x-kubernetes-group-version-kind")
                .iter()
                .any(|of| {
                    (of.text("group"), of.text("version"), of.text("kind"))
                        == (&asked.group, &asked.version, &asked.kind)
                })
        };
        let all = schemas.as_object().into_iter().flatten();
        let found = all.map(|(_, schema)| schema).find(|schema| is(schema));
        Ok(found.map(|schema| declared(&inlined(schemas, schema, &mut Vec::new()), &asked.kind)))
    }
}

fn sorted(names: &Option<Vec<String>>) -> Vec<String> {
    let mut names = names.clone().unwrap_or_default();
    names.sort();
    names
}

/// The type of objects of a schema without references.
pub fn declared(schema: &Value, kind: &str) -> Type {
    cel::declare_root(schema, kind)
        .ty
        .clone()
        .unwrap_or(Type::Dyn)
}

/// A schema with what it refers to in its place; what refers to itself is an object of which nothing is known.
fn inlined<'s>(schemas: &'s Value, schema: &'s Value, within: &mut Vec<&'s str>) -> Value {
    let reference = match schema.list("allOf") {
        [one] => one.text("$ref"),
        _ => schema.text("$ref"),
    };
    if let Some(name) = reference.rsplit_once('/').map(|(_, name)| name) {
        if within.contains(&name) {
            return json!({"type": "object"});
        }
        within.push(name);
        let found = inlined(schemas, schemas.at(name), within);
        within.pop();
        return found;
    }
    let mut out: Map<String, Value> = KEPT
        .iter()
        .filter_map(|name| Some((name.to_string(), schema.some(name)?.clone())))
        .collect();
    if schema.flag("x-kubernetes-int-or-string") || schema.text("format") == "int-or-string" {
        out.insert("x-kubernetes-int-or-string".into(), true.into());
    }
    for name in ["items", "additionalProperties"] {
        if let Some(of) = schema.some(name).filter(|of| of.is_object()) {
            out.insert(name.into(), inlined(schemas, of, within));
        }
    }
    if schema.map("properties").is_some() {
        let properties: Map<String, Value> = schema
            .entries("properties")
            .map(|(name, of)| (name.to_string(), inlined(schemas, of, within)))
            .collect();
        out.insert("properties".into(), properties.into());
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_followed() {
        let schemas = json!({
            "A": {"type": "object", "description": "d", "properties": {
                "b": {"allOf": [{"$ref": "#/components/schemas/B"}], "default": {}},
                "list": {"type": "array", "items": {"$ref": "#/components/schemas/B"}},
                "port": {"type": "string", "format": "int-or-string"}}},
            "B": {"type": "object", "properties": {"again": {"$ref": "#/components/schemas/B"}, "n": {"type": "integer"}}},
        });
        let b = json!({"type": "object", "properties": {"again": {"type": "object"}, "n": {"type": "integer"}}});
        assert_eq!(
            inlined(&schemas, schemas.at("A"), &mut Vec::new()),
            json!({"type": "object", "properties": {
                "b": b, "list": {"type": "array", "items": b},
                "port": {"type": "string", "format": "int-or-string", "x-kubernetes-int-or-string": true}}})
        );
    }
}
