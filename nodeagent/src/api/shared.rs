//! What the handlers of the node's API share.

use std::sync::Arc;

use super::auth::Guard;
use crate::{agent::context::Context, stats::Measuring};

/// See the module.
#[derive(Clone)]
pub struct Shared {
    pub node: Arc<Context>,
    pub guard: Arc<Guard>,
    pub measuring: Arc<Measuring>,
}
