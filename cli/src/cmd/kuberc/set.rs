//! `kuberc set`: changes the file of preferences.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/kuberc/set.go`.

use super::{load, place, save};
use crate::command::{Command, verb};
use crate::context::With;
use crate::error::{Error, Result, bail, message, quote};
use crate::kuberc::preference::{Alias, Allowed, Defaults, Flag, Preference};
use skiff_api::machinery::aggregate::aggregate;
use std::path::Path;

pub static COMMAND: Command = Command {
    name: "set",
    usage: "--section (defaults|aliases) --command COMMAND",
    short: "Set values in the kuberc configuration",
    long: "Change the file of preferences.\n\nWhat --section names: \"defaults\", values of a command's flags where a command line has none; \"aliases\", commands under other names, with flags and arguments of their own; \"credentialplugin\", which programs may give credentials.",
    examples: "
      # Tables are wide from now on
      kubectl kuberc set --section defaults --command get --option output=wide
      # The same of a sub-command
      kubectl kuberc set --section defaults --command \"set env\" --option output=yaml
      # 'getn' lists nodes
      kubectl kuberc set --section aliases --name getn --command get --prependarg nodes --option output=wide
      # Put another value in the place of what is there
      kubectl kuberc set --section defaults --command get --option output=json --overwrite
      # Let one program give credentials
      kubectl kuberc set --section credentialplugin --policy Allowlist --allowlist-entry command=cloud-credential-helper",
    required: &["section"],
    run: verb!(run: Flags),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// What to change: 'defaults', 'aliases' or 'credentialplugin'
    #[arg(long)]
    section: String,
    /// The command that is meant, without its arguments
    #[arg(long)]
    command: String,
    /// The alias' name
    #[arg(long)]
    name: String,
    /// Which programs may give credentials: 'AllowAll', 'DenyAll' or 'Allowlist'
    #[arg(long)]
    policy: String,
    /// A flag and its value (FLAG=VALUE); may be repeated
    #[arg(long)]
    option: Vec<String>,
    /// An argument before those of the command line, of an alias; may be repeated
    #[arg(long)]
    prependarg: Vec<String>,
    /// An argument behind those of the command line, of an alias; may be repeated
    #[arg(long)]
    appendarg: Vec<String>,
    /// A program that may give credentials (command=PROGRAM); may be repeated
    #[arg(long)]
    allowlist_entry: Vec<String>,
    /// Put it in the place of what is there
    #[arg(long)]
    overwrite: bool,
}

const DEFAULTS: &str = "defaults";
const ALIASES: &str = "aliases";
const PLUGIN: &str = "credentialplugin";

async fn run(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    let place = place(&ctx)?;
    validate(f)?;
    let mut preference = read(&place.path)?;
    let options: Vec<Flag> = f
        .option
        .iter()
        .map(|text| option(text))
        .collect::<Result<_>>()?;
    match f.section.as_str() {
        DEFAULTS => set_defaults(f, &mut preference, options)?,
        ALIASES => set_alias(f, &mut preference, options)?,
        _ => set_plugin(f, &mut preference)?,
    }
    save(&preference, &place.path)
}

fn validate(f: &Flags) -> Result<()> {
    let section = f.section.as_str();
    if ![DEFAULTS, ALIASES, PLUGIN].contains(&section) {
        bail!("--section must be {DEFAULTS:?}, {ALIASES:?}, or {PLUGIN:?}, got: {section}");
    }
    if section == ALIASES && f.name.is_empty() {
        bail!("--name is required when --section={ALIASES}");
    }
    if section == DEFAULTS && !f.name.is_empty() {
        bail!("--name should not be specified when --section={DEFAULTS}");
    }
    if section == DEFAULTS && !(f.prependarg.is_empty() && f.appendarg.is_empty()) {
        bail!("--prependarg and --appendarg are only valid for --section={ALIASES}");
    }
    if section != PLUGIN && f.command.is_empty() {
        bail!("--command is required when --section={ALIASES} or --section={DEFAULTS}");
    }
    if section != PLUGIN {
        return Ok(());
    }
    match (f.policy.as_str(), f.allowlist_entry.is_empty()) {
        ("", _) => bail!("--policy is required when --section={PLUGIN}"),
        ("AllowAll" | "DenyAll", false) => bail!(
            "--allowlist-entry may only be used when --section={PLUGIN} and --policy=Allowlist"
        ),
        ("Allowlist", true) => {
            bail!("--allowlist-entry is required when --section={PLUGIN} and --policy=Allowlist")
        }
        ("AllowAll" | "DenyAll" | "Allowlist", _) => Ok(()),
        (other, _) => {
            bail!(" --policy must be  \"AllowAll\", \"DenyAll\", or \"Allowlist\", got: {other}")
        }
    }
}

