//! Optional values. Follows upstream's `vendor/github.com/google/cel-go/cel/library.go` (`OptionalTypes`).
//!
//! `or` and `orValue` are evaluated by the evaluator: their second argument only when it is needed.

use super::{list, value};
use crate::ast::op;
use crate::error::EvalError;
use crate::function::{Function, Library};
use crate::types::{OPTIONAL, Type};
use crate::value::Outcome;
use crate::value::Value;
use std::slice::from_ref;

pub fn library() -> Library {
    let (k, v) = (Type::Param("K"), Type::Param("V"));
    let some = Type::optional(v.clone());
    let (list_v, map_kv) = (Type::list(v.clone()), Type::map(k.clone(), v.clone()));
    let (some_list, some_map) = (
        Type::optional(list_v.clone()),
        Type::optional(map_kv.clone()),
    );
    let options = Type::list(some.clone());
    let functions = vec![
        Function::new("optional.of").global("optional_of", from_ref(&v), some.clone(), |args| {
            Ok(Value::some(value(args, 0)?.clone()))
        }),
        Function::new("optional.ofNonZeroValue").global(
            "optional_ofNonZeroValue",
            from_ref(&v),
            some.clone(),
            |args| {
                let value = value(args, 0)?;
                Ok(if value.is_zero() {
                    Value::none()
                } else {
                    Value::some(value.clone())
                })
            },
        ),
        Function::new("optional.none")
            .global("optional_none", &[], some.clone(), |_| Ok(Value::none())),
        Function::new("value").member("optional_value", from_ref(&some), v.clone(), |args| {
            match value(args, 0)? {
                Value::Optional(Some(value)) => Ok((**value).clone()),
                Value::Optional(None) => Err(EvalError::new("optional.none() dereference")),
                _ => Err(EvalError::no_such_overload()),
            }
        }),
        Function::new("hasValue").member(
            "optional_hasValue",
            from_ref(&some),
            Type::Bool,
            |args| match value(args, 0)? {
                Value::Optional(value) => Ok(Value::Bool(value.is_some())),
                _ => Err(EvalError::no_such_overload()),
            },
        ),
        Function::new("or").declared(
            "optional_or_optional",
            true,
            &[some.clone(), some.clone()],
            some.clone(),
        ),
        Function::new("orValue").declared(
            "optional_orValue_value",
            true,
            &[some.clone(), v.clone()],
            v.clone(),
        ),
        Function::new(op::OPT_SELECT).declared(
            "select_optional_field",
            false,
            &[Type::Dyn, Type::String],
            some.clone(),
        ),
        Function::new(op::OPT_INDEX)
            .declared(
                "list_optindex_optional_int",
                false,
                &[list_v.clone(), Type::Int],
                some.clone(),
            )
            .declared(
                "optional_list_optindex_optional_int",
                false,
                &[some_list.clone(), Type::Int],
                some.clone(),
            )
            .declared(
                "map_optindex_optional_value",
                false,
                &[map_kv, k.clone()],
                some.clone(),
            )
            .declared(
                "optional_map_optindex_optional_value",
                false,
                &[some_map.clone(), k.clone()],
                some.clone(),
            ),
        Function::new(op::INDEX)
            .declared(
                "optional_list_index_int",
                false,
                &[some_list, Type::Int],
                some.clone(),
            )
            .declared(
                "optional_map_index_value",
                false,
                &[some_map, k],
                some.clone(),
            ),
        Function::new("last").member("list_last", from_ref(&list_v), some.clone(), |args| {
            let list = list(args, 0)?;
            end(list.len().checked_sub(1).and_then(|at| list.get(at)))
        }),
        Function::new("first").member("list_first", from_ref(&list_v), some, |args| {
            end(list(args, 0)?.get(0))
        }),
        Function::new("optional.unwrap").global(
            "optional_unwrap",
            from_ref(&options),
            list_v.clone(),
            unwrap,
        ),
        Function::new("unwrapOpt").member("optional_unwrapOpt", &[options], list_v, unwrap),
    ];
    Library {
        functions,
        types: vec![Type::opaque(OPTIONAL, vec![Type::Dyn])],
    }
}

fn end(element: Option<Outcome<'_>>) -> Outcome<'_> {
    match element {
        Some(element) => element.map(Value::some),
        None => Ok(Value::none()),
    }
}

/// The values of those that have one.
fn unwrap<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let mut values = Vec::new();
    for option in list(args, 0)?.iter() {
        match option? {
            Value::Optional(Some(value)) => values.push((*value).clone()),
            Value::Optional(None) => {}
            other => return Err(EvalError::new(format!("value {other} is not optional"))),
        }
    }
    Ok(Value::list(values))
}
