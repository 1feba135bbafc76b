//! The file that events are written to, and the files that were put aside because it had grown too large.
//!
//! Invariant: an event is one line, in one write; none is parted by a rotation.
//! Follows `plugin/pkg/audit/log/backend.go` of apiserver and the files' names and rules of lumberjack.v2.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use parking_lot::Mutex;
use skiff_api::machinery::clock::SharedClock;

use super::options::LogOptions;

const MEGABYTE: u64 = 1024 * 1024;
/// When a file was put aside, in its name.
const ASIDE: &str = "%Y-%m-%dT%H-%M-%S%.3f";

/// Where lines go.
pub enum Log {
    Stdout,
    File(Mutex<Rotating>),
}

impl Log {
    /// Opens the file; it and its folder are made when they are not there.
    ///
    /// # Errors
    /// It cannot be written to.
    pub fn open(options: &LogOptions, clock: SharedClock) -> io::Result<Log> {
        if options.path == "-" {
            return Ok(Log::Stdout);
        }
        let path = PathBuf::from(&options.path);
        if let Some(folder) = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            let mut builder = std::fs::DirBuilder::new();
            builder.recursive(true).mode(0o700).create(folder)?;
        }
        let file = open(&path, 0o600)?;
        let written = file.metadata()?.len();
        let number = |given: i64| u64::try_from(given).unwrap_or(0);
        Ok(Log::File(Mutex::new(Rotating {
            file,
            written,
            most: number(options.max_size) * MEGABYTE,
            kept: Arc::new(Kept {
                path,
                most: number(options.max_backup),
                days: options.max_age.max(0),
                packed: options.compress,
                tidying: Mutex::new(()),
            }),
            clock,
        })))
    }

    /// Writes one line, its end included.
    pub fn write(&self, line: &[u8]) -> io::Result<()> {
        match self {
            Log::Stdout => io::stdout().lock().write_all(line),
            Log::File(file) => file.lock().write(line),
        }
    }
}

fn open(path: &Path, mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(mode).open(path)
}

pub struct Rotating {
    file: File,
    written: u64,
    /// Bytes; 0: any number.
    most: u64,
    kept: Arc<Kept>,
    clock: SharedClock,
}

impl Rotating {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let size = line.len() as u64;
        if self.most > 0 {
            if size > self.most {
                return Err(io::Error::other(format!(
                    "write length {size} exceeds maximum file size {}",
                    self.most
                )));
            }
            if self.written + size > self.most {
                self.rotate()?;
            }
        }
        self.file.write_all(line)?;
        self.written += size;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let now = self.clock.now();
        let mode = self.file.metadata()?.permissions().mode();
        std::fs::rename(&self.kept.path, self.kept.aside(now))?;
        self.file = open(&self.kept.path, mode)?;
        self.written = 0;
        let kept = self.kept.clone();
        // packing takes long, and requests wait for what is written here
        std::thread::spawn(move || {
            if let Err(error) = kept.tidy(now) {
                tracing::warn!(%error, "cannot tidy the old audit logs");
            }
        });
        Ok(())
    }
}

/// The files that were put aside.
struct Kept {
    path: PathBuf,
    most: u64,
    days: i64,
    packed: bool,
    tidying: Mutex<()>,
}

impl Kept {
    /// What stands before and after the time in the name of a file.
    fn parts(&self) -> (String, String) {
        let text = |part: Option<&std::ffi::OsStr>| {
            part.map_or(String::new(), |part| part.to_string_lossy().into_owned())
        };
        let extension = match self.path.extension() {
            Some(extension) => format!(".{}", extension.to_string_lossy()),
            None => String::new(),
        };
        (format!("{}-", text(self.path.file_stem())), extension)
    }

    fn aside(&self, now: Timestamp) -> PathBuf {
        let (before, after) = self.parts();
        let time = now.to_zoned(TimeZone::UTC).strftime(ASIDE).to_string();
        self.path.with_file_name(format!("{before}{time}{after}"))
    }

