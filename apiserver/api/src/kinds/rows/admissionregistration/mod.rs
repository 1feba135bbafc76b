//! The kinds of the group `admissionregistration`, and what they have in common.

mod conditions;
pub mod mutating_admission_policy;
pub mod mutating_admission_policy_binding;
pub mod mutating_webhook_configuration;
mod policies;
mod rules;
mod static_names;
pub mod validating_admission_policy;
pub mod validating_admission_policy_binding;
pub mod validating_webhook_configuration;
mod webhooks;

use crate::kinds::{Generation, Strategy, UpdateChecks};

/// What all of them do alike.
const COMMON: Strategy = Strategy {
    warnings: static_names::warnings,
    generation: Generation::Counted,
    any_finalizers: true,
    allow_unconditional_update: false,
    update_checks: UpdateChecks::New,
    ..Strategy::DEFAULT
};
