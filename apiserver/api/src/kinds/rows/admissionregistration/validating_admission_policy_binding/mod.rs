//! ValidatingAdmissionPolicyBinding: its row.

mod columns;

use crate::kinds::{Kind, Strategy, Verbs};

pub const KIND: Kind = Kind {
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
        without_effect: |_| Some("this server evaluates no admission policies: the object is stored, and nothing is refused or changed by it"),
        ..Strategy::DEFAULT
    },
    stored_as: None,
    storage_version: None,
};
