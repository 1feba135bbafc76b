use super::*;

/// Patterns, a text in which each is found, and one in which it is not.
const GOOD: &[(&str, &str, &str)] = &[
    ("^[a-z]+$", "abc", "aBc"),
    (r"^\d+$", "12", "١٢"),
    (r"^\w+$", "a_1", "ä"),
    (r"^\s$", "\t", "\u{a0}"),
    (r"^[\d\-\.]+$", "1-.", "x"),
    (r"^[\D]$", "x", "1"),
    (r"^[^\d]$", "x", "1"),
    (r"^[\w.]+$", "a_b.c", "-"),
    (r"^\<\/\_\>$", "</_>", "x"),
    (r#"^\"\_\/\-$"#, "\"_/-", "x"),
    (r"^\Qa.b\E$", "a.b", "axb"),
    (r"^\Qab\E*$", "abb", "abab"),
    (r"^a\Q\E*$", "aa", "b"),
    (r"^[[a]$", "[", "b"),
    (r"^[a&&b]+$", "&ab", "c"),
    (r"^[ab~~]+$", "b~", "c"),
    (r"^[]a]+$", "]a", "b"),
    (r"^[^]a-]$", "b", "-"),
    (r"^[a-]+$", "a-", "b"),
    (r"^[-a]+$", "a-", "b"),
    (r"^[+--]+$", "+,-", "."),
    (r"^[\w.-]+$", "a.-", "/"),
    (r"^\101\x41\x{42}\012$", "AAB\n", "AAB"),
    (r"^[[:alpha:]_]+$", "a_", "1"),
    (r"^[[:^alpha:]-]+$", "1-", "a"),
    (r"^[[:]+$", "[:", "]"),
    (r"^\p{^Lu}$", "a", "A"),
    (r"^[\P{^Lu}]$", "A", "a"),
    (r"^\pL+$", "äß", "1"),
    (r"^\p{greek}$", "α", "a"),
    (r"^\P{Cs}[^\p{Cs}]$", "ab", "a"),
    (r"^[\x{d7ff}-\x{dfff}a]$", "\u{d7ff}", "b"),
    (r"^[\x{d800}-\x{dfff}a]$", "a", "b"),
    (r"(?i)^É$", "é", "e"),
    (r"^a(?ii)b$", "aB", "AB"),
    (r"^(?i:a)(?i-i)b$", "Ab", "AB"),
    (r"^a(?i)+b$", "aaB", "Ab"),
    (r"^a{2}(?i)?b$", "B", "aB"),
    (r"^(?)a$", "a", "b"),
    (r"^a\b.$", "a-", "ab"),
    (r"^.\B.$", "é-", "éa"),
    ("^a{,2}b{x}c{$", "a{,2}b{x}c{", "aabc"),
    ("^a{02}$", "a{02}", "aa"),
    (r"^a{2,3}?$", "aaa", "a"),
    ("^(?P<x>a)(?<y>b)(?<x>c)$", "abc", "ab"),
    (r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$", "1m30s", "1m 30s"),
    ("^(a{10}){100}$|^((a{1000}){0}){2}$", "", "a"),
    ("^*^x*é*$", "éé", "a"),
    ("^x$", "x", "x\n"),
];

#[test]
fn what_go_reads() {
    for (text, matching, other) in GOOD {
        let pattern = Pattern::new(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert!(pattern.is_match(matching), "{text} {matching:?}");
        assert!(!pattern.is_match(other), "{text} {other:?}");
    }
    assert!(Pattern::new("").is_ok_and(|all| all.is_match("x")));
}

#[test]
fn what_go_does_not_read() {
    for (bad, said) in [
        ("(", "missing closing ): `(`"),
        ("a(b", "missing closing ): `a(b`"),
        (")", "unexpected ): `)`"),
        ("a)b", "unexpected ): `a)b`"),
        ("x[a", "missing closing ]: `[a`"),
        ("[]", "missing closing ]: `[]`"),
        ("[b-a]", "invalid character class range: `b-a`"),
        ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
        ("*", "missing argument to repetition operator: `*`"),
        ("a|+?b", "missing argument to repetition operator: `+?`"),
        ("(*)", "missing argument to repetition operator: `*`"),
        (r"\Q\E*", "missing argument to repetition operator: `*`"),
        ("(?i)*", "missing argument to repetition operator: `*`"),
        ("a**b", "invalid nested repetition operator: `**`"),
        ("a{2}{3}", "invalid nested repetition operator: `{2}{3}`"),
        ("a{3,2}", "invalid repeat count: `{3,2}`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        (
            "a{99999999999999999999}",
            "invalid repeat count: `{99999999999999999999}`",
        ),
        ("(a{100}){11}", "invalid repeat count: `{11}`"),
        ("((a{1000}){0,}){2}", "invalid repeat count: `{2}`"),
        ("a\\", "trailing backslash at end of expression: ``"),
        (r"\8", r"invalid escape sequence: `\8`"),
        (r"\1", r"invalid escape sequence: `\1`"),
        (r"\Z", r"invalid escape sequence: `\Z`"),
        (r"[a-\d]", r"invalid escape sequence: `\d`"),
        (r"\x4g", r"invalid escape sequence: `\x4g`"),
        (r"\x{}", r"invalid escape sequence: `\x{}`"),
        (r"\x{110000}", r"invalid escape sequence: `\x{110000`"),
        (r"\C", r"invalid escape sequence: `\C`"),
        (r"\p{Nope}", r"invalid character class range: `\p{Nope}`"),
        ("(?!a)", "invalid or unsupported Perl syntax: `(?!`"),
        ("(?i", "invalid or unsupported Perl syntax: `(?i`"),
        ("(?-)", "invalid or unsupported Perl syntax: `(?-)`"),
        ("(?<=a)", "invalid named capture: `(?<=a)`"),
        ("(?P<a b>c)", "invalid named capture: `(?P<a b>`"),
        (
            &"(".repeat(1000),
            &format!("expression nests too deeply: `{}`", "(".repeat(1000)),
        ),
    ] {
        let said = Err(format!("error parsing regexp: {said}"));
        assert_eq!(check(bad).map_err(|error| error.to_string()), said, "{bad}");
        assert_eq!(
            Pattern::new(bad)
                .map(|_| ())
                .map_err(|error| error.to_string()),
            said
        );
    }
}

#[test]
fn what_is_too_large() {
    let large = r"\pL{1000}\pN{1000}";
    assert_eq!(check(large), Ok(()));
    let error = Pattern::up_to(large, 1 << 20).unwrap_err();
    assert_eq!(error.code, Code::Large);
    assert_eq!(
        error.to_string(),
        format!("error parsing regexp: expression too large: `{large}`")
    );
}
