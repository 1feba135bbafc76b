//! ValidatingWebhookConfiguration: its row.

mod columns;

use crate::kinds::{Generation, Row, Strategy, Verbs, without_effect};

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
    strategy: Strategy {
        generation: Generation::Counted,
        allow_unconditional_update: false,
        update_checks: crate::kinds::UpdateChecks::New,
        without_effect: |_| Some(without_effect::WEBHOOKS),
        ..Strategy::DEFAULT
    },
    stored_as: None,
    storage_version: None,
};
