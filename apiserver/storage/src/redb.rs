//! The durable store: one redb database in a data folder.
//!
//! Invariant: `objects` holds exactly the state at the revision `compacted`, `log` every batch after it; a commit of either is one
//! transaction with one fsync. A database that can not be read is left as it is. One process holds the folder.
//! Stands in for upstream's etcd (`staging/src/k8s.io/apiserver/pkg/storage/etcd3/store.go`, `compact.go`).

use std::{
    collections::BTreeMap,
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use ::redb::{Builder, Database, DatabaseError, ReadOnlyDatabase, ReadableDatabase, ReadableTable, TableDefinition};

use crate::{
    Error, LocalStore, Options,
    codec::{self, Change},
    log::{FIRST, Loaded, Log, Sink},
};

const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
const OBJECTS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("objects");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

/// The database's name in the data folder.
const FILE: &str = "state.redb";
/// A database that is being made. What bears this name was never used.
const NASCENT: &str = "state.redb.new";
const LOCK: &str = "lock";

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
    /// Held as long as the database may be opened again.
    _lock: Option<File>,
}

impl RedbLog {
    fn in_folder(folder: &Path, cache: usize) -> Result<Self, Error> {
        let lock = lock_folder(folder)?;
        let path = folder.join(FILE);
        if !path.try_exists().map_err(|error| at(&path, "look for the database", error))? {
            create(folder, cache)?;
        }
        Ok(Self { site: Box::new(InFile { path, cache }), database: None, _lock: Some(lock) })
    }

    fn reopen(&self) -> Result<Database, Error> {
        let opened = catch_unwind(AssertUnwindSafe(|| self.site.open())).map_err(|_| self.damaged(BROKEN.into()))?;
        opened.map_err(|error| self.unopened(error))
    }

    fn unopened(&self, error: DatabaseError) -> Error {
        match error {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => Error::Locked(self.site.name()),
            other => self.failed("open the database", other.into()),
        }
    }

    /// Reads without writing a byte, which is possible when the database was closed well. `None`: it was not.
    fn load_untouched(&self, sink: Sink<'_>) -> Result<Option<()>, Error> {
        match self.site.open_read_only() {
            Ok(database) => self.read(&database, sink).map(Some),
            Err(DatabaseError::RepairAborted) => Ok(None),
            Err(error) => Err(self.unopened(error)),
        }
    }

    fn read(&self, database: &impl ReadableDatabase, sink: Sink<'_>) -> Result<(), Error> {
        read(database, sink).map_err(|error| self.failed("read the database", error))?.map_err(|reason| self.damaged(reason))
    }

    fn database(&self) -> Result<&Database, Error> {
        self.database.as_ref().ok_or_else(|| Error::Database { what: "use the database", reason: "it is not open".into() })
    }

    fn damaged(&self, reason: String) -> Error {
        Error::Damaged { path: self.site.name(), reason }
    }

    fn failed(&self, what: &'static str, error: ::redb::Error) -> Error {
        match error {
            ::redb::Error::Corrupted(reason) => self.damaged(reason),
            ::redb::Error::TableDoesNotExist(table) => self.damaged(format!("it has no table {table}")),
            ::redb::Error::Io(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => self.damaged(error.to_string()),
            ::redb::Error::Io(source) => Error::Io { what, source },
            other => Error::Database { what, reason: other.to_string() },
        }
    }
}

/// Yields everything. The inner error is damage.
fn read(database: &impl ReadableDatabase, sink: Sink<'_>) -> Result<Result<(), String>, ::redb::Error> {
    let read = database.begin_read()?;
    let (meta, objects, log) = (read.open_table(META)?, read.open_table(OBJECTS)?, read.open_table(LOG)?);
    match meta.get("format")?.map(|format| format.value()) {
        Some(format) if format == u64::from(codec::FORMAT) => {}
        other => return Ok(Err(format!("its format is {other:?}, this program knows {}", codec::FORMAT))),
    }
    let Some(compacted) = meta.get("compacted")?.map(|revision| revision.value()) else {
        return Ok(Err("it lacks its compacted revision".into()));
    };
    if let Err(reason) = sink(Loaded::Compacted(compacted)) {
        return Ok(Err(reason));
    }
    for row in objects.iter()? {
        let (key, row) = row?;
        if let Err(reason) = load_row(key.value(), row.value(), sink) {
            return Ok(Err(reason));
        }
    }
    for batch in log.iter()? {
        let (first, batch) = batch?;
        if let Err(reason) = sink(Loaded::Batch { first: first.value(), bytes: batch.value() }) {
            return Ok(Err(reason));
        }
    }
    Ok(Ok(()))
}

fn load_row(key: &[u8], row: &[u8], sink: Sink<'_>) -> Result<(), String> {
    let (resource, namespace, name) = codec::read_row_key(key)?;
    let (revision, bytes) = codec::read_row(row)?;
    sink(Loaded::Object { resource, namespace, name, revision, bytes })
}

impl Log for RedbLog {
    fn load(&mut self, sink: Sink<'_>) -> Result<(), Error> {
        // redb panics on some damage.
        let untouched = catch_unwind(AssertUnwindSafe(|| self.load_untouched(sink))).map_err(|_| self.damaged(BROKEN.into()))??;
        let database = self.reopen()?;
        if untouched.is_none() {
            catch_unwind(AssertUnwindSafe(|| self.read(&database, sink))).map_err(|_| self.damaged(BROKEN.into()))??;
        }
        self.database = Some(database);
        Ok(())
    }

