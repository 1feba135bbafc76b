//! Bounds of numbers.
//!
//! Numbers are what Go makes of JSON: whole ones of 64 bits, all others floating. Bounds are floating, and cut to whole ones where the value is.
//!
//! Follows `kube-openapi/pkg/validation/validate/{validator,values}.go` and `go-openapi/swag/conv`.

use serde_json::{Number, Value};

use super::{
    Run,
    fault::{Fault, Place},
};
use crate::machinery::{
    patch::go::GoValue,
    structural::node::{Bound, Checks, Kind},
};

/// A number of JSON, as Go reads it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Num {
    Int(i64),
    Float(f64),
}

impl Num {
    pub fn of(number: &Number) -> Num {
        match number.as_i64() {
            Some(number) => Num::Int(number),
            // a number of JSON is one of 64 bits or floating
            None => Num::Float(number.as_f64().unwrap_or(f64::NAN)),
        }
    }

    fn float(self) -> f64 {
        match self {
            Num::Int(number) => number as f64,
            Num::Float(number) => number,
        }
    }
}

/// Whether a floating number stands for a whole one that JSON can hold exactly.
pub(super) fn is_whole(number: f64) -> bool {
    const LARGEST: f64 = ((1u64 << 53) - 1) as f64;
    const EPSILON: f64 = 1e-9;
    if !number.is_finite() || number.abs() > LARGEST {
        return false;
    }
    let rounded = number.round();
    number == rounded || (rounded != 0.0 && (number - rounded).abs() < EPSILON * rounded.abs())
}

/// A floating number cut to a whole one; the least one where there is none, as Go does on the machines that it is run on.
fn cut(number: f64) -> i64 {
    const END: f64 = 9_223_372_036_854_775_808.0;
    match (-END..END).contains(&number) {
        true => number as i64,
        false => i64::MIN,
    }
}

/// As Go prints a floating number.
fn shown(number: f64) -> String {
    GoValue(&Value::from(number)).to_string()
}

/// The one type that numbers must be of, and the format that narrows it.
#[derive(Clone, Copy)]
pub(super) struct Range<'s> {
    pub kind: Kind,
    pub format: &'s str,
}

impl Range<'_> {
    fn holds(self, number: Num) -> bool {
        const I32: std::ops::RangeInclusive<i64> = i32::MIN as i64..=i32::MAX as i64;
        match (self.kind, number) {
            (Kind::Integer, Num::Int(number)) => self.format != "int32" || I32.contains(&number),
            (Kind::Integer, Num::Float(number)) => {
                let whole = cut(number);
                number.fract() == 0.0
                    && whole as f64 == number
                    && (self.format != "int32" || I32.contains(&whole))
            }
            (Kind::Number, number) if self.format == "float" => (number.float() as f32).is_finite(),
            _ => true,
        }
    }
}

/// Which way a bound lies.
#[derive(Clone, Copy)]
struct Limit {
    what: &'static str,
    words: &'static str,
    exclusive_words: &'static str,
    upper: bool,
}

const MAXIMUM: Limit = Limit {
    what: "Maximum boundary",
    words: "should be less than or equal to",
    exclusive_words: "should be less than",
    upper: true,
};
const MINIMUM: Limit = Limit {
    what: "Minimum boundary",
    words: "should be greater than or equal to",
    exclusive_words: "should be greater than",
    upper: false,
};

impl<'s> Run<'s> {
    pub(super) fn number(
        &mut self,
        number: Num,
        checks: Option<&'s Checks>,
        range: Range,
        place: &Place,
    ) {
        self.in_range(number, range, "Checked", place);
        let Some(checks) = checks else { return };
        if let Some(Bound(factor)) = checks.multiple_of {
            let exact = self.in_range(Num::Float(factor), range, "MultipleOf", place);
            self.multiple(number, factor, exact, place);
        }
        if let Some(Bound(bound)) = checks.minimum {
            self.limit(
                number,
                bound,
                checks.exclusive_minimum,
                MINIMUM,
                range,
                place,
            );
        }
        if let Some(Bound(bound)) = checks.maximum {
            self.limit(
                number,
                bound,
                checks.exclusive_maximum,
                MAXIMUM,
                range,
                place,
            );
        }
    }

    /// Whether the type holds the number; tells it when not.
    fn in_range(&mut self, number: Num, range: Range, what: &str, place: &Place) -> bool {
        let holds = range.holds(number);
        if !holds {
            self.fail(|| {
                Fault::of_whole(place, |name| {
                    let kind = range.kind.name();
                    match range.format {
                        "" => format!(
                            "{what} value must be of type {kind} (default format) in {name}"
                        ),
                        format => {
                            format!(
                                "{what} value must be of type {kind} with format {format} in {name}"
                            )
                        }
                    }
                })
            });
        }
        holds
    }

    fn multiple(&mut self, number: Num, factor: f64, exact: bool, place: &Place) {
        let (positive, is_multiple, factor, found) = match number {
            Num::Int(number) if exact => {
                let factor = cut(factor);
                let is_multiple = factor > 0 && number % factor == 0;
                (
                    factor > 0,
                    is_multiple,
                    Value::from(factor),
                    Value::from(number),
                )
            }
            number => {
                let number = number.float();
                let times = if factor < 1.0 {
                    1.0 / factor * number
                } else {
                    number / factor
                };
                (factor > 0.0, is_whole(times), factor.into(), number.into())
            }
        };
        if !positive {
            return self.fail(|| {
                Fault::invalid(place, factor.clone(), |name| {
                    let factor = GoValue(&factor);
                    format!("factor MultipleOf declared for {name} must be positive: {factor}")
                })
            });
        }
        if !is_multiple {
            self.fail(|| {
                let words = format!("should be a multiple of {}", GoValue(&factor));
                Fault::in_body(place, found, &words)
            });
        }
    }

    fn limit(
        &mut self,
        number: Num,
        bound: f64,
        exclusive: bool,
        limit: Limit,
        range: Range,
        place: &Place,
    ) {
        let exact = self.in_range(Num::Float(bound), range, limit.what, place);
        let beyond = |order: std::cmp::Ordering| match limit.upper {
            true => order.is_gt() || (exclusive && order.is_eq()),
            false => order.is_lt() || (exclusive && order.is_eq()),
        };
        let (fails, bound, found) = match number {
            Num::Int(number) if exact => {
                let bound = cut(bound);
                (
                    beyond(number.cmp(&bound)),
                    bound.to_string(),
                    Value::from(number),
                )
            }
            number => {
                let number = number.float();
                let order = number.partial_cmp(&bound);
                let fails = order.is_some_and(beyond);
                let bound = if fails { shown(bound) } else { String::new() };
                (fails, bound, number.into())
            }
        };
        if fails {
            let words = if exclusive {
                limit.exclusive_words
            } else {
                limit.words
            };
            self.fail(|| Fault::in_body(place, found, &format!("{words} {bound}")));
        }
    }
}
