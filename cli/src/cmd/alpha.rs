//! `alpha`: features that are not done; there are none.
//! Invariant: it is not shown in the help.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/alpha.go`.

use crate::command::{Command, raw};
use crate::flags::Line;

pub static COMMAND: Command = Command {
    name: "alpha",
    short: "Commands for features in alpha",
    run: raw!(run: Flags),
    hidden: true,
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {}

fn run(_: Flags, _: Line) -> i32 {
    eprintln!("No alpha commands are available in this version of kubectl");
    0
}
