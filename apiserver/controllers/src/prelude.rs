//! What every controller names.

pub use std::sync::Arc;

pub use parking_lot::Mutex;
pub use skiff_podspec::{
    parts::{HasSpec, HasStatus, Meta},
    selector::{self, Selector},
};
pub use skiff_watching::{
    api::{Api, Delete, Kind, PatchType, item},
    clock::Clock,
    error::{Error, unless_gone},
    events::{EventType, Recorder},
    informer::{Cached, Change, Informer},
    key::Key,
    queue::{Queue, Retry},
};

pub use crate::{
    expectations::{Expectations, Fresh},
    runner::{Context, Next, Reconcile, Work},
    wiring::wake,
};
