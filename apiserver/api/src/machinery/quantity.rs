//! Quantities: the fixed-point numbers with a unit that resources are counted in (`500m`, `1.5Gi`, `12e6`).
//!
//! Invariant: a [`Quantity`] is `mantissa × 10^scale`, exact, never a float; what is finer than a billionth was rounded away from zero when it was read.
//! A text that already is in canonical form is kept as written, every other is printed anew, so re-encoding is idempotent.
//! Follows upstream's `staging/src/k8s.io/apimachinery/pkg/api/resource/{quantity,amount,suffix}.go`.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde_json::Value;

/// Why a text is no quantity. The texts are upstream's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// The text does not have the shape number-suffix.
    #[error(
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Format,
    /// The number has more digits than can be kept exactly (38).
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    /// The unit is not known.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// The three ways to write a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `12e6`
    DecimalExponent,
    /// `12Mi`, which is 12 × 2^20
    BinarySi,
    /// `12M`, which is 12 × 10^6
    #[default]
    DecimalSi,
}

/// A number with a unit. Equality and order look at the number only: `1` equals `1000m`.
#[derive(Debug, Clone, Default)]
pub struct Quantity {
    mantissa: i128,
    scale: i32,
    format: Format,
    /// The text it was read from, when that is canonical already.
    text: Option<Box<str>>,
    /// Upstream keeps it as a number of any length, not in 64 bits: how it counts where there is no room differs.
    long: bool,
}

/// The finest scale that is kept: a billionth.
const NANO: i32 = -9;
const DECIMAL_SUFFIXES: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
const BINARY_SUFFIXES: [(&str, i32); 6] = [
    ("Ki", 10),
    ("Mi", 20),
    ("Gi", 30),
    ("Ti", 40),
    ("Pi", 50),
    ("Ei", 60),
];

/// The parts of a text: sign, digits before and after the point, unit.
struct Parts<'a> {
    negative: bool,
    num: &'a str,
    denom: &'a str,
    suffix: &'a str,
}

impl Quantity {
    /// `value` whole units.
    pub fn from_i64(value: i64, format: Format) -> Quantity {
        Quantity {
            mantissa: value.into(),
            scale: 0,
            format,
            text: None,
            long: false,
        }
    }

    /// `value` thousandths.
    pub fn from_milli(value: i64, format: Format) -> Quantity {
        Quantity::from_scaled(value, -3, format)
    }

    /// `value` times ten to the power of `scale`.
    pub fn from_scaled(value: i64, scale: i32, format: Format) -> Quantity {
        Quantity {
            mantissa: value.into(),
            scale,
            format,
            text: None,
            long: false,
        }
    }

    /// Reads a quantity as a JSON value may hold it: a string (blanks around it are dropped), or a number.
    pub fn from_json(value: &Value) -> Result<Quantity, QuantityError> {
        match value {
            Value::String(s) => s.trim().parse(),
            Value::Number(n) => n.to_string().parse(),
            Value::Null => Ok(Quantity::default()),
            _ => Err(QuantityError::Format),
        }
    }

    /// Whether it is nought.
    pub fn is_zero(&self) -> bool {
        self.mantissa == 0
    }

    /// -1, 0 or 1.
    pub fn sign(&self) -> i32 {
        self.mantissa.signum() as i32
    }

    /// How it was written.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whole units, rounded away from zero, capped to what an `i64` holds.
    pub fn value(&self) -> i64 {
        self.scaled_value(0)
    }

    /// Thousandths, rounded away from zero, capped to what an `i64` holds.
    pub fn milli_value(&self) -> i64 {
        self.scaled_value(-3)
    }

    /// The count of `10^scale`, rounded away from zero, capped to what an `i64` holds.
    pub fn scaled_value(&self, scale: i32) -> i64 {
        let wide = if self.scale >= scale {
            shift_up(self.mantissa, (self.scale - scale) as u32).unwrap_or(if self.mantissa < 0 {
                i128::MIN
            } else {
                i128::MAX
            })
        } else {
            shift_down(self.mantissa, (scale - self.scale) as u32)
        };
        wide.clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }

    /// The count of `10^scale` as upstream takes it in 64 bits: nought, or what is left of the number, where it does not fit.
    pub fn in_64_bits(&self, scale: i32) -> i64 {
        if self.scale < scale {
            return shift_down(self.mantissa, (scale - self.scale) as u32) as i64;
        }
        let by = (self.scale - scale) as u32;
        let exact = shift_up(self.mantissa, by).and_then(|wide| i64::try_from(wide).ok());
        match exact {
            Some(exact) => exact,
            None if self.long => self.mantissa.wrapping_mul(10i128.wrapping_pow(by)) as i64,
            None => 0,
        }
    }

