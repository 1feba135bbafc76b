//! Results that do not matter, each by the reason why it does not.
//!
//! Invariant: nothing in this crate drops a result without a word; what is dropped here can have failed only in the way that the function's name says.

use std::{io, path::Path};

pub use skiff_watching::outcome::{is_a_favour, may_be_broken_off};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Datagrams may get lost on their way, and so may this one.
pub fn may_get_lost<T>(_: io::Result<T>) {}

/// Who waited for it may have gone away meanwhile.
pub fn nobody_may_wait<T, E>(_: Result<T, E>) {}

/// Kills a process, which may have ended by itself.
pub fn kill_if_alive(pid: i32, signal: Signal) {
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => tracing::warn!(%error, pid, %signal, "process not signalled"),
    }
}

/// What is not there is no failure.
pub trait IfThere<T> {
    /// None when there is no such file or folder.
    fn if_there(self) -> io::Result<Option<T>>;
}

impl<T> IfThere<T> for io::Result<T> {
    fn if_there(self) -> io::Result<Option<T>> {
        match self {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }
}

/// Removes a file or a folder with all that is in it; what is not there need not be removed.
pub fn remove_if_there(path: &Path) {
    let removed = match path.symlink_metadata() {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    if let Err(error) = removed.if_there() {
        tracing::warn!(%error, path = %path.display(), "not removed");
    }
}
