//! The log: batches one after the other in files of some megabytes, each named by the revision of its first batch.
//!
//! A database's own table would be less code, but costs eight scattered pages a commit; here an append is one write and one
//! `fdatasync` into space that was zeroed before, so that no file system metadata changes with it (three to four times as fast).
//!
//! Invariant: a batch is written only after all before it are on disk, so what follows the last whole batch was never
//! acknowledged. A broken batch with a whole one behind it is damage. What a start reads may never have been synced (its writer was
//! refused and ended): it is made durable before anybody sees it.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::PathBuf,
};

use crate::{
    codec::{self, Damage, Framed},
    log::{Loaded, Sink},
};

/// The log's measures, in bytes.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    /// Length of a file beyond which the next one is begun.
    pub segment: u64,
    /// Zeros that are written ahead of small batches. A batch a sixteenth as long needs none: it is worth a change of metadata.
    pub ahead: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            segment: 8 << 20,
            ahead: 512 << 10,
        }
    }
}

/// The files of the log, each known by the revision of its first batch.
pub(crate) trait Files: Send {
    /// In ascending order.
    fn list(&mut self) -> io::Result<Vec<u64>>;
    fn read(&mut self, segment: u64) -> io::Result<Vec<u8>>;
    fn read_at(&mut self, segment: u64, offset: u64, bytes: &mut [u8]) -> io::Result<()>;
    /// An empty file, in place of the one that bears the name.
    fn create(&mut self, segment: u64) -> io::Result<()>;
    fn write(&mut self, segment: u64, offset: u64, bytes: &[u8]) -> io::Result<()>;
    fn sync(&mut self, segment: u64) -> io::Result<()>;
    /// Makes creations and removals durable.
    fn sync_names(&mut self) -> io::Result<()>;
    fn remove(&mut self, segment: u64) -> io::Result<()>;
    /// Forgets what is open, after a failure.
    fn reset(&mut self) {}
}

struct Batch {
    first: u64,
    segment: u64,
    offset: u64,
    length: usize,
}

/// The file that is appended to.
struct Current {
    segment: u64,
    /// Where the next batch goes.
    end: u64,
    /// Up to where the file has its blocks.
    ready: u64,
}

pub(crate) struct Segments {
    files: Box<dyn Files>,
    sizes: Sizes,
    batches: VecDeque<Batch>,
    current: Option<Current>,
}

impl Segments {
    pub fn new(files: Box<dyn Files>, sizes: Sizes) -> Self {
        Self {
            files,
            sizes,
            batches: VecDeque::new(),
            current: None,
        }
    }

    /// Yields the batches after the revision `compacted`; answers the newest revision. The inner error is damage.
    pub fn load(&mut self, compacted: u64, sink: Sink<'_>) -> io::Result<Result<u64, Damage>> {
        let mut newest = compacted;
        for segment in self.files.list()? {
            let content = self.files.read(segment)?;
            let mut offset = 0;
            let mut expected = segment;
            while let Framed::Whole {
                first,
                count,
                length,
            } = codec::frame(&content[offset..])
                && first == expected
            {
                if first > compacted {
                    self.batches.push_back(Batch {
                        first,
                        segment,
                        offset: offset as u64,
                        length,
                    });
                    if let Err(reason) = sink(Loaded::Batch {
                        first,
                        bytes: &content[offset..offset + length],
                    }) {
                        return Ok(Err(reason));
                    }
                }
                expected += u64::from(count);
                newest = newest.max(expected - 1);
                offset += length;
            }
            if codec::has_frame(&content[offset..], expected) {
                return Ok(Err(Damage::Segment { offset, segment }));
            }
            self.current = Some(Current {
                segment,
                end: offset as u64,
                ready: content.len() as u64,
            });
        }
        Ok(Ok(newest))
    }

    /// Makes durable what was read. Only the last batch and the names may have been left unsynced; the batch is written again, because
    /// a kernel whose sync failed takes the pages for clean.
    pub fn prove(&mut self) -> io::Result<()> {
        if let Some(Batch {
            segment,
            offset,
            length,
            ..
        }) = self.batches.back()
        {
            let mut bytes = vec![0; *length];
            self.files.read_at(*segment, *offset, &mut bytes)?;
            self.files.write(*segment, *offset, &bytes)?;
            self.files.sync(*segment)?;
        }
        self.files.sync_names()
    }

