//! Whether a value of one type may stand where another is wanted, and what unknown types become by it.
//!
//! Invariant: what a failed attempt found out is forgotten. Follows upstream's `vendor/github.com/google/cel-go/checker/types.go`.

use crate::types::{OpaqueType, Type};
use std::sync::Arc;

/// What is known of the types that were unknown.
#[derive(Default)]
pub struct Substitutions {
    known: Vec<Option<Type>>,
    /// What was there before each change.
    changes: Vec<(u32, Option<Type>)>,
}

impl Substitutions {
    /// A type that is not known yet.
    pub fn fresh(&mut self) -> Type {
        self.known.push(None);
        Type::Var(self.known.len() as u32 - 1)
    }

    fn find(&self, ty: &Type) -> Option<&Type> {
        match ty {
            Type::Var(number) => self.known[*number as usize].as_ref(),
            _ => None,
        }
    }

    fn set(&mut self, ty: &Type, to: Type) {
        if let Type::Var(number) = ty {
            let before = self.known[*number as usize].replace(to);
            self.changes.push((*number, before));
        }
    }

    fn attempt(&mut self, attempt: impl FnOnce(&mut Self) -> bool) -> bool {
        let mark = self.changes.len();
        if attempt(self) {
            return true;
        }
        while self.changes.len() > mark {
            if let Some((number, before)) = self.changes.pop() {
                self.known[number as usize] = before;
            }
        }
        false
    }

    pub fn assignable(&mut self, from: &Type, to: &Type) -> bool {
        self.attempt(|s| s.fits(from, to))
    }

    pub fn all_assignable(&mut self, from: &[Type], to: &[Type]) -> bool {
        from.len() == to.len()
            && self.attempt(|s| from.iter().zip(to).all(|(from, to)| s.fits(from, to)))
    }

    fn fits(&mut self, from: &Type, to: &Type) -> bool {
        if matches!(to, Type::Var(_)) {
            let (valid, known) = self.substitutes(from, to);
            if valid || known {
                return valid;
            }
        }
        if matches!(from, Type::Var(_)) {
            return self.substitutes(to, from).0;
        }
        if from.is_dyn_or_error() || to.is_dyn_or_error() {
            return true;
        }
        match (from, to) {
            (Type::Null, other) | (other, Type::Null) => matches!(
                other,
                Type::Null | Type::Opaque(_) | Type::Object(_) | Type::Duration | Type::Timestamp
            ),
            (Type::Type(_), Type::Type(_)) => true,
            (Type::List(a), Type::List(b)) => self.fits(a, b),
            (Type::Map(a), Type::Map(b)) => self.fits(&a.0, &b.0) && self.fits(&a.1, &b.1),
            (Type::Opaque(a), Type::Opaque(b)) => {
                a.name == b.name
                    && a.params.len() == b.params.len()
                    && a.params.iter().zip(&b.params).all(|(a, b)| self.fits(a, b))
            }
            _ => from == to,
        }
    }

    /// Whether `var` can stand for `ty`, and whether something was known of it.
    fn substitutes(&mut self, ty: &Type, var: &Type) -> (bool, bool) {
        if ty == var {
            return (true, true);
        }
        if let Some(known) = self.find(var).cloned() {
            if *ty == known {
                return (true, true);
            }
            if self.fits(ty, &known) {
                let general = most_general(ty, &known);
                if self.absent(var, &general) {
                    self.set(var, general);
                }
                return (true, true);
            }
            return (false, true);
        }
        if self.absent(var, ty) {
            self.set(var, ty.clone());
            return (true, false);
        }
        (false, false)
    }

    /// Whether a type does not occur in another.
    fn absent(&self, ty: &Type, within: &Type) -> bool {
        if ty == within {
            return false;
        }
        match within {
            Type::Var(_) => self.find(within).is_none_or(|known| self.absent(ty, known)),
            Type::List(of) | Type::Type(Some(of)) => self.absent(ty, of),
            Type::Map(of) => self.absent(ty, &of.0) && self.absent(ty, &of.1),
            Type::Opaque(opaque) => opaque.params.iter().all(|of| self.absent(ty, of)),
            _ => true,
        }
    }

    /// The type with all that is known put in; what is not known becomes `dyn` if asked.
    pub fn apply(&self, ty: &Type, unknown_is_dyn: bool) -> Type {
        match ty {
            Type::Var(_) => match self.find(ty) {
                Some(known) => self.apply(known, unknown_is_dyn),
                None if unknown_is_dyn => Type::Dyn,
                None => ty.clone(),
            },
            Type::List(of) if open(of) => Type::list(self.apply(of, unknown_is_dyn)),
            Type::Map(of) if open(&of.0) || open(&of.1) => Type::map(
                self.apply(&of.0, unknown_is_dyn),
                self.apply(&of.1, unknown_is_dyn),
            ),
            Type::Type(Some(of)) if open(of) => Type::type_of(self.apply(of, unknown_is_dyn)),
            Type::Opaque(opaque) if opaque.params.iter().any(open) => {
                let params = opaque.params.iter();
                Type::Opaque(Arc::new(OpaqueType {
                    name: opaque.name,
                    params: params.map(|of| self.apply(of, unknown_is_dyn)).collect(),
                }))
            }
            _ => ty.clone(),
        }
    }
}

/// Whether something in a type is not known.
fn open(ty: &Type) -> bool {
    match ty {
        Type::Var(_) | Type::Param(_) => true,
        Type::List(of) | Type::Type(Some(of)) => open(of),
        Type::Map(of) => open(&of.0) || open(&of.1),
        Type::Opaque(opaque) => opaque.params.iter().any(open),
        _ => false,
    }
}

/// Puts fresh types for the parameters of a declaration; `names` remembers which.
pub fn instantiate(
    ty: &Type,
    names: &mut Vec<(&'static str, Type)>,
    fresh: &mut Substitutions,
) -> Type {
    let mut inner = |ty: &Type| instantiate(ty, names, fresh);
    match ty {
        Type::List(of) if open(of) => Type::list(inner(of)),
        Type::Map(of) if open(ty) => Type::map(inner(&of.0), inner(&of.1)),
        Type::Type(Some(of)) if open(of) => Type::type_of(inner(of)),
        Type::Opaque(opaque) if open(ty) => {
            Type::opaque(opaque.name, opaque.params.iter().map(inner).collect())
        }
        Type::Param(name) => match names.iter().find(|(known, _)| known == name) {
            Some((_, ty)) => ty.clone(),
            None => {
                let ty = fresh.fresh();
                names.push((name, ty.clone()));
                ty
            }
        },
        _ => ty.clone(),
    }
}

/// Of two types that fit each other the one that says less.
pub fn most_general(a: &Type, b: &Type) -> Type {
    if less_specific(a, b) {
        a.clone()
    } else {
        b.clone()
    }
}

fn less_specific(a: &Type, b: &Type) -> bool {
    if a.is_dyn() || matches!(a, Type::Var(_)) {
        return true;
    }
    if b.is_dyn() || matches!(b, Type::Var(_)) {
        return false;
    }
    match (a, b) {
        (Type::List(a), Type::List(b)) => less_specific(a, b),
        (Type::Map(a), Type::Map(b)) => less_specific(&a.0, &b.0) && less_specific(&a.1, &b.1),
        (Type::Type(_), Type::Type(_)) => true,
        (Type::Opaque(a), Type::Opaque(b)) => {
            a.name == b.name
                && a.params.len() == b.params.len()
                && a.params
                    .iter()
                    .zip(&b.params)
                    .all(|(a, b)| less_specific(a, b))
        }
        _ => a == b,
    }
}
