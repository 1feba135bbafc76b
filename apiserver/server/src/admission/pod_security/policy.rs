//! What a namespace's labels ask of its pods: a level and a version of the Pod Security Standards for each of three modes.
//!
//! Invariant: a label that cannot be read makes `enforce` stricter, never laxer. Follows
//! `staging/src/k8s.io/pod-security-admission/api/helpers.go`.

use std::fmt;

use serde_json::{Map, Value};
use skiff_api::machinery::field::{Errors, Path};

/// How strict; in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Privileged,
    Baseline,
    Restricted,
}

impl Level {
    const ALL: [(&'static str, Level); 3] = [
        ("privileged", Level::Privileged),
        ("baseline", Level::Baseline),
        ("restricted", Level::Restricted),
    ];

    pub fn parse(text: &str) -> Result<Level, String> {
        let found = Level::ALL.iter().find(|(name, _)| *name == text);
        found.map(|(_, level)| *level).ok_or_else(|| {
            let names = Level::ALL.map(|(name, _)| name);
            format!("must be one of {}", names.join(", "))
        })
    }
}

/// The checks as they were in a release; `None` for the newest.
pub type Minor = Option<u32>;

pub fn parse_version(text: &str) -> Result<Minor, String> {
    if text == "latest" {
        return Ok(None);
    }
    let minor = text.strip_prefix("v1.").filter(|minor| {
        minor.bytes().all(|byte| byte.is_ascii_digit())
            && (*minor == "0" || !minor.starts_with('0'))
    });
    let number = minor.and_then(|minor| minor.parse().ok());
    number
        .map(Some)
        .ok_or_else(|| r#"must be "latest" or "v1.x""#.into())
}

/// What one mode asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    pub level: Level,
    pub version: Minor,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Level::ALL.iter().find(|(_, level)| *level == self.level);
        f.write_str(name.map_or("", |(name, _)| name))?;
        match self.version {
            None => f.write_str(":latest"),
            Some(minor) => write!(f, ":v1.{minor}"),
        }
    }
}

/// Nothing.
impl Default for Asked {
    fn default() -> Asked {
        Asked {
            level: Level::Privileged,
            version: None,
        }
    }
}

/// What a namespace asks: what violates `enforce` is refused, what violates `warn` is told, what violates `audit` is noted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    pub enforce: Asked,
    pub audit: Asked,
    pub warn: Asked,
}

impl Policy {
    /// Of the labels of a namespace, where they say something, and what is wrong with them. Pods are held to it all the same.
    pub fn of(labels: Option<&Map<String, Value>>, defaults: &Policy) -> (Policy, Errors) {
        let mut errors = Errors::default();
        let mut mode = |mode: &str, default: Asked, otherwise: Level| {
            let (name, pin) = (
                format!("pod-security.kubernetes.io/{mode}"),
                format!("pod-security.kubernetes.io/{mode}-version"),
            );
            let level = read(labels, &name, Level::parse, &mut errors);
            let version = read(labels, &pin, parse_version, &mut errors);
            Mode {
                level,
                pinned: version.is_some(),
                asked: Asked {
                    level: match level {
                        Some(level) => level.unwrap_or(otherwise),
                        None => default.level,
                    },
                    version: match version {
                        Some(version) => version.flatten(),
                        None => default.version,
                    },
                },
            }
        };
        let enforce = mode("enforce", defaults.enforce, Level::Restricted);
        let audit = mode("audit", defaults.audit, Level::Privileged);
        let mut warn = mode("warn", defaults.warn, Level::Privileged);
        // who enforces is also warned, of what makes pods
        let explicit = enforce.level.flatten().is_some();
        if warn.level.is_none() && explicit && enforce.asked.level > warn.asked.level {
            warn.asked.level = enforce.asked.level;
            if !warn.pinned {
                warn.asked.version = enforce.asked.version;
            }
        }
        let policy = Policy {
            enforce: enforce.asked,
            audit: audit.asked,
            warn: warn.asked,
        };
        (policy, errors)
    }
}

impl Policy {
    /// What the labels of a namespace ask that is exempt, each mode that asks for something: `enforce=restricted:latest, warn=…`.
    pub fn said_by(&self, labels: Option<&Map<String, Value>>) -> String {
        let has = |mode: &str| {
            let name = format!("pod-security.kubernetes.io/{mode}");
            let pin = format!("{name}-version");
            labels.is_some_and(|labels| labels.contains_key(&name) || labels.contains_key(&pin))
        };
        let modes = [
            ("enforce", self.enforce),
            ("audit", self.audit),
            ("warn", self.warn),
        ];
        let said = modes
            .iter()
            .filter(|(mode, asked)| asked.level != Level::Privileged && has(mode));
        said.map(|(mode, asked)| format!("{mode}={asked}"))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// No mode asks for anything.
    pub fn asks_nothing(&self) -> bool {
        let modes = [self.enforce, self.audit, self.warn];
        modes.iter().all(|asked| asked.level == Level::Privileged)
    }
}

struct Mode {
    /// Absent, or there and perhaps not to be read.
    level: Option<Option<Level>>,
    pinned: bool,
    asked: Asked,
}

fn read<T>(
    labels: Option<&Map<String, Value>>,
    name: &str,
    parse: fn(&str) -> Result<T, String>,
    errors: &mut Errors,
) -> Option<Option<T>> {
    let text = labels?.get(name)?.as_str().unwrap_or_default();
    let read = parse(text).map_err(|why| {
        let metadata = Path::new("metadata");
        let labels = metadata.child("labels");
        errors.invalid(&labels.key(name), text, &why);
    });
    Some(read.ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_say_what_is_asked() {
        for (labels, enforce, warn, wrong) in [
            (json!({}), "privileged:latest", "privileged:latest", 0),
            (
                json!({"enforce": "baseline"}),
                "baseline:latest",
                "baseline:latest",
                0,
            ),
            (
                json!({"enforce": "restricted", "enforce-version": "v1.24"}),
                "restricted:v1.24",
                "restricted:v1.24",
                0,
            ),
            (
                json!({"enforce": "restricted", "enforce-version": "v1.24", "warn-version": "v1.2"}),
                "restricted:v1.24",
                "restricted:v1.2",
                0,
            ),
            (
                json!({"enforce": "restricted", "warn": "privileged"}),
                "restricted:latest",
                "privileged:latest",
                0,
            ),
            (
                json!({"warn": "baseline"}),
                "privileged:latest",
                "baseline:latest",
                0,
            ),
            (
                json!({"enforce": "strict"}),
                "restricted:latest",
                "privileged:latest",
                1,
            ),
            (
                json!({"warn": "strict"}),
                "privileged:latest",
                "privileged:latest",
                1,
            ),
            (
                json!({"enforce": "baseline", "enforce-version": "v1.024"}),
                "baseline:latest",
                "baseline:latest",
                1,
            ),
            (
                json!({"enforce-version": "1.24", "audit": "", "audit-version": "v2.1"}),
                "privileged:latest",
                "privileged:latest",
                3,
            ),
        ] {
            let named =
                labels.as_object().unwrap().iter().map(|(name, value)| {
                    (format!("pod-security.kubernetes.io/{name}"), value.clone())
                });
            let (policy, errors) = Policy::of(Some(&named.collect()), &Policy::default());
            assert_eq!(policy.enforce.to_string(), enforce, "{labels}");
            assert_eq!(policy.warn.to_string(), warn, "{labels}");
            assert_eq!(errors.len(), wrong, "{labels}");
        }
    }
}
