//! The one way in which objects are written: admission, what the server sets, validation, managed fields, compare-and-set with retry.
//!
//! Invariant: every object that reaches the store was in canonical form, admitted and valid in the moment of its write.
//! Follows `staging/src/k8s.io/apiserver/pkg/registry/generic/registry/store.go` and `.../registry/rest/{create,update}.go`.

use std::sync::Arc;

use rand::RngExt;
use serde_json::Value;
use skiff_api::{
    kinds::{Generation, Kind, Subresource, UpdateChecks, strategy::path_segment},
    machinery::{
        field::Errors,
        meta::Meta,
        object_meta,
        schema::{as_stored, conform},
        status::Status,
        time,
    },
};
use skiff_storage::{Error, Expect, Key, Object, Write};

use crate::{
    admission::{Attributes, Operation},
    allocate,
    auth::{
        self, Authorizer, Decision,
        authorize::{escalation, forbidden},
    },
    context::Context,
    stored,
};

/// What came of a write: what is stored, or what would have been with `dryRun`.
pub enum Written {
    Stored(Arc<Object>),
    /// Not stored: a dry run, or an object that its last update took away.
    Unstored(Value),
}

/// Which part of an object a write is about.
#[derive(Clone, Copy)]
pub enum Part {
    Whole,
    Sub(&'static Subresource),
}

impl Part {
    pub fn name(self) -> &'static str {
        match self {
            Part::Whole => "",
            Part::Sub(sub) => sub.name(),
        }
    }
}

/// `dryRun=All`, the only value there is.
pub fn dry_run(ctx: &Context) -> Result<bool, Status> {
    let mut dry = false;
    for value in ctx.query.all("dryRun") {
        if value != "All" {
            let mut errors = Errors::default();
            let all: Vec<&str> = ctx.query.all("dryRun").collect();
            errors.not_supported(&skiff_api::machinery::field::Path::new("dryRun"), all, &["All"]);
            return Err(Status::invalid("meta.k8s.io", options_kind(&ctx.info.verb), "", &errors));
        }
        dry = true;
    }
    Ok(dry)
}

fn options_kind(verb: &str) -> &'static str {
    match verb {
        "create" => "CreateOptions",
        "patch" => "PatchOptions",
        "delete" | "deletecollection" => "DeleteOptions",
        _ => "UpdateOptions",
    }
}

/// Maps what the store refused.
pub fn store_error(kind: &Kind, name: &str, error: Error) -> Status {
    match error {
        Error::Exists(_) => Status::already_exists(kind.group, kind.plural, name),
        Error::NotFound => Status::not_found(kind.group, kind.plural, name),
        Error::Conflict(_) => Status::modified(kind.group, kind.plural, name),
        Error::Compacted { .. } => Status::expired("The resourceVersion for the provided list is too old."),
        other => Status::internal(other),
    }
}

/// A name from `generateName`: five random characters, the prefix cut so that the whole is a label.
pub fn generated_name(prefix: &str) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let cut: String = prefix.chars().take(63 - 5).collect();
    let mut rng = rand::rng();
    cut + &(0..5).map(|_| ALPHABET[rng.random_range(0..ALPHABET.len())] as char).collect::<String>()
}

/// Drops owner references that stand twice, with a warning.
fn dedup_owners(ctx: &Context, value: &mut Value) {
    let Some(owners) = value.meta_mut().get_mut("ownerReferences").and_then(Value::as_array_mut) else { return };
    let before = owners.len();
    let mut seen: Vec<Value> = Vec::with_capacity(before);
    owners.retain(|owner| {
        let fresh = !seen.contains(owner);
        if fresh {
            seen.push(owner.clone());
        }
        fresh
    });
    if owners.len() != before {
        ctx.warn(".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests");
    }
}

