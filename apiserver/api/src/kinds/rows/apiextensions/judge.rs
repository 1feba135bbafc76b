//! Rules of a schema, compiled: whether they are expressions of the right type, and what they may cost.
//!
//! Invariant: rules are judged only where nothing else is wrong with the schema at their place or below.
//! Follows `pkg/apis/apiextensions/validation/validation.go` and `pkg/apiserver/schema/cel/compilation.go` of apiextensions-apiserver.

use std::sync::Arc;

use super::{
    cost::{EACH, Total, exceeds},
    options::Options,
    rules::RULES,
    scope::Scope,
};
use crate::kinds::prelude::*;
use crate::machinery::cel::{self, Compiled, Declared, Env, Type};

/// Judges the rules of one schema, and adds up what they cost.
pub struct Judge<'o> {
    options: &'o Options,
    errors: Errors,
    total: Total,
}

/// What rules at one place may ask for.
struct Place<'p> {
    env: Env,
    /// The same where what was there before may be absent.
    optional: Env,
    /// How many values there may be.
    most: u64,
    /// From where on nothing can be told to be what something old was.
    uncorrelated: Option<&'p Path<'p>>,
}

impl<'p> Place<'p> {
    fn new(declared: &Arc<Declared>, most: u64, uncorrelated: Option<&'p Path<'p>>) -> Place<'p> {
        let base = || cel::env().extend().declared("self", declared);
        Place {
            env: base().declared("oldSelf", declared).build(),
            optional: base().optional("oldSelf", declared).build(),
            most,
            uncorrelated,
        }
    }

    fn env(&self, rule: &Value) -> &Env {
        if rule.flag("optionalOldSelf") {
            &self.optional
        } else {
            &self.env
        }
    }
}

/// What compiling an expression finds.
enum Found {
    Good(Compiled),
    Bad(String),
}

fn compiled(env: &Env, text: &str, wanted: &Type) -> Found {
    let message = *wanted == Type::String;
    let lead = if message { "messageExpression " } else { "" };
    let compiled = match env.compile(text) {
        Ok(compiled) => compiled,
        Err(issues) => return Found::Bad(format!("{lead}compilation failed: {issues}")),
    };
    if compiled.output_type() != wanted {
        let said = if message {
            "messageExpression must evaluate to a string"
        } else {
            "cel expression must evaluate to a bool"
        };
        return Found::Bad(said.into());
    }
    match compiled.instantiated() {
        Ok(()) => Found::Good(compiled),
        Err(why) if message => Found::Bad(format!("messageExpression instantiation failed: {why}")),
        Err(why) => Found::Bad(format!("program instantiation failed: {why}")),
    }
}

