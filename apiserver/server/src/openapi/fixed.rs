//! The paths of OpenAPI that are of no kind: discovery, the version, and what verifies tokens.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/discovery`, `.../pkg/server/routes/version.go` and `pkg/routes/openidmetadata.go`.

use serde_json::{Map, Value, json};
use skiff_api::kinds::Registry;

use super::{
    Version,
    descriptions::Described,
    names::{META, reference},
    operations::{PRODUCES, capital, group_words},
};
use crate::groups;

/// The name of the definition of what `/version` answers.
pub const VERSION: &str = "io.k8s.apimachinery.pkg.version.Info";

/// The fields of what `/version` answers, in the order of Go's struct.
pub const VERSION_FIELDS: &[&str] = &[
    "major",
    "minor",
    "emulationMajor",
    "emulationMinor",
    "minCompatibilityMajor",
    "minCompatibilityMinor",
    "gitVersion",
    "gitCommit",
    "gitTreeState",
    "buildDate",
    "goVersion",
    "compiler",
    "platform",
];

/// Whether a field is there when it is empty, too.
fn is_always(field: &str) -> bool {
    !field.starts_with("emulation") && !field.starts_with("minCompatibility")
}

/// The definition of what `/version` answers.
pub fn version_info(told: Option<&Described>, version: Version) -> Value {
    let fields = VERSION_FIELDS.iter().map(|name| {
        let mut field = json!({"type": "string"});
        if let Some(words) = told.and_then(|told| told.fields.get(name)) {
            field["description"] = words.clone().into();
        }
        if version == Version::Three && is_always(name) {
            field["default"] = "".into();
        }
        ((*name).to_owned(), field)
    });
    let properties: Map<String, Value> = fields.collect();
    let fields = VERSION_FIELDS.iter();
    let required: Vec<_> = fields.filter(|name| is_always(name)).collect();
    json!({"type": "object", "required": required, "properties": properties})
}

/// An operation of such a path.
fn get(id: &str, description: &str, tag: &str, media: [&[&str]; 2], answer: Value) -> Value {
    let [consumes, produces] = media;
    let mut get = json!({"operationId": id, "description": description, "tags": [tag], "schemes": ["https"], "produces": produces,
        "responses": {"200": {"description": "OK", "schema": answer}, "401": {"description": "Unauthorized"}}});
    if !consumes.is_empty() {
        get["consumes"] = json!(consumes);
    }
    json!({"get": get})
}

/// The paths of discovery. Kinds that definitions bring have none.
fn discovery(kinds: &Registry, paths: &mut Map<String, Value>) {
    let mut add = |path: String, id: String, description: &str, tag: &str, answer: &str| {
        let answer = reference(&format!("{META}.{answer}"));
        let item = get(&id, description, tag, [PRODUCES, PRODUCES], answer);
        paths.insert(path, item);
    };
    let says = "get available API versions";
    let mut root =
        |path: &str, id: &str, tag, answer| add(path.into(), id.into(), says, tag, answer);
    root("/api/", "getCoreAPIVersions", "core", "APIVersions");
    root("/apis/", "getAPIVersions", "apis", "APIGroupList");
    let builtin = |group: &str, version: &str| {
        let mut rows = kinds.all().iter();
        rows.any(|row| row.is_builtin() && (row.group, row.version) == (group, version))
    };
    for (group, versions) in std::iter::once(("", vec!["v1"])).chain(groups::groups(kinds)) {
        let own: Vec<&str> = (versions.into_iter())
            .filter(|version| builtin(group, version))
            .collect();
        if !group.is_empty() && !own.is_empty() {
            let (_, tag) = group_words(group, "");
            let tag = tag.trim_end_matches('_');
            let (path, id) = (
                format!("/apis/{group}/"),
                format!("get{}APIGroup", capital(tag)),
            );
            add(path, id, "get information of a group", tag, "APIGroup");
        }
        for version in own {
            let (words, tag) = group_words(group, version);
            let path = match group {
                "" => format!("/api/{version}/"),
                group => format!("/apis/{group}/{version}/"),
            };
            let (id, says) = (format!("get{words}APIResources"), "get available resources");
            add(path, id, says, &tag, "APIResourceList");
        }
    }
}

/// Adds all of them.
pub fn paths(kinds: &Registry, paths: &mut Map<String, Value>) {
    discovery(kinds, paths);
    let text = || json!({"type": "string"});
    const JSON: &[&str] = &["application/json"];
    let version = get(
        "getCodeVersion",
        "get the version information for this server",
        "version",
        [JSON, JSON],
        reference(VERSION),
    );
    paths.insert("/version/".into(), version);
    let configuration = get(
        "getServiceAccountIssuerOpenIDConfiguration",
        "get service account issuer OpenID configuration, also known as the 'OIDC discovery doc'",
        "WellKnown",
        [&[], JSON],
        text(),
    );
    paths.insert("/.well-known/openid-configuration/".into(), configuration);
    let keys = get(
        "getServiceAccountIssuerOpenIDKeyset",
        "get service account issuer OpenID JSON Web Key Set (contains public token verification keys)",
        "openid",
        [&[], &["application/jwk-set+json"]],
        text(),
    );
    paths.insert("/openid/v1/jwks/".into(), keys);
}
