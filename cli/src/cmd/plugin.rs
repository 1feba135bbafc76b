//! `plugin`: programs called `kubectl-NAME` on the path, run as `kubectl NAME`.
//! Invariant: a verb of this program is never given to a plugin.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/plugin`.

use crate::command::{Command, Run, verb};
use crate::context::With;
use crate::error::{Error, Result, bail};
use crate::print;
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

async fn list(ctx: With<Flags>) -> Result<()> {
    let mut found: Vec<PathBuf> = Vec::new();
    for dir in path_dirs() {
        let mut here: Vec<PathBuf> = std::fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.path())
            .filter(|p| {
                p.file_name()
                    .and_then(|n| n.to_str())
                    .is_some_and(|n| n.starts_with("kubectl-"))
            })
            .collect();
        here.sort();
        found.extend(here);
    }
    if found.is_empty() {
        bail!("unable to find any kubectl plugins in your PATH");
    }
    let mut out = String::from("The following compatible plugins are available:\n\n");
    for p in &found {
        let shown = if ctx.flags().name_only {
            p.file_name().map(|n| n.to_string_lossy().into_owned())
        } else {
            Some(p.display().to_string())
        };
        out += &format!("{}\n", shown.unwrap_or_default());
    }
    print::put(&out)?;
    found.iter().filter(|p| !is_executable(p)).for_each(|p| {
        eprintln!(
            "  - warning: {} identified as a kubectl plugin, but it is not executable",
            p.display()
        )
    });
    Ok(())
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
    let Some((_, path, count)) = named(args) else {
        return Ok(());
    };
    let failed = std::process::Command::new(&path)
        .args(&args[count..])
        .exec();
    Err(Error::Plain(format!("Error: {failed}"), 1))
}