/// What is there, if nothing of it is lost when it is written anew.
fn read(path: &Path) -> Result<Preference> {
    match load(path)? {
        None => Ok(Preference::empty()),
        Some((preference, lost)) if lost.is_empty() => Ok(preference),
        Some((_, lost)) => Err(message!(
            "{} is not changed, it would lose what is not understood: {}",
            path.display(),
            lost.join(", ")
        )),
    }
}

fn option(text: &str) -> Result<Flag> {
    let Some((name, default)) = text.split_once('=') else {
        bail!("invalid option format {}, expected flag=value", quote(text));
    };
    Ok(Flag {
        name: name.trim_start_matches('-').into(),
        default: default.into(),
    })
}

fn set_defaults(f: &Flags, preference: &mut Preference, options: Vec<Flag>) -> Result<()> {
    let all = preference.defaults.get_or_insert_default();
    let Some(known) = all.iter_mut().find(|known| known.command == f.command) else {
        all.push(Defaults {
            command: f.command.clone(),
            options: (!options.is_empty()).then_some(options),
        });
        return Ok(());
    };
    if !f.overwrite {
        bail!(
            "defaults for command {} already exist, use --overwrite to replace",
            quote(&f.command)
        );
    }
    if !options.is_empty() {
        known.options = Some(options);
    }
    Ok(())
}

fn set_alias(f: &Flags, preference: &mut Preference, options: Vec<Flag>) -> Result<()> {
    let all = preference.aliases.get_or_insert_default();
    let alias = Alias {
        name: f.name.clone(),
        command: f.command.clone(),
        prepend_args: f.prependarg.clone(),
        append_args: f.appendarg.clone(),
        options,
    };
    let Some(known) = all.iter_mut().find(|known| known.name == f.name) else {
        all.push(alias);
        return Ok(());
    };
    if !f.overwrite {
        bail!(
            "alias {} already exists, use --overwrite to replace",
            quote(&f.name)
        );
    }
    known.command = alias.command;
    // what is not said anew stays
    for (old, new) in [
        (&mut known.prepend_args, alias.prepend_args),
        (&mut known.append_args, alias.append_args),
    ] {
        if !new.is_empty() {
            *old = new;
        }
    }
    if !alias.options.is_empty() {
        known.options = alias.options;
    }
    Ok(())
}

fn set_plugin(f: &Flags, preference: &mut Preference) -> Result<()> {
    let allowed = match f.policy.as_str() {
        "Allowlist" => Some(allowed(&f.allowlist_entry)?),
        _ => None,
    };
    preference.credential_plugin_allowlist = allowed;
    preference.credential_plugin_policy.clone_from(&f.policy);
    Ok(())
}

fn allowed(entries: &[String]) -> Result<Vec<Allowed>> {
    let (mut list, mut wrong) = (Vec::new(), Vec::new());
    for pair in entries.iter().flat_map(|pairs| pairs.split(',')) {
        let why = match pair.split_once('=') {
            None => format!("improperly formatted allowlist entry: {}", quote(pair)),
            Some(("name", _)) => {
                "allowlist entry field \"name\" is deprecated, use \"command\" instead".into()
            }
            Some(("command", value)) if value.trim().is_empty() => {
                "empty value in allowlist entry for field \"command\"".into()
            }
            Some(("command", value)) => {
                list.push(Allowed {
                    command: value.into(),
                    ..Allowed::default()
                });
                continue;
            }
            Some((field, _)) => format!("unrecognized allowlist entry field: {}", quote(field)),
        };
        wrong.push(why);
    }
    match aggregate(wrong) {
        None => Ok(list),
        Some(why) => Err(Error::msg(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_file_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kuberc");
        let read_of = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read(&path)
        };
        assert_eq!(read(&path).unwrap(), Preference::empty());
        assert_eq!(read_of("").unwrap(), Preference::empty());
        let older = "apiVersion: kubectl.config.k8s.io/v1alpha1\nkind: Preference\noverrides:\n- command: get\n  flags:\n  - {name: output, default: wide}\n";
        let kept = read_of(older).unwrap();
        save(&kept, &path).unwrap();
        assert_eq!(read(&path).unwrap(), kept);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("v1beta1") && text.contains("wide"), "{text}");
        for (more, told) in [
            ("unknown: x\n", "unknown field \"unknown\""),
            ("---\na: b\n", "1 more documents"),
        ] {
            let why = read_of(&format!("{text}{more}")).unwrap_err().to_string();
            assert!(why.ends_with(told), "{why}");
        }
    }
}
