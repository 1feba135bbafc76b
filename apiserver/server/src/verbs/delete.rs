//! DELETE of one object and of collections: grace, finalizers, propagation, preconditions.
//!
//! Invariant: an object with finalizers or grace is marked and stays; it goes when both are used up, in the same write that used them up.
//! Follows `staging/src/k8s.io/apiserver/pkg/registry/rest/delete.go` and `.../registry/generic/registry/store.go`.

use std::sync::Arc;

use axum::body::Body;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use skiff_api::{
    kinds::Kind,
    machinery::{
        field::{Errors, Path},
        meta::Meta,
        schema::{Schema, conform},
        status::{Details, Status},
        time,
    },
};
use skiff_storage::{Error, Expect, Object, Write};

use super::list::{ListOptions, Selection};
use crate::{
    admission::{self, Attributes, Operation},
    allocate, body,
    context::{Answer, Context},
    negotiate::{self, Accept, Offers},
    respond, stored,
};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

#[derive(Default, Clone, Debug)]
pub struct DeleteOptions {
    grace: Option<i64>,
    uid: Option<String>,
    resource_version: Option<String>,
    orphan_dependents: Option<bool>,
    propagation: Option<String>,
    dry_run: bool,
}

impl DeleteOptions {
    pub fn dry_run(&self) -> bool {
        self.dry_run
    }
    /// The uid that the object must have.
    pub fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }
    /// The version that the object must have.
    pub fn resource_version(&self) -> Option<&str> {
        self.resource_version.as_deref()
    }
    /// The same for an object at this version; `None` changes nothing.
    pub fn pinned(&self, version: Option<&str>) -> DeleteOptions {
        let resource_version = version
            .map(str::to_string)
            .or_else(|| self.resource_version.clone());
        DeleteOptions {
            resource_version,
            ..self.clone()
        }
    }

    /// From the body, else from the query.
    fn read(ctx: &Context, text: &[u8]) -> Result<DeleteOptions, Status> {
        let value = if text.is_empty() {
            from_query(ctx)?
        } else {
            from_body(ctx, text)?
        };
        DeleteOptions::from_value(&value)
    }

    pub fn from_value(value: &Value) -> Result<DeleteOptions, Status> {
        let text = |value: &Value| value.as_str().map(str::to_string);
        let options = DeleteOptions {
            grace: value["gracePeriodSeconds"].as_i64(),
            uid: text(&value["preconditions"]["uid"]),
            resource_version: text(&value["preconditions"]["resourceVersion"]),
            orphan_dependents: value["orphanDependents"].as_bool(),
            propagation: text(&value["propagationPolicy"]),
            dry_run: value["dryRun"]
                .as_array()
                .is_some_and(|list| list.iter().any(|v| v == "All")),
        };
        let mut errors = Errors::default();
        if options.propagation.is_some() && options.orphan_dependents.is_some() {
            errors.invalid(
                &Path::new("propagationPolicy"),
                options.propagation.clone(),
                "orphanDependents and deletionPropagation cannot be both set",
            );
        }
        if let Some(policy) = options
            .propagation
            .as_deref()
            .filter(|p| !matches!(*p, "Foreground" | "Background" | "Orphan"))
        {
            errors.not_supported_in_order(
                &Path::new("propagationPolicy"),
                policy,
                &["Foreground", "Background", "Orphan", "nil"],
            );
        }
        if value["dryRun"]
            .as_array()
            .is_some_and(|list| list.iter().any(|v| v != "All"))
        {
            errors.not_supported(&Path::new("dryRun"), value["dryRun"].clone(), &["All"]);
        }
        if errors.is_empty() {
            Ok(options)
        } else {
            Err(Status::invalid("meta.k8s.io", "DeleteOptions", "", &errors))
        }
    }
}

fn from_query(ctx: &Context) -> Result<Value, Status> {
    let mut value = json!({});
    let query = &ctx.query;
    if let Some(seconds) = query.integer("gracePeriodSeconds")? {
        value["gracePeriodSeconds"] = seconds.into();
    }
    if let Some(policy) = query.get("propagationPolicy") {
        value["propagationPolicy"] = policy.into();
    }
    if query.get("orphanDependents").is_some() {
        value["orphanDependents"] = query.flag("orphanDependents").into();
    }
    let dry: Vec<&str> = query.all("dryRun").collect();
    if !dry.is_empty() {
        value["dryRun"] = dry.into();
    }
    Ok(value)
}

