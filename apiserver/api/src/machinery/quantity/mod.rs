//! Quantities: the fixed-point numbers with a unit that resources are counted in (`500m`, `1.5Gi`, `12e6`).
//!
//! Invariant: a [`Quantity`] is `mantissa × 10^scale`, exact, never a float; what is finer than a billionth was rounded away from zero when it was read.
//! A text that already is in canonical form is kept as written, every other is printed anew, so re-encoding is idempotent.
//! Follows upstream's `staging/src/k8s.io/apimachinery/pkg/api/resource/{quantity,amount,suffix}.go`.

mod print;
mod read;

use std::cmp::Ordering;

use serde_json::Value;

pub use read::canonical;

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
        self.add(&other.neg());
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
        at_scale(self, scale).cmp(&at_scale(other, scale))
    }
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