    /// Keeps a batch, durably.
    pub fn append(&mut self, first: u64, batch: &[u8]) -> io::Result<()> {
        let mut current = match &self.current {
            Some(Current {
                segment,
                end,
                ready,
            }) if *end < self.sizes.segment => Current {
                segment: *segment,
                end: *end,
                ready: *ready,
            },
            _ => {
                self.files.create(first)?;
                Current {
                    segment: first,
                    end: 0,
                    ready: 0,
                }
            }
        };
        let (segment, offset) = (current.segment, current.end);
        current.end += batch.len() as u64;
        if current.end > current.ready && batch.len() < self.sizes.ahead / 16 {
            self.files
                .write(segment, current.end, &vec![0; self.sizes.ahead])?;
            current.ready = current.end + self.sizes.ahead as u64;
        }
        self.files.write(segment, offset, batch)?;
        self.files.sync(segment)?;
        if offset == 0 {
            self.files.sync_names()?;
        }
        current.ready = current.ready.max(current.end);
        self.current = Some(current);
        self.batches.push_back(Batch {
            first,
            segment,
            offset,
            length: batch.len(),
        });
        Ok(())
    }

    /// The batches that begin up to the revision `through`.
    pub fn through(&mut self, through: u64) -> io::Result<Vec<Vec<u8>>> {
        let mut read = Vec::new();
        for batch in self
            .batches
            .iter()
            .take_while(|batch| batch.first <= through)
        {
            let mut bytes = vec![0; batch.length];
            self.files
                .read_at(batch.segment, batch.offset, &mut bytes)?;
            read.push(bytes);
        }
        Ok(read)
    }

    /// Drops these batches, and the files that hold no others. What can not be removed now is removed another time.
    pub fn forget(&mut self, through: u64) -> io::Result<()> {
        while self
            .batches
            .front()
            .is_some_and(|batch| batch.first <= through)
        {
            self.batches.pop_front();
        }
        let current = self.current.as_ref().map(|current| current.segment);
        let oldest = self.batches.front().map(|batch| batch.segment).or(current);
        for segment in self.files.list()? {
            if oldest.is_some_and(|oldest| segment < oldest) {
                self.files.remove(segment)?;
            }
        }
        Ok(())
    }

    /// After an error: takes back what an append may have left behind, `next` being the first revision that is not kept.
    pub fn recover(&mut self, next: u64) -> io::Result<()> {
        self.files.reset();
        self.current = self.current.take().filter(|current| current.segment < next);
        for segment in self
            .files
            .list()?
            .into_iter()
            .filter(|segment| *segment >= next)
        {
            self.files.remove(segment)?;
        }
        self.files.sync_names()?;
        if let Some(current) = &mut self.current {
            self.files
                .write(current.segment, current.end, &[0; codec::FRAME_HEAD])?;
            self.files.sync(current.segment)?;
            current.ready = current.ready.min(current.end);
        }
        Ok(())
    }
}

/// Files in a folder of their own.
pub(crate) struct Folder {
    path: PathBuf,
    open: Option<(u64, File)>,
}

impl Folder {
    pub fn new(path: PathBuf) -> Self {
        Self { path, open: None }
    }

    fn path(&self, segment: u64) -> PathBuf {
        self.path.join(format!("{segment:020}.log"))
    }

    fn file(&mut self, segment: u64) -> io::Result<&File> {
        let kept = self.open.take().filter(|(open, _)| *open == segment);
        let file = match kept {
            Some((_, file)) => file,
            None => OpenOptions::new()
                .read(true)
                .write(true)
                .open(self.path(segment))?,
        };
        Ok(&self.open.insert((segment, file)).1)
    }
}

impl Files for Folder {
    fn list(&mut self) -> io::Result<Vec<u64>> {
        let mut segments = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            segments.extend(
                name.to_str()
                    .and_then(|name| name.strip_suffix(".log")?.parse::<u64>().ok()),
            );
        }
        segments.sort_unstable();
        Ok(segments)
    }

    fn read(&mut self, segment: u64) -> io::Result<Vec<u8>> {
        std::fs::read(self.path(segment))
    }

    fn read_at(&mut self, segment: u64, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file(segment)?.read_exact_at(bytes, offset)
    }

    fn create(&mut self, segment: u64) -> io::Result<()> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.path(segment))?;
        self.open = Some((segment, file));
        Ok(())
    }

    fn write(&mut self, segment: u64, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file(segment)?.write_all_at(bytes, offset)
    }

    fn sync(&mut self, segment: u64) -> io::Result<()> {
        self.file(segment)?.sync_data()
    }

    fn sync_names(&mut self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn remove(&mut self, segment: u64) -> io::Result<()> {
        if self.open.as_ref().is_some_and(|(open, _)| *open == segment) {
            self.open = None;
        }
        std::fs::remove_file(self.path(segment))
    }

    fn reset(&mut self) {
        self.open = None;
    }
}
