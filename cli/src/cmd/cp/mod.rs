//! `cp`: copies files to and from containers, by `tar` in the container.
//! Invariant: nothing is written outside the place that was named.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/cp/cp.go` and `filespec.go`.

mod fetch;
mod send;

use super::pods;
use crate::command::{Command, verb};
use crate::complete::Words;
use crate::context::With;
use crate::error::{Error, Result, bail};
use crate::generate;
use crate::print;
use crate::remote::session::{Ends, Request, run_between};
use crate::resource::helper;

pub static COMMAND: Command = Command {
    name: "cp",
    usage: "<file-spec-src> <file-spec-dest>",
    short: "Copy files and directories to and from containers",
    long: "Copy files and folders between here and a container. The container must have tar.\n\n What is copied from a container is put at the very place that is named; what is copied to a folder of a container goes into that folder.",
    examples: "
      # A folder to a pod of this namespace
      kubectl cp /tmp/foo_dir some-pod:/tmp/bar_dir
      # A file to a certain container
      kubectl cp /tmp/foo some-pod:/tmp/bar -c specific-container
      # A file to a pod of another namespace
      kubectl cp /tmp/foo some-namespace/some-pod:/tmp/bar
      # From a pod
      kubectl cp some-namespace/some-pod:/tmp/foo /tmp/bar",
    run: verb!(interruptible run: Flags),
    words: Some(Words::Places),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// The container
    #[arg(long, short)]
    container: String,
    /// Do not keep owner and permissions
    #[arg(long)]
    no_preserve: bool,
    /// How often a copy from a container is taken up again where it broke off; negative for as often as it takes
    #[arg(long)]
    retries: i64,
}

/// A file here, or in a pod.
#[derive(Clone, Debug)]
struct Spec {
    namespace: String,
    pod: String,
    file: String,
}

/// Without a slash at its end, unless it is one.
fn stripped(file: &str) -> String {
    match file.strip_suffix('/') {
        Some(rest) if !rest.is_empty() => rest.into(),
        _ => file.into(),
    }
}

fn spec(arg: &str) -> Result<Spec> {
    let bad =
        || Error::msg("filespec must match the canonical format: [[namespace/]pod:]file/path");
    let Some((place, file)) = arg.split_once(':') else {
        return Ok(Spec {
            namespace: String::new(),
            pod: String::new(),
            file: stripped(arg),
        });
    };
    let file = stripped(file).replace('\\', "/");
    match place.split('/').collect::<Vec<_>>().as_slice() {
        [""] => Err(bad()),
        [pod] => Ok(Spec {
            namespace: String::new(),
            pod: (*pod).into(),
            file,
        }),
        [ns, pod] => Ok(Spec {
            namespace: (*ns).into(),
            pod: (*pod).into(),
            file,
        }),
        _ => Err(bad()),
    }
}

async fn run(ctx: With<Flags>) -> Result<()> {
    ctx.namespace()?;
    ctx.client()?;
    let [from, to] = ctx.args() else {
        bail!("source and destination are required");
    };
    let (from, to) = (spec(from)?, spec(to)?);
    if !from.pod.is_empty() && !to.pod.is_empty() {
        bail!("one of src or dest must be a local file specification");
    }
    if from.file.is_empty() || to.file.is_empty() {
        bail!("filepath can not be empty");
    }
    match (from.pod.is_empty(), to.pod.is_empty()) {
        (false, _) => fetch::fetch(&ctx, &from, &to.file).await,
        (true, false) => send::send(&ctx, &from.file, &to).await,
        (true, true) => Err(Error::msg(
            "one of src or dest must be a remote file specification",
        )),
    }
}

/// Where it is said which container was chosen: kubectl has other places for it on the way there and back.
#[derive(Clone, Copy, PartialEq)]
enum Tell {
    Nobody,
    Errors,
    Output,
}

/// Runs a command in the pod between the two ends.
async fn remote(
    ctx: &With<Flags>,
    place: &Spec,
    command: &[&str],
    tell: Tell,
    ends: Ends,
) -> Result<()> {
    let kind = generate::kind("", "v1", "pods", "Pod", true);
    let namespace = if place.namespace.is_empty() {
        ctx.namespace()?.0
    } else {
        place.namespace.clone()
    };
    let pod = helper::get(ctx.client()?, &kind, &namespace, &place.pod).await?;
    if let Some(phase) = pods::end(&pod) {
        bail!("cannot exec into a container in a completed pod; current phase is {phase}");
    }
    let wanted = &ctx.flags().container;
    let container = pods::container(&pod, wanted, tell != Tell::Errors)?;
    if tell == Tell::Output
        && let Some(choice) = pods::choice(&pod, wanted, &container)
    {
        print::put(&format!("{choice}\n"))?;
    }
    let stdin = matches!(&ends, Ends::Pipes { input: Some(_), .. });
    let command = Some(command.iter().map(|c| (*c).to_string()).collect());
    run_between(
        ctx,
        &namespace,
        &place.pod,
        &Request {
            container,
            stdin,
            tty: false,
            command,
            detach: vec![],
        },
        ends,
    )
    .await
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        for bad in [":x", "a/b/c:/x"] {
            assert!(spec(bad).is_err(), "{bad}");
        }
        let s = spec("ns/pod:/x/").unwrap();
        assert_eq!(
            (s.namespace.as_str(), s.pod.as_str(), s.file.as_str()),
            ("ns", "pod", "/x")
        );
        assert_eq!(spec("pod:c:\\x\\y").unwrap().file, "c:/x/y");
        assert_eq!(spec("/").unwrap().file, "/");
        assert_eq!(spec("dir/").unwrap().file, "dir");
    }
}
