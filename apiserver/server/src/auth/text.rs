//! Lists and errors as Go shows them.

use std::collections::HashSet;

pub(crate) use skiff_api::machinery::quote::go_quote as quote;

/// `["a" "b"]`.
pub(crate) fn quote_list(list: &[String]) -> String {
    format!(
        "[{}]",
        list.iter()
            .map(|item| quote(item))
            .collect::<Vec<_>>()
            .join(" ")
    )
}

/// Several errors as one text: alone as it is, else in brackets, each once.
pub(crate) fn aggregate(errors: &[String]) -> Option<String> {
    let mut seen = HashSet::new();
    let distinct: Vec<&str> = errors
        .iter()
        .filter(|error| seen.insert(*error))
        .map(String::as_str)
        .collect();
    match distinct.as_slice() {
        [] => None,
        [one] => Some((*one).to_owned()),
        many => Some(format!("[{}]", many.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_as_go_does() {
        assert_eq!(quote_list(&["a".into(), "b".into()]), r#"["a" "b"]"#);
        assert_eq!(quote_list(&[]), "[]");
        assert_eq!(aggregate(&["x".into(), "x".into()]).unwrap(), "x");
        assert_eq!(aggregate(&["x".into(), "y".into()]).unwrap(), "[x, y]");
        assert_eq!(aggregate(&[]), None);
    }
}
