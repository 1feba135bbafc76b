//! `find` and `findAll`. Follows upstream's `staging/src/k8s.io/apiserver/pkg/cel/library/regex.go`.

use super::text;
use crate::error::EvalError;
use crate::function::{Function, Library};
use crate::regex::Pattern;
use crate::types::Type;
use crate::value::Outcome;
use crate::value::Value;

pub fn library() -> Library {
    let two = [Type::String, Type::String];
    let texts = Type::list(Type::String);
    let functions = vec![
        Function::new("find").member("string_find_string", &two, Type::String, |args| {
            search("find", args)
        }),
        Function::new("findAll")
            .member("string_find_all_string", &two, texts.clone(), |args| {
                search("findAll", args)
            })
            .member(
                "string_find_all_string_int",
                &[Type::String, Type::String, Type::Int],
                texts,
                |args| search("findAll", args),
            ),
    ];
    Library {
        functions,
        types: Vec::new(),
    }
}

fn search<'a>(function: &str, args: &[Value<'a>]) -> Outcome<'a> {
    let pattern = Pattern::new(text(args, 1)?);
    let pattern = pattern.map_err(|error| EvalError::new(format!("Illegal regex: {error}")))?;
    pattern.call(function, args)
}
