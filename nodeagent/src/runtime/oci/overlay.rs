//! Whether overlayfs works where the containers' writable layers are to be.
//!
//! Invariant: it is tried in a mount namespace that ends with the trial, so that nothing is left of it.

use std::{fs, io, path::Path};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use crate::{outcome, runtime::Error};

/// Refuses a folder that overlayfs cannot write to, and machines without overlayfs. Blocks for a moment.
pub fn require(folder: &Path) -> Result<(), Error> {
    let missing = || {
        !fs::read_to_string("/proc/filesystems")
            .is_ok_and(|text| text.lines().any(|line| line.ends_with("\toverlay")))
    };
    if missing() {
        // As a module it is loaded by whoever asks first; without modprobe the answer below is the right one.
        let loaded = std::process::Command::new("modprobe")
            .arg("overlay")
            .output();
        outcome::is_a_favour("modprobe overlay", loaded);
    }
    if missing() {
        return Err(Error::Unsupported {
            what: "overlayfs".into(),
            hint: "load the kernel module `overlay`, or use simulated nodes".into(),
        });
    }
    let trial = folder.join(format!("overlay-{}", uuid::Uuid::new_v4()));
    let place = trial.clone();
    // A thread may have a mount namespace of its own.
    let outcome = std::thread::spawn(move || try_mount(&place))
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the trial panicked")));
    let removed = fs::remove_dir_all(&trial);
    outcome.and(removed).map_err(|err| Error::Unsupported {
        what: format!("overlayfs on {}: {err}", folder.display()),
        hint: "put the data folder on a disk file system such as ext4 or xfs; overlayfs cannot write to another overlayfs".into(),
    })
}

fn try_mount(trial: &Path) -> io::Result<()> {
    for part in ["lower", "upper", "work", "merged"] {
        fs::create_dir_all(trial.join(part))?;
    }
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )?;
    let options = format!(
        "lowerdir={0}/lower,upperdir={0}/upper,workdir={0}/work",
        trial.display()
    );
    mount(
        Some("overlay"),
        &trial.join("merged"),
        Some("overlay"),
        MsFlags::empty(),
        Some(options.as_str()),
    )?;
    // Device nodes are how deletions are marked.
    fs::write(trial.join("merged/file"), b"written")
}