/// Creates `value`, decoded and with its defaults, in `namespace`; the request's manager owns all of it.
pub async fn create(ctx: &Context, kind: &'static Kind, namespace: &str, mut value: Value) -> Result<Written, Status> {
    for name in ["creationTimestamp", "uid", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
        value.meta_mut().remove(name);
    }
    check_namespace(kind, namespace, &mut value)?;
    dedup_owners(ctx, &mut value);
    crate::managed::track_update(ctx, kind, Part::Whole, &Value::Object(Default::default()), &mut value)?;
    create_tracked(ctx, kind, namespace, value, true).await
}

/// Creates an object whose managed fields are noted already. Unless the request was `authorized` as a creation, the right to create is asked
/// for before admission validates.
async fn create_tracked(ctx: &Context, shown: &'static Kind, namespace: &str, mut value: Value, authorized: bool) -> Result<Written, Status> {
    let dry = dry_run(ctx)?;
    let kind = shown.worked_on_as();
    shown.convert(&mut value, kind);
    let name = value.name().to_string();
    let mut attributes = Attributes {
        app: &ctx.app,
        kind,
        subresource: "",
        operation: Operation::Create,
        namespace,
        name: &name,
        object: Some(value),
        old: None,
        user: &ctx.user,
        dry_run: dry,
        warnings: Vec::new(),
    };
    let admitted = ctx.app.admission.admit(&mut attributes).await;
    std::mem::take(&mut attributes.warnings).into_iter().for_each(|text| ctx.warn(text));
    admitted?;
    let mut value = attributes.object.take().unwrap_or_default();

    let generate = !value.meta_str("generateName").is_empty() && value.name().is_empty();
    let mut attempts = if generate { 8 } else { 1 };
    for warning in (kind.strategy.early_warnings)(&value) {
        ctx.warn(warning);
    }
    (kind.strategy.prepare_for_create)(&mut value);
    if kind.strategy.has_status && !kind.strategy.keeps_status_on_create {
        clear_status(kind, &mut value);
    }
    stamp(ctx, kind, &mut value, None);
    set_system_fields(ctx, kind, &mut value);
    loop {
        attempts -= 1;
        if generate {
            let name = generated_name(value.meta_str("generateName"));
            value.set_meta("name", name);
        }
        (kind.strategy.after_system_fields)(&mut value);
        let allocation = allocate::on_create(ctx, kind, &mut value, dry)?;
        validate_create(kind, &value)?;
        let name = value.name().to_string();
        escalation(ctx, kind, &value, None)?;
        if !authorized {
            may_create(ctx)?;
        }
        let checked = Attributes { name: &name, object: Some(value), warnings: Vec::new(), ..attributes.without_object() };
        let admitted = ctx.app.admission.validate(&checked).await;
        value = checked.object.unwrap_or_default();
        admitted?;
        for warning in (kind.strategy.warnings)(&value, None) {
            ctx.warn(warning);
        }
        warn_of_no_effect(ctx, kind, &value);
        let key = stored::key_of(kind, namespace, &name);
        if dry {
            return match ctx.app.store.get(&key) {
                Some(_) => Err(Status::already_exists(kind.group, kind.plural, &name)),
                None => {
                    as_stored(&mut value, kind.node());
                    kind.convert(&mut value, shown);
                    Ok(Written::Unstored(value))
                }
            };
        }
        // a question of the store, which a dry run does not come to
        if !value.resource_version().is_empty() {
            return Err(Status::internal_plain("resourceVersion should not be set on objects to be created"));
        }
        settle(shown, kind, &mut value);
        let draft = stored::draft(kind, &value)?;
        match ctx.app.store.commit(Write { key, expect: Expect::Absent, draft: Some(draft), last: None }).await {
            Ok(object) => {
                allocation.keep();
                if allocate::is_service(kind) {
                    crate::addresses::follow(&ctx.app, &value, &Value::Null).await;
                }
                return Ok(Written::Stored(object));
            }
            Err(Error::Exists(_)) if attempts > 0 => {}
            Err(error) => return Err(store_error(kind, &name, error)),
        }
    }
}

