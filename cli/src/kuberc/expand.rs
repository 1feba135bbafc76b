//! What aliases and other defaults make of a command line.
//! Behaviour follows `applyAliases` and `applyOverrides` of `staging/src/k8s.io/kubectl/pkg/kuberc/kuberc.go`.

use super::preference::{Alias, Defaults, Flag, Preference};
use crate::command::{self, Command};
use crate::error::{Result, message, quote};
use crate::flags;
use clap::Command as Declared;

/// The command line that is meant.
///
/// # Errors
/// A command, flag or value that is none.
pub fn expand(
    root: &'static Command,
    program: &str,
    preference: &Preference,
    args: Vec<String>,
) -> Result<Vec<String>> {
    let aliases = preference.aliases.as_deref().unwrap_or_default();
    let found = command::find(root, program, &args);
    if std::ptr::eq(found.command, root) {
        let line = alias(root, program, aliases, args.clone())?;
        if line != args {
            known(root, program, preference);
        }
        return Ok(line);
    }
    let mut flags = Vec::new();
    for (defaults, of) in known(root, program, preference) {
        if of.command.name != found.command.name {
            continue;
        }
        let named = Named {
            unknown: |flag: &Flag| {
                format!(
                    "invalid flag {} for command {}",
                    flag.name, defaults.command
                )
            },
            wrong: |flag: &Flag, why: &str| {
                format!(
                    "could not apply override value {} to flag {} in command {} err: {why}",
                    flag.default, flag.name, defaults.command
                )
            },
        };
        let options = defaults.options.as_deref().unwrap_or_default();
        flags.extend(added(&found.command.whole(), options, &args, &named)?);
    }
    // the command's own words come first, as many as it has
    let names = found.path.split(' ').skip(1).map(String::from);
    Ok(names.chain(flags).chain(found.rest).collect())
}

/// The defaults of commands that there are; of others there is a warning.
fn known<'a>(
    root: &'static Command,
    program: &str,
    preference: &'a Preference,
) -> Vec<(&'a Defaults, command::Found)> {
    let mut out = Vec::new();
    for defaults in preference.defaults.iter().flatten() {
        let of = command::find(root, program, &words(&defaults.command));
        if std::ptr::eq(of.command, root) {
            let command = quote(&defaults.command);
            eprintln!("Warning: command {command} not found to set kuberc override");
        } else {
            out.push((defaults, of));
        }
    }
    out
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(String::from).collect()
}

fn alias(
    root: &'static Command,
    program: &str,
    aliases: &[Alias],
    args: Vec<String>,
) -> Result<Vec<String>> {
    let Some(at) = args.iter().position(|word| !word.starts_with('-')) else {
        return Ok(args);
    };
    let Some(alias) = aliases.iter().find(|alias| alias.name == args[at]) else {
        return Ok(args);
    };
    let found = command::find(root, program, &words(&alias.command));
    if std::ptr::eq(found.command, root) {
        return Err(message!(
            "command {} not found to set alias {}: [{}]",
            quote(&alias.command),
            quote(&alias.name),
            words(&alias.command).join(" ")
        ));
    }
    let named = Named {
        unknown: |flag: &Flag| format!("invalid alias flag {} in alias {program}", flag.name),
        wrong: |flag: &Flag, why: &str| {
            format!(
                "could not apply value {} to flag {} in alias {program} err: {why}",
                flag.default, flag.name
            )
        },
    };
    let flags = added(&found.command.whole(), &alias.options, &args, &named)?;
    let (before, after) = (&args[..at], &args[at + 1..]);
    let line = words(&alias.command).into_iter().chain(flags);
    let line = line.chain(before.iter().cloned());
    let line = line.chain(alias.prepend_args.iter().cloned());
    let line = line.chain(after.iter().cloned());
    Ok(line.chain(alias.append_args.iter().cloned()).collect())
}

/// How mistakes in flags are told.
struct Named<U, W> {
    unknown: U,
    wrong: W,
}

