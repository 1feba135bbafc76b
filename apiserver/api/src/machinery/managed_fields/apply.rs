//! Server-side apply: merging a configuration, taking out what its manager applied before and wants no more, and noting who owns what.
//!
//! Invariant: a field goes only when its manager alone owned it and no longer applies it; a field of others changes only by force.
//! Follows upstream's `managedfields/internal/{fieldmanager,structuredmerge,skipnonapplied,lastappliedmanager,lastappliedupdater}.go` and
//! `structured-merge-diff/v6/merge/update.go` (Apply, prune).

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::compare::compare;
use super::element::equal;
use super::fieldset::{field_set, with_named_fields};
use super::managers::{Entry, Header, Manager, Operation, Source, cap, decode, encode};
use super::merge::merge;
use super::remove::remove;
use super::set::Set;
use super::types::Ty;
use super::update::{
    Comparison, converted, failed_to_compare, name_of, note, reconcile, stripped, zero,
};
use super::validate::validate;
use super::{Apply, Conflicts, ManagedFieldsError, Update, is_known, last_applied, of, put};

/// The live object with the configuration applied to it, its managed fields included. Without a live object, a new one.
///
/// `live` is in canonical form; `config` is as the request brought it. The result wants defaults and canonical form.
pub fn apply(
    live: Option<&Value>,
    config: &Value,
    apply: &Apply<'_>,
) -> Result<Value, ManagedFieldsError> {
    check(config, apply)?;
    let nothing = zero(apply.schema);
    let mut live = live.unwrap_or(&nothing).clone();
    let entries = of(&live).cloned();
    put(&mut live, None);
    let managers = before_first_apply(&nothing, &live, decode(entries.as_ref())?, apply)?;
    let outcome = match merged(&live, config, managers.clone(), apply, apply.force) {
        Err(Failure::Conflicts(found)) if apply.manager == "kubectl" => {
            match last_applied::remaining(&live, found, apply) {
                found if found.is_empty() => merged(&live, config, managers, apply, true),
                found => Err(Failure::Conflicts(found)),
            }
        }
        other => other,
    };
    let (object, managers) = outcome.map_err(|failure| match failure {
        Failure::Error(error) => error,
        Failure::Conflicts(found) => ManagedFieldsError::Conflicts(Conflicts::new(&found)),
    })?;
    let fields = encode(
        managers.into_iter().map(Entry::from).collect(),
        Source::Borrowed(&[]),
    );
    let mut object = object.unwrap_or_else(|| live.clone());
    if object.get("metadata").is_none_or(|m| !m.is_object()) {
        object["metadata"] = Value::Object(Map::new());
    }
    put(&mut object, fields);
    if apply.manager == "kubectl" {
        last_applied::refresh(&mut object, config);
    }
    Ok(object)
}

fn check(config: &Value, apply: &Apply<'_>) -> Result<(), ManagedFieldsError> {
    let text = |value: Option<&Value>| {
        value
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_string()
    };
    let given = text(config.get("apiVersion"));
    if given != apply.api_version {
        return Err(ManagedFieldsError::Version {
            given,
            expected: apply.api_version.into(),
        });
    }
    // what is no list of them is told of with what else does not fit the type
    let is_list = |given: &Value| {
        given
            .as_array()
            .is_some_and(|list| list.iter().all(Value::is_object))
    };
    if of(config).is_some_and(is_list) {
        return Err(ManagedFieldsError::ManagedFieldsGiven);
    }
    validate(config, Ty::Node(apply.schema)).map_err(|said| {
        let metadata = |name: &str| text(config.get("metadata").and_then(|m| m.get(name)));
        let group_version = if given.contains('/') {
            given.clone()
        } else {
            format!("/{given}")
        };
        let object = format!(
            "{}/{}; {group_version}, Kind={}",
            metadata("namespace"),
            metadata("name"),
            text(config.get("kind"))
        );
        ManagedFieldsError::Typed { object, said }
    })
}

/// Where nobody owns anything yet, what is there belongs to `before-first-apply`.
fn before_first_apply<'a>(
    nothing: &'a Value,
    live: &'a Value,
    managers: Vec<Manager<'a>>,
    apply: &Apply<'a>,
) -> Result<Vec<Manager<'a>>, ManagedFieldsError> {
    if !managers.is_empty() {
        return Ok(managers);
    }
    let update = Update {
        manager: "before-first-apply",
        subresource: apply.subresource,
        api_version: apply.api_version,
        now: apply.now,
        schema: apply.schema,
        reset: apply.reset,
        versions: apply.versions,
    };
    let noted = cap(note(nothing, live, Vec::new(), &update)?)?;
    noted
        .into_iter()
        .map(|entry| {
            Ok(Manager {
                header: entry.header.clone(),
                set: entry.into_set()?,
            })
        })
        .collect()
}

enum Failure<'a> {
    /// The managers whose fields are at odds.
    Conflicts(Vec<(Header<'a>, Set<'a>)>),
    Error(ManagedFieldsError),
}

impl From<ManagedFieldsError> for Failure<'_> {
    fn from(error: ManagedFieldsError) -> Self {
        Failure::Error(error)
    }
}

/// The new object (nothing when it equals the live one) and its managers.
type Outcome<'a> = (Option<Value>, Vec<Manager<'a>>);

