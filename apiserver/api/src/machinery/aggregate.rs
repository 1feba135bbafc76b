//! Several errors as one text. Follows `k8s.io/apimachinery/pkg/util/errors/errors.go`.

use std::{collections::HashSet, fmt::Display};

/// One as it is, more in brackets, each text once; nothing for none.
pub fn aggregate<E: Display>(errors: impl IntoIterator<Item = E>) -> Option<String> {
    let mut seen = HashSet::new();
    let mut texts: Vec<String> = Vec::new();
    for text in errors.into_iter().map(|error| error.to_string()) {
        if seen.insert(text.clone()) {
            texts.push(text);
        }
    }
    match texts.len() {
        0 => None,
        1 => texts.pop(),
        _ => Some(format!("[{}]", texts.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_once() {
        for (errors, wanted) in [
            (&["x", "x"][..], Some("x")),
            (&["x", "y", "x"], Some("[x, y]")),
            (&[""], Some("")),
            (&[], None),
        ] {
            assert_eq!(aggregate(errors).as_deref(), wanted);
        }
    }
}
