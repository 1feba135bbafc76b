//! Moments and spans: what can be asked of them.
//!
//! Follows upstream's `vendor/github.com/google/cel-go/common/stdlib/standard.go`.

use super::{text, value};
use crate::error::EvalError;
use crate::function::Function;
use crate::types::Type;
use crate::value::Outcome;
use crate::value::time::Civil;
use crate::value::{Timestamp, Value};

/// Parts of a moment, in UTC and in a zone. A macro, because what an overload does is a bare function.
macro_rules! parts {
    ($($name:literal, $id:literal, $zoned:literal => $part:expr;)+) => {
        [$(
            Function::new($name)
                .member($id, &[Type::Timestamp], Type::Int, |args| utc(args, $part))
                .member($zoned, &[Type::Timestamp, Type::String], Type::Int, |args| zoned(args, $part)),
        )+]
    };
}

/// A span in units of so many nanoseconds.
macro_rules! units {
    ($($name:literal, $id:literal => $nanos:literal;)+) => {
        [$(Function::new($name).member($id, &[Type::Duration], Type::Int, |args| in_units(args, $nanos)),)+]
    };
}

pub fn functions() -> Vec<Function> {
    let parts = parts! {
        "getFullYear", "timestamp_to_year", "timestamp_to_year_with_tz" => |c, _| c.year;
        "getMonth", "timestamp_to_month", "timestamp_to_month_with_tz" => |c, _| i64::from(c.month) - 1;
        "getDayOfYear", "timestamp_to_day_of_year", "timestamp_to_day_of_year_with_tz" => |c, _| i64::from(c.day_of_year);
        "getDayOfMonth", "timestamp_to_day_of_month", "timestamp_to_day_of_month_with_tz" => |c, _| i64::from(c.day) - 1;
        "getDate", "timestamp_to_day_of_month_1_based", "timestamp_to_day_of_month_1_based_with_tz" => |c, _| i64::from(c.day);
        "getDayOfWeek", "timestamp_to_day_of_week", "timestamp_to_day_of_week_with_tz" => |c, _| i64::from(c.weekday);
        "getHours", "timestamp_to_hours", "timestamp_to_hours_with_tz" => |c, _| i64::from(c.hour);
        "getMinutes", "timestamp_to_minutes", "timestamp_to_minutes_with_tz" => |c, _| i64::from(c.minute);
        "getSeconds", "timestamp_to_seconds", "timestamp_to_seconds_tz" => |c, _| i64::from(c.second);
        "getMilliseconds", "timestamp_to_milliseconds", "timestamp_to_milliseconds_with_tz" => |_, at| i64::from(at.nanos / 1_000_000);
    };
    let units = units! {
        "getHours", "duration_to_hours" => 3_600_000_000_000;
        "getMinutes", "duration_to_minutes" => 60_000_000_000;
        "getSeconds", "duration_to_seconds" => 1_000_000_000;
        "getMilliseconds", "duration_to_milliseconds" => 1_000_000;
    };
    // overloads of one name join
    parts.into_iter().chain(units).collect()
}

type Part = fn(Civil, &Timestamp) -> i64;

fn moment<'v>(args: &'v [Value<'_>]) -> Result<&'v Timestamp, EvalError> {
    match value(args, 0)? {
        Value::Timestamp(at) => Ok(at),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn utc<'a>(args: &[Value<'a>], part: Part) -> Outcome<'a> {
    let at = moment(args)?;
    Ok(Value::Int(part(at.civil(0), at)))
}

fn zoned<'a>(args: &[Value<'a>], part: Part) -> Outcome<'a> {
    let at = moment(args)?;
    let offset = at.offset_in(text(args, 1)?);
    let offset = offset.map_err(|error| EvalError::new(error.to_string()))?;
    Ok(Value::Int(part(at.civil(offset), at)))
}

/// A span in whole units.
fn in_units<'a>(args: &[Value<'a>], nanos: i64) -> Outcome<'a> {
    match value(args, 0)? {
        Value::Duration(span) => Ok(Value::Int(span / nanos)),
        _ => Err(EvalError::no_such_overload()),
    }
}
