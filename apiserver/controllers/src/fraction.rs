//! Numbers that may be percentages.
//!
//! Invariant: what is absent or no percentage counts as nothing; the API server refuses such text. Follows
//! k8s.io/apimachinery/pkg/util/intstr (GetScaledValueFromIntOrPercent).

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// A number, or a percentage of `total`, rounded up or down.
pub fn scaled(value: Option<&IntOrString>, total: i32, up: bool) -> i32 {
    match value {
        None => 0,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(text)) => {
            let percent: i64 = text
                .strip_suffix('%')
                .and_then(|p| p.parse().ok())
                .unwrap_or(0);
            let product = percent.saturating_mul(i64::from(total));
            i32::try_from(if up {
                product.saturating_add(99) / 100
            } else {
                product / 100
            })
            .unwrap_or(i32::MAX)
        }
    }
}

/// The sum of numbers that people may have chosen: no more than a number can be.
pub fn total(numbers: impl Iterator<Item = i32>) -> i32 {
    numbers.fold(0, i32::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages() {
        let percent = |text: &str| Some(IntOrString::String(text.into()));
        for (value, total, up, expected) in [
            (percent("25%"), 3, true, 1),
            (percent("25%"), 3, false, 0),
            (percent("25%"), 4, false, 1),
            (Some(IntOrString::Int(7)), 3, true, 7),
            (None, 3, true, 0),
        ] {
            assert_eq!(scaled(value.as_ref(), total, up), expected);
        }
    }
}
