//! How much of the disk a file or a folder takes; and files that are there whole.
//!
//! Invariant: what is linked twice is counted once, and what is mounted below is not counted; what vanishes meanwhile takes nothing.
//! Follows `DiskUsage` in `pkg/volume/util/fs/fs.go`.

use std::{collections::HashSet, fs::Metadata, io, os::unix::fs::MetadataExt, path::Path};

use crate::outcome::IfThere;

const BLOCK: u64 = 512;

/// What files take of a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub bytes: u64,
    pub inodes: u64,
}

impl std::ops::AddAssign for Held {
    fn add_assign(&mut self, other: Held) {
        self.bytes += other.bytes;
        self.inodes += other.inodes;
    }
}

/// What a file system has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    pub capacity_bytes: u64,
    pub available_bytes: u64,
    pub used_bytes: u64,
    pub inodes: u64,
    pub inodes_free: u64,
}

/// What the file system that `path` is on has.
pub fn room(path: &Path) -> io::Result<Room> {
    let found = nix::sys::statvfs::statvfs(path).map_err(io::Error::from)?;
    let block = found.fragment_size();
    Ok(Room {
        capacity_bytes: found.blocks() * block,
        available_bytes: found.blocks_available() * block,
        used_bytes: found.blocks().saturating_sub(found.blocks_free()) * block,
        inodes: found.files(),
        inodes_free: found.files_free(),
    })
}

/// What `path` takes, with all below it. What is not there takes nothing.
pub fn held(path: &Path) -> io::Result<Held> {
    let Some(top) = path.symlink_metadata().if_there()? else {
        return Ok(Held::default());
    };
    let mut walk = Walk {
        device: top.dev(),
        seen: HashSet::new(),
        held: Held::default(),
    };
    walk.count(path, &top)?;
    Ok(walk.held)
}

/// The bytes of that alone.
pub fn used(path: &Path) -> io::Result<u64> {
    held(path).map(|held| held.bytes)
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
    held: Held,
}

impl Walk {
    fn count(&mut self, path: &Path, found: &Metadata) -> io::Result<()> {
        if found.dev() != self.device
            || (found.nlink() > 1 && !found.is_dir() && !self.seen.insert(found.ino()))
        {
            return Ok(());
        }
        self.held += Held {
            bytes: found.blocks() * BLOCK,
            inodes: 1,
        };
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
        assert_eq!(held(folder.path()).unwrap().inodes, 3, "folder, file, link");
        assert_eq!(used(&folder.path().join("none")).unwrap(), 0);
        let room = room(folder.path()).unwrap();
        assert!(room.capacity_bytes >= room.available_bytes && room.capacity_bytes > 0);
    }
}