    fn append(&mut self, first: u64, batch: &[u8]) -> Result<(), Error> {
        insert(self.database()?, first, batch).map_err(|error| self.failed("write to the database", error))
    }

    fn compact(&mut self, through: u64) -> Result<(), Error> {
        fold(self.database()?, through).map_err(|error| self.failed("compact the database", error))?.map_err(|reason| self.damaged(reason))
    }

    fn recover(&mut self, newest: u64) -> Result<(), Error> {
        // redb refuses all after a failed write, until it is opened anew.
        self.database = None;
        let database = self.reopen()?;
        truncate(&database, newest).map_err(|error| self.failed("recover the database", error))?;
        self.database = Some(database);
        Ok(())
    }
}

fn insert(database: &Database, first: u64, batch: &[u8]) -> Result<(), ::redb::Error> {
    let write = database.begin_write()?;
    write.open_table(LOG)?.insert(first, batch)?;
    Ok(write.commit()?)
}

/// Moves the batches up to `through` into the objects, the last version of each. The inner error is damage.
fn fold(database: &Database, through: u64) -> Result<Result<(), String>, ::redb::Error> {
    let write = database.begin_write()?;
    {
        let mut log = write.open_table(LOG)?;
        let mut last: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        for batch in log.range(..=through)? {
            let (first, batch) = batch?;
            let records = match codec::read_batch(batch.value()) {
                Ok(records) => records,
                Err(reason) => return Ok(Err(reason)),
            };
            for (revision, record) in (first.value()..).zip(records) {
                let row = (record.change == Change::Put).then(|| codec::row(revision, record.bytes));
                last.insert(codec::row_key(record.resource, record.namespace, record.name), row);
            }
        }
        let mut objects = write.open_table(OBJECTS)?;
        for (key, row) in last {
            match row {
                Some(row) => objects.insert(key.as_slice(), row.as_slice())?,
                None => objects.remove(key.as_slice())?,
            };
        }
        log.retain_in(..=through, |_, _| false)?;
        write.open_table(META)?.insert("compacted", through)?;
    }
    write.commit()?;
    Ok(Ok(()))
}

/// Takes out of the log what a commit that was answered with an error may have left in it.
fn truncate(database: &Database, newest: u64) -> Result<(), ::redb::Error> {
    let read = database.begin_read()?;
    if read.open_table(LOG)?.range(newest + 1..)?.next().is_none() {
        return Ok(());
    }
    drop(read);
    let write = database.begin_write()?;
    write.open_table(LOG)?.retain_in(newest + 1.., |_, _| false)?;
    Ok(write.commit()?)
}

/// The tables of an empty store.
fn initialise(database: &Database) -> Result<(), ::redb::Error> {
    let write = database.begin_write()?;
    write.open_table(LOG)?;
    write.open_table(OBJECTS)?;
    {
        let mut meta = write.open_table(META)?;
        meta.insert("format", u64::from(codec::FORMAT))?;
        meta.insert("compacted", FIRST)?;
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
    let nascent = folder.join(NASCENT);
    match std::fs::remove_file(&nascent) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&nascent, "remove the half-made database", error)),
        _ => {}
    }
    let what = "create the database";
    let made = builder(cache).create(&nascent).map_err(::redb::Error::from).and_then(|database| {
        initialise(&database)?;
        Ok(database.close()?)
    });
    made.map_err(|error| match error {
        ::redb::Error::Io(error) => at(&nascent, what, error),
        other => Error::Database { what, reason: format!("{}: {other}", nascent.display()) },
    })?;
    std::fs::rename(&nascent, folder.join(FILE)).map_err(|error| at(folder, what, error))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| at(folder, "sync the data folder", error))
}

fn lock_folder(folder: &Path) -> Result<File, Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| at(folder, "create the data folder", error))?;
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
    Error::Io { what, source: io::Error::new(error.kind(), format!("{}: {error}", path.display())) }
}

#[cfg(test)]
mod tests;
