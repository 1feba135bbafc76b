//! ValidatingWebhookConfiguration: its row.

mod columns;

use crate::kinds::{Row, Verbs};

pub const KIND: Row = Row {
    group: "admissionregistration.k8s.io",
    version: "v1",
    kind: "ValidatingWebhookConfiguration",
    plural: "validatingwebhookconfigurations",
    singular: "validatingwebhookconfiguration",
    short_names: &[],
    categories: &["api-extensions"],
    namespaced: false,
    verbs: Verbs::All,
    subresources: &[],
    schema: "admissionregistration.v1.ValidatingWebhookConfiguration",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: super::webhooks::VALIDATING,
    stored_as: None,
    storage_version: None,
};
