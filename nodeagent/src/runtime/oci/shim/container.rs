//! One container in the shim: made, started, stopped, its end recorded.
//!
//! Invariant: `status.json` says what is true before anybody is told of it; a container ends exactly once.
//! The order of things follows containerd's `internal/cri/server/container_start.go` and `container_stop.go`.

use std::{cell::RefCell, io, os::fd::OwnedFd, rc::Rc, time::Duration};

use nix::sys::signal::Signal;
use tokio::{
    io::AsyncReadExt,
    net::{UnixStream, unix::pipe},
    sync::{Mutex, watch},
    task::spawn_local,
};

use super::{
    Shim,
    helper::{self, Job, Outcome, Stdio},
    log::{Log, Stream},
    output::{Output, set_nonblocking},
    reaper::Exit,
};
use crate::{
    outcome,
    runtime::{
        ContainerPhase,
        oci::{
            cause::{During, chain},
            protocol::{self, Event, Failure},
            state::{self, ContainerDir, ContainerRecord, StatusRecord, now},
        },
    },
};

/// Exit code of a container whose process could not be started (containerd's, and so upstream's in pod status).
const START_ERROR: i32 = 128;
/// How long output is still read after the container has ended, when a process elsewhere holds its pipes.
const DRAIN: Duration = Duration::from_secs(2);

pub struct Container {
    pub record: ContainerRecord,
    pub dir: ContainerDir,
    pub output: Rc<Output>,
    /// Our end of its stdin, until nobody may write any more.
    pub stdin: RefCell<Option<OwnedFd>>,
    pub master: Option<OwnedFd>,
    status: RefCell<StatusRecord>,
    /// Our end of the pipe that says why the process did not start. Locked while it is being started.
    errors: Mutex<Option<OwnedFd>>,
    /// Why it could not be started.
    start_failure: RefCell<Option<String>>,
    ended: watch::Sender<Option<i32>>,
}

/// Our ends and the container's ends of its standard streams.
pub struct Ends {
    pub stdin: Option<OwnedFd>,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
    pub theirs: Stdio,
}

impl Container {
    /// Makes the container that the agent has described in its folder; it waits to be started.
    pub async fn create(shim: &Rc<Shim>, id: &str) -> Result<Rc<Self>, Failure> {
        let dir = shim.dir.container(id);
        let record: ContainerRecord =
            state::read(&dir.record()).map_err(|err| failed("read the container's record", err))?;
        let io = |err: io::Error| failed("open the container's streams", err);
        let log = Log::open(record.log_path.clone())
            .map_err(|err| failed(&format!("open the log {}", record.log_path.display()), err))?;
        let (ours, theirs) = if record.spec.tty {
            (None, None)
        } else {
            let Ends {
                stdin,
                stdout,
                stderr,
                theirs,
            } = pipes(record.spec.stdin, record.uid).map_err(io)?;
            (Some((stdin, stdout, stderr)), Some(theirs))
        };
        let flight = shim.reaper.flight();
        let job = Job::Create {
            dir: &dir,
            record: &record,
        };
        let launched = launch(&job, theirs).await;
        let (pid, mut fds, errors) =
            launched.map_err(|reason| failed("create the container", reason))?;
        let exit = shim.reaper.claim(pid);
        drop(flight);
        let output = Output::new(log);
        let master = fds.pop();
        let mut stdin = None;
        if let Some((ours, stdout, stderr)) = ours {
            stdin = ours;
            output.pump(Stream::Stdout, stdout).map_err(io)?;
            output.pump(Stream::Stderr, stderr).map_err(io)?;
        } else if let Some(master) = &master {
            set_nonblocking(master).map_err(io)?;
            output
                .pump_terminal(master.try_clone().map_err(io)?)
                .map_err(io)?;
        }
        let container = Rc::new(Self {
            dir,
            output,
            stdin: RefCell::new(stdin),
            master,
            status: RefCell::new(StatusRecord::created(pid)),
            errors: Mutex::new(Some(errors)),
            start_failure: RefCell::default(),
            ended: watch::channel(None).0,
            record,
        });
        container
            .guard(shim)
            .inspect_err(|_| container.signal(Signal::SIGKILL))?;
        container.save();
        let (shim, watched) = (Rc::clone(shim), Rc::clone(&container));
        spawn_local(async move {
            if let Ok(exit) = exit.await {
                watched.end(&shim, exit).await;
            }
        });
        Ok(container)
    }

