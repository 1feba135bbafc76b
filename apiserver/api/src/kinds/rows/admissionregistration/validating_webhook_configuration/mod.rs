//! ValidatingWebhookConfiguration: its row.

use crate::kinds::{Columns, Kind, Strategy, Verbs};

pub const KIND: Kind = Kind {
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
    columns: Columns::NAME_AND_AGE,
    strategy: Strategy { has_generation: true, allow_unconditional_update: false, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
