//! The conformance suite's behaviours and what tries them here: `testdata/conformance.txt`, whose format is described at its head.
//!
//! Invariant: a line names a test that is in the sources, or says why there can be none. With `UPSTREAM_DATA` every behaviour of the areas that the
//! table has is in it, once, and nothing else is; without it that part says that it was skipped.

use std::{collections::BTreeSet, path::Path};

use serde_json::Value;
use skiff_api::machinery::yaml;

const TABLE: &str = include_str!("../../../../testdata/conformance.txt");
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// `[AREA] BEHAVIOUR` and what stands for it.
fn table() -> Vec<(String, &'static str)> {
    let mut area = "";
    let mut lines = Vec::new();
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix("  ") {
            None => area = line,
            Some(line) => {
                let (behaviour, test) = line.split_once(" | ").unwrap_or((line, ""));
                lines.push((format!("[{area}] {behaviour}"), test));
            }
        }
    }
    lines
}

/// What is wrong with what stands for a behaviour.
fn wrong(test: &str) -> Option<&'static str> {
    if let Some(why) = test.strip_prefix("- ") {
        return why.trim().is_empty().then_some("does not say why");
    }
    let Some((file, name)) = test.split_once("::") else {
        return Some("names no test");
    };
    let Ok(source) = std::fs::read_to_string(Path::new(ROOT).join(file)) else {
        return Some("names a file that is not there");
    };
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        let declared = line.strip_prefix("async ").unwrap_or(line);
        match declared.strip_prefix("fn ") {
            Some(declared) if declared.split('(').next() == Some(name) && is_test => return None,
            Some(_) => is_test = false,
            None => is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test"),
        }
    }
    Some("names a test that is not there")
}

#[test]
fn every_test_that_is_named_is_there() {
    let table = table();
    assert!(!table.is_empty());
    let all = table.iter().filter_map(|(behaviour, test)| {
        let wrong = wrong(test)?;
        Some(format!("{behaviour}: {test:?} {wrong}"))
    });
    let all: Vec<String> = all.collect();
    assert!(all.is_empty(), "{}", all.join("\n"));
    for nothing in [
        "",
        "- ",
        "apiserver/server/tests/api/nosuch.rs::a",
        "apiserver/server/tests/api/conformance.rs::nosuch",
        "apiserver/server/tests/api/conformance.rs::wrong",
    ] {
        assert!(wrong(nothing).is_some(), "{nothing}");
    }
}

#[test]
fn every_behaviour_has_a_line() {
    let Some(data) = std::env::var_os("UPSTREAM_DATA") else {
        return skiff_testing::skipped("UPSTREAM_DATA does not name the conformance suite's list");
    };
    let text = std::fs::read_to_string(Path::new(&data).join("conformance.yaml")).unwrap();
    let (list, _) = yaml::read_first(&text).unwrap();
    let table = table();
    let ours: BTreeSet<&str> = table.iter().map(|(behaviour, _)| &**behaviour).collect();
    assert_eq!(ours.len(), table.len(), "a behaviour stands twice");
    let area = |behaviour: &str| behaviour.split(' ').next().unwrap_or_default().to_owned();
    let areas: BTreeSet<String> = ours.iter().map(|behaviour| area(behaviour)).collect();
    let named = |one: &Value| {
        one["codename"]
            .as_str()
            .unwrap()
            .replace(" [Conformance]", "")
    };
    let all: Vec<String> = list.as_array().unwrap().iter().map(named).collect();
    let wanted = all
        .iter()
        .filter(|behaviour| areas.contains(&area(behaviour)));
    let wanted: BTreeSet<&str> = wanted.map(String::as_str).collect();
    let missing: Vec<_> = wanted.difference(&ours).collect();
    let unknown: Vec<_> = ours.difference(&wanted).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "without a line: {missing:#?}\nin no list: {unknown:#?}"
    );
}
