//! The one task that changes the store: it drains the queue of waiting writes into one durable batch, publishes it, answers.
//!
//! Invariant: nothing of a batch is seen, by a reader, a watcher or a writer's answer, before all of it is on disk. When a batch
//! can not be kept, each of its writers is told so and nothing of it is published; the log is recovered before the next batch, and
//! while that fails all writes are refused (reads go on). A write whose caller went away may still happen.
//! Follows `staging/src/k8s.io/apiserver/pkg/storage/etcd3/store.go` (compare and set) and etcd's own batching.

use std::{
    borrow::Cow,
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::{
    Cipher, Draft as Drafted, Error, Expect, Key, Object, Write,
    codec::{self, BatchWriter, Change},
    log::Log,
    past::Past,
    ring::Ring,
    state::{Draft, Names, Shared},
    text::{Outline, Pieces, Text},
};

/// Writes and bytes that go into one batch at most.
const BATCH_WRITES: usize = 2048;
const BATCH_BYTES: usize = 2 << 20;
/// How many events are packed together, and how many of a resource's newest stay as they are.
const PACK: usize = 128;
const LOOSE: usize = 64;
/// How long the queue must be empty for the writer to tidy up.
const IDLE: Duration = Duration::from_millis(500);

struct Waiting {
    write: Write,
    /// Where in the draft's bytes stands what others may have, too.
    outline: Option<Outline>,
    answer: oneshot::Sender<Result<Arc<Object>, Error>>,
}

impl Waiting {
    /// A caller that went away needs no answer.
    fn answer(self, judged: Result<Arc<Object>, Error>) {
        self.answer.send(judged).ok();
    }
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<Waiting>,
    closing: bool,
}

/// The line of writes that wait for the writer.
#[derive(Default)]
pub(crate) struct Queue {
    line: Mutex<Line>,
    arrived: Condvar,
}

impl Queue {
    /// Puts a write in line; its answer comes through the receiver. After [`Queue::close`] there is none.
    pub fn push(&self, write: Write) -> oneshot::Receiver<Result<Arc<Object>, Error>> {
        let (answer, receiver) = oneshot::channel();
        // looked for here, by many at a time, and not by the one writer
        let draft = write.draft.as_ref();
        let outline = draft.and_then(|draft| Outline::of(&draft.bytes));
        let mut line = self.line.lock();
        if !line.closing {
            line.waiting.push_back(Waiting {
                write,
                outline,
                answer,
            });
            drop(line);
            self.arrived.notify_one();
        }
        receiver
    }

    /// Takes no more writes; those in line are still done.
    pub fn close(&self) {
        self.line.lock().closing = true;
        self.arrived.notify_one();
    }

    /// Whether it takes writes.
    pub fn is_open(&self) -> bool {
        !self.line.lock().closing
    }

    fn is_empty(&self) -> bool {
        let line = self.line.lock();
        line.waiting.is_empty() && !line.closing
    }

    /// The next batch, waited for until `deadline` (`None`: forever). `None`: the queue is closed and empty.
    fn take(&self, deadline: Option<Instant>) -> Option<Vec<Waiting>> {
        let mut line = self.line.lock();
        while line.waiting.is_empty() && !line.closing {
            match deadline {
                None => self.arrived.wait(&mut line),
                Some(deadline) if self.arrived.wait_until(&mut line, deadline).timed_out() => {
                    return Some(Vec::new());
                }
                Some(_) => {}
            }
        }
        if line.waiting.is_empty() {
            return None;
        }
        let mut bytes = 0;
        let count = line
            .waiting
            .iter()
            .take(BATCH_WRITES)
            .take_while(|waiting| {
                let before = bytes;
                bytes += size(&waiting.write);
                before == 0 || bytes <= BATCH_BYTES
            });
        let count = count.count();
        Some(line.waiting.drain(..count).collect())
    }
}

fn size(write: &Write) -> usize {
    let drafts = write.draft.iter().chain(&write.last);
    64 + drafts.map(|draft| draft.bytes.len()).sum::<usize>()
}

enum Health {
    Sound,
    /// The log failed. Until `retry` all writes are refused with the error; then recovery is tried.
    Failed {
        error: Error,
        retry: Instant,
    },
}

/// How much room for that is kept, in bytes.
const SCRATCH: usize = 64 << 10;

pub(crate) struct Writer {
    pub shared: Arc<Shared>,
    pub queue: Arc<Queue>,
    log: Box<dyn Log>,
    past: Past,
    names: Names,
    pieces: Pieces,
    /// Where objects are put together: what comes and goes with each would leave gaps in the heap between those that stay.
    scratch: Vec<u8>,
    cipher: Option<Arc<dyn Cipher>>,
    /// Time between two attempts to recover the log.
    retry: Duration,
    health: Health,
    /// Something was published since the last tidying.
    untidy: bool,
}

/// Closes the store however the writer ends, so that nobody waits for it in vain.
struct Ending(Arc<Shared>, Arc<Queue>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.1.close();
        self.1.line.lock().waiting.clear();
        self.0.close();
    }
}

