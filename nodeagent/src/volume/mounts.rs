//! What is mounted below a folder, and how to unmount it.
//!
//! Invariant: only what lies below the given folder is touched, the deepest first.

use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};

use super::{During, Error};

/// The mount points of this process, as `/proc/self/mountinfo` has them.
fn all() -> Result<Vec<PathBuf>, Error> {
    let text = std::fs::read_to_string("/proc/self/mountinfo")
        .during(|| "read /proc/self/mountinfo".to_owned())?;
    Ok(text
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(unescape)
        .collect())
}

/// `\040` stands for a blank.
fn unescape(text: &str) -> PathBuf {
    let mut out = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let octal = (bytes[at] == b'\\')
            .then(|| bytes.get(at + 1..at + 4))
            .flatten()
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        out.push(octal.unwrap_or(bytes[at]));
        at += if octal.is_some() { 4 } else { 1 };
    }
    PathBuf::from(String::from_utf8_lossy(&out).into_owned())
}

/// Unmounts all below (and at) `dir`.
pub fn unmount_below(dir: &Path) -> Result<(), Error> {
    let real = dir
        .canonicalize()
        .during(|| format!("resolve {}", dir.display()))?;
    let mut below: Vec<PathBuf> = all()?
        .into_iter()
        .filter(|point| point.starts_with(&real))
        .collect();
    below.sort_by_key(|point| std::cmp::Reverse(point.components().count()));
    for point in below {
        match umount2(&point, MntFlags::MNT_DETACH) {
            Ok(()) | Err(nix::errno::Errno::EINVAL) => {}
            Err(errno) => return Err(errno).during(|| format!("unmount {}", point.display())),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        assert_eq!(unescape("/a\\040b\\134c"), PathBuf::from("/a b\\c"));
    }
}
