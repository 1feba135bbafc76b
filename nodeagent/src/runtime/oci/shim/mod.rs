//! The shim: one small process a pod that keeps the pod's namespaces, containers, logs and exit codes while the agent may
//! be killed and come back.
//!
//! Invariant: it runs in one thread from beginning to end, because it forks; it ends only when told (or killed).
//! Plays the part of containerd's `containerd-shim-runc-v2`.

mod container;
mod executor;
mod helper;
mod layers;
mod log;
mod oom;
mod output;
mod pause;
mod reaper;
mod reasons;
mod streams;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    fs, io,
    os::unix::net::UnixListener as StdListener,
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
    sys::signal::Signal,
    unistd::{ForkResult, fork, setsid},
};
use tokio::{
    net::{UnixListener, UnixStream},
    signal::unix::{SignalKind, signal},
    sync::broadcast,
    task::{LocalSet, spawn_local},
};

use self::{container::Container, reaper::Reaper};
use super::{
    cause::During,
    cgroup::Cgroups,
    protocol::{self, Event, Failure, Reply, Request},
    state::{self, SandboxDir, SandboxRecord, ShimRecord},
};
use crate::outcome;

/// Events kept for an agent that is slow; it then reads the states from disk.
const EVENTS: usize = 64;

/// The hidden subcommand `shim FOLDER`: to be called first thing in `main`, before any thread is made.
pub fn shim_main(args: &[String]) -> ! {
    let code = match args {
        [folder] => daemonise(Path::new(folder)),
        _ => {
            eprintln!("this is a part of skiff that it calls itself");
            2
        }
    };
    std::process::exit(code)
}

/// Leaves the agent's session and process tree; only the last copy goes on.
fn daemonise(folder: &Path) -> i32 {
    // SAFETY (both forks): the process has one thread.
    match unsafe { fork() } {
        Ok(ForkResult::Parent { .. }) => return 0,
        Ok(ForkResult::Child) => {}
        Err(err) => return report(&err.into()),
    }
    if let Err(err) = setsid() {
        return report(&err.into());
    }
    match unsafe { fork() } {
        Ok(ForkResult::Parent { .. }) => 0,
        Ok(ForkResult::Child) => match run(folder) {
            Ok(()) => 0,
            Err(err) => report(&err),
        },
        Err(err) => report(&err.into()),
    }
}

fn report(err: &io::Error) -> i32 {
    println!("{err}");
    1
}

fn run(folder: &Path) -> io::Result<()> {
    let dir = SandboxDir(folder.to_owned());
    let record: SandboxRecord = state::read(&dir.record()).during("read the sandbox's record")?;
    let cgroups = Cgroups::detect().during("find the machine's cgroups")?;
    become_keeper(&record, &cgroups)?;
    let pause = set_up_sandbox(&dir, &record, &cgroups)?;
    let listener = protocol::bind(&dir.0, SandboxDir::SOCKET).during("open the shim's socket")?;
    listener.set_nonblocking(true)?;
    write_process(&dir.shim(), std::process::id() as i32)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, serve(dir, record, cgroups, pause, listener))
}

/// What makes this process fit to keep others.
fn become_keeper(record: &SandboxRecord, cgroups: &Cgroups) -> io::Result<()> {
    // The agent may lie in a unit whose limits and end are not the pod's.
    cgroups.leave_unit(&record.shim_cgroup)?;
    nix::sys::prctl::set_child_subreaper(true)?;
    nix::sys::prctl::set_name(c"skiff-shim")?;
    // The last to go when memory is short, as far as that is allowed.
    oom::set(-998)?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    Ok(())
}

