//! ValidatingWebhookConfigurations: who judges requests.
//!
//! Follows `pkg/registry/admissionregistration/validatingwebhookconfiguration/strategy.go`.

use crate::kinds::{
    Generation, Strategy, UpdateChecks,
    rows::admissionregistration::{static_names, webhooks},
    without_effect,
};

pub const STRATEGY: Strategy = Strategy {
    defaults: webhooks::defaults,
    validate: |configuration| webhooks::validate(configuration, None),
    validate_update: |new, old| webhooks::validate(new, Some(old)),
    warnings: static_names::warnings,
    generation: Generation::Counted,
    any_finalizers: true,
    allow_unconditional_update: false,
    update_checks: UpdateChecks::New,
    without_effect: |_| Some(without_effect::WEBHOOKS),
    ..Strategy::DEFAULT
};
