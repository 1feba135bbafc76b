//! The objects of one resource as a persistent ordered set, and the snapshots that readers see of it.
//!
//! Invariant: the order is that of upstream's etcd keys, `namespace/name` bytewise (so `a-b` sorts before `a`); a snapshot never
//! changes; cloning one costs a reference count. Follows `staging/src/k8s.io/apiserver/pkg/storage/etcd3/store.go` (list order).

use std::{borrow::Borrow, cmp::Ordering, sync::Arc};

use immutable_chunkmap::{
    map::{NodeHandle, NodeRef},
    set::Set,
};

use crate::Object;

/// Objects a chunk: small, because each write copies the chunks on its path.
const CHUNK: usize = 64;

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
    // Namespaces are kept once, so most that are equal are the same.
    if std::ptr::eq(a.0, b.0) || a.0 == b.0 {
        return a.1.cmp(b.1);
    }
    a.0.bytes().chain([b'/']).cmp(b.0.bytes().chain([b'/']))
}

/// The objects of one resource.
#[derive(Clone, Default)]
pub(crate) struct Objects(Set<Slot, CHUNK>);

impl Objects {
    /// From objects in any order, each key once. Quick when they are in order.
    pub fn bulk(objects: Vec<Arc<Object>>) -> Self {
        let slots: Vec<Slot> = objects.into_iter().map(Slot).collect();
        if !slots.is_sorted_by(|a, b| a < b) {
            return Self(Set::new().insert_many(slots));
        }
        let chunks: Vec<&[Slot]> = slots.chunks(CHUNK).collect();
        Self(Set::from_root(balanced(&chunks)))
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
}

/// A tree of chunks that are in order, each with 1 to [`CHUNK`] slots in order.
fn balanced(chunks: &[&[Slot]]) -> Option<NodeHandle<Slot, (), CHUNK>> {
    let (left, rest) = chunks.split_at(chunks.len() / 2);
    let (middle, right) = rest.split_first()?;
    let pairs = middle.iter().map(|slot| (slot.clone(), ()));
    // SAFETY: `Objects::bulk`, the only caller but this function, cuts the chunks out of one strictly increasing sequence, none
    // empty and none longer than CHUNK, so keys to the left are below and keys to the right above; as the halves differ by at most
    // one chunk, so do their heights.
    Some(unsafe { NodeHandle::create(balanced(left), pairs, balanced(right)) })
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
        let first = (namespace.unwrap_or(""), "");
        let after = after.filter(|after| compare(*after, first).is_ge());
        let mut range = Range {
            namespace: namespace.map(Into::into),
            ahead: Vec::new(),
            unvisited: Vec::new(),
        };
        range.seek(
            self.objects.0.root(),
            after.unwrap_or(first),
            after.is_none(),
        );
        range
    }

    /// Number of objects in `namespace`.
    pub fn len(&self, namespace: Option<&str>) -> usize {
        self.remaining(namespace, None)
    }

    /// Number of objects that [`Snapshot::range`] would yield, without a walk over them: nodes know how much is below them.
    pub fn remaining(&self, namespace: Option<&str>, after: Option<(&str, &str)>) -> usize {
        let first = (namespace.unwrap_or(""), "");
        let end = match namespace {
            None => self.objects.len(),
            Some(_) => self.rank(|place| compare((place.0, ""), first).is_gt()),
        };
        let start = match after.filter(|after| compare(*after, first).is_ge()) {
            None => self.rank(|place| compare(place, first).is_ge()),
            Some(after) => self.rank(|place| compare(place, after).is_gt()),
        };
        end.saturating_sub(start)
    }

    /// How many objects come before the first that is `beyond`, as are all that follow it.
    fn rank(&self, beyond: impl Fn((&str, &str)) -> bool) -> usize {
        let below = |node: Option<Node<'_>>| {
            node.map_or(0, |node| {
                Set::<Slot, CHUNK>::from_root(Some(node.keep())).len()
            })
        };
        let (mut count, mut node) = (0, self.objects.0.root());
        while let Some(this) = node {
            let before = this.pairs().take_while(|(slot, ())| !beyond(slot.place()));
            let before = before.count();
            if before == 0 {
                node = this.left();
                continue;
            }
            count += below(this.left()) + before;
            if before < this.len() {
                break;
            }
            node = this.right();
        }
        count
    }
}

