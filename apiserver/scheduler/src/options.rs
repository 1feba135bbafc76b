//! How a scheduler is to run. Follows `cmd/kube-scheduler/app/options`.

use std::sync::Arc;

use skiff_api::machinery::clock::SharedClock;

use crate::figures::Figures;

/// How a scheduler is to run.
#[derive(Clone)]
pub struct Options {
    /// Pods with this `spec.schedulerName` are its own.
    pub scheduler_name: String,
    /// Bindings under way at once.
    pub parallelism: usize,
    pub clock: SharedClock,
    /// Where it counts what it does.
    pub figures: Arc<Figures>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            scheduler_name: "default-scheduler".into(),
            parallelism: 64,
            clock: skiff_api::machinery::clock::system(),
            figures: Arc::default(),
        }
    }
}
