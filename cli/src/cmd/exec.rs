//! `exec`: runs a command in a container.
//! Invariant: the command's exit status is this program's.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/exec/exec.go`.

use super::pods;
use crate::command::{Command, Run};
use crate::complete::Words;
use crate::context::Ctx;
use crate::error::{Error, Result};
use crate::flags::Flag;
use crate::remote::{session, terminal};
use crate::resource::Builder;

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
    flags: &[
        SESSION,
        &[Flag::slice(
            "filename",
            'f',
            "The file that describes the object to exec into",
        )],
    ],
    run: Run::Verb(|ctx| Box::pin(run(ctx))),
    words: Some(Words::Pod),
    values: &[("container", Words::Container)],
    ..Command::NEW
};

/// The flags of sessions.
pub const SESSION: &[Flag] = &[
    Flag::str(
        "container",
        'c',
        "",
        "The container; by default the annotated one, or the first",
    ),
    Flag::bool("stdin", 'i', false, "Give it this program's standard input"),
    Flag::bool("tty", 't', false, "Give it a terminal"),
    Flag::bool("quiet", 'q', false, "Say nothing but what it says"),
    Flag::duration(
        "pod-running-timeout",
        '\0',
        "1m0s",
        "How long to wait until a pod runs",
    ),
];

/// The word that names the object, and the command.
fn words(ctx: &Ctx) -> Result<(Option<String>, Vec<String>)> {
    let f = ctx.flags();
    let (args, files) = (ctx.args(), !f.list("filename").is_empty());
    let word = args.first().filter(|_| f.dash != Some(0)).cloned();
    let command = match f.dash {
        Some(dash) => args[dash..].to_vec(),
        None if args.len() > 1 || (files && !args.is_empty()) => {
            return Err(Error::usage(
                ctx.path(),
                "exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead",
            ));
        }
        None => vec![],
    };
    if f.duration("pod-running-timeout") <= 0.0 {
        return Err(Error::usage(
            ctx.path(),
            "--pod-running-timeout must be higher than zero",
        ));
    }
    if word.is_none() && !files {
        return Err(Error::msg("pod, type/name or --filename must be specified"));
    }
    if command.is_empty() {
        return Err(Error::msg(
            "you must specify at least one command for the container",
        ));
    }
    Ok((word, command))
}

async fn run(ctx: Ctx) -> Result<()> {
    let f = ctx.flags();
    let (word, command) = words(&ctx)?;
    let info = match word {
        Some(word) => pods::object(&ctx, &word).await?,
        None => {
            let infos = Builder::new(&ctx)?.args(&[]).find().await?.all()?;
            let [info] = infos.as_slice() else {
                return Err(Error::msg("cannot exec into multiple objects at a time"));
            };
            info.clone()
        }
    };
    let pod = pods::attachable(&ctx, &info, f.duration("pod-running-timeout")).await?;
    let text = |field: &str| pod["metadata"][field].as_str().unwrap_or("").to_string();
    if let Some(phase) = pod["status"]["phase"]
        .as_str()
        .filter(|p| matches!(*p, "Succeeded" | "Failed"))
    {
        return Err(Error::msg(format!(
            "cannot exec into a container in a completed pod; current phase is {phase}"
        )));
    }
    let container = pods::container(&pod, f.str("container"), f.bool("quiet"))?;
    let request = session::Request {
        container,
        stdin: f.bool("stdin"),
        tty: tty(&ctx, f.bool("tty")),
        command: Some(command),
        detach: vec![],
    };
    session::run(&ctx, &text("namespace"), &text("name"), &request).await
}

/// Whether to ask for a terminal where one is wanted: only if there is one here, and it is typed at.
pub fn tty(ctx: &Ctx, wanted: bool) -> bool {
    let f = ctx.flags();
    if !wanted || !f.bool("stdin") {
        return false;
    }
    if !terminal::is_terminal() {
        if !f.bool("quiet") {
            eprintln!("Unable to use a TTY - input is not a terminal or the right kind of file");
        }
        return false;
    }
    true
}
