//! `'%s is %d'.format([..])`: the clauses of a format, and how values fill them.
//!
//! Invariant: numbers with a fraction are written as American English writes them, thousands between commas, as upstream's are. Follows upstream's
//! `vendor/github.com/google/cel-go/ext/formatting.go`.

use crate::error::EvalError;
use crate::quote::GoQuoted;
use crate::value::{List, Map, Value, convert, number};

/// What a clause asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clause {
    String,
    Decimal,
    /// With so many digits behind the point.
    Fixed(usize),
    Scientific(usize),
    Binary,
    Hex {
        upper: bool,
    },
    Octal,
}

const PRECISION: usize = 6;

impl Clause {
    /// The words for what a clause does not take.
    pub fn refusal(self, ty: &str) -> String {
        let takes = match self {
            Clause::String => {
                "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps"
            }
            Clause::Decimal => "decimal clause can only be used on integers",
            Clause::Fixed(_) => "fixed-point clause can only be used on doubles",
            Clause::Scientific(_) => "scientific clause can only be used on doubles",
            Clause::Binary => "only integers and bools can be formatted as binary",
            Clause::Hex { .. } => {
                "only integers, byte buffers, and strings can be formatted as hex"
            }
            Clause::Octal => "octal clause can only be used on integers",
        };
        format!("{takes}, was given {ty}")
    }
}

/// Goes through a format for `count` arguments: what stands between clauses goes to `literal`, each clause with the number of its argument to `clause`,
/// an argument that is asked for to `asked`.
pub(crate) fn clauses<E: From<EvalError>>(
    format: &str,
    count: usize,
    mut literal: impl FnMut(&str),
    mut asked: impl FnMut(usize) -> Result<(), E>,
    mut clause: impl FnMut(usize, Clause) -> Result<(), E>,
) -> Result<(), E> {
    let mut rest = format;
    let mut index = 0;
    while let Some(at) = rest.find('%') {
        literal(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            literal("%");
            rest = after;
            continue;
        }
        asked(index)?;
        if rest.is_empty() {
            return Err(EvalError::new("unexpected end of string").into());
        }
        if index >= count {
            return Err(out_of_range(index).into());
        }
        let (found, after) = parse(rest)?;
        clause(index, found)?;
        rest = after;
        index += 1;
    }
    literal(rest);
    Ok(())
}

fn out_of_range(index: usize) -> EvalError {
    EvalError::new(format!("index {index} out of range"))
}

fn parse(text: &str) -> Result<(Clause, &str), EvalError> {
    let wrong = |why: String| {
        Err(EvalError::new(format!(
            "could not parse formatting clause: {why}"
        )))
    };
    let (precision, rest) = match text.strip_prefix('.') {
        None => (PRECISION, text),
        Some(rest) => {
            let count = rest.bytes().take_while(u8::is_ascii_digit).count();
            if count == rest.len() {
                return wrong(
                    "error while parsing precision: could not find end of precision specifier"
                        .into(),
                );
            }
            match rest[..count].parse() {
                Ok(precision) => (precision, &rest[count..]),
                Err(_) => {
                    return wrong(format!(
                        "error while parsing precision: error while converting precision to integer: strconv.Atoi: parsing {}: invalid syntax",
                        GoQuoted(&rest[..count])
                    ));
                }
            }
        }
    };
    let mut chars = rest.chars();
    let letter = chars.next().unwrap_or(' ');
    let clause = match letter {
        's' => Clause::String,
        'd' => Clause::Decimal,
        'f' => Clause::Fixed(precision),
        'e' => Clause::Scientific(precision),
        'b' => Clause::Binary,
        'x' => Clause::Hex { upper: false },
        'X' => Clause::Hex { upper: true },
        'o' => Clause::Octal,
        other => return wrong(format!("unrecognized formatting clause \"{other}\"")),
    };
    Ok((clause, chars.as_str()))
}

/// A format with its clauses filled.
pub fn format(format: &str, args: &List<'_>) -> Result<String, EvalError> {
    let out = std::cell::RefCell::new(String::with_capacity(format.len() + 16));
    clauses::<EvalError>(
        format,
        args.len(),
        |text| out.borrow_mut().push_str(text),
        |index| {
            if index < args.len() {
                Ok(())
            } else {
                Err(out_of_range(index))
            }
        },
        |index, clause| {
            let arg = args.get(index).ok_or_else(|| out_of_range(index))??;
            let text = filled(clause, &arg).map_err(|error| match error {
                EvalError::Failed(why) => EvalError::new(format!("error during formatting: {why}")),
                other => other,
            })?;
            out.borrow_mut().push_str(&text);
            Ok(())
        },
    )?;
    Ok(out.into_inner())
}