/// Nobody is to rely on what is only stored.
fn warn_of_no_effect(ctx: &Context, kind: &Kind, value: &Value) {
    if let Some(told) = (kind.strategy.without_effect)(value).filter(|_| ctx.app.warns_of_no_effect) {
        ctx.warn(told);
    }
}

/// What was worked on in another form than the client's has not seen the defaults of that form, which reading it gives.
fn settle(shown: &Kind, kind: &Kind, value: &mut Value) {
    if !std::ptr::eq(shown, kind) {
        (kind.strategy.defaults)(value);
    }
}

/// PUT and apply of what is absent need the right to create, too.
fn may_create(ctx: &Context) -> Result<(), Status> {
    let asked = auth::Attributes { verb: "create".into(), ..crate::app::attributes(ctx) };
    match ctx.app.authorizers.authorize(&asked) {
        Decision::Allow(_) => Ok(()),
        decision => Err(forbidden(&asked, decision.reason())),
    }
}

/// The namespace of the body is that of the path, or absent.
pub fn check_namespace(kind: &Kind, namespace: &str, value: &mut Value) -> Result<(), Status> {
    if !kind.namespaced {
        // what stands in no namespace is not asked where it stands
        value.set_meta("namespace", "");
        return Ok(());
    }
    let given = value.namespace();
    if given.is_empty() {
        value.set_meta("namespace", namespace);
        return Ok(());
    }
    if given != namespace {
        return Err(Status::bad_request("the namespace of the provided object does not match the namespace sent on the request"));
    }
    Ok(())
}

/// Nobody grants by a role or binding what they may not do themselves.
fn escalation(ctx: &Context, kind: &Kind, new: &Value, old: Option<&Value>) -> Result<(), Status> {
    let Some(of) = escalation::Kind::of(kind.plural).filter(|_| kind.group == "rbac.authorization.k8s.io") else { return Ok(()) };
    let request_name = if old.is_some() { new.name() } else { "" };
    let write = escalation::Write { kind: of, user: &ctx.user, namespace: new.namespace(), request_name, new, old };
    escalation::check(&ctx.app.authorizers, &write)
}

fn clear_status(kind: &Kind, value: &mut Value) {
    if let Some(object) = value.as_object_mut() {
        object.remove("status");
    }
    // the zero status that Go would write
    let _ = conform(value, kind.node());
}

fn stamp(ctx: &Context, kind: &Kind, new: &mut Value, old: Option<&Value>) {
    if let Some(stamp) = kind.strategy.stamp {
        let user = serde_json::to_value(&ctx.user).unwrap_or_default();
        stamp(new, old, &skiff_api::kinds::Stamp { now: &time::seconds(ctx.app.clock.now()), user: &user });
    }
}

fn set_system_fields(ctx: &Context, kind: &Kind, value: &mut Value) {
    let now = time::seconds(ctx.app.clock.now());
    let meta = value.meta_mut();
    meta.insert("creationTimestamp".into(), now.into());
    meta.insert("uid".into(), uuid::Uuid::new_v4().to_string().into());
    if matches!(kind.strategy.generation, Generation::Once | Generation::Counted) {
        meta.insert("generation".into(), 1.into());
    }
}

fn validate_create(kind: &Kind, value: &Value) -> Result<(), Status> {
    let mut errors = object_meta::validate(value, kind.namespaced, kind.strategy.validate_name);
    errors.extend(standard_finalizers(kind, value));
    errors.extend((kind.strategy.validate)(value));
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid(kind.group, kind.kind, value.name(), &errors)) }
}

/// What a write makes of the live object, managed fields included. Called again when another write came between.
pub type Compute<'c> = &'c mut (dyn FnMut(Option<&Value>) -> Result<Value, Status> + Send);

