//! The first process of a pod whose containers share one process id namespace: it reaps orphans and keeps the namespace.
//!
//! Invariant: it holds nothing that a container could take from it: no descriptor, no capability, no file system.
//! Does the work of upstream's pause image (`build/pause/linux/pause.c`).

use std::{io, os::fd::OwnedFd, path::Path};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    sys::wait::{WaitPidFlag, WaitStatus, waitpid},
    unistd::{ForkResult, Gid, Pid, Uid, chdir, fork, pivot_root, setgroups, setresgid, setresuid},
};

/// The user that upstream's pause image runs as.
const NOBODY: u32 = 65_535;

/// Starts it; answers its process id as the shim sees it. `folder` is an empty folder to stand in. Blocks for a moment.
pub fn start(folder: &Path) -> io::Result<i32> {
    let (reader, writer) = io::pipe()?;
    // SAFETY: this process has one thread.
    match unsafe { fork() }? {
        ForkResult::Child => {
            drop(reader);
            let outcome = start_in_namespace(folder, OwnedFd::from(writer));
            // SAFETY: ends the copy without running the shim's destructors.
            unsafe { libc::_exit(i32::from(outcome.is_err())) }
        }
        ForkResult::Parent { child } => {
            drop(writer);
            read_pid(reader, child)
        }
    }
}

fn read_pid(mut reader: io::PipeReader, helper: Pid) -> io::Result<i32> {
    use io::Read;
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes)?;
    waitpid(helper, None)?;
    let text = String::from_utf8_lossy(&bytes);
    match text.trim().parse() {
        Ok(pid) => Ok(pid),
        Err(_) => Err(io::Error::other(format!(
            "cannot make the pod's process namespace: {text}"
        ))),
    }
}

/// In a helper, because only children of the process that asks get into the new namespace.
fn start_in_namespace(folder: &Path, told: OwnedFd) -> io::Result<()> {
    use io::Write;
    let mut told = std::fs::File::from(told);
    let outcome = unshare(CloneFlags::CLONE_NEWPID).and_then(|()| {
        // SAFETY: this process has one thread.
        unsafe { fork() }
    });
    match outcome {
        Ok(ForkResult::Parent { child }) => write!(told, "{child}"),
        Ok(ForkResult::Child) => {
            drop(told);
            // Without its cage it must not live.
            let code = cage(folder).map_or(1, |()| reap());
            // SAFETY: ends the process without running the shim's destructors.
            unsafe { libc::_exit(code) }
        }
        Err(errno) => write!(told, "{errno}"),
    }
}

fn cage(folder: &Path) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )?;
    mount(
        Some("pause"),
        folder,
        Some("tmpfs"),
        MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC,
        Some("size=0k,mode=555"),
    )?;
    chdir(folder)?;
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/")?;
    // SAFETY: none of these descriptors is used any more.
    unsafe { libc::syscall(libc::SYS_close_range, 0u32, u32::MAX, 0) };
    nix::sys::prctl::set_name(c"pause")?;
    for capability in caps::runtime::thread_all_supported() {
        // One that the kernel does not know cannot be had either.
        caps::drop(None, caps::CapSet::Bounding, capability).ok();
    }
    setgroups(&[])?;
    setresgid(
        Gid::from_raw(NOBODY),
        Gid::from_raw(NOBODY),
        Gid::from_raw(NOBODY),
    )?;
    setresuid(
        Uid::from_raw(NOBODY),
        Uid::from_raw(NOBODY),
        Uid::from_raw(NOBODY),
    )?;
    nix::sys::prctl::set_no_new_privs()?;
    nix::sys::prctl::set_dumpable(false)?;
    Ok(())
}

fn reap() -> i32 {
    use nix::sys::signal::{SigSet, Signal};
    let mut set = SigSet::empty();
    set.add(Signal::SIGCHLD);
    set.add(Signal::SIGTERM);
    set.add(Signal::SIGINT);
    // Fails for sets that are none only.
    set.thread_block().ok();
    loop {
        while matches!(waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)), Ok(status) if status != WaitStatus::StillAlive)
        {
        }
        match set.wait() {
            Ok(Signal::SIGTERM | Signal::SIGINT) => return 0,
            _ => continue,
        }
    }
}
