//! The functions of Go templates, and the two that kubectl adds: `exists` and `base64decode`.
//! Invariant: whole numbers compare with those of the template and keep all their digits. How values are written stands in `printf.rs`.
//! Behaviour follows Go's `text/template/funcs.go` and `staging/src/k8s.io/cli-runtime/pkg/printers/template.go`.

use std::cmp::Ordering;

use super::{exec::Go, printf};

/// An argument, and how the template has it.
pub struct Arg<'a> {
    pub value: Go<'a>,
    pub shown: String,
}

const NAMES: &[(&str, usize, Option<usize>)] = &[
    ("and", 1, None),
    ("base64decode", 1, Some(1)),
    ("call", 1, None),
    ("eq", 1, None),
    ("exists", 1, None),
    ("ge", 2, Some(2)),
    ("gt", 2, Some(2)),
    ("html", 0, None),
    ("index", 1, None),
    ("js", 0, None),
    ("le", 2, Some(2)),
    ("len", 1, Some(1)),
    ("lt", 2, Some(2)),
    ("ne", 2, Some(2)),
    ("not", 1, Some(1)),
    ("or", 1, None),
    ("print", 0, None),
    ("printf", 1, None),
    ("println", 0, None),
    ("slice", 1, None),
    ("urlquery", 0, None),
];

/// Whether there is such a function.
pub fn is_function(name: &str) -> bool {
    NAMES.iter().any(|(known, ..)| *known == name)
}

/// How many arguments it takes at the least, and at the most if that is limited.
pub fn arity(name: &str) -> (usize, Option<usize>) {
    let found = NAMES.iter().find(|(known, ..)| *known == name);
    found.map_or((0, None), |(_, least, most)| (*least, *most))
}

/// Calls a function.
///
/// # Errors
/// What Go says of it.
pub fn call<'a>(name: &str, args: &[Arg<'a>]) -> Result<Go<'a>, String> {
    let value = |at: usize| args.get(at).map_or(&Go::Missing, |arg| &arg.value);
    Ok(match name {
        "base64decode" => Go::Text(decoded(value(0))?),
        "call" => return Err(not_called(&args[0])),
        "eq" => Go::Bool(equal(args)?),
        "ne" => Go::Bool(!equal(args)?),
        "exists" => Go::Bool(exists(args)),
        "lt" => Go::Bool(less(value(0), value(1))?),
        "le" => Go::Bool(less(value(0), value(1))? || equal(args)?),
        "gt" => Go::Bool(!(less(value(0), value(1))? || equal(args)?)),
        "ge" => Go::Bool(!less(value(0), value(1))?),
        "index" => index(args)?,
        "len" => Go::Int(length(value(0))?, "int"),
        "not" => Go::Bool(!value(0).is_true()),
        "slice" => slice(args)?,
        name => Go::Text(written(name, args)?),
    })
}

fn not_called(arg: &Arg) -> String {
    match &arg.value {
        Go::Missing => "call of nil".into(),
        value => format!("non-function {} of type {}", arg.shown, value.type_name()),
    }
}

fn decoded(value: &Go) -> Result<String, String> {
    let text = match value {
        Go::Text(text) => text.as_str(),
        _ => "",
    };
    let bytes = crate::typed::base64(text).map_err(|why| format!("base64 decode failed: {why}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether the object has all of the fields, each inside the last.
fn exists(args: &[Arg]) -> bool {
    let mut at = args[0].value.clone();
    for step in &args[1..] {
        let next = match (&at, &step.value) {
            (Go::Map(map), Go::Text(key)) => map.get(key),
            (Go::List(list), Go::Int(index, _)) => {
                usize::try_from(*index).ok().and_then(|at| list.get(at))
            }
            _ => None,
        };
        match next {
            Some(value) => at = Go::of(value),
            None => return false,
        }
    }
    !matches!(at, Go::Nil | Go::Missing)
}

fn index<'a>(args: &[Arg<'a>]) -> Result<Go<'a>, String> {
    let mut item = args[0].value.clone();
    if matches!(item, Go::Missing | Go::Nil) {
        return Err("index of untyped nil".into());
    }
    for arg in &args[1..] {
        item = match &item {
            Go::List(list) => match list.get(within(&arg.value, list.len())?) {
                Some(value) => Go::of(value),
                None => return Err("reflect: slice index out of range".into()),
            },
            Go::Text(text) => match text.as_bytes().get(within(&arg.value, text.len())?) {
                Some(byte) => Go::Int(i64::from(*byte), "uint8"),
                None => return Err("reflect: string index out of range".into()),
            },
            Go::Map(map) => match &arg.value {
                Go::Text(key) => map.get(key).map_or(Go::Nil, Go::of),
                Go::Missing | Go::Nil => {
                    return Err("value is nil; should be of type string".into());
                }
                other => {
                    let name = other.type_name();
                    return Err(format!("value has type {name}; should be string"));
                }
            },
            Go::Missing | Go::Nil => return Err("index of nil pointer".into()),
            other => return Err(format!("can't index item of type {}", other.type_name())),
        };
    }
    Ok(item)
}

