//! How much of the disk a file or a folder takes; and files that are there whole.
//!
//! Invariant: what is linked twice is counted once, and what is mounted below is not counted; what vanishes meanwhile takes nothing.
//! Follows `DiskUsage` in `pkg/volume/util/fs/fs.go`.

use std::{collections::HashSet, fs::Metadata, io, os::unix::fs::MetadataExt, path::Path};

use crate::outcome::IfThere;

const BLOCK: u64 = 512;

/// Bytes that `path` takes, with all below it. What is not there takes none.
pub fn used(path: &Path) -> io::Result<u64> {
    let Some(top) = path.symlink_metadata().if_there()? else {
        return Ok(0);
    };
    let mut walk = Walk {
        device: top.dev(),
        seen: HashSet::new(),
        bytes: 0,
    };
    walk.count(path, &top)?;
    Ok(walk.bytes)
}

/// A reader sees the old bytes or the new ones, never half of them.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    std::fs::write(&beside, bytes)?;
    std::fs::rename(&beside, path)
}

struct Walk {
    device: u64,
    /// Files with several names.
    seen: HashSet<u64>,
    bytes: u64,
}

impl Walk {
    fn count(&mut self, path: &Path, found: &Metadata) -> io::Result<()> {
        if found.dev() != self.device
            || (found.nlink() > 1 && !found.is_dir() && !self.seen.insert(found.ino()))
        {
            return Ok(());
        }
        self.bytes += found.blocks() * BLOCK;
        if !found.is_dir() {
            return Ok(());
        }
        for entry in std::fs::read_dir(path).if_there()?.into_iter().flatten() {
            let below = entry?.path();
            if let Some(found) = below.symlink_metadata().if_there()? {
                self.count(&below, &found)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_count_once() {
        let folder = tempfile::tempdir().unwrap();
        let empty = used(folder.path()).unwrap();
        std::fs::write(folder.path().join("a"), vec![1; 100_000]).unwrap();
        std::fs::hard_link(folder.path().join("a"), folder.path().join("b")).unwrap();
        std::os::unix::fs::symlink("/usr", folder.path().join("c")).unwrap();
        let full = used(folder.path()).unwrap() - empty;
        assert!((100_000..150_000).contains(&full), "{full}");
        assert_eq!(used(&folder.path().join("none")).unwrap(), 0);
    }
}
