//! Where a cluster keeps its things, and the record by which `status` and `down` find it again.

use std::{
    fs::{File, TryLockError},
    io::Write,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

/// The file that has the record.
const RECORD: &str = "cluster.json";

/// The folders of one cluster, told apart by its data folder.
#[derive(Clone, Debug)]
pub struct Folders {
    pub data: PathBuf,
    /// Eight hexadecimal digits of the data folder's name.
    pub instance: String,
}

/// What a running cluster leaves for others to read.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    pub pid: u32,
    pub server: String,
    pub kubeconfig: PathBuf,
    /// Its context there.
    pub context: String,
    pub nodes: Vec<String>,
    pub simulated: bool,
    pub started: String,
    pub url: Option<String>,
}

/// `/var/lib/skiff` for root, else `$XDG_DATA_HOME/skiff`.
pub fn default_data_dir() -> PathBuf {
    if nix::unistd::geteuid().is_root() {
        return "/var/lib/skiff".into();
    }
    let home = std::env::var_os("HOME")
        .map(PathBuf::from)
        .unwrap_or_else(|| "/tmp".into());
    std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .unwrap_or_else(|| home.join(".local/share"))
        .join("skiff")
}

impl Folders {
    pub fn at(data: &str) -> anyhow::Result<Folders> {
        let data = if data.is_empty() {
            default_data_dir()
        } else {
            PathBuf::from(data)
        };
        let data = std::path::absolute(&data)
            .with_context(|| format!("cannot use the data folder {}", data.display()))?;
        let instance = hex::encode(&Sha256::digest(data.as_os_str().as_encoded_bytes())[..4]);
        Ok(Folders { data, instance })
    }

    pub fn store(&self) -> PathBuf {
        self.data.join("store")
    }
    pub fn pki(&self) -> PathBuf {
        self.data.join("pki")
    }
    pub fn images(&self) -> PathBuf {
        self.data.join("images")
    }
    pub fn node(&self, name: &str) -> PathBuf {
        self.data.join("nodes").join(name)
    }
    /// Where the volumes are that claims got.
    pub fn volumes(&self) -> PathBuf {
        self.data.join("volumes")
    }
    pub fn run(&self) -> PathBuf {
        Path::new("/run/skiff").join(&self.instance)
    }
    /// The cgroup of a node, from the hierarchy's root.
    pub fn cgroup(&self, node: &str) -> String {
        format!("skiff/{}/{node}", self.instance)
    }
    pub fn log(&self) -> PathBuf {
        self.data.join("skiff.log")
    }
    fn record_path(&self) -> PathBuf {
        self.data.join(RECORD)
    }

    /// Makes the data folder and holds it: two processes on one folder would ruin it.
    pub fn hold(&self) -> anyhow::Result<File> {
        let shown = self.data.display();
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.data)
            .with_context(|| {
                format!("cannot make the data folder {shown}; choose another with --data-dir")
            })?;
        let path = self.lock_path();
        let opened = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        let mut file = opened.with_context(|| {
            format!("cannot write to the data folder {shown}; choose another with --data-dir")
        })?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0)?;
                writeln!(file, "{}", std::process::id())?;
                Ok(file)
            }
            Err(TryLockError::WouldBlock) => {
                let holder = self.holder();
                let holder = holder.map_or_else(String::new, |pid| format!(" (process {pid})"));
                bail!(
                    "the data folder {shown} is held by another process{holder}; end it with `skiff down --data-dir {shown}` or choose another folder with --data-dir"
                )
            }
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }

    /// Whether a process holds the folder.
    pub fn is_held(&self) -> bool {
        File::open(self.lock_path())
            .is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
    }

    /// The process that holds the folder, if one does.
    pub fn holder(&self) -> Option<u32> {
        let told = || std::fs::read_to_string(self.lock_path()).ok();
        self.is_held().then(told)??.trim().parse().ok()
    }

    fn lock_path(&self) -> PathBuf {
        self.data.join("lock")
    }

    pub fn record(&self) -> Option<Record> {
        serde_json::from_slice(&std::fs::read(self.record_path()).ok()?).ok()
    }

    pub fn write_record(&self, record: &Record) -> anyhow::Result<()> {
        self.keep(RECORD, record)
    }

    /// Writes a file of the folder, whole or not at all.
    pub fn keep(&self, name: &str, what: &impl Serialize) -> anyhow::Result<()> {
        let beside = self.data.join(format!("{name}.new"));
        std::fs::write(&beside, serde_json::to_vec_pretty(what)?)?;
        std::fs::rename(beside, self.data.join(name))?;
        Ok(())
    }

    /// What such a file holds; nothing where there is none.
    pub fn kept<T: DeserializeOwned>(&self, name: &str) -> anyhow::Result<Option<T>> {
        let path = self.data.join(name);
        let read = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => Err(serde_json::Error::io(error)),
        };
        read.with_context(|| format!("cannot read {}", path.display()))
    }

    pub fn remove_record(&self) {
        // there may be none; one that stays names a process that is gone, which readers see
        let _ = std::fs::remove_file(self.record_path());
    }
}
