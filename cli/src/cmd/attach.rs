//! `attach`: joins what runs in a container.
//! Invariant: a terminal is only asked for if the container has one.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/attach/attach.go`.

use super::exec::{SESSION, tty};
use super::pods;
use crate::command::{Command, verb};
use crate::complete::Words;
use crate::context::{Ctx, With};
use crate::error::{Result, bail, message};
use crate::flags::{Group, group};
use crate::print;
use crate::remote::{detach, session};
use crate::typed::Read;
use serde_json::Value;

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
    flags: &[SESSION, DETACH_KEYS],
    run: verb!(run: ()),
    words: Some(Words::Pod),
    ..Command::NEW
};

/// The flag that says how a session is left.
#[derive(Clone, clap::Args)]
#[group(skip)]
pub struct Detach {
    /// The keys that leave the session while what runs goes on
    #[arg(long, default_value = "ctrl-p,ctrl-q")]
    pub detach_keys: String,
}
pub const DETACH_KEYS: Group = group::<Detach>;

/// What the user is told before a session with what runs in a container begins.
pub fn greet(quiet: bool) {
    if !quiet {
        eprintln!(
            "All commands and output from this session will be recorded in container logs, including credentials and sensitive information passed through the command prompt."
        );
        eprintln!("If you don't see a command prompt, try pressing enter.");
    }
}

async fn run(ctx: With<()>) -> Result<()> {
    ctx.namespace()?;
    let f = &ctx.shared().session;
    pods::check_patience(&ctx, f.pod_running_timeout)?;
    let word = match ctx.args() {
        [] => bail!("at least 1 argument is required for attach"),
        [word] => word.clone(),
        [_, name] if name.contains('/') => name.clone(),
        [kind, name] => format!("{kind}/{name}"),
        more => {
            bail!(
                "expected POD, TYPE/NAME, or TYPE NAME, (at most 2 arguments) saw {}: [{}]",
                more.len(),
                more.join(" ")
            );
        }
    };
    let pod = pods::find(&ctx, &word, f.pod_running_timeout).await?;
    if let Some(phase) = pods::end(&pod) {
        bail!("cannot attach a container in a completed pod; current phase is {phase}");
    }
    let container = pods::container(&pod, f.container.as_deref().unwrap_or(""), f.quiet)
        .map_err(|e| message!("cannot attach to the container: {e}"))?;
    to_container(&ctx, &pod, &container).await.map(drop)
}

/// Attaches to a container of a pod, as the verb's flags say; tells whether it said anything.
///
/// # Errors
/// The server's refusal, keys that are none.
pub async fn to_container(ctx: &Ctx, pod: &Value, container: &str) -> Result<bool> {
    let f = &ctx.shared().session;
    let text = |field: &str| pod.at("metadata").text(field).to_string();
    let (namespace, name) = (text("namespace"), text("name"));
    let has_tty = pods::ALL
        .iter()
        .flat_map(|l| pod.at("spec").list(l).iter())
        .any(|c| c.text("name") == container && c.flag("tty"));
    if f.tty && !has_tty && !f.quiet {
        eprintln!("error: Unable to use a TTY - container {container} did not allocate one");
    }
    // A container with a terminal speaks as one, whether it was asked for or not.
    let tty = tty(ctx, has_tty);
    let keys = match ctx.shared().detach.detach_keys.as_str() {
        "" => "ctrl-p,ctrl-q",
        keys => keys,
    };
    let detach = if tty {
        detach::keys(keys).map_err(|e| message!("could not bind detach keys: {e}"))?
    } else {
        vec![]
    };
    greet(f.quiet);
    let request = session::Request {
        container: container.into(),
        stdin: f.stdin,
        tty,
        command: None,
        detach,
    };
    let heard = session::run(ctx, &namespace, &name, &request).await?;
    if f.quiet || !tty {
        return Ok(heard);
    }
    let again = format!(
        "'{} attach {name} -c {container} -n {namespace} -i -t'",
        ctx.program()
    );
    print::put(&if pods::names(pod, &["ephemeralContainers"])
        .iter()
        .any(|n| n == container)
    {
        format!(
            "Session ended, the ephemeral container will not be restarted but may be reattached using {again} if it is still running\n"
        )
    } else {
        format!("Session ended, resume using {again} command\n")
    })?;
    Ok(heard)
}
