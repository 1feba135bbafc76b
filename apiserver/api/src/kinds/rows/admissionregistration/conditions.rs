//! `matchConditions`: what must be true of a request for a webhook or policy to be asked.
//!
//! Follows `validateMatchConditions` of `pkg/apis/admissionregistration/validation/validation.go`.

use crate::kinds::prelude::*;
use crate::kinds::validation::cel;
use crate::kinds::validation::checks::qualified_name;
use crate::machinery::cel::admission::{Compiler, Gives};

const MOST: usize = 64;

/// `params`: there is a kind of parameters, which conditions may look at.
pub fn validate(owner: &Value, params: bool, path: &Path, errors: &mut Errors) {
    let compiler = Compiler::new(params);
    let (conditions, path) = (owner.list("matchConditions"), path.child("matchConditions"));
    if conditions.len() > MOST {
        errors.too_many(&path, conditions.len() as i64, MOST as i64);
    }
    for (index, condition) in conditions.iter().enumerate() {
        let path = path.index(index);
        let (name, at) = (condition.text("name"), path.child("name"));
        let (expression, at_expression) = (
            condition.text("expression").trim(),
            path.child("expression"),
        );
        cel::needed(expression, "", &at_expression, errors, || {
            compiler.compile(expression, Gives::Bool)
        });
        if name.is_empty() {
            errors.required(&at, "");
            continue;
        }
        qualified_name(name, &at, errors);
        if conditions[..index]
            .iter()
            .any(|before| before.text("name") == name)
        {
            errors.duplicate(&at, name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_have_names() {
        let one = |name: &str, expression: &str| json!({"name": name, "expression": expression});
        for (conditions, said) in [
            (json!([one("a", "true")]), "[]"),
            (
                json!([one("a", "true"), one("a", "true")]),
                "c.matchConditions[1].name: Duplicate value: \"a\"",
            ),
            (
                json!([one("a", " object.x ")]),
                "c.matchConditions[0].expression: Invalid value: \"object.x\": must evaluate to bool but got dyn",
            ),
            (
                json!([one("", " ")]),
                "[c.matchConditions[0].expression: Required value, c.matchConditions[0].name: Required value]",
            ),
        ] {
            let mut errors = Errors::default();
            validate(
                &json!({"matchConditions": conditions}),
                false,
                &Path::new("c"),
                &mut errors,
            );
            assert_eq!(errors.message(), said);
        }
        let many: Vec<Value> = (0..65).map(|n| one(&format!("n{n}"), "true")).collect();
        let mut errors = Errors::default();
        validate(
            &json!({"matchConditions": many}),
            false,
            &Path::new("c"),
            &mut errors,
        );
        assert_eq!(
            errors.message(),
            "c.matchConditions: Too many: 65: must have at most 64 items"
        );
    }
}
