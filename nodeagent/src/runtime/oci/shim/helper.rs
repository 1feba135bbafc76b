//! A short-lived copy of the shim that calls libcontainer, and is thrown away with all that libcontainer changes in it.
//!
//! Invariant: the copy holds only the descriptors that it was given, works in a mount namespace of its own, and tells its
//! outcome in one frame. The container's process becomes a child of the shim, not of the copy.

use std::{
    fs, io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::net::UnixStream as StdStream,
    },
    path::{Path, PathBuf},
};

use libcontainer::{
    container::builder::ContainerBuilder, error::LibcontainerError, syscall::syscall::SyscallType,
};
use nix::unistd::ForkResult;
use serde::{Deserialize, Serialize};

use super::{executor::Workload, layers, oom, reasons};
use crate::{
    outcome::remove_if_there,
    runtime::oci::{
        cause::{During, chain},
        protocol,
        state::{ContainerDir, ContainerRecord, ProcessRights},
    },
};

/// Why there is no process.
#[derive(thiserror::Error, Debug)]
enum Error {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Layers(#[from] layers::Error),
    /// Its values lose causes when they are only printed.
    #[error("{}", chain(.0))]
    Libcontainer(#[from] LibcontainerError),
    #[error("libcontainer tells no process id")]
    NoPid,
    #[error("cannot open the console's socket: {0}")]
    Console(#[source] io::Error),
    #[error("cannot receive the terminal: {0}")]
    Terminal(#[source] io::Error),
}

/// What the copy answers; the terminal's master, if any, travels beside it.
#[derive(Debug, Serialize, Deserialize)]
pub enum Outcome {
    Running { pid: i32 },
    Failed { reason: String },
}

/// The container's ends of its standard streams; `None` for a terminal.
pub struct Stdio {
    pub stdin: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// What the copy is to do.
pub enum Job<'a> {
    Create {
        dir: &'a ContainerDir,
        record: &'a ContainerRecord,
    },
    Exec {
        dir: &'a ContainerDir,
        record: &'a ContainerRecord,
        process: &'a Path,
    },
}

impl Job<'_> {
    fn record(&self) -> &ContainerRecord {
        match self {
            Self::Create { record, .. } | Self::Exec { record, .. } => record,
        }
    }
}

/// Forks the copy. `stdio` and `errors` are the container's; they are closed here.
pub fn spawn(job: &Job<'_>, stdio: Option<Stdio>, errors: OwnedFd) -> io::Result<StdStream> {
    let (ours, theirs) = StdStream::pair().during("socketpair")?;
    // SAFETY: this process has one thread, so that the copy may go on as any program would.
    match unsafe { nix::unistd::fork() }.during("fork")? {
        ForkResult::Parent { .. } => Ok(ours),
        ForkResult::Child => {
            let mut keep = vec![0, 1, 2, theirs.as_raw_fd(), errors.as_raw_fd()];
            if let Some(stdio) = &stdio {
                keep.extend([
                    stdio.stdin.as_raw_fd(),
                    stdio.stdout.as_raw_fd(),
                    stdio.stderr.as_raw_fd(),
                ]);
            }
            close_others(keep);
            reasons::listen(errors.as_raw_fd());
            let terminal = stdio.is_none();
            let done = work(job, stdio, errors.as_raw_fd(), terminal);
            let (outcome, master) = match done {
                Ok((pid, master)) => (Outcome::Running { pid }, master),
                Err(error) => {
                    let reason = reasons::complete(error.to_string());
                    (Outcome::Failed { reason }, None)
                }
            };
            let fds: Vec<BorrowedFd<'_>> = master.iter().map(AsFd::as_fd).collect();
            let told = protocol::send_blocking(&theirs, &outcome, &fds);
            // SAFETY: ends the copy without running the shim's destructors.
            unsafe { libc::_exit(i32::from(told.is_err())) }
        }
    }
}

type Done = Result<(i32, Option<OwnedFd>), Error>;

fn work(job: &Job<'_>, stdio: Option<Stdio>, errors: RawFd, terminal: bool) -> Done {
    // What started this process is itself protected from running out of memory, so that the score is set always.
    oom::set(job.record().spec.limits.oom_score_adj.unwrap_or(0))?;
    match job {
        Job::Create { dir, record } => create(dir, record, stdio, errors, terminal),
        Job::Exec {
            dir,
            record,
            process,
        } => exec(dir, record, process, stdio, errors, terminal),
    }
}

fn create(
    dir: &ContainerDir,
    record: &ContainerRecord,
    stdio: Option<Stdio>,
    errors: RawFd,
    terminal: bool,
) -> Done {
    layers::mount_all(dir, record)?;
    let console = Console::open(dir, "console.sock", terminal)?;
    let builder = builder(&record.id, dir, record.process.clone(), errors, stdio)?;
    let builder = builder.with_console_socket(console.path());
    let container = builder
        .as_init(&dir.0)
        .with_systemd(false)
        .as_sibling(true)
        .build()?;
    let pid = container.pid().ok_or(Error::NoPid)?;
    Ok((pid.as_raw(), console.master()?))
}

fn exec(
    dir: &ContainerDir,
    record: &ContainerRecord,
    process: &Path,
    stdio: Option<Stdio>,
    errors: RawFd,
    terminal: bool,
) -> Done {
    let name = process.file_stem().unwrap_or_default().to_string_lossy();
    let console = Console::open(dir, &format!("{name}.sock"), terminal)?;
    let builder = builder(&record.id, dir, record.process.clone(), errors, stdio)?
        .with_console_socket(console.path());
    let pid = builder
        .as_tenant()
        .with_process(Some(process))
        .with_detach(true)
        .as_sibling(true)
        .build()?;
    Ok((pid.as_raw(), console.master()?))
}

fn builder(
    id: &str,
    dir: &ContainerDir,
    rights: ProcessRights,
    errors: RawFd,
    stdio: Option<Stdio>,
) -> Result<ContainerBuilder, Error> {
    let root = dir.libcontainer();
    fs::create_dir_all(&root).during(format_args!("mkdir {}", root.display()))?;
    let mut builder = ContainerBuilder::new(id.to_owned(), SyscallType::default())
        .with_executor(Workload { rights, errors })
        .with_root_path(root)?;
    if let Some(stdio) = stdio {
        builder = builder
            .with_stdin(stdio.stdin)
            .with_stdout(stdio.stdout)
            .with_stderr(stdio.stderr);
    }
    Ok(builder)
}

/// The socket over which libcontainer hands out the terminal's master.
struct Console(Option<(std::os::unix::net::UnixListener, PathBuf)>);

impl Console {
    fn open(dir: &ContainerDir, name: &str, terminal: bool) -> Result<Self, Error> {
        if !terminal {
            return Ok(Self(None));
        }
        let path = dir.0.join(name);
        remove_if_there(&path);
        let listener = protocol::bind(&dir.0, name).map_err(Error::Console)?;
        Ok(Self(Some((listener, path))))
    }

    fn path(&self) -> Option<PathBuf> {
        self.0.as_ref().map(|(_, path)| path.clone())
    }

    fn master(self) -> Result<Option<OwnedFd>, Error> {
        let Some((listener, path)) = self.0 else {
            return Ok(None);
        };
        remove_if_there(&path);
        let receive = || -> io::Result<OwnedFd> {
            let (stream, _) = listener.accept()?;
            let mut space = nix::cmsg_space!([RawFd; 1]);
            let mut bytes = [0u8; 64];
            let mut parts = [io::IoSliceMut::new(&mut bytes)];
            let flags = nix::sys::socket::MsgFlags::MSG_CMSG_CLOEXEC;
            let message = nix::sys::socket::recvmsg::<nix::sys::socket::UnixAddr>(
                stream.as_raw_fd(),
                &mut parts,
                Some(&mut space),
                flags,
            )?;
            for control in message.cmsgs()? {
                if let nix::sys::socket::ControlMessageOwned::ScmRights(fds) = control
                    && let Some(fd) = fds.first()
                {
                    // SAFETY: the kernel has just made this descriptor for us.
                    return Ok(unsafe { OwnedFd::from_raw_fd(*fd) });
                }
            }
            Err(io::Error::other("no terminal arrived"))
        };
        receive().map(Some).map_err(Error::Terminal)
    }
}

/// Closes every descriptor but those in `keep`.
fn close_others(mut keep: Vec<RawFd>) {
    keep.sort_unstable();
    let mut from = 0u32;
    for fd in keep {
        let fd = fd as u32;
        if fd > from {
            close_range(from, fd - 1);
        }
        from = fd + 1;
    }
    close_range(from, u32::MAX);
}

fn close_range(first: u32, last: u32) {
    // SAFETY: the copy uses none of these descriptors, and never runs the destructors of what owned them.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
}