    /// Those that there are, the youngest first.
    fn files(&self) -> io::Result<Vec<(DateTime, PathBuf)>> {
        let (before, after) = self.parts();
        let folder = self
            .path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder.unwrap_or(Path::new(".")))? {
            let path = entry?.path();
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned());
            let time = name.as_deref().and_then(|name| {
                let name = name.strip_suffix(".gz").unwrap_or(name);
                let time = name.strip_prefix(&before)?.strip_suffix(&after)?;
                DateTime::strptime(ASIDE, time).ok()
            });
            // others may lie beside them
            found.extend(time.map(|time| (time, path)));
        }
        found.sort_by(|a, b| b.cmp(a));
        Ok(found)
    }

    /// Removes those that are too many or too old, and packs the others.
    fn tidy(&self, now: Timestamp) -> io::Result<()> {
        let _one_at_a_time = self.tidying.lock();
        let files = self.files()?;
        let oldest = (now - jiff::SignedDuration::from_hours(24 * self.days))
            .to_zoned(TimeZone::UTC)
            .datetime();
        for (at, (time, path)) in files.iter().enumerate() {
            let too_many = self.most > 0 && at as u64 >= self.most;
            if too_many || self.days > 0 && *time < oldest {
                std::fs::remove_file(path)?;
            } else if self.packed && path.extension().is_none_or(|end| end != "gz") {
                pack(path)?;
            }
        }
        Ok(())
    }
}

fn pack(path: &Path) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    let packed = PathBuf::from(name);
    let mode = std::fs::metadata(path)?.permissions().mode();
    let target = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(mode)
        .open(&packed)?;
    let mut to = flate2::write::GzEncoder::new(target, flate2::Compression::default());
    io::copy(&mut File::open(path)?, &mut to)?;
    to.finish()?.sync_all()?;
    std::fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use skiff_api::machinery::clock;

    use super::*;

    fn log(folder: &Path, change: impl FnOnce(&mut LogOptions)) -> (Log, Arc<Kept>) {
        let mut options = LogOptions {
            path: folder.join("deep/audit.log").display().to_string(),
            max_size: 1,
            ..LogOptions::default()
        };
        change(&mut options);
        let log = Log::open(&options, clock::system()).unwrap();
        let Log::File(file) = &log else {
            panic!("a file")
        };
        let kept = file.lock().kept.clone();
        (log, kept)
    }

    #[test]
    fn a_file_that_is_full_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let (log, kept) = log(folder.path(), |_| {});
        let line = vec![b'x'; 700 * 1024];
        log.write(&line).unwrap();
        log.write(&line).unwrap();
        assert_eq!(std::fs::metadata(&kept.path).unwrap().len(), 700 * 1024);
        assert_eq!(kept.files().unwrap().len(), 1);
        let mode = std::fs::metadata(&kept.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let too_long = log.write(&vec![b'x'; 2 * 1024 * 1024]).unwrap_err();
        assert_eq!(
            too_long.to_string(),
            "write length 2097152 exceeds maximum file size 1048576"
        );
    }

    #[test]
    fn old_files() {
        let folder = tempfile::tempdir().unwrap();
        let (_log, kept) = log(folder.path(), |options| {
            (options.max_age, options.max_backup) = (2, 3);
            options.compress = true;
        });
        let now: Timestamp = "2026-01-10T00:00:00Z".parse().unwrap();
        let hours = |hours: i64| kept.aside(now - jiff::SignedDuration::from_hours(hours));
        for ago in [1, 2, 3, 4, 100] {
            std::fs::write(hours(ago), "lines").unwrap();
        }
        let other = kept.path.with_file_name("audit-other.log");
        std::fs::write(&other, "").unwrap();
        kept.tidy(now).unwrap();
        let left: Vec<String> = kept
            .files()
            .unwrap()
            .iter()
            .map(|(_, path)| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(
            left,
            [
                "audit-2026-01-09T23-00-00.000.log.gz",
                "audit-2026-01-09T22-00-00.000.log.gz",
                "audit-2026-01-09T21-00-00.000.log.gz"
            ]
        );
        assert!(other.exists());
        let mut text = String::new();
        let packed = File::open(kept.path.with_file_name(&left[0])).unwrap();
        let mut packed = flate2::read::GzDecoder::new(packed);
        packed.read_to_string(&mut text).unwrap();
        assert_eq!(text, "lines");
    }
}
