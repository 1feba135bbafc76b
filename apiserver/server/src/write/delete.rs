//! Deletion of one object: grace, finalizers, propagation, preconditions.
//!
//! Invariant: an object with finalizers or grace is marked and stays; it goes when both are used up, in the same write that used them up.
//! Follows `staging/src/k8s.io/apiserver/pkg/registry/rest/delete.go` and `.../registry/generic/registry/store.go`.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use skiff_api::{
    kinds::Kind,
    machinery::{
        field::{Errors, Path},
        meta::Meta,
        read::Read,
        status::Status,
        time,
    },
};
use skiff_storage::{Error, Expect, Object, Write};

use super::{call::Call, steps::store_error};
use crate::{
    admission::{Given, Operation},
    stored,
};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

#[derive(Default, Clone, Debug)]
pub struct DeleteOptions {
    grace: Option<i64>,
    uid: Option<String>,
    resource_version: Option<String>,
    pub orphan_dependents: Option<bool>,
    propagation: Option<String>,
    dry_run: bool,
}

impl DeleteOptions {
    pub fn dry_run(&self) -> bool {
        self.dry_run
    }
    /// The same, but what is empty is asked for by nobody (evictions).
    pub fn meant(&self) -> DeleteOptions {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        DeleteOptions {
            uid: given(&self.uid),
            resource_version: given(&self.resource_version),
            ..self.clone()
        }
    }
    /// The options as they are of an object: who does not say how much time it is to have means what its kind says.
    fn to_value(&self, kind: &Kind, live: &Value) -> Value {
        let mut value = json!({});
        let text = |text: &Option<String>| text.clone().map(Value::from);
        let preconditions: Map<String, Value> = [
            ("uid", text(&self.uid)),
            ("resourceVersion", text(&self.resource_version)),
        ]
        .into_iter()
        .filter_map(|(name, said)| Some((name.to_string(), said?)))
        .collect();
        let grace = match (self.grace, grace(kind, live, self)) {
            (_, Grace::Seconds(seconds)) => Some(seconds),
            (_, Grace::Over) => Some(0),
            (None, Grace::None) if kind.strategy.default_grace.is_some() => Some(0),
            (asked, _) => asked,
        };
        for (name, said) in [
            ("gracePeriodSeconds", grace.map(Value::from)),
            (
                "preconditions",
                Some(preconditions.into()).filter(|said: &Value| *said != json!({})),
            ),
            ("orphanDependents", self.orphan_dependents.map(Value::from)),
            ("propagationPolicy", text(&self.propagation)),
        ] {
            if let Some(said) = said {
                value[name] = said;
            }
        }
        value
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

    /// What whoever deletes objects of the kind with these options is told.
    pub fn warning(&self, kind: &Kind) -> Option<&'static str> {
        let silent = self.propagation.is_none() && self.orphan_dependents.is_none();
        (kind.flags.warns_of_orphans && silent).then_some(
            "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning",
        )
    }

