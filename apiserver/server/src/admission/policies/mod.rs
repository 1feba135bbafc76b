//! ValidatingAdmissionPolicy and MutatingAdmissionPolicy: expressions in the cluster's own objects judge and change what is written.
//!
//! Invariant: a policy acts from the moment in which it and a binding of it are stored; each is compiled once. Policies are no part of what they judge:
//! those of admission itself are exempt. Without a binding a write costs one look at what changed.
//! Follows `staging/src/k8s.io/apiserver/pkg/admission/plugin/policy/{generic,validating,mutating}`.
//!
//! `known` keeps what is stored, compiled; `policy` is a policy and its bindings; `invocation` says which of them a write meets, with which parameters;
//! `validating` and `mutating` are the two plugins; `change` makes of an expression's value another object.

mod change;
mod invocation;
mod known;
mod mutating;
mod policy;
mod validating;

pub use self::{mutating::MutatingAdmissionPolicy, validating::ValidatingAdmissionPolicy};