fn from_body(ctx: &Context, text: &[u8]) -> Result<Value, Status> {
    let node = Schema::builtin()
        .get("meta.v1.DeleteOptions")
        .ok_or_else(|| Status::internal("DeleteOptions is not in the schema table"))?;
    let media = negotiate::body_type(&ctx.headers)?;
    let mut value = body::parse_object(text, media, node)
        .map_err(Status::bad_request)?
        .value;
    let kind = value["kind"].as_str().unwrap_or("");
    if !matches!(kind, "" | "DeleteOptions") {
        let version = value["apiVersion"]
            .as_str()
            .filter(|version| !version.is_empty())
            .unwrap_or("v1");
        return Err(Status::bad_request(format!(
            "no kind {kind:?} is registered for version {version:?} in scheme \"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27\""
        )));
    }
    conform(&mut value, node).map_err(|error| {
        Status::bad_request(format!(
            "DeleteOptions in version \"v1\" cannot be handled as a DeleteOptions: {error}"
        ))
    })?;
    Ok(value)
}

/// What a deletion came to.
pub enum Deleted {
    /// Gone; its last state.
    Gone(Value),
    /// Marked, or left to what was under way.
    Marked(Value),
}

pub async fn serve(ctx: &Context, kind: &Arc<Kind>, body: Body) -> Answer {
    let accept = negotiate::accept(&ctx.headers, Offers::Forms)?;
    let text = body::read(body).await?;
    let options = DeleteOptions::read(ctx, &text)?;
    let name = ctx.info.name_in_path();
    let deleted = delete(ctx, kind, &ctx.info.namespace, name, &options).await?;
    match deleted {
        Deleted::Marked(value) => respond::value(ctx, &accept, kind, 200, value),
        Deleted::Gone(value) if kind.flags.returns_deleted => {
            respond::value(ctx, &accept, kind, 200, value)
        }
        Deleted::Gone(value) => success(ctx, &accept, kind, &value),
    }
}

fn success(ctx: &Context, accept: &Accept, kind: &Kind, value: &Value) -> Answer {
    let details = Details {
        name: value.name().into(),
        group: kind.group.into(),
        kind: kind.plural.into(),
        uid: value.uid().into(),
        ..Details::default()
    };
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details.to_value()});
    ctx.value(200, accept, &status)
}

/// Deletes one object as the options say; tries again when the object changes meanwhile.
pub async fn delete(
    ctx: &Context,
    kind: &Arc<Kind>,
    namespace: &str,
    name: &str,
    options: &DeleteOptions,
) -> Result<Deleted, Status> {
    let key = stored::key_of(kind, namespace, name);
    for _ in 0..100 {
        let object = ctx
            .app
            .store
            .get(&key)
            .ok_or_else(|| Status::not_found(kind.group, kind.plural, name))?;
        let live = stored::decoded(kind, &object)?;
        preconditions(kind, name, options, &live)?;
        let mut attributes = Attributes {
            app: &ctx.app,
            kinds: &ctx.kinds,
            kind,
            subresource: "",
            operation: Operation::Delete,
            namespace,
            name,
            object: None,
            old: Some(&live),
            user: &ctx.user,
            dry_run: options.dry_run,
            warnings: Vec::new(),
        };
        admission::admit(ctx, &mut attributes).await?;
        ctx.app.admission.validate(&attributes).await?;
        let plan = plan(kind, &live, options, ctx.app.clock.now());
        if let Some(done) = carry_out(ctx, kind, &object, live, plan, options).await? {
            return Ok(done);
        }
    }
    Err(Status::modified(kind.group, kind.plural, name))
}

fn preconditions(
    kind: &Kind,
    name: &str,
    options: &DeleteOptions,
    live: &Value,
) -> Result<(), Status> {
    let failed = |what: &str, wanted: &str, found: &str, might: &str| {
        // what goes in two steps has a check of its own before
        if kind.strategy.terminate.is_some() {
            let why = format!(
                "Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}"
            );
            return Err(Status::conflict(kind.group, kind.plural, name, &why));
        }
        let why = format!(
            "the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). The object might have been {might}"
        );
        Err(Status::conflict(kind.group, kind.kind, name, &why))
    };
    if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != live.uid()) {
        return failed("UID", uid, live.uid(), "deleted and then recreated");
    }
    if let Some(version) = options
        .resource_version
        .as_deref()
        .filter(|version| *version != live.resource_version())
    {
        return failed(
            "ResourceVersion",
            version,
            live.resource_version(),
            "modified",
        );
    }
    Ok(())
}

