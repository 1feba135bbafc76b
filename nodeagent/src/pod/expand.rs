//! `$(NAME)` in commands, arguments and values of variables.
//!
//! Invariant: pure; a reference to an unknown variable stays as it was written.
//! Follows `third_party/forked/golang/expansion`.

/// `text` with every `$(NAME)` that `value_of` knows replaced; `$$` is a plain `$`.
pub fn expand(text: &str, mut value_of: impl FnMut(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        rest = match after.chars().next() {
            Some('$') => {
                out.push('$');
                &after[1..]
            }
            Some('(') => match after.find(')') {
                Some(end) => {
                    let name = &after[1..end];
                    match value_of(name) {
                        Some(value) => out.push_str(&value),
                        None => out.push_str(&format!("$({name})")),
                    }
                    &after[end + 1..]
                }
                None => {
                    out.push_str("$(");
                    &after[1..]
                }
            },
            Some(_) | None => {
                out.push('$');
                after
            }
        };
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let table = [
            ("$(A)", "1"),
            ("x$(A)y$(B)", "x1y2"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$(NONE)", "$(NONE)"),
            ("$A", "$A"),
            ("$(A", "$(A"),
            ("cost $", "cost $"),
            ("", ""),
            ("$()", "$()"),
            ("ü$(A)ü", "ü1ü"),
        ];
        for (text, expected) in table {
            let value = |name: &str| match name {
                "A" => Some("1".to_owned()),
                "B" => Some("2".to_owned()),
                _ => None,
            };
            assert_eq!(expand(text, value), expected, "{text}");
        }
    }
}