/// How an update treats what it finds.
pub struct Update {
    pub part: Part,
    /// PUT and apply make what is absent, where the kind allows it.
    pub create: bool,
    /// `Some`: the version that the client saw; another one is a conflict.
    pub uid: Option<String>,
    pub resource_version: Option<String>,
}

impl Update {
    pub fn of(part: Part) -> Update {
        Update { part, create: false, uid: None, resource_version: None }
    }
}

/// Reads, computes, checks, writes; again when the object changed meanwhile. The flag tells that it was created.
pub async fn update(ctx: &Context, kind: &'static Kind, namespace: &str, name: &str, how: Update, compute: Compute<'_>) -> Result<(Written, bool), Status> {
    let dry = dry_run(ctx)?;
    let key = stored::key_of(kind, namespace, name);
    for _ in 0..100 {
        let Some(object) = ctx.app.store.get(&key) else {
            if !how.create {
                return Err(Status::not_found(kind.group, kind.plural, name));
            }
            let mut value = compute(None)?;
            check_namespace(kind, namespace, &mut value)?;
            dedup_owners(ctx, &mut value);
            return create_tracked(ctx, kind, namespace, value, false).await.map(|written| (written, true));
        };
        let live = stored::decoded(kind, &object)?;
        check_preconditions(kind, &key, &how, &live, dry)?;
        let new = compute(Some(&live))?;
        match attempt(ctx, kind, &key, &object, &live, new, how.part, dry).await? {
            Some(written) => return Ok((written, false)),
            None => continue,
        }
    }
    Err(Status::modified(kind.group, kind.plural, name))
}

fn check_preconditions(kind: &Kind, key: &Key, how: &Update, live: &Value, dry: bool) -> Result<(), Status> {
    let failed = |what: &str, wanted: &str, found: &str| {
        let place = stored::etcd_place(key, dry);
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: {place}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}"
        );
        Err(Status::conflict(kind.group, kind.plural, &key.name, &why))
    };
    if let Some(uid) = how.uid.as_deref().filter(|uid| *uid != live.uid()) {
        return failed("UID", uid, live.uid());
    }
    if let Some(version) = how.resource_version.as_deref().filter(|version| *version != live.resource_version()) {
        return failed("ResourceVersion", version, live.resource_version());
    }
    Ok(())
}

