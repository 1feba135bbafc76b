//! Updates of an object or a part of it: read, compute, admit, prepare, validate, compare-and-set, and again when another write came between.
//!
//! Invariant: what is being deleted and has nothing left to wait for goes with the write that saw it so, whichever part that was about.
//! Follows `staging/src/k8s.io/apiserver/pkg/registry/rest/update.go`.

use std::sync::Arc;

use serde_json::Value;
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::{
    kinds::{Kind, Subresource, UpdateCheck, UpdateChecks, flags::path_segment},
    machinery::{
        field::{Errors, Path},
        meta::Meta,
        object_meta,
        read::Read,
        status::Status,
    },
};
use skiff_storage::{Error, Expect, Key, Object, Write};

use super::{
    call::{Call, Part, Written},
    create::create_tracked,
    devices,
    difference::same_but_for_times,
    params,
    prepare::prepare,
    steps::{
        Owners, check_namespace, dedup_owners, escalation, name_problems, refused, settle, stamp,
        standard_finalizers, store_error, take_addresses, unconverted, unstored,
    },
};
use crate::{
    admission::{Compute, Operation},
    allocate::Allocation,
    stored,
};

/// How an update treats what it finds.
pub struct Update<'a> {
    pub part: Part,
    /// PUT and apply make what is absent, where the kind allows it.
    pub create: bool,
    /// `Some`: the version that the client saw; another one is a conflict.
    pub uid: Option<String>,
    pub resource_version: Option<String>,
    /// What admission sees in the place of the object, where the part has a kind of its own.
    pub seen: Option<&'a dyn Seen>,
}

impl Update<'_> {
    pub fn of(part: Part) -> Update<'static> {
        Update {
            part,
            create: false,
            uid: None,
            resource_version: None,
            seen: None,
        }
    }
}

/// A part of objects that has a kind of its own (`Scale`).
pub trait Seen: Sync {
    /// The part as an object.
    fn show(&self, object: &Value) -> Result<Value, Status>;
    /// Takes into the object what became of the part.
    fn take(&self, object: &mut Value, part: &Value);
}

/// Reads, computes, checks, writes; again when the object changed meanwhile. The flag tells that it was created.
pub async fn update(
    call: &Call<'_>,
    kind: &Arc<Kind>,
    namespace: &str,
    name: &str,
    how: Update<'_>,
    compute: Compute<'_>,
) -> Result<(Written, bool), Status> {
    let dry = call.options.dry_run;
    let key = stored::named(kind, namespace, name)?;
    let attempt = Attempt {
        call,
        shown: kind,
        kind: call.kinds.worked_on_as(kind),
        key: &key,
        part: how.part,
        seen: how.seen,
    };
    for _ in 0..100 {
        let Some(object) = call.store().get(&key) else {
            if !how.create {
                return Err(Status::not_found(kind.group, kind.plural, name));
            }
            let mut value = call.computed(None, &mut *compute).await?;
            check_namespace(kind, namespace, &mut value)?;
            dedup_owners(call, &mut value, Owners::Sent);
            return create_tracked(call, kind, namespace, value, false)
                .await
                .map(|written| (written, true));
        };
        let live = call.read(kind, &object).await?;
        check_preconditions(kind, &key, &how, &live, dry)?;
        let new = call.computed(Some(&live), &mut *compute).await?;
        match attempt.run(&object, live, new).await? {
            Some(written) => return Ok((written, false)),
            None => continue,
        }
    }
    Err(Status::modified(kind.group, kind.plural, name))
}

fn check_preconditions(
    kind: &Kind,
    key: &Key,
    how: &Update<'_>,
    live: &Value,
    dry: bool,
) -> Result<(), Status> {
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
    if let Some(version) = how
        .resource_version
        .as_deref()
        .filter(|version| *version != live.resource_version())
    {
        return failed("ResourceVersion", version, live.resource_version());
    }
    Ok(())
}

/// What stays the same from one try of an update to the next.
struct Attempt<'a> {
    call: &'a Call<'a>,
    /// The kind that the client knows, and the one that is worked on.
    shown: &'a Arc<Kind>,
    kind: &'a Arc<Kind>,
    key: &'a Key,
    part: Part,
    seen: Option<&'a dyn Seen>,
}

