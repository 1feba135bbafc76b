//! The canonical form of a quantity, and the units.
//!
//! Invariant: what is printed is read as the same number. Follows upstream's `staging/src/k8s.io/apimachinery/pkg/api/resource/{quantity,suffix}.go`.

use std::fmt;

use super::{Format, Quantity};

pub(super) const DECIMAL_SUFFIXES: [(&str, i32); 10] = [
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
pub(super) const BINARY_SUFFIXES: [(&str, i32); 6] = [
    ("Ki", 10),
    ("Mi", 20),
    ("Gi", 30),
    ("Ti", 40),
    ("Pi", 50),
    ("Ei", 60),
];

impl Quantity {
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
