//! What the rules of a schema may cost, each by itself and all together, in the units of CEL.
//!
//! Invariant: sums and products never wrap; what is too much stays the largest number.
//! Follows `pkg/apis/apiextensions/validation/{validation,cel_validation}.go` of apiextensions-apiserver.

use crate::kinds::prelude::*;

/// The most that one expression may cost.
pub const EACH: u64 = 10_000_000;
/// The most that all rules of a schema may cost together.
pub const ALL: u64 = 100_000_000;
/// How many expressions are named when all together cost too much.
const NAMED: usize = 4;

/// What the expressions of a schema cost together.
#[derive(Default)]
pub struct Total {
    sum: u64,
    /// The most expensive ones, the worst first: where they stand, and what they cost.
    worst: Vec<(String, u64)>,
}

impl Total {
    /// Adds what an expression costs.
    pub fn add(&mut self, cost: u64, path: &Path) {
        self.sum = self.sum.saturating_add(cost);
        if cost < ALL / 100 {
            return;
        }
        let at = self.worst.partition_point(|(_, other)| *other >= cost);
        self.worst.insert(at, (path.to_string(), cost));
        self.worst.truncate(NAMED);
    }

    /// Tells when all together cost too much. `path` is that of the schema.
    pub fn tell(&self, path: &Path, errors: &mut Errors) {
        if self.sum <= ALL {
            return;
        }
        for (at, _) in &self.worst {
            errors.forbidden(&Path::new(at), "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema");
        }
        let name = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        errors.forbidden(path, exceeds(name, self.sum, ALL));
    }
}

/// What is said of a cost that is too high.
pub fn exceeds(name: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = if factor > 100.0 {
        "more than 100x".into()
    } else if factor < 1.5 {
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{name} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

/// By how much more values there may be below a schema than of it; `None` without a bound.
pub fn multiplies(schema: &Value) -> Option<u64> {
    let bound = |name: &str| schema.int_ptr(name).map(|most| most.max(0).unsigned_abs());
    match schema.text("type") {
        "object" if schema.some("additionalProperties").is_some() => bound("maxProperties"),
        "array" => bound("maxItems"),
        _ => Some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_too_much() {
        let hint = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)";
        for (cost, factor) in [
            (EACH + 1, "1.000000x"),
            (25_000_000, "2.5x"),
            (EACH * 100 + 1, "more than 100x"),
            (u64::MAX, "more than 100x"),
        ] {
            let wanted = format!("c exceeds budget by factor of {factor} {hint}");
            assert_eq!(exceeds("c", cost, EACH), wanted);
        }
    }

    #[test]
    fn the_worst_are_named() {
        let mut total = Total::default();
        for (path, cost) in [
            ("a", 1_000_000),
            ("b", 60_000_000),
            ("c", 2_000_000),
            ("d", 999_999),
            ("e", 3_000_000),
            ("f", 60_000_000),
        ] {
            total.add(cost, &Path::new(path));
        }
        let texts = Errors::of(|errors| total.tell(&Path::new("s"), errors)).texts();
        let fields: Vec<&str> = texts
            .iter()
            .filter_map(|text| text.split(':').next())
            .collect();
        assert_eq!(fields, ["b", "f", "e", "c", "s"]);
        assert!(
            texts[4].contains("exceeds budget by factor of 1.270000"),
            "{}",
            texts[4]
        );
    }

    #[test]
    fn how_many_values_there_may_be() {
        for (schema, wanted) in [
            (json!({"type": "object"}), Some(1)),
            (
                json!({"type": "object", "additionalProperties": true}),
                None,
            ),
            (
                json!({"type": "object", "additionalProperties": true, "maxProperties": 3}),
                Some(3),
            ),
            (json!({"type": "array"}), None),
            (json!({"type": "array", "maxItems": -1}), Some(0)),
            (json!({"type": "string"}), Some(1)),
        ] {
            assert_eq!(multiplies(&schema), wanted, "{schema}");
        }
    }
}
