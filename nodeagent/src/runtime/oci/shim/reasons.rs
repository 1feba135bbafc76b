//! Why libcontainer failed: its error values lose the innermost cause on the way, but it logs that cause first.
//!
//! Invariant: only a helper (and the container's process that comes of it) listens, and only until it fails or is done;
//! nothing is written anywhere unless the container cannot be made.

use std::{
    fmt::Debug,
    io::{self, Write},
    mem::ManuallyDrop,
    os::fd::{FromRawFd, RawFd},
    sync::{Mutex, MutexGuard, PoisonError},
};

use nix::errno::Errno;

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use crate::{outcome, runtime::oci::cause::add};

/// What libcontainer logs last in a process that gives up.
const GIVING_UP: [&str; 2] = [
    "failed to initialize container process",
    "failed to run intermediate process",
];

/// Keeps the errors that are logged, and writes them to the error pipe when the process gives up.
pub fn listen(errors: RawFd) {
    // A helper is a fresh copy of the shim, which listens to nothing: there is no other subscriber.
    tracing::subscriber::set_global_default(Reasons { errors }).ok();
}

/// What was logged in this process, the innermost first.
static LOGGED: Mutex<Vec<Text>> = Mutex::new(Vec::new());

fn logged() -> MutexGuard<'static, Vec<Text>> {
    LOGGED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts what was logged behind `reason`, as far as it says more.
pub fn complete(reason: String) -> String {
    told(&logged(), &reason)
}

/// One text of all that was logged: the outermost first, and the system's own error at the end.
fn told(logged: &[Text], last: &str) -> String {
    let mut text = String::new();
    // What has its error beside it wraps it; what has it in its words is nearer to the cause.
    let (wrapping, inner): (Vec<&Text>, Vec<&Text>) =
        logged.iter().rev().partition(|text| !text.error.is_empty());
    let parts = wrapping
        .iter()
        .map(|text| text.message.as_str())
        .chain([last])
        .chain(inner.iter().map(|text| text.message.as_str()));
    for part in parts.filter(|part| !part.is_empty()) {
        if text.is_empty() {
            text = part.to_owned()
        } else {
            add(&mut text, part)
        }
    }
    for error in wrapping.iter().map(|text| text.error.as_str()) {
        match errno(error) {
            Some(errno) => add(&mut text, &io::Error::from(errno).to_string()),
            None if inner.is_empty() && wrapping.iter().any(|text| text.message == last) => {
                add(&mut text, error)
            }
            None => {}
        }
    }
    text
}

/// The system's error in the innermost brackets of an error's debug text.
fn errno(text: &str) -> Option<Errno> {
    let behind = |mark: &str| {
        text.split_once(mark)
            .map(|(_, rest)| rest.split([')', ',', ' ']).next().unwrap_or_default())
    };
    let number = behind("code: ").and_then(|code| code.parse().ok());
    let named = || {
        let name = behind("Nix(")?;
        (1..=133)
            .map(Errno::from_raw)
            .find(|errno| format!("{errno:?}") == name)
    };
    number.map(Errno::from_raw).or_else(named)
}

struct Reasons {
    errors: RawFd,
}

impl Subscriber for Reasons {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() == Level::ERROR
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let Some(begin) = GIVING_UP
            .iter()
            .find(|last| text.message.starts_with(**last))
        else {
            return logged().push(text);
        };
        let reason = complete(
            text.message[begin.len()..]
                .trim_start_matches([':', ' '])
                .to_owned(),
        );
        // SAFETY: the descriptor is open in this process, and is not closed by this handle.
        let mut pipe = ManuallyDrop::new(unsafe { std::fs::File::from_raw_fd(self.errors) });
        // Without a pipe there is nobody left to tell.
        outcome::nobody_may_wait(pipe.write_all(reason.as_bytes()));
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[derive(Debug, Default)]
struct Text {
    message: String,
    /// As `Debug` writes it.
    error: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.message.push_str(&format!("{value:?}")),
            "err" | "errno" => self.error.push_str(&format!("{value:?}")),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libcontainer_logs_becomes_one_text() {
        let text = |message: &str, error: &str| Text {
            message: message.to_owned(),
            error: error.to_owned(),
        };
        let table = [
            (
                vec![
                    text("failed to mount X: syscall", ""),
                    text("failed to prepare rootfs", "Mount(Syscall(Nix(EINVAL)))"),
                ],
                "failed to prepare rootfs",
                "failed to prepare rootfs: failed to mount X: syscall: Invalid argument (os error 22)",
            ),
            (
                vec![text(
                    "failed to apply cgroup",
                    "V1(MemoryController(UnableToSet { target: 1 }))",
                )],
                "cgroup error: unable to set memory limit to 1",
                "failed to apply cgroup: cgroup error: unable to set memory limit to 1",
            ),
            (
                vec![text(
                    "failed to apply cgroup",
                    "V1(WrappedIo(Write { err: Os { code: 22, kind: InvalidInput, message: \"Invalid argument\" } }))",
                )],
                "cgroup error: failed to write 1 to cpu.cfs_quota_us: Invalid argument (os error 22)",
                "failed to apply cgroup: cgroup error: failed to write 1 to cpu.cfs_quota_us: Invalid argument (os error 22)",
            ),
            (
                vec![text("failed to set groups", "EPERM")],
                "failed to set groups",
                "failed to set groups: EPERM",
            ),
            (vec![], "no more", "no more"),
        ];
        for (logged, last, wanted) in table {
            assert_eq!(told(&logged, last), wanted);
        }
    }
}
