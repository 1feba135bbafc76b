//! Lists and errors as Go shows them.

pub(crate) use skiff_api::machinery::{aggregate::aggregate, quote::go_quote as quote};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_as_go_does() {
        assert_eq!(quote_list(&["a".into(), "b".into()]), r#"["a" "b"]"#);
        assert_eq!(quote_list(&[]), "[]");
    }
}
