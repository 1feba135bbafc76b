//! What a store holds and answers: keys, objects, writes, events, errors. No I/O here.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::{Attributes, text::Text};

/// Names one object: `resource` is `plural.group` (`pods`, `deployments.apps`), `namespace` is empty for cluster-scoped objects.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Key {
    pub resource: Arc<str>,
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

/// Makes the [`Attributes`] of an object from its key and bytes.
pub type Indexer = Arc<dyn Fn(&Key, &[u8]) -> Attributes + Send + Sync>;

/// One version of one object. Immutable and shared.
pub struct Object {
    pub key: Key,
    /// The revision of the write that made this version (`metadata.resourceVersion`).
    pub revision: u64,
    /// Canonical JSON of the object, its resourceVersion in it.
    pub bytes: Text,
    pub(crate) attributes: OnceLock<Attributes>,
    pub(crate) indexer: Option<Indexer>,
}

impl Object {
    /// A version with its attributes known.
    pub fn new(key: Key, revision: u64, bytes: Bytes, attributes: Attributes) -> Self {
        Self::of(key, revision, bytes.into(), attributes)
    }

    /// The same, its bytes shared in part.
    pub(crate) fn of(key: Key, revision: u64, bytes: Text, attributes: Attributes) -> Self {
        Self {
            key,
            revision,
            bytes,
            attributes: OnceLock::from(attributes),
            indexer: None,
        }
    }

    /// A version read back from disk, its attributes made when first asked for.
    pub(crate) fn stored(key: Key, revision: u64, bytes: Text, indexer: Option<Indexer>) -> Self {
        Self {
            key,
            revision,
            bytes,
            attributes: OnceLock::new(),
            indexer,
        }
    }

    /// The same bytes under another revision.
    pub(crate) fn at(&self, revision: u64) -> Self {
        let Self {
            key,
            bytes,
            attributes,
            indexer,
            ..
        } = self;
        Self {
            key: key.clone(),
            revision,
            bytes: bytes.clone(),
            attributes: attributes.clone(),
            indexer: indexer.clone(),
        }
    }

    /// Why the object cannot be read: what lies on disk could not be opened when the store was.
    pub fn sealed(&self) -> Option<String> {
        self.bytes.sealed()
    }

    /// What the server looks at in the object. Made from the bytes at most once; empty when the store was opened without an [`Indexer`].
    pub fn attributes(&self) -> &Attributes {
        self.attributes.get_or_init(|| {
            self.indexer
                .as_ref()
                .map(|index| index(&self.key, &self.bytes.read()))
                .unwrap_or_default()
        })
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}@{}", self.key, self.revision)
    }
}

/// An object about to be written. Its bytes lack the digits of the revision, which only the writer knows: they belong at `revision_at`,
/// between the quotes of `"resourceVersion":""`.
#[derive(Clone, Debug)]
pub struct Draft {
    pub bytes: Vec<u8>,
    pub revision_at: usize,
    pub attributes: Attributes,
}

impl Draft {
    /// The bytes with `revision` in them, in the place of what `out` holds. The caller has checked that `revision_at` lies within them.
    pub(crate) fn splice(&self, revision: u64, out: &mut Vec<u8>) {
        let digits = revision.to_string();
        let (head, tail) = self.bytes.split_at(self.revision_at);
        out.clear();
        [head, digits.as_bytes(), tail]
            .iter()
            .for_each(|part| out.extend_from_slice(part));
    }
}

/// What must hold of the stored version for a write to happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    /// No such object (create).
    Absent,
    /// Exactly this revision (compare and set).
    Revision(u64),
}

/// One write: `draft` is the new version, `None` removes the object.
#[derive(Clone, Debug)]
pub struct Write {
    pub key: Key,
    pub expect: Expect,
    pub draft: Option<Draft>,
    /// For a removal: the object as watchers are to see it (its last state, with the revision of the removal spliced in).
    /// `None` shows them the stored bytes.
    pub last: Option<Draft>,
}

/// What became of an object. `previous` is the version before it, when there was one.
pub struct Event {
    pub kind: EventKind,
    pub revision: u64,
    /// The new version; for `Deleted` the last state, its resourceVersion that of the removal.
    pub object: Arc<Object>,
    pub previous: Option<Arc<Object>>,
    renderings: Mutex<Renderings>,
}

