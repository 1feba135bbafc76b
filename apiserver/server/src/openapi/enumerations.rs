//! Types that are enumerations: their values, and how a field's description tells them.
//!
//! Follows kube-openapi's `pkg/generators/enum.go`; what each value is for is told by the field's own words.

use std::{collections::HashMap, fmt::Write, sync::LazyLock};

/// By the name that the schema table calls a type by (`v1.Protocol`).
static VALUES: LazyLock<HashMap<&'static str, Vec<&'static str>>> = LazyLock::new(|| {
    let lines = include_str!("enumerations.txt").lines();
    let rows = lines.filter(|line| !line.starts_with('#'));
    rows.filter_map(|line| line.split_once(' '))
        .map(|(name, values)| (name, values.split('|').collect()))
        .collect()
});

/// The values of a type, sorted; `None` of one that is no enumeration.
pub fn values(name: &str) -> Option<&'static [&'static str]> {
    VALUES.get(name).map(Vec::as_slice)
}

/// A description that ends with the values that there are.
pub fn told(words: &str, values: &[&str]) -> String {
    let mut told = words.trim_end().to_owned();
    if !told.is_empty() {
        told += "\n\n";
    }
    told += "Possible enum values:";
    for value in values {
        // a string takes whatever is written to it
        let _ = write!(told, "\n - `{value:?}`");
    }
    told
}

#[cfg(test)]
mod tests {
    use skiff_api::machinery::schema::{Schema, Shape};

    use super::*;

    #[test]
    fn every_enumeration_is_the_type_of_a_field() {
        fn named(shape: &Shape) -> Option<&str> {
            match shape {
                Shape::String(name) => name.as_deref(),
                Shape::List(of) | Shape::Map(of) => named(of),
                _ => None,
            }
        }
        let fields = Schema::builtin().types.iter().flat_map(|of| &of.fields);
        let used: Vec<&str> = fields.filter_map(|field| named(&field.shape)).collect();
        for (name, values) in VALUES.iter() {
            assert!(used.contains(name), "{name} is nobody's type");
            assert!(values.is_sorted(), "{name}: {values:?}");
        }
    }

    #[test]
    fn a_description_ends_with_the_values() {
        let protocols = values("v1.Protocol").unwrap();
        assert_eq!(
            told("The protocol.", protocols),
            "The protocol.\n\nPossible enum values:\n - `\"SCTP\"`\n - `\"TCP\"`\n - `\"UDP\"`"
        );
        assert_eq!(
            told("", &["", "A"]),
            "Possible enum values:\n - `\"\"`\n - `\"A\"`"
        );
        assert_eq!(values("types.UID"), None);
    }
}
