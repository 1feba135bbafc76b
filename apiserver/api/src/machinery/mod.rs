//! The machinery that reads every kind: quantities, selectors, patches, schemas, errors, time. No I/O, no async.

pub mod names;
pub mod quantity;
pub mod selector;
