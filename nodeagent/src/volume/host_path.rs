//! `hostPath`: a path of the node.
//!
//! Follows `pkg/volume/hostpath/host_path.go`.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::HostPathVolumeSource;

use super::{During, Error};
use crate::pod::mounted::Mounted;

pub fn set_up(source: &HostPathVolumeSource) -> Result<Mounted, Error> {
    check(
        Path::new(&source.path),
        source.type_.as_deref().unwrap_or_default(),
    )
}

/// Makes sure that there is at `path` what `kind` asks for.
pub fn check(path: &Path, kind: &str) -> Result<Mounted, Error> {
    let found = fs::metadata(path);
    let wrong = |what: &str| {
        Err(Error::Refused(format!(
            "hostPath type check failed: {} is not a {what}",
            path.display()
        )))
    };
    let is = |test: fn(&fs::FileType) -> bool| {
        found
            .as_ref()
            .is_ok_and(|metadata| test(&metadata.file_type()))
    };
    match kind {
        "" => {}
        "DirectoryOrCreate" if found.is_err() => {
            fs::create_dir_all(path).during(|| format!("make {}", path.display()))?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o755))
                .during(|| format!("set the mode of {}", path.display()))?;
        }
        "FileOrCreate" if found.is_err() => {
            fs::File::create_new(path).during(|| format!("make {}", path.display()))?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o644))
                .during(|| format!("set the mode of {}", path.display()))?;
        }
        "Directory" | "DirectoryOrCreate" if !is(fs::FileType::is_dir) => {
            return wrong("directory");
        }
        "File" | "FileOrCreate" if !is(fs::FileType::is_file) => return wrong("file"),
        "Socket" if !is(FileTypeExt::is_socket) => return wrong("socket file"),
        "CharDevice" if !is(FileTypeExt::is_char_device) => return wrong("character device"),
        "BlockDevice" if !is(FileTypeExt::is_block_device) => return wrong("block device"),
        "Directory" | "DirectoryOrCreate" | "File" | "FileOrCreate" | "Socket" | "CharDevice"
        | "BlockDevice" => {}
        other => return Err(Error::Refused(format!("{other} is an invalid volume type"))),
    }
    if kind.is_empty() && found.is_err() {
        // Without a type nothing is checked, and a missing path becomes a folder when it is mounted.
        fs::create_dir_all(path).during(|| format!("make {}", path.display()))?;
    }
    Ok(Mounted {
        path: PathBuf::from(path),
        read_only: false,
        is_file: !path.is_dir(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types() {
        let root = tempfile::tempdir().unwrap();
        let place = |name: &str| root.path().join(name);
        assert!(
            check(&place("d"), "Directory")
                .unwrap_err()
                .to_string()
                .ends_with("is not a directory")
        );
        assert!(check(&place("d"), "DirectoryOrCreate").is_ok() && place("d").is_dir());
        assert!(check(&place("f"), "FileOrCreate").unwrap().is_file);
        assert!(check(&place("f"), "Directory").is_err() && check(&place("f"), "File").is_ok());
        assert!(
            check(&place("f"), "Socket")
                .unwrap_err()
                .to_string()
                .ends_with("is not a socket file")
        );
        assert!(check(Path::new("/dev/null"), "CharDevice").is_ok());
        assert!(check(&place("f"), "Nonsense").is_err());
    }
}
