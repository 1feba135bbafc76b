//! Which taints a pod tolerates.
//!
//! Invariant: pure. Follows k8s.io/component-helpers/scheduling/corev1 and staging/src/k8s.io/api/core/v1/toleration.go.

use k8s_openapi::api::core::v1::{Taint, Toleration};

/// Whether one toleration covers one taint.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let empty = |text: &Option<String>| text.as_deref().is_none_or(str::is_empty);
    if !empty(&toleration.effect) && toleration.effect.as_ref() != Some(&taint.effect) {
        return false;
    }
    if !empty(&toleration.key) && toleration.key.as_ref() != Some(&taint.key) {
        return false;
    }
    let (wants, has) = (toleration.value.as_deref().unwrap_or(""), taint.value.as_deref().unwrap_or(""));
    match toleration.operator.as_deref().unwrap_or("Equal") {
        "Exists" => true,
        "Equal" | "" => wants == has,
        // numbers are compared only where both are numbers
        operator @ ("Lt" | "Gt") => match (has.parse::<i64>(), wants.parse::<i64>()) {
            (Ok(has), Ok(wants)) => (operator == "Lt" && has < wants) || (operator == "Gt" && has > wants),
            _ => false,
        },
        _ => false,
    }
}

/// Whether all taints with one of these effects are tolerated.
pub fn tolerates_all(tolerations: &[Toleration], taints: &[Taint], effects: &[&str]) -> bool {
    taints.iter().filter(|taint| effects.contains(&taint.effect.as_str())).all(|taint| tolerations.iter().any(|t| tolerates(t, taint)))
}
