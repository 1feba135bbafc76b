//! Which programs may give credentials.
//! Behaviour follows `staging/src/k8s.io/client-go/plugin/pkg/client/auth/exec/exec.go` (`updateCommandAndCheckAllowlistLocked`).

use super::preference::Preference;
use crate::error::{Error, Result, message, quote};
use std::path::PathBuf;

const ALLOWLIST: &str = "Allowlist";
const DENY_ALL: &str = "DenyAll";

/// All may, none, or those of a list.
#[derive(Clone, Debug)]
pub struct Policy {
    name: String,
    allowed: Option<Vec<String>>,
}

impl Policy {
    /// That of whoever has no preferences.
    pub fn allow_all() -> Policy {
        Policy {
            name: String::new(),
            allowed: None,
        }
    }

    /// # Errors
    /// A program under two names.
    pub fn of(preference: &Preference) -> Result<Policy> {
        let list = preference.credential_plugin_allowlist.as_ref();
        let allowed = list.map(|list| {
            list.iter()
                .map(|allowed| match (allowed.name.as_str(), allowed.command.as_str()) {
                    (name, command) if !name.is_empty() && !command.is_empty() && name != command => Err(Error::msg(
                        "both `Name` and `Command` were supplied with different values. `Name` is deprecated, use `Command` instead",
                    )),
                    (name, "") => Ok(name.to_string()),
                    (_, command) => Ok(command.to_string()),
                })
                .collect()
        });
        Ok(Policy {
            name: preference.credential_plugin_policy.clone(),
            allowed: allowed.transpose()?,
        })
    }

    /// # Errors
    /// A policy that is none, or a list that does not fit it.
    pub fn validate(&self) -> Result<()> {
        let name = quote(&self.name);
        match (self.name.as_str(), self.allowed.as_deref()) {
            ("" | "AllowAll" | DENY_ALL, None) => Ok(()),
            ("" | "AllowAll" | DENY_ALL, Some(_)) => Err(message!(
                "misconfigured credential plugin allowlist: plugin policy is {name} but allowlist is non-nil"
            )),
            (ALLOWLIST, None) => Err(message!(
                "credential plugin policy set to {name}, but allowlist is unspecified"
            )),
            (ALLOWLIST, Some([])) => Err(message!(
                "credential plugin policy set to {name}, but allowlist is empty; use {} policy instead",
                quote(DENY_ALL)
            )),
            (ALLOWLIST, Some(list)) => match list.iter().position(String::is_empty) {
                Some(at) => Err(message!(
                    "misconfigured credential plugin allowlist: empty allowlist entry #{}",
                    at + 1
                )),
                None => Ok(()),
            },
            _ => Err(message!("unknown plugin policy: {name}")),
        }
    }

    /// What is to be started for a program: of a list, the very file that was looked at.
    ///
    /// # Errors
    /// Why it may not be run.
    pub fn allowed(&self, command: &str) -> Result<PathBuf> {
        let Some(list) = self.allowed.as_deref().filter(|_| self.name == ALLOWLIST) else {
            return match self.name == DENY_ALL {
                true => Err(message!(
                    "plugin {} not allowed: policy set to {}",
                    quote(command),
                    quote(DENY_ALL)
                )),
                false => Ok(command.into()),
            };
        };
        let found = look_up(command);
        let is_listed = list
            .iter()
            .any(|allowed| allowed == command || found.is_some() && look_up(allowed) == found);
        let path = found.unwrap_or_else(|| command.into());
        match is_listed {
            true => Ok(path),
            false => Err(message!(
                "plugin path {} is not permitted by the credential plugin allowlist",
                quote(&path.display().to_string())
            )),
        }
    }
}

/// Where a program is, as a shell would find it.
fn look_up(command: &str) -> Option<PathBuf> {
    use nix::unistd::{AccessFlags, access};
    let runs = |place: &PathBuf| place.is_file() && access(place, AccessFlags::X_OK).is_ok();
    if command.contains('/') {
        return Some(PathBuf::from(command)).filter(runs);
    }
    let path = std::env::var_os("PATH")?;
    let mut places = std::env::split_paths(&path).map(|folder| folder.join(command));
    places.find(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_is_who_is_listed() {
        let policy = |name: &str, allowed: Option<&[&str]>| Policy {
            name: name.into(),
            allowed: allowed.map(|list| list.iter().map(|name| name.to_string()).collect()),
        };
        assert!(policy("", None).allowed("sh").is_ok());
        let denied = policy(DENY_ALL, None)
            .allowed("sh")
            .unwrap_err()
            .to_string();
        assert_eq!(
            denied,
            "plugin \"sh\" not allowed: policy set to \"DenyAll\""
        );
        let shell = look_up("sh").unwrap();
        for allowed in ["sh", shell.to_str().unwrap()] {
            let list = policy(ALLOWLIST, Some(&[allowed]));
            list.validate().unwrap();
            assert_eq!(list.allowed("sh").unwrap(), shell, "{allowed}");
            assert!(list.allowed("cat").is_err(), "{allowed}");
        }
        assert!(policy(ALLOWLIST, None).validate().is_err());
        assert!(policy(ALLOWLIST, Some(&[])).validate().is_err());
        assert!(policy("AllowAll", Some(&["a"])).validate().is_err());
        assert!(policy("Some", None).validate().is_err());
    }
}