/// Makes what the pod's containers share. Answers the process id of the holder of the shared pid namespace.
fn set_up_sandbox(
    dir: &SandboxDir,
    record: &SandboxRecord,
    cgroups: &Cgroups,
) -> io::Result<Option<i32>> {
    let spec = &record.spec;
    if let Some(netns) = &spec.netns {
        let enter = || -> io::Result<()> {
            setns(fs::File::open(netns)?, CloneFlags::CLONE_NEWNET).during("setns")
        };
        enter().during(format_args!(
            "cannot enter the network namespace {}",
            netns.display()
        ))?;
    }
    let machine = nix::unistd::gethostname().during("read the machine's name")?;
    if spec.netns.is_some() || machine.as_os_str() != spec.hostname.as_str() {
        unshare(CloneFlags::CLONE_NEWUTS).during("unshare the host's name")?;
        nix::unistd::sethostname(&spec.hostname)
            .during(format_args!("sethostname {:?}", spec.hostname))?;
    }
    if !spec.host_ipc {
        unshare(CloneFlags::CLONE_NEWIPC).during("unshare the IPC namespace")?;
        make_shm(&dir.shm()).during("cannot mount the pod's /dev/shm")?;
    }
    set_sysctls(&spec.sysctls)?;
    cgroups
        .create(&record.cgroup, &spec.cgroup_limits)
        .during("cannot make the pod's cgroup")?;
    for folder in [&dir.containers(), &spec.log_dir] {
        fs::create_dir_all(folder).during(format_args!("cannot make {}", folder.display()))?;
    }
    if !spec.share_process_namespace || spec.host_pid {
        return Ok(None);
    }
    let cage = dir.0.join("pause");
    fs::create_dir_all(&cage).during(format_args!("cannot make {}", cage.display()))?;
    let pid =
        pause::start(&cage).during("cannot start the holder of the pod's process namespace")?;
    write_process(&dir.pause(), pid)?;
    Ok(Some(pid))
}

fn write_process(path: &Path, pid: i32) -> io::Result<()> {
    let process =
        ShimRecord::of(pid).ok_or_else(|| io::Error::other(format!("process {pid} has gone")))?;
    state::write(path, &process)
}

fn make_shm(folder: &PathBuf) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    Ok(mount(
        Some("shm"),
        folder,
        Some("tmpfs"),
        flags,
        Some("mode=1777,size=65536k"),
    )?)
}

/// `/proc/sys` shows the namespaces of who reads it, so that this sets them for the pod only.
fn set_sysctls(sysctls: &BTreeMap<String, String>) -> io::Result<()> {
    for (name, value) in sysctls {
        // Both `net.ipv4.ip_forward` and `net/ipv4/ip_forward` are names; in the latter a dot belongs to a device's name.
        let path = if name.contains('/') {
            name.clone()
        } else {
            name.replace('.', "/")
        };
        if path.split('/').any(|part| part.is_empty() || part == "..") {
            return Err(io::Error::other(format!("invalid sysctl {name:?}")));
        }
        fs::write(Path::new("/proc/sys").join(path), value)
            .during(format_args!("cannot set sysctl {name}={value}"))?;
    }
    Ok(())
}

/// The shim's state. One thread owns it.
struct Shim {
    dir: SandboxDir,
    cgroups: Cgroups,
    reaper: Rc<Reaper>,
    containers: RefCell<HashMap<String, Rc<Container>>>,
    events: broadcast::Sender<(String, Event)>,
    pause: Option<i32>,
    number: Cell<u64>,
    ending: tokio::sync::Notify,
}

impl Shim {
    fn tell(&self, container: &str, event: Event) {
        // The state is on disk.
        outcome::nobody_may_wait(self.events.send((container.to_owned(), event)));
    }

    fn next_number(&self) -> u64 {
        self.number.set(self.number.get() + 1);
        self.number.get()
    }

    fn container(&self, id: &str) -> Result<Rc<Container>, Failure> {
        self.containers
            .borrow()
            .get(id)
            .cloned()
            .ok_or_else(|| Failure::NotFound(id.to_owned()))
    }
}

async fn serve(
    dir: SandboxDir,
    record: SandboxRecord,
    cgroups: Cgroups,
    pause: Option<i32>,
    listener: StdListener,
) -> io::Result<()> {
    let mut children = signal(SignalKind::child())?;
    let listener = UnixListener::from_std(listener)?;
    drop(record);
    let shim = Rc::new(Shim {
        cgroups,
        reaper: Rc::default(),
        containers: RefCell::default(),
        events: broadcast::channel(EVENTS).0,
        pause,
        number: Cell::new(0),
        ending: tokio::sync::Notify::new(),
        dir,
    });
    let reaper = Rc::clone(&shim.reaper);
    spawn_local(async move {
        while children.recv().await.is_some() {
            reaper.collect();
        }
    });
    announce(&shim.dir)?;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (connection, _) = accepted?;
                let shim = Rc::clone(&shim);
                spawn_local(async move { answer(&shim, &connection).await });
            }
            () = shim.ending.notified() => return Ok(()),
        }
    }
}

