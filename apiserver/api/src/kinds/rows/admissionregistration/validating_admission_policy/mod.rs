//! ValidatingAdmissionPolicy: its row.

mod columns;

use crate::kinds::{Row, Strategy, Subresource, Verbs, without_effect};

pub const KIND: Row = Row {
    group: "admissionregistration.k8s.io",
    version: "v1",
    kind: "ValidatingAdmissionPolicy",
    plural: "validatingadmissionpolicies",
    singular: "validatingadmissionpolicy",
    short_names: &[],
    categories: &["api-extensions"],
    namespaced: false,
    verbs: Verbs::All,
    subresources: &[Subresource::Status],
    schema: "admissionregistration.v1.ValidatingAdmissionPolicy",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: Strategy {
        has_status: true,
        allow_unconditional_update: false,
        update_checks: crate::kinds::UpdateChecks::New,
        without_effect: |_| Some(without_effect::POLICIES),
        ..Strategy::DEFAULT
    },
    stored_as: None,
    storage_version: None,
};
