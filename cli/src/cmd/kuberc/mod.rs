//! `kuberc`: shows and changes the file of preferences.
//! Invariant: no socket is opened.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/kuberc`.

mod set;
mod view;

use crate::command::{Command, Run};
use crate::context::Ctx;
use crate::error::{Error, Result, message};
use crate::kuberc::{
    self, Place,
    preference::{Preference, understand},
};
use crate::print;
use crate::replace_file::replace_file;
use skiff_api::machinery::yaml;
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

/// What the file says, and what it says that would be lost if it were written anew. `None`: there is no file.
fn load(path: &Path) -> Result<Option<(Preference, Vec<String>)>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(why) => {
            let why = crate::error::unread(path, &why);
            return Err(message!("error reading kuberc file: {why}"));
        }
    };
    let wrong = |why: String| message!("error parsing kuberc file: {why}");
    let documents = yaml::read_lax(&text).map_err(|why| {
        let why = why.trim_start_matches("yaml: ");
        wrong(format!("error converting YAML to JSON: yaml: {why}"))
    })?;
    let mut values = documents.into_iter().map(|document| document.value);
    let Some(first) = values.find(|value| !value.is_null()) else {
        return Ok(Some((Preference::empty(), Vec::new())));
    };
    let (preference, mut lost) = understand(first).map_err(|why| wrong(why.to_string()))?;
    let more = values.filter(|value| !value.is_null()).count();
    if more > 0 {
        lost.push(format!("{more} more documents"));
    }
    Ok(Some((preference, lost)))
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
    replace_file(path, 0o644, yaml::write(&value).as_bytes()).map_err(|why| {
        let why = crate::error::go_io(&why);
        message!(
            "failed to write kuberc file: open {}: {why}",
            path.display()
        )
    })?;
    print::put(&format!("Updated {}\n", path.display()))
}