fn filled(clause: Clause, arg: &Value<'_>) -> Result<String, EvalError> {
    let refused = || Err(EvalError::new(clause.refusal(arg.type_name())));
    Ok(match (clause, arg) {
        (Clause::String, arg) => return shown(arg, clause),
        (Clause::Decimal, Value::Int(value)) => value.to_string(),
        (Clause::Decimal, Value::Uint(value)) => value.to_string(),
        (Clause::Fixed(digits), arg) => match double(arg) {
            Some(value) => fixed(value, digits),
            None => return refused(),
        },
        (Clause::Scientific(digits), arg) => match double(arg) {
            Some(value) => scientific(value, digits),
            None => return refused(),
        },
        (Clause::Binary, Value::Int(value)) => signed(*value, |v| format!("{v:b}")),
        (Clause::Binary, Value::Uint(value)) => format!("{value:b}"),
        (Clause::Binary, Value::Bool(value)) => u8::from(*value).to_string(),
        (Clause::Hex { upper }, arg) => {
            let text = match arg {
                Value::Int(value) => signed(*value, |v| format!("{v:x}")),
                Value::Uint(value) => format!("{value:x}"),
                Value::String(text) => hex(text.as_bytes()),
                Value::Bytes(bytes) => hex(bytes),
                _ => return refused(),
            };
            if upper { text.to_uppercase() } else { text }
        }
        (Clause::Octal, Value::Int(value)) => signed(*value, |v| format!("{v:o}")),
        (Clause::Octal, Value::Uint(value)) => format!("{value:o}"),
        _ => return refused(),
    })
}

