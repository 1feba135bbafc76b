//! Noting who changed what by an update.
//!
//! Invariant: what one manager gains all others lose; an update that changes nothing changes no entry, its time included.
//! Follows upstream's `managedfields/internal/{fieldmanager,skipnonapplied,managedfieldsupdater,stripmeta}.go` and
//! `structured-merge-diff/v6/merge/update.go` (Update).

use std::borrow::Cow;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::compare::compare;
use super::fieldset::reconciled;
use super::managers::{Manager, Operation, cap, decode, encode};
use super::set::Set;
use super::types::Ty;
use super::{ManagedFieldsError, PathElement, ResetFields, Update, Versions, of, put};
use crate::machinery::schema::{Node, conform};

/// Fields that nobody owns.
static STRIPPED: LazyLock<Set<'static>> = LazyLock::new(|| {
    let mut set = Set::default();
    for path in [
        "apiVersion",
        "kind",
        "metadata",
        "metadata.name",
        "metadata.namespace",
        "metadata.creationTimestamp",
        "metadata.selfLink",
        "metadata.uid",
        "metadata.clusterName",
        "metadata.generation",
        "metadata.managedFields",
        "metadata.resourceVersion",
    ] {
        set.insert(&path.split('.').map(PathElement::field).collect::<Vec<_>>());
    }
    set
});

/// The set without what nobody owns.
pub(super) fn stripped<'a>(set: &Set<'a>) -> Set<'a> {
    set.difference(&STRIPPED)
}

/// A new object of the type, as Go's zero of it is written: what a creation is compared with.
pub(super) fn zero(schema: Node<'_>) -> Value {
    let mut zero = Value::Object(Map::new());
    // An empty object has nothing that could be of the wrong type.
    drop(conform(&mut zero, schema));
    zero
}

/// The name of a manager, who may have none.
pub(super) fn name_of(manager: &str) -> String {
    if manager.is_empty() { "unknown" } else { manager }.into()
}

/// Notes in `new` who owns what, after the manager changed `live` into it. A creation changes an empty object.
///
/// Both are in canonical form. After an error `new` has no managed fields; upstream stores it so.
pub fn track_update(live: &Value, new: &mut Value, update: &Update<'_>) -> Result<(), ManagedFieldsError> {
    let given = new.get_mut("metadata").and_then(Value::as_object_mut).and_then(|m| m.remove("managedFields"));
    let mut managers = current(live, given.as_ref(), !update.subresource.is_empty());
    let creating = live.get("metadata").and_then(|m| m.get("uid")).and_then(Value::as_str).unwrap_or_default().is_empty();
    if managers.is_empty() && !creating {
        return Ok(());
    }
    let empty = live.as_object().is_none_or(Map::is_empty).then(|| zero(update.schema));
    let live = empty.as_ref().unwrap_or(live);
    managers = note(live, new, managers, update)?;
    let fields = encode(cap(managers));
    put(new, fields);
    Ok(())
}

/// Who owns what before the update: as the request says, when it says something sensible, else as the live object does.
fn current<'a>(live: &'a Value, given: Option<&'a Value>, subresource: bool) -> Vec<Manager<'a>> {
    let of_live = || decode(of(live)).unwrap_or_default();
    match given.and_then(Value::as_array) {
        _ if subresource => of_live(),
        Some(entries) if is_reset(entries) => Vec::new(),
        _ => decode(given).ok().filter(|m| !m.is_empty()).unwrap_or_else(of_live),
    }
}

/// Whether the request asks for managed fields to be forgotten: an empty list, or one empty entry.
fn is_reset(entries: &[Value]) -> bool {
    match entries {
        [] => true,
        [entry] => entry.as_object().is_some_and(|e| e.values().all(|v| v.is_null() || v == "")),
        _ => false,
    }
}

