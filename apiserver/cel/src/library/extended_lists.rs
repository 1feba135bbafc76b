//! Lists as cel-go's extension (version 3) knows them. Follows upstream's `vendor/github.com/google/cel-go/ext/lists.go`.

use super::standard::{compare, is_comparable};
use super::{comparable, int, list};
use crate::error::EvalError;
use crate::function::{Function, Library};
use crate::types::Type;
use crate::value::Outcome;
use crate::value::{List, Value};
use std::cmp::Ordering;
use std::slice::from_ref;

pub fn library() -> Library {
    let of = Type::list(Type::Param("T"));
    let any = Type::list(Type::Dyn);
    let mut sort = Function::new("sort").done_by(
        |args| {
            let list = list(args, 0)?;
            sorted(list, list)
        },
        |value| matches!(value, Value::List(_)),
    );
    let mut sort_by = Function::new("@sortByAssociatedKeys").done_by(
        |args| sorted(list(args, 0)?, list(args, 1)?),
        |value| matches!(value, Value::List(_)),
    );
    for (_, ty) in comparable() {
        let keys = Type::list(ty.clone());
        sort = sort.declared(
            format!("list_{}_sort", ty.name()),
            true,
            from_ref(&keys),
            keys.clone(),
        );
        let id = format!("list_{}_sortByAssociatedKeys", ty.name());
        sort_by = sort_by.declared(id, true, &[of.clone(), keys], of.clone());
    }
    let functions = vec![
        Function::new("slice").member(
            "list_slice",
            &[of.clone(), Type::Int, Type::Int],
            of.clone(),
            slice,
        ),
        Function::new("flatten")
            .member(
                "list_flatten",
                &[Type::list(of.clone())],
                of.clone(),
                |args| flatten(list(args, 0)?, 1),
            )
            .member("list_flatten_int", &[any.clone(), Type::Int], any, |args| {
                flatten(list(args, 0)?, int(args, 1)?)
            })
            .unguarded(),
        sort,
        sort_by,
        Function::new("lists.range").global(
            "lists_range",
            &[Type::Int],
            Type::list(Type::Int),
            |args| Ok(Value::list((0..int(args, 0)?).map(Value::Int).collect())),
        ),
        Function::new("reverse").member("list_reverse", from_ref(&of), of.clone(), |args| {
            let mut values = list(args, 0)?.values()?;
            values.reverse();
            Ok(Value::list(values))
        }),
        Function::new("distinct").member("list_distinct", from_ref(&of), of.clone(), distinct),
    ];
    Library {
        functions,
        types: Vec::new(),
    }
}

fn slice<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let (list, start, end) = (list(args, 0)?, int(args, 1)?, int(args, 2)?);
    let wrong = |why: String| {
        Err(EvalError::new(format!(
            "cannot slice({start}, {end}), {why}"
        )))
    };
    if start < 0 || end < 0 {
        return wrong("negative indexes not supported".into());
    }
    if start > end {
        return wrong("start index must be less than or equal to end index".into());
    }
    if (list.len() as i64) < end {
        return wrong(format!("list is length {}", list.len()));
    }
    let values = (start..end).filter_map(|at| list.get(at as usize));
    let values: Result<Vec<Value<'a>>, EvalError> = values.collect();
    Ok(Value::list(values?))
}

fn flatten<'a>(list: &List<'a>, depth: i64) -> Outcome<'a> {
    if depth < 0 {
        return Err(EvalError::new("level must be non-negative"));
    }
    let mut values = Vec::with_capacity(list.len());
    flatten_into(list, depth, &mut values)?;
    Ok(Value::list(values))
}

fn flatten_into<'a>(
    list: &List<'a>,
    depth: i64,
    values: &mut Vec<Value<'a>>,
) -> Result<(), EvalError> {
    for element in list.iter() {
        match element? {
            Value::List(inner) if depth > 0 => flatten_into(&inner, depth - 1, values)?,
            other => values.push(other),
        }
    }
    Ok(())
}

/// A list in the order of the keys of its elements; what is equal stays in order.
fn sorted<'a>(list: &List<'a>, keys: &List<'a>) -> Outcome<'a> {
    if list.len() != keys.len() {
        return Err(EvalError::new(format!(
            "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got {} and {} elements respectively",
            list.len(),
            keys.len()
        )));
    }
    let mut pairs = Vec::with_capacity(list.len());
    for (value, key) in list.iter().zip(keys.iter()) {
        pairs.push((key?, value?));
    }
    let Some((first, _)) = pairs.first() else {
        return Ok(Value::List(list.clone()));
    };
    if !is_comparable(first) {
        return Err(EvalError::new("list elements must be comparable"));
    }
    let name = first.type_name();
    if pairs.iter().any(|(key, _)| key.type_name() != name) {
        return Err(EvalError::new("list elements must have the same type"));
    }
    pairs.sort_by(|(a, _), (b, _)| compare(a, b).unwrap_or(Ordering::Equal));
    Ok(Value::list(
        pairs.into_iter().map(|(_, value)| value).collect(),
    ))
}

fn distinct<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let mut values: Vec<Value<'a>> = Vec::new();
    for element in list(args, 0)?.iter() {
        let element = element?;
        if !values.iter().any(|known| element.same(known)) {
            values.push(element);
        }
    }
    Ok(Value::list(values))
}
