//! ValidatingAdmissionPolicyBinding: its row.

mod columns;

use crate::kinds::{Row, Strategy, Verbs, without_effect};

pub const KIND: Row = Row {
    group: "admissionregistration.k8s.io",
    version: "v1",
    kind: "ValidatingAdmissionPolicyBinding",
    plural: "validatingadmissionpolicybindings",
    singular: "validatingadmissionpolicybinding",
    short_names: &[],
    categories: &["api-extensions"],
    namespaced: false,
    verbs: Verbs::All,
    subresources: &[],
    schema: "admissionregistration.v1.ValidatingAdmissionPolicyBinding",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: Strategy {
        allow_unconditional_update: false,
        update_checks: crate::kinds::UpdateChecks::New,
        without_effect: |_| Some(without_effect::POLICIES),
        ..Strategy::DEFAULT
    },
    stored_as: None,
    storage_version: None,
};
