//! A disk that can fail and that forgets what was not synced: the database's file, and the files of the log.

use std::{collections::BTreeMap, io, sync::Arc};

use ::redb::{Database, DatabaseError, ReadOnlyDatabase, StorageBackend};
use parking_lot::Mutex;

use super::super::{RedbLog, Site, initialise};
use crate::segments::{Files, Segments, Sizes};

#[derive(Clone, Debug)]
enum Step {
    Length(u64),
    Write(u64, Vec<u8>),
}

/// One file.
#[derive(Clone, Debug, Default)]
struct Image {
    seen: Vec<u8>,
    synced: Vec<u8>,
    /// Done since the last sync.
    pending: Vec<Step>,
}

fn apply(bytes: &mut Vec<u8>, step: &Step) {
    match step {
        Step::Length(length) => bytes.resize(*length as usize, 0),
        Step::Write(offset, data) => {
            let end = *offset as usize + data.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*offset as usize..end].copy_from_slice(data);
        }
    }
}

impl Image {
    fn change(&mut self, step: Step) {
        apply(&mut self.seen, &step);
        self.pending.push(step);
    }

    fn sync(&mut self) {
        self.pending
            .drain(..)
            .for_each(|step| apply(&mut self.synced, &step));
    }

    fn at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let part = self
            .seen
            .get(offset as usize..offset as usize + out.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(part);
        Ok(())
    }

    fn holding(bytes: Vec<u8>) -> Self {
        Self {
            seen: bytes.clone(),
            synced: bytes,
            pending: Vec::new(),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    database: Image,
    segments: BTreeMap<u64, Image>,
    /// The names that are durable, and what they stand for.
    names: BTreeMap<u64, Image>,
    /// Steps that still work; none left: all fail.
    steps_left: Option<u32>,
}

impl State {
    fn step(&mut self) -> io::Result<()> {
        match &mut self.steps_left {
            Some(0) => Err(io::ErrorKind::StorageFull.into()),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn segment(&mut self, segment: u64) -> io::Result<&mut Image> {
        self.segments
            .get_mut(&segment)
            .ok_or(io::ErrorKind::NotFound.into())
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Disk(Arc<Mutex<State>>);

impl Disk {
    /// A disk with an empty store on it.
    pub fn formatted() -> Self {
        let disk = Self::default();
        initialise(&disk.open().unwrap()).unwrap();
        disk
    }

    pub fn log(&self) -> RedbLog {
        // Small, so that files are begun and dropped all the time.
        let segments = Segments::new(
            Box::new(self.clone()),
            Sizes {
                segment: 1500,
                ahead: 4096,
            },
        );
        RedbLog {
            site: Box::new(self.clone()),
            database: None,
            segments,
            noted: 0,
            _lock: None,
        }
    }

    /// All changes fail after `steps` more.
    pub fn fail_after(&self, steps: u32) {
        self.0.lock().steps_left = Some(steps);
    }

    pub fn heal(&self) {
        self.0.lock().steps_left = None;
    }

    /// The disk as it is found when the machine lost power now: what was synced, and of what was not any part (as `seed` has it).
    pub fn after_power_cut(&self, mut seed: u64) -> Self {
        let mut coin = || {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            seed >> 63 == 1
        };
        fn cut(image: &Image, coin: &mut dyn FnMut() -> bool) -> Image {
            let mut bytes = image.synced.clone();
            image
                .pending
                .iter()
                .filter(|_| coin())
                .for_each(|step| apply(&mut bytes, step));
            Image::holding(bytes)
        }
        let state = self.0.lock();
        let database = cut(&state.database, &mut coin);
        let mut segments = BTreeMap::new();
        for (name, image) in &state.segments {
            segments.insert(*name, cut(image, &mut coin));
        }
        // Files whose creation or removal was not synced may be there or not.
        let mut segments_after = BTreeMap::new();
        for (name, image) in &segments {
            if state.names.contains_key(name) || coin() {
                segments_after.insert(*name, image.clone());
            }
        }
        for (name, image) in &state.names {
            if !segments.contains_key(name) && coin() {
                segments_after.insert(*name, image.clone());
            }
        }
        Self::with(database, segments_after)
    }

    /// The disk as it is found when the process was killed now: all that was written.
    pub fn after_kill(&self) -> Self {
        let state = self.0.lock();
        let segments = state
            .segments
            .iter()
            .map(|(name, image)| (*name, Image::holding(image.seen.clone())))
            .collect();
        Self::with(Image::holding(state.database.seen.clone()), segments)
    }

    fn with(database: Image, segments: BTreeMap<u64, Image>) -> Self {
        Self(Arc::new(Mutex::new(State {
            database,
            names: segments.clone(),
            segments,
            steps_left: None,
        })))
    }
}

impl Files for Disk {
    fn list(&mut self) -> io::Result<Vec<u64>> {
        Ok(self.0.lock().segments.keys().copied().collect())
    }

    fn read(&mut self, segment: u64) -> io::Result<Vec<u8>> {
        Ok(self.0.lock().segment(segment)?.seen.clone())
    }

    fn read_at(&mut self, segment: u64, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.0.lock().segment(segment)?.at(offset, bytes)
    }

    fn create(&mut self, segment: u64) -> io::Result<()> {
        let mut state = self.0.lock();
        state.step()?;
        state
            .segments
            .entry(segment)
            .or_default()
            .change(Step::Length(0));
        Ok(())
    }

    fn write(&mut self, segment: u64, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.0.lock();
        state.step()?;
        state
            .segment(segment)?
            .change(Step::Write(offset, bytes.to_vec()));
        Ok(())
    }

    fn sync(&mut self, segment: u64) -> io::Result<()> {
        let mut state = self.0.lock();
        state.step()?;
        state.segment(segment)?.sync();
        Ok(())
    }

    fn sync_names(&mut self) -> io::Result<()> {
        let mut state = self.0.lock();
        state.step()?;
        state.names = state.segments.clone();
        Ok(())
    }

    fn remove(&mut self, segment: u64) -> io::Result<()> {
        let mut state = self.0.lock();
        state.step()?;
        state
            .segments
            .remove(&segment)
            .map(|_| ())
            .ok_or(io::ErrorKind::NotFound.into())
    }
}

impl Site for Disk {
    fn name(&self) -> String {
        "disk".into()
    }

    fn open(&self) -> Result<Database, DatabaseError> {
        Database::builder()
            .set_cache_size(1 << 20)
            .create_with_backend(self.clone())
    }

    fn open_read_only(&self) -> Result<ReadOnlyDatabase, DatabaseError> {
        Database::builder().open_read_only_with_backend(self.clone())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().database.seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.lock().database.at(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.0.lock();
        state.step()?;
        state.database.change(Step::Length(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        state.step()?;
        state.database.sync();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.0.lock();
        state.step()?;
        state.database.change(Step::Write(offset, data.to_vec()));
        Ok(())
    }
}
