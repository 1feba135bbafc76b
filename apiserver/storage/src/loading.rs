//! From what the log holds to a writer that can start: objects are taken over in bulk, the batches after them are replayed, so that
//! watches and exact reads can go on where they were before a restart.
//!
//! Invariant: no JSON is parsed; revisions have no gap, or the database is damaged.
//! Follows `staging/src/k8s.io/apiserver/pkg/storage/cacher/reflector.go` in its purpose (a cache filled before it serves).

use std::{borrow::Cow, sync::Arc, time::Instant};

use crate::{
    Cipher, Error, Indexer, Key, Object, Options,
    cipher::sealed,
    codec::{self, Change, Damage, Record},
    log::{Loaded, Log},
    objects::Objects,
    past::Past,
    state::{Draft, Names, Shared},
    text::{Pieces, Text},
    writer::Writer,
};

/// The writer of the store that `log` holds, ready to run.
pub(crate) fn load(mut log: Box<dyn Log>, options: Options) -> Result<Writer, Error> {
    let mut loading = Loading {
        indexer: options.indexer,
        cipher: options.cipher.clone(),
        past: Past::new(options.history),
        ..Loading::default()
    };
    log.load(&mut |loaded| loading.take(loaded))?;
    loading.finish_objects();
    let (draft, shared) = (loading.draft, loading.shared);
    shared.begin(draft.root());
    Ok(Writer::new(
        Arc::new(shared),
        log,
        loading.past,
        loading.names,
        options.cipher,
        options.retry,
    ))
}

#[derive(Default)]
struct Loading {
    indexer: Option<Indexer>,
    cipher: Option<Arc<dyn Cipher>>,
    names: Names,
    pieces: Pieces,
    past: Past,
    shared: Shared,
    /// The objects of the resource being read.
    current: Vec<Arc<Object>>,
    /// All resources read to their end, then the batches on top of them.
    draft: Draft,
}

impl Loading {
    fn take(&mut self, loaded: Loaded<'_>) -> Result<(), Damage> {
        match loaded {
            Loaded::Compacted(revision) => {
                self.shared = Shared::new(revision);
                self.draft = Draft::new(self.shared.root());
            }
            Loaded::Object {
                resource,
                namespace,
                name,
                revision,
                bytes,
            } => {
                if self
                    .current
                    .last()
                    .is_some_and(|last| *last.key.resource != *resource)
                {
                    self.finish_objects();
                }
                let object = self.object((resource, namespace, name), revision, bytes);
                self.past.live += object.bytes.len();
                self.current.push(Arc::new(object));
            }
            Loaded::Batch { first, bytes } => {
                self.finish_objects();
                self.batch(first, bytes)?;
            }
        }
        Ok(())
    }

    fn object(
        &mut self,
        (resource, namespace, name): (&str, &str, &str),
        revision: u64,
        bytes: &[u8],
    ) -> Object {
        let key = Key {
            resource: self.names.one(resource),
            namespace: self.names.one(namespace),
            name: name.into(),
        };
        let opened = match &self.cipher {
            None => Cow::Borrowed(bytes),
            Some(cipher) => cipher
                .open(&key, revision, bytes)
                .unwrap_or_else(|why| Cow::Owned(sealed(&why))),
        };
        Object::stored(
            key,
            revision,
            Text::of(&opened, &mut self.pieces),
            self.indexer.clone(),
        )
    }

    fn finish_objects(&mut self) {
        let objects = std::mem::take(&mut self.current);
        if let Some(first) = objects.first() {
            self.draft
                .fill(first.key.resource.clone(), Objects::bulk(objects));
        }
    }

    fn batch(&mut self, first: u64, bytes: &[u8]) -> Result<(), Damage> {
        if first != self.draft.revision + 1 {
            return Err(Damage::Gap(self.draft.revision, first));
        }
        for record in codec::read_batch(bytes)?.1 {
            self.record(record)?;
        }
        let now = Instant::now();
        self.past.batch(self.draft.revision, bytes.len(), now);
        for event in std::mem::take(&mut self.draft.events) {
            let ring = self.shared.ring(&event.object.key.resource);
            self.past.event(&event, ring.clone(), now);
            ring.lock().push(event);
        }
        self.past.trim(now);
        Ok(())
    }

    fn record(&mut self, record: Record<'_>) -> Result<(), Damage> {
        let revision = self.draft.revision + 1;
        let object = self.object(
            (record.resource, record.namespace, record.name),
            revision,
            record.bytes,
        );
        if record.change == Change::Put {
            self.draft.put(Arc::new(object));
            return Ok(());
        }
        let stored = self
            .draft
            .get(&object.key)
            .cloned()
            .ok_or(Damage::NotThere(revision))?;
        let last = if record.change == Change::Remove {
            object
        } else {
            stored.at(revision)
        };
        self.draft.remove(stored, Arc::new(last));
        Ok(())
    }
}