/// What is to be done with an object.
#[derive(Debug, PartialEq)]
enum Plan {
    Remove(Value),
    /// It stays, in this form.
    Mark(Value),
    /// Its deletion is under way already.
    Leave,
}

fn plan(kind: &Kind, live: &Value, options: &DeleteOptions, now: Timestamp) -> Plan {
    let mut value = live.clone();
    let finalizers = finalizers_for(kind, live, options);
    if let Some(terminate) = kind.strategy.terminate.filter(|_| !live.is_deleting()) {
        set_finalizers(&mut value, &finalizers);
        value.set_meta("deletionTimestamp", time::seconds(now));
        terminate(&mut value);
        return Plan::Mark(value);
    }
    if (kind.strategy.held)(live) {
        return Plan::Leave;
    }
    let changed = finalizers.iter().map(String::as_str).ne(live.finalizers());
    let graceful = grace(kind, live, options);
    match graceful {
        Grace::Pending if !changed => return Plan::Leave,
        Grace::Seconds(seconds) => mark(&mut value, now, seconds),
        Grace::Pending | Grace::None => {}
    }
    set_finalizers(&mut value, &finalizers);
    if matches!(graceful, Grace::Seconds(_)) {
        return Plan::Mark(value);
    }
    if !finalizers.is_empty() {
        let was_marked = live.is_deleting();
        mark(&mut value, now, 0);
        return if was_marked && value == *live {
            Plan::Leave
        } else {
            Plan::Mark(value)
        };
    }
    if matches!(graceful, Grace::Pending) {
        return Plan::Mark(value);
    }
    Plan::Remove(value)
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Grace {
    /// At once.
    None,
    /// Under way, and not shortened.
    Pending,
    Seconds(i64),
}

fn grace(kind: &Kind, live: &Value, options: &DeleteOptions) -> Grace {
    let Some(default) = kind.strategy.default_grace else {
        return Grace::None;
    };
    // upstream takes a negative grace for one second
    let asked = options
        .grace
        .map(|seconds| if seconds < 0 { 1 } else { seconds });
    if live.is_deleting() {
        let Some(running) = live["metadata"]["deletionGracePeriodSeconds"].as_i64() else {
            return Grace::None;
        };
        return match asked {
            Some(0) => Grace::None,
            Some(seconds) if seconds < running => Grace::Seconds(seconds),
            // an object whose time is up goes when it is asked for again
            _ if running == 0 => Grace::None,
            _ => Grace::Pending,
        };
    }
    match asked.unwrap_or_else(|| default(live)) {
        // what never ran, or has ended, needs no grace
        0 => Grace::None,
        _ if (kind.strategy.skips_grace)(live) => Grace::None,
        seconds => Grace::Seconds(seconds),
    }
}

fn mark(value: &mut Value, now: Timestamp, seconds: i64) {
    let first = !value.is_deleting();
    let generation = value.generation();
    let begun = time::parse(value.meta_str("deletionTimestamp")).ok();
    let had = value["metadata"]["deletionGracePeriodSeconds"]
        .as_i64()
        .unwrap_or(0);
    let after = |from: Timestamp, seconds: i64| {
        from.checked_add(SignedDuration::from_secs(seconds))
            .unwrap_or(from)
    };
    let (at, seconds) = match begun {
        // a shorter grace counts from the beginning, too; when it is over already, a second is left for whoever is to end the object
        Some(end) if seconds > 0 => match after(end, seconds - had) {
            at if at < now => (now, 1),
            at => (at, seconds),
        },
        Some(end) => (end.min(now), seconds),
        None => (after(now, seconds), seconds),
    };
    let meta = value.meta_mut();
    meta.insert("deletionTimestamp".into(), time::seconds(at).into());
    meta.insert("deletionGracePeriodSeconds".into(), seconds.into());
    if first && generation > 0 {
        meta.insert("generation".into(), (generation + 1).into());
    }
}

/// The finalizers that the options leave an object with.
fn finalizers_for(kind: &Kind, live: &Value, options: &DeleteOptions) -> Vec<String> {
    let has = |name: &str| live.finalizers().any(|f| f == name);
    let orphan = match (options.orphan_dependents, options.propagation.as_deref()) {
        (Some(orphan), _) => orphan,
        (_, Some(policy)) => policy == "Orphan",
        _ if has(ORPHAN) => true,
        _ if has(FOREGROUND) => false,
        _ => kind.flags.orphan_by_default,
    };
    let foreground = match (options.orphan_dependents, options.propagation.as_deref()) {
        // only namespaces take "no orphans" for "dependents first"
        (Some(orphan), _) => !orphan && kind.strategy.terminate.is_some() && !live.is_deleting(),
        (_, Some(policy)) => policy == "Foreground",
        _ => has(FOREGROUND) && !has(ORPHAN),
    };
    let mut list: Vec<String> = live
        .finalizers()
        .filter(|f| !matches!(*f, ORPHAN | FOREGROUND))
        .map(str::to_string)
        .collect();
    // what was there keeps its place
    let unchanged = has(ORPHAN) == orphan && has(FOREGROUND) == foreground;
    if unchanged {
        return live.finalizers().map(str::to_string).collect();
    }
    if orphan {
        list.push(ORPHAN.into());
    }
    if foreground {
        list.push(FOREGROUND.into());
    }
    list
}

fn set_finalizers(value: &mut Value, finalizers: &[String]) {
    let meta = value.meta_mut();
    if finalizers.is_empty() {
        meta.remove("finalizers");
    } else {
        meta.insert(
            "finalizers".into(),
            finalizers.iter().map(|f| Value::from(f.as_str())).collect(),
        );
    }
}

async fn carry_out(
    ctx: &Context,
    kind: &Arc<Kind>,
    object: &Arc<Object>,
    live: Value,
    plan: Plan,
    options: &DeleteOptions,
) -> Result<Option<Deleted>, Status> {
    let name = live.name().to_string();
    let expect = Expect::Revision(object.revision);
    match plan {
        Plan::Leave => Ok(Some(Deleted::Marked(live))),
        Plan::Mark(value) if options.dry_run => Ok(Some(Deleted::Marked(value))),
        Plan::Remove(value) if options.dry_run => Ok(Some(Deleted::Gone(value))),
        Plan::Mark(value) => {
            let write = Write {
                key: object.key.clone(),
                expect,
                draft: Some(stored::draft(&ctx.kinds, kind, &value)?),
                last: None,
            };
            match ctx.app.store.commit(write).await {
                Ok(object) => Ok(Some(Deleted::Marked(stored::decoded(kind, &object)?))),
                Err(Error::Conflict(_)) => Ok(None),
                Err(error) => Err(crate::write::store_error(kind, &name, error)),
            }
        }
        Plan::Remove(value) => {
            let last = stored::draft(&ctx.kinds, kind, &value)?;
            match ctx
                .app
                .store
                .commit(Write {
                    key: object.key.clone(),
                    expect,
                    draft: None,
                    last: Some(last),
                })
                .await
            {
                Ok(_) => {
                    allocate::release(ctx, kind, &value).await;
                    Ok(Some(Deleted::Gone(value)))
                }
                Err(Error::Conflict(_)) => Ok(None),
                Err(error) => Err(crate::write::store_error(kind, &name, error)),
            }
        }
    }
}

/// DELETE of a collection.
pub async fn collection(ctx: &Context, kind: &Arc<Kind>, body: Body) -> Answer {
    let accept = negotiate::accept(&ctx.headers, Offers::Forms)?;
    let text = body::read(body).await?;
    let options = DeleteOptions::read(ctx, &text)?;
    let selection = Selection::of(ctx, kind)?;
    let list = ListOptions::of(ctx, kind)?;
    let namespace = Some(ctx.info.namespace.as_str())
        .filter(|namespace| kind.namespaced && !namespace.is_empty());
    let snapshot = super::list::snapshot(ctx, kind, &list).await?;
    let mut items = Vec::new();
    for object in snapshot
        .range(namespace, None)
        .filter(|object| selection.matches(object))
    {
        match delete(ctx, kind, &object.key.namespace, &object.key.name, &options).await {
            Ok(Deleted::Gone(value) | Deleted::Marked(value)) => items.push(value),
            Err(status) if status.code == 404 => {}
            Err(status) => return Err(status),
        }
    }
    for item in &mut items {
        if let Some(item) = item.as_object_mut() {
            item.remove("apiVersion");
            item.remove("kind");
        }
    }
    let revision = snapshot.revision().to_string();
    let list = json!({"kind": format!("{}List", kind.kind), "apiVersion": kind.api_version(), "metadata": {"resourceVersion": revision}, "items": items});
    ctx.value(200, &accept, &list)
}
