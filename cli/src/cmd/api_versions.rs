//! `api-versions`: the group versions that are served.
//! Invariant: asked of the server, never of the disk.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/apiresources/apiversions.go`.

use crate::command::{Command, verb};
use crate::context::With;
use crate::error::{Result, message};
use crate::print;

pub static COMMAND: Command = Command {
    name: "api-versions",
    usage: "",
    short: "Print the supported API versions on the server, in the form of \"group/version\"",
    examples: "
      # All of them
      kubectl api-versions",
    run: verb!(run: ()),
    ..Command::NEW
};

async fn run(ctx: With<()>) -> Result<()> {
    ctx.takes_no_args("unexpected arguments")?;
    let served = ctx
        .discovery()?
        .all()
        .await
        .map_err(|why| message!("couldn't get available api versions from server: {why}"))?;
    let mut all: Vec<String> = served
        .groups
        .iter()
        .flat_map(|(g, vs)| {
            vs.iter().map(move |v| {
                if g.is_empty() {
                    v.clone()
                } else {
                    format!("{g}/{v}")
                }
            })
        })
        .collect();
    all.sort();
    print::put(&(all.join("\n") + "\n"))
}