    /// What version 2 of cgroups leaves to us.
    fn guard(&self, shim: &Shim) -> Result<(), Failure> {
        if shim.cgroups.is_v2() {
            let group = &self.record.cgroup;
            shim.cgroups
                .kill_together(group)
                .map_err(|err| failed("set memory.oom.group", err))?;
            if !self.record.spec.security.privileged {
                crate::runtime::oci::devices::guard(&shim.cgroups.folder("", group))
                    .map_err(|err| failed("guard the devices", err))?;
            }
        }
        Ok(())
    }

    pub async fn start(&self, shim: &Shim) -> Result<(), Failure> {
        let mut errors = self.errors.lock().await;
        match self.phase() {
            ContainerPhase::Running => return Ok(()),
            ContainerPhase::Exited => {
                return Err(failed(
                    "start the container",
                    "container is in CONTAINER_EXITED state",
                ));
            }
            ContainerPhase::Created => {}
        }
        let Some(pipe) = errors.take() else {
            return Err(failed("start the container", "it is being started"));
        };
        let begin = || {
            libcontainer::container::Container::load(self.dir.libcontainer().join(&self.record.id))?
                .start()
        };
        begin().map_err(|err| failed("start the container", chain(&err)))?;
        let reason = read_to_end(pipe)
            .await
            .map_err(|err| failed("start the container", err))?;
        if !reason.is_empty() {
            let text = format!(
                "OCI runtime create failed: unable to start container process: error during container init: {reason}: unknown"
            );
            self.start_failure.replace(Some(text.clone()));
            return Err(Failure::Start(text));
        }
        let running = StatusRecord {
            phase: ContainerPhase::Running,
            started_at: Some(now()),
            ..self.status.borrow().clone()
        };
        self.status.replace(running);
        self.save();
        shim.tell(&self.record.id, Event::Started);
        Ok(())
    }

    /// The image's stop signal, then KILL after the grace time; returns when it has ended.
    pub async fn stop(&self, shim: &Shim, grace: Duration) {
        let gently = self.phase() == ContainerPhase::Running && !grace.is_zero();
        if gently {
            // Signals beyond the standard ones have no name in `nix`.
            // SAFETY: a plain call; the process is our child and not reaped before `ended`.
            unsafe { libc::kill(self.pid(), self.record.stop_signal) };
            if tokio::time::timeout(grace, self.wait()).await.is_ok() {
                return;
            }
        }
        while self.phase() != ContainerPhase::Exited {
            self.signal(Signal::SIGKILL);
            shim.cgroups.kill(&self.record.cgroup);
            if tokio::time::timeout(Duration::from_millis(500), self.wait())
                .await
                .is_ok()
            {
                return;
            }
        }
    }

    /// Resolves with the exit code when it has ended.
    pub async fn wait(&self) -> i32 {
        let mut ended = self.ended.subscribe();
        match ended.wait_for(Option::is_some).await {
            Ok(code) => code.unwrap_or(state::UNKNOWN_EXIT),
            Err(_) => state::UNKNOWN_EXIT,
        }
    }

    pub fn phase(&self) -> ContainerPhase {
        self.status.borrow().phase
    }

    fn pid(&self) -> i32 {
        self.status.borrow().pid.unwrap_or(0)
    }

    fn signal(&self, signal: Signal) {
        if let pid @ 1.. = self.pid() {
            outcome::kill_if_alive(pid, signal);
        }
    }

