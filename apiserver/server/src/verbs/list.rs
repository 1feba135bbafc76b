//! GET of many: selectors, pages, exact and not-older-than revisions, in one consistent snapshot.
//!
//! Invariant: writers are not waited for; a list is a walk over an immutable map that copies bytes.
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/handlers/get.go` and `.../storage/etcd3/store.go`.

use std::{sync::Arc, time::Duration};

use base64::{DecodeError, Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use skiff_api::{
    kinds::{Kind, Source},
    machinery::{
        field::{Errors, Path},
        gojson::syntax_error,
        read::Read,
        schema::to_ordered_json,
        status::Status,
    },
};
use skiff_storage::{Error, Object, Snapshot};

use super::selection::{self, Selection};
use crate::{
    context::{Answer, Context},
    conversion, encoding,
    limits::{heavy, room},
    negotiate::{self, Accept, Form, Offers},
    respond::{self, IncludeObject},
    rows, stored,
};

/// The parameters of a list.
pub struct ListOptions {
    limit: usize,
    /// Namespace and name of the object after which the list goes on.
    start: Option<(String, String)>,
    revision: Revision,
}

/// Which revision a list is to show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Revision {
    Newest,
    NotOlderThan(u64),
    Exact(u64),
}

impl ListOptions {
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
        if !token.is_empty() {
            let (revision, namespace, name) = decode_token(token)?;
            if !matches!(version, "" | "0") {
                return Err(Status::bad_request(
                    "specifying resource version is not allowed when using continue",
                ));
            }
            let revision = u64::try_from(revision).map_or(Revision::Newest, Revision::Exact);
            let options = ListOptions {
                limit: size(limit),
                start: Some((namespace, name)),
                revision,
            };
            return Ok((options, selection));
        }
        let number = || {
            respond::revision(version).map_err(|error| {
                Status::bad_request(format!("invalid resource version: {}", error.message))
            })
        };
        let revision = match (version, matching) {
            ("" | "0", _) => Revision::Newest,
            (_, "Exact") => Revision::Exact(number()?),
            (_, "NotOlderThan") => Revision::NotOlderThan(number()?),
            _ if limit > 0 => Revision::Exact(number()?),
            _ => Revision::NotOlderThan(number()?),
        };
        let limit = if version == "0" && !kind.flags.has_no_cache {
            0
        } else {
            limit
        };
        let options = ListOptions {
            limit: size(limit),
            start: None,
            revision,
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
fn encode_token(revision: i64, namespace: &str, name: &str) -> String {
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

fn decode_token(token: &str) -> Result<(i64, String, String), Status> {
    let wrong = |why: String| {
        Status::bad_request(format!(
            "invalid continue token: continue key is not valid{why}"
        ))
    };
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|error| {
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
fn inconsistent(namespace: &str, name: &str) -> Status {
    let status = Status::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    );
    Status {
        list_continue: encode_token(-1, namespace, name),
        ..status
    }
}

/// The snapshot that the options ask for.
async fn snapshot(ctx: &Context, kind: &Kind, options: &ListOptions) -> Result<Snapshot, Status> {
    let resource = stored::resource_of(kind);
    let store = &ctx.app.core.store;
    match options.revision {
        Revision::Newest => Ok(store.snapshot(&resource)),
        Revision::NotOlderThan(revision) => {
            store
                .wait_for(revision, Duration::from_secs(3))
                .await
                .map_err(|_| respond::too_large_revision(revision, store.revision()))?;
            Ok(store.snapshot(&resource))
        }
        Revision::Exact(revision) => {
            store
                .snapshot_at(&resource, revision)
                .map_err(|error| match error {
                    Error::Compacted { .. } => match &options.start {
                        Some((namespace, name)) => inconsistent(namespace, name),
                        None => {
                            Status::expired("The resourceVersion for the provided list is too old.")
                        }
                    },
                    Error::Future { asked, newest } => respond::too_large_revision(asked, newest),
                    other => Status::internal(other),
                })
        }
    }
}

/// One page: the objects and, when there is more, the token and the number that remains.
struct Page {
    objects: Vec<Arc<Object>>,
    token: Option<String>,
    remaining: Option<usize>,
}

impl Page {
    /// The first objects of a snapshot that are selected.
    async fn of(
        ctx: &Context,
        kind: &Kind,
        snapshot: &Snapshot,
        options: &ListOptions,
        selection: &Selection,
    ) -> Result<Page, Status> {
        let namespace = within(ctx, kind);
        let after = options
            .start
            .as_ref()
            .map(|(namespace, name)| (namespace.as_str(), name.as_str()));
        let mut page = Page {
            objects: Vec::new(),
            token: None,
            remaining: None,
        };
        let mut range = snapshot.range(namespace, after);
        let more = match kind.converter() {
            None => page.fill(&mut range, options, selection)?,
            Some(_) => loop {
                // who selects sees what the webhook makes of an object
                let some = match options.limit {
                    0 => range.by_ref().collect(),
                    limit => range.by_ref().take(limit + 1).collect::<Vec<_>>(),
                };
                if some.is_empty() {
                    break false;
                }
                let some = conversion::all_shown(&ctx.app.core, kind, some).await?;
                if page.fill(&mut some.into_iter(), options, selection)? {
                    break true;
                }
            },
        };
        if let (true, Some(last)) = (more, page.objects.last()) {
            page.token = Some(encode_token(
                i64::try_from(snapshot.revision()).unwrap_or(i64::MAX),
                &last.key.namespace,
                &last.key.name,
            ));
            if selection.is_everything() {
                let after = Some((&*last.key.namespace, &*last.key.name));
                page.remaining = Some(snapshot.remaining(namespace, after));
            }
        }
        Ok(page)
    }

    /// Takes what is selected of some objects; tells whether there was one too many.
    fn fill(
        &mut self,
        objects: &mut dyn Iterator<Item = Arc<Object>>,
        options: &ListOptions,
        selection: &Selection,
    ) -> Result<bool, Status> {
        for object in objects {
            if !selection.matches(&object) {
                continue;
            }
            if options.limit > 0 && self.objects.len() == options.limit {
                return Ok(true);
            }
            if !selection.is_everything() && object.attributes().is_unreadable() {
                stored::value(&object)?;
            }
            self.objects.push(object);
        }
        Ok(false)
    }
}

/// The namespace in which a request looks; `None`: all of them.
fn within<'c>(ctx: &'c Context, kind: &Kind) -> Option<&'c str> {
    Some(ctx.info.namespace.as_str()).filter(|namespace| kind.namespaced && !namespace.is_empty())
}

pub async fn serve(ctx: &Context, kind: &Arc<Kind>) -> Answer {
    let accept = negotiate::accept(&ctx.headers, Offers::objects(kind))?;
    match kind.flags.source {
        Source::Components => {
            return crate::subresources::component_status::list(ctx, &accept);
        }
        Source::Measured => return super::measured::list(ctx, kind, &accept),
        Source::Stored | Source::Answered(_) => {}
    }
    let (options, selection) = ListOptions::of(ctx, kind)?;
    let (metadata, objects) = page(ctx, kind, &accept, &options, &selection).await?;
    answer(ctx, &accept, kind, metadata, objects).await
}

/// What the options ask for, and the metadata of a list of that.
///
/// # Errors
/// The revision that they name is not to be had, or an object cannot be read.
pub async fn page(
    ctx: &Context,
    kind: &Kind,
    accept: &Accept,
    options: &ListOptions,
    selection: &Selection,
) -> Result<(Value, Vec<Arc<Object>>), Status> {
    let snapshot = snapshot(ctx, kind, options).await?;
    let page = Page::of(ctx, kind, &snapshot, options, selection).await?;
    let mut metadata = json!({"resourceVersion": snapshot.revision().to_string()});
    if kind.flags.untyped && accept.form == Form::Object {
        metadata["continue"] = "".into();
    }
    if let Some(token) = page.token {
        metadata["continue"] = token.into();
    }
    if let Some(remaining) = page.remaining {
        metadata["remainingItemCount"] = remaining.into();
    }
    Ok((metadata, page.objects))
}

/// A list of these objects, in the form that is asked for.
pub async fn answer(
    ctx: &Context,
    accept: &Accept,
    kind: &Arc<Kind>,
    metadata: Value,
    objects: Vec<Arc<Object>>,
) -> Answer {
    objects
        .iter()
        .try_for_each(|object| stored::sealed_in_list(object))?;
    let as_stored = objects
        .iter()
        .all(|object| kind.shows_as_stored(object.revision));
    if accept.form == Form::Object && as_stored {
        let list = encoding::List {
            kind: kind.list_kind,
            api_version: kind.api_version(),
            metadata: metadata.clone(),
            node: kind.node(),
            skip: match kind.flags.untyped {
                true => 0,
                false => stored::type_meta_len(kind),
            },
            objects: objects.clone(),
            kept: &ctx.app.kept,
        };
        if let Some(answer) = ctx.list(accept, list).await? {
            return answer;
        }
    }
    let size = objects.iter().map(|object| object.bytes.len()).sum();
    let _room = room(size).await;
    heavy(size, || rendered(ctx, accept, kind, metadata, &objects))
}

fn rendered(
    ctx: &Context,
    accept: &Accept,
    kind: &Arc<Kind>,
    metadata: Value,
    objects: &[Arc<Object>],
) -> Answer {
    if let Form::Table(version) = accept.form
        && rows::fit(
            accept,
            ctx.wants_pretty(accept),
            IncludeObject::of(ctx)?,
            kind,
            objects,
        )
    {
        let now = ctx.app.core.clock.now();
        let table = rows::written(kind, version, metadata, objects, now)?;
        return Ok(ctx.written(accept, table));
    }
    let values = objects
        .iter()
        .map(|object| stored::decoded(kind, object))
        .collect::<Result<Vec<Value>, Status>>();
    respond::list(ctx, accept, kind, metadata, values)
}