/// The managers after an update by one of them.
pub(super) fn note<'a>(live: &'a Value, new: &'a Value, managers: Vec<Manager<'a>>, update: &Update<'a>) -> Result<Vec<Manager<'a>>, ManagedFieldsError> {
    let (changed, removed) = compare(live, new, Ty::Node(update.schema)).map_err(|e| failed_to_compare(&e))?;
    let (changed, removed) = (update.reset.of(changed), update.reset.of(removed));
    let comparison = Comparison { changed: &changed, removed: &removed, live, new, reset: update.reset, versions: update.versions };
    let mut managers = comparison.taken_from(reconcile(managers, update.schema), update.api_version)?;
    let gained = stripped(&changed);
    if gained.is_empty() {
        return Ok(managers);
    }
    let own = Manager {
        name: name_of(update.manager),
        operation: Operation::Update,
        subresource: update.subresource.into(),
        api_version: update.api_version.into(),
        time: Some(update.now.into()),
        set: gained,
    };
    match managers.iter_mut().find(|m| m.is(&own)) {
        Some(there) => *there = Manager { set: own.set.union(&there.set), ..own },
        None => managers.push(own),
    }
    Ok(managers)
}

pub(super) fn failed_to_compare(said: &str) -> ManagedFieldsError {
    ManagedFieldsError::Merge(format!("failed to compare objects: {said}"))
}

/// The managers' sets as the schema has them now.
pub(super) fn reconcile<'a>(mut managers: Vec<Manager<'a>>, schema: Node<'a>) -> Vec<Manager<'a>> {
    for manager in &mut managers {
        if let Some(set) = reconciled(&manager.set, Ty::Node(schema)) {
            manager.set = set;
        }
    }
    managers
}

/// What changed between two objects.
pub(super) struct Comparison<'c> {
    pub changed: &'c Set<'c>,
    pub removed: &'c Set<'c>,
    pub live: &'c Value,
    pub new: &'c Value,
    pub reset: &'c ResetFields,
    pub versions: Option<&'c dyn Versions>,
}

impl Comparison<'_> {
    /// The managers without what changed or went; who then owns nothing is gone, and so is who wrote at a version that is no more.
    pub fn taken_from<'a>(&self, managers: Vec<Manager<'a>>, api_version: &str) -> Result<Vec<Manager<'a>>, ManagedFieldsError> {
        let mut left = Vec::with_capacity(managers.len() + 1);
        for mut manager in managers {
            let Some(set) = self.at_version(&manager.api_version, api_version, |changed, removed| {
                let touched = manager.set.intersects(changed) || manager.set.intersects(removed);
                touched.then(|| manager.set.difference(changed).difference(removed))
            })?
            else {
                continue;
            };
            if let Some(set) = set {
                manager.set = set;
            }
            if !manager.set.is_empty() {
                left.push(manager);
            }
        }
        Ok(left)
    }

    /// Calls `f` with what changed and what went, as paths of the version `wanted`; nothing when there is no such version.
    pub fn at_version<R>(&self, wanted: &str, api_version: &str, f: impl FnOnce(&Set<'_>, &Set<'_>) -> R) -> Result<Option<R>, ManagedFieldsError> {
        let Some(versions) = self.versions.filter(|_| wanted != api_version) else { return Ok(Some(f(self.changed, self.removed))) };
        let (Some((live, schema)), Some((new, _))) = (versions.at(self.live, wanted), versions.at(self.new, wanted)) else { return Ok(None) };
        let (changed, removed) = compare(&live, &new, Ty::Node(schema)).map_err(|e| failed_to_compare(&e))?;
        Ok(Some(f(&self.reset.of(changed), &self.reset.of(removed))))
    }
}

/// An object at the version `wanted`; borrowed when that is what it is at.
pub(super) fn converted<'v>(
    object: &'v Value,
    schema: Node<'v>,
    wanted: &str,
    api_version: &str,
    versions: Option<&'v dyn Versions>,
) -> Option<(Cow<'v, Value>, Node<'v>)> {
    match versions.filter(|_| wanted != api_version) {
        None => Some((Cow::Borrowed(object), schema)),
        Some(versions) => versions.at(object, wanted).map(|(object, schema)| (Cow::Owned(object), schema)),
    }
}
