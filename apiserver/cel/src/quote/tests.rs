//! The rule against what `strconv` of Go 1.26 answers.

use super::*;

/// What is written for a character between marks that it is not itself.
const WRITTEN: &[(char, &str)] = &[
    ('\u{0}', r"\x00"),
    ('\u{7}', r"\a"),
    ('\u{8}', r"\b"),
    ('\t', r"\t"),
    ('\n', r"\n"),
    ('\u{b}', r"\v"),
    ('\u{c}', r"\f"),
    ('\r', r"\r"),
    ('\u{1b}', r"\x1b"),
    ('\u{1f}', r"\x1f"),
    ('\\', r"\\"),
    ('\u{7f}', r"\x7f"),
    ('\u{80}', r"\u0080"),
    ('\u{85}', r"\u0085"),
    ('\u{a0}', r"\u00a0"),
    ('\u{ad}', r"\u00ad"),
    ('\u{378}', r"\u0378"),
    ('\u{61c}', r"\u061c"),
    ('\u{1680}', r"\u1680"),
    ('\u{180e}', r"\u180e"),
    ('\u{1c89}', r"\u1c89"),
    ('\u{200b}', r"\u200b"),
    ('\u{200d}', r"\u200d"),
    ('\u{200e}', r"\u200e"),
    ('\u{2028}', r"\u2028"),
    ('\u{202f}', r"\u202f"),
    ('\u{2060}', r"\u2060"),
    ('\u{3000}', r"\u3000"),
    ('\u{d7ff}', r"\ud7ff"),
    ('\u{e000}', r"\ue000"),
    ('\u{feff}', r"\ufeff"),
    ('\u{fff9}', r"\ufff9"),
    ('\u{ffff}', r"\uffff"),
    ('\u{e0001}', r"\U000e0001"),
    ('\u{f0000}', r"\U000f0000"),
    ('\u{10ffff}', r"\U0010ffff"),
];

/// Characters that stand for themselves.
const PLAIN: &[char] = &[
    ' ',
    '~',
    '\u{a1}',
    '\u{e9}',
    '\u{301}',
    '\u{5d0}',
    '\u{e01}',
    '\u{20ac}',
    '\u{2800}',
    '\u{4e2d}',
    '\u{ac00}',
    '\u{fe0f}',
    '\u{fffd}',
    '\u{10000}',
    '\u{1f600}',
    '\u{1f9ff}',
    '\u{20000}',
    '\u{323af}',
    '\u{e0100}',
];

#[test]
fn each_character_is_written_as_go_writes_it() {
    for (c, written) in WRITTEN {
        let text = format!("a{c}b");
        assert_eq!(go_quote(&text), format!("\"a{written}b\""));
        assert_eq!(go_quote(&c.to_string()), format!("\"{written}\""));
        assert_eq!(GoQuotedChar(*c).to_string(), format!("'{written}'"));
    }
    for c in PLAIN {
        assert_eq!(go_quote(&format!("a{c}b")), format!("\"a{c}b\""));
        assert_eq!(go_quote(&c.to_string()), format!("\"{c}\""));
        assert_eq!(GoQuotedChar(*c).to_string(), format!("'{c}'"));
    }
}

#[test]
fn only_the_mark_itself_is_escaped() {
    assert_eq!(go_quote(r#"it's "so""#), r#""it's \"so\"""#);
    assert_eq!(GoQuotedChar('"').to_string(), r#"'"'"#);
    assert_eq!(GoQuotedChar('\'').to_string(), r"'\''");
    assert_eq!(go_quote(""), r#""""#);
}

#[test]
fn bytes_that_are_no_text_show_as_they_are() {
    let shown = |bytes: &[u8]| GoQuotedBytes(bytes).to_string();
    assert_eq!(shown(b"a\xffb\xe4\xb8\xc3"), r#""a\xffb\xe4\xb8\xc3""#);
    assert_eq!(shown(b"\xed\xa0\x80"), r#""\xed\xa0\x80""#);
    assert_eq!(shown(b"\xf4\x90\x80\x80"), r#""\xf4\x90\x80\x80""#);
    assert_eq!(shown("\u{a0}\n".as_bytes()), r#""\u00a0\n""#);
}

#[test]
fn times_show_byte_by_byte() {
    let shown = GoTimeQuoted("5\n\u{7f}\u{e9}\"\\").to_string();
    assert_eq!(shown, "\"5\\x0a\u{7f}\\xc3\\xa9\\\"\\\\\"");
}

#[test]
fn numbers_stand_alone_where_nothing_shows() {
    assert_eq!(GoNumbered('{').to_string(), "U+007B '{'");
    assert_eq!(GoNumbered('\u{1f600}').to_string(), "U+1F600 '\u{1f600}'");
    assert_eq!(GoNumbered('\u{a0}').to_string(), "U+00A0");
}

#[test]
fn as_many_are_printable_as_in_go() {
    let all = ('\0'..=char::MAX).filter(|c| is_printable(*c)).count();
    assert_eq!(all, 148_998);
}
