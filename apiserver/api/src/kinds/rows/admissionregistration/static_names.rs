//! Names that are kept for configurations of the server's own machine.
//!
//! Follows `WarningsForStaticSuffix` of `pkg/apis/admissionregistration/validation/static_suffix.go`.

use crate::kinds::prelude::*;

const SUFFIX: &str = ".static.k8s.io";

pub fn warnings(new: &Value, _old: Option<&Value>) -> Warnings {
    let said = || {
        format!(
            "metadata.name: names ending with {SUFFIX:?} are reserved for static manifest-based configurations and cannot be managed via the API"
        )
    };
    new.name()
        .ends_with(SUFFIX)
        .then(said)
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_kept() {
        assert!(warnings(&json!({"metadata": {"name": "a.k8s.io"}}), None).is_empty());
        assert_eq!(
            warnings(&json!({"metadata": {"name": "a.static.k8s.io"}}), None),
            [
                "metadata.name: names ending with \".static.k8s.io\" are reserved for static manifest-based configurations and cannot be managed via the API"
            ]
        );
    }
}
