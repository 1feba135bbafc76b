//! Calls of functions: finding what does a call, and calling it.
//!
//! Follows the dispatch of upstream's `vendor/github.com/google/cel-go/common/decls/decls.go`.

use crate::error::EvalError;
use crate::function::Function;
use crate::value::Outcome;
use crate::value::Value;
use std::sync::Arc;

/// The function that a call means, and the one overload if it is known.
#[derive(Clone)]
pub struct Target {
    pub function: Arc<Function>,
    pub overload: Option<usize>,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]", self.function.name, self.overload_id())
    }
}

impl Target {
    pub fn name(&self) -> &str {
        &self.function.name
    }

    /// The id of the overload; empty where several may be meant.
    pub fn overload_id(&self) -> &str {
        match self.overload {
            Some(at) => &self.function.overloads[at].id,
            None => "",
        }
    }
}

/// Calls with values that nobody else needs: a list or map among them may grow in place.
pub fn call_owned<'a>(target: &Target, mut args: Vec<Value<'a>>) -> Outcome<'a> {
    match (target.name(), args.len()) {
        (crate::ast::op::ADD, 2) => match (args.pop(), args.pop()) {
            (Some(Value::List(right)), Some(Value::List(left))) => left.add(right).map(Value::List),
            (Some(right), Some(left)) => call_native(target, &[left, right]),
            _ => Err(EvalError::no_such_overload()),
        },
        ("cel.@mapInsert", _) => crate::library::two_variables::insert(args),
        _ => call_native(target, &args),
    }
}

/// Finds what does a call, and calls it.
pub fn call_native<'a>(target: &Target, args: &[Value<'a>]) -> Outcome<'a> {
    let function = &target.function;
    if let Some((native, guard)) = function.whole {
        if args.first().is_some_and(guard) {
            return native(args);
        }
        let receives = matches!(
            args.first(),
            Some(Value::String(_) | Value::Timestamp(_) | Value::Duration(_))
        );
        if receives {
            return Err(EvalError::no_such_overload());
        }
        return Err(EvalError::new(format!(
            "no such overload: {}",
            function.name
        )));
    }
    let fits = |overload: &&crate::function::Overload| {
        overload.args.len() == args.len()
            && (function.unguarded
                || overload
                    .args
                    .iter()
                    .zip(args)
                    .all(|(ty, arg)| arg.is_of(ty)))
    };
    let found = match target.overload {
        Some(at) => Some(&function.overloads[at]).filter(fits),
        None => function.overloads.iter().find(fits),
    };
    match found.and_then(|overload| overload.native) {
        Some(native) => native(args),
        None => {
            let types: Vec<&str> = args.iter().map(Value::type_name).collect();
            Err(EvalError::new(format!(
                "no such overload: {}({})",
                function.name,
                types.join(", ")
            )))
        }
    }
}
