//! Moments and spans: what can be asked of them.
//!
//! Follows upstream's `vendor/github.com/google/cel-go/common/stdlib/standard.go`.

use super::{text, value};
use crate::error::EvalError;
use crate::function::{Function, Native};
use crate::types::Type;
use crate::value::Outcome;
use crate::value::time::Civil;
use crate::value::{Timestamp, Value};

pub fn functions() -> Vec<Function> {
    let moment = |name, id: &'static str, zoned: &'static str, plain: Native, in_zone: Native| {
        Function::new(name)
            .member(id, &[Type::Timestamp], Type::Int, plain)
            .member(zoned, &[Type::Timestamp, Type::String], Type::Int, in_zone)
    };
    macro_rules! part {
        ($name:literal, $id:literal, $zoned:literal, $part:expr) => {
            moment(
                $name,
                $id,
                $zoned,
                |args| utc(args, $part),
                |args| zoned(args, $part),
            )
        };
    }
    let span = |function: Function, id: &'static str, native: Native| {
        function.member(id, &[Type::Duration], Type::Int, native)
    };
    vec![
        part!(
            "getFullYear",
            "timestamp_to_year",
            "timestamp_to_year_with_tz",
            |c, _| c.year
        ),
        part!(
            "getMonth",
            "timestamp_to_month",
            "timestamp_to_month_with_tz",
            |c, _| { i64::from(c.month) - 1 }
        ),
        part!(
            "getDayOfYear",
            "timestamp_to_day_of_year",
            "timestamp_to_day_of_year_with_tz",
            |c, _| i64::from(c.day_of_year)
        ),
        part!(
            "getDayOfMonth",
            "timestamp_to_day_of_month",
            "timestamp_to_day_of_month_with_tz",
            |c, _| i64::from(c.day) - 1
        ),
        part!(
            "getDate",
            "timestamp_to_day_of_month_1_based",
            "timestamp_to_day_of_month_1_based_with_tz",
            |c, _| i64::from(c.day)
        ),
        part!(
            "getDayOfWeek",
            "timestamp_to_day_of_week",
            "timestamp_to_day_of_week_with_tz",
            |c, _| i64::from(c.weekday)
        ),
        span(
            part!(
                "getHours",
                "timestamp_to_hours",
                "timestamp_to_hours_with_tz",
                |c, _| { i64::from(c.hour) }
            ),
            "duration_to_hours",
            |args| in_units(args, 3_600_000_000_000),
        ),
        span(
            part!(
                "getMinutes",
                "timestamp_to_minutes",
                "timestamp_to_minutes_with_tz",
                |c, _| { i64::from(c.minute) }
            ),
            "duration_to_minutes",
            |args| in_units(args, 60_000_000_000),
        ),
        span(
            part!(
                "getSeconds",
                "timestamp_to_seconds",
                "timestamp_to_seconds_tz",
                |c, _| { i64::from(c.second) }
            ),
            "duration_to_seconds",
            |args| in_units(args, 1_000_000_000),
        ),
        span(
            part!(
                "getMilliseconds",
                "timestamp_to_milliseconds",
                "timestamp_to_milliseconds_with_tz",
                |_, at| i64::from(at.nanos / 1_000_000)
            ),
            "duration_to_milliseconds",
            |args| in_units(args, 1_000_000),
        ),
    ]
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
