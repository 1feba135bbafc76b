//! Hosts and paths as tables.

use skiff_ingress::table::{HostMatch, PathMatch, Table, clean, host_of};

fn path(text: &str) -> PathMatch {
    match text.split_once(' ') {
        Some(("=", path)) => PathMatch::Exact(path.into()),
        _ if text == "*" => PathMatch::Rest,
        _ => PathMatch::prefix(text),
    }
}

/// Rules as `host path`, with `=` before a path that is exact and `*` for what is left. Each leads to its own text.
fn table(rules: &[&'static str]) -> Table<&'static str> {
    let mut table = Table::default();
    for rule in rules {
        let (host, of) = rule.split_once(' ').unwrap();
        let host = HostMatch::parse(if host == "-" { "" } else { host });
        assert!(
            table.add(host, path(of), *rule),
            "{rule} stands there twice"
        );
    }
    table
}

fn check(rules: &[&'static str], rows: &[(&str, &str, Option<&str>)]) {
    let table = table(rules);
    for (host, path, wanted) in rows {
        let found = table.find(&host_of(host), &clean(path));
        assert_eq!(found.copied(), *wanted, "{host} {path} of {rules:?}");
    }
}

#[test]
fn hosts() {
    check(
        &[
            "a.example /",
            "*.a.example /",
            "*.b.a.example /",
            "b.example /x",
            "- /any",
        ],
        &[
            ("a.example", "/", Some("a.example /")),
            ("A.Example", "/", Some("a.example /")),
            ("a.example:8080", "/", Some("a.example /")),
            ("a.example.", "/", Some("a.example /")),
            ("a.example.:80", "/", Some("a.example /")),
            ("x.a.example", "/", Some("*.a.example /")),
            ("X.a.example:1", "/", Some("*.a.example /")),
            ("y.x.a.example", "/", None),
            (".a.example", "/", None),
            ("b.a.example", "/", Some("*.a.example /")),
            ("c.b.a.example", "/", Some("*.b.a.example /")),
            ("aa.example", "/", None),
            ("example", "/", None),
            ("", "/", None),
            ("", "/any", Some("- /any")),
            ("other", "/any/more", Some("- /any")),
            ("10.0.0.1", "/any", Some("- /any")),
            ("[::1]:80", "/any", Some("- /any")),
            ("[::1]", "/any", Some("- /any")),
            // a host with rules of its own is served by these alone
            ("b.example", "/any", None),
            ("b.example", "/x", Some("b.example /x")),
            ("a.example", "/any", Some("a.example /")),
        ],
    );
}

#[test]
fn paths() {
    check(
        &[
            "h /foo",
            "h = /foo",
            "h /foo/bar",
            "h = /exact",
            "h = /slash/",
            "h /aaa/bb",
        ],
        &[
            ("h", "/foo", Some("h = /foo")),
            ("h", "/foo/", Some("h /foo")),
            ("h", "/foo/x", Some("h /foo")),
            ("h", "/foobar", None),
            ("h", "/foo/bar", Some("h /foo/bar")),
            ("h", "/foo/bar/", Some("h /foo/bar")),
            ("h", "/foo/bar/baz", Some("h /foo/bar")),
            ("h", "/foo/barbaz", Some("h /foo")),
            ("h", "/FOO", None),
            ("h", "/", None),
            ("h", "/exact", Some("h = /exact")),
            ("h", "/exact/", None),
            ("h", "/exact/x", None),
            ("h", "/exac", None),
            ("h", "/slash/", Some("h = /slash/")),
            ("h", "/slash", None),
            ("h", "/aaa/bbb", None),
            ("h", "/aaa/bb", Some("h /aaa/bb")),
            ("h", "/aaa/bb/c", Some("h /aaa/bb")),
            ("h", "/aaa", None),
        ],
    );
}

#[test]
fn prefixes_as_documented() {
    #[rustfmt::skip]
    let rows: &[(&'static str, &str, bool)] = &[
        ("h /", "/anything/at/all", true), ("h /", "/", true),
        ("h /foo", "/foo", true), ("h /foo", "/foo/", true),
        ("h /foo/", "/foo", true), ("h /foo/", "/foo/", true), ("h /foo/", "/foobar", false),
        ("h /aaa/bb", "/aaa/bbb", false), ("h /aaa/bbb", "/aaa/bbb", true), ("h /aaa/bbb/", "/aaa/bbb", true),
        ("h /aaa/bbb", "/aaa/bbb/", true), ("h /aaa/bbb", "/aaa/bbb/ccc", true), ("h /aaa/bbb", "/aaa/bbbxyz", false),
        ("h = /foo", "/foo", true), ("h = /foo", "/bar", false), ("h = /foo", "/foo/", false), ("h = /foo/", "/foo", false),
    ];
    for (rule, path, wanted) in rows {
        check(&[rule], &[("h", path, wanted.then_some(*rule))]);
    }
}

#[test]
fn what_is_left() {
    check(
        &["h /x", "h *", "i /x", "*.w /x", "- *"],
        &[
            ("h", "/x/y", Some("h /x")),
            ("h", "/y", Some("h *")),
            ("i", "/x", Some("i /x")),
            ("i", "/y", Some("- *")),
            ("a.w", "/y", Some("- *")),
            ("other", "/", Some("- *")),
            ("", "/", Some("- *")),
        ],
    );
    check(&["- /", "- *"], &[("h", "/", Some("- /"))]);
    check(&[], &[("h", "/", None)]);
}

#[test]
fn however_a_path_is_written() {
    check(
        &["h /public", "h /private", "h /a b", "h = /"],
        &[
            ("h", "/public/../private", Some("h /private")),
            ("h", "/public/%2e%2e/private", Some("h /private")),
            ("h", "/public/%2E./private/x", Some("h /private")),
            ("h", "/public/..%2fprivate", Some("h /private")),
            ("h", "/./private", Some("h /private")),
            ("h", "//private//x", Some("h /private")),
            ("h", "/%70rivate", Some("h /private")),
            ("h", "/../../private", Some("h /private")),
            ("h", "/public/..", Some("h = /")),
            ("h", "/a%20b/c", Some("h /a b")),
            ("h", "/public/..x", Some("h /public")),
            ("h", "/public/.hidden", Some("h /public")),
            ("h", "/%zz", None),
            ("h", "//", Some("h = /")),
        ],
    );
    for (path, wanted) in [
        ("/a/./b", "/a/b"),
        ("/a/b/.", "/a/b/"),
        ("/a/b/..", "/a/"),
        ("/a//b/", "/a/b/"),
        ("/%E4%BD%A0", "/\u{4f60}"),
        ("/plain", "/plain"),
        ("/..", "/"),
        ("*%", "/*%"),
    ] {
        assert_eq!(clean(path), wanted, "{path}");
    }
}

#[test]
fn the_first_of_two_stays() {
    let mut table = table(&["h /x", "h = /x", "*.h /x"]);
    assert!(!table.add(HostMatch::parse("H"), PathMatch::prefix("/x/"), "late"));
    assert!(!table.add(HostMatch::parse("*.H"), PathMatch::prefix("/x"), "late"));
    assert!(!table.add(HostMatch::parse("h"), PathMatch::Exact("/x".into()), "late"));
    assert!(table.add(
        HostMatch::parse("h"),
        PathMatch::Exact("/x/".into()),
        "other"
    ));
    assert_eq!(table.find("h", "/x"), Some(&"h = /x"));
    assert_eq!(table.find("h", "/x/"), Some(&"other"));
}
