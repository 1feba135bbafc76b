//! PriorityLevelConfiguration: its row.

mod columns;
mod validation;

use crate::kinds::{Generation, Row, Strategy, Subresource, Verbs, without_effect};

pub const KIND: Row = Row {
    group: "flowcontrol.apiserver.k8s.io",
    version: "v1",
    kind: "PriorityLevelConfiguration",
    plural: "prioritylevelconfigurations",
    singular: "prioritylevelconfiguration",
    short_names: &[],
    categories: &[],
    namespaced: false,
    verbs: Verbs::All,
    subresources: &[Subresource::Status],
    schema: "flowcontrol.v1.PriorityLevelConfiguration",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: Strategy {
        defaults: validation::defaults,
        validate: validation::validate,
        validate_update: |new, _| validation::validate(new),
        generation: Generation::Counted,
        has_status: true,
        update_checks: crate::kinds::UpdateChecks::New,
        without_effect: |_| Some(without_effect::FAIRNESS),
        ..Strategy::DEFAULT
    },
    stored_as: None,
    storage_version: None,
};
