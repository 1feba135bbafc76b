//! What is mounted below a folder, and how to unmount it.
//!
//! Invariant: only what lies at or below the given folder is touched, the deepest first. Follows `proc_pid_mountinfo(5)`.

use std::{
    io,
    path::{Path, PathBuf},
};

use nix::mount::{MntFlags, umount2};

use crate::outcome::IfThere;

/// Something that is mounted, as `mountinfo` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// What of its file system is mounted; of a namespace, which one (`net:[…]`).
    pub root: String,
    pub point: PathBuf,
    /// The type of its file system.
    pub kind: String,
}

impl Mount {
    fn of_line(line: &str) -> Option<Mount> {
        let (fields, rest) = line.split_once(" - ")?;
        let mut fields = fields.split(' ').skip(3);
        Some(Mount {
            root: fields.next()?.to_owned(),
            point: unescape(fields.next()?),
            kind: rest.split(' ').next()?.to_owned(),
        })
    }
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

/// What the calling thread sees mounted at a folder or below it, in the order in which it was mounted. Below a folder that is not there is nothing.
///
/// # Errors
/// The mounts or the folder cannot be looked at.
pub fn below(folder: &Path) -> io::Result<Vec<Mount>> {
    let Some(real) = folder.canonicalize().if_there()? else {
        return Ok(Vec::new());
    };
    let table = std::fs::read_to_string("/proc/thread-self/mountinfo")?;
    let mounts = table.lines().filter_map(Mount::of_line);
    Ok(mounts.filter(|of| of.point.starts_with(&real)).collect())
}

/// Unmounts all at and below a folder.
///
/// # Errors
/// The first that could not be unmounted, by its path; the others are all the same.
pub fn unmount_below(folder: &Path) -> io::Result<()> {
    let mut points: Vec<PathBuf> = below(folder)?.into_iter().map(|of| of.point).collect();
    points.sort_by_key(|point| std::cmp::Reverse(point.components().count()));
    let mut first = Ok(());
    for point in points {
        match umount2(&point, MntFlags::MNT_DETACH) {
            Ok(()) | Err(nix::errno::Errno::EINVAL) => {}
            Err(errno) if first.is_ok() => {
                let why = format!("unmount {}: {errno}", point.display());
                first = Err(io::Error::new(io::Error::from(errno).kind(), why));
            }
            Err(_) => {}
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_mountinfo() {
        let cases = [
            (
                "41 28 0:4 net:[4026532281] /run/skiff/netns/a\\040b rw shared:5 - nsfs nsfs rw",
                Some(("net:[4026532281]", "/run/skiff/netns/a b", "nsfs")),
            ),
            (
                "36 28 0:32 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw",
                Some(("/", "/sys/fs/cgroup", "cgroup2")),
            ),
            (
                "36 28 0:32 / /a\\134b rw - tmpfs none rw",
                Some(("/", "/a\\b", "tmpfs")),
            ),
            ("", None),
        ];
        for (line, want) in cases {
            let want = want.map(|(root, point, kind)| Mount {
                root: root.into(),
                point: point.into(),
                kind: kind.into(),
            });
            assert_eq!(Mount::of_line(line), want, "{line}");
        }
    }

    #[test]
    fn below_a_folder_that_is_not_there_is_nothing() {
        assert_eq!(below(Path::new("/nosuch/folder")).unwrap(), []);
        let proc = below(Path::new("/proc")).unwrap();
        assert!(proc.iter().any(|of| of.kind == "proc"), "{proc:?}");
    }
}
