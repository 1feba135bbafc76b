//! JSONPath, of columns and of the command line, on an object.

use serde_json::Value;
use skiff_api::machinery::jsonpath::{JsonPath, relaxed};

use crate::{Target, seeds, texts};

pub const JSONPATH: Target = Target::new("jsonpath", run, begin)
    .words(&[
        "{",
        "}",
        ".",
        "..",
        "[",
        "]",
        "*",
        "@",
        "$",
        "?",
        "(",
        ")",
        "range",
        "end",
        "{end}",
        "{range .items[*]}",
        "==",
        "!=",
        "<",
        ">=",
        "&&",
        "||",
        "'a'",
        "\"",
        "[0]",
        "[-1]",
        "[0:2]",
        "[::2]",
        "[::-1]",
        "[::0]",
        "[1,2]",
        "['a']",
        "[?(@.a==1)]",
        ".a",
        "{..}",
        "{..*}",
        "/",
        "|",
        "length",
        "\\.",
        "true",
        "1.5",
    ])
    // many paths of one text, each with an answer
    .worth(4096);

fn begin() -> Vec<Vec<u8>> {
    let paths = [
        "{.metadata.name}",
        "{.spec.containers[*].image}",
        "{range .items[*]}{.metadata.name}{\"\\t\"}{end}",
        "{..name}",
        "{.spec.ports[?(@.port>80)].name}",
        "{.a[0:2:1]}{.a[-1:]}{['b']}",
        "{.metadata.labels.app\\.example\\.com/name}",
        "{$.a[1,2]}{@}",
        "{.items[?(@.a==\"b\" || @.c)]}",
        "{..*}",
        ".spec.x",
        "{range .x}{.y}{end}{'z'}",
    ];
    let objects = seeds::objects();
    let one = |(at, path): (usize, &&str)| {
        seeds::joined(&[
            path.to_string(),
            objects[at * 7 % objects.len()].to_string(),
        ])
    };
    paths.iter().enumerate().map(one).collect()
}

fn run(data: &[u8]) {
    let Some([path, object]) = texts(data) else {
        return;
    };
    let object: Value = serde_json::from_str(object).unwrap_or_default();
    let paths = [Some(path.to_owned()), relaxed(path).ok()];
    for path in paths.into_iter().flatten() {
        let Ok(path) = JsonPath::parse(&path) else {
            continue;
        };
        let _ = path.find(&object).map_err(|error| error.to_string());
        let path = path.allow_missing(true);
        let _ = path.render(&object).map_err(|error| error.to_string());
    }
}
