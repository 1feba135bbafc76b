//! The standard library: operators and conversions.
//!
//! Invariant: arithmetic that does not fit its type is an error, never a wrong number. Follows upstream's
//! `vendor/github.com/google/cel-go/common/stdlib/standard.go`.

use super::{standard_time, text, value};
use crate::ast::op;
use crate::error::EvalError;
use crate::function::{Function, Library, Native};
use crate::regex::Pattern;
use crate::types::Type;
use crate::value::Outcome;
use crate::value::number::{self, Compared};
use crate::value::{Value, convert};
use std::cmp::Ordering;
use std::slice::from_ref;
use std::sync::Arc;

pub(super) const A: Type = Type::Param("A");
pub(super) const B: Type = Type::Param("B");

pub fn library() -> Library {
    let mut functions = logical();
    functions.extend(arithmetic());
    functions.extend(relations());
    functions.extend(collections());
    functions.extend(conversions());
    functions.extend(texts());
    functions.extend(standard_time::functions());
    let types = vec![
        Type::Bool,
        Type::Bytes,
        Type::Double,
        Type::Duration,
        Type::Int,
        Type::list(Type::Dyn),
        Type::map(Type::Dyn, Type::Dyn),
        Type::Null,
        Type::String,
        Type::Timestamp,
        Type::Type(None),
        Type::Uint,
    ];
    Library { functions, types }
}

fn logical() -> Vec<Function> {
    let two = [Type::Bool, Type::Bool];
    vec![
        Function::new(op::CONDITIONAL).declared("conditional", false, &[Type::Bool, A, A], A),
        Function::new(op::AND).declared("logical_and", false, &two, Type::Bool),
        Function::new(op::OR).declared("logical_or", false, &two, Type::Bool),
        Function::new(op::NOT)
            .declared("logical_not", false, &[Type::Bool], Type::Bool)
            .done_by(
                |args| match value(args, 0)? {
                    Value::Bool(value) => Ok(Value::Bool(!value)),
                    _ => Err(EvalError::no_such_overload()),
                },
                |_| true,
            ),
        Function::new(op::NOT_STRICTLY_FALSE).declared(
            "not_strictly_false",
            false,
            &[Type::Bool],
            Type::Bool,
        ),
        Function::new(op::EQUALS).declared("equals", false, &[A, A], Type::Bool),
        Function::new(op::NOT_EQUALS).declared("not_equals", false, &[A, A], Type::Bool),
    ]
}

