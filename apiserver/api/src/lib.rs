//! The kinds of the API and the machinery that reads them. No I/O, no async: everyone may use it.

pub mod kinds;
pub mod machinery;