impl Attempt<'_> {
    /// One try; `None` when the object changed since it was read.
    async fn run(
        &self,
        object: &Arc<Object>,
        mut live: Value,
        mut new: Value,
    ) -> Result<Option<Written>, Status> {
        let Attempt {
            call,
            shown,
            kind,
            key,
            part,
            seen,
        } = *self;
        if !Arc::ptr_eq(shown, kind) {
            shown.convert(&mut new, kind).map_err(unconverted)?;
            live = stored::decoded(kind, object)?;
        }
        let live = &live;
        check_namespace(kind, &key.namespace, &mut new)?;
        dedup_owners(call, &mut new, Owners::Sent);
        let seen_at = seen_version(&new)?;
        let at = (&*key.namespace, &*key.name);
        let mut attributes = call.attributes(kind, part.name(), Operation::Update, at);
        attributes.asked = shown;
        let old = seen.map(|seen| seen.show(live)).transpose()?;
        attributes.old = Some(old.as_ref().unwrap_or(live));
        attributes.object = Some(self.seen(&mut new)?);
        call.admit(&mut attributes).await?;
        self.take(&mut new, attributes.taken()?);
        dedup_owners(call, &mut new, Owners::Admitted);
        // whoever was asked may have changed it
        check_namespace(kind, &key.namespace, &mut new)?;
        escalation(call, kind, &new, Some(live)).await?;

        check_version(kind, &key.name, seen_at.as_deref(), live)?;
        new.set_meta("resourceVersion", live.resource_version());
        new.meta_mut().remove("selfLink");
        prepare(kind, part, &mut new, live, call.emptied)?;
        stamp(call, kind, &mut new, Some(live))?;
        let allocation = take_addresses(call, kind, &mut new, Some(live))?;
        validate(call, kind, part, &new, live).await?;
        let warnings = match part {
            // a new count of replicas is a new generation of the whole
            Part::Whole | Part::Sub(Subresource::Scale) => kind.warnings(&new, Some(live)),
            Part::Sub(Subresource::Status) => (kind.strategy.status_warnings)(&new),
            Part::Sub(_) => Vec::new(),
        };
        for warning in warnings {
            call.warnings.add(warning);
        }
        attributes.object = Some(self.seen(&mut new)?);
        call.check(&attributes).await?;
        if seen.is_none() {
            new = attributes.taken()?;
        }
        if call.options.dry_run {
            return unstored(call, shown, kind, new).await.map(Some);
        }
        self.store(object, live, new, allocation).await
    }

    /// What admission sees of the object: itself, which is taken, or the part that has a kind of its own.
    fn seen(&self, new: &mut Value) -> Result<Value, Status> {
        match self.seen {
            Some(seen) => seen.show(new),
            None => Ok(new.take()),
        }
    }

    /// The object with what admission made of what it saw.
    fn take(&self, new: &mut Value, admitted: Value) {
        match self.seen {
            Some(seen) => seen.take(new, &admitted),
            None => *new = admitted,
        }
    }

    /// Writes, or removes what this update left nothing to wait for.
    async fn store(
        &self,
        object: &Arc<Object>,
        live: &Value,
        mut new: Value,
        allocation: Option<Allocation>,
    ) -> Result<Option<Written>, Status> {
        let Attempt {
            call,
            shown,
            kind,
            key,
            ..
        } = *self;
        settle(shown, kind, &mut new);
        let removal = ends_deletion(kind, &new, live);
        if !removal
            && same_but_for_times(&new, live)
            && !call.store().is_stale(object)
            && stored::is_current(call.kinds.stored_row(kind), object)?
        {
            return Ok(Some(Written::Stored(object.clone())));
        }
        // watchers of what goes are shown what was stored before
        let (draft, last) = if removal {
            (None, Some(call.draft(kind, live).await?))
        } else {
            (Some(call.draft(kind, &new).await?), None)
        };
        let write = Write {
            key: key.clone(),
            expect: Expect::Revision(object.revision),
            draft,
            last,
        };
        match call.writer.core.commit(write).await {
            Ok(object) => {
                if let Some(allocation) = allocation {
                    allocation.keep();
                    let writer = call.writer;
                    if removal {
                        writer.allocator.free(&new);
                        (writer.follow)(writer, &Value::Null, &new).await;
                    } else {
                        (writer.follow)(writer, &new, live).await;
                    }
                }
                if removal {
                    // the answer is the object as it was sent, not the removal's revision
                    kind.convert(&mut new, shown).map_err(unconverted)?;
                    return Ok(Some(Written::Unstored(new)));
                }
                Ok(Some(Written::Stored(object)))
            }
            // computed anew over what stands now: a client that said which version it saw is told of the conflict then
            Err(Error::Conflict(_) | Error::NotFound) => Ok(None),
            Err(error) => Err(store_error(kind, &key.name, error)),
        }
    }
}