/// A walk through a [`Snapshot`]. It holds the few nodes of the tree that it has still to visit, so it needs no reference to it.
/// (The set's own iterator can not be owned, and looks at every chunk before the place where it starts.)
pub struct Range {
    namespace: Option<Box<str>>,
    /// The objects of the present chunk that are still to come, the next one last.
    ahead: Vec<Arc<Object>>,
    /// Nodes whose own chunk and right subtree come after the present chunk, the next one last.
    unvisited: Vec<NodeHandle<Slot, (), CHUNK>>,
}

type Node<'a> = NodeRef<'a, Slot, (), CHUNK>;

impl Range {
    /// Goes down to the first chunk that reaches beyond `place`.
    fn seek(&mut self, mut node: Option<Node<'_>>, place: (&str, &str), inclusive: bool) {
        let beyond = |slot: &Slot| match compare(slot.place(), place) {
            Ordering::Equal => inclusive,
            order => order.is_gt(),
        };
        while let Some(this) = node {
            if this.pairs().last().is_some_and(|(last, ())| beyond(last)) {
                self.unvisited.push(this.keep());
                node = this.left();
            } else {
                node = this.right();
            }
        }
        self.next_chunk();
        while self
            .ahead
            .last()
            .is_some_and(|object| !beyond(&Slot(object.clone())))
        {
            self.ahead.pop();
        }
    }

    fn next_chunk(&mut self) {
        let Some(node) = self.unvisited.pop() else {
            return;
        };
        let view = node.view();
        self.ahead
            .extend(view.pairs().map(|(slot, ())| slot.0.clone()));
        self.ahead.reverse();
        let mut next = view.right();
        while let Some(node) = next {
            self.unvisited.push(node.keep());
            next = node.left();
        }
    }
}

impl Iterator for Range {
    type Item = Arc<Object>;

    fn next(&mut self) -> Option<Arc<Object>> {
        if self.ahead.is_empty() {
            self.next_chunk();
        }
        let object = self.ahead.pop()?;
        match &self.namespace {
            Some(namespace) if *object.key.namespace != **namespace => {
                (self.ahead, self.unvisited) = (Vec::new(), Vec::new());
                None
            }
            _ => Some(object),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Key;

    fn object(namespace: &str, name: &str, revision: u64) -> Arc<Object> {
        let key = Key {
            resource: "pods".into(),
            namespace: namespace.into(),
            name: name.into(),
        };
        Arc::new(Object::new(
            key,
            revision,
            Default::default(),
            Default::default(),
        ))
    }

    fn snapshot(places: &[(&str, &str)]) -> Snapshot {
        Snapshot::new(
            7,
            Objects::bulk(
                places
                    .iter()
                    .map(|(namespace, name)| object(namespace, name, 1))
                    .collect(),
            ),
        )
    }

    fn names(range: Range) -> Vec<String> {
        range
            .map(|object| format!("{}/{}", object.key.namespace, object.key.name))
            .collect()
    }

    #[test]
    fn the_order_is_that_of_etcd_keys() {
        let all = [
            ("a", "x"),
            ("a-b", "x"),
            ("a", "b"),
            ("a.c", "z"),
            ("ab", "a"),
            ("", "node"),
        ];
        let mut expected: Vec<String> = all
            .iter()
            .map(|(namespace, name)| format!("{namespace}/{name}"))
            .collect();
        expected.sort();
        assert_eq!(names(snapshot(&all).range(None, None)), expected);
        assert_eq!(expected, ["/node", "a-b/x", "a.c/z", "a/b", "a/x", "ab/a"]);
    }

    /// Namespace, after, what is yielded.
    type Row<'a> = (Option<&'a str>, Option<(&'a str, &'a str)>, &'a [&'a str]);

