//! The durable store: a log of batches, and one redb database that holds the objects as of an older revision.
//!
//! Invariant: `objects` holds exactly the state at the revision `compacted`, the log every batch after it. A database or log that
//! can not be read is left as it is. One process holds the folder.
//! Stands in for upstream's etcd (`staging/src/k8s.io/apiserver/pkg/storage/etcd3/store.go`, `compact.go`).

use std::{
    collections::BTreeMap,
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use ::redb::{
    Builder, Database, DatabaseError, ReadOnlyDatabase, ReadableDatabase, ReadableTable,
    TableDefinition,
};

use crate::{
    Error, LocalStore, Options,
    codec::{self, Change, Damage},
    log::{FIRST, Loaded, Log, Sink},
    segments::{Files, Folder, Segments, Sizes},
};

const OBJECTS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("objects");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

/// The database's name in the data folder.
const FILE: &str = "state.redb";
/// A database that is being made. What bears this name was never used.
const NASCENT: &str = "state.redb.new";
const LOCK: &str = "lock";
/// The folder of the log.
const LOG: &str = "log";

/// Opens the store in `folder`, which is made when missing (mode 0700). Reads all of it, so it blocks for a while: about 0.2 s for
/// 100,000 objects.
///
/// [`Error::Locked`]: another process has it open. [`Error::Damaged`]: it can not be read, and was left untouched.
pub fn open(folder: &Path, options: Options) -> Result<LocalStore, Error> {
    let log = RedbLog::in_folder(folder, options.cache_bytes)?;
    LocalStore::start(Box::new(log), options)
}

/// Where a database is, to be opened at the start and again after a failure.
pub(crate) trait Site: Send {
    fn name(&self) -> String;
    fn open(&self) -> Result<Database, DatabaseError>;
    /// Fails with [`DatabaseError::RepairAborted`] when the database was not closed well.
    fn open_read_only(&self) -> Result<ReadOnlyDatabase, DatabaseError>;
}

struct InFile {
    path: PathBuf,
    cache: usize,
}

impl Site for InFile {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn open(&self) -> Result<Database, DatabaseError> {
        builder(self.cache).open(&self.path)
    }

    fn open_read_only(&self) -> Result<ReadOnlyDatabase, DatabaseError> {
        builder(self.cache).open_read_only(&self.path)
    }
}

const BROKEN: &str = "its structure is broken";

pub(crate) struct RedbLog {
    site: Box<dyn Site>,
    /// `None` before it is loaded, and between a failure and a recovery that worked.
    database: Option<Database>,
    segments: Segments,
    /// The newest revision that the database knows the log to reach.
    noted: u64,
    /// Held as long as the database may be opened again.
    _lock: Option<File>,
}

impl RedbLog {
    fn in_folder(folder: &Path, cache: usize) -> Result<Self, Error> {
        let lock = lock_folder(folder)?;
        let path = folder.join(FILE);
        if !path
            .try_exists()
            .map_err(|error| at(&path, "look for the database", error))?
        {
            if Folder::new(folder.join(LOG))
                .list()
                .is_ok_and(|segments| !segments.is_empty())
            {
                return Err(Error::Damaged {
                    path: path.display().to_string(),
                    reason: "it is missing, but its log is there".into(),
                });
            }
            create(folder, cache)?;
        }
        let segments = Segments::new(Box::new(Folder::new(folder.join(LOG))), Sizes::default());
        Ok(Self {
            site: Box::new(InFile { path, cache }),
            database: None,
            segments,
            noted: 0,
            _lock: Some(lock),
        })
    }

    fn reopen(&self) -> Result<Database, Error> {
        let opened = catch_unwind(AssertUnwindSafe(|| self.site.open()))
            .map_err(|_| self.damaged(BROKEN))?;
        opened.map_err(|error| self.unopened(error))
    }

    fn unopened(&self, error: DatabaseError) -> Error {
        match error {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
                Error::Locked(self.site.name())
            }
            other => self.failed("open the database", other.into()),
        }
    }

    /// Reads the objects without writing a byte, which is possible when the database was closed well; answers as
    /// [`read`]. `None`: it was not closed well.
    fn load_untouched(&self, sink: Sink<'_>) -> Result<Option<Known>, Error> {
        match self.site.open_read_only() {
            Ok(database) => self.read(&database, sink).map(Some),
            Err(DatabaseError::RepairAborted) => Ok(None),
            Err(error) => Err(self.unopened(error)),
        }
    }

    fn read(&self, database: &impl ReadableDatabase, sink: Sink<'_>) -> Result<Known, Error> {
        read(database, sink)
            .map_err(|error| self.failed("read the database", error))?
            .map_err(|reason| self.damaged(reason))
    }

    fn database(&self) -> Result<&Database, Error> {
        self.database.as_ref().ok_or_else(|| Error::Database {
            what: "use the database",
            reason: "it is not open".into(),
        })
    }

    fn damaged(&self, reason: impl ToString) -> Error {
        Error::Damaged {
            path: self.site.name(),
            reason: reason.to_string(),
        }
    }

    fn failed(&self, what: &'static str, error: ::redb::Error) -> Error {
        match error {
            ::redb::Error::Corrupted(reason) => self.damaged(reason),
            ::redb::Error::TableDoesNotExist(table) => {
                self.damaged(format!("it has no table {table}"))
            }
            ::redb::Error::Io(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
                ) =>
            {
                self.damaged(error)
            }
            ::redb::Error::Io(source) => Error::Io { what, source },
            other => Error::Database {
                what,
                reason: other.to_string(),
            },
        }
    }
}

