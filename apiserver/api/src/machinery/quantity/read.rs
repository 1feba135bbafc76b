//! Quantities read from texts.
//!
//! Invariant: what is refused is refused in upstream's words; a canonical text is kept. Follows upstream's
//! `staging/src/k8s.io/apimachinery/pkg/api/resource/quantity.go`.

use std::{borrow::Cow, str::FromStr};

use super::{
    Format, NANO, Quantity, QuantityError,
    print::{BINARY_SUFFIXES, DECIMAL_SUFFIXES},
    shift_down,
};

/// The parts of a text: sign, digits before and after the point, unit.
struct Parts<'a> {
    negative: bool,
    num: &'a str,
    denom: &'a str,
    suffix: &'a str,
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Quantity, QuantityError> {
        if text.is_empty() {
            return Err(QuantityError::Format);
        }
        if text == "0" {
            return Ok(Quantity {
                text: Some("0".into()),
                ..Quantity::default()
            });
        }
        let parts = split(text)?;
        let (binary, exponent, format) = unit(parts.suffix).ok_or(QuantityError::Suffix)?;
        let digits = (parts.num.len() + parts.denom.len()) as i32;
        if let Some(quantity) = fast(text, &parts, digits, binary, exponent, format)? {
            return Ok(quantity);
        }
        slow(&parts, binary, exponent, format)
    }
}

/// The common case: what fits an `i64` and is no finer than a billionth. Here a canonical text is kept.
fn fast(
    text: &str,
    parts: &Parts<'_>,
    digits: i32,
    binary: bool,
    exponent: i32,
    format: Format,
) -> Result<Option<Quantity>, QuantityError> {
    let (precision, mut scale, factor) = if !binary {
        (18 - digits, exponent, 1)
    } else if parts.denom.is_empty() {
        (15 - digits - exponent * 3 / 10 - 1, 0, 1i64 << exponent)
    } else {
        (-1, 0, 1)
    };
    scale = scale.saturating_sub(parts.denom.len() as i32);
    if precision < 0 || scale < NANO {
        return Ok(None);
    }
    let digits: i64 = digits_value(parts)?
        .try_into()
        .map_err(|_| QuantityError::Numeric)?;
    let Some(value) = digits.checked_mul(factor) else {
        return Ok(None);
    };
    let canonical = if binary {
        digits & 7 != 0
    } else {
        let mut last = parts.num.bytes().chain(parts.denom.bytes()).rev();
        let thousands = (&mut last).take(3).filter(|b| *b == b'0').count() == 3;
        scale % 3 == 0 && !thousands && !parts.num.starts_with('0')
    };
    let mantissa = i128::from(if parts.negative { -value } else { value });
    Ok(Some(Quantity {
        mantissa,
        scale,
        format,
        text: canonical.then(|| text.into()),
        long: false,
    }))
}

/// Long numbers, and fractions of binary units: rounded up to a billionth, binary ones capped.
fn slow(
    parts: &Parts<'_>,
    binary: bool,
    exponent: i32,
    mut format: Format,
) -> Result<Quantity, QuantityError> {
    let mut mantissa = digits_value(parts)?;
    let mut scale = -(parts.denom.len() as i32);
    if binary {
        mantissa = mantissa.checked_mul(1i128 << exponent).unwrap_or(i128::MAX);
    } else {
        scale = scale.saturating_add(exponent);
    }
    if scale < NANO {
        mantissa = shift_down(mantissa, NANO.saturating_sub(scale) as u32);
        scale = NANO;
    }
    let mut quantity = Quantity {
        mantissa,
        scale,
        format,
        text: None,
        long: true,
    };
    if binary {
        let cap = Quantity::from_i64(i64::MAX, format);
        if quantity > cap {
            quantity = Quantity { long: true, ..cap };
        }
        if !quantity.is_zero() && quantity < Quantity::from_i64(1, format) {
            format = Format::DecimalSi;
        }
    }
    quantity.format = format;
    Ok(if parts.negative {
        quantity.neg()
    } else {
        quantity
    })
}

/// The canonical text of a quantity; borrowed when the text is canonical already.
pub fn canonical(text: &str) -> Result<Cow<'_, str>, QuantityError> {
    let quantity: Quantity = text.parse()?;
    Ok(if quantity.text.is_some() {
        Cow::Borrowed(text)
    } else {
        let printed = quantity.to_string();
        if printed == text {
            Cow::Borrowed(text)
        } else {
            Cow::Owned(printed)
        }
    })
}

/// All digits of the number as one integer.
fn digits_value(parts: &Parts<'_>) -> Result<i128, QuantityError> {
    let mut value = 0i128;
    for b in parts.num.bytes().chain(parts.denom.bytes()) {
        value = value
            .checked_mul(10)
            .and_then(|v| v.checked_add(i128::from(b - b'0')))
            .ok_or(QuantityError::Numeric)?;
    }
    Ok(value)
}

fn split(text: &str) -> Result<Parts<'_>, QuantityError> {
    let digits_end = |from: usize| {
        text[from..]
            .bytes()
            .position(|b| !b.is_ascii_digit())
            .map_or(text.len(), |n| from + n)
    };
    let bytes = text.as_bytes();
    let signed = matches!(bytes[0], b'+' | b'-');
    let negative = bytes[0] == b'-';
    let start = usize::from(signed);
    let start = text[start..]
        .bytes()
        .position(|b| b != b'0')
        .map_or(text.len(), |n| start + n);
    if start == text.len() {
        return Ok(Parts {
            negative: false,
            num: "0",
            denom: "",
            suffix: "",
        });
    }
    let mut pos = digits_end(start);
    let num = if pos == start { "0" } else { &text[start..pos] };
    let mut denom = "";
    if bytes.get(pos) == Some(&b'.') {
        let end = digits_end(pos + 1);
        denom = &text[pos + 1..end];
        pos = end;
    }
    let suffix = &text[pos..];
    let letters = suffix
        .bytes()
        .position(|b| !b"eEinumkKMGTP".contains(&b))
        .unwrap_or(suffix.len());
    let rest = &suffix[letters..];
    let rest = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    if !rest.bytes().all(|b| b.is_ascii_digit()) {
        return Err(QuantityError::Format);
    }
    Ok(Parts {
        negative,
        num,
        denom,
        suffix,
    })
}

/// Whether a unit is binary, its exponent, and the way of writing.
fn unit(suffix: &str) -> Option<(bool, i32, Format)> {
    if let Some((_, e)) = DECIMAL_SUFFIXES.iter().find(|(s, _)| *s == suffix) {
        return Some((false, *e, Format::DecimalSi));
    }
    if let Some((_, e)) = BINARY_SUFFIXES.iter().find(|(s, _)| *s == suffix) {
        return Some((true, *e, Format::BinarySi));
    }
    let exponent: i64 = suffix
        .strip_prefix(['e', 'E'])
        .filter(|e| !e.is_empty())?
        .parse()
        .ok()?;
    Some((
        false,
        i32::try_from(exponent).ok()?,
        Format::DecimalExponent,
    ))
}
