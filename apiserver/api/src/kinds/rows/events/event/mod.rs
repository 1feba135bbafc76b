//! Event: its row.

use crate::kinds::{Columns, Kind, Strategy, Verbs};

pub mod convert;
pub use convert::{CORE, SELECTABLE};

pub const KIND: Kind = Kind {
    group: "events.k8s.io",
    version: "v1",
    kind: "Event",
    plural: "events",
    singular: "event",
    short_names: &["ev"],
    categories: &[],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[],
    schema: "events.v1.Event",
    selectable: SELECTABLE,
    columns: Columns::NAME_AND_AGE,
    strategy: Strategy::DEFAULT,
    stored_as: None,
    storage_version: Some("v1/Event"),
};
