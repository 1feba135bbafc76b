//! Documents as clients write them.

use std::time::{Duration, Instant};

use serde_json::json;

use super::*;

#[test]
fn documents_and_lines() {
    let docs = read("a: 1\nb:\n  - x: yes\n    w: \"no\"\n---\n# nothing\n---\n{c: [1, 2], d: &k {e: f}, g: *k}\n").unwrap();
    assert_eq!(
        docs[0].value,
        json!({"a": 1, "b": [{"x": true, "w": "no"}]})
    );
    assert_eq!(docs[0].lines["b[0].w"], 4);
    assert_eq!(
        docs.last().unwrap().value,
        json!({"c": [1, 2], "d": {"e": "f"}, "g": {"e": "f"}})
    );
    assert_eq!(nearest_line(&docs[0].lines, "b[0].z.q"), Some(3));
}

#[test]
fn what_a_text_can_become_is_bounded() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_string();
    for level in 1..9 {
        text += &format!(
            "a{level}: &a{level} [{}]\n",
            vec![format!("*a{}", level - 1); 10].join(", ")
        );
    }
    assert_eq!(
        read_first(&text).unwrap_err(),
        "yaml: document contains excessive aliasing"
    );
    assert!(read_first(&"[".repeat(100_000)).is_err());
}

#[test]
fn what_json_has_not() {
    assert_eq!(
        read("a: !!binary aGVsbG8=\n").unwrap()[0].value,
        json!({"a": "hello"})
    );
    for (text, want) in [(".nan", "NaN"), (".inf", "+Inf"), ("-.Inf", "-Inf")] {
        let why = read(&format!("a: {text}\n")).unwrap_err();
        assert_eq!(why.to_string(), format!("json: unsupported value: {want}"));
    }
    assert_eq!(
        read_new("a: yes\nb: true\n").unwrap()[0].value,
        json!({"a": "yes", "b": true})
    );
    assert_eq!(
        read_new("y: 1\nno: 2\non: 3\nTrue: 4\n").unwrap()[0].value,
        json!({"y": 1, "no": 2, "on": 3, "true": 4})
    );
}

#[test]
fn merges_and_mistakes() {
    assert_eq!(
        read("base: &b {x: 1, w: 2}\nsub:\n  <<: *b\n  x: 3\n").unwrap()[0].value["sub"],
        json!({"x": 3, "w": 2})
    );
    assert_eq!(
        read_first("a: 1\na: 2\n---\n}").unwrap(),
        (
            json!({"a": 2}),
            vec!["line 2: key \"a\" already set in map".to_string()]
        )
    );
    assert_eq!(read_first("# nothing\n").unwrap().0, json!(null));
    let twice = read_lax("a: 1\na: 2\n---\nb: {c: 1, c: 3}\n").unwrap();
    assert_eq!(
        twice.iter().map(|d| &d.value).collect::<Vec<_>>(),
        [&json!({"a": 2}), &json!({"b": {"c": 3}})]
    );
    assert!(
        read("a: 1\na: 2\n")
            .unwrap_err()
            .contains("line 2: key \"a\" already set in map")
    );
    assert_eq!(
        read("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: bad\n data:\n  a: b\n")
            .unwrap_err(),
        "yaml: line 4: did not find expected key"
    );
}

#[test]
fn tags_say_what_a_value_is() {
    let said = |text: &str| match read(&format!("x: {text}\n")) {
        Ok(documents) => documents[0].value["x"].to_string(),
        Err(why) => why.to_string(),
    };
    for (text, want) in [
        ("!!str 5", "\"5\""),
        ("!foo 5", "\"5\""),
        ("!binary aGk=", "\"aGk=\""),
        ("!!binary aGk=", "\"hi\""),
        ("!!int \"5\"", "5"),
        ("!!int abc", "yaml: cannot decode !!str `abc` as a !!int"),
        ("!!int 1.5", "yaml: cannot decode !!float `1.5` as a !!int"),
        ("!!int", "yaml: cannot decode !!null `` as a !!int"),
        ("!!float 1", "1"),
        ("!!bool \"true\"", "true"),
        ("!!null \"\"", "null"),
        ("! 5", "\"5\""),
        ("!!foo 5", "\"5\""),
        ("!foo", "\"\""),
        ("!<tag:yaml.org,2002:str> 5", "\"5\""),
        ("!foo [a]", "[\"a\"]"),
        ("!!timestamp 2001-01-01", "\"2001-01-01\""),
    ] {
        assert_eq!(said(text), want, "{text}");
    }
}

#[test]
fn the_alias_that_leads_nowhere_is_named() {
    let said = |text: &str| read(text).unwrap_err().to_string();
    let unknown = |name: &str| format!("yaml: unknown anchor '{name}' referenced");
    assert_eq!(said("# *x\na: *y\n"), unknown("y"));
    assert_eq!(said("é: [&a 5, *a, *bc]\n"), unknown("bc"));
    let control = "yaml: control characters are not allowed";
    assert_eq!(said("a: b\u{1}c\n"), control);
}

/// What took 25 seconds, or all memory.
#[test]
fn text_that_was_made_to_be_dear() {
    let many = 1_500_000;
    let bomb = {
        let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for level in 1..30 {
            let before = format!("*a{}", level - 1);
            text += &format!("a{level}: &a{level} [{}]\n", vec![before; 10].join(","));
        }
        text
    };
    let long = format!(
        "a: &a {}\nb: [{}]\n",
        "x".repeat(1_000_000),
        vec!["*a"; 100_000].join(",")
    );
    let nested = format!(
        "{}x{}",
        (0..120).map(|n| format!("&n{n} [")).collect::<String>(),
        "]".repeat(120)
    )
    .replace('x', &"y,".repeat(500_000));
    for (what, text) in [
        ("brackets", "[".repeat(many)),
        ("braces", "{".repeat(many)),
        ("pairs", "[]".repeat(many / 2)),
        ("dashes", "- ".repeat(many / 2)),
        ("questions", "? ".repeat(many / 2)),
        ("colons", ": ".repeat(many / 2)),
        ("aliases", bomb),
        ("a long alias", long),
        ("anchors in anchors", nested),
        ("anchors", "&a ".repeat(many / 3)),
        ("tags", "!a ".repeat(many / 3)),
        ("quotes", "\"".repeat(many)),
        ("comments", "#\n".repeat(many / 2)),
        ("documents", "---\n".repeat(many / 4)),
        ("directives", "%YAML 1.1\n".repeat(many / 10)),
        (
            "keys",
            (0..many / 12).map(|n| format!("k{n}: 1\n")).collect(),
        ),
        (
            "flow keys",
            format!(
                "{{{}}}",
                (0..many / 12)
                    .map(|n| format!("k{n}: 1,"))
                    .collect::<String>()
            ),
        ),
        (
            "indents",
            (0..1_700)
                .map(|n| format!("{}a:\n", " ".repeat(n)))
                .collect(),
        ),
        ("block text", format!("a: |\n{}", " b\n".repeat(many / 3))),
        (
            "folded text",
            format!("a: >\n{}", " b\n\n".repeat(many / 4)),
        ),
        ("plain lines", format!("a: {}", "b\n ".repeat(many / 3))),
    ] {
        let begun = Instant::now();
        let _ = read_first(&text);
        // a debug build on a busy machine: what grows with the square took minutes
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{what}: {:?}",
            begun.elapsed()
        );
    }
}