    /// Whether upstream takes it for a whole number of units.
    pub fn counts_as_whole(&self) -> bool {
        self.in_64_bits(-3) % 1000 == 0
    }

    /// The nearest float.
    pub fn as_f64(&self) -> f64 {
        self.mantissa as f64 * 10f64.powi(self.scale)
    }

    /// The whole units, where it is counted in such and they fit.
    pub fn to_i64(&self) -> Option<i64> {
        if self.scale < 0 {
            return None;
        }
        i64::try_from(self.whole()?).ok()
    }

    /// Whether it is a whole number of units.
    pub fn is_whole(&self) -> bool {
        self.scale >= 0 || self.whole().is_some()
    }

    /// The whole units, when nothing is lost and they fit.
    fn whole(&self) -> Option<i128> {
        let by = self.scale.unsigned_abs();
        if self.scale >= 0 {
            return shift_up(self.mantissa, by);
        }
        Some(shift_down(self.mantissa, by))
            .filter(|whole| shift_up(*whole, by) == Some(self.mantissa))
    }

    /// Adds `other`; a quantity that was nought takes over the other's way of writing.
    pub fn add(&mut self, other: &Quantity) {
        if self.is_zero() {
            self.format = other.format;
        }
        self.text = None;
        if other.is_zero() {
            return;
        }
        if self.is_zero() {
            (self.mantissa, self.scale) = (other.mantissa, other.scale);
            return;
        }
        let scale = self.scale.min(other.scale);
        let (a, b) = (at_scale(self, scale), at_scale(other, scale));
        (self.mantissa, self.scale) = (a.saturating_add(b), scale);
    }

    /// Subtracts `other`; a quantity that was nought takes over the other's way of writing.
    pub fn sub(&mut self, other: &Quantity) {
        self.add(&Quantity {
            mantissa: -other.mantissa,
            scale: other.scale,
            format: other.format,
            text: None,
            long: false,
        });
    }

    /// Its negative.
    pub fn neg(&self) -> Quantity {
        Quantity {
            mantissa: -self.mantissa,
            scale: self.scale,
            format: self.format,
            text: None,
            long: false,
        }
    }

    /// `times` times itself, capped.
    pub fn mul(&self, times: i64) -> Quantity {
        Quantity {
            mantissa: self.mantissa.saturating_mul(times.into()),
            scale: self.scale,
            format: self.format,
            text: None,
            long: false,
        }
    }

    /// Mantissa and exponent, the exponent the largest multiple of three that loses nothing.
    fn decimal_parts(&self) -> (i128, i32) {
        let (mut mantissa, mut exponent) = (self.mantissa, self.scale);
        while mantissa % 10 == 0 {
            mantissa /= 10;
            exponent += 1;
        }
        let excess = exponent.rem_euclid(3);
        (
            mantissa.saturating_mul(10i128.pow(excess as u32)),
            exponent - excess,
        )
    }

    fn fmt_decimal(&self, f: &mut fmt::Formatter<'_>, exponent_form: bool) -> fmt::Result {
        let (mantissa, exponent) = self.decimal_parts();
        match (exponent_form, exponent) {
            (_, 0) => write!(f, "{mantissa}"),
            (true, _) => write!(f, "{mantissa}e{exponent}"),
            // Upstream has no unit past exa and prints none; its answer is kept.
            (false, _) => {
                let suffix = DECIMAL_SUFFIXES
                    .iter()
                    .find(|(_, e)| *e == exponent)
                    .map_or("", |(s, _)| s);
                write!(f, "{mantissa}{suffix}")
            }
        }
    }
}

impl fmt::Display for Quantity {
    /// The canonical form: no fraction, the largest unit that loses nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = &self.text {
            return f.write_str(text);
        }
        if self.is_zero() {
            return f.write_str("0");
        }
        match self.format {
            Format::DecimalExponent => self.fmt_decimal(f, true),
            Format::DecimalSi => self.fmt_decimal(f, false),
            Format::BinarySi => {
                let small = *self > Quantity::from_i64(-1024, self.format)
                    && *self < Quantity::from_i64(1024, self.format);
                let Some(mut mantissa) = self.whole().filter(|_| !small) else {
                    return self.fmt_decimal(f, false);
                };
                let mut times = 0;
                while times < BINARY_SUFFIXES.len() && mantissa % 1024 == 0 {
                    mantissa /= 1024;
                    times += 1;
                }
                write!(
                    f,
                    "{mantissa}{}",
                    if times == 0 {
                        ""
                    } else {
                        BINARY_SUFFIXES[times - 1].0
                    }
                )
            }
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Quantity) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Quantity) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Quantity) -> Ordering {
        if self.scale == other.scale
            || self.mantissa.signum() != other.mantissa.signum()
            || self.is_zero()
        {
            return self.mantissa.cmp(&other.mantissa);
        }
        let scale = self.scale.min(other.scale);
        let widest = |q: &Quantity| {
            shift_up(q.mantissa, (q.scale - scale) as u32).unwrap_or(if q.mantissa < 0 {
                i128::MIN
            } else {
                i128::MAX
            })
        };
        widest(self).cmp(&widest(other))
    }
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

