//! MutatingWebhookConfiguration: its row.

mod columns;

use crate::kinds::{Row, Verbs};

pub const KIND: Row = Row {
    group: "admissionregistration.k8s.io",
    version: "v1",
    kind: "MutatingWebhookConfiguration",
    plural: "mutatingwebhookconfigurations",
    singular: "mutatingwebhookconfiguration",
    short_names: &[],
    categories: &["api-extensions"],
    namespaced: false,
    verbs: Verbs::All,
    subresources: &[],
    schema: "admissionregistration.v1.MutatingWebhookConfiguration",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: super::webhooks::MUTATING,
    stored_as: None,
    storage_version: None,
};
