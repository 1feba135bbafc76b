//! Sets of paths, as tries: which fields a manager owns.
//!
//! Invariant: entries are sorted and each says something (it is a member, or has members below it).
//! Follows `sigs.k8s.io/structured-merge-diff/v6/fieldpath/{set,serialize}.go`.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::element::{ElementError, PathElement};

/// A set of paths.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Set<'a> {
    entries: Vec<Entry<'a>>,
}

/// A step, and what the set says of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry<'a> {
    pub element: PathElement<'a>,
    pub node: SetNode<'a>,
}

/// Whether a path is in the set, and which paths below it are.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SetNode<'a> {
    pub member: bool,
    pub below: Set<'a>,
}

impl<'a> SetNode<'a> {
    /// Only the path itself.
    pub fn leaf() -> SetNode<'a> {
        SetNode {
            member: true,
            below: Set::default(),
        }
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }
}

/// Entries of two sets for one step.
type Pair<'s, 'a, 'b> = (Option<&'s Entry<'a>>, Option<&'s Entry<'b>>);

/// Walks two sets side by side.
fn zip<'s, 'a, 'b>(
    left: &'s Set<'a>,
    right: &'s Set<'b>,
) -> impl Iterator<Item = Pair<'s, 'a, 'b>> {
    let (mut left, mut right) = (
        left.entries.iter().peekable(),
        right.entries.iter().peekable(),
    );
    std::iter::from_fn(move || {
        let order = match (left.peek(), right.peek()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(l), Some(r)) => order(&l.element, &r.element),
        };
        Some((
            if order.is_le() { left.next() } else { None },
            if order.is_ge() { right.next() } else { None },
        ))
    })
}

fn order(left: &PathElement<'_>, right: &PathElement<'_>) -> Ordering {
    left.cmp(right)
}

