//! Writing the files of a volume so that readers see either all old ones or all new ones.
//!
//! Invariant: what users see are links into `..data`, which is itself a link that is replaced in one step.
//! Follows `pkg/volume/util/atomic_writer.go`.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::{Component, Path, PathBuf},
};

use crate::outcome::IfThere;
use skiff_api::machinery::quote::GoQuoted;

use super::{During, Error, File, Files, open_to_all};

const DATA: &str = "..data";
const NEW_DATA: &str = "..data_tmp";

/// Makes `dir` hold `files`; does nothing when it does already. Whether something was written.
pub fn write(dir: &Path, files: &Files, group: Option<u32>) -> Result<bool, Error> {
    files.keys().try_for_each(|path| check(path))?;
    fs::create_dir_all(dir).during(|| format!("make {}", dir.display()))?;
    open_to_all(dir)?;
    let old = fs::read_link(dir.join(DATA)).ok();
    if let Some(old) = &old
        && holds(&dir.join(old), files)?
    {
        return Ok(false);
    }
    let place = format!(
        "..{}_{:09}",
        crate::time::now().strftime("%Y_%m_%d_%H_%M_%S"),
        rand::random_range(0..1_000_000_000u32)
    );
    let fresh = dir.join(&place);
    fill(&fresh, files, group)?;
    if group.is_some() {
        give_folder(dir, group)?;
    }
    replace_link(dir, &place)?;
    link_all(dir, files)?;
    if let Some(old) = old {
        drop_stale_links(dir, &dir.join(&old), files)?;
        fs::remove_dir_all(dir.join(old))
            .during(|| format!("remove old files in {}", dir.display()))?;
    }
    Ok(true)
}

fn check(path: &str) -> Result<(), Error> {
    let plain = Path::new(path)
        .components()
        .all(|component| matches!(component, Component::Normal(_)));
    if path.is_empty() || !plain || path.starts_with("..") {
        return Err(Error::Refused(format!(
            "invalid path {path}: must be relative and must not contain or start with '..'",
            path = GoQuoted(&path)
        )));
    }
    Ok(())
}

/// Whether the folder holds just these files.
fn holds(dir: &Path, files: &Files) -> Result<bool, Error> {
    let mut present = BTreeSet::new();
    list(dir, dir, &mut present)?;
    if present.len() != files.len() {
        return Ok(false);
    }
    Ok(files.iter().all(|(path, file)| {
        let place = dir.join(path);
        let same = fs::metadata(&place).is_ok_and(|metadata| {
            metadata.permissions().mode() & 0o7777 == file.mode
                && file.owner.is_none_or(|owner| owner == metadata.uid())
        });
        same && fs::read(&place).is_ok_and(|data| data == file.data)
    }))
}

fn list(root: &Path, dir: &Path, found: &mut BTreeSet<PathBuf>) -> Result<(), Error> {
    let what = || format!("list {}", dir.display());
    for entry in fs::read_dir(dir)
        .if_there()
        .during(what)?
        .into_iter()
        .flatten()
    {
        let path = entry.during(what)?.path();
        if path.is_dir() {
            list(root, &path, found)?;
        } else {
            found.insert(path.strip_prefix(root).unwrap_or(&path).to_owned());
        }
    }
    Ok(())
}

fn fill(dir: &Path, files: &Files, group: Option<u32>) -> Result<(), Error> {
    make_folder(dir, group)?;
    for (path, File { data, mode, owner }) in files {
        let place = dir.join(path);
        if let Some(parent) = place.parent().filter(|parent| !parent.exists()) {
            fs::create_dir_all(parent).during(|| format!("make {}", parent.display()))?;
            make_folder(parent, group)?;
        }
        fs::write(&place, data).during(|| format!("write {}", place.display()))?;
        if group.is_some() || owner.is_some() {
            chown(&place, *owner, group)
                .during(|| format!("give {} to its owner", place.display()))?;
        }
        fs::set_permissions(&place, fs::Permissions::from_mode(*mode))
            .during(|| format!("set the mode of {}", place.display()))?;
    }
    Ok(())
}

fn make_folder(dir: &Path, group: Option<u32>) -> Result<(), Error> {
    fs::create_dir_all(dir).during(|| format!("make {}", dir.display()))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))
        .during(|| format!("set the mode of {}", dir.display()))?;
    match group {
        Some(_) => give_folder(dir, group),
        None => Ok(()),
    }
}

/// Lets the group read a folder, and have what is made in it.
fn give_folder(dir: &Path, group: Option<u32>) -> Result<(), Error> {
    chown(dir, None, group).during(|| format!("give {} to its group", dir.display()))?;
    let metadata = fs::metadata(dir).during(|| format!("read {}", dir.display()))?;
    let mode = metadata.permissions().mode() | 0o2550;
    fs::set_permissions(dir, fs::Permissions::from_mode(mode))
        .during(|| format!("set the mode of {}", dir.display()))
}

fn replace_link(dir: &Path, target: &str) -> Result<(), Error> {
    let temporary = dir.join(NEW_DATA);
    if fs::symlink_metadata(&temporary).is_ok() {
        fs::remove_file(&temporary).during(|| format!("remove {}", temporary.display()))?;
    }
    symlink(target, &temporary).during(|| format!("link {}", temporary.display()))?;
    fs::rename(&temporary, dir.join(DATA))
        .during(|| format!("replace {}", dir.join(DATA).display()))
}

/// The first components of the files' paths: what users see.
fn visible(files: &Files) -> BTreeSet<String> {
    files
        .keys()
        .filter_map(|path| path.split('/').next())
        .map(str::to_owned)
        .collect()
}

fn link_all(dir: &Path, files: &Files) -> Result<(), Error> {
    for name in visible(files) {
        let link = dir.join(&name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(&name), &link)
                .during(|| format!("link {}", link.display()))?;
        }
    }
    Ok(())
}

fn drop_stale_links(dir: &Path, old: &Path, files: &Files) -> Result<(), Error> {
    let wanted = visible(files);
    let Ok(entries) = fs::read_dir(old) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !wanted.contains(&name) {
            let link = dir.join(&name);
            fs::remove_file(&link).during(|| format!("remove {}", link.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> Files {
        list.iter()
            .map(|(path, data)| {
                (
                    (*path).to_owned(),
                    File {
                        data: data.as_bytes().to_vec(),
                        mode: 0o644,
                        owner: None,
                    },
                )
            })
            .collect()
    }

    #[test]
    fn content_is_swapped_in_one_step_and_only_when_it_changed() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("v");
        assert!(write(&dir, &files(&[("a", "1"), ("d/b", "2")]), None).unwrap());
        assert_eq!(fs::read_to_string(dir.join("d/b")).unwrap(), "2");
        let first = fs::read_link(dir.join(DATA)).unwrap();
        assert!(!write(&dir, &files(&[("a", "1"), ("d/b", "2")]), None).unwrap());
        assert!(write(&dir, &files(&[("a", "new")]), None).unwrap());
        assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "new");
        assert!(!dir.join("d").exists() && fs::symlink_metadata(dir.join("d")).is_err());
        assert!(!dir.join(first).exists(), "old files are gone");
    }

    #[test]
    fn paths_cannot_escape() {
        let root = tempfile::tempdir().unwrap();
        for path in ["../x", "/x", "a/../../x", "..x", ""] {
            assert!(
                write(root.path(), &files(&[(path, "")]), None).is_err(),
                "{path}"
            );
        }
    }
}
