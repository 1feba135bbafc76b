//! `exec`: runs a command in a container.
//! Invariant: the command's exit status is this program's.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/exec/exec.go`.

use super::pods;
use crate::command::{Command, verb};
use crate::complete::Words;
use crate::context::{Ctx, With};
use crate::error::{Result, bail};
use crate::flags::{Csv, Group, Listed, group};
use crate::remote::{session, terminal};
use crate::resource::{Builder, builder::KUBECTL};
use crate::typed::Read;

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
    flags: &[SESSION],
    run: verb!(run: Flags),
    words: Some(Words::Pod),
    values: &[("container", Words::Container)],
    ..Command::NEW
};

/// The flags of sessions.
#[derive(Clone, clap::Args)]
#[group(skip)]
pub struct Session {
    /// The container; by default the annotated one, or the first
    #[arg(long, short)]
    pub container: Option<String>,
    /// Give it this program's standard input
    #[arg(long, short = 'i')]
    pub stdin: bool,
    /// Give it a terminal
    #[arg(long, short)]
    pub tty: bool,
    /// Say nothing but what it says
    #[arg(long, short)]
    pub quiet: bool,
    /// How long to wait until a pod runs
    #[arg(long, default_value = "1m0s")]
    pub pod_running_timeout: f64,
}
pub const SESSION: Group = group::<Session>;

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// The file that describes the object to exec into
    #[arg(long, short)]
    filename: Vec<Csv>,
}

/// The word that names the object, and the command.
fn words(ctx: &With<Flags>) -> Result<(Option<String>, Vec<String>)> {
    let f = ctx.flags();
    let (args, files) = (ctx.args(), !f.filename.list().is_empty());
    let word = args.first().filter(|_| ctx.dash() != Some(0)).cloned();
    let word = word.filter(|word| !word.is_empty());
    let command = match ctx.dash() {
        Some(dash) => args[dash..].to_vec(),
        None if args.len() > 1 || (files && !args.is_empty()) => {
            return Err(ctx.usage(
                "exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead",
            ));
        }
        None => vec![],
    };
    pods::check_patience(ctx, ctx.shared().session.pod_running_timeout)?;
    if word.is_none() && !files {
        bail!("pod, type/name or --filename must be specified");
    }
    if command.is_empty() {
        bail!("you must specify at least one command for the container");
    }
    if files && word.is_some() {
        bail!("resource/name arguments cannot be provided when a path is specified");
    }
    Ok((word, command))
}

async fn run(ctx: With<Flags>) -> Result<()> {
    ctx.namespace()?;
    let f = &ctx.shared().session;
    let (word, command) = words(&ctx)?;
    let info = match word {
        Some(word) => pods::object(&ctx, &word, KUBECTL).await?,
        None => {
            let infos = Builder::new(&ctx)?.args(&[]).find().await?.all()?;
            let [info] = infos.as_slice() else {
                bail!("cannot exec into multiple objects at a time");
            };
            info.clone()
        }
    };
    let pod = pods::attachable(&ctx, &info, f.pod_running_timeout).await?;
    let text = |field: &str| pod.at("metadata").text(field).to_string();
    if let Some(phase) = pods::end(&pod) {
        bail!("cannot exec into a container in a completed pod; current phase is {phase}");
    }
    let container = pods::container(&pod, f.container.as_deref().unwrap_or(""), f.quiet)?;
    let request = session::Request {
        container,
        stdin: f.stdin,
        tty: tty(&ctx, f.tty),
        command: Some(command),
        detach: vec![],
    };
    let ended = session::run(&ctx, &text("namespace"), &text("name"), &request).await;
    ended.map(drop)
}

/// Whether to ask for a terminal where one is wanted: only if there is one here, and it is typed at.
pub fn tty(ctx: &Ctx, wanted: bool) -> bool {
    let f = &ctx.shared().session;
    if !wanted || !f.stdin {
        return false;
    }
    if !terminal::is_terminal() {
        if !f.quiet {
            eprintln!("Unable to use a TTY - input is not a terminal or the right kind of file");
        }
        return false;
    }
    true
}
