//! The one way in which objects are written: admission, what the server sets, validation, managed fields, compare-and-set with retry.
//!
//! Invariant: every object that reaches the store was in canonical form, admitted and valid in the moment of its write.
//! Follows `staging/src/k8s.io/apiserver/pkg/registry/generic/registry/store.go` and `.../registry/rest/{create,update,delete}.go`.

mod call;
mod create;
mod delete;
mod devices;
mod difference;
pub mod managed;
mod params;
mod prepare;
mod steps;
mod update;
mod warnings;

pub use self::{
    call::{Call, Options, Part, Writer, Written},
    create::{create, wipe_system_fields},
    delete::{DeleteOptions, Deleted, delete, preconditions},
    steps::{check_namespace, dedup_sent_owners},
    update::{Seen, Update, update},
    warnings::Warnings,
};
