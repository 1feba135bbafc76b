//! `attach`: joins what runs in a container.
//! Invariant: a terminal is only asked for if the container has one.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/attach/attach.go`.

use super::exec::{SESSION, tty};
use super::pods;
use crate::command::{Command, Run};
use crate::context::Ctx;
use crate::error::{Error, Result};
use crate::flags::Flag;
use crate::remote::session;

pub static COMMAND: Command = Command {
    name: "attach",
    usage: "(POD | TYPE/NAME) -c CONTAINER",
    short: "Attach to a running container",
    long: "Join the process that runs in a container.",
    examples: "
      # See what it writes
      kubectl attach mypod
      # Of a certain container, and type to it
      kubectl attach mypod -c ruby-container -i -t",
    flags: &[SESSION, &[Flag::str("detach-keys", '\0', "", "Keys that detach").refused("detaching by keys is not supported")]],
    run: Run::Verb(|ctx| Box::pin(run(ctx))),
    ..Command::NEW
};

/// What the user is told before a session with what runs in a container begins.
pub fn greet(quiet: bool) {
    if !quiet {
        eprintln!(
            "All commands and output from this session will be recorded in container logs, including credentials and sensitive information passed through the command prompt."
        );
        eprintln!("If you don't see a command prompt, try pressing enter.");
    }
}

async fn run(ctx: Ctx) -> Result<()> {
    let f = ctx.flags();
    let word = match ctx.args() {
        [] => return Err(Error::msg("at least 1 argument is required for attach")),
        [word] => word.clone(),
        [kind, name] => format!("{kind}/{name}"),
        more => {
            return Err(Error::msg(format!("expected POD, TYPE/NAME, or TYPE NAME, (at most 2 arguments) saw {}: [{}]", more.len(), more.join(" "))));
        }
    };
    if f.duration("pod-running-timeout") <= 0.0 {
        return Err(Error::msg("--pod-running-timeout must be higher than zero"));
    }
    let pod = pods::find(&ctx, &word, f.duration("pod-running-timeout")).await?;
    let text = |field: &str| pod["metadata"][field].as_str().unwrap_or("").to_string();
    if matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) {
        return Err(Error::msg(format!("cannot attach a container in a completed pod; current phase is {}", pod["status"]["phase"].as_str().unwrap_or(""))));
    }
    let container = pods::container(&pod, f.str("container"), f.bool("quiet"))?;
    let has_tty = ["containers", "initContainers", "ephemeralContainers"]
        .iter()
        .flat_map(|l| pod["spec"][*l].as_array().into_iter().flatten())
        .any(|c| c["name"] == container.as_str() && c["tty"] == true);
    if f.bool("tty") && !has_tty && !f.bool("quiet") {
        eprintln!("error: Unable to use a TTY - container {container} did not allocate one");
    }
    greet(f.bool("quiet"));
    // A container with a terminal speaks as one, whether it was asked for or not.
    let tty = has_tty && (!f.bool("tty") || tty(&ctx));
    let request = session::Request { container, stdin: f.bool("stdin"), tty, command: None };
    session::run(&ctx, &text("namespace"), &text("name"), &request).await
}
