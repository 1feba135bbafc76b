//! What PodSecurity is configured with: what namespaces without labels ask, and who is exempt.
//!
//! Follows `staging/src/k8s.io/pod-security-admission/admission/api`.

use serde::Deserialize;
use skiff_api::machinery::{
    field::{Errors, Path},
    names,
};

use super::policy::{Asked, Level, Policy, parse_version};
use crate::config_file::{self as file, FileError};

const KIND: file::Kind = file::Kind {
    group: "pod-security.admission.config.k8s.io",
    name: "PodSecurityConfiguration",
    scheme: "k8s.io/pod-security-admission/admission/api/scheme/scheme.go:29",
};

#[derive(thiserror::Error, Debug)]
pub enum ConfigurationError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{}", .0.message())]
    Content(Errors),
}

#[derive(Deserialize)]
struct File {
    defaults: Defaults,
    exemptions: Exemptions,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "kebab-case")]
struct Defaults {
    enforce: String,
    enforce_version: String,
    audit: String,
    audit_version: String,
    warn: String,
    warn_version: String,
}

/// Who is held to nothing.
#[derive(Deserialize, Default, Clone, Debug, PartialEq)]
#[serde(default, rename_all = "camelCase")]
struct Exemptions {
    usernames: Vec<String>,
    namespaces: Vec<String>,
    runtime_classes: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Configuration {
    /// What a namespace asks whose labels say nothing.
    pub defaults: Policy,
    exemptions: Exemptions,
}

impl Configuration {
    /// As a file says; an empty one says nothing.
    ///
    /// # Errors
    /// It cannot be read, or names no level, version or object.
    pub fn read(data: &[u8]) -> Result<Configuration, ConfigurationError> {
        if data.is_empty() {
            return Ok(Configuration::default());
        }
        let File {
            defaults,
            exemptions,
        } = file::decode(data, &KIND)?;
        let mut errors = Errors::default();
        let mut mode = |name: &str, level: &str, version: &str| Asked {
            level: read(name, level, "privileged", Level::parse, &mut errors)
                .unwrap_or(Level::Privileged),
            version: read(
                &format!("{name}-version"),
                version,
                "latest",
                parse_version,
                &mut errors,
            )
            .flatten(),
        };
        let enforce = mode("enforce", &defaults.enforce, &defaults.enforce_version);
        let warn = mode("warn", &defaults.warn, &defaults.warn_version);
        let audit = mode("audit", &defaults.audit, &defaults.audit_version);
        let namespace = |name: &str| names::is_dns1123_label(name);
        let class = |name: &str| names::is_dns1123_subdomain(name);
        let user = |name: &str| match name.is_empty() {
            true => vec!["username must not be empty".to_string()],
            false => Vec::new(),
        };
        exempt("namespaces", &exemptions.namespaces, namespace, &mut errors);
        exempt(
            "runtimeClasses",
            &exemptions.runtime_classes,
            class,
            &mut errors,
        );
        exempt("usernames", &exemptions.usernames, user, &mut errors);
        if !errors.is_empty() {
            return Err(ConfigurationError::Content(errors));
        }
        Ok(Configuration {
            defaults: Policy {
                enforce,
                audit,
                warn,
            },
            exemptions,
        })
    }

    pub fn is_exempt_namespace(&self, name: &str) -> bool {
        self.exemptions.namespaces.iter().any(|one| one == name)
    }

    pub fn is_exempt_user(&self, name: &str) -> bool {
        self.exemptions.usernames.iter().any(|one| one == name)
    }

    /// A pod without a class has the name "" here, which is no class's.
    pub fn is_exempt_class(&self, name: &str) -> bool {
        self.exemptions
            .runtime_classes
            .iter()
            .any(|one| one == name)
    }
}

fn read<T>(
    name: &str,
    said: &str,
    otherwise: &str,
    parse: fn(&str) -> Result<T, String>,
    errors: &mut Errors,
) -> Option<T> {
    let text = if said.is_empty() { otherwise } else { said };
    let read = parse(text).map_err(|why| {
        let defaults = Path::new("defaults");
        errors.invalid(&defaults.child(name), text, why);
    });
    read.ok()
}

fn exempt(
    list: &str,
    entries: &[String],
    check: impl Fn(&str) -> Vec<String>,
    errors: &mut Errors,
) {
    let exemptions = Path::new("exemptions");
    let path = exemptions.child(list);
    for (at, name) in entries.iter().enumerate() {
        let wrong = check(name);
        if !wrong.is_empty() {
            errors.invalid(&path.index(at), name.as_str(), wrong.join(", "));
        } else if entries[..at].contains(name) {
            errors.duplicate(&path.index(at), name.as_str());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        let head =
            "apiVersion: pod-security.admission.config.k8s.io/v1\nkind: PodSecurityConfiguration\n";
        match Configuration::read(format!("{head}{text}").as_bytes()) {
            Err(why) => why.to_string(),
            Ok(found) => {
                let Policy {
                    enforce,
                    audit,
                    warn,
                } = found.defaults;
                format!("{enforce} {audit} {warn} {:?}", found.exemptions.namespaces)
            }
        }
    }

    #[test]
    fn what_files_say() {
        for (text, wanted) in [
            (
                "{}",
                "privileged:latest privileged:latest privileged:latest []",
            ),
            (
                "defaults: {enforce: baseline, enforce-version: v1.30, audit: restricted}\nexemptions: {namespaces: [kube-system]}",
                "baseline:v1.30 restricted:latest privileged:latest [\"kube-system\"]",
            ),
            (
                "defaults: {enforce: strict, warn-version: \"2\"}",
                "[defaults.enforce: Invalid value: \"strict\": must be one of privileged, baseline, restricted, defaults.warn-version: Invalid value: \"2\": must be \"latest\" or \"v1.x\"]",
            ),
            (
                "exemptions: {namespaces: [a, a], usernames: [\"\"]}",
                "[exemptions.namespaces[1]: Duplicate value: \"a\", exemptions.usernames[0]: Invalid value: \"\": username must not be empty]",
            ),
            (
                "default: {}",
                "strict decoding error: unknown field \"default\"",
            ),
        ] {
            let text = text.trim_start_matches("{}");
            assert_eq!(told(text), wanted, "{text}");
        }
        assert_eq!(Configuration::read(b"").unwrap(), Configuration::default());
    }
}
