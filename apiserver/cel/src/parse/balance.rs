//! Chains of `&&` and `||` as trees: as upstream's `logicManager` in `vendor/github.com/google/cel-go/parser/helper.go`, of least depth.

use crate::ast::{Expr, Id, Kind};

/// The operators `low..=high` and the terms around them as a tree of least depth.
pub fn balanced(
    function: &'static str,
    terms: &mut [Option<Expr>],
    ops: &[Id],
    low: usize,
    high: usize,
) -> Expr {
    let middle = (low + high).div_ceil(2);
    let term = |terms: &mut [Option<Expr>], at: usize| {
        terms[at].take().unwrap_or(Expr {
            id: 0,
            kind: Kind::Unspecified,
        })
    };
    let left = if middle == low {
        term(terms, middle)
    } else {
        balanced(function, terms, ops, low, middle - 1)
    };
    let right = if middle == high {
        term(terms, middle + 1)
    } else {
        balanced(function, terms, ops, middle + 1, high)
    };
    Expr {
        id: ops[middle],
        kind: Kind::Call {
            target: None,
            function: function.into(),
            args: vec![left, right],
        },
    }
}