/// One try; `None` when the object changed since it was read.
#[allow(clippy::too_many_arguments, reason = "one caller; a struct would only rename them")]
async fn attempt(
    ctx: &Context,
    shown: &'static Kind,
    key: &Key,
    object: &Arc<Object>,
    live: &Value,
    mut new: Value,
    part: Part,
    dry: bool,
) -> Result<Option<Written>, Status> {
    let kind = shown.worked_on_as();
    let other_form;
    let live = if std::ptr::eq(shown, kind) {
        live
    } else {
        shown.convert(&mut new, kind);
        other_form = stored::decoded(kind, object)?;
        &other_form
    };
    check_namespace(kind, &key.namespace, &mut new)?;
    dedup_owners(ctx, &mut new);
    let given_version = new.resource_version().to_string();
    let unconditional = match given_version.as_str() {
        "" => true,
        text => text.parse::<u64>().map_err(|_| Status::internal_plain(format!("strconv.ParseUint: parsing {text:?}: invalid syntax")))? == 0,
    };
    let namespace = key.namespace.clone();
    let mut attributes = Attributes {
        app: &ctx.app,
        kind,
        subresource: part.name(),
        operation: Operation::Update,
        namespace: &namespace,
        name: &key.name,
        object: Some(new),
        old: Some(live),
        user: &ctx.user,
        dry_run: dry,
        warnings: Vec::new(),
    };
    let admitted = ctx.app.admission.admit(&mut attributes).await;
    std::mem::take(&mut attributes.warnings).into_iter().for_each(|text| ctx.warn(text));
    admitted?;
    let mut new = attributes.object.take().unwrap_or_default();

    if unconditional && !kind.strategy.allow_unconditional_update {
        let mut errors = Errors::default();
        errors.invalid(&skiff_api::machinery::field::Path::new("metadata").child("resourceVersion"), 0, "must be specified for an update");
        return Err(Status::invalid(kind.group, kind.plural, &key.name, &errors));
    }
    if !unconditional && given_version != live.resource_version() {
        return Err(Status::modified(kind.group, kind.plural, &key.name));
    }
    new.set_meta("resourceVersion", live.resource_version());
    prepare_update(kind, part, &mut new, live);
    stamp(ctx, kind, &mut new, Some(live));
    let allocation = allocate::on_update(ctx, kind, &mut new, live, dry)?;
    validate_update(kind, part, &new, live)?;
    escalation(ctx, kind, &new, Some(live))?;
    attributes.object = Some(new);
    let admitted = ctx.app.admission.validate(&attributes).await;
    let mut new = attributes.object.take().unwrap_or_default();
    admitted?;
    if matches!(part, Part::Whole) {
        for warning in (kind.strategy.warnings)(&new, Some(live)) {
            ctx.warn(warning);
        }
        warn_of_no_effect(ctx, kind, &new);
    }
    if dry {
        as_stored(&mut new, kind.node());
        kind.convert(&mut new, shown);
        return Ok(Some(Written::Unstored(new)));
    }
    settle(shown, kind, &mut new);
    let removal = ends_deletion(kind, &new, live);
    if !removal && same_but_for_times(&new, live) {
        return Ok(Some(Written::Stored(object.clone())));
    }
    // watchers of what goes are shown what was stored before
    let (draft, last) = if removal { (None, Some(stored::draft(kind, live)?)) } else { (Some(stored::draft(kind, &new)?), None) };
    match ctx.app.store.commit(Write { key: key.clone(), expect: Expect::Revision(object.revision), draft, last }).await {
        Ok(object) => {
            allocation.keep();
            if removal {
                allocate::release(ctx, kind, &new).await;
                // the answer is the object as it was sent, not the removal's revision
                kind.convert(&mut new, shown);
                return Ok(Some(Written::Unstored(new)));
            }
            if allocate::is_service(kind) {
                crate::addresses::follow(&ctx.app, &new, live).await;
            }
            Ok(Some(Written::Stored(object)))
        }
        // computed anew over what stands now: a client that said which version it saw is told of the conflict then
        Err(Error::Conflict(_) | Error::NotFound) => Ok(None),
        Err(error) => Err(store_error(kind, &key.name, error)),
    }
}