/// An operator, its overloads by the types of both sides and the result.
fn operator(
    name: &'static str,
    overloads: Vec<(&'static str, Type, Type, Type)>,
    native: Native,
    guard: fn(&Value<'_>) -> bool,
) -> Function {
    let function = Function::new(name).done_by(native, guard);
    overloads
        .into_iter()
        .fold(function, |function, (id, left, right, result)| {
            function.declared(id, false, &[left, right], result)
        })
}

fn is_number(value: &Value<'_>) -> bool {
    matches!(value, Value::Int(_) | Value::Uint(_) | Value::Double(_))
}

fn arithmetic() -> Vec<Function> {
    use Type::{Bytes, Double, Duration, Int, String, Timestamp, Uint};
    let same = |id, ty: Type| (id, ty.clone(), ty.clone(), ty);
    vec![
        operator(
            op::ADD,
            vec![
                same("add_bytes", Bytes),
                same("add_double", Double),
                same("add_duration_duration", Duration),
                ("add_duration_timestamp", Duration, Timestamp, Timestamp),
                ("add_timestamp_duration", Timestamp, Duration, Timestamp),
                same("add_int64", Int),
                same("add_list", Type::list(A)),
                same("add_string", String),
                same("add_uint64", Uint),
            ],
            add,
            |value| {
                is_number(value)
                    || matches!(
                        value,
                        Value::Bytes(_)
                            | Value::Duration(_)
                            | Value::Timestamp(_)
                            | Value::List(_)
                            | Value::String(_)
                    )
            },
        ),
        operator(
            op::DIVIDE,
            vec![
                same("divide_double", Double),
                same("divide_int64", Int),
                same("divide_uint64", Uint),
            ],
            divide,
            is_number,
        ),
        operator(
            op::MODULO,
            vec![same("modulo_int64", Int), same("modulo_uint64", Uint)],
            modulo,
            |value| matches!(value, Value::Int(_) | Value::Uint(_)),
        ),
        operator(
            op::MULTIPLY,
            vec![
                same("multiply_double", Double),
                same("multiply_int64", Int),
                same("multiply_uint64", Uint),
            ],
            multiply,
            is_number,
        ),
        operator(
            op::SUBTRACT,
            vec![
                same("subtract_double", Double),
                same("subtract_duration_duration", Duration),
                same("subtract_int64", Int),
                (
                    "subtract_timestamp_duration",
                    Timestamp,
                    Duration,
                    Timestamp,
                ),
                (
                    "subtract_timestamp_timestamp",
                    Timestamp,
                    Timestamp,
                    Duration,
                ),
                same("subtract_uint64", Uint),
            ],
            subtract,
            |value| is_number(value) || matches!(value, Value::Duration(_) | Value::Timestamp(_)),
        ),
        Function::new(op::NEGATE)
            .declared("negate_double", false, &[Double], Double)
            .declared("negate_int64", false, &[Int], Int)
            .done_by(negate, |value| {
                matches!(value, Value::Int(_) | Value::Double(_) | Value::Duration(_))
            }),
    ]
}

const INT_OVERFLOW: &str = "integer overflow";
const UINT_OVERFLOW: &str = "unsigned integer overflow";

fn checked_int<'a>(value: Option<i64>) -> Outcome<'a> {
    let value = value.ok_or_else(|| EvalError::new(INT_OVERFLOW))?;
    Ok(Value::Int(value))
}

fn checked_uint<'a>(value: Option<u64>) -> Outcome<'a> {
    let value = value.ok_or_else(|| EvalError::new(UINT_OVERFLOW))?;
    Ok(Value::Uint(value))
}

fn checked_duration<'a>(value: Option<i64>) -> Outcome<'a> {
    let value = value.ok_or_else(|| EvalError::new(INT_OVERFLOW))?;
    Ok(Value::Duration(value))
}

fn checked_moment<'a>(value: Option<crate::value::Timestamp>) -> Outcome<'a> {
    let value = value.ok_or_else(|| EvalError::new("timestamp overflow"))?;
    Ok(Value::Timestamp(value))
}

pub(super) fn add<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match (value(args, 0)?, value(args, 1)?) {
        (Value::Int(a), Value::Int(b)) => checked_int(a.checked_add(*b)),
        (Value::Uint(a), Value::Uint(b)) => checked_uint(a.checked_add(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a + b)),
        (Value::String(a), Value::String(b)) => {
            let mut text = String::with_capacity(a.len() + b.len());
            text.push_str(a);
            text.push_str(b);
            Ok(Value::string(text))
        }
        (Value::Bytes(a), Value::Bytes(b)) => Ok(Value::Bytes(Arc::from([&**a, &**b].concat()))),
        (Value::Duration(a), Value::Duration(b)) => checked_duration(a.checked_add(*b)),
        (Value::Duration(span), Value::Timestamp(at))
        | (Value::Timestamp(at), Value::Duration(span)) => checked_moment(at.plus(*span)),
        (Value::List(a), Value::List(b)) => a.clone().add(b.clone()).map(Value::List),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn subtract<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match (value(args, 0)?, value(args, 1)?) {
        (Value::Int(a), Value::Int(b)) => checked_int(a.checked_sub(*b)),
        (Value::Uint(a), Value::Uint(b)) => checked_uint(a.checked_sub(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a - b)),
        (Value::Duration(a), Value::Duration(b)) => checked_duration(a.checked_sub(*b)),
        (Value::Timestamp(a), Value::Timestamp(b)) => checked_duration(a.since(b)),
        (Value::Timestamp(at), Value::Duration(span)) => match span.checked_neg() {
            Some(span) => checked_moment(at.plus(span)),
            None => Err(EvalError::new(INT_OVERFLOW)),
        },
        _ => Err(EvalError::no_such_overload()),
    }
}

fn multiply<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match (value(args, 0)?, value(args, 1)?) {
        (Value::Int(a), Value::Int(b)) => checked_int(a.checked_mul(*b)),
        (Value::Uint(a), Value::Uint(b)) => checked_uint(a.checked_mul(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a * b)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn divide<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match (value(args, 0)?, value(args, 1)?) {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) => {
            Err(EvalError::new("division by zero"))
        }
        (Value::Int(a), Value::Int(b)) => checked_int(a.checked_div(*b)),
        (Value::Uint(a), Value::Uint(b)) => checked_uint(a.checked_div(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a / b)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn modulo<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match (value(args, 0)?, value(args, 1)?) {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) => {
            Err(EvalError::new("modulus by zero"))
        }
        (Value::Int(a), Value::Int(b)) => checked_int(a.checked_rem(*b)),
        (Value::Uint(a), Value::Uint(b)) => checked_uint(a.checked_rem(*b)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn negate<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match value(args, 0)? {
        Value::Int(a) => checked_int(a.checked_neg()),
        Value::Double(a) => Ok(Value::Double(-a)),
        Value::Duration(a) => checked_duration(a.checked_neg()),
        _ => Err(EvalError::no_such_overload()),
    }
}

/// The order of two values.
pub(super) fn compare(a: &Value<'_>, b: &Value<'_>) -> Result<Ordering, EvalError> {
    Ok(match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        (Value::Duration(a), Value::Duration(b)) => a.cmp(b),
        (Value::Timestamp(a), Value::Timestamp(b)) => a.order(b),
        (a, b) => match number::compare(a, b) {
            Compared::Ordered(order) => order,
            Compared::Unordered => return Err(EvalError::new("NaN values cannot be ordered")),
            Compared::NoNumbers => return Err(EvalError::no_such_overload()),
        },
    })
}

pub(super) fn is_comparable(value: &Value<'_>) -> bool {
    is_number(value)
        || matches!(
            value,
            Value::Bool(_)
                | Value::String(_)
                | Value::Bytes(_)
                | Value::Duration(_)
                | Value::Timestamp(_)
        )
}

fn relations() -> Vec<Function> {
    let numbers = [
        ("int64", Type::Int),
        ("uint64", Type::Uint),
        ("double", Type::Double),
    ];
    let relation = |name, word: &str, native: Native| {
        let same = |function: Function, suffix: &str, ty: Type| {
            function.declared(
                format!("{word}_{suffix}"),
                false,
                &[ty.clone(), ty],
                Type::Bool,
            )
        };
        let mut function = Function::new(name).done_by(native, is_comparable);
        function = same(function, "bool", Type::Bool);
        for (left_name, left) in &numbers {
            function = same(function, left_name, left.clone());
            for (right_name, right) in numbers.iter().filter(|(name, _)| name != left_name) {
                function = function.declared(
                    format!("{word}_{left_name}_{right_name}"),
                    false,
                    &[left.clone(), right.clone()],
                    Type::Bool,
                );
            }
        }
        function = same(function, "string", Type::String);
        function = same(function, "bytes", Type::Bytes);
        function = same(function, "timestamp", Type::Timestamp);
        same(function, "duration", Type::Duration)
    };
    vec![
        relation(op::LESS, "less", |args| ordered(args, Ordering::is_lt)),
        relation(op::LESS_EQUALS, "less_equals", |args| {
            ordered(args, Ordering::is_le)
        }),
        relation(op::GREATER, "greater", |args| {
            ordered(args, Ordering::is_gt)
        }),
        relation(op::GREATER_EQUALS, "greater_equals", |args| {
            ordered(args, Ordering::is_ge)
        }),
    ]
}

fn ordered<'a>(args: &[Value<'a>], fits: fn(Ordering) -> bool) -> Outcome<'a> {
    compare(value(args, 0)?, value(args, 1)?).map(|order| Value::Bool(fits(order)))
}

fn collections() -> Vec<Function> {
    let (list, map) = (Type::list(A), Type::map(A, B));
    let size = [
        ("size_bytes", "bytes_size", Type::Bytes),
        ("size_list", "list_size", list.clone()),
        ("size_map", "map_size", map.clone()),
        ("size_string", "string_size", Type::String),
    ]
    .into_iter()
    .fold(Function::new("size"), |function, (global, member, ty)| {
        function
            .declared(global, false, from_ref(&ty), Type::Int)
            .declared(member, true, &[ty], Type::Int)
    });
    vec![
        Function::new(op::INDEX)
            .declared("index_list", false, &[list.clone(), Type::Int], A)
            .declared("index_map", false, &[map.clone(), A], B),
        Function::new(op::IN)
            .declared("in_list", false, &[A, list], Type::Bool)
            .declared("in_map", false, &[A, map], Type::Bool)
            .done_by(contained, |_| true),
        size.done_by(
            |args| Ok(Value::Int(value(args, 0)?.size() as i64)),
            |value| {
                matches!(
                    value,
                    Value::Bytes(_) | Value::List(_) | Value::Map(_) | Value::String(_)
                )
            },
        ),
    ]
}

fn contained<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let element = value(args, 0)?;
    match value(args, 1)? {
        Value::List(list) => holds(list, element).map(Value::Bool),
        Value::Map(map) => Ok(Value::Bool(map.get(element)?.is_some())),
        _ => Err(EvalError::no_such_overload()),
    }
}

