//! The parameters of a list: limits, revisions, and the tokens by which it goes on.
//!
//! Invariant: what is wrong is told in upstream's order; a token leads nowhere out of the resource's own keys.
//! Follows `staging/src/k8s.io/apiserver/pkg/storage/continue.go` and `apimachinery/pkg/apis/meta/internalversion/validation`.

use base64::{
    DecodeError, Engine,
    alphabet::URL_SAFE,
    engine::general_purpose::{GeneralPurpose, NO_PAD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};
use skiff_api::{
    kinds::Kind,
    machinery::{
        field::{Errors, Path},
        gojson::syntax_error,
        read::Read,
        schema::to_ordered_json,
        status::Status,
    },
};

use super::selection::{self, Selection};
use crate::{context::Context, respond};

/// The parameters of a list.
pub struct ListOptions {
    pub limit: usize,
    /// Namespace and name of the object after which the list goes on.
    pub start: Option<(String, String)>,
    pub revision: Revision,
    /// The namespace in which it looks; empty: all of them, or none where the kind has none.
    pub namespace: String,
    /// No object but one can be selected, as its whole key is known.
    pub one: bool,
}

/// Which revision a list is to show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Revision {
    Newest,
    NotOlderThan(u64),
    Exact(u64),
}

impl ListOptions {
    /// What selects among objects that are in no store, whose lists have no pages.
    ///
    /// # Errors
    /// 400 or 422, of the first parameter that is wrong.
    pub fn of_what_is_not_stored(ctx: &Context, kind: &Kind) -> Result<Selection, Status> {
        let query = &ctx.query;
        query.integer("limit")?;
        query.integer("timeoutSeconds")?;
        let given = selection::Given::of(ctx)?;
        let text = |name| query.text(name);
        let matching = text("resourceVersionMatch");
        validate(ctx, text("resourceVersion"), matching, text("continue"))?;
        given.of_kind(kind)
    }

    /// The parameters, and what selects, looked at in upstream's order.
    ///
    /// # Errors
    /// 400 or 422, of the first that is wrong.
    pub fn of(ctx: &Context, kind: &Kind) -> Result<(ListOptions, Selection), Status> {
        let query = &ctx.query;
        let limit = query.integer("limit")?.unwrap_or(0);
        query.integer("timeoutSeconds")?;
        let given = selection::Given::of(ctx)?;
        let version = query.text("resourceVersion");
        let matching = query.text("resourceVersionMatch");
        let token = query.text("continue");
        validate(ctx, version, matching, token)?;
        let selection = given.of_kind(kind)?;
        // whatever revision will do, is shown whole
        let whole = version == "0" && !kind.flags.has_no_cache;
        let limit = size(if whole { 0 } else { limit });
        if !token.is_empty() {
            let (revision, namespace, name) = decode_token(token)?;
            if !matches!(version, "" | "0") {
                return Err(Status::bad_request(
                    "specifying resource version is not allowed when using continue",
                ));
            }
            let revision = u64::try_from(revision).map_or(Revision::Newest, Revision::Exact);
            let options = ListOptions {
                limit,
                start: Some((namespace, name)),
                revision,
                namespace: ctx.info.namespace.clone(),
                one: false,
            };
            return Ok((options, selection));
        }
        let number = || {
            respond::revision(version).map_err(|error| {
                Status::bad_request(format!("invalid resource version: {}", error.message))
            })
        };
        // where a list begins, its selector may tell where it ends
        let namespace = match selection.fields.requires_exact_match("metadata.namespace") {
            Some(only) if ctx.info.namespace.is_empty() && kind.namespaced => only,
            _ => &ctx.info.namespace,
        };
        let namespace = namespace.to_string();
        let name = selection.fields.requires_exact_match("metadata.name");
        let one =
            name.is_some_and(|name| !name.is_empty()) && kind.namespaced != namespace.is_empty();
        let revision = match (version, matching) {
            ("" | "0", _) => Revision::Newest,
            (_, "Exact") => Revision::Exact(number()?),
            (_, "NotOlderThan") => Revision::NotOlderThan(number()?),
            _ if limit > 0 && !one => Revision::Exact(number()?),
            _ => Revision::NotOlderThan(number()?),
        };
        let options = ListOptions {
            limit,
            start: None,
            revision,
            namespace,
            one,
        };
        Ok((options, selection))
    }
}

