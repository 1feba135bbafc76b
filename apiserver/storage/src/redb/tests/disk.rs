//! A disk that can fail and that forgets what was not synced.

use std::{io, sync::Arc};

use ::redb::{Database, DatabaseError, ReadOnlyDatabase, StorageBackend};
use parking_lot::Mutex;

use super::super::{RedbLog, Site, initialise};

#[derive(Clone, Debug)]
enum Step {
    Length(u64),
    Write(u64, Vec<u8>),
}

#[derive(Debug, Default)]
struct Image {
    seen: Vec<u8>,
    synced: Vec<u8>,
    /// Done since the last sync.
    pending: Vec<Step>,
    /// Steps that still work; none left: all fail.
    steps_left: Option<u32>,
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

    fn change(&mut self, step: Step) -> io::Result<()> {
        self.step()?;
        apply(&mut self.seen, &step);
        self.pending.push(step);
        Ok(())
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Disk(Arc<Mutex<Image>>);

impl Disk {
    /// A disk with an empty store on it.
    pub fn formatted() -> Self {
        let disk = Self::default();
        initialise(&disk.open().unwrap()).unwrap();
        disk
    }

    pub fn log(&self) -> RedbLog {
        RedbLog { site: Box::new(self.clone()), database: None, _lock: None }
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
        let image = self.0.lock();
        let mut bytes = image.synced.clone();
        for step in &image.pending {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            if seed >> 63 == 1 {
                apply(&mut bytes, step);
            }
        }
        Self::holding(bytes)
    }

    /// The disk as it is found when the process was killed now: all that was written.
    pub fn after_kill(&self) -> Self {
        Self::holding(self.0.lock().seen.clone())
    }

    fn holding(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Image { seen: bytes.clone(), synced: bytes, ..Image::default() })))
    }
}

impl Site for Disk {
    fn name(&self) -> String {
        "disk".into()
    }

    fn open(&self) -> Result<Database, DatabaseError> {
        Database::builder().set_cache_size(1 << 20).create_with_backend(self.clone())
    }

    fn open_read_only(&self) -> Result<ReadOnlyDatabase, DatabaseError> {
        Database::builder().open_read_only_with_backend(self.clone())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let image = self.0.lock();
        let part = image.seen.get(offset as usize..offset as usize + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(part);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().change(Step::Length(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut image = self.0.lock();
        image.step()?;
        let Image { synced, pending, .. } = &mut *image;
        pending.drain(..).for_each(|step| apply(synced, &step));
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.lock().change(Step::Write(offset, data.to_vec()))
    }
}
