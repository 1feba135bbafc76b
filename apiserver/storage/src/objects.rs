//! The objects of one resource as a persistent ordered set, and the snapshots that readers see of it.
//!
//! Invariant: the order is that of upstream's etcd keys, `namespace/name` bytewise (so `a-b` sorts before `a`); a snapshot never
//! changes; cloning one costs a reference count. Follows `staging/src/k8s.io/apiserver/pkg/storage/etcd3/store.go` (list order).

use std::{
    borrow::Borrow,
    cmp::Ordering,
    ops::{Bound, RangeBounds},
    sync::Arc,
};

use immutable_chunkmap::set::Set;

use crate::Object;

/// Objects a chunk: small, because each write copies the chunks on its path.
const CHUNK: usize = 64;
/// Objects that a [`Range`] takes out of the set at a time.
const STRIDE: usize = 128;

/// Where something stands in the order.
trait Place {
    fn place(&self) -> (&str, &str);
}

/// An object in the set, ordered by its place.
#[derive(Clone, Debug)]
struct Slot(Arc<Object>);

impl Place for Slot {
    fn place(&self) -> (&str, &str) {
        (&self.0.key.namespace, &self.0.key.name)
    }
}

impl Place for (&str, &str) {
    fn place(&self) -> (&str, &str) {
        *self
    }
}

impl<'a> Borrow<dyn Place + 'a> for Slot {
    fn borrow(&self) -> &(dyn Place + 'a) {
        self
    }
}

impl PartialEq for dyn Place + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for dyn Place + '_ {}

impl PartialOrd for dyn Place + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn Place + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(self.place(), other.place())
    }
}

impl PartialEq for Slot {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for Slot {}

impl PartialOrd for Slot {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Slot {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(self.place(), other.place())
    }
}

/// The order of `namespace/name` without building it.
fn compare(a: (&str, &str), b: (&str, &str)) -> Ordering {
    if a.0 == b.0 {
        return a.1.cmp(b.1);
    }
    a.0.bytes().chain([b'/']).cmp(b.0.bytes().chain([b'/']))
}

/// All that lies at or after a place.
struct Since<'a> {
    place: (&'a str, &'a str),
    inclusive: bool,
}

impl<'a> RangeBounds<dyn Place + 'a> for Since<'a> {
    fn start_bound(&self) -> Bound<&(dyn Place + 'a)> {
        if self.inclusive { Bound::Included(&self.place) } else { Bound::Excluded(&self.place) }
    }

    fn end_bound(&self) -> Bound<&(dyn Place + 'a)> {
        Bound::Unbounded
    }
}

impl<'a> Since<'a> {
    /// Where a walk through `namespace` (all of them: `None`) begins that goes on after `after`.
    fn of(namespace: Option<&'a str>, after: Option<(&'a str, &'a str)>) -> Self {
        let first = (namespace.unwrap_or(""), "");
        match after {
            Some(place) if compare(place, first).is_ge() => Self { place, inclusive: false },
            _ => Self { place: first, inclusive: true },
        }
    }
}

/// The objects of one resource.
#[derive(Clone, Default)]
pub(crate) struct Objects(Set<Slot, CHUNK>);

impl Objects {
    /// From objects in any order, each key once.
    pub fn bulk(objects: Vec<Arc<Object>>) -> Self {
        Self(Set::new().insert_many(objects.into_iter().map(Slot)))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<Object>> {
        let place = (namespace, name);
        self.0.get::<dyn Place>(&place).map(|slot| &slot.0)
    }

    /// Puts `object` in, in place of the version that was there.
    pub fn insert(&mut self, object: Arc<Object>) {
        self.0.insert_cow(Slot(object));
    }

    /// Takes out whatever stands at the place of `object`.
    pub fn remove(&mut self, object: &Arc<Object>) {
        self.0.remove_cow::<Slot>(&Slot(object.clone()));
    }

    fn walk<'a>(&'a self, namespace: Option<&'a str>, after: Option<(&'a str, &'a str)>) -> impl Iterator<Item = &'a Arc<Object>> {
        self.0
            .range::<dyn Place + 'a, _>(Since::of(namespace, after))
            .map(|slot| &slot.0)
            .take_while(move |object| namespace.is_none_or(|namespace| *object.key.namespace == *namespace))
    }
}

/// One resource as it was at one revision. Immutable; to clone it is cheap.
#[derive(Clone)]
pub struct Snapshot {
    revision: u64,
    objects: Objects,
}

impl Snapshot {
    pub(crate) fn new(revision: u64, objects: Objects) -> Self {
        Self { revision, objects }
    }

    /// The store's revision at the moment of the snapshot (at least that of the newest object in it).
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// `namespace` is empty for a cluster-scoped resource.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.objects.get(namespace, name).cloned()
    }

    /// The objects of `namespace` (`None`: of all) that come after the place `(namespace, name)`, in order. The iterator owns what it
    /// walks over, so it can outlive the snapshot and cross an await.
    pub fn range(&self, namespace: Option<&str>, after: Option<(&str, &str)>) -> Range {
        let mut range = Range { objects: self.objects.clone(), namespace: namespace.map(Into::into), ahead: Vec::new().into_iter(), last: None };
        range.ahead = range.stride(after);
        range
    }

