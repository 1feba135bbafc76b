//! Files written whole or not at all.
//! Invariant: whoever reads finds what was there before or what is there now; a link stays one.

use std::fs::OpenOptions;
use std::io::{Result, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Puts a text in the place of what a file holds, or makes the file. `mode`: who may read it, before the process' mask.
///
/// # Errors
/// What the file system says.
pub fn replace_file(path: &Path, mode: u32, text: &[u8]) -> Result<()> {
    // beside the file that a link leads to: nothing is renamed from one file system to another
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let mut fresh = target.as_os_str().to_owned();
    fresh.push(format!(".{}.new", std::process::id()));
    // a file that is left over may be open to others: not the one that keys go into
    let _ = std::fs::remove_file(&fresh);
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(mode);
    let written = options.open(&fresh).and_then(|mut out| out.write_all(text));
    let done = written.and_then(|()| std::fs::rename(&fresh, target));
    if done.is_err() {
        // the failure is told; what is left over of it helps nobody
        let _ = std::fs::remove_file(&fresh);
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn links_stay_and_nothing_is_left_over() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("real"), "old").unwrap();
        let left = at(&format!("real.{}.new", std::process::id()));
        std::fs::write(&left, "old").unwrap();
        std::fs::set_permissions(&left, std::fs::Permissions::from_mode(0o666)).unwrap();
        std::os::unix::fs::symlink(at("real"), at("link")).unwrap();
        replace_file(&at("link"), 0o600, b"new").unwrap();
        assert!(at("link").is_symlink());
        assert_eq!(std::fs::read_to_string(at("real")).unwrap(), "new");
        let mode = std::fs::metadata(at("real")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::create_dir(at("folder")).unwrap();
        assert!(replace_file(&at("folder"), 0o600, b"new").is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
    }
}
