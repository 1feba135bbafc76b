//! Why libcontainer failed: its error values lose the innermost cause on the way, but it logs that cause first.
//!
//! Invariant: only a helper (and the container's process that comes of it) listens, and only until it fails or is done;
//! nothing is written anywhere unless the container cannot be made.

use std::{
    fmt::{Debug, Write as _},
    io::Write as _,
    mem::ManuallyDrop,
    os::fd::{FromRawFd, RawFd},
    sync::Mutex,
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// What libcontainer logs last in a process that gives up.
const GIVING_UP: [&str; 2] = ["failed to initialize container process", "failed to run intermediate process"];

/// Keeps the first error that is logged, and writes it to the error pipe when the process gives up.
pub fn listen(errors: RawFd) {
    // A helper is a fresh copy of the shim, which listens to nothing.
    let _ = tracing::subscriber::set_global_default(Reasons { errors, first: Mutex::default() });
}

struct Reasons {
    errors: RawFd,
    first: Mutex<String>,
}

impl Subscriber for Reasons {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() == Level::ERROR
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let mut first = self.first.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if GIVING_UP.iter().any(|last| text.message.starts_with(last)) {
            let reason = if first.is_empty() { text.message } else { std::mem::take(&mut *first) };
            // SAFETY: the descriptor is open in this process, and is not closed by this handle.
            let mut pipe = ManuallyDrop::new(unsafe { std::fs::File::from_raw_fd(self.errors) });
            // Without a pipe there is nobody left to tell.
            let _ = pipe.write_all(reason.as_bytes());
        } else if first.is_empty() {
            *first = text.message + &text.fields;
        }
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            "err" => write!(self.fields, ": {value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}
