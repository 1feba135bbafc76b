//! `options`: the flags that every command takes.
//! Invariant: the list is the table that the parser reads.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/options/options.go`.

use crate::command::{Command, Run, flag_list};
use crate::context::{Ctx, GLOBAL};
use crate::error::Result;
use crate::print;

pub static COMMAND: Command = Command {
    name: "options",
    usage: "",
    short: "Print the list of flags inherited by all commands",
    examples: "
      # All of them
      kubectl options",
    run: Run::Verb(|ctx| Box::pin(run(ctx))),
    ..Command::NEW
};

async fn run(_: Ctx) -> Result<()> {
    let visible = GLOBAL.iter().filter(|f| f.refused.is_empty());
    print::put(&format!(
        "The following options can be passed to any command:\n\n{}",
        flag_list(visible)
    ))
}
