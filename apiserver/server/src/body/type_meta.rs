//! What a document says that it is, and whether that may be given to this path.
//!
//! Follows `staging/src/k8s.io/apimachinery/pkg/runtime/serializer/json/meta.go` and `.../serializer/versioning`.

use serde_json::Value;
use skiff_api::{
    kinds::{Flags, Registry, api_version, internal_package},
    machinery::{read::go_kind, schema::Schema, status::Status},
};

use super::document::shown;

/// `apiVersion` and `kind` as they are given, or as they are expected where they are not.
pub fn readable_type_meta(
    value: &Value,
    text: &[u8],
    (group, version, kind): (&str, &str, &str),
) -> Result<(String, String), Status> {
    let unrecognized = unrecognized(kind, text);
    if !value.is_object() {
        let of = "struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }";
        return Err(unrecognized(&format!(
            "json: cannot unmarshal {} into Go value of type {of}",
            go_kind(value)
        )));
    }
    for field in ["apiVersion", "kind"] {
        if let Some(odd) = value.get(field).filter(|v| !v.is_string() && !v.is_null()) {
            return Err(unrecognized(&format!(
                "json: cannot unmarshal {} into Go struct field .{field} of type string",
                go_kind(odd)
            )));
        }
    }
    let given = |field: &str, instead: &str| {
        value[field]
            .as_str()
            .filter(|given| !given.is_empty())
            .unwrap_or(instead)
            .to_string()
    };
    let want = api_version(group, version);
    Ok((given("apiVersion", &want), given("kind", kind)))
}

fn unrecognized<'a>(kind: &'a str, text: &'a [u8]) -> impl Fn(&str) -> Status + 'a {
    move |said| {
        let must = format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error:"
        );
        Status::bad_request(format!("{must} {said} ({})", shown(text)))
    }
}

/// `apiVersion` and `kind` are those expected.
pub fn check_type_meta(
    kinds: &Registry,
    (given_version, given_kind): (String, String),
    text: &[u8],
    (group, version, kind): (&str, &str, &str),
) -> Result<(), Status> {
    let (unrecognized, want) = (unrecognized(kind, text), api_version(group, version));
    if given_version == want && given_kind == kind {
        return Ok(());
    }
    if given_version.matches('/').count() > 1 {
        return Err(unrecognized(&format!(
            "unexpected GroupVersion string: {given_version}"
        )));
    }
    let (given_group, bare) = given_version
        .rsplit_once('/')
        .unwrap_or(("", &given_version));
    let handled = |why: String| {
        Err(Status::bad_request(format!(
            "{given_kind} in version {bare:?} cannot be handled as a {kind}: {why}"
        )))
    };
    let own = kinds.find_kind(group, version, kind);
    let scheme = own.map_or(Flags::SCHEME, |own| own.flags.scheme);
    let foreign = given_group != group && own.is_some_and(|own| own.flags.has_own_scheme());
    match kinds.find_kind(given_group, bare, &given_kind) {
        // another version of the same kind is understood, but not taken here
        Some(found) if own.is_some_and(|own| found.same_objects(own)) => {
            Err(Status::bad_request(format!(
                "the API version in the data ({given_version}) does not match the expected API version ({want})"
            )))
        }
        found
            if foreign || found.is_none() && !is_registered(kinds, &given_version, &given_kind) =>
        {
            handled(format!(
                "no kind {given_kind:?} is registered for version {given_version:?} in scheme {scheme:?}"
            ))
        }
        _ => handled(format!(
            "converting ({bare}.{given_kind}) to ({}.{kind}): unknown conversion",
            own.map_or_else(|| internal_package(group), |own| own.internal_package())
        )),
    }
}

/// The kind is known, be it no resource: lists, options, what discovery answers.
fn is_registered(kinds: &Registry, api_version: &str, kind: &str) -> bool {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    let served = kinds
        .all()
        .iter()
        .any(|row| row.group == group && row.version == version);
    let of_all = [
        "WatchEvent",
        "ListOptions",
        "GetOptions",
        "DeleteOptions",
        "CreateOptions",
        "UpdateOptions",
        "PatchOptions",
    ];
    api_version == "v1" && kind == "List"
        || served && of_all.contains(&kind)
        || Schema::builtin().of_kind(api_version, kind).is_some()
}
