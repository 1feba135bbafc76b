//! `kuberc`: shows and changes the file of preferences.
//! Invariant: no socket is opened.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/kuberc`.

mod set;
mod view;

use crate::command::{Command, Run};
use crate::context::Ctx;
use crate::error::{Error, Result, message};
use crate::kuberc::{self, Place, preference::Preference};
use crate::print;
use std::path::Path;

pub static COMMAND: Command = Command {
    name: "kuberc",
    usage: "SUBCOMMAND",
    short: "Manage kuberc configuration files",
    long: "Show and change your preferences: other names for commands, other defaults of their flags, and which programs may give credentials.\n\nThey stand in ~/.kube/kuberc, or where --kuberc or $KUBERC says; KUBERC=off turns them off.",
    examples: "
      # What is preferred
      kubectl kuberc view
      # Tables are wide from now on
      kubectl kuberc set --section defaults --command get --option output=wide",
    subcommands: &[&set::COMMAND, &view::COMMAND],
    run: Run::Group,
    ..Command::NEW
};

/// The file that the command is about.
fn place(ctx: &Ctx) -> Result<Place> {
    kuberc::place(&ctx.global().kuberc)?
        .ok_or_else(|| Error::msg("KUBERC is disabled via KUBERC=off environment variable"))
}

fn save(preference: &Preference, path: &Path) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|why| {
            let why = crate::error::go_io(&why);
            message!(
                "failed to create directory {}: mkdir {}: {why}",
                folder.display(),
                folder.display()
            )
        })?;
    }
    let value = serde_json::to_value(preference)
        .map_err(|why| message!("failed to marshal preferences: {why}"))?;
    std::fs::write(path, skiff_api::machinery::yaml::write(&value)).map_err(|why| {
        let why = crate::error::go_io(&why);
        message!(
            "failed to write kuberc file: open {}: {why}",
            path.display()
        )
    })?;
    print::put(&format!("Updated {}\n", path.display()))
}
