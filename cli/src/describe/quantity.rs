//! Quantities: `100m`, `64Mi`, `1e3`.
//! Invariant: they are read and shown as the server does it.
//! Behaviour follows `staging/src/k8s.io/apimachinery/pkg/api/resource/quantity.go`.

use skiff_api::machinery::quantity::Quantity;

/// The value as a float; nothing for what is no quantity.
pub fn parse(text: &str) -> Option<f64> {
    text.parse::<Quantity>()
        .ok()
        .map(|quantity| quantity.as_f64())
}

/// The canonical text of a quantity; what is none stays as it is.
pub fn canonical(text: &str) -> String {
    text.parse::<Quantity>()
        .map_or_else(|_| text.into(), |quantity| quantity.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        for (text, want) in [
            ("100m", "100m"),
            ("1000m", "1"),
            ("1.5", "1500m"),
            ("1024Ki", "1Mi"),
            ("64Mi", "64Mi"),
            ("1500Mi", "1500Mi"),
            ("0", "0"),
            ("1e3", "1e3"),
            ("2000", "2k"),
            ("0.5Gi", "512Mi"),
            ("-1", "-1"),
            ("x", "x"),
        ] {
            assert_eq!(canonical(text), want, "{text}");
        }
        assert_eq!(parse("abc"), None);
    }
}
