//! Exec and attach: more processes in a container, and more readers and writers of its first one.
//!
//! Invariant: the agent gets the ends of pipes and terminals themselves; the shim only waits for the process's end.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    rc::Rc,
};

use nix::sys::signal::Signal;
use oci_spec::runtime::{Process, Spec};
use tokio::net::UnixStream;

use super::{
    Shim,
    container::{Container, failed, launch, pipes, read_to_end},
    helper::Job,
    log::Stream,
    output::set_nonblocking,
};
use crate::{
    outcome,
    runtime::{
        ContainerPhase, ExecSpec,
        oci::{
            protocol::{self, Failure, Reply},
            state,
        },
    },
};

/// What is passed to the agent, in the order of [`Reply::Streams`].
#[derive(Default)]
struct Passed {
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
}

impl Passed {
    async fn send(&self, connection: &UnixStream) -> io::Result<()> {
        let reply = Reply::Streams {
            stdin: self.stdin.is_some(),
            stdout: self.stdout.is_some(),
            stderr: self.stderr.is_some(),
            terminal: self.terminal.is_some(),
        };
        let fds: Vec<BorrowedFd<'_>> = [&self.stdin, &self.stdout, &self.stderr, &self.terminal]
            .into_iter()
            .flatten()
            .map(AsFd::as_fd)
            .collect();
        protocol::send(connection, &reply, &fds).await
    }
}

/// Runs a command in a container; answers on the connection.
pub async fn exec(
    shim: &Rc<Shim>,
    container: &Container,
    request: ExecSpec,
    connection: &UnixStream,
) -> Result<(), Failure> {
    running(container)?;
    let io = |err: io::Error| failed("exec in the container", err);
    let file = container
        .dir
        .0
        .join(format!("exec-{}.json", shim.next_number()));
    let process = process(container, &request).map_err(io)?;
    state::write(&file, &process).map_err(io)?;
    let mut passed = Passed::default();
    let mut theirs = None;
    if !request.tty {
        let ends = pipes(request.stdin, container.record.uid).map_err(io)?;
        (passed.stdin, passed.stdout, passed.stderr, theirs) = (
            ends.stdin,
            Some(ends.stdout),
            Some(ends.stderr),
            Some(ends.theirs),
        );
    }
    let flight = shim.reaper.flight();
    let job = Job::Exec {
        dir: &container.dir,
        record: &container.record,
        process: &file,
    };
    let launched = launch(&job, theirs).await;
    outcome::remove_if_there(&file);
    let (pid, mut fds, errors) = launched.map_err(|reason| exec_failure(&reason.to_string()))?;
    let exit = shim.reaper.claim(pid);
    drop(flight);
    let reason = read_to_end(errors).await.map_err(io)?;
    if !reason.is_empty() {
        return Err(exec_failure(&reason));
    }
    if let Some(master) = fds.pop() {
        set_nonblocking(&master).map_err(io)?;
        passed.terminal = Some(master);
    }
    passed.send(connection).await.map_err(io)?;
    drop(passed);
    let code = tokio::select! {
        exit = exit => exit.map_or(state::UNKNOWN_EXIT, |exit| exit.code),
        _ = protocol::receive::<Reply>(connection) => {
            // Whoever wanted it has gone (a probe that timed out, a client that hung up): it must not stay for ever.
            // The process is ours and not reaped, so that the id is still its own.
            outcome::kill_if_alive(pid, Signal::SIGKILL);
            return Ok(());
        }
    };
    outcome::nobody_may_wait(protocol::send(connection, &Reply::Exit(code), &[]).await);
    Ok(())
}

/// Attaches to a container's first process; answers on the connection, and again when the container has ended.
pub async fn attach(
    container: &Container,
    request: ExecSpec,
    connection: &UnixStream,
) -> Result<(), Failure> {
    running(container)?;
    let io = |err: io::Error| failed("attach to the container", err);
    let mut passed = Passed::default();
    if request.stdout || container.record.spec.tty {
        passed.stdout = Some(container.output.attach(Stream::Stdout).map_err(io)?);
    }
    if request.stderr && !container.record.spec.tty {
        passed.stderr = Some(container.output.attach(Stream::Stderr).map_err(io)?);
    }
    if let Some(master) = &container.master {
        passed.terminal = Some(master.try_clone().map_err(io)?);
    } else if request.stdin && container.record.spec.stdin {
        let mut stdin = container.stdin.borrow_mut();
        passed.stdin = stdin
            .as_ref()
            .map(OwnedFd::try_clone)
            .transpose()
            .map_err(io)?;
        if container.record.spec.stdin_once {
            // The first who attaches is the last who writes: the container sees the end when that client goes.
            stdin.take();
        }
    }
    passed.send(connection).await.map_err(io)?;
    drop(passed);
    let code = container.wait().await;
    outcome::nobody_may_wait(protocol::send(connection, &Reply::Exit(code), &[]).await);
    Ok(())
}

fn running(container: &Container) -> Result<(), Failure> {
    let state = match container.phase() {
        ContainerPhase::Running => return Ok(()),
        ContainerPhase::Created => "CONTAINER_CREATED",
        ContainerPhase::Exited => "CONTAINER_EXITED",
    };
    Err(failed(
        "exec in the container",
        format!("container is in {state} state"),
    ))
}

fn exec_failure(reason: &str) -> Failure {
    Failure::Start(format!(
        "OCI runtime exec failed: exec failed: unable to start container process: {reason}: unknown"
    ))
}

/// The container's own process, with another command and perhaps a terminal.
fn process(container: &Container, request: &ExecSpec) -> io::Result<Process> {
    let spec: Spec = state::read(&container.dir.config())?;
    let mut process = spec.process().clone().unwrap_or_default();
    process
        .set_args(Some(request.command.clone()))
        .set_terminal(Some(request.tty));
    if request.tty
        && let Some(env) = process.env_mut()
        && !env.iter().any(|line| line.starts_with("TERM="))
    {
        env.push("TERM=xterm".into());
    }
    Ok(process)
}