    pub fn from_value(value: &Value) -> Result<DeleteOptions, Status> {
        let text = |value: &Value| value.as_str().map(str::to_string);
        let options = DeleteOptions {
            grace: value.int_ptr("gracePeriodSeconds"),
            uid: text(value.at("preconditions").at("uid")),
            resource_version: text(value.at("preconditions").at("resourceVersion")),
            orphan_dependents: value.flag_ptr("orphanDependents"),
            propagation: text(value.at("propagationPolicy")),
            dry_run: value
                .at("dryRun")
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
        if value
            .at("dryRun")
            .as_array()
            .is_some_and(|list| list.iter().any(|v| v != "All"))
        {
            errors.not_supported(&Path::new("dryRun"), value.at("dryRun").clone(), &["All"]);
        }
        if errors.is_empty() {
            Ok(options)
        } else {
            Err(Status::invalid("meta.k8s.io", "DeleteOptions", "", &errors))
        }
    }
}

/// What a deletion came to.
pub enum Deleted {
    /// Gone; its last state.
    Gone(Value),
    /// Marked, or left to what was under way.
    Marked(Value),
}

/// Deletes one object as the options say; tries again when the object changes meanwhile.
pub async fn delete(
    call: &Call<'_>,
    kind: &Arc<Kind>,
    namespace: &str,
    name: &str,
    options: &DeleteOptions,
) -> Result<Deleted, Status> {
    let key = stored::named(kind, namespace, name)?;
    let mut ended = None;
    for _ in 0..100 {
        let Some(object) = call.store().get(&key) else {
            return gone(ended, kind, name);
        };
        let live = call.read(kind, &object).await?;
        preconditions(kind, name, options, &live)?;
        // who deletes many names none
        let named = if call.asked.verb == "deletecollection" {
            ""
        } else {
            name
        };
        let given = || options.to_value(kind, &live);
        let mut attributes = call.attributes(kind, "", Operation::Delete, (namespace, named));
        attributes.old = Some(&live);
        attributes.dry_run = options.dry_run;
        attributes.given = Given::Delete(&given);
        call.admit(&mut attributes).await?;
        call.check(&attributes).await?;
        let plan = plan(kind, &live, options, call.now());
        if let Some(done) = carry_out(call, kind, &object, live, plan, options, &mut ended).await? {
            return Ok(done);
        }
    }
    Err(Status::modified(kind.group, kind.plural, name))
}

/// Of what is not there, or no more: who marked its end has deleted it, whoever removed it then.
fn gone(ended: Option<Value>, kind: &Kind, name: &str) -> Result<Deleted, Status> {
    let last = ended.map(Deleted::Gone);
    last.ok_or_else(|| Status::not_found(kind.group, kind.plural, name))
}

/// The object is the one that the options speak of.
pub fn preconditions(
    kind: &Kind,
    name: &str,
    options: &DeleteOptions,
    live: &Value,
) -> Result<(), Status> {
    let checks = [
        (
            "UID",
            &options.uid,
            live.uid(),
            "deleted and then recreated",
        ),
        (
            "ResourceVersion",
            &options.resource_version,
            live.resource_version(),
            "modified",
        ),
    ];
    let Some((what, Some(wanted), found, might)) = checks
        .into_iter()
        .find(|(_, wanted, found, _)| wanted.as_deref().is_some_and(|wanted| wanted != *found))
    else {
        return Ok(());
    };
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
}

/// What is to be done with an object.
#[derive(Debug, PartialEq)]
enum Plan {
    Remove(Value),
    /// It is marked in this form, as if it had some time left, and removed thereafter: whoever watches sees both.
    End(Value),
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
        // its last state says that it was deleted, and that no time was left to it
        Grace::Over => mark(&mut value, now, 0),
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
    match graceful {
        Grace::Pending => Plan::Mark(value),
        Grace::Over => Plan::End(value),
        Grace::Seconds(_) | Grace::None => Plan::Remove(value),
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Grace {
    /// At once.
    None,
    /// At once, of a kind whose objects may have some.
    Over,
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
        let Some(running) = live.at("metadata").int_ptr("deletionGracePeriodSeconds") else {
            return Grace::None;
        };
        return match asked {
            // an object whose time is up goes when it is asked for again
            _ if running == 0 => Grace::None,
            Some(0) => Grace::Over,
            Some(seconds) if seconds < running => Grace::Seconds(seconds),
            _ => Grace::Pending,
        };
    }
    match asked.unwrap_or_else(|| default(live)) {
        // what never ran, or has ended, needs no grace
        0 => Grace::Over,
        _ if (kind.strategy.skips_grace)(live) => Grace::Over,
        seconds => Grace::Seconds(seconds),
    }
}

fn mark(value: &mut Value, now: Timestamp, seconds: i64) {
    let first = !value.is_deleting();
    let generation = value.generation();
    let begun = time::parse(value.meta_str("deletionTimestamp")).ok();
    let had = value.at("metadata").int("deletionGracePeriodSeconds");
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

/// Marks an object that ends, before it is removed: its revision then, or nothing where somebody else was first.
async fn mark_ending(
    call: &Call<'_>,
    kind: &Arc<Kind>,
    object: &Object,
    value: &Value,
) -> Result<Option<u64>, Status> {
    let write = Write {
        key: object.key.clone(),
        expect: Expect::Revision(object.revision),
        draft: Some(call.draft(kind, value).await?),
        last: None,
    };
    match call.writer.core.commit(write).await {
        Ok(marked) => Ok(Some(marked.revision)),
        Err(Error::Conflict(_) | Error::NotFound) => Ok(None),
        Err(error) => Err(store_error(kind, value.name(), error)),
    }
}

/// Does what is planned; nothing where somebody else was first. What it marked as ending is put into `ended`.
async fn carry_out(
    call: &Call<'_>,
    kind: &Arc<Kind>,
    object: &Arc<Object>,
    live: Value,
    plan: Plan,
    options: &DeleteOptions,
    ended: &mut Option<Value>,
) -> Result<Option<Deleted>, Status> {
    let mut revision = object.revision;
    let (value, removal) = match plan {
        Plan::Leave => return Ok(Some(Deleted::Marked(live))),
        Plan::Mark(value) if options.dry_run => return Ok(Some(Deleted::Marked(value))),
        Plan::Remove(value) | Plan::End(value) if options.dry_run => {
            return Ok(Some(Deleted::Gone(value)));
        }
        Plan::Mark(value) => (value, false),
        Plan::Remove(value) => (value, true),
        Plan::End(value) => {
            let Some(marked) = mark_ending(call, kind, object, &value).await? else {
                return Ok(None);
            };
            revision = marked;
            *ended = Some(value.clone());
            (value, true)
        }
    };
    let draft = call.draft(kind, &value).await?;
    let (draft, last) = if removal {
        (None, Some(draft))
    } else {
        (Some(draft), None)
    };
    let write = Write {
        key: object.key.clone(),
        expect: Expect::Revision(revision),
        draft,
        last,
    };
    match call.writer.core.commit(write).await {
        Ok(_) if removal => {
            if kind.flags.takes_addresses {
                call.writer.allocator.free(&value);
                (call.writer.follow)(call.writer, &Value::Null, &value).await;
            }
            Ok(Some(Deleted::Gone(value)))
        }
        Ok(object) => Ok(Some(Deleted::Marked(call.read(kind, &object).await?))),
        Err(Error::Conflict(_) | Error::NotFound) => Ok(None),
        Err(error) => Err(store_error(kind, live.name(), error)),
    }
}