    #[test]
    fn ranges() {
        let snapshot = snapshot(&[
            ("a", "1"),
            ("a", "2"),
            ("a", "3"),
            ("a-b", "1"),
            ("b", "1"),
            ("b", "2"),
        ]);
        let table: [Row<'_>; 9] = [
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
            assert_eq!(
                names(snapshot.range(namespace, after)),
                expected,
                "{namespace:?} {after:?}"
            );
            assert_eq!(
                snapshot.remaining(namespace, after),
                expected.len(),
                "{namespace:?} {after:?}"
            );
        }
        assert_eq!(
            (
                snapshot.len(None),
                snapshot.len(Some("a")),
                snapshot.len(Some("x"))
            ),
            (6, 3, 0)
        );
    }

    #[test]
    fn a_range_over_many_chunks_yields_all() {
        for count in [CHUNK - 1, CHUNK, CHUNK + 1, 50 * CHUNK] {
            let places: Vec<String> = (0..count).map(|n| format!("{n:05}")).collect();
            let all: Vec<(&str, &str)> = places.iter().map(|name| ("ns", name.as_str())).collect();
            let snapshot = snapshot(&all);
            let names = |after| {
                snapshot
                    .range(Some("ns"), after)
                    .map(|object| object.key.name.to_string())
                    .collect::<Vec<_>>()
            };
            assert_eq!(names(None), places);
            for start in (0..count).step_by(17) {
                assert_eq!(names(Some(("ns", &places[start]))), places[start + 1..]);
            }
        }
    }

    /// A hundred thousand objects, counted twenty thousand times: walks over them would take minutes.
    #[test]
    fn counting_is_no_walk() {
        let place = |n: usize| (["a", "a-b", "b"][n % 3], format!("{n:06}"));
        let mut all: Vec<Arc<Object>> = (0..100_000)
            .map(place)
            .map(|(namespace, name)| object(namespace, &name, 1))
            .collect();
        all.sort_by_key(|object| Slot(object.clone()));
        let snapshot = Snapshot::new(1, Objects::bulk(all));
        for n in (0..100_000).step_by(5) {
            let (namespace, name) = place(n);
            let in_namespace = (100_000 - n - 1) / 3;
            assert_eq!(
                snapshot.remaining(Some(namespace), Some((namespace, &name))),
                in_namespace,
                "{n}"
            );
        }
        assert_eq!(snapshot.len(Some("a-b")), 33_333);
        let after = Some(("a-b", "000001"));
        assert_eq!(snapshot.remaining(None, after), 100_000 - 1);
        assert_eq!(snapshot.range(None, after).count(), 100_000 - 1);
    }

    #[test]
    fn what_was_built_in_bulk_can_be_changed() {
        for count in [0, 1, CHUNK, CHUNK + 1, 7 * CHUNK + 5, 40 * CHUNK] {
            let all: Vec<Arc<Object>> = (0..count)
                .map(|n| object("ns", &format!("{:06}", n * 2), 1))
                .collect();
            let mut objects = Objects::bulk(all.clone());
            assert_eq!(objects.len(), count);
            for n in 0..count {
                objects.insert(object("ns", &format!("{:06}", n * 2 + 1), 2));
            }
            for odd in all.iter().skip(1).step_by(2) {
                objects.remove(odd);
            }
            let names: Vec<u64> = Snapshot::new(1, objects)
                .range(None, None)
                .map(|object| object.key.name.parse().unwrap())
                .collect();
            let expected: Vec<u64> = (0..count as u64 * 2).filter(|n| n % 4 != 2).collect();
            assert_eq!(names, expected);
        }
    }

    #[test]
    fn a_newer_version_takes_the_place_of_the_older_and_old_snapshots_stay() {
        let mut objects = Objects::default();
        objects.insert(object("a", "x", 1));
        let before = Snapshot::new(1, objects.clone());
        objects.insert(object("a", "x", 2));
        assert_eq!(
            (objects.len(), objects.get("a", "x").unwrap().revision),
            (1, 2)
        );
        objects.remove(&object("a", "x", 2));
        assert_eq!(objects.len(), 0);
        assert_eq!(before.get("a", "x").unwrap().revision, 1);
    }
}
