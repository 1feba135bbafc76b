//! What the program prints: as `println!`, but for readers that are gone.
//!
//! Invariant: nothing panics because somebody has closed a pipe. A verb ends as a Go program does that writes to one, by SIGPIPE's exit status; what runs
//! on for others, as a cluster does, is not ended by it.
//! Follows what Go's `os` package documents of SIGPIPE.

use std::{
    fmt::Arguments,
    io::{ErrorKind, Write},
};

/// The exit status of a program that SIGPIPE ended, as a shell tells it.
pub const BROKEN_PIPE: i32 = 141;

/// Writes to standard output; ends the program when nobody reads it any more.
pub fn out(text: Arguments<'_>) {
    match std::io::stdout().lock().write_fmt(text) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(BROKEN_PIPE),
        // a disk that is full, a terminal that is gone: nowhere is left to tell it but there
        Err(error) => err(format_args!("error: cannot print: {error}\n")),
        Ok(()) => {}
    }
}

/// Writes to standard error, if anybody reads it.
pub fn err(text: Arguments<'_>) {
    skiff_watching::outcome::may_be_broken_off(std::io::stderr().lock().write_fmt(text));
}

/// Writes to standard output what whoever started something that goes on may read, or not.
pub fn tell(text: Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    skiff_watching::outcome::may_be_broken_off(out.write_fmt(text).and_then(|()| out.flush()));
}

macro_rules! println {
    () => { $crate::out::out(format_args!("\n")) };
    ($($arg:tt)*) => { $crate::out::out(format_args!("{}\n", format_args!($($arg)*))) };
}

macro_rules! print {
    ($($arg:tt)*) => { $crate::out::out(format_args!($($arg)*)) };
}

macro_rules! eprintln {
    () => { $crate::out::err(format_args!("\n")) };
    ($($arg:tt)*) => { $crate::out::err(format_args!("{}\n", format_args!($($arg)*))) };
}

macro_rules! eprint {
    ($($arg:tt)*) => { $crate::out::err(format_args!($($arg)*)) };
}

/// A line of [`tell`].
macro_rules! tellln {
    ($($arg:tt)*) => { $crate::out::tell(format_args!("{}\n", format_args!($($arg)*))) };
}
