//! Files of procfs, which cannot be other files: a container's image may have anything at `/proc`.
//!
//! Invariant: what is opened lies in a mount of procfs, not below another mount in it, and behind no magic link. The mount is one of our own
//! that nobody else can reach; without the right to mount it is `/proc`, looked at before it is used.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
};

use crate::{error::Error, failed, flags::OpenFlags, how, openat2, owned};

/// Where a path begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcfsBase {
    /// `/proc`.
    ProcRoot,
    /// `/proc/self`.
    ProcSelf,
}

/// How procfs is opened.
#[derive(Debug, Default)]
pub struct ProcfsHandleBuilder {
    unmasked: bool,
}

impl ProcfsHandleBuilder {
    pub fn new() -> Self {
        Self::default()
    }

    /// With what is not about processes (`sys`).
    pub fn unmasked(mut self) -> Self {
        self.unmasked = true;
        self
    }

    /// # Errors
    /// There is no procfs.
    pub fn build(self) -> Result<ProcfsHandle, Error> {
        mounted(self.unmasked)
            .or_else(|_| the_machines())
            .map(ProcfsHandle)
            .map_err(failed("open", Path::new("/proc")))
    }
}

/// An open procfs.
#[derive(Debug)]
pub struct ProcfsHandle(OwnedFd);

impl ProcfsHandle {
    /// # Errors
    /// There is no procfs.
    pub fn new() -> Result<Self, Error> {
        ProcfsHandleBuilder::new().build()
    }

    /// Opens the file, which may not be a link.
    ///
    /// # Errors
    /// What open(2) says; `EXDEV` if something is mounted over it.
    pub fn open(
        &self,
        base: ProcfsBase,
        subpath: impl AsRef<Path>,
        flags: impl Into<OpenFlags>,
    ) -> Result<File, Error> {
        let path = match base {
            ProcfsBase::ProcRoot => subpath.as_ref().to_path_buf(),
            ProcfsBase::ProcSelf => Path::new("self").join(subpath),
        };
        let flags = flags.into().0 | libc::O_NOFOLLOW;
        let within = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS | libc::RESOLVE_NO_XDEV;
        openat2(self.0.as_raw_fd(), &path, &how(flags, 0, within))
            .map(File::from)
            .map_err(failed("open in /proc", &path))
    }
}

/// A procfs that is mounted nowhere.
fn mounted(unmasked: bool) -> io::Result<OwnedFd> {
    const SUBSET: &std::ffi::CStr = c"subset";
    const PID: &std::ffi::CStr = c"pid";
    // SAFETY: the text ends with a zero.
    let context =
        owned(unsafe { libc::syscall(libc::SYS_fsopen, c"proc".as_ptr(), libc::FSOPEN_CLOEXEC) })?;
    let configure =
        |command: libc::c_uint, key: *const libc::c_char, value: *const libc::c_char| {
            // SAFETY: both are texts that end with a zero, or null where the command takes none.
            let done = unsafe {
                libc::syscall(
                    libc::SYS_fsconfig,
                    context.as_raw_fd(),
                    command,
                    key,
                    value,
                    0,
                )
            };
            match done {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        };
    if !unmasked {
        // kernels before 5.8 do not know it, and show more than is needed
        configure(libc::FSCONFIG_SET_STRING, SUBSET.as_ptr(), PID.as_ptr()).or_else(|error| {
            match error.raw_os_error() {
                Some(libc::EINVAL) => Ok(()),
                _ => Err(error),
            }
        })?;
    }
    configure(
        libc::FSCONFIG_CMD_CREATE,
        std::ptr::null(),
        std::ptr::null(),
    )?;
    let attributes = libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC | libc::MOUNT_ATTR_NOSUID;
    // SAFETY: the descriptor is held, and the rest are numbers.
    owned(unsafe {
        libc::syscall(
            libc::SYS_fsmount,
            context.as_raw_fd(),
            libc::FSMOUNT_CLOEXEC,
            attributes,
        )
    })
}

/// `/proc`, if it is the root of a procfs.
fn the_machines() -> io::Result<OwnedFd> {
    /// The inode of a procfs's root.
    const ROOT: u64 = 1;
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    let proc = File::from(openat2(libc::AT_FDCWD, "/proc", &how(flags, 0, 0))?);
    // SAFETY: all of its fields are numbers.
    let mut about: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is held, and there is room for the answer.
    if unsafe { libc::fstatfs(proc.as_raw_fd(), &mut about) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let inode = std::os::unix::fs::MetadataExt::ino(&proc.metadata()?);
    if about.f_type != libc::PROC_SUPER_MAGIC || inode != ROOT {
        return Err(io::Error::from_raw_os_error(libc::EXDEV));
    }
    Ok(proc.into())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn opens_files_of_procfs_and_no_links() {
        for procfs in [
            ProcfsHandle::new().unwrap(),
            ProcfsHandleBuilder::new().unmasked().build().unwrap(),
            ProcfsHandle(the_machines().unwrap()),
        ] {
            let mut text = String::new();
            procfs
                .open(ProcfsBase::ProcSelf, "stat", OpenFlags::O_RDONLY)
                .unwrap()
                .read_to_string(&mut text)
                .unwrap();
            assert!(text.starts_with(&format!("{} ", std::process::id())));
            for link in ["exe", "root/etc/passwd", "fd/0", "../../etc/passwd"] {
                let opened = procfs.open(ProcfsBase::ProcSelf, link, OpenFlags::O_RDONLY);
                assert!(opened.is_err(), "{link}");
            }
        }
        let all = ProcfsHandleBuilder::new().unmasked().build().unwrap();
        all.open(
            ProcfsBase::ProcRoot,
            "sys/kernel/ostype",
            OpenFlags::O_RDONLY,
        )
        .unwrap();
    }
}
