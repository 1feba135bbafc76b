//! GET of many: selectors, pages, exact and not-older-than revisions, in one consistent snapshot.
//!
//! Invariant: writers are not waited for; a list is a walk over an immutable map that copies bytes.
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/handlers/get.go` and `.../storage/etcd3/store.go`.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use skiff_api::{
    kinds::{Kind, Source},
    machinery::status::Status,
};
use skiff_storage::{Error, Object, Snapshot};

use super::{
    list_options::{ListOptions, Revision, encode_token, inconsistent},
    selection::Selection,
};
use crate::{
    context::{Answer, Context},
    conversion, encoding,
    limits::{heavy, room},
    negotiate::{self, Accept, Form, Offers},
    respond::{self, IncludeObject},
    rows, stored,
};

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
        let namespace = Some(options.namespace.as_str()).filter(|name| !name.is_empty());
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

    /// Takes what is selected of some objects; tells whether there are more to look at than the page has room for.
    fn fill(
        &mut self,
        objects: &mut dyn Iterator<Item = Arc<Object>>,
        options: &ListOptions,
        selection: &Selection,
    ) -> Result<bool, Status> {
        for object in objects {
            // what is left may be none that is selected: whoever goes on will see
            if options.limit > 0 && self.objects.len() == options.limit && !options.one {
                if matches!(options.revision, Revision::Exact(_)) || selection.looks_at(&object) {
                    return Ok(true);
                }
                continue;
            }
            if !selection.matches(&object) {
                continue;
            }
            if !selection.is_everything() && object.attributes().is_unreadable() {
                stored::value(&object)?;
            }
            self.objects.push(object);
        }
        Ok(false)
    }
}

pub async fn serve(ctx: &Context, kind: &Arc<Kind>) -> Answer {
    let accept = negotiate::accept(&ctx.headers, Offers::objects(kind))?;
    match kind.flags.source {
        Source::Components => {
            let selection = ListOptions::of_what_is_not_stored(ctx, kind)?;
            let selected = |name: &str| selection.matches_name(name);
            return crate::subresources::component_status::list(ctx, kind, &accept, selected);
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
