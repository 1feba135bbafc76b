//! Numbers with a fraction, as Go writes them.
//! Invariant: without a precision, as few digits as tell the number from its neighbours.
//! Behaviour follows Go's `strconv/ftoa.go` and `fmtFloat` of `fmt/format.go`.

use super::printf::{Form, padded};

/// The number as a verb writes it; nothing if the verb is for other values.
pub fn write(number: f64, verb: char, form: Form) -> Option<String> {
    let size = number.abs();
    let digits = if !number.is_finite() {
        if number.is_nan() { "NaN" } else { "Inf" }.to_string()
    } else {
        match verb {
            'f' | 'F' => format!("{size:.*}", form.precision.unwrap_or(6)),
            'e' => exponential(size, Some(form.precision.unwrap_or(6))),
            'E' => exponential(size, Some(form.precision.unwrap_or(6))).to_uppercase(),
            'g' | 'v' => general(size, form.precision),
            'G' => general(size, form.precision).to_uppercase(),
            'b' => {
                let bits = size.to_bits();
                let (exponent, fraction) = ((bits >> 52) as i64, bits & ((1 << 52) - 1));
                match exponent {
                    0 => format!("{fraction}p-1074"),
                    _ => format!("{}p{:+}", fraction | 1 << 52, exponent - 1075),
                }
            }
            'x' => hexadecimal(size, form.precision),
            'X' => hexadecimal(size, form.precision).to_uppercase(),
            _ => return None,
        }
    };
    let sign = match (number.is_sign_negative(), form.plus, form.space) {
        (true, ..) => "-",
        (_, true, _) => "+",
        (_, _, true) => " ",
        _ => "",
    };
    let width = form.width.unwrap_or(0);
    if form.zero && !form.minus && number.is_finite() {
        let zeros = width.saturating_sub(sign.len() + digits.len());
        return Some(format!("{sign}{}{digits}", "0".repeat(zeros)));
    }
    let form = Form {
        zero: false,
        ..form
    };
    Some(padded(&format!("{sign}{digits}"), form))
}

/// `d.ddde±dd`.
fn exponential(size: f64, precision: Option<usize>) -> String {
    let text = match precision {
        Some(precision) => format!("{size:.precision$e}"),
        None => format!("{size:e}"),
    };
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i64 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// `0x1.hhhp±dd`, rounded to even where digits are left out.
fn hexadecimal(size: f64, precision: Option<usize>) -> String {
    let bits = size.to_bits();
    let (mut fraction, mut exponent) = (bits & ((1 << 52) - 1), (bits >> 52) as i64 - 1023);
    if exponent == -1023 && fraction != 0 {
        let shift = i64::from(fraction.leading_zeros()) - 11;
        (fraction, exponent) = (fraction << shift & ((1 << 52) - 1), -1022 - shift);
    }
    let mut lead = u64::from(size != 0.0);
    if size == 0.0 {
        exponent = 0;
    }
    let mut digits = format!("{fraction:013x}");
    match precision {
        None => digits.truncate(digits.trim_end_matches('0').len()),
        Some(count) if count < 13 => {
            let cut = 52 - 4 * count as u32;
            let whole = lead << 52 | fraction;
            let (kept, rest, half) = (whole >> cut, whole & ((1 << cut) - 1), 1 << (cut - 1));
            let kept = kept + u64::from(rest > half || rest == half && kept & 1 == 1);
            lead = kept >> (4 * count);
            if lead > 1 {
                (lead, exponent) = (1, exponent + 1);
            }
            let tail = kept & ((1 << (4 * count)) - 1);
            digits = match count {
                0 => String::new(),
                _ => format!("{tail:0count$x}"),
            };
        }
        Some(count) => digits += &"0".repeat(count - 13),
    }
    let point = if digits.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("0x{lead}{point}{digits}p{sign}{:02}", exponent.abs())
}

/// The shorter of the two ways: with an exponent where it is below -4 or not below the number of digits.
fn general(size: f64, precision: Option<usize>) -> String {
    let text = match precision {
        Some(precision) => format!("{size:.*e}", precision.max(1) - 1),
        None => format!("{size:e}"),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i64 = exponent.parse().unwrap_or(0);
    let mut digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    while digits.len() > 1 && digits.ends_with('0') {
        digits.pop();
    }
    let count = digits.len() as i64;
    let bound = match precision {
        None => 6,
        Some(precision) if precision as i64 > count && count > exponent => count,
        Some(precision) => precision.max(1) as i64,
    };
    if exponent < -4 || exponent >= bound {
        return exponential(size, Some(digits.len() - 1));
    }
    format!("{size:.*}", (count - 1 - exponent).max(0) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_gos() {
        let form = Form::default();
        for (number, verb, wanted) in [
            (1.5, 'v', "1.5"),
            (0.00001, 'v', "1e-05"),
            (123456789.0, 'f', "123456789.000000"),
            (1.5, 'b', "6755399441055744p-52"),
            (-2.0, 'g', "-2"),
            (1.5, 'E', "1.500000E+00"),
            (1.5, 'x', "0x1.8p+00"),
            (0.0, 'x', "0x0p+00"),
            (1.0, 'X', "0X1P+00"),
        ] {
            assert_eq!(
                write(number, verb, form).unwrap(),
                wanted,
                "{number} {verb}"
            );
        }
        let precise = Form {
            precision: Some(3),
            ..form
        };
        assert_eq!(write(3.24159, 'g', precise).unwrap(), "3.24");
        assert_eq!(write(1234.0, 'g', precise).unwrap(), "1.23e+03");
        assert_eq!(write(1.5, 's', form), None);
    }
}
