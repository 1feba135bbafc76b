//! Texts in pages.
//! Behaviour follows Go's package `html`: `EscapeString`.

/// A text as it stands in HTML, between tags or in an attribute's quotes.
pub fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&#34;",
            '\'' => out += "&#39;",
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_stays_text() {
        let found = escape_html("<a href=\"x\">'é' & &amp;</a>");
        assert_eq!(
            found,
            "&lt;a href=&#34;x&#34;&gt;&#39;é&#39; &amp; &amp;amp;&lt;/a&gt;"
        );
    }
}
