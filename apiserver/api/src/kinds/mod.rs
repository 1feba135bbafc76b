//! The kinds. Those that are built in are a line in `kinds.txt` each (names, verbs, subresources, fields to select by, flags) and a few in
//! `columns.txt`; what a line cannot say is in `rows/`, bound to its kind in `strategies.rs`. A running server holds a [`Registry`] of all kinds that
//! it serves; routes, discovery, OpenAPI, tables and the write path read it. README.md says how to add one.
//!
//! Invariant: whatever is particular to a kind stands in its line or strategy; nothing else asks for a kind's name.

mod cells;
pub use cells::human_duration;
mod columns;
pub mod definition;
pub mod rows;
mod strategies;
pub mod strategy;
mod subresource;
pub mod validation;

pub mod fill;
pub mod flags;
mod kind;
mod life;
mod list;
mod printer;
mod registry;
mod verbs;

pub use columns::{Cell, Column, Columns, Part};
pub use definition::Definition;
pub use flags::{Beyond, Flags, Generation, Review, Source, UpdateCheck, UpdateChecks};
pub use kind::{
    Alias, Kind, Priority, SchemaOf, SelectableField, api_version, internal_package, name,
};
pub use life::Unread;
pub use list::{ListError, TablesText};
pub use printer::{PathColumn, Printer, default_columns};
pub use registry::Registry;
pub use strategy::{PartStrategy, Stamp, Strategy, Warnings};
pub use subresource::{Proxied, Scale, Subresource};
pub use verbs::Verbs;

/// What every strategy and every validation reads and writes with.
mod prelude {
    pub use serde_json::{Map, Value, json};

    pub use super::{
        PartStrategy, Stamp, Strategy, UpdateChecks, Warnings, fill,
        validation::{checks, internal},
    };
    pub use crate::machinery::{
        field::{Errors, Path},
        meta::Meta,
        names,
        read::Read,
    };
}
