//! Which capabilities a container's process has.
//!
//! Invariant: what is dropped is dropped even when it is in the default set; an unknown name is refused.
//! Follows containerd's `defaultUnixCaps` and `customopts.WithCapabilities` order: add ALL, drop ALL, then the single ones.

use std::collections::BTreeSet;

use crate::runtime::Security;

#[derive(thiserror::Error, Debug)]
pub enum Error {
    #[error("cannot read this process's capabilities: {0}")]
    Own(#[from] caps::errors::CapsError),
    #[error("unknown capability {0:?}")]
    Unknown(String),
}

/// What a container has when nothing is said.
const DEFAULTS: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// The capabilities, as `CAP_…`.
pub fn of(security: &Security) -> Result<BTreeSet<String>, Error> {
    if security.privileged {
        return all();
    }
    let canonical = |names: &[String]| -> Result<Vec<String>, Error> {
        names.iter().map(|name| canonical(name)).collect()
    };
    let add = canonical(&security.add_capabilities)?;
    let drop = canonical(&security.drop_capabilities)?;
    let is_all = |name: &String| name == "CAP_ALL";
    let mut set: BTreeSet<String> = DEFAULTS.iter().map(ToString::to_string).collect();
    if add.iter().any(is_all) {
        set = all()?;
    }
    if drop.iter().any(is_all) {
        set.clear();
    }
    set.extend(add.into_iter().filter(|name| !is_all(name)));
    for name in drop {
        set.remove(&name);
    }
    Ok(set)
}

/// Those that this process has: it cannot give what it lacks.
fn all() -> Result<BTreeSet<String>, Error> {
    let own = caps::read(None, caps::CapSet::Permitted)?;
    Ok(own.iter().map(ToString::to_string).collect())
}

fn canonical(name: &str) -> Result<String, Error> {
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("CAP_") {
        upper
    } else {
        format!("CAP_{upper}")
    };
    if full != "CAP_ALL" && full.parse::<caps::Capability>().is_err() {
        return Err(Error::Unknown(full));
    }
    Ok(full)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets() {
        let with = |add: &[&str], drop: &[&str]| {
            let names = |list: &[&str]| list.iter().map(ToString::to_string).collect();
            of(&Security {
                add_capabilities: names(add),
                drop_capabilities: names(drop),
                ..Security::default()
            })
        };
        assert_eq!(with(&[], &[]).unwrap().len(), 14);
        assert_eq!(
            with(&["NET_ADMIN"], &["ALL"])
                .unwrap()
                .into_iter()
                .collect::<Vec<_>>(),
            ["CAP_NET_ADMIN"]
        );
        assert!(!with(&[], &["cap_chown"]).unwrap().contains("CAP_CHOWN"));
        assert!(!with(&["ALL"], &["CHOWN"]).unwrap().contains("CAP_CHOWN"));
        assert_eq!(with(&["ALL"], &[]).unwrap(), all().unwrap());
        assert_eq!(
            with(&["WINGS"], &[]).unwrap_err().to_string(),
            "unknown capability \"CAP_WINGS\""
        );
    }
}