fn slice<'a>(args: &[Arg<'a>]) -> Result<Go<'a>, String> {
    let length = match &args[0].value {
        Go::Text(_) if args.len() > 3 => return Err("cannot 3-index slice a string".into()),
        Go::Text(text) => text.len(),
        Go::List(list) => list.len(),
        Go::Missing | Go::Nil => return Err("slice of untyped nil".into()),
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    if args.len() > 4 {
        return Err(format!("too many slice indexes: {}", args.len() - 1));
    }
    let mut ends = [0, length, length];
    for (end, arg) in ends.iter_mut().zip(&args[1..]) {
        *end = within(&arg.value, length)?;
    }
    for (from, to) in [(ends[0], ends[1]), (ends[1], ends[2])] {
        if from > to {
            return Err(format!("invalid slice index: {from} > {to}"));
        }
    }
    Ok(match &args[0].value {
        Go::Text(text) => {
            let part = &text.as_bytes()[ends[0]..ends[1]];
            Go::Text(String::from_utf8_lossy(part).into_owned())
        }
        Go::List(list) => Go::List(&list[ends[0]..ends[1]]),
        _ => Go::Nil,
    })
}

fn within(index: &Go, length: usize) -> Result<usize, String> {
    match index {
        Go::Int(number, _) => match usize::try_from(*number) {
            Ok(at) if at <= length => Ok(at),
            _ => Err(format!("index out of range: {number}")),
        },
        Go::Missing | Go::Nil => Err("cannot index slice/array with nil".into()),
        other => Err(format!(
            "cannot index slice/array with type {}",
            other.type_name()
        )),
    }
}

fn length(value: &Go) -> Result<i64, String> {
    let length = match value {
        Go::Text(text) => text.len(),
        Go::List(list) => list.len(),
        Go::Map(map) => map.len(),
        Go::Missing | Go::Nil => {
            return Err("reflect: call of reflect.Value.Type on zero Value".into());
        }
        other => return Err(format!("len of type {}", other.type_name())),
    };
    Ok(i64::try_from(length).unwrap_or(i64::MAX))
}

/// The kinds of which values can be compared.
fn kind(value: &Go) -> Option<u8> {
    match value {
        Go::Bool(_) => Some(0),
        Go::Int(..) => Some(1),
        Go::Float(_) => Some(2),
        Go::Text(_) => Some(3),
        _ => None,
    }
}

fn incompatible(a: &Go, b: &Go) -> String {
    let (a, b) = (a.type_name(), b.type_name());
    format!("incompatible types for comparison: {a} and {b}")
}

fn equal(args: &[Arg]) -> Result<bool, String> {
    let first = &args[0].value;
    if args.len() < 2 {
        return Err("missing argument for comparison".into());
    }
    for arg in &args[1..] {
        let other = &arg.value;
        let none = |value: &Go| matches!(value, Go::Missing | Go::Nil);
        let same = match (first, other) {
            _ if none(first) || none(other) => none(first) && none(other),
            _ if kind(first) != kind(other) => return Err(incompatible(first, other)),
            (Go::Bool(a), Go::Bool(b)) => a == b,
            (Go::Int(a, _), Go::Int(b, _)) => a == b,
            (Go::Float(a), Go::Float(b)) => a == b,
            (Go::Text(a), Go::Text(b)) => a == b,
            _ => {
                return Err(format!(
                    "non-comparable type {}: {}",
                    printed(first),
                    first.type_name()
                ));
            }
        };
        if same {
            return Ok(true);
        }
    }
    Ok(false)
}

fn less(a: &Go, b: &Go) -> Result<bool, String> {
    if kind(a).is_none() || kind(b).is_none() {
        return Err("invalid type for comparison".into());
    }
    let order = match (a, b) {
        (Go::Int(a, _), Go::Int(b, _)) => a.cmp(b),
        (Go::Float(a), Go::Float(b)) => a.partial_cmp(b).unwrap_or(Ordering::Greater),
        (Go::Text(a), Go::Text(b)) => a.cmp(b),
        (Go::Bool(_), Go::Bool(_)) => return Err("invalid type for comparison".into()),
        _ => return Err(incompatible(a, b)),
    };
    Ok(order == Ordering::Less)
}

/// A value as an action writes it.
pub fn printed(value: &Go) -> String {
    match value {
        Go::Missing | Go::Nil => "<no value>".into(),
        other => printf::print(&[other]),
    }
}

/// What a function makes that only writes its arguments.
fn written(name: &str, args: &[Arg]) -> Result<String, String> {
    let all: Vec<&Go> = args.iter().map(|arg| &arg.value).collect();
    match (name, &all[..]) {
        ("print", all) => Ok(printf::print(all)),
        ("println", all) => Ok(printf::println(all)),
        ("printf", [Go::Text(format), rest @ ..]) => Ok(printf::printf(format, rest)),
        ("printf", _) => Err("expected string".into()),
        _ => escaped(name, &printf::print(&all)),
    }
}

/// A text made safe for another language, which is the library's business.
fn escaped(name: &str, text: &str) -> Result<String, String> {
    let template = gotmpl::Template::new("output").parse(&format!("{{{{{name} .}}}}"));
    let made = template
        .and_then(|template| template.execute_to_string(&gotmpl::Value::String(text.into())));
    made.map_err(|why| {
        let why = why.to_string();
        why.strip_prefix("execution error: ").unwrap_or(&why).into()
    })
}