/// Go writes a sign and the number, not its complement.
fn signed(value: i64, digits: fn(u64) -> String) -> String {
    let sign = if value < 0 { "-" } else { "" };
    format!("{sign}{}", digits(value.unsigned_abs()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A double, or one of the texts that stand for what is no number.
fn double(arg: &Value<'_>) -> Option<f64> {
    match arg {
        Value::Double(value) => Some(*value),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// What is no finite number.
fn special(value: f64) -> Option<String> {
    if value.is_nan() {
        Some("NaN".into())
    } else if value.is_infinite() {
        Some(if value > 0.0 { "∞" } else { "-∞" }.into())
    } else {
        None
    }
}

/// The digits of a number and the place of its point: `0.d1d2d3 × 10^point`, the fewest digits that mean it.
fn digits(value: f64) -> (Vec<u8>, i32) {
    let text = format!("{:e}", value.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits: Vec<u8> = mantissa
        .bytes()
        .filter(u8::is_ascii_digit)
        .map(|b| b - b'0')
        .collect();
    if digits == [0] {
        return (Vec::new(), 0);
    }
    (digits, exponent.parse::<i32>().unwrap_or(0) + 1)
}

/// Keeps so many digits, half to even; one more place before the point may come of it.
fn rounded(mut digits: Vec<u8>, point: i32, keep: i32) -> (Vec<u8>, i32) {
    if keep < 0 {
        return (Vec::new(), 0);
    }
    let keep = keep as usize;
    if digits.len() <= keep {
        return (digits, point);
    }
    let rest = digits.split_off(keep);
    let above = rest[0] > 5 || rest[0] == 5 && rest[1..].iter().any(|d| *d > 0);
    let odd = digits.last().is_some_and(|d| d % 2 == 1);
    if above || rest[0] == 5 && odd {
        for at in (0..digits.len()).rev() {
            if digits[at] < 9 {
                digits[at] += 1;
                return (digits, point);
            }
            digits[at] = 0;
        }
        digits.insert(0, 1);
        return (digits, point + 1);
    }
    (digits, point)
}

fn fixed(value: f64, precision: usize) -> String {
    if let Some(text) = special(value) {
        return text;
    }
    let (digits, point) = digits(value);
    let (digits, point) = rounded(digits, point, point + precision as i32);
    let digit = |place: i32| {
        let at = usize::try_from(place).ok();
        at.and_then(|at| digits.get(at))
            .map_or('0', |d| (d + b'0') as char)
    };
    let whole = point.max(1);
    let mut text = String::from(if value.is_sign_negative() { "-" } else { "" });
    for i in 0..whole {
        if i > 0 && (whole - i) % 3 == 0 {
            text.push(',');
        }
        text.push(digit(point - whole + i));
    }
    if precision > 0 {
        text.push('.');
        text.extend((0..precision as i32).map(|i| digit(point + i)));
    }
    text
}

/// `1.5×10⁰³`
fn scientific(value: f64, precision: usize) -> String {
    if let Some(text) = special(value) {
        return text;
    }
    let (found, point) = digits(value);
    let (found, point) = if found.is_empty() {
        (found, 1)
    } else {
        rounded(found, point, 1 + precision as i32)
    };
    let digit = |at: usize| found.get(at).map_or('0', |d| (d + b'0') as char);
    let mut text = String::from(if value.is_sign_negative() { "-" } else { "" });
    text.push(digit(0));
    if precision > 0 {
        text.push('.');
        text.extend((1..=precision).map(digit));
    }
    text.push_str("×10");
    let exponent = point - 1;
    if exponent < 0 {
        text.push('⁻');
    }
    for c in format!("{:02}", exponent.abs()).bytes() {
        const RAISED: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
        text.push(RAISED[usize::from(c - b'0')]);
    }
    text
}

/// A value for `%s`.
fn shown(arg: &Value<'_>, clause: Clause) -> Result<String, EvalError> {
    match arg {
        Value::List(list) => shown_list(list),
        Value::Map(map) => shown_map(map),
        Value::Null => Ok("null".into()),
        Value::Optional(_)
        | Value::Opaque(_)
        | Value::Struct(_)
        | Value::Lazy
        | Value::Preserved(_) => Err(EvalError::new(clause.refusal(arg.type_name()))),
        other => convert::to_string(other).map(|text| text.to_string()),
    }
}

/// A value within a list or map.
fn shown_within(arg: &Value<'_>) -> Result<String, EvalError> {
    Ok(match arg {
        Value::List(list) => shown_list(list)?,
        Value::Map(map) => shown_map(map)?,
        Value::Timestamp(at) => format!("timestamp({})", GoQuoted(&at.text())),
        Value::Duration(_) => format!("duration({})", GoQuoted(&shown(arg, Clause::String)?)),
        Value::Double(value) => match special(*value) {
            Some(_) => {
                let text = number::shortest(*value);
                format!("{text}", text = GoQuoted(&text))
            }
            None => format!("{value:.6}"),
        },
        Value::String(text) => format!("{}", GoQuoted(&text.as_str())),
        Value::Bytes(_) => format!("b{}", GoQuoted(&shown(arg, Clause::String)?)),
        Value::Bool(_) | Value::Null | Value::Type(_) | Value::Int(_) | Value::Uint(_) => {
            shown(arg, Clause::String)?
        }
        other => {
            return Err(EvalError::new(format!(
                "no formatting function for {}",
                other.type_name()
            )));
        }
    })
}

fn shown_list(list: &List<'_>) -> Result<String, EvalError> {
    let items: Result<Vec<String>, EvalError> =
        list.iter().map(|item| shown_within(&item?)).collect();
    Ok(format!("[{}]", items?.join(", ")))
}

/// A map, its keys in order.
fn shown_map(map: &Map<'_>) -> Result<String, EvalError> {
    let mut entries = Vec::with_capacity(map.len());
    for key in map.keys() {
        let value = map.get(&key)?;
        let value = value.ok_or_else(|| EvalError::new(format!("could not find key: {key}")))?;
        entries.push((shown_within(&key)?, shown_within(&value)?));
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    let entries: Vec<String> = entries
        .into_iter()
        .map(|(k, v)| format!("{k}:{v}"))
        .collect();
    Ok(format!("{{{}}}", entries.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (value, precision, text) in [
            (1234.5, 3, "1,234.500"),
            (0.0, 2, "0.00"),
            (-0.005, 2, "-0.00"),
            (2.675, 2, "2.68"),
            (999.9996, 3, "1,000.000"),
            (0.0625, 3, "0.062"),
            (1e21, 0, "1,000,000,000,000,000,000,000"),
        ] {
            assert_eq!(fixed(value, precision), text);
        }
        assert_eq!(scientific(1052.032911275, 6), "1.052033×10⁰³");
        assert_eq!(scientific(0.00012, 1), "1.2×10⁻⁰⁴");
    }
}