/// The forms in which an event was sent to watchers, by slot.
#[derive(Default)]
struct Renderings {
    by_slot: Vec<(u32, Bytes)>,
    /// The event is no longer recent: whoever still needs it renders for himself.
    cold: bool,
}

impl Event {
    pub fn new(kind: EventKind, object: Arc<Object>, previous: Option<Arc<Object>>) -> Self {
        Self {
            kind,
            revision: object.revision,
            object,
            previous,
            renderings: Mutex::default(),
        }
    }

    /// The event in the form that `slot` stands for (an encoding, a version, the type of event that a selector turns it into: the
    /// numbers are the caller's). `make` runs once a slot while the event is recent, its result is shared by all watchers; it must
    /// not ask the same event for a rendering. Its failure is not kept.
    pub fn rendered<E>(
        &self,
        slot: u32,
        make: impl FnOnce() -> Result<Bytes, E>,
    ) -> Result<Bytes, E> {
        let mut renderings = self.renderings.lock();
        if let Some((_, bytes)) = renderings.by_slot.iter().find(|(have, _)| *have == slot) {
            return Ok(bytes.clone());
        }
        if renderings.cold {
            drop(renderings);
            return make();
        }
        let bytes = make()?;
        renderings.by_slot.push((slot, bytes.clone()));
        Ok(bytes)
    }

    /// Gives the memory of the renderings back; from now on nothing is kept.
    pub(crate) fn cool(&self) {
        *self.renderings.lock() = Renderings {
            by_slot: Vec::new(),
            cold: true,
        };
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.kind, self.object)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventKind {
    Added,
    Modified,
    Deleted,
}

#[derive(thiserror::Error, Debug)]
pub enum Error {
    #[error("object exists")]
    Exists(Arc<Object>),
    #[error("object not found")]
    NotFound,
    /// The stored revision is another; the present version is given.
    #[error("object was changed")]
    Conflict(Arc<Object>),
    /// The revision lies before what is kept; `oldest` is the oldest that can be asked for.
    #[error("revision {asked} is compacted, oldest is {oldest}")]
    Compacted { asked: u64, oldest: u64 },
    /// The revision lies in the future and did not come within the time given.
    #[error("revision {asked} is in the future, newest is {newest}")]
    Future { asked: u64, newest: u64 },
    #[error("the data folder {0} is held by another process")]
    Locked(String),
    /// The database can not be read. It was left as it is.
    #[error("the database {path} is damaged: {reason}")]
    Damaged { path: String, reason: String },
    #[error("the store is closed")]
    Closed,
    #[error("cannot {what}: {source}")]
    Io {
        what: &'static str,
        source: std::io::Error,
    },
    #[error("cannot {what}: {reason}")]
    Database { what: &'static str, reason: String },
    /// The write can not be kept as it is: an impossible key, or a `revision_at` outside of the bytes.
    #[error("malformed write of {key:?}: {reason}")]
    Malformed { key: Key, reason: &'static str },
}

impl Error {
    /// Of the file system, while it was to do `what`.
    pub(crate) fn io(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { what, source }
    }

    /// The same error once more: one failed commit is told to each of its writers.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Exists(object) => Self::Exists(object.clone()),
            Self::NotFound => Self::NotFound,
            Self::Conflict(object) => Self::Conflict(object.clone()),
            Self::Compacted { asked, oldest } => Self::Compacted {
                asked: *asked,
                oldest: *oldest,
            },
            Self::Future { asked, newest } => Self::Future {
                asked: *asked,
                newest: *newest,
            },
            Self::Locked(path) => Self::Locked(path.clone()),
            Self::Damaged { path, reason } => Self::Damaged {
                path: path.clone(),
                reason: reason.clone(),
            },
            Self::Closed => Self::Closed,
            Self::Io { what, source } => Self::Io {
                what,
                source: again(source),
            },
            Self::Database { what, reason } => Self::Database {
                what,
                reason: reason.clone(),
            },
            Self::Malformed { key, reason } => Self::Malformed {
                key: key.clone(),
                reason,
            },
        }
    }
}

fn again(error: &std::io::Error) -> std::io::Error {
    match error.raw_os_error() {
        Some(code) => std::io::Error::from_raw_os_error(code),
        None => std::io::Error::new(error.kind(), error.to_string()),
    }
}
