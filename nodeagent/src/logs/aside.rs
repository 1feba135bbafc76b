//! Keeping logs small: a log of 10 MiB is set aside, and of those set aside only so many are kept.
//!
//! Invariant: per container at most five files, the one written to included.
//! Follows `pkg/kubelet/logs/container_log_manager.go`; what is set aside is not compressed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{outcome::IfThere, time};

/// A log that has grown so large is set aside.
pub const MAX_BYTES: u64 = 10 << 20;
/// Of one container, the one that is written to included.
pub const MAX_FILES: usize = 5;

/// Renames the log when it has grown to `max_bytes`; answers its new name.
pub fn set_aside(log: &Path, max_bytes: u64) -> std::io::Result<Option<PathBuf>> {
    if log
        .metadata()
        .if_there()?
        .is_none_or(|found| found.len() < max_bytes)
    {
        return Ok(None);
    }
    let mut aside = log.as_os_str().to_owned();
    aside.push(format!(".{}", time::now().strftime("%Y%m%d-%H%M%S%3f")));
    let aside = PathBuf::from(aside);
    fs::rename(log, &aside)?;
    Ok(Some(aside))
}

pub fn drop_oldest(log: &Path) -> std::io::Result<()> {
    let old = rotated(log)?;
    old.iter()
        .take(old.len().saturating_sub(MAX_FILES - 1))
        .try_for_each(fs::remove_file)
}

/// The files that were set aside for `log`, oldest first.
pub fn rotated(log: &Path) -> std::io::Result<Vec<PathBuf>> {
    let (Some(dir), Some(name)) = (log.parent(), log.file_name().and_then(|name| name.to_str()))
    else {
        return Ok(Vec::new());
    };
    let prefix = format!("{name}.");
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_logs_are_set_aside_and_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("0.log");
        for round in 0..7 {
            fs::write(&log, format!("round {round}")).unwrap();
            let aside = set_aside(&log, 5).unwrap().unwrap();
            assert!(aside.exists() && !log.exists());
            drop_oldest(&log).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let kept = rotated(&log).unwrap();
        assert_eq!(kept.len(), 4);
        assert_eq!(fs::read_to_string(&kept[3]).unwrap(), "round 6");
        fs::write(&log, "x").unwrap();
        assert_eq!(set_aside(&log, 5).unwrap(), None);
    }
}
