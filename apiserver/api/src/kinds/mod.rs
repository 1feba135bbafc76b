//! The kinds. Those that are built in have ONE folder each with a row: names, verbs, subresources, columns, selectable fields, strategy. A running
//! server holds a [`Registry`] of all kinds that it serves; routes, discovery, OpenAPI, tables and the write path read it.
//!
//! Invariant: whatever is particular to a kind stands in its row; nothing else asks for a kind's name.

mod cells;
pub use cells::human_duration;
pub mod rows;
pub mod strategy;
mod subresource;
pub mod table;
pub mod validation;
pub mod without_effect;

pub mod fill;
mod kind;
mod list;
mod printer;
mod registry;
mod row;

pub use kind::{Kind, SchemaOf, SelectableField, name};
pub use printer::{PathColumn, Printer, default_columns};
pub use registry::Registry;
pub use row::{Alias, Row, Selectable, Verbs, internal_package};
pub use strategy::{
    Beyond, Generation, PartStrategy, Review, Source, Stamp, Strategy, UpdateChecks, Warnings,
};
pub use subresource::{Proxied, Scale, Subresource};
pub use table::{Cell, Column, Columns};
