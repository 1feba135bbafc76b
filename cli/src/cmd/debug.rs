//! `debug`: not supported.
//! Invariant: it says so.
//! Behaviour follows nothing: the verb of kubectl makes ephemeral containers and copies of pods.

use crate::command::{Command, Run};
use crate::context::Ctx;
use crate::error::{Error, Result};
use crate::flags::Flag;

pub static COMMAND: Command = Command {
    name: "debug",
    usage: "(POD | TYPE[[.VERSION].GROUP]/NAME) [ -- COMMAND [args...] ]",
    short: "Create debugging sessions for troubleshooting workloads and nodes",
    long: "Not supported: patch the pod's sub-resource ephemeralcontainers, and use 'attach'.",
    flags: &[&[
        Flag::str("image", '\0', "", "The image of the debugging container"),
        Flag::str("target", '\0', "", "The container whose processes to see"),
        Flag::str("copy-to", '\0', "", "Debug a copy of this name"),
        Flag::bool("stdin", 'i', false, "Keep standard input open"),
        Flag::bool("tty", 't', false, "Give it a terminal"),
        Flag::str("profile", '\0', "", "What the debugging container may do"),
    ]],
    run: Run::Verb(|ctx| Box::pin(run(ctx))),
    ..Command::NEW
};

async fn run(ctx: Ctx) -> Result<()> {
    Err(Error::msg(format!("'{}' is not supported; patch the pod's sub-resource ephemeralcontainers, and use 'attach'", ctx.path())))
}
