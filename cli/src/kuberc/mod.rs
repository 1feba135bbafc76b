//! Preferences of whoever types: other names for commands, other defaults of flags, and which programs may give credentials.
//! Invariant: what stands on the command line counts before what the file says; a command line is changed before anything is read from it.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/kuberc/kuberc.go`.

mod expand;
mod policy;
pub mod preference;

use crate::client::klog;
use crate::command::Command;
use crate::error::{Error, Result, message};
use preference::{Alias, Flag, Preference, ReadError};
use std::path::PathBuf;

pub use policy::Policy;

/// What the environment says: preferences are off.
const SWITCH: &str = "KUBECTL_KUBERC";
const PATH: &str = "KUBERC";

/// Whether there are preferences at all.
fn is_off() -> bool {
    std::env::var(SWITCH).is_ok_and(|value| crate::flags::parse_bool(&value) == Ok(false))
}

/// A file of preferences.
pub struct Place {
    pub path: PathBuf,
    /// Somebody named it.
    pub named: bool,
}

/// Which file counts: that of `--kuberc`, that of the environment, or the usual one. `None`: they are turned off.
///
/// # Errors
/// They are turned off, and a file is named.
pub fn place(named: &str) -> Result<Option<Place>> {
    let told = std::env::var(PATH).unwrap_or_default();
    if told == "off" {
        return match named {
            "" => Ok(None),
            _ => Err(Error::msg(
                "disabling kuberc via KUBERC=off and passing kuberc flag are mutually exclusive",
            )),
        };
    }
    let usual = || {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        home.unwrap_or_default().join(".kube").join("kuberc")
    };
    Ok(Some(match (named, told.as_str()) {
        ("", "") => Place {
            path: usual(),
            named: false,
        },
        ("", told) => Place {
            path: told.into(),
            named: true,
        },
        (named, _) => Place {
            path: named.into(),
            named: true,
        },
    }))
}

/// The file that `--kuberc` names, before flags are read.
fn named(args: &[String]) -> Result<String> {
    let none = || Error::msg("kuberc file is not found");
    let mut words = args.iter().take_while(|word| *word != "--");
    while let Some(word) = words.next() {
        if word == "--kuberc" {
            return words.next().cloned().ok_or_else(none);
        }
        if let Some(value) = word.strip_prefix("--kuberc=") {
            let value = value.split('=').next().unwrap_or_default();
            return (!value.is_empty()).then(|| value.into()).ok_or_else(none);
        }
    }
    Ok(String::new())
}

/// Whether logs are as talkative as that, before flags are read.
fn is_talkative(args: &[String]) -> bool {
    let number = |text: &str| text.parse::<u8>().is_ok_and(|level| level >= 5);
    let mut words = args.iter().take_while(|word| *word != "--");
    while let Some(word) = words.next() {
        let value = match word.as_str() {
            "-v" | "--v" => words.next().map(String::as_str),
            _ => ["--v=", "-v=", "-v"]
                .iter()
                .find_map(|flag| word.strip_prefix(flag)),
        };
        if value.is_some_and(number) {
            return true;
        }
    }
    false
}

fn read(args: &[String]) -> Result<Option<Preference>> {
    let Some(place) = place(&named(args)?).map_err(|why| message!("kuberc error {why}"))? else {
        return Ok(None);
    };
    let path = place.path.display();
    let talkative = is_talkative(args);
    let details = |text: &str| {
        if talkative {
            klog('I', "marshal.go:98", text);
        }
    };
    let why = match preference::read(&place.path, details) {
        Ok(None) => return Ok(None),
        Ok(Some((preference, odd))) => {
            if let Some(odd) = odd {
                eprint!("kuberc: ignoring strict decoding error in {path}: {odd}");
            }
            return Ok(Some(preference));
        }
        Err(ReadError::NotFound(_)) if !place.named => return Ok(None),
        Err(why) => why,
    };
    // who forbids programs is not to have them run because of a slip of the pen
    let text = std::fs::read_to_string(&place.path).unwrap_or_default();
    if place.named || text.contains("credentialPlugin") {
        return Err(message!("kuberc error kuberc: {why}"));
    }
    eprint!("kuberc: no preferences loaded from {path}: {why}");
    Ok(None)
}

/// Which programs the preferences let give credentials, and what else they say.
fn understood(args: &[String]) -> Result<(Policy, Option<Preference>)> {
    if args.is_empty() || is_off() {
        return Ok((Policy::allow_all(), None));
    }
    let Some(preference) = read(args)? else {
        return Ok((Policy::allow_all(), None));
    };
    let policy = Policy::of(&preference)?;
    validate(&preference)?;
    policy.validate()?;
    Ok((policy, Some(preference)))
}

/// Which programs the preferences let give credentials.
///
/// # Errors
/// As of [`apply`].
pub fn policy(args: &[String]) -> Result<Policy> {
    understood(args).map(|(policy, _)| policy)
}

/// What the preferences make of a command line, and which programs they let give credentials.
///
/// # Errors
/// Preferences that are not valid, or that do not fit the command.
pub fn apply(
    root: &'static Command,
    program: &str,
    args: Vec<String>,
) -> Result<(Vec<String>, Policy)> {
    let (policy, preference) = understood(&args)?;
    let args = match preference {
        Some(preference) => expand::expand(root, program, &preference, args)?,
        None => args,
    };
    Ok((args, policy))
}

fn validate(preference: &Preference) -> Result<()> {
    let flags = |flags: &[Flag]| match flags.iter().find(|flag| flag.name.starts_with('-')) {
        Some(flag) => Err(message!(
            "flag name {} should be in long form without dashes",
            flag.name
        )),
        None => Ok(()),
    };
    let aliases: &[Alias] = preference.aliases.as_deref().unwrap_or_default();
    for (at, alias) in aliases.iter().enumerate() {
        if alias.name.is_empty() || !alias.name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return Err(Error::msg(
                "invalid alias name, can only include alphabetical characters",
            ));
        }
        flags(&alias.options)?;
        if aliases[..at]
            .iter()
            .any(|earlier| earlier.name == alias.name)
        {
            return Err(message!("duplicate alias name {}", alias.name));
        }
    }
    for defaults in preference.defaults.iter().flatten() {
        flags(defaults.options.as_deref().unwrap_or_default())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(String::from).collect()
    }

    #[test]
    fn the_file_is_named_before_flags_are_read() {
        for (line, file) in [
            ("get --kuberc a pods", "a"),
            ("get --kuberc=a pods", "a"),
            ("get pods", ""),
            ("run x -- --kuberc=a", ""),
        ] {
            assert_eq!(named(&words(line)).unwrap(), file, "{line}");
        }
        assert!(named(&words("get --kuberc")).is_err());
        assert!(named(&words("get --kuberc=")).is_err());
        for (line, talkative) in [
            ("get -v 5", true),
            ("get --v=6", true),
            ("get -v4", false),
            ("get", false),
        ] {
            assert_eq!(is_talkative(&words(line)), talkative, "{line}");
        }
    }
}
