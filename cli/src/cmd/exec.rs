//! `exec`: runs a command in a container.
//! Invariant: the command's exit status is this program's.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/exec/exec.go`.

use super::pods;
use crate::command::{Command, Run};
use crate::context::Ctx;
use crate::error::{Error, Result};
use crate::flags::Flag;
use crate::remote::{session, terminal};

pub static COMMAND: Command = Command {
    name: "exec",
    usage: "(POD | TYPE/NAME) [-c CONTAINER] [flags] -- COMMAND [args...]",
    short: "Execute a command in a container",
    long: "Run a command in a container of a pod, by default its first or the one that the annotation kubectl.kubernetes.io/default-container names.",
    examples: "
      # A command
      kubectl exec mypod -- date
      # In a certain container
      kubectl exec mypod -c ruby-container -- date
      # A shell
      kubectl exec mypod -c ruby-container -i -t -- bash -il
      # In the first pod of a deployment
      kubectl exec deploy/mydeployment -- date",
    flags: &[SESSION, &[Flag::slice("filename", 'f', "The file that describes the object to exec into")]],
    run: Run::Verb(|ctx| Box::pin(run(ctx))),
    ..Command::NEW
};

/// The flags of sessions.
pub const SESSION: &[Flag] = &[
    Flag::str("container", 'c', "", "The container; by default the annotated one, or the first"),
    Flag::bool("stdin", 'i', false, "Give it this program's standard input"),
    Flag::bool("tty", 't', false, "Give it a terminal"),
    Flag::bool("quiet", 'q', false, "Say nothing but what it says"),
    Flag::duration("pod-running-timeout", '\0', "1m0s", "How long to wait until a pod runs"),
];

async fn run(ctx: Ctx) -> Result<()> {
    let f = ctx.flags();
    let Some(dash) = f.dash else {
        return match ctx.args() {
            [] => Err(Error::msg("pod, type/name or --filename must be specified")),
            [_] => Err(Error::msg("you must specify at least one command for the container")),
            _ => Err(Error::msg(format!(
                "exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead\nSee '{} -h' for help and examples",
                ctx.path()
            ))),
        };
    };
    let files = f.list("filename");
    let (target, command) = match (dash, files.is_empty()) {
        (0, true) => return Err(Error::msg("pod, type/name or --filename must be specified")),
        (0, false) => (None, ctx.args().to_vec()),
        (n, _) => (Some(ctx.args()[0].clone()), ctx.args()[n..].to_vec()),
    };
    if command.is_empty() {
        return Err(Error::msg("you must specify at least one command for the container"));
    }
    if f.duration("pod-running-timeout") <= 0.0 {
        return Err(Error::msg("--pod-running-timeout must be higher than zero"));
    }
    let pod = match target {
        Some(word) => pods::find(&ctx, &word, f.duration("pod-running-timeout")).await?,
        None => {
            let infos = crate::resource::Builder::new(&ctx)?.args(&[]).find().await?.all()?;
            let info = infos.first().ok_or_else(|| Error::msg("the file describes nothing"))?;
            pods::find(&ctx, &format!("{}/{}", info.resource.group_resource(), info.name), f.duration("pod-running-timeout")).await?
        }
    };
    let text = |field: &str| pod["metadata"][field].as_str().unwrap_or("").to_string();
    if matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) {
        return Err(Error::msg(format!("cannot exec into a container in a completed pod; current phase is {}", pod["status"]["phase"].as_str().unwrap_or(""))));
    }
    let container = pods::container(&pod, f.str("container"), f.bool("quiet"))?;
    let request = session::Request { container, stdin: f.bool("stdin"), tty: tty(&ctx), command: Some(command) };
    session::run(&ctx, &text("namespace"), &text("name"), &request).await
}

/// Whether to ask for a terminal: only if there is one here.
pub fn tty(ctx: &Ctx) -> bool {
    let f = ctx.flags();
    if !f.bool("tty") {
        return false;
    }
    if !f.bool("stdin") || !terminal::is_terminal() {
        if !f.bool("quiet") {
            eprintln!("Unable to use a TTY - input is not a terminal or the right kind of file");
        }
        return false;
    }
    true
}
