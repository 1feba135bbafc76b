use std::collections::HashMap;

use serde_json::json;

use super::{cluster::param_ref, storage::access_modes, *};
use crate::kinds::{Column, Registry};

#[test]
fn columns_show_durations() {
    let hour = 3600;
    let cases = [
        (-2, "<invalid>"),
        (-1, "0s"),
        (119, "119s"),
        (120, "2m"),
        (599, "9m59s"),
        (179 * 60, "179m"),
        (3 * hour, "3h"),
        (7 * hour + 60, "7h1m"),
        (47 * hour, "47h"),
        (48 * hour, "2d"),
        (50 * hour, "2d2h"),
        (8 * 24 * hour, "8d"),
        (729 * 24 * hour, "729d"),
        (730 * 24 * hour, "2y"),
        (740 * 24 * hour, "2y10d"),
        (8 * 365 * 24 * hour + 1, "8y"),
    ];
    for (seconds, expected) in cases {
        assert_eq!(
            human_duration(SignedDuration::from_secs(seconds)),
            expected,
            "{seconds}"
        );
    }
}

#[test]
fn columns_show_sets() {
    assert_eq!(labels(&json!({"b": "2", "a": "1"})), "a=1,b=2");
    assert_eq!(labels(&Value::Null), NONE);
    assert_eq!(
        label_selector(
            &json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "DoesNotExist"}]})
        ),
        "a=b,!c"
    );
    assert_eq!(label_selector(&json!({})), NONE);
    assert_eq!(
        label_selector(
            &json!({"matchExpressions": [{"key": "c", "operator": "Gt", "values": ["1"]}]})
        ),
        "<error>"
    );
    let items: Vec<String> = ["a", "b", "c", "d", "e"].map(String::from).into();
    assert_eq!(
        (few(&items, 3), few(&items[..3], 3)),
        ("a,b,c + 2 more...".to_string(), "a,b,c".to_string())
    );
    let status = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}, {"hostname": "lb"}, {"ip": "192.0.2.10"}, {"ip": "192.0.2.9"}]}});
    assert_eq!(load_balancer(&status), "192.0.2.10,192.0.2.9,lb");
    assert_eq!(
        access_modes(&json!(["ReadWriteMany", "ReadWriteOnce", "ReadWriteOnce"])),
        "RWO,RWX"
    );
    let selector = json!({"selector": {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "In", "values": ["d", "e"]}]}});
    let expected = "&LabelSelector{MatchLabels:map[string]string{a: b,},MatchExpressions:[]LabelSelectorRequirement{\
        LabelSelectorRequirement{Key:c,Operator:In,Values:[d e],},},}";
    assert_eq!(param_ref(&selector), expected);
}

/// Group, version, plural and the object's path without its query.
fn parts(path: &str) -> Option<(&str, &str, &str, &str)> {
    let path = path.split('?').next()?;
    let words: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (group, version, rest) = match words.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return None,
    };
    match rest {
        ["namespaces", _, plural, ..] | [plural, ..] => Some((group, version, plural, path)),
        [] => None,
    }
}

/// A recorded line with values in the place of what was masked, but for ages and addresses.
fn unmasked(line: &str) -> String {
    let line = line
        .replace("\"<port>\"", "30080")
        .replace("<port>", "30080");
    line.replace("<uid>", "u1")
        .replace("<time>", "2026-01-01T00:00:00Z")
}

/// Whether a cell is the recorded one, in which ages and addresses were masked.
fn same(actual: &Value, recorded: &Value) -> bool {
    let fits =
        |mask: &str, test: fn(&str) -> bool| recorded == mask && actual.as_str().is_some_and(test);
    actual == recorded
        || fits("<age>", |age| age.starts_with(|c: char| c.is_ascii_digit()))
        || fits("<ip>", |ip| ip.parse::<std::net::IpAddr>().is_ok())
}

#[test]
fn columns_are_as_recorded() {
    let Ok(folder) = std::env::var("UPSTREAM_DATA") else {
        skiff_testing::skipped("UPSTREAM_DATA is not set to the folder of recordings");
        return;
    };
    let recording = std::fs::read_to_string(format!("{folder}/recorded/table.jsonl")).unwrap();
    let mut objects: HashMap<String, Value> = HashMap::new();
    let now = "2026-11-23T12:00:00Z".parse().unwrap();
    let mut wrong = Vec::new();
    let (mut rows, mut definitions) = (0, 0);
    for line in recording.lines() {
        let exchange: Value = serde_json::from_str(&unmasked(line)).unwrap();
        let (id, answer) = (text(&exchange["id"]), &exchange["response"]);
        let Some((group, version, plural, path)) = parts(text(&exchange["path"])) else {
            continue;
        };
        let Some(row) = Registry::builtin().find(group, version, plural) else {
            continue;
        };
        if answer["kind"] != "Table" {
            if text(&answer["spec"]["type"]) == "NodePort" {
                continue; // its port was masked in the tables only
            }
            let at = if exchange["method"] == "POST" {
                format!("{path}/{}", answer.name())
            } else {
                path.trim_end_matches("/status").to_string()
            };
            objects.insert(at, answer.clone());
            continue;
        }
        if let Some(expected) = answer["columnDefinitions"].as_array() {
            let column = |c: &Column| json!({"name": c.name, "type": c.kind, "format": c.format, "description": c.description, "priority": c.priority});
            let actual: Vec<Value> = row.printer.definitions().iter().map(column).collect();
            definitions += 1;
            if &actual != expected {
                wrong.push(format!("{id}: columns {actual:?}\n  not {expected:?}"));
            }
        }
        for recorded in answer.list("rows") {
            let full = (recorded["object"]["kind"] == row.kind).then_some(&recorded["object"]);
            let Some(object) = full.or_else(|| objects.get(path)) else {
                continue;
            };
            let cells = row.printer.cells(object, now);
            let expected = recorded.list("cells");
            rows += 1;
            if cells.len() != expected.len()
                || !cells
                    .iter()
                    .zip(expected)
                    .all(|(actual, recorded)| same(actual, recorded))
            {
                wrong.push(format!("{id}: {cells:?}\n  not {expected:?}"));
            }
            let conditions = (row.strategy.row_conditions)(object);
            if conditions != recorded.list("conditions") {
                wrong.push(format!(
                    "{id}: {conditions:?}\n  not {}",
                    recorded["conditions"]
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong of {rows} rows and {definitions} definitions:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(
        rows > 100 && definitions > 100,
        "only {rows} rows and {definitions} definitions were compared"
    );
}
