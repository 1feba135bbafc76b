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
use super::managers::{
    DecodeError, Entry, Fields, Header, Operation, Source, cap, decode, encode, entries,
};
use super::set::Set;
use super::types::Ty;
use super::validate::validate_object;
use super::{ManagedFieldsError, PathElement, ResetFields, Update, Versions, is_known, of, put};
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
pub(super) fn stripped(set: Set<'_>) -> Set<'_> {
    set.without(&STRIPPED)
}

/// A new object of the type, as Go's zero of it is written: what a creation is compared with.
pub(super) fn zero(schema: Node<'_>) -> Value {
    let mut zero = Value::Object(Map::new());
    // An empty object has nothing that could be of the wrong type.
    drop(conform(&mut zero, schema));
    zero
}

/// The name of a manager, who may have none.
pub(super) fn name_of(manager: &str) -> Cow<'_, str> {
    if manager.is_empty() {
        "unknown"
    } else {
        manager
    }
    .into()
}

/// Notes in `new` who owns what, after the manager changed `live` into it. A creation changes an empty object.
///
/// Both are in canonical form. After an error `new` has no managed fields; upstream stores it so.
pub fn track_update(
    live: &Value,
    new: &mut Value,
    update: &Update<'_>,
) -> Result<(), ManagedFieldsError> {
    let given = new
        .get_mut("metadata")
        .and_then(Value::as_object_mut)
        .and_then(|m| m.remove("managedFields"));
    if update.schema.as_type().is_some_and(|of| of.verbatim) {
        // nothing has held its values to their types yet
        validate_object(new, Ty::Node(update.schema)).map_err(ManagedFieldsError::Untyped)?;
    }
    let unchanged = given.as_ref() == of(live);
    let (sent, mut given) = if unchanged {
        (None, given)
    } else {
        (given, None)
    };
    let before = current(live, sent.as_ref(), !update.subresource.is_empty());
    let creating = live
        .get("metadata")
        .and_then(|m| m.get("uid"))
        .and_then(Value::as_str)
        .unwrap_or_default()
        .is_empty();
    if before.is_empty() && !creating {
        return Ok(());
    }
    let empty = live
        .as_object()
        .is_none_or(Map::is_empty)
        .then(|| zero(update.schema));
    let compared = empty.as_ref().unwrap_or(live);
    let noted = match note(compared, new, before, update).and_then(|entries| Ok(cap(entries)?)) {
        // What cannot be read is forgotten.
        Err(ManagedFieldsError::Decode(_)) => note(compared, new, Vec::new(), update)?,
        other => other?,
    };
    let stored = of(live).and_then(Value::as_array).map_or(&[][..], |l| l);
    let source = match given.take() {
        Some(Value::Array(list)) => Source::Owned(list),
        _ => Source::Borrowed(stored),
    };
    let fields = encode(noted, source);
    put(new, fields);
    Ok(())
}

/// Who owns what before the update: as the request says, when it says something sensible, else as the live object does.
fn current<'a>(live: &'a Value, sent: Option<&'a Value>, subresource: bool) -> Vec<Entry<'a>> {
    let of_live = || entries(of(live)).unwrap_or_default();
    match sent.and_then(Value::as_array) {
        Some(list) if !subresource && is_reset(list) => Vec::new(),
        Some(_) if !subresource => decode(sent)
            .ok()
            .filter(|m| !m.is_empty())
            .map_or_else(of_live, |managers| {
                managers.into_iter().map(Entry::from).collect()
            }),
        _ => of_live(),
    }
}

/// Whether the request asks for managed fields to be forgotten: an empty list, or one empty entry.
fn is_reset(entries: &[Value]) -> bool {
    match entries {
        [] => true,
        [entry] => entry
            .as_object()
            .is_some_and(|e| e.values().all(|v| v.is_null() || v == "")),
        _ => false,
    }
}

