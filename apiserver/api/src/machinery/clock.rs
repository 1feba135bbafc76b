//! Where time comes from. A cluster's clock may be virtual, so nothing else asks the system.

use std::sync::Arc;

use jiff::Timestamp;

/// A source of time.
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Timestamp;
}

/// The machine's own time.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that asks the system"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

pub type SharedClock = Arc<dyn Clock>;

/// The machine's own time, shared.
pub fn system() -> SharedClock {
    Arc::new(SystemClock)
}
