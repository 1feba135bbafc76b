//! What the tests of all crates share.
//!
//! Invariant: it needs nothing, and nothing but tests needs it.

pub mod modules;
mod rows;
pub mod table;

use std::{fmt::Display, io::Write};

pub use rows::rows;

/// Says that the test of this thread does not run, and why: past the harness, which keeps what passing tests print to itself.
pub fn skipped(why: impl Display) {
    let thread = std::thread::current();
    let _ = writeln!(
        std::io::stderr(),
        "skipped: {}: {why}",
        thread.name().unwrap_or("a test")
    );
}
