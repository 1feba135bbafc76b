//! A compiled expression: what it gives, what it uses, what it costs, and its value for given variables.
//!
//! Invariant: a text without faults is compiled even if it cannot be instantiated (a constant pattern that is none): callers tell the two apart as upstream does.

use crate::ast::{Ast, Expr, Kind, Literal, op};
use crate::check::{self, Checked, Reference};
use crate::cost::{self, Range};
use crate::env::Env;
use crate::error::EvalError;
use crate::eval::{self, Activation};
use crate::parse;
use crate::plan::{self, Plan};
use crate::source::Issues;
use crate::types::Type;
use crate::value::Outcome;

/// What one call may cost: about a tenth of a second.
pub const PER_CALL_LIMIT: u64 = 1_000_000;

/// Why a checked expression cannot be evaluated at all: a constant conversion or pattern in it is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InstantiationError(EvalError);

pub struct Compiled {
    env: Env,
    ast: Ast,
    checked: Checked,
    plan: Result<Plan, InstantiationError>,
}

impl std::fmt::Debug for Compiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiled")
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

impl Env {
    /// Parses and checks a text.
    ///
    /// # Errors
    /// All faults that were found, in upstream's words.
    pub fn compile(&self, text: &str) -> Result<Compiled, Issues> {
        compile(self, text)
    }
}

fn compile(env: &Env, text: &str) -> Result<Compiled, Issues> {
    let (mut ast, source) = parse::parse(text, env.bindings())?;
    let mut issues = Issues::new(source);
    let checked = check::check(env, &mut ast, &mut issues);
    if issues.is_empty() {
        check::validate(&ast, &checked, &mut issues);
    }
    if !issues.is_empty() {
        return Err(issues);
    }
    let plan = plan::plan(&ast.root, &checked).map_err(InstantiationError);
    Ok(Compiled {
        env: env.clone(),
        ast,
        checked,
        plan,
    })
}

impl Compiled {
    /// The type of its value.
    pub fn output_type(&self) -> &Type {
        self.checked.ty(&self.ast.root)
    }

    /// Whether it can be evaluated.
    ///
    /// # Errors
    /// What upstream says of a program that cannot be made.
    pub fn instantiated(&self) -> Result<(), &InstantiationError> {
        self.plan.as_ref().map(|_| ())
    }

    /// Whether it asks for a variable of its environment.
    pub fn uses(&self, variable: &str) -> bool {
        self.uses_in(&self.ast.root, variable)
    }

    fn uses_in(&self, expr: &Expr, variable: &str) -> bool {
        let own = matches!(&expr.kind, Kind::Ident(name) if name == variable)
            && matches!(self.checked.reference(expr), Reference::Variable);
        own || expr
            .children()
            .into_iter()
            .any(|child| self.uses_in(child, variable))
    }

    /// Whether it asks a variable for a field by its name: `a.b`, `has(a.b)` or `a.?b`.
    pub fn selects(&self, variable: &str, field: &str) -> bool {
        selects(&self.ast.root, variable, field)
    }

    /// What it costs, by what is declared of the sizes of its variables.
    pub fn cost_estimate(&self) -> Range {
        cost::estimate(&self.env, &self.checked, &self.ast.root)
    }

    /// Its value, and what it cost. `limit` is the most that it may cost, usually [`PER_CALL_LIMIT`].
    pub fn evaluate<'a>(&'a self, activation: &Activation<'a>, limit: u64) -> (Outcome<'a>, u64) {
        match &self.plan {
            Ok(plan) => eval::run(plan, activation, limit),
            Err(InstantiationError(error)) => (Err(error.clone()), 0),
        }
    }
}

fn selects(expr: &Expr, variable: &str, field: &str) -> bool {
    let is_variable =
        |expr: &Expr| matches!(&expr.kind, Kind::Ident(name) if name.as_ref() == variable);
    let own = match &expr.kind {
        Kind::Select {
            operand,
            field: asked,
            ..
        } => &**asked == field && is_variable(operand),
        Kind::Call {
            target: None,
            function,
            args,
        } if function == op::OPT_SELECT => {
            matches!(args.as_slice(), [operand, name] if is_variable(operand)
                && matches!(&name.kind, Kind::Literal(Literal::String(asked)) if &**asked == field))
        }
        _ => false,
    };
    own || expr
        .children()
        .into_iter()
        .any(|child| selects(child, variable, field))
}

impl<'a> Activation<'a> {
    /// A field of [`crate::Value::Lazy`]: evaluated when it is asked for, once, at a cost of its own. `of` may be why it is no expression.
    pub fn set_lazy(&mut self, name: &'a str, of: Result<&'a Compiled, &'a str>) {
        let plan = match of {
            Ok(compiled) => compiled.plan.as_ref().map_err(ToString::to_string),
            Err(why) => Err(why.to_owned()),
        };
        self.set_lazy_plan(name, plan, PER_CALL_LIMIT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declared::Declared;
    use crate::value::{Value, from_json_as};
    use serde_json::json;

    #[test]
    fn fields_that_are_asked_for() {
        let env = Env::kubernetes()
            .extend()
            .variable("claims", Type::map(Type::String, Type::Any))
            .build();
        for (text, asks) in [
            ("claims.email", true),
            ("has(claims.email)", true),
            ("claims.?email.orValue('') + 'x'", true),
            ("claims.groups.exists(g, claims.email == g)", true),
            ("claims['email']", false),
            ("claims.a.email", false),
            ("claims.mail", false),
        ] {
            let compiled = env.compile(text).unwrap();
            assert_eq!(compiled.selects("claims", "email"), asks, "{text}");
        }
    }

    #[test]
    fn data_as_go_reads_it_without_a_type() {
        let of = Declared::untyped(Type::map(Type::String, Type::Any));
        let data = json!({"n": 2, "a.b": [{"c/d": "x"}], "null": null, "a__b": "y"});
        let env = Env::kubernetes()
            .extend()
            .variable("claims", Type::map(Type::String, Type::Any))
            .build();
        for text in [
            "claims.n == 2 && claims.n == 2.0 && type(claims.n) == double",
            "claims.a__dot__b[0].c__slash__d == 'x' && claims['a.b'][0]['c/d'] == 'x'",
            "claims.a__underscores__b == 'y' && has(claims.a__dot__b)",
            "claims.__null__ == null && !has(claims.nosuch)",
            "claims.all(key, key in ['n', 'a.b', 'null', 'a__b'])",
        ] {
            let compiled = env.compile(text).unwrap();
            let value = from_json_as(&data, &of).unwrap();
            let activation = Activation::new().with("claims", value);
            let (outcome, _) = compiled.evaluate(&activation, PER_CALL_LIMIT);
            assert_eq!(
                outcome.map(|value: Value<'_>| value.as_bool()),
                Ok(Some(true)),
                "{text}"
            );
        }
    }
}
