//! `completion`: scripts by which a shell completes command lines.
//! Invariant: a script knows no words: it asks the program, so that it is right for every version of it.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/completion/completion.go`.

use crate::command::{Command, verb};
use crate::complete::Words;
use crate::context::With;
use crate::error::Result;
use crate::print;

pub static COMMAND: Command = Command {
    name: "completion",
    usage: "SHELL",
    short: "Output shell completion code for the specified shell (bash, zsh, fish, or powershell)",
    long: "Print a script that completes verbs, flags, and names of objects in bash, zsh, fish or PowerShell. Source it in your shell's start-up file.",
    examples: "
      # In bash
      source <(kubectl completion bash)
      # In zsh
      source <(kubectl completion zsh)
      # In fish
      kubectl completion fish | source
      # In PowerShell
      kubectl completion powershell | Out-String | Invoke-Expression",
    run: verb!(run: ()),
    words: Some(Words::Fixed(SHELLS)),
    ..Command::NEW
};

/// The shells, and their scripts, in which `PROGRAM` stands for this program.
const SCRIPTS: &[(&str, &str)] = &[
    ("bash", include_str!("script.bash")),
    ("zsh", include_str!("script.zsh")),
    ("fish", include_str!("script.fish")),
    ("powershell", include_str!("script.ps1")),
];
const SHELLS: &[&str] = &["bash", "zsh", "fish", "powershell"];

async fn run(ctx: With<()>) -> Result<()> {
    let shell = match ctx.args() {
        [] => return Err(ctx.usage("Shell not specified.")),
        [shell] => shell,
        _ => {
            return Err(ctx.usage("Too many arguments. Expected only the shell type."));
        }
    };
    match SCRIPTS.iter().find(|(name, _)| name == shell) {
        Some((_, script)) => print::put(&script.replace("PROGRAM", ctx.program())),
        None => Err(ctx.usage(format!(
            "Unsupported shell type {}.",
            crate::error::quote(shell)
        ))),
    }
}