fn merged<'a>(
    live: &Value,
    config: &'a Value,
    managers: Vec<Manager<'a>>,
    apply: &Apply<'a>,
    force: bool,
) -> Result<Outcome<'a>, Failure<'a>> {
    let ty = Ty::Node(apply.schema);
    let mut left = Vec::with_capacity(managers.len() + 1);
    for manager in managers {
        let at = &manager.header.api_version;
        if is_known(apply.versions, at, apply.api_version)? {
            let set = reconcile(manager.set, apply.schema);
            left.push(Manager { set, ..manager });
        }
    }
    let mut managers = left;
    let whole = merge(live, config, ty)
        .map_err(|e| ManagedFieldsError::Merge(format!("failed to merge config: {e}")))?;
    let header = Header {
        name: name_of(apply.manager),
        operation: Operation::Apply,
        subresource: apply.subresource.into(),
        api_version: apply.api_version.into(),
        time: None,
    };
    let mut own = Manager {
        header,
        set: apply.reset.of(field_set(config, ty)),
    };
    let last = managers
        .iter()
        .position(|m| m.header.is(&own.header))
        .map(|at| managers.remove(at));
    own.header.time = last.as_ref().and_then(|l| l.header.time.clone());
    let new = match &last {
        Some(last) if !last.set.is_empty() => pruned(&whole, last, &managers, &own, apply),
        _ => whole,
    };
    let mut managers = settle(live, &new, managers, apply, force)?;
    own.set = stripped(own.set);
    let unchanged = equal(live, &new);
    if !unchanged {
        own.header.time = Some(apply.now.into());
    }
    if !own.set.is_empty() {
        managers.push(own);
    }
    Ok(((!unchanged).then_some(new), managers))
}

/// The other managers after the apply. Without force, a field of theirs that changed is a conflict.
fn settle<'a>(
    live: &Value,
    new: &Value,
    managers: Vec<Manager<'a>>,
    apply: &Apply<'_>,
    force: bool,
) -> Result<Vec<Manager<'a>>, Failure<'a>> {
    let (changed, removed) =
        compare(live, new, Ty::Node(apply.schema)).map_err(|e| failed_to_compare(&e))?;
    let (changed, removed) = (apply.reset.of(changed), apply.reset.of(removed));
    let comparison = Comparison {
        changed: &changed,
        removed: &removed,
        live,
        new,
        reset: apply.reset,
        versions: apply.versions,
    };
    let mut left = Vec::with_capacity(managers.len() + 1);
    let mut conflicts = Vec::new();
    for manager in managers {
        let found = comparison.at_version(
            &manager.header.api_version,
            apply.api_version,
            |changed, removed| {
                (
                    manager.set.intersection(changed),
                    manager.set.difference(changed).difference(removed),
                )
            },
        )?;
        let Some((conflict, rest)) = found else {
            continue;
        };
        if !conflict.is_empty() {
            conflicts.push((manager.header.clone(), conflict));
        }
        if !rest.is_empty() {
            left.push(Manager {
                set: rest,
                ..manager
            });
        }
    }
    if !force && !conflicts.is_empty() {
        return Err(Failure::Conflicts(conflicts));
    }
    Ok(left)
}

/// The merged object without what the manager applied last time, applies no more, and nobody else owns.
fn pruned(
    merged: &Value,
    last: &Manager<'_>,
    others: &[Manager<'_>],
    own: &Manager<'_>,
    apply: &Apply<'_>,
) -> Value {
    let Some((at_last, schema)) = converted(
        merged,
        apply.schema,
        &last.header.api_version,
        apply.api_version,
        apply.versions,
    ) else {
        return merged.clone();
    };
    let ty = Ty::Node(schema);
    let last_named = with_named_fields(&last.set, Some(ty));
    let mut left = remove(&at_last, &last_named, ty);
    // Versions other than the last one's only differ where an object was applied to at several.
    let mut versions: Vec<&str> = others
        .iter()
        .chain([own])
        .map(|m| &*m.header.api_version)
        .collect();
    versions.sort_by_key(|v| (*v != last.header.api_version, *v));
    versions.dedup();
    for version in versions {
        let owned = others
            .iter()
            .chain([own])
            .filter(|m| m.header.api_version == version)
            .fold(Set::default(), |set, m| set.union(&m.set));
        left = with_owned(
            &at_last,
            left,
            &owned,
            version,
            &last.header.api_version,
            schema,
            apply,
        );
    }
    let before = with_named_fields(&field_set(&at_last, ty), Some(ty));
    let after = with_named_fields(&field_set(&left, ty), Some(ty));
    let dangling = before.difference(&after).intersection(&last_named);
    let left = remove(&at_last, &dangling, ty);
    match converted(
        &left,
        schema,
        apply.api_version,
        &last.header.api_version,
        apply.versions,
    ) {
        Some((object, _)) => object.into_owned(),
        None => left,
    }
}

/// What is left, with what managers at `version` own put back. The objects are at the version `at`.
fn with_owned(
    merged: &Value,
    left: Value,
    owned: &Set<'_>,
    version: &str,
    at: &str,
    schema: super::Node<'_>,
    apply: &Apply<'_>,
) -> Value {
    let (Some((merged, ours)), Some((there, _))) = (
        converted(merged, schema, version, at, apply.versions),
        converted(&left, schema, version, at, apply.versions),
    ) else {
        return left;
    };
    let ty = Ty::Node(ours);
    let before = with_named_fields(&field_set(&merged, ty), Some(ty));
    let after = with_named_fields(&field_set(&there, ty), Some(ty));
    let kept = after.union(&with_named_fields(owned, Some(ty)));
    let result = remove(&merged, &before.difference(&kept), ty);
    match converted(&result, ours, at, version, apply.versions) {
        Some((Cow::Owned(object), _)) => object,
        Some((Cow::Borrowed(_), _)) => result,
        None => left.clone(),
    }
}