/// Tells the agent, who waits for the end of our output, and turns the output to files of our own.
fn announce(dir: &SandboxDir) -> io::Result<()> {
    use io::Write;
    let mut stdout = io::stdout();
    stdout.write_all(b"ready\n")?;
    stdout.flush()?;
    let null = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    let log = fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(dir.0.join("shim.log"))?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&log)?;
    Ok(())
}

async fn answer(shim: &Rc<Shim>, connection: &UnixStream) {
    let request = match protocol::receive::<Request>(connection).await {
        Ok(Some((request, _))) => request,
        Ok(None) => return,
        Err(err) => {
            eprintln!("a request that cannot be read: {err}");
            return;
        }
    };
    let reply = match handle(shim, connection, request).await {
        Ok(Some(reply)) => reply,
        Ok(None) => return,
        Err(failure) => Reply::Failed(failure),
    };
    // An agent that has gone will look at the disk.
    outcome::nobody_may_wait(protocol::send(connection, &reply, &[]).await);
}

/// `None`: all was said on the connection already.
async fn handle(
    shim: &Rc<Shim>,
    connection: &UnixStream,
    request: Request,
) -> Result<Option<Reply>, Failure> {
    match request {
        Request::Create { id } => {
            let container = Container::create(shim, &id).await?;
            shim.containers.borrow_mut().insert(id, container);
        }
        Request::Start { id } => shim.container(&id)?.start(shim).await?,
        Request::Stop { id, grace_ms } => {
            shim.container(&id)?
                .stop(shim, Duration::from_millis(grace_ms))
                .await
        }
        Request::Remove { id } => remove(shim, &id).await?,
        Request::Exec { id, exec } => {
            streams::exec(shim, &*shim.container(&id)?, exec, connection).await?;
            return Ok(None);
        }
        Request::Attach { id, exec } => {
            streams::attach(&*shim.container(&id)?, exec, connection).await?;
            return Ok(None);
        }
        Request::ReopenLog { id } => shim
            .container(&id)?
            .output
            .reopen_log()
            .map_err(|err| container::failed("reopen the log", err))?,
        Request::Events => {
            events(shim, connection).await;
            return Ok(None);
        }
        Request::Shutdown => {
            shutdown(shim).await;
            outcome::nobody_may_wait(protocol::send(connection, &Reply::Done, &[]).await);
            shim.ending.notify_one();
            return Ok(None);
        }
    }
    Ok(Some(Reply::Done))
}

async fn remove(shim: &Shim, id: &str) -> Result<(), Failure> {
    let container = shim.container(id)?;
    container.stop(shim, Duration::ZERO).await;
    shim.cgroups
        .remove(&container.record.cgroup)
        .map_err(|err| container::failed("remove the container's cgroup", err))?;
    shim.containers.borrow_mut().remove(id);
    Ok(())
}

async fn events(shim: &Shim, connection: &UnixStream) {
    let mut events = shim.events.subscribe();
    // The agent must know that it misses nothing from here on.
    if protocol::send(connection, &Reply::Done, &[]).await.is_err() {
        return;
    }
    loop {
        tokio::select! {
            event = events.recv() => {
                let (container, event) = match event {
                    Ok(event) => event,
                    Err(broadcast::error::RecvError::Lagged(_)) => continue,
                    Err(broadcast::error::RecvError::Closed) => return,
                };
                if protocol::send(connection, &Reply::Event { container, event }, &[]).await.is_err() {
                    return;
                }
            }
            _ = protocol::receive::<Request>(connection) => return,
        }
    }
}

async fn shutdown(shim: &Shim) {
    let containers: Vec<Rc<Container>> = shim.containers.borrow().values().cloned().collect();
    for container in containers {
        container.stop(shim, Duration::ZERO).await;
    }
    if let Some(pid) = shim.pause {
        outcome::kill_if_alive(pid, Signal::SIGKILL);
    }
    outcome::remove_if_there(&shim.dir.0.join(SandboxDir::SOCKET));
}