/// `value × 10^by`, unless that overflows.
fn shift_up(value: i128, by: u32) -> Option<i128> {
    if value == 0 {
        Some(0)
    } else {
        10i128
            .checked_pow(by)
            .and_then(|factor| value.checked_mul(factor))
    }
}

/// `value / 10^by`, rounded away from zero.
fn shift_down(value: i128, by: u32) -> i128 {
    let Some(divisor) = 10i128.checked_pow(by) else {
        return value.signum();
    };
    let rest = value % divisor;
    value / divisor + if rest == 0 { 0 } else { value.signum() }
}

fn at_scale(q: &Quantity, scale: i32) -> i128 {
    shift_up(q.mantissa, (q.scale - scale) as u32).unwrap_or(if q.mantissa < 0 {
        i128::MIN
    } else {
        i128::MAX
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_in_64_bits_counts_as_upstream_counts_it() {
        for (text, units, milli, whole) in [
            ("1500m", 2, 1500, false),
            ("2", 2, 2000, true),
            ("-1500m", -2, -1500, false),
            ("9223372036854775807", i64::MAX, -1000, true),
            ("16Ei", i64::MAX, -1000, true),
            ("1E", 1_000_000_000_000_000_000, 0, true),
            ("1e30", 0, 0, true),
            (
                "1234567890123456789",
                1_234_567_890_123_456_789,
                -1_363_962_815_083_169_272,
                false,
            ),
        ] {
            let quantity = q(text);
            let found = (quantity.in_64_bits(0), quantity.in_64_bits(-3));
            assert_eq!(found, (units, milli), "{text}");
            assert_eq!(quantity.counts_as_whole(), whole, "{text}");
        }
    }

    fn q(s: &str) -> Quantity {
        s.parse().unwrap_or_else(|e| panic!("{s}: {e}"))
    }

    #[test]
    fn canonical_forms() {
        for (given, wanted) in [
            ("0", "0"),
            ("0n", "0"),
            ("0Mi", "0"),
            ("00", "0"),
            ("-0", "0"),
            ("+0.0", "0"),
            (".", "0"),
            ("+", "0"),
            ("1", "1"),
            ("1.", "1."),
            ("1000m", "1"),
            ("1100m", "1100m"),
            ("0.5Gi", "512Mi"),
            ("1.5Gi", "1536Mi"),
            ("1.5", "1500m"),
            ("0.5", "500m"),
            ("0.1", "100m"),
            ("1.500", "1.500"),
            ("12.000", "12"),
            ("2000", "2k"),
            ("1500k", "1500k"),
            ("1000k", "1M"),
            ("1024", "1024"),
            ("1024Ki", "1Mi"),
            ("1Ki", "1Ki"),
            ("1024Mi", "1Gi"),
            ("512Mi", "512Mi"),
            ("1000Ki", "1000Ki"),
            ("1025Mi", "1025Mi"),
            ("0.5Ki", "512"),
            ("0.001Ki", "1024m"),
            ("100Mi", "100Mi"),
            ("1e3", "1e3"),
            ("1E3", "1E3"),
            ("1000e3", "1e6"),
            ("12e6", "12e6"),
            ("1e4", "10e3"),
            ("1.1e5", "110e3"),
            ("1e-3", "1e-3"),
            ("1e-10", "1e-9"),
            ("0.1n", "1n"),
            ("0.1m", "100u"),
            ("1.00001m", "1000010n"),
            ("1.000000001m", "1000001n"),
            ("-1.000000001m", "-1000001n"),
            ("+5", "+5"),
            ("05", "05"),
            ("-5Ki", "-5Ki"),
            ("-0.5", "-500m"),
            ("-1.5Gi", "-1536Mi"),
            ("9223372036854775807", "9223372036854775807"),
            ("9999999999999999999", "9999999999999999999"),
            ("99999999999999999999Ei", "9223372036854775807"),
            ("8Ei", "9223372036854775807"),
            ("100E", "100E"),
            ("1000E", "1"),
            ("12345678901234567890k", "12345678901234567890k"),
            ("0.0000000000000000001Ei", "115292151n"),
            ("1e1000000", "10e999999"),
        ] {
            assert_eq!(canonical(given).unwrap(), wanted, "{given}");
            assert_eq!(
                canonical(&canonical(given).unwrap()).unwrap(),
                if wanted == "1" && given == "1000E" {
                    "1"
                } else {
                    wanted
                },
                "again: {given}"
            );
        }
    }

    #[test]
    fn errors() {
        for (given, wanted) in [
            ("", QuantityError::Format),
            ("abc", QuantityError::Format),
            ("1.5.5", QuantityError::Format),
            ("1Kib", QuantityError::Format),
            (" 1", QuantityError::Format),
            ("1 ", QuantityError::Format),
            ("1KI", QuantityError::Format),
            ("--1", QuantityError::Suffix),
            ("1e1.5", QuantityError::Format),
            ("1mi", QuantityError::Suffix),
            ("1kk", QuantityError::Suffix),
            ("1e", QuantityError::Suffix),
            ("1m5", QuantityError::Suffix),
            ("1i", QuantityError::Suffix),
            ("1K", QuantityError::Suffix),
            ("true", QuantityError::Format),
            ("1e+", QuantityError::Suffix),
            ("1-", QuantityError::Suffix),
            ("é", QuantityError::Format),
            (
                "1111111111111111111111111111111111111111111111",
                QuantityError::Numeric,
            ),
        ] {
            assert_eq!(given.parse::<Quantity>().unwrap_err(), wanted, "{given}");
        }
        assert_eq!(
            QuantityError::Format.to_string(),
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        );
    }

    #[test]
    fn values_round_away_from_zero() {
        for (given, value, milli) in [
            ("1", 1, 1000),
            ("1m", 1, 1),
            ("1500m", 2, 1500),
            ("-1500m", -2, -1500),
            ("1n", 1, 1),
            ("1Gi", 1 << 30, 1000 << 30),
            ("0", 0, 0),
            ("1e3", 1000, 1_000_000),
            ("100E", i64::MAX, i64::MAX),
            ("0.5Gi", 1 << 29, 1000 << 29),
        ] {
            assert_eq!(
                (q(given).value(), q(given).milli_value()),
                (value, milli),
                "{given}"
            );
        }
    }

    #[test]
    fn order_and_sums() {
        for (a, order, b) in [
            ("1", Ordering::Equal, "1000m"),
            ("1Gi", Ordering::Equal, "1024Mi"),
            ("1G", Ordering::Less, "1Gi"),
            ("-1", Ordering::Less, "0"),
            ("0", Ordering::Equal, "0Mi"),
            ("1e100", Ordering::Greater, "100E"),
            ("1n", Ordering::Greater, "0"),
            ("-1e100", Ordering::Less, "-1"),
            ("1e100", Ordering::Less, "1e101"),
        ] {
            assert_eq!(q(a).cmp(&q(b)), order, "{a} {b}");
        }
        for (a, b, sum, difference) in [
            ("1", "500m", "1500m", "500m"),
            ("0", "1Gi", "1Gi", "-1Gi"),
            ("1Gi", "1", "1073741825", "1073741823"),
            ("100m", "100m", "200m", "0"),
            ("1Mi", "1Mi", "2Mi", "0"),
            ("1", "2Ki", "2049", "-2047"),
        ] {
            let (mut plus, mut minus) = (q(a), q(a));
            plus.add(&q(b));
            minus.sub(&q(b));
            assert_eq!(
                (plus.to_string(), minus.to_string()),
                (sum.to_string(), difference.to_string()),
                "{a} {b}"
            );
        }
        assert_eq!(q("250m").mul(4).to_string(), "1");
        assert_eq!(
            Quantity::from_milli(1500, Format::DecimalSi).to_string(),
            "1500m"
        );
        assert!(q("1.5Ki").is_whole() && !q("1.5").is_whole());
    }

    #[test]
    fn json() {
        assert_eq!(
            Quantity::from_json(&serde_json::json!(0.5))
                .unwrap()
                .to_string(),
            "500m"
        );
        assert_eq!(
            Quantity::from_json(&serde_json::json!(" 2 "))
                .unwrap()
                .to_string(),
            "2"
        );
        assert_eq!(
            Quantity::from_json(&serde_json::json!(true)).unwrap_err(),
            QuantityError::Format
        );
    }
}
