//! `plugin`: programs called `kubectl-NAME` on the path, run as `kubectl NAME`.
//! Invariant: a verb of this program is never given to a plugin.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/plugin`.

use crate::command::{Command, Run, verb};
use crate::context::With;
use crate::error::{Error, Result, bail, message, quote};
use crate::print;
use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

pub static COMMAND: Command = Command {
    name: "plugin",
    usage: "[flags]",
    short: "Provides utilities for interacting with plugins",
    long: "Plugins are programs on the path whose names begin with kubectl-: they are run as if they were commands.",
    subcommands: &[&LIST],
    run: Run::Group,
    ..Command::NEW
};

static LIST: Command = Command {
    name: "list",
    usage: "[flags]",
    short: "List all visible plugin executables on a user's PATH",
    run: verb!(list: Flags),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// Only names, without folders
    #[arg(long)]
    name_only: bool,
}

fn path_dirs() -> Vec<PathBuf> {
    std::env::var_os("PATH")
        .map(|p| std::env::split_paths(&p).collect())
        .unwrap_or_default()
}

fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// The plugins of all folders of the path, each folder once and in order.
fn all() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for folder in path_dirs() {
        if !folders.contains(&folder) && !folder.as_os_str().is_empty() {
            folders.push(folder);
        }
    }
    let mut found = Vec::new();
    for folder in folders {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(why) => {
                eprintln!(
                    "Unable to read directory {} from your PATH: open {}: {}. Skipping...",
                    quote(&folder.to_string_lossy()),
                    folder.display(),
                    crate::error::go_io(&why)
                );
                continue;
            }
        };
        let is_plugin = |path: &PathBuf| !path.is_dir() && base(path).starts_with("kubectl-");
        let paths = entries.flatten().map(|entry| entry.path());
        let mut here: Vec<PathBuf> = paths.filter(is_plugin).collect();
        here.sort();
        found.extend(here);
    }
    found
}

fn base(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// What is wrong with a plugin, beside those that were seen before.
fn warnings(ctx: &With<Flags>, path: &Path, seen: &mut HashMap<String, PathBuf>) -> Vec<String> {
    let (name, shown) = (base(path), path.display());
    let mut out = Vec::new();
    if !is_executable(path) {
        out.push(format!(
            "warning: {shown} identified as a kubectl plugin, but it is not executable"
        ));
    }
    match seen.get(&name) {
        Some(other) => out.push(format!(
            "warning: {shown} is overshadowed by a similarly named plugin: {}",
            other.display()
        )),
        None => drop(seen.insert(name.clone(), path.to_path_buf())),
    }
    let words: Vec<String> = name.split('-').skip(1).map(String::from).collect();
    let found = crate::command::find(super::root(ctx.program()), "kubectl", &words);
    if found.unknown.is_none() || found.path != "kubectl" {
        out.push(format!(
            "warning: {name} overwrites existing command: {}",
            quote(&found.path)
        ));
    }
    out
}

async fn list(ctx: With<Flags>) -> Result<()> {
    let found = all();
    if found.is_empty() {
        bail!("unable to find any kubectl plugins in your PATH");
    }
    print::put("The following compatible plugins are available:\n\n")?;
    let (mut seen, mut count) = (HashMap::new(), 0);
    for path in &found {
        let shown = match ctx.flags().name_only {
            true => base(path),
            false => path.display().to_string(),
        };
        print::put(&format!("{shown}\n"))?;
        for warning in warnings(&ctx, path, &mut seen) {
            eprintln!("  - {warning}");
            count += 1;
        }
    }
    match count {
        0 => Ok(()),
        1 => Err(Error::msg("one plugin warning was found")),
        n => Err(message!("{n} plugin warnings were found")),
    }
}

/// The longest `kubectl-a-b` that the words name, and how many of them it takes.
fn named(args: &[String]) -> Option<(String, PathBuf, usize)> {
    let words: Vec<String> = args
        .iter()
        .take_while(|a| !a.starts_with('-'))
        .map(|a| a.replace('-', "_"))
        .collect();
    (1..=words.len()).rev().find_map(|count| {
        let name = words[..count].join("-");
        executable(&format!("kubectl-{name}")).map(|path| (name, path, count))
    })
}

fn executable(name: &str) -> Option<PathBuf> {
    path_dirs()
        .into_iter()
        .map(|d| d.join(name))
        .find(|p| is_executable(p))
}

/// The verbs that plugins add: the first word of each.
pub fn verbs() -> Vec<String> {
    let names = path_dirs()
        .into_iter()
        .flat_map(|dir| std::fs::read_dir(dir).into_iter().flatten().flatten())
        .filter(|e| is_executable(&e.path()));
    let names = names.filter_map(|e| {
        e.file_name()
            .to_str()?
            .strip_prefix("kubectl-")
            .map(|name| name.split('-').next().unwrap_or("").replace('_', "-"))
    });
    names.filter(|name| !name.is_empty()).collect()
}

/// The program that completes the plugin which the words name, and how many words name it.
pub fn completer(args: &[String]) -> Option<(PathBuf, usize)> {
    let (name, _, count) = named(args)?;
    executable(&format!("kubectl_complete-{name}")).map(|path| (path, count))
}

/// Becomes the plugin that the words name, if there is one.
///
/// # Errors
/// A plugin that cannot be run.
pub fn hand_over(_program: &str, args: &[String]) -> Result<()> {
    if let Some(flag) = args.first().filter(|word| word.starts_with('-')) {
        let why = format!("Error: flags cannot be placed before plugin name: {flag}");
        return Err(Error::Plain(why, 1));
    }
    let Some((_, path, count)) = named(args) else {
        return Ok(());
    };
    let failed = std::process::Command::new(&path)
        .args(&args[count..])
        .exec();
    Err(Error::Plain(format!("Error: {failed}"), 1))
}