impl Writer {
    pub fn new(
        shared: Arc<Shared>,
        log: Box<dyn Log>,
        past: Past,
        names: Names,
        cipher: Option<Arc<dyn Cipher>>,
        retry: Duration,
    ) -> Self {
        Self {
            shared,
            queue: Arc::default(),
            log,
            past,
            names,
            pieces: Pieces::default(),
            scratch: Vec::new(),
            cipher,
            retry,
            health: Health::Sound,
            untidy: true,
        }
    }

    /// Works until the queue is closed and empty.
    pub fn run(mut self) {
        let _ending = Ending(self.shared.clone(), self.queue.clone());
        while let Some(batch) = self.queue.take(self.next_tidying()) {
            if batch.is_empty() {
                self.tidy();
            } else {
                self.batch(batch);
            }
        }
        self.finish();
    }

    fn finish(&mut self) {
        // What a failed commit may have left on disk must not come back.
        if let Health::Failed { retry, .. } = &mut self.health {
            *retry = Instant::now();
        }
        match self.recover() {
            Ok(()) => {
                if let Err(error) = self.log.close(self.shared.revision()) {
                    tracing::warn!(%error, "the database was not closed well; nothing that was acknowledged is lost");
                }
            }
            Err(error) => {
                tracing::error!(%error, "the database could not be recovered before the end: writes that were refused may be in it")
            }
        }
    }

    fn batch(&mut self, batch: Vec<Waiting>) {
        if let Err(error) = self.recover() {
            return refuse(batch, &error);
        }
        let mut draft = Draft::new(self.shared.root());
        let mut records = BatchWriter::new();
        let judged: Vec<_> = batch
            .iter()
            .map(|waiting| self.judge(waiting, &mut draft, &mut records))
            .collect();
        let mut rings = Vec::new();
        if !draft.events.is_empty() {
            match self.keep(&draft, records) {
                Ok(published) => rings = published,
                Err(error) => return refuse(batch, &error),
            }
        }
        for (waiting, judged) in batch.into_iter().zip(judged) {
            waiting.answer(judged);
        }
        wake(rings);
        self.fold(false);
    }

    /// Makes the batch durable, then visible.
    fn keep(&mut self, draft: &Draft, records: BatchWriter) -> Result<Vec<Arc<Ring>>, Error> {
        let first = draft.revision + 1 - draft.events.len() as u64;
        let batch = records.finish(first);
        if let Err(error) = self.log.append(first, &batch) {
            return Err(self.fail(error));
        }
        let rings = self.shared.publish(draft);
        let now = Instant::now();
        self.past.batch(draft.revision, batch.len(), now);
        for (event, ring) in draft.events.iter().zip(&rings) {
            self.past.event(event, ring.clone(), now);
        }
        self.untidy = true;
        self.past.trim(now);
        Ok(rings)
    }

