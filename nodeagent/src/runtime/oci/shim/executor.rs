//! The last step in the container's process: give up rights, install the seccomp filter, and become the program.
//!
//! Invariant: when it does not become the program, the reason is in the error pipe before the process ends; when it does,
//! the pipe is closed by `execve` itself. The texts are runc's (`libcontainer/standard_init_linux.go`, Go's `os/exec`).

use std::{
    collections::{BTreeSet, HashMap},
    ffi::CString,
    io::Write,
    mem::ManuallyDrop,
    os::fd::{FromRawFd, RawFd},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use caps::{CapSet, Capability, CapsHashSet};
use libcontainer::{
    oci_spec::runtime::Spec,
    workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError},
};
use nix::errno::Errno;

use crate::runtime::oci::{program::DEFAULT_PATH, seccomp, state::ProcessRights};

/// What libcontainer calls in the container's process.
#[derive(Clone)]
pub struct Workload {
    pub rights: ProcessRights,
    /// Write end of the error pipe; it stays open until `execve`.
    pub errors: RawFd,
}

impl Executor for Workload {
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let args = spec
            .process()
            .as_ref()
            .and_then(|p| p.args().clone())
            .unwrap_or_default();
        let reason = match self.give_up_rights() {
            Err(reason) => reason,
            Ok(()) => become_program(&args),
        };
        // SAFETY: the descriptor is open in this process, and is not closed by this handle.
        let mut pipe = ManuallyDrop::new(unsafe { std::fs::File::from_raw_fd(self.errors) });
        let _ = pipe.write_all(reason.as_bytes());
        // libcontainer's own way out from here would unwind its parent's state.
        // SAFETY: ends this process at once, as intended.
        unsafe { libc::_exit(255) }
    }

    /// The program is looked for when the container starts, and not when it is made: that is when its status is told.
    fn validate(&self, _spec: &Spec) -> Result<(), ExecutorValidationError> {
        Ok(())
    }

    fn setup_envs(&self, envs: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        let old: Vec<_> = std::env::vars_os().map(|(key, _)| key).collect();
        // SAFETY: this process has one thread.
        unsafe {
            old.iter().for_each(|key| std::env::remove_var(key));
            envs.iter()
                .filter(|(key, _)| !key.is_empty())
                .for_each(|(key, value)| std::env::set_var(key, value));
        }
        Ok(())
    }
}

impl Workload {
    fn give_up_rights(&self) -> Result<(), String> {
        if !self.rights.seccomp {
            return Ok(());
        }
        let names: BTreeSet<String> = self.rights.capabilities.iter().cloned().collect();
        let keep: CapsHashSet = names.iter().filter_map(|name| name.parse().ok()).collect();
        let fail = |err: caps::errors::CapsError| format!("cannot drop capabilities: {err}");
        // The bounding set first, while there is still the right to; these calls are all in the filter's list.
        for extra in [Capability::CAP_SYS_ADMIN, Capability::CAP_SETPCAP]
            .into_iter()
            .filter(|c| !keep.contains(c))
        {
            caps::drop(None, CapSet::Bounding, extra).map_err(fail)?;
        }
        seccomp::install(&names)?;
        caps::set(None, CapSet::Effective, &keep).map_err(fail)?;
        caps::set(None, CapSet::Permitted, &keep).map_err(fail)
    }
}

/// Returns only when it failed, with the reason.
fn become_program(args: &[String]) -> String {
    let Some(name) = args.first() else {
        return "no command specified".to_owned();
    };
    let path = match look_up(name) {
        Ok(path) => path,
        Err(reason) => return reason,
    };
    let c_strings = |list: &[String]| {
        list.iter()
            .map(|s| CString::new(s.as_bytes()))
            .collect::<Result<Vec<_>, _>>()
    };
    let (Ok(path_c), Ok(args_c)) = (CString::new(path.as_os_str().as_bytes()), c_strings(args))
    else {
        return format!("exec {name:?}: invalid argument");
    };
    restore_signals();
    let Err(errno) = nix::unistd::execv(&path_c, &args_c);
    format!("exec {}: {}", path.display(), words(errno))
}

/// As a shell looks for programs: a name with a slash is a path; others are looked for in PATH.
fn look_up(name: &str) -> Result<PathBuf, String> {
    if name.contains('/') {
        return executable(Path::new(name))
            .map(|()| PathBuf::from(name))
            .map_err(|errno| match errno {
                Errno::ENOENT => format!("exec: {name:?}: stat {name}: no such file or directory"),
                other => format!("exec: {name:?}: {}", words(other)),
            });
    }
    let path = std::env::var("PATH").unwrap_or_else(|_| DEFAULT_PATH.to_owned());
    let mut found_but = None;
    for folder in path.split(':').filter(|folder| !folder.is_empty()) {
        let candidate = Path::new(folder).join(name);
        match executable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(Errno::EACCES) => found_but = Some(Errno::EACCES),
            Err(_) => {}
        }
    }
    Err(match found_but {
        Some(errno) => format!("exec: {name:?}: {}", words(errno)),
        None => format!("exec: {name:?}: executable file not found in $PATH"),
    })
}

fn executable(path: &Path) -> Result<(), Errno> {
    let stat = nix::sys::stat::stat(path)?;
    if stat.st_mode & libc::S_IFMT == libc::S_IFDIR {
        return Err(Errno::EISDIR);
    }
    match stat.st_mode & 0o111 {
        0 => Err(Errno::EACCES),
        _ => Ok(()),
    }
}

fn words(errno: Errno) -> String {
    match errno {
        Errno::EISDIR => "is a directory".to_owned(),
        Errno::EACCES => "permission denied".to_owned(),
        Errno::ENOEXEC => "exec format error".to_owned(),
        other => other.desc().to_lowercase(),
    }
}

/// Rust ignores SIGPIPE and the shim blocks nothing, but programs expect both as a shell leaves them.
fn restore_signals() {
    use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
    // SAFETY: sets the default handler only.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
    let _ = SigSet::empty().thread_set_mask();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_are_not_there() {
        assert_eq!(
            look_up("no-such-program-x").unwrap_err(),
            "exec: \"no-such-program-x\": executable file not found in $PATH"
        );
        assert_eq!(
            look_up("/no/such").unwrap_err(),
            "exec: \"/no/such\": stat /no/such: no such file or directory"
        );
        assert_eq!(
            look_up("/etc/passwd").unwrap_err(),
            "exec: \"/etc/passwd\": permission denied"
        );
        assert_eq!(
            look_up("/etc").unwrap_err(),
            "exec: \"/etc\": is a directory"
        );
        assert!(look_up("sh").is_ok());
    }
}