    async fn end(&self, shim: &Shim, exit: Exit) {
        // A start under way must first know its outcome.
        let _starting = self.errors.lock().await;
        // In a pid namespace of its own all others ended with it; elsewhere they are ended here.
        while !shim.cgroups.processes(&self.record.cgroup).is_empty() {
            shim.cgroups.kill(&self.record.cgroup);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.stdin.borrow_mut().take();
        // What is not read by then is not this container's.
        tokio::time::timeout(DRAIN, self.output.drained())
            .await
            .unwrap_or_default();
        let failure = self.start_failure.take();
        let (code, signal) = if failure.is_some() {
            (START_ERROR, None)
        } else {
            (exit.code, exit.signal)
        };
        let ended = StatusRecord {
            phase: ContainerPhase::Exited,
            pid: None,
            finished_at: Some(now()),
            exit_code: Some(code),
            signal,
            message: failure.unwrap_or_default(),
            oom_killed: shim.cgroups.oom_kills(&self.record.cgroup) > 0,
            ..self.status.borrow().clone()
        };
        self.status.replace(ended);
        self.save();
        self.ended.send_replace(Some(code));
        shim.tell(&self.record.id, Event::Exited);
    }

    fn save(&self) {
        if let Err(err) = state::write(&self.dir.status(), &*self.status.borrow()) {
            eprintln!("cannot write {}: {err}", self.dir.status().display());
        }
    }
}

/// Why there is no process.
#[derive(thiserror::Error, Debug)]
pub enum NotLaunched {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the helper died")]
    HelperDied,
    /// In the helper's words, or in those of the process that it made.
    #[error("{0}")]
    Told(String),
}

/// Has a helper make a process, and answers its id, what descriptors came with it, and the pipe that tells of a failed `execve`.
pub async fn launch(
    job: &Job<'_>,
    stdio: Option<Stdio>,
) -> Result<(i32, Vec<OwnedFd>, OwnedFd), NotLaunched> {
    let (errors, theirs) = io::pipe().during("pipe")?;
    let socket = helper::spawn(job, stdio, theirs.into())?;
    socket.set_nonblocking(true)?;
    let socket = UnixStream::from_std(socket)?;
    match protocol::receive::<Outcome>(&socket).await? {
        Some((Outcome::Running { pid }, fds)) => Ok((pid, fds, errors.into())),
        Some((Outcome::Failed { reason }, _)) => {
            // What our executor said is more to the point.
            let said = read_to_end(errors.into()).await.unwrap_or_default();
            Err(NotLaunched::Told(if said.is_empty() {
                reason
            } else {
                said
            }))
        }
        None => Err(NotLaunched::HelperDied),
    }
}

pub async fn read_to_end(pipe: OwnedFd) -> io::Result<String> {
    let mut bytes = Vec::new();
    pipe::Receiver::from_owned_fd(pipe)?
        .read_to_end(&mut bytes)
        .await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Pipes for a process without a terminal. The process's user owns them, so that it may open `/dev/stdout` anew.
pub fn pipes(stdin: bool, uid: u32) -> io::Result<Ends> {
    let pipe = || io::pipe().during("pipe");
    let ((stdout, their_stdout), (stderr, their_stderr)) = (pipe()?, pipe()?);
    let (ours, their_stdin) = match stdin {
        true => {
            let (theirs, ours) = pipe()?;
            (Some(OwnedFd::from(ours)), OwnedFd::from(theirs))
        }
        false => (
            None,
            OwnedFd::from(std::fs::File::open("/dev/null").during("open /dev/null")?),
        ),
    };
    let theirs = Stdio {
        stdin: their_stdin,
        stdout: their_stdout.into(),
        stderr: their_stderr.into(),
    };
    let owned = [
        Some(&theirs.stdout),
        Some(&theirs.stderr),
        stdin.then_some(&theirs.stdin),
    ];
    for fd in owned.into_iter().flatten() {
        nix::unistd::fchown(fd, Some(uid.into()), None)
            .during(format_args!("chown a pipe to {uid}"))?;
    }
    Ok(Ends {
        stdin: ours,
        stdout: stdout.into(),
        stderr: stderr.into(),
        theirs,
    })
}

pub fn failed(what: &str, reason: impl ToString) -> Failure {
    Failure::Failed {
        what: what.to_owned(),
        reason: reason.to_string(),
    }
}