    /// Whether the write may happen; if so it is put into the draft and the records.
    fn judge(
        &mut self,
        Waiting { write, outline, .. }: &Waiting,
        draft: &mut Draft,
        records: &mut BatchWriter,
    ) -> Result<Arc<Object>, Error> {
        if let Some(reason) = fault(write) {
            return Err(Error::Malformed {
                key: write.key.clone(),
                reason,
            });
        }
        let stored = draft.get(&write.key).cloned();
        let stored = expected(write.expect, stored)?;
        match (&write.draft, stored) {
            (None, None) => Err(Error::NotFound),
            (Some(new), stored) => {
                let key = self.key(&write.key, stored.as_deref());
                self.put(key, new, outline.as_ref(), draft, records)
            }
            (None, Some(stored)) => self.remove(stored, write.last.as_ref(), draft, records),
        }
    }

    /// The key as what is stored has it, its names kept once.
    fn key(&mut self, key: &Key, stored: Option<&Object>) -> Key {
        match stored {
            Some(stored) => stored.key.clone(),
            None => Key {
                resource: self.names.one(&key.resource),
                namespace: self.names.one(&key.namespace),
                name: (&*key.name).into(),
            },
        }
    }

    fn put(
        &mut self,
        key: Key,
        new: &Drafted,
        outline: Option<&Outline>,
        draft: &mut Draft,
        records: &mut BatchWriter,
    ) -> Result<Arc<Object>, Error> {
        let revision = draft.revision + 1;
        let mut bytes = std::mem::take(&mut self.scratch);
        new.splice(revision, &mut bytes);
        records.push(Change::Put, &key, &self.sealed(&key, &bytes)?);
        let digits = bytes.len() - new.bytes.len();
        let outline = outline.and_then(|of| of.spliced(new.revision_at, digits));
        let text = match outline {
            Some(outline) => Text::sharing(&bytes, &outline, &mut self.pieces),
            None => Text::alone([&*bytes]),
        };
        if bytes.capacity() <= SCRATCH {
            self.scratch = bytes;
        }
        let object = Arc::new(Object::of(key, revision, text, new.attributes.clone()));
        draft.put(object.clone());
        Ok(object)
    }

    /// The bytes of an object as they are to lie on disk.
    fn sealed<'b>(&self, key: &Key, bytes: &'b [u8]) -> Result<Cow<'b, [u8]>, Error> {
        let Some(cipher) = &self.cipher else {
            return Ok(Cow::Borrowed(bytes));
        };
        cipher.seal(key, bytes).map_err(|why| Error::Database {
            what: "encrypt an object",
            reason: why.0,
        })
    }

    fn remove(
        &self,
        stored: Arc<Object>,
        last: Option<&Drafted>,
        draft: &mut Draft,
        records: &mut BatchWriter,
    ) -> Result<Arc<Object>, Error> {
        let revision = draft.revision + 1;
        let last = match last {
            Some(last) => {
                let mut bytes = Vec::new();
                last.splice(revision, &mut bytes);
                let kept = self.sealed(&stored.key, &bytes)?;
                records.push(Change::Remove, &stored.key, &kept);
                Object::of(
                    stored.key.clone(),
                    revision,
                    Text::alone([&*bytes]),
                    last.attributes.clone(),
                )
            }
            None => {
                records.push(Change::RemoveAsStored, &stored.key, &[]);
                stored.at(revision)
            }
        };
        let last = Arc::new(last);
        draft.remove(stored, last.clone());
        Ok(last)
    }

    /// Folds one slice of the log into the objects if that is due. True when it did.
    fn fold(&mut self, idle: bool) -> bool {
        let Some(through) = self.past.fold_through(idle, Instant::now()) else {
            return false;
        };
        match self.log.compact(through, self.shared.revision()) {
            Ok(()) => {
                self.past.folded(through);
                true
            }
            Err(error) => {
                self.fail(error);
                false
            }
        }
    }

    fn fail(&mut self, error: Error) -> Error {
        tracing::error!(%error, "the database failed");
        self.shared.failing.store(true, Ordering::Relaxed);
        self.health = Health::Failed {
            error: error.again(),
            retry: Instant::now(),
        };
        error
    }

    /// Makes the log usable again if it failed; the error for which writes are refused if that can not be done (yet).
    fn recover(&mut self) -> Result<(), Error> {
        let Health::Failed { error, retry } = &mut self.health else {
            return Ok(());
        };
        if Instant::now() < *retry {
            return Err(error.again());
        }
        match self.log.recover(self.shared.revision()) {
            Ok(()) => {
                tracing::warn!("the database works again");
                self.health = Health::Sound;
                self.shared.failing.store(false, Ordering::Relaxed);
                Ok(())
            }
            Err(again) => {
                *error = again.again();
                *retry = Instant::now() + self.retry;
                Err(again)
            }
        }
    }

    /// When to tidy up if no write comes before: soon after the last write, and when the oldest kept thing grows too old.
    fn next_tidying(&self) -> Option<Instant> {
        // nobody may write while it is not known that it works again
        if let Health::Failed { retry, .. } = self.health {
            return Some(retry.max(Instant::now() + IDLE));
        }
        if self.untidy {
            return Some(Instant::now() + IDLE);
        }
        // Not in a tight loop when a failed database holds back what is due.
        let margin = Duration::from_secs(1);
        self.past
            .next_due()
            .map(|due| due.max(Instant::now()) + margin)
    }

    /// Gives memory back and shortens the log while nobody waits.
    fn tidy(&mut self) {
        if self.recover().is_err() {
            return;
        }
        self.past.trim(Instant::now());
        if std::mem::take(&mut self.untidy) {
            self.names.tidy();
            let root = self.shared.root();
            for ring in self.shared.rings() {
                ring.cool();
                let is_present = |object: &Arc<Object>| root.has(object);
                while self.queue.is_empty()
                    && (ring.pack(PACK, LOOSE, &is_present) || ring.pack_again(&is_present))
                {
                }
            }
        }
        while self.queue.is_empty() && self.recover().is_ok() && self.fold(true) {}
    }
}

