//! Texts: the extension for strings, in the version (2) that Kubernetes has. Follows upstream's `vendor/github.com/google/cel-go/ext/strings.go`.
//!
//! Invariant: places in a text are counted in characters.

use super::{format_string, int, list, text};
use crate::error::EvalError;
use crate::function::{Function, Library};
use crate::types::Type;
use crate::value::Outcome;
use crate::value::Value;
use std::slice::from_ref;

pub fn library() -> Library {
    use Type::{Int, String};
    let texts = Type::list(String);
    let functions = vec![
        Function::new("charAt").member("string_char_at_int", &[String, Int], String, char_at),
        Function::new("indexOf")
            .member("string_index_of_string", &[String, String], Int, |args| {
                index_of(text(args, 0)?, text(args, 1)?, 0)
            })
            .member(
                "string_index_of_string_int",
                &[String, String, Int],
                Int,
                |args| index_of(text(args, 0)?, text(args, 1)?, int(args, 2)?),
            ),
        Function::new("lastIndexOf")
            .member(
                "string_last_index_of_string",
                &[String, String],
                Int,
                |args| {
                    let (whole, part) = (text(args, 0)?, text(args, 1)?);
                    let length = whole.chars().count() as i64;
                    if part.is_empty() {
                        return Ok(Value::Int(length));
                    }
                    if whole.len() < part.len() {
                        return Ok(Value::Int(-1));
                    }
                    last_index_of(whole, part, length - 1)
                },
            )
            .member(
                "string_last_index_of_string_int",
                &[String, String, Int],
                Int,
                |args| last_index_of(text(args, 0)?, text(args, 1)?, int(args, 2)?),
            ),
        Function::new("lowerAscii").member("string_lower_ascii", &[String], String, |args| {
            Ok(Value::string(text(args, 0)?.to_ascii_lowercase()))
        }),
        Function::new("upperAscii").member("string_upper_ascii", &[String], String, |args| {
            Ok(Value::string(text(args, 0)?.to_ascii_uppercase()))
        }),
        Function::new("replace")
            .member(
                "string_replace_string_string",
                &[String, String, String],
                String,
                |args| {
                    let replaced = text(args, 0)?.replace(text(args, 1)?, text(args, 2)?);
                    Ok(Value::string(replaced))
                },
            )
            .member(
                "string_replace_string_string_int",
                &[String, String, String, Int],
                String,
                |args| {
                    let most = usize::try_from(int(args, 3)?).unwrap_or(usize::MAX);
                    let replaced = text(args, 0)?.replacen(text(args, 1)?, text(args, 2)?, most);
                    Ok(Value::string(replaced))
                },
            ),
        Function::new("split")
            .member(
                "string_split_string",
                &[String, String],
                texts.clone(),
                |args| Ok(split(text(args, 0)?, text(args, 1)?, -1)),
            )
            .member(
                "string_split_string_int",
                &[String, String, Int],
                texts.clone(),
                |args| Ok(split(text(args, 0)?, text(args, 1)?, int(args, 2)?)),
            ),
        Function::new("substring")
            .member("string_substring_int", &[String, Int], String, |args| {
                substring(text(args, 0)?, int(args, 1)?, None)
            })
            .member(
                "string_substring_int_int",
                &[String, Int, Int],
                String,
                |args| substring(text(args, 0)?, int(args, 1)?, Some(int(args, 2)?)),
            ),
        Function::new("trim").member("string_trim", &[String], String, |args| {
            Ok(Value::string(text(args, 0)?.trim()))
        }),
        Function::new("format").member(
            "string_format",
            &[String, Type::list(Type::Dyn)],
            String,
            |args| format_string::format(text(args, 0)?, list(args, 1)?).map(Value::string),
        ),
        Function::new("strings.quote").global("strings_quote", &[String], String, |args| {
            Ok(Value::string(quote(text(args, 0)?)))
        }),
        Function::new("join")
            .member("list_join", from_ref(&texts), String, |args| join(args, ""))
            .member("list_join_string", &[texts, String], String, |args| {
                join(args, text(args, 1)?)
            }),
    ];
    Library {
        functions,
        types: Vec::new(),
    }
}