impl<'o> Judge<'o> {
    pub fn new(options: &'o Options) -> Judge<'o> {
        Judge {
            options,
            errors: Errors::default(),
            total: Total::default(),
        }
    }

    /// The rules that stand at `path`.
    pub fn rules(
        &mut self,
        schema: &Value,
        scope: &Scope,
        uncorrelated: Option<&Path>,
        path: &Path,
    ) {
        let rules = schema.list(RULES);
        if rules.is_empty() {
            return;
        }
        let at = path.child(RULES);
        let Some(declared) = scope.declared() else {
            return self.errors.internal(&at, "internal error: failed to construct type information for x-kubernetes-validations rules: unable to convert structural schema to CEL declarations");
        };
        let place = Place::new(declared, scope.most(declared), uncorrelated);
        for (index, rule) in rules.iter().enumerate() {
            self.rule(rule, &place, &at.index(index));
        }
    }

    fn rule(&mut self, rule: &Value, place: &Place, path: &Path) {
        let at = path.child("rule");
        let env = place.env(rule);
        let found = compiled(env, rule.text("rule"), &Type::Bool);
        let uses_old = match &found {
            Found::Good(compiled) => {
                let cost = compiled.cost_estimate().max.saturating_mul(place.most);
                self.cost(cost, "estimated rule cost", &at);
                self.message(rule, env, &path.child("messageExpression"));
                compiled.uses("oldSelf")
            }
            Found::Bad(said) => {
                self.invalid(rule, said, &at);
                false
            }
        };
        if uses_old {
            if let Some(above) = place.uncorrelated {
                self.errors.invalid(
                    &at,
                    rule.text("rule"),
                    format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {above}"),
                );
            }
        } else if let Some(optional) = rule.flag_ptr("optionalOldSelf") {
            self.errors.invalid(
                &path.child("optionalOldSelf"),
                optional,
                "may not be set if oldSelf is not used in rule",
            );
        }
    }

    fn message(&mut self, rule: &Value, env: &Env, path: &Path) {
        let text = rule.text("messageExpression");
        if text.is_empty() {
            return;
        }
        match compiled(env, text, &Type::String) {
            Found::Good(compiled) => {
                let cost = compiled.cost_estimate().max;
                self.cost(cost, "estimated messageExpression cost", path);
            }
            Found::Bad(said) => self.invalid(rule, &said, path),
        }
    }

    fn cost(&mut self, cost: u64, name: &str, path: &Path) {
        if cost > EACH && !self.options.any_cost {
            self.errors.forbidden(path, exceeds(name, cost, EACH));
        }
        self.total.add(cost, path);
    }

    fn invalid(&mut self, rule: &Value, said: &str, path: &Path) {
        let shown = internal::json(rule, "apiextensions.ValidationRule");
        checks::invalid_shown(&shown, said, path, &mut self.errors);
    }

    /// All that was found. `path` is that of the schema.
    pub fn finish(self, path: &Path, errors: &mut Errors) {
        errors.extend(self.errors);
        self.total.tell(path, errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(schema: Value, uncorrelated: bool) -> Vec<String> {
        let options = Options::of_new();
        let mut judge = Judge::new(&options);
        let above = Path::new("above");
        let path = Path::new("s");
        judge.rules(
            &schema,
            &Scope::root(&schema),
            uncorrelated.then_some(&above),
            &path,
        );
        Errors::of(|errors| judge.finish(&path, errors)).texts()
    }

    #[test]
    fn what_rules_may_be() {
        let rule = |rule: &str| json!({"rule": rule});
        let at = "s.x-kubernetes-validations[0]";
        let shown = |rule: &str, more: &str| {
            format!(
                r#"Invalid value: {{"Rule":{rule:?},"Message":"","MessageExpression":"{more}","Reason":null,"FieldPath":"","OptionalOldSelf":null}}"#
            )
        };
        for (given, wanted) in [
            (rule("self.a == 'b'"), vec![]),
            (rule("self.a == oldSelf.a"), vec![]),
            (
                rule("self.a"),
                vec![format!(
                    "{at}.rule: {}: cel expression must evaluate to a bool",
                    shown("self.a", "")
                )],
            ),
            (
                rule("self.b"),
                vec![format!(
                    "{at}.rule: {}: compilation failed: ERROR: <input>:1:5: undefined field 'b'\n | self.b\n | ....^",
                    shown("self.b", "")
                )],
            ),
            (
                json!({"rule": "true", "messageExpression": "1"}),
                vec![format!(
                    "{at}.messageExpression: {}: messageExpression must evaluate to a string",
                    shown("true", "1")
                )],
            ),
            (
                json!({"rule": "true", "optionalOldSelf": true}),
                vec![format!(
                    "{at}.optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule"
                )],
            ),
            (
                json!({"rule": "oldSelf.hasValue()", "optionalOldSelf": true}),
                vec![],
            ),
        ] {
            let schema =
                json!({"type": "object", "properties": {"a": {"type": "string"}}, RULES: [given]});
            assert_eq!(said(schema.clone(), false), wanted, "{schema}");
        }
        let schema = json!({"type": "string", RULES: [{"rule": "self == oldSelf"}]});
        assert_eq!(
            said(schema, true),
            [
                "s.x-kubernetes-validations[0].rule: Invalid value: \"self == oldSelf\": oldSelf cannot be used on the uncorrelatable portion of the schema within above"
            ]
        );
    }

    #[test]
    fn what_rules_may_cost() {
        let nested = json!({"type": "array", "items": {"type": "string"}, RULES: [{"rule": "self.all(x, self.all(y, x == y))"}]});
        let texts = said(nested, false);
        assert_eq!(texts.len(), 3, "{texts:?}");
        assert!(
            texts[0].contains("estimated rule cost exceeds budget by factor of more than 100x")
        );
        assert!(texts[1].contains("contributed to estimated rule cost total"));
        assert!(
            texts[2]
                .starts_with("s: Forbidden: x-kubernetes-validations estimated rule cost total")
        );
    }
}