    /// Number of objects in `namespace`. Without one at no cost, with one by a walk through it.
    pub fn len(&self, namespace: Option<&str>) -> usize {
        match namespace {
            None => self.objects.len(),
            Some(_) => self.objects.walk(namespace, None).count(),
        }
    }

    /// Number of objects that [`Snapshot::range`] would yield, by a walk that touches no reference count.
    pub fn remaining(&self, namespace: Option<&str>, after: Option<(&str, &str)>) -> usize {
        self.objects.walk(namespace, after).count()
    }
}

/// A walk through a [`Snapshot`].
pub struct Range {
    objects: Objects,
    namespace: Option<Box<str>>,
    ahead: std::vec::IntoIter<Arc<Object>>,
    last: Option<Arc<Object>>,
}

impl Range {
    fn stride(&self, after: Option<(&str, &str)>) -> std::vec::IntoIter<Arc<Object>> {
        self.objects.walk(self.namespace.as_deref(), after).take(STRIDE).cloned().collect::<Vec<_>>().into_iter()
    }
}

impl Iterator for Range {
    type Item = Arc<Object>;

    fn next(&mut self) -> Option<Arc<Object>> {
        if self.ahead.as_slice().is_empty() {
            let last = self.last.take()?;
            self.ahead = self.stride(Some((&last.key.namespace, &last.key.name)));
        }
        let object = self.ahead.next()?;
        if self.ahead.as_slice().is_empty() {
            self.last = Some(object.clone());
        }
        Some(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attributes, Key};

    fn object(namespace: &str, name: &str, revision: u64) -> Arc<Object> {
        let key = Key { resource: "pods".into(), namespace: namespace.into(), name: name.into() };
        Arc::new(Object::new(key, revision, Default::default(), Attributes::default()))
    }

    fn snapshot(places: &[(&str, &str)]) -> Snapshot {
        Snapshot::new(7, Objects::bulk(places.iter().map(|(namespace, name)| object(namespace, name, 1)).collect()))
    }

    fn names(range: Range) -> Vec<String> {
        range.map(|object| format!("{}/{}", object.key.namespace, object.key.name)).collect()
    }

    #[test]
    fn the_order_is_that_of_etcd_keys() {
        let all = [("a", "x"), ("a-b", "x"), ("a", "b"), ("a.c", "z"), ("ab", "a"), ("", "node")];
        let mut expected: Vec<String> = all.iter().map(|(namespace, name)| format!("{namespace}/{name}")).collect();
        expected.sort();
        assert_eq!(names(snapshot(&all).range(None, None)), expected);
        assert_eq!(expected, ["/node", "a-b/x", "a.c/z", "a/b", "a/x", "ab/a"]);
    }

    #[test]
    fn ranges() {
        let snapshot = snapshot(&[("a", "1"), ("a", "2"), ("a", "3"), ("a-b", "1"), ("b", "1"), ("b", "2")]);
        let table: [(Option<&str>, Option<(&str, &str)>, &[&str]); 9] = [
            (None, None, &["a-b/1", "a/1", "a/2", "a/3", "b/1", "b/2"]),
            (Some("a"), None, &["a/1", "a/2", "a/3"]),
            (Some("a"), Some(("a", "1")), &["a/2", "a/3"]),
            (Some("a"), Some(("a", "15")), &["a/2", "a/3"]),
            (Some("a"), Some(("a", "3")), &[]),
            (Some("b"), Some(("a", "2")), &["b/1", "b/2"]),
            (Some("a"), Some(("b", "1")), &[]),
            (None, Some(("a", "3")), &["b/1", "b/2"]),
            (Some("c"), None, &[]),
        ];
        for (namespace, after, expected) in table {
            assert_eq!(names(snapshot.range(namespace, after)), expected, "{namespace:?} {after:?}");
            assert_eq!(snapshot.remaining(namespace, after), expected.len(), "{namespace:?} {after:?}");
        }
        assert_eq!((snapshot.len(None), snapshot.len(Some("a")), snapshot.len(Some("x"))), (6, 3, 0));
    }

    #[test]
    fn a_range_longer_than_a_stride_yields_all() {
        for count in [STRIDE - 1, STRIDE, STRIDE + 1, 3 * STRIDE] {
            let places: Vec<String> = (0..count).map(|n| format!("{n:05}")).collect();
            let all: Vec<(&str, &str)> = places.iter().map(|name| ("ns", name.as_str())).collect();
            assert_eq!(snapshot(&all).range(Some("ns"), None).map(|object| object.key.name.to_string()).collect::<Vec<_>>(), places);
        }
    }

    #[test]
    fn a_newer_version_takes_the_place_of_the_older_and_old_snapshots_stay() {
        let mut objects = Objects::default();
        objects.insert(object("a", "x", 1));
        let before = Snapshot::new(1, objects.clone());
        objects.insert(object("a", "x", 2));
        assert_eq!((objects.len(), objects.get("a", "x").unwrap().revision), (1, 2));
        objects.remove(&object("a", "x", 2));
        assert_eq!(objects.len(), 0);
        assert_eq!(before.get("a", "x").unwrap().revision, 1);
    }
}
