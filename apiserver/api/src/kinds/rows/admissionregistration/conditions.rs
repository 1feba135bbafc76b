//! `matchConditions`: what must be true of a request for a webhook or policy to be asked.
//!
//! Follows `validateMatchConditions` of `pkg/apis/admissionregistration/validation/validation.go`.

use crate::kinds::prelude::*;
use crate::kinds::validation::cel;
use crate::kinds::validation::checks::qualified_name;

const MOST: usize = 64;

pub fn validate(owner: &Value, path: &Path, errors: &mut Errors) {
    let (conditions, path) = (owner.list("matchConditions"), path.child("matchConditions"));
    if conditions.len() > MOST {
        errors.too_many(&path, conditions.len() as i64, MOST as i64);
    }
    for (index, condition) in conditions.iter().enumerate() {
        let path = path.index(index);
        let (name, at) = (condition.text("name"), path.child("name"));
        cel::required(
            condition.text("expression"),
            "",
            &path.child("expression"),
            errors,
        );
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
                json!([one("", " ")]),
                "[c.matchConditions[0].expression: Required value, c.matchConditions[0].name: Required value]",
            ),
        ] {
            let mut errors = Errors::default();
            validate(
                &json!({"matchConditions": conditions}),
                &Path::new("c"),
                &mut errors,
            );
            assert_eq!(errors.message(), said);
        }
        let many: Vec<Value> = (0..65).map(|n| one(&format!("n{n}"), "true")).collect();
        let mut errors = Errors::default();
        validate(
            &json!({"matchConditions": many}),
            &Path::new("c"),
            &mut errors,
        );
        assert_eq!(
            errors.message(),
            "c.matchConditions: Too many: 65: must have at most 64 items"
        );
    }
}
