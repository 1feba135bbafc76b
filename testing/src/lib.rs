//! What the tests of all crates share.
//!
//! Invariant: it needs nothing, and nothing but tests needs it.

pub mod modules;
pub mod table;

use std::{fmt::Display, io::Write};

/// Says that the test of this thread does not run, and why: past the harness, which keeps what passing tests print to itself.
pub fn skipped(why: impl Display) {
    let thread = std::thread::current();
    let _ = writeln!(
        std::io::stderr(),
        "skipped: {}: {why}",
        thread.name().unwrap_or("a test")
    );
}

/// Changes a value on its way: for specifications that differ in little.
pub trait With: Sized {
    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

impl<T> With for T {}