/// What the database knows of the log.
struct Known {
    /// The revision that the objects are of.
    compacted: u64,
    /// The log reaches at least to this revision.
    newest: u64,
}

/// Yields the objects. The inner error is damage.
fn read(
    database: &impl ReadableDatabase,
    sink: Sink<'_>,
) -> Result<Result<Known, Damage>, ::redb::Error> {
    let read = database.begin_read()?;
    let (meta, objects) = (read.open_table(META)?, read.open_table(OBJECTS)?);
    match meta.get("format")?.map(|format| format.value()) {
        Some(format) if format == u64::from(codec::FORMAT) => {}
        other => return Ok(Err(Damage::Format(other))),
    }
    let (Some(compacted), Some(newest)) = (meta.get("compacted")?, meta.get("newest")?) else {
        return Ok(Err(Damage::NoRevisions));
    };
    let (compacted, newest) = (compacted.value(), newest.value());
    if let Err(reason) = sink(Loaded::Compacted(compacted)) {
        return Ok(Err(reason));
    }
    for row in objects.iter()? {
        let (key, row) = row?;
        if let Err(reason) = load_row(key.value(), row.value(), sink) {
            return Ok(Err(reason));
        }
    }
    Ok(Ok(Known { compacted, newest }))
}

fn load_row(key: &[u8], row: &[u8], sink: Sink<'_>) -> Result<(), Damage> {
    let (resource, namespace, name) = codec::read_row_key(key)?;
    let (revision, bytes) = codec::read_row(row)?;
    sink(Loaded::Object {
        resource,
        namespace,
        name,
        revision,
        bytes,
    })
}

/// Takes a panic for an error and says nothing of it: the caller tells what it means.
fn quietly<T>(work: impl FnOnce() -> T) -> std::thread::Result<T> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let done = catch_unwind(AssertUnwindSafe(work));
    std::panic::set_hook(hook);
    done
}

impl Log for RedbLog {
    fn load(&mut self, sink: Sink<'_>) -> Result<(), Error> {
        let broken = |_| self.damaged(BROKEN);
        // redb panics on some damage. A panic leaves nothing that is used again.
        let known = quietly(|| self.load_untouched(sink)).map_err(broken)??;
        let (known, repaired) = match known {
            Some(known) => (known, None),
            None => {
                let database = self.reopen()?;
                let known = quietly(|| self.read(&database, sink)).map_err(broken)??;
                (known, Some(database))
            }
        };
        let newest = self
            .segments
            .load(known.compacted, sink)
            .map_err(Error::io("read the log"))?;
        let newest = newest.map_err(|reason| self.damaged(reason))?;
        if newest < known.newest {
            return Err(self.damaged(format!(
                "its log ends at revision {newest}, but reached {}",
                known.newest
            )));
        }
        if newest > known.newest {
            // not closed well
            self.segments.prove().map_err(Error::io("sync the log"))?;
        }
        self.noted = known.newest;
        self.database = Some(repaired.map_or_else(|| self.reopen(), Ok)?);
        Ok(())
    }

    fn append(&mut self, first: u64, batch: &[u8]) -> Result<(), Error> {
        self.segments
            .append(first, batch)
            .map_err(Error::io("write to the log"))
    }

