//! Runs this same executable again as a shim.
//!
//! Invariant: no process in a container can write to the executable through `/proc/<pid>/exe` (CVE-2019-5736): the shim
//! runs from a read-only mount that is attached nowhere, or, on kernels without `mount_setattr`, from a sealed copy in memory.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::Path,
    process::{Command, Stdio},
};

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::{open_files, runtime::Error};

/// First argument of the hidden subcommand.
pub const SUBCOMMAND: &str = "shim";
/// What containers and helpers find programs with when nothing else is said.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The executable, unchangeable, held open.
pub struct Program(OwnedFd);

impl Program {
    /// Seals the running executable.
    pub fn seal() -> io::Result<Self> {
        read_only_mount().or_else(|_| copy_in_memory()).map(Self)
    }

    /// Starts the shim for the sandbox in `folder` and waits until it serves. Blocks for some milliseconds.
    pub fn start_shim(&self, folder: &Path) -> Result<(), Error> {
        let fail = |reason: String| Error::Failed {
            what: "start the sandbox's shim".into(),
            reason,
        };
        let mut command = Command::new(format!("/proc/self/fd/{}", self.0.as_raw_fd()));
        if let Some(limits) = open_files::given() {
            // SAFETY: one system call, which is allowed between fork and exec.
            unsafe { command.pre_exec(move || Ok(open_files::restore(limits)?)) };
        }
        let output = command
            .arg0("skiff-shim")
            .arg(SUBCOMMAND)
            .arg(folder)
            .env_clear()
            .env("PATH", DEFAULT_PATH)
            .current_dir("/")
            .stdin(Stdio::null())
            .output()
            .map_err(|err| fail(err.to_string()))?;
        match output.status.success() && output.stdout == b"ready\n" {
            true => Ok(()),
            false => Err(fail(
                String::from_utf8_lossy(&output.stdout).trim().to_owned()
                    + String::from_utf8_lossy(&output.stderr).trim(),
            )),
        }
    }
}

fn read_only_mount() -> io::Result<OwnedFd> {
    const OPEN_TREE_CLONE: libc::c_uint = 1;
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC as libc::c_uint;
    // SAFETY: a plain system call with a static path; the answer is checked.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_open_tree,
            libc::AT_FDCWD,
            c"/proc/self/exe".as_ptr(),
            flags,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the structure outlives the call and its size is given.
    let set = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &attributes,
            std::mem::size_of_val(&attributes),
        )
    };
    match set {
        0 => Ok(fd),
        _ => Err(io::Error::last_os_error()),
    }
}

fn copy_in_memory() -> io::Result<OwnedFd> {
    let fd = memfd_create(
        c"skiff-shim",
        MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING,
    )?;
    let mut copy = File::from(fd);
    io::copy(&mut File::open("/proc/self/exe")?, &mut copy)?;
    let seals = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    // SAFETY: a plain call on a descriptor that we own.
    match unsafe { libc::fcntl(copy.as_raw_fd(), libc::F_ADD_SEALS, seals) } {
        0 => Ok(copy.into()),
        _ => Err(io::Error::last_os_error()),
    }
}
