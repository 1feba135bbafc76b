//! `kustomize`: prints what a kustomization comes to.
//! Invariant: objects are printed in the order in which they would be applied.
//! Behaviour follows `sigs.k8s.io/kustomize/kustomize/v5/commands/build`.

use crate::command::{Command, Run};
use crate::context::Ctx;
use crate::error::{Error, Result};
use crate::print;

pub static COMMAND: Command = Command {
    name: "kustomize",
    usage: "DIR [flags]",
    short: "Build a kustomization target from a directory or URL",
    long: "Print the objects that the kustomization in a folder comes to.",
    examples: "
      # In this folder
      kubectl kustomize
      # In another one
      kubectl kustomize /home/config/production",
    run: Run::Verb(|ctx| Box::pin(run(ctx))),
    ..Command::NEW
};

async fn run(ctx: Ctx) -> Result<()> {
    let dir = match ctx.args() {
        [] => ".",
        [d] => d,
        _ => return Err(Error::msg("specify one path to kustomization.yaml")),
    };
    let mut out = Vec::new();
    for m in crate::kustomize::manifests(dir)? {
        out.push(crate::yaml::write(&m?.object));
    }
    print::put(&out.join("---\n"))
}