/// What was being deleted and has nothing left to wait for goes with this write, whichever part of the object it is about.
fn ends_deletion(kind: &Kind, new: &Value, live: &Value) -> bool {
    let grace = live["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    live.is_deleting() && grace == 0 && new.finalizers().next().is_none() && !(kind.strategy.held)(new)
}

/// Nothing changed but the times of managed fields.
fn same_but_for_times(new: &Value, live: &Value) -> bool {
    if new == live {
        return true;
    }
    let strip = |value: &Value| {
        let mut value = value.clone();
        if let Some(entries) = value.meta_mut().get_mut("managedFields").and_then(Value::as_array_mut) {
            for entry in entries {
                if let Some(entry) = entry.as_object_mut() {
                    entry.remove("time");
                }
            }
        }
        value
    };
    // cheap refusals first: the spec differs in most writes that are writes
    let others = |value: &Value| value.as_object().map(|o| o.iter().filter(|(k, _)| *k != "metadata").map(|(k, v)| (k.clone(), v.clone())).collect::<Vec<_>>());
    others(new) == others(live) && strip(new)["metadata"] == strip(live)["metadata"]
}

fn prepare_update(kind: &Kind, part: Part, new: &mut Value, live: &Value) {
    let keep = |new: &mut Value, name: &str| {
        let kept = live.meta().and_then(|m| m.get(name)).cloned();
        match kept {
            Some(value) => {
                new.meta_mut().insert(name.into(), value);
            }
            None => {
                new.meta_mut().remove(name);
            }
        }
    };
    keep(new, "generation");
    for name in ["uid", "creationTimestamp"] {
        if new.meta_str(name).is_empty() {
            keep(new, name);
        }
    }
    // a deletion once begun is not taken back, and its grace is not changed by an update
    if live.is_deleting() {
        keep(new, "deletionTimestamp");
        keep(new, "deletionGracePeriodSeconds");
    }
    let status = |new: &mut Value, from: &Value| {
        let object = new.as_object_mut();
        match (object, from.get("status")) {
            (Some(object), Some(status)) => {
                object.insert("status".into(), status.clone());
            }
            (Some(object), None) => {
                object.remove("status");
            }
            _ => {}
        }
    };
    match part {
        Part::Sub(Subresource::Status) => {
            let mut base = live.clone();
            if let Some(base) = base.as_object_mut() {
                base.insert("metadata".into(), new["metadata"].clone());
            }
            status(&mut base, new);
            *new = base;
            (kind.strategy.prepare_for_status_update)(new, live);
        }
        Part::Sub(sub) => {
            if let Some(rules) = kind.strategy.part(sub.name()) {
                (rules.prepare)(new, live);
            }
        }
        Part::Whole => {
            if kind.strategy.has_status {
                status(new, live);
            }
            (kind.strategy.prepare_for_update)(new, live);
        }
    }
    let _ = conform(new, kind.node());
    if matches!(kind.strategy.generation, Generation::Counted | Generation::CountedFromZero)
        && !matches!(part, Part::Sub(Subresource::Status | Subresource::Binding))
        && desired_differs(kind, new, live)
    {
        new.set_meta("generation", live.generation() + 1);
    }
}

/// Something besides metadata and status changed.
fn desired_differs(kind: &Kind, new: &Value, live: &Value) -> bool {
    let of_meta = |value: &Value, name: &str| value.meta().and_then(|meta| meta.get(name)).cloned();
    for (name, counts) in [("annotations", kind.strategy.annotations_are_desired), ("labels", kind.strategy.labels_are_desired)] {
        if counts && of_meta(new, name) != of_meta(live, name) {
            return true;
        }
    }
    let desired = |value: &Value| {
        value
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(k, _)| !matches!(k.as_str(), "metadata" | "status" | "apiVersion" | "kind"))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect::<Vec<_>>()
    };
    desired(new) != desired(live)
}

fn standard_finalizers(kind: &Kind, value: &Value) -> Errors {
    if kind.strategy.any_finalizers { Errors::default() } else { object_meta::standard_finalizers(value) }
}

fn validate_update(kind: &Kind, part: Part, new: &Value, live: &Value) -> Result<(), Status> {
    let mut errors = object_meta::validate(new, kind.namespaced, path_segment);
    errors.extend(object_meta::validate_update(new, live));
    let checks = if matches!(part, Part::Whole) { kind.strategy.update_checks } else { UpdateChecks::Update };
    if checks != UpdateChecks::New {
        errors.extend(object_meta::validate_update(new, live));
        errors.extend(standard_finalizers(kind, new));
    }
    if checks != UpdateChecks::Update {
        errors.extend(object_meta::validate(new, kind.namespaced, kind.strategy.validate_name));
        errors.extend(standard_finalizers(kind, new));
    }
    errors.extend(match part {
        Part::Sub(Subresource::Status) => (kind.strategy.validate_status_update)(new, live),
        Part::Sub(sub) if kind.strategy.part(sub.name()).is_some() => {
            kind.strategy.part(sub.name()).map_or_else(Errors::default, |rules| (rules.validate)(new, live))
        }
        _ => (kind.strategy.validate_update)(new, live),
    });
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid(kind.group, kind.kind, new.name(), &errors)) }
}
