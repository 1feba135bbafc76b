//! The last step in the container's process: give up rights, install the seccomp filter, and become the program.
//!
//! Invariant: when it does not become the program, the reason is in the error pipe before the process ends; when it does,
//! the pipe is closed by `execve` itself. The texts are runc's (`libcontainer/standard_init_linux.go`, Go's `os/exec`).

use std::{
    collections::{BTreeSet, HashMap},
    convert::Infallible,
    ffi::CString,
    io::Write,
    mem::ManuallyDrop,
    os::fd::{FromRawFd, RawFd},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use caps::{CapSet, Capability, CapsHashSet};
use libcontainer::workload::{
    Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError,
};
use nix::errno::Errno;
use oci_spec::runtime::Spec;

use crate::{
    outcome::nobody_may_wait,
    runtime::oci::{program::DEFAULT_PATH, seccomp, state::ProcessRights},
};
use skiff_api::machinery::quote::GoQuoted;

/// Why the process does not become the program, as its container's status says it.
#[derive(thiserror::Error, Debug)]
enum Failure {
    #[error("cannot drop capabilities: {0}")]
    Capabilities(#[from] caps::errors::CapsError),
    #[error(transparent)]
    Seccomp(#[from] seccomp::NotInstalled),
    #[error("no command specified")]
    NoCommand,
    #[error("exec {}: invalid argument", GoQuoted(.0))]
    Argument(String),
    #[error("exec {}: {}", .path.display(), words(*.errno))]
    Exec { path: PathBuf, errno: Errno },
    #[error("exec: {quoted}: stat {0}: no such file or directory", quoted = GoQuoted(.0))]
    NoFile(String),
    #[error("exec: {name}: {}", words(*.errno), name = GoQuoted(.name))]
    NotExecutable { name: String, errno: Errno },
    #[error("exec: {}: executable file not found in $PATH", GoQuoted(.0))]
    NotInPath(String),
}

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
        let become_program = || self.give_up_rights().and_then(|()| become_program(&args));
        let Err(reason) = become_program();
        // SAFETY: the descriptor is open in this process, and is not closed by this handle.
        let mut pipe = ManuallyDrop::new(unsafe { std::fs::File::from_raw_fd(self.errors) });
        // Without a pipe there is nobody left to tell.
        nobody_may_wait(pipe.write_all(reason.to_string().as_bytes()));
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
    fn give_up_rights(&self) -> Result<(), Failure> {
        if !self.rights.seccomp {
            return Ok(());
        }
        let names: BTreeSet<String> = self.rights.capabilities.iter().cloned().collect();
        let keep: CapsHashSet = names.iter().filter_map(|name| name.parse().ok()).collect();
        // The bounding set first, while there is still the right to; these calls are all in the filter's list.
        for extra in [Capability::CAP_SYS_ADMIN, Capability::CAP_SETPCAP]
            .into_iter()
            .filter(|c| !keep.contains(c))
        {
            caps::drop(None, CapSet::Bounding, extra)?;
        }
        seccomp::install(&names)?;
        caps::set(None, CapSet::Effective, &keep)?;
        Ok(caps::set(None, CapSet::Permitted, &keep)?)
    }
}

/// Returns only when it failed.
fn become_program(args: &[String]) -> Result<Infallible, Failure> {
    let name = args.first().ok_or(Failure::NoCommand)?;
    let path = look_up(name)?;
    let invalid = |_| Failure::Argument(name.clone());
    let path_c = CString::new(path.as_os_str().as_bytes()).map_err(invalid)?;
    let args_c: Result<Vec<_>, _> = args
        .iter()
        .map(|arg| CString::new(arg.as_bytes()))
        .collect();
    let args_c = args_c.map_err(invalid)?;
    restore_signals();
    nix::unistd::execv(&path_c, &args_c).map_err(|errno| Failure::Exec { path, errno })
}

/// As a shell looks for programs: a name with a slash is a path; others are looked for in PATH.
fn look_up(name: &str) -> Result<PathBuf, Failure> {
    let named = name.to_owned();
    if name.contains('/') {
        return match executable(Path::new(name)) {
            Ok(()) => Ok(PathBuf::from(name)),
            Err(Errno::ENOENT) => Err(Failure::NoFile(named)),
            Err(errno) => Err(Failure::NotExecutable { name: named, errno }),
        };
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
        Some(errno) => Failure::NotExecutable { name: named, errno },
        None => Failure::NotInPath(named),
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
    // Neither fails with such arguments, and no program is kept from running for the sake of them.
    // SAFETY: sets the default handler only.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }.ok();
    SigSet::empty().thread_set_mask().ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_are_not_there() {
        for (name, wanted) in [
            (
                "no-such-program-x",
                "exec: \"no-such-program-x\": executable file not found in $PATH",
            ),
            (
                "/no/such",
                "exec: \"/no/such\": stat /no/such: no such file or directory",
            ),
            ("/etc/passwd", "exec: \"/etc/passwd\": permission denied"),
            ("/etc", "exec: \"/etc\": is a directory"),
        ] {
            assert_eq!(look_up(name).unwrap_err().to_string(), wanted);
        }
        assert!(look_up("sh").is_ok());
    }
}
