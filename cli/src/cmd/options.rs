//! `options`: the flags that every command takes.
//! Invariant: the list is the table that the parser reads.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/options/options.go`.

use crate::command::{Command, flag_list, globals, verb};
use crate::context::With;
use crate::error::Result;
use crate::print;

pub static COMMAND: Command = Command {
    name: "options",
    usage: "",
    short: "Print the list of flags inherited by all commands",
    examples: "
      # All of them
      kubectl options",
    run: verb!(run: ()),
    ..Command::NEW
};

async fn run(_: With<()>) -> Result<()> {
    let all: Vec<clap::Arg> = globals().collect();
    print::put(&format!(
        "The following options can be passed to any command:\n\n{}",
        flag_list(all.iter())
    ))
}