fn size(limit: i64) -> usize {
    usize::try_from(limit.max(0)).unwrap_or(usize::MAX)
}

/// `ValidateListOptions` of `apimachinery/pkg/apis/meta/internalversion/validation`.
fn validate(ctx: &Context, version: &str, matching: &str, token: &str) -> Result<(), Status> {
    let mut errors = Errors::default();
    let path = Path::new("resourceVersionMatch");
    if !matching.is_empty() {
        if version.is_empty() {
            errors.forbidden(
                &path,
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            );
        }
        if !token.is_empty() {
            errors.forbidden(
                &path,
                "resourceVersionMatch is forbidden when continue is provided",
            );
        }
        if !matches!(matching, "Exact" | "NotOlderThan") {
            errors.not_supported_in_order(&path, matching, &["Exact", "NotOlderThan", ""]);
        }
        if matching == "Exact" && version == "0" {
            errors.forbidden(
                &path,
                "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            );
        }
    }
    if ctx.query.get("sendInitialEvents").is_some() {
        errors.forbidden(
            &Path::new("sendInitialEvents"),
            "sendInitialEvents is forbidden for list",
        );
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Status::invalid("meta.k8s.io", "ListOptions", "", &errors))
    }
}

/// Where a list goes on: the place after which it does, and the revision; below zero, the newest.
pub fn encode_token(revision: i64, namespace: &str, name: &str) -> String {
    let start = if namespace.is_empty() {
        format!("{name}\0")
    } else {
        format!("{namespace}/{name}\0")
    };
    URL_SAFE_NO_PAD.encode(to_ordered_json(
        &json!({"v": "meta.k8s.io/v1", "rv": revision, "start": start}),
        &["v", "rv", "start"],
        false,
    ))
}

/// As Go reads it, which does not look at what is left of the last symbol.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&URL_SAFE, NO_PAD.with_decode_allow_trailing_bits(true));

fn decode_token(token: &str) -> Result<(i64, String, String), Status> {
    let wrong = |why: String| {
        Status::bad_request(format!(
            "invalid continue token: continue key is not valid{why}"
        ))
    };
    let bytes = LENIENT.decode(token).map_err(|error| {
        let at = match error {
            DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _) => at,
            DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => token.len() / 4 * 4,
        };
        wrong(format!(": illegal base64 data at input byte {at}"))
    })?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| {
        wrong(format!(
            ": {}",
            syntax_error(&bytes).unwrap_or_else(|| error.to_string())
        ))
    })?;
    let version = value.text("v");
    if version != "meta.k8s.io/v1" {
        return Err(wrong(format!(
            ": server does not recognize this encoded version {version}"
        )));
    }
    let revision = value.int_ptr("rv").filter(|rv| *rv != 0);
    let revision = revision.ok_or_else(|| {
        wrong(": incorrect encoded start resourceVersion (version meta.k8s.io/v1)".into())
    })?;
    let start = value.text("start");
    if start.is_empty() {
        return Err(wrong(
            ": encoded start key empty (version meta.k8s.io/v1)".into(),
        ));
    }
    // no way out of the resource's own keys
    if start
        .trim_start_matches('/')
        .split('/')
        .any(|part| matches!(part, "" | "." | ".."))
    {
        return Err(wrong(format!(": {start}")));
    }
    let start = start.trim_start_matches('/').trim_end_matches('\0');
    let (namespace, name) = start.split_once('/').unwrap_or(("", start));
    Ok((revision, namespace.into(), name.into()))
}

/// The revision of a page is gone: the client may start anew, or go on in what there is now.
pub fn inconsistent(namespace: &str, name: &str) -> Status {
    let status = Status::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    );
    Status {
        list_continue: encode_token(-1, namespace, name),
        ..status
    }
}