fn refuse(batch: Vec<Waiting>, error: &Error) {
    for waiting in batch {
        waiting.answer(Err(error.again()));
    }
}

/// Wakes the watchers of each ring once.
fn wake(mut rings: Vec<Arc<Ring>>) {
    rings.sort_unstable_by_key(|ring| Arc::as_ptr(ring) as usize);
    rings.dedup_by(|a, b| Arc::ptr_eq(a, b));
    rings.iter().for_each(|ring| ring.wake());
}

/// The stored version if the expectation holds.
fn expected(expect: Expect, stored: Option<Arc<Object>>) -> Result<Option<Arc<Object>>, Error> {
    match (expect, stored) {
        (Expect::Absent, None) => Ok(None),
        (Expect::Absent, Some(stored)) => Err(Error::Exists(stored)),
        (Expect::Revision(_), None) => Err(Error::NotFound),
        (Expect::Revision(revision), Some(stored)) if stored.revision == revision => {
            Ok(Some(stored))
        }
        (Expect::Revision(_), Some(stored)) => Err(Error::Conflict(stored)),
    }
}

/// What is wrong with a write whatever is stored.
fn fault(write: &Write) -> Option<&'static str> {
    let outside = |draft: &Drafted| draft.revision_at > draft.bytes.len();
    codec::key_fault(&write.key).or_else(|| {
        write
            .draft
            .iter()
            .chain(&write.last)
            .any(outside)
            .then_some("revision_at lies outside of the bytes")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(revision: u64) -> Arc<Object> {
        let key = Key {
            resource: "pods".into(),
            namespace: "ns".into(),
            name: "a".into(),
        };
        Arc::new(Object::new(
            key,
            revision,
            Default::default(),
            Default::default(),
        ))
    }

    #[test]
    fn expectations() {
        let answer = |expect, stored: Option<u64>| match expected(expect, stored.map(object)) {
            Ok(stored) => format!("{:?}", stored.map(|stored| stored.revision)),
            Err(error) => error.to_string(),
        };
        let table = [
            (Expect::Absent, None, "None"),
            (Expect::Absent, Some(3), "object exists"),
            (Expect::Revision(3), Some(3), "Some(3)"),
            (Expect::Revision(3), Some(4), "object was changed"),
            (Expect::Revision(3), None, "object not found"),
        ];
        for (expect, stored, expected) in table {
            assert_eq!(answer(expect, stored), expected);
        }
    }
}
