//! What a watcher asks for when that is less than a whole resource, and who is told of which event: a node's agent is not woken by the pods of others.
//!
//! Invariant: while a ring's lock is held, each slot knows the first event since its watcher looked that is for it; so a watcher without one has seen
//! all there is, however many events of others have come and gone.
//! Follows the indexers and triggers of `staging/src/k8s.io/apiserver/pkg/storage/cacher/cacher.go` in purpose.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{Event, Object, attributes::Paths};

/// Which events are wanted: those of objects that are, or were before, in this namespace, of this name, and with this value in this field.
/// Nothing said is everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    namespace: Option<Box<str>>,
    name: Option<Box<str>>,
    field: Option<(u16, Box<str>)>,
}

impl Interest {
    pub fn in_namespace(self, namespace: &str) -> Interest {
        Interest {
            namespace: Some(namespace.into()),
            ..self
        }
    }

    pub fn named(self, name: &str) -> Interest {
        Interest {
            name: Some(name.into()),
            ..self
        }
    }

    /// `value` is not empty: what is empty is not noted of an object.
    pub fn with_field(self, path: &str, value: &str) -> Interest {
        Interest {
            field: Some((Paths::number(path), value.into())),
            ..self
        }
    }

    pub fn is_everything(&self) -> bool {
        *self == Interest::default()
    }

    /// Whether the event is one of those. One of an object that cannot be read is everybody's.
    pub fn takes(&self, event: &Event) -> bool {
        self.fits(&event.object)
            || event
                .previous
                .as_ref()
                .is_some_and(|previous| self.fits(previous))
    }

    fn fits(&self, object: &Object) -> bool {
        let attributes = object.attributes();
        let field = |(path, value): &(u16, Box<str>)| {
            attributes.is_unreadable()
                || attributes
                    .fields()
                    .any(|(have, text)| have == *path && text == &**value)
        };
        self.namespace
            .as_deref()
            .is_none_or(|namespace| namespace == &*object.key.namespace)
            && self
                .name
                .as_deref()
                .is_none_or(|name| name == &*object.key.name)
            && self.field.as_ref().is_none_or(field)
    }

    /// The part that few objects share, by which the slot is found.
    fn part(&self) -> Part<'_> {
        match (&self.name, &self.field, &self.namespace) {
            (Some(name), ..) => Part::Name(name),
            (None, Some((path, value)), _) => Part::Field(*path, value),
            (None, None, namespace) => Part::Namespace(namespace.as_deref().unwrap_or_default()),
        }
    }
}

#[derive(Clone, Copy, Hash)]
enum Part<'a> {
    Name(&'a str),
    Field(u16, &'a str),
    Namespace(&'a str),
}

impl Part<'_> {
    /// Parts that share a number wake each other's watchers, who find nothing then.
    fn number(self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// Nothing has come.
const NONE: u64 = u64::MAX;

/// Where a watcher is told.
pub(crate) struct Slot {
    /// The running number of the first event for it since it looked.
    first: AtomicU64,
    pub told: Notify,
}

impl Slot {
    /// The first event for it since this was asked last. To be called under the ring's lock.
    pub fn take(&self) -> Option<u64> {
        Some(self.first.swap(NONE, Ordering::Relaxed)).filter(|first| *first != NONE)
    }

    /// The same, and it stays.
    pub fn peek(&self) -> Option<u64> {
        Some(self.first.load(Ordering::Relaxed)).filter(|first| *first != NONE)
    }
}

/// The slots of a ring's watchers who ask for less than all.
#[derive(Default)]
pub(crate) struct Slots(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    by_part: HashMap<u64, Vec<(Interest, Weak<Slot>)>>,
    /// The fields that somebody asks for, and whether names and namespaces are asked for.
    paths: Vec<u16>,
    names: bool,
    namespaces: bool,
    /// How many slots there were when those were last looked through that nobody has any more.
    looked_through: usize,
    slots: usize,
}

impl Slots {
    /// A slot for the interest.
    pub fn add(&self, interest: Interest) -> Arc<Slot> {
        let slot = Arc::new(Slot {
            first: AtomicU64::new(NONE),
            told: Notify::new(),
        });
        let mut waiting = self.0.lock();
        if waiting.slots >= waiting.looked_through * 2 + 16 {
            waiting.clear_away();
        }
        waiting.notice(interest.part());
        waiting.slots += 1;
        waiting
            .by_part
            .entry(interest.part().number())
            .or_default()
            .push((interest, Arc::downgrade(&slot)));
        slot
    }

    /// Tells those whom the event of this running number concerns. To be called under the ring's lock, when the event stands in it.
    pub fn tell(&self, event: &Event, number: u64) {
        let waiting = self.0.lock();
        if waiting.by_part.is_empty() {
            return;
        }
        let tell = |slots: &Vec<(Interest, Weak<Slot>)>| {
            for slot in slots
                .iter()
                .filter(|(interest, _)| interest.takes(event))
                .filter_map(|(_, slot)| slot.upgrade())
            {
                slot.first.fetch_min(number, Ordering::Relaxed);
                slot.told.notify_one();
            }
        };
        for object in std::iter::once(&event.object).chain(&event.previous) {
            match object.attributes().is_unreadable() {
                true => waiting.by_part.values().for_each(tell),
                false => waiting.parts(object, |part| {
                    waiting
                        .by_part
                        .get(&part.number())
                        .into_iter()
                        .for_each(tell)
                }),
            }
        }
    }

    /// Wakes all of them.
    pub fn wake(&self) {
        let waiting = self.0.lock();
        waiting
            .by_part
            .values()
            .flatten()
            .filter_map(|(_, slot)| slot.upgrade())
            .for_each(|slot| slot.told.notify_one());
    }
}

impl Waiting {
    fn notice(&mut self, part: Part<'_>) {
        match part {
            Part::Name(_) => self.names = true,
            Part::Namespace(_) => self.namespaces = true,
            Part::Field(path, _) if !self.paths.contains(&path) => self.paths.push(path),
            Part::Field(..) => {}
        }
    }

    /// The parts of an object for which somebody may wait.
    fn parts(&self, object: &Object, mut tell: impl FnMut(Part<'_>)) {
        if self.names {
            tell(Part::Name(&object.key.name));
        }
        if self.namespaces {
            tell(Part::Namespace(&object.key.namespace));
        }
        if !self.paths.is_empty() {
            object
                .attributes()
                .fields()
                .filter(|(path, _)| self.paths.contains(path))
                .for_each(|(path, value)| tell(Part::Field(path, value)));
        }
    }

    /// Forgets the slots of watchers that are gone.
    fn clear_away(&mut self) {
        self.by_part.retain(|_, slots| {
            slots.retain(|(_, slot)| slot.strong_count() > 0);
            !slots.is_empty()
        });
        self.slots = self.by_part.values().map(Vec::len).sum();
        self.looked_through = self.slots;
    }
}