/// Whether a list has an element. Lists of declared data tell what cannot be compared.
pub(super) fn holds<'a>(
    list: &crate::value::List<'a>,
    element: &Value<'a>,
) -> Result<bool, EvalError> {
    let mut failed = None;
    for known in list.iter() {
        match known.and_then(|known| known.equals(element)) {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(error) => {
                failed.get_or_insert(error);
            }
        }
    }
    match failed {
        Some(error) if list.kind().is_some() => Err(error),
        _ => Ok(false),
    }
}

fn conversions() -> Vec<Function> {
    type Row = (&'static str, Type);
    let conversion = |name, result: Type, native: Native, rows: Vec<Row>| {
        rows.into_iter()
            .fold(Function::new(name), |function, (id, from)| {
                function.global(id, &[from], result.clone(), native)
            })
    };
    use Type::{Bool, Bytes, Double, Duration, Int, String, Timestamp, Uint};
    vec![
        Function::new("type")
            .declared("type", false, &[A], Type::type_of(A))
            .done_by(
                |args| Ok(Value::Type(value(args, 0)?.type_name().into())),
                |_| true,
            ),
        Function::new("dyn")
            .declared("to_dyn", false, &[A], Type::Dyn)
            .done_by(|args| value(args, 0).cloned(), |_| true),
        conversion(
            "bool",
            Bool,
            |args| convert::to_bool(value(args, 0)?),
            vec![("bool_to_bool", Bool), ("string_to_bool", String)],
        ),
        conversion(
            "bytes",
            Bytes,
            |args| convert::to_bytes(value(args, 0)?),
            vec![("bytes_to_bytes", Bytes), ("string_to_bytes", String)],
        ),
        conversion(
            "double",
            Double,
            |args| convert::to_double(value(args, 0)?),
            vec![
                ("double_to_double", Double),
                ("int64_to_double", Int),
                ("string_to_double", String),
                ("uint64_to_double", Uint),
            ],
        ),
        conversion(
            "duration",
            Duration,
            |args| convert::to_duration(value(args, 0)?),
            vec![
                ("duration_to_duration", Duration),
                ("int64_to_duration", Int),
                ("string_to_duration", String),
            ],
        ),
        conversion(
            "int",
            Int,
            |args| convert::to_int(value(args, 0)?),
            vec![
                ("int64_to_int64", Int),
                ("double_to_int64", Double),
                ("duration_to_int64", Duration),
                ("string_to_int64", String),
                ("timestamp_to_int64", Timestamp),
                ("uint64_to_int64", Uint),
            ],
        ),
        conversion(
            "string",
            String,
            |args| convert::to_string(value(args, 0)?),
            vec![
                ("string_to_string", String),
                ("bool_to_string", Bool),
                ("bytes_to_string", Bytes),
                ("double_to_string", Double),
                ("duration_to_string", Duration),
                ("int64_to_string", Int),
                ("timestamp_to_string", Timestamp),
                ("uint64_to_string", Uint),
            ],
        ),
        conversion(
            "timestamp",
            Timestamp,
            |args| convert::to_timestamp(value(args, 0)?),
            vec![
                ("timestamp_to_timestamp", Timestamp),
                ("int64_to_timestamp", Int),
                ("string_to_timestamp", String),
            ],
        ),
        conversion(
            "uint",
            Uint,
            |args| convert::to_uint(value(args, 0)?),
            vec![
                ("uint64_to_uint64", Uint),
                ("double_to_uint64", Double),
                ("int64_to_uint64", Int),
                ("string_to_uint64", String),
            ],
        ),
    ]
}

fn texts() -> Vec<Function> {
    let two = [Type::String, Type::String];
    vec![
        Function::new("contains")
            .member("contains_string", &two, Type::Bool, |args| {
                Ok(Value::Bool(text(args, 0)?.contains(text(args, 1)?)))
            })
            .unguarded(),
        Function::new("endsWith")
            .member("ends_with_string", &two, Type::Bool, |args| {
                Ok(Value::Bool(text(args, 0)?.ends_with(text(args, 1)?)))
            })
            .unguarded(),
        Function::new("startsWith")
            .member("starts_with_string", &two, Type::Bool, |args| {
                Ok(Value::Bool(text(args, 0)?.starts_with(text(args, 1)?)))
            })
            .unguarded(),
        Function::new("matches")
            .declared("matches", false, &two, Type::Bool)
            .declared("matches_string", true, &two, Type::Bool)
            .done_by(
                |args| {
                    let pattern = Pattern::new(text(args, 1)?);
                    let pattern = pattern.map_err(|error| EvalError::new(error.to_string()))?;
                    pattern.call("matches", args)
                },
                |value| matches!(value, Value::String(_)),
            ),
    ]
}
