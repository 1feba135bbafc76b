//! Lists as sets. Follows upstream's `vendor/github.com/google/cel-go/ext/sets.go`.

use super::list;
use super::standard::holds;
use crate::error::EvalError;
use crate::function::{Function, Library};
use crate::types::Type;
use crate::value::{List, Value};

pub fn library() -> Library {
    let both = [Type::list(Type::Param("T")), Type::list(Type::Param("T"))];
    let functions = vec![
        Function::new("sets.contains").global(
            "list_sets_contains_list",
            &both,
            Type::Bool,
            |args| contains(list(args, 0)?, list(args, 1)?).map(Value::Bool),
        ),
        Function::new("sets.equivalent").global(
            "list_sets_equivalent_list",
            &both,
            Type::Bool,
            |args| {
                let (a, b) = (list(args, 0)?, list(args, 1)?);
                Ok(Value::Bool(contains(a, b)? && contains(b, a)?))
            },
        ),
        Function::new("sets.intersects").global(
            "list_sets_intersects_list",
            &both,
            Type::Bool,
            |args| {
                let known = list(args, 1)?;
                for element in list(args, 0)?.iter() {
                    if matches!(holds(known, &element?), Ok(true)) {
                        return Ok(Value::Bool(true));
                    }
                }
                Ok(Value::Bool(false))
            },
        ),
    ];
    Library {
        functions,
        types: Vec::new(),
    }
}

fn contains<'a>(list: &List<'a>, part: &List<'a>) -> Result<bool, EvalError> {
    for element in part.iter() {
        if !holds(list, &element?)? {
            return Ok(false);
        }
    }
    Ok(true)
}
