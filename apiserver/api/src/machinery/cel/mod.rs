//! The Common Expression Language with what the API knows of: quantities, names, and schemas of definitions.
//!
//! Invariant: there is one environment of all expressions, [`env()`]; who has variables of its own extends it. Limits are upstream's
//! (`staging/src/k8s.io/apiserver/pkg/apis/cel/config.go`).

pub mod admission;
mod declare;
pub mod devices;
mod format;
mod quantity;

pub use declare::{declare, declare_root, max_cardinality};
pub use skiff_cel::{
    Activation, Compiled, Declared, Env, EvalError, Issues, Outcome, PER_CALL_LIMIT, Type, Value,
    cost, declared, escape, library, regex, value,
};

use std::sync::LazyLock;

/// What all expressions of one object or binding may cost together: about a second.
pub const RUNTIME_BUDGET: u64 = 10_000_000;
/// What all match conditions of one object may cost together.
pub const MATCH_CONDITIONS_BUDGET: u64 = 2_500_000;
/// The longest message that a message expression may make, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 5 * 1024;

static ENV: LazyLock<Env> = LazyLock::new(|| {
    let builder = Env::kubernetes().extend();
    builder
        .library(quantity::library())
        .library(format::library())
        .build()
});

/// The environment of every expression of the API. Cheap to clone and to extend.
pub fn env() -> Env {
    ENV.clone()
}

#[cfg(test)]
mod tests;