/// The version that the writer saw; `None` where it does not say.
fn seen_version(new: &Value) -> Result<Option<String>, Status> {
    match new.resource_version() {
        "" => Ok(None),
        text => match text.parse::<u64>() {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(text.to_string())),
            Err(_) => Err(Status::internal_plain(format!(
                "strconv.ParseUint: parsing {text}: invalid syntax",
                text = GoQuoted(&text)
            ))),
        },
    }
}

fn check_version(kind: &Kind, name: &str, seen: Option<&str>, live: &Value) -> Result<(), Status> {
    match seen {
        None if !kind.flags.allow_unconditional_update => {
            let mut errors = Errors::default();
            errors.invalid(
                &Path::new("metadata").child("resourceVersion"),
                0,
                "must be specified for an update",
            );
            Err(Status::invalid(kind.group, kind.plural, name, &errors))
        }
        Some(seen) if seen != live.resource_version() => {
            Err(Status::modified(kind.group, kind.plural, name))
        }
        _ => Ok(()),
    }
}

/// What was being deleted and has nothing left to wait for goes with this write, whichever part of the object it is about.
fn ends_deletion(kind: &Kind, new: &Value, live: &Value) -> bool {
    let grace = live.at("metadata").int("deletionGracePeriodSeconds");
    live.is_deleting()
        && grace == 0
        && new.finalizers().next().is_none()
        && !(kind.strategy.held)(new)
}

/// How an update of this part checks metadata besides what all updates check.
fn checks(kind: &Kind, part: Part) -> UpdateChecks {
    match (kind.flags.update_checks, part) {
        (UpdateChecks::None, _) => UpdateChecks::None,
        (checks, Part::Whole) => checks,
        (_, Part::Sub(Subresource::Status)) => kind.flags.status_update_checks,
        (_, Part::Sub(sub)) => kind
            .strategy
            .part(sub.name())
            .map_or(UpdateChecks::Update, |rules| rules.checks),
    }
}

async fn validate(
    call: &Call<'_>,
    kind: &Kind,
    part: Part,
    new: &Value,
    live: &Value,
) -> Result<(), Status> {
    let mut errors = object_meta::validate(new, kind.namespaced, path_segment);
    // said twice of most kinds, whose strategies ask again
    let changed = object_meta::validate_update(new, live);
    let finalizers = standard_finalizers(kind, new);
    errors.extend(changed.clone());
    errors.extend(devices::check(call, kind, part, new, Some(live)).await?);
    let rest = call.emptied.told(kind, new, |new| match part {
        Part::Whole => kind.validate_update(new, live, &mut |text| call.warnings.add(text)),
        Part::Sub(sub) => kind.validate_part(sub, new, live, &mut |text| call.warnings.add(text)),
    });
    let order = checks(kind, part).in_order();
    let of_new = match order.contains(&UpdateCheck::RestOfNew) {
        true => rest.begins_with(&call.emptied.told(kind, new, |new| kind.validate(new))),
        false => 0,
    };
    for check in order {
        match check {
            UpdateCheck::Update => {
                errors.extend(changed.clone());
                errors.extend(finalizers.clone());
            }
            UpdateCheck::New => {
                let names = |name: &str, prefix| name_problems(kind, new, name, prefix);
                errors.extend(object_meta::validate(new, kind.namespaced, names));
                errors.extend(finalizers.clone());
            }
            UpdateCheck::Rest => errors.extend(rest.clone()),
            UpdateCheck::RestOfNew => errors.extend(rest.part(..of_new)),
            UpdateCheck::RestOfUpdate => errors.extend(rest.part(of_new..)),
        }
    }
    if errors.is_empty() {
        errors = params::check(call, kind, part, new, Some(live)).await?;
    }
    refused(kind, new, &errors)
}

#[cfg(test)]
mod tests {
    use skiff_api::kinds::Registry;

    use super::*;

    #[test]
    fn parts_check_metadata_as_upstream_does() {
        let status = Part::Sub(Subresource::Status);
        for (name, part, wanted) in [
            (
                "storageclasses.storage.k8s.io",
                Part::Whole,
                UpdateChecks::Around,
            ),
            ("configmaps", Part::Whole, UpdateChecks::Both),
            ("deployments.apps", status, UpdateChecks::Update),
            ("cronjobs.batch", status, UpdateChecks::None),
            ("poddisruptionbudgets.policy", status, UpdateChecks::None),
            (
                "certificatesigningrequests.certificates.k8s.io",
                status,
                UpdateChecks::Around,
            ),
            ("pods", Part::Sub(Subresource::Resize), UpdateChecks::Both),
        ] {
            let kind = Registry::builtin().stored(name).unwrap();
            assert_eq!(checks(kind, part), wanted, "{name}");
        }
    }
}
