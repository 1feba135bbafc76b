//! CustomResourceDefinitions: they are kept, and nothing is served for them.

use crate::kinds::prelude::*;

pub const STRATEGY: Strategy = Strategy {
    without_effect: |_| {
        Some(
            "this server serves no custom resources: the definition is stored, and its kind is not served",
        )
    },
    ..Strategy::DEFAULT
};