/// The flags that the command line does not have, with their values.
fn added(
    declared: &Declared,
    options: &[Flag],
    args: &[String],
    named: &Named<impl Fn(&Flag) -> String, impl Fn(&Flag, &str) -> String>,
) -> Result<Vec<String>> {
    let mut flags = Vec::new();
    for option in options {
        let Some(arg) = flags::named(declared, &option.name) else {
            return Err(message!("{}", (named.unknown)(option)));
        };
        if is_given(declared, &option.name, arg.get_short(), args) {
            continue;
        }
        let flag = format!("--{}={}", option.name, option.default);
        if let Err(why) = flags::read(std::slice::from_ref(&flag), declared.clone()) {
            let why = why.to_string();
            let why = why
                .split_once("\" flag: ")
                .map_or(why.as_str(), |(_, why)| why);
            return Err(message!("{}", (named.wrong)(option, why)));
        }
        flags.push(flag);
    }
    Ok(flags)
}

/// Whether a command line has a flag, as far as that can be told before it is read.
fn is_given(declared: &Declared, name: &str, short: Option<char>, args: &[String]) -> bool {
    let long = format!("--{name}");
    args.iter().any(|word| {
        if word
            .strip_prefix(&long)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        {
            return true;
        }
        let Some(short) = short else { return false };
        let Some(letters) = word.strip_prefix('-') else {
            return false;
        };
        letters.starts_with(short)
            || !letters.is_empty()
                && letters.bytes().all(|byte| byte.is_ascii_alphabetic())
                && flags::lettered(declared, short).is_some()
                && letters.contains(short)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_those_that_are_meant() {
        let flag = |text: &str| {
            let (name, default) = text.split_once('=').unwrap();
            Flag {
                name: name.into(),
                default: default.into(),
            }
        };
        let alias = |name: &str, command: &str, before: &str, after: &str, options: &str| Alias {
            name: name.into(),
            command: command.into(),
            prepend_args: words(before),
            append_args: words(after),
            options: words(options).iter().map(|text| flag(text)).collect(),
        };
        let preference = Preference {
            defaults: Some(vec![super::super::preference::Defaults {
                command: "get".into(),
                options: Some(vec![flag("output=json"), flag("namespace=x")]),
            }]),
            aliases: Some(vec![
                alias("getn", "get", "node", "", "output=wide"),
                alias(
                    "runx",
                    "run",
                    "",
                    "pod -- a b",
                    "image=nginx labels=a=b,c=d",
                ),
                alias("setx", "set image", "", "pod/p c=i", ""),
                alias("bad", "nosuch", "", "", ""),
                alias("worse", "get", "", "", "nosuch=1"),
                alias("worst", "get", "", "", "watch=1x"),
            ]),
            ..Preference::default()
        };
        for [line, meant] in skiff_testing::table::rows(
            r#"
                get pods           | get --output=json --namespace=x pods
                get pods -oyaml    | get --namespace=x pods -oyaml
                get -n y pods      | get --output=json -n y pods
                -n y get pods      | get --output=json -n y pods
                getn a             | get --output=wide node a
                getn a --output=json | get node a --output=json
                runx               | run --image=nginx --labels=a=b,c=d pod -- a b
                setx -n y          | set image -n y pod/p c=i
                set image pod/p c=i | set image pod/p c=i
                nosuch a           | nosuch a
                bad                | error: command "nosuch" not found to set alias "bad": [nosuch]
                worse              | error: invalid alias flag nosuch in alias kubectl
                worst              | error: could not apply value 1x to flag watch in alias kubectl err: strconv.ParseBool: parsing "1x": invalid syntax
            "#,
        ) {
            let root = crate::cmd::root("kubectl");
            let found = expand(root, "kubectl", &preference, words(line));
            let found = found.map_or_else(|why| format!("error: {why}"), |line| line.join(" "));
            assert_eq!(found, meant, "{line}");
        }
    }
}
