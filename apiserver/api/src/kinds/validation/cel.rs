//! Expressions in CEL, as several kinds have them.
//!
//! Invariant: what is wrong with an expression is told in upstream's words.
//! Follows `pkg/apis/admissionregistration/validation/validation.go` and `validateCELSelector` of `pkg/apis/resource/validation/validation.go`.

use crate::kinds::prelude::*;
use crate::machinery::cel::{Compiled, admission::Fault, devices, escape::is_reserved};

/// The longest expression that selects devices, in bytes.
const LONGEST_SELECTOR: usize = 10 * 1024;

/// What is wrong with an expression of admission that was compiled; `shown` is the text that the mistake is told of.
pub fn compiled(of: Result<Compiled, Fault>, shown: &str, path: &Path, errors: &mut Errors) {
    match of {
        Ok(_) => {}
        Err(fault @ Fault::Uninstantiated(_)) => errors.internal(path, fault.to_string()),
        Err(fault) => errors.invalid(path, shown, fault.to_string()),
    }
}

/// The same for one that must be there: where it is not, `missing` is said and `compile` not called.
pub fn needed(
    expression: &str,
    missing: &str,
    path: &Path,
    errors: &mut Errors,
    compile: impl FnOnce() -> Result<Compiled, Fault>,
) {
    match is_blank(expression) {
        true => errors.required(path, missing),
        false => compiled(compile(), expression, path, errors),
    }
}

/// An expression that selects devices.
pub fn selector(expression: &str, path: &Path, errors: &mut Errors) {
    if expression.len() > LONGEST_SELECTOR {
        return errors.too_long(path, LONGEST_SELECTOR as i64);
    }
    match devices::compile(expression) {
        Ok(_) => {}
        Err(fault @ devices::Fault::Uninstantiated(_)) => errors.internal(path, fault.to_string()),
        Err(fault @ devices::Fault::Costly) => errors.forbidden(path, fault.to_string()),
        Err(fault) => errors.invalid(path, expression, fault.to_string()),
    }
}

/// Nothing but blanks.
pub fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// A name that expressions can refer to.
pub fn is_identifier(name: &str) -> bool {
    names::is_c_identifier(name).is_empty() && !is_reserved(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_no_compiler() {
        for (name, good) in [
            ("a", true),
            ("_a1", true),
            ("1a", false),
            ("", false),
            ("a-b", false),
            ("in", false),
            ("namespace", false),
        ] {
            assert_eq!(is_identifier(name), good, "{name}");
        }
        let mut errors = Errors::default();
        let path = Path::new("e");
        let none = || panic!("nothing is compiled");
        needed(
            " \n",
            "expression is not specified",
            &path,
            &mut errors,
            none,
        );
        selector("true", &path, &mut errors);
        selector(&"x".repeat(LONGEST_SELECTOR + 1), &path, &mut errors);
        assert_eq!(
            errors.message(),
            "[e: Required value: expression is not specified, e: Too long: may not be more than 10240 bytes]"
        );
    }
}
