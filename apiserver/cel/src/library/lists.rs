//! Lists as Kubernetes knows them. Follows upstream's `staging/src/k8s.io/apiserver/pkg/cel/library/lists.go`.

use super::standard::{A, compare};
use super::{comparable, list, value};
use crate::error::EvalError;
use crate::function::{Function, Library};
use crate::types::Type;
use crate::value::Outcome;
use crate::value::{List, Value};
use std::cmp::Ordering;

pub fn library() -> Library {
    let mut sorted = Function::new("isSorted");
    let (mut min, mut max) = (Function::new("min"), Function::new("max"));
    for (name, ty) in comparable() {
        let of = [Type::list(ty.clone())];
        let id = format!("list_{name}_is_sorted_bool");
        sorted = sorted.member(id, &of, Type::Bool, is_sorted);
        let id = format!("list_{name}_max_{name}");
        max = max.member(id, &of, ty.clone(), |args| {
            most(args, "max", Ordering::Less)
        });
        let id = format!("list_{name}_min_{name}");
        min = min.member(id, &of, ty, |args| most(args, "min", Ordering::Greater));
    }
    let sum = Function::new("sum")
        .member(
            "list_int_sum_int",
            &[Type::list(Type::Int)],
            Type::Int,
            |args| sum(args, Value::Int(0)),
        )
        .member(
            "list_uint_sum_uint",
            &[Type::list(Type::Uint)],
            Type::Uint,
            |args| sum(args, Value::Uint(0)),
        )
        .member(
            "list_double_sum_double",
            &[Type::list(Type::Double)],
            Type::Double,
            |args| sum(args, Value::Double(0.0)),
        )
        .member(
            "list_duration_sum_duration",
            &[Type::list(Type::Duration)],
            Type::Duration,
            |args| sum(args, Value::Duration(0)),
        );
    let both = [Type::list(A), A];
    let index = Function::new("indexOf").member("list_a_index_of_int", &both, Type::Int, |args| {
        let found = position(list(args, 0)?, value(args, 1)?, false)?;
        Ok(Value::Int(found))
    });
    let last =
        Function::new("lastIndexOf").member("list_a_last_index_of_int", &both, Type::Int, |args| {
            let found = position(list(args, 0)?, value(args, 1)?, true)?;
            Ok(Value::Int(found))
        });
    Library {
        functions: vec![sorted, sum, max, min, index, last],
        types: Vec::new(),
    }
}

fn is_sorted<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let mut previous: Option<Value<'a>> = None;
    for next in list(args, 0)?.iter() {
        let next = next?;
        if let Some(previous) = &previous
            && matches!(compare(previous, &next), Ok(Ordering::Greater))
        {
            return Ok(Value::Bool(false));
        }
        previous = Some(next);
    }
    Ok(Value::Bool(true))
}

fn sum<'a>(args: &[Value<'a>], zero: Value<'a>) -> Outcome<'a> {
    let mut total = zero;
    for next in list(args, 0)?.iter() {
        total = super::standard::add(&[total, next?])?;
    }
    Ok(total)
}

/// The first of the elements that no other one beats.
fn most<'a>(args: &[Value<'a>], name: &str, beaten: Ordering) -> Outcome<'a> {
    let mut best: Option<Value<'a>> = None;
    for next in list(args, 0)?.iter() {
        let next = next?;
        let better = match &best {
            None => true,
            Some(best) => compare(best, &next).is_ok_and(|order| order == beaten),
        };
        if better {
            best = Some(next);
        }
    }
    best.ok_or_else(|| EvalError::new(format!("{name} called on empty list")))
}

fn position<'a>(list: &List<'a>, item: &Value<'a>, last: bool) -> Result<i64, EvalError> {
    let same = |at: &usize| list.get(*at).is_some_and(|e| e.is_ok_and(|e| e.same(item)));
    let mut places = 0..list.len();
    let found = if last {
        places.rev().find(same)
    } else {
        places.find(same)
    };
    Ok(found.map_or(-1, |at| at as i64))
}