impl<'a> Set<'a> {
    /// An empty set with room for entries.
    pub fn with_capacity(entries: usize) -> Set<'a> {
        Set {
            entries: Vec::with_capacity(entries),
        }
    }

    /// Whether no path is in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries, sorted.
    pub fn entries(&self) -> &[Entry<'a>] {
        &self.entries
    }

    /// Adds an entry; one that says nothing is left out. Entries of one set must have different steps.
    pub fn push(&mut self, element: PathElement<'a>, node: SetNode<'a>) {
        if node.is_empty() {
            return;
        }
        match self.entries.last() {
            Some(last) if last.element >= element => match self.find(&element) {
                Ok(at) => {
                    let there = &mut self.entries[at].node;
                    there.member |= node.member;
                    there.below = there.below.union(&node.below);
                }
                Err(at) => self.entries.insert(at, Entry { element, node }),
            },
            _ => self.entries.push(Entry { element, node }),
        }
    }

    /// Adds an entry behind all others; it must say something.
    pub fn push_last(&mut self, element: PathElement<'a>, node: SetNode<'a>) {
        debug_assert!(
            self.entries
                .last()
                .is_none_or(|last| last.element < element)
                && !node.is_empty()
        );
        self.entries.push(Entry { element, node });
    }

    /// Adds a path.
    pub fn insert(&mut self, path: &[PathElement<'a>]) {
        let Some((first, rest)) = path.split_first() else {
            return;
        };
        let at = match self.find(first) {
            Ok(at) => at,
            Err(at) => {
                self.entries.insert(
                    at,
                    Entry {
                        element: first.clone(),
                        node: SetNode::default(),
                    },
                );
                at
            }
        };
        let node = &mut self.entries[at].node;
        if rest.is_empty() {
            node.member = true
        } else {
            node.below.insert(rest)
        }
    }

    fn find(&self, element: &PathElement<'_>) -> Result<usize, usize> {
        self.entries.binary_search_by(|e| e.element.cmp(element))
    }

    /// What the set says of a step.
    pub fn get(&self, element: &PathElement<'_>) -> Option<&SetNode<'a>> {
        self.find(element).ok().map(|at| &self.entries[at].node)
    }

    /// Whether a path is in the set.
    pub fn has(&self, path: &[PathElement<'_>]) -> bool {
        match path {
            [] => false,
            [last] => self.get(last).is_some_and(|n| n.member),
            [first, rest @ ..] => self.get(first).is_some_and(|n| n.below.has(rest)),
        }
    }

    /// The entries of this set that `keep` leaves something of, given what the other says of the same step.
    fn filter<'b>(
        &self,
        other: &Set<'b>,
        keep: impl Fn(&SetNode<'a>, Option<&SetNode<'b>>) -> SetNode<'a>,
    ) -> Set<'a> {
        let pairs = zip(self, other).filter_map(|(l, r)| l.map(|l| (l, r)));
        let kept = pairs
            .map(|(l, r)| (&l.element, keep(&l.node, r.map(|r| &r.node))))
            .filter(|(_, node)| !node.is_empty());
        Set {
            entries: kept
                .map(|(element, node)| Entry {
                    element: element.clone(),
                    node,
                })
                .collect(),
        }
    }

    /// The paths of either.
    pub fn union(&self, other: &Set<'a>) -> Set<'a> {
        if self.is_empty() {
            return other.clone();
        }
        if other.is_empty() {
            return self.clone();
        }
        let both = |l: &Entry<'a>, r: &Entry<'a>| Entry {
            element: l.element.clone(),
            node: SetNode {
                member: l.node.member || r.node.member,
                below: l.node.below.union(&r.node.below),
            },
        };
        let merged = zip(self, other).filter_map(|pair| match pair {
            (Some(l), Some(r)) => Some(both(l, r)),
            (one, other) => one.or(other).cloned(),
        });
        Set {
            entries: merged.collect(),
        }
    }

    /// The paths of both.
    pub fn intersection(&self, other: &Set<'_>) -> Set<'a> {
        self.filter(other, |l, r| {
            r.map_or_else(SetNode::default, |r| SetNode {
                member: l.member && r.member,
                below: l.below.intersection(&r.below),
            })
        })
    }

    /// Whether the two have a path in common.
    pub fn intersects(&self, other: &Set<'_>) -> bool {
        zip(self, other).any(|pair| match pair {
            (Some(l), Some(r)) => {
                (l.node.member && r.node.member) || l.node.below.intersects(&r.node.below)
            }
            _ => false,
        })
    }

    /// The paths of this one that the other has not. Taking a path leaves those below it.
    pub fn difference(&self, other: &Set<'_>) -> Set<'a> {
        self.clone().without(other)
    }

    /// As [`Set::difference`], in place.
    pub fn without(mut self, other: &Set<'_>) -> Set<'a> {
        self.subtract(other, false);
        self
    }

    /// The paths of this one that the other has not. Taking a path takes those below it, too.
    pub fn recursively_without(mut self, other: &Set<'_>) -> Set<'a> {
        self.subtract(other, true);
        self
    }

    fn subtract(&mut self, other: &Set<'_>, recursive: bool) {
        let mut theirs = other.entries.iter().peekable();
        self.entries.retain_mut(|entry| {
            while theirs
                .next_if(|t| order(&t.element, &entry.element).is_lt())
                .is_some()
            {}
            let Some(other) = theirs.next_if(|t| order(&t.element, &entry.element).is_eq()) else {
                return true;
            };
            if other.node.member {
                entry.node.member = false;
                if recursive {
                    return false;
                }
            }
            entry.node.below.subtract(&other.node.below, recursive);
            !entry.node.is_empty()
        });
    }

    /// Every path: those that end here first, then those further below.
    pub fn paths(&self) -> Vec<Vec<PathElement<'a>>> {
        let mut found = Vec::new();
        self.collect(&mut Vec::new(), &mut found);
        found
    }

    fn collect(&self, prefix: &mut Vec<PathElement<'a>>, found: &mut Vec<Vec<PathElement<'a>>>) {
        for entry in self.entries.iter().filter(|e| e.node.member) {
            found.push(prefix.iter().chain([&entry.element]).cloned().collect());
        }
        for entry in &self.entries {
            prefix.push(entry.element.clone());
            entry.node.below.collect(prefix, found);
            prefix.pop();
        }
    }

    /// Reads `fieldsV1`.
    pub fn from_fields(fields: &'a Value) -> Result<Set<'a>, ElementError> {
        Ok(read(fields)?.below)
    }

    /// The set as `fieldsV1`.
    pub fn to_fields(&self) -> Value {
        Value::Object(self.write(false))
    }

    fn write(&self, member: bool) -> Map<String, Value> {
        let own = member.then(|| (".".to_string(), Value::Object(Map::new())));
        let below = self.entries.iter().map(|Entry { element, node }| {
            let below = if node.below.is_empty() {
                Map::new()
            } else {
                node.below.write(node.member)
            };
            (element.serialize(), Value::Object(below))
        });
        // A map made of all its entries at once is cheaper than one they are put into.
        own.into_iter().chain(below).collect()
    }

    /// Whether `fieldsV1` has a path of this set, or paths below one. Reads only what it must.
    pub fn touches(&self, fields: &Value) -> bool {
        let Some(map) = fields.as_object() else {
            return false;
        };
        self.entries.iter().any(|entry| {
            map.get(&entry.element.serialize())
                .is_some_and(|there| entry.node.member || entry.node.below.touches(there))
        })
    }
}

/// What one level of `fieldsV1` says. A level without anything below says that its own path is in the set.
fn read<'a>(fields: &'a Value) -> Result<SetNode<'a>, ElementError> {
    let mut node = SetNode::default();
    match fields {
        Value::Null => {}
        Value::Object(map) => {
            node.below.entries.reserve(map.len());
            for (key, value) in map {
                if key == "." {
                    node.member = true;
                } else if let Some(element) = PathElement::parse(key)? {
                    node.below.push(element, read(value)?);
                }
            }
        }
        other => {
            return Err(ElementError::Content(format!(
                "expected an object, got {other}"
            )));
        }
    }
    node.member |= node.below.is_empty();
    Ok(node)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(fields: &Value) -> Set<'_> {
        Set::from_fields(fields).unwrap()
    }

    #[test]
    fn fields() {
        for fields in [
            json!({}),
            json!({"f:data": {".": {}, "f:x": {}}}),
            json!({"f:spec": {"f:ports": {".": {}, "k:{\"port\":443}": {".": {}, "f:port": {}}, "k:{\"port\":80}": {".": {}, "f:port": {}}}}}),
            json!({"f:metadata": {"f:finalizers": {".": {}, "v:\"a\"": {}}}}),
        ] {
            assert_eq!(set(&fields).to_fields(), fields);
        }
        assert_eq!(
            set(&json!({"f:a": null, "x:later": {}})).to_fields(),
            json!({"f:a": {}})
        );
        assert!(
            Set::from_fields(&json!({"f:a": 1})).is_err()
                && Set::from_fields(&json!({"a": {}})).is_err()
        );
    }

    #[test]
    fn operations() {
        let (a, b) = (
            json!({"f:a": {".": {}, "f:x": {}, "f:y": {}}, "f:b": {}}),
            json!({"f:a": {"f:x": {}}, "f:c": {}}),
        );
        let (a, b) = (set(&a), set(&b));
        assert_eq!(
            a.union(&b).to_fields(),
            json!({"f:a": {".": {}, "f:x": {}, "f:y": {}}, "f:b": {}, "f:c": {}})
        );
        assert_eq!(a.intersection(&b).to_fields(), json!({"f:a": {"f:x": {}}}));
        assert_eq!(
            a.difference(&b).to_fields(),
            json!({"f:a": {".": {}, "f:y": {}}, "f:b": {}})
        );
        assert!(a.intersects(&b) && !b.difference(&a).intersects(&a));
        let parent = json!({"f:a": {}});
        assert_eq!(
            a.difference(&set(&parent)).to_fields(),
            json!({"f:a": {"f:x": {}, "f:y": {}}, "f:b": {}})
        );
        assert_eq!(
            a.clone().recursively_without(&set(&parent)).to_fields(),
            json!({"f:b": {}})
        );
        let fields = a.to_fields();
        assert!(
            b.touches(&fields)
                && set(&parent).touches(&fields)
                && !a.difference(&b).difference(&a).touches(&fields)
        );
        let paths: Vec<String> = a
            .paths()
            .iter()
            .map(|p| p.iter().map(ToString::to_string).collect())
            .collect();
        assert_eq!(paths, [".a", ".b", ".a.x", ".a.y"]);
        assert!(
            a.has(&[PathElement::field("a"), PathElement::field("x")])
                && !b.has(&[PathElement::field("a")])
        );
    }
}
