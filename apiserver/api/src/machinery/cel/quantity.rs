//! The library `quantity`. Follows upstream's `staging/src/k8s.io/apiserver/pkg/cel/library/quantity.go`.

use crate::machinery::quantity::{Format, Quantity};
use skiff_cel::value::Opaque;
use skiff_cel::{EvalError, Function, Library, Outcome, Type, Value};
use std::any::Any;
use std::cmp::Ordering;

/// The name of its type.
pub const TYPE: &str = "kubernetes.Quantity";
/// The most digits that upstream keeps in a machine word.
const WORD_DIGITS: i32 = 18;

/// A quantity, and whether upstream keeps it in a machine word: only such a one can be asked for as an integer.
#[derive(Debug, Clone)]
struct Held {
    quantity: Quantity,
    in_word: bool,
}

impl Opaque for Held {
    fn type_name(&self) -> &'static str {
        TYPE
    }

    fn equals(&self, other: &dyn Opaque) -> Option<bool> {
        let other: &Held = other.as_any().downcast_ref()?;
        Some(self.quantity == other.quantity)
    }

    fn text(&self) -> Option<String> {
        Some(self.quantity.to_string())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Held {
    fn integer(&self) -> Option<i64> {
        if !self.in_word {
            return None;
        }
        self.quantity.to_i64()
    }

    /// Sum or difference.
    fn with(&self, other: &Held, subtract: bool) -> Held {
        let mut quantity = self.quantity.clone();
        if subtract {
            quantity.sub(&other.quantity);
        } else {
            quantity.add(&other.quantity);
        }
        Held {
            quantity,
            in_word: self.in_word && other.in_word,
        }
    }
}

/// Whether upstream keeps what a text says in a machine word: short numbers, and whole ones of binary units.
fn in_word(text: &str, format: Format) -> bool {
    let unsigned = text.trim_start_matches(['+', '-']);
    let end = unsigned
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.trim_start_matches('0').len() as i32;
    if format != Format::BinarySi {
        return whole + fraction.len() as i32 <= WORD_DIGITS;
    }
    let power = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
        .iter()
        .position(|unit| *unit == suffix)
        .map_or(0, |at| (at as i32 + 1) * 10);
    fraction.is_empty() && 14 - whole - power * 3 / 10 >= 0
}

fn held<'v>(args: &'v [Value<'_>], at: usize) -> Result<&'v Held, EvalError> {
    args.get(at)
        .and_then(Value::as_opaque)
        .ok_or_else(EvalError::no_such_overload)
}

fn text<'v>(args: &'v [Value<'_>]) -> Result<&'v str, EvalError> {
    args.first()
        .and_then(Value::as_str)
        .ok_or_else(EvalError::no_such_overload)
}

fn order(args: &[Value<'_>]) -> Result<Ordering, EvalError> {
    Ok(held(args, 0)?.quantity.cmp(&held(args, 1)?.quantity))
}

/// With a quantity, or with a whole number.
fn calculated<'a>(args: &[Value<'a>], subtract: bool) -> Outcome<'a> {
    let other = match args.get(1) {
        Some(Value::Int(number)) => Held {
            quantity: Quantity::from_i64(*number, Format::DecimalExponent),
            in_word: true,
        },
        _ => held(args, 1)?.clone(),
    };
    Ok(Value::opaque(held(args, 0)?.with(&other, subtract)))
}

pub fn library() -> Library {
    let ty = Type::object(TYPE);
    let (one, two) = ([ty.clone()], [ty.clone(), ty.clone()]);
    let with_int = [ty.clone(), Type::Int];
    let functions = vec![
        Function::new("quantity").global(
            "string_to_quantity",
            &[Type::String],
            ty.clone(),
            |args| {
                let text = text(args)?;
                let quantity: Quantity = text
                    .parse()
                    .map_err(|error| EvalError::new(format!("{error}")))?;
                let in_word = in_word(text, quantity.format());
                Ok(Value::opaque(Held { quantity, in_word }))
            },
        ),
        Function::new("isQuantity").global(
            "is_quantity_string",
            &[Type::String],
            Type::Bool,
            |args| Ok(Value::Bool(text(args)?.parse::<Quantity>().is_ok())),
        ),
        Function::new("sign").global("quantity_sign", &one, Type::Int, |args| {
            Ok(Value::Int(held(args, 0)?.quantity.sign().into()))
        }),
        Function::new("isGreaterThan").member(
            "quantity_is_greater_than",
            &two,
            Type::Bool,
            |args| Ok(Value::Bool(order(args)?.is_gt())),
        ),
        Function::new("isLessThan").member("quantity_is_less_than", &two, Type::Bool, |args| {
            Ok(Value::Bool(order(args)?.is_lt()))
        }),
        Function::new("compareTo").member("quantity_compare_to", &two, Type::Int, |args| {
            Ok(Value::Int(order(args)? as i64))
        }),
        Function::new("asApproximateFloat").member(
            "quantity_get_float",
            &one,
            Type::Double,
            |args| Ok(Value::Double(held(args, 0)?.quantity.as_f64())),
        ),
        Function::new("asInteger").member("quantity_get_int", &one, Type::Int, |args| {
            let integer = held(args, 0)?.integer();
            let integer =
                integer.ok_or_else(|| EvalError::new("cannot convert value to integer"))?;
            Ok(Value::Int(integer))
        }),
        Function::new("isInteger").member("quantity_is_integer", &one, Type::Bool, |args| {
            Ok(Value::Bool(held(args, 0)?.integer().is_some()))
        }),
        Function::new("add")
            .member("quantity_add", &two, ty.clone(), |args| {
                calculated(args, false)
            })
            .member("quantity_add_int", &with_int, ty.clone(), |args| {
                calculated(args, false)
            }),
        Function::new("sub")
            .member("quantity_sub", &two, ty.clone(), |args| {
                calculated(args, true)
            })
            .member("quantity_sub_int", &with_int, ty, |args| {
                calculated(args, true)
            }),
    ];
    Library {
        functions,
        types: Vec::new(),
    }
}
