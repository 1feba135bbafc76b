//! Parts that many objects have alike, kept once: of the pods of one owner, all specs say the same.
//!
//! Invariant: who changes a shared part changes it for itself alone; what is told of as shared is equal in every field.

use std::{
    fmt,
    hash::{DefaultHasher, Hasher},
    ops::{Deref, DerefMut},
    sync::{Arc, Weak},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

/// A part of an object that others may have, too. To change it is to have it alone from then on.
#[derive(Default)]
pub struct Shared<T>(Arc<T>);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> From<T> for Shared<T> {
    fn from(part: T) -> Self {
        Self(Arc::new(part))
    }
}

impl<T: Clone> Shared<T> {
    /// The part itself.
    pub fn into_inner(self) -> T {
        Arc::unwrap_or_clone(self.0)
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Clone> DerefMut for Shared<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || *self.0 == *other.0
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A part that is worth sharing.
pub trait Part: PartialEq {
    /// Tells the hasher what tells most parts apart; like parts tell the same.
    fn tell(&self, hasher: &mut impl Hasher);
}

impl Part for Vec<OwnerReference> {
    fn tell(&self, hasher: &mut impl Hasher) {
        for owner in self {
            hasher.write(owner.uid.as_bytes());
        }
    }
}

/// Parts that look alike, of which the last few are remembered.
const WAYS: usize = 4;
/// How many of those there are.
const SETS: usize = 64;

/// The parts that were seen lately. It keeps none of them: what nobody has any more is gone, but for the bare room of each part that is remembered.
pub struct Pool<T>(Vec<[Weak<T>; WAYS]>);

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Part> Pool<T> {
    /// Makes `part` one with the part that the same object had before it, or one that was seen lately, if it is equal to it.
    pub fn share(&mut self, part: &mut Shared<T>, before: Option<&Shared<T>>) {
        if let Some(before) = before.filter(|before| *before == part) {
            *part = before.clone();
            return;
        }
        let mut hasher = DefaultHasher::new();
        part.tell(&mut hasher);
        if self.0.is_empty() {
            self.0.resize_with(SETS, Default::default);
        }
        let ways = &mut self.0[hasher.finish() as usize % SETS];
        let place = ways
            .iter()
            .position(|way| way.upgrade().is_some_and(|have| *have == **part));
        // the one seen last stands first
        match place {
            Some(place) => ways[..=place].rotate_right(1),
            None => {
                ways.rotate_right(1);
                ways[0] = Arc::downgrade(&part.0);
            }
        }
        if let Some(first) = ways[0].upgrade() {
            part.0 = first;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Part for String {
        fn tell(&self, hasher: &mut impl Hasher) {
            hasher.write_usize(self.len());
        }
    }

    fn part(text: &str) -> Shared<String> {
        text.to_string().into()
    }

    fn is_one(a: &Shared<String>, b: &Shared<String>) -> bool {
        Arc::ptr_eq(&a.0, &b.0)
    }

    #[test]
    fn equal_parts_are_one_and_unequal_ones_are_not() {
        let mut pool = Pool::default();
        let (mut a, mut like, mut other, mut same) = (part("a"), part("a"), part("b"), part("a"));
        for part in [&mut a, &mut like, &mut other, &mut same] {
            pool.share(part, None);
        }
        assert!(is_one(&a, &like) && is_one(&a, &same) && !is_one(&a, &other));
        assert_eq!((&**a, &**other), ("a", "b"));
        like.push('!');
        assert_eq!(
            (&**a, &**like),
            ("a", "a!"),
            "it is changed for itself alone"
        );
    }

    #[test]
    fn what_an_object_had_before_is_shared_however_long_ago_that_was() {
        let mut pool = Pool::default();
        let mut first = part("a");
        pool.share(&mut first, None);
        for other in ["b", "c", "d", "e"] {
            let mut kept = part(other);
            pool.share(&mut kept, None);
        }
        let (mut unknown, mut known) = (part("a"), part("a"));
        pool.share(&mut unknown, None);
        pool.share(&mut known, Some(&first));
        assert!(!is_one(&unknown, &first) && is_one(&known, &first));
    }

    #[test]
    fn the_pool_keeps_nothing() {
        let mut pool = Pool::default();
        let mut only = part("a");
        pool.share(&mut only, None);
        let watched = Arc::downgrade(&only.0);
        drop(only);
        assert!(watched.upgrade().is_none());
    }
}
