//! Deployment: its row.

use crate::kinds::{Columns, Kind, Strategy, Subresource, Verbs, subresource::SCALE};

pub const KIND: Kind = Kind {
    group: "apps",
    version: "v1",
    kind: "Deployment",
    plural: "deployments",
    singular: "deployment",
    short_names: &["deploy"],
    categories: &["all"],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[Subresource::Scale(&SCALE), Subresource::Status],
    schema: "apps.v1.Deployment",
    selectable: &[],
    columns: Columns::NAME_AND_AGE,
    strategy: Strategy { defaults: crate::kinds::rows::apps::defaults::deployment, has_generation: true, has_status: true, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
