//! The numbers that literals write.

/// A whole number, in tens or behind `0x` in sixteens; `None` where it is too large.
pub fn int(text: &str, negative: bool) -> Option<i64> {
    let (digits, radix) = match text.strip_prefix("0x") {
        Some(hex) => (hex, 16),
        None => (text, 10),
    };
    if negative {
        i64::from_str_radix(&format!("-{digits}"), radix).ok()
    } else {
        i64::from_str_radix(digits, radix).ok()
    }
}

/// The same unsigned.
pub fn uint(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}