/// The entries after an update by one of the managers.
pub(super) fn note<'a>(
    live: &'a Value,
    new: &'a Value,
    before: Vec<Entry<'a>>,
    update: &Update<'a>,
) -> Result<Vec<Entry<'a>>, ManagedFieldsError> {
    let (changed, removed) =
        compare(live, new, Ty::Node(update.schema)).map_err(|e| failed_to_compare(&e))?;
    let (changed, removed) = (update.reset.of(changed), update.reset.of(removed));
    let comparison = Comparison {
        changed: &changed,
        removed: &removed,
        live,
        new,
        reset: update.reset,
        versions: update.versions,
    };
    let mut after = comparison.taken_from(before, update)?;
    let gained = stripped(changed);
    if gained.is_empty() {
        return Ok(after);
    }
    let header = Header {
        name: name_of(update.manager),
        operation: Operation::Update,
        subresource: update.subresource.into(),
        api_version: update.api_version.into(),
        time: Some(update.now.into()),
    };
    let set = match after.iter().position(|e| e.header.is(&header)) {
        Some(at) => gained.union(&after.swap_remove(at).into_set()?),
        None => gained,
    };
    after.push(Entry {
        header,
        fields: Fields::Set(set),
    });
    Ok(after)
}

pub(super) fn failed_to_compare(said: &str) -> ManagedFieldsError {
    ManagedFieldsError::Merge(format!("failed to compare objects: {said}"))
}

/// A set as the schema has it now.
pub(super) fn reconcile<'a>(set: Set<'a>, schema: Node<'a>) -> Set<'a> {
    reconciled(&set, Ty::Node(schema)).unwrap_or(set)
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
    /// The entries without what changed or went; who then owns nothing is gone, and so is who wrote at a version that is no more.
    fn taken_from<'a>(
        &self,
        before: Vec<Entry<'a>>,
        update: &Update<'a>,
    ) -> Result<Vec<Entry<'a>>, ManagedFieldsError> {
        let mut left = Vec::with_capacity(before.len() + 1);
        for entry in before {
            let taken = self.at_version(
                &entry.header.api_version.clone(),
                update.api_version,
                |changed, removed| take(entry, changed, removed, update.schema),
            )?;
            left.extend(taken.transpose()?.flatten());
        }
        Ok(left)
    }

    /// Calls `f` with what changed and what went, as paths of the version `wanted`; nothing when there is no such version.
    pub fn at_version<R>(
        &self,
        wanted: &str,
        api_version: &str,
        f: impl FnOnce(&Set<'_>, &Set<'_>) -> R,
    ) -> Result<Option<R>, ManagedFieldsError> {
        if !is_known(self.versions, wanted, api_version)? {
            return Ok(None);
        }
        let Some(versions) = self.versions.filter(|_| wanted != api_version) else {
            return Ok(Some(f(self.changed, self.removed)));
        };
        let (Some((live, schema)), Some((new, _))) = (
            versions.at(self.live, wanted),
            versions.at(self.new, wanted),
        ) else {
            return Ok(None);
        };
        let (changed, removed) =
            compare(&live, &new, Ty::Node(schema)).map_err(|e| failed_to_compare(&e))?;
        Ok(Some(f(&self.reset.of(changed), &self.reset.of(removed))))
    }
}

/// An entry without what changed or went; nothing when its manager then owns nothing.
fn take<'a>(
    entry: Entry<'a>,
    changed: &Set<'_>,
    removed: &Set<'_>,
    schema: Node<'a>,
) -> Result<Option<Entry<'a>>, DecodeError> {
    if let Fields::Stored(_, fields) = &entry.fields
        && !changed.touches(fields)
        && !removed.touches(fields)
    {
        return Ok(Some(entry));
    }
    let header = entry.header.clone();
    let set = reconcile(entry.into_set()?, schema)
        .without(changed)
        .without(removed);
    Ok((!set.is_empty()).then_some(Entry {
        header,
        fields: Fields::Set(set),
    }))
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
        Some(versions) => versions
            .at(object, wanted)
            .map(|(object, schema)| (Cow::Owned(object), schema)),
    }
}
