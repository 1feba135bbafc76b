//! What a store holds and answers: keys, objects, writes, events, errors. No I/O here.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

/// Names one object: `resource` is `plural.group` (`pods`, `deployments.apps`), `namespace` is empty for cluster-scoped objects.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Key {
    pub resource: Arc<str>,
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

/// What the server itself looks at in an object, so that selectors, owners and deletion never parse the bytes.
/// Filled by whoever writes the object, or from the bytes by the store's [`Indexer`] after a restart (lazily, once).
#[derive(Clone, Default, Debug, PartialEq)]
pub struct Attributes {
    pub uid: Arc<str>,
    /// Sorted by key.
    pub labels: Box<[(Arc<str>, Arc<str>)]>,
    /// Selectable fields by path (`spec.nodeName`), `metadata.name` and `metadata.namespace` not among them. Sorted by path.
    pub fields: Box<[(Arc<str>, Arc<str>)]>,
    /// Uids of owners.
    pub owners: Box<[Arc<str>]>,
    /// `metadata.deletionTimestamp` is set.
    pub deleting: bool,
}

/// Makes the [`Attributes`] of an object from its key and bytes.
pub type Indexer = Arc<dyn Fn(&Key, &[u8]) -> Attributes + Send + Sync>;

/// One version of one object. Immutable and shared.
pub struct Object {
    pub key: Key,
    /// The revision of the write that made this version (`metadata.resourceVersion`).
    pub revision: u64,
    /// Canonical JSON of the object, its resourceVersion in it.
    pub bytes: Bytes,
    pub(crate) attributes: OnceLock<Attributes>,
    pub(crate) indexer: Option<Indexer>,
}

impl Object {
    /// A version with its attributes known.
    pub fn new(key: Key, revision: u64, bytes: Bytes, attributes: Attributes) -> Self {
        Self { key, revision, bytes, attributes: OnceLock::from(attributes), indexer: None }
    }

    pub fn attributes(&self) -> &Attributes {
        self.attributes.get_or_init(|| self.indexer.as_ref().map(|index| index(&self.key, &self.bytes)).unwrap_or_default())
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
#[derive(Clone, Debug)]
pub struct Event {
    pub kind: EventKind,
    pub revision: u64,
    /// The new version; for `Deleted` the last state, its resourceVersion that of the removal.
    pub object: Arc<Object>,
    pub previous: Option<Arc<Object>>,
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
    Io { what: &'static str, source: std::io::Error },
    #[error("cannot {what}: {reason}")]
    Database { what: &'static str, reason: String },
}
