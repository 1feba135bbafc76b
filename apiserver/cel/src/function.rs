//! Functions as tables: a name, and its overloads with what they take, give and do.
//!
//! Invariant: the overloads of a function do not overlap, so at most one takes given values. Whoever embeds the engine brings libraries of its own
//! ([`Library`]). Follows upstream's `vendor/github.com/google/cel-go/common/decls/decls.go`.

use crate::ast::Name;
use crate::types::Type;
use crate::value::Outcome;
use crate::value::Value;

/// What a function does. The values fit what the overload takes.
pub type Native = for<'a> fn(&[Value<'a>]) -> Outcome<'a>;

#[derive(Clone)]
pub struct Overload {
    pub id: Name,
    /// Called on its first argument: `a.f(b)`.
    pub member: bool,
    pub args: Vec<Type>,
    pub result: Type,
    /// `None` where the function as a whole does it, or the evaluator.
    pub native: Option<Native>,
}

#[derive(Clone)]
pub struct Function {
    pub name: Name,
    pub overloads: Vec<Overload>,
    /// What does it for all overloads, and what its first argument must be.
    pub whole: Option<(Native, Guard)>,
    /// Whether values are taken whatever they are: the function looks itself.
    pub unguarded: bool,
}

/// Which values an operator takes as its first.
pub type Guard = fn(&Value<'_>) -> bool;

impl Function {
    pub fn new(name: impl Into<Name>) -> Function {
        Function {
            name: name.into(),
            overloads: Vec::new(),
            whole: None,
            unguarded: false,
        }
    }

    fn with(
        mut self,
        id: Name,
        member: bool,
        args: &[Type],
        result: Type,
        native: Option<Native>,
    ) -> Function {
        self.overloads.push(Overload {
            id,
            member,
            args: args.to_vec(),
            result,
            native,
        });
        self
    }

    /// An overload `f(a, b)`.
    #[must_use]
    pub fn global(
        self,
        id: impl Into<Name>,
        args: &[Type],
        result: Type,
        native: Native,
    ) -> Function {
        self.with(id.into(), false, args, result, Some(native))
    }

    /// An overload `a.f(b)`.
    #[must_use]
    pub fn member(
        self,
        id: impl Into<Name>,
        args: &[Type],
        result: Type,
        native: Native,
    ) -> Function {
        self.with(id.into(), true, args, result, Some(native))
    }

    /// An overload that is done by [`Function::done_by`] or by the evaluator itself.
    #[must_use]
    pub fn declared(
        self,
        id: impl Into<Name>,
        member: bool,
        args: &[Type],
        result: Type,
    ) -> Function {
        self.with(id.into(), member, args, result, None)
    }

    /// What does all overloads.
    #[must_use]
    pub fn done_by(mut self, native: Native, guard: Guard) -> Function {
        self.whole = Some((native, guard));
        self
    }

    /// Values are handed over unseen.
    #[must_use]
    pub fn unguarded(mut self) -> Function {
        self.unguarded = true;
        self
    }
}

/// Functions and types that belong together.
#[derive(Clone, Default)]
pub struct Library {
    pub functions: Vec<Function>,
    /// Types that are known by their names.
    pub types: Vec<Type>,
}
