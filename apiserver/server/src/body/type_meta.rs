//! What a document says that it is, and whether that may be given to this path.
//!
//! Follows `staging/src/k8s.io/apimachinery/pkg/runtime/serializer/json/meta.go` and `.../serializer/versioning`.

use serde_json::Value;
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::{
    kinds::{Flags, Registry, api_version, internal_package},
    machinery::{read::go_kind, schema::Schema, status::Status},
};

use super::document::shown;

/// `apiVersion` and `kind` as they are given, empty where they are not.
pub fn given_type_meta(
    value: &Value,
    text: &[u8],
    (_, _, kind): (&str, &str, &str),
) -> Result<(String, String), Status> {
    let (version, named) = type_meta(value)
        .map_err(|said| unrecognized(kind, text, &format!("{UNREADABLE} {said}")))?;
    Ok((version.to_string(), named.to_string()))
}

/// `apiVersion` and `kind` as they are given, or as they are expected where they are not.
pub fn readable_type_meta(
    value: &Value,
    text: &[u8],
    expected: (&str, &str, &str),
) -> Result<(String, String), Status> {
    let (group, version, kind) = expected;
    let (mut given_version, mut given_kind) = given_type_meta(value, text, expected)?;
    if given_version.is_empty() {
        given_version = api_version(group, version);
    }
    if given_kind.is_empty() {
        given_kind = kind.to_string();
    }
    Ok((given_version, given_kind))
}

/// Before what is wrong with the JSON of `apiVersion` and `kind`.
pub const UNREADABLE: &str = "couldn't get version/kind; json parse error:";

/// `apiVersion` and `kind`, empty where they are absent.
///
/// # Errors
/// In the words of Go's decoder, when they are no text or the document is no object.
pub fn type_meta(value: &Value) -> Result<(&str, &str), String> {
    if !value.is_object() {
        let of = "struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }";
        return Err(format!(
            "json: cannot unmarshal {} into Go value of type {of}",
            go_kind(value)
        ));
    }
    for field in ["apiVersion", "kind"] {
        if let Some(odd) = value.get(field).filter(|v| !v.is_string() && !v.is_null()) {
            return Err(format!(
                "json: cannot unmarshal {} into Go struct field .{field} of type string",
                go_kind(odd)
            ));
        }
    }
    let given = |field: &str| value[field].as_str().unwrap_or("");
    Ok((given("apiVersion"), given("kind")))
}

/// What is applied says that it is of this version and kind.
pub fn is_of_type(config: &Value, api_version: &str, kind: &str) -> Result<(), Status> {
    let given = |field: &str| config[field].as_str().unwrap_or("");
    let (given_version, given_kind) = (given("apiVersion"), given("kind"));
    if (given_version, given_kind) == (api_version, kind) {
        return Ok(());
    }
    // a group, a slash and a version, be the group empty; what cannot be read is nothing
    let told = match given_version.matches('/').count() {
        0 => format!("/{given_version}, Kind={given_kind}"),
        1 => format!("{given_version}, Kind={given_kind}"),
        _ => "/, Kind=".to_string(),
    };
    Err(Status::bad_request(format!("invalid object type: {told}")))
}

/// A document of which is not known what it is.
pub fn unrecognized(kind: &str, text: &[u8], said: &str) -> Status {
    let must = format!("the object provided is unrecognized (must be of type {kind}):");
    Status::bad_request(format!("{must} {said} ({})", shown(text)))
}

/// Why what a document says that it is cannot be taken for the kind that is wanted.
pub enum Foreign {
    /// The version cannot be read.
    Version(String),
    /// Another version of the same kind: understood, but not taken here.
    SameObjects,
    /// Something else that is known, of which no such kind can be made.
    Other(String),
    /// Nothing that is known.
    Unknown(String),
}

impl Foreign {
    /// The same in words, of a document of the version `given` where another is expected.
    pub fn said(self, given: &str, expected: &str) -> String {
        match self {
            Foreign::Version(said) | Foreign::Other(said) | Foreign::Unknown(said) => said,
            Foreign::SameObjects => format!(
                "the API version in the data ({given}) does not match the expected API version ({expected})"
            ),
        }
    }
}

/// Whether what a document says that it is is the kind that is expected.
pub fn foreign(
    kinds: &Registry,
    (given_version, given_kind): (&str, &str),
    (group, version, kind): (&str, &str, &str),
) -> Result<(), Foreign> {
    if given_version == api_version(group, version) && given_kind == kind {
        return Ok(());
    }
    if given_version.matches('/').count() > 1 {
        return Err(Foreign::Version(format!(
            "unexpected GroupVersion string: {given_version}"
        )));
    }
    let (given_group, bare) = given_version
        .rsplit_once('/')
        .unwrap_or(("", given_version));
    let own = kinds.find_kind(group, version, kind);
    let scheme = own.map_or(Flags::SCHEME, |own| own.flags.scheme);
    let foreign = given_group != group && own.is_some_and(|own| own.flags.has_own_scheme());
    Err(match kinds.find_kind(given_group, bare, given_kind) {
        Some(found) if own.is_some_and(|own| found.same_objects(own)) => Foreign::SameObjects,
        found if foreign || found.is_none() && !is_registered(kinds, given_version, given_kind) => {
            Foreign::Unknown(format!(
                "no kind {given_kind} is registered for version {given_version} in scheme {scheme}",
                given_kind = GoQuoted(&given_kind),
                given_version = GoQuoted(&given_version),
                scheme = GoQuoted(&scheme)
            ))
        }
        _ => Foreign::Other(format!(
            "converting ({bare}.{given_kind}) to ({}.{kind}): unknown conversion",
            own.map_or_else(|| internal_package(group), |own| own.internal_package())
        )),
    })
}

/// What a body is answered with that says it is something else than is expected.
pub fn refused(
    why: Foreign,
    (given_version, given_kind): (&str, &str),
    text: &[u8],
    (group, version, kind): (&str, &str, &str),
) -> Status {
    match why {
        Foreign::Version(said) => unrecognized(kind, text, &said),
        Foreign::SameObjects => {
            Status::bad_request(why.said(given_version, &api_version(group, version)))
        }
        Foreign::Other(why) | Foreign::Unknown(why) => {
            unhandled((given_version, given_kind), kind, &why)
        }
    }
}

/// A document that cannot be made a `kind` of.
pub fn unhandled((given_version, given_kind): (&str, &str), kind: &str, why: &str) -> Status {
    let bare = given_version
        .rsplit_once('/')
        .map_or(given_version, |(_, bare)| bare);
    Status::bad_request(format!(
        "{given_kind} in version {bare} cannot be handled as a {kind}: {why}",
        bare = GoQuoted(&bare)
    ))
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
        // what is common to all groups is known under theirs, not under a name of its own
        || group != "meta.k8s.io" && Schema::builtin().of_kind(api_version, kind).is_some()
}
