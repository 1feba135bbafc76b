//! Who a container's process is: numbers for the names in the image's `User`, from the image's own passwd and group files.
//!
//! Invariant: files are looked up inside the layers and never through a link that leads out of them.
//! Follows containerd's `oci.WithUser` and `customopts` (`WithAdditionalGIDs`), and runc's `user` package.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use crate::runtime::{self, Security};

#[derive(thiserror::Error, Debug, PartialEq)]
pub enum Error {
    #[error("unable to find user {0}: no matching entries in passwd file")]
    NoUser(String),
    #[error("unable to find group {0}: no matching entries in group file")]
    NoGroup(String),
    #[error("invalid group id {0}")]
    InvalidGroup(i64),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// Ascending, `gid` among them.
    pub groups: Vec<u32>,
}

impl Identity {
    /// The same as states tell it.
    pub fn user(&self) -> runtime::User {
        runtime::User {
            uid: self.uid.into(),
            gid: self.gid.into(),
            groups: self.groups.iter().map(|gid| i64::from(*gid)).collect(),
        }
    }
}

/// The passwd and group files of an image.
#[derive(Default)]
pub struct Accounts {
    passwd: String,
    group: String,
}

impl Accounts {
    /// Reads them from the topmost layer that has them.
    pub fn of(layers: &[PathBuf]) -> Self {
        Self {
            passwd: topmost(layers, "etc/passwd"),
            group: topmost(layers, "etc/group"),
        }
    }

    /// The identity for an image's `User` and the pod's security settings.
    pub fn resolve(&self, image_user: &str, security: &Security) -> Result<Identity, Error> {
        let (image_user, image_group) = image_user.split_once(':').unwrap_or((image_user, ""));
        let wanted = match security.run_as_user {
            Some(uid) => uid.to_string(),
            None if image_user.is_empty() => "0".to_owned(),
            None => image_user.to_owned(),
        };
        let entry = self.users().find(|u| u.name == wanted).or_else(|| {
            wanted
                .parse()
                .ok()
                .and_then(|uid: u32| self.users().find(|u| u.uid == uid))
        });
        let uid = match (&entry, wanted.parse::<u32>()) {
            (Some(user), _) => user.uid,
            (None, Ok(uid)) => uid,
            (None, Err(_)) => return Err(Error::NoUser(wanted)),
        };
        let gid = match security.run_as_group {
            Some(gid) => u32::try_from(gid).map_err(|_| Error::InvalidGroup(gid))?,
            // A group in the image's `User` belongs to its user, and not to one that the pod put in its place.
            None if !image_group.is_empty() && security.run_as_user.is_none() => {
                self.group_id(image_group)?
            }
            None => entry.as_ref().map_or(0, |user| user.gid),
        };
        let mut groups: Vec<u32> = security
            .supplemental_groups
            .iter()
            .filter_map(|gid| u32::try_from(*gid).ok())
            .collect();
        if let Some(user) = &entry {
            groups.extend(self.memberships(user.name));
        }
        groups.push(gid);
        groups.sort_unstable();
        groups.dedup();
        Ok(Identity { uid, gid, groups })
    }

    fn users(&self) -> impl Iterator<Item = User<'_>> {
        self.passwd.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let (name, _password) = (fields.next()?, fields.next()?);
            Some(User {
                name,
                uid: fields.next()?.parse().ok()?,
                gid: fields.next()?.parse().ok()?,
            })
        })
    }

    fn group_id(&self, name: &str) -> Result<u32, Error> {
        let named = self.groups().find(|(group, _, _)| *group == name);
        let gid = named.map(|(_, gid, _)| gid).or_else(|| name.parse().ok());
        gid.ok_or_else(|| Error::NoGroup(name.to_owned()))
    }

    fn groups(&self) -> impl Iterator<Item = (&str, u32, &str)> {
        self.group.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let (name, _password, gid) = (fields.next()?, fields.next()?, fields.next()?);
            Some((name, gid.parse().ok()?, fields.next().unwrap_or("")))
        })
    }

    fn memberships(&self, user: &str) -> Vec<u32> {
        self.groups()
            .filter(|(_, _, members)| members.split(',').any(|member| member == user))
            .map(|(_, gid, _)| gid)
            .collect()
    }
}

struct User<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
}

fn topmost(layers: &[PathBuf], path: &str) -> String {
    layers
        .iter()
        .find_map(|layer| read_inside(layer, path))
        .unwrap_or_default()
}

fn read_inside(root: &Path, path: &str) -> Option<String> {
    let root = std::fs::File::open(root).ok()?;
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let mut file = std::fs::File::from(openat2(&root, path, how).ok()?);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts {
            passwd: "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:,,,:/home/app:/bin/sh\n123:x:7:8::/:/\n".into(),
            group: "root:x:0:\nwheel:x:10:app,root\nstaff:x:50:app\n".into(),
        }
    }

    #[test]
    fn identities() {
        type Wanted = Result<(u32, u32, &'static [u32]), &'static str>;
        let cases: [(&str, Option<i64>, Option<i64>, &[i64], Wanted); 11] = [
            ("", None, None, &[], Ok((0, 0, &[0, 10]))),
            ("app", None, None, &[], Ok((1000, 1001, &[10, 50, 1001]))),
            ("1000", None, None, &[], Ok((1000, 1001, &[10, 50, 1001]))),
            ("app:staff", None, None, &[], Ok((1000, 50, &[10, 50]))),
            ("app:77", None, None, &[], Ok((1000, 77, &[10, 50, 77]))),
            ("4242", None, None, &[5], Ok((4242, 0, &[0, 5]))),
            ("123", None, None, &[], Ok((7, 8, &[8]))),
            ("app", Some(4242), None, &[], Ok((4242, 0, &[0]))),
            (
                "app:staff",
                Some(1000),
                Some(3),
                &[],
                Ok((1000, 3, &[3, 10, 50])),
            ),
            (
                "ghost",
                None,
                None,
                &[],
                Err("unable to find user ghost: no matching entries in passwd file"),
            ),
            (
                "app:ghosts",
                None,
                None,
                &[],
                Err("unable to find group ghosts: no matching entries in group file"),
            ),
        ];
        for (image, user, group, more, wanted) in cases {
            let security = Security {
                run_as_user: user,
                run_as_group: group,
                supplemental_groups: more.to_vec(),
                ..Security::default()
            };
            let found = accounts()
                .resolve(image, &security)
                .map_err(|error| error.to_string());
            let found = found
                .as_ref()
                .map(|id| (id.uid, id.gid, id.groups.as_slice()));
            assert_eq!(
                found.map_err(String::as_str),
                wanted,
                "{image} {security:?}"
            );
        }
    }
}