fn out_of_range<T>(index: i64) -> Result<T, EvalError> {
    Err(EvalError::new(format!("index out of range: {index}")))
}

fn char_at<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let (text, index) = (text(args, 0)?, int(args, 1)?);
    let Ok(at) = usize::try_from(index) else {
        return out_of_range(index);
    };
    match text.chars().nth(at) {
        Some(c) => Ok(Value::string(c.to_string())),
        None if at == text.chars().count() => Ok(Value::str("")),
        None => out_of_range(index),
    }
}

fn index_of<'a>(whole: &str, part: &str, offset: i64) -> Outcome<'a> {
    if part.is_empty() {
        return Ok(Value::Int(offset));
    }
    let Ok(skip) = usize::try_from(offset) else {
        return out_of_range(offset);
    };
    let Some((start, _)) = whole.char_indices().nth(skip) else {
        return Ok(Value::Int(-1));
    };
    let found = whole[start..].find(part);
    let found = found.map(|at| skip + whole[start..start + at].chars().count());
    Ok(Value::Int(found.map_or(-1, |at| at as i64)))
}

fn last_index_of<'a>(whole: &str, part: &str, offset: i64) -> Outcome<'a> {
    if part.is_empty() {
        return Ok(Value::Int(offset));
    }
    let Ok(last) = usize::try_from(offset) else {
        return out_of_range(offset);
    };
    let Some((start, _)) = whole.char_indices().nth(last) else {
        return Ok(Value::Int(-1));
    };
    // it begins at the offset at the latest
    let end = (start + part.len()).min(whole.len());
    let end = (end..=whole.len())
        .find(|end| whole.is_char_boundary(*end))
        .unwrap_or(end);
    let found = whole[..end].rfind(part).filter(|at| *at <= start);
    let found = found.map(|at| whole[..at].chars().count());
    Ok(Value::Int(found.map_or(-1, |at| at as i64)))
}

/// At most so many parts, all where negative; an empty separator cuts into characters.
fn split<'a>(text: &str, separator: &str, most: i64) -> Value<'a> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    if most == 0 {
        return Value::list(Vec::new());
    }
    let part = |part: &str| Value::string(part);
    if !separator.is_empty() {
        return Value::list(text.splitn(most, separator).map(part).collect());
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if parts.len() + 1 == most {
            parts.push(part(rest));
            break;
        }
        let (first, after) = rest.split_at(c.len_utf8());
        parts.push(part(first));
        rest = after;
    }
    Value::list(parts)
}

fn substring<'a>(text: &str, start: i64, end: Option<i64>) -> Outcome<'a> {
    let length = text.chars().count() as i64;
    let stop = end.unwrap_or(length);
    if let Some(end) = end
        && start > end
    {
        return Err(EvalError::new(format!(
            "invalid substring range. start: {start}, end: {end}"
        )));
    }
    if start < 0 || start > length {
        return out_of_range(start);
    }
    if stop < 0 || stop > length {
        return out_of_range(stop);
    }
    let part = text
        .chars()
        .skip(start as usize)
        .take((stop - start) as usize);
    Ok(Value::string(part.collect::<String>()))
}

fn join<'a>(args: &[Value<'a>], separator: &str) -> Outcome<'a> {
    let mut joined = String::new();
    for (i, element) in list(args, 0)?.iter().enumerate() {
        if i > 0 {
            joined.push_str(separator);
        }
        match element? {
            Value::String(text) => joined.push_str(&text),
            other => return Err(EvalError::new(format!("join: invalid input: {other}"))),
        }
    }
    Ok(Value::string(joined))
}

fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
