//! What is looked at once types fit: literals that can never work, and lists of this and that.
//!
//! Follows upstream's `vendor/github.com/google/cel-go/cel/validator.go` and the validator of formats in `ext/formatting.go`.

use super::{Checked, Reference};
use crate::ast::{Ast, Entry, Expr, Id, Kind, Literal};
use crate::error::EvalError;
use crate::library::{Clause, clauses};
use crate::regex::Pattern;
use crate::source::Issues;
use crate::types::Type;
use crate::value::{Value, convert};
use std::cell::Cell;

pub fn validate(ast: &Ast, checked: &Checked, issues: &mut Issues) {
    let mut validator = Validator {
        ast,
        checked,
        issues,
    };
    validator.node(&ast.root, false);
}

struct Validator<'a> {
    ast: &'a Ast,
    checked: &'a Checked,
    issues: &'a mut Issues,
}

/// A format that does not fit, and the node at which that is told.
struct Misfit {
    at: Option<Id>,
    error: EvalError,
}

impl From<EvalError> for Misfit {
    fn from(error: EvalError) -> Misfit {
        Misfit { at: None, error }
    }
}

impl Validator<'_> {
    fn fault(&mut self, id: Id, message: impl Into<String>) {
        self.issues.push(self.ast.position(id), message);
    }

    /// `formatted`: whether it stands in the arguments of `format`, which takes this and that.
    fn node(&mut self, expr: &Expr, formatted: bool) {
        let mut below = formatted;
        match &expr.kind {
            Kind::Call {
                target,
                function,
                args,
            } => {
                below |= function == "format";
                self.call(function, args);
                if function == "format" {
                    self.format(expr, target.as_deref(), args);
                }
            }
            Kind::List { elements, optional } if !formatted => self.list(elements, optional),
            Kind::Map(entries) if !formatted => self.map(entries),
            _ => {}
        }
        for child in expr.children() {
            self.node(child, below);
        }
    }

    /// Calls whose first argument is a literal that cannot be read.
    fn call(&mut self, function: &str, args: &[Expr]) {
        let Some(first) = args.first() else {
            return;
        };
        let Kind::Literal(literal) = &first.kind else {
            return;
        };
        let value = convert::literal(literal);
        let fits = match (function, &value) {
            ("duration", value) => convert::to_duration(value).is_ok(),
            ("timestamp", value) => convert::to_timestamp(value).is_ok(),
            ("matches", Value::String(text)) => Pattern::new(text).is_ok(),
            _ => true,
        };
        if !fits {
            self.fault(first.id, format!("invalid {function} argument"));
        }
    }

    fn mismatch(&mut self, id: Id, expected: &Type, found: &Type) {
        self.fault(
            id,
            format!("expected type '{expected}' but found '{found}'"),
        );
    }

    fn ty(&self, expr: &Expr, optional: bool) -> Type {
        let ty = self.checked.ty(expr);
        match ty.optional_of() {
            Some(of) if optional => of.clone(),
            _ => ty.clone(),
        }
    }

    fn list(&mut self, elements: &[Expr], optional: &[bool]) {
        let mut expected: Option<Type> = None;
        for (i, element) in elements.iter().enumerate() {
            let optional = optional.get(i).copied().unwrap_or(false);
            let ty = self.ty(element, optional);
            match &expected {
                None => expected = Some(ty),
                Some(expected) if *expected == ty => {}
                Some(expected) => {
                    let expected = expected.clone();
                    return self.mismatch(element.id, &expected, &ty);
                }
            }
        }
    }

    fn map(&mut self, entries: &[Entry]) {
        let mut expected: Option<(Type, Type)> = None;
        for entry in entries {
            let key = self.ty(&entry.key, false);
            let value = self.ty(&entry.value, entry.optional);
            let Some((wanted_key, wanted_value)) = &expected else {
                expected = Some((key, value));
                continue;
            };
            let (wanted_key, wanted_value) = (wanted_key.clone(), wanted_value.clone());
            if wanted_key != key {
                self.mismatch(entry.key.id, &wanted_key, &key);
            }
            if wanted_value != value {
                self.mismatch(entry.value.id, &wanted_value, &value);
            }
        }
    }

    /// A format that is a literal, with a list of arguments that is one.
    fn format(&mut self, expr: &Expr, target: Option<&Expr>, args: &[Expr]) {
        let Some(Kind::Literal(Literal::String(format))) = target.map(|t| &t.kind) else {
            return;
        };
        let [
            Expr {
                kind: Kind::List { elements, .. },
                ..
            },
        ] = args
        else {
            return;
        };
        if !matches!(self.checked.reference(expr), Reference::Call { .. }) {
            return;
        }
        let seen = Cell::new(0);
        let result = clauses::<Misfit>(
            format,
            elements.len(),
            |_| {},
            |_| {
                seen.set(seen.get() + 1);
                Ok(())
            },
            |index, clause| match self.refused(clause, &elements[index]) {
                None => Ok(()),
                Some(bad) => {
                    let why = clause.refusal(self.checked.ty(bad).name());
                    Err(Misfit {
                        at: Some(bad.id),
                        error: EvalError::new(format!("error during formatting: {why}")),
                    })
                }
            },
        );
        match result {
            Err(misfit) => self.fault(misfit.at.unwrap_or(expr.id), misfit.error.to_string()),
            Ok(()) if elements.len() > seen.get() => {
                let (wanted, found) = (seen.get(), elements.len());
                self.fault(
                    expr.id,
                    format!(
                        "too many arguments supplied to string.format (expected {wanted}, got {found})"
                    ),
                );
            }
            Ok(()) => {}
        }
    }

    /// The argument, or the part of it, that a clause does not take.
    fn refused<'e>(&self, clause: Clause, arg: &'e Expr) -> Option<&'e Expr> {
        let ty = self.checked.ty(arg);
        let takes = match clause {
            _ if *ty == Type::Dyn => true,
            Clause::String => !matches!(
                ty,
                Type::Object(_) | Type::Opaque(_) | Type::Any | Type::Error
            ),
            Clause::Decimal | Clause::Octal => matches!(ty, Type::Int | Type::Uint),
            Clause::Fixed(_) | Clause::Scientific(_) => {
                matches!(ty, Type::Double | Type::String)
            }
            Clause::Binary => matches!(ty, Type::Int | Type::Uint | Type::Bool),
            Clause::Hex { .. } => {
                matches!(ty, Type::Int | Type::Uint | Type::String | Type::Bytes)
            }
        };
        if !takes {
            return Some(arg);
        }
        match (&arg.kind, clause) {
            (Kind::List { .. } | Kind::Map(_), Clause::String) => arg
                .children()
                .into_iter()
                .find_map(|part| self.refused(clause, part)),
            _ => None,
        }
    }
}
