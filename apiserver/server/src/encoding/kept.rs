//! What listed objects are in protobuf, kept for whoever lists them next, or begins to watch them: an object is made into a message once, however many
//! ask for it.
//!
//! Invariant: what is kept is what would be made anew, since a version of an object never changes and a revision names one version. It takes no more
//! than [`MOST`] bytes, and none when nobody has listed anything for two of [`AGE`].

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use skiff_api::machinery::schema::{Node, Schema};
use skiff_protobuf::{ProtobufError, Writer};
use skiff_storage::Object;
use skiff_watching::task;

/// Bytes that are kept, what finds them included; messages are about half as long as the texts that they are made of.
pub const MOST: usize = 32 * 1024 * 1024;

/// How long something is kept that nobody lists, at the least; at most it is twice as long.
const AGE: Duration = Duration::from_secs(60);

/// What one entry takes beside its bytes.
const ENTRY: usize = 96;

/// Messages by the revision of the object and the index of the type that it was shown as.
type Messages = HashMap<(u64, u32), Bytes>;

/// The index of a type that is built in; no other has a form in protobuf.
pub fn index(node: Node) -> Option<u32> {
    let schema = Schema::builtin();
    let of = node
        .as_type()
        .filter(|_| std::ptr::eq(node.schema(), schema));
    schema.index(of?)
}

/// Two generations: what is listed again moves to the younger one, and the older one is dropped as a whole.
#[derive(Default)]
struct Generations {
    young: Messages,
    size: usize,
    old: Messages,
}

impl Generations {
    fn find(&mut self, key: (u64, u32)) -> Option<Bytes> {
        if let Some(found) = self.young.get(&key) {
            return Some(found.clone());
        }
        let found = self.old.remove(&key)?;
        self.put(key, found.clone());
        Some(found)
    }

    fn put(&mut self, key: (u64, u32), message: Bytes) {
        let size = message.len() + ENTRY;
        if self.size + size > MOST / 2 {
            self.turn();
        }
        self.size += size;
        self.young.insert(key, message);
    }

    fn turn(&mut self) {
        self.old = std::mem::take(&mut self.young);
        self.size = 0;
    }
}

/// See the module.
#[derive(Clone, Default)]
pub struct Kept {
    generations: Arc<Mutex<Generations>>,
    /// A task drops what is old.
    is_swept: Arc<AtomicBool>,
}

impl Kept {
    /// The message of an object as an item of a list, from here or made now.
    ///
    /// # Errors
    /// It has no form in protobuf.
    pub fn item(&self, object: &Object, node: Node) -> Result<Bytes, ProtobufError> {
        let of = index(node);
        let known = of.and_then(|of| self.generations.lock().find((object.revision, of)));
        if let Some(known) = known {
            return Ok(known);
        }
        let mut item = Vec::new();
        Writer::new(node)?.field(2, &object.bytes.read(), &mut item)?;
        item.shrink_to_fit();
        let item = Bytes::from(item);
        if let Some(of) = of {
            self.put(of, std::iter::once((object.revision, item.clone())));
        }
        Ok(item)
    }

    /// The messages of these objects, shown as the type of this index; `None` for those that nobody has listed lately.
    pub fn find(&self, of: u32, objects: &[Arc<Object>]) -> Vec<Option<Bytes>> {
        let mut generations = self.generations.lock();
        objects
            .iter()
            .map(|object| generations.find((object.revision, of)))
            .collect()
    }

    /// Keeps what was made of objects.
    pub fn put(&self, of: u32, made: impl Iterator<Item = (u64, Bytes)>) {
        let mut generations = self.generations.lock();
        for (revision, message) in made {
            generations.put((revision, of), message);
        }
        drop(generations);
        if !self.is_swept.swap(true, Ordering::AcqRel) {
            task::spawn(self.clone().sweep());
        }
    }

    /// Drops what is old until there is nothing more.
    async fn sweep(self) {
        loop {
            tokio::time::sleep(AGE).await;
            if self.is_empty_with_age() {
                return;
            }
        }
    }

    /// An [`AGE`] is over: tells whether nothing is left, in which case nobody sweeps any more.
    fn is_empty_with_age(&self) -> bool {
        let mut generations = self.generations.lock();
        generations.turn();
        if !generations.old.is_empty() {
            return false;
        }
        *generations = Generations::default();
        self.is_swept.store(false, Ordering::Release);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: Bytes = Bytes::from_static(&[0; 1000]);

    #[test]
    fn it_takes_no_more_than_it_may() {
        let mut kept = Generations::default();
        for revision in 0..100_000 {
            kept.put((revision, 0), MESSAGE);
            // this one is listed again and again
            assert!(kept.find((0, 0)).is_some(), "{revision}");
        }
        let has = kept.young.len() + kept.old.len();
        assert!(
            (10_000..=MOST / (MESSAGE.len() + ENTRY)).contains(&has),
            "{has}"
        );
        assert!(kept.find((99_999, 1)).is_none(), "another type");
        assert!(kept.find((1, 0)).is_none());
    }

    #[tokio::test]
    async fn it_is_empty_when_nobody_lists() {
        let kept = Kept::default();
        kept.put(7, [(1, MESSAGE)].into_iter());
        let has = || kept.generations.lock().find((1, 7)).is_some();
        assert!(!kept.is_empty_with_age());
        assert!(has());
        assert!(!kept.is_empty_with_age());
        assert!(has(), "it was listed in between");
        assert!(!kept.is_empty_with_age());
        assert!(kept.is_empty_with_age());
        assert!(!has());
        assert!(!kept.is_swept.load(Ordering::Acquire));
        kept.put(7, [(2, MESSAGE)].into_iter());
        assert!(kept.is_swept.load(Ordering::Acquire));
    }
}
