//! Whether a host folder's mount can pass mounts on, as mount propagation needs.
//!
//! Follows containerd's `ensureShared` and `ensureSharedOrSlave` (`internal/cri/opts/spec_linux_opts.go`), texts included.

use std::path::Path;

use crate::runtime::{Error, Mount};
use skiff_api::machinery::quote::GoQuoted;

/// Refuses a mount whose propagation its source cannot give.
pub fn check(mount: &Mount, mountinfo: &str) -> Result<(), Error> {
    let (needs_shared, what) = match mount.propagation.as_str() {
        "Bidirectional" => (true, "a shared mount"),
        "HostToContainer" => (false, "a shared or slave mount"),
        _ => return Ok(()),
    };
    let Some((point, tags)) = mount_of(&mount.host_path, mountinfo) else {
        return Ok(());
    };
    let fine = tags
        .iter()
        .any(|tag| tag.starts_with("shared:") || (!needs_shared && tag.starts_with("master:")));
    match fine {
        true => Ok(()),
        false => Err(Error::Failed {
            what: "mount".into(),
            reason: format!(
                "path {} is mounted on {point} but it is not {what}",
                GoQuoted(&mount.host_path.display().to_string()),
                point = GoQuoted(&point)
            ),
        }),
    }
}

/// The mount point above `path`, and its optional fields.
fn mount_of<'a>(path: &Path, mountinfo: &'a str) -> Option<(&'a str, Vec<&'a str>)> {
    let entry = |line: &'a str| {
        let mut fields = line.split(' ');
        let point = fields.nth(4)?;
        let tags = fields.skip(1).take_while(|field| *field != "-").collect();
        path.starts_with(point).then_some((point, tags))
    };
    // The last of equal ones lies on top.
    mountinfo
        .lines()
        .filter_map(entry)
        .max_by_key(|(point, _)| point.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
                        22 21 0:5 / /proc rw - proc proc rw\n\
                        23 21 0:6 / /data rw master:4 - ext4 /dev/vdb rw";

    #[test]
    fn propagation_needs_fitting_mounts() {
        let check = |path: &str, propagation: &str| {
            let mount = Mount {
                host_path: path.into(),
                container_path: "/x".into(),
                read_only: false,
                propagation: propagation.into(),
                image: None,
            };
            check(&mount, INFO).map_err(|err| err.to_string())
        };
        assert!(check("/home", "Bidirectional").is_ok());
        assert!(check("/data/a", "HostToContainer").is_ok());
        assert!(check("/proc", "None").is_ok());
        assert_eq!(
            check("/data/a", "Bidirectional").unwrap_err(),
            "cannot mount: path \"/data/a\" is mounted on \"/data\" but it is not a shared mount"
        );
        assert_eq!(
            check("/proc", "HostToContainer").unwrap_err(),
            "cannot mount: path \"/proc\" is mounted on \"/proc\" but it is not a shared or slave mount"
        );
    }
}