    fn compact(&mut self, through: u64, newest: u64) -> Result<(), Error> {
        let what = "compact the log";
        let batches = self.segments.through(through).map_err(Error::io(what))?;
        let rows = last_versions(&batches).map_err(|reason| self.damaged(reason))?;
        fold(self.database()?, rows, through, newest)
            .map_err(|error| self.failed("compact the database", error))?;
        self.noted = newest;
        self.segments.forget(through).map_err(Error::io(what))
    }

    fn close(&mut self, newest: u64) -> Result<(), Error> {
        if newest > self.noted {
            note(self.database()?, newest)
                .map_err(|error| self.failed("close the database", error))?;
            self.noted = newest;
        }
        Ok(())
    }

    fn recover(&mut self, newest: u64) -> Result<(), Error> {
        self.segments
            .recover(newest + 1)
            .map_err(Error::io("recover the log"))?;
        // redb refuses all after a failed write, until it is opened anew.
        self.database = None;
        self.database = Some(self.reopen()?);
        Ok(())
    }
}

/// The row of each key that the batches touch, as they leave it: `None` when the object is gone.
type Rows = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

fn last_versions(batches: &[Vec<u8>]) -> Result<Rows, Damage> {
    let mut rows = Rows::new();
    for batch in batches {
        let (first, records) = codec::read_batch(batch)?;
        for (revision, record) in (first..).zip(records) {
            let row = (record.change == Change::Put).then(|| codec::row(revision, record.bytes));
            rows.insert(
                codec::row_key(record.resource, record.namespace, record.name),
                row,
            );
        }
    }
    Ok(rows)
}

fn note(database: &Database, newest: u64) -> Result<(), ::redb::Error> {
    let mut write = database.begin_write()?;
    write.set_quick_repair(true);
    write.open_table(META)?.insert("newest", newest)?;
    Ok(write.commit()?)
}

/// Brings the objects from the compacted revision to `through`.
fn fold(database: &Database, rows: Rows, through: u64, newest: u64) -> Result<(), ::redb::Error> {
    let mut write = database.begin_write()?;
    // After a crash the database is then opened without a walk through all of it.
    write.set_quick_repair(true);
    {
        let mut objects = write.open_table(OBJECTS)?;
        for (key, row) in rows {
            match row {
                Some(row) => objects.insert(key.as_slice(), row.as_slice())?,
                None => objects.remove(key.as_slice())?,
            };
        }
        let mut meta = write.open_table(META)?;
        meta.insert("compacted", through)?;
        meta.insert("newest", newest)?;
    }
    Ok(write.commit()?)
}

/// The tables of an empty store.
fn initialise(database: &Database) -> Result<(), ::redb::Error> {
    let mut write = database.begin_write()?;
    write.set_quick_repair(true);
    write.open_table(OBJECTS)?;
    {
        let mut meta = write.open_table(META)?;
        meta.insert("format", u64::from(codec::FORMAT))?;
        meta.insert("compacted", FIRST)?;
        meta.insert("newest", FIRST)?;
    }
    Ok(write.commit()?)
}

fn builder(cache: usize) -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(cache);
    builder
}

/// Makes an empty database under another name and renames it when it is whole: a file named [`FILE`] is never half made.
fn create(folder: &Path, cache: usize) -> Result<(), Error> {
    let log = folder.join(LOG);
    match DirBuilder::new().mode(0o700).create(&log) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(at(&log, "create the log's folder", error));
        }
        _ => {}
    }
    let nascent = folder.join(NASCENT);
    match std::fs::remove_file(&nascent) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(at(&nascent, "remove the half-made database", error));
        }
        _ => {}
    }
    let what = "create the database";
    let made = builder(cache)
        .create(&nascent)
        .map_err(::redb::Error::from)
        .and_then(|database| {
            initialise(&database)?;
            Ok(database.close()?)
        });
    made.map_err(|error| match error {
        ::redb::Error::Io(error) => at(&nascent, what, error),
        other => Error::Database {
            what,
            reason: format!("{}: {other}", nascent.display()),
        },
    })?;
    std::fs::rename(&nascent, folder.join(FILE)).map_err(|error| at(folder, what, error))?;
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| at(folder, "sync the data folder", error))
}

fn lock_folder(folder: &Path) -> Result<File, Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| at(folder, "create the data folder", error))?;
    let path: PathBuf = folder.join(LOCK);
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(|error| at(&path, "open the lock of the data folder", error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Error::Locked(folder.display().to_string())),
        Err(TryLockError::Error(error)) => Err(at(&path, "lock the data folder", error)),
    }
}

fn at(path: &Path, what: &'static str, error: io::Error) -> Error {
    Error::Io {
        what,
        source: io::Error::new(error.kind(), format!("{}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests;
